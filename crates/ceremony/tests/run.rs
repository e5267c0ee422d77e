//! The run: steps in order, findings that stop it, deviations, pause, resume, abort; and that no order of calls
//! gets past a step.

mod rehearsal;

use std::collections::BTreeMap;

use ceremony::report::{Against, INSPECTED_LIMIT_BYTES, REPORT_LIMIT_BYTES, verify};
use ceremony::room::facts::Facts;
use ceremony::room::{Finding, FindingKind, Room, TEXT_LIMIT_CHARS};
use ceremony::run::{
    Answer, FINDINGS_LIMIT, Happening, How, Outcome, REASON_LIMIT_BYTES, Run, RunError, Status,
};
use ceremony::script::{Action, Control, Kind, Medium, Script};
use custody::document::restore_message;
use custody::{Blob, Hash};
use rehearsal::{
    KINDS, START, actions, begun, deviation, finding, finish, genesis, go, held, id, name, outcomes, right,
    room, script, sign, up_to,
};

/// A failed call changes nothing.
fn refused<T>(run: &mut Run, call: impl FnOnce(&mut Run) -> Result<T, RunError>) -> RunError {
    let before = (run.save(), run.status(), run.remaining().to_vec(), run.findings().to_vec());
    let Err(error) = call(run) else { panic!("it was not refused at {:?}", run.current().map(|s| &s.id)) };
    assert_eq!((run.save(), run.status(), run.remaining().to_vec(), run.findings().to_vec()), before);
    error
}

fn next(run: &Run) -> &str {
    run.current().map_or("", |step| step.id.as_str())
}

#[test]
fn a_ceremony_of_every_kind_goes_to_its_end() {
    for kind in KINDS {
        let mut run = held(kind);
        assert_eq!(run.status(), Status::Complete);
        let done: Vec<String> =
            run.report().unwrap().operations().map(|(_, step, _)| step.to_owned()).collect();
        let planned: Vec<String> = actions(run.script()).iter().map(Action::id).collect();
        // The report is closed before its own closing and its signatures.
        assert_eq!(done, planned[..planned.len() - 8]);
        verify(&run.signed_report().unwrap().bytes(), &Against::default()).unwrap();
        for call in [
            |run: &mut Run| run.done(START, Outcome::Present),
            |run: &mut Run| run.inspect(START, room(&[])),
            |run: &mut Run| run.finding(START, finding(FindingKind::Route)),
            |run: &mut Run| run.pause(START),
            |run: &mut Run| run.abort(START, "too late"),
        ] {
            assert_eq!(refused(&mut run, call), RunError::Over);
        }
    }
}

#[test]
fn a_run_begins_with_a_sound_script_only() {
    let mut broken = script(Kind::Generation);
    broken.deviation_quorum = 1;
    let error = Run::begin(broken, &genesis(), START).unwrap_err();
    assert!(matches!(error, RunError::Script(breach) if breach.control == Control::Gen09));
}

/// In every step of every kind, every outcome that belongs to another step is refused.
#[test]
fn each_step_takes_its_own_outcome_only() {
    let all = outcomes();
    for kind in KINDS {
        let mut run = begun(kind);
        while run.current().is_some() {
            let own = std::mem::discriminant(&right(&run));
            for (from, other) in &all {
                if std::mem::discriminant(other) != own {
                    let error = refused(&mut run, |run| run.done(START, other.clone()));
                    assert!(
                        matches!(error, RunError::Kind(_)),
                        "{} with that of {from}: {error}",
                        next(&run)
                    );
                }
            }
            go(&mut run);
        }
    }
}

/// Rebuilt keys of two other accounts, each with a good signature.
fn other_accounts() -> Outcome {
    let sign = |(slot, number): (u32, u32)| {
        let message = restore_message(&genesis().hash(), &rehearsal::NONCE, slot);
        Blob(fixtures::Account::new(number).sign(&message).to_vec())
    };
    Outcome::Restored {
        accounts: [7, 8].map(|number| fixtures::Account::new(number).key()).to_vec(),
        signatures: [(0, 7), (1, 8)].map(sign).to_vec(),
    }
}

/// Makes a right outcome wrong.
type Change = Box<dyn Fn(Outcome) -> Outcome>;

