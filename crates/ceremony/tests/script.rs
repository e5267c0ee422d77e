//! What a script must be: every rule is broken once, and named by the control that asks for it.

mod rehearsal;

use ceremony::report::{Against, Verified, verify};
use ceremony::room::FindingKind;
use ceremony::script::check::{HARDWARE_LIMIT, PEOPLE_LIMIT, TEXT_LIMIT_BYTES};
use ceremony::script::steps::steps;
use ceremony::script::{
    Accounts, Action, Afterwards, Brought, ComponentId, Control, Group, Kind, KnownAccount, Medium, Member,
    Role, Script, Site,
};
use custody::{Hash, SLOTS_LIMIT};
use rehearsal::{KINDS, actions, begun, finish, genesis, health, held, id, name, script, up_to};

/// A change that breaks a script.
type Change = fn(&mut Script);

fn new_set(script: &mut Script) -> &mut ceremony::script::Components {
    script.components.as_mut().unwrap()
}

fn old(script: &mut Script) -> &mut ceremony::script::Held {
    script.held.as_mut().unwrap()
}

fn member(script: &mut Script, number: usize) -> &mut Member {
    &mut new_set(script).groups[0].members[number]
}

fn person<'a>(script: &'a mut Script, who: &str) -> &'a mut ceremony::script::Person {
    script.people.iter_mut().find(|person| person.id.as_str() == who).unwrap()
}

/// A fourth member, so that a threshold of 3 leaves a spare one.
fn three_of_four(script: &mut Script) {
    let site = Site { name: name("east"), address: "east street 1".into(), operations: false };
    script.sites.push(site);
    let member =
        Member { holder: name("frank"), site: name("east"), container: "safe".into(), seal: String::new() };
    new_set(script).groups[0].members.push(member);
    new_set(script).groups[0].threshold = 3;
}

#[test]
fn sound_scripts_of_every_kind_pass() {
    for kind in KINDS {
        script(kind).check(&genesis()).unwrap();
    }
    let mut wider = script(Kind::Generation);
    three_of_four(&mut wider);
    wider.check(&genesis()).unwrap();
}

