//! Batches: place in the log, order, all or nothing, determinism (P5, P6, P7).

use custody::batch::{BATCH_LIMIT_BYTES, BATCH_LIMIT_ENTRIES, Batch, LEAF_LIMIT_BYTES};
use custody::document::Document;
use custody::payment::Request;
use custody::rule::Rule;
use custody::rule_set::NEWEST;
use custody::state::State;
use custody::statement::{Body, Envelope, Freeze, Propose, Scope, Veto};
use custody::tree::root_of;
use custody::{Hash, tree};
use fixtures::{DAY, World, destination, genesis, name, samples};
use proptest::prelude::*;

use crate::refused;

fn propose(world: &mut World, id: &str) -> Envelope {
    world.sign("alice", Body::Propose(Propose { document: destination(id), replaces: None }))
}

fn freeze(world: &mut World) -> Envelope {
    world.sign("dave", Body::Freeze(Freeze { scope: Scope::Everything }))
}

#[test]
fn allow_p5_batch() {
    let mut world = World::ready();
    let height = world.state.clock().height;
    for later in [0, 1, 1_000_000] {
        let batch = world.batch(world.time + later, &[]);
        world.try_batch(&batch).unwrap();
    }
    assert_eq!(world.state.clock().height, height + 3);
}

#[test]
fn deny_p5_batch() {
    let mut world = World::ready();
    let good = world.batch(world.time, &[propose(&mut world.clone(), "beta")]);
    let changes: [fn(&mut Batch); 6] = [
        |b| b.tick.height += 1,
        |b| b.tick.height -= 1,
        |b| b.tick.time -= 1,
        |b| b.tick.time = 0,
        |b| b.tick.state = Hash([0; 32]),
        |b| b.tick.state.0[31] ^= 1,
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        refused(world.try_batch(&bad), Rule::Batch);
    }
    world.try_batch(&good).unwrap();
    refused(world.try_batch(&good), Rule::Batch);
}

#[test]
fn allow_p5_reductions_first() {
    let mut world = World::ready();
    let entries =
        [propose(&mut world, "beta"), freeze(&mut world), freeze(&mut world), propose(&mut world, "gamma")];
    let (batch, _) = world.state.compose(world.time, "", &entries, &world.decoder);
    assert_eq!(batch.entries, [1, 2, 0, 3].map(|i: usize| entries[i].clone()));
    world.try_batch(&batch).unwrap();
}

#[test]
fn deny_p5_reductions_first() {
    let mut world = World::ready();
    let (one, two, three) = (freeze(&mut world), propose(&mut world, "beta"), freeze(&mut world));
    for entries in [vec![two.clone(), one.clone()], vec![one, two, three]] {
        let batch = world.batch(world.time, &entries);
        refused(world.try_batch(&batch), Rule::ReductionsFirst);
    }
}

/// One invalid entry makes the batch invalid, and an invalid batch changes nothing.
#[test]
fn all_or_nothing() {
    let mut world = World::ready();
    let (good, stale) = (propose(&mut world, "beta"), propose(&mut world, "gamma"));
    world.submit(stale.clone()).unwrap();
    let before = (world.state.hash(), world.state.log_size(), world.state.clock());
    let batch = world.batch(world.time, &[good.clone(), stale]);
    refused(world.try_batch(&batch), Rule::Once);
    assert_eq!((world.state.hash(), world.state.log_size(), world.state.clock()), before);
    world.submit(good).unwrap();
}

#[test]
fn batches_on_both_sides_of_their_limits() {
    let mut world = World::ready();
    let mut batch = world.batch(world.time, &[]);
    while batch.entries.len() < BATCH_LIMIT_ENTRIES {
        let next = propose(&mut world, &format!("d-{}", batch.entries.len()));
        batch.entries.push(next);
    }
    assert_eq!(Batch::parse(&batch.bytes()).unwrap(), batch);
    let more = propose(&mut world, "more");
    batch.entries.push(more.clone());
    refused(Batch::parse(&batch.bytes()), Rule::Form);
    let (composed, left_out) = world.state.compose(world.time, "", &batch.entries, &world.decoder);
    assert!(left_out.is_empty() && composed.entries.len() <= BATCH_LIMIT_ENTRIES);
    world.try_batch(&composed).unwrap();

    // Few entries, but long ones.
    let mut batch = world.batch(world.time, &[]);
    loop {
        let mut record = world.ceremony(0..1);
        record.entropy = "x".repeat(40_000);
        let document = Document::Ceremony(record);
        batch.entries.push(world.sign("bob", Body::Propose(Propose { document, replaces: None })));
        if batch.bytes().len() > BATCH_LIMIT_BYTES {
            break;
        }
        Batch::parse(&batch.bytes()).unwrap();
    }
    refused(Batch::parse(&batch.bytes()), Rule::Form);
    let (composed, left_out) = world.state.compose(world.time, "", &batch.entries, &world.decoder);
    assert!(left_out.is_empty() && composed.bytes().len() <= BATCH_LIMIT_BYTES);
}

