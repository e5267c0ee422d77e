//! The state machine: one entrance, [`Run::happen`], for what happens now and for what is run again.

use std::collections::BTreeSet;

use custody::document::{CEREMONY_DEVIATION_TAG, verify};
use custody::genesis::Genesis;
use custody::{Hash, canon};
use serde::{Deserialize, Serialize};

use super::judge::Progress;
use super::{
    Answer, Deviation, Event, FINDINGS_LIMIT, Found, Happening, Outcome, REASON_LIMIT_BYTES, RUN_FORMAT,
    RunError, Status,
};
use crate::report::{INSPECTED_LIMIT_BYTES, Report, STEP_LIMIT_BYTES, SignedReport};
use crate::room::{Finding, FindingKind, Room};
use crate::script::steps::{Action, Moment, Step, actions};
use crate::script::{Afterwards, Held, Script, check};

/// A run of a script.
#[derive(Clone, Debug)]
pub struct Run {
    script: Script,
    began_at: u64,
    /// The time of the last event.
    clock: u64,
    /// Bytes of script and events.
    size: usize,
    events: Vec<Event>,
    /// What was done, and from `position` on what is to be done.
    plan: Vec<Step>,
    position: usize,
    status: Status,
    findings: Vec<Found>,
    progress: Progress,
    /// How many events the report has, once it is closed.
    closed: Option<usize>,
}

/// A run on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: String,
    began_at: u64,
    script: Script,
    events: Vec<Event>,
}

impl Run {
    /// Begins.
    ///
    /// # Errors
    /// A script that is not sound.
    pub fn begin(script: Script, genesis: &Genesis, at: u64) -> Result<Self, RunError> {
        script.check(genesis)?;
        canon::encode(&at)?;
        Ok(Self::start(script, at))
    }

    fn start(script: Script, at: u64) -> Self {
        let plan = crate::script::steps::steps(&script);
        let progress = Progress::new(&script);
        let size = script.bytes().len();
        Self {
            size,
            script,
            began_at: at,
            clock: at,
            events: Vec::new(),
            plan,
            position: 0,
            status: Status::Running,
            findings: Vec::new(),
            progress,
            closed: None,
        }
    }

    /// Runs again what happened to a script that is known to be sound.
    pub(crate) fn again(script: Script, began_at: u64, events: &[Event]) -> Result<Self, RunError> {
        let mut run = Self::start(script, began_at);
        for event in events {
            run.happen(event.clone())?;
        }
        Ok(run)
    }

    /// The step that is next; none when the run is over.
    pub fn current(&self) -> Option<&Step> {
        self.plan.get(self.position)
    }