#[test]
fn every_rule_names_its_control() {
    let cases: &[(&str, Kind, Control, Change)] = &[
        // Roles and people.
        ("no operator", Kind::Generation, Control::Gen09, |s| s.people.retain(|p| p.id.as_str() != "alice")),
        ("no officer", Kind::Generation, Control::Gen09, |s| {
            person(s, "bob").roles = vec![Role::KeyCustodian]
        }),
        ("no role", Kind::Generation, Control::Gen09, |s| person(s, "bob").roles.clear()),
        ("roles twice", Kind::Generation, Control::Gen09, |s| {
            person(s, "bob").roles = vec![Role::SecurityOfficer, Role::SecurityOfficer];
        }),
        ("somebody twice", Kind::Generation, Control::Gen09, |s| {
            let again = s.people[6].clone();
            s.people.push(ceremony::script::Person { key: Hash([3; 32]), ..again });
        }),
        ("one key for two", Kind::Generation, Control::Gen09, |s| person(s, "walter").key = s.people[4].key),
        ("one signs a deviation", Kind::Generation, Control::Gen09, |s| s.deviation_quorum = 1),
        ("more sign than there are", Kind::Generation, Control::Gen09, |s| s.deviation_quorum = 8),
        ("no witness", Kind::Generation, Control::Gen13, |s| {
            person(s, "walter").roles = vec![Role::KeyCustodian]
        }),
        ("a witness who is more", Kind::Generation, Control::Gen13, |s| {
            person(s, "walter").roles = vec![Role::Witness, Role::SecurityOfficer];
        }),
        ("an operator with a component", Kind::Generation, Control::Rec04, |s| {
            person(s, "alice").roles = vec![Role::Operator, Role::KeyCustodian];
        }),
        ("a witness with a component", Kind::Generation, Control::Rec04, |s| {
            member(s, 0).holder = name("walter")
        }),
        ("a witness with an old component that stays away", Kind::Drill, Control::Rec04, |s| {
            person(s, "erin").roles = vec![Role::Witness];
        }),
        ("an operator with an old component that stays away", Kind::Drill, Control::Rec04, |s| {
            person(s, "erin").roles = vec![Role::Operator];
        }),
        ("a stranger with a component", Kind::Generation, Control::Rec04, |s| {
            member(s, 0).holder = name("zoe")
        }),
        // Keys of people whom the deployment knows.
        ("another key than in genesis", Kind::Generation, Control::Gen03, |s| {
            person(s, "alice").key = fixtures::public("mallory");
        }),
        ("a key of somebody else in genesis", Kind::Generation, Control::Gen03, |s| {
            person(s, "dave").id = name("mallory");
            member(s, 1).holder = name("mallory");
        }),
        ("a key of a machine", Kind::Generation, Control::Gen03, |s| {
            person(s, "walter").key = fixtures::public("server");
        }),
        ("the key of a machine's link", Kind::Generation, Control::Gen03, |s| {
            person(s, "walter").key = genesis().machines[0].tls;
        }),
        ("the key of another's link", Kind::Generation, Control::Gen03, |s| {
            person(s, "walter").key = genesis().people[0].keys[0].tls;
        }),
        ("one person of genesis", Kind::Generation, Control::Gen03, |s| {
            for who in ["bob", "carol", "dave"] {
                let stranger = format!("{who}-x");
                let found = person(s, who);
                (found.id, found.key) = (name(&stranger), fixtures::public(&stranger));
            }
            member(s, 0).holder = name("carol-x");
            member(s, 1).holder = name("dave-x");
        }),
        ("another deployment", Kind::Generation, Control::Genesis, |s| s.genesis = Hash([1; 32])),
        ("another network", Kind::Generation, Control::Genesis, |s| {
            s.network = custody::genesis::TEST_NETWORKS[1].into();
        }),
        ("other co-signers", Kind::Generation, Control::Genesis, |s| {
            s.cosigners.as_mut().unwrap().holders.swap(0, 1);
        }),
        ("a recovery to others than genesis names", Kind::Recovery, Control::Genesis, |s| {
            s.cosigners.as_mut().unwrap().holders = ["n1", "n2", "n3"].map(name).to_vec();
        }),
        ("a recovery with another threshold", Kind::Recovery, Control::Genesis, |s| {
            s.cosigners.as_mut().unwrap().threshold = 3;
        }),
        ("another threshold of co-signers", Kind::Generation, Control::Genesis, |s| {
            s.cosigners.as_mut().unwrap().threshold = 3;
        }),
        // Randomness.
        ("too few dice", Kind::Generation, Control::Gen01, |s| s.entropy.dice = 199),
        ("too few coins", Kind::Generation, Control::Gen01, |s| s.entropy.coins = 599),
        ("too many coins", Kind::Generation, Control::Gen01, |s| s.entropy.coins = 4_097),
        ("randomness without a secret to make", Kind::Drill, Control::Form, |s| s.entropy.hsm = true),
        // No link where coins have a value.
        ("a link on a main network", Kind::Generation, Control::Gen06, |s| {
            s.network = "bip122:000000000019d6689c085ae165831e93".into();
            s.deviations = vec![FindingKind::NetworkLink];
        }),
        // Components.
        ("one component rebuilds", Kind::Generation, Control::Rec06, |s| new_set(s).groups[0].threshold = 1),
        ("more than there are", Kind::Generation, Control::Rec06, |s| new_set(s).groups[0].threshold = 4),
        ("one co-signer signs", Kind::Recovery, Control::Rec06, |s| {
            s.cosigners.as_mut().unwrap().threshold = 1
        }),
        ("more co-signers sign than there are", Kind::Recovery, Control::Rec06, |s| {
            s.cosigners.as_mut().unwrap().threshold = 4;
        }),
        ("one person recovers", Kind::Generation, Control::Rec04, |s| member(s, 1).holder = name("carol")),
        ("two components, too few to recover", Kind::Generation, Control::Rec07, |s| {
            three_of_four(s);
            member(s, 1).holder = name("carol");
        }),
        ("an old and a new component", Kind::Components, Control::Rec07, |s| {
            member(s, 2).holder = name("erin")
        }),
        ("old ones stay with new ones", Kind::Components, Control::Rec07, |s| {
            old(s).afterwards = Afterwards::Returned;
        }),
        ("enough of the old set is left", Kind::Components, Control::Rec07, |s| {
            let site = Site { name: name("east"), address: "east street 1".into(), operations: false };
            s.sites.push(site);
            let set = &mut old(s).components;
            let (holder, site) = (name("gina"), name("east"));
            set.groups[0].members.push(Member {
                holder,
                site,
                container: "safe".into(),
                seal: "old-4".into(),
            });
        }),
        ("the only ones are destroyed", Kind::Drill, Control::Rec00, |s| {
            old(s).afterwards = Afterwards::Destroyed
        }),
        // Sites.
        ("an operations site recovers", Kind::Generation, Control::Rec03, |s| {
            member(s, 1).site = name("north")
        }),
        ("a site recovers", Kind::Generation, Control::Rec03, |s| member(s, 2).site = name("south")),
        ("fewer sites than recover", Kind::Generation, Control::Rec03, |s| {
            three_of_four(s);
            member(s, 2).site = name("north");
            member(s, 3).site = name("south");
        }),
        ("an unknown site", Kind::Generation, Control::Rec03, |s| member(s, 1).site = name("moon")),
        ("no container", Kind::Generation, Control::Rec03, |s| member(s, 1).container.clear()),
        ("one seal for two", Kind::Generation, Control::Rec03, |s| {
            member(s, 0).seal = "X".into();
            member(s, 1).seal = "X".into();
        }),
        ("one seal for two old ones", Kind::Drill, Control::Rec03, |s| {
            let set = &mut old(s).components.groups[0].members;
            set[0].seal = set[1].seal.clone();
        }),
        ("an old one without a seal", Kind::Drill, Control::Rec03, |s| {
            old(s).components.groups[0].members[2].seal.clear();
        }),
        // Two media.
        ("no key for the file", Kind::Generation, Control::Rec08, |s| person(s, "carol").age = None),
        ("one key for two files", Kind::Generation, Control::Rec08, |s| {
            person(s, "carol").age = Some("age1dave".into());
        }),
        ("a key of something else", Kind::Generation, Control::Rec08, |s| {
            person(s, "carol").age = Some("ssh-ed25519 AAAA".into());
        }),
        ("a name that no sheet can show", Kind::Generation, Control::Rec08, |s| s.title = "儀式".into()),
        // What exists.
        ("nothing exists", Kind::Drill, Control::Rec00, |s| s.held = None),
        ("something exists already", Kind::Generation, Control::Rec00, |s| s.held = script(Kind::Drill).held),
        ("too few are brought", Kind::Drill, Control::Rec00, |s| old(s).brought.truncate(1)),
        ("one is brought twice", Kind::Drill, Control::Rec00, |s| {
            let mut again = old(s).brought[0].clone();
            again.health = health("old", id("1.3"));
            old(s).brought.push(again);
        }),
        ("two are the same", Kind::Drill, Control::Rec00, |s| {
            old(s).brought[0].health = old(s).brought[1].health
        }),
        ("one is brought that is none", Kind::Drill, Control::Rec00, |s| {
            old(s).brought[0].component = id("2.1")
        }),
        ("somebody brings another's", Kind::Drill, Control::Rec04, |s| {
            person(s, "carol").roles = vec![Role::SecurityOfficer];
        }),
        ("nothing to compare with", Kind::Recovery, Control::Rec01, |s| old(s).known.clear()),
        ("not all to compare with", Kind::Drill, Control::Rec01, |s| old(s).known.truncate(1)),
        ("a known account twice", Kind::Recovery, Control::Rec01, |s| {
            let again = old(s).known[0].clone();
            old(s).known.push(again);
        }),
        ("a known account beyond BIP-32", Kind::Recovery, Control::Rec01, |s| {
            old(s).known[0].number = 1 << 31
        }),
        // Form.
        ("a name that is not what is seen", Kind::Generation, Control::Form, |s| {
            person(s, "bob").name = "Bob \u{202e}ecilA".into();
        }),
        ("a name with something of no width", Kind::Generation, Control::Form, |s| {
            s.place = "Room\u{200b} 3".into()
        }),
        ("components in a drill", Kind::Drill, Control::Form, |s| {
            s.components = script(Kind::Generation).components;
        }),
        ("no components in a generation", Kind::Generation, Control::Form, |s| s.components = None),
        ("co-signers in a drill", Kind::Drill, Control::Form, |s| {
            s.cosigners = script(Kind::Generation).cosigners;
        }),
        ("no co-signers in a recovery", Kind::Recovery, Control::Form, |s| s.cosigners = None),
        ("a co-signer twice", Kind::Recovery, Control::Form, |s| {
            s.cosigners.as_mut().unwrap().holders[1] = name("s1");
        }),
        ("no account", Kind::Generation, Control::Form, |s| s.accounts.count = 0),
        ("an account beyond BIP-32", Kind::Generation, Control::Form, |s| s.accounts.first = (1 << 31) - 1),
        ("an index beyond BIP-32", Kind::Generation, Control::Form, |s| s.highest_index = 1 << 31),
        ("two sites of a name", Kind::Generation, Control::Form, |s| s.sites[2].name = name("south")),
        ("no title", Kind::Generation, Control::Form, |s| s.title = " ".into()),
        ("a title of two lines", Kind::Generation, Control::Form, |s| s.title = "a\nb".into()),
        ("an escape in the register", Kind::Generation, Control::Form, |s| {
            s.hardware[0].maker = "\u{1b}[2J".into();
        }),
        ("no device", Kind::Generation, Control::Form, |s| s.hardware.clear()),
        ("deviations out of order", Kind::Generation, Control::Form, |s| s.deviations.swap(0, 1)),
        ("a deviation twice", Kind::Generation, Control::Form, |s| {
            s.deviations.insert(0, FindingKind::Hypervisor)
        }),
    ];
    for (what, kind, control, change) in cases {
        let mut broken = script(*kind);
        change(&mut broken);
        let breach = broken.check(&genesis()).expect_err(what);
        assert_eq!(breach.control, *control, "{what}: {breach}");
    }
}

