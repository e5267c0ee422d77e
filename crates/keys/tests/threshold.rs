//! Threshold signing from outside: what honest holders reach, and what nobody else does.

mod common;

use std::collections::BTreeMap;

use bitcoin::secp256k1::{Message, Secp256k1, schnorr};
use common::{Random, dealt, group, name, names, open, output_key, payment, set};
use custody::effects::{Branch, Decoder as _};
use custody::name::Name;
use custody::{Blob, Hash};
use keys::round::{
    AggregateError, Binding, Commitment, SignError, Signable, SignatureShare, activation_message, aggregate,
    commit, sign,
};
use keys::seed::Seed;
use keys::share::{MAX_HOLDERS, ShareError, SharePublic, ShareSecret, deal};

const PAIRS: [[&str; 2]; 3] = [["ada", "bob"], ["ada", "cleo"], ["bob", "cleo"]];

#[test]
fn every_pair_signs_for_keys_of_both_parities() {
    let secp = Secp256k1::new();
    let mut parities = [0; 2];
    for seed in 0..100 {
        let mut group = group(seed);
        let account = group.public.account.clone();
        parities[usize::from(account.public.0[0] == 3)] += 1;
        let (branch, index) = (if seed % 3 == 0 { Branch::Change } else { Branch::Receive }, seed as u32 * 7);
        let payment = payment(&account, branch, index, 50_000 + seed);
        let what = Signable::Spend { digest: &payment.digest, branch, index };
        for pair in PAIRS {
            let round = group.commit_all(&group.binding(1, &pair));
            let commitments = round.commitments.clone();
            let shares = group.sign_all(round, &what);
            let signature = aggregate(&group.public, &what, &commitments, &shares).unwrap();
            let key = output_key(&account, branch, index).to_x_only_public_key();
            let message = Message::from_digest(*payment.digest.as_bytes());
            secp.verify_schnorr(&schnorr::Signature::from_slice(&signature).unwrap(), &message, &key)
                .unwrap();
            chain::finish::verify_spend(&payment.raw, &payment.spent, &[signature]).unwrap();
        }
    }
    assert!(parities.iter().all(|count| *count > 20), "{parities:?}");
}

#[test]
fn every_pair_activates_under_the_account_key_itself() {
    let decoder = chain::BitcoinDecoder::new("bip122:0f9188f13cb7b2c71f2a335e3a4fc328").unwrap();
    for seed in 0..20 {
        let mut group = group(seed);
        for pair in PAIRS {
            let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 3, &names(&pair));
            let what = Signable::Activation(&challenge);
            let round = group.commit_all(&group.binding(1, &pair));
            let commitments = round.commitments.clone();
            let shares = group.sign_all(round, &what);
            let signature = aggregate(&group.public, &what, &commitments, &shares).unwrap();
            assert!(decoder.schnorr_ok(&group.public.account, challenge.as_bytes(), &signature));
        }
    }
}

#[test]
fn one_share_alone_signs_nothing() {
    let mut group = group(1);
    let alone = group.binding(1, &["ada"]);
    assert!(matches!(commit(&group.shares[&name("ada")], alone, &mut group.rng), Err(SignError::Set(2))));
    // Nor when it makes up the other's commitment: the set of signers is still two.
    let binding = group.binding(1, &["ada", "bob"]);
    let (nonces, own) = commit(&group.shares[&name("ada")], binding.clone(), &mut group.rng).unwrap();
    let (_, other) = commit(&group.shares[&name("ada")], binding, &mut group.rng).unwrap();
    let payment = payment(&group.public.account, Branch::Receive, 0, 50_000);
    let what = Signable::Spend { digest: &payment.digest, branch: Branch::Receive, index: 0 };
    let commitments = BTreeMap::from([(name("ada"), own), (name("bob"), other)]);
    let share = sign(nonces, &group.shares[&name("ada")], &what, &commitments).unwrap();
    let only = BTreeMap::from([(name("ada"), share.clone())]);
    assert!(matches!(aggregate(&group.public, &what, &commitments, &only), Err(AggregateError::Set(2))));
    let own = BTreeMap::from([(name("ada"), commitments[&name("ada")].clone())]);
    assert!(matches!(aggregate(&group.public, &what, &own, &only), Err(AggregateError::Set(2))));
    let doubled = BTreeMap::from([(name("ada"), share.clone()), (name("bob"), share)]);
    assert!(matches!(
        aggregate(&group.public, &what, &commitments, &doubled),
        Err(AggregateError::Culprits(_))
    ));
}

