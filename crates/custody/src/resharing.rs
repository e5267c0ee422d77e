//! New shares of dealt accounts, made by their holders without the key being whole anywhere (P30): the same
//! co-signers get fresh ones, or others take the place of one that is lost.
//!
//! Verifiable redistribution of shares (Desmedt and Jajodia 1997; Wong, Wang and Wing 2002; for the same
//! holders Herzberg, Jarecki, Krawczyk and Yung 1995). A quorum adopts a [`Resharing`]. Each holder to be
//! offers a key for this alone ([`Offer`]). Each dealer splits its own share, weighted by its Lagrange
//! coefficient, among the holders to be ([`Deal`]); the sum of what one of them gets is its new share. Once
//! every set of them has proved that it can sign ([`crate::statement::Activate`]), the account is signed for
//! with the new shares, from that batch on and with no others. Then the old ones are erased ([`Erased`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::apply::Fault;
use crate::bytes::{Blob, Hash, PublicKey};
use crate::canon;
use crate::document::{Document, Kind, Slot};
use crate::effects::Decoder;
use crate::name::Name;
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{Owner, SlotRecord, Stage, State, Superseded};

/// Length of a sealed part of a share in bytes: an encapsulated key, 32 bytes, an authentication tag.
pub const SEALED_PART_BYTES: usize = 80;

/// Has the accounts of a ceremony shared anew (P30).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resharing {
    /// Random, so that another attempt is another dealing.
    pub nonce: Hash,
    /// The ceremony whose accounts they are.
    pub ceremony: Hash,
    /// Which holders deal: as many as sign, sorted.
    pub dealers: Vec<Name>,
    /// Who holds shares afterwards, in the order of the share identifiers 1, 2, 3 …: that of genesis.
    pub holders: Vec<Name>,
}

impl Resharing {
    /// The hash that names the new shares, as that of a ceremony names those that it dealt.
    pub fn id(&self, genesis: &Hash) -> Hash {
        Hash::of("keyward/resharing/v1", &canon::encode(&(genesis, self)).unwrap_or_default())
    }
}

/// A holder to be names the key to which its parts are sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The resharing.
    pub dealing: Hash,
    /// X25519, made for this resharing and destroyed with it.
    pub seal: PublicKey,
}

/// A dealer shares its share of one account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deal {
    /// The resharing.
    pub dealing: Hash,
    /// The position of the account in its ceremony.
    pub slot: u32,
    /// Commitments to the coefficients of the dealer's polynomial (33-byte points); the first is to its share
    /// times its Lagrange coefficient.
    pub commitments: Vec<Blob>,
    /// What each holder to be gets, in their order, sealed to the key of its [`Offer`] (HPKE).
    pub sealed: Vec<Blob>,
}

/// A co-signer says that it has erased every share that a resharing replaced, and the keys that opened them (P4).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erased {
    /// The resharing.
    pub dealing: Hash,
}

/// What binds a sealed part to its place: deployment, resharing, account, dealer and holder.
pub fn part_context(genesis: &Hash, dealing: &Hash, slot: u32, dealer: &Name, holder: &Name) -> Vec<u8> {
    canon::encode(&(genesis, dealing, slot, dealer, holder)).unwrap_or_default()
}

/// A resharing that was adopted, and how far it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResharingRecord {
    /// The document.
    pub resharing: Resharing,
    /// The keys that holders to be offered.
    pub offers: BTreeMap<Name, PublicKey>,
    /// Who erased what came before.
    pub erased: BTreeSet<Name>,
}

/// A reference to what does not exist makes a batch invalid, every other fault consumes the statement.
fn missing(what: &str) -> Fault {
    Fault::Invalid(Refusal::new(Rule::Reference, what))
}

fn sound(holds: bool, why: &str) -> Result<(), Refusal> {
    ensure(holds, Rule::Resharing, || why.into())
}

fn cosigner(owner: Owner) -> Result<Name, Refusal> {
    match owner {
        Owner::Cosigner(name) => Ok(name),
        Owner::Person(_) | Owner::Machine(_) => {
            Err(Refusal::new(Rule::Resharing, "only co-signers take part in a resharing"))
        }
    }
}

/// The share identifier of a holder.
fn identifier(holders: &[Name], who: &Name) -> Option<u32> {
    let position = holders.iter().position(|holder| holder == who)?;
    u32::try_from(position).ok()?.checked_add(1)
}

