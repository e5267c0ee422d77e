//! Real books and a real log; the coins are whatever a test says.

use custody::document::{Destination, DestinationKind, Document};
use custody::effects::Branch;
use deposits::{Address, Place, Sighting, Spend, outpoint_text};
use fixtures::{label, name, newest};
use ledger::Record;
use tempfile::TempDir;
use withdrawals::{State, Withdrawal};

use super::*;
use crate::clerk::reconcile::tests::rig::Rig;
use crate::machine::OWN_STATEMENT_S;

/// What small coins have in these tests, in satoshi; and the fee rate up to which they are gathered.
const SMALL: u64 = 10_000;
const RATE: u64 = 3;

struct Bench {
    rig: Rig,
    keys: TempDir,
    consolidate: Consolidate,
    withdrawals: Withdrawals,
}

fn rules(keys: &TempDir, text: &str) -> Result<Consolidate, String> {
    std::fs::write(keys.path().join(RULES_FILE), text).unwrap();
    Consolidate::open(Some(keys.path())).map_err(|error| error.to_string())
}

fn rule(wallet: &str, more_than: usize, fee_rate: u64) -> String {
    format!(
        r#"{{"wallet":"{wallet}","destination":"house","more_than":{more_than},"below":"{}","fee_rate":{fee_rate}}}"#,
        SMALL + 1
    )
}

impl Bench {
    /// More than three coins of wallet `main` are gathered at destination `house`, by machine `keeper`.
    fn new() -> Self {
        Self::with(&[Grant::Request])
    }

    fn with(grants: &[Grant]) -> Self {
        let keys = TempDir::with_prefix("keyward-keeper-").unwrap();
        let keeper = Keys::create(keys.path(), &name("keeper"), grants).unwrap();
        let mut genesis = newest();
        genesis.machines.push(keeper.machine());
        let mut rig = Rig::with(genesis, &[Grant::Authorise, Grant::Allocate], &[Grant::Freeze]);
        rig.world.adopt(fixtures::client("acme"));
        let house = withdrawals::house_script(rig.state(), &rig.world.decoder, &name("main")).unwrap();
        let destination = Destination::new(
            name("house"),
            DestinationKind::Own,
            rig.world.decoder.address(&house).unwrap(),
            label("house").commitment(),
        );
        rig.world.adopt_as("dave", Document::Destination(destination), &["alice", "bob"]);
        rig.sync();
        rig.now = rig.world.time;
        rig.desk.core().published.fee_rate = Some(RATE);
        let consolidate = rules(&keys, &format!("[{}]", rule("main", 3, RATE))).unwrap();
        Self { rig, keys, consolidate, withdrawals: Withdrawals::default() }
    }

    /// Returns whether nothing is to be put right.
    fn look(&self, coins: &[Coin]) -> bool {
        let coins: Vec<&Coin> = coins.iter().collect();
        self.consolidate.look(&self.rig.at(), &coins, &self.withdrawals).unwrap()
    }

    /// What a turn of the clerk does with what was asked for.
    fn turn(&mut self) {
        self.withdrawals.turn(&self.rig.at(), &Deposits::default()).unwrap();
    }

    /// The withdrawals in the books, the oldest first.
    fn asked(&self) -> Vec<Withdrawal> {
        let words = State::OPEN.into_iter().chain(["expired", "rejected"]);
        let all = words.flat_map(|word| self.rig.books.records(RecordKind::Withdrawal, word).unwrap());
        let mut all: Vec<Record> = all.collect();
        all.sort_by_key(|record| record.opened);
        all.iter().map(|record| Withdrawal::of(record).unwrap()).collect()
    }
}

/// A judged deposit of acme.
fn coin(number: u8, amount: u64) -> Coin {
    let address = Address {
        wallet: name("main"),
        branch: Branch::Receive,
        index: 0,
        client: Some(name("acme")),
        retired: false,
    };
    Coin {
        outpoint: OutPoint { txid: custody::Hash([number; 32]), vout: 0 },
        amount: Sats(amount),
        address,
        place: Place { height: 9, block: custody::Hash([9; 32]), connection: 9 },
        needed: 3,
        kind: CoinKind::Judged,
        spent: None,
    }
}

fn coins(count: u8) -> Vec<Coin> {
    (0..count).map(|number| coin(number, SMALL)).collect()
}

