//! Consolidations: what comes back to the wallet's house address does not leave, and who bears the fee.

use custody::Hash;
use custody::document::{DestinationKind, Document, Model};
use custody::effects::{Branch, Decoder as _, Sats};
use custody::payment::Request;
use custody::statement::Body;
use fixtures::{Account, World, client, destination, name, newest};
use ledger::{Amount, HOUSE_INDEX, Owner};
use withdrawals::{Asking, SETTLED_CONFIRMATIONS, State, WithdrawalError, begin, is_consolidation, returns};

use crate::play::{Luck, Net, Pure, Worker, asset, request, sats, seen};

const NORTH: u64 = 1_000_000;

/// All but what the fee and the change take.
const GATHERED: u64 = 990_000;

/// What a request of the fixtures pays the network at most.
const FEE_MAX: u64 = 50_000;

/// Wallet `main` of a model, client `north`, and destination `house` at the house address.
fn world(model: Model) -> World {
    let mut world = World::with(newest(), model);
    world.adopt(client("north"));
    own(&mut world, "house", DestinationKind::Own, (0, Branch::Change, HOUSE_INDEX));
    world
}

/// A destination at an address of one of our accounts.
fn own(world: &mut World, id: &str, kind: DestinationKind, (account, branch, index): (u32, Branch, u32)) {
    let Document::Destination(mut own) = destination(id) else { unreachable!() };
    let script = world.decoder.own_script(&Account::new(account).key(), branch, index).unwrap();
    (own.kind, own.address) = (kind, world.decoder.address(&script).unwrap());
    world.adopt_as("dave", Document::Destination(own), &["alice", "bob"]);
}

fn worker(world: &World) -> Worker<Pure> {
    Worker::pure(world, &[(Owner::Client(name("north")), NORTH)])
}

fn turn(worker: &mut Worker<Pure>, world: &World, net: &Net) {
    assert!(worker.turn(world, net, &mut || Luck::Good));
}

/// The accounts that are not empty, as `owner balance`; nothing is reserved, and all of them sum to zero.
fn balances(worker: &Worker<Pure>) -> Vec<String> {
    let all = worker.totals();
    let of = |text: String| text.parse::<i128>().unwrap();
    assert_eq!(all.values().map(|totals| of(totals.balance().to_string())).sum::<i128>(), 0);
    assert!(all.values().all(|totals| totals.available() == totals.balance()), "{all:?}");
    let filled = all.iter().filter(|(_, totals)| totals.balance().size() > Amount::ZERO);
    filled.map(|(account, totals)| format!("{} {}", account.owner, totals.balance())).collect()
}

/// A transaction that gathers two coins, for a fee of 1,000; its change goes to the house address as well.
fn pay(world: &mut World, id: Hash) -> Hash {
    let coins = [600_000, 400_000].map(|amount| world.coin(amount));
    world.pay(&[id], &world.draft(&[id], &coins, 1_000)).unwrap()
}

fn confirm(world: &World, net: &mut Net, paid: Hash) {
    assert!(net.mine(world, &paid));
    net.bury(SETTLED_CONFIRMATIONS as usize - 1);
}

#[test]
fn the_house_bears_the_fee_of_a_consolidation() {
    for (model, who, after) in [
        (Model::One, None, vec!["client:north 1000000", "fees -1000", "external -999000"]),
        (Model::Two, None, vec!["client:north 1000000", "fees -1000", "external -999000"]),
        (Model::One, Some("north"), vec!["client:north 999000", "external -999000"]),
    ] {
        let mut world = world(model);
        let (mut worker, mut net) = (worker(&world), Net::new());
        let id = world.asked(request(&world, who, &[("house", GATHERED)]));
        turn(&mut worker, &world, &net);
        let record = worker.record(&id);
        assert_eq!(record.reserved(), sats(FEE_MAX), "the amount does not leave");
        assert_eq!(record.outputs[0].amount, sats(GATHERED));
        assert!(worker.funded(&world, &net).contains(&id));
        let paid = pay(&mut world, id);
        turn(&mut worker, &world, &net);
        assert_eq!(worker.record(&id).state, State::Authorised);
        confirm(&world, &mut net, paid);
        turn(&mut worker, &world, &net);
        let record = worker.record(&id);
        assert_eq!((record.state, record.fee), (State::Settled, Some(sats(1_000))));
        assert_eq!(balances(&worker), after);
        assert_eq!((worker.transfer(&format!("out/{id}")), worker.transfer(&format!("fee/{id}"))), {
            (None, Some(sats(1_000)))
        });
    }
}

