//! Connections that break in the worst moment, disks that are full, databases that must not be written.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use common::postgres::Cluster;
use common::*;
use ledger::{Books, CommitError, DatabaseError, Model, OpenError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// What the proxy does with the next `COMMIT`.
#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(u8)]
enum Cut {
    /// Pass everything on.
    Nothing,
    /// Drop the connection instead of passing it on: nothing was written.
    Before,
    /// Pass it on, wait for the answer, and drop that with the connection: it was written.
    After,
    /// As before and after, and then nobody can connect.
    BeforeAndDown,
    AfterAndDown,
    /// Nobody can connect, and nobody stays connected.
    Down,
}

/// Between the books and PostgreSQL.
struct Proxy {
    directory: TempDir,
    cut: Arc<AtomicU8>,
}

impl Proxy {
    fn start(cluster: &Cluster) -> Self {
        let directory = TempDir::with_prefix("keyward-proxy").unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let cut = Arc::new(AtomicU8::new(Cut::Nothing as u8));
        let (server, shared) = (cluster.directory().join(".s.PGSQL.5432"), cut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.load(Ordering::SeqCst) != Cut::Down as u8 {
                    tokio::spawn(relay(client, server.clone(), shared.clone()));
                }
            }
        });
        Self { directory, cut }
    }

    fn set(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }
}

