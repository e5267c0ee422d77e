//! The worker: one thread that carries out what `flow`, `orders` and `observer` say.
//!
//! It sleeps until a co-signer, a client or a timer wakes it. The node is asked only while there is a
//! wallet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bitcoin::Transaction;
use builder::Utxo;
use chain::BitcoinDecoder;
use chain::finish::{attach, verify_spend};
use custody::document::Document;
use custody::effects::{Decoder as _, OutPoint, Sats};
use custody::name::Name;
use custody::payment::{Allocate, Authorise};
use custody::state::{Authorisation, State};
use custody::statement::Body;
use custody::{Blob, Hash};
use rand_core::{OsRng, RngCore as _};
use wire::message::{FromServer, PaymentStatus};

use crate::desk::{Desk, News, now_ms, now_s};
use crate::flow::{View, replaced};
use crate::node::Client;
use crate::observer::Observer;
use crate::office::RESEND_S;
use crate::orders::Orders;
use crate::watch::{Place, shown};

/// Most payments in a status, the newest, and as many requests that wait.
const PAYMENTS_LIMIT: usize = 256;

/// What a request waits for that the books have not reserved for.
pub(crate) const UNFUNDED: &str =
    "the books have not reserved for it: see the withdrawal of this id, it says what its account lacks";

/// The height of the log and of the chain: while both stand, a request that failed is not tried again.
type Mark = (u64, u32);

/// The worker.
#[derive(Debug)]
pub(crate) struct Worker {
    desk: Arc<Desk>,
    decoder: BitcoinDecoder,
    observer: Observer,
    orders: Orders,
    /// Why a request has no transaction, and when that was found.
    problems: BTreeMap<Hash, (String, Mark)>,
    /// Why an authorised transaction cannot be signed.
    unsignable: BTreeMap<Hash, String>,
}

/// What a turn works on.
struct Turn {
    state: State,
    proposed: Vec<Authorise>,
    connected: BTreeSet<Name>,
    kept: Arc<BTreeSet<(Hash, u32, Name)>>,
    signed: Arc<BTreeMap<Hash, Blob>>,
    /// The requests that the books have reserved for; nothing where there are no books.
    funded: Option<Arc<BTreeSet<Hash>>>,
    /// The coins that no consolidation takes.
    spared: Arc<BTreeSet<OutPoint>>,
}

impl Worker {
    pub(crate) fn new(desk: Arc<Desk>, node: Client, places: BTreeMap<Hash, Place>) -> Self {
        let decoder = desk.core().replica.decoder().clone();
        Self {
            desk,
            decoder,
            observer: Observer::new(node, places),
            orders: Orders::default(),
            problems: BTreeMap::new(),
            unsignable: BTreeMap::new(),
        }
    }

    /// Works for ever.
    pub(crate) fn run(mut self) {
        let mut wake_ms = Some(0);
        loop {
            let (turn, news) = self.wait(wake_ms);
            wake_ms = self.turn(turn, news);
        }
    }

