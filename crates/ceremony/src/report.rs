//! The report of a ceremony (DACS GEN-09): the script, everything that happened, and what follows from both.
//!
//! Who verifies a report runs the script again with what happened: a report that skips a step, lists a medium
//! that was not verified or a deviation that nobody signed is not one that any run could have written.
//! `docs/spec/ceremony-report.md` describes the file.

mod verify;

use custody::document::CEREMONY_REPORT_TAG;
use custody::effects::AccountKey;
use custody::name::Name;
use custody::{Hash, PublicKey, canon};
use serde::{Deserialize, Serialize};

use crate::entropy::Statement;
use crate::room::Room;
use crate::run::{Deviation, Event, Found, Happening, Outcome, PersonSignature, Run, Status};
use crate::script::{ComponentId, Medium, Script};
use crate::secrets::COIN_TYPE;

pub use verify::{Against, ReportError, Verified, verify};

/// The format that this program reads and writes.
pub const REPORT_FORMAT: &str = "keyward/ceremony-report/v1";

/// The file of a signed report.
pub const REPORT_FILE: &str = "report.json";

/// Most bytes of the file: a ceremony of a day, inspected a hundred times, each time with every package that the
/// program was built of (some 40 kB).
pub const REPORT_LIMIT_BYTES: usize = 8 << 20;

/// Most bytes of script and events with which another inspection is taken in: what follows to the end, or to the
/// end of an aborted ceremony, then fits into a report as well.
pub const INSPECTED_LIMIT_BYTES: usize = REPORT_LIMIT_BYTES / 2;

/// Most bytes with which an inspection is taken in that is a step: these have to be made for the ceremony to end.
pub const STEP_LIMIT_BYTES: usize = REPORT_LIMIT_BYTES / 4 * 3;

/// The report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`REPORT_FORMAT`].
    pub format: String,
    /// Whether the coins of its network have no value.
    pub rehearsal: bool,
    /// [`Status::Complete`] or [`Status::Aborted`].
    pub status: Status,
    /// When it began, in seconds since 1970, by the clock of the machine.
    pub began_at: u64,
    /// When the report was closed.
    pub ended_at: u64,
    /// The hash of the script.
    pub script_hash: Hash,
    /// The script: people, roles, hardware, recording, what was meant to be done.
    pub script: Script,
    /// What was done, in order: with entropy, software, room, operations and their times.
    pub events: Vec<Event>,
    /// The nonce of the ceremony, as in its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Hash>,
    /// The id of its record, under which the shares are sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceremony: Option<Hash>,
    /// How many combinations of components rebuilt the secret (DACS REC-01).
    pub combinations: u64,
    /// The new components.
    pub components: Vec<Made>,
    /// The accounts whose keys were rebuilt and signed.
    pub accounts: Vec<Account>,
    /// Everything that was found, and what became of it.
    pub findings: Vec<Found>,
}

/// A new component.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Which.
    pub component: ComponentId,
    /// Who holds it.
    pub holder: Name,
    /// Where it lies.
    pub site: Name,
    /// What it lies in there.
    pub container: String,
    /// The number of the seal around it.
    pub seal: String,
    /// Its public health key (Ed25519, DACS REC-09).
    pub health: PublicKey,
    /// SHA-256 of its encrypted file.
    pub file: Hash,
    /// The media that were read back and found to be the component.
    pub verified: Vec<Medium>,
}

/// An account whose key was rebuilt and signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The derivation path of its key, such as `m/86'/1'/0'`.
    pub path: String,
    /// Its public key.
    pub account: AccountKey,
}

/// The path of an account by its number (BIP-86).
pub(crate) fn account_path(number: u32) -> String {
    format!("m/86'/{COIN_TYPE}'/{number}'")
}

/// A report with its signatures: the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReport {
    /// The report.
    pub report: Report,
    /// By everybody in the script, in its order.
    pub signatures: Vec<PersonSignature>,
}

