//! Co-signers join and leave while the deployment goes on (P30): production code under a relay that delays, loses,
//! cuts and kills.

use std::collections::BTreeMap;

use custody::Hash;
use custody::cosigner_set::CosignerSet;
use custody::document::Document;
use custody::genesis::Genesis;
use custody::resharing::Resharing;
use custody::statement::{Body, Freeze, Propose, Scope};
use fixtures::newest;
use signer::cosigner::{Cosigner, Disk, OUTSIDER_PAUSE_S};
use sim::deployment::{Deployment, card, name, secrets, vault};
use sim::relay::{Cluster, Town, Weather};
use wire::message::{FromCosigner, ReceiptState, ToCosigner};

/// How long a set may take to take over when nobody hinders it, in simulated milliseconds.
const SOON_MS: u64 = 20_000;

/// How long anything may take in foul weather.
const LATE_MS: u64 = 600_000;

fn set_of(members: &[&str], joining: &[&str]) -> Document {
    let members = members.iter().map(|member| name(member)).collect();
    Document::CosignerSet(CosignerSet { members, joining: joining.iter().map(|who| card(who)).collect() })
}

fn town() -> Town {
    Town::new(newest(), false)
}

/// Proposes and approves the next version of a document, by those that are near.
fn adopt(town: &mut Town, document: Document) -> Hash {
    let replaces = town.state().document(document.kind(), &document.subject()).map(|found| found.hash);
    let target = town.say("carol", Body::Propose(Propose { document, replaces }));
    town.approve("alice", target);
    town.approve("bob", target);
    target
}

/// The newest final head, as people carry it to a new host.
fn head(town: &Town) -> String {
    town.cluster.cosigner(town.near[0]).expect("a process that runs").final_head().1.to_owned()
}

fn height(cluster: &Cluster, place: usize) -> u64 {
    cluster.cosigner(place).map_or(0, |cosigner| cosigner.final_head().0)
}

fn votes(cluster: &Cluster, place: usize) -> bool {
    cluster.cosigner(place).is_some_and(|c| c.is_member() && c.may_release())
}

/// Has s4 join the four, on a host of its own. Returns its place.
fn with_s4(town: &mut Town) -> usize {
    adopt(town, set_of(&["s1", "s2", "s3", "w1", "s4"], &["s4"]));
    let place = town.cluster.join("s4", &[head(town)]);
    let voting = |c: &Cluster| (0..=place).all(|p| votes(c, p));
    assert!(town.cluster.run(SOON_MS, voting), "five do not vote");
    town.near = (0..=place).collect();
    place
}

/// What each process that runs holds for the log: all of them one history.
fn assert_one_history(cluster: &Cluster) {
    let mut batches: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for place in 0..cluster.len() {
        let records = cluster.disk(place).log;
        let of = |record: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(record).unwrap();
        let own = records.iter().map(of).filter_map(|record| record.get("batch").cloned());
        for (height, batch) in own.enumerate() {
            let batch = serde_json::to_vec(&batch).unwrap();
            assert_eq!(*batches.entry(height).or_insert_with(|| batch.clone()), batch, "{place} at {height}");
        }
    }
}

/// The document that has the one ceremony's accounts dealt anew.
fn resharing(town: &Town, nonce: u8, holders: &[&str]) -> Document {
    let ceremony = town.state().wallet(&name("main")).expect("a wallet").ceremony;
    let dealers = ["s1", "s2"].map(name).to_vec();
    let holders = holders.iter().map(|holder| name(holder)).collect();
    Document::Resharing(Resharing { nonce: Hash([nonce; 32]), ceremony, dealers, holders })
}

fn reshare(town: &mut Town, nonce: u8, holders: &[&str]) {
    let document = resharing(town, nonce, holders);
    let Document::Resharing(asked) = &document else { unreachable!() };
    let dealing = asked.id(&town.state().genesis_hash());
    let near = town.near.clone();
    adopt(town, document);
    let proved = |c: &Cluster, dealing: &Hash| {
        let state = c.cosigner(near[0]).expect("it runs").final_state();
        state.slots().get(&(*dealing, 0)).map(|slot| (slot.holders.clone(), slot.proved.clone()))
    };
    assert!(town.cluster.run(SOON_MS, |c| proved(c, &dealing).is_some()), "nothing was dealt");
    for attempt in 0..20 {
        for (i, one) in holders.iter().enumerate() {
            for other in &holders[i + 1..] {
                let mut pair = [name(one), name(other)].to_vec();
                pair.sort();
                for who in &pair {
                    let message =
                        ToCosigner::Prove { ceremony: dealing, slot: 0, holders: pair.clone(), attempt };
                    town.cluster.order(who.as_str(), &message);
                }
                town.cluster.run(300, |_| false);
            }
        }
        let done = |c: &Cluster| c.cosigner(near[0]).is_some_and(|c| c.final_state().is_reshared(&dealing));
        if town.cluster.run(1_000, done) {
            return;
        }
    }
    panic!("not every pair proved");
}

