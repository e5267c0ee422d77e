//! News of the best block, from a real node and from one that misbehaves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixtures::name;
use serde_json::{Value, json};

use super::super::tip::Tip;
use super::rig::{Engine, Rig};
use crate::clerk::POLL;
use crate::node::Client;

/// Longer than any test: what comes before comes of a block.
const LONG: Duration = Duration::from_secs(600);

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed().as_secs() < 90, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn news_comes_with_each_block_and_each_reorganisation() {
    let mut rig = Rig::start(Engine::Sqlite);
    let (tip, _) = Tip::waiting(&rig.desk, rig.node.rpc(), LONG);
    let asked = |rig: &Rig| {
        until("the node is not asked", || {
            let info: Value = rig.node.rpc().call("getrpcinfo", json!([])).unwrap();
            info["active_commands"].as_array().unwrap().iter().any(|call| call["method"] == "waitfornewblock")
        });
    };
    rig.desk.core().clerk_woken = false;
    asked(&rig);
    assert!(!tip.has_news());
    rig.mine(1);
    until("a block makes no news", || tip.has_news());
    assert!(rig.desk.core().clerk_woken, "the clerk does not sleep on");
    assert!(!tip.has_news(), "news is news once");
    asked(&rig);
    rig.invalidate(1);
    until("a reorganisation makes no news", || tip.has_news());
}

/// A clerk who asks the node by himself once in ten minutes takes up each block at once.
#[test]
fn the_clerk_is_woken_by_a_block() {
    let rig = Rig::start(Engine::Sqlite);
    rig.desk.core().level.extend(["s1", "s2", "s3"].map(name));
    let clerk = rig.clerk();
    // It ends with the tests.
    thread::spawn(move || clerk.run_every(LONG));
    let followed = |height| {
        let core = rig.desk.core();
        core.published.followed.as_ref().is_some_and(|at| at.following && at.height == Some(height))
    };
    let begun = rig.tip();
    until("the chain is not followed", || followed(begun));
    for block in 1..=2 {
        rig.mine(1);
        until("a block wakes nobody", || followed(begun + block));
    }
}

/// What a node does with the next question.
#[derive(Clone, Copy)]
enum Answer {
    HangUp,
    Busy,
    /// It says nothing, and holds the connection.
    Nothing,
    /// The best block, at once.
    Best(&'static str),
}

/// A node that answers as it is told, the last way for ever, and how often it was asked.
fn node(answers: &'static [Answer]) -> (Client, tempfile::TempDir, Arc<AtomicUsize>) {
    let directory = tempfile::tempdir().unwrap();
    let cookie = directory.path().join(".cookie");
    std::fs::write(&cookie, "__cookie__:x").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(listener.local_addr().unwrap(), cookie);
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            let n = asked.fetch_add(1, Ordering::SeqCst);
            match answers[n.min(answers.len() - 1)] {
                Answer::HangUp => {}
                Answer::Busy => reply(stream, "503 Service Unavailable", |_| json!("busy")),
                Answer::Nothing => held.push(stream),
                Answer::Best(hash) => {
                    let best = json!({"hash": hash, "height": 1});
                    reply(stream, "200 OK", |id| json!({"result": best, "error": null, "id": id}));
                }
            }
        }
    });
    (client, directory, count)
}

fn reply(mut stream: TcpStream, status: &str, body: impl FnOnce(&Value) -> Value) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        let lower = line.to_ascii_lowercase();
        length = lower.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
        line.clear();
    }
    let mut asked = vec![0; length];
    reader.read_exact(&mut asked).unwrap();
    let asked: Value = serde_json::from_slice(&asked).unwrap();
    assert_eq!(asked["method"], "waitfornewblock");
    let body = body(&asked["id"]).to_string();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

#[test]
fn a_node_that_is_gone_busy_or_silent_is_asked_again() {
    let rig = Rig::start(Engine::Sqlite);
    let (client, _directory, asked) = node(&[
        Answer::HangUp,
        Answer::Busy,
        Answer::Nothing,
        Answer::Best("aa"),
        Answer::Best("aa"),
        Answer::Best("bb"),
    ]);
    let begun = Instant::now();
    let (tip, _) = Tip::waiting(&rig.desk, &client, Duration::from_millis(10));
    until("no news after failures", || tip.has_news());
    assert!(asked.load(Ordering::SeqCst) >= 4);
    assert!(begun.elapsed() >= 3 * POLL, "it is not asked in a loop");
    until("no news of the next block", || tip.has_news());
    assert!(asked.load(Ordering::SeqCst) >= 6, "the same block again is no news");
}

#[test]
fn a_node_that_does_not_wait_is_asked_once_a_second() {
    let rig = Rig::start(Engine::Sqlite);
    let (client, _directory, asked) = node(&[Answer::Best("aa")]);
    let begun = Instant::now();
    let (_tip, _) = Tip::waiting(&rig.desk, &client, LONG);
    until("it is asked no more", || asked.load(Ordering::SeqCst) >= 4);
    assert!(begun.elapsed() >= 2 * POLL);
}

#[test]
fn the_thread_ends_with_its_clerk() {
    let mut rig = Rig::start(Engine::Sqlite);
    for answer in [&[Answer::Best("aa")][..], &[Answer::HangUp], &[Answer::Nothing]] {
        // The second and third clerk have a node that is gone.
        let (client, _directory, asked) = node(answer);
        let (tip, thread) = Tip::waiting(&rig.desk, &client, Duration::from_millis(10));
        until("it is not asked", || asked.load(Ordering::SeqCst) > 0);
        drop(tip);
        let thread = thread.unwrap();
        until("the thread goes on without a clerk", || thread.is_finished());
    }
    // A stopped node lets go of who waits at it.
    let (tip, thread) = Tip::waiting(&rig.desk, rig.node.rpc(), Duration::from_millis(100));
    until("no news", || tip.has_news());
    rig.node.stop();
    drop(tip);
    let thread = thread.unwrap();
    until("the thread goes on without a node", || thread.is_finished());
}
