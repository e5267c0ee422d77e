//! `keyward-signer`: one co-signer, with a share or as a witness.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod command;

use std::process::ExitCode;

use command::{Failure, Options, init, rekey, run};
use keys::locked::{WipingAllocator, harden_process};

/// Whatever a library leaves in memory that it frees is wiped: shares that are dealt anew pass through some.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

const HELP: &str = "\
keyward-signer: a co-signer of a Keyward deployment

  keyward-signer init --dir DIR --name NAME --secret-fd N --card FILE [--witness]
      makes the keys of a new co-signer and writes its public card, for genesis or to join

  keyward-signer run --dir DIR --genesis FILE --genesis-hash HEX --listen ADDRESS --secret-fd N
                     [--restored] [--pinned-head FILE] [--name NAME [--first-start]]
                     [--tpm PATH [--tpm-index 0xHEX]] [--ready-file FILE]
      runs it; --restored says that DIR may be an older copy; --pinned-head enters a final head (the
      checkpoint of an export, brought by people): it takes no part before its log has passed it; --name
      is that of a co-signer that joins later, which genesis does not know: it needs a pinned head, and
      --first-start says that no process ever ran with these keys, so that it votes sooner;
      --tpm counts what it writes in a TPM 2.0 (/dev/tpmrm0), so that it notices an older copy by itself

  keyward-signer rekey --dir DIR --secret-fd N --card FILE [--name NAME]
      makes the next statement, frame and sealing keys of a co-signer that does not run, and writes its
      next card, to be proposed and approved; running it again makes others

The secret that unlocks DIR is read from the file descriptor N to its end: 16 bytes or more, best 32
random ones. It is never stored; without it a copy of DIR opens nothing.";

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyward-signer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<(), Failure> {
    harden_process()?;
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let mut options = match command.as_str() {
        "init" | "run" | "rekey" => {
            let rest: Vec<String> = arguments.collect();
            if rest.iter().any(|a| a == "--help") {
                println!("{HELP}");
                return Ok(());
            }
            Options::parse(rest.into_iter())?
        }
        "--help" | "help" | "" => {
            println!("{HELP}");
            return Ok(());
        }
        "--version" => {
            println!("keyward-signer {}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        other => return Err(format!("there is no command {other:?}; see --help").into()),
    };
    match command.as_str() {
        "init" => init(&mut options),
        "rekey" => rekey(&mut options),
        _ => run(&mut options),
    }
    .and_then(|()| options.finish())
}
