//! What the tests of script, run and report share: sound scripts of every kind, and the outcome that each step
//! asks for. Keys are those of `fixtures`; account keys sign as rebuilt ones would.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;

use custody::document::{CeremonyRecord, Tier, restore_message};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::{Blob, Hash};
use ed25519_dalek::Signer as _;
use fixtures::Account;
use rand_core::OsRng;

use ceremony::entropy::{self, Gathered, Source};
use ceremony::room::facts::{Facts, Interface, Package};
use ceremony::room::{Finding, FindingKind, Room, Root, inspect};
use ceremony::run::{Deviation, How, Outcome, PersonSignature, Run};
use ceremony::script::{
    Accounts, Action, Afterwards, Brought, ComponentId, Components, Cosigners, Group, Hardware, Held, Kind,
    KnownAccount, Medium, Member, Person, Recording, Role, SCRIPT_FORMAT, Script, Site, Sources,
};

pub const START: u64 = fixtures::START;

/// The kinds of ceremony.
pub const KINDS: [Kind; 4] = [Kind::Generation, Kind::Components, Kind::Recovery, Kind::Drill];

/// Deployment of every script here.
pub fn genesis() -> Genesis {
    fixtures::newest()
}

pub fn name(text: &str) -> Name {
    fixtures::name(text)
}

fn person(id: &str, roles: &[Role]) -> Person {
    let custodian = roles.contains(&Role::KeyCustodian);
    Person {
        id: name(id),
        name: format!("{id} Example"),
        organisation: "Example Custody".into(),
        roles: roles.to_vec(),
        key: fixtures::public(id),
        age: custodian.then(|| format!("age1{id}")),
    }
}

/// Any 2 of 3, each at a site of its own, held by these people.
pub fn components(holders: [&str; 3], seals: &str) -> Components {
    let member = |(holder, site): (&str, &str)| Member {
        holder: name(holder),
        site: name(site),
        container: format!("safe of {site}"),
        seal: if seals.is_empty() { String::new() } else { format!("{seals}-{site}") },
    };
    let members = holders.into_iter().zip(["north", "south", "west"]).map(member).collect();
    Components { group_threshold: 1, groups: vec![Group { threshold: 2, members }] }
}

/// The health key of a component of a set.
pub fn health(set: &str, id: ComponentId) -> Hash {
    Hash::of("keyward/test/health", format!("{set}/{id}").as_bytes())
}

pub fn id(text: &str) -> ComponentId {
    text.parse().unwrap()
}

/// A sound script of a kind, for two accounts.
pub fn script(kind: Kind) -> Script {
    let held = Held {
        report: Hash([9; 32]),
        components: components(["carol", "dave", "erin"], "old"),
        brought: ["1.1", "1.2"]
            .map(|text| Brought { component: id(text), health: health("old", id(text)) })
            .to_vec(),
        afterwards: if kind == Kind::Components { Afterwards::Destroyed } else { Afterwards::Returned },
        known: (0..2).map(|number| KnownAccount { number, account: Account::new(number).key() }).collect(),
    };
    // Erin keeps her old component, so the new set has another third holder.
    let new = components(["carol", "dave", if kind == Kind::Generation { "erin" } else { "frank" }], "");
    let cosigners = Cosigners { threshold: 2, holders: ["s1", "s2", "s3"].map(name).to_vec() };
    Script {
        format: SCRIPT_FORMAT.into(),
        kind,
        title: "Hot tier, first of its kind".into(),
        place: "Room 3, north site".into(),
        genesis: genesis().hash(),
        network: genesis().network,
        tier: Tier::Hot,
        people: vec![
            person("alice", &[Role::Operator]),
            person("bob", &[Role::SecurityOfficer]),
            person("carol", &[Role::KeyCustodian]),
            person("dave", &[Role::KeyCustodian]),
            person("erin", &[Role::KeyCustodian]),
            person("frank", &[Role::KeyCustodian]),
            person("walter", &[Role::Witness]),
        ],
        accounts: Accounts { first: 0, count: 2 },
        highest_index: 0,
        sites: [("north", true), ("south", false), ("west", false)]
            .map(|(site, operations)| Site {
                name: name(site),
                address: format!("{site} street 1"),
                operations,
            })
            .to_vec(),
        components: kind.makes_components().then_some(new),
        held: (!kind.generates()).then_some(held),
        cosigners: kind.makes_shares().then_some(cosigners),
        entropy: if kind.generates() {
            Sources { dice: 200, coins: 0, hsm: false }
        } else {
            Sources::default()
        },
        hardware: vec![Hardware {
            what: "laptop".into(),
            maker: "Example".into(),
            model: "X1".into(),
            serial: "1234".into(),
            seal: "L-1".into(),
            purchased: "a shop in another town, in cash".into(),
            never_online: "sealed since it was bought".into(),
            radios: "card taken out".into(),
        }],
        recording: Some(Recording { how: "camera behind the table".into(), seal: "R-1".into() }),
        deviations: vec![FindingKind::Hypervisor, FindingKind::Clock, FindingKind::Hardware],
        deviation_quorum: 2,
    }
}