/// Of the right type, and wrong in one thing.
#[test]
fn what_comes_out_is_compared() {
    let other = Hash([0xee; 32]);
    let account = fixtures::Account::new(7).key();
    let cases: Vec<(Kind, &str, Change)> = vec![
        (Kind::Generation, "compare-script", Box::new(move |_| Outcome::Compared { hash: other })),
        (Kind::Generation, "compare-genesis", Box::new(move |_| Outcome::Compared { hash: other })),
        (
            Kind::Generation,
            "entropy-dice",
            Box::new(|right| match right {
                Outcome::Gathered { source, min_entropy_bits, .. } => {
                    Outcome::Gathered { source, symbols: 127, min_entropy_bits }
                }
                _ => right,
            }),
        ),
        (
            Kind::Generation,
            "entropy-operating-system",
            Box::new(|right| match right {
                Outcome::Gathered { symbols, min_entropy_bits, .. } => {
                    let source = ceremony::entropy::Source::Dice;
                    Outcome::Gathered { source, symbols, min_entropy_bits }
                }
                _ => right,
            }),
        ),
        // Dice were gathered, and are not in the mix.
        (
            Kind::Generation,
            "generate",
            Box::new(|right| match right {
                Outcome::Generated { nonce, mut entropy } => {
                    entropy.sources.pop();
                    Outcome::Generated { nonce, entropy }
                }
                _ => right,
            }),
        ),
        // One byte of 256 bits.
        (
            Kind::Generation,
            "generate",
            Box::new(|right| match right {
                Outcome::Generated { nonce, mut entropy } => {
                    let said = &mut entropy.sources[0];
                    (said.symbols, said.proportion_window, said.proportion_cutoff) = (1, 1, 2);
                    Outcome::Generated { nonce, entropy }
                }
                _ => right,
            }),
        ),
        // Fewer symbols were mixed than were gathered.
        (
            Kind::Generation,
            "generate",
            Box::new(|right| match right {
                Outcome::Generated { nonce, mut entropy } => {
                    entropy.sources[1].symbols -= 1;
                    Outcome::Generated { nonce, entropy }
                }
                _ => right,
            }),
        ),
        (
            Kind::Generation,
            "verify-combinations",
            Box::new(|right| match right {
                Outcome::Verified { health, accounts, .. } => {
                    Outcome::Verified { combinations: 2, health, accounts }
                }
                _ => right,
            }),
        ),
        (
            Kind::Generation,
            "verify-combinations",
            Box::new(|right| match right {
                Outcome::Verified { combinations, mut health, accounts } => {
                    health[1] = health[0];
                    Outcome::Verified { combinations, health, accounts }
                }
                _ => right,
            }),
        ),
        (
            Kind::Generation,
            "verify-combinations",
            Box::new(|right| match right {
                Outcome::Verified { combinations, mut health, accounts } => {
                    health.pop();
                    Outcome::Verified { combinations, health, accounts }
                }
                _ => right,
            }),
        ),
        (
            Kind::Generation,
            "verify-combinations",
            Box::new(|right| match right {
                Outcome::Verified { combinations, health, mut accounts } => {
                    accounts.pop();
                    Outcome::Verified { combinations, health, accounts }
                }
                _ => right,
            }),
        ),
        (
            Kind::Generation,
            "verify-combinations",
            Box::new(|right| match right {
                Outcome::Verified { combinations, health, mut accounts } => {
                    accounts[1] = accounts[0].clone();
                    Outcome::Verified { combinations, health, accounts }
                }
                _ => right,
            }),
        ),
        // A new component that is an old one.
        (
            Kind::Components,
            "verify-combinations",
            Box::new(|right| match right {
                Outcome::Verified { combinations, mut health, accounts } => {
                    health[2] = rehearsal::health("old", id("1.1"));
                    Outcome::Verified { combinations, health, accounts }
                }
                _ => right,
            }),
        ),
        // A set of another secret.
        (
            Kind::Components,
            "verify-combinations",
            Box::new({
                let account = account.clone();
                move |right| match right {
                    Outcome::Verified { combinations, health, mut accounts } => {
                        accounts[1] = account.clone();
                        Outcome::Verified { combinations, health, accounts }
                    }
                    _ => right,
                }
            }),
        ),
        (
            Kind::Generation,
            "read-back-paper-1.2",
            Box::new(|_| Outcome::ReadBack { how: How::Typed, health: rehearsal::health("new", id("1.1")) }),
        ),
        (
            Kind::Generation,
            "read-back-file-1.2",
            Box::new(|_| Outcome::ReadBack { how: How::File, health: rehearsal::health("new", id("1.3")) }),
        ),
        // A sheet is not verified by its file, nor a file by its sheet.
        (
            Kind::Generation,
            "read-back-paper-1.2",
            Box::new(|_| Outcome::ReadBack { how: How::File, health: rehearsal::health("new", id("1.2")) }),
        ),
        (
            Kind::Generation,
            "read-back-file-1.2",
            Box::new(|_| Outcome::ReadBack { how: How::Typed, health: rehearsal::health("new", id("1.2")) }),
        ),
        (
            Kind::Generation,
            "entropy-dice",
            Box::new(|right| match right {
                Outcome::Gathered { source, symbols, .. } => {
                    Outcome::Gathered { source, symbols, min_entropy_bits: 255 }
                }
                _ => right,
            }),
        ),
        (Kind::Generation, "record", Box::new(|_| Outcome::Recording { seal: "a\nb".into() })),
        (Kind::Recovery, "open-1.1", Box::new(|_| Outcome::Opened { seal: "\u{1b}[2J".into() })),
        (
            Kind::Generation,
            "hardware-1",
            Box::new(|_| Outcome::Hardware { serial: "12\n34".into(), seal: "L-1".into() }),
        ),
        (
            Kind::Generation,
            "hardware-1",
            Box::new(|_| Outcome::Hardware { serial: "1234".into(), seal: "\u{202e}1-L".into() }),
        ),
        (Kind::Generation, "seal-1.1", Box::new(|_| Outcome::Sealed { seal: " ".into() })),
        (
            Kind::Generation,
            "restore-test",
            Box::new(|right| match right {
                Outcome::Restored { accounts, mut signatures } => {
                    signatures.swap(0, 1);
                    Outcome::Restored { accounts, signatures }
                }
                _ => right,
            }),
        ),
        (
            Kind::Generation,
            "restore-test",
            Box::new(|right| match right {
                Outcome::Restored { accounts, mut signatures } => {
                    signatures.pop();
                    Outcome::Restored { accounts, signatures }
                }
                _ => right,
            }),
        ),
        // Other accounts, whose keys did sign: not those that were made, not those that are known.
        (Kind::Generation, "restore-test", Box::new(|_| other_accounts())),
        (Kind::Recovery, "restore-test", Box::new(|_| other_accounts())),
        // Signatures of another ceremony.
        (
            Kind::Generation,
            "restore-test",
            Box::new(move |right| match right {
                Outcome::Restored { accounts, .. } => {
                    let signatures = rehearsal::restored(&script(Kind::Generation), &other);
                    Outcome::Restored { accounts, signatures }
                }
                _ => right,
            }),
        ),
        (
            Kind::Generation,
            "restore-test",
            Box::new({
                let account = account.clone();
                move |right| match right {
                    Outcome::Restored { mut accounts, signatures } => {
                        accounts[0] = account.clone();
                        Outcome::Restored { accounts, signatures }
                    }
                    _ => right,
                }
            }),
        ),
        (
            Kind::Recovery,
            "restore-test",
            Box::new({
                let account = account.clone();
                move |right| match right {
                    Outcome::Restored { mut accounts, signatures } => {
                        accounts[0] = account.clone();
                        Outcome::Restored { accounts, signatures }
                    }
                    _ => right,
                }
            }),
        ),
        (
            Kind::Recovery,
            "combine",
            Box::new(move |right| match right {
                Outcome::Combined { nonce, mut known } => {
                    known[1] = account.clone();
                    Outcome::Combined { nonce, known }
                }
                _ => right,
            }),
        ),
        (
            Kind::Recovery,
            "combine",
            Box::new(|right| match right {
                Outcome::Combined { nonce, .. } => Outcome::Combined { nonce, known: Vec::new() },
                _ => right,
            }),
        ),
        (
            Kind::Recovery,
            "enter-1.2",
            Box::new(|_| Outcome::Entered { how: How::Image, health: rehearsal::health("old", id("1.1")) }),
        ),
        // The old seal again.
        (Kind::Recovery, "return-1.1", Box::new(|_| Outcome::Sealed { seal: "old-north".into() })),
        (
            Kind::Generation,
            "seal-shares",
            Box::new(move |_| Outcome::SharesSealed { sets: 5, ceremony: other }),
        ),
        (Kind::Generation, "erase", Box::new(|_| Outcome::Erased { how: String::new() })),
        (
            Kind::Generation,
            "hand-over-s2",
            Box::new(|_| Outcome::HandedOver { sha256: Hash([1; 32]), to: "\u{7}".into() }),
        ),
        (Kind::Generation, "close-report", Box::new(move |_| Outcome::Closed { report: other })),
        (
            Kind::Generation,
            "sign-dave",
            Box::new(|right| match right {
                Outcome::Signed { signature } => {
                    let mut bytes = signature.0;
                    bytes[0] ^= 1;
                    Outcome::Signed { signature: Blob(bytes) }
                }
                _ => right,
            }),
        ),
        (Kind::Generation, "sign-dave", Box::new(|_| Outcome::Signed { signature: sign("carol", b"") })),
    ];
    for (number, (kind, step, change)) in cases.iter().enumerate() {
        let mut run = begun(*kind);
        up_to(&mut run, step);
        let wrong = change(right(&run));
        assert_ne!(wrong, right(&run), "{number}");
        let error = refused(&mut run, |run| run.done(START, wrong));
        assert!(matches!(&error, RunError::Wrong { step: at, .. } if at == step), "{number} {step}: {error}");
        // The right one is still taken.
        finish(&mut run);
        assert_eq!(run.status(), Status::Complete);
    }
}

