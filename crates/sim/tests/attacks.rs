//! Attacks on what people said and approved, over the real wire against real `keyward-signer` processes.
//! The attacker holds the server's keys. Each attack asserts the rule that refuses it; its unaltered twin
//! succeeds at the end of the same test.

use custody::batch::Batch;
use custody::document::{DeviceKey, Document, Grant};
use custody::effects::{Branch, Decoder as _, Sats};
use custody::payment::{Allocate, Authorise, Request};
use custody::policy::{PolicyRule, Require};
use custody::statement::{
    Activate, Approve, Body, Envelope, Freeze, Propose, Revoke, Scope, Statement, Supports, Veto,
};
use custody::{Blob, Hash, canon};
use fixtures::{Coin, Draft, device, id, key, machine, path, person};
use serde_json::{Value, json};
use sim::attacker::{Denied, Hand, Scene};
use sim::deployment::name;
use wire::message::ReceiptState;

/// Refused by every co-signer before it could be in a batch.
fn kept_out(rule: &str) -> Result<Hash, Denied> {
    Err(Denied { rule: rule.to_owned(), consumed: false })
}

/// Rejected in the log, and used up.
fn rejected(rule: &str) -> Result<Hash, Denied> {
    Err(Denied { rule: rule.to_owned(), consumed: true })
}

/// An envelope with its JSON changed, as the bytes that the attacker sends.
fn altered(envelope: &Envelope, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(&envelope.bytes()).unwrap();
    change(&mut value);
    serde_json::to_vec(&value).unwrap()
}

fn refused_by(receipt: ReceiptState) -> String {
    match receipt {
        ReceiptState::Refused { rule, .. } => rule,
        other => panic!("{other:?}"),
    }
}

/// A transaction that a hostile server proposes instead of the one that was approved.
type Tampering = (&'static str, &'static str, fn(&Scene, &mut Draft, &mut Authorise));

