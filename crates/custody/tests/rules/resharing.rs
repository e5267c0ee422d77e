//! Shares dealt anew (P30), and the old ones erased (P4).

use custody::document::{Document, Kind};
use custody::effects::Decoder as _;
use custody::resharing::{Deal, Erased, Offer, Resharing};
use custody::rule::Rule;
use custody::state::{SlotRecord, Stage};
use custody::statement::Body;
use custody::{Blob, Hash};
use fixtures::{Account, World, card, certify, genesis, name, newest, public};

use crate::{invalid, rejected};

const SAME: [&str; 3] = ["s1", "s2", "s3"];
const OTHER: [&str; 3] = ["s1", "s2", "w1"];

/// A deployment that can pay under rule set 2, and the ceremony of its two accounts; account 1 is not proved.
fn world() -> (World, Hash) {
    let world = World::open(newest());
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    (world, ceremony)
}

fn used(world: &World, ceremony: Hash, slot: u32) -> (Hash, SlotRecord) {
    let (dealing, slot) = world.state.dealt(&ceremony, slot).unwrap();
    (dealing, slot.clone())
}

fn body(world: &World, dealing: Hash, slot: u32, dealer: &str) -> Deal {
    let line = Account::new(slot).line();
    match world.deal(dealing, slot, dealer, &line).0 {
        Body::Deal(deal) => deal,
        _ => unreachable!(),
    }
}

/// A resharing that was adopted, to these holders, all of whom have offered their keys.
fn offered(holders: &[&str]) -> (World, Hash, Hash) {
    let (mut world, ceremony) = world();
    let resharing = world.resharing(1, ceremony, ["s1", "s2"], holders);
    let dealing = resharing.id(&world.state.genesis_hash());
    world.adopt(Document::Resharing(resharing));
    for who in holders {
        let offer = world.offer(dealing, who);
        world.say(who, offer).unwrap();
    }
    (world, ceremony, dealing)
}

// ---- P30.resharing

#[test]
fn allow_p30_resharing() {
    for holders in [SAME, OTHER] {
        let (mut world, ceremony) = world();
        let (first, before) = used(&world, ceremony, 0);
        assert_eq!(first, ceremony);
        let resharing = world.resharing(1, ceremony, ["s1", "s2"], &holders);
        let dealing = world.reshare(resharing, &[0, 1]);
        for slot in [0, 1] {
            let (now, after) = used(&world, ceremony, slot);
            assert_eq!((now, after.reshares, after.superseded), (dealing, Some(ceremony), None));
            assert_eq!(after.holders, holders.map(name));
            assert!(world.state.proved_everywhere(&after));
            // The same key under other shares.
            let old = world.state.slots().get(&(ceremony, slot)).unwrap();
            assert_eq!(old.superseded.unwrap().by, dealing);
            assert_eq!(after.slot.account, old.slot.account);
            assert_eq!(after.slot.commitments[0], old.slot.commitments[0]);
            assert_ne!(after.slot.commitments[1], old.slot.commitments[1]);
        }
        assert!(world.state.is_reshared(&dealing) && world.state.deals().is_empty());
        // The wallet is where it was, pays, and another one opens on the account that was proved only now.
        let main = world.state.wallet(&name("main")).unwrap().clone();
        assert_eq!((main.ceremony, main.slot), (ceremony, 0));
        assert_eq!(world.state.slot_of(&main).unwrap().slot.account, before.slot.account);
        let coin = world.coin(1_000_000);
        let request = world.asked(world.request(&[("acme", 400_000)]));
        let draft = world.draft(&[request], &[coin], 1_000);
        world.pay(&[request], &draft).unwrap();
        world.adopt(world.wallet("spare", ceremony, 1));
    }
}

