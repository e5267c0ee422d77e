//! A stand-in for Bitcoin Core: real regtest blocks behind the few RPC methods that the server uses. The
//! real node is asked in the crate `sim`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bitcoin::absolute::LockTime;
use bitcoin::bip32::{ChildNumber, Xpub};
use bitcoin::block::{Header, Version};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, transaction,
};
use serde_json::{Value, json};

/// Indices of a range that are looked at: the tests use no further ones.
const INDICES: u32 = 50;

#[derive(Default)]
pub(crate) struct Chain {
    blocks: Vec<Block>,
    mempool: BTreeMap<Txid, Transaction>,
    calls: usize,
    /// Scans are not answered; and whether one waits.
    scans_held: bool,
    scan_waits: bool,
}

impl Chain {
    fn mine(&mut self, transactions: Vec<Transaction>) {
        let height = u32::try_from(self.blocks.len()).unwrap();
        let coinbase =
            plain(OutPoint::null(), height, TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() });
        let txdata: Vec<Transaction> = std::iter::once(coinbase).chain(transactions).collect();
        let root =
            bitcoin::merkle_tree::calculate_root(txdata.iter().map(|tx| tx.compute_txid().to_raw_hash()));
        let header = |nonce| Header {
            version: Version::TWO,
            prev_blockhash: self.blocks.last().unwrap().block_hash(),
            merkle_root: TxMerkleNode::from_raw_hash(root.unwrap()),
            time: 1_767_225_600 + height,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce,
        };
        let header = (0..).map(header).find(|h| h.validate_pow(h.target()).is_ok()).unwrap();
        self.blocks.push(Block { header, txdata });
    }

    fn unspent(&self) -> Vec<(OutPoint, TxOut, usize)> {
        let mut found = BTreeMap::new();
        for (height, block) in self.blocks.iter().enumerate().skip(1) {
            for tx in &block.txdata {
                for input in &tx.input {
                    found.remove(&input.previous_output);
                }
                for (vout, output) in (0..).zip(&tx.output) {
                    found.insert(OutPoint::new(tx.compute_txid(), vout), (output.clone(), height));
                }
            }
        }
        found.into_iter().map(|(outpoint, (output, height))| (outpoint, output, height)).collect()
    }

    fn accept(&mut self, tx: Transaction) {
        let clash = |other: &Transaction| {
            other.input.iter().any(|i| tx.input.iter().any(|j| i.previous_output == j.previous_output))
        };
        self.mempool.retain(|_, other| !clash(other));
        self.mempool.insert(tx.compute_txid(), tx);
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, (i64, String)> {
        self.calls += 1;
        let block = |hash: &Value| {
            let found = self.blocks.iter().find(|b| json!(b.block_hash().to_string()) == *hash);
            found.ok_or((-5, "Block not found".to_owned()))
        };
        let transaction = |hex: &Value| {
            let bytes = hex::decode(hex.as_str().unwrap()).unwrap();
            deserialize::<Transaction>(&bytes).unwrap()
        };
        let tip = self.blocks.len() - 1;
        match method {
            "getblockchaininfo" => Ok(json!({
                "chain": "regtest", "blocks": tip, "headers": tip,
                "bestblockhash": self.blocks[tip].block_hash().to_string(),
                "mediantime": 0, "initialblockdownload": false,
            })),
            "getblockhash" => {
                let height = usize::try_from(params[0].as_u64().unwrap()).unwrap();
                let found = self.blocks.get(height).ok_or((-8, "Block height out of range".to_owned()))?;
                Ok(json!(found.block_hash().to_string()))
            }
            "getblockheader" => Ok(json!(hex::encode(serialize(&block(&params[0])?.header)))),
            "getblock" if params[1] == json!(0) => Ok(json!(hex::encode(serialize(block(&params[0])?)))),
            "getblock" => {
                let txids = block(&params[0])?.txdata.iter().map(|tx| tx.compute_txid().to_string());
                Ok(json!({"tx": txids.collect::<Vec<_>>()}))
            }
            "estimatesmartfee" => Ok(json!({"errors": ["Insufficient data"], "blocks": 6})),
            "scantxoutset" => {
                let coin = |(outpoint, output, height): &(OutPoint, TxOut, usize)| {
                    let mut asked = params[1].as_array().unwrap().iter();
                    let descriptor = asked.find_map(|one| described(one, &output.script_pubkey))?;
                    let sat = output.value.to_sat();
                    let text = format!("{}.{:08}", sat / 100_000_000, sat % 100_000_000);
                    Some(json!({
                        "txid": outpoint.txid.to_string(), "vout": outpoint.vout, "desc": descriptor,
                        "scriptPubKey": hex::encode(output.script_pubkey.as_bytes()),
                        "amount": serde_json::value::RawValue::from_string(text).unwrap(), "height": height,
                        "blockhash": self.blocks[*height].block_hash().to_string(), "coinbase": false,
                    }))
                };
                let own: Vec<Value> = self.unspent().iter().filter_map(coin).collect();
                let best = self.blocks[tip].block_hash().to_string();
                Ok(json!({"height": tip, "bestblock": best, "unspents": own, "total_amount": 0}))
            }
            "getmempoolentry" => {
                let txid: Txid = params[0].as_str().unwrap().parse().unwrap();
                let found = self.mempool.get(&txid).ok_or((-5, "Transaction not in mempool".to_owned()))?;
                Ok(json!({"vsize": found.vsize(), "fees": {"base": 0}, "spentby": []}))
            }
            "testmempoolaccept" => {
                let tx = transaction(&params[0][0]);
                let unspent = self.unspent();
                let known = |i: &TxIn| unspent.iter().any(|(o, ..)| *o == i.previous_output);
                let signed = |i: &TxIn| i.witness.len() == 1 && i.witness[0].len() == 64;
                let allowed = tx.input.iter().all(|i| known(i) && signed(i));
                let txid = tx.compute_txid().to_string();
                Ok(json!([{"txid": txid, "allowed": allowed, "reject-reason": "missing-inputs"}]))
            }
            "sendrawtransaction" => {
                let tx = transaction(&params[0]);
                let txid = tx.compute_txid().to_string();
                self.accept(tx);
                Ok(json!(txid))
            }
            other => Err((-32601, format!("Method not found: {other}"))),
        }
    }
}

