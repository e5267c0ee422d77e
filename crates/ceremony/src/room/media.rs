//! What can be carried away, and what lies elsewhere (DACS GEN-06, GEN-08).

use super::tree::{Reading as _, Tree};
use super::{Finding, FindingKind};

const BLOCK: &str = "/sys/block";

/// The mounts as this process sees them.
pub(super) const MOUNTS: &str = "/proc/self/mountinfo";

/// File systems whose contents lie on another machine, or on the one around a virtual machine.
const REMOTE: [&str; 16] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "virtiofs",
    "vboxsf",
    "ceph",
    "afs",
    "glusterfs",
    "lustre",
    "ocfs2",
    "gfs2",
    "prl_fs",
    "coda",
];

/// File systems of programs can come from anywhere.
const OF_PROGRAMS: &str = "fuse.";

pub(super) fn inspect(tree: &dyn Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    match tree.list(BLOCK) {
        Ok(Some(names)) => findings.extend(names.iter().filter_map(|name| disk(tree, name))),
        Ok(None) => findings.push(Finding::doubt(FindingKind::Media, BLOCK, &"not there, mount /sys")),
        Err(error) => findings.push(Finding::doubt(FindingKind::Media, BLOCK, &error)),
    }
    match tree.must(MOUNTS) {
        Ok(text) => findings.extend(text.lines().filter_map(|line| match Mount::parse(line) {
            Some(mount) if mount.remote() => {
                let Mount { source, place, system, .. } = mount;
                Some(Finding::new(FindingKind::Mount, &format!("{source} on {place} ({system})")))
            }
            Some(_) => None,
            None => Some(Finding::doubt(FindingKind::Mount, MOUNTS, &"a line is no mount")),
        })),
        Err(error) => findings.push(Finding::doubt(FindingKind::Mount, MOUNTS, &error)),
    }
    findings
}

/// What is wrong with one disk. A drive without a medium in it is no medium.
fn disk(tree: &dyn Tree, name: &str) -> Option<Finding> {
    let path = |file: &str| format!("{BLOCK}/{name}/{file}");
    let doubt =
        |file: &str, why: &dyn std::fmt::Display| Some(Finding::doubt(FindingKind::Media, &path(file), why));
    match tree.must(&path("size")).map(|sectors| sectors.parse::<u64>()) {
        Ok(Ok(0)) => return None,
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return doubt("size", &"no number"),
        Err(error) => return doubt("size", &error),
    }
    let removable = match tree.must(&path("removable")) {
        Ok(text) => text != "0",
        Err(error) => return doubt("removable", &error),
    };
    let device = match tree.link(&format!("{BLOCK}/{name}")) {
        Ok(Some(device)) => device,
        Ok(None) => return doubt("", &"not there"),
        Err(error) => return doubt("", &error),
    };
    let sort = match tree.text(&path("device/type")) {
        Ok(sort) => sort.unwrap_or_default(),
        Err(error) => return doubt("device/type", &error),
    };
    let say = |file: &str| tree.text(&path(file)).ok().flatten().unwrap_or_default();
    // Names of drivers that bring a disk of another machine, and places in the tree of devices where
    // iSCSI and NVMe over fabrics appear.
    let named = ["nbd", "rbd", "drbd"].iter().any(|driver| name.starts_with(driver));
    if named || device.contains("/session") || device.contains("nvme-fabrics") {
        return Some(Finding::new(FindingKind::Mount, &format!("{name}, a disk of another machine")));
    }
    // A disk behind USB says that it is fixed; so does a card in its slot.
    if !removable && !device.contains("/usb") && sort != "SD" {
        return None;
    }
    // The kernel numbers media as they come, so that one that was changed is another finding.
    let parts = [name.to_owned(), say("device/vendor"), say("device/model"), say("diskseq")];
    let [name, vendor, model, number] = parts;
    let number = if number.is_empty() { "without a number".to_owned() } else { format!("number {number}") };
    let words = [name, vendor, model].join(" ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(Finding::new(FindingKind::Media, &format!("{words}, medium {number}")))
}

/// One line of `mountinfo`: proc_pid_mountinfo(5).
pub(super) struct Mount<'a> {
    place: &'a str,
    options: &'a str,
    system: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(4);
        let mut back = back.split(' ');
        Some(Self {
            place: front.next()?,
            options: front.next()?,
            system: back.next()?,
            source: back.next()?,
        })
    }

    fn remote(&self) -> bool {
        REMOTE.contains(&self.system) || self.system.starts_with(OF_PROGRAMS)
    }

    /// For the facts: what is mounted from a block device.
    pub(super) fn of_disk(&self) -> Option<String> {
        let mode = self.options.split(',').next().unwrap_or_default();
        let Self { source, place, system, .. } = self;
        source.starts_with("/dev/").then(|| format!("{source} on {place} ({system}, {mode})"))
    }
}
