//! The commands against a server and co-signers that answer over the real wire. Both are small stand-ins
//! that hold the log of a fixture: what is tested is what the program believes and does. They lie on
//! demand.

mod common;
#[path = "online/destinations.rs"]
mod destinations;
#[path = "online/money.rs"]
mod money;
#[path = "online/office.rs"]
mod office;
#[path = "online/parts.rs"]
mod parts;
#[path = "online/policies.rs"]
mod policies;
#[path = "online/policy.rs"]
mod policy;
#[path = "online/recovery.rs"]
mod recovery;
#[path = "online/reshare.rs"]
mod reshare;

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use common::Host;
use custody::checkpoint::{SignedNote, cosign};
use custody::document::{Document, Person};
use custody::effects::{Branch, Decoder as _, Inclusion, OutPoint};
use custody::genesis::Genesis;
use custody::name::Label;
use custody::state::State;
use custody::statement::Envelope;
use custody::{Blob, Hash};
use ed25519_dalek::Signer as _;
use fixtures::{Coin, World, genesis, group, key, name};
use office::Office;
use serde_json::Value;
use wire::message::{
    Answer, FromCosigner, FromServer, Log, ReceiptState, ServerStatus, ToCosigner, ToServer,
};
use wire::{Listener, TlsKey};
use zeroize::Zeroizing;

/// Batches in one answer: few, so that the program has to ask again.
const PIECE: usize = 5;

/// How the server misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// Shows a head with one co-signature too few.
    NoQuorum,
    /// Shows the log as it was some batches ago.
    Old(usize),
    /// Shows blocks without work.
    Blocks,
}

struct Shared {
    world: World,
    labels: Vec<Label>,
    lie: Lie,
    /// What spent coins behind the log's back.
    spenders: Vec<Hash>,
    /// The books and the REST interface, once a test opened them.
    office: Option<Arc<Office>>,
}

/// A deployment in which `erin` of this host approves.
struct Deployment {
    host: Host,
    shared: Arc<Mutex<Shared>>,
    cosigners: Vec<(&'static str, String)>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn note(state: &State, who: &[&str]) -> String {
    let body = state.checkpoint().encode().unwrap();
    let sign = |w: &&str| cosign(&body, w, &key(&format!("{w}/cosign")), state.clock().time);
    let lines = who.iter().map(sign).collect();
    SignedNote { body, lines }.to_string()
}

impl Shared {
    /// The log as it was `back` batches ago.
    fn state(&self, back: usize) -> State {
        let mut world = World::new(self.world.state.genesis().clone());
        for (batch, _) in &self.world.log[..self.world.log.len() - back] {
            world.try_batch(batch).unwrap();
        }
        world.state
    }

    fn piece(&self, from: u64) -> Log {
        let back = if let Lie::Old(back) = self.lie { back } else { 0 };
        let signers: &[&str] = if self.lie == Lie::NoQuorum { &["s1", "s2"] } else { &["s1", "s2", "s3"] };
        let count = self.world.log.len() - back;
        let known = self.world.log[..count].iter().skip(usize::try_from(from).unwrap() - 1).take(PIECE);
        Log {
            from,
            batches: known.map(|(batch, _)| Blob(batch.bytes())).collect(),
            height: count as u64,
            note: note(&self.state(back), signers),
        }
    }

    fn submit(&mut self, envelope: &Blob) -> (Hash, ReceiptState) {
        let envelope = Envelope::parse(&envelope.0).unwrap();
        let (id, end) = (envelope.id(), envelope.unverified().unwrap().not_after);
        if self.world.state.consumed(&id, end) {
            return (id, ReceiptState::Consumed);
        }
        match self.world.submit(envelope) {
            Err(denied) if !denied.consumed => {
                (id, ReceiptState::Refused { rule: denied.rule.id().into(), why: denied.why })
            }
            _ => (id, ReceiptState::Pending),
        }
    }

