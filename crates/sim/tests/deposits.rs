//! Deposits on a real node: coins arrive, confirm, are taken back by a reorganisation, and confirm again.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash as _;
use bitcoin::{Address, BlockHash, Network, ScriptBuf, Transaction, Txid};
use custody::Hash;
use custody::effects::{Branch, OutPoint, Sats};
use custody::name::Name;
use deposits::{
    Block, Coin, Deployment, DepositId, DepositState, Event, Fact, Follower, House, Next, NodeState, Report,
    Row, Rules, Screening, Verdict, Watched, With, advance,
};
use serde_json::{Value, json};
use server::node::{Client, NodeError};
use sim::regtest::Node;

/// Satoshi of each deposit.
const AMOUNT: u64 = 1_000_000;

/// The confirmations that it needs.
const NEEDED: u32 = 3;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn hash(of: impl bitcoin::hashes::Hash<Bytes = [u8; 32]>) -> Hash {
    Hash(of.to_byte_array())
}

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
        false
    }
    fn change(&self, _: &Hash) -> Option<(Name, Option<u32>)> {
        None
    }
}

/// The address of client `acme`.
fn own() -> ScriptBuf {
    let descriptor = chain::BitcoinDecoder::new(custody::genesis::REGTEST).unwrap();
    let account = fixtures::Account::new(0).key();
    use custody::effects::Decoder as _;
    ScriptBuf::from_bytes(descriptor.own_script(&account, Branch::Receive, 0).unwrap())
}

/// A script that is satisfied by nothing but itself, so that tests can spend: P2WSH of OP_TRUE.
fn anyones() -> (ScriptBuf, ScriptBuf) {
    let witness = ScriptBuf::from_bytes(vec![0x51]);
    (witness.to_p2wsh(), witness)
}

/// Feeds a follower from a node, and keeps what it says.
struct Feed {
    watched: Watched,
    rules: Rules,
    follower: Follower,
    mempool: BTreeSet<Txid>,
    states: BTreeMap<OutPoint, DepositState>,
    coins: BTreeMap<OutPoint, Coin>,
    credits: BTreeMap<DepositId, Sats>,
    alarms: BTreeSet<Hash>,
}

impl Feed {
    fn new(rpc: &Client) -> Self {
        let mut watched = Watched::default();
        let address = deposits::Address {
            wallet: name("main"),
            branch: Branch::Receive,
            index: 0,
            client: Some(name("acme")),
            retired: false,
        };
        watched.insert(deposits::output_key(&own()).unwrap(), &address).unwrap();
        let row = Row { wallet: name("main"), from: Sats(0), confirmations: NEEDED };
        let genesis = hash(rpc.block_hash(0).unwrap());
        let deployment = Deployment { genesis, pinned_height: 0, pinned: genesis };
        Self {
            watched,
            rules: Rules::new([row], []).unwrap(),
            follower: Follower::start(deployment, 0, genesis),
            mempool: BTreeSet::new(),
            states: BTreeMap::new(),
            coins: BTreeMap::new(),
            credits: BTreeMap::new(),
            alarms: BTreeSet::new(),
        }
    }

    fn step(&mut self, event: Event<'_>) {
        let with = With { watched: &self.watched, rules: &self.rules, house: &Everybody };
        for fact in self.follower.step(event, &with) {
            let outpoint = fact.outpoint();
            if let Some(step) = fact.step() {
                let next = advance(self.states.get(&outpoint), &step).unwrap();
                self.states.insert(outpoint, next);
            }
            match fact {
                Fact::Confirming { coin, .. } => drop(self.coins.insert(outpoint, coin)),
                Fact::Due { coin, verdict } => {
                    assert_eq!(verdict, Verdict::Credit(name("acme")));
                    assert!(self.credits.insert(coin.id(), coin.amount).is_none(), "credited twice");
                    self.coins.insert(outpoint, coin);
                }
                Fact::TakenBack(coin) => {
                    self.credits.remove(&coin.id());
                    self.coins.remove(&outpoint);
                }
                Fact::Spent { by, authorised, .. } if !authorised => drop(self.alarms.insert(by.txid)),
                _ => {}
            }
        }
    }

