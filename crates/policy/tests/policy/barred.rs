//! What is no matter of the policy, and who still counts, explained and then tried on the log.

use custody::Hash;
use custody::document::{Destination, DestinationKind, Document, Model, Tier, Wallet, WalletState};
use custody::effects::Branch;
use custody::payment::Request;
use custody::policy::PolicyRule;
use custody::records::{Absence, Asset, Delegation, DenyList, ThirdParty};
use custody::rule::Rule;
use custody::rule_set::NEWEST;
use custody::statement::{Body, Freeze, Scope};
use fixtures::samples::lease;
use fixtures::{
    Account, Coin, DAY, World, destination, group, name, newest, person, policy_of, regtest, rule,
};
use policy::explain::{Earliest, Explanation, explain};

/// Wallet `main`, hot, and wallet `cool`, warm, whose key is leased; erin is in no group.
fn world() -> World {
    let mut genesis = newest();
    genesis.people.push(person("erin"));
    let mut world = World::open(genesis);
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    world.activate_all(ceremony, 1, &Account::new(1));
    world.adopt(Document::Wallet(Wallet::new(name("cool"), ceremony, 1, Tier::Warm, Model::One)));
    world
}

fn told(world: &World, id: &Hash) -> Explanation {
    explain(&world.state, id, world.time, &world.decoder).unwrap()
}

/// Tries to pay it: what the log says, and what was told, are the same. Returns the world in which it was paid.
fn tried(world: &World, account: u32, id: &Hash, coin: Coin) -> Result<World, Rule> {
    let told = told(world, id);
    let mut after = world.clone();
    let fee = if world.state.requests().get(id).unwrap().request.is_cancel() { 2_000 } else { 1_000 };
    let draft = after.draft_of(account, &[*id], &[coin], fee);
    match after.pay(&[*id], &draft) {
        Ok(_) => {
            assert_eq!(told.stopped, Vec::<String>::new());
            Ok(after)
        }
        Err(no) => {
            let words =
                if no.rule == Rule::Frozen { "frozen by".to_owned() } else { format!("{}: ", no.rule) };
            let said = told.stopped.iter().any(|why| why.starts_with(&words));
            let asked = told.rules.iter().flat_map(|rule| &rule.requirements);
            let missing = asked.filter(|one| one.missing.is_some()).any(|one| one.rule == no.rule.id());
            assert!(said || missing, "{}: {} is not in\n{}", no.rule, no.why, told.text());
            Err(no.rule)
        }
    }
}

fn suspended(world: &World, state: WalletState) -> Document {
    let main = world.state.wallet(&name("main")).unwrap().clone();
    Document::Wallet(Wallet { state: Some(state), ..main })
}

fn acme(change: impl FnOnce(&mut Destination)) -> Document {
    let Document::Destination(mut acme) = destination("acme") else { unreachable!() };
    change(&mut acme);
    Document::Destination(acme)
}

/// Everything is approved, then something comes in between.
#[test]
fn what_comes_in_between_is_said() {
    let mut world = world();
    let coin = world.coin(1_000_000);
    let id = world.asked(world.request(&[("acme", 100_000)]));
    tried(&world, 0, &id, coin).unwrap();
    let asset = world.state.genesis().asset();
    let addresses = vec![regtest::address("acme")];
    let list = DenyList { id: name("sanctions"), source: Hash::sha256(b"list"), addresses };
    for (rule, document) in [
        (Rule::Enabled, Document::Asset(Asset { asset, enabled: false })),
        (Rule::Denied, Document::DenyList(list)),
        (Rule::KeyState, suspended(&world, WalletState::Suspended)),
        (Rule::KeyState, suspended(&world, WalletState::Retired)),
        (Rule::KeyState, suspended(&world, WalletState::Compromised)),
        (Rule::Outputs, acme(|acme| acme.address = regtest::address("elsewhere"))),
    ] {
        let mut world = world.clone();
        world.adopt_as("dave", document, &["alice", "bob"]);
        assert_eq!(tried(&world, 0, &id, coin).err(), Some(rule));
        // It is no matter of time, and might be lifted.
        assert_eq!(told(&world, &id).earliest, Earliest::At(world.time));
        assert!(told(&world, &id).text().contains("; what stops it aside"));
    }
    world.say("alarm", Body::Freeze(Freeze { scope: Scope::Person(name("carol")) })).unwrap();
    assert_eq!(tried(&world, 0, &id, coin).err(), Some(Rule::Frozen));
}

/// A payment of the leased wallet that carol asked for, and its coin.
fn warm(world: &mut World) -> (Hash, Coin) {
    let coin = world.coin_of(1, Branch::Receive, 0, 1_000_000);
    let ask = Request { wallet: name("cool"), ..world.request(&[("acme", 100_000)]) };
    (world.asked(ask), coin)
}

