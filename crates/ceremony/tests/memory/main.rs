//! What a ceremony leaves in memory and on disk (DACS GEN-08): a second process holds it as the program does,
//! and this one, which knows every secret of it, reads all of its memory after each answer, and the files
//! that it could have written. `docs/spec/memory.md` says what this shows, and what it does not.

mod child;
mod draws;
mod known;
mod play;
mod scan;
mod script;
mod watched;

use std::sync::LazyLock;

use child::{Orders, Plant};
use keys::locked::{WipingAllocator, mechanism};
use play::Play;
use scan::Needles;
use watched::Watched;

/// As in the program. `tests/memory_control` is without.
#[global_allocator]
static HEAP: WipingAllocator = WipingAllocator;

/// The ceremony that every test here holds again, and its secrets.
static HELD: LazyLock<(Play, Needles)> = LazyLock::new(|| {
    let genesis = fixtures::genesis();
    let play = Play::new(&genesis, &script::script(&genesis));
    let needles = known::needles(&play);
    (play, needles)
});

#[test]
#[ignore = "the other tests run it in a child process"]
fn child_process() {
    child::run();
}

fn orders(mechanism: &str) -> Orders {
    Orders { mechanism: mechanism.to_owned(), stop: None, plant: Plant::Nothing }
}

/// Holds the ceremony and looks through the process after every answer.
fn look(mechanism: &str) {
    let (play, needles) = &*HELD;
    let mut child = Watched::start(&orders(mechanism), needles);
    child.look().assert_nothing();
    let last = play.steps.len() - 1;
    for (number, step) in play.steps.iter().enumerate() {
        child.answers_alike(step);
        let scan = child.look();
        println!("{mechanism}: {}: {}", step.name(), scan.summary());
        scan.assert_kept();
        child.assert_silent();
        if number == last {
            scan.assert_nothing();
            assert_eq!(scan.unreadable_bytes, 0, "memory for secrets is left");
        } else if mechanism == "memfd_secret" {
            // Nobody reads it, this test neither: that there is some shows that it is looked at the right place.
            scan.assert_nothing();
            assert_eq!(scan.unreadable_bytes > 0, step.leaves_secrets(), "{:?}", step.ask);
        } else {
            // The scan sees what is there: it would see it elsewhere too.
            assert_eq!(!scan.in_arena.is_empty(), step.leaves_secrets(), "{:?}", step.ask);
        }
    }
    child.ends();
}

#[test]
fn after_each_answer_no_secret_can_be_read_at_all() {
    if mechanism().unwrap() != "memfd_secret" {
        println!("not shown: this kernel has no memfd_secret; the next test shows what it can hold");
        return;
    }
    look("memfd_secret");
}

#[test]
fn without_memfd_secret_they_stand_in_locked_memory_alone() {
    look("mlock");
}

/// In the middle of an answer the stack is in use: it is locked memory too.
#[test]
fn in_the_middle_of_an_answer_no_secret_is_outside_of_locked_memory() {
    let (play, needles) = &*HELD;
    let points = play.steps.iter().flat_map(|step| {
        let (first, last) = (step.draws.start, step.draws.end.saturating_sub(1));
        let points = [first, first.midpoint(last), last];
        points
            .into_iter()
            .filter(|point| step.draws.contains(point))
            .collect::<std::collections::BTreeSet<_>>()
    });
    for stop in points {
        let mut child = Watched::start(&Orders { stop: Some(stop), ..orders("mlock") }, needles);
        let step = play.steps.iter().find(|step| {
            let within = step.draws.contains(&stop);
            if !within {
                child.answers_alike(step);
            }
            within
        });
        child.stops_at(step.unwrap());
        let scan = child.look();
        println!("before draw {stop}, in {}: {}", step.unwrap().name(), scan.summary());
        // What was never in a `LockedBytes`, such as a chain code, stands on the locked stack.
        println!("{:#?}", scan.in_arena);
        scan.assert_kept();
    }
}

#[test]
fn every_planted_leak_is_found() {
    let (play, needles) = &*HELD;
    for plant in Plant::ALL {
        let mut child = Watched::start(&Orders { plant, ..orders("mlock") }, needles);
        for step in &play.steps {
            child.answers_alike(step);
        }
        let scan = child.look();
        let (memory, files) = (scan.leaks("component"), !child.in_files().is_empty());
        let expected = match plant {
            // The heap wipes it: `tests/memory_control` shows that otherwise it is found.
            Plant::Nothing | Plant::Freed => (false, false),
            Plant::Heap | Plant::Stack | Plant::Static | Plant::Buffer => (true, false),
            Plant::File | Plant::Temporary | Plant::Shared | Plant::Unlinked => (false, true),
        };
        assert_eq!((memory, files), expected, "{plant:?}: {scan:#?}");
    }
}
