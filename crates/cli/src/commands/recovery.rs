//! `keyward recovery`: the register of recovery components, in a file that whoever enters something signs.

mod published;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use approver::time;
use ceremony::report::{Against, Report, verify};
use ceremony::run::{Outcome, Status};
use ceremony::script::{Afterwards, Kind, Script};
use custody::statement::key_id;
use custody::{Hash, canon};
use evidence::register::{
    Answer, CHALLENGE_FORMAT, Challenge, Component, ComponentId, Drill, Failed, Intervals, Register,
    RegisterError, Review, Row, SealChange, Set, Signer, Site, Standing, What,
};
use keys::device::SignMessage;
use serde::Serialize;

use super::emit;
use crate::args::{Global, Recovery, RecoveryCommand as Command, Which};
use crate::failure::{Class, Failure, Result};
use crate::home::{read, write};
use crate::secret;
use crate::session::{Session, now};

/// The register in the home.
const REGISTER_FILE: &str = "recovery.jsonl";

/// What was entered.
#[derive(Serialize)]
pub(crate) struct Entered {
    pub(crate) number: u64,
    pub(crate) head: Hash,
}

/// How everything stands.
#[derive(Serialize)]
struct Standings {
    entries: u64,
    head: Hash,
    standing: Standing,
    rows: Vec<Row>,
}

pub(crate) fn run(global: &Global, Recovery { register, command }: Recovery) -> Result<()> {
    let mut book = Book::open(global, register)?;
    match command {
        Command::Register { report, identifier, replaces } => {
            let what = reported(&book, &report, identifier, replaces)?;
            book.enter(what)
        }
        Command::Challenge { which, medium, out } => book.challenge(&which, medium.into(), &out),
        Command::Answer { file } => {
            let answer: Answer =
                canon::decode(&read(&file)?).map_err(|error| Failure::content(&file, error))?;
            book.enter(What::Answered(answer))
        }
        Command::Failed { which, medium, reason } => {
            let set = book.set(&which)?.report;
            book.enter(What::Failed(Failed {
                component: which.component,
                medium: medium.into(),
                reason,
                set,
            }))
        }
        Command::Seal { which, found, replaced, reason } => {
            let set = book.set(&which)?.report;
            book.enter(What::Seal(SealChange { component: which.component, found, reason, replaced, set }))
        }
        Command::Review { document, file } => {
            let sha256 = Hash::sha256(&read(&file)?);
            book.enter(What::Reviewed(Review { document: document.into(), sha256 }))
        }
        Command::Publish => book.publish(),
        Command::Fetch => book.fetch(),
        Command::Status => book.status(),
    }
}

/// The register with the session of who looks or writes.
pub(crate) struct Book<'a> {
    session: Session<'a>,
    path: PathBuf,
    register: Register,
    /// Held while the command runs: two entries at once would both follow the same one.
    _lock: fs::File,
}

impl<'a> Book<'a> {
    fn open(global: &'a Global, register: Option<PathBuf>) -> Result<Self> {
        Self::with(Session::open(global)?, register)
    }

    /// The register in the home, or in another file, with a session that is open.
    pub(crate) fn with(session: Session<'a>, register: Option<PathBuf>) -> Result<Self> {
        let path = register.unwrap_or_else(|| session.home.path(REGISTER_FILE));
        let beside = path.with_added_extension("lock");
        let lock = fs::File::create(&beside).map_err(|error| Failure::file(&beside, error))?;
        lock.lock().map_err(|error| Failure::file(&beside, error))?;
        let bytes = kept(&path)?;
        let state = session.replica.state();
        let register = Register::read(&bytes, state.genesis_hash(), &|key| Signer::of(state, key), now());
        let register = register.map_err(|error| {
            let next = "enter nothing; compare with the copies that others keep, and with the head on paper";
            Failure::new(Class::Unverified, format!("{}: {error}", path.display()), next)
        })?;
        Ok(Self { session, path, register, _lock: lock })
    }

    /// The set that is meant.
    fn set(&self, which: &Which) -> Result<&Set> {
        let mut sets = self.register.sets().filter(|set| which.set.is_none_or(|named| set.report == named));
        match (sets.next(), sets.next()) {
            (Some(set), None) => Ok(set),
            (Some(_), Some(_)) => Err(Failure::usage(
                "several sets are in use",
                "name one by --set HASH; keyward recovery status lists them",
            )),
            (None, _) => Err(Failure::usage(
                "there is no such set in use",
                "keyward recovery register REPORT enters one",
            )),
        }
    }

