//! Withdrawal requests a second until they are reserved and durable, on SQLite, through the router, beside the
//! floor of the same run.
//!
//! `cargo run --release -p api --example withdrawals-figures [requests per figure, 2000]`

#[path = "../tests/rest/house.rs"]
#[allow(dead_code, reason = "the tests do more with it")]
mod house;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use house::Town;
use serde_json::{Value, json};

/// How long the floor is measured.
const FLOOR: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(2_000), |text| text.parse())?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let profile = if cfg!(debug_assertions) { "profile of the tests" } else { "release" };
    println!("{} processors, load {}, {profile}", std::thread::available_parallelism()?, load.trim());
    println!("floor: append 2 KiB + fdatasync   {:>7.0} /s", append()?);
    for callers in [1, 64] {
        let town = Arc::new(Town::new().await);
        town.fund("north", 1_000_000_000_000).await;
        // The log is no part of the figure: what is on disk is passed on and waits.
        town.home.deaf.store(true, Ordering::SeqCst);
        let body = |_| json!({ "signed_request": town.signed("erp", town.request(Some("north"), 1_000)) });
        let bodies: Vec<Value> = (0..count).map(body).collect();
        let begun = Instant::now();
        let tasks = bodies.chunks(count.div_ceil(callers)).enumerate().map(|(caller, bodies)| {
            let (town, bodies) = (Arc::clone(&town), bodies.to_vec());
            tokio::spawn(async move {
                let mut times = Vec::new();
                for (n, body) in bodies.iter().enumerate() {
                    let begun = Instant::now();
                    town.post("erp", "/v1/withdrawals", &format!("{caller}-{n}"), body).await.ok(202);
                    times.push(begun.elapsed());
                }
                times
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await?);
        }
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        times.sort();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!(
            "{callers:>2} callers, held and durable    {rate:>7.0} /s   p50 {:>6.2} ms  p99 {:>6.2} ms",
            at(50),
            at(99)
        );
    }
    Ok(())
}

/// What the disk does for one who appends as many bytes as a request has.
fn append() -> std::io::Result<f64> {
    let mut file = tempfile::tempfile_in(std::env::temp_dir())?;
    let (begun, mut count) = (Instant::now(), 0u32);
    while begun.elapsed() < FLOOR {
        file.write_all(&[7; 2_048])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}
