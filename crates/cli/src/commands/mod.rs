//! The commands.

mod address;
mod anchors;
mod ceremony;
mod certificate;
mod cosigners;
mod decide;
mod deny;
mod enrol;
mod freeze;
mod frozen;
mod genesis;
mod ledger;
mod log;
mod money;
mod pay;
mod policy;
mod propose;
mod recovery;
mod request;
mod reshare;
mod show;
mod spare;
mod spec;
mod status;
mod watch;

use std::io::{BufRead as _, Write as _};

use approver::{Signed, View, harmless};
use clap::CommandFactory as _;
use custody::document::Document;
use custody::name::Label;
use serde::Serialize;

use crate::args::{Args, Client, Command, Global, Output};
use crate::failure::{Class, Failure, Result};
use crate::home::Home;
use crate::session::{Sent, Session, fresh, now};

/// Does what the command line says.
pub(crate) fn run(args: Args) -> Result<()> {
    let global = &args.global;
    if global.output == Output::Csv && !args.command.is_list() {
        return Err(no_list());
    }
    match args.command {
        Command::Genesis(command) => genesis::run(global, command),
        Command::Profile(command) => profile(global, &command.cosigners),
        Command::Person(command) => enrol::person(global, command),
        Command::Group(command) => enrol::group(global, command),
        Command::Machine(command) => enrol::machine(global, command),
        Command::Propose { file, labels } => propose::run(global, &file, labels.as_deref()),
        Command::Policy(command) => policy::run(global, command),
        Command::Client(Client::Add { id, name }) => enrol::client(global, id, &name),
        Command::Client(Client::List) => money::clients(global),
        Command::Balances(command) => money::balances(global, command),
        Command::Statement(command) => money::statement(global, command),
        Command::Deposits(command) => money::deposits(global, command),
        Command::Deposit(command) => money::deposit(global, command),
        Command::Transfer(command) => money::transfer(global, command),
        Command::Withdraw(command) => money::withdraw(global, command),
        Command::Withdrawals(command) => money::withdrawals(global, command),
        Command::Withdrawal(command) => money::withdrawal(global, command),
        Command::Request(command) => request::run(global, command),
        Command::Reconcile { wallet } => money::reconcile(global, wallet.as_ref()),
        Command::Destination(command) => enrol::destination(global, command),
        Command::DenyList(command) => deny::run(global, command),
        Command::Wallet(command) => enrol::wallet(global, command),
        Command::Ceremony(command) => ceremony::run(global, command),
        Command::Cosigners(command) => cosigners::run(global, command),
        Command::Reshare(command) => reshare::run(global, command),
        Command::Recovery(command) => recovery::run(global, command),
        Command::Address(command) => address::run(global, command),
        Command::Descriptor { wallet } => address::descriptor(global, &wallet),
        Command::Pay(command) => pay::pay(global, command),
        Command::Cancel(command) => pay::cancel(global, command),
        Command::Bump { request, rate } => pay::bump(global, &request, rate),
        Command::Anchors(command) => anchors::run(global, command),
        Command::Show { id } => show::one(global, &id),
        Command::Approve { id, yes } => decide::approve(global, &id, yes),
        Command::Reject { id, yes } => decide::reject(global, &id, yes),
        Command::Requests { all } => show::requests(global, all),
        Command::Proposals { all } => show::proposals(global, all),
        Command::Status => status::run(global),
        Command::Freeze { part, cosigners, drill, yes } => {
            freeze::freeze(global, part, &cosigners, drill, yes)
        }
        Command::Resume { freezes } => freeze::resume(global, &freezes),
        Command::Revoke { other, yes } => freeze::revoke(global, other, yes),
        Command::Watch { once } => watch::run(global, once),
        Command::Log(command) => log::run(global, command),
        Command::Ledger(command) => ledger::run(global, command),
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "keyward", &mut out);
            print(&String::from_utf8_lossy(&out))
        }
    }
}

