//! `keyward ceremony`: the record goes to the log, the sealed shares to their holders, and anybody verifies
//! the report.

mod verify;

use std::path::Path;

use custody::document::{CeremonyRecord, Document, Kind};
use custody::name::Name;
use custody::{Blob, Hash};
use serde::{Deserialize, Serialize};

use super::{emit, propose_in};
use crate::args::{Ceremony as Command, Global};
use crate::failure::{Class, Failure, Result};
use crate::home::read_json;
use crate::session::Session;

/// The file of sealed shares that `keyward-ceremony` writes beside the record.
const SHARES_FILE: &str = "shares.json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedShares {
    genesis: Hash,
    ceremony: Hash,
    shares: Vec<SealedShare>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedShare {
    holder: Name,
    slot: u32,
    sealed: Blob,
}

#[derive(Serialize)]
struct Kept {
    ceremony: Hash,
    kept: Vec<(Name, u32, Option<String>)>,
}

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Submit { record, shares } => {
            let record = read_record(&record)?;
            let mut session = Session::online(global)?;
            let ceremony = record.id(&session.replica.state().genesis_hash());
            let document = Document::Ceremony(record);
            let (kind, subject) = (document.kind(), document.subject());
            if session.replica.state().document(kind, &subject).is_none() {
                eprintln!("ceremony    {ceremony}");
                propose_in(&mut session, document, &[])?;
            }
            match shares {
                Some(dir) if session.replica.state().document(kind, &subject).is_some() => {
                    pass_on(&mut session, ceremony, &dir)
                }
                Some(_) => {
                    eprintln!("the shares wait until the record is in force: then keyward ceremony shares");
                    Ok(())
                }
                None => Ok(()),
            }
        }
        Command::Shares { record, shares } => {
            let record = read_record(&record)?;
            let mut session = Session::online(global)?;
            let state = session.replica.state();
            let ceremony = record.id(&state.genesis_hash());
            if state.document(Kind::Ceremony, &Document::Ceremony(record).subject()).is_none() {
                let next =
                    "holders take shares only of a record in force: keyward ceremony submit, then approve";
                return Err(Failure::new(Class::Refused, "the record is not in force", next));
            }
            pass_on(&mut session, ceremony, &shares)
        }
        Command::Verify { report, record, genesis, script } => {
            verify::run(global, &report, record.as_deref(), genesis.as_deref(), script)
        }
    }
}

fn read_record(path: &Path) -> Result<CeremonyRecord> {
    match read_json::<Document>(path)? {
        Document::Ceremony(record) => Ok(record),
        other => Err(Failure::content(path, format!("a document of kind {}", other.kind().word()))),
    }
}

fn pass_on(session: &mut Session<'_>, ceremony: Hash, dir: &Path) -> Result<()> {
    let path = dir.join(SHARES_FILE);
    let file: SealedShares = read_json(&path)?;
    if (file.genesis, file.ceremony) != (session.replica.state().genesis_hash(), ceremony) {
        return Err(Failure::content(&path, "the shares are of another ceremony or deployment"));
    }
    let shares = file.shares.into_iter().map(|s| (s.holder, s.slot, s.sealed)).collect();
    let kept = session.pass_shares(ceremony, shares)?;
    let mut text = format!("ceremony    {ceremony}\n");
    for (holder, slot, problem) in &kept {
        let word = problem.as_deref().map_or_else(|| "kept".to_owned(), approver::plain);
        text.push_str(&format!("account {slot:<4}{holder}: {word}\n"));
    }
    let problems = kept.iter().filter(|(_, _, problem)| problem.is_some()).count();
    emit(session.global, &text, &Kept { ceremony, kept })?;
    if problems > 0 {
        let what = format!("{problems} shares were not kept");
        return Err(Failure::new(
            Class::Attention,
            what,
            "see above; pass them on again once that is mended",
        ));
    }
    Ok(())
}