#[test]
fn one_seal_for_one_component() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "seal-1.1");
    run.done(START, Outcome::Sealed { seal: "X".into() }).unwrap();
    run.deviate_clock();
    up_to(&mut run, "seal-1.2");
    let error = refused(&mut run, |run| run.done(START + 999, Outcome::Sealed { seal: "X".into() }));
    assert!(error.to_string().contains("used already"), "{error}");
}

/// Signs away the finding that the time of a test went back.
trait Clock {
    fn deviate_clock(&mut self);
}

impl Clock for Run {
    fn deviate_clock(&mut self) {
        while let Some((number, found)) = self.open() {
            assert_eq!(found.finding.kind, FindingKind::Clock);
            let at = self.events().last().unwrap().at;
            self.deviate(at, deviation(self, number, &["alice", "bob"])).unwrap();
        }
    }
}

#[test]
fn a_finding_stops_until_it_is_mended() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "inspect");
    let link = finding(FindingKind::NetworkLink);
    run.done(START + 50, Outcome::Room(room(std::slice::from_ref(&link)))).unwrap();
    // The step is not over; nothing signs it away, as the script admits no link.
    assert_eq!((next(&run), run.findings()[0].answer), ("inspect", Answer::Open));
    assert_eq!(refused(&mut run, |run| run.done(START, Outcome::Present)), RunError::Open(link.clone()));
    assert_eq!(
        run.deviation_bytes(0, "we are in a hurry").unwrap_err(),
        RunError::NotAdmitted(FindingKind::NetworkLink)
    );
    // Still there.
    run.done(START + 51, Outcome::Room(room(&[link]))).unwrap();
    assert_eq!((next(&run), run.findings().len()), ("inspect", 1));
    run.done(START + 52, Outcome::Room(room(&[]))).unwrap();
    assert_eq!((next(&run), run.findings()[0].answer), ("entropy-operating-system", Answer::Mended));
    finish(&mut run);
    assert_eq!(run.report().unwrap().findings.len(), 1);
}

#[test]
fn a_deviation_takes_a_quorum_with_a_security_officer() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "inspect");
    let found = finding(FindingKind::Hypervisor);
    run.done(START + 50, Outcome::Room(room(std::slice::from_ref(&found)))).unwrap();
    let at = START + 51;
    for few in [
        vec![],
        vec!["bob"],
        vec!["bob", "bob"],
        vec!["alice", "walter"],
        vec!["alice", "carol", "dave"],
        vec!["bob", "alice", "alice"],
    ] {
        let signed = deviation(&run, 0, &few);
        assert_eq!(refused(&mut run, |run| run.deviate(at, signed)), RunError::Quorum(2), "{few:?}");
    }
    let mallory = deviation(&run, 0, &["bob", "mallory"]);
    assert_eq!(refused(&mut run, |run| run.deviate(at, mallory)), RunError::Signature(name("mallory")));
    let mut other = deviation(&run, 0, &["bob", "alice"]);
    other.reason.push('!');
    assert_eq!(refused(&mut run, |run| run.deviate(at, other)), RunError::Signature(name("bob")));
    let mut swapped = deviation(&run, 0, &["bob", "alice"]);
    swapped.signatures[1].person = name("carol");
    assert_eq!(refused(&mut run, |run| run.deviate(at, swapped)), RunError::Signature(name("carol")));
    let drawn = ["a \u{1b}[2J", "a\tb", "a \u{202e}b", "a\u{200b}b"].map(str::to_owned);
    for reason in [String::new(), " \n".into(), "x".repeat(REASON_LIMIT_BYTES + 1)].into_iter().chain(drawn) {
        assert_eq!(run.deviation_bytes(0, &reason).unwrap_err(), RunError::Reason);
    }
    run.deviation_bytes(0, &"x".repeat(REASON_LIMIT_BYTES)).unwrap();
    run.deviation_bytes(0, "Two lines,\nand an \u{fc}.").unwrap();
    assert_eq!(run.deviation_bytes(1, "why").unwrap_err(), RunError::NoFinding(1));

    let signed = deviation(&run, 0, &["bob", "alice"]);
    run.deviate(at, signed.clone()).unwrap();
    assert_eq!(refused(&mut run, |run| run.deviate(at, signed)), RunError::NoFinding(0));
    // The same finding again is the one that was admitted.
    run.done(at, Outcome::Room(room(&[found]))).unwrap();
    finish(&mut run);
    let report = run.report().unwrap();
    assert_eq!(report.findings[0].answer, Answer::Deviated);
    let (what, how) = report.deviations().next().unwrap();
    assert_eq!((what.finding.kind, how.signatures.len()), (FindingKind::Hypervisor, 2));
}

