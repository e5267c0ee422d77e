//! Clients' money: the commands against the real interface over real books.

use std::sync::atomic::Ordering;
use std::time::Duration;

use custody::document::Machine;
use custody::effects::Sats;
use deposits::{Address, DepositRecord, HoldReason, Place, Sighting, Step};
use fixtures::{client, newest};
use ledger::{Amount, Balance, Item, Owner, Posting, Reconciliation, RecordChange, RecordKind};
use serde_json::json;

use super::*;

fn cat() -> Owner {
    Owner::Client(name("cat"))
}

fn dog() -> Owner {
    Owner::Client(name("dog"))
}

/// A deployment with clients `cat`, who has a tenth of a bitcoin, and `dog`, who has nothing.
pub(crate) fn house() -> (Deployment, Arc<Office>) {
    let deployment = Deployment::on(newest());
    deployment.world(|world| ["cat", "dog"].map(|id| world.adopt(client(id))));
    let office = Office::open(&deployment);
    office.deposit("deposit-1", cat(), 10_000_000);
    (deployment, office)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[test]
fn who_has_what_is_listed_for_people_programs_and_spreadsheets() {
    let (deployment, office) = house();
    let host = &deployment.host;
    let clients = host.ok("client list");
    assert!(clients.starts_with("CLIENT  STATUS") && clients.contains("\ncat     in-force"), "{clients}");
    let balances = host.ok("balances --client cat");
    assert!(balances.contains("10,000,000 sat (0.10000000 BTC)"), "{balances}");
    let asset = office.asset();
    let csv = host.ok("balances --client cat --output csv");
    let row = format!("client:cat,main,10000000,0.1,10000000,0.1,0,0,{asset}\r\n");
    assert!(csv.starts_with("owner,wallet,balance_sat,balance_btc,") && csv.ends_with(&row), "{csv}");
    let listed = deployment.json("balances");
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert!(host.ok("balances --client dog").contains("nothing ever moved there"));
    let before = deployment.json("balances --client cat --as-of 2026-01-01T00:00:00+01:00");
    assert_eq!(before[0]["balance"], "0");
    assert_eq!(host.run("balances --as-of yesterday").status.code(), Some(2));
    host.fails("balances --client nobody --output csv --offline", 2);

    // What prints no list refuses CSV before it does anything.
    host.fails("transfer --wallet main --from cat --to dog --amount 1sat --yes --output csv", 2);
    host.fails("status --output csv", 2);
    assert_eq!(office.has(dog()).0, "0");

    let transfer = "transfer --wallet main --from cat --to dog --amount 0.01btc";
    assert!(host.fails(transfer, 2).contains("not confirmed"));
    let key = "--idempotency-key move-1 --yes";
    let moved = deployment.json(&format!("{transfer} {key}"));
    assert_eq!(deployment.json(&format!("{transfer} {key}")), moved);
    assert_eq!((office.has(cat()).0, office.has(dog()).0), ("9000000".into(), "1000000".into()));
    let said = host.fails(&format!("{transfer} --external-id other {key}"), 3);
    assert!(said.contains("idempotency.mismatch"), "{said}");
    let said = host.fails("transfer --wallet main --from dog --to cat --amount 1000001sat --yes", 3);
    assert!(said.contains("(ledger.overdraft)"), "{said}");
    assert!(said.contains("available 1,000,000 sat (0.01000000 BTC)"), "{said}");
    assert!(!said.contains("--idempotency-key"), "nothing was done, so nothing is to be repeated: {said}");

    let statement = deployment.json("statement --client cat --wallet main");
    let lines = statement[0]["lines"].as_array().unwrap();
    let shown: Vec<_> = lines.iter().map(|line| (text(line, "code"), text(line, "balance"))).collect();
    assert_eq!(shown, [("deposit", "10000000"), ("internal", "9000000")]);
    let csv = host.ok("statement --client cat --output csv");
    let rows: Vec<_> = csv.split("\r\n").collect();
    assert!(rows[1].contains(",main,deposit,posted,10000000,0.1,10000000,0.1,"), "{csv}");
    assert!(rows[2].contains(",main,internal,posted,-1000000,-0.01,9000000,0.09,"), "{csv}");
    assert!(host.ok("statement --client cat --asset bip122:00/slip44:0").contains("nothing moved"));
    assert!(host.ok("statement --client cat --to 2026-01-01T00:00:00Z").contains("nothing moved"));
}

/// Lists are longer than a page.
#[test]
fn a_statement_has_all_its_pages() {
    let (deployment, office) = house();
    for part in 0..3 {
        let transfers = (0..50).map(|n| office.coming(&format!("more-{part}-{n}"), cat(), 1)).collect();
        office.commit(Posting { transfers, records: Vec::new() });
    }
    let csv = deployment.host.ok("statement --client cat --output csv");
    assert_eq!(csv.split("\r\n").filter(|line| line.contains(",deposit,posted,")).count(), 151);
    assert!(csv.contains(",1,0.00000001,10000150,0.1000015,10000150,0.1000015,"), "{csv}");
}

const WITHDRAW: &str = "withdraw --client cat --wallet main --to acme=0.02btc --fee-max 10000sat --yes";

#[test]
fn a_withdrawal_is_tried_asked_for_followed_and_cancelled() {
    let (deployment, office) = house();
    let host = &deployment.host;
    let requests = || deployment.world(|world| world.state.requests().len());
    let tried = host.ok(&format!("{WITHDRAW} --dry-run"));
    assert!(tried.contains("reserves              2,010,000 sat (0.02010000 BTC)\n"), "{tried}");
    assert!(tried.contains("available after       7,990,000 sat (0.07990000 BTC)\n"), "{tried}");
    assert!(tried.contains("needs then            approvals: "), "{tried}");
    assert_eq!((requests(), office.has(cat()).1), (0, "10000000".into()));
    let too_much = WITHDRAW.replace("0.02btc", "0.1btc");
    for line in [format!("{too_much} --dry-run"), too_much] {
        assert!(host.fails(&line, 3).contains("(ledger.overdraft)"), "{line}");
    }
    // What the rules would refuse is neither signed nor sent.
    let said = host.fails(&WITHDRAW.replace("10000sat", "1sat").replace("0.02btc", "1sat"), 3);
    assert!(said.contains("P19.request"), "{said}");
    assert!(host.fails(&WITHDRAW.replace(" --yes", ""), 2).contains("nothing was signed"));
    assert_eq!((requests(), office.has(cat()).1), (0, "10000000".into()));

    let begun = deployment.json(&format!("{WITHDRAW} --external-id inv-7 --note rent_May"));
    let id = text(&begun, "id").to_owned();
    assert_eq!((text(&begun, "status"), text(&begun, "client")), ("requested", "cat"));
    assert_eq!((requests(), office.has(cat()).1), (1, "7990000".into()));
    // The approvers see who asked for what, and the note.
    let shown = host.ok(&format!("show {id}"));
    assert!(
        shown.contains("  note          rent May\n") && shown.contains("  client        cat\n"),
        "{shown}"
    );
    let said = host.fails(&format!("{WITHDRAW} --external-id inv-7"), 3);
    assert!(said.contains("(external-id.taken)"), "{said}");
    let listed = deployment.json("withdrawals --client cat --external-id inv-7");
    assert_eq!((listed.as_array().unwrap().len(), text(&listed[0], "id")), (1, id.as_str()));
    assert!(host.ok("withdrawals --client dog").contains("no withdrawals"));
    let csv = host.ok("withdrawals --output csv");
    assert!(csv.ends_with(&format!("cat,main,2000000,0.02,acme,requested,inv-7,{id}\r\n")), "{csv}");
    let short = &id[..8];
    let shown = host.ok(&format!("withdrawal show {short}"));
    assert!(shown.contains("still needed          approvals: "), "{shown}");
    assert!(shown.contains("pays                  2,000,000 sat (0.02000000 BTC) to acme\n"), "{shown}");
    host.fails("withdrawal show 00000000", 2);
    host.fails(&format!("withdrawal show {}", "0".repeat(64)), 2);

    let followed = host.ok(&format!("withdrawal follow {short} --until requested"));
    assert!(followed.contains("  requested by person:erin"), "{followed}");
    let said = host.fails(&format!("withdrawal follow {short} --timeout 0"), 6);
    assert!(said.contains("it was not settled in time"), "{said}");
    host.fails(&format!("withdrawal follow {short} --until done"), 2);

    // Before anything is authorised a cancel of who asked ends it in the log.
    let cancelled = deployment.json(&format!("withdrawal cancel {short} --yes"));
    assert_eq!(text(&cancelled, "id"), id);
    let request = Hash::from_hex(&id).unwrap();
    let ended = deployment.world(|w| w.state.requests().get(&request).unwrap().renewed_by);
    assert!(ended.is_some());
    let said = host.fails(&format!("withdrawal cancel {short} --yes"), 3);
    assert!(said.contains("P23.renewal"), "{said}");
}

#[test]
fn who_follows_sees_what_happens_also_when_the_server_was_away() {
    let (deployment, office) = house();
    let begin = || deployment.json(WITHDRAW)["id"].as_str().unwrap().to_owned();
    let id = begin();
    let follow = format!("withdrawal follow {id} --timeout 25");
    let followed = thread::scope(|scope| {
        let following = scope.spawn(|| deployment.host.ok(&follow));
        thread::sleep(Duration::from_millis(1500));
        office.away.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1500));
        office.advance(&id, "broadcast");
        office.away.store(false, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1500));
        office.advance(&id, "settled");
        following.join().unwrap()
    });
    let lines: Vec<_> = followed.lines().collect();
    assert!(lines.len() == 4 && lines[0].contains("  requested by person:erin"), "{followed}");
    assert!(lines[1].ends_with("  held by server: 2010000"), "{followed}");
    assert!(lines[2].ends_with("  broadcast by network, log height 12"), "{followed}");
    assert!(lines[3].ends_with("  settled by network, log height 12"), "{followed}");
    let json = deployment.host.ok(&format!("withdrawal follow {id} --output json"));
    let events: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        events.iter().map(|e| text(e, "what")).collect::<Vec<_>>(),
        ["requested", "held", "broadcast", "settled"]
    );
    // The other ends have classes of their own.
    for (state, code) in [("expired", 3), ("cancelled", 7)] {
        let id = begin();
        office.advance(&id, state);
        let said = deployment.host.fails(&format!("withdrawal follow {id}"), code);
        assert!(said.contains(&format!("it ended as {state}, without being settled")), "{said}");
    }
}