fn pays(town: &mut Town, pair: [&str; 2]) {
    let coin = town.coin(500_000);
    let request = town.asked("acme", 100_000, 3_600);
    let authorisation = town.pay_from(request, coin, 1_000).expect("an authorisation");
    let signed = town.signed(authorisation, pair);
    assert!(signed.is_ok(), "{pair:?}: {signed:?}");
}

#[test]
fn a_signer_joins_gets_shares_and_another_leaves() {
    let mut town = town();
    town.open();
    pays(&mut town, ["s1", "s3"]);
    let place = with_s4(&mut town);
    pays(&mut town, ["s1", "s3"]);
    // It gets shares of the same key by resharing, the one that is to go loses them.
    reshare(&mut town, 1, &["s1", "s2", "s4"]);
    pays(&mut town, ["s1", "s4"]);
    pays(&mut town, ["s2", "s4"]);
    adopt(&mut town, set_of(&["s1", "s2", "w1", "s4"], &[]));
    town.near = vec![0, 1, 3, place];
    pays(&mut town, ["s2", "s4"]);
    // The one that left has no place, votes on nothing and is asked for nothing; without it three of four go on.
    let gone = town.cluster.cosigner(2).expect("it still runs");
    assert!(!gone.is_member() && !gone.may_release());
    town.cluster.kill(2, u64::MAX / 2);
    town.cluster.kill(0, u64::MAX / 2);
    town.near = vec![1, 3, place];
    pays(&mut town, ["s2", "s4"]);
    assert_one_history(&town.cluster);
}

/// A lost host: its shares go to the witness, another co-signer takes its place, and gets the shares.
#[test]
fn a_lost_signer_is_replaced_without_a_ceremony() {
    let mut town = town();
    town.open();
    town.cluster.kill(2, u64::MAX / 2);
    town.near = vec![0, 1, 3];
    reshare(&mut town, 1, &["s1", "s2", "w1"]);
    adopt(&mut town, set_of(&["s1", "s2", "w1", "s4"], &["s4"]));
    let place = town.cluster.join("s4", &[head(&town)]);
    assert!(town.cluster.run(SOON_MS, |c| votes(c, place)), "s4 does not vote");
    town.near = vec![0, 1, 3, place];
    reshare(&mut town, 2, &["s1", "s2", "s4"]);
    // Now any one of the four may be lost again.
    town.cluster.kill(0, u64::MAX / 2);
    town.near = vec![1, 3, place];
    pays(&mut town, ["s2", "s4"]);
    assert_one_history(&town.cluster);
}

/// Whoever was cut off while the set changed understands nobody afterwards, but final heads: it comes back by them,
/// also when nothing else happens.
#[test]
fn who_missed_the_change_comes_back() {
    let mut town = town();
    town.cluster.seat_on_side(1, true);
    town.cluster.weather = Weather { cut: true, ..Weather::CALM };
    town.near = vec![0, 2, 3];
    adopt(&mut town, set_of(&["w1", "s1", "s2", "s3"], &[]));
    let behind = height(&town.cluster, 1);
    assert!(behind < height(&town.cluster, 0));
    // It has begun a height alone, in the old set.
    let freeze = Body::Freeze(Freeze { scope: Scope::Person(name("dave")) });
    let letter = town.write("dave", freeze);
    town.cluster.tell(1, &ToCosigner::Submit { envelope: custody::Blob(letter.bytes()) });
    town.cluster.run(5_000, |_| false);
    assert_eq!(height(&town.cluster, 1), behind);
    town.cluster.weather = Weather::CALM;
    let back = |c: &Cluster| height(c, 1) >= height(c, 0) && votes(c, 1);
    assert!(town.cluster.run(SOON_MS, back), "it does not come back");
    // And it is needed: with it and two others the log goes on.
    town.cluster.kill(2, u64::MAX / 2);
    town.near = vec![0, 1, 3];
    town.tick();
    assert_one_history(&town.cluster);
}

