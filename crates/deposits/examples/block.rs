//! Processor time of looking at one full block against some numbers of watched addresses, beside decoding it alone,
//! and the memory of the index.
//!
//! `cargo run -p deposits --example block --release [ADDRESSES …]`

use std::hint::black_box;
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{Amount, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut};
use bitcoin::{Txid, Witness};
use custody::Hash;
use custody::effects::{Branch, Decoder as _};
use custody::name::Name;
use deposits::{
    Address, BYTES_PER_SLOT, Block, Coin, Deployment, Event, Fact, Follower, House, Report, Rules, Screening,
    Watched, With, output_key,
};

/// Transactions of the block, as many as a full one of the main network has.
const TRANSACTIONS: u32 = 2_500;

/// Its outputs: 2 or 3 for each transaction.
const OUTPUTS: u32 = 6_000;

/// Its inputs: 2 for each transaction, each with one signature.
const INPUTS: u32 = 5_000;

/// Every so many-th output pays us.
const OWN_EVERY: u32 = 20;

/// How often each figure is taken; the median is printed.
const ROUNDS: usize = 21;

/// Addresses whose derivation is measured.
const DERIVED: u32 = 2_000;

struct Everybody;

impl House for Everybody {
    fn wallet_open(&self, _: &Name) -> bool {
        true
    }
    fn client_known(&self, _: &Name) -> bool {
        true
    }
    fn screen(&self, _: &Coin) -> Screening {
        Screening::Pass
    }
    fn authorised(&self, _: &Hash) -> bool {
        true
    }
    fn change(&self, _: &Hash) -> Option<(Name, Option<u32>)> {
        None
    }
}

fn key(number: u32) -> [u8; 32] {
    Hash::of("deposits/example-key", &number.to_be_bytes()).0
}

fn script(key: [u8; 32]) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x51, 0x20], &key[..]].concat())
}

/// A block of Taproot spends, of which every [`OWN_EVERY`]-th output pays one of `addresses`.
fn block(previous: Hash, addresses: u32) -> bitcoin::Block {
    let mut output = 0;
    let transaction = |n: u32| Transaction {
        version: TxVersion::TWO,
        lock_time: LockTime::ZERO,
        input: (0..INPUTS / TRANSACTIONS)
            .map(|vout| TxIn {
                previous_output: OutPoint::new(Txid::from_byte_array(key(n ^ 0x8000_0000)), vout),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[7; 64]]),
            })
            .collect(),
        output: (0..OUTPUTS * (n + 1) / TRANSACTIONS - OUTPUTS * n / TRANSACTIONS)
            .map(|_| {
                output += 1;
                let own = output % OWN_EVERY == 0;
                let number = if own { output.wrapping_mul(7_919) % addresses } else { u32::MAX - output };
                TxOut { value: Amount::from_sat(100_000), script_pubkey: script(key(number)) }
            })
            .collect(),
    };
    let txdata: Vec<_> = (0..TRANSACTIONS).map(transaction).collect();
    let root = bitcoin::merkle_tree::calculate_root(txdata.iter().map(|tx| tx.compute_txid().to_raw_hash()));
    let header = |nonce| Header {
        version: Version::TWO,
        prev_blockhash: bitcoin::BlockHash::from_byte_array(previous.0),
        merkle_root: TxMerkleNode::from_raw_hash(root.expect("transactions")),
        time: 0,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce,
    };
    let good = |header: &Header| header.validate_pow(header.target()).is_ok();
    bitcoin::Block { header: (0..).map(header).find(good).expect("a nonce"), txdata }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn watched(addresses: u32) -> Watched {
    let clients: Vec<_> = (0..1_000).map(|n| name(&format!("client-{n}"))).collect();
    let mut watched = Watched::default();
    for index in 0..addresses {
        let client = clients.get(index as usize % clients.len()).cloned();
        let (wallet, branch) = (name("main"), Branch::Receive);
        let address = Address { wallet, branch, index, client, retired: false };
        watched.insert(key(index), &address).expect("within the limits");
    }
    watched
}

