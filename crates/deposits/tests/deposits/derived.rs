//! Derived keys that are kept in files: whatever a file says, the keys are the right ones.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use bitcoin::ScriptBuf;
use chain::BitcoinDecoder;
use custody::effects::{
    AccountKey, Branch, ConfirmationProof, Confirmed, DecodeError, Decoder, Effects, PinnedHeader, Sats,
};
use custody::genesis::REGTEST;
use custody::payment::Allocate;
use custody::statement::Body;
use custody::{Blob, Hash};
use deposits::{
    Address, KEYS_PER_BLOCK, KEYS_TRIED, KeyFiles, OutputKey, Own, WatchError, Watched, output_key,
};
use fixtures::{Account, World, name};
use tempfile::TempDir;

/// The decoder, with a count of what it derived, and an index from which on it derives nothing.
struct Counting {
    decoder: BitcoinDecoder,
    derived: AtomicUsize,
    end: u32,
}

impl Counting {
    fn new() -> Self {
        Self { decoder: BitcoinDecoder::new(REGTEST).unwrap(), derived: AtomicUsize::new(0), end: u32::MAX }
    }

    /// What was derived since this was asked last.
    fn derived(&self) -> usize {
        self.derived.swap(0, Ordering::SeqCst)
    }
}

impl Decoder for Counting {
    fn decode(&self, raw: &[u8]) -> Result<Effects, DecodeError> {
        self.decoder.decode(raw)
    }
    fn own_script(&self, account: &AccountKey, branch: Branch, index: u32) -> Result<Vec<u8>, DecodeError> {
        self.derived.fetch_add(1, Ordering::SeqCst);
        if index >= self.end {
            return Err(DecodeError { what: "end", why: "of what is derived".to_owned() });
        }
        self.decoder.own_script(account, branch, index)
    }
    fn address_script(&self, address: &str) -> Result<Vec<u8>, DecodeError> {
        self.decoder.address_script(address)
    }
    fn dust_limit(&self, script: &[u8]) -> Sats {
        self.decoder.dust_limit(script)
    }
    fn confirmed(&self, proof: &ConfirmationProof, pinned: &PinnedHeader) -> Result<Confirmed, DecodeError> {
        self.decoder.confirmed(proof, pinned)
    }
    fn schnorr_ok(&self, account: &AccountKey, message: &[u8; 32], signature: &[u8]) -> bool {
        self.decoder.schnorr_ok(account, message, signature)
    }
    fn redeals(&self, shared: &[Blob], dealers: &[u32], dealer: u32, dealt: &[Blob]) -> bool {
        self.decoder.redeals(shared, dealers, dealer, dealt)
    }
    fn add_commitments(&self, lists: &[&[Blob]]) -> Option<Vec<Blob>> {
        self.decoder.add_commitments(lists)
    }
}

const ON: Branch = Branch::Receive;

/// A directory of files.
struct Rig {
    decoder: Counting,
    account: AccountKey,
    directory: TempDir,
}

impl Rig {
    fn new() -> Self {
        let directory = TempDir::with_prefix("keyward-keys-").unwrap();
        Self { decoder: Counting::new(), account: Account::new(0).key(), directory }
    }

    fn files(&self) -> KeyFiles {
        KeyFiles::new(self.directory.path().join("keys"))
    }

    fn path(&self) -> PathBuf {
        self.files().file(&self.account, ON)
    }

    /// As another process would ask, and what had to be derived for it.
    fn ask(&self, indices: Range<u32>) -> (Vec<OutputKey>, usize) {
        self.decoder.derived();
        let mut files = self.files();
        let keys = files.keys(&self.decoder, &self.account, ON, indices).unwrap();
        assert!(files.problem().is_none(), "{:?}", files.problem());
        (keys, self.decoder.derived())
    }

    fn keys(&self, indices: Range<u32>) -> Vec<OutputKey> {
        let script = |index| self.decoder.own_script(&self.account, ON, index).unwrap();
        indices.map(|index| output_key(&ScriptBuf::from_bytes(script(index))).unwrap()).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }
}