/// An old disk from before the change is noticed, told or not: nothing is voted twice.
#[test]
fn a_disk_from_before_the_change_is_put_back() {
    for told in [false, true] {
        let mut town = town();
        let old = town.cluster.disk(1);
        with_s4(&mut town);
        town.tick();
        town.cluster.restore(1, old, told);
        assert!(town.cluster.run(SOON_MS, |c| votes(c, 1) && height(c, 1) >= height(c, 0)), "told: {told}");
        town.tick();
        for place in 0..5 {
            let cosigner = town.cluster.cosigner(place).expect("it runs");
            assert!(cosigner.evidence().is_empty(), "told: {told}");
        }
        assert_one_history(&town.cluster);
    }
}

/// Three of four decide, one is down and another leaves: its co-signature is the third under the head with which it goes.
#[test]
fn who_leaves_co_signs_the_last_head() {
    let mut town = town();
    town.cluster.kill(2, LATE_MS);
    town.near = vec![0, 1, 3];
    let document = set_of(&["s1", "s2", "s3", "s4"], &["s4"]);
    let target = town.say("carol", Body::Propose(Propose { document, replaces: None }));
    town.approve("alice", target);
    let decides = town.state().policy().expect("a policy").1;
    let last = town.write("bob", Body::Approve(custody::statement::Approve { target, decides }));
    town.tell(&last);
    let over = |c: &Cluster| {
        [0, 1].into_iter().all(|p| c.cosigner(p).expect("it runs").final_state().set_since() > 0)
    };
    assert!(town.cluster.run(10_000, over), "the head with which w1 leaves is not final");
    town.near = vec![0, 1];
    let place = town.cluster.join("s4", &[head(&town)]);
    let four = |c: &Cluster| [0, 1, 2, place].into_iter().all(|p| votes(c, p));
    assert!(town.cluster.run(2 * LATE_MS, four), "the four do not vote");
    assert!(!town.cluster.cosigner(3).expect("it runs").is_member());
    town.near = vec![0, 1, 2, place];
    town.tick();
    assert_one_history(&town.cluster);
}

/// Whoever was told that its disk is old waits for two more final heights, also if the set changes meanwhile, and if it is
/// killed right after that.
#[test]
fn a_disk_that_is_old_stays_so_in_the_next_set() {
    for killed in [false, true] {
        let mut town = town();
        let old = town.cluster.disk(1);
        town.tick();
        town.cluster.seat_on_side(1, true);
        town.cluster.weather = Weather { cut: true, ..Weather::CALM };
        town.near = vec![0, 2, 3];
        town.cluster.restore(1, old, true);
        adopt(&mut town, set_of(&["w1", "s1", "s2", "s3"], &[]));
        town.tick();
        let there = height(&town.cluster, 0);
        let written = town.cluster.disk(1).agreement;
        town.cluster.weather = Weather::CALM;
        let seated =
            |c: &Cluster| c.cosigner(1).is_some_and(|c| c.final_state().set_since() > 0 && !c.may_release());
        assert!(town.cluster.run(SOON_MS, seated), "it does not sit down before it votes");
        if killed {
            // Between the write of the head that brings the set, and the first one of the agreement in it.
            let disk = Disk { agreement: written, ..town.cluster.disk(1) };
            town.cluster.restore(1, disk, false);
            assert!(town.cluster.run(1_000, |c| c.cosigner(1).is_some()));
        }
        assert!(town.cluster.run(SOON_MS, |c| votes(c, 1)), "it does not come back");
        let now = height(&town.cluster, 1);
        assert!(now >= there + 2, "killed: {killed}: it votes at {now}, the others were at {there}");
    }
}

