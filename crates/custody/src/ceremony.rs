//! What a key ceremony made, and what shows that it was one (DACS GEN-03, REC-01).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::bytes::{Blob, Hash};
use crate::canon;
use crate::document::verify;
use crate::effects::{AccountKey, Branch, Decoder};
use crate::governance::SLOTS_LIMIT;
use crate::name::Name;
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{Owner, State};

/// One dealt account of a ceremony.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The public account key.
    pub account: AccountKey,
    /// The dealer's commitments to the coefficients of the sharing polynomial (33-byte points);
    /// the first is the account key.
    pub commitments: Vec<Blob>,
}

/// What a key ceremony made. The secrets themselves went, sealed, to their holders.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeremonyRecord {
    /// Random, so that two ceremonies differ.
    pub nonce: Hash,
    /// When, in seconds since 1970, by the clock of the offline machine.
    pub held_at: u64,
    /// How many shares sign.
    pub threshold: u32,
    /// Who got shares, in the order of the share identifiers 1, 2, 3 …
    pub holders: Vec<Name>,
    /// The accounts, in the order of their BIP-86 account number.
    pub slots: Vec<Slot>,
    /// Where the entropy came from, and how much.
    pub entropy: String,
    /// SHA-256 of the program that ran.
    pub program: Hash,
    /// The people who took part, and their signatures over [`CeremonyRecord::signed_bytes`].
    pub participants: Vec<Participation>,
    /// What shows that the keys can be recovered; demanded since rule set 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// The proof that the recovery components of a ceremony rebuild its keys (DACS REC-01).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The hash of the ceremony's report, which lists the components, their holders and places.
    pub report: Hash,
    /// For each account in order a BIP-340 signature over [`restore_message`] by the account key as it was
    /// rebuilt from recovery components.
    pub restored: Vec<Blob>,
}

/// One person's signature under a ceremony record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participation {
    /// The id of the key.
    pub key: Hash,
    /// Ed25519 signature.
    pub signature: Blob,
}

/// Domain tag of signatures under ceremony records.
pub const CEREMONY_TAG: &[u8] = b"keyward/ceremony-record/v1\0";

/// Domain tag of signatures under the report of a ceremony (DACS GEN-09).
pub const CEREMONY_REPORT_TAG: &[u8] = b"keyward/ceremony-report/v1\0";

/// Domain tag of signatures by which people go on with a ceremony in spite of a finding.
pub const CEREMONY_DEVIATION_TAG: &[u8] = b"keyward/ceremony-deviation/v1\0";

impl CeremonyRecord {
    /// What participants sign: genesis and the record without its signatures, after its domain tag.
    pub fn signed_bytes(&self, genesis: &Hash) -> Vec<u8> {
        let bare = Self { participants: Vec::new(), ..self.clone() };
        let mut out = CEREMONY_TAG.to_vec();
        out.extend(genesis.0);
        out.extend(canon::encode(&bare).unwrap_or_default());
        out
    }

    /// The hash that names the ceremony everywhere else. Shares are sealed under it, and the report tells of
    /// them, so it covers neither the report nor the signatures; the nonce makes it unique.
    pub fn id(&self, genesis: &Hash) -> Hash {
        let dealt = Self { recovery: None, ..self.clone() };
        Hash::of("keyward/ceremony/v1", &dealt.signed_bytes(genesis))
    }
}

/// What an account key signs that was rebuilt from recovery components: a 32-byte message under a BIP-340
/// tagged hash of its own. `nonce` is that of the record, which cannot name its own id.
pub fn restore_message(genesis: &Hash, nonce: &Hash, slot: u32) -> [u8; 32] {
    let tag = Hash::sha256(b"Keyward/restored/v1");
    Hash::sha256(&[&tag.0[..], &tag.0, &genesis.0, &nonce.0, &slot.to_be_bytes()].concat()).0
}

/// What holders sign to prove that they can: a 32-byte message under a BIP-340 tagged hash of its own,
/// so that it is never the digest of a transaction.
pub fn activation_message(genesis: &Hash, ceremony: &Hash, slot: u32, holders: &[Name]) -> [u8; 32] {
    let tag = Hash::sha256(b"Keyward/activation/v1");
    let mut data = [tag.0, tag.0, genesis.0, ceremony.0].concat();
    data.extend(slot.to_be_bytes());
    for holder in holders {
        data.extend(holder.as_str().bytes());
        data.push(0);
    }
    Hash::sha256(&data).0
}

