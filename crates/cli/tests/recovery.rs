//! `keyward recovery`: the register of recovery components, by the built program, from real reports.

mod common;
#[path = "../../ceremony/tests/rehearsal/mod.rs"]
mod rehearsal;

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use ceremony::component::{Challenge, Component};
use ceremony::run::{Outcome, Run};
use ceremony::script::{Action, Kind, Script};
use ceremony::slip39::{self, Scheme};
use common::{Host, PASSPHRASE};
use custody::{Blob, Hash, canon};
use ed25519_dalek::Signer as _;
use evidence::register::{
    Answer, CLOCK_TOLERANCE_S, Document, Drill, HEALTH_INTERVAL_S, Register, Review, SignedEntry, Signer,
    What,
};
use keys::device::DeviceKey;
use keys::locked::LockedBytes;
use rand_core::{CryptoRng, OsRng, RngCore};
use serde_json::Value;

const DAY_S: u64 = 24 * 3600;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Gives a fixture's keys to whoever draws keys from it, and then randomness.
struct Draws(Vec<u8>);

impl RngCore for Draws {
    fn next_u32(&mut self) -> u32 {
        OsRng.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        OsRng.next_u64()
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        if self.0.len() >= to.len() {
            to.copy_from_slice(&self.0.drain(..to.len()).collect::<Vec<_>>());
        } else {
            OsRng.fill_bytes(to);
        }
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl CryptoRng for Draws {}

/// A host of alice with the pinned genesis of the rehearsals.
fn host() -> Host {
    let host = Host::new();
    let genesis = rehearsal::genesis();
    fs::write(host.path("genesis.json"), genesis.bytes()).unwrap();
    host.ok(&format!("genesis pin genesis.json --hash {}", genesis.hash()));
    let seeds = [fixtures::key("alice").to_bytes(), fixtures::key("alice/tls").to_bytes()].concat();
    let device = DeviceKey::generate(&mut Draws(seeds));
    assert_eq!(device.public().sign, fixtures::public("alice"));
    fs::write(host.path("alice.key"), device.to_file(PASSPHRASE, &mut OsRng).unwrap()).unwrap();
    host.ok("profile --device alice.key");
    host
}

/// Runs a script to its end; new components are those given, if any.
fn held(script: Script, began_at: u64, components: &[Component]) -> Run {
    let mut run = Run::begin(script, &rehearsal::genesis(), began_at).unwrap();
    go_on(&mut run, began_at, components, "");
    run
}

/// Goes on from a time to a step, or to the end.
fn go_on(run: &mut Run, from: u64, components: &[Component], to: &str) {
    let health = |id| components.iter().find(|c| c.id() == id).map(Component::health_public);
    let mut at = from;
    while let Some(step) = run.current().filter(|step| step.id != to) {
        let action = step.action.clone();
        let outcome = match (rehearsal::right(run), action) {
            (Outcome::Verified { combinations, accounts, .. }, _) if !components.is_empty() => {
                let health = components.iter().map(Component::health_public).collect();
                Outcome::Verified { combinations, health, accounts }
            }
            (Outcome::ReadBack { how, health: other }, Action::ReadBack(id, _)) => {
                Outcome::ReadBack { how, health: health(id).unwrap_or(other) }
            }
            // Each seal is another one, here and in other ceremonies.
            (Outcome::Sealed { .. }, Action::Return(id)) => {
                Outcome::Sealed { seal: format!("D-{id}-{}", run.events().len()) }
            }
            (other, _) => other,
        };
        at += 1;
        run.done(at, outcome).unwrap();
    }
}

/// A script over the components of a ceremony, under the seals that it put them.
fn over(kind: Kind, made: &Run) -> Script {
    let report = made.report().unwrap();
    let mut script = rehearsal::script(kind);
    let held_set = script.held.as_mut().unwrap();
    held_set.report = report.hash();
    let members = held_set.components.groups.iter_mut().flat_map(|group| &mut group.members);
    members.zip(&report.components).for_each(|(member, made)| member.seal = made.seal.clone());
    script
}

/// What was entered last.
fn last_entry(host: &Host) -> What {
    let file = fs::read(host.path("home/recovery.jsonl")).unwrap();
    let last = file.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
    let SignedEntry { entry, .. } = canon::decode(last).unwrap();
    entry.what
}

/// A host with the report of a generation of 100 days ago, its components, and the hash of the report.
fn generated() -> (Host, Vec<Component>, Run) {
    let host = host();
    let master = LockedBytes::random(32, &mut OsRng).unwrap();
    let shares = slip39::split(&master, &Scheme::any(2, 3).unwrap(), 0, &mut OsRng).unwrap();
    let components: Vec<Component> = shares.into_iter().map(Component::new).collect();
    let run = held(rehearsal::script(Kind::Generation), now() - 100 * DAY_S, &components);
    fs::write(host.path("report.json"), run.signed_report().unwrap().bytes()).unwrap();
    (host, components, run)
}

fn rows(host: &Host, code: i32) -> Vec<Value> {
    let output = host.run("recovery status --output json");
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    shown["rows"].as_array().unwrap().clone()
}

fn standing(rows: &[Value], requirement: &str, component: Option<&str>, what: &str) -> String {
    let of = |row: &&Value| {
        row["requirement"] == requirement
            && row["component"].as_str() == component
            && row["what"].as_str().unwrap().contains(what)
    };
    let found: Vec<&Value> = rows.iter().filter(of).collect();
    assert_eq!(found.len(), 1, "{requirement} {component:?} {what}");
    found[0]["standing"].as_str().unwrap().to_owned()
}

#[test]
fn components_are_proven_one_by_one() {
    let (host, components, run) = generated();
    assert!(rows(&host, 0).is_empty());
    let identifier = components[0].set();
    let said = host.fails("recovery register report.json", 2);
    assert!(said.contains("--identifier"), "{said}");
    host.ok(&format!("recovery register report.json --identifier {identifier}"));
    let said = host.fails(&format!("recovery register report.json --identifier {identifier}"), 3);
    assert!(said.contains("in the register already"), "{said}");

    // After 100 days each component is overdue on each medium.
    let all = rows(&host, 7);
    const { assert!(100 * DAY_S > HEALTH_INTERVAL_S) };
    for component in &components {
        for medium in ["paper", "file"] {
            assert_eq!(standing(&all, "REC-09", Some(&component.id().to_string()), medium), "overdue");
        }
    }
    assert_eq!(standing(&all, "REC-02", None, "rehearsed"), "ok");
    let text = host.fails("recovery status", 7);
    assert!(text.contains("REC-09  overdue  1.1 whole on paper (carol)"), "{text}");

    // Asked, answered offline by the holder's program, entered.
    for (component, medium) in [(0, "paper"), (0, "file"), (1, "paper")] {
        let component = &components[component];
        let out = format!("challenge-{}-{medium}", component.id());
        host.ok(&format!("recovery challenge {} --medium {medium} --out {out}", component.id()));
        host.fails(&format!("recovery challenge {} --medium {medium} --out {out}", component.id()), 2);
        let bytes = fs::read(host.path(&out)).unwrap();
        let challenge = Challenge::parse(&bytes).unwrap();
        assert_eq!(
            (challenge.by.as_str(), challenge.ceremony),
            ("alice", run.report().unwrap().nonce.unwrap())
        );
        let right = component.answer(&challenge).unwrap();
        let file = |signature: [u8; 64]| {
            let answer = Answer { challenge: Hash::sha256(&bytes), signature: Blob(signature.to_vec()) };
            fs::write(host.path("answer.json"), canon::encode(&answer).unwrap()).unwrap();
        };
        let mut wrong = right;
        wrong[5] ^= 1;
        file(wrong);
        host.fails("recovery answer answer.json", 5);
        file(right);
        host.ok("recovery answer answer.json");
        let said = host.fails("recovery answer answer.json", 3);
        assert!(said.contains("already"), "{said}");
    }
    let all = rows(&host, 7);
    assert_eq!(standing(&all, "REC-09", Some("1.1"), "paper"), "ok");
    assert_eq!(standing(&all, "REC-09", Some("1.1"), "file"), "ok");
    assert_eq!(standing(&all, "REC-09", Some("1.2"), "paper"), "ok");
    assert_eq!(standing(&all, "REC-09", Some("1.2"), "file"), "overdue");
    host.ok("recovery failed 1.1 --medium file --reason the_stick_is_broken");
    assert_eq!(standing(&rows(&host, 7), "REC-09", Some("1.1"), "file"), "failed");
    host.fails("recovery failed 1.7 --medium file --reason gone", 3);
}

#[test]
fn seals_and_documents_are_entered() {
    let (host, components, run) = generated();
    host.ok(&format!("recovery register report.json --identifier {}", components[0].set()));
    let seal = run.report().unwrap().components[0].seal.clone();
    host.ok(&format!("recovery seal 1.1 --found {seal} --replaced N-1 --reason yearly_look"));
    assert_eq!(standing(&rows(&host, 7), "REC-03", Some("1.1"), "N-1"), "ok");
    host.fails("recovery seal 1.1 --found N-1 --replaced N-1 --reason yearly_look", 3);
    host.ok("recovery seal 1.1 --found N-7 --replaced N-2 --reason yearly_look");
    assert_eq!(standing(&rows(&host, 7), "REC-03", Some("1.1"), "N-2"), "failed");
    host.fails(
        &format!("recovery seal 1.1 --set {} --found N-2 --replaced N-3 --reason look", Hash([8; 32])),
        2,
    );

    assert_eq!(standing(&rows(&host, 7), "REC-05", None, "continuity"), "failed");
    fs::write(host.path("plan.pdf"), "what we do").unwrap();
    host.ok("recovery review continuity-plan plan.pdf");
    assert_eq!(standing(&rows(&host, 7), "REC-05", None, "continuity"), "ok");
    assert_eq!(standing(&rows(&host, 7), "REC-02", None, "runbook"), "failed");
}

#[test]
fn a_drill_is_entered_from_its_report_with_its_seals() {
    let (host, components, made) = generated();
    host.ok(&format!("recovery register report.json --identifier {}", components[0].set()));
    let report = made.report().unwrap();
    let drill = held(over(Kind::Drill, &made), now() - DAY_S, &[]);
    fs::write(host.path("drill.json"), drill.signed_report().unwrap().bytes()).unwrap();
    host.ok("recovery register drill.json");
    let What::Drill(Drill { seals, passed: true, set, held_at, .. }) = last_entry(&host) else {
        panic!("no drill that passed")
    };
    assert_eq!((set, held_at), (report.hash(), drill.report().unwrap().ended_at));
    let found: Vec<(String, String)> =
        seals.iter().map(|change| (change.component.to_string(), change.found.clone())).collect();
    let expected = |place: usize, id: &str| (id.to_owned(), report.components[place].seal.clone());
    assert_eq!(found, [expected(0, "1.1"), expected(1, "1.2")]);
    let all = rows(&host, 7);
    assert_eq!(standing(&all, "REC-03", Some("1.1"), &seals[0].replaced), "ok");
    assert_eq!(standing(&all, "REC-02", None, "rehearsed"), "ok");
    host.fails("recovery register drill.json", 3);
}

#[test]
fn a_register_or_report_that_was_changed_is_noticed() {
    let (host, components, _) = generated();
    let identifier = components[0].set();
    let report = fs::read_to_string(host.path("report.json")).unwrap();
    fs::write(host.path("other.json"), report.replace("safe of north", "safe of nord!")).unwrap();
    host.fails(&format!("recovery register other.json --identifier {identifier}"), 5);
    assert!(!host.path("home/recovery.jsonl").exists());
    host.ok(&format!("recovery register report.json --identifier {identifier}"));
    let file = fs::read_to_string(host.path("home/recovery.jsonl")).unwrap();
    fs::write(host.path("home/recovery.jsonl"), file.replace("safe of north", "safe of nord!")).unwrap();
    let said = host.fails("recovery status", 5);
    assert!(said.contains("entry 1: the signature of alice does not verify"), "{said}");
    // Another file can be named.
    fs::write(host.path("copy.jsonl"), file).unwrap();
    host.fails("recovery status --register copy.jsonl", 7);
    // Somebody whose key the log does not have enters nothing.
    host.ok("person new --id mallory --name Mallory --out mallory.key");
    host.fails("recovery review continuity-plan report.json --register copy.jsonl --device mallory.key", 3);
}

/// A drill is interrupted while the second container is opened: both go back under new seals, and are opened again.
#[test]
fn each_seal_of_an_interrupted_drill_is_entered() {
    let (host, components, made) = generated();
    host.ok(&format!("recovery register report.json --identifier {}", components[0].set()));
    let began_at = now() - DAY_S;
    let mut drill = Run::begin(over(Kind::Drill, &made), &rehearsal::genesis(), began_at).unwrap();
    go_on(&mut drill, began_at, &[], "open-1.2");
    drill.pause(began_at + 1_000).unwrap();
    go_on(&mut drill, began_at + 1_000, &[], "");
    fs::write(host.path("drill.json"), drill.signed_report().unwrap().bytes()).unwrap();
    host.ok("recovery register drill.json");
    let What::Drill(Drill { seals, passed: true, .. }) = last_entry(&host) else {
        panic!("no drill that passed")
    };
    let of = |id: &str| {
        let own = seals.iter().filter(|change| change.component.to_string() == id);
        own.map(|change| (change.found.as_str(), change.replaced.as_str())).collect::<Vec<_>>()
    };
    let (first, second) = (of("1.1"), of("1.2"));
    assert_eq!((first.len(), second.len()), (2, 2), "{seals:?}");
    assert_eq!(first[0].0, made.report().unwrap().components[0].seal);
    assert_eq!((first[1].0, second[1].0), (first[0].1, second[0].1), "what was found is what was put there");
    assert!(second[0].0.contains("not noted"), "{seals:?}");
    // Nobody knows what was around the second before: it is in doubt.
    let all = rows(&host, 7);
    assert_eq!(standing(&all, "REC-03", Some("1.1"), first[1].1), "ok");
    assert_eq!(standing(&all, "REC-03", Some("1.2"), second[1].1), "failed");
}

/// Given up while the old components were destroyed: the new ones may be all there is.
#[test]
fn components_that_an_aborted_ceremony_kept_are_entered() {
    let (host, components, made) = generated();
    host.ok(&format!("recovery register report.json --identifier {}", components[0].set()));
    let began_at = now() - DAY_S;
    let given_up = |at: &str, name: &str| {
        let mut run = Run::begin(over(Kind::Components, &made), &rehearsal::genesis(), began_at).unwrap();
        // Seals of another ceremony than the first one, which numbers them by its events.
        run.inspect(began_at, rehearsal::room(&[])).unwrap();
        go_on(&mut run, began_at, &[], at);
        run.abort(began_at + 1_000, "the shredder burns").unwrap();
        go_on(&mut run, began_at + 1_000, &[], "");
        fs::write(host.path(name), run.signed_report().unwrap().bytes()).unwrap();
        run.report().unwrap()
    };
    assert!(given_up("open-1.1", "early.json").components.is_empty());
    let said = host.fails("recovery register early.json --identifier 9", 3);
    assert!(said.contains("lists no components") && said.contains("keyward recovery seal"), "{said}");

    let report = given_up("retire-1.2", "late.json");
    assert_eq!(report.components.len(), 3);
    host.ok("recovery register late.json --identifier 9");
    let What::Set(set) = last_entry(&host) else { panic!("no set") };
    assert_eq!((set.report, set.components.len(), set.replaces), (report.hash(), 3, None));
    // Not all of the old ones are destroyed: both are looked after.
    let text = host.fails("recovery status", 7);
    assert_eq!(text.matches("set         ").count(), 2, "{text}");
}

#[test]
fn a_challenge_follows_a_clock_that_is_ahead_and_is_entered_only_once_somebody_has_it() {
    let (host, components, _) = generated();
    host.ok(&format!("recovery register report.json --identifier {}", components[0].set()));
    let path = host.path("home/recovery.jsonl");
    let genesis = rehearsal::genesis().hash();
    let alice =
        || Signer { person: fixtures::name("alice"), public: fixtures::public("alice"), revoked_at: None };
    let ahead = now() + CLOCK_TOLERANCE_S / 2;
    let mut file = fs::read(&path).unwrap();
    let register = Register::read(&file, genesis, &|_| Some(alice()), now()).unwrap();
    assert!(register.last_at() < ahead);
    let review = What::Reviewed(Review { document: Document::RecoveryRunbook, sha256: Hash([1; 32]) });
    let entry = register.next(ahead, &alice(), review).unwrap();
    let signature = fixtures::key("alice").sign(&entry.signed_bytes().unwrap()).to_bytes();
    file.extend(entry.line(signature).unwrap());
    fs::write(&path, &file).unwrap();

    // A file in the place of a directory.
    host.run("recovery challenge 1.1 --medium paper --out report.json/challenge");
    assert_eq!(fs::read(&path).unwrap(), file, "entered, and nobody has it");
    host.ok("recovery challenge 1.1 --medium paper --out challenge");
    let challenge = Challenge::parse(&fs::read(host.path("challenge")).unwrap()).unwrap();
    assert_eq!(challenge.at, ahead);
    let What::Challenged(entered) = last_entry(&host) else { panic!("no challenge") };
    assert_eq!(entered.at, ahead);
}
