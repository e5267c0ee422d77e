//! Links and routes (DACS GEN-06).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::facts::Interface;
use super::tree::{Reading as _, Tree};
use super::{Finding, FindingKind, printable};

const NET: &str = "/sys/class/net";
const ROUTES_V4: &str = "/proc/net/route";
const ROUTES_V6: &str = "/proc/net/ipv6_route";

/// A control file of the bonding driver that lies among the interfaces.
const NO_INTERFACE: &str = "bonding_masters";

/// `IFF_UP` of netdevice(7): the interface was switched on.
const FLAG_UP: u32 = 0x1;

/// `IFF_LOOPBACK` of netdevice(7), which only the kernel sets.
const FLAG_LOOPBACK: u32 = 0x8;

pub(super) fn inspect(tree: &dyn Tree) -> (Vec<Interface>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut interfaces = Vec::new();
    match tree.list(NET) {
        Ok(Some(names)) => {
            for name in names.iter().filter(|name| *name != NO_INTERFACE) {
                let (interface, finding) = interface(tree, name);
                interfaces.push(interface);
                findings.extend(finding);
            }
        }
        Ok(None) => findings.push(Finding::doubt(FindingKind::NetworkLink, NET, &"not there, mount /sys")),
        Err(error) => findings.push(Finding::doubt(FindingKind::NetworkLink, NET, &error)),
    }
    let inside = interfaces.iter().filter(|i| i.loopback).map(|i| i.name.as_str()).collect();
    findings.extend(routes_v4(tree, &inside));
    findings.extend(routes_v6(tree, &inside));
    (interfaces, findings)
}

fn interface(tree: &dyn Tree, name: &str) -> (Interface, Option<Finding>) {
    let path = |file: &str| format!("{NET}/{name}/{file}");
    let has = |file: &str| matches!(tree.list(&path(file)), Ok(Some(_)));
    let number = |file: &str| tree.text(&path(file)).ok().flatten().and_then(|text| text.parse().ok());
    let mut interface = Interface {
        name: printable(name),
        wireless: has("wireless") || has("phy80211"),
        loopback: false,
        carrier_up_count: number("carrier_up_count"),
    };
    let link = |detail: &str| Finding::new(FindingKind::NetworkLink, &format!("{name} {detail}"));
    let doubt = |why: &dyn std::fmt::Display| Finding::doubt(FindingKind::NetworkLink, &path("flags"), why);
    let flags = match tree.must(&path("flags")) {
        Ok(text) => text.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok()),
        Err(error) => return (interface, Some(doubt(&error))),
    };
    let Some(flags) = flags else {
        return (interface, Some(doubt(&"no flags in it")));
    };
    interface.loopback = flags & FLAG_LOOPBACK != 0;
    // The kernel refuses to say whether an interface that is down has a carrier, so no answer is no doubt.
    let carrier = number("carrier") == Some(1);
    let finding = match (flags & FLAG_UP != 0, carrier) {
        _ if interface.loopback => None,
        (true, true) => Some(link("is up and has a carrier")),
        (true, false) => Some(link("is up, without a carrier")),
        (false, true) => Some(link("is down but has a carrier")),
        (false, false) => None,
    };
    (interface, finding)
}

/// Routes of the main table, one a line under a heading: `proc_net(5)`.
fn routes_v4(tree: &dyn Tree, inside: &BTreeSet<&str>) -> Vec<Finding> {
    let text = match tree.must(ROUTES_V4) {
        Ok(text) => text,
        Err(error) => return vec![Finding::doubt(FindingKind::Route, ROUTES_V4, &error)],
    };
    let mut findings = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("Iface")) {
        let mut words = line.split_whitespace();
        let (device, to, mask) = (words.next(), hex32(words.next()), hex32(words.nth(5)));
        findings.extend(match (device, to, mask) {
            (Some(device), ..) if inside.contains(device) => None,
            (Some(device), Some(to), Some(mask)) => {
                // The kernel prints the bytes of the address as one number of its own byte order.
                let to = Ipv4Addr::from(to.to_ne_bytes());
                let detail = format!("to {to}/{} by {device}", mask.count_ones());
                Some(Finding::new(FindingKind::Route, &detail))
            }
            _ => Some(Finding::doubt(FindingKind::Route, ROUTES_V4, &"a line is no route")),
        });
    }
    findings
}

/// Routes of all tables: `Documentation/networking/` of the kernel, `proc_net(5)`. A kernel without IPv6
/// does not have the file.
fn routes_v6(tree: &dyn Tree, inside: &BTreeSet<&str>) -> Vec<Finding> {
    let text = match tree.text(ROUTES_V6) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => return vec![Finding::doubt(FindingKind::Route, ROUTES_V6, &error)],
    };
    let mut findings = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        findings.extend(match words.as_slice() {
            [.., device] if inside.contains(device) => None,
            [to, length, _, _, _, _, _, _, _, device] => match u128::from_str_radix(to, 16) {
                Ok(to) => {
                    let length = u8::from_str_radix(length, 16).unwrap_or_default();
                    let detail = format!("to {}/{length} by {device}", Ipv6Addr::from(to));
                    Some(Finding::new(FindingKind::Route, &detail))
                }
                Err(_) => Some(Finding::doubt(FindingKind::Route, ROUTES_V6, &"a line is no route")),
            },
            _ => Some(Finding::doubt(FindingKind::Route, ROUTES_V6, &"a line is no route")),
        });
    }
    findings
}

fn hex32(word: Option<&str>) -> Option<u32> {
    u32::from_str_radix(word?, 16).ok()
}
