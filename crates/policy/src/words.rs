//! How a policy and what it speaks of are put into words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Budget, PolicyRule, RequestKind, Require, Velocity, describe};
use custody::rates::Value;
use jiff::Timestamp;

use crate::currency;
use crate::difference::{Clients, Example, Names, Ranges, Region, Worths};

/// How many ranges or handles are written out before the rest is counted.
const SHOWN: usize = 64;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A whole number with its thousands apart.
fn thousands(digits: &str) -> String {
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// An amount.
pub(crate) fn sats(amount: u128) -> String {
    thousands(&amount.to_string()) + " sat"
}

/// A value: `10,000.00 CHF` where the minor unit of the currency is known (ISO 4217).
pub(crate) fn value(value: Value, currency: Option<&Name>) -> String {
    let Some(code) = currency else { return format!("{} minor units", thousands(&value.to_string())) };
    let Some(digits) = currency::digits(code.as_str()) else {
        return format!("{} minor units of {code}", thousands(&value.to_string()));
    };
    let number = format!("{:0>width$}", value.0, width = digits + 1);
    let (whole, part) = number.split_at(number.len() - digits);
    let point = if digits > 0 { "." } else { "" };
    format!("{}{point}{part} {}", thousands(whole), code.as_str().to_ascii_uppercase())
}

/// A time as weekday and RFC 3339, in UTC.
pub(crate) fn time(seconds: u64) -> String {
    let known = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    known.map_or_else(|| "after the year 9999".into(), |time| time.strftime("%a %FT%TZ").to_string())
}

/// 1970 began on a Thursday.
fn weekday(days: u64) -> usize {
    usize::try_from((days + 3) % 7).unwrap_or(0)
}

/// Handles with commas.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    cut(names.into_iter().map(Name::to_string).collect(), ", ")
}

/// Words with commas, the first of many.
pub(crate) fn cut(mut words: Vec<String>, comma: &str) -> String {
    let more = words.len().saturating_sub(SHOWN);
    words.truncate(SHOWN);
    let rest = if more > 0 { format!("{comma}and {more} more") } else { String::new() };
    words.join(comma) + &rest
}

fn names(names: &Names) -> Option<String> {
    match names {
        Names::Only(these) => Some(list(these)),
        Names::Except(these) if these.is_empty() => None,
        Names::Except(these) => Some(format!("any other than {}", list(these))),
    }
}

fn clients(clients: &Clients) -> Option<String> {
    let nobody = Names::Only(BTreeSet::new());
    match (clients.unnamed, names(&clients.named)) {
        (true, None) => None,
        (true, _) if clients.named == nobody => Some("that name no client".into()),
        (true, Some(named)) => Some(format!("for {named}, or that name no client")),
        (false, None) => Some("for any client".into()),
        (false, Some(named)) => Some(format!("for {named}")),
    }
}

fn ranges(ranges: &Ranges, least: u128, most: u128, unit: impl Fn(u128) -> String) -> Option<String> {
    let one = |(first, last): &(u128, u128)| match (*first <= least, *last >= most) {
        (true, true) => None,
        (true, false) => Some(format!("of at most {}", unit(*last))),
        (false, true) => Some(format!("of at least {}", unit(*first))),
        (false, false) if first == last => Some(format!("of {}", unit(*first))),
        (false, false) => Some(format!("of {} to {}", unit(*first), unit(*last))),
    };
    let words: Option<Vec<String>> = ranges.ranges().iter().map(one).collect();
    words.map(|words| cut(words, " or "))
}

fn worths(currency: &Name, worths: &Worths) -> Option<String> {
    let known = ranges(&worths.known, 0, u128::MAX, |worth| value(Value(worth), Some(currency)));
    match (worths.unknown, worths.known.ranges().is_empty(), known) {
        (true, false, None) => None,
        (true, true, _) => Some(format!("while no rate in {currency} holds")),
        (false, _, None) => Some(format!("while a rate in {currency} holds")),
        (true, false, Some(known)) => Some(format!("worth {known}, or while no rate holds")),
        (false, _, Some(known)) => Some(format!("worth {known}")),
    }
}

/// The hours of the week, in UTC, in which times begin and end, those that are the same once.
pub(crate) fn week<'a>(times: impl Iterator<Item = &'a (u128, u128)>) -> String {
    let mut hours: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (first, last) in times {
        let clock = |second: u128| format!("{:02}:{:02}", second / 3600 % 24, second / 60 % 60);
        let day = weekday(u64::try_from(first / 86_400).unwrap_or(0));
        let until = if last - first >= 86_400 {
            format!(" for {} h", (last - first).div_ceil(3600))
        } else {
            format!("–{}", clock(last + 1))
        };
        hours.entry(day).or_default().insert(format!("{}{until}", clock(*first)));
    }
    let day = |(day, hours): (&usize, &BTreeSet<String>)| {
        let name = WEEKDAYS.get(*day).copied().unwrap_or_default();
        format!("{name} {}", cut(hours.iter().cloned().collect(), ", "))
    };
    hours.iter().map(day).collect::<Vec<_>>().join("; ")
}

