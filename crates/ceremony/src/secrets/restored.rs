//! A seed that was rebuilt from recovery components: the only one that keys are dealt from.

use std::fmt;

use custody::Blob;
use custody::effects::AccountKey;
use custody::{Hash, name::Name};
use keys::locked::LockedBytes;
use keys::seed::Seed;
use keys::share::{ShareSecret, deal};
use rand_core::{CryptoRngCore, RngCore as _};

use super::dealt::{Account, Dealt};
use super::hedged::{Use, hedged};
use super::{COIN_TYPE, CeremonyError, Plan};
use crate::record;
use crate::slip39::{self, Mnemonic};

/// See the module.
pub struct Restored(Seed);

impl Restored {
    /// The seed of these components.
    ///
    /// # Errors
    /// Components that are not of one secret, too few, or damaged.
    pub fn combined<'m>(components: impl IntoIterator<Item = &'m Mnemonic>) -> Result<Self, CeremonyError> {
        Ok(Self(Seed::restored(slip39::combine(components)?)?))
    }

    /// The public side of an account.
    ///
    /// # Errors
    /// An index of 2³¹ or more, no locked memory.
    pub fn account(&self, number: u32) -> Result<AccountKey, CeremonyError> {
        Ok(self.0.account(COIN_TYPE, number)?.public())
    }

    /// Signs a challenge with the rebuilt key of each of these accounts (S8; the slot that is signed is the
    /// position in the list).
    ///
    /// # Errors
    /// An index of 2³¹ or more, no locked memory.
    pub fn sign(
        &self,
        genesis: &Hash,
        nonce: &Hash,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<Vec<(AccountKey, Blob)>, CeremonyError> {
        let one = |(slot, number): (u32, u32)| {
            let secret = self.0.account(COIN_TYPE, number)?;
            let signature = secret.sign_restored(genesis, nonce, slot)?;
            Ok((secret.public(), Blob(signature.to_vec())))
        };
        (0u32..).zip(numbers).map(one).collect()
    }

    /// Deals the accounts of the plan to the co-signers, and forgets the seed and the account keys.
    ///
    /// # Errors
    /// A plan that is not sound, no locked memory.
    pub fn deal(
        self,
        plan: &Plan<'_>,
        nonce: Hash,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Dealt, CeremonyError> {
        plan.check()?;
        let mut rng = hedged(self.0.expose(), Use::Shares, rng)?;
        let rng = &mut rng;
        let holders: Vec<Name> = record::holders(plan.genesis).map(|card| card.name.clone()).collect();
        // Genesis was checked: thresholds are small, and dealing refuses any other.
        let threshold = u16::try_from(plan.genesis.threshold).unwrap_or(u16::MAX);
        let mut accounts = Vec::new();
        for number in plan.numbers() {
            let dealt = deal(self.0.account(COIN_TYPE, number)?, threshold, &holders, rng)?;
            let open = |(holder, share): &(Name, ShareSecret)| {
                ShareSecret::open(share.expose(), &dealt.public, holder)
            };
            let held = dealt.shares.iter().map(open).collect::<Result<Vec<_>, _>>()?;
            accounts.push(Account { public: dealt.public, held });
        }
        let mut hedge = LockedBytes::zeroed(32)?;
        rng.fill_bytes(hedge.expose_mut());
        Ok(Dealt { nonce, accounts, hedge })
    }
}

impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Restored(<secret>)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use keys::locked::LockedBytes;

    use super::*;

    /// A seed of a test.
    pub(crate) fn any() -> Restored {
        Restored(Seed::restored(LockedBytes::take(&mut [7; 32]).unwrap()).unwrap())
    }
}
