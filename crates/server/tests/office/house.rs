//! A deployment around a real `keyward-server` process: people's programs, a node, and at the other ends
//! of its links four co-signers that this test plays with their keys. They judge by the production rules
//! and do what co-signers do, but for agreeing: one world is all their logs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use custody::batch::Batch;
use custody::checkpoint::{SignedNote, cosign};
use custody::effects::{Decoder as _, Sats};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::state::State;
use custody::statement::{Body, Envelope};
use custody::{Blob, Hash};
use fixtures::{Account, World, key, name};
use tempfile::TempDir;
use wire::message::{
    FromCosigner, FromServer, Log, PaymentStatus, ReceiptState, ServerStatus, ToCosigner, ToServer,
};
use wire::{Connection, Listener, TlsKey};

use crate::node::Node;

pub(crate) const COSIGNERS: [&str; 4] = ["s1", "s2", "s3", "w1"];

/// Nothing here takes longer, or it will never come.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn tls(of: &str) -> TlsKey {
    TlsKey::from_seed(key(&format!("{of}/tls")).to_bytes().into()).unwrap()
}

/// A genesis that begins now.
pub(crate) fn genesis() -> Genesis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Genesis { created_at: now, ..fixtures::genesis() }
}

/// What the co-signers share.
pub(crate) struct Brain {
    pub(crate) world: World,
    /// Co-signers that sign nothing.
    pub(crate) silent: BTreeSet<String>,
    /// Co-signers that take no statements in.
    pub(crate) deaf: bool,
    /// What came in, by co-signer.
    pub(crate) heard: Vec<(String, ToCosigner)>,
    links: Vec<(String, Sender<FromCosigner>)>,
}

/// A piece of the log of a world, under a head that three co-signed.
pub(crate) fn piece(world: &World, from: u64) -> Log {
    let skip = usize::try_from(from - 1).unwrap();
    let batches = world.log.iter().skip(skip).map(|(batch, _): &(Batch, _)| Blob(batch.bytes())).collect();
    let body = world.state.checkpoint().encode().unwrap();
    let line = |who: &str| cosign(&body, who, &key(&format!("{who}/cosign")), world.time);
    let note = SignedNote { lines: COSIGNERS[1..].iter().map(|w| line(w)).collect(), body: body.clone() };
    Log { from, batches, height: world.state.clock().height, note: note.to_string() }
}

impl Brain {
    pub(crate) fn say(&self, from: &str, message: &FromCosigner) {
        for (_, link) in self.links.iter().filter(|(name, _)| name == from) {
            let _ = link.send(message.clone());
        }
    }

    /// What a co-signer does with a message.
    fn take(&mut self, who: &str, message: ToCosigner) {
        self.heard.push((who.to_owned(), message.clone()));
        match message {
            ToCosigner::Log { from } => self.say(who, &FromCosigner::Log(piece(&self.world, from))),
            ToCosigner::Submit { envelope } if !self.deaf => self.submit(who, &envelope),
            ToCosigner::Share { ceremony, slot, .. } => {
                self.say(who, &FromCosigner::ShareKept { ceremony, slot })
            }
            ToCosigner::Sign { authorisation, holders, .. } => {
                let silent = holders.iter().any(|h| self.silent.contains(h.as_str()));
                if holders[0].as_str() == who && !silent {
                    let transaction = Blob(self.sign(&authorisation));
                    self.say(who, &FromCosigner::Signed { authorisation, transaction });
                }
            }
            ToCosigner::Prove { ceremony, slot, holders, .. } if holders[0].as_str() == who => {
                let holders: Vec<&str> = holders.iter().map(Name::as_str).collect();
                let body = self.world.activate(ceremony, slot, &holders, &Account::new(slot));
                let envelope = Blob(self.world.sign(who, body).bytes());
                self.say(who, &FromCosigner::Statement { envelope });
            }
            _ => {}
        }
    }

