//! Whether requests may be paid now: not ended, not frozen, in line, and allowed by the policy in force
//! under the approvals that count (P14, P16, P23, P24). The transaction itself is judged in `judge`.

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::Hash;
use crate::charge::{Charge, Subject};
use crate::decide::{Ask, Facts, Given, Rulebook, fee_within_share};
use crate::document::{Document, Kind, Tier};
use crate::effects::{Decoder, Sats};
use crate::name::Name;
use crate::payment::{Request, RequestOutput};
use crate::policy::{DE_MINIMIS_WINDOW_S, Policy, RequestKind};
use crate::quorum::seat;
use crate::rates::{Priced, Rate};
use crate::rule::{Refusal, Rule, ensure};
use crate::seats::At;
use crate::state::{Approval, FreezeRecord, Owner, RequestRecord, State};
use crate::statement::{Scope, key_id};

impl Facts for State {
    fn charges(&self, after: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        Box::new(self.spent.from((after, Hash::default(), 0)).map(|(_, charge)| charge))
    }

    fn rate(&self, currency: &Name, asset: &str, time: u64) -> Option<Rate> {
        match &self.document(Kind::Rates, currency.as_str())?.document {
            Document::Rates(rates) if time <= rates.until => rates.rates.get(asset).copied(),
            _ => None,
        }
    }

    fn unlisted_handles(&self, destination: &Name) -> BTreeSet<Name> {
        self.unlisted_handles_of(destination)
    }
}

impl State {
    /// Whether the requests of one transaction may be paid at `time` with `fee`. Returns the rules that allow
    /// each, and what each would be charged.
    pub(crate) fn permit_all(
        &self,
        ids: &[Hash],
        fee: Sats,
        time: u64,
        decoder: &dyn Decoder,
    ) -> Result<(Vec<Vec<Name>>, Vec<Charge>), Refusal> {
        let asks = self.asks(ids, fee, time, decoder)?;
        let charges = asks.iter().map(|ask| ask.charge.clone()).collect();
        let permits = ids.iter().zip(self.records(ids)?).zip(asks);
        let rules = permits
            .map(|((id, record), ask)| self.permit(id, record, ask, decoder))
            .collect::<Result<_, _>>()?;
        Ok((rules, charges))
    }

