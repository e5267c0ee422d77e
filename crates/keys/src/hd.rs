//! Hierarchical derivation over secp256k1 (BIP-32), hardened steps on secrets and plain steps on
//! public keys. Plain steps of private keys are not here: no child private key ever exists.

use std::ops::{Add as _, Mul as _};

use hmac::{Hmac, Mac as _};
use k256::elliptic_curve::PrimeField as _;
use k256::elliptic_curve::sec1::{FromEncodedPoint as _, ToEncodedPoint as _};
use k256::{AffinePoint, EncodedPoint, FieldBytes, ProjectivePoint, Scalar};
use sha2::Sha512;
use zeroize::{Zeroize as _, Zeroizing};

/// Hardened indices start here (BIP-32).
pub(crate) const HARDENED: u32 = 0x8000_0000;

/// A derivation that gives no key. For honest inputs this has a chance below 2⁻¹²⁷ (BIP-32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("BIP-32 gives no valid key here; use the next index")]
pub struct NoKey;

/// A private key and its chain code.
pub(crate) struct Node {
    pub(crate) key: Scalar,
    pub(crate) chain_code: [u8; 32],
}

impl Drop for Node {
    fn drop(&mut self) {
        self.key.zeroize();
        self.chain_code.zeroize();
    }
}

impl Node {
    /// The master key of a seed of 16 to 64 bytes.
    pub(crate) fn master(seed: &[u8]) -> Result<Self, NoKey> {
        let (key, chain_code) = split(b"Bitcoin seed", &[seed])?;
        let node = Self { key, chain_code };
        if !(16..=64).contains(&seed.len()) || bool::from(node.key.is_zero()) {
            return Err(NoKey);
        }
        Ok(node)
    }

    /// The hardened child `index'` (`index` below 2³¹).
    pub(crate) fn hardened(&self, index: u32) -> Result<Self, NoKey> {
        let index = index.checked_add(HARDENED).ok_or(NoKey)?;
        let parent = Zeroizing::new(<[u8; 32]>::from(self.key.to_bytes()));
        let (mut tweak, chain_code) =
            split(&self.chain_code, &[&[0], parent.as_slice(), &index.to_be_bytes()])?;
        let node = Self { key: tweak.add(&self.key), chain_code };
        tweak.zeroize();
        if bool::from(node.key.is_zero()) {
            return Err(NoKey);
        }
        Ok(node)
    }

    /// The compressed public key (SEC 1).
    pub(crate) fn public(&self) -> [u8; 33] {
        // A key is never zero, so that the point is never the identity, which alone has no such form.
        compress(&ProjectivePoint::GENERATOR.mul(&self.key)).unwrap_or([0; 33])
    }
}

/// A public key that plain steps lead to from an account's public key.
#[derive(Clone)]
pub(crate) struct PublicNode {
    /// The sum of the BIP-32 tweaks on the way. Added to every key share of the account it gives
    /// those of this key, because the Lagrange coefficients of any threshold of shares sum to one.
    pub(crate) shift: Scalar,
    /// The key itself: the account's, and `shift` times the generator.
    pub(crate) point: ProjectivePoint,
    /// Its compressed form.
    pub(crate) key: [u8; 33],
    chain_code: [u8; 32],
}

impl PublicNode {
    /// The account itself. Nothing for what is no compressed point.
    pub(crate) fn account(key: &[u8], chain_code: [u8; 32]) -> Option<Self> {
        let point = decompress(key)?;
        Some(Self { shift: Scalar::ZERO, point, key: key.try_into().ok()?, chain_code })
    }

    /// The plain child `index` (below 2³¹).
    pub(crate) fn child(&self, index: u32) -> Result<Self, NoKey> {
        if index >= HARDENED {
            return Err(NoKey);
        }
        let (tweak, chain_code) = split(&self.chain_code, &[&self.key, &index.to_be_bytes()])?;
        let point = self.point.add(&ProjectivePoint::GENERATOR.mul(&tweak));
        // The identity has no compressed form.
        let key = compress(&point).ok_or(NoKey)?;
        Ok(Self { shift: self.shift.add(&tweak), point, key, chain_code })
    }
}