/// A signature for one run, finding or script is none for another.
#[test]
fn a_deviation_is_for_one_finding_of_one_run() {
    let at_inspection = |start: u64, script: Script, findings: &[Finding]| {
        let mut run = Run::begin(script, &genesis(), start).unwrap();
        while next(&run) != "inspect" {
            let outcome = right(&run);
            run.done(start, outcome).unwrap();
        }
        run.done(start, Outcome::Room(room(findings))).unwrap();
        run
    };
    let hypervisor = finding(FindingKind::Hypervisor);
    let base = at_inspection(START, script(Kind::Generation), std::slice::from_ref(&hypervisor));
    let signed = deviation(&base, 0, &["bob", "alice"]);
    base.clone().deviate(START, signed.clone()).unwrap();
    let other_script = Script { title: "Another one".into(), ..script(Kind::Generation) };
    let other_detail = Finding::new(FindingKind::Hypervisor, "another machine");
    for mut other in [
        at_inspection(START + 1, script(Kind::Generation), std::slice::from_ref(&hypervisor)),
        at_inspection(START, other_script, std::slice::from_ref(&hypervisor)),
        at_inspection(START, script(Kind::Generation), &[other_detail]),
    ] {
        let error = refused(&mut other, |run| run.deviate(START, signed.clone()));
        assert_eq!(error, RunError::Signature(name("bob")));
    }
}

/// What the hardware register lacks is a deviation (DACS GEN-05, GEN-11, GEN-12).
#[test]
fn each_missing_field_of_the_register_is_a_finding() {
    type Field = fn(&mut ceremony::script::Hardware) -> &mut String;
    let fields: [Field; 7] = [
        |d| &mut d.maker,
        |d| &mut d.model,
        |d| &mut d.serial,
        |d| &mut d.seal,
        |d| &mut d.purchased,
        |d| &mut d.never_online,
        |d| &mut d.radios,
    ];
    for field in fields {
        let mut script = script(Kind::Generation);
        field(&mut script.hardware[0]).clear();
        let mut run = Run::begin(script, &genesis(), START).unwrap();
        up_to(&mut run, "hardware-1");
        go(&mut run);
        let (number, found) = run.open().expect("a finding");
        assert_eq!(found.finding.kind, FindingKind::Hardware);
        // Another look at the machine does not mend the register.
        run.inspect(START + 60, room(&[])).unwrap();
        assert_eq!(run.findings()[0].answer, Answer::Open);
        let outcome = right(&run);
        assert!(matches!(refused(&mut run, |run| run.done(START + 60, outcome)), RunError::Open(_)));
        run.deviate(START + 60, deviation(&run, number, &["alice", "bob"])).unwrap();
        go(&mut run);
    }
}

#[test]
fn a_device_or_seal_that_is_another_is_a_finding() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "hardware-1");
    run.done(START + 10, Outcome::Hardware { serial: "1234".into(), seal: "broken".into() }).unwrap();
    assert_eq!(run.open().unwrap().1.finding.kind, FindingKind::Hardware);
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "record");
    run.done(START + 11, Outcome::Recording { seal: "R-2".into() }).unwrap();
    assert_eq!(run.open().unwrap().1.finding.kind, FindingKind::Seal);
    // Somebody opened the container of a component (DACS REC-03). The script admits no deviation for that.
    let mut run = begun(Kind::Drill);
    up_to(&mut run, "open-1.2");
    run.done(START + 20, Outcome::Opened { seal: "new".into() }).unwrap();
    let (number, found) = run.open().unwrap();
    assert_eq!(found.finding.kind, FindingKind::Seal);
    assert_eq!(run.deviation_bytes(number, "why").unwrap_err(), RunError::NotAdmitted(FindingKind::Seal));
    assert_eq!(run.status(), Status::Running);
}

#[test]
fn the_clock_goes_back_only_as_a_finding() {
    let mut run = begun(Kind::Generation);
    run.done(START + 100, right(&run)).unwrap();
    run.done(START + 100, right(&run)).unwrap();
    assert!(run.open().is_none());
    run.done(START + 99, right(&run)).unwrap();
    let (number, found) = run.open().unwrap();
    assert_eq!((number, found.finding.kind, found.inspected), (0, FindingKind::Clock, false));
    let outcome = right(&run);
    assert!(matches!(refused(&mut run, |run| run.done(START + 101, outcome)), RunError::Open(_)));
    run.inspect(START + 99, room(&[])).unwrap();
    assert_eq!(run.findings()[0].answer, Answer::Open);
    run.deviate_clock();
    run.done(START + 99, right(&run)).unwrap();
}

/// Whatever would let secrets out ends the ceremony while there are secrets, and only then.
#[test]
fn what_comes_up_in_a_secret_step_erases_and_aborts() {
    use FindingKind::{
        Bluetooth, Clock, CoreDumps, Hypervisor, Media, NetworkLink, Radio, Route, Seal, Swap,
    };
    for kind in [NetworkLink, Route, Radio, Bluetooth, Swap, CoreDumps, Media] {
        for by_watch in [true, false] {
            let mut run = begun(Kind::Generation);
            up_to(&mut run, "read-back-paper-1.2");
            if by_watch {
                run.finding(START + 90, finding(kind)).unwrap();
            } else {
                run.inspect(START + 90, room(&[finding(kind)])).unwrap();
            }
            assert_eq!((run.status(), next(&run)), (Status::Aborting, "erase"), "{kind}");
            assert_eq!(run.findings()[0].answer, Answer::Aborted);
        }
        let mut early = begun(Kind::Generation);
        up_to(&mut early, "record");
        early.finding(START + 90, finding(kind)).unwrap();
        assert_eq!((early.status(), early.open().unwrap().0), (Status::Running, 0), "{kind}");
    }
    // The script admits it, or it lets nothing out: people decide.
    for kind in [Hypervisor, Clock, Seal] {
        let mut run = begun(Kind::Generation);
        up_to(&mut run, "read-back-paper-1.2");
        run.finding(START + 90, finding(kind)).unwrap();
        assert_eq!((run.status(), run.open().unwrap().0), (Status::Running, 0), "{kind}");
    }
    // A link ends it also where the script admits one: it was not there when people signed.
    let mut script = script(Kind::Generation);
    script.deviations = vec![NetworkLink, Hypervisor];
    script.deviations.sort_unstable();
    let mut run = Run::begin(script, &genesis(), START).unwrap();
    up_to(&mut run, "inspect");
    let old = finding(NetworkLink);
    run.done(START + 50, Outcome::Room(room(std::slice::from_ref(&old)))).unwrap();
    run.deviate(START + 50, deviation(&run, 0, &["alice", "bob"])).unwrap();
    run.done(START + 50, Outcome::Room(room(std::slice::from_ref(&old)))).unwrap();
    up_to(&mut run, "generate");
    run.inspect(START + 90, room(std::slice::from_ref(&old))).unwrap();
    assert_eq!(run.status(), Status::Running);
    run.inspect(START + 90, room(&[old, Finding::new(NetworkLink, "another one")])).unwrap();
    assert_eq!(run.status(), Status::Aborting);
}

