//! Who is there, what they compare, and what they sign.

use std::io;

use ceremony::record;
use ceremony::room::Finding;
use ceremony::run::{Answer, Deviation, Outcome, PersonSignature, Status};
use ceremony::secrets;
use custody::document::CeremonyRecord;
use custody::name::Name;
use custody::{Blob, Hash};
use keys::device::{self, DeviceKey, SignMessage};

use super::components::bounded;
use super::{Conductor, Halt, again, now};

/// How many digits of a hash people type from their paper.
const DIGITS: usize = 8;

/// Largest key file in bytes: many times what one has.
const KEY_FILE_LIMIT_BYTES: usize = 64 << 10;

impl Conductor<'_> {
    pub(super) fn arrive(&mut self, person: &Name) -> Result<Outcome, Halt> {
        let known = self.run.script().person(person);
        let who = known.map(|p| format!("{} of {}", p.name, p.organisation)).unwrap_or_default();
        self.yes("present", &format!("{who} ({person}): identified by the others? Type yes:"))?;
        Ok(Outcome::Present)
    }

    /// The first digits come from paper, so that nobody just nods.
    pub(super) fn compare(&mut self, what: &str, hash: Hash) -> Result<Outcome, Halt> {
        let text = hash.to_string();
        self.front.say(&format!("hash of the {what}: {text}"))?;
        let typed = self.text(
            &format!("digits-{what}"),
            &format!("Read the hash of the {what} from your paper aloud; type its first {DIGITS} digits:"),
        )?;
        if text.get(..DIGITS) == Some(typed.as_str()) {
            Ok(Outcome::Compared { hash })
        } else {
            again(format!(
                "the {what} here begins with other digits: bring the file that everybody has on paper"
            ))
        }
    }

    pub(super) fn hardware(&mut self, number: usize) -> Result<Outcome, Halt> {
        let device = self.run.script().hardware.get(number);
        let what = device.map(|d| format!("{} {} {}", d.what, d.maker, d.model)).unwrap_or_default();
        let serial = self.text("serial", &format!("{what}: its serial number:"))?;
        let seal =
            self.text("seal", &format!("{what}: the number of the unbroken seal that it came under:"))?;
        Ok(Outcome::Hardware { serial, seal })
    }

    /// What is open is settled before anything else: mended, signed for, or the end.
    pub(super) fn settle(&mut self) -> Result<(), Halt> {
        loop {
            let open = self.open();
            if open.is_empty() {
                return Ok(());
            }
            for (number, finding) in &open {
                self.front.say(&format!("finding {number}: {finding}"))?;
                let kind = finding.kind;
                self.front.say(&format!(
                    "  why it matters: {} ({})",
                    kind.why(),
                    kind.controls().join(", ")
                ))?;
                self.front.say(&format!("  what to do: {}", kind.remedy()))?;
            }
            let admits = |(_, finding): &(u32, Finding)| self.run.script().deviations.contains(&finding.kind);
            let admitted = open.iter().all(admits);
            let choice = if admitted {
                "inspect again, or sign deviations for all of these: type inspect or deviate"
            } else {
                "inspect again when it is mended: type inspect"
            };
            let done =
                match self.text("findings", &format!("Mend it and {choice}; or !abort REASON:"))?.as_str() {
                    "inspect" => {
                        let room = self.inspect();
                        self.run.inspect(now(), room).map_err(|error| Halt::Again(error.to_string()))
                    }
                    "deviate" if admitted => self.deviate(&open),
                    other => again(format!("{other:?} is neither of these")),
                };
            match done {
                Err(Halt::Again(why)) => self.front.say(&why)?,
                other => other?,
            }
        }
    }

    /// The findings that are open, by number.
    fn open(&self) -> Vec<(u32, Finding)> {
        let open = (0u32..).zip(self.run.findings()).filter(|(_, found)| found.answer == Answer::Open);
        open.map(|(number, found)| (number, found.finding.clone())).collect()
    }

    /// People sign for each of these, one after the other with one passphrase each.
    fn deviate(&mut self, open: &[(u32, Finding)]) -> Result<(), Halt> {
        let reason = self.text("reason", "Why are they acceptable?")?;
        let people = self.until(Self::signers)?;
        let mut keys = Vec::new();
        for person in people {
            keys.push((self.unlock(&person)?, person));
        }
        let wrong = |error: &dyn std::fmt::Display| Halt::Again(error.to_string());
        for (finding, _) in open {
            let bytes = self.run.deviation_bytes(*finding, &reason).map_err(|error| wrong(&error))?;
            let sign = |(key, person): &(DeviceKey, Name)| {
                let signature =
                    key.sign(SignMessage::CeremonyDeviation(&bytes)).map_err(|error| wrong(&error))?;
                Ok(PersonSignature { person: person.clone(), signature: Blob(signature.to_vec()) })
            };
            let signatures = keys.iter().map(sign).collect::<Result<_, Halt>>()?;
            let deviation = Deviation { finding: *finding, reason: reason.clone(), signatures };
            self.run.deviate(now(), deviation).map_err(|error| wrong(&error))?;
        }
        Ok(())
    }

    /// Who signs a deviation.
    fn signers(&mut self) -> Result<Vec<Name>, Halt> {
        let typed =
            self.text("people", "Who signs? Names with spaces between, a security officer among them:")?;
        let known = |who: &str| {
            let name = Name::new(who).filter(|name| self.run.script().person(name).is_some());
            name.ok_or_else(|| Halt::Again(format!("{who:?} does not stand in the script")))
        };
        let people = typed.split_whitespace().map(known).collect::<Result<Vec<_>, _>>()?;
        if self.run.script().is_quorum(people.iter()) {
            Ok(people)
        } else {
            let quorum = self.run.script().deviation_quorum;
            again(format!("it takes {quorum} different people of the script, a security officer among them"))
        }
    }

    /// Opens the key file of a person with their passphrase.
    fn unlock(&mut self, person: &Name) -> Result<DeviceKey, Halt> {
        let Some(known) = self.run.script().person(person) else {
            return again(format!("{person} does not stand in the script"));
        };
        let key = known.key;
        let (mut found, mut unread) = (None, String::new());
        for path in &self.settings.keys {
            let public =
                bounded(path, KEY_FILE_LIMIT_BYTES).map_err(|error| error.to_string()).and_then(|file| {
                    let public = device::public_of(&file).map_err(|error| error.to_string())?;
                    Ok((public.sign, file))
                });
            match public {
                Ok((public, file)) if public == key => found = Some(file),
                Ok(_) => {}
                // Another medium that is not there now does not matter.
                Err(error) => unread = format!("{unread}; {}: {error}", path.display()),
            }
        }
        let Some(file) = found else {
            return again(format!(
                "no key file of {person} was given: start with --key FILE for everybody{unread}"
            ));
        };
        self.until(|this| {
            let typed = this.hidden(&format!("passphrase-{person}"), &format!("Passphrase of {person}:"))?;
            let text = str::from_utf8(typed.expose());
            let text = text.map_err(|_| Halt::Again("the passphrase is no text: type it again".into()))?;
            DeviceKey::from_file(&file, text)
                .map_err(|error| Halt::Again(format!("{person}: {error}; type the passphrase again")))
        })
    }

    /// The record of what was dealt, if shares were: it names the complete report, and the people of genesis sign it.
    /// Whoever signed the report before an interruption opens their key once more.
    pub(super) fn sign_record(&mut self) -> io::Result<Option<CeremonyRecord>> {
        let Some(sealed) = &self.sealed else { return Ok(None) };
        let report = self.run.report().map_err(io::Error::other)?;
        let mut record = sealed.finish(report.hash(), self.restored());
        let people = self.run.script().people.iter();
        let people = people.filter(|person| record::is_known(&self.genesis, &person.key));
        let people: Vec<(Name, Hash)> = people.map(|person| (person.id.clone(), person.key)).collect();
        for (person, key) in people {
            while !self.hands.iter().any(|hand| hand.public().sign == key) {
                match self.unlock(&person) {
                    Ok(hand) => self.hands.push(hand),
                    Err(Halt::Machine(error)) => return Err(error),
                    Err(Halt::Again(why) | Halt::Abort(why)) => self.front.say(&why)?,
                    Err(_) => self.front.say("the report is complete: its record still wants signatures")?,
                }
            }
            for hand in self.hands.iter().filter(|hand| hand.public().sign == key).take(1) {
                secrets::sign(&mut record, &self.genesis, hand).map_err(io::Error::other)?;
            }
        }
        self.hands.clear();
        Ok(Some(record))
    }

    /// A person signs the report.
    pub(super) fn sign(&mut self, person: &Name) -> Result<Option<Outcome>, Halt> {
        if self.run.status() == Status::Aborting {
            let here = self.choose(
                &format!("here-{person}"),
                &format!("Is {person} still here to sign? Type yes or no:"),
                &["yes", "no"],
            )?;
            if here == "no" {
                return Ok(Some(Outcome::Absent));
            }
        }
        let report = self.run.report().map_err(|e| Halt::Again(e.to_string()))?;
        let key = self.unlock(person)?;
        let signature = key.sign(SignMessage::CeremonyReport(&report.signed_bytes()));
        let signature = Blob(signature.map_err(|e| Halt::Again(e.to_string()))?.to_vec());
        // The record is signed when everybody has signed the report: one that is signed earlier would put keys into
        // use of a ceremony that was given up after all.
        self.hands.push(key);
        Ok(Some(Outcome::Signed { signature }))
    }
}