impl State {
    /// The shares with which an account of a ceremony is signed for now: the hash that names the dealing, and
    /// the account under it.
    pub fn dealt(&self, ceremony: &Hash, slot: u32) -> Option<(Hash, &SlotRecord)> {
        let first = self.slots.get(&(*ceremony, slot))?;
        match first.superseded {
            None => Some((*ceremony, first)),
            Some(Superseded { by, .. }) => Some((by, self.slots.get(&(by, slot))?)),
        }
    }

    /// Who holds the shares of an account together, each set once: those in use, those that went out of use after
    /// `since` (log time; a co-signer that is behind may still sign with them), and those to come, from the approval of
    /// a resharing on.
    pub fn holder_sets(&self, since: u64) -> BTreeSet<&[Name]> {
        let live = |slot: &SlotRecord| slot.superseded.is_none_or(|superseded| superseded.at > since);
        let used = self.slots.iter().filter(|(_, slot)| live(slot)).map(|(_, slot)| slot.holders.as_slice());
        let open = self
            .resharings
            .iter()
            .filter(|(id, record)| self.is_current(id, record) && !self.is_reshared(id));
        let open = open.map(|(_, record)| record.resharing.holders.as_slice());
        let waiting =
            self.proposals.iter().filter_map(|(_, proposal)| match (&proposal.document, &proposal.stage) {
                (Document::Resharing(resharing), Stage::Waiting(_)) => Some(resharing.holders.as_slice()),
                _ => None,
            });
        used.chain(open).chain(waiting).collect()
    }

    /// The resharing in force for a ceremony.
    pub fn resharing_of(&self, ceremony: &Hash) -> Option<(Hash, &ResharingRecord)> {
        match &self.document(Kind::Resharing, &ceremony.to_string())?.document {
            Document::Resharing(resharing) => {
                let id = resharing.id(&self.genesis_hash);
                Some((id, self.resharings.get(&id)?))
            }
            _ => None,
        }
    }

    /// The accounts that a ceremony dealt, by position.
    fn accounts_of(&self, ceremony: Hash) -> impl Iterator<Item = (u32, &SlotRecord)> {
        let all = self.slots.from((ceremony, 0)).take_while(move |((c, _), _)| *c == ceremony);
        all.map(|((_, slot), record)| (*slot, record))
    }

    pub(crate) fn check_resharing(&self, resharing: &Resharing) -> Result<(), Refusal> {
        let Resharing { ceremony, dealers, holders, nonce: _ } = resharing;
        let own = |slot: &SlotRecord| slot.reshares.is_none();
        sound(
            self.accounts_of(*ceremony).any(|(_, slot)| own(slot)),
            "no ceremony dealt accounts under this id",
        )?;
        let known: Vec<&Name> =
            self.cosigners().iter().map(|c| &c.name).filter(|n| holders.contains(n)).collect();
        sound(known.into_iter().eq(holders), "the holders are not co-signers in the order of their turns")?;
        let numbers = self.numbers();
        ensure(holders.len() >= numbers.threshold.saturating_add(numbers.faulty), Rule::Committee, || {
            format!(
                "with {} holders too few are left to sign when {} are lost: name more",
                holders.len(),
                numbers.faulty
            )
        })?;
        let distinct = dealers.is_sorted_by(|a, b| a < b) && dealers.len() == numbers.threshold;
        sound(distinct, "name as many dealers as sign, sorted")?;
        for (slot, _) in self.accounts_of(*ceremony) {
            let holds = self
                .dealt(ceremony, slot)
                .is_some_and(|(_, now)| dealers.iter().all(|dealer| now.holders.contains(dealer)));
            ensure(holds, Rule::Resharing, || format!("a dealer holds no share of account {slot}"))?;
        }
        sound(
            self.resharings.get(&resharing.id(&self.genesis_hash)).is_none(),
            "this resharing was adopted before: give it another nonce",
        )
    }

    /// Begins a resharing. One of the same ceremony that is not complete is void.
    pub(crate) fn begin_resharing(&mut self, resharing: &Resharing) {
        let dealing = resharing.id(&self.genesis_hash);
        if let Some((before, _)) = self.resharing_of(&resharing.ceremony) {
            let slots: Vec<u32> = self.accounts_of(resharing.ceremony).map(|(slot, _)| slot).collect();
            for slot in slots {
                self.deals.take(&mut self.facts, &(before, slot));
                if self.dealt(&resharing.ceremony, slot).is_some_and(|(used, _)| used != before) {
                    self.supersede((before, slot), dealing);
                }
            }
        }
        let record = ResharingRecord {
            resharing: resharing.clone(),
            offers: BTreeMap::new(),
            erased: BTreeSet::new(),
        };
        self.resharings.put(&mut self.facts, dealing, record);
    }

