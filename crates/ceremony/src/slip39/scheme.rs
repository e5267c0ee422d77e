//! Who together can rebuild a secret: groups of members, each with a threshold.

use std::collections::BTreeSet;
use std::iter;
use std::rc::Rc;

use super::Fault;

/// Most groups of a scheme, by the four bits of SLIP-0039.
pub const GROUPS_LIMIT: usize = 16;

/// Most members of a group, as for groups.
pub const MEMBERS_LIMIT: u8 = 16;

/// Most sets that can just rebuild the secret: those of any 8 of 16, the most that one group has. Each is
/// tried in the ceremony (DACS REC-01), in some hundredths of a second.
pub const COMBINATIONS_LIMIT: u64 = 12_870;

/// Fewest shares that rebuild a secret: nobody recovers alone (DACS REC-06).
const SHARES_MIN: u64 = 2;

/// How many groups, and how many members of each, rebuild the secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scheme {
    /// How many groups it takes.
    pub group_threshold: u8,
    /// Of each group, how many members it takes, and how many there are.
    pub groups: Vec<(u8, u8)>,
}

/// Why a secret is not split by a scheme.
#[derive(Debug, thiserror::Error)]
pub enum SchemeError {
    /// Too few or too many groups.
    #[error("{0} groups: a scheme has 1 to {GROUPS_LIMIT}")]
    Groups(usize),
    /// A threshold that nobody or everybody meets.
    #[error("{0} of {1} groups: the threshold is from 1 to the number of groups")]
    GroupThreshold(u8, usize),
    /// As for groups, in the group of this number from 1.
    #[error(
        "group {0}, {1} of {2} members: choose up to {MEMBERS_LIMIT} members, and a threshold from 1 to that"
    )]
    MemberThreshold(usize, u8, u8),
    /// Many times the same share.
    #[error(
        "group {0} needs 1 of {1} members: that is one share in many hands; make it 1 of 1, or raise the threshold"
    )]
    Copies(usize, u8),
    /// One share rebuilds the secret.
    #[error("one share alone would rebuild the secret: it must take at least {SHARES_MIN} (DACS REC-06)")]
    Alone,
    /// More sets than a ceremony can try.
    #[error(
        "{0} sets of shares could rebuild the secret, and each has to be tried (DACS REC-01): choose a scheme with at most {COMBINATIONS_LIMIT}"
    )]
    Combinations(u64),
    /// SLIP-0039 has no shares of a secret of this length.
    #[error(
        "a secret of {0} bytes is not split: use one of 32 (the standard has even lengths from 16 to 64)"
    )]
    Length(usize),
    /// The standard has four bits for it.
    #[error("there is no iteration exponent {0}: use one from 0 to 15")]
    Exponent(u8),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Scheme {
    /// One group: any `threshold` of `members`.
    ///
    /// # Errors
    /// As [`Scheme::check`].
    pub fn any(threshold: u8, members: u8) -> Result<Self, SchemeError> {
        let scheme = Self { group_threshold: 1, groups: vec![(threshold, members)] };
        scheme.check().map(|()| scheme)
    }

    /// Whether a secret may be split by it: the bounds of SLIP-0039, DACS REC-06 and REC-01.
    ///
    /// # Errors
    /// The first thing that is not sound.
    pub fn check(&self) -> Result<(), SchemeError> {
        let groups = self.groups.len();
        if !(1..=GROUPS_LIMIT).contains(&groups) {
            return Err(SchemeError::Groups(groups));
        }
        if !(1..=groups).contains(&usize::from(self.group_threshold)) {
            return Err(SchemeError::GroupThreshold(self.group_threshold, groups));
        }
        for (number, &(threshold, members)) in (1..).zip(&self.groups) {
            if !(1..=members).contains(&threshold) || members > MEMBERS_LIMIT {
                return Err(SchemeError::MemberThreshold(number, threshold, members));
            }
            if threshold == 1 && members > 1 {
                return Err(SchemeError::Copies(number, members));
            }
        }
        let mut thresholds: Vec<u64> =
            self.groups.iter().map(|(threshold, _)| u64::from(*threshold)).collect();
        thresholds.sort_unstable();
        if thresholds.iter().take(usize::from(self.group_threshold)).sum::<u64>() < SHARES_MIN {
            return Err(SchemeError::Alone);
        }
        match self.count_combinations() {
            count if count > COMBINATIONS_LIMIT => Err(SchemeError::Combinations(count)),
            _ => Ok(()),
        }
    }

    /// How many shares there are.
    pub fn shares(&self) -> usize {
        self.groups.iter().map(|(_, members)| usize::from(*members)).sum()
    }

    /// Whether these members, each as group and member from 0, can rebuild the secret. Who is named twice
    /// counts once.
    pub fn met_by(&self, members: &[(u8, u8)]) -> bool {
        let present: BTreeSet<&(u8, u8)> = members.iter().collect();
        let complete = (0u8..).zip(&self.groups).filter(|(group, (threshold, members))| {
            let here = present.iter().filter(|(g, m)| g == group && m < members).count();
            here >= usize::from(*threshold)
        });
        complete.count() >= usize::from(self.group_threshold)
    }

    /// Every smallest set of shares that rebuilds the secret, as positions from 0 in the order that
    /// [`super::split`] deals them.
    pub fn combinations(&self) -> impl Iterator<Item = Vec<usize>> + use<> {
        let mut first = 0usize;
        let mut groups: Vec<Sets> = Vec::new();
        for &(threshold, members) in &self.groups {
            let places = subsets(threshold, members)
                .map(|set| set.map(|member| first.saturating_add(member)).collect());
            groups.push(places.collect());
            first = first.saturating_add(usize::from(members));
        }
        let count = u8::try_from(groups.len()).unwrap_or(u8::MAX);
        subsets(self.group_threshold, count)
            .flat_map(move |chosen| product(chosen.filter_map(|group| groups.get(group).cloned()).collect()))
    }

    /// How many [`Scheme::combinations`] there are, without making them; saturating.
    pub fn count_combinations(&self) -> u64 {
        // The elementary symmetric polynomials of the numbers of sets of each group.
        let mut sums = vec![0u64; usize::from(self.group_threshold).saturating_add(1)];
        if let Some(none) = sums.first_mut() {
            *none = 1;
        }
        for &(threshold, members) in &self.groups {
            let sets = binomial(members, threshold);
            let with: Vec<u64> = sums.iter().map(|sum| sum.saturating_mul(sets)).collect();
            sums.iter_mut().skip(1).zip(with).for_each(|(sum, with)| *sum = sum.saturating_add(with));
        }
        sums.last().copied().unwrap_or(0)
    }
}

