//! Other anchors for a request, by quorum (P22).
//!
//! The quorum decides that it is done; whether it may be is judged by replay alone: of all transactions
//! that were ever authorised for the lineage and all that will be, still at most one can confirm.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::bytes::{Blob, Hash};
use crate::effects::{DecodeError, Decoder, Effects, Inclusion, OutPoint, OutputEffect, Sats, TypedInput};
use crate::payment::{ANCHOR_DEPTH, ANCHORS_LIMIT, NewAnchor};
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{AnchorRecord, Authorisation, State};

/// Most ancestors in one document: nodes relay no longer chains (Bitcoin Core's limit of 25 unconfirmed
/// transactions, the last one among them).
pub const ANCESTORS_LIMIT: usize = 24;

/// Binds a lineage to other anchors.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherAnchors {
    /// The lineage, by the id of its first request.
    pub lineage: Hash,
    /// The outputs that every later transaction of it spends, all of them.
    pub anchors: Vec<OtherAnchor>,
    /// Confirmed transactions, each of which keeps an authorised one from ever confirming.
    pub conflicts: Vec<Inclusion>,
    /// Raw unsigned transactions between an authorised one and a conflict: each spends what a conflict
    /// spends, or an output of one before it, and so never confirms.
    pub ancestors: Vec<Blob>,
    /// 80-byte headers, end to end, under which all the proofs stand: one chain, and a document that fits
    /// an envelope. The first one's parent is the pinned header.
    pub headers: Blob,
}

/// An output that becomes an anchor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherAnchor {
    /// The output, of the wallet's own script.
    pub output: TypedInput,
    /// Its transaction, confirmed.
    pub proof: Inclusion,
}

impl OtherAnchors {
    fn outpoints(&self) -> Vec<OutPoint> {
        self.anchors.iter().map(|anchor| anchor.output.outpoint).collect()
    }
}

/// Whether a transaction spends one of these outputs.
fn spends_one(authorised: &Authorisation, outpoints: &[OutPoint]) -> bool {
    authorised.transaction.inputs.iter().any(|input| outpoints.contains(&input.outpoint))
}

/// What can never be spent once a transaction is confirmed.
#[derive(Clone, Debug)]
pub struct Gone {
    spent: BTreeSet<OutPoint>,
    unborn: BTreeSet<Hash>,
}

impl Gone {
    /// By a confirmed transaction, and `ancestors` in the order of [`OtherAnchors::ancestors`].
    pub fn new(confirmed: &Effects, ancestors: &[Effects]) -> Self {
        let spent = confirmed.inputs.iter().map(|input| input.outpoint).collect();
        let mut gone = Self { spent, unborn: BTreeSet::new() };
        // The confirmed one itself shares all its inputs with itself, and was born.
        for ancestor in ancestors.iter().filter(|a| a.txid != confirmed.txid) {
            if ancestor.inputs.iter().any(|input| gone.has(&input.outpoint)) {
                gone.unborn.insert(ancestor.txid);
            }
        }
        gone
    }

    /// Whether an ancestor can never confirm.
    pub fn never(&self, ancestor: &Hash) -> bool {
        self.unborn.contains(ancestor)
    }

    /// Whether this output is spent by the confirmed transaction, or never comes to be.
    pub fn has(&self, outpoint: &OutPoint) -> bool {
        self.spent.contains(outpoint) || self.never(&outpoint.txid)
    }

    /// Whether a transaction, other than the confirmed one, can never confirm.
    pub fn excludes(&self, authorised: &Authorisation) -> bool {
        authorised.transaction.inputs.iter().any(|input| self.has(&input.outpoint))
    }
}

fn unread(error: DecodeError) -> Refusal {
    Refusal::new(Rule::Conflict, error.to_string())
}

