//! Durable transfers per second on both engines, beside the floors of the same run.
//!
//! `cargo run --release --example ledger-figures [seconds per figure, 2] [first size, 10000] [largest factor of growth, 100]`

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Database, NOW, many, name, one, posted, wallet};
use ledger::{Books, Code, Model, Moment, RecordChange, RecordKind};
use sqlx::Connection as _;

/// Clients that take part when transfers are spread.
const CLIENTS: u64 = 10_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let first: u64 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let largest = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let processors = std::thread::available_parallelism()?;
    println!("{processors} processors, load {}, {seconds} s per figure", load.trim());
    println!("\nfloor: append 512 B + fdatasync            {:>9.0} /s", append(time)?);
    for (engine, database) in [("SQLite", Database::sqlite()), ("PostgreSQL", Database::postgres())] {
        println!("floor: {engine:<10} plain insert + commit   {:>9.0} /s", insert(&database, time).await?);
    }
    for (engine, database) in [("SQLite", Database::sqlite()), ("PostgreSQL", Database::postgres())] {
        println!("\n{engine}");
        let books = Books::open(&database.address).await?;
        books.commit(wallet("main", Model::Two)).await?;
        // So many rows that a figure does not depend on how many came before.
        fill(&books, 0, first.max(CLIENTS)).await?;
        for hot in [false, true] {
            for callers in [1, 64] {
                let before = books.newest().await?.map_or(0, |batch| batch.seq);
                let (rate, mut times) = transfers(&books, callers, hot, time, 1).await;
                let batches = books.newest().await?.map_or(0, |batch| batch.seq) - before;
                let group = times.len() as f64 / batches as f64;
                let kind = if hot { "one hot account" } else { "spread" };
                let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
                println!(
                    "  {callers:>2} callers, {kind:<16} {rate:>9.0} transfers/s   p50 {p50:>6.2} ms  p99 {p99:>6.2} ms  {group:>4.1} a flush"
                );
            }
        }
        let (rate, mut times) = transfers(&books, 64, false, time, 100).await;
        let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        println!(
            "  64 callers, 100 a posting    {rate:>9.0} transfers/s   p50 {p50:>6.2} ms  p99 {p99:>6.2} ms"
        );
        let (rate, mut times) = holds(&books, 64, time).await;
        let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        println!(
            "  64 callers, hold + record    {rate:>9.0} postings/s    p50 {p50:>6.2} ms  p99 {p99:>6.2} ms"
        );
        for factor in [1, 10, 100].into_iter().filter(|factor| *factor <= largest) {
            let database = if database.is_sqlite() { Database::sqlite() } else { Database::postgres() };
            growth(&database, first * factor, time).await?;
        }
    }
    Ok(())
}

/// What the disk can do for one who waits.
fn append(time: Duration) -> std::io::Result<f64> {
    let mut file = tempfile::tempfile_in(std::env::temp_dir())?;
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        count += 1;
    }
    file.write_at(&[0], 0)?;
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// What the engine can do for one who inserts a row and commits.
async fn insert(database: &Database, time: Duration) -> Result<f64, sqlx::Error> {
    const TABLE: &str = "CREATE TABLE plain (position BIGINT PRIMARY KEY, body TEXT NOT NULL)";
    const INSERT: &str = "INSERT INTO plain (position, body) VALUES ($1, $2)";
    let body = "b".repeat(300);
    macro_rules! run {
        ($connection:expr) => {{
            let mut connection = $connection;
            sqlx::query(TABLE).execute(&mut connection).await?;
            let (start, mut count) = (Instant::now(), 0i64);
            while start.elapsed() < time {
                sqlx::query(INSERT).bind(count).bind(&body).execute(&mut connection).await?;
                count += 1;
            }
            Ok(count as f64 / start.elapsed().as_secs_f64())
        }};
    }
    if database.is_sqlite() {
        use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
        let options: SqliteConnectOptions = database.address.parse()?;
        let options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let options = options.synchronous(SqliteSynchronous::Full);
        run!(sqlx::SqliteConnection::connect_with(&options).await?)
    } else {
        run!(sqlx::PgConnection::connect(&database.address).await?)
    }
}

