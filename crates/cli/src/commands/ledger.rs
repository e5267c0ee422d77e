//! `keyward ledger`: the clients' books, verified by somebody who does not run them.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use approver::time;
use custody::Hash;
use custody::name::Name;
use ledger::observation::{BOOKS_LOG, Entry, Observed};
use ledger::{Books, PAGE_LIMIT, Verified, VerifyError};
use serde::Serialize;

use super::emit;
use crate::args::{Global, Ledger as Command};
use crate::failure::{Class, Failure, Result};
use crate::session::Session;

/// What the server anchored last, under a final head that was verified here.
#[derive(Serialize)]
struct Anchor {
    /// How many batches.
    size: u64,
    /// The root of their tree.
    root: Hash,
    /// Who says so.
    by: String,
    /// Log time.
    at: String,
}

/// Books that are what was anchored.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    books: Verified,
    anchor: Option<Anchor>,
    /// Batches since the anchor.
    not_anchored: u64,
    /// Entries of the file, all of which agree.
    observations: Option<u64>,
}

/// What to do with books or files that are not what they should be.
const EVIDENCE: &str = "stop payouts, keep a copy as evidence, restore a database that passes";

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    let Command::Verify { books, observations } = command;
    let kept = observations.as_deref().map(entries).transpose()?;
    exists(&books)?;
    let session = Session::online(global)?;
    let name = Name::new(BOOKS_LOG);
    let found = name.and_then(|name| session.replica.state().observations().get(&name));
    let anchor = found.map(|found| Anchor {
        size: found.size,
        root: found.root,
        by: found.by.to_string(),
        at: time(found.at),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Class::System, error, "try again"))?;
    let report = runtime.block_on(verify(&books, anchor, kept.as_deref()))?;
    emit(global, &text(&report), &report)?;
    match report.anchor {
        Some(_) => Ok(()),
        None => Err(Failure::new(
            Class::Attention,
            "the log anchors no observation of these books: they agree with themselves, no more",
            "let the server's machine have the grant observe; it anchors the books once a minute",
        )),
    }
}

async fn verify(address: &str, anchor: Option<Anchor>, kept: Option<&[Entry]>) -> Result<Report> {
    let next = "give the address that the server was started with (--books)";
    let books =
        Books::open_to_read(address).await.map_err(|error| Failure::new(Class::System, error, next))?;
    let verified = books.verify(&[]).await.map_err(|error| match error {
        VerifyError::Fault(fault) => unverified(fault),
        error @ VerifyError::Database(_) => Failure::new(Class::System, error, next),
    })?;
    compare(&books, &verified, anchor.as_ref(), kept).await?;
    let anchored = anchor.as_ref().map_or(0, |anchor| anchor.size);
    books.close().await;
    Ok(Report {
        books: verified,
        anchor,
        not_anchored: verified.seq.saturating_sub(anchored),
        observations: kept.map(|kept| count(kept.len())),
    })
}

