//! Statements: form, signature, deployment, once, time, references (P1, P2, P5).

use custody::batch::Batch;
use custody::document::{Document, Grant};
use custody::effects::{Branch, Sats};
use custody::genesis::Genesis;
use custody::payment::Allocate;
use custody::rule::Rule;
use custody::statement::{
    Approve, Body, ENVELOPE_LIMIT_BYTES, Envelope, Freeze, Observe, PROPOSAL_LIMIT_BYTES, Revoke, Scope,
    Statement, VALIDITY_LIMIT_S, Veto, pae, proposal_limit_bytes,
};
use custody::{Hash, canon};
use ed25519_dalek::Signer as _;
use fixtures::{DAY, World, destination, id, key, name, policy, rule, samples, third};
use serde_json::Value;

use crate::{asked, invalid, refused, rejected};

fn propose(id: &str) -> Body {
    Body::Propose(custody::statement::Propose { document: destination(id), replaces: None })
}

/// The envelope of a statement whose payload is changed before alice signs it.
fn altered(world: &mut World, body: Body, change: impl FnOnce(String) -> String) -> Envelope {
    let statement = world.statement("alice", body);
    let payload = change(String::from_utf8(statement.payload().unwrap()).unwrap()).into_bytes();
    let signature = key("alice").sign(&pae(&payload)).to_bytes();
    statement.enveloped(payload, signature)
}

/// An envelope with a change in its JSON.
fn edited(envelope: &Envelope, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(&envelope.bytes()).unwrap();
    change(&mut json);
    canon::encode(&json).unwrap()
}

#[test]
fn allow_p1_form() {
    let mut world = World::ready();
    let envelope = world.sign("alice", propose("beta"));
    let parsed = Envelope::parse(&envelope.bytes()).unwrap();
    assert_eq!(parsed, envelope);
    assert_eq!(world.submit(parsed).unwrap(), envelope.id());
}

#[test]
fn deny_p1_form() {
    let mut world = World::ready();
    let changes: [fn(String) -> String; 8] = [
        |p| p.replacen("{", "{ ", 1),
        |p| p.replacen('{', "{\"a\":1,", 1),
        |p| p.replace("\"kind\":\"propose\"", "\"kind\":\"print-money\""),
        |p| p.replace("\"version\":1", "\"version\":2"),
        |p| p.replace("\"version\":1", "\"version\":1.0"),
        |p| p.replacen("\"kind\"", "\"kind\":\"propose\",\"kind\"", 1),
        |p| format!("{p} "),
        |p| p.replace("\"label\":", "\"note\":\"\",\"label\":"),
    ];
    for change in changes {
        let envelope = altered(&mut world, propose("beta"), change);
        invalid(world.submit(envelope), Rule::Form);
    }
    let fine = altered(&mut world, propose("beta"), |p| p);
    world.submit(fine).unwrap();
}

/// What a later rule set brought is unknown before: whole kinds, and what is new inside of older ones.
#[test]
fn deny_p1_form_of_what_a_later_rule_set_brought() {
    let mut third = World::open(third());
    let mut newer = World::open(fixtures::second());
    let mut older = World::ready();
    for (who, body) in samples::news_3(&mut third) {
        assert_eq!(body.since(), 3, "{body:?}");
        invalid(newer.say(who, body.clone()), Rule::Form);
        third.clone().say(who, body).unwrap();
    }
    for (who, body) in samples::news(&mut newer) {
        assert_eq!(body.since(), 2, "{body:?}");
        newer.clone().say(who, body).unwrap();
    }
    newer.adopt(fixtures::client("north"));
    let named = |world: &World| {
        let client = Some(name("north"));
        Body::Request(custody::payment::Request { client, ..world.request(&[("acme", 100_000)]) })
    };
    let ask = named(&newer);
    newer.say("carol", ask).unwrap();
    let ask = named(&older);
    let client = Body::Freeze(Freeze { scope: Scope::Client(name("north")) });
    let news = samples::news(&mut older).into_iter().chain([("carol", ask), ("alarm", client)]);
    for (who, body) in news.collect::<Vec<_>>() {
        let who = if who == "watcher" { "server" } else { who };
        invalid(older.say(who, body), Rule::Form);
    }
    // Nor does it stand in a genesis.
    for change in [
        |g: &mut Genesis| g.machines[1].grants.push(Grant::Observe),
        |g: &mut Genesis| g.policy = fixtures::policy_of(2, &[rule()], 0),
    ] {
        let mut early = fixtures::genesis();
        change(&mut early);
        refused(early.check(), Rule::Form);
        let full = fixtures::policy_of(2, &[rule()], 0);
        Genesis { rules: 2, policy: full, ..early }.check().unwrap();
    }
}

