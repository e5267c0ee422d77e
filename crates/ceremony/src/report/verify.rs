//! Verification of a report, by anybody, offline.

use std::collections::BTreeSet;

use custody::document::{CeremonyRecord, verify as signature_ok};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::statement::key_id;
use custody::{Hash, canon};

use super::{REPORT_FORMAT, REPORT_LIMIT_BYTES, Report, SignedReport};
use crate::record::{self, PARTICIPANTS_MIN, RecordError};
use crate::run::{Outcome, Run, RunError, Status};
use crate::script::{Breach, Script};

/// What else a report is compared with.
#[derive(Clone, Copy, Default, Debug)]
pub struct Against<'a> {
    /// The deployment that it must be of.
    pub genesis: Option<&'a Genesis>,
    /// The script that it must be of, by its hash.
    pub script: Option<Hash>,
    /// The record of the same ceremony.
    pub record: Option<&'a CeremonyRecord>,
}

/// A report that verifies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The report.
    pub report: Report,
    /// Its hash.
    pub hash: Hash,
    /// Who signed it: of a complete ceremony, everybody.
    pub signers: Vec<Name>,
}

/// Why a report does not verify.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Too long.
    #[error("{0} bytes are no report: the limit is {REPORT_LIMIT_BYTES}")]
    Long(usize),
    /// Other bytes than the canonical ones of a report.
    #[error("not a report of a ceremony ({0}): use the file as the ceremony wrote it")]
    Form(#[from] canon::CanonError),
    /// Another version.
    #[error(
        "the report has format {0:?}, and this program reads {REPORT_FORMAT}: use the program of its version"
    )]
    Format(String),
    /// Of another deployment, or by a script that is not sound.
    #[error(transparent)]
    Script(#[from] Breach),
    /// Of another script.
    #[error("the ceremony was held by the script {found}, and not by {expected}")]
    OtherScript {
        /// The hash of the script in the report.
        found: Hash,
        /// That of the script that was asked for.
        expected: Hash,
    },
    /// What it says happened cannot have happened by its script.
    #[error("its events do not follow from its script ({0}): somebody changed it")]
    Run(#[from] RunError),
    /// It says something else than follows from what happened.
    #[error("its {0} does not follow from its script and events: somebody changed it")]
    Differs(&'static str),
    /// A person did not sign.
    #[error("the signature of {0} is missing: everybody in the script signs the report")]
    Missing(Name),
    /// Somebody else signed, twice, or in another order.
    #[error("the signature of {0} has no place here: everybody in the script signs once, in its order")]
    Extra(Name),
    /// A signature does not verify.
    #[error(
        "the signature of {0} does not verify: the report was altered, or is not the one that was signed"
    )]
    Signature(Name),
    /// Too few signed an aborted ceremony's.
    #[error(
        "the report of an aborted ceremony takes the signatures of {0} people, a security officer among them"
    )]
    Quorum(u32),
    /// The ceremony made no shares.
    #[error("this ceremony made no record: it was {0}")]
    NoRecord(&'static str),
    /// Record and report are of different ceremonies.
    #[error("record and report are of different ceremonies: the {0} differ")]
    Record(&'static str),
    /// A signature under the record does not verify.
    #[error("the record: the signature of {0} does not verify: it was altered, or is of another genesis")]
    RecordSignature(Name),
    /// The record itself is not sound.
    #[error("the record: {0}")]
    Unsound(#[from] RecordError),
}

/// Verifies the file of a signed report: its form, that the script can have led to what happened, that all it
/// says follows from that, its signatures, and that it fits what it is compared with.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(bytes: &[u8], against: &Against<'_>) -> Result<Verified, ReportError> {
    if bytes.len() > REPORT_LIMIT_BYTES {
        return Err(ReportError::Long(bytes.len()));
    }
    let SignedReport { report, signatures } = canon::decode(bytes)?;
    if report.format != REPORT_FORMAT {
        return Err(ReportError::Format(report.format));
    }
    let found = report.script.hash();
    if let Some(expected) = against.script.filter(|expected| *expected != found) {
        return Err(ReportError::OtherScript { found, expected });
    }
    Script::parse(&report.script.bytes())?;
    match against.genesis {
        Some(genesis) => report.script.check(genesis)?,
        None => report.script.check_alone()?,
    }
    let run = Run::again(report.script.clone(), report.began_at, &report.events)?;
    if let Some(part) = difference(&report, &run.report()?) {
        return Err(ReportError::Differs(part));
    }

    let message = report.signed_bytes();
    let mut given = signatures.iter().peekable();
    let mut signers = Vec::new();
    for person in &report.script.people {
        let Some(signed) = given.next_if(|signed| signed.person == person.id) else {
            if report.status == Status::Complete {
                return Err(ReportError::Missing(person.id.clone()));
            }
            continue;
        };
        if !signature_ok(&person.key, &message, &signed.signature.0) {
            return Err(ReportError::Signature(person.id.clone()));
        }
        signers.push(person.id.clone());
    }
    if let Some(extra) = given.next() {
        return Err(ReportError::Extra(extra.person.clone()));
    }
    if report.status == Status::Aborted && !report.script.is_quorum(&signers) {
        return Err(ReportError::Quorum(report.script.deviation_quorum));
    }
    let hash = report.hash();
    if let Some(record) = against.record {
        check_record(&report, &hash, record, against.genesis)?;
    }
    Ok(Verified { report, hash, signers })
}

/// The first part of a report that differs from what its run comes to.
fn difference(said: &Report, come_to: &Report) -> Option<&'static str> {
    let parts = [
        ("status", said.status == come_to.status),
        ("list of components", said.components == come_to.components),
        ("list of accounts", said.accounts == come_to.accounts),
        ("number of combinations", said.combinations == come_to.combinations),
        ("list of findings", said.findings == come_to.findings),
        ("end", said.ended_at == come_to.ended_at),
        // Whatever was not compared above: nothing is left out.
        ("content", said == come_to),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(part, _)| part)
}