/// Deposits, so many to a posting that filling is quick.
async fn fill(books: &Books, from: u64, to: u64) -> Result<(), ledger::CommitError> {
    let mut tasks = tokio::task::JoinSet::new();
    for start in (from..to).step_by(200) {
        let books = books.clone();
        tasks.spawn(async move {
            let deposit = |i: u64| {
                let client = format!("client:c{}", i % CLIENTS);
                posted(&format!("fill.{i}"), "external", &client, 1_000_000, Code::Deposit)
            };
            books.commit(many((start..to.min(start + 200)).map(deposit).collect())).await
        });
        while tasks.len() > 40 {
            tasks.join_next().await.unwrap().unwrap()?;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap()?;
    }
    Ok(())
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Callers that each wait for their answer before they ask again. Only what was acknowledged counts.
async fn transfers(books: &Books, callers: u64, hot: bool, time: Duration, size: u64) -> (f64, Vec<f64>) {
    let books = books.clone();
    load(callers, time, move |_| {
        let books = books.clone();
        async move {
            let transfers = (0..size).map(|_| {
                let n = NEXT.fetch_add(1, Ordering::Relaxed);
                // A walk over all clients that does not go in order.
                let from = n.wrapping_mul(7919) % CLIENTS;
                let (debit, credit) = match (hot, n % 2) {
                    (false, _) => (from, (from + 1 + n % 97) % CLIENTS),
                    (true, 0) => (0, 1 + from % (CLIENTS - 1)),
                    (true, _) => (1 + from % (CLIENTS - 1), 0),
                };
                posted(
                    &format!("t{n}"),
                    &format!("client:c{debit}"),
                    &format!("client:c{credit}"),
                    1,
                    Code::Internal,
                )
            });
            books.commit(many(transfers.collect())).await.unwrap();
            size
        }
    })
    .await
}

/// What a withdrawal request does: a reservation and its record.
async fn holds(books: &Books, callers: u64, time: Duration) -> (f64, Vec<f64>) {
    let books = books.clone();
    load(callers, time, move |_| {
        let books = books.clone();
        async move {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let client = n.wrapping_mul(7919) % CLIENTS;
            let mut posting = one(common::hold(&format!("h{n}"), &format!("client:c{client}"), 1, None));
            posting.records.push(RecordChange {
                kind: RecordKind::Withdrawal,
                id: format!("w{n}"),
                expect: 0,
                state: "held".into(),
                client: Some(name(&format!("c{client}"))),
                external_id: Some(format!("order-{n}")),
                at: NOW,
                body: serde_json::json!({"to": "bcrt1qexample", "amount": "1", "note": "n".repeat(200)}),
            });
            books.commit(posting).await.unwrap();
            1
        }
    })
    .await
}

async fn load<F: Future<Output = u64> + Send + 'static>(
    callers: u64,
    time: Duration,
    work: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
) -> (f64, Vec<f64>) {
    let (start, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let (done, work) = (done.clone(), work.clone());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < time {
                let asked = Instant::now();
                done.fetch_add(work(caller).await, Ordering::Relaxed);
                times.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    (done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64(), times)
}

fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

/// The same work on books of so many rows: writing, reading, verifying, and what they take on disk.
async fn growth(database: &Database, rows: u64, time: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let books = Books::open(&database.address).await?;
    books.commit(wallet("main", Model::Two)).await?;
    let start = Instant::now();
    fill(&books, 0, rows.max(CLIENTS)).await?;
    let filled = rows.max(CLIENTS) as f64 / start.elapsed().as_secs_f64();
    let (rate, mut times) = transfers(&books, 64, false, time, 1).await;
    let p99 = percentile(&mut times, 99);
    let account = common::account("client:c77");
    let start = Instant::now();
    for i in 0..200 {
        books.as_of(&account, Moment::Position(i * rows / 200)).await?;
        books.lines(&account, Some(i * rows / 200), 20).await?;
    }
    let read = start.elapsed().as_secs_f64() * 1000.0 / 400.0;
    let start = Instant::now();
    let verified = books.verify(&[]).await?;
    let verify = verified.transfers as f64 / start.elapsed().as_secs_f64();
    let bytes = database.bytes() / verified.transfers;
    println!(
        "  {rows:>8} rows: {rate:>6.0} transfers/s (64 callers, p99 {p99:.2} ms), filled at {filled:>6.0}/s, as-of or \
         statement page {read:.2} ms, verify {verify:>6.0}/s, {bytes} B a transfer"
    );
    books.close().await;
    Ok(())
}
