//! What the institution knows and the chain does not, for the follower.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use bitcoin::Network;
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash as _;
use custody::Hash;
use custody::effects::Decoder as _;
use custody::name::Name;
use custody::state::{Authorisation, State};
use deposits::{Address, Coin, House, Screening, outpoint_text};

use super::screening::Screened;
use crate::clerk::{At, ClerkError};

/// The rule set from which on clients are documents of the log.
const CLIENTS_SINCE: u32 = 2;

/// The log, and the list of deposits to hold; for one step.
pub(super) struct Institution<'a> {
    at: &'a At<'a>,
    screened: &'a Screened,
    /// What the log allowed, by the id of the transaction (wire byte order). Most steps do not ask.
    allowed: OnceCell<BTreeMap<Hash, &'a Authorisation>>,
}

impl<'a> Institution<'a> {
    pub(super) fn new(at: &'a At<'a>, screened: &'a Screened) -> Self {
        Self { at, screened, allowed: OnceCell::new() }
    }

    fn allowed(&self, txid: &Hash) -> Option<&'a Authorisation> {
        let all = || self.at.state.authorisations().iter().map(|(_, a)| (a.txid, a)).collect();
        self.allowed.get_or_init(all).get(txid).copied()
    }
}

impl House for Institution<'_> {
    fn wallet_open(&self, wallet: &Name) -> bool {
        self.at.state.wallet(wallet).is_some()
    }

    /// Under rule set 1 there are no documents of clients: whoever the log allocates an address to is one.
    fn client_known(&self, client: &Name) -> bool {
        self.at.state.clock().rules < CLIENTS_SINCE || self.at.state.client(client).is_some()
    }

    fn screen(&self, coin: &Coin) -> Screening {
        self.screened.judge(&outpoint_text(&coin.outpoint), || address_text(self.at, &coin.address).ok())
    }

    fn authorised(&self, txid: &Hash) -> bool {
        self.allowed(txid).is_some()
    }

    fn change(&self, txid: &Hash) -> Option<(Name, Option<u32>)> {
        self.allowed(txid).map(|allowed| (allowed.wallet.clone(), allowed.transaction.change))
    }
}

/// Whether the log allowed the transaction with this id (wire byte order).
pub(super) fn authorised(state: &State, txid: &Hash) -> bool {
    state.authorisations().iter().any(|(_, authorisation)| authorisation.txid == *txid)
}

/// An own address, as people write it.
pub(super) fn address_text(at: &At<'_>, of: &Address) -> Result<String, ClerkError> {
    let account = at.state.wallet(&of.wallet).and_then(|wallet| at.state.slot_of(wallet));
    let account = account.ok_or_else(|| ClerkError::Other(format!("the log has no wallet {}", of.wallet)))?;
    let script = at.decoder.own_script(&account.slot.account, of.branch, of.index);
    let text = script.and_then(|script| at.decoder.address(&script));
    text.map_err(|error| ClerkError::Other(error.to_string()))
}

/// The hash of the first block of the deployment's network. Its CAIP-2 id is the first half of it.
pub(super) fn first_block(state: &State) -> Result<Hash, ClerkError> {
    let network = &state.genesis().network;
    let reference = network.strip_prefix("bip122:").filter(|reference| !reference.is_empty());
    let known = [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet, Network::Regtest];
    let mut hashes = known.into_iter().map(|network| genesis_block(network).block_hash());
    let found = hashes.find(|hash| reference.is_some_and(|text| hash.to_string().starts_with(text)));
    let found = found.map(|hash| Hash(hash.to_byte_array()));
    found.ok_or_else(|| ClerkError::Other(format!("no first block of the network {network} is known")))
}
