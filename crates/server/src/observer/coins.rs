//! The coins of the wallets as of a scan, and how far they are handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use builder::Utxo;
use custody::Hash;
use custody::effects::{Branch, OutPoint, Sats};
use custody::name::Name;

use super::Tip;

/// Indices are scanned up to the next multiple of this: a scan reads the whole set of unspent outputs, minutes on
/// the main network, so a new address must be no reason for one. So many more scripts cost the node 0.1 seconds.
const SCAN_STEP: u32 = 1_000;

/// The first index of each branch of each wallet that may not be used yet: the gap after what is allocated.
pub(super) type Reach = BTreeMap<(Name, Branch), u32>;

/// The last index that is scanned on each branch of each wallet.
pub(super) type Scope = BTreeMap<(Name, Branch), u32>;

/// What is scanned so that it reaches as far.
pub(super) fn scope(reach: &Reach) -> Scope {
    let last =
        |end: u32| end.max(1).checked_next_multiple_of(SCAN_STEP).unwrap_or(u32::MAX).saturating_sub(1);
    reach.iter().map(|(chain, end)| (chain.clone(), last(*end))).collect()
}

/// An unspent output of a wallet, ripe or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unspent {
    pub(crate) outpoint: OutPoint,
    pub(crate) amount: Sats,
    pub(crate) branch: Branch,
    pub(crate) index: u32,
}

/// What the node's set of unspent outputs says of all wallets in one block: the network's side of a
/// reconciliation. Nothing of it comes from the follower of deposits. It holds all that was scanned, also beyond
/// what may be used.
#[derive(Clone, Default, Debug)]
pub(crate) struct Scanned {
    pub(crate) height: u32,
    /// The block, wire byte order.
    pub(crate) block: Hash,
    pub(crate) by_wallet: BTreeMap<Name, Vec<Unspent>>,
}

/// The coins as of a tip.
#[derive(Debug)]
pub(super) struct Coins {
    /// The tip, and what was scanned.
    pub(super) at: (Tip, Scope),
    /// All that was scanned; which of it may be spent is a matter of `reach`, which grows.
    scanned: Arc<Scanned>,
    ripe: BTreeMap<Name, Vec<Utxo>>,
    reach: Reach,
    /// What own transactions spent in later blocks.
    spent: BTreeSet<OutPoint>,
    by_wallet: BTreeMap<Name, Vec<Utxo>>,
    balances: BTreeMap<Name, u64>,
}

impl Coins {
    /// What was found: of which wallet, and whether it is old enough to be spent.
    pub(super) fn new(at: (Tip, Scope), reach: Reach, found: Vec<(Name, Utxo, bool)>) -> Self {
        let tip = at.0;
        let mut ripe: BTreeMap<Name, Vec<Utxo>> =
            reach.keys().map(|(wallet, _)| (wallet.clone(), Vec::new())).collect();
        let by_wallet = ripe.keys().map(|wallet| (wallet.clone(), Vec::new())).collect();
        let block = Hash(tip.block.to_byte_array());
        let mut scanned = Scanned { height: tip.height, block, by_wallet };
        for (wallet, coin, is_ripe) in found {
            let Utxo { outpoint, amount, branch, index, .. } = coin;
            let unspent = Unspent { outpoint, amount, branch, index };
            scanned.by_wallet.entry(wallet.clone()).or_default().push(unspent);
            if is_ripe {
                ripe.entry(wallet).or_default().push(coin);
            }
        }
        let (spent, by_wallet, balances) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let mut this = Self { at, scanned: Arc::new(scanned), ripe, reach, spent, by_wallet, balances };
        this.hand_out();
        this
    }

    /// The log goes further: what was scanned there may be spent. So does the chain: what own transactions spent may
    /// not be spent again.
    pub(super) fn extend(&mut self, reach: Reach, spent: BTreeSet<OutPoint>) {
        if self.reach != reach || self.spent != spent {
            (self.reach, self.spent) = (reach, spent);
            self.hand_out();
        }
    }

    fn hand_out(&mut self) {
        let coins = self.ripe.iter().map(|(wallet, coins)| {
            let within = self.within(wallet);
            let coins = coins.iter().filter(|coin| within(coin.branch, coin.index));
            let coins = coins.filter(|coin| !self.spent.contains(&coin.outpoint));
            (wallet.clone(), coins.cloned().collect())
        });
        let balances = self.scanned.by_wallet.iter().map(|(wallet, coins)| {
            let within = self.within(wallet);
            let coins = coins.iter().filter(|coin| within(coin.branch, coin.index));
            (wallet.clone(), coins.fold(0_u64, |sum, coin| sum.saturating_add(coin.amount.0)))
        });
        (self.by_wallet, self.balances) = (coins.collect(), balances.collect());
    }