const TAMPERED: &[Tampering] = &[
    ("destination", "P20.outputs", |scene, draft, _| {
        let thief = fixtures::regtest::address("thief");
        draft.outputs[0].0 = scene.world.decoder.address_script(&thief).unwrap();
    }),
    ("another approved destination", "P20.outputs", |scene, draft, _| {
        let other = fixtures::regtest::address("other");
        draft.outputs[0].0 = scene.world.decoder.address_script(&other).unwrap();
    }),
    ("amount", "P20.outputs", |_, draft, _| {
        draft.outputs[0].1.0 += 1;
        draft.outputs[1].1.0 -= 1;
    }),
    ("amount, smaller", "P20.outputs", |_, draft, _| draft.outputs[0].1.0 -= 1),
    ("an output left out", "P20.outputs", |_, draft, _| {
        draft.outputs.remove(0);
    }),
    ("an output more", "P20.outputs", |scene, draft, _| {
        let thief = fixtures::regtest::address("thief");
        draft.outputs.push((scene.world.decoder.address_script(&thief).unwrap(), Sats(50_000)));
        draft.outputs[1].1.0 -= 50_000;
    }),
    ("the request paid twice", "P20.outputs", |_, draft, _| {
        let again = draft.outputs[0].clone();
        draft.outputs[1].1.0 -= again.1.0;
        draft.outputs.push(again);
    }),
    ("fee over the ceiling", "P20.fee", |_, draft, _| draft.outputs[1].1.0 -= 60_000),
    ("change to a stranger", "P20.outputs", |scene, draft, _| {
        let thief = fixtures::regtest::address("thief");
        draft.outputs[1].0 = scene.world.decoder.address_script(&thief).unwrap();
    }),
    ("change to an index out of reach", "P20.change", |scene, draft, _| {
        draft.outputs[1].0 = scene.own_script(Branch::Change, 20);
        draft.change = Some(20);
    }),
    ("change to the last index that is possible", "P20.change", |scene, draft, _| {
        draft.outputs[1].0 = scene.own_script(Branch::Change, 0x7fff_ffff);
        draft.change = Some(0x7fff_ffff);
    }),
    ("change to a receive address", "P20.outputs", |scene, draft, _| {
        draft.outputs[1].0 = scene.own_script(Branch::Receive, 0);
    }),
    ("change as dust", "P20.change", |_, draft, _| {
        draft.coins[0].amount = Sats(600_000 + 300 + 1_000);
        draft.outputs[1].1 = Sats(300);
    }),
    ("input amount, more than it is", "P21.anchor-proof", |_, draft, _| {
        draft.coins[0].amount.0 += 10_000;
        draft.outputs[1].1.0 += 10_000;
    }),
    ("input amount, less than it is", "P21.anchor-proof", |_, draft, _| {
        draft.coins[0].amount.0 -= 40_000;
        draft.outputs[1].1.0 -= 40_000;
    }),
    ("input index", "P21.anchor-proof", |_, draft, _| draft.coins[0].index = 1),
    ("input index out of reach", "P20.own-input", |_, draft, _| draft.coins[0].index = 20),
    ("an input that was never born", "P21.anchor-proof", |_, draft, _| {
        draft.coins[0].outpoint.vout = 1;
    }),
    ("lock time far away", "P20.shape", |_, draft, _| draft.lock_time = 500_000),
    ("a final sequence", "P20.shape", |_, draft, _| draft.sequence = 0xffff_ffff),
    ("version", "P20.shape", |_, draft, _| draft.version = 1),
    ("no anchor", "P21.anchors", |_, _, ask| ask.anchors.clear()),
    ("an anchor that is not spent", "P21.anchors", |_, _, ask| {
        ask.anchors[0].outpoint.txid = Hash([3; 32]);
    }),
    ("an anchor without proof", "P21.anchor-proof", |_, _, ask| ask.anchors[0].proof = None),
    ("an anchor five blocks deep", "P21.anchor-proof", |_, _, ask| {
        let headers = &mut ask.anchors[0].proof.as_mut().unwrap().headers.0;
        headers.truncate(headers.len() - 80);
    }),
    ("an anchor in a block without work", "P21.anchor-proof", |_, _, ask| {
        ask.anchors[0].proof.as_mut().unwrap().headers.0[40] ^= 1;
    }),
    ("a request twice", "P1.form", |_, _, ask| ask.requests.push(ask.requests[0])),
    ("a request that nobody made", "P5.reference", |_, _, ask| ask.requests = vec![Hash([9; 32])]),
    ("no transaction at all", "P20.shape", |_, _, ask| ask.transaction.raw = Blob(vec![0; 60])),
];

/// Destination, amount, fee, change, inputs, anchors, form: whatever is changed after the approval.
#[test]
fn what_was_approved_is_what_is_signed() {
    let mut scene = Scene::ready();
    let request = scene.world.request(&[("acme", 600_000)]);
    let request = scene.asked(request);
    let coin = scene.coin(1_500_000);
    let draft = scene.draft(&[request], &[coin], 1_000);
    let sound = scene.world.authorise(&[request], &draft);
    for (what, rule, tamper) in TAMPERED {
        let (mut tampered, mut ask) = (draft.clone(), sound.clone());
        tamper(&scene, &mut tampered, &mut ask);
        if tampered.raw() != draft.raw() || tampered.typed() != draft.typed() {
            ask.transaction = tampered.typed();
            if ask.anchors.len() == 1 && tampered.coins[0].outpoint != coin.outpoint {
                ask.anchors[0].outpoint = tampered.coins[0].outpoint;
            }
        }
        assert_eq!(scene.propose_payment(ask), kept_out(rule), "{what}");
    }
    amounts_that_no_anchor_shows(&mut scene);
    underpaid_in_approvals(&mut scene);
    two_at_once(&mut scene);
    ended(&mut scene);

    // The twin, and each pair of holders signs it.
    let authorisation = scene.propose_payment(sound).unwrap();
    for pair in [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]] {
        let signed = scene.sign(authorisation, pair).unwrap();
        assert!(scene.valid(&draft, &[coin], &signed));
    }
    assert_eq!(scene.pay(&[request], &draft), kept_out("P20.repeated"));
    not_authorised(&mut scene);
}

