//! A co-signer's shares: taken into keeping, and released for what the final log allows, no other way
//! (P14, P16, P27, GEN-03).

use std::collections::BTreeSet;

use custody::document::share_context;
use custody::name::Name;
use custody::rule::{Refusal, Rule};
use custody::statement::{Activate, Body};
use custody::{Blob, Hash};
use keys::seal::{self, SealDomain};
use keys::share::{HeldShare, SharePublic, ShareSecret};
use keys::vault::{VaultContext, VaultKind};
use rand_core::CryptoRngCore;
use wire::message::FromCosigner;

use super::peer::{Frame, Payload, PeerMessage};
use super::signing::{Finished, Session, Work};
use super::store::{self, GuardRecord};
use super::{ATTEMPTS_LIMIT, Cosigner, Effect, FRESH_S, WAITING_LIMIT};

impl Cosigner {
    pub(super) fn take_share(
        &mut self,
        ceremony: Hash,
        slot: u32,
        sealed: &[u8],
        rng: &mut impl CryptoRngCore,
    ) {
        match self.check_share(ceremony, slot, sealed) {
            Ok(share) => self.keep_share((ceremony, slot), share, rng, true),
            Err(refusal) => self.refused("share", ceremony, &refusal, Vec::new(), true),
        }
    }

    /// Keeps a checked share: on disk, then in memory, then the server hears of it.
    pub(super) fn keep_share(
        &mut self,
        (ceremony, slot): (Hash, u32),
        share: HeldShare,
        rng: &mut impl CryptoRngCore,
        reply: bool,
    ) {
        let Ok(file) = self.vault.seal(&self.share_file_context(), share.expose(), rng) else { return };
        self.out.push(Effect::Keep(store::share_file(&ceremony, slot), file));
        self.shares.insert((ceremony, slot), share);
        let kept = FromCosigner::ShareKept { ceremony, slot };
        self.out.push(if reply { Effect::Reply(kept) } else { Effect::ToServer(kept) });
    }

    /// A share is accepted only for an account of a ceremony whose record a quorum approved in the final
    /// log, and only if it fits the commitments there (GEN-03).
    fn check_share(&self, ceremony: Hash, slot: u32, sealed: &[u8]) -> Result<HeldShare, Refusal> {
        let public = self.share_public(ceremony, slot)?;
        let record = self.final_state.slots().get(&(ceremony, slot));
        if record.is_some_and(|slot| slot.superseded.is_some() || slot.reshares.is_some()) {
            let why =
                "the account was dealt anew: its shares come out of the log, those of the ceremony are over";
            return Err(Refusal::new(Rule::Resharing, why));
        }
        let refuse = |why: String| Refusal::new(Rule::Ceremony, why);
        let threshold = u32::from(public.threshold);
        let context = share_context(&self.genesis, &ceremony, slot, &self.name, threshold);
        let plain = seal::open(self.keys()?.seal_key(), SealDomain::Share, &context, sealed)
            .map_err(|e| refuse(format!("the sealed share does not open here: {e}")))?;
        ShareSecret::open(&plain, &public, &self.name).map_err(|e| refuse(e.to_string()))
    }

    pub(super) fn share_public(&self, ceremony: Hash, slot: u32) -> Result<SharePublic, Refusal> {
        let record = self.final_state.slots().get(&(ceremony, slot));
        let record = record.ok_or_else(|| {
            Refusal::new(
                Rule::Ceremony,
                "no ceremony record in force deals this account: approve the record first",
            )
        })?;
        Ok(SharePublic {
            account: record.slot.account.clone(),
            threshold: u16::try_from(record.threshold).unwrap_or(u16::MAX),
            holders: record.holders.clone(),
            commitments: record.slot.commitments.clone(),
        })
    }

    pub(super) fn share_file_context(&self) -> VaultContext {
        VaultContext { kind: VaultKind::Share, genesis: self.genesis, cosigner: self.name.clone() }
    }

    /// Begins a session: everything is checked, the session's number is on disk, then commitments leave.
    pub(super) fn begin(
        &mut self,
        work: Work,
        holders: Vec<Name>,
        attempt: u32,
        rng: &mut impl CryptoRngCore,
    ) {
        if let Err(mut refusal) = self.try_begin(&work, &holders, attempt, rng) {
            if refusal.rule == Rule::Fresh && self.waiting.len() < WAITING_LIMIT {
                // A fresh head is a height, that everybody writes down: none is made for what is refused under it.
                // What is not known here may come with the next one.
                match self.check_known(&work) {
                    Err(other) if self.may_release() && other.rule != Rule::Reference => refusal = other,
                    known => {
                        self.desk.wants_tick |= known.is_ok();
                        self.waiting.push((work, holders, attempt));
                        return;
                    }
                }
            }
            let (word, id) = (work.word(), work.id());
            self.refused(word, id, &refusal, Vec::new(), false);
        }
    }

