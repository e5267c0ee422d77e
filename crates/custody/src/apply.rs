//! How a batch changes the state (P5, P6). Total, deterministic, pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::batch::{Batch, Tick};
use crate::bytes::Hash;
use crate::document::{DestinationKind, Document, Grant};
use crate::effects::{Decoder, Sats};
use crate::genesis::Genesis;
use crate::map::MerkleMap;
use crate::payment::{Allowed, Authorise, OUTPUTS_LIMIT, Request};
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{
    AnchorRecord, Approval, Authorisation, Clock, FreezeRecord, Lineage, Moment, Observation, Owner,
    RequestRecord, State, consumed_until,
};
use crate::statement::{
    Approve, Body, Envelope, Freeze, Observe, Revoke, Scope, Statement, VALIDITY_LIMIT_S, Verified,
};
use crate::table::Table;
use crate::tree::Frontier;

/// The delay clock advances by the gap between two Ticks, but at most by this many seconds: a server
/// that stops the log lets no delay run out (P13).
pub const DELAY_STEP_LIMIT_S: u64 = 600;

/// Most freezes of everything that one person may have in force, and most narrower ones: more say nothing
/// new.
pub const FREEZES_PER_PERSON_LIMIT: usize = 8;

/// For so long after a key revoked itself a freeze by it still applies, in seconds: a thief who revokes
/// the owner's key does not kill the owner's freeze (P16).
pub const REVOKED_FREEZE_S: u64 = 24 * 3600;

/// What became of one entry of a valid batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The statement.
    pub id: Hash,
    /// Nothing when it was applied, else the rule that rejected it. Either way its id is consumed.
    pub rejected: Option<Refusal>,
}

/// How an entry fails: some failures make the whole batch invalid, so that nobody votes for it.
pub(crate) enum Fault {
    Invalid(Refusal),
    Rejected(Refusal),
}

fn rejected(refusal: Refusal) -> Fault {
    Fault::Rejected(refusal)
}

fn invalid(refusal: Refusal) -> Fault {
    Fault::Invalid(refusal)
}

impl State {
    /// The state before the first batch.
    ///
    /// # Errors
    /// A genesis that does not pass its own checks.
    pub fn new(genesis: Genesis) -> Result<Self, Refusal> {
        genesis.check()?;
        let genesis_hash = genesis.hash();
        let clock = Clock {
            height: 0,
            time: genesis.created_at,
            delay: 0,
            rules: genesis.rules,
            tip: genesis.header.height,
        };
        let mut state = Self {
            asset: genesis.asset(),
            genesis: Arc::new(genesis),
            genesis_hash,
            clock,
            log: Frontier::new(),
            facts: MerkleMap::new(),
            clocks: Table::new("clock"),
            documents: Table::new("document"),
            proposals: Table::new("proposal"),
            waiting: Table::new("waiting"),
            keys: Table::new("key"),
            consumed: Table::new("consumed"),
            freezes: Table::new("freeze"),
            requests: Table::new("request"),
            lineages: Table::new("lineage"),
            anchors: Table::new("anchor"),
            authorisations: Table::new("authorisation"),
            transactions: Table::new("transaction"),
            charges: Table::new("charge"),
            spent: Table::new("spent"),
            leases: Table::new("lease"),
            ripening: Table::new("ripening"),
            rulebook: None,
            slots: Table::new("slot"),
            next_index: Table::new("next-index"),
            allocations: Table::new("allocation"),
            observations: Table::new("observation"),
            resharings: Table::new("resharing"),
            deals: Table::new("deal"),
            sets: Table::new("cosigner-set"),
        };
        let genesis = Arc::clone(&state.genesis);
        let people = genesis.people.iter().cloned().map(Document::Person);
        let first = people
            .chain(genesis.groups.iter().cloned().map(Document::Group))
            .chain(genesis.machines.iter().cloned().map(Document::Machine))
            .chain(genesis.cosigners.iter().cloned().map(Document::Cosigner))
            .chain([Document::Header(genesis.header), Document::Policy(genesis.policy.clone())]);
        for document in first {
            state.enforce(document, None);
        }
        state.put_clock();
        Ok(state)
    }

