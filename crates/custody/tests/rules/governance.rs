//! Ceremonies, activation, wallets, co-signers, rule sets (GEN-03, P4, P29, P30).

use std::collections::BTreeSet;

use custody::SLOTS_LIMIT;
use custody::document::{CeremonyRecord, Document, Kind, Recovery, Upgrade};
use custody::effects::Sats;
use custody::genesis::{COSIGNERS_LIMIT, Genesis, MAINNET, Numbers, TEST_NETWORKS};
use custody::rule::Rule;
use custody::rule_set::rule_set_hash;
use custody::state::{Stage, State};
use custody::statement::{Activate, Body, Freeze, Scope, Supports};
use custody::{Blob, Hash};
use ed25519_dalek::Signer as _;
use fixtures::{
    Account, World, card, certify, delayed, destination, foreign_rules, genesis, id, key, name, newest,
    person, public,
};

use crate::{invalid, refused, rejected};

fn propose(world: &mut World, record: CeremonyRecord) -> Result<Hash, fixtures::Denied> {
    world.propose("alice", Document::Ceremony(record))
}

#[test]
fn allow_gen_03_ceremony() {
    let mut world = World::new(genesis());
    let record = world.ceremony(0..2);
    let ceremony = record.id(&world.state.genesis_hash());
    world.adopt(Document::Ceremony(record));
    let slot = |world: &World| world.state.slots().get(&(ceremony, 0)).unwrap().clone();
    assert!(!world.state.proved_everywhere(&slot(&world)));
    world.activate_all(ceremony, 0, &Account::new(0));
    assert!(world.state.proved_everywhere(&slot(&world)));
    world.adopt(world.wallet("main", ceremony, 0));
    assert_eq!(slot(&world).wallet, Some(name("main")));
    // As many accounts as a ceremony may deal.
    let most = world.ceremony(10..10 + u32::try_from(SLOTS_LIMIT).unwrap());
    world.propose("alice", Document::Ceremony(most)).unwrap();
}

#[test]
fn deny_gen_03_ceremony() {
    let mut world = World::new(genesis());
    let good = world.ceremony(0..2);
    let resign = |world: &World, record: CeremonyRecord| world.sign_record(record, &["alice", "bob"]);
    let changes: [&dyn Fn(&mut CeremonyRecord); 13] = [
        &|r| r.threshold = 1,
        &|r| r.threshold = 3,
        &|r| {
            r.threshold = 1;
            r.slots.iter_mut().for_each(|slot| slot.commitments.truncate(1));
        },
        &|r| drop(r.holders.pop()),
        &|r| r.holders.reverse(),
        &|r| r.holders[2] = name("w1"),
        &|r| r.slots.clear(),
        &|r| r.slots[1] = r.slots[0].clone(),
        &|r| r.slots = (0..=u32::try_from(SLOTS_LIMIT).unwrap()).map(|n| Account::new(n).slot()).collect(),
        &|r| drop(r.slots[0].commitments.pop()),
        &|r| r.slots[0].commitments.reverse(),
        &|r| r.slots[0].account = Account::new(7).key(),
        &|r| {
            let nothing = Blob(vec![5; 33]);
            r.slots[0].account.public = nothing.clone();
            r.slots[0].commitments[0] = nothing;
        },
    ];
    for change in changes {
        let mut record = good.clone();
        change(&mut record);
        let record = resign(&world, record);
        rejected(propose(&mut world, record), Rule::Ceremony);
    }
    // Changed after it was signed, and signed by too few, by one twice, by a machine, by a stranger.
    rejected(
        propose(&mut world, CeremonyRecord { held_at: good.held_at + 1, ..good.clone() }),
        Rule::Ceremony,
    );
    for people in
        [&["alice"][..], &["alice", "alice"], &["alice", "server"], &["alice", "bob", "mallory"], &[]]
    {
        let record = world.sign_record(good.clone(), people);
        rejected(propose(&mut world, record), Rule::Ceremony);
    }
    world.adopt(Document::Ceremony(good.clone()));
    // The same accounts a second time, under another name.
    let twice =
        resign(&world, CeremonyRecord { nonce: Hash([1; 32]), slots: good.slots[1..].to_vec(), ..good });
    rejected(propose(&mut world, twice), Rule::Ceremony);
}

