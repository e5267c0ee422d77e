//! The server as a process: post office, payments, and what is left of it after a kill.

mod house;
mod node;

use std::time::Duration;

use bitcoin::Transaction;
use bitcoin::hashes::Hash as _;
use custody::anchors::{OtherAnchor, OtherAnchors};
use custody::document::Document;
use custody::effects::{Branch, Decoder as _, Inclusion, OutPoint, Sats};
use custody::name::Label;
use custody::payment::Request;
use custody::statement::{Body, Freeze, Propose, Scope};
use custody::{Blob, Hash};
use fixtures::{Account, Coin, World, label, name};
use house::{House, approve, ask_for, everybody, genesis, piece, tls, wait};
use server::node::proofs::SEARCH_LIMIT;
use wire::message::{FromCosigner, FromServer, ReceiptState, ToCosigner, ToServer};

fn freeze() -> Body {
    Body::Freeze(Freeze { scope: Scope::Everything })
}

/// A world whose wallet has a coin that can be an anchor.
fn funded(sat: u64) -> House {
    let house = House::start(World::open(genesis()));
    deposit(&house, sat);
    house
}

fn deposit(house: &House, sat: u64) -> Coin {
    deposit_at(house, sat, 6)
}

/// A coin with so many confirmations.
fn deposit_at(house: &House, sat: u64, depth: u32) -> Coin {
    let decoder = house.brain.lock().unwrap().world.decoder.clone();
    let script = decoder.own_script(&Account::new(0).key(), Branch::Receive, 0).unwrap();
    let paid = house.node.pay(script, sat, depth);
    let outpoint = OutPoint { txid: Hash(paid.txid.to_byte_array()), vout: paid.vout };
    Coin { outpoint, amount: Sats(sat), branch: Branch::Receive, index: 0 }
}

fn pays(house: &House, tx: &Transaction, amount: u64) -> bool {
    let decoder = house.brain.lock().unwrap().world.decoder.clone();
    let script = decoder.address_script(&fixtures::regtest::address("acme")).unwrap();
    tx.output.iter().any(|o| o.value.to_sat() == amount && o.script_pubkey.as_bytes() == script)
}

#[test]
fn mail_between_cosigners_goes_where_it_is_to_go() {
    let house = House::start(World::new(genesis()));
    let brain = house.brain.lock().unwrap();
    brain.say("s1", &FromCosigner::Peer { to: None, bytes: Blob(vec![1]) });
    brain.say("s2", &FromCosigner::Peer { to: Some(name("w1")), bytes: Blob(vec![2]) });
    drop(brain);
    let got = |who: &str, from: &str, byte: u8| {
        let message = ToCosigner::Peer { from: name(from), bytes: Blob(vec![byte]) };
        house.brain.lock().unwrap().heard.contains(&(who.to_owned(), message))
    };
    wait("the mail", || ["s2", "s3", "w1"].iter().all(|who| got(who, "s1", 1)).then_some(()));
    wait("the letter", || got("w1", "s2", 2).then_some(()));
    assert!(!got("s1", "s1", 1) && !got("s3", "s2", 2) && !got("s1", "s2", 2));
}

#[test]
fn a_client_submits_waits_and_reads_the_log_and_strangers_get_nothing() {
    let house = House::start(World::open(genesis()));
    let mut alice = house.client("alice");
    let height = house.state().clock().height;
    let statement = house.sign("alice", freeze());
    let receipts = alice.submit(&statement);
    let names: Vec<_> = receipts.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, everybody());
    assert!(receipts.iter().any(|(_, state)| *state == ReceiptState::Pending));
    let FromServer::Log(log) = alice.ask(&ToServer::Wait { from: height + 1, timeout_ms: 10_000 }) else {
        panic!("no log")
    };
    assert_eq!((log.from, log.height, log.batches.len()), (height + 1, height + 1, 1));
    let FromServer::Log(none) = alice.ask(&ToServer::Wait { from: height + 2, timeout_ms: 10 }) else {
        panic!("no log")
    };
    assert!(none.batches.is_empty());
    let again = alice.submit(&statement);
    assert!(again.iter().all(|(_, state)| *state == ReceiptState::Consumed), "{again:?}");
    let junk = alice.ask(&ToServer::Submit { envelope: Blob(vec![0]), labels: vec![] });
    assert!(matches!(junk, FromServer::Error { code, .. } if code == "P1.form"));
    let stranger =
        wire::connect(house.address(), &tls("mallory"), tls("server").public(), Duration::from_secs(5));
    assert!(stranger.is_err());
}

