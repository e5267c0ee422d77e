//! A real co-signer that counts what it writes in a TPM, and old copies of its disk (P12).

#[path = "../../signer/tests/rollback/swtpm.rs"]
mod swtpm;

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use custody::Hash;
use custody::genesis::Genesis;
use custody::rule_set::NEWEST;
use custody::statement::Body;
use fixtures::{newest, policy_of, rule};
use signer::cosigner::FRESH_S;
use sim::attacker::Scene;
use sim::processes::{program, secret};
use sim::relay::Town;
use swtpm::Tpm;

/// What does not come within this time does not come.
const SILENCE: Duration = Duration::from_secs(2);

/// What must happen happens within this time.
const END_LIMIT: Duration = Duration::from_secs(60);

fn height(scene: &Scene) -> u64 {
    scene.server.view(|v| v.state.clock().height)
}

/// Puts a statement into the log.
fn one_more(scene: &mut Scene) {
    let request = scene.world.request(&[("acme", 50_000)]);
    scene.say("carol", Body::Request(request)).unwrap();
}

/// Starts s1 again.
fn restart(scene: &mut Scene, arguments: &[&str]) {
    scene.server.settle();
    if scene.signers.runs("s1") {
        scene.kill("s1");
    }
    scene.start("s1", arguments);
}

/// Whether s1 said at its last start that its disk is an older copy.
fn noticed(scene: &Scene) -> bool {
    let said = scene.signers.said("s1");
    said.contains("the counter has gone on without it; starting as with --restored")
}

/// Whether s1 begins a session with s3 under this number within a time: then its first frame leaves.
fn begins(scene: &Scene, authorisation: Hash, attempt: u32, limit: Duration) -> bool {
    let frames = scene.server.keep("frame");
    scene.order_one("s1", authorisation, ["s1", "s3"], attempt);
    let until = Instant::now() + limit;
    let left = || frames.lock().unwrap().iter().any(|letter| letter.from == "s1");
    while !left() && Instant::now() < until {
        sleep(Duration::from_millis(20));
    }
    scene.server.honest();
    left()
}

/// Lets s1 and s3 sign. Returns the number of their session.
fn signed(scene: &mut Scene, authorisation: Hash) -> u32 {
    let mark = scene.server.mark();
    let attempt = scene.order(authorisation, ["s1", "s3"]);
    assert!(scene.result(mark, authorisation).is_ok());
    scene.server.settle();
    attempt
}

/// What is on the disk of s1 from the moment before it signed with s3, and under which number that was.
fn before_a_session(scene: &mut Scene, arguments: &[&str], authorisation: Hash) -> (PathBuf, u32) {
    restart(scene, arguments);
    scene.sign(authorisation, ["s1", "s2"]).unwrap();
    scene.server.settle();
    scene.kill("s1");
    let old = scene.signers.save("s1", "old");
    scene.start("s1", arguments);
    let attempt = signed(scene, authorisation);
    assert!(!begins(scene, authorisation, attempt, SILENCE), "that number is used up");
    (old, attempt)
}

/// No height comes between the copy and its return: nobody can show this co-signer a vote that it lacks.
#[test]
fn a_disk_that_was_put_back_is_noticed_by_its_counter() {
    let tpm = Tpm::new();
    let socket = tpm.socket();
    let counted = ["--tpm", socket.to_str().unwrap()];
    let mut scene = Scene::ready();
    let authorisation = scene.paid(100_000).authorisation;
    // The twin, without a counter: a number is used twice.
    let (old, attempt) = before_a_session(&mut scene, &[], authorisation);
    scene.kill("s1");
    scene.signers.restore("s1", &old);
    scene.start("s1", &[]);
    assert!(begins(&scene, authorisation, attempt, END_LIMIT));

    // It begins to count, and votes and signs at once: nothing was ever counted.
    restart(&mut scene, &counted);
    assert!(!noticed(&scene));
    one_more(&mut scene);
    let (old, attempt) = before_a_session(&mut scene, &counted, authorisation);
    assert!(!noticed(&scene), "the newest disk is as good as ever");
    scene.kill("s1");
    scene.signers.restore("s1", &old);
    let said = scene.signers.refuses_with("s1", &[]);
    assert!(said.contains("this directory is counted in a TPM"), "{said}");
    // The others begin heights for it as soon as it asks.
    let before = height(&scene);
    scene.start("s1", &counted);
    assert!(noticed(&scene));
    assert!(!begins(&scene, authorisation, attempt, SILENCE));
    // Killed, it has not forgotten that it is to rejoin.
    restart(&mut scene, &counted);
    assert!(!noticed(&scene));
    assert!(!begins(&scene, authorisation, attempt, SILENCE));

    let mark = scene.server.mark();
    scene.order(authorisation, ["s1", "s3"]);
    while scene.result_within(SILENCE, mark, authorisation).is_none() {
        assert!(height(&scene) <= before + 8, "not back at height {}", height(&scene));
        one_more(&mut scene);
    }
    assert!(height(&scene) >= before + 2, "released at height {}, shown was {before}", height(&scene));
    let before = height(&scene);
    restart(&mut scene, &counted);
    signed(&mut scene, authorisation);
    assert!(height(&scene) < before + 2, "it has rejoined, and starts as ever");
}

