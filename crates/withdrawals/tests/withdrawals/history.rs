//! Random histories of log, network and worker: people ask, approve, renew, take back, freeze; blocks come and
//! go; the node is lost; the worker dies anywhere. At every step the books are held against the log and the
//! chain by an accounting of their own.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::document::{Document, Resume};
use custody::effects::OutPoint;
use custody::payment::Request;
use custody::statement::{Body, Freeze, Scope};
use fixtures::{Coin, DAY, World, name};
use ledger::{Amount, Kind, Owner};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use withdrawals::{SETTLED_CONFIRMATIONS, State};

use crate::play::{Luck, Net, Pure, Store, Worker, request, sats, world};

/// What may happen. The numbers choose.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Ask { who: u8, amount: u8, end: u8 },
    Approve(u8),
    Pay { which: u8, more: u8, fee: u8 },
    Bump { which: u8, fee: u8 },
    Renew { which: u8, amount: u8 },
    Cancel(u8),
    Freeze(u8),
    Resume,
    Time(u8),
    Sign(u8),
    Mine(u8),
    MineOther(u8),
    Bury(u8),
    Reorganise(u8),
    Follow(bool),
    Work(Option<(u8, u8)>),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let n = any::<u8>;
    prop_oneof![
        4 => (n(), n(), n()).prop_map(|(who, amount, end)| Ask { who, amount, end }),
        5 => n().prop_map(Approve),
        6 => (n(), n(), n()).prop_map(|(which, more, fee)| Pay { which, more, fee }),
        2 => (n(), n()).prop_map(|(which, fee)| Bump { which, fee }),
        2 => (n(), n()).prop_map(|(which, amount)| Renew { which, amount }),
        2 => n().prop_map(Cancel),
        1 => n().prop_map(Freeze),
        2 => Just(Resume),
        1 => n().prop_map(Time),
        3 => n().prop_map(Sign),
        4 => n().prop_map(Mine),
        1 => n().prop_map(MineOther),
        4 => n().prop_map(Bury),
        2 => n().prop_map(Reorganise),
        2 => prop::bool::weighted(0.7).prop_map(Follow),
        8 => prop::option::weighted(0.4, (n(), n())).prop_map(Work),
    ]
}

struct Game {
    /// The words of all states that a record was ever in.
    states: BTreeSet<&'static str>,
    world: World,
    net: Net,
    worker: Worker<Pure>,
    coins: BTreeMap<OutPoint, Coin>,
    /// The most blocks that the chain ever had.
    highest: usize,
}

fn pick<T: Clone>(all: &[T], which: u8) -> Option<T> {
    all.get(usize::from(which).checked_rem(all.len())?).cloned()
}

impl Game {
    fn new() -> Self {
        let world = world();
        let deposits = [
            (Owner::Client(name("north")), 4_000_000),
            (Owner::Client(name("south")), 2_000_000),
            (Owner::Own, 1_000_000),
        ];
        let worker = Worker::pure(&world, &deposits);
        Self { states: BTreeSet::new(), world, net: Net::new(), worker, coins: BTreeMap::new(), highest: 0 }
    }

    fn requests(&self) -> Vec<Hash> {
        self.world.state.requests().iter().map(|(id, _)| *id).collect()
    }

    fn authorised(&self) -> Vec<Hash> {
        self.world.state.authorisations().iter().map(|(id, _)| *id).collect()
    }

    fn lineage(&self, request: &Hash) -> Hash {
        self.world.state.requests().get(request).unwrap().lineage
    }

    /// The coins of the anchors of a request, or a new one.
    fn coins_for(&mut self, request: &Hash) -> Vec<Coin> {
        let anchors = self.world.state.lineages().get(&self.lineage(request)).map(|l| l.anchors.clone());
        match anchors {
            Some(anchors) => anchors.iter().map(|outpoint| self.coins[outpoint]).collect(),
            None => {
                let coin = self.world.coin(20_000_000);
                self.coins.insert(coin.outpoint, coin);
                vec![coin]
            }
        }
    }

    /// Proposes a transaction as the server does: only what is reserved. The log may refuse it.
    fn pay(&mut self, requests: &[Hash], fee: u8) {
        let Some(first) = requests.first() else { return };
        let coins = self.coins_for(first);
        let draft = self.world.draft(requests, &coins, 1_000 + 137 * u64::from(fee));
        let _ = self.world.pay(requests, &draft);
    }

