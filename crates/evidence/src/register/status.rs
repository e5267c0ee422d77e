//! What is due, overdue or failed.

use std::fmt;

use custody::Hash;
use custody::name::Name;
use serde::{Deserialize, Serialize};

use super::{ANSWER_LIMIT_S, Asked, ComponentId, Document, Medium, Register, SetState};

const DAY_S: u64 = 24 * 3600;

/// How long a component on a medium counts as whole, in seconds (90 days, REC-09: regularly; a quarter is the
/// rhythm of internal controls).
pub const HEALTH_INTERVAL_S: u64 = 90 * DAY_S;

/// How long a recovery counts as rehearsed, in seconds (365 days, REC-02 and REC-05).
pub const DRILL_INTERVAL_S: u64 = 365 * DAY_S;

/// How long a document counts as reviewed, in seconds (365 days, REC-02 and REC-05).
pub const REVIEW_INTERVAL_S: u64 = 365 * DAY_S;

/// How long before its date a thing is shown as due, in seconds (14 days): time to bring people together.
pub const NOTICE_S: u64 = 14 * DAY_S;

/// How long things last, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intervals {
    /// From one proof of a component on a medium to the next.
    pub health_s: u64,
    /// From one drill to the next.
    pub drill_s: u64,
    /// From one review of a document to the next.
    pub review_s: u64,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { health_s: HEALTH_INTERVAL_S, drill_s: DRILL_INTERVAL_S, review_s: REVIEW_INTERVAL_S }
    }
}

/// How a thing stands, from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing is to be done.
    Ok,
    /// It is to be done before its date.
    Due,
    /// Its date has passed.
    Overdue,
    /// It was tried and did not work, or something is wrong.
    Failed,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Due => "due",
            Self::Overdue => "overdue",
            Self::Failed => "failed",
        })
    }
}

impl Standing {
    /// How something stands that has to be done again at `due_at`: then it is still in time.
    pub fn of(due_at: u64, now: u64) -> Self {
        if now > due_at {
            Self::Overdue
        } else if now >= due_at.saturating_sub(NOTICE_S) {
            Self::Due
        } else {
            Self::Ok
        }
    }
}

/// One thing that a requirement asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// What the row is about, the same from day to day: `REC-09/1.2/paper/` and the set.
    pub id: String,
    /// The id of the requirement, such as `REC-09`.
    pub requirement: &'static str,
    /// The set, by the hash of the report that made it.
    pub set: Option<Hash>,
    /// The component.
    #[serde(serialize_with = "id")]
    pub component: Option<ComponentId>,
    /// Who holds it.
    pub holder: Option<Name>,
    /// Where it lies.
    pub site: Option<Name>,
    /// What it is, in words.
    pub what: String,
    /// How it stands.
    pub standing: Standing,
    /// Until when it has to be done, in seconds since 1970.
    pub due_at: Option<u64>,
    /// What is wrong.
    pub why: Option<String>,
}

fn id<S: serde::Serializer>(id: &Option<ComponentId>, s: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => s.collect_str(id),
        None => s.serialize_none(),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.requirement, self.standing)?;
        if let Some(component) = self.component {
            write!(f, "{component} ")?;
        }
        f.write_str(&self.what)?;
        if let Some(holder) = &self.holder {
            write!(f, " ({holder})")?;
        }
        self.why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

impl Row {
    fn new(requirement: &'static str, subject: &str, set: Option<Hash>, what: impl Into<String>) -> Self {
        let of = set.map(|set| format!("/{set}")).unwrap_or_default();
        Self {
            id: format!("{requirement}/{subject}{of}"),
            requirement,
            set,
            component: None,
            holder: None,
            site: None,
            what: what.into(),
            standing: Standing::Ok,
            due_at: None,
            why: None,
        }
    }

    fn due(mut self, due_at: u64, now: u64) -> Self {
        (self.due_at, self.standing) = (Some(due_at), Standing::of(due_at, now));
        self
    }