/// HMAC-SHA512 in two halves: a scalar below the group order, and a chain code.
fn split(key: &[u8], parts: &[&[u8]]) -> Result<(Scalar, [u8; 32]), NoKey> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).map_err(|_| NoKey)?;
    for part in parts {
        mac.update(part);
    }
    let hash = Zeroizing::new(<[u8; 64]>::from(mac.finalize().into_bytes()));
    let (left, right) = hash.split_first_chunk::<32>().ok_or(NoKey)?;
    let mut repr = FieldBytes::from(*left);
    let scalar = Option::<Scalar>::from(Scalar::from_repr(repr)).ok_or(NoKey);
    repr.as_mut_slice().zeroize();
    Ok((scalar?, right.try_into().map_err(|_| NoKey)?))
}

/// The compressed form of a point; the identity has none.
pub(crate) fn compress(point: &ProjectivePoint) -> Option<[u8; 33]> {
    point.to_affine().to_encoded_point(true).as_bytes().try_into().ok()
}

/// The point of a compressed public key. The identity, what is not on the curve, and the other
/// 33-byte form of SEC 1 (tag 5, one coordinate) are refused.
pub(crate) fn decompress(bytes: &[u8]) -> Option<ProjectivePoint> {
    let bytes: &[u8; 33] = bytes.try_into().ok().filter(|[tag, ..]: &&[u8; 33]| matches!(tag, 2 | 3))?;
    let encoded = EncodedPoint::from_bytes(bytes).ok()?;
    Option::<AffinePoint>::from(AffinePoint::from_encoded_point(&encoded)).map(ProjectivePoint::from)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use bitcoin::bip32::{ChildNumber, DerivationPath, Xpriv, Xpub};
    use bitcoin::secp256k1::Secp256k1;

    use super::*;

    /// BIP-32 test vectors 1 to 4: seed, a hardened path, the extended public key there.
    const HARDENED_VECTORS: [(&str, &[u32], &str); 7] = [
        (
            "000102030405060708090a0b0c0d0e0f",
            &[],
            "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8",
        ),
        (
            "000102030405060708090a0b0c0d0e0f",
            &[0],
            "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw",
        ),
        (
            "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4acba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be",
            &[],
            "xpub661MyMwAqRbcEZVB4dScxMAdx6d4nFc9nvyvH3v4gJL378CSRZiYmhRoP7mBy6gSPSCYk6SzXPTf3ND1cZAceL7SfJ1Z3GC8vBgp2epUt13",
        ),
        (
            "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4acba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be",
            &[0],
            "xpub68NZiKmJWnxxS6aaHmn81bvJeTESw724CRDs6HbuccFQN9Ku14VQrADWgqbhhTHBaohPX4CjNLf9fq9MYo6oDaPPLPxSb7gwQN3ih19Zm4Y",
        ),
        (
            "3ddd5602285899a946114506157c7997e5444528f3003f6134712147db19b678",
            &[],
            "xpub661MyMwAqRbcGczjuMoRm6dXaLDEhW1u34gKenbeYqAix21mdUKJyuyu5F1rzYGVxyL6tmgBUAEPrEz92mBXjByMRiJdba9wpnN37RLLAXa",
        ),
        (
            "3ddd5602285899a946114506157c7997e5444528f3003f6134712147db19b678",
            &[0],
            "xpub69AUMk3qDBi3uW1sXgjCmVjJ2G6WQoYSnNHyzkmdCHEhSZ4tBok37xfFEqHd2AddP56Tqp4o56AePAgCjYdvpW2PU2jbUPFKsav5ut6Ch1m",
        ),
        (
            "3ddd5602285899a946114506157c7997e5444528f3003f6134712147db19b678",
            &[0, 1],
            "xpub6BJA1jSqiukeaesWfxe6sNK9CCGaujFFSJLomWHprUL9DePQ4JDkM5d88n49sMGJxrhpjazuXYWdMf17C9T5XnxkopaeS7jGk1GyyVziaMt",
        ),
    ];

    /// BIP-32 test vectors 1 and 2: a parent, one plain step, the child.
    const PLAIN_VECTORS: [(&str, u32, &str); 2] = [
        (
            "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw",
            1,
            "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuCkwQ",
        ),
        (
            "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB",
            0,
            "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH",
        ),
    ];

    #[test]
    fn hardened_steps_give_the_vectors_of_bip_32() {
        for (seed, path, expected) in HARDENED_VECTORS {
            let mut node = Node::master(&hex::decode(seed).unwrap()).unwrap();
            for index in path {
                node = node.hardened(*index).unwrap();
            }
            let expected = Xpub::from_str(expected).unwrap();
            assert_eq!(node.public(), expected.public_key.serialize());
            assert_eq!(node.chain_code, *expected.chain_code.as_bytes());
        }
    }

    #[test]
    fn plain_steps_give_the_vectors_of_bip_32() {
        for (parent, index, expected) in PLAIN_VECTORS {
            let parent = Xpub::from_str(parent).unwrap();
            let node =
                PublicNode::account(&parent.public_key.serialize(), parent.chain_code.to_bytes()).unwrap();
            let node = node.child(index).unwrap();
            let child = Xpub::from_str(expected).unwrap();
            assert_eq!(node.key, child.public_key.serialize());
            assert_eq!(node.chain_code, child.chain_code.to_bytes());
        }
    }

    #[test]
    fn both_kinds_of_steps_agree_with_the_bitcoin_crate() {
        let secp = Secp256k1::new();
        for n in 0..50_u8 {
            let seed = [n; 32];
            let path = DerivationPath::from_str("m/86'/1'/7'").unwrap();
            let oracle = Xpriv::new_master(bitcoin::NetworkKind::Test, &seed).unwrap();
            let oracle = Xpub::from_priv(&secp, &oracle.derive_priv(&secp, &path).unwrap());
            let node =
                [86, 1, 7].iter().fold(Node::master(&seed).unwrap(), |node, i| node.hardened(*i).unwrap());
            assert_eq!(node.public(), oracle.public_key.serialize());
            let steps = [1, u32::from(n)];
            let account = PublicNode::account(&node.public(), node.chain_code).unwrap();
            let reached = steps.iter().fold(account, |node, i| node.child(*i).unwrap());
            let child = oracle.derive_pub(&secp, &steps.map(ChildNumber::from)).unwrap();
            assert_eq!(reached.key, child.public_key.serialize());
            assert_eq!(compress(&reached.point).unwrap(), reached.key);
            assert_eq!(ProjectivePoint::GENERATOR.mul(&node.key.add(&reached.shift)), reached.point);
        }
    }

    #[test]
    fn limits() {
        for (length, allowed) in [(0, false), (15, false), (16, true), (64, true), (65, false)] {
            assert_eq!(Node::master(&vec![1; length]).is_ok(), allowed, "{length}");
        }
        let node = Node::master(&[1; 32]).unwrap();
        assert!(node.hardened(HARDENED - 1).is_ok());
        assert!(node.hardened(HARDENED).is_err());
        let account = PublicNode::account(&node.public(), node.chain_code).unwrap();
        assert!(account.child(HARDENED - 1).is_ok());
        assert!(account.child(HARDENED).is_err());
    }

    #[test]
    fn only_compressed_points_of_the_curve_are_read() {
        let good = Node::master(&[1; 32]).unwrap().public();
        assert!(decompress(&good).is_some());
        for tag in [0, 1, 4, 5, 6, 7, 255] {
            let mut bad = good;
            bad[0] = tag;
            assert!(decompress(&bad).is_none(), "{tag}");
        }
        assert!(decompress(&[0]).is_none(), "the identity");
        assert!(decompress(&[0; 33]).is_none());
        assert!(decompress(&good[..32]).is_none());
        let mut off_curve = [0; 33];
        (off_curve[0], off_curve[32]) = (2, 5); // 5³ + 7 is no square
        assert!(decompress(&off_curve).is_none());
    }
}
