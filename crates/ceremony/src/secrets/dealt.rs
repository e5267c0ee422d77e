//! Accounts between their dealing and the sealing of their shares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use custody::document::{CeremonyRecord, Participation, Recovery, Slot, share_context};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::statement::key_id;
use custody::{Blob, Hash};
use keys::device::{DeviceKey, SignMessage};
use keys::locked::LockedBytes;
use keys::round::{self, Binding, Signable};
use keys::seal::{self, SealDomain, SealPublic};
use keys::share::{HeldShare, SharePublic};
use rand_core::CryptoRngCore;

use super::hedged::{Use, hedged};
use super::{CeremonyError, Plan};
use crate::files::{SealedShare, SealedShares};
use crate::record;

/// One account between its dealing and the sealing of its shares.
pub(super) struct Account {
    pub(super) public: SharePublic,
    pub(super) held: Vec<HeldShare>,
}

/// The shares of every account, in the clear.
pub struct Dealt {
    pub(super) nonce: Hash,
    pub(super) accounts: Vec<Account>,
    /// Keeps what is drawn from here on unpredictable, when the seed is gone.
    pub(super) hedge: LockedBytes,
}

impl Dealt {
    /// Lets every set of co-signers of every account sign (DACS REC-01), and counts the sets.
    ///
    /// # Errors
    /// A set that cannot.
    pub fn prove(&self, plan: &Plan<'_>, rng: &mut impl CryptoRngCore) -> Result<usize, CeremonyError> {
        let genesis = plan.genesis.hash();
        let mut rng = hedged(&self.hedge, Use::Proofs, rng)?;
        let mut sets = 0usize;
        for (slot, account) in (0u32..).zip(&self.accounts) {
            sets = sets.saturating_add(prove(account, &genesis, &self.nonce, slot, &mut rng)?);
        }
        Ok(sets)
    }

    /// Seals every share to its holder's certified key, and forgets them.
    ///
    /// # Errors
    /// A key that nothing can be sealed to.
    pub fn seal(self, plan: &Plan<'_>, rng: &mut impl CryptoRngCore) -> Result<Sealed, CeremonyError> {
        let slot = |account: &Account| Slot {
            account: account.public.account.clone(),
            commitments: account.public.commitments.clone(),
        };
        let record = CeremonyRecord {
            nonce: self.nonce,
            held_at: plan.held_at,
            threshold: plan.genesis.threshold,
            holders: record::holders(plan.genesis).map(|card| card.name.clone()).collect(),
            slots: self.accounts.iter().map(slot).collect(),
            entropy: plan.entropy.to_owned(),
            program: plan.program,
            participants: Vec::new(),
            recovery: None,
        };
        let genesis = plan.genesis.hash();
        let mut rng = hedged(&self.hedge, Use::Seals, rng)?;
        let ceremony = record.id(&genesis);
        let mut shares = Vec::new();
        for (slot, account) in (0u32..).zip(&self.accounts) {
            for (card, share) in record::holders(plan.genesis).zip(&account.held) {
                let holder = card.name.clone();
                let context = share_context(&genesis, &ceremony, slot, &holder, record.threshold);
                let to = SealPublic(plan.card(card).seal.0);
                let sealed = seal::seal(&to, SealDomain::Share, &context, share.expose(), &mut rng);
                let sealed = sealed.map_err(|error| CeremonyError::Seal(holder.clone(), error))?;
                shares.push(SealedShare { holder, slot, sealed: Blob(sealed) });
            }
        }
        let shares = SealedShares { genesis, ceremony, shares };
        Ok(Sealed { record, shares })
    }
}

impl fmt::Debug for Dealt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dealt({} accounts, <secret>)", self.accounts.len())
    }
}

/// What is left when every secret is gone: nothing of it is secret.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The record without its people and without what shows that the keys were rebuilt.
    pub record: CeremonyRecord,
    /// The shares, each sealed to its holder.
    pub shares: SealedShares,
}

impl Sealed {
    /// The record with the hash of the report and the signatures of the rebuilt account keys, to be signed.
    pub fn finish(&self, report: Hash, restored: Vec<Blob>) -> CeremonyRecord {
        CeremonyRecord { recovery: Some(Recovery { report, restored }), ..self.record.clone() }
    }
}

/// Adds a participant's signature to a finished record.
///
/// # Errors
/// None but for a record without canonical form.
pub fn sign(record: &mut CeremonyRecord, genesis: &Genesis, device: &DeviceKey) -> Result<(), CeremonyError> {
    let message = record.signed_bytes(&genesis.hash());
    let signature = Blob(device.sign(SignMessage::CeremonyRecord(&message))?.to_vec());
    record.participants.push(Participation { key: key_id(&device.public().sign), signature });
    Ok(())
}

