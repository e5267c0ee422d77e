//! The checks of the room on recorded machines, on files, on this machine, and in a network namespace.

#[path = "room/namespace.rs"]
mod namespace;
#[path = "room/packages.rs"]
mod packages;
#[path = "room/recorded.rs"]
mod recorded;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ceremony::room::{
    CLOCK_EARLIEST_S, CLOCK_LATEST_S, Finding, FindingKind, LIST_LIMIT_ENTRIES, READ_LIMIT_BYTES, Room, Root,
    TEXT_LIMIT_CHARS, Tree, Watch, inspect,
};
use custody::Hash;
use recorded::{Recorded, expected, text};

/// A time at which a ceremony may be.
const NOW: u64 = 1_780_000_000;

fn look(tree: &dyn Tree) -> Room {
    inspect(tree, NOW, Hash([7; 32]))
}

/// The findings as the trees write them.
fn found(room: &Room) -> Vec<String> {
    room.findings.iter().map(|finding| format!("{}: {}", finding.kind, finding.detail)).collect()
}

fn trees() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/room");
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".tree") && name != "laptop.tree").collect()
}

#[test]
fn a_clean_laptop_has_no_findings_and_says_what_it_is() {
    let room = look(&Recorded::laptop());
    assert_eq!(found(&room), [""; 0]);
    let facts = &room.facts;
    assert_eq!((facts.at, facts.synchronised, facts.program), (NOW, false, Hash([7; 32])));
    assert_eq!(facts.os, "Debian GNU/Linux 12 (bookworm)");
    assert_eq!(facts.kernel, "6.1.0-28-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)");
    assert_eq!(
        (facts.cpu.as_str(), facts.microcode.as_slice()),
        ("Example(R) Processor 1135", &["0xb8".to_owned()][..])
    );
    assert_eq!(facts.firmware, "Example Firmware 1.07 03/14/2025");
    assert_eq!(facts.product, "Example Devices Notebook 14 A2");
    assert_eq!(facts.serial, "EX-0001-0042");
    assert_eq!(facts.tpm, ["tpm0 2"]);
    assert_eq!(facts.mounts, ["/dev/loop0 on /run/live/rootfs/filesystem.squashfs (squashfs, ro)"]);
    let interfaces: Vec<_> =
        facts.interfaces.iter().map(|i| (i.name.as_str(), i.loopback, i.wireless)).collect();
    assert_eq!(interfaces, [("eth0", false, false), ("lo", true, false)]);
    assert_eq!(facts.interfaces[0].carrier_up_count, Some(0));
}

/// Each dirty machine gives exactly the findings that its text lists, and together they give every kind that the
/// program finds by itself.
#[test]
fn dirty_machines_give_their_findings_and_no_others() {
    let mut kinds = BTreeSet::new();
    for name in trees() {
        let changes = text(&name);
        let room = look(&Recorded::laptop().with(&changes));
        let mut expected = expected(&changes);
        let mut found = found(&room);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{name}");
        kinds.extend(room.findings.iter().map(|finding| finding.kind));
    }
    // No list of packages is tested beside it; hardware and seals are found by people.
    let others = [FindingKind::Software, FindingKind::Hardware, FindingKind::Seal];
    let all: BTreeSet<_> = FindingKind::ALL.into_iter().filter(|kind| !others.contains(kind)).collect();
    assert_eq!(kinds, all);
    let radio = look(&Recorded::laptop().with(&text("radio.tree")));
    assert!(radio.facts.interfaces.iter().any(|i| i.name == "wlan0" && i.wireless));
}

