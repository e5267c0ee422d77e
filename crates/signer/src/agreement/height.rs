//! Everything signed that is held of one height, and what of it is let in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use custody::{Blob, Hash};

use super::committee::Committee;
use super::message::{Certificate, Evidence, Proposal, Vote};
use crate::tendermint::{Kind, Member, Round, Step, Tendermint};

/// Rounds ahead of the own for which messages are kept: a member that is a little slower loses
/// nothing, and nobody fills the memory with rounds that do not exist yet.
pub const ROUNDS_AHEAD: Round = 4;

/// Proposals of one round that are kept: an honest proposer makes one, the second is evidence and may
/// be the one that the others saw.
pub const PROPOSALS_PER_ROUND: usize = 2;

/// The signed messages of one height, and the rules once the height has begun.
#[derive(Debug)]
pub(super) struct Height {
    pub(super) number: u64,
    pub(super) core: Option<Tendermint>,
    /// Timeouts that are scheduled and have not elapsed.
    pub(super) timers: BTreeSet<(Step, Round)>,
    values: BTreeMap<Hash, Arc<[u8]>>,
    proposals: BTreeMap<Round, Vec<Proposal>>,
    votes: BTreeMap<(Round, Kind), Vec<Vote>>,
    /// Of each member the vote with the highest round beyond the horizon.
    beyond: BTreeMap<Member, Vote>,
}

/// What became of votes that came in.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    pub(super) votes: Vec<Vote>,
    pub(super) evidence: Vec<Evidence>,
}