    /// One look at the node: its condition, its new blocks, then its mempool.
    fn poll(&mut self, rpc: &Client) -> Result<(), NodeError> {
        let report = report(rpc).inspect_err(|error| self.step(Event::Gone(error.to_string())))?;
        self.step(Event::Node(report));
        loop {
            let (block, height) = match self.follower.next() {
                Next::Wait => break,
                Next::Height(height) => (rpc.block_hash(height)?, height),
                Next::Hash(hash) => (BlockHash::from_byte_array(hash.0), self.follower.next_height()),
            };
            let block = Block::parse(height, &rpc.block(&block)?).unwrap();
            self.step(Event::Block(&block));
        }
        let now: BTreeSet<Txid> = rpc.raw_mempool()?.into_iter().collect();
        let parse = |raw: Vec<u8>| bitcoin::consensus::deserialize::<Transaction>(&raw).unwrap();
        let added = now.difference(&self.mempool).map(|txid| rpc.raw_transaction(txid, None).map(parse));
        let added = added.collect::<Result<Vec<_>, _>>()?;
        let removed: Vec<_> = self.mempool.difference(&now).map(|txid| hash(*txid)).collect();
        self.mempool = now;
        self.step(Event::Mempool { added: &added, removed: &removed });
        Ok(())
    }

    /// The process ends and starts again.
    fn restart(&mut self) {
        self.follower = Follower::resume(self.follower.cursor(), self.coins.values().cloned()).unwrap();
        self.mempool.clear();
    }

    fn state(&self, outpoint: &OutPoint) -> String {
        self.states.get(outpoint).map_or_else(|| "unknown".to_owned(), ToString::to_string)
    }

    fn balance(&self) -> u64 {
        self.credits.values().map(|amount| amount.0).sum()
    }
}

fn report(rpc: &Client) -> Result<Report, NodeError> {
    let info = rpc.chain_info()?;
    let genesis = hash(rpc.block_hash(0)?);
    let pruned: Value = rpc.call("getblockchaininfo", json!([]))?;
    let lowest = pruned["pruneheight"].as_u64().map_or(0, |height| u32::try_from(height).unwrap());
    Ok(Report {
        genesis,
        pinned: Some(genesis),
        blocks: info.blocks,
        headers: info.headers,
        best: hash(info.best),
        lowest,
        loading: info.loading,
    })
}

/// A transaction that spends a reward at `height` and pays `to`.
fn payment(rpc: &Client, height: u32, to: &[(ScriptBuf, u64)]) -> Transaction {
    let block: bitcoin::Block =
        bitcoin::consensus::deserialize(&rpc.block(&rpc.block_hash(height).unwrap()).unwrap()).unwrap();
    let reward = &block.txdata[0];
    let (script, witness) = anyones();
    assert_eq!(reward.output[0].script_pubkey, script);
    let paid: u64 = to.iter().map(|(_, amount)| amount).sum();
    let back = (script, reward.output[0].value.to_sat() - paid - 10_000);
    let output = |(script, amount): &(ScriptBuf, u64)| bitcoin::TxOut {
        value: bitcoin::Amount::from_sat(*amount),
        script_pubkey: script.clone(),
    };
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            previous_output: bitcoin::OutPoint::new(reward.compute_txid(), 0),
            sequence: bitcoin::Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: bitcoin::Witness::from_slice(&[witness.as_bytes()]),
            ..Default::default()
        }],
        output: to.iter().chain([&back]).map(output).collect(),
    }
}

fn invalidate(rpc: &Client, block: BlockHash) {
    rpc.call::<Value>("invalidateblock", json!([block.to_string()])).unwrap();
}

