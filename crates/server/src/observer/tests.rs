//! Coins as a real node finds them.

use bitcoin::{Address, Network, ScriptBuf};
use custody::payment::Allocate;
use custody::statement::Body;
use fixtures::{Account, World, name};
use tempfile::TempDir;

use super::*;
use crate::clerk::deposits::tests::regtest;

#[test]
fn a_key_origin_says_wallet_branch_and_index() {
    let found = |origin: &str| read_origin(&format!("tr([{origin}]64a609ea)#wkc8k5cf"));
    assert_eq!(found("00000000/0/5"), Some((0, Branch::Receive, 5)));
    assert_eq!(found("0000001f/1/1000000"), Some((31, Branch::Change, 1_000_000)));
    for other in
        ["", "00000000", "00000000/0", "00000000/2/5", "00000000/0h/5", "00000000/0/5/6", "x/0/5", "0/0/-1"]
    {
        assert_eq!(found(other), None, "{other}");
    }
    for other in ["rawtr(64a609ea)#wkc8k5cf", "tr(64a609ea)", "wpkh([00000000/0/5]02aa)", "tr([00000000/0/5"]
    {
        assert_eq!(read_origin(other), None, "{other}");
    }
}

#[test]
fn ranges_are_as_long_as_the_node_takes() {
    let limit = RANGE_LIMIT;
    let ranges = |last| within_limit(last).collect::<Vec<_>>();
    assert_eq!(ranges(0), [0..=0]);
    assert_eq!(ranges(limit - 1), [0..=limit - 1]);
    assert_eq!(ranges(limit), [0..=limit - 1, limit..=limit]);
    assert_eq!(ranges(2 * limit + 999), [0..=limit - 1, limit..=2 * limit - 1, 2 * limit..=2 * limit + 999]);
    assert_eq!(ranges(u32::MAX).last(), Some(&(4_294_000_000..=u32::MAX)));

    // The node judges the length of a range before it looks whether the descriptor has one.
    let directory = TempDir::with_prefix("keyward-observer-").unwrap();
    let node = regtest::Node::start(directory.path()).unwrap();
    let scan = |range| node.rpc().scan_ranges(&[("raw(51)".to_owned(), range)]);
    scan(0..=limit - 1).unwrap();
    scan(limit..=2 * limit - 1).unwrap();
    let error = scan(0..=limit).unwrap_err().to_string();
    assert!(error.contains("Range is too large"), "{error}");
}

/// Two wallets, each with its own account and its own reach.
fn world() -> World {
    let mut world = World::ready();
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    world.activate_all(ceremony, 1, &Account::new(1));
    world.adopt(world.wallet("second", ceremony, 1));
    let allocate =
        Allocate { wallet: name("second"), client: name("x"), branch: Branch::Receive, count: 1_000 };
    world.say("alice", Body::Allocate(allocate)).unwrap();
    world
}

fn script(world: &World, account: u32, branch: Branch, index: u32) -> ScriptBuf {
    ScriptBuf::from_bytes(world.decoder.own_script(&Account::new(account).key(), branch, index).unwrap())
}

