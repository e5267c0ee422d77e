//! Explanations against what the log then does.

use std::sync::LazyLock;

use custody::Hash;
use custody::document::{Document, Kind};
use custody::effects::Sats;
use custody::name::Name;
use custody::payment::Request;
use custody::policy::{Calendar, Per, Policy, PolicyRule, Velocity};
use custody::rule_set::NEWEST;
use custody::statement::{Body, Freeze, Scope};
use fixtures::{DAY, World, name, newest, path, policy_of, rule};
use policy::explain::{Earliest, Explanation, explain, explain_draft};

use crate::choices::Choices;

/// Longest that anything waits here, in seconds; longer than the delay clock goes on in one step.
const LONGEST_S: u64 = 4_000;

/// A deployment from which 300,000 sat left, and 400 s later 200,000 more.
static PAID: LazyLock<World> = LazyLock::new(|| {
    let mut world = World::open(newest());
    for (amount, then) in [(300_000, 400), (200_000, 100)] {
        let coin = world.coin(1_000_000);
        let request = world.asked(world.request(&[("acme", amount)]));
        let draft = world.draft(&[request], &[coin], 1_000);
        world.pay(&[request], &draft).unwrap();
        world.tick(then);
    }
    world
});

fn under(change: impl FnOnce(&mut Policy, u64)) -> World {
    let mut world = PAID.clone();
    let mut policy = policy_of(NEWEST, &[rule()], 0);
    change(&mut policy, world.time);
    world.adopt(Document::Policy(policy));
    world.tick(0);
    world
}

fn told(world: &World, id: &Hash) -> Explanation {
    explain(&world.state, id, world.time, &world.decoder).unwrap()
}

fn allowed(world: &World, id: &Hash) -> bool {
    let record = world.state.requests().get(id).unwrap();
    world.state.first_look(record, world.time).is_ok() && record.request.end >= world.time
}

/// Time goes on, at most as far in one step as the delay clock does.
fn wait(world: &mut World, seconds: u64) {
    for step in std::iter::repeat_n(600, usize::try_from(seconds / 600).unwrap()).chain([seconds % 600]) {
        world.tick(step);
    }
}

fn limits(choices: &mut Choices<'_>, policy: &mut Policy, now: u64) {
    let mut rule = rule();
    let need = &mut rule.require;
    if choices.below(2) == 1 {
        need.velocity.push(Velocity {
            per: [Per::Asset, Per::Wallet, Per::Destination, Per::Initiator][choices.below(4) as usize],
            window_s: 300 + 100 * choices.below(30),
            amount_max: Some(Sats(400_000 + 50_000 * choices.below(12))),
            value_max: None,
            count_max: (choices.below(3) == 0).then_some(2),
        });
    }
    if choices.below(2) == 1 {
        let from = now - 50;
        let open = [100, 700, 900].map(|gap| gap * choices.below(3) + 1);
        let mut at = from;
        let open = open.map(|gap| {
            at += gap + 200;
            (at - 200, 100 + choices.below(100))
        });
        let until = from + 20_000;
        let calendar = Calendar { zone: "Etc/UTC".into(), from, until, open: open.to_vec() };
        policy.calendars.insert(name("day"), calendar);
        need.hours = Some(name("day"));
    }
    need.delay_s = (choices.below(2) == 1).then(|| 100 * choices.below(20));
    need.cool_down_s = (choices.below(3) == 1).then(|| 200 * choices.below(15));
    need.approval_valid_s =
        (choices.below(3) == 1).then(|| need.delay_s.unwrap_or(0) + 1 + 50 * choices.below(20));
    rule.id = Name::new(&format!("rule-{}", policy.rules.len())).unwrap();
    policy.rules.push(rule);
}

