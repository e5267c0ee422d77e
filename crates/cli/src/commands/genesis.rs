//! `keyward genesis`.

use approver::chunks;
use custody::Hash;
use custody::document::{CosignerCard, Person};
use custody::genesis::Genesis;
use custody::name::{Label, Name};
use custody::policy::describe;
use serde::{Deserialize, Serialize};

use super::spec::Spec;
use super::{confirm, emit, print};
use crate::args::{Genesis as Command, Global};
use crate::failure::{Class, Failure, Result};
use crate::home::{Home, read, read_json, write, write_json};
use crate::session::now;

/// The public file of a person: the document, and the name that it commits to.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonFile {
    pub(crate) person: Person,
    pub(crate) label: Label,
}

#[derive(Serialize)]
struct Shown<'a> {
    hash: Hash,
    genesis: &'a Genesis,
}

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::New { spec, cosigners, people, machines, out } => {
            let text = String::from_utf8_lossy(&read(&spec)?).into_owned();
            let parsed = Spec::parse(&text).map_err(|fault| Failure::content(&spec, fault))?;
            let cards = cosigners.iter().map(|f| read_json(f)).collect::<Result<Vec<CosignerCard>>>()?;
            let people = people.iter().map(|f| read_json(f)).collect::<Result<Vec<PersonFile>>>()?;
            for file in &people {
                if file.label.commitment() != file.person.name {
                    let what =
                        format!("the name in the file of {} is not the one it commits to", file.person.id);
                    return Err(Failure::usage(what, "get the file again from that person"));
                }
            }
            let labels: Vec<Label> = people.iter().map(|f| f.label.clone()).collect();
            let people = people.into_iter().map(|f| f.person).collect();
            let machines = machines.iter().map(|f| read_json(f)).collect::<Result<Vec<_>>>()?;
            let genesis =
                parsed.genesis(cards, people, machines, now()).map_err(|e| Failure::content(&spec, e))?;
            genesis.check()?;
            write(&out, &genesis.bytes())?;
            write_json(&out.with_extension("labels.json"), &labels)?;
            show(global, &genesis)
        }
        Command::Show { file } => show(global, &parse(&file)?),
        Command::Pin { file, hash, labels } => {
            let genesis = parse(&file)?;
            let found = genesis.hash();
            let hash = match hash {
                Some(hash) => hash,
                None => {
                    print(&summary(&genesis))?;
                    confirm("Is this the hash that the others read out?", false)?;
                    found
                }
            };
            if hash != found {
                let what = format!("{} has the hash {found}, you gave {hash}", file.display());
                return Err(Failure::new(
                    Class::Unverified,
                    what,
                    "this is another genesis: get the right file",
                ));
            }
            let home = Home::at(global.home.as_deref())?;
            home.pin(&genesis.bytes(), &hash)?;
            if let Some(labels) = labels {
                home.add_labels(&read_json::<Vec<Label>>(&labels)?)?;
            }
            emit(global, &format!("pinned      {}\n", chunks(&hash.to_string())), &Pinned { pinned: hash })
        }
    }
}

#[derive(Serialize)]
struct Pinned {
    pinned: Hash,
}

fn parse(file: &std::path::Path) -> Result<Genesis> {
    Genesis::parse(&read(file)?).map_err(|e| Failure::content(file, e))
}

fn show(global: &Global, genesis: &Genesis) -> Result<()> {
    emit(global, &summary(genesis), &Shown { hash: genesis.hash(), genesis })
}

/// Everything that a genesis says, on one screen, the hash last.
fn summary(genesis: &Genesis) -> String {
    let names = |names: Vec<&Name>| names.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let mut out = String::new();
    let mut row = |field: &str, value: String| out.push_str(&format!("{field:<12}{value}\n"));
    row("network", genesis.network.clone());
    row("created", approver::time(genesis.created_at));
    row("placement", format!("{:?}", genesis.placement));
    if let Ok(n) = genesis.numbers() {
        row(
            "committee",
            format!(
                "{} co-signers, {} votes decide; {} of {} shares sign; survives {} hostile or lost",
                n.all, n.quorum, n.threshold, n.holders, n.faulty
            ),
        );
    }
    for card in &genesis.cosigners {
        let role = if card.holds_shares { "signer" } else { "witness" };
        row("co-signer", format!("{} ({role}), identity {}", card.name, card.identity));
    }
    for person in &genesis.people {
        for key in &person.keys {
            let console = if key.device.is_independent() { "" } else { " of a web console" };
            row("person", format!("{}, key{console} {}", person.id, key.sign));
        }
    }
    for group in &genesis.groups {
        row("group", format!("{}: {}", group.id, names(group.members.iter().collect())));
    }
    for machine in &genesis.machines {
        row("machine", format!("{} may {:?}, key {}", machine.id, machine.grants, machine.sign));
    }
    for rule in &genesis.policy.rules {
        let need = &rule.require;
        row(
            "rule",
            format!(
                "{}: {}; at most {} each, fee {} and {} millionths",
                rule.id,
                describe(&need.approvals),
                need.amount_max,
                need.fee_max,
                need.fee_max_ppm
            ),
        );
    }
    for (kind, g) in &genesis.policy.governance {
        row("documents", format!("{}: {}; delay {} s", kind.word(), describe(&g.approvals), g.delay_s));
    }
    row("de minimis", genesis.de_minimis.to_string());
    row("hash", genesis.hash().to_string());
    row("read out", chunks(&genesis.hash().to_string()));
    out
}
