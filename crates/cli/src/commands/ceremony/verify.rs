//! `keyward ceremony verify`: the report of a ceremony, from its file alone.

use std::fmt::Write as _;
use std::path::Path;

use approver::{harmless, time};
use ceremony::report::{Against, Report, ReportError, Verified, verify};
use ceremony::run::{Answer, Status};
use ceremony::script::Medium;
use custody::Hash;
use custody::genesis::Genesis;
use custody::name::Name;
use serde::Serialize;

use super::{emit, read_record};
use crate::args::Global;
use crate::failure::{Class, Failure, Result};
use crate::home::read;

#[derive(Serialize)]
struct Shown<'a> {
    hash: Hash,
    signers: &'a [Name],
    genesis_compared: bool,
    script_compared: bool,
    record_compared: bool,
    report: &'a Report,
}

pub(super) fn run(
    global: &Global,
    report: &Path,
    record: Option<&Path>,
    genesis: Option<&Path>,
    script: Option<Hash>,
) -> Result<()> {
    let record = record.map(read_record).transpose()?;
    let genesis = genesis.map(|path| Genesis::parse(&read(path)?).map_err(Failure::from)).transpose()?;
    let against = Against { genesis: genesis.as_ref(), script, record: record.as_ref() };
    let verified = verify(&read(report)?, &against).map_err(unverified)?;
    let shown = Shown {
        hash: verified.hash,
        signers: &verified.signers,
        genesis_compared: genesis.is_some(),
        script_compared: script.is_some(),
        record_compared: record.is_some(),
        report: &verified.report,
    };
    emit(global, &text(&verified, &shown), &shown)
}

fn unverified(error: ReportError) -> Failure {
    Failure::new(
        Class::Unverified,
        error,
        "rely on nothing in it; ask the people of the ceremony for the report as they signed it",
    )
}

fn text(verified: &Verified, shown: &Shown<'_>) -> String {
    let Report { script, .. } = &verified.report;
    let report = &verified.report;
    let mut out = String::new();
    // Writing into a string does not fail.
    let mut line = |head: &str, what: String| {
        let _ = writeln!(out, "{head:<12}{}", harmless(&what));
    };
    let status = if report.status == Status::Complete {
        "complete"
    } else {
        "ABORTED: it made nothing that may be used"
    };
    line("report", verified.hash.to_string());
    line("ceremony", format!("{}, {status}", word(&script.kind)));
    if let Some(other) = report.supersedes() {
        line(
            "contested",
            format!(
                "report {other} of it was closed before: if everybody signed that one, it stands, and not this one"
            ),
        );
    }
    if report.rehearsal {
        line("rehearsal", format!("coins of {} have no value", script.network));
    }
    line("title", script.title.clone());
    line("place", script.place.clone());
    line("script", verified.report.script_hash.to_string() + compared(shown.script_compared));
    line("genesis", script.genesis.to_string() + compared(shown.genesis_compared));
    line(
        "held",
        format!("{} to {}, by the clock of the machine", time(report.began_at), time(report.ended_at)),
    );
    for person in &script.people {
        let roles: Vec<String> = person.roles.iter().map(word).collect();
        let signed = if verified.signers.contains(&person.id) { "signed" } else { "DID NOT SIGN" };
        line(
            "person",
            format!(
                "{}: {}, {}, {}; {signed}",
                person.id,
                person.name,
                person.organisation,
                roles.join(" and ")
            ),
        );
    }
    if let Some((_, room)) = report.rooms().last() {
        let facts = &room.facts;
        line("program", format!("SHA-256 {}, of {} packages", facts.program, facts.packages.len()));
        line("system", format!("{}; {}; {}", facts.os, facts.kernel, facts.product));
    }
    for source in report.entropy().iter().flat_map(|statement| &statement.sources) {
        line(
            "entropy",
            format!("{}: {} symbols, credited with {} bits", source.source, source.symbols, source.bits),
        );
    }
    if report.combinations > 0 {
        line(
            "verified",
            format!("all {} combinations of components rebuilt the secret", report.combinations),
        );
    }
    for made in &report.components {
        let media: Vec<String> = made.verified.iter().map(Medium::to_string).collect();
        line(
            "component",
            format!(
                "{}: {}, at {}, {}, seal {}; {} read back; health key {}",
                made.component,
                made.holder,
                made.site,
                made.container,
                made.seal,
                media.join(" and "),
                made.health
            ),
        );
    }
    for account in &report.accounts {
        let public: String = account.account.public.0.iter().map(|byte| format!("{byte:02x}")).collect();
        line("account", format!("{}  {public}", account.path));
    }
    for found in &report.findings {
        let answer = match found.answer {
            Answer::Open | Answer::Aborted => "open when it was aborted",
            Answer::Mended => "mended",
            Answer::Deviated => "deviation",
        };
        line(
            "finding",
            format!("{} at {}: {}; {answer}", found.finding.kind, found.step, found.finding.detail),
        );
    }
    for (found, deviation) in report.deviations() {
        let people: Vec<&str> = deviation.signatures.iter().map(|signed| signed.person.as_str()).collect();
        line(
            "deviation",
            format!("{}: {} signed: {}", found.finding.kind, people.join(", "), deviation.reason),
        );
    }
    if shown.record_compared {
        line("record", "of the same ceremony".into());
    }
    out
}

/// A value as it stands in files.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn compared(compared: bool) -> &'static str {
    if compared { ", as given" } else { ", not compared: give it to be sure" }
}
