//! One run of a command against a deployment: the replica, and on demand the device key and the server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use approver::{Fresh, Labels, Replay, Replica, ReplicaError, Signed};
use custody::document::{Document, Machine};
use custody::effects::{Inclusion, OutPoint, Sats};
use custody::genesis::Genesis;
use custody::name::{Label, Name};
use custody::{Blob, Hash};
use keys::device::DeviceKey;
use serde::Serialize;
use wire::TlsKey;
use wire::message::{FromServer, Log, ReceiptState, ServerStatus, ToServer};

use crate::args::Global;
use crate::failure::{Class, Failure, Result, refused};
use crate::home::{Cache, Home, Profile, read};
use crate::link::{ANSWER_DEADLINE, Link};
use crate::secret;

/// The machine whose TLS key the server holds, unless the address names another.
pub(crate) const SERVER: &str = "server";

/// Longest single wait that the server grants, in milliseconds.
const WAIT_LIMIT_MS: u64 = 60_000;

/// Most commitments in one question for labels.
const LABELS_LIMIT: usize = 1_000;

pub(crate) struct Session<'a> {
    pub(crate) global: &'a Global,
    pub(crate) home: Home,
    pub(crate) profile: Profile,
    pub(crate) replica: Replica,
    pub(crate) labels: Labels,
    cache: Cache,
    kept: usize,
    device: Option<DeviceKey>,
    link: Option<Link>,
}

/// What became of a statement that was sent.
#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    /// The statement.
    pub(crate) id: Hash,
    /// Always `applied`: everything else is a failure.
    pub(crate) outcome: &'static str,
    /// The height under which it stands.
    pub(crate) height: u64,
}

/// The own clock, seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// What only the outside can give to a statement.
pub(crate) fn fresh() -> Fresh {
    Fresh { nonce: secret::nonce(), now: now() }
}

impl<'a> Session<'a> {
    /// Opens the home and replays what is kept there. Nothing is asked of anybody.
    pub(crate) fn open(global: &'a Global) -> Result<Self> {
        let home = Home::at(global.home.as_deref())?;
        let (genesis, pinned) = home.genesis()?;
        let seen = home.seen()?;
        let mut cache = home.cache()?;
        let mut replay = Replay::begin(&genesis, &pinned, seen)?;
        let size = size_of(&cache.note);
        let mut used = 0;
        for batch in &cache.batches {
            // What stands behind the checkpoint was written when a run ended too early.
            if replay.size() >= size {
                break;
            }
            replay.push(batch)?;
            used += 1;
        }
        cache.batches.truncate(used);
        let replica = match replay.finish(&cache.note) {
            // The kept log is gone or shorter; the head that was seen is not forgotten thereby, so the
            // whole log is fetched again and must pass through it.
            Err(error @ ReplicaError::RolledBack { .. }) if global.offline => return Err(error.into()),
            Err(ReplicaError::RolledBack { .. }) => {
                (cache, used) = (Cache::default(), 0);
                Replay::begin(&genesis, &pinned, None)?.finish("")?
            }
            other => other?,
        };
        let mut labels = Labels::default();
        labels.add(&home.labels()?);
        let mut profile = home.profile()?;
        profile.server = global.server.clone().or(profile.server);
        profile.device = global.device.clone().or_else(|| profile.device.map(|d| home.path(d)));
        Ok(Self { global, home, profile, replica, labels, cache, kept: used, device: None, link: None })
    }

    /// Opens and, unless told to stay offline, brings the replica up to the newest final head.
    pub(crate) fn online(global: &'a Global) -> Result<Self> {
        let mut session = Self::open(global)?;
        if !global.offline {
            session.sync()?;
            session.fetch_labels()?;
        }
        Ok(session)
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        self.replica.state().genesis()
    }

    /// Unlocks the person's key, once.
    pub(crate) fn unlock(&mut self) -> Result<()> {
        if self.device.is_none() {
            let path = self.profile.device.clone();
            let next = "name it by --device FILE, or keyward profile --device FILE";
            let path = path.ok_or_else(|| Failure::usage("no device key file is known", next))?;
            let file = read(&path)?;
            let passphrase = secret::passphrase(self.global.passphrase_fd, &path.display().to_string())?;
            let device = DeviceKey::from_file(&file, &passphrase);
            let next = "check the file and its passphrase";
            self.device = Some(device.map_err(|e| Failure::new(Class::Usage, e, next))?);
        }
        Ok(())
    }

