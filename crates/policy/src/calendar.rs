//! Calendars: hours, weekdays and holidays of a time zone, expanded into the UTC that a policy holds.
//!
//! A calendar is open while the clock on the wall of that place shows one of its hours. So an hour that a change of
//! the clock leaves out is not open, and one that it repeats is open both times. Hours that end the next morning belong
//! to the day on which they begin. A holiday is closed from midnight to midnight, and no hours begin on it.

use std::collections::BTreeSet;

use custody::adoption::{CALENDAR_SPAN_LIMIT_S, INTERVALS_LIMIT};
use custody::policy::Calendar;
use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

/// Seconds of a day on which no clock changes.
const DAY_S: i64 = 24 * 3600;

/// The furthest that a clock on the wall is from UTC, rounded up: 26 hours.
const OFFSET_LIMIT_S: i64 = 26 * 3600;

/// The days of the week, as people write them.
pub const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Hours of a day in seconds from midnight: first, and the one after the last, on the next day where that is over 24 h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours(i64, i64);

/// A calendar as people think of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The time zone (IANA).
    pub zone: TimeZone,
    /// The days on which hours begin.
    pub weekdays: Vec<Weekday>,
    /// The hours.
    pub hours: Vec<Hours>,
    /// Days that are closed.
    pub holidays: BTreeSet<Date>,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub until: Date,
}

/// Why a plan is no calendar.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CalendarError {
    /// It ends before it begins.
    #[error("the last day is before the first")]
    Backwards,
    /// It begins before 1970 or ends after the year 9999.
    #[error("these days are not within 1970 to 9998")]
    Era,
    /// It speaks of too long a time.
    #[error("these are {days} days, and a calendar speaks of at most {most}: end it earlier")]
    Long {
        /// How many days.
        days: i64,
        /// The limit.
        most: u64,
    },
    /// It is open too often.
    #[error(
        "it opens {count} times, and a calendar has at most {INTERVALS_LIMIT} open times: end it earlier, or join hours"
    )]
    Often {
        /// How often.
        count: usize,
    },
    /// It never opens.
    #[error("it is never open")]
    Closed,
}

/// The zone of that name in the data that this program carries: the system's is not asked, so that everybody expands
/// the same.
///
/// # Errors
/// What is no name of a zone.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    let found = TimeZoneDatabase::bundled().get(name).ok();
    let found = found.filter(|zone| zone.iana_name() == Some(name));
    found.ok_or_else(|| {
        let all: Vec<String> = TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
        let near = crate::reader::suggestion(name, all.iter().map(String::as_str));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        format!("{name:?} is no time zone of the IANA database{hint}")
    })
}

/// `2026-12-25`.
///
/// # Errors
/// What is no date.
pub fn date(text: &str) -> Result<Date, String> {
    let found: Option<Date> = text.parse().ok();
    found.filter(|date| date.to_string() == text).ok_or_else(|| {
        format!("{text:?} is no date: write year, month and day of one that exists, as in 2026-12-25")
    })
}

/// `08:00-18:00`; `22:00-06:00` ends on the next day; `00:00-24:00` is all day.
///
/// # Errors
/// What is wrong.
pub fn hours(text: &str) -> Result<Hours, String> {
    let bad = || format!("{text:?} are no hours: write 08:00-18:00, or 22:00-06:00 until the next morning");
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let (from, to) = (minute(from).ok_or_else(bad)?, minute(to).ok_or_else(bad)?);
    if from == to || from == DAY_S {
        return Err(format!("{text:?} are no hours: all day is 00:00-24:00"));
    }
    Ok(Hours(from, if to > from { to } else { to + DAY_S }))
}

/// `HH:MM` in seconds from midnight, up to 24:00.
fn minute(text: &str) -> Option<i64> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<i64>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    let seconds = hour * 3600 + minute * 60;
    (minute < 60 && seconds <= DAY_S).then_some(seconds)
}