    /// The requests of one transaction with `fee` as the policy sees each at `time`, with the approvals that
    /// count.
    ///
    /// # Errors
    /// A request that does not exist, or whose destination changed.
    pub fn asks(
        &self,
        ids: &[Hash],
        fee: Sats,
        time: u64,
        decoder: &dyn Decoder,
    ) -> Result<Vec<Ask>, Refusal> {
        let records = self.records(ids)?;
        let fees = self.split_fee(&records, fee, decoder)?;
        // Limits bound what leaves together, so each request sees what the others of its transaction
        // take, and what other transactions were charged in the window.
        let charges: Vec<Charge> = records
            .iter()
            .zip(&fees)
            .map(|(r, fee)| self.charge_of(&r.request, &r.requester, r.lineage, *fee, time))
            .collect();
        let total = charges.iter().fold(0u128, |sum, charge| sum.saturating_add(charge.total()));
        let paid: BTreeSet<Hash> = records.iter().map(|r| r.lineage).collect();
        let used = self.charged_since(time, DE_MINIMIS_WINDOW_S, &paid).0;
        let ask = |(i, (record, charge)): (usize, (&&RequestRecord, &Charge))| {
            let others = u64::try_from(total.saturating_sub(charge.total())).unwrap_or(u64::MAX);
            let beside = charges.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, c)| c.clone());
            Ask {
                beside: beside.collect(),
                paid: paid.clone(),
                approvals: self.given(record, time),
                de_minimis_left: self.de_minimis_left(used.saturating_add(others)),
                ..self.ask(charge.clone(), time)
            }
        };
        Ok(records.iter().zip(&charges).enumerate().map(ask).collect())
    }

    fn de_minimis_left(&self, used: u64) -> Sats {
        self.genesis.de_minimis.minus(Sats(used)).unwrap_or_default()
    }

    /// What a request would be charged with a fee (P24).
    pub fn charge_of(&self, request: &Request, by: &Owner, lineage: Hash, fee: Sats, time: u64) -> Charge {
        let kind = |o: &RequestOutput| self.payee(o).map(|(kind, _)| kind);
        let mut paid: BTreeMap<Name, Sats> = BTreeMap::new();
        for output in &request.outputs {
            let sum = paid.entry(output.destination.clone()).or_default();
            *sum = Sats(sum.0.saturating_add(output.amount.0));
        }
        let subject = Subject {
            kind: if request.is_cancel() { RequestKind::Cancel } else { RequestKind::Payment },
            asset: self.genesis.asset(),
            wallet: request.wallet.clone(),
            tier: self.wallet(&request.wallet).map_or(Tier::Hot, |wallet| wallet.tier),
            client: request.client.clone(),
            destinations: request.outputs.iter().filter_map(kind).collect(),
            amount: request.amount().unwrap_or(Sats::MAX),
        };
        let currency = self.policy().and_then(|(policy, _)| policy.currency.clone());
        let price = currency.and_then(|currency| {
            let rate = self.rate(&currency, &subject.asset, time)?;
            Some(Priced { currency, rate })
        });
        Charge { subject, initiator: by.clone(), lineage, paid, fee, count: 1, price }
    }

    /// A charge as the policy sees it, alone in its transaction and without approvals yet.
    pub fn ask(&self, charge: Charge, time: u64) -> Ask {
        let cooled = |id: &Name| {
            let found = self.document(Kind::Destination, id.as_str()).filter(|_| !id.is_unlisted());
            let since = found.map_or(self.clock.delay, |found| found.since_delay.unwrap_or(0));
            (id.clone(), self.clock.delay.saturating_sub(since))
        };
        let paid = BTreeSet::from([charge.lineage]);
        let used = self.charged_since(time, DE_MINIMIS_WINDOW_S, &paid).0;
        Ask {
            cooled_s: charge.paid.keys().map(cooled).collect(),
            beside: Vec::new(),
            paid,
            approvals: BTreeMap::new(),
            time,
            delay: self.clock.delay,
            de_minimis_left: self.de_minimis_left(used),
            charge,
        }
    }

    /// A request in the log as the policy sees it at `time` with a fee, and the approvals that count.
    pub fn ask_of(&self, record: &RequestRecord, fee: Sats, time: u64) -> Ask {
        let charge = self.charge_of(&record.request, &record.requester, record.lineage, fee, time);
        Ask { approvals: self.given(record, time), ..self.ask(charge, time) }
    }

    /// The rules that would allow a request in the log at `time`, its fee aside, which is known only with
    /// its transaction.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn first_look(&self, record: &RequestRecord, time: u64) -> Result<Vec<Name>, Refusal> {
        let book = self.rulebook();
        let book = book.ok_or_else(|| Refusal::new(Rule::PolicyScope, "no policy is in force"))?;
        book.decide(&self.ask_of(record, Sats(0), time), &At { state: self, time })
    }

    /// Whether one request may be paid.
    fn permit(
        &self,
        id: &Hash,
        record: &RequestRecord,
        ask: Ask,
        decoder: &dyn Decoder,
    ) -> Result<Vec<Name>, Refusal> {
        let request = &record.request;
        ensure(ask.time <= request.end, Rule::Ended, || {
            format!("the request ended at {}; renew it", request.end)
        })?;
        ensure(!self.has_lapsed(record), Rule::Lapsed, || {
            format!("the request lapsed with rule set {}; renew it under the one in force", record.rules)
        })?;
        ensure(self.in_line(id, record), Rule::Renewal, || {
            "another request took its place, or it was withdrawn".into()
        })?;
        let amount = request.amount();
        let amount = amount.ok_or_else(|| Refusal::new(Rule::Request, "the amounts overflow"))?;
        let fee = ask.charge.fee;
        let share_ok = request.is_cancel() || fee_within_share(fee, amount, request.fee_max_ppm);
        ensure(fee <= request.fee_max && share_ok, Rule::Fee, || {
            let (max, ppm) = (request.fee_max, request.fee_max_ppm);
            format!("a fee of {fee} is over the request's ceilings: {max} and {ppm} millionths of {amount}")
        })?;
        let book = self.rulebook();
        let book = book.ok_or_else(|| Refusal::new(Rule::PolicyScope, "no policy is in force"))?;
        self.check_frozen(record, &ask, book.policy())?;
        self.check_key(request, &record.requester, ask.time)?;
        self.check_paid(request, ask.time, decoder)?;
        let rules = book.decide(&ask, &At { state: self, time: ask.time })?;
        self.check_proposers(request, &ask, book)?;
        Ok(rules)
    }

    /// Refuses what is paid to an address on a deny list, to a third party whose attestation ended, and any
    /// payment in an asset that is not held here.
    ///
    /// # Errors
    /// The first of these.
    pub fn check_paid(&self, request: &Request, time: u64, decoder: &dyn Decoder) -> Result<(), Refusal> {
        ensure(request.is_cancel() || self.is_enabled(&self.asset), Rule::Enabled, || {
            format!("{} is not held here any more: a quorum enables it", self.asset)
        })?;
        let mut scripts = BTreeSet::new();
        for output in &request.outputs {
            scripts.insert(self.script_of(output, decoder)?);
            let listed = self.destination(&output.destination).filter(|_| output.address.is_none());
            listed.map_or(Ok(()), |destination| self.check_third_party(destination, time))?;
        }
        self.check_denied(&scripts, decoder)
    }

    /// Nobody alone approves a payment to a destination that the same person proposed: either two people
    /// fill every path, or the others would suffice.
    ///
    /// # Errors
    /// [`Rule::Standing`].
    pub fn check_proposers(&self, request: &Request, ask: &Ask, book: &Rulebook) -> Result<(), Refusal> {
        let listed = |o: &RequestOutput| self.document(Kind::Destination, o.destination.as_str());
        let proposer = |o: &RequestOutput| listed(o).filter(|_| o.address.is_none())?.proposer.clone();
        let proposers: BTreeSet<Name> = request.outputs.iter().filter_map(proposer).collect();
        let mut others = ask.clone();
        others.approvals.retain(|person, _| !proposers.contains(person));
        let strict = || Ask { de_minimis_left: Sats(0), ..ask.clone() };
        let now = At { state: self, time: ask.time };
        let enough = others.approvals.len() == ask.approvals.len()
            || book.decide(&strict(), &now).is_ok()
            || book.decide(&others, &now).is_ok();
        ensure(enough, Rule::Standing, || {
            "who proposed a destination cannot alone approve a payment to it".into()
        })
    }

    /// The people whose approvals of a request count at `time`: given under the policy in force, by a
    /// key that still is theirs, not ended, and never the requester's.
    pub fn given(&self, record: &RequestRecord, time: u64) -> BTreeMap<Name, Given> {
        let policy = self.policy().map(|(_, hash)| hash);
        let counts = |(person, approval): (&Name, &Approval)| {
            let in_force = self.key(&approval.key).is_some_and(|k| k.revoked_at.is_none());
            let own = record.requester == Owner::Person(person.clone());
            let counts = Some(approval.decides) == policy && approval.not_after >= time && in_force && !own;
            (counts && !self.is_stopped(person)).then(|| (person.clone(), self.given_by(approval)))
        };
        record.approvals.iter().filter_map(counts).collect()
    }

    /// The people of [`State::given`].
    pub fn approvers(&self, record: &RequestRecord, time: u64) -> BTreeSet<Name> {
        self.given(record, time).into_keys().collect()
    }

    /// An approval without a moment was given under an earlier rule set: it never stood for any time.
    fn given_by(&self, approval: &Approval) -> Given {
        let moment = approval.given;
        Given {
            at: moment.map_or(0, |moment| moment.time),
            delay_at: moment.map_or(self.clock.delay, |moment| moment.delay),
            independent: self.is_independent(&approval.key),
        }
    }

    /// Whether a key shows by itself what it signs (S4).
    pub fn is_independent(&self, key: &Hash) -> bool {
        let Some(Owner::Person(person)) = self.key(key).map(|key| &key.owner) else { return false };
        let keys = self.person(person).map(|person| person.keys.as_slice()).unwrap_or_default();
        let found = keys.iter().find(|device| key_id(&device.sign) == *key);
        found.is_some_and(|device| device.device.is_independent())
    }

    /// Whether somebody is frozen: asks for nothing, and approves nothing but what lifts freezes and revokes
    /// keys.
    pub(crate) fn is_stopped(&self, person: &Name) -> bool {
        self.freezes.iter().any(|(_, f)| f.scope == Scope::Person(person.clone()))
    }

    /// The same, by a person: an alarm that freezes people vetoes no document.
    pub(crate) fn is_stopped_by_person(&self, person: &Name) -> bool {
        let by_person = |f: &FreezeRecord| matches!(f.by, Owner::Person(_));
        self.freezes.iter().any(|(_, f)| f.scope == Scope::Person(person.clone()) && by_person(f))
    }

    /// Refuses what a freeze stops, but for a cancel that names the freeze and that people approved who could
    /// lift it.
    ///
    /// # Errors
    /// [`Rule::Frozen`], with the first such freeze.
    pub fn check_frozen(&self, record: &RequestRecord, ask: &Ask, policy: &Policy) -> Result<(), Refusal> {
        let request = &record.request;
        let resume = policy.governance.get(&Kind::Resume);
        let people: BTreeSet<Name> = ask.approvals.keys().cloned().collect();
        let now = At { state: self, time: ask.time };
        let quorum = resume.is_some_and(|g| g.approvals.iter().any(|path| seat(path, &people, &now)));
        for (id, freeze) in self.stopping(request, &record.requester) {
            let despite = request.is_cancel() && request.despite.contains(id) && quorum;
            ensure(despite, Rule::Frozen, || {
                format!("frozen by {} at {} (freeze {id})", freeze.by, freeze.at)
            })?;
        }
        Ok(())
    }
}

impl State {
    /// The freezes in force that stop a request of somebody (P16).
    pub fn stopping<'a>(
        &'a self,
        request: &'a Request,
        by: &'a Owner,
    ) -> impl Iterator<Item = (&'a Hash, &'a FreezeRecord)> {
        self.freezes.iter().filter(|(_, freeze)| self.stops(&freeze.scope, request, by))
    }

    /// Whether a freeze of this scope stops a request of somebody (P16). Who names no client might ask for any.
    pub fn stops(&self, scope: &Scope, request: &Request, by: &Owner) -> bool {
        match scope {
            // A deployment has one network and one asset, and freezes of others are not taken in.
            Scope::Everything | Scope::Asset(_) | Scope::Network(_) => true,
            Scope::Wallet(wallet) => *wallet == request.wallet,
            Scope::Client(client) => match &request.client {
                Some(named) => named == client,
                None => self.clock.rules >= 3 && !request.is_cancel(),
            },
            Scope::Person(person) => *by == Owner::Person(person.clone()),
        }
    }
}
