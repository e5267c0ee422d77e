//! Dealers that deal something else, parts in another place, and lists that are not right.

use custody::effects::Decoder as _;
use custody::name::Name;
use custody::resharing::{SEALED_PART_BYTES, part_context};
use custody::{Blob, Hash};
use k256::Scalar;
use keys::reshare::{Part, add_up, redeal};
use keys::round::{AggregateError, Binding, Signable, activation_message, aggregate, commit, sign};
use keys::seal::{SealDomain, SealError, SealKey, open, seal};
use keys::share::{Dealt, HeldShare, MAX_HOLDERS, ShareError, SharePublic};

use crate::common::{Random, name, names};
use crate::{Anew, PEOPLE, decoder, group, number, part, point, scalar, value, weight};

const DEALERS: [&str; 2] = ["ada", "bob"];

/// What a dealer commits to, and deals to the holder with identifier `to`, if its line goes through `zero`.
fn line(zero: Scalar, slope: Scalar, to: u64) -> (Vec<Blob>, Vec<u8>) {
    (vec![point(&zero), point(&slope)], (zero + slope * Scalar::from(to)).to_bytes().to_vec())
}

#[test]
fn a_dealer_that_deals_another_value_is_found_out_by_everybody_and_by_each_holder() {
    let mut old = group(1, 2, &PEOPLE[..3]);
    let anew = Anew::of(&mut old, &DEALERS, &PEOPLE[..3]);
    let share = |who: &str| value(&old.shares[&name(who)]);
    let slope = Scalar::from(5u64);
    let redeals =
        |zero: Scalar| decoder().redeals(&old.public.commitments, &[1, 2], 2, &line(zero, slope, 1).0);
    let right = weight(2, &[1, 2]) * share("bob");
    assert!(redeals(right));
    for wrong in [
        right + Scalar::ONE,
        -right,
        share("bob"),
        // With the coefficient of another set of dealers, of another dealer; another's share.
        weight(2, &[2, 3]) * share("bob"),
        weight(1, &[1, 2]) * share("bob"),
        weight(2, &[1, 2]) * share("ada"),
        weight(1, &[1, 2]) * share("ada"),
    ] {
        assert!(!redeals(wrong));
        // If nobody had looked, the holder would see that the sum is of another key.
        let (commitments, secret) = line(wrong, slope, 1);
        let (ada, bob) = (name("ada"), name("bob"));
        let sum = [&anew.deals[&ada].public.commitments[..], &commitments];
        let public =
            SharePublic { commitments: decoder().add_commitments(&sum).unwrap(), ..anew.public.clone() };
        let parts = [
            part(&ada, &anew.deals[&ada], &ada),
            Part { dealer: &bob, commitments: &commitments, secret: &secret },
        ];
        assert!(matches!(add_up(&public, &ada, &parts), Err(ShareError::OtherKey)));
    }
}

/// What ada answers when the part of one dealer was replaced.
fn with(
    anew: &Anew,
    dealer: &str,
    secret: &[u8],
    commitments: Option<&[Blob]>,
) -> Result<HeldShare, ShareError> {
    let mut parts = anew.parts(&name("ada"));
    let place = parts.iter_mut().find(|part| part.dealer.as_str() == dealer).unwrap();
    let commitments = commitments.unwrap_or(place.commitments);
    *place = Part { dealer: place.dealer, commitments, secret };
    add_up(&anew.public, &name("ada"), &parts)
}