/// An input that is no anchor has no proof. Whoever understates it gets signatures that no node takes:
/// they commit to the amounts (BIP-341).
fn amounts_that_no_anchor_shows(scene: &mut Scene) {
    let request = scene.world.request(&[("acme", 200_000)]);
    let request = scene.asked(request);
    let (anchor, second) = (scene.coin(150_000), scene.coin(900_000));
    let lied = Coin { amount: Sats(100_000), ..second };
    let draft = scene.draft(&[request], &[anchor, lied], 1_000);
    let authorisation = scene.pay(&[request], &draft).unwrap();
    let signed = scene.sign(authorisation, ["s1", "s2"]).unwrap();
    assert!(scene.valid(&draft, &[anchor, lied], &signed));
    assert!(!scene.valid(&draft, &[anchor, second], &signed), "worthless on the chain");
}

/// Requester, one person, one key more, a machine, nobody: none is two people.
fn underpaid_in_approvals(scene: &mut Scene) {
    let coin = scene.coin(500_000);
    let attempt = |scene: &mut Scene, requester: &str, approvers: &[&str], rule: &str| {
        let request = scene.world.request(&[("acme", 200_000)]);
        let request = scene.say(requester, Body::Request(request)).unwrap();
        for who in approvers {
            scene.approve(who, request).unwrap();
        }
        let draft = scene.draft(&[request], &[coin], 1_000);
        assert_eq!(scene.pay(&[request], &draft), kept_out(rule), "{requester} and {approvers:?}");
        request
    };
    attempt(scene, "carol", &[], "policy.approvals");
    attempt(scene, "carol", &["alice"], "policy.approvals");
    attempt(scene, "carol", &["alice", "alice"], "policy.approvals");
    attempt(scene, "carol", &["alice", "dave"], "policy.approvals");
    let request = attempt(scene, "alice", &["bob"], "policy.approvals");
    assert_eq!(scene.approve("alice", request), rejected("P3.standing"), "the requester approves");
    assert_eq!(scene.approve("server", request), rejected("P3.standing"), "a machine approves");
    let asked = Body::Request(scene.world.request(&[("acme", 1_000)]));
    assert_eq!(scene.say("server", asked), rejected("P19.grant"), "the server asks for payments");

    // One person under two keys.
    let second = DeviceKey { ..device("alice-second") };
    let mut two_keys = person("alice");
    two_keys.keys.push(second);
    scene.adopt("bob", Document::Person(two_keys));
    attempt(scene, "carol", &["alice", "alice-second"], "policy.approvals");
    // Her key at a second person, and somebody else's at hers.
    let mut twin = person("mallory");
    twin.keys = vec![device("alice-second")];
    assert_eq!(scene.propose("bob", Document::Person(twin)), rejected("P3.document"));
    let stolen = machine("robot", &[Grant::Request]);
    let stolen = custody::document::Machine { sign: fixtures::public("bob"), ..stolen };
    assert_eq!(scene.propose("bob", Document::Machine(stolen)), rejected("P3.document"));

    // The same one by whom two people suffice.
    let request = scene.world.request(&[("acme", 200_000)]);
    let request = scene.say("carol", Body::Request(request)).unwrap();
    scene.approve("alice-second", request).unwrap();
    scene.approve("bob", request).unwrap();
    let draft = scene.draft(&[request], &[coin], 1_000);
    scene.pay(&[request], &draft).unwrap();
}

