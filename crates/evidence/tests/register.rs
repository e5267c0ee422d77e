//! The register of recovery components: every entry that it refuses, and what is due when.

use custody::statement::Scope;
use custody::{Blob, Hash};
use ed25519_dalek::{Signer as _, SigningKey};
use evidence::register::{
    ANSWER_LIMIT_S, Answer, CHALLENGE_FORMAT, CLOCK_TOLERANCE_S, Challenge, Component, ComponentId,
    DRILL_INTERVAL_S, Document, Drill, ENTRY_LIMIT_BYTES, Entry, Failed, FreezeDrill, HEALTH_INTERVAL_S,
    Intervals, Medium, NOTICE_S, REVIEW_INTERVAL_S, REVOKED_SLACK_S, Register, RegisterError, Review, Row,
    SealChange, Set, SignedEntry, Signer, Site, Standing, TEXT_LIMIT_BYTES, What,
};
use fixtures::name;

const GENESIS: Hash = Hash([9; 32]);
const REPORT: Hash = Hash([1; 32]);
const START: u64 = fixtures::START;

/// The health key of a component, whose words nobody here has.
fn health(id: &str) -> SigningKey {
    SigningKey::from_bytes(&Hash::sha256(id.as_bytes()).0)
}

fn id(text: &str) -> ComponentId {
    text.parse().unwrap()
}

fn component(component: &str, holder: &str, site: &str) -> Component {
    Component {
        component: id(component),
        container: format!("safe of {site}"),
        health: Hash(health(component).verifying_key().to_bytes()),
        holder: name(holder),
        seal: format!("S-{component}"),
        site: name(site),
    }
}

/// Any 2 of 3, each at a site of its own.
fn set() -> Set {
    let site = |site: &str, operations| Site { name: name(site), operations };
    Set {
        ceremony: Hash([2; 32]),
        components: vec![
            component("1.1", "carol", "north"),
            component("1.2", "dave", "south"),
            component("1.3", "erin", "west"),
        ],
        group_threshold: 1,
        groups: vec![2],
        identifier: 7_001,
        made_at: START,
        replaces: None,
        report: REPORT,
        sites: vec![site("north", false), site("south", false), site("west", true)],
    }
}

fn signer(who: &str) -> Signer {
    Signer { person: name(who), public: fixtures::public(who), revoked_at: None }
}

fn known(key: &Hash) -> Option<Signer> {
    ["alice", "bob"].into_iter().find(|who| fixtures::id(who) == *key).map(signer)
}

/// A register as a file that grows.
#[derive(Default)]
struct Book {
    file: Vec<u8>,
    at: u64,
}

impl Book {
    /// With one set.
    fn new() -> Self {
        let mut book = Self { at: START, ..Self::default() };
        book.add(What::Set(set()));
        book
    }

    fn read(&self) -> Register {
        Register::read(&self.file, GENESIS, &known, self.at).unwrap()
    }

    fn try_add(&mut self, what: What) -> Result<(), RegisterError> {
        let register = if self.file.is_empty() { Register::new(GENESIS) } else { self.read() };
        let entry = register.next(self.at, &signer("alice"), what)?;
        self.file.extend(line(entry, "alice"));
        assert_eq!(self.read().size(), register.size() + 1);
        Ok(())
    }

    fn add(&mut self, what: What) {
        self.try_add(what).unwrap();
    }

    fn refused(&mut self, what: What) -> RegisterError {
        let before = self.file.clone();
        let error = self.try_add(what).unwrap_err();
        assert_eq!(self.file, before);
        error
    }

    fn challenge(&self, component: &str, medium: Medium) -> Challenge {
        Challenge {
            at: self.at,
            by: name("alice"),
            ceremony: set().ceremony,
            component: id(component),
            format: CHALLENGE_FORMAT.into(),
            fresh: Hash::sha256(&self.file),
            medium,
            set: set().identifier,
        }
    }

    /// Asks, and answers `after` seconds later.
    fn prove(&mut self, component: &str, medium: Medium, after: u64) {
        let challenge = self.challenge(component, medium);
        self.add(What::Challenged(challenge.clone()));
        self.at += after;
        self.add(What::Answered(answer(&challenge, &health(component))));
    }