    /// Whether an index of a wallet may be used.
    fn within(&self, wallet: &Name) -> impl Fn(Branch, u32) -> bool + use<> {
        let end = |branch| self.reach.get(&(wallet.clone(), branch)).copied().unwrap_or_default();
        let (receive, change) = (end(Branch::Receive), end(Branch::Change));
        move |branch, index| match branch {
            Branch::Receive => index < receive,
            Branch::Change => index < change,
        }
    }

    pub(super) fn tip(&self) -> Tip {
        self.at.0
    }

    /// What may be spent, by wallet: no signer releases anything for an input beyond the gap (P20).
    pub(super) fn by_wallet(&self) -> &BTreeMap<Name, Vec<Utxo>> {
        &self.by_wallet
    }

    /// Satoshi by wallet, of rewards that are too young to be spent as well.
    pub(super) fn balances(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.balances.iter().map(|(wallet, sat)| (wallet, *sat))
    }

    pub(super) fn scanned(&self) -> Arc<Scanned> {
        Arc::clone(&self.scanned)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::BlockHash;
    use fixtures::name;

    use super::*;

    fn reach(receive: u32, change: u32) -> Reach {
        let of = |branch, end| ((name("main"), branch), end);
        Reach::from([of(Branch::Receive, receive), of(Branch::Change, change)])
    }

    fn coin(branch: Branch, index: u32, sat: u64) -> Utxo {
        let outpoint = OutPoint { txid: Hash([1; 32]), vout: index };
        Utxo { outpoint, amount: Sats(sat), branch, index, height: Some(7) }
    }

    #[test]
    fn a_step_of_indices_is_scanned_at_once() {
        let cases = [(0, 999), (20, 999), (999, 999), (1_000, 999), (1_001, 1_999), (u32::MAX, u32::MAX - 1)];
        for (end, last) in cases {
            assert_eq!(scope(&reach(end, 1)), reach(last, 999), "{end}: each branch for itself");
            assert_eq!(scope(&reach(1, end)), reach(999, last), "{end}");
        }
        assert_eq!(scope(&Reach::new()), Scope::new());
    }

    /// What lies beyond the gap is scanned, but neither spent nor counted, until the log reaches it. No other scan
    /// is needed for that.
    #[test]
    fn coins_are_handed_out_as_far_as_the_log_reaches() {
        let tip = Tip { height: 9, block: BlockHash::from_byte_array([2; 32]) };
        let found = [
            (coin(Branch::Receive, 24, 1), true),
            (coin(Branch::Receive, 25, 10), true),
            (coin(Branch::Change, 20, 100), true),
            (coin(Branch::Change, 19, 1_000), false),
        ];
        let found = found.map(|(coin, ripe)| (name("main"), coin, ripe)).to_vec();
        let at = (tip, scope(&reach(25, 20)));
        let mut coins = Coins::new(at, reach(25, 20), found);
        let spendable = |coins: &Coins| -> Vec<(Branch, u32)> {
            coins.by_wallet()[&name("main")].iter().map(|coin| (coin.branch, coin.index)).collect()
        };
        let balance = |coins: &Coins| coins.balances().map(|(_, sat)| sat).sum::<u64>();
        assert_eq!((spendable(&coins), balance(&coins)), (vec![(Branch::Receive, 24)], 1_001));

        let further = reach(26, 21);
        assert_eq!((tip, scope(&further)), coins.at, "as of this scan");
        coins.extend(further.clone(), BTreeSet::new());
        let all = vec![(Branch::Receive, 24), (Branch::Receive, 25), (Branch::Change, 20)];
        assert_eq!((spendable(&coins), balance(&coins)), (all.clone(), 1_111));
        // What an own transaction spent since, and has not when a reorganisation took that back.
        let of = |index| OutPoint { txid: Hash([1; 32]), vout: index };
        coins.extend(further.clone(), BTreeSet::from([of(25), of(77)]));
        assert_eq!(spendable(&coins), [all[0], all[2]]);
        coins.extend(further, BTreeSet::new());
        assert_eq!(spendable(&coins), all);
        let scanned = coins.scanned();
        assert_eq!((scanned.height, scanned.block), (9, Hash([2; 32])));
        assert_eq!(scanned.by_wallet[&name("main")].len(), 4, "the reconciliation sees everything");
    }

    /// A wallet without coins has none; one that was never scanned is not known.
    #[test]
    fn every_wallet_that_was_scanned_is_there() {
        let tip = Tip { height: 9, block: BlockHash::from_byte_array([2; 32]) };
        let coins = Coins::new((tip, scope(&reach(20, 20))), reach(20, 20), Vec::new());
        assert_eq!(coins.by_wallet(), &BTreeMap::from([(name("main"), Vec::new())]));
        assert_eq!(coins.balances().collect::<Vec<_>>(), [(&name("main"), 0)]);
        assert_eq!(coins.scanned().by_wallet.len(), 1);
    }
}
