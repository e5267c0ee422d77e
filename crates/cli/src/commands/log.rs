//! `keyward log`.

use std::path::PathBuf;

use custody::batch::Batch;
use evidence::{LogKeys, VerifyError, tiles, verify_log};
use serde::Serialize;

use super::{emit, print};
use crate::args::{Global, Log as Command};
use crate::failure::{Class, Failure, Result};
use crate::home::{read, write};
use crate::session::Session;

#[derive(Serialize)]
struct Exported {
    export: PathBuf,
    entries: usize,
    keys: Option<PathBuf>,
}

/// A log that is not what it should be.
pub(crate) fn unverified(error: VerifyError) -> Failure {
    match &error {
        VerifyError::Keys(_) => Failure::usage(&error, "get the keys file again from somebody you trust"),
        VerifyError::Export(tiles::ExportError::Io { .. }) => {
            Failure::new(Class::System, &error, "check the directory; get the export again")
        }
        _ => {
            let next =
                "do not rely on this log: get another copy, compare checkpoints, keep this one as evidence";
            Failure::new(Class::Unverified, &error, next)
        }
    }
}

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Export { dir, keys } => {
            let session = Session::online(global)?;
            let batches = session
                .batches()
                .iter()
                .map(|bytes| Batch::parse(bytes))
                .collect::<std::result::Result<Vec<_>, _>>()?;
            let entries: Vec<Vec<u8>> = batches.iter().flat_map(Batch::leaves).collect();
            if session.replica.note().is_empty() {
                return Err(Failure::usage(
                    "the log is empty: there is no head to export",
                    "wait for the first batch",
                ));
            }
            let genesis = session.genesis().bytes();
            tiles::write_export(&dir, &entries, session.replica.note(), &genesis)
                .map_err(|e| Failure::new(Class::System, e, "choose another directory"))?;
            if let Some(keys) = &keys {
                write(
                    keys,
                    LogKeys::of_genesis(session.genesis()).map_err(unverified)?.to_text().as_bytes(),
                )?;
            }
            let text = format!("exported    {} entries to {}\n", entries.len(), dir.display());
            emit(global, &text, &Exported { export: dir, entries: entries.len(), keys })
        }
        Command::Keys => {
            let session = Session::open(global)?;
            print(&LogKeys::of_genesis(session.genesis()).map_err(unverified)?.to_text())
        }
        Command::Verify { export, keys, against } => {
            let text = |path: &PathBuf| read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let keys = LogKeys::parse(&text(&keys)?).map_err(unverified)?;
            let against = against.as_ref().map(text).transpose()?;
            let log = verify_log(&export, &keys, against.as_deref()).map_err(unverified)?;
            emit(global, &format!("{}verified\n", log.report), &log.report)
        }
    }
}
