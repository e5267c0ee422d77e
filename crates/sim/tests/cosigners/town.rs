//! Co-signers, a server and people, and where their storms begin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use ceremony::{Plan, hold};
use custody::Hash;
use custody::document::{Document, Model, Tier, Wallet};
use custody::effects::{AccountKey, Branch, Decoder as _, Sats};
use custody::genesis::Genesis;
use custody::state::{Stage, State};
use custody::statement::{Approve, Body, Envelope, Propose};
use fixtures::{Coin, Draft, World, destination};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use signer::cosigner::{Cosigner, Disk};
use sim::attacker::device;
use sim::deployment::{BEGIN_S, COSIGNERS, Deployment, name};
use sim::relay::{Cluster, Release, Released};
use wire::message::{FromCosigner, ToCosigner};

/// How long documents wait, in seconds of the delay clock: so short that it runs out within a storm.
pub(crate) const DELAY_S: u64 = 2;

/// The sets that can sign.
pub(crate) const PAIRS: [[&str; 2]; 3] = [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]];

/// All co-signers.
const ALL: [usize; 4] = [0, 1, 2, 3];

/// Confirmed coins of the wallet. The first one is the anchor of the payment that is authorised from the
/// start.
const COINS: usize = 4;

/// What every coin is worth.
const COIN: u64 = 250_000;

/// Where storms begin: four disks of co-signers that agree.
#[derive(Debug)]
pub(crate) struct Base {
    /// The time, milliseconds since 1970.
    now_ms: u64,
    disks: Vec<Disk>,
    world: World,
    pub account: Option<AccountKey>,
    pub coins: Vec<Coin>,
    /// A payment that is allowed for a day.
    pub authorisation: Option<Hash>,
}

fn deployment() -> Deployment {
    let mut deployment = Deployment::default();
    let cosigners = deployment.genesis.cosigners.clone();
    deployment.genesis = Genesis { cosigners, created_at: BEGIN_S, ..fixtures::delayed(DELAY_S) };
    deployment
}

impl Base {
    /// Nothing but genesis.
    pub(crate) fn bare() -> &'static Self {
        static BARE: OnceLock<Base> = OnceLock::new();
        BARE.get_or_init(|| Self {
            now_ms: (BEGIN_S + 10) * 1000,
            disks: vec![Disk::default(); COSIGNERS.len()],
            world: World::new(deployment().genesis),
            account: None,
            coins: Vec::new(),
            authorisation: None,
        })
    }

    /// A wallet with coins, two destinations, a payment that waits for its signature, and an approved request.
    pub(crate) fn funded() -> &'static Self {
        static FUNDED: OnceLock<Base> = OnceLock::new();
        FUNDED.get_or_init(|| {
            let mut town = Town::new(0, Self::bare(), &[]);
            let (account, coins, authorisation) = town.fund();
            town.cluster.run(2_000, |_| false);
            let disks = (0..COSIGNERS.len()).map(|p| town.cluster.disk(p)).collect();
            Self {
                now_ms: town.cluster.now_ms,
                disks,
                world: town.world,
                account: Some(account),
                coins,
                authorisation: Some(authorisation),
            }
        })
    }

    /// The state at the beginning.
    pub(crate) fn state(&self) -> &State {
        &self.world.state
    }
}

/// Co-signers, the server and the people.
#[derive(Debug)]
pub(crate) struct Town {
    pub cluster: Cluster,
    /// The people and the chain; its state is the newest that the server saw.
    pub world: World,
    pub base: &'static Base,
    /// Which authorisation a session signs.
    pub sessions: BTreeMap<Hash, Hash>,
    /// The ids of all statements, and until when each can be consumed.
    pub said: Vec<(Hash, Option<u64>)>,
    /// The ids of all freezes.
    pub freezes: BTreeSet<Hash>,
    pub revoked: bool,
    pub attempt: u32,
    pub subjects: u32,
}

