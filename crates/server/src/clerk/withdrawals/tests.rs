//! What was closed comes up again.

use custody::payment::Request;
use custody::statement::Body;
use fixtures::{DAY, name};
use ledger::{Code, Owner};

use super::*;
use crate::clerk::reconcile::tests::rig::Rig;

#[test]
fn a_renewal_of_what_was_closed_is_not_forgotten_when_its_turn_ends_early() {
    let mut rig = Rig::new();
    rig.world.adopt(fixtures::client("acme"));
    let acme = || Owner::Client(name("acme"));
    rig.transfer("deposit", Owner::External, acme(), 1_000_000, Code::Deposit);
    let ask = |rig: &mut Rig, renews| {
        let request = rig.world.request(&[("acme", 400_000)]);
        let request = Request { client: Some(name("acme")), renews, ..request };
        rig.world.say("carol", Body::Request(request)).unwrap()
    };
    let id = ask(&mut rig, None);
    let state =
        |rig: &Rig| rig.books.record(RecordKind::Withdrawal, &id.to_string()).unwrap().unwrap().change.state;
    let (mut withdrawals, deposits) = (Withdrawals::default(), Deposits::default());
    withdrawals.turn(&rig.at(), &deposits).unwrap();
    assert_eq!(state(&rig), "awaiting-approval");
    rig.world.tick(DAY + 1);
    withdrawals.turn(&rig.at(), &deposits).unwrap();
    assert_eq!(state(&rig), "expired");
    ask(&mut rig, Some(id));
    // The turn that sees it ends before it takes a step, and others write to the books.
    let at = rig.at();
    withdrawals.read(&at).unwrap();
    withdrawals.take_on(&at, &Log::of(at.state, at.decoder)).unwrap();
    rig.transfer("another", Owner::External, acme(), 1, Code::Deposit);
    withdrawals.turn(&rig.at(), &deposits).unwrap();
    assert_eq!(state(&rig), "awaiting-approval");
}