    /// The person's key, once it is unlocked.
    pub(crate) fn key(&self) -> Result<&DeviceKey> {
        let locked = || Failure::new(Class::System, "the device key is locked", "unlock it first");
        self.device.as_ref().ok_or_else(locked)
    }

    pub(crate) fn tls(&mut self) -> Result<TlsKey> {
        self.unlock()?;
        Ok(TlsKey::from_seed(self.key()?.tls_seed())?)
    }

    /// The key of a server, by the name of its machine.
    fn server_key(&self, name: &str) -> Result<Hash> {
        let id: Name = name.parse().map_err(|e: String| Failure::usage(e, "name it as MACHINE@HOST:PORT"))?;
        let machine: Option<&Machine> = self.replica.state().machine(&id);
        let next = "name the server's machine, as MACHINE@HOST:PORT: its TLS key is the server's";
        let machine = machine.ok_or_else(|| Failure::usage(format!("there is no machine `{name}`"), next))?;
        Ok(machine.tls)
    }

    fn ask_once(&mut self, message: &ToServer, limit: Duration) -> Result<FromServer> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let address = self.profile.server.clone();
                let next = "name it by --server HOST:PORT, or keyward profile --server HOST:PORT";
                let address = address.ok_or_else(|| Failure::usage("no server is known", next))?;
                let (name, address) = address.split_once('@').unwrap_or((SERVER, &address));
                let (tls, key) = (self.tls()?, self.server_key(name)?);
                Link::open(address, &tls, &key)?
            }
        };
        let answer = link.ask(message, limit)?;
        self.link = Some(link);
        Ok(answer)
    }

    fn ask(&mut self, message: &ToServer, limit: Duration) -> Result<FromServer> {
        let reused = self.link.is_some();
        let mut answer = self.ask_once(message, limit);
        // A connection that stood idle may be gone; every message may be sent twice.
        if reused && answer.as_ref().is_err_and(|failure| failure.class == Class::Unreachable) {
            answer = self.ask_once(message, limit);
        }
        let answer = answer?;
        if let FromServer::Error { code, why } = answer {
            let class = match code.as_str() {
                "late" | "full" => Class::Unreachable,
                _ => Class::Refused,
            };
            return Err(Failure::new(class, format!("the server says {code}: {why}"), "see what it says"));
        }
        Ok(answer)
    }

    /// Fetches what is new of the log, and believes it under a final head.
    pub(crate) fn sync(&mut self) -> Result<()> {
        loop {
            let height = self.replica.state().clock().height;
            match self.ask(&ToServer::Log { from: height + 1 }, ANSWER_DEADLINE)? {
                FromServer::Log(log) => self.absorb(log)?,
                _ => return Err(off_script()),
            }
            // A piece may end under a head of its own, before the newest one.
            if self.replica.state().clock().height == height {
                return Ok(());
            }
        }
    }

    fn absorb(&mut self, mut log: Log) -> Result<()> {
        let mut end = self.entries_under(&log.note)?;
        // A home that lost its cache still remembers the head.
        let seen = self.home.seen()?;
        let mut replay = self.replica.extend().not_behind(seen);
        let mut new = Vec::new();
        while replay.height() < log.height {
            let next = replay.height() + 1;
            if log.from != next || log.batches.is_empty() {
                let what = format!("the server says that there is a batch {next} and does not show it");
                return Err(Failure::new(Class::Unverified, what, "try again; ask another operator"));
            }
            for Blob(batch) in log.batches {
                replay.push(&batch)?;
                // Anybody can make empty batches for ever: nothing is read beyond what a quorum co-signed.
                if replay.size() > end {
                    return Err(ReplicaError::Differs { head: end, replayed: replay.size() }.into());
                }
                new.push(batch);
            }
            if replay.height() < log.height {
                let from = replay.height() + 1;
                log = match self.ask(&ToServer::Log { from }, ANSWER_DEADLINE)? {
                    FromServer::Log(log) => log,
                    _ => return Err(off_script()),
                };
                end = self.entries_under(&log.note)?;
            } else {
                log.batches = Vec::new();
            }
        }
        self.replica = replay.finish(&log.note)?;
        self.cache.batches.append(&mut new);
        self.cache.note = log.note;
        if self.kept < self.cache.batches.len() {
            self.home.keep(&self.cache, self.kept, &self.replica.seen())?;
            self.kept = self.cache.batches.len();
        }
        Ok(())
    }

    /// How many entries stand under a final head that is not behind the own one.
    fn entries_under(&self, note: &str) -> Result<u64> {
        let found = size_of(note);
        if self.replica.compare(note)?.is_lt() {
            return Err(ReplicaError::RolledBack { seen: self.replica.seen().size, found }.into());
        }
        Ok(found)
    }

    /// Asks for the words behind commitments that are not known yet. They are checked against their
    /// commitments, so nothing depends on who answers.
    pub(crate) fn fetch_labels(&mut self) -> Result<()> {
        let state = self.replica.state();
        let documents = state.documents().map(|d| &d.document);
        let proposed = state.proposals().iter().map(|(_, p)| &p.document);
        let in_documents = documents.chain(proposed).filter_map(|document| match document {
            Document::Person(person) => Some(person.name),
            Document::Client(client) => Some(client.name),
            Document::Destination(destination) => Some(destination.label),
            _ => None,
        });
        let notes = state.requests().iter().filter_map(|(_, r)| r.request.note);
        let wanted: BTreeSet<Hash> =
            in_documents.chain(notes).filter(|c| self.labels.get(c).is_none()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let commitments = wanted.iter().take(LABELS_LIMIT).copied().collect();
        match self.ask(&ToServer::Labels { commitments }, ANSWER_DEADLINE)? {
            FromServer::Labels { mut labels } => {
                // What nobody asked for would only fill the disk.
                labels.retain(|label| wanted.contains(&label.commitment()));
                self.add_labels(&labels)
            }
            _ => Err(off_script()),
        }
    }

    pub(crate) fn add_labels(&mut self, labels: &[Label]) -> Result<()> {
        self.labels.add(labels);
        self.home.add_labels(labels)
    }

    /// Hands a statement to the server and waits until it stands under a final head.
    pub(crate) fn send(&mut self, signed: &Signed, labels: &[Label]) -> Result<Sent> {
        self.add_labels(labels)?;
        let receipts = self.submit(signed, labels)?;
        let refusals = receipts.iter().filter_map(|(_, state)| match state {
            ReceiptState::Refused { rule, why } => Some(refused(rule, why)),
            _ => None,
        });
        let refusals: Vec<Failure> = refusals.collect();
        // One co-signer that refuses may lie or lag; when nobody takes it, it goes nowhere.
        if !receipts.is_empty() && refusals.len() == receipts.len() {
            return Err(refusals.into_iter().next().unwrap_or_else(off_script));
        }
        self.wait_for(signed)
    }

    pub(crate) fn submit(&mut self, signed: &Signed, labels: &[Label]) -> Result<Vec<(Name, ReceiptState)>> {
        let message = ToServer::Submit { envelope: Blob(signed.envelope.clone()), labels: labels.to_vec() };
        match self.ask(&message, ANSWER_DEADLINE)? {
            FromServer::Receipts { id, receipts } if id == signed.id => Ok(receipts),
            _ => Err(off_script()),
        }
    }

    pub(crate) fn wait_for(&mut self, signed: &Signed) -> Result<Sent> {
        let until = Instant::now() + Duration::from_secs(self.global.timeout);
        loop {
            if let Some(outcome) = self.replica.state().outcome(&signed.id, signed.not_after) {
                if outcome != "applied" {
                    return Err(refused(outcome, "the log rejected it; look again and sign anew"));
                }
                let height = self.replica.state().clock().height;
                return Ok(Sent { id: signed.id, outcome: "applied", height });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = format!("{} was sent, and is in no final batch yet", signed.id);
                return Err(Failure::new(Class::TimedOut, what, "it may still come in: keyward status"));
            }
            self.wait_for_more(left)?;
        }
    }

    /// Waits for the next batch, at most as long as the server grants in one go.
    pub(crate) fn wait_for_more(&mut self, longest: Duration) -> Result<()> {
        let timeout_ms = u64::try_from(longest.as_millis()).unwrap_or(WAIT_LIMIT_MS).clamp(1, WAIT_LIMIT_MS);
        let from = self.replica.extend().height() + 1;
        let limit = Duration::from_millis(timeout_ms) + ANSWER_DEADLINE;
        match self.ask(&ToServer::Wait { from, timeout_ms }, limit)? {
            FromServer::Log(log) => self.absorb(log),
            _ => Err(off_script()),
        }
    }

    /// Asks the REST interface over this connection: the status of HTTP, and the answer.
    pub(crate) fn api(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        idempotency_key: Option<&str>,
    ) -> Result<(u16, Vec<u8>)> {
        if self.global.offline {
            return Err(Failure::usage("only the server knows that", "leave out --offline"));
        }
        let message = ToServer::Api {
            method: method.to_owned(),
            path: path.to_owned(),
            idempotency_key: idempotency_key.map(str::to_owned),
            body: body.map(|bytes| Blob(bytes.to_vec())),
        };
        // A whole wallet may be compared with the node.
        match self.ask(&message, ANSWER_DEADLINE * 4)? {
            FromServer::Api { status, body } => Ok((status, body.0)),
            _ => Err(off_script()),
        }
    }

    pub(crate) fn server_status(&mut self) -> Result<ServerStatus> {
        match self.ask(&ToServer::Status, ANSWER_DEADLINE)? {
            FromServer::Status(status) => Ok(status),
            _ => Err(off_script()),
        }
    }

    /// Asks for a transaction that pays more: its authorisation, transaction id and fee.
    pub(crate) fn bump(&mut self, request: Hash, fee_rate_sat_vb: u64) -> Result<(Hash, String, Sats)> {
        match self.ask(&ToServer::Bump { request, fee_rate_sat_vb }, ANSWER_DEADLINE)? {
            FromServer::Bumped { authorisation, txid, fee } => Ok((authorisation, txid, fee)),
            _ => Err(off_script()),
        }
    }

    /// Where transactions, and those that spend some outputs, stand in the chain. Not checked yet.
    pub(crate) fn confirmations(
        &mut self,
        transactions: Vec<Hash>,
        spent: Vec<OutPoint>,
    ) -> Result<(Vec<Inclusion>, Blob)> {
        // Hundreds of blocks may be searched.
        match self.ask(&ToServer::Confirmations { transactions, spent }, ANSWER_DEADLINE * 8)? {
            FromServer::Confirmations { proofs, headers } => Ok((proofs, headers)),
            _ => Err(off_script()),
        }
    }

    /// Passes sealed shares on.
    pub(crate) fn pass_shares(
        &mut self,
        ceremony: Hash,
        shares: Vec<(Name, u32, Blob)>,
    ) -> Result<Vec<(Name, u32, Option<String>)>> {
        match self.ask(&ToServer::Shares { ceremony, shares }, ANSWER_DEADLINE * 4)? {
            FromServer::Shares { kept } => Ok(kept),
            _ => Err(off_script()),
        }
    }

    /// The entries of the log, as far as it was verified.
    pub(crate) fn batches(&self) -> &[Vec<u8>] {
        &self.cache.batches
    }

    /// The one request or proposal whose id begins with `prefix`.
    pub(crate) fn find(&self, prefix: &str) -> Result<Hash> {
        let state = self.replica.state();
        let all =
            state.requests().iter().map(|(id, _)| *id).chain(state.proposals().iter().map(|(id, _)| *id));
        pick(all, prefix, "request or proposal")
    }
}