    fn rows(&self, now: u64) -> Vec<Row> {
        self.read().rows(&Intervals::default(), now)
    }

    /// How the rows of a requirement stand, of a component and medium if given.
    fn standing(&self, requirement: &str, words: &str, now: u64) -> Standing {
        let of = |row: &Row| {
            let component = row.component.map(|id| id.to_string()).unwrap_or_default();
            row.requirement == requirement && format!("{component} {}", row.what).contains(words)
        };
        let rows: Vec<Row> = self.rows(now).into_iter().filter(of).collect();
        assert_eq!(rows.len(), 1, "{requirement} {words}");
        rows[0].standing
    }
}

fn line(entry: Entry, who: &str) -> Vec<u8> {
    let signature = fixtures::key(who).sign(&entry.signed_bytes().unwrap()).to_bytes();
    entry.line(signature).unwrap()
}

fn answer(challenge: &Challenge, key: &SigningKey) -> Answer {
    let message = [b"keyward/component-challenge/v1\0", challenge.to_bytes().unwrap().as_slice()].concat();
    Answer { challenge: challenge.hash().unwrap(), signature: Blob(key.sign(&message).to_bytes().to_vec()) }
}

fn reseal(component: &str, found: &str, replaced: &str) -> SealChange {
    SealChange {
        component: id(component),
        found: found.into(),
        reason: "yearly check".into(),
        replaced: replaced.into(),
        set: REPORT,
    }
}

fn drill(report: u8, held_at: u64, passed: bool) -> Drill {
    Drill { held_at, passed, report: Hash([report; 32]), seals: vec![], set: REPORT }
}

#[test]
fn sets_that_may_not_be_in_use() {
    type Change = fn(&mut Set);
    let changes: [(&str, &str, Change); 14] = [
        ("REC-06", "one component alone", |set| set.groups = vec![1]),
        ("REC-00", "do not go together", |set| set.groups = vec![4]),
        ("REC-00", "do not go together", |set| set.groups = vec![0]),
        ("REC-00", "do not go together", |set| set.group_threshold = 0),
        ("REC-00", "do not go together", |set| set.group_threshold = 2),
        ("REC-00", "do not go together", |set| set.components[2].component = id("1.4")),
        ("REC-00", "do not go together", |set| set.components[2].component = id("2.1")),
        ("REC-00", "do not go together", |set| set.components[2].component = id("1.2")),
        ("REC-04", "carol alone", |set| set.components[1].holder = name("carol")),
        ("REC-03", "at 1 sites", |set| set.components.iter_mut().for_each(|c| c.site = name("north"))),
        ("REC-03", "west is a site of operations", |set| set.components[1].site = name("west")),
        ("REC-03", "not described", |set| set.components[1].site = name("east")),
        ("REC-03", "same number", |set| set.components[1].seal = "S-1.1".into()),
        ("REC-07", "two components", |set| {
            set.components[1].holder = name("carol");
            set.groups = vec![3];
        }),
    ];
    for (control, words, change) in changes {
        let mut wrong = set();
        change(&mut wrong);
        let error = wrong.check().unwrap_err();
        assert!(
            matches!(&error, RegisterError::Control { control: c, why } if *c == control && why.contains(words)),
            "{error}"
        );
        // The register takes none either.
        let mut book = Book { at: START, ..Book::default() };
        assert_eq!(book.refused(What::Set(wrong)), error);
    }
    set().check().unwrap();
    // As many sites as components are needed is enough, and fewer at a site of operations too.
    let mut two = set();
    two.components[2].site = name("south");
    two.check().unwrap();
    two.groups = vec![3];
    let error = two.check().unwrap_err();
    assert!(error.to_string().contains("at 2 sites: 3 are needed"), "{error}");
    for part in [|c: &mut Component| c.container.clear(), |c: &mut Component| c.seal = " ".into()] {
        let mut wrong = set();
        part(&mut wrong.components[0]);
        assert!(matches!(wrong.check(), Err(RegisterError::Text(_))));
    }
}

#[test]
fn groups_count_as_the_scheme_says() {
    // Two of two groups: one of one, and two of two.
    let mut grouped = set();
    grouped.group_threshold = 2;
    grouped.groups = vec![1, 2];
    grouped.components[1].component = id("2.1");
    grouped.components[2].component = id("2.2");
    grouped.check().unwrap();
    assert_eq!(grouped.fewest(), 3);
    assert!(grouped.met_by(grouped.components.iter()));
    for missing in 0..3 {
        let rest = grouped.components.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, c)| c);
        assert!(!grouped.met_by(rest));
    }
}