#[test]
fn nothing_is_signed_for_with_new_shares_before_all_of_them_are_proved() {
    let (mut world, ceremony, dealing) = offered(&OTHER);
    let sets = |world: &World, since| {
        world.state.holder_sets(since).into_iter().map(<[_]>::to_vec).collect::<Vec<_>>()
    };
    let (same, other) = (SAME.map(name).to_vec(), OTHER.map(name).to_vec());
    // Those who are to be holders count when it is said who could sign.
    assert_eq!(sets(&world, world.time), [same.clone(), other.clone()]);
    for dealer in ["s1", "s2"] {
        assert!(world.state.slots().get(&(dealing, 0)).is_none());
        let deal = body(&world, dealing, 0, dealer);
        world.say(dealer, Body::Deal(deal)).unwrap();
    }
    for pair in [["s1", "s2"], ["s1", "w1"], ["s2", "w1"]] {
        let proof = world.activate(dealing, 0, &pair, &Account::new(0));
        world.say(pair[0], proof).unwrap();
        assert_eq!(used(&world, ceremony, 0).0, ceremony);
    }
    // All accounts change over at once: whoever holds a share of one holds one of each, so that any two can deal
    // again when one of the others fails now.
    assert!(!world.state.is_reshared(&dealing));
    assert_eq!(world.state.to_reshare(&dealing), [0, 1]);
    let other_dealers = world.resharing(2, ceremony, ["s1", "s3"], &SAME);
    world.clone().propose("bob", Document::Resharing(other_dealers)).unwrap();
    for dealer in ["s1", "s2"] {
        let deal = body(&world, dealing, 1, dealer);
        world.say(dealer, Body::Deal(deal)).unwrap();
    }
    world.prove(dealing, 1, &Account::new(1));
    assert_eq!([0, 1].map(|slot| used(&world, ceremony, slot).0), [dealing; 2]);
    // A proof that is said again changes nothing, not even since when the old shares are out of use.
    world.tick(200);
    let before = world.state.slots().get(&(ceremony, 0)).unwrap().clone();
    let again = world.activate(dealing, 0, &["s1", "s2"], &Account::new(0));
    world.say("s1", again).unwrap();
    assert_eq!(world.state.slots().get(&(ceremony, 0)), Some(&before));
    let switched = before.superseded.unwrap().at;
    // The old holders count for as long as one of them may be behind.
    assert_eq!(sets(&world, switched - 1), [same, other.clone()]);
    assert_eq!(sets(&world, switched), [other]);
}

#[test]
fn allow_p30_resharing_of_what_was_reshared() {
    let (mut world, ceremony) = world();
    let genesis = world.state.genesis_hash();
    let first = world.resharing(1, ceremony, ["s1", "s2"], &OTHER);
    let first = world.reshare(first, &[0, 1]);
    let second = world.resharing(2, ceremony, ["s2", "w1"], &["s2", "s3", "w1"]);
    let dealing = second.id(&genesis);
    world.adopt(Document::Resharing(second));
    for who in ["s2", "s3", "w1"] {
        let offer = world.offer(dealing, who);
        world.say(who, offer).unwrap();
    }
    for slot in [0, 1] {
        let line = Account::new(slot).line();
        let dealt = [(1, 2), (2, 1)].map(|(own, other)| line.dealt(&first, slot, own, other));
        let [a, b] = dealt;
        let line = a.plus(b);
        assert_eq!(line.commitments(), used(&world, ceremony, slot).1.slot.commitments);
        for dealer in ["s2", "w1"] {
            let (deal, _) = world.deal(dealing, slot, dealer, &line);
            world.say(dealer, deal).unwrap();
        }
        world.prove(dealing, slot, &Account::new(slot));
    }
    for slot in [0, 1] {
        assert_eq!(used(&world, ceremony, slot).0, dealing);
        assert_eq!(world.state.slots().get(&(first, slot)).unwrap().superseded.unwrap().by, dealing);
    }
    assert!(world.state.is_reshared(&dealing) && !world.state.is_reshared(&first));
}

