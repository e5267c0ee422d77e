//! Where a program waits for those who may call it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};

use crate::connection::{handshake_error, prepare};
use crate::deadline::{Deadline, moment};
use crate::error::WireError;
use crate::key::parse_spki;
use crate::tls::{self, RefusedKey};
use crate::{
    Connection, HANDSHAKE_DEADLINE, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PEER, MAX_HANDSHAKES, TlsKey,
};

/// Says whether a public key may connect. Asked in each handshake, so what it reads may change.
pub type Allow = Arc<dyn Fn(&[u8; 32]) -> bool + Send + Sync>;

/// When the machine has no descriptors or threads left, accepting pauses for this long instead of
/// failing in a loop.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// A socket on a loopback or private address that only allowed keys get through.
///
/// One thread accepts; each handshake has a short-lived thread of its own, so one slow stranger
/// delays nobody. Dropping the listener closes the socket; connections that were accepted live on.
pub struct Listener {
    addr: SocketAddr,
    accepted: Mutex<Receiver<Result<Connection, WireError>>>,
    door: Arc<Door>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    /// Listens on `addr` (port 0: any free one, see [`Listener::local_addr`]) with `key`, for the
    /// keys that `allow` names. Refuses an address that is neither loopback nor private (RFC 1918,
    /// RFC 4193), also the unspecified one.
    pub fn bind(addr: SocketAddr, key: &TlsKey, allow: Allow) -> Result<Self, WireError> {
        if !is_private(addr.ip()) {
            return Err(WireError::PublicAddress(addr));
        }
        let config = tls::server(key, allow).map_err(WireError::Handshake)?;
        let listener = TcpListener::bind(addr).map_err(|error| WireError::Bind(addr, error))?;
        let addr = listener.local_addr().map_err(|error| WireError::Bind(addr, error))?;
        // Every admitted connection has room, so only errors that nobody collects are dropped.
        let (sender, accepted) = sync_channel(MAX_CONNECTIONS.saturating_mul(2));
        let door = Arc::new(Door {
            config: Arc::new(config),
            closed: AtomicBool::new(false),
            handshakes: Mutex::default(),
            slots: Arc::default(),
        });
        let inside = door.clone();
        let accepting = thread::Builder::new()
            .name("wire-accept".to_owned())
            .spawn(move || accept_all(&listener, &inside, &sender))
            .map_err(|error| WireError::Bind(addr, error))?;
        Ok(Self { addr, accepted: Mutex::new(accepted), door, accepting: Mutex::new(Some(accepting)) })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next connection whose handshake is done and whose key is allowed.
    ///
    /// An error is about one connection and the next call goes on, but for
    /// [`WireError::ListenerClosed`], after which nothing comes any more.
    pub fn accept(&self) -> Result<Connection, WireError> {
        let accepted = self.accepted.lock().map_err(|_| WireError::Poisoned)?;
        accepted.recv().unwrap_or(Err(WireError::ListenerClosed))
    }

    /// Closes the socket. What was accepted before may still come out of [`Listener::accept`], which
    /// then says that the listener is closed.
    pub fn close(&self) {
        self.door.closed.store(true, Ordering::SeqCst);
        let Some(thread) = lock(&self.accepting).take() else {
            return;
        };
        // std has no way to wake a thread in accept() but to call it.
        if TcpStream::connect_timeout(&self.addr, Duration::from_secs(1)).is_ok() {
            let _ = thread.join();
        }
        for (_, stream) in lock(&self.door.handshakes).waiting.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.addr)
    }
}

/// RFC 1918 and RFC 4193, and this machine itself.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

/// What the threads of one listener share.
struct Door {
    config: Arc<ServerConfig>,
    closed: AtomicBool,
    handshakes: Mutex<Handshakes>,
    slots: Arc<Mutex<Slots>>,
}

/// Handshakes in progress, the oldest first.
#[derive(Default)]
struct Handshakes {
    next: u64,
    waiting: VecDeque<(u64, TcpStream)>,
}

type Results = SyncSender<Result<Connection, WireError>>;

fn accept_all(listener: &TcpListener, door: &Arc<Door>, results: &Results) {
    loop {
        let accepted = listener.accept();
        if door.closed.load(Ordering::SeqCst) {
            return;
        }
        let begun = accepted.and_then(|(stream, _)| begin(stream, door, results));
        if let Err(error) = begun {
            let _ = results.try_send(Err(WireError::Accept(error)));
            thread::sleep(PAUSE_AFTER_FAILURE);
        }
    }
}

