//! The seed of a tier and the account keys made of it (BIP-32, paths of BIP-86).

use std::fmt;

use bitcoin::secp256k1::{Keypair, Message, Secp256k1};
use custody::document::restore_message;
use custody::effects::AccountKey;
use custody::{Blob, Hash};
use rand_core::CryptoRngCore;
use zeroize::Zeroize as _;

pub use crate::hd::NoKey;
use crate::hd::Node;
use crate::locked::{LockError, LockedBytes};

/// The purpose of BIP-86: single-key Taproot outputs.
const PURPOSE_BIP86: u32 = 86;

/// Length of a seed in bytes: 256 bits, the strength of the curve with room to spare and the
/// longest master secret that paper backups (SLIP-39) carry on one sheet.
pub const SEED_BYTES: usize = 32;

/// Why a key could not be derived.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// See [`NoKey`].
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

/// The bytes are no seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a seed has {SEED_BYTES} bytes, and these are {0}: the components are of another kind of wallet")]
pub struct NotASeed(usize);

/// The seed of one tier: 256 bits in locked memory.
pub struct Seed(LockedBytes);

impl Seed {
    /// A new seed.
    ///
    /// # Errors
    /// No locked memory.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Result<Self, LockError> {
        LockedBytes::random(SEED_BYTES, rng).map(Self)
    }

    /// The seed that was rebuilt: the master secret of recovery components (SLIP-39), which is the BIP-32 seed.
    ///
    /// # Errors
    /// Another length than [`SEED_BYTES`].
    pub fn restored(master: LockedBytes) -> Result<Self, NotASeed> {
        if master.expose().len() == SEED_BYTES {
            Ok(Self(master))
        } else {
            Err(NotASeed(master.expose().len()))
        }
    }

    /// The seed itself, to be split into recovery components.
    pub fn expose(&self) -> &LockedBytes {
        &self.0
    }

    /// The account key at `m/86'/coin_type'/account'` (coin type 0 for bitcoin, 1 for its test
    /// networks: SLIP-44).
    ///
    /// # Errors
    /// An index of 2³¹ or more, a path without a key, no locked memory.
    pub fn account(&self, coin_type: u32, account: u32) -> Result<AccountSecret, DeriveError> {
        account_of(self.0.expose(), coin_type, account)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(<secret>)")
    }
}

/// [`Seed::account`] for a seed of any length that BIP-32 allows, as the published vectors have.
pub(crate) fn account_of(seed: &[u8], coin_type: u32, account: u32) -> Result<AccountSecret, DeriveError> {
    let node = Node::master(seed)?.hardened(PURPOSE_BIP86)?.hardened(coin_type)?.hardened(account)?;
    let public = AccountKey { public: Blob(node.public().to_vec()), chain_code: Hash(node.chain_code) };
    let mut key = <[u8; 32]>::from(node.key.to_bytes());
    let secret = LockedBytes::take(&mut key);
    key.zeroize();
    Ok(AccountSecret { secret: secret?, public })
}

/// The whole private key of an account. It exists only in a ceremony, between derivation and
/// [`crate::share::deal`], which consumes it.
pub struct AccountSecret {
    secret: LockedBytes,
    public: AccountKey,
}

impl AccountSecret {
    /// The public side: what addresses are derived from.
    pub fn public(&self) -> AccountKey {
        self.public.clone()
    }

    /// Signs the challenge that shows that this key was rebuilt ([`restore_message`], BIP-340): nothing else
    /// is ever signed with the whole key.
    ///
    /// # Errors
    /// A key that is no scalar, which derivation rules out.
    pub fn sign_restored(&self, genesis: &Hash, nonce: &Hash, slot: u32) -> Result<[u8; 64], NoKey> {
        let secp = Secp256k1::signing_only();
        let mut pair = Keypair::from_seckey_slice(&secp, self.secret.expose()).map_err(|_| NoKey)?;
        let message = Message::from_digest(restore_message(genesis, nonce, slot));
        let signature = secp.sign_schnorr_no_aux_rand(&message, &pair).serialize();
        pair.non_secure_erase();
        Ok(signature)
    }

    /// The private key, 32 bytes big-endian.
    pub(crate) fn secret(&self) -> &LockedBytes {
        &self.secret
    }
}

impl fmt::Debug for AccountSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountSecret(<secret> of {:?})", self.public.public)
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use bitcoin::bip32::{ChildNumber, Xpub};
    use bitcoin::key::TapTweak as _;
    use bitcoin::secp256k1::Secp256k1;
    use bitcoin::{Address, Network};

    use super::*;

    /// The seed of the mnemonic "abandon … about" without passphrase, as BIP-86 uses it.
    const SEED: &str = concat!(
        "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1",
        "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4",
    );
    const ACCOUNT: &str = "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ";
    const ADDRESSES: [(u32, u32, &str); 3] = [
        (0, 0, "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"),
        (0, 1, "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh"),
        (1, 0, "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7"),
    ];

    #[test]
    fn the_account_and_its_addresses_are_those_of_bip_86() {
        let account = account_of(&hex::decode(SEED).unwrap(), 0, 0).unwrap().public();
        let expected = Xpub::from_str(ACCOUNT).unwrap();
        assert_eq!(account.public.0, expected.public_key.serialize());
        assert_eq!(account.chain_code.0, *expected.chain_code.as_bytes());
        let secp = Secp256k1::new();
        for (branch, index, address) in ADDRESSES {
            let child = expected.derive_pub(&secp, &[branch, index].map(ChildNumber::from)).unwrap();
            let output = child.to_x_only_pub().tap_tweak(&secp, None).0;
            assert_eq!(Address::p2tr_tweaked(output, Network::Bitcoin).to_string(), address);
        }
    }

    #[test]
    fn indices_stay_below_the_hardened_half() {
        let seed = [3; 32];
        assert!(account_of(&seed, 0, 0x7fff_ffff).is_ok());
        assert!(account_of(&seed, 0, 0x8000_0000).is_err());
        assert!(account_of(&seed, 0x8000_0000, 0).is_err());
    }
}
