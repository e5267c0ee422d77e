//! Transmitters: rfkill, Bluetooth, and cards that rfkill does not know (DACS GEN-06, GEN-12).

use super::tree::{Reading as _, Tree};
use super::{Finding, FindingKind};

const RFKILL: &str = "/sys/class/rfkill";
const BLUETOOTH: &str = "/sys/class/bluetooth";

/// Classes of devices that transmit, besides Bluetooth: wireless networks, mobile networks, near-field.
const TRANSMITTERS: [&str; 3] = ["/sys/class/ieee80211", "/sys/class/wwan", "/sys/class/nfc"];

pub(super) fn inspect(tree: &dyn Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The devices that have a switch, so that their class need not be judged a second time.
    let mut switched = Vec::new();
    for switch in names(tree, RFKILL, FindingKind::Radio, &mut findings) {
        match judge(tree, &switch) {
            Ok((device, finding)) => {
                switched.push(device);
                findings.extend(finding);
            }
            Err(finding) => findings.push(finding),
        }
    }
    for device in names(tree, BLUETOOTH, FindingKind::Bluetooth, &mut findings) {
        // A connection is listed beside its adapter as `hci0:12`.
        if !switched.contains(&device) && !device.contains(':') {
            findings.push(Finding::new(FindingKind::Bluetooth, &format!("{device}, without a switch")));
        }
    }
    for class in TRANSMITTERS {
        for device in names(tree, class, FindingKind::RadioFitted, &mut findings) {
            if !switched.contains(&device) {
                findings.push(Finding::new(FindingKind::RadioFitted, &format!("{device}, without a switch")));
            }
        }
    }
    findings
}

/// The devices of a class; a class that is not there has none.
fn names(tree: &dyn Tree, class: &str, kind: FindingKind, findings: &mut Vec<Finding>) -> Vec<String> {
    tree.list(class).map(Option::unwrap_or_default).unwrap_or_else(|error| {
        findings.push(Finding::doubt(kind, class, &error));
        Vec::new()
    })
}

/// The device that a switch belongs to, and what is wrong with it. Only a switch of the hardware is good
/// enough.
fn judge(tree: &dyn Tree, switch: &str) -> Result<(String, Option<Finding>), Finding> {
    let read = |file: &str| {
        let path = format!("{RFKILL}/{switch}/{file}");
        tree.must(&path).map_err(|error| Finding::doubt(FindingKind::Radio, &path, &error))
    };
    let (device, sort) = (read("name")?, read("type")?);
    let (hard, soft) = (read("hard")?, read("soft")?);
    let (kind, state) = match (sort.as_str(), hard.as_str(), soft.as_str()) {
        (_, "1", _) => return Ok((device, None)),
        ("bluetooth", _, "1") => (FindingKind::Bluetooth, "blocked by software only"),
        ("bluetooth", ..) => (FindingKind::Bluetooth, "not blocked"),
        (_, _, "1") => (FindingKind::RadioFitted, "blocked by software only"),
        _ => (FindingKind::Radio, "not blocked"),
    };
    let finding = Finding::new(kind, &format!("{device} ({sort}), {state}"));
    Ok((device, Some(finding)))
}