/// Processor time of this thread so far, from what Linux's scheduler tells (`/proc/PID/schedstat`): other
/// programs on the machine make no difference to it.
fn processor_time() -> Duration {
    // The scheduler adds up when it is asked for something.
    std::thread::yield_now();
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux with scheduler statistics");
    Duration::from_nanos(text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("nanoseconds"))
}

/// The processor time of some work.
fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let before = processor_time();
    black_box(work());
    processor_time().saturating_sub(before)
}

/// Milliseconds that half of the rounds kept.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Resident memory in kB; nothing where there is no `/proc`.
fn resident_kb() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What looking at a block costs beside so many addresses, in words.
fn measure(addresses: u32) -> String {
    let deployment = Deployment { genesis: Hash([1; 32]), pinned_height: 0, pinned: Hash([1; 32]) };
    let rules = Rules::default();
    let before = resident_kb();
    let watched = watched(addresses);
    let grown = resident_kb().zip(before).map(|(after, before)| (after.saturating_sub(before)) * 1_024);
    let raw = serialize(&block(Hash([1; 32]), addresses));
    let checked = Block::parse(1, &raw).expect("a block");
    let with = With { watched: &watched, rules: &rules, house: &Everybody };
    let (mut decodes, mut checks, mut looks, mut found) = (Vec::new(), Vec::new(), Vec::new(), 0);
    // In turns, so that all meet the same weather.
    for _ in 0..ROUNDS {
        decodes.push(time(|| deserialize::<bitcoin::Block>(black_box(&raw)).expect("a block")));
        checks.push(time(|| Block::parse(1, black_box(&raw)).expect("a block")));
        let mut follower = Follower::start(deployment.clone(), 0, Hash([1; 32]));
        let report = Report {
            genesis: Hash([1; 32]),
            pinned: Some(Hash([1; 32])),
            blocks: 1,
            headers: 1,
            best: checked.hash(),
            lowest: 0,
            loading: false,
        };
        follower.step(Event::Node(report), &with);
        looks.push(time(|| {
            let facts = follower.step(Event::Block(&checked), &with);
            found = facts.iter().filter(|fact| matches!(fact, Fact::Confirming { .. })).count();
            facts
        }));
    }
    let (decode, check, look) = (median(decodes), median(checks), median(looks));
    let bytes = watched.bytes() / addresses as usize;
    let grown = grown.map_or_else(String::new, |grown| format!(", {} resident", grown / addresses as usize));
    format!(
        "{addresses:>9} addresses: decode {decode:.2} ms (floor), decode and check {check:.2} ms, look {look:.2} ms: \
         {:.2} ms in all, {found} found; {bytes} bytes an address{grown}",
        check + look
    )
}

fn main() {
    let sizes: Vec<u32> = std::env::args().skip(1).map(|size| size.parse().expect("a number")).collect();
    let sizes = if sizes.is_empty() { vec![10_000, 100_000, 1_000_000] } else { sizes };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let profile = if cfg!(debug_assertions) { "profile of the tests" } else { "release" };
    println!("{profile}, load {}, processor time of one thread, median of {ROUNDS}", load.trim());
    println!(
        "block: {TRANSACTIONS} transactions, {INPUTS} inputs, {OUTPUTS} outputs, one in {OWN_EVERY} ours"
    );
    // Once for nothing: whoever comes first pays for the memory of all.
    sizes.iter().max().map(|largest| measure(*largest));
    for addresses in sizes {
        println!("{}", measure(addresses));
    }
    derivation();
}

/// What the first start pays for each address, and each block for each own output.
fn derivation() {
    let decoder = chain::BitcoinDecoder::new(custody::genesis::REGTEST).expect("a known network");
    let account = fixtures::Account::new(0).key();
    let took = time(|| {
        for index in 0..DERIVED {
            let script = decoder.own_script(&account, Branch::Receive, index).expect("an address");
            black_box(output_key(&ScriptBuf::from_bytes(script)));
        }
    });
    let each = took.as_secs_f64() * 1e6 / f64::from(DERIVED);
    println!("deriving an address, at a first start and when an own output is found: {each:.1} µs");
    println!("{BYTES_PER_SLOT} bytes a place of the index");
}
