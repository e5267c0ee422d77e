//! A co-signer's part in a resharing: whatever the final log asks of it, it does by itself (P4, P30).
//!
//! Each step follows from the final log and from what is on disk, so one that was interrupted is done again.
//! A new share is on disk before anybody hears of it; an old one is erased only once the log, under a final
//! head, signs with the new ones.

use custody::resharing::{Deal, Erased, Offer, ResharingRecord, part_context};
use custody::rule::{Refusal, Rule};
use custody::statement::Body;
use custody::{Blob, Hash};
use keys::hedged::Hedged;
use keys::reshare::{self, Part};
use keys::seal::{self, SealDomain, SealKey, SealPublic};
use keys::share::HeldShare;
use keys::vault::{VaultContext, VaultKind};
use rand_core::CryptoRngCore;
use wire::message::FromCosigner;

use super::{Cosigner, Effect, OWN_STATEMENT_S, store};

/// What the generator of an offered key is for, before the resharing …
const OFFER_GENERATOR: &[u8] = b"keyward/resharing-offer/v1";

/// … and that of the seals of an account's parts, before the resharing and the account.
const SEALS_GENERATOR: &[u8] = b"keyward/resharing-seals/v1";

fn refuse(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Rule::Resharing, error.to_string())
}

/// What a statement is about, to remember that it was made.
fn about(what: &str, dealing: &Hash, slot: u32) -> Hash {
    Hash::of("keyward/said/v1", &[what.as_bytes(), &dealing.0, &slot.to_be_bytes()].concat())
}

impl Cosigner {
    /// Goes on with every resharing under way, then erases what others replaced.
    pub(super) fn reshare(&mut self, rng: &mut impl CryptoRngCore) {
        let open: Vec<(Hash, ResharingRecord)> = self
            .final_state
            .resharings()
            .iter()
            .filter(|(dealing, record)| self.final_state.is_current(dealing, record))
            .map(|(dealing, record)| (*dealing, record.clone()))
            .collect();
        for (dealing, record) in &open {
            let missing = self.final_state.to_reshare(dealing);
            if !missing.is_empty() {
                self.offer(*dealing, record, rng);
            }
            for slot in missing {
                self.deal(*dealing, record, slot, rng);
                self.take_parts(*dealing, record, slot, rng);
            }
        }
        // What is not known to be over stays.
        self.erase_superseded();
        for (dealing, _) in &open {
            // The key that opened the old ones is gone from disk, too.
            if !self.unwritten_keys && self.final_state.check_erased(dealing, &self.name).is_ok() {
                self.say(*dealing, about("erased", dealing, 0), rng, |_, _| {
                    Ok(Body::Erased(Erased { dealing: *dealing }))
                });
            }
        }
    }

    /// Makes a statement once, and again when it has ended. What cannot be said is told to the server, as rarely.
    fn say<R: CryptoRngCore>(
        &mut self,
        dealing: Hash,
        about: Hash,
        rng: &mut R,
        body: impl FnOnce(&mut Self, &mut R) -> Result<Body, Refusal>,
    ) {
        if self.said.get(&about).is_some_and(|end| *end >= self.desk.now_s) {
            return;
        }
        let made = body(self, rng).and_then(|body| self.state_own(body, rng));
        let end = made.unwrap_or_else(|refusal| {
            self.refused("reshare", dealing, &refusal, Vec::new(), false);
            self.desk.now_s.saturating_add(OWN_STATEMENT_S)
        });
        self.said.insert(about, end);
    }

    fn offer(&mut self, dealing: Hash, record: &ResharingRecord, rng: &mut impl CryptoRngCore) {
        if !record.resharing.holders.contains(&self.name) || record.offers.contains_key(&self.name) {
            return;
        }
        self.say(dealing, about("offer", &dealing, 0), rng, |this, rng| {
            if let Some(key) = this.offers.get(&dealing) {
                return Ok(Body::Offer(Offer { dealing, seal: Hash(key.public().0) }));
            }
            // Hedged, like all that is drawn here: who knows the generator must not open every part in the log.
            let info = [OFFER_GENERATOR, &dealing.0].concat();
            let mut hedged = Hedged::new(this.keys()?.seal_key().expose(), &info, rng).map_err(refuse)?;
            let key = SealKey::generate(&mut hedged).map_err(refuse)?;
            let file = this.vault.seal(&this.offer_file_context(), key.expose(), rng).map_err(refuse)?;
            this.out.push(Effect::Keep(store::offer_file(&dealing), file));
            let seal = Hash(key.public().0);
            this.offers.insert(dealing, key);
            Ok(Body::Offer(Offer { dealing, seal }))
        });
    }

    pub(super) fn offer_file_context(&self) -> VaultContext {
        VaultContext { kind: VaultKind::Offer, genesis: self.genesis, cosigner: self.name.clone() }
    }