impl State {
    /// P22: every transaction ever authorised for the lineage spends one of the new anchors, so that it
    /// excludes all later ones, or is excluded itself by a confirmed transaction. What is not in a chain
    /// proves nothing.
    ///
    /// # Errors
    /// The rule that it breaks, and what is missing.
    pub fn check_other_anchors(&self, ask: &OtherAnchors, decoder: &dyn Decoder) -> Result<(), Refusal> {
        ensure(self.lineages.get(&ask.lineage).is_some(), Rule::OtherAnchors, || {
            "nothing was authorised for such a lineage: it has no anchors".into()
        })?;
        self.check_new_anchors(ask, decoder)?;
        ensure(ask.ancestors.len() <= ANCESTORS_LIMIT, Rule::Conflict, || {
            format!("a document names at most {ANCESTORS_LIMIT} ancestors")
        })?;
        let read = |raw: &Blob| decoder.decode(&raw.0).map_err(unread);
        let ancestors = ask.ancestors.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let open = self.may_confirm(&ask.lineage);
        let checked = |conflict| self.check_conflict(ask, conflict, &ancestors, &open, decoder);
        let gone = ask.conflicts.iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        let leads = |ancestor: &Effects| gone.iter().any(|g| g.never(&ancestor.txid));
        ensure(ancestors.iter().all(leads), Rule::Conflict, || {
            "an ancestor spends nothing that a conflict or an ancestor before it takes away: leave it out"
                .into()
        })?;
        let new = ask.outpoints();
        for (id, authorised) in open {
            let covered = spends_one(authorised, &new) || gone.iter().any(|g| g.excludes(authorised));
            ensure(covered, Rule::OtherAnchors, || {
                format!("authorisation {id} may still confirm beside a payment from these anchors")
            })?;
        }
        Ok(())
    }

    /// The new anchors are confirmed outputs of the lineage's wallet, and of no other open request.
    fn check_new_anchors(&self, ask: &OtherAnchors, decoder: &dyn Decoder) -> Result<(), Refusal> {
        let fits = |holds: bool, why: &str| ensure(holds, Rule::OtherAnchors, || why.into());
        let new = ask.outpoints();
        let distinct: BTreeSet<_> = new.iter().collect();
        fits((1..=ANCHORS_LIMIT).contains(&new.len()), "name 1 to 4 anchors")?;
        fits(distinct.len() == new.len(), "an anchor is named twice")?;
        let first = self.requests.get(&ask.lineage);
        let first = first.ok_or_else(|| Refusal::new(Rule::Reference, "there is no such request"))?;
        let (wallet, account) = self.account(&first.request.wallet)?;
        let latest = self.lineages.get(&ask.lineage).and_then(|l| self.requests.get(&l.latest));
        let client = latest.and_then(|r| r.request.client.as_ref());
        for OtherAnchor { output, proof } in &ask.anchors {
            let bound = self.anchors.get(&output.outpoint).map(|a| &a.lineages);
            let mut others = bound.into_iter().flatten().filter(|l| **l != ask.lineage);
            fits(
                others.all(|l| self.is_over(l, self.clock.time)),
                "it is the anchor of another request, which is still open",
            )?;
            fits(
                self.within_gap(wallet, output.branch, output.index),
                "its index is beyond the gap: allocate it first",
            )?;
            fits(
                client.is_none() || self.belongs(wallet, output.branch, output.index, client),
                "its address was not allocated to the client of the request",
            )?;
            let script = decoder
                .own_script(account, output.branch, output.index)
                .map_err(|e| Refusal::new(Rule::OtherAnchors, e.to_string()))?;
            let own = OutputEffect { script, amount: output.amount };
            let proof = Some(proof.under(&ask.headers));
            let new = NewAnchor { request: ask.lineage, outpoint: output.outpoint, proof };
            self.check_anchor_proof(&new, Some(&own), decoder)?;
        }
        Ok(())
    }