/// The keys of co-signers, all of them, are keys of nobody in the room.
#[test]
fn no_person_has_a_key_of_a_cosigner() {
    for card in &genesis().cosigners {
        for key in card.keys() {
            let mut broken = script(Kind::Generation);
            person(&mut broken, "walter").key = key;
            assert_eq!(broken.check(&genesis()).unwrap_err().control, Control::Gen03);
        }
    }
}

/// The report of an earlier ceremony that made components.
fn earlier(kind: Kind) -> Verified {
    verify(&held(kind).signed_report().unwrap().bytes(), &Against::default()).unwrap()
}

/// A script for what an earlier ceremony made.
fn after(earlier: &Verified, kind: Kind) -> Script {
    let mut script = script(kind);
    let held = old(&mut script);
    held.report = earlier.hash;
    for brought in &mut held.brought {
        brought.health = health("new", brought.component);
    }
    script
}

/// Whose secret is rebuilt rests on the report of the ceremony that made it, not on whoever wrote the script.
#[test]
fn what_is_held_is_what_an_earlier_ceremony_made() {
    let made = earlier(Kind::Generation);
    for kind in [Kind::Components, Kind::Recovery, Kind::Drill] {
        let script = after(&made, kind);
        script.check(&genesis()).unwrap();
        script.check_held_by(&made).unwrap();
        // Of a set that took the place of the first one, too.
        let again = earlier(Kind::Components);
        after(&again, kind).check_held_by(&again).unwrap();
        assert_eq!(script.check_held_by(&again).unwrap_err().control, Control::Rec00);
    }
    let cases: [(&str, Control, Change); 7] = [
        ("another report", Control::Rec00, |s| old(s).report = Hash([9; 32])),
        ("another network", Control::Genesis, |s| s.network = "bip122:other".into()),
        ("another scheme", Control::Rec00, |s| old(s).components.groups[0].threshold = 3),
        ("a component of somebody else", Control::Rec00, |s| {
            old(s).brought[1].health = health("old", id("1.2"))
        }),
        ("components that changed places", Control::Rec00, |s| {
            let brought = &mut old(s).brought;
            (brought[0].health, brought[1].health) = (brought[1].health, brought[0].health);
        }),
        ("accounts of another secret", Control::Rec01, |s| {
            old(s).known[1].account = fixtures::Account::new(7).key();
        }),
        ("no account that is tied", Control::Rec01, |s| {
            old(s).known = vec![KnownAccount { number: 7, account: fixtures::Account::new(7).key() }];
        }),
    ];
    for (what, control, change) in cases {
        let mut other = after(&made, Kind::Recovery);
        change(&mut other);
        let breach = other.check_held_by(&made).expect_err(what);
        assert_eq!(breach.control, control, "{what}: {breach}");
    }
    // One account is enough: what a later ceremony dealt of the same secret stands in no report of this one.
    let mut more = after(&made, Kind::Recovery);
    old(&mut more).known.push(KnownAccount { number: 7, account: fixtures::Account::new(7).key() });
    more.check_held_by(&made).unwrap();
    // A ceremony that made no components, and one that was given up.
    let drill = earlier(Kind::Drill);
    assert_eq!(after(&drill, Kind::Drill).check_held_by(&drill).unwrap_err().control, Control::Rec00);
    let mut run = begun(Kind::Generation);
    up_to(&mut run, "hand-over-s1");
    run.abort(rehearsal::START + 999, "the fire alarm").unwrap();
    finish(&mut run);
    let aborted = verify(&run.signed_report().unwrap().bytes(), &Against::default()).unwrap();
    assert_eq!(after(&aborted, Kind::Drill).check_held_by(&aborted).unwrap_err().control, Control::Rec00);
    // Given up while the old set was destroyed, it left the new one.
    let mut run = begun(Kind::Components);
    up_to(&mut run, "retire-1.1");
    run.abort(rehearsal::START + 999, "the fire alarm").unwrap();
    finish(&mut run);
    let kept = verify(&run.signed_report().unwrap().bytes(), &Against::default()).unwrap();
    after(&kept, Kind::Drill).check_held_by(&kept).unwrap();
    assert_eq!(script(Kind::Generation).check_held_by(&made).unwrap_err().control, Control::Form);
}

