//! What people and other wallets read: addresses and output script descriptors.

use bitcoin::{Address, Script};
use custody::effects::{AccountKey, Branch, DecodeError};

use crate::decoder::{BitcoinDecoder, xpub};

/// The characters of a descriptor (BIP-380), in the order that its checksum counts them.
const INPUT_CHARSET: &str = "0123456789()[],'/*abcdefgh@:$%{}\
    IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ ";

/// The characters of a checksum, those of bech32.
const CHECKSUM_CHARSET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The generator of the checksum's code (BIP-380).
const GENERATOR: [u64; 5] = [0xf5_dee5_1989, 0xa9_fdca_3312, 0x1b_ab10_e32d, 0x37_06b1_677a, 0x64_4d62_6ffd];

/// Where an account key comes from (BIP-380 key origin): for other wallets and recovery, not for
/// deriving addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyOrigin {
    /// The fingerprint of the root key (BIP-32).
    pub fingerprint: [u8; 4],
    /// The hardened steps from the root to the account, for example `[86, 0, 0]` for `86h/0h/0h`.
    pub hardened_path: Vec<u32>,
}

impl BitcoinDecoder {
    /// The address of `script` on this network.
    ///
    /// # Errors
    /// A script that has no address.
    pub fn address(&self, script: &[u8]) -> Result<String, DecodeError> {
        Address::from_script(Script::from_bytes(script), self.network)
            .map(|address| address.to_string())
            .map_err(|error| DecodeError { what: "script", why: format!("has no address: {error}") })
    }

    /// The descriptor of one chain of addresses of `account`: `tr(XPUB/0/*)#checksum` for receiving,
    /// `tr(XPUB/1/*)#checksum` for change (BIP-380, BIP-386), with the key origin if there is one. A
    /// node's `deriveaddresses` and `scantxoutset` take it as it is. The account is written as an extended
    /// key of depth 0, for [`AccountKey`] does not carry its place in the tree.
    ///
    /// # Errors
    /// An account that is not a curve point.
    pub fn descriptor(
        &self,
        account: &AccountKey,
        origin: Option<&KeyOrigin>,
        branch: Branch,
    ) -> Result<String, DecodeError> {
        let origin = origin.map_or_else(String::new, |origin| {
            let fingerprint = u32::from_be_bytes(origin.fingerprint);
            let path: String = origin.hardened_path.iter().map(|step| format!("/{step}h")).collect();
            format!("[{fingerprint:08x}{path}]")
        });
        let key = xpub(self.network, account)?;
        let script = format!("tr({origin}{key}/{}/*)", branch.number());
        let sum = checksum(&script).ok_or_else(|| DecodeError {
            what: "descriptor",
            why: "has a character outside the set of BIP-380".into(),
        })?;
        Ok(format!("{script}#{sum}"))
    }
}

/// The BIP-380 checksum of a descriptor, nothing if it has a character outside the allowed set.
fn checksum(descriptor: &str) -> Option<String> {
    let mut sum = 1;
    let mut class = 0_u64;
    let mut classes = 0_u8;
    for character in descriptor.chars() {
        let place = u64::try_from(INPUT_CHARSET.find(character)?).ok()?;
        sum = polymod(sum, place & 31);
        class = class.checked_mul(3)?.checked_add(place >> 5)?;
        classes = classes.checked_add(1)?;
        if classes == 3 {
            sum = polymod(sum, class);
            (class, classes) = (0, 0);
        }
    }
    if classes > 0 {
        sum = polymod(sum, class);
    }
    sum = (0..8).fold(sum, |sum, _| polymod(sum, 0)) ^ 1;
    (0..8)
        .rev()
        .map(|i: u32| {
            let symbol = sum.checked_shr(i.checked_mul(5)?)? & 31;
            CHECKSUM_CHARSET.chars().nth(usize::try_from(symbol).ok()?)
        })
        .collect()
}

/// One step of the checksum: takes in the 5-bit `symbol`.
fn polymod(sum: u64, symbol: u64) -> u64 {
    let top = sum >> 35;
    let shifted = (sum & 0x7_ffff_ffff) << 5 ^ symbol;
    GENERATOR
        .iter()
        .zip(0..)
        .filter(|(_, bit)| (top >> bit) & 1 == 1)
        .fold(shifted, |sum, (generator, _)| sum ^ generator)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_is_that_of_bip_380() {
        assert_eq!(checksum("raw(deadbeef)").as_deref(), Some("89f8spxm"));
        assert_ne!(checksum("raw(deedbeef)").as_deref(), Some("89f8spxm"));
        assert_eq!(checksum("raw(Ü)"), None);
    }
}
