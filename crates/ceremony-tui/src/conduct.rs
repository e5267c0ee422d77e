//! Leads people through the run: for each step it does what is to be done, asks what is to be asked, and gives
//! the outcome to the run, which alone decides whether the step is over.

mod components;
mod people;
mod results;
mod room;
mod secrets;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use ceremony::run::{Event, Happening, Outcome, REASON_LIMIT_BYTES, Run, Status};
use ceremony::script::{Action, ComponentId, Step};
use ceremony::secrets::Sealed;
use ceremony::sheet::Paper;
use custody::Hash;
use custody::document::CosignerCard;
use custody::genesis::Genesis;
use keys::device::DeviceKey;
use keys::locked::LockedBytes;

use crate::child::Child;
use crate::front::{Front, Progress, Question, Reply};
use crate::print::Printer;
use crate::watch::{Alarm, Watcher};

pub use components::bounded;
pub use results::{REPORT_PDF, RUN_FILE, write_new};

/// What the program was told at its start.
#[derive(Debug)]
pub struct Settings {
    /// Where results go: a directory that nothing else is in.
    pub out: PathBuf,
    /// The key files of people.
    pub keys: Vec<PathBuf>,
    /// Cards of co-signers that took the place of those in genesis.
    pub cards: Vec<CosignerCard>,
    /// Where sheets are printed.
    pub printer: Printer,
    /// What is in it.
    pub paper: Paper,
    /// SHA-256 of the program.
    pub program: Hash,
    /// What is known about memory, in words.
    pub memory: String,
}

/// Why a step is not over.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It is tried again: what is wrong, and what to do.
    Again(String),
    /// People give up.
    Abort(String),
    /// People interrupt.
    Pause,
    /// The watch found something.
    Alarm,
    /// Nobody is there any more, or the disk failed.
    Machine(io::Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Machine(error)
    }
}

pub(crate) fn again<T>(why: impl ToString) -> Result<T, Halt> {
    Err(Halt::Again(why.to_string()))
}

/// The reason of who gave up with one that a report cannot have.
const UNPRINTABLE: &str = "given up; the reason that was typed cannot be printed";

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Every step is done.
    Complete,
    /// It was given up, and that is reported.
    Aborted,
    /// It was interrupted: it goes on from what was saved, with this hash.
    Paused(Hash),
}

/// A run with everything around it.
pub struct Conductor<'f> {
    run: Run,
    genesis: Genesis,
    settings: Settings,
    front: &'f mut dyn Front,
    child: Option<Child>,
    watcher: Option<Watcher>,
    alarm: Alarm,
    sealed: Option<Sealed>,
    /// The opened keys of those who signed the report, until it is complete.
    hands: Vec<DeviceKey>,
}

impl<'f> Conductor<'f> {
    /// A run that has begun or was resumed.
    pub fn new(run: Run, genesis: Genesis, settings: Settings, front: &'f mut dyn Front) -> Self {
        Self {
            run,
            genesis,
            settings,
            front,
            child: None,
            watcher: None,
            alarm: Alarm::default(),
            sealed: None,
            hands: Vec::new(),
        }
    }

    /// Goes through the steps until none is left, or people interrupt.
    ///
    /// # Errors
    /// Nobody is there any more, or the disk failed; every secret is gone then.
    pub fn conduct(mut self) -> io::Result<Ended> {
        self.front.heed(self.alarm.clone());
        self.make_directory()?;
        self.take_up()?;
        while let Some(step) = self.run.current().cloned() {
            self.keep()?;
            self.listen()?;
            if self.run.current() != Some(&step) {
                continue;
            }
            let done = |event: &&Event| matches!(event.what, Happening::Done { .. });
            let done = self.run.events().iter().filter(done).count();
            let of = done.saturating_add(self.run.remaining().len());
            let rehearsal = self.run.script().is_rehearsal();
            self.front.step(&step, Progress { step: done.saturating_add(1), of, rehearsal })?;
            let outcome = match self.settle() {
                Ok(()) => self.act(&step),
                Err(halt) => Err(halt),
            };
            match outcome {
                Ok(Some(outcome)) => {
                    if let Err(error) = self.run.done(now(), outcome) {
                        self.front.say(&error.to_string())?;
                    }
                }
                Ok(None) => {}
                Err(Halt::Again(why)) => self.front.say(&why)?,
                Err(Halt::Abort(reason)) => self.give_up(&reason)?,
                Err(Halt::Pause) => return self.pause(),
                Err(Halt::Alarm) => self.listen()?,
                Err(Halt::Machine(error)) => return Err(error),
            }
        }
        let complete = self.run.status() == Status::Complete;
        let record = if complete { self.sign_record()? } else { None };
        self.finish(record.as_ref())?;
        Ok(if complete { Ended::Complete } else { Ended::Aborted })
    }

