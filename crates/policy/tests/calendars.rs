//! Calendars in UTC, to the second, around the days on which clocks change.
//!
//! The changes are those of the IANA database: Zurich on 28 March 2027, 01:00 UTC, to UTC+2 and on 31 October 2027,
//! 01:00 UTC, back to UTC+1; New York on 14 March 2027, 07:00 UTC, to UTC−4 and on 7 November 2027, 06:00 UTC, back to
//! UTC−5; Tokyo never. Seconds are `date -u -d TIME +%s`.

use custody::adoption::{CALENDAR_SPAN_LIMIT_S, INTERVALS_LIMIT};
use custody::policy::Calendar;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZoneDatabase;
use jiff::{Timestamp, ToSpan as _};
use policy::calendar::{CalendarError, Plan, date, hours, weekdays, zone};

fn plan(place: &str, days: &str, open: &[&str], from: &str, until: &str) -> Plan {
    Plan {
        zone: zone(place).unwrap(),
        weekdays: weekdays(days).unwrap(),
        hours: open.iter().map(|text| hours(text).unwrap()).collect(),
        holidays: [].into(),
        from: date(from).unwrap(),
        until: date(until).unwrap(),
    }
}

fn second(text: &str) -> u64 {
    u64::try_from(text.parse::<Timestamp>().unwrap().as_second()).unwrap()
}

/// The open times, as first second and the one after the last.
fn shown(calendar: &Calendar) -> Vec<(String, String)> {
    let time = |second: u64| Timestamp::from_second(i64::try_from(second).unwrap()).unwrap().to_string();
    calendar.open.iter().map(|(start, length)| (time(*start), time(start + length))).collect()
}

