//! The index of own addresses follows the log.

use bitcoin::{Script, ScriptBuf};
use custody::effects::{Branch, Decoder as _};
use custody::payment::{Allocate, GAP_LIMIT};
use custody::statement::Body;
use deposits::{Address, Watched, output_key};
use fixtures::{Account, World, name};

fn allocate(world: &mut World, client: &str, branch: Branch, count: u32) {
    let ask = Allocate { wallet: name("main"), client: name(client), branch, count };
    world.say("alice", Body::Allocate(ask)).unwrap();
}

fn script(world: &World, branch: Branch, index: u32) -> ScriptBuf {
    ScriptBuf::from_bytes(world.decoder.own_script(&Account::new(0).key(), branch, index).unwrap())
}

/// Whose an index is; `None` when it is not watched.
fn whose(world: &World, watched: &Watched, branch: Branch, index: u32) -> Option<Option<String>> {
    let address = watched.find(&script(world, branch, index))?;
    assert_eq!((address.wallet.as_str(), address.branch, address.index), ("main", branch, index));
    Some(address.client.map(|client| client.to_string()))
}

#[test]
fn allocations_and_the_gap_are_watched_as_the_log_goes_on() {
    let mut world = World::ready();
    let mut watched = Watched::default();
    watched.follow(&world.state, &world.decoder).unwrap();
    assert_eq!(watched.len(), 2 * GAP_LIMIT as usize);
    assert_eq!(whose(&world, &watched, Branch::Receive, 0), Some(None));
    assert_eq!(whose(&world, &watched, Branch::Receive, GAP_LIMIT - 1), Some(None), "the last of the gap");
    assert_eq!(whose(&world, &watched, Branch::Receive, GAP_LIMIT), None);

    allocate(&mut world, "x", Branch::Receive, 3);
    allocate(&mut world, "y", Branch::Receive, 30);
    allocate(&mut world, "x", Branch::Change, 1);
    watched.follow(&world.state, &world.decoder).unwrap();
    let next = 33;
    let cases = [(0, "x"), (2, "x"), (3, "y"), (next - 1, "y")];
    for (index, client) in cases {
        assert_eq!(whose(&world, &watched, Branch::Receive, index), Some(Some(client.into())), "{index}");
    }
    assert_eq!(whose(&world, &watched, Branch::Receive, next), Some(None));
    assert_eq!(whose(&world, &watched, Branch::Receive, next + GAP_LIMIT - 1), Some(None));
    assert_eq!(whose(&world, &watched, Branch::Receive, next + GAP_LIMIT), None);
    assert_eq!(whose(&world, &watched, Branch::Change, 0), Some(Some("x".into())));

    // Step by step or at once: the same.
    let mut fresh = Watched::default();
    fresh.follow(&world.state, &world.decoder).unwrap();
    assert_eq!(fresh.len(), watched.len());
    for index in 0..next + GAP_LIMIT + 1 {
        for branch in [Branch::Receive, Branch::Change] {
            let script = script(&world, branch, index);
            assert_eq!(fresh.find(&script), watched.find(&script), "{branch:?} {index}");
        }
    }
    let before = watched.len();
    watched.follow(&world.state, &world.decoder).unwrap();
    assert_eq!(watched.len(), before, "nothing new");
}

#[test]
fn a_retired_address_of_the_gap_stays_retired_when_it_is_allocated() {
    let mut world = World::ready();
    let mut watched = Watched::default();
    watched.follow(&world.state, &world.decoder).unwrap();
    let first = script(&world, Branch::Receive, 0);
    assert!(watched.retire(&first));
    allocate(&mut world, "x", Branch::Receive, 1);
    watched.follow(&world.state, &world.decoder).unwrap();
    let found = watched.find(&first).unwrap();
    assert_eq!((found.client, found.retired), (Some(name("x")), true));
}

#[test]
fn only_the_whole_script_is_ours() {
    let world = World::ready();
    let mut watched = Watched::default();
    watched.follow(&world.state, &world.decoder).unwrap();
    let own = script(&world, Branch::Receive, 0);
    assert!(watched.find(&own).is_some());
    let mut version = own.to_bytes();
    version[0] = 0x52;
    let mut longer = own.to_bytes();
    longer.push(0);
    let mut last = own.to_bytes();
    last[33] ^= 1;
    for other in [&version[..], &longer, &last, &own.as_bytes()[2..], &[]] {
        assert_eq!(watched.find(Script::from_bytes(other)), None);
    }
}

/// What was derived once may be kept and put back.
#[test]
fn what_is_inserted_is_found() {
    let mut watched = Watched::default();
    assert!(watched.is_empty() && watched.bytes() == 0);
    let world = World::ready();
    let script = script(&world, Branch::Receive, 5);
    let address = Address {
        wallet: name("main"),
        branch: Branch::Receive,
        index: 5,
        client: Some(name("x")),
        retired: true,
    };
    watched.insert(output_key(&script).unwrap(), &address).unwrap();
    assert_eq!(watched.find(&script), Some(address));
}
