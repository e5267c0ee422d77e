//! A co-signer's part in the log: carrying out what the agreement says, co-signing heads, catching up.

use custody::Blob;
use custody::checkpoint::cosign;
use custody::name::Name;
use custody::state::State;
use wire::message::FromCosigner;

use super::peer::PeerMessage;
use super::{Cosigner, Effect, File, HEADS_RETRY_MS, Timer, store};
use crate::agreement::{self, Decision, Output};

impl Cosigner {
    /// Starts the agreement, once the log has passed the pinned heads: before, nothing is voted on, and what
    /// others say they decided is not believed (P30).
    pub(super) fn start_agreement(&mut self, now_ms: u64) {
        if self.has_passed_pins()
            && let Some(agreement) = &mut self.agreement
            && let Some((restored, nonce)) = self.unstarted.take()
        {
            let outputs = agreement.start_guarded(&mut self.desk, now_ms, restored, nonce);
            self.carry_out(outputs, now_ms);
            self.advance_agreement(now_ms);
        }
    }

    pub(super) fn drive(&mut self, input: agreement::Input, now_ms: u64) {
        if self.unstarted.is_some() {
            return;
        }
        let Some(agreement) = &mut self.agreement else { return };
        let outputs = agreement.step(&mut self.desk, now_ms, input);
        self.carry_out(outputs, now_ms);
    }

    pub(super) fn carry_out(&mut self, outputs: Vec<Output>, now_ms: u64) {
        for output in outputs {
            match output {
                Output::Write(bytes) => self.out.push(Effect::Append(File::Agreement, bytes)),
                Output::Truncate(bytes) => self.out.push(Effect::Replace(File::Agreement, vec![bytes])),
                Output::Send { to, bytes } => {
                    let committee = self.agreement.as_ref().map(agreement::Agreement::committee);
                    let name = |member| committee.and_then(|committee| committee.name(member));
                    let to = to.and_then(name).and_then(Name::new);
                    self.tell_peers(to, &PeerMessage::Agreement(Blob(bytes)));
                }
                Output::SetTimer { id, after_ms } => {
                    self.out.push(Effect::SetTimer { timer: Timer::Agreement(id), after_ms });
                }
                Output::Decide(decision) => self.decide(decision, now_ms),
                Output::Behind(_) => {
                    let from = self.heads.last().0.saturating_add(1);
                    self.tell_peers(None, &PeerMessage::Behind { from });
                }
            }
        }
    }

    /// Applies a decided batch, and co-signs the head that it makes.
    fn decide(&mut self, decision: Decision, now_ms: u64) {
        if decision.certificate.height != self.heads.height().saturating_add(1) {
            return;
        }
        // The agreement decides nothing that its own judgement found invalid.
        let Ok(next) = self.desk.after(&decision.value.0) else { return };
        let Ok(body) = next.checkpoint().encode() else { return };
        let name = self.name.to_string();
        let line = cosign(&body, &name, self.secrets.cosign_signing_key(), self.desk.now_s);
        self.out.push(Effect::Append(File::Log, store::batch_record(&decision.value.0)));
        let height = decision.certificate.height;
        let text = line.to_string();
        self.heads.push_open(decision.value.0, next.clone(), body, (name, line));
        self.desk.advance(next);
        self.tell_peers(None, &PeerMessage::Cosignature { height, line: text });
        self.out.push(Effect::SetTimer { timer: Timer::Heads, after_ms: HEADS_RETRY_MS });
        self.advance_agreement(now_ms);
    }

    pub(super) fn advance_agreement(&mut self, now_ms: u64) {
        // Another set takes over when the head that brings it is final under this one (P30).
        if self.desk.state.is_handing_over() && self.heads.last().0 < self.heads.height() {
            return;
        }
        let next = self.heads.height().saturating_add(1);
        self.drive(agreement::Input::Advance(next), now_ms);
    }

