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
        // In this order: the watch notices nothing more once it found what ends the ceremony.
        let found = self.watcher.as_ref().and_then(Watcher::found);
        // What people may sign for waits for them, in the next step.
        if let Some(came_up) = self.watcher.as_ref().and_then(Watcher::noticed) {
            self.take_in(came_up)?;
        }
        found.map_or(Ok(()), |came_up| self.alarmed(came_up))
    }

    /// Tells the run how the machine was and what came up, also what is gone again; and that in any case, when
    /// the report has no room for another inspection.
    pub(super) fn take_in(&mut self, CameUp { changes, room }: CameUp) -> io::Result<()> {
        let shown = room.findings.clone();
        let inspected = self.run.inspect(now(), room);
        if let Err(error) = &inspected {
            self.front.say(&error.to_string())?;
        }
        for change in changes.into_iter().filter(|change| inspected.is_err() || !shown.contains(change)) {
            if let Err(error) = self.run.finding(now(), change) {
                self.front.say(&error.to_string())?;
            }
        }
        Ok(())
    }

    /// Something came up: the secrets are gone by now, and the ceremony is given up.
    pub(super) fn alarmed(&mut self, came_up: CameUp) -> io::Result<()> {
        self.forget()?;
        self.front.say("Something came up in the machine while secrets were in it: they are erased.")?;
        for change in &came_up.changes {
            self.front.say(&format!("finding: {change}"))?;
        }
        self.take_in(came_up)?;
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
