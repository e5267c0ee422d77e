//! The last steps: verifying the signatures of a transaction and putting them into it.

use bitcoin::consensus::serialize;
use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use bitcoin::{Script, Transaction, Witness};
use custody::effects::DecodeError;

use crate::decoder::taproot_key;
use crate::digest::{Spent, digests};
use crate::raw::{bad, unsigned};

/// A Schnorr signature (BIP-340).
pub type Signature = [u8; 64];

/// The signed transaction, ready to broadcast: `raw` with one signature per input as the witness of a
/// Taproot key spend. It does not verify them: see [`verify_spend`].
///
/// # Errors
/// Bytes that are no unsigned transaction, or a number of signatures that is not that of its inputs.
pub fn attach(raw: &[u8], signatures: &[Signature]) -> Result<Vec<u8>, DecodeError> {
    let mut tx = unsigned(raw)?;
    one_each(&tx, signatures)?;
    for (input, signature) in tx.input.iter_mut().zip(signatures) {
        input.witness = Witness::from_slice(&[signature]);
    }
    Ok(serialize(&tx))
}

/// Verifies that `signatures` spend what `raw` spends: one BIP-340 signature per input, under the
/// Taproot output key of the spent script, over its digest ([`digests`]).
///
/// # Errors
/// What [`digests`] refuses, a wrong number of signatures, a spent script that is not Taproot, and a
/// signature that does not verify, by the number of its input.
pub fn verify_spend(raw: &[u8], spent: &[Spent], signatures: &[Signature]) -> Result<(), DecodeError> {
    let digests = digests(raw, spent)?;
    one_each(&unsigned(raw)?, signatures)?;
    let secp = Secp256k1::verification_only();
    for (i, ((digest, (script, _)), signature)) in digests.iter().zip(spent).zip(signatures).enumerate() {
        let key = taproot_key(Script::from_bytes(script))
            .ok_or_else(|| bad(format!("input {i} does not spend a Taproot output")))?;
        let message = Message::from_digest(*digest.as_bytes());
        schnorr::Signature::from_slice(signature)
            .and_then(|signature| secp.verify_schnorr(&signature, &message, &key))
            .map_err(|_| bad(format!("the signature of input {i} does not verify")))?;
    }
    Ok(())
}

/// Checks that there is one signature for each input.
fn one_each(tx: &Transaction, signatures: &[Signature]) -> Result<(), DecodeError> {
    if signatures.len() != tx.input.len() {
        let (inputs, given) = (tx.input.len(), signatures.len());
        return Err(bad(format!("has {inputs} inputs but {given} signatures")));
    }
    Ok(())
}