/// Times, by weekday and hour where they are of a week.
fn times(times: &Ranges, now: u64) -> Option<String> {
    let at = |second: u128| time(u64::try_from(second).unwrap_or(u64::MAX));
    let (first, last) = (times.first()?, times.last()?);
    let endless = last >= u128::from(u64::MAX);
    match times.ranges() {
        [_] if first <= u128::from(now) && endless => None,
        [_] if endless => Some(format!("from {} on", at(first))),
        [_] => Some(format!("from {} to {}", at(first), at(last))),
        many => {
            let endless = many.last().filter(|(_, last)| *last >= u128::from(u64::MAX));
            let ends = endless.map_or_else(String::new, |(first, _)| format!(", and from {} on", at(*first)));
            let week = week(many.iter().filter(|(_, last)| *last < u128::from(u64::MAX)));
            Some(format!("at {} times (UTC: {week}), the first {}{ends}", many.len(), at(first)))
        }
    }
}

pub(crate) fn destination(kind: DestinationKind) -> &'static str {
    match kind {
        DestinationKind::Own => "own",
        DestinationKind::Client => "client",
        DestinationKind::Counterparty => "counterparty",
        DestinationKind::Contract => "contract",
        DestinationKind::Unlisted => "unlisted",
    }
}

/// Which requests a region has.
pub(crate) fn region(region: &Region, now: u64, assets: usize) -> String {
    let pays = region.kind == RequestKind::Payment;
    let mut words = vec![if pays { "payments" } else { "cancels" }.to_owned()];
    if pays {
        words.extend(ranges(&region.amounts, 1, u128::from(Sats::MAX.0), sats));
    }
    if region.assets.len() < assets {
        words.push(format!("in {}", cut(region.assets.iter().cloned().collect(), ", ")));
    }
    words.extend(names(&region.wallets).map(|wallets| format!("from wallet {wallets}")));
    if region.tiers.len() < Tier::ALL.len() {
        let tiers: Vec<&str> = region.tiers.iter().map(|tier| tier.word()).collect();
        words.push(format!("of tier {}", tiers.join(", ")));
    }
    words.extend(clients(&region.clients));
    let any = DestinationKind::ALL.iter().filter(|kind| **kind != DestinationKind::Unlisted);
    if pays && !any.into_iter().all(|kind| region.destinations.contains(kind)) {
        let kinds: Vec<&str> = region.destinations.iter().map(|kind| destination(*kind)).collect();
        words.push(format!("to destinations of kind {}", kinds.join(", ")));
    } else if pays && region.destinations.contains(&DestinationKind::Unlisted) {
        words.push("also to addresses that are not in the address book".into());
    }
    words.extend(region.worths.iter().filter_map(|(currency, set)| worths(currency, set)));
    words.extend(times(&region.times, now));
    if region.de_minimis.len() == 1 && region.de_minimis.contains(&true) {
        words.push("within de minimis".into());
    }
    if region.de_minimis.len() == 1 && region.de_minimis.contains(&false) && small(region) {
        words.push("above what de minimis leaves".into());
    }
    words.join(" ")
}

/// Whether an amount of it could be within *de minimis*: else there is nothing to say of it.
fn small(region: &Region) -> bool {
    let ceiling = u128::from(custody::policy::DE_MINIMIS_CEILING.0);
    region.amounts.first().is_some_and(|first| first <= ceiling)
        && region.amounts.last().is_some_and(|last| last <= ceiling)
}