/// Two transactions of one request, one request shown as two.
fn two_at_once(scene: &mut Scene) {
    let ask = scene.world.request(&[("acme", 300_000)]);
    let request = scene.asked(ask.clone());
    let (first, second) = (scene.coin(400_000), scene.coin(500_000));
    let draft = scene.draft(&[request], &[first], 1_000);
    let authorisation = scene.pay(&[request], &draft).unwrap();
    // Out of another coin it could confirm beside the first.
    let beside = scene.draft(&[request], &[second], 2_000);
    assert_eq!(scene.pay(&[request], &beside), kept_out("P21.anchors"));
    let mut ask_again = scene.world.authorise(&[request], &beside);
    ask_again.anchors = sound_anchor(scene, request, &second);
    assert_eq!(scene.propose_payment(ask_again), kept_out("P21.anchors"));
    // Together with the anchor it cannot, so this replacement is allowed.
    let bump = scene.draft(&[request], &[first, second], 3_000);
    let bumped = scene.pay(&[request], &bump).unwrap();
    for (draft, coins, authorisation) in
        [(&draft, vec![first], authorisation), (&bump, vec![first, second], bumped)]
    {
        let signed = scene.sign(authorisation, ["s1", "s3"]).unwrap();
        assert!(scene.valid(draft, &coins, &signed));
    }
    // The approved request under a second statement is not approved.
    let copy = scene.say("carol", Body::Request(ask)).unwrap();
    let coin = scene.coin(400_000);
    let draft = scene.draft(&[copy], &[coin], 1_000);
    assert_eq!(scene.pay(&[copy], &draft), kept_out("policy.approvals"));
    // Nor does its payment leave out the one whose anchor it takes.
    let thief = scene.world.request(&[("other", 100_000)]);
    let thief = scene.asked(thief);
    let draft = scene.draft(&[thief], &[first], 1_000);
    assert_eq!(scene.pay(&[thief], &draft), kept_out("P21.left-out"));
}

fn sound_anchor(scene: &Scene, request: Hash, coin: &Coin) -> Vec<custody::payment::NewAnchor> {
    let proof = Some(scene.world.chain.prove(coin.outpoint.txid, scene.world.state.header().height));
    vec![custody::payment::NewAnchor { request, outpoint: coin.outpoint, proof }]
}

/// A request that ended before its transaction was proposed.
fn ended(scene: &mut Scene) {
    scene.refresh();
    let request = Request { end: scene.world.time + 1, ..scene.world.request(&[("acme", 50_000)]) };
    let late = scene.say("carol", Body::Request(request)).unwrap();
    for who in ["alice", "bob"] {
        scene.approve(who, late).unwrap();
    }
    let coin = scene.coin(100_000);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    // Log time moves with batches: this one brings it past the end.
    let allocate = Allocate { wallet: name("main"), client: name("acme"), branch: Branch::Receive, count: 1 };
    scene.say("server", Body::Allocate(allocate)).unwrap();
    let draft = scene.draft(&[late], &[coin], 1_000);
    assert_eq!(scene.pay(&[late], &draft), kept_out("P20.ended"));
    let request = Request { end: scene.world.time - 1, ..scene.world.request(&[("acme", 50_000)]) };
    assert_eq!(scene.say("carol", Body::Request(request)), rejected("P19.request"), "ended before it began");
}

/// An order to sign what no head contains.
fn not_authorised(scene: &mut Scene) {
    assert_eq!(scene.sign(Hash([1; 32]), ["s1", "s2"]), Err("P5.reference".into()));
    assert_eq!(scene.sign(Hash([2; 32]), ["s2", "s1"]), Err("P1.form".into()), "holders out of order");
}

