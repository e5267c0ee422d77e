//! A Bitcoin Core node, asked over its JSON-RPC: a small synchronous client of our own.
//!
//! INVARIANT: no amount ever passes through a floating-point number. Core writes bitcoin as JSON numbers
//! with eight decimals; they are read from the digits of the answer (see [`Client::call`]).
//!
//! A node is believed only as far as the server is: signers take nothing from it but transactions,
//! proofs and headers that they check themselves. Transactions, blocks and proofs therefore stay bytes
//! here; `chain` is the only parser.
//!
//! Calls block: asynchronous callers use a thread for them.

mod amount;
mod http;
pub mod proofs;

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bitcoin::{BlockHash, Txid};
use custody::effects::Sats;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// How long a call may take altogether. Ordinary calls answer within milliseconds.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a scan of the set of unspent outputs may take. On the main network it is some minutes.
pub const SCAN_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Most indices of one range of a descriptor: Core refuses longer ones (`ParseDescriptorRange`).
pub const RANGE_LIMIT: u32 = 1_000_000;

/// Core's error code while it starts (`RPC_IN_WARMUP`).
const CODE_IN_WARMUP: i64 = -28;

/// Why a node gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No connection, or it broke.
    #[error("cannot reach the node at {address}; is bitcoind running, with this rpcport?")]
    Unreachable {
        /// Where the node should listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The answer did not come in time.
    #[error("the node at {address} gave no answer within {seconds} s; ask again when it is less busy")]
    TimedOut {
        /// Where the node listens.
        address: SocketAddr,
        /// The time it had, in seconds.
        seconds: u64,
    },
    /// The cookie file cannot be read.
    #[error("cannot read the node's cookie {path}; name the .cookie file of a running bitcoind")]
    Cookie {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The node refused the cookie, also after it was read again.
    #[error("the node refused the cookie in {path}; it belongs to another node or an earlier start")]
    Unauthorised {
        /// The file.
        path: PathBuf,
    },
    /// The node refused the connection with a bare HTTP status, such as 503 when its work queue is full.
    #[error("the node answered with HTTP status {status}; ask again later")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The node understood the question and said no.
    #[error("the node refused {method}: {message} (code {code})")]
    Refused {
        /// The method that was called.
        method: String,
        /// Core's error code (`rpc/protocol.h`).
        code: i64,
        /// Core's words.
        message: String,
    },
    /// No thread to wait in.
    #[error("cannot start a thread that waits for the node; ask again when the machine is less busy")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// An answer that does not have the form that it must have.
    #[error("the answer of the node cannot be used: it sent {what}; is this address a Bitcoin Core node?")]
    Malformed {
        /// What was found.
        what: &'static str,
    },
    /// An answer of the right protocol with another content than expected.
    #[error("the answer of the node to {method} cannot be used; is this Bitcoin Core 28 or later?")]
    Unexpected {
        /// The method that was called.
        method: String,
        /// What did not fit.
        source: serde_json::Error,
    },
}

impl NodeError {
    /// Whether the node has only just been started and will answer soon.
    pub fn is_starting(&self) -> bool {
        matches!(self, Self::Refused { code: CODE_IN_WARMUP, .. })
    }
}

/// A client of one node. Cheap to make; opens one connection per call.
pub struct Client {
    address: SocketAddr,
    cookie_file: PathBuf,
    /// The `Authorization` header made of the cookie that was last read.
    authorization: Mutex<Option<String>>,
    last_id: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the node whose RPC listens on `address` and which writes its `.cookie` to
    /// `cookie_file`. Nothing is asked yet.
    pub fn new(address: SocketAddr, cookie_file: impl Into<PathBuf>) -> Self {
        Self {
            address,
            cookie_file: cookie_file.into(),
            authorization: Mutex::new(None),
            last_id: AtomicU64::new(0),
        }
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file that lets its readers in.
    pub fn cookie_file(&self) -> &Path {
        &self.cookie_file
    }

    /// Calls any method within [`CALL_TIMEOUT`]. Use [`Sats`] fields only with the readers of this
    /// module: plain `f64` fields would round.
    ///
    /// # Errors
    /// Every [`NodeError`]. The cookie is read again once when the node refuses it: a node makes a new
    /// one at each start.
    pub fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, NodeError> {
        self.call_within(CALL_TIMEOUT, method, params)
    }

    /// Calls any method within a time of the caller's.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_within<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        method: &str,
        params: Value,
    ) -> Result<T, NodeError> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let request = request.to_string();
        let mut response = http::post(self.address, &self.authorization(false)?, &request, timeout)?;
        if response.status == 401 {
            response = http::post(self.address, &self.authorization(true)?, &request, timeout)?;
        }
        match response.status {
            401 => Err(NodeError::Unauthorised { path: self.cookie_file.clone() }),
            // Core says 200, or, by version and error, 400, 404 or 500 with the reason in the body.
            200 | 400 | 404 | 500 => read_reply(id, method, &response.body),
            status => Err(NodeError::Status { status }),
        }
    }

    fn authorization(&self, again: bool) -> Result<String, NodeError> {
        let mut kept = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(kept), false) = (&*kept, again) {
            return Ok(kept.clone());
        }
        let cookie = fs::read_to_string(&self.cookie_file)
            .map_err(|source| NodeError::Cookie { path: self.cookie_file.clone(), source })?;
        let fresh = format!("Basic {}", BASE64.encode(cookie.trim_end()));
        *kept = Some(fresh.clone());
        Ok(fresh)
    }
}