#[test]
fn a_wrong_part_names_its_dealer() {
    let mut old = group(2, 2, &PEOPLE[..3]);
    let anew = Anew::of(&mut old, &DEALERS, &PEOPLE[..3]);
    let again = Anew::of(&mut old, &DEALERS, &PEOPLE[..3]);
    let other_account = Anew::of(&mut group(3, 2, &PEOPLE[..3]), &DEALERS, &PEOPLE[..3]);
    let ada = name("ada");
    for (dealer, other) in [("ada", "bob"), ("bob", "ada")] {
        let of = |anew: &Anew, dealer: &str, holder: &str| -> Vec<u8> {
            let (who, dealt) = anew.deals.get_key_value(&name(dealer)).unwrap();
            part(who, dealt, &name(holder)).secret.to_vec()
        };
        let right = of(&anew, dealer, "ada");
        assert!(with(&anew, dealer, &right, None).is_ok());
        let mut altered = right.clone();
        altered[31] ^= 1;
        let negated = (-scalar(&right)).to_bytes();
        for wrong in [
            &altered[..],
            &negated,
            &of(&anew, dealer, "bob"),
            &of(&anew, other, "ada"),
            &of(&again, dealer, "ada"),
            &of(&other_account, dealer, "ada"),
            // What is no share at all: no number, nothing, too large, too long.
            &[0; 32],
            &[0xff; 32],
            &[],
            &right[..31],
            &[&right[..], &[0]].concat(),
        ] {
            let refused = with(&anew, dealer, wrong, None).unwrap_err();
            assert!(matches!(&refused, ShareError::WrongPart(who) if *who == name(dealer)), "{refused}");
            assert!(refused.to_string().contains(dealer));
        }
        let commitments = &anew.deals[&name(dealer)].public.commitments;
        let mut flipped = commitments.clone();
        flipped[1].0[0] ^= 1;
        let longer = [&commitments[..], &commitments[1..]].concat();
        for wrong in [&[][..], &commitments[..1], &longer, &flipped, &[Blob(vec![]), Blob(vec![])]] {
            let refused = with(&anew, dealer, &right, Some(wrong)).unwrap_err();
            assert!(matches!(&refused, ShareError::WrongPart(who) if *who == name(dealer)), "{refused}");
        }
    }
    // Both are wrong: the first one is named, there is no share.
    let mut parts = anew.parts(&ada);
    parts.iter_mut().for_each(|part| part.secret = &[1; 32]);
    assert!(matches!(add_up(&anew.public, &ada, &parts), Err(ShareError::WrongPart(who)) if who == ada));
}

#[test]
fn the_sum_is_of_every_dealer_once_and_fits_its_own_resharing_alone() {
    let mut old = group(4, 2, &PEOPLE[..3]);
    let anew = Anew::of(&mut old, &DEALERS, &PEOPLE[..3]);
    let again = Anew::of(&mut old, &DEALERS, &PEOPLE[..3]);
    let ada = name("ada");
    let own = &anew.deals[&ada];
    let of_bob = &anew.deals[&name("bob")];
    let bob = name("bob");
    let (one, two) = (|| part(&ada, own, &ada), || part(&bob, of_bob, &ada));
    let add = |parts: &[Part<'_>]| add_up(&anew.public, &ada, parts).map(drop);
    assert!(add(&[one(), two()]).is_ok());
    assert!(add(&[two(), one()]).is_ok());
    assert!(matches!(add(&[]), Err(ShareError::Malformed)));
    for parts in [vec![one()], vec![two()], vec![one(), one()], vec![one(), two(), two()]] {
        assert!(matches!(add(&parts), Err(ShareError::Wrong(who)) if who == ada));
    }
    // The parts of one attempt are worth nothing in another, though both are of the same shares.
    let elsewhere = add_up(&again.public, &ada, &anew.parts(&ada));
    assert!(matches!(elsewhere, Err(ShareError::Wrong(who)) if who == ada));
    let across = [part(&ada, own, &ada), part(&bob, &again.deals[&bob], &ada)];
    assert!(matches!(add_up(&anew.public, &ada, &across), Err(ShareError::Wrong(who)) if who == ada));
    // What bob gets is no share of ada, and nobody else gets any.
    assert!(add_up(&anew.public, &ada, &anew.parts(&bob)).is_err());
    assert!(add_up(&anew.public, &name("eve"), &anew.parts(&ada)).is_err());
}

#[test]
fn a_sealed_part_opens_in_its_place_alone() {
    let mut rng = Random::new(5);
    let key = SealKey::generate(&mut rng).unwrap();
    let (genesis, dealing) = (Hash([1; 32]), Hash([2; 32]));
    let (ada, bob) = (name("ada"), name("bob"));
    let secret = [9; 32];
    let place = part_context(&genesis, &dealing, 3, &ada, &bob);
    let sealed = seal(&key.public(), SealDomain::Part, &place, &secret, &mut rng).unwrap();
    assert_eq!(sealed.len(), SEALED_PART_BYTES);
    assert_eq!(open(&key, SealDomain::Part, &place, &sealed).unwrap().as_slice(), secret);
    for elsewhere in [
        part_context(&dealing, &dealing, 3, &ada, &bob),
        part_context(&genesis, &genesis, 3, &ada, &bob),
        part_context(&genesis, &dealing, 4, &ada, &bob),
        part_context(&genesis, &dealing, 3, &bob, &bob),
        part_context(&genesis, &dealing, 3, &ada, &ada),
        part_context(&genesis, &dealing, 3, &bob, &ada),
        Vec::new(),
    ] {
        assert!(matches!(open(&key, SealDomain::Part, &elsewhere, &sealed), Err(SealError::Refused)));
    }
    for domain in [SealDomain::Share, SealDomain::Frame] {
        assert!(matches!(open(&key, domain, &place, &sealed), Err(SealError::Refused)));
        let other = seal(&key.public(), domain, &place, &secret, &mut rng).unwrap();
        assert!(matches!(open(&key, SealDomain::Part, &place, &other), Err(SealError::Refused)));
    }
    let other = SealKey::generate(&mut rng).unwrap();
    assert!(matches!(open(&other, SealDomain::Part, &place, &sealed), Err(SealError::Refused)));
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 0x80;
        // The highest bit of the encapsulated key is the one that X25519 does not read; HPKE does.
        assert!(open(&key, SealDomain::Part, &place, &altered).is_err(), "byte {at}");
    }
}

