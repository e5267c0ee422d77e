//! From the last approval to the node's mempool, on a deployment of real programs.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use approver::{Ask, Payee};
use bitcoin::Txid;
use custody::effects::Sats;
use keys::device::DeviceKey;
use sim::deployment::name;
use sim::regtest::Node;
use sim::sandbox::Story;

use crate::person::{Person, now};
use crate::report::Times;
use crate::wired::Parts;
use crate::{Failure, Runs, host, report};

/// How often the mempool is looked at.
const POLL: Duration = Duration::from_millis(1);

/// A payment that is not in the mempool by then does not come.
const MEMPOOL_WITHIN: Duration = Duration::from_secs(20);

/// A deposit, and what each payment takes of one, in satoshi: each payment has its own.
const DEPOSIT_SAT: u64 = 2_000_000;
const PAYMENT_SAT: u64 = 500_000;

/// Payments between strangers that the node takes in a row before one must confirm.
const STRANGERS_IN_A_ROW: usize = 20;

fn mempool(node: &Node) -> Result<BTreeSet<Txid>, Failure> {
    Ok(node.rpc().raw_mempool()?.into_iter().collect())
}

/// Waits until the mempool holds something new.
fn arrival(node: &Node, before: &BTreeSet<Txid>) -> Result<(), Failure> {
    let until = Instant::now() + MEMPOOL_WITHIN;
    while mempool(node)?.is_subset(before) {
        if Instant::now() > until {
            return Err("the payment does not come to the mempool".into());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

pub(crate) fn measure(runs: Runs, parts: &Parts) -> Result<(), Failure> {
    let directory = tempfile::TempDir::with_prefix("keyward-figures-")?;
    // One payment beforehand is not counted: connections and caches are made by it.
    let coins = u32::try_from(runs.payments + 1)?;
    let mut story = Story::deploy(directory.path(), coins, DEPOSIT_SAT)?;
    let processes = story.processes();
    host::forget_peaks(&processes)?;
    println!();
    report::columns();
    let (device, passphrase) = story.device("bob")?;
    let opening =
        || report::time(|| DeviceKey::from_file(&device, &passphrase).map(drop).map_err(Into::into));
    let times: Vec<Duration> = (0..runs.openings).map(|_| opening()).collect::<Result<_, _>>()?;
    report::times("opening a device key (Argon2id, slow on purpose)", &times.into(), None);

    let strangers: Vec<Duration> =
        (0..runs.payments).map(|i| strangers(&mut story, i)).collect::<Result<_, _>>()?;
    let node: Times = strangers.into();
    let here = last_approvals(&story, runs)?.into();
    let words = "the node takes a stranger's signed transaction and shows it, by the same polling";
    report::times("last approval → mempool", &here, Some((&node, words)));
    let sum = parts.batch.floor * 2 + parts.signature.floor + node.p50();
    let words = "the floors of two agreed batches and of one signature, as above, + the node";
    report::times("  the same beside all its parts", &here, Some((&vec![sum].into(), words)));
    let alone =
        [("two agreed batches", parts.batch.here * 2), ("FROST", parts.signature.here), ("node", node.p50())];
    report::note(&format!("its parts, each measured alone: {}", report::sum(&alone)));

    host::memory("peak memory since the start, after these payments", &processes);
    host::idle(&processes, Duration::from_secs(runs.idle_s))
}

fn strangers(story: &mut Story, i: usize) -> Result<Duration, Failure> {
    if i.is_multiple_of(STRANGERS_IN_A_ROW) {
        story.confirm()?;
    }
    let (_, raw) = story.strangers_payment(10_000)?;
    let before = mempool(story.node())?;
    report::time(|| {
        story.node().rpc().send_raw_transaction(&raw)?;
        arrival(story.node(), &before)
    })
}

fn last_approvals(story: &Story, runs: Runs) -> Result<Vec<Duration>, Failure> {
    let genesis = std::fs::read(story.genesis_file())?;
    let person = |id: &str| {
        let (device, passphrase) = story.device(id)?;
        Person::new(DeviceKey::from_file(&device, &passphrase)?, &genesis, story.server())
    };
    let (mut alice, mut bob, mut carol) = (person("alice")?, person("bob")?, person("carol")?);
    story.confirm()?;
    let mut times = Vec::new();
    for _ in 0..=runs.payments {
        let ask = Ask {
            wallet: name("vault"),
            outputs: vec![(Payee::Destination(name("supplier")), Sats(PAYMENT_SAT))],
            fee_max: Sats(20_000),
            fee_max_ppm: 50_000,
            end: now() + 7_200,
            renews: None,
            despite: Vec::new(),
            note: None,
            client: Some(name("acme")),
        };
        let id = carol.request(ask)?;
        let shown = alice.view(id)?;
        alice.approve(&shown)?;
        let shown = bob.view(id)?;
        let before = mempool(story.node())?;
        let begun = Instant::now();
        bob.approve_and_go(&shown)?;
        arrival(story.node(), &before)?;
        times.push(begun.elapsed());
    }
    Ok(times.split_off(1))
}