/// The answer to request `id`. Borrows the result as text, so that amounts are read from their digits.
fn read_reply<T: DeserializeOwned>(id: u64, method: &str, body: &[u8]) -> Result<T, NodeError> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        id: Option<u64>,
        #[serde(borrow)]
        result: Option<&'a RawValue>,
        error: Option<Fault>,
    }
    #[derive(Deserialize)]
    struct Fault {
        code: i64,
        message: String,
    }
    let reply: Reply<'_> = serde_json::from_slice(body)
        .map_err(|_| NodeError::Malformed { what: "a body that is no JSON-RPC reply" })?;
    if reply.id != Some(id) {
        return Err(NodeError::Malformed { what: "the reply to another request" });
    }
    if let Some(Fault { code, message }) = reply.error {
        return Err(NodeError::Refused { method: method.to_owned(), code, message });
    }
    serde_json::from_str(reply.result.map_or("null", RawValue::get))
        .map_err(|source| NodeError::Unexpected { method: method.to_owned(), source })
}

/// The chain as the node sees it (`getblockchaininfo`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ChainInfo {
    /// `main`, `test`, `testnet4`, `signet` or `regtest`.
    pub chain: String,
    /// The height of the best block that was verified.
    pub blocks: u32,
    /// The height of the best header.
    pub headers: u32,
    /// The best block.
    #[serde(rename = "bestblockhash", deserialize_with = "parsed")]
    pub best: BlockHash,
    /// The median time of the last eleven blocks, in Unix seconds (BIP-113).
    #[serde(rename = "mediantime")]
    pub median_time_s: u64,
    /// Whether the node still loads the chain and should not be relied on.
    #[serde(rename = "initialblockdownload")]
    pub loading: bool,
    /// The lowest block that a node that prunes still has; 0 where all are kept.
    #[serde(rename = "pruneheight", default)]
    pub lowest: u32,
}

/// What the mempool would say to a transaction (`testmempoolaccept`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct MempoolVerdict {
    /// The transaction.
    #[serde(deserialize_with = "parsed")]
    pub txid: Txid,
    /// Whether it would be taken.
    pub allowed: bool,
    /// Core's reason when not.
    #[serde(rename = "reject-reason")]
    pub reason: Option<String>,
}

/// A transaction that waits (`getmempoolentry`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MempoolEntry {
    /// Its size in virtual bytes (BIP-141).
    pub vsize_vb: u64,
    /// The fee that it pays itself.
    pub fee: Sats,
    /// The waiting transactions that spend its outputs.
    pub spent_by: Vec<Txid>,
}

/// An output that nobody has spent (`scantxoutset`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Unspent {
    /// The transaction.
    #[serde(deserialize_with = "parsed")]
    pub txid: Txid,
    /// The position of the output in it.
    pub vout: u32,
    /// The output script.
    #[serde(rename = "scriptPubKey", deserialize_with = "unhexed")]
    pub script: Vec<u8>,
    /// The one script of a descriptor that was asked for: where that is a range, the key origin ends in the index
    /// (BIP-380).
    #[serde(rename = "desc")]
    pub descriptor: String,
    /// What it holds.
    #[serde(deserialize_with = "amount::bitcoin")]
    pub amount: Sats,
    /// The height of the block that it is in.
    pub height: u32,
    /// The block that it is in.
    #[serde(rename = "blockhash", deserialize_with = "parsed")]
    pub block: BlockHash,
    /// Whether it is a miner's reward, which may be spent only after 100 more blocks.
    pub coinbase: bool,
}

/// All unspent outputs of some descriptors at one block (`scantxoutset`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Scan {
    /// The height of the block.
    pub height: u32,
    /// The block.
    #[serde(rename = "bestblock", deserialize_with = "parsed")]
    pub best: BlockHash,
    /// The outputs, in no order.
    pub unspents: Vec<Unspent>,
    /// Their sum.
    #[serde(rename = "total_amount", deserialize_with = "amount::bitcoin")]
    pub total: Sats,
}

