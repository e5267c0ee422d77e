//! The ceremony itself: seed, accounts, shares, proof, seals, record.

use std::collections::{BTreeMap, BTreeSet};

use custody::document::{CeremonyRecord, Participation, Slot, share_context};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::rule::Refusal;
use custody::statement::key_id;
use custody::{Blob, Hash, SLOTS_LIMIT};
use keys::device::{DeviceKey, SignMessage};
use keys::locked::LockError;
use keys::purpose::WrongPurpose;
use keys::round::{self, AggregateError, Binding, SignError, Signable};
use keys::seal::{self, SealDomain, SealError, SealPublic};
use keys::seed::{DeriveError, Seed};
use keys::share::{HeldShare, ShareError, SharePublic, ShareSecret, deal};
use rand_core::CryptoRngCore;

use crate::files::{SealedShare, SealedShares};
use crate::record::{self, PeopleError, RecordError};

/// The coin type of test networks (SLIP-44): genesis admits no other network yet.
pub const COIN_TYPE: u32 = 1;

/// Accounts that a ceremony deals unless told otherwise: wallets to come, without another ceremony.
pub const ACCOUNTS_DEFAULT: u32 = 16;

/// What is settled before the seed is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The deployment.
    pub genesis: &'a Genesis,
    /// How many accounts: 1 to [`SLOTS_LIMIT`].
    pub accounts: u32,
    /// The time, in seconds since 1970.
    pub held_at: u64,
    /// In words, where the randomness comes from and how much it is (DACS GEN-01).
    pub entropy: &'a str,
    /// SHA-256 of the program that runs (DACS GEN-04).
    pub program: Hash,
}

/// What a ceremony leaves: nothing of it is secret.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The record, signed by every participant.
    pub record: CeremonyRecord,
    /// The shares, each sealed to its holder.
    pub sealed: SealedShares,
    /// How many sets of holders were seen to sign, over all accounts (DACS REC-01).
    pub subsets: usize,
}