#[test]
fn a_set_is_entered_once_and_replaced_once() {
    let mut book = Book::new();
    assert!(matches!(book.refused(What::Set(set())), RegisterError::Twice(_)));
    let mut next = set();
    next.report = Hash([3; 32]);
    next.ceremony = Hash([4; 32]);
    assert!(matches!(book.refused(What::Set(next.clone())), RegisterError::Seal(_)), "the seals are in use");
    next.components.iter_mut().for_each(|c| c.seal = format!("T-{}", c.component));
    next.made_at = START + 1;
    assert_eq!(book.refused(What::Set(next.clone())), RegisterError::Later);
    book.at += 1;
    let unknown = Set { replaces: Some(Hash([8; 32])), ..next.clone() };
    assert!(matches!(book.refused(What::Set(unknown)), RegisterError::Unknown(_)));
    let asked = book.challenge("1.1", Medium::Paper);
    book.add(What::Challenged(asked.clone()));
    book.add(What::Set(Set { replaces: Some(REPORT), ..next.clone() }));
    let sets: Vec<Hash> = book.read().sets().map(|set| set.report).collect();
    assert_eq!(sets, [next.report]);
    assert!(book.rows(book.at).iter().all(|row| row.set != Some(REPORT)));
    // Of the old one nothing more is entered.
    assert_eq!(book.refused(What::Seal(reseal("1.1", "S-1.1", "S-9"))), RegisterError::Replaced(REPORT));
    assert_eq!(book.refused(What::Drill(drill(5, START, true))), RegisterError::Replaced(REPORT));
    assert!(matches!(
        book.refused(What::Challenged(book.challenge("1.2", Medium::File))),
        RegisterError::Unknown(_)
    ));
    assert!(matches!(
        book.refused(What::Answered(answer(&asked, &health("1.1")))),
        RegisterError::Unknown(_)
    ));
    let mut again = next;
    again.report = Hash([6; 32]);
    again.components.iter_mut().for_each(|c| c.seal = format!("U-{}", c.component));
    again.replaces = Some(REPORT);
    assert_eq!(book.refused(What::Set(again)), RegisterError::Replaced(REPORT));
}

#[test]
fn every_component_is_due_on_each_medium() {
    let mut book = Book::new();
    let due = START + HEALTH_INTERVAL_S;
    for (now, standing) in [
        (START, Standing::Ok),
        (due - NOTICE_S - 1, Standing::Ok),
        (due - NOTICE_S, Standing::Due),
        (due, Standing::Due),
        (due + 1, Standing::Overdue),
    ] {
        for words in ["1.1 whole on paper", "1.1 whole on file", "1.3 whole on paper"] {
            assert_eq!(book.standing("REC-09", words, now), standing, "{words}");
        }
    }
    // A proof counts from its challenge on, for its component and medium alone.
    book.at = START + 1_000;
    book.prove("1.1", Medium::Paper, 500);
    assert_eq!(book.standing("REC-09", "1.1 whole on paper", due + 1_000), Standing::Due);
    assert_eq!(book.standing("REC-09", "1.1 whole on paper", due + 1_001), Standing::Overdue);
    for words in ["1.1 whole on file", "1.2 whole on paper"] {
        assert_eq!(book.standing("REC-09", words, due + 1), Standing::Overdue);
    }
    // Other intervals are for the caller to choose.
    let daily = Intervals { health_s: 86_400, ..Intervals::default() };
    let rows = book.read().rows(&daily, START + 86_401);
    assert!(rows.iter().any(|row| row.requirement == "REC-09" && row.standing == Standing::Overdue));
}

