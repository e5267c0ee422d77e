//! What every replica checks of commitments, with libsecp256k1, against a computation of its own, with `k256`.

use custody::Blob;
use custody::effects::Decoder as _;
use k256::elliptic_curve::PrimeField as _;
use k256::elliptic_curve::sec1::ToEncodedPoint as _;
use k256::{FieldBytes, ProjectivePoint, Scalar};
use rand_core::RngCore as _;

use crate::common::Random;
use crate::{decoder, point, scalar, weight};

fn random(rng: &mut Random) -> Scalar {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    // The highest bit gone, it is below the order.
    bytes[0] &= 0x7f;
    scalar(&bytes)
}

fn polynomial(threshold: usize, rng: &mut Random) -> Vec<Scalar> {
    (0..threshold).map(|_| random(rng)).collect()
}

fn at(polynomial: &[Scalar], x: u32) -> Scalar {
    polynomial.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * Scalar::from(x) + coefficient)
}

fn committed(polynomial: &[Scalar]) -> Vec<Blob> {
    polynomial.iter().map(point).collect()
}

/// What `dealer` commits to when it deals anew among `dealers` what lies on `shared`.
fn right(shared: &[Scalar], dealers: &[u32], dealer: u32, rng: &mut Random) -> Vec<Blob> {
    let ids: Vec<u64> = dealers.iter().map(|id| u64::from(*id)).collect();
    let zero = weight(u64::from(dealer), &ids) * at(shared, dealer);
    let mut dealt = polynomial(shared.len(), rng);
    dealt[0] = zero;
    committed(&dealt)
}

fn redeals(shared: &[Scalar], dealers: &[u32], dealer: u32, dealt: &[Blob]) -> bool {
    decoder().redeals(&committed(shared), dealers, dealer, dealt)
}

/// The sets of identifiers up to 16 with this many members.
fn sets(size: u32) -> impl Iterator<Item = Vec<u32>> {
    let masks = (0..1u32 << 16).filter(move |mask| mask.count_ones() == size);
    masks.map(|mask| (1..=16).filter(|id| mask >> (id - 1) & 1 == 1).collect())
}

#[test]
fn every_set_of_two_or_three_dealers_and_some_of_each_size_deal_what_they_hold() {
    let mut rng = Random::new(1);
    let mut checked = 0;
    for size in 2..=16u32 {
        let shared = polynomial(size as usize, &mut rng);
        let public = committed(&shared);
        let every = if size <= 3 { 1 } else { sets(size).count().div_ceil(6) };
        for dealers in sets(size).step_by(every) {
            // One of them in larger sets: the first, the last or one between.
            let chosen: Vec<u32> = match size {
                2 | 3 => dealers.clone(),
                _ => vec![dealers[rng.next_u32() as usize % dealers.len()]],
            };
            for dealer in chosen {
                let dealt = right(&shared, &dealers, dealer, &mut rng);
                assert!(decoder().redeals(&public, &dealers, dealer, &dealt), "{dealer} of {dealers:?}");
                let mut reversed = dealers.clone();
                reversed.reverse();
                assert!(decoder().redeals(&public, &reversed, dealer, &dealt));
                checked += 1;
            }
        }
    }
    assert!(checked > 120 * 2 + 560 * 3, "{checked}");
}

#[test]
fn nothing_else_is_what_the_dealer_holds() {
    let mut rng = Random::new(2);
    // No set in which somebody's coefficient is 1, so that a bare share would do (3 of 1, 2, 3).
    for dealers in [vec![1, 2], vec![3, 16], vec![2, 3, 7], vec![2, 9, 15], vec![1, 5, 6, 7]] {
        let shared = polynomial(dealers.len(), &mut rng);
        let other = polynomial(dealers.len(), &mut rng);
        for (place, dealer) in dealers.iter().enumerate() {
            let dealt = right(&shared, &dealers, *dealer, &mut rng);
            assert!(redeals(&shared, &dealers, *dealer, &dealt));
            // As another dealer, one who is none, among other dealers, of another account.
            for wrong in dealers.iter().filter(|id| *id != dealer).copied().chain([0, 11, u32::MAX]) {
                assert!(!redeals(&shared, &dealers, wrong, &dealt), "{dealer} as {wrong} of {dealers:?}");
            }
            let mut changed = dealers.clone();
            changed[(place + 1) % dealers.len()] = 12;
            assert!(!redeals(&shared, &changed, *dealer, &dealt));
            let more = [&dealers[..], &[13]].concat();
            assert!(!redeals(&shared, &more, *dealer, &dealt));
            assert!(!redeals(&shared, &dealers[..place], *dealer, &dealt));
            assert!(!redeals(&other, &dealers, *dealer, &dealt));
            // Another point in the first place: near it, its negative, another commitment.
            let ids: Vec<u64> = dealers.iter().map(|id| u64::from(*id)).collect();
            let zero = weight(u64::from(*dealer), &ids) * at(&shared, *dealer);
            for wrong in [zero + Scalar::ONE, -zero, at(&shared, *dealer), random(&mut rng)] {
                let mut dealt = dealt.clone();
                dealt[0] = point(&wrong);
                assert!(!redeals(&shared, &dealers, *dealer, &dealt));
            }
            let mut swapped = dealt.clone();
            swapped.swap(0, 1);
            assert!(!redeals(&shared, &dealers, *dealer, &swapped));
            // The other coefficients are the dealer's own: any points do, and only points.
            let mut own = dealt.clone();
            own[1] = point(&random(&mut rng));
            assert!(redeals(&shared, &dealers, *dealer, &own));
        }
    }
    assert!(!decoder().redeals(&[], &[1, 2], 1, &committed(&[Scalar::ONE, Scalar::ONE])));
    assert!(!decoder().redeals(&committed(&[Scalar::ONE, Scalar::ONE]), &[1, 2], 1, &[]));
}

