//! Disks that are older than the last vote (rule `P12`).

use custody::Hash;

use super::signer::agreement::{HEIGHTS_TO_RECOVER, Input, Message, Output, REJOIN_MS};
use super::signer::tendermint::Kind;
use super::world::{Options, World};

/// The member whose disk is restored.
const OLD: usize = 3;

/// No liar and no loss; values often come at the wrong time, so votes made twice would differ.
fn quiet(forget: Option<&'static str>) -> Options {
    Options { liar: false, hostile_relay: false, untimely: 40, forget, ..Options::default() }
}

fn may_release(world: &World) -> bool {
    world.nodes[OLD].agreement.as_ref().is_some_and(|agreement| agreement.may_release())
}

/// A member voted in a height that nobody has decided, and starts again with the disk from before.
fn restore(seed: u64, forget: Option<&'static str>) -> Result<(World, u64), String> {
    let mut world = World::new(seed, quiet(forget));
    world.run_until(|world| world.lowest() >= 2)?;
    world.run_until(|world| {
        let applied = world.nodes[OLD].app.applied.len() as u64;
        applied == world.highest() && !world.has_voted(OLD, applied + 1)
    })?;
    let (disk, applied) = (world.nodes[OLD].disk.clone(), world.nodes[OLD].app.applied.clone());
    let height = applied.len() as u64 + 1;
    world.run_until(|world| world.has_voted(OLD, height))?;
    // One of the others is cut off: they are too few to decide without the restored member.
    world.half[0] = true;
    let until = world.now_ms + 100;
    world.run_until(|world| world.now_ms > until)?;
    world.kill(OLD);
    world.nodes[OLD].disk = disk;
    world.nodes[OLD].app.applied = applied;
    world.start_later(OLD, 10);
    Ok((world, height))
}

#[test]
fn a_vote_that_another_shows_stops_a_restored_disk() {
    let mut stopped = 0;
    for seed in 0..20 {
        let (mut world, lost) = restore(seed, None).expect("quiet");
        if world.highest() >= lost {
            continue; // Decided too fast: nothing was lost that matters.
        }
        let (later, height) = (world.now_ms + 5000, world.highest());
        world.run_until(|world| world.now_ms > later).expect("no contradiction");
        assert!(!may_release(&world), "seed {seed}: released with votes lost");
        assert_eq!(world.highest(), height, "seed {seed}: two members decided, or the third voted");
        stopped += 1;

        // Healed, the others go on without it, and it takes part two final heights later.
        world.half[0] = false;
        world.nodes.iter_mut().for_each(|node| node.app.untimely = 0);
        world.run_until(may_release).expect("recovers");
        let answers = world.nodes[OLD].agreement.as_ref().expect("runs").answers();
        let shown = *answers.values().max().expect("answered");
        assert_eq!(answers.len(), 3);
        assert!(world.nodes[OLD].app.final_height >= shown + 2);
        assert!((lost + 1..=shown + 2).all(|height| !world.has_voted(OLD, height)));
        world.run_until(|world| world.has_voted(OLD, world.highest())).expect("votes again");
    }
    assert!(stopped >= 5, "the case hardly arose: {stopped}");
}

#[test]
fn unless_the_others_are_asked_a_restored_disk_votes_twice() {
    let contradicts = |seed: &u64| {
        let (mut world, _) = match restore(*seed, Some("nothing")) {
            Ok(restored) => restored,
            Err(what) => return what.contains("contradicted"),
        };
        let later = world.now_ms + 5000;
        world.run_until(|world| world.now_ms > later).is_err_and(|e| e.contains("contradicted"))
    };
    assert!((0..40).any(|seed| contradicts(&seed)));
}