fn check_record(
    report: &Report,
    hash: &Hash,
    record: &CeremonyRecord,
    genesis: Option<&Genesis>,
) -> Result<(), ReportError> {
    let script = &report.script;
    if report.status == Status::Aborted {
        return Err(ReportError::NoRecord("aborted"));
    }
    let Some(cosigners) = &script.cosigners else {
        return Err(ReportError::NoRecord("one that deals no shares"));
    };
    let same = |same: bool, what| if same { Ok(()) } else { Err(ReportError::Record(what)) };
    same(record.recovery.as_ref().is_some_and(|recovery| recovery.report == *hash), "hashes of the report")?;
    same(Some(record.nonce) == report.nonce, "nonces")?;
    same(record.threshold == cosigners.threshold && record.holders == cosigners.holders, "co-signers")?;
    let dealt = record.slots.iter().map(|slot| &slot.account);
    same(dealt.eq(report.accounts.iter().map(|account| &account.account)), "accounts")?;
    let programs = report.rooms().all(|(_, room)| room.facts.program == record.program);
    same(programs, "programs")?;
    // Everything else that the record says of the ceremony, as it was when the shares were sealed.
    same(report.ceremony == Some(record.id(&script.genesis)), "ids of the ceremony")?;
    let signed = report.operations().filter_map(|(_, _, outcome)| match outcome {
        Outcome::Restored { signatures, .. } => Some(signatures),
        _ => None,
    });
    // Of a ceremony that was interrupted the last attempt counts.
    same(
        record.recovery.as_ref().map(|recovery| &recovery.restored) == signed.last(),
        "signatures of rebuilt keys",
    )?;
    let message = record.signed_bytes(&script.genesis);
    let mut people = BTreeSet::new();
    for participant in &record.participants {
        let person = script.people.iter().find(|person| key_id(&person.key) == participant.key);
        let person = person.ok_or(ReportError::Record("people"))?;
        if !signature_ok(&person.key, &message, &participant.signature.0) {
            return Err(ReportError::RecordSignature(person.id.clone()));
        }
        people.insert(&person.id);
    }
    same(people.len() >= PARTICIPANTS_MIN, "people")?;
    if let Some(genesis) = genesis {
        record::check(record, genesis)?;
    }
    Ok(())
}