#[test]
fn more_signers_than_the_threshold_are_refused() {
    let mut group = group(1);
    let all = group.binding(1, &["ada", "bob", "cleo"]);
    assert!(matches!(commit(&group.shares[&name("ada")], all, &mut group.rng), Err(SignError::Set(2))));
}

#[test]
fn a_signer_takes_no_part_in_sets_of_others_or_with_strangers() {
    let mut group = group(1);
    for signers in [["bob", "cleo"], ["ada", "eve"]] {
        let binding = group.binding(1, &signers);
        assert!(matches!(
            commit(&group.shares[&name("ada")], binding, &mut group.rng),
            Err(SignError::Set(2))
        ));
    }
}

/// Runs a round of ada and bob and lets `spoil` change the shares before they are added up.
fn aggregate_spoilt(
    spoil: impl FnOnce(&mut BTreeMap<Name, SignatureShare>),
) -> Result<[u8; 64], AggregateError> {
    let mut group = group(2);
    let payment = payment(&group.public.account, Branch::Receive, 4, 50_000);
    let what = Signable::Spend { digest: &payment.digest, branch: Branch::Receive, index: 4 };
    let round = group.commit_all(&group.binding(1, &["ada", "bob"]));
    let commitments = round.commitments.clone();
    let mut shares = group.sign_all(round, &what);
    spoil(&mut shares);
    aggregate(&group.public, &what, &commitments, &shares)
}

fn alter(shares: &mut BTreeMap<Name, SignatureShare>, holder: &str) {
    let mut bytes = shares[&name(holder)].to_bytes();
    // Another bit for each, or two alterations could cancel out and leave a valid signature.
    bytes[31] ^= holder.as_bytes()[0] & 3;
    shares.insert(name(holder), SignatureShare::from_bytes(&bytes).unwrap());
}

#[test]
fn holders_of_wrong_shares_are_named() {
    assert!(aggregate_spoilt(|_| ()).is_ok());
    for culprits in [vec!["ada"], vec!["bob"], vec!["ada", "bob"]] {
        let error =
            aggregate_spoilt(|shares| culprits.iter().for_each(|name| alter(shares, name))).unwrap_err();
        let AggregateError::Culprits(named) = error else { panic!("{error}") };
        assert_eq!(named, names(&culprits));
    }
}

#[test]
fn who_signs_for_another_address_or_transaction_is_named() {
    let mut group = group(3);
    let agreed = payment(&group.public.account, Branch::Receive, 4, 50_000);
    let other = payment(&group.public.account, Branch::Receive, 4, 50_001);
    let spend = |digest, branch, index| Signable::Spend { digest, branch, index };
    let what = spend(&agreed.digest, Branch::Receive, 4);
    let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 3, &names(&["ada", "bob"]));
    for wrong in [
        spend(&other.digest, Branch::Receive, 4),
        spend(&agreed.digest, Branch::Change, 4),
        spend(&agreed.digest, Branch::Receive, 5),
        Signable::Activation(&challenge),
    ] {
        let mut round = group.commit_all(&group.binding(1, &["ada", "bob"]));
        let commitments = round.commitments.clone();
        let nonces = round.nonces.remove(&name("bob")).unwrap();
        let mut shares = group.sign_all(round, &what);
        shares.insert(name("bob"), sign(nonces, &group.shares[&name("bob")], &wrong, &commitments).unwrap());
        let error = aggregate(&group.public, &what, &commitments, &shares).unwrap_err();
        assert!(matches!(&error, AggregateError::Culprits(named) if named == &names(&["bob"])), "{error}");
    }
}

#[test]
fn aggregation_takes_exactly_one_share_of_each_signer() {
    let missing = aggregate_spoilt(|shares| {
        shares.remove(&name("bob"));
    });
    assert!(matches!(missing, Err(AggregateError::Set(2))));
    let renamed = aggregate_spoilt(|shares| {
        let share = shares.remove(&name("bob")).unwrap();
        shares.insert(name("cleo"), share);
    });
    assert!(matches!(renamed, Err(AggregateError::Set(2))));
}

#[test]
fn aggregation_refuses_a_public_part_that_does_not_fit_itself() {
    let mut group = group(2);
    let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 3, &names(&["ada", "bob"]));
    let what = Signable::Activation(&challenge);
    let round = group.commit_all(&group.binding(1, &["ada", "bob"]));
    let commitments = round.commitments.clone();
    let shares = group.sign_all(round, &what);
    assert!(aggregate(&group.public, &what, &commitments, &shares).is_ok());
    group.public.commitments[1] = Blob(vec![0; 33]);
    let refused = aggregate(&group.public, &what, &commitments, &shares);
    assert!(matches!(refused, Err(AggregateError::Share(ShareError::Commitments(2)))), "{refused:?}");
}

