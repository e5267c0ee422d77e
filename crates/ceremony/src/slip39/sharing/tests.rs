//! Who can and who cannot rebuild a secret, over every small scheme: without the cipher, which is the same for
//! all and takes its time.

use rand_core::OsRng;

use super::*;

const KEY: Key<'_> = Key { passphrase: b"", identifier: 7, extendable: true, iteration_exponent: 0 };

fn secret(bytes: usize) -> LockedBytes {
    LockedBytes::random(bytes, &mut OsRng).unwrap()
}

fn any(threshold: u8, members: u8) -> Scheme {
    Scheme::any(threshold, members).unwrap()
}

/// The schemes with up to three groups of up to three members.
fn small_schemes() -> Vec<Scheme> {
    let group = [(1, 1), (1, 2), (2, 2), (1, 3), (2, 3), (3, 3)];
    let mut lists: Vec<Vec<(u8, u8)>> = vec![Vec::new()];
    let mut schemes = Vec::new();
    for _ in 0..3 {
        lists = lists.iter().flat_map(|list| group.map(|last| [list.as_slice(), &[last]].concat())).collect();
        for groups in &lists {
            for group_threshold in 1..=u8::try_from(groups.len()).unwrap() {
                schemes.push(Scheme { group_threshold, groups: groups.clone() });
            }
        }
    }
    schemes.retain(|scheme| scheme.check().is_ok());
    schemes
}

#[test]
fn in_every_small_scheme_exactly_the_sets_that_meet_it_rebuild_the_secret() {
    let schemes = small_schemes();
    assert_eq!(schemes.len(), 183);
    for scheme in schemes {
        let secret = secret(16);
        let shares = deal(&secret, &KEY, &scheme, &mut OsRng).unwrap();
        let minimal: Vec<u32> =
            scheme.combinations().map(|set| set.iter().fold(0, |bits, at| bits | 1 << at)).collect();
        assert_eq!(u64::try_from(minimal.len()).unwrap(), scheme.count_combinations(), "{scheme:?}");
        for set in 1u32..1 << shares.len() {
            let chosen: Vec<&Mnemonic> = shares
                .iter()
                .enumerate()
                .filter(|(at, _)| set >> at & 1 == 1)
                .map(|(_, share)| share)
                .collect();
            let places: Vec<(u8, u8)> =
                chosen.iter().map(|share| (share.header().group, share.header().member)).collect();
            // Smallest sets, what they are part of, and `met_by` say the same.
            let meets = minimal.iter().any(|least| set & least == *least);
            assert_eq!(scheme.met_by(&places), meets, "{scheme:?} {places:?}");
            match gather(&chosen) {
                Ok((_, rebuilt)) => {
                    assert!(meets && rebuilt.expose() == secret.expose(), "{scheme:?} {places:?}")
                }
                Err(error) => {
                    assert!(!meets && matches!(error, CombineError::Few(_)), "{scheme:?} {places:?} {error}")
                }
            }
        }
        // None of the smallest sets is a part of another.
        let parts = minimal.iter().flat_map(|one| minimal.iter().map(move |two| (one, two)));
        assert_eq!(parts.filter(|(one, two)| *one & *two == **one).count(), minimal.len());
    }
}

#[test]
fn the_missing_shares_are_counted() {
    let scheme = Scheme { group_threshold: 3, groups: vec![(2, 3), (3, 5), (1, 1), (2, 2)] };
    let shares = deal(&secret(32), &KEY, &scheme, &mut OsRng).unwrap();
    let say = |places: &[usize]| {
        let chosen: Vec<&Mnemonic> = places.iter().map(|place| &shares[*place]).collect();
        gather(&chosen).unwrap_err().to_string()
    };
    assert_eq!(
        say(&[0, 3, 4]),
        "too few shares, 0 of 3 groups complete; 1 of 2 shares of group 1: bring 1 more; \
         2 of 3 shares of group 2: bring 1 more; bring the shares of 1 more of the 4 groups"
    );
    assert_eq!(
        say(&[8, 0, 1, 3]),
        "too few shares, 2 of 3 groups complete; 1 of 3 shares of group 2: bring 2 more"
    );
    let shares = deal(&secret(32), &KEY, &any(3, 5), &mut OsRng).unwrap();
    assert_eq!(gather(&[&shares[4]]).unwrap_err().to_string(), "too few shares; 1 of 3 shares: bring 2 more");
    assert_eq!(gather(&[]).unwrap_err().to_string(), "there is no share: type in the first one");
}

