//! The parser against the vectors of its specifications, independent computations and hostile bytes.

mod addresses;
mod building;
mod decoding;
mod proofs;
mod signing;

use bitcoin::bip32::{ChildNumber, DerivationPath, Xpriv};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::secp256k1::{All, Secp256k1};
use chain::BitcoinDecoder;
use custody::effects::{AccountKey, Branch, DecodeError, Effects, OutPoint};
use custody::{Blob, Hash};

pub(crate) const MAINNET: &str = "bip122:000000000019d6689c085ae165831e93";
pub(crate) const TESTNET3: &str = "bip122:000000000933ea01ad0ee984209779ba";
pub(crate) const TESTNET4: &str = "bip122:00000000da84f2bafbbc53dee25a72ae";
pub(crate) const SIGNET: &str = "bip122:00000008819873e925422c1ff0f99f7c";
pub(crate) const REGTEST: &str = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328";

pub(crate) fn on(chain: &str) -> BitcoinDecoder {
    BitcoinDecoder::new(chain).unwrap()
}

pub(crate) fn vectors(path: &str) -> serde_json::Value {
    let path = format!("{}/../../vectors/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn unhex(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, DecodeError>, why: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(why), "`{error}` does not say `{why}`");
}

pub(crate) fn outpoint(byte: u8) -> OutPoint {
    OutPoint { txid: Hash([byte; 32]), vout: u32::from(byte) }
}

pub(crate) fn p2tr(byte: u8) -> Vec<u8> {
    [&[0x51, 0x20][..], &[byte; 32]].concat()
}

pub(crate) fn sha256d(bytes: &[u8]) -> Hash {
    Hash(sha256d::Hash::hash(bytes).to_byte_array())
}

/// An input as it is encoded: outpoint, script, sequence.
pub(crate) type Input = (OutPoint, Vec<u8>, u32);

/// Encodes a transaction without witness by hand, so that the library is not its own judge.
pub(crate) fn encode(version: i32, inputs: &[Input], outputs: &[(u64, Vec<u8>)], lock_time: u32) -> Vec<u8> {
    let mut raw = version.to_le_bytes().to_vec();
    raw.extend(compact(inputs.len()));
    for (outpoint, script, sequence) in inputs {
        raw.extend(outpoint.txid.0);
        raw.extend(outpoint.vout.to_le_bytes());
        raw.extend(compact(script.len()));
        raw.extend(script);
        raw.extend(sequence.to_le_bytes());
    }
    raw.extend(compact(outputs.len()));
    for (amount, script) in outputs {
        raw.extend(amount.to_le_bytes());
        raw.extend(compact(script.len()));
        raw.extend(script);
    }
    raw.extend(lock_time.to_le_bytes());
    raw
}

pub(crate) fn encode_effects(effects: &Effects) -> Vec<u8> {
    let inputs: Vec<_> =
        effects.inputs.iter().map(|input| (input.outpoint, vec![], input.sequence)).collect();
    let outputs: Vec<_> =
        effects.outputs.iter().map(|output| (output.amount.0, output.script.clone())).collect();
    encode(effects.version, &inputs, &outputs, effects.lock_time)
}

fn compact(number: usize) -> Vec<u8> {
    match number {
        0..0xfd => vec![number as u8],
        0xfd..0x1_0000 => [&[0xfd][..], &(number as u16).to_le_bytes()].concat(),
        _ => [&[0xfe][..], &(number as u32).to_le_bytes()].concat(),
    }
}

/// The private side of an account, which only tests have in one piece.
pub(crate) struct Owner {
    pub(crate) secp: Secp256k1<All>,
    pub(crate) account: Xpriv,
}

impl Owner {
    pub(crate) fn new(seed: u32) -> Self {
        let secp = Secp256k1::new();
        let root = Xpriv::new_master(bitcoin::NetworkKind::Test, &seed.to_be_bytes().repeat(8)).unwrap();
        let path: DerivationPath = "m/86h/1h/0h".parse().unwrap();
        Self { account: root.derive_priv(&secp, &path).unwrap(), secp }
    }

    pub(crate) fn key(&self) -> AccountKey {
        AccountKey {
            public: Blob(self.account.private_key.public_key(&self.secp).serialize().to_vec()),
            chain_code: Hash(self.account.chain_code.to_bytes()),
        }
    }

    /// The key pair of a child before the Taproot tweak, derived from the private key.
    pub(crate) fn child(&self, branch: Branch, index: u32) -> bitcoin::key::Keypair {
        let path = [branch.number(), index].map(|i| ChildNumber::from_normal_idx(i).unwrap());
        self.account.derive_priv(&self.secp, &path).unwrap().to_keypair(&self.secp)
    }
}