#[test]
fn labels_are_kept_for_what_is_committed_to_and_outlive_a_kill() {
    let mut house = House::start(World::open(genesis()));
    let document = fixtures::destination("nile");
    let statement = house.sign("dave", Body::Propose(Propose { document, replaces: None }));
    let stray = Label { salt: Hash([1; 32]), text: "not committed to".into() };
    let labels = vec![label("nile"), stray.clone()];
    house.client("dave").ask(&ToServer::Submit { envelope: Blob(statement.bytes()), labels });
    let ask = ToServer::Labels { commitments: vec![label("nile").commitment(), stray.commitment()] };
    let expected = FromServer::Labels { labels: vec![label("nile")] };
    assert_eq!(house.client("bob").ask(&ask), expected);
    house.kill();
    house.run();
    assert_eq!(house.client("bob").ask(&ask), expected);
}

#[test]
fn what_waits_survives_a_kill_and_is_said_again_until_the_log_has_it() {
    let mut house = House::start(World::open(genesis()));
    house.brain.lock().unwrap().deaf = true;
    let statement = house.sign("alice", freeze());
    let mut alice = house.client("alice");
    assert!(alice.submit(&statement).is_empty());
    assert_eq!(alice.status().pending, 1);
    house.kill();
    house.brain.lock().unwrap().deaf = false;
    house.run();
    wait("the freeze", || (house.state().freezes().len() == 1).then_some(()));
    let mut alice = house.client("alice");
    wait("nothing waiting", || (alice.status().pending == 0).then_some(()));
}

#[test]
fn a_forged_or_forked_log_is_reported_and_never_adopted() {
    let house = House::start(World::open(genesis()));
    let mut alice = house.client("alice");
    let height = house.state().clock().height;
    wait("the log", || (alice.status().height == height).then_some(()));
    let mut other = World::new(house.state().genesis().clone());
    other.tick(60);
    let mut brain = house.brain.lock().unwrap();
    brain.say("s3", &FromCosigner::Log(piece(&other, 1)));
    brain.world.tick(1);
    let mut bad = piece(&brain.world, height + 1);
    bad.note = bad.note.lines().take(5).map(|line| format!("{line}\n")).collect();
    brain.say("s2", &FromCosigner::Log(bad));
    drop(brain);
    let alarms = wait("two alarms", || Some(alice.status().alarms).filter(|alarms| alarms.len() == 2));
    assert!(alarms.iter().any(|a| a.contains("s3") && a.contains("FORK")), "{alarms:?}");
    assert!(alarms.iter().any(|a| a.contains("s2") && a.contains("no final head")), "{alarms:?}");
    assert_eq!(alice.status().height, height);
}

#[test]
fn a_payment_is_built_signed_broadcast_bumped_and_confirmed_across_kills() {
    let mut house = funded(1_000_000);
    let mut alice = house.client("alice");
    wait("the balance", || (alice.status().balances == [(name("main"), "1000000".to_owned())]).then_some(()));
    let request = ask_for(&house, &mut alice, 100_000);
    let first = alice.payment("broadcast");
    assert_eq!(first.requests, [request]);
    let waiting = house.node.mempool();
    assert!(waiting.len() == 1 && pays(&house, &waiting[0], 100_000));
    assert_eq!(waiting[0].compute_txid().to_string(), first.txid);

    let bump = ToServer::Bump { request, fee_rate_sat_vb: 20 };
    let FromServer::Bumped { authorisation, txid, fee } = alice.ask(&bump) else { panic!("not bumped") };
    assert!(fee.0 > 2_000, "{fee}");
    wait("the replacement", || {
        let waiting = house.node.mempool();
        (waiting.len() == 1 && waiting[0].compute_txid().to_string() == txid).then_some(())
    });
    assert_eq!(alice.payment("replaced").txid, first.txid);
    assert_eq!(alice.payment("broadcast").authorisation, Some(authorisation));

    house.kill();
    house.node.forget();
    house.run();
    wait("it sent again", || (house.node.mempool().len() == 1).then_some(()));
    house.kill();
    house.node.mine();
    house.run();
    let mut alice = house.client("alice");
    let confirmed = alice.payment("confirmed");
    assert_eq!((confirmed.txid.as_str(), confirmed.confirmations), (txid.as_str(), 1));
    let tip = house.node.tip();
    house.node.reorganise();
    assert_ne!(tip, house.node.tip());
    assert_eq!(alice.payment("broadcast").txid, txid, "the block was replaced");
    house.node.mine();
    assert_eq!(alice.payment("confirmed").txid, txid);
}