impl Report {
    /// What a run has come to, with these of its events.
    pub(crate) fn of(run: &Run, events: &[Event]) -> Self {
        let script = run.script().clone();
        let attempt = &run.progress().attempt;
        let made = |((component, member), health): ((ComponentId, &crate::script::Member), &PublicKey)| {
            Some(Made {
                component,
                holder: member.holder.clone(),
                site: member.site.clone(),
                container: member.container.clone(),
                seal: attempt.seals.get(&component)?.clone(),
                health: *health,
                file: *attempt.files.get(&component)?,
                verified: Medium::ALL
                    .into_iter()
                    .filter(|m| attempt.verified.contains(&(component, *m)))
                    .collect(),
            })
        };
        let members = script.components.iter().flat_map(|set| set.members());
        let components = members.zip(&attempt.health).filter_map(made).collect();
        let account = |(number, account): (u32, &AccountKey)| Account {
            path: account_path(number),
            account: account.clone(),
        };
        let rebuilt = script.account_numbers().zip(&attempt.accounts).filter(|_| attempt.restored);
        Self {
            format: REPORT_FORMAT.to_owned(),
            rehearsal: script.is_rehearsal(),
            status: match run.status() {
                Status::Running | Status::Complete => Status::Complete,
                Status::Aborting | Status::Aborted => Status::Aborted,
            },
            began_at: run.began_at(),
            ended_at: events.last().map_or(run.began_at(), |event| event.at),
            script_hash: script.hash(),
            events: events.to_vec(),
            nonce: attempt.nonce,
            ceremony: attempt.ceremony,
            combinations: attempt.combinations,
            components,
            accounts: rebuilt.map(account).collect(),
            findings: run.findings().to_vec(),
            script,
        }
    }

    /// What people sign: the canonical report after its domain tag.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = CEREMONY_REPORT_TAG.to_vec();
        bytes.extend(canon::encode(self).unwrap_or_default());
        bytes
    }

    /// The hash that people write down and that the record of the ceremony names: SHA-256 of
    /// [`Report::signed_bytes`].
    pub fn hash(&self) -> Hash {
        Hash::sha256(&self.signed_bytes())
    }

    /// The steps that were done, in order: when, which, and what came out.
    pub fn operations(&self) -> impl Iterator<Item = (u64, &str, &Outcome)> {
        self.events.iter().filter_map(|event| match &event.what {
            Happening::Done { step, outcome } => Some((event.at, step.as_str(), outcome)),
            _ => None,
        })
    }

    /// The hash of a report of the same ceremony that was closed before this one, if it was given up after that.
    /// Some may have signed it: with everybody's signatures it is complete, and stands against this one.
    pub fn supersedes(&self) -> Option<Hash> {
        let closed = self.operations().filter_map(|(_, _, outcome)| match outcome {
            Outcome::Closed { report } => Some(*report),
            _ => None,
        });
        closed.last()
    }

    /// Where the randomness of the master secret came from (DACS GEN-01); of a ceremony that was interrupted,
    /// that of the last attempt.
    pub fn entropy(&self) -> Option<&Statement> {
        let stated = self.operations().filter_map(|(_, _, outcome)| match outcome {
            Outcome::Generated { entropy, .. } => Some(entropy),
            _ => None,
        });
        stated.last()
    }

    /// What the machine was like, and when, in order (DACS GEN-04).
    pub fn rooms(&self) -> impl Iterator<Item = (u64, &Room)> {
        self.events.iter().filter_map(|event| match &event.what {
            Happening::Done { outcome: Outcome::Room(room), .. } | Happening::Inspected(room) => {
                Some((event.at, room))
            }
            _ => None,
        })
    }

    /// The deviations that were signed, each with its finding.
    pub fn deviations(&self) -> impl Iterator<Item = (&Found, &Deviation)> {
        self.events.iter().filter_map(|event| match &event.what {
            Happening::Deviated(deviation) => {
                Some((self.findings.get(usize::try_from(deviation.finding).ok()?)?, deviation))
            }
            _ => None,
        })
    }
}

impl SignedReport {
    /// The canonical bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        canon::encode(self).unwrap_or_default()
    }
}
