//! Another set of co-signers (P30): who joins, who leaves, who votes on which batch, and how one set hands the log
//! over to the next.
//!
//! A quorum of people adopts a [`CosignerSet`]. The batch that brings it into force is voted on, and its head made
//! final, by the set before; that final head stands in the first Tick of the new set. So whoever replays the log knows
//! who votes at each height, and that nobody took the log from those who had it.

use std::collections::BTreeSet;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::batch::Tick;
use crate::bytes::{Blob, Hash};
use crate::checkpoint::{FinalHead, HeadError};
use crate::document::{CosignerCard, Document, Kind, WalletState};
use crate::genesis::{Numbers, quorum_of};
use crate::name::Name;
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{Owner, SlotRecord, State};

/// Another set of co-signers (P30).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosignerSet {
    /// All of them, in the order of their turns: those who stay, and those who join.
    pub members: Vec<Name>,
    /// The cards of those who join.
    pub joining: Vec<CosignerCard>,
}

/// A set that took over, as it was when it did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetRecord {
    /// The cards in the order of their turns.
    pub cards: Vec<CosignerCard>,
}

impl State {
    /// The co-signers in the order of their turns, with the keys in force.
    pub fn cosigners(&self) -> Vec<&CosignerCard> {
        match self.document(Kind::CosignerSet, "").map(|found| &found.document) {
            Some(Document::CosignerSet(set)) => {
                set.members.iter().filter_map(|name| self.cosigner(name)).collect()
            }
            _ => self.genesis.cosigners.iter().map(|c| self.cosigner(&c.name).unwrap_or(c)).collect(),
        }
    }

    /// The numbers of the co-signer set. How many may be lost, and how many sign, is as in genesis.
    pub fn numbers(&self) -> Numbers {
        // They were checked when the state was made, and when the set was adopted.
        self.numbers_of(&self.cosigners()).unwrap_or(Numbers {
            all: 0,
            holders: 0,
            threshold: 0,
            faulty: 0,
            quorum: usize::MAX,
        })
    }

    fn numbers_of(&self, cards: &[&CosignerCard]) -> Result<Numbers, Refusal> {
        let holders = cards.iter().filter(|card| card.holds_shares).count();
        let small = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Numbers::new(cards.len(), holders, small(self.genesis.threshold), small(self.genesis.faulty))
    }

    /// The height of the batch that brought the set that votes now; 0 for that of genesis.
    pub fn set_since(&self) -> u64 {
        self.sets.up_to(u64::MAX).map_or(0, |(since, _)| *since)
    }

    /// Whether the last batch brought another set, which has not taken over yet.
    pub fn is_handing_over(&self) -> bool {
        self.set_since() == self.clock.height && self.clock.height > 0
    }

    /// Who votes on the batch of a height and co-signs its head: a set votes on the batches after the one that brought
    /// it. As many of them as the number says make it final.
    pub fn voters_at(&self, height: u64) -> (&[CosignerCard], usize) {
        let before = height.checked_sub(1).and_then(|before| self.sets.up_to(before));
        let cards = before.map_or(self.genesis.cosigners.as_slice(), |(_, set)| set.cards.as_slice());
        (cards, quorum_of(cards.len()))
    }

    /// Checks a note as the final head of some batch of this log, under the keys of those who voted on that batch.
    ///
    /// # Errors
    /// See [`HeadError`].
    pub fn final_head_at(&self, height: u64, note: &str) -> Result<FinalHead, HeadError> {
        let (cards, quorum) = self.voters_at(height);
        let key = |card: &CosignerCard| {
            VerifyingKey::from_bytes(&card.cosign.0).ok().map(|key| (card.name.to_string(), key))
        };
        let keys: Vec<_> = cards.iter().filter_map(key).collect();
        FinalHead::check(note, &self.genesis.log_origin(), &keys, quorum)
    }

