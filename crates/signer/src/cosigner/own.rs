//! What a co-signer says for itself: its statements, under the keys that its card in force names (P4, P30).

use std::collections::BTreeMap;

use custody::Hash;
use custody::document::{CosignerCard, Document};
use custody::name::Name;
use custody::rule::{Refusal, Rule};
use custody::rule_set::{RULE_SETS, rule_set_hash};
use custody::state::{Stage, State};
use custody::statement::{Body, STATEMENT_VERSION, Statement, Supports, key_id, pae};
use keys::cosigner::EpochKeys;
use rand_core::CryptoRngCore;
use wire::message::FromCosigner;

use super::{Cosigner, Effect, OWN_STATEMENT_S, StartError, desk, keys_context};

/// What `own` should say that it supports: an upgrade that people approved, whose rule set is one of `known`
/// and for which `own` is not counted yet, unless `said` holds a statement of it that has not ended by `now`
/// (P29). With it comes the proposal.
pub fn to_support(
    state: &State,
    own: &Name,
    known: &[(u32, Hash)],
    said: &BTreeMap<Hash, u64>,
    now: u64,
) -> Option<(Hash, Supports)> {
    state.proposals().iter().find_map(|(id, proposal)| {
        let Document::Upgrade(upgrade) = &proposal.document else { return None };
        let open = proposal.stage == Stage::Supporting && !proposal.supports.contains(own);
        let fresh = said.get(id).is_none_or(|end| *end < now);
        let wanted = open && fresh && known.contains(&(upgrade.version, upgrade.rules));
        wanted.then_some((*id, Supports { version: upgrade.version, rules: upgrade.rules }))
    })
}

/// Whether a card for this key is proposed and may still enter into force.
fn is_proposed(state: &State, statement: &Hash) -> bool {
    state.proposals().iter().any(|(_, proposal)| {
        let alive = match proposal.stage {
            Stage::Open => proposal.not_after >= state.clock().time,
            Stage::Waiting(_) => true,
            Stage::Supporting | Stage::Done | Stage::Vetoed(_) | Stage::Void(_) => false,
        };
        alive && matches!(&proposal.document, Document::Cosigner(c) if c.statement == *statement)
    })
}

impl Cosigner {
    /// The keys that the card in force names.
    pub(super) fn keys(&self) -> Result<&EpochKeys, Refusal> {
        let card = self.desk.state.cosigner(&self.name);
        card.and_then(|card| self.secrets.of(card)).ok_or_else(|| {
            let why = "the keys of the card in force are not on this disk: run rekey, get its card approved";
            Refusal::new(Rule::Signature, why)
        })
    }

    /// Whether the keys that its card in force names are here: without them it votes, and releases nothing.
    ///
    /// # Errors
    /// What to do when they are not.
    pub fn check_keys(&self) -> Result<(), Refusal> {
        self.keys().map(drop)
    }

    /// Signs a statement of this co-signer and brings it on its way. Gives back when it ends.
    pub(super) fn state_own(&mut self, body: Body, rng: &mut impl CryptoRngCore) -> Result<u64, Refusal> {
        let card = self.desk.state.cosigner(&self.name).map(|card| card.statement);
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let end = self.desk.now_s.max(self.desk.state.clock().time).saturating_add(OWN_STATEMENT_S);
        let statement = Statement {
            genesis: self.genesis,
            signer: key_id(&card.unwrap_or_default()),
            version: STATEMENT_VERSION,
            nonce: Hash(nonce),
            not_after: Some(end),
            body,
        };
        let form = |error: &dyn std::fmt::Display| Refusal::new(Rule::Form, error.to_string());
        let payload = statement.payload().map_err(|e| form(&e))?;
        let signature = self.keys()?.sign_statement(&pae(&payload)).map_err(|e| form(&e))?;
        let envelope = statement.enveloped(payload, signature);
        let bytes = desk::blob(&envelope);
        self.submit_envelope(envelope, true);
        self.out.push(Effect::ToServer(FromCosigner::Statement { envelope: bytes }));
        Ok(end)
    }

    /// Follows up on what a new final state asks of this co-signer itself.
    pub(super) fn follow(&mut self, rng: &mut impl CryptoRngCore) {
        let news = std::mem::take(&mut self.news);
        self.unreshared |= news;
        if news {
            self.change_keys(rng);
        }
        // Whoever may not release shares deals none either (P12).
        if self.unreshared && self.may_release() {
            self.unreshared = false;
            self.reshare(rng);
        } else if self.agreement.is_none() {
            // Who left deals and offers nothing more, and keeps nothing that is out of use.
            self.erase_superseded();
        }
        if !news {
            return;
        }
        let known: Vec<_> = RULE_SETS.iter().filter_map(|v| Some((*v, rule_set_hash(*v)?))).collect();
        let now = self.desk.now_s;
        let wanted = to_support(&self.final_state, &self.name, &known, &self.said, now);
        if let Some((proposal, supports)) = wanted
            && let Ok(end) = self.state_own(Body::Supports(supports), rng)
        {
            self.said.insert(proposal, end);
        }
    }

    /// Makes the next keys, in place of those that no card in force or on its way names. Returns the file of
    /// the keys, to be written before anybody sees the card, and the card.
    ///
    /// # Errors
    /// The log here has a card for the next keys that may still enter into force; no locked memory.
    pub fn renew_keys(
        &mut self,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(Vec<u8>, CosignerCard), StartError> {
        let wrong = |error: &dyn std::fmt::Display| StartError::Wrong(error.to_string());
        let state = &self.desk.state;
        let card =
            state.cosigner(&self.name).ok_or_else(|| wrong(&"the log has no card of this co-signer"))?;
        self.secrets.advance(card);
        if self.secrets.next_public().is_some_and(|next| is_proposed(state, &next.statement)) {
            return Err(wrong(&"a card for the next keys is proposed: approve it, or veto it and come back"));
        }
        let public = self.secrets.renew(rng).map_err(|e| wrong(&e))?;
        let epoch = card.epoch.saturating_add(1);
        let card = self.secrets.card(&self.name, card.holds_shares, epoch, public).map_err(|e| wrong(&e))?;
        Ok((self.keys_file(rng).ok_or_else(|| wrong(&"the keys cannot be sealed"))?, card))
    }

    fn keys_file(&self, rng: &mut impl CryptoRngCore) -> Option<Vec<u8>> {
        let plain = self.secrets.to_plaintext().ok()?;
        self.vault.seal(&keys_context(&self.name), plain.expose(), rng).ok()
    }

    /// Once a final card names the next keys, those before are wiped, here and on disk. What could not be written is tried
    /// again under the next head.
    fn change_keys(&mut self, rng: &mut impl CryptoRngCore) {
        let Some(card) = self.final_state.cosigner(&self.name) else { return };
        self.unwritten_keys |= self.secrets.advance(card);
        if self.unwritten_keys
            && let Some(file) = self.keys_file(rng)
        {
            self.unwritten_keys = false;
            self.out.push(Effect::Keys(file));
        }
    }
}
