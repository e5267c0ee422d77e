//! The rules of a height and their effects, live and on replay; and the way from height to height.

use custody::{Blob, Hash};

use super::Agreement;
use super::api::{
    App, LOG_BYTES, Output, SEEN_HEIGHTS, TIMEOUT_PROPOSE_MS, TIMEOUT_STEP_MS, TIMEOUT_VOTE_MS, TimerId,
    UNFINAL_HEIGHTS,
};
use super::guard::Trust;
use super::height::Height;
use super::message::{Decision, Message, VALUE_MAX_BYTES, value_hash};
use super::record::{self, Record};
use crate::tendermint::{self, Effect, Kind, Round, Step, Tendermint};

impl Agreement {
    pub(super) fn takes_part(&self) -> bool {
        self.guard.trust == Trust::Full && !self.decided
    }

    pub(super) fn wake(&mut self, app: &mut dyn App, now_ms: u64) {
        self.settle(app, now_ms);
        if (app.has_pending() || self.is_awaited()) && self.takes_part() {
            self.begin(app, now_ms);
        }
        self.get_value(app, now_ms);
    }

    /// Begins the height, unless it has begun; false if it cannot.
    pub(super) fn begin(&mut self, app: &mut dyn App, now_ms: u64) -> bool {
        if !self.takes_part() {
            return false;
        }
        if self.height.core.is_none() {
            if self.height.number > app.final_height().saturating_add(UNFINAL_HEIGHTS) {
                return false;
            }
            self.unwritten.push(Record::Begin);
            self.retransmit_later();
            if self.start_core(true) {
                self.get_value(app, now_ms);
            }
        }
        self.takes_part()
    }

    pub(super) fn start_core(&mut self, live: bool) -> bool {
        let (core, effects) = Tendermint::start(self.committee.rules(self.height.number));
        self.height.core = Some(core);
        self.perform(effects, live)
    }

    /// One input for the rules, on record.
    pub(super) fn feed(&mut self, app: &mut dyn App, now_ms: u64, record: Record, input: tendermint::Input) {
        self.unwritten.push(record);
        if self.apply(input, true) {
            self.get_value(app, now_ms);
        }
    }

    pub(super) fn apply(&mut self, input: tendermint::Input, live: bool) -> bool {
        let effects = self.height.core.as_mut().map(|core| core.step_with(input));
        self.perform(effects.unwrap_or_default(), live)
    }

    /// The value of a round that this member proposes (L18). It is on record before it leaves, so a
    /// restart proposes the same.
    fn get_value(&mut self, app: &mut dyn App, now_ms: u64) {
        let Some(round) = self.height.core.as_ref().and_then(Tendermint::awaited) else {
            return;
        };
        if !self.takes_part() {
            return;
        }
        let value = app.propose(self.height.number, now_ms);
        if let Some(value) = value.filter(|value| value.len() <= VALUE_MAX_BYTES) {
            let hash = value_hash(&value);
            self.height.insert_value(hash, &value);
            self.unwritten.push(Record::Value(round, Blob(value)));
            self.apply(tendermint::Input::Value(round, hash), true);
        }
    }

    /// Does what the rules want done; on replay nothing leaves. True if a value is asked for.
    fn perform(&mut self, effects: Vec<Effect>, live: bool) -> bool {
        let mut asked = false;
        for effect in effects {
            match effect {
                Effect::StartRound(round) => self.height.timers.retain(|(_, r)| *r >= round),
                Effect::GetValue(_) => asked = true,
                Effect::Schedule(step, round) => {
                    self.height.timers.insert((step, round));
                    if live {
                        self.set_timer(step, round);
                    }
                }
                Effect::Propose(round, value, pol_round) => {
                    let number = self.height.number;
                    let proposal = self.voice.proposal(number, round, value, pol_round);
                    self.height.insert_proposal(proposal.clone());
                    if live {
                        self.send_proposal(proposal);
                    }
                }
                Effect::Vote(kind, round, value) => self.vote(kind, round, value, live),
                Effect::Decide(round, value) if live => self.decide(round, value),
                Effect::Decide(..) => {}
            }
        }
        asked
    }