/// Where the house owns something it pays from that, and a base unit less is too little.
#[test]
fn where_the_house_owns_something_it_pays_from_that() {
    for (own, enough) in [(FEE_MAX, true), (FEE_MAX - 1, false)] {
        let mut world = world(Model::OneP);
        let mut worker = Worker::pure(&world, &[(Owner::Own, own)]);
        let id = world.asked(request(&world, None, &[("house", GATHERED)]));
        turn(&mut worker, &world, &Net::new());
        assert_eq!(worker.record(&id).owner, Owner::Own);
        assert_eq!(worker.funded(&world, &Net::new()).contains(&id), enough);
    }
}

#[test]
fn a_consolidation_that_is_rejected_or_cancelled_leaves_nothing_reserved() {
    let mut world = world(Model::One);
    let (mut worker, mut net) = (worker(&world), Net::new());
    let id = world.say("carol", Body::Request(request(&world, None, &[("house", GATHERED)]))).unwrap();
    turn(&mut worker, &world, &net);
    let cancel = |world: &World| Request { renews: Some(id), ..request(world, None, &[]) };
    world.say("carol", Body::Request(cancel(&world))).unwrap();
    turn(&mut worker, &world, &net);
    assert_eq!(worker.record(&id).state, State::Cancelled);
    assert_eq!(balances(&worker), ["client:north 1000000", "external -1000000"]);
    // After the point of no return it costs a fee, which the house bears as well.
    let id = world.asked(request(&world, None, &[("house", GATHERED)]));
    pay(&mut world, id);
    turn(&mut worker, &world, &net);
    let cancel = world.asked(Request { renews: Some(id), ..request(&world, None, &[]) });
    let anchor = world.state.lineages().get(&id).unwrap().anchors[0];
    let coin = fixtures::Coin { outpoint: anchor, amount: Sats(600_000), branch: Branch::Receive, index: 0 };
    let paid = world.pay(&[cancel], &world.draft(&[cancel], &[coin], 2_000)).unwrap();
    confirm(&world, &mut net, paid);
    turn(&mut worker, &world, &net);
    assert_eq!(worker.record(&id).state, State::Cancelled);
    assert_eq!(balances(&worker), ["client:north 1000000", "fees -2000", "external -998000"]);
}

/// Only what is approved as own, at index 0 of the change chain of the paying wallet itself, comes back.
#[test]
fn what_comes_back() {
    let mut world = world(Model::One);
    let record = world.ceremony(0..2).id(&world.state.genesis_hash());
    world.activate_all(record, 1, &Account::new(1));
    world.adopt(world.wallet_of(Model::One, "other", record, 1));
    own(&mut world, "next", DestinationKind::Own, (0, Branch::Change, HOUSE_INDEX + 1));
    own(&mut world, "receive", DestinationKind::Own, (0, Branch::Receive, HOUSE_INDEX));
    own(&mut world, "elsewhere", DestinationKind::Own, (1, Branch::Change, HOUSE_INDEX));
    let back = |outputs: &[(&str, u64)]| {
        let request = request(&world, None, outputs);
        let (all, back) = (is_consolidation(&world.state, &world.decoder, &request), {
            returns(&world.state, &world.decoder, &request)
        });
        let asking = Asking {
            id: Hash([1; 32]),
            request: &request,
            requester: &custody::state::Owner::Person(name("carol")),
            envelope: None,
            not_after: None,
        };
        let begun = begin(&world.state, &world.decoder, &asking, &asset(&world), world.time);
        match begun {
            Ok((withdrawal, _)) => assert!(all && withdrawal.owner == Owner::Fees),
            Err(error) => assert!(!all && error == WithdrawalError::NoClient(name("main"))),
        }
        back
    };
    assert_eq!(back(&[("house", 700)]), sats(700));
    assert_eq!(back(&[("house", 700), ("house", 800)]), sats(1_500));
    assert_eq!(back(&[("house", 700), ("acme", 800)]), sats(700));
    for other in ["acme", "next", "receive", "elsewhere"] {
        assert_eq!(back(&[(other, 700)]), Amount::ZERO, "{other}");
    }
    // Nor where people call the same address a client's, in place of the house's.
    own(&mut world, "house", DestinationKind::Client, (0, Branch::Change, HOUSE_INDEX));
    let called = request(&world, None, &[("house", 700)]);
    assert_eq!(returns(&world.state, &world.decoder, &called), Amount::ZERO);
    let elsewhere = Request { wallet: name("other"), ..request(&world, None, &[("elsewhere", 700)]) };
    assert!(is_consolidation(&world.state, &world.decoder, &elsewhere));
}

