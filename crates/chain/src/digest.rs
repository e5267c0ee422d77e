//! The 32 bytes that a chain key signs, and the only way to make them: from a decoded transaction.

use bitcoin::hashes::Hash as _;
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::{Amount, ScriptBuf, TapSighashType, Transaction, TxOut};
use custody::effects::{DecodeError, Sats};

use crate::raw::{bad, unsigned};

/// An output that an input spends: its script and its amount.
pub type Spent = (Vec<u8>, Sats);

/// The digest of one input of one decoded transaction. It cannot be made from bytes outside this crate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The bytes to sign.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The digests of all inputs of the raw unsigned transaction `raw`, in their order: BIP-341 key path
/// with `SIGHASH_DEFAULT` (rule P26), which commits to the whole transaction and to the scripts and
/// amounts of all outputs that it spends. `spent` are these outputs, in the order of the inputs.
///
/// # Errors
/// Bytes that [`custody::effects::Decoder::decode`] refuses, and a wrong number of
/// spent outputs.
pub fn digests(raw: &[u8], spent: &[Spent]) -> Result<Vec<Digest>, DecodeError> {
    let tx = unsigned(raw)?;
    let outputs = spent_outputs(&tx, spent)?;
    let prevouts = Prevouts::All(&outputs);
    let mut cache = SighashCache::new(&tx);
    (0..tx.input.len())
        .map(|i| {
            cache
                .taproot_key_spend_signature_hash(i, &prevouts, TapSighashType::Default)
                .map(|hash| Digest(hash.to_byte_array()))
                .map_err(|error| bad(format!("input {i} has no digest: {error}")))
        })
        .collect()
}

/// The outputs that `tx` spends, as the library wants them.
fn spent_outputs(tx: &Transaction, spent: &[Spent]) -> Result<Vec<TxOut>, DecodeError> {
    if spent.len() != tx.input.len() {
        let why = format!("has {} inputs but {} spent outputs", tx.input.len(), spent.len());
        return Err(bad(why));
    }
    Ok(spent
        .iter()
        .map(|(script, amount)| TxOut {
            value: Amount::from_sat(amount.0),
            script_pubkey: ScriptBuf::from_bytes(script.clone()),
        })
        .collect())
}
