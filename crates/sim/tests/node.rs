//! The RPC client of the server against a real node, and the node as tests use it.

use std::fs;
use std::net::TcpListener;

use serde_json::{Value, json};
use server::node::{Client, NodeError};
use sim::regtest::{self, Node, RegtestError};

/// The output key of the first vector of BIP-341, and its address on the main network.
const DESCRIPTOR: &str = "rawtr(53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343)";
const ADDRESS: &str = "bc1p2wsldez5mud2yam29q22wgfh9439spgduvct83k3pm50fcxa5dps59h4z5";

fn node(directory: &tempfile::TempDir) -> Node {
    Node::start(directory.path()).unwrap()
}

/// The address of `descriptor`, as the node derives it.
fn address(rpc: &Client, descriptor: &str) -> String {
    let info = rpc.descriptor_info(descriptor).unwrap();
    assert!(!info.is_range && !info.has_private_keys);
    rpc.call::<Vec<String>>("deriveaddresses", json!([info.descriptor])).unwrap().remove(0)
}

#[test]
fn typed_calls_agree_with_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(&directory);
    let rpc = node.rpc();

    let address = address(rpc, DESCRIPTOR);
    assert_eq!(address, on_regtest(ADDRESS));
    let mined = node.mine(101, &address).unwrap();
    assert_eq!(mined.len(), 101);

    let info = rpc.chain_info().unwrap();
    assert_eq!((info.chain.as_str(), info.blocks, info.headers), ("regtest", 101, 101));
    assert_eq!(rpc.block_count().unwrap(), 101);
    assert_eq!(rpc.block_hash(101).unwrap(), info.best);
    assert_eq!(info.best.to_string(), mined[100]);

    // Header, block, transaction and proof are each other's witnesses, decoded by a library.
    let first = rpc.block_hash(1).unwrap();
    let header = rpc.block_header(&first).unwrap();
    assert_eq!(header.len(), 80);
    let block = rpc.block(&first).unwrap();
    let block: bitcoin::Block = bitcoin::consensus::deserialize(&block).unwrap();
    assert_eq!(bitcoin::consensus::serialize(&block.header), header);
    assert_eq!(block.block_hash(), first);
    let coinbase = &block.txdata[0];
    let raw = rpc.raw_transaction(&coinbase.compute_txid(), Some(&first)).unwrap();
    assert_eq!(raw, bitcoin::consensus::serialize(coinbase));
    let proof = rpc.tx_out_proof(&coinbase.compute_txid(), &first).unwrap();
    let proof: bitcoin::MerkleBlock = bitcoin::consensus::deserialize(&proof).unwrap();
    let (mut matches, mut indexes) = (Vec::new(), Vec::new());
    proof.extract_matches(&mut matches, &mut indexes).unwrap();
    assert_eq!(matches, [coinbase.compute_txid()]);

    // 101 rewards of 50 bitcoin, each in satoshi.
    let scan = rpc.scan_tx_out_set(&[DESCRIPTOR.to_owned()], 0).unwrap();
    assert_eq!((scan.height, scan.best), (101, info.best));
    assert_eq!((scan.unspents.len(), scan.total.0), (101, 101 * 5_000_000_000));
    let unspent = scan.unspents.iter().find(|unspent| unspent.block == first).unwrap();
    assert_eq!(unspent.txid, coinbase.compute_txid());
    assert_eq!(unspent.amount.0, coinbase.output[0].value.to_sat());
    assert_eq!(unspent.script, coinbase.output[unspent.vout as usize].script_pubkey.as_bytes());
    assert!(unspent.coinbase && unspent.height == 1);

    assert_eq!(rpc.estimate_fee_per_kvb(6).unwrap(), None);
    assert_eq!(rpc.raw_mempool().unwrap(), []);
}

/// The vectors of BIP-86: first account, receiving and change addresses.
#[test]
fn ranged_descriptors_give_the_addresses_of_the_standard() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(&directory);
    let rpc = node.rpc();
    let key = "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ";
    let mut key: bitcoin::bip32::Xpub = key.parse().unwrap();
    key.network = bitcoin::NetworkKind::Test;
    for (branch, first, expected) in [
        (0, 0, "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"),
        (0, 1, "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh"),
        (1, 0, "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7"),
    ] {
        let descriptor = rpc.descriptor_info(&format!("tr({key}/{branch}/*)")).unwrap();
        assert!(descriptor.is_range);
        let addresses = rpc.derive_addresses(&descriptor.descriptor, first, first + 2).unwrap();
        assert_eq!(addresses.len(), 3);
        assert_eq!(addresses[0], on_regtest(expected));
    }
}

/// The address of the same script on regtest.
fn on_regtest(main: &str) -> String {
    let main: bitcoin::Address<_> = main.parse().unwrap();
    let script = main.assume_checked().script_pubkey();
    bitcoin::Address::from_script(&script, bitcoin::Network::Regtest).unwrap().to_string()
}

