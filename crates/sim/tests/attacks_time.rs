//! Attacks that take more time than a test has: the production code of four co-signers in one process
//! under a simulated clock. The attacker is the relay, and in one test holds the keys of `s3`. What limits of
//! the policy hold against such attacks is in `attacks_limits.rs`.

use custody::document::Document;
use custody::genesis::Genesis;
use custody::rule_set::NEWEST;
use custody::state::Stage;
use custody::statement::{Approve, Body, Freeze, Revoke, Scope};
use custody::{Blob, Hash};
use fixtures::{destination, id, key, newest, person, policy_of, rule};
use signer::agreement::value_hash;
use signer::cosigner::{DELAY_TICK_S, FRESH_S, WAITING_LIMIT};
use signer::tendermint::Kind;
use sim::attacker::Hand;
use sim::deployment::{name, secrets};
use sim::relay::{Town, Weather};
use wire::message::ToCosigner;

/// A deployment whose documents wait `delay_s` seconds.
fn town(delay_s: u64) -> Town {
    Town::new(Genesis { policy: policy_of(NEWEST, &[rule()], delay_s), ..newest() }, false)
}

/// A payment that is authorised, and ends in so many seconds.
fn authorised(town: &mut Town, ends_in_s: u64) -> Hash {
    town.open();
    let request = town.asked("acme", 100_000, ends_in_s);
    let coin = town.coin(101_000);
    town.pay_from(request, coin, 1_000).unwrap()
}

fn everything() -> Body {
    Body::Freeze(Freeze { scope: Scope::Everything })
}

/// P17: reductions of one person that exclude each other must not stop the log for everybody.
#[test]
fn one_person_cannot_block_the_log_by_reductions_that_exclude_each_other() {
    let mut town = town(0);
    // No quorum is up while they come in, so that every co-signer holds both.
    for place in [1, 3] {
        town.cluster.kill(place, 1_000);
    }
    for _ in 0..2 {
        // Each of them is sound alone; after one of them the other has no key to be checked with.
        let revoke = town.write("dave", Body::Revoke(Revoke { key: id("dave") }));
        town.cluster.submit(revoke);
    }
    let freeze = town.write("alice", everything());
    town.cluster.submit(freeze.clone());
    town.cluster.run(500, |_| false);
    assert_eq!(town.settled(&freeze, 30_000).as_deref(), Some("applied"), "the log stands still");
}

/// P13: a server that hides a new document by stopping the log until its delay is over.
#[test]
fn no_delay_runs_out_while_the_log_is_stopped() {
    let delay_s = 2 * 3_600;
    let mut town = town(delay_s);
    let wait = |town: &Town, id: Hash| matches!(town.stage(id), Stage::Waiting(_));
    let hidden = town.adopt("dave", destination("thief"));
    assert!(wait(&town, hidden));
    let before = town.state().clock();
    town.cluster.weather = Weather::SILENT;
    town.cluster.run(3 * 3_600_000, |_| false);
    assert_eq!(town.state().clock(), before, "nothing is agreed on");
    // And it goes on: nobody has seen the proposal yet, and two hours are left in which one may.
    town.cluster.weather = Weather::CALM;
    town.cluster.run(2 * DELAY_TICK_S * 1_000, |_| false);
    let after = town.state().clock();
    assert!(after.time > before.time + 3 * 3_600, "the log's time has caught up");
    assert!(after.delay - before.delay <= 600 + 2 * DELAY_TICK_S, "the delay clock has not");
    assert!(wait(&town, hidden));
    let veto = Body::Veto(custody::statement::Veto { target: hidden });
    town.say("carol", veto);
    assert_eq!(town.stage(hidden), Stage::Vetoed(name("carol")));

    // The twin: with the log running the same delay runs out in its time.
    let open = town.adopt("dave", destination("supplier"));
    let began = town.cluster.now_s();
    assert!(town.cluster.run(3 * 3_600_000, |c| {
        let proposals = c.cosigner(0).unwrap().final_state().proposals();
        proposals.get(&open).unwrap().stage == Stage::Done
    }));
    let took = town.cluster.now_s() - began;
    assert!((delay_s..=delay_s + DELAY_TICK_S + 60).contains(&took), "{took} s");
    assert!(!town.state().waits_for_time());
}

/// P14: an authorisation kept fresh by withholding the log, and a freeze that is to run out so.
#[test]
fn no_share_leaves_under_an_old_head() {
    let mut town = town(0);
    let authorisation = authorised(&mut town, 600);
    town.sign(authorisation, ["s1", "s2"]);
    assert!(town.cluster.run(5_000, |c| c.signature().is_some()), "the twin");

    // The log stops. The co-signers' clocks go on; the letters of signing sessions would be brought.
    town.cluster.weather = Weather::SILENT;
    town.cluster.run((FRESH_S + 5) * 1_000, |_| false);
    town.cluster.weather = Weather::CALM;
    town.cluster.kill(2, u64::MAX / 4);
    town.cluster.kill(3, u64::MAX / 4);
    town.sign(authorisation, ["s1", "s2"]);
    town.cluster.run(20_000, |_| false);
    assert!(town.cluster.signature().is_none(), "two co-signers are no quorum for a fresh head");
    // The order waits for one; so many of them do, and not one more.
    assert!(town.cluster.refusals().is_empty());
    for _ in 0..WAITING_LIMIT {
        town.sign(authorisation, ["s1", "s2"]);
    }
    town.cluster.run(1_000, |_| false);
    assert_eq!(town.cluster.refusals(), ["P14.fresh", "P14.fresh"]);

    // Frozen meanwhile, directly: the fresh head that comes at last brings the freeze, or stops for it.
    let freeze = town.write("alice", everything());
    town.cluster.order("s1", &ToCosigner::Submit { envelope: Blob(freeze.bytes()) });
    town.cluster.run(1_000, |_| false);
    town.cluster.kill(2, 10);
    town.cluster.kill(3, 10);
    town.cluster.run(10_000, |_| false);
    assert!(town.cluster.signature().is_none());
    assert!(town.cluster.refusals().contains(&"P16.frozen"), "{:?}", town.cluster.refusals());
    assert!(town.state().freezes().get(&freeze.id()).is_some());

    // A year later it is still in force: a freeze has no end.
    town.cluster.run(365 * 24 * 3_600_000, |_| false);
    town.sign(authorisation, ["s1", "s2"]);
    town.cluster.run(10_000, |_| false);
    assert!(town.cluster.signature().is_none());
    assert!(town.state().freezes().get(&freeze.id()).is_some());
}

