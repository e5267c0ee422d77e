//! `keyward anchors`: other anchors for a request whose own can be spent no more (P22).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use custody::anchors::{ANCESTORS_LIMIT, Gone, OtherAnchor, OtherAnchors};
use custody::document::Document;
use custody::effects::{Branch, Decoder as _, Effects, Inclusion, OutPoint, TypedInput};
use custody::name::Name;
use custody::payment::GAP_LIMIT;
use custody::state::Authorisation;
use custody::{Blob, Hash};

use super::{confirm, present, send};
use crate::args::{Anchors, Global};
use crate::failure::{Class, Failure, Result};
use crate::session::{Session, fresh, now, pick};

pub(crate) fn run(global: &Global, command: Anchors) -> Result<()> {
    let Anchors::Propose { request, new, conflicts, yes } = command;
    let mut session = Session::online(global)?;
    session.unlock()?;
    let id = pick(session.replica.state().requests().iter().map(|(id, _)| *id), &request, "request")?;
    let other = build(&mut session, id, &new, &conflicts)?;
    // By the rules that every co-signer uses, before anybody is asked anything.
    session.replica.state().check_other_anchors(&other, session.replica.decoder())?;
    let draft = session.replica.propose(session.key()?, Document::Anchors(other), fresh())?;
    if let Some(view) = draft.view(&session.replica, &session.labels, now()) {
        present(&view);
    }
    confirm("Propose this?", yes)?;
    let signed = draft.sign_if_accepted(&session.replica, session.key()?)?;
    send(&mut session, &signed, &[], "proposed: anchors; others approve it by its id")
}

/// What was found in the chain, checked: what each transaction does, and its proof.
type Confirmed = Vec<(Effects, Inclusion)>;

/// The document. What keeps authorised transactions from confirming is searched for unless it is named.
fn build(session: &mut Session<'_>, request: Hash, new: &[OutPoint], named: &[Hash]) -> Result<OtherAnchors> {
    let state = session.replica.state().clone();
    let record = state.requests().get(&request);
    let lineage = record.map_or(request, |record| record.lineage);
    let wallet = record.map(|record| record.request.wallet.clone());
    let spends_new = |a: &Authorisation| a.transaction.inputs.iter().any(|i| new.contains(&i.outpoint));
    let mut open = state.may_confirm(&lineage);
    open.retain(|(_, authorised)| !spends_new(authorised));
    let relatives = relatives(session, &open);
    let known: Vec<Effects> = relatives.iter().map(|(effects, _)| effects.clone()).collect();

    let mut transactions: BTreeSet<Hash> = new.iter().map(|outpoint| outpoint.txid).collect();
    transactions.extend(named);
    let mut spent: BTreeSet<OutPoint> = BTreeSet::new();
    if named.is_empty() {
        spent.extend(open.iter().flat_map(|(_, a)| &a.transaction.inputs).map(|i| i.outpoint));
    }
    let (mut found, mut headers) = confirmations(session, &transactions, &spent)?;
    let excluded = |found: &Confirmed, a: &Authorisation| {
        found.iter().any(|(effects, _)| Gone::new(effects, &known).excludes(a))
    };
    // Only then: what the ancestors spend may have been spent long ago, and the search takes long.
    if named.is_empty() && !known.is_empty() && !open.iter().all(|(_, a)| excluded(&found, a)) {
        spent.extend(known.iter().flat_map(|a| &a.inputs).map(|i| i.outpoint));
        (found, headers) = confirmations(session, &transactions, &spent)?;
    }
    let by_txid: BTreeMap<Hash, &Inclusion> = found.iter().map(|(e, proof)| (e.txid, proof)).collect();
    if let Some((id, _)) = open.iter().find(|(_, a)| by_txid.contains_key(&a.txid)) {
        let what = format!("authorisation {id} of this very request is confirmed: it is paid, or cancelled");
        return Err(Failure::new(Class::Refused, what, "keyward status says how deep it is"));
    }
    let mut anchors = Vec::new();
    for outpoint in new {
        let output = own_output(session, wallet.as_ref(), outpoint, &found)?;
        let missing = || Failure::new(Class::Unverified, "the server leaves out what it found", "try again");
        let proof = by_txid.get(&outpoint.txid).ok_or_else(missing)?;
        anchors.push(OtherAnchor { output, proof: (*proof).clone() });
    }
    let (mut conflicts, mut gone) = (Vec::new(), Vec::new());
    for (effects, proof) in &found {
        let by = Gone::new(effects, &known);
        if named.contains(&effects.txid) || open.iter().any(|(_, a)| by.excludes(a)) {
            conflicts.push(proof.clone());
            gone.push(by);
        }
    }
    let never = |(effects, _): &&(Effects, Blob)| gone.iter().any(|by| by.never(&effects.txid));
    let ancestors = relatives.iter().filter(never).map(|(_, raw)| raw.clone()).collect();
    Ok(OtherAnchors { lineage, anchors, conflicts, ancestors, headers })
}