#[test]
fn deny_gen_03_ceremony_of_activations() {
    let mut world = World::new(genesis());
    let record = world.ceremony(0..2);
    let ceremony = record.id(&world.state.genesis_hash());
    world.adopt(Document::Ceremony(record));
    let account = Account::new(0);
    let good = world.activate(ceremony, 0, &["s1", "s2"], &account);
    for who in ["alice", "server"] {
        rejected(world.say(who, good.clone()), Rule::Ceremony);
    }
    let Body::Activate(signed) = &good else { unreachable!() };
    let of_others = Activate { holders: vec![name("s1"), name("s3")], ..signed.clone() };
    let of_slot = Activate { slot: 1, ..signed.clone() };
    let cut = Activate { signature: Blob(signed.signature.0[..63].to_vec()), ..signed.clone() };
    let bad = [
        Body::Activate(of_others),
        Body::Activate(of_slot),
        Body::Activate(cut),
        world.activate(ceremony, 0, &["s1"], &account),
        world.activate(ceremony, 0, &["s1", "s1"], &account),
        world.activate(ceremony, 0, &["s2", "s1"], &account),
        world.activate(ceremony, 0, &["s1", "w1"], &account),
        world.activate(ceremony, 0, &["s1", "s2", "s3"], &account),
        world.activate(ceremony, 0, &["s1", "s2"], &Account::new(1)),
    ];
    for body in bad {
        rejected(world.say("s1", body), Rule::Ceremony);
    }
    world.say("s1", good).unwrap();
}

#[test]
fn deny_gen_03_ceremony_of_wallets() {
    let mut world = World::new(genesis());
    let record = world.ceremony(0..2);
    let ceremony = record.id(&world.state.genesis_hash());
    rejected(world.propose("alice", world.wallet("main", ceremony, 0)), Rule::Ceremony);
    world.adopt(Document::Ceremony(record));
    // Two of the three pairs are not all.
    for holders in [["s1", "s2"], ["s1", "s3"], ["s1", "s2"]] {
        let body = world.activate(ceremony, 0, &holders, &Account::new(0));
        world.say("s1", body).unwrap();
    }
    rejected(world.propose("alice", world.wallet("main", ceremony, 0)), Rule::Ceremony);
    rejected(world.propose("alice", world.wallet("main", ceremony, 9)), Rule::Ceremony);
    world.activate_all(ceremony, 0, &Account::new(0));
    world.activate_all(ceremony, 1, &Account::new(1));
    world.adopt(world.wallet("main", ceremony, 0));
    rejected(world.propose("alice", world.wallet("other", ceremony, 0)), Rule::Ceremony);
    rejected(world.propose("alice", world.wallet("main", ceremony, 1)), Rule::Ceremony);
    world.adopt(world.wallet("other", ceremony, 1));
}

// ---- S8

#[test]
fn allow_rec_01_restored() {
    let mut world = World::new(newest());
    let record = world.ceremony(20..22);
    assert_eq!(record.recovery.as_ref().unwrap().restored.len(), 2);
    world.adopt(Document::Ceremony(record));
    // Rule set 1 knows nothing of it, and takes a record without it.
    let mut world = World::new(genesis());
    assert_eq!(world.ceremony(0..2).recovery, None);
    let early = CeremonyRecord {
        recovery: Some(world.recovery(&world.ceremony(0..2).nonce, 0..2)),
        ..world.ceremony(0..2)
    };
    let early = world.sign_record(early, &["alice", "bob"]);
    assert!(propose(&mut world, early).is_err());
}

#[test]
fn deny_rec_01_restored() {
    let mut world = World::new(newest());
    let good = world.ceremony(20..22);
    let proof = good.recovery.clone().unwrap();
    let restored = |blobs: &[usize]| blobs.iter().map(|at| proof.restored[*at].clone()).collect::<Vec<_>>();
    let other = world.recovery(&Hash([9; 32]), 20..22);
    let bad = [
        None,
        Some(Recovery { restored: restored(&[]), ..proof.clone() }),
        Some(Recovery { restored: restored(&[0]), ..proof.clone() }),
        Some(Recovery { restored: restored(&[0, 1, 1]), ..proof.clone() }),
        // Of the other account, of another ceremony, of another key.
        Some(Recovery { restored: restored(&[1, 0]), ..proof.clone() }),
        Some(Recovery { restored: other.restored, ..proof.clone() }),
        Some(world.recovery(&good.nonce, 21..23)),
    ];
    for recovery in bad {
        let record = world.sign_record(CeremonyRecord { recovery, ..good.clone() }, &["alice", "bob"]);
        rejected(propose(&mut world, record), Rule::Restored);
    }
    // The hash of the report is signed by the people of the record like the rest of it.
    let swapped = Recovery { report: Hash([1; 32]), ..proof };
    rejected(propose(&mut world, CeremonyRecord { recovery: Some(swapped), ..good }), Rule::Ceremony);
}

// ---- P29