impl Town {
    pub(crate) fn new(seed: u64, base: &'static Base, liars: &[usize]) -> Self {
        Self {
            cluster: Cluster::on_disks(seed, deployment(), liars, base.now_ms, &base.disks),
            world: base.world.clone(),
            base,
            sessions: BTreeMap::new(),
            said: Vec::new(),
            freezes: BTreeSet::new(),
            revoked: false,
            attempt: 1_000,
            subjects: 0,
        }
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let place = self.cluster.below(of.len() as u64);
        of.get(usize::try_from(place).unwrap()).cloned()
    }

    /// Reads the longest log that any process has.
    pub(crate) fn refresh(&mut self) {
        let known = self.world.state.clock().height;
        let states = (0..self.cluster.len()).filter_map(|p| Some(self.cluster.cosigner(p)?.final_state()));
        let newest = states.max_by_key(|s| s.clock().height).filter(|s| s.clock().height > known);
        if let Some(newest) = newest.cloned() {
            self.world.state = newest;
        }
        self.world.time = self.cluster.now_s();
    }

    pub(crate) fn write(&mut self, who: &str, body: Body) -> Envelope {
        self.refresh();
        let envelope = self.world.sign(who, body);
        self.said.push((envelope.id(), envelope.unverified().unwrap().not_after));
        envelope
    }

    pub(crate) fn submit(&mut self, who: &str, body: Body) -> Hash {
        let envelope = self.write(who, body);
        let id = envelope.id();
        self.cluster.submit(envelope);
        id
    }

    /// Where every process stands: its final and its decided height, whether it votes, the freezes that it
    /// has.
    pub(crate) fn positions(&self) -> Vec<Option<(u64, u64, bool, usize)>> {
        let of = |c: &Cosigner| {
            (c.final_head().0, c.decided_height(), c.may_release(), c.final_state().freezes().len())
        };
        (0..self.cluster.len()).map(|p| self.cluster.cosigner(p).map(of)).collect()
    }

    /// What co-signers answered to a statement.
    fn receipts(&self, id: &Hash) -> Vec<&FromCosigner> {
        let ours = |m: &&FromCosigner| matches!(m, FromCosigner::Receipt { id: of, .. } if of == id);
        self.cluster.said.iter().map(|(_, m)| m).filter(ours).collect()
    }

    /// What was signed, in order.
    pub(crate) fn transactions(&self) -> impl Iterator<Item = &Release> {
        self.cluster.record.releases.iter().filter(|r| matches!(r.what, Released::Transaction(..)))
    }