/// Encodings of a point that are none here, and what is no point at all.
fn no_points(point: &Blob) -> Vec<Blob> {
    let decoded = k256::PublicKey::from_sec1_bytes(&point.0).unwrap();
    let uncompressed = decoded.to_encoded_point(false).as_bytes().to_vec();
    let mut hybrid = uncompressed.clone();
    hybrid[0] = 6 + (uncompressed[64] & 1);
    // Both are points to who reads them generously.
    for bytes in [&uncompressed, &hybrid] {
        assert!(bitcoin::secp256k1::PublicKey::from_slice(bytes).is_ok());
    }
    let tagged = |tag: u8| [&[tag], &point.0[1..]].concat();
    // No x of a point: y² = 5³ + 7 has no root.
    let off_curve = [&[2][..], &[0; 31], &[5]].concat();
    let mut list = vec![uncompressed, hybrid, off_curve, vec![0], vec![0; 33], vec![]];
    list.extend([0, 1, 4, 5, 6, 7].map(tagged));
    list.push([&[2][..], &[0xff; 32]].concat());
    list.push(point.0[..32].to_vec());
    list.push([&point.0[..], &[0]].concat());
    list.into_iter().map(Blob).collect()
}

#[test]
fn only_compressed_points_are_commitments() {
    let mut rng = Random::new(3);
    let (shared, other) = (polynomial(3, &mut rng), polynomial(3, &mut rng));
    let public = committed(&shared);
    let dealers = [1, 2, 4];
    let dealt = right(&shared, &dealers, 2, &mut rng);
    assert!(decoder().redeals(&public, &dealers, 2, &dealt));
    for place in 0..3 {
        for bad in no_points(&public[place]) {
            let mut public = public.clone();
            public[place] = bad.clone();
            assert!(!decoder().redeals(&public, &dealers, 2, &dealt), "{bad:?}");
        }
        for bad in no_points(&dealt[place]) {
            let mut dealt = dealt.clone();
            dealt[place] = bad.clone();
            assert!(!decoder().redeals(&public, &dealers, 2, &dealt), "{bad:?}");
            assert!(decoder().add_commitments(&[&dealt]).is_none());
            assert!(decoder().add_commitments(&[&committed(&other), &dealt]).is_none());
            assert!(decoder().add_commitments(&[&dealt, &committed(&other)]).is_none());
        }
    }
}

/// A share that is zero is none: commitments whose value at a holder is the point at infinity are refused.
#[test]
fn a_share_of_zero_is_not_dealt_anew() {
    let mut rng = Random::new(4);
    let slope = random(&mut rng);
    let shared = [-(slope * Scalar::from(3u64)), slope];
    assert_eq!(at(&shared, 3), Scalar::ZERO);
    for dealt in [committed(&polynomial(2, &mut rng)), vec![Blob(vec![0; 33]), point(&slope)]] {
        assert!(!redeals(&shared, &[1, 3], 3, &dealt));
    }
    let dealt = right(&shared, &[1, 3], 1, &mut rng);
    assert!(redeals(&shared, &[1, 3], 1, &dealt));
}