#[test]
fn one_that_takes_the_place_of_another_half_done_begins_anew() {
    let (mut world, ceremony, first) = offered(&OTHER);
    for slot in [0, 1] {
        for dealer in ["s1", "s2"] {
            let deal = body(&world, first, slot, dealer);
            world.say(dealer, Body::Deal(deal)).unwrap();
        }
    }
    world.prove(first, 0, &Account::new(0));
    let second = world.resharing(2, ceremony, ["s1", "s2"], &SAME);
    let dealing = second.id(&world.state.genesis_hash());
    world.adopt(Document::Resharing(second));
    assert_eq!((used(&world, ceremony, 0).0, used(&world, ceremony, 1).0), (ceremony, ceremony));
    for slot in [0, 1] {
        assert_eq!(world.state.slots().get(&(first, slot)).unwrap().superseded.unwrap().by, dealing);
    }
    assert!(world.state.deals().is_empty());
    // What was under way is over: no offer, deal or proof of it counts any more.
    let proof = world.activate(first, 1, &["s1", "s2"], &Account::new(1));
    rejected(world.say("s1", proof), Rule::Resharing);
    let offer = world.offer(first, "w1");
    rejected(world.say("w1", offer), Rule::Resharing);
    let deal = body(&world, first, 1, "s1");
    rejected(world.say("s1", Body::Deal(deal)), Rule::Resharing);
    for who in SAME {
        let offer = world.offer(dealing, who);
        world.say(who, offer).unwrap();
    }
    for slot in [0, 1] {
        for dealer in ["s1", "s2"] {
            let deal = body(&world, dealing, slot, dealer);
            world.say(dealer, Body::Deal(deal)).unwrap();
        }
        world.prove(dealing, slot, &Account::new(slot));
    }
    assert_eq!((used(&world, ceremony, 0).0, used(&world, ceremony, 1).0), (dealing, dealing));
}

#[test]
fn deny_p30_resharing() {
    let (mut world, ceremony) = world();
    let good = world.resharing(1, ceremony, ["s1", "s2"], &OTHER);
    let names = |list: &[&str]| list.iter().map(|n| name(n)).collect::<Vec<_>>();
    let changes: [&dyn Fn(&mut Resharing); 9] = [
        &|r| r.ceremony = Hash([9; 32]),
        &|r| r.dealers = names(&["s1"]),
        &|r| r.dealers = names(&["s1", "s1"]),
        &|r| r.dealers = names(&["s2", "s1"]),
        &|r| r.dealers = names(&["s1", "s2", "s3"]),
        &|r| r.dealers = names(&["s1", "w1"]),
        &|r| r.holders = names(&["s2", "s1", "w1"]),
        &|r| r.holders = names(&["s1", "s2", "s2"]),
        &|r| r.holders = names(&["s1", "s2", "x9"]),
    ];
    for change in changes {
        let mut resharing = good.clone();
        change(&mut resharing);
        rejected(world.propose("bob", Document::Resharing(resharing)), Rule::Resharing);
    }
    // With two holders of whom one may be lost, one is left; all four are enough.
    let few = Resharing { holders: names(&["s1", "s2"]), ..good.clone() };
    rejected(world.propose("bob", Document::Resharing(few)), Rule::Committee);
    let all = Resharing { holders: names(&["s1", "s2", "s3", "w1"]), ..good.clone() };
    world.propose("bob", Document::Resharing(all)).unwrap();
    // One person alone has nothing dealt anew, and it is adopted once.
    let id = world.propose("bob", Document::Resharing(good.clone())).unwrap();
    world.approve("bob", id).unwrap();
    assert_eq!(world.state.proposals().get(&id).unwrap().stage, Stage::Open);
    assert!(world.state.resharings().is_empty());
    world.approve("alice", id).unwrap();
    rejected(world.propose("bob", Document::Resharing(good.clone())), Rule::Resharing);
    // The shares of a resharing are not a ceremony's: no resharing of them, no wallet on them.
    let dealing = good.id(&world.state.genesis_hash());
    world.complete(dealing, &[0, 1]);
    let on_it = Resharing { nonce: Hash([7; 32]), ceremony: dealing, ..good };
    rejected(world.propose("bob", Document::Resharing(on_it)), Rule::Resharing);
    let wallet = world.wallet("twin", dealing, 0);
    rejected(world.propose("bob", wallet), Rule::Ceremony);
    // Under rule set 1 nobody knows any of this.
    let mut old = World::open(genesis());
    let ceremony = old.state.wallet(&name("main")).unwrap().ceremony;
    let early = old.resharing(1, ceremony, ["s1", "s2"], &SAME);
    invalid(old.propose("bob", Document::Resharing(early)), Rule::Form);
    let offer = old.offer(Hash([1; 32]), "s1");
    invalid(old.say("s1", offer), Rule::Form);
    invalid(old.say("s1", Body::Erased(Erased { dealing: Hash([1; 32]) })), Rule::Form);
}

