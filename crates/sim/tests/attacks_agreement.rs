//! Attacks on the one history: the attacker holds the server's keys and those of `s3`, whose real process
//! is gone, and speaks to the three other real processes.

use custody::batch::Batch;
use custody::checkpoint::{SignedNote, cosign};
use custody::effects::Branch;
use custody::payment::Allocate;
use custody::rule::Refusal;
use custody::statement::{Body, Envelope, Statement};
use custody::{Blob, Hash};
use fixtures::key;
use serde_json::json;
use signer::agreement::value_hash;
use signer::journal::Journal;
use signer::tendermint::Kind;
use sim::attacker::{Hand, Letter, Scene, now_s};
use sim::deployment::name;
use wire::message::{FromCosigner, ToCosigner};

/// The honest co-signers.
const HONEST: [&str; 3] = ["s1", "s2", "w1"];

fn allocate(scene: &mut Scene) -> Envelope {
    let body = Allocate { wallet: name("main"), client: name("acme"), branch: Branch::Receive, count: 1 };
    scene.write("server", Body::Allocate(body))
}

/// Moves the log until the next height is one in which s3 proposes first. Returns that height.
fn to_the_turn(scene: &mut Scene, hand: &Hand) -> u64 {
    loop {
        scene.server.settle();
        scene.refresh();
        let next = scene.world.state.clock().height + 1;
        if hand.turn(next) == 0 {
            return next;
        }
        let more = allocate(scene);
        scene.submit(&more).unwrap();
    }
}

/// Proposes a batch as s3 in its turn and votes for it twice, to these co-signers.
fn push(scene: &Scene, hand: &Hand, height: u64, batch: &Batch, to: &[&str]) {
    let value = Some(value_hash(&batch.bytes()));
    for who in to {
        scene.server.deliver(&hand.proposal(who, height, 0, batch));
        for kind in [Kind::Prevote, Kind::Precommit] {
            scene.server.deliver(&hand.vote(who, height, 0, kind, value));
        }
    }
}

/// The batch that became final at a height.
fn final_batch(scene: &Scene, height: u64) -> Blob {
    let place = usize::try_from(height - 1).unwrap();
    scene.server.wait("a final batch", |v| v.batches.get(place).cloned())
}

/// What the rules say of a batch on the state before it.
fn verdict(scene: &Scene, batch: &Batch) -> Result<(), Refusal> {
    scene.world.clone().try_batch(batch).map(|_| ())
}

/// Proposes a bad batch in the turn of s3 and shows that another one becomes final.
fn fails(
    scene: &mut Scene,
    hand: &Hand,
    what: &str,
    rule: Option<&str>,
    batch: impl FnOnce(&mut Scene) -> Batch,
) {
    let height = to_the_turn(scene, hand);
    let batch = batch(scene);
    let judged = verdict(scene, &batch).err().map(|r| r.rule.id());
    assert_eq!(judged, rule, "{what}");
    push(scene, hand, height, &batch, &HONEST);
    assert_ne!(final_batch(scene, height), Blob(batch.bytes()), "{what}");
}

#[test]
fn a_hostile_proposer_gets_no_bad_batch_into_the_log() {
    let mut scene = Scene::ready();
    let hand = scene.steal("s3");
    scene.kill("s3");

    // The twin first: in its turn, with a sound batch, s3 is as good a proposer as any.
    let height = to_the_turn(&mut scene, &hand);
    let entry = allocate(&mut scene);
    let sound = scene.world.batch(now_s(), std::slice::from_ref(&entry));
    push(&scene, &hand, height, &sound, &HONEST);
    assert_eq!(final_batch(&scene, height), Blob(sound.bytes()));

    fails(&mut scene, &hand, "time ahead", None, |s| s.world.batch(now_s() + 120, &[]));
    fails(&mut scene, &hand, "time backwards", Some("P5.batch"), |s| {
        s.world.batch(s.world.state.clock().time - 1, &[])
    });
    fails(&mut scene, &hand, "state hash", Some("P5.batch"), |s| {
        let mut batch = s.world.batch(now_s(), &[]);
        batch.tick.state.0[0] ^= 1;
        batch
    });
    fails(&mut scene, &hand, "height", Some("P5.batch"), |s| {
        let mut batch = s.world.batch(now_s(), &[]);
        batch.tick.height += 1;
        batch
    });
    fails(&mut scene, &hand, "an entry again", Some("P2.once"), |s| {
        s.world.batch(now_s(), std::slice::from_ref(&entry))
    });
    fails(&mut scene, &hand, "an entry twice", Some("P2.once"), |s| {
        let entry = allocate(s);
        s.world.batch(now_s(), &[entry.clone(), entry])
    });
    fails(&mut scene, &hand, "a stranger's words", Some("P1.signature"), |s| {
        let words = s.world.statement("alice", Body::Request(s.world.request(&[("acme", 1_000)])));
        s.world.batch(now_s(), &[Statement::sign(&words, &key("mallory")).unwrap()])
    });
    fails(&mut scene, &hand, "a reduction last", Some("P5.reductions-first"), |s| {
        let (entry, freeze) = (allocate(s), s.freeze("alice"));
        s.world.batch(now_s(), &[entry, freeze])
    });
    unapproved(&mut scene, &hand);
    omitted(&mut scene, &hand);
}