/// Approvals of another request, another policy; destinations that changed; two seats for one person.
#[test]
fn an_approval_is_for_one_thing_under_one_policy() {
    let mut scene = Scene::ready();
    let coin = scene.coin(900_000);
    let old_policy = scene.world.state.policy().unwrap().1;

    let small = scene.world.request(&[("acme", 10_000)]);
    let small = scene.asked(small);
    let large = scene.world.request(&[("acme", 500_000)]);
    let large = scene.say("carol", Body::Request(large)).unwrap();
    // The approvals of the small one do not count for the large one, whatever the server shows.
    let draft = scene.draft(&[large], &[coin], 1_000);
    assert_eq!(scene.pay(&[large], &draft), kept_out("policy.approvals"));
    assert_eq!(scene.approve("alice", Hash([5; 32])), kept_out("P5.reference"), "an approval of nothing");

    // Under a policy in which one person would have to fill two seats.
    let mut policy = scene.world.state.policy().unwrap().0.clone();
    let seats = path(&[(1, "approvers"), (1, "admins"), (1, "admins")]);
    policy.rules = vec![PolicyRule {
        require: Require { approvals: vec![seats], ..fixtures::rule().require },
        ..fixtures::rule()
    }];
    scene.adopt("carol", Document::Policy(policy.clone()));
    // Approvals under the old policy are void, and new ones under it are refused.
    let draft_small = scene.draft(&[small], &[coin], 1_000);
    assert_eq!(scene.pay(&[small], &draft_small), kept_out("policy.approvals"));
    let stale = Body::Approve(Approve { target: small, decides: old_policy });
    assert_eq!(scene.say("alice", stale), rejected("P1.decides"));
    // Three seats, two people, both in both groups.
    for who in ["alice", "bob"] {
        scene.approve(who, small).unwrap();
    }
    assert_eq!(scene.pay(&[small], &draft_small), kept_out("policy.approvals"));

    // A policy that goes under a floor is not even proposed.
    let mut alone = policy.clone();
    alone.rules[0].require.approvals = vec![path(&[(1, "approvers")])];
    assert_eq!(scene.propose("alice", Document::Policy(alone)), rejected("floor.adoption"));
    // An old version comes back only as a new document that names what it replaces.
    let back = Propose { document: Document::Policy(policy.clone()), replaces: Some(old_policy) };
    assert_eq!(scene.say("alice", Body::Propose(back)), rejected("P3.replaces"));

    // Two people for two seats again.
    policy.rules = vec![fixtures::rule()];
    scene.adopt("carol", Document::Policy(policy));
    for who in ["alice", "bob"] {
        scene.approve(who, small).unwrap();
    }
    // The label or the address of the destination changes after the request.
    let Document::Destination(mut acme) = fixtures::destination("acme") else { panic!() };
    acme.label = fixtures::label("our own vault").commitment();
    let fresh = scene.world.request(&[("acme", 20_000)]);
    let fresh = scene.asked(fresh);
    scene.adopt("dave", Document::Destination(acme.clone()));
    let draft = scene.draft(&[fresh], &[coin], 1_000);
    assert_eq!(scene.pay(&[fresh], &draft), kept_out("P20.outputs"), "the label changed");
    assert_eq!(scene.pay(&[small], &draft_small), kept_out("P20.outputs"), "the label changed");
    let mut ask = scene.world.request(&[("acme", 20_000)]);
    ask.outputs[0].version = fixtures::destination("acme").hash();
    assert_eq!(
        scene.say("carol", Body::Request(ask)),
        rejected("P19.request"),
        "an old version is asked for"
    );
    let mut ask = scene.world.request(&[("acme", 20_000)]);
    ask.wallet = name("other");
    assert_eq!(scene.say("carol", Body::Request(ask)), kept_out("P5.reference"), "another wallet");
    let again = scene.propose("dave", Document::Destination(acme)).unwrap();
    assert_eq!(scene.approve("dave", again), rejected("P3.standing"), "who proposed it approves it");

    // The twin under the version in force.
    let request = scene.world.request(&[("acme", 20_000)]);
    let request = scene.asked(request);
    let draft = scene.draft(&[request], &[coin], 1_000);
    let authorisation = scene.pay(&[request], &draft).unwrap();
    let signed = scene.sign(authorisation, ["s2", "s3"]).unwrap();
    assert!(scene.valid(&draft, &[coin], &signed));
}

