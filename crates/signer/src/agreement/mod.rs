//! Agreement on one batch after the other, around the rules in [`crate::tendermint`].
//!
//! **Invariant**: whatever a message of this member depends on is in [`Output::Write`] before the
//! [`Output::Send`] that carries it (rule `P10`). A restart feeds the written inputs to the rules again
//! and so arrives at the votes that it may have sent, never at others.
//!
//! Sans-IO: no clock, randomness, file, socket or thread. Time and the nonce are arguments, the caller
//! executes the outputs strictly in order and may be killed between any two. The formats are specified
//! in `docs/spec/agreement.md`.
//!
//! Deliberately absent: what a value means ([`App`]), and which heads are final (rule `P11`).

mod api;
mod committee;
mod guard;
mod height;
mod message;
mod receive;
mod record;
mod rules;
mod send;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use custody::Hash;
use ed25519_dalek::SigningKey;

pub use api::{
    App, EVIDENCE_PER_MEMBER, HEIGHTS_TO_RECOVER, Input, LOG_BYTES, Output, REJOIN_MS, RETRANSMIT_MS,
    ReplayError, SEEN_HEIGHTS, TIMEOUT_PROPOSE_MS, TIMEOUT_STEP_MS, TIMEOUT_VOTE_MS, TimerId,
    UNFINAL_HEIGHTS,
};
pub use committee::{Committee, CommitteeError, MEMBERS_MAX, MEMBERS_MIN, Seat};
pub use height::{PROPOSALS_PER_ROUND, ROUNDS_AHEAD};
pub use message::{
    Answer, Certificate, Decision, Evidence, MESSAGE_MAX_BYTES, Message, Probe, Proposal, VALUE_MAX_BYTES,
    VOTES_MAX, Vote, value_hash,
};

use crate::tendermint::{self, Judgement, Member, Round, Tendermint};
use guard::{Guard, Trust};
use height::Height;
use message::Voice;
use record::Record;

/// One member of the committee.
#[derive(Debug)]
pub struct Agreement {
    committee: Committee,
    voice: Voice,
    guard: Guard,
    height: Height,
    /// Messages of the next height that came before this one ended.
    next: Height,
    /// Whether this height is decided and waits for [`Input::Advance`].
    decided: bool,
    /// The latest decisions, to help who missed them.
    history: BTreeMap<u64, Decision>,
    /// Last votes of the others in the last heights.
    seen: Vec<Vote>,
    evidence: Vec<Evidence>,
    /// A quorum decided what the own replay finds wrong.
    diverged: bool,
    /// The highest height at which another member was seen.
    ahead: u64,
    /// When the others were last asked for help, and at which height.
    asked: Option<(u64, u64)>,
    /// When each member was last sent a decision, and of which height.
    helped: BTreeMap<Member, (u64, u64)>,
    /// Records that nothing that was sent depends on yet.
    unwritten: Vec<Record>,
    log_bytes: usize,
    log_limit: usize,
    retransmitting: bool,
    out: Vec<Output>,
}

impl Agreement {
    /// A member with an empty log, at its first height. `genesis` separates deployments.
    ///
    /// # Errors
    /// [`CommitteeError::NotMe`] if `key` is not the vote key of this member.
    pub fn new(
        committee: Committee,
        key: SigningKey,
        genesis: Hash,
        height: u64,
    ) -> Result<Self, CommitteeError> {
        let me = committee.me();
        if committee.key(me) != Some(&key.verifying_key()) {
            return Err(CommitteeError::NotMe(me));
        }
        Ok(Self {
            committee,
            voice: Voice { key, genesis, me },
            guard: Guard::default(),
            height: Height::new(height),
            next: Height::new(height.saturating_add(1)),
            decided: false,
            history: BTreeMap::new(),
            seen: Vec::new(),
            evidence: Vec::new(),
            diverged: false,
            ahead: 0,
            asked: None,
            helped: BTreeMap::new(),
            unwritten: vec![Record::Height(height)],
            log_bytes: 0,
            log_limit: LOG_BYTES,
            retransmitting: false,
            out: Vec::new(),
        })
    }

    /// The height that is being agreed on.
    pub fn height(&self) -> u64 {
        self.height.number
    }

    /// The current round; 0 before the height begins.
    pub fn round(&self) -> Round {
        self.height.round()
    }

    /// Whether the height has begun and is not decided.
    pub fn is_running(&self) -> bool {
        self.height.core.is_some() && !self.decided
    }

    /// The committee.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The decision of one of the latest heights, of which at most [`UNFINAL_HEIGHTS`] are kept.
    pub fn decision(&self, height: u64) -> Option<&Decision> {
        self.history.get(&height)
    }

    /// Proofs that members contradicted themselves.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Whether a quorum decided a value that the own replay finds wrong. Nothing goes on then: this
    /// program or more than f others are at fault.
    pub fn has_diverged(&self) -> bool {
        self.diverged
    }

    /// Whether this member may vote and release shares (rule `P12`).
    pub fn may_release(&self) -> bool {
        self.guard.trust == Trust::Full
    }