#[test]
fn a_forged_share_is_noticed_also_beyond_the_threshold() {
    let scheme = Scheme { group_threshold: 2, groups: vec![(2, 3), (2, 2), (1, 1)] };
    let mut shares = deal(&secret(32), &KEY, &scheme, &mut OsRng).unwrap();
    for at in 0..shares.len() {
        for byte in [0, 31] {
            shares[at].value_mut()[byte] ^= 1;
            let all: Vec<&Mnemonic> = shares.iter().collect();
            // A group of one has no digest of its own: its part does not fit those of the others.
            let expected = [Some(0), Some(0), Some(0), Some(1), Some(1), None][at];
            assert!(
                matches!(gather(&all), Err(CombineError::Misfit(group)) if group == expected),
                "{at} {byte}"
            );
            shares[at].value_mut()[byte] ^= 1;
        }
    }
    assert!(gather(&shares.iter().collect::<Vec<_>>()).is_ok());
    // Just as many groups as it takes: only the digest of the secret itself can tell.
    let scheme = Scheme { group_threshold: 2, groups: vec![(1, 1), (1, 1)] };
    let mut shares = deal(&secret(32), &KEY, &scheme, &mut OsRng).unwrap();
    assert!(gather(&[&shares[0], &shares[1]]).is_ok());
    shares[1].value_mut()[5] ^= 1;
    assert!(matches!(gather(&[&shares[0], &shares[1]]), Err(CombineError::Misfit(None))));
}

#[test]
fn shares_that_differ_in_what_a_splitting_has_in_common_are_strangers() {
    let scheme = any(2, 2);
    let mine = deal(&secret(32), &KEY, &scheme, &mut OsRng).unwrap();
    let strange = |key: Key<'_>, scheme: &Scheme, bytes: usize| {
        let other = deal(&secret(bytes), &key, scheme, &mut OsRng).unwrap();
        matches!(gather(&[&mine[0], &other[1]]), Err(CombineError::Strangers { .. }))
    };
    assert!(strange(Key { identifier: 8, ..KEY }, &scheme, 32));
    assert!(strange(Key { extendable: false, ..KEY }, &scheme, 32));
    assert!(strange(Key { iteration_exponent: 1, ..KEY }, &scheme, 32));
    assert!(strange(KEY, &Scheme { group_threshold: 1, groups: vec![(2, 2), (2, 2)] }, 32));
    assert!(strange(KEY, &scheme, 34));
    assert!(!strange(KEY, &scheme, 32));
    let two = |group_threshold| Scheme { group_threshold, groups: vec![(2, 2), (2, 2)] };
    let [one, both] = [1, 2].map(|threshold| deal(&secret(32), &KEY, &two(threshold), &mut OsRng).unwrap());
    assert!(matches!(gather(&[&one[0], &both[1]]), Err(CombineError::Strangers { .. })));
}

#[test]
fn shares_of_another_splitting_under_the_same_identifier_are_noticed() {
    let secret = secret(32);
    let scheme = any(2, 3);
    let [one, two] = [(); 2].map(|()| deal(&secret, &KEY, &scheme, &mut OsRng).unwrap());
    assert!(matches!(gather(&[&one[0], &two[1]]), Err(CombineError::Misfit(Some(0)))));
    assert!(matches!(gather(&[&one[0], &one[1], &two[2]]), Err(CombineError::Misfit(Some(0)))));
    assert!(matches!(gather(&[&one[0], &two[0]]), Err(CombineError::Conflict(1, 2))));
    let other = deal(&secret, &KEY, &any(3, 3), &mut OsRng).unwrap();
    assert!(matches!(gather(&[&one[0], &one[1], &other[2]]), Err(CombineError::Thresholds(1, 3))));
}

/// Fewer shares than the threshold say nothing: whatever the secret, there is exactly one value of a missing
/// share that goes with it. Shown for single bytes, without the digest, which is as random.
#[test]
fn for_every_secret_one_value_of_the_missing_share_fits() {
    for threshold in 2u8..=8 {
        let others = secret(16);
        let others: Vec<(u8, &[u8])> = (1..threshold).zip(others.expose().chunks(1)).collect();
        let mut secrets = std::collections::BTreeSet::new();
        for value in 0..=u8::MAX {
            let value = [value];
            let mut points = others.clone();
            points.push((0, &value));
            let mut secret = [0];
            interpolate(&points, SECRET_AT, &mut secret);
            secrets.insert(secret);
        }
        assert_eq!(secrets.len(), 256);
    }
}