/// The server brings everybody a final head with lines of strangers: nobody keeps those, so the next batch shows it.
#[test]
fn a_padded_head_stops_nobody() {
    let mut town = town();
    let document = set_of(&["w1", "s1", "s2", "s3"], &[]);
    let target = town.say("carol", Body::Propose(Propose { document, replaces: None }));
    town.approve("alice", target);
    let decides = town.state().policy().expect("a policy").1;
    let last = town.write("bob", Body::Approve(custody::statement::Approve { target, decides }));
    // No co-signature passes, so that nobody makes the head final by itself.
    town.cluster.weather = Weather { withhold_heads: true, ..Weather::CALM };
    town.tell(&last);
    let decided =
        |c: &Cluster| (0..4).all(|p| c.cosigner(p).expect("it runs").decided_height() > height(c, p));
    assert!(town.cluster.run(SOON_MS, decided), "nobody decides");
    let batch = {
        let records = town.cluster.disk(0).log;
        let last: serde_json::Value = serde_json::from_slice(records.last().expect("a record")).unwrap();
        serde_json::from_value::<custody::Blob>(last["batch"].clone()).expect("the decided batch")
    };
    let mut after = town.state().clone();
    after.apply(&custody::batch::Batch::parse(&batch.0).unwrap(), &town.world.decoder).unwrap();
    let body = after.checkpoint().encode().unwrap();
    let line = |who: &str| {
        custody::checkpoint::cosign(&body, who, secrets(who).cosign_signing_key(), after.clock().time)
    };
    let lines = ["s1", "s2", "w1"].map(line).to_vec();
    let note = custody::checkpoint::SignedNote { body: body.clone(), lines }.to_string();
    let note = format!("{note}— stranger {}\n", "A".repeat(100_000));
    let at = after.clock().height;
    let piece = serde_json::json!({ "log": { "from": at, "batches": [batch], "height": at, "note": note } });
    let bytes = custody::Blob(serde_json::to_vec(&piece).unwrap());
    for who in ["s1", "s2", "s3", "w1"] {
        let from = name(if who == "s1" { "s2" } else { "s1" });
        town.cluster.order(who, &ToCosigner::Peer { from, bytes: bytes.clone() });
    }
    assert!(
        town.cluster.run(SOON_MS, |c| (0..4).all(|p| height(c, p) == at)),
        "it is final, padded as it is"
    );
    town.cluster.weather = Weather::CALM;
    town.tick();
    for place in 0..4 {
        let records = town.cluster.disk(place).log;
        assert!(records.iter().all(|record| record.len() < 50_000), "the padding is on the disk of {place}");
    }
}

/// While one joins for the first time another one may be lost: its first start asks like any other (P12).
#[test]
fn one_that_joins_for_the_first_time_helps_at_once() {
    for first_start in [true, false] {
        let mut town = town();
        town.open();
        reshare(&mut town, 1, &["s1", "s2", "w1"]);
        adopt(&mut town, set_of(&["s1", "s2", "w1", "s4"], &["s4"]));
        town.cluster.kill(3, u64::MAX / 2);
        town.near = vec![0, 1];
        let place = town.cluster.join("s4", &[head(&town)]);
        town.cluster.says_first_start(place, first_start);
        let three = |c: &Cluster| [0, 1, place].into_iter().all(|p| votes(c, p));
        assert_eq!(town.cluster.run(SOON_MS, three), first_start);
    }
}

/// What one that left, or is to join, holds stops nothing: it does not say that it does (P16, P18).
#[test]
fn only_who_votes_acknowledges_a_freeze() {
    let mut town = town();
    let place = with_s4(&mut town);
    adopt(&mut town, set_of(&["s1", "s2", "s3", "s4"], &[]));
    town.near = vec![0, 1, 2, place];
    let left = |c: &Cluster| !c.cosigner(3).expect("it runs").is_member();
    assert!(town.cluster.run(SOON_MS, left));
    let outsider = town.cluster.join("s5", &[head(&town)]);
    town.cluster.run(1_000, |_| false);
    let freeze = town.write("dave", Body::Freeze(Freeze { scope: Scope::Everything }));
    town.cluster.said.clear();
    for at in [0, 3, outsider] {
        town.cluster.tell(at, &ToCosigner::Submit { envelope: custody::Blob(freeze.bytes()) });
    }
    town.cluster.run(1_000, |_| false);
    let said = |at: usize| {
        town.cluster.said.iter().find_map(|(place, message)| match message {
            FromCosigner::Receipt { id, state } if *place == at && *id == freeze.id() => Some(state.clone()),
            _ => None,
        })
    };
    assert_eq!(said(0), Some(ReceiptState::Held));
    for at in [3, outsider] {
        assert!(matches!(said(at), Some(ReceiptState::Refused { .. })), "{at}: {:?}", said(at));
    }
}