/// A payment that nobody approved, straight into a batch.
fn unapproved(scene: &mut Scene, hand: &Hand) {
    let request = scene.world.request(&[("acme", 100_000)]);
    let request = scene.say("carol", Body::Request(request)).unwrap();
    let coin = scene.coin(200_000);
    let draft = scene.draft(&[request], &[coin], 1_000);
    fails(scene, hand, "an unapproved payment", Some("policy.approvals"), |s| {
        let ask = s.world.authorise(&[request], &draft);
        let ask = s.write("server", Body::Authorise(ask));
        s.world.batch(now_s(), &[ask])
    });
    assert!(scene.server.view(|v| v.state.authorisations().iter().next().is_none()));
}

/// P9: a freeze that the honest hold, left out.
fn omitted(scene: &mut Scene, hand: &Hand) {
    let height = to_the_turn(scene, hand);
    let empty = scene.world.batch(now_s(), &[]);
    let freeze = scene.freeze("alice");
    // No round can end while the agreement's letters are lost: the freeze is held by all, and not in the log.
    scene.server.lose(&["agreement"]);
    for who in HONEST {
        scene.server.ask(who, &freeze.bytes());
    }
    scene.server.honest();
    push(scene, hand, height, &empty, &HONEST);
    assert_ne!(final_batch(scene, height), Blob(empty.bytes()));
    scene.server.wait("the freeze", |v| v.state.freezes().get(&freeze.id()).map(|_| ()));
    scene.refresh();
    assert_eq!(scene.world.state.clock().height, height, "it stands in the very first batch");
    scene.resume();
}