#[test]
fn started_as_restored_it_waits_for_two_final_heights_and_remembers_to() {
    let mut world = World::new(7, quiet(None));
    world.run_until(|world| world.lowest() >= 3).expect("runs");
    world.kill(OLD);
    world.idle = true;
    let before = world.highest();
    let had_voted = world.has_voted(OLD, before + 1);
    world.nodes[OLD].restored = true;
    world.start_later(OLD, 10);
    world.run_until(|world| world.nodes[OLD].agreement.is_some()).expect("starts");
    // A start without the flag does not make it forget.
    world.kill(OLD);
    world.nodes[OLD].restored = false;
    world.start_later(OLD, 10);
    let soon = world.now_ms + 500;
    world.run_until(|world| world.now_ms > soon).expect("runs");
    let it = world.nodes[OLD].agreement.as_ref().expect("started");
    assert_eq!((it.answers().len(), it.may_release()), (3, false), "nothing is final since");

    world.run_until(may_release).expect("recovers");
    assert!(world.nodes[OLD].app.final_height >= before + 2);
    assert_eq!(world.has_voted(OLD, before + 1), had_voted);
    assert!(!world.has_voted(OLD, before + 2));
    world.idle = false;
    // And once it has voted its disk counts as its own again.
    world.run_until(|world| world.has_voted(OLD, world.highest())).expect("votes");
    world.kill(OLD);
    world.start_later(OLD, 10);
    world.run_until(|world| world.nodes[OLD].agreement.is_some()).expect("starts");
    let soon = world.now_ms + 100;
    world.run_until(|world| world.now_ms > soon).expect("runs");
    assert!(may_release(&world));
}

/// An idle world of four, of which one is killed.
fn idle_without_one(seed: u64) -> World {
    let mut world = World::new(seed, Options { untimely: 0, ..quiet(None) });
    world.run_until(|world| world.lowest() >= 3).expect("runs");
    world.idle = true;
    let later = world.now_ms + 5000;
    world.run_until(|world| world.now_ms > later).expect("settles");
    assert!(!world.has_timers());
    world.kill(OLD);
    world
}

fn pass(world: &mut World, ms: u64) {
    let later = world.now_ms + ms;
    while world.now_ms < later {
        world.one_event().expect("no contradiction");
    }
}

#[test]
fn an_idle_log_moves_two_heights_for_a_member_that_rejoins_and_is_still_again() {
    for seed in 0..20 {
        let mut world = idle_without_one(seed);
        let before = world.highest();
        world.nodes[OLD].restored = true;
        world.start_later(OLD, 10);
        world.run_until(may_release).expect("rejoins");
        assert_eq!(world.lowest_final(), before + 2, "seed {seed}");
        assert!(!world.has_voted(OLD, before + 1) && !world.has_voted(OLD, before + 2));
        pass(&mut world, 5000);
        let (sent, height) = (world.sent, world.highest());
        pass(&mut world, 3 * REJOIN_MS / 2);
        assert_eq!((world.sent, world.highest(), height), (sent, before + 2, before + 2), "seed {seed}");
        assert!(!world.has_timers());
    }
}

/// Somebody holds the key of the killed member and claims without end that it rejoins. `targeted`: it talks
/// to one of the others until that one does no more for it, then to the next. Returns the heights made in
/// `ms`.
fn claim(world: &mut World, targeted: bool, ms: u64) -> u64 {
    let (before, until) = (world.highest(), world.now_ms + ms);
    let mut number = 0_u64;
    while world.now_ms < until {
        number += 1;
        let decided = world.highest();
        for to in (0..OLD).filter(|to| !targeted || (number / 20) % 3 == *to as u64) {
            let nonce = Hash::sha256(&number.to_be_bytes());
            let probe = world.probe(OLD, 1, nonce, Some(decided + HEIGHTS_TO_RECOVER));
            world.input(to, Input::Message(Message::Probe(probe).encode().expect("short")));
        }
        pass(world, 500);
    }
    world.highest() - before
}