/// Ids of what remains.
fn rest(run: &Run) -> Vec<&str> {
    run.remaining().iter().map(|step| step.id.as_str()).collect()
}

const SIGN: [&str; 8] = [
    "close-report",
    "sign-alice",
    "sign-bob",
    "sign-carol",
    "sign-dave",
    "sign-erin",
    "sign-frank",
    "sign-walter",
];

#[test]
fn an_aborted_ceremony_erases_destroys_puts_back_and_reports() {
    let cases: [(Kind, &str, &[&str]); 11] = [
        (Kind::Generation, "arrive-bob", &[]),
        (Kind::Generation, "generate", &["erase"]),
        // The sheet may be half out of the printer.
        (Kind::Generation, "print-1.1", &["erase", "void-1.1"]),
        (Kind::Generation, "read-back-file-1.2", &["erase", "void-1.1", "void-1.2"]),
        (Kind::Generation, "hand-over-s1", &["void-1.1", "void-1.2", "void-1.3"]),
        (Kind::Generation, "sign-bob", &["void-1.1", "void-1.2", "void-1.3"]),
        (Kind::Recovery, "enter-1.2", &["erase", "return-1.1", "return-1.2"]),
        (Kind::Components, "seal-1.1", &["erase", "void-1.1", "return-1.1", "return-1.2"]),
        // Its container may be open already.
        (Kind::Recovery, "open-1.2", &["erase", "return-1.1", "return-1.2"]),
        // It may be in the shredder.
        (Kind::Components, "retire-1.1", &["return-1.1", "return-1.2"]),
        // An old component is destroyed already: the new ones are all there is.
        (Kind::Components, "retire-1.2", &["return-1.2"]),
    ];
    for (kind, step, clearing) in cases {
        let mut run = begun(kind);
        up_to(&mut run, step);
        let at = START + 100;
        assert_eq!(refused(&mut run, |run| run.abort(at, " ")), RunError::Reason);
        run.abort(at, "the fire alarm").unwrap();
        assert_eq!(rest(&run), [clearing, &SIGN[..]].concat(), "{kind:?} {step}");
        assert_eq!(refused(&mut run, |run| run.abort(at, "again")), RunError::Over);
        assert_eq!(refused(&mut run, |run| run.pause(at)), RunError::NothingSecret);
        finish(&mut run);
        assert_eq!(run.status(), Status::Aborted);
        let report = run.report().unwrap();
        assert_eq!(report.status, Status::Aborted);
        assert_eq!(
            report.components.len(),
            if step.starts_with("retire") { 3 } else { 0 },
            "{kind:?} {step}"
        );
        verify(&run.signed_report().unwrap().bytes(), &Against::default()).unwrap();
    }
}

/// What was in the shredder may be gone; what was not is put back.
#[test]
fn of_a_component_that_was_being_destroyed_nothing_may_be_left() {
    let mut run = begun(Kind::Components);
    up_to(&mut run, "retire-1.1");
    run.abort(START + 100, "the power failed").unwrap();
    assert_eq!(next(&run), "return-1.1");
    run.done(START + 101, Outcome::Destroyed).unwrap();
    finish(&mut run);
    let report = verify(&run.signed_report().unwrap().bytes(), &Against::default()).unwrap().report;
    assert_eq!((report.status, report.components.len()), (Status::Aborted, 3));
    // Before the new set is complete, and where the old one stays, none is destroyed.
    for (kind, step) in
        [(Kind::Components, "seal-1.1"), (Kind::Components, "restore-test"), (Kind::Drill, "erase")]
    {
        let mut run = begun(kind);
        up_to(&mut run, step);
        run.abort(START + 100, "the power failed").unwrap();
        up_to(&mut run, "return-1.1");
        let error = refused(&mut run, |run| run.done(START + 200, Outcome::Destroyed));
        assert!(matches!(error, RunError::Kind(_)), "{kind:?} {step}: {error}");
    }
}

/// What came up while there were secrets may have taken them: people sign for it, although it went away.
#[test]
fn what_came_up_beside_secrets_is_not_mended() {
    let mut script = script(Kind::Generation);
    script.deviations = vec![FindingKind::Swap, FindingKind::Hypervisor];
    script.deviations.sort_unstable();
    for by_watch in [true, false] {
        let mut run = Run::begin(script.clone(), &genesis(), START).unwrap();
        up_to(&mut run, "read-back-paper-1.2");
        let swap = finding(FindingKind::Swap);
        if by_watch {
            run.finding(START + 90, swap).unwrap();
        } else {
            run.inspect(START + 90, room(&[swap])).unwrap();
        }
        run.inspect(START + 91, room(&[])).unwrap();
        assert_eq!((run.status(), run.findings()[0].answer), (Status::Running, Answer::Open));
        let outcome = right(&run);
        assert!(matches!(refused(&mut run, |run| run.done(START + 92, outcome)), RunError::Open(_)));
        run.deviate(START + 92, deviation(&run, 0, &["alice", "bob"])).unwrap();
        finish(&mut run);
        assert_eq!(run.report().unwrap().findings[0].answer, Answer::Deviated);
    }
}

