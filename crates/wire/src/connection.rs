//! One connection: frames in both directions, each direction usable by a thread of its own.
//!
//! rustls keeps one state for both directions. It sits in a mutex that is held while bytes are
//! encrypted or decrypted, never while the socket is read or written. So a writer that waits for a
//! full socket does not keep the reader from emptying the other one, and two peers that send much at
//! once cannot block each other. Only the [`Writer`] writes to the socket, so records keep their order.

use std::fmt;
use std::io::{self, BufRead as _, Cursor, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use rustls::{AlertDescription, ClientConnection};
use socket2::{SockRef, TcpKeepalive};

use crate::deadline::{Deadline, moment};
use crate::error::WireError;
use crate::listener::{Admission, Slot};
use crate::tls::{self, RefusedKey};
use crate::{FRAME_DEADLINE, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, MAX_FRAME_BYTES, TlsKey};

/// Bytes of ciphertext taken from the socket at a time: one TLS record of the largest size fits.
const READ_BYTES: usize = 18 * 1024;

/// Bytes of plaintext encrypted at a time: four TLS records, so the lock is held for microseconds.
const WRITE_BYTES: usize = 64 * 1024;

/// Bytes of the length in front of each payload.
const LENGTH_BYTES: usize = 4;

/// An authenticated connection: the peer proved that it holds [`Connection::peer`].
#[derive(Debug)]
pub struct Connection {
    reader: Reader,
    writer: Writer,
}

/// Calls `addr`, where the holder of the public key `expected` must answer, and shows `key`. All of
/// it, with being admitted by the listener, must be over within `timeout`.
pub fn connect(
    addr: SocketAddr,
    key: &TlsKey,
    expected: [u8; 32],
    timeout: Duration,
) -> Result<Connection, WireError> {
    let until = moment(timeout);
    let stream =
        TcpStream::connect_timeout(&addr, timeout).map_err(|error| WireError::Unreachable(addr, error))?;
    let mut tls = tls::client(key, addr, expected).map_err(WireError::Handshake)?;
    prepare(&stream).map_err(WireError::HandshakeCut)?;
    await_admission(&mut tls, &stream, until).map_err(|error| match error {
        WireError::Handshake(rustls::Error::AlertReceived(AlertDescription::CertificateUnknown)) => {
            WireError::Refused { addr, key: hex::encode(key.public()) }
        }
        WireError::Handshake(inner) => match RefusedKey::find(&inner) {
            Some(found) => {
                WireError::WrongPeer { addr, expected: hex::encode(expected), found: hex::encode(found) }
            }
            None => WireError::Handshake(inner),
        },
        other => other,
    })?;
    Ok(Connection::new(rustls::Connection::Client(tls), stream, expected, None))
}

/// In TLS 1.3 a client is done before the server has seen its key. The listener therefore sends one
/// byte when it has taken the connection, and only then does [`connect`] succeed.
fn await_admission(tls: &mut ClientConnection, stream: &TcpStream, until: Instant) -> Result<(), WireError> {
    let mut stream = Deadline::new(stream, until);
    let mut answer = [0];
    rustls::Stream::new(tls, &mut stream).read_exact(&mut answer).map_err(handshake_error)?;
    match Admission::from_byte(answer) {
        Some(Admission::Admitted) => Ok(()),
        Some(Admission::ListenerFull) => Err(WireError::ListenerFull),
        Some(Admission::PeerFull) => Err(WireError::PeerFull),
        None => Err(WireError::Handshake(rustls::Error::General(
            "the listener did not say whether it takes the connection".to_owned(),
        ))),
    }
}

/// Tells a deadline, an error of TLS and a broken socket apart.
pub(crate) fn handshake_error(error: io::Error) -> WireError {
    if error.kind() == ErrorKind::TimedOut {
        return WireError::HandshakeTimeout;
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => WireError::Handshake(inner.clone()),
        None => WireError::HandshakeCut(error),
    }
}

/// Sets what every socket of ours has: no delay of small frames, probes when idle.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

impl Connection {
    /// Takes over a socket whose handshake is done.
    pub(crate) fn new(
        mut tls: rustls::Connection,
        stream: TcpStream,
        peer: [u8; 32],
        slot: Option<Slot>,
    ) -> Self {
        // What is put in is taken out at once, at most WRITE_BYTES at a time.
        tls.set_buffer_limit(None);
        let shared = Arc::new(Shared { tls: Mutex::new(tls), stream, peer, _slot: slot });
        Self {
            reader: Reader {
                shared: shared.clone(),
                ciphertext: Cursor::default(),
                partial: Vec::new(),
                length: None,
                until: None,
                ended: false,
            },
            writer: Writer { shared, broken: false },
        }
    }

    /// The public key of the other side.
    pub fn peer(&self) -> [u8; 32] {
        self.reader.peer()
    }

    /// Waits for the next frame; see [`Reader::recv`].
    pub fn recv(&mut self) -> Result<Vec<u8>, WireError> {
        self.reader.recv()
    }

    /// Sends one frame; see [`Writer::send`].
    pub fn send(&mut self, payload: &[u8]) -> Result<(), WireError> {
        self.writer.send(payload)
    }

    /// The two directions, for two threads. Dropping the [`Writer`] lets the peer read to the end;
    /// dropping the [`Reader`] ends the connection in both directions.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// A handle that ends this connection from any thread.
    pub fn closer(&self) -> Closer {
        Closer(Arc::downgrade(&self.reader.shared))
    }
}

/// Ends a connection from outside, for instance when the peer's key was revoked. Does not keep it open.
#[derive(Clone, Debug)]
pub struct Closer(Weak<Shared>);

impl Closer {
    /// Ends the connection in both directions: its `recv` and `send` return an error from now on.
    pub fn close(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.shut_down();
        }
    }
}

