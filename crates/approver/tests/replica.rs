//! What is shown stands under a final head, and never behind one that was seen.

mod common;

use std::cmp::Ordering;

use approver::{Replay, ReplicaError};
use common::{QUORUM, batches, head, replay};
use custody::Hash;
use custody::checkpoint::HeadError;
use custody::effects::Branch;
use custody::payment::Allocate;
use custody::statement::Body;
use fixtures::{World, genesis, name};

#[test]
fn a_log_is_believed_under_a_final_head_of_exactly_it() {
    let world = World::ready();
    let (all, note) = (batches(&world), head(&world.state, QUORUM));
    let replica = replay(&genesis(), None, &all, &note).unwrap();
    assert_eq!(replica.state().hash(), world.state.hash());
    assert_eq!(replica.head().unwrap().signers().len(), 3);

    // Two of four are no quorum, and one of them twice is one.
    for few in [&["s1", "s2"][..], &["s1", "s2", "s2"]] {
        let refused = replay(&genesis(), None, &all, &head(&world.state, few));
        let head = HeadError::NoQuorum { found: 2, quorum: 3 };
        assert_eq!(refused.unwrap_err(), ReplicaError::Head(head));
    }
    // A head of something else, whichever is longer.
    let short = replay(&genesis(), None, &all[..all.len() - 1], &note);
    assert!(matches!(short, Err(ReplicaError::Differs { .. })), "{short:?}");
    let mut longer = world.clone();
    longer.tick(60);
    let long = replay(&genesis(), None, &batches(&longer), &note);
    assert!(matches!(long, Err(ReplicaError::Differs { .. })), "{long:?}");
    // Batches without a head.
    assert!(matches!(replay(&genesis(), None, &all, ""), Err(ReplicaError::Head(_))));
}

#[test]
fn genesis_is_the_pinned_one() {
    let bytes = genesis().bytes();
    assert!(Replay::begin(&bytes, &genesis().hash(), None).is_ok());
    let other = Replay::begin(&bytes, &Hash([1; 32]), None);
    assert!(matches!(other, Err(ReplicaError::Genesis { .. })));
    let cut = Replay::begin(&bytes[1..], &genesis().hash(), None);
    assert!(matches!(cut, Err(ReplicaError::Unsound(_))));
    // Before the first batch genesis alone is in force, and that was pinned.
    let replica = replay(&genesis(), None, &[], "").unwrap();
    assert!(replica.head().is_none());
}

#[test]
fn an_altered_batch_is_not_replayed() {
    let world = World::ready();
    let mut all = batches(&world);
    all.remove(3);
    let refused = replay(&genesis(), None, &all, &head(&world.state, QUORUM));
    assert!(matches!(refused, Err(ReplicaError::Batch { height: 4, .. })), "{refused:?}");
    let mut all = batches(&world);
    all.swap(3, 4);
    assert!(replay(&genesis(), None, &all, &head(&world.state, QUORUM)).is_err());
}

#[test]
fn it_never_goes_back_behind_a_head_that_was_seen() {
    let world = World::ready();
    let seen = common::replica(&world).seen();
    let mut later = world.clone();
    later.tick(60);
    let (all, note) = (batches(&later), head(&later.state, QUORUM));

    assert!(replay(&genesis(), Some(seen), &all, &note).is_ok());
    assert!(replay(&genesis(), Some(seen), &batches(&world), &head(&world.state, QUORUM)).is_ok());

    // Rolled back: an older head, truly final once.
    let mut earlier = World::new(genesis());
    let count = all.len() - 2;
    for (batch, _) in &world.log[..count] {
        earlier.try_batch(batch).unwrap();
    }
    let old = replay(&genesis(), Some(seen), &all[..count], &head(&earlier.state, QUORUM));
    let found = earlier.state.log_size();
    assert_eq!(old.unwrap_err(), ReplicaError::RolledBack { seen: seen.size, found });
    // So is the empty log.
    let empty = replay(&genesis(), Some(seen), &[], "");
    assert_eq!(empty.unwrap_err(), ReplicaError::RolledBack { seen: seen.size, found: 0 });

    // Forked: another history under a quorum's head, at the same length and longer.
    let mut fork = earlier;
    while fork.state.log_size() < seen.size + 3 {
        fork.tick(1);
        let head = head(&fork.state, QUORUM);
        let forked = replay(&genesis(), Some(seen), &batches(&fork), &head);
        let behind = fork.state.log_size() < seen.size;
        match forked.unwrap_err() {
            ReplicaError::RolledBack { .. } => assert!(behind),
            ReplicaError::Forked { size } => assert_eq!((size, behind), (seen.size, false)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn it_goes_on_from_where_it_is() {
    let mut world = World::ready();
    let replica = common::replica(&world);
    let count = world.log.len();
    world.tick(60);
    let mut replay = replica.extend();
    replay.push(&batches(&world)[count]).unwrap();
    // Still the old head: what was pushed is not believed yet.
    assert!(replay.clone().finish(replica.note()).is_err());
    let later = replay.finish(&head(&world.state, QUORUM)).unwrap();
    assert_eq!(later.state().clock().height, replica.state().clock().height + 1);

    let other = head(&world.state, &["s2", "s3", "w1"]);
    assert_eq!(replica.compare(&other), Ok(Ordering::Greater));
    assert_eq!(later.compare(&other), Ok(Ordering::Equal));
    assert_eq!(later.compare(replica.note()), Ok(Ordering::Less));
    assert_eq!(later.compare(""), Ok(Ordering::Less));
    assert!(later.compare(&head(&world.state, &["s1"])).is_err());
    let mut fork = World::ready();
    fork.tick(61);
    let forked = later.compare(&head(&fork.state, QUORUM));
    assert_eq!(forked, Err(ReplicaError::Forked { size: later.seen().size }));
}

#[test]
fn each_allocation_has_its_own_addresses() {
    let mut world = World::ready();
    let ask = |client: &str, branch, count| {
        Body::Allocate(Allocate { wallet: name("main"), client: name(client), branch, count })
    };
    let entries = [
        world.sign("server", ask("cat", Branch::Receive, 2)),
        world.sign("alarm", ask("cat", Branch::Receive, 7)),
        world.sign("server", ask("dog", Branch::Receive, 3)),
        world.sign("server", ask("dog", Branch::Change, 1)),
    ];
    let outcomes = world.apply(world.time, &entries);
    assert!(outcomes[1].rejected.is_some(), "alarm may not allocate");
    let replica = common::replica(&world);
    let run = |i: usize| replica.allocated(&entries[i].id()).map(|a| (a.branch, a.first, a.count));
    assert_eq!(run(0), Some((Branch::Receive, 0, 2)));
    assert_eq!(run(1), None);
    assert_eq!(run(2), Some((Branch::Receive, 2, 3)));
    assert_eq!(run(3), Some((Branch::Change, 0, 1)));
    let address = |wallet, index| {
        approver::address(replica.state(), replica.decoder(), &name(wallet), Branch::Receive, index)
    };
    for (index, client) in [(0, "cat"), (1, "cat"), (2, "dog"), (4, "dog")] {
        let (derived, owner) = address("main", index).unwrap();
        assert_eq!(owner.as_str(), client);
        assert!(derived.starts_with("bcrt1p"), "{derived}");
    }
    assert!(address("main", 5).is_err(), "given to nobody");
    assert!(address("other", 0).is_err());
}