#[test]
fn limits_on_both_sides() {
    let passes = |change: &dyn Fn(&mut Script)| {
        let mut changed = script(Kind::Generation);
        change(&mut changed);
        changed.check(&genesis()).is_ok()
    };
    let accounts = |count: usize| passes(&|s| s.accounts.count = count.try_into().unwrap());
    assert!(accounts(1) && accounts(SLOTS_LIMIT) && !accounts(SLOTS_LIMIT + 1));
    let place = |length: usize| passes(&|s| s.place = "x".repeat(length));
    assert!(place(TEXT_LIMIT_BYTES) && !place(TEXT_LIMIT_BYTES + 1));
    let devices = |count: usize| passes(&|s| s.hardware = vec![s.hardware[0].clone(); count]);
    assert!(devices(HARDWARE_LIMIT) && !devices(HARDWARE_LIMIT + 1));
    let people = |count: usize| {
        passes(&|s| {
            for number in s.people.len()..count {
                let more = format!("guest-{number}");
                let guest = s.people[6].clone();
                let (id, key) = (name(&more), fixtures::public(&more));
                s.people.push(ceremony::script::Person { id, key, ..guest });
            }
        })
    };
    assert!(people(PEOPLE_LIMIT) && !people(PEOPLE_LIMIT + 1));
    let dice = |throws: u32| passes(&|s| s.entropy.dice = throws);
    assert!(dice(0) && dice(200) && dice(4_096) && !dice(199) && !dice(4_097));
    let known = |count: u32| {
        let mut changed = script(Kind::Recovery);
        let account = |number| KnownAccount { number, account: fixtures::Account::new(0).key() };
        old(&mut changed).known = (0..count).map(account).collect();
        changed.check(&genesis()).is_ok()
    };
    let most = u32::try_from(SLOTS_LIMIT).unwrap();
    assert!(known(1) && known(most) && !known(most + 1));
    let quorum = |people: u32| passes(&|s| s.deviation_quorum = people);
    assert!(quorum(2) && quorum(7) && !quorum(1) && !quorum(8));
    let last = |first: u32| passes(&|s| s.accounts = Accounts { first, count: 2 });
    assert!(last((1 << 31) - 2) && !last((1 << 31) - 1));
}

