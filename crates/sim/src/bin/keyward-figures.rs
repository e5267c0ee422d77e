//! Prints what things cost, each beside its floor: the same work by the bare library, measured in the
//! same run. Nothing is asserted; a figure that is worth quoting is quoted with its floor.
//!
//! `cargo run --release -p sim --bin keyward-figures`

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash as _;
use chain::BitcoinDecoder;
use custody::effects::{Branch, Sats};
use custody::genesis::REGTEST;
use custody::payment::Allocate;
use custody::state::State;
use custody::statement::{Body, Envelope};
use ed25519_dalek::Signer as _;
use frost_secp256k1_tr as frost;
use keys::round::{self, Binding, Signable};
use keys::seed::Seed;
use keys::share::{HeldShare, ShareSecret, deal};
use rand_core::OsRng;
use sim::attacker::Scene;
use sim::deployment::{BEGIN_S, Deployment, name};
use wire::message::FromCosigner;

type Failure = Box<dyn std::error::Error>;

/// Runs of one measurement; the median is printed.
const RUNS: usize = 200;

/// Statements in one measured replay.
const STATEMENTS: u64 = 2_000;

fn median(mut work: impl FnMut() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begun = Instant::now();
        work()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(RUNS / 2).copied().unwrap_or_default())
}

fn row(
    what: &str,
    figure: impl std::fmt::Display,
    floor: impl std::fmt::Display,
    ratio: impl std::fmt::Display,
) {
    println!("{what:<44} {figure:>14} {floor:>14} {ratio:>8}");
}

fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

fn main() -> Result<(), Failure> {
    println!("{:<44} {:>14} {:>14} {:>8}", "", "here", "floor", "ratio");
    signing()?;
    applying()?;
    over_the_wire();
    sizes();
    Ok(())
}

/// Payments that are signed one after the other, and then many at a time.
const PAYMENTS: usize = 100;

/// Orders under way at a time when the rate is measured.
const UNDER_WAY: usize = 16;

/// Batches of one statement that are agreed on one after the other.
const BATCHES: usize = 100;

/// Statements that are agreed on together, as many as a co-signer lets wait.
const TOGETHER: usize = 400;

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Real processes of three signers and a witness, on one machine, each with its disk and TLS.
fn over_the_wire() {
    let mut scene = Scene::ready();
    let allocate = |scene: &mut Scene| {
        let (wallet, client) = (name("main"), name("acme"));
        scene.write("server", Body::Allocate(Allocate { wallet, client, branch: Branch::Receive, count: 1 }))
    };
    let mut times = Vec::new();
    for _ in 0..BATCHES {
        let envelope = allocate(&mut scene);
        let begun = Instant::now();
        scene.server.submit(&envelope);
        scene.server.wait("a batch", |v| v.outcome(&envelope).map(|_| ()));
        times.push(begun.elapsed());
        scene.server.settle();
    }
    row("one statement agreed, median", millis(middle(times)), "10 ms goal", "-");

    let envelopes: Vec<Envelope> = (0..TOGETHER).map(|_| allocate(&mut scene)).collect();
    let begun = Instant::now();
    for envelope in &envelopes {
        scene.server.submit(envelope);
    }
    scene.server.wait("all batches", |v| envelopes.iter().all(|e| v.outcome(e).is_some()).then_some(()));
    let rate = TOGETHER as f64 / begun.elapsed().as_secs_f64();
    row("statements agreed per second", format!("{rate:.0} /s"), "-", "-");

    let payment = scene.paid(100_000).authorisation;
    let mut times = Vec::new();
    for _ in 0..PAYMENTS {
        let mark = scene.server.mark();
        let begun = Instant::now();
        scene.order(payment, ["s1", "s2"]);
        if scene.result(mark, payment).is_ok() {
            times.push(begun.elapsed());
        }
    }
    row("FROST 2-of-3 through processes, median", millis(middle(times)), "5 ms goal", "-");

    let mark = scene.server.mark();
    let begun = Instant::now();
    let mut ordered = 0;
    let mut done = 0;
    while done < PAYMENTS * 3 {
        while ordered < PAYMENTS * 3 && ordered - done < UNDER_WAY {
            scene.order(payment, ["s1", "s2"]);
            ordered += 1;
        }
        done = scene.server.wait("more signatures", |v| {
            let since = v.said.iter().skip(mark);
            let signed = since.filter(|(_, m)| matches!(m, FromCosigner::Signed { .. })).count();
            (signed > done).then_some(signed)
        });
    }
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    row("FROST signatures per second", format!("{rate:.0} /s"), "300 /s goal", "-");
    let memory = scene.signers.memory_kb("s1") as f64 / 1e3;
    row("memory of a signer", format!("{memory:.0} MB"), "50 MB goal", "-");
}

/// A digest to sign: the only way to one is a decoded transaction.
fn digest() -> Result<chain::Digest, Failure> {
    let outpoint = bitcoin::OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), 0);
    let script_pubkey = bitcoin::ScriptBuf::from_bytes([&[0x51, 0x20][..], &[3; 32]].concat());
    let tx = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn { previous_output: outpoint, ..bitcoin::TxIn::default() }],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::from_sat(900),
            script_pubkey: script_pubkey.clone(),
        }],
    };
    let raw = bitcoin::consensus::serialize(&tx);
    let digests = chain::digest::digests(&raw, &[(script_pubkey.into_bytes(), Sats(1_000))])?;
    digests.into_iter().next().ok_or_else(|| "no digest".into())
}