/// Keys of three blocks, and a few more.
const COUNT: u32 = 3 * KEYS_PER_BLOCK + 20;

/// Bytes of a block with its digest.
const BLOCK_BYTES: usize = (KEYS_PER_BLOCK as usize + 1) * 32;

#[test]
fn what_was_derived_once_is_read() {
    let rig = Rig::new();
    let right = rig.keys(0..COUNT);
    assert_eq!(rig.ask(0..COUNT), (right.clone(), COUNT as usize));
    let bytes = rig.bytes();
    let head = bytes.len() - 3 * BLOCK_BYTES;
    assert!(bytes.starts_with(b"keyward derived keys 1\n") && head < 100, "{head}");
    // Whole blocks are kept; what is more is derived, and some of what is kept is tried.
    assert_eq!(rig.ask(0..COUNT), (right.clone(), 20 + KEYS_TRIED));
    assert!(rig.bytes() == bytes);
    // Less than there is, and something from the middle.
    let (middle, derived) = rig.ask(KEYS_PER_BLOCK + 1..KEYS_PER_BLOCK + 3);
    assert_eq!((middle, derived), (rig.keys(KEYS_PER_BLOCK + 1..KEYS_PER_BLOCK + 3), KEYS_TRIED));
    assert!(rig.bytes() == bytes, "nothing is cut off");
    // The other chain of addresses has a file of its own.
    let mut files = rig.files();
    let change = files.keys(&rig.decoder, &rig.account, Branch::Change, 0..COUNT).unwrap();
    assert!(change.iter().all(|key| !right.contains(key)));
    assert!(rig.bytes() == bytes);
    assert_eq!(rig.ask(0..0).0, Vec::<OutputKey>::new());
}

#[test]
fn a_chain_of_addresses_grows_block_by_block() {
    let (steps, once) = (Rig::new(), Rig::new());
    once.ask(0..COUNT);
    let block = KEYS_PER_BLOCK;
    // As the log goes on: from what was allocated to the end of the gap.
    let ends = [1, 20, block - 1, block, block + 1, block + 30, 2 * block + 7, COUNT];
    let mut from = 0;
    for end in ends {
        let (keys, derived) = steps.ask(from..end);
        assert_eq!(keys, steps.keys(from..end), "{from}..{end}");
        assert!(derived <= (end - from / block * block) as usize + KEYS_TRIED, "{from}..{end}: {derived}");
        let head = once.bytes().len() - 3 * BLOCK_BYTES;
        assert_eq!(steps.bytes().len(), head + (end / block) as usize * BLOCK_BYTES, "{end}");
        from = end.saturating_sub(20);
    }
    assert!(steps.bytes() == once.bytes());
}

/// The result is the same on every side of what is derived by one thread.
#[test]
fn all_processors_derive_in_order() {
    let rig = Rig::new();
    for count in [1, 63, 64, 65, 127, 128, 129, 255, 256, 257] {
        let mut files = KeyFiles::new(rig.directory.path().join(count.to_string()));
        let keys = files.keys(&rig.decoder, &rig.account, ON, 0..count).unwrap();
        assert_eq!(keys, rig.keys(0..count), "{count}");
    }
}

#[test]
fn what_was_derived_before_an_interruption_is_kept() {
    let mut rig = Rig::new();
    let at_once = 64 * KEYS_PER_BLOCK;
    rig.decoder.end = at_once + 10;
    let all = at_once + 20;
    assert!(rig.files().keys(&rig.decoder, &rig.account, ON, 0..all).is_err());
    rig.decoder.end = u32::MAX;
    assert_eq!(rig.ask(0..all), (rig.keys(0..all), 20 + KEYS_TRIED));
}

