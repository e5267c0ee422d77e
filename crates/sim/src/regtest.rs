//! A real Bitcoin Core node on regtest, for tests and the sandbox: started in a directory of the
//! caller's, reachable only from this machine, without wallet and without peers.
//!
//! A node ends with its [`Node`] and never touches another process: it is asked to stop over its own RPC,
//! and killed through its own handle if it does not.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use server::node::{Client, NodeError};

/// How long a node may take to answer after its start. On an idle machine it is half a second; the rest
/// is room for machines that are busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a node may take to write its state and end before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a starting or stopping node is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How often another port is tried when somebody else took the free one first.
const PORT_TRIES: u32 = 3;

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum RegtestError {
    /// No program to start.
    #[error(
        "no bitcoind: name it in the variable BITCOIND, or put it on PATH, or run ./check, which builds one"
    )]
    NoProgram,
    /// `BITCOIND` names nothing that can be started.
    #[error("BITCOIND names {path}, which is no file; correct or unset it")]
    NoSuchProgram {
        /// The path.
        path: PathBuf,
    },
    /// The directory or the process could not be made.
    #[error("cannot start bitcoind in {directory}")]
    Start {
        /// The data directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process ended instead of answering.
    #[error("bitcoind ended with {status}; the reason stands at the end of {log}: {last}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        log: PathBuf,
        /// The end of that.
        last: String,
    },
    /// The process runs and does not answer.
    #[error("bitcoind does not answer after {seconds} s; see {log}")]
    NotReady {
        /// The time it had, in seconds.
        seconds: u64,
        /// What it wrote.
        log: PathBuf,
        /// The last answer.
        source: NodeError,
    },
}

/// The `bitcoind` to use: what `BITCOIND` names, else the first one on `PATH`.
///
/// # Errors
/// When there is none; the text says what to do.
pub fn program() -> Result<PathBuf, RegtestError> {
    if let Some(path) = env::var_os("BITCOIND").filter(|path| !path.is_empty()).map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(RegtestError::NoSuchProgram { path }) };
    }
    env::var_os("PATH")
        .iter()
        .flat_map(env::split_paths)
        .map(|directory| directory.join("bitcoind"))
        .find(|path| path.is_file())
        .ok_or(RegtestError::NoProgram)
}

/// A running node. Ends when dropped.
#[derive(Debug)]
pub struct Node {
    program: PathBuf,
    directory: PathBuf,
    client: Client,
    process: Option<Child>,
}

impl Node {
    /// Starts a node in `directory` (made if missing; a chain that is there already goes on) and waits
    /// until it answers.
    ///
    /// # Errors
    /// When there is no program, or it does not come up.
    pub fn start(directory: impl Into<PathBuf>) -> Result<Self, RegtestError> {
        let directory = directory.into();
        let program = program()?;
        fs::create_dir_all(&directory)
            .and_then(|()| directory.canonicalize())
            .map_err(|source| RegtestError::Start { directory: directory.clone(), source })
            .and_then(|directory| Self::start_on_free_port(&program, &directory))
    }

    fn start_on_free_port(program: &Path, directory: &Path) -> Result<Self, RegtestError> {
        let mut tries = 1;
        loop {
            let port = free_port()
                .map_err(|source| RegtestError::Start { directory: directory.to_owned(), source })?;
            let cookie = directory.join("regtest").join(".cookie");
            let mut node = Self {
                program: program.to_owned(),
                directory: directory.to_owned(),
                client: Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), cookie),
                process: None,
            };
            match node.launch() {
                Ok(()) => return Ok(node),
                Err(RegtestError::Ended { .. }) if tries < PORT_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The client of its RPC.
    pub fn rpc(&self) -> &Client {
        &self.client
    }

    /// Its data directory, absolute.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Mines `blocks` blocks that pay to `address` (a regtest address), with all waiting transactions.
    /// A reward may be spent after 100 more blocks.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn mine(&self, blocks: u32, address: &str) -> Result<Vec<String>, NodeError> {
        self.client.call("generatetoaddress", json!([blocks, address]))
    }

    /// Mines one block with exactly these transactions (txids that wait, or raw ones as hexadecimal
    /// text), so that a test decides what confirms.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn mine_only(&self, address: &str, transactions: &[String]) -> Result<(), NodeError> {
        self.client.call("generateblock", json!([address, transactions])).map(|_: serde_json::Value| ())
    }

    /// Stops the node if it runs, having it write its state.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let asked = self.client.call::<String>("stop", json!([])).is_ok();
        let end = Instant::now() + STOP_TIMEOUT;
        while asked && Instant::now() < end {
            if !matches!(process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        // It may have ended on its own: then there is nothing to kill.
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Stops the node and starts it again on the same chain and the same port, with a new cookie.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart(&mut self) -> Result<(), RegtestError> {
        self.stop();
        self.launch()
    }

    fn launch(&mut self) -> Result<(), RegtestError> {
        let log = self.directory.join("bitcoind.log");
        let failed = |source| RegtestError::Start { directory: self.directory.clone(), source };
        let output = File::create(&log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let mut process = Command::new(&self.program)
            .arg(format!("-datadir={}", self.directory.display()))
            .arg(format!("-rpcport={}", self.client.address().port()))
            .args(ARGUMENTS)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(failed)?;

        let end = Instant::now() + START_TIMEOUT;
        let outcome = loop {
            if let Ok(Some(status)) = process.try_wait() {
                let last = last_line(&log);
                return Err(RegtestError::Ended { status, log, last });
            }
            match self.client.block_count() {
                Ok(_) => break Ok(()),
                Err(source) if Instant::now() >= end => {
                    break Err(RegtestError::NotReady { seconds: START_TIMEOUT.as_secs(), log, source });
                }
                Err(_) => thread::sleep(POLL),
            }
        };
        // From here on dropping `self` ends the process.
        self.process = Some(process);
        outcome
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What every node is started with, besides its directory and port.
const ARGUMENTS: &[&str] = &[
    "-regtest",
    "-server=1",
    // Reachable from this machine only; no peers, no look-ups.
    "-rpcbind=127.0.0.1",
    "-rpcallowip=127.0.0.1",
    "-listen=0",
    "-connect=0",
    "-dnsseed=0",
    "-fixedseeds=0",
    "-discover=0",
    "-natpmp=0",
    // Small: many nodes run beside the tests of two cores.
    "-dbcache=16",
    "-maxmempool=50",
    "-par=1",
    "-rpcthreads=4",
    "-blockfilterindex=0",
    "-txindex=0",
    "-printtoconsole=1",
    "-nodebuglogfile",
];

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let mut errors = text.lines().filter(|line| line.contains("Error"));
    errors.next_back().or(text.lines().next_back()).unwrap_or("(nothing)").to_owned()
}