/// A server that sends many forged freezes ahead of a real one does not keep it out.
#[test]
fn forged_entries_crowd_nothing_out() {
    let mut world = World::ready();
    let mut entries: Vec<Envelope> = (0..800)
        .map(|_| {
            let statement = world.statement("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
            statement.enveloped(statement.payload().unwrap(), [1; 64])
        })
        .collect();
    assert!(entries.iter().map(|e| e.bytes().len()).sum::<usize>() > BATCH_LIMIT_BYTES / 2);
    let real = freeze(&mut world);
    entries.push(real.clone());
    let (batch, left_out) = world.state.compose(world.time, "", &entries, &world.decoder);
    assert_eq!((batch.entries, left_out.len()), (vec![real], 800));
}

/// The log holds what was applied, and gives the batches back.
#[test]
fn the_log_gives_its_batches_back() {
    let mut world = World::ready();
    world.tick(60);
    let leaves: Vec<Vec<u8>> = world.log.iter().flat_map(|(batch, _)| batch.leaves()).collect();
    let batches: Vec<Batch> = world.log.iter().map(|(batch, _)| batch.clone()).collect();
    assert_eq!(Batch::from_leaves(leaves.iter().map(Vec::as_slice)).unwrap(), batches);
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| tree::leaf_hash(leaf)).collect();
    let head = world.state.checkpoint();
    assert_eq!(
        (head.root, head.size, head.state()),
        (root_of(&hashes), leaves.len() as u64, Some(world.state.hash()))
    );
    // A log that begins in the middle, or holds something else.
    let middle = &leaves[1..];
    refused(Batch::from_leaves(middle.iter().map(Vec::as_slice)), Rule::Form);
    refused(Batch::from_leaves([leaves[0].as_slice(), b"{}"]), Rule::Form);
    let mut twice = leaves[0].clone();
    twice.push(b' ');
    refused(Batch::from_leaves([twice.as_slice()]), Rule::Form);
}

/// A policy of hundreds of rules is proposed in one statement, which takes more than one entry of the log.
#[test]
fn a_long_proposal_stands_in_the_log_in_pieces() {
    for (rules, full) in [(400, 1), (600, 2)] {
        let mut world = World::open(fixtures::newest());
        let before = (world.state.log_size(), world.log.len());
        let long = Document::Policy(fixtures::policy_of_many_rules(rules));
        world.adopt(long.clone());
        assert_eq!(world.state.policy().unwrap().0.rules.len(), rules);
        world.say("carol", Body::Request(world.request(&[("acme", 400_000)]))).unwrap();
        let log = || world.log[before.1..].iter();
        let leaves: Vec<Vec<u8>> = log().flat_map(|(batch, _)| batch.leaves()).collect();
        assert_eq!(world.state.log_size(), before.0 + leaves.len() as u64);
        let sizes: Vec<usize> = leaves.iter().map(Vec::len).collect();
        assert_eq!(sizes[1..=full], vec![LEAF_LIMIT_BYTES; full]);
        assert!(sizes.iter().all(|size| *size <= LEAF_LIMIT_BYTES) && sizes[full + 1] < LEAF_LIMIT_BYTES);
        let parse = |leaves: &[Vec<u8>]| Batch::from_leaves(leaves.iter().map(Vec::as_slice));
        assert_eq!(parse(&leaves).unwrap(), log().map(|(batch, _)| batch.clone()).collect::<Vec<_>>());
        // One that is cut off, cut otherwise, without one of its pieces, or without an end.
        let cut_off = parse(&leaves[..=full]).unwrap_err();
        assert!(cut_off.rule == Rule::Form && cut_off.why.contains("ends within"), "{cut_off}");
        let mut other = leaves.clone();
        let moved = other[1].split_off(LEAF_LIMIT_BYTES - 1);
        other[2].splice(0..0, moved);
        refused(parse(&other), Rule::Form);
        for piece in 1..=full + 1 {
            let mut fewer = leaves.clone();
            fewer.remove(piece);
            refused(parse(&fewer), Rule::Form);
        }
        let endless = std::iter::repeat_n(leaves[1].clone(), 5);
        let endless: Vec<_> = std::iter::once(leaves[0].clone()).chain(endless).collect();
        let refusal = parse(&endless).unwrap_err();
        assert!(refusal.rule == Rule::Form && refusal.why.contains("at most"), "{refusal}");
    }
}

