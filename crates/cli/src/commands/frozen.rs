//! When it is true that what a freeze covers is frozen (P18): a part is as slow as everything.

use std::collections::{BTreeMap, BTreeSet};

use custody::genesis::Numbers;
use custody::name::Name;

/// So long after enough co-signers hold a freeze no share can leave any more, in seconds: a share leaves
/// only under a head within 60 s of the signer's clock, and two clocks may differ by as much (P14, P18).
pub(crate) const SETTLED_S: u64 = 150;

/// Whether the acknowledgements, each with the time since when by the own clock, make it true: for each set that
/// holds the shares of an account by n − t + 1 + f of its n signers, so that the honest ones among them leave too
/// few to sign; or by N − q + f + 1 co-signers 150 s ago, so that no newer head is final without it and every
/// older one is stale. Of those that vote, in each of the `committees`, sets that do or soon will, with their
/// N − q + f + 1: what others say stops nothing (P30).
pub(crate) fn is_frozen(
    numbers: &Numbers,
    sets: &BTreeSet<Vec<Name>>,
    committees: &[(Vec<Name>, usize)],
    held: &BTreeMap<Name, u64>,
    now: u64,
) -> bool {
    let votes = |name: &Name| committees.iter().any(|(members, _)| members.contains(name));
    let stopped = |set: &Vec<Name>| {
        let signers = set.iter().filter(|signer| held.contains_key(*signer) && votes(signer)).count();
        signers >= signers_needed(numbers, set.len())
    };
    let old = |name: &&Name| held.get(*name).is_some_and(|since| since.saturating_add(SETTLED_S) <= now);
    let settled = |(members, needed): &(Vec<Name>, usize)| members.iter().filter(old).count() >= *needed;
    let (stopped, settled) = (sets.iter().all(stopped), committees.iter().all(settled));
    (!sets.is_empty() && stopped) || (!committees.is_empty() && settled)
}

/// n − t + 1 + f of n holders.
pub(crate) fn signers_needed(n: &Numbers, holders: usize) -> usize {
    holders + 1 + n.faulty - n.threshold
}

/// N − q + f + 1.
pub(crate) fn cosigners_needed(n: &Numbers) -> usize {
    n.all + n.faulty + 1 - n.quorum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<Name> {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn held(list: &[&str], since: u64) -> BTreeMap<Name, u64> {
        names(list).into_iter().map(|name| (name, since)).collect()
    }

    #[test]
    fn frozen_only_when_it_is_true() {
        let numbers = Numbers::new(4, 3, 2, 1).unwrap();
        assert_eq!((signers_needed(&numbers, 3), cosigners_needed(&numbers)), (3, 3));
        let four = [(names(&["a", "b", "c", "w"]), 3)];
        let is_frozen = |n: &_, sets: &_, held: &_, now| is_frozen(n, sets, &four, held, now);
        let signers = names(&["a", "b", "c"]);
        let sets = [signers].into();
        let two = held(&["a", "b"], 0);
        assert!(
            !is_frozen(&numbers, &sets, &two, 1_000_000),
            "one of the two may be hostile, and signs with the third"
        );
        assert!(is_frozen(&numbers, &sets, &held(&["a", "b", "c"], 100), 100));
        let witness = held(&["a", "b", "w"], 100);
        assert!(!is_frozen(&numbers, &sets, &witness, 100 + SETTLED_S - 1));
        assert!(is_frozen(&numbers, &sets, &witness, 100 + SETTLED_S));
        assert!(!is_frozen(&numbers, &sets, &BTreeMap::new(), u64::MAX));
        // Where nothing was dealt it is the log that stops, once it has it.
        assert!(!is_frozen(&numbers, &BTreeSet::new(), &held(&["a", "b"], 100), 100));
    }

    /// Each account has its holders: those of one do not stop another.
    #[test]
    fn who_holds_shares_after_a_resharing_counts() {
        let numbers = Numbers::new(4, 3, 2, 1).unwrap();
        let voting = [(names(&["a", "b", "c", "w"]), 3)];
        let is_frozen = |n: &_, sets: &_, held: &_, now| is_frozen(n, sets, &voting, held, now);
        let (old, new) = (names(&["a", "b", "c"]), names(&["a", "b", "w"]));
        let all = names(&["a", "b", "c", "w"]);
        let before = held(&["a", "b", "c"], 100);
        assert!(!is_frozen(&numbers, &[new.clone()].into(), &before, 100));
        assert!(!is_frozen(&numbers, &[old.clone(), new.clone()].into(), &before, 100));
        let four = held(&["a", "b", "c", "w"], 100);
        assert!(is_frozen(&numbers, &[old.clone(), new.clone()].into(), &four, 100));
        assert!(!is_frozen(&numbers, &[all.clone()].into(), &before, 100), "with four holders it takes four");
        assert!(is_frozen(&numbers, &[all.clone()].into(), &four, 100));
    }

    /// Who left says what it likes, and so does who is to join: each set that votes, or soon will, must be stopped.
    #[test]
    fn only_co_signers_that_vote_count() {
        let numbers = Numbers::new(4, 3, 2, 1).unwrap();
        let (now, next) = ([(names(&["a", "b", "c", "w"]), 3)], [(names(&["a", "b", "w", "d"]), 3)]);
        let both = [now[0].clone(), next[0].clone()];
        let holders = [names(&["a", "b", "w"])].into();
        let settled = |list: &[&str], committees: &[(Vec<Name>, usize)]| {
            is_frozen(&numbers, &holders, committees, &held(list, 0), SETTLED_S)
        };
        assert!(settled(&["a", "b", "c"], &now));
        assert!(!settled(&["a", "b", "c"], &next), "c has left");
        assert!(!settled(&["a", "b", "c"], &both), "c is about to leave");
        assert!(settled(&["a", "c", "w", "d"], &both));
        assert!(!settled(&["a", "b", "c"], &[]));
        // Nor does a holder's word count that votes no more.
        let old = [names(&["a", "b", "c"])].into();
        assert!(!is_frozen(&numbers, &old, &next, &held(&["a", "b", "c"], 100), 100));
    }
}