/// When all of genesis have gone, somebody new still gets the log, from names that genesis does not know.
#[test]
fn somebody_joins_when_all_of_genesis_have_gone() {
    let mut town = town();
    let mut members = vec!["s1", "s2", "s3", "w1"];
    let mut places = vec![0, 1, 2, 3];
    for new in ["s4", "s5", "s6", "s7", "s8"] {
        let gone = members.remove(0);
        members.push(new);
        adopt(&mut town, set_of(&members, &[new]));
        let place = town.cluster.join(new, &[head(&town)]);
        places.push(place);
        let four = places[1..].to_vec();
        town.near = four.clone();
        assert!(town.cluster.run(SOON_MS, |c| four.iter().all(|p| votes(c, *p))), "{new} for {gone}");
        town.cluster.kill(places.remove(0), u64::MAX / 2);
        town.tick();
    }
    // One of those loses its disk, and comes back from a head.
    let lost = places[1];
    town.near = vec![places[0], places[2], places[3]];
    let disk = Disk { pins: vec![head(&town)], ..Disk::default() };
    town.cluster.restore(lost, disk, false);
    assert!(town.cluster.run(SOON_MS, |c| votes(c, lost)), "its disk stays empty");
    assert_one_history(&town.cluster);
}

/// Who left gets the log, and not as often as it asks: what waits for a link of the server is bounded.
#[test]
fn who_left_gets_the_log_now_and_then() {
    let mut town = town();
    adopt(&mut town, set_of(&["s1", "s2", "s3", "s4"], &["s4"]));
    town.tick();
    let pieces = |town: &mut Town, from: &str, asks: usize| {
        town.cluster.peers = Some(Vec::new());
        for _ in 0..asks {
            let bytes =
                custody::Blob(serde_json::to_vec(&serde_json::json!({ "behind": { "from": 1 } })).unwrap());
            town.cluster.tell(0, &ToCosigner::Peer { from: name(from), bytes });
        }
        town.cluster.run(1_000, |_| false);
        town.cluster
            .peers
            .iter()
            .flatten()
            .filter(|(place, bytes)| *place == 0 && bytes.starts_with(b"{\"log\""))
            .count()
    };
    // It was given what it needed to learn that it left.
    town.cluster.run(1_000 * (OUTSIDER_PAUSE_S + 1), |_| false);
    assert_eq!(pieces(&mut town, "w1", 1_000), 1);
    assert_eq!(pieces(&mut town, "s2", 20), 20, "who votes is answered");
    town.cluster.run(1_000 * (OUTSIDER_PAUSE_S - 4), |_| false);
    assert_eq!(pieces(&mut town, "w1", 5), 0);
    town.cluster.run(3_000, |_| false);
    assert_eq!(pieces(&mut town, "w1", 5), 1);
}

/// Who left, and was cut off before, still learns of it, and keeps no share that is out of use.
#[test]
fn who_left_without_knowing_erases_what_it_had() {
    let mut town = town();
    town.open();
    let shares = |c: &Cluster| c.disk(2).shares.iter().filter(|(file, _)| file.ends_with(".share")).count();
    assert_eq!(shares(&town.cluster), 1);
    town.cluster.seat_on_side(2, true);
    town.cluster.weather = Weather { cut: true, ..Weather::CALM };
    town.near = vec![0, 1, 3];
    reshare(&mut town, 1, &["s1", "s2", "w1"]);
    adopt(&mut town, set_of(&["s1", "s2", "w1", "s4"], &["s4"]));
    town.cluster.weather = Weather::CALM;
    // Its link comes up again.
    town.cluster.kill(2, 10);
    assert!(town.cluster.run(SOON_MS, |c| c.cosigner(2).is_some_and(|c| !c.is_member())));
    assert!(town.cluster.run(SOON_MS, |c| shares(c) == 0), "it keeps what is out of use");
}

