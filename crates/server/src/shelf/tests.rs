//! The log of a world and real books; the entries are signed as people's programs sign them.

use std::sync::Barrier;

use ed25519_dalek::Signer as _;
use evidence::register::{
    CLOCK_TOLERANCE_S, Component, ComponentId, Document, ENTRY_LIMIT_BYTES, Entry, Review, Set, Site, What,
};
use fixtures::{World, key, name, public};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::*;

/// A component whose words nobody here has.
fn component(id: &str, holder: &str, site: &str) -> Component {
    Component {
        component: id.parse::<ComponentId>().unwrap(),
        container: format!("safe of {site}"),
        health: public(&format!("health of {id}")),
        holder: name(holder),
        seal: format!("S-{id}"),
        site: name(site),
    }
}

/// Any two of three components, made then.
pub(crate) fn set(report: u8, made_at: u64) -> Set {
    let site = |site: &str| Site { name: name(site), operations: false };
    let mut components = vec![
        component("1.1", "carol", "north"),
        component("1.2", "dave", "south"),
        component("1.3", "erin", "west"),
    ];
    components.iter_mut().for_each(|component| component.seal = format!("{}/{report}", component.seal));
    Set {
        ceremony: Hash([report; 32]),
        components,
        group_threshold: 1,
        groups: vec![2],
        identifier: 7_001,
        made_at,
        replaces: None,
        report: Hash([report; 32]),
        sites: ["north", "south", "west"].map(site).to_vec(),
    }
}

pub(crate) fn reviewed(of: u8) -> What {
    What::Reviewed(Review { document: Document::RecoveryRunbook, sha256: Hash([of; 32]) })
}

/// Somebody's copy of the register, which grows.
#[derive(Clone)]
pub(crate) struct Copy {
    pub(crate) register: Register,
    pub(crate) entries: Vec<Value>,
    pub(crate) state: State,
}

fn line(entry: Entry, who: &str) -> Vec<u8> {
    let signature = key(who).sign(&entry.signed_bytes().unwrap()).to_bytes();
    let mut line = entry.line(signature).unwrap();
    assert_eq!(line.pop(), Some(b'\n'));
    line
}

fn value(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

impl Copy {
    pub(crate) fn new(state: &State) -> Self {
        let register = Register::new(state.genesis_hash());
        Self { register, entries: Vec::new(), state: state.clone() }
    }

    fn next(&self, who: &str, at: u64, what: What) -> Entry {
        let signer = Signer { person: name(who), public: public(who), revoked_at: None };
        self.register.next(at, &signer, what).unwrap()
    }

    /// Enters something, and gives the entry.
    pub(crate) fn add(&mut self, who: &str, at: u64, what: What) -> Value {
        let line = line(self.next(who, at, what), who);
        let signer = |key: &Hash| Signer::of(&self.state, key);
        self.register = self.register.extended([line.as_slice()], &signer).unwrap();
        self.entries.push(value(&line));
        value(&line)
    }
}

/// Books that two servers have open.
struct Rig {
    world: World,
    books: Books,
    runtime: Runtime,
    _directory: TempDir,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let address = format!("sqlite:{}", directory.path().join("books.db").display());
        let books = runtime.block_on(Books::open(&address)).unwrap();
        Self { world: World::ready(), books, runtime, _directory: directory }
    }

    fn shelf(&self) -> Shelf {
        Shelf::new(self.world.state.genesis_hash(), self.books.clone(), self.runtime.handle().clone())
    }

    fn now(&self) -> u64 {
        self.world.time
    }

    fn publish(&self, shelf: &Shelf, entries: &[Value]) -> Result<(u64, Hash), NotTaken> {
        let recovery = shelf.publish(&self.world.state, self.now(), entries)?;
        Ok((recovery.entries, recovery.head))
    }

    fn batches(&self) -> u64 {
        self.runtime.block_on(self.books.newest()).unwrap().map_or(0, |batch| batch.seq)
    }

    /// The register of alice with one set, and two reviews.
    fn copy(&self) -> Copy {
        let mut copy = Copy::new(&self.world.state);
        copy.add("alice", self.now(), What::Set(set(1, self.now())));
        copy.add("alice", self.now(), reviewed(1));
        copy.add("bob", self.now(), reviewed(2));
        copy
    }
}