/// What no inspection writes draws on no screen and no page.
#[test]
fn what_is_found_is_printable() {
    let escape = || "\u{1b}[2J".to_owned();
    let bad = Finding { kind: FindingKind::Media, detail: escape() };
    let long = Finding { kind: FindingKind::Media, detail: "x".repeat(TEXT_LIMIT_CHARS + 1) };
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "inspect");
    for finding in [bad, long] {
        assert_eq!(refused(&mut run, |run| run.finding(START + 60, finding.clone())), RunError::Text);
        let found = room(std::slice::from_ref(&finding));
        assert_eq!(refused(&mut run, |run| run.inspect(START + 60, found.clone())), RunError::Text);
        assert_eq!(refused(&mut run, |run| run.done(START + 60, Outcome::Room(found))), RunError::Text);
    }
    type Fact = fn(&mut Facts) -> &mut String;
    let facts: [Fact; 13] = [
        |f| &mut f.os,
        |f| &mut f.kernel,
        |f| &mut f.cpu,
        |f| &mut f.firmware,
        |f| &mut f.product,
        |f| &mut f.serial,
        |f| &mut f.microcode[0],
        |f| &mut f.tpm[0],
        |f| &mut f.mounts[0],
        |f| &mut f.interfaces[1].name,
        |f| &mut f.packages[0].name,
        |f| &mut f.packages[0].version,
        |f| f.packages[1].checksum.as_mut().unwrap(),
    ];
    for fact in facts {
        let mut drawn = room(&[]);
        *fact(&mut drawn.facts) = escape();
        assert_eq!(refused(&mut run, |run| run.inspect(START + 60, drawn)), RunError::Text);
    }
    run.done(START + 60, Outcome::Room(room(&[]))).unwrap();
}

/// A report that is too long would be signed by everybody and then never verify.
#[test]
fn a_run_takes_no_more_inspections_than_a_report_holds() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "seal-1.1");
    let mut large = room(&[]);
    large.facts.mounts = vec!["x".repeat(TEXT_LIMIT_CHARS); 2_000];
    let full = |run: &mut Run, room: &Room| {
        while let Ok(()) = run.inspect(START + 90, room.clone()) {
            assert!(run.save().0.len() < INSPECTED_LIMIT_BYTES + 1_000);
        }
        refused(run, |run| run.inspect(START + 90, room.clone()))
    };
    assert_eq!(full(&mut run, &large), RunError::Full);
    // A smaller one still fits, and then none.
    run.inspect(START + 90, room(&[])).unwrap();
    large.facts.mounts.truncate(100);
    assert_eq!(full(&mut run, &large), RunError::Full);
    assert!(run.save().0.len() > INSPECTED_LIMIT_BYTES - 100_000);
    // The inspection that is a step fits, up to its own limit, and so does the rest.
    up_to(&mut run, "inspect-again");
    let mut ended = run.clone();
    large.facts.mounts = vec!["x".repeat(TEXT_LIMIT_CHARS); 20_000];
    assert_eq!(refused(&mut run, |run| run.done(START + 999, Outcome::Room(large))), RunError::Full);
    finish(&mut run);
    ended.abort(START + 999, "nobody can read all that").unwrap();
    finish(&mut ended);
    for run in [run, ended] {
        let file = run.signed_report().unwrap().bytes();
        assert!((INSPECTED_LIMIT_BYTES - 100_000..REPORT_LIMIT_BYTES).contains(&file.len()));
        verify(&file, &Against::default()).unwrap();
    }
}

#[test]
fn an_aborted_ceremony_is_signed_by_a_quorum() {
    let mut run = begun(Kind::Generation);
    run.abort(START, "nobody brought dice").unwrap();
    up_to(&mut run, "sign-alice");
    go(&mut run);
    // Bob is the one security officer.
    let error = refused(&mut run, |run| run.done(START, Outcome::Absent));
    assert!(matches!(error, RunError::Wrong { .. }), "{error}");
    go(&mut run);
    for _ in 0..5 {
        run.done(START, Outcome::Absent).unwrap();
    }
    let signed = run.signed_report().unwrap();
    assert_eq!(signed.signatures.len(), 2);
    let verified = verify(&signed.bytes(), &Against::default()).unwrap();
    assert_eq!(verified.signers, [name("alice"), name("bob")]);
    // Of a complete one, everybody signs.
    let mut complete = begun(Kind::Generation);
    up_to(&mut complete, "sign-walter");
    let error = refused(&mut complete, |run| run.done(START, Outcome::Absent));
    assert!(matches!(error, RunError::Kind(_)));
}

#[test]
fn a_pause_erases_and_begins_anew_at_the_first_secret_step() {
    let cases: [(Kind, &str, &[&str], &str); 4] = [
        (Kind::Generation, "generate", &["erase"], "entropy-operating-system"),
        (Kind::Generation, "write-1.2", &["erase", "void-1.1", "void-1.2"], "entropy-operating-system"),
        (
            Kind::Generation,
            "erase",
            &["erase", "void-1.1", "void-1.2", "void-1.3"],
            "entropy-operating-system",
        ),
        (
            Kind::Components,
            "restore-test",
            &["erase", "void-1.1", "void-1.2", "void-1.3", "return-1.1", "return-1.2"],
            "open-1.1",
        ),
    ];
    for (kind, step, clearing, first) in cases {
        let all: Vec<String> = actions(&script(kind)).iter().map(Action::id).collect();
        let from = all.iter().position(|id| id == first).unwrap();
        let expected = || {
            let tail = all[from..].iter().map(String::as_str);
            clearing.iter().copied().chain(["inspect"]).chain(tail).collect::<Vec<_>>()
        };
        let mut paused = begun(kind);
        up_to(&mut paused, step);
        // Without a pause, say when the power fails, the same follows from going on.
        let (saved, hash) = paused.save();
        let resumed = Run::resume(&saved, &hash, &genesis(), START + 200).unwrap();
        assert_eq!(rest(&resumed), expected(), "{kind:?} {step}");
        paused.pause(START + 100).unwrap();
        assert_eq!(rest(&paused), expected(), "{kind:?} {step}");
        // After the pause, all that was cleared once is not cleared again.
        up_to(&mut paused, "inspect");
        let (saved, hash) = paused.save();
        let mut again = Run::resume(&saved, &hash, &genesis(), START + 200).unwrap();
        assert_eq!(rest(&again), rest(&paused));
        assert!(matches!(again.events().last().unwrap().what, Happening::Resumed));
        while again.current().is_some() {
            again.done(START + 300, right(&again)).unwrap();
        }
        assert_eq!(again.status(), Status::Complete);
        let report = verify(&again.signed_report().unwrap().bytes(), &Against::default()).unwrap().report;
        if kind.makes_components() {
            assert!(report.components.iter().all(|made| made.verified == Medium::ALL));
        }
    }
    let mut early = begun(Kind::Generation);
    up_to(&mut early, "record");
    assert_eq!(refused(&mut early, |run| run.pause(START + 100)), RunError::NothingSecret);
    let (saved, hash) = early.save();
    assert_eq!(rest(&Run::resume(&saved, &hash, &genesis(), START + 100).unwrap()), rest(&early));
}