    /// The rules that refused an order to sign.
    pub(crate) fn refusals<'a>(&'a self) -> Vec<&'a str> {
        let rule = |(_, m): &'a (usize, FromCosigner)| match m {
            FromCosigner::Refused { what, rule, .. } if what == "sign" => Some(rule.as_str()),
            _ => None,
        };
        self.cluster.said.iter().filter_map(rule).collect()
    }

    /// What became of a statement under the final head of a process.
    pub(crate) fn outcome(cluster: &Cluster, place: usize, said: &(Hash, Option<u64>)) -> Option<String> {
        cluster.cosigner(place)?.final_state().outcome(&said.0, said.1).map(str::to_owned)
    }

    /// Submits a statement and waits until these processes have it in their final log.
    pub(crate) fn say(&mut self, who: &str, body: Body, places: &[usize]) -> Hash {
        let id = self.submit(who, body);
        let said = *self.said.last().unwrap();
        let done = self.cluster.run(30_000, |c| places.iter().all(|p| Self::outcome(c, *p, &said).is_some()));
        assert!(
            done,
            "not final after half a minute of calm: {:#?}",
            (who, self.receipts(&id), self.positions())
        );
        self.refresh();
        id
    }

    /// As [`Self::say`], of what must be applied.
    pub(crate) fn applied(&mut self, who: &str, body: Body, places: &[usize]) -> Hash {
        let id = self.say(who, body, places);
        let said = *self.said.last().unwrap();
        assert_eq!(Self::outcome(&self.cluster, places[0], &said).as_deref(), Some("applied"));
        id
    }

    /// An approval under the policy in force.
    pub(crate) fn approval(&self, target: Hash) -> Body {
        Body::Approve(Approve { target, decides: self.world.state.policy().unwrap().1 })
    }

    fn approved(&mut self, target: Hash) -> Hash {
        for who in ["alice", "bob"] {
            let approve = self.approval(target);
            self.applied(who, approve, &ALL);
        }
        target
    }

    fn adopt(&mut self, who: &str, document: Document) {
        let replaces = None;
        let target = self.applied(who, Body::Propose(Propose { document, replaces }), &ALL);
        self.approved(target);
        let done = |s: &State| s.proposals().get(&target).unwrap().stage == Stage::Done;
        assert!(self.cluster.run(30_000, |c| (0..4).all(|p| done(c.cosigner(p).unwrap().final_state()))));
        self.refresh();
    }

    /// Ceremony, shares, proofs, wallet, destinations, coins, and an authorised payment.
    fn fund(&mut self) -> (AccountKey, Vec<Coin>, Hash) {
        let genesis = self.cluster.deployment.genesis.clone();
        let plan = Plan {
            genesis: &genesis,
            cards: &[],
            first: 0,
            accounts: 1,
            held_at: BEGIN_S,
            entropy: "",
            program: Hash::default(),
        };
        // A seeded ceremony: a failing storm can be run again.
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let report = (genesis.rules > 1).then(|| Hash::sha256(b"no report"));
        let held = hold(&plan, report, &[device("alice"), device("bob")], &mut rng).unwrap();
        let ceremony = held.record.id(&genesis.hash());
        let account = held.record.slots[0].account.clone();
        self.adopt("carol", Document::Ceremony(held.record));
        for share in held.sealed.shares {
            let message = ToCosigner::Share { ceremony, slot: 0, sealed: share.sealed };
            self.cluster.order(share.holder.as_str(), &message);
        }
        self.cluster.run(100, |_| false);
        for pair in PAIRS {
            let holders = pair.map(name).to_vec();
            for who in pair {
                let prove = ToCosigner::Prove { ceremony, slot: 0, holders: holders.clone(), attempt: 1 };
                self.cluster.order(who, &prove);
            }
        }
        let proved = |c: &Cluster| {
            let slots = c.cosigner(0).unwrap().final_state().slots();
            slots.get(&(ceremony, 0)).unwrap().proved.len()
        };
        assert!(self.cluster.run(10_000, |c| proved(c) == 3));
        let wallet = Wallet::new(name("main"), ceremony, 0, Tier::Hot, Model::One);
        if self.world.state.clock().rules >= 3 {
            self.adopt("carol", fixtures::review(Model::One, self.cluster.now_s() - 60));
        }
        self.adopt("carol", Document::Wallet(wallet));
        for who in ["acme", "other"] {
            self.adopt("dave", destination(who));
        }
        let script = self.world.decoder.own_script(&account, Branch::Receive, 0).unwrap();
        let coins: Vec<Coin> = (0..COINS)
            .map(|_| Coin {
                outpoint: self.world.chain.pay(script.clone(), Sats(COIN)),
                amount: Sats(COIN),
                branch: Branch::Receive,
                index: 0,
            })
            .collect();
        self.world.chain.mine_empty(5);
        self.refresh();
        let [request, _] = ["acme", "other"].map(|to| {
            let request = self.world.request(&[(to, 100_000)]);
            let request = self.applied("dave", Body::Request(request), &ALL);
            self.approved(request)
        });
        let draft = self.draft(&account, request, &coins[..1], 1_000);
        let ask = self.world.authorise(&[request], &draft);
        let authorisation = self.applied("server", Body::Authorise(ask), &ALL);
        (account, coins, authorisation)
    }

    pub(crate) fn draft(&self, account: &AccountKey, request: Hash, coins: &[Coin], fee: u64) -> Draft {
        let mut draft = self.world.draft(&[request], coins, fee);
        let own = self.world.decoder.own_script(account, Branch::Change, 0).unwrap();
        draft.outputs.last_mut().expect("change").0 = own;
        draft
    }
}