#[test]
fn more_small_coins_than_the_rule_says_are_asked_for_once() {
    let mut bench = Bench::new();
    bench.look(&coins(3));
    assert!(bench.asked().is_empty());
    bench.look(&coins(4));
    let all = 4 * SMALL - RATE * gathering_vbytes(4, 2) - 330;
    let asked = bench.asked();
    let shown: Vec<_> =
        asked[0].outputs.iter().map(|o| (o.destination.as_str(), o.amount.to_string())).collect();
    assert_eq!((asked.len(), shown), (1, vec![("house", all.to_string())]));
    assert_eq!((&asked[0].owner, asked[0].state.word()), (&ledger::Owner::Fees, "requested"));
    assert_eq!(asked[0].requester, "machine keeper");
    // Whoever reads the books next sends it; nobody asks again while it is open.
    bench.turn();
    assert_eq!(bench.rig.waiting().len(), 1);
    bench.rig.now += PAUSE_S;
    bench.look(&coins(8));
    bench.rig.deliver();
    bench.rig.now = bench.rig.world.time + PAUSE_S;
    bench.turn();
    bench.look(&coins(8));
    let asked = bench.asked();
    assert_eq!((asked.len(), asked[0].state.word()), (1, "awaiting-approval"));
    let record = bench.rig.state().requests().get(&asked[0].id).unwrap();
    assert_eq!(
        (record.requester.to_string(), record.request.client.clone()),
        ("machine keeper".into(), None)
    );
    assert!(record.approvals.is_empty(), "people approve it");
}

#[test]
fn only_while_the_network_takes_little() {
    let bench = Bench::new();
    for rate in [None, Some(RATE + 1)] {
        bench.rig.desk.core().published.fee_rate = rate;
        bench.look(&coins(4));
        assert!(bench.asked().is_empty(), "{rate:?}");
    }
    bench.rig.desk.core().published.fee_rate = Some(RATE);
    bench.look(&coins(4));
    assert_eq!(bench.asked().len(), 1);
}

/// Three small coins and one that is left where it is.
#[test]
fn what_is_not_gathered() {
    let bench = Bench::new();
    let least = worth_gathering(RATE).0;
    let spent = Some(Spend { txid: custody::Hash([8; 32]), place: Some(coin(0, 0).place) });
    let elsewhere = Address { wallet: name("other"), ..coin(0, 0).address };
    let held = coin(50, SMALL);
    let sighting = Sighting { outpoint: held.outpoint, amount: held.amount, address: held.address.clone() };
    let change = RecordChange {
        kind: RecordKind::Deposit,
        id: outpoint_text(&held.outpoint),
        expect: 0,
        state: "held".into(),
        client: None,
        external_id: None,
        at: 1,
        body: serde_json::to_value(DepositRecord::new(&sighting, "bcrt1".into())).unwrap(),
    };
    bench.rig.books.commit(Posting { transfers: Vec::new(), records: vec![change] }).unwrap();
    for other in [
        coin(50, SMALL + 1),
        coin(50, least - 1),
        Coin { kind: CoinKind::Open, ..coin(51, SMALL) },
        Coin { spent, ..coin(51, SMALL) },
        Coin { address: elsewhere, ..coin(51, SMALL) },
        held,
    ] {
        bench.look(&[coins(3), vec![other.clone()]].concat());
        assert!(bench.asked().is_empty(), "{other:?}");
    }
    bench.look(&[coins(3), vec![Coin { kind: CoinKind::Change, ..coin(51, least) }]].concat());
    assert_eq!(bench.asked().len(), 1);
}

/// What a payment is to spend is not counted.
#[test]
fn what_is_spoken_for_is_not_gathered() {
    let mut bench = Bench::new();
    let id = bench.rig.world.asked(bench.rig.world.request(&[("acme", 5_000)]));
    let paid = bench.rig.world.coin(SMALL);
    let draft = bench.rig.world.draft(&[id], &[paid], 400);
    bench.rig.world.pay(&[id], &draft).unwrap();
    bench.rig.sync();
    bench.rig.now = bench.rig.world.time;
    let taken = Coin { outpoint: paid.outpoint, ..coin(50, SMALL) };
    bench.look(&[coins(3), vec![taken]].concat());
    assert!(bench.asked().is_empty());
    bench.look(&coins(4));
    assert_eq!(bench.asked().len(), 1);
}

#[test]
fn no_more_than_a_transaction_gathers() {
    let bench = Bench::new();
    let count = u8::try_from(GATHER_LIMIT).unwrap();
    let small: Vec<Coin> = (0..=count).map(|number| coin(number, SMALL - u64::from(number))).collect();
    bench.look(&small);
    let smallest: u64 = small[1..].iter().map(|coin| coin.amount.0).sum();
    let all = smallest - RATE * gathering_vbytes(GATHER_LIMIT, 2) - 330;
    assert_eq!(bench.asked()[0].outputs[0].amount.to_string(), all.to_string());
}

