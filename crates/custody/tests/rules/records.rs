//! The documents of rule set 3: absences, delegations, reviews, third parties, assets, leases,
//! states of wallets, freezes of people and networks.

use custody::Hash;
use custody::document::{
    Destination, DestinationKind, Document, Grant, Kind, Model, Resume, Revocation, Tier, Wallet, WalletState,
};
use custody::effects::{Branch, Sats};
use custody::payment::{Allocate, Request};
use custody::records::{
    Absence, Asset, Delegation, Float, LEASE_USES_LIMIT, LIST_LIMIT, Lease, RETENTION_FLOOR_YEARS,
    REVIEW_VALID_S, Retention, Review, TERM_LIMIT_S, ThirdParty,
};
use custody::rule::Rule;
use custody::statement::{Body, Freeze, Scope};
use fixtures::samples::lease;
use fixtures::{Account, DAY, Denied, World, client, destination, group, id, name, newest, person, review};

use crate::{invalid, rejected};

/// Wallet `main`, hot, and wallet `cool`, warm on account 1; erin is in no group.
fn world() -> World {
    let mut genesis = newest();
    genesis.people.push(person("erin"));
    let mut world = World::open(genesis);
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    world.activate_all(ceremony, 1, &Account::new(1));
    world.adopt(Document::Wallet(Wallet::new(name("cool"), ceremony, 1, Tier::Warm, Model::One)));
    world
}

fn pay(world: &mut World, to: &str, approvers: &[&str]) -> Result<Hash, Denied> {
    let coin = world.coin(1_000_000);
    let request = world.asked_as("dave", world.request(&[(to, 100_000)]), approvers);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft)
}

// ---- who is away, who stands in

fn away(world: &World, who: &str, days: (u64, u64)) -> Document {
    let (from, until) = (world.time + days.0 * DAY, world.time + days.1 * DAY);
    Document::Absence(Absence { person: name(who), from, until })
}

fn stands_in(world: &World, of: &str, to: &str, groups: &[&str], days: (u64, u64)) -> Document {
    let (from, until) = (world.time + days.0 * DAY, world.time + days.1 * DAY);
    let groups = groups.iter().map(|g| name(g)).collect();
    Document::Delegation(Delegation { of: name(of), to: name(to), groups, from, until })
}

/// Approvals of people on leave do not count, whenever they were given, for payments and for documents.
#[test]
fn who_is_away_approves_nothing() {
    let mut world = world();
    world.adopt_as("bob", away(&world.clone(), "alice", (1, 2)), &["bob", "carol"]);
    pay(&mut world.clone(), "acme", &["alice", "bob"]).unwrap();
    let coin = world.coin(1_000_000);
    let ask = Request { end: world.time + 9 * DAY, ..world.request(&[("acme", 100_000)]) };
    let request = world.asked_as("dave", ask, &["bob"]);
    let mut early = world.clone();
    early.approve("alice", request).unwrap();
    early.tick(DAY - 1);
    early.pay(&[request], &early.draft(&[request], &[coin], 1_000)).unwrap();
    world.tick(DAY);
    for who in ["alice", "bob"] {
        world.approve(who, request).unwrap();
    }
    let draft = world.draft(&[request], &[coin], 1_000);
    invalid(world.clone().pay(&[request], &draft), Rule::PolicyApprovals);
    let proposal = world.propose("bob", client("west")).unwrap();
    for who in ["alice", "bob"] {
        world.approve(who, proposal).unwrap();
    }
    assert!(world.state.client(&name("west")).is_none());
    // Back in the second with which it ends.
    world.tick(DAY);
    for who in ["alice", "bob"] {
        world.approve(who, request).unwrap();
    }
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
}

