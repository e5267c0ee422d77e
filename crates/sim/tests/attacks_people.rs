//! Attacks by hostile people of the deployment on the others: over the real wire against real
//! `keyward-signer` processes.

use custody::Hash;
use custody::document::{Document, Resume, Revocation};
use custody::state::Stage;
use custody::statement::{Approve, Body, Propose, Veto};
use fixtures::{destination, id};
use signer::cosigner::{PENDING_LIMIT, PENDING_LIMIT_BYTES};
use sim::attacker::{Denied, Scene};
use wire::message::ReceiptState;

/// Refused by every co-signer before it could be in a batch.
fn kept_out(rule: &str) -> Result<Hash, Denied> {
    Err(Denied { rule: rule.to_owned(), consumed: false })
}

/// Freezes of one person in force at a time, as `docs/spec/state.md` says.
const FREEZES: usize = 8;

/// P3, P17: two who protect each other. What takes authority away from one of them has no veto, neither by
/// the other nor by the one concerned; what gives authority has.
#[test]
fn two_hostile_people_cannot_protect_each_other() {
    let mut scene = Scene::ready();
    let freeze = scene.freeze("dave");
    scene.submit(&freeze).unwrap();
    let revocation = scene.propose("alice", Document::Revocation(Revocation { key: id("dave") })).unwrap();
    let resume = scene.propose("alice", Document::Resume(Resume { freezes: vec![freeze.id()] })).unwrap();
    for (target, who) in [(revocation, "carol"), (revocation, "dave"), (resume, "carol"), (resume, "dave")] {
        let veto = Body::Veto(Veto { target });
        assert_eq!(scene.say(who, veto), kept_out("P3.standing"), "{who}");
    }
    for (target, who) in [(revocation, "alice"), (revocation, "bob"), (resume, "alice"), (resume, "bob")] {
        scene.approve(who, target).unwrap();
    }
    assert!(scene.world.state.key(&id("dave")).unwrap().revoked_at.is_some());
    assert_eq!(scene.world.state.freezes().iter().count(), 0);
    // Taken away by a quorum, his key does not even freeze (P16 keeps that for who revoked herself).
    let late = scene.freeze("dave");
    assert_eq!(scene.submit(&late), kept_out("P1.signature"));
    // The twin: one person stops what would give somebody more.
    let more = scene.propose("alice", destination("thief")).unwrap();
    scene.say("carol", Body::Veto(Veto { target: more })).unwrap();
    assert!(matches!(scene.world.state.proposals().get(&more).unwrap().stage, Stage::Vetoed(_)));
}

/// P16, P17: one who freezes as often as it goes. Nothing is paid until a quorum resumes, and nothing keeps
/// the quorum from that, nor from taking the key away.
#[test]
fn one_person_who_freezes_again_and_again_blocks_no_quorum() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    for _ in 0..FREEZES {
        let freeze = scene.freeze("dave");
        scene.submit(&freeze).unwrap();
    }
    let more = scene.freeze("dave");
    assert_eq!(scene.submit(&more), kept_out("P16.freeze-limit"));
    assert_eq!(scene.sign(payment.authorisation, ["s1", "s2"]), Err("P16.frozen".into()));
    // Someone else still has places of her own.
    let other = scene.freeze("alice");
    scene.submit(&other).unwrap();
    // All of it while everything is frozen.
    scene.adopt("carol", Document::Revocation(Revocation { key: id("dave") }));
    assert_eq!(scene.submit(&more), kept_out("P1.signature"));
    scene.resume();
    let signed = scene.sign(payment.authorisation, ["s1", "s2"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed));
}

/// P2: an approval is brought again after the policy changed under which it was given or refused. It was
/// used up both times.
#[test]
fn an_approval_is_not_replayed_after_a_change_of_policy() {
    let mut scene = Scene::ready();
    let (policy, old) = scene.world.state.policy().map(|(p, hash)| (p.clone(), hash)).unwrap();
    let request = scene.world.request(&[("acme", 100_000)]);
    let request = scene.say("carol", Body::Request(request)).unwrap();
    let approve = |decides| Body::Approve(Approve { target: request, decides });
    let given = scene.write("alice", approve(old));
    scene.submit(&given).unwrap();
    let mut other = policy.clone();
    other.rules[0].require.fee_max.0 -= 1;
    scene.adopt("carol", Document::Policy(other));
    let refused = scene.write("bob", approve(old));
    let rejected = Denied { rule: "P1.decides".into(), consumed: true };
    assert_eq!(scene.submit(&refused), Err(rejected));
    // The old words are in force again, as another version, and neither statement is.
    scene.adopt("carol", Document::Policy(policy.clone()));
    let (again, new) = scene.world.state.policy().unwrap();
    assert_eq!(*again, policy);
    assert_ne!(new, old);
    for envelope in [&given, &refused] {
        for who in ["s1", "s2", "s3", "w1"] {
            assert_eq!(scene.server.ask(who, &envelope.bytes()), ReceiptState::Consumed);
        }
    }
    let coin = scene.coin(200_000);
    let draft = scene.draft(&[request], &[coin], 1_000);
    assert_eq!(scene.pay(&[request], &draft), kept_out("policy.approvals"));
    // The twin: their word anew.
    scene.approve("bob", request).unwrap();
    assert_eq!(scene.pay(&[request], &draft), kept_out("policy.approvals"), "hers was given under the first");
    scene.approve("alice", request).unwrap();
    scene.pay(&[request], &draft).unwrap();
}

/// P16: proposals as long as can be, while the log stands still: over a limit in bytes a co-signer takes no more of
/// them, however few they are. What reduces authority it takes all the same.
#[test]
fn nobody_fills_the_memory_of_a_co_signer() {
    let mut scene = Scene::ready_on(fixtures::newest());
    for who in ["s2", "s3", "w1"] {
        scene.server.unlink(who);
    }
    let long = |scene: &mut Scene, number: usize| {
        let mut record = scene.world.ceremony(0..1);
        record.entropy = format!("{number:04}{}", "0".repeat(190_000));
        let record = scene.world.sign_record(record, &["alice", "bob"]);
        scene.write("bob", Body::Propose(Propose { document: Document::Ceremony(record), replaces: None }))
    };
    let size = long(&mut scene, 0).size();
    let fit = PENDING_LIMIT_BYTES / size;
    assert!(fit < PENDING_LIMIT);
    for number in 0..fit {
        let envelope = long(&mut scene, number);
        assert_eq!(scene.server.ask("s1", &envelope.bytes()), ReceiptState::Pending, "{number}");
    }
    let over = long(&mut scene, fit);
    let receipt = scene.server.ask("s1", &over.bytes());
    assert!(matches!(&receipt, ReceiptState::Refused { rule, .. } if rule == "P1.form"), "{receipt:?}");
    let freeze = scene.freeze("dave");
    assert_eq!(scene.server.ask("s1", &freeze.bytes()), ReceiptState::Held);
}