/// Every kind of statement: unsigned, under-signed, re-signed, replayed, hoarded, of another deployment,
/// not canonical.
#[test]
fn a_statement_is_its_signers_words_once_here_and_in_time() {
    let mut scene = Scene::ready();
    let request = scene.world.request(&[("acme", 100_000)]);
    let waiting = scene.say("carol", Body::Request(request.clone())).unwrap();
    let open = scene.propose("carol", Document::Person(person("eve"))).unwrap();
    let decides = scene.world.state.policy().unwrap().1;
    let upgrade = fixtures::foreign_rules();
    scene.adopt("carol", Document::Upgrade(upgrade.clone()));
    let coin = scene.coin(200_000);
    let draft = scene.draft(&[waiting], &[coin], 1_000);
    let kinds: Vec<(&str, Body)> = vec![
        ("carol", Body::Propose(Propose { document: Document::Person(person("frank")), replaces: None })),
        ("alice", Body::Approve(Approve { target: waiting, decides })),
        ("carol", Body::Request(request)),
        ("server", Body::Authorise(scene.world.authorise(&[waiting], &draft))),
        (
            "server",
            Body::Allocate(Allocate {
                wallet: name("main"),
                client: name("acme"),
                branch: Branch::Receive,
                count: 1,
            }),
        ),
        ("alice", Body::Veto(Veto { target: open })),
        ("dave", Body::Revoke(Revoke { key: id("dave") })),
        ("alice", Body::Freeze(Freeze { scope: Scope::Everything })),
        ("s3", Body::Activate(proof(&scene))),
        ("s3", Body::Supports(Supports { version: upgrade.version, rules: upgrade.rules })),
    ];
    let voice = Voice { hand: scene.steal("s3") };
    for (who, body) in &kinds {
        let envelope = voice.write(&mut scene, who, body);
        let statement = envelope.unverified().unwrap();
        let kind = body.kind();
        let ask = |bytes: &[u8]| refused_by(scene.server.ask("s1", bytes));
        let none = altered(&envelope, |v| v["signatures"] = json!([]));
        assert_eq!(ask(&none), "P1.form", "{kind} without a signature");
        let two = altered(&envelope, |v| {
            let one = v["signatures"][0].clone();
            v["signatures"].as_array_mut().unwrap().push(one);
        });
        assert_eq!(ask(&two), "P1.form", "{kind} with two signatures");
        let zero = altered(&envelope, |v| v["signatures"][0]["sig"] = json!(Blob(vec![0; 64])));
        assert_eq!(ask(&zero), "P1.signature", "{kind} with a signature of zeros");
        // Another key signs the same words: the id is the same, and must not be used up.
        let resigned = enveloped(&statement, "mallory", statement.signer);
        assert_eq!(ask(&resigned), "P1.signature", "{kind} signed by another key");
        let renamed = enveloped(&statement, "mallory", id("mallory"));
        assert_eq!(ask(&renamed), "P1.signature", "{kind} signed by another key that says so");
        let elsewhere = Statement { genesis: Hash([7; 32]), ..statement.clone() };
        let signed = |statement: &Statement| voice.sign(who, statement).bytes();
        assert_eq!(ask(&signed(&elsewhere)), "P1.deployment", "{kind} of another deployment");
        let wrong_end = Statement {
            not_after: if body.is_reduction() { Some(scene.world.time + 60) } else { None },
            ..statement.clone()
        };
        assert_eq!(ask(&signed(&wrong_end)), "P1.form", "{kind} with a wrong end");
        if !body.is_reduction() {
            let long = Statement { not_after: Some(scene.world.time + 91 * 86_400), ..statement.clone() };
            assert_eq!(ask(&signed(&long)), "P5.not-after", "{kind} for ever");
            let over = Statement { not_after: Some(scene.world.state.clock().time - 1), ..statement.clone() };
            assert_eq!(ask(&signed(&over)), "P5.not-after", "{kind} that ended");
        }
        let spaced = String::from_utf8(envelope.bytes()).unwrap().replace("\":", "\": ");
        assert_eq!(ask(spaced.as_bytes()), "P1.form", "{kind}, not canonical");
        // The payload itself: a field more, a key twice, not canonical.
        let payload = statement.payload().unwrap();
        let text = String::from_utf8(payload).unwrap();
        for bad in [
            text.replacen('{', "{\"aa\":1,", 1),
            format!("{text} "),
            text.replacen("{\"body\"", "{\"body\":{},\"body\"", 1),
        ] {
            let bytes = voice.raw_envelope(bad.as_bytes(), who, statement.signer);
            assert_eq!(ask(&bytes), "P1.form", "{kind} with payload {bad}");
        }
    }
    // Nothing of it was used up: each statement is good for one time, and no more.
    for (who, body) in kinds.into_iter().filter(|(_, b)| !matches!(b, Body::Authorise(_) | Body::Freeze(_))) {
        let kind = body.kind();
        let envelope = voice.write(&mut scene, who, &body);
        assert_eq!(scene.submit(&envelope), Ok(envelope.id()), "{kind}");
        for co_signer in ["s1", "s2", "s3", "w1"] {
            assert_eq!(
                scene.server.ask(co_signer, &envelope.bytes()),
                ReceiptState::Consumed,
                "{kind} again"
            );
        }
    }
    // A revoked key says nothing more, but that its owner's freeze still counts for a day: a thief who
    // revokes the key does not kill the freeze (P16).
    let late = Body::Request(scene.world.request(&[("acme", 100_000)]));
    assert_eq!(scene.say("dave", late), kept_out("P1.signature"));
    let freeze = scene.freeze("dave");
    assert_eq!(scene.submit(&freeze), Ok(freeze.id()));
    scene.resume();

    hoarded(&mut scene);
}

