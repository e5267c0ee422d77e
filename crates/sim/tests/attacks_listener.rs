//! Attacks on the listener of a real `keyward-signer`: strangers, people who say what only the server
//! says, and input that is malformed, too deep, doubled or in the wrong place. All the while an honest
//! client is served, and at the end the signer signs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use custody::Hash;
use custody::batch::Batch;
use serde_json::json;
use sim::attacker::{Letter, Scene, now_s};
use sim::deployment::name;
use wire::WireError;
use wire::message::{Answer, FromCosigner, ToCosigner};

/// An honest client waits no longer than this, whatever else happens at the listener.
const HONEST_LIMIT: Duration = Duration::from_secs(5);

/// Asks s1 where it is, as alice, over a connection of its own.
fn served(scene: &Scene) -> Answer {
    let began = Instant::now();
    let mut connection = scene.connect("alice", "s1").unwrap();
    let nonce = Hash::sha256(&now_s().to_be_bytes());
    connection.send(&wire::encode(&ToCosigner::Challenge { nonce }).unwrap()).unwrap();
    let FromCosigner::Answer(answer) = wire::decode(&connection.recv().unwrap()).unwrap() else { panic!() };
    assert_eq!((answer.nonce, answer.by.as_str()), (nonce, "s1"));
    assert!(began.elapsed() < HONEST_LIMIT);
    answer
}

/// Sends bytes as a frame to s1 over a fresh connection; says what comes back before it is closed, if it is.
fn reaction(scene: &Scene, as_whom: &str, bytes: &[u8]) -> Result<FromCosigner, WireError> {
    let mut connection = scene.connect(as_whom, "s1").unwrap();
    connection.send(bytes)?;
    loop {
        let message = wire::decode(&connection.recv()?)?;
        // What the server is told anyway when its connection comes up.
        if !matches!(message, FromCosigner::Log(_) | FromCosigner::Peer { .. }) {
            return Ok(message);
        }
    }
}

/// Whether the connection was ended by the other side.
fn is_cut(reaction: &Result<FromCosigner, WireError>) -> bool {
    reaction.is_err()
}

#[test]
fn whatever_comes_in_an_honest_client_is_served() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let before = served(&scene).height;

    strangers(&scene);
    not_a_handshake(&scene);
    for who in ["alice", "server"] {
        malformed(&scene, who);
    }
    only_the_server(&scene);
    bad_letters(&scene);
    bad_orders(&scene);
    unread(&scene);

    assert_eq!(served(&scene).height, before, "nothing of it reached the log");
    let signed = scene.sign(payment.authorisation, ["s1", "s2"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed));
    let said = scene.signers.said("s1");
    assert!(!said.contains("panicked"), "{said}");
}

/// Keys that genesis does not know, and co-signers', who never dial each other.
fn strangers(scene: &Scene) {
    for who in ["mallory", "carol-second", "s2"] {
        assert!(matches!(scene.connect(who, "s1"), Err(WireError::Refused { .. })), "{who}");
    }
    // The TLS key of s2 as its own process has it.
    let stolen = scene.signers.steal("s2");
    let key = wire::TlsKey::from_seed(stolen.tls_seed()).unwrap();
    let pinned = scene.world.state.cosigner(&name("s1")).unwrap().tls.0;
    let dialled = wire::connect(scene.signers.address("s1"), &key, pinned, HONEST_LIMIT);
    assert!(matches!(dialled, Err(WireError::Refused { .. })));
    // And nobody else answers as s1.
    let other = scene.world.state.cosigner(&name("s3")).unwrap().tls.0;
    let wrong = wire::connect(scene.signers.address("s1"), &key, other, HONEST_LIMIT);
    assert!(matches!(wrong, Err(WireError::WrongPeer { .. })));
    served(scene);
}