/// An example.
pub(crate) fn example(example: &Example) -> String {
    let mut words = match example.destination {
        Some(kind) => {
            let parts = if example.parts > 1 { format!("{} ", example.parts) } else { String::new() };
            let (amount, kind) = (sats(u128::from(example.amount.0)), destination(kind));
            format!("{amount} from {} ({}) to {parts}{kind}", example.wallet, example.tier.word())
        }
        None => format!("a cancel in {} ({})", example.wallet, example.tier.word()),
    };
    let mut also = |what: String| {
        words.push_str(", ");
        words.push_str(&what);
    };
    match &example.client {
        Some(client) => also(format!("for {client}")),
        None => also("for no client".into()),
    }
    for (currency, worth) in &example.worth {
        also(format!("worth {}", value(*worth, Some(currency))));
    }
    if example.fee > Sats(0) {
        also(format!("fee {}", sats(u128::from(example.fee.0))));
    }
    also(time(example.time));
    let who = example.approvers.iter().map(|approver| {
        let on = if approver.independent { "" } else { " (console)" };
        format!("{}{on}", approver.person)
    });
    also(format!("approved by {}", who.collect::<Vec<_>>().join(" and ")));
    if let Some(age) = example.approved_s {
        also(format!("{age} s before"));
    }
    if let Some(age) = example.destination_s {
        also(format!("to destinations that are {age} s old"));
    }
    if let Some(earlier) = example.earlier {
        let (paid, fee) = (sats(u128::from(earlier.paid.0)), sats(u128::from(earlier.fee.0)));
        let (count, age) = (earlier.count, earlier.age_s);
        also(format!("after {count} requests that paid {paid} with fees of {fee}, {age} s before"));
    }
    words
}

/// What a rule asks for that is not ordered by itself: its paths.
pub(crate) fn needs(rule: &PolicyRule) -> String {
    let independent = rule.require.independent.map(|n| format!(", {n} on independent devices"));
    describe(&rule.require.approvals) + &independent.unwrap_or_default()
}

/// The velocity limits of a rule.
pub(crate) fn velocity(need: &Require, currency: Option<&Name>) -> Vec<String> {
    need.velocity.iter().map(|one| limit(one, currency)).collect()
}

/// A velocity limit.
pub(crate) fn limit(limit: &Velocity, currency: Option<&Name>) -> String {
    let mut most = Vec::new();
    most.extend(limit.amount_max.map(|max| sats(u128::from(max.0))));
    most.extend(limit.value_max.map(|max| value(max, currency)));
    most.extend(limit.count_max.map(|max| format!("{max} requests")));
    format!("{} per {} in {} s", most.join(" and "), limit.per.word(), limit.window_s)
}

/// A fee budget.
pub(crate) fn budget(budget: Budget) -> String {
    format!("{} in {} s", sats(u128::from(budget.fee_max.0)), budget.window_s)
}

/// A kind of request.
pub(crate) fn kind(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Payment => "payment",
        RequestKind::Cancel => "cancel",
    }
}

/// A text that anybody may have written, on one line and with nothing in it that moves or hides what is beside it:
/// all but ASCII is escaped, as TOML reads it.
pub(crate) fn quoted(text: impl Display) -> String {
    let mut out = String::from("\"");
    for c in text.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_of_the_calendar() {
        assert_eq!(time(0), "Thu 1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400), "Tue 2000-02-29T00:00:00Z");
        assert_eq!(time(1_767_225_600 + 3_661), "Thu 2026-01-01T01:01:01Z");
        // The last second of a year of four digits in every time zone.
        let last = u64::try_from(Timestamp::MAX.as_second()).unwrap();
        assert_eq!(time(last), "Thu 9999-12-30T22:00:00Z");
        assert_eq!(time(last + 1), "after the year 9999");
    }

    #[test]
    fn amounts_have_their_thousands() {
        assert_eq!([sats(1), sats(1_000), sats(21_000_000)], ["1 sat", "1,000 sat", "21,000,000 sat"]);
    }

    #[test]
    fn values_have_their_currency() {
        for (minor, code, words) in [
            (1_000_000, Some("chf"), "10,000.00 CHF"),
            (5, Some("chf"), "0.05 CHF"),
            (1_234_567, Some("jpy"), "1,234,567 JPY"),
            (1_234_567, Some("kwd"), "1,234.567 KWD"),
            (1_000, Some("gold"), "1,000 minor units of gold"),
            (1_000, None, "1,000 minor units"),
        ] {
            let code = code.map(|code| Name::new(code).unwrap());
            assert_eq!(value(Value(minor), code.as_ref()), words);
        }
    }

    #[test]
    fn what_anybody_wrote_stays_on_its_line() {
        assert_eq!(quoted("a \"b\" \\ \n é \u{202e}"), r#""a \"b\" \\ \U0000000A \U000000E9 \U0000202E""#);
    }

    #[test]
    fn hours_of_the_week_are_said_once() {
        let monday = 1_767_571_200; // 2026-01-05
        let week = 7 * 86_400;
        let open: Vec<(u128, u128)> =
            (0..3).map(|n| monday + n * week).map(|d| (d + 9 * 3600, d + 10 * 3600 - 1)).collect();
        let said = times(&Ranges::from(open), 0).unwrap();
        assert_eq!(said, "at 3 times (UTC: Mon 09:00–10:00), the first Mon 2026-01-05T09:00:00Z");
    }
}