/// The number of sets of `size` out of `count`.
fn binomial(count: u8, size: u8) -> u64 {
    (0..u64::from(size)).fold(1u64, |sets, i| {
        let more = sets.saturating_mul(u64::from(count).saturating_sub(i));
        more.checked_div(i.saturating_add(1)).unwrap_or(0)
    })
}

/// Every set of `size` out of `count` (up to 16), each as its elements from 0 in order.
fn subsets(size: u8, count: u8) -> impl Iterator<Item = impl Iterator<Item = usize>> {
    let all = 1u32.checked_shl(u32::from(count.min(MEMBERS_LIMIT))).unwrap_or(0);
    let sets = (0..all).filter(move |set| set.count_ones() == u32::from(size));
    sets.map(|set| (0..usize::from(MEMBERS_LIMIT)).filter(move |bit| (set >> bit) & 1 == 1))
}

/// The sets of members of one group that meet its threshold.
type Sets = Rc<[Vec<usize>]>;

/// One set of each group, in all ways.
fn product(groups: Vec<Sets>) -> Box<dyn Iterator<Item = Vec<usize>>> {
    let Some((first, rest)) = groups.split_first() else {
        return Box::new(iter::once(Vec::new()));
    };
    let (first, rest) = (Rc::clone(first), rest.to_vec());
    Box::new((0..first.len()).flat_map(move |at| {
        let head = first.get(at).cloned().unwrap_or_default();
        product(rest.clone()).map(move |tail| [head.as_slice(), &tail].concat())
    }))
}