/// After each damage the keys are right, and so is the file from then on.
fn survives(rig: &Rig, what: &str, damage: impl FnOnce(&mut Vec<u8>)) {
    let (right, good) = (rig.keys(0..COUNT), rig.bytes());
    let mut bytes = good.clone();
    damage(&mut bytes);
    assert!(bytes != good, "{what}");
    fs::write(rig.path(), &bytes).unwrap();
    assert!(rig.ask(0..COUNT).0 == right, "{what}");
    assert!(rig.bytes() == good, "{what}: written again");
    assert!(rig.ask(0..COUNT) == (right, 20 + KEYS_TRIED), "{what}: read from then on");
}

#[test]
fn a_damaged_file_is_derived_and_written_again() {
    let rig = Rig::new();
    rig.ask(0..COUNT);
    let good = rig.bytes();
    let head = good.len() - 3 * BLOCK_BYTES;
    // A crash while it was written: the file ends anywhere, or in zeros that never reached the disk.
    let ends = [0, 1, head - 1, head, head + 1, head + BLOCK_BYTES - 1, head + BLOCK_BYTES, good.len() - 1];
    for end in ends {
        survives(&rig, &format!("cut at {end}"), |bytes| bytes.truncate(end));
        survives(&rig, &format!("zeros from {end}"), |bytes| bytes[end..].fill(0));
    }
    // A bit that the disk turned: in the head, in keys, in digests.
    let places = [
        0,
        21,
        22,
        23,
        head - 1,
        head,
        head + 31,
        head + BLOCK_BYTES - 1,
        head + BLOCK_BYTES,
        good.len() - 1,
    ];
    for place in places {
        survives(&rig, &format!("byte {place}"), |bytes| bytes[place] ^= 1);
    }
    survives(&rig, "an older format", |bytes| bytes[21] = b'0');
    survives(&rig, "blocks in another order", |bytes| bytes[head..].rotate_left(BLOCK_BYTES));
    survives(&rig, "the same block twice", |bytes| {
        bytes.copy_within(head..head + BLOCK_BYTES, head + BLOCK_BYTES)
    });
    // Files of another chain of addresses: with their head, and under a head that says that they are ours.
    for (other, branch) in [(Account::new(1).key(), ON), (rig.account.clone(), Branch::Change)] {
        rig.files().keys(&rig.decoder, &other, branch, 0..COUNT).unwrap();
        let others = fs::read(rig.files().file(&other, branch)).unwrap();
        survives(&rig, "another chain's", |bytes| bytes.clone_from(&others));
        survives(&rig, "another chain's blocks", |bytes| bytes[head..].copy_from_slice(&others[head..]));
    }
    // An account that only differs in its chain code is another one.
    let code = AccountKey { chain_code: Hash([7; 32]), ..rig.account.clone() };
    let public = AccountKey { public: Account::new(1).key().public, ..rig.account.clone() };
    let paths = [&rig.account, &code, &public].map(|account| rig.files().file(account, ON));
    assert!(paths[0] != paths[1] && paths[0] != paths[2] && paths[1] != paths[2]);
}

/// A file as somebody else would write it who knows the format: every digest is right.
fn forged(rig: &Rig, keys: &[OutputKey]) -> Vec<u8> {
    let good = rig.bytes();
    let (head, mut bytes) = (good.len() - 3 * BLOCK_BYTES, good);
    bytes.truncate(head);
    let id = &bytes[b"keyward derived keys 1\n".len()..].to_vec();
    for (number, block) in (0_u32..).zip(keys.chunks_exact(KEYS_PER_BLOCK as usize)) {
        let body = block.concat();
        let digest = Hash::of("keyward/derived-keys", &[&id[..], &number.to_be_bytes(), &body].concat());
        bytes.extend(body);
        bytes.extend(digest.0);
    }
    bytes
}

