//! The machine: looked at on demand, and watched while secrets are in it.

use std::io;
use std::path::PathBuf;

use ceremony::room::{self, Room, Root};
use ceremony::run::{Event, Happening, Outcome, Status};

use super::{Conductor, now};
use crate::watch::{CameUp, Watcher};

impl Conductor<'_> {
    pub(super) fn inspect(&self) -> Room {
        look(self.settings.program)
    }

    /// Begins to watch, before the first secret.
    pub(super) fn watch(&mut self) {
        let (Some(child), None) = (&self.child, &self.watcher) else { return };
        let program = self.settings.program;
        let (alarm, admitted) = (self.alarm.clone(), self.run.script().deviations.clone());
        // What came up since the inspection that people accepted counts, too.
        let room = |event: &Event| match &event.what {
            Happening::Inspected(room) | Happening::Done { outcome: Outcome::Room(room), .. } => {
                Some(room.clone())
            }
            _ => None,
        };
        let accepted = self.run.events().iter().rev().find_map(room).unwrap_or_else(|| look(program));
        self.watcher = Some(Watcher::start(child.stop(), alarm, accepted, admitted, move || look(program)));
    }

    /// Takes what the watch found, if it did.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        match self.watcher.as_ref().and_then(Watcher::found) {
            Some(came_up) => self.alarmed(came_up),
            None => {
                // What people may sign for waits for them, in the next step.
                let noticed = self.watcher.as_ref().and_then(Watcher::noticed);
                match noticed.map(|room| self.run.inspect(now(), room)) {
                    Some(Err(error)) => self.front.say(&error.to_string()),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Something came up: the secrets are gone by now, and the ceremony is given up.
    pub(super) fn alarmed(&mut self, came_up: CameUp) -> io::Result<()> {
        self.forget();
        self.front.say("Something came up in the machine while secrets were in it: they are erased.")?;
        let CameUp { changes, room } = came_up;
        let seen = room.findings.clone();
        let mut told = self.run.inspect(now(), room);
        for change in changes {
            self.front.say(&format!("finding: {change}"))?;
            if !seen.contains(&change) {
                told = told.and(self.run.finding(now(), change));
            }
        }
        if let Err(error) = told {
            self.front.say(&error.to_string())?;
        }
        // A kind that the script admits would only wait for signatures; but the secrets are gone.
        if self.run.status() == Status::Running {
            self.give_up("something came up in the machine while secrets were in it, and they were erased")?;
        }
        Ok(())
    }
}

fn look(program: custody::Hash) -> Room {
    room::inspect(&Root(PathBuf::from("/")), now(), program)
}