/// With a million addresses a node takes minutes for a scan. What is authorised meanwhile is signed, broadcast and
/// watched, and what was known before can be paid from.
#[test]
fn payments_do_not_wait_for_a_scan() {
    let house = funded(1_000_000);
    let mut alice = house.client("alice");
    let all = [(name("main"), "1000000".to_owned())];
    wait("the balance", || (alice.status().balances == all).then_some(()));
    house.node.hold_scans(true);
    house.node.mine();
    wait("a scan", || house.node.scan_waits().then_some(()));
    let request = ask_for(&house, &mut alice, 100_000);
    let paid = alice.payment("broadcast");
    house.node.mine();
    assert_eq!(alice.payment("confirmed").txid, paid.txid);

    // What it spent is known to be spent, and the rest is as of the last scan.
    let FromServer::Error { why, .. } = alice.ask(&ToServer::Bump { request, fee_rate_sat_vb: 9 }) else {
        panic!("bumped what is confirmed")
    };
    assert!(why.contains("the anchors of the request were spent"), "{why}");
    assert!(house.node.scan_waits());
    let status = alice.status();
    assert_eq!(status.balances, all);
    assert!(status.balances_at.unwrap() < status.chain_tip.unwrap(), "the scan was before both blocks");
    house.node.hold_scans(false);
    wait("what is left", || {
        let status = alice.status();
        let left: u64 = status.balances[0].1.parse().unwrap();
        (left < 900_000 && left > 890_000 && status.balances_at == status.chain_tip).then_some(())
    });
}

