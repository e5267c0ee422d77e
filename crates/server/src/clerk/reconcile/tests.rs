//! Real books and the log of a world; the chain is whatever a test says.

pub(in crate::clerk) mod rig;

use api::House as _;
use custody::document::Grant;
use custody::effects::Sats;
use custody::payment::GAP_LIMIT;
use custody::statement::{Body, Freeze, Scope};
use deposits::{CoinKind, Spend};
use fixtures::name;
use ledger::{Code, Owner};
use rig::{Rig, acme, text};

use super::entries::{BACK, FEE, OUT};
use super::record::LISTED_LIMIT;
use super::*;
use crate::alarm::FREEZE_AGAIN_S;
use crate::counter::Counter;
use crate::observer::{Scanned, Unspent};

fn freeze(rig: &Rig) -> Body {
    Body::Freeze(Freeze { scope: Scope::Asset(rig.asset.as_str().to_owned()) })
}

/// A rig with a credited deposit of 1,000 that was found to be right.
fn right() -> (Rig, Reconcile, Coin) {
    let mut rig = Rig::new();
    let coin = rig.credited(9, 1_000);
    rig.block();
    let mut reconcile = Reconcile::new(rig.alarm_keys());
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["here ok 0"]);
    (rig, reconcile, coin)
}

#[test]
fn books_that_agree_are_recorded_once_a_block() {
    let (mut rig, mut reconcile, _) = right();
    let before = rig.batches();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.batches(), before, "nothing is new");
    let waits = rig.deposit(8, 70);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "here ok 0"], "a deposit that confirms explains itself");
    rig.credit(&waits);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "102 ok 0", "here ok 0"]);
    // A restart finds the record of the block.
    let before = rig.batches();
    rig.look(&mut Reconcile::default()).unwrap();
    assert_eq!(rig.batches(), before);
    assert_eq!((rig.alarms().as_str(), rig.waiting().len()), ("", 0));
}

#[test]
fn a_break_counts_in_the_second_look_freezes_once_and_what_is_resumed_stays_so() {
    let (mut rig, mut reconcile, coin) = right();
    // The node does not have the coin of a credited deposit.
    let kept = rig.network.clone();
    rig.network.clear();
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert_eq!((rig.comparisons().len(), rig.waiting().len()), (1, 0), "one look may be wrong");
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "here break -1000"]);
    assert_eq!(rig.suspects(), [format!("deposit-without-coin {}", coin.id())]);
    assert!(
        rig.alarms().contains("wallet main differs from the books by -1000 at block 102"),
        "{}",
        rig.alarms()
    );

    // On its way, in force: nothing more is asked for.
    assert_eq!(rig.waiting().len(), 1);
    rig.look(&mut reconcile).unwrap();
    rig.look(&mut Reconcile::new(rig.alarm_keys())).unwrap();
    assert_eq!(rig.waiting().len(), 1);
    let expected = freeze(&rig);
    assert_eq!(rig.deliver(), std::slice::from_ref(&expected));
    let by: Vec<String> = rig.state().freezes().iter().map(|(_, freeze)| freeze.by.to_string()).collect();
    assert_eq!(by, ["machine siren"]);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert!(rig.waiting().is_empty());

    // A quorum resumes in spite of it: it stays resumed, restarts included.
    rig.resume();
    for _ in 0..2 {
        rig.block();
        rig.look(&mut reconcile).unwrap();
        reconcile = Reconcile::new(rig.alarm_keys());
        rig.look(&mut reconcile).unwrap();
        rig.look(&mut reconcile).unwrap();
    }
    assert!(rig.waiting().is_empty());
    assert_eq!(rig.comparisons(), ["101 ok 0", "102 break -1000"]);

    // Another difference is another break.
    rig.transfer("forged@0#0", Owner::External, acme(), 5, Code::Deposit);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "102 closed -1000", "here break -1005"]);
    assert!(rig.suspects().contains(&"deposit-without-coin forged@0#0".to_owned()), "{:?}", rig.suspects());
    assert_eq!(rig.deliver(), [expected]);

    // Made good, it is over; the freeze is the quorum's to lift.
    rig.network = kept;
    rig.transfer("good", acme(), Owner::External, 5, Code::Correction);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "102 closed -1000", "106 closed -1005", "here ok 0"]);
    assert_eq!(rig.state().freezes().iter().count(), 1);
}

/// A request of 400,000 that is paid out of a coin of a million, with a fee of 1,000.
fn paid(rig: &mut Rig) -> (OutPoint, Hash, Hash) {
    let coin = rig.world.coin(1_000_000);
    let outpoint = coin.outpoint;
    let coin_there = rig.output(outpoint, 1_000_000, coin.branch, CoinKind::Open);
    rig.credit(&coin_there);
    let request = rig.world.request(&[("acme", 400_000)]);
    let request = rig.world.asked(request);
    let draft = rig.world.draft(&[request], &[coin], 1_000);
    let authorisation = rig.world.pay(&[request], &draft).unwrap();
    rig.sync();
    (outpoint, request, rig.state().authorisations().get(&authorisation).unwrap().txid)
}

