//! What is signed is what was shown, and the log takes it.

mod common;

use approver::{
    APPROVAL_VALIDITY_S, ActError, Ask, Fresh, Labels, Payee, STATEMENT_VALIDITY_S, Signed, View,
};
use common::{nonce, replica, world};
use custody::Hash;
use custody::document::Document;
use custody::effects::{Branch, Sats};
use custody::payment::Allocate;
use custody::rule::Rule;
use custody::statement::{Approve, Body, Envelope, Scope, key_id};
use fixtures::{World, group, name, policy, rule};

fn fresh(world: &World, number: u8) -> Fresh {
    Fresh { nonce: nonce(number), now: world.time }
}

fn submit(world: &mut World, signed: &Signed) {
    let envelope = Envelope::parse(&signed.envelope).unwrap();
    assert_eq!(envelope.id(), signed.id);
    assert_eq!(envelope.unverified().unwrap().not_after, signed.not_after);
    world.submit(envelope).unwrap();
}

fn ask(world: &World) -> Ask {
    Ask {
        wallet: name("main"),
        outputs: vec![(Payee::Destination(name("acme")), Sats(1_000_000))],
        fee_max: Sats(50_000),
        fee_max_ppm: 100_000,
        end: world.time + 7200,
        renews: None,
        despite: Vec::new(),
        client: None,
        note: None,
    }
}

fn refused_by(result: Result<Signed, ActError>) -> Rule {
    match result {
        Err(ActError::Refused(refusal)) => refusal.rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_approval_is_of_what_was_shown() {
    let (key, mut world) = world();
    let id = {
        let ask = world.request(&[("acme", 1_000_000)]);
        world.asked_as("carol", ask, &[])
    };
    let now = replica(&world);
    let view = View::of(&now, &id, &Labels::default(), world.time).unwrap();
    let draft = now.approve(&key, &view, fresh(&world, 1)).unwrap();
    let foretold = draft.id();
    let signed = draft.sign_if_accepted(&now, &key).unwrap();
    assert_eq!(signed.id, foretold);
    assert_eq!(signed.not_after, Some(world.time + APPROVAL_VALIDITY_S));
    let statement = Envelope::parse(&signed.envelope).unwrap().unverified().unwrap();
    let decides = world.state.policy().unwrap().1;
    assert_eq!(statement.body, Body::Approve(Approve { target: id, decides }));
    submit(&mut world, &signed);
    assert!(world.state.requests().get(&id).unwrap().approvals.contains_key(&name("erin")));

    // The policy changes between showing and signing: the approval would be of another one.
    let mut other = rule();
    other.require.amount_max = Sats(90_000_000);
    world.adopt(Document::Policy(policy(&[other], 0)));
    let later = replica(&world);
    let draft = later.approve(&key, &view, fresh(&world, 2)).unwrap();
    assert_eq!(refused_by(draft.sign_if_accepted(&later, &key)), Rule::Decides);
}

#[test]
fn a_request_is_shown_as_its_approvers_will_see_it() {
    let (key, mut world) = world();
    let now = replica(&world);
    let draft = now.request(&key, ask(&world), fresh(&world, 1)).unwrap();
    let before = draft.view(&now, &Labels::default(), world.time).unwrap();
    let signed = draft.sign_if_accepted(&now, &key).unwrap();
    assert_eq!(signed.not_after, Some(world.time + 7200), "it ends with the request");
    submit(&mut world, &signed);
    let after = View::of(&replica(&world), &signed.id, &Labels::default(), world.time).unwrap();
    let but_log = |view: &View| {
        let text = view.text();
        text.lines().filter(|l| !l.starts_with("  log ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(but_log(&before), but_log(&after));

    // Who asked does not approve.
    let draft = replica(&world).approve(&key, &after, fresh(&world, 2)).unwrap();
    assert_eq!(refused_by(draft.sign_if_accepted(&replica(&world), &key)), Rule::Standing);
}

#[test]
fn what_the_log_would_reject_is_not_sent() {
    let (key, world) = world();
    let now = replica(&world);
    let try_ask = |change: &dyn Fn(&mut Ask)| {
        let mut ask = ask(&world);
        change(&mut ask);
        now.request(&key, ask, fresh(&world, 1)).and_then(|draft| draft.sign_if_accepted(&now, &key))
    };
    assert!(try_ask(&|_| ()).is_ok());
    assert_eq!(refused_by(try_ask(&|a| a.fee_max = Sats(0))), Rule::Request);
    assert_eq!(refused_by(try_ask(&|a| a.outputs[0].1 = Sats(100))), Rule::Request);
    assert_eq!(refused_by(try_ask(&|a| a.outputs.clear())), Rule::Request);
    assert_eq!(refused_by(try_ask(&|a| a.renews = Some(nonce(9)))), Rule::Reference);
    assert!(matches!(try_ask(&|a| a.wallet = name("nope")), Err(ActError::Unknown(_))));
    assert!(matches!(
        try_ask(&|a| a.outputs[0].0 = Payee::Destination(name("nope"))),
        Err(ActError::Unknown(_))
    ));
    assert!(matches!(try_ask(&|a| a.client = Some(name("nope"))), Err(ActError::Unknown(_))));
    // A key that nobody enrolled.
    let stranger = keys::device::DeviceKey::generate(&mut rand_core::OsRng);
    let draft = now.request(&stranger, ask(&world), fresh(&world, 1)).unwrap();
    assert_eq!(refused_by(draft.sign_if_accepted(&now, &stranger)), Rule::Signature);
}

#[test]
fn documents_replace_what_is_in_force() {
    let (key, mut world) = world();
    let now = replica(&world);
    let admins = Document::Group(group("admins", &["alice", "bob", "erin"]));
    let signed = now.propose(&key, admins, fresh(&world, 1)).unwrap();
    let signed = signed.sign_if_accepted(&now, &key).unwrap();
    assert_eq!(signed.not_after, Some(world.time + STATEMENT_VALIDITY_S));
    submit(&mut world, &signed);
    let now = replica(&world);
    let veto = now.veto(&key, signed.id, fresh(&world, 2)).unwrap();
    let veto = veto.sign_if_accepted(&now, &key).unwrap();
    assert_eq!(veto.not_after, None, "a reduction has no end");
    submit(&mut world, &veto);
    let stage = &world.state.proposals().get(&signed.id).unwrap().stage;
    assert_eq!(*stage, custody::state::Stage::Vetoed(name("erin")));
}

#[test]
fn addresses_freezes_and_revocations() {
    let (key, mut world) = world();
    let now = replica(&world);
    let branch = Branch::Receive;
    let allocate = Allocate { wallet: name("main"), client: name("cat"), branch, count: 2 };
    let signed = now.allocate(&key, allocate, fresh(&world, 1)).unwrap();
    submit(&mut world, &signed.sign_if_accepted(&now, &key).unwrap());
    assert_eq!(world.state.client_of(&name("main"), branch, 1), Some(&name("cat")));

    // Neither needs to have seen the log.
    let genesis: Hash = world.state.genesis_hash();
    let freeze = approver::freeze(&genesis, &key, nonce(2), Scope::Everything).unwrap();
    assert_eq!(freeze.not_after, None);
    submit(&mut world, &freeze);
    assert!(world.state.freezes().get(&freeze.id).is_some());
    submit(&mut world, &approver::revoke(&genesis, &key, nonce(3)).unwrap());
    let record = world.state.key(&key_id(&key.public().sign)).unwrap();
    assert!(record.revoked_at.is_some());
}
