//! Whose coins move: wallets in which each address belongs to one client (P25), and freezes of a part (P16).

use custody::Hash;
use custody::document::{DestinationKind, Document, Model, Resume};
use custody::effects::{Branch, Decoder as _, Sats};
use custody::genesis::Genesis;
use custody::payment::{Allocate, Request};
use custody::rule::Rule;
use custody::statement::{Body, Freeze, Scope};
use fixtures::{Account, Coin, DAY, Denied, Draft, World, id, name};

use crate::{invalid, refused, rejected};

/// A request of so much for a client.
fn of(world: &World, client: &str, amount: u64) -> Request {
    Request { client: Some(name(client)), ..world.request(&[("acme", amount)]) }
}

/// A coin at a receive address of `main`.
fn coin(world: &mut World, index: u32) -> Coin {
    world.coin_of(0, Branch::Receive, index, 500_000)
}

/// Moves the change of a draft to another index.
fn change_to(world: &World, mut draft: Draft, index: u32) -> Draft {
    let own = world.decoder.own_script(&Account::new(0).key(), Branch::Change, index).unwrap();
    draft.outputs.last_mut().unwrap().0 = own;
    Draft { change: Some(index), ..draft }
}

fn freeze(world: &mut World, scope: Scope) -> Hash {
    world.say("alarm", Body::Freeze(Freeze { scope })).unwrap()
}

// ---- P25.client

#[test]
fn allow_p25_client() {
    let mut world = World::segregated();
    // Two requests of one client, from both of its addresses, change to its second one.
    let coins = [coin(&mut world, 0), coin(&mut world, 1)];
    let requests = [100_000, 200_000].map(|amount| world.asked(of(&world.clone(), "north", amount)));
    let draft = change_to(&world, world.draft(&requests, &coins, 1_000), 1);
    let paid = world.pay(&requests, &draft).unwrap();
    world.state.release(&paid, world.time, &world.decoder).unwrap();
    // Without change; a bump; a renewal and a cancel for the same client.
    let south = coin(&mut world, 3);
    let request = world.asked(of(&world, "south", 499_000));
    let draft = world.draft(&[request], &[south], 1_000);
    assert_eq!(draft.change, None);
    world.pay(&[request], &draft).unwrap();
    world.tick(DAY + 1);
    let cancel = Request { renews: Some(request), outputs: Vec::new(), ..of(&world, "south", 1) };
    let cancel = world.asked(cancel);
    let draft = change_to(&world, world.draft(&[cancel], &[south], 2_000), 2);
    world.pay(&[cancel], &draft).unwrap();
}

#[test]
fn deny_p25_client() {
    let mut world = World::segregated();
    rejected(world.say("carol", Body::Request(world.request(&[("acme", 100_000)]))), Rule::Client);
    let (own, foreign) = (coin(&mut world, 1), coin(&mut world, 2));
    let north = world.asked(of(&world, "north", 100_000));
    let south = world.asked(of(&world, "south", 100_000));
    let denied = |requests: &[Hash], coins: &[Coin], change: u32| {
        let draft = change_to(&world, world.draft(requests, coins, 1_000), change);
        invalid(world.clone().pay(requests, &draft), Rule::Client);
    };
    denied(&[north], &[foreign], 0);
    denied(&[north], &[own, foreign], 0);
    denied(&[north], &[own], 2);
    denied(&[north, south], &[own, foreign], 0);
    denied(&[north, south], &[own], 0);
    // Within the gap, and nobody's.
    denied(&[north], &[own], 4);
    let gap = coin(&mut world, 4);
    let draft = world.draft(&[north], &[gap], 1_000);
    invalid(world.clone().pay(&[north], &draft), Rule::Client);
    // Another client does not take the request over, nor does nobody.
    let draft = world.draft(&[north], &[own], 1_000);
    world.pay(&[north], &draft).unwrap();
    let renewal = |client: &str| Request { renews: Some(north), ..of(&world.clone(), client, 100_000) };
    let (south, north) = (renewal("south"), renewal("north"));
    rejected(world.say("carol", Body::Request(south)), Rule::Client);
    world.say("carol", Body::Request(north)).unwrap();
    let mut pooled = World::with(fixtures::newest(), Model::TwoP);
    pooled.adopt(fixtures::client("north"));
    let first = pooled.asked(of(&pooled, "north", 100_000));
    let renewal = Request { renews: Some(first), ..pooled.request(&[("acme", 100_000)]) };
    rejected(pooled.say("carol", Body::Request(renewal)), Rule::Client);
}

