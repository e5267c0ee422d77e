//! Disks that are put back, with real journals and a TPM in software.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use custody::genesis::Genesis;
use keys::cosigner::CosignerSecrets;
use keys::locked::LockedBytes;
use keys::vault::Vault;
use tempfile::TempDir;

use super::*;
use crate::mark::MARKED;
use crate::tpm::{DEFAULT_INDEX, TpmError};

#[path = "swtpm.rs"]
mod swtpm;
use swtpm::Tpm;

const VOTE: (File, &[u8]) = (File::Agreement, b"[a vote]");
const SESSION: (File, &[u8]) = (File::Guard, b"{\"session\":1}");

/// How often a start counts.
const START: u64 = 3;

/// Another test may be starting a program: until that one runs it shares the locks of this process.
const FORK_LIMIT: Duration = Duration::from_secs(60);

/// A data directory, copies of it, and a TPM.
struct Host {
    tpm: Tpm,
    directory: TempDir,
    copies: usize,
}

impl Host {
    fn new() -> Self {
        let directory = TempDir::with_prefix("keyward-rollback-").unwrap();
        fs::create_dir(directory.path().join("data")).unwrap();
        Self { tpm: Tpm::new(), directory, copies: 0 }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn counter(&self) -> Counter {
        Counter::open(&self.tpm.socket(), DEFAULT_INDEX).unwrap()
    }

    fn open(&self) -> (Store, Disk) {
        let until = Instant::now() + FORK_LIMIT;
        loop {
            match Store::open(&self.data()) {
                Err(ProcessError::Journal(JournalError::InUse(_))) if Instant::now() < until => {
                    thread::sleep(Duration::from_millis(5));
                }
                opened => return opened.unwrap(),
            }
        }
    }

    /// As `run` does it.
    fn enter(&self, counter: Option<Counter>, told: bool) -> Result<Store, ProcessError> {
        let (mut store, disk) = self.open();
        let all = [&disk.log, &disk.agreement, &disk.guard];
        assert!(
            all.into_iter().flatten().all(|record| !record.starts_with(b"{\"mark")),
            "the core sees no mark"
        );
        store.enter(counter, told)?;
        Ok(store)
    }

    /// Starts with the TPM. Says whether the co-signer is to rejoin.
    fn start(&self) -> Result<(Store, bool), ProcessError> {
        let store = self.enter(Some(self.counter()), false)?;
        let restored = store.marks.restored();
        Ok((store, restored))
    }

    fn copy(&mut self) -> PathBuf {
        self.copies += 1;
        let to = self.directory.path().join(format!("copy-{}", self.copies));
        take(&self.data(), &to, &File::ALL);
        to
    }

    fn put_back(&self, copy: &Path) {
        take(copy, &self.data(), &File::ALL);
    }
}

fn take(from: &Path, to: &Path, files: &[File]) {
    fs::create_dir_all(to).unwrap();
    for file in files {
        fs::copy(from.join(file.name()), to.join(file.name())).unwrap();
    }
}

fn write(store: &mut Store, (file, record): (File, &[u8])) {
    store.append(file, &[record]).unwrap();
}

/// The first half of [`write`]: on disk, and not counted.
fn write_uncounted(store: &mut Store, (file, record): (File, &[u8])) {
    let mark = store.marks.next(file).unwrap().unwrap();
    store.journals.get_mut(&file).unwrap().append_all(&[record, &mark]).unwrap();
}

fn records(host: &Host, file: File) -> Vec<String> {
    let copy = TempDir::new().unwrap();
    take(&host.data(), copy.path(), &[file]);
    let records = Journal::open(&copy.path().join(file.name())).unwrap().1;
    records.into_iter().map(|record| String::from_utf8(record).unwrap()).collect()
}

#[test]
fn a_write_ends_with_its_mark_and_is_counted_once() {
    let host = Host::new();
    let (mut store, restored) = host.start().unwrap();
    assert!(!restored, "a counter that was defined just now says nothing of the disk");
    // One count to begin with, and one for each mark of the start.
    assert_eq!(store.marks.counter.as_ref().unwrap().value(), Some(1 + START));
    store.append(File::Agreement, &[b"[1]", b"[2]"]).unwrap();
    store.append(File::Log, &[b"{\"batch\":\"\"}"]).unwrap();
    store.replace(File::Guard, &[SESSION.1.to_vec()]).unwrap();
    drop(store);
    let mark = |agreement, guard| {
        format!("{{\"mark\":{{\"agreement\":{agreement},\"guard\":{guard},\"restored\":false}}}}")
    };
    let session = String::from_utf8(SESSION.1.to_vec()).unwrap();
    assert_eq!(
        records(&host, File::Agreement),
        [mark(2, 0), mark(4, 3), "[1]".into(), "[2]".into(), mark(5, 3)]
    );
    assert_eq!(records(&host, File::Guard), [session, mark(5, 6)]);
    assert_eq!(records(&host, File::Log), ["{\"batch\":\"\"}"]);
    assert_eq!(host.tpm.count(), 6);
    let (store, disk) = host.open();
    assert_eq!((disk.agreement.len(), disk.guard.len(), disk.log.len()), (2, 1, 1));
    drop(store);
    // Nobody gets around the counter by leaving it out.
    let store = host.open().0;
    assert!(matches!(store.marks.check_entered(), Err(MarkError::NoCounter(6))));
}

/// What happens to the disk between two moments at which a copy is taken, and whether that is a start.
type Act = (u64, fn(&mut Host, Store) -> Option<Store>);

fn kill_and_start(host: &mut Host, store: Store) -> Option<Store> {
    drop(store);
    let (store, restored) = host.start().unwrap();
    assert!(!restored, "the newest disk");
    Some(store)
}

#[test]
fn a_copy_of_any_moment_is_noticed_once_more_was_counted() {
    let acts: [Act; 7] = [
        (0, |_, mut store| {
            write(&mut store, VOTE);
            Some(store)
        }),
        (0, |_, mut store| {
            write(&mut store, SESSION);
            Some(store)
        }),
        (0, |_, mut store| {
            store.append(File::Agreement, &[VOTE.1, VOTE.1]).unwrap();
            Some(store)
        }),
        (1, |host, mut store| {
            // Killed between write and count.
            write_uncounted(&mut store, VOTE);
            kill_and_start(host, store)
        }),
        (0, |_, mut store| {
            store.replace(File::Agreement, &[VOTE.1.to_vec()]).unwrap();
            Some(store)
        }),
        (1, |host, mut store| {
            write_uncounted(&mut store, SESSION);
            host.tpm.stop();
            host.tpm.start();
            kill_and_start(host, store)
        }),
        (0, |_, mut store| {
            store.replace(File::Guard, &[]).unwrap();
            Some(store)
        }),
    ];
    let mut host = Host::new();
    let mut store = Some(host.start().unwrap().0);
    let mut copies = vec![host.copy()];
    for (starts, act) in acts {
        let count = store.as_ref().unwrap().marks.counter.as_ref().unwrap().value();
        store = act(&mut host, store.unwrap());
        let now = store.as_ref().unwrap().marks.counter.as_ref().unwrap().value();
        assert_eq!(now, count.map(|count| count + 1 + starts * START), "one count for each write");
        copies.push(host.copy());
    }
    drop(store);
    let newest = copies.pop().unwrap();
    let count = host.tpm.count();
    for (at, old) in copies.iter().enumerate() {
        host.put_back(old);
        assert!(host.start().unwrap().1, "copy {at}");
    }
    assert_eq!(host.tpm.count(), count + 7 * START, "each enters the count anew");
    host.put_back(&newest);
    assert!(host.start().unwrap().1, "by now that is an old one too");
}

#[test]
fn a_copy_between_write_and_count_lacks_nothing_until_the_next_count() {
    let mut host = Host::new();
    let (mut store, _) = host.start().unwrap();
    write(&mut store, VOTE);
    write_uncounted(&mut store, SESSION);
    let between = host.copy();
    store.marks.count(File::Guard).unwrap();
    drop(store);
    let count = host.tpm.count();
    // What left then depends on nothing that the copy lacks.
    host.put_back(&between);
    assert!(!host.start().unwrap().1);
    assert_eq!(host.tpm.count(), count + START);
    host.put_back(&between);
    assert!(host.start().unwrap().1, "something may have left since");
}

/// Writes without the mark at its end: power failed within the write.
fn write_torn(store: &mut Store, (file, record): (File, &[u8])) {
    store.journals.get_mut(&file).unwrap().append_all(&[record]).unwrap();
}

/// Starts a co-signer that is not to rejoin.
fn start_as_ever(host: &Host) -> Store {
    let (store, restored) = host.start().unwrap();
    assert!(!restored, "the newest disk");
    store
}

#[test]
fn a_write_that_lost_its_mark_is_counted_by_the_next_start() {
    for last in [VOTE, SESSION] {
        for files in [&File::ALL[..], &[last.0]] {
            let mut host = Host::new();
            let mut store = start_as_ever(&host);
            let old = host.copy();
            write_torn(&mut store, last);
            drop(store);
            // What it replays leaves now.
            drop(start_as_ever(&host));
            take(&old, &host.data(), files);
            assert!(host.start().unwrap().1, "{files:?} put back");
        }
    }
}

/// Whatever of its last write is on disk: the newest disk goes on, and the one before does not after that.
#[test]
fn a_write_may_be_cut_off_at_every_byte() {
    for last in [VOTE, SESSION] {
        let mut host = Host::new();
        let path = host.data().join(last.0.name());
        let mut store = start_as_ever(&host);
        let mut kept = 0;
        loop {
            let old = host.copy();
            let before = fs::metadata(&path).unwrap().len();
            write_uncounted(&mut store, last);
            drop(store);
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            let whole = file.metadata().unwrap().len() - before;
            file.set_len(before + kept.min(whole)).unwrap();
            drop((start_as_ever(&host), file));
            host.put_back(&old);
            store = host.start().unwrap().0;
            assert!(store.marks.restored(), "{kept} of {whole} bytes");
            if kept > whole {
                break;
            }
            kept += 1;
            store.marks.caught_up();
            write(&mut store, last);
        }
    }
}

#[test]
fn a_number_that_was_not_counted_is_not_taken_for_another_write_of_that_number() {
    for files in [&File::ALL[..], &[File::Agreement]] {
        let mut host = Host::new();
        let mut store = start_as_ever(&host);
        let before = host.copy();
        write_uncounted(&mut store, (File::Agreement, b"[a vote that did not leave]"));
        drop(store);
        let other = host.copy();
        host.put_back(&before);
        let mut store = start_as_ever(&host);
        write(&mut store, VOTE);
        drop(store);
        take(&other, &host.data(), files);
        assert!(host.start().unwrap().1, "{files:?} put back");
    }
}

/// The first number of a start is given twice, if one was killed before it counted.
#[test]
fn the_first_mark_of_a_start_does_not_stand_for_that_of_another_start() {
    let mut host = Host::new();
    let mut store = start_as_ever(&host);
    let before = host.copy();
    write_torn(&mut store, VOTE);
    drop(store);
    let newest = host.copy();
    host.put_back(&before);
    let mut store = host.open().0;
    assert_eq!(store.marks.enter(Some(host.counter()), false).unwrap(), Finding::Fits);
    let mark = store.marks.next(File::Agreement).unwrap().unwrap();
    store.journals.get_mut(&File::Agreement).unwrap().append_all(&[&mark]).unwrap();
    drop(store);
    let killed = host.copy();
    host.put_back(&newest);
    drop(start_as_ever(&host));
    take(&killed, &host.data(), &[File::Agreement]);
    assert!(host.start().unwrap().1, "the vote is not there");
}

#[test]
fn one_journal_alone_is_not_put_back() {
    for alone in MARKED {
        for last in [VOTE, SESSION] {
            let mut host = Host::new();
            let (mut store, _) = host.start().unwrap();
            write(&mut store, VOTE);
            write(&mut store, SESSION);
            let old = host.copy();
            write(&mut store, if alone == File::Agreement { VOTE } else { SESSION });
            if last.0 != alone {
                write(&mut store, last);
            }
            drop(store);
            take(&old, &host.data(), &[alone]);
            assert!(host.start().unwrap().1, "{alone:?} put back, {:?} written last", last.0);
            // Nor left out.
            drop(host.start().unwrap());
            fs::remove_file(host.data().join(alone.name())).unwrap();
            assert!(host.start().unwrap().1, "{alone:?} left out");
        }
    }
}

#[test]
fn an_old_disk_is_not_forgotten_before_the_co_signer_has_rejoined() {
    let mut host = Host::new();
    let (mut store, _) = host.start().unwrap();
    let old = host.copy();
    write(&mut store, VOTE);
    drop(store);
    host.put_back(&old);
    for kill in 0..3 {
        let (mut store, restored) = host.start().unwrap();
        assert!(restored, "kill {kill}");
        write(&mut store, SESSION);
    }
    let (mut store, _) = host.start().unwrap();
    store.marks.caught_up();
    drop(store);
    assert!(host.start().unwrap().1, "that is not on disk");
    let (mut store, _) = host.start().unwrap();
    store.marks.caught_up();
    write(&mut store, VOTE);
    drop(store);
    assert!(!host.start().unwrap().1);
}

fn other_counter(refused: Result<(Store, bool), ProcessError>) -> String {
    match refused {
        Err(ProcessError::Mark(error @ MarkError::OtherCounter { .. })) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn another_tpm_is_entered_by_people_alone() {
    let mut host = Host::new();
    let (mut store, _) = host.start().unwrap();
    (0..5).for_each(|_| write(&mut store, VOTE));
    drop(store);
    host.tpm = Tpm::new();
    let said = other_counter(host.start());
    assert!(
        said.contains("marked 9, and the counter has never counted") && said.contains("--restored"),
        "{said}"
    );
    assert_eq!(host.counter().value(), None, "nothing was defined there");
    // One that has counted, by two less than the disk or more.
    let mut counter = host.counter();
    (1..=7).for_each(|count| assert_eq!(counter.increment().unwrap(), count));
    drop(counter);
    let said = other_counter(host.start());
    assert!(said.contains("marked 9, and the counter stands at 7"), "{said}");

    let store = host.enter(Some(host.counter()), true).unwrap();
    assert!(store.marks.restored());
    drop(store);
    assert_eq!(host.tpm.count(), 7 + START);
    // From here on it is the counter of this disk, also with lower counts than before.
    let (mut store, restored) = host.start().unwrap();
    assert!(restored);
    store.marks.caught_up();
    write(&mut store, VOTE);
    let old = host.copy();
    write(&mut store, VOTE);
    drop(store);
    assert!(!host.start().unwrap().1);
    host.put_back(&old);
    assert!(host.start().unwrap().1);
}

#[test]
fn a_lower_counter_that_was_entered_is_the_one_that_counts() {
    let mut host = Host::new();
    let (mut store, _) = host.start().unwrap();
    (0..20).for_each(|_| write(&mut store, SESSION));
    drop(store);
    host.tpm = Tpm::new();
    // Killed after the first of the marks with which it enters: it does not fit, and people say so again.
    let (mut store, _) = host.open();
    store.marks.enter(Some(host.counter()), true).unwrap();
    store.append(File::Agreement, &[]).unwrap();
    drop(store);
    other_counter(host.start());
    drop(host.enter(Some(host.counter()), true).unwrap());
    let (mut store, _) = host.start().unwrap();
    store.marks.caught_up();
    write(&mut store, VOTE);
    drop(store);
    assert!(!host.start().unwrap().1);
    assert!(host.tpm.count() < 20);
}

#[test]
fn a_disk_without_marks_and_a_counter_that_was_used_do_not_fit() {
    let host = Host::new();
    let mut store = host.enter(None, false).unwrap();
    write(&mut store, VOTE);
    drop(store);
    assert!(!host.start().unwrap().1, "nobody can know");
    assert_eq!(records(&host, File::Agreement)[0], "[a vote]", "without the option nothing is marked");
    // Counters that are there: one that has never counted is as good as none, another may know of more.
    for counted in [false, true] {
        let host = Host::new();
        host.tpm.define(DEFAULT_INDEX, 1 << 2 | 1 << 4 | 1 << 18 | 1 << 25, 8);
        let mut store = host.enter(None, false).unwrap();
        write(&mut store, VOTE);
        drop(store);
        if counted {
            host.counter().increment().unwrap();
        }
        assert_eq!(host.start().unwrap().1, counted);
        assert_eq!(host.tpm.count(), 1 + START);
    }
}

#[test]
fn an_empty_directory_does_not_take_a_counter_that_was_used() {
    let host = Host::new();
    host.counter().increment().unwrap();
    for _ in 0..2 {
        let refused = host.start().unwrap_err();
        assert!(matches!(refused, ProcessError::Mark(MarkError::Empty(1))), "{refused}");
        assert!(refused.to_string().contains("undefine the index"), "{refused}");
        assert_eq!(host.tpm.count(), 1);
        assert!(File::ALL.into_iter().all(|file| records(&host, file).is_empty()));
    }
    assert!(host.enter(Some(host.counter()), true).unwrap().marks.restored());
    assert_eq!(host.tpm.count(), 1 + START);
    // Any record is something: also one of the log.
    let host = Host::new();
    host.counter().increment().unwrap();
    let mut store = host.enter(None, false).unwrap();
    write(&mut store, (File::Log, b"{\"batch\":\"\"}"));
    drop(store);
    assert!(host.start().unwrap().1);
}

/// Serves several clients at once, as `/dev/tpmrm0` does. Returns its socket.
fn shared(host: &Host) -> PathBuf {
    let (socket, tpm) = (host.directory.path().join("shared.sock"), host.tpm.socket());
    let listener = UnixListener::bind(&socket).unwrap();
    let serve = |mut client: UnixStream, tpm: &Path| {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = client.read(&mut bytes) {
            let mut stream = UnixStream::connect(tpm).unwrap();
            stream.write_all(&bytes[..read]).unwrap();
            let read = stream.read(&mut bytes).unwrap();
            client.write_all(&bytes[..read]).unwrap();
        }
    };
    thread::spawn(move || {
        for client in listener.incoming() {
            let tpm = tpm.clone();
            thread::spawn(move || serve(client.unwrap(), &tpm));
        }
    });
    socket
}

/// Who starts a co-signer waits for its unlock secret, and another process of it may end meanwhile.
#[test]
fn the_count_is_that_of_when_the_disk_is_locked() {
    let host = Host::new();
    let socket = shared(&host);
    let early = Counter::open(&socket, DEFAULT_INDEX).unwrap();
    let mut store = host.enter(Some(Counter::open(&socket, DEFAULT_INDEX).unwrap()), false).unwrap();
    write(&mut store, VOTE);
    drop(store);
    let mut store = host.enter(Some(early), false).unwrap();
    assert!(!store.marks.restored());
    write(&mut store, SESSION);
    drop(store);
    assert_eq!(host.tpm.count(), 3 + 2 * START, "one to begin with, and two writes");
    drop(start_as_ever(&host));
}

#[test]
fn without_its_counter_it_starts_when_told_so_each_time() {
    let host = Host::new();
    let (mut store, _) = host.start().unwrap();
    write(&mut store, VOTE);
    drop(store);
    for start in 0..2 {
        let refused = host.enter(None, false).unwrap_err();
        assert!(refused.to_string().contains("start with --tpm"), "{refused}");
        let mut store = host.enter(None, true).unwrap();
        store.marks.check_entered().unwrap();
        store.marks.caught_up();
        // Replaced or not, the marks stay.
        store.replace(File::Agreement, &[]).unwrap();
        store.replace(File::Guard, &[]).unwrap();
        if start > 0 {
            write(&mut store, SESSION);
        }
    }
    assert!(host.start().unwrap().1, "nobody counted meanwhile");
}

#[test]
fn a_tpm_that_goes_away_ends_the_process_before_anything_leaves() {
    let mut host = Host::new();
    let (mut store, _) = host.start().unwrap();
    write(&mut store, VOTE);
    host.tpm.stop();
    let failed = store.append(File::Guard, &[SESSION.1]).unwrap_err();
    let gone = matches!(&failed, ProcessError::Mark(MarkError::Tpm(TpmError::Io { .. })));
    assert!(gone, "{failed}");
    drop(store);
    host.tpm.start();
    let (store, restored) = host.start().unwrap();
    assert!(!restored, "it was written, not counted, and nothing left");
    drop(store);
    assert_eq!(records(&host, File::Guard)[1], "{\"session\":1}");
}

#[test]
fn a_mark_that_is_none_is_damage() {
    for wrong in ["{\"mark\":7}", "{\"mark\":{\"agreement\":1,\"guard\":1}}", "{\"mark\":{}}"] {
        let host = Host::new();
        let other = TempDir::new().unwrap();
        let mut journal = Journal::open(&other.path().join(File::Guard.name())).unwrap().0;
        journal.append(wrong.as_bytes()).unwrap();
        take(other.path(), &host.data(), &[File::Guard]);
        let refused = Store::open(&host.data()).unwrap_err();
        assert!(refused.to_string().starts_with("a mark in guard.journal: "), "{refused}");
    }
}

/// A process of the co-signer whose keys are in the vectors.
fn process(store: Store) -> Result<Process, ProcessError> {
    let read = |file: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors").join(file)).unwrap()
    };
    let keys: serde_json::Value = serde_json::from_slice(&read("keys/expected.json")).unwrap();
    let locked = |text: &serde_json::Value| {
        let text = text.as_str().unwrap();
        let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        LockedBytes::take(&mut (0..text.len()).step_by(2).map(digits).collect::<Vec<u8>>()).unwrap()
    };
    let vault = Vault::unlock(&locked(&keys["unlock_secret"]), &read("keys/share.vault")).unwrap();
    let secrets = CosignerSecrets::from_plaintext(&locked(&keys["cosigner"]["plaintext"])).unwrap();
    let genesis = Genesis::parse(&read("signer/genesis.json")).unwrap();
    let tls = TlsKey::from_seed(secrets.tls_seed()).unwrap();
    let name = "s1".parse().unwrap();
    let cosigner = Cosigner::open(genesis, name, secrets, Arc::new(vault), &Disk::default()).unwrap();
    Process::new(cosigner, store, "127.0.0.1:0".parse().unwrap(), &tls)
}

#[test]
fn no_process_serves_from_a_marked_disk_that_nobody_compared() {
    let host = Host::new();
    drop(host.start().unwrap());
    let refused = process(host.open().0).unwrap().run(false).unwrap_err();
    assert!(matches!(refused, ProcessError::Mark(MarkError::NoCounter(4))), "{refused}");
}
