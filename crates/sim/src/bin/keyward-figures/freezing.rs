//! From a freeze to the moment at which every signer refuses: through the server, and straight from a person.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use custody::statement::Envelope;
use custody::{Blob, Hash};
use sim::attacker::Scene;
use sim::deployment::COSIGNERS;
use wire::Connection;
use wire::message::{FromCosigner, ReceiptState, ToCosigner};

use crate::floor::Bare;
use crate::report::Times;
use crate::{Failure, Runs, report};

/// Writes that follow from each other: the freeze, before anybody hears that it is held (P16).
const APPENDS: usize = 1;

/// Messages that follow from each other, two to a round trip: the freeze, and the refusal of what is ordered.
const ROUND_TRIPS: usize = 1;

/// The attempt that is ordered of the third signer; what is refused uses no number up.
const REFUSED_ATTEMPT: u32 = 1_000_000;

/// How a freeze comes to the co-signers.
#[derive(Clone, Copy)]
enum Way {
    Server,
    Straight,
}

pub(crate) fn measure(scene: &mut Scene, bare: &mut Bare, runs: Runs) -> Result<(), Failure> {
    let payment = scene.paid(100_000).authorisation;
    let person = COSIGNERS.iter().map(|who| scene.connect("alice", who)).collect::<Result<Vec<_>, _>>();
    let mut person = person?;
    let words = format!(
        "{APPENDS} × (append 1 KiB + fdatasync) + {ROUND_TRIPS} loopback TLS round trip of 1 KiB, to one alone"
    );
    for (way, what) in [
        (Way::Server, "freeze at the server → all signers refuse"),
        (Way::Straight, "freeze at each co-signer → all signers refuse"),
    ] {
        let thing = || frozen(scene, &mut person, payment, way);
        let floor = || bare.pattern(APPENDS, ROUND_TRIPS);
        let (here, floor): (Times, Times) = report::in_turns(runs.freezes, thing, floor)?;
        report::times(what, &here, Some((&floor, &words)));
    }
    Ok(())
}

/// One freeze, and the orders to sign that come after it. Afterwards a quorum lifts it.
fn frozen(
    scene: &mut Scene,
    person: &mut [Connection],
    payment: Hash,
    way: Way,
) -> Result<Duration, Failure> {
    let freeze = scene.freeze("alice");
    let mark = scene.server.mark();
    let begun = Instant::now();
    match way {
        Way::Server => scene.server.submit(&freeze),
        Way::Straight => straight(person, &freeze)?,
    }
    scene.order(payment, ["s1", "s2"]);
    scene.order_one("s3", payment, ["s1", "s3"], REFUSED_ATTEMPT);
    let answers = scene.server.wait("three refusals", |v| {
        let since = || v.said.iter().skip(mark);
        let signed = since().any(|(_, message)| matches!(message, FromCosigner::Signed { .. }));
        let refused = since().filter_map(|(from, message)| match message {
            FromCosigner::Refused { what, rule, .. } if what == "sign" => Some((from.clone(), rule.clone())),
            _ => None,
        });
        let refused: BTreeSet<(String, String)> = refused.collect();
        (signed || refused.len() >= 3).then_some(refused)
    });
    let took = begun.elapsed();
    if answers.len() != 3 || answers.iter().any(|(_, rule)| rule != "P16.frozen") {
        return Err(format!("a freeze that not everybody obeys: {answers:?}").into());
    }
    scene.server.wait("the freeze in the log", |v| v.state.freezes().get(&freeze.id()).map(|_| ()));
    scene.resume();
    Ok(took)
}

/// Hands a freeze to every co-signer, and waits until each holds it.
fn straight(person: &mut [Connection], freeze: &Envelope) -> Result<(), Failure> {
    let message = wire::encode(&ToCosigner::Submit { envelope: Blob(freeze.bytes()) })?;
    for connection in person.iter_mut() {
        connection.send(&message)?;
    }
    for connection in person {
        match wire::decode(&connection.recv()?)? {
            // The others may have brought it here first, in the log already.
            FromCosigner::Receipt { state: ReceiptState::Held | ReceiptState::Consumed, .. } => {}
            other => return Err(format!("a freeze was not taken: {other:?}").into()),
        }
    }
    Ok(())
}
