//! What may be paid: the judgement of a proposed transaction against the requests and the policy, and of
//! an allowed one again when a share would leave (P14, P19–P24, P27).

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::Hash;
use crate::document::Wallet;
use crate::effects::{AccountKey, Branch, Decoder, Effects, OutPoint, OutputEffect, Sats};
use crate::name::Name;
use crate::payment::{
    ANCHOR_DEPTH, ANCHORS_LIMIT, Allowed, Authorise, INPUTS_LIMIT, LOCK_TIME_SLACK, NewAnchor,
    REQUESTS_LIMIT, Request, SEQUENCE, TRANSACTION_VERSION, TypedTransaction,
};
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{Owner, RequestRecord, State};

impl State {
    /// Judges a proposed transaction at `time`: everything that must hold before it is authorised, from
    /// the decoded bytes and the state alone (P14, P19–P24).
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn judge(&self, ask: &Authorise, time: u64, decoder: &dyn Decoder) -> Result<Allowed, Refusal> {
        let sorted = ask.requests.is_sorted_by(|a, b| a < b);
        ensure(sorted && (1..=REQUESTS_LIMIT).contains(&ask.requests.len()), Rule::Form, || {
            format!("a transaction pays 1 to {REQUESTS_LIMIT} requests, sorted, each once")
        })?;
        let records = self.records(&ask.requests)?;
        let wallet_id = records.first().map(|r| r.request.wallet.clone());
        let wallet_id = wallet_id.ok_or_else(|| Refusal::new(Rule::Reference, "no request"))?;
        ensure(records.iter().all(|r| r.request.wallet == wallet_id), Rule::Outputs, || {
            "one transaction pays from one wallet".into()
        })?;
        let (wallet, account) = self.account(&wallet_id)?;
        let effects =
            decoder.decode(&ask.transaction.raw.0).map_err(|e| Refusal::new(Rule::Shape, e.to_string()))?;
        self.check_repeated(&effects)?;
        self.check_uses(&records, wallet)?;
        let spent = self.check_inputs(&ask.transaction, &effects, wallet, account, decoder)?;
        let paid = Sats::sum(effects.outputs.iter().map(|o| o.amount));
        let fee = paid.and_then(|paid| spent.minus(paid));
        let fee = fee.ok_or_else(|| Refusal::new(Rule::Fee, "the outputs are more than the inputs"))?;
        self.check_outputs(&records, &ask.transaction, &effects, wallet, account, decoder)?;
        self.check_client(&records, &ask.transaction, wallet)?;
        let (new_anchors, tip) = self.check_anchors(ask, &records, &effects, time, decoder)?;
        check_shape(&effects, tip)?;
        let (rules, charges) = self.permit_all(&ask.requests, fee, time, decoder)?;
        let end = records.iter().map(|r| r.request.end).min().unwrap_or(0);
        Ok(Allowed { effects, wallet: wallet_id, fee, end, rules, charges, new_anchors, tip })
    }

    /// Judges again what was allowed, at the moment when a share would leave (P14, P27): the requests
    /// have not ended by `time` (the later of log time and the signer's own clock), nothing is frozen,
    /// and the approvals still satisfy the policy in force.
    ///
    /// # Errors
    /// The rule that no longer holds.
    pub fn release(&self, id: &Hash, time: u64, decoder: &dyn Decoder) -> Result<(), Refusal> {
        let allowed = self.authorisations.get(id);
        let allowed = allowed.ok_or_else(|| {
            Refusal::new(Rule::Reference, format!("there is no authorisation {id} under this head"))
        })?;
        ensure(time <= allowed.end, Rule::Ended, || {
            format!("the requests ended at {}; renew them", allowed.end)
        })?;
        self.check_leased(allowed)?;
        self.permit_all(&allowed.requests, allowed.fee, time, decoder).map(|_| ())
    }

    pub(crate) fn records(&self, ids: &[Hash]) -> Result<Vec<&RequestRecord>, Refusal> {
        let find = |id: &Hash| {
            self.requests
                .get(id)
                .ok_or_else(|| Refusal::new(Rule::Reference, format!("there is no request {id}")))
        };
        ids.iter().map(find).collect()
    }

    /// The wallet and its account key.
    pub(crate) fn account(&self, id: &Name) -> Result<(&Wallet, &AccountKey), Refusal> {
        let wallet = self.wallet(id);
        let wallet =
            wallet.ok_or_else(|| Refusal::new(Rule::Reference, format!("there is no wallet {id}")))?;
        let slot = self.slot_of(wallet);
        let slot =
            slot.ok_or_else(|| Refusal::new(Rule::Ceremony, format!("wallet {id} has no dealt key")))?;
        Ok((wallet, &slot.slot.account))
    }