#[test]
fn entries_are_taken_once_in_order_and_read_by_every_server() {
    let rig = Rig::new();
    let (one, two) = (rig.shelf(), rig.shelf());
    let copy = rig.copy();
    let genesis = rig.world.state.genesis_hash();
    let empty = one.look(&rig.world.state, rig.now()).unwrap();
    assert_eq!((empty.entries, empty.head, empty.rows.len()), (0, genesis, 0));
    assert_eq!(rig.publish(&one, &copy.entries[..2]).unwrap().0, 2);
    assert_eq!(rig.batches(), 1, "one posting");
    // The other has not read them; a part is there, a part is new.
    let end = (3, copy.register.head());
    assert_eq!(rig.publish(&two, &copy.entries), Ok(end));
    for shelf in [&one, &two, &rig.shelf()] {
        let read = shelf.look(&rig.world.state, rig.now()).unwrap();
        assert_eq!((read.entries, read.head), end);
        assert_eq!(read.rows.len(), copy.register.rows(&Intervals::default(), rig.now()).len());
        assert_eq!(shelf.read(&rig.world.state).unwrap().register, copy.register);
    }
    // The same again, and an older part, change nothing.
    for known in [&copy.entries[..], &copy.entries[..1], &copy.entries[1..2]] {
        assert_eq!(rig.publish(&one, known), Ok(end));
    }
    assert_eq!(rig.batches(), 2);
    rig.runtime.block_on(rig.books.verify(&[])).unwrap();
}

#[test]
fn what_does_not_verify_or_follow_is_refused_and_nothing_is_lost() {
    let rig = Rig::new();
    let shelf = rig.shelf();
    let copy = rig.copy();
    rig.publish(&shelf, &copy.entries).unwrap();
    let before = rig.batches();
    let refused = |entries: &[Value]| {
        let why = rig.publish(&shelf, entries).unwrap_err();
        assert_eq!(rig.batches(), before, "{why:?}");
        let read = rig.shelf().read(&rig.world.state).unwrap();
        assert_eq!(read.register, copy.register);
        why
    };
    let words = |entries: &[Value], words: &str| match refused(entries) {
        NotTaken::Refused(why) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    };
    let entry = |who: &str| copy.next(who, rig.now(), reviewed(3));
    // Forged: another's signature, a changed word, a signature of nobody.
    words(&[value(&line(entry("alice"), "bob"))], "the signature of alice does not verify");
    let mut changed = value(&line(entry("alice"), "alice"));
    changed["entry"]["what"]["reviewed"]["document"] = "continuity-plan".into();
    words(&[changed], "the signature of alice does not verify");
    // Nobody in the log; a machine; a co-signer.
    for stranger in ["mallory", "server", "s1"] {
        words(&[value(&line(entry(stranger), stranger))], "no person's in the log");
    }
    // A good one before a bad one is not taken either.
    let good = value(&line(entry("alice"), "alice"));
    words(&[good.clone(), value(&line(entry("bob"), "bob"))], "entry 5: it does not follow");
    // Another register.
    let other = Entry { genesis: Hash([7; 32]), ..entry("alice") };
    words(&[value(&line(other, "alice"))], "it belongs to the deployment");
    let mut none = entry("alice");
    none.number = 0;
    words(&[value(&line(none, "alice"))], "it does not follow");
    // Not an entry.
    for bytes in [&b"{}"[..], b"7", br#"{"entry":1.5,"signature":""}"#] {
        words(&[value(bytes)], "not an entry as this program writes it");
    }
    // What breaks a rule of the register.
    let mut broken = set(9, rig.now());
    broken.groups = vec![1];
    let broken = Entry { what: What::Set(broken), ..entry("alice") };
    words(&[value(&line(broken, "alice"))], "REC-06");

    // Others before it are missing.
    let mut ahead = copy.clone();
    ahead.add("alice", rig.now(), reviewed(4));
    let beyond = ahead.add("alice", rig.now(), reviewed(5));
    assert_eq!(refused(&[beyond]), NotTaken::Gap(3));
    // Another history of the same length, a shorter and a longer one: the first that differs is named.
    for length in 2..5 {
        let mut fork = Copy::new(&rig.world.state);
        fork.add("alice", rig.now(), What::Set(set(1, rig.now())));
        (1..length).for_each(|_| drop(fork.add("carol", rig.now(), reviewed(8))));
        let hash = |value: &Value| Hash::sha256(&canon::encode(value).unwrap());
        let (here, sent) = (hash(&copy.entries[1]), hash(&fork.entries[1]));
        assert_eq!(refused(&fork.entries), NotTaken::Other { number: 2, here, sent });
    }
    // What was refused stands in nobody's way.
    assert_eq!(rig.publish(&shelf, &[good]).unwrap().0, 4);
}

#[test]
fn entries_of_the_future_on_both_sides_of_what_clocks_may_differ() {
    let rig = Rig::new();
    let shelf = rig.shelf();
    let mut copy = rig.copy();
    rig.publish(&shelf, &copy.entries).unwrap();
    let latest = rig.now() + CLOCK_TOLERANCE_S;
    let mut early = copy.clone();
    let late = early.add("alice", latest + 1, reviewed(3));
    let NotTaken::Refused(why) = rig.publish(&shelf, &[late]).unwrap_err() else { panic!("refused") };
    assert!(why.contains("the last entry is dated"), "{why}");
    let entry = copy.add("alice", latest, reviewed(3));
    assert_eq!(rig.publish(&shelf, &[entry]).unwrap().0, 4);
    // A clock that goes back does not hide what was taken.
    assert_eq!(shelf.look(&rig.world.state, rig.now() - 7_200).unwrap().entries, 4);
}