#[test]
fn whoever_claims_for_ever_to_rejoin_makes_two_heights_with_each_of_the_others() {
    let mut world = idle_without_one(1);
    assert_eq!(claim(&mut world, false, REJOIN_MS - 10_000), HEIGHTS_TO_RECOVER);
    pass(&mut world, 10_000);
    assert_eq!(claim(&mut world, false, REJOIN_MS - 20_000), HEIGHTS_TO_RECOVER, "helped again later");
    let mut world = idle_without_one(2);
    assert_eq!(claim(&mut world, true, REJOIN_MS - 10_000), 3 * HEIGHTS_TO_RECOVER);
}

#[test]
fn a_height_is_begun_for_a_probe_that_its_member_signed_and_that_is_near() {
    let begins = |by: usize, signer: usize, awaits: u64| {
        let mut world = idle_without_one(3);
        let decided = world.highest();
        let mut probe = world.probe(signer, 1, Hash::default(), Some(decided + awaits));
        probe.by = by;
        world.input(0, Input::Message(Message::Probe(probe).encode().expect("short")));
        pass(&mut world, 5000);
        world.highest() - decided
    };
    assert_eq!([0, 1, 2, 3, u64::MAX / 2].map(|awaits| begins(OLD, OLD, awaits)), [0, 1, 2, 0, 0]);
    assert_eq!(begins(OLD, 2, 1), 0, "signed by another");
    assert_eq!(begins(0, 0, 1), 0, "its own, brought back");
}

#[test]
fn a_disk_found_old_after_the_start_asks_anew() {
    let mut world = idle_without_one(4);
    world.start_later(OLD, 10);
    world.run_until(may_release).expect("starts");
    // Heights later somebody shows a vote that its disk lacks.
    world.idle = false;
    let more = world.highest() + 4;
    world.run_until(|world| world.lowest() >= more).expect("runs");
    world.idle = true;
    pass(&mut world, 5000);
    let height = world.highest();
    assert_eq!(world.lowest(), height);
    let vote = world.vote(OLD, height + 2, 0, Kind::Prevote, None);
    world.input(OLD, Input::Message(Message::Votes(vec![vote]).encode().expect("short")));
    let answers = |world: &World| world.nodes[OLD].agreement.as_ref().expect("runs").answers().clone();
    assert!(!may_release(&world) && answers(&world).is_empty());
    world.run_until(may_release).expect("rejoins");
    assert!(answers(&world).values().all(|decided| *decided == height));
    assert_eq!(world.lowest_final(), height + 2);
}

#[test]
fn who_starts_is_silent_until_enough_others_answer_this_start() {
    let mut world = World::new(1, quiet(None));
    let mut it = world.fresh(0);
    world.nodes[0].app.pending = true;
    let nonce = Hash::sha256(b"this start");
    let app = &mut world.nodes[0].app.clone();
    let mut sent = it.start_guarded(app, 0, false, nonce);
    sent.extend(it.step(app, 10, Input::Wake));
    // Nor does a vote of another make it vote.
    let vote = world.vote(1, 1, 0, Kind::Prevote, None);
    let bytes = Message::Votes(vec![vote]).encode().expect("short");
    sent.extend(it.step(app, 20, Input::Message(bytes)));
    let mut answer = |by, nonce| {
        let answer = Message::Answer(world.answer(by, 0, nonce, 0)).encode().expect("short");
        it.step(app, 30, Input::Message(answer))
    };
    sent.extend(answer(1, Hash::sha256(b"an earlier start")));
    sent.extend(answer(2, nonce));
    sent.extend(answer(2, nonce));
    let probes = |outputs: &[Output]| {
        outputs.iter().all(|output| match output {
            Output::Send { bytes, .. } => {
                matches!(Message::decode(bytes), Some(Message::Probe(_)))
            }
            Output::Decide(_) => false,
            _ => true,
        })
    };
    assert!(probes(&sent), "{sent:?}");
    // The second other member: it begins the height that is pending.
    let begun = answer(3, nonce);
    assert!(begun.iter().any(|output| matches!(output, Output::SetTimer { .. })));
    assert!(it.may_release() && it.is_running());
}
