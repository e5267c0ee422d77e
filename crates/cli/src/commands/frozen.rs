//! When it is true that what a freeze covers is frozen (P18): a part is as slow as everything.

use std::collections::BTreeMap;

use custody::genesis::Numbers;
use custody::name::Name;

/// So long after enough co-signers hold a freeze no share can leave any more, in seconds: a share leaves
/// only under a head within 60 s of the signer's clock, and two clocks may differ by as much (P14, P18).
pub(crate) const SETTLED_S: u64 = 150;

/// One co-signer's acknowledgement of a freeze.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    /// Whether it holds shares.
    pub(crate) signer: bool,
    /// Since when, by the own clock, seconds since 1970.
    pub(crate) since: u64,
}

/// Whether the acknowledgements make it true: by n − t + 1 + f signers, so that the honest ones among them
/// leave too few to sign; or by N − q + f + 1 co-signers 150 s ago, so that no newer head is final
/// without it and every older one is stale.
pub(crate) fn is_frozen(numbers: &Numbers, held: &BTreeMap<Name, Held>, now: u64) -> bool {
    let signers = held.values().filter(|h| h.signer).count();
    let settled = held.values().filter(|h| h.since.saturating_add(SETTLED_S) <= now).count();
    signers >= signers_needed(numbers) || settled >= cosigners_needed(numbers)
}

/// n − t + 1 + f.
pub(crate) fn signers_needed(n: &Numbers) -> usize {
    n.holders + 1 + n.faulty - n.threshold
}

/// N − q + f + 1.
pub(crate) fn cosigners_needed(n: &Numbers) -> usize {
    n.all + n.faulty + 1 - n.quorum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(list: &[(&str, bool, u64)]) -> BTreeMap<Name, Held> {
        let held = |(name, signer, since): &(&str, bool, u64)| {
            (name.parse().unwrap(), Held { signer: *signer, since: *since })
        };
        list.iter().map(held).collect()
    }

    #[test]
    fn frozen_only_when_it_is_true() {
        let numbers = Numbers::new(4, 3, 2, 1).unwrap();
        assert_eq!((signers_needed(&numbers), cosigners_needed(&numbers)), (3, 3));
        let two = held(&[("a", true, 0), ("b", true, 0)]);
        assert!(
            !is_frozen(&numbers, &two, 1_000_000),
            "one of the two may be hostile, and signs with the third"
        );
        let three = held(&[("a", true, 100), ("b", true, 100), ("c", true, 100)]);
        assert!(is_frozen(&numbers, &three, 100));
        let witness = held(&[("a", true, 100), ("b", true, 100), ("w", false, 100)]);
        assert!(!is_frozen(&numbers, &witness, 100 + SETTLED_S - 1));
        assert!(is_frozen(&numbers, &witness, 100 + SETTLED_S));
        assert!(!is_frozen(&numbers, &BTreeMap::new(), u64::MAX));
    }
}
