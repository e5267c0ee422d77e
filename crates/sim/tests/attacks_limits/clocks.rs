//! Time: a log that is stopped, batches of another time, payments kept back, clocks that are hours off.

use custody::Blob;
use custody::apply::DELAY_STEP_LIMIT_S;
use custody::statement::Body;
use fixtures::{DAY, destination};
use signer::agreement::value_hash;
use signer::cosigner::{DELAY_TICK_S, FRESH_S, TIMELY_S};
use signer::tendermint::Kind;
use sim::attacker::Hand;
use sim::deployment::{BEGIN_S, name, secrets};
use sim::relay::{Cluster, Town, Weather};
use wire::message::ToCosigner;

use crate::{
    COOL_DOWN_S, DELAY_S, FEE, LIMIT, OPEN_S, PAYMENT, SLACK_S, both, charged, pass, pass_until, pay, ready,
    refused,
};

/// The pair that signs where it does not matter which.
const PAIR: [&str; 2] = ["s1", "s2"];

/// P13: the log stands still for a day, so that nobody sees what was asked, and goes on.
#[test]
fn no_delay_and_no_cool_down_runs_out_while_the_log_is_stopped() {
    // While something waits the delay clock goes on, so the destination has cooled down.
    let (mut town, [_]) = ready(false, [PAYMENT]);
    let old = town.asked("acme", 100_000, 20 * DAY);
    town.adopt("dave", destination("thief"));
    let young = town.asked("thief", 100_000, 20 * DAY);
    let before = town.state().clock();
    town.cluster.weather = Weather::SILENT;
    pass(&mut town, DAY);
    assert_eq!(town.state().clock(), before, "nothing is agreed on");
    town.cluster.weather = Weather::CALM;
    pass(&mut town, 2 * DELAY_TICK_S);
    let after = town.state().clock();
    assert!(after.time > before.time + DAY, "the log's time has caught up");
    assert!(after.delay - before.delay <= DELAY_STEP_LIMIT_S + 2 * DELAY_TICK_S, "the delay clock has not");
    assert_eq!(pay(&mut town, old), refused("policy.delay"));
    assert_eq!(pay(&mut town, young), refused("policy.cool-down"));

    // The twins: each runs out in its time while the log goes on.
    pass(&mut town, DELAY_S);
    let old = pay(&mut town, old).unwrap();
    town.signed(old, PAIR).unwrap();
    assert_eq!(pay(&mut town, young), refused("policy.cool-down"));
    pass(&mut town, COOL_DOWN_S - DELAY_S);
    let young = pay(&mut town, young).unwrap();
    town.signed(young, PAIR).unwrap();
}

/// Lets `s3` lead the next height with a batch of its own, whose time is made of the last one and that of the
/// clocks, and vote for it. Says whether the others made it final. The process of `s3` does not run.
fn led(town: &mut Town, hand: &Hand, time: impl Fn(u64, u64) -> u64, body: Option<Body>) -> bool {
    let next_second = town.cluster.now_s() + 1;
    pass_until(town, next_second);
    let entries: Vec<_> = body.map(|body| town.write("server", body)).into_iter().collect();
    let clock = town.state().clock();
    let height = clock.height + 1;
    assert_eq!(hand.turn(height), 0);
    let batch = town.world.batch(time(clock.time, town.cluster.now_s()), &entries);
    let value = Some(value_hash(&batch.bytes()));
    for to in ["s1", "s2", "w1"] {
        let votes = [Kind::Prevote, Kind::Precommit].map(|kind| hand.vote(to, height, 0, kind, value));
        for letter in [hand.proposal(to, height, 0, &batch)].into_iter().chain(votes) {
            let bytes = Blob(letter.bytes);
            town.cluster.order(to, &ToCosigner::Peer { from: name("s3"), bytes });
        }
    }
    let batches = |c: &Cluster| c.record.batches.get(&height).cloned();
    assert!(town.cluster.run(60_000, |c| batches(c).is_some()), "nobody decides anything");
    town.refresh();
    batches(&town.cluster).is_some_and(|b| b.0 == batch.bytes())
}