#[test]
fn a_file_of_other_keys_is_found_out_by_trying_some() {
    let rig = Rig::new();
    rig.ask(0..COUNT);
    let mut keys = rig.keys(0..3 * KEYS_PER_BLOCK);
    assert!(forged(&rig, &keys) == rig.bytes(), "this is how a file is written");
    let last = keys.len() - 1;
    for place in [0, last] {
        let mut keys = keys.clone();
        keys[place][0] ^= 1;
        let forged = forged(&rig, &keys);
        survives(&rig, "one end", |bytes| *bytes = forged);
    }
    // All but the ends, each time: the odds that none of the others is tried are none.
    keys[1..last].rotate_left(1);
    let forged = forged(&rig, &keys);
    survives(&rig, "moved by one", |bytes| *bytes = forged);
}

#[test]
fn a_disk_that_fails_makes_no_difference() {
    let rig = Rig::new();
    let right = rig.keys(0..COUNT);
    let mut failing: Vec<PathBuf> = Vec::new();
    // A file where the directory should be, and a directory where the file should be.
    let blocked = rig.directory.path().join("blocked");
    fs::write(&blocked, "somebody's").unwrap();
    failing.push(blocked);
    let taken = rig.directory.path().join("taken");
    fs::create_dir_all(KeyFiles::new(&taken).file(&rig.account, ON)).unwrap();
    failing.push(taken);
    for directory in failing {
        let mut files = KeyFiles::new(&directory);
        assert_eq!(files.keys(&rig.decoder, &rig.account, ON, 0..COUNT).unwrap(), right);
        assert!(files.problem().is_some(), "{}", directory.display());
    }
    let mut files = rig.files();
    assert_eq!(files.keys(&rig.decoder, &rig.account, ON, 0..COUNT).unwrap(), right);
    assert!(files.problem().is_none());
    fs::remove_file(rig.path()).unwrap();
    fs::create_dir(rig.path()).unwrap();
    assert_eq!(files.keys(&rig.decoder, &rig.account, ON, 0..COUNT).unwrap(), right);
    files.keys(&rig.decoder, &rig.account, Branch::Change, 0..1).unwrap();
    assert!(files.problem().is_some(), "what goes well says nothing of what did not");
    files.forget().unwrap();
    assert!(!rig.path().exists());
    files.forget().unwrap();
    assert_eq!(files.keys(&rig.decoder, &rig.account, ON, 0..COUNT).unwrap(), right, "made again");
    assert!(rig.path().exists());
}

#[test]
fn what_cannot_be_derived_is_said() {
    let rig = Rig::new();
    let bad = AccountKey { public: Blob(vec![4; 33]), chain_code: Hash([0; 32]) };
    assert!(rig.files().keys(&rig.decoder, &bad, ON, 0..COUNT).is_err());
    let hardened = 1 << 31;
    assert!(rig.files().keys(&rig.decoder, &rig.account, ON, hardened..hardened + 1).is_err());
    let last = rig.files().keys(&rig.decoder, &rig.account, ON, hardened - 1..hardened).unwrap();
    assert_eq!(last, rig.keys(hardened - 1..hardened));
}

