//! The run of a script: which step is next, what was done, what was found, what was decided about it.
//!
//! A run is nothing but its script and the list of what happened ([`Event`]): there is no other way to reach
//! a state than to let it happen, so what is saved is that list, and whoever has it can run it again. No event
//! holds a secret. Time is an argument.

mod judge;
mod machine;

use custody::canon::CanonError;
use custody::effects::AccountKey;
use custody::name::Name;
use custody::{Blob, Hash, PublicKey};
use serde::{Deserialize, Serialize};

use crate::entropy::{Source, Statement};
use crate::room::{Finding, FindingKind, Room};
use crate::script::Breach;

pub use machine::Run;

/// The format of a saved run.
pub const RUN_FORMAT: &str = "keyward/ceremony-run/v1";

/// Longest reason for an abort or a deviation in bytes: some sentences.
pub const REASON_LIMIT_BYTES: usize = 2_000;

/// Most findings of a run: a machine with more of them is none to hold a ceremony on, and one more aborts it.
pub const FINDINGS_LIMIT: usize = 256;

/// How a component was read back or entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// By typing its words.
    Typed,
    /// By a scanner that types.
    Scanner,
    /// From an image of its QR code.
    Image,
    /// From its encrypted file.
    File,
}

/// What came out of a step. Each action asks for one variant.
#[expect(clippy::large_enum_variant, reason = "one at a time, and some hundred in a report")]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// The person is there.
    Present,
    /// The hash that everybody reads out.
    Compared {
        /// Of the script or of genesis.
        hash: Hash,
    },
    /// What stands on the device.
    Hardware {
        /// Its serial number.
        serial: String,
        /// The number of the seal that it came under, unbroken.
        seal: String,
    },
    /// What the machine is like.
    Room(Room),
    /// The recording runs.
    Recording {
        /// The number of the seal that will go around the medium.
        seal: String,
    },
    /// A source gave its randomness and passed its health tests.
    Gathered {
        /// Which.
        source: Source,
        /// How many throws, flips or bytes.
        symbols: u32,
        /// The stated minimum entropy in bits.
        min_entropy_bits: u32,
    },
    /// The master secret exists.
    Generated {
        /// Random, and public: names the ceremony in its record.
        nonce: Hash,
        /// Where its randomness came from.
        entropy: Statement,
    },
    /// A component was taken out of its container.
    Opened {
        /// The number of the seal, found unbroken.
        seal: String,
    },
    /// A component was entered.
    Entered {
        /// How.
        how: How,
        /// Its public health key, as it follows from the words.
        health: PublicKey,
    },
    /// The components rebuilt a master secret.
    Combined {
        /// Random, and public.
        nonce: Hash,
        /// The public keys of the accounts that the script knows, in its order.
        known: Vec<AccountKey>,
    },
    /// Every valid combination of new components rebuilt the secret (DACS REC-01).
    Verified {
        /// How many combinations.
        combinations: u64,
        /// The public health key of each component, in order.
        health: Vec<PublicKey>,
        /// The public keys of the script's accounts, in order.
        accounts: Vec<AccountKey>,
    },
    /// The sheet came out of the printer.
    Printed,
    /// The file is on the holder's medium.
    Written {
        /// SHA-256 of the encrypted file.
        sha256: Hash,
    },
    /// A component was read back from a medium.
    ReadBack {
        /// How.
        how: How,
        /// Its public health key, as it follows from what was read.
        health: PublicKey,
    },
    /// A component lies under its seal.
    Sealed {
        /// The number of the seal.
        seal: String,
    },
    /// The rebuilt account keys signed (S8).
    Restored {
        /// The public keys of the script's accounts, as rebuilt.
        accounts: Vec<AccountKey>,
        /// A BIP-340 signature of each over [`custody::document::restore_message`].
        signatures: Vec<Blob>,
    },
    /// The co-signers' shares are sealed.
    SharesSealed {
        /// How many sets of co-signers were seen to sign, over all accounts.
        sets: u64,
        /// The id of the record that they are sealed under: [`custody::document::CeremonyRecord::id`].
        ceremony: Hash,
    },
    /// The secrets are gone.
    Erased {
        /// What kept them out of dumps and swap, and how they were wiped (DACS GEN-08).
        how: String,
    },
    /// A component was destroyed before everybody's eyes.
    Destroyed,
    /// A co-signer's sealed shares were handed over.
    HandedOver {
        /// SHA-256 of what was handed over, as the receipt says.
        sha256: Hash,
        /// Who took it.
        to: String,
    },
    /// The report is closed.
    Closed {
        /// Its hash, as everybody wrote it down.
        report: Hash,
    },
    /// A person signed the report.
    Signed {
        /// Ed25519, over [`crate::report::Report::signed_bytes`].
        signature: Blob,
    },
    /// A person was not there to sign the report of an aborted ceremony.
    Absent,
}

