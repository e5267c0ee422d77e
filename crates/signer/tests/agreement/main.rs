//! Four co-signers under a hostile relay, kills between any two outputs, and one member that lies.

extern crate signer;
mod golden;
mod limits;
mod restored;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Options, World};

/// Seeds of the default run; `KEYWARD_SEEDS` asks for more of them, `KEYWARD_SEED` for one.
const SEEDS: u64 = 300;

fn run(seed: u64, options: Options) -> Result<World, String> {
    let mut world = World::new(seed, options);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    result.unwrap_or_else(|_| Err("panicked".into())).map(|()| world)
}

#[test]
fn never_two_decisions_and_progress_once_the_relay_is_honest() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let only = number("KEYWARD_SEED");
    let all = 0..number("KEYWARD_SEEDS").unwrap_or(SEEDS);
    let seeds = only.map_or(all, |seed| seed..seed + 1);
    let (mut kills, mut heights, mut truncated) = (0, 0, 0);
    for seed in seeds {
        // Some with values so large that the log is truncated, some without a liar.
        let value_bytes = if seed % 16 == 0 { 300_000 } else { 0 };
        let options = Options { value_bytes, liar: seed % 8 != 1, ..Options::default() };
        match run(seed, options) {
            Ok(world) => {
                kills += world.kills;
                heights += world.highest();
                truncated += world.truncated;
            }
            Err(what) => panic!(
                "{what}\nrepeat with: KEYWARD_SEED={seed} cargo test -p signer --test agreement never_two"
            ),
        }
    }
    println!("{kills} kills, {heights} heights, {truncated} logs truncated");
    assert!(only.is_some() || (kills > heights && truncated > 0), "the world was not hostile");
}

/// Runs with a broken rule until a seed goes wrong in the way that the rule prevents.
fn goes_wrong(options: &Options, seeds: u64, how: &str) -> Option<u64> {
    (0..seeds).find(|seed| run(*seed, options.clone()).is_err_and(|what| what.contains(how)))
}

#[test]
fn a_log_without_one_kind_of_record_makes_honest_members_contradict_themselves() {
    for kind in ["everything", "value", "proposal", "votes", "timeout"] {
        let options = Options { forget: Some(kind), ..Options::default() };
        let found = goes_wrong(&options, SEEDS, "contradicted itself");
        println!("without {kind}: seed {found:?}");
        assert!(found.is_some(), "nothing went wrong without {kind}");
    }
    // It is the log that prevents this, not what the others remember.
    let all = Options { forget: Some("nothing"), ..Options::default() };
    assert_eq!(goes_wrong(&all, 50, ""), None);
}

#[test]
fn without_certificates_some_stand_still() {
    let options = Options { no_certificates: true, ..Options::default() };
    let found = goes_wrong(&options, SEEDS, "no progress");
    println!("seed {found:?}");
    assert!(found.is_some(), "nothing went wrong without certificates");
}
