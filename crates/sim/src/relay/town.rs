//! A deployment in simulated time: the co-signers of a [`Cluster`], the people and coins of the fixtures, and
//! a server that brings what it wants to whom it wants.

use std::collections::{BTreeMap, BTreeSet};

use ceremony::{Plan, hold};
use custody::Hash;
use custody::document::{Document, Model, Tier, Wallet};
use custody::effects::{AccountKey, Branch, Decoder as _, Sats};
use custody::genesis::Genesis;
use custody::payment::Request;
use custody::state::{Stage, State};
use custody::statement::{Approve, Body, Envelope, Propose};
use custody::{Blob, name::Name};
use fixtures::{Coin, Draft, World, destination, key, review};
use rand_core::OsRng;
use wire::message::{FromCosigner, ReceiptState, ToCosigner};

use super::{Cluster, Released};
use crate::attacker::{device, session};
use crate::deployment::{BEGIN_S, Deployment, name};

/// The places of the co-signers; a liar's second process comes after them.
pub const ALL: [usize; 4] = [0, 1, 2, 3];

/// The sets that can sign.
pub const PAIRS: [[&str; 2]; 3] = [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]];

/// How long statements are good for, in seconds (30 days): longer than any log is stopped here.
const GOOD_FOR_S: u64 = 30 * 24 * 3600;

/// How long something that nobody hinders may take, in simulated milliseconds.
const SOON_MS: u64 = 10_000;

/// Co-signers, people, one wallet, and the server between them.
#[derive(Debug)]
pub struct Town {
    /// The co-signers.
    pub cluster: Cluster,
    /// The people and the chain; its state is that of the first process of `near`.
    pub world: World,
    /// The processes that the server brings statements to, and whose word it waits for.
    pub near: Vec<usize>,
    account: Option<AccountKey>,
    sessions: BTreeMap<Hash, Hash>,
    attempt: u32,
}

impl Town {
    /// Starts the co-signers of the relay with everything else of `genesis`. With `twins` the last signer lies:
    /// it runs twice.
    ///
    /// # Panics
    /// When they do not start.
    pub fn new(genesis: Genesis, twins: bool) -> Self {
        let mut deployment = Deployment::default();
        let cosigners = deployment.genesis.cosigners.clone();
        deployment.genesis = Genesis { cosigners, created_at: BEGIN_S, ..genesis };
        let world = World::new(deployment.genesis.clone());
        let mut cluster = Cluster::new(7, deployment, twins);
        assert!(cluster.run(5_000, |c| ALL.iter().all(|p| c.cosigner(*p).is_some_and(|c| c.may_release()))));
        let (account, sessions) = (None, BTreeMap::new());
        Self { cluster, world, near: ALL.to_vec(), account, sessions, attempt: 0 }
    }

    /// The state under the newest final head of the first process that the server waits for.
    ///
    /// # Panics
    /// When that does not run.
    pub fn state(&self) -> &State {
        self.cluster.cosigner(self.near[0]).expect("a process that runs").final_state()
    }

    /// Brings the people up to date with the log and the clock.
    pub fn refresh(&mut self) {
        self.world.state = self.state().clone();
        self.world.time = self.cluster.now_s();
    }

    /// A statement signed now.
    ///
    /// # Panics
    /// For a body that has no canonical form.
    pub fn write(&mut self, who: &str, body: Body) -> Envelope {
        self.refresh();
        let mut statement = self.world.statement(who, body);
        let end = self.world.time + GOOD_FOR_S;
        statement.not_after = statement.not_after.map(|_| end);
        statement.sign(&key(who)).expect("a canonical statement")
    }

    /// Hands a statement to the processes that are near.
    pub fn tell(&mut self, envelope: &Envelope) {
        for place in self.near.clone() {
            let message = ToCosigner::Submit { envelope: Blob(envelope.bytes()) };
            self.cluster.tell(place, &message);
        }
    }

    /// Waits until a statement is consumed at every process that is near. Says what became of it.
    ///
    /// # Panics
    /// For a statement that is none.
    pub fn settled(&mut self, envelope: &Envelope, for_ms: u64) -> Option<String> {
        let not_after = envelope.unverified().expect("a statement").not_after;
        let (id, near) = (envelope.id(), self.near.clone());
        let word = |c: &Cluster, p: usize| {
            c.cosigner(p).and_then(|c| c.final_state().outcome(&id, not_after).map(str::to_owned))
        };
        self.cluster
            .run(for_ms, |c| near.iter().all(|p| word(c, *p).is_some() || refused(c, *p, &id).is_some()));
        self.refresh();
        word(&self.cluster, near[0])
    }

