//! What comes in: verified, put in its place, and fed to the rules.

use custody::Blob;

use super::api::{App, EVIDENCE_PER_MEMBER};
use super::message::{Decision, Evidence, Proposal, Vote, value_hash};
use super::record::Record;
use super::{Agreement, plain};
use crate::tendermint::{self, Judgement, Kind, Member};

/// Where a message of another member belongs.
enum Place {
    Here,
    Next,
    Nowhere,
}

impl Agreement {
    /// Where a verified message of `by` belongs. Whoever is behind is helped, whoever is ahead is asked.
    fn place(&mut self, now_ms: u64, by: Member, height: u64) -> Place {
        if height < self.height.number || (height == self.height.number && self.decided) {
            self.help(now_ms, by, height);
            Place::Nowhere
        } else if height == self.height.number {
            if self.takes_part() { Place::Here } else { Place::Nowhere }
        } else {
            self.ahead = self.ahead.max(height);
            // One that is in the middle of the height before hears the rest of it any moment.
            if height > self.next.number || self.height.core.is_none() {
                self.ask_for_help(now_ms);
            }
            if height == self.next.number { Place::Next } else { Place::Nowhere }
        }
    }

    pub(super) fn receive_votes(&mut self, app: &mut dyn App, now_ms: u64, votes: Vec<Vote>) {
        let (mut here, mut next) = (Vec::new(), Vec::new());
        for vote in votes {
            let at = vote.height;
            let known = (at == self.height.number && !self.decided && self.height.knows(&vote))
                || (at == self.next.number && self.next.knows(&vote));
            if known || !vote.verify(&self.committee, &self.voice.genesis) {
                continue;
            }
            if vote.by == self.voice.me {
                if self.lacks(&vote) {
                    self.distrust();
                }
                continue;
            }
            if self.is_late(&vote, now_ms) {
                continue;
            }
            match self.place(now_ms, vote.by, at) {
                Place::Here => here.push(vote),
                Place::Next => next.push(vote),
                Place::Nowhere => {}
            }
        }
        let admitted = self.next.admit(&self.committee, next);
        admitted.evidence.into_iter().for_each(|evidence| self.testify(evidence));
        self.take_votes(app, now_ms, here);
    }

    /// Whether a vote is the precommit of the last member for what was decided without it: that one decides
    /// too, and needs no help. If it comes again, its sender is stuck, and is helped.
    fn is_late(&mut self, vote: &Vote, now_ms: u64) -> bool {
        let decided = self.history.get(&vote.height).map(|d| d.certificate.value);
        let first = self.helped.get(&vote.by).is_none_or(|(height, _)| *height < vote.height);
        let late = first && vote.kind == Kind::Precommit && vote.value.is_some() && vote.value == decided;
        if late {
            self.helped.insert(vote.by, (vote.height, now_ms));
        }
        late
    }

    pub(super) fn take_votes(&mut self, app: &mut dyn App, now_ms: u64, verified: Vec<Vote>) {
        if verified.is_empty() || !self.begin(app, now_ms) {
            return;
        }
        let admitted = self.height.admit(&self.committee, verified);
        admitted.evidence.into_iter().for_each(|evidence| self.testify(evidence));
        if !admitted.votes.is_empty() {
            let input = tendermint::Input::Votes(admitted.votes.iter().map(Vote::plain).collect());
            self.feed(app, now_ms, Record::Votes(admitted.votes), input);
        }
    }

    pub(super) fn receive_proposal(
        &mut self,
        app: &mut dyn App,
        now_ms: u64,
        proposal: &Proposal,
        value: Blob,
    ) {
        if self.height.number == proposal.height && self.height.has_proposal(proposal)
            || proposal.value != value_hash(&value.0)
            || !proposal.verify(&self.committee, &self.voice.genesis)
        {
            return;
        }
        let by = self.committee.proposer(proposal.height, proposal.round);
        if by == self.voice.me {
            // Its own proposal, which its log lacks: as with a vote.
            if proposal.height >= self.height.number {
                self.distrust();
            }
            return;
        }
        match self.place(now_ms, by, proposal.height) {
            Place::Here => self.take_proposal(app, now_ms, proposal, value),
            Place::Next if self.next.room_for(&self.committee, proposal) => {
                self.next.insert_value(proposal.value, &value.0);
                self.next.insert_proposal(proposal.clone());
            }
            Place::Next | Place::Nowhere => {}
        }
    }

    pub(super) fn take_proposal(&mut self, app: &mut dyn App, now_ms: u64, proposal: &Proposal, value: Blob) {
        if !self.begin(app, now_ms) {
            return;
        }
        if let Some(other) = self.height.contradicted(proposal).cloned() {
            self.testify(Evidence::Proposals(other, proposal.clone()));
        }
        if self.height.room_for(&self.committee, proposal) {
            let first_time = proposal.pol_round.is_none();
            let judgement = app.judge(self.height.number, &value.0, first_time, now_ms);
            // Nobody needs the bytes of a wrong value again, and anybody could make many.
            let value = if judgement == Judgement::Invalid { Blob::default() } else { value };
            self.hold(proposal, &value, judgement);
            let record = Record::Proposal(proposal.clone(), value, judgement);
            self.feed(app, now_ms, record, plain(proposal, judgement));
        }
    }

    pub(super) fn hold(&mut self, proposal: &Proposal, value: &Blob, judgement: Judgement) {
        if judgement != Judgement::Invalid {
            self.height.insert_value(proposal.value, &value.0);
        }
        self.height.insert_proposal(proposal.clone());
    }

    /// A decision of this height decides, whatever the rules have seen so far.
    pub(super) fn learn(&mut self, app: &mut dyn App, now_ms: u64, decision: Decision) {
        let height = decision.certificate.height;
        if height != self.height.number
            || self.decided
            || !decision.verify(&self.committee, &self.voice.genesis)
        {
            return;
        }
        if app.judge(height, &decision.value.0, false, now_ms) == Judgement::Invalid {
            self.diverged = true;
        } else {
            self.conclude(decision);
        }
    }

    fn testify(&mut self, evidence: Evidence) {
        let culprit = evidence.culprit(&self.committee);
        let against = self.evidence.iter().filter(|e| e.culprit(&self.committee) == culprit);
        if against.count() < EVIDENCE_PER_MEMBER && !self.evidence.contains(&evidence) {
            self.unwritten.push(Record::Evidence(evidence.clone()));
            self.evidence.push(evidence);
        }
    }
}
