//! Which co-signers are shown what: other sets of holders, other heads, older disks.

use std::collections::BTreeSet;

use custody::Blob;
use custody::statement::Body;
use fixtures::DAY;
use sim::relay::{PAIRS, Town, Weather};

use crate::{COUNT, FEE, LIMIT, PAYMENT, both, charged, pass, pay, ready, refused, waits};

/// The id of a transaction, which its signatures do not change.
fn txid(transaction: &Blob) -> String {
    let transaction: bitcoin::Transaction = bitcoin::consensus::deserialize(&transaction.0).unwrap();
    transaction.compute_txid().to_string()
}

/// P24: an authorisation is charged once, whoever signs it and how often, and every set signs the same.
#[test]
fn every_set_signs_the_same_transaction_and_it_is_charged_once() {
    let rest = LIMIT - PAYMENT - 2 * FEE;
    let (mut town, [first, second, more]) = ready(false, [PAYMENT, rest, rest + 1]);
    let one = pay(&mut town, first).unwrap();
    for _ in 0..2 {
        let signed = PAIRS.map(|pair| txid(&town.signed(one, pair).unwrap()));
        assert_eq!(BTreeSet::from(signed).len(), 1);
    }
    assert_eq!(charged(&town), (1, u128::from(PAYMENT + FEE)));
    assert_eq!(town.left(), [one].into());
    // What is left of the limit is what it was, to the satoshi.
    assert_eq!(pay(&mut town, more), refused("policy.velocity"));
    let two = pay(&mut town, second).unwrap();
    for pair in PAIRS {
        town.signed(two, pair).unwrap();
        town.signed(one, pair).unwrap();
    }
    assert_eq!(charged(&town), (2, u128::from(LIMIT)));
}

/// The same for the count: three small payments by every set are three, and there is no fourth.
#[test]
fn the_count_of_a_day_is_of_payments_and_not_of_signatures() {
    let small = LIMIT / 50;
    let (mut town, requests) = ready(false, [small; COUNT as usize + 1]);
    let (fourth, three) = requests.split_last().unwrap();
    for request in three {
        let payment = pay(&mut town, *request).unwrap();
        for pair in PAIRS {
            town.signed(payment, pair).unwrap();
        }
    }
    assert_eq!(pay(&mut town, *fourth), refused("policy.velocity"));
    assert_eq!(charged(&town).0, COUNT);
    pass(&mut town, DAY);
    town.tick();
    let fourth = pay(&mut town, *fourth).unwrap();
    town.signed(fourth, PAIRS[2]).unwrap();
}

/// P5, P11: `s3` runs twice, and the server shows one of its processes and one honest signer an old head while
/// the others go on. Each side has a set of holders, and a payment that fits its own head. One leaves.
#[test]
fn two_sets_that_are_shown_other_heads_do_not_pay_twice() {
    let amounts = [PAYMENT; 4];
    let (mut town, [a, b, c, d]) = ready(true, amounts);
    // Who is left behind, the set there, and the set of the others.
    let days = [([1, 4], ["s2", "s3"], ["s1", "s3"], [a, b]), ([0, 4], ["s1", "s3"], ["s2", "s3"], [c, d])];
    let mut allowed = BTreeSet::new();
    for (behind, there, here, [old, new]) in days {
        let others: Vec<usize> = (0..town.cluster.len()).filter(|p| !behind.contains(p)).collect();
        town.cluster.part(&behind);
        town.near = others;
        let one = pay(&mut town, new).unwrap();
        town.signed(one, here).unwrap();
        allowed.insert(one);

        town.near = behind.to_vec();
        let coin = town.coin(LIMIT * 2);
        let draft = town.draft(old, coin, FEE);
        let ask = town.world.authorise(&[old], &draft);
        let two = town.write("server", Body::Authorise(ask));
        town.tell(&two);
        // Neither what is decided here is known there, nor is anything decided there.
        assert_eq!(town.signed(one, there), both("P5.reference"));
        assert_eq!(town.signed(two.id(), there), both("P5.reference"));
        pass(&mut town, 600);
        assert!(town.state().authorisations().get(&two.id()).is_none());

        // Together again: the payment of the other side is over the limit for everybody.
        town.cluster.weather = Weather::CALM;
        town.near = vec![0, 1, 3];
        town.tick();
        let word = town.settled(&two, 60_000);
        assert_eq!(word, None, "what is over the limit is in no batch");
        assert_eq!(pay(&mut town, old), refused("policy.velocity"));
        assert_eq!(town.left(), allowed);
        pass(&mut town, DAY);
        town.tick();
    }
}

fn releases(town: &Town) -> usize {
    town.cluster.record.releases.len()
}

/// P12: a disk from before a payment under one signer, which nobody noticed; the server shows it only who knows
/// of nothing, then everybody.
#[test]
fn a_restored_disk_opens_no_window_again() {
    let (mut town, [first, second]) = ready(false, [PAYMENT; 2]);
    let older = town.cluster.disk(0);
    town.cluster.part(&[3]);
    town.near = vec![0, 1, 2];
    let one = pay(&mut town, first).unwrap();
    let signed = town.signed(one, ["s1", "s2"]).unwrap();

    town.cluster.restore(0, older, false);
    town.cluster.part(&[0, 3]);
    pass(&mut town, 1);
    town.near = vec![0, 3];
    let mark = releases(&town);
    assert!(town.state().authorisations().get(&one).is_none(), "it has forgotten");
    assert_eq!(pay(&mut town, second), refused(""), "a batch of it was final");
    assert_eq!(town.signed(one, ["s1", "s2"]), waits());
    pass(&mut town, 600);
    assert!(!town.cluster.cosigner(0).unwrap().may_release(), "one answer of two that it needs");
    assert_eq!(releases(&town), mark);

    // Shown everything it comes back, and knows again what was charged.
    town.cluster.weather = Weather::CALM;
    town.near = vec![0, 1, 2, 3];
    assert!(town.cluster.run(600_000, |c| c.cosigner(0).is_some_and(|c| c.may_release())));
    town.tick();
    assert_eq!(txid(&town.signed(one, ["s1", "s3"]).unwrap()), txid(&signed));
    assert_eq!(pay(&mut town, second), refused("policy.velocity"));
    assert_eq!(charged(&town), (1, u128::from(PAYMENT + FEE)));
    assert_eq!(town.left(), [one].into());
}

/// P12: two disks from before a payment, of which those who restored them told. With the witness, which the
/// server had kept in the dark, they would be a quorum that knows of nothing.
#[test]
fn two_restored_disks_that_were_told_of_open_none_either() {
    let (mut town, [first, second]) = ready(false, [PAYMENT; 2]);
    let older = [0, 1].map(|place| town.cluster.disk(place));
    town.cluster.part(&[3]);
    town.near = vec![0, 1, 2];
    let one = pay(&mut town, first).unwrap();
    town.signed(one, ["s1", "s2"]).unwrap();

    for (place, disk) in older.into_iter().enumerate() {
        town.cluster.restore(place, disk, true);
    }
    town.cluster.part(&[2]);
    pass(&mut town, 1);
    town.near = vec![0, 1, 3];
    let mark = releases(&town);
    assert_eq!(pay(&mut town, second), refused(""), "three of whom two know nothing decided");
    assert_eq!(town.signed(one, ["s1", "s2"]), waits());
    pass(&mut town, 3_600);
    assert!([0, 1].iter().all(|p| !town.cluster.cosigner(*p).unwrap().may_release()));
    assert_eq!(releases(&town), mark);
    assert_eq!(town.left(), [one].into());
}