/// Why a ceremony stopped. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// Genesis is not sound; a co-signer's certificate, for example, does not verify.
    #[error("{0}")]
    Genesis(#[from] Refusal),
    /// Too few or too many accounts.
    #[error("{0} accounts cannot be dealt: choose 1 to {SLOTS_LIMIT}")]
    Accounts(u32),
    /// See [`PeopleError`].
    #[error(transparent)]
    People(#[from] PeopleError),
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
    /// See [`DeriveError`].
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// See [`ShareError`].
    #[error(transparent)]
    Share(#[from] ShareError),
    /// A set of holders could not sign.
    #[error("fresh shares do not sign ({0}): hold the ceremony anew, on another machine if it stays so")]
    Sign(#[from] SignError),
    /// What a set of holders signed does not verify.
    #[error("fresh shares do not sign ({0}): hold the ceremony anew, on another machine if it stays so")]
    Aggregate(#[from] AggregateError),
    /// A share could not be sealed to a holder.
    #[error("sealing to {0}: {1}; make a new card of this co-signer and a new genesis")]
    Seal(Name, SealError),
    /// See [`WrongPurpose`].
    #[error(transparent)]
    Purpose(#[from] WrongPurpose),
    /// The finished record does not pass its checks.
    #[error("the finished record is not sound ({0}): hold the ceremony anew")]
    Record(#[from] RecordError),
}

/// An account between its dealing and the sealing of its shares.
struct Account {
    public: SharePublic,
    held: Vec<HeldShare>,
}

/// Holds a ceremony. The seed, the account keys and the shares in the clear exist only in locked memory
/// inside this call, and are wiped before the record is signed.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn hold(
    plan: &Plan<'_>,
    participants: &[DeviceKey],
    rng: &mut impl CryptoRngCore,
) -> Result<Outcome, CeremonyError> {
    let genesis = plan.genesis;
    // Whoever gets shares must be certified before there are any (P4): this checks every card.
    genesis.check()?;
    let wrong = || CeremonyError::Accounts(plan.accounts);
    let accounts = usize::try_from(plan.accounts).map_err(|_| wrong())?;
    if !(1..=SLOTS_LIMIT).contains(&accounts) {
        return Err(wrong());
    }
    let signing: Vec<Hash> = participants.iter().map(|key| key_id(&key.public().sign)).collect();
    record::participants(genesis, &signing)?;

    let accounts = deal_accounts(plan, rng)?;
    let mut nonce = [0; 32];
    rng.fill_bytes(&mut nonce);
    let slot = |account: &Account| Slot {
        account: account.public.account.clone(),
        commitments: account.public.commitments.clone(),
    };
    let mut record = CeremonyRecord {
        nonce: Hash(nonce),
        held_at: plan.held_at,
        threshold: genesis.threshold,
        holders: record::holders(genesis).map(|card| card.name.clone()).collect(),
        slots: accounts.iter().map(slot).collect(),
        entropy: plan.entropy.to_owned(),
        program: plan.program,
        participants: Vec::new(),
    };
    let mut subsets = 0usize;
    for (number, account) in (0u32..).zip(&accounts) {
        subsets = subsets.saturating_add(prove(account, &genesis.hash(), &record.nonce, number, rng)?);
    }
    // The id does not cover the participants' signatures, so that shares can be sealed under it now.
    let sealed = seal_shares(genesis, &record, &accounts, rng)?;
    drop(accounts);

    let message = record.signed_bytes(&genesis.hash());
    for (key, device) in signing.into_iter().zip(participants) {
        let signature = Blob(device.sign(SignMessage::CeremonyRecord(&message))?.to_vec());
        record.participants.push(Participation { key, signature });
    }
    record::check(&record, genesis)?;
    Ok(Outcome { record, sealed, subsets })
}

/// Makes the seed, deals each account of it, and forgets seed and account keys.
fn deal_accounts(plan: &Plan<'_>, rng: &mut impl CryptoRngCore) -> Result<Vec<Account>, CeremonyError> {
    let holders: Vec<Name> = record::holders(plan.genesis).map(|card| card.name.clone()).collect();
    // Genesis was checked: thresholds are small, and dealing refuses any other.
    let threshold = u16::try_from(plan.genesis.threshold).unwrap_or(u16::MAX);
    let seed = Seed::generate(rng)?;
    let mut accounts = Vec::new();
    for number in 0..plan.accounts {
        let dealt = deal(seed.account(COIN_TYPE, number)?, threshold, &holders, rng)?;
        let open =
            |(holder, share): &(Name, ShareSecret)| ShareSecret::open(share.expose(), &dealt.public, holder);
        let held = dealt.shares.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        accounts.push(Account { public: dealt.public, held });
    }
    Ok(accounts)
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

/// Seals every share to its holder's certified key, bound to where it belongs.
fn seal_shares(
    genesis: &Genesis,
    record: &CeremonyRecord,
    accounts: &[Account],
    rng: &mut impl CryptoRngCore,
) -> Result<SealedShares, CeremonyError> {
    let hash = genesis.hash();
    let ceremony = record.id(&hash);
    let mut shares = Vec::new();
    for (slot, account) in (0u32..).zip(accounts) {
        for (card, share) in record::holders(genesis).zip(&account.held) {
            let holder = card.name.clone();
            let context = share_context(&hash, &ceremony, slot, &holder, record.threshold);
            let to = SealPublic(card.seal.0);
            let sealed = seal::seal(&to, SealDomain::Share, &context, share.expose(), rng);
            let sealed = sealed.map_err(|error| CeremonyError::Seal(holder.clone(), error))?;
            shares.push(SealedShare { holder, slot, sealed: Blob(sealed) });
        }
    }
    Ok(SealedShares { genesis: hash, ceremony, shares })
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;

    fn two_accounts(genesis: &Genesis) -> [Account; 2] {
        let plan = Plan { genesis, accounts: 2, held_at: 0, entropy: "", program: Hash::default() };
        deal_accounts(&plan, &mut OsRng).unwrap().try_into().ok().unwrap()
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
