//! Shares dealt anew by their holders: what honest ones reach, and what nobody learns.

mod common;

#[path = "resharing/commitments.rs"]
mod commitments;
#[path = "resharing/generator.rs"]
mod generator;
#[path = "resharing/golden.rs"]
mod golden;
#[path = "resharing/hostile.rs"]
mod hostile;

use std::collections::{BTreeMap, BTreeSet};

use chain::BitcoinDecoder;
use common::{Group, Random, name, names, open, payment};
use custody::effects::{Branch, Decoder as _};
use custody::name::Name;
use custody::{Blob, Hash};
use frost_secp256k1_tr as frost;
use k256::elliptic_curve::PrimeField as _;
use k256::elliptic_curve::sec1::ToEncodedPoint as _;
use k256::{FieldBytes, ProjectivePoint, Scalar};
use keys::reshare::{Part, add_up, redeal};
use keys::round::{SignError, Signable, activation_message, aggregate, sign};
use keys::seed::Seed;
use keys::share::{Dealt, HeldShare, ShareError, SharePublic, deal};

const PEOPLE: [&str; 7] = ["ada", "bob", "cleo", "dan", "eve", "finn", "gus"];

fn decoder() -> BitcoinDecoder {
    BitcoinDecoder::new("bip122:0f9188f13cb7b2c71f2a335e3a4fc328").unwrap()
}

fn scalar(bytes: &[u8]) -> Scalar {
    Option::from(Scalar::from_repr(*FieldBytes::from_slice(bytes))).unwrap()
}

fn point(scalar: &Scalar) -> Blob {
    Blob((ProjectivePoint::GENERATOR * scalar).to_encoded_point(true).as_bytes().to_vec())
}

/// The value at `x` of the polynomial through some points.
fn interpolate(points: &[(u64, Scalar)], x: u64) -> Scalar {
    let x = Scalar::from(x);
    let mut sum = Scalar::ZERO;
    for (own, value) in points {
        let own = Scalar::from(*own);
        let others = points.iter().map(|(other, _)| Scalar::from(*other)).filter(|other| *other != own);
        sum += others.fold(*value, |y, other| y * (x - other) * (own - other).invert().unwrap());
    }
    sum
}

/// The Lagrange coefficient at 0 of one share identifier among several.
fn weight(own: u64, all: &[u64]) -> Scalar {
    let points: Vec<_> = all.iter().map(|id| (*id, Scalar::from(u64::from(*id == own)))).collect();
    interpolate(&points, 0)
}

fn number(public: &SharePublic, who: &str) -> u64 {
    public.holders.iter().position(|holder| holder.as_str() == who).unwrap() as u64 + 1
}

fn value(share: &HeldShare) -> Scalar {
    scalar(share.expose())
}

fn subsets<'a>(list: &[&'a str], size: usize) -> Vec<Vec<&'a str>> {
    let chosen = |mask: u32| (0..list.len()).filter(move |at| mask >> at & 1 == 1);
    let masks = (0..1u32 << list.len()).filter(|mask| mask.count_ones() as usize == size);
    masks.map(|mask| chosen(mask).map(|at| list[at]).collect()).collect()
}

fn group(seed: u64, threshold: u16, holders: &[&str]) -> Group {
    let mut rng = Random::new(seed);
    let account = Seed::generate(&mut rng).unwrap().account(1, 0).unwrap();
    let dealt = deal(account, threshold, &names(holders), &mut rng).unwrap();
    Group { shares: open(&dealt.public, &dealt.shares), public: dealt.public, rng }
}

/// What the dealers of a resharing dealt of one account.
struct Anew {
    public: SharePublic,
    deals: BTreeMap<Name, Dealt>,
}

impl Anew {
    /// Has shares dealt anew; every replica's check of the commitments is part of it.
    fn of(old: &mut Group, dealers: &[&str], holders: &[&str]) -> Self {
        let mut deals = BTreeMap::new();
        let ids: Vec<u32> = dealers.iter().map(|d| number(&old.public, d) as u32).collect();
        for (dealer, own) in dealers.iter().zip(&ids) {
            let held = &old.shares[&name(dealer)];
            let dealt = redeal(held, &names(dealers), &names(holders), &mut old.rng).unwrap();
            let (shared, commitments) = (&old.public.commitments, &dealt.public.commitments);
            assert!(decoder().redeals(shared, &ids, *own, commitments), "{dealer} of {dealers:?}");
            deals.insert(name(dealer), dealt);
        }
        let lists: Vec<&[Blob]> = deals.values().map(|d| d.public.commitments.as_slice()).collect();
        let commitments = decoder().add_commitments(&lists).unwrap();
        let public = SharePublic { holders: names(holders), commitments, ..old.public.clone() };
        Self { public, deals }
    }

