//! The register of recovery components: what goes in and out. What it takes is judged by the server
//! (`server/src/shelf/tests.rs`).

use api::{
    BODY_LIMIT_BYTES, Code, ENTRIES_BODY_LIMIT_BYTES, ENTRIES_LIMIT, ENTRIES_PAGE_BYTES, NotTaken, Recovery,
    RecoveryRow,
};
use custody::Hash;
use ledger::{DatabaseError, Posting, RecordChange, RecordKind};
use serde_json::{Value, json};

use crate::house::{Answer, Town};

const PATH: &str = "/v1/recovery/entries";

async fn publish(town: &Town, who: &str, entries: &[Value]) -> Answer {
    let body = json!({ "entries": entries });
    town.ask(who, "POST", PATH, &[], body.to_string().into_bytes()).await
}

fn register() -> Recovery {
    let row = RecoveryRow {
        id: "REC-09/1.2/paper/ab".into(),
        requirement: "REC-09".into(),
        set: Some(Hash([1; 32])),
        component: Some("1.2".into()),
        holder: Some("carol".into()),
        site: Some("north".into()),
        what: "whole on paper".into(),
        standing: "overdue".into(),
        due_at: Some(86_400),
        why: None,
        alarm: Some("recovery: REC-09 overdue".into()),
    };
    let fine = RecoveryRow { standing: "due".into(), alarm: None, ..row.clone() };
    Recovery { entries: 2, head: Hash([7; 32]), rows: vec![row, fine] }
}

#[tokio::test]
async fn the_register_and_its_rows_are_told() {
    let town = Town::new().await;
    *town.home.recovery.lock().unwrap() = Ok(register());
    let told = town.get("erp", "/v1/recovery").await.ok(200);
    assert_eq!((&told["entries"], &told["head"]), (&json!(2), &json!(Hash([7; 32]).to_string())));
    let row = &told["rows"][0];
    assert_eq!((&row["component"], &row["due_at"]), (&json!("1.2"), &json!("1970-01-02T00:00:00Z")));
    assert_eq!((&row["standing"], &row["alarm"]), (&json!("overdue"), &json!("recovery: REC-09 overdue")));
    // The status says what is wrong, and only that.
    let status = town.get("erp", "/v1/status").await.ok(200);
    let head = Hash([7; 32]).to_string();
    assert_eq!(
        status["recovery"],
        json!({"entries": 2, "head": head, "alarms": ["recovery: REC-09 overdue"]})
    );
    // A register that cannot be read takes nothing else away.
    *town.home.recovery.lock().unwrap() = Err(NotTaken::Unreadable("entry 1: no key".into()));
    let status = town.get("erp", "/v1/status").await.ok(200);
    assert_eq!(status["recovery"], json!({"entries": null, "head": null, "alarms": ["entry 1: no key"]}));
    *town.home.recovery.lock().unwrap() = Err(NotTaken::Books(DatabaseError::Closed));
    town.get("erp", "/v1/status").await.problem(Code::BooksUnavailable);
}

#[tokio::test]
async fn people_publish_and_nobody_else() {
    let town = Town::new().await;
    *town.home.recovery.lock().unwrap() = Ok(register());
    let entries = [json!({"entry": {"number": 1}}), json!({"entry": {"number": 2}})];
    let answer = publish(&town, "dave", &entries).await.ok(200);
    assert_eq!(answer, json!({"entries": 2, "head": Hash([7; 32]).to_string()}));
    for machine in ["erp", "gate", "watcher"] {
        publish(&town, machine, &entries).await.problem(Code::CallerPerson);
    }
    assert_eq!(*town.home.published.lock().unwrap(), [entries.to_vec()]);
}

