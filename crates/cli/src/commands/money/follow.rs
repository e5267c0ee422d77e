//! `keyward withdrawal follow`: what happens to a withdrawal, as it happens.

use std::time::{Duration, Instant};

use approver::plain;
use serde::Deserialize;
use serde_json::Value;

use super::call::{decode, get};
use super::withdrawals::path_of;
use crate::args::{DEFAULT_TIMEOUT_S, Global, Output};
use crate::commands::print;
use crate::failure::{Class, Failure, Result};
use crate::session::Session;

/// How often the server is asked.
const POLL: Duration = Duration::from_secs(1);

/// The states of a withdrawal, and how a command ends that waited for another one.
const STATES: &[(&str, Option<Class>)] = &[
    ("draft", None),
    ("submitted", None),
    ("requested", None),
    ("awaiting-approval", None),
    ("delayed", None),
    ("frozen", None),
    ("authorised", None),
    ("signed", None),
    ("broadcast", None),
    ("confirming", None),
    ("settled", Some(Class::Attention)),
    ("rejected", Some(Class::Refused)),
    ("expired", Some(Class::Refused)),
    ("unfunded", Some(Class::Refused)),
    ("cancelled", Some(Class::Attention)),
    ("replaced", Some(Class::Attention)),
];

/// As much of a withdrawal as is needed to follow it.
#[derive(Deserialize)]
struct Followed {
    status: String,
    /// What a draft became.
    withdrawal: Option<String>,
    #[serde(default)]
    timeline: Vec<Value>,
}

/// A line of the timeline.
#[derive(Deserialize)]
pub(crate) struct Event {
    at: String,
    what: String,
    by: String,
    height: Option<u64>,
    txid: Option<String>,
    note: Option<String>,
}

impl Event {
    pub(crate) fn time(&self) -> &str {
        &self.at
    }

    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    pub(crate) fn words(&self) -> String {
        let mut words = format!("{} by {}", plain(&self.what), plain(&self.by));
        if let Some(height) = self.height {
            words.push_str(&format!(", log height {height}"));
        }
        if let Some(txid) = &self.txid {
            words.push_str(&format!(", {}", plain(txid)));
        }
        if let Some(note) = &self.note {
            words.push_str(&format!(": {}", plain(note)));
        }
        words
    }
}

pub(crate) fn run(global: &Global, session: &mut Session<'_>, id: &str, until: &str) -> Result<()> {
    if !STATES.iter().any(|(state, _)| *state == until) {
        let states: Vec<_> = STATES.iter().map(|(state, _)| *state).collect();
        let next = format!("one of {}", states.join(", "));
        return Err(Failure::usage(format!("there is no state {until:?}"), next));
    }
    // Payments wait for people and blocks, so there is no usual time.
    let patience = (global.timeout != DEFAULT_TIMEOUT_S).then(|| Duration::from_secs(global.timeout));
    let begun = Instant::now();
    let mut last: Option<Value> = None;
    let mut away = false;
    let mut path = path_of(id);
    loop {
        match get(session, &path) {
            Ok(found) => {
                away = false;
                let found: Followed = decode(found)?;
                for event in unseen(&found.timeline, last.as_ref()) {
                    print(&line(global, event)?)?;
                }
                last = found.timeline.last().cloned().or(last);
                if let Some(end) = verdict(&found, until) {
                    return end;
                }
                if let Some(withdrawal) = found.withdrawal {
                    path = path_of(&withdrawal);
                }
            }
            // A server that is restarted goes on where it was.
            Err(failure) if failure.class == Class::Unreachable && last.is_some() => {
                if !away {
                    eprintln!("the server does not answer; trying again");
                }
                away = true;
            }
            Err(failure) => return Err(failure),
        }
        if patience.is_some_and(|patience| begun.elapsed() >= patience) {
            let next = "it goes on without anybody watching: follow it again";
            return Err(Failure::new(Class::TimedOut, format!("it was not {until} in time"), next));
        }
        std::thread::sleep(POLL);
    }
}

fn line(global: &Global, event: &Value) -> Result<String> {
    if global.output == Output::Json {
        return Ok(format!("{event}\n"));
    }
    let event: Event = decode(event.clone())?;
    Ok(format!("{}  {}\n", plain(event.time()), event.words()))
}

/// What stands behind the last line that was seen. A timeline loses old lines, never its newest.
fn unseen<'a>(timeline: &'a [Value], last: Option<&Value>) -> &'a [Value] {
    let seen = last.and_then(|last| timeline.iter().rposition(|event| event == last));
    seen.and_then(|seen| timeline.get(seen + 1..)).unwrap_or(timeline)
}

/// Whether that is the end, and which. It has been where it was waited for also when it has gone on since.
fn verdict(found: &Followed, until: &str) -> Option<Result<()>> {
    let been = |event: &Value| event.get("what").and_then(Value::as_str) == Some(until);
    if found.status == until || found.timeline.iter().any(been) {
        return Some(Ok(()));
    }
    let ended = STATES.iter().find(|(state, _)| *state == found.status).and_then(|(_, class)| *class);
    ended.map(|class| {
        let what = format!("it ended as {}, without being {until}", found.status);
        Err(Failure::new(class, what, "keyward withdrawal show says why"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn followed(status: &str, events: &[&str]) -> Followed {
        let timeline = events.iter().map(|what| json!({ "what": what })).collect();
        Followed { status: status.into(), withdrawal: None, timeline }
    }

    #[test]
    fn the_end_is_told_by_its_class() {
        let class = |status: &str, until: &str| {
            verdict(&followed(status, &["requested", status]), until).map(|end| end.err().map(|f| f.class))
        };
        assert_eq!(class("confirming", "settled"), None);
        assert_eq!(class("settled", "settled"), Some(None));
        assert_eq!(class("broadcast", "requested"), Some(None), "it has been there");
        for (ended, with) in [
            ("rejected", Class::Refused),
            ("expired", Class::Refused),
            ("unfunded", Class::Refused),
            ("cancelled", Class::Attention),
            ("replaced", Class::Attention),
        ] {
            assert_eq!(class(ended, "settled"), Some(Some(with)), "{ended}");
        }
        assert_eq!(class("settled", "cancelled"), Some(Some(Class::Attention)));
        assert_eq!(class("cancelled", "cancelled"), Some(None));
    }

    #[test]
    fn each_line_is_printed_once_also_when_old_ones_go() {
        let all: Vec<Value> = (0..5).map(|n| json!({ "at": n })).collect();
        assert_eq!(unseen(&all, None), &all[..]);
        assert_eq!(unseen(&all, Some(&all[2])), &all[3..]);
        assert_eq!(unseen(&all, Some(&all[4])), &all[5..]);
        assert_eq!(unseen(&all[3..], Some(&all[4])), &all[5..]);
        assert_eq!(unseen(&all[3..], Some(&all[0])), &all[3..]);
    }

    #[test]
    fn a_line_names_who_and_where_in_the_log() {
        let event: Event = decode(json!({
            "at": "2026-01-01T00:00:00Z", "what": "approved", "by": "person:alice\u{1b}", "height": 12,
            "txid": null, "note": "first",
        }))
        .unwrap();
        assert_eq!(event.words(), "approved by person:alice\\u{1b}, log height 12: first");
    }
}
