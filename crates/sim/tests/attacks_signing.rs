//! Attacks on the moment at which a share leaves, and on where shares lie: over the real wire against
//! real `keyward-signer` processes. The attacker holds the server's keys, and at the end those of `s3`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody::statement::{Body, Revoke};
use custody::{Blob, Hash};
use fixtures::id;
use serde_json::{Value, json};
use sim::attacker::{Letter, Scene, session};
use sim::deployment::name;
use wire::message::{FromCosigner, ReceiptState, ToCosigner};

/// So long nothing may come of an order that is refused or that waits; a signature takes milliseconds.
const SILENCE: Duration = Duration::from_millis(700);

/// Whether any co-signer finished a signature after `mark`.
fn signed_since(scene: &Scene, mark: usize) -> bool {
    scene.server.view(|v| v.said[mark..].iter().any(|(_, m)| matches!(m, FromCosigner::Signed { .. })))
}

/// Submits a reduction as a person, directly at a co-signer.
fn submit_directly(
    scene: &Scene,
    who: &str,
    to: &str,
    envelope: &custody::statement::Envelope,
) -> FromCosigner {
    say_directly(scene, who, to, &ToCosigner::Submit { envelope: Blob(envelope.bytes()) })
}

fn say_directly(scene: &Scene, who: &str, to: &str, message: &ToCosigner) -> FromCosigner {
    let mut connection = scene.connect(who, to).unwrap();
    connection.send(&wire::encode(message).unwrap()).unwrap();
    wire::decode(&connection.recv().unwrap()).unwrap()
}

fn flip(value: &mut Value, place: usize) {
    let mut bytes: Blob = serde_json::from_value(value.clone()).unwrap();
    bytes.0[place] ^= 1;
    *value = json!(bytes);
}

/// P16, P27: freezes and revocations that the server would rather not deliver.
#[test]
fn what_a_person_took_away_stays_away() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let authorisation = payment.authorisation;

    // The server withholds the freeze; alice gives it to s1 and s2 herself. No log has it, and yet
    // neither lets a share go.
    scene.server.lose(&["reduction", "agreement", "cosignature"]);
    let freeze = scene.freeze("alice");
    for who in ["s1", "s2"] {
        let said = submit_directly(&scene, "alice", who, &freeze);
        assert_eq!(said, FromCosigner::Receipt { id: freeze.id(), state: ReceiptState::Held });
    }
    for pair in [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]] {
        assert_eq!(scene.sign(authorisation, pair), Err("P16.frozen".into()), "{pair:?}");
    }
    assert_eq!(scene.server.view(|v| v.state.freezes().iter().count()), 0, "the log does not have it");
    // It outlives a kill: it was on disk before the receipt.
    scene.kill("s1");
    scene.start("s1", &[]);
    let asked = say_directly(&scene, "alice", "s1", &ToCosigner::Challenge { nonce: Hash([1; 32]) });
    let FromCosigner::Answer(answer) = asked else { panic!("{asked:?}") };
    assert_eq!(answer.reductions, [freeze.id()]);
    assert!(!signed_since(&scene, 0));

    // From here on the server hides only the reductions themselves: the log gets it all the same, when
    // the turn of a holder comes.
    scene.server.lose(&["reduction"]);
    scene.server.wait("the freeze in the log", |v| v.state.freezes().get(&freeze.id()).map(|_| ()));
    scene.server.settle();
    for pair in [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]] {
        assert_eq!(scene.sign(authorisation, pair), Err("P16.frozen".into()), "{pair:?}");
    }
    // A direct listener takes reductions of people and alarms, and nothing else (P19).
    let approve = scene.write("alice", Body::Request(scene.world.request(&[("acme", 1_000)])));
    let FromCosigner::Receipt { state: ReceiptState::Refused { rule, .. }, .. } =
        submit_directly(&scene, "alice", "s1", &approve)
    else {
        panic!()
    };
    assert_eq!(rule, "P19.grant");

    // The twin: thawed by a quorum, the same authorisation is signed.
    scene.server.honest();
    scene.resume();
    let signed = scene.sign(authorisation, ["s1", "s2"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed));

    revoked(&mut scene);
    one_hostile_one_not_reached(&mut scene);
}

