//! One link: dials a co-signer for ever, writes what waits for it, and takes in what it says.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use custody::name::Name;
use wire::message::FromCosigner;
use wire::{Connection, WireError};

use crate::desk::Desk;

/// The first pause after a failed call …
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// … which doubles up to this: a co-signer that comes back waits no longer.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long a call may take until it is answered.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Keeps one link up, for ever.
pub(crate) fn keep_up(desk: &Arc<Desk>, name: &Name, address: &str) {
    let mut backoff = BACKOFF_MIN;
    let mut said = String::new();
    loop {
        match dial(desk, name, address) {
            Ok(connection) => {
                eprintln!("keyward-server: linked with {name}");
                (backoff, said) = (BACKOFF_MIN, String::new());
                let end = serve(desk, name, connection);
                eprintln!("keyward-server: link with {name} ended: {end}");
            }
            Err(why) if why != said => {
                eprintln!("keyward-server: no link with {name}: {why}");
                said = why;
            }
            Err(_) => {}
        }
        thread::sleep(backoff);
        backoff = backoff.saturating_mul(2).min(BACKOFF_MAX);
    }
}

fn dial(desk: &Desk, name: &Name, address: &str) -> Result<Connection, String> {
    // Who leaves with the newest batch is still asked for its head.
    let tls = {
        let core = desk.core();
        let state = core.replica.state();
        let voters = state.voters_at(core.replica.height()).0;
        state.cosigner(name).or_else(|| voters.iter().find(|card| card.name == *name)).map(|card| card.tls)
    };
    let tls =
        tls.ok_or_else(|| "the log has no co-signer of this name: it is dialled once it joins".to_owned())?;
    let found: Option<SocketAddr> = address.to_socket_addrs().map_err(|e| e.to_string())?.next();
    let found = found.ok_or_else(|| format!("{address} has no address"))?;
    wire::connect(found, desk.keys.tls(), tls.0, DIAL_TIMEOUT).map_err(|e| e.to_string())
}

/// Serves a connection to its end.
fn serve(desk: &Arc<Desk>, name: &Name, connection: Connection) -> WireError {
    let closer = connection.closer();
    let (mut reader, mut writer) = connection.split();
    let Some(queue) = desk.queue(name) else { return WireError::Closed };
    queue.set_open(true);
    let (outside, who) = (Arc::clone(desk), name.clone());
    let writing = thread::spawn(move || {
        while let Some(message) = outside.queue(&who).and_then(|queue| queue.next()) {
            match writer.send(&message) {
                // A relayed message can be a few bytes too long for a frame; it is lost, as mail may be.
                Ok(()) | Err(WireError::PayloadTooLong(_)) => {}
                Err(_) => break,
            }
        }
        closer.close();
    });
    desk.connected(name);
    let end = loop {
        match reader.recv().and_then(|bytes| wire::decode::<FromCosigner>(&bytes)) {
            Ok(message) => desk.take(name, message),
            Err(error) => break error,
        }
    };
    queue.set_open(false);
    desk.disconnected(name);
    drop(reader);
    let _ = writing.join();
    end
}