/// One key in a file is not that of its address, and it is not among those that were tried.
#[test]
fn what_is_found_by_a_wrong_key_is_not_proved() {
    let mut world = World::ready();
    let allocate = Allocate { wallet: name("main"), client: name("x"), branch: ON, count: 300 };
    world.say("alice", Body::Allocate(allocate)).unwrap();
    let script =
        |index| ScriptBuf::from_bytes(world.decoder.own_script(&Account::new(0).key(), ON, index).unwrap());
    let strangers = ScriptBuf::from_bytes([&[0x51, 0x20], &[9; 32][..]].concat());
    let follow = |wrong: Option<u32>| {
        let mut watched = Watched::default();
        let directory = TempDir::with_prefix("keyward-keys-").unwrap();
        let mut files = KeyFiles::new(directory.path());
        let keys = |account: &AccountKey, branch, indices: Range<u32>| {
            let mut keys = files.keys(&world.decoder, account, branch, indices)?;
            if let Some(wrong) = wrong.filter(|_| branch == ON) {
                keys[wrong as usize] = [9; 32];
            }
            Ok(keys)
        };
        watched.follow_with(&world.state, keys).unwrap();
        watched
    };
    let right = follow(None);
    let mut alone = Watched::default();
    alone.follow(&world.state, &world.decoder).unwrap();
    for index in 0..321 {
        assert_eq!(right.find(&script(index)), alone.find(&script(index)), "{index}");
        assert_eq!(right.prove(&world.decoder, &script(index)), Ok(()));
    }
    assert_eq!(right.prove(&world.decoder, &strangers), Ok(()), "it is taken for nobody's");

    let mut wrong = follow(Some(7));
    assert_eq!(wrong.find(&strangers).map(|address| address.index), Some(7));
    let error = WatchError::Wrong { wallet: name("main"), branch: ON, index: 7 };
    assert_eq!(wrong.prove(&world.decoder, &strangers), Err(error));
    assert_eq!(wrong.prove(&world.decoder, &script(8)), Ok(()));
    // What the caller put in itself follows no account of the log.
    let own = Address { wallet: name("other"), branch: ON, index: 7, client: None, retired: false };
    wrong.insert([8; 32], &own).unwrap();
    let inserted = ScriptBuf::from_bytes([&[0x51, 0x20], &[8; 32][..]].concat());
    assert_eq!(wrong.prove(&world.decoder, &inserted), Ok(()));
}

/// Fewer keys than were asked for are no index.
#[test]
fn missing_keys_are_refused() {
    let world = World::ready();
    let short = |decoder: &BitcoinDecoder, account: &AccountKey, branch, indices: Range<u32>| {
        let mut keys =
            KeyFiles::new(TempDir::new().unwrap().path()).keys(decoder, account, branch, indices)?;
        keys.pop();
        Ok(keys)
    };
    let mut watched = Watched::default();
    let result = watched.follow_with(&world.state, |account, branch, indices| {
        short(&world.decoder, account, branch, indices)
    });
    assert!(matches!(result, Err(WatchError::Derive { branch: ON, first: 0, .. })), "{result:?}");
}

/// A log with so many addresses for `x`, and the scripts of its wallet.
fn allocated(count: u32) -> World {
    let mut world = World::ready();
    allocate(&mut world, count);
    world
}

fn allocate(world: &mut World, count: u32) {
    let allocate = Allocate { wallet: name("main"), client: name("x"), branch: ON, count };
    world.say("alice", Body::Allocate(allocate)).unwrap();
}

fn scripts(world: &World, indices: Range<u32>) -> Vec<Vec<u8>> {
    let own = |index| world.decoder.own_script(&Account::new(0).key(), ON, index).unwrap();
    indices.map(own).collect()
}

