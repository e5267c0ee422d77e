//! The runbook: the steps of a script, to rehearse with and to sign by hand (DACS GEN-02).

use ceremony::script::steps::steps;
use ceremony::script::{Components, Script, Step};
use ceremony::sheet::Paper;
use krilla::metadata::Metadata;

use super::PdfError;
use super::page::{Cell, Column, Frame, Pages, Piece, Signer, code, plain};
use super::words::{kind, named, role, roles};

/// Lines to write incidents on by hand.
const INCIDENT_LINES: usize = 8;

/// Room for a value to be written by hand.
const WRITE_HERE: &str = "____________";

/// Prints the runbook of a script: every step that the program will ask for, in its order.
///
/// # Errors
/// See [`PdfError`].
pub fn runbook(script: &Script, paper: Paper) -> Result<Vec<u8>, PdfError> {
    let title = format!("Runbook: {}", script.title);
    let foot = format!("script {}", script.hash());
    let mut pages =
        Pages::new(Frame { title: title.clone(), foot, rehearsal: script.is_rehearsal() }, paper)?;
    pages.title(&title, &format!("{} · {}", kind(script.kind), script.place));
    pages.paragraph(
        "Printed from the list of steps that keyward-ceremony runs. Everybody has these pages before the day, and \
         compares the hash at their foot with the one that the program shows. Tick each step when it is done, with \
         the time and your initials; write down whatever was not as it says.",
    );
    facts(&mut pages, script);
    people(&mut pages, script);
    if let Some(set) = &script.components {
        pages.heading("Components that are made");
        components(&mut pages, set);
    }
    if let Some(held) = &script.held {
        pages.heading("Components that exist");
        components(&mut pages, &held.components);
        let brought: Vec<String> = held.brought.iter().map(|brought| brought.component.to_string()).collect();
        pages.paragraph(&format!(
            "Brought to this ceremony: {}. Afterwards: {}.",
            brought.join(", "),
            named(&held.afterwards)
        ));
    }
    hardware(&mut pages, script);
    list(&mut pages, &steps(script));
    incidents(&mut pages);
    pages.heading("Signatures");
    pages.paragraph("I was there, and what these pages say was done, at the times that stand there, but for the deviations listed.");
    let signer = |person: &ceremony::script::Person| Signer {
        name: format!("{} ({})", person.name, person.id),
        role: format!("{}, {}", roles(&person.roles), person.organisation),
    };
    pages.signatures(&script.people.iter().map(signer).collect::<Vec<_>>());
    pages.finish(Metadata::new().title(title).language("en".to_owned()), false)
}

fn facts(pages: &mut Pages, script: &Script) {
    let quorum = format!("{} people, a security officer among them", script.deviation_quorum);
    let admitted = match script.deviations.as_slice() {
        [] => "none: every finding is mended, or ends the ceremony".to_owned(),
        kinds => format!("{}, signed by {quorum}", kinds.iter().map(named).collect::<Vec<_>>().join(", ")),
    };
    let last = script.accounts.first.saturating_add(script.accounts.count).saturating_sub(1);
    let recording = script.recording.as_ref().map_or("none".to_owned(), |recording| {
        format!("{}; seal of the medium {}", recording.how, recording.seal)
    });
    pages.heading("What it is for");
    pages.fields(vec![
        ("Purpose", Piece::plain(kind(script.kind))),
        ("Place", Piece::plain(script.place.as_str())),
        ("Network", Piece::code(script.network.as_str())),
        ("Tier", Piece::plain(named(&script.tier))),
        ("Accounts", Piece::plain(format!("{} to {}", script.accounts.first, last))),
        ("Genesis", Piece::code(script.genesis.to_string())),
        ("Script", Piece::code(script.hash().to_string())),
        ("Deviations", Piece::plain(admitted)),
        ("Recording", Piece::plain(recording)),
    ]);
}

pub(super) fn people(pages: &mut Pages, script: &Script) {
    pages.heading("People");
    let row = |person: &ceremony::script::Person| {
        vec![
            Cell::Text(vec![Piece::bold(person.name.as_str()), Piece::note(person.id.as_str())]),
            Cell::Text(vec![Piece::plain(roles(&person.roles)), Piece::note(person.organisation.as_str())]),
            code(person.key.to_string()),
        ]
    };
    let columns =
        [Column("Person", 0.24), Column("Role", 0.24), Column("Key that signs the report (Ed25519)", 0.52)];
    pages.table(&columns, script.people.iter().map(row).collect());
}

