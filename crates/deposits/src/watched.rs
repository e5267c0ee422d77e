//! Which scripts are ours, for a million addresses and more.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use bitcoin::Script;
use custody::Hash;
use custody::document::{Document, Wallet};
use custody::effects::{AccountKey, Branch, DecodeError, Decoder};
use custody::name::Name;
use custody::payment::GAP_LIMIT;
use custody::state::State;
use serde::{Deserialize, Serialize};

/// Most wallets of one index: their number is kept in two bytes of each address.
pub const WALLETS_LIMIT: u32 = 1 << 16;

/// Bytes of one place in the index: 32 of the key, 12 of what it stands for, one of the map itself. A map
/// is between 7/16 and 7/8 full, so an address takes 52 to 103 bytes.
pub const BYTES_PER_SLOT: usize = 45;

/// The output key of a Taproot script (BIP-341). All own scripts are Taproot, so this tells them apart, in
/// full: no two addresses share it, and none is taken for another.
pub type OutputKey = [u8; 32];

/// The output key of a script; nothing for what is not Taproot.
pub fn output_key(script: &Script) -> Option<OutputKey> {
    script.as_bytes().get(2..).filter(|_| script.is_p2tr())?.try_into().ok()
}

/// The output key of an own address.
pub(crate) fn derive(
    decoder: &dyn Decoder,
    account: &AccountKey,
    branch: Branch,
    index: u32,
) -> Result<OutputKey, DecodeError> {
    let script = decoder.own_script(account, branch, index)?;
    let why = || DecodeError { what: "script", why: "is not Taproot".to_owned() };
    output_key(Script::from_bytes(&script)).ok_or_else(why)
}

/// An own address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The wallet.
    pub wallet: Name,
    /// The chain of addresses.
    pub branch: Branch,
    /// The index on it.
    pub index: u32,
    /// Whose it is; nobody's while the log has not allocated it and it lies inside the gap.
    pub client: Option<Name>,
    /// Whether it should no longer be used.
    pub retired: bool,
}

/// Why an index cannot follow the log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WatchError {
    /// Too many wallets.
    #[error("over {WALLETS_LIMIT} wallets: watch the others in another index")]
    Wallets,
    /// Too many clients.
    #[error("over 2^32 - 1 clients: watch the others in another index")]
    Clients,
    /// A wallet whose account the log does not have.
    #[error("wallet {0} has no dealt account; replay the log again")]
    Account(Name),
    /// A script that cannot be derived.
    #[error("cannot derive {branch:?} addresses of a wallet from {first} on; replay the log again")]
    Derive {
        /// The chain of addresses.
        branch: Branch,
        /// The first index that was to be derived.
        first: u32,
        /// What is wrong.
        source: DecodeError,
    },
    /// A key that is not that of its address.
    #[error("the key that is watched as {branch:?} address {index} of wallet {wallet} is not its own")]
    Wrong {
        /// The wallet.
        wallet: Name,
        /// The chain of addresses.
        branch: Branch,
        /// The index on it.
        index: u32,
    },
}

/// What a key stands for, in 12 bytes.
#[derive(Clone, Copy, Debug)]
struct Slot {
    index: u32,
    client: u32,
    wallet: u16,
    branch: Branch,
    retired: bool,
}

/// The number of no client.
const NOBODY: u32 = u32::MAX;

/// Up to where one chain of addresses is in the index.
#[derive(Clone, Debug)]
struct Reach {
    account: AccountKey,
    /// Every index below is known with its client.
    allocated: u32,
    /// Every index below is watched.
    watched: u32,
}

/// The index of own scripts. It follows the log: whatever is allocated, and [`GAP_LIMIT`] addresses beyond
/// on each chain.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    slots: HashMap<OutputKey, Slot>,
    wallets: Numbered,
    clients: Numbered,
    reach: BTreeMap<(u16, Branch), Reach>,
}

/// Names and their numbers, in the order in which they came.
#[derive(Clone, Debug, Default)]
struct Numbered {
    names: Vec<Name>,
    numbers: BTreeMap<Name, u32>,
}