/// What came to nothing is asked for again, after a pause.
#[test]
fn what_came_to_nothing_is_asked_for_again_after_a_pause() {
    let mut bench = Bench::new();
    bench.look(&coins(4));
    let began = bench.rig.now;
    bench.rig.world.tick(OWN_STATEMENT_S + 1);
    bench.rig.sync();
    bench.turn();
    assert_eq!(bench.asked()[0].state, State::Expired, "the log never got it");
    for (after, count) in [(PAUSE_S - 1, 1), (PAUSE_S, 2)] {
        bench.rig.now = began + after;
        bench.turn();
        bench.look(&coins(4));
        assert_eq!(bench.asked().len(), count, "{after}");
    }
}

/// The process dies after the posting: the next one sends what is in the books, and asks for nothing.
#[test]
fn a_restart_sends_what_was_asked_for() {
    let mut bench = Bench::new();
    bench.look(&coins(4));
    assert!(bench.rig.waiting().is_empty(), "it died before it sent anything");
    for _ in 0..2 {
        bench.withdrawals = Withdrawals::default();
        bench.consolidate = Consolidate::open(Some(bench.keys.path())).unwrap();
        bench.turn();
        bench.look(&coins(4));
        bench.turn();
    }
    assert_eq!((bench.rig.waiting().len(), bench.asked().len()), (1, 1));
    assert_eq!(bench.rig.waiting()[0].id(), bench.asked()[0].id);
}

/// Of replicas that ask at the same time one is entered.
#[test]
fn replicas_that_ask_at_once_ask_once() {
    let bench = Bench::new();
    let small = coins(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(bench.look(&small)));
        }
    });
    assert_eq!(bench.asked().len(), 1);
    assert_eq!(bench.rig.alarms(), "");
    assert_eq!(bench.rig.books.records(RecordKind::Consolidation, ASKED).unwrap().len(), 1);
}

#[test]
fn what_people_have_to_put_right_is_said() {
    let said = |bench: &Bench, word: &str| {
        assert!(!bench.look(&coins(4)));
        assert!(bench.asked().is_empty());
        let alarms = bench.rig.alarms();
        assert!(alarms.contains("wallet main is not consolidated") && alarms.contains(word), "{alarms}");
    };
    said(&Bench::with(&[Grant::Allocate]), "not enrolled to request");
    let mut bench = Bench::new();
    let other = rule("main", 3, RATE).replace("house", "acme");
    bench.consolidate = rules(&bench.keys, &format!("[{other}]")).unwrap();
    said(&bench, "acme is not its house address: propose bcrt1p");
    let other = rule("main", 3, RATE).replace("house", "nowhere");
    bench.consolidate = rules(&bench.keys, &format!("[{other}]")).unwrap();
    said(&bench, "nowhere is not its house address");
    // A wallet that the log does not have has no coins here.
    let mut elsewhere = coins(4);
    elsewhere.iter_mut().for_each(|coin| coin.address.wallet = name("other"));
    bench.consolidate = rules(&bench.keys, &format!("[{}]", rule("other", 3, RATE))).unwrap();
    bench.look(&elsewhere);
    assert!(bench.rig.alarms().contains("wallet other is not consolidated: it has no address of the house"));
}

#[test]
fn rules_are_read_within_limits() {
    let keys = TempDir::with_prefix("keyward-keeper-").unwrap();
    let why = Consolidate::open(Some(keys.path())).unwrap_err().to_string();
    assert!(why.contains("server-keys.json"), "{why}");
    Keys::create(keys.path(), &name("keeper"), &[Grant::Request]).unwrap();
    assert!(Consolidate::open(Some(keys.path())).unwrap_err().to_string().contains(RULES_FILE));
    let list = |rules: &[String]| format!("[{}]", rules.join(","));
    for (text, wrong) in [
        (list(&[rule("main", 1, 1), rule("other", 1, FEE_RATE_LIMIT)]), None),
        (list(&[rule("main", 0, 1)]), Some("more_than is 1 or more")),
        (list(&[rule("main", 1, 0)]), Some("fee_rate from 1")),
        (list(&[rule("main", 1, FEE_RATE_LIMIT + 1)]), Some("fee_rate from 1")),
        (list(&[rule("main", 1, 1), rule("main", 2, 1)]), Some("two rules")),
        (list(&[rule("main", 1, 1).replace("more_than", "more")]), Some("unknown field")),
        (format!("{:<1$}", "[]", RULES_LIMIT_BYTES), None),
        (format!("{:<1$}", "[]", RULES_LIMIT_BYTES + 1), Some("bytes, at most")),
    ] {
        let read = rules(&keys, &text).map(drop);
        match wrong {
            None => assert_eq!(read, Ok(())),
            Some(wrong) => assert!(read.as_ref().is_err_and(|why| why.contains(wrong)), "{read:?}"),
        }
    }
    assert!(Consolidate::open(None).unwrap().setting.is_none());
}