fn components(pages: &mut Pages, set: &Components) {
    let groups = set.groups.iter().map(|group| format!("{} of {}", group.threshold, group.members.len()));
    let groups: Vec<String> = groups.collect();
    pages.paragraph(&format!(
        "To restore the key: {} of {} groups; of each group: {}.",
        set.group_threshold,
        set.groups.len(),
        groups.join(", ")
    ));
    let columns = [
        Column("Component", 0.14),
        Column("Holder", 0.22),
        Column("Site", 0.22),
        Column("Container", 0.22),
        Column("Seal", 0.2),
    ];
    let row = |(id, member): (ceremony::script::ComponentId, &ceremony::script::Member)| {
        vec![
            Cell::Text(vec![Piece::bold(id.to_string())]),
            plain(member.holder.as_str()),
            plain(member.site.as_str()),
            plain(member.container.as_str()),
            plain(member.seal.as_str()),
        ]
    };
    pages.table(&columns, set.members().map(row).collect());
}

pub(super) fn hardware(pages: &mut Pages, script: &Script) {
    pages.heading("Hardware");
    let columns = [
        Column("What", 0.14),
        Column("Maker, model", 0.22),
        Column("Serial number, seal", 0.22),
        Column("Bought; never online; radios", 0.42),
    ];
    let given = |text: &str| if text.is_empty() { "not known".to_owned() } else { text.to_owned() };
    let row = |device: &ceremony::script::Hardware| {
        let pair =
            |one: &str, other: &str| Cell::Text(vec![Piece::plain(given(one)), Piece::plain(given(other))]);
        let origin = [&device.purchased, &device.never_online, &device.radios];
        vec![
            Cell::Text(vec![Piece::bold(device.what.as_str())]),
            pair(&device.maker, &device.model),
            pair(&device.serial, &device.seal),
            Cell::Text(origin.map(|text| Piece::plain(given(text))).to_vec()),
        ]
    };
    pages.table(&columns, script.hardware.iter().map(row).collect());
}

fn list(pages: &mut Pages, steps: &[Step]) {
    pages.heading("Steps");
    let columns = [
        Column("", 0.045),
        Column("No.", 0.055),
        Column("Step", 0.53),
        Column("Who", 0.15),
        Column("Time", 0.11),
        Column("Initials", 0.11),
    ];
    let row = |(number, step): (usize, &Step)| {
        let mut says = vec![Piece::bold(step.id.as_str()), Piece::plain(step.says.as_str())];
        if step.private {
            says.push(Piece::bold("Only who acts looks at screen and paper."));
        }
        // What the program records is written here too when the steps are rehearsed by hand.
        let records: Vec<String> =
            step.records.iter().map(|record| format!("{record} {WRITE_HERE}")).collect();
        if !records.is_empty() {
            says.push(Piece::note(format!("Recorded: {}", records.join("  "))));
        }
        if !step.may_deviate.is_empty() {
            let kinds: Vec<String> = step.may_deviate.iter().map(named).collect();
            says.push(Piece::note(format!("May deviate: {}", kinds.join(", "))));
        }
        let names: Vec<&str> = step.people.iter().map(custody::name::Name::as_str).collect();
        vec![
            Cell::Tick,
            plain(number.to_string()),
            Cell::Text(says),
            Cell::Text(vec![Piece::plain(role(step.role)), Piece::note(names.join(", "))]),
            Cell::Blank,
            Cell::Blank,
        ]
    };
    pages.table(&columns, (1..).zip(steps).map(row).collect());
}

fn incidents(pages: &mut Pages) {
    pages.heading("Incidents and deviations");
    let columns = [
        Column("Time", 0.12),
        Column("Step", 0.15),
        Column("What happened, what was decided, and by whom", 0.73),
    ];
    let line = |_| {
        let room = || Cell::Text(vec![Piece::plain("\n")]);
        vec![room(), room(), room()]
    };
    pages.table(&columns, (0..INCIDENT_LINES).map(line).collect());
}