impl Numbered {
    /// The number of a name; nothing when it is new and there are `most` already.
    fn number(&mut self, name: &Name, most: u32) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = u32::try_from(self.names.len()).ok().filter(|number| *number < most)?;
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        Some(number)
    }

    fn name(&self, number: u32) -> Option<&Name> {
        self.names.get(usize::try_from(number).ok()?)
    }
}

impl Watched {
    /// Takes in what the log has allocated since the last call. Deriving an address takes tens of
    /// microseconds, so the first call after a start takes a minute for a million; see
    /// [`Watched::follow_with`].
    ///
    /// # Errors
    /// Limits, or a state that is not whole. What was taken in until then stays.
    pub fn follow(&mut self, state: &State, decoder: &dyn Decoder) -> Result<(), WatchError> {
        self.follow_with(state, |account, branch, indices| {
            indices.map(|index| derive(decoder, account, branch, index)).collect()
        })
    }

    /// As [`Watched::follow`], with keys from elsewhere, such as [`crate::KeyFiles`]: those of some indices of one
    /// chain of addresses, in order. What is found by them is not proved until [`Watched::prove`] has done so.
    ///
    /// # Errors
    /// As [`Watched::follow`].
    pub fn follow_with(
        &mut self,
        state: &State,
        mut keys: impl FnMut(&AccountKey, Branch, Range<u32>) -> Result<Vec<OutputKey>, DecodeError>,
    ) -> Result<(), WatchError> {
        for found in state.documents() {
            let Document::Wallet(wallet) = &found.document else { continue };
            for branch in [Branch::Receive, Branch::Change] {
                self.extend(state, &mut keys, wallet, branch)?;
            }
        }
        Ok(())
    }

    fn extend(
        &mut self,
        state: &State,
        keys: &mut impl FnMut(&AccountKey, Branch, Range<u32>) -> Result<Vec<OutputKey>, DecodeError>,
        wallet: &Wallet,
        branch: Branch,
    ) -> Result<(), WatchError> {
        let id = &wallet.id;
        let number = self.wallet_number(id)?;
        let slot = state.slot_of(wallet).ok_or_else(|| WatchError::Account(id.clone()))?;
        let account = &slot.slot.account;
        let known = self.reach.get(&(number, branch)).filter(|reach| reach.account == *account);
        let (allocated, watched) = known.map_or((0, 0), |reach| (reach.allocated, reach.watched));
        let next = state.next_index(id, branch);
        let beyond = next.saturating_add(GAP_LIMIT);
        if known.is_some() && (allocated, watched) == (next, beyond) {
            return Ok(());
        }

        let wrong = |source| WatchError::Derive { branch, first: allocated, source };
        let keys = keys(account, branch, allocated..beyond).map_err(wrong)?;
        let missing = || wrong(DecodeError { what: "keys", why: "are fewer than were asked for".to_owned() });
        let key = |index: u32| {
            let place = index.checked_sub(allocated).and_then(|place| usize::try_from(place).ok());
            place.and_then(|place| keys.get(place)).copied().ok_or_else(missing)
        };
        self.slots.reserve(keys.len());
        let runs = state.allocations().from((id.clone(), branch, allocated));
        let runs = runs.take_while(|((of, on, _), _)| of == id && *on == branch);
        for ((_, _, first), run) in runs {
            let client = self.client_number(&run.client)?;
            for index in *first..first.saturating_add(run.count) {
                self.put(key(index)?, Slot { index, client, wallet: number, branch, retired: false });
            }
        }
        for index in watched.max(next)..beyond {
            self.put(key(index)?, Slot { index, client: NOBODY, wallet: number, branch, retired: false });
        }
        let reach = Reach { account: account.clone(), allocated: next, watched: beyond };
        self.reach.insert((number, branch), reach);
        Ok(())
    }

    fn put(&mut self, key: OutputKey, slot: Slot) {
        let retired = self.slots.get(&key).is_some_and(|slot| slot.retired);
        self.slots.insert(key, Slot { retired, ..slot });
    }