/// The nearest transactions of the log from which these spend, parents before their children.
fn relatives(session: &Session<'_>, open: &[(Hash, &Authorisation)]) -> Vec<(Effects, Blob)> {
    let logged: BTreeMap<Hash, &Blob> =
        session.replica.state().authorisations().iter().map(|(_, a)| (a.txid, &a.transaction.raw)).collect();
    let mut near: BTreeMap<Hash, (Effects, Blob)> = BTreeMap::new();
    let inputs = open.iter().flat_map(|(_, a)| &a.transaction.inputs);
    let mut next: VecDeque<Hash> = inputs.map(|i| i.outpoint.txid).collect();
    while let Some(txid) = next.pop_front().filter(|_| near.len() < ANCESTORS_LIMIT) {
        let raw = logged.get(&txid).filter(|_| !near.contains_key(&txid));
        let read = raw.and_then(|raw| Some((session.replica.decoder().decode(&raw.0).ok()?, *raw)));
        if let Some((effects, raw)) = read {
            next.extend(effects.inputs.iter().map(|i| i.outpoint.txid));
            near.insert(txid, (effects, raw.clone()));
        }
    }
    let mut ordered = Vec::new();
    let first = |near: &BTreeMap<Hash, (Effects, Blob)>| {
        let orphan = |effects: &Effects| effects.inputs.iter().all(|i| !near.contains_key(&i.outpoint.txid));
        near.iter().find(|(_, (effects, _))| orphan(effects)).map(|(txid, _)| *txid)
    };
    while let Some(found) = first(&near).and_then(|txid| near.remove(&txid)) {
        ordered.push(found);
    }
    ordered
}

/// Asks the server, and believes what its proofs show above the pinned header.
fn confirmations(
    session: &mut Session<'_>,
    transactions: &BTreeSet<Hash>,
    spent: &BTreeSet<OutPoint>,
) -> Result<(Confirmed, Blob)> {
    let (transactions, spent) = (transactions.iter().copied(), spent.iter().copied());
    let (proofs, headers) = session.confirmations(transactions.collect(), spent.collect())?;
    let (decoder, pinned) = (session.replica.decoder(), session.replica.state().header());
    let mut found = Vec::new();
    for proof in proofs {
        let shown = decoder.confirmed(&proof.under(&headers), &pinned);
        let shown =
            shown.map_err(|e| Failure::new(Class::Unverified, e, "the server's node is not sound"))?;
        found.push((shown.effects, proof));
    }
    Ok((found, headers))
}

/// The output with its place in the wallet, which is found by deriving.
fn own_output(
    session: &Session<'_>,
    wallet: Option<&Name>,
    outpoint: &OutPoint,
    found: &Confirmed,
) -> Result<TypedInput> {
    let state = session.replica.state();
    let of = |(effects, _): &(Effects, Inclusion)| {
        let vout = usize::try_from(outpoint.vout).ok()?;
        (effects.txid == outpoint.txid).then(|| effects.outputs.get(vout).cloned()).flatten()
    };
    let output = found.iter().find_map(of);
    let next = "the server's node finds it only above the pinned header; check the number of the output";
    let output = output.ok_or_else(|| Failure::usage(format!("no output {}", shown(outpoint)), next))?;
    let wallet = wallet.and_then(|id| state.wallet(id));
    let account = wallet.and_then(|w| Some((w, &state.slot_of(w)?.slot.account)));
    let next = "name an output of the wallet from which the request pays";
    let foreign = || Failure::usage(format!("{} is not of this wallet", shown(outpoint)), next);
    let (wallet, account) = account.ok_or_else(foreign)?;
    for branch in [Branch::Receive, Branch::Change] {
        for index in 0..state.next_index(&wallet.id, branch).saturating_add(GAP_LIMIT) {
            let script = session.replica.decoder().own_script(account, branch, index);
            if script.is_ok_and(|script| script == output.script) {
                return Ok(TypedInput { outpoint: *outpoint, amount: output.amount, branch, index });
            }
        }
    }
    Err(foreign())
}

/// As people write it.
fn shown(outpoint: &OutPoint) -> String {
    let mut txid = outpoint.txid;
    txid.0.reverse();
    format!("{txid}:{}", outpoint.vout)
}
