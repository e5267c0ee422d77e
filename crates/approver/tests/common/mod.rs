//! A deployment with one person whose keys are in a device, and heads that its co-signers signed.
#![allow(dead_code, reason = "each test program uses a part of it")]

use approver::{Head, Replay, Replica, ReplicaError};
use custody::Hash;
use custody::checkpoint::{SignedNote, cosign};
use custody::document::Person;
use custody::genesis::Genesis;
use custody::state::State;
use fixtures::{World, genesis, group, key, label, name};
use keys::device::DeviceKey;
use rand_core::OsRng;

/// A quorum of the fixtures' four co-signers.
pub(crate) const QUORUM: &[&str] = &["s1", "s2", "w1"];

/// The head of a state, co-signed.
pub(crate) fn head(state: &State, who: &[&str]) -> String {
    let body = state.checkpoint().encode().unwrap();
    let sign = |w: &&str| cosign(&body, w, &key(&format!("{w}/cosign")), state.clock().time);
    let lines = who.iter().map(sign).collect();
    SignedNote { body, lines }.to_string()
}

/// The batches of a world, as bytes.
pub(crate) fn batches(world: &World) -> Vec<Vec<u8>> {
    world.log.iter().map(|(batch, _)| batch.bytes()).collect()
}

/// What a replica makes of these batches and this note.
pub(crate) fn replay(
    genesis: &Genesis,
    seen: Option<Head>,
    batches: &[Vec<u8>],
    note: &str,
) -> Result<Replica, ReplicaError> {
    let mut replay = Replay::begin(&genesis.bytes(), &genesis.hash(), seen)?;
    batches.iter().try_for_each(|batch| replay.push(batch))?;
    replay.finish(note)
}

/// The replica of a world under its final head.
pub(crate) fn replica(world: &World) -> Replica {
    let note = head(&world.state, QUORUM);
    replay(world.state.genesis(), None, &batches(world), &note).unwrap()
}

/// The genesis of the fixtures, and in it `erin`, who approves, with these keys.
pub(crate) fn with_erin(key: &DeviceKey) -> Genesis {
    let mut genesis = genesis();
    let mut device = fixtures::device("erin");
    (device.sign, device.tls) = (key.public().sign, key.public().tls);
    let erin = Person { id: name("erin"), name: label("erin").commitment(), keys: vec![device] };
    genesis.people.push(erin);
    let members = ["alice", "bob", "carol", "erin"];
    genesis.groups = ["approvers", "admins"].map(|g| group(g, &members)).to_vec();
    genesis
}

/// A device, and a world that can pay, in which it is erin's.
pub(crate) fn world() -> (DeviceKey, World) {
    let key = DeviceKey::generate(&mut OsRng);
    let world = World::open(with_erin(&key));
    (key, world)
}

/// A nonce.
pub(crate) fn nonce(number: u8) -> Hash {
    Hash([number; 32])
}
