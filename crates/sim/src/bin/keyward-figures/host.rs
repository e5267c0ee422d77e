//! The machine, the processes on it, and the sizes of things.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::report::fact;
use crate::{Failure, Runs};

/// The programs of the workspace.
const PROGRAMS: [&str; 4] = ["keyward", "keyward-signer", "keyward-ceremony", "keyward-server"];

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The file system that a directory is on, and its device.
fn file_system(directory: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let on = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, mount, kind) = (words.next()?, words.next()?, words.next()?);
        directory.starts_with(mount).then(|| (mount.len(), format!("{kind} on {device}")))
    });
    on.max().map(|(_, words)| words).unwrap_or_default()
}

/// Where, with what, and how often things are measured.
pub(crate) fn header(runs: Runs) {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
    let profile = if cfg!(debug_assertions) { "debug (opt-level 1, dependencies 3)" } else { "release" };
    println!("keyward-figures{}", if runs.quick { " --quick: only a look, not worth quoting" } else { "" });
    println!("  cpu       {cores} × {}", model.trim_start_matches([' ', '\t', ':']));
    println!("  kernel    {} {}", read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease"));
    println!("  data      {}", file_system(&std::env::temp_dir()));
    println!("  profile   {profile}");
    println!("  load      {} before", read("/proc/loadavg"));
}

/// Lets the peaks of memory begin anew: a co-signer has its largest when it unlocks its keys.
pub(crate) fn forget_peaks(processes: &[(String, u32)]) -> Result<(), Failure> {
    for (_, id) in processes {
        // proc(5): 5 resets the peak of resident memory.
        fs::write(format!("/proc/{id}/clear_refs"), "5")?;
    }
    Ok(())
}

/// The most memory that each process had resident since its start, or since peaks were forgotten.
pub(crate) fn memory(what: &str, processes: &[(String, u32)]) {
    let peak = |(name, id): &(String, u32)| {
        let status = read(&format!("/proc/{id}/status"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(format!("{name} {:.1} MB", kib * 1024.0 / 1e6))
    };
    fact(what, processes.iter().filter_map(peak).collect::<Vec<_>>().join(", "));
}

/// Processor time of a process so far, in ticks of 10 ms: what Linux tells to programs.
fn ticks(id: u32) -> Option<u64> {
    let stat = read(&format!("/proc/{id}/stat"));
    // The name before may hold spaces; user time and system time are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The processor time of processes that nobody asks anything.
pub(crate) fn idle(processes: &[(String, u32)], time: Duration) -> Result<(), Failure> {
    let all = || processes.iter().map(|(_, id)| ticks(*id)).collect::<Option<Vec<_>>>();
    let before = all().ok_or("a process is gone")?;
    thread::sleep(time);
    let after = all().ok_or("a process is gone")?;
    let used = processes.iter().zip(before.iter().zip(&after));
    let words: Vec<String> = used.map(|((name, _), (b, a))| format!("{name} {}", a - b)).collect();
    fact(&format!("idle for {} s, ticks of 10 ms", time.as_secs()), words.join(", "));
    Ok(())
}

/// Sizes of the programs, of each profile that is built.
pub(crate) fn sizes() {
    let own = std::env::current_exe().ok();
    let target = own.as_deref().and_then(Path::parent).and_then(Path::parent).map(Path::to_owned);
    for profile in ["debug", "release"] {
        let folder: PathBuf = target.clone().unwrap_or_default().join(profile);
        let size = |program: &&str| {
            let bytes = folder.join(program).metadata().ok()?.len();
            Some(format!("{program} {:.1} MB", bytes as f64 / 1e6))
        };
        let all: Vec<String> = PROGRAMS.iter().filter_map(size).collect();
        if !all.is_empty() {
            fact(&format!("programs, {profile}"), all.join(", "));
        }
    }
}

/// What cargo prints, run in the source tree, whether a test in it fails or not; nothing without a tree.
fn cargo(arguments: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let output = Command::new("cargo").args(arguments).current_dir(root).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Packages that the signer links, and lines of trusted code as the tidy test counts them.
pub(crate) fn sources(runs: Runs) {
    let tree = ["tree", "--locked", "-p", "signer", "-e", "normal", "--prefix", "none", "--no-dedupe"];
    if let Some(tree) = cargo(&tree) {
        let packages: std::collections::BTreeSet<&str> = tree.lines().filter(|l| !l.is_empty()).collect();
        fact("packages linked by the signer, macros and own", packages.len());
    }
    if runs.quick {
        // It may have to be compiled.
        return;
    }
    let test = "trusted_code_keeps_to_its_budget";
    let tidy = ["test", "--locked", "-q", "-p", "sim", "--test", "tidy", test, "--", "--nocapture"];
    for line in cargo(&tidy).unwrap_or_default().lines().filter(|l| l.contains("trusted lines")) {
        fact("trusted code", line);
    }
}
