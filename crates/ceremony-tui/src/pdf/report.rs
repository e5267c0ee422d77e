//! The report of a ceremony, to be filed (DACS GEN-09). What counts is the JSON file; these pages say the same and name
//! its hash.

use ceremony::report::{Made, Report, SignedReport};
use ceremony::room::Room;
use ceremony::run::{Deviation, Found, Happening, Outcome, Status};
use ceremony::script::{Brought, Person};
use ceremony::sheet::Paper;
use krilla::metadata::{DateTime, Metadata};

use super::PdfError;
use super::page::{Cell, Column, Frame, Pages, Piece, Signer, code, plain};
use super::runbook::{hardware, people};
use super::words::{civil, clock, kind, named, roles, time};

/// Prints a report with its signatures.
///
/// # Errors
/// See [`PdfError`].
pub fn report(signed: &SignedReport, paper: Paper) -> Result<Vec<u8>, PdfError> {
    let report = &signed.report;
    let script = &report.script;
    let title = format!("Report: {}", script.title);
    let foot = format!("report {}", report.hash());
    let mut pages = Pages::new(Frame { title: title.clone(), foot, rehearsal: report.rehearsal }, paper)?;
    let outcome = if report.status == Status::Complete { "complete" } else { "ABORTED" };
    pages.title(&title, &format!("{} · {} · {outcome}", kind(script.kind), script.place));
    pages.paragraph(
        "These pages are made from report.json, which has the hash at their foot, holds everything that stands here, \
         and is what people signed. Verify it with: keyward ceremony verify report.json. All times are UTC, by the \
         clock of the machine.",
    );
    summary(&mut pages, report);
    people(&mut pages, script);
    components(&mut pages, report);
    accounts(&mut pages, report);
    entropy(&mut pages, report);
    findings(&mut pages, report);
    hardware(&mut pages, script);
    if let Some((_, room)) = report.rooms().last() {
        machine(&mut pages, room);
    }
    operations(&mut pages, report);
    signatures(&mut pages, signed);
    let (year, month, day) = civil(report.ended_at);
    let (hour, minute, second) = clock(report.ended_at);
    let date = DateTime::new(year).month(month).day(day).hour(hour).minute(minute).second(second);
    let date = date.utc_offset_hour(0).utc_offset_minute(0);
    pages.finish(Metadata::new().title(title).language("en".to_owned()).creation_date(date), true)
}

fn summary(pages: &mut Pages, report: &Report) {
    let script = &report.script;
    let rooms = report.rooms().count();
    let mut fields = vec![
        ("Outcome", Piece::bold(if report.status == Status::Complete { "complete" } else { "aborted" })),
        ("Began", Piece::plain(time(report.began_at))),
        ("Ended", Piece::plain(time(report.ended_at))),
        ("Network", Piece::code(script.network.as_str())),
        ("Tier", Piece::plain(named(&script.tier))),
        ("Genesis", Piece::code(script.genesis.to_string())),
        ("Script", Piece::code(report.script_hash.to_string())),
        ("Report", Piece::code(report.hash().to_string())),
    ];
    if let Some(nonce) = report.nonce {
        fields.push(("Nonce", Piece::code(nonce.to_string())));
    }
    if script.kind.makes_components() {
        let said = format!("{} combinations of components rebuilt the secret", report.combinations);
        fields.push(("Combinations", Piece::plain(said)));
    }
    let mut outcomes = report.operations().map(|(_, _, outcome)| outcome);
    if let Some(Outcome::SharesSealed { sets, .. }) =
        outcomes.find(|it| matches!(it, Outcome::SharesSealed { .. }))
    {
        fields.push((
            "Co-signers",
            Piece::plain(format!("{sets} sets of co-signers were seen to sign, over all accounts")),
        ));
    }
    if let Some(recording) = &script.recording {
        fields.push((
            "Recording",
            Piece::plain(format!("{}; seal of the medium {}", recording.how, recording.seal)),
        ));
    }
    fields.push(("Inspections", Piece::plain(format!("{rooms}; findings: {}", report.findings.len()))));
    pages.heading("Summary");
    pages.fields(fields);
}

fn components(pages: &mut Pages, report: &Report) {
    if !report.components.is_empty() {
        pages.heading("Components made");
        let columns = [
            Column("Component, holder", 0.16),
            Column("Where", 0.22),
            Column("Health key · SHA-256 of the file", 0.51),
            Column("Verified", 0.11),
        ];
        let row = |made: &Made| {
            let verified: Vec<String> = made.verified.iter().map(named).collect();
            vec![
                Cell::Text(vec![Piece::bold(made.component.to_string()), Piece::plain(made.holder.as_str())]),
                Cell::Text(vec![
                    Piece::plain(format!("{}, {}", made.site, made.container)),
                    Piece::plain(format!("seal {}", made.seal)),
                ]),
                Cell::Text(vec![Piece::code(made.health.to_string()), Piece::code(made.file.to_string())]),
                plain(verified.join(", ")),
            ]
        };
        pages.table(&columns, report.components.iter().map(row).collect());
    }
    if let Some(held) = &report.script.held {
        pages.heading("Components brought");
        let row = |brought: &Brought| {
            let holder = held.components.member(brought.component).map(|member| member.holder.as_str());
            vec![
                Cell::Text(vec![Piece::bold(brought.component.to_string())]),
                plain(holder.unwrap_or_default()),
                code(brought.health.to_string()),
            ]
        };
        let columns = [Column("Component", 0.16), Column("Holder", 0.24), Column("Health key", 0.6)];
        pages.table(&columns, held.brought.iter().map(row).collect());
        pages.fields(vec![("Made by", Piece::code(format!("report {}", held.report)))]);
    }
}