/// FROST 2-of-3, all the work of both signers and the aggregation, in one process.
fn signing() -> Result<(), Failure> {
    let holders = ["s1", "s2", "s3"].map(name);
    let dealt = deal(Seed::generate(&mut OsRng)?.account(1, 0)?, 2, &holders, &mut OsRng)?;
    let open = |(holder, share): &(_, ShareSecret)| ShareSecret::open(share.expose(), &dealt.public, holder);
    let shares: Vec<HeldShare> = dealt.shares.iter().take(2).map(open).collect::<Result<_, _>>()?;
    let digest = digest()?;
    let signers: BTreeSet<_> = holders.iter().take(2).cloned().collect();
    let here = median(|| {
        let signable = Signable::Spend { digest: &digest, branch: Branch::Receive, index: 0 };
        let mut commitments = BTreeMap::new();
        let mut nonces = Vec::new();
        for share in &shares {
            let binding = Binding { session: [1; 32], input: 0, signers: signers.clone() };
            let (nonce, commitment) = round::commit(share, binding, &mut OsRng)?;
            nonces.push(nonce);
            commitments.insert(share.holder().clone(), commitment);
        }
        let mut parts = BTreeMap::new();
        for (nonce, share) in nonces.into_iter().zip(&shares) {
            parts.insert(share.holder().clone(), round::sign(nonce, share, &signable, &commitments)?);
        }
        round::aggregate(&dealt.public, &signable, &commitments, &parts)?;
        Ok(())
    })?;
    let (packages, public) =
        frost::keys::generate_with_dealer(3, 2, frost::keys::IdentifierList::Default, OsRng)?;
    let packages: Vec<frost::keys::KeyPackage> =
        packages.into_values().take(2).map(TryInto::try_into).collect::<Result<_, _>>()?;
    let floor = median(|| {
        let mut commitments = BTreeMap::new();
        let mut nonces = Vec::new();
        for package in &packages {
            let (nonce, commitment) = frost::round1::commit(package.signing_share(), &mut OsRng);
            commitments.insert(*package.identifier(), commitment);
            nonces.push(nonce);
        }
        let signing = frost::SigningPackage::new(commitments, digest.as_bytes());
        let mut parts = BTreeMap::new();
        for (nonce, package) in nonces.iter().zip(&packages) {
            parts.insert(
                *package.identifier(),
                frost::round2::sign_with_tweak(&signing, nonce, package, None)?,
            );
        }
        frost::aggregate_with_tweak(&signing, &parts, &public, None)?;
        Ok(())
    })?;
    let ratio = format!("{:.2}", here.as_secs_f64() / floor.as_secs_f64());
    row("FROST 2-of-3 with child key, in process", micros(here), micros(floor), ratio);
    Ok(())
}

/// Replay of signed statements against bare verification of as many signatures.
fn applying() -> Result<(), Failure> {
    let mut deployment = Deployment::default();
    let mut state = State::new(deployment.genesis.clone())?;
    let decoder = BitcoinDecoder::new(REGTEST)?;
    // Freezes: eight are applied, the rest rejected by the limit; all are verified, consumed, recorded.
    let sign = |deployment: &mut Deployment| {
        let freeze = custody::statement::Freeze { scope: custody::statement::Scope::Everything };
        deployment.sign("alice", BEGIN_S, Body::Freeze(freeze))
    };
    let envelopes: Vec<Envelope> = (0..STATEMENTS).map(|_| sign(&mut deployment)).collect();
    let mut batches = Vec::new();
    for chunk in envelopes.chunks(250) {
        let (batch, _) = state.compose(BEGIN_S, chunk, &decoder);
        state.apply(&batch, &decoder)?;
        batches.push(batch);
    }
    let mut replay = State::new(deployment.genesis.clone())?;
    let begun = Instant::now();
    for batch in &batches {
        replay.apply(batch, &decoder)?;
    }
    let here = begun.elapsed();
    let key = sim::deployment::key("alice").verifying_key();
    let message = vec![7; envelopes.first().map_or(0, |e| e.bytes().len())];
    let signature = sim::deployment::key("alice").sign(&message);
    let begun = Instant::now();
    for _ in 0..STATEMENTS {
        key.verify_strict(&message, &signature)?;
    }
    let floor = begun.elapsed();
    let rate = |time: Duration| format!("{:.0} /s", STATEMENTS as f64 / time.as_secs_f64());
    let ratio = format!("{:.2}", floor.as_secs_f64() / here.as_secs_f64());
    row("apply of Ed25519-signed statements", rate(here), rate(floor), ratio);
    Ok(())
}

/// Sizes of the programs beside this one.
fn sizes() {
    let folder = std::env::current_exe().ok().and_then(|p| p.parent().map(std::path::Path::to_owned));
    for program in ["keyward", "keyward-signer", "keyward-ceremony", "keyward-server"] {
        let size = folder.as_ref().and_then(|f| f.join(program).metadata().ok()).map(|m| m.len());
        if let Some(size) = size {
            row(&format!("size of {program}"), format!("{:.1} MB", size as f64 / 1e6), "-", "-");
        }
    }
}