#[test]
fn a_tpm_that_goes_away_ends_the_co_signer_before_it_says_more() {
    let mut tpm = Tpm::new();
    let socket = tpm.socket();
    let counted = ["--tpm", socket.to_str().unwrap()];
    let mut scene = Scene::ready();
    restart(&mut scene, &counted);
    one_more(&mut scene);
    scene.server.settle();
    let process = scene.signers.id("s1");
    tpm.stop();
    let before = scene.server.view(|v| v.heights.get("s1").copied());
    let others = height(&scene);
    one_more(&mut scene);
    assert_eq!(height(&scene), others + 1, "three of four go on");
    // proc_pid_stat(5): the state follows the name, which ends with ")".
    let ended = || {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('Z')
    };
    let until = Instant::now() + END_LIMIT;
    while !ended() {
        assert!(Instant::now() < until, "it runs without its counter");
        sleep(Duration::from_millis(20));
    }
    let said = scene.signers.said("s1");
    assert!(said.contains("TPM2_NV_Increment at the TPM"), "{said}");
    assert_eq!(scene.server.view(|v| v.heights.get("s1").copied()), before, "it spoke of no further head");

    // Back again, it goes on as it was.
    tpm.start();
    scene.kill("s1");
    scene.start("s1", &counted);
    assert!(!noticed(&scene));
    one_more(&mut scene);
    let newest = height(&scene);
    scene.server.wait("s1 at the newest height", |v| v.heights.get("s1").filter(|h| **h >= newest).copied());
}

/// A service that is started again and again because its port is taken must not wear the counter.
#[test]
fn a_start_that_cannot_listen_counts_nothing() {
    let tpm = Tpm::new();
    let socket = tpm.socket();
    let counted = ["--tpm", socket.to_str().unwrap()];
    let mut scene = Scene::ready();
    restart(&mut scene, &counted);
    scene.server.settle();
    scene.kill("s1");
    let before = tpm.count();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (data, genesis) = (scene.signers.data("s1"), scene.world.state.genesis_hash().to_string());
    let mut command = Command::new(program());
    command.arg("run").arg("--dir").arg(&data).arg("--genesis").arg(data.with_file_name("genesis.json"));
    command.args(["--genesis-hash", &genesis, "--listen", &taken.local_addr().unwrap().to_string()]);
    command.args(["--secret-fd", "0"]).args(counted).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&secret("s1")).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Address already in use"), "{said}");
    assert_eq!(tpm.count(), before);
    // The twin: one that listens.
    scene.start("s1", &counted);
    scene.kill("s1");
    assert!(tpm.count() > before);
}

/// P14: every co-signer writes down each height, and counts what it writes.
#[test]
fn orders_to_sign_what_cannot_be_signed_make_no_heights() {
    let mut town = Town::new(Genesis { policy: policy_of(NEWEST, &[rule()], 0), ..newest() }, false);
    town.open();
    let request = town.asked("acme", 100_000, 600);
    let coin = town.coin(101_000);
    let authorisation = town.pay_from(request, coin, 1_000).unwrap();
    let pair = ["s1", "s2"];
    let height = |town: &Town| town.state().clock().height;
    let idle = |town: &mut Town, s: u64| {
        let before = height(town);
        town.cluster.run(s * 1_000, |_| false);
        before
    };
    idle(&mut town, FRESH_S + 5);
    for made_up in [1, 2, 3] {
        town.sign(Hash([made_up; 32]), pair);
        assert_eq!(idle(&mut town, 10), height(&town), "a height for nothing");
        assert!(town.cluster.refusals().is_empty(), "it may come with the next head");
    }
    // The twin: a head is made for what can be signed.
    let before = height(&town);
    town.sign(authorisation, pair);
    assert!(town.cluster.run(10_000, |c| c.signature().is_some()));
    assert!(height(&town) > before);
    // What has ended can not, and is refused under the old head.
    idle(&mut town, 700);
    let before = height(&town);
    assert_eq!(town.signed(authorisation, pair), Err(vec!["P20.ended".to_owned(); 2]));
    idle(&mut town, 10);
    assert_eq!(height(&town), before);
}