    /// Whether a request may still be paid: of the requests of one lineage, the one that was authorised
    /// last, and those that renew it. A lineage never goes back, and
    /// what was withdrawn never returns.
    pub fn in_line(&self, id: &Hash, record: &RequestRecord) -> bool {
        if record.renewed_by.is_some() {
            return false;
        }
        let Some(lineage) = self.lineages.get(&record.lineage) else { return true };
        let mut next = Some(*id);
        while let Some(id) = next {
            if id == lineage.latest {
                return true;
            }
            next = self.requests.get(&id).and_then(|r| r.request.renews);
        }
        false
    }

    /// P23: a renewal is of the same wallet, of a request that may still be paid; a cancel has something to
    /// cancel.
    pub(crate) fn check_renewal(&self, request: &Request, by: &Owner) -> Result<(), Refusal> {
        let renewal = |holds: bool, why: &str| ensure(holds, Rule::Renewal, || why.into());
        let Some((id, old)) = request.renews.and_then(|id| Some((id, self.requests.get(&id)?))) else {
            return Ok(());
        };
        let same = old.request.wallet == request.wallet;
        renewal(same, "a renewal stays in the wallet of the old request")?;
        renewal(self.in_line(&id, old), "the request was renewed or withdrawn: renew a later one")?;
        let anchored = self.lineages.get(&old.lineage).is_some();
        renewal(
            anchored || !request.is_cancel() || self.withdraws(request, by),
            "nothing was authorised yet: only who asked, or any person what a machine asked, withdraws it",
        )
    }

    /// Whether a request ends at once what it renews: a cancel by who asked for that, or by any person if a
    /// machine did, before anything was authorised for it (P23, since rule set 2). It takes no approvals, for
    /// it only takes authority away.
    pub fn withdraws(&self, request: &Request, by: &Owner) -> bool {
        let old = request.renews.and_then(|old| self.requests.get(&old));
        let may = |old: &RequestRecord| may_take_back(by, old) && self.lineages.get(&old.lineage).is_none();
        self.clock.rules >= 2 && request.is_cancel() && old.is_some_and(may)
    }

    /// Ends what a request withdraws, and of what that renews all that the same one may take back. Returns
    /// what took their place and its own, for with that it is over itself.
    pub(crate) fn withdraw(&mut self, id: &Hash, request: &Request, by: &Owner) -> Option<Hash> {
        let place = self.withdraws(request, by).then_some(*id)?;
        let mut next = request.renews;
        while let Some((old_id, mut old)) = next.and_then(|old| Some((old, self.requests.get(&old)?.clone())))
        {
            next = old.request.renews;
            if may_take_back(by, &old) {
                old.renewed_by = Some(place);
                self.requests.put(&mut self.facts, old_id, old);
            }
        }
        Some(place)
    }

    fn check_repeated(&self, effects: &Effects) -> Result<(), Refusal> {
        ensure(self.transactions.get(&effects.txid).is_none(), Rule::Repeated, || {
            "this transaction is authorised already: ask for its signature".into()
        })
    }

    fn check_inputs(
        &self,
        transaction: &TypedTransaction,
        effects: &Effects,
        wallet: &Wallet,
        account: &AccountKey,
        decoder: &dyn Decoder,
    ) -> Result<Sats, Refusal> {
        let own = |holds: bool, why: &str| ensure(holds, Rule::OwnInput, || why.into());
        own(effects.inputs.len() <= INPUTS_LIMIT, "a transaction has at most 200 inputs")?;
        own(
            effects.inputs.len() == transaction.inputs.len(),
            "describe every input of the transaction, in order",
        )?;
        for (input, typed) in effects.inputs.iter().zip(&transaction.inputs) {
            own(input.outpoint == typed.outpoint, "an input is described as another one")?;
            own(
                self.within_gap(wallet, typed.branch, typed.index),
                "an input's index is beyond the gap: allocate it first",
            )?;
            decoder
                .own_script(account, typed.branch, typed.index)
                .map_err(|e| Refusal::new(Rule::OwnInput, e.to_string()))?;
        }
        Sats::sum(transaction.inputs.iter().map(|i| i.amount))
            .ok_or_else(|| Refusal::new(Rule::OwnInput, "the input amounts overflow"))
    }

