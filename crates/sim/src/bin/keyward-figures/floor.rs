//! What nobody can do without: a disk that has the bytes, a peer that was heard, signatures checked.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use ed25519_dalek::Signer as _;
use rand_core::{OsRng, RngCore as _};
use wire::{Connection, Listener, TlsKey};

use crate::Failure;

/// Bytes of one record and of one message: a batch of one statement, a proposal of it, a vote with its
/// proof are all about so long.
const RECORD_BYTES: usize = 1024;

/// How long a loopback connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Appends to a file that are durable when they are done, and questions over TLS that are answered at
/// once: the bare means of one party.
pub(crate) struct Bare {
    directory: tempfile::TempDir,
    file: File,
    echo: Connection,
}

fn append(file: &mut File) -> Result<(), std::io::Error> {
    file.write_all(&[7; RECORD_BYTES])?;
    file.sync_data()
}

fn new_file(directory: &Path, name: usize) -> Result<File, std::io::Error> {
    File::options().create(true).append(true).open(directory.join(name.to_string()))
}

fn tls_key() -> Result<TlsKey, Failure> {
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    Ok(TlsKey::from_seed(seed.into())?)
}

impl Bare {
    /// On the file system where co-signers under test have their data directories.
    pub(crate) fn new() -> Result<Self, Failure> {
        let (here, there) = (tls_key()?, tls_key()?);
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(loopback, &there, Arc::new(|_| true))?;
        let address = listener.local_addr();
        thread::spawn(move || {
            let Ok(mut connection) = listener.accept() else { return };
            while let Ok(message) = connection.recv() {
                if connection.send(&message).is_err() {
                    return;
                }
            }
        });
        let echo = wire::connect(address, &here, there.public(), CONNECT_WITHIN)?;
        let directory = tempfile::TempDir::with_prefix("keyward-floor-")?;
        let file = new_file(directory.path(), 0)?;
        Ok(Self { directory, file, echo })
    }

    /// So many appends with fdatasync and so many round trips, one after the other.
    pub(crate) fn pattern(&mut self, appends: usize, round_trips: usize) -> Result<Duration, Failure> {
        let begun = Instant::now();
        for _ in 0..appends {
            append(&mut self.file)?;
        }
        for _ in 0..round_trips {
            self.echo.send(&[7; RECORD_BYTES])?;
            self.echo.recv()?;
        }
        Ok(begun.elapsed())
    }

    /// So many appends by each of several writers at once, who wait for each other after each: what one
    /// disk makes of it when all of them stand on it.
    pub(crate) fn sharing(&self, writers: usize, appends: usize) -> Result<Duration, Failure> {
        let barrier = Barrier::new(writers);
        let files: Result<Vec<File>, _> =
            (1..=writers).map(|name| new_file(self.directory.path(), name)).collect();
        let begun = Instant::now();
        let done = thread::scope(|scope| {
            let write = |mut file: File| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut done = true;
                    for _ in 0..appends {
                        // Nobody leaves early: the others would wait for ever.
                        done &= append(&mut file).is_ok();
                        barrier.wait();
                    }
                    done
                })
            };
            let writing: Vec<_> = files.into_iter().flatten().map(write).collect();
            writing.len() == writers && writing.into_iter().all(|thread| thread.join().unwrap_or(false))
        });
        if done { Ok(begun.elapsed()) } else { Err("the disk refuses".into()) }
    }
}

/// How often per second all cores together do a piece of work `each` times.
pub(crate) fn rate_of_all_cores<W: FnMut() -> bool + Send>(
    each: usize,
    work: impl Fn() -> Result<W, Failure>,
) -> Result<f64, Failure> {
    let cores = thread::available_parallelism()?.get();
    let works: Vec<W> = (0..cores).map(|_| work()).collect::<Result<_, _>>()?;
    let begun = Instant::now();
    let done = thread::scope(|scope| {
        let run = |mut work: W| scope.spawn(move || (0..each).all(|_| work()));
        let running: Vec<_> = works.into_iter().map(run).collect();
        running.into_iter().all(|thread| thread.join().unwrap_or(false))
    });
    let rate = (cores * each) as f64 / begun.elapsed().as_secs_f64();
    if done { Ok(rate) } else { Err("a floor could not be measured".into()) }
}

/// Strict Ed25519 verifications per second on all cores, of a message of `bytes` bytes.
pub(crate) fn verifications_per_s(bytes: usize) -> Result<f64, Failure> {
    const EACH: usize = 4_000;
    let key = sim::deployment::key("alice");
    let message = vec![7; bytes];
    let signature = key.sign(&message);
    let key = key.verifying_key();
    rate_of_all_cores(EACH, || {
        let message = message.clone();
        Ok(move || key.verify_strict(std::hint::black_box(&message), &signature).is_ok())
    })
}