/// Who stands in takes one place, in the groups and for the time that were named, and the other loses it.
#[test]
fn who_stands_in_takes_the_place_and_no_other() {
    let mut world = world();
    world.adopt(stands_in(&world.clone(), "alice", "erin", &["approvers"], (1, 2)));
    invalid(pay(&mut world.clone(), "acme", &["bob", "erin"]), Rule::PolicyApprovals);
    world.tick(DAY);
    pay(&mut world.clone(), "acme", &["bob", "erin"]).unwrap();
    invalid(pay(&mut world.clone(), "acme", &["alice", "bob"]), Rule::PolicyApprovals);
    // One place among three who approve, and none among the admins.
    let proposal = world.propose("bob", client("west")).unwrap();
    for who in ["bob", "erin"] {
        world.approve(who, proposal).unwrap();
    }
    assert!(world.state.client(&name("west")).is_none());
    world.tick(DAY);
    invalid(pay(&mut world.clone(), "acme", &["bob", "erin"]), Rule::PolicyApprovals);
    pay(&mut world, "acme", &["alice", "bob"]).unwrap();
}

/// A share leaves by the later of log and own clock (P14): also who is away and who stands in goes by that.
#[test]
fn at_release_people_are_away_from_the_second_on() {
    let mut world = world();
    world.adopt_as("bob", away(&world.clone(), "alice", (1, 2)), &["bob", "carol"]);
    let stands_in = stands_in(&world, "carol", "erin", &["approvers"], (0, 1));
    world.adopt(stands_in);
    let leaves = |world: &mut World, approvers: &[&str]| {
        let coin = world.coin(1_000_000);
        let ask = Request { end: world.time + 9 * DAY, ..world.request(&[("acme", 100_000)]) };
        let request = world.asked_as("dave", ask, approvers);
        let draft = world.draft(&[request], &[coin], 1_000);
        world.pay(&[request], &draft).unwrap()
    };
    let (of_alice, of_erin) = (leaves(&mut world, &["alice", "bob"]), leaves(&mut world, &["bob", "erin"]));
    let at = world.state.clock().time + DAY;
    for id in [of_alice, of_erin] {
        world.state.release(&id, at - 1, &world.decoder).unwrap();
        let refused = world.state.release(&id, at, &world.decoder).unwrap_err();
        assert_eq!(refused.rule, Rule::PolicyApprovals, "{refused}");
    }
}

/// An attestation that ends between the log's time and the own clock lets no share leave (P14).
#[test]
fn at_release_an_attestation_ends_with_its_second() {
    let mut world = world();
    let until = world.time + DAY;
    world.adopt(party(&world, DAY));
    world.adopt_as("dave", held("vault", DestinationKind::Own), &["alice", "bob"]);
    let coin = world.coin(1_000_000);
    let ask = Request { end: until + DAY, ..world.request(&[("vault", 100_000)]) };
    let request = world.asked_as("dave", ask, &["alice", "bob"]);
    let draft = world.draft(&[request], &[coin], 1_000);
    let paid = world.pay(&[request], &draft).unwrap();
    world.state.release(&paid, until - 1, &world.decoder).unwrap();
    let refused = world.state.release(&paid, until, &world.decoder).unwrap_err();
    assert_eq!(refused.rule, Rule::ThirdParty, "{refused}");
}