/// A transaction that anyone may send: it waits, is seen, and confirms.
#[test]
fn a_transaction_goes_through_the_mempool_into_a_block() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(&directory);
    let rpc = node.rpc();

    // A script that is satisfied by nothing but itself: P2WSH of OP_TRUE.
    let script = bitcoin::ScriptBuf::from_bytes(vec![0x51]);
    let to = bitcoin::Address::p2wsh(&script, bitcoin::Network::Regtest);
    node.mine(101, &to.to_string()).unwrap();
    let scan = rpc.scan_tx_out_set(&[format!("addr({to})")], 0).unwrap();
    let coin = scan.unspents.iter().find(|unspent| unspent.height == 1).unwrap();

    let mut transaction = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            previous_output: bitcoin::OutPoint { txid: coin.txid, vout: coin.vout },
            sequence: bitcoin::Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: bitcoin::Witness::from_slice(&[script.as_bytes()]),
            ..Default::default()
        }],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::from_sat(coin.amount.0 - 12_345),
            script_pubkey: to.script_pubkey(),
        }],
    };
    let raw = bitcoin::consensus::serialize(&transaction);
    let txid = transaction.compute_txid();

    let verdict = rpc.test_mempool_accept(&raw).unwrap();
    assert_eq!((verdict.txid, verdict.allowed, verdict.reason), (txid, true, None));
    assert_eq!(rpc.raw_mempool().unwrap(), [], "testing does not send");
    assert_eq!(rpc.send_raw_transaction(&raw).unwrap(), txid);
    assert_eq!(rpc.send_raw_transaction(&raw).unwrap(), txid, "sending again is no error");
    assert_eq!(rpc.raw_mempool().unwrap(), [txid]);
    assert_eq!(rpc.raw_transaction(&txid, None).unwrap(), raw);
    let entry = rpc.mempool_entry(&txid).unwrap();
    assert_eq!(entry.fee.0, 12_345);
    assert_eq!(entry.vsize_vb, transaction.vsize() as u64);
    assert_eq!(entry.spent_by, []);

    // A block that leaves it out, then one that takes it.
    node.mine_only(&to.to_string(), &[]).unwrap();
    assert_eq!(rpc.raw_mempool().unwrap(), [txid]);
    node.mine_only(&to.to_string(), &[txid.to_string()]).unwrap();
    assert_eq!(rpc.raw_mempool().unwrap(), []);

    // More than the coin holds: refused with the node's own words.
    transaction.output[0].value = bitcoin::Amount::from_sat(coin.amount.0 + 1);
    transaction.input[0].previous_output = {
        let coin = scan.unspents.iter().find(|unspent| unspent.height == 2).unwrap();
        bitcoin::OutPoint { txid: coin.txid, vout: coin.vout }
    };
    let raw = bitcoin::consensus::serialize(&transaction);
    let verdict = rpc.test_mempool_accept(&raw).unwrap();
    assert!(!verdict.allowed);
    assert_eq!(verdict.reason.as_deref(), Some("bad-txns-in-belowout"));
    let error = rpc.send_raw_transaction(&raw).unwrap_err();
    assert!(matches!(error, NodeError::Refused { code: -25 | -26, .. }), "{error}");
    assert!(error.to_string().contains("bad-txns-in-belowout"), "{error}");
}

#[test]
fn the_errors_of_a_node_come_through() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(&directory);
    let error = node.rpc().block_hash(1_000).unwrap_err();
    assert!(matches!(error, NodeError::Refused { code: -8, .. }), "{error}");
    let error = node.rpc().call::<Value>("no-such-method", json!([])).unwrap_err();
    assert!(matches!(error, NodeError::Refused { code: -32601, .. }), "{error}");
}

#[test]
fn a_wrong_cookie_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(&directory);
    let forged = directory.path().join("forged");
    fs::write(&forged, "__cookie__:guess").unwrap();
    let client = Client::new(node.rpc().address(), &forged);
    let error = client.block_count().unwrap_err();
    assert!(matches!(error, NodeError::Unauthorised { ref path } if *path == forged), "{error}");
    // The same client is let in as soon as the file holds the right one.
    fs::copy(node.rpc().cookie_file(), &forged).unwrap();
    assert_eq!(client.block_count().unwrap(), 0);

    let absent = Client::new(node.rpc().address(), directory.path().join("absent"));
    assert!(matches!(absent.block_count().unwrap_err(), NodeError::Cookie { .. }));
}

#[test]
fn a_node_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = node(&directory);
    let address = address(node.rpc(), DESCRIPTOR);
    node.mine(3, &address).unwrap();
    let cookie = fs::read(node.rpc().cookie_file()).unwrap();

    node.restart().unwrap();
    assert_ne!(fs::read(node.rpc().cookie_file()).unwrap(), cookie, "a new start, a new cookie");
    assert_eq!(node.rpc().block_count().unwrap(), 3, "the client read the new cookie");

    node.stop();
    let error = node.rpc().block_count().unwrap_err();
    assert!(matches!(error, NodeError::Unreachable { .. } | NodeError::Cookie { .. }), "{error}");
    let client = Client::new(node.rpc().address(), directory.path().join("forged"));
    fs::write(client.cookie_file(), "__cookie__:any").unwrap();
    assert!(matches!(client.block_count().unwrap_err(), NodeError::Unreachable { .. }));
    node.restart().unwrap();
    assert_eq!(node.rpc().block_count().unwrap(), 3);
}

#[test]
fn a_node_ends_when_it_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let node = node(&directory);
    let address = node.rpc().address();
    assert!(TcpListener::bind(address).is_err(), "the node listens");
    drop(node);
    assert!(TcpListener::bind(address).is_ok(), "nobody listens");
}

/// A directory that another node holds: the reason is told, and that node is left alone.
#[test]
fn a_second_node_in_one_directory_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let first = node(&directory);
    let error = Node::start(directory.path()).unwrap_err();
    assert!(matches!(error, RegtestError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("lock"), "{error}");
    assert_eq!(first.rpc().block_count().unwrap(), 0);
}

#[test]
fn the_program_exists() {
    assert!(regtest::program().unwrap().is_file());
}
