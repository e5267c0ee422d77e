//! Runbook and report as PDF: they say what script and report say, on pages that belong together.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ceremony::report::{Account, Made, REPORT_FORMAT, Report, SignedReport};
use ceremony::room::{Finding, FindingKind, Root, inspect};
use ceremony::run::{Answer, Deviation, Event, Found, Happening, Outcome, PersonSignature, Status};
use ceremony::script::steps::steps;
use ceremony::script::{
    Accounts, ComponentId, Components, Cosigners, Group, Hardware, Kind, Medium, Member, Person, Recording,
    Role, SCRIPT_FORMAT, Script, Site, Sources,
};
use ceremony::sheet::Paper;
use ceremony_tui::pdf;
use custody::document::Tier;
use custody::{Blob, Hash, PublicKey};
use fixtures::{START, name, newest};

const HOLDERS: [&str; 5] = ["carol", "dave", "erin", "frank", "grace"];

fn person(id: &str, called: &str, role: Role) -> Person {
    Person {
        id: name(id),
        name: called.into(),
        organisation: "Example Bank AG".into(),
        roles: vec![role],
        key: PublicKey::sha256(id.as_bytes()),
        age: None,
    }
}

fn script() -> Script {
    let member = |(number, holder): (usize, &&str)| Member {
        holder: name(holder),
        site: name(["north", "south", "west"][number % 3]),
        container: format!("safe {number}"),
        seal: String::new(),
    };
    let members = HOLDERS.iter().enumerate().map(member).collect();
    let custodians =
        HOLDERS.map(|holder| person(holder, &format!("{holder} Mustermann"), Role::KeyCustodian));
    let mut people = vec![
        person("alice", "Alice Åkesson", Role::Operator),
        person("bob", "Bob Müller", Role::SecurityOfficer),
        person("walter", "Walter Łaski", Role::Witness),
    ];
    people.extend(custodians);
    let laptop = Hardware {
        what: "laptop".into(),
        maker: "Example".into(),
        model: "X1".into(),
        serial: "1234".into(),
        seal: "L-1".into(),
        purchased: "a shop in another town, 2026-10-01".into(),
        never_online: "sealed since it was bought".into(),
        radios: "card taken out".into(),
    };
    Script {
        format: SCRIPT_FORMAT.into(),
        kind: Kind::Generation,
        title: "Hot tier of Example Bank, first of its kind".into(),
        place: "Room 3, Zürich".into(),
        genesis: newest().hash(),
        network: newest().network,
        tier: Tier::Hot,
        people,
        accounts: Accounts { first: 0, count: 16 },
        highest_index: 0,
        sites: ["north", "south", "west"]
            .map(|site| Site { name: name(site), address: format!("{site} street 1"), operations: false })
            .to_vec(),
        components: Some(Components { group_threshold: 1, groups: vec![Group { threshold: 3, members }] }),
        held: None,
        cosigners: Some(Cosigners { threshold: 2, holders: ["s1", "s2", "s3"].map(name).to_vec() }),
        entropy: Sources { dice: 128, coins: 0, hsm: false },
        hardware: vec![Hardware { what: "printer".into(), seal: String::new(), ..laptop.clone() }, laptop],
        recording: Some(Recording { how: "camera behind the table".into(), seal: "R-1".into() }),
        deviations: vec![FindingKind::Hypervisor],
        deviation_quorum: 2,
    }
}

/// A report as it may look; whether it is one is for `ceremony::report::verify`, and not for the printer.
fn report() -> SignedReport {
    let script = script();
    let room = inspect(&Root(tempfile::tempdir().unwrap().path().to_owned()), START, Hash([7; 32]));
    let finding = Finding::new(FindingKind::Hypervisor, "KVM");
    let made = |(component, member): (ComponentId, &Member)| Made {
        component,
        holder: member.holder.clone(),
        site: member.site.clone(),
        container: member.container.clone(),
        seal: format!("S-{component}"),
        health: PublicKey::sha256(member.holder.as_str().as_bytes()),
        file: Hash::sha256(member.container.as_bytes()),
        verified: Medium::ALL.to_vec(),
    };
    let done = |(at, step): (u64, ceremony::script::Step)| Event {
        at: START + 60 * at,
        what: Happening::Done { step: step.id, outcome: Outcome::Present },
    };
    let mut events: Vec<Event> = (0u64..).zip(steps(&script)).map(done).collect();
    let deviation = Deviation {
        finding: 0,
        reason: "a rehearsal in a virtual machine".into(),
        signatures: vec![PersonSignature { person: name("bob"), signature: Blob(vec![1; 64]) }],
    };
    events.insert(9, Event { at: START + 500, what: Happening::Inspected(room) });
    events.insert(10, Event { at: START + 501, what: Happening::Found(finding.clone()) });
    events.insert(11, Event { at: START + 502, what: Happening::Deviated(deviation) });
    let signature =
        |person: &Person| PersonSignature { person: person.id.clone(), signature: Blob(vec![0xab; 64]) };
    let signatures = script.people.iter().skip(1).map(signature).collect();
    let report = Report {
        format: REPORT_FORMAT.into(),
        rehearsal: true,
        status: Status::Complete,
        began_at: START,
        ended_at: START + 7_200,
        script_hash: script.hash(),
        nonce: Some(Hash([5; 32])),
        ceremony: None,
        combinations: 10,
        components: script.components.iter().flat_map(Components::members).map(made).collect(),
        accounts: (0..16)
            .map(|number| Account {
                path: format!("m/86'/1'/{number}'"),
                account: fixtures::Account::new(number).key(),
            })
            .collect(),
        findings: vec![Found {
            at: START + 501,
            step: "inspect".into(),
            finding,
            answer: Answer::Deviated,
            inspected: true,
        }],
        events,
        script,
    };
    SignedReport { report, signatures }
}

