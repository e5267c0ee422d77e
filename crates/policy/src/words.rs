//! How a policy and what it speaks of are put into words.

use std::collections::{BTreeMap, BTreeSet};

use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{PolicyRule, RequestKind, Require, describe};

use crate::difference::{Clients, Example, Names, Ranges, Region, Worths};

/// How many ranges or handles are written out before the rest is counted.
const SHOWN: usize = 64;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// An amount.
pub(crate) fn sats(amount: u128) -> String {
    let digits = amount.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out + " sat"
}

/// A time as weekday and RFC 3339, in UTC.
pub(crate) fn time(seconds: u64) -> String {
    if seconds > LAST_SECOND {
        return "after the year 9999".into();
    }
    // Days to a date of the Gregorian calendar: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let weekday = WEEKDAYS.get(weekday(days)).copied().unwrap_or_default();
    format!("{weekday} {year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// 1970 began on a Thursday.
fn weekday(days: u64) -> usize {
    usize::try_from((days + 3) % 7).unwrap_or(0)
}

/// Handles with commas.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    cut(names.into_iter().map(Name::to_string).collect(), ", ")
}

fn cut(mut words: Vec<String>, comma: &str) -> String {
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
    let known = ranges(&worths.known, 0, u128::MAX, |value| format!("{value} minor units of {currency}"));
    match (worths.unknown, worths.known.ranges().is_empty(), known) {
        (true, false, None) => None,
        (true, true, _) => Some(format!("while no rate in {currency} holds")),
        (false, _, None) => Some(format!("while a rate in {currency} holds")),
        (true, false, Some(known)) => Some(format!("worth {known}, or while no rate holds")),
        (false, _, Some(known)) => Some(format!("worth {known}")),
    }
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
            // The hours of the week in which all of it begins and ends, if those are few.
            let mut hours: BTreeMap<(usize, String), BTreeSet<String>> = BTreeMap::new();
            let mut ends = String::new();
            for (first, last) in many {
                let clock = |second: u128| format!("{:02}:{:02}", second / 3600 % 24, second / 60 % 60);
                if *last >= u128::from(u64::MAX) {
                    ends = format!(", and from {} on", at(*first));
                    continue;
                }
                let day = weekday(u64::try_from(first / 86_400).unwrap_or(0));
                let name = WEEKDAYS.get(day).copied().unwrap_or_default().to_owned();
                let until = if last - first >= 86_400 {
                    format!(" for {} h", (last - first).div_ceil(3600))
                } else {
                    format!("–{}", clock(last + 1))
                };
                hours.entry((day, name)).or_default().insert(format!("{}{until}", clock(*first)));
            }
            let day = |((_, name), hours): (&(usize, String), &BTreeSet<String>)| {
                format!("{name} {}", cut(hours.iter().cloned().collect(), ", "))
            };
            let week = hours.iter().map(day).collect::<Vec<_>>().join("; ");
            Some(format!("at {} times (UTC: {week}), the first {}{ends}", many.len(), at(first)))
        }
    }
}

fn destination(kind: DestinationKind) -> &'static str {
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
        also(format!("worth {worth} minor units of {currency}"));
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
pub(crate) fn velocity(need: &Require) -> Vec<String> {
    let one = |limit: &custody::policy::Velocity| {
        let mut most = Vec::new();
        most.extend(limit.amount_max.map(|max| sats(u128::from(max.0))));
        most.extend(limit.value_max.map(|max| format!("{max} minor units")));
        most.extend(limit.count_max.map(|max| format!("{max} requests")));
        format!("{} per {} in {} s", most.join(" and "), limit.per.word(), limit.window_s)
    };
    need.velocity.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_of_the_calendar() {
        assert_eq!(time(0), "Thu 1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400), "Tue 2000-02-29T00:00:00Z");
        assert_eq!(time(1_767_225_600 + 3_661), "Thu 2026-01-01T01:01:01Z");
        assert_eq!(time(LAST_SECOND), "Fri 9999-12-31T23:59:59Z");
        assert_eq!(time(LAST_SECOND + 1), "after the year 9999");
    }

    #[test]
    fn amounts_have_their_thousands() {
        assert_eq!([sats(1), sats(1_000), sats(21_000_000)], ["1 sat", "1,000 sat", "21,000,000 sat"]);
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