/// Roles that exclude each other do so for who takes somebody's place as well, whatever comes first.
#[test]
fn delegations_put_nobody_into_roles_that_exclude_each_other() {
    let mut genesis = newest();
    genesis.people.extend([person("erin"), person("ruth"), person("tom")]);
    genesis.groups.extend([group("risk", &["ruth"]), group("trade", &["tom"])]);
    genesis.policy.exclusive = vec![(name("risk"), name("trade"))];
    let world = World::open(genesis);
    let place = |world: &World, of, group| stands_in(world, of, "erin", &[group], (0, 2));
    let mut one = world.clone();
    one.adopt(place(&one.clone(), "ruth", "risk"));
    rejected(one.propose("bob", place(&one, "tom", "trade")), Rule::Document);
    rejected(one.propose("bob", Document::Group(group("trade", &["erin"]))), Rule::Floor);
    one.propose("bob", Document::Group(group("trade", &["dave"]))).unwrap();
    // Also a place that is taken later only; and none that is over.
    let mut later = world.clone();
    later.adopt(stands_in(&later.clone(), "ruth", "erin", &["risk"], (1, 2)));
    rejected(later.clone().propose("bob", place(&later, "tom", "trade")), Rule::Document);
    later.tick(2 * DAY);
    later.propose("bob", place(&later, "tom", "trade")).unwrap();
    // A place among those who write the software is given to nobody.
    let mut writers = newest();
    writers.people.extend([person("erin"), person("ruth")]);
    writers.groups.push(group("developers", &["erin"]));
    let mut writers = World::open(writers);
    let gives = stands_in(&writers, "erin", "ruth", &["developers"], (0, 1));
    rejected(writers.propose("bob", gives), Rule::Document);
    // And a policy that says so afterwards.
    let mut free = newest();
    free.people.extend([person("erin"), person("ruth"), person("tom")]);
    free.groups.extend([group("risk", &["ruth"]), group("trade", &["tom"])]);
    let mut world = World::open(free);
    for (of, group) in [("ruth", "risk"), ("tom", "trade")] {
        world.adopt(place(&world.clone(), of, group));
    }
    let mut policy = world.state.policy().unwrap().0.clone();
    policy.exclusive = vec![(name("risk"), name("trade"))];
    rejected(world.propose("bob", Document::Policy(policy)), Rule::Floor);
}

/// Two places given to one person are one person, and what was given is not given on.
#[test]
fn delegations_make_no_second_person() {
    let mut world = world();
    for of in ["alice", "carol"] {
        world.adopt(stands_in(&world.clone(), of, "erin", &["approvers"], (0, 2)));
    }
    invalid(pay(&mut world.clone(), "acme", &["alice", "carol", "erin"]), Rule::PolicyApprovals);
    pay(&mut world.clone(), "acme", &["bob", "erin"]).unwrap();
    let on = stands_in(&world, "erin", "dave", &["approvers"], (0, 2));
    rejected(world.propose("bob", on), Rule::Document);
    // Nor in a circle: bob and dave each in the other's place would be nobody's.
    world.adopt(Document::Group(group("risk", &["dave"])));
    let to_dave = stands_in(&world, "bob", "dave", &["admins"], (0, 2));
    world.adopt(to_dave);
    let back = stands_in(&world, "dave", "bob", &["admins"], (0, 2));
    rejected(world.propose("bob", back), Rule::Document);
}