/// A statement that the server kept back until it had ended.
fn hoarded(scene: &mut Scene) {
    let request = scene.world.request(&[("acme", 30_000)]);
    let target = scene.say("carol", Body::Request(request)).unwrap();
    let decides = scene.world.state.policy().unwrap().1;
    let mut short = scene.world.statement("bob", Body::Approve(Approve { target, decides }));
    short.not_after = Some(scene.world.time + 1);
    let hoarded = short.sign(&key("bob")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    scene.approve("alice", target).unwrap();
    assert_eq!(scene.submit(&hoarded), kept_out("P5.not-after"));
    let coin = scene.coin(100_000);
    let draft = scene.draft(&[target], &[coin], 1_000);
    assert_eq!(scene.pay(&[target], &draft), kept_out("policy.approvals"));
    scene.approve("bob", target).unwrap();
    scene.pay(&[target], &draft).unwrap();
}

/// The words of a statement under a signature of another key.
fn enveloped(statement: &Statement, by: &str, key_id: Hash) -> Vec<u8> {
    let stolen = Statement { signer: key_id, ..statement.clone() };
    let signed = stolen.sign(&key(by)).unwrap();
    // The words stay those of the victim.
    let payload = Blob(statement.payload().unwrap());
    let mut value: Value = serde_json::from_slice(&signed.bytes()).unwrap();
    value["payload"] = json!(payload);
    let pae = custody::statement::pae(&payload.0);
    let signature = ed25519_dalek::Signer::sign(&key(by), &pae);
    value["signatures"][0]["sig"] = json!(Blob(signature.to_bytes().to_vec()));
    canon::encode(&serde_json::from_value::<Envelope>(value).unwrap()).unwrap()
}

/// Whoever is to speak: a person or machine of `fixtures`, or the co-signer whose keys were stolen.
struct Voice {
    hand: Hand,
}

impl Voice {
    fn sign(&self, who: &str, statement: &Statement) -> Envelope {
        if who == self.hand.who { self.hand.write(statement) } else { statement.sign(&key(who)).unwrap() }
    }

    fn write(&self, scene: &mut Scene, who: &str, body: &Body) -> Envelope {
        scene.refresh();
        if who != self.hand.who {
            return scene.world.sign(who, body.clone());
        }
        self.hand.write(&self.hand.statement(scene.world.time, body.clone()))
    }

    /// Any payload, rightly signed.
    fn raw_envelope(&self, payload: &[u8], by: &str, key_id: Hash) -> Vec<u8> {
        let signature = if by == self.hand.who {
            self.hand.seal_words(payload)
        } else {
            ed25519_dalek::Signer::sign(&key(by), &custody::statement::pae(payload)).to_bytes()
        };
        let value = json!({
            "payload": Blob(payload.to_vec()),
            "payloadType": custody::statement::PAYLOAD_TYPE,
            "signatures": [{ "keyid": key_id, "sig": Blob(signature.to_vec()) }],
        });
        canon::encode(&serde_json::from_value::<Envelope>(value).unwrap()).unwrap()
    }
}

/// The proof of a set of holders, as it stands in the log for everybody to read.
fn proof(scene: &Scene) -> Activate {
    let batches = scene.server.view(|v| v.batches.clone());
    let entries = batches.iter().flat_map(|batch| Batch::parse(&batch.0).unwrap().entries);
    let mut proofs = entries.filter_map(|entry| match entry.unverified().unwrap().body {
        Body::Activate(activate) => Some(activate),
        _ => None,
    });
    proofs.next_back().unwrap()
}

/// P3, GEN-03: what co-signers say of themselves nobody else says, and they say nothing that is for people.
#[test]
fn nobody_speaks_for_a_co_signer_and_no_co_signer_for_people() {
    let mut scene = Scene::ready();
    let upgrade = fixtures::foreign_rules();
    let proposal = scene.adopt("carol", Document::Upgrade(upgrade.clone()));
    let supports = Body::Supports(Supports { version: upgrade.version, rules: upgrade.rules });
    let sound = proof(&scene);
    let coin = scene.coin(200_000);
    let request = scene.world.request(&[("acme", 100_000)]);
    let waiting = scene.say("carol", Body::Request(request.clone())).unwrap();
    let open = scene.propose("carol", Document::Person(person("eve"))).unwrap();
    for who in ["carol", "alarm", "server"] {
        assert_eq!(scene.say(who, supports.clone()), rejected("P3.standing"), "{who} supports");
        let body = Body::Activate(sound.clone());
        assert_eq!(scene.say(who, body), rejected("GEN-03.ceremony"), "{who} proves shares");
    }

    let voice = Voice { hand: scene.steal("s3") };
    let say = |scene: &mut Scene, body: Body| {
        let envelope = voice.write(scene, "s3", &body);
        scene.submit(&envelope)
    };
    // Proofs that are none: another signature, set, account.
    let bad = |change: fn(&mut Activate)| {
        let mut activate = sound.clone();
        change(&mut activate);
        Body::Activate(activate)
    };
    let flipped = bad(|a| a.signature.0[40] ^= 1);
    assert_eq!(say(&mut scene, flipped), rejected("GEN-03.ceremony"), "another signature");
    let sets = [&["s1", "s2"][..], &["s2", "s3"], &["s3", "s2"], &["s2"], &["s1", "s2", "s3"], &["s2", "w1"]];
    for holders in sets {
        let names: Vec<_> = holders.iter().map(|holder| name(holder)).collect();
        if names == sound.holders {
            continue;
        }
        let body = Body::Activate(Activate { holders: names, ..sound.clone() });
        assert_eq!(say(&mut scene, body), rejected("GEN-03.ceremony"), "the proof of {holders:?}");
    }
    assert_eq!(say(&mut scene, bad(|a| a.slot = 7)), kept_out("P5.reference"), "an account that is none");
    // One co-signer three times is one: an upgrade takes a quorum of them.
    let other = Supports { version: upgrade.version, rules: Hash([1; 32]) };
    assert_eq!(say(&mut scene, Body::Supports(other)), rejected("P29.rule-set"), "other rules");
    for _ in 0..3 {
        say(&mut scene, supports.clone()).unwrap();
    }
    let found = scene.world.state.proposals().get(&proposal).unwrap();
    assert_eq!((found.supports.len(), &found.stage), (1, &custody::state::Stage::Supporting));
    say(&mut scene, Body::Activate(sound)).unwrap();

    // What is for people and machines.
    let decides = scene.world.state.policy().unwrap().1;
    let draft = scene.draft(&[waiting], &[coin], 1_000);
    let allocate = Allocate { wallet: name("main"), client: name("acme"), branch: Branch::Receive, count: 1 };
    let authorise = Body::Authorise(scene.world.authorise(&[waiting], &draft));
    for (body, denied) in [
        (
            Body::Propose(Propose { document: Document::Person(person("frank")), replaces: None }),
            rejected("P3.standing"),
        ),
        (Body::Approve(Approve { target: waiting, decides }), rejected("P3.standing")),
        (Body::Veto(Veto { target: open }), kept_out("P3.standing")),
        (Body::Request(request), rejected("P19.grant")),
        (Body::Allocate(allocate), rejected("P19.grant")),
        (Body::Freeze(Freeze { scope: Scope::Everything }), kept_out("P19.grant")),
        (Body::Revoke(Revoke { key: id("alice") }), kept_out("P16.own-key")),
        (authorise, kept_out("P19.grant")),
    ] {
        let kind = body.kind();
        assert_eq!(say(&mut scene, body), denied, "{kind} of a co-signer");
    }
}