    /// Orders that waited for a fresh head are tried again under each new one.
    pub(super) fn retry_waiting(&mut self, now_ms: u64, rng: &mut impl CryptoRngCore) {
        if self.waiting.is_empty() || self.check_fresh().is_err() {
            return;
        }
        for (work, holders, attempt) in std::mem::take(&mut self.waiting) {
            self.begin(work, holders, attempt, rng);
        }
        self.settle(now_ms);
    }

    /// Whether the final log, old as it may be, allows it.
    fn check_known(&self, work: &Work) -> Result<(), Refusal> {
        match work {
            Work::Spend { authorisation } => {
                let time = self.final_state.clock().time.max(self.desk.now_s);
                self.final_state.release(authorisation, time, &self.desk.decoder)
            }
            Work::Prove { ceremony, slot } => self
                .share_public(*ceremony, *slot)
                .map(|_| ())
                .map_err(|refusal| Refusal::new(Rule::Reference, refusal.why)),
        }
    }

    fn check_fresh(&self) -> Result<(), Refusal> {
        let (log, own) = (self.final_state.clock().time, self.desk.now_s);
        if self.heads.last().0 > 0 && log.abs_diff(own) <= FRESH_S {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::Fresh,
            format!("the final head is of {log}, the own clock says {own}: a fresh head is needed"),
        ))
    }

    /// What must hold when a session begins and again when the share leaves (P14, P16, P27).
    fn check_release(&self, work: &Work) -> Result<(), Refusal> {
        if !self.may_release() {
            let why = "the co-signer was just started, its log has not come to the pinned head, or its disk is \
                       older than its votes: wait for the others";
            return Err(Refusal::new(Rule::Fresh, why));
        }
        self.check_fresh()?;
        let Work::Spend { authorisation } = work else { return Ok(()) };
        self.desk.check_held()?;
        let time = self.final_state.clock().time.max(self.desk.now_s);
        self.final_state.release(authorisation, time, &self.desk.decoder)?;
        // A freeze that is decided and whose head is not final yet, perhaps because the server withholds
        // co-signatures, stops the share as well.
        self.desk.state.release(authorisation, time, &self.desk.decoder)
    }

    fn try_begin(
        &mut self,
        work: &Work,
        holders: &[Name],
        attempt: u32,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), Refusal> {
        let form = |holds: bool, why: &str| if holds { Ok(()) } else { Err(Refusal::new(Rule::Form, why)) };
        form(holders.is_sorted_by(|a, b| a < b), "name the holders sorted, each once")?;
        form(holders.contains(&self.name), "this co-signer is not one of the holders")?;
        self.check_release(work)?;
        self.keys()?;
        let id = work.session(&self.genesis, holders, attempt);
        let used = self.used.get(&work.counted(holders)).map_or(0, BTreeSet::len);
        if used >= ATTEMPTS_LIMIT {
            return Err(Refusal::new(Rule::Once, "too many attempts for this: look for the reason first"));
        }
        if self.has_used(&id) {
            return Err(Refusal::new(
                Rule::Once,
                "this session was begun before: use another attempt number",
            ));
        }
        let decoder = &self.desk.decoder;
        let mut session = match work {
            Work::Spend { authorisation } => {
                Session::spend(&self.final_state, *authorisation, holders.to_vec(), decoder)?
            }
            Work::Prove { ceremony, slot } => {
                Session::prove(&self.final_state, *ceremony, *slot, holders.to_vec())?
            }
        };
        let share = self.shares.get(&session.key);
        let share = share.ok_or_else(|| {
            let record = self.final_state.slots().get(&session.key);
            let next = match record.and_then(|slot| slot.reshares) {
                Some(_) => "have the shares dealt anew",
                None => "hand it over first",
            };
            Refusal::new(Rule::Ceremony, format!("this co-signer holds no share of the account: {next}"))
        })?;
        let payload = session.commit(&id, share, rng)?;
        self.append_guard(&GuardRecord::Session { id, work: work.counted(holders) });
        self.used.entry(work.counted(holders)).or_default().insert(id);
        self.sessions.insert(id, session);
        self.send_frames(id, holders, &payload, rng);
        let early = self.sessions.early_of(&id);
        self.inbox.extend(early);
        Ok(())
    }

    fn has_used(&self, session: &Hash) -> bool {
        self.used.values().any(|sessions| sessions.contains(session))
    }

    fn send_frames(&mut self, id: Hash, to: &[Name], payload: &Payload, rng: &mut impl CryptoRngCore) {
        for holder in to {
            if *holder == self.name {
                continue;
            }
            let Some(card) = self.desk.state.cosigner(holder) else { continue };
            let route = (&self.name, holder);
            let Ok(own) = self.keys() else { continue };
            let frame = Frame::seal(&self.genesis, own, route, &id, &card.seal, payload, rng);
            if let Some(frame) = frame {
                self.tell_peers(Some(holder.clone()), &PeerMessage::Frame(frame));
            }
        }
    }

    pub(super) fn receive_frame(&mut self, frame: Frame, rng: &mut impl CryptoRngCore) {
        if frame.to != self.name {
            return;
        }
        let id = frame.session;
        let key = self.desk.state.cosigner(&frame.from).map(|card| card.frame);
        if !key.is_some_and(|key| frame.is_signed(&self.genesis, &key)) {
            let refusal = Refusal::new(Rule::Signature, "a frame does not verify: altered on its way");
            self.refused("frame", id, &refusal, Vec::new(), false);
            return;
        }
        if !self.sessions.has(&id) {
            // The order to begin may come a moment later, unless the session is over.
            if !self.has_used(&id) {
                self.sessions.keep_early(frame);
            }
            return;
        }
        let Some(payload) = self.keys().ok().and_then(|own| frame.open(&self.genesis, own)) else {
            let refusal =
                Refusal::new(Rule::Signature, "a frame does not open: it was sealed for another place");
            self.refused("frame", id, &refusal, Vec::new(), false);
            return;
        };
        let Some(mut session) = self.sessions.remove(&id) else { return };
        let (work, culprit) = (session.work.clone(), frame.from.clone());
        match session.take(&frame.from, &payload) {
            Ok(()) => match self.go_on(id, &mut session, rng) {
                Ok(true) => {}
                Ok(false) => self.sessions.put_back(id, session),
                Err((refusal, culprits)) => self.refused(work.word(), work.id(), &refusal, culprits, false),
            },
            Err(refusal) => {
                self.sessions.put_back(id, session);
                self.refused(work.word(), work.id(), &refusal, vec![culprit], false);
            }
        }
    }

    /// Sends the own share when all commitments are there, and finishes when all shares are. Says
    /// whether the session is over.
    fn go_on(
        &mut self,
        id: Hash,
        session: &mut Session,
        rng: &mut impl CryptoRngCore,
    ) -> Result<bool, (Refusal, Vec<Name>)> {
        let blameless = |refusal: Refusal| (refusal, Vec::new());
        let leads = session.holders.first() == Some(&self.name);
        // The one that aggregates makes its own share last: before, nobody can finish without it, and a
        // freeze that came meanwhile finds nothing that could still be put together here.
        if !session.may_sign() || (leads && !session.has_other_shares()) {
            return Ok(false);
        }
        // The moment at which a share leaves, or completes a signature: everything is judged again (P27).
        self.check_release(&session.work).map_err(blameless)?;
        let Some(share) = self.shares.get(&session.key) else { return Ok(true) };
        let payload = session.sign(share).map_err(blameless)?;
        if !leads {
            let to: Vec<Name> = session.holders.first().cloned().into_iter().collect();
            self.send_frames(id, &to, &payload, rng);
            return Ok(true);
        }
        match session.finish(share) {
            None => Ok(false),
            Some(Err(blamed)) => Err(blamed),
            Some(Ok(Finished::Transaction(transaction))) => {
                let authorisation = session.work.id();
                let transaction = Blob(transaction);
                self.out.push(Effect::ToServer(FromCosigner::Signed { authorisation, transaction }));
                Ok(true)
            }
            Some(Ok(Finished::Proof(signature))) => {
                if let Work::Prove { ceremony, slot } = session.work {
                    let (holders, signature) = (session.holders.clone(), Blob(signature.to_vec()));
                    let body = Body::Activate(Activate { ceremony, slot, holders, signature });
                    self.state_own(body, rng).map_err(blameless)?;
                }
                Ok(true)
            }
        }
    }
}