    fn parts(&self, holder: &Name) -> Vec<Part<'_>> {
        let part = |(dealer, dealt)| part(dealer, dealt, holder);
        self.deals.iter().map(part).collect()
    }

    fn take(&self, holder: &Name) -> Result<HeldShare, ShareError> {
        add_up(&self.public, holder, &self.parts(holder))
    }

    fn group(&self) -> Group {
        let shares = self.public.holders.iter().map(|h| (h.clone(), self.take(h).unwrap()));
        Group { shares: shares.collect(), public: self.public.clone(), rng: Random::new(77) }
    }
}

fn part<'p>(dealer: &'p Name, dealt: &'p Dealt, holder: &Name) -> Part<'p> {
    let (_, secret) = dealt.shares.iter().find(|(name, _)| name == holder).unwrap();
    Part { dealer, commitments: &dealt.public.commitments, secret: secret.expose() }
}

/// Every set of holders signs: for the account key itself, and for keys of addresses of both branches.
fn every_set_signs(group: &mut Group) {
    let account = group.public.account.clone();
    let holders: Vec<Name> = group.public.holders.clone();
    let holders: Vec<&str> = holders.iter().map(Name::as_str).collect();
    for (at, set) in (0u32..).zip(subsets(&holders, usize::from(group.public.threshold))) {
        let mut sorted = names(&set);
        sorted.sort();
        let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 3, &sorted);
        let signature = signed(group, &set, &Signable::Activation(&challenge));
        assert!(decoder().schnorr_ok(&account, challenge.as_bytes(), &signature), "{set:?}");
        for branch in [Branch::Receive, Branch::Change] {
            let payment = payment(&account, branch, at, 50_000);
            let signature =
                signed(group, &set, &Signable::Spend { digest: &payment.digest, branch, index: at });
            chain::finish::verify_spend(&payment.raw, &payment.spent, &[signature]).unwrap();
        }
    }
}

fn signed(group: &mut Group, set: &[&str], what: &Signable<'_>) -> [u8; 64] {
    let round = group.commit_all(&group.binding(1, set));
    let commitments = round.commitments.clone();
    let shares = group.sign_all(round, what);
    aggregate(&group.public, what, &commitments, &shares).unwrap()
}

#[test]
fn the_same_holders_get_fresh_shares_of_the_same_key() {
    for seed in 0..8 {
        let mut old = group(seed, 2, &PEOPLE[..3]);
        let mut new = Anew::of(&mut old, &["ada", "cleo"], &PEOPLE[..3]).group();
        assert_eq!(new.public.account, old.public.account);
        assert_eq!(new.public.commitments[0], old.public.account.public);
        assert_ne!(new.public.commitments[1], old.public.commitments[1]);
        for (holder, share) in &new.shares {
            assert_ne!(share.expose(), old.shares[holder].expose());
        }
        every_set_signs(&mut new);
    }
}

#[test]
fn other_holders_more_and_fewer_sign_under_the_same_key() {
    // The order of the holders is that of their share identifiers, and need not be that of their names.
    for (threshold, before) in [(2, vec!["cleo", "ada", "bob"]), (3, vec!["eve", "bob", "dan", "ada"])] {
        let mut old = group(20, threshold, &before);
        for after in [
            vec!["cleo", "ada", "dan"],
            vec!["dan", "eve", "finn"],
            vec!["gus", "finn", "eve", "dan", "cleo", "bob"],
            before[..usize::from(threshold)].to_vec(),
        ] {
            let mut dealers = before[1..=usize::from(threshold)].to_vec();
            dealers.sort_unstable();
            let mut new = Anew::of(&mut old, &dealers, &after).group();
            assert_eq!(new.public.account, old.public.account);
            every_set_signs(&mut new);
        }
    }
}