/// Changes the profile: `--server`, `--device` and `--cosigner` are kept.
fn profile(global: &Global, cosigners: &[String]) -> Result<()> {
    let home = Home::at(global.home.as_deref())?;
    let mut profile = home.profile()?;
    if let Some(server) = &global.server {
        profile.server = Some(server.clone());
    }
    if let Some(device) = &global.device {
        let path = std::path::absolute(device).map_err(|e| Failure::file(device, e))?;
        profile.device = Some(path);
    }
    for cosigner in cosigners {
        let (name, address) = freeze::named_address(cosigner)?;
        profile.cosigners.insert(name, address);
    }
    home.set_profile(&profile)?;
    let show = |text: Option<String>| text.unwrap_or_else(|| "none".into());
    let device = profile.device.as_ref().map(|d| d.display().to_string());
    let mut text = format!("server      {}\ndevice      {}\n", show(profile.server.clone()), show(device));
    for (name, address) in &profile.cosigners {
        text.push_str(&format!("co-signer   {name} at {address}\n"));
    }
    emit(global, &text, &profile)
}

/// Only a list fits a spreadsheet.
fn no_list() -> Failure {
    Failure::usage("this command prints no list", "use --output table or --output json")
}

/// Prints to standard output. A reader that went away is no mistake of ours.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|e| Failure::new(Class::System, e, "look at standard output")),
    }
}

/// Prints the result of a command, for people or for programs.
fn emit<T: Serialize + ?Sized>(global: &Global, text: &str, value: &T) -> Result<()> {
    match global.output {
        // Labels are harmless already; this is for every other word of others, now and later.
        Output::Table => print(&text.lines().map(|line| harmless(line) + "\n").collect::<String>()),
        Output::Json => {
            let json = serde_json::to_string_pretty(value);
            let json = json.map_err(|e| Failure::new(Class::System, e, "use --output table"))?;
            print(&format!("{json}\n"))
        }
        Output::Csv => Err(no_list()),
    }
}

/// Shows something before it is signed: on standard error, where it is seen also when the output goes to
/// a program.
fn present(view: &View) {
    eprintln!("{}", view.text());
}

/// Asks on the terminal. Whatever is not a clear yes is a no.
fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    let mut line = String::new();
    let stdin = std::io::stdin();
    stdin.lock().read_line(&mut line).map_err(|e| Failure::new(Class::System, e, "use --yes"))?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::usage("not confirmed: nothing was signed", "answer y, or give --yes in a script")),
    }
}

/// Sends a statement and says what became of it.
fn send(session: &mut Session<'_>, signed: &Signed, labels: &[Label], what: &str) -> Result<()> {
    let sent: Sent = session.send(signed, labels)?;
    let text = format!("{what}\n  id       {}\n  final    at height {}\n", sent.id, sent.height);
    emit(session.global, &text, &sent)
}

/// Shows a document as the others will see it, signs its proposal, sends it.
fn propose(global: &Global, document: Document, labels: &[Label]) -> Result<()> {
    let mut session = Session::online(global)?;
    propose_in(&mut session, document, labels)
}

fn propose_in(session: &mut Session<'_>, document: Document, labels: &[Label]) -> Result<()> {
    session.unlock()?;
    session.labels.add(labels);
    let kind = document.kind().word();
    let allows = policy::allows(session.replica.state(), &document);
    let draft = session.replica.propose(session.key()?, document, fresh())?;
    if let Some(view) = draft.view(&session.replica, &session.labels, now()) {
        present(&view);
    }
    // It is in no state yet that its view could be compared with.
    if let Some(allows) = allows {
        eprintln!("{}", policy::text(&allows));
    }
    let signed = draft.sign_if_accepted(&session.replica, session.key()?)?;
    send(session, &signed, labels, &format!("proposed: {kind}; others approve it by its id"))
}
