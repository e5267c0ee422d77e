//! The server among hostile others: clients that are enrolled and send what they should not, and a signer
//! that answers with transactions of its own. An honest client is served, and payments go on.

#[allow(dead_code, reason = "the other tests of the server use the rest")]
#[path = "../office/house.rs"]
mod house;
#[allow(dead_code, reason = "the other tests of the server use the rest")]
#[path = "../office/node.rs"]
mod node;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use chain::finish::{attach, verify_spend};
use custody::effects::{Branch, Decoder as _};
use custody::statement::{Body, Freeze, Revoke, Scope, Statement};
use custody::{Blob, Hash};
use fixtures::{Account, World, name};
use house::{House, ask_for, genesis, tls, wait};
use wire::message::{FromCosigner, FromServer, ToCosigner, ToServer};
use wire::{Connection, WireError};

/// An honest client waits no longer than this, whatever else happens at the listener.
const HONEST_LIMIT: Duration = Duration::from_secs(5);

fn connect(house: &House, who: &str) -> Result<Connection, WireError> {
    wire::connect(house.address(), &tls(who), tls("server").public(), HONEST_LIMIT)
}

fn say(connection: &mut Connection, bytes: &[u8]) -> FromServer {
    connection.send(bytes).unwrap();
    wire::decode(&connection.recv().unwrap()).unwrap()
}

/// Asks for the status, over a connection of its own.
fn served(house: &House) {
    let began = Instant::now();
    let mut connection = connect(house, "alice").unwrap();
    let answer = say(&mut connection, &wire::encode(&ToServer::Status).unwrap());
    assert!(matches!(answer, FromServer::Status(_)), "{answer:?}");
    assert!(began.elapsed() < HONEST_LIMIT);
}