/// A field that is not written when absent has one form only: without it.
#[test]
fn deny_p1_form_of_a_client_that_is_null() {
    let mut world = World::open(fixtures::newest());
    for (change, form) in [("\"client\":null,", true), ("", false)] {
        let ask = Body::Request(world.request(&[("acme", 100_000)]));
        let envelope =
            altered(&mut world, ask, |p| p.replace("\"despite\"", &format!("{change}\"despite\"")));
        match form {
            true => invalid(world.submit(envelope), Rule::Form),
            false => drop(world.submit(envelope).unwrap()),
        }
    }
}

#[test]
fn deny_p1_form_of_ends() {
    let mut world = World::ready();
    let mut freeze = world.statement("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
    freeze.not_after = Some(world.time + DAY);
    let endless = Statement { not_after: None, ..world.statement("alice", propose("beta")) };
    for statement in [freeze, endless] {
        let envelope = statement.sign(&key("alice")).unwrap();
        invalid(world.submit(envelope), Rule::Form);
    }
}

#[test]
fn deny_p1_form_of_envelopes() {
    let mut world = World::ready();
    let envelope = world.sign("alice", propose("beta"));
    let changes: [fn(&mut Value); 5] = [
        |e| e["signatures"] = Value::Array(Vec::new()),
        |e| {
            let one = e["signatures"][0].clone();
            e["signatures"].as_array_mut().unwrap().push(one);
        },
        |e| e["payloadType"] = "application/json".into(),
        |e| e["extra"] = 1.into(),
        |e| e["signatures"][0]["extra"] = 1.into(),
    ];
    for change in changes {
        let bytes = edited(&envelope, change);
        refused(Envelope::parse(&bytes), Rule::Form);
        // In a batch, too, although the log would hold it in its proper form.
        let batch = format!(
            "{{\"entries\":[{}],\"tick\":{}}}",
            String::from_utf8(bytes).unwrap(),
            String::from_utf8(canon::encode(&world.batch(world.time, &[]).tick).unwrap()).unwrap(),
        );
        refused(Batch::parse(batch.as_bytes()), Rule::Form);
    }
    let batch = world.batch(world.time, &[envelope]);
    assert_eq!(Batch::parse(&batch.bytes()).unwrap(), batch);
}

/// The longest envelope within a limit of those that `make` makes longer and longer, and the next one. Base64 grows by
/// four bytes for three.
fn around(limit: usize, mut make: impl FnMut(usize) -> Envelope) -> [Envelope; 2] {
    let start = make(1_000).size();
    let mut length = 1_000 + (limit - start) / 4 * 3 - 6;
    let mut fits = make(length);
    loop {
        length += 1;
        let next = make(length);
        assert_eq!(next.size(), next.bytes().len());
        if next.size() > limit {
            assert!(fits.size() <= limit && fits.size() + 4 > limit);
            return [fits, next];
        }
        fits = next;
    }
}

/// On both sides of the limit: the note of a ceremony is as long as we like.
#[test]
fn proposals_on_both_sides_of_their_limit() {
    let (before, since) = (ENVELOPE_LIMIT_BYTES, PROPOSAL_LIMIT_BYTES);
    for (genesis, limit) in [(fixtures::genesis(), before), (third(), before), (fixtures::newest(), since)] {
        let mut world = World::new(genesis);
        assert_eq!(proposal_limit_bytes(world.state.clock().rules), limit);
        let [fits, long] = around(limit, |length| {
            let mut record = world.ceremony(0..1);
            record.entropy = "x".repeat(length);
            let record = world.sign_record(record, &["alice", "bob"]);
            let propose =
                custody::statement::Propose { document: Document::Ceremony(record), replaces: None };
            world.sign("bob", Body::Propose(propose))
        });
        assert_eq!(Envelope::parse(&fits.bytes()).unwrap(), fits);
        world.submit(fits).unwrap();
        // Who reads it does not know the rule set: whether it is too long the log says.
        assert_eq!(Envelope::parse(&long.bytes()).is_ok(), limit < since);
        let batch = world.batch(world.time, std::slice::from_ref(&long));
        assert_eq!(Batch::parse(&batch.bytes()).is_ok(), limit < since);
        invalid(world.submit(long), Rule::Form);
    }
}

/// What is no proposal is never that long.
#[test]
fn other_envelopes_on_both_sides_of_their_limit() {
    let mut world = World::open(fixtures::newest());
    let [fits, long] = around(ENVELOPE_LIMIT_BYTES, |length| {
        world.sign("alice", Body::Freeze(Freeze { scope: Scope::Asset("x".repeat(length)) }))
    });
    assert_eq!(Envelope::parse(&fits.bytes()).unwrap(), fits);
    invalid(world.submit(fits), Rule::Reference);
    refused(Envelope::parse(&long.bytes()), Rule::Form);
    invalid(world.submit(long), Rule::Form);
}

#[test]
fn allow_p1_signature() {
    for mut world in [World::ready(), World::open(fixtures::newest())] {
        for (who, body) in samples::statements(&mut world) {
            world.clone().say(who, body).unwrap();
        }
    }
}

/// An unsigned or wrongly signed statement of every kind makes its batch invalid and uses nothing up.
#[test]
fn deny_p1_signature() {
    let mut world = World::open(fixtures::newest());
    for (who, body) in samples::statements(&mut world) {
        let envelope = world.sign(who, body);
        let unsigned = edited(&envelope, |e| e["signatures"] = Value::Array(Vec::new()));
        refused(Envelope::parse(&unsigned), Rule::Form);
        let empty = edited(&envelope, |e| e["signatures"][0]["sig"] = "".into());
        invalid(world.submit(Envelope::parse(&empty).unwrap()), Rule::Signature);
        let foreign = key("mallory").sign(&pae(&envelope.unverified().unwrap().payload().unwrap()));
        let statement = envelope.unverified().unwrap();
        let forged = statement.enveloped(statement.payload().unwrap(), foreign.to_bytes());
        invalid(world.submit(forged), Rule::Signature);
        world.clone().submit(envelope).unwrap();
    }
}

/// Somebody takes alice's words, signs them with a key of his own, and would use up their id.
#[test]
fn deny_p1_signature_of_a_statement_signed_again() {
    let mut world = World::ready();
    let envelope = world.sign("alice", propose("beta"));
    let statement = envelope.unverified().unwrap();
    let payload = statement.payload().unwrap();
    let signature = key("bob").sign(&pae(&payload)).to_bytes();
    let as_bob = Statement { signer: id("bob"), ..statement };
    let stolen = as_bob.enveloped(payload, signature);
    assert_eq!(stolen.id(), envelope.id());
    invalid(world.submit(stolen), Rule::Signature);
    world.submit(envelope).unwrap();
}

#[test]
fn deny_p1_signature_of_keys_that_are_not_in_force() {
    let mut world = World::ready();
    invalid(world.say("mallory", propose("beta")), Rule::Signature);
    invalid(world.say("alice/tls", propose("beta")), Rule::Signature);
    let hoarded = world.sign("dave", propose("beta"));
    world.say("dave", Body::Revoke(Revoke { key: id("dave") })).unwrap();
    invalid(world.submit(hoarded), Rule::Signature);
}

#[test]
fn allow_p1_deployment() {
    let mut world = World::ready();
    let statement = world.statement("alice", propose("beta"));
    assert_eq!(statement.genesis, world.state.genesis().hash());
    world.submit(statement.sign(&key("alice")).unwrap()).unwrap();
}

#[test]
fn deny_p1_deployment() {
    let mut other = fixtures::genesis();
    other.nonce = Hash([9; 32]);
    let mut there = World::open(other);
    let envelope = there.sign("alice", propose("beta"));
    there.submit(envelope.clone()).unwrap();
    invalid(World::ready().submit(envelope), Rule::Deployment);
}

#[test]
fn allow_p1_decides() {
    let mut world = World::ready();
    let proposal = world.propose("bob", destination("beta")).unwrap();
    world.approve("alice", proposal).unwrap();
    world.approve("carol", proposal).unwrap();
    assert!(world.state.destination(&name("beta")).is_some());
}

#[test]
fn deny_p1_decides() {
    let mut world = World::ready();
    let proposal = world.propose("bob", destination("beta")).unwrap();
    let stale = Body::Approve(Approve { target: proposal, decides: Hash([1; 32]) });
    rejected(world.say("alice", stale), Rule::Decides);
}

/// Approvals of payments and documents under one policy count for nothing under the next.
#[test]
fn deny_p1_decides_after_a_change_of_policy() {
    let (mut world, coin, request) = asked();
    let proposal = world.propose("bob", destination("beta")).unwrap();
    world.approve("alice", proposal).unwrap();
    let (_, decides) = world.state.policy().unwrap();
    let hoarded = world.sign("carol", Body::Approve(Approve { target: proposal, decides }));
    let mut next = rule();
    next.require.amount_max = Sats(500_000);
    world.adopt(Document::Policy(policy(&[next], 0)));

    rejected(world.submit(hoarded), Rule::Decides);
    world.approve("carol", proposal).unwrap();
    assert!(world.state.destination(&name("beta")).is_none(), "alice approved under the old policy");
    world.approve("alice", proposal).unwrap();
    assert!(world.state.destination(&name("beta")).is_some());

    let draft = world.draft(&[request], &[coin], 1_000);
    invalid(world.pay(&[request], &draft), Rule::PolicyApprovals);
    world.approve("alice", request).unwrap();
    world.approve("bob", request).unwrap();
    world.pay(&[request], &draft).unwrap();
}

/// A policy that is put back is another version: what the one in between voided stays void, whether it was
/// in the log already or comes only now.
#[test]
fn deny_p1_decides_after_a_policy_is_put_back() {
    let (mut world, coin, request) = asked();
    let (first, before) = world.state.policy().map(|(p, hash)| (p.clone(), hash)).unwrap();
    let hoarded = world.sign("carol", Body::Approve(Approve { target: request, decides: before }));
    let mut next = rule();
    next.require.amount_max = Sats(500_000);
    world.adopt(Document::Policy(policy(&[next], 0)));
    world.adopt(Document::Policy(first.clone()));
    let (again, after) = world.state.policy().unwrap();
    assert_eq!(*again, first);
    assert_ne!(after, before);
    let draft = world.draft(&[request], &[coin], 1_000);
    invalid(world.pay(&[request], &draft), Rule::PolicyApprovals);
    rejected(world.submit(hoarded), Rule::Decides);
    world.approve("alice", request).unwrap();
    world.approve("bob", request).unwrap();
    world.pay(&[request], &draft).unwrap();
}

#[test]
fn allow_p2_once() {
    let mut world = World::ready();
    let (one, two) = (world.sign("alice", propose("beta")), world.sign("alice", propose("beta")));
    assert_ne!(one.id(), two.id(), "the nonce tells them apart");
    world.submit(one).unwrap();
    world.submit(two).unwrap();
}

#[test]
fn deny_p2_once() {
    let mut world = World::ready();
    let envelope = world.sign("alice", propose("beta"));
    world.submit(envelope.clone()).unwrap();
    invalid(world.submit(envelope.clone()), Rule::Once);
    let batch = world.batch(world.time, &[envelope]);
    refused(world.try_batch(&batch), Rule::Once);
    // Twice in one batch.
    let twice = world.sign("alice", propose("gamma"));
    let batch = world.batch(world.time, &[twice.clone(), twice]);
    refused(world.try_batch(&batch), Rule::Once);
}

/// What was rejected once is not hoarded until it would be allowed.
#[test]
fn deny_p2_once_for_what_was_rejected() {
    let mut world = World::ready();
    let proposal = world.propose("bob", destination("beta")).unwrap();
    let mut next = rule();
    next.require.amount_max = Sats(500_000);
    let document = Document::Policy(policy(&[next], 0));
    let decides = document.version(world.state.policy().map(|(_, hash)| hash));
    let early = Body::Approve(Approve { target: proposal, decides });
    let envelope = world.sign("alice", early);
    rejected(world.submit(envelope.clone()), Rule::Decides);
    world.adopt(document);
    invalid(world.submit(envelope.clone()), Rule::Once);
    let end = envelope.unverified().unwrap().not_after;
    assert_eq!(world.state.outcome(&envelope.id(), end), Some("P1.decides"));
}

/// An id is forgotten only when the statement could not be used any more.
#[test]
fn deny_p2_once_until_the_statement_has_ended() {
    let mut world = World::ready();
    let envelope = world.sign("alice", propose("beta"));
    world.submit(envelope.clone()).unwrap();
    let end = envelope.unverified().unwrap().not_after.unwrap();
    world.apply(end, &[]);
    invalid(world.submit(envelope.clone()), Rule::Once);
    world.tick(1);
    assert!(!world.state.consumed(&envelope.id(), Some(end)));
    invalid(world.submit(envelope), Rule::NotAfter);
    let freeze = world.sign("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
    world.submit(freeze.clone()).unwrap();
    world.tick(400 * DAY);
    invalid(world.submit(freeze), Rule::Once);
}

#[test]
fn allow_p5_not_after() {
    let mut world = World::ready();
    let now = world.time;
    for end in [now, now + VALIDITY_LIMIT_S] {
        let statement = Statement { not_after: Some(end), ..world.statement("alice", propose("beta")) };
        world.submit(statement.sign(&key("alice")).unwrap()).unwrap();
    }
}

#[test]
fn deny_p5_not_after() {
    let mut world = World::ready();
    let now = world.time;
    for end in [now - 1, now + VALIDITY_LIMIT_S + 1] {
        let statement = Statement { not_after: Some(end), ..world.statement("alice", propose("beta")) };
        invalid(world.submit(statement.sign(&key("alice")).unwrap()), Rule::NotAfter);
    }
    // A proposal that has ended takes no approval either.
    let proposal = world.propose("bob", destination("beta")).unwrap();
    world.tick(DAY);
    world.approve("alice", proposal).unwrap();
    world.tick(1);
    rejected(world.approve("carol", proposal), Rule::NotAfter);
}

#[test]
fn allow_p5_reference() {
    let (mut world, coin, request) = asked();
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    let mut world = World::segregated();
    let scopes = [Scope::Wallet(name("main")), Scope::Client(name("north")), Scope::Asset(ASSET.into())];
    for scope in scopes {
        world.say("alarm", Body::Freeze(Freeze { scope })).unwrap();
    }
}

/// CAIP-19 id of the coin of regtest.
const ASSET: &str = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328/slip44:1";

/// A freeze, a request or an allocation that names what is not here.
#[test]
fn deny_p5_reference_of_clients_and_scopes() {
    let mut world = World::segregated();
    let scopes = [
        Scope::Wallet(name("spare")),
        Scope::Client(name("nobody")),
        Scope::Asset("bip122:000000000019d6689c085ae165831e93/slip44:0".into()),
        Scope::Asset(String::new()),
    ];
    let freezes = scopes.map(|scope| ("alarm", Body::Freeze(Freeze { scope })));
    let client = Some(name("nobody"));
    let ask = custody::payment::Request { client, ..world.request(&[("acme", 100_000)]) };
    let allocate =
        Allocate { wallet: name("main"), client: name("nobody"), branch: Branch::Receive, count: 1 };
    for (who, body) in
        freezes.into_iter().chain([("carol", Body::Request(ask)), ("server", Body::Allocate(allocate))])
    {
        invalid(world.say(who, body), Rule::Reference);
    }
}

#[test]
fn deny_p5_reference() {
    let (mut world, coin, request) = asked();
    let nothing = Hash([7; 32]);
    let (_, decides) = world.state.policy().unwrap();
    let ask = world.request(&[("acme", 100_000)]);
    let mut elsewhere = ask.clone();
    elsewhere.wallet = name("nowhere");
    let mut stranger = ask.clone();
    stranger.outputs[0].destination = name("stranger");
    let renewing = custody::payment::Request { renews: Some(nothing), ..ask };
    let mut authorise = world.authorise(&[request], &world.draft(&[request], &[coin], 1_000));
    authorise.requests = vec![nothing];
    let allocate = Allocate { wallet: name("nowhere"), client: name("c"), branch: Branch::Receive, count: 1 };
    let activate = world.activate(nothing, 0, &["s1", "s2"], &fixtures::Account::new(0));
    let bodies = [
        ("alice", Body::Approve(Approve { target: nothing, decides })),
        ("alice", Body::Veto(Veto { target: nothing })),
        ("alice", Body::Revoke(Revoke { key: nothing })),
        ("carol", Body::Request(elsewhere)),
        ("carol", Body::Request(stranger)),
        ("carol", Body::Request(renewing)),
        ("server", Body::Authorise(authorise)),
        ("server", Body::Allocate(allocate)),
        ("s1", activate),
    ];
    for (who, body) in bodies {
        invalid(world.say(who, body), Rule::Reference);
    }
    refused(world.state.release(&nothing, world.time, &world.decoder), Rule::Reference);
}

#[test]
fn allow_p19_grant() {
    let mut world = samples::world(fixtures::genesis());
    let documents = samples::documents(&world);
    world.adopt(documents[3].clone());
    let ask = world.request(&[("acme", 100_000)]);
    world.say("teller", Body::Request(ask)).unwrap();
    world.say("alarm", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    let mut world = World::open(fixtures::newest());
    world.say("watcher", observe(1)).unwrap();
}

fn observe(size: u64) -> Body {
    Body::Observe(Observe { log: name("observation"), size, root: Hash([3; 32]) })
}

#[test]
fn deny_p19_grant_of_observers() {
    let mut world = World::open(fixtures::newest());
    for who in ["server", "alarm", "alice", "s1"] {
        rejected(world.say(who, observe(1)), Rule::Grant);
    }
    rejected(world.say("watcher", Body::Freeze(Freeze { scope: Scope::Everything })), Rule::Grant);
}

#[test]
fn allow_p7_observation() {
    let mut world = World::open(fixtures::newest());
    let other = Observe { log: name("deposits"), size: 1, root: Hash([4; 32]) };
    for body in [observe(1), observe(2), Body::Observe(other), observe(canon::INTEGER_LIMIT - 1)] {
        world.say("watcher", body).unwrap();
    }
    let last = world.state.observations().get(&name("observation")).unwrap();
    assert_eq!((last.size, last.root, last.at), (canon::INTEGER_LIMIT - 1, Hash([3; 32]), world.time));
    assert_eq!(world.state.observations().len(), 2);
}

#[test]
fn deny_p7_observation() {
    let mut world = World::open(fixtures::newest());
    rejected(world.say("watcher", observe(0)), Rule::Observation);
    world.say("watcher", observe(5)).unwrap();
    for size in [0, 4, 5] {
        rejected(world.say("watcher", observe(size)), Rule::Observation);
    }
    assert_eq!(world.state.observations().get(&name("observation")).unwrap().size, 5);
}

#[test]
fn deny_p19_grant() {
    let (mut world, coin, request) = asked();
    let ask = world.request(&[("acme", 100_000)]);
    let allocate = Allocate { wallet: name("main"), client: name("c"), branch: Branch::Receive, count: 1 };
    rejected(world.say("server", Body::Request(ask)), Rule::Grant);
    rejected(world.say("server", Body::Freeze(Freeze { scope: Scope::Everything })), Rule::Grant);
    rejected(world.say("alarm", Body::Allocate(allocate.clone())), Rule::Grant);
    rejected(world.say("s1", Body::Allocate(allocate)), Rule::Grant);
    let authorise = world.authorise(&[request], &world.draft(&[request], &[coin], 1_000));
    invalid(world.say("alarm", Body::Authorise(authorise.clone())), Rule::Grant);
    invalid(world.say("s1", Body::Authorise(authorise)), Rule::Grant);
}