    /// Hands a statement over and waits for what becomes of it.
    ///
    /// # Errors
    /// The rule that rejected it in the log, or by which the first process that is near refused it.
    pub fn bring(&mut self, who: &str, body: Body) -> Result<Hash, String> {
        let envelope = self.write(who, body);
        self.tell(&envelope);
        match self.settled(&envelope, SOON_MS) {
            Some(word) if word == "applied" => Ok(envelope.id()),
            Some(rule) => Err(rule),
            None => Err(refused(&self.cluster, self.near[0], &envelope.id()).unwrap_or_default()),
        }
    }

    /// Says what is applied.
    ///
    /// # Panics
    /// When it is not.
    pub fn say(&mut self, who: &str, body: Body) -> Hash {
        self.bring(who, body).expect("a statement that is applied")
    }

    /// Approves under the policy in force.
    ///
    /// # Panics
    /// When the approval is not applied.
    pub fn approve(&mut self, who: &str, target: Hash) -> Hash {
        let decides = self.state().policy().expect("a policy").1;
        self.say(who, Body::Approve(Approve { target, decides }))
    }

    /// Proposes a document that replaces none.
    ///
    /// # Panics
    /// When the proposal is not applied.
    pub fn propose(&mut self, who: &str, document: Document) -> Hash {
        self.say(who, Body::Propose(Propose { document, replaces: None }))
    }

    /// A document that alice and bob approved.
    ///
    /// # Panics
    /// When a step is not applied.
    pub fn adopt(&mut self, who: &str, document: Document) -> Hash {
        let target = self.propose(who, document);
        self.approve("alice", target);
        self.approve("bob", target);
        target
    }

    /// Brings the log's time up to the clocks, by something that changes nothing of weight.
    ///
    /// # Panics
    /// When it is not applied.
    pub fn tick(&mut self) {
        let number = self.cluster.now_ms;
        self.propose("dave", destination(&format!("d{number}")));
    }

    /// How far a proposal has come.
    ///
    /// # Panics
    /// For one that does not exist.
    pub fn stage(&self, proposal: Hash) -> Stage {
        self.state().proposals().get(&proposal).expect("a proposal").stage.clone()
    }

    fn order(&mut self, pair: [&str; 2], message: impl Fn(Vec<Name>, u32) -> ToCosigner) {
        self.attempt += 1;
        for who in pair {
            self.cluster.order(who, &message(pair.map(name).to_vec(), self.attempt));
        }
    }

    /// Orders two holders to sign, with a fresh number. What was said before is forgotten.
    pub fn sign(&mut self, authorisation: Hash, pair: [&str; 2]) {
        self.cluster.said.clear();
        self.order(pair, |holders, attempt| ToCosigner::Sign { authorisation, holders, attempt });
        let genesis = self.world.state.genesis_hash();
        let id = session(&genesis, &authorisation, &pair.map(name), self.attempt);
        self.sessions.insert(id, authorisation);
    }

    /// Lets two holders sign.
    ///
    /// # Errors
    /// The rules by which they refused, one for each refusal.
    pub fn signed(&mut self, authorisation: Hash, pair: [&str; 2]) -> Result<Blob, Vec<String>> {
        self.sign(authorisation, pair);
        self.cluster.run(SOON_MS, |c| c.signature().is_some() || c.refusals().len() >= pair.len());
        let refusals = || self.cluster.refusals().into_iter().map(str::to_owned).collect();
        self.cluster.signature().cloned().ok_or_else(refusals)
    }

    /// The authorisations of which any share or signature has left any process: what may confirm.
    pub fn left(&self) -> BTreeSet<Hash> {
        let releases = self.cluster.record.releases.iter().filter_map(|release| match &release.what {
            Released::Share(session) => self.sessions.get(session),
            Released::Transaction(authorisation, _) => Some(authorisation),
        });
        releases.copied().collect()
    }