impl Height {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            core: None,
            timers: BTreeSet::new(),
            values: BTreeMap::new(),
            proposals: BTreeMap::new(),
            votes: BTreeMap::new(),
            beyond: BTreeMap::new(),
        }
    }

    pub(super) fn round(&self) -> Round {
        self.core.as_ref().map_or(0, Tendermint::round)
    }

    /// The highest round whose messages are kept: [`ROUNDS_AHEAD`], or further if one honest member
    /// shows that the others are there.
    fn horizon(&self, committee: &Committee) -> Round {
        let mut shown: Vec<Round> = self.beyond.values().map(|vote| vote.round).collect();
        shown.sort_unstable_by(|a, b| b.cmp(a));
        let shown = shown.get(committee.faulty()).copied().unwrap_or_default();
        shown.max(self.round().saturating_add(ROUNDS_AHEAD))
    }

    pub(super) fn knows(&self, vote: &Vote) -> bool {
        self.held(vote.round, vote.kind).any(|v| v.by == vote.by && v.value == vote.value)
    }

    /// Sorts new, verified votes of others into those that count now and evidence.
    ///
    /// A second, different vote of a member counts only in a certificate: others may hold a quorum
    /// with the one and this member a quorum without it.
    pub(super) fn admit(&mut self, committee: &Committee, verified: Vec<Vote>) -> Admitted {
        let mut fresh = Vec::new();
        let horizon = self.horizon(committee);
        for vote in verified {
            if vote.round <= horizon {
                fresh.push(vote);
            } else if self.beyond.get(&vote.by).is_none_or(|held| held.round < vote.round) {
                self.beyond.insert(vote.by, vote);
            }
        }
        let horizon = self.horizon(committee);
        let (now, later) =
            std::mem::take(&mut self.beyond).into_iter().partition(|(_, vote)| vote.round <= horizon);
        self.beyond = later;
        fresh.extend(BTreeMap::into_values(now));

        let mut admitted = Admitted::default();
        for vote in &fresh {
            if self.knows(vote) {
                continue;
            }
            let other = self.held(vote.round, vote.kind).find(|held| held.by == vote.by).cloned();
            if let Some(other) = other {
                admitted.evidence.push(Evidence::Votes(other, vote.clone()));
                if !self.certified(committee, vote, &fresh) {
                    continue;
                }
            }
            self.insert(vote.clone());
            admitted.votes.push(vote.clone());
        }
        admitted
    }

    /// Whether the held votes and the new ones are a quorum for what `vote` says.
    fn certified(&self, committee: &Committee, vote: &Vote, fresh: &[Vote]) -> bool {
        let voters: BTreeSet<Member> = self
            .held(vote.round, vote.kind)
            .chain(fresh.iter().filter(|v| (v.round, v.kind) == (vote.round, vote.kind)))
            .filter(|v| v.value == vote.value)
            .map(|v| v.by)
            .collect();
        voters.len() >= committee.quorum()
    }

    pub(super) fn insert(&mut self, vote: Vote) {
        self.votes.entry((vote.round, vote.kind)).or_default().push(vote);
    }

    fn held(&self, round: Round, kind: Kind) -> impl Iterator<Item = &Vote> {
        self.votes.get(&(round, kind)).into_iter().flatten()
    }

    /// Whether this very proposal is held.
    pub(super) fn has_proposal(&self, new: &Proposal) -> bool {
        let same = |p: &Proposal| (p.value, p.pol_round) == (new.value, new.pol_round);
        self.proposals(new.round).iter().any(same)
    }

    /// Another proposal of the same round, whose proposer so contradicts itself.
    pub(super) fn contradicted(&self, new: &Proposal) -> Option<&Proposal> {
        self.proposals(new.round).first().filter(|_| !self.has_proposal(new))
    }

    /// Whether a verified proposal is kept: within the bounds, or of a value that a quorum voted for.
    pub(super) fn room_for(&self, committee: &Committee, new: &Proposal) -> bool {
        let held = self.proposals(new.round);
        let wanted = || {
            let both = [Kind::Prevote, Kind::Precommit];
            let quorum = |kind: &Kind| {
                let core = self.core.as_ref();
                core.is_some_and(|core| core.has_quorum(*kind, new.round, Some(new.value)))
            };
            both.iter().any(quorum) && held.iter().all(|p| p.value != new.value)
        };
        !self.has_proposal(new)
            && new.round <= self.horizon(committee)
            && (held.len() < PROPOSALS_PER_ROUND || wanted())
    }

    pub(super) fn insert_proposal(&mut self, proposal: Proposal) {
        self.proposals.entry(proposal.round).or_default().push(proposal);
    }

    pub(super) fn insert_value(&mut self, hash: Hash, value: &[u8]) {
        self.values.entry(hash).or_insert_with(|| value.into());
    }

    pub(super) fn value(&self, hash: &Hash) -> Option<&[u8]> {
        self.values.get(hash).map(AsRef::as_ref)
    }

    /// The held votes that say this.
    pub(super) fn votes_for(&self, kind: Kind, round: Round, value: Option<Hash>) -> Vec<Vote> {
        self.held(round, kind).filter(|vote| vote.value == value).cloned().collect()
    }

    /// A member's vote in a round.
    pub(super) fn vote_of(&self, by: Member, round: Round, kind: Kind) -> Option<&Vote> {
        self.held(round, kind).find(|vote| vote.by == by)
    }

    /// The last prevote and the last precommit of each member, or of one.
    pub(super) fn last_votes(&self, of: Option<Member>) -> Vec<Vote> {
        let mut last = BTreeMap::new();
        for vote in self.votes.values().flatten().chain(self.beyond.values()) {
            if of.is_none_or(|member| member == vote.by) {
                last.insert((vote.by, vote.kind), vote.clone());
            }
        }
        last.into_values().collect()
    }

    /// A held proposal of a round with this value.
    pub(super) fn proposal(&self, round: Round, value: &Hash) -> Option<&Proposal> {
        self.proposals.get(&round)?.iter().find(|proposal| proposal.value == *value)
    }

    /// The held proposals of a round.
    pub(super) fn proposals(&self, round: Round) -> &[Proposal] {
        self.proposals.get(&round).map_or(&[], Vec::as_slice)
    }

    /// The votes that show why this member is in its round: a quorum of precommits of the round before
    /// (L47, L65), or one honest member that is there already (L55).
    pub(super) fn round_certificate(&self, committee: &Committee) -> Vec<Vote> {
        let by_member = |votes: Vec<&Vote>| -> BTreeMap<Member, Vote> {
            votes.into_iter().map(|vote| (vote.by, vote.clone())).collect()
        };
        let Some(before) = self.round().checked_sub(1) else {
            return Vec::new();
        };
        let precommits = by_member(self.held(before, Kind::Precommit).collect());
        if precommits.len() >= committee.quorum() {
            return precommits.into_values().collect();
        }
        let both = [Kind::Prevote, Kind::Precommit];
        let here = both.iter().flat_map(|kind| self.held(self.round(), *kind)).collect();
        by_member(here).into_values().collect()
    }

    /// The proof that this value is decided in this round.
    pub(super) fn certificate(&self, round: Round, value: Hash) -> Certificate {
        let precommits = self.votes_for(Kind::Precommit, round, Some(value));
        let signatures: BTreeMap<Member, Blob> =
            precommits.into_iter().map(|vote| (vote.by, vote.signature)).collect();
        Certificate { height: self.number, round, value, signatures: signatures.into_iter().collect() }
    }

    /// All messages that are held, proposals with their values.
    pub(super) fn into_messages(self) -> (Vec<(Proposal, Blob)>, Vec<Vote>) {
        let Self { values, proposals, votes, .. } = self;
        let with_value = |proposal: Proposal| {
            let value = Blob(values.get(&proposal.value)?.to_vec());
            Some((proposal, value))
        };
        let proposals = proposals.into_values().flatten().filter_map(with_value).collect();
        (proposals, votes.into_values().flatten().collect())
    }
}