/// Compares books that agree with themselves with what was anchored and observed of them.
async fn compare(
    books: &Books,
    verified: &Verified,
    anchor: Option<&Anchor>,
    kept: Option<&[Entry]>,
) -> Result<()> {
    if let (Some(anchor), Some(kept)) = (anchor, kept) {
        authentic(anchor, kept)?;
    }
    let end = verified.seq;
    if let Some(anchor) = anchor.filter(|anchor| anchor.size > end) {
        let (behind, size) = (anchor.size - end, anchor.size);
        return Err(unverified(format!(
            "the database is {behind} batches behind the anchor: it ends at batch {end} and {size} were anchored at {}: \
             a restored backup",
            anchor.at
        )));
    }
    if let Some(last) = kept.and_then(<[Entry]>::last).filter(|last| last.seq > end) {
        let (behind, have) = (last.seq - end, last.seq);
        return Err(unverified(format!(
            "the database is {behind} batches behind the file: it ends at batch {end} and batch {have} was observed: a \
             restored backup"
        )));
    }
    let (mut log, mut before) = (Observed::default(), 0);
    let mut kept = kept.unwrap_or_default().iter();
    while log.size() < end {
        let page = books.batches(log.size() + 1, PAGE_LIMIT).await;
        let page = page.map_err(|error| Failure::new(Class::System, error, "try again"))?;
        for batch in page.iter().take_while(|batch| batch.seq <= end) {
            let entry = Entry::from(batch);
            if kept.next().is_some_and(|kept| *kept != entry) {
                return Err(unverified(format!(
                    "batch {} (positions {} to {}) was written anew: it is not what was observed when it was written",
                    batch.seq,
                    before + 1,
                    batch.last
                )));
            }
            log.push(entry).map_err(unverified)?;
            before = batch.last;
            let other = |anchor: &&Anchor| anchor.size == log.size() && anchor.root != log.root();
            if let Some(Anchor { size, at, .. }) = anchor.filter(other) {
                return Err(unverified(format!(
                    "the first {size} batches are others than those that were anchored at {at}: the database was written \
                     anew, or is another one; --observations FILE (the server's observations.jsonl) names the first"
                )));
            }
        }
        if page.is_empty() {
            return Err(unverified(format!("batch {} is missing", log.size() + 1)));
        }
    }
    Ok(())
}

/// Whether a file is the log that is anchored, as far as it reaches.
fn authentic(anchor: &Anchor, kept: &[Entry]) -> Result<()> {
    if count(kept.len()) < anchor.size {
        return Ok(());
    }
    let mut log = Observed::default();
    for entry in kept.iter().take_while(|entry| entry.seq <= anchor.size) {
        log.push(*entry).map_err(unverified)?;
    }
    if log.root() == anchor.root {
        return Ok(());
    }
    let what = format!(
        "the file is not the log that was anchored: its first {} entries have another root",
        anchor.size
    );
    Err(Failure::new(Class::Unverified, what, "get the file from another copy of the server's directory"))
}

fn unverified(what: impl std::fmt::Display) -> Failure {
    Failure::new(Class::Unverified, what, EVIDENCE)
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// A file that is not there would be made, and found to be in order.
fn exists(address: &str) -> Result<()> {
    let Some(path) = address.strip_prefix("sqlite:") else { return Ok(()) };
    let path = path.split('?').next().unwrap_or_default();
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    if path.is_file() { Ok(()) } else { Err(Failure::file(path, "there is no such database")) }
}

/// The entries of a copy of the server's file. A last line that was written by half is none.
fn entries(path: &Path) -> Result<Vec<Entry>> {
    let file = File::open(path).map_err(|error| Failure::file(path, error))?;
    let (mut reader, mut entries, mut line) = (BufReader::new(file), Vec::new(), Vec::new());
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(|error| Failure::file(path, error))?;
        let Some(text) = line.strip_suffix(b"\n") else { return Ok(entries) };
        let number = count(entries.len()) + 1;
        match Entry::read(text).filter(|entry| entry.seq == number) {
            Some(entry) => entries.push(entry),
            None => {
                let what = format!("{}: line {number} is no entry of an observation log", path.display());
                return Err(Failure::new(Class::Unverified, what, "get the file from another copy"));
            }
        }
    }
}

fn text(report: &Report) -> String {
    let Verified { seq, digest, transfers, changes, accounts } = &report.books;
    let mut out = String::new();
    let mut row = |field: &str, value: String| out.push_str(&format!("{field:<12}{value}\n"));
    row(
        "verified",
        format!("{seq} batches: {transfers} transfers, {changes} versions of records, {accounts} accounts"),
    );
    row("digest", format!("{digest} (batch {seq})"));
    match &report.anchor {
        Some(Anchor { size, by, at, .. }) => {
            row("anchored", format!("batch {size}, by {by} at {at}: the books agree"));
        }
        None => row("! anchored", "nothing".into()),
    }
    if report.not_anchored > 0 {
        row("! since", format!("{} batches are not anchored yet", report.not_anchored));
    }
    if let Some(entries) = report.observations {
        row("observed", format!("{entries} entries of the file agree"));
    }
    out
}