/// Starts the handshake of one connection; sends the oldest away when there are too many.
fn begin(stream: TcpStream, door: &Arc<Door>, results: &Results) -> io::Result<()> {
    let watched = stream.try_clone()?;
    let id = {
        let mut handshakes = lock(&door.handshakes);
        if handshakes.waiting.len() >= MAX_HANDSHAKES
            && let Some((_, oldest)) = handshakes.waiting.pop_front()
        {
            let _ = oldest.shutdown(Shutdown::Both);
        }
        let id = handshakes.next;
        handshakes.next = id.wrapping_add(1);
        handshakes.waiting.push_back((id, watched));
        id
    };
    let (inside, sender) = (door.clone(), results.clone());
    let spawned = thread::Builder::new().name("wire-handshake".to_owned()).spawn(move || {
        let result = inside.admit(&stream);
        inside.forget(id);
        match result {
            // Full only when the caller collects nothing; then this thread waits with its slot.
            Ok((tls, peer, slot)) => {
                let tls = rustls::Connection::Server(tls);
                drop(sender.send(Ok(Connection::new(tls, stream, peer, Some(slot)))));
            }
            Err(error) => drop(sender.try_send(Err(error))),
        }
    });
    spawned.map(drop).inspect_err(|_| door.forget(id))
}

impl Door {
    fn forget(&self, id: u64) {
        lock(&self.handshakes).waiting.retain(|(other, _)| *other != id);
    }

    /// Does the handshake, finds a slot, and tells the client.
    fn admit(&self, stream: &TcpStream) -> Result<(ServerConnection, [u8; 32], Slot), WireError> {
        prepare(stream).map_err(WireError::HandshakeCut)?;
        let mut tls = ServerConnection::new(self.config.clone()).map_err(WireError::Handshake)?;
        let mut socket = Deadline::new(stream, moment(HANDSHAKE_DEADLINE));
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(handshake_error).map_err(not_allowed)?;
        }
        let peer = tls
            .peer_certificates()
            .and_then(|shown| shown.first())
            .and_then(|shown| parse_spki(shown))
            .ok_or(WireError::Handshake(rustls::Error::NoCertificatesPresented))?;
        let slot = Slots::take(&self.slots, peer);
        let answer = match &slot {
            Ok(_) => Admission::Admitted,
            Err(reason) => *reason,
        };
        let mut client = rustls::Stream::new(&mut tls, &mut socket);
        client.write_all(&answer.byte()).map_err(handshake_error)?;
        if slot.is_err() {
            client.conn.send_close_notify();
        }
        client.flush().map_err(handshake_error)?;
        match slot {
            Ok(slot) => Ok((tls, peer, slot)),
            Err(Admission::PeerFull) => Err(WireError::PeerFull),
            Err(_) => Err(WireError::ListenerFull),
        }
    }
}

fn not_allowed(error: WireError) -> WireError {
    match &error {
        WireError::Handshake(inner) => match RefusedKey::find(inner) {
            Some(key) => WireError::NotAllowed(hex::encode(key)),
            None => error,
        },
        _ => error,
    }
}

/// The byte with which a listener answers a finished handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Frames may follow.
    Admitted,
    /// [`MAX_CONNECTIONS`] are open.
    ListenerFull,
    /// [`MAX_CONNECTIONS_PER_PEER`] are open.
    PeerFull,
}

impl Admission {
    pub(crate) fn byte(self) -> [u8; 1] {
        match self {
            Self::Admitted => [0],
            Self::ListenerFull => [1],
            Self::PeerFull => [2],
        }
    }

    pub(crate) fn from_byte(byte: [u8; 1]) -> Option<Self> {
        [Self::Admitted, Self::ListenerFull, Self::PeerFull].into_iter().find(|answer| answer.byte() == byte)
    }
}

/// How many connections are open, by peer.
#[derive(Default)]
struct Slots {
    open: HashMap<[u8; 32], usize>,
}

impl Slots {
    fn take(slots: &Arc<Mutex<Self>>, peer: [u8; 32]) -> Result<Slot, Admission> {
        let mut locked = lock(slots);
        let all = locked.open.values().fold(0, |sum: usize, open| sum.saturating_add(*open));
        let own = locked.open.get(&peer).copied().unwrap_or(0);
        if own >= MAX_CONNECTIONS_PER_PEER {
            return Err(Admission::PeerFull);
        }
        if all >= MAX_CONNECTIONS {
            return Err(Admission::ListenerFull);
        }
        locked.open.insert(peer, own.saturating_add(1));
        Ok(Slot { slots: slots.clone(), peer })
    }
}

/// The right of one connection to be open, given back when dropped.
pub(crate) struct Slot {
    slots: Arc<Mutex<Slots>>,
    peer: [u8; 32],
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = lock(&self.slots);
        match slots.open.get_mut(&self.peer) {
            Some(open) if *open > 1 => *open = open.saturating_sub(1),
            _ => drop(slots.open.remove(&self.peer)),
        }
    }
}

/// Locks what stays consistent even if a thread died while holding it: plain counters and lists.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