/// Other anchors of a lineage are at addresses of its client, too.
#[test]
fn other_anchors_are_at_addresses_of_the_client() {
    let mut world = World::segregated();
    let first = coin(&mut world, 0);
    let request = world.asked(of(&world, "north", 100_000));
    let draft = world.draft(&[request], &[first], 1_000);
    world.pay(&[request], &draft).unwrap();
    let spent = world.chain.confirm(&world.draft(&[], &[first], 2_000).raw());
    let (own, foreign) = (coin(&mut world, 1), coin(&mut world, 2));
    world.chain.mine_empty(1);
    for (new, holds) in [(foreign, false), (own, true)] {
        let document = Document::Anchors(world.other_anchors(request, &[new], &[spent]));
        match holds {
            true => drop(world.adopt(document)),
            false => rejected(world.propose("bob", document), Rule::OtherAnchors),
        }
    }
}

/// In pooled wallets a client is a word for the books: any input, and names that are no documents.
#[test]
fn a_client_binds_nothing_in_a_pool() {
    for model in [Model::One, Model::OneP, Model::Two, Model::TwoP] {
        let mut world = World::with(fixtures::newest(), model);
        for who in ["north", "south"] {
            world.adopt(fixtures::client(who));
        }
        let allocate =
            Allocate { wallet: name("main"), client: name("walk-in"), branch: Branch::Receive, count: 2 };
        world.say("server", Body::Allocate(allocate)).unwrap();
        let coins = [coin(&mut world, 0), coin(&mut world, 7)];
        let requests = ["north", "south"].map(|who| world.asked(of(&world.clone(), who, 100_000)));
        let nobody = world.asked(world.request(&[("acme", 50_000)]));
        let requests = [requests[0], requests[1], nobody];
        let draft = world.draft(&requests, &coins, 1_000);
        world.pay(&requests, &draft).unwrap();
    }
}

/// Rule set 1 knew model 3 by name only; what it allowed stays allowed when the log replays.
#[test]
fn rule_set_1_did_not_bind_clients() {
    let mut world = World::with(fixtures::genesis(), Model::Three);
    let coin = coin(&mut world, 5);
    let request = world.asked(world.request(&[("acme", 100_000)]));
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
}

/// Consolidation, and coins that move to another own wallet: an own address is a destination like any other, beside
/// the change. Signers need no exception for it, and policies know it by its kind.
#[test]
fn own_addresses_are_paid_as_destinations() {
    let mut world = World::segregated();
    let own = |world: &World, account: u32, index: u32| {
        let script = world.decoder.own_script(&Account::new(account).key(), Branch::Receive, index).unwrap();
        world.decoder.address(&script).unwrap()
    };
    for (id, account, index) in [("vault", 0, 1), ("cold", 1, 0), ("beyond", 0, 1_000)] {
        let Document::Destination(mut destination) = fixtures::destination(id) else { unreachable!() };
        (destination.kind, destination.address) = (DestinationKind::Own, own(&world, account, index));
        world.adopt_as("dave", Document::Destination(destination), &["alice", "bob"]);
    }
    // Two coins become one at another address of the same client, without change.
    let coins = [coin(&mut world, 0), coin(&mut world, 0)];
    let ask = |world: &World, outputs: &[(&str, u64)]| Request {
        client: Some(name("north")),
        ..world.request(outputs)
    };
    let whole = world.asked(ask(&world.clone(), &[("vault", 999_000)]));
    let draft = world.draft(&[whole], &coins, 1_000);
    assert_eq!((draft.change, draft.outputs.len()), (None, 1));
    world.pay(&[whole], &draft).unwrap();
    // Beside change, twice the same address, and one of another own wallet.
    let rest = coin(&mut world, 1);
    let parts = [("vault", 100_000), ("vault", 100_000), ("cold", 50_000), ("beyond", 50_000)];
    let parts = world.asked(ask(&world.clone(), &parts));
    let draft = world.draft(&[parts], &[rest], 1_000);
    assert_eq!((draft.change, draft.outputs.len()), (Some(0), 5));
    // An own address that nobody asked for is still nobody's.
    let mut less = draft.clone();
    less.outputs.swap_remove(0);
    invalid(world.clone().pay(&[parts], &less), Rule::Outputs);
    let mut more = draft.clone();
    more.outputs[4].1 = Sats(draft.outputs[4].1.0 - 100_000);
    more.outputs.push(draft.outputs[0].clone());
    invalid(world.clone().pay(&[parts], &more), Rule::Outputs);
    world.pay(&[parts], &draft).unwrap();
}

// ---- P16, freezes of a part

/// Pays a request of `client` from a coin at `index` in spite of a freeze of `scope`.
fn pay_under(scope: Scope, client: &str, index: u32) -> (World, Hash, Result<Hash, Denied>) {
    let mut world = World::segregated();
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    world.activate_all(ceremony, 1, &Account::new(1));
    world.adopt(fixtures::review(Model::One, world.time));
    world.adopt(world.wallet("spare", ceremony, 1));
    let coin = coin(&mut world, index);
    let request = world.asked(of(&world, client, 100_000));
    let draft = change_to(&world, world.draft(&[request], &[coin], 1_000), index);
    let freeze = freeze(&mut world, scope);
    let paid = world.pay(&[request], &draft);
    (world, freeze, paid)
}