    /// What remains to be done from the current step on, as far as it is known now.
    pub fn remaining(&self) -> &[Step] {
        self.plan.get(self.position..).unwrap_or_default()
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether secrets may be in the machine: whoever runs this erases them as soon as it is false.
    pub fn is_secret(&self) -> bool {
        self.current().is_some_and(|step| step.secret)
    }

    /// The script.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// When it began, in seconds since 1970.
    pub fn began_at(&self) -> u64 {
        self.began_at
    }

    /// What happened so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The findings so far, by number.
    pub fn findings(&self) -> &[Found] {
        &self.findings
    }

    /// The first finding that is open, with its number.
    pub fn open(&self) -> Option<(u32, &Found)> {
        (0u32..).zip(&self.findings).find(|(_, found)| found.answer == Answer::Open)
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The current step was done. At [`Action::Inspect`] the outcome is taken in also when it brings
    /// findings; the step is over once an inspection leaves none open.
    ///
    /// # Errors
    /// [`RunError`]; nothing has changed then.
    pub fn done(&mut self, at: u64, outcome: Outcome) -> Result<(), RunError> {
        let step = self.current().ok_or(RunError::Over)?.id.clone();
        self.happen(Event { at, what: Happening::Done { step, outcome } })
    }

    /// The machine was inspected again, at any time before the report is closed. New findings open, and those
    /// that it no longer shows are mended. See [`Run::finding`] for what a finding does. The report keeps every
    /// inspection whole: a watch that looks all the time tells what came up by [`Run::finding`].
    ///
    /// # Errors
    /// [`RunError::Over`], [`RunError::Text`], [`RunError::Full`].
    pub fn inspect(&mut self, at: u64, room: Room) -> Result<(), RunError> {
        self.happen(Event { at, what: Happening::Inspected(room) })
    }

    /// Something was found by people, or by a watch. It stops the ceremony until it is mended or people sign
    /// that they go on. In a secret step, one that would let secrets out aborts at once: links and radios in
    /// any case, whatever else concerns memory and machine unless the script admits it.
    ///
    /// # Errors
    /// [`RunError::Over`], [`RunError::Text`].
    pub fn finding(&mut self, at: u64, finding: Finding) -> Result<(), RunError> {
        self.happen(Event { at, what: Happening::Found(finding) })
    }

    /// People signed to go on in spite of a finding.
    ///
    /// # Errors
    /// [`RunError`]; nothing has changed then.
    pub fn deviate(&mut self, at: u64, deviation: Deviation) -> Result<(), RunError> {
        self.happen(Event { at, what: Happening::Deviated(deviation) })
    }

    /// Interrupts while secrets are in the machine: they are erased first, media of unfinished components
    /// destroyed, and the first secret step comes again.
    ///
    /// # Errors
    /// [`RunError::NothingSecret`].
    pub fn pause(&mut self, at: u64) -> Result<(), RunError> {
        self.happen(Event { at, what: Happening::Paused })
    }

    /// Gives up. What remains is to erase, to destroy, to report.
    ///
    /// # Errors
    /// [`RunError::Over`], [`RunError::Reason`].
    pub fn abort(&mut self, at: u64, reason: &str) -> Result<(), RunError> {
        self.happen(Event { at, what: Happening::Aborted { reason: reason.to_owned() } })
    }

    /// What people sign to go on in spite of a finding: it names the script, when the run began, and the finding
    /// in it, and so means nothing for any other.
    ///
    /// # Errors
    /// A finding that is not open or that the script does not admit.
    pub fn deviation_bytes(&self, finding: u32, reason: &str) -> Result<Vec<u8>, RunError> {
        let found = self.findings.get(usize::try_from(finding).unwrap_or(usize::MAX));
        let found = found.filter(|found| found.answer == Answer::Open);
        let found = found.ok_or(RunError::NoFinding(finding))?;
        if !self.script.deviations.contains(&found.finding.kind) {
            return Err(RunError::NotAdmitted(found.finding.kind));
        }
        check_reason(reason)?;
        let signed = (self.script.hash(), self.began_at, finding, found.at, &found.finding, reason);
        let mut bytes = CEREMONY_DEVIATION_TAG.to_vec();
        bytes.extend(canon::encode(&signed)?);
        Ok(bytes)
    }

    /// The file of the run as it stands, which holds no secret, and its hash for people to note.
    pub fn save(&self) -> (Vec<u8>, Hash) {
        let saved = Saved {
            format: RUN_FORMAT.to_owned(),
            began_at: self.began_at,
            script: self.script.clone(),
            events: self.events.clone(),
        };
        let bytes = canon::encode(&saved).unwrap_or_default();
        let hash = Hash::of(RUN_FORMAT, &bytes);
        (bytes, hash)
    }

    /// Goes on from a saved run. What was secret is gone: the first secret step comes again.
    ///
    /// # Errors
    /// [`RunError::Changed`], [`RunError::Saved`], [`RunError::Over`], or what running it again brings up.
    pub fn resume(saved: &[u8], noted: &Hash, genesis: &Genesis, at: u64) -> Result<Self, RunError> {
        let found = Hash::of(RUN_FORMAT, saved);
        if found != *noted {
            return Err(RunError::Changed { found, noted: *noted });
        }
        let saved: Saved = canon::decode(saved).map_err(|error| RunError::Saved(error.to_string()))?;
        if saved.format != RUN_FORMAT {
            return Err(RunError::Saved(format!(
                "format {:?}, this program reads {RUN_FORMAT}",
                saved.format
            )));
        }
        saved.script.check(genesis)?;
        let mut run = Self::again(saved.script, saved.began_at, &saved.events)?;
        run.happen(Event { at, what: Happening::Resumed })?;
        Ok(run)
    }

    /// The report, from when it can be closed.
    ///
    /// # Errors
    /// [`RunError::NoReport`], or a finding that is still open.
    pub fn report(&self) -> Result<Report, RunError> {
        let at_close = self.current().is_some_and(|step| step.action == Action::CloseReport);
        let events = self.closed.or(at_close.then_some(self.events.len())).ok_or(RunError::NoReport)?;
        if let Some((_, found)) = self.open() {
            return Err(RunError::Open(found.finding.clone()));
        }
        Ok(Report::of(self, self.events.get(..events).unwrap_or_default()))
    }

    /// The report with its signatures, when the run is over.
    ///
    /// # Errors
    /// [`RunError::NoReport`].
    pub fn signed_report(&self) -> Result<SignedReport, RunError> {
        match self.status {
            Status::Running | Status::Aborting => Err(RunError::NoReport),
            Status::Complete | Status::Aborted => Ok(SignedReport {
                report: self.report()?,
                signatures: self.progress.signatures(&self.script),
            }),
        }
    }

    /// Lets something happen. Either it does, whole, or nothing has changed.
    fn happen(&mut self, event: Event) -> Result<(), RunError> {
        // What cannot be written, such as a time after 2^53, could not be signed either.
        let size = self.size.saturating_add(canon::encode(&event)?.len());
        let Event { at, what } = &event;
        let at = *at;
        let step = self.current().ok_or(RunError::Over)?.clone();
        let inspection = match what {
            Happening::Inspected(room) => Some((room, INSPECTED_LIMIT_BYTES)),
            Happening::Done { outcome: Outcome::Room(room), .. } => Some((room, STEP_LIMIT_BYTES)),
            Happening::Found(finding) if !finding.is_printable() => return Err(RunError::Text),
            _ => None,
        };
        if let Some((room, limit)) = inspection {
            if !room.is_printable() {
                return Err(RunError::Text);
            }
            if size > limit {
                return Err(RunError::Full);
            }
        }
        // What comes after its closing is not in the report, and so cannot change it any more.
        let before_close = || if self.closed.is_none() { Ok(()) } else { Err(RunError::Over) };
        match what {
            Happening::Done { step: given, outcome } => self.step_done(at, &step, given, outcome)?,
            Happening::Inspected(room) => {
                before_close()?;
                self.take_in(at, &step, room);
            }
            Happening::Found(finding) => {
                before_close()?;
                let inspected = !matches!(finding.kind, FindingKind::Hardware | FindingKind::Seal);
                self.open_finding(at, &step, finding.clone(), inspected);
            }
            Happening::Deviated(deviation) => self.check_deviation(deviation)?,
            Happening::Paused if self.status == Status::Running && step.secret => self.rewind(),
            Happening::Paused => return Err(RunError::NothingSecret),
            Happening::Resumed if self.status == Status::Running && step.secret => self.rewind(),
            Happening::Resumed => {}
            Happening::Aborted { reason } => {
                check_reason(reason)?;
                if self.status != Status::Running {
                    return Err(RunError::Over);
                }
                self.give_up();
            }
        }
        if self.closed.is_none() && at < self.clock {
            let back = format!("the time went back from {} to {at}", self.clock);
            self.open_finding(at, &step, Finding::new(FindingKind::Clock, &back), false);
        }
        self.clock = at;
        self.size = size;
        self.events.push(event);
        Ok(())
    }

    fn step_done(&mut self, at: u64, step: &Step, given: &str, outcome: &Outcome) -> Result<(), RunError> {
        if step.id != given {
            return Err(RunError::Order { next: step.id.clone(), given: given.to_owned() });
        }
        if let (Action::Inspect(_), Outcome::Room(room)) = (&step.action, outcome) {
            self.take_in(at, step, room);
            if self.status == Status::Running && self.open().is_none() {
                self.position = self.position.saturating_add(1);
            }
            return Ok(());
        }
        // To erase, to destroy and to put back is right whatever was found.
        let clears = matches!(step.action, Action::Erase | Action::Void(_) | Action::Return(_));
        if let Some((_, found)) = self.open().filter(|_| !clears) {
            return Err(RunError::Open(found.finding.clone()));
        }
        let (progress, findings) = self.judge(step, outcome)?;
        self.progress = progress;
        if step.action == Action::CloseReport {
            self.closed = Some(self.events.len());
        }
        for finding in findings {
            self.open_finding(at, step, finding, false);
        }
        self.position = self.position.saturating_add(1);
        if self.current().is_none() {
            let aborted = self.status == Status::Aborting;
            self.status = if aborted { Status::Aborted } else { Status::Complete };
        }
        Ok(())
    }

    /// An inspection: what it no longer shows is mended, what is new opens.
    fn take_in(&mut self, at: u64, step: &Step, room: &Room) {
        for found in &mut self.findings {
            if found.inspected && found.answer == Answer::Open && !room.findings.contains(&found.finding) {
                found.answer = Answer::Mended;
            }
        }
        for finding in &room.findings {
            self.open_finding(at, step, finding.clone(), true);
        }
    }

    fn open_finding(&mut self, at: u64, step: &Step, finding: Finding, inspected: bool) {
        let live = |found: &&Found| matches!(found.answer, Answer::Open | Answer::Deviated);
        if self.findings.iter().filter(live).any(|found| found.finding == finding) {
            return;
        }
        let running = self.status == Status::Running;
        if self.findings.len() >= FINDINGS_LIMIT {
            if running {
                self.give_up();
            }
            return;
        }
        let answer = if running { Answer::Open } else { Answer::Aborted };
        // What came up while there were secrets may have taken them: that it is gone again mends nothing.
        let inspected = inspected && !step.secret;
        let lets_out = self.lets_out(finding.kind);
        self.findings.push(Found { at, step: step.id.clone(), finding, inspected, answer });
        if running && step.secret && lets_out {
            self.give_up();
        }
    }

    /// Whether what comes up in a secret step ends the ceremony at once.
    fn lets_out(&self, kind: FindingKind) -> bool {
        match kind {
            FindingKind::Clock | FindingKind::Hardware | FindingKind::Seal => false,
            kind if check::is_link(kind) => true,
            kind => !self.script.deviations.contains(&kind),
        }
    }

    fn check_deviation(&mut self, deviation: &Deviation) -> Result<(), RunError> {
        let message = self.deviation_bytes(deviation.finding, &deviation.reason)?;
        let mut people = BTreeSet::new();
        if !deviation.signatures.iter().all(|signed| people.insert(&signed.person)) {
            return Err(RunError::Quorum(self.script.deviation_quorum));
        }
        for signed in &deviation.signatures {
            let person = self.script.person(&signed.person);
            let key = person.map(|person| person.key);
            if !key.is_some_and(|key| verify(&key, &message, &signed.signature.0)) {
                return Err(RunError::Signature(signed.person.clone()));
            }
        }
        if !self.script.is_quorum(deviation.signatures.iter().map(|signed| &signed.person)) {
            return Err(RunError::Quorum(self.script.deviation_quorum));
        }
        let number = usize::try_from(deviation.finding).unwrap_or(usize::MAX);
        if let Some(found) = self.findings.get_mut(number) {
            found.answer = Answer::Deviated;
        }
        Ok(())
    }

    /// What an early end leaves to do: erase, destroy what was made, put back what was brought.
    fn clearing(&self) -> Vec<Action> {
        let mut list: Vec<Action> = self.is_secret().then_some(Action::Erase).into_iter().collect();
        let current = self.current().map(|step| &step.action);
        list.extend(self.progress.media_out(current).into_iter().map(Action::Void));
        list.extend(self.progress.brought_out(current).into_iter().map(Action::Return));
        list
    }

    /// Back to the first secret step, by way of clearing and another look at the machine.
    fn rewind(&mut self) {
        let mut list = self.clearing();
        list.push(Action::Inspect(Moment::Before));
        list.extend(actions(&self.script).into_iter().skip_while(|action| !action.is_secret()));
        self.progress.forget_attempt();
        self.go_on_with(list);
    }

    fn give_up(&mut self) {
        let mut list = self.clearing();
        // Once an old component is destroyed, or may be, the new ones are all there is: they stay and are reported.
        let retiring = matches!(self.current().map(|step| &step.action), Some(Action::Retire(_)));
        if retiring || self.progress.has_retired() {
            list.retain(|action| !matches!(action, Action::Void(_)));
        } else {
            self.progress.forget_attempt();
        }
        list.push(Action::CloseReport);
        list.extend(self.script.people.iter().map(|person| Action::Sign(person.id.clone())));
        self.progress.forget_signatures();
        self.closed = None;
        self.status = Status::Aborting;
        for found in self.findings.iter_mut().filter(|found| found.answer == Answer::Open) {
            found.answer = Answer::Aborted;
        }
        self.go_on_with(list);
    }

    /// Whether it was given up when the new components were complete and an old one was, or may be, destroyed: then
    /// [`Action::Return`] takes `Destroyed`, too.
    pub fn keeps_new(&self) -> bool {
        let replaced = |held: &Held| held.afterwards == Afterwards::Destroyed;
        self.status == Status::Aborting
            && self.progress.attempt.restored
            && self.script.held.as_ref().is_some_and(replaced)
    }

    fn go_on_with(&mut self, list: Vec<Action>) {
        self.plan.truncate(self.position);
        self.plan.extend(list.into_iter().map(|action| Step::of(&self.script, action)));
    }
}

fn check_reason(reason: &str) -> Result<(), RunError> {
    let draws = |c: char| c != '\n' && (c.is_control() || check::misleads(c));
    let fits = !reason.trim().is_empty() && reason.len() <= REASON_LIMIT_BYTES && !reason.contains(draws);
    if fits { Ok(()) } else { Err(RunError::Reason) }
}