fn settle(rig: &Rig, lineage: Hash) {
    rig.transfer("hold", acme(), Owner::InTransit, 401_000, Code::Withdrawal);
    rig.transfer(&format!("{OUT}{lineage}"), Owner::InTransit, Owner::External, 400_000, Code::Withdrawal);
    rig.transfer(&format!("{FEE}{lineage}"), Owner::InTransit, Owner::External, 1_000, Code::NetworkFee);
}

#[test]
fn a_payment_is_no_break_before_and_after_it_settles() {
    let (mut rig, mut reconcile, _) = right();
    let (outpoint, request, txid) = paid(&mut rig);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    rig.spend(txid, outpoint, 599_000);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    let record = rig.books.records(RecordKind::Reconciliation, OK).unwrap().pop().unwrap();
    assert_eq!(record.change.body["outgoing"][0]["amount"], "401000");
    settle(&rig, request);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    // The follower forgets it.
    rig.coins.retain(|coin| coin.spent.is_none());
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "102 ok 0", "103 ok 0", "104 ok 0", "here ok 0"]);
    assert_eq!(rig.alarms(), "");
}

#[test]
fn entries_that_nothing_on_the_network_explains_are_named() {
    let (mut rig, mut reconcile, coin) = right();
    let (outpoint, request, txid) = paid(&mut rig);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    // Settled without its transaction; a deposit that never was; one taken back that is there.
    settle(&rig, request);
    rig.transfer("ff:0@ab#7", Owner::External, acme(), 5, Code::Deposit);
    rig.transfer(&format!("{BACK}{}", coin.id()), acme(), Owner::External, 1_000, Code::DepositReversed);
    // And some that are explained: a deposit that was taken back, and one spent long ago.
    rig.transfer("ee:0@ab#6", Owner::External, acme(), 6, Code::Deposit);
    rig.transfer(&format!("{BACK}ee:0@ab#6"), acme(), Owner::External, 6, Code::DepositReversed);
    let mut gone = Coin { outpoint: OutPoint { txid: Hash([5; 32]), vout: 1 }, ..coin.clone() };
    rig.transfer(&gone.id().to_string(), Owner::External, acme(), 7, Code::Deposit);
    gone.spent = Some(Spend { txid: Hash([4; 32]), place: Some(rig.tip) });
    rig.put(RecordKind::Coin, &text(gone.outpoint), "buried", serde_json::to_value(&gone).unwrap());
    rig.transfer("mistake", acme(), Owner::External, 8, Code::Correction);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    rig.look(&mut reconcile).unwrap();
    let mut expected = [
        format!("reversal-of-coin {BACK}{}", coin.id()),
        "correction mistake".to_owned(),
        format!("withdrawal-without-transaction {FEE}{request}"),
        "deposit-without-coin ff:0@ab#7".to_owned(),
        format!("withdrawal-without-transaction {OUT}{request}"),
    ];
    let mut found = rig.suspects();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    // Once its transaction is in a block, the withdrawal is none of them.
    rig.spend(txid, outpoint, 599_000);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert!(!rig.suspects().iter().any(|suspect| suspect.starts_with("withdrawal")), "{:?}", rig.suspects());
}

#[test]
fn an_unauthorised_spend_is_named_and_change_of_it_explains_nothing() {
    let (mut rig, mut reconcile, coin) = right();
    rig.spend(Hash([6; 32]), coin.outpoint, 300);
    rig.block();
    rig.look(&mut reconcile).unwrap();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "here break -700"]);
    assert_eq!(rig.suspects(), [format!("spend-unauthorised {}", "06".repeat(32))]);
}

#[test]
fn only_what_stands_at_one_block_is_compared() {
    let (mut rig, mut reconcile, _) = right();
    rig.network.clear();
    let chain = |rig: &Rig| Ok((rig.tip, Vec::new()));
    let why = |rig: &Rig| match &rig.desk.core().published.compared.result {
        Some(Err(why)) => why.clone(),
        other => panic!("compared: {other:?}"),
    };
    let scanned = rig.tip;
    rig.block();
    for (case, words) in
        [("scan", "as of block 101, deposits as of 102"), ("cursor", "another server"), ("node", "gone")]
    {
        rig.scan();
        rig.cursor(rig.tip);
        match case {
            "scan" => {
                let scanned = Scanned { height: scanned.height, block: scanned.block, by_wallet: [].into() };
                rig.desk.core().published.scanned = Some(Arc::new(scanned));
            }
            "cursor" => rig.cursor(Place { height: rig.tip.height + 1, ..rig.tip }),
            _ => {}
        }
        for _ in 0..3 {
            let chain = if case == "node" { Err("gone".to_owned()) } else { chain(&rig) };
            rig.look_at(&mut reconcile, chain).unwrap();
        }
        assert!(why(&rig).contains(words), "{case}: {}", why(&rig));
    }
    assert_eq!(rig.comparisons(), ["101 ok 0"]);
    // With all three at it, it is compared.
    rig.cursor(rig.tip);
    rig.look(&mut reconcile).unwrap();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "here break -1000"]);
}

