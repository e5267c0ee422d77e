//! A connection to the server or to a co-signer: one message there, one back.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::Duration;

use custody::PublicKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::{Connection, TlsKey, connect};

use crate::failure::{Class, Failure, Result};

/// A connection that is not made after this long is given up.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// An answer that takes longer than this, beyond a wait that was asked for, does not come any more.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

pub(crate) struct Link(Connection);

/// The socket address of `HOST:PORT`.
pub(crate) fn resolve(address: &str) -> Result<SocketAddr> {
    let next = "write it as HOST:PORT, for example 127.0.0.1:7400";
    let found = address.to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| Failure::usage(format!("{address:?} is no address"), next))
}

impl Link {
    /// Calls `address`, where the holder of `expected` must answer.
    pub(crate) fn open(address: &str, key: &TlsKey, expected: &PublicKey) -> Result<Self> {
        Ok(Self(connect(resolve(address)?, key, expected.0, CONNECT_DEADLINE)?))
    }

    /// Sends a message and waits for the answer.
    pub(crate) fn ask<M: Serialize, R: DeserializeOwned>(
        &mut self,
        message: &M,
        limit: Duration,
    ) -> Result<R> {
        self.0.send(&wire::encode(message)?)?;
        self.receive(limit)
    }

    /// Waits for a message. After `limit` the connection is cut.
    fn receive<R: DeserializeOwned>(&mut self, limit: Duration) -> Result<R> {
        let closer = self.0.closer();
        let (done, waits) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let late = waits.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                closer.close();
            }
            late
        });
        let frame = self.0.recv();
        drop(done);
        if watchdog.join().unwrap_or(false) {
            let what = format!("no answer within {} s", limit.as_secs());
            return Err(Failure::new(Class::Unreachable, what, "try again; look at the process there"));
        }
        Ok(wire::decode(&frame?)?)
    }
}
