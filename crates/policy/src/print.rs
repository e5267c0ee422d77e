//! A policy as a policy file: what [`crate::text::parse`] reads back as the same policy. Calendars print as the open
//! times that they were expanded into, for that is what is signed.

use std::fmt::{Display, Write as _};

use custody::document::{DestinationKind, Kind, TABLE, Tier};
use custody::name::Name;
use custody::policy::{Calendar, Governance, Path, Per, Policy, PolicyRule, RequestKind, Velocity, describe};
use custody::rates::Value;
use jiff::Timestamp;

use crate::text::{DESTINATIONS, KINDS, PER, TIERS};
use crate::units::{write_sats, write_seconds, write_value};
use crate::words::{quoted, week};

/// Open times of a calendar on one line.
const SPANS_PER_LINE: usize = 4;

/// Writes a policy as TOML.
pub fn toml(policy: &Policy) -> String {
    let mut file = File { out: String::new(), currency: policy.currency.as_ref().map(Name::to_string) };
    file.optional("currency", policy.currency.as_ref(), |code| quoted(code));
    file.optional("administrators_max", policy.administrators_max.as_ref(), u32::to_string);
    let pairs =
        |pairs: &Vec<(Name, Name)>| list(pairs, |(one, other)| list(&[one, other], |name| quoted(name)));
    file.optional("exclusive", Some(&policy.exclusive).filter(|pairs| !pairs.is_empty()), pairs);
    if policy.rules.is_empty() {
        file.field("rules", "[]");
    }
    if policy.governance.is_empty() {
        file.field("governance", "{}");
    }
    for rule in &policy.rules {
        file.rule(rule);
    }
    file.governance(policy);
    for (id, calendar) in &policy.calendars {
        file.calendar(id, calendar);
    }
    file.out.trim_start().to_owned()
}

struct File {
    out: String,
    currency: Option<String>,
}

fn list<T>(items: &[T], write: impl FnMut(&T) -> String) -> String {
    format!("[{}]", items.iter().map(write).collect::<Vec<_>>().join(", "))
}

/// The word for a value, in a table of words.
fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> String {
    quoted(words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word))
}

fn paths(paths: &[Path]) -> String {
    let path = |path: &Path| {
        if path.is_empty() { "[]".to_owned() } else { quoted(describe(std::slice::from_ref(path))) }
    };
    list(paths, path)
}

