//! The control of `tests/memory`: the same ceremony in a program that lacks one of the two means, and the same
//! look through it finds what the libraries left. A process that finds nothing would show nothing.

#![allow(dead_code, reason = "the modules are those of `tests/memory`, which uses all of them")]

#[path = "../memory/child.rs"]
mod child;
#[path = "../memory/draws.rs"]
mod draws;
#[path = "../memory/known.rs"]
mod known;
#[path = "../memory/play.rs"]
mod play;
#[path = "../memory/scan.rs"]
mod scan;
#[path = "../memory/script.rs"]
mod script;
#[path = "../memory/watched.rs"]
mod watched;

use child::{Orders, Plant};
use play::Play;
use watched::Watched;

#[test]
#[ignore = "the other test runs it in a child process"]
fn child_process() {
    child::run();
}

#[test]
fn without_the_wiping_heap_what_libraries_free_is_found() {
    let genesis = fixtures::genesis();
    let play = Play::new(&genesis, &script::script(&genesis));
    let needles = known::needles(&play);
    for plant in [Plant::Nothing, Plant::Freed] {
        let orders = Orders { mechanism: "mlock".to_owned(), stop: None, plant };
        let mut child = Watched::start(&orders, &needles);
        for step in &play.steps {
            child.answers_alike(step);
        }
        let scan = child.look();
        println!("{plant:?}: {:#?}", scan.outside);
        // `frost-core` frees the shares that it deals, and their polynomial, where it moved them from.
        let left = if plant == Plant::Nothing { "the share of" } else { "component" };
        assert!(scan.leaks(left), "{scan:#?}");
    }
}
