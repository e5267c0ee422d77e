//! What a run leaves: its own state after every step, and at its end record, shares and report.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use ceremony::files::{RECORD_FILE, SHARES_FILE, SealedShares};
use ceremony::report::REPORT_FILE;
use ceremony::run::{Event, Happening, Outcome, Status};
use ceremony::script::Action;
use ceremony::secrets::Sealed;
use ceremony::worker::frame::PUBLIC_LIMIT_BYTES;
use custody::document::{CeremonyRecord, Document};
use custody::name::Name;
use custody::{Blob, Hash, canon};
use serde::{Deserialize, Serialize};

use super::components::bounded;
use super::{Conductor, Halt, given};
use crate::front::{Question, Reply};
use crate::handover::Package;
use crate::pdf;

/// The file of the run itself, by which an interrupted ceremony goes on. It holds no secret.
pub const RUN_FILE: &str = "run.json";

/// Beside it, until the ceremony is over: the record as it was dealt, without report and signatures, and the sealed
/// shares.
const KEPT_FILE: &str = "sealed.json";

/// Most bytes of it: what the worker answers has the same limit.
const KEPT_LIMIT_BYTES: usize = PUBLIC_LIMIT_BYTES;

/// The report while people read and sign it.
const UNSIGNED_FILE: &str = "report-unsigned.json";

/// The file of the report as people file it.
pub const REPORT_PDF: &str = "report.pdf";

/// Only who holds the ceremony reads or changes the directory.
const DIRECTORY_MODE: u32 = 0o700;

/// As for the directory.
const FILE_MODE: u32 = 0o600;

/// What was sealed, and is not delivered yet.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    record: CeremonyRecord,
    shares: SealedShares,
}

