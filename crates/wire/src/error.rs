//! What can go wrong on the wire, and who is to blame.

use std::io;
use std::net::SocketAddr;

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The other side broke a rule or is not who it should be. Trying again will not help.
    Peer,
    /// The path between the two failed. Trying again may help.
    Network,
    /// This side was used or set up wrongly.
    Local,
}

/// Why a connection was not made, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A listener was given an address that the whole world may reach.
    #[error(
        "refusing to listen on {0}: use a loopback or private address (10/8, 172.16/12, 192.168/16, fc00::/7)"
    )]
    PublicAddress(SocketAddr),
    /// The listening socket could not be made.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The listener was closed. No further connection comes out of it.
    #[error("the listener is closed")]
    ListenerClosed,
    /// The listener could not take a connection: no file descriptor or thread was left, most likely.
    #[error("cannot take a connection: {0}")]
    Accept(#[source] io::Error),
    /// The secret key was refused by the TLS library.
    #[error("this TLS key cannot be used: {0}")]
    Key(String),
    /// The address could not be reached.
    #[error("cannot reach {0}: {1}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// A server answered, but with another key than the pinned one.
    #[error(
        "{addr} holds the key {found}, expected {expected}: somebody else answers there, or its keys were changed"
    )]
    WrongPeer {
        /// Who was called.
        addr: SocketAddr,
        /// The pinned public key, in hex.
        expected: String,
        /// The public key that was shown, in hex.
        found: String,
    },
    /// A client came with a key that is not allowed here.
    #[error("refused the key {0}: it is not allowed at this listener")]
    NotAllowed(String),
    /// The server at the other end does not allow our key.
    #[error("{addr} refused our key {key}: it must be certified and allowed there first")]
    Refused {
        /// Who was called.
        addr: SocketAddr,
        /// Our public key, in hex.
        key: String,
    },
    /// The listener holds as many connections as it may.
    #[error("the listener holds {limit} connections already; close one first", limit = crate::MAX_CONNECTIONS)]
    ListenerFull,
    /// The listener holds as many connections of this key as it may.
    #[error(
        "the listener holds {limit} connections of this key already; close one first",
        limit = crate::MAX_CONNECTIONS_PER_PEER
    )]
    PeerFull,
    /// What the other side sent is not a handshake that we accept.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] rustls::Error),
    /// The handshake was cut off from outside.
    #[error("TLS handshake broken off: {0}")]
    HandshakeCut(#[source] io::Error),
    /// The handshake took too long.
    #[error("TLS handshake not complete in time")]
    HandshakeTimeout,
    /// The connection was closed between two frames.
    #[error("the connection is closed")]
    Closed,
    /// The connection ended inside a frame.
    #[error("the connection ended inside a frame")]
    Truncated,
    /// A frame was begun and not completed in time, by the peer or towards it.
    #[error("a frame was not complete within {limit} s", limit = crate::FRAME_DEADLINE.as_secs())]
    SlowFrame,
    /// The peer announced a longer frame than is allowed. Nothing of it was read.
    #[error("the peer announced a frame of {0} bytes, more than {limit}", limit = crate::MAX_FRAME_BYTES)]
    FrameTooLong(usize),
    /// The caller gave a longer payload than is allowed. Nothing of it was sent.
    #[error("cannot send {0} bytes in one frame, at most {limit}", limit = crate::MAX_FRAME_BYTES)]
    PayloadTooLong(usize),
    /// The peer sent records that do not decrypt or do not belong there.
    #[error("TLS error: {0}")]
    Tls(#[source] rustls::Error),
    /// The socket failed.
    #[error("connection lost: {0}")]
    Io(#[source] io::Error),
    /// A payload is not the JSON that was expected.
    #[error("not valid here: {0}")]
    Decode(String),
    /// A value could not be written as JSON.
    #[error("cannot encode as JSON: {0}")]
    Encode(String),
    /// A thread panicked while it held the connection, so its state is unknown.
    #[error("the connection is unusable after a panic in another thread")]
    Poisoned,
}

impl WireError {
    /// Who has to act. Every variant answers, so that a new one forces the question.
    pub fn fault(&self) -> Fault {
        match self {
            Self::WrongPeer { .. }
            | Self::NotAllowed(_)
            | Self::Refused { .. }
            | Self::ListenerFull
            | Self::PeerFull
            | Self::Handshake(_)
            | Self::FrameTooLong(_)
            | Self::Tls(_)
            | Self::Decode(_) => Fault::Peer,
            Self::Unreachable(..)
            | Self::HandshakeCut(_)
            | Self::HandshakeTimeout
            | Self::Closed
            | Self::Truncated
            | Self::SlowFrame
            | Self::Io(_) => Fault::Network,
            Self::PublicAddress(_)
            | Self::Bind(..)
            | Self::ListenerClosed
            | Self::Accept(_)
            | Self::Key(_)
            | Self::PayloadTooLong(_)
            | Self::Encode(_)
            | Self::Poisoned => Fault::Local,
        }
    }
}