/// A script as the one of the range `tr([ORIGIN]XPUB/BRANCH/*)`, if it is one of the first.
fn described(range: &Value, script: &ScriptBuf) -> Option<String> {
    let (inside, _) = range["desc"].as_str()?.strip_prefix("tr([")?.split_once(')')?;
    let (origin, path) = inside.split_once(']')?;
    let mut steps = path.split('/');
    let xpub: Xpub = steps.next()?.parse().unwrap();
    let branch: u32 = steps.next()?.parse().unwrap();
    let secp = Secp256k1::verification_only();
    let is_own = |index: &u32| {
        let steps = [branch, *index].map(|step| ChildNumber::from_normal_idx(step).unwrap());
        let child = xpub.derive_pub(&secp, &steps).unwrap();
        ScriptBuf::new_p2tr(&secp, child.to_x_only_pub(), None) == *script
    };
    let index = (0..INDICES).find(is_own)?;
    Some(format!("tr([{origin}/{branch}/{index}]{})#00000000", hex::encode(&script.as_bytes()[2..])))
}

/// A transaction with one input and one output; `tag` makes it unlike others.
fn plain(from: OutPoint, tag: u32, to: TxOut) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: from,
            script_sig: ScriptBuf::from_bytes(tag.to_be_bytes().to_vec()),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![to],
    }
}

/// A running stand-in.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    chain: Arc<Mutex<Chain>>,
}