/// A main network is none that genesis admits yet; the rule stands in the script all the same.
#[test]
fn deviations_for_links_are_for_rehearsals() {
    let mut main = script(Kind::Generation);
    assert!(main.is_rehearsal());
    main.deviations = vec![FindingKind::NetworkLink, FindingKind::Route];
    main.check_alone().unwrap();
    main.network = "bip122:000000000019d6689c085ae165831e93".into();
    assert!(!main.is_rehearsal());
    assert_eq!(main.check_alone().unwrap_err().control, Control::Gen06);
    main.deviations = vec![FindingKind::Hypervisor];
    main.check_alone().unwrap();
}

#[test]
fn a_script_is_read_from_its_canonical_bytes_only() {
    for kind in KINDS {
        let script = script(kind);
        assert_eq!(Script::parse(&script.bytes()).unwrap(), script);
    }
    let text = String::from_utf8(script(Kind::Generation).bytes()).unwrap();
    for (other, words) in [
        (text.replacen('{', "{ ", 1), "canonical"),
        (text.replacen("{\"accounts\"", "{\"a\":1,\"accounts\"", 1), "unknown field"),
        (text.replace("ceremony-script/v1", "ceremony-script/v2"), "v2"),
        (text.replace("\"generation\"", "\"improvisation\""), "improvisation"),
        (text.replace("\"hypervisor\"", "\"anything\""), "anything"),
    ] {
        assert_ne!(other, text);
        let breach = Script::parse(other.as_bytes()).unwrap_err();
        assert!(breach.control == Control::Form && breach.why.contains(words), "{words}: {breach}");
    }
}