/// What the node reads in a descriptor (`getdescriptorinfo`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct DescriptorInfo {
    /// The descriptor in canonical form, with its checksum (BIP-380).
    pub descriptor: String,
    /// Whether it stands for a range of scripts.
    #[serde(rename = "isrange")]
    pub is_range: bool,
    /// Whether it holds a private key.
    #[serde(rename = "hasprivatekeys")]
    pub has_private_keys: bool,
}

/// The methods of Core that we use, each with its documented meaning. Errors as [`Client::call`].
impl Client {
    /// The state of the chain.
    pub fn chain_info(&self) -> Result<ChainInfo, NodeError> {
        self.call("getblockchaininfo", json!([]))
    }

    /// The height of the best block.
    pub fn block_count(&self) -> Result<u32, NodeError> {
        self.call("getblockcount", json!([]))
    }

    /// The block of the best chain at a height.
    pub fn block_hash(&self, height: u32) -> Result<BlockHash, NodeError> {
        self.call("getblockhash", json!([height])).map(|Parsed(hash)| hash)
    }

    /// The 80 bytes of a block's header.
    pub fn block_header(&self, block: &BlockHash) -> Result<Vec<u8>, NodeError> {
        self.call("getblockheader", json!([block.to_string(), false])).map(|Hex(bytes)| bytes)
    }

    /// The bytes of a block.
    pub fn block(&self, block: &BlockHash) -> Result<Vec<u8>, NodeError> {
        self.call("getblock", json!([block.to_string(), 0])).map(|Hex(bytes)| bytes)
    }

    /// Broadcasts a transaction. Core refuses fees above 0.1 BTC per 1,000 virtual bytes. Sending a
    /// transaction again that waits already is no error.
    pub fn send_raw_transaction(&self, transaction: &[u8]) -> Result<Txid, NodeError> {
        self.call("sendrawtransaction", json!([hex::encode(transaction)])).map(|Parsed(txid)| txid)
    }

    /// What the mempool would say to a transaction, without sending it.
    pub fn test_mempool_accept(&self, transaction: &[u8]) -> Result<MempoolVerdict, NodeError> {
        let method = "testmempoolaccept";
        let verdicts: Vec<MempoolVerdict> = self.call(method, json!([[hex::encode(transaction)]]))?;
        let verdict = verdicts.into_iter().next();
        verdict.ok_or(NodeError::Malformed { what: "no verdict on the transaction" })
    }

    /// The bytes of a transaction: of one that waits, or of one in `block` (a node without an index of
    /// all transactions finds a confirmed one only there).
    pub fn raw_transaction(&self, txid: &Txid, block: Option<&BlockHash>) -> Result<Vec<u8>, NodeError> {
        let params = json!([txid.to_string(), 0, block.map(ToString::to_string)]);
        self.call("getrawtransaction", params).map(|Hex(bytes)| bytes)
    }

    /// The proof that `block` contains a transaction: a serialised `CMerkleBlock` (BIP-37).
    pub fn tx_out_proof(&self, txid: &Txid, block: &BlockHash) -> Result<Vec<u8>, NodeError> {
        let params = json!([[txid.to_string()], block.to_string()]);
        self.call("gettxoutproof", params).map(|Hex(bytes)| bytes)
    }

    /// All unspent outputs of descriptors; of ranged ones up to index `last`. Within [`SCAN_TIMEOUT`].
    /// A node does one scan at a time and refuses a second one meanwhile.
    pub fn scan_tx_out_set(&self, descriptors: &[String], last: u32) -> Result<Scan, NodeError> {
        let ranges: Vec<_> = descriptors.iter().map(|descriptor| (descriptor.clone(), 0..=last)).collect();
        self.scan_ranges(&ranges)
    }

    /// As [`Client::scan_tx_out_set`], each descriptor with its own range of at most [`RANGE_LIMIT`] indices.
    pub fn scan_ranges(&self, ranges: &[(String, RangeInclusive<u32>)]) -> Result<Scan, NodeError> {
        let object = |(descriptor, range): &(String, RangeInclusive<u32>)| json!({"desc": descriptor, "range": [range.start(), range.end()]});
        let objects: Vec<Value> = ranges.iter().map(object).collect();
        self.call_within(SCAN_TIMEOUT, "scantxoutset", json!(["start", objects]))
    }

    /// The addresses of a ranged descriptor (with checksum) from index `first` to `last`.
    pub fn derive_addresses(
        &self,
        descriptor: &str,
        first: u32,
        last: u32,
    ) -> Result<Vec<String>, NodeError> {
        self.call("deriveaddresses", json!([descriptor, [first, last]]))
    }