    /// Ceremony, shares, proofs, wallet `main`, destination `acme`.
    ///
    /// # Panics
    /// When a step fails.
    pub fn open(&mut self) {
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
        let report = (genesis.rules > 1).then(|| Hash::sha256(b"no report"));
        let held = hold(&plan, report, &[device("alice"), device("bob")], &mut OsRng).expect("a ceremony");
        let ceremony = held.record.id(&genesis.hash());
        self.account = Some(held.record.slots[0].account.clone());
        self.adopt("carol", Document::Ceremony(held.record));
        for share in held.sealed.shares {
            let message = ToCosigner::Share { ceremony, slot: 0, sealed: share.sealed };
            self.cluster.order(share.holder.as_str(), &message);
        }
        self.cluster.run(100, |_| false);
        for pair in PAIRS {
            self.order(pair, |holders, attempt| ToCosigner::Prove { ceremony, slot: 0, holders, attempt });
        }
        let proved = |c: &Cluster| {
            let slots = c.cosigner(0).map(|c| c.final_state().slots());
            slots
                .and_then(|slots| slots.get(&(ceremony, 0)))
                .is_some_and(|slot| slot.proved.len() == PAIRS.len())
        };
        assert!(self.cluster.run(SOON_MS, proved), "not every set has proved");
        if genesis.rules >= 3 {
            self.adopt("carol", review(Model::One, self.cluster.now_s() - 60));
        }
        self.adopt("carol", Document::Wallet(Wallet::new(name("main"), ceremony, 0, Tier::Hot, Model::One)));
        self.adopt("dave", destination("acme"));
    }

    /// A request of carol that ends in so many seconds and that alice and bob approved.
    ///
    /// # Panics
    /// When a step is not applied.
    pub fn asked(&mut self, to: &str, amount: u64, ends_in_s: u64) -> Hash {
        self.refresh();
        let request = Request { end: self.world.time + ends_in_s, ..self.world.request(&[(to, amount)]) };
        let request = self.say("carol", Body::Request(request));
        self.approve("alice", request);
        self.approve("bob", request);
        request
    }

    /// A confirmed coin of the wallet.
    ///
    /// # Panics
    /// Before there is one.
    pub fn coin(&mut self, amount: u64) -> Coin {
        let (branch, index, amount) = (Branch::Receive, 0, Sats(amount));
        let account = self.account.as_ref().expect("a wallet");
        let script = self.world.decoder.own_script(account, branch, index).expect("a script");
        let outpoint = self.world.chain.pay(script, amount);
        self.world.chain.mine_empty(5);
        Coin { outpoint, amount, branch, index }
    }

    /// A transaction that pays a request from a coin, with what is left as change.
    ///
    /// # Panics
    /// When there is no such request at the first process that is near, or the coin does not suffice.
    pub fn draft(&mut self, request: Hash, coin: Coin, fee: u64) -> Draft {
        self.refresh();
        let mut draft = self.world.draft(&[request], &[coin], fee);
        let account = self.account.as_ref().expect("a wallet");
        if let Some((script, _)) = draft.outputs.last_mut().filter(|_| draft.change.is_some()) {
            *script = self.world.decoder.own_script(account, Branch::Change, 0).expect("a script");
        }
        draft
    }

    /// Lets the server propose the payment of a request from a coin.
    ///
    /// # Errors
    /// As [`Self::bring`].
    ///
    /// # Panics
    /// As [`Self::draft`].
    pub fn pay_from(&mut self, request: Hash, coin: Coin, fee: u64) -> Result<Hash, String> {
        let draft = self.draft(request, coin, fee);
        let ask = self.world.authorise(&[request], &draft);
        self.bring("server", Body::Authorise(ask))
    }
}

impl Cluster {
    /// The transaction that co-signers signed since the list of what was said was cleared, if they did.
    pub fn signature(&self) -> Option<&Blob> {
        self.said.iter().find_map(|(_, message)| match message {
            FromCosigner::Signed { transaction, .. } => Some(transaction),
            _ => None,
        })
    }

    /// The rules that refused to sign, as the server heard them since.
    pub fn refusals(&self) -> Vec<&str> {
        let rules = self.said.iter().filter_map(|(_, message)| match message {
            FromCosigner::Refused { what, rule, .. } if what == "sign" => Some(rule.as_str()),
            _ => None,
        });
        rules.collect()
    }
}

/// The rule by which a process refused a statement that was handed to it, if it did so last.
fn refused(c: &Cluster, place: usize, id: &Hash) -> Option<String> {
    let receipt = c.said.iter().rev().find_map(|(from, message)| match message {
        FromCosigner::Receipt { id: of, state } if *from == place && of == id => Some(state),
        _ => None,
    });
    match receipt {
        Some(ReceiptState::Refused { rule, .. }) => Some(rule.clone()),
        _ => None,
    }
}
