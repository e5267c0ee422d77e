//! What the tests share: the deployment of `fixtures`, whose keys are known, and reproducible randomness.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::collections::VecDeque;

use custody::Hash;
use custody::document::CeremonyRecord;
use custody::genesis::Genesis;
use custody::name::Name;
use keys::cosigner::CosignerSecrets;
use keys::device::DeviceKey;
use keys::locked::LockedBytes;
use keys::seal::{self, SealDomain};
use keys::share::{HeldShare, SharePublic, ShareSecret};
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest as _, Sha256};

use ceremony::files::{SealedShare, SealedShares};
use ceremony::{CeremonyError, Outcome, Plan, hold};

pub const HELD_AT: u64 = fixtures::START;

/// Randomness from a seed: SHA-256 of a counter. Bytes put in front come first.
pub struct Random(VecDeque<u8>, u64, u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(VecDeque::new(), seed, 0)
    }

    pub fn beginning_with(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().collect(), 0, 0)
    }

    fn next(&mut self) -> u8 {
        if self.0.is_empty() {
            self.2 += 1;
            self.0.extend(Sha256::digest([self.1.to_le_bytes(), self.2.to_le_bytes()].concat()));
        }
        self.0.pop_front().unwrap()
    }
}

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill_with(|| self.next());
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Random {}

/// The device key of a person of [`fixtures::genesis`].
pub fn device(who: &str) -> DeviceKey {
    let tls = format!("{who}/tls");
    let bytes = [fixtures::key(who).to_bytes(), fixtures::key(&tls).to_bytes()].concat();
    DeviceKey::generate(&mut Random::beginning_with(&bytes))
}

pub fn devices(people: &[&str]) -> Vec<DeviceKey> {
    people.iter().map(|who| device(who)).collect()
}

/// The secrets of a co-signer of [`fixtures::genesis`].
pub fn secrets(who: &str) -> CosignerSecrets {
    let key = |purpose: &str| fixtures::key(&format!("{who}{purpose}"));
    let mut bytes: Vec<u8> = ["/identity", "/vote", "/cosign", "/tls", "", "/frame"]
        .iter()
        .flat_map(|purpose| key(purpose).to_bytes())
        .collect();
    bytes.extend(key("/seal").to_scalar_bytes());
    let secrets = CosignerSecrets::from_plaintext(&LockedBytes::take(&mut bytes).unwrap()).unwrap();
    let card = fixtures::card(who, true, 1);
    let public = secrets.public();
    assert_eq!(
        (public.identity, public.statement, Hash(public.seal.0)),
        (card.identity, card.statement, card.seal)
    );
    secrets
}

pub fn plan(genesis: &Genesis, accounts: u32) -> Plan<'_> {
    Plan {
        genesis,
        cards: &[],
        first: 0,
        accounts,
        held_at: HELD_AT,
        entropy: "numbers of a test",
        program: Hash([7; 32]),
    }
}

/// The hash of a report, where a record has a place for it.
pub fn report(genesis: &Genesis) -> Option<Hash> {
    (genesis.rules > 1).then_some(Hash([5; 32]))
}

/// A ceremony of alice and bob.
pub fn held(genesis: &Genesis, accounts: u32, seed: u64) -> Result<Outcome, CeremonyError> {
    hold(&plan(genesis, accounts), report(genesis), &devices(&["alice", "bob"]), &mut Random::new(seed))
}

/// What binds a share to its place.
pub struct Place {
    pub genesis: Hash,
    pub ceremony: Hash,
    pub slot: u32,
    pub holder: Name,
    pub threshold: u32,
}

pub fn place(sealed: &SealedShares, share: &SealedShare, threshold: u32) -> Place {
    let SealedShare { holder, slot, .. } = share.clone();
    Place { genesis: sealed.genesis, ceremony: sealed.ceremony, slot, holder, threshold }
}

/// Opens a sealed share as a signer does.
pub fn open(share: &[u8], as_who: &str, place: &Place) -> Option<Vec<u8>> {
    let Place { genesis, ceremony, slot, holder, threshold } = place;
    let context = custody::document::share_context(genesis, ceremony, *slot, holder, *threshold);
    let plain = seal::open(secrets(as_who).used().seal_key(), SealDomain::Share, &context, share);
    plain.ok().map(|plain| plain.to_vec())
}

/// Every share in the clear, with whose and for which account it is, checked against the record.
pub fn opened(record: &CeremonyRecord, sealed: &SealedShares) -> Vec<(HeldShare, u32)> {
    let open_one = |share: &SealedShare| {
        let plain = open(&share.sealed.0, share.holder.as_str(), &place(sealed, share, record.threshold));
        let public = SharePublic::of(record, share.slot).unwrap();
        (ShareSecret::open(&plain.unwrap(), &public, &share.holder).unwrap(), share.slot)
    };
    sealed.shares.iter().map(open_one).collect()
}

/// Whether a secret stands in `text`, raw, in hex or in base64 at any offset.
pub fn shows(text: &[u8], secret: &[u8]) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let holds = |needle: &[u8]| text.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle));
    // In base64 only what begins at a multiple of three bytes keeps its letters: 27 bytes always do.
    let in_base64 = (0..3).any(|skip| holds(STANDARD_NO_PAD.encode(&secret[skip..skip + 27]).as_bytes()));
    holds(secret) || holds(hex::encode(secret).as_bytes()) || in_base64
}
