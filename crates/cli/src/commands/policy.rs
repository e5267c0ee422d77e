//! `keyward policy`.

mod compare;

use std::path::Path;

use custody::Hash;
use custody::adoption::Ground;
use custody::canon;
use custody::document::Document;
use custody::effects::Sats;
use custody::genesis::{Genesis, delay_floor_s};
use custody::policy::Policy;
use custody::quorum::Groups;
use custody::rule_set::NEWEST;
use custody::statement::proposal_limit_bytes;
use policy::ground::{Assumed, warnings};
use policy::text::{PolicyFile, parse};
use serde::Serialize;

pub(crate) use compare::{allows, present, shown, text};

use super::{emit, print, propose};
use crate::args::{Global, Policy as Command};
use crate::failure::{Failure, Result};
use crate::home::{read, read_json};
use crate::session::{Session, now};

/// What an envelope needs beside its payload, in bytes: the statement around a document, signature and key id.
const AROUND_BYTES: usize = 1_024;

/// Largest document that an envelope holds under a rule set, in bytes: base64 makes four of three.
const fn document_limit_bytes(rule_set: u32) -> usize {
    proposal_limit_bytes(rule_set) / 4 * 3 - AROUND_BYTES
}

/// What was checked.
#[derive(Serialize)]
struct Checked {
    /// The hash of the words of the document.
    document: Hash,
    bytes: usize,
    rules: usize,
    calendars: usize,
    /// The rule set that brought all that stands in it.
    rule_set: u32,
    /// Whose groups and numbers it was checked against.
    against: String,
    /// Where the file assumes something else than what it was checked against.
    differs: Vec<String>,
    /// What is adopted and does nothing.
    warnings: Vec<String>,
}

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Check { file, genesis, against_log } => {
            check(global, &file, genesis.as_deref(), against_log)
        }
        Command::Show { file, .. } => show(global, file.as_deref()),
        Command::Schema => print(&policy::schema::text()),
        Command::Propose { file } => propose(global, Document::Policy(policy_file(&file)?.policy), &[]),
        Command::Explain { id } => compare::explain(global, &id),
        Command::Replay { since, file } => compare::replay(global, since, &policy_in(&file)?),
        Command::Diff { file } => compare::diff(global, &policy_in(&file)?),
    }
}

fn policy_file(path: &Path) -> Result<PolicyFile> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| Failure::content(path, e))?;
    parse(text).map_err(|fault| {
        let what = format!("{}: {fault}", path.display());
        Failure::usage(what, "mend the file there; docs/policy-reference.md says all that it can hold")
    })
}

/// Of a policy file, or of a document.
fn policy_in(path: &Path) -> Result<Policy> {
    if path.extension().is_none_or(|e| e != "json") {
        return Ok(policy_file(path)?.policy);
    }
    match read_json(path)? {
        Document::Policy(policy) => Ok(policy),
        other => Err(Failure::content(path, format!("this is a document of kind {}", other.kind().word()))),
    }
}

fn check(global: &Global, path: &Path, genesis: Option<&Path>, against_log: bool) -> Result<()> {
    let PolicyFile { policy, assumed } = policy_file(path)?;
    let differs = |real: Assumed| assumed.as_ref().map(|own| own.differs_from(&real)).unwrap_or_default();
    let (against, differs, warnings, under) = if against_log {
        let session = Session::open(global)?;
        let (state, genesis) = (session.replica.state(), session.genesis());
        adoptable(
            &policy,
            state,
            genesis.de_minimis,
            &genesis.network,
            &genesis.asset(),
            state.clock().rules,
        )?;
        let against = format!("what is in force at height {}", state.clock().height);
        (against, differs(Assumed::in_force(state)), warnings(&policy, state), state.clock().rules)
    } else if let Some(file) = genesis {
        let genesis = Genesis::parse(&read(file)?).map_err(|e| Failure::content(file, e))?;
        let (network, asset) = (&genesis.network, genesis.asset());
        adoptable(&policy, &genesis, genesis.de_minimis, network, &asset, genesis.rules)?;
        let against = format!("the genesis in {}", file.display());
        (against, differs(Assumed::at_genesis(&genesis)), warnings(&policy, &genesis), genesis.rules)
    } else if let Some(assumed) = &assumed {
        adoptable(&policy, assumed, assumed.de_minimis, &assumed.network, &assumed.asset(), NEWEST)?;
        (format!("the groups in {}", path.display()), Vec::new(), warnings(&policy, assumed), NEWEST)
    } else {
        let next = "write [groups] into it, or give --genesis FILE or --against-log";
        return Err(Failure::usage("the file says nothing of who is in which group", next));
    };
    let (rules, calendars, rule_set) = (policy.rules.len(), policy.calendars.len(), policy.since());
    let document = Document::Policy(policy);
    let bytes = canon::encode(&document).map_err(|e| Failure::content(path, e))?.len();
    let limit = document_limit_bytes(under);
    if bytes > limit {
        let what = format!("a document of {bytes} bytes: an envelope holds {limit} under rule set {under}");
        return Err(Failure::usage(what, "make fewer rules, or shorter calendars"));
    }
    let checked =
        Checked { document: document.hash(), bytes, rules, calendars, rule_set, against, differs, warnings };
    let mut text = format!(
        "sound       {rules} rules, {calendars} calendars, as of rule set {rule_set}\nagainst     {}\n\
         document    {bytes} of {limit} bytes, hash {}\n",
        checked.against, checked.document
    );
    checked.differs.iter().for_each(|differs| text.push_str(&format!("differs     {differs}\n")));
    checked.warnings.iter().for_each(|warning| text.push_str(&format!("warning     {warning}\n")));
    emit(global, &text, &checked)
}

fn adoptable(
    policy: &Policy,
    groups: &dyn Groups,
    de_minimis: Sats,
    network: &str,
    asset: &str,
    rule_set: u32,
) -> Result<()> {
    if policy.since() > rule_set {
        let what = format!("what came with rule set {} stands in it, in force is {rule_set}", policy.since());
        return Err(Failure::usage(what, "upgrade first, or write what that rule set knows"));
    }
    let delay_floor_s = delay_floor_s(network);
    Ok(policy.check(&Ground { groups, de_minimis, delay_floor_s, rule_set, asset, now: now() })?)
}

fn show(global: &Global, file: Option<&Path>) -> Result<()> {
    let policy = match file {
        Some(file) => policy_in(file)?,
        None => {
            let session = Session::online(global)?;
            let found = session.replica.state().policy().map(|(policy, _)| policy.clone());
            found.ok_or_else(|| Failure::usage("no policy is in force", "keyward status"))?
        }
    };
    let text = policy::print::toml(&policy);
    emit(global, &text, &Document::Policy(policy))
}
