//! Somebody outside, with a key of their own: earns coins by mining, and pays them to an address.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::key::{Keypair, Secp256k1, TapTweak as _};
use bitcoin::secp256k1::{All, Message};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Block, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    consensus,
};
use rand_core::{OsRng, RngCore as _};

use super::Failure;
use crate::regtest::Node;

/// What the customer leaves as fee, in satoshi: plenty for one input and two outputs.
const FEE_SAT: u64 = 1_000;

/// A customer.
#[derive(Debug)]
pub(super) struct Customer {
    secp: Secp256k1<All>,
    key: Keypair,
    coin: Option<(OutPoint, TxOut)>,
}

impl Default for Customer {
    fn default() -> Self {
        Self::new()
    }
}

impl Customer {
    /// A customer with a fresh key and no coins.
    ///
    /// # Panics
    /// Never: 32 random bytes are a key but for odds of 2⁻¹²⁸, and then others are taken.
    pub(super) fn new() -> Self {
        let secp = Secp256k1::new();
        let key = loop {
            let mut secret = [0; 32];
            OsRng.fill_bytes(&mut secret);
            if let Ok(key) = Keypair::from_seckey_slice(&secp, &secret) {
                break key;
            }
        };
        Self { secp, key, coin: None }
    }

    /// The customer's own address.
    pub(super) fn address(&self) -> Address {
        Address::p2tr(&self.secp, self.key.x_only_public_key().0, None, Network::Regtest)
    }

    /// Mines a chain on which the first reward can be spent.
    ///
    /// # Errors
    /// What the node refuses.
    pub(super) fn mine_coins(&mut self, node: &Node) -> Result<(), Failure> {
        let blocks = node.mine(101, &self.address().to_string())?;
        let first = blocks.first().ok_or("the node mined nothing")?;
        let bytes = node.rpc().block(&first.parse()?)?;
        let block: Block = consensus::deserialize(&bytes)?;
        let reward = block.txdata.first().ok_or("a block without a reward")?;
        let output = reward.output.first().ok_or("a reward without an output")?.clone();
        self.coin = Some((OutPoint::new(reward.compute_txid(), 0), output));
        Ok(())
    }

    /// Pays `amount` satoshi to an address; the rest comes back. Returns the txid as people write it.
    ///
    /// # Errors
    /// No coins, or a node that refuses.
    pub(super) fn pay(&mut self, node: &Node, to: &str, amount: u64) -> Result<String, Failure> {
        let (txid, raw) = self.sign(to, amount)?;
        node.rpc().send_raw_transaction(&raw)?;
        Ok(txid.to_string())
    }

    /// Signs such a payment and does not send it. The next one spends what comes back of it.
    ///
    /// # Errors
    /// No coins, or too few.
    pub(super) fn sign(&mut self, to: &str, amount: u64) -> Result<(Txid, Vec<u8>), Failure> {
        let (outpoint, coin) = self.coin.take().ok_or("the customer has no coins")?;
        let to = to.parse::<Address<_>>()?.require_network(Network::Regtest)?;
        let rest = coin.value.to_sat().checked_sub(amount + FEE_SAT).ok_or("the customer has too little")?;
        let output = |script_pubkey: ScriptBuf, sat| TxOut { script_pubkey, value: Amount::from_sat(sat) };
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: outpoint,
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                ..TxIn::default()
            }],
            output: vec![output(to.script_pubkey(), amount), output(self.address().script_pubkey(), rest)],
        };
        let mut cache = SighashCache::new(&mut tx);
        let digest =
            cache.taproot_key_spend_signature_hash(0, &Prevouts::All(&[coin]), TapSighashType::Default)?;
        let key = self.key.tap_tweak(&self.secp, None).to_keypair();
        let signature =
            self.secp.sign_schnorr_no_aux_rand(&Message::from_digest(digest.to_byte_array()), &key);
        *cache.witness_mut(0).ok_or("no input")? = Witness::from_slice(&[signature.as_ref()]);
        let (txid, raw) = (tx.compute_txid(), consensus::serialize(&tx));
        self.coin = Some((OutPoint::new(txid, 1), tx.output.swap_remove(1)));
        Ok((txid, raw))
    }
}
