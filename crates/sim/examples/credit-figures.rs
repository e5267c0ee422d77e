//! From a block of the node to the credit in the books, on a deployment of real programs, beside the time that the
//! node itself takes to show a block.
//!
//! ```text
//! cargo build --release --workspace --bins
//! cargo run --release -p sim --example credit-figures [runs, 40] [deposits of a large block, 2000]
//! ```

#[path = "../src/bin/keyward-figures/report.rs"]
#[allow(dead_code, reason = "the other figures print more")]
mod report;

use std::thread;
use std::time::{Duration, Instant};

use bitcoin::absolute::LockTime;
use bitcoin::consensus::{deserialize, encode::serialize_hex};
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Block, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
};
use custody::genesis::Genesis;
use keys::device::DeviceKey;
use serde_json::Value;
use sim::sandbox::{Failure, Story};
use wire::message::{FromServer, ToServer};
use wire::{Connection, TlsKey};

/// How often the books and the node are looked at.
const POLL: Duration = Duration::from_millis(1);

/// How often the books are looked at while they are busy with many credits: each look is work for them too.
const LARGE_POLL: Duration = Duration::from_millis(20);

/// What does not happen within this does not happen.
const WITHIN: Duration = Duration::from_secs(60);

/// Blocks that a deposit needs (`deposits::DEFAULT_CONFIRMATIONS`).
const NEEDED: u32 = 3;

/// Runs of the large block, each with as many deposits.
const LARGE_RUNS: usize = 5;

/// What a deposit brings, in satoshi. All deposits of a block together stay below 1 BTC, from which on more
/// confirmations are needed.
const DEPOSIT_SAT: u64 = 20_000;

/// Blocks after which a reward can be spent.
const MATURITY: u32 = 100;

/// Payer and miner: whoever likes may spend its coins.
fn anyone() -> (ScriptBuf, String) {
    let witness = ScriptBuf::from_bytes(vec![0x51]);
    let address = Address::p2wsh(&witness, Network::Regtest).to_string();
    (witness, address)
}

/// A person's connection to the server.
struct Person(Connection);

impl Person {
    fn new(story: &Story, id: &str) -> Result<Self, Failure> {
        let (device, passphrase) = story.device(id)?;
        let key = DeviceKey::from_file(&device, &passphrase)?;
        let genesis = Genesis::parse(&std::fs::read(story.genesis_file())?)?;
        let machine = genesis.machines.iter().find(|m| m.id.as_str() == "server").ok_or("no server")?;
        Ok(Self(wire::connect(story.server(), &TlsKey::from_seed(key.tls_seed())?, machine.tls.0, WITHIN)?))
    }

    fn get(&mut self, path: &str) -> Result<Value, Failure> {
        let (method, path) = ("GET".to_owned(), path.to_owned());
        self.0.send(&wire::encode(&ToServer::Api { method, path, idempotency_key: None, body: None })?)?;
        match wire::decode(&self.0.recv()?)? {
            FromServer::Api { status: 200, body } => Ok(serde_json::from_slice(&body.0)?),
            other => Err(format!("no answer but {other:?}").into()),
        }
    }

    /// What client `acme` has, in satoshi.
    fn balance(&mut self) -> Result<u64, Failure> {
        let said = self.get("/v1/balances?client=acme")?;
        let balance = said.pointer("/items/0/assets/0/balance").and_then(Value::as_str);
        Ok(balance.ok_or_else(|| format!("no balance in {said}"))?.parse()?)
    }

    /// The block that the books know.
    fn height(&mut self) -> Result<u64, Failure> {
        let said = self.get("/v1/status")?;
        said.pointer("/node/height")
            .and_then(Value::as_u64)
            .ok_or_else(|| format!("no height in {said}").into())
    }
}

/// Waits until something is so.
fn until(what: &str, poll: Duration, mut so: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let end = Instant::now() + WITHIN;
    while !so()? {
        if Instant::now() > end {
            return Err(format!("{what} does not happen").into());
        }
        thread::sleep(poll);
    }
    Ok(())
}

struct Scene {
    story: Story,
    person: Person,
    /// Heights of rewards that can be spent.
    rewards: std::ops::Range<u32>,
    address: ScriptBuf,
}

impl Scene {
    fn mine(&self) -> Result<(), Failure> {
        Ok(self.story.node().mine(1, &anyone().1).map(drop)?)
    }