    /// Follows up on whatever an event made possible: final heads, the next height, the delay clock.
    pub(super) fn settle(&mut self, now_ms: u64) {
        let mut news = false;
        while let Some((height, note)) = self.heads.ready() {
            let Some(state) = self.heads.finish(height, note.clone()) else { break };
            self.out.push(Effect::Append(File::Log, store::note_record(height, &note)));
            self.became_final(height, &note, state);
            self.take_seat(now_ms);
            news = true;
        }
        let running = self.agreement.as_ref().is_some_and(agreement::Agreement::is_running);
        let pending = !running && agreement::App::has_pending(&self.desk);
        if news || pending {
            self.drive(agreement::Input::Wake, now_ms);
        }
        if let Some(wait) = self.desk.delay_tick_in().filter(|wait| *wait > 0) {
            let after_ms = wait.saturating_mul(1000);
            self.out.push(Effect::SetTimer { timer: Timer::DelayTick, after_ms });
        }
    }

    fn became_final(&mut self, height: u64, note: &str, state: State) {
        let before = self.desk.final_height;
        self.desk.final_height = height;
        note.clone_into(&mut self.desk.final_note);
        self.final_state = state;
        self.news = true;
        self.prune_guard();
        let news = self.heads.piece(before.saturating_add(1));
        self.out.push(Effect::ToServer(FromCosigner::Log(news)));
    }

    pub(super) fn repeat_heads(&mut self) {
        if self.unstarted.is_some() {
            return;
        }
        for (height, line) in self.heads.unfinished(self.name.as_str()) {
            self.tell_peers(None, &PeerMessage::Cosignature { height, line });
        }
        if self.heads.is_open() {
            self.out.push(Effect::SetTimer { timer: Timer::Heads, after_ms: HEADS_RETRY_MS });
        }
    }

    /// Takes final batches from another: every one is replayed, and the head at their end must be final
    /// and of exactly the replayed log (P11).
    pub(super) fn catch_up(&mut self, piece: &wire::message::Log, now_ms: u64) {
        let own = self.heads.height();
        let last =
            piece.from.saturating_add(u64::try_from(piece.batches.len()).unwrap_or(0)).saturating_sub(1);
        if piece.from == 0
            || piece.from > own.saturating_add(1)
            || last != piece.height
            || last <= self.heads.last().0
        {
            return;
        }
        let skip = usize::try_from(own.saturating_add(1).saturating_sub(piece.from)).unwrap_or(usize::MAX);
        let mut state = self.desk.state.clone();
        let mut fresh = Vec::new();
        for batch in piece.batches.iter().skip(skip) {
            let Ok(parsed) = custody::batch::Batch::parse(&batch.0) else { return };
            let before = state.log_size();
            if state.apply(&parsed, &self.desk.decoder).is_err() {
                return;
            }
            if let Err(refusal) = self.pins.check(before, &state) {
                self.refused("log", self.genesis, &refusal, Vec::new(), false);
                return;
            }
            fresh.push(batch.0.clone());
        }
        // A piece that ends below the own height may still finish heads that are open here.
        if last < own {
            return;
        }
        // Of the note only what verified is kept and given on.
        let Ok(head) = state.final_head(&piece.note) else { return };
        let note = head.note();
        for batch in fresh {
            self.out.push(Effect::Append(File::Log, store::batch_record(&batch)));
            self.heads.push_final(batch);
        }
        self.out.push(Effect::Append(File::Log, store::note_record(last, &note)));
        self.heads.finish(last, note.clone());
        self.desk.advance(state.clone());
        self.became_final(last, &note, state);
        self.take_seat(now_ms);
        self.start_agreement(now_ms);
        self.advance_agreement(now_ms);
        // Nobody else says that there is more before the agreement has started.
        if self.unstarted.is_some() {
            self.tell_peers(None, &PeerMessage::Behind { from: last.saturating_add(1) });
        }
    }

    pub(super) fn connected(&mut self) {
        let piece = self.heads.piece(self.heads.last().0);
        self.out.push(Effect::Reply(FromCosigner::Log(piece)));
        self.tell_peers(None, &PeerMessage::Behind { from: self.heads.last().0.saturating_add(1) });
        self.repeat_heads();
        self.tell_shares();
        // A reduction that was lost on its way would leave holders apart (P9).
        let held: Vec<_> = self.desk.held.values().map(super::desk::blob).collect();
        for reduction in held {
            self.tell_peers(None, &PeerMessage::Reduction(reduction));
        }
    }
}