/// Bytes that are no TLS, and more silent connections than there are places for handshakes.
fn not_a_handshake(scene: &Scene) {
    let address = scene.signers.address("s1");
    for bytes in [&b"GET / HTTP/1.1\r\nHost: signer\r\n\r\n"[..], &[0; 4096], &[0x16, 3, 1, 0xff, 0xff]] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        served(scene);
    }
    let silent: Vec<TcpStream> =
        (0..wire::MAX_HANDSHAKES * 2).map(|_| TcpStream::connect(address).unwrap()).collect();
    served(scene);
    drop(silent);
    // More connections of one key than it may have: the others keep theirs.
    let mut mine = Vec::new();
    let full = (0..=wire::MAX_CONNECTIONS_PER_PEER).find_map(|_| match scene.connect("carol", "s1") {
        Ok(connection) => {
            mine.push(connection);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(full, Some(WireError::PeerFull)), "{full:?}");
    served(scene);
}

/// Frames that are no messages: the connection ends.
fn malformed(scene: &Scene, who: &str) {
    let deep = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
    let challenge = |rest: &str| format!("{{\"challenge\":{{\"nonce\":\"{}\"{rest}}}}}", Hash([3; 32]));
    let sound = challenge("");
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("not JSON", b"challenge".to_vec()),
        ("not UTF-8", vec![0xff, 0xfe, 0x00]),
        ("an open string", b"{\"challenge".to_vec()),
        ("unknown message", b"{\"open-sesame\":{}}".to_vec()),
        ("unknown field", challenge(",\"more\":1").into_bytes()),
        ("a field missing", b"{\"challenge\":{}}".to_vec()),
        ("a key twice", challenge(&format!(",\"nonce\":\"{}\"", Hash([4; 32]))).into_bytes()),
        ("a key twice, escaped", challenge(&format!(",\"n\\u006fnce\":\"{}\"", Hash([4; 32]))).into_bytes()),
        ("two messages in one", format!("{sound}{sound}").into_bytes()),
        ("two keys in one", format!("{},\"log\":{{\"from\":1}}}}", &sound[..sound.len() - 1]).into_bytes()),
        ("too deep", deep(wire::json::MAX_JSON_DEPTH + 1).into_bytes()),
        ("far too deep", deep(500_000).into_bytes()),
        ("deep inside", format!("{{\"submit\":{{\"envelope\":{}}}}}", deep(60)).into_bytes()),
        ("a float", b"{\"log\":{\"from\":1.5}}".to_vec()),
        ("a number too large", b"{\"log\":{\"from\":18446744073709551616}}".to_vec()),
        ("a negative number", b"{\"log\":{\"from\":-1}}".to_vec()),
        ("text for a number", b"{\"log\":{\"from\":\"1\"}}".to_vec()),
        ("bad base64", b"{\"submit\":{\"envelope\":\"*\"}}".to_vec()),
        ("a short hash", b"{\"challenge\":{\"nonce\":\"00\"}}".to_vec()),
        ("upper case", sound.replace("03", "0A").into_bytes()),
        ("a bad name", b"{\"peer\":{\"from\":\"../s2\",\"bytes\":\"\"}}".to_vec()),
        ("as long as a frame may be", vec![b'['; wire::MAX_FRAME_BYTES]),
    ];
    for (what, bytes) in bad {
        assert!(is_cut(&reaction(scene, who, &bytes)), "{who}: {what}");
        served(scene);
    }
    let answer = reaction(scene, who, sound.as_bytes());
    assert!(matches!(answer, Ok(FromCosigner::Answer(_))), "the twin: {answer:?}");
    // Envelopes are read one layer further in: the connection stays, the statement is refused.
    for bytes in [Vec::new(), deep(100_000).into_bytes(), b"{}".to_vec(), vec![b' '; 70_000]] {
        let submit = ToCosigner::Submit { envelope: custody::Blob(bytes) };
        let receipt = reaction(scene, who, &wire::encode(&submit).unwrap()).unwrap();
        let FromCosigner::Receipt { state: wire::message::ReceiptState::Refused { rule, .. }, .. } = receipt
        else {
            panic!("{receipt:?}")
        };
        assert_eq!(rule, "P1.form");
    }
}

/// P19: what people and alarms may not say.
fn only_the_server(scene: &Scene) {
    let holders = ["s1", "s2"].map(name).to_vec();
    let (id, bytes) = (Hash([1; 32]), custody::Blob(vec![1]));
    let orders = [
        ToCosigner::Peer { from: name("s2"), bytes: bytes.clone() },
        ToCosigner::Share { ceremony: id, slot: 0, sealed: bytes },
        ToCosigner::Sign { authorisation: id, holders: holders.clone(), attempt: 1 },
        ToCosigner::Prove { ceremony: id, slot: 0, holders, attempt: 1 },
    ];
    for who in ["alice", "alarm"] {
        for order in &orders {
            let refused = reaction(scene, who, &wire::encode(order).unwrap()).unwrap();
            let FromCosigner::Refused { rule, .. } = refused else { panic!("{refused:?}") };
            assert_eq!(rule, "P19.grant", "{who}: {order:?}");
        }
    }
}

