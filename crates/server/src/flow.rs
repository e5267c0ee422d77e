//! What to do next for each request, without node or sockets: from the state, the coins and what waits
//! already to the transaction to propose.
//!
//! Nothing here allows anything. What is built is judged by the own replica with the rules that every
//! signer uses, so that only what they will allow is submitted, and the reason is known when not.

use std::collections::{BTreeMap, BTreeSet};

use builder::{BuildError, Built, Plan, Utxo, build, cancel, replace};
use chain::BitcoinDecoder;
use custody::effects::{Branch, ConfirmationProof, Decoder as _, OutPoint};
use custody::name::Name;
use custody::payment::{
    ANCHOR_DEPTH, Authorise, LOCK_TIME_SLACK, NewAnchor, REQUESTS_LIMIT, Request, TypedTransaction,
};
use custody::rule::{Refusal, Rule};
use custody::state::{Authorisation, FreezeRecord, RequestRecord, State};
use custody::{Blob, Hash};

use crate::office::subsets;
use crate::orders::{Job, Want};

mod change;
pub(crate) mod gather;

/// The lowest fee rate that is proposed unasked, in sat/vB: twice what nodes relay, so that a small rise
/// of their floor leaves nothing behind.
pub const FEE_RATE_FLOOR: u64 = 2;

/// The highest fee rate that is proposed or taken from anyone, in sat/vB. Ceilings of requests are far
/// below; it keeps the arithmetic small.
pub const FEE_RATE_LIMIT: u64 = 10_000;

/// Whose coins pay: a wallet's, and where each address belongs to one client (P25), that client's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Payer {
    /// The wallet.
    pub wallet: Name,
    /// The client, in a wallet of model 3.
    pub client: Option<Name>,
}

impl std::fmt::Display for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.client {
            Some(client) => write!(f, "client {client} of wallet {}", self.wallet),
            None => write!(f, "wallet {}", self.wallet),
        }
    }
}

/// Why a request is not paid yet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No transaction can be built.
    #[error("{0}: {1}")]
    Build(Payer, BuildError),
    /// No confirmed output can be the anchor.
    #[error("no output of {0} has {ANCHOR_DEPTH} confirmations above the pinned header: wait for blocks")]
    NoAnchor(Payer),
    /// The client has no change address that is not used yet.
    #[error(
        "{0} has no unused change address: the server asks for some, and goes on when they are allocated"
    )]
    NoChange(Payer),
    /// The anchors were spent.
    #[error("the anchors of the request were spent: one of its transactions confirmed, or is about to")]
    Spent,
    /// What was to come back would not be change.
    #[error(
        "{0}: nothing would be left as change beside what comes back: ask for less, or for another fee rate"
    )]
    NoReturn(Payer),
    /// The coins are not known.
    #[error("the coins of wallet {0} are not known yet: the node must answer first")]
    NoCoins(Name),
    /// The proof of an anchor could not be made.
    #[error("no proof of confirmation: {0}")]
    Proof(String),
}

/// Makes the proof that an output of the transaction is confirmed in the block of a height.
pub type Prover<'a> = &'a dyn Fn(&OutPoint, u32) -> Result<ConfirmationProof, String>;

/// What the flow looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The state under the newest final head.
    pub state: &'a State,
    /// The reader of its chain.
    pub decoder: &'a BitcoinDecoder,
    /// The own clock, seconds since 1970.
    pub now: u64,
    /// The height of the best block.
    pub tip: u32,
    /// The fee rate of the moment, in sat/vB.
    pub fee_rate: u64,
    /// Confirmed, spendable outputs by wallet, at the tip.
    pub coins: &'a BTreeMap<Name, Vec<Utxo>>,
    /// Transactions that wait for the log.
    pub proposed: &'a [Authorise],
    /// The requests that the books have reserved for; nothing where there are no books.
    pub funded: Option<&'a BTreeSet<Hash>>,
    /// Coins that no consolidation takes: deposits that are held or not judged yet.
    pub spared: &'a BTreeSet<OutPoint>,
}