    pub(crate) fn put_clock(&mut self) {
        self.clocks.put(&mut self.facts, 0, self.clock);
    }

    /// Applies a batch: all of it, or, with an error, nothing.
    ///
    /// # Errors
    /// The batch is invalid: nobody may vote for it.
    pub fn apply(&mut self, batch: &Batch, decoder: &dyn Decoder) -> Result<Vec<Outcome>, Refusal> {
        let mut next = self.clone();
        let outcomes = next.apply_in_place(batch, decoder)?;
        *self = next;
        Ok(outcomes)
    }

    pub(crate) fn apply_in_place(
        &mut self,
        batch: &Batch,
        decoder: &dyn Decoder,
    ) -> Result<Vec<Outcome>, Refusal> {
        let tick = &batch.tick;
        let fits = |holds: bool, why: &str| ensure(holds, Rule::Batch, || why.into());
        self.check_rule_set()?;
        fits(tick.height == self.clock.height.saturating_add(1), "the height is not the next one")?;
        fits(tick.state == self.hash(), "the state hash before the batch is another")?;
        fits(tick.time >= self.clock.time, "time runs backwards")?;
        self.check_handover(tick)?;
        let statements: Vec<_> = batch.entries.iter().map(Envelope::unverified).collect::<Result<_, _>>()?;
        let reductions = statements.iter().take_while(|s| s.body.is_reduction()).count();
        let late = statements.iter().skip(reductions).any(|s| s.body.is_reduction());
        ensure(!late, Rule::ReductionsFirst, || "a reduction stands behind another entry".into())?;

        self.advance(tick);
        let mut outcomes = Vec::new();
        for (i, (envelope, statement)) in batch.entries.iter().zip(statements).enumerate() {
            if i == reductions {
                self.enter_into_force(decoder);
            }
            outcomes.push(self.apply_statement(envelope, statement, decoder)?);
        }
        if batch.entries.len() == reductions {
            self.enter_into_force(decoder);
        }
        self.put_clock();
        for leaf in batch.leaves() {
            self.log.push(&leaf);
        }
        Ok(outcomes)
    }

