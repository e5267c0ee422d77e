//! The worker from outside: what it answers in a whole ceremony of each kind, and that no order of asks
//! leads around a phase.

mod common;
mod rehearsal;

use std::collections::BTreeMap;

use ceremony::component::Component;
use ceremony::entropy::Source;
use ceremony::files::SealedShares;
use ceremony::record;
use ceremony::script::{ComponentId, Kind, KnownAccount, Medium, Script};
use ceremony::secrets::{Sealed, sign};
use ceremony::slip39::Mnemonic;
use ceremony::worker::{Answer, Ask, Worker};
use common::{Random, device, opened};
use custody::document::{CeremonyRecord, CosignerCard, Document};
use custody::effects::AccountKey;
use custody::{Blob, Hash};
use fixtures::World;
use keys::locked::LockedBytes;
use proptest::prelude::*;
use rehearsal::{genesis, id, script};

/// A worker, asked by somebody who keeps what a program and its holders keep.
struct Desk {
    worker: Worker<Random>,
}

impl Desk {
    fn new(seed: u64) -> Self {
        Self { worker: Worker::new(Random::new(seed)) }
    }

    fn ask_with(&mut self, ask: Ask, typed: &[u8]) -> (Answer, String) {
        let mut typed = if typed.is_empty() { vec![0] } else { typed.to_vec() };
        let mut secret = LockedBytes::take(&mut typed).unwrap();
        if secret.expose() == [0] {
            secret.truncate(0);
        }
        let (answer, words) = self.worker.answer(ask, secret).unwrap();
        let words = words.map(|words| String::from_utf8(words.expose().to_vec()).unwrap());
        (answer, words.unwrap_or_default())
    }

    fn ask(&mut self, ask: Ask) -> Answer {
        self.ask_with(ask, b"").0
    }

    fn begin(&mut self, script: &Script) {
        assert_eq!(self.ask(begin(script)), Answer::Done);
    }

    /// From the first throw to the shares.
    fn generate(&mut self, script: &Script) -> Made {
        self.begin(script);
        self.gather();
        let Answer::Generated { nonce, entropy } = self.ask(Ask::Generate) else { panic!("no secret") };
        assert!(entropy.check().is_ok());
        let Answer::Verified { combinations, health, accounts } = self.ask(Ask::Verify) else {
            panic!("not verified")
        };
        assert_eq!(combinations, 3);
        let components = self.components(script, &health);
        let Answer::Restored { accounts: rebuilt, signatures } = self.ask(Ask::Restore) else {
            panic!("not restored")
        };
        assert_eq!(rebuilt, accounts);
        let Answer::Sealed { record, shares, sets } = self.ask(Ask::SealShares) else { panic!("no shares") };
        assert_eq!((sets, record.nonce), (6, nonce));
        Made { components, accounts, record: *record, shares, signatures }
    }

    fn gather(&mut self) {
        for source in [Source::OperatingSystem, Source::Dice] {
            let dice: Vec<u8> = (0..160u32).map(|i| b'1' + Hash::sha256(&i.to_be_bytes()).0[0] % 6).collect();
            let typed = if source == Source::Dice { &dice[..] } else { b"" };
            let (answer, _) = self.ask_with(Ask::Gather { source }, typed);
            assert!(matches!(answer, Answer::Gathered { .. }), "{answer:?}");
        }
    }

    /// Shows every component to its holder, who reads it back from both media.
    fn components(&mut self, script: &Script, health: &[Hash]) -> BTreeMap<ComponentId, String> {
        let mut all = BTreeMap::new();
        let ids: Vec<ComponentId> = script.components.as_ref().unwrap().members().map(|(id, _)| id).collect();
        for (component, expected) in ids.into_iter().zip(health) {
            let (answer, words) = self.ask_with(Ask::Show { component }, b"");
            assert_eq!(answer, Answer::Component { health: *expected });
            for medium in [Medium::Paper, Medium::File] {
                let (answer, _) = self.ask_with(Ask::ReadBack { component, medium }, words.as_bytes());
                assert_eq!(answer, Answer::Read { health: *expected });
            }
            all.insert(component, words);
        }
        all
    }

    fn enter(&mut self, component: ComponentId, words: &str) -> Answer {
        self.ask_with(Ask::Enter { component }, words.as_bytes()).0
    }
}

/// What a generation left.
struct Made {
    components: BTreeMap<ComponentId, String>,
    accounts: Vec<AccountKey>,
    record: CeremonyRecord,
    shares: SealedShares,
    signatures: Vec<Blob>,
}