struct Shared {
    tls: Mutex<rustls::Connection>,
    stream: TcpStream,
    peer: [u8; 32],
    /// Given back to the listener when both halves are gone.
    _slot: Option<Slot>,
}

impl Shared {
    fn tls(&self) -> Result<MutexGuard<'_, rustls::Connection>, WireError> {
        self.tls.lock().map_err(|_| WireError::Poisoned)
    }

    fn shut_down(&self) {
        // Fails only when the socket is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection with {}", hex::encode(self.peer))
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    /// What came from the socket and was not decrypted yet.
    ciphertext: Cursor<Vec<u8>>,
    /// The part of the length or, once that is known, of the payload that is here.
    partial: Vec<u8>,
    /// The length of the payload that is being received.
    length: Option<usize>,
    /// When the frame that was begun must be whole.
    until: Option<Instant>,
    ended: bool,
}

impl Reader {
    /// The public key of the other side.
    pub fn peer(&self) -> [u8; 32] {
        self.shared.peer
    }

    /// Waits, as long as it takes, for the next frame, and returns its payload. After an error the
    /// connection is over.
    pub fn recv(&mut self) -> Result<Vec<u8>, WireError> {
        if self.ended {
            return Err(WireError::Closed);
        }
        let result = self.next_frame();
        if result.is_err() {
            self.ended = true;
            self.shared.shut_down();
        }
        result
    }

    fn next_frame(&mut self) -> Result<Vec<u8>, WireError> {
        loop {
            if let Some(payload) = self.decrypt()? {
                self.until = None;
                return Ok(payload);
            }
            if self.in_frame() && self.until.is_none() {
                self.until = Some(moment(FRAME_DEADLINE));
            }
            self.fill()?;
        }
    }

    fn in_frame(&self) -> bool {
        self.length.is_some() || !self.partial.is_empty()
    }

    /// Waits for bytes from the socket. The first ones after a whole frame begin the next: a peer
    /// that trickles parts of one TLS record is as slow as one that trickles parts of a frame.
    fn fill(&mut self) -> Result<(), WireError> {
        let mut buffer = std::mem::take(&mut self.ciphertext).into_inner();
        buffer.resize(READ_BYTES, 0);
        let stream = &self.shared.stream;
        let read = match self.until {
            Some(until) => Deadline::new(stream, until).read(&mut buffer),
            None => stream.set_read_timeout(None).and_then(|()| (&*stream).read(&mut buffer)),
        };
        let count = match read {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut && self.until.is_some() => {
                return Err(WireError::SlowFrame);
            }
            Err(error) => return Err(WireError::Io(error)),
        };
        if count == 0 {
            return Err(self.end());
        }
        buffer.truncate(count);
        self.ciphertext = Cursor::new(buffer);
        if self.until.is_none() {
            self.until = Some(moment(FRAME_DEADLINE));
        }
        Ok(())
    }

    fn end(&self) -> WireError {
        if self.in_frame() { WireError::Truncated } else { WireError::Closed }
    }

