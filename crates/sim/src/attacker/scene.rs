//! A deployment of real processes with its people, its wallet and its coins.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ceremony::files::SealedShares;
use ceremony::{Plan, hold};
use chain::finish::verify_spend;
use custody::document::{Document, Kind, Model, Tier, Wallet};
use custody::effects::{AccountKey, Branch, Decoder as _, Sats};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::payment::{Authorise, Request};
use custody::rule::Rule;
use custody::statement::{Approve, Body, Envelope, Freeze, Propose, Scope};
use custody::{Blob, Hash};
use fixtures::{Coin, Draft, World, destination, key};
use keys::device::DeviceKey;
use keys::locked::LockedBytes;
use keys::share::{HeldShare, SharePublic, ShareSecret};
use keys::vault::{Vault, VaultContext, VaultKind};
use rand_core::{CryptoRng, OsRng, RngCore};
use wire::message::{FromCosigner, ReceiptState, ToCosigner};
use wire::{Connection, WireError};

use super::server::tls_key;
use super::{Hand, Server};
use crate::deployment::{COSIGNERS, name};
use crate::processes::{Signers, secret};

/// A statement that took no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// The id of the rule that said no.
    pub rule: String,
    /// Whether it stands in the log as rejected; else no batch may hold it.
    pub consumed: bool,
}

/// A deployment.
#[derive(Debug)]
pub struct Scene {
    /// The processes.
    pub signers: Signers,
    /// The server.
    pub server: Server,
    /// The people, and the chain; its state follows the log.
    pub world: World,
    /// The account of wallet `main`.
    pub account: Option<AccountKey>,
    /// The ceremony that dealt it.
    pub ceremony: Hash,
    /// Its sealed shares.
    pub sealed: Option<SealedShares>,
    attempt: u32,
}

/// The time, in seconds since 1970.
///
/// # Panics
/// Before 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The rule that denied something.
///
/// # Panics
/// When nothing did.
fn rule_of(id: &str) -> String {
    let known = Rule::ALL.iter().any(|r| r.id() == id);
    assert!(known, "{id} is no rule");
    id.to_owned()
}

/// A generator that repeats given bytes: the devices of `fixtures` for the ceremony.
struct Recite(Vec<u8>);

impl RngCore for Recite {
    fn next_u32(&mut self) -> u32 {
        no_word()
    }