async fn relay(mut client: UnixStream, server: PathBuf, shared: Arc<AtomicU8>) {
    let mut server = UnixStream::connect(server).await.unwrap();
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(n @ 1..) = read else { return };
                let cut = shared.load(Ordering::SeqCst);
                if cut == Cut::Down as u8 {
                    return;
                }
                let is_commit = from_client[..n].windows(7).any(|w| w == b"COMMIT\0");
                if is_commit && cut != Cut::Nothing as u8 {
                    let after = cut == Cut::After as u8 || cut == Cut::AfterAndDown as u8;
                    let down = cut == Cut::BeforeAndDown as u8 || cut == Cut::AfterAndDown as u8;
                    shared.store(if down { Cut::Down } else { Cut::Nothing } as u8, Ordering::SeqCst);
                    if after {
                        server.write_all(&from_client[..n]).await.unwrap();
                        let answered = server.read(&mut from_server).await.unwrap();
                        assert!(answered > 0);
                    }
                    return;
                }
                if server.write_all(&from_client[..n]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(n @ 1..) = read else { return };
                if client.write_all(&from_server[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The connection is cut around `COMMIT`. If it comes back soon the caller notices nothing; if not, the
/// result is unknown, and the same posting again gives the right answer. Entered once in every case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_is_lost_is_found_again() {
    let cluster = Cluster::shared();
    let address = cluster.database();
    let proxy = Proxy::start(cluster);
    let address = cluster.address(address.rsplit('/').next().unwrap(), proxy.directory.path());
    let books = Books::open(&address).await.unwrap();
    commit(&books, wallet("main", Model::Two)).await;
    let mut entered = 0;
    for (i, cut) in [Cut::Before, Cut::After, Cut::BeforeAndDown, Cut::AfterAndDown].into_iter().enumerate() {
        let posting = one(deposit(&format!("d{i}"), "client:a", 1));
        proxy.set(cut);
        let first = books.commit(posting.clone()).await;
        match cut {
            Cut::BeforeAndDown | Cut::AfterAndDown => {
                let Err(CommitError::Database(DatabaseError::Unreachable(_))) = first else {
                    panic!("{cut:?}: {first:?}");
                };
                // Still down: still unknown. A reader is told as well.
                assert!(books.commit(posting.clone()).await.is_err());
                proxy.set(Cut::Nothing);
                let again = commit(&books, posting).await;
                assert_eq!(again.repeated, cut == Cut::AfterAndDown, "{cut:?}");
            }
            _ => assert_eq!(first.unwrap().repeated, cut == Cut::After, "{cut:?}"),
        }
        entered += 1;
        assert_eq!(balance(&books, "client:a").await, entered, "{cut:?}");
    }
    books.verify(&[]).await.unwrap();
}

#[tokio::test]
async fn addresses_that_are_none() {
    let directory = TempDir::new().unwrap();
    let error = async |address: &str| Books::open(address).await.unwrap_err();
    assert_eq!(error("").await, OpenError::Address);
    assert_eq!(error("mysql://localhost/x").await, OpenError::Address);
    assert_eq!(error("/var/lib/books.db").await, OpenError::Address);
    assert_eq!(error("sqlite::memory:").await, OpenError::InMemory);
    assert_eq!(error("sqlite://x?mode=memory").await, OpenError::InMemory);
    let missing = format!("sqlite:{}/no/such/books.db", directory.path().display());
    assert!(matches!(error(&missing).await, OpenError::Database(DatabaseError::Unreachable(_))));
    let nobody = format!("postgres://u:secret@{}/x", directory.path().to_str().unwrap().replace('/', "%2F"));
    let refused = error(&nobody).await;
    assert!(matches!(refused, OpenError::Database(DatabaseError::Unreachable(_))), "{refused:?}");
    assert!(!format!("{refused} {refused:?}").contains("secret"));
    let file = directory.path().join("text.db");
    std::fs::write(&file, "this is no database, but it is long enough to look like one".repeat(40)).unwrap();
    let refused = error(&format!("sqlite:{}", file.display())).await;
    assert!(matches!(refused, OpenError::Database(DatabaseError::Damaged { .. })), "{refused:?}");
}

/// Tables of a release that this one does not know.
async fn tables_of_another_release_are_refused(database: Database) {
    Books::open(&database.address).await.unwrap().close().await;
    let newer = "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time \
                 FROM _sqlx_migrations";
    database.tamper(newer).await;
    assert!(matches!(Books::open(&database.address).await, Err(OpenError::Schema(_))));
    database.tamper("DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    Books::open(&database.address).await.unwrap().close().await;
}

on_both_engines!(tables_of_another_release_are_refused);

/// Acknowledging before writing, and an order of texts that changes under an index, are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_could_lose_something_is_refused() {
    let cluster = Cluster::start();
    let address = cluster.database();
    for setting in ["fsync", "full_page_writes"] {
        cluster.sql("postgres", &format!("ALTER SYSTEM SET {setting} = off"));
        cluster.sql("postgres", "SELECT pg_reload_conf()");
        while cluster.sql("postgres", &format!("SHOW {setting}")).trim() != "off" {}
        assert!(matches!(Books::open(&address).await, Err(OpenError::NotDurable { .. })), "{setting}");
        cluster.sql("postgres", &format!("ALTER SYSTEM RESET {setting}"));
        cluster.sql("postgres", "SELECT pg_reload_conf()");
        while cluster.sql("postgres", &format!("SHOW {setting}")).trim() != "on" {}
        Books::open(&address).await.unwrap().close().await;
    }
    // Even if the database says otherwise, the books wait for the disk.
    cluster.sql("postgres", "ALTER SYSTEM SET synchronous_commit = off");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    cluster.sql(
        "postgres",
        "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C'",
    );
    let icu = cluster.address("icu", cluster.directory());
    assert!(matches!(Books::open(&icu).await, Err(OpenError::Collation { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_database_that_is_read_only_says_so() {
    let cluster = Cluster::shared();
    let address = cluster.database();
    let name = address.rsplit('/').next().unwrap().to_owned();
    let books = Books::open(&address).await.unwrap();
    commit(&books, wallet("main", Model::Two)).await;
    commit(&books, one(deposit("d1", "client:a", 1))).await;
    let switch = |on: bool| {
        cluster.sql("postgres", &format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}"));
        cluster.sql(
            "postgres",
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        );
    };
    switch(true);
    let next = one(deposit("d2", "client:a", 1));
    let refused = books.commit(next.clone()).await;
    assert!(matches!(refused, Err(CommitError::Database(DatabaseError::ReadOnly(_)))), "{refused:?}");
    assert!(matches!(Books::open(&address).await, Err(OpenError::Database(DatabaseError::ReadOnly(_)))));
    assert_eq!(balance(&books, "client:a").await, 1);
    switch(false);
    assert!(!commit(&books, next).await.repeated);
    assert_eq!(balance(&books, "client:a").await, 2);
}

/// Tells the child of the next test where its small disk is.
const CHILD: &str = "KEYWARD_LEDGER_TEST_DISK";

/// A file system of 1.5 MB, in a mount namespace of the child's own.
#[test]
fn a_full_or_read_only_disk_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let script = r#"set -e; mount -t tmpfs -o size=1500k tmpfs "$1"; exec "$0" --exact child --nocapture"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(directory.path())
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("the small disk passed"), "{text}");
}

/// Not a test of its own: what the one before runs on its small disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let address = format!("sqlite:{directory}/books.db");
    let ballast = format!("{directory}/ballast");
    std::fs::write(&ballast, vec![1; 600 * 1024]).unwrap();
    let books = Books::open(&address).await.unwrap();
    commit(&books, wallet("main", Model::Two)).await;
    let mut entered = 0;
    let refused = loop {
        let posting = one(deposit(&format!("d{entered}"), "client:a", 1));
        match books.commit(posting.clone()).await {
            Ok(_) => entered += 1,
            Err(error) => break (posting, error),
        }
    };
    let (posting, error) = refused;
    assert!(matches!(error, CommitError::Database(DatabaseError::Full(_))), "{error:?}");
    assert!(error.to_string().contains("free space"), "{error}");
    assert_eq!(balance(&books, "client:a").await, entered);
    assert!(books.commit(posting.clone()).await.is_err());
    std::fs::remove_file(&ballast).unwrap();
    assert!(!commit(&books, posting).await.repeated);
    entered += 1;
    assert_eq!(balance(&books, "client:a").await, entered);
    books.verify(&[]).await.unwrap();
    books.close().await;

    // The threads of closed connections let their files go a moment later; until then the disk is busy.
    let remount = |how: &str| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let done = || {
            let status = Command::new("mount").args(["-o", &format!("remount,{how}"), &directory]).status();
            status.unwrap().success()
        };
        while !done() {
            assert!(std::time::Instant::now() < until, "the disk stays busy");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    remount("ro");
    let error = Books::open(&address).await.unwrap_err();
    let known =
        matches!(error, OpenError::Database(DatabaseError::ReadOnly(_) | DatabaseError::Unreachable(_)));
    assert!(known, "{error:?}");
    assert!(error.to_string().contains("rights on it"), "{error}");
    remount("rw");
    let books = Books::open(&address).await.unwrap();
    assert_eq!(balance(&books, "client:a").await, entered);
    books.verify(&[]).await.unwrap();
    println!("the small disk passed");
}
