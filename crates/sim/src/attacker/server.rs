//! The server in the attacker's hands: one thread for each link to a co-signer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use chain::BitcoinDecoder;
use custody::batch::Batch;
use custody::checkpoint::FinalHead;
use custody::genesis::Genesis;
use custody::state::State;
use custody::statement::Envelope;
use custody::{Blob, Hash};
use ed25519_dalek::VerifyingKey;
use fixtures::key;
use serde_json::Value;
use wire::message::{FromCosigner, Log, ReceiptState, ToCosigner};
use wire::{Closer, Connection, Reader, TlsKey, Writer};

/// Longest wait for something that must happen, on a machine that does much else besides.
const PATIENCE: Duration = Duration::from_secs(20);

/// A co-signer that does not follow for so long is one that cannot, in this scene.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Bytes from one co-signer to another, in the server's hands.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Who gave it to the server.
    pub from: String,
    /// Whom the server will bring it to.
    pub to: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Letter {
    /// What it carries: the one key of its JSON, such as `agreement` or `frame`.
    pub fn kind(&self) -> String {
        let value: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        value.as_object().and_then(|o| o.keys().next().cloned()).unwrap_or_default()
    }

    /// Changes its JSON.
    ///
    /// # Panics
    /// For a letter that is not JSON.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut value = serde_json::from_slice(&self.bytes).expect("a letter");
        change(&mut value);
        self.bytes = serde_json::to_vec(&value).expect("a letter");
        self
    }
}

/// What happens to a letter: any letters may come out of it, or none.
type Post = Box<dyn FnMut(Letter) -> Vec<Letter> + Send>;

/// What the server has been told.
#[derive(Debug)]
pub struct View {
    /// The state that the final log makes.
    pub state: State,
    /// The final batches, from height 1.
    pub batches: Vec<Blob>,
    /// Everything that co-signers said to the server itself.
    pub said: Vec<(String, FromCosigner)>,
    /// The last final height that each linked co-signer spoke of.
    pub heights: BTreeMap<String, u64>,
    /// Signs of two histories: never any.
    pub forks: Vec<String>,
    keys: Vec<(String, VerifyingKey)>,
    decoder: BitcoinDecoder,
}

impl View {
    /// Takes a piece of the log as an auditor does: replays every batch, and checks the head at the end.
    fn take(&mut self, from: &str, piece: &Log) {
        let seen = self.heights.entry(from.to_owned()).or_default();
        *seen = piece.height.max(*seen);
        for (height, batch) in (piece.from..).zip(&piece.batches) {
            let place = usize::try_from(height - 1).expect("a small height");
            match self.batches.get(place) {
                Some(known) if known == batch => {}
                Some(_) => self.forks.push(format!("{from} has another batch {height}")),
                None if place == self.batches.len() => {
                    let parsed = Batch::parse(&batch.0).expect("a final batch");
                    self.state.apply(&parsed, &self.decoder).expect("a final batch applies");
                    self.batches.push(batch.clone());
                }
                None => return,
            }
        }
        if piece.height != 0 && piece.height == self.state.clock().height {
            let (origin, quorum) = (self.state.genesis().log_origin(), self.state.numbers().quorum);
            let head = FinalHead::check(&piece.note, &origin, &self.keys, quorum).expect("a final head");
            if *head.checkpoint() != self.state.checkpoint() {
                self.forks.push(format!("{from} has another head {}", piece.height));
            }
        }
    }

    /// What became of a submitted statement: `applied`, or the rule that rejected it in the log.
    pub fn outcome(&self, envelope: &Envelope) -> Option<String> {
        let statement = envelope.unverified().ok()?;
        self.state.outcome(&envelope.id(), statement.not_after).map(str::to_owned)
    }
}

#[derive(Debug)]
struct Link {
    number: u64,
    writer: Arc<Mutex<Writer>>,
    closer: Closer,
}

