//! Clients: people's and machines' programs. Each message gets exactly one answer, in order.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use custody::effects::OutPoint;
use custody::name::{Label, Name};
use custody::rule::Rule;
use custody::statement::Envelope;
use custody::{Blob, Hash};
use wire::message::{FromServer, ServerStatus, ToCosigner, ToServer};
use wire::{Connection, Listener, MAX_FRAME_BYTES, WireError};

use crate::bookkeeping::Tunnel;
use crate::desk::{Core, Desk, News, now_s};
use crate::due::due;
use crate::flow::FEE_RATE_LIMIT;
use crate::node::Client;
use crate::node::proofs::{self, Found};

/// Longest wait for a new height.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// How long the receipts of a statement are waited for. Co-signers give them within milliseconds.
const RECEIPTS_WAIT: Duration = Duration::from_secs(2);

/// How long the receipts of shares are waited for: a holder writes each to its disk.
const SHARES_WAIT: Duration = Duration::from_secs(5);

/// How long a replacement may take to build: the node is asked.
const BUMP_WAIT: Duration = Duration::from_secs(10);

/// Most labels asked for at once.
const LABELS_ASKED_LIMIT: usize = 1_024;

/// Most transactions and spent outputs that are searched at once: the inputs of many payments.
const CONFIRMATIONS_ASKED_LIMIT: usize = 1_024;

/// Takes connections until the listener is closed.
pub(crate) fn accept(desk: &Arc<Desk>, node: &Arc<Client>, tunnel: Option<&Tunnel>, listener: &Listener) {
    loop {
        match listener.accept() {
            Ok(connection) => {
                let (desk, node, tunnel) = (Arc::clone(desk), Arc::clone(node), tunnel.cloned());
                thread::spawn(move || serve(&desk, &node, tunnel.as_ref(), connection));
            }
            Err(WireError::ListenerClosed) => return,
            Err(error) => eprintln!("keyward-server: connection refused: {error}"),
        }
    }
}

fn serve(desk: &Desk, node: &Client, tunnel: Option<&Tunnel>, mut connection: Connection) {
    let peer = Hash(connection.peer());
    loop {
        let message = match connection.recv() {
            Ok(bytes) => wire::decode::<ToServer>(&bytes),
            Err(_) => return,
        };
        // A key that was revoked meanwhile is served no more.
        let Some(caller) = desk.caller(&peer) else { return };
        let answer = match message {
            Ok(ToServer::Api { method, path, idempotency_key, body }) => match tunnel {
                Some(tunnel) => tunnel.answer(caller, &method, &path, idempotency_key, body),
                None => refuse("no-books", "this server keeps no books: ask one that does"),
            },
            Ok(message) => answer(desk, node, message),
            Err(error) => refuse("malformed", error.to_string()),
        };
        let Ok(bytes) = in_a_frame(&answer) else { return };
        if connection.send(&bytes).is_err() {
            return;
        }
    }
}

/// The answer as bytes; one that no frame holds becomes a refusal that says so.
fn in_a_frame(answer: &FromServer) -> Result<Vec<u8>, WireError> {
    let bytes = wire::encode(answer)?;
    if bytes.len() <= MAX_FRAME_BYTES {
        return Ok(bytes);
    }
    wire::encode(&refuse("too-large", "the answer does not fit a message: ask for less at once"))
}

fn refuse(code: &str, why: impl Into<String>) -> FromServer {
    FromServer::Error { code: code.into(), why: why.into() }
}

fn answer(desk: &Desk, node: &Client, message: ToServer) -> FromServer {
    match message {
        ToServer::Log { from } => FromServer::Log(desk.core().replica.piece(from)),
        ToServer::Wait { from, timeout_ms } => {
            let timeout = Duration::from_millis(timeout_ms).min(WAIT_LIMIT);
            let core = desk.core();
            let core = desk.news.wait_timeout_while(core, timeout, |core| core.replica.height() < from);
            FromServer::Log(core.unwrap_or_else(PoisonError::into_inner).0.replica.piece(from))
        }
        ToServer::Submit { envelope, labels } => submit(desk, &envelope, labels),
        ToServer::Labels { commitments } if commitments.len() > LABELS_ASKED_LIMIT => {
            refuse("too-many", format!("ask for at most {LABELS_ASKED_LIMIT} labels at once"))
        }
        ToServer::Labels { commitments } => {
            let core = desk.core();
            let labels = commitments.iter().filter_map(|c| core.labels.get(c).cloned()).collect();
            FromServer::Labels { labels }
        }
        ToServer::Shares { ceremony, shares } => pass_shares(desk, ceremony, shares),
        ToServer::Bump { request, fee_rate_sat_vb } => bump(desk, request, fee_rate_sat_vb),
        ToServer::Confirmations { transactions, spent } => confirmations(desk, node, &transactions, &spent),
        // Answered by the tunnel.
        ToServer::Api { .. } => refuse("no-books", "this server keeps no books: ask one that does"),
        ToServer::Status => FromServer::Status(status(desk)),
    }
}