fn accounts(pages: &mut Pages, report: &Report) {
    if report.accounts.is_empty() {
        return;
    }
    pages.heading("Accounts");
    pages.paragraph("Rebuilt from what was read back from the components; each key signed a challenge.");
    let row = |account: &ceremony::report::Account| {
        let public = account.account.public.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        vec![
            code(account.path.as_str()),
            Cell::Text(vec![Piece::code(public), Piece::code(account.account.chain_code.to_string())]),
        ]
    };
    let columns = [Column("Path", 0.25), Column("Public key · chain code", 0.75)];
    pages.table(&columns, report.accounts.iter().map(row).collect());
}

fn entropy(pages: &mut Pages, report: &Report) {
    let Some(stated) = report.entropy() else { return };
    pages.heading("Randomness");
    pages.paragraph(
        "Each source passed the repetition count and the adaptive proportion test of NIST SP 800-90B; they are mixed by \
         HKDF-SHA256, so that one good source is enough.",
    );
    let columns = [
        Column("Source", 0.26),
        Column("Symbols", 0.13),
        Column("Bits per symbol", 0.18),
        Column("Cut-offs", 0.25),
        Column("Bits credited", 0.18),
    ];
    let row = |said: &ceremony::entropy::Contribution| {
        let per_symbol = format!("{}.{:03}", said.millibits / 1_000, said.millibits % 1_000);
        let cutoffs = format!(
            "{} in a row, {} of {}",
            said.repetition_cutoff, said.proportion_cutoff, said.proportion_window
        );
        vec![
            plain(named(&said.source)),
            plain(said.symbols.to_string()),
            plain(per_symbol),
            plain(cutoffs),
            plain(said.bits.to_string()),
        ]
    };
    pages.table(&columns, stated.sources.iter().map(row).collect());
}

fn findings(pages: &mut Pages, report: &Report) {
    pages.heading("Findings and deviations");
    if report.findings.is_empty() {
        return pages.paragraph("None.");
    }
    let row = |found: &Found| {
        vec![
            Cell::Text(vec![Piece::plain(time(found.at)), Piece::note(found.step.as_str())]),
            Cell::Text(vec![
                Piece::bold(named(&found.finding.kind)),
                Piece::plain(found.finding.detail.as_str()),
            ]),
            plain(named(&found.answer)),
        ]
    };
    let columns = [Column("When", 0.22), Column("What", 0.62), Column("Answer", 0.16)];
    pages.table(&columns, report.findings.iter().map(row).collect());
    let decided: Vec<Vec<Cell>> = report.deviations().map(decision).collect();
    if !decided.is_empty() {
        let columns =
            [Column("Deviation", 0.22), Column("Why it was accepted", 0.5), Column("Signed by", 0.28)];
        pages.table(&columns, decided);
    }
}

fn decision((found, deviation): (&Found, &Deviation)) -> Vec<Cell> {
    let by: Vec<&str> = deviation.signatures.iter().map(|signature| signature.person.as_str()).collect();
    vec![plain(named(&found.finding.kind)), plain(deviation.reason.as_str()), plain(by.join(", "))]
}

fn machine(pages: &mut Pages, room: &Room) {
    let facts = &room.facts;
    let said = |text: &str| Piece::plain(if text.is_empty() { "not known" } else { text });
    let both = |one: &str, name: &str, other: &str| match (one, other) {
        (one, "") => said(one),
        (one, other) => said(format!("{one}; {name} {other}").trim_start_matches("; ")),
    };
    let interfaces: Vec<String> = facts
        .interfaces
        .iter()
        .map(|interface| match interface.carrier_up_count {
            Some(times) => format!("{} (carrier came up {times} times)", interface.name),
            None => interface.name.clone(),
        })
        .collect();
    pages.heading("Machine and program, as last inspected");
    pages.fields(vec![
        ("Program", Piece::code(facts.program.to_string())),
        ("Built of", Piece::plain(format!("{} packages, listed in report.json", facts.packages.len()))),
        ("System", said(&facts.os)),
        ("Kernel", said(&facts.kernel)),
        ("Processor", both(&facts.cpu, "microcode", &facts.microcode.join(", "))),
        ("Firmware", said(&facts.firmware)),
        ("Machine", both(&facts.product, "serial number", &facts.serial)),
        ("TPM", said(&facts.tpm.join(", "))),
        ("Interfaces", said(&interfaces.join(", "))),
        ("Mounted", said(&facts.mounts.join("; "))),
    ]);
}