/// Doubt is a finding: whatever path the checks ask for, not being allowed to read it is one, other than for the
/// few that only describe.
#[test]
fn what_cannot_be_read_is_a_finding() {
    let only_describe = [
        "/etc/os-release", // named by its own finding below
        "/sys/class/tpm",
        "/sys/class/tpm/tpm0/tpm_version_major",
        "/sys/class/dmi/id/product_version",
        "/sys/class/dmi/id/bios_date",
        "/proc/sys/kernel/version",
        // The kernel does not say whether an interface that is down has a carrier.
        "/sys/class/net/eth0/carrier",
        "/sys/class/net/eth0/carrier_up_count",
        "/sys/class/net/eth0/wireless",
        "/sys/class/net/eth0/phy80211",
        "/sys/class/net/lo/carrier",
        "/sys/class/net/lo/carrier_up_count",
        "/sys/class/net/lo/wireless",
        "/sys/class/net/lo/phy80211",
    ];
    let clean = Recorded::laptop();
    look(&clean);
    let asked = clean.asked();
    assert!(asked.len() > 50, "{asked:?}");
    for path in &asked {
        let room = look(&Recorded::laptop().with(&format!("- {path}\n! {path}")));
        let silent = room.findings.is_empty();
        assert_eq!(silent, only_describe[1..].contains(&path.as_str()), "{path}: {:?}", room.findings);
    }
    // Each of the list was asked for: it names nothing that is not so.
    for path in only_describe {
        assert!(asked.iter().any(|asked| asked == path), "{path}");
    }
    let room = look(&Recorded::laptop().with("! /etc/os-release"));
    assert_eq!(found(&room), ["identity: /etc/os-release names no system"]);
}

/// What every machine has must be there; a machine without `/proc` or `/sys` rules nothing out.
#[test]
fn what_is_missing_is_a_finding() {
    for (path, kind) in [
        ("/proc/swaps", FindingKind::Swap),
        ("/proc/sys/kernel/core_pattern", FindingKind::CoreDumps),
        ("/proc/self/limits", FindingKind::CoreDumps),
        ("/proc/self/mountinfo", FindingKind::Mount),
        ("/proc/cpuinfo", FindingKind::Hypervisor),
        ("/proc/net/route", FindingKind::Route),
        ("/proc/self/ns/net", FindingKind::Namespace),
        ("/proc/self/ns/pid", FindingKind::Namespace),
        ("/proc/1/ns/mnt", FindingKind::Namespace),
        ("/sys/class/net/eth0/flags", FindingKind::NetworkLink),
        ("/sys/block", FindingKind::Media),
        ("/sys/block/sda/size", FindingKind::Media),
        ("/sys/block/nvme0n1/removable", FindingKind::Media),
    ] {
        let room = look(&Recorded::laptop().with(&format!("- {path}")));
        let kinds: Vec<_> = room.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [kind], "{path}");
    }
    let kinds: BTreeSet<_> = look(&Recorded::default()).findings.iter().map(|f| f.kind).collect();
    let wanted = [
        FindingKind::CoreDumps,
        FindingKind::Hypervisor,
        FindingKind::Identity,
        FindingKind::Media,
        FindingKind::Mount,
        FindingKind::Namespace,
        FindingKind::NetworkLink,
        FindingKind::Route,
        FindingKind::Swap,
    ];
    assert_eq!(kinds, BTreeSet::from(wanted));
}

#[test]
fn the_clock_must_show_a_time_that_can_be() {
    let at = |now| found(&inspect(&Recorded::laptop(), now, Hash::default()));
    assert_eq!(at(CLOCK_EARLIEST_S - 1), ["clock: it shows a time before 2026"]);
    assert_eq!(at(CLOCK_EARLIEST_S), [""; 0]);
    assert_eq!(at(CLOCK_LATEST_S - 1), [""; 0]);
    assert_eq!(at(CLOCK_LATEST_S), ["clock: it shows a time after 2099"]);
    // Second by second it is the same finding, so that a watch does not take it for a new one.
    assert_eq!(at(5), at(6));
}