#[test]
fn identifiers_are_not_zero_and_their_products_have_limits() {
    let mut rng = Random::new(5);
    let max = u32::MAX;
    let shared = polynomial(2, &mut rng);
    for dealers in [[0, 1], [1, 0], [0, max]] {
        for dealer in dealers {
            let dealt = committed(&polynomial(2, &mut rng));
            assert!(!redeals(&shared, &dealers, dealer, &dealt));
            // With another at 0 the coefficient is 0, and there is no point to commit to.
            assert!(!redeals(&shared, &dealers, dealer, &[Blob(vec![0; 33]), dealt[1].clone()]));
        }
    }
    let mut refused = 0;
    for dealers in [
        vec![1, max],
        vec![max - 1, max],
        // Four others: their product is below 2^128. Five: above, and refused, right or not.
        vec![1, max - 3, max - 2, max - 1, max],
        vec![1, max - 4, max - 3, max - 2, max - 1, max],
    ] {
        let shared = polynomial(dealers.len(), &mut rng);
        for dealer in &dealers {
            let dealt = right(&shared, &dealers, *dealer, &mut rng);
            let others = dealers.iter().filter(|id| *id != dealer);
            let product = others.map(|id| u128::from(*id)).try_fold(1u128, u128::checked_mul);
            assert_eq!(redeals(&shared, &dealers, *dealer, &dealt), product.is_some(), "{dealer}");
            refused += usize::from(product.is_none());
        }
    }
    // Alone the small one has five large ones beside it.
    assert_eq!(refused, 1);
}

fn sum(lists: &[Vec<Scalar>]) -> Vec<Blob> {
    let place = |at: usize| lists.iter().fold(Scalar::ZERO, |sum, list| sum + list[at]);
    (0..lists[0].len()).map(|at| point(&place(at))).collect()
}

fn added(lists: &[Vec<Scalar>]) -> Option<Vec<Blob>> {
    let lists: Vec<Vec<Blob>> = lists.iter().map(|list| committed(list)).collect();
    decoder().add_commitments(&lists.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[test]
fn commitments_add_up_place_by_place() {
    let mut rng = Random::new(6);
    for dealers in 1..=6 {
        for threshold in 1..=6 {
            let lists: Vec<_> = (0..dealers).map(|_| polynomial(threshold, &mut rng)).collect();
            assert_eq!(added(&lists).unwrap(), sum(&lists));
            let mut doubled = lists.clone();
            doubled.push(lists[0].clone());
            assert_eq!(added(&doubled).unwrap(), sum(&doubled));
        }
    }
    assert!(decoder().add_commitments(&[]).is_none());
    // Lists of different lengths, whichever is longer.
    let (short, long) = (polynomial(2, &mut rng), polynomial(3, &mut rng));
    assert!(added(&[short.clone(), long.clone()]).is_none());
    assert!(added(&[long.clone(), short.clone()]).is_none());
    assert!(added(&[long.clone(), long, short]).is_none());
}

#[test]
fn a_sum_that_is_no_point_is_none() {
    let mut rng = Random::new(7);
    for place in 0..3 {
        let lists: Vec<_> = (0..3).map(|_| polynomial(3, &mut rng)).collect();
        let mut taken = lists.clone();
        taken[2][place] = -(lists[0][place] + lists[1][place]);
        assert!(added(&taken).is_none(), "{place}");
        taken[2][place] += Scalar::ONE;
        assert_eq!(added(&taken).unwrap(), sum(&taken));
        // Two that take each other away leave the third, or an honest dealer would be refused for them.
        let mut taken = lists.clone();
        taken[1][place] = -lists[0][place];
        for _ in 0..3 {
            taken.rotate_left(1);
            assert_eq!(added(&taken).unwrap(), sum(&taken), "{place}");
        }
    }
}

/// The independent computation itself: the order of the group, and the generator of SEC 2.
#[test]
fn the_other_side_computes_on_the_same_curve() {
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order: [u8; 32] = hex::decode(order).unwrap().try_into().unwrap();
    assert!(bool::from(Scalar::from_repr(FieldBytes::from(order)).is_none()));
    assert_eq!(
        hex::encode(ProjectivePoint::GENERATOR.to_encoded_point(true).as_bytes()),
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    );
}

/// Who dealt last may have chosen coefficients of which some take each other away at another's identifier: that one
/// still deals.
#[test]
fn terms_that_take_each_other_away_bar_nobody() {
    let [c0, c2] = [5u64, 7].map(Scalar::from);
    let c1 = -Scalar::from(3u64) * c2;
    let shared = [point(&c0), point(&c1), point(&c2)];
    let share = |own: u64| c0 + c1 * Scalar::from(own) + c2 * Scalar::from(own * own);
    for (own, id) in [(1, 1u64), (2, 2), (3, 3)] {
        let dealt = [weight(id, &[1, 2, 3]) * share(id), Scalar::from(11u64), Scalar::from(12u64)];
        assert!(decoder().redeals(&shared, &[1, 2, 3], own, &dealt.map(|c| point(&c))), "{own}");
    }
}
