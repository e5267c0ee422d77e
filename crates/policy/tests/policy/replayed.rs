//! Logs replayed under drafts.

use custody::Hash;
use custody::effects::Sats;
use custody::genesis::Genesis;
use custody::payment::Request;
use custody::policy::{Per, Policy, PolicyRule, Velocity};
use custody::rule_set::NEWEST;
use fixtures::{DAY, World, newest, path, policy_of, rule};
use policy::replay::{Fate, ReplayError, Replayed, replay};

/// What a log pays, and what it leaves.
struct Past {
    world: World,
    small: Hash,
    large: Hash,
    wanting: Hash,
    open: Hash,
    /// The time before the large one.
    middle: u64,
}

fn genesis() -> Genesis {
    newest()
}

/// 100,000 sat, a day later 400,000, one by alice alone that ended, and one that is open.
fn past() -> Past {
    let mut world = World::open(genesis());
    let pay = |world: &mut World, amount| {
        let coin = world.coin(1_000_000);
        let request = world.asked(world.request(&[("acme", amount)]));
        let draft = world.draft(&[request], &[coin], 1_000);
        world.pay(&[request], &draft).unwrap();
        request
    };
    let small = pay(&mut world, 100_000);
    world.tick(DAY);
    let middle = world.time;
    world.tick(10);
    let large = pay(&mut world, 400_000);
    let end = world.time + 600;
    let wanting = world.asked_as("carol", Request { end, ..world.request(&[("acme", 50_000)]) }, &["alice"]);
    world.tick(601);
    let open = world.asked_as("carol", world.request(&[("acme", 60_000)]), &["alice", "bob"]);
    Past { world, small, large, wanting, open, middle }
}

fn under(past: &Past, since: u64, change: impl FnOnce(&mut PolicyRule)) -> Replayed {
    let mut rule = rule();
    change(&mut rule);
    let batches = past.world.log.iter().map(|(batch, _)| batch.clone());
    let draft = policy_of(NEWEST, &[rule], 0);
    replay(genesis(), batches, &past.world.decoder, &draft, since).unwrap()
}

fn otherwise(replayed: &Replayed) -> Vec<(Hash, Fate, bool)> {
    replayed.otherwise.iter().map(|one| (one.request, one.fate, one.draft.allowed)).collect()
}

#[test]
fn the_policy_in_force_decides_nothing_otherwise() {
    let past = past();
    let replayed = under(&past, 0, |_| ());
    assert_eq!((replayed.requests, otherwise(&replayed)), (4, vec![]));
}

#[test]
fn what_a_draft_would_have_denied_is_told_with_its_rule() {
    let past = past();
    let replayed = under(&past, 0, |rule| rule.require.amount_max = Sats(100_000));
    assert_eq!(otherwise(&replayed), [(past.large, Fate::Authorised, false)]);
    let one = &replayed.otherwise[0];
    assert!(one.then.allowed && one.draft.why[0].starts_with("policy.limit"), "{one:?}");
    assert_eq!(one.draft.rules, [rule().id]);
    assert!(replayed.text().contains("draft   denied by payments: policy.limit"), "{}", replayed.text());
    // The fee of the transaction counts too.
    let replayed = under(&past, 0, |rule| rule.require.fee_max = Sats(999));
    let both = [(past.small, Fate::Authorised, false), (past.large, Fate::Authorised, false)];
    assert_eq!(otherwise(&replayed), both);
}

/// Charges are those of the log, also those of what the draft would have denied.
#[test]
fn windows_count_what_was_charged() {
    let past = past();
    let limit = |amount| Velocity {
        per: Per::Asset,
        window_s: 2 * DAY,
        amount_max: Some(Sats(amount)),
        value_max: None,
        count_max: None,
    };
    let replayed = under(&past, 0, |rule| rule.require.velocity = vec![limit(501_999)]);
    let later = [(past.large, Fate::Authorised, false), (past.open, Fate::Open, false)];
    assert_eq!(otherwise(&replayed), later);
    let replayed = under(&past, 0, |rule| rule.require.velocity = vec![limit(502_000)]);
    assert_eq!(otherwise(&replayed), [(past.open, Fate::Open, false)]);
}

#[test]
fn what_a_draft_would_have_allowed_is_told_too() {
    let past = past();
    // The floor stands under the draft too: one person is not enough, and no path that has one alone.
    let one = |rule: &mut PolicyRule| rule.require.approvals = vec![path(&[(1, "approvers")])];
    let denied = under(&past, 0, one);
    assert!(!denied.otherwise.iter().any(|one| one.draft.allowed));
    assert!(denied.otherwise[0].draft.why[0].starts_with("floor.two-people"), "{}", denied.text());
    assert_eq!(denied.otherwise[0].draft.rules, [rule().id]);
    let mut strict = World::open(Genesis { policy: three(), ..genesis() });
    let request = Request { end: strict.time + 600, ..strict.request(&[("acme", 50_000)]) };
    let id = strict.asked_as("dave", request, &["alice", "bob"]);
    strict.tick(700);
    let batches = || strict.log.iter().map(|(batch, _)| batch.clone());
    let draft = policy_of(NEWEST, &[rule()], 0);
    let genesis = || Genesis { policy: three(), ..genesis() };
    let replayed = replay(genesis(), batches(), &strict.decoder, &draft, 0).unwrap();
    assert_eq!(otherwise(&replayed), [(id, Fate::Ended, true)]);
    assert!(replayed.otherwise[0].then.why[0].starts_with("policy.approvals"));
    // Without one of its batches it is no log.
    let cut = batches().skip(1);
    let wrong = replay(genesis(), cut, &strict.decoder, &draft, 0).unwrap_err();
    assert!(matches!(wrong, ReplayError::Batch { height: 2, .. }), "{wrong}");
}

fn three() -> Policy {
    let mut rule = rule();
    rule.require.approvals = vec![path(&[(3, "approvers")])];
    policy_of(NEWEST, &[rule], 0)
}

#[test]
fn only_what_was_decided_since_is_told() {
    let past = past();
    let all = under(&past, 0, |rule| rule.require.amount_max = Sats(1));
    let found: Vec<Hash> = all.otherwise.iter().map(|one| one.request).collect();
    assert_eq!(found, [past.small, past.large, past.open]);
    let late = under(&past, past.middle, |rule| rule.require.amount_max = Sats(1));
    let found: Vec<Hash> = late.otherwise.iter().map(|one| one.request).collect();
    assert_eq!((late.requests, found), (3, vec![past.large, past.open]));
    // A request that was open before is looked at.
    let end = past.world.time;
    let later = under(&past, end, |rule| rule.require.amount_max = Sats(1));
    assert!(later.otherwise.iter().any(|one| one.request == past.open));
    assert!(!all.otherwise.iter().any(|one| one.request == past.wanting), "alice alone was never enough");
}
