//! Consolidations: the smallest coins go to the house address, and nothing leaves.

use ledger::HOUSE_INDEX;

use super::super::gather::{GATHER_LIMIT, gathering_vbytes, spoken_for, worth_gathering};
use super::*;

const RATE: u64 = 5;

/// What change must have at least.
const DUST: u64 = 330;

impl Bench {
    /// A pool with coins of these amounts that can be anchors, and destination `house` at the house address.
    fn pool(amounts: &[u64]) -> Self {
        let mut bench = Self { world: World::open(newest()), fee_rate: RATE, ..Self::new() };
        let Document::Destination(mut own) = destination("house") else { unreachable!() };
        let script = withdrawals::house_script(&bench.world.state, &bench.world.decoder, &name("main"));
        (own.kind, own.address) =
            (DestinationKind::Own, bench.world.decoder.address(&script.unwrap()).unwrap());
        bench.world.adopt_as("dave", Document::Destination(own), &["alice", "bob"]);
        for amount in amounts {
            bench.coin(*amount, 1);
        }
        bench.world.chain.mine_empty(5);
        bench
    }

    /// An approved request to gather so much.
    fn gathering(&mut self, amount: u64) -> Hash {
        let request = self.world.request(&[("house", amount)]);
        self.world.asked(request)
    }

    fn at(&self, request: Hash, rate: u64) -> Result<Authorise, Problem> {
        self.view().pay(&[request], Some(rate), &self.prove())
    }

    fn amounts(&self, authorise: &Authorise) -> Vec<u64> {
        let mut amounts: Vec<u64> = authorise.transaction.inputs.iter().map(|i| i.amount.0).collect();
        amounts.sort_unstable();
        amounts
    }
}

/// The most that so many coins of 10,000 make up, after the fee and the least change.
fn most(coins: usize) -> u64 {
    10_000 * u64::try_from(coins).unwrap() - DUST - RATE * gathering_vbytes(coins, 2)
}

#[test]
fn the_smallest_coins_are_gathered_and_nothing_leaves() {
    let mut bench = Bench::pool(&[5_000_000, 10_000, 10_000, 10_000, 10_000]);
    let id = bench.gathering(30_000);
    let authorise = bench.pay(&[id]).unwrap();
    assert_eq!(bench.amounts(&authorise), [10_000; 4]);
    assert_eq!(authorise.transaction.change, Some(HOUSE_INDEX));
    let outputs = bench.outputs(&authorise);
    assert!(outputs.len() == 2 && outputs[0] == 30_000 && outputs[1] >= DUST, "{outputs:?}");
    bench.say(&authorise);
    // One coin less reaches just so far.
    let mut bench = Bench::pool(&[5_000_000, 10_000, 10_000, 10_000, 10_000]);
    for (amount, coins) in [(most(3), 3), (most(3) + 1, 4)] {
        let id = bench.gathering(amount);
        assert_eq!(bench.amounts(&bench.at(id, RATE).unwrap()), vec![10_000; coins]);
    }
}

#[test]
fn no_more_coins_than_the_limit_are_gathered() {
    let amounts = vec![10_000; GATHER_LIMIT + 1];
    let mut bench = Bench::pool(&amounts);
    let fits = bench.gathering(most(GATHER_LIMIT));
    assert_eq!(bench.at(fits, RATE).unwrap().transaction.inputs.len(), GATHER_LIMIT);
    let over = bench.gathering(most(GATHER_LIMIT) + 1);
    assert!(matches!(bench.at(over, RATE), Err(Problem::Build(_, BuildError::Short(Sats(1))))));
    // At the rate of the moment it is lowered until it fits.
    assert!(bench.fee(&bench.pay(&[over]).unwrap()) < RATE * gathering_vbytes(GATHER_LIMIT, 2));
    // One larger coin, and one of the others stays.
    bench.coin(10_001, 6);
    let authorise = bench.at(over, RATE).unwrap();
    assert_eq!(authorise.transaction.inputs.len(), GATHER_LIMIT);
    assert_eq!(bench.amounts(&authorise).last(), Some(&10_001));
    bench.say(&authorise);
}