impl Conductor<'_> {
    /// The directory of the results; an interrupted ceremony finds its own again.
    pub(super) fn make_directory(&self) -> io::Result<()> {
        let directory = &self.settings.out;
        match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|error| named(directory, &error)),
        }
    }

    /// Keeps the run as it stands, and returns its hash. Until the ceremony is over, record and sealed shares
    /// lie beside it, so that it can go on with them.
    pub(super) fn save(&self) -> io::Result<Hash> {
        let kept = self.settings.out.join(KEPT_FILE);
        match &self.sealed {
            Some(sealed) => {
                let all = Kept { record: sealed.record.clone(), shares: sealed.shares.clone() };
                replace(&kept, &canon::encode(&all).map_err(io::Error::other)?)?;
            }
            None => remove(&kept)?,
        }
        let (bytes, hash) = self.run.save();
        replace(&self.settings.out.join(RUN_FILE), &bytes)?;
        Ok(hash)
    }

    /// Saves, and if the disk does not take it asks people to make room.
    pub(super) fn keep(&mut self) -> io::Result<()> {
        self.written(|this| this.save().map(drop)).map(drop)
    }

    /// Tries to write until it works, or people go on without: then it is not written.
    fn written(&mut self, write: impl Fn(&Self) -> io::Result<()>) -> io::Result<bool> {
        while let Err(error) = write(self) {
            self.front.say(&error.to_string())?;
            let asked = Question::new(
                "disk",
                "Mend it and type again; or type without, to go on with nothing saved:",
            );
            match self.front.ask(&asked)? {
                Reply::Given(answer) if answer == "without" => return Ok(false),
                Reply::Abort(reason) => return self.give_up(&reason).map(|()| false),
                Reply::Alarm => return Ok(false),
                Reply::Given(_) | Reply::Pause => {}
            }
        }
        Ok(true)
    }

    /// Takes up what an interrupted ceremony had sealed already.
    pub(super) fn take_up(&mut self) -> io::Result<()> {
        let to_come = self.run.remaining().iter().any(|step| step.action == Action::SealShares);
        let deals = self.run.script().kind.makes_shares();
        if !deals || to_come || self.run.is_secret() || self.run.status() != Status::Running {
            return Ok(());
        }
        let lost = "record and sealed shares of the interrupted ceremony were lost or changed";
        loop {
            match self.kept() {
                Ok(kept) => {
                    self.sealed = Some(Sealed { record: kept.record, shares: kept.shares });
                    return Ok(());
                }
                Err(why) => self.front.say(&format!("{KEPT_FILE}: {why}"))?,
            }
            // A medium that was not read once may be read again; giving up deletes what is on it.
            let asked = Question::new(
                "kept",
                "Mend it and type again; or type lost, to give the ceremony up and delete what is left of it:",
            );
            match self.front.ask(&asked)? {
                Reply::Given(answer) if answer == "lost" => return self.give_up(lost),
                Reply::Abort(reason) => return self.give_up(&reason),
                Reply::Pause => {
                    let why = "interrupted before anything was changed: resume with the same hash";
                    return Err(io::Error::other(why));
                }
                Reply::Given(_) | Reply::Alarm => {}
            }
        }
    }

    /// What lies beside the saved run, if it is what this run made.
    fn kept(&self) -> Result<Kept, String> {
        let path = self.settings.out.join(KEPT_FILE);
        let kept: Kept =
            canon::decode(&bounded(&path, KEPT_LIMIT_BYTES)?).map_err(|error| error.to_string())?;
        let sealed = self.run.events().iter().rev().find_map(|event| match &event.what {
            Happening::Done { outcome: Outcome::SharesSealed { ceremony, .. }, .. } => Some(*ceremony),
            _ => None,
        });
        // The id covers all of the record but these two, which are added when the report is complete.
        let own = sealed == Some(kept.record.id(&self.genesis.hash()))
            && sealed == Some(kept.shares.ceremony)
            && kept.record.participants.is_empty()
            && kept.record.recovery.is_none();
        if own { Ok(kept) } else { Err("it is not of the saved run".into()) }
    }

    /// The signatures of the rebuilt keys.
    pub(super) fn restored(&self) -> Vec<Blob> {
        let restored = |event: &Event| match &event.what {
            Happening::Done { outcome: Outcome::Restored { signatures, .. }, .. } => Some(signatures.clone()),
            _ => None,
        };
        self.run.events().iter().rev().find_map(restored).unwrap_or_default()
    }

    /// The sealed shares of one co-signer, as a file to carry or as codes to look at.
    pub(super) fn hand_over(&mut self, cosigner: &Name) -> Result<Outcome, Halt> {
        let Some(sealed) = &self.sealed else {
            return Err(Halt::Abort("the sealed shares are gone: hold the ceremony anew".into()));
        };
        let package =
            Package::of(&sealed.shares, cosigner).map_err(|error| Halt::Abort(error.to_string()))?;
        let sha256 = package.sha256();
        let asked =
            format!("The sealed shares of {cosigner}: a file, or codes on this screen? Type file or screen:");
        if self.choose("way", &asked, &["file", "screen"])? == "file" {
            let path = self.settings.out.join(package.file_name());
            replace(&path, package.bytes()).map_err(|error| Halt::Again(error.to_string()))?;
            self.front.say(&format!("{}: SHA-256 {sha256}", path.display()))?;
        } else {
            self.front.say(&format!("shares of {cosigner}: SHA-256 {sha256}"))?;
            given(self.front.codes(&package)?)?;
            self.yes("taken", "Has the other side the whole package? Type yes, or no to choose again:")?;
        }
        let to =
            self.text("courier", &format!("Who takes the shares of {cosigner}, and compared that hash?"))?;
        Ok(Outcome::HandedOver { sha256, to })
    }

    pub(super) fn close_report(&mut self) -> Result<Outcome, Halt> {
        let report = self.run.report().map_err(|error| Halt::Again(error.to_string()))?;
        let hash = report.hash();
        let bytes = canon::encode(&report).map_err(|error| Halt::Again(error.to_string()))?;
        let path = self.settings.out.join(UNSIGNED_FILE);
        replace(&path, &bytes).map_err(|error| Halt::Again(error.to_string()))?;
        self.front.say(&format!("hash of the report: {hash}; everybody writes it down"))?;
        self.yes("report", "Has everybody read the report and written its hash down? Type yes:")?;
        Ok(Outcome::Closed { report: hash })
    }

    /// Writes what the ceremony was held for.
    pub(super) fn finish(&mut self, record: Option<&CeremonyRecord>) -> io::Result<()> {
        let complete = self.run.status() == Status::Complete;
        if complete && self.run.script().kind.makes_shares() && record.is_none() {
            return Err(io::Error::other(
                "the record is missing: the program is not whole, install it again",
            ));
        }
        if !self.written(|this| this.write_results(record))? {
            return Err(io::Error::other(
                "the results are not written: mend the medium and go on from run.json with keyward-ceremony resume",
            ));
        }
        self.front.say(&format!("written {}", self.settings.out.display()))
    }

    fn write_results(&self, record: Option<&CeremonyRecord>) -> io::Result<()> {
        let out = &self.settings.out;
        let signed = self.run.signed_report().map_err(io::Error::other)?;
        replace(&out.join(REPORT_FILE), &canon::encode(&signed).map_err(io::Error::other)?)?;
        let paper = pdf::report(&signed, self.settings.paper).map_err(io::Error::other)?;
        replace(&out.join(REPORT_PDF), &paper)?;
        if let (Some(record), Some(sealed)) = (record, &self.sealed) {
            ceremony::record::check(record, &self.genesis).map_err(io::Error::other)?;
            let record = canon::encode(&Document::Ceremony(record.clone())).map_err(io::Error::other)?;
            replace(&out.join(RECORD_FILE), &record)?;
            replace(&out.join(SHARES_FILE), &canon::encode(&sealed.shares).map_err(io::Error::other)?)?;
        }
        self.save()?;
        remove(&out.join(KEPT_FILE))?;
        remove(&out.join(UNSIGNED_FILE))
    }
}

/// A file that is not there any more.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| named(path, &error)),
    }
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}; choose another place, or make room", path.display()))
}

/// A file that was not there before, for its owner alone to read.
///
/// # Errors
/// It is there, or cannot be written; the text says what to do.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let open = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let written = open.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| named(path, &error))
}

/// A file that is there whole, in its old form or its new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&partial);
    let written = open.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    let moved = written.and_then(|()| fs::rename(&partial, path));
    let synced = moved.and_then(|()| File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all());
    synced.map_err(|error| named(path, &error))
}