#[test]
fn hardened_indices_are_refused() {
    let mut group = group(2);
    let payment = payment(&group.public.account, Branch::Receive, 0, 50_000);
    let what = Signable::Spend { digest: &payment.digest, branch: Branch::Receive, index: 0x8000_0000 };
    let mut round = group.commit_all(&group.binding(1, &["ada", "bob"]));
    let nonces = round.nonces.remove(&name("ada")).unwrap();
    let refused = sign(nonces, &group.shares[&name("ada")], &what, &round.commitments);
    assert!(matches!(refused, Err(SignError::Share(ShareError::NoKey(_)))));
}

/// What ada answers when `spoil` changed the commitments that she gets in round 2.
fn sign_spoilt(spoil: impl FnOnce(&mut BTreeMap<Name, Commitment>)) -> Result<SignatureShare, SignError> {
    let mut group = group(4);
    let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 0, &names(&["ada", "bob"]));
    let mut round = group.commit_all(&group.binding(1, &["ada", "bob"]));
    spoil(&mut round.commitments);
    let nonces = round.nonces.remove(&name("ada")).unwrap();
    sign(nonces, &group.shares[&name("ada")], &Signable::Activation(&challenge), &round.commitments)
}

#[test]
fn commitments_of_another_session_input_set_or_key_are_refused() {
    assert!(sign_spoilt(|_| ()).is_ok());
    let mut same_key = group(4);
    let mut other_key = group(5);
    let binding = same_key.binding(1, &["ada", "bob"]);
    let others = [
        (Binding { session: [2; 32], ..binding.clone() }, true),
        (Binding { input: 1, ..binding.clone() }, true),
        (Binding { signers: set(&["bob", "cleo"]), ..binding.clone() }, true),
        (binding, false),
    ];
    for (binding, same) in others {
        let group = if same { &mut same_key } else { &mut other_key };
        let (_, foreign) = commit(&group.shares[&name("bob")], binding, &mut group.rng).unwrap();
        let refused = sign_spoilt(|all| {
            all.insert(name("bob"), foreign);
        });
        assert!(
            matches!(&refused, Err(SignError::OtherSession(who)) if who.as_str() == "bob"),
            "{refused:?}"
        );
    }
}

#[test]
fn commitments_swapped_between_two_sessions_are_refused_by_signers_and_aggregation() {
    let mut group = group(4);
    let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 0, &names(&["ada", "bob"]));
    let what = Signable::Activation(&challenge);
    let mut one = group.commit_all(&group.binding(1, &["ada", "bob"]));
    let two = group.commit_all(&group.binding(2, &["ada", "bob"]));
    // Nonces of the first session with all commitments of the second.
    let refused =
        sign(one.nonces.remove(&name("ada")).unwrap(), &group.shares[&name("ada")], &what, &two.commitments);
    assert!(matches!(refused, Err(SignError::OtherSession(_))));
    let mut mixed = two.commitments.clone();
    mixed.insert(name("ada"), one.commitments[&name("ada")].clone());
    let shares = group.sign_all(two, &what);
    assert!(matches!(aggregate(&group.public, &what, &mixed, &shares), Err(AggregateError::Sessions)));
}

#[test]
fn a_signer_wants_its_own_commitment_and_exactly_the_agreed_set() {
    let mut other = group(4);
    other.rng = Random::new(99);
    let binding = other.binding(1, &["ada", "bob"]);
    let (_, replaced) = commit(&other.shares[&name("ada")], binding.clone(), &mut other.rng).unwrap();
    let refused = sign_spoilt(|all| {
        all.insert(name("ada"), replaced);
    });
    assert!(matches!(refused, Err(SignError::NotMine)), "{refused:?}");
    let (_, spare) = commit(&other.shares[&name("bob")], binding, &mut other.rng).unwrap();
    for refused in [
        sign_spoilt(|all| {
            all.remove(&name("ada"));
        }),
        sign_spoilt(|all| {
            all.remove(&name("bob"));
        }),
        sign_spoilt(|all| all.clear()),
        sign_spoilt(|all| {
            all.insert(name("cleo"), spare.clone());
        }),
        sign_spoilt(|all| {
            let bob = all.remove(&name("bob")).unwrap();
            all.insert(name("cleo"), bob);
        }),
    ] {
        assert!(matches!(refused, Err(SignError::OtherSet)), "{refused:?}");
    }
}

