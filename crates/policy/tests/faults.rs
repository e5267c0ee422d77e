//! Mistakes in policy files: each is found where it stands. `‸` marks the place in the text.

use policy::reader::{FILE_LIMIT_BYTES, Fault};
use policy::text::parse;

const GOOD: &str = r#"currency = "chf"

[groups]
approvers = ["alice", "bob"]

[[rules]]
id = "payments"
approvals = ["2 of approvers"]
amount_max = "1 btc"
fee_max = "50000 sat"
fee_max_ppm = 20000

[governance.default]
approvals = ["2 of admins"]
delay = "24h"

[calendars.office]
zone = "Europe/Zurich"
weekdays = ["mon-fri"]
hours = "08:00-18:00"
from = 2026-12-01
until = 2026-12-31
"#;

/// What is in `GOOD`, what stands there instead, the field, and words of the message.
const BAD: &[(&str, &str, &str, &str)] = &[
    // Syntax.
    ("\"chf\"", "\"chf‸", "", "not TOML"),
    ("currency = \"chf\"", "currency = \"chf\"\n‸currency = \"eur\"", "", "duplicate key"),
    ("id = \"payments\"", "id = ‸payments", "", "not TOML"),
    // Fields that do not exist.
    ("fee_max_ppm", "‸fee_max_pmm = 1\nfee_max_ppm", "rules[0].fee_max_pmm", "did you mean fee_max_ppm?"),
    ("fee_max_ppm", "‸colour = 1\nfee_max_ppm", "rules[0].colour", "there are id, wallets, destinations"),
    ("fee_max_ppm", "‸delay_s = 1\nfee_max_ppm", "rules[0].delay_s", "did you mean delay?"),
    ("currency = ", "‸curency = 1\ncurrency = ", "curency", "did you mean currency?"),
    ("[groups]", "[‸group]\n[groups]", "group", "did you mean groups?"),
    (
        "delay = \"24h\"",
        "‸veto = true\ndelay = \"24h\"",
        "governance.default.veto",
        "there are approvals, delay",
    ),
    (
        "[calendars.office]",
        "[governance.‸polcy]\napprovals = [\"2 of admins\"]\n[calendars.office]",
        "governance.polcy",
        "did you mean policy?",
    ),
    ("zone = ", "‸holiday = []\nzone = ", "calendars.office.holiday", "did you mean holidays?"),
    // Fields that are missing.
    ("id = \"payments\"\n", "", "rules[0].id", "missing"),
    ("amount_max = \"1 btc\"\n", "", "rules[0].amount_max", "missing"),
    ("fee_max = \"50000 sat\"", "fee_mx = \"50000 sat\"", "rules[0].fee_max", "missing; you wrote fee_mx"),
    ("approvals = [\"2 of admins\"]\n", "", "governance.default.approvals", "missing"),
    ("delay = \"24h\"\n", "", "governance.default.delay", "missing"),
    ("zone = \"Europe/Zurich\"\n", "", "calendars.office.zone", "missing"),
    ("hours = \"08:00-18:00\"\n", "", "calendars.office.hours", "missing"),
    ("until = 2026-12-31\n", "", "calendars.office.until", "missing"),
    // Types.
    ("\"payments\"", "‸7", "rules[0].id", "expected a name in quotes, found 7"),
    ("\"1 btc\"", "‸1", "rules[0].amount_max", "expected an amount with its unit, in quotes, found 1"),
    ("\"1 btc\"", "‸1.5", "rules[0].amount_max", "found 1.5"),
    ("20000", "‸\"20000\"", "rules[0].fee_max_ppm", "expected millionths of the amount, found \"20000\""),
    ("20000", "‸-1", "rules[0].fee_max_ppm", "found -1"),
    ("20000", "‸0x10", "rules[0].fee_max_ppm", "found 0x10"),
    ("[\"2 of approvers\"]", "‸\"2 of approvers\"", "rules[0].approvals", "expected a list"),
    ("[\"2 of approvers\"]", "[‸2]", "rules[0].approvals[0]", "expected a path in quotes, found 2"),
    ("[\"2 of approvers\"]", "[[‸[]]]", "rules[0].approvals[0][0]", "expected seats in quotes, found a list"),
    ("[[rules]]", "‸[rules]", "rules", "expected a list, found a table"),
    ("[\"alice\", \"bob\"]", "‸\"alice\"", "groups.approvers", "expected a list"),
    ("2026-12-01", "‸2026-12-01T08:00:00", "calendars.office.from", "expected a date"),
    // Words with a unit.
    ("\"1 btc\"", "‸\"1\"", "rules[0].amount_max", "is no amount"),
    ("\"1 btc\"", "‸\"0.000000001 btc\"", "rules[0].amount_max", "not a whole number of satoshi"),
    ("\"1 btc\"", "‸\"22000000 btc\"", "rules[0].amount_max", "more bitcoin than there can be"),
    ("\"50000 sat\"", "‸\"50000 eur\"", "rules[0].fee_max", "is no amount"),
    ("fee_max_ppm", "value_max = ‸\"1 eur\"\nfee_max_ppm", "rules[0].value_max", "not in the currency"),
    (
        "fee_max_ppm",
        "value_max = ‸\"1\"\nfee_max_ppm",
        "rules[0].value_max",
        "write its currency, as in 250000 chf",
    ),
    ("fee_max_ppm", "value_max = ‸\"0.001 chf\"\nfee_max_ppm", "rules[0].value_max", "more than 2 digits"),
    ("fee_max_ppm", "delay = ‸\"1 week\"\nfee_max_ppm", "rules[0].delay", "is no time"),
    ("\"24h\"", "‸\"24\"", "governance.default.delay", "is no time"),
    ("\"24h\"", "‸24", "governance.default.delay", "expected a time with its unit, in quotes, found 24"),
    ("\"chf\"", "‸\"chg\"", "currency", "no currency of ISO 4217"),
    ("\"chf\"", "‸\"CHF\"", "currency", "is not a name"),
    // Names and seats.
    ("\"payments\"", "‸\"Payments\"", "rules[0].id", "is not a name"),
    ("\"alice\"", "‸\"alice smith\"", "groups.approvers[0]", "is not a name"),
    ("approvers = [\"a", "‸Approvers = [\"a", "groups.Approvers", "is not a name"),
    ("[calendars.office]", "[calendars.‸Office]", "calendars.Office", "is not a name"),
    ("\"2 of approvers\"", "‸\"two approvers\"", "rules[0].approvals[0]", "write COUNT of GROUP"),
    ("\"2 of approvers\"", "‸\"2 of a or 1 of b\"", "rules[0].approvals[0]", "other ways as further items"),
    ("\"2 of approvers\"", "‸\"2 of a and\"", "rules[0].approvals[0]", "write COUNT of GROUP"),
    ("\"2 of approvers\"", "‸\"+2 of a\"", "rules[0].approvals[0]", "write COUNT of GROUP"),
    ("\"2 of approvers\"", "\"2 of a\", ‸\"1 of B\"", "rules[0].approvals[1]", "is not a name"),
    // Words of a list.
    (
        "fee_max_ppm",
        "tiers = [\"hot\", ‸\"wram\"]\nfee_max_ppm",
        "rules[0].tiers[1]",
        "did you mean \"warm\"?",
    ),
    ("fee_max_ppm", "kinds = [‸\"deposit\"]\nfee_max_ppm", "rules[0].kinds[0]", "one of payment, cancel"),
    (
        "fee_max_ppm",
        "destinations = [‸\"counterparties\"]\nfee_max_ppm",
        "rules[0].destinations[0]",
        "did you mean \"counterparty\"?",
    ),
    (
        "fee_max_ppm",
        "velocity = [{ per = ‸\"walet\", window = \"1h\" }]\nfee_max_ppm",
        "rules[0].velocity[0].per",
        "did you mean \"wallet\"?",
    ),
    (
        "fee_max_ppm",
        "velocity = [‸{ per = \"wallet\", count_max = 1 }]\nfee_max_ppm",
        "rules[0].velocity[0].window",
        "missing",
    ),
    (
        "fee_max_ppm",
        "velocity = [{ per = \"wallet\", window = \"1h\", count_max = ‸4294967296 }]\nfee_max_ppm",
        "rules[0].velocity[0].count_max",
        "expected a number of requests",
    ),
    ("currency = ", "exclusive = [‸[\"a\"]]\ncurrency = ", "exclusive[0]", "expected two groups"),
    ("currency = ", "network = ‸\"mainet\"\ncurrency = ", "network", "did you mean \"mainnet\"?"),
    // Calendars.
    ("\"Europe/Zurich\"", "‸\"Europe/Zurick\"", "calendars.office.zone", "did you mean \"Europe/Zurich\"?"),
    ("\"mon-fri\"", "‸\"monday\"", "calendars.office.weekdays[0]", "no day of the week"),
    ("\"08:00-18:00\"", "[‸\"8-18\"]", "calendars.office.hours[0]", "are no hours"),
    ("2026-12-01", "‸\"2026-02-30\"", "calendars.office.from", "is no date"),
    ("2026-12-31", "‸2026-11-30", "calendars.office.until", "the last day is before the first"),
    ("2026-12-31", "‸2030-12-31", "calendars.office.until", "at most 732: end it earlier"),
    (
        "hours = \"08:00-18:00\"\nfrom = 2026-12-01\nuntil = 2026-12-31",
        "hours = [\"08:00-10:00\", \"11:00-12:00\", \"13:00-18:00\"]\nfrom = 2026-12-01\nuntil = ‸2028-11-30",
        "calendars.office.until",
        "at most 1100 open times",
    ),
    (
        "zone = ",
        "holidays = [2026-12-25, ‸2062-12-26]\nzone = ",
        "calendars.office.holidays[1]",
        "is not from",
    ),
    ("zone = ", "holidays = [2026-12-25, ‸\"2026-12-25\"]\nzone = ", "calendars.office.holidays[1]", "twice"),
    (
        "hours = \"08:00-18:00\"\nfrom = 2026-12-01",
        "open = []\nfrom = ‸2026-12-01",
        "calendars.office.from",
        "expected seconds since 1970, found 2026-12-01",
    ),
    (
        "hours = \"08:00-18:00\"\nfrom = 2026-12-01\nuntil = 2026-12-31",
        "open = [[5, 6], ‸[1]]\nfrom = 1\nuntil = 20",
        "calendars.office.open[1]",
        "expected the first second and the length",
    ),
    (
        "weekdays = [\"mon-fri\"]\nhours = \"08:00-18:00\"\nfrom = 2026-12-01\nuntil = 2026-12-31",
        "open = [[5, 6]]\nfrom = 1\nuntil = 20\n‸weekdays = [\"mon\"]",
        "calendars.office.weekdays",
        "there are zone, from, until, open",
    ),
];