    fn check_outputs(
        &self,
        records: &[&RequestRecord],
        transaction: &TypedTransaction,
        effects: &Effects,
        wallet: &Wallet,
        account: &AccountKey,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        let mut expected = Vec::new();
        for record in records {
            for output in &record.request.outputs {
                let script = self.script_of(output, decoder)?;
                expected.push(OutputEffect { script, amount: output.amount });
            }
        }
        let mut rest = effects.outputs.clone();
        for output in &expected {
            let place = rest.iter().position(|o| o == output);
            let place = place.ok_or_else(|| {
                Refusal::new(Rule::Outputs, format!("no output of {} as the request asks", output.amount))
            })?;
            rest.swap_remove(place);
        }
        match (rest.as_slice(), transaction.change) {
            ([], None) => Ok(()),
            ([output], Some(index)) => {
                ensure(self.within_gap(wallet, Branch::Change, index), Rule::Change, || {
                    format!("change index {index} is beyond the gap, where no recovery would look")
                })?;
                let own = decoder
                    .own_script(account, Branch::Change, index)
                    .map_err(|e| Refusal::new(Rule::Change, e.to_string()))?;
                ensure(output.script == own, Rule::Outputs, || {
                    format!("an output of {} goes to nobody who was asked for", output.amount)
                })?;
                let dust = decoder.dust_limit(&own);
                ensure(output.amount >= dust, Rule::Change, || {
                    format!("change of {} is dust (under {dust}): add it to the fee", output.amount)
                })
            }
            ([], Some(_)) => Err(Refusal::new(Rule::Change, "a change index, but no change output")),
            (more, _) => Err(Refusal::new(
                Rule::Outputs,
                format!("{} outputs beside those asked for; at most one own change may be", more.len()),
            )),
        }
    }

    /// Splits a fee over requests by the weight of their outputs, rounded up (P20).
    pub(crate) fn split_fee(
        &self,
        records: &[&RequestRecord],
        fee: Sats,
        decoder: &dyn Decoder,
    ) -> Result<Vec<Sats>, Refusal> {
        let mut weights = Vec::new();
        for record in records {
            let mut weight: u64 = 0;
            for output in &record.request.outputs {
                // 8 bytes of amount, one of length, and the script, four weight units each.
                let script = u64::try_from(self.script_of(output, decoder)?.len()).unwrap_or(u64::MAX);
                weight = weight.saturating_add(script.saturating_add(9).saturating_mul(4));
            }
            weights.push(weight.max(1));
        }
        let all = weights.iter().fold(0u64, |sum, w| sum.saturating_add(*w));
        let share = |weight: &u64| {
            let part = u128::from(fee.0).saturating_mul(u128::from(*weight)).div_ceil(u128::from(all.max(1)));
            Sats(u64::try_from(part).unwrap_or(u64::MAX))
        };
        Ok(weights.iter().map(share).collect())
    }