#[test]
fn answers_that_prove_nothing() {
    let mut book = Book::new();
    let challenge = book.challenge("1.1", Medium::Paper);
    let right = answer(&challenge, &health("1.1"));
    assert!(matches!(book.refused(What::Answered(right.clone())), RegisterError::Unknown(_)), "nobody asked");
    book.add(What::Challenged(challenge.clone()));
    assert!(matches!(book.refused(What::Challenged(challenge.clone())), RegisterError::Twice(_)));
    // The key of another component, and an answer to another challenge.
    assert_eq!(
        book.refused(What::Answered(answer(&challenge, &health("1.2")))),
        RegisterError::Wrong(id("1.1"))
    );
    let other = Challenge { medium: Medium::File, ..challenge.clone() };
    let moved = Answer { signature: answer(&other, &health("1.1")).signature, ..right.clone() };
    assert_eq!(book.refused(What::Answered(moved)), RegisterError::Wrong(id("1.1")));
    // In time, to the second.
    book.at = START + ANSWER_LIMIT_S + 1;
    assert_eq!(book.refused(What::Answered(right.clone())), RegisterError::Late);
    book.at = START + ANSWER_LIMIT_S;
    book.add(What::Answered(right.clone()));
    assert!(matches!(book.refused(What::Answered(right)), RegisterError::Twice(_)));
}

#[test]
fn challenges_that_nobody_made_here() {
    let mut book = Book::new();
    type Change = fn(&mut Challenge);
    let changes: [(&str, Change); 3] = [
        ("format", |challenge| challenge.format = "keyward/component-challenge/v2".into()),
        ("time", |challenge| challenge.at += 1),
        ("person", |challenge| challenge.by = name("bob")),
    ];
    for (part, change) in changes {
        let mut challenge = book.challenge("1.1", Medium::Paper);
        change(&mut challenge);
        assert_eq!(book.refused(What::Challenged(challenge)), RegisterError::Challenge(part));
    }
    let changes: [Change; 3] = [
        |challenge| challenge.component = id("1.4"),
        |challenge| challenge.ceremony = Hash([0; 32]),
        |challenge| challenge.set += 1,
    ];
    for change in changes {
        let mut challenge = book.challenge("1.1", Medium::Paper);
        change(&mut challenge);
        assert!(matches!(book.refused(What::Challenged(challenge)), RegisterError::Unknown(_)));
    }
}

#[test]
fn a_challenge_without_an_answer_fails_in_the_end() {
    let mut book = Book::new();
    let challenge = book.challenge("1.1", Medium::File);
    book.add(What::Challenged(challenge));
    let paper = "1.1 whole on paper";
    let file = "1.1 whole on file";
    assert_eq!(book.standing("REC-09", file, START + ANSWER_LIMIT_S), Standing::Ok);
    assert_eq!(book.standing("REC-09", file, START + ANSWER_LIMIT_S + 1), Standing::Failed);
    assert_eq!(book.standing("REC-09", paper, START + ANSWER_LIMIT_S + 1), Standing::Ok);
    // A later one that is answered settles it.
    book.at += 10;
    book.prove("1.1", Medium::File, 0);
    assert_eq!(book.standing("REC-09", file, START + ANSWER_LIMIT_S + 20), Standing::Ok);
}

#[test]
fn what_failed_stays_so_until_it_is_proven_anew() {
    let mut book = Book::new();
    let failed = |component: &str, reason: &str| {
        What::Failed(Failed {
            component: id(component),
            medium: Medium::Paper,
            reason: reason.into(),
            set: REPORT,
        })
    };
    assert!(matches!(book.refused(failed("1.9", "wet")), RegisterError::Unknown(_)));
    assert!(matches!(book.refused(failed("1.1", " ")), RegisterError::Text("reason")));
    assert!(matches!(book.refused(failed("1.1", &"x".repeat(TEXT_LIMIT_BYTES + 1))), RegisterError::Text(_)));
    let before = book.challenge("1.1", Medium::Paper);
    book.add(What::Challenged(before.clone()));
    book.add(failed("1.1", &"x".repeat(TEXT_LIMIT_BYTES)));
    let row = "1.1 whole on paper";
    assert_eq!(book.standing("REC-09", row, book.at), Standing::Failed);
    assert_eq!(book.standing("REC-09", "1.1 whole on file", book.at), Standing::Ok);
    // An answer to what was asked before says nothing about it.
    book.add(What::Answered(answer(&before, &health("1.1"))));
    assert_eq!(book.standing("REC-09", row, book.at), Standing::Failed);
    book.prove("1.1", Medium::Paper, 0);
    assert_eq!(book.standing("REC-09", row, book.at), Standing::Ok);
}

