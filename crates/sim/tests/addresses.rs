//! Addresses against Bitcoin Core: what we derive is what any standard wallet with the same seed derives.

use chain::BitcoinDecoder;
use custody::effects::{Branch, Decoder as _};
use custody::genesis::REGTEST;
use keys::seed::Seed;
use rand_core::OsRng;
use sim::regtest::Node;

/// Random seeds that are compared; BIP-340 keys of both parities must be among them.
const SEEDS: usize = 100;

/// The last index that is compared on each chain of addresses.
const LAST: u32 = 3;

#[test]
fn a_hundred_seeds_of_both_parities_derive_what_the_node_derives() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).unwrap();
    let decoder = BitcoinDecoder::new(REGTEST).unwrap();
    let mut parities = [0usize; 2];
    for _ in 0..SEEDS {
        let account = Seed::generate(&mut OsRng).unwrap().account(1, 0).unwrap().public();
        parities[usize::from(account.public.0[0] & 1)] += 1;
        for branch in [Branch::Receive, Branch::Change] {
            let descriptor = decoder.descriptor(&account, None, branch).unwrap();
            let theirs = node.rpc().derive_addresses(&descriptor, 0, LAST).unwrap();
            let own = |index| decoder.address(&decoder.own_script(&account, branch, index).unwrap()).unwrap();
            let ours: Vec<String> = (0..=LAST).map(own).collect();
            assert_eq!(ours, theirs, "{descriptor}");
        }
    }
    assert!(parities.iter().all(|count| *count > 0), "{parities:?}");
}