    fn server(&mut self, message: ToServer) -> FromServer {
        match message {
            ToServer::Log { from } | ToServer::Wait { from, .. } => FromServer::Log(self.piece(from)),
            ToServer::Submit { envelope, labels } => {
                self.labels.extend(labels);
                let (id, state) = self.submit(&envelope);
                FromServer::Receipts { id, receipts: vec![(name("s1"), state)] }
            }
            ToServer::Labels { commitments } => {
                let known = self.labels.iter().filter(|l| commitments.contains(&l.commitment()));
                FromServer::Labels { labels: known.cloned().collect() }
            }
            ToServer::Status => FromServer::Status(ServerStatus {
                height: self.world.state.clock().height,
                cosigners: vec![(name("s1"), true)],
                pending: 0,
                chain_tip: Some(7),
                payments: Vec::new(),
                balances: vec![(name("main"), "1250000".into())],
                balances_at: Some(6),
                alarms: vec!["\u{1b}[2Jbeep".into()],
            }),
            ToServer::Confirmations { transactions, spent } => self.confirmations(&transactions, &spent),
            ToServer::Shares { .. } | ToServer::Bump { .. } => {
                FromServer::Error { code: "late".into(), why: "not here".into() }
            }
            ToServer::Api { .. } => {
                FromServer::Error { code: "no-books".into(), why: "this server keeps no books".into() }
            }
        }
    }

    fn confirmations(&self, transactions: &[Hash], spent: &[OutPoint]) -> FromServer {
        let (mut proofs, mut headers) = (Vec::new(), Blob::default());
        let (world, pinned) = (&self.world, self.world.state.header());
        for txid in transactions.iter().chain(&self.spenders).collect::<BTreeSet<_>>() {
            let proof = world.chain.prove(*txid, pinned.height);
            let effects = world.decoder.confirmed(&proof, &pinned).unwrap().effects;
            headers = proof.headers;
            if transactions.contains(txid) || effects.inputs.iter().any(|i| spent.contains(&i.outpoint)) {
                let (transaction, position, branch) = (proof.transaction, proof.position, proof.branch);
                proofs.push(Inclusion { transaction, position, branch, block: proof.block });
            }
        }
        if self.lie == Lie::Blocks {
            headers.0[40] ^= 1;
        }
        FromServer::Confirmations { proofs, headers }
    }

