//! What keeps the clerk from wrong conclusions, and one bad request from stopping the others.

use custody::document::Model;
use custody::name::Name;
use custody::statement::Body;
use evidence::register::What;
use fixtures::{World, name};
use ledger::{Account, Code, Movement, NewTransfer, Owner, Posting, RecordKind};
use wire::message::{FromCosigner, Log};

use super::deposits::Deposits;
use super::reconcile::tests::rig::Rig;
use super::withdrawals::Withdrawals;
use super::*;
use crate::shelf::tests::{Copy, set};

/// A co-signer says that it has nothing newer.
fn nothing_newer(rig: &Rig, who: &Name) {
    let piece = rig.desk.core().replica.piece(u64::MAX);
    let from = rig.state().clock().height + 1;
    rig.desk.take(who, FromCosigner::Log(Log { from, ..piece }));
}

#[test]
fn the_log_is_level_when_2f_plus_1_linked_co_signers_have_nothing_newer() {
    let rig = Rig::new();
    let [s1, s2, s3] = ["s1", "s2", "s3"].map(name);
    // What somebody says who is not linked, or before that, counts for nothing.
    nothing_newer(&rig, &s1);
    for who in [&s1, &s2, &s3] {
        assert!(!rig.desk.core().is_level());
        rig.desk.connected(who);
        nothing_newer(&rig, who);
    }
    assert!(rig.desk.core().is_level());
    rig.desk.disconnected(&s2);
    assert!(!rig.desk.core().is_level());
}

/// A clerk whose node does not answer.
fn clerk(rig: &Rig) -> Clerk {
    let setting = Setting {
        directory: rig.directory.path().to_owned(),
        asset: rig.asset.clone(),
        alarm: None,
        consolidator: None,
        deposits: deposits::Settings::default(),
    };
    // Nobody listens there.
    let node = Client::new("127.0.0.1:1".parse().unwrap(), "cookie");
    Clerk::new(Arc::clone(&rig.desk), rig.books.clone(), node, setting).unwrap()
}

#[test]
fn nothing_is_looked_at_before_the_log_is_level() {
    let rig = Rig::new();
    let mut clerk = clerk(&rig);
    clerk.turn(true).unwrap();
    let status = |rig: &Rig| rig.desk.core().published.followed.clone().unwrap();
    assert_eq!(status(&rig).node, "the log is being fetched from the co-signers");
    assert!(!status(&rig).following);
    rig.desk.core().level.extend(["s1", "s2", "s3"].map(name));
    let asked = clerk.turn(true).unwrap_err();
    assert!(matches!(asked, ClerkError::Node(_)), "{asked}");
}

#[test]
fn dates_of_recovery_are_watched_whether_or_not_the_node_answers() {
    let rig = Rig::new();
    let mut clerk = clerk(&rig);
    let mut copy = Copy::new(rig.state());
    copy.add("alice", rig.now, What::Set(set(1, rig.now)));
    clerk.shelf().publish(rig.state(), rig.now, &copy.entries).unwrap();
    rig.desk.core().level.extend(["s1", "s2", "s3"].map(name));
    assert!(matches!(clerk.turn(true), Err(ClerkError::Node(_))));
    let failed = rig.books.records(RecordKind::RecoveryRow, "failed").unwrap();
    assert_eq!(failed.len(), 2, "no document was reviewed");
    assert_eq!(rig.desk.core().published.recovery.len(), 2);
}

#[test]
fn under_rule_set_1_the_books_gate_nothing() {
    let open = |genesis| {
        let rig = Rig::with(genesis, &[], &[]);
        rig.desk.core().funded = Some(Arc::default());
        let gate = rig.desk.core().gate();
        gate.is_none()
    };
    assert!(open(fixtures::genesis()));
    assert!(!open(fixtures::newest()));
}

#[test]
fn empty_books_under_a_log_with_payments_are_refused_whatever_callers_wrote() {
    let mut rig = Rig::new();
    let other = format!("sqlite:{}", rig.directory.path().join("other.db").display());
    let books = rig.books.wait(ledger::Books::open(&other)).unwrap();
    let books = Blocking::new(books, rig.books.runtime());
    assert!(judge_books(&At { books: &books, ..rig.at() }).is_ok(), "nothing was paid yet");
    let coin = rig.world.coin(1_000_000);
    let request = rig.world.request(&[("acme", 400_000)]);
    let request = rig.world.asked(request);
    let draft = rig.world.draft(&[request], &[coin], 1_000);
    rig.world.pay(&[request], &draft).unwrap();
    let judged = |books: &Blocking| judge_books(&At { books, ..rig.at() });
    assert!(judged(&rig.books).is_ok(), "these have their wallets");
    let refused = |books: &Blocking| judged(books).unwrap_err().to_string();
    assert!(refused(&books).contains("restore the database"));
    let key = RecordChange {
        kind: RecordKind::IdempotencyKey,
        id: "key".into(),
        expect: 0,
        state: "answered".into(),
        client: None,
        external_id: None,
        at: 1,
        body: serde_json::json!({}),
    };
    books.commit(Posting { transfers: Vec::new(), records: vec![key] }).unwrap();
    assert!(refused(&books).contains("restore the database"));
}

#[test]
fn what_the_books_refuse_for_one_request_stops_no_other() {
    // In the log the wallet may hold the house's coins; in the books it was declared when it might not.
    let mut rig = Rig::new();
    rig.world = World::with(fixtures::newest(), Model::TwoP);
    rig.world.adopt(fixtures::client("acme"));
    let asked = |rig: &mut Rig, client: Option<&str>| {
        let mut request = rig.world.request(&[("acme", 400_000)]);
        request.client = client.map(name);
        rig.world.say("carol", Body::Request(request)).unwrap()
    };
    let mut ids = [asked(&mut rig, None), asked(&mut rig, Some("acme")), asked(&mut rig, None)];
    let funded = ids[1];
    ids.sort();
    let account = |owner: Owner| Account::new(owner, &name("main"), &rig.asset);
    let deposit = NewTransfer {
        id: "deposit".parse().unwrap(),
        movement: Movement::Posted {
            debit: account(Owner::External),
            credit: account(Owner::Client(name("acme"))),
            amount: ledger::Amount::new(10_000_000),
        },
        code: Code::Deposit,
        cause: String::new(),
    };
    rig.commit(vec![deposit]);
    let mut withdrawals = Withdrawals::default();
    withdrawals.turn(&rig.at(), &Deposits::default()).unwrap();
    let state = |id: &custody::Hash| {
        rig.books.record(RecordKind::Withdrawal, &id.to_string()).unwrap().unwrap().change.state
    };
    for id in &ids {
        assert_eq!(state(id), if *id == funded { "awaiting-approval" } else { "unfunded" });
    }
    let core = rig.desk.core();
    assert_eq!(core.funded.as_ref().unwrap().iter().collect::<Vec<_>>(), [&funded]);
}