/// Each address of a wallet of model 3 belongs to a client: it has no house address, and nothing is gathered there.
#[test]
fn a_wallet_of_model_3_has_no_house_address() {
    let mut world = World::segregated();
    own(&mut world, "house", DestinationKind::Own, (0, Branch::Change, HOUSE_INDEX));
    let request = request(&world, Some("north"), &[("house", 700)]);
    assert_eq!(returns(&world.state, &world.decoder, &request), Amount::ZERO);
}

/// Somebody else's transaction gives its change elsewhere: then the payment is nobody's change, and the books do
/// not have it.
#[test]
fn what_was_to_come_back_and_left_is_a_breach() {
    let mut world = world(Model::One);
    let (mut worker, mut net) = (worker(&world), Net::new());
    let id = world.asked(request(&world, None, &[("house", GATHERED)]));
    let coin = world.coin(1_000_000);
    let mut draft = world.draft(&[id], &[coin], 1_000);
    let other = HOUSE_INDEX + 1;
    draft.outputs[1].0 = world.decoder.own_script(&Account::new(0).key(), Branch::Change, other).unwrap();
    draft.change = Some(other);
    let paid = world.pay(&[id], &draft).unwrap();
    for depth in [0, 1] {
        turn(&mut worker, &world, &net);
        let record = worker.record(&id);
        assert!(record.is_breach(&seen(&world, &net, &record)), "{depth}");
        assert!(matches!(record.state, State::Unfunded { .. }));
        confirm_once(&world, &mut net, paid);
    }
    assert_eq!(worker.transfer(&format!("fee/{id}")), None);
    assert_eq!(worker.pending(&id), sats(FEE_MAX), "what may leave stays reserved");
}

fn confirm_once(world: &World, net: &mut Net, paid: Hash) {
    if net.blocks.is_empty() {
        confirm(world, net, paid);
    }
}

/// Wherever the worker dies, or whoever else does the same, the books end alike.
#[test]
fn a_consolidation_is_booked_once_wherever_the_worker_dies() {
    let mut world = world(Model::One);
    let id = world.asked(request(&world, None, &[("house", GATHERED)]));
    let asked = world.clone();
    let paid = pay(&mut world, id);
    let mut net = Net::new();
    confirm(&world, &mut net, paid);
    let play = |at: usize, luck: Luck| {
        let mut worker = worker(&world);
        let mut posting = 0;
        for (world, net) in [(&asked, &Net::new()), (&world, &net)] {
            let mut draw = || {
                posting += 1;
                if posting == at { luck } else { Luck::Good }
            };
            while !worker.turn(world, net, &mut draw) {}
        }
        let ids: Vec<String> = worker.transfers().iter().map(|t| t.id.to_string()).collect();
        (posting, ids, balances(&worker))
    };
    let (postings, ids, after) = play(0, Luck::Good);
    assert_eq!(postings, 3, "asked, approved, settled");
    assert_eq!(ids[1..], [format!("hold/{id}"), format!("post/{id}"), format!("fee/{id}")]);
    for at in 1..=postings {
        for luck in [Luck::DiesBefore, Luck::DiesAfter, Luck::Twice] {
            let (_, again, then) = play(at, luck);
            assert_eq!((&again, &then), (&ids, &after), "{at} {luck:?}");
        }
    }
}