/// The one of `ids` that begins with `prefix`.
pub(crate) fn pick(ids: impl Iterator<Item = Hash>, prefix: &str, what: &str) -> Result<Hash> {
    let fits: Vec<Hash> = ids.filter(|id| id.to_string().starts_with(prefix)).collect();
    match fits.as_slice() {
        _ if prefix.len() < PREFIX_LEAST => {
            Err(Failure::usage(format!("{prefix:?} is too short"), "give at least 8 digits of the id"))
        }
        [one] => Ok(*one),
        [] => Err(Failure::usage(
            format!("there is no {what} {prefix} under the final head"),
            "keyward requests and keyward proposals list them; a new one may not be final yet",
        )),
        _ => Err(Failure::usage(format!("{} ids begin with {prefix}", fits.len()), "give more digits")),
    }
}

/// Fewest digits of an id that name it: 32 bits, so that a person does not hit another one by chance.
const PREFIX_LEAST: usize = 8;

/// How many entries a note claims; none when it is no note.
fn size_of(note: &str) -> u64 {
    use custody::checkpoint::{Checkpoint, SignedNote};
    let body = SignedNote::parse(note).ok().and_then(|n| Checkpoint::parse(&n.body).ok());
    body.map_or(0, |checkpoint| checkpoint.size)
}

fn off_script() -> Failure {
    Failure::new(
        Class::Unverified,
        "the server gave another kind of answer than was asked for",
        "is it the same version?",
    )
}