    fn failed(mut self, why: Option<String>) -> Self {
        if why.is_some() {
            (self.standing, self.why) = (Standing::Failed, why);
        }
        self
    }
}

impl Register {
    /// How everything stands at `now`: of each set in use its drills (REC-02, REC-05), of each component its
    /// seal (REC-03) and its health on each medium (REC-09), the documents, and freezes where one was rehearsed (OPS-18).
    pub fn rows(&self, intervals: &Intervals, now: u64) -> Vec<Row> {
        let mut rows = Vec::new();
        for state in self.sets.values().filter(|state| !state.replaced) {
            self.rows_of(state, intervals, now, &mut rows);
        }
        let first = self.sets.values().map(|state| state.set.made_at).min();
        for document in Document::ALL {
            let requirement = match document {
                Document::RecoveryRunbook => "REC-02",
                Document::ContinuityPlan => "REC-05",
            };
            let row = Row::new(requirement, "reviewed", None, format!("{document} reviewed"));
            match (self.reviews.get(&document), first) {
                (Some(at), _) => rows.push(row.due(at.saturating_add(intervals.review_s), now)),
                // It has to be there as soon as there is something to recover.
                (None, Some(_)) => rows.push(row.failed(Some("never reviewed".into()))),
                (None, None) => {}
            }
        }
        if let Some(last) = self.freeze_drills.last() {
            let row = Row::new("OPS-18", "freeze", None, "freeze rehearsed");
            let passed = self.freeze_drills.iter().filter(|drill| drill.frozen).map(|drill| drill.sent_at);
            let due = passed.max().map(|at| at.saturating_add(intervals.drill_s));
            let row = due.map_or(row.clone(), |due| row.due(due, now));
            rows.push(row.failed((!last.frozen).then(|| "the last drill did not freeze".to_owned())));
        }
        rows.sort_by(|a, b| (a.requirement, &a.set, a.component).cmp(&(b.requirement, &b.set, b.component)));
        rows
    }

    fn rows_of(&self, state: &SetState, intervals: &Intervals, now: u64, rows: &mut Vec<Row>) {
        let set = Some(state.set.report);
        for requirement in ["REC-02", "REC-05"] {
            let failed = state.drill_failed_at.map(|_| "the last drill failed".to_owned());
            let row = Row::new(requirement, "rehearsed", set, "recovery rehearsed");
            rows.push(row.due(state.drilled_at.saturating_add(intervals.drill_s), now).failed(failed));
        }
        for made in &state.set.components {
            let Some(component) = state.components.get(&made.component) else { continue };
            let of = |requirement, subject: &str, what: String| Row {
                component: Some(made.component),
                holder: Some(made.holder.clone()),
                site: Some(made.site.clone()),
                ..Row::new(requirement, subject, set, what)
            };
            let alarm = component.alarm.as_ref();
            let alarm = alarm.map(|_| "another seal was found: prove the component on both media".to_owned());
            let id = made.component.to_string();
            let sealed = format!("{}, seal {}", made.container, component.seal);
            rows.push(of("REC-03", &id, sealed).failed(alarm));
            for (medium, check) in &component.media {
                let failed = check.failed.as_ref().map(|(_, why)| why.clone());
                let failed = failed.or_else(|| self.unanswered(state, made.component, *medium, now));
                let row = of("REC-09", &format!("{id}/{medium}"), format!("whole on {medium}"));
                rows.push(row.due(check.whole_at.saturating_add(intervals.health_s), now).failed(failed));
            }
        }
    }

    /// Whether a challenge went without an answer for too long.
    fn unanswered(&self, state: &SetState, id: ComponentId, medium: Medium, now: u64) -> Option<String> {
        let late = self.challenges.values().any(|Asked { challenge, open, .. }| {
            let asked = (challenge.ceremony, challenge.set, challenge.component, challenge.medium);
            let this = (state.set.ceremony, state.set.identifier, id, medium);
            *open && asked == this && now > challenge.at.saturating_add(ANSWER_LIMIT_S)
        });
        late.then(|| "a challenge was not answered in time".to_owned())
    }
}
