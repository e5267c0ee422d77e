//! A link that comes up while secrets are in the machine, in a network namespace of its own. Needs `unshare`
//! (util-linux), `mount` and `ip` (iproute2).

use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use ceremony::room::FindingKind;
use ceremony::script::{Afterwards, Kind};
use ceremony_tui::rehearsal::Asked;

use crate::common::Room;
use crate::{aborted, children, nothing, program, said};

/// By when a worker is gone, at the latest: a loaded machine included.
const GONE: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let line = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{line}: {error}; install util-linux and iproute2"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!(
            "{line}: {}{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

#[test]
fn a_link_that_comes_up_erases_and_aborts() {
    in_a_namespace("network::while_there_are_secrets");
}

#[test]
fn a_link_that_came_up_after_the_inspection_erases_and_aborts() {
    in_a_namespace("network::before_there_are_secrets");
}

/// Runs a test of this file in a network namespace of its own.
fn in_a_namespace(test: &str) {
    let this = std::env::current_exe().unwrap();
    let inside = ["--", this.to_str().unwrap(), "--ignored", "--exact", test, "--nocapture"];
    let root = run("id", &["-u"]).unwrap().stdout.starts_with(b"0\n");
    let alone: &[&str] = if root { &["-n", "-m"] } else { &["-r", "-n", "-m"] };
    let told = run("unshare", &[alone, &inside].concat()).unwrap_or_else(|error| panic!("{error}"));
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("1 passed"), "{told}");
}

fn ip(arguments: &str) -> Result<Output, String> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

/// A network card of the namespace, without a link.
fn cable() {
    // Of the network, /sys shows the namespace in which it was mounted.
    run("mount", &["-t", "sysfs", "none", "/sys"]).unwrap();
    ip("link add cable type dummy").or_else(|_| ip("link add cable type veth peer name plug")).unwrap();
}

/// The watch begins before the first container is opened, not when its words come.
#[test]
#[ignore = "a test above runs it in a namespace of its own"]
fn before_there_are_secrets() {
    cable();
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let made = table.hold(program(), "generation", script, &nothing()).unwrap();
    let held = made.held(&["1.1", "1.2"], Afterwards::Returned).unwrap();
    let script = table.script(Kind::Drill, Some(held)).unwrap();
    let mut twist = |asked: &Asked<'_>| {
        if (asked.step, asked.id) == ("open-1.1", "seal") {
            assert_eq!(children(asked.process).len(), 1, "nobody watches");
            ip("link set cable up").unwrap();
            let since = Instant::now();
            while !children(asked.process).is_empty() {
                assert!(since.elapsed() < GONE, "the worker still runs");
                thread::sleep(Duration::from_millis(50));
            }
        }
        None
    };
    let left = table.play(program(), "drill", script, &made.sheets, &mut twist).unwrap();
    assert!(said(&left, "Something came up in the machine"), "{:?}", left.said);
    aborted(&room, &left, "cable is up");
}

#[test]
#[ignore = "a test above runs it in a namespace of its own"]
fn while_there_are_secrets() {
    cable();

    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let mut up = false;
    let mut twist = |asked: &Asked<'_>| {
        if (asked.step, asked.id) == ("print-1.2", "alone") {
            assert_eq!(children(asked.process).len(), 1, "there are secrets");
            ip("link set cable up").unwrap();
            up = true;
            let since = Instant::now();
            // While people still look at the question, before anybody answers.
            while !children(asked.process).is_empty() {
                assert!(since.elapsed() < GONE, "the worker still runs");
                thread::sleep(Duration::from_millis(50));
            }
        }
        None
    };
    let left = table.play(program(), "link", script, &nothing(), &mut twist).unwrap();
    assert!(up);
    assert!(said(&left, "Something came up in the machine"), "{:?}", left.said);
    aborted(&room, &left, "cable is up");
    let report = left.report().unwrap().report;
    let link = report.findings.iter().find(|found| found.finding.kind == FindingKind::NetworkLink);
    assert_eq!(link.unwrap().step, "print-1.2");
}