/// What is asked for is found from the moment on that the log has it, whatever the files have, and nothing is derived
/// twice.
#[test]
fn an_address_is_own_from_its_allocation_on() {
    let rig = Rig::new();
    let mut world = allocated(300);
    let next = |world: &World| world.state.next_index(&name("main"), ON);
    let end = next(&world);
    let all = scripts(&world, 0..end + 400);
    let place = |own: &Own, world: &World, index: u32| {
        let found = own.find(&world.state, &rig.decoder, &all[index as usize]).unwrap();
        found.map(|found| (found.wallet.to_string(), found.branch, found.index))
    };
    let is = |index: u32| Some(("main".to_owned(), ON, index));
    for files in [None, Some(rig.files()), Some(rig.files())] {
        let mut world = world.clone();
        let own = Own::new(files);
        assert_eq!(place(&own, &world, end - 1), is(end - 1), "the first question");
        assert_eq!(place(&own, &world, end), None, "watched inside the gap, and nobody's yet");
        rig.decoder.derived();
        assert_eq!((place(&own, &world, end + 1), rig.decoder.derived()), (None, 1));
        assert_eq!(
            (place(&own, &world, 7), rig.decoder.derived()),
            (is(7), 1),
            "only what is found is proved"
        );
        let strangers = own.find(&world.state, &rig.decoder, &[&[0x51, 0x20], &[9; 32][..]].concat());
        assert_eq!((strangers, rig.decoder.derived()), (Ok(None), 0));

        // A moment ago: the files do not have it.
        let old = world.state.clone();
        allocate(&mut world, 300);
        assert_eq!(next(&world), end + 300);
        assert_eq!(place(&own, &world, end + 299), is(end + 299));
        assert!(
            rig.decoder.derived() <= 300 + 2 * KEYS_PER_BLOCK as usize + 2 * KEYS_TRIED,
            "not all of them"
        );
        // Who still has the log of before is told what that says, and takes nothing back.
        assert_eq!(own.find(&old, &rig.decoder, &all[end as usize]), Ok(None));
        own.follow(&old, &rig.decoder).unwrap();
        rig.decoder.derived();
        assert_eq!((place(&own, &world, end + 299), rig.decoder.derived()), (is(end + 299), 1));
    }

    // Another process, whose files end before the log: cut off, gone, and of something else.
    allocate(&mut world, 300);
    let good = rig.bytes();
    for bytes in [&good[..], &good[..good.len() / 2], &[], b"something else"] {
        fs::write(rig.path(), bytes).unwrap();
        let own = Own::new(Some(rig.files()));
        for index in [0, end - 1, end, end + 299] {
            assert_eq!(place(&own, &world, index), is(index), "{index}");
        }
    }
}

#[test]
fn what_was_forgotten_is_followed_again_before_anybody_is_answered() {
    let rig = Rig::new();
    let world = allocated(300);
    let all = scripts(&world, 0..300);
    let own = Own::new(Some(rig.files()));
    let index = |script: &[u8]| own.find(&world.state, &rig.decoder, script).unwrap().map(|own| own.index);
    assert_eq!(index(&all[299]), Some(299));
    own.forget();
    assert!(own.read().is_empty() && !rig.path().exists());
    assert_eq!(index(&all[299]), Some(299));
    assert!(rig.path().exists(), "written again");
    // While one thread forgets, nobody who is told an answer is told a wrong one.
    std::thread::scope(|scope| {
        let forgets = scope.spawn(|| (0..20).for_each(|_| own.forget()));
        while !forgets.is_finished() {
            assert_eq!(index(&all[0]), Some(0));
        }
    });
}

#[test]
fn a_wrong_key_is_told_to_who_asks_and_to_who_follows() {
    let rig = Rig::new();
    let world = allocated(3);
    let strangers = [&[0x51, 0x20], &[9; 32][..]].concat();
    let own = Own::new(Some(rig.files()));
    own.follow(&world.state, &rig.decoder).unwrap();
    let lie = Address { wallet: name("main"), branch: ON, index: 2, client: Some(name("x")), retired: false };
    own.insert([9; 32], &lie).unwrap();
    assert_eq!(own.take_wrong(), None);
    let wrong = WatchError::Wrong { wallet: name("main"), branch: ON, index: 2 };
    assert_eq!(own.find(&world.state, &rig.decoder, &strangers), Err(wrong.clone()));
    assert_eq!((own.take_wrong(), own.take_wrong()), (Some(wrong), None), "once");
    own.forget();
    assert_eq!(own.find(&world.state, &rig.decoder, &strangers), Ok(None));
}

#[test]
fn files_that_fail_are_given_up_and_everything_is_found() {
    let rig = Rig::new();
    let world = allocated(3);
    let blocked = rig.directory.path().join("blocked");
    fs::write(&blocked, "somebody's").unwrap();
    let own = Own::new(Some(KeyFiles::new(&blocked)));
    assert_eq!(own.give_up_files(), None, "nothing was tried yet");
    let script = scripts(&world, 2..3).remove(0);
    assert_eq!(own.find(&world.state, &rig.decoder, &script).unwrap().unwrap().index, 2);
    assert!(own.give_up_files().is_some() && own.give_up_files().is_none());
}
