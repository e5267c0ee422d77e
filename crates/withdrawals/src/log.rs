//! The log under the newest final head, and what it and the chain say of one withdrawal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custody::Hash;
use custody::decide::Ask;
use custody::effects::{Decoder, OutPoint, Sats};
use custody::payment::{Request, RequestOutput};
use custody::rule::Rule;
use custody::state::{self, Authorisation, RequestRecord, State};
use custody::statement::Envelope;
use ledger::Amount;

use crate::begin::payer_of;
use crate::inside::{left, returns, script};
use crate::record::{Output, Withdrawal};
use crate::seen::{
    APPROVALS_LIMIT, Asked, Chain, Fate, Frozen, Gone, Paid, RENEWALS_LIMIT, SETTLED_CONFIRMATIONS, Seen,
    Spender,
};
use crate::split::split_fee;

/// What a request waits for when people have done their part: time, or a rate.
const PASSING: &[Rule] = &[
    Rule::PolicyValue,
    Rule::PolicyVelocity,
    Rule::PolicyFeeBudget,
    Rule::PolicyHours,
    Rule::PolicyCoolDown,
    Rule::PolicyDelay,
];

/// How much of a lineage the log has. Another mark means that there is something to look at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// How many requests.
    pub requests: usize,
    /// How many authorisations.
    pub authorisations: usize,
    /// Its anchors.
    pub anchors: Vec<OutPoint>,
}

/// The log, with the requests of each lineage at hand.
#[derive(Clone)]
pub struct Log<'a> {
    state: &'a State,
    decoder: &'a dyn Decoder,
    lineages: BTreeMap<Hash, Vec<(Hash, &'a RequestRecord)>>,
}

impl fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("height", &self.state.clock().height).finish_non_exhaustive()
    }
}

impl<'a> Log<'a> {
    /// Of the state under the newest final head.
    pub fn of(state: &'a State, decoder: &'a dyn Decoder) -> Self {
        let mut lineages: BTreeMap<Hash, Vec<_>> = BTreeMap::new();
        for (id, record) in state.requests().iter() {
            lineages.entry(record.lineage).or_default().push((*id, record));
        }
        for (lineage, requests) in &mut lineages {
            requests.sort_by_key(|(id, record)| (id != lineage, record.at, *id));
        }
        Self { state, decoder, lineages }
    }