impl File {
    fn field(&mut self, name: &str, value: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.out, "{name} = {value}");
    }

    fn optional<T>(&mut self, name: &str, value: Option<&T>, write: impl Fn(&T) -> String) {
        if let Some(value) = value {
            self.field(name, write(value));
        }
    }

    fn header(&mut self, header: impl Display) {
        let _ = writeln!(self.out, "\n{header}");
    }

    fn value(&self, value: &Value) -> String {
        quoted(write_value(*value, self.currency.as_deref()))
    }

    fn rule(&mut self, rule: &PolicyRule) {
        let PolicyRule { id, when, require } = rule;
        let names = |names: &Vec<Name>| list(names, |name| quoted(name));
        let strings = |texts: &Vec<String>| list(texts, |text| quoted(text));
        let sats = |amount: &_| quoted(write_sats(*amount));
        let time = |time: &u64| quoted(write_seconds(*time));
        let destinations = |kinds: &Vec<DestinationKind>| list(kinds, |kind| word(&DESTINATIONS, kind));
        let kinds = |kinds: &Vec<RequestKind>| list(kinds, |kind| word(&KINDS, kind));
        let tiers = |tiers: &Vec<Tier>| list(tiers, |tier| word(&TIERS, tier));
        self.header("[[rules]]");
        self.field("id", quoted(id));
        self.optional("kinds", when.kinds.as_ref(), kinds);
        self.optional("wallets", when.wallets.as_ref(), names);
        self.optional("tiers", when.tiers.as_ref(), tiers);
        self.optional("clients", when.clients.as_ref(), names);
        self.optional("destinations", when.destinations.as_ref(), destinations);
        self.optional("networks", when.networks.as_ref(), strings);
        self.optional("assets", when.assets.as_ref(), strings);
        self.optional("from", when.amount_min.as_ref(), sats);
        self.optional("up_to", when.amount_max.as_ref(), sats);
        let (min, max) = (when.value_min.map(|v| self.value(&v)), when.value_max.map(|v| self.value(&v)));
        self.optional("value_from", min.as_ref(), String::clone);
        self.optional("value_up_to", max.as_ref(), String::clone);
        self.field("approvals", paths(&require.approvals));
        self.optional("independent", require.independent.as_ref(), u32::to_string);
        self.optional("approvals_valid", require.approval_valid_s.as_ref(), time);
        self.optional("delay", require.delay_s.as_ref(), time);
        self.optional("cool_down", require.cool_down_s.as_ref(), time);
        self.optional("hours", require.hours.as_ref(), |hours| quoted(hours));
        self.field("amount_max", sats(&require.amount_max));
        let value_max = require.value_max.map(|value| self.value(&value));
        self.optional("value_max", value_max.as_ref(), String::clone);
        self.field("fee_max", sats(&require.fee_max));
        self.field("fee_max_ppm", require.fee_max_ppm);
        if let Some(budget) = require.fee_budget {
            let (window, max) = (time(&budget.window_s), sats(&budget.fee_max));
            self.field("fee_budget", format!("{{ window = {window}, fee_max = {max} }}"));
        }
        if !require.velocity.is_empty() {
            let limits: String =
                require.velocity.iter().map(|limit| format!("    {},\n", self.velocity(limit))).collect();
            self.field("velocity", format!("[\n{limits}]"));
        }
    }

    fn velocity(&self, limit: &Velocity) -> String {
        let Velocity { per, window_s, amount_max, value_max, count_max } = limit;
        let mut fields = vec![
            format!("per = {}", word::<Per>(&PER, per)),
            format!("window = {}", quoted(write_seconds(*window_s))),
        ];
        fields.extend(amount_max.map(|max| format!("amount_max = {}", quoted(write_sats(max)))));
        fields.extend(value_max.map(|max| format!("value_max = {}", self.value(&max))));
        fields.extend(count_max.map(|max| format!("count_max = {max}")));
        format!("{{ {} }}", fields.join(", "))
    }

    /// What most kinds have is the default, where every kind is governed; the others are written out.
    fn governance(&mut self, policy: &Policy) {
        let all = &policy.governance;
        let complete = TABLE.iter().all(|row| all.contains_key(&row.kind));
        let alike = |one: &&Governance| all.values().filter(|other| other == one).count();
        let delayed = |kind: &Kind| kind.row().delayed;
        let candidates =
            all.iter().filter(|(kind, _)| complete && delayed(kind)).map(|(_, governance)| governance);
        let default = candidates.max_by_key(alike);
        if let Some(default) = default {
            self.governed("default", default);
        }
        for (kind, governance) in all {
            let inherited = default.map(|default| Governance {
                approvals: default.approvals.clone(),
                delay_s: if delayed(kind) { default.delay_s } else { 0 },
            });
            if inherited.as_ref() != Some(governance) {
                self.governed(kind.word(), governance);
            }
        }
    }

    fn governed(&mut self, word: &str, governance: &Governance) {
        self.header(format!("[governance.{word}]"));
        self.field("approvals", paths(&governance.approvals));
        self.field("delay", quoted(write_seconds(governance.delay_s)));
    }

    fn calendar(&mut self, id: &Name, calendar: &Calendar) {
        let second = |time: u64| {
            let shown = i64::try_from(time).ok().and_then(|time| Timestamp::from_second(time).ok());
            shown.map_or_else(|| time.to_string(), |shown| format!("{time} # {shown}"))
        };
        self.header(format!("[calendars.{id}]"));
        // The zone is a label: what is open is what stands below.
        let spans = calendar.open.iter().filter(|(_, length)| *length > 0);
        let spans: Vec<(u128, u128)> = spans
            .map(|(start, length)| (u128::from(*start), u128::from(start.saturating_add(length - 1))))
            .collect();
        let _ = writeln!(self.out, "# open in UTC: {}", week(spans.iter()));
        self.field("zone", quoted(&calendar.zone));
        self.field("from", second(calendar.from));
        self.field("until", second(calendar.until));
        let line = |spans: &[(u64, u64)]| {
            let spans: Vec<String> =
                spans.iter().map(|(start, length)| format!("[{start}, {length}]")).collect();
            format!("    {},\n", spans.join(", "))
        };
        let lines: String = calendar.open.chunks(SPANS_PER_LINE).map(line).collect();
        self.field("open", format!("[\n{lines}]"));
    }
}