struct Shared {
    view: Mutex<View>,
    news: Condvar,
    post: Mutex<Post>,
    links: Mutex<BTreeMap<String, Link>>,
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no thread panicked with the view")
    }

    fn tell(&self, to: &str, message: &ToCosigner) {
        let bytes = wire::encode(message).expect("a message");
        self.throw(to, &bytes);
    }

    /// Sends bytes as they are; nobody minds when the link is down.
    fn throw(&self, to: &str, bytes: &[u8]) {
        let writer = self.links.lock().expect("links").get(to).map(|link| Arc::clone(&link.writer));
        if let Some(writer) = writer {
            let _ = writer.lock().expect("a writer").send(bytes);
        }
    }

    fn linked(&self) -> Vec<String> {
        self.links.lock().expect("links").keys().cloned().collect()
    }

    fn deliver(&self, letter: &Letter) {
        let from = crate::deployment::name(&letter.from);
        self.tell(&letter.to, &ToCosigner::Peer { from, bytes: Blob(letter.bytes.clone()) });
    }

    fn submit(&self, envelope: &Envelope) {
        for to in self.linked() {
            self.tell(&to, &ToCosigner::Submit { envelope: Blob(envelope.bytes()) });
        }
    }

    fn receive(&self, from: &str, message: FromCosigner) {
        match message {
            FromCosigner::Peer { to, bytes } => {
                let all = || crate::deployment::COSIGNERS.iter().map(|c| (*c).to_owned()).collect();
                let to: Vec<String> = to.map_or_else(all, |one| vec![one.to_string()]);
                for to in to.into_iter().filter(|to| to != from) {
                    let letter = Letter { from: from.to_owned(), to, bytes: bytes.0.clone() };
                    let letters = (self.post.lock().expect("the post"))(letter);
                    letters.iter().for_each(|letter| self.deliver(letter));
                }
            }
            FromCosigner::Log(piece) => self.view().take(from, &piece),
            FromCosigner::Statement { envelope } => {
                self.submit(&Envelope::parse(&envelope.0).expect("a co-signer's statement"));
            }
            other => self.view().said.push((from.to_owned(), other)),
        }
        self.news.notify_all();
    }
}

/// The server.
pub struct Server {
    shared: Arc<Shared>,
    links: u64,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("links", &self.shared.linked()).finish_non_exhaustive()
    }
}

/// The TLS key of a name of `fixtures`.
///
/// # Panics
/// Never for an Ed25519 seed.
pub(super) fn tls_key(of: &str) -> TlsKey {
    TlsKey::from_seed(key(&format!("{of}/tls")).to_bytes().into()).expect("a key")
}

impl Server {
    /// A server without links.
    ///
    /// # Panics
    /// For an unsound genesis.
    pub fn new(genesis: Genesis) -> Self {
        let decoder = BitcoinDecoder::new(&genesis.network).expect("a known network");
        let vote = |c: &custody::document::CosignerCard| {
            (c.name.to_string(), VerifyingKey::from_bytes(&c.cosign.0).expect("a key"))
        };
        let view = View {
            keys: genesis.cosigners.iter().map(vote).collect(),
            state: State::new(genesis).expect("a sound genesis"),
            batches: Vec::new(),
            said: Vec::new(),
            heights: BTreeMap::new(),
            forks: Vec::new(),
            decoder,
        };
        let shared = Shared {
            view: Mutex::new(view),
            news: Condvar::new(),
            post: Mutex::new(Box::new(|letter| vec![letter])),
            links: Mutex::default(),
        };
        Self { shared: Arc::new(shared), links: 0 }
    }

