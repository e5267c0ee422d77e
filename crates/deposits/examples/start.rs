//! How long a start takes until all addresses are watched: derived one by one, derived and written by all
//! processors, and read from the files of an earlier start.
//!
//! `cargo run --release -p deposits --example start [ADDRESSES …]`

use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use custody::effects::{AccountKey, Branch};
use custody::payment::{ALLOCATE_DAILY_LIMIT, ALLOCATE_LIMIT, Allocate};
use custody::statement::Body;
use deposits::{KeyFiles, Watched};
use fixtures::{World, name};

/// Seconds of a day and a second more: then as many addresses may be allocated again.
const DAY_S: u64 = 86_401;

/// A log with so many addresses.
fn allocate(world: &mut World, addresses: u32) {
    let mut day = ALLOCATE_DAILY_LIMIT;
    let mut left = addresses - world.state.next_index(&name("main"), Branch::Receive);
    while left > 0 {
        let count = left.min(ALLOCATE_LIMIT);
        if day + count > ALLOCATE_DAILY_LIMIT {
            world.tick(DAY_S);
            day = 0;
        }
        let ask = Allocate { wallet: name("main"), client: name("x"), branch: Branch::Receive, count };
        world.say("server", Body::Allocate(ask)).expect("an allocation");
        (day, left) = (day + count, left - count);
    }
}

fn seconds<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed().as_secs_f64())
}

/// One start with the files of a directory.
fn start(world: &World, directory: &Path) -> (Watched, f64) {
    seconds(|| {
        let (mut watched, mut files) = (Watched::default(), KeyFiles::new(directory));
        let keys = |account: &AccountKey, branch: Branch, indices: Range<u32>| {
            files.keys(&world.decoder, account, branch, indices)
        };
        watched.follow_with(&world.state, keys).expect("a whole log");
        assert!(files.problem().is_none());
        watched
    })
}

fn main() {
    let sizes: Vec<u32> = std::env::args().skip(1).map(|size| size.parse().expect("a number")).collect();
    let sizes = if sizes.is_empty() { vec![10_000, 100_000, 1_000_000] } else { sizes };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let profile = if cfg!(debug_assertions) { "profile of the tests" } else { "release" };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{processors} processors, load {}, {profile}", load.trim());
    let mut world = World::ready();
    for addresses in sizes {
        allocate(&mut world, addresses);
        let directory = tempfile::tempdir().expect("a directory");
        let (all, one) = seconds(|| {
            let mut watched = Watched::default();
            watched.follow(&world.state, &world.decoder).expect("a whole log");
            watched
        });
        let (first, written) = start(&world, directory.path());
        let (next, read) = start(&world, directory.path());
        assert!(all.len() == first.len() && all.len() == next.len());
        let (bytes, floor) = seconds(|| {
            let files = std::fs::read_dir(directory.path()).expect("files");
            files
                .map(|file| std::fs::read(file.expect("a file").path()).expect("its bytes").len())
                .sum::<usize>()
        });
        println!(
            "{addresses:>9} addresses: one by one {one:.2} s; first start {written:.2} s; next start {read:.3} s (floor: \
             reading {:.1} MB {floor:.3} s)",
            bytes as f64 / 1e6
        );
    }
}