fn begin(script: &Script) -> Ask {
    Ask::Begin {
        script: Blob(script.bytes()),
        genesis: Blob(genesis().bytes()),
        cards: Vec::new(),
        held_at: rehearsal::START,
        program: Hash([7; 32]),
    }
}

/// A script of another kind over the components of a generation.
fn after(kind: Kind, made: &Made) -> Script {
    let mut script = script(kind);
    let held = script.held.as_mut().unwrap();
    held.known = (0u32..)
        .zip(&made.accounts)
        .map(|(number, key)| KnownAccount { number, account: key.clone() })
        .collect();
    for brought in &mut held.brought {
        brought.health = health_key(&made.components[&brought.component]);
    }
    script
}

fn health_key(words: &str) -> Hash {
    Component::health_of(&Mnemonic::parse(words).unwrap())
}

/// The record and the shares go where those of a ceremony go.
fn taken_by_the_log(made: &Made) -> Hash {
    let sealed = Sealed { record: made.record.clone(), shares: made.shares.clone() };
    let mut record = sealed.finish(Hash([5; 32]), made.signatures.clone());
    for who in ["alice", "bob"] {
        sign(&mut record, &genesis(), &device(who)).unwrap();
    }
    record::check(&record, &genesis()).unwrap();
    assert_eq!(opened(&record, &made.shares).len(), 6);
    let ceremony = record.id(&genesis().hash());
    assert_eq!(made.shares.ceremony, ceremony, "the report and the signatures change nothing for the shares");
    World::new(genesis()).adopt(Document::Ceremony(record));
    ceremony
}

#[test]
fn a_generation_and_a_recovery_into_another_deployment() {
    let made = Desk::new(1).generate(&script(Kind::Generation));
    let first = taken_by_the_log(&made);
    // The log of another deployment of the same genesis has none of these accounts: P31.
    let again = after(Kind::Recovery, &made);
    for lost in made.components.keys() {
        let mut again = again.clone();
        let held = again.held.as_mut().unwrap();
        let brought: Vec<ComponentId> = made.components.keys().copied().filter(|id| id != lost).collect();
        for (place, id) in held.brought.iter_mut().zip(&brought) {
            (place.component, place.health) = (*id, health_key(&made.components[id]));
        }
        let mut desk = Desk::new(2);
        desk.begin(&again);
        for id in &brought {
            assert_eq!(
                desk.enter(*id, &made.components[id]),
                Answer::Read { health: health_key(&made.components[id]) }
            );
        }
        let Answer::Combined { known, .. } = desk.ask(Ask::Combine) else { panic!("not combined") };
        assert_eq!(known, made.accounts);
        let Answer::Restored { accounts, signatures } = desk.ask(Ask::Restore) else {
            panic!("not restored")
        };
        assert_eq!(accounts, made.accounts, "addresses do not change");
        let Answer::Sealed { record, shares, .. } = desk.ask(Ask::SealShares) else { panic!("no shares") };
        let other = Made { components: BTreeMap::new(), accounts, record: *record, shares, signatures };
        assert_ne!(taken_by_the_log(&other), first);
    }
}

#[test]
fn other_components_of_the_same_secret_and_a_drill() {
    let made = Desk::new(1).generate(&script(Kind::Generation));
    let again = after(Kind::Components, &made);
    let mut desk = Desk::new(2);
    desk.begin(&again);
    for id in [id("1.1"), id("1.2")] {
        desk.enter(id, &made.components[&id]);
    }
    assert!(matches!(desk.ask(Ask::Combine), Answer::Combined { known, .. } if known == made.accounts));
    let Answer::Verified { health: fresh, accounts, .. } = desk.ask(Ask::Verify) else { panic!("no set") };
    assert_eq!(accounts, made.accounts);
    let components = desk.components(&again, &fresh);
    assert!(components.values().all(|words| !made.components.values().any(|old| old == words)));
    assert!(matches!(desk.ask(Ask::Restore), Answer::Restored { accounts, .. } if accounts == made.accounts));
    assert!(matches!(desk.ask(Ask::SealShares), Answer::Refused { .. }), "this kind deals nothing");
    // A drill with the sheet of another set: it is refused at once, and the right one is taken after it.
    let drill = after(Kind::Drill, &made);
    let mut desk = Desk::new(3);
    desk.begin(&drill);
    desk.enter(id("1.1"), &made.components[&id("1.1")]);
    let Answer::Refused { why } = desk.enter(id("1.2"), &components[&id("1.2")]) else { panic!("taken") };
    assert!(why.contains("bring the right one"), "{why}");
    assert!(matches!(desk.ask(Ask::Combine), Answer::Refused { .. }), "one is too few");
    for id in [id("1.1"), id("1.2")] {
        assert!(matches!(desk.enter(id, &made.components[&id]), Answer::Read { .. }));
    }
    assert!(matches!(desk.ask(Ask::Combine), Answer::Combined { .. }));
    assert!(matches!(desk.ask(Ask::Restore), Answer::Restored { accounts, .. } if accounts == made.accounts));
    assert!(matches!(desk.ask(Ask::SealShares), Answer::Refused { .. }));
    // A script whose accounts are of another seed.
    let mut other = after(Kind::Drill, &made);
    other.held.as_mut().unwrap().known[0].account = fixtures::Account::new(0).key();
    let mut desk = Desk::new(3);
    desk.begin(&other);
    for id in [id("1.1"), id("1.2")] {
        desk.enter(id, &made.components[&id]);
    }
    let Answer::Failed { why } = desk.ask(Ask::Combine) else { panic!("another seed was taken") };
    assert!(why.contains("another seed"), "{why}");
    assert!(matches!(desk.ask(Ask::Restore), Answer::Refused { .. }), "everything is forgotten");
}