    /// Who enters: the person of the device key.
    fn writer(&mut self) -> Result<Signer> {
        self.session.unlock()?;
        let key = key_id(&self.session.key()?.public().sign);
        Signer::of(self.session.replica.state(), &key).ok_or_else(|| {
            Failure::new(
                Class::Refused,
                "this device key is no person's in the log",
                "let the others enrol it",
            )
        })
    }

    /// Signs an entry and appends it; it is on disk when this returns.
    pub(crate) fn append(&mut self, at: u64, what: What) -> Result<Entered> {
        let by = self.writer()?;
        let entry = self.register.next(at, &by, what).map_err(refused)?;
        let form = |error: canon::CanonError| Failure::new(Class::System, error, "report this");
        let bytes = entry.signed_bytes().map_err(form)?;
        let signature = self.session.key()?.sign(SignMessage::Statement(&bytes));
        let signature = signature.map_err(|error| Failure::new(Class::System, error, "report this"))?;
        let mut file = kept(&self.path)?;
        file.extend(entry.line(signature).map_err(form)?);
        let state = self.session.replica.state();
        let read = Register::read(&file, state.genesis_hash(), &|key| Signer::of(state, key), now());
        self.register = read.map_err(refused)?;
        write(&self.path, &file)?;
        Ok(Entered { number: self.register.size(), head: self.register.head() })
    }

    fn enter(&mut self, what: What) -> Result<()> {
        let entered = self.append(now(), what)?;
        self.tell(&entered)
    }

    fn tell(&self, entered: &Entered) -> Result<()> {
        let text = format!("entry       {}\nhead        {}\n", entered.number, entered.head);
        emit(self.session.global, &text, entered)
    }

    fn challenge(&mut self, which: &Which, medium: evidence::register::Medium, out: &Path) -> Result<()> {
        if out.exists() {
            return Err(Failure::usage(format!("{} exists already", out.display()), "name a new file"));
        }
        let set = self.set(which)?;
        let (ceremony, identifier) = (set.ceremony, set.identifier);
        let by = self.writer()?.person;
        // The time of its entry, which is none before the last one: another clock may have been a little ahead.
        let at = now().max(self.register.last_at());
        let challenge = Challenge {
            at,
            by,
            ceremony,
            component: which.component,
            format: CHALLENGE_FORMAT.to_owned(),
            fresh: secret::nonce(),
            medium,
            set: identifier,
        };
        let bytes =
            challenge.to_bytes().map_err(|error| Failure::new(Class::System, error, "report this"))?;
        // First the file: a challenge that is in the register and that nobody has would be overdue for ever.
        write(out, &bytes)?;
        match self.append(at, What::Challenged(challenge)) {
            Ok(entered) => self.tell(&entered),
            Err(failure) => {
                // Nobody may answer it; if it cannot be removed, its answer is refused.
                let _ = fs::remove_file(out);
                Err(failure)
            }
        }
    }

    fn status(&self) -> Result<()> {
        let rows = self.register.rows(&Intervals::default(), now());
        let standing = rows.iter().map(|row| row.standing).max().unwrap_or(Standing::Ok);
        let mut text =
            format!("entries     {}\nhead        {}\n", self.register.size(), self.register.head());
        for set in self.register.sets() {
            // Writing into a string does not fail.
            let _ = writeln!(text, "set         {}, identifier {}", set.report, set.identifier);
        }
        for row in &rows {
            let component = row.component.map(|id| id.to_string() + " ").unwrap_or_default();
            let holder = row.holder.as_ref().map(|who| format!(" ({who})")).unwrap_or_default();
            let due = row.due_at.map(|at| format!(", until {}", time(at))).unwrap_or_default();
            let why = row.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "{:<8}{:<9}{component}{}{holder}{due}{why}",
                row.requirement, row.standing, row.what
            );
        }
        let shown = Standings { entries: self.register.size(), head: self.register.head(), standing, rows };
        emit(self.session.global, &text, &shown)?;
        let count = shown.rows.iter().filter(|row| row.standing >= Standing::Overdue).count();
        if count > 0 {
            return Err(Failure::new(
                Class::Attention,
                format!("{count} rows are overdue or failed"),
                "docs/runbooks/drills-and-health.md says what to do about each",
            ));
        }
        Ok(())
    }
}

/// The file, empty before the first entry.
fn kept(path: &Path) -> Result<Vec<u8>> {
    if path.exists() { read(path) } else { Ok(Vec::new()) }
}

fn refused(error: RegisterError) -> Failure {
    let class = match error {
        RegisterError::Wrong(_) => Class::Unverified,
        _ => Class::Refused,
    };
    Failure::new(class, error, "nothing was entered; keyward recovery status shows what is")
}

