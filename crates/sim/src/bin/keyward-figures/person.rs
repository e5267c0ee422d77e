//! A person's program, in this process: the device key is open, the log is replayed and checked, and
//! statements go to the server over the wire, as `keyward` does it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use approver::{Ask, Draft, Fresh, Labels, Replay, Replica, Signed, View};
use custody::genesis::Genesis;
use custody::{Blob, Hash};
use keys::device::DeviceKey;
use rand_core::{OsRng, RngCore as _};
use wire::message::{FromServer, Log, ReceiptState, ToServer};
use wire::{Connection, TlsKey};

use crate::Failure;

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Longest wait for one more batch, in milliseconds.
const WAIT_MS: u64 = 10_000;

pub(crate) struct Person {
    key: DeviceKey,
    link: Connection,
    replica: Replica,
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn fresh() -> Fresh {
    let mut nonce = [0; 32];
    OsRng.fill_bytes(&mut nonce);
    Fresh { nonce: Hash(nonce), now: now() }
}

impl Person {
    /// Connects to the server of a deployment and checks its whole log.
    pub(crate) fn new(key: DeviceKey, genesis: &[u8], server: SocketAddr) -> Result<Self, Failure> {
        let parsed = Genesis::parse(genesis)?;
        let replica = Replay::begin(genesis, &parsed.hash(), None)?.finish("")?;
        let machine = parsed.machines.iter().find(|m| m.id.as_str() == "server").ok_or("no server")?;
        let tls = TlsKey::from_seed(key.tls_seed())?;
        let link = wire::connect(server, &tls, machine.tls.0, CONNECT_WITHIN)?;
        let mut person = Self { key, link, replica };
        person.sync()?;
        Ok(person)
    }

    fn ask(&mut self, message: &ToServer) -> Result<FromServer, Failure> {
        self.link.send(&wire::encode(message)?)?;
        match wire::decode(&self.link.recv()?)? {
            FromServer::Error { code, why } => Err(format!("the server says {code}: {why}").into()),
            answer => Ok(answer),
        }
    }

    fn log(&mut self, message: &ToServer) -> Result<Log, Failure> {
        match self.ask(message)? {
            FromServer::Log(log) => Ok(log),
            other => Err(format!("no log but {other:?}").into()),
        }
    }

    fn absorb(&mut self, mut log: Log) -> Result<(), Failure> {
        let mut replay = self.replica.extend();
        loop {
            for Blob(batch) in &log.batches {
                replay.push(batch)?;
            }
            if replay.height() >= log.height {
                break;
            }
            log = self.log(&ToServer::Log { from: replay.height() + 1 })?;
        }
        self.replica = replay.finish(&log.note)?;
        Ok(())
    }

    /// Brings the replica up to the newest final head.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        let from = self.replica.extend().height() + 1;
        let log = self.log(&ToServer::Log { from })?;
        self.absorb(log)
    }

    /// What is asked, as it would be shown.
    pub(crate) fn view(&mut self, id: Hash) -> Result<View, Failure> {
        self.sync()?;
        View::of(&self.replica, &id, &Labels::default(), now())
            .ok_or_else(|| format!("there is no {id}").into())
    }

    fn signed(&self, draft: Draft) -> Result<Signed, Failure> {
        Ok(draft.sign_if_accepted(&self.replica, &self.key)?)
    }

    /// Hands a statement to the server; some co-signer takes it.
    fn submit(&mut self, signed: &Signed) -> Result<(), Failure> {
        let message = ToServer::Submit { envelope: Blob(signed.envelope.clone()), labels: Vec::new() };
        match self.ask(&message)? {
            FromServer::Receipts { receipts, .. }
                if receipts.iter().any(|(_, state)| !matches!(state, ReceiptState::Refused { .. })) =>
            {
                Ok(())
            }
            other => Err(format!("no co-signer takes it: {other:?}").into()),
        }
    }

    /// Waits until a statement is applied under a final head.
    fn applied(&mut self, signed: &Signed) -> Result<(), Failure> {
        loop {
            match self.replica.state().outcome(&signed.id, signed.not_after) {
                Some("applied") => return Ok(()),
                Some(rule) => return Err(format!("rejected: {rule}").into()),
                None => {
                    let from = self.replica.extend().height() + 1;
                    let log = self.log(&ToServer::Wait { from, timeout_ms: WAIT_MS })?;
                    self.absorb(log)?;
                }
            }
        }
    }

    /// Asks for a payment and waits until the log has it.
    pub(crate) fn request(&mut self, ask: Ask) -> Result<Hash, Failure> {
        self.sync()?;
        let signed = self.signed(self.replica.request(&self.key, ask, fresh())?)?;
        self.submit(&signed)?;
        self.applied(&signed)?;
        Ok(signed.id)
    }

    /// Approves what was shown and waits until the log has it.
    pub(crate) fn approve(&mut self, shown: &View) -> Result<(), Failure> {
        let signed = self.signed(self.replica.approve(&self.key, shown, fresh())?)?;
        self.submit(&signed)?;
        self.applied(&signed)
    }

    /// Approves what was shown and waits only until a co-signer took it.
    pub(crate) fn approve_and_go(&mut self, shown: &View) -> Result<(), Failure> {
        let signed = self.signed(self.replica.approve(&self.key, shown, fresh())?)?;
        self.submit(&signed)
    }
}