    /// P21: the transaction spends all anchors of all requests that it pays and of no others; new ones
    /// are confirmed outputs. Returns the new anchors by lineage and the highest block shown.
    fn check_anchors(
        &self,
        ask: &Authorise,
        records: &[&RequestRecord],
        effects: &Effects,
        time: u64,
        decoder: &dyn Decoder,
    ) -> Result<(BTreeMap<Hash, Vec<OutPoint>>, u32), Refusal> {
        let spends = |outpoint: &OutPoint| effects.inputs.iter().any(|i| i.outpoint == *outpoint);
        let anchors = |holds: bool, why: &str| ensure(holds, Rule::Anchors, || why.into());
        anchors(ask.anchors.len() <= ANCHORS_LIMIT.max(records.len()), "too many new anchors")?;
        let mut fixed: BTreeMap<Hash, Vec<OutPoint>> = BTreeMap::new();
        let mut shown: BTreeSet<OutPoint> = BTreeSet::new();
        let mut tip = self.clock.tip;
        for new in &ask.anchors {
            let record = ask.requests.iter().zip(records).find(|(id, _)| **id == new.request);
            let (_, record) = record.ok_or_else(|| {
                Refusal::new(Rule::Anchors, "an anchor for a request that is not paid here")
            })?;
            anchors(
                self.lineages.get(&record.lineage).is_none(),
                "the request has its anchors already: every further transaction spends those",
            )?;
            anchors(spends(&new.outpoint), "the transaction does not spend its new anchor")?;
            if shown.insert(new.outpoint) {
                let typed = ask.transaction.inputs.iter().find(|i| i.outpoint == new.outpoint);
                let (_, account) = self.account(&record.request.wallet)?;
                let spent = typed.and_then(|t| {
                    let script = decoder.own_script(account, t.branch, t.index).ok()?;
                    Some(OutputEffect { script, amount: t.amount })
                });
                tip = tip.max(self.check_anchor_proof(new, spent.as_ref(), decoder)?);
            }
            let list = fixed.entry(record.lineage).or_default();
            anchors(!list.contains(&new.outpoint), "an anchor is named twice")?;
            list.push(new.outpoint);
        }
        let mut paid = BTreeSet::new();
        for record in records {
            anchors(paid.insert(record.lineage), "two requests of one chain of renewals in one transaction")?;
            let old = self.lineages.get(&record.lineage).map(|l| &l.anchors);
            let bound = old.or_else(|| fixed.get(&record.lineage));
            let bound = bound.ok_or_else(|| Refusal::new(Rule::Anchors, "a request without an anchor"))?;
            anchors(
                bound.iter().all(spends),
                "the transaction must spend all anchors of the requests that it pays",
            )?;
        }
        for input in &effects.inputs {
            let others = self.anchors.get(&input.outpoint).map(|a| &a.lineages);
            for lineage in others.into_iter().flatten().filter(|l| !paid.contains(*l)) {
                ensure(self.may_leave_out(lineage, time), Rule::LeftOut, || {
                    format!(
                        "an input is the anchor of request {lineage}, which is still open: pay it here too"
                    )
                })?;
            }
        }
        Ok((fixed, tip))
    }

    /// P21: the anchor is confirmed, and the output that is described. Returns the highest block shown.
    pub(crate) fn check_anchor_proof(
        &self,
        new: &NewAnchor,
        spent: Option<&OutputEffect>,
        decoder: &dyn Decoder,
    ) -> Result<u32, Refusal> {
        let proof = new.proof.as_ref();
        let proof = proof
            .ok_or_else(|| Refusal::new(Rule::AnchorProof, "a new anchor needs a proof of confirmation"))?;
        let shown = decoder
            .confirmed(proof, &self.header())
            .map_err(|e| Refusal::new(Rule::AnchorProof, e.to_string()))?;
        ensure(shown.effects.txid == new.outpoint.txid, Rule::AnchorProof, || {
            "the proof is of another transaction than the anchor's".into()
        })?;
        ensure(shown.depth >= ANCHOR_DEPTH, Rule::AnchorProof, || {
            format!("the anchor has {} confirmations, it needs {ANCHOR_DEPTH}", shown.depth)
        })?;
        let place = usize::try_from(new.outpoint.vout).unwrap_or(usize::MAX);
        let output = shown.effects.outputs.get(place);
        ensure(output.is_some() && output == spent, Rule::AnchorProof, || {
            "the anchor's transaction has no such output of the own script and that amount".into()
        })?;
        Ok(shown.height.saturating_add(shown.depth).saturating_sub(1))
    }

    /// Whether a bump may leave a lineage out: it expired, was cancelled, or is frozen.
    fn may_leave_out(&self, lineage: &Hash, time: u64) -> bool {
        let latest = self.lineages.get(lineage).and_then(|l| self.requests.get(&l.latest));
        let frozen = |r: &RequestRecord| self.stopping(&r.request, &r.requester).next().is_some();
        self.is_over(lineage, time) || latest.is_some_and(frozen)
    }
}

/// Whether somebody may withdraw a request: who asked for it, and any person what a machine asked, whose key
/// may be stolen or revoked.
fn may_take_back(by: &Owner, old: &RequestRecord) -> bool {
    old.requester == *by || matches!((&old.requester, by), (Owner::Machine(_), Owner::Person(_)))
}

fn check_shape(effects: &Effects, tip: u32) -> Result<(), Refusal> {
    let shape = |holds: bool, why: &str| ensure(holds, Rule::Shape, || why.into());
    shape(effects.version == TRANSACTION_VERSION, "the version must be 2")?;
    shape(
        effects.inputs.iter().all(|i| i.sequence == SEQUENCE),
        "every sequence must be 0xfffffffd: replaceable, no relative lock",
    )?;
    shape(
        effects.lock_time <= tip.saturating_add(LOCK_TIME_SLACK),
        "the lock time is too far above the highest block that a proof has shown",
    )
}
