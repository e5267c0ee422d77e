//! Wallets of model 3: every transaction is of one client, coins and change (P25).

use super::*;

impl Bench {
    /// The first two addresses of each chain are north's, the next two south's.
    fn segregated() -> Self {
        Self { world: World::segregated(), ..Self::new() }
    }

    /// An approved request of so much to acme for a client.
    fn asked_of(&mut self, client: &str, amount: u64) -> Hash {
        let request = self.request_of(client, amount);
        self.world.asked(request)
    }

    fn request_of(&self, client: &str, amount: u64) -> Request {
        Request { client: Some(name(client)), ..self.world.request(&[("acme", amount)]) }
    }

    fn allocate(&mut self, client: &str, branch: Branch, count: u32) {
        let allocate = Allocate { wallet: name("main"), client: name(client), branch, count };
        self.world.say("server", Body::Allocate(allocate)).unwrap();
    }

    /// An own destination, at a receive address of an account.
    fn own_destination(&mut self, id: &str, account: u32, index: u32) {
        let Document::Destination(mut own) = destination(id) else { unreachable!() };
        let decoder = &self.world.decoder;
        let script = decoder.own_script(&Account::new(account).key(), Branch::Receive, index).unwrap();
        (own.kind, own.address) = (DestinationKind::Own, decoder.address(&script).unwrap());
        self.world.adopt_as("dave", Document::Destination(own), &["alice", "bob"]);
    }
}

fn payer(client: &str) -> Payer {
    Payer { wallet: name("main"), client: Some(name(client)) }
}

fn asks(client: &str) -> Allocate {
    Allocate { wallet: name("main"), client: name(client), branch: Branch::Change, count: CLIENT_CHANGE }
}

#[test]
fn each_client_pays_from_its_own_coins_and_takes_the_change() {
    let mut bench = Bench::segregated();
    let north = [bench.coin_at(0, 300_000), bench.coin_at(1, 400_000)];
    let south = bench.coin_at(2, 5_000_000);
    // Within the gap, and nobody's.
    bench.coin_at(4, 9_000_000);
    let (big, small) = (bench.asked_of("north", 500_000), bench.asked_of("south", 50_000));
    let first = bench.pay(&[big]).unwrap();
    assert_eq!(spends(&first), north.into());
    assert_eq!(first.transaction.change, Some(0));
    bench.say(&first);
    let second = bench.pay(&[small]).unwrap();
    assert_eq!((spends(&second), second.transaction.change), ([south].into(), Some(2)));
    bench.say(&second);
    // A bump stays with the client, too.
    let bumped = bench.bump(&big, 20).unwrap();
    assert_eq!((spends(&bumped), bumped.transaction.change), (north.into(), Some(0)));
    bench.say(&bumped);
}

#[test]
fn a_client_whose_coins_do_not_suffice_is_named() {
    let mut bench = Bench::segregated();
    bench.coin_at(0, 300_000);
    bench.coin_at(2, 5_000_000);
    let id = bench.asked_of("north", 300_001);
    let problem = bench.pay(&[id]).unwrap_err();
    assert!(matches!(&problem, Problem::Build(who, BuildError::Short(_)) if *who == payer("north")));
    assert!(problem.to_string().starts_with("client north of wallet main: needs at least"), "{problem}");
    // Coins, but none that could be an anchor.
    let mut bench = Bench::segregated();
    bench.coin_at(2, 5_000_000);
    let Coin { outpoint, amount, branch, index } = bench.world.young_coin(900_000);
    let height = Some(bench.world.chain.height());
    bench.coins.get_mut(&name("main")).unwrap().push(Utxo { outpoint, amount, branch, index, height });
    let id = bench.asked_of("north", 100_000);
    assert_eq!(bench.pay(&[id]), Err(Problem::NoAnchor(payer("north"))));
}

#[test]
fn clients_are_never_mixed_in_a_transaction() {
    let mut bench = Bench::segregated();
    bench.coin_at(1, 1_000_000);
    bench.coin_at(3, 1_000_000);
    for amount in [100_000, 200_000] {
        bench.asked_of("north", amount);
        bench.asked_of("south", amount);
    }
    let ready = bench.ready();
    let groups = bench.view().groups(&ready);
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    for group in groups {
        let authorise = bench.pay(&group).unwrap();
        assert_eq!((authorise.requests.len(), spends(&authorise).len()), (2, 1));
        bench.say(&authorise);
    }
    assert!(bench.ready().is_empty());
}

/// In a pool requests that name different clients share a transaction.
#[test]
fn clients_share_a_transaction_in_a_pool() {
    let mut bench = Bench { world: World::with(newest(), Model::TwoP), ..Bench::new() };
    bench.coin(1_000_000, 6);
    for who in ["north", "south"] {
        bench.world.adopt(client(who));
        bench.asked_of(who, 100_000);
    }
    let groups = bench.view().groups(&bench.ready());
    assert_eq!(groups.len(), 1);
    bench.say(&bench.pay(&groups[0]).unwrap());
    assert!(bench.view().allocations().is_empty(), "a pool has its gap");
}