#[test]
fn a_saved_run_is_the_one_that_was_noted() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "record");
    let (saved, hash) = run.save();
    let resume = |saved: &[u8], hash: &Hash| Run::resume(saved, hash, &genesis(), START + 99);
    assert!(matches!(resume(&saved, &Hash([1; 32])), Err(RunError::Changed { .. })));
    // Whoever knows how to compute the hash still cannot skip a step, or use other words.
    let text = String::from_utf8(saved).unwrap();
    let hash_of = |text: &str| Hash::of(ceremony::run::RUN_FORMAT, text.as_bytes());
    assert_eq!(hash_of(&text), hash);
    let skipped = text.replacen("\"step\":\"arrive-bob\"", "\"step\":\"arrive-carol\"", 1);
    assert!(matches!(resume(skipped.as_bytes(), &hash_of(&skipped)), Err(RunError::Order { .. })));
    let spaced = text.replacen(',', ", ", 1);
    assert!(matches!(resume(spaced.as_bytes(), &hash_of(&spaced)), Err(RunError::Saved(_))));
    let newer = text.replace("ceremony-run/v1", "ceremony-run/v2");
    assert!(
        matches!(resume(newer.as_bytes(), &hash_of(&newer)), Err(RunError::Saved(why)) if why.contains("v2"))
    );
    let other = fixtures::genesis();
    assert!(matches!(Run::resume(text.as_bytes(), &hash, &other, START), Err(RunError::Script(_))));
    let (over, hash) = held(Kind::Drill).save();
    assert_eq!(resume(&over, &hash).unwrap_err(), RunError::Over);
}

/// What is written down in a run tells nothing that people keep secret: only what each outcome has.
#[test]
fn a_saved_run_says_when_it_was_interrupted() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "seal-1.1");
    let (saved, hash) = run.save();
    let mut run = Run::resume(&saved, &hash, &genesis(), START + 200).unwrap();
    while run.current().is_some() {
        run.done(START + 300, right(&run)).unwrap();
    }
    let report = run.report().unwrap();
    assert!(report.events.iter().any(|event| event.at == START + 200 && event.what == Happening::Resumed));
    let twice = report.operations().filter(|(_, step, _)| *step == "generate").count();
    assert_eq!(twice, 2);
    assert_eq!(report.components.len(), 3);
}

#[test]
fn an_open_finding_never_stands_in_the_way_of_erasing() {
    let mut run = begun(Kind::Components);
    up_to(&mut run, "seal-1.1");
    run.finding(START + 90, finding(FindingKind::Clock)).unwrap();
    run.pause(START + 91).unwrap();
    for step in ["erase", "void-1.1", "return-1.1", "return-1.2"] {
        assert_eq!(next(&run), step);
        run.done(START + 92, right(&run)).unwrap();
    }
    // But in the way of everything else.
    // That it is gone again mends nothing: it was there when there were secrets.
    run.done(START + 92, Outcome::Room(room(&[]))).unwrap();
    assert_eq!((next(&run), run.findings()[0].answer), ("inspect", Answer::Open));
    run.deviate(START + 92, deviation(&run, 0, &["alice", "bob"])).unwrap();
    run.done(START + 92, right(&run)).unwrap();
    assert_eq!(next(&run), "open-1.1");
}

/// People sign what they wrote the hash of: nothing changes it any more.
#[test]
fn a_closed_report_stays_as_it_is() {
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "sign-bob");
    let hash = run.report().unwrap().hash();
    let link = finding(FindingKind::NetworkLink);
    assert_eq!(refused(&mut run, |run| run.inspect(START + 99, room(&[]))), RunError::Over);
    assert_eq!(refused(&mut run, |run| run.finding(START + 99, link)), RunError::Over);
    run.done(START, right(&run)).unwrap();
    assert!(run.open().is_none());
    let (saved, noted) = run.save();
    let mut resumed = Run::resume(&saved, &noted, &genesis(), START + 99).unwrap();
    assert_eq!((next(&resumed), resumed.report().unwrap().hash()), ("sign-carol", hash));
    finish(&mut resumed);
    assert_eq!(resumed.signed_report().unwrap().report.hash(), hash);
}

#[test]
fn there_is_no_report_before_it_can_be_closed() {
    let mut run = begun(Kind::Drill);
    loop {
        let closing = next(&run) == "close-report";
        assert_eq!(run.report().err(), (!closing).then_some(RunError::NoReport), "{}", next(&run));
        assert!(matches!(run.signed_report(), Err(RunError::NoReport)));
        if closing {
            break;
        }
        go(&mut run);
    }
    // An open finding has to be answered first.
    run.finding(START + 99, finding(FindingKind::Clock)).unwrap();
    assert!(matches!(run.report(), Err(RunError::Open(_))));
}

#[test]
fn limits_on_both_sides() {
    let mut run = begun(Kind::Drill);
    for number in 0..FINDINGS_LIMIT {
        run.finding(START, Finding::new(FindingKind::Media, &number.to_string())).unwrap();
    }
    assert_eq!((run.findings().len(), run.status()), (FINDINGS_LIMIT, Status::Running));
    // The same one again is not another one.
    run.finding(START, Finding::new(FindingKind::Media, "7")).unwrap();
    assert_eq!(run.status(), Status::Running);
    run.finding(START, finding(FindingKind::Media)).unwrap();
    assert_eq!((run.findings().len(), run.status()), (FINDINGS_LIMIT, Status::Aborting));

    let last = custody::canon::INTEGER_LIMIT - 1;
    let mut late = begun(Kind::Drill);
    let error = refused(&mut late, |run| run.done(last + 1, Outcome::Present));
    assert!(matches!(error, RunError::Form(_)), "{error}");
    late.done(last, Outcome::Present).unwrap();
    assert!(matches!(Run::begin(script(Kind::Drill), &genesis(), last + 1), Err(RunError::Form(_))));
    Run::begin(script(Kind::Drill), &genesis(), last).unwrap();
    let mut reason = begun(Kind::Drill);
    let long = "x".repeat(REASON_LIMIT_BYTES + 1);
    assert_eq!(refused(&mut reason, |run| run.abort(START, &long)), RunError::Reason);
    reason.abort(START, &long[1..]).unwrap();
}