/// Whoever knows the generator, and nothing of the dice, learns nothing from it: not how the secret was split,
/// not the polynomials of the accounts (DACS GEN-00).
#[test]
fn a_known_generator_gives_nothing_away_beside_good_dice() {
    let throws = |seed: u32| -> Vec<u8> {
        (0..200u32).map(|i| b'1' + Hash::sha256(&(i + 1_000 * seed).to_be_bytes()).0[0] % 6).collect()
    };
    let with = |seed: u32| {
        let (mut desk, script) = (Desk::new(7), script(Kind::Generation));
        desk.begin(&script);
        desk.ask(Ask::Gather { source: Source::OperatingSystem });
        desk.ask_with(Ask::Gather { source: Source::Dice }, &throws(seed));
        desk.ask(Ask::Generate);
        let Answer::Verified { health, .. } = desk.ask(Ask::Verify) else { panic!("not verified") };
        let words: Vec<String> = desk.components(&script, &health).into_values().collect();
        desk.ask(Ask::Restore);
        let Answer::Sealed { record, .. } = desk.ask(Ask::SealShares) else { panic!("no shares") };
        (words, record.slots)
    };
    let list: Vec<&str> = include_str!("../src/slip39/wordlist.txt").lines().collect();
    // The shared value of a component, in bits: after 40 of header and 4 of padding, before 30 of checksum.
    let bits = |words: &str| -> Vec<usize> {
        let places = words.split(' ').map(|word| list.iter().position(|known| *known == word).unwrap());
        let bits: Vec<usize> =
            places.flat_map(|place| (0..10).rev().map(move |at| place >> at & 1)).collect();
        bits[44..300].to_vec()
    };
    // Any two components of a 2-of-3 lie on one line, whose slope is what the generator was asked for. With a
    // known generator alone it would be the same for all dice, but for four bytes of digest.
    let slope = |words: &[String]| -> Vec<usize> {
        bits(&words[0]).iter().zip(bits(&words[1])).map(|(a, b)| a ^ b).collect()
    };
    let (one, two) = (with(1), with(2));
    let same = slope(&one.0).iter().zip(slope(&two.0)).filter(|(a, b)| *a == b).count();
    assert!(
        (80..176).contains(&same),
        "{same} of 256 bits agree: about half do, of two that are independent"
    );
    for (one, two) in one.1.iter().zip(&two.1) {
        assert_ne!(one.commitments[1], two.commitments[1]);
    }
}