/// What a program of Debian says; it must be there.
fn run(program: &str, package: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; apt-get install {package}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A PDF as a file, which stays to be looked at.
fn kept(file: &str, pdf: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    fs::write(&path, pdf).unwrap();
    path
}

/// The text of each page, cell by cell, white space made one.
fn text(file: &str, pdf: &[u8]) -> Vec<String> {
    let path = kept(file, pdf);
    let text = run("pdftotext", "poppler-utils", &["-raw", path.to_str().unwrap(), "-"]);
    let pages = text.trim_end_matches('\u{c}').split('\u{c}');
    pages.map(|page| page.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Without white space: long words are broken where a line is full.
fn dense(text: &str) -> String {
    text.split_whitespace().collect()
}

fn every_page_belongs(pages: &[String], title: &str, foot: &str, rehearsal: bool) {
    for (number, page) in (1..).zip(pages) {
        for wanted in [title, foot, &format!("page {number} of {}", pages.len())] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        assert_eq!(page.matches("REHEARSAL").count(), if rehearsal { 2 } else { 0 }, "{page}");
    }
}

#[test]
fn the_runbook_has_every_step_of_the_script() {
    let script = script();
    for paper in [Paper::A4, Paper::Letter] {
        let pages = text("runbook.pdf", &pdf::runbook(&script, paper).unwrap());
        every_page_belongs(
            &pages,
            "Runbook: Hot tier of Example Bank",
            &format!("script {}", script.hash()),
            true,
        );
        let all = dense(&pages.concat());
        let mut rest = all.as_str();
        for step in steps(&script) {
            for wanted in [&step.id, &step.says].into_iter().map(|text| dense(text)) {
                let at = rest.find(&wanted).unwrap_or_else(|| panic!("{wanted} in its place: {rest}"));
                rest = &rest[at + wanted.len()..];
            }
        }
        for person in &script.people {
            assert!(
                rest.contains(&dense(&format!("{} ({})", person.name, person.id))),
                "signs: {}",
                person.name
            );
        }
        assert_eq!(rest.matches("Date,time").count(), script.people.len());
    }
}

#[test]
fn a_runbook_of_a_main_network_is_not_marked() {
    let script = Script { network: "bip122:000000000019d6689c085ae165831e93".into(), ..script() };
    let pages = text("runbook-main.pdf", &pdf::runbook(&script, Paper::A4).unwrap());
    every_page_belongs(&pages, "Runbook", &format!("script {}", script.hash()), false);
}

#[test]
fn the_report_says_what_was_signed() {
    let signed = report();
    let report = &signed.report;
    let file = pdf::report(&signed, Paper::A4).unwrap();
    let pages = text("report.pdf", &file);
    every_page_belongs(
        &pages,
        "Report: Hot tier of Example Bank",
        &format!("report {}", report.hash()),
        true,
    );
    let all = dense(&pages.concat());
    let mut facts = vec![
        report.script_hash.to_string(),
        report.script.genesis.to_string(),
        "10 combinations of components".into(),
        "camera behind the table; seal of the medium R-1".into(),
        "a rehearsal in a virtual machine".into(),
        "hypervisor KVM".into(),
        "Alice Åkesson operator did not sign".into(),
        format!("Walter Łaski witness {}", "ab".repeat(64)),
        "m/86'/1'/15'".into(),
    ];
    for made in &report.components {
        facts.push(format!("{} {}", made.component, made.holder));
        facts.extend([made.health.to_string(), made.file.to_string(), format!("seal {}", made.seal)]);
    }
    facts.extend(report.operations().map(|(_, step, _)| format!("{step} present")));
    for fact in facts {
        assert!(all.contains(&dense(&fact)), "{fact}: {all}");
    }
    let metadata = String::from_utf8_lossy(&file).into_owned();
    assert!(metadata.contains("<pdfaid:part>2</pdfaid:part>"), "PDF/A-2");
}

#[test]
fn an_aborted_ceremony_is_called_so() {
    let mut signed = report();
    signed.report.status = Status::Aborted;
    signed
        .report
        .events
        .push(Event { at: START + 7_300, what: Happening::Aborted { reason: "a cable was found".into() } });
    let pages = text("report-aborted.pdf", &pdf::report(&signed, Paper::Letter).unwrap());
    assert!(pages[0].contains("ABORTED"), "{}", pages[0]);
    assert!(pages.concat().contains("a cable was found"));
}

#[test]
fn the_same_input_gives_the_same_bytes_and_another_one_others() {
    let print = |script: &Script| pdf::runbook(script, Paper::A4).unwrap();
    assert_eq!(print(&script()), print(&script()));
    assert_ne!(print(&script()), print(&Script { place: "Room 4, Zürich".into(), ..script() }));
    let signed = report();
    assert_eq!(pdf::report(&signed, Paper::A4).unwrap(), pdf::report(&signed, Paper::A4).unwrap());
}

#[test]
fn all_fonts_are_embedded() {
    let path = kept("fonts.pdf", &pdf::report(&report(), Paper::A4).unwrap());
    let said = run("pdffonts", "poppler-utils", &[path.to_str().unwrap()]);
    let fonts: Vec<&str> = said.lines().skip(2).collect();
    assert_eq!(fonts.len(), 3, "{said}");
    for font in fonts {
        assert!(font.contains("TrueType") && font.contains("yes yes yes"), "{font}");
    }
}