fn submit(desk: &Desk, bytes: &Blob, labels: Vec<Label>) -> FromServer {
    let parsed = Envelope::parse(&bytes.0).and_then(|e| Ok((e.unverified()?, e)));
    let (statement, envelope) = match parsed {
        Ok(parsed) => parsed,
        Err(refusal) => return refuse(refusal.rule.id(), refusal.why),
    };
    if statement.genesis != desk.genesis() {
        return refuse(Rule::Deployment.id(), "the statement is for another deployment");
    }
    let id = envelope.id();
    let mut core = desk.core();
    // What nobody signed would take the place of what somebody did. Everything else may be refused now and
    // taken later, when the log has what it refers to.
    match core.replica.state().admit(&envelope, now_s(), core.replica.decoder()) {
        Err(refusal) if refusal.rule == Rule::Signature => return refuse(refusal.rule.id(), refusal.why),
        Ok(_) | Err(_) => {}
    }
    core.keep_labels(&statement, labels);
    core.pending.watch(id);
    let taken = desk.submit(&mut core, &envelope, statement);
    if let Err(error) = taken {
        core.pending.unwatch(&id);
        return refuse("full", error.to_string());
    }
    let waits = |core: &mut Core| {
        let receipts: BTreeMap<_, _> = core.pending.receipts(&id).into_iter().collect();
        core.connected.iter().any(|name| !receipts.contains_key(name))
    };
    let core = desk.news.wait_timeout_while(core, RECEIPTS_WAIT, waits);
    let mut core = core.unwrap_or_else(PoisonError::into_inner).0;
    let receipts = core.pending.receipts(&id);
    core.pending.unwatch(&id);
    FromServer::Receipts { id, receipts }
}

fn pass_shares(desk: &Desk, ceremony: Hash, shares: Vec<(Name, u32, Blob)>) -> FromServer {
    let mut core = desk.core();
    let mut kept: Vec<(Name, u32, Option<String>)> = Vec::new();
    let mut open: Vec<(Name, u32)> = Vec::new();
    for (holder, slot, sealed) in shares {
        if core.connected.contains(&holder) {
            core.shares.asked(&holder, (ceremony, slot));
            desk.send([&holder], &ToCosigner::Share { ceremony, slot, sealed });
            open.push((holder, slot));
        } else {
            kept.push((
                holder,
                slot,
                Some("not connected: start it, then hand the shares over again".into()),
            ));
        }
    }
    let until = Instant::now() + SHARES_WAIT;
    loop {
        open.retain(|(holder, slot)| match core.shares.take(holder, (ceremony, *slot)) {
            Some(word) => {
                kept.push((holder.clone(), *slot, word));
                false
            }
            None => true,
        });
        let left = until.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            break;
        }
        core = desk.news.wait_timeout(core, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    let silent = |(holder, slot)| (holder, slot, Some("no answer in time: hand the share over again".into()));
    kept.extend(open.into_iter().map(silent));
    kept.sort();
    FromServer::Shares { kept }
}

fn bump(desk: &Desk, request: Hash, rate: u64) -> FromServer {
    if !(1..=FEE_RATE_LIMIT).contains(&rate) {
        return refuse("fee-rate", format!("a fee rate is 1 to {FEE_RATE_LIMIT} sat/vB"));
    }
    let (reply, answer) = sync_channel(1);
    {
        let mut core = desk.core();
        core.inbox.push(News::Bump { request, rate, reply });
        desk.wake(&mut core);
    }
    let late = || refuse("late", "the node did not answer in time: look at the status and ask again");
    answer.recv_timeout(BUMP_WAIT).unwrap_or_else(|_| late())
}

fn confirmations(desk: &Desk, node: &Client, transactions: &[Hash], spent: &[OutPoint]) -> FromServer {
    if transactions.len().saturating_add(spent.len()) > CONFIRMATIONS_ASKED_LIMIT {
        let why = format!("ask for at most {CONFIRMATIONS_ASKED_LIMIT} transactions and outputs at once");
        return refuse("too-many", why);
    }
    let pinned = desk.core().replica.state().header().height;
    match proofs::find(node, pinned, transactions, spent) {
        Ok(Found { proofs, headers }) => FromServer::Confirmations { proofs, headers },
        Err(why) => refuse("confirmations", why),
    }
}

pub(crate) fn status(desk: &Desk) -> ServerStatus {
    let core = desk.core();
    let link = |name: &Name| (name.clone(), core.connected.contains(name));
    ServerStatus {
        height: core.replica.height(),
        cosigners: desk
            .names()
            .iter()
            .filter(|name| core.replica.state().cosigner(name).is_some())
            .map(link)
            .collect(),
        pending: u32::try_from(core.pending.len()).unwrap_or(u32::MAX),
        chain_tip: core.published.chain_tip,
        payments: core.published.payments.clone(),
        balances: core.published.balances.clone(),
        balances_at: core.published.balances_at,
        alarms: {
            let known = core.alarms.list().into_iter().chain(core.published.books_problem.clone());
            let known = known.chain(core.published.recovery.iter().cloned());
            known.chain(due(core.replica.state(), &core.published.balances, now_s())).collect()
        },
    }
}

#[cfg(test)]
mod tests {
    use custody::Blob;

    use super::*;

    #[test]
    fn an_answer_on_both_sides_of_what_a_frame_holds() {
        let answer = |length: usize| FromServer::Api { status: 200, body: Blob(vec![7; length]) };
        let around = wire::encode(&answer(0)).unwrap().len();
        // Base64 makes four bytes of three.
        let most = (MAX_FRAME_BYTES - around) / 4 * 3;
        let read = |length: usize| wire::decode::<FromServer>(&in_a_frame(&answer(length)).unwrap()).unwrap();
        assert_eq!(read(most), answer(most));
        let FromServer::Error { code, .. } = read(most + 1) else { panic!("it does not fit") };
        assert_eq!(code, "too-large");
    }
}