fn memory_kib(house: &House) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn whatever_comes_in_an_honest_client_is_served() {
    let house = House::start(World::open(genesis()));
    strangers(&house);
    malformed(&house);
    too_many(&house);
    unread(&house);
    // The twin: what is to be sent is taken, and comes into the log.
    let freeze = house.sign("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
    house.client("alice").submit(&freeze);
    wait("the freeze", || (house.state().freezes().len() == 1).then_some(()));
}

/// A key that nobody enrolled, a co-signer's own key, bytes that are no TLS, and more silent connections than there are places for
/// handshakes.
fn strangers(house: &House) {
    for who in ["mallory", "s1"] {
        assert!(matches!(connect(house, who), Err(WireError::Refused { .. })), "{who}");
    }
    for bytes in [&b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"[..], &[0; 4096], &[0x16, 3, 1, 0xff, 0xff]] {
        let mut stream = TcpStream::connect(house.address()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        served(house);
    }
    let silent: Vec<TcpStream> =
        (0..wire::MAX_HANDSHAKES * 2).map(|_| TcpStream::connect(house.address()).unwrap()).collect();
    served(house);
    drop(silent);
}

/// Frames that are no messages are named so; the connection goes on, and says the same of the next.
fn malformed(house: &House) {
    let deep = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
    let wait = "{\"wait\":{\"from\":1,\"timeout_ms\":1}}";
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("not JSON", b"status".to_vec()),
        ("not UTF-8", vec![0xff, 0xfe, 0x00]),
        ("an open string", b"\"status".to_vec()),
        ("unknown message", b"{\"open-sesame\":{}}".to_vec()),
        ("what is for co-signers", b"{\"challenge\":{\"nonce\":\"00\"}}".to_vec()),
        ("unknown field", wait.replacen("{\"from\"", "{\"more\":1,\"from\"", 1).into_bytes()),
        ("a field missing", b"{\"wait\":{\"from\":1}}".to_vec()),
        ("a key twice", wait.replacen("{\"from\"", "{\"from\":2,\"from\"", 1).into_bytes()),
        ("a key twice, escaped", wait.replacen("{\"from\"", "{\"fr\\u006fm\":2,\"from\"", 1).into_bytes()),
        ("two messages in one", format!("{wait}{wait}").into_bytes()),
        ("two keys in one", format!("{},\"log\":{{\"from\":1}}}}", &wait[..wait.len() - 1]).into_bytes()),
        ("too deep", deep(wire::json::MAX_JSON_DEPTH + 1).into_bytes()),
        ("far too deep", deep(500_000).into_bytes()),
        ("a float", b"{\"log\":{\"from\":1.5}}".to_vec()),
        ("a number too large", b"{\"log\":{\"from\":18446744073709551616}}".to_vec()),
        ("a negative number", b"{\"log\":{\"from\":-1}}".to_vec()),
        ("bad base64", b"{\"submit\":{\"envelope\":\"*\",\"labels\":[]}}".to_vec()),
        ("a bad name", b"{\"shares\":{\"ceremony\":\"00\",\"shares\":[[\"../s2\",0,\"\"]]}}".to_vec()),
        ("as long as a frame may be", vec![b'['; wire::MAX_FRAME_BYTES]),
    ];
    let mut connection = connect(house, "bob").unwrap();
    for (what, bytes) in bad {
        let answer = say(&mut connection, &bytes);
        assert!(
            matches!(&answer, FromServer::Error { code, .. } if code == "malformed"),
            "{what}: {answer:?}"
        );
        served(house);
    }
    assert!(matches!(say(&mut connection, wait.as_bytes()), FromServer::Log(_)), "the twin");
    for envelope in [Vec::new(), deep(100_000).into_bytes(), b"{}".to_vec(), vec![b' '; 70_000]] {
        let submit = ToServer::Submit { envelope: Blob(envelope), labels: Vec::new() };
        let answer = say(&mut connection, &wire::encode(&submit).unwrap());
        assert!(matches!(&answer, FromServer::Error { code, .. } if code == "P1.form"), "{answer:?}");
    }
    let elsewhere = house.sign("bob", Body::Freeze(Freeze { scope: Scope::Everything }));
    let elsewhere = Statement { genesis: Hash([7; 32]), ..elsewhere.unverified().unwrap() };
    let elsewhere = elsewhere.sign(&fixtures::key("bob")).unwrap();
    let submit = ToServer::Submit { envelope: Blob(elsewhere.bytes()), labels: Vec::new() };
    let answer = say(&mut connection, &wire::encode(&submit).unwrap());
    assert!(matches!(&answer, FromServer::Error { code, .. } if code == "P1.deployment"), "{answer:?}");
    let many = ToServer::Labels { commitments: vec![Hash([1; 32]); 20_000] };
    let answer = say(&mut connection, &wire::encode(&many).unwrap());
    assert!(matches!(&answer, FromServer::Error { code, .. } if code == "too-many"), "{answer:?}");
}

/// More connections of one key than it may have, and questions that wait on each of them: the others keep
/// their places.
fn too_many(house: &House) {
    let mut mine = Vec::new();
    let full = (0..=wire::MAX_CONNECTIONS_PER_PEER).find_map(|_| match connect(house, "carol") {
        Ok(connection) => {
            mine.push(connection);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(full, Some(WireError::PeerFull)), "{full:?}");
    let forever = ToServer::Wait { from: u64::MAX, timeout_ms: u64::MAX };
    for connection in &mut mine {
        connection.send(&wire::encode(&forever).unwrap()).unwrap();
    }
    served(house);
}

/// A client that asks for the whole log again and again and reads none of it.
fn unread(house: &House) {
    let before = memory_kib(house);
    let ask = wire::encode(&ToServer::Log { from: 1 }).unwrap();
    let mut open = Vec::new();
    for _ in 0..wire::MAX_CONNECTIONS_PER_PEER {
        let (reader, mut writer) = connect(house, "dave").unwrap().split();
        for _ in 0..4_000 {
            if writer.send(&ask).is_err() {
                break;
            }
        }
        open.push((reader, writer));
    }
    std::thread::sleep(Duration::from_secs(1));
    let grown = memory_kib(house).saturating_sub(before);
    assert!(grown < 40 * 1024, "the server grew by {grown} KiB");
    served(house);
}

/// Statements that nobody signed do not take the places of those that somebody did.
#[test]
fn statements_of_nobody_take_no_place() {
    let house = House::start(World::open(genesis()));
    house.brain.lock().unwrap().deaf = true;
    let mut connection = connect(&house, "bob").unwrap();
    let words = house.sign("alice", Body::Freeze(Freeze { scope: Scope::Everything })).unverified().unwrap();
    for n in 0..20u64 {
        let forged = Statement { nonce: Hash::sha256(&n.to_be_bytes()), ..words.clone() };
        let forged = forged.sign(&fixtures::key("mallory")).unwrap();
        let submit = ToServer::Submit { envelope: Blob(forged.bytes()), labels: Vec::new() };
        let answer = say(&mut connection, &wire::encode(&submit).unwrap());
        assert!(matches!(&answer, FromServer::Error { code, .. } if code == "P1.signature"), "{answer:?}");
    }
    let mut alice = house.client("alice");
    assert_eq!(alice.status().pending, 0);
    let freeze = house.sign("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
    alice.submit(&freeze);
    assert_eq!(alice.status().pending, 1, "the twin");
}

/// Whoever revoked a key is served no more over a connection that it had before.
#[test]
fn a_revoked_key_is_served_no_more() {
    let house = House::start(World::open(genesis()));
    let mut thief = connect(&house, "dave").unwrap();
    assert!(matches!(say(&mut thief, &wire::encode(&ToServer::Status).unwrap()), FromServer::Status(_)));
    let revoke = house.sign("dave", Body::Revoke(Revoke { key: fixtures::id("dave") }));
    let height = house.state().clock().height;
    house.client("dave").submit(&revoke);
    let mut alice = house.client("alice");
    wait("the revocation", || (alice.status().height > height).then_some(()));
    thief.send(&wire::encode(&ToServer::Status).unwrap()).unwrap();
    assert!(thief.recv().is_err());
    assert!(connect(&house, "dave").is_err());
}

/// What a signer says that leads every set that it is in, and signs nothing.
type Answer = fn(&House, Hash) -> FromCosigner;

fn signed(house: &House, authorisation: Hash, signature: [u8; 64]) -> FromCosigner {
    let raw = house.state().authorisations().get(&authorisation).unwrap().transaction.raw.0.clone();
    let inputs = house.state().authorisations().get(&authorisation).unwrap().transaction.inputs.len();
    let transaction = Blob(attach(&raw, &vec![signature; inputs]).unwrap());
    FromCosigner::Signed { authorisation, transaction }
}

const LIES: &[(&str, Answer)] = &[
    ("no signature", |house, id| {
        let raw = house.state().authorisations().get(&id).unwrap().transaction.raw.clone();
        FromCosigner::Signed { authorisation: id, transaction: raw }
    }),
    ("zeros", |house, id| signed(house, id, [0; 64])),
    ("a signature over other bytes", |house, id| {
        signed(house, id, Account::new(0).sign_child(Branch::Receive, 0, &[7; 32]))
    }),
    ("a signature of another key", |house, id| signed(house, id, Account::new(1).sign(&[7; 32]))),
    ("another transaction", |_, id| {
        let decoy = bitcoin::constants::genesis_block(bitcoin::Network::Regtest).txdata.remove(0);
        let transaction = Blob(bitcoin::consensus::serialize(&decoy));
        FromCosigner::Signed { authorisation: id, transaction }
    }),
    ("no transaction", |_, id| FromCosigner::Signed {
        authorisation: id,
        transaction: Blob(vec![0xff; 500]),
    }),
    ("the others signed wrongly", |_, id| FromCosigner::Refused {
        what: "sign".into(),
        id,
        rule: "P1.form".into(),
        why: "wrong signature share".into(),
        culprits: vec![name("s2"), name("s3")],
    }),
];

fn orders_to(house: &House, who: &str) -> Vec<Hash> {
    let brain = house.brain.lock().unwrap();
    let order = |(to, message): &(String, ToCosigner)| match message {
        ToCosigner::Sign { authorisation, .. } if to == who => Some(*authorisation),
        _ => None,
    };
    brain.heard.iter().filter_map(order).collect()
}

/// P27: the signer that adds the shares up is hostile. Nothing of what it makes up reaches the node or takes
/// the place of the signature that the others make; s1 is named, whoever it blames.
#[test]
fn a_hostile_signer_that_leads_stops_no_payment() {
    for (what, lie) in LIES {
        let house = House::start(World::open(genesis()));
        let decoder = house.brain.lock().unwrap().world.decoder.clone();
        let own = |branch, index| decoder.own_script(&Account::new(0).key(), branch, index).unwrap();
        house.node.pay(own(Branch::Receive, 0), 1_000_000, 6);
        house.brain.lock().unwrap().silent.insert("s1".into());
        let mut alice = house.client("alice");
        let request = ask_for(&house, &mut alice, 100_000);
        // s1 is in the first set that is asked, and has an answer to that and to every further order.
        let mut answered = 0;
        let payment = wait(what, || {
            let orders = orders_to(&house, "s1");
            for asked in &orders[answered..] {
                let words = lie(&house, *asked);
                house.brain.lock().unwrap().say("s1", &words);
            }
            answered = orders.len();
            let payments = alice.status().payments;
            payments.into_iter().find(|p| answered > 0 && p.state == "broadcast")
        });
        let authorisation = payment.authorisation.unwrap();
        let found = house.state().authorisations().get(&authorisation).unwrap().clone();
        assert_eq!(found.requests, [request], "{what}");
        let waiting = house.node.mempool();
        assert_eq!(waiting.len(), 1, "{what}");
        let signature = |input: &bitcoin::TxIn| <[u8; 64]>::try_from(&input.witness[0]).unwrap();
        let signatures: Vec<[u8; 64]> = waiting[0].input.iter().map(signature).collect();
        let inputs = &found.transaction.inputs;
        let spent: Vec<_> = inputs.iter().map(|i| (own(i.branch, i.index), i.amount)).collect();
        assert_eq!(verify_spend(&found.transaction.raw.0, &spent, &signatures), Ok(()), "{what}");
        let alarms = alice.status().alarms;
        assert!(alarms.iter().all(|alarm| alarm.starts_with("s1 s")) && !alarms.is_empty(), "{alarms:?}");
    }
}
