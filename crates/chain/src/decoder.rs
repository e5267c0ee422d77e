//! The reader of one Bitcoin network, as the rules of `custody` ask for it.

use bitcoin::address::{Address, NetworkUnchecked};
use bitcoin::bip32::{ChainCode, ChildNumber, Fingerprint, Xpub};
use bitcoin::consensus::Params;
use bitcoin::key::{PublicKey, XOnlyPublicKey};
use bitcoin::secp256k1::{self, Secp256k1, VerifyOnly};
use bitcoin::{AddressType, Network, Script, ScriptBuf};
use custody::Blob;
use custody::effects::{
    AccountKey, Branch, ConfirmationProof, Confirmed, DecodeError, Decoder, Effects, PinnedHeader, Sats,
};

use crate::{proof, raw, shares};

/// The networks: the library's name, ours, and the CAIP-2 id (namespace `bip122`: the first 32 hex
/// digits of the hash of the genesis block).
const NETWORKS: [(Network, &str, &str); 5] = [
    (Network::Bitcoin, "mainnet", "bip122:000000000019d6689c085ae165831e93"),
    (Network::Testnet, "testnet3", "bip122:000000000933ea01ad0ee984209779ba"),
    (Network::Testnet4, "testnet4", "bip122:00000000da84f2bafbbc53dee25a72ae"),
    (Network::Signet, "signet", "bip122:00000008819873e925422c1ff0f99f7c"),
    (Network::Regtest, "regtest", "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"),
];

/// Reads the transactions, addresses and proofs of one Bitcoin network.
#[derive(Clone, Debug)]
pub struct BitcoinDecoder {
    pub(crate) network: Network,
    params: Params,
    secp: Secp256k1<VerifyOnly>,
}

impl BitcoinDecoder {
    /// The reader of the network with the CAIP-2 id `chain`, for example
    /// `bip122:000000000019d6689c085ae165831e93` for the main network.
    ///
    /// # Errors
    /// An id of no known network, named.
    pub fn new(chain: &str) -> Result<Self, DecodeError> {
        let (network, ..) = NETWORKS.into_iter().find(|(.., id)| *id == chain).ok_or_else(|| {
            let known = NETWORKS.map(|(_, name, id)| format!("{id} ({name})")).join(", ");
            DecodeError { what: "chain", why: format!("`{chain}` is not one of {known}") }
        })?;
        let params = Params::new(network);
        Ok(Self { network, params, secp: Secp256k1::verification_only() })
    }
}

impl Decoder for BitcoinDecoder {
    fn decode(&self, raw: &[u8]) -> Result<Effects, DecodeError> {
        raw::unsigned(raw).map(|tx| raw::effects(&tx))
    }

    fn own_script(&self, account: &AccountKey, branch: Branch, index: u32) -> Result<Vec<u8>, DecodeError> {
        let bad = |why| DecodeError { what: "address index", why };
        let step = |number| {
            ChildNumber::from_normal_idx(number)
                .map_err(|_| bad(format!("{number} is hardened; an index is below 2^31")))
        };
        let child = xpub(self.network, account)?
            .derive_pub(&self.secp, &[step(branch.number())?, step(index)?])
            .map_err(|error| bad(format!("{index} has no key: {error}; use the next")))?;
        Ok(ScriptBuf::new_p2tr(&self.secp, child.to_x_only_pub(), None).into_bytes())
    }

    fn address_script(&self, address: &str) -> Result<Vec<u8>, DecodeError> {
        let bad = |why: String| DecodeError { what: "address", why: format!("`{address}` {why}") };
        let parsed: Address<NetworkUnchecked> =
            address.parse().map_err(|error| bad(format!("is malformed: {error}")))?;
        let of = |network| parsed.is_valid_for_network(network);
        if !of(self.network) {
            let theirs = NETWORKS.iter().filter(|(network, ..)| of(*network));
            let theirs = theirs.map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ");
            let ours = self.name();
            return Err(bad(format!("is for {theirs}; this deployment pays on {ours}")));
        }
        let checked = parsed.assume_checked();
        let script = checked.script_pubkey();
        match checked.address_type() {
            Some(AddressType::P2tr) if taproot_key(&script).is_none() => {
                Err(bad("holds no curve point, so nobody could spend from it".into()))
            }
            Some(
                AddressType::P2pkh
                | AddressType::P2sh
                | AddressType::P2wpkh
                | AddressType::P2wsh
                | AddressType::P2tr,
            ) => Ok(script.into_bytes()),
            _ => Err(bad("is of a kind that anybody may spend from today".into())),
        }
    }

    fn dust_limit(&self, script: &[u8]) -> Sats {
        Sats(Script::from_bytes(script).minimal_non_dust().to_sat())
    }

    fn confirmed(&self, proof: &ConfirmationProof, pinned: &PinnedHeader) -> Result<Confirmed, DecodeError> {
        proof::confirmed(&self.params, proof, pinned)
    }

    fn schnorr_ok(&self, account: &AccountKey, message: &[u8; 32], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) = (point(account), secp256k1::schnorr::Signature::from_slice(signature))
        else {
            return false;
        };
        let message = secp256k1::Message::from_digest(*message);
        let (key, _) = key.x_only_public_key();
        self.secp.verify_schnorr(&signature, &message, &key).is_ok()
    }

    fn redeals(&self, shared: &[Blob], dealers: &[u32], dealer: u32, dealt: &[Blob]) -> bool {
        shares::redeals(&self.secp, shared, dealers, dealer, dealt).is_some_and(|same| same)
    }

    fn add_commitments(&self, lists: &[&[Blob]]) -> Option<Vec<Blob>> {
        shares::add(lists)
    }
}

impl BitcoinDecoder {
    /// The name of the network.
    fn name(&self) -> &'static str {
        let found = NETWORKS.iter().find(|(network, ..)| *network == self.network);
        found.map_or("an unknown network", |(_, name, _)| name)
    }
}

/// The account as a BIP-32 extended public key. [`AccountKey`] does not say where in a tree it stands, so
/// it is written as a root (depth, parent and child number 0); children do not depend on these.
pub(crate) fn xpub(network: Network, account: &AccountKey) -> Result<Xpub, DecodeError> {
    Ok(Xpub {
        network: network.into(),
        depth: 0,
        parent_fingerprint: Fingerprint::default(),
        child_number: ChildNumber::Normal { index: 0 },
        public_key: point(account)?,
        chain_code: ChainCode::from(account.chain_code.0),
    })
}

/// The curve point of an account; only the compressed form is one.
fn point(account: &AccountKey) -> Result<secp256k1::PublicKey, DecodeError> {
    PublicKey::from_slice(&account.public.0)
        .ok()
        .filter(|key| key.compressed)
        .map(|key| key.inner)
        .ok_or_else(|| {
            let why = "the public key is no compressed curve point of 33 bytes".into();
            DecodeError { what: "account", why }
        })
}

/// The output key of a Taproot script (BIP-341), if it is one and its key a curve point.
pub(crate) fn taproot_key(script: &Script) -> Option<XOnlyPublicKey> {
    let key = script.as_bytes().get(2..).filter(|_| script.is_p2tr())?;
    XOnlyPublicKey::from_slice(key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_named_by_its_genesis_block() {
        for (network, _, id) in NETWORKS {
            let hash = bitcoin::constants::genesis_block(network).block_hash().to_string();
            assert_eq!(id, format!("bip122:{}", &hash[..32]));
        }
    }
}