    fn deal(&mut self, dealing: Hash, record: &ResharingRecord, slot: u32, rng: &mut impl CryptoRngCore) {
        let (holders, key) = (&record.resharing.holders, (dealing, slot));
        let dealt = self.final_state.deals().get(&key).is_some_and(|deals| deals.contains_key(&self.name));
        let asked = record.resharing.dealers.contains(&self.name) && record.offers.len() == holders.len();
        if dealt || !asked {
            return;
        }
        self.say(dealing, about("deal", &dealing, slot), rng, |this, rng| {
            let used = this.final_state.dealt(&record.resharing.ceremony, slot).map(|(used, _)| used);
            let share = used.and_then(|used| this.shares.get(&(used, slot)));
            let share =
                share.ok_or_else(|| refuse("the share that is to be dealt anew is not on this disk"))?;
            let fresh = reshare::redeal(share, &record.resharing.dealers, holders, rng).map_err(refuse)?;
            let info = [SEALS_GENERATOR, &dealing.0, &slot.to_be_bytes()].concat();
            let mut hedged = Hedged::new(share.expose(), &info, rng).map_err(refuse)?;
            let mut sealed = Vec::new();
            for (holder, part) in &fresh.shares {
                let to = record.offers.get(holder).ok_or_else(|| refuse("a holder's key is missing"))?;
                let context = part_context(&this.genesis, &dealing, slot, &this.name, holder);
                let part =
                    seal::seal(&SealPublic(to.0), SealDomain::Part, &context, part.expose(), &mut hedged);
                let none =
                    |e| refuse(format!("the key that {holder} offered: {e}; adopt one without {holder}"));
                sealed.push(Blob(part.map_err(none)?));
            }
            Ok(Body::Deal(Deal { dealing, slot, commitments: fresh.public.commitments, sealed }))
        });
    }

    /// Makes the new share of an account, once all dealers have dealt.
    fn take_parts(
        &mut self,
        dealing: Hash,
        record: &ResharingRecord,
        slot: u32,
        rng: &mut impl CryptoRngCore,
    ) {
        let key = (dealing, slot);
        let ready = self.final_state.slots().get(&key).is_some_and(|slot| slot.holders.contains(&self.name));
        let about = about("parts", &dealing, slot);
        let told = self.said.get(&about).is_some_and(|end| *end >= self.desk.now_s);
        if !ready || told || self.shares.contains_key(&key) {
            return;
        }
        match self.add_parts(dealing, record, slot) {
            Ok(share) => self.keep_share(key, share, rng, false),
            Err((refusal, culprits)) => {
                self.said.insert(about, self.desk.now_s.saturating_add(OWN_STATEMENT_S));
                self.refused("reshare", dealing, &refusal, culprits, false);
            }
        }
    }

    fn add_parts(
        &self,
        dealing: Hash,
        record: &ResharingRecord,
        slot: u32,
    ) -> Result<HeldShare, (Refusal, Vec<custody::name::Name>)> {
        let blameless = |refusal: Refusal| (refusal, Vec::new());
        // Another key than the log has is of an older disk: nobody is to blame for what it does not open.
        let stated = record.offers.get(&self.name);
        let offer = self.offers.get(&dealing).filter(|key| stated == Some(&Hash(key.public().0)));
        let offer = offer.ok_or_else(|| {
            blameless(refuse(
                "the key offered for this resharing is not on this disk: adopt another resharing",
            ))
        })?;
        let place = record.resharing.holders.iter().position(|holder| *holder == self.name);
        let deals = self.final_state.deals().get(&(dealing, slot)).into_iter().flatten();
        let mut opened = Vec::new();
        for (dealer, deal) in deals {
            let context = part_context(&self.genesis, &dealing, slot, dealer, &self.name);
            let sealed = place.and_then(|place| deal.sealed.get(place)).map_or(&[][..], |blob| &blob.0);
            let part = seal::open(offer, SealDomain::Part, &context, sealed)
                .map_err(|e| (refuse(format!("the part of {dealer}: {e}")), vec![dealer.clone()]))?;
            opened.push((dealer, &deal.commitments, part));
        }
        let part = |(dealer, commitments, secret)| Part { dealer, commitments, secret };
        let parts: Vec<Part<'_>> =
            opened.iter().map(|(d, c, s)| part((*d, c.as_slice(), s.as_slice()))).collect();
        let public = self.share_public(dealing, slot).map_err(blameless)?;
        reshare::add_up(&public, &self.name, &parts).map_err(|error| {
            let culprits = match &error {
                keys::share::ShareError::WrongPart(dealer) => vec![dealer.clone()],
                _ => Vec::new(),
            };
            (refuse(error), culprits)
        })
    }

    /// Erases shares that others replaced, and keys of resharings that are over.
    pub(super) fn erase_superseded(&mut self) {
        let state = &self.final_state;
        let over = |(dealing, slot): &(Hash, u32)| {
            state.slots().get(&(*dealing, *slot)).is_some_and(|slot| slot.superseded.is_some())
        };
        let shares: Vec<(Hash, u32)> = self.shares.keys().filter(|key| over(key)).copied().collect();
        let closed = |dealing: &Hash| {
            let record = state.resharings().get(dealing);
            record.is_some_and(|r| !state.is_current(dealing, r) || state.is_reshared(dealing))
        };
        let offers: Vec<Hash> = self.offers.keys().filter(|dealing| closed(dealing)).copied().collect();
        for (dealing, slot) in shares {
            self.shares.remove(&(dealing, slot));
            self.out.push(Effect::Erase(store::share_file(&dealing, slot)));
        }
        for dealing in offers {
            self.offers.remove(&dealing);
            self.out.push(Effect::Erase(store::offer_file(&dealing)));
        }
    }

    /// Tells the server which shares are kept here that have yet to be proved.
    pub(super) fn tell_shares(&mut self) {
        let state = &self.final_state;
        let unproved = |key: &&(Hash, u32)| {
            let slot = state.slots().get(key);
            slot.is_some_and(|slot| slot.superseded.is_none() && !state.proved_everywhere(slot))
        };
        for (ceremony, slot) in self.shares.keys().filter(unproved).copied() {
            self.out.push(Effect::Reply(FromCosigner::ShareKept { ceremony, slot }));
        }
    }
}
