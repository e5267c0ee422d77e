//! Real processes of three signers and a witness, each with its disk, and TLS between them.

use std::time::{Duration, Instant};

use custody::effects::Branch;
use custody::payment::Allocate;
use custody::statement::{Body, Envelope, pae};
use sim::attacker::Scene;
use sim::deployment::{COSIGNERS, name};
use wire::message::FromCosigner;

use crate::floor::{Bare, rate_of_all_cores, verifications_per_s};
use crate::report::Times;
use crate::signing::Library;
use crate::{Failure, Runs, freezing, host, report};

/// Writes that follow from each other in one agreed batch, each durable before the next message leaves
/// (P10): the proposer's value; another's proposal, before its prevote; the prevotes, before its
/// precommit; the decision; the batch, before the co-signature; the final head, before anybody is told.
const BATCH_APPENDS: usize = 6;

/// Messages that follow from each other, two to a round trip: the statement (1); proposal, prevote,
/// precommit and co-signature, each through the server (2 each); the final head (1).
const BATCH_ROUND_TRIPS: usize = 5;

/// Writes that follow from each other in one signature: the number of the session.
const SIGNATURE_APPENDS: usize = 1;

/// Messages that follow from each other: the order (1); commitments and share, each through the server
/// (2 each); the transaction (1).
const SIGNATURE_ROUND_TRIPS: usize = 3;

/// Orders under way at a time when the rate is measured.
const UNDER_WAY: usize = 16;

/// What a part of a payment takes when it is measured alone, and what bare means take for it; medians.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) here: Duration,
    pub(crate) floor: Duration,
}

/// The parts of a payment.
pub(crate) struct Parts {
    pub(crate) batch: Part,
    pub(crate) signature: Part,
}

fn allocate(scene: &mut Scene) -> Envelope {
    let (wallet, client) = (name("main"), name("acme"));
    scene.write("server", Body::Allocate(Allocate { wallet, client, branch: Branch::Receive, count: 1 }))
}

pub(crate) fn measure(runs: Runs) -> Result<Parts, Failure> {
    let mut scene = Scene::ready();
    let processes: Vec<_> = COSIGNERS.iter().map(|c| ((*c).to_owned(), scene.signers.id(c))).collect();
    host::memory("peak memory of their start (Argon2id: 67 MB)", &processes);
    host::forget_peaks(&processes)?;
    report::columns();
    let mut bare = Bare::new()?;
    let batch = batches(&mut scene, &mut bare, runs)?;
    agreed_together(&mut scene, runs)?;
    let signature = signatures(&mut scene, &mut bare, runs)?;
    freezing::measure(&mut scene, &mut bare, runs)?;
    host::memory("peak memory since, after these runs", &processes);
    Ok(Parts { batch, signature })
}

fn batches(scene: &mut Scene, bare: &mut Bare, runs: Runs) -> Result<Part, Failure> {
    let (mut here, mut floor, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs.over_the_wire {
        let envelope = allocate(scene);
        floor.push(bare.pattern(BATCH_APPENDS, BATCH_ROUND_TRIPS)?);
        shared.push(bare.sharing(COSIGNERS.len(), BATCH_APPENDS)?);
        let begun = Instant::now();
        scene.server.submit(&envelope);
        scene.server.wait("a batch", |v| v.outcome(&envelope).map(|_| ()));
        here.push(begun.elapsed());
        scene.server.settle();
    }
    let (here, floor, shared): (Times, Times, Times) = (here.into(), floor.into(), shared.into());
    let words = format!(
        "{BATCH_APPENDS} × (append 1 KiB + fdatasync) + {BATCH_ROUND_TRIPS} loopback TLS round trips of 1 KiB, \
         one after the other, nothing else"
    );
    report::times("one statement agreed by four", &here, Some((&floor, &words)));
    let words = format!("{BATCH_APPENDS} × (append 1 KiB + fdatasync) by four writers at once on this disk");
    report::times("  the same beside four who share the disk", &here, Some((&shared, &words)));
    Ok(Part { here: here.p50(), floor: floor.p50() })
}

fn agreed_together(scene: &mut Scene, runs: Runs) -> Result<(), Failure> {
    let count = runs.together;
    let envelopes: Vec<Envelope> = (0..count).map(|_| allocate(scene)).collect();
    let first = envelopes.first().ok_or("no statement")?;
    let bytes = pae(&first.unverified()?.payload()?).len();
    let ceiling = verifications_per_s(bytes)? / COSIGNERS.len() as f64;
    let begun = Instant::now();
    for envelope in &envelopes {
        scene.server.submit(envelope);
    }
    scene.server.wait("all batches", |v| envelopes.iter().all(|e| v.outcome(e).is_some()).then_some(()));
    let here = vec![begun.elapsed()].into();
    let words = "strict Ed25519 verification on all cores, once by each of four co-signers";
    report::rate(&format!("statements agreed, {count} at once"), count, &here, ceiling, words);
    Ok(())
}

fn signatures(scene: &mut Scene, bare: &mut Bare, runs: Runs) -> Result<Part, Failure> {
    let library = Library::new()?;
    let payment = scene.paid(100_000).authorisation;
    let signed = |scene: &mut Scene| {
        let mark = scene.server.mark();
        let begun = Instant::now();
        scene.order(payment, ["s1", "s2"]);
        let result = scene.result(mark, payment);
        let refused = |(rule, _)| -> Failure { format!("no signature: {rule}").into() };
        result.map(|_| begun.elapsed()).map_err(refused)
    };
    let floor = || Ok(bare.pattern(SIGNATURE_APPENDS, SIGNATURE_ROUND_TRIPS)? + library.time()?);
    let (here, floor) = report::in_turns(runs.over_the_wire, || signed(scene), floor)?;
    let words = format!(
        "the library's own FROST in one process + {SIGNATURE_APPENDS} × (append 1 KiB + fdatasync) + \
         {SIGNATURE_ROUND_TRIPS} loopback TLS round trips of 1 KiB"
    );
    report::times("FROST 2-of-3 through processes, one at a time", &here, Some((&floor, &words)));
    let signature = Part { here: here.p50(), floor: floor.p50() };

    let ceiling = rate_of_all_cores(runs.signatures, || {
        let library = library.clone();
        Ok(move || library.sign().is_ok())
    })?;
    let count = runs.sessions;
    let mark = scene.server.mark();
    let begun = Instant::now();
    let (mut ordered, mut done) = (0, 0);
    while done < count {
        while ordered < count && ordered - done < UNDER_WAY {
            scene.order(payment, ["s1", "s2"]);
            ordered += 1;
        }
        done = scene.server.wait("more signatures", |v| {
            let since = v.said.iter().skip(mark);
            let signed = since.filter(|(_, m)| matches!(m, FromCosigner::Signed { .. })).count();
            (signed > done).then_some(signed)
        });
    }
    let here = vec![begun.elapsed()].into();
    let words = "the library's own FROST on all cores, no disk, no network";
    report::rate(&format!("FROST signatures, {UNDER_WAY} under way, {count}"), count, &here, ceiling, words);
    Ok(signature)
}
