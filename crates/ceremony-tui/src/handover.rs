//! The way of sealed shares from the ceremony to each co-signer: a file, or an animated QR code where no
//! medium may leave the room, and the receipt that comes back.
//!
//! The shares are sealed, so the way may be public: whoever looks on or records gains nothing, and whoever
//! changes them is noticed by the holder, which opens them under the record of the ceremony alone. A receipt
//! says what was taken; that it is of use shows later, when the sets of holders activate the accounts in the log.

mod frames;
mod receipt;

use ceremony::files::{SealedShare, SealedShares};
use custody::canon::{self, CanonError};
use custody::name::Name;
use custody::{Hash, SLOTS_LIMIT};

pub use frames::{
    Collector, FRAGMENT_BYTES, FRAGMENTS_LIMIT, Frame, FrameError, Frames, MODULES, PARTS_LIMIT, SIDE_MODULES,
};
pub use receipt::{RECEIPT_FORMAT, Receipt};

/// Largest package in bytes: 64 shares take less than 12 000.
pub const PACKAGE_LIMIT_BYTES: usize = 16_384;

/// All sealed shares of one co-signer and of nobody else, as it is handed over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    holder: Name,
    shares: SealedShares,
    bytes: Vec<u8>,
}

/// Why shares cannot be handed over, or are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Not the canonical bytes of sealed shares.
    #[error("not a file of sealed shares ({0}): use the file as the ceremony wrote it")]
    Form(#[from] CanonError),
    /// More than [`PACKAGE_LIMIT_BYTES`].
    #[error("{0} bytes are no package of one co-signer: it has at most {PACKAGE_LIMIT_BYTES}")]
    Long(usize),
    /// Nobody's, or an account of nobody.
    #[error("the ceremony sealed no share to {0}: compare the name with the holders in its record")]
    Nobody(Name),
    /// Shares of several co-signers.
    #[error("the file has shares of {0} and of {1}: each co-signer is handed its own only")]
    Several(Name, Name),
    /// No share at all.
    #[error("the file has no shares: use the file as the ceremony wrote it")]
    Empty,
    /// An account is missing, out of order or there twice.
    #[error(
        "the shares are not those of accounts 0 to {last} in order: use the file as the ceremony wrote it"
    )]
    Slots {
        /// The last account that could be there.
        last: u32,
    },
    /// The receipt is for something else.
    #[error(
        "the receipt differs in its {0} from what was handed over: compare with the co-signer what it has"
    )]
    Receipt(&'static str),
    /// A receipt of another version.
    #[error("a receipt of the format {0:?}: this program reads {RECEIPT_FORMAT}")]
    Format(String),
}

impl Package {
    /// The part of one co-signer of what a ceremony sealed.
    ///
    /// # Errors
    /// It has none, or not one of each account.
    pub fn of(all: &SealedShares, holder: &Name) -> Result<Self, HandoverError> {
        let own: Vec<SealedShare> =
            all.shares.iter().filter(|share| share.holder == *holder).cloned().collect();
        if own.is_empty() {
            return Err(HandoverError::Nobody(holder.clone()));
        }
        Self::new(SealedShares { shares: own, ..all.clone() })
    }

    /// Reads a package from exactly its canonical bytes.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HandoverError> {
        if bytes.len() > PACKAGE_LIMIT_BYTES {
            return Err(HandoverError::Long(bytes.len()));
        }
        Self::new(canon::decode(bytes)?)
    }

    fn new(shares: SealedShares) -> Result<Self, HandoverError> {
        let holder = shares.shares.first().ok_or(HandoverError::Empty)?.holder.clone();
        if let Some(other) = shares.shares.iter().find(|share| share.holder != holder) {
            return Err(HandoverError::Several(holder, other.holder.clone()));
        }
        let last = u32::try_from(shares.shares.len().min(SLOTS_LIMIT)).unwrap_or(u32::MAX).saturating_sub(1);
        // A share that is left out would be missed only when a payment needs it.
        if !shares.shares.iter().map(|share| share.slot).eq(0..=last) {
            return Err(HandoverError::Slots { last });
        }
        let bytes = canon::encode(&shares)?;
        if bytes.len() > PACKAGE_LIMIT_BYTES {
            return Err(HandoverError::Long(bytes.len()));
        }
        Ok(Self { holder, shares, bytes })
    }

    /// Whose shares these are.
    pub fn holder(&self) -> &Name {
        &self.holder
    }

    /// The shares.
    pub fn shares(&self) -> &SealedShares {
        &self.shares
    }

    /// The canonical bytes: the file, and what the QR codes carry.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes, which both sides read out.
    pub fn sha256(&self) -> Hash {
        Hash::sha256(&self.bytes)
    }

    /// The name of its file.
    pub fn file_name(&self) -> String {
        format!("shares-{}.json", self.holder)
    }
}