    /// Checks a note as the final head of exactly this state's log (P11).
    ///
    /// # Errors
    /// See [`HeadError`].
    pub fn final_head(&self, note: &str) -> Result<FinalHead, HeadError> {
        let head = self.final_head_at(self.clock.height, note)?;
        if *head.checkpoint() == self.checkpoint() { Ok(head) } else { Err(HeadError::OtherLog) }
    }

    /// What the next Tick must carry, made of a final head of this state.
    pub(crate) fn handover(&self, head: &str) -> Option<Blob> {
        let own = || self.final_head(head).map_or_else(|_| head.to_owned(), |head| head.note());
        self.is_handing_over().then(|| Blob(own().into_bytes()))
    }

    /// The first Tick of a set carries the final head of the set before, and no other Tick one.
    pub(crate) fn check_handover(&self, tick: &Tick) -> Result<(), Refusal> {
        let refuse = |why: String| Refusal::new(Rule::Handover, why);
        match &tick.handover {
            None if self.is_handing_over() => {
                Err(refuse("the first batch of a new set shows no final head of the set before".into()))
            }
            None => Ok(()),
            Some(_) if !self.is_handing_over() => {
                Err(refuse("no set hands over here: leave the head out".into()))
            }
            Some(note) => {
                let text = std::str::from_utf8(&note.0).map_err(|_| refuse("the head is no text".into()))?;
                let head = self.final_head(text).map_err(|e| refuse(e.to_string()))?;
                // So it is no longer than the lines of all who voted, and nobody writes anything else into the log by it.
                ensure(head.note() == text, Rule::Handover, || {
                    "the head has other lines than one of each who co-signed it: leave them out".into()
                })
            }
        }
    }

    /// Checks a set against the one that is there: when it is proposed, and again when it would enter into force.
    pub(crate) fn check_cosigner_set(&self, set: &CosignerSet) -> Result<(), Refusal> {
        let sound = |holds: bool, why: &str| ensure(holds, Rule::Document, || why.into());
        let CosignerSet { members, joining } = set;
        sound(!self.is_handing_over(), "another set was adopted in this batch: propose anew")?;
        let distinct: BTreeSet<&Name> = members.iter().collect();
        sound(distinct.len() == members.len(), "a co-signer stands in the set twice")?;
        let now = self.cosigners();
        let mut keys: Vec<Hash> = Vec::new();
        for card in joining {
            let owner = Owner::Cosigner(card.name.clone());
            sound(members.contains(&card.name), "who joins is no member of the set")?;
            ensure(!self.was_cosigner(&card.name), Rule::Document, || {
                format!("{} is, or was, another co-signer: give the new one another name", card.name)
            })?;
            ensure(card.certified() && card.has_sound_keys(), Rule::Document, || {
                format!("the certificate of co-signer {} does not verify, or a key of it is none", card.name)
            })?;
            self.check_fresh_keys(&owner, &card.keys())?;
            keys.extend(card.keys());
        }
        let once = keys.iter().collect::<BTreeSet<_>>().len() == keys.len();
        sound(once, "a key stands twice among those who join")?;
        let mut cards: Vec<&CosignerCard> = Vec::new();
        for name in members {
            let card = now.iter().copied().chain(joining).find(|card| card.name == *name);
            cards.push(card.ok_or_else(|| {
                Refusal::new(Rule::Document, format!("{name} is no co-signer, and no card of it is here"))
            })?);
        }
        sound(cards.iter().map(|card| &card.name).ne(now.iter().map(|card| &card.name)), "nothing changes")?;
        let numbers = self.numbers_of(&cards)?;
        let kept = members.len().saturating_sub(joining.len());
        ensure(kept >= numbers.quorum, Rule::Committee, || {
            format!(
                "of {} co-signers only {kept} stay, and {} decide: let fewer join at a time, or the log stands \
                 still until all of them run",
                members.len(),
                numbers.quorum
            )
        })?;
        self.check_leaving(members)
    }