/// `mon`, or `mon-fri`.
///
/// # Errors
/// What is no day of the week.
pub fn weekdays(text: &str) -> Result<Vec<Weekday>, String> {
    let day = |word: &str| {
        let found = WEEKDAYS.iter().position(|(known, _)| *known == word.trim());
        found.ok_or_else(|| format!("{text:?} is no day of the week: write mon, or mon-fri"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + 7 - first) % 7 + 1;
    Ok(WEEKDAYS.iter().cycle().skip(first).take(count).map(|(_, day)| *day).collect())
}

/// First second and the one after the last.
type Span = (i64, i64);

impl Plan {
    /// The calendar in UTC.
    ///
    /// # Errors
    /// A limit that it passes.
    pub fn expand(&self) -> Result<Calendar, CalendarError> {
        if self.until < self.from {
            return Err(CalendarError::Backwards);
        }
        let era = || CalendarError::Era;
        let (first, last) = (local(self.from).ok_or_else(era)?, local(self.until).ok_or_else(era)?);
        let days = (last - first) / DAY_S + 1;
        let most = CALENDAR_SPAN_LIMIT_S / (24 * 3600);
        if u64::try_from(days).map_or(true, |days| days > most) {
            return Err(CalendarError::Long { days, most });
        }
        let period = (first, last + DAY_S);
        let whole = self.in_utc(&[period])?;
        let (from, until) = whole.first().zip(whole.last()).map(|(a, b)| (a.0, b.1)).ok_or_else(era)?;
        let unsigned = |time: i64| u64::try_from(time).map_err(|_| CalendarError::Era);
        let (from, until) = (unsigned(from)?, unsigned(until)?);
        if until - from > CALENDAR_SPAN_LIMIT_S {
            // A change of the clock made the last day longer.
            return Err(CalendarError::Long { days: days + 1, most });
        }
        let spans = self.in_utc(&self.on_the_wall(period)?)?;
        if spans.is_empty() {
            return Err(CalendarError::Closed);
        }
        if spans.len() > INTERVALS_LIMIT {
            return Err(CalendarError::Often { count: spans.len() });
        }
        let open = spans.into_iter().map(|(start, end)| Ok((unsigned(start)?, unsigned(end - start)?)));
        let zone = self.zone.iana_name().unwrap_or("UTC").to_owned();
        Ok(Calendar { zone, from, until, open: open.collect::<Result<_, CalendarError>>()? })
    }

    /// When the clock on the wall shows open hours, as if that was UTC.
    fn on_the_wall(&self, period: Span) -> Result<Vec<Span>, CalendarError> {
        let mut open = Vec::new();
        // The hours of the day before may reach into the first.
        let mut day = self.from.yesterday().map_err(|_| CalendarError::Era)?;
        while day <= self.until {
            let midnight = local(day).ok_or(CalendarError::Era)?;
            let next = day.tomorrow().map_err(|_| CalendarError::Era)?;
            let begins = self.weekdays.contains(&day.weekday()) && !self.holidays.contains(&day);
            let end = if self.holidays.contains(&next) { midnight + DAY_S } else { i64::MAX };
            let all = self.hours.iter().filter(|_| begins);
            open.extend(all.map(|hours| (midnight + hours.0, (midnight + hours.1).min(end))));
            day = next;
        }
        let cut = |(start, end): Span| (start.max(period.0), end.min(period.1));
        Ok(joined(open.into_iter().map(cut)))
    }

    /// Times on the wall in UTC: one stretch without a change of the clock after the other.
    fn in_utc(&self, wall: &[Span]) -> Result<Vec<Span>, CalendarError> {
        let Some((first, last)) = wall.first().zip(wall.last()) else { return Ok(Vec::new()) };
        let (begin, end) = (first.0 - OFFSET_LIMIT_S, last.1 + OFFSET_LIMIT_S);
        let begin_at = Timestamp::from_second(begin).map_err(|_| CalendarError::Era)?;
        let mut stretches = vec![(begin, i64::from(self.zone.to_offset(begin_at).seconds()))];
        let changes =
            self.zone.following(begin_at).map(|c| (c.timestamp().as_second(), c.offset().seconds()));
        stretches.extend(changes.take_while(|(at, _)| *at < end).map(|(at, offset)| (at, i64::from(offset))));
        let ends = stretches.iter().skip(1).map(|(at, _)| *at).chain([end]);
        let pieces = stretches.iter().zip(ends).flat_map(|(&(from, offset), to)| {
            wall.iter().map(move |(a, b)| ((a - offset).max(from), (b - offset).min(to)))
        });
        Ok(joined(pieces))
    }
}

/// Spans in order and apart: what touches is joined, what is empty is left out.
fn joined(spans: impl Iterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.filter(|(start, end)| start < end).collect();
    spans.sort_unstable();
    let mut all: Vec<Span> = Vec::new();
    for (start, end) in spans {
        match all.last_mut() {
            Some(before) if start <= before.1 => before.1 = before.1.max(end),
            _ => all.push((start, end)),
        }
    }
    all
}

/// Midnight of a day, as if the clock on the wall was UTC.
fn local(date: Date) -> Option<i64> {
    let zoned: Zoned = date.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}