#[test]
fn deny_p30_resharing_offers() {
    let (mut world, ceremony) = world();
    let resharing = world.resharing(1, ceremony, ["s1", "s2"], &OTHER);
    let dealing = resharing.id(&world.state.genesis_hash());
    let offer = world.offer(dealing, "w1");
    invalid(world.say("w1", offer.clone()), Rule::Reference);
    world.adopt(Document::Resharing(resharing));
    rejected(world.say("alice", offer.clone()), Rule::Resharing);
    rejected(world.say("server", offer.clone()), Rule::Resharing);
    // Whoever is not to hold a share, and the same one twice. A key that somebody copied harms its owner nowhere:
    // parts are sealed for one holder.
    let own = world.offer(dealing, "s3");
    rejected(world.say("s3", own), Rule::Resharing);
    world.say("w1", offer.clone()).unwrap();
    let again = Body::Offer(Offer { dealing, seal: public("w1/second") });
    rejected(world.say("w1", again), Rule::Resharing);
    world.say("s1", offer).unwrap();
    assert_eq!(world.state.resharings().get(&dealing).unwrap().offers.len(), 2);
}

#[test]
fn deny_p30_resharing_deals() {
    let (mut world, ceremony) = world();
    let resharing = world.resharing(1, ceremony, ["s1", "s2"], &OTHER);
    let dealing = resharing.id(&world.state.genesis_hash());
    world.adopt(Document::Resharing(resharing));
    let good = body(&world, dealing, 0, "s1");
    // Before all keys are there: what would be sealed to whom?
    for who in ["s1", "s2"] {
        let offer = world.offer(dealing, who);
        world.say(who, offer).unwrap();
    }
    rejected(world.say("s1", Body::Deal(good.clone())), Rule::Resharing);
    let offer = world.offer(dealing, "w1");
    world.say("w1", offer).unwrap();

    invalid(world.say("s1", Body::Deal(Deal { slot: 2, ..good.clone() })), Rule::Reference);
    invalid(world.say("s1", Body::Deal(Deal { dealing: Hash([3; 32]), ..good.clone() })), Rule::Reference);
    let other = Account::new(0).line().dealt(&Hash([4; 32]), 0, 1, 2);
    let foreign = Account::new(9).line().dealt(&dealing, 0, 1, 2);
    let unweighted = Account::new(0).line();
    let changes: [&dyn Fn(&mut Deal); 11] = [
        &|d| drop(d.sealed.pop()),
        &|d| d.sealed.push(d.sealed[0].clone()),
        &|d| d.sealed[1].0.truncate(79),
        &|d| d.sealed[1].0.push(0),
        &|d| drop(d.commitments.pop()),
        &|d| d.commitments.push(other.commitments()[1].clone()),
        &|d| d.commitments.reverse(),
        &|d| d.commitments = foreign.commitments(),
        &|d| d.commitments = unweighted.commitments(),
        &|d| d.commitments[1] = Blob(vec![5; 33]),
        // The share of the other dealer, and of the other account.
        &|d| d.commitments = Account::new(0).line().dealt(&dealing, 0, 2, 1).commitments(),
    ];
    for change in changes {
        let mut deal = good.clone();
        change(&mut deal);
        rejected(world.say("s1", Body::Deal(deal)), Rule::Resharing);
    }
    rejected(world.say("s1", Body::Deal(Deal { slot: 1, ..good.clone() })), Rule::Resharing);
    for who in ["alice", "server", "s3", "w1", "s2"] {
        rejected(world.say(who, Body::Deal(good.clone())), Rule::Resharing);
    }
    world.say("s1", Body::Deal(good.clone())).unwrap();
    rejected(world.say("s1", Body::Deal(good.clone())), Rule::Resharing);
    // A dealer that takes away what the other one dealt: the sum would be no point.
    let mut against = body(&world, dealing, 0, "s2");
    let taken = world.decoder.add_commitments(&[&good.commitments[1..], &good.commitments[1..]]).unwrap();
    assert_eq!(taken.len(), 1);
    let mut minus = good.commitments[1].clone();
    minus.0[0] ^= 1;
    let honest = std::mem::replace(&mut against.commitments[1], minus);
    rejected(world.say("s2", Body::Deal(against.clone())), Rule::Resharing);
    against.commitments[1] = honest;
    world.say("s2", Body::Deal(against.clone())).unwrap();
    rejected(world.say("s2", Body::Deal(against)), Rule::Resharing);
}