#[test]
fn a_lease_is_open_for_who_asked_and_not_used_up() {
    let mut world = world();
    let (id, coin) = warm(&mut world);
    assert_eq!(tried(&world, 1, &id, coin).err(), Some(Rule::Leased));
    world.adopt(lease("cool", &["alice"], world.time + 600, 1));
    assert_eq!(tried(&world, 1, &id, coin).err(), Some(Rule::Leased), "of somebody else");
    world.adopt(lease("cool", &["carol"], world.time + 600, 1));
    let mut used = tried(&world, 1, &id, coin).unwrap();
    let (next, other) = warm(&mut used);
    assert_eq!(tried(&used, 1, &next, other).err(), Some(Rule::Leased));
    assert!(told(&used, &next).stopped[0].contains("used up"));
    world.tick(600);
    tried(&world, 1, &id, coin).unwrap();
    world.tick(1);
    assert_eq!(tried(&world, 1, &id, coin).err(), Some(Rule::Leased), "over");
}

/// What the lease or an attestation outlasts can be signed, what it does not cannot.
#[test]
fn the_earliest_time_is_within_the_lease_and_the_attestation() {
    let mut world = world();
    let slow =
        PolicyRule { require: custody::policy::Require { delay_s: Some(300), ..rule().require }, ..rule() };
    world.adopt(Document::Policy(policy_of(NEWEST, &[slow], 0)));
    let (id, coin) = warm(&mut world);
    let now = world.time;
    for (until, earliest) in [(299, Earliest::NotBeforeEnd(now + 299)), (300, Earliest::At(now + 300))] {
        let mut world = world.clone();
        world.adopt(lease("cool", &["carol"], now + until, 1));
        assert_eq!(told(&world, &id).earliest, earliest);
        world.tick(300);
        assert_eq!(tried(&world, 1, &id, coin).is_ok(), until == 300);
    }
    let held = acme(|acme| {
        (acme.id, acme.address) = (name("vault"), regtest::address("vault"));
        (acme.kind, acme.third_party) = (DestinationKind::Own, Some(name("bank")));
    });
    for (until, earliest) in [(300, Earliest::NotBeforeEnd(now + 299)), (301, Earliest::At(now + 300))] {
        let mut world = world.clone();
        let (label, attestation) = (fixtures::label("bank").commitment(), Hash::sha256(b"attestation"));
        let party = ThirdParty { id: name("bank"), label, attestation, until: now + until };
        world.adopt(Document::ThirdParty(party));
        world.adopt_as("dave", held.clone(), &["alice", "bob"]);
        let coin = world.coin(1_000_000);
        let id = world.asked(world.request(&[("vault", 100_000)]));
        assert_eq!(told(&world, &id).earliest, earliest);
        // The own clock is ahead of the log.
        let ahead = explain(&world.state, &id, now + until, &world.decoder).unwrap();
        assert!(ahead.stopped[0].starts_with(&Rule::ThirdParty.to_string()), "{ahead:?}");
        world.tick(300);
        assert_eq!(tried(&world, 0, &id, coin).err(), (until == 300).then_some(Rule::ThirdParty));
    }
}

/// Alice gave her place to erin, and bob is away.
#[test]
fn who_stands_in_may_approve_and_who_is_away_may_not() {
    let mut world = world();
    let (from, until) = (world.time, world.time + 2 * DAY);
    let groups = vec![name("approvers")];
    let delegation = Delegation { of: name("alice"), to: name("erin"), groups, from, until };
    world.adopt(Document::Delegation(delegation));
    world.adopt_as(
        "carol",
        Document::Absence(Absence { person: name("bob"), from, until }),
        &["alice", "carol"],
    );
    let coin = world.coin(1_000_000);
    let id = world.asked_as("dave", world.request(&[("acme", 100_000)]), &["alice", "bob"]);
    assert_eq!(tried(&world, 0, &id, coin).err(), Some(Rule::PolicyApprovals));
    let may = told(&world, &id).may_approve;
    assert_eq!(may, ["carol", "erin"].map(name));
    for who in &may {
        world.approve(who.as_str(), id).unwrap();
    }
    assert_eq!(told(&world, &id).may_approve, []);
    tried(&world, 0, &id, coin).unwrap();
}

/// A cancel that names a freeze waits for those who could lift it, and they are named.
#[test]
fn a_cancel_leaves_despite_a_freeze_once_those_who_resume_approved() {
    let mut world = world();
    world.adopt(Document::Group(group("admins", &["bob", "carol", "dave"])));
    let coin = world.coin(1_000_000);
    let paid = world.asked(world.request(&[("acme", 100_000)]));
    let mut world = tried(&world, 0, &paid, coin).unwrap();
    let freeze = world.say("alarm", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    let cancel = Request { renews: Some(paid), despite: vec![freeze], ..world.request(&[]) };
    let id = world.asked_as("erin", cancel, &["alice", "bob"]);
    assert_eq!(tried(&world, 0, &id, coin).err(), Some(Rule::Frozen));
    assert!(told(&world, &id).stopped[0].contains("who can resume"));
    assert_eq!(told(&world, &id).may_approve, ["carol", "dave"].map(name));
    world.approve("carol", id).unwrap();
    assert_eq!(told(&world, &id).may_approve, []);
    tried(&world, 0, &id, coin).unwrap();
}