    /// Does a step. Without an outcome the run changed in another way.
    fn act(&mut self, step: &Step) -> Result<Option<Outcome>, Halt> {
        let outcome = match &step.action {
            Action::Arrive(person) => self.arrive(person)?,
            Action::CompareScript => self.compare("script", self.run.script().hash())?,
            Action::CompareGenesis => self.compare("genesis", self.genesis.hash())?,
            Action::Hardware(number) => self.hardware(*number)?,
            Action::Record => {
                Outcome::Recording { seal: self.text("seal", "The number of the seal for the recording:")? }
            }
            Action::Inspect(_) => Outcome::Room(self.inspect()),
            Action::Entropy(source) => self.gather(*source)?,
            Action::Generate => self.generate()?,
            Action::Open(id) => {
                // Who opens a container may see what is in it: the machine is watched from here on.
                self.begin()?;
                Outcome::Opened {
                    seal: self
                        .text("seal", &format!("The number of the unbroken seal of component {id}:"))?,
                }
            }
            Action::Enter(id) => self.enter(*id)?,
            Action::Combine => self.combine()?,
            Action::VerifyCombinations => self.verify()?,
            Action::PrintSheet(id) => self.print_sheet(*id)?,
            Action::WriteFile(id) => self.write_file(*id)?,
            Action::ReadBack(id, medium) => self.read_back(*id, *medium)?,
            Action::Return(id) if self.run.keeps_new() && self.is_gone(*id)? => Outcome::Destroyed,
            Action::Seal(id) | Action::Return(id) => Outcome::Sealed {
                seal: self.text("seal", &format!("The number of the seal around component {id}:"))?,
            },
            Action::RestoreTest => self.restore()?,
            Action::SealShares => self.seal_shares()?,
            Action::Erase => self.erase()?,
            Action::Void(id) | Action::Retire(id) => {
                self.yes(
                    "destroyed",
                    &format!("Destroy both media of component {id} before everybody's eyes. Type yes:"),
                )?;
                Outcome::Destroyed
            }
            Action::HandOver(cosigner) => self.hand_over(cosigner)?,
            Action::CloseReport => self.close_report()?,
            Action::Sign(person) => return self.sign(person),
        };
        Ok(Some(outcome))
    }

    /// Whether a component is destroyed already that was about to be when the ceremony was given up.
    fn is_gone(&mut self, id: ComponentId) -> Result<bool, Halt> {
        let asked = format!(
            "Component {id} was to be destroyed. Is either medium of it destroyed? Then destroy the other one, too, and type destroyed; \
             if both are whole, type returned:"
        );
        Ok(self.choose("fate", &asked, &["destroyed", "returned"])? == "destroyed")
    }

    /// Gives up: first the secrets, then the words about it.
    fn give_up(&mut self, reason: &str) -> io::Result<()> {
        self.forget()?;
        if self.run.status() != Status::Running {
            return self
                .front
                .say("The ceremony is given up already: what is left is to erase and to report.");
        }
        let mut reason = reason.to_owned();
        if reason.is_empty() {
            let question =
                Question::new("abort-reason", "The secrets are erased. Why is the ceremony given up?");
            if let Reply::Given(given) | Reply::Abort(given) = self.front.ask(&question)? {
                reason = given;
            }
        }
        if reason.trim().is_empty() {
            "no reason was given".clone_into(&mut reason);
        }
        reason.truncate(reason.floor_char_boundary(REASON_LIMIT_BYTES));
        self.sealed = None;
        self.hands.clear();
        if let Err(error) = self.run.abort(now(), &reason) {
            self.front.say(&error.to_string())?;
            self.run.abort(now(), UNPRINTABLE).map_err(io::Error::other)?;
        }
        self.front.say("The ceremony is given up. What is left is to destroy, to put back, and to report.")
    }

    /// Interrupts the ceremony. With secrets in the machine these go first, and the attempt is void.
    fn pause(&mut self) -> io::Result<Ended> {
        self.forget()?;
        if self.run.is_secret() && self.run.status() == Status::Running {
            self.sealed = None;
            if let Err(error) = self.run.pause(now()) {
                self.front.say(&error.to_string())?;
            }
        }
        self.keep()?;
        let (_, hash) = self.run.save();
        self.front.say(&format!("Interrupted. Write down the hash of the saved run: {hash}"))?;
        Ok(Ended::Paused(hash))
    }

    // What people are asked. An answer that is none is asked for again, and nothing else.

    /// Some text.
    pub(crate) fn text(&mut self, id: &str, text: &str) -> Result<String, Halt> {
        loop {
            match self.front.ask(&Question::new(id, text))? {
                Reply::Given(answer) if answer.is_empty() => {
                    self.front.say("nothing was typed: answer, or give up with !abort")?;
                }
                other => return given(other),
            }
        }
    }

    /// One of these.
    pub(crate) fn choose(&mut self, id: &str, text: &str, of: &[&'static str]) -> Result<&'static str, Halt> {
        loop {
            let answer = self.text(id, text)?;
            if let Some(chosen) = of.iter().find(|word| **word == answer) {
                return Ok(chosen);
            }
            self.front.say(&format!("{answer:?} is none of: {}", of.join(", ")))?;
        }
    }

    /// Asks until somebody says yes; who says no does the step again.
    pub(crate) fn yes(&mut self, id: &str, text: &str) -> Result<(), Halt> {
        match self.choose(id, text, &["yes", "no"])? {
            "yes" => Ok(()),
            _ => again("the step is not done yet"),
        }
    }

    /// Something that nobody may see.
    pub(crate) fn hidden(&mut self, id: &str, text: &str) -> Result<LockedBytes, Halt> {
        given(self.front.hidden(&Question::new(id, text))?)
    }

    /// Does something until it is not to be done again.
    pub(crate) fn until<T>(&mut self, mut what: impl FnMut(&mut Self) -> Result<T, Halt>) -> Result<T, Halt> {
        loop {
            match what(self) {
                Err(Halt::Again(why)) => self.front.say(&why)?,
                other => return other,
            }
        }
    }
}

/// What was given, or why nothing was.
pub(crate) fn given<T>(reply: Reply<T>) -> Result<T, Halt> {
    match reply {
        Reply::Given(given) => Ok(given),
        Reply::Abort(reason) => Err(Halt::Abort(reason)),
        Reply::Pause => Err(Halt::Pause),
        Reply::Alarm => Err(Halt::Alarm),
    }
}

impl std::fmt::Debug for Conductor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conductor({:?})", self.run.status())
    }
}

/// The clock of the machine, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