fn support() -> Body {
    let foreign = foreign_rules();
    Body::Supports(Supports { version: foreign.version, rules: foreign.rules })
}

/// Puts a rule set in force that this program does not have.
fn upgraded(world: &mut World) {
    world.adopt(Document::Upgrade(foreign_rules()));
    for who in ["s1", "s2", "s3"] {
        world.say(who, support()).unwrap();
    }
    world.tick(1);
}

#[test]
fn allow_p29_rule_set() {
    let mut world = World::ready();
    let id = world.adopt(Document::Upgrade(foreign_rules()));
    let stage = |world: &World| world.state.proposals().get(&id).unwrap().stage.clone();
    for who in ["s1", "w1", "s1"] {
        world.say(who, support()).unwrap();
        assert_eq!(stage(&world), Stage::Supporting);
    }
    world.say("s3", support()).unwrap();
    assert!(matches!(stage(&world), Stage::Waiting(_)));
    assert_eq!(world.state.clock().rules, 1, "at least one Tick lies between");
    world.tick(1);
    assert_eq!((stage(&world), world.state.clock().rules), (Stage::Done, 1_000));
}

#[test]
fn deny_p29_rule_set() {
    let mut world = World::ready();
    let same = Upgrade { version: 1, ..foreign_rules() };
    rejected(world.propose("alice", Document::Upgrade(same)), Rule::RuleSet);
    rejected(world.say("s1", support()), Rule::RuleSet);
    // Proposed is not approved.
    let id = world.propose("alice", Document::Upgrade(foreign_rules())).unwrap();
    rejected(world.say("s1", support()), Rule::RuleSet);
    world.approve("alice", id).unwrap();
    world.approve("bob", id).unwrap();
    let other = Body::Supports(Supports { version: 1_000, rules: Hash([1; 32]) });
    rejected(world.say("s1", other), Rule::RuleSet);
    rejected(world.say("alice", support()), Rule::Standing);
    for who in ["s1", "s2", "s3"] {
        world.say(who, support()).unwrap();
    }
    world.tick(1);
    // This program has no such rule set, and goes no further.
    let batch = world.batch(world.time, &[]);
    refused(world.try_batch(&batch), Rule::RuleSet);
    let (batch, left_out) = world.state.compose(world.time, "", &[], &world.decoder);
    assert!(batch.entries.is_empty() && left_out.is_empty());
    // Nor under one of a version that it has and another content.
    let mut world = World::ready();
    world.upgrade(Upgrade { version: 2, ..foreign_rules() });
    world.tick(1);
    assert_eq!(world.state.clock().rules, 2);
    let batch = world.batch(world.time, &[]);
    refused(world.try_batch(&batch), Rule::RuleSet);
    // Nor does it begin under one.
    let unknown = Genesis { rules: 1_000, ..genesis() };
    assert_eq!(State::new(unknown).unwrap_err().rule, Rule::RuleSet);
}

#[test]
fn allow_p29_lapsed() {
    let mut world = World::ready();
    let coin = world.coin(1_000_000);
    let request = world.asked(world.request(&[("acme", 400_000)]));
    let draft = world.draft(&[request], &[coin], 1_000);
    let authorise = world.authorise(&[request], &draft);
    world.state.judge(&authorise, world.time, &world.decoder).unwrap();
    let paid = world.pay(&[request], &draft).unwrap();
    // An upgrade that is approved and supported, and not yet in force, changes nothing.
    world.adopt(Document::Upgrade(foreign_rules()));
    for who in ["s1", "s2", "s3"] {
        world.say(who, support()).unwrap();
    }
    world.state.release(&paid, world.time, &world.decoder).unwrap();
}