impl Node {
    pub(crate) fn start() -> Self {
        let blocks = vec![bitcoin::constants::genesis_block(Network::Regtest)];
        let chain = Arc::new(Mutex::new(Chain { blocks, ..Chain::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::clone(&chain);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let chain = Arc::clone(&inside);
                thread::spawn(move || serve(stream.unwrap(), &chain));
            }
        });
        Self { address, chain }
    }

    /// Pays to a script and mines until that has so many confirmations.
    pub(crate) fn pay(&self, script: Vec<u8>, sat: u64, depth: u32) -> OutPoint {
        let mut chain = self.chain.lock().unwrap();
        let tag = u32::try_from(chain.blocks.len()).unwrap();
        let from = OutPoint::new(Txid::from_byte_array([7; 32]), tag);
        let to = TxOut { value: Amount::from_sat(sat), script_pubkey: ScriptBuf::from_bytes(script) };
        let tx = plain(from, tag, to);
        let paid = OutPoint::new(tx.compute_txid(), 0);
        chain.mine(vec![tx]);
        (1..depth).for_each(|_| chain.mine(Vec::new()));
        paid
    }

    /// A miner takes a transaction, and so many blocks follow.
    pub(crate) fn confirm(&self, raw: &[u8], depth: u32) {
        let mut chain = self.chain.lock().unwrap();
        let tx = deserialize(raw).unwrap();
        chain.accept(tx);
        let waiting = std::mem::take(&mut chain.mempool).into_values().collect();
        chain.mine(waiting);
        (1..depth).for_each(|_| chain.mine(Vec::new()));
    }

    /// Mines what waits.
    pub(crate) fn mine(&self) {
        let mut chain = self.chain.lock().unwrap();
        let waiting = std::mem::take(&mut chain.mempool).into_values().collect();
        chain.mine(waiting);
    }

    /// Another block takes the place of the best one; what was in that waits again.
    pub(crate) fn reorganise(&self) {
        let mut chain = self.chain.lock().unwrap();
        let old = chain.blocks.pop().unwrap();
        chain.mempool = old.txdata.into_iter().skip(1).map(|tx| (tx.compute_txid(), tx)).collect();
        chain.mine(Vec::new());
        chain.mine(Vec::new());
    }

    pub(crate) fn mempool(&self) -> Vec<Transaction> {
        self.chain.lock().unwrap().mempool.values().cloned().collect()
    }

    /// Forgets what waits, as a node that was started anew may.
    pub(crate) fn forget(&self) {
        self.chain.lock().unwrap().mempool.clear();
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> usize {
        self.chain.lock().unwrap().calls
    }

    /// From now on scans of the unspent outputs are answered, or not.
    pub(crate) fn hold_scans(&self, held: bool) {
        let mut chain = self.chain.lock().unwrap();
        (chain.scans_held, chain.scan_waits) = (held, false);
    }

    /// Whether somebody waits for one.
    pub(crate) fn scan_waits(&self) -> bool {
        self.chain.lock().unwrap().scan_waits
    }

    pub(crate) fn tip(&self) -> BlockHash {
        self.chain.lock().unwrap().blocks.last().unwrap().block_hash()
    }
}

/// Waits until scans are answered.
fn wait_for_leave(chain: &Mutex<Chain>) {
    let held = || {
        let mut chain = chain.lock().unwrap();
        chain.scan_waits = chain.scans_held;
        chain.scans_held
    };
    while held() {
        thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn serve(stream: TcpStream, chain: &Mutex<Chain>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        let lower = line.to_ascii_lowercase();
        length = lower.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    if asked["method"] == "scantxoutset" {
        wait_for_leave(chain);
    }
    let answer = chain.lock().unwrap().answer(asked["method"].as_str().unwrap(), &asked["params"]);
    let reply = match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "result": result, "id": asked["id"]}),
        Err((code, message)) => {
            json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": asked["id"]})
        }
    };
    let reply = reply.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        reply.len()
    );
    let mut stream = stream;
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(reply.as_bytes()));
}
