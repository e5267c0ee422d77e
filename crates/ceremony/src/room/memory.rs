//! Ways by which memory gets onto a disk: swap, dumps, hibernation (DACS GEN-08).

use super::tree::{Reading as _, Tree};
use super::{Finding, FindingKind};

const SWAPS: &str = "/proc/swaps";
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";
const LIMITS: &str = "/proc/self/limits";
const CRASH_KERNEL: &str = "/sys/kernel/kexec_crash_loaded";
const SLEEP_STATES: &str = "/sys/power/state";

pub(super) fn inspect(tree: &dyn Tree) -> Vec<Finding> {
    [swap(tree), core_dumps(tree), hibernation(tree)].concat()
}

fn swap(tree: &dyn Tree) -> Vec<Finding> {
    match tree.must(SWAPS) {
        // The first line is a heading.
        Ok(text) => text
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap_or("a line without a name"))
            .map(|device| Finding::new(FindingKind::Swap, device))
            .collect(),
        Err(error) => vec![Finding::doubt(FindingKind::Swap, SWAPS, &error)],
    }
}

fn core_dumps(tree: &dyn Tree) -> Vec<Finding> {
    let finding = |detail: &str| Finding::new(FindingKind::CoreDumps, detail);
    let doubt = |path, why: &dyn std::fmt::Display| Finding::doubt(FindingKind::CoreDumps, path, why);
    let mut findings = Vec::new();
    match tree.must(CORE_PATTERN) {
        // A dump that goes to a program or a socket is not held back by the limit: core(5).
        Ok(pattern) if pattern.starts_with(['|', '@']) => {
            findings.push(finding(&format!("they go to {pattern}")))
        }
        Ok(_) => {}
        Err(error) => findings.push(doubt(CORE_PATTERN, &error)),
    }
    match tree.must(LIMITS) {
        Ok(text) => {
            let line = text.lines().find_map(|line| line.strip_prefix("Max core file size"));
            let mut words = line.unwrap_or_default().split_whitespace();
            match (words.next(), words.next()) {
                (Some("0"), Some("0")) => {}
                (Some(soft), Some(hard)) => {
                    findings.push(finding(&format!("their limit is {soft}, and can be raised to {hard}")));
                }
                _ => findings.push(doubt(LIMITS, &"no limit of core files in it")),
            }
        }
        Err(error) => findings.push(doubt(LIMITS, &error)),
    }
    match tree.text(CRASH_KERNEL) {
        Ok(None) => {}
        Ok(Some(loaded)) if loaded == "0" => {}
        Ok(Some(_)) => findings.push(finding("a crash kernel is loaded")),
        Err(error) => findings.push(doubt(CRASH_KERNEL, &error)),
    }
    findings
}

/// A kernel that can hibernate lists `disk` among its sleep states; one that was built or started without
/// it does not, or does not have the file.
fn hibernation(tree: &dyn Tree) -> Vec<Finding> {
    match tree.text(SLEEP_STATES) {
        Ok(states) if states.as_deref().unwrap_or_default().split_whitespace().any(|s| s == "disk") => {
            vec![Finding::new(FindingKind::Hibernation, "the kernel offers it")]
        }
        Ok(_) => Vec::new(),
        Err(error) => vec![Finding::doubt(FindingKind::Hibernation, SLEEP_STATES, &error)],
    }
}