/// What came up since, and only that.
#[test]
fn a_watch_tells_what_came_up() {
    for name in trees() {
        let dirty = || Recorded::laptop().with(&text(&name));
        let changes = Watch::baseline(look(&Recorded::laptop())).changes(&look(&dirty()));
        for finding in look(&dirty()).findings {
            assert!(changes.contains(&finding), "{name}: {finding}");
        }
        // What was there before, and was admitted, is no change; nor is what went away.
        assert_eq!(Watch::baseline(look(&dirty())).changes(&look(&dirty())), [], "{name}");
        assert_eq!(Watch::baseline(look(&dirty())).changes(&look(&Recorded::laptop())), [], "{name}");
    }
}

#[test]
fn a_watch_sees_what_came_and_went_between_two_looks() {
    let counted = |count: &str| {
        look(&Recorded::laptop().with(&format!("@ /sys/class/net/eth0/carrier_up_count\n{count}")))
    };
    let watch = Watch::baseline(counted("2"));
    assert_eq!(watch.changes(&counted("2")), []);
    let changes = watch.changes(&counted("4"));
    assert_eq!(changes, [Finding::new(FindingKind::NetworkLink, "eth0 had a carrier meanwhile")]);
    // A driver that does not count says nothing; one that was not there before counts from 0.
    let uncounted = look(&Recorded::laptop().with("- /sys/class/net/eth0/carrier_up_count"));
    assert_eq!(watch.changes(&uncounted), []);
    assert_eq!(Watch::baseline(uncounted).changes(&counted("4")), []);
    // Another device under the name, or a driver that was loaded anew: it had a carrier, and counts less.
    assert_eq!(watch.changes(&counted("1")), changes);
    assert_eq!(watch.changes(&counted("0")), []);
    let plugged = |count: &str| {
        let text = "@ /sys/class/net/usb0/flags\n0x1002\n@ /sys/class/net/usb0/carrier_up_count\n";
        look(&Recorded::laptop().with(&format!("{text}{count}")))
    };
    assert_eq!(Watch::baseline(counted("0")).changes(&plugged("0")), []);
    assert_eq!(Watch::baseline(counted("0")).changes(&plugged("1")).len(), 1);
}

/// A medium that was exchanged for one that looks the same is another medium.
#[test]
fn a_watch_sees_a_medium_that_was_exchanged() {
    let room = |number: u8| {
        let medium = "@ /sys/block/sda/size\n60555264\n@ /sys/block/sda/diskseq\n";
        look(&Recorded::laptop().with(&format!("{medium}{number}")))
    };
    let watch = Watch::baseline(room(9));
    assert_eq!(watch.changes(&room(9)), []);
    assert_eq!(watch.changes(&room(10)), [Finding::new(FindingKind::Media, "sda, medium number 10")]);
}

/// A dump that goes to a program or a socket is not held back by any limit.
#[test]
fn dumps_that_are_taken_away_are_found() {
    for taker in ["|/usr/bin/take %p", "@/run/coredump.socket", "@@/run/coredump.socket"] {
        let room = look(&Recorded::laptop().with(&format!("@ /proc/sys/kernel/core_pattern\n{taker}")));
        assert_eq!(found(&room), [format!("core-dumps: they go to {taker}")]);
    }
}

/// A device that names itself cannot draw on a terminal or flood a report.
#[test]
fn texts_are_printable_and_short() {
    let of = |text: &str| Finding::new(FindingKind::Media, text).detail;
    assert_eq!(of("a\u{1b}[2Jb\nc\u{fc}"), "a?[2Jb?c?");
    assert_eq!(of(&"x".repeat(TEXT_LIMIT_CHARS)).len(), TEXT_LIMIT_CHARS);
    // Cleaned once, it stays as it is.
    let cut = of(&format!("{} y", "x".repeat(TEXT_LIMIT_CHARS - 1)));
    assert_eq!((of(&cut), cut.len()), (cut.clone(), TEXT_LIMIT_CHARS - 1));
    assert_eq!(of(&"x".repeat(TEXT_LIMIT_CHARS + 1)).len(), TEXT_LIMIT_CHARS);
    let noisy = format!("@ /sys/class/dmi/id/product_name\n\u{1b}[31mNotebook{}", "!".repeat(500));
    let facts = look(&Recorded::laptop().with(&noisy)).facts;
    assert!(
        facts.product.starts_with("Example Devices ?[31mNotebook!!")
            && facts.product.len() == TEXT_LIMIT_CHARS
    );
}