/// Letters of nobody and of nonsense: read, and forgotten.
fn bad_letters(scene: &Scene) {
    let deep = ["[".repeat(1_000), "]".repeat(1_000)].concat().into_bytes();
    let agreement =
        |bytes: &[u8]| serde_json::to_vec(&json!({ "agreement": custody::Blob(bytes.to_vec()) })).unwrap();
    let vote = |by: u64, height: u64| {
        let hash = Hash([7; 32]);
        agreement(
            json!({ "votes": [{
            "by": by, "height": height, "round": 0, "kind": "prevote", "value": hash,
            "signature": custody::Blob(vec![0; 64]),
        }] })
            .to_string()
            .as_bytes(),
        )
    };
    let log = |from: u64, count: usize| {
        let batch = Batch {
            entries: Vec::new(),
            tick: custody::batch::Tick { height: from, state: Hash([0; 32]), time: now_s(), handover: None },
        };
        let batches = vec![custody::Blob(batch.bytes()); count];
        let height = from.saturating_add(count as u64).saturating_sub(1);
        serde_json::to_vec(
            &json!({ "log": { "from": from, "batches": batches, "height": height, "note": "" } }),
        )
        .unwrap()
    };
    let mut letters = vec![
        Vec::new(),
        b"{}".to_vec(),
        deep.clone(),
        agreement(b""),
        agreement(&deep),
        agreement(b"{\"votes\":[]}"),
        vote(0, 1),
        vote(99, u64::MAX),
        vote(3, 1_000_000),
        log(0, 1),
        log(u64::MAX, 3),
        log(1, 200),
        b"{\"behind\":{\"from\":0}}".to_vec(),
        b"{\"behind\":{\"from\":18446744073709551615}}".to_vec(),
        b"{\"cosignature\":{\"height\":18446744073709551615,\"line\":\"\"}}".to_vec(),
    ];
    letters.extend((0..64u64).map(|i| {
        serde_json::to_vec(&json!({ "cosignature": { "height": 30 + i, "line": "x".repeat(10_000) } }))
            .unwrap()
    }));
    for bytes in letters {
        for from in ["s2", "nobody"] {
            scene.server.deliver(&Letter { from: from.into(), to: "s1".into(), bytes: bytes.clone() });
        }
    }
    served(scene);
    assert_eq!(scene.server.linked().len(), 4);
}

/// Orders of the server that make no sense.
fn bad_orders(scene: &Scene) {
    let many: Vec<_> = (0..5_000).map(|i| name(&format!("n{i:05}"))).collect();
    for holders in [Vec::new(), many] {
        let mark = scene.server.mark();
        let id = Hash([6; 32]);
        scene.server.tell("s1", &ToCosigner::Sign { authorisation: id, holders, attempt: u32::MAX });
        let (rule, _) = scene.result(mark, id).unwrap_err();
        assert_eq!(rule, "P1.form");
    }
    let mark = scene.server.mark();
    let sealed = custody::Blob(vec![5; 1_000_000]);
    scene.server.tell("s1", &ToCosigner::Share { ceremony: scene.ceremony, slot: 0, sealed: sealed.clone() });
    scene.server.tell("s1", &ToCosigner::Share { ceremony: scene.ceremony, slot: 1, sealed });
    let refused = scene.server.wait("two refusals", |v| {
        let shares = v.said[mark..].iter().filter_map(|(_, m)| match m {
            FromCosigner::Refused { what, rule, .. } if what == "share" => Some(rule.clone()),
            _ => None,
        });
        let rules: Vec<String> = shares.collect();
        (rules.len() == 2).then_some(rules)
    });
    assert_eq!(refused, ["GEN-03.ceremony", "GEN-03.ceremony"]);
}

/// A person who asks for the whole log again and again and reads none of it.
fn unread(scene: &Scene) {
    let before = scene.signers.memory_kib("s1");
    let ask = wire::encode(&ToCosigner::Log { from: 1 }).unwrap();
    let mut open = Vec::new();
    for _ in 0..wire::MAX_CONNECTIONS_PER_PEER {
        let (reader, mut writer) = scene.connect("bob", "s1").unwrap().split();
        for _ in 0..4_000 {
            if writer.send(&ask).is_err() {
                break;
            }
        }
        open.push((reader, writer));
    }
    std::thread::sleep(Duration::from_secs(1));
    let grown = scene.signers.memory_kib("s1").saturating_sub(before);
    assert!(grown < 40 * 1024, "s1 grew by {grown} KiB");
    served(scene);
}
