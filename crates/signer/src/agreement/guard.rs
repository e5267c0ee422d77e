//! Restored disks (rule `P12`): who starts asks the others for its own last votes.
//!
//! A member that voted at height h had seen h − 1 decided, so a quorum had entered h − 1, having decided
//! h − 2. Of N − q + f + 1 others one is an honest member of that quorum and says so. Once two heights
//! above the highest height shown are final, h is final, and no vote of the lost ones matters.
//!
//! A hostile member may claim a height that does not exist, and so keep a restored member out: no more
//! than it can do by silence, and signed by its key.
//!
//! In an idle log nobody begins the two heights. So whoever has the answers says which height it awaits, and
//! to the others that is something pending (rule `P8`): each begins heights up to there, if it is at most two
//! above what it decided itself, once in [`REJOIN_MS`] for one member.

use std::collections::BTreeMap;

use custody::Hash;

use super::api::{HEIGHTS_TO_RECOVER, REJOIN_MS};
use super::message::{Answer, Message, Probe, Vote};
use super::record::Record;
use super::{Agreement, App, Output};
use crate::tendermint::Member;

/// Whether this member believes its own disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trust {
    /// Not started.
    #[default]
    Unstarted,
    /// Started; too few others have answered.
    Asking,
    /// The disk is older than the last vote.
    Restored,
    /// It votes, proposes and releases.
    Full,
}

#[derive(Debug, Default)]
pub(super) struct Guard {
    pub(super) trust: Trust,
    /// Survives a restart, until the member has caught up.
    pub(super) restored: bool,
    nonce: Hash,
    /// What each other member had decided when it answered first. Later answers would move the goal.
    answers: BTreeMap<Member, u64>,
    /// When heights were last begun for each member that rejoins, and up to which.
    rejoining: BTreeMap<Member, (u64, u64)>,
}

impl Guard {
    pub(super) fn start(&mut self, nonce: Hash) {
        self.nonce = nonce;
        self.trust = if self.restored { Trust::Restored } else { Trust::Asking };
    }
}

impl Agreement {
    /// What each other member said that it had decided, since the start.
    pub fn answers(&self) -> &BTreeMap<Member, u64> {
        &self.guard.answers
    }

    pub(super) fn wants_answers(&self) -> bool {
        let enough = match self.guard.trust {
            Trust::Unstarted | Trust::Full => 0,
            Trust::Asking => self.committee.answers_to_start(),
            Trust::Restored => self.committee.answers_to_recover(),
        };
        self.guard.answers.len() < enough
    }

    pub(super) fn send_probe(&mut self, to: Option<Member>) {
        let probe = self.voice.probe(self.height.number, self.guard.nonce, self.awaits());
        self.send(to, &Message::Probe(probe));
    }

    /// The height that must be final before this member trusts its restored disk, once it is known.
    pub(super) fn awaits(&self) -> Option<u64> {
        let shown = || self.guard.answers.values().copied().max().unwrap_or_default();
        let restored = self.guard.trust == Trust::Restored && !self.wants_answers();
        restored.then(|| shown().saturating_add(HEIGHTS_TO_RECOVER))
    }

    /// Whether a member that rejoins needs this height.
    pub(super) fn is_awaited(&self) -> bool {
        self.guard.rejoining.values().any(|(_, upto)| self.height.number <= *upto)
    }

    /// Notes up to which height a member that rejoins needs heights. A height further on than two can only
    /// come from a lie that somebody told it, one that is decided needs no beginning.
    fn expect(&mut self, now_ms: u64, by: Member, decided: u64, awaits: u64) {
        let near = decided < awaits && awaits <= decided.saturating_add(HEIGHTS_TO_RECOVER);
        let last = self.guard.rejoining.get(&by);
        if near && last.is_none_or(|(since, _)| now_ms >= since.saturating_add(REJOIN_MS)) {
            self.guard.rejoining.insert(by, (now_ms, awaits));
        }
    }

