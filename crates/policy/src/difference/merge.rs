//! Neighbours that differ in the same way, as one.

use std::collections::BTreeMap;

use custody::name::Name;

use super::budget::Budget;
use super::{Aspect, Difference, Direction};

/// Most differences of one sort that are looked at for neighbours that are one: so many are read by nobody.
pub const NEIGHBOURS_LIMIT: usize = 400;

/// Neighbours with the same difference as one, as far as the budget goes.
pub(crate) fn merged(all: Vec<Difference>, budget: &Budget) -> Vec<Difference> {
    type Sort = (Direction, Aspect, bool, Vec<Name>, Vec<Name>, String, String);
    let mut sorts: BTreeMap<Sort, Vec<Difference>> = BTreeMap::new();
    for one in all {
        let d = one.clone();
        let sort = (d.direction, d.aspect, d.undecided, d.in_force, d.draft, d.before, d.after);
        sorts.entry(sort).or_default().push(one);
    }
    let join = |mut left: Vec<Difference>| {
        if left.len() > NEIGHBOURS_LIMIT {
            return left;
        }
        let mut done = Vec::new();
        while let Some(mut one) = left.pop() {
            let joined = |other: &Difference| {
                let (own, others) = (one.region.as_ref()?, other.region.as_ref()?);
                let work = own.size().saturating_add(others.size());
                budget.takes(work).then(|| own.joined(others)).flatten()
            };
            let found = left.iter().enumerate().find_map(|(i, other)| Some((i, joined(other)?)));
            match found {
                Some((i, region)) => {
                    // What it was joined with may have other neighbours now.
                    left.swap_remove(i);
                    one.region = Some(region);
                    left.push(one);
                    left.append(&mut done);
                }
                None => done.push(one),
            }
        }
        done.reverse();
        done
    };
    sorts.into_values().flat_map(join).collect()
}

#[cfg(test)]
mod tests {
    use custody::effects::Sats;
    use custody::policy::{Policy, RequestKind};
    use custody::quorum::Groups;

    use super::*;
    use crate::difference::catalog::Catalog;
    use crate::difference::{Ground, Names, Region, WORK_LIMIT, not_compared};

    /// Differences in wallets of their own, with nothing else to tell them apart.
    fn wallets(count: usize) -> Vec<Difference> {
        let ground =
            Ground { groups: &Nobody, assets: vec!["net:a/x:1".into()], de_minimis: Sats(0), now: 0 };
        let policy = Policy::default();
        let whole = Catalog::new([&policy, &policy], 0).whole(RequestKind::Payment, &ground).region;
        let one = |i: usize| {
            let name = Name::new(&format!("wallet-{i}")).unwrap();
            let region = Region { wallets: Names::Only([name].into()), ..whole.clone() };
            let [more, _] = not_compared(&region);
            more
        };
        (0..count).map(one).collect()
    }

    struct Nobody;

    impl Groups for Nobody {
        fn members(&self, _: &Name) -> Option<&[Name]> {
            None
        }
    }

    #[test]
    fn neighbours_are_one_up_to_a_limit() {
        let all = |count| merged(wallets(count), &Budget::new(WORK_LIMIT)).len();
        assert_eq!(all(NEIGHBOURS_LIMIT), 1);
        assert_eq!(all(NEIGHBOURS_LIMIT + 1), NEIGHBOURS_LIMIT + 1);
        assert!(merged(wallets(9), &Budget::new(20)).len() > 1, "as far as the budget goes");
    }
}
