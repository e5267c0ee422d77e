//! Components on their way between the worker, their media and their holders.

use std::fmt::Display;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use ceremony::component::Component;
use ceremony::run::{How, Outcome};
use ceremony::script::{ComponentId, Medium};
use ceremony::sheet::{self, Label, Parameters};
use ceremony::slip39::Mnemonic;
use ceremony::worker::{Answer, Ask, STACK_BYTES};
use custody::Hash;
use keys::locked::{LockedBytes, on_locked_stack};
use zeroize::Zeroizing;

use super::{Conductor, Halt, again, given, now, results, secrets::unexpected};
use crate::age_file::{self, Identity, IdentityError, Recipient};
use crate::image::{self, Words};

impl Conductor<'_> {
    /// The words of a new component and its label.
    fn component(&mut self, id: ComponentId) -> Result<(LockedBytes, Label), Halt> {
        let (answer, words) = self.worker(&Ask::Show { component: id }, b"")?;
        let Answer::Component { health } = answer else { return unexpected(&answer) };
        let header = apart(|| {
            let parsed = Mnemonic::parse(text(&words)?).map_err(|error| error.to_string())?;
            Ok::<_, String>(*parsed.header())
        })?;
        let header = header.map_err(Halt::Abort)?;
        let parameters = Parameters {
            identifier: header.identifier,
            extendable: header.extendable,
            iteration_exponent: header.iteration_exponent,
        };
        let label = Label::new(self.run.script(), id, parameters, health, now());
        let label = label.ok_or_else(|| Halt::Abort(format!("the script makes no component {id}")))?;
        Ok((words, label))
    }

    pub(super) fn print_sheet(&mut self, id: ComponentId) -> Result<Outcome, Halt> {
        let holder = self.actor();
        self.yes("alone", &format!("{holder} alone sees the screen and the printer now? Type yes:"))?;
        let (words, label) = self.component(id)?;
        let failed = |error: &dyn Display| {
            Halt::Again(format!("{error}; destroy what was printed, mend the printer, and print again"))
        };
        let rehearsal = self.run.script().is_rehearsal();
        let mut printer = self.settings.printer.open(rehearsal).map_err(|error| failed(&error))?;
        sheet::write(&label, text(&words).map_err(Halt::Again)?, self.settings.paper, &mut printer)
            .map_err(|error| failed(&error))?;
        drop(printer);
        given(self.front.private(&holder, &id.to_string(), words)?)?;
        self.yes(
            "printed",
            &format!("{holder}: is the whole sheet there and legible? Type yes, or no to destroy it and print again:"),
        )?;
        Ok(Outcome::Printed)
    }

    pub(super) fn write_file(&mut self, id: ComponentId) -> Result<Outcome, Halt> {
        let (words, label) = self.component(id)?;
        let person = self.run.script().person(&label.holder).and_then(|person| person.age.clone());
        let recipient: Recipient = person.unwrap_or_default().parse().map_err(Halt::Abort)?;
        let mut file = Vec::new();
        age_file::write(&label, text(&words).map_err(Halt::Again)?, &recipient, &mut file)
            .map_err(|error| Halt::Again(error.to_string()))?;
        // What is written to the medium is encrypted: the words are not needed while people look for one.
        drop(words);
        let asked = format!("Where does {} want the file? A directory on the holder's medium:", label.holder);
        let path = self.until(|this| {
            let directory = PathBuf::from(this.text("path", &asked)?);
            let path = directory.join(format!("component-{}-{id}.age", label.identifier));
            results::write_new(&path, &file).map_err(|error| Halt::Again(error.to_string()))?;
            Ok(path)
        })?;
        self.front.say(&format!("written {}", path.display()))?;
        Ok(Outcome::Written { sha256: Hash::sha256(&file) })
    }

    pub(super) fn read_back(&mut self, id: ComponentId, medium: Medium) -> Result<Outcome, Halt> {
        let (how, words) = self.read(id, medium)?;
        let (answer, _) = self.worker(&Ask::ReadBack { component: id, medium }, words.as_str().as_bytes())?;
        let Answer::Read { health } = answer else { return unexpected(&answer) };
        Ok(Outcome::ReadBack { how, health })
    }

    pub(super) fn enter(&mut self, id: ComponentId) -> Result<Outcome, Halt> {
        self.begin()?;
        let asked = format!("Component {id}: from its paper or its file? Type paper or file:");
        let medium = match self.choose("medium", &asked, &["paper", "file"])? {
            "paper" => Medium::Paper,
            _ => Medium::File,
        };
        let (how, words) = self.read(id, medium)?;
        // The worker keeps what it takes: another secret's component must not get there.
        let read = apart(|| match Mnemonic::parse(words.as_str()).map(Component::new) {
            Ok(read) => Ok((read.id(), read.health_public())),
            Err(error) => Err((error.to_string(), error.likely())),
        })?;
        let (entered, own) = match read {
            Ok(read) => read,
            Err((why, likely)) => {
                self.hint(id, likely)?;
                return again(why);
            }
        };
        let brought = self.run.script().held.iter().flat_map(|held| &held.brought);
        let health = brought.filter(|brought| brought.component == id).map(|brought| brought.health).next();
        if entered == id && health != Some(own) {
            return again(format!(
                "these words are of component {id} of another secret: bring the right one"
            ));
        }
        let (answer, _) = self.worker(&Ask::Enter { component: id }, words.as_str().as_bytes())?;
        let Answer::Read { health } = answer else { return unexpected(&answer) };
        Ok(Outcome::Entered { how, health })
    }

    /// Reads a component from a medium.
    fn read(&mut self, id: ComponentId, medium: Medium) -> Result<(How, Words), Halt> {
        if medium == Medium::File {
            let path = self.text("file", &format!("The file of component {id}:"))?;
            let identity = self.text("identity", "The holder's age identity file:")?;
            return Ok((How::File, read_file(self, Path::new(&path), Path::new(&identity))?));
        }
        let asked = format!("Component {id}: type words, scanner or image:");
        let how = self.choose("how", &asked, &["words", "scanner", "image"])?;
        if how == "image" {
            let path = self.text("image", "The image of the QR code (PNG or JPEG):")?;
            let image = bounded(Path::new(&path), image::FILE_LIMIT_BYTES).map_err(Halt::Again)?;
            let words = Words::photographed(&image).map_err(|error| Halt::Again(error.to_string()))?;
            return Ok((How::Image, words));
        }
        let how = if how == "words" { How::Typed } else { How::Scanner };
        Ok((how, self.typed_words(id)?))
    }

    /// Who acts in the current step: of a component its holder.
    pub(super) fn actor(&self) -> String {
        let people = self.run.current().map(|step| step.people.as_slice()).unwrap_or_default();
        people.first().map(ToString::to_string).unwrap_or_default()
    }
}