    fn happen(&mut self, what: Happening) {
        self.highest = self.highest.max(self.net.blocks.len());
        let amount = |n: u8| 300_000 + 7_001 * u64::from(n);
        match what {
            Happening::Ask { who, amount: n, end } => {
                let who = [Some("north"), Some("south"), None][usize::from(who % 3)];
                let end = self.world.time + if end < 64 { 600 } else { DAY };
                let ask = Request { end, ..request(&self.world, who, &[("acme", amount(n))]) };
                let _ = self.world.say("carol", Body::Request(ask));
            }
            Happening::Approve(which) => {
                if let Some(id) = pick(&self.requests(), which) {
                    for who in ["alice", "bob"] {
                        let _ = self.world.approve(who, id);
                    }
                }
            }
            Happening::Pay { which, more, fee } => {
                let funded: Vec<Hash> = self.worker.funded(&self.world, &self.net).into_iter().collect();
                let mut chosen: Vec<Hash> = pick(&funded, which).into_iter().collect();
                // Half of the time with another one, of another lineage.
                let others = funded.iter().filter(|id| more % 2 == 0 && !chosen.contains(id));
                let other = others.copied().find(|id| self.lineage(id) != self.lineage(&chosen[0]));
                chosen.extend(other);
                self.pay(&chosen, fee);
            }
            Happening::Bump { which, fee } => {
                let requests = pick(&self.authorised(), which)
                    .map(|id| self.world.state.authorisations().get(&id).unwrap().requests.clone());
                self.pay(&requests.unwrap_or_default(), fee);
            }
            Happening::Renew { which, amount: n } => {
                if let Some(old) = pick(&self.requests(), which) {
                    let record = &self.world.state.requests().get(&old).unwrap().request;
                    let client = record.client.clone();
                    let plain = request(&self.world, None, &[("acme", amount(n)), ("beta", 300_000)]);
                    let ask = Request { renews: Some(old), client, ..plain };
                    if let Ok(id) = self.world.say("carol", Body::Request(ask)) {
                        for who in ["alice", "bob"] {
                            let _ = self.world.approve(who, id);
                        }
                    }
                }
            }
            Happening::Cancel(which) => {
                if let Some(old) = pick(&self.requests(), which) {
                    let client = self.world.state.requests().get(&old).unwrap().request.client.clone();
                    let ask = Request { renews: Some(old), client, ..self.world.request(&[]) };
                    if let Ok(id) = self.world.say("carol", Body::Request(ask)) {
                        for who in ["alice", "bob"] {
                            let _ = self.world.approve(who, id);
                        }
                    }
                }
            }
            Happening::Freeze(which) => {
                let scope = [Scope::Everything, Scope::Client(name("north"))][usize::from(which % 2)].clone();
                let _ = self.world.say("dave", Body::Freeze(Freeze { scope }));
            }
            Happening::Resume => {
                let freezes: Vec<Hash> = self.world.state.freezes().iter().map(|(id, _)| *id).collect();
                if !freezes.is_empty() {
                    self.world.adopt(Document::Resume(Resume { freezes }));
                }
            }
            Happening::Time(n) => self.world.tick(if n < 64 { DAY / 2 } else { 60 }),
            Happening::Sign(which) => {
                if let Some(id) = pick(&self.authorised(), which) {
                    // First signed, then sent, then forgotten by the node.
                    if !self.net.signed.insert(id) && !self.net.mempool.insert(id) {
                        self.net.mempool.remove(&id);
                    }
                }
            }
            Happening::Mine(which) => {
                if let Some(id) = pick(&self.authorised(), which) {
                    self.net.mine(&self.world, &id);
                }
            }
            Happening::MineOther(which) => {
                let coins: Vec<OutPoint> = self.coins.keys().copied().collect();
                if let Some(coin) = pick(&coins, which) {
                    self.net.mine_other(Hash::sha256(&[which]), vec![coin]);
                }
            }
            Happening::Bury(n) => self.net.bury(usize::from(n % 5)),
            // Never so deep that what the books took for settled is not, also not by several in a row.
            Happening::Reorganise(n) => {
                let limit = usize::try_from(SETTLED_CONFIRMATIONS).unwrap();
                let gone = self.highest - self.net.blocks.len();
                self.net.reorganise((usize::from(n) % limit).min((limit - 1).saturating_sub(gone)));
            }
            Happening::Follow(yes) => self.net.following = yes,
            Happening::Work(unlucky) => self.work(unlucky),
        }
    }

    /// The worker looks, and may have bad luck at one of its postings.
    fn work(&mut self, unlucky: Option<(u8, u8)>) {
        let mut postings = 0;
        let mut luck = || {
            postings += 1;
            match unlucky {
                Some((at, how)) if u32::from(at % 4) + 1 == postings => {
                    [Luck::DiesBefore, Luck::DiesAfter, Luck::Twice][usize::from(how % 3)]
                }
                _ => Luck::Good,
            }
        };
        self.worker.turn(&self.world, &self.net, &mut luck);
        self.states.extend(self.worker.store.records().values().map(|(_, record)| record.state.word()));
        self.check();
    }