    fn next_u64(&mut self) -> u64 {
        u64::from(no_word())
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        let rest = self.0.split_off(dest.len());
        dest.copy_from_slice(&std::mem::replace(&mut self.0, rest));
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Recite {}

fn no_word() -> u32 {
    panic!("device keys are made of bytes")
}

/// The device of a person of `fixtures`, for a ceremony.
pub fn device(who: &str) -> DeviceKey {
    let seeds = [key(who).to_bytes(), key(&format!("{who}/tls")).to_bytes()].concat();
    DeviceKey::generate(&mut Recite(seeds))
}

impl Scene {
    /// Processes that run and know nothing but genesis.
    ///
    /// # Panics
    /// When a process does not come up.
    pub fn bare() -> Self {
        Self::bare_on(fixtures::genesis())
    }

    fn bare_on(genesis: Genesis) -> Self {
        let (mut signers, cards) = Signers::init();
        let genesis = Genesis { cosigners: cards, created_at: now_s() - 5, ..genesis };
        signers.enter(&genesis);
        let mut scene = Self {
            signers,
            server: Server::new(genesis.clone()),
            world: World::new(genesis),
            account: None,
            ceremony: Hash::default(),
            sealed: None,
            attempt: 0,
        };
        for who in COSIGNERS {
            scene.signers.start(who, &[]);
        }
        for who in COSIGNERS {
            scene.server.link(who, scene.signers.address(who));
        }
        scene
    }

    /// A deployment that can pay: a ceremony, proven shares, wallet `main`, destinations `acme` and
    /// `other`.
    ///
    /// # Panics
    /// When any step is refused.
    pub fn ready() -> Self {
        Self::ready_on(fixtures::genesis())
    }

    /// [`Scene::ready`] with the people, machines and rules of another genesis.
    ///
    /// # Panics
    /// When any step is refused.
    pub fn ready_on(genesis: Genesis) -> Self {
        let mut scene = Self::bare_on(genesis);
        scene.deal();
        scene.prove(scene.ceremony, [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]]);
        let wallet = Wallet::new(name("main"), scene.ceremony, 0, Tier::Hot, Model::One);
        if scene.world.state.clock().rules >= 3 {
            scene.adopt("bob", fixtures::review(Model::One, scene.world.time));
        }
        scene.adopt("bob", Document::Wallet(wallet));
        scene.adopt("dave", destination("acme"));
        scene.adopt("dave", destination("other"));
        scene
    }

    /// Holds the ceremony, gets its record approved, and hands the shares over.
    fn deal(&mut self) {
        let genesis = self.world.state.genesis().clone();
        let plan = Plan {
            genesis: &genesis,
            cards: &[],
            first: 0,
            accounts: 1,
            held_at: now_s(),
            entropy: "the generator of the test machine",
            program: Hash::sha256(b"tests"),
        };
        let report = (genesis.rules > 1).then(|| Hash::sha256(b"no report"));
        let outcome = hold(&plan, report, &[device("alice"), device("bob")], &mut OsRng).expect("a ceremony");
        self.ceremony = outcome.record.id(&genesis.hash());
        self.account = Some(outcome.record.slots[0].account.clone());
        self.sealed = Some(outcome.sealed.clone());
        assert_eq!(self.hand_over("s1", "s1"), Err(rule_of("GEN-03.ceremony")), "no record is in force");
        self.adopt("bob", Document::Ceremony(outcome.record));
        for who in &COSIGNERS[..3] {
            assert_eq!(self.hand_over(who, who), Ok(()));
        }
    }

    /// Hands the share that was sealed to `of` over to the co-signer `to`.
    ///
    /// # Errors
    /// The rule that refused it.
    ///
    /// # Panics
    /// Without an answer.
    pub fn hand_over(&self, of: &str, to: &str) -> Result<(), String> {
        self.server.settle();
        let shares = &self.sealed.as_ref().expect("a ceremony was held").shares;
        let sealed = shares.iter().find(|s| s.holder.as_str() == of).expect("a share").sealed.clone();
        let (mark, ceremony) = (self.server.mark(), self.ceremony);
        self.server.tell(to, &ToCosigner::Share { ceremony, slot: 0, sealed });
        self.server.wait("a word on a share", |v| {
            v.said[mark..].iter().filter(|(from, _)| from == to).find_map(|(_, message)| match message {
                FromCosigner::ShareKept { .. } => Some(Ok(())),
                FromCosigner::Refused { what, rule, .. } if what == "share" => Some(Err(rule.clone())),
                _ => None,
            })
        })
    }

    /// Lets these pairs, all that there are, show that they can sign with the shares of a ceremony or resharing.
    ///
    /// # Panics
    /// When one cannot.
    pub fn prove(&mut self, ceremony: Hash, pairs: [[&str; 2]; 3]) {
        for pair in pairs {
            self.attempt += 1;
            for who in pair {
                let holders = pair.map(name).to_vec();
                let prove = ToCosigner::Prove { ceremony, slot: 0, holders, attempt: self.attempt };
                self.server.tell(who, &prove);
            }
        }
        let key = (ceremony, 0);
        let proved = |v: &super::View| v.state.slots().get(&key).filter(|s| s.proved.len() == 3).map(|_| ());
        self.server.wait("three proofs", proved);
        self.refresh();
    }

    /// Brings the people up to date with the log and the clock.
    pub fn refresh(&mut self) {
        self.world.state = self.server.view(|v| v.state.clone());
        self.world.time = now_s();
    }

    /// Submits a statement everywhere and waits for what becomes of it.
    ///
    /// # Errors
    /// The rule that rejected it in the log, or that made every co-signer refuse it.
    ///
    /// # Panics
    /// When nothing becomes of it, or co-signers refuse it by different rules.
    pub fn submit(&mut self, envelope: &Envelope) -> Result<Hash, Denied> {
        self.server.settle();
        let (id, mark, linked) = (envelope.id(), self.server.mark(), self.server.linked().len());
        self.server.submit(envelope);
        let verdict = self.server.wait("a verdict", |v| {
            if let Some(word) = v.outcome(envelope) {
                return Some(match word.as_str() {
                    "applied" => Ok(id),
                    rule => Err(Denied { rule: rule_of(rule), consumed: true }),
                });
            }
            let refusals = v.said[mark..].iter().filter_map(|(_, message)| match message {
                FromCosigner::Receipt { id: of, state: ReceiptState::Refused { rule, .. } } if *of == id => {
                    Some(rule.clone())
                }
                _ => None,
            });
            let rules: Vec<String> = refusals.collect();
            (rules.len() == linked).then(|| {
                assert!(rules.iter().all(|r| *r == rules[0]), "co-signers differ: {rules:?}");
                Err(Denied { rule: rule_of(&rules[0]), consumed: false })
            })
        });
        self.server.settle();
        self.refresh();
        verdict
    }

    /// Signs a statement now.
    pub fn write(&mut self, who: &str, body: Body) -> Envelope {
        self.refresh();
        self.world.sign(who, body)
    }

    /// Signs and submits.
    ///
    /// # Errors
    /// As [`Scene::submit`].
    pub fn say(&mut self, who: &str, body: Body) -> Result<Hash, Denied> {
        let envelope = self.write(who, body);
        self.submit(&envelope)
    }

    /// Proposes a document.
    ///
    /// # Errors
    /// As [`Scene::submit`].
    pub fn propose(&mut self, who: &str, document: Document) -> Result<Hash, Denied> {
        let replaces = self.world.state.document(document.kind(), &document.subject()).map(|d| d.hash);
        self.say(who, Body::Propose(Propose { document, replaces }))
    }

    /// Approves under the policy in force.
    ///
    /// # Errors
    /// As [`Scene::submit`].
    ///
    /// # Panics
    /// Never: there is a policy.
    pub fn approve(&mut self, who: &str, target: Hash) -> Result<Hash, Denied> {
        let decides = self.world.state.policy().expect("a policy").1;
        self.say(who, Body::Approve(Approve { target, decides }))
    }

    /// Puts a document in force: approved by the first two admins whose keys are in use.
    ///
    /// # Panics
    /// When a step is denied.
    pub fn adopt(&mut self, proposer: &str, document: Document) -> Hash {
        let id = self.propose(proposer, document).expect("a sound document");
        let state = self.world.state.clone();
        let in_use = |who: &&str| state.key(&fixtures::id(who)).is_some_and(|k| k.revoked_at.is_none());
        for who in ["alice", "bob", "carol"].into_iter().filter(in_use).take(2) {
            self.approve(who, id).expect("an approval");
        }
        id
    }

    /// A request by carol, approved by alice and bob.
    ///
    /// # Panics
    /// When a step is denied.
    pub fn asked(&mut self, request: Request) -> Hash {
        let id = self.say("carol", Body::Request(request)).expect("a sound request");
        for who in ["alice", "bob"] {
            self.approve(who, id).expect("an approval");
        }
        id
    }

    /// A freeze by somebody, signed and not submitted.
    pub fn freeze(&mut self, who: &str) -> Envelope {
        self.write(who, Body::Freeze(Freeze { scope: Scope::Everything }))
    }

    /// Lifts every freeze in force.
    ///
    /// # Panics
    /// When it does not.
    pub fn resume(&mut self) {
        self.refresh();
        let freezes: Vec<Hash> = self.world.state.freezes().iter().map(|(id, _)| *id).collect();
        self.adopt("carol", Document::Resume(custody::document::Resume { freezes }));
        assert_eq!(self.world.state.freezes().iter().count(), 0);
    }

    /// The script of an address of wallet `main`.
    ///
    /// # Panics
    /// Before the ceremony.
    pub fn own_script(&self, branch: Branch, index: u32) -> Vec<u8> {
        let account = self.account.as_ref().expect("a ceremony was held");
        self.world.decoder.own_script(account, branch, index).expect("a script")
    }

    /// A coin of wallet `main` at receive index 0, six blocks deep.
    pub fn coin(&mut self, amount: u64) -> Coin {
        let (branch, index, amount) = (Branch::Receive, 0, Sats(amount));
        let outpoint = self.world.chain.pay(self.own_script(branch, index), amount);
        self.world.chain.mine_empty(5);
        Coin { outpoint, amount, branch, index }
    }

    /// A transaction that pays the requests out of the coins, with the rest as own change to index 0.
    pub fn draft(&mut self, requests: &[Hash], coins: &[Coin], fee: u64) -> Draft {
        self.refresh();
        let mut draft = self.world.draft(requests, coins, fee);
        if let Some((script, _)) = draft.outputs.last_mut().filter(|_| draft.change.is_some()) {
            *script = self.own_script(Branch::Change, 0);
        }
        draft
    }

    /// Lets the server propose a transaction as drafted.
    ///
    /// # Errors
    /// As [`Scene::submit`].
    pub fn pay(&mut self, requests: &[Hash], draft: &Draft) -> Result<Hash, Denied> {
        self.refresh();
        let ask = self.world.authorise(requests, draft);
        self.propose_payment(ask)
    }

    /// Lets the server propose a transaction.
    ///
    /// # Errors
    /// As [`Scene::submit`].
    pub fn propose_payment(&mut self, ask: Authorise) -> Result<Hash, Denied> {
        self.say("server", Body::Authorise(ask))
    }

    /// An authorised payment of `amount` to `acme`: its request, coin, draft and authorisation.
    ///
    /// # Panics
    /// When a step is denied.
    pub fn paid(&mut self, amount: u64) -> Payment {
        self.refresh();
        let request = self.world.request(&[("acme", amount)]);
        let request = self.asked(request);
        let coin = self.coin(amount + 100_000);
        let draft = self.draft(&[request], &[coin], 1_000);
        let authorisation = self.pay(&[request], &draft).expect("an allowed payment");
        Payment { request, coin, draft, authorisation }
    }

    /// Orders two holders to sign, with a number that was not used.
    pub fn order(&mut self, authorisation: Hash, holders: [&str; 2]) -> u32 {
        self.attempt += 1;
        self.order_again(authorisation, holders, self.attempt);
        self.attempt
    }

    /// Orders two holders to sign, with any number.
    pub fn order_again(&self, authorisation: Hash, holders: [&str; 2], attempt: u32) {
        for who in holders {
            self.order_one(who, authorisation, holders, attempt);
        }
    }

    /// Orders one of the holders to sign.
    pub fn order_one(&self, who: &str, authorisation: Hash, holders: [&str; 2], attempt: u32) {
        let holders = holders.map(name).to_vec();
        self.server.tell(who, &ToCosigner::Sign { authorisation, holders, attempt });
    }

    /// What comes of an order after `mark`: the signed transaction, or the first refusal.
    ///
    /// # Errors
    /// The rule that refused, and who is to blame.
    ///
    /// # Panics
    /// When nothing comes of it.
    pub fn result(&self, mark: usize, authorisation: Hash) -> Result<Blob, (String, Vec<Name>)> {
        self.server.wait("a signature or a refusal", |v| signing(v, mark, authorisation))
    }

    /// As [`Scene::result`], or nothing when it takes longer.
    pub fn result_within(
        &self,
        limit: Duration,
        mark: usize,
        authorisation: Hash,
    ) -> Option<Result<Blob, (String, Vec<Name>)>> {
        self.server.within(limit, |v| signing(v, mark, authorisation))
    }

    /// Lets two holders sign.
    ///
    /// # Errors
    /// The rule that refused.
    pub fn sign(&mut self, authorisation: Hash, holders: [&str; 2]) -> Result<Blob, String> {
        let mark = self.server.mark();
        self.order(authorisation, holders);
        self.result(mark, authorisation).map_err(|(rule, _)| rule)
    }

    /// Whether a transaction is the draft with valid signatures of the wallet over it, and the coins are
    /// as they truly are.
    pub fn valid(&self, draft: &Draft, truth: &[Coin], transaction: &Blob) -> bool {
        let signed: bitcoin::Transaction =
            bitcoin::consensus::deserialize(&transaction.0).expect("a transaction");
        let signatures: Vec<[u8; 64]> = signed
            .input
            .iter()
            .map(|i| i.witness.to_vec()[0].as_slice().try_into().expect("64 bytes"))
            .collect();
        let spent: Vec<_> = truth.iter().map(|c| (self.own_script(c.branch, c.index), c.amount)).collect();
        verify_spend(&draft.raw(), &spent, &signatures).is_ok()
    }

    /// Opens a connection to a co-signer with the TLS key of a name.
    ///
    /// # Errors
    /// What the other side says.
    pub fn connect(&self, as_whom: &str, to: &str) -> Result<Connection, WireError> {
        let pinned = self.world.state.cosigner(&name(to)).expect("a card").tls.0;
        wire::connect(self.signers.address(to), &tls_key(as_whom), pinned, Duration::from_secs(10))
    }

    /// Steals the keys of a co-signer.
    pub fn steal(&self, who: &str) -> Hand {
        Hand::new(who, self.signers.steal(who), self.world.state.genesis_hash())
    }

    /// Steals the share of wallet `main` from the disk of a co-signer.
    ///
    /// # Panics
    /// When there is none.
    pub fn steal_share(&self, who: &str) -> HeldShare {
        let (directory, of) = (self.signers.data(who), name(who));
        let read = |file: &str| std::fs::read(directory.join(file)).expect("a file of the co-signer");
        let unlock = LockedBytes::take(&mut secret(who)).expect("locked memory");
        let vault = Vault::unlock(&unlock, &read("keys.vault")).expect("the right secret");
        let genesis = self.world.state.genesis_hash();
        let context = VaultContext { kind: VaultKind::Share, genesis, cosigner: of.clone() };
        let file = read(&format!("shares/{}-0.share", self.ceremony));
        let plain = vault.open(&context, &file).expect("the share");
        let record = self.world.state.slots().get(&(self.ceremony, 0)).expect("a dealt account");
        let public = SharePublic {
            account: record.slot.account.clone(),
            threshold: u16::try_from(record.threshold).expect("a small threshold"),
            holders: record.holders.clone(),
            commitments: record.slot.commitments.clone(),
        };
        ShareSecret::open(plain.expose(), &public, &of).expect("the share")
    }

    /// The version of a destination in force.
    ///
    /// # Panics
    /// When there is none.
    pub fn version(&self, id: &str) -> Hash {
        self.world.state.document(Kind::Destination, id).expect("a destination").hash
    }

    /// Starts a co-signer again and links it.
    pub fn start(&mut self, who: &str, arguments: &[&str]) {
        self.signers.start(who, arguments);
        self.server.link(who, self.signers.address(who));
    }

    /// Kills a co-signer.
    pub fn kill(&mut self, who: &str) {
        self.signers.kill(who);
        self.server.unlink(who);
    }
}

/// An authorised payment.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The request.
    pub request: Hash,
    /// What it spends.
    pub coin: Coin,
    /// The transaction.
    pub draft: Draft,
    /// The authorisation.
    pub authorisation: Hash,
}

fn signing(v: &super::View, mark: usize, of: Hash) -> Option<Result<Blob, (String, Vec<Name>)>> {
    v.said[mark..].iter().find_map(|(_, message)| match message {
        FromCosigner::Signed { authorisation, transaction } if *authorisation == of => {
            Some(Ok(transaction.clone()))
        }
        FromCosigner::Refused { what, id, rule, culprits, .. } if what == "sign" && *id == of => {
            Some(Err((rule.clone(), culprits.clone())))
        }
        _ => None,
    })
}