    /// Opens the link to a co-signer, instead of the one that there was.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn link(&mut self, who: &str, address: SocketAddr) {
        self.unlink(who);
        let pinned = self.view(|v| v.state.cosigner(&crate::deployment::name(who)).expect("a card").tls.0);
        let connection = wire::connect(address, &tls_key("server"), pinned, CONNECT_LIMIT);
        let connection: Connection = connection.unwrap_or_else(|e| panic!("no link to {who}: {e}"));
        let closer = connection.closer();
        let (reader, writer) = connection.split();
        self.links += 1;
        let link = Link { number: self.links, writer: Arc::new(Mutex::new(writer)), closer };
        self.shared.links.lock().expect("links").insert(who.to_owned(), link);
        let (shared, who, number) = (Arc::clone(&self.shared), who.to_owned(), self.links);
        let from = self.view(|v| v.state.clock().height + 1);
        self.tell(&who, &ToCosigner::Log { from });
        thread::spawn(move || read(&shared, &who, number, reader));
    }

    /// Closes a link.
    ///
    /// # Panics
    /// When a thread of the server panicked.
    pub fn unlink(&mut self, who: &str) {
        if let Some(link) = self.shared.links.lock().expect("links").remove(who) {
            link.closer.close();
        }
        self.shared.view().heights.remove(who);
    }

    /// From here on `post` decides what becomes of every letter.
    ///
    /// # Panics
    /// When a thread of the server panicked.
    pub fn post(&self, post: impl FnMut(Letter) -> Vec<Letter> + Send + 'static) {
        *self.shared.post.lock().expect("the post") = Box::new(post);
    }

    /// From here on letters arrive as they were sent.
    pub fn honest(&self) {
        self.post(|letter| vec![letter]);
    }

    /// From here on letters of these kinds are lost.
    pub fn lose(&self, kinds: &[&str]) {
        let kinds: BTreeSet<String> = kinds.iter().map(|k| (*k).to_owned()).collect();
        self.post(move |letter| if kinds.contains(&letter.kind()) { Vec::new() } else { vec![letter] });
    }

    /// From here on letters of a kind are kept back. Returns where they gather.
    ///
    /// # Panics
    /// When a thread of the server panicked.
    pub fn keep(&self, kind: &str) -> Arc<Mutex<Vec<Letter>>> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (into, kind) = (Arc::clone(&kept), kind.to_owned());
        self.post(move |letter| {
            if letter.kind() != kind {
                return vec![letter];
            }
            into.lock().expect("kept letters").push(letter);
            Vec::new()
        });
        kept
    }

    /// Brings a letter, whoever wrote it.
    pub fn deliver(&self, letter: &Letter) {
        self.shared.deliver(letter);
    }

    /// Sends an order to a co-signer.
    pub fn tell(&self, to: &str, message: &ToCosigner) {
        self.shared.tell(to, message);
    }

    /// Sends any bytes as a frame.
    pub fn throw(&self, to: &str, bytes: &[u8]) {
        self.shared.throw(to, bytes);
    }

    /// Submits a statement to every co-signer.
    pub fn submit(&self, envelope: &Envelope) {
        self.shared.submit(envelope);
    }

    /// The co-signers that there is a link to.
    pub fn linked(&self) -> Vec<String> {
        self.shared.linked()
    }

    /// Looks at what the server was told.
    pub fn view<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.shared.view())
    }

    /// How much was said so far: what comes later stands behind this place in [`View::said`].
    pub fn mark(&self) -> usize {
        self.view(|v| v.said.len())
    }

    /// Waits until `found` finds something; nothing when the time is over first.
    ///
    /// # Panics
    /// When there are two histories.
    pub fn within<T>(&self, limit: Duration, mut found: impl FnMut(&View) -> Option<T>) -> Option<T> {
        let until = Instant::now() + limit;
        let mut view = self.shared.view();
        loop {
            assert_eq!(view.forks, Vec::<String>::new(), "two histories");
            if let Some(found) = found(&view) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now())?;
            view = self.shared.news.wait_timeout(view, left).expect("no thread panicked").0;
        }
    }

    /// Waits until `found` finds something.
    ///
    /// # Panics
    /// When it does not find it in time: says what was said last.
    pub fn wait<T>(&self, what: &str, found: impl FnMut(&View) -> Option<T>) -> T {
        self.within(PATIENCE, found).unwrap_or_else(|| {
            let tail =
                self.view(|v| v.said.iter().rev().take(6).map(|s| format!("{s:?}")).collect::<Vec<_>>());
            panic!("waited in vain for {what}; links {:?}; said last: {tail:#?}", self.linked())
        })
    }

    /// Waits until every linked co-signer has the newest final head, or a moment if one does not get it.
    pub fn settle(&self) {
        let linked = self.linked();
        self.within(SETTLE_LIMIT, |v| {
            let newest = v.state.clock().height;
            linked.iter().all(|who| v.heights.get(who).is_some_and(|h| *h >= newest)).then_some(())
        });
    }

    /// Submits a statement to one co-signer and returns its receipt.
    pub fn ask(&self, who: &str, envelope: &[u8]) -> ReceiptState {
        let mark = self.mark();
        self.tell(who, &ToCosigner::Submit { envelope: Blob(envelope.to_vec()) });
        let id = Envelope::parse(envelope).map_or_else(|_| Hash::sha256(envelope), |e| e.id());
        self.wait("a receipt", |v| {
            v.said[mark..].iter().find_map(|(from, message)| match message {
                FromCosigner::Receipt { id: of, state } if from == who && *of == id => Some(state.clone()),
                _ => None,
            })
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(links) = self.shared.links.lock() {
            links.values().for_each(|link| link.closer.close());
        }
    }
}

fn read(shared: &Shared, who: &str, number: u64, mut reader: Reader) {
    while let Ok(bytes) = reader.recv() {
        shared.receive(who, wire::decode(&bytes).expect("a co-signer's message"));
    }
    if let Ok(mut links) = shared.links.lock()
        && links.get(who).is_some_and(|link| link.number == number)
    {
        links.remove(who);
    }
    shared.news.notify_all();
}