/// The text with a change, and the place of the mark in it: line and column from 1.
fn changed(old: &str, new: &str) -> (String, Option<(usize, usize)>) {
    assert!(GOOD.contains(old), "{old}");
    let text = GOOD.replacen(old, new, 1);
    let place = text.split_once('‸').map(|(before, _)| {
        let line = before.lines().last().filter(|_| !before.ends_with('\n')).unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    });
    (text.replace('‸', ""), place)
}

fn fault(text: &str) -> Fault {
    parse(text).expect_err(text)
}

#[test]
fn the_good_one_is_read() {
    let file = parse(GOOD).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(file.policy.rules.len(), 1);
    assert_eq!(file.policy.calendars.len(), 1);
}

#[test]
fn mistakes_are_found_where_they_stand() {
    assert!(BAD.len() >= 40);
    let mut wrong = Vec::new();
    for (old, new, field, words) in BAD {
        let (text, place) = changed(old, new);
        let fault = fault(&text);
        let found = (fault.line, fault.column);
        // What is missing is said of the table that it should stand in.
        let placed = place.map_or(fault.what.starts_with("missing"), |place| place == found);
        if !placed || fault.field != *field || !fault.to_string().contains(words) {
            wrong.push(format!("{new}\n  at {place:?} in {field}: {words}\n  found {fault}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A missing field is said at the head of its table.
#[test]
fn what_is_missing_has_a_place() {
    for (old, line, column) in [
        ("amount_max = \"1 btc\"\n", 6, 1),
        ("approvals = [\"2 of admins\"]\n", 13, 1),
        ("zone = \"Europe/Zurich\"\n", 17, 1),
    ] {
        let fault = fault(&changed(old, "").0);
        assert_eq!((fault.line, fault.column), (line, column), "{fault}");
        assert!(!fault.example.is_empty(), "{fault}");
    }
    let empty = fault("");
    assert_eq!((empty.line, empty.column, empty.field.as_str()), (1, 1, "rules"));
    assert_eq!(empty.to_string(), "line 1, column 1: rules: missing; for example [[rules]]");
}

/// Columns count characters, not bytes.
#[test]
fn columns_are_of_characters() {
    let fault = fault(&changed("\"payments\"", "\"p\"\nwallets = [ \"zürich\" ]").0);
    assert_eq!((fault.line, fault.column), (8, 13), "{fault}");
    let text = "x = { \"äöü\" = 1, y = 2 }";
    let fault = self::fault(text);
    assert_eq!((fault.line, fault.field.as_str()), (1, "rules"));
    let text = format!("{GOOD}[governance.group] # ä\n\"ä\" = 1\napprovals = [\"1 of ä\", \"x\"]");
    let fault = self::fault(&text);
    assert_eq!((fault.line, fault.column), (25, 14), "{fault}");
}

#[test]
fn a_value_without_a_currency_of_the_policy_says_what_to_write() {
    let text =
        GOOD.replace("currency = \"chf\"\n", "").replace("fee_max_ppm", "value_max = \"1 chf\"\nfee_max_ppm");
    let what = fault(&text).to_string();
    assert!(
        what.contains("rules[0].value_max: the policy names no currency: write currency = \"chf\" above"),
        "{what}"
    );
}

#[test]
fn files_on_both_sides_of_their_limit() {
    let room = FILE_LIMIT_BYTES - GOOD.len();
    let most = format!("{GOOD}{}", "#".repeat(room));
    assert!(parse(&most).is_ok());
    assert!(fault(&format!("{most}#")).what.contains("at most"));
}