/// What binds a sealed share to its place: deployment, ceremony, account, holder and threshold. It is
/// the associated data of the seal, so that a share in another's place does not open.
pub fn share_context(genesis: &Hash, ceremony: &Hash, slot: u32, holder: &Name, threshold: u32) -> Vec<u8> {
    canon::encode(&(genesis, ceremony, slot, holder, threshold)).unwrap_or_default()
}

impl State {
    pub(crate) fn check_ceremony(
        &self,
        record: &CeremonyRecord,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        let sound = |holds: bool, why: &str| ensure(holds, Rule::Ceremony, || why.into());
        sound(record.threshold == self.genesis.threshold, "the threshold is not that of genesis")?;
        self.check_holders(record)?;
        sound((1..=SLOTS_LIMIT).contains(&record.slots.len()), "a ceremony deals 1 to 64 accounts")?;
        let accounts: BTreeSet<_> = record.slots.iter().map(|s| &s.account).collect();
        sound(accounts.len() == record.slots.len(), "two accounts are the same")?;
        let known: BTreeSet<_> = self.slots.iter().map(|(_, s)| &s.slot.account).collect();
        sound(accounts.is_disjoint(&known), "an account was dealt before")?;
        let threshold = usize::try_from(record.threshold).unwrap_or(usize::MAX);
        let fits = |slot: &Slot| {
            slot.commitments.len() == threshold
                && slot.commitments.first() == Some(&slot.account.public)
                && decoder.own_script(&slot.account, Branch::Receive, 0).is_ok()
        };
        sound(record.slots.iter().all(fits), "an account and its commitments do not fit")?;
        self.check_restored(record, decoder)?;
        let message = record.signed_bytes(&self.genesis_hash);
        let mut people = BTreeSet::new();
        for participant in &record.participants {
            let key = self.key(&participant.key).filter(|k| k.revoked_at.is_none());
            let key = key.ok_or_else(|| Refusal::new(Rule::Ceremony, "a participant's key is not in use"))?;
            let Owner::Person(person) = &key.owner else {
                return Err(Refusal::new(Rule::Ceremony, "only people take part in ceremonies"));
            };
            sound(
                verify(&key.public, &message, &participant.signature.0),
                "a participant's signature does not verify",
            )?;
            people.insert(person);
        }
        sound(people.len() >= 2, "a ceremony has at least two participants, who sign its record")
    }

    /// Under rule set 4, where sets change, the holders are as many co-signers as are enough when f are lost, in any order:
    /// the ceremony may have been held before a change. Others get shares when they are dealt anew.
    fn check_holders(&self, record: &CeremonyRecord) -> Result<(), Refusal> {
        let sound = |holds: bool, why: &str| ensure(holds, Rule::Ceremony, || why.into());
        let cards = self.cosigners();
        if self.clock.rules < 4 {
            let holders: Vec<&Name> = cards.iter().filter(|c| c.holds_shares).map(|c| &c.name).collect();
            let same = record.holders.iter().eq(holders);
            return sound(same, "the holders are not the share-holding co-signers, in order");
        }
        let distinct: BTreeSet<&Name> = record.holders.iter().collect();
        let known = |name: &Name| cards.iter().any(|card| card.name == *name);
        let unknown = distinct.iter().find(|name| !known(name));
        ensure(unknown.is_none(), Rule::Ceremony, || {
            let names = record.holders.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
            format!("not all of {names} are co-signers now: hold the ceremony with those who are")
        })?;
        let numbers = self.numbers();
        let enough = distinct.len() >= numbers.threshold.saturating_add(numbers.faulty);
        let once = distinct.len() == record.holders.len();
        sound(once && enough, "a holder stands twice, or there are fewer than t + f")
    }

    /// No account, and so no address, before its key was rebuilt from recovery components (S8).
    fn check_restored(&self, record: &CeremonyRecord, decoder: &dyn Decoder) -> Result<(), Refusal> {
        if self.clock.rules < 2 {
            return Ok(());
        }
        let refuse = |why: &str| Refusal::new(Rule::Restored, why);
        let recovery = record.recovery.as_ref();
        let recovery =
            recovery.ok_or_else(|| refuse("the ceremony made no recovery components: hold another"))?;
        ensure(recovery.restored.len() == record.slots.len(), Rule::Restored, || {
            "each account needs the signature of its rebuilt key".into()
        })?;
        for ((number, slot), signature) in (0u32..).zip(&record.slots).zip(&recovery.restored) {
            let message = restore_message(&self.genesis_hash, &record.nonce, number);
            ensure(decoder.schnorr_ok(&slot.account, &message, &signature.0), Rule::Restored, || {
                format!("nothing shows that the key of account {number} can be rebuilt")
            })?;
        }
        Ok(())
    }
}