    /// A transaction with so many deposits waits at the node.
    fn pay(&mut self, deposits: usize) -> Result<(), Failure> {
        let rpc = self.story.node().rpc();
        let height = self.rewards.next().ok_or("too few rewards")?;
        let block: Block = deserialize(&rpc.block(&rpc.block_hash(height)?)?)?;
        let reward = block.txdata.first().ok_or("a block without a reward")?;
        let deposit = TxOut { value: Amount::from_sat(DEPOSIT_SAT), script_pubkey: self.address.clone() };
        let paid = DEPOSIT_SAT * u64::try_from(deposits)?;
        // What is left over is the fee, but for a little: the node refuses high ones.
        let rest = reward.output.iter().map(|o| o.value.to_sat()).sum::<u64>() - paid - 200_000;
        let back = TxOut { value: Amount::from_sat(rest), script_pubkey: anyone().0.to_p2wsh() };
        let transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(reward.compute_txid(), 0),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: Witness::from_slice(&[anyone().0.as_bytes()]),
                ..TxIn::default()
            }],
            output: std::iter::repeat_n(deposit, deposits).chain([back]).collect(),
        };
        Ok(rpc
            .call("sendrawtransaction", serde_json::json!([serialize_hex(&transaction)]))
            .map(|_: Value| ())?)
    }

    fn followed(&mut self) -> Result<(), Failure> {
        let height = u64::from(self.story.node().rpc().block_count()?);
        let Self { person, .. } = self;
        until("the node is followed", POLL, || Ok(person.height()? >= height))
    }

    /// From asking the node for a block until the books show the credit.
    fn credit(&mut self, deposits: usize) -> Result<Duration, Failure> {
        self.pay(deposits)?;
        for _ in 1..NEEDED {
            self.mine()?;
            self.followed()?;
        }
        // It has nothing else to do.
        thread::sleep(Duration::from_millis(1_500));
        let balance = self.person.balance()? + DEPOSIT_SAT * u64::try_from(deposits)?;
        let poll = if deposits == 1 { POLL } else { LARGE_POLL };
        report::time(|| {
            self.mine()?;
            let Self { person, .. } = self;
            until("a credit", poll, || Ok(person.balance()? == balance))
        })
    }

    /// From asking the node for a block until another client sees it.
    fn shown(&self) -> Result<Duration, Failure> {
        let rpc = self.story.node().rpc();
        let height = rpc.block_count()?;
        report::time(|| {
            self.mine()?;
            until("a block", POLL, || Ok(rpc.block_count()? > height))
        })
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let runs: usize = arguments.next().map_or(Ok(40), |text| text.parse())?;
    let large: usize = arguments.next().map_or(Ok(2_000), |text| text.parse())?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let profile = if cfg!(debug_assertions) { "profile of the tests" } else { "release" };
    println!("{} processors, load {}, {profile}", thread::available_parallelism()?, load.trim());
    let directory = tempfile::TempDir::with_prefix("keyward-credits-")?;
    let story = Story::deploy(directory.path(), 1, 1_000_000)?;
    let person = Person::new(&story, "alice")?;
    let given = story.keyward("alice", &["address", "new", "--wallet", "vault", "--client", "acme"])?;
    let given = given.get(0).unwrap_or(&given).get("address").and_then(Value::as_str).ok_or("no address")?;
    let address = given.parse::<Address<_>>()?.require_network(Network::Regtest)?.script_pubkey();
    let first = story.node().rpc().block_count()? + 1;
    let count = u32::try_from(runs + LARGE_RUNS)?;
    story.node().mine(count + MATURITY, &anyone().1)?;
    let mut scene = Scene { story, person, rewards: first..first + count, address };
    scene.followed()?;
    println!();
    report::columns();
    let words = "the node mines the block and shows it to another client, by the same polling";
    let (mut times, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        floors.push(scene.shown()?);
        scene.followed()?;
        times.push(scene.credit(1)?);
    }
    let floor = floors.into();
    report::times("a block → the credit of its deposit", &times.into(), Some((&floor, words)));
    let times = (0..LARGE_RUNS).map(|_| scene.credit(large)).collect::<Result<Vec<_>, _>>()?;
    let what = format!("a block → all {large} credits, seen every 20 ms");
    report::times(&what, &times.into(), Some((&floor, words)));
    Ok(())
}