/// Lets every set of as many holders as the threshold sign with the account key, verifies each signature
/// (DACS REC-01), and counts the sets. What is signed is bound to the nonce of the record and not to the
/// id of the ceremony, so that it proves nothing in the log: there holders prove their shares themselves.
fn prove(
    account: &Account,
    genesis: &Hash,
    nonce: &Hash,
    number: u32,
    rng: &mut impl CryptoRngCore,
) -> Result<usize, CeremonyError> {
    let sets = subsets(&account.held, usize::from(account.public.threshold));
    for set in &sets {
        let signers: BTreeSet<Name> = set.iter().map(|share| share.holder().clone()).collect();
        let names: Vec<Name> = signers.iter().cloned().collect();
        let challenge = round::activation_message(genesis, nonce, number, &names);
        let what = Signable::Activation(&challenge);
        let binding = Binding { session: *challenge.as_bytes(), input: 0, signers };
        let mut commitments = BTreeMap::new();
        let mut nonces = Vec::new();
        for share in set {
            let (secret, commitment) = round::commit(share, binding.clone(), rng)?;
            commitments.insert(share.holder().clone(), commitment);
            nonces.push((*share, secret));
        }
        let mut parts = BTreeMap::new();
        for (share, secret) in nonces {
            parts.insert(share.holder().clone(), round::sign(secret, share, &what, &commitments)?);
        }
        round::aggregate(&account.public, &what, &commitments, &parts)?;
    }
    Ok(sets.len())
}

/// Every set of `size` of the items, each once.
fn subsets<T>(items: &[T], size: usize) -> Vec<Vec<&T>> {
    match (size.checked_sub(1), items.split_first()) {
        (None, _) => vec![Vec::new()],
        (Some(_), None) => Vec::new(),
        (Some(less), Some((first, rest))) => {
            let mut with = subsets(rest, less);
            with.iter_mut().for_each(|set| set.insert(0, first));
            with.extend(subsets(rest, size));
            with
        }
    }
}

#[cfg(test)]
mod tests {
    use keys::seed::Seed;
    use rand_core::OsRng;

    use super::super::hedged::tests::Foreseen;
    use super::*;

    fn two_accounts(genesis: &Genesis) -> [Account; 2] {
        let plan = fixture_plan(genesis);
        let restored = crate::secrets::restored::tests::any();
        restored.deal(&plan, Hash([3; 32]), &mut OsRng).unwrap().accounts.try_into().ok().unwrap()
    }

    fn fixture_plan(genesis: &Genesis) -> Plan<'_> {
        Plan { genesis, cards: &[], first: 0, accounts: 2, held_at: 0, entropy: "", program: Hash::default() }
    }

    #[test]
    fn shares_that_do_not_sign_together_are_found_out() {
        let genesis = fixtures::genesis();
        let hash = genesis.hash();
        let [mut one, mut two] = two_accounts(&genesis);
        assert_eq!(prove(&one, &hash, &Hash::default(), 0, &mut OsRng).unwrap(), 3);
        // Whichever share is of another account, some set of holders has it.
        for position in 0..3 {
            std::mem::swap(&mut one.held[position], &mut two.held[position]);
            assert!(prove(&one, &hash, &Hash::default(), 0, &mut OsRng).is_err(), "{position}");
            std::mem::swap(&mut one.held[position], &mut two.held[position]);
        }
        assert_eq!(prove(&two, &hash, &Hash::default(), 1, &mut OsRng).unwrap(), 3);
    }

    /// A generator that is foreseen gives away neither the polynomials nor the keys of the seals.
    #[test]
    fn polynomials_and_seals_follow_from_the_secret_too() {
        let genesis = fixtures::genesis();
        let plan = fixture_plan(&genesis);
        let dealt = crate::secrets::restored::tests::any().deal(&plan, Hash([3; 32]), &mut Foreseen).unwrap();
        let seed = Seed::restored(LockedBytes::take(&mut [7; 32]).unwrap()).unwrap();
        let holders: Vec<Name> = record::holders(&genesis).map(|card| card.name.clone()).collect();
        for (number, account) in (0..).zip(&dealt.accounts) {
            let secret = seed.account(crate::secrets::COIN_TYPE, number).unwrap();
            let foreseen = keys::share::deal(secret, 2, &holders, &mut Foreseen).unwrap();
            let (made, foreseen) = (&account.public.commitments, &foreseen.public.commitments);
            assert_eq!((made.len(), &made[0]), (2, &foreseen[0]), "the same account");
            assert_ne!(made[1], foreseen[1]);
        }
        assert_ne!(dealt.accounts[0].public.commitments[1], dealt.accounts[1].public.commitments[1]);
        // HPKE begins with the public half of a key that is drawn for each seal.
        let drawn = |dealt: Dealt| -> BTreeSet<Vec<u8>> {
            let sealed = dealt.seal(&plan, &mut Foreseen).unwrap();
            sealed.shares.shares.iter().map(|share| share.sealed.0[..32].to_vec()).collect()
        };
        let other = two_accounts(&genesis).into();
        let other =
            Dealt { nonce: dealt.nonce, accounts: other, hedge: LockedBytes::take(&mut [9; 32]).unwrap() };
        let (one, other) = (drawn(dealt), drawn(other));
        assert_eq!((one.len(), other.len(), one.intersection(&other).count()), (6, 6, 0));
    }

    #[test]
    fn every_subset_stands_once() {
        let text = |items: &[char], size| {
            let sets = subsets(items, size);
            sets.iter().map(|set| set.iter().copied().collect::<String>()).collect::<Vec<_>>()
        };
        assert_eq!(text(&['a', 'b', 'c'], 2), ["ab", "ac", "bc"]);
        assert_eq!(text(&['a', 'b', 'c', 'd'], 3), ["abc", "abd", "acd", "bcd"]);
        assert_eq!(text(&['a', 'b'], 2), ["ab"]);
        assert!(text(&['a'], 2).is_empty());
        let sets = subsets(&[0; 13], 5);
        assert_eq!(sets.len(), 1_287);
    }
}
