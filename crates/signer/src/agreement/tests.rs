//! What the quorum is for: the world of `tests/agreement`, with half of the members enough to decide.

use crate as signer;

#[allow(dead_code, reason = "the integration tests use the rest of it")]
#[path = "../../tests/agreement/world.rs"]
mod world;

#[path = "../../tests/vectors/agreement.rs"]
mod vectors;

use signer::agreement::Committee;
use world::{Options, World};

#[test]
fn two_of_four_votes_fork() {
    for liar in [false, true] {
        let options = Options {
            committee: |seats, me| Committee::new(seats, me).expect("committee").with_quorum(2),
            liar,
            ..Options::default()
        };
        let forked = |seed: &u64| {
            let result = World::new(*seed, options.clone()).run();
            result.is_err_and(|what| what.contains("fork"))
        };
        let found = (0..100).find(forked);
        println!("liar {liar}: seed {found:?}");
        assert!(found.is_some(), "a quorum of two did not fork");
    }
}