#[test]
fn deny_p3_document_of_absences_and_delegations() {
    let world = world();
    let days = TERM_LIMIT_S / DAY;
    let groups: Vec<String> = (0..=LIST_LIMIT).map(|i| format!("g-{i:02}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let bad = [
        away(&world, "nobody", (0, 1)),
        away(&world, "alice", (1, 1)),
        away(&world, "alice", (0, 0)),
        away(&world, "alice", (0, days + 1)),
        stands_in(&world, "alice", "nobody", &["approvers"], (0, 1)),
        stands_in(&world, "alice", "alice", &["approvers"], (0, 1)),
        stands_in(&world, "alice", "bob", &["approvers"], (0, 1)),
        stands_in(&world, "dave", "erin", &["approvers"], (0, 1)),
        stands_in(&world, "alice", "erin", &[], (0, 1)),
        stands_in(&world, "alice", "erin", &["approvers", "admins"], (0, 1)),
        stands_in(&world, "alice", "erin", &groups, (0, 1)),
        stands_in(&world, "alice", "erin", &["approvers"], (1, 1)),
        stands_in(&world, "alice", "erin", &["approvers"], (0, days + 1)),
    ];
    for document in bad {
        rejected(world.clone().propose("bob", document), Rule::Document);
    }
    world.clone().propose("bob", away(&world, "alice", (0, days))).unwrap();
    world.clone().propose("bob", stands_in(&world, "alice", "erin", &["approvers"], (0, days))).unwrap();
    // Whoever writes the software takes nobody's place.
    let mut genesis = newest();
    genesis.people.push(person("erin"));
    genesis.groups.push(group("developers", &["erin"]));
    let mut world = World::open(genesis);
    let developer = stands_in(&world, "alice", "erin", &["approvers"], (0, 1));
    rejected(world.propose("bob", developer), Rule::Document);
}

// ---- reviews

#[test]
fn allow_mod_00_reviewed() {
    let mut world = world();
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    let record = world.ceremony(7..9);
    let later = record.id(&world.state.genesis_hash());
    world.adopt(Document::Ceremony(record));
    for slot in [0, 1] {
        world.activate_all(later, slot, &Account::new(slot + 7));
    }
    let open = |model, slot| Document::Wallet(Wallet::new(name("next"), later, slot, Tier::Hot, model));
    world.propose("bob", open(Model::One, 0)).unwrap();
    world.tick(REVIEW_VALID_S - 1);
    world.clone().propose("bob", open(Model::One, 0)).unwrap();
    // Wallets that are open stay so.
    world.tick(1);
    let main = world.state.wallet(&name("main")).unwrap().clone();
    assert_eq!(main.ceremony, ceremony);
    world.propose("bob", Document::Wallet(main)).unwrap();
}

#[test]
fn deny_mod_00_reviewed() {
    let mut world = world();
    let record = world.ceremony(7..9);
    let later = record.id(&world.state.genesis_hash());
    world.adopt(Document::Ceremony(record));
    world.activate_all(later, 0, &Account::new(7));
    let open = |model| Document::Wallet(Wallet::new(name("next"), later, 0, Tier::Hot, model));
    rejected(world.propose("bob", open(Model::Three)), Rule::Reviewed);
    let Document::Review(refused) = review(Model::Three, world.time) else { unreachable!() };
    world.adopt(Document::Review(Review { offered: false, ..refused }));
    rejected(world.propose("bob", open(Model::Three)), Rule::Reviewed);
    world.tick(REVIEW_VALID_S);
    rejected(world.propose("bob", open(Model::One)), Rule::Reviewed);
}

#[test]
fn deny_p3_document_of_reviews() {
    let world = world();
    let bad: [&dyn Fn(&mut Review); 9] = [
        &|r| r.network = "bip122:00000008819873e925422c1ff0f99f7c".into(),
        &|r| r.reviewed_at += 1,
        &|r| r.reviewed_at -= REVIEW_VALID_S,
        &|r| r.signatories = vec![name("alice")],
        &|r| r.signatories = vec![name("bob"), name("alice")],
        &|r| r.signatories = vec![name("alice"), name("nobody")],
        &|r| r.clients = r.business,
        &|r| r.segregation = Hash::default(),
        &|r| r.speed_and_safety = Hash::default(),
    ];
    for (i, change) in bad.iter().enumerate() {
        let Document::Review(mut review) = review(Model::Two, world.time) else { unreachable!() };
        change(&mut review);
        let no = world.clone().propose("bob", Document::Review(review)).expect_err(&i.to_string());
        assert_eq!(no.rule, Rule::Document, "{i}: {}", no.why);
    }
}

/// Who is said to have signed a review has approved it: two others do not speak for them.
#[test]
fn a_review_is_approved_by_its_signatories() {
    let mut world = world();
    let id = world.propose("dave", review(Model::Two, world.time)).unwrap();
    for who in ["alice", "carol"] {
        world.approve(who, id).unwrap();
        assert!(world.state.document(Kind::Review, "2").is_none());
    }
    world.approve("bob", id).unwrap();
    assert!(world.state.document(Kind::Review, "2").is_some());
}

// ---- whom the institution relies on, whom it does not pay

fn party(world: &World, seconds: u64) -> Document {
    Document::ThirdParty(ThirdParty {
        id: name("bank"),
        label: fixtures::label("bank").commitment(),
        attestation: Hash::sha256(b"attestation"),
        until: world.time + seconds,
    })
}

fn held(id: &str, kind: DestinationKind) -> Document {
    let Document::Destination(found) = destination(id) else { unreachable!() };
    Document::Destination(Destination { kind, third_party: Some(name("bank")), ..found })
}

#[test]
fn allow_mod_02_third_party() {
    let mut world = world();
    world.adopt(party(&world.clone(), DAY));
    world.adopt_as("dave", held("vault", DestinationKind::Own), &["alice", "bob"]);
    world.tick(DAY - 1);
    pay(&mut world, "vault", &["alice", "bob"]).unwrap();
}

#[test]
fn deny_mod_02_third_party() {
    let mut world = world();
    rejected(world.propose("bob", held("vault", DestinationKind::Own)), Rule::ThirdParty);
    world.adopt(party(&world.clone(), DAY));
    rejected(world.propose("bob", held("vault", DestinationKind::Client)), Rule::Document);
    world.adopt_as("dave", held("vault", DestinationKind::Own), &["alice", "bob"]);
    world.tick(DAY);
    invalid(pay(&mut world.clone(), "vault", &["alice", "bob"]), Rule::ThirdParty);
    rejected(world.propose("bob", party(&world.clone(), TERM_LIMIT_S + 1)), Rule::Document);
    world.propose("bob", party(&world.clone(), TERM_LIMIT_S)).unwrap();
}

#[test]
fn allow_policy_asset() {
    let mut world = world();
    let asset = world.state.genesis().asset();
    assert!(world.state.is_enabled(&asset));
    world.adopt(Document::Asset(Asset { asset: asset.clone(), enabled: true }));
    assert!(world.state.is_enabled(&asset));
    pay(&mut world, "acme", &["alice", "bob"]).unwrap();
}

#[test]
fn deny_policy_asset() {
    let mut world = world();
    let asset = world.state.genesis().asset();
    world.adopt(Document::Asset(Asset { asset, enabled: false }));
    invalid(pay(&mut world, "acme", &["alice", "bob"]), Rule::Enabled);
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    let other = Wallet::new(name("other"), ceremony, 1, Tier::Hot, Model::One);
    let mut before = World::open(newest());
    let ceremony_before = before.state.wallet(&name("main")).unwrap().ceremony;
    before.activate_all(ceremony_before, 1, &Account::new(1));
    let other = Wallet { ceremony: ceremony_before, ..other };
    let asset = before.state.genesis().asset();
    before.adopt(Document::Asset(Asset { asset, enabled: false }));
    rejected(before.propose("bob", Document::Wallet(other)), Rule::Enabled);
    let foreign = Document::Asset(Asset { asset: "eip155:1/slip44:60".into(), enabled: true });
    rejected(world.propose("bob", foreign), Rule::Document);
}

#[test]
fn records_are_kept_for_ten_years_and_a_float_is_of_a_wallet() {
    let mut world = world();
    let retention = |years| Document::Retention(Retention { years });
    world.propose("bob", retention(RETENTION_FLOOR_YEARS)).unwrap();
    rejected(world.propose("bob", retention(RETENTION_FLOOR_YEARS - 1)), Rule::Document);
    let float = |wallet| Document::Float(Float { wallet: name(wallet), amount_max: Sats(1) });
    world.propose("bob", float("main")).unwrap();
    rejected(world.propose("bob", float("none")), Rule::Document);
}

#[test]
fn an_owner_is_a_client_and_owns_a_destination_of_a_client() {
    let mut world = world();
    let of = |kind, owner: &str| {
        let Document::Destination(found) = destination("beta") else { unreachable!() };
        Document::Destination(Destination { kind, owner: Some(name(owner)), ..found })
    };
    rejected(world.propose("dave", of(DestinationKind::Client, "north")), Rule::Document);
    world.adopt(client("north"));
    rejected(world.propose("dave", of(DestinationKind::Counterparty, "north")), Rule::Document);
    world.propose("dave", of(DestinationKind::Client, "north")).unwrap();
}

// ---- keys

/// A payment of 100,000 sat from the warm wallet that carol asked for.
fn warm(world: &mut World, who: &str) -> Result<Hash, Denied> {
    let coin = world.coin_of(1, Branch::Receive, 0, 1_000_000);
    let ask = Request { wallet: name("cool"), ..world.request(&[("acme", 100_000)]) };
    let approvers = if who == "carol" { ["alice", "bob"] } else { ["bob", "carol"] };
    let request = world.asked_as(who, ask, &approvers);
    let draft = world.draft_of(1, &[request], &[coin], 1_000);
    world.pay(&[request], &draft)
}

#[test]
fn allow_keys_lease() {
    let mut world = world();
    world.adopt(lease("cool", &["carol"], world.time + 3_600, 2));
    let first = warm(&mut world, "carol").unwrap();
    world.tick(3_600);
    warm(&mut world.clone(), "carol").unwrap();
    // The last use of a lease still leaves.
    let last = warm(&mut world, "carol").unwrap();
    for paid in [first, last] {
        world.state.release(&paid, world.time, &world.decoder).unwrap();
    }
    // Another lease begins anew.
    world.adopt(lease("cool", &["carol"], world.time + 3_600, 1));
    warm(&mut world, "carol").unwrap();
}

#[test]
fn deny_keys_lease() {
    let mut world = world();
    invalid(warm(&mut world.clone(), "carol"), Rule::Leased);
    world.adopt(lease("cool", &["carol"], world.time + 3_600, 2));
    // Somebody else, after its end, or too often.
    invalid(warm(&mut world.clone(), "alice"), Rule::Leased);
    let mut late = world.clone();
    late.tick(3_601);
    invalid(warm(&mut late, "carol"), Rule::Leased);
    let first = warm(&mut world, "carol").unwrap();
    warm(&mut world, "carol").unwrap();
    invalid(warm(&mut world.clone(), "carol"), Rule::Leased);
    // A share does not leave after the end either.
    let end = world.time + 3_601;
    assert_eq!(world.state.release(&first, end, &world.decoder).unwrap_err().rule, Rule::Leased);
}

/// What was authorised under one lease does not leave under the next, which it would not use.
#[test]
fn deny_keys_lease_of_what_another_one_allowed() {
    let mut world = world();
    world.adopt(lease("cool", &["carol"], world.time + 3_600, 2));
    let paid = warm(&mut world, "carol").unwrap();
    world.adopt(lease("cool", &["carol"], world.time + 7_200, 2));
    let no = world.state.release(&paid, world.time, &world.decoder).unwrap_err();
    assert_eq!(no.rule, Rule::Leased);
}

/// What takes a payment back needs no lease and no active wallet.
#[test]
fn a_cancel_waits_for_no_lease_and_no_state() {
    let mut world = world();
    world.adopt(lease("cool", &["carol"], world.time + 3_600, 1));
    let coin = world.coin_of(1, Branch::Receive, 0, 1_000_000);
    let ask = Request { wallet: name("cool"), ..world.request(&[("acme", 100_000)]) };
    let request = world.asked(ask);
    let draft = world.draft_of(1, &[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    world.tick(3_601);
    let cool = world.state.wallet(&name("cool")).unwrap().clone();
    world.adopt(Document::Wallet(Wallet { state: Some(WalletState::Suspended), ..cool }));
    let cancel = Request { wallet: name("cool"), renews: Some(request), ..world.request(&[]) };
    let cancel = world.asked(cancel);
    let draft = world.draft_of(1, &[cancel], &[coin], 2_000);
    let id = world.pay(&[cancel], &draft).unwrap();
    world.state.release(&id, world.time, &world.decoder).unwrap();
}

/// A frozen person opens no key either; an alarm that freezes people vetoes no document.
#[test]
fn who_is_frozen_opens_no_key_and_alarms_veto_nothing() {
    let mut world = world();
    let by_alarm = freeze(&mut world, "alarm", Scope::Person(name("alice")));
    world.adopt(client("west"));
    assert!(world.state.client(&name("west")).is_some());
    world.adopt(Document::Resume(Resume { freezes: vec![by_alarm] }));
    freeze(&mut world, "dave", Scope::Person(name("alice")));
    world.adopt(lease("cool", &["carol"], world.time + 3_600, 1));
    assert!(world.state.lease(&name("cool")).is_none());
}

/// Absences and delegations shut nobody out who may end them, lift a freeze or revoke a key.
#[test]
fn absences_lock_nobody_out() {
    let mut world = world();
    for who in ["alice", "bob", "carol"] {
        let document = away(&world, who, (0, 9));
        world.adopt(document);
    }
    world.adopt(client("west"));
    assert!(world.state.client(&name("west")).is_none());
    let frozen = freeze(&mut world, "dave", Scope::Everything);
    world.adopt(Document::Resume(Resume { freezes: vec![frozen] }));
    assert!(world.state.freezes().is_empty());
    for who in ["alice", "bob"] {
        let back =
            Document::Absence(Absence { person: name(who), from: world.time - 2, until: world.time + 1 });
        world.adopt(back);
    }
    world.tick(1);
    world.adopt(client("east"));
    assert!(world.state.client(&name("east")).is_some());
}

#[test]
fn deny_p3_document_of_leases() {
    let world = world();
    let until = world.time + DAY;
    let of = |change: fn(&mut Lease)| {
        let Document::Lease(mut found) = lease("cool", &["carol"], until, 1) else { unreachable!() };
        change(&mut found);
        Document::Lease(found)
    };
    let bad: [fn(&mut Lease); 8] = [
        |l| l.wallet = name("main"),
        |l| l.wallet = name("none"),
        |l| l.people.clear(),
        |l| l.people = vec![name("nobody")],
        |l| l.people = vec![name("dave"), name("carol")],
        |l| l.uses = 0,
        |l| l.uses = LEASE_USES_LIMIT + 1,
        |l| l.until += TERM_LIMIT_S,
    ];
    for change in bad {
        rejected(world.clone().propose("bob", of(change)), Rule::Document);
    }
    world.clone().propose("bob", of(|l| l.uses = LEASE_USES_LIMIT)).unwrap();
}

fn in_state(world: &World, state: Option<WalletState>) -> Document {
    Document::Wallet(Wallet { state, ..world.state.wallet(&name("main")).unwrap().clone() })
}

fn allocate() -> Body {
    Body::Allocate(Allocate {
        wallet: name("main"),
        client: name("client-1"),
        branch: Branch::Receive,
        count: 1,
    })
}

#[test]
fn allow_keys_state() {
    let mut world = world();
    // Closed and opened again to return what arrived late.
    for state in [Some(WalletState::Suspended), None, Some(WalletState::Retired), None] {
        let document = in_state(&world, state);
        world.adopt(document);
    }
    world.say("server", allocate()).unwrap();
    pay(&mut world, "acme", &["alice", "bob"]).unwrap();
    // A key that may be known still moves coins to own destinations.
    let Document::Destination(vault) = destination("vault") else { unreachable!() };
    let own = Destination { kind: DestinationKind::Own, ..vault };
    world.adopt_as("dave", Document::Destination(own), &["alice", "bob"]);
    let known = in_state(&world, Some(WalletState::Compromised));
    world.adopt(known);
    pay(&mut world, "vault", &["alice", "bob"]).unwrap();
}

#[test]
fn deny_keys_state() {
    for state in [WalletState::Suspended, WalletState::Retired, WalletState::Compromised] {
        let mut world = world();
        let document = in_state(&world, Some(state));
        world.adopt(document);
        invalid(pay(&mut world.clone(), "acme", &["alice", "bob"]), Rule::KeyState);
        rejected(world.say("server", allocate()), Rule::KeyState);
        if state == WalletState::Compromised {
            let active = in_state(&world, None);
            rejected(world.propose("bob", active), Rule::KeyState);
        }
    }
    // A wallet begins active, and stays in its tier.
    let mut world = world();
    let record = world.ceremony(7..8);
    let later = record.id(&world.state.genesis_hash());
    world.adopt(Document::Ceremony(record));
    world.activate_all(later, 0, &Account::new(7));
    let new = Wallet::new(name("new"), later, 0, Tier::Hot, Model::One);
    let begun = Document::Wallet(Wallet { state: Some(WalletState::Suspended), ..new });
    rejected(world.propose("bob", begun), Rule::KeyState);
    let main = world.state.wallet(&name("main")).unwrap().clone();
    rejected(world.propose("bob", Document::Wallet(Wallet { tier: Tier::Warm, ..main })), Rule::Document);
}

// ---- freezes

fn freeze(world: &mut World, who: &str, scope: Scope) -> Hash {
    world.say(who, Body::Freeze(Freeze { scope })).unwrap()
}

#[test]
fn deny_p16_frozen_of_a_network() {
    let mut world = world();
    let network = world.state.genesis().network.clone();
    let other = Body::Freeze(Freeze { scope: Scope::Network("bip122:0".into()) });
    invalid(world.say("dave", other), Rule::Reference);
    let freezes = vec![freeze(&mut world, "dave", Scope::Network(network))];
    invalid(pay(&mut world.clone(), "acme", &["alice", "bob"]), Rule::Frozen);
    world.adopt(Document::Resume(Resume { freezes }));
    pay(&mut world, "acme", &["alice", "bob"]).unwrap();
}

/// A person who is frozen asks for nothing and approves no payment and no document; but lifts freezes and
/// revokes keys, so that one hostile person cannot stop all others for good (P17).
#[test]
fn deny_p16_frozen_of_a_person() {
    let mut world = world();
    invalid(
        world.say("dave", Body::Freeze(Freeze { scope: Scope::Person(name("nobody")) })),
        Rule::Reference,
    );
    let coin = world.coin(1_000_000);
    let asked = world.asked_as("carol", world.request(&[("acme", 100_000)]), &["alice", "bob"]);
    let draft = world.draft(&[asked], &[coin], 1_000);
    let mut freezes = vec![freeze(&mut world, "dave", Scope::Person(name("carol")))];
    invalid(world.clone().pay(&[asked], &draft), Rule::Frozen);
    pay(&mut world.clone(), "acme", &["alice", "bob"]).unwrap();
    // Approvals that were given before count no more either.
    freezes.push(freeze(&mut world, "dave", Scope::Person(name("alice"))));
    freezes.push(freeze(&mut world, "dave", Scope::Person(name("bob"))));
    invalid(pay(&mut world.clone(), "acme", &["alice", "bob"]), Rule::PolicyApprovals);
    world.adopt(client("west"));
    assert!(world.state.client(&name("west")).is_none());
    let mut revoked = world.clone();
    revoked.adopt(Document::Revocation(Revocation { key: id("dave") }));
    assert!(revoked.state.key(&id("dave")).unwrap().revoked_at.is_some());
    world.adopt(Document::Resume(Resume { freezes }));
    world.pay(&[asked], &draft).unwrap();
}

/// The grant of a machine that freezes is for every scope.
#[test]
fn alarms_freeze_people_and_networks() {
    let mut world = world();
    assert!(world.state.machine(&name("alarm")).unwrap().grants.contains(&Grant::Freeze));
    freeze(&mut world, "alarm", Scope::Person(name("carol")));
    let network = world.state.genesis().network.clone();
    freeze(&mut world, "alarm", Scope::Network(network));
}