/// An approver takes her key back; the server withholds that.
fn revoked(scene: &mut Scene) {
    let payment = scene.paid(120_000);
    scene.server.lose(&["reduction"]);
    let revoke = scene.write("bob", Body::Revoke(Revoke { key: id("bob") }));
    let said = submit_directly(scene, "bob", "s2", &revoke);
    assert_eq!(said, FromCosigner::Receipt { id: revoke.id(), state: ReceiptState::Held });
    scene.server.wait("the revocation", |v| v.outcome(&revoke));
    scene.server.settle();
    // His approval is worth nothing any more: one of two is left.
    for pair in [["s1", "s2"], ["s1", "s3"]] {
        assert_eq!(scene.sign(payment.authorisation, pair), Err("policy.approvals".into()));
    }
    // His connection is good for one thing yet: a freeze, for whoever took the key may be the one who
    // revoked it (P16).
    let asks = scene.world.request(&[("acme", 1_000)]);
    let asks = scene.write("bob", Body::Request(asks));
    assert!(matches!(
        submit_directly(scene, "bob", "s2", &asks),
        FromCosigner::Receipt { state: ReceiptState::Refused { rule, .. }, .. } if rule == "P1.signature" || rule == "P19.grant"
    ));
    let freeze = scene.freeze("bob");
    let said = submit_directly(scene, "bob", "s2", &freeze);
    assert_eq!(said, FromCosigner::Receipt { id: freeze.id(), state: ReceiptState::Held });
    scene.server.wait("his freeze", |v| v.outcome(&freeze));
    scene.server.settle();
    scene.refresh();
    let lifted =
        custody::document::Document::Resume(custody::document::Resume { freezes: vec![freeze.id()] });
    let proposal = scene.propose("carol", lifted).unwrap();
    for who in ["alice", "carol"] {
        scene.approve(who, proposal).unwrap();
    }
    scene.server.honest();
    let carol_asks = scene.world.request(&[("acme", 70_000)]);
    let request = scene.say("dave", Body::Request(carol_asks)).unwrap();
    for who in ["alice", "carol"] {
        scene.approve(who, request).unwrap();
    }
    let coin = scene.coin(100_000);
    let draft = scene.draft(&[request], &[coin], 1_000);
    let authorisation = scene.pay(&[request], &draft).unwrap();
    scene.sign(authorisation, ["s1", "s2"]).unwrap();
}

/// Authorised before and frozen after, s3 hostile and s2 not reached: what an honest holder of the freeze
/// can do alone. "Frozen" is printed at three acknowledgements of signers, so not here (P18).
fn one_hostile_one_not_reached(scene: &mut Scene) {
    let request = scene.world.request(&[("acme", 90_000)]);
    let request = scene.say("dave", Body::Request(request)).unwrap();
    for who in ["alice", "carol"] {
        scene.approve(who, request).unwrap();
    }
    let coin = scene.coin(100_000);
    let draft = scene.draft(&[request], &[coin], 1_000);
    let authorisation = scene.pay(&[request], &draft).unwrap();
    // s3 says nothing and hides the freeze; letters of s1 that carry it are lost.
    scene.server.lose(&["reduction"]);
    let freeze = scene.freeze("alice");
    submit_directly(scene, "alice", "s1", &freeze);
    assert_eq!(scene.sign(authorisation, ["s1", "s3"]), Err("P16.frozen".into()));
    // As soon as the log moves at all, s1 brings it in; then s2 knows as well, and s3 has no second share.
    scene.server.wait("the freeze in the log", |v| v.state.freezes().get(&freeze.id()).map(|_| ()));
    scene.server.settle();
    assert_eq!(scene.sign(authorisation, ["s2", "s3"]), Err("P16.frozen".into()));
    scene.server.honest();
}