#[test]
fn kinds_say_what_why_and_what_to_do() {
    let mut names = BTreeSet::new();
    for kind in FindingKind::ALL {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        assert!(names.insert(kind.name()));
        for text in [kind.what(), kind.why(), kind.remedy()] {
            assert!(!text.is_empty() && text.is_ascii() && !text.ends_with('.'), "{kind}: {text}");
        }
        let known = |control: &&str| control.starts_with("GEN-") || control.starts_with("REC-");
        assert!(!kind.controls().is_empty() && kind.controls().iter().all(known), "{kind}");
    }
    let shown = Finding::new(FindingKind::Swap, "/dev/zram0").to_string();
    assert_eq!(shown, "swap in use (swap): /dev/zram0");
}

/// What a report keeps of a room can be read again.
#[test]
fn a_room_is_canonical_json() {
    for name in ["cable.tree", "media.tree", "nameless.tree"] {
        let room = look(&Recorded::laptop().with(&text(name)));
        let bytes = custody::canon::encode(&room).unwrap();
        assert_eq!(custody::canon::decode::<Room>(&bytes).unwrap(), room);
    }
}

#[test]
fn files_are_read_up_to_their_limits() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root(directory.path().to_owned());
    let at = |path: &str| directory.path().join(path);
    fs::create_dir_all(at("sys/many")).unwrap();
    let limit = usize::try_from(READ_LIMIT_BYTES).unwrap();
    fs::write(at("sys/limit"), vec![b'x'; limit]).unwrap();
    fs::write(at("sys/beyond"), vec![b'x'; limit + 1]).unwrap();
    assert_eq!(root.read("/sys/limit").unwrap().unwrap().len(), limit);
    assert!(root.read("/sys/beyond").is_err());
    for number in 0..LIST_LIMIT_ENTRIES {
        fs::write(at(&format!("sys/many/{number}")), "").unwrap();
    }
    assert_eq!(root.list("/sys/many").unwrap().unwrap().len(), LIST_LIMIT_ENTRIES);
    fs::write(at("sys/many/more"), "").unwrap();
    assert!(root.list("/sys/many").is_err());
    // What is not there is nothing; what is there and is something else is an error.
    std::os::unix::fs::symlink("../devices/x", at("sys/link")).unwrap();
    assert_eq!(root.link("/sys/link").unwrap().unwrap(), "../devices/x");
    assert_eq!(root.list("/sys").unwrap().unwrap(), ["beyond", "limit", "link", "many"]);
    assert!(root.read("/sys/absent").unwrap().is_none());
    assert!(root.list("/sys/absent").unwrap().is_none());
    assert!(root.link("/sys/absent").unwrap().is_none());
    assert!(root.read("/sys/many").is_err());
    assert!(root.list("/sys/limit").is_err());
    assert!(root.link("/sys/limit").is_err());
}

/// The machine that runs this test: whatever it is, its kernel is the one that says so.
#[test]
fn this_machine_can_be_looked_at() {
    let room = look(&Root(PathBuf::from("/")));
    let uname = std::process::Command::new("uname").arg("-r").output().unwrap();
    let release = String::from_utf8(uname.stdout).unwrap();
    assert!(room.facts.kernel.starts_with(release.trim()), "{}", room.facts.kernel);
    assert!(room.facts.interfaces.iter().any(|interface| interface.name == "lo" && interface.loopback));
    assert!(!room.findings.iter().any(|finding| finding.detail.starts_with("lo ")));
    // Nobody turned off what dumps this test, so one check at least has something to say here.
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let none = limits
        .lines()
        .any(|line| line.split_whitespace().eq(["Max", "core", "file", "size", "0", "0", "bytes"]));
    assert!(none || room.findings.iter().any(|finding| finding.kind == FindingKind::CoreDumps));
}