#[tokio::test]
async fn what_the_register_does_not_take_is_a_problem() {
    let town = Town::new().await;
    let (here, sent) = (Hash([1; 32]), Hash([2; 32]));
    for (why, code, words) in [
        (
            NotTaken::Other { number: 4, here, sent },
            Code::RecoveryFork,
            format!("entry 4 is {here} here, and {sent}"),
        ),
        (NotTaken::Gap(3), Code::RecoveryGap, "3 entries are here: send from number 4 on".to_owned()),
        (NotTaken::Refused("entry 4: wrong".into()), Code::RecoveryRefused, "entry 4: wrong".to_owned()),
        (NotTaken::Unreadable("no key".into()), Code::RecoveryUnreadable, "no key".to_owned()),
        (NotTaken::Books(DatabaseError::Closed), Code::BooksUnavailable, "closed".to_owned()),
    ] {
        *town.home.recovery.lock().unwrap() = Err(why.clone());
        let problem = publish(&town, "alice", &[json!({})]).await.problem(code);
        assert!(problem["detail"].as_str().unwrap().contains(&words), "{problem}");
        town.get("alice", "/v1/recovery").await.problem(code);
    }
}

#[tokio::test]
async fn a_publication_on_both_sides_of_its_limits() {
    let town = Town::new().await;
    publish(&town, "alice", &vec![json!({}); ENTRIES_LIMIT]).await.ok(200);
    for count in [0, ENTRIES_LIMIT + 1] {
        let problem = publish(&town, "alice", &vec![json!({}); count]).await.problem(Code::BodyInvalid);
        assert!(
            problem["detail"].as_str().unwrap().contains(&format!("{count} entries were sent")),
            "{problem}"
        );
    }
    let padded = |length: usize| {
        let mut body = br#"{"entries":[{}]}"#.to_vec();
        body.resize(length, b' ');
        body
    };
    const { assert!(ENTRIES_BODY_LIMIT_BYTES > BODY_LIMIT_BYTES) };
    town.ask("alice", "POST", PATH, &[], padded(ENTRIES_BODY_LIMIT_BYTES)).await.ok(200);
    let long = padded(ENTRIES_BODY_LIMIT_BYTES + 1);
    let problem = town.ask("alice", "POST", PATH, &[], long).await.problem(Code::BodyTooLarge);
    assert!(problem["detail"].as_str().unwrap().contains(&ENTRIES_BODY_LIMIT_BYTES.to_string()));
    let other = town.ask("alice", "POST", PATH, &[], br#"{"entries":[{}],"size":1}"#.to_vec()).await;
    other.problem(Code::BodyUnknownField);
    assert_eq!(town.home.published.lock().unwrap().len(), 2);
}

/// Puts an entry into the books as the server does.
async fn enter(town: &Town, number: u64, body: Value) {
    let change = RecordChange {
        kind: RecordKind::RecoveryEntry,
        id: number.to_string(),
        expect: 0,
        state: "entered".into(),
        client: None,
        external_id: None,
        at: number,
        body,
    };
    town.home.books.commit(Posting { transfers: vec![], records: vec![change] }).await.unwrap();
}

#[tokio::test]
async fn entries_are_listed_in_order_and_in_pages_that_fit_a_frame() {
    let town = Town::new().await;
    let long = "x".repeat(60_000);
    for number in 1..=40 {
        enter(&town, number, json!({"entry": {"number": number, "text": long}})).await;
    }
    let pages = async |limit: &str| {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = town.get("alice", &format!("{PATH}?{limit}{cursor}")).await;
            let bytes = page.text.len();
            let page = page.ok(200);
            let items = page["items"].as_array().unwrap().clone();
            pages.push((items, bytes));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return pages,
            }
        }
    };
    for limit in ["", "limit=3", "limit=200"] {
        let pages = pages(limit).await;
        let numbers: Vec<u64> = pages
            .iter()
            .flat_map(|(items, _)| items)
            .map(|item| item["entry"]["number"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>(), "{limit}");
        for (_, bytes) in &pages {
            assert!(*bytes < ENTRIES_PAGE_BYTES + 70_000, "{bytes}");
        }
        assert!(pages.len() > 2 && (limit != "limit=3" || pages.len() >= 14), "{}", pages.len());
    }
    town.get("alice", &format!("{PATH}?size=1")).await.problem(Code::QueryUnknownField);
}