#[test]
fn dealers_are_as_many_as_sign_sorted_and_this_one_among_them() {
    for threshold in 2..=3 {
        let mut old = group(6, threshold, &["dan", "ada", "cleo", "bob"]);
        let ada = &old.shares[&name("ada")];
        let good: &[&str] = if threshold == 2 { &["ada", "bob"] } else { &["ada", "bob", "dan"] };
        let mut deal = |dealers: &[&str]| redeal(ada, &names(dealers), &names(&PEOPLE[..4]), &mut old.rng);
        assert!(deal(good).is_ok());
        let reversed: Vec<&str> = good.iter().rev().copied().collect();
        let twice = [&good[..1], &good[..good.len() - 1]].concat();
        let stranger = [&good[..good.len() - 1], &["eve"]].concat();
        let others: &[&str] = if threshold == 2 { &["bob", "cleo"] } else { &["bob", "cleo", "dan"] };
        for wrong in
            [&[][..], &good[1..], &PEOPLE[..usize::from(threshold) + 1], &reversed, &twice, &stranger, others]
        {
            let refused = deal(wrong).unwrap_err();
            assert!(
                matches!(refused, ShareError::Dealers(count) if count == threshold),
                "{wrong:?}: {refused}"
            );
        }
    }
}

#[test]
fn new_holders_keep_the_limits_of_a_dealing() {
    let mut old = group(7, 2, &PEOPLE[..3]);
    let ada = &old.shares[&name("ada")];
    let mut deal = |holders: &[Name]| redeal(ada, &names(&DEALERS), holders, &mut old.rng);
    let many = |count: usize| (0..count).map(|i| name(&format!("signer-{i}"))).collect::<Vec<_>>();
    for count in [2, MAX_HOLDERS] {
        let Dealt { public, shares } = deal(&many(count)).unwrap();
        assert_eq!((shares.len(), public.commitments.len()), (count, 2));
    }
    for count in [0, 1] {
        assert!(matches!(deal(&many(count)), Err(ShareError::Threshold { threshold: 2, .. })), "{count}");
    }
    assert!(matches!(deal(&many(MAX_HOLDERS + 1)), Err(ShareError::Holders)));
    assert!(matches!(deal(&names(&["ada", "bob", "ada"])), Err(ShareError::Holders)));
}