#[test]
fn every_choice_of_dealers_gives_shares_that_sign() {
    let mut choices = 0;
    for threshold in 2..=3 {
        for count in usize::from(threshold)..=5 {
            let mut old = group(30, threshold, &PEOPLE[..count]);
            for dealers in subsets(&PEOPLE[..count], usize::from(threshold)) {
                let mut new = Anew::of(&mut old, &dealers, &PEOPLE[1..=count]).group();
                assert_eq!(new.public.account, old.public.account);
                every_set_signs(&mut new);
                choices += 1;
            }
        }
    }
    assert_eq!(choices, 1 + 3 + 6 + 10 + 1 + 4 + 10);
}

#[test]
fn what_was_dealt_anew_is_dealt_anew_again() {
    let mut group = group(40, 2, &["ada", "bob", "cleo"]);
    let account = group.public.account.clone();
    for (dealers, holders) in [
        (["ada", "bob"], vec!["ada", "bob", "dan"]),
        (["ada", "dan"], vec!["ada", "bob", "dan"]),
        (["bob", "dan"], vec!["dan", "eve", "finn", "gus"]),
        (["eve", "gus"], vec!["ada", "gus"]),
        (["ada", "gus"], vec!["ada", "bob", "cleo"]),
    ] {
        let mut next = Anew::of(&mut group, &dealers, &holders).group();
        assert_eq!(next.public.account, account);
        every_set_signs(&mut next);
        group = next;
    }
}

#[test]
fn old_and_new_shares_do_not_sign_together() {
    let mut old = group(50, 2, &PEOPLE[..3]);
    let mut new = Anew::of(&mut old, &["ada", "bob"], &PEOPLE[..3]).group();
    // A signer sees that the other's commitment was made with other shares.
    let challenge = activation_message(&Hash([1; 32]), &Hash([2; 32]), 3, &names(&["ada", "bob"]));
    let mut of_new = new.commit_all(&new.binding(1, &["ada", "bob"]));
    let of_old = old.commit_all(&old.binding(1, &["ada", "bob"]));
    of_new.commitments.insert(name("bob"), of_old.commitments[&name("bob")].clone());
    let nonces = of_new.nonces.remove(&name("ada")).unwrap();
    let what = Signable::Activation(&challenge);
    let refused = sign(nonces, &new.shares[&name("ada")], &what, &of_new.commitments);
    assert!(matches!(refused, Err(SignError::OtherSession(who)) if who == name("bob")));
    // Nor would it be worth anything if nobody saw: the library alone, which knows no dealings.
    let share =
        |group: &Group, who: &str| (number(&group.public, who) as u16, value(&group.shares[&name(who)]));
    let public = &new.public.account.public;
    assert!(library_signs(public, [share(&new, "ada"), share(&new, "bob")]));
    assert!(library_signs(public, [share(&old, "ada"), share(&old, "bob")]));
    assert!(!library_signs(public, [share(&new, "ada"), share(&old, "bob")]));
    assert!(!library_signs(public, [share(&old, "ada"), share(&new, "bob")]));
}

/// Whether two shares sign for a key, by the threshold library without any of our checks.
fn library_signs(public: &Blob, shares: [(u16, Scalar); 2]) -> bool {
    let mut rng = Random::new(51);
    let group = frost::VerifyingKey::deserialize(&public.0).unwrap();
    let mut packages = BTreeMap::new();
    for (id, share) in shares {
        let id = frost::Identifier::try_from(id).unwrap();
        let signing = frost::keys::SigningShare::deserialize(&share.to_bytes()).unwrap();
        let verifying = frost::keys::VerifyingShare::from(signing);
        packages.insert(id, frost::keys::KeyPackage::new(id, signing, verifying, group, 2));
    }
    let mut nonces = BTreeMap::new();
    let mut commitments = BTreeMap::new();
    for (id, package) in &packages {
        let (own, commitment) = frost::round1::commit(package.signing_share(), &mut rng);
        nonces.insert(*id, own);
        commitments.insert(*id, commitment);
    }
    let signing = frost::SigningPackage::new(commitments, b"message");
    let shares = packages
        .iter()
        .map(|(id, package)| (*id, frost::round2::sign(&signing, &nonces[id], package).unwrap()));
    let shares = shares.collect();
    let verifying = packages.iter().map(|(id, package)| (*id, *package.verifying_share())).collect();
    let public = frost::keys::PublicKeyPackage::new(verifying, group, Some(2));
    frost::aggregate(&signing, &shares, &public).is_ok()
}