#[test]
fn nonces_work_with_their_own_share_only() {
    let mut rng = Random::new(40);
    let (group4, group5) = (group(4), group(5));
    let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 0, &names(&["ada", "bob"]));
    let what = Signable::Activation(&challenge);
    for other in [&group4.shares[&name("bob")], &group5.shares[&name("ada")]] {
        let binding = group4.binding(1, &["ada", "bob"]);
        let (nonces, own) = commit(&group4.shares[&name("ada")], binding.clone(), &mut rng).unwrap();
        let (_, peer) = commit(&group4.shares[&name("bob")], binding, &mut rng).unwrap();
        let commitments = BTreeMap::from([(name("ada"), own), (name("bob"), peer)]);
        assert!(matches!(sign(nonces, other, &what, &commitments), Err(SignError::OtherShare)));
    }
}

#[test]
fn encodings_round_trip_and_refuse_everything_else() {
    let mut group = group(6);
    let mut round = group.commit_all(&group.binding(1, &["ada", "bob"]));
    let commitment = round.commitments[&name("ada")].clone();
    let bytes = commitment.to_bytes();
    assert_eq!(bytes.len(), Commitment::BYTES);
    assert_eq!(Commitment::from_bytes(&bytes).unwrap(), commitment);
    assert!(Commitment::from_bytes(&bytes[..97]).is_err());
    assert!(Commitment::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    assert!(Commitment::from_bytes(&[]).is_err());
    for at in [32, 65] {
        for tag in [0, 4, 5] {
            let mut bad = bytes.clone();
            bad[at] = tag;
            assert!(Commitment::from_bytes(&bad).is_err());
        }
        let mut identity = bytes.clone();
        identity[at..at + 33].fill(0);
        assert!(Commitment::from_bytes(&identity).is_err());
    }
    let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 0, &names(&["ada", "bob"]));
    let nonces = round.nonces.remove(&name("ada")).unwrap();
    let what = Signable::Activation(&challenge);
    let share = sign(nonces, &group.shares[&name("ada")], &what, &round.commitments).unwrap();
    assert_eq!(SignatureShare::from_bytes(&share.to_bytes()).unwrap(), share);
    for bad in [&share.to_bytes()[..31], &[share.to_bytes(), vec![0]].concat(), &[], &ORDER] {
        assert!(SignatureShare::from_bytes(bad).is_err());
    }
}

/// The order of the group (SEC 2): the smallest number that is no scalar.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

#[test]
fn shares_that_are_not_the_holders_own_are_refused() {
    let (dealt, _) = dealt(7);
    let share = |i: usize| dealt.shares[i].1.expose();
    assert!(ShareSecret::open(share(0), &dealt.public, &name("ada")).is_ok());
    let refused = |bytes: &[u8], who: &str| ShareSecret::open(bytes, &dealt.public, &name(who)).unwrap_err();
    assert!(matches!(refused(share(1), "ada"), ShareError::Wrong(who) if who == name("ada")));
    assert!(matches!(refused(share(0), "eve"), ShareError::Unknown(who) if who == name("eve")));
    let mut altered = share(0).to_vec();
    altered[0] ^= 1;
    assert!(matches!(refused(&altered, "ada"), ShareError::Wrong(_)));
    for bad in [&share(0)[..31], &[share(0), &[0]].concat(), &[], &[0; 32], &ORDER] {
        assert!(matches!(refused(bad, "ada"), ShareError::Malformed), "{}", bad.len());
    }
}

