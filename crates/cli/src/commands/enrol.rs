//! People, groups, machines, destinations and wallets: their keys and their documents.

use std::path::{Path, PathBuf};

use approver::Payee;
use custody::charge::Subject;
use custody::decide::fee_within_share;
use custody::document::{
    Client, Destination, DeviceKey as PublicKeys, DeviceKind, Document, Group, Machine, Person, Tier, Wallet,
};
use custody::effects::Sats;
use custody::name::{Label, Name};
use custody::policy::RequestKind;
use keys::device::{DeviceKey, DevicePublic};
use rand_core::OsRng;
use serde::Serialize;

use super::genesis::PersonFile;
use super::{emit, money, propose, propose_in};
use crate::args;
use crate::args::{Global, Withdraw};
use crate::failure::{Failure, Result};
use crate::home::{Home, read_json, write, write_json};
use crate::secret::{new_passphrase, nonce};
use crate::session::Session;

/// The note of a payment that tries a destination.
const TEST_NOTE: &str = "test transfer";

#[derive(Serialize)]
struct Made {
    file: PathBuf,
    public: PathBuf,
    sign: custody::Hash,
}

/// Makes a device key file.
fn make(global: &Global, out: &Path) -> Result<(DevicePublic, PathBuf)> {
    let public = out.with_added_extension("pub.json");
    for path in [out, &public] {
        if path.exists() {
            let what = format!("{} exists already", path.display());
            return Err(Failure::usage(what, "choose another name: keys are never overwritten"));
        }
    }
    let passphrase = new_passphrase(global.passphrase_fd, &out.display().to_string())?;
    let key = DeviceKey::generate(&mut OsRng);
    let file = key.to_file(&passphrase, &mut OsRng);
    let file = file.map_err(|e| Failure::usage(e, "choose another passphrase"))?;
    write(out, &file)?;
    Ok((key.public(), public))
}

fn made(global: &Global, file: &Path, public: PathBuf, keys: DevicePublic) -> Result<()> {
    let text = format!(
        "key file    {} (keep it, with its passphrase)\npublic      {} (give it to the others)\nkey         {}\n",
        file.display(),
        public.display(),
        keys.sign
    );
    emit(global, &text, &Made { file: file.to_owned(), public, sign: keys.sign })
}

/// A label with a fresh salt.
pub(crate) fn label(text: &str) -> Label {
    Label { salt: nonce(), text: text.to_owned() }
}

pub(crate) fn person(global: &Global, command: args::Person) -> Result<()> {
    match command {
        args::Person::New { id, name, out } => {
            let (keys, public) = make(global, &out)?;
            let label = label(&name);
            let device = PublicKeys { device: DeviceKind::File, sign: keys.sign, tls: keys.tls };
            let person = Person { id, name: label.commitment(), keys: vec![device] };
            write_json(&public, &PersonFile { person, label: label.clone() })?;
            Home::at(global.home.as_deref())?.add_labels(&[label])?;
            made(global, &out, public, keys)
        }
        args::Person::Add { file } => {
            let PersonFile { person, label } = read_json(&file)?;
            propose(global, Document::Person(person), &[label])
        }
    }
}

pub(crate) fn group(global: &Global, command: args::Group) -> Result<()> {
    let args::Group::Set { id, mut members } = command;
    members.sort();
    members.dedup();
    propose(global, Document::Group(Group { id, members }), &[])
}

pub(crate) fn machine(global: &Global, command: args::Machine) -> Result<()> {
    match command {
        args::Machine::New { id, mut grants, out } => {
            grants.sort();
            grants.dedup();
            let (keys, public) = make(global, &out)?;
            let machine = Machine { id, sign: keys.sign, tls: keys.tls, grants };
            write_json(&public, &machine)?;
            made(global, &out, public, keys)
        }
        args::Machine::Add { file } => propose(global, Document::Machine(read_json(&file)?), &[]),
        args::Machine::Certificate { out_cert, out_key } => {
            super::certificate::write(global, &out_cert, &out_key)
        }
    }
}

pub(crate) fn client(global: &Global, id: Name, name: &str) -> Result<()> {
    let label = label(name);
    propose(global, Document::Client(Client { id, name: label.commitment() }), &[label])
}

pub(crate) fn destination(global: &Global, command: args::Destination) -> Result<()> {
    match command {
        args::Destination::Add { id, address, of, label: text } => {
            let label = label(&text);
            let destination = Destination::new(id, of, address, label.commitment());
            propose(global, Document::Destination(destination), &[label])
        }
        args::Destination::Test { id, wallet, client, amount, terms, again } => {
            // By the log as it is kept: whoever asks is asked for the passphrase once.
            affordable(&Session::open(global)?, &id, &wallet, client.as_ref(), amount, terms.fee_max_ppm)?;
            let to = vec![(Payee::Destination(id), amount)];
            let note = Some(TEST_NOTE.to_owned());
            let (external_id, dry_run) = (None, false);
            money::withdraw(global, Withdraw { client, wallet, to, terms, external_id, note, again, dry_run })
        }
    }
}

/// The fee of the smallest transaction at the lowest rate that nodes relay, in satoshi: one input, one output and the
/// change, all Taproot, at 1 sat/vB.
const LEAST_FEE_SAT: u64 = 154;

/// Refuses an amount of which the policy lets too small a share go to fees: approved, it would wait until it ends.
fn affordable(
    session: &Session<'_>,
    to: &Name,
    wallet: &Name,
    client: Option<&Name>,
    amount: Sats,
    own_ppm: u64,
) -> Result<()> {
    let state = session.replica.state();
    let Some((policy, _)) = state.policy() else { return Ok(()) };
    let subject = Subject {
        kind: RequestKind::Payment,
        asset: state.genesis().asset(),
        wallet: wallet.clone(),
        tier: state.wallet(wallet).map_or(Tier::Hot, |wallet| wallet.tier),
        client: client.cloned(),
        destinations: state.destination(to).map(|found| found.kind).into_iter().collect(),
        amount,
    };
    let covering = policy.rules.iter().filter(|rule| rule.when.covers(&subject, None));
    let ppm = covering.map(|rule| rule.require.fee_max_ppm).fold(own_ppm, u64::min);
    if fee_within_share(Sats(LEAST_FEE_SAT), amount, ppm) {
        return Ok(());
    }
    let what =
        format!("of {amount} at most {ppm} millionths may go to fees, less than any transaction costs");
    let next = match (LEAST_FEE_SAT * 1_000_000).checked_div(ppm) {
        Some(least) => format!("name --amount of {} sat or more", least + 1),
        None => "the policy, or --fee-max-ppm, lets no fee at all".to_owned(),
    };
    Err(Failure::usage(what, next))
}

pub(crate) fn wallet(global: &Global, command: args::Wallet) -> Result<()> {
    match command {
        args::Wallet::Open { id, ceremony, slot, model, tier } => {
            propose(global, Document::Wallet(Wallet::new(id, ceremony, slot, tier, model)), &[])
        }
        args::Wallet::Set { id, state } => {
            let mut session = Session::online(global)?;
            let wallet = session.replica.state().wallet(&id).cloned();
            let unknown =
                || Failure::usage(format!("there is no wallet {id}"), "keyward status lists wallets");
            let wallet = Wallet { state, ..wallet.ok_or_else(unknown)? };
            propose_in(&mut session, Document::Wallet(wallet), &[])
        }
    }
}