/// Somebody who has one share too few of each of two dealings has nothing: what it saw, the parts of its new shares
/// among it, fits any key whatever.
#[test]
fn one_share_too_few_of_each_dealing_says_nothing_about_the_key() {
    for (threshold, dealers, stolen_old, stolen_new) in [
        (2, vec!["ada", "bob"], vec!["cleo"], vec!["ada"]),
        (2, vec!["ada", "bob"], vec!["bob"], vec!["bob"]),
        (2, vec!["bob", "cleo"], vec!["cleo"], vec!["dan"]),
        (3, vec!["ada", "cleo", "eve"], vec!["ada", "bob"], vec!["cleo", "dan"]),
        (3, vec!["ada", "cleo", "eve"], vec!["cleo", "eve"], vec!["cleo", "gus"]),
        (3, vec!["bob", "cleo", "dan"], vec!["bob", "cleo"], vec!["bob", "cleo"]),
    ] {
        let count = 2 * usize::from(threshold) - 1;
        let mut old = group(60, threshold, &PEOPLE[..count]);
        let holders: Vec<&str> = PEOPLE[..count - 1].iter().copied().chain(["gus"]).collect();
        let holders = if threshold == 2 { vec!["ada", "bob", "dan"] } else { holders };
        let anew = Anew::of(&mut old, &dealers, &holders);
        let new = anew.group();
        let points = |group: &Group, who: &[&str]| -> Vec<(u64, Scalar)> {
            who.iter().map(|w| (number(&group.public, w), value(&group.shares[&name(w)]))).collect()
        };
        let key = interpolate(&points(&old, &dealers), 0);
        assert_eq!(point(&key), old.public.account.public);
        assert_eq!(interpolate(&points(&new, &holders[..usize::from(threshold)]), 0), key);

        // No mixture of what was stolen is the key.
        let (known_old, known_new) = (points(&old, &stolen_old), points(&new, &stolen_new));
        let all: Vec<_> = known_old.iter().chain(&known_new).copied().collect();
        for mask in 1..1u32 << all.len() {
            let chosen: Vec<_> = (0..all.len()).filter(|at| mask >> at & 1 == 1).map(|at| all[at]).collect();
            let ids: BTreeSet<u64> = chosen.iter().map(|(id, _)| *id).collect();
            if ids.len() == chosen.len() {
                assert_ne!(interpolate(&chosen, 0), key, "{threshold} {mask:b}");
            }
        }

        // Were another number the key, everything that was seen could still be as it is.
        let ids: Vec<u64> = dealers.iter().map(|d| number(&old.public, d)).collect();
        for other in [Scalar::ONE, Scalar::from(7u64), key + Scalar::ONE] {
            let with = |zero: Scalar, known: &[(u64, Scalar)]| -> Vec<(u64, Scalar)> {
                [(0, zero)].into_iter().chain(known.iter().copied()).collect()
            };
            let polynomial = with(other, &known_old);
            let dealt = dealers.iter().zip(&ids).map(|(dealer, id)| {
                let weighted = weight(*id, &ids) * interpolate(&polynomial, *id);
                if stolen_old.contains(dealer) {
                    assert_eq!(point(&weighted), anew.deals[&name(dealer)].public.commitments[0]);
                }
                let seen = |holder: &&str| {
                    let holder_name = name(holder);
                    let (who, dealt) = anew.deals.get_key_value(&name(dealer)).unwrap();
                    (number(&new.public, holder), scalar(part(who, dealt, &holder_name).secret))
                };
                with(weighted, &stolen_new.iter().map(seen).collect::<Vec<_>>())
            });
            let dealt: Vec<_> = dealt.collect();
            let sum = |x: u64| dealt.iter().fold(Scalar::ZERO, |sum, points| sum + interpolate(points, x));
            assert_eq!(sum(0), other);
            for (id, share) in &known_new {
                assert_eq!(sum(*id), *share);
            }
        }
    }
}