/// The keys of `s3`, whose process runs no more.
fn stolen(town: &mut Town) -> Hand {
    town.cluster.kill(2, u64::MAX / 4);
    town.near.remove(2);
    hand(town)
}

fn hand(town: &Town) -> Hand {
    Hand::new("s3", secrets("s3"), town.cluster.deployment.genesis.hash())
}

/// Moves the log to a height before one that `s3` leads.
fn turn(town: &mut Town, hand: &Hand) {
    town.tick();
    while hand.turn(town.state().clock().height + 1) != 0 {
        pass(town, 1);
        town.tick();
    }
}

/// P5, P9: batches of other times, by whoever has the keys of one co-signer.
#[test]
fn a_batch_of_another_time_gets_no_vote() {
    type Time = fn(u64, u64) -> u64;
    let cases: [(&str, Time, bool); 7] = [
        ("before the last one", |last, _| last - 1, false),
        ("the last one again", |last, _| last, false),
        ("just after the last one", |last, _| last + 1, false),
        ("long ago by a second", |_, now| now - TIMELY_S - 1, false),
        ("a moment ago", |_, now| now - TIMELY_S, true),
        ("early", |_, now| now + TIMELY_S, true),
        ("early by a second", |_, now| now + TIMELY_S + 1, false),
    ];
    let (mut town, []) = ready(false, []);
    let hand = stolen(&mut town);
    for (what, time, voted) in cases {
        turn(&mut town, &hand);
        pass(&mut town, 1_200);
        assert_eq!(led(&mut town, &hand, time, None), voted, "{what}");
    }
}

/// P9, P24: nothing happened for a day, and then a payment comes in a batch that repeats the time of the last one.
/// Charged to yesterday it would be out of the window in ten minutes, and the next one would leave beside it.
#[test]
fn no_payment_is_charged_to_a_day_that_is_over() {
    let (mut town, [first, second]) = ready(false, [PAYMENT; 2]);
    let hand = stolen(&mut town);
    turn(&mut town, &hand);
    pass(&mut town, DAY - 600);
    let coin = town.coin(LIMIT * 2);
    let draft = town.draft(first, coin, FEE);
    let ask = Body::Authorise(town.world.authorise(&[first], &draft));
    assert!(!led(&mut town, &hand, |last, _| last, Some(ask)), "a payment of yesterday");
    let one = pay(&mut town, first).unwrap();
    town.signed(one, PAIR).unwrap();
    pass(&mut town, 1_200);
    town.tick();
    assert_eq!(pay(&mut town, second), refused("policy.velocity"));
    assert_eq!(town.left(), [one].into());
}

/// P14: authorised while it is open, under a head that is still fresh when it closes.
#[test]
fn no_share_leaves_after_hours() {
    let (mut town, [first]) = ready(false, [PAYMENT]);
    let closes = BEGIN_S + OPEN_S;
    pass_until(&mut town, closes - 20);
    town.tick();
    let payment = pay(&mut town, first).unwrap();
    town.signed(payment, PAIR).unwrap();

    // A session whose commitments the server keeps until it is closed.
    pass_until(&mut town, closes - 2);
    town.cluster.frames = Some(0);
    town.sign(payment, ["s1", "s3"]);
    pass_until(&mut town, closes);
    let head = town.state().clock().time;
    assert!(head < closes && head + FRESH_S > closes, "the head is fresh, and of an open time");
    let mark = town.cluster.record.releases.len();
    town.cluster.let_frames_go();
    pass(&mut town, 1);
    assert!(town.cluster.refusals().contains(&"policy.hours"), "{:?}", town.cluster.refusals());
    assert_eq!(town.signed(payment, PAIR), both("policy.hours"));
    assert_eq!(town.cluster.record.releases.len(), mark);

    // The twin: when it opens again.
    pass_until(&mut town, BEGIN_S + DAY - 1);
    assert_eq!(town.signed(payment, PAIR), both("policy.hours"));
    pass_until(&mut town, BEGIN_S + DAY);
    town.signed(payment, PAIR).unwrap();
}