#[test]
fn two_words_of_one_co_signer_make_evidence_and_no_fork() {
    let mut scene = Scene::ready();
    let hand = scene.steal("s3");
    scene.kill("s3");
    // To each another proposal, and votes for both: no value has a quorum in this round.
    for (first, second, third) in [("s1", "s2", "w1"), ("s2", "w1", "s1"), ("w1", "s1", "s2")] {
        let height = to_the_turn(&mut scene, &hand);
        let (one, other) = (allocate(&mut scene), allocate(&mut scene));
        let (a, b) = (
            scene.world.batch(now_s(), std::slice::from_ref(&one)),
            scene.world.batch(now_s(), std::slice::from_ref(&other)),
        );
        // The votes of the honest do not meet at first, then they heal.
        let kept = scene.server.keep("agreement");
        push(&scene, &hand, height, &a, &[first]);
        push(&scene, &hand, height, &b, &[second]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        scene.server.honest();
        let letters: Vec<Letter> = kept.lock().unwrap().clone();
        letters.iter().for_each(|letter| scene.server.deliver(letter));
        // And each sees the other proposal as well.
        push(&scene, &hand, height, &b, &[first, third]);
        push(&scene, &hand, height, &a, &[second, third]);
        let more = allocate(&mut scene);
        scene.submit(&more).unwrap();
        final_batch(&scene, height);
        for entry in [one, other] {
            if scene.server.view(|v| v.outcome(&entry)).is_none() {
                scene.submit(&entry).unwrap();
            }
        }
    }
    scene.server.settle();
    assert_eq!(scene.server.view(|v| v.forks.clone()), Vec::<String>::new());
    // Whoever saw both proposals keeps them: signed by s3, in one round of one height.
    for who in HONEST {
        scene.kill(who);
        let (_, records) = Journal::open(&scene.signers.data(who).join("agreement.journal")).unwrap();
        let text: Vec<String> = records.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect();
        let evidence = text.iter().filter(|t| t.contains("\"evidence\"")).count();
        assert!(evidence > 0, "{who} kept no evidence");
    }
}

/// The newest final height of a co-signer, as it says to alice.
fn height_of(scene: &Scene, who: &str) -> u64 {
    let mut connection = scene.connect("alice", who).unwrap();
    let ask = ToCosigner::Challenge { nonce: Hash([2; 32]) };
    connection.send(&wire::encode(&ask).unwrap()).unwrap();
    match wire::decode(&connection.recv().unwrap()).unwrap() {
        FromCosigner::Answer(answer) => answer.height,
        other => panic!("{other:?}"),
    }
}

/// P11: a co-signer that catches up believes nothing but batches that replay to a final head.
#[test]
fn who_catches_up_is_shown_no_other_history() {
    let mut scene = Scene::ready();
    let hand = scene.steal("s3");
    scene.server.settle();
    scene.kill("s1");
    let old = scene.server.view(|v| v.state.clock().height);
    for _ in 0..4 {
        let more = allocate(&mut scene);
        scene.submit(&more).unwrap();
    }
    // The true piece, as another co-signer gives it.
    let mark = scene.server.mark();
    let mut connection = scene.connect("alice", "s2").unwrap();
    connection.send(&wire::encode(&ToCosigner::Log { from: old + 1 }).unwrap()).unwrap();
    let FromCosigner::Log(piece) = wire::decode(&connection.recv().unwrap()).unwrap() else { panic!() };
    assert_eq!((piece.from, piece.batches.len(), piece.height), (old + 1, 4, old + 4));
    assert_eq!(scene.server.mark(), mark);

    scene.server.lose(&["log", "agreement", "cosignature"]);
    scene.start("s1", &[]);
    assert_eq!(height_of(&scene, "s1"), old);
    let bring = |scene: &Scene, piece: &wire::message::Log| {
        scene.server.deliver(&hand.letter("s1", &json!({ "log": piece })));
        height_of(scene, "s1")
    };
    let mut forged: Vec<(&str, wire::message::Log)> = Vec::new();
    let mut change = |what, change: &dyn Fn(&mut wire::message::Log)| {
        let mut other = piece.clone();
        change(&mut other);
        forged.push((what, other));
    };
    change("truncated", &|p| drop(p.batches.pop()));
    change("truncated and so named", &|p| {
        p.batches.pop();
        p.height -= 1;
    });
    change("a batch left out", &|p| drop(p.batches.remove(1)));
    change("a batch left out at the start", &|p| {
        p.batches.remove(0);
        p.from += 1;
    });
    change("reordered", &|p| p.batches.swap(1, 2));
    change("a batch twice", &|p| p.batches.insert(1, p.batches[0].clone()));
    change("an entry left out", &|p| {
        let mut batch = Batch::parse(&p.batches[3].0).unwrap();
        batch.entries.clear();
        p.batches[3] = Blob(batch.bytes());
    });
    change("another time", &|p| {
        let mut batch = Batch::parse(&p.batches[3].0).unwrap();
        batch.tick.time += 1;
        p.batches[3] = Blob(batch.bytes());
    });
    change("no head", &|p| p.note.clear());
    change("a head with one line left", &|p| {
        let mut note = SignedNote::parse(&p.note).unwrap();
        note.lines.truncate(1);
        p.note = note.to_string();
    });
    change("one line three times", &|p| {
        let mut note = SignedNote::parse(&p.note).unwrap();
        note.lines = vec![note.lines[0].clone(); 3];
        p.note = note.to_string();
    });
    // s3 alone co-signs a fork of its own under three names.
    let fork = {
        let mut batch = Batch::parse(&piece.batches[3].0).unwrap();
        batch.entries.clear();
        let mut world = scene.world.clone();
        world.state = custody::state::State::new(scene.world.state.genesis().clone()).unwrap();
        let mine = scene.server.view(|v| v.batches.clone());
        let before = usize::try_from(old + 3).unwrap();
        for bytes in &mine[..before] {
            world.try_batch(&Batch::parse(&bytes.0).unwrap()).unwrap();
        }
        world.try_batch(&batch).unwrap();
        let body = world.state.checkpoint().encode().unwrap();
        let lines =
            ["s1", "s2", "s3"].map(|n| cosign(&body, n, hand.secrets.cosign_signing_key(), now_s())).to_vec();
        let note = SignedNote { body, lines }.to_string();
        let mut batches = piece.batches.clone();
        batches[3] = Blob(batch.bytes());
        wire::message::Log { batches, note, ..piece.clone() }
    };
    forged.push(("a fork", fork));
    for (what, forged) in &forged {
        assert_eq!(bring(&scene, forged), old, "{what}");
    }
    // The twin.
    assert_eq!(bring(&scene, &piece), old + 4);
    // Rolling it back again does nothing.
    let (_, truncated) = &forged[1];
    assert_eq!(bring(&scene, truncated), old + 4);
    scene.server.honest();
    scene.server.link("s1", scene.signers.address("s1"));
    let more = allocate(&mut scene);
    scene.submit(&more).unwrap();
}