/// The coins of before may be in a block that was replaced: nothing is paid from them until a scan says which are left.
#[test]
fn coins_of_a_block_that_was_replaced_are_not_known() {
    let house = House::start(World::open(genesis()));
    // In the best block, so that a balance is one of that block.
    deposit_at(&house, 1_000_000, 1);
    let mut alice = house.client("alice");
    let all = [(name("main"), "1000000".to_owned())];
    wait("the balance", || (alice.status().balances == all).then_some(()));
    let ask = ToServer::Bump { request: Hash([1; 32]), fee_rate_sat_vb: 9 };
    let mut why = || match alice.ask(&ask) {
        FromServer::Error { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert!(why().contains("there is no such request"));
    house.node.hold_scans(true);
    house.node.reorganise();
    wait("a scan", || house.node.scan_waits().then_some(()));
    wait("another answer", || why().contains("the coins are not known yet").then_some(()));
    house.node.hold_scans(false);
    wait("the coins", || why().contains("there is no such request").then_some(()));
}

#[test]
fn requests_say_what_they_wait_for_and_are_paid_when_that_comes() {
    let house = House::start(World::open(genesis()));
    let mut alice = house.client("alice");
    let request = house.brain.lock().unwrap().world.request(&[("acme", 100_000)]);
    let request = house.sign("carol", Body::Request(request));
    alice.submit(&request);
    let waiting = alice.payment("requested");
    assert!(waiting.problem.unwrap().contains("policy.approvals"));
    approve(&house, &mut alice, request.id());
    wait("the next reason", || alice.payment("requested").problem?.contains("needs at least").then_some(()));
    deposit(&house, 500_000);
    assert_eq!(alice.payment("broadcast").requests, [request.id()]);
}

/// What people need to show a quorum that a transaction can never confirm (P22).
#[test]
fn confirmations_are_found_and_proven() {
    let house = funded(1_000_000);
    let mut alice = house.client("alice");
    ask_for(&house, &mut alice, 100_000);
    alice.payment("broadcast");
    let payment = house.node.mempool().remove(0);
    let from = payment.input[0].previous_output;
    let coin = OutPoint { txid: Hash(from.txid.to_byte_array()), vout: from.vout };
    let paid = Hash(payment.compute_txid().to_byte_array());
    let decoder = house.brain.lock().unwrap().world.decoder.clone();
    let pinned = house.state().header();
    let mut find = |transactions: Vec<Hash>, spent: Vec<OutPoint>| match alice
        .ask(&ToServer::Confirmations { transactions, spent })
    {
        FromServer::Confirmations { proofs, headers } => {
            let shown = |p: &Inclusion| decoder.confirmed(&p.under(&headers), &pinned).unwrap();
            let shown = proofs.iter().map(shown).map(|c| (c.effects.txid, c.depth));
            Ok((shown.collect::<Vec<_>>(), headers.0.len() / 80))
        }
        FromServer::Error { code, why } => Err(format!("{code}: {why}")),
        other => panic!("{other:?}"),
    };
    // The coin came in the first block above the pinned one; headers end where it is deep enough.
    assert_eq!(find(vec![coin.txid], vec![]), Ok((vec![(coin.txid, 6)], 6)));
    assert_eq!(find(vec![coin.txid], vec![coin]), Ok((vec![(coin.txid, 6)], 6)), "nobody spent it");
    let why = find(vec![paid, coin.txid], vec![]).unwrap_err();
    assert!(
        why.contains(&payment.compute_txid().to_string()) && why.contains("no block from 1 to 6"),
        "{why}"
    );
    house.node.mine();
    let both = |depth| vec![(coin.txid, depth + 6), (paid, depth)];
    assert_eq!(find(vec![coin.txid], vec![coin]), Ok((both(1), 7)));
    (0..8).for_each(|_| house.node.mine());
    assert_eq!(find(vec![coin.txid], vec![coin]), Ok((both(6), 12)), "no more than rules ask for");
    assert_eq!(find(vec![paid], vec![coin]), Ok((vec![(paid, 6)], 12)), "once");
    assert_eq!(find(vec![], vec![]), Ok((vec![], 0)));
    let mut many = |n| find(vec![coin.txid; n], vec![]);
    assert!(many(1_024).is_ok());
    assert!(many(1_025).unwrap_err().starts_with("too-many"));
}

/// The headers of more blocks fit no statement, so they are not searched.
#[test]
fn a_search_for_confirmations_on_both_sides_of_its_limit() {
    let house = House::start(World::open(genesis()));
    let mut alice = house.client("alice");
    (1..SEARCH_LIMIT).for_each(|_| house.node.mine());
    let (last, beyond) = (deposit(&house, 1_000), deposit(&house, 2_000));
    let ask = |coin: Coin| ToServer::Confirmations { transactions: vec![coin.outpoint.txid], spent: vec![] };
    let FromServer::Confirmations { proofs, headers } = alice.ask(&ask(last)) else { panic!("not found") };
    let decoder = house.brain.lock().unwrap().world.decoder.clone();
    let shown = decoder.confirmed(&proofs[0].under(&headers), &house.state().header()).unwrap();
    assert_eq!((shown.height, shown.depth), (SEARCH_LIMIT, 1));
    let FromServer::Error { why, .. } = alice.ask(&ask(beyond)) else { panic!("found") };
    assert!(why.contains(&format!("no block from 1 to {SEARCH_LIMIT} ")), "{why}");
}

/// From the proofs that the server gives comes a document, and from that a payment (P22).
#[test]
fn a_request_with_other_anchors_is_bumped_from_them() {
    let house = House::start(World::open(genesis()));
    let coin = deposit(&house, 1_000_000);
    let mut alice = house.client("alice");
    let request = ask_for(&house, &mut alice, 100_000);
    alice.payment("broadcast");
    let fresh = deposit(&house, 500_000);
    let sweep = house.brain.lock().unwrap().world.draft(&[], &[coin], 5_000).raw();
    house.node.confirm(&sweep, 6);
    let bump = ToServer::Bump { request, fee_rate_sat_vb: 9 };
    // What the sweep left, and the other coin.
    wait("the sweep", || (alice.status().balances == [(name("main"), "1495000".to_owned())]).then_some(()));
    let FromServer::Error { why, .. } = alice.ask(&bump) else { panic!("bumped from what was spent") };
    assert!(why.contains("the anchors of the request were spent"), "{why}");

    let ask = ToServer::Confirmations { transactions: vec![fresh.outpoint.txid], spent: vec![coin.outpoint] };
    let FromServer::Confirmations { proofs, headers } = alice.ask(&ask) else { panic!("not found") };
    let [of_fresh, conflict] = proofs.try_into().unwrap();
    let document = Document::Anchors(OtherAnchors {
        lineage: request,
        anchors: vec![OtherAnchor { output: fresh.typed(), proof: of_fresh }],
        conflicts: vec![conflict],
        ancestors: Vec::new(),
        headers,
    });
    let proposal = house.sign("carol", Body::Propose(Propose { document, replaces: None }));
    alice.submit(&proposal);
    approve(&house, &mut alice, proposal.id());
    let bound = || house.state().lineages().get(&request).unwrap().anchors.clone();
    wait("the other anchor", || (bound() == [fresh.outpoint]).then_some(()));
    wait("a transaction from it", || match alice.ask(&bump) {
        FromServer::Bumped { txid, .. } => Some(txid),
        _ => None,
    });
    let paid = wait("the payment", || house.node.mempool().into_iter().next());
    assert!(pays(&house, &paid, 100_000));
    assert_eq!(Hash(paid.input[0].previous_output.txid.to_byte_array()), fresh.outpoint.txid);
}

#[test]
fn a_cancel_takes_the_place_of_a_payment() {
    let house = funded(1_000_000);
    let mut alice = house.client("alice");
    let request = ask_for(&house, &mut alice, 100_000);
    alice.payment("broadcast");
    let cancel = house.brain.lock().unwrap().world.request(&[]);
    let cancel = Request { renews: Some(request), outputs: Vec::new(), ..cancel };
    let cancel = house.sign("carol", Body::Request(cancel));
    alice.submit(&cancel);
    approve(&house, &mut alice, cancel.id());
    wait("the cancel", || {
        let waiting = house.node.mempool();
        (waiting.len() == 1 && !pays(&house, &waiting[0], 100_000)).then_some(())
    });
    assert_eq!(alice.payment("broadcast").requests, [cancel.id()]);
}

#[test]
fn other_sets_of_holders_are_asked_when_one_is_silent() {
    let house = funded(1_000_000);
    house.brain.lock().unwrap().silent.insert("s1".into());
    let mut alice = house.client("alice");
    ask_for(&house, &mut alice, 100_000);
    alice.payment("broadcast");
    let brain = house.brain.lock().unwrap();
    let asked = |who: &str| {
        let sign = |(name, m): &&(String, ToCosigner)| name == who && matches!(m, ToCosigner::Sign { .. });
        brain.heard.iter().filter(sign).count()
    };
    assert_eq!((asked("s1"), asked("s2"), asked("s3"), asked("w1")), (2, 2, 2, 0));
}

#[test]
fn shares_are_passed_on_and_every_set_proves_itself() {
    let mut world = World::new(genesis());
    let record = world.ceremony(0..2);
    let ceremony = record.id(&world.state.genesis_hash());
    world.adopt(Document::Ceremony(record));
    let mut house = House::start(world);
    let mut alice = house.client("alice");
    let share = |who: &str, slot: u32| (name(who), slot, Blob(vec![1, 2, 3]));
    let hand = |shares: Vec<_>| ToServer::Shares { ceremony, shares };
    let answer = alice.ask(&hand(vec![share("s1", 0), share("s2", 0), share("x", 0)]));
    let FromServer::Shares { kept } = answer else { panic!("{answer:?}") };
    assert_eq!(kept[..2], [(name("s1"), 0, None), (name("s2"), 0, None)]);
    assert!(kept[2].2.is_some());
    wait("one set", || (house.state().slots().get(&(ceremony, 0))?.proved.len() == 1).then_some(()));
    // What holders have is known after a kill.
    house.kill();
    house.run();
    alice = house.client("alice");
    alice.ask(&hand(vec![share("s3", 0), share("s1", 1), share("s2", 1), share("s3", 1)]));
    wait("all sets", || {
        let state = house.state();
        (0..2).all(|slot| state.slots().get(&(ceremony, slot)).unwrap().proved.len() == 3).then_some(())
    });
}

#[test]
fn an_idle_server_uses_no_processor_time_and_asks_no_node() {
    let house = House::start(World::new(genesis()));
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", house.pid())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().flat_map(str::parse).collect();
        // Fields 14 and 15 of proc(5), user and system time, counted among the numbers behind the name.
        fields[10] + fields[11]
    };
    std::thread::sleep(Duration::from_millis(500));
    let before = ticks();
    std::thread::sleep(Duration::from_secs(3));
    assert!(ticks() - before <= 1, "{} ticks of a hundredth of a second", ticks() - before);
    assert_eq!(house.node.calls(), 0);
}

#[test]
fn a_gap_in_the_log_is_asked_for() {
    let house = House::start(World::open(genesis()));
    let mut alice = house.client("alice");
    let height = house.state().clock().height;
    wait("the log", || (alice.status().height == height).then_some(()));
    let mut brain = house.brain.lock().unwrap();
    brain.world.tick(0);
    brain.world.tick(0);
    brain.say("s1", &FromCosigner::Log(piece(&brain.world, height + 2)));
    drop(brain);
    wait("both batches", || (alice.status().height == height + 2).then_some(()));
    let asked = ("s1".to_owned(), ToCosigner::Log { from: height + 1 });
    assert!(house.brain.lock().unwrap().heard.contains(&asked));
}

#[test]
fn bumps_that_cannot_be_say_why() {
    let house = funded(1_000_000);
    let mut alice = house.client("alice");
    wait("the coins", || (!alice.status().balances.is_empty()).then_some(()));
    let mut ask = |request, fee_rate_sat_vb| match alice.ask(&ToServer::Bump { request, fee_rate_sat_vb }) {
        FromServer::Error { code, why } => (code, why),
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(Hash([1; 32]), 0).0, "fee-rate");
    assert_eq!(ask(Hash([1; 32]), 10_001).0, "fee-rate");
    for rate in [1, 10_000] {
        let (code, why) = ask(Hash([1; 32]), rate);
        assert!(code == "bump" && why.contains("P5.reference"), "{code}: {why}");
    }
}

#[test]
fn the_register_of_recovery_components_needs_books() {
    let house = House::start(World::open(genesis()));
    let ask = ToServer::Api {
        method: "POST".into(),
        path: "/v1/recovery/entries".into(),
        idempotency_key: None,
        body: Some(Blob(b"{}".to_vec())),
    };
    let FromServer::Error { code, why } = house.client("alice").ask(&ask) else { panic!("it has no books") };
    assert_eq!((code.as_str(), why.as_str()), ("no-books", "this server keeps no books: ask one that does"));
}

#[test]
fn what_only_books_need_is_refused_without_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = |file: &str| directory.path().join(file).display().to_string();
    let genesis = genesis();
    std::fs::write(path("genesis.json"), genesis.bytes()).unwrap();
    let run = |option: &str, value: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyward-server"));
        command.args(["run", "--dir", &path(""), "--genesis", &path("genesis.json")]);
        command.args(["--genesis-hash", &genesis.hash().to_string(), "--listen", "127.0.0.1:0"]);
        command.args(["--node", "127.0.0.1:1", "--node-cookie", &path(".cookie"), "--books", "none"]);
        let output = command.args([option, value]).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let block = format!("7:{}", Hash::default());
    let options = [
        ("--consolidator-dir", "consolidator"),
        ("--alarm-dir", "sentinel"),
        ("--api", "127.0.0.1:0"),
        ("--screening", "list"),
        ("--deposit-rules", "rules"),
        ("--rescan", &block),
    ];
    for (option, value) in options {
        let said = run(option, value);
        assert!(said.contains(&format!("{option} does nothing without books")), "{said}");
    }
    // Any other option gets as far as to the keys.
    let said = run("--ready-file", &path("ready"));
    assert!(said.contains("server-keys.json"), "{said}");
}

#[test]
fn init_makes_keys_once_and_says_which() {
    let directory = tempfile::tempdir().unwrap();
    let init = |out: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyward-server"));
        command.args(["init", "--id", "server", "--dir"]).arg(directory.path().join("data"));
        if let Some(out) = out {
            command.arg("--out").arg(directory.path().join(out));
        }
        command.output().unwrap()
    };
    assert!(init(Some("machine.json")).status.success());
    let written = std::fs::read(directory.path().join("machine.json")).unwrap();
    let machine: custody::document::Machine = custody::canon::decode(&written).unwrap();
    assert_eq!(machine.id, name("server"));
    let keys = server::machine::Keys::open(&directory.path().join("data")).unwrap();
    assert_eq!(keys.machine(), machine);
    assert!(!init(None).status.success());
}
