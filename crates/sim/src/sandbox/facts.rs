//! What the sandbox leaves for programs that look at it from outside.

use std::path::Path;

use serde::Serialize;

use super::Failure;

/// A payment on the chain.
#[derive(Debug, Clone, Serialize)]
pub struct Payment {
    /// The transaction id as people write it.
    pub txid: String,
    /// Whom it pays.
    pub address: String,
    /// How much, in satoshi.
    pub sat: u64,
}

/// The facts of one story.
#[derive(Debug, Default, Serialize)]
pub struct Facts {
    /// The data directory of the node.
    pub node_datadir: String,
    /// Single-path descriptors of the wallet, receive and change apart.
    pub descriptors: Vec<String>,
    /// The exported log.
    pub log_export: String,
    /// The public keys to verify it with.
    pub log_keys: String,
    /// The command line that verifies it.
    pub log_verify: Vec<String>,
    /// What customers paid in.
    pub deposits: Vec<Payment>,
    /// What was paid out.
    pub payouts: Vec<Payment>,
}

impl Facts {
    /// Writes `facts.json`.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), Failure> {
        std::fs::write(directory.join("facts.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}