#[test]
fn altered_public_parts_are_refused() {
    let (dealt, _) = dealt(8);
    let (other, _) = common::dealt(9);
    let open = |change: &dyn Fn(&mut SharePublic)| {
        let mut public = dealt.public.clone();
        change(&mut public);
        ShareSecret::open(dealt.shares[0].1.expose(), &public, &name("ada"))
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    open(&|_| ()).unwrap();
    let wrong = ShareError::Wrong(name("ada")).to_string();
    let other_key = ShareError::OtherKey.to_string();
    let commitments = |t| ShareError::Commitments(t).to_string();
    let threshold = |threshold| ShareError::Threshold { threshold, holders: 3 }.to_string();
    let foreign = &other.public;
    let second = foreign.commitments[1].clone();
    assert_eq!(open(&|p| p.commitments[1] = second.clone()), Err(wrong.clone()));
    assert_eq!(open(&|p| p.commitments[0] = foreign.commitments[0].clone()), Err(other_key.clone()));
    assert_eq!(open(&|p| p.account = foreign.account.clone()), Err(other_key.clone()));
    assert_eq!(open(&|p| p.commitments.reverse()), Err(other_key.clone()));
    assert_eq!(open(&|p| p.holders.reverse()), Err(wrong));
    // The same x coordinate with the other parity is another key.
    assert_eq!(open(&|p| p.account.public.0[0] ^= 1), Err(other_key));
    assert_eq!(open(&|p| p.commitments.push(second.clone())), Err(commitments(2)));
    assert_eq!(open(&|p| p.commitments.truncate(1)), Err(commitments(2)));
    assert_eq!(open(&|p| p.commitments.clear()), Err(commitments(2)));
    assert_eq!(open(&|p| p.commitments[1] = Blob(vec![0; 33])), Err(commitments(2)));
    assert_eq!(open(&|p| p.commitments[1] = Blob(vec![0])), Err(commitments(2)));
    assert_eq!(open(&|p| p.commitments[1].0[0] = 5), Err(commitments(2)));
    assert_eq!(open(&|p| p.threshold = 3), Err(commitments(3)));
    for outside in [0, 1, 4] {
        assert_eq!(open(&|p| p.threshold = outside), Err(threshold(outside)));
    }
    for holders in [names(&["ada", "bob", "ada"]), vec![]] {
        assert!(open(&|p| p.holders = holders.clone()).is_err());
    }
}

#[test]
fn dealing_keeps_its_limits() {
    let mut rng = Random::new(10);
    let seed = Seed::generate(&mut rng).unwrap();
    let mut try_deal =
        |threshold: u16, holders: &[Name]| deal(seed.account(1, 0).unwrap(), threshold, holders, &mut rng);
    let many = |count: usize| (0..count).map(|i| name(&format!("signer-{i}"))).collect::<Vec<_>>();
    for (threshold, holders, allowed) in [
        (0, many(3), false),
        (1, many(3), false),
        (2, many(3), true),
        (3, many(3), true),
        (4, many(3), false),
        (2, many(1), false),
        (2, many(0), false),
        (2, many(MAX_HOLDERS), true),
        (2, many(MAX_HOLDERS + 1), false),
        (2, names(&["ada", "bob", "ada"]), false),
    ] {
        let dealt = try_deal(threshold, &holders);
        assert_eq!(dealt.is_ok(), allowed, "{threshold} of {holders:?}");
        let Ok(dealt) = dealt else { continue };
        assert_eq!(dealt.public.commitments.len(), usize::from(threshold));
        assert_eq!(open(&dealt.public, &dealt.shares).len(), holders.len());
    }
}

#[test]
fn the_same_key_dealt_twice_gives_shares_that_do_not_mix() {
    let mut rng = Random::new(11);
    let seed = Seed::generate(&mut rng).unwrap();
    let mut again =
        || deal(seed.account(1, 0).unwrap(), 2, &names(&["ada", "bob", "cleo"]), &mut rng).unwrap();
    let (one, two) = (again(), again());
    assert_eq!(one.public.account, two.public.account);
    let mixed = ShareSecret::open(two.shares[0].1.expose(), &one.public, &name("ada"));
    assert!(matches!(mixed, Err(ShareError::Wrong(_))));
}

#[test]
fn the_public_part_reads_back_and_takes_no_other_fields() {
    let (dealt, _) = dealt(12);
    let text = serde_json::to_string(&dealt.public).unwrap();
    assert_eq!(serde_json::from_str::<SharePublic>(&text).unwrap(), dealt.public);
    let more = text.replacen('{', "{\"note\":1,", 1);
    assert!(serde_json::from_str::<SharePublic>(&more).is_err());
}

#[test]
fn larger_groups_sign_too() {
    let mut rng = Random::new(13);
    let account = Seed::generate(&mut rng).unwrap().account(1, 9).unwrap();
    let dealt = deal(account, 3, &names(&["ada", "bob", "cleo", "dan", "eve"]), &mut rng).unwrap();
    let shares = open(&dealt.public, &dealt.shares);
    let mut group = common::Group { public: dealt.public, shares, rng };
    let payment = payment(&group.public.account, Branch::Change, 2, 70_000);
    let what = Signable::Spend { digest: &payment.digest, branch: Branch::Change, index: 2 };
    let round = group.commit_all(&group.binding(1, &["eve", "bob", "dan"]));
    let commitments = round.commitments.clone();
    let signatures = group.sign_all(round, &what);
    aggregate(&group.public, &what, &commitments, &signatures).unwrap();
}