    fn supersede(&mut self, key: (Hash, u32), by: Hash) {
        if let Some(mut slot) = self.slots.get(&key).cloned() {
            slot.superseded = Some(Superseded { by, at: self.clock.time });
            self.slots.put(&mut self.facts, key, slot);
        }
    }

    /// The record of a resharing that is in force.
    fn resharing(&self, dealing: &Hash) -> Result<ResharingRecord, Fault> {
        let record = self.resharings.get(dealing).ok_or_else(|| missing("there is no such resharing"))?;
        sound(self.is_current(dealing, record), "another resharing took its place")
            .map_err(Fault::Rejected)?;
        Ok(record.clone())
    }

    pub(crate) fn offer(&mut self, offer: &Offer, owner: Owner) -> Result<(), Fault> {
        let mut record = self.resharing(&offer.dealing)?;
        let who = cosigner(owner).map_err(Fault::Rejected)?;
        let take = || {
            sound(record.resharing.holders.contains(&who), "only who is to hold shares offers a key")?;
            sound(record.offers.insert(who, offer.seal).is_none(), "its key was offered already")
        };
        take().map_err(Fault::Rejected)?;
        self.resharings.put(&mut self.facts, offer.dealing, record);
        Ok(())
    }

    pub(crate) fn deal(&mut self, deal: &Deal, owner: Owner, decoder: &dyn Decoder) -> Result<(), Fault> {
        let record = self.resharing(&deal.dealing)?;
        let Resharing { ceremony, dealers, holders, .. } = &record.resharing;
        let used = self.dealt(ceremony, deal.slot).ok_or_else(|| missing("no such account was dealt"))?.1;
        let used = used.clone();
        let who = cosigner(owner).map_err(Fault::Rejected)?;
        let key = (deal.dealing, deal.slot);
        let mut deals = self.deals.get(&key).cloned().unwrap_or_default();
        let check = || {
            sound(record.offers.len() == holders.len(), "not every holder to be has offered its key yet")?;
            sound(dealers.contains(&who), "it is no dealer of this resharing")?;
            let first = !deals.contains_key(&who) && self.slots.get(&key).is_none();
            sound(first, "it dealt this account already")?;
            let fits = deal.sealed.iter().all(|part| part.0.len() == SEALED_PART_BYTES);
            sound(
                deal.sealed.len() == holders.len() && fits,
                "there is not one sealed part for each holder",
            )?;
            let ids =
                dealers.iter().filter_map(|dealer| identifier(&used.holders, dealer)).collect::<Vec<_>>();
            let own = identifier(&used.holders, &who).unwrap_or_default();
            let whole = deal.commitments.len() == used.slot.commitments.len();
            sound(
                whole && decoder.redeals(&used.slot.commitments, &ids, own, &deal.commitments),
                "the commitments are not to the dealer's share",
            )
        };
        check().map_err(Fault::Rejected)?;
        deals.insert(who, deal.clone());
        if deals.len() == dealers.len() {
            let lists: Vec<&[Blob]> = deals.values().map(|deal| deal.commitments.as_slice()).collect();
            let added = decoder.add_commitments(&lists);
            let account = used.slot.account.clone();
            let commitments = added
                .ok_or_else(|| Refusal::new(Rule::Resharing, "what was dealt takes away what others dealt"))
                .map_err(Fault::Rejected)?;
            let slot = SlotRecord {
                slot: Slot { account, commitments },
                holders: holders.clone(),
                threshold: used.threshold,
                proved: BTreeSet::new(),
                wallet: None,
                reshares: Some(*ceremony),
                superseded: None,
            };
            self.slots.put(&mut self.facts, key, slot);
        }
        self.deals.put(&mut self.facts, key, deals);
        Ok(())
    }

    /// Whether proofs of these shares still count: they are those in use, or on their way to be.
    pub(crate) fn check_proof_wanted(&self, dealing: &Hash, slot: &SlotRecord) -> Result<(), Refusal> {
        sound(slot.superseded.is_none(), "other shares took the place of these")?;
        let Some(ceremony) = &slot.reshares else { return Ok(()) };
        sound(
            self.resharing_of(ceremony).is_some_and(|(id, _)| id == *dealing),
            "another resharing took its place",
        )
    }