/// A coin that costs more than it brings stays, and so does one that the books are not sure of.
#[test]
fn what_is_left_where_it_is() {
    let least = worth_gathering(RATE).0;
    let mut bench = Bench::pool(&[least - 1, least, 20_000, 30_000, 400_000]);
    bench.spared =
        bench.coins[&name("main")].iter().filter(|c| c.amount.0 == 20_000).map(|c| c.outpoint).collect();
    let id = bench.gathering(300_000);
    assert_eq!(bench.amounts(&bench.pay(&[id]).unwrap()), [least, 30_000, 400_000]);
    // A payment takes what is spared: it is the pool's all the same.
    bench.world.adopt(client("north"));
    let request = Request { client: Some(name("north")), ..bench.world.request(&[("acme", 440_000)]) };
    let payment = bench.world.asked(request);
    assert!(bench.amounts(&bench.at(payment, 1).unwrap()).contains(&20_000));
}

#[test]
fn a_consolidation_is_never_paid_together_with_something_else() {
    let mut bench = Bench::pool(&[50_000, 60_000, 70_000]);
    bench.world.adopt(client("north"));
    let request = Request { client: Some(name("north")), ..bench.world.request(&[("acme", 10_000)]) };
    let (first, second) = (bench.gathering(20_000), bench.gathering(20_001));
    let payments = [request.clone(), request].map(|request| bench.world.asked(request));
    let groups = bench.view().groups(&bench.ready());
    let mut sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 2]);
    for group in groups.iter().filter(|group| group.len() == 1) {
        assert!([first, second].contains(&group[0]) && !payments.contains(&group[0]));
    }
}

/// What pays others beside the house address gives its change there as well.
#[test]
fn what_comes_back_is_change() {
    let mut bench = Bench::pool(&[500_000, 500_000]);
    bench.world.adopt(client("north"));
    let mut ask = |outputs: &[(&str, u64)]| {
        let request = Request { client: Some(name("north")), ..bench.world.request(outputs) };
        let id = bench.world.asked(request);
        let authorise = bench.pay(&[id]).unwrap();
        bench.say(&authorise);
        authorise.transaction.change
    };
    assert_eq!(ask(&[("house", 100_000), ("acme", 100_000)]), Some(HOUSE_INDEX));
    assert_eq!(
        ask(&[("acme", 100_000)]),
        Some(HOUSE_INDEX + 1),
        "each other payment has an index of its own"
    );
}

#[test]
fn a_bump_gathers_the_same_coins_as_long_as_something_is_left_as_change() {
    let mut bench = Bench::pool(&[10_000; 10]);
    let id = bench.gathering(95_000);
    let first = bench.at(id, 2).unwrap();
    bench.say(&first);
    let bumped = bench.bump(&id, 6).unwrap();
    assert_eq!((spends(&bumped), bumped.transaction.change), (spends(&first), Some(HOUSE_INDEX)));
    assert!(bench.fee(&bumped) > bench.fee(&first));
    let payer = Payer { wallet: name("main"), client: None };
    assert_eq!(bench.bump(&id, 7), Err(Problem::NoReturn(payer)));
}

#[test]
fn what_is_spoken_for() {
    let mut bench = Bench::pool(&[10_000, 20_000, 300_000, 400_000]);
    let unspent: BTreeSet<OutPoint> = bench.coins[&name("main")].iter().map(|coin| coin.outpoint).collect();
    let taken = |bench: &Bench, proposed: &[Authorise]| {
        spoken_for(&bench.world.state, &name("main"), &unspent, proposed)
    };
    assert!(taken(&bench, &[]).is_empty());
    let id = bench.gathering(20_000);
    let authorise = bench.pay(&[id]).unwrap();
    assert_eq!(taken(&bench, std::slice::from_ref(&authorise)), spends(&authorise));
    bench.say(&authorise);
    assert_eq!(taken(&bench, &[]), spends(&authorise));
    // Once something of it is spent it cannot confirm; what it is bound to stays taken.
    let anchor = authorise.anchors[0].outpoint;
    let rest: BTreeSet<OutPoint> =
        unspent.iter().filter(|o| **o == anchor || !spends(&authorise).contains(o)).copied().collect();
    assert_eq!(spoken_for(&bench.world.state, &name("main"), &rest, &[]), [anchor].into());
    assert!(spoken_for(&bench.world.state, &name("other"), &BTreeSet::new(), &[]).is_empty());
}