/// Random numbers from a seed.
struct Dice(u64, u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.1 += 1;
        let hash = Hash::sha256(&[self.0.to_be_bytes(), self.1.to_be_bytes()].concat());
        usize::from(u16::from_be_bytes([hash.0[0], hash.0[1]])) % limit
    }
}

/// One call, right or wrong. Errors are expected; what they may not do is get past anything.
fn any_call(run: Run, dice: &mut Dice, all: &[Outcome], clock: &mut u64) -> Run {
    let kinds = FindingKind::ALL;
    let mut run = run;
    *clock += u64::try_from(dice.below(3)).unwrap();
    let at = if dice.below(60) == 0 { *clock - 1 } else { *clock };
    match dice.below(100) {
        0..75 => {
            let outcome = match run.open() {
                Some(_) if !matches!(run.current().unwrap().action, Action::Inspect(_)) => Outcome::Present,
                _ => right(&run),
            };
            let _ = run.done(at, outcome);
        }
        75..85 => {
            let _ = run.done(at, all[dice.below(all.len())].clone());
        }
        85..88 => {
            let found: Vec<Finding> =
                (0..dice.below(2)).map(|_| finding(kinds[dice.below(kinds.len())])).collect();
            let _ = run.inspect(at, room(&found));
        }
        88 => {
            let _ = run.finding(at, finding(kinds[dice.below(kinds.len())]));
        }
        89..96 => {
            let Some((number, found)) = run.open() else { return run };
            if !run.script().deviations.contains(&found.finding.kind) {
                // People mend what can be mended, and give up otherwise.
                let _ = if found.inspected { run.inspect(at, room(&[])) } else { run.abort(at, "stuck") };
                return run;
            }
            let people: Vec<&str> =
                ["alice", "bob", "carol"].into_iter().filter(|_| dice.below(3) > 0).collect();
            let mut signed = deviation(&run, number, &people);
            if dice.below(4) == 0 {
                signed.reason.push('?');
            }
            let _ = run.deviate(at, signed);
        }
        96 => {
            let _ = run.pause(at);
        }
        97 => {
            let (saved, hash) = run.save();
            run = Run::resume(&saved, &hash, &genesis(), at).unwrap();
        }
        98 if dice.below(20) == 0 => {
            let _ = run.abort(at, "because");
        }
        _ => {
            let mut other = all[dice.below(all.len())].clone();
            if let Outcome::ReadBack { health, .. } = &mut other {
                *health = Hash([9; 32]);
            }
            let _ = run.done(at, other);
        }
    }
    run
}

/// Told from the events alone, not from what the run says of itself.
fn check_complete(run: &Run) {
    let events = run.events();
    let last = |step: &str| {
        events.iter().rposition(|event| matches!(&event.what, Happening::Done { step: s, .. } if s == step))
    };
    // Since the last interruption each step was done, in order.
    let mut before = 0;
    for action in actions(run.script()) {
        let position = last(&action.id()).unwrap_or_else(|| panic!("{} was skipped", action.id()));
        let repeated = matches!(action, Action::Inspect(_));
        assert!(position >= before || repeated, "{} was done too early", action.id());
        before = before.max(position);
    }
    let interrupted =
        events.iter().rposition(|event| matches!(event.what, Happening::Paused | Happening::Resumed));
    for (number, member) in run.script().components.iter().flat_map(|set| set.members()).enumerate() {
        let (id, _) = member;
        let mut sealed = 0;
        for medium in Medium::ALL {
            let position = last(&Action::ReadBack(id, medium).id()).unwrap();
            let Happening::Done { outcome: Outcome::ReadBack { health, .. }, .. } = &events[position].what
            else {
                panic!("read back");
            };
            assert_eq!(*health, rehearsal::health("new", id), "{number}");
            sealed = sealed.max(position);
        }
        assert!(sealed < last(&Action::Seal(id).id()).unwrap());
        // Whatever was interrupted in a secret step was made anew.
        let made = last("verify-combinations").unwrap();
        let erased = last("erase").unwrap();
        assert!(interrupted.is_none_or(|at| at < made || at > erased));
    }
    let mut signed: BTreeMap<usize, usize> = BTreeMap::new();
    for event in events {
        if let Happening::Deviated(deviation) = &event.what {
            let officer = deviation.signatures.iter().any(|signature| signature.person.as_str() == "bob");
            assert!(officer && deviation.signatures.len() >= 2);
            *signed.entry(deviation.finding.try_into().unwrap()).or_default() += 1;
        }
    }
    for (number, found) in run.findings().iter().enumerate() {
        match found.answer {
            Answer::Mended => assert!(found.inspected),
            Answer::Deviated => assert_eq!(signed.get(&number), Some(&1)),
            Answer::Open | Answer::Aborted => panic!("finding {number} was passed over: {found:?}"),
        }
    }
}

#[test]
fn no_order_of_calls_skips_anything() {
    let all: Vec<Outcome> = outcomes().into_values().collect();
    let (mut complete, mut aborted, mut deviated, mut interrupted) = (0, 0, 0, 0);
    for seed in 0..60 {
        let mut dice = Dice(seed, 0);
        let kind = KINDS[dice.below(KINDS.len())];
        let (mut run, mut clock) = (begun(kind), START);
        for _ in 0..2_000 {
            if run.current().is_none() {
                break;
            }
            run = any_call(run, &mut dice, &all, &mut clock);
        }
        match run.status() {
            Status::Complete => {
                check_complete(&run);
                verify(&run.signed_report().unwrap().bytes(), &Against::default()).unwrap();
                complete += 1;
                deviated += u32::from(run.findings().iter().any(|f| f.answer == Answer::Deviated));
                let again = |event: &ceremony::run::Event| {
                    matches!(event.what, Happening::Paused | Happening::Resumed)
                };
                interrupted += u32::from(run.events().iter().any(again));
            }
            Status::Aborted => aborted += 1,
            Status::Running | Status::Aborting => panic!("{seed}: it stands still at {}", next(&run)),
        }
    }
    // The walk is worth something only if it gets through, and by way of everything.
    assert!(
        complete >= 10 && aborted >= 5 && deviated >= 3 && interrupted >= 3,
        "{complete} complete, {aborted} aborted, {deviated} with deviations, {interrupted} interrupted"
    );
}