#[test]
fn a_reorganisation_of_a_real_node_takes_a_deposit_back_and_it_confirms_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(directory.path()).unwrap();
    let miner = Address::from_script(&anyones().0, Network::Regtest).unwrap().to_string();
    node.mine(110, &miner).unwrap();
    let mut feed = Feed::new(node.rpc());
    feed.poll(node.rpc()).unwrap();
    assert_eq!(feed.follower.state(), NodeState::Following);

    // Two outputs to one address, seen, then confirmed.
    let tx = payment(node.rpc(), 1, &[(own(), AMOUNT), (own(), AMOUNT + 1)]);
    let txid = node.rpc().send_raw_transaction(&bitcoin::consensus::serialize(&tx)).unwrap();
    let deposit = OutPoint { txid: hash(txid), vout: 0 };
    feed.poll(node.rpc()).unwrap();
    assert_eq!(feed.state(&deposit), "seen");
    for confirmations in 1..NEEDED {
        node.mine(1, &miner).unwrap();
        feed.poll(node.rpc()).unwrap();
        assert_eq!(feed.state(&deposit), format!("confirming({confirmations}/{NEEDED})"));
        assert_eq!(feed.balance(), 0);
    }
    node.mine(1, &miner).unwrap();
    feed.poll(node.rpc()).unwrap();
    assert_eq!((feed.state(&deposit).as_str(), feed.balance()), ("credited", 2 * AMOUNT + 1));
    let first = *feed.credits.keys().next().unwrap();

    // The node goes away and comes back; so does the follower.
    node.stop();
    assert!(feed.poll(node.rpc()).is_err());
    assert!(matches!(feed.follower.state(), NodeState::Gone { .. }));
    feed.restart();
    node.restart().unwrap();
    feed.poll(node.rpc()).unwrap();
    assert_eq!((feed.follower.state(), feed.balance()), (NodeState::Following, 2 * AMOUNT + 1));

    // Its block becomes invalid: first the node has only fewer blocks, then other ones.
    let rpc = node.rpc();
    invalidate(rpc, rpc.block_hash(111).unwrap());
    feed.poll(rpc).unwrap();
    assert_eq!(feed.follower.state(), NodeState::Lagging { blocks: 110, should: 113 });
    assert_eq!(feed.balance(), 2 * AMOUNT + 1, "until another block says otherwise");
    node.mine_only(&miner, &[]).unwrap();
    feed.poll(rpc).unwrap();
    assert_eq!((feed.follower.state(), feed.follower.tip().height), (NodeState::Following, 111));
    assert_eq!(feed.balance(), 0);
    assert_eq!(feed.state(&deposit), "seen", "taken back, and in the mempool again");
    node.mine(NEEDED, &miner).unwrap();
    feed.poll(rpc).unwrap();
    assert_eq!((feed.state(&deposit).as_str(), feed.balance()), ("credited", 2 * AMOUNT + 1));
    let again = *feed.credits.keys().next().unwrap();
    assert_eq!((again.outpoint, again.place.height), (first.outpoint, 112));
    assert_ne!(first.place.block, again.place.block);
    assert!(feed.alarms.is_empty());
}

/// Reorganisations from one block to as many as are needed, each replaced by a longer chain.
#[test]
fn a_real_node_reorganises_at_every_depth() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).unwrap();
    let rpc = node.rpc();
    let miner = Address::from_script(&anyones().0, Network::Regtest).unwrap().to_string();
    node.mine(110, &miner).unwrap();
    let mut feed = Feed::new(rpc);
    feed.poll(rpc).unwrap();
    for depth in 1..=6 {
        let tx = payment(rpc, depth, &[(own(), AMOUNT)]);
        let raw = hex(&bitcoin::consensus::serialize(&tx));
        let txid = tx.compute_txid();
        node.mine_only(&miner, &[raw]).unwrap();
        node.mine(depth - 1, &miner).unwrap();
        let height = rpc.block_count().unwrap() + 1 - depth;
        feed.poll(rpc).unwrap();
        let deposit = OutPoint { txid: hash(txid), vout: 0 };
        let credited = depth >= NEEDED;
        assert_eq!(feed.state(&deposit) == "credited", credited, "{depth}");

        let before = feed.balance() - if credited { AMOUNT } else { 0 };
        invalidate(rpc, rpc.block_hash(height).unwrap());
        for _ in 0..=depth {
            node.mine_only(&miner, &[]).unwrap();
        }
        feed.poll(rpc).unwrap();
        assert_eq!(feed.follower.state(), NodeState::Following, "{depth}");
        assert_eq!((feed.state(&deposit).as_str(), feed.balance()), ("seen", before), "{depth}");
        node.mine(NEEDED, &miner).unwrap();
        feed.poll(rpc).unwrap();
        assert_eq!((feed.state(&deposit).as_str(), feed.balance()), ("credited", before + AMOUNT), "{depth}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