    /// Sleeps until there is something to do, or until a time.
    fn wait(&self, wake_ms: Option<u64>) -> (Turn, Vec<News>) {
        let mut core = self.desk.core();
        while !core.woken {
            let now = now_ms();
            match wake_ms {
                None => core = self.desk.work.wait(core).unwrap_or_else(PoisonError::into_inner),
                Some(at) if at <= now => break,
                Some(at) => {
                    let time = Duration::from_millis(at.saturating_sub(now));
                    core = self.desk.work.wait_timeout(core, time).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        core.woken = false;
        if !core.pending.is_empty() {
            self.desk.tend_pending(&mut core);
        }
        let news = std::mem::take(&mut core.inbox);
        let turn = Turn {
            state: core.replica.state().clone(),
            proposed: core.pending.proposed(),
            connected: core.connected.clone(),
            kept: Arc::clone(&core.kept),
            signed: Arc::clone(&core.signed),
            funded: core.gate(),
            spared: Arc::clone(&core.spared),
        };
        (turn, news)
    }

    /// One turn; says when the next one is due if nothing happens before.
    fn turn(&mut self, mut turn: Turn, news: Vec<News>) -> Option<u64> {
        let mut bumps = Vec::new();
        for news in news {
            match news {
                News::Signed { from, authorisation, transaction } => {
                    self.take_signed(&mut turn, &from, authorisation, transaction);
                }
                News::Refused { by, id, why, culprits } => self.orders.refused(&by, &id, why, &culprits),
                News::Bump { request, rate, reply } => bumps.push((request, rate, reply)),
            }
        }
        // Signing does not wait for the node.
        self.order(&turn);
        let has_wallet = turn.state.documents().any(|found| matches!(found.document, Document::Wallet(_)));
        if has_wallet {
            self.observer.offer(&turn.state, &turn.signed);
            self.observer.look(&self.desk, &turn.state, &self.decoder);
            self.observer.offer(&turn.state, &turn.signed);
        }
        for (request, rate, reply) in bumps {
            // The client may be gone; then nobody reads the answer.
            let _ = reply.try_send(self.bump(&mut turn, &request, rate));
        }
        if has_wallet {
            self.pay(&mut turn);
            self.allocate(&turn);
        }
        self.publish(&turn);
        let pending = !self.desk.core().pending.is_empty();
        let resend = pending.then(|| now_ms().saturating_add(RESEND_S * 1000));
        let poll = has_wallet.then(|| self.observer.wake_ms());
        [self.orders.wake_ms(), resend, poll].into_iter().flatten().min()
    }

    fn view<'a>(&'a self, turn: &'a Turn, coins: &'a BTreeMap<Name, Vec<Utxo>>, tip: u32) -> View<'a> {
        View {
            state: &turn.state,
            decoder: &self.decoder,
            now: now_s(),
            tip,
            fee_rate: self.observer.fee_rate(),
            coins,
            proposed: &turn.proposed,
            funded: turn.funded.as_deref(),
            spared: &turn.spared,
        }
    }

    /// A finished transaction, if it is the authorised one and rightly signed. Else another set is asked:
    /// what a hostile signer makes up must not take the place of what the others can sign.
    fn take_signed(&mut self, turn: &mut Turn, from: &Name, authorisation: Hash, transaction: Blob) {
        let known = turn.state.authorisations().get(&authorisation);
        let sound = known.is_some_and(|a| is_signed(&turn.state, a, &transaction.0, &self.decoder));
        let mut core = self.desk.core();
        if !sound {
            let why = format!("{from} sent another transaction than authorisation {authorisation} allows");
            core.alarm(why.clone());
            self.orders.refused(from, &authorisation, why, std::slice::from_ref(from));
        } else if !core.signed.contains_key(&authorisation) {
            core.keep_signed(authorisation, transaction);
            turn.signed = Arc::clone(&core.signed);
        }
    }

    /// Orders what is to be signed and proved.
    fn order(&mut self, turn: &Turn) {
        let none = BTreeMap::new();
        let open: BTreeSet<Hash> = self.observer.watch.open(&turn.state).into_values().collect();
        let done = |id: &Hash| turn.signed.contains_key(id) || !open.contains(id);
        let kept =
            |ceremony: &Hash, slot, holder: &Name| turn.kept.contains(&(*ceremony, slot, holder.clone()));
        let view = self.view(turn, &none, 0);
        let (mut wants, refusals) = view.to_sign(done);
        wants.extend(view.to_prove(kept));
        self.unsignable = refusals.into_iter().map(|(id, refusal)| (id, refusal.to_string())).collect();
        for (holders, message) in self.orders.due(now_ms(), &wants, &turn.connected, || OsRng.next_u32()) {
            self.desk.send(&holders, &message);
        }
    }

    /// Proposes transactions for requests that are ready.
    fn pay(&mut self, turn: &mut Turn) {
        let Some((coins, tip)) = self.observer.coins() else { return };
        let mark = (turn.state.clock().height, tip);
        let view = self.view(turn, coins, tip);
        let (mut ready, mut problems) = (Vec::new(), BTreeMap::new());
        for (id, judged) in view.open() {
            // What the books have not reserved is not proposed (P23 begins with a reservation).
            if judged.is_ok() && !view.is_funded(&id) {
                problems.insert(id, (UNFUNDED.to_owned(), mark));
                continue;
            }
            match (judged, self.problems.get(&id).filter(|(why, _)| why != UNFUNDED)) {
                (Err(refusal), _) => drop(problems.insert(id, (refusal.to_string(), mark))),
                (Ok(()), Some(old)) if old.1 == mark => drop(problems.insert(id, old.clone())),
                (Ok(()), _) => ready.push(id),
            }
        }
        let groups = view.groups(&ready);
        self.problems = problems;
        for group in groups {
            if group.len() > 1 && self.propose(turn, &group, None).is_ok() {
                continue;
            }
            // Together they do not go, or there is one only: one by one.
            for id in group {
                if let Err(problem) = self.propose(turn, &[id], None) {
                    self.problems.insert(id, (problem, mark));
                }
            }
        }
    }

    /// Builds, judges and submits a transaction for requests, or with a rate a replacement for one.
    fn propose(
        &mut self,
        turn: &mut Turn,
        requests: &[Hash],
        rate: Option<u64>,
    ) -> Result<(Hash, Authorise), String> {
        let Some((coins, tip)) = self.observer.coins() else {
            let why = self.observer.problem().unwrap_or("the coins are not known yet: ask again in a moment");
            return Err(why.to_owned());
        };
        let pinned = turn.state.header().height;
        let prove = |outpoint: &OutPoint, height| self.observer.prove(pinned, outpoint, height);
        let view = self.view(turn, coins, tip);
        let built = match (rate, requests) {
            (Some(rate), [request]) => view.bump(request, rate, &prove),
            _ => view.pay(requests, None, &prove),
        };
        let authorise = built.map_err(|problem| problem.to_string())?;
        let id = self.desk.submit_own(Body::Authorise(authorise.clone()))?;
        turn.proposed.push(authorise.clone());
        Ok((id, authorise))
    }

    fn bump(&mut self, turn: &mut Turn, request: &Hash, rate: u64) -> FromServer {
        match self.propose(turn, &[*request], Some(rate)) {
            Ok((authorisation, Authorise { transaction, .. })) => {
                let effects = self.decoder.decode(&transaction.raw.0).ok();
                let paid = effects.as_ref().and_then(|e| Sats::sum(e.outputs.iter().map(|o| o.amount)));
                let held = Sats::sum(transaction.inputs.iter().map(|i| i.amount));
                let fee = held.zip(paid).and_then(|(held, paid)| held.minus(paid)).unwrap_or_default();
                let txid = effects.map(|e| shown(&e.txid).to_string()).unwrap_or_default();
                FromServer::Bumped { authorisation, txid, fee }
            }
            Err(why) => FromServer::Error { code: "bump".into(), why },
        }
    }

    /// Keeps change indices allocated ahead.
    fn allocate(&self, turn: &Turn) {
        let none = BTreeMap::new();
        for allocate in self.view(turn, &none, 0).allocations() {
            let waits = |body: &Body| matches!(body, Body::Allocate(a) if *a == allocate);
            let core = self.desk.core();
            // What the log got meanwhile may hold it already; that wakes the next turn.
            let stale = core.replica.state().clock().height != turn.state.clock().height;
            if stale || core.pending.any(waits) {
                continue;
            }
            drop(core);
            if let Err(why) = self.desk.submit_if_admitted(Body::Allocate(allocate.clone())) {
                let Allocate { wallet, client, .. } = allocate;
                self.desk.core().alarm(format!("no change addresses for {client} in wallet {wallet}: {why}"));
            }
        }
    }

    /// Says how things are, for status.
    fn publish(&self, turn: &Turn) {
        let open: BTreeSet<Hash> = self.observer.watch.open(&turn.state).into_values().collect();
        let mut newest: Vec<_> = turn.state.authorisations().iter().collect();
        newest.sort_by_key(|(id, a)| (std::cmp::Reverse(a.height), **id));
        newest.truncate(PAYMENTS_LIMIT);
        let mut payments: Vec<_> =
            newest.into_iter().map(|(id, a)| self.payment(turn, id, a, open.contains(id))).collect();
        let asked = |(id, (why, _)): (&Hash, &(String, Mark))| PaymentStatus {
            authorisation: None,
            requests: vec![*id],
            txid: String::new(),
            state: "requested".into(),
            confirmations: 0,
            problem: Some(why.clone()),
        };
        payments.extend(self.problems.iter().take(PAYMENTS_LIMIT).map(asked));
        let balances = self.observer.balances().map(|(id, sat)| (id.clone(), sat.to_string())).collect();
        let mut core = self.desk.core();
        let published = &mut core.published;
        (published.chain_tip, published.payments, published.balances) =
            (self.observer.tip(), payments, balances);
        published.balances_at = self.observer.balances_at();
        published.scanned = self.observer.scanned();
        published.fee_rate = self.observer.tip().map(|_| self.observer.fee_rate());
    }

    fn payment(&self, turn: &Turn, id: &Hash, authorisation: &Authorisation, open: bool) -> PaymentStatus {
        let observer = &self.observer;
        let offer = observer.offered(id);
        let refused = offer.and_then(|offer| offer.problem.clone());
        let (state, problem) = if observer.watch.place(id).is_some() {
            ("confirmed", None)
        } else if !open || replaced(&turn.state, id, authorisation) {
            ("replaced", None)
        } else if offer.is_some_and(|offer| offer.taken) {
            ("broadcast", None)
        } else if refused.is_some() {
            ("refused", refused)
        } else if turn.signed.contains_key(id) {
            ("signed", observer.problem().map(str::to_owned))
        } else {
            let problem = self.unsignable.get(id).map(String::as_str).or(self.orders.problem(id));
            ("authorised", problem.map(str::to_owned))
        };
        PaymentStatus {
            authorisation: Some(*id),
            requests: authorisation.requests.clone(),
            txid: shown(&authorisation.txid).to_string(),
            state: state.into(),
            confirmations: observer.watch.confirmations(id, observer.tip().unwrap_or(0)),
            problem,
        }
    }
}

/// Whether these bytes are the authorised transaction with a valid signature of its wallet for each input,
/// and nothing else.
fn is_signed(state: &State, found: &Authorisation, bytes: &[u8], decoder: &BitcoinDecoder) -> bool {
    let account = state.wallet(&found.wallet).and_then(|w| state.slot_of(w)).map(|slot| &slot.slot.account);
    let (Some(account), Ok(tx)) = (account, bitcoin::consensus::deserialize::<Transaction>(bytes)) else {
        return false;
    };
    let spent = found.transaction.inputs.iter().map(|input| {
        let script = decoder.own_script(account, input.branch, input.index);
        script.map(|script| (script, input.amount))
    });
    let signature = |input: &bitcoin::TxIn| input.witness.nth(0)?.try_into().ok();
    let signatures: Option<Vec<[u8; 64]>> = tx.input.iter().map(signature).collect();
    let (Ok(spent), Some(signatures)) = (spent.collect::<Result<Vec<_>, _>>(), signatures) else {
        return false;
    };
    let raw = &found.transaction.raw.0;
    verify_spend(raw, &spent, &signatures).is_ok()
        && attach(raw, &signatures).is_ok_and(|whole| whole == bytes)
}