#[test]
fn coins_beyond_the_watched_addresses_do_not_count() {
    let (mut rig, mut reconcile, _) = right();
    let strange = |index| Unspent {
        outpoint: OutPoint { txid: Hash([3; 32]), vout: index },
        amount: Sats(5),
        branch: custody::effects::Branch::Receive,
        index,
    };
    rig.network.push(strange(GAP_LIMIT));
    rig.block();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons(), ["101 ok 0", "here ok 0"]);
    rig.network.push(strange(GAP_LIMIT - 1));
    rig.block();
    rig.look(&mut reconcile).unwrap();
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.comparisons().last().unwrap(), "here break 5");
    assert_eq!(rig.suspects(), [format!("coin-unknown {}:19", "03".repeat(32))]);
}

fn outflow(txid: Hash) -> Outflow {
    let outpoint = OutPoint { txid: Hash([9; 32]), vout: 0 };
    Outflow { txid, outpoint, wallet: name("main"), amount: Sats(1_000) }
}

#[test]
fn an_unexpected_outflow_freezes_from_the_mempool_and_once() {
    let (mut rig, mut reconcile, _) = right();
    rig.outflows = vec![outflow(Hash([6; 32])), outflow(Hash([6; 32]))];
    rig.look(&mut reconcile).unwrap();
    assert!(rig.waiting().is_empty(), "who is cut off from the log judges nothing by it");
    rig.desk.core().level.extend(["s1", "s2", "s3"].map(name));
    rig.look(&mut reconcile).unwrap();
    let expected = freeze(&rig);
    assert_eq!(rig.deliver(), std::slice::from_ref(&expected));
    assert!(rig.alarms().contains(&format!("transaction {} spends coins of wallet main", "06".repeat(32))));
    rig.look(&mut reconcile).unwrap();
    rig.resume();
    // It is known, after a restart too.
    for mut reconcile in [reconcile, Reconcile::new(rig.alarm_keys())] {
        rig.look(&mut reconcile).unwrap();
        rig.look(&mut reconcile).unwrap();
    }
    assert!(rig.waiting().is_empty());
    assert!(rig.books.records(RecordKind::Cursor, BREAK).unwrap().is_empty(), "closed");
    rig.outflows.push(outflow(Hash([7; 32])));
    rig.look(&mut Reconcile::new(rig.alarm_keys())).unwrap();
    assert_eq!(rig.deliver(), [expected], "another one is another");
}

#[test]
fn what_the_log_allows_by_now_is_no_outflow() {
    let (mut rig, mut reconcile, _) = right();
    rig.desk.core().level.extend(["s1", "s2", "s3"].map(name));
    let old = rig.world.state.clone();
    let (_, _, txid) = paid(&mut rig);
    rig.outflows = vec![outflow(txid)];
    // The turn began before that.
    let new = std::mem::replace(&mut rig.world.state, old);
    rig.look(&mut reconcile).unwrap();
    rig.world.state = new;
    assert_eq!((rig.waiting().len(), rig.alarms().as_str()), (0, ""));
}

#[test]
fn a_breach_freezes_once_for_the_same_words() {
    let (mut rig, mut reconcile, _) = right();
    for _ in 0..2 {
        reconcile.breach("withdrawal 1 is authorised and not reserved".into());
        rig.look(&mut reconcile).unwrap();
    }
    assert_eq!(rig.waiting().len(), 1);
    reconcile.breach("withdrawal 2 is authorised and not reserved".into());
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.waiting().len(), 1, "the freeze that is on its way is for both");
    rig.deliver();
    rig.look(&mut reconcile).unwrap();
    rig.resume();
    let mut restarted = Reconcile::new(rig.alarm_keys());
    restarted.breach("withdrawal 1 is authorised and not reserved".into());
    rig.look(&mut restarted).unwrap();
    rig.look(&mut restarted).unwrap();
    assert!(rig.waiting().is_empty());
    let words = ["withdrawal 1", "withdrawal 2"].map(|words| rig.alarms().contains(words));
    assert_eq!(words, [true, true]);
}