/// P28: frames altered, replayed, swapped, of another session; P2, P27: nonces asked twice, a kill
/// between the write and the signature.
#[test]
fn a_session_signs_once_with_whom_it_began() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let (authorisation, genesis) = (payment.authorisation, scene.world.state.genesis_hash());
    let own = |attempt: u32| session(&genesis, &authorisation, &["s1", "s2"].map(name), attempt).to_string();

    // Altered in each of its parts, then brought as it was: it signs.
    type Alter = fn(&mut Value);
    let alterations: [(&str, Alter); 5] = [
        ("sealed", |f| flip(&mut f["sealed"], 40)),
        ("signature", |f| flip(&mut f["signature"], 0)),
        ("session", |f| f["session"] = json!(Hash([4; 32]))),
        ("from", |f| f["from"] = json!("s3")),
        ("to", |f| f["to"] = json!("s3")),
    ];
    for (what, alter) in alterations {
        let kept = scene.server.keep("frame");
        let mark = scene.server.mark();
        let attempt = scene.order(authorisation, ["s1", "s2"]);
        let letters = gather(&scene, &kept, 2);
        assert!(letters.iter().all(|l| session_of(l) == own(attempt)));
        for letter in &letters {
            let altered = letter.clone().edit(|v| alter(&mut v["frame"]));
            scene.server.deliver(&altered);
            // To the one whose name it now bears as well.
            scene.server.deliver(&Letter { to: "s3".into(), ..altered });
        }
        let rule = scene.server.within(SILENCE, |v| {
            v.said[mark..].iter().find_map(|(_, m)| match m {
                FromCosigner::Refused { what, rule, .. } if what == "frame" => Some(rule.clone()),
                _ => None,
            })
        });
        if what != "to" {
            assert_eq!(rule.as_deref(), Some("P1.signature"), "{what}");
        }
        assert!(!signed_since(&scene, mark), "{what}");
        scene.server.honest();
        letters.iter().for_each(|l| scene.server.deliver(l));
        let signed = scene.result(mark, authorisation).unwrap();
        assert!(scene.valid(&payment.draft, &[payment.coin], &signed), "{what}");
    }

    // Everything twice, and everything to everybody: it signs once all the same, and blames nobody.
    scene.server.post(|letter| {
        if letter.kind() != "frame" {
            return vec![letter];
        }
        let everybody = ["s1", "s2", "s3", "w1"].map(|to| Letter { to: to.into(), ..letter.clone() });
        [everybody.to_vec(), vec![letter]].concat()
    });
    let mark = scene.server.mark();
    scene.order(authorisation, ["s1", "s2"]);
    assert!(scene.result(mark, authorisation).is_ok());
    std::thread::sleep(SILENCE);
    let blamed = scene.server.view(|v| {
        v.said[mark..].iter().find_map(|(_, m)| match m {
            FromCosigner::Refused { culprits, .. } if !culprits.is_empty() => Some(culprits.clone()),
            _ => None,
        })
    });
    assert_eq!(blamed, None, "a replay by the server blames an honest signer");
    scene.server.honest();

    frames_of_another_session(&mut scene, authorisation);
    nonces_twice(&mut scene, authorisation);
    killed(&mut scene, authorisation);
    wrong_sets(&mut scene, authorisation);
    hostile_signer(&mut scene, authorisation);
    let signed = scene.sign(authorisation, ["s1", "s2"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed));
}

fn session_of(letter: &Letter) -> String {
    let value: Value = serde_json::from_slice(&letter.bytes).unwrap();
    value["frame"]["session"].as_str().unwrap_or_default().to_owned()
}

/// Waits until so many letters were kept back.
fn gather(scene: &Scene, kept: &Arc<Mutex<Vec<Letter>>>, count: usize) -> Vec<Letter> {
    scene.server.wait("letters", |_| {
        let kept = kept.lock().unwrap();
        (kept.len() >= count).then(|| kept.clone())
    })
}

/// The frames of one attempt in the place of those of another: nonces of one session never serve two.
fn frames_of_another_session(scene: &mut Scene, authorisation: Hash) {
    let kept = scene.server.keep("frame");
    scene.order(authorisation, ["s1", "s2"]);
    let old = gather(scene, &kept, 2);
    let mark = scene.server.mark();
    scene.order(authorisation, ["s1", "s2"]);
    let both = gather(scene, &kept, 4);
    let fresh: Vec<Letter> = both.into_iter().filter(|l| !old.iter().any(|o| o.bytes == l.bytes)).collect();
    let session = session_of(&fresh[0]);
    for letter in &old {
        let moved = letter.clone().edit(|v| v["frame"]["session"] = json!(session));
        scene.server.deliver(&moved);
    }
    assert_eq!(scene.result_within(SILENCE, mark, authorisation), None);
    scene.server.honest();
    fresh.iter().for_each(|l| scene.server.deliver(l));
    scene.result(mark, authorisation).unwrap();
}