    fn submit(&mut self, who: &str, bytes: &Blob) {
        let envelope = Envelope::parse(&bytes.0).unwrap();
        let id = envelope.id();
        let end = envelope.unverified().unwrap().not_after;
        let known = self.world.state.consumed(&id, end);
        let state = match self.world.state.admit(&envelope, self.world.time, &self.world.decoder) {
            _ if known => ReceiptState::Consumed,
            Err(refusal) => ReceiptState::Refused { rule: refusal.rule.id().into(), why: refusal.why },
            Ok(_) => ReceiptState::Pending,
        };
        self.say(who, &FromCosigner::Receipt { id, state: state.clone() });
        if state == ReceiptState::Pending {
            let from = self.world.state.clock().height + 1;
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            self.world.apply(time, &[envelope]);
            let piece = FromCosigner::Log(piece(&self.world, from));
            COSIGNERS.iter().for_each(|who| self.say(who, &piece));
        }
    }

    /// The transaction with the signatures of the whole key.
    fn sign(&self, authorisation: &Hash) -> Vec<u8> {
        let found = self.world.state.authorisations().get(authorisation).unwrap();
        let account = Account::new(0);
        let inputs = &found.transaction.inputs;
        let spent: Vec<(Vec<u8>, Sats)> = inputs
            .iter()
            .map(|i| (self.world.decoder.own_script(&account.key(), i.branch, i.index).unwrap(), i.amount))
            .collect();
        let raw = &found.transaction.raw.0;
        let digests = chain::digest::digests(raw, &spent).unwrap();
        let sign = |(digest, i): (&chain::Digest, &custody::effects::TypedInput)| {
            account.sign_child(i.branch, i.index, digest.as_bytes())
        };
        let signatures: Vec<[u8; 64]> = digests.iter().zip(inputs).map(sign).collect();
        chain::finish::verify_spend(raw, &spent, &signatures).unwrap();
        chain::finish::attach(raw, &signatures).unwrap()
    }
}

fn cosigner(who: &'static str, brain: &Arc<Mutex<Brain>>) -> SocketAddr {
    let server = tls("server").public();
    let listener =
        Listener::bind("127.0.0.1:0".parse().unwrap(), &tls(who), Arc::new(move |key| *key == server))
            .unwrap();
    let address = listener.local_addr();
    let brain = Arc::clone(brain);
    thread::spawn(move || {
        while let Ok(connection) = listener.accept() {
            let (mut reader, mut writer) = connection.split();
            let (link, waiting) = channel::<FromCosigner>();
            let mut inside = brain.lock().unwrap();
            inside.links.retain(|(name, _)| name != who);
            inside.links.push((who.to_owned(), link));
            drop(inside);
            thread::spawn(move || {
                while let Ok(message) = waiting.recv() {
                    if writer.send(&wire::encode(&message).unwrap()).is_err() {
                        break;
                    }
                }
            });
            let brain = Arc::clone(&brain);
            thread::spawn(move || {
                while let Ok(bytes) = reader.recv() {
                    brain.lock().unwrap().take(who, wire::decode(&bytes).unwrap());
                }
            });
        }
    });
    address
}

/// The deployment.
pub(crate) struct House {
    pub(crate) brain: Arc<Mutex<Brain>>,
    pub(crate) node: Node,
    directory: TempDir,
    cosigners: Vec<(&'static str, SocketAddr)>,
    server: Option<Child>,
    address: Option<SocketAddr>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill();
    }
}

