//! Texts of the command line that are more than text; each error says how to write it.

use custody::Hash;
use custody::document::{DestinationKind, Grant, Model, Tier, WalletState};
use custody::effects::{Branch, OutPoint};

pub(super) fn hash(text: &str) -> Result<Hash, String> {
    Hash::from_hex(text).ok_or_else(|| "write 64 lower-case hex digits".into())
}

/// A transaction id as people write it: the bytes from the last to the first.
pub(super) fn txid(text: &str) -> Result<Hash, String> {
    let mut txid = hash(text)?;
    txid.0.reverse();
    Ok(txid)
}

pub(super) fn outpoint(text: &str) -> Result<OutPoint, String> {
    let (id, vout) = text.split_once(':').ok_or("write TXID:N, N being the number of the output")?;
    let vout = vout.parse().map_err(|_| "after the colon write the number of the output")?;
    Ok(OutPoint { txid: txid(id)?, vout })
}

/// As people read it out: spaces do not matter.
pub(super) fn grouped_hash(text: &str) -> Result<Hash, String> {
    hash(&text.split_whitespace().collect::<String>())
}

/// A word of a document, as it stands there.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.into())).map_err(|e| e.to_string())
}

pub(super) fn grant(text: &str) -> Result<Grant, String> {
    word(text)
}

pub(super) fn whose(text: &str) -> Result<DestinationKind, String> {
    word(text)
}

pub(super) fn tier(text: &str) -> Result<Tier, String> {
    word(text)
}

/// Nothing for `active`.
pub(super) fn wallet_state(text: &str) -> Result<Option<WalletState>, String> {
    if text == "active" { Ok(None) } else { word(text).map(Some) }
}

pub(super) fn model(text: &str) -> Result<Model, String> {
    word(text)
}

pub(super) fn branch(text: &str) -> Result<Branch, String> {
    word(text)
}