    /// Whether this member holds its own disk for old, and has not caught up since (rule `P12`).
    pub fn is_restored(&self) -> bool {
        self.guard.restored
    }

    /// Feeds the log to the rules again, after [`Self::new`] and before [`Self::start_guarded`].
    /// `writes` are the bytes of each [`Output::Write`] and [`Output::Truncate`] that are on disk. Of those that the
    /// member made in an earlier committee only counts whether its disk was restored.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn replay<'a>(&mut self, writes: impl IntoIterator<Item = &'a [u8]>) -> Result<(), ReplayError> {
        if self.guard.trust != Trust::Unstarted {
            return Err(ReplayError::Started);
        }
        let first = self.height.number;
        let mut own = first <= 1;
        for (index, bytes) in writes.into_iter().enumerate() {
            let records = record::decode(bytes).ok_or(ReplayError::Damaged(index))?;
            self.log_bytes = self.log_bytes.saturating_add(bytes.len());
            own |= records.iter().any(|record| matches!(record, Record::Height(height) if *height >= first));
            if !own {
                let restored = |record: &Record| match record {
                    Record::Restored(restored) => Some(*restored),
                    _ => None,
                };
                self.guard.restored = records.iter().rev().find_map(restored).unwrap_or(self.guard.restored);
                continue;
            }
            self.unwritten.clear();
            records.into_iter().for_each(|record| self.replay_one(record));
        }
        Ok(())
    }

    fn replay_one(&mut self, record: Record) {
        let input = match record {
            Record::Height(height) => return drop(self.enter(height)),
            Record::Begin => {
                self.start_core(false);
                return;
            }
            Record::Seen(votes) => return self.seen = votes,
            Record::Evidence(evidence) => return self.evidence.push(evidence),
            Record::Restored(restored) => return self.guard.restored = restored,
            Record::Decided(decision) => return self.remember(decision),
            Record::Value(round, value) => {
                let hash = value_hash(&value.0);
                self.height.insert_value(hash, &value.0);
                tendermint::Input::Value(round, hash)
            }
            Record::Proposal(proposal, value, judgement) => {
                self.hold(&proposal, &value, judgement);
                plain(&proposal, judgement)
            }
            Record::Votes(votes) => {
                votes.iter().for_each(|vote| self.height.insert(vote.clone()));
                tendermint::Input::Votes(votes.iter().map(Vote::plain).collect())
            }
            Record::Timeout(step, round) => {
                self.height.timers.remove(&(step, round));
                tendermint::Input::Timeout(step, round)
            }
        };
        self.apply(input, false);
    }

    /// Starts the member: it asks the others for its own last votes, and neither votes nor proposes
    /// before enough of them have answered (rule `P12`). `restored` says that the disk may be old,
    /// `nonce` is fresh at each start.
    pub fn start_guarded(
        &mut self,
        app: &mut dyn App,
        now_ms: u64,
        restored: bool,
        nonce: Hash,
    ) -> Vec<Output> {
        self.guard.start(nonce);
        if let Some((round, value)) = self.height.core.as_ref().and_then(Tendermint::decision)
            && !self.decided
        {
            self.decide(round, value);
        } else if self.decided
            && let Some(decision) = self.history.get(&self.height.number)
        {
            self.out.push(Output::Decide(decision.clone()));
        }
        if restored {
            self.distrust();
        }
        self.send_probe(None);
        self.retransmit_later();
        self.settle(app, now_ms);
        std::mem::take(&mut self.out)
    }

    /// Takes one input and says what to do.
    pub fn step(&mut self, app: &mut dyn App, now_ms: u64, input: Input) -> Vec<Output> {
        match input {
            Input::Message(bytes) => {
                if let Some(message) = Message::decode(&bytes) {
                    self.receive(app, now_ms, message);
                }
            }
            Input::Timer(TimerId::Retransmit) => self.retransmit(),
            Input::Timer(TimerId::Step { height, round, step }) => {
                if height == self.height.number
                    && self.takes_part()
                    && self.height.timers.remove(&(step, round))
                {
                    let input = tendermint::Input::Timeout(step, round);
                    self.feed(app, now_ms, Record::Timeout(step, round), input);
                }
            }
            Input::Wake => self.wake(app, now_ms),
            Input::Advance(height) => self.advance(app, now_ms, height),
        }
        std::mem::take(&mut self.out)
    }

    fn receive(&mut self, app: &mut dyn App, now_ms: u64, message: Message) {
        match message {
            Message::Probe(probe) => self.answer(app, now_ms, &probe),
            Message::Answer(answer) => self.answered(app, now_ms, &answer),
            Message::Decision(decision) => self.learn(app, now_ms, decision),
            Message::Votes(votes) => self.receive_votes(app, now_ms, votes),
            Message::Proposal { proposal, value, polka } => {
                self.receive_votes(app, now_ms, polka);
                self.receive_proposal(app, now_ms, &proposal, value);
            }
        }
    }
}

fn plain(proposal: &Proposal, judgement: Judgement) -> tendermint::Input {
    let Proposal { height: _, round, pol_round, value, signature: _ } = *proposal;
    tendermint::Input::Proposal(tendermint::Proposal { round, pol_round, value, judgement })
}
