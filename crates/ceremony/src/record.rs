//! Who may sign a ceremony record, and whether one is sound: the checks of the log (`P3.document`), made
//! before the record is carried there.

use std::collections::BTreeSet;

use chain::BitcoinDecoder;
use custody::document::{CeremonyRecord, CosignerCard, Document, restore_message, verify};
use custody::effects::{Branch, Decoder as _};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::statement::key_id;
use custody::{Blob, Hash, PublicKey, SLOTS_LIMIT, canon};
use keys::share::{ShareError, SharePublic};

/// Fewest people who hold a ceremony: one alone could deviate unseen (DACS GEN-13).
pub const PARTICIPANTS_MIN: usize = 2;

/// Why these people cannot hold a ceremony.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// Fewer than [`PARTICIPANTS_MIN`].
    #[error("{0} took part: a ceremony takes at least {PARTICIPANTS_MIN} people, name each one's key file")]
    Few(usize),
    /// One person counts once, whatever the number of keys.
    #[error("{0} is named twice: each participant is another person")]
    Twice(Name),
    /// A key that genesis does not have.
    #[error("the key {0} is of nobody in genesis: use the key file of a person who stands there")]
    Stranger(Hash),
}

/// Why a record is not sound.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Other bytes than the canonical ones of a ceremony document.
    #[error("not a ceremony record ({0}): use record.json as the ceremony wrote it")]
    Form(String),
    /// Another threshold than that of genesis.
    #[error("{0} holders sign, but genesis says {1}: hold the ceremony anew with this genesis")]
    Threshold(u32, u32),
    /// Not the share-holding co-signers of genesis, in order.
    #[error("the holders are not the share-holding co-signers of genesis: hold the ceremony anew")]
    Holders,
    /// Too few or too many accounts.
    #[error("{0} accounts: a ceremony deals 1 to {SLOTS_LIMIT}")]
    Accounts(usize),
    /// An account stands twice.
    #[error("two accounts of the record are the same: hold the ceremony anew")]
    SameAccount,
    /// The commitments of an account do not fit it.
    #[error("account {0}: {1}")]
    Slot(u32, ShareError),
    /// No address can be derived from an account.
    #[error("account {0} gives no address: hold the ceremony anew")]
    Address(u32),
    /// Nothing shows that the key of an account can be rebuilt from recovery components.
    #[error(
        "nothing shows that the key of account {0} was rebuilt from recovery components: hold the ceremony anew"
    )]
    Restored(u32),
    /// See [`PeopleError`].
    #[error(transparent)]
    People(#[from] PeopleError),
    /// A signature does not verify.
    #[error("the signature of {0} does not verify: the record was altered, or is of another genesis")]
    Signature(Name),
}

/// The co-signers of genesis that hold shares, in the order of their share identifiers.
pub fn holders(genesis: &Genesis) -> impl Iterator<Item = &CosignerCard> {
    genesis.cosigners.iter().filter(|card| card.holds_shares)
}

/// The person of genesis whom a signing key belongs to, by the id of the key.
fn person_of<'a>(genesis: &'a Genesis, id: &Hash) -> Option<(&'a Name, PublicKey)> {
    let mut keys = genesis.people.iter().flat_map(|p| p.keys.iter().map(move |k| (&p.id, k.sign)));
    keys.find(|(_, sign)| key_id(sign) == *id)
}

/// Whether a signing key is one of a person of genesis.
pub fn is_known(genesis: &Genesis, key: &PublicKey) -> bool {
    person_of(genesis, &key_id(key)).is_some()
}

/// The people whose keys (by id) sign a record: at least two, each another one.
///
/// # Errors
/// [`PeopleError`].
pub fn participants(genesis: &Genesis, keys: &[Hash]) -> Result<Vec<Name>, PeopleError> {
    let mut people = Vec::new();
    for id in keys {
        let (person, _) = person_of(genesis, id).ok_or(PeopleError::Stranger(*id))?;
        if people.contains(person) {
            return Err(PeopleError::Twice(person.clone()));
        }
        people.push(person.clone());
    }
    if people.len() < PARTICIPANTS_MIN { Err(PeopleError::Few(people.len())) } else { Ok(people) }
}

/// Reads a record from the canonical bytes of its document.
///
/// # Errors
/// [`RecordError::Form`].
pub fn parse(bytes: &[u8]) -> Result<CeremonyRecord, RecordError> {
    match canon::decode(bytes).map_err(|error| RecordError::Form(error.to_string()))? {
        Document::Ceremony(record) => Ok(record),
        other => Err(RecordError::Form(format!("it is a document of kind {}", other.kind().word()))),
    }
}

/// Checks a record against genesis as the log does, and that holders will accept shares under it.
/// Returns the people who signed it.
///
/// The log knows more: keys revoked since genesis, and accounts that another ceremony dealt.
///
/// # Errors
/// The first thing that is not sound.
pub fn check(record: &CeremonyRecord, genesis: &Genesis) -> Result<Vec<Name>, RecordError> {
    if record.threshold != genesis.threshold {
        return Err(RecordError::Threshold(record.threshold, genesis.threshold));
    }
    if !record.holders.iter().eq(holders(genesis).map(|card| &card.name)) {
        return Err(RecordError::Holders);
    }
    if !(1..=SLOTS_LIMIT).contains(&record.slots.len()) {
        return Err(RecordError::Accounts(record.slots.len()));
    }
    let accounts: BTreeSet<_> = record.slots.iter().map(|slot| &slot.account).collect();
    if accounts.len() != record.slots.len() {
        return Err(RecordError::SameAccount);
    }
    let decoder =
        BitcoinDecoder::new(&genesis.network).map_err(|error| RecordError::Form(error.to_string()))?;
    for (number, slot) in (0u32..).zip(&record.slots) {
        let public = SharePublic::of(record, number).ok_or(RecordError::Address(number))?;
        public.check().map_err(|error| RecordError::Slot(number, error))?;
        decoder.own_script(&slot.account, Branch::Receive, 0).map_err(|_| RecordError::Address(number))?;
    }
    if let Some(recovery) = &record.recovery {
        let mut signatures = recovery.restored.iter();
        for (number, slot) in (0u32..).zip(&record.slots) {
            let message = restore_message(&genesis.hash(), &record.nonce, number);
            let signed = |signature: &Blob| decoder.schnorr_ok(&slot.account, &message, &signature.0);
            if !signatures.next().is_some_and(signed) {
                return Err(RecordError::Restored(number));
            }
        }
        if signatures.next().is_some() {
            return Err(RecordError::Form("it has more signatures of rebuilt keys than accounts".into()));
        }
    } else if genesis.rules > 1 {
        return Err(RecordError::Restored(0));
    }
    let keys: Vec<Hash> = record.participants.iter().map(|p| p.key).collect();
    let people = participants(genesis, &keys)?;
    let message = record.signed_bytes(&genesis.hash());
    for participation in &record.participants {
        let stranger = || PeopleError::Stranger(participation.key);
        let (person, public) = person_of(genesis, &participation.key).ok_or_else(stranger)?;
        if !verify(&public, &message, &participation.signature.0) {
            return Err(RecordError::Signature(person.clone()));
        }
    }
    Ok(people)
}