fn opens(plan: &Plan, expected: &[(&str, &str)]) {
    let found = shown(&plan.expand().unwrap());
    let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn office_hours_move_with_the_clock() {
    // Friday to Monday over the change: an hour earlier in UTC.
    opens(
        &plan("Europe/Zurich", "mon-fri", &["08:00-18:00"], "2027-03-26", "2027-03-29"),
        &[("2027-03-26T07:00:00Z", "2027-03-26T17:00:00Z"), ("2027-03-29T06:00:00Z", "2027-03-29T16:00:00Z")],
    );
    let zurich =
        plan("Europe/Zurich", "mon-fri", &["08:00-18:00"], "2027-03-26", "2027-03-29").expand().unwrap();
    assert_eq!(zurich.open, [(1_806_044_400, 36_000), (1_806_300_000, 36_000)]);
    assert_eq!((zurich.from, zurich.until), (1_806_015_600, 1_806_357_600));
    assert_eq!(zurich.zone, "Europe/Zurich");
    opens(
        &plan("America/New_York", "mon-fri", &["09:30-16:00"], "2027-11-05", "2027-11-08"),
        &[("2027-11-05T13:30:00Z", "2027-11-05T20:00:00Z"), ("2027-11-08T14:30:00Z", "2027-11-08T21:00:00Z")],
    );
    opens(
        &plan("Asia/Tokyo", "mon-fri", &["09:00-17:00"], "2027-03-26", "2027-03-29"),
        &[("2027-03-26T00:00:00Z", "2027-03-26T08:00:00Z"), ("2027-03-29T00:00:00Z", "2027-03-29T08:00:00Z")],
    );
}

/// In spring the clock goes from 02:00 to 03:00 (Zurich, New York): what lies between is not open.
#[test]
fn an_hour_that_does_not_exist_is_not_open() {
    let zurich = |open| plan("Europe/Zurich", "sun", &[open], "2027-03-28", "2027-03-28");
    assert_eq!(zurich("02:00-03:00").expand(), Err(CalendarError::Closed));
    opens(&zurich("02:30-03:30"), &[("2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z")]);
    opens(&zurich("01:00-02:30"), &[("2027-03-28T00:00:00Z", "2027-03-28T01:00:00Z")]);
    opens(&zurich("01:30-03:30"), &[("2027-03-28T00:30:00Z", "2027-03-28T01:30:00Z")]);
    // The day has 23 hours.
    opens(&zurich("00:00-24:00"), &[("2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z")]);
    let york = |open| plan("America/New_York", "sun", &[open], "2027-03-14", "2027-03-14");
    assert_eq!(york("02:00-03:00").expand(), Err(CalendarError::Closed));
    opens(&york("01:59-03:01"), &[("2027-03-14T06:59:00Z", "2027-03-14T07:01:00Z")]);
}

/// In autumn it goes from 03:00 back to 02:00 (Zurich), from 02:00 back to 01:00 (New York): that hour is twice.
#[test]
fn an_hour_that_exists_twice_is_open_twice() {
    let zurich = |open| plan("Europe/Zurich", "sun", &[open], "2027-10-31", "2027-10-31");
    opens(&zurich("02:00-03:00"), &[("2027-10-31T00:00:00Z", "2027-10-31T02:00:00Z")]);
    opens(
        &zurich("02:15-02:45"),
        &[("2027-10-31T00:15:00Z", "2027-10-31T00:45:00Z"), ("2027-10-31T01:15:00Z", "2027-10-31T01:45:00Z")],
    );
    opens(
        &zurich("01:30-02:30"),
        &[("2027-10-30T23:30:00Z", "2027-10-31T00:30:00Z"), ("2027-10-31T01:00:00Z", "2027-10-31T01:30:00Z")],
    );
    // The day has 25 hours.
    opens(&zurich("00:00-24:00"), &[("2027-10-30T22:00:00Z", "2027-10-31T23:00:00Z")]);
    let york = plan("America/New_York", "sun", &["01:00-02:00"], "2027-11-07", "2027-11-07");
    opens(&york, &[("2027-11-07T05:00:00Z", "2027-11-07T07:00:00Z")]);
}

#[test]
fn nights_belong_to_the_day_on_which_they_begin() {
    // Saturday 23:00 to Sunday 06:00, with the change in it; both ends are cut at the period.
    let night = plan("Europe/Zurich", "sat", &["23:00-06:00"], "2027-03-27", "2027-03-28");
    opens(&night, &[("2027-03-27T22:00:00Z", "2027-03-28T04:00:00Z")]);
    let cut = plan("Asia/Tokyo", "mon-sun", &["22:00-06:00"], "2027-06-01", "2027-06-01");
    opens(
        &cut,
        &[("2027-05-31T15:00:00Z", "2027-05-31T21:00:00Z"), ("2027-06-01T13:00:00Z", "2027-06-01T15:00:00Z")],
    );
    let until_midnight = plan("Asia/Tokyo", "tue", &["22:00-00:00"], "2027-06-01", "2027-06-03");
    opens(&until_midnight, &[("2027-06-01T13:00:00Z", "2027-06-01T15:00:00Z")]);
}

#[test]
fn holidays_are_closed_from_midnight_to_midnight() {
    let mut nights = plan("Asia/Tokyo", "mon-sun", &["22:00-06:00"], "2027-06-01", "2027-06-04");
    nights.holidays.insert(date("2027-06-03").unwrap());
    opens(
        &nights,
        &[
            ("2027-05-31T15:00:00Z", "2027-05-31T21:00:00Z"),
            ("2027-06-01T13:00:00Z", "2027-06-01T21:00:00Z"),
            // The night before ends with the day, and the night of the holiday does not begin.
            ("2027-06-02T13:00:00Z", "2027-06-02T15:00:00Z"),
            ("2027-06-04T13:00:00Z", "2027-06-04T15:00:00Z"),
        ],
    );
}

#[test]
fn open_times_are_apart() {
    let joined = plan("Asia/Tokyo", "mon-sun", &["12:00-24:00", "00:00-12:00"], "2027-06-01", "2027-06-30");
    assert_eq!(joined.expand().unwrap().open, [(second("2027-05-31T15:00:00Z"), 30 * 86_400)]);
    let over = plan("Asia/Tokyo", "tue", &["08:00-12:00", "11:00-14:00"], "2027-06-01", "2027-06-01");
    assert_eq!(over.expand().unwrap().open, [(second("2027-05-31T23:00:00Z"), 6 * 3600)]);
}

/// Every minute of a fortnight around both changes: open exactly while the wall shows hours of an open day. The
/// oracle asks the zone the other way round, instant by instant.
#[test]
fn the_wall_clock_decides_every_minute() {
    let cases = [
        ("Europe/Zurich", "2027-03-20", "2027-04-03"),
        ("Europe/Zurich", "2027-10-24", "2027-11-07"),
        ("America/New_York", "2027-03-07", "2027-03-21"),
        ("America/New_York", "2027-11-01", "2027-11-14"),
        // Half an hour of change, and zones whose clock changes at midnight.
        ("Australia/Lord_Howe", "2027-03-28", "2027-04-10"),
        ("America/Havana", "2027-03-08", "2027-03-21"),
        ("America/Havana", "2027-11-01", "2027-11-14"),
        ("Asia/Kolkata", "2027-03-20", "2027-04-03"),
    ];
    for (place, from, until) in cases {
        let mut plan = plan(place, "mon-sat", &["00:15-02:45", "22:00-00:10"], from, until);
        let holiday = date(from).unwrap() + 5.days();
        plan.holidays.insert(holiday);
        let calendar = plan.expand().unwrap();
        let zone = TimeZoneDatabase::bundled().get(place).unwrap();
        let time = |h, m| Time::new(h, m, 0, 0).unwrap();
        let (mut open, mut closed) = (0, 0);
        for second in (calendar.from - 7200..calendar.until + 7200).step_by(60) {
            let wall = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap().to_zoned(zone.clone());
            let (day, clock) = (wall.date(), wall.time());
            let begins = |day: jiff::civil::Date| day.weekday() != Weekday::Sunday && day != holiday;
            let morning = begins(day) && clock >= time(0, 15) && clock < time(2, 45);
            let evening = begins(day) && clock >= time(22, 0);
            let rest = begins(day.yesterday().unwrap()) && clock < time(0, 10) && day != holiday;
            let period = day >= plan.from && day <= plan.until;
            let expected = period && (morning || evening || rest);
            assert_eq!(calendar.is_open(second), expected, "{place}: {wall}");
            *(if expected { &mut open } else { &mut closed }) += 1;
        }
        assert!(open > 1_000 && closed > 1_000);
    }
}

#[test]
fn calendars_on_both_sides_of_their_limits() {
    // 732 days, the clock the same at both ends.
    let span = |until| plan("Europe/Zurich", "mon", &["08:00-18:00"], "2026-12-01", until);
    let longest = span("2028-12-01").expand().unwrap();
    assert_eq!(longest.until - longest.from, CALENDAR_SPAN_LIMIT_S);
    assert_eq!(span("2028-12-02").expand(), Err(CalendarError::Long { days: 733, most: 732 }));
    // From summer time to winter time the same days are an hour longer.
    let longer = |until| plan("Europe/Zurich", "mon", &["08:00-18:00"], "2027-10-30", until).expand();
    assert_eq!(longer("2029-10-29").unwrap().open.len(), 105);
    assert_eq!(longer("2029-10-30"), Err(CalendarError::Long { days: 733, most: 732 }));
    // Twice a day on all days: 1,100 open times in 550 days.
    let often = |until| plan("Asia/Tokyo", "mon-sun", &["08:00-12:00", "13:00-18:00"], "2027-01-01", until);
    assert_eq!(often("2028-07-03").expand().unwrap().open.len(), INTERVALS_LIMIT);
    assert_eq!(often("2028-07-04").expand(), Err(CalendarError::Often { count: 1_102 }));
    let none = plan("Asia/Tokyo", "mon", &["08:00-12:00"], "2027-06-01", "2027-06-01");
    assert_eq!(none.expand(), Err(CalendarError::Closed));
    let back = plan("Asia/Tokyo", "mon", &["08:00-12:00"], "2027-06-02", "2027-06-01");
    assert_eq!(back.expand(), Err(CalendarError::Backwards));
    let early = plan("Asia/Tokyo", "mon-sun", &["08:00-12:00"], "1970-01-01", "1970-01-02");
    assert_eq!(early.expand(), Err(CalendarError::Era), "in Tokyo 1970 began before it did in UTC");
    let first = plan("Europe/London", "mon-sun", &["08:00-12:00"], "1970-01-02", "1970-01-02");
    assert!(first.expand().is_ok());
    let last = plan("Asia/Tokyo", "mon-sun", &["08:00-12:00"], "9999-12-30", "9999-12-31");
    assert_eq!(last.expand(), Err(CalendarError::Era));
}

#[test]
fn words_are_read_strictly() {
    for bad in ["Europe/Zurick", "europe/zurich", "CET+1", "", "+01:00", "Mars/Olympus"] {
        assert!(zone(bad).is_err(), "{bad}");
    }
    assert!(zone("Europe/Zurick").unwrap_err().contains("did you mean \"Europe/Zurich\"?"));
    assert!(zone("UTC").is_ok());
    for bad in
        ["2026-02-29", "2026-1-1", "20260101", "2026-01-01T00:00:00", "+002026-01-01", "", "01.12.2026"]
    {
        assert!(date(bad).is_err(), "{bad}");
    }
    assert!(date("2028-02-29").is_ok());
    for bad in [
        "8-18",
        "08:00",
        "08:00-08:00",
        "24:00-06:00",
        "08:60-09:00",
        "25:00-26:00",
        "08:00-24:01",
        "+8:00-09:00",
        "",
    ] {
        assert!(hours(bad).is_err(), "{bad}");
    }
    assert_eq!(weekdays("sat-mon").unwrap(), [Weekday::Saturday, Weekday::Sunday, Weekday::Monday]);
    assert_eq!(weekdays("wed").unwrap(), [Weekday::Wednesday]);
    assert_eq!(weekdays("mon-sun").unwrap().len(), 7);
    for bad in ["monday", "Mon", "mon-", "", "mon-fri-sat", "mon,tue"] {
        assert!(weekdays(bad).is_err(), "{bad}");
    }
}