    fn is_deep(&self, txid: &Hash) -> bool {
        self.net.depth(txid) >= SETTLED_CONFIRMATIONS
    }

    /// What must hold whenever somebody looks.
    fn check(&self) {
        let state = &self.world.state;
        let totals = self.worker.totals();
        let all =
            |of: &dyn Fn(&ledger::Totals) -> Amount| totals.values().map(|t| of(t).units()).sum::<u128>();
        assert_eq!(all(&|t| t.debits_posted), all(&|t| t.credits_posted));
        assert_eq!(all(&|t| t.debits_pending), all(&|t| t.credits_pending));
        for (id, (_, record)) in &self.worker.store.records() {
            let pending = self.worker.pending(id);
            assert_eq!(pending, record.reserved());
            assert!(record.state.is_open() || pending == Amount::ZERO, "{:?}", record.state);
            let out = self.worker.transfer(&format!("out/{id}"));
            assert!(out.is_none() || record.is_final());
            // From the first Authorise on, until something that spends an anchor is deep, the most that may
            // leave stays reserved.
            let anchors = state.lineages().get(id).map(|l| l.anchors.clone()).unwrap_or_default();
            let spent = anchors.iter().any(|anchor| {
                let inputs = self.net.blocks.iter().flatten().find(|(_, inputs)| inputs.contains(anchor));
                inputs.is_some_and(|(txid, _)| self.is_deep(txid))
            });
            let of_it = |r: &Hash| state.requests().get(r).is_some_and(|r| r.lineage == *id);
            for (_, paid) in state.authorisations().iter().filter(|(_, a)| a.requests.iter().any(of_it)) {
                let request = paid.requests.iter().find(|r| of_it(r)).unwrap();
                let amount = state.requests().get(request).unwrap().request.amount().unwrap();
                let whole = if paid.requests.len() == 1 { paid.fee.0 } else { 0 };
                assert!(
                    record.is_final() || spent || pending >= sats(amount.0 + whole),
                    "{id} {:?}",
                    record.state
                );
                if record.is_final() && self.is_deep(&paid.txid) {
                    assert_eq!(out, (amount.0 > 0).then(|| sats(amount.0)), "what the chain took");
                }
            }
        }
    }

    /// Everything comes to its end: all that was authorised is decided by the chain, all else ends.
    fn finish(&mut self) {
        self.net.following = true;
        for id in self.authorised().into_iter().rev() {
            self.net.mine(&self.world, &id);
        }
        self.net.bury(6);
        self.world.tick(2 * DAY);
        self.work(None);
        for (id, (_, record)) in &self.worker.store.records() {
            assert!(!record.state.is_open() && self.worker.pending(id) == Amount::ZERO, "{:?}", record.state);
        }
        // What the books say left is, to the base unit, what the chain took.
        let took = |id: &Hash| {
            let paid = self.world.state.authorisations().get(id).unwrap();
            let amounts = paid
                .requests
                .iter()
                .map(|r| self.world.state.requests().get(r).unwrap().request.amount().unwrap().0);
            amounts.sum::<u64>() + paid.fee.0
        };
        let confirmed = self
            .authorised()
            .into_iter()
            .filter(|id| self.is_deep(&self.world.state.authorisations().get(id).unwrap().txid));
        let by_chain: u64 = confirmed.map(|id| took(&id)).sum();
        let left = self
            .worker
            .transfers()
            .into_iter()
            .filter(|t| t.credit.owner == Owner::External && t.kind == Kind::Posted);
        let by_books: u128 = left.map(|t| t.amount.units()).sum();
        assert_eq!(by_books, u128::from(by_chain));
        // Nothing is left on the way.
        let transit = self.worker.totals().into_iter().filter(|(a, _)| a.owner == Owner::InTransit);
        assert!(transit.map(|(_, t)| t).all(|t| t.balance().to_string() == "0"));
    }
}

fn histories() -> impl Strategy<Value = Vec<Happening>> {
    prop::collection::vec(happening(), 10..60)
}

/// The histories are no idle talk: they lead everywhere but to what the log never took.
#[test]
fn the_histories_lead_everywhere() {
    let mut runner = TestRunner::deterministic();
    let mut states = BTreeSet::new();
    for _ in 0..128 {
        let mut game = Game::new();
        histories().new_tree(&mut runner).unwrap().current().into_iter().for_each(|what| game.happen(what));
        game.finish();
        states.extend(game.states);
    }
    let nowhere = ["requested", "rejected"];
    let everywhere = State::OPEN.into_iter().chain(["settled", "expired", "cancelled", "replaced"]);
    assert_eq!(states, everywhere.filter(|word| !nowhere.contains(word)).collect());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn books_and_chain_agree_whatever_happens(story in histories()) {
        let mut game = Game::new();
        for what in story {
            game.happen(what);
        }
        game.finish();
    }
}
