//! What a co-signer's side gives back.

use custody::name::Name;
use custody::{Hash, canon};
use serde::{Deserialize, Serialize};

use super::{HandoverError, Package};

/// The format that this program reads and writes.
pub const RECEIPT_FORMAT: &str = "keyward/share-receipt/v1";

/// What was taken, in the words of who took it. It carries no signature: it only has to tell a package that
/// arrived from one that was damaged, left behind or swapped. That the shares open and fit is shown by the
/// holder itself, in the log, when each set of holders activates the accounts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// How many accounts.
    pub accounts: u32,
    /// The ceremony.
    pub ceremony: Hash,
    /// [`RECEIPT_FORMAT`].
    pub format: String,
    /// The deployment.
    pub genesis: Hash,
    /// Whose shares.
    pub holder: Name,
    /// SHA-256 of the package as it arrived.
    pub sha256: Hash,
    /// Who took it.
    pub taken_by: String,
}

impl Receipt {
    /// The receipt for a package that arrived.
    pub fn new(package: &Package, taken_by: &str) -> Self {
        let shares = package.shares();
        Self {
            accounts: u32::try_from(shares.shares.len()).unwrap_or(u32::MAX),
            ceremony: shares.ceremony,
            format: RECEIPT_FORMAT.to_owned(),
            genesis: shares.genesis,
            holder: package.holder().clone(),
            sha256: package.sha256(),
            taken_by: taken_by.to_owned(),
        }
    }

    /// Reads a receipt from exactly its canonical bytes.
    ///
    /// # Errors
    /// Other bytes, another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, HandoverError> {
        let receipt: Self = canon::decode(bytes)?;
        if receipt.format == RECEIPT_FORMAT {
            Ok(receipt)
        } else {
            Err(HandoverError::Format(receipt.format))
        }
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// None: it has no number that canonical JSON cannot have.
    pub fn bytes(&self) -> Result<Vec<u8>, HandoverError> {
        Ok(canon::encode(self)?)
    }

    /// Whether it is for what was handed over.
    ///
    /// # Errors
    /// [`HandoverError::Receipt`] with the first difference.
    pub fn check(&self, package: &Package) -> Result<(), HandoverError> {
        let expected = Self::new(package, &self.taken_by);
        let parts = [
            ("deployment", self.genesis == expected.genesis),
            ("ceremony", self.ceremony == expected.ceremony),
            ("holder", self.holder == expected.holder),
            ("number of accounts", self.accounts == expected.accounts),
            ("hash", self.sha256 == expected.sha256),
            ("name of who took it", !self.taken_by.trim().is_empty()),
        ];
        match parts.into_iter().find(|(_, same)| !same) {
            Some((part, _)) => Err(HandoverError::Receipt(part)),
            None => Ok(()),
        }
    }
}