    /// A conflict is confirmed at depth, excludes an authorised transaction, and does not pay the request.
    fn check_conflict(
        &self,
        ask: &OtherAnchors,
        conflict: &Inclusion,
        ancestors: &[Effects],
        open: &[(Hash, &Authorisation)],
        decoder: &dyn Decoder,
    ) -> Result<Gone, Refusal> {
        let fits = |holds: bool, why: &str| ensure(holds, Rule::Conflict, || why.into());
        let shown = decoder.confirmed(&conflict.under(&ask.headers), &self.header()).map_err(unread)?;
        ensure(shown.depth >= ANCHOR_DEPTH, Rule::Conflict, || {
            format!("a conflict has {} confirmations, it needs {ANCHOR_DEPTH}", shown.depth)
        })?;
        let known = self.transactions.get(&shown.effects.txid).and_then(|id| self.authorisations.get(id));
        if let Some(known) = known {
            // The log knows exactly what it pays.
            let of = |r: &Hash| self.requests.get(r).is_some_and(|r| r.lineage == ask.lineage);
            fits(!known.requests.iter().any(of), "a conflict was authorised for this very request")?;
        } else {
            // Of any other nobody knows why it pays whom it pays: an output in common is one too many.
            for (_, authorised) in self.authorised_of(&ask.lineage) {
                let paid = decoder.decode(&authorised.transaction.raw.0).map_err(unread)?.outputs;
                fits(
                    !shown.effects.outputs.iter().any(|o| paid.contains(o)),
                    "a conflict may pay the request: it has an output of an authorised transaction",
                )?;
            }
        }
        let gone = Gone::new(&shown.effects, ancestors);
        fits(
            open.iter().any(|(_, authorised)| gone.excludes(authorised)),
            "a conflict spends no input of an authorised transaction that is open: leave it out",
        )?;
        Ok(gone)
    }

    /// Whether the last authorised request of a lineage ended, lapsed or is a cancel.
    pub(crate) fn is_over(&self, lineage: &Hash, time: u64) -> bool {
        let latest = self.lineages.get(lineage).and_then(|l| self.requests.get(&l.latest));
        latest.is_some_and(|r| r.request.end < time || r.request.is_cancel() || self.has_lapsed(r))
    }

    /// Every transaction that was ever authorised for a lineage.
    fn authorised_of(&self, lineage: &Hash) -> Vec<(Hash, &Authorisation)> {
        let records = self.requests.iter().filter(|(_, r)| r.lineage == *lineage);
        let ids: BTreeSet<Hash> = records.flat_map(|(_, r)| r.authorised.iter().copied()).collect();
        ids.into_iter().filter_map(|id| Some((id, self.authorisations.get(&id)?))).collect()
    }

    /// The transactions authorised for a lineage that no conflict was shown for: any of them may be in a
    /// block by now, or come into one.
    pub fn may_confirm(&self, lineage: &Hash) -> Vec<(Hash, &Authorisation)> {
        let mut all = self.authorised_of(lineage);
        let excluded = self.lineages.get(lineage).map(|l| &l.excluded);
        all.retain(|(id, _)| excluded.is_none_or(|excluded| !excluded.contains(id)));
        all
    }

    /// Binds a lineage to anchors that were checked, and releases it from those that it had.
    pub(crate) fn bind_other_anchors(&mut self, ask: &OtherAnchors) {
        let Some(mut lineage) = self.lineages.get(&ask.lineage).cloned() else { return };
        let new = ask.outpoints();
        // What spends none of them was shown to be excluded: its conflict need not be shown again.
        let open = self.may_confirm(&ask.lineage);
        let excluded: Vec<Hash> =
            open.into_iter().filter(|(_, a)| !spends_one(a, &new)).map(|(id, _)| id).collect();
        lineage.excluded.extend(excluded);
        let old = std::mem::replace(&mut lineage.anchors, new.clone());
        self.lineages.put(&mut self.facts, ask.lineage, lineage);
        for outpoint in old.into_iter().chain(new.iter().copied()) {
            let record = self.anchors.get(&outpoint).cloned();
            let mut record = record.unwrap_or(AnchorRecord { lineages: BTreeSet::new(), fee: Sats(0) });
            if new.contains(&outpoint) {
                record.lineages.insert(ask.lineage);
            } else {
                record.lineages.remove(&ask.lineage);
            }
            self.anchors.put(&mut self.facts, outpoint, record);
        }
    }
}
