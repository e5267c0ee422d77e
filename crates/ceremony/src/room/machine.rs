//! What machine and program are (DACS GEN-04, GEN-05, GEN-09, GEN-10).

use custody::Hash;

use super::facts::{Facts, Interface};
use super::media::{MOUNTS, Mount};
use super::tree::{Reading as _, Tree};
use super::{CLOCK_EARLIEST_S, CLOCK_LATEST_S, Finding, FindingKind, printable, sbom};

const OS_RELEASE: &str = "/etc/os-release";
const KERNEL_RELEASE: &str = "/proc/sys/kernel/osrelease";
const KERNEL_BUILD: &str = "/proc/sys/kernel/version";
const CPUINFO: &str = "/proc/cpuinfo";
const DMI: &str = "/sys/class/dmi/id";
const TPM: &str = "/sys/class/tpm";

/// Written by systemd-timesyncd once it has set the clock from a network.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// What makers write who did not fill in the field, in lower case.
const NOTHING_SAID: [&str; 12] = [
    "",
    "0",
    "none",
    "n/a",
    "unknown",
    "invalid",
    "default string",
    "not specified",
    "not applicable",
    "to be filled by o.e.m.",
    "system serial number",
    "system product name",
];

pub(super) fn inspect(
    tree: &dyn Tree,
    now: u64,
    program: Hash,
    interfaces: Vec<Interface>,
) -> (Facts, Vec<Finding>) {
    let mut findings: Vec<Finding> = clock(now).into_iter().collect();
    let synchronised = match tree.read(SYNCHRONISED) {
        Ok(file) => file.is_some(),
        Err(error) => {
            findings.push(Finding::doubt(FindingKind::Clock, SYNCHRONISED, &error));
            false
        }
    };
    if synchronised {
        let detail = "a time service set it from a network since the machine started";
        findings.push(Finding::new(FindingKind::Clock, detail));
    }
    let packages = sbom::packages();
    findings.extend(software(&packages));
    let mut must = |path: &str| match tree.must(path) {
        Ok(text) if !NOTHING_SAID.contains(&text.to_ascii_lowercase().as_str()) => printable(&text),
        Ok(text) => {
            findings.push(Finding::new(FindingKind::Identity, &format!("{path} says \"{text}\"")));
            String::new()
        }
        Err(error) => {
            findings.push(Finding::new(FindingKind::Identity, &format!("{path}: {error}")));
            String::new()
        }
    };
    let may = |path: String| tree.text(&path).ok().flatten().map(|text| printable(&text)).unwrap_or_default();
    let dmi = |file: &str| format!("{DMI}/{file}");
    let kernel = words(&[must(KERNEL_RELEASE), may(KERNEL_BUILD.to_owned())]);
    let firmware = words(&[may(dmi("bios_vendor")), must(&dmi("bios_version")), may(dmi("bios_date"))]);
    let product = words(&[must(&dmi("sys_vendor")), must(&dmi("product_name")), may(dmi("product_version"))]);
    let serial = must(&dmi("product_serial"));
    let cpuinfo = tree.text(CPUINFO).ok().flatten().unwrap_or_default();
    let mounts = tree.text(MOUNTS).ok().flatten().unwrap_or_default();
    let tpms = tree.list(TPM).ok().flatten().unwrap_or_default();
    let tpm = |name: &String| words(&[printable(name), may(format!("{TPM}/{name}/tpm_version_major"))]);
    let os = release(&tree.text(OS_RELEASE).ok().flatten().unwrap_or_default());
    if os.is_empty() {
        findings.push(Finding::new(FindingKind::Identity, &format!("{OS_RELEASE} names no system")));
    }
    let facts = Facts {
        at: now,
        synchronised,
        os,
        kernel,
        cpu: of_cpu(&cpuinfo, "model name").first().cloned().unwrap_or_default(),
        microcode: of_cpu(&cpuinfo, "microcode"),
        firmware,
        product,
        serial,
        tpm: tpms.iter().map(tpm).collect(),
        interfaces,
        mounts: mounts
            .lines()
            .filter_map(|line| Mount::parse(line)?.of_disk())
            .map(|m| printable(&m))
            .collect(),
        program,
        packages,
    };
    (facts, findings)
}

/// The name of the system with its release: os-release(5).
fn release(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    printable(name.unwrap_or_default().trim_matches(['"', '\'']))
}

/// What is wrong with the time. The text does not change from second to second, so that a watch tells a
/// clock that was wrong before from one that goes wrong.
fn clock(now: u64) -> Option<Finding> {
    let finding = |detail| Some(Finding::new(FindingKind::Clock, detail));
    match now {
        ..CLOCK_EARLIEST_S => finding("it shows a time before 2026"),
        CLOCK_LATEST_S.. => finding("it shows a time after 2099"),
        _ => None,
    }
}

fn software(packages: &[sbom::Package]) -> Option<Finding> {
    let detail = "the list of packages is empty";
    packages.is_empty().then(|| Finding::new(FindingKind::Software, detail))
}

/// Each value of a field of `/proc/cpuinfo`, once.
fn of_cpu(cpuinfo: &str, field: &str) -> Vec<String> {
    let mut values = Vec::new();
    for line in cpuinfo.lines() {
        if let Some((name, value)) = line.split_once(':')
            && name.trim() == field
            && !values.contains(&printable(value))
        {
            values.push(printable(value));
        }
    }
    values
}

fn words(parts: &[String]) -> String {
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    printable(&parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_know_its_parts_is_a_finding() {
        assert_eq!(software(&sbom::packages()), None);
        assert_eq!(software(&[]).unwrap().kind, FindingKind::Software);
    }
}