#[test]
fn the_longest_entry_fits_a_record() {
    let rig = Rig::new();
    let copy = Copy::new(&rig.world.state);
    // Long texts, the last of them as long as a line may be.
    let of = |length: usize| {
        let mut long = set(1, rig.now());
        long.components.extend((4..34).map(|i| component(&format!("1.{i}"), &format!("holder-{i}"), "west")));
        let mut texts: Vec<&mut String> = long.components.iter_mut().map(|c| &mut c.container).collect();
        texts.iter_mut().skip(1).for_each(|text| **text = "x".repeat(1_800));
        let text = "x".repeat(length);
        long.components[0].container = text;
        line(copy.next("alice", rig.now(), What::Set(long)), "alice")
    };
    let rest = ENTRY_LIMIT_BYTES - of(1).len() + 1;
    assert!(rest < 2_000, "{rest}");
    let shelf = rig.shelf();
    let long = of(rest + 1);
    assert_eq!(long.len(), ENTRY_LIMIT_BYTES + 1);
    assert!(
        matches!(rig.publish(&shelf, &[value(&long)]), Err(NotTaken::Refused(why)) if why.contains("65537 bytes"))
    );
    let longest = of(rest);
    assert_eq!(longest.len(), ENTRY_LIMIT_BYTES);
    assert_eq!(rig.publish(&shelf, &[value(&longest)]), Ok((1, Hash::sha256(&longest))));
    assert_eq!(rig.shelf().read(&rig.world.state).unwrap().register.head(), Hash::sha256(&longest));
}

#[test]
fn of_two_who_race_for_a_number_one_is_first() {
    let rig = Rig::new();
    let mut copy = rig.copy();
    let shelves = [rig.shelf(), rig.shelf()];
    rig.publish(&shelves[0], &copy.entries).unwrap();
    for round in 0..20 {
        let forks = [0, 1].map(|of| {
            let mut fork = copy.clone();
            fork.add(["alice", "bob"][of], rig.now(), reviewed(u8::try_from(of).unwrap() + 100));
            fork
        });
        let together = Barrier::new(2);
        let publish = |of: usize| {
            together.wait();
            rig.publish(&shelves[of], &forks[of].entries[copy.entries.len()..])
        };
        let outcomes = std::thread::scope(|scope| {
            let other = scope.spawn(|| publish(1));
            [publish(0), other.join().unwrap()]
        });
        let first = outcomes.iter().position(Result::is_ok).expect("one is taken");
        let number = copy.register.size() + 1;
        assert_eq!(outcomes[first], Ok((number, forks[first].register.head())), "round {round}");
        let lost = outcomes[1 - first].as_ref().unwrap_err();
        assert!(matches!(lost, NotTaken::Other { number: n, .. } if *n == number), "{lost:?}");
        copy = forks[first].clone();
    }
    assert_eq!(rig.shelf().read(&rig.world.state).unwrap().register, copy.register);
}

/// Somebody wrote into the database under the number that comes next: that is said, and tried no longer.
#[test]
fn a_number_that_is_taken_and_not_shown_ends_the_tries() {
    let rig = Rig::new();
    let mut copy = Copy::new(&rig.world.state);
    let first = copy.add("alice", rig.now(), What::Set(set(1, rig.now())));
    let sent = Sent::read(&first).unwrap();
    let elsewhere = RecordChange { id: "2".into(), ..sent.record() };
    let posting = Posting { transfers: Vec::new(), records: vec![elsewhere] };
    rig.runtime.block_on(rig.books.commit(posting)).unwrap();
    let next = copy.add("alice", rig.now(), reviewed(1));
    let why = rig.publish(&rig.shelf(), &[next]).unwrap_err();
    assert!(matches!(&why, NotTaken::Unreadable(why) if why.contains("show none of that number")), "{why:?}");
}

#[test]
fn a_key_that_the_log_does_not_show_yet_is_waited_for() {
    let mut rig = Rig::new();
    let shelf = rig.shelf();
    let before = rig.world.state.clone();
    rig.world.adopt(custody::document::Document::Person(fixtures::person("erin")));
    let mut copy = Copy::new(&rig.world.state);
    copy.add("erin", rig.now(), What::Set(set(1, rig.now())));
    rig.publish(&shelf, &copy.entries).unwrap();
    let behind = rig.shelf();
    let unreadable = behind.look(&before, rig.now()).unwrap_err();
    assert!(matches!(&unreadable, NotTaken::Unreadable(why) if why.contains("bring the log up to date")));
    assert!(matches!(behind.publish(&before, rig.now(), &copy.entries), Err(NotTaken::Unreadable(_))));
    assert_eq!(behind.look(&rig.world.state, rig.now()).unwrap().entries, 1);
}
