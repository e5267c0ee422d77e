//! Who votes, and how many votes are enough.

use std::collections::BTreeSet;

use ed25519_dalek::VerifyingKey;

use crate::tendermint::{Member, Round, Rules};

/// Least members: with fewer no member may be lost or hostile (N ≥ 3f + 1, f ≥ 1).
pub const MEMBERS_MIN: usize = 4;

/// Most members: keeps every certificate, bundle of votes and answer within one message.
pub const MEMBERS_MAX: usize = 32;

/// One co-signer, as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its name, for people.
    pub name: String,
    /// The key of its votes, which has no other purpose (rule `P4`).
    pub vote: VerifyingKey,
}

/// Why a set of co-signers is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// Outside [`MEMBERS_MIN`] to [`MEMBERS_MAX`].
    #[error("a committee has {MEMBERS_MIN} to {MEMBERS_MAX} members, not {0}")]
    Size(usize),
    /// Two members share a key, so one vote would count twice.
    #[error("member {0} has the vote key of another member; give every member its own")]
    SameKey(Member),
    /// A key of small order verifies what nobody signed.
    #[error("the vote key of member {0} is weak; make a new one")]
    WeakKey(Member),
    /// The own index or the own key does not belong to a member.
    #[error("this co-signer's vote key is not that of member {0}; check genesis and data directory")]
    NotMe(Member),
}

/// The co-signers that vote, in the order of genesis, and which of them this one is.
#[derive(Clone, Debug)]
pub struct Committee {
    seats: Vec<Seat>,
    me: Member,
    quorum: usize,
}

impl Committee {
    /// Checks and takes a set of co-signers.
    ///
    /// # Errors
    /// See [`CommitteeError`].
    pub fn new(seats: Vec<Seat>, me: Member) -> Result<Self, CommitteeError> {
        let size = seats.len();
        if !(MEMBERS_MIN..=MEMBERS_MAX).contains(&size) {
            return Err(CommitteeError::Size(size));
        }
        let mut keys = BTreeSet::new();
        for (member, seat) in seats.iter().enumerate() {
            if seat.vote.is_weak() {
                return Err(CommitteeError::WeakKey(member));
            }
            if !keys.insert(seat.vote.to_bytes()) {
                return Err(CommitteeError::SameKey(member));
            }
        }
        if me >= size {
            return Err(CommitteeError::NotMe(me));
        }
        let mut committee = Self { seats, me, quorum: 0 };
        committee.quorum = size.saturating_sub(committee.faulty());
        Ok(committee)
    }

    /// The same committee with a wrong quorum, for the test that shows what the right one prevents.
    #[cfg(test)]
    pub(crate) fn with_quorum(mut self, quorum: usize) -> Self {
        self.quorum = quorum;
        self
    }

    /// Number of members, N.
    pub fn size(&self) -> usize {
        self.seats.len()
    }

    /// Members that may be lost or hostile, f = ⌊(N − 1) / 3⌋.
    pub fn faulty(&self) -> usize {
        self.size().saturating_sub(1).checked_div(3).unwrap_or_default()
    }

    /// Votes that decide, q = N − f.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// Members of which at least one is honest, f + 1.
    pub fn some_honest(&self) -> usize {
        self.faulty().saturating_add(1)
    }

    /// Answers after which a start may end: N − f − 1 others (rule `P12`).
    pub fn answers_to_start(&self) -> usize {
        self.size().saturating_sub(self.some_honest())
    }

    /// Answers that a restored disk needs: N − q + f + 1 others (rule `P12`).
    pub fn answers_to_recover(&self) -> usize {
        self.size().saturating_sub(self.quorum).saturating_add(self.some_honest())
    }

    /// This co-signer.
    pub fn me(&self) -> Member {
        self.me
    }

    /// A member's name.
    pub fn name(&self, member: Member) -> Option<&str> {
        self.seats.get(member).map(|seat| seat.name.as_str())
    }

    /// A member's vote key.
    pub fn key(&self, member: Member) -> Option<&VerifyingKey> {
        self.seats.get(member).map(|seat| &seat.vote)
    }

    /// The proposer of a round, in turn over heights and rounds (rule `P8`).
    pub fn proposer(&self, height: u64, round: Round) -> Member {
        self.rules(height).proposer(round)
    }

    pub(super) fn rules(&self, height: u64) -> Rules {
        let size = u64::try_from(self.size()).unwrap_or(u64::MAX);
        let first = height.checked_rem(size).unwrap_or_default();
        Rules {
            members: self.size(),
            quorum: self.quorum,
            some_honest: self.some_honest(),
            me: self.me,
            first_proposer: usize::try_from(first).unwrap_or_default(),
        }
    }
}
