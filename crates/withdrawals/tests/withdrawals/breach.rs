//! What the books could not reserve.

use custody::payment::Request;
use custody::statement::Body;
use fixtures::{DAY, World, name};
use ledger::{Amount, Owner};
use withdrawals::State;

use crate::play::{Luck, Net, Pure, Worker, request, seen, world};

const NORTH: u64 = 1_000_000;

/// North has 1,000,000 and asks for it, which leaves nothing for the fee.
fn unfunded() -> (World, Worker<Pure>, custody::Hash) {
    let mut world = world();
    let mut worker = Worker::pure(&world, &[(Owner::Client(name("north")), NORTH)]);
    let request = world.asked(request(&world, Some("north"), &[("acme", NORTH)]));
    assert!(worker.turn(&world, &Net::new(), &mut || Luck::Good));
    (world, worker, request)
}

#[test]
fn what_cannot_be_reserved_is_not_proposed_and_ends_with_its_request() {
    let (mut world, mut worker, id) = unfunded();
    let net = Net::new();
    let record = worker.record(&id);
    assert!(matches!(&record.state, State::Unfunded { why } if why.contains("available")));
    assert!(worker.funded(&world, &net).is_empty() && record.holds.is_empty());
    assert!(!record.is_breach(&seen(&world, &net, &record)));
    world.tick(DAY + 1);
    assert!(worker.turn(&world, &net, &mut || Luck::Good));
    assert_eq!(worker.record(&id).state, State::Expired);
    assert_eq!(worker.transfers().len(), 1, "the deposit");
}

/// One base unit decides.
#[test]
fn a_renewal_that_can_be_reserved_opens_it_again() {
    let (mut world, mut worker, id) = unfunded();
    let net = Net::new();
    for (amount, enough) in [(NORTH - 49_999, false), (NORTH - 50_000, true)] {
        world.tick(1);
        let renewal = Request { renews: Some(id), ..request(&world, Some("north"), &[("acme", amount)]) };
        let renewal = world.say("carol", Body::Request(renewal)).unwrap();
        assert!(worker.turn(&world, &net, &mut || Luck::Good));
        let record = worker.record(&id);
        assert_eq!(record.state == State::AwaitingApproval, enough, "{:?}", record.state);
        assert_eq!(worker.funded(&world, &net).contains(&renewal), enough);
        assert_eq!(worker.pending(&id) > Amount::ZERO, enough);
    }
}

/// Another server proposed it, and the log has no reason to refuse: nothing here pretends that it is booked.
#[test]
fn what_is_authorised_without_a_reservation_is_said_and_never_booked() {
    let (mut world, mut worker, id) = unfunded();
    let mut net = Net::new();
    let coin = world.coin(5_000_000);
    let paid = world.pay(&[id], &world.draft(&[id], &[coin], 1_000)).unwrap();
    net.mine(&world, &paid);
    for depth in [1, 10] {
        assert!(worker.turn(&world, &net, &mut || Luck::Good));
        let record = worker.record(&id);
        let said = State::Unfunded { why: "authorised without a reservation".into() };
        assert_eq!(record.state, said, "{depth}");
        assert!(record.is_breach(&seen(&world, &net, &record)) && record.state.is_open());
        assert_eq!(record.transactions, 1);
        net.bury(9);
    }
    assert_eq!(worker.transfers().len(), 1, "the deposit");
}