/// The same session asked for again, before and after it was over.
fn nonces_twice(scene: &mut Scene, authorisation: Hash) {
    let kept = scene.server.keep("frame");
    let mark = scene.server.mark();
    let attempt = scene.order(authorisation, ["s1", "s2"]);
    let letters = gather(scene, &kept, 2);
    scene.order_again(authorisation, ["s1", "s2"], attempt);
    both_refuse(scene, mark, "P2.once");
    assert_eq!(kept.lock().unwrap().len(), 2, "no second commitment left");
    scene.server.honest();
    let mark = scene.server.mark();
    letters.iter().for_each(|l| scene.server.deliver(l));
    assert!(scene.result(mark, authorisation).is_ok());
    let mark = scene.server.mark();
    scene.order_again(authorisation, ["s1", "s2"], attempt);
    both_refuse(scene, mark, "P2.once");
}

/// Waits for two refusals of an order by this rule.
fn both_refuse(scene: &Scene, mark: usize, by: &str) {
    let ours = |m: &FromCosigner| matches!(m, FromCosigner::Refused { what, rule, .. } if what == "sign" && rule == by);
    scene.server.wait("two refusals", |v| {
        (v.said[mark..].iter().filter(|(_, m)| ours(m)).count() == 2).then_some(())
    });
}

/// SIGKILL after the session's number was written and before the share left.
fn killed(scene: &mut Scene, authorisation: Hash) {
    let kept = scene.server.keep("frame");
    let attempt = scene.order(authorisation, ["s1", "s2"]);
    let letters = gather(scene, &kept, 2);
    scene.kill("s1");
    scene.start("s1", &[]);
    scene.server.honest();
    let mark = scene.server.mark();
    letters.iter().for_each(|l| scene.server.deliver(l));
    scene.order_one("s1", authorisation, ["s1", "s2"], attempt);
    assert_eq!(scene.result(mark, authorisation).unwrap_err().0, "P2.once");
    assert!(!signed_since(scene, mark));
    scene.sign(authorisation, ["s1", "s2"]).unwrap();
}

/// Too many, a witness, the same twice.
fn wrong_sets(scene: &mut Scene, authorisation: Hash) {
    for (holders, rule) in [
        (vec!["s1", "s2", "s3"], "P1.form"),
        (vec!["s1"], "P1.form"),
        (vec!["s1", "s1"], "P1.form"),
        (vec!["s1", "w1"], "P1.form"),
        (vec!["s2", "s3"], "P1.form"),
    ] {
        let mark = scene.server.mark();
        let names: Vec<_> = holders.iter().map(|h| name(h)).collect();
        scene.server.tell("s1", &ToCosigner::Sign { authorisation, holders: names, attempt: 900 });
        assert_eq!(scene.result(mark, authorisation).unwrap_err().0, rule, "{holders:?}");
    }
    let mark = scene.server.mark();
    scene.order_one("w1", authorisation, ["s1", "w1"], 901);
    assert_eq!(scene.result(mark, authorisation).unwrap_err().0, "GEN-03.ceremony");
}

/// Somebody who holds the keys of s3 and the server's, but not the share of s3.
fn hostile_signer(scene: &mut Scene, authorisation: Hash) {
    let hand = scene.steal("s3");
    scene.kill("s3");
    let genesis = scene.world.state.genesis_hash();
    let holders = ["s1", "s3"].map(name);
    let seal = scene.world.state.cosigner(&name("s1")).unwrap().seal;
    let bad: [(Value, u32); 3] = [
        (json!({ "commitments": [] }), 950),
        (json!({ "commitments": [Blob(vec![0xff; 98])] }), 951),
        (json!({ "shares": [Blob(vec![0xff; 32])] }), 952),
    ];
    for (payload, attempt) in bad {
        let mark = scene.server.mark();
        scene.order_one("s1", authorisation, ["s1", "s3"], attempt);
        let id = session(&genesis, &authorisation, &holders, attempt);
        scene.server.deliver(&hand.frame("s1", &seal, &id, &payload));
        let (rule, culprits) = scene.result(mark, authorisation).unwrap_err();
        assert_eq!((rule.as_str(), culprits), ("P1.form", vec![name("s3")]), "{payload}");
    }
    // It cannot speak in the name of s2.
    let mark = scene.server.mark();
    scene.order_one("s1", authorisation, ["s1", "s2"], 953);
    let id = session(&genesis, &authorisation, &["s1", "s2"].map(name), 953);
    let forged = hand.frame("s1", &seal, &id, &json!({ "commitments": [] }));
    scene.server.deliver(&forged.edit(|v| v["frame"]["from"] = json!("s2")));
    let rule = scene.server.wait("a refusal", |v| {
        v.said[mark..].iter().find_map(|(_, m)| match m {
            FromCosigner::Refused { what, rule, .. } if what == "frame" => Some(rule.clone()),
            _ => None,
        })
    });
    assert_eq!(rule, "P1.signature");
    scene.start("s3", &[]);
}