/// Replaying the log from genesis reaches the same state, in another process as in this one.
#[test]
fn replay_reaches_the_same_state() {
    let world = samples::world(genesis());
    let mut replica = State::new(genesis()).unwrap();
    for (batch, outcomes) in &world.log {
        let batch = Batch::parse(&batch.bytes()).unwrap();
        assert_eq!(&replica.apply(&batch, &world.decoder).unwrap(), outcomes);
    }
    assert_eq!(replica.hash(), world.state.hash());
    assert_eq!(replica.checkpoint().encode(), world.state.checkpoint().encode());
}

/// What `compose` and `admit` say agrees with what `apply` does.
#[test]
fn what_is_admitted_is_applied() {
    let mut world = World::open(fixtures::newest());
    for (who, body) in samples::statements(&mut world) {
        let envelope = world.sign(who, body);
        let outcome = world.state.admit(&envelope, world.time, &world.decoder).unwrap();
        let batch = world.batch(world.time, std::slice::from_ref(&envelope));
        assert_eq!(world.clone().try_batch(&batch).unwrap(), [outcome]);
    }
}

/// After a log that stood still a late veto comes before what is due meanwhile, and a statement that is no reduction
/// after it: as in the batch.
#[test]
fn what_is_admitted_later_is_applied_as_in_its_batch() {
    let mut world = World::open(fixtures::newest());
    world.adopt(Document::Policy(fixtures::policy_of(NEWEST, &[fixtures::rule()], 300)));
    let id = world.propose("bob", fixtures::client("north")).unwrap();
    for who in ["alice", "bob"] {
        world.approve(who, id).unwrap();
    }
    let later = world.time + 3_600;
    let veto = world.sign("carol", Body::Veto(Veto { target: id }));
    let request =
        Request { client: Some(name("north")), end: later + DAY, ..world.request(&[("acme", 100_000)]) };
    let ask = world.sign("carol", Body::Request(request));
    for envelope in [veto, ask] {
        let outcome = world.state.admit(&envelope, later, &world.decoder).unwrap();
        assert!(outcome.rejected.is_none(), "{outcome:?}");
        let batch = world.batch(later, std::slice::from_ref(&envelope));
        assert_eq!(world.clone().try_batch(&batch).unwrap(), [outcome]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever entries in whatever order: what is composed applies; the same batch twice gives the same
    /// hash; an invalid batch changes nothing; and composing leaves out only what would be invalid.
    #[test]
    fn apply_is_deterministic_and_total(
        picks in proptest::collection::vec((0usize..20, 0u8..6), 0..8),
        later in 0u64..200_000,
    ) {
        let mut world = World::open(fixtures::newest());
        let statements = samples::statements(&mut world);
        let mut entries = Vec::new();
        for (i, damage) in picks {
            let (who, body) = statements[i % statements.len()].clone();
            let mut statement = world.statement(who, body);
            match damage {
                0 => statement.genesis = Hash([1; 32]),
                1 => statement.not_after = statement.not_after.map(|end| end - 100_000),
                _ => {}
            }
            let signer = if damage == 2 { "mallory" } else { who };
            let envelope = statement.sign(&fixtures::key(signer)).unwrap();
            if damage == 3 {
                entries.push(envelope.clone());
            }
            entries.push(envelope);
        }
        let time = world.time + later;
        let before = world.state.hash();

        let raw = world.batch(time, &entries);
        let mut one = world.clone();
        if one.try_batch(&raw).is_err() {
            prop_assert_eq!(one.state.hash(), before);
            prop_assert_eq!(one.state.checkpoint(), world.state.checkpoint());
        }

        let (batch, left_out) = world.state.compose(time, "", &entries, &world.decoder);
        prop_assert_eq!(batch.entries.len() + left_out.len(), entries.len());
        let mut two = world.clone();
        let mut three = world.clone();
        prop_assert_eq!(two.try_batch(&batch), three.try_batch(&Batch::parse(&batch.bytes()).unwrap()));
        prop_assert_eq!(two.state.hash(), three.state.hash());
        prop_assert_eq!(two.state.checkpoint(), three.state.checkpoint());
        prop_assert!(two.state.clock().height == world.state.clock().height + 1);
    }
}
