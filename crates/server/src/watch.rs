//! What became of transactions on the chain: which are in a block, and how deep.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::Txid;
use bitcoin::hashes::Hash as _;
use custody::Hash;
use custody::effects::OutPoint;
use custody::state::State;
use serde::{Deserialize, Serialize};

/// A transaction with so many confirmations is not looked at again (Bitcoin Core's coinbase maturity).
pub const SETTLED_DEPTH: u32 = 100;

/// Where a transaction is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The height of the block.
    pub height: u32,
    /// The block, wire byte order.
    pub block: Hash,
}

/// The transactions that are in blocks, by authorisation, and up to where blocks were looked at.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    confirmed: BTreeMap<Hash, Place>,
    /// All blocks up to this height were searched for `known`.
    searched: u32,
    known: BTreeSet<Hash>,
}

/// A transaction id as people write it.
pub fn shown(txid: &Hash) -> Txid {
    Txid::from_byte_array(txid.0)
}

impl Watch {
    /// Notes where a transaction is, from disk or from a block.
    pub fn found(&mut self, authorisation: Hash, place: Place) {
        self.confirmed.insert(authorisation, place);
    }

    /// Where a transaction is.
    pub fn place(&self, authorisation: &Hash) -> Option<&Place> {
        self.confirmed.get(authorisation)
    }

    /// The confirmations of a transaction at a tip.
    pub fn confirmations(&self, authorisation: &Hash, tip: u32) -> u32 {
        let height = self.place(authorisation).map(|place| place.height);
        height.map_or(0, |height| tip.saturating_add(1).saturating_sub(height))
    }

    /// Outputs that transactions in blocks spent.
    pub fn spent(&self, state: &State) -> BTreeSet<OutPoint> {
        let found = self.confirmed.keys().filter_map(|id| state.authorisations().get(id));
        found.flat_map(|a| &a.transaction.inputs).map(|input| input.outpoint).collect()
    }

    /// The transactions that may still get into a block, by txid: neither they nor one that spends the
    /// same are in one.
    pub fn open(&self, state: &State) -> BTreeMap<Txid, Hash> {
        let spent = self.spent(state);
        let conflicts = |a: &custody::state::Authorisation| {
            a.transaction.inputs.iter().any(|input| spent.contains(&input.outpoint))
        };
        let open = state.authorisations().iter().filter(|(_, a)| !conflicts(a));
        open.map(|(id, a)| (shown(&a.txid), *id)).collect()
    }

    /// The first block to search. New transactions are searched for from the height that they were made
    /// at on: their lock time.
    pub fn begin(&mut self, state: &State, lock_time: impl Fn(&Hash) -> u32) -> u32 {
        let open: BTreeSet<Hash> = self.open(state).into_values().collect();
        let from = open.difference(&self.known).map(lock_time).min();
        self.searched = from
            .map_or(self.searched, |from| if self.known.is_empty() { from } else { self.searched.min(from) });
        self.known = open;
        self.searched.saturating_add(1)
    }

    /// Notes that a block was searched.
    pub fn searched(&mut self, height: u32) {
        self.searched = height;
    }

    /// The young places, whose blocks may have been replaced.
    pub fn young(&self, tip: u32) -> Vec<(Hash, Place)> {
        let young = |place: &Place| tip.saturating_add(1).saturating_sub(place.height) < SETTLED_DEPTH;
        self.confirmed.iter().filter(|(_, place)| young(place)).map(|(id, p)| (*id, p.clone())).collect()
    }

    /// A block was replaced: its transaction may be in another one, from its height on.
    pub fn lost(&mut self, authorisation: &Hash) {
        if let Some(place) = self.confirmed.remove(authorisation) {
            self.searched = self.searched.min(place.height.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use fixtures::World;

    use super::*;

    fn place(height: u32) -> Place {
        Place { height, block: Hash([7; 32]) }
    }

    /// A world with a payment and its bump.
    fn bumped() -> (World, Hash, Hash) {
        let mut world = World::ready();
        let coin = world.coin(1_000_000);
        let request = world.request(&[("acme", 100_000)]);
        let request = world.asked(request);
        let first = world.pay(&[request], &world.draft(&[request], &[coin], 1_000)).unwrap();
        let second = world.pay(&[request], &world.draft(&[request], &[coin], 2_000)).unwrap();
        (world, first, second)
    }

    #[test]
    fn either_of_two_conflicting_transactions_may_confirm_and_then_none_is_open() {
        let (world, first, second) = bumped();
        let mut watch = Watch::default();
        assert_eq!(watch.open(&world.state).len(), 2);
        watch.found(first, place(10));
        assert!(watch.open(&world.state).is_empty());
        assert_eq!((watch.confirmations(&first, 12), watch.confirmations(&second, 12)), (3, 0));
    }

    #[test]
    fn blocks_are_searched_once_and_again_for_what_is_new_or_lost() {
        let (world, first, _) = bumped();
        let mut watch = Watch::default();
        assert_eq!(watch.begin(&world.state, |_| 9), 10);
        watch.searched(20);
        assert_eq!(watch.begin(&world.state, |_| 9), 21);
        watch.found(first, place(15));
        assert_eq!(watch.young(15 + SETTLED_DEPTH - 2).len(), 1);
        assert!(watch.young(15 + SETTLED_DEPTH - 1).is_empty());
        watch.lost(&first);
        assert_eq!(watch.confirmations(&first, 20), 0);
        assert_eq!(watch.begin(&world.state, |_| 9), 15, "from its block on");
    }
}