/// A dealer that deals last and is to hold a share itself can choose that share, as it sees what the others dealt
/// to it. It learns nothing by it, and the honest ones sign as ever.
#[test]
fn who_deals_last_chooses_its_own_share_and_nothing_else() {
    let mut old = group(8, 2, &PEOPLE[..3]);
    let honest = Anew::of(&mut old, &["ada", "cleo"], &PEOPLE[..3]);
    let (ada, cleo) = (name("ada"), name("cleo"));
    let zero = weight(3, &[1, 3]) * value(&old.shares[&cleo]);
    let chosen = Scalar::from(42u64);
    let seen = scalar(part(&ada, &honest.deals[&ada], &cleo).secret);
    let slope = (chosen - seen - zero) * Scalar::from(3u64).invert().unwrap();
    let commitments = line(zero, slope, 0).0;
    assert!(decoder().redeals(&old.public.commitments, &[1, 3], 3, &commitments));
    let lists = [&honest.deals[&ada].public.commitments[..], &commitments];
    let sum = decoder().add_commitments(&lists).unwrap();
    let public = SharePublic { commitments: sum, ..honest.public.clone() };
    let held = PEOPLE[..3].iter().map(|holder| {
        let holder = name(holder);
        let secret = line(zero, slope, number(&public, holder.as_str())).1;
        let hostile = Part { dealer: &cleo, commitments: &commitments, secret: &secret };
        let parts = [part(&ada, &honest.deals[&ada], &holder), hostile];
        (holder.clone(), add_up(&public, &holder, &parts).unwrap())
    });
    let shares = held.collect();
    let mut new = crate::Group { public, shares, rng: Random::new(9) };
    assert_eq!(value(&new.shares[&cleo]), chosen);
    crate::every_set_signs(&mut new);
}

/// Whoever chose 0 for its share has nothing to be checked against; what it signs wrongly is still on its name.
#[test]
fn a_holder_whose_share_is_zero_is_blamed_like_others() {
    let mut old = group(8, 2, &PEOPLE[..3]);
    let honest = Anew::of(&mut old, &["ada", "cleo"], &PEOPLE[..3]);
    let (ada, cleo) = (name("ada"), name("cleo"));
    let zero = weight(3, &[1, 3]) * value(&old.shares[&cleo]);
    let seen = scalar(part(&ada, &honest.deals[&ada], &cleo).secret);
    let slope = (-seen - zero) * Scalar::from(3u64).invert().unwrap();
    let commitments = line(zero, slope, 0).0;
    let lists = [&honest.deals[&ada].public.commitments[..], &commitments];
    let public =
        SharePublic { commitments: decoder().add_commitments(&lists).unwrap(), ..honest.public.clone() };
    let secret = line(zero, slope, number(&public, "ada")).1;
    let hostile = Part { dealer: &cleo, commitments: &commitments, secret: &secret };
    let share = add_up(&public, &ada, &[part(&ada, &honest.deals[&ada], &ada), hostile]).unwrap();

    let signers = [ada.clone(), cleo.clone()];
    let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 0, &signers);
    let signable = Signable::Activation(&challenge);
    let binding = || Binding { session: [1; 32], input: 0, signers: signers.clone().into() };
    let mut rng = Random::new(10);
    let (nonces, own) = commit(&share, binding(), &mut rng).unwrap();
    let (_, other) = commit(&share, binding(), &mut rng).unwrap();
    let commitments = [(ada.clone(), own), (cleo.clone(), other)].into();
    let signed = sign(nonces, &share, &signable, &commitments).unwrap();
    let shares = [(ada, signed.clone()), (cleo.clone(), signed)].into();
    let blamed = aggregate(&public, &signable, &commitments, &shares).unwrap_err();
    assert!(matches!(&blamed, AggregateError::Culprits(who) if *who == [cleo]), "{blamed}");
}