    /// The state after a batch's Tick and reductions, before documents enter into force: a held reduction
    /// that the batch leaves out is excused if it is inadmissible here (P9).
    ///
    /// # Errors
    /// One of the reductions makes the batch invalid.
    pub fn after_reductions(&self, batch: &Batch, decoder: &dyn Decoder) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.advance(&batch.tick);
        for envelope in &batch.entries {
            if !envelope.unverified()?.body.is_reduction() {
                break;
            }
            next.apply_entry(envelope, decoder)?;
        }
        Ok(next)
    }

    pub(crate) fn advance(&mut self, tick: &Tick) {
        let gap = tick.time.saturating_sub(self.clock.time).min(DELAY_STEP_LIMIT_S);
        self.clock.height = tick.height;
        self.clock.time = tick.time;
        self.clock.delay = self.clock.delay.saturating_add(gap);
        self.forget_consumed();
        self.forget_ripe();
    }

    pub(crate) fn apply_entry(
        &mut self,
        envelope: &Envelope,
        decoder: &dyn Decoder,
    ) -> Result<Outcome, Refusal> {
        self.apply_statement(envelope, envelope.unverified()?, decoder)
    }

    /// As [`Self::apply_entry`], of an envelope that was read already: reading costs half of a verification.
    fn apply_statement(
        &mut self,
        envelope: &Envelope,
        statement: Statement,
        decoder: &dyn Decoder,
    ) -> Result<Outcome, Refusal> {
        let is_freeze = matches!(statement.body, Body::Freeze(_));
        let now = self.clock.time;
        let usable = |id: &Hash| {
            let key = self.keys.get(id)?;
            let late = |at: u64| is_freeze && key.self_revoked && now <= at.saturating_add(REVOKED_FREEZE_S);
            key.revoked_at.is_none_or(late).then_some(key.public)
        };
        let verified = envelope.clone().verify_read(statement, &self.genesis_hash, usable)?;
        let (id, statement) = (verified.id(), verified.statement());
        self.check_since(statement.body.since())?;
        verified.envelope().check_size(&statement.body, self.clock.rules)?;
        let until = consumed_until(statement.not_after);
        ensure(self.consumed.get(&(until, id)).is_none(), Rule::Once, || {
            format!("statement {id} was used already: sign a new one")
        })?;
        if let Some(end) = statement.not_after {
            ensure(now <= end, Rule::NotAfter, || format!("the statement ended at {end}: sign a new one"))?;
            ensure(end <= now.saturating_add(VALIDITY_LIMIT_S), Rule::NotAfter, || {
                "not_after is more than 90 days ahead".into()
            })?;
        }
        let owner = self.keys.get(&statement.signer).map(|k| k.owner.clone());
        let owner = owner.ok_or_else(|| Refusal::new(Rule::Signature, "the key is not enrolled"))?;
        let rejected = match self.apply_body(&verified, owner, decoder) {
            Ok(()) => None,
            Err(Fault::Rejected(refusal)) => Some(refusal),
            Err(Fault::Invalid(refusal)) => return Err(refusal),
        };
        let word = rejected.as_ref().map_or("applied", |r| r.rule.id()).to_owned();
        self.consumed.put(&mut self.facts, (until, id), word);
        Ok(Outcome { id, rejected })
    }

    fn apply_body(&mut self, verified: &Verified, owner: Owner, decoder: &dyn Decoder) -> Result<(), Fault> {
        let id = verified.id();
        let statement = verified.statement();
        let end = statement.not_after.unwrap_or_default();
        match &statement.body {
            Body::Propose(propose) => self.propose(id, propose, owner, end, decoder).map_err(rejected),
            Body::Approve(approve) => self.approve(verified, approve, owner, decoder),
            Body::Veto(veto) => self.veto(veto, owner),
            Body::Freeze(freeze) => self.freeze(id, freeze, owner),
            Body::Revoke(revoke) => self.revoke(revoke, owner),
            Body::Request(request) => self.request(id, request, owner, decoder),
            Body::Authorise(authorise) => self.authorise(id, authorise, owner, decoder).map_err(invalid),
            Body::Allocate(allocate) => self.allocate(allocate, owner),
            Body::Supports(supports) => self.supports(supports, owner).map_err(rejected),
            Body::Activate(activate) => self.activate(activate, owner, decoder),
            Body::Observe(observe) => self.observe(observe, owner).map_err(rejected),
            Body::Offer(offer) => self.offer(offer, owner),
            Body::Deal(deal) => self.deal(deal, owner, decoder),
            Body::Erased(erased) => self.erased(erased, owner),
        }
    }

    /// Ids are remembered until their statements could not be used any more.
    fn forget_consumed(&mut self) {
        let now = self.clock.time;
        let old: Vec<_> =
            self.consumed.iter().map(|(k, _)| *k).take_while(|(until, _)| *until < now).collect();
        for key in old {
            self.consumed.take(&mut self.facts, &key);
        }
    }

    fn approve(
        &mut self,
        verified: &Verified,
        approve: &Approve,
        owner: Owner,
        decoder: &dyn Decoder,
    ) -> Result<(), Fault> {
        let policy = self.policy().map(|(_, hash)| hash).unwrap_or_default();
        let known =
            self.requests.get(&approve.target).is_some() || self.proposals.get(&approve.target).is_some();
        ensure(known, Rule::Reference, || format!("there is no proposal or request {}", approve.target))
            .map_err(invalid)?;
        let Owner::Person(person) = owner else {
            return Err(rejected(Refusal::new(Rule::Standing, "only people approve")));
        };
        ensure(approve.decides == policy, Rule::Decides, || {
            format!(
                "the approval is for policy {}, in force is {policy}: look again and approve anew",
                approve.decides
            )
        })
        .map_err(rejected)?;
        let approval = Approval {
            id: verified.id(),
            key: verified.statement().signer,
            decides: approve.decides,
            not_after: verified.statement().not_after.unwrap_or_default(),
            given: (self.clock.rules >= 3)
                .then_some(Moment { time: self.clock.time, delay: self.clock.delay }),
        };
        if let Some(record) = self.requests.get(&approve.target) {
            ensure(record.requester != Owner::Person(person.clone()), Rule::Standing, || {
                format!("{person} asked for this payment and cannot approve it")
            })
            .map_err(rejected)?;
            let mut record = record.clone();
            record.approvals.insert(person, approval);
            self.requests.put(&mut self.facts, approve.target, record);
            self.ripen(&approve.target);
            return Ok(());
        }
        self.approve_proposal(&approve.target, person, approval, decoder).map_err(rejected)
    }

    fn freeze(&mut self, id: Hash, freeze: &Freeze, owner: Owner) -> Result<(), Fault> {
        // A freeze of what is not here would stop nothing, and its signer would believe that it did.
        let known = match &freeze.scope {
            Scope::Everything => true,
            Scope::Asset(asset) => *asset == self.genesis.asset(),
            Scope::Wallet(wallet) => self.wallet(wallet).is_some(),
            Scope::Client(client) => self.client(client).is_some(),
            Scope::Network(network) => *network == self.genesis.network,
            Scope::Person(person) => self.person(person).is_some(),
        };
        ensure(known, Rule::Reference, || format!("nothing here is {:?}: freeze what is", freeze.scope))
            .map_err(invalid)?;
        let person = matches!(owner, Owner::Person(_));
        ensure(person || self.granted(&owner, Grant::Freeze), Rule::Grant, || {
            format!("{owner} is not enrolled to freeze")
        })
        .map_err(rejected)?;
        // Narrow freezes do not use up the freezes of everything.
        let all = |scope: &Scope| *scope == Scope::Everything;
        let alike = |f: &FreezeRecord| f.by == owner && all(&f.scope) == all(&freeze.scope);
        let mine = self.freezes.iter().filter(|(_, f)| alike(f)).count();
        ensure(mine < FREEZES_PER_PERSON_LIMIT, Rule::FreezeLimit, || {
            format!("{owner} has {mine} freezes in force already")
        })
        .map_err(rejected)?;
        let record = FreezeRecord { scope: freeze.scope.clone(), by: owner, at: self.clock.time };
        self.freezes.put(&mut self.facts, id, record);
        Ok(())
    }

    fn observe(&mut self, observe: &Observe, owner: Owner) -> Result<(), Refusal> {
        ensure(self.granted(&owner, Grant::Observe), Rule::Grant, || {
            format!("{owner} is not enrolled to anchor observation logs")
        })?;
        let before = self.observations.get(&observe.log).map_or(0, |last| last.size);
        ensure(observe.size > before, Rule::Observation, || {
            format!("log {} has {before} entries anchored, {} are no more", observe.log, observe.size)
        })?;
        let last = Observation { size: observe.size, root: observe.root, by: owner, at: self.clock.time };
        self.observations.put(&mut self.facts, observe.log.clone(), last);
        Ok(())
    }

    fn revoke(&mut self, revoke: &Revoke, owner: Owner) -> Result<(), Fault> {
        let key = self.keys.get(&revoke.key);
        let key = key.ok_or_else(|| invalid(Refusal::new(Rule::Reference, "there is no such key")))?;
        ensure(key.owner == owner, Rule::OwnKey, || {
            format!("the key is of {}: revoking somebody else takes a quorum", key.owner)
        })
        .map_err(rejected)?;
        self.retire_key(&revoke.key, true);
        Ok(())
    }

    /// Takes a key out of use. What a quorum takes out of use freezes no more, whoever was first.
    pub(crate) fn retire_key(&mut self, id: &Hash, by_owner: bool) {
        if let Some(mut key) = self.keys.get(id).cloned() {
            key.self_revoked = by_owner && (key.revoked_at.is_none() || key.self_revoked);
            key.revoked_at = key.revoked_at.or(Some(self.clock.time));
            self.keys.put(&mut self.facts, *id, key);
        }
    }

    fn request(
        &mut self,
        id: Hash,
        request: &Request,
        owner: Owner,
        decoder: &dyn Decoder,
    ) -> Result<(), Fault> {
        let reference = |holds: bool, what: String| ensure(holds, Rule::Reference, || what).map_err(invalid);
        let wallet = &request.wallet;
        reference(self.wallet(wallet).is_some(), format!("there is no wallet {wallet}"))?;
        for output in &request.outputs {
            let found = self.payee(output).is_some();
            reference(found, format!("there is no destination {}", output.destination))?;
        }
        if let Some(client) = &request.client {
            reference(self.client(client).is_some(), format!("there is no client {client}"))?;
        }
        if let Some(old) = &request.renews {
            reference(self.requests.get(old).is_some(), format!("there is no request {old}"))?;
        }
        let person = matches!(owner, Owner::Person(_));
        ensure(person || self.granted(&owner, Grant::Request), Rule::Grant, || {
            format!("{owner} is not enrolled to ask for payments")
        })
        .map_err(rejected)?;
        self.check_request(request, &owner, decoder).map_err(rejected)?;
        let lineage = request.renews.and_then(|old| self.requests.get(&old)).map_or(id, |old| old.lineage);
        let renewed_by = self.withdraw(&id, request, &owner);
        let record = RequestRecord {
            request: request.clone(),
            requester: owner,
            at: self.clock.time,
            rules: self.clock.rules,
            approvals: BTreeMap::new(),
            lineage,
            renewed_by,
            authorised: Vec::new(),
        };
        self.requests.put(&mut self.facts, id, record);
        Ok(())
    }

    fn check_request(&self, request: &Request, owner: &Owner, decoder: &dyn Decoder) -> Result<(), Refusal> {
        let form = |holds: bool, why: &str| ensure(holds, Rule::Request, || why.into());
        form(request.outputs.len() <= OUTPUTS_LIMIT, "a request has at most 32 outputs")?;
        form(request.amount().is_some(), "the amounts are more than there is")?;
        form(request.end >= self.clock.time, "the request has ended before it began")?;
        let latest = self.clock.time.saturating_add(VALIDITY_LIMIT_S);
        form(request.end <= latest, "the end is more than 90 days ahead")?;
        form(request.fee_max > Sats(0), "a fee ceiling of zero: nothing could pay it")?;
        form(request.despite.is_empty() || request.is_cancel(), "only a cancel leaves despite a freeze")?;
        self.check_client_named(request)?;
        let names = request.renews.is_some() || !request.is_cancel();
        form(names, "a request without outputs cancels another: name it")?;
        for output in &request.outputs {
            let id = &output.destination;
            form(self.is_as_asked(output), "a destination changed: look again and ask anew")?;
            self.check_unlisted(output, decoder)?;
            let (_, address) = self.payee(output).unwrap_or((DestinationKind::Unlisted, ""));
            let script =
                decoder.address_script(address).map_err(|e| Refusal::new(Rule::Request, e.to_string()))?;
            let dust = decoder.dust_limit(&script);
            ensure(output.amount >= dust, Rule::Request, || {
                format!("{} to {id} is dust: nodes relay {dust} and more", output.amount)
            })?;
        }
        self.check_renewal(request, owner)
    }

    fn authorise(
        &mut self,
        id: Hash,
        authorise: &Authorise,
        owner: Owner,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        let person = matches!(owner, Owner::Person(_));
        ensure(person || self.granted(&owner, Grant::Authorise), Rule::Grant, || {
            format!("{owner} is not enrolled to propose transactions")
        })?;
        let allowed = self.judge(authorise, self.clock.time, decoder)?;
        self.record_authorisation(id, authorise, allowed);
        Ok(())
    }

    fn record_authorisation(&mut self, id: Hash, authorise: &Authorise, allowed: Allowed) {
        self.spend(id, authorise, &allowed);
        self.clock.tip = self.clock.tip.max(allowed.tip);
        for request in &authorise.requests {
            let Some(mut record) = self.requests.get(request).cloned() else { continue };
            let whole = self.clock.rules >= 3 && record.authorised.is_empty();
            record.authorised.push(id);
            let amount = record.request.amount().unwrap_or_default();
            let lineage = self.lineages.get(&record.lineage).cloned();
            self.take_place_of(request, &record, lineage.as_ref().map(|l| l.latest));
            let mut lineage = lineage.unwrap_or_else(|| {
                let anchors = allowed.new_anchors.get(&record.lineage).cloned().unwrap_or_default();
                let excluded = BTreeSet::new();
                Lineage { anchors, excluded, charged: Sats(0), amount: Sats(0), latest: *request }
            });
            // P24: outputs are charged once per lineage, before rule set 3 of a renewal what it adds.
            let charge = if whole { amount } else { amount.minus(lineage.amount).unwrap_or_default() };
            lineage.amount = lineage.amount.max(amount);
            lineage.latest = *request;
            self.charge(record.lineage, lineage, charge);
            self.requests.put(&mut self.facts, *request, record);
        }
        self.charge_fee(authorise, &allowed);
        let lease = self.use_lease(authorise, &allowed.wallet);
        self.transactions.put(&mut self.facts, allowed.effects.txid, id);
        let authorisation = Authorisation {
            requests: authorise.requests.clone(),
            wallet: allowed.wallet,
            transaction: authorise.transaction.clone(),
            txid: allowed.effects.txid,
            fee: allowed.fee,
            at: self.clock.time,
            height: self.clock.height,
            end: allowed.end,
            rules: allowed.rules,
            lease,
        };
        self.authorisations.put(&mut self.facts, id, authorisation);
    }

    /// Notes on the requests that `id` renews, up to the last authorised one, that it took their place.
    fn take_place_of(&mut self, id: &Hash, record: &RequestRecord, latest: Option<Hash>) {
        let mut next = record.request.renews.filter(|_| latest != Some(*id));
        while let Some((old_id, mut old)) = next.and_then(|old| Some((old, self.requests.get(&old)?.clone())))
        {
            next = old.request.renews.filter(|_| latest != Some(old_id));
            old.renewed_by = Some(*id);
            self.requests.put(&mut self.facts, old_id, old);
        }
    }

    /// Charges an amount to a lineage and to the window that ends now.
    fn charge(&mut self, id: Hash, mut lineage: Lineage, amount: Sats) {
        lineage.charged = Sats(lineage.charged.0.saturating_add(amount.0));
        self.lineages.put(&mut self.facts, id, lineage);
        let at = (self.clock.time, id);
        let sum = self.charges.get(&at).copied().unwrap_or_default().0.saturating_add(amount.0);
        self.charges.put(&mut self.facts, at, Sats(sum));
    }

    /// P24: of all transactions that spend an anchor only the highest fee counts, so a bump charges its
    /// increment. The lineages of the transaction are charged for it, the first one in full.
    fn charge_fee(&mut self, authorise: &Authorise, allowed: &Allowed) {
        let lineages: BTreeSet<Hash> =
            authorise.requests.iter().filter_map(|r| self.requests.get(r)).map(|r| r.lineage).collect();
        let anchors: BTreeSet<_> =
            lineages.iter().filter_map(|l| self.lineages.get(l)).flat_map(|l| l.anchors.clone()).collect();
        let fee_of = |outpoint| self.anchors.get(outpoint).map_or(Sats(0), |a: &AnchorRecord| a.fee);
        let before = anchors.iter().map(fee_of).max().unwrap_or_default();
        let more = allowed.fee.minus(before).unwrap_or_default();
        let first = lineages.first().and_then(|first| Some((*first, self.lineages.get(first).cloned()?)));
        if let Some((first, lineage)) = first {
            self.charge(first, lineage, more);
        }
        for outpoint in anchors {
            let old = self.anchors.get(&outpoint).cloned();
            let mut record = old.unwrap_or(AnchorRecord { lineages: BTreeSet::new(), fee: Sats(0) });
            record.fee = record.fee.max(allowed.fee);
            let bound = |l: &&Hash| self.lineages.get(*l).is_some_and(|l| l.anchors.contains(&outpoint));
            record.lineages.extend(lineages.iter().filter(bound).copied());
            self.anchors.put(&mut self.facts, outpoint, record);
        }
    }
}
