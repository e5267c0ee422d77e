//! The room: what the machine of a ceremony says of itself, and what must not be so while there are
//! secrets on it (DACS GEN-04 to GEN-06, GEN-08, GEN-10 to GEN-12).
//!
//! [`inspect`] is a pure function of a [`Tree`] with `/proc`, `/sys` and `/etc` in it, so that recorded
//! machines can be tested; the program passes `/`. What is found is judged elsewhere: a [`Finding`]
//! stops a ceremony unless its script admits the kind and a quorum signs for it.
//!
//! **Doubt is a finding.** A file that should be there and cannot be read is a finding of the kind
//! that it was to rule out, never silence.

pub mod facts;
mod isolation;
mod kind;
mod machine;
mod media;
mod memory;
mod network;
mod radio;
pub mod sbom;
mod tree;
mod watch;

use std::fmt;

use custody::Hash;
use serde::{Deserialize, Serialize};

use self::facts::Facts;
pub use self::kind::FindingKind;
pub use self::tree::{LIST_LIMIT_ENTRIES, READ_LIMIT_BYTES, Root, Tree};
pub use self::watch::Watch;

/// Longest text of one fact or finding, in characters: enough for a name of a product and its path, and
/// no way for a device that names itself to flood a screen or a report.
pub const TEXT_LIMIT_CHARS: usize = 200;

/// Earliest time that the clock may show, in seconds since 1970: the first of January 2026, before which
/// this program did not exist.
pub const CLOCK_EARLIEST_S: u64 = 1_767_225_600;

/// The time from which on the clock is not believed, in seconds since 1970: the first of January 2100.
pub const CLOCK_LATEST_S: u64 = 4_102_444_800;

/// One thing in the room that must not be so, or that cannot be ruled out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What kind of thing; it says why it matters and what to do.
    pub kind: FindingKind,
    /// Which one: a device, a path, a value. At most [`TEXT_LIMIT_CHARS`], printable ASCII.
    pub detail: String,
}

impl Finding {
    /// A finding; the detail is cut and cleaned to what a report can print.
    pub fn new(kind: FindingKind, detail: &str) -> Self {
        Self { kind, detail: printable(detail) }
    }

    /// Whether its detail is as [`Finding::new`] writes it.
    pub(crate) fn is_printable(&self) -> bool {
        self.detail == printable(&self.detail)
    }

    /// What cannot be ruled out, because `path` cannot be read.
    fn doubt(kind: FindingKind, path: &str, why: &dyn fmt::Display) -> Self {
        Self::new(kind, &format!("cannot be ruled out: {path}: {why}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.kind.what(), self.kind, self.detail)
    }
}

/// What one look at the machine gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// What the machine and the program are, for the report.
    pub facts: Facts,
    /// What must not be so: sorted, each once.
    pub findings: Vec<Finding>,
}

impl Room {
    /// Whether its texts are as [`inspect`] writes them: nothing in them draws on a screen or fills a report.
    pub(crate) fn is_printable(&self) -> bool {
        let Facts { os, kernel, cpu, firmware, product, serial, microcode, tpm, mounts, .. } = &self.facts;
        let lists = microcode.iter().chain(tpm).chain(mounts);
        let names = self.facts.interfaces.iter().map(|interface| &interface.name);
        let built = self
            .facts
            .packages
            .iter()
            .flat_map(|package| [&package.name, &package.version].into_iter().chain(&package.checksum));
        let texts =
            [os, kernel, cpu, firmware, product, serial].into_iter().chain(lists).chain(names).chain(built);
        let is_printable = |text: &String| *text == printable(text);
        texts.into_iter().all(is_printable) && self.findings.iter().all(Finding::is_printable)
    }
}

/// Looks at the machine: `now` is its clock, in seconds since 1970, and `program` the SHA-256 of the
/// program that runs, of which the caller has the file.
pub fn inspect(tree: &dyn Tree, now: u64, program: Hash) -> Room {
    let (interfaces, mut findings) = network::inspect(tree);
    findings.extend(radio::inspect(tree));
    findings.extend(memory::inspect(tree));
    findings.extend(isolation::inspect(tree));
    findings.extend(media::inspect(tree));
    let (facts, missing) = machine::inspect(tree, now, program, interfaces);
    findings.extend(missing);
    findings.sort();
    findings.dedup();
    Room { facts, findings }
}

/// The text with everything that is not printable ASCII replaced, without space at the ends, cut to
/// [`TEXT_LIMIT_CHARS`]: devices name themselves, and a name must not draw on a terminal.
fn printable(text: &str) -> String {
    let clean = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let clean: String = text.trim().chars().take(TEXT_LIMIT_CHARS).map(clean).collect();
    clean.trim_end().to_owned()
}