/// What is done by a script, in order.
pub fn actions(script: &Script) -> Vec<Action> {
    ceremony::script::steps::steps(script).into_iter().map(|step| step.action).collect()
}

/// A script of a kind that has begun.
pub fn begun(kind: Kind) -> Run {
    Run::begin(script(kind), &genesis(), START).unwrap()
}

/// A machine with these findings, of which each list of facts has something in it.
pub fn room(findings: &[Finding]) -> Room {
    let empty = tempfile::tempdir().unwrap();
    let facts = inspect(&Root(empty.path().to_owned()), START, Hash([7; 32])).facts;
    let interface = |name: &str, carrier_up_count: Option<u64>| Interface {
        name: name.into(),
        wireless: false,
        loopback: carrier_up_count.is_none(),
        carrier_up_count,
    };
    let package = |name: &str, checksum| Package { name: name.into(), version: "1.0.0".into(), checksum };
    let facts = Facts {
        microcode: vec!["0x1".into()],
        tpm: vec!["tpm0, version 2".into()],
        interfaces: vec![interface("lo", None), interface("eth0", Some(0))],
        mounts: vec!["/dev/sda1 / ext4 ro".into()],
        packages: vec![package("ceremony", None), package("serde", Some("ab".repeat(32)))],
        ..facts
    };
    Room { facts, findings: findings.to_vec() }
}

pub fn finding(kind: FindingKind) -> Finding {
    Finding::new(kind, "found in a test")
}

pub const NONCE: Hash = Hash([5; 32]);

/// What comes out of the next step if everything is as it should be.
pub fn right(run: &Run) -> Outcome {
    let script = run.script();
    let step = run.current().expect("a step");
    let accounts = || script.account_numbers().map(|number| Account::new(number).key()).collect::<Vec<_>>();
    // Each seal is another one.
    let seal = || format!("S-{}", run.events().len());
    match &step.action {
        Action::Arrive(_) => Outcome::Present,
        Action::CompareScript => Outcome::Compared { hash: script.hash() },
        Action::CompareGenesis => Outcome::Compared { hash: script.genesis },
        Action::Hardware(number) => {
            let device = &script.hardware[*number];
            Outcome::Hardware { serial: device.serial.clone(), seal: device.seal.clone() }
        }
        Action::Inspect(_) => Outcome::Room(room(&[])),
        Action::Record => Outcome::Recording { seal: script.recording.as_ref().unwrap().seal.clone() },
        Action::Entropy(source) => gathered(&take(*source)),
        Action::Generate => generated(script),
        Action::Open(id) => Outcome::Opened { seal: seal_of(run, *id) },
        Action::Enter(id) => Outcome::Entered { how: How::Typed, health: health("old", *id) },
        Action::Combine => Outcome::Combined {
            nonce: NONCE,
            known: script.held.as_ref().unwrap().known.iter().map(|known| known.account.clone()).collect(),
        },
        Action::VerifyCombinations => Outcome::Verified {
            combinations: 3,
            health: script.components.as_ref().unwrap().members().map(|(id, _)| health("new", id)).collect(),
            accounts: accounts(),
        },
        Action::PrintSheet(_) => Outcome::Printed,
        Action::WriteFile(id) => Outcome::Written { sha256: health("file", *id) },
        Action::ReadBack(id, medium) => Outcome::ReadBack {
            how: if *medium == Medium::Paper { How::Scanner } else { How::File },
            health: health("new", *id),
        },
        Action::Seal(_) | Action::Return(_) => Outcome::Sealed { seal: seal() },
        Action::RestoreTest => {
            Outcome::Restored { accounts: accounts(), signatures: restored(script, &NONCE) }
        }
        Action::SealShares => {
            let record = record(script, run.began_at());
            Outcome::SharesSealed { sets: 6, ceremony: record.id(&script.genesis) }
        }
        Action::Erase => Outcome::Erased { how: "locked memory, wiped; the process has ended".into() },
        Action::Void(_) | Action::Retire(_) => Outcome::Destroyed,
        Action::HandOver(cosigner) => Outcome::HandedOver {
            sha256: Hash::sha256(cosigner.as_str().as_bytes()),
            to: format!("courier of {cosigner}"),
        },
        Action::CloseReport => Outcome::Closed { report: run.report().unwrap().hash() },
        Action::Sign(person) => {
            Outcome::Signed { signature: sign(person.as_str(), &run.report().unwrap().signed_bytes()) }
        }
    }
}