/// Everybody who may approve does, time goes on, and at the second that was told the log would let it pass:
/// not one before. Where it was told that it never will, it never does.
#[test]
fn the_earliest_time_is_exact() {
    let (mut at_once, mut later, mut never) = (0, 0, 0);
    for seed in 0..120u32 {
        let bytes: Vec<u8> = (0..2u32)
            .flat_map(|i| {
                Hash::of("keyward/policy/explain", &[seed.to_be_bytes(), i.to_be_bytes()].concat()).0
            })
            .collect();
        let mut choices = Choices(&bytes);
        let mut world = under(|policy, now| {
            policy.rules.clear();
            for _ in 0..1 + choices.below(2) {
                limits(&mut choices, policy, now);
            }
        });
        let end = world.time + LONGEST_S;
        let request = Request { end, ..world.request(&[("acme", 50_000 + 100_000 * choices.below(5))]) };
        let before = [&[][..], &["alice"], &["alice", "bob"]][choices.below(3) as usize];
        let id = world.asked_as("carol", request, before);
        world.tick(50 * choices.below(10));
        let told = told(&world, &id);
        // Who approved stays as it was: an approval that was given again would be younger.
        for person in &told.may_approve {
            world.approve(person.as_str(), id).unwrap();
        }
        match told.earliest {
            Earliest::At(at) => {
                assert!((world.time..=end).contains(&at), "seed {seed}");
                if at > world.time {
                    let seconds = at - 1 - world.time;
                    wait(&mut world, seconds);
                    assert!(!allowed(&world, &id), "seed {seed}: before {at}\n{}", told.text());
                    world.tick(1);
                    later += 1;
                } else {
                    at_once += 1;
                }
                assert!(allowed(&world, &id), "seed {seed}: at {at}\n{}", told.text());
            }
            Earliest::NotBeforeEnd(_) => {
                never += 1;
                while world.time < end {
                    world.tick(47.min(end - world.time));
                    assert!(!allowed(&world, &id), "seed {seed}: at {}\n{}", world.time, told.text());
                }
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(at_once > 10 && later > 20 && never > 5, "{at_once} {later} {never}");
}

#[test]
fn each_requirement_is_said_with_what_is_missing() {
    let mut world = under(|policy, now| {
        let velocity = Velocity {
            per: Per::Wallet,
            window_s: 1_000,
            amount_max: Some(Sats(600_000)),
            value_max: None,
            count_max: None,
        };
        let need = &mut policy.rules[0].require;
        need.velocity = vec![velocity];
        need.delay_s = Some(300);
        need.hours = Some(name("day"));
        let calendar =
            Calendar { zone: "Etc/UTC".into(), from: now, until: now + DAY, open: vec![(now + 700, 100)] };
        policy.calendars.insert(name("day"), calendar);
    });
    let id = world.asked_as("carol", world.request(&[("acme", 200_000)]), &["alice"]);
    let explained = told(&world, &id);
    let missing = |explained: &Explanation| -> Vec<&str> {
        let all = explained.rules.iter().flat_map(|rule| &rule.requirements);
        all.filter(|one| one.missing.is_some()).map(|one| one.rule).collect()
    };
    let open = ["policy.approvals", "policy.velocity", "policy.hours", "policy.delay"];
    assert_eq!(missing(&explained), open);
    assert_eq!(explained.rules[0].requirements.len(), 6);
    // Who asked may not, and dave is in no group.
    assert_eq!(explained.may_approve, [name("bob")]);
    assert_eq!(explained.earliest, Earliest::At(world.time + 700));
    let text = explained.text();
    for line in ["MISSING       2 of approvers", "may approve   bob", "satisfied     fee at most 50,000 sat"]
    {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    world.approve("bob", id).unwrap();
    wait(&mut world, 700);
    let explained = told(&world, &id);
    assert_eq!(
        (missing(&explained).len(), explained.earliest),
        (0, Earliest::At(world.time)),
        "{}",
        explained.text()
    );
    assert_eq!(explained.may_approve, []);
    assert!(explained.text().contains("now, if those who may approve do"));
}

/// A frozen person, one whose key is revoked, and who has approved already, approve no more.
#[test]
fn only_who_may_approve_is_named() {
    let mut world = under(|_, _| ());
    let id = world.asked_as("dave", world.request(&[("acme", 200_000)]), &[]);
    let may = |world: &World| told(world, &id).may_approve;
    assert_eq!(may(&world), ["alice", "bob", "carol"].map(name));
    world.approve("alice", id).unwrap();
    assert_eq!(may(&world), ["bob", "carol"].map(name));
    world.say("alarm", Body::Freeze(Freeze { scope: Scope::Person(name("carol")) })).unwrap();
    assert_eq!(may(&world), [name("bob")]);
    let key = fixtures::id("bob");
    world.say("bob", Body::Revoke(custody::statement::Revoke { key })).unwrap();
    assert_eq!(may(&world), []);
    let explained = told(&world, &id);
    assert_eq!(
        explained.earliest,
        Earliest::NotBeforeEnd(world.state.requests().get(&id).unwrap().request.end)
    );
}

/// What is no matter of the policy is said, and a draft is explained as a request is.
#[test]
fn what_stops_a_request_is_said() {
    let mut world = under(|_, _| ());
    let ask = world.request(&[("acme", 200_000)]);
    let id = world.asked_as("carol", ask.clone(), &["alice", "bob"]);
    let record = world.state.requests().get(&id).unwrap().clone();
    let draft = custody::state::RequestRecord { approvals: Default::default(), ..record };
    let draft = explain_draft(&world.state, &draft, world.time, &world.decoder).unwrap();
    assert_eq!((draft.may_approve.len(), draft.earliest), (2, Earliest::At(world.time)));
    assert_eq!(told(&world, &id).stopped, Vec::<String>::new());
    world.say("alarm", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    assert!(told(&world, &id).stopped[0].starts_with("frozen by machine alarm"));
    wait(&mut world, DAY + 1);
    let explained = told(&world, &id);
    assert!(explained.stopped.iter().any(|why| why.starts_with("it ended at")), "{explained:?}");
    assert_eq!(explained.earliest, Earliest::Over);
    let renewed = Request { renews: Some(id), ..world.request(&[("acme", 200_000)]) };
    let again = world.asked_as("carol", renewed, &[]);
    assert!(told(&world, &again).stopped[0].starts_with("frozen"));
    assert_eq!(explain(&world.state, &Hash::default(), world.time, &world.decoder), None);
}

/// Nothing covers it: no rule, and a word on that.
#[test]
fn what_no_rule_covers_is_said() {
    let only: fn(&mut PolicyRule) = |rule| rule.when.wallets = Some(vec![name("other")]);
    let mut world = under(|policy, _| only(&mut policy.rules[0]));
    let id = world.asked_as("carol", world.request(&[("acme", 200_000)]), &["alice", "bob"]);
    let explained = told(&world, &id);
    assert_eq!((explained.rules.len(), explained.may_approve.len()), (0, 0));
    assert!(explained.missing[0].starts_with("policy.scope"), "{:?}", explained.missing);
    assert_eq!(
        path(&[(2, "admins")]),
        world.state.policy().unwrap().0.governance[&Kind::Policy].approvals[0]
    );
}