/// In a pool a request may name nobody: it might be anybody's, so the freeze of a client stops it. Before rule set 3
/// it did not.
#[test]
fn deny_p16_frozen_of_a_client_for_who_names_none() {
    let frozen = |genesis: Genesis| {
        let mut world = World::with(genesis, Model::One);
        world.adopt(fixtures::client("north"));
        world.adopt(fixtures::client("south"));
        freeze(&mut world, Scope::Client(name("north")));
        world
    };
    let pay = |mut world: World, client: Option<&str>| {
        let coin = world.coin(1_000_000);
        let ask = Request { client: client.map(name), ..world.request(&[("acme", 100_000)]) };
        let request = world.asked(ask);
        let draft = world.draft(&[request], &[coin], 1_000);
        world.pay(&[request], &draft)
    };
    let world = frozen(fixtures::newest());
    invalid(pay(world.clone(), None), Rule::Frozen);
    invalid(pay(world.clone(), Some("north")), Rule::Frozen);
    pay(world.clone(), Some("south")).unwrap();
    // What takes a payment back pays the own wallet alone.
    let mut world = World::with(fixtures::newest(), Model::One);
    world.adopt(fixtures::client("north"));
    let coin = world.coin(1_000_000);
    let request = world.asked(world.request(&[("acme", 100_000)]));
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    freeze(&mut world, Scope::Client(name("north")));
    let cancel = Request { renews: Some(request), ..world.request(&[]) };
    let cancel = world.asked(cancel);
    let draft = world.draft(&[cancel], &[coin], 2_000);
    world.pay(&[cancel], &draft).unwrap();
    pay(frozen(fixtures::second()), None).unwrap();
}

#[test]
fn allow_p16_frozen_elsewhere() {
    for scope in [Scope::Wallet(name("spare")), Scope::Client(name("south"))] {
        let (world, _, paid) = pay_under(scope, "north", 0);
        world.state.release(&paid.unwrap(), world.time, &world.decoder).unwrap();
    }
}

#[test]
fn deny_p16_frozen_in_part() {
    let asset = fixtures::genesis().asset();
    for scope in [Scope::Wallet(name("main")), Scope::Client(name("north")), Scope::Asset(asset)] {
        let (mut world, frozen, paid) = pay_under(scope, "north", 0);
        invalid(paid, Rule::Frozen);
        // Also what was authorised before.
        world.adopt(Document::Resume(Resume { freezes: vec![frozen] }));
        let coin = coin(&mut world, 1);
        let request = world.asked(of(&world, "north", 50_000));
        let draft = world.draft(&[request], &[coin], 1_000);
        let paid = world.pay(&[request], &draft).unwrap();
        world.state.release(&paid, world.time, &world.decoder).unwrap();
        freeze(&mut world, Scope::Client(name("north")));
        refused(world.state.release(&paid, world.time, &world.decoder), Rule::Frozen);
    }
}

/// A bump leaves out what a freeze of a part covers, and nothing that it does not cover.
#[test]
fn a_bump_leaves_out_only_what_is_frozen() {
    let mut world = World::with(fixtures::newest(), Model::One);
    for who in ["north", "south"] {
        world.adopt(fixtures::client(who));
    }
    let coin = coin(&mut world, 0);
    let [north, south] = ["north", "south"].map(|who| world.asked(of(&world.clone(), who, 100_000)));
    let draft = world.draft(&[north, south], &[coin], 1_000);
    world.pay(&[north, south], &draft).unwrap();
    freeze(&mut world, Scope::Client(name("north")));
    let both = world.draft(&[north, south], &[coin], 2_000);
    invalid(world.clone().pay(&[north, south], &both), Rule::Frozen);
    let alone = world.draft(&[south], &[coin], 2_000);
    world.clone().pay(&[south], &alone).unwrap();
    // Neither the one that is frozen, nor the other one without it.
    let without = world.draft(&[north], &[coin], 2_000);
    invalid(world.clone().pay(&[north], &without), Rule::LeftOut);
    let mut elsewhere = world.clone();
    let resumed = *elsewhere.state.freezes().iter().next().unwrap().0;
    elsewhere.adopt(Document::Resume(Resume { freezes: vec![resumed] }));
    invalid(elsewhere.pay(&[south], &alone), Rule::LeftOut);
}

/// Freezes of parts do not use up the freezes of everything.
#[test]
fn narrow_freezes_leave_room_for_a_freeze_of_everything() {
    let mut world = World::segregated();
    let narrow = Scope::Wallet(name("main"));
    for _ in 0..custody::apply::FREEZES_PER_PERSON_LIMIT {
        freeze(&mut world, narrow.clone());
    }
    rejected(world.say("alarm", Body::Freeze(Freeze { scope: narrow })), Rule::FreezeLimit);
    freeze(&mut world, Scope::Everything);
    assert!(world.state.key(&id("alarm")).is_some());
}
