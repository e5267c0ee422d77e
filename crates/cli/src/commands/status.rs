//! `keyward status`.

use std::collections::BTreeMap;

use approver::{narrowed, sats, time};
use custody::Hash;
use custody::document::Document;
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::describe;
use custody::state::{SlotRecord, State};
use custody::statement::Scope;
use serde::Serialize;
use wire::message::ServerStatus;

use super::emit;
use super::reshare;
use super::spare::{able, spare};
use crate::args::Global;
use crate::failure::Result;
use crate::session::Session;

/// Fewer spare people than this and `status` warns (P31).
const SPARE_LEAST: usize = 2;

#[derive(Serialize)]
struct Status {
    genesis: Hash,
    height: u64,
    entries: u64,
    root: Hash,
    state: Hash,
    log_time: String,
    signers: Vec<String>,
    freezes: Vec<Frozen>,
    wallets: Vec<Name>,
    warnings: Vec<String>,
    /// What is to be done about keys: few accounts left, shares that should be gone.
    keys: Vec<String>,
    /// As the server sees things. Nothing in it is proof.
    server: Option<ServerStatus>,
}

#[derive(Serialize)]
struct Frozen {
    id: Hash,
    scope: Scope,
    by: String,
    at: String,
}

pub(crate) fn run(global: &Global) -> Result<()> {
    let mut session = Session::online(global)?;
    let server = if global.offline { None } else { Some(session.server_status()?) };
    let (replica, state) = (&session.replica, session.replica.state());
    let head = replica.seen();
    let status = Status {
        genesis: state.genesis_hash(),
        height: state.clock().height,
        entries: head.size,
        root: head.root,
        state: head.state,
        log_time: time(state.clock().time),
        signers: replica.head().map_or_else(Vec::new, |h| h.signers().keys().cloned().collect()),
        freezes: freezes(state),
        wallets: wallets(state),
        warnings: warnings(state),
        keys: keys(state),
        server,
    };
    emit(global, &text(&status), &status)
}

fn freezes(state: &State) -> Vec<Frozen> {
    let frozen = state.freezes().iter();
    frozen
        .map(|(id, f)| Frozen { id: *id, scope: f.scope.clone(), by: f.by.to_string(), at: time(f.at) })
        .collect()
}

fn wallets(state: &State) -> Vec<Name> {
    let wallets = state.documents().filter_map(|found| match &found.document {
        Document::Wallet(wallet) => Some(wallet.id.clone()),
        _ => None,
    });
    wallets.collect()
}

/// Accounts that are left for wallets when `status` begins to warn: what a ceremony takes to prepare is days.
const ACCOUNTS_LEAST: usize = 3;

fn keys(state: &State) -> Vec<String> {
    let open = |slot: &SlotRecord| slot.reshares.is_none() && slot.wallet.is_none();
    let left = state.slots().iter().filter(|(_, slot)| open(slot)).count();
    let few = (!state.slots().is_empty() && left <= ACCOUNTS_LEAST)
        .then(|| format!("{left} dealt accounts are left for wallets: restock them by a recovery ceremony"));
    few.into_iter().chain(reshare::not_erased(state)).collect()
}

/// P31: quorums that one or two absences make impossible.
fn warnings(state: &State) -> Vec<String> {
    let Some((policy, _)) = state.policy() else { return vec!["no policy is in force".into()] };
    let people = able(state);
    // Who asks for a payment, or proposes a document of such a kind, cannot approve it.
    let payments = policy.rules.iter().map(|r| (format!("payments under {}", r.id), &r.require.approvals, 1));
    let documents = policy.governance.iter().map(|(kind, g)| {
        let absent = usize::from(!kind.row().proposer_approves);
        (kind.word().to_owned(), &g.approvals, absent)
    });
    // What is as tight as another stands in one line with it.
    let mut tight: BTreeMap<(Option<usize>, String), Vec<String>> = BTreeMap::new();
    for (what, paths, absent) in payments.chain(documents) {
        let left = spare(paths, &people, state, SPARE_LEAST + absent).and_then(|s| s.checked_sub(absent));
        if left.is_none_or(|left| left < SPARE_LEAST) {
            tight.entry((left, describe(paths))).or_default().push(what);
        }
    }
    let line = |((left, needs), what): ((Option<usize>, String), Vec<String>)| {
        let left = match left {
            None => "nobody can fill it any more",
            Some(0) => "no spare person",
            Some(_) => "one spare person",
        };
        format!("{left}: {needs}, for {}", what.join(", "))
    };
    tight.into_iter().map(line).collect()
}

fn text(status: &Status) -> String {
    let mut out = String::new();
    let mut row = |field: &str, value: String| out.push_str(&format!("{field:<12}{value}\n"));
    row("deployment", status.genesis.to_string());
    row("final head", format!("height {}, {} entries, {}", status.height, status.entries, status.log_time));
    row(
        "co-signed",
        if status.signers.is_empty() { "genesis alone".into() } else { status.signers.join(", ") },
    );
    row("state", status.state.to_string());
    if status.freezes.is_empty() {
        row("freezes", "none".into());
    }
    for freeze in &status.freezes {
        let what = narrowed(&freeze.scope);
        row("! FROZEN", format!("{what}by {} at {} ({})", freeze.by, freeze.at, freeze.id));
    }
    for wallet in &status.wallets {
        row("wallet", wallet.to_string());
    }
    for warning in &status.warnings {
        row("! spare", warning.clone());
    }
    for warning in &status.keys {
        row("! keys", warning.clone());
    }
    let Some(server) = &status.server else { return out };
    row("server says", "(nothing below is proof)".into());
    for (name, connected) in &server.cosigners {
        row("co-signer", format!("{name}: {}", if *connected { "connected" } else { "not connected" }));
    }
    row("pending", server.pending.to_string());
    row("chain tip", server.chain_tip.map_or_else(|| "the node does not answer".into(), |t| t.to_string()));
    for alarm in &server.alarms {
        row("! alarm", approver::plain(alarm));
    }
    for (wallet, balance) in &server.balances {
        let amount = balance.parse().map(|b| sats(Sats(b))).unwrap_or_else(|_| approver::plain(balance));
        let at = server.balances_at.map(|height| format!(", at height {height}")).unwrap_or_default();
        row("balance", format!("{wallet}: {amount}{at}"));
    }
    for payment in &server.payments {
        let problem = payment.problem.as_deref().map(|p| format!(": {}", approver::plain(p)));
        let (state, txid) = (approver::plain(&payment.state), approver::plain(&payment.txid));
        let confirmations = payment.confirmations;
        row(
            "payment",
            format!("{state} {txid}, {confirmations} confirmations{}", problem.unwrap_or_default()),
        );
    }
    out
}
