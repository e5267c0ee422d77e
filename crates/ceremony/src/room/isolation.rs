//! Whether this is a real machine, and all of it (DACS GEN-05, GEN-06).

use super::tree::{Reading as _, Tree};
use super::{Finding, FindingKind};

const CPUINFO: &str = "/proc/cpuinfo";
const HYPERVISOR: &str = "/sys/hypervisor/type";
const DEVICE_TREE: &str = "/proc/device-tree/hypervisor";

/// Where a machine names its maker and itself.
const NAMES: [&str; 3] =
    ["/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name", "/sys/class/dmi/id/bios_vendor"];

/// What virtual machines call themselves, in lower case.
const VIRTUAL: [&str; 13] = [
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "innotek",
    "xen",
    "bochs",
    "seabios",
    "parallels",
    "bhyve",
    "virtual machine",
    "amazon ec2",
    "google compute engine",
];

/// The namespaces of processes and users that the kernel starts with have these numbers
/// (`PROC_PID_INIT_INO` and `PROC_USER_INIT_INO` of its `proc_ns.h`).
const FIRST: [(&str, &str); 2] =
    [("/proc/self/ns/pid", "pid:[4026531836]"), ("/proc/self/ns/user", "user:[4026531837]")];

/// The namespaces that must be those of the first process.
const SHARED: [&str; 2] = ["net", "mnt"];

pub(super) fn inspect(tree: &dyn Tree) -> Vec<Finding> {
    let mut findings = hypervisor(tree);
    findings.extend(namespaces(tree));
    findings
}

fn hypervisor(tree: &dyn Tree) -> Vec<Finding> {
    let kind = FindingKind::Hypervisor;
    let mut findings = Vec::new();
    match tree.must(CPUINFO) {
        Ok(text) => {
            // x86 says `flags`, ARM `Features`.
            let mut flags =
                text.lines().filter(|line| line.starts_with("flags") || line.starts_with("Features"));
            let first = flags.next();
            if first.is_none() {
                findings.push(Finding::doubt(kind, CPUINFO, &"no flags in it"));
            } else if first
                .into_iter()
                .chain(flags)
                .any(|line| line.split_whitespace().any(|f| f == "hypervisor"))
            {
                findings.push(Finding::new(kind, "the processor says so"));
            }
        }
        Err(error) => findings.push(Finding::doubt(kind, CPUINFO, &error)),
    }
    match tree.text(HYPERVISOR) {
        Ok(None) => {}
        Ok(Some(sort)) => findings.push(Finding::new(kind, &format!("the kernel runs on {sort}"))),
        Err(error) => findings.push(Finding::doubt(kind, HYPERVISOR, &error)),
    }
    match tree.list(DEVICE_TREE) {
        Ok(None) => {}
        Ok(Some(_)) => findings.push(Finding::new(kind, "the device tree names one")),
        Err(error) => findings.push(Finding::doubt(kind, DEVICE_TREE, &error)),
    }
    for path in NAMES {
        match tree.text(path) {
            Ok(name) => {
                let name = name.unwrap_or_default();
                let lower = name.to_ascii_lowercase();
                if VIRTUAL.iter().any(|known| lower.contains(known)) {
                    findings.push(Finding::new(kind, &format!("the firmware says {name}")));
                }
            }
            Err(error) => findings.push(Finding::doubt(kind, path, &error)),
        }
    }
    findings
}

fn namespaces(tree: &dyn Tree) -> Vec<Finding> {
    let kind = FindingKind::Namespace;
    let read = |path: &str| match tree.link(path) {
        Ok(Some(target)) => Ok(target),
        Ok(None) => Err(Finding::doubt(kind, path, &"not there")),
        Err(error) => Err(Finding::doubt(kind, path, &error)),
    };
    let mut findings = Vec::new();
    for (path, first) in FIRST {
        match read(path) {
            Ok(target) if target == first => {}
            Ok(target) => findings.push(Finding::new(kind, &format!("{target} in place of {first}"))),
            Err(finding) => findings.push(finding),
        }
    }
    for sort in SHARED {
        let own = read(&format!("/proc/self/ns/{sort}"));
        let first = read(&format!("/proc/1/ns/{sort}"));
        match (own, first) {
            (Ok(own), Ok(first)) if own == first => {}
            (Ok(own), Ok(first)) => {
                findings.push(Finding::new(kind, &format!("{own} in place of {first} of the first process")));
            }
            (own, first) => findings.extend([own.err(), first.err()].into_iter().flatten()),
        }
    }
    findings
}
