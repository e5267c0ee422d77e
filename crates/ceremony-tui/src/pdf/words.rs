//! How facts are said in both documents.

use ceremony::script::{Kind, Role};
use ceremony::sheet::date;
use serde::Serialize;

/// A value of a closed enum, as its file names it.
pub(super) fn named<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => other.map(|value| value.to_string()).unwrap_or_default(),
    }
}

/// What the ceremony is for.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Generation => "Generation of a key",
        Kind::Components => "Additional recovery components",
        Kind::Recovery => "Recovery",
        Kind::Drill => "Recovery drill",
    }
}

/// Roles, for people to read.
pub(super) fn roles(roles: &[Role]) -> String {
    roles.iter().map(|each| role(*each)).collect::<Vec<_>>().join(", ")
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Operator => "operator",
        Role::KeyCustodian => "key custodian",
        Role::Witness => "witness",
        Role::SecurityOfficer => "security officer",
    }
}

/// A time in seconds since 1970, in UTC.
pub(super) fn time(seconds: u64) -> String {
    let (hour, minute, second) = clock(seconds);
    format!("{} {hour:02}:{minute:02}:{second:02}", date(seconds))
}

/// Hour, minute and second.
pub(super) fn clock(seconds: u64) -> (u8, u8, u8) {
    let part = |number: u64| u8::try_from(number).unwrap_or_default();
    (part(seconds / 3_600 % 24), part(seconds / 60 % 60), part(seconds % 60))
}

/// Year, month and day.
pub(super) fn civil(seconds: u64) -> (u16, u8, u8) {
    let date = date(seconds);
    let mut parts = date.split('-').map(|part| part.parse().unwrap_or_default());
    let mut next = || parts.next().unwrap_or_default();
    let (year, month, day): (u16, u16, u16) = (next(), next(), next());
    (year, u8::try_from(month).unwrap_or_default(), u8::try_from(day).unwrap_or_default())
}