    fn cosigner(&mut self, who: &str, message: ToCosigner) -> FromCosigner {
        match message {
            ToCosigner::Submit { envelope } => match self.submit(&envelope) {
                (id, ReceiptState::Pending) => FromCosigner::Receipt { id, state: ReceiptState::Held },
                (id, state) => FromCosigner::Receipt { id, state },
            },
            ToCosigner::Challenge { nonce } => {
                let mut answer = Answer {
                    by: name(who),
                    nonce,
                    height: self.world.state.clock().height,
                    time: now(),
                    note: note(&self.world.state, &["s1", "s3", "w1"]),
                    reductions: Vec::new(),
                    signature: Blob::default(),
                };
                let bytes = answer.signed_bytes(&self.world.state.genesis_hash());
                answer.signature = Blob(key(who).sign(&bytes).to_vec());
                FromCosigner::Answer(answer)
            }
            _ => panic!("not for people"),
        }
    }
}

/// Listens with the TLS key of a name; one thread for each connection.
fn listen<M, R>(who: &str, answer: impl Fn(Hash, M) -> R + Clone + Send + 'static) -> String
where
    M: serde::de::DeserializeOwned,
    R: serde::Serialize,
{
    let tls = TlsKey::from_seed(Zeroizing::new(key(&format!("{who}/tls")).to_bytes())).unwrap();
    let listener =
        Listener::bind("127.0.0.1:0".parse().unwrap(), &tls, Arc::new(|_: &[u8; 32]| true)).unwrap();
    let address = listener.local_addr().to_string();
    thread::spawn(move || {
        while let Ok(mut connection) = listener.accept() {
            let answer = answer.clone();
            thread::spawn(move || {
                let peer = Hash(connection.peer());
                while let Ok(frame) = connection.recv() {
                    let message = wire::decode(&frame).unwrap();
                    if connection.send(&wire::encode(&answer(peer, message)).unwrap()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

impl Deployment {
    fn new() -> Self {
        Self::on(genesis())
    }

    fn on(mut genesis: Genesis) -> Self {
        let host = Host::new();
        host.ok("person new --id erin --name Erin --out erin.key");
        let public: Value =
            serde_json::from_slice(&fs::read(host.path("erin.key.pub.json")).unwrap()).unwrap();
        let erin: Person = serde_json::from_value(public["person"].clone()).unwrap();
        genesis.people.push(erin);
        let members = ["alice", "bob", "carol", "erin"];
        genesis.groups = ["approvers", "admins"].map(|g| group(g, &members)).to_vec();
        fs::write(host.path("genesis.json"), genesis.bytes()).unwrap();
        host.ok(&format!("genesis pin genesis.json --hash {}", genesis.hash()));

        let mut world = World::open(genesis);
        world.apply(now(), &[]);
        let labels = ["acme", "alice", "carol"].map(fixtures::label).to_vec();
        let (lie, spenders, office) = (Lie::None, Vec::new(), None);
        let shared = Arc::new(Mutex::new(Shared { world, labels, lie, spenders, office }));
        let held = Arc::clone(&shared);
        let server = listen("server", move |peer, message| {
            let office = held.lock().unwrap().office.clone();
            match (office, message) {
                (Some(office), ToServer::Api { method, path, idempotency_key, body }) => {
                    office.answer(peer, &method, &path, idempotency_key, body)
                }
                (_, message) => held.lock().unwrap().server(message),
            }
        });
        let cosigners = ["s1", "s2", "s3", "w1"].map(|who| {
            let held = Arc::clone(&shared);
            (who, listen(who, move |_, message| held.lock().unwrap().cosigner(who, message)))
        });
        host.ok(&format!("profile --server {server} --device erin.key"));
        Self { host, shared, cosigners: cosigners.to_vec() }
    }

    fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.shared.lock().unwrap().world)
    }

    fn lie(&self, lie: Lie) {
        self.shared.lock().unwrap().lie = lie;
    }

    /// A transaction that nobody asked for goes into a block.
    fn confirm(&self, raw: &[u8]) -> Hash {
        let mut shared = self.shared.lock().unwrap();
        let txid = shared.world.chain.confirm(raw);
        shared.spenders.push(txid);
        txid
    }

    fn know(&self, cosigners: &[&str]) {
        for (who, address) in self.cosigners.iter().filter(|(who, _)| cosigners.contains(who)) {
            self.host.ok(&format!("profile --cosigner {who}={address}"));
        }
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.host.ok(&format!("{line} --output json"))).unwrap()
    }
}

#[test]
fn ask_approve_and_look() {
    let deployment = Deployment::new();
    let host = &deployment.host;
    let status = host.ok("status");
    assert!(status.contains("co-signed   s1, s2, s3\n") && status.contains("wallet      main\n"), "{status}");
    assert!(status.contains("balance     main: 1,250,000 sat (0.01250000 BTC), at height 6\n"), "{status}");
    assert!(status.contains("! alarm     \\u{1b}[2Jbeep"), "the terminal does not hear it");

    // Somebody else's request, approved by this person.
    let id = deployment.world(|world| {
        let ask = world.request(&[("acme", 1_250_000)]);
        world.asked_as("carol", ask, &["alice"])
    });
    let listed = host.ok("requests");
    assert!(listed.contains(&id.to_string()) && listed.contains("approved by alice"), "{listed}");
    let short = &id.to_string()[..8];
    let shown = host.ok(&format!("show {short}"));
    assert!(shown.contains("    to          acme, a counterparty's: acme\n"), "{shown}");
    // Nobody says yes: nothing is signed.
    host.fails(&format!("approve {short}"), 2);
    let approved = |d: &Deployment| d.world(|w| w.state.requests().get(&id).unwrap().approvals.len());
    assert_eq!(approved(&deployment), 1);
    let sent = deployment.json(&format!("approve {short} --yes"));
    assert_eq!(sent["outcome"], "applied");
    assert_eq!(approved(&deployment), 2);
    assert!(host.ok(&format!("show {short}")).contains("  still needed  nothing\n"));
    host.fails("show 00000000", 2);
    host.fails("show 0", 2);

    // An own request: shown to the others by its label, and not approved by who asked.
    let own =
        deployment.json("pay --wallet main --to acme=0.001btc --fee-max 10000sat --note rent_May --yes");
    let own = own["id"].as_str().unwrap();
    let shown = host.ok(&format!("show {own}"));
    assert!(shown.contains("  note          rent May\n") && shown.contains("erin (Erin)"), "{shown}");
    assert!(shown.contains("! similar     same destination: "), "{shown}");
    assert!(host.fails(&format!("approve {own} --yes"), 3).contains("P3.standing"));
    assert!(host.fails("pay --wallet main --to acme=1sat --fee-max 1sat --yes", 3).contains("P19.request"));
    host.fails("pay --wallet main --to nobody=1btc --fee-max 1sat --yes", 2);
    assert!(host.fails(&format!("cancel {own} --fee-max 1sat --yes"), 3).contains("P23.renewal"));
    host.fails(&format!("bump {own} --rate 5"), 4);

    // Documents: proposed, approved by others, in force.
    let address = fixtures::regtest::address("bank");
    let add = format!("destination add --id bank --of counterparty --label The_Bank --address {address}");
    let proposed = deployment.json(&add);
    let proposal = Hash::from_hex(proposed["id"].as_str().unwrap()).unwrap();
    assert!(host.ok("proposals").contains("destination bank: open"));
    assert!(host.fails(&format!("approve {proposal} --yes"), 3).contains("P3.standing"));
    deployment.world(|w| ["alice", "bob"].map(|who| w.approve(who, proposal).unwrap()));
    assert!(host.ok("proposals --all").contains("destination bank: in force, or was"));
    let other = deployment.json("group set approvers --members alice,bob,erin");
    let other = other["id"].as_str().unwrap();
    host.ok(&format!("reject {other} --yes"));
    assert!(host.ok("proposals --all").contains("vetoed by erin"));
    fs::write(host.path("group.toml"), "type = 'group'\nid = 'quiet'\nmembers = ['alice']\n").unwrap();
    host.ok("propose group.toml");

    // Addresses.
    let given = deployment.json("address new --wallet main --client cat --count 2");
    let second = given[1]["address"].as_str().unwrap();
    assert_eq!((given[0]["index"].as_u64(), given[1]["index"].as_u64()), (Some(0), Some(1)));
    host.ok(&format!("address verify {second} --wallet main --client cat --index 1 --offline"));
    host.fails(&format!("address verify {second} --wallet main --client dog --index 1 --offline"), 5);
    let descriptors = host.ok("descriptor main");
    assert!(descriptors.lines().count() == 2 && descriptors.starts_with("tr("), "{descriptors}");

    // The whole log, exported and verified.
    host.ok("log export log --keys keys");
    let report: Value = deployment.json("log verify log --keys keys");
    let batches = deployment.world(|w| w.log.len());
    assert_eq!(report["batches"], batches);
    // What is kept suffices without the server.
    assert!(host.ok("requests --all --offline").contains(own));
    host.fails("status --server 127.0.0.1:9", 4);
}

/// An output as people write it.
fn shown(coin: &Coin) -> String {
    let mut txid = coin.outpoint.txid;
    txid.0.reverse();
    format!("{txid}:{}", coin.outpoint.vout)
}

#[test]
fn other_anchors_are_proposed_with_what_the_chain_shows() {
    let deployment = Deployment::new();
    let host = &deployment.host;
    let (request, coin, fresh) = deployment.world(|world| {
        let (coin, fresh) = (world.coin(1_000_000), world.coin(500_000));
        let ask = world.request(&[("acme", 400_000)]);
        let request = world.asked(ask);
        (request, coin, fresh)
    });
    let propose = format!("anchors propose {request} --new {}", shown(&fresh));
    let said = host.fails(&format!("{propose} --yes"), 3);
    assert!(said.contains("P22.other-anchors") && said.contains("nothing was authorised"), "{said}");
    let sweep = deployment.world(|world| {
        let draft = world.draft(&[request], &[coin], 1_000);
        world.pay(&[request], &draft).unwrap();
        world.draft(&[], &[coin], 5_000).raw()
    });
    let said = host.fails(&format!("{propose} --yes"), 3);
    assert!(said.contains("P22.other-anchors") && said.contains("may still confirm"), "{said}");

    // Somebody swept the anchor: it is found, and not believed before it is deep enough.
    let mut spent = deployment.confirm(&sweep);
    spent.0.reverse();
    deployment.world(|world| world.chain.mine_empty(4));
    let said = host.fails(&format!("{propose} --yes"), 3);
    assert!(said.contains("P22.conflict: a conflict has 5 confirmations, it needs 6"), "{said}");
    deployment.world(|world| world.chain.mine_empty(1));
    deployment.lie(Lie::Blocks);
    host.fails(&format!("{propose} --yes"), 5);
    deployment.lie(Lie::None);
    let foreign = deployment.world(|world| {
        let thief = world.decoder.address_script(&fixtures::regtest::address("thief")).unwrap();
        Coin { outpoint: world.chain.pay(thief, fresh.amount), ..fresh }
    });
    let theirs = format!("anchors propose {request} --new {} --yes", shown(&foreign));
    assert!(host.fails(&theirs, 2).contains("is not of this wallet"));
    let twice = format!("{propose},{} --yes", shown(&fresh));
    assert!(host.fails(&twice, 3).contains("P22.other-anchors: an anchor is named twice"));
    let unrelated = deployment.world(|world| {
        let other = world.coin(50_000);
        world.draft(&[], &[other], 1_000).raw()
    });
    let mut beside = deployment.confirm(&unrelated);
    beside.0.reverse();
    deployment.world(|world| world.chain.mine_empty(5));
    let said = host.fails(&format!("{propose} --conflict {beside} --yes"), 3);
    assert!(said.contains("P22.conflict: a conflict spends no input"), "{said}");
    let none = deployment.world(|w| w.state.proposals().iter().count());
    let shown_and_unasked = host.fails(&propose, 2);
    assert!(shown_and_unasked.contains("never confirms: needs "), "{shown_and_unasked}");
    assert!(shown_and_unasked.contains("not confirmed: nothing was signed"), "{shown_and_unasked}");
    assert_eq!(deployment.world(|w| w.state.proposals().iter().count()), none);

    // Searched for or named, it is the same document.
    let id = deployment.json(&format!("{propose} --yes"))["id"].as_str().unwrap().to_owned();
    let named = deployment.json(&format!("{propose} --conflict {spent} --yes"));
    let named = Hash::from_hex(named["id"].as_str().unwrap()).unwrap();
    let id = Hash::from_hex(&id).unwrap();
    deployment.world(|world| {
        let document = |id: &Hash| world.state.proposals().get(id).unwrap().document.clone();
        assert_eq!(document(&id), document(&named));
    });
    let view = host.ok(&format!("show {}", &id.to_string()[..8]));
    assert!(view.contains(&format!("  confirmed is  {spent}\n")), "{view}");
    assert!(view.contains(&format!("  old anchor    {}, released\n", shown(&coin))), "{view}");
    assert!(view.contains(&format!("  new anchor    {}\n", shown(&fresh))), "{view}");
    deployment.world(|world| {
        for who in ["alice", "bob"] {
            world.approve(who, id).unwrap();
        }
        assert_eq!(world.state.lineages().get(&request).unwrap().anchors, [fresh.outpoint]);
        let bump = world.draft(&[request], &[fresh], 2_000);
        world.pay(&[request], &bump).unwrap();
    });
}

/// What the log knows between a payment and the conflict is in the document without being named.
#[test]
fn other_anchors_name_the_ancestors_that_the_log_knows() {
    let deployment = Deployment::new();
    let host = &deployment.host;
    let (parent, request, fresh, bump) = deployment.world(|world| {
        let (root, anchor, fresh) = (world.coin(300_000), world.coin(600_000), world.coin(500_000));
        let ask = world.request(&[("acme", 100_000)]);
        let first = world.asked(ask);
        let parent = world.draft(&[first], &[root], 1_000);
        world.pay(&[first], &parent).unwrap();
        let txid = world.decoder.decode(&parent.raw()).unwrap().txid;
        let outpoint = OutPoint { txid, vout: 1 };
        let change = Coin { outpoint, amount: parent.outputs[1].1, branch: Branch::Change, index: 0 };
        let ask = world.request(&[("acme", 400_000)]);
        let request = world.asked(ask);
        let hanging = world.draft(&[request], &[anchor, change], 1_000);
        world.pay(&[request], &hanging).unwrap();
        let bump = world.draft(&[first], &[root], 5_000);
        world.pay(&[first], &bump).unwrap();
        (parent, request, fresh, bump)
    });
    deployment.confirm(&bump.raw());
    deployment.world(|world| world.chain.mine_empty(5));
    let sent = deployment.json(&format!("anchors propose {request} --new {} --yes", shown(&fresh)));
    let id = Hash::from_hex(sent["id"].as_str().unwrap()).unwrap();
    let document = deployment.world(|w| w.state.proposals().get(&id).unwrap().document.clone());
    let Document::Anchors(other) = document else { panic!("{document:?}") };
    assert_eq!(other.ancestors, [Blob(parent.raw())]);
    assert!(host.ok(&format!("show {id}")).contains("which can never be, because of"));
}

#[test]
fn a_lying_server_is_not_believed() {
    let deployment = Deployment::new();
    let host = &deployment.host;
    deployment.lie(Lie::NoQuorum);
    assert!(host.fails("status", 5).contains("not final"));
    deployment.lie(Lie::None);
    host.ok("status");
    deployment.lie(Lie::Old(2));
    assert!(host.fails("status", 5).contains("rolled back"));
    // Not even when the kept log is lost: the head that was seen is remembered.
    fs::remove_file(host.path("home/log")).unwrap();
    assert!(host.fails("status", 5).contains("rolled back"));
    host.fails("status --offline", 5);
    deployment.lie(Lie::None);
    host.ok("status");
    host.ok("status --offline");
    // Another history under a quorum's keys, longer than what was seen.
    deployment.world(|world| {
        let mut fork = World::new(world.state.genesis().clone());
        let count = world.log.len() - 1;
        for (batch, _) in &world.log[..count] {
            fork.try_batch(batch).unwrap();
        }
        fork.apply(now() + 1, &[]);
        fork.apply(now() + 2, &[]);
        *world = fork;
    });
    let said = host.fails("status", 5);
    fs::remove_file(host.path("home/log")).unwrap();
    let again = host.fails("status", 5);
    assert!(again.contains("forked"), "{said}{again}");
    // Somebody else answers at the server's address.
    let other = &deployment.cosigners[0].1;
    assert!(host.fails(&format!("status --server {other}"), 5).contains("holds the key"));
}

#[test]
fn frozen_is_said_only_when_it_is_true() {
    let deployment = Deployment::new();
    let host = &deployment.host;
    host.ok("status");
    // Through nobody.
    let said = host.fails("freeze --yes --offline --timeout 0", 6);
    assert!(said.contains("sent        ") && said.contains("not frozen yet: it takes 3 signers"), "{said}");
    // Two signers and the witness: one of the two may be hostile.
    deployment.know(&["s1", "s2", "w1"]);
    let said = host.fails("freeze --yes --offline --timeout 0", 6);
    assert!(said.contains("held by     s1, s2, w1\n"), "{said}");
    deployment.know(&["s3"]);
    let said = host.ok("freeze --yes --offline --timeout 0");
    assert!(said.starts_with("frozen      ") && said.contains("held by     s1, s2, s3, w1\n"), "{said}");

    let status = host.ok("status");
    assert!(status.contains("! FROZEN    by erin at "), "{status}");
    let freezes: Vec<Hash> = deployment.world(|w| w.state.freezes().iter().map(|(id, _)| *id).collect());
    let list: Vec<String> = freezes.iter().map(|f| f.to_string()).collect();
    let proposed = deployment.json(&format!("resume {}", list.join(" ")));
    let id = proposed["id"].as_str().unwrap();
    host.ok(&format!("approve {id} --yes"));
    deployment.world(|w| w.approve("alice", Hash::from_hex(id).unwrap()).unwrap());
    assert!(host.ok("status").contains("freezes     none\n"));
}

/// A drill is a freeze, of a part here: what it took each co-signer stands in the register, signed (DACS OPS-18).
#[test]
fn a_freeze_is_rehearsed() {
    let deployment = Deployment::on(fixtures::newest());
    let host = &deployment.host;
    host.ok("status");
    deployment.know(&["s1", "s2"]);
    host.fails("freeze --person dave --drill --yes --offline --timeout 0", 6);
    assert!(host.fails("recovery status", 7).contains("OPS-18  failed   freeze rehearsed"));
    deployment.know(&["s3", "w1"]);
    let said = host.ok("freeze --person dave --drill --yes --offline --timeout 0");
    assert!(said.starts_with("frozen      ") && said.contains("covers      person dave\n"), "{said}");
    assert!(host.ok("recovery status").contains("OPS-18  ok       freeze rehearsed"));
    let file = fs::read_to_string(host.path("home/recovery.jsonl")).unwrap();
    let last: Value = serde_json::from_str(file.lines().last().unwrap()).unwrap();
    let drill = &last["entry"]["what"]["freeze-drill"];
    assert_eq!((&drill["frozen"], &drill["scope"]["person"]), (&true.into(), &"dave".into()), "{drill}");
    let took = drill["acknowledged_ms"].as_object().unwrap();
    assert_eq!(took.keys().collect::<Vec<_>>(), ["s1", "s2", "s3", "w1"]);
}

#[test]
fn a_final_head_that_holds_the_freeze_counts_for_its_signers() {
    let deployment = Deployment::new();
    // Through the server alone: its word for others counts nothing, the head that they co-signed does.
    let said = deployment.host.ok("freeze --yes --timeout 0");
    assert!(said.contains("held by     s1, s2, s3\n"), "{said}");
}

#[test]
fn what_may_still_confirm_is_listed() {
    let deployment = Deployment::new();
    let paid = deployment.world(|world| {
        let coin = world.coin(10_000_000);
        let ask = world.request(&[("acme", 1_250_000)]);
        let request = world.asked_as("carol", ask, &["alice", "bob"]);
        let draft = world.draft(&[request], &[coin], 1_000);
        world.pay(&[request], &draft).unwrap()
    });
    let said = deployment.host.ok("freeze --yes --timeout 0");
    assert!(said.contains("may still confirm: ") && said.contains(&paid.to_string()), "{said}");
}

#[test]
fn a_withheld_log_shows_when_the_co_signers_are_asked() {
    let deployment = Deployment::new();
    let host = &deployment.host;
    deployment.know(&["s1", "s2"]);
    let said = host.fails("watch --once", 7);
    assert!(said.contains("only 2 co-signers answered, 3 are needed"), "{said}");
    deployment.know(&["s3", "w1"]);
    let said = host.ok("watch --once");
    assert!(said.contains("4 of 3 co-signers answered"), "{said}");
    deployment.world(|world| world.tick(1));
    deployment.lie(Lie::Old(1));
    let said = host.fails("watch --once", 7);
    assert!(said.contains("s2 has a newer final head") && said.contains("withholds"), "{said}");
}

#[test]
fn the_own_key_is_revoked_for_ever() {
    let deployment = Deployment::new();
    deployment.host.ok("revoke --yes");
    let revoked = deployment.world(|w| {
        let erin = w.state.person(&name("erin")).unwrap().keys[0].sign;
        w.state.key(&custody::statement::key_id(&erin)).unwrap().revoked_at
    });
    assert!(revoked.is_some());
    let add = "pay --wallet main --to acme=1btc --fee-max 1sat --yes";
    assert!(deployment.host.fails(add, 3).contains("P1.signature"));
}