    /// Whether a vote of the own key is missing in the own log.
    pub(super) fn lacks(&self, vote: &Vote) -> bool {
        let own = || self.height.vote_of(self.voice.me, vote.round, vote.kind);
        vote.height > self.height.number
            || (vote.height == self.height.number && own().is_none_or(|v| v.value != vote.value))
    }

    /// The own disk is old: neither vote nor release until the others are past what is lost.
    pub(super) fn distrust(&mut self) {
        if self.guard.trust == Trust::Full {
            // What others said at the start shows no longer where they are.
            self.guard.answers.clear();
            self.guard.nonce = Hash::of("keyward/next-nonce/v1", &self.guard.nonce.0);
        }
        self.guard.trust = Trust::Restored;
        if !self.guard.restored {
            self.guard.restored = true;
            self.unwritten.push(Record::Restored(true));
            self.flush();
        }
        self.retransmit_later();
    }

    /// Answers with what this member has decided and holds of the asker, and the decision it lacks. Who has
    /// enough answers is not answered, but helped to the height that it awaits.
    pub(super) fn answer(&mut self, app: &mut dyn App, now_ms: u64, probe: &Probe) {
        if probe.by == self.voice.me || !probe.verify(&self.committee, &self.voice.genesis) {
            return;
        }
        let at = self.height.number;
        let decided = if self.decided { at } else { at.saturating_sub(1) };
        if let Some(awaits) = probe.awaits {
            self.expect(now_ms, probe.by, decided, awaits);
        } else {
            let mut votes = self.height.last_votes(Some(probe.by));
            votes.append(&mut self.next.last_votes(Some(probe.by)));
            votes.extend(self.seen.iter().filter(|vote| vote.by == probe.by).cloned());
            let answer = self.voice.answer(probe, decided, votes);
            self.send(Some(probe.by), &Message::Answer(answer));
        }
        if probe.height <= decided {
            self.help(now_ms, probe.by, probe.height);
        }
        if self.is_awaited() {
            self.wake(app, now_ms);
        }
    }

    pub(super) fn answered(&mut self, app: &mut dyn App, now_ms: u64, answer: &Answer) {
        let me = self.voice.me;
        if answer.to != me
            || answer.by == me
            || answer.nonce != self.guard.nonce
            || self.guard.trust == Trust::Unstarted
            || !answer.verify(&self.committee, &self.voice.genesis)
        {
            return;
        }
        if answer.votes.iter().any(|vote| self.lacks(vote)) {
            self.distrust();
        }
        // More than enough would move the goal as well.
        if self.wants_answers() {
            self.guard.answers.entry(answer.by).or_insert(answer.decided);
        }
        if answer.decided >= self.height.number && self.is_running() {
            self.out.push(Output::Behind(answer.decided.saturating_add(1)));
        }
        self.settle(app, now_ms);
    }

    /// Trusts the own disk once rule `P12` allows it, and takes part from there.
    pub(super) fn settle(&mut self, app: &mut dyn App, now_ms: u64) {
        if self.wants_answers() {
            return;
        }
        match self.guard.trust {
            Trust::Unstarted | Trust::Full => return,
            Trust::Asking => {}
            Trust::Restored => {
                let safe = self.awaits().is_some_and(|height| height <= app.final_height());
                if !safe || self.height.number <= app.final_height() {
                    return;
                }
                self.guard.restored = false;
                // At once: in an idle log nothing else is written, and a member that forgot that it had caught
                // up would wait for two more heights that nobody begins.
                self.unwritten.push(Record::Restored(false));
                self.flush();
            }
        }
        self.guard.trust = Trust::Full;
        for (step, round) in self.height.timers.clone() {
            self.set_timer(step, round);
        }
        if self.is_running() {
            self.send_again();
            self.retransmit_later();
        }
        self.wake(app, now_ms);
    }
}