#[test]
fn what_is_read_or_entered_wrongly_is_refused_and_can_be_read_again() {
    let made = Desk::new(1).generate(&script(Kind::Generation));
    let mut desk = Desk::new(1);
    let script = script(Kind::Generation);
    desk.begin(&script);
    assert!(matches!(desk.ask(begin(&script)), Answer::Refused { .. }), "one ceremony each");
    let (bad, _) = desk.ask_with(Ask::Gather { source: Source::Dice }, b"1111111111111111111111111111");
    assert!(matches!(bad, Answer::Refused { .. }), "{bad:?}");
    // Too few of good ones can be thrown again, with more; what the script does not ask for is not taken.
    let few: Vec<u8> = (0..129u32).map(|i| b'1' + Hash::sha256(&i.to_be_bytes()).0[0] % 6).collect();
    let (few, _) = desk.ask_with(Ask::Gather { source: Source::Dice }, &few);
    assert!(matches!(few, Answer::Refused { .. }), "{few:?}");
    let coins: Vec<u8> =
        (0..600u32).map(|i| b"ht"[usize::from(Hash::sha256(&i.to_be_bytes()).0[0] % 2)]).collect();
    let (coins, _) = desk.ask_with(Ask::Gather { source: Source::Coins }, &coins);
    assert!(matches!(coins, Answer::Refused { .. }), "{coins:?}");
    desk.gather();
    let (twice, _) = desk.ask_with(Ask::Gather { source: Source::OperatingSystem }, b"");
    assert!(matches!(twice, Answer::Refused { .. }));
    desk.ask(Ask::Generate);
    desk.ask(Ask::Verify);
    let [one, two] = [id("1.1"), id("1.2")];
    let (_, words) = desk.ask_with(Ask::Show { component: one }, b"");
    assert_eq!(words, made.components[&one], "the same randomness gives the same components");
    let read = |desk: &mut Desk, component, words: &str| {
        let (answer, _) = desk.ask_with(Ask::ReadBack { component, medium: Medium::Paper }, words.as_bytes());
        match answer {
            Answer::Refused { why } => why,
            other => panic!("{other:?}"),
        }
    };
    // The sheet of somebody else, a word too few, no text, a component that there is not.
    assert!(read(&mut desk, one, &made.components[&two]).contains("that is component 1.2, and not 1.1"));
    assert!(!read(&mut desk, one, words.rsplit_once(' ').unwrap().0).is_empty());
    let (answer, _) = desk.ask_with(Ask::ReadBack { component: one, medium: Medium::File }, &[0xff]);
    assert!(matches!(answer, Answer::Refused { .. }));
    assert!(read(&mut desk, id("1.9"), &words).contains("1.9"));
    // A word that is none, and one that is another: the answer names the places, and beside it, for the
    // holder, stand the words that were likely meant.
    let mut typed: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let (fourth, seventh) = (typed[3].clone(), typed[6].clone());
    typed[3].push('x');
    for (place, meant) in [(3, fourth), (6, seventh)] {
        let text = typed.join(" ");
        let (answer, hints) =
            desk.ask_with(Ask::ReadBack { component: one, medium: Medium::Paper }, text.as_bytes());
        let Answer::Refused { why } = answer else { panic!("wrong words were taken") };
        assert!(!words.split(' ').any(|word| why.contains(&format!(" {word} "))), "{why}");
        assert!(hints.contains(&meant), "word {}: {hints:?}", place + 1);
        typed = words.split(' ').map(str::to_owned).collect();
        typed[6] = if typed[6] == "academic" { "acid".into() } else { "academic".into() };
    }
    // A component of another ceremony.
    let other = Desk::new(9).generate(&script);
    assert!(!read(&mut desk, one, &other.components[&one]).is_empty());
    // Everything is read back from both media before the keys are rebuilt.
    let Answer::Refused { why } = desk.ask(Ask::Restore) else { panic!("too early") };
    assert!(why.contains("1.1") && why.contains("paper"), "{why}");
    let health: Vec<Hash> = made.components.values().map(|words| health_key(words)).collect();
    for component in [one, two] {
        for medium in [Medium::Paper, Medium::File] {
            desk.ask_with(Ask::ReadBack { component, medium }, made.components[&component].as_bytes());
        }
    }
    let last = id("1.3");
    desk.ask_with(
        Ask::ReadBack { component: last, medium: Medium::Paper },
        made.components[&last].as_bytes(),
    );
    let Answer::Refused { why } = desk.ask(Ask::Restore) else { panic!("too early") };
    assert!(why.contains("1.3") && why.contains("file"), "{why}");
    desk.components(&script, &health);
    assert!(matches!(desk.ask(Ask::Restore), Answer::Restored { .. }));
}

#[test]
fn a_script_or_genesis_that_is_not_sound_begins_nothing() {
    let good = script(Kind::Generation);
    let alone = |script: &Script| {
        let mut script = script.clone();
        script.components.as_mut().unwrap().groups[0].threshold = 1;
        script
    };
    let other = Script { genesis: Hash([1; 32]), ..good.clone() };
    let long = Script { accounts: ceremony::script::Accounts { first: 0, count: 65 }, ..good.clone() };
    for script in [alone(&good), other, long] {
        assert!(matches!(Desk::new(1).ask(begin(&script)), Answer::Refused { .. }));
    }
}