#[test]
fn a_seal_that_is_not_the_registered_one_puts_the_component_in_doubt() {
    let mut book = Book::new();
    book.add(What::Seal(reseal("1.1", "S-1.1", "S-10")));
    assert_eq!(book.read().seal(&REPORT, id("1.1")), Some("S-10"));
    assert_eq!(book.standing("REC-03", "1.1 ", book.at), Standing::Ok);
    // Not new: the one that is there, the one of another component, the one that was found.
    for replaced in ["S-10", "S-1.2", "S-77"] {
        let error = book.refused(What::Seal(reseal("1.1", "S-77", replaced)));
        assert_eq!(error, RegisterError::Seal(replaced.into()));
    }
    let silent = SealChange { reason: String::new(), ..reseal("1.1", "S-10", "S-11") };
    assert_eq!(book.refused(What::Seal(silent)), RegisterError::Text("reason"));
    assert!(matches!(book.refused(What::Seal(reseal("2.1", "S-10", "S-11"))), RegisterError::Unknown(_)));
    let elsewhere = SealChange { set: Hash([8; 32]), ..reseal("1.1", "S-10", "S-11") };
    assert!(matches!(book.refused(What::Seal(elsewhere)), RegisterError::Unknown(_)));

    let before = book.challenge("1.1", Medium::Paper);
    book.add(What::Challenged(before.clone()));
    book.add(What::Seal(reseal("1.1", "S-1.1", "S-11")));
    let standing = |book: &Book| book.standing("REC-03", "1.1 ", book.at);
    assert_eq!(standing(&book), Standing::Failed);
    assert_eq!(book.standing("REC-03", "1.2 ", book.at), Standing::Ok);
    book.add(What::Answered(answer(&before, &health("1.1"))));
    book.prove("1.1", Medium::File, 0);
    assert_eq!(standing(&book), Standing::Failed, "paper was asked for before");
    book.prove("1.1", Medium::Paper, 0);
    assert_eq!(standing(&book), Standing::Ok);
}

#[test]
fn recovery_is_rehearsed_in_time() {
    let mut book = Book::new();
    for requirement in ["REC-02", "REC-05"] {
        let due = START + DRILL_INTERVAL_S;
        let at = |now| book.standing(requirement, "recovery rehearsed", now);
        assert_eq!(at(due - NOTICE_S - 1), Standing::Ok);
        assert_eq!(at(due - NOTICE_S), Standing::Due);
        assert_eq!(at(due), Standing::Due);
        assert_eq!(at(due + 1), Standing::Overdue);
    }
    book.at += 100;
    assert_eq!(book.refused(What::Drill(drill(5, book.at + 1, true))), RegisterError::Later);
    let elsewhere = Drill { set: Hash([8; 32]), ..drill(5, START, true) };
    assert!(matches!(book.refused(What::Drill(elsewhere)), RegisterError::Unknown(_)));
    let mixed = SealChange { set: Hash([8; 32]), ..reseal("1.1", "S-1.1", "D-1") };
    let mixed = Drill { seals: vec![mixed], ..drill(5, START, true) };
    assert!(matches!(book.refused(What::Drill(mixed)), RegisterError::Unknown(_)));

    book.add(What::Drill(drill(5, book.at, false)));
    assert!(matches!(book.refused(What::Drill(drill(5, book.at, true))), RegisterError::Twice(_)));
    let standing = |book: &Book| book.standing("REC-05", "recovery rehearsed", book.at);
    assert_eq!(standing(&book), Standing::Failed);
    // One that passed before it does not make it good; one after it does.
    book.add(What::Drill(drill(6, book.at - 1, true)));
    assert_eq!(standing(&book), Standing::Failed);
    book.at += 1;
    let seals = vec![reseal("1.1", "S-1.1", "D-1"), reseal("1.2", "S-1.2", "D-2")];
    book.add(What::Drill(Drill { seals, ..drill(7, book.at, true) }));
    assert_eq!(standing(&book), Standing::Ok);
    assert_eq!(book.read().seal(&REPORT, id("1.2")), Some("D-2"));
    let due = START + 101 + DRILL_INTERVAL_S;
    assert_eq!(book.standing("REC-02", "recovery rehearsed", due), Standing::Due);
    assert_eq!(book.standing("REC-02", "recovery rehearsed", due + 1), Standing::Overdue);
    // One that failed before the last that passed is history.
    book.add(What::Drill(drill(8, START + 1, false)));
    assert_eq!(standing(&book), Standing::Ok);
}