/// Processes are killed between any two effects, and messages are lost, late and doubled, while one joins and another
/// one leaves.
#[test]
fn a_set_takes_over_in_foul_weather() {
    for seed in 0..12 {
        let mut town = Town::new(Genesis { nonce: Hash([seed; 32]), ..newest() }, false);
        adopt(&mut town, set_of(&["s1", "s2", "s3", "w1", "s4"], &["s4"]));
        let place = town.cluster.join("s4", &[head(&town)]);
        town.cluster.weather = Weather { delay_ms: 400, loss: 50, repeat: 50, kill: 400, ..Weather::CALM };
        let five = |c: &Cluster| (0..5).filter(|p| votes(c, *p)).count() >= 4;
        assert!(town.cluster.run(LATE_MS, five), "seed {seed}: five do not vote");
        town.cluster.weather = Weather::CALM;
        assert!(town.cluster.run(LATE_MS, |c| (0..5).all(|p| votes(c, p))), "seed {seed}");
        town.near = (0..5).collect();
        town.refresh();
        // w1 leaves in the storm.
        let document = set_of(&["s4", "s3", "s2", "s1"], &[]);
        let replaces = town.state().document(document.kind(), "").map(|found| found.hash);
        let target = town.say("carol", Body::Propose(Propose { document, replaces }));
        town.approve("alice", target);
        town.cluster.weather = Weather { delay_ms: 400, loss: 50, repeat: 50, kill: 400, ..Weather::CALM };
        let decides = town.state().policy().expect("a policy").1;
        let last = town.write("bob", Body::Approve(custody::statement::Approve { target, decides }));
        town.cluster.submit(last);
        let four = |c: &Cluster| {
            let now = |p: usize| c.cosigner(p).is_some_and(|c| c.final_state().cosigners().len() == 4);
            [0, 1, 2, place].into_iter().all(|p| now(p) && votes(c, p))
        };
        assert!(town.cluster.run(LATE_MS, four), "seed {seed}: four do not vote");
        town.cluster.weather = Weather::CALM;
        town.near = vec![0, 1, 2, place];
        town.cluster.run(SOON_MS, |c| [0, 1, 2, place].into_iter().all(|p| votes(c, p)));
        town.tick();
        assert_one_history(&town.cluster);
        assert!(town.cluster.kills > 10, "seed {seed}: {} kills", town.cluster.kills);
    }
}

/// Votes of one set mean nothing in another, whatever number their member has in both.
#[test]
fn what_the_old_set_signed_is_not_heard_in_the_new_one() {
    let mut town = town();
    // The same four in the same order but one, so that most numbers stay what they are.
    adopt(&mut town, set_of(&["s1", "s2", "w1", "s3"], &[]));
    town.tick();
    let before = height(&town.cluster, 0);
    let state = town.state().clone();
    let value = Hash([9; 32]);
    for who in ["s1", "s2"] {
        let hand = sim::attacker::Hand::new(who, secrets(who), state.genesis_hash());
        for kind in [signer::tendermint::Kind::Prevote, signer::tendermint::Kind::Precommit] {
            for value in [Some(value), None] {
                let letter = hand.vote("s3", before + 1, 0, kind, value);
                let message =
                    ToCosigner::Peer { from: name(who), bytes: custody::Blob(letter.bytes.clone()) };
                town.cluster.order("s3", &message);
            }
        }
    }
    town.cluster.run(1_000, |_| false);
    let place = town.cluster.cosigner(2).expect("it runs");
    assert!(place.evidence().is_empty(), "votes that contradict each other were heard");
    town.tick();
}

#[test]
fn a_new_co_signer_needs_a_head_that_people_entered() {
    let genesis = Deployment::default().genesis;
    let open = |who: &str, pins: &[String]| {
        let disk = Disk { pins: pins.to_vec(), ..Disk::default() };
        Cosigner::open(genesis.clone(), name(who), secrets(who), vault(), &disk)
    };
    let refused = open("s4", &[]).unwrap_err().to_string();
    assert!(refused.contains("--pinned-head"), "{refused}");
    open("s3", &[]).unwrap();
    let mut town = town();
    town.tick();
    // With one it takes no part as long as nobody lets it join, and nobody tells it anything.
    let place = town.cluster.join("s4", &[head(&town)]);
    town.tick();
    let outsider = town.cluster.cosigner(place).expect("it runs");
    assert!(!outsider.is_member() && !outsider.may_release());
    adopt(&mut town, set_of(&["s1", "s2", "s3", "w1", "s4"], &["s4"]));
    assert!(town.cluster.run(SOON_MS, |c| votes(c, place)), "it does not join");
}
