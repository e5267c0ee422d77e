//! Derived keys that are kept in files: they make a start fast, and nothing is credited by them alone.

use std::path::{Path, PathBuf};

use bitcoin::ScriptBuf;
use custody::effects::Branch;
use fixtures::name;
use ledger::Owner;

use super::AMOUNT;
use super::rig::{self, Engine, NEEDED, Rig};

/// So many addresses that files have whole blocks.
const ADDRESSES: u32 = 2 * deposits::KEYS_PER_BLOCK;

fn rig() -> (Rig, PathBuf) {
    let mut rig = Rig::start(Engine::Sqlite);
    let directory = rig.list().with_file_name("derived-keys");
    rig.settings.keys = Some(directory.clone());
    rig.restart();
    rig.allocate("north", ADDRESSES);
    (rig, directory)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn deposits_are_credited_whatever_the_files_of_derived_keys_hold() {
    let (mut rig, directory) = rig();
    rig.turn().unwrap();
    let sizes = |files: &[PathBuf]| files.iter().map(|file| file.metadata().unwrap().len()).max();
    let kept = files(&directory);
    assert_eq!(kept.len(), 2, "one for each chain of addresses");
    assert!(sizes(&kept) > Some(32 * u64::from(ADDRESSES)));
    let damages: [fn(Vec<u8>) -> Vec<u8>; 4] = [
        |bytes| bytes,
        |_| Vec::new(),
        |bytes| bytes[..5_000].to_vec(),
        |bytes| bytes.iter().map(|b| b ^ 1).collect(),
    ];
    for (damage, index) in damages.into_iter().zip(8 + deposits::KEYS_PER_BLOCK..) {
        for file in files(&directory).iter().filter(|file| file.metadata().unwrap().len() > 5_000) {
            std::fs::write(file, damage(std::fs::read(file).unwrap())).unwrap();
        }
        rig.restart();
        let tx = rig.pay(&[(rig.own(index), AMOUNT)]);
        rig.send(&tx);
        rig.mine(NEEDED);
        rig.turn().unwrap();
        assert_eq!(rig.state(&rig::outpoint(&tx, 0)), "credited", "{index}");
        assert!(sizes(&files(&directory)) > Some(32 * u64::from(ADDRESSES)), "written again");
    }
    // A directory that cannot be written to only costs time.
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "a file").unwrap();
    rig.restart();
    let tx = rig.pay(&[(rig.own(20), AMOUNT)]);
    rig.mine_only(&[rig::raw(&tx)]);
    rig.turn().unwrap();
    assert_eq!(rig.state(&rig::outpoint(&tx, 0)), format!("confirming(1/{NEEDED})"));
}

#[test]
fn a_wrong_key_credits_nothing_and_all_keys_are_derived_anew() {
    let (mut rig, directory) = rig();
    rig.turn().unwrap();
    let strangers = ScriptBuf::from_bytes([&[0x51, 0x20], &[9; 32][..]].concat());
    let lie = |rig: &mut Rig| {
        let own = deposits::Address {
            wallet: name("main"),
            branch: Branch::Receive,
            index: 3,
            client: Some(name("north")),
            retired: false,
        };
        rig.deposits.own.insert([9; 32], &own).unwrap();
    };
    let refused = |rig: &mut Rig| {
        let error = rig.turn().unwrap_err().to_string();
        assert!(error.contains("address 3 of wallet main is not its own"), "{error}");
        assert!(!directory.exists(), "what was read is not read again");
    };

    // In the mempool, beside a true deposit.
    lie(&mut rig);
    let tx = rig.pay(&[(strangers.clone(), AMOUNT), (rig.own(3), AMOUNT)]);
    rig.send(&tx);
    refused(&mut rig);
    let (theirs, ours) = (rig::outpoint(&tx, 0), rig::outpoint(&tx, 1));
    assert!(!rig.has(&theirs) && !rig.has(&ours));
    rig.turn().unwrap();
    assert!(!rig.has(&theirs));
    assert_eq!(rig.state(&ours), "seen");
    assert_eq!(files(&directory).len(), 2, "derived and written");

    // In a block.
    lie(&mut rig);
    rig.mine(NEEDED);
    refused(&mut rig);
    assert_eq!(rig.balance(Owner::External), 0);
    rig.turn().unwrap();
    assert!(!rig.has(&theirs));
    assert_eq!(rig.state(&ours), "credited");
    assert_eq!(rig.balance(Owner::Client(name("north"))), i128::from(AMOUNT));
}

/// The interface asks the clerk's index whose an address is: it knows what the log has, also before the clerk does.
#[test]
fn who_else_asks_knows_an_address_from_its_allocation_on() {
    let (mut rig, directory) = rig();
    rig.turn().unwrap();
    let own = rig.deposits.own();
    let find =
        |rig: &Rig, script: &ScriptBuf| own.find(&rig.world.state, &rig.world.decoder, script.as_bytes());
    let index = rig.allocate("south", 1);
    let script = rig.own(index);
    let found = find(&rig, &script).unwrap().unwrap();
    assert_eq!((found.index, &found.client), (index, &Some(name("south"))));
    assert_eq!(find(&rig, &rig.own(index + 1)), Ok(None), "it is nobody's yet");
    let tx = rig.pay(&[(script, AMOUNT)]);
    rig.send(&tx);
    rig.mine(NEEDED);
    rig.turn().unwrap();
    assert_eq!(rig.balance(Owner::Client(name("south"))), i128::from(AMOUNT));

    // What is found to be wrong by who asks is put right by the clerk.
    let lie = deposits::Address { index: 3, retired: false, ..found };
    own.insert([9; 32], &lie).unwrap();
    let strangers = ScriptBuf::from_bytes([&[0x51, 0x20], &[9; 32][..]].concat());
    assert!(find(&rig, &strangers).is_err());
    assert!(rig.turn().unwrap_err().to_string().contains("address 3 of wallet main is not its own"));
    assert!(!directory.exists());
    rig.turn().unwrap();
    assert_eq!(find(&rig, &strangers), Ok(None));
}