/// The record of a ceremony by a script, as it is when the shares are sealed: without report and signatures.
pub fn record(script: &Script, began_at: u64) -> CeremonyRecord {
    let cosigners = script.cosigners.clone().unwrap();
    CeremonyRecord {
        nonce: NONCE,
        held_at: began_at,
        threshold: cosigners.threshold,
        holders: cosigners.holders,
        slots: script.account_numbers().map(|number| Account::new(number).slot()).collect(),
        entropy: "as the report says".into(),
        program: Hash([7; 32]),
        participants: Vec::new(),
        recovery: None,
    }
}

/// The seal around a component that was brought, as people know it.
fn seal_of(run: &Run, component: ComponentId) -> String {
    let back = format!("return-{component}");
    let sealed = run.events().iter().rev().find_map(|event| match &event.what {
        ceremony::run::Happening::Done { step, outcome: Outcome::Sealed { seal } } if *step == back => {
            Some(seal.clone())
        }
        _ => None,
    });
    let held = run.script().held.as_ref().unwrap();
    sealed.unwrap_or_else(|| held.components.member(component).unwrap().seal.clone())
}

/// A source that gave what the scripts here ask for.
pub fn take(source: Source) -> Gathered {
    let dice: Vec<u8> = (0..200u32).map(|i| b'1' + Hash::sha256(&i.to_be_bytes()).0[0] % 6).collect();
    let typed: &[u8] = if source == Source::Dice { &dice } else { &[] };
    Gathered::take(source, typed, &mut OsRng).unwrap()
}

fn gathered(taken: &Gathered) -> Outcome {
    Outcome::Gathered {
        source: taken.source(),
        symbols: taken.symbols(),
        min_entropy_bits: taken.min_entropy_bits(),
    }
}

fn generated(script: &Script) -> Outcome {
    let sources: Vec<Gathered> = script.sources().map(take).collect();
    let (_, statement) = entropy::mix(&sources).unwrap();
    Outcome::Generated { nonce: NONCE, entropy: statement }
}

/// What the rebuilt keys of a script's accounts sign.
pub fn restored(script: &Script, nonce: &Hash) -> Vec<Blob> {
    let sign = |(slot, number): (u32, u32)| {
        Blob(Account::new(number).sign(&restore_message(&script.genesis, nonce, slot)).to_vec())
    };
    (0u32..).zip(script.account_numbers()).map(sign).collect()
}

/// A signature of somebody.
pub fn sign(who: &str, message: &[u8]) -> Blob {
    Blob(fixtures::key(who).sign(message).to_bytes().to_vec())
}

/// A deviation for an open finding, signed by these people.
pub fn deviation(run: &Run, finding: u32, people: &[&str]) -> Deviation {
    let reason = "a rehearsal in a virtual machine".to_owned();
    let bytes = run.deviation_bytes(finding, &reason).unwrap();
    let signatures = people
        .iter()
        .map(|who| PersonSignature { person: name(who), signature: sign(who, &bytes) })
        .collect();
    Deviation { finding, reason, signatures }
}

/// Goes on, with everything as it should be, until a step of this name is next.
pub fn up_to(run: &mut Run, step: &str) {
    while run.current().unwrap_or_else(|| panic!("no step {step}")).id != step {
        go(run);
    }
}

/// One step, as it should be.
pub fn go(run: &mut Run) {
    let at = run.events().last().map_or(START, |event| event.at + 1);
    let step = run.current().unwrap().id.clone();
    run.done(at, right(run)).unwrap_or_else(|error| panic!("{step}: {error}"));
}

/// To the end.
pub fn finish(run: &mut Run) {
    while run.current().is_some() {
        go(run);
    }
}

/// A ceremony of a kind, to its end.
pub fn held(kind: Kind) -> Run {
    let mut run = begun(kind);
    finish(&mut run);
    run
}

/// One outcome of each type, all of a ceremony where everything is as it should be.
pub fn outcomes() -> BTreeMap<String, Outcome> {
    let mut all = BTreeMap::new();
    for kind in KINDS {
        for event in held(kind).events() {
            if let ceremony::run::Happening::Done { step, outcome } = &event.what {
                all.insert(format!("{kind:?}/{step}"), outcome.clone());
            }
        }
    }
    all.insert("absent".into(), Outcome::Absent);
    all
}
