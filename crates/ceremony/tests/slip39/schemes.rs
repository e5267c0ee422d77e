//! Which schemes there are, and which shares go together.

use std::collections::BTreeSet;

use ceremony::slip39::{
    COMBINATIONS_LIMIT, CombineError, ITERATION_EXPONENT, Scheme, SchemeError, combine, split,
};
use rand_core::OsRng;

use crate::{any, secret, shares};

fn check(group_threshold: u8, groups: &[(u8, u8)]) -> Result<(), SchemeError> {
    Scheme { group_threshold, groups: groups.to_vec() }.check()
}

#[test]
fn schemes_have_bounds() {
    assert!(matches!(check(1, &[]), Err(SchemeError::Groups(0))));
    assert!(check(16, &[(1, 1); 16]).is_ok());
    assert!(matches!(check(16, &[(1, 1); 17]), Err(SchemeError::Groups(17))));
    assert!(matches!(check(0, &[(2, 2)]), Err(SchemeError::GroupThreshold(0, 1))));
    assert!(matches!(check(2, &[(2, 2)]), Err(SchemeError::GroupThreshold(2, 1))));
    assert!(check(1, &[(16, 16)]).is_ok());
    assert!(matches!(check(1, &[(16, 17)]), Err(SchemeError::MemberThreshold(1, 16, 17))));
    assert!(matches!(check(1, &[(2, 3), (4, 3)]), Err(SchemeError::MemberThreshold(2, 4, 3))));
    assert!(matches!(check(1, &[(2, 3), (0, 3)]), Err(SchemeError::MemberThreshold(2, 0, 3))));
    assert!(matches!(check(2, &[(2, 3), (1, 2)]), Err(SchemeError::Copies(2, 2))));
}

#[test]
fn no_share_rebuilds_a_secret_alone() {
    assert!(matches!(check(1, &[(1, 1)]), Err(SchemeError::Alone)));
    assert!(matches!(check(1, &[(3, 5), (1, 1)]), Err(SchemeError::Alone)));
    assert!(check(2, &[(1, 1), (1, 1)]).is_ok());
    assert!(check(1, &[(2, 2)]).is_ok());
    let alone = Scheme { group_threshold: 1, groups: vec![(1, 1)] };
    assert!(matches!(split(&secret(32), &alone, 0, &mut OsRng), Err(SchemeError::Alone)));
}

#[test]
fn no_scheme_has_more_sets_than_can_be_tried() {
    assert_eq!(any(8, 16).count_combinations(), COMBINATIONS_LIMIT);
    assert_eq!(any(8, 16).combinations().collect::<BTreeSet<_>>().len(), 12_870);
    let more = Scheme { group_threshold: 1, groups: vec![(8, 16), (2, 2)] };
    assert!(matches!(more.check(), Err(SchemeError::Combinations(12_871))));
    // The largest scheme of all is counted without overflow, and its sets can be begun.
    let huge = Scheme { group_threshold: 16, groups: vec![(8, 16); 16] };
    assert!(matches!(huge.check(), Err(SchemeError::Combinations(u64::MAX))));
    assert_eq!(huge.combinations().next().unwrap().len(), 128);
}

#[test]
fn sets_are_positions_in_the_order_of_the_shares() {
    let scheme = Scheme { group_threshold: 2, groups: vec![(2, 3), (1, 1), (2, 2)] };
    let sets: Vec<Vec<usize>> = scheme.combinations().collect();
    let expected: [&[usize]; 7] =
        [&[0, 1, 3], &[0, 2, 3], &[1, 2, 3], &[0, 1, 4, 5], &[0, 2, 4, 5], &[1, 2, 4, 5], &[3, 4, 5]];
    assert_eq!(sets, expected);
    let places: Vec<(u8, u8)> = shares(&scheme).iter().map(|share| share.position()).collect();
    assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]);
    assert!(scheme.met_by(&[(0, 2), (0, 0), (1, 0)]));
    assert!(!scheme.met_by(&[(0, 0), (0, 0), (1, 0)]), "who comes twice counts once");
    assert!(!scheme.met_by(&[(0, 0), (0, 3), (1, 0)]), "there is no fourth member");
    assert!(!scheme.met_by(&[(0, 0), (0, 1), (3, 0)]), "there is no fourth group");
}

#[test]
fn secrets_have_a_length_and_exponents_a_limit() {
    for bytes in 1..=70 {
        let split = split(&secret(bytes), &any(2, 2), 0, &mut OsRng);
        if (16..=64).contains(&bytes) && bytes % 2 == 0 {
            assert_eq!(combine(&split.unwrap()).unwrap().expose().len(), bytes);
        } else {
            assert!(matches!(split, Err(SchemeError::Length(found)) if found == bytes), "{bytes}");
        }
    }
    assert!(matches!(split(&secret(32), &any(2, 2), 16, &mut OsRng), Err(SchemeError::Exponent(16))));
}

#[test]
fn our_shares_have_33_words_and_can_be_extended() {
    let secret = secret(32);
    let [one, two] = [(); 2].map(|()| split(&secret, &any(2, 3), ITERATION_EXPONENT, &mut OsRng).unwrap());
    for share in one.iter().chain(&two) {
        assert_eq!(crate::text(share).split(' ').count(), 33);
        assert_eq!((share.header().extendable, share.header().iteration_exponent), (true, 0));
    }
    // A second splitting is another one, of the same secret.
    for shares in [&one[..2], &one[1..], &two[..2], &two[1..]] {
        assert_eq!(combine(shares).unwrap().expose(), secret.expose());
    }
    assert!(one.iter().zip(&two).all(|(one, two)| !one.differing_words(two).is_empty()));
}

#[test]
fn identifiers_are_random() {
    let identifiers: BTreeSet<u16> = (0..8).map(|_| shares(&any(2, 2))[0].header().identifier).collect();
    assert!(identifiers.len() > 4 && identifiers.iter().all(|identifier| *identifier < 1 << 15));
}

#[test]
fn mixed_up_shares_are_named() {
    // They differ in more than their identifiers, which may be the same by chance.
    let one = shares(&any(3, 3));
    let two = shares(&Scheme { group_threshold: 1, groups: vec![(3, 3), (3, 3)] });
    let three = split(&secret(32), &any(3, 3), 1, &mut OsRng).unwrap();
    let error = combine([&one[0], &two[1], &one[2], &one[1]]).unwrap_err();
    assert!(
        matches!(&error, CombineError::Strangers { most, others } if *most == [1, 3, 4] && *others == [2])
    );
    assert!(
        error
            .to_string()
            .starts_with("not all shares are of one splitting: 1, 3, 4 belong together, and 2 not;"),
        "{error}"
    );
    let error = combine([&one[0], &two[1], &three[2]]).unwrap_err();
    assert!(matches!(&error, CombineError::Strangers { most, others } if *most == [1] && *others == [2, 3]));
    let long = split(&secret(16), &any(2, 2), 0, &mut OsRng).unwrap();
    assert!(matches!(combine([&one[0], &long[0]]), Err(CombineError::Strangers { .. })));
}

#[test]
fn a_share_counts_once() {
    let shares = shares(&any(2, 3));
    let error = combine([&shares[0], &shares[2], &shares[0]]).unwrap_err();
    assert!(matches!(error, CombineError::Twice(1, 3)));
    assert_eq!(error.to_string(), "shares 1 and 3 are the same one: bring another in its place");
}