    /// All lineages that the log ever had, and how much it has of each. A withdrawal that is closed is to be
    /// looked at again when its mark changes: it was renewed, or other anchors were found for it, or it was
    /// authorised without a reservation. What has no record yet is to be [begun](crate::begin()).
    pub fn lineages(&self) -> impl Iterator<Item = (Hash, Mark)> + '_ {
        self.lineages.iter().map(|(lineage, requests)| {
            let anchors = self.state.lineages().get(lineage).map(|l| l.anchors.clone());
            let authorisations = requests.iter().map(|(_, r)| r.authorised.len());
            let authorisations = authorisations.fold(0, usize::saturating_add);
            let mark =
                Mark { requests: requests.len(), authorisations, anchors: anchors.unwrap_or_default() };
            (*lineage, mark)
        })
    }

    /// What is seen of a withdrawal.
    pub fn seen(&self, chain: &dyn Chain, withdrawal: &Withdrawal, now: u64) -> Seen {
        let state = self.state;
        let all = self.lineages.get(&withdrawal.id).map(Vec::as_slice).unwrap_or_default();
        let lineage = state.lineages().get(&withdrawal.id);
        let following = chain.following();
        let mut paid: Vec<Paid> = all.iter().flat_map(|(id, record)| self.paid(id, record, chain)).collect();
        paid.sort_by_key(|paid| paid.height);
        for one in &mut paid {
            one.excluded = lineage.is_some_and(|l| l.excluded.contains(&one.authorisation));
        }
        let foreign = |outpoint: &OutPoint| {
            let spender = chain.spender(outpoint);
            spender.is_some_and(|s| is_deep(&s) && paid.iter().all(|p| p.txid != s.txid))
        };
        let anchors_gone = following && lineage.is_some_and(|l| l.anchors.iter().any(foreign));
        let (kept, more) = self.kept(all);
        let mut requests: Vec<Asked> = kept.iter().map(|(id, r)| self.asked(id, r, chain)).collect();
        let mut room = APPROVALS_LIMIT;
        for asked in &mut requests {
            asked.approvals.truncate(room);
            room = room.saturating_sub(asked.approvals.len());
        }
        Seen {
            now,
            height: state.clock().height,
            fate: self.fate(withdrawal),
            requests,
            more,
            latest: lineage.map(|l| l.latest),
            paid,
            anchors_gone,
            following,
        }
    }

    fn fate(&self, withdrawal: &Withdrawal) -> Fate {
        if self.state.requests().get(&withdrawal.id).is_some() {
            return Fate::Asked;
        }
        match self.state.outcome(&withdrawal.id, withdrawal.not_after) {
            Some(rule) => Fate::Rejected(rule.to_owned()),
            None if withdrawal.not_after.is_some_and(|end| self.state.clock().time > end) => Fate::Late,
            None if self.signer_gone(withdrawal) => Fate::Late,
            None => Fate::Waiting,
        }
    }

    /// Whether the key that signed the request is out of use: it can no longer get into the log.
    fn signer_gone(&self, withdrawal: &Withdrawal) -> bool {
        let bytes = withdrawal.envelope.as_ref().and_then(|text| STANDARD.decode(text).ok());
        let said = bytes.and_then(|bytes| Envelope::parse(&bytes).ok()?.unverified().ok());
        let key = said.and_then(|said| self.state.key(&said.signer));
        key.is_some_and(|key| key.revoked_at.is_some())
    }

    /// The requests to look at, in their order, and whether another one could be authorised.
    fn kept(&self, all: &[(Hash, &'a RequestRecord)]) -> (Vec<(Hash, &'a RequestRecord)>, bool) {
        let asked_only =
            all.iter().filter(|(id, record)| *id != record.lineage && record.authorised.is_empty());
        let mut renewals: Vec<_> = asked_only.collect();
        renewals.sort_by_key(|(_, record)| record.approvals.is_empty());
        let over = renewals.get(RENEWALS_LIMIT..).unwrap_or_default();
        let alive = |r: &RequestRecord| r.request.end >= self.state.clock().time && !self.state.has_lapsed(r);
        let more = over.iter().any(|(_, record)| alive(record));
        let over: BTreeSet<Hash> = over.iter().map(|(id, _)| *id).collect();
        (all.iter().filter(|(id, _)| !over.contains(id)).copied().collect(), more)
    }

    fn asked(&self, id: &Hash, record: &RequestRecord, chain: &dyn Chain) -> Asked {
        let request = &record.request;
        let frozen = |(freeze, f): (&Hash, &state::FreezeRecord)| {
            let despite = request.is_cancel() && request.despite.contains(freeze);
            let stops = self.state.stops(&f.scope, request, &record.requester) && !despite;
            stops.then(|| Frozen { freeze: *freeze, by: actor(&f.by), at: f.at })
        };
        let (approved, waits) = self.approved(record);
        Asked {
            id: *id,
            by: actor(&record.requester),
            at: record.at,
            payer: payer_of(self.state, self.decoder, request).ok(),
            outputs: outputs(request),
            returns: returns(self.state, self.decoder, request),
            fee_max: amount(request.fee_max),
            end: request.end,
            approvals: record.approvals.iter().map(|(who, a)| (who.clone(), a.id)).collect(),
            approved,
            waits_for: waits.or_else(|| chain.waits_for(id)),
            frozen: self.state.freezes().iter().find_map(frozen),
            gone: self.gone(id, record),
        }
    }

    fn gone(&self, id: &Hash, record: &RequestRecord) -> Option<Gone> {
        let state = self.state;
        if !state.in_line(id, record) {
            let anchored = state.lineages().get(&record.lineage).is_some();
            return Some(if anchored { Gone::Superseded } else { Gone::Withdrawn });
        }
        let lapsed = state.has_lapsed(record).then_some(Gone::Lapsed);
        lapsed.or((record.request.end < state.clock().time).then_some(Gone::Ended))
    }

    /// A first look, kinder than the rules, for the fee is known only with the transaction: whether people did
    /// their part, and what the request waits for then.
    fn approved(&self, record: &RequestRecord) -> (bool, Option<String>) {
        let Some(book) = self.state.rulebook() else { return (false, None) };
        let ask = self.state.ask_of(record, Sats(0), self.state.clock().time);
        let waits = book.explain(&ask, self.state).into_iter().map(|(_, refusal)| refusal);
        let waits = waits.into_iter().find(|refusal| PASSING.contains(&refusal.rule));
        // Young approvals are approvals.
        let aged = Ask { delay: u64::MAX, ..ask };
        let rest = book.explain(&aged, self.state);
        let approved = rest.iter().all(|(_, refusal)| PASSING.contains(&refusal.rule));
        (approved, waits.map(|refusal| refusal.why))
    }

    /// The transactions that were allowed for one request.
    fn paid(&self, request: &Hash, record: &RequestRecord, chain: &dyn Chain) -> Vec<Paid> {
        let of = |id: &Hash| {
            let authorisation = self.state.authorisations().get(id)?;
            let place = authorisation.requests.iter().position(|r| r == request)?;
            let fee = self.shares(authorisation).get(place).copied()?;
            let spenders: Vec<Spender> = match chain.following() {
                true => authorisation
                    .transaction
                    .inputs
                    .iter()
                    .filter_map(|i| chain.spender(&i.outpoint))
                    .collect(),
                false => Vec::new(),
            };
            let own = spenders.iter().find(|s| s.txid == authorisation.txid);
            Some(Paid {
                authorisation: *id,
                request: *request,
                txid: authorisation.txid,
                amount: left(self.state, self.decoder, authorisation, &record.request),
                fee: Amount::new(fee.into()),
                at: authorisation.at,
                height: authorisation.height,
                signed: chain.signed(id),
                broadcast: chain.broadcast(id),
                confirmations: own.map_or(0, |s| s.confirmations),
                excluded: false,
                overtaken: spenders.iter().any(|s| s.txid != authorisation.txid && is_deep(s)),
            })
        };
        record.authorised.iter().filter_map(of).collect()
    }

    /// What falls on each of its requests of a transaction's fee, by the weight of their outputs (P20): of the
    /// versions of their destinations that were asked for, so that every look gives the same shares.
    fn shares(&self, authorisation: &Authorisation) -> Vec<u64> {
        let weight = |id: &Hash| {
            let record = self.state.requests().get(id);
            let outputs = record.map(|r| r.request.outputs.as_slice()).unwrap_or_default();
            let all = outputs.iter().map(|output| {
                let script = script(self.state, self.decoder, output).map_or(0, |script| script.len());
                let script = u64::try_from(script).unwrap_or(u64::MAX);
                // 8 bytes of amount, one of length, and the script, four weight units each.
                script.saturating_add(9).saturating_mul(4)
            });
            all.fold(0, u64::saturating_add).max(1)
        };
        let weights: Vec<u64> = authorisation.requests.iter().map(weight).collect();
        split_fee(authorisation.fee.0, &weights)
    }
}

fn is_deep(spender: &Spender) -> bool {
    spender.confirmations >= SETTLED_CONFIRMATIONS
}

pub(crate) fn amount(sats: Sats) -> Amount {
    Amount::new(sats.0.into())
}

pub(crate) fn outputs(request: &Request) -> Vec<Output> {
    let output = |o: &RequestOutput| Output {
        destination: o.destination.clone(),
        amount: amount(o.amount),
        address: o.address.clone(),
    };
    request.outputs.iter().map(output).collect()
}

/// Somebody, as the timeline names them.
pub(crate) fn actor(owner: &state::Owner) -> String {
    match owner {
        state::Owner::Person(name) => format!("person:{name}"),
        state::Owner::Machine(name) => format!("machine:{name}"),
        state::Owner::Cosigner(name) => format!("co-signer:{name}"),
    }
}