    /// Derives the address anew that a script is taken for, if it is taken for one: nothing is credited because a
    /// file said so.
    ///
    /// # Errors
    /// [`WatchError::Wrong`], or a script that cannot be derived.
    pub fn prove(&self, decoder: &dyn Decoder, script: &Script) -> Result<(), WatchError> {
        let Some(Address { wallet, branch, index, .. }) = self.find(script) else { return Ok(()) };
        let number = self.wallets.numbers.get(&wallet).and_then(|number| u16::try_from(*number).ok());
        // What the caller put in with `insert` follows no account: it is the caller's word.
        let Some(reach) = number.and_then(|number| self.reach.get(&(number, branch))) else { return Ok(()) };
        let own = decoder.own_script(&reach.account, branch, index);
        let own = own.map_err(|source| WatchError::Derive { branch, first: index, source })?;
        if own == script.as_bytes() { Ok(()) } else { Err(WatchError::Wrong { wallet, branch, index }) }
    }

    /// Watches a key that the caller derived earlier, as [`Watched::follow`] would.
    ///
    /// # Errors
    /// Limits.
    pub fn insert(&mut self, key: OutputKey, address: &Address) -> Result<(), WatchError> {
        let client = address.client.as_ref().map_or(Ok(NOBODY), |client| self.client_number(client))?;
        let wallet = self.wallet_number(&address.wallet)?;
        let Address { branch, index, retired, .. } = *address;
        self.slots.insert(key, Slot { index, client, wallet, branch, retired });
        Ok(())
    }

    /// Takes an address out of use: what it is paid from now on is held. Says whether it is ours.
    pub fn retire(&mut self, script: &Script) -> bool {
        let slot = output_key(script).and_then(|key| self.slots.get_mut(&key));
        slot.map(|slot| slot.retired = true).is_some()
    }

    /// The own address that a script pays.
    pub fn find(&self, script: &Script) -> Option<Address> {
        let slot = self.slots.get(&output_key(script)?)?;
        Some(Address {
            wallet: self.wallets.name(u32::from(slot.wallet))?.clone(),
            branch: slot.branch,
            index: slot.index,
            client: self.clients.name(slot.client).cloned(),
            retired: slot.retired,
        })
    }

    /// How many addresses are watched.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of the map of scripts, from its capacity: places are a power of two, of which 7/8 are used.
    pub fn bytes(&self) -> usize {
        let places = self.slots.capacity().saturating_mul(8).div_ceil(7).next_power_of_two();
        if self.slots.capacity() == 0 { 0 } else { places.saturating_mul(BYTES_PER_SLOT) }
    }

    fn wallet_number(&mut self, wallet: &Name) -> Result<u16, WatchError> {
        let number = self.wallets.number(wallet, WALLETS_LIMIT).and_then(|number| u16::try_from(number).ok());
        number.ok_or(WatchError::Wallets)
    }

    fn client_number(&mut self, client: &Name) -> Result<u32, WatchError> {
        self.clients.number(client, NOBODY).ok_or(WatchError::Clients)
    }
}

/// A hash of the library in the form of `custody`, wire byte order.
pub(crate) fn hash(of: impl bitcoin::hashes::Hash<Bytes = [u8; 32]>) -> Hash {
    Hash(of.to_byte_array())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_takes_the_bytes_that_are_named() {
        assert_eq!(size_of::<(OutputKey, Slot)>() + 1, BYTES_PER_SLOT);
    }

    #[test]
    fn wallets_on_both_sides_of_the_limit() {
        let mut watched = Watched::default();
        for n in 1..WALLETS_LIMIT {
            watched.wallet_number(&Name::new(&format!("w{n}")).unwrap()).unwrap();
        }
        let last = Name::new("last").unwrap();
        assert_eq!(watched.wallet_number(&last), Ok(u16::MAX));
        assert_eq!(watched.wallet_number(&last), Ok(u16::MAX), "known");
        assert_eq!(watched.wallet_number(&Name::new("one-more").unwrap()), Err(WatchError::Wallets));
    }
}