#[test]
fn components_are_counted_as_people_count() {
    assert_eq!(ComponentId { group: 0, member: 1 }.to_string(), "1.2");
    assert_eq!(id("16.16"), ComponentId { group: 15, member: 15 });
    for bad in ["0.1", "1.0", "1", "1.2.3", "01.2", "+1.2", "1.", " 1.2", "a.b", "256.1"] {
        assert!(bad.parse::<ComponentId>().is_err(), "{bad}");
    }
}

#[test]
fn the_steps_of_each_kind() {
    let ids = |kind| steps(&script(kind)).into_iter().map(|step| step.id).collect::<Vec<_>>().join(" ");
    let begin = "arrive-alice arrive-bob arrive-carol arrive-dave arrive-erin arrive-frank arrive-walter \
        compare-script compare-genesis hardware-1 record inspect";
    let turn = |id: &str| format!("print-{id} read-back-paper-{id} write-{id} read-back-file-{id} seal-{id}");
    let turns = ["1.1", "1.2", "1.3"].map(turn).join(" ");
    let enter = "open-1.1 enter-1.1 open-1.2 enter-1.2 combine";
    let hand_over = "hand-over-s1 hand-over-s2 hand-over-s3";
    let end = "close-report sign-alice sign-bob sign-carol sign-dave sign-erin sign-frank sign-walter";
    let erase = "inspect-again erase";
    assert_eq!(
        ids(Kind::Generation),
        format!(
            "{begin} entropy-operating-system entropy-dice generate verify-combinations {turns} restore-test \
             seal-shares {erase} {hand_over} {end}"
        )
    );
    assert_eq!(
        ids(Kind::Components),
        format!(
            "{begin} {enter} verify-combinations {turns} restore-test {erase} retire-1.1 retire-1.2 {end}"
        )
    );
    assert_eq!(
        ids(Kind::Recovery),
        format!("{begin} {enter} restore-test seal-shares {erase} {hand_over} return-1.1 return-1.2 {end}")
    );
    assert_eq!(ids(Kind::Drill), format!("{begin} {enter} restore-test {erase} return-1.1 return-1.2 {end}"));
}

#[test]
fn every_step_says_who_does_what_and_what_is_kept() {
    for kind in KINDS {
        let script = script(kind);
        let steps = steps(&script);
        for step in &steps {
            assert!(
                !step.people.is_empty() && step.says.ends_with('.') && !step.records.is_empty(),
                "{}",
                step.id
            );
            assert!(
                step.people.iter().all(|who| script.person(who).unwrap().roles.contains(&step.role))
                    || step.people.len() == 7
            );
            assert!(step.may_deviate.iter().all(|kind| script.deviations.contains(kind)));
            // Words of a component are seen by its holder alone (DACS GEN-07).
            assert!(
                !step.private || (step.people.len() == 1 && step.role == Role::KeyCustodian),
                "{}",
                step.id
            );
        }
        let mut ids: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), steps.len());
        // Secrets are there from one step to another, without a gap, and nothing is private outside.
        let secret: Vec<bool> = steps.iter().map(|step| step.secret).collect();
        let first = secret.iter().position(|secret| *secret).unwrap();
        let last = secret.iter().rposition(|secret| *secret).unwrap();
        assert!(secret[first..=last].iter().all(|secret| *secret));
        assert_eq!(steps[last].action, Action::Erase);
        assert!(steps.iter().all(|step| step.secret || !step.private));
    }
}