/// What the report of a ceremony brings into the register, once it verifies.
fn reported(book: &Book<'_>, path: &Path, identifier: Option<u16>, replaces: Option<Hash>) -> Result<What> {
    let genesis = book.session.genesis();
    let against = Against { genesis: Some(genesis), ..Against::default() };
    let verified = verify(&read(path)?, &against).map_err(|error| {
        let next = "enter nothing of it; ask the people of the ceremony for the report as they signed it";
        Failure::new(Class::Unverified, error, next)
    })?;
    let (report, hash) = (verified.report, verified.hash);
    let complete = report.status == Status::Complete;
    match (&report.script.components, &report.script.held) {
        // One that was given up while the old components were destroyed keeps the new ones, and lists them.
        (Some(_), held) if complete || !report.components.is_empty() => {
            let next = "give --identifier N: the number of the set on every sheet";
            let identifier =
                identifier.ok_or_else(|| Failure::usage("the report does not name the set", next))?;
            // What is left of the old set then is looked after until somebody destroyed it.
            let gone = held.as_ref().filter(|held| complete && held.afterwards == Afterwards::Destroyed);
            if let Some(gone) = gone.map(|held| held.report).filter(|gone| replaces != Some(*gone)) {
                let next = format!("give --replaces {gone}");
                return Err(Failure::usage("the ceremony destroyed components of another set", next));
            }
            Ok(What::Set(made(&report, hash, identifier, replaces)?))
        }
        (None, Some(held)) if matches!(report.script.kind, Kind::Drill | Kind::Recovery) => {
            Ok(What::Drill(Drill {
                held_at: report.ended_at,
                passed: complete,
                report: hash,
                seals: seals(&report, held.report),
                set: held.report,
            }))
        }
        _ => {
            let what = "the report is of a ceremony that was given up, and lists no components";
            let next = "register the report of the one that took its place; enter new seals of components that went \
                        back by keyward recovery seal";
            Err(Failure::new(Class::Refused, what, next))
        }
    }
}

fn made(report: &Report, hash: Hash, identifier: u16, replaces: Option<Hash>) -> Result<Set> {
    let unknown =
        |what| Failure::new(Class::Unverified, format!("the report has no {what}"), "enter nothing of it");
    let Script { components: Some(scheme), sites, .. } = &report.script else {
        return Err(unknown("components"));
    };
    let component = |made: &ceremony::report::Made| {
        Ok(Component {
            component: id(made.component)?,
            container: made.container.clone(),
            health: made.health,
            holder: made.holder.clone(),
            seal: made.seal.clone(),
            site: made.site.clone(),
        })
    };
    Ok(Set {
        ceremony: report.nonce.ok_or_else(|| unknown("nonce"))?,
        components: report.components.iter().map(component).collect::<Result<_>>()?,
        group_threshold: scheme.group_threshold,
        groups: scheme.groups.iter().map(|group| group.threshold).collect(),
        identifier,
        made_at: report.ended_at,
        replaces,
        report: hash,
        sites: sites
            .iter()
            .map(|site| Site { name: site.name.clone(), operations: site.operations })
            .collect(),
    })
}

fn id(component: ceremony::script::ComponentId) -> Result<ComponentId> {
    let unknown = |error| Failure::new(Class::Unverified, error, "enter nothing of this report");
    component.to_string().parse().map_err(unknown)
}

/// The seal that was found around a component that people put back without having noted it: no register has it, so
/// that the component is in doubt until it is proven.
const NOT_NOTED: &str = "not noted before the ceremony was interrupted";

/// The seals that were opened and replaced, of each component that went back, each time that it did: one that was
/// interrupted opens and seals again, and what was found each time counts.
fn seals(report: &Report, set: Hash) -> Vec<SealChange> {
    let (mut opened, mut changes) = (BTreeMap::new(), Vec::new());
    for (_, step, outcome) in report.operations() {
        let component =
            |prefix| step.strip_prefix(prefix).and_then(|id: &str| id.parse::<ComponentId>().ok());
        match outcome {
            Outcome::Opened { seal } => {
                if let Some(component) = component("open-") {
                    opened.insert(component, seal.clone());
                }
            }
            Outcome::Sealed { seal: replaced } => {
                if let Some(component) = component("return-") {
                    let found = opened.remove(&component).unwrap_or_else(|| NOT_NOTED.to_owned());
                    let reason = format!("{:?} {}", report.script.kind, report.script.title).to_lowercase();
                    changes.push(SealChange { component, found, reason, replaced: replaced.clone(), set });
                }
            }
            _ => {}
        }
    }
    changes
}
