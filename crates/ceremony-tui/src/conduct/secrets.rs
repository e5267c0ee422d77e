//! The secret steps: each is asked of the worker, which alone has the secrets.

use std::io;

use ceremony::entropy::Source;
use ceremony::run::Outcome;
use ceremony::secrets::Sealed;
use ceremony::worker::frame::SECRET_LIMIT_BYTES;
use ceremony::worker::{Answer, Ask};
use custody::Blob;
use keys::locked::LockedBytes;

use super::{Conductor, Halt, again};
use crate::child::Child;
use crate::watch::Watcher;

impl Conductor<'_> {
    /// Starts the worker, and the watch over the machine, unless they run: before the first thing that is secret.
    pub(super) fn begin(&mut self) -> Result<(), Halt> {
        if self.child.is_some() {
            return Ok(());
        }
        let mut child = Child::start()?;
        let begin = Ask::Begin {
            script: Blob(self.run.script().bytes()),
            genesis: Blob(self.genesis.bytes()),
            cards: self.settings.cards.clone(),
            held_at: super::now(),
            program: self.settings.program,
        };
        let begun = child.ask(&begin, b"").map_err(|error| Halt::Abort(error.to_string()))?;
        match begun.0 {
            Answer::Done => {}
            Answer::Refused { why } | Answer::Failed { why } => return Err(Halt::Abort(why)),
            other => return Err(Halt::Abort(format!("the worker answered {other:?}"))),
        }
        self.child = Some(child);
        self.watch();
        Ok(())
    }

    /// Asks the worker.
    pub(super) fn worker(&mut self, ask: &Ask, secret: &[u8]) -> Result<(Answer, LockedBytes), Halt> {
        self.begin()?;
        let Some(child) = self.child.as_mut() else { return again("the worker is gone") };
        match child.ask(ask, secret) {
            Ok((Answer::Refused { why }, likely)) => {
                if let Ask::Enter { component } | Ask::ReadBack { component, .. } = ask {
                    self.hint(*component, Some(likely))?;
                }
                again(why)
            }
            Ok((Answer::Failed { why }, _)) => Err(Halt::Abort(why)),
            Ok(answered) => Ok(answered),
            // The watch may have ended it, and says why.
            Err(_) if self.watcher.as_ref().is_some_and(|watcher| watcher.found().is_some()) => {
                Err(Halt::Alarm)
            }
            Err(error) => Err(Halt::Abort(error.to_string())),
        }
    }

    /// Ends the worker, whatever it is doing. What the watch noticed by then is taken in.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        if let Some(child) = self.child.take() {
            child.stop().now();
        }
        match self.watcher.take().and_then(|watcher| watcher.noticed()) {
            Some(came_up) => self.take_in(came_up),
            None => Ok(()),
        }
    }

    pub(super) fn gather(&mut self, source: Source) -> Result<Outcome, Halt> {
        // Before anybody types what they threw.
        self.begin()?;
        let typed = match source {
            Source::OperatingSystem => None,
            other => Some(self.symbols(other)?),
        };
        let symbols = typed.as_ref().map_or(&[][..], LockedBytes::expose);
        match self.worker(&Ask::Gather { source }, symbols)?.0 {
            Answer::Gathered { symbols, min_entropy_bits } => {
                self.front.say(&format!("{source}: {symbols} symbols, at least {min_entropy_bits} bits"))?;
                Ok(Outcome::Gathered { source, symbols, min_entropy_bits })
            }
            other => unexpected(&other),
        }
    }

    /// What people throw and flip, line by line until it is as much as the script asks for. A line with
    /// something else in it is typed again; those before it stay.
    fn symbols(&mut self, source: Source) -> Result<LockedBytes, Halt> {
        let (least, letters, what) = match source {
            Source::Dice => (self.run.script().entropy.dice, "123456", "each throw a digit from 1 to 6"),
            Source::Coins => (self.run.script().entropy.coins, "htHT", "each flip h or t"),
            Source::Hsm | Source::OperatingSystem => (1, "0123456789abcdefABCDEF", "hexadecimal digits"),
        };
        let least = usize::try_from(least).unwrap_or(usize::MAX);
        let mut all = LockedBytes::zeroed(SECRET_LIMIT_BYTES).map_err(io::Error::other)?;
        let mut length = 0usize;
        while length < least {
            let asked = format!("What {source} gave, {what}; {length} of {least} so far:");
            let line = self.hidden(&format!("entropy-{source}"), &asked)?;
            let typed = || line.expose().iter().filter(|byte| !byte.is_ascii_whitespace());
            if let Some(at) = typed().position(|byte| !letters.as_bytes().contains(byte)) {
                let number = length.saturating_add(at).saturating_add(1);
                self.front
                    .say(&format!("number {number} is something else: type this line again ({what})"))?;
                continue;
            }
            let count = typed().count();
            let places = all.expose_mut().get_mut(length..length.saturating_add(count));
            let Some(places) = places else {
                self.front.say(&format!("over {SECRET_LIMIT_BYTES} symbols: type fewer in this line"))?;
                continue;
            };
            for (place, byte) in places.iter_mut().zip(typed()) {
                *place = *byte;
            }
            length = length.saturating_add(count);
        }
        all.truncate(length);
        if source == Source::Hsm {
            // Two digits are one byte, which is what its entropy is stated for.
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let bytes = length / 2;
            for at in 0..bytes {
                let pair = all.expose().get(at.saturating_mul(2)..).and_then(|rest| rest.first_chunk::<2>());
                let byte = pair.and_then(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
                if let (Some(byte), Some(place)) = (byte, all.expose_mut().get_mut(at)) {
                    *place = byte;
                }
            }
            all.truncate(bytes);
        }
        Ok(all)
    }

    pub(super) fn generate(&mut self) -> Result<Outcome, Halt> {
        match self.worker(&Ask::Generate, b"")?.0 {
            Answer::Generated { nonce, entropy } => Ok(Outcome::Generated { nonce, entropy }),
            other => unexpected(&other),
        }
    }

    pub(super) fn combine(&mut self) -> Result<Outcome, Halt> {
        match self.worker(&Ask::Combine, b"")?.0 {
            Answer::Combined { nonce, known } => Ok(Outcome::Combined { nonce, known }),
            other => unexpected(&other),
        }
    }

    pub(super) fn verify(&mut self) -> Result<Outcome, Halt> {
        match self.worker(&Ask::Verify, b"")?.0 {
            Answer::Verified { combinations, health, accounts } => {
                self.front.say(&format!(
                    "{combinations} combinations of components rebuilt the secret, all there are"
                ))?;
                Ok(Outcome::Verified { combinations, health, accounts })
            }
            other => unexpected(&other),
        }
    }

    pub(super) fn restore(&mut self) -> Result<Outcome, Halt> {
        match self.worker(&Ask::Restore, b"")?.0 {
            Answer::Restored { accounts, signatures } => Ok(Outcome::Restored { accounts, signatures }),
            other => unexpected(&other),
        }
    }

    pub(super) fn seal_shares(&mut self) -> Result<Outcome, Halt> {
        match self.worker(&Ask::SealShares, b"")?.0 {
            Answer::Sealed { record, shares, sets } => {
                let ceremony = record.id(&self.genesis.hash());
                self.sealed = Some(Sealed { record: *record, shares });
                Ok(Outcome::SharesSealed { sets, ceremony })
            }
            other => unexpected(&other),
        }
    }

    /// The worker forgets and ends; the kernel has its memory then.
    pub(super) fn erase(&mut self) -> Result<Outcome, Halt> {
        if let Some(came_up) = self.watcher.take().and_then(Watcher::end) {
            self.alarmed(came_up)?;
            return Err(Halt::Alarm);
        }
        if let Some(child) = self.child.take() {
            let stop = child.stop();
            if let Err(error) = child.end() {
                stop.now();
                self.front.say(&format!("{error}: it was ended, and its memory with it"))?;
            }
        }
        Ok(Outcome::Erased { how: self.settings.memory.clone() })
    }
}

pub(super) fn unexpected<T>(answer: &Answer) -> Result<T, Halt> {
    Err(Halt::Abort(format!("the worker answered {answer:?}: the program is not whole, install it again")))
}