/// Shares are sealed to the card that is in force, which its co-signer's identity certifies.
#[test]
fn shares_are_sealed_to_later_cards_alone() {
    let begun = |cards: Vec<CosignerCard>| {
        let Ask::Begin { script, genesis, held_at, program, .. } = begin(&script(Kind::Generation)) else {
            unreachable!()
        };
        Desk::new(1).ask(Ask::Begin { script, genesis, cards, held_at, program })
    };
    let now = genesis().cosigners[0].clone();
    let certified = |change: &dyn Fn(&mut CosignerCard)| {
        let mut card = now.clone();
        card.epoch += 1;
        card.seal = fixtures::card("s1", true, 2).seal;
        change(&mut card);
        fixtures::certify(card)
    };
    let later = certified(&|_| {});
    assert_eq!(begun(vec![later.clone()]), Answer::Done);
    let thief = CosignerCard { seal: fixtures::card("mallory", true, 1).seal, ..later.clone() };
    let bad = [
        vec![thief],
        vec![certified(&|card| card.epoch = now.epoch)],
        vec![certified(&|card| card.holds_shares = false)],
        vec![certified(&|card| card.name = fixtures::name("nobody"))],
        vec![CosignerCard { identity: fixtures::public("mallory"), ..later.clone() }],
        vec![later.clone(), later],
    ];
    for cards in bad {
        assert!(matches!(begun(cards.clone()), Answer::Refused { .. }), "{cards:?}");
    }
}

/// Everything that can be asked, by number.
fn anything(number: u8) -> Ask {
    let component = id(["1.1", "1.2", "1.3"][usize::from(number % 3)]);
    let medium = [Medium::Paper, Medium::File][usize::from(number % 2)];
    match number % 9 {
        0 => begin(&script(Kind::Generation)),
        1 => Ask::Gather { source: Source::OperatingSystem },
        2 => Ask::Generate,
        3 => Ask::Enter { component },
        4 => Ask::Combine,
        5 => Ask::Verify,
        6 => Ask::Show { component },
        7 => Ask::ReadBack { component, medium },
        _ if number < 128 => Ask::Restore,
        _ => Ask::SealShares,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is asked in whatever order: shares come only after keys that were rebuilt from components
    /// that were read back from every medium, and a secret only after every source of the script.
    #[test]
    fn no_order_of_asks_leads_around_a_phase(asks in prop::collection::vec(any::<u8>(), 1..60)) {
        let mut desk = Desk::new(4);
        let mut done = std::collections::BTreeSet::new();
        for number in asks {
            let ask = anything(number);
            let answer = desk.ask(ask.clone());
            if matches!(answer, Answer::Refused { .. }) {
                continue;
            }
            // The script asks for dice, which nobody throws here.
            prop_assert!(matches!(ask, Ask::Begin { .. } | Ask::Gather { .. }), "{ask:?} {answer:?}");
            prop_assert!(done.insert(format!("{ask:?}")), "twice: {ask:?}");
        }
    }

    /// The same after the secret was made.
    #[test]
    fn no_share_before_every_medium_was_read(asks in prop::collection::vec(any::<u8>(), 1..60)) {
        let mut desk = Desk::new(4);
        let script = script(Kind::Generation);
        desk.begin(&script);
        desk.gather();
        desk.ask(Ask::Generate);
        desk.ask(Ask::Verify);
        let words: BTreeMap<ComponentId, String> = ["1.1", "1.2", "1.3"]
            .map(|text| (id(text), desk.ask_with(Ask::Show { component: id(text) }, b"").1))
            .into();
        let mut read = std::collections::BTreeSet::new();
        let (mut restored, mut sealed) = (false, false);
        for number in asks {
            let ask = anything(number);
            let typed = match &ask {
                Ask::ReadBack { component, .. } => words[component].clone(),
                _ => String::new(),
            };
            let (answer, _) = desk.ask_with(ask.clone(), typed.as_bytes());
            let taken = !matches!(answer, Answer::Refused { .. });
            match ask {
                Ask::ReadBack { component, medium } if taken => {
                    prop_assert!(!restored);
                    read.insert((component, medium));
                }
                Ask::Restore => {
                    prop_assert_eq!(taken, read.len() == 6 && !sealed);
                    restored |= taken;
                }
                Ask::SealShares => {
                    prop_assert_eq!(taken, restored && !sealed);
                    sealed |= taken;
                }
                Ask::Show { .. } => prop_assert_eq!(taken, !restored),
                Ask::ReadBack { .. } => prop_assert!(restored),
                _ => prop_assert!(!taken, "{ask:?}"),
            }
        }
    }
}