    /// Who leaves holds no share in use or to come, and of what was in use few enough are outside to be counted in f.
    fn check_leaving(&self, members: &[Name]) -> Result<(), Refusal> {
        let left = self.holder_sets(self.clock.time);
        let holds = left.into_iter().flatten().find(|holder| !members.contains(holder));
        if let Some(name) = holds {
            let why = format!("{name} holds shares in use, or is to: have them dealt anew without it first");
            return Err(Refusal::new(Rule::Leaving, why));
        }
        for ((ceremony, number), slot) in self.slots.iter().filter(|(_, slot)| slot.reshares.is_none()) {
            let wallet = slot.wallet.as_ref().and_then(|wallet| self.wallet(wallet));
            // A closed wallet is swept: that is what people say by closing it. One without coins has no wallet yet.
            let swept = [Some(WalletState::Retired), Some(WalletState::Compromised)];
            if wallet.is_some_and(|wallet| !swept.contains(&wallet.state)) {
                self.check_outside(ceremony, *number, members)?;
            }
        }
        Ok(())
    }

    /// Whether few enough of those who held shares of an account are outside a set: they count in f (P30).
    pub(crate) fn check_outside(
        &self,
        ceremony: &Hash,
        number: u32,
        members: &[Name],
    ) -> Result<(), Refusal> {
        let faulty = self.numbers().faulty;
        let of_it =
            |slot: &SlotRecord, dealing: &Hash| dealing == ceremony || slot.reshares == Some(*ceremony);
        let dealings = self.slots.iter().filter(|((dealing, n), slot)| *n == number && of_it(slot, dealing));
        for ((dealing, _), slot) in dealings {
            let kept =
                |who: &&Name| !members.contains(who) && !self.has_erased(ceremony, dealing, number, who);
            let outside: Vec<&str> = slot.holders.iter().filter(kept).map(Name::as_str).collect();
            ensure(outside.len() <= faulty, Rule::Leaving, || {
                format!(
                    "{} left with shares of one dealing of account {number}, and {faulty} may: let one erase \
                     what it has before it leaves, or sweep and close the wallet",
                    outside.join(", ")
                )
            })?;
        }
        Ok(())
    }

    /// Whether a co-signer said, after a dealing was out of use, that it erased what it had of it.
    fn has_erased(&self, ceremony: &Hash, dealing: &Hash, number: u32, who: &Name) -> bool {
        let ended = |id: &Hash| self.slots.get(&(*id, number)).map(|slot| slot.superseded.map(|s| s.at));
        self.resharings.iter().any(|(id, record)| {
            // The dealing of the ceremony came first; of the others, the one that ended first.
            let later = match (ended(dealing), ended(id)) {
                _ if dealing == ceremony => true,
                (Some(Some(_)), Some(None)) => true,
                (Some(Some(old)), Some(Some(new))) => old < new,
                _ => false,
            };
            record.resharing.ceremony == *ceremony && id != dealing && later && record.erased.contains(who)
        })
    }

    /// The cards that co-signers had when their set took over, of all sets so far.
    pub(crate) fn cards_so_far(&self) -> impl Iterator<Item = &CosignerCard> {
        self.sets.iter().flat_map(|(_, set)| &set.cards).chain(&self.genesis.cosigners)
    }

    /// Whether somebody is or was a co-signer.
    pub fn was_cosigner(&self, name: &Name) -> bool {
        self.cards_so_far().any(|card| card.name == *name)
    }

    /// Puts the cards of a checked set in force, and those of who leaves out of it.
    pub(crate) fn enter_cosigner_set(&mut self, set: &CosignerSet) {
        let now: Vec<CosignerCard> = self.cosigners().into_iter().cloned().collect();
        for card in now.iter().filter(|card| !set.members.contains(&card.name)) {
            self.replace_keys(Owner::Cosigner(card.name.clone()), &[]);
            self.documents.take(&mut self.facts, &(Kind::Cosigner, card.name.to_string()));
        }
        for card in &set.joining {
            self.enforce(Document::Cosigner(card.clone()), None);
        }
        let cards: Vec<CosignerCard> =
            set.members.iter().filter_map(|name| self.cosigner(name)).cloned().collect();
        self.sets.put(&mut self.facts, self.clock.height, SetRecord { cards });
    }
}
