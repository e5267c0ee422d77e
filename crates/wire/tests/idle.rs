//! An idle listener with idle connections is asleep. Alone in its binary: it measures the process.

mod common;

use std::time::{Duration, Instant};
use std::{fs, thread};

use common::{listener, pair};

#[test]
fn idle_connections_use_no_processor() {
    let listener = listener();
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let (mut client, mut server) = pair(&listener);
        // After a frame its deadline must have been taken off again.
        client.send(b"once").unwrap();
        server.recv().unwrap();
        for mut connection in [client, server] {
            let closer = connection.closer();
            waiting.push((closer, thread::spawn(move || connection.recv().is_err())));
        }
    }
    thread::sleep(Duration::from_millis(100));
    let before = processor_time();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(50) {}
    let busy = processor_time() - before;
    assert!(busy > Duration::from_millis(10), "the measure does not measure: {busy:?}");

    let before = processor_time();
    thread::sleep(Duration::from_millis(300));
    let used = processor_time() - before;
    assert!(used < Duration::from_millis(15), "{used:?} of processor time in 300 ms");
    assert!(waiting.iter().all(|(_, thread)| !thread.is_finished()), "not idle but ended");
    for (closer, thread) in waiting {
        closer.close();
        assert!(thread.join().unwrap());
    }
}

/// Processor time of all threads of this process, by the kernel's scheduler in nanoseconds.
fn processor_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let nanoseconds = tasks.map(|task| {
        let path = task.unwrap().path().join("schedstat");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().next().map_or(0, |field| field.parse().unwrap())
    });
    Duration::from_nanos(nanoseconds.sum())
}