#[test]
fn deny_p30_resharing_proofs_of_shares_that_others_replaced() {
    let (mut world, ceremony, dealing) = offered(&OTHER);
    for dealer in ["s1", "s2"] {
        let deal = body(&world, dealing, 0, dealer);
        world.say(dealer, Body::Deal(deal)).unwrap();
    }
    // Not by the key of another account, nor of the old set of holders, nor what was signed for the old shares.
    let forged = world.activate(dealing, 0, &["s1", "w1"], &Account::new(1));
    rejected(world.say("s1", forged), Rule::Ceremony);
    let gone = world.activate(dealing, 0, &["s1", "s3"], &Account::new(0));
    rejected(world.say("s1", gone), Rule::Ceremony);
    let Body::Activate(mut old) = world.activate(ceremony, 0, &["s1", "s2"], &Account::new(0)) else {
        unreachable!()
    };
    old.ceremony = dealing;
    rejected(world.say("s1", Body::Activate(old)), Rule::Ceremony);
    world.prove(dealing, 0, &Account::new(0));
    for dealer in ["s1", "s2"] {
        let deal = body(&world, dealing, 1, dealer);
        world.say(dealer, Body::Deal(deal)).unwrap();
    }
    world.prove(dealing, 1, &Account::new(1));
    let late = world.activate(ceremony, 0, &["s1", "s2"], &Account::new(0));
    rejected(world.say("s1", late), Rule::Resharing);
}

// ---- P4.erased

/// A resharing that is complete, after which s3 has rotated its keys.
fn replaced() -> (World, Hash) {
    let (mut world, ceremony) = world();
    world.tick(1);
    let resharing = world.resharing(1, ceremony, ["s1", "s2"], &OTHER);
    let dealing = world.reshare(resharing, &[0, 1]);
    rotate(&mut world, "s3");
    (world, dealing)
}

fn rotate(world: &mut World, who: &str) {
    let mut newer = card(who, who.starts_with('s'), 2);
    newer.seal = public(&format!("{who}/seal/2"));
    world.adopt(Document::Cosigner(certify(newer)));
}

#[test]
fn allow_p4_erased() {
    let (mut world, dealing) = replaced();
    let erased = Body::Erased(Erased { dealing });
    // Also by one that holds no share any more, and by one that holds another.
    world.say("s3", erased.clone()).unwrap();
    rotate(&mut world, "s1");
    world.say("s1", erased).unwrap();
    assert_eq!(world.state.resharings().get(&dealing).unwrap().erased, ["s1", "s3"].map(name).into());
    assert!(world.state.document(Kind::Resharing, &used_ceremony(&world).to_string()).is_some());
}

fn used_ceremony(world: &World) -> Hash {
    world.state.wallet(&name("main")).unwrap().ceremony
}

#[test]
fn deny_p4_erased() {
    let (mut world, dealing) = replaced();
    let erased = Body::Erased(Erased { dealing });
    invalid(world.say("s3", Body::Erased(Erased { dealing: Hash([8; 32]) })), Rule::Reference);
    rejected(world.say("alice", erased.clone()), Rule::Resharing);
    // w1 held nothing before; s1 still has the key to which the ceremony sealed; s3 says it once.
    rotate(&mut world, "w1");
    rejected(world.say("w1", erased.clone()), Rule::Erased);
    rejected(world.say("s1", erased.clone()), Rule::Erased);
    world.say("s3", erased.clone()).unwrap();
    rejected(world.say("s3", erased), Rule::Erased);

    // While one account is not proved, and so all are signed for with the old shares.
    let (mut world, _, dealing) = offered(&OTHER);
    world.tick(1);
    rotate(&mut world, "s3");
    for dealer in ["s1", "s2"] {
        let deal = body(&world, dealing, 0, dealer);
        world.say(dealer, Body::Deal(deal)).unwrap();
    }
    world.prove(dealing, 0, &Account::new(0));
    rejected(world.say("s3", Body::Erased(Erased { dealing })), Rule::Erased);
}