#[test]
fn change_addresses_are_asked_for_before_a_client_pays() {
    let mut bench = Bench::segregated();
    bench.world.adopt(client("east"));
    bench.allocate("east", Branch::Receive, 1);
    bench.coin_at(4, 1_000_000);
    assert!(bench.view().allocations().is_empty(), "nobody asks for a payment");
    let request = bench.request_of("east", 100_000);
    let id = bench.world.asked_as("carol", request, &[]);
    bench.asked_of("north", 1_000);
    assert_eq!(bench.view().allocations(), [asks("east")], "north has its own");
    for who in ["alice", "bob"] {
        bench.world.approve(who, id).unwrap();
    }
    let problem = bench.pay(&[id]).unwrap_err();
    assert_eq!(problem, Problem::NoChange(payer("east")));
    bench.allocate("east", Branch::Change, CLIENT_CHANGE);
    assert!(bench.view().allocations().is_empty());
    let authorise = bench.pay(&[id]).unwrap();
    assert_eq!(authorise.transaction.change, Some(4));
    bench.say(&authorise);
}

#[test]
fn each_payment_of_a_client_has_a_change_address_of_its_own() {
    let mut bench = Bench::segregated();
    for n in 0..3 {
        bench.coin_at(0, 500_000 + n);
    }
    let mut ids = Vec::new();
    for change in [0, 1] {
        let id = bench.asked_of("north", 100_000);
        assert!(bench.view().allocations().is_empty());
        let authorise = bench.pay(&[id]).unwrap();
        assert_eq!(authorise.transaction.change, Some(change));
        // What waits for the log has taken its index already.
        bench.proposed.push(authorise);
        ids.push(id);
    }
    let third = bench.asked_of("north", 100_000);
    assert_eq!(bench.pay(&[third]), Err(Problem::NoChange(payer("north"))));
    assert_eq!(bench.view().allocations(), [asks("north")]);
    for authorise in std::mem::take(&mut bench.proposed) {
        bench.say(&authorise);
    }
    assert_eq!(bench.view().allocations(), [asks("north")], "what the log has uses them as well");
    let allocate = bench.view().allocations().remove(0);
    bench.world.say("server", Body::Allocate(allocate)).unwrap();
    let authorise = bench.pay(&[third]).unwrap();
    assert_eq!(authorise.transaction.change, Some(4));
    bench.say(&authorise);
    assert!(bench.view().allocations().is_empty(), "nobody asks any more");
}

/// A wallet of model 3 that paid under rule set 1 asks for no addresses of nobody.
#[test]
fn no_change_addresses_are_asked_for_in_the_name_of_the_wallet() {
    let mut bench = Bench { world: World::with(fixtures::genesis(), Model::Three), ..Bench::new() };
    while bench.view().allocations().is_empty() {
        bench.coin(1_000_000, 6);
        let id = bench.asked(100_000);
        bench.say(&bench.pay(&[id]).unwrap());
    }
    let rules = custody::rule_set::rule_set_hash(2).unwrap();
    bench.world.upgrade(custody::document::Upgrade { version: 2, rules });
    bench.world.tick(1);
    assert_eq!(bench.world.state.clock().rules, 2);
    assert!(bench.view().allocations().is_empty());
}

/// What replaces a transaction from the time of rule set 1 moves its change, if that became somebody else's.
#[test]
fn a_replacement_keeps_its_change_only_where_it_is_the_clients() {
    for (first, change) in [("north", 0), ("south", CLIENT_CHANGE)] {
        let mut bench = Bench { world: World::with(fixtures::genesis(), Model::Three), ..Bench::new() };
        bench.allocate("north", Branch::Receive, 1);
        bench.coin_at(0, 1_000_000);
        let id = bench.asked(100_000);
        let paid = bench.pay(&[id]).unwrap();
        assert_eq!(paid.transaction.change, Some(0));
        bench.say(&paid);
        let rules = custody::rule_set::rule_set_hash(2).unwrap();
        bench.world.upgrade(custody::document::Upgrade { version: 2, rules });
        bench.world.tick(1);
        bench.world.adopt(Document::Policy(fixtures::policy_of(2, &[fixtures::rule()], 0)));
        for who in ["north", "south"] {
            bench.world.adopt(client(who));
        }
        bench.allocate(first, Branch::Change, CLIENT_CHANGE);
        bench.allocate("north", Branch::Change, CLIENT_CHANGE);
        let renewal = Request { renews: Some(id), ..bench.request_of("north", 100_000) };
        let renewal = bench.world.asked(renewal);
        let again = bench.pay(&[renewal]).unwrap();
        assert_eq!(again.transaction.change, Some(change));
        bench.say(&again);
    }
}

/// An own address is a destination like any other: a consolidation, and coins for another own wallet.
#[test]
fn own_addresses_are_paid_in_every_model() {
    for mut bench in [Bench::segregated(), Bench { world: World::open(newest()), ..Bench::new() }] {
        bench.world.state.client(&name("north")).is_none().then(|| bench.world.adopt(client("north")));
        bench.own_destination("vault", 0, 1);
        bench.own_destination("cold", 1, 0);
        let coins = [300_000, 300_000, 300_000].map(|amount| bench.coin_at(0, amount));
        let outputs = [("vault", 700_000), ("cold", 100_000)];
        let request = Request { client: Some(name("north")), ..bench.world.request(&outputs) };
        let id = bench.world.asked(request);
        let authorise = bench.pay(&[id]).unwrap();
        assert_eq!(spends(&authorise), coins.into());
        assert_eq!(bench.outputs(&authorise)[..2], [700_000, 100_000]);
        assert!(authorise.transaction.change.is_some());
        bench.say(&authorise);
    }
}