#[test]
fn a_freeze_of_somebody_else_serves_and_one_of_everything_does_not() {
    let (mut rig, mut reconcile, _) = right();
    rig.world.say("bob", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    rig.sync();
    reconcile.breach("one".into());
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.waiting().len(), 1, "one of everything may end for reasons of its own");
    rig.deliver();
    rig.resume();
    let body = freeze(&rig);
    rig.world.say("bob", body).unwrap();
    rig.sync();
    reconcile.breach("two".into());
    rig.look(&mut reconcile).unwrap();
    rig.look(&mut reconcile).unwrap();
    assert!(rig.waiting().is_empty());
}

#[test]
fn a_freeze_that_was_lost_is_signed_again_after_a_while() {
    let (mut rig, mut reconcile, _) = right();
    reconcile.breach("one".into());
    rig.look(&mut reconcile).unwrap();
    // The process ended before it was sent.
    let lost = rig.waiting();
    rig.desk.core().pending = crate::office::Pending::default();
    rig.now += FREEZE_AGAIN_S - 1;
    rig.look(&mut reconcile).unwrap();
    assert!(rig.waiting().is_empty(), "another replica may have sent it");
    rig.now += 1;
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.waiting().len(), 1);
    assert_ne!(rig.waiting(), lost);
}

#[test]
fn without_a_machine_that_may_freeze_the_alarm_says_so() {
    let asset_since_2 = Rig::with(fixtures::genesis(), &[Grant::Authorise], &[Grant::Freeze]);
    let not_enrolled = Rig::with(fixtures::newest(), &[Grant::Authorise], &[Grant::Request]);
    let none = Rig::new();
    let cases = [
        (none, false, "NOT frozen: no alarm machine is set up"),
        (not_enrolled, true, "NOT frozen: machine siren is not enrolled to freeze"),
        (asset_since_2, true, "NOT frozen: rule set 1 cannot freeze an asset alone, 2 can"),
    ];
    for (rig, keys, words) in cases {
        let mut reconcile = Reconcile::new(rig.alarm_keys().filter(|_| keys));
        reconcile.breach("one".into());
        rig.look(&mut reconcile).unwrap();
        assert!(rig.alarms().contains(words), "{words}: {}", rig.alarms());
        assert!(rig.waiting().is_empty());
    }
    // One that may do more is used, and named.
    let rig = Rig::with(fixtures::newest(), &[Grant::Authorise], &[Grant::Request, Grant::Freeze]);
    let mut reconcile = Reconcile::new(rig.alarm_keys());
    reconcile.breach("one".into());
    rig.look(&mut reconcile).unwrap();
    assert_eq!(rig.waiting().len(), 1);
    assert!(rig.alarms().contains("may do more than freeze"));
}

#[test]
fn two_replicas_record_one_break_and_freeze_once() {
    let (mut rig, one, _) = right();
    let mut replicas = [one, Reconcile::new(rig.alarm_keys())];
    rig.network.clear();
    rig.block();
    for _ in 0..3 {
        for replica in &mut replicas {
            rig.look(replica).unwrap();
        }
    }
    assert_eq!(rig.comparisons(), ["101 ok 0", "here break -1000"]);
    assert_eq!(rig.waiting().len(), 1);
}

#[test]
fn whoever_asks_is_answered_by_the_clerk() {
    let (mut rig, mut reconcile, _) = right();
    rig.network.clear();
    rig.block();
    let own = Arc::default();
    let counter =
        Counter::new(Arc::clone(&rig.desk), rig.books.books().clone(), Arc::clone(&own), rig.shelf());
    assert!(Arc::ptr_eq(&counter.own(), &own), "the clerk's index");
    let asked = std::thread::spawn(move || counter.reconcile());
    while !asked.is_finished() {
        rig.look(&mut reconcile).unwrap();
        std::thread::yield_now();
    }
    let answer = asked.join().unwrap().unwrap();
    let [one] = answer.as_slice() else { panic!("{answer:?}") };
    assert_eq!((one.height, one.difference.to_string()), (rig.tip.height, "-1000".to_owned()));
}

#[test]
fn long_lists_are_added_up_in_the_record() {
    let mut rig = Rig::new();
    let count = u8::try_from(LISTED_LIMIT).unwrap() + 3;
    (0..count).for_each(|number| drop(rig.deposit(100 + number, 10)));
    rig.block();
    rig.look(&mut Reconcile::default()).unwrap();
    let record = rig.books.records(RecordKind::Reconciliation, OK).unwrap().pop().unwrap();
    let items = record.change.body["incoming"].as_array().unwrap();
    assert_eq!(items.len(), LISTED_LIMIT + 1);
    assert_eq!(
        (&items[LISTED_LIMIT]["id"], &items[LISTED_LIMIT]["amount"]),
        (&"3 more".into(), &"30".into())
    );
}
