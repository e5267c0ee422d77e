//! What a bad generator gives away: the polynomial is hedged by the share (DACS GEN-00).

use std::collections::BTreeSet;

use custody::Blob;
use frost_secp256k1_tr as frost;
use k256::Scalar;
use keys::reshare::redeal;
use keys::share::{Dealt, HeldShare};
use rand_core::{CryptoRng, CryptoRngCore, RngCore};

use crate::common::{Random, name, names};
use crate::{Anew, PEOPLE, group, interpolate, number, point, scalar, value, weight};

/// A generator that always gives the same byte.
#[derive(Clone, Copy)]
struct Stuck(u8);

impl RngCore for Stuck {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes([self.0; 4])
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes([self.0; 8])
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill(self.0);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Stuck {}

fn dealt(held: &HeldShare, rng: &mut impl CryptoRngCore) -> Dealt {
    redeal(held, &names(&["ada", "bob"]), &names(&PEOPLE[..3]), rng).unwrap()
}

/// The slope that the threshold library draws from a generator, whatever it splits.
fn drawn(rng: &mut (impl RngCore + CryptoRng)) -> Scalar {
    let key = frost::SigningKey::deserialize(&Scalar::from(11u64).to_bytes()).unwrap();
    let (shares, _) = frost::keys::split(&key, 3, 2, frost::keys::IdentifierList::Default, rng).unwrap();
    let share =
        |id: u16| scalar(&shares[&frost::Identifier::try_from(id).unwrap()].signing_share().serialize());
    share(2) - share(1)
}

/// A holder of one part who knows what the generator gave subtracts, if the library drew from it directly.
fn subtracted(part: Scalar, identifier: u64, slope: Scalar) -> Scalar {
    part - slope * Scalar::from(identifier)
}

#[test]
fn who_knows_the_generator_and_one_part_does_not_know_the_share() {
    let old = group(1, 2, &PEOPLE[..3]);
    let ada = &old.shares[&name("ada")];
    let weighted = weight(1, &[1, 2]) * value(ada);
    let slopes = [drawn(&mut Stuck(0)), drawn(&mut Stuck(7)), drawn(&mut Random::new(99))];
    let deals = [dealt(ada, &mut Stuck(0)), dealt(ada, &mut Stuck(7)), dealt(ada, &mut Random::new(99))];
    for (dealt, slope) in deals.iter().zip(slopes) {
        // Shown on what the library alone would have dealt: the attack is a real one.
        assert_eq!(subtracted(weighted + slope * Scalar::from(2u64), 2, slope), weighted);
        assert_ne!(dealt.public.commitments[1], point(&slope));
        for (at, (_, part)) in (1..).zip(&dealt.shares) {
            assert_ne!(subtracted(scalar(part.expose()), at, slope), weighted);
        }
    }
}

#[test]
fn two_shares_draw_different_polynomials_from_one_generator() {
    let (old, other) = (group(2, 2, &PEOPLE[..3]), group(3, 2, &PEOPLE[..3]));
    let mut slopes: BTreeSet<Blob> = BTreeSet::new();
    for byte in [0, 1, 0xff] {
        for held in ["ada", "bob"].into_iter().flat_map(|who| [&old, &other].map(|g| &g.shares[&name(who)])) {
            slopes.insert(dealt(held, &mut Stuck(byte)).public.commitments[1].clone());
        }
    }
    assert_eq!(slopes.len(), 12);
    // The generator counts too: a share that is known does not foretell what is drawn.
    let ada = &old.shares[&name("ada")];
    let mut rng = Random::new(4);
    let again = [dealt(ada, &mut rng), dealt(ada, &mut rng)].map(|d| d.public.commitments[1].clone());
    assert_ne!(again[0], again[1]);
}

#[test]
fn a_generator_that_repeats_itself_draws_no_coefficient_twice() {
    let old = group(5, 5, &PEOPLE);
    let dealers = names(&PEOPLE[..5]);
    let dealt = redeal(&old.shares[&name("ada")], &dealers, &names(&PEOPLE), &mut Stuck(0)).unwrap();
    let distinct: BTreeSet<&Blob> = dealt.public.commitments.iter().collect();
    assert_eq!(distinct.len(), 5);
}

/// A machine that was restored, or whose generator stands still, deals the same share a second time: in a resharing
/// among other dealers, or in which a holder has another place. Who holds one part of each must not be able to
/// subtract them.
#[test]
fn a_generator_that_stands_still_deals_another_polynomial_in_another_resharing() {
    let old = group(7, 2, &PEOPLE[..3]);
    let ada = &old.shares[&name("ada")];
    let part_of_bob = |dealers: [&str; 2], holders: [&str; 3]| {
        let dealt = redeal(ada, &names(&dealers), &names(&holders), &mut Stuck(7)).unwrap();
        let (_, part) = dealt.shares.into_iter().find(|(holder, _)| *holder == name("bob")).unwrap();
        scalar(part.expose())
    };
    let (one, two) = (weight(1, &[1, 2]), weight(1, &[1, 3]));
    let first = part_of_bob(["ada", "bob"], ["ada", "bob", "cleo"]);
    let other_dealers = part_of_bob(["ada", "cleo"], ["ada", "bob", "cleo"]);
    assert_ne!((first - other_dealers) * (one - two).invert().unwrap(), value(ada));
    let other_place = part_of_bob(["ada", "bob"], ["bob", "cleo", "dan"]);
    assert_ne!(interpolate(&[(2, first), (1, other_place)], 0), one * value(ada));
}

#[test]
fn nothing_secret_is_shown_for_debugging() {
    let mut old = group(6, 2, &PEOPLE[..3]);
    let anew = Anew::of(&mut old, &["ada", "bob"], &PEOPLE[..3]);
    let ada = name("ada");
    let held = anew.take(&ada).unwrap();
    let mut shown = format!("{held:?} {:?} {:?} {:?}", anew.public, old.shares[&ada], anew.parts(&ada));
    for dealt in anew.deals.values() {
        shown.push_str(&format!("{dealt:?}"));
    }
    let mut secrets = vec![held.expose().to_vec(), old.shares[&ada].expose().to_vec()];
    for dealt in anew.deals.values() {
        secrets.extend(dealt.shares.iter().map(|(_, share)| share.expose().to_vec()));
    }
    assert_eq!(number(&anew.public, "ada"), 1);
    for secret in secrets {
        let (hex, list) = (hex::encode(&secret), format!("{secret:?}"));
        assert!(!shown.contains(&hex) && !shown.contains(list.trim_matches(['[', ']'])), "{shown}");
    }
}