    fn vote(&mut self, kind: Kind, round: Round, value: Option<Hash>, live: bool) {
        // The rules never vote twice. Should they, the second vote would not be signed.
        if self.height.vote_of(self.voice.me, round, kind).is_some() {
            return;
        }
        let vote = self.voice.vote(self.height.number, round, kind, value);
        self.height.insert(vote.clone());
        if live {
            let mut votes = vec![vote];
            if kind == Kind::Precommit && value.is_some() {
                // A lock that nobody else knows the reason of could stop them all.
                votes.extend(self.height.votes_for(Kind::Prevote, round, value));
            }
            self.send(None, &Message::Votes(votes));
        }
    }

    pub(super) fn set_timer(&mut self, step: Step, round: Round) {
        let base = match step {
            Step::Propose => TIMEOUT_PROPOSE_MS,
            Step::Prevote | Step::Precommit => TIMEOUT_VOTE_MS,
        };
        let after_ms = base.saturating_add(TIMEOUT_STEP_MS.saturating_mul(round.into()));
        let id = TimerId::Step { height: self.height.number, round, step };
        self.out.push(Output::SetTimer { id, after_ms });
    }

    pub(super) fn decide(&mut self, round: Round, hash: Hash) {
        if let Some(value) = self.height.value(&hash) {
            let value = Blob(value.to_vec());
            self.conclude(Decision { value, certificate: self.height.certificate(round, hash) });
        }
    }

    pub(super) fn conclude(&mut self, decision: Decision) {
        self.unwritten.push(Record::Decided(decision.clone()));
        self.remember(decision.clone());
        if self.flush() {
            self.out.push(Output::Decide(decision));
        }
    }

    pub(super) fn remember(&mut self, decision: Decision) {
        let height = decision.certificate.height;
        if height == self.height.number {
            self.decided = true;
            self.height.timers.clear();
        }
        self.history.insert(height, decision);
        while u64::try_from(self.history.len()).unwrap_or_default() > UNFINAL_HEIGHTS {
            self.history.pop_first();
        }
    }

    pub(super) fn advance(&mut self, app: &mut dyn App, now_ms: u64, height: u64) {
        if height <= self.height.number {
            return;
        }
        let early = self.enter(height);
        self.unwritten.push(Record::Height(height));
        // What is final is caught up with by heads; the last decision stays for who just missed it.
        let last = self.history.keys().next_back().copied().unwrap_or_default();
        let final_height = app.final_height();
        self.history.retain(|height, _| *height > final_height || *height == last);
        if self.log_bytes > self.log_limit {
            self.truncate();
        }
        if self.ahead > height {
            self.ask_for_help(now_ms);
        }
        self.settle(app, now_ms);
        if early.number == height && self.takes_part() {
            let (proposals, votes) = early.into_messages();
            for (proposal, value) in proposals {
                self.take_proposal(app, now_ms, &proposal, value);
            }
            self.take_votes(app, now_ms, votes);
        }
        self.wake(app, now_ms);
    }

    /// Leaves the height for another; returns what came early for the one after it.
    pub(super) fn enter(&mut self, height: u64) -> Height {
        let mut votes = self.height.last_votes(None);
        votes.retain(|vote| vote.by != self.voice.me);
        self.seen.append(&mut votes);
        self.seen.retain(|vote| vote.height.saturating_add(SEEN_HEIGHTS) >= height);
        self.height = Height::new(height);
        self.decided = false;
        std::mem::replace(&mut self.next, Height::new(height.saturating_add(1)))
    }

    /// The log anew, at the beginning of a height.
    fn truncate(&mut self) {
        let mut keep = vec![Record::Seen(self.seen.clone())];
        keep.extend(self.evidence.iter().cloned().map(Record::Evidence));
        keep.extend(self.history.values().cloned().map(Record::Decided));
        keep.push(Record::Restored(self.guard.restored));
        keep.push(Record::Height(self.height.number));
        if let Some(bytes) = record::encode(&keep) {
            self.unwritten.clear();
            self.log_bytes = bytes.len();
            self.log_limit = LOG_BYTES.max(bytes.len().saturating_mul(2));
            self.out.push(Output::Truncate(bytes));
        }
    }
}
