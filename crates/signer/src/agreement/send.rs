//! What goes out: first to disk, then to the others, and again until they have it.

use std::collections::BTreeSet;

use custody::Blob;

use super::Agreement;
use super::api::{Output, RETRANSMIT_MS, TimerId};
use super::guard::Trust;
use super::message::{Message, Proposal, Vote};
use super::record;
use crate::tendermint::{Kind, Member};

impl Agreement {
    /// Puts on disk what the next output depends on.
    pub(super) fn flush(&mut self) -> bool {
        if self.unwritten.is_empty() {
            return true;
        }
        let Some(bytes) = record::encode(&self.unwritten) else {
            return false;
        };
        self.unwritten.clear();
        self.log_bytes = self.log_bytes.saturating_add(bytes.len());
        self.out.push(Output::Write(bytes));
        true
    }

    pub(super) fn send(&mut self, to: Option<Member>, message: &Message) {
        if let Some(bytes) = message.encode()
            && self.flush()
        {
            self.out.push(Output::Send { to, bytes });
        }
    }

    pub(super) fn send_proposal(&mut self, proposal: Proposal) {
        let Some(value) = self.height.value(&proposal.value) else {
            return;
        };
        let value = Blob(value.to_vec());
        let polka =
            proposal.pol_round.map(|round| self.height.votes_for(Kind::Prevote, round, Some(proposal.value)));
        self.send(None, &Message::Proposal { proposal, value, polka: polka.unwrap_or_default() });
    }

    pub(super) fn retransmit_later(&mut self) {
        if !self.retransmitting {
            self.retransmitting = true;
            let id = TimerId::Retransmit;
            self.out.push(Output::SetTimer { id, after_ms: RETRANSMIT_MS });
        }
    }

    pub(super) fn retransmit(&mut self) {
        self.retransmitting = false;
        if self.wants_answers() || self.awaits().is_some() {
            self.send_probe(None);
            self.retransmit_later();
        }
        if self.is_running() && self.takes_part() {
            self.send_again();
            self.retransmit_later();
        }
    }

    /// Own votes of the round, why this member is in it, and the value that may be locked with its
    /// proof; and a question, for the others may be past this height.
    pub(super) fn send_again(&mut self) {
        let Some(core) = &self.height.core else {
            return;
        };
        let (round, valid) = (core.round(), core.valid());
        let me = self.voice.me;
        let both = [Kind::Prevote, Kind::Precommit];
        let own = both.iter().filter_map(|kind| self.height.vote_of(me, round, *kind)).cloned();
        let mut votes: BTreeSet<Vote> = own.collect();
        votes.extend(self.height.round_certificate(&self.committee));
        let mut proposals = Vec::new();
        if let Some((valid_round, value)) = valid {
            votes.extend(self.height.votes_for(Kind::Prevote, valid_round, Some(value)));
            proposals.extend(self.height.proposal(valid_round, &value).cloned());
        }
        if self.committee.proposer(self.height.number, round) == me
            && let Some(own) = self.height.proposals(round).first()
            && !proposals.contains(own)
        {
            proposals.push(own.clone());
        }
        if !votes.is_empty() {
            self.send(None, &Message::Votes(votes.into_iter().collect()));
        }
        proposals.into_iter().for_each(|proposal| self.send_proposal(proposal));
        self.send_probe(None);
    }

    /// Sends the decision that a member at `height` lacks, not more often than it sends again itself.
    pub(super) fn help(&mut self, now_ms: u64, member: Member, height: u64) {
        let recent = self
            .helped
            .get(&member)
            .is_some_and(|(at, since)| *at == height && now_ms < since.saturating_add(RETRANSMIT_MS));
        let Some(decision) = self.history.get(&height).filter(|_| !recent) else {
            return;
        };
        let message = Message::Decision(decision.clone());
        self.helped.insert(member, (height, now_ms));
        self.send(Some(member), &message);
    }

    pub(super) fn ask_for_help(&mut self, now_ms: u64) {
        let height = self.height.number;
        let recent = self
            .asked
            .is_some_and(|(at, since)| at == height && now_ms < since.saturating_add(RETRANSMIT_MS));
        if !recent && self.guard.trust != Trust::Unstarted {
            self.asked = Some((height, now_ms));
            self.out.push(Output::Behind(self.ahead));
            self.send_probe(None);
        }
    }
}