/// The decision of people to go on in spite of a finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// The number of the finding ([`Run::findings`]), from 0.
    pub finding: u32,
    /// Why it is acceptable.
    pub reason: String,
    /// The signatures, over [`Run::deviation_bytes`].
    pub signatures: Vec<PersonSignature>,
}

/// The signature of a person of the script.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonSignature {
    /// Who.
    pub person: Name,
    /// Ed25519, by the key of the script.
    pub signature: Blob,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, in seconds since 1970, by the clock of the machine.
    pub at: u64,
    /// What.
    pub what: Happening,
}

/// What can happen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Happening {
    /// A step was done.
    Done {
        /// The id of the step.
        step: String,
        /// What came out.
        outcome: Outcome,
    },
    /// The machine was inspected again.
    Inspected(Room),
    /// Something was found outside an inspection.
    Found(Finding),
    /// A deviation was signed.
    Deviated(Deviation),
    /// The ceremony was interrupted, its secrets erased: it goes on at the first secret step.
    Paused,
    /// It went on from what was saved.
    Resumed,
    /// It was given up.
    Aborted {
        /// Why.
        reason: String,
    },
}

/// What became of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Nothing yet: no step can be done.
    Open,
    /// A later inspection did not find it any more.
    Mended,
    /// People signed that they go on in spite of it.
    Deviated,
    /// The ceremony was aborted over it, or while it was open.
    Aborted,
}

/// A finding of this run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// When it came up.
    pub at: u64,
    /// The step during which it came up.
    pub step: String,
    /// What.
    pub finding: Finding,
    /// Whether a later inspection can show that it is mended: not what people found, nor what came up while there
    /// were secrets, which may have got out by it.
    pub inspected: bool,
    /// What became of it.
    pub answer: Answer,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Steps remain.
    Running,
    /// It was given up; what remains is to erase, to destroy, to report.
    Aborting,
    /// Every step is done.
    Complete,
    /// It was given up, and that is reported.
    Aborted,
}

/// Why something cannot happen now. Nothing changes then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// See [`Breach`].
    #[error(transparent)]
    Script(#[from] Breach),
    /// A number that has no place in a report.
    #[error(transparent)]
    Form(#[from] CanonError),
    /// Nothing is left to do.
    #[error("the ceremony is over: nothing more can be done in it")]
    Over,
    /// A finding is open.
    #[error("{kind}: {detail}; mend it and inspect again, or sign a deviation if the script admits one", kind = .0.kind, detail = .0.detail)]
    Open(Finding),
    /// Another step is next.
    #[error("the next step is {next}, not {given}: steps are done in order")]
    Order {
        /// The step that is next.
        next: String,
        /// What was given.
        given: String,
    },
    /// An outcome that this step does not have.
    #[error("step {0} does not end in that way: give what it asks for")]
    Kind(String),
    /// What came out is not what has to come out.
    #[error("step {step}: {why}")]
    Wrong {
        /// The step.
        step: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// There is no such finding, or it is not open.
    #[error("finding {0} is not open: look at the list of findings")]
    NoFinding(u32),
    /// The script does not admit a deviation.
    #[error("the script admits no deviation for {0}: mend it and inspect again, or abort")]
    NotAdmitted(FindingKind),
    /// Too few people signed, or no security officer.
    #[error(
        "a deviation takes the signatures of {0} people of the script, each once, a security officer among them"
    )]
    Quorum(u32),
    /// A signature does not verify.
    #[error("the signature of {0} does not verify: sign again what is shown")]
    Signature(Name),
    /// A text without words, too long, or with characters that draw on a terminal.
    #[error("give the reason, in at most {REASON_LIMIT_BYTES} bytes of text")]
    Reason,
    /// What no inspection writes.
    #[error(
        "what was found holds a text that no report can print: give it as the inspection of this program does"
    )]
    Text,
    /// More than a report holds.
    #[error("the report holds no more inspections: go on to the end or abort")]
    Full,
    /// A pause where nothing is secret.
    #[error("no secrets are in the machine: save the run and end the program")]
    NothingSecret,
    /// The report is asked for too early.
    #[error("there is no report yet: it is closed after the last secret is erased")]
    NoReport,
    /// A saved run that cannot be read.
    #[error("not a saved run of this script ({0}): use the file as it was saved")]
    Saved(String),
    /// A saved run with another hash than the one on paper.
    #[error("the saved run has hash {found}, and not {noted} as was noted: somebody changed it, begin anew")]
    Changed {
        /// Of the file.
        found: Hash,
        /// What people wrote down.
        noted: Hash,
    },
}