#[test]
fn documents_are_reviewed_in_time() {
    let mut book = Book { at: START, ..Book::default() };
    assert!(Register::new(GENESIS).rows(&Intervals::default(), START).is_empty(), "nothing to recover yet");
    book.add(What::Set(set()));
    let kinds = [
        ("REC-02", "recovery runbook", Document::RecoveryRunbook),
        ("REC-05", "continuity plan", Document::ContinuityPlan),
    ];
    for (requirement, words, _) in kinds {
        assert_eq!(book.standing(requirement, words, START), Standing::Failed, "never reviewed");
    }
    for (requirement, words, document) in kinds {
        book.add(What::Reviewed(Review { document, sha256: Hash([3; 32]) }));
        let due = START + REVIEW_INTERVAL_S;
        assert_eq!(book.standing(requirement, words, START), Standing::Ok);
        assert_eq!(book.standing(requirement, words, due), Standing::Due);
        assert_eq!(book.standing(requirement, words, due + 1), Standing::Overdue);
    }
}

#[test]
fn freezes_are_rehearsed_in_time() {
    let mut book = Book::new();
    let drill = |number: u8, sent_at: u64, frozen: bool| {
        What::FreezeDrill(FreezeDrill {
            acknowledged_ms: [(name("s1"), 40), (name("s2"), 55)].into(),
            freeze: Hash([number; 32]),
            frozen,
            scope: Scope::Person(name("alice")),
            sent_at,
        })
    };
    let row = |book: &Book, now| book.rows(now).into_iter().find(|row| row.requirement == "OPS-18");
    assert!(row(&book, START).is_none(), "nobody rehearsed one");
    let refused = book.refused(drill(1, START + 1, true));
    assert!(matches!(refused, RegisterError::Later), "{refused}");
    book.add(drill(1, START, false));
    assert_eq!(row(&book, START).unwrap().standing, Standing::Failed);
    assert!(matches!(book.refused(drill(1, START, true)), RegisterError::Twice(_)));
    book.at += 10;
    book.add(drill(2, START + 10, true));
    let due = START + 10 + DRILL_INTERVAL_S;
    for (now, standing) in [(START + 10, Standing::Ok), (due, Standing::Due), (due + 1, Standing::Overdue)] {
        assert_eq!(row(&book, now).unwrap().standing, standing);
    }
    // A later one that did not freeze is what counts.
    book.at += 10;
    book.add(drill(3, START + 20, false));
    assert_eq!(row(&book, START + 20).unwrap().standing, Standing::Failed);
}