    /// Once every set of the new holders has proved that it can sign for every account, their shares are the ones.
    /// All accounts at once: else nobody might hold a share of each any more, and none could deal again.
    pub(crate) fn switch(&mut self, dealing: Hash, number: u32) {
        let Some(ceremony) = self.slots.get(&(dealing, number)).and_then(|slot| slot.reshares) else {
            return;
        };
        let left = self.to_reshare(&dealing);
        let proved = |number: &u32| {
            self.slots.get(&(dealing, *number)).is_some_and(|slot| self.proved_everywhere(slot))
        };
        if !left.iter().all(proved) {
            return;
        }
        for number in left {
            let before = self.dealt(&ceremony, number).map(|(before, _)| before);
            for old in before.into_iter().chain([ceremony]).collect::<BTreeSet<_>>() {
                self.supersede((old, number), dealing);
            }
            self.deals.take(&mut self.facts, &(dealing, number));
        }
    }

    /// Whether a resharing is the one in force for its ceremony.
    pub fn is_current(&self, dealing: &Hash, record: &ResharingRecord) -> bool {
        self.resharing_of(&record.resharing.ceremony).is_some_and(|(id, _)| id == *dealing)
    }

    /// The accounts that are not signed for with the shares of a resharing yet.
    pub fn to_reshare(&self, dealing: &Hash) -> Vec<u32> {
        let Some(record) = self.resharings.get(dealing) else { return Vec::new() };
        let left = |(_, slot): &(u32, &SlotRecord)| slot.superseded.is_none_or(|new| new.by != *dealing);
        self.accounts_of(record.resharing.ceremony).filter(left).map(|(slot, _)| slot).collect()
    }

    /// Whether all accounts of its ceremony are signed for with the shares of a resharing.
    pub fn is_reshared(&self, dealing: &Hash) -> bool {
        self.resharings.get(dealing).is_some() && self.to_reshare(dealing).is_empty()
    }

    /// Whether a co-signer held shares that a resharing replaced.
    pub fn held_before(&self, dealing: &Hash, who: &Name) -> bool {
        let ceremony = self.resharings.get(dealing).map(|record| record.resharing.ceremony);
        let of_it = |key: &Hash, slot: &SlotRecord| Some(*key) == ceremony || slot.reshares == ceremony;
        let old = |((key, _), slot): &(&(Hash, u32), &SlotRecord)| of_it(key, slot) && key != dealing;
        ceremony.is_some() && self.slots.iter().filter(old).any(|(_, slot)| slot.holders.contains(who))
    }

    /// Whether a co-signer may say that it erased what a resharing replaced: it held some of that, all of it is
    /// out of use, and the key that it was sealed to went out of use since. Parts are sealed to keys of one
    /// resharing alone; a ceremony seals to the key of the card in force.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_erased(&self, dealing: &Hash, who: &Name) -> Result<(), Refusal> {
        let refuse = |why: &str| Refusal::new(Rule::Erased, why);
        let record = self.resharings.get(dealing).ok_or_else(|| refuse("there is no such resharing"))?;
        let ceremony = record.resharing.ceremony;
        ensure(self.is_reshared(dealing), Rule::Erased, || {
            "not every account is signed for with the new shares yet".into()
        })?;
        ensure(!record.erased.contains(who), Rule::Erased, || format!("{who} said so already"))?;
        ensure(self.held_before(dealing, who), Rule::Erased, || {
            format!("{who} held none of the shares before")
        })?;
        let first = self.accounts_of(ceremony).any(|(_, slot)| slot.holders.contains(who));
        let dealt_at =
            self.document(Kind::Ceremony, &self.ceremony_subject(&ceremony)).map(|found| found.since);
        let carded_at = self.document(Kind::Cosigner, who.as_str()).map(|found| found.since);
        let rotated = carded_at.zip(dealt_at).is_some_and(|(carded, dealt)| carded > dealt);
        ensure(rotated || !first, Rule::Erased, || {
            format!("the shares of the ceremony were sealed to the key that {who} still has: rotate it first")
        })
    }

    /// The subject of the document that recorded a ceremony.
    fn ceremony_subject(&self, ceremony: &Hash) -> String {
        let subject = |document: &Document| match document {
            Document::Ceremony(record) if record.id(&self.genesis_hash) == *ceremony => {
                Some(document.subject())
            }
            _ => None,
        };
        self.documents().find_map(|found| subject(&found.document)).unwrap_or_default()
    }

    pub(crate) fn erased(&mut self, erased: &Erased, owner: Owner) -> Result<(), Fault> {
        let record = self.resharings.get(&erased.dealing).cloned();
        let mut record = record.ok_or_else(|| missing("there is no such resharing"))?;
        let who = cosigner(owner).map_err(Fault::Rejected)?;
        self.check_erased(&erased.dealing, &who).map_err(Fault::Rejected)?;
        record.erased.insert(who);
        self.resharings.put(&mut self.facts, erased.dealing, record);
        Ok(())
    }
}