    /// Decrypts what is at hand until a frame is whole or more bytes are needed.
    fn decrypt(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let shared = self.shared.clone();
        let mut tls = shared.tls()?;
        loop {
            if let Some(payload) = self.take_plaintext(&mut tls)? {
                return Ok(Some(payload));
            }
            if self.ciphertext.fill_buf().is_ok_and(<[u8]>::is_empty) {
                // Handing nothing to rustls would tell it that the socket has ended.
                return Ok(None);
            }
            if tls.read_tls(&mut self.ciphertext).map_err(WireError::Io)? == 0 {
                // Bytes are there and rustls takes none: they are not a TLS record.
                return Err(WireError::Tls(rustls::Error::PeerSentOversizedRecord));
            }
            tls.process_new_packets().map_err(WireError::Tls)?;
        }
    }

    /// Moves decrypted bytes into the length, then into the payload, until it is whole.
    fn take_plaintext(&mut self, tls: &mut rustls::Connection) -> Result<Option<Vec<u8>>, WireError> {
        loop {
            let goal = self.length.unwrap_or(LENGTH_BYTES);
            let missing = u64::try_from(goal.saturating_sub(self.partial.len())).unwrap_or(0);
            if missing > 0 {
                // On WouldBlock, what was there is in `partial` already.
                match tls.reader().take(missing).read_to_end(&mut self.partial) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(WireError::Io(error)),
                    Ok(_) if self.partial.len() == goal => {}
                    Ok(_) => return Err(self.end()),
                }
            }
            if self.partial.len() < goal {
                return Ok(None);
            }
            let whole = std::mem::take(&mut self.partial);
            if self.length.take().is_some() {
                return Ok(Some(whole));
            }
            let length = whole.try_into().map(u32::from_be_bytes).map_err(|_| self.end())?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > MAX_FRAME_BYTES {
                return Err(WireError::FrameTooLong(length));
            }
            self.length = Some(length);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.shut_down();
    }
}

/// The sending half.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    broken: bool,
}

impl Writer {
    /// The public key of the other side.
    pub fn peer(&self) -> [u8; 32] {
        self.shared.peer
    }

    /// Sends one frame. Returns when the last byte is in the socket's buffer, which says nothing
    /// about whether the peer has read it. A payload that is too long is refused and leaves the
    /// connection as it is; after any other error the connection is over.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), WireError> {
        let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_FRAME_BYTES);
        let length = length.ok_or(WireError::PayloadTooLong(payload.len()))?;
        if self.broken {
            return Err(WireError::Closed);
        }
        let frame = [length.to_be_bytes().as_slice(), payload].concat();
        let until = moment(FRAME_DEADLINE);
        let result = frame.chunks(WRITE_BYTES).try_for_each(|chunk| self.write(chunk, until));
        if result.is_err() {
            self.broken = true;
            self.shared.shut_down();
        }
        result
    }

    fn write(&self, plaintext: &[u8], until: Instant) -> Result<(), WireError> {
        let mut records = Vec::with_capacity(plaintext.len().saturating_add(1024));
        {
            let mut tls = self.shared.tls()?;
            tls.writer().write_all(plaintext).map_err(WireError::Io)?;
            take_records(&mut tls, &mut records).map_err(WireError::Io)?;
        }
        self.put(&records, until).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => WireError::SlowFrame,
            ErrorKind::BrokenPipe => WireError::Closed,
            _ => WireError::Io(error),
        })
    }

    fn put(&self, records: &[u8], until: Instant) -> io::Result<()> {
        Deadline::new(&self.shared.stream, until).write_all(records)
    }
}

/// Moves what is to be sent out of rustls.
fn take_records(tls: &mut rustls::Connection, records: &mut Vec<u8>) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(records)?;
    }
    Ok(())
}

impl Drop for Writer {
    /// Says goodbye, as far as that works without waiting, so that the peer can tell an end from a cut.
    fn drop(&mut self) {
        if self.broken {
            return;
        }
        let mut records = Vec::new();
        if let Ok(mut tls) = self.shared.tls() {
            tls.send_close_notify();
            let _ = take_records(&mut tls, &mut records);
        }
        let _ = self.put(&records, moment(Duration::from_millis(100)));
        let _ = self.shared.stream.shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_send_at_once_and_notice_dead_peers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        prepare(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
    }
}