#[test]
fn deny_p29_lapsed() {
    let mut world = World::ready();
    let (first, second) = (world.coin(1_000_000), world.coin(1_000_000));
    let request = world.asked(world.request(&[("acme", 400_000)]));
    let open = world.asked(world.request(&[("acme", 300_000)]));
    let draft = world.draft(&[request], &[first], 1_000);
    let paid = world.pay(&[request], &draft).unwrap();
    let authorise = world.authorise(&[open], &world.draft(&[open], &[second], 1_000));
    let freeze = world.say("alarm", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    let proposal = world.propose("bob", destination("beta")).unwrap();
    let before = world.state.clone();
    upgraded(&mut world);
    let state = &world.state;
    let denied = state.release(&paid, world.time, &world.decoder).unwrap_err();
    assert_eq!(denied.rule, Rule::Lapsed);
    assert_eq!(state.judge(&authorise, world.time, &world.decoder).unwrap_err().rule, Rule::Lapsed);
    assert_eq!(state.proposals().get(&proposal).unwrap().stage, Stage::Void("P29.lapsed".into()));
    // Anchors, charges and freezes stay.
    assert!(state.freezes().get(&freeze).is_some());
    assert!(state.anchors().iter().eq(before.anchors().iter()));
    assert!(state.lineages().iter().eq(before.lineages().iter()));
    let charged = |state: &State| state.charged_since(world.time, 3600, &BTreeSet::new());
    assert_eq!(charged(state), charged(&before));
    assert!(charged(state) > Sats(400_000));
}

#[test]
fn a_document_that_was_due_with_the_upgrade_lapses_too() {
    let mut world = World::new(delayed(600));
    let upgrade = world.adopt(Document::Upgrade(foreign_rules()));
    for who in ["s1", "s2", "s3"] {
        world.say(who, support()).unwrap();
    }
    let erin = world.adopt(Document::Person(person("erin")));
    let stage = |world: &World, id: &Hash| world.state.proposals().get(id).unwrap().stage.clone();
    assert!(matches!(stage(&world, &upgrade), Stage::Waiting(_)));
    assert_eq!(stage(&world, &erin), stage(&world, &upgrade), "due at the same moment");
    world.tick(600);
    // Whichever came first by its id: either erin was in force before, or she lapsed; never both or half.
    assert_eq!(stage(&world, &upgrade), Stage::Done);
    let expected = if erin < upgrade { Stage::Done } else { Stage::Void("P29.lapsed".into()) };
    assert_eq!(stage(&world, &erin), expected);
    assert_eq!(world.state.person(&name("erin")).is_some(), erin < upgrade);
    assert!(!world.state.waits_for_time());
}

/// A running deployment changes to the next rule set: what it brought is admitted from then on, and what the
/// old policy does not govern is carried once a new one does.
#[test]
fn allow_p29_rule_set_2_over_a_running_deployment() {
    let mut world = World::ready();
    let client = fixtures::client("north");
    invalid(world.propose("bob", client.clone()), Rule::Form);
    let upgrade = Upgrade { version: 2, rules: rule_set_hash(2).unwrap() };
    let supports = Body::Supports(Supports { version: 2, rules: upgrade.rules });
    world.adopt(Document::Upgrade(upgrade));
    for who in ["s1", "s2", "s3"] {
        world.say(who, supports.clone()).unwrap();
    }
    world.tick(1);
    assert_eq!(world.state.clock().rules, 2);
    let id = world.adopt(client.clone());
    assert_eq!(world.state.proposals().get(&id).unwrap().stage, Stage::Open);
    // Groups change under the old policy; a policy that says nothing of clients is no longer adopted.
    world.adopt(Document::Group(fixtures::group("risk", &["alice", "dave"])));
    let rules = [fixtures::rule()];
    rejected(world.propose("bob", Document::Policy(fixtures::policy(&rules, 0))), Rule::Floor);
    world.adopt(Document::Policy(fixtures::policy_of(2, &rules, 0)));
    world.adopt(client);
    assert!(world.state.client(&name("north")).is_some());
}

// ---- P30

#[test]
fn allow_p30_committee() {
    // The default, one without a witness, and the largest.
    for (all, holders, threshold, faulty, quorum) in [
        (4, 3, 2, 1, 3),
        (4, 4, 3, 1, 3),
        (7, 5, 3, 2, 5),
        (13, 13, 5, 4, 9),
        (5, 3, 2, 1, 4),
        (6, 4, 2, 1, 5),
    ] {
        assert_eq!(Numbers::new(all, holders, threshold, faulty).unwrap().quorum, quorum);
    }
    let mut world = World::ready();
    let mut newer = card("s1", true, 2);
    newer.frame = public("s1/frame/2");
    newer.statement = public("s1/2");
    let newer = certify(newer);
    world.adopt(Document::Cosigner(newer.clone()));
    assert_eq!(world.state.cosigners()[0], &newer);
    assert!(world.state.key(&id("s1")).unwrap().revoked_at.is_some());
}

#[test]
fn deny_p30_committee() {
    for (all, holders, threshold, faulty) in [
        (COSIGNERS_LIMIT + 1, 3, 2, 1),
        (4, 5, 2, 1),
        (4, 3, 2, 0),
        (3, 3, 2, 1),
        (6, 4, 3, 2),
        (4, 3, 1, 1),
        (4, 2, 2, 1),
        (4, 4, 4, 1),
        (0, 0, 0, 0),
    ] {
        refused(Numbers::new(all, holders, threshold, faulty), Rule::Committee);
    }
    let mut small = genesis();
    small.cosigners.pop();
    refused(State::new(small), Rule::Committee);
    let mut world = World::ready();
    rejected(world.propose("alice", Document::Cosigner(card("s4", true, 1))), Rule::Committee);
}

// ---- genesis

#[test]
fn the_networks_of_a_rule_set() {
    for network in TEST_NETWORKS {
        let of = |g: Genesis| Genesis { network: network.into(), ..g }.check();
        of(newest()).unwrap();
        assert_eq!(of(genesis()).is_ok(), network == TEST_NETWORKS[0], "{network}");
        assert!(Genesis { network: network.into(), ..newest() }.asset().ends_with("/slip44:1"));
    }
    for (network, genesis) in [(MAINNET, genesis()), (MAINNET, fixtures::second()), ("bip122:0", newest())] {
        refused(Genesis { network: network.into(), ..genesis }.check(), Rule::Form);
    }
    // The main network comes with the whole policy, and its documents wait a day.
    let main = |delay_s| Genesis {
        network: MAINNET.into(),
        policy: fixtures::policy_of(custody::rule_set::NEWEST, &[fixtures::rule()], delay_s),
        ..newest()
    };
    main(fixtures::DAY).check().unwrap();
    assert!(main(fixtures::DAY).asset().ends_with("/slip44:0"));
    refused(main(fixtures::DAY - 1).check(), Rule::Floor);
}

#[test]
fn genesis_is_refused_when_anything_in_it_is_wrong() {
    type Change<'a> = (Rule, &'a dyn Fn(&mut Genesis));
    // The card of s2 under the name of s1, properly certified.
    let namesake = |g: &mut Genesis| {
        let card = &mut g.cosigners[1];
        card.name = name("s1");
        card.certificate = Blob(key("s2/identity").sign(&card.certified_bytes()).to_vec());
    };
    let changes: [Change<'_>; 21] = [
        (Rule::Form, &|g| g.version = 2),
        (Rule::Form, &|g| g.network = MAINNET.into()),
        (Rule::Floor, &|g| g.de_minimis = Sats(100_001)),
        (Rule::Committee, &|g| g.faulty = 0),
        (Rule::Committee, &|g| g.threshold = 1),
        (Rule::Form, &namesake),
        (Rule::Form, &|g| g.cosigners[1] = g.cosigners[0].clone()),
        (Rule::Form, &|g| g.cosigners[0].certificate.0[0] ^= 1),
        (Rule::Form, &|g| g.cosigners[3].holds_shares = true),
        (Rule::Form, &|g| g.people[1].id = name("alice")),
        (Rule::Form, &|g| g.people[3].id = name("alice")),
        (Rule::Form, &|g| g.groups[1].id = name("approvers")),
        (Rule::Form, &|g| g.groups.push(fixtures::group("admins", &["dave"]))),
        (Rule::Form, &|g| g.machines[1].id = name("server")),
        (Rule::Form, &|g| g.people[1].keys = g.people[0].keys.clone()),
        (Rule::Form, &|g| g.people[3].keys.clear()),
        (Rule::Form, &|g| g.machines[1].sign = g.people[0].keys[0].tls),
        (Rule::Form, &|g| g.machines[1].tls = g.cosigners[0].vote),
        (Rule::Form, &|g| g.groups[0].members.reverse()),
        (Rule::Form, &|g| g.groups[1].members.push(name("nobody"))),
        (Rule::Floor, &|g| drop(g.policy.governance.remove(&Kind::Resume))),
    ];
    for (rule, change) in changes {
        let mut bad = genesis();
        change(&mut bad);
        refused(State::new(bad.clone()), rule);
        refused(Genesis::parse(&bad.bytes()), rule);
    }
    let good = genesis();
    assert_eq!(Genesis::parse(&good.bytes()).unwrap(), good);
    refused(Genesis::parse(&[good.bytes(), b" ".to_vec()].concat()), Rule::Form);
}

/// Facts are shown by a short proof under the state hash.
#[test]
fn a_fact_is_proved_under_the_state_hash() {
    use custody::table::{fact_key, fact_value};
    let world = World::ready();
    let acme = world.state.document(Kind::Destination, "acme").unwrap();
    let key = fact_key("document", &(Kind::Destination, "acme".to_owned()));
    let proof = world.state.facts().prove(&key);
    assert!(proof.verify(&world.state.hash(), &key, Some(&fact_value(acme))));
    let other = match destination("beta") {
        Document::Destination(other) => other,
        _ => unreachable!(),
    };
    assert!(!proof.verify(&world.state.hash(), &key, Some(&fact_value(&other))));
    assert!(!proof.verify(&world.state.hash(), &key, None));
}