impl House {
    pub(crate) fn start(world: World) -> Self {
        let (silent, heard, links) = (BTreeSet::new(), Vec::new(), Vec::new());
        let genesis = world.state.genesis().clone();
        let brain = Arc::new(Mutex::new(Brain { world, silent, deaf: false, heard, links }));
        let directory = TempDir::with_prefix("keyward-server-").unwrap();
        let hex = |of: &str| hex::encode(key(of).to_bytes());
        let keys = format!(r#"{{"id":"server","sign":"{}","tls":"{}"}}"#, hex("server"), hex("server/tls"));
        std::fs::write(directory.path().join("server-keys.json"), keys).unwrap();
        std::fs::write(directory.path().join("genesis.json"), genesis.bytes()).unwrap();
        std::fs::write(directory.path().join(".cookie"), "__cookie__:test").unwrap();
        let cosigners = COSIGNERS.map(|who| (who, cosigner(who, &brain))).to_vec();
        let node = Node::start();
        let mut house = Self { brain, node, directory, cosigners, server: None, address: None };
        house.run();
        house
    }

    /// Starts the process on its directory.
    pub(crate) fn run(&mut self) {
        let path = |file: &str| self.directory.path().join(file);
        let questions = |who: &str| {
            let brain = self.brain.lock().unwrap();
            brain.heard.iter().filter(|(by, m)| by == who && matches!(m, ToCosigner::Log { .. })).count()
        };
        let before = COSIGNERS.map(|who| (who, questions(who)));
        let _ = std::fs::remove_file(path("ready"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward-server"));
        command.arg("run").arg("--dir").arg(self.directory.path()).arg("--genesis").arg(path("genesis.json"));
        let hash = self.brain.lock().unwrap().world.state.genesis_hash().to_string();
        command.args(["--genesis-hash", &hash, "--listen", "127.0.0.1:0"]);
        command.args(["--node", &self.node.address.to_string()]).arg("--node-cookie").arg(path(".cookie"));
        // The post office alone: it keeps no books.
        command.args(["--books", "none"]).arg("--ready-file").arg(path("ready"));
        for (who, address) in &self.cosigners {
            command.args(["--cosigner", &format!("{who}={address}")]);
        }
        self.server = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        self.address = Some(wait("the server", || std::fs::read_to_string(path("ready")).ok()?.parse().ok()));
        let mut client = self.client("alice");
        wait("all links", || client.status().cosigners.iter().all(|(_, up)| *up).then_some(()));
        // The other side must have taken the link up too: then it has heard the first question.
        wait("first questions", || before.iter().all(|(who, n)| questions(who) > *n).then_some(()));
    }

    /// Ends the process without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    pub(crate) fn client(&self, who: &str) -> Client {
        let server = tls("server").public();
        Client(wire::connect(self.address(), &tls(who), server, Duration::from_secs(5)).unwrap())
    }

    pub(crate) fn sign(&self, who: &str, body: Body) -> Envelope {
        self.brain.lock().unwrap().world.sign(who, body)
    }

    pub(crate) fn state(&self) -> State {
        self.brain.lock().unwrap().world.state.clone()
    }
}

/// Waits until something is there.
pub(crate) fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A person's program.
pub(crate) struct Client(Connection);

impl Client {
    pub(crate) fn ask(&mut self, message: &ToServer) -> FromServer {
        self.0.send(&wire::encode(message).unwrap()).unwrap();
        wire::decode(&self.0.recv().unwrap()).unwrap()
    }

    pub(crate) fn status(&mut self) -> ServerStatus {
        match self.ask(&ToServer::Status) {
            FromServer::Status(status) => status,
            other => panic!("no status: {other:?}"),
        }
    }

    pub(crate) fn submit(&mut self, envelope: &Envelope) -> Vec<(Name, ReceiptState)> {
        let envelope = Blob(envelope.bytes());
        match self.ask(&ToServer::Submit { envelope, labels: Vec::new() }) {
            FromServer::Receipts { receipts, .. } => receipts,
            other => panic!("no receipts: {other:?}"),
        }
    }

    /// The payment that is in a state.
    pub(crate) fn payment(&mut self, state: &str) -> PaymentStatus {
        let mut last = None;
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            let status = self.status();
            if let Some(found) = status.payments.iter().find(|p| p.state == state) {
                return found.clone();
            }
            last = Some(status);
            thread::sleep(Duration::from_millis(20));
        }
        panic!("no payment is {state}: {last:?}")
    }
}

/// A request for a payment to acme, approved by alice and bob.
pub(crate) fn ask_for(house: &House, client: &mut Client, amount: u64) -> Hash {
    let request = house.brain.lock().unwrap().world.request(&[("acme", amount)]);
    let request = house.sign("carol", Body::Request(request));
    client.submit(&request);
    approve(house, client, request.id());
    request.id()
}

pub(crate) fn approve(house: &House, client: &mut Client, target: Hash) {
    let decides = house.state().policy().unwrap().1;
    for who in ["alice", "bob"] {
        let approve = house.sign(who, Body::Approve(custody::statement::Approve { target, decides }));
        client.submit(&approve);
    }
}

/// The names of the co-signers, as they stand in receipts.
pub(crate) fn everybody() -> Vec<Name> {
    COSIGNERS.map(name).to_vec()
}