/// The lines of a file, each with its end.
fn lines(file: &[u8]) -> Vec<Vec<u8>> {
    file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn why(file: &[u8], known: &dyn Fn(&Hash) -> Option<Signer>, now: u64) -> RegisterError {
    match Register::read(file, GENESIS, known, now).unwrap_err() {
        RegisterError::At { why, .. } => *why,
        other => other,
    }
}

#[test]
fn nothing_is_changed_afterwards() {
    let mut book = Book::new();
    book.add(What::Seal(reseal("1.1", "S-1.1", "S-10")));
    book.add(What::Seal(reseal("1.2", "S-1.2", "S-11")));
    let (all, now) = (lines(&book.file), book.at);
    assert_eq!(all.len(), 3);
    let read = book.read();
    assert_eq!(read.head(), Hash::sha256(all[2].strip_suffix(b"\n").unwrap()));
    // Left out in the middle, in another order, twice.
    for order in [&[0, 2][..], &[1, 2], &[0, 2, 1], &[0, 1, 1]] {
        let file = order.iter().flat_map(|line| all[*line].clone()).collect::<Vec<_>>();
        assert!(
            matches!(why(&file, &known, now), RegisterError::Chain | RegisterError::Unknown(_)),
            "{order:?}"
        );
    }
    // At the end it shows by the head alone.
    let shorter = Register::read(&all[..2].concat(), GENESIS, &known, now).unwrap();
    assert_ne!(shorter.head(), read.head());
    assert_eq!((shorter.size(), Register::new(GENESIS).head()), (2, GENESIS));
    // Every byte counts.
    for place in (0..book.file.len()).step_by(7) {
        let mut file = book.file.clone();
        file[place] ^= 1;
        assert!(Register::read(&file, GENESIS, &known, now).is_err(), "byte {place}");
    }
    let torn = &book.file[..book.file.len() - 1];
    assert_eq!(why(torn, &known, now), RegisterError::Torn(3));
    let error = Register::read(&all[1], GENESIS, &known, now).unwrap_err();
    assert!(matches!(error, RegisterError::At { number: 1, .. }), "{error}");
    let other = Register::read(&book.file, Hash([7; 32]), &known, now).unwrap_err();
    assert!(other.to_string().contains("belongs to the deployment"), "{other}");
}

#[test]
fn who_may_write() {
    let book = Book::new();
    let (file, now) = (&book.file, book.at);
    assert!(matches!(why(file, &|_| None, now), RegisterError::Signer(_)));
    let until =
        |end: u64| move |key: &Hash| known(key).map(|signer| Signer { revoked_at: Some(end), ..signer });
    // A clock that was a little ahead when the key was still in use makes nothing unreadable later.
    let last = START - REVOKED_SLACK_S;
    assert_eq!(why(file, &until(last - 1), now), RegisterError::Revoked(name("alice")));
    Register::read(file, GENESIS, &until(last), now).unwrap();
    // A key out of use writes nothing more, whatever time it says.
    let gone = Signer { revoked_at: Some(u64::MAX), ..signer("alice") };
    let error = book.read().next(START, &gone, What::Drill(drill(5, START, true))).unwrap_err();
    assert_eq!(error, RegisterError::Revoked(name("alice")));
    // Somebody else's signature under alice's entry.
    let entry = book.read().next(START, &signer("alice"), What::Drill(drill(5, START, true))).unwrap();
    let forged = [file.clone(), line(entry.clone(), "bob")].concat();
    assert_eq!(why(&forged, &known, now), RegisterError::Signature(name("alice")));
    // Bob may write as himself.
    let own = book.read().next(START, &signer("bob"), What::Drill(drill(5, START, true))).unwrap();
    let both = [file.clone(), line(own, "bob")].concat();
    assert_eq!(Register::read(&both, GENESIS, &known, now).unwrap().size(), 2);

    // Properly signed, and wrong in itself.
    type Change = fn(&mut Entry);
    let changes: [(RegisterError, Change); 5] = [
        (RegisterError::Format("v2".into()), |entry| entry.format = "v2".into()),
        (RegisterError::Genesis(Hash([7; 32])), |entry| entry.genesis = Hash([7; 32])),
        (RegisterError::Chain, |entry| entry.number = 3),
        (RegisterError::Chain, |entry| entry.previous = Hash([7; 32])),
        (RegisterError::Clock, |entry| entry.at = START - 1),
    ];
    for (error, change) in changes {
        let mut changed = entry.clone();
        change(&mut changed);
        assert_eq!(why(&[file.clone(), line(changed, "alice")].concat(), &known, now), error);
    }
}

#[test]
fn limits() {
    let book = Book::new();
    let ahead = book.at - CLOCK_TOLERANCE_S;
    Register::read(&book.file, GENESIS, &known, ahead).unwrap();
    assert!(matches!(why(&book.file, &known, ahead - 1), RegisterError::Future { .. }));
    let line = |length: usize| [vec![b'x'; length], b"\n".to_vec()].concat();
    assert!(matches!(why(&line(ENTRY_LIMIT_BYTES), &known, ahead), RegisterError::Form(_)));
    assert!(matches!(why(&line(ENTRY_LIMIT_BYTES + 1), &known, ahead), RegisterError::Long(_)));
    // A clock that went back does not put an entry before the last one.
    let entry = book.read().next(START - 50, &signer("alice"), What::Drill(drill(5, START, true))).unwrap();
    assert_eq!(entry.at, START);
    // What is written is what is read.
    let bytes = entry.clone().line([0; 64]).unwrap();
    let read: SignedEntry = custody::canon::decode(bytes.strip_suffix(b"\n").unwrap()).unwrap();
    assert_eq!(read.entry, entry);
}