/// Shares and directories in wrong hands; old disks.
#[test]
fn a_copy_of_a_signer_is_no_signer() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let authorisation = payment.authorisation;

    // The sealed share of s1 opens for nobody else, a second time for s1.
    assert_eq!(scene.hand_over("s1", "s2"), Err("GEN-03.ceremony".into()));
    assert_eq!(scene.hand_over("s1", "w1"), Err("GEN-03.ceremony".into()));
    assert_eq!(scene.hand_over("s1", "s1"), Ok(()));

    // A copied directory opens nothing without its secret.
    scene.kill("s1");
    let copy = scene.signers.save("s1", "stolen");
    for (what, secret) in [
        ("no secret", Vec::new()),
        ("a short one", vec![7; 15]),
        ("a wrong one", vec![7; 32]),
        ("that of s2", sim::processes::secret("s2").to_vec()),
    ] {
        let said = scene.signers.refuses(&copy, &secret);
        assert!(said.contains("secret"), "{what}: {said}");
    }
    // With a share of another in it, it does not start either; nor with that of s1 in s2's.
    scene.kill("s2");
    let other = scene.signers.save("s2", "with-a-share-of-s1");
    std::fs::remove_dir_all(other.join("shares")).unwrap();
    sim::processes::copy(&copy.join("shares"), &other.join("shares"));
    let said = scene.signers.refuses(&other, &sim::processes::secret("s2"));
    assert!(said.contains("share file"), "{said}");
    std::fs::create_dir(copy.join("empty")).unwrap();
    let said = scene.signers.refuses(&copy.join("empty"), &sim::processes::secret("s1"));
    assert!(said.contains("keys.vault"), "{said}");
    // An altered journal is found too.
    let broken = scene.signers.save("s2", "broken");
    let log = broken.join("log.journal");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let said = scene.signers.refuses(&broken, &sim::processes::secret("s2"));
    assert!(!said.is_empty(), "{said}");

    for who in ["s1", "s2"] {
        scene.start(who, &[]);
    }
    let signed = scene.sign(authorisation, ["s1", "s2"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed));

    old_disks(&mut scene, authorisation, &copy);
}

/// P12: a disk that was restored neither votes nor releases before two heights above what the others
/// showed are final, whether or not somebody says so.
fn old_disks(scene: &mut Scene, authorisation: Hash, old: &std::path::Path) {
    for _ in 0..3 {
        let request = scene.world.request(&[("acme", 50_000)]);
        scene.say("carol", Body::Request(request)).unwrap();
    }
    for arguments in [&[][..], &["--restored"][..]] {
        scene.server.settle();
        scene.kill("s1");
        scene.signers.restore("s1", old);
        let before = scene.server.view(|v| v.state.clock().height);
        let mark = scene.server.mark();
        // Its own votes are shown to it before it has caught up with what became of them.
        scene.server.lose(&["log"]);
        scene.start("s1", arguments);
        scene.order(authorisation, ["s1", "s3"]);
        assert_eq!(scene.result_within(SILENCE, mark, authorisation), None, "{arguments:?}");
        scene.server.honest();
        let ready = |scene: &Scene| scene.result_within(SILENCE, mark, authorisation).map(Result::unwrap);
        while ready(scene).is_none() {
            let height = scene.server.view(|v| v.state.clock().height);
            assert!(height <= before + 4, "{arguments:?}: not back at height {height}");
            let request = scene.world.request(&[("acme", 50_000)]);
            scene.say("carol", Body::Request(request)).unwrap();
        }
        let height = scene.server.view(|v| v.state.clock().height);
        assert!(height >= before + 2, "{arguments:?}: released at height {height}, shown was {before}");
    }
    // The twin: a disk that is as it was is ready at once.
    scene.server.settle();
    scene.kill("s1");
    let before = scene.server.view(|v| v.state.clock().height);
    scene.start("s1", &[]);
    scene.sign(authorisation, ["s1", "s3"]).unwrap();
    assert!(scene.server.view(|v| v.state.clock().height) < before + 2);
}