#[test]
fn both_media_of_each_component_are_verified_before_anything_is_dealt() {
    let list = actions(&script(Kind::Generation));
    let at = |action: &Action| list.iter().position(|other| other == action).unwrap();
    for member in 0..3 {
        let id = ComponentId { group: 0, member };
        assert!(at(&Action::PrintSheet(id)) < at(&Action::ReadBack(id, Medium::Paper)));
        assert!(at(&Action::WriteFile(id)) < at(&Action::ReadBack(id, Medium::File)));
        for medium in Medium::ALL {
            assert!(at(&Action::ReadBack(id, medium)) < at(&Action::Seal(id)));
        }
        assert!(at(&Action::Seal(id)) < at(&Action::RestoreTest));
    }
    assert!(at(&Action::RestoreTest) < at(&Action::SealShares));
    assert!(at(&Action::SealShares) < at(&Action::Erase));
}

#[test]
fn groups_count() {
    let mut two = script(Kind::Generation);
    let group = |holders: [&str; 2]| {
        let mut members = rehearsal::components([holders[0], holders[1], "x"], "").groups.remove(0).members;
        members.truncate(2);
        Group { threshold: 2, members }
    };
    two.components = Some(ceremony::script::Components {
        group_threshold: 2,
        groups: vec![group(["carol", "dave"]), group(["erin", "frank"])],
    });
    // Four components of two groups at two sites: each site has one of each group, and four rebuild.
    let breach = two.check(&genesis()).unwrap_err();
    assert_eq!(breach.control, Control::Rec03, "{breach}");
    assert_eq!(two.components.unwrap().fewest(), 4);
}

/// What counts is whether components recover, not how many they are: three of one group and one of another do not.
#[test]
fn components_of_one_group_do_not_stand_in_for_those_of_another() {
    let holders = ["carol", "dave", "erin", "frank", "gus", "hal", "ida"];
    let people = |script: &mut Script| {
        for who in &holders[4..] {
            let mut custodian = person(script, "carol").clone();
            (custodian.id, custodian.key) = (name(who), fixtures::public(who));
            custodian.age = Some(format!("age1{who}"));
            script.people.push(custodian);
        }
        let site = |site: &str| Site { name: name(site), address: "1".into(), operations: false };
        script.sites.push(site("east"));
    };
    // Two of three in the north, and two of four at as many sites; both groups recover.
    let member = |(holder, site): (&&str, &str)| Member {
        holder: name(holder),
        site: name(site),
        container: "safe".into(),
        seal: format!("S-{holder}"),
    };
    let group = |holders: &[&str], sites: &[&str]| Group {
        threshold: 2,
        members: holders.iter().zip(sites.iter().copied()).map(member).collect(),
    };
    let set = |last: &str| ceremony::script::Components {
        group_threshold: 2,
        groups: vec![
            group(&holders[..3], &["north"; 3]),
            group(&holders[3..], &["north", "south", "west", last]),
        ],
    };

    let mut made = script(Kind::Generation);
    people(&mut made);
    made.components = Some(set("east"));
    assert_eq!(set("east").fewest(), 4);
    // Four components in the north are as many as recover, and do not.
    made.check(&genesis()).unwrap();
    // Two of each group do; nor are three sites enough.
    made.components = Some(set("north"));
    assert_eq!(made.check(&genesis()).unwrap_err().control, Control::Rec03);

    let mut drill = script(Kind::Drill);
    people(&mut drill);
    old(&mut drill).components = set("east");
    let mut bring = |ids: &[&str]| {
        let brought = |text: &&str| Brought { component: id(text), health: health("old", id(text)) };
        old(&mut drill).brought = ids.iter().map(brought).collect();
        drill.check(&genesis()).map_err(|breach| breach.control)
    };
    assert_eq!(bring(&["1.1", "1.2", "2.1", "2.4"]), Ok(()));
    assert_eq!(bring(&["1.1", "1.2", "1.3", "2.1"]), Err(Control::Rec00));
    assert_eq!(bring(&["2.1", "2.2", "2.3", "2.4"]), Err(Control::Rec00));
}
