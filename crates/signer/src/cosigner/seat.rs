//! The own place among those who vote, which another set of co-signers gives or takes (P30).

use custody::Hash;
use custody::state::State;
use ed25519_dalek::VerifyingKey;

use super::peer::PeerMessage;
use super::{Cosigner, StartError};
use crate::agreement::{Agreement, Committee, Seat, TimerId};

/// Questions to the others, one a second, after which whoever is not answered asks for final heads too.
const UNHEARD_LIMIT: u32 = 3;

/// What separates what one set signs in the agreement from what another does, and deployments from each other: a member's number
/// means somebody else in another set.
fn domain(state: &State) -> Hash {
    match state.set_since() {
        0 => state.genesis_hash(),
        since => {
            let data = [&state.genesis_hash().0[..], &since.to_be_bytes()].concat();
            Hash::of("keyward/cosigner-set/v1", &data)
        }
    }
}

impl Cosigner {
    /// Sits down, or leaves, as the newest final head says. Who sits down votes on nothing before it was started.
    pub(super) fn seat(&mut self) -> Result<(), StartError> {
        let state = &self.final_state;
        self.seated_since = state.set_since();
        self.agreement = None;
        let cards = state.cosigners();
        let Some(me) = cards.iter().position(|card| card.name == self.name) else { return Ok(()) };
        let wrong = |why: String| StartError::Wrong(why);
        let mut seats = Vec::new();
        for card in &cards {
            let vote = VerifyingKey::from_bytes(&card.vote.0);
            let vote = vote.map_err(|_| wrong(format!("the vote key of {} is no key", card.name)))?;
            seats.push(Seat { name: card.name.to_string(), vote });
        }
        let committee = Committee::new(seats, me).map_err(|e| wrong(e.to_string()))?;
        let key = self.secrets.vote_signing_key().clone();
        let first = self.seated_since.saturating_add(1);
        let agreement = Agreement::new(committee, key, domain(state), first);
        self.agreement = Some(agreement.map_err(|e| wrong(e.to_string()))?);
        Ok(())
    }

    /// Takes the place that a new final head gives, and asks the others of the set as after a start (P12): each of them
    /// may know more of it than this one.
    pub(super) fn take_seat(&mut self, now_ms: u64) {
        if self.seated_since == self.final_state.set_since() {
            return;
        }
        let (restored, nonce) = match (self.unstarted.take(), &self.agreement) {
            (Some(unstarted), _) => unstarted,
            (None, agreement) => (agreement.as_ref().is_some_and(Agreement::is_restored), self.nonce),
        };
        // A key in the log that is no key: then nobody votes here any more, and the others see it missing.
        if self.seat().is_err() {
            self.agreement = None;
        }
        let data = [nonce.0, Hash::of("keyward/set-nonce/v1", &self.seated_since.to_be_bytes()).0].concat();
        self.nonce = Hash::sha256(&data);
        self.unheard = 0;
        self.unstarted = Some((restored, self.nonce));
        self.start_agreement(now_ms);
    }

    /// While a height lasts, or nobody answers, the others may be in another set already, which does not understand this
    /// one: final heads are understood by all. What others know of an old disk is to be heard before it has caught up,
    /// so they are asked for that alone a few times (P12).
    pub(super) fn ask_for_heads(&mut self, timer: TimerId) {
        let Some(agreement) = self.agreement.as_ref().filter(|_| timer == TimerId::Retransmit) else {
            return;
        };
        let wanted = if agreement.may_release() {
            self.unheard = 0;
            agreement.is_running()
        } else {
            self.unheard = self.unheard.saturating_add(1);
            agreement.is_restored() || self.unheard >= UNHEARD_LIMIT
        };
        if wanted {
            self.tell_peers(None, &PeerMessage::Behind { from: self.heads.last().0.saturating_add(1) });
        }
    }
}