impl View<'_> {
    /// The time by which everything is judged: what the next batch will carry.
    fn time(&self) -> u64 {
        self.now.max(self.state.clock().time)
    }

    fn coins(&self, wallet: &Name) -> Result<&[Utxo], Problem> {
        self.coins.get(wallet).map(Vec::as_slice).ok_or_else(|| Problem::NoCoins(wallet.clone()))
    }

    /// The requests for which a transaction is to be found: not paid, not ended, not waiting already. Of a
    /// request and those that renew it only the last one that is ready is paid.
    pub fn open(&self) -> Vec<(Hash, Result<(), Refusal>)> {
        let judged: Vec<_> = self.unpaid().map(|(id, r)| (*id, r, self.ready(r))).collect();
        let mut last: BTreeMap<Hash, (u64, Hash)> = BTreeMap::new();
        // A renewal that cannot be paid for does not take the place of what can.
        for (id, record, _) in judged.iter().filter(|(id, _, ready)| ready.is_ok() && self.is_funded(id)) {
            let best = last.entry(record.lineage).or_insert((record.at, *id));
            *best = (record.at, *id).max(*best);
        }
        let superseded =
            |id: &Hash, record: &RequestRecord| last.get(&record.lineage).is_some_and(|(_, best)| best != id);
        let keep = |(id, record, ready): (Hash, &RequestRecord, Result<(), Refusal>)| {
            (ready.is_err() || !self.is_funded(&id) || !superseded(&id, record)).then_some((id, ready))
        };
        judged.into_iter().filter_map(keep).collect()
    }

    /// The requests for which there is no transaction yet, whether they are ready or not.
    fn unpaid(&self) -> impl Iterator<Item = (&Hash, &RequestRecord)> {
        let proposed: BTreeSet<&Hash> = self.proposed.iter().flat_map(|p| &p.requests).collect();
        let is_unpaid = move |(id, record): &(&Hash, &RequestRecord)| {
            record.authorised.is_empty()
                && record.renewed_by.is_none()
                && record.request.end >= self.time()
                && !self.state.has_lapsed(record)
                && !proposed.contains(id)
        };
        self.state.requests().iter().filter(is_unpaid)
    }

    /// Who pays for a request.
    fn payer(&self, request: &Request) -> Payer {
        let wallet = self.state.wallet(&request.wallet);
        let segregated = wallet.is_some_and(|wallet| self.state.segregated(wallet));
        let client = request.client.clone().filter(|_| segregated);
        Payer { wallet: request.wallet.clone(), client }
    }

    /// Whether the books have reserved for a request.
    pub fn is_funded(&self, id: &Hash) -> bool {
        self.funded.is_none_or(|funded| funded.contains(id))
    }

    /// Whether it is worth building a transaction for a request: a first look, kinder than the rules.
    fn ready(&self, record: &RequestRecord) -> Result<(), Refusal> {
        let request = &record.request;
        let mut freezes = self.state.freezes().iter();
        let stops = |(id, f): &(&Hash, &FreezeRecord)| {
            self.state.stops(&f.scope, request, &record.requester) && !request.despite.contains(id)
        };
        if let Some((id, _)) = freezes.find(stops) {
            return Err(Refusal::new(Rule::Frozen, format!("frozen by {id}")));
        }
        self.state.first_look(record, self.time()).map(drop)
    }

    /// Ready requests in the groups in which they are tried first: those of a payer that have no anchor yet
    /// together, all others one by one, and consolidations as well, which choose their coins.
    pub fn groups(&self, ready: &[Hash]) -> Vec<Vec<Hash>> {
        let mut fresh: BTreeMap<Payer, Vec<Hash>> = BTreeMap::new();
        let mut groups = Vec::new();
        for id in ready {
            let Some(record) = self.state.requests().get(id) else { continue };
            if self.state.lineages().get(&record.lineage).is_some() || self.gathers(&record.request) {
                groups.push(vec![*id]);
            } else {
                fresh.entry(self.payer(&record.request)).or_default().push(*id);
            }
        }
        for mut ids in fresh.into_values() {
            ids.sort();
            groups.extend(ids.chunks(REQUESTS_LIMIT).map(<[Hash]>::to_vec));
        }
        groups
    }

    /// The transaction that pays these requests, judged by the own replica. With a `rate` in sat/vB it
    /// is that one; else that of the moment, lowered as far as the ceilings of the requests ask for.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pay(&self, requests: &[Hash], rate: Option<u64>, prove: Prover<'_>) -> Result<Authorise, Problem> {
        let task = self.task(requests)?;
        let mut at = rate.unwrap_or(self.fee_rate).clamp(1, FEE_RATE_LIMIT);
        loop {
            let problem = match self.propose(&task, at, prove) {
                Ok(authorise) => match self.state.judge(&authorise, self.time(), self.decoder) {
                    Ok(_) => return Ok(authorise),
                    Err(refusal) => refusal.into(),
                },
                Err(problem) => problem,
            };
            let dear = match &problem {
                Problem::Refused(refusal) => matches!(refusal.rule, Rule::Fee | Rule::PolicyFee),
                // The amount of a consolidation leaves so much for the fee.
                Problem::Build(_, BuildError::Short(_)) => task.gathers,
                _ => false,
            };
            // A replacement pays more than what it replaces, whatever is asked for.
            if !dear || at == 1 || rate.is_some() || task.previous.is_some() {
                return Err(problem);
            }
            at = at.saturating_sub((at / 8).max(1));
        }
    }

    /// The transaction that pays the same as the last one that `request` is in, at a higher rate.
    ///
    /// # Errors
    /// Why there is none; also when nothing was authorised yet.
    pub fn bump(&self, request: &Hash, rate: u64, prove: Prover<'_>) -> Result<Authorise, Problem> {
        let reference = |why: &str| Problem::Refused(Refusal::new(Rule::Reference, why));
        let record =
            self.state.requests().get(request).ok_or_else(|| reference("there is no such request"))?;
        let lineage = self.state.lineages().get(&record.lineage);
        let lineage = lineage
            .ok_or_else(|| reference("nothing was authorised for the request, so nothing is stuck"))?;
        self.pay(&[lineage.latest], Some(rate), prove)
    }

    /// What is to be paid, from what, bound to which anchors.
    fn task(&self, requests: &[Hash]) -> Result<Task<'_>, Problem> {
        let record_of = |id: &Hash| {
            let record = self.state.requests().get(id);
            record.ok_or_else(|| Refusal::new(Rule::Reference, format!("there is no request {id}")))
        };
        // Everybody who is bound to the same anchors is paid too (P21), but for those who ended or cancelled.
        let mut paid: BTreeMap<Hash, (Hash, &RequestRecord)> = BTreeMap::new();
        let mut required: BTreeSet<OutPoint> = BTreeSet::new();
        let mut next: Vec<Hash> = requests.to_vec();
        while let Some(id) = next.pop() {
            let record = record_of(&id)?;
            if paid.contains_key(&record.lineage) {
                continue;
            }
            paid.insert(record.lineage, (id, record));
            let anchors = self.state.lineages().get(&record.lineage).map(|l| &l.anchors);
            for outpoint in anchors.into_iter().flatten() {
                required.insert(*outpoint);
                let bound = self.state.anchors().get(outpoint).map(|a| &a.lineages);
                let latest = |l: &Hash| self.state.lineages().get(l).map(|l| l.latest);
                for other in bound.into_iter().flatten().filter(|l| !paid.contains_key(*l)).filter_map(latest)
                {
                    let record = record_of(&other)?;
                    let over = record.request.end < self.time() || self.state.has_lapsed(record);
                    if !over && !record.request.is_cancel() {
                        next.push(other);
                    }
                }
            }
        }
        let mut records: Vec<(Hash, &RequestRecord)> = paid.into_values().collect();
        records.sort_by_key(|(id, _)| *id);
        let first = &records.first().ok_or(Problem::Spent)?.1.request;
        let wallet = &first.wallet;
        let coins = self.coins(wallet)?;
        let unspent: BTreeSet<OutPoint> = coins.iter().map(|coin| coin.outpoint).collect();
        if !required.is_subset(&unspent) {
            return Err(Problem::Spent);
        }
        let conflicts =
            |a: &Authorisation| a.transaction.inputs.iter().any(|i| required.contains(&i.outpoint));
        let live = |a: &Authorisation| a.transaction.inputs.iter().all(|i| unspent.contains(&i.outpoint));
        let (mut blocked, mut previous) = (BTreeSet::new(), None::<&Authorisation>);
        for (_, other) in self.state.authorisations().iter().filter(|(_, a)| a.wallet == *wallet && live(a)) {
            if conflicts(other) {
                previous =
                    previous.filter(|p| (p.height, p.fee) >= (other.height, other.fee)).or(Some(other));
            } else {
                blocked.extend(other.transaction.inputs.iter().map(|i| i.outpoint));
            }
        }
        blocked.extend(self.proposed.iter().flat_map(|p| &p.transaction.inputs).map(|i| i.outpoint));
        // An anchor of somebody else stays theirs until it is spent, whatever became of the request (P23).
        let held = |o: &&OutPoint| self.state.anchors().get(o).is_some();
        blocked.extend(unspent.iter().filter(held).copied());
        if required
            .iter()
            .any(|o| self.proposed.iter().any(|p| p.transaction.inputs.iter().any(|i| i.outpoint == *o)))
        {
            return Err(
                Refusal::new(Rule::Repeated, "another transaction for it waits for the log already").into()
            );
        }
        let own = |o: &OutPoint| {
            required.contains(o)
                || previous.is_some_and(|p| p.transaction.inputs.iter().any(|i| i.outpoint == *o))
        };
        let gathers = records.len() == 1 && self.gathers(first);
        if gathers {
            blocked.extend(self.spared.iter().copied());
        }
        let free = |coin: &&Utxo| {
            !blocked.contains(&coin.outpoint)
                && self.owns(wallet, coin.branch, coin.index, first.client.as_ref())
        };
        let free = coins.iter().filter(|coin| own(&coin.outpoint) || free(coin)).cloned().collect();
        let payer = self.payer(first);
        let comes_back = records.iter().any(|(_, record)| self.comes_back(&record.request));
        let required = required.into_iter().collect();
        Ok(Task { records, payer, free, required, previous, gathers, comes_back })
    }

    /// The transaction for a task at a rate, with the proofs of its new anchors; not judged yet.
    fn propose(&self, task: &Task<'_>, rate: u64, prove: Prover<'_>) -> Result<Authorise, Problem> {
        let mut outputs = Vec::new();
        for (_, record) in &task.records {
            for output in &record.request.outputs {
                let (_, address) = self.state.payee(output).ok_or_else(|| {
                    Refusal::new(Rule::Reference, format!("there is no destination {}", output.destination))
                })?;
                let script = self.decoder.address_script(address);
                let script = script.map_err(|e| Problem::Build(task.payer.clone(), e.into()))?;
                outputs.push((script, output.amount));
            }
        }
        let change = self.change_index(task)?;
        let shown = self.state.clock().tip.saturating_add(LOCK_TIME_SLACK);
        let mut plan = Plan {
            outputs,
            required: if task.gathers { self.gathered(task, rate)? } else { task.required.clone() },
            change: (Branch::Change, change),
            fee_rate: rate,
            tip_height: self.tip.min(shown),
        };
        let mut built = self.build(task, &plan)?;
        let fresh: Vec<Hash> = task
            .records
            .iter()
            .filter(|(_, r)| self.state.lineages().get(&r.lineage).is_none())
            .map(|(id, _)| *id)
            .collect();
        let mut anchors = Vec::new();
        if !fresh.is_empty() {
            let anchor = match self.anchor_among(task, &built) {
                Some(anchor) => anchor,
                None => {
                    // What the selection likes best cannot be an anchor: the largest that can joins it.
                    let able = task.free.iter().filter(|coin| self.may_anchor(coin));
                    let largest = able.max_by_key(|coin| (coin.amount, coin.outpoint));
                    let largest = largest.ok_or_else(|| Problem::NoAnchor(task.payer.clone()))?;
                    plan.required.push(largest.outpoint);
                    built = self.build(task, &plan)?;
                    largest
                }
            };
            let mut proof =
                Some(prove(&anchor.outpoint, anchor.height.unwrap_or_default()).map_err(Problem::Proof)?);
            for request in fresh {
                anchors.push(NewAnchor { request, outpoint: anchor.outpoint, proof: proof.take() });
            }
        }
        if task.comes_back && built.change.is_none() {
            return Err(Problem::NoReturn(task.payer.clone()));
        }
        Ok(Authorise {
            requests: task.records.iter().map(|(id, _)| *id).collect(),
            anchors,
            transaction: TypedTransaction {
                raw: Blob(built.raw),
                inputs: built.inputs,
                change: built.change.map(|_| change),
            },
        })
    }

    fn build(&self, task: &Task<'_>, plan: &Plan) -> Result<Built, Problem> {
        let wallet = &task.payer.wallet;
        let slot = self.state.wallet(wallet).and_then(|wallet| self.state.slot_of(wallet));
        let slot =
            slot.ok_or_else(|| Refusal::new(Rule::Ceremony, format!("wallet {wallet} has no dealt key")))?;
        let account = &slot.slot.account;
        let built = match task.previous {
            Some(previous) if plan.outputs.is_empty() => {
                cancel(self.decoder, account, &task.free, &previous.transaction.raw.0, plan)
            }
            Some(previous) => replace(self.decoder, account, &task.free, &previous.transaction.raw.0, plan),
            None => build(self.decoder, account, &task.free, plan),
        };
        built.map_err(|error| Problem::Build(task.payer.clone(), error))
    }

    /// Whether a coin can be a new anchor: deep enough, and above the header that proofs start from.
    fn may_anchor(&self, coin: &Utxo) -> bool {
        let deep = |height: u32| self.tip.saturating_add(1).saturating_sub(height) >= ANCHOR_DEPTH;
        coin.height.is_some_and(|height| height > self.state.header().height && deep(height))
            && self.state.anchors().get(&coin.outpoint).is_none()
    }

    /// The deepest input that can be a new anchor: its proof is the shortest.
    fn anchor_among<'t>(&self, task: &'t Task<'_>, built: &Built) -> Option<&'t Utxo> {
        let spent = |coin: &&Utxo| built.inputs.iter().any(|i| i.outpoint == coin.outpoint);
        let able = task.free.iter().filter(spent).filter(|coin| self.may_anchor(coin));
        able.min_by_key(|coin| (coin.height, coin.outpoint))
    }

    /// The authorised transactions to be signed now, and for those that cannot be signed the reason.
    /// `signed` and `settled` say which ones need no signature any more.
    pub fn to_sign(&self, done: impl Fn(&Hash) -> bool) -> (Vec<Want>, BTreeMap<Hash, Refusal>) {
        let (mut wants, mut refusals) = (Vec::new(), BTreeMap::new());
        for (id, authorisation) in self.state.authorisations().iter() {
            if done(id) || replaced(self.state, id, authorisation) {
                continue;
            }
            if let Err(refusal) = self.state.release(id, self.time(), self.decoder) {
                refusals.insert(*id, refusal);
                continue;
            }
            let wallet = self.state.wallet(&authorisation.wallet);
            let Some(slot) = wallet.and_then(|wallet| self.state.slot_of(wallet)) else { continue };
            wants.push(Want {
                job: Job::Spend(*id),
                holders: slot.holders.clone(),
                threshold: usize::try_from(slot.threshold).unwrap_or(usize::MAX),
                inputs: u64::try_from(authorisation.transaction.inputs.len()).unwrap_or(u64::MAX),
            });
        }
        (wants, refusals)
    }

    /// The sets of holders that have yet to prove that they can sign, for accounts whose shares all of
    /// the set have.
    pub fn to_prove(&self, kept: impl Fn(&Hash, u32, &Name) -> bool) -> Vec<Want> {
        let mut wants = Vec::new();
        for ((ceremony, place), slot) in self.state.slots().iter() {
            if slot.superseded.is_some() || self.state.proved_everywhere(slot) {
                continue;
            }
            let threshold = usize::try_from(slot.threshold).unwrap_or(usize::MAX);
            for set in subsets(&slot.holders, threshold) {
                if !slot.proved.contains(&set) && set.iter().all(|holder| kept(ceremony, *place, holder)) {
                    let job = Job::Prove(*ceremony, *place, set.clone());
                    wants.push(Want { job, holders: set, threshold, inputs: 1 });
                }
            }
        }
        wants
    }
}

/// Whether a later transaction took the place of this one.
pub fn replaced(state: &State, id: &Hash, authorisation: &Authorisation) -> bool {
    authorisation.requests.iter().any(|request| {
        let record = state.requests().get(request);
        let lineage = record.and_then(|r| state.lineages().get(&r.lineage));
        let latest = lineage.and_then(|l| state.requests().get(&l.latest));
        latest.and_then(|r| r.authorised.last()).is_some_and(|last| last != id)
    })
}

/// A transaction in the making.
struct Task<'a> {
    /// The requests, sorted.
    records: Vec<(Hash, &'a RequestRecord)>,
    payer: Payer,
    /// The coins that may be spent.
    free: Vec<Utxo>,
    /// The anchors that must be.
    required: Vec<OutPoint>,
    /// The last transaction that spends them and may still confirm.
    previous: Option<&'a Authorisation>,
    /// It is a consolidation.
    gathers: bool,
    /// It pays the wallet's house address, so its change goes there.
    comes_back: bool,
}

#[cfg(test)]
mod tests;