    /// What the node reads in a descriptor; also the way to get its checksum.
    pub fn descriptor_info(&self, descriptor: &str) -> Result<DescriptorInfo, NodeError> {
        self.call("getdescriptorinfo", json!([descriptor]))
    }

    /// A waiting transaction.
    pub fn mempool_entry(&self, txid: &Txid) -> Result<MempoolEntry, NodeError> {
        #[derive(Deserialize)]
        struct Entry {
            vsize: u64,
            fees: Fees,
            spentby: Vec<Parsed<Txid>>,
        }
        #[derive(Deserialize)]
        struct Fees {
            #[serde(deserialize_with = "amount::bitcoin")]
            base: Sats,
        }
        let entry: Entry = self.call("getmempoolentry", json!([txid.to_string()]))?;
        Ok(MempoolEntry {
            vsize_vb: entry.vsize,
            fee: entry.fees.base,
            spent_by: entry.spentby.into_iter().map(|Parsed(txid)| txid).collect(),
        })
    }

    /// All waiting transactions.
    pub fn raw_mempool(&self) -> Result<Vec<Txid>, NodeError> {
        let txids: Vec<Parsed<Txid>> = self.call("getrawmempool", json!([]))?;
        Ok(txids.into_iter().map(|Parsed(txid)| txid).collect())
    }

    /// The fee rate, in satoshi per 1,000 virtual bytes, at which a transaction confirms within so many
    /// blocks; nothing when the node has seen too little (always so on a fresh regtest).
    pub fn estimate_fee_per_kvb(&self, blocks: u16) -> Result<Option<Sats>, NodeError> {
        #[derive(Deserialize)]
        struct Estimate {
            #[serde(default, deserialize_with = "amount::some_bitcoin")]
            feerate: Option<Sats>,
        }
        let estimate: Estimate = self.call("estimatesmartfee", json!([blocks]))?;
        Ok(estimate.feerate)
    }
}

/// A value that stands in JSON as a string with a form of its own.
#[derive(Deserialize)]
#[serde(bound = "T: FromStr<Err: fmt::Display>")]
struct Parsed<T>(#[serde(deserialize_with = "parsed")] T);

/// Bytes that stand in JSON as hexadecimal text.
#[derive(Deserialize)]
struct Hex(#[serde(deserialize_with = "unhexed")] Vec<u8>);

fn parsed<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
}

fn unhexed<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(d)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: DeserializeOwned>(body: &str) -> Result<T, NodeError> {
        read_reply(7, "method", body.as_bytes())
    }

    #[test]
    fn a_reply_is_the_result_of_its_own_request() {
        assert_eq!(read::<u32>(r#"{"jsonrpc":"2.0","result":5,"id":7}"#).unwrap(), 5);
        assert_eq!(read::<Option<u32>>(r#"{"result":null,"error":null,"id":7}"#).unwrap(), None);
        for other in [
            r#"{"result":5,"id":8}"#,
            r#"{"result":5,"id":null}"#,
            r#"{"result":5}"#,
            r#"{"result":5,"id":7"#,
            "Work queue depth exceeded",
        ] {
            let error = read::<u32>(other).unwrap_err();
            assert!(matches!(error, NodeError::Malformed { .. }), "{other}: {error:?}");
        }
    }

    #[test]
    fn an_error_keeps_the_code_and_the_words_of_the_node() {
        let error = read::<u32>(r#"{"error":{"code":-5,"message":"No such block"},"id":7}"#);
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), "the node refused method: No such block (code -5)");
        assert!(!error.is_starting());
        let starting = read::<u32>(r#"{"result":null,"error":{"code":-28,"message":"Loading"},"id":7}"#);
        assert!(starting.unwrap_err().is_starting());
    }

    #[test]
    fn a_result_of_another_type_is_named() {
        let error = read::<u32>(r#"{"result":"five","id":7}"#).unwrap_err();
        assert!(matches!(error, NodeError::Unexpected { ref method, .. } if method == "method"));
    }

    #[test]
    fn debug_shows_no_cookie() {
        let dir = tempfile::tempdir().unwrap();
        let cookie = dir.path().join(".cookie");
        fs::write(&cookie, "__cookie__:hunter2").unwrap();
        let client = Client::new("127.0.0.1:1".parse().unwrap(), cookie);
        let header = client.authorization(false).unwrap();
        assert_eq!(header, format!("Basic {}", BASE64.encode("__cookie__:hunter2")));
        let shown = format!("{client:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(&header), "{shown}");
    }
}