/// P24: limits are looked at again when a share would leave, so what was authorised and kept back does not leave
/// beside what was charged since. It does once that is out of the window, until its request ends.
#[test]
fn what_is_kept_back_is_judged_again_when_it_would_leave() {
    let (mut town, [first, second]) = ready(false, [PAYMENT; 2]);
    let kept = pay(&mut town, first).unwrap();
    pass(&mut town, DAY);
    town.tick();
    let today = pay(&mut town, second).unwrap();
    assert_eq!(town.signed(kept, PAIR), both("policy.velocity"));
    town.signed(today, PAIR).unwrap();
    pass(&mut town, DAY - SLACK_S);
    assert_eq!(town.signed(kept, PAIR), both("policy.velocity"));
    assert_eq!(town.left(), [today].into());
    pass(&mut town, SLACK_S);
    town.signed(kept, PAIR).unwrap();
    pass(&mut town, 18 * DAY);
    assert_eq!(town.signed(kept, PAIR), both("P20.ended"));
}

/// What waits for an hour, or for room in a window, leaves also in a log that stood still meanwhile: whoever takes a
/// statement in judges it at the time that its batch would have.
#[test]
fn what_waits_for_an_hour_leaves_in_an_idle_log() {
    let (mut town, [first]) = ready(false, [PAYMENT]);
    pass_until(&mut town, BEGIN_S + OPEN_S + SLACK_S);
    town.tick();
    assert_eq!(pay(&mut town, first), refused("policy.hours"));
    let stood = town.state().clock().height;
    pass_until(&mut town, BEGIN_S + DAY + SLACK_S);
    assert_eq!(town.state().clock().height, stood, "nothing moved the log");
    let payment = pay(&mut town, first).unwrap();
    town.signed(payment, PAIR).unwrap();
}

/// The clock of one signer is hours off, and it goes on proposing, voting and signing: edges of windows and
/// hours move by no more than the slack of the others' votes.
#[test]
fn one_clock_that_is_hours_off_moves_no_edge() {
    for ahead_s in [3 * 3_600, -3 * 3_600] {
        let (mut town, [first, second, third]) = ready(false, [PAYMENT; 3]);
        town.cluster.set_ahead(2, ahead_s);
        let one = pay(&mut town, first).unwrap();
        let charged_at = town.state().clock().time;
        town.signed(one, PAIR).unwrap();
        let edge = charged_at + DAY;
        // What it would say first in an idle log is its own time, or the one of yesterday.
        let s3 = hand(&town);
        turn(&mut town, &s3);
        pass_until(&mut town, edge - SLACK_S - 10);
        every_turn(&mut town, |town| assert_eq!(pay(town, second), refused("policy.velocity")));
        pass_until(&mut town, edge + SLACK_S);
        town.tick();
        let two = pay(&mut town, second).unwrap();
        town.signed(two, PAIR).unwrap();

        pass_until(&mut town, edge + DAY);
        let closes = BEGIN_S + 2 * DAY + OPEN_S;
        pass_until(&mut town, closes + SLACK_S);
        every_turn(&mut town, |town| assert_eq!(pay(town, third), refused("policy.hours")));
        let opens = BEGIN_S + 3 * DAY;
        pass_until(&mut town, opens - SLACK_S - 10);
        every_turn(&mut town, |town| assert_eq!(pay(town, third), refused("policy.hours")));
        pass_until(&mut town, opens + SLACK_S);
        town.tick();
        let three = pay(&mut town, third).unwrap();
        town.signed(three, PAIR).unwrap();
        assert_eq!(charged(&town).0, 3);
    }
}

/// Lets each of the co-signers lead a height, and looks at what is allowed after it. The time of the log keeps to
/// the clocks of the others.
fn every_turn(town: &mut Town, look: impl Fn(&mut Town)) {
    for _ in 0..4 {
        town.tick();
        let (log, now) = (town.state().clock().time, town.cluster.now_s());
        assert!(log.abs_diff(now) <= SLACK_S, "the log says {log}, and it is {now}");
        look(town);
    }
}