/// Nobody says whether it arrived: the same command with the same key sends the same signed request again.
#[test]
fn what_nobody_answered_is_repeated_and_done_once() {
    let (deployment, office) = house();
    let host = &deployment.host;
    office.mute.store(true, Ordering::SeqCst);
    let said = host.fails(WITHDRAW, 4);
    let key = said.split("--idempotency-key ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let again = format!("{WITHDRAW} --idempotency-key {key}");
    host.fails(&again, 4);
    office.mute.store(false, Ordering::SeqCst);
    let said = host.fails(&again.replace("0.02btc", "0.03btc"), 2);
    assert!(said.contains("something else was sent under this key"), "{said}");
    let begun = deployment.json(&again);
    let requests: Vec<String> =
        deployment.world(|w| w.state.requests().iter().map(|(id, _)| id.to_string()).collect());
    assert_eq!(requests, [text(&begun, "id")]);
    assert_eq!(office.has(cat()).1, "7990000");
    assert_eq!(fs::read_dir(host.path("home/unanswered")).unwrap().count(), 0);
    // What was refused for good is not kept either.
    host.fails(&WITHDRAW.replace("0.02btc", "0.5btc"), 3);
    assert_eq!(fs::read_dir(host.path("home/unanswered")).unwrap().count(), 0);
}

/// Lets a machine into the log whose key file this host has.
fn enrol(deployment: &Deployment, id: &str, grant: &str) {
    deployment.host.ok(&format!("machine new --id {id} --grant {grant} --out {id}.key"));
    let public = fs::read(deployment.host.path(&format!("{id}.key.pub.json"))).unwrap();
    let machine: Machine = serde_json::from_slice(&public).unwrap();
    deployment.world(|world| world.adopt(Document::Machine(machine)));
}

#[test]
fn a_machine_asks_and_does_not_what_people_do() {
    let (deployment, office) = house();
    let host = &deployment.host;
    enrol(&deployment, "erp", "request");
    enrol(&deployment, "clock", "observe");
    let begun = deployment.json(&format!("{WITHDRAW} --device erp.key"));
    assert_eq!(begun["timeline"][0]["by"], "machine:erp");
    let id = text(&begun, "id");
    assert!(host.ok("balances --device clock.key").contains("client:cat"));
    assert!(host.fails(&format!("{WITHDRAW} --device clock.key"), 3).contains("not enrolled"));
    host.fails(&format!("approve {id} --device erp.key --yes"), 3);
    let said = host.fails("deposit release 00:0 --device erp.key --yes", 3);
    assert!(said.contains("erp is a machine: only people release deposits"), "{said}");

    // Signed on one host without a network, sent by another program.
    let draft = json!({
        "client": "cat", "wallet": "main", "outputs": [{ "destination": "acme", "amount": "1000000" }],
        "fee_max": "5000", "note": "rent June", "external_id": "inv-8", "asset": office.asset(),
    });
    fs::write(host.path("draft.json"), draft.to_string()).unwrap();
    let signed = host.ok("request sign --file draft.json --device erp.key --offline --yes");
    let erp = deployment.world(|w| w.state.machine(&name("erp")).unwrap().tls);
    let sent = |method: &str, path: &str, key: &str, body: String| match office.answer(
        erp,
        method,
        path,
        Some(key.into()),
        Some(Blob(body.into_bytes())),
    ) {
        FromServer::Api { status, body } => (status, serde_json::from_slice::<Value>(&body.0).unwrap()),
        other => panic!("{other:?}"),
    };
    let (status, begun) = sent("POST", "/v1/withdrawals", "k-1", signed);
    assert_eq!((status, text(&begun, "external_id")), (202, "inv-8"), "{begun}");
    assert!(host.ok(&format!("show {}", text(&begun, "id"))).contains("  note          rent June\n"));
    fs::write(host.path("other.json"), draft.to_string().replace("slip44:1", "slip44:0")).unwrap();
    host.fails("request sign --file other.json --device erp.key --offline --yes", 2);

    // Drafted by the machine, signed by a person.
    let mut unsigned = draft;
    unsigned["external_id"] = json!("inv-9");
    let (status, draft) = sent("POST", "/v1/withdrawals", "k-2", unsigned.to_string());
    assert_eq!((status, text(&draft, "status")), (202, "draft"), "{draft}");
    let draft = text(&draft, "id");
    assert!(host.ok("withdrawals --status draft").contains("draft"));
    host.fails(&format!("withdrawal sign {draft}"), 2);
    let signed = deployment.json(&format!("withdrawal sign {draft} --yes"));
    assert_eq!((text(&signed, "status"), text(&signed, "external_id")), ("requested", "inv-9"));
    let id = Hash::from_hex(text(&signed, "id")).unwrap();
    let asked = deployment.world(|w| w.state.requests().get(&id).unwrap().clone());
    assert_eq!((asked.requester.to_string(), asked.request.fee_max), ("erin".into(), Sats(5_000)));
    assert!(host.ok(&format!("show {id}")).contains("  note          rent June\n"));
    host.fails(&format!("withdrawal sign {draft} --yes"), 2);
    // Who follows the draft sees what it became.
    let followed = host.ok(&format!("withdrawal follow {draft} --until requested"));
    assert!(followed.contains("requested by person:erin"), "{followed}");
    let (_, dropped) =
        sent("POST", "/v1/withdrawals", "k-3", unsigned.to_string().replace("inv-9", "inv-10"));
    let dropped = text(&dropped, "id");
    assert_eq!(deployment.json(&format!("withdrawal cancel {dropped} --yes"))["status"], "cancelled");
}

/// A deposit of cat's that is held.
fn held(vout: u32, asked_by: Option<&str>) -> DepositRecord {
    let address = Address {
        wallet: name("main"),
        branch: Branch::Receive,
        index: 0,
        client: Some(name("cat")),
        retired: true,
    };
    let outpoint = OutPoint { txid: Hash([7; 32]), vout };
    let mut deposit = DepositRecord::new(&Sighting { outpoint, amount: Sats(500), address }, "bcrt1x".into());
    deposit.place = Some(Place { height: 3, block: Hash([9; 32]), connection: 3 });
    let steps = [Step::Confirm { confirmations: 6, needed: 6 }, Step::Hold(vec![HoldReason::Retired])];
    for step in steps {
        deposit.take(&step, now(), "network").unwrap();
    }
    if let Some(who) = asked_by {
        deposit.take(&Step::AskRelease(name(who)), now(), &format!("person:{who}")).unwrap();
    }
    deposit
}

fn enter(office: &Office, deposit: &DepositRecord) {
    let record = RecordChange {
        kind: RecordKind::Deposit,
        id: deposit.key(),
        expect: 0,
        state: deposit.state.word().into(),
        client: deposit.client.clone(),
        external_id: None,
        at: now(),
        body: serde_json::to_value(deposit).unwrap(),
    };
    let id = deposit.id().unwrap().to_string();
    let transfers = vec![office.coming(&id, Owner::Suspense, deposit.amount.0)];
    office.commit(Posting { transfers, records: vec![record] });
}

#[test]
fn a_held_deposit_takes_two_people() {
    let (deployment, office) = house();
    let host = &deployment.host;
    let (first, second) = (held(0, None), held(1, Some("alice")));
    enter(&office, &first);
    enter(&office, &second);
    let listed = host.ok("deposits --client cat --status held");
    assert!(listed.contains("held: the address was retired") && listed.lines().count() == 3, "{listed}");
    assert!(host.ok("deposits --status credited").contains("no deposits"));
    let first = first.key();
    assert!(host.fails(&format!("deposit release {first}"), 2).contains("held: the address was retired"));
    let asked = host.ok(&format!("deposit release {first} --yes"));
    assert!(asked.contains("asked for by person:erin; somebody else releases"), "{asked}");
    let said = host.fails(&format!("deposit release {first} --yes"), 3);
    assert!(said.contains("(deposit.second-person)"), "{said}");
    assert_eq!(office.has(cat()).0, "10000000");
    let released = deployment.json(&format!("deposit release {} --yes", second.key()));
    assert_eq!(text(&released, "status"), "credited");
    assert_eq!(office.has(cat()).0, "10000500");
    assert!(host.ok(&format!("deposit show {}", second.key())).contains("released by person:erin"));
    host.fails("deposit show 00:9", 2);
}

#[test]
fn a_break_between_books_and_network_has_its_own_exit_code() {
    let (deployment, office) = house();
    let host = &deployment.host;
    let compared = |difference: Balance| {
        let item = Item { what: "spend-unauthorised".into(), id: "ab:0".into(), amount: Amount::new(7) };
        office.compared(Reconciliation {
            wallet: name("main"),
            asset: office.asset(),
            height: 9,
            block: Hash([9; 32]),
            network: Amount::new(9_999_993),
            books: Balance::of(Amount::new(10_000_000), Amount::ZERO),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            difference,
            suspects: vec![item],
        });
    };
    compared(Balance::default());
    assert!(host.ok("reconcile").contains("9,999,993 sat"));
    compared(Balance::of(Amount::ZERO, Amount::new(7)));
    let said = host.fails("reconcile --wallet main", 8);
    assert!(said.contains("! difference") && said.contains("-7 sat (-0.00000007 BTC)"), "{said}");
    assert!(said.contains("spend-unauthorised"), "{said}");
    host.fails("reconcile --wallet other", 2);
}

#[test]
fn a_server_without_books_says_so() {
    let deployment = Deployment::on(newest());
    deployment.world(|world| world.adopt(client("cat")));
    for line in ["balances", WITHDRAW] {
        let said = deployment.host.fails(line, 3);
        assert!(said.contains("the server says no-books"), "{said}");
    }
    assert_eq!(deployment.world(|world| world.state.requests().len()), 0);
}