fn read_file(conductor: &mut Conductor<'_>, file: &Path, identity: &Path) -> Result<Words, Halt> {
    let bytes = bounded(file, age_file::FILE_LIMIT_BYTES).map_err(Halt::Again)?;
    let key = Zeroizing::new(bounded(identity, age_file::FILE_LIMIT_BYTES).map_err(Halt::Again)?);
    let wrong = |error: IdentityError| Halt::Again(format!("{}: {error}", identity.display()));
    let identity = match Identity::open(&key, None) {
        Err(IdentityError::Passphrase) => conductor.until(|this| {
            let typed = this.hidden("identity-passphrase", "The passphrase of the identity file:")?;
            let passphrase = SecretString::from(text(&typed).map_err(Halt::Again)?.to_owned());
            Identity::open(&key, Some(passphrase)).map_err(wrong)
        })?,
        other => other.map_err(wrong)?,
    };
    let read = age_file::read(bytes.as_slice(), &identity);
    let (_, words) = read.map_err(|error| Halt::Again(format!("{}: {error}", file.display())))?;
    Ok(words)
}

/// Works with the words of a component on a locked stack, which is wiped: what it gives back is public or locked.
pub(super) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Halt> {
    on_locked_stack(STACK_BYTES, work).map_err(|error| Halt::Again(error.to_string()))
}

/// A file that people name, if it is not too large to be what they say; `limit` is in bytes. No more is read, also
/// of what has no size of its own or grows meanwhile.
///
/// # Errors
/// It cannot be read, or is too large; the text names it.
pub fn bounded(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let why = |error: &dyn Display| format!("{}: {error}", path.display());
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(|error| why(&error))?;
    opened.take(most).read_to_end(&mut bytes).map_err(|error| why(&error))?;
    if bytes.len() <= limit {
        Ok(bytes)
    } else {
        Err(why(&format!("over the limit of {limit} bytes: name another file")))
    }
}

pub(super) fn text(words: &LockedBytes) -> Result<&str, String> {
    str::from_utf8(words.expose()).map_err(|_| "what was typed is no text: type it again".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_may_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(bounded(&path, 5).unwrap(), b"12345");
        assert!(bounded(&path, 4).unwrap_err().contains("over the limit of 4 bytes"));
        // It says that it has no bytes at all, and does not end.
        assert!(bounded(Path::new("/dev/zero"), 1_000).unwrap_err().contains("/dev/zero"));
    }
}
