//! Prints what things cost, each beside its floor: what nobody can do without, measured in the same run
//! on the same machine and disk. Nothing is asserted; a figure that is worth quoting is quoted with its
//! floor. See `docs/performance.md`.
//!
//! ```text
//! cargo build --release --workspace --bins
//! cargo run --release -p sim --bin keyward-figures [-- --quick]
//! ```

mod applying;
mod floor;
mod freezing;
mod host;
mod payments;
mod person;
mod report;
mod signing;
mod wired;

use std::process::ExitCode;

/// Whatever ends the program early.
type Failure = Box<dyn std::error::Error>;

/// How often each thing is measured.
#[derive(Clone, Copy, Debug)]
struct Runs {
    /// Whether this is only a look.
    quick: bool,
    /// Signatures in process.
    signatures: usize,
    /// Batches that are agreed on one after the other, and payments signed one after the other.
    over_the_wire: usize,
    /// Statements that are agreed on together: fewer than the 512 that a co-signer lets wait.
    together: usize,
    /// Signatures through processes when their rate is measured.
    sessions: usize,
    /// Freezes of each way to the co-signers.
    freezes: usize,
    /// Replays of each kind of statement.
    replays: usize,
    /// Payments from the last approval to the mempool.
    payments: usize,
    /// Times a device key is opened.
    openings: usize,
    /// Seconds for which idle processes are watched.
    idle_s: u64,
}

impl Runs {
    const FULL: Self = Self {
        quick: false,
        signatures: 200,
        over_the_wire: 100,
        together: 400,
        sessions: 300,
        freezes: 40,
        replays: 9,
        payments: 40,
        openings: 9,
        idle_s: 5,
    };

    /// To see that it works; the figures are worth little.
    const QUICK: Self = Self {
        quick: true,
        signatures: 20,
        over_the_wire: 10,
        together: 50,
        sessions: 32,
        freezes: 4,
        replays: 3,
        payments: 4,
        openings: 2,
        idle_s: 1,
    };
}

fn main() -> ExitCode {
    let runs = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => Runs::FULL,
        [quick] if quick == "--quick" => Runs::QUICK,
        _ => {
            eprintln!("keyward-figures [--quick]: prints what things cost, each beside its floor");
            return ExitCode::FAILURE;
        }
    };
    match measure(runs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyward-figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(runs: Runs) -> Result<(), Failure> {
    host::header(runs);
    report::part("in this process");
    report::columns();
    signing::in_process(runs)?;
    applying::replay(runs)?;
    report::part("three signers and a witness as processes, one machine, a data directory and TLS each");
    let parts = wired::measure(runs)?;
    report::part("node, server, signers and witness as processes; people's statements over TLS");
    payments::measure(runs, &parts)?;
    report::part("size");
    host::sizes();
    host::sources(runs);
    Ok(())
}