fn operations(pages: &mut Pages, report: &Report) {
    pages.heading("What happened");
    let row = |event: &ceremony::run::Event| {
        let (what, detail) = happening(&event.what);
        vec![plain(time(event.at)), Cell::Text(vec![Piece::bold(what)]), Cell::Text(detail)]
    };
    let columns = [Column("Time", 0.2), Column("Step", 0.24), Column("What came out", 0.56)];
    pages.table(&columns, report.events.iter().map(row).collect());
}

fn happening(what: &Happening) -> (String, Vec<Piece>) {
    let event = |name: &str, detail: String| (name.to_owned(), vec![Piece::plain(detail)]);
    match what {
        Happening::Done { step, outcome } => (step.clone(), outcome_said(outcome)),
        Happening::Inspected(room) => event("inspected", inspected(room)),
        Happening::Found(finding) => event("found", format!("{}: {}", named(&finding.kind), finding.detail)),
        Happening::Deviated(deviation) => {
            event("deviation", format!("finding {}: {}", deviation.finding + 1, deviation.reason))
        }
        Happening::Paused => event("paused", "secrets erased".into()),
        Happening::Resumed => event("resumed", "goes on at the first secret step".into()),
        Happening::Aborted { reason } => event("aborted", reason.clone()),
    }
}

fn inspected(room: &Room) -> String {
    format!("findings: {}", room.findings.len())
}

fn outcome_said(outcome: &Outcome) -> Vec<Piece> {
    let text = |said: String| vec![Piece::plain(said)];
    match outcome {
        Outcome::Present => text("present".into()),
        Outcome::Compared { hash } => vec![Piece::plain("the same"), Piece::code(hash.to_string())],
        Outcome::Hardware { serial, seal } => text(format!("serial number {serial}, seal {seal}")),
        Outcome::Room(room) => text(inspected(room)),
        Outcome::Recording { seal } => text(format!("runs; seal of the medium {seal}")),
        Outcome::Gathered { symbols, min_entropy_bits, .. } => {
            text(format!("{symbols} symbols, at least {min_entropy_bits} bits"))
        }
        Outcome::Generated { nonce, .. } | Outcome::Combined { nonce, .. } => {
            vec![Piece::plain("nonce"), Piece::code(nonce.to_string())]
        }
        Outcome::Opened { seal } => text(format!("seal {seal}, unbroken")),
        Outcome::Entered { how, .. } => text(format!("entered: {}", named(how))),
        Outcome::Verified { combinations, .. } => {
            text(format!("{combinations} combinations rebuilt the secret"))
        }
        Outcome::Printed => text("printed".into()),
        Outcome::Written { sha256 } => vec![Piece::plain("file written"), Piece::code(sha256.to_string())],
        Outcome::ReadBack { how, .. } => text(format!("read back: {}", named(how))),
        Outcome::Sealed { seal } => text(format!("seal {seal}")),
        Outcome::Restored { accounts, .. } => {
            text(format!("{} account keys rebuilt, each one signed", accounts.len()))
        }
        Outcome::SharesSealed { sets, ceremony } => vec![
            Piece::plain(format!("{sets} sets of co-signers signed; ceremony")),
            Piece::code(ceremony.to_string()),
        ],
        Outcome::Erased { how } => text(how.clone()),
        Outcome::Destroyed => text("destroyed".into()),
        Outcome::HandedOver { sha256, to } => {
            vec![Piece::plain(format!("to {to}")), Piece::code(sha256.to_string())]
        }
        Outcome::Closed { report } => vec![Piece::plain("report"), Piece::code(report.to_string())],
        Outcome::Signed { .. } => text("signed".into()),
        Outcome::Absent => text("absent".into()),
    }
}

/// The signatures in the file, and blocks to sign by hand as well.
fn signatures(pages: &mut Pages, signed: &SignedReport) {
    let script = &signed.report.script;
    pages.heading("Signatures");
    let given = |person: &Person| signed.signatures.iter().find(|signature| signature.person == person.id);
    let row = |person: &Person| {
        let signature = given(person)
            .map(|given| given.signature.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        vec![
            Cell::Text(vec![Piece::bold(person.name.as_str()), Piece::note(roles(&person.roles))]),
            signature.map_or_else(|| plain("did not sign"), code),
        ]
    };
    let columns = [Column("Person", 0.3), Column("Ed25519 over keyward/ceremony-report/v1", 0.7)];
    pages.table(&columns, script.people.iter().map(row).collect());
    pages.paragraph("By hand: I was there, and these pages say what happened.");
    let signer = |person: &Person| Signer {
        name: format!("{} ({})", person.name, person.id),
        role: format!("{}, {}", roles(&person.roles), person.organisation),
    };
    pages.signatures(&script.people.iter().map(signer).collect::<Vec<_>>());
}