/// P14, P20: an authorisation that was kept back until its request had ended.
#[test]
fn an_authorisation_ends_with_its_request_whatever_the_log_says() {
    let mut town = town(0);
    let authorisation = authorised(&mut town, 30);
    // The head is fresh enough, and its time lies before the end; the signers' own clocks do not.
    town.cluster.run(35_000, |_| false);
    assert!(town.state().clock().time <= town.state().authorisations().get(&authorisation).unwrap().end);
    town.sign(authorisation, ["s1", "s2"]);
    town.cluster.run(2_000, |_| false);
    assert!(town.cluster.signature().is_none());
    assert_eq!(town.cluster.refusals(), ["P20.ended", "P20.ended"]);
}

/// P13, P14: clocks of signers that are set back. Nothing leaves under a head from what they take for the
/// future, no request lives longer by it, and the log's time does not go back.
#[test]
fn a_clock_that_is_set_back_releases_nothing() {
    let mut town = town(0);
    let authorisation = authorised(&mut town, 600);
    town.sign(authorisation, ["s1", "s2"]);
    assert!(town.cluster.run(5_000, |c| c.signature().is_some()), "the twin");
    let before = town.state().clock();
    town.cluster.now_ms -= 3_600_000;
    town.sign(authorisation, ["s1", "s2"]);
    town.cluster.run(60_000, |_| false);
    assert!(town.cluster.signature().is_none(), "an hour ahead is no more fresh than an hour old");
    assert!(town.state().clock().time >= before.time);
    // Set right again, after the request has ended by the log: the own clock shortens, and never lengthens.
    town.cluster.now_ms += 3_600_000 + 700_000;
    town.say("carol", Body::Request(town.world.request(&[("acme", 1_000)])));
    assert!(town.state().clock().time > town.state().authorisations().get(&authorisation).unwrap().end);
    town.cluster.now_ms -= 730_000;
    town.sign(authorisation, ["s1", "s2"]);
    town.cluster.run(2_000, |_| false);
    assert!(town.cluster.signature().is_none());
}

/// An approval that the server kept back until it had ended, brought by a hostile proposer in a batch that
/// repeats the time of the last Tick: the log's clock stands, that of the voters does not.
#[test]
fn a_hoarded_approval_does_not_count_because_the_log_was_idle() {
    let mut town = town(0);
    let hand = Hand::new("s3", secrets("s3"), town.cluster.deployment.genesis.hash());
    town.cluster.kill(2, u64::MAX / 4);
    town.near.remove(2);
    let attempt = |town: &mut Town, idle_s: u64, who: &str| {
        while hand.turn(town.state().clock().height + 1) != 0 {
            town.propose("carol", Document::Person(person("eve")));
        }
        let target = town.propose("carol", Document::Person(person(who)));
        while hand.turn(town.state().clock().height + 1) != 0 {
            town.propose("carol", Document::Person(person("eve")));
        }
        let decides = town.state().policy().unwrap().1;
        let words = |town: &mut Town, by: &str| {
            let mut words = town.world.statement(by, Body::Approve(Approve { target, decides }));
            words.not_after = Some(town.world.time + 5);
            words.sign(&key(by)).unwrap()
        };
        town.refresh();
        let approvals = ["alice", "bob"].map(|by| words(town, by));
        let height = town.state().clock().height + 1;
        let batch = town.world.batch(town.state().clock().time, &approvals);
        town.cluster.run(idle_s * 1_000, |_| false);
        let value = Some(value_hash(&batch.bytes()));
        for to in ["s1", "s2", "w1"] {
            let votes = [Kind::Prevote, Kind::Precommit].map(|kind| hand.vote(to, height, 0, kind, value));
            for letter in [hand.proposal(to, height, 0, &batch)].into_iter().chain(votes) {
                let bytes = Blob(letter.bytes);
                town.cluster.order(to, &ToCosigner::Peer { from: name("s3"), bytes });
            }
        }
        town.cluster.run(20_000, |c| c.cosigner(0).unwrap().final_head().0 >= height);
        town.stage(target)
    };
    assert_eq!(attempt(&mut town, 1, "frank"), Stage::Done, "the twin, in time");
    assert_eq!(attempt(&mut town, 3_600, "grace"), Stage::Open, "an hour too late");
}