#[test]
fn coins_are_found_with_their_wallets_and_nothing_else_is() {
    let world = world();
    let directory = TempDir::with_prefix("keyward-observer-").unwrap();
    let node = regtest::Node::start(directory.path()).unwrap();
    let pay = |script: &ScriptBuf| {
        node.mine(1, &Address::from_script(script, Network::Regtest).unwrap().to_string()).unwrap();
    };
    let own = [
        ("main", 0, Branch::Receive, 3),
        ("main", 0, Branch::Change, 19),
        ("main", 0, Branch::Receive, 999),
        ("second", 1, Branch::Receive, 0),
        ("second", 1, Branch::Receive, 1_999),
    ];
    for (_, account, branch, index) in own {
        pay(&script(&world, account, branch, index));
    }
    // Beyond what is scanned of a branch, of an account without a wallet, and of nobody.
    pay(&script(&world, 0, Branch::Receive, 1_000));
    pay(&script(&world, 1, Branch::Change, 1_000));
    pay(&script(&world, 2, Branch::Receive, 0));
    pay(&ScriptBuf::from_bytes(
        [&[0x51, 0x20], &script(&world, 0, Branch::Receive, 4).as_bytes()[2..]].concat(),
    ));
    let tip = |node: &regtest::Node| {
        let info = node.rpc().chain_info().unwrap();
        Tip { height: info.blocks, block: info.best }
    };
    let mut observer =
        Observer::new(Client::new(node.rpc().address(), node.rpc().cookie_file()), BTreeMap::new());
    let found = |observer: &Observer| {
        let scanned = observer.scanned().unwrap();
        let of = |(wallet, coins): (&Name, &Vec<Unspent>)| {
            coins.iter().map(|coin| (wallet.to_string(), coin.branch, coin.index)).collect::<Vec<_>>()
        };
        scanned.by_wallet.iter().flat_map(of).collect::<BTreeSet<_>>()
    };
    let mut expected: BTreeSet<_> =
        own.iter().map(|(wallet, _, branch, index)| ((*wallet).to_owned(), *branch, *index)).collect();
    expected.insert(("main".to_owned(), Branch::Receive, 4));
    scan_all(&mut observer, &world, tip(&node));
    assert_eq!(found(&observer), expected);

    // The next block: what was derived is known, and a coin more.
    pay(&script(&world, 0, Branch::Receive, 5));
    expected.insert(("main".to_owned(), Branch::Receive, 5));
    scan_all(&mut observer, &world, tip(&node));
    assert_eq!(found(&observer), expected);
}

/// Looks until the coins are as of a tip.
fn scan_all(observer: &mut Observer, world: &World, tip: Tip) {
    let begun = std::time::Instant::now();
    while observer.coins.as_ref().is_none_or(|coins| coins.tip() != tip) {
        assert!(begun.elapsed().as_secs() < 90, "no scan: {:?}", observer.unscanned);
        observer.scan(&world.state, &world.decoder, tip, || {}).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(observer.coins().is_some_and(|(_, height)| height == tip.height));
}

#[test]
fn what_the_node_says_of_an_output_is_derived_here() {
    let world = world();
    let mut observer = Observer::new(Client::new(([127, 0, 0, 1], 1).into(), "none"), BTreeMap::new());
    let wallets = [(name("main"), Account::new(0).key()), (name("second"), Account::new(1).key())];
    let whose = |observer: &Observer, script: &ScriptBuf, origin: &str| {
        let unspent = crate::node::Unspent {
            txid: Txid::from_byte_array([1; 32]),
            vout: 0,
            script: script.to_bytes(),
            descriptor: format!("tr([{origin}]00)#0"),
            amount: custody::effects::Sats(1),
            height: 1,
            block: BlockHash::from_byte_array([2; 32]),
            coinbase: false,
        };
        observer.whose(&world.decoder, &wallets, &unspent).ok()
    };
    let (first, second) = (script(&world, 0, Branch::Receive, 7), script(&world, 1, Branch::Receive, 7));
    assert_eq!(whose(&observer, &first, "00000000/0/7"), Some((name("main"), Branch::Receive, 7)));
    assert_eq!(whose(&observer, &second, "00000001/0/7"), Some((name("second"), Branch::Receive, 7)));
    for lie in ["00000001/0/7", "00000000/1/7", "00000000/0/8", "00000002/0/7", "wrong"] {
        assert_eq!(whose(&observer, &first, lie), None, "{lie}");
    }
    // What was derived for another coin is no answer for this one.
    observer.scripts.insert((name("main"), Branch::Receive, 7), first.to_bytes());
    assert_eq!(whose(&observer, &first, "00000000/0/7"), Some((name("main"), Branch::Receive, 7)));
    assert_eq!(whose(&observer, &second, "00000000/0/7"), None);
}
