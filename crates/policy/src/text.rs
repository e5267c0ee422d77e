//! Policy files: TOML with units, as people write policies. The policy part of a genesis spec is the same language.

use std::collections::{BTreeMap, BTreeSet};

use custody::document::{DestinationKind, Kind, TABLE, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{
    Budget, Calendar, Governance, Path, Per, Policy, PolicyRule, RequestKind, Require, Seats, Velocity, When,
};
use custody::rates::Value;

use crate::calendar::{self, Plan, WEEKDAYS};
use crate::ground::{Assumed, MAINNET, NETWORKS};
use crate::reader::{Fault, Item, Source, Table, suggestion};
use crate::{currency, units};

const PATHS: &str = "approvals = [\"2 of approvers\", \"1 of risk and 1 of operations\"]";
const AMOUNT: &str = "\"0.5 btc\" or \"50000 sat\"";
const TIME: &str = "\"24h\", \"90m\" or \"2d\"";
const GROUPS: &str = "approvers = [\"alice\", \"bob\"]";
const SPAN: &str = "open = [[1796112000, 36000]]";

/// Kinds of destinations, by the words for them.
pub const DESTINATIONS: [(&str, DestinationKind); 5] = [
    ("own", DestinationKind::Own),
    ("client", DestinationKind::Client),
    ("counterparty", DestinationKind::Counterparty),
    ("contract", DestinationKind::Contract),
    ("unlisted", DestinationKind::Unlisted),
];

/// Tiers of wallets, by the words for them.
pub const TIERS: [(&str, Tier); 2] = [("hot", Tier::Hot), ("warm", Tier::Warm)];

/// Kinds of requests, by the words for them.
pub const KINDS: [(&str, RequestKind); 2] =
    [("payment", RequestKind::Payment), ("cancel", RequestKind::Cancel)];

/// What a velocity limit can add up by, by the words for it.
pub const PER: [(&str, Per); 5] = [
    ("asset", Per::Asset),
    ("wallet", Per::Wallet),
    ("client", Per::Client),
    ("destination", Per::Destination),
    ("initiator", Per::Initiator),
];

/// A policy file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyFile {
    /// The policy.
    pub policy: Policy,
    /// The deployment that it is written for, if the file has `[groups]`. No part of the policy.
    pub assumed: Option<Assumed>,
}

/// Reads a policy file. Beside the policy it may have `[groups]`, `network` and `de_minimis`, as a genesis spec has
/// them: what it is checked against where there is no deployment.
///
/// # Errors
/// The first mistake.
pub fn parse(text: &str) -> Result<PolicyFile, Fault> {
    let source = Source::parse(text)?;
    let mut table = source.table();
    let policy = policy(&mut table)?;
    let network = table.take("network").map(|item| network(&item)).transpose()?;
    let de_minimis = table.take("de_minimis").map(|item| amount(&item)).transpose()?;
    let groups = table.take("groups").map(|item| groups(&item)).transpose()?;
    let assumed = groups.map(|groups| Assumed {
        groups,
        network: network.unwrap_or_else(|| MAINNET.into()),
        de_minimis: de_minimis.unwrap_or_default(),
    });
    table.finish()?;
    Ok(PolicyFile { policy, assumed })
}

/// Takes what belongs to a policy out of the table of a whole file.
///
/// # Errors
/// The first mistake.
pub fn policy(table: &mut Table<'_>) -> Result<Policy, Fault> {
    let currency = table.take("currency").map(|item| currency_of(&item)).transpose()?;
    let number = |item: Item<'_>| item.number("a number of people", "administrators_max = 8");
    let administrators_max = table.take("administrators_max").map(number).transpose()?;
    let exclusive = table.take("exclusive").map(|item| exclusive(&item)).transpose()?;
    let calendars = table.take("calendars").map(|item| calendars(&item)).transpose()?;
    let rules = table.need("rules", "[[rules]]")?;
    let rules = rules.each("[[rules]]", |item| rule(item, currency.as_ref()))?;
    let governance = governance(&table.need("governance", "[governance.default]")?)?;
    Ok(Policy {
        rules,
        governance,
        calendars: calendars.unwrap_or_default(),
        currency,
        exclusive: exclusive.unwrap_or_default(),
        administrators_max,
    })
}

/// `mainnet`, `regtest`, `signet`, `testnet4`, or a CAIP-2 id: the CAIP-2 id.
///
/// # Errors
/// What is neither.
pub fn network(item: &Item<'_>) -> Result<String, Fault> {
    let example = "network = \"regtest\"";
    item.read("a network", example, |text| {
        let known = NETWORKS.iter().find(|(word, _)| *word == text).map(|(_, id)| (*id).to_owned());
        let other = text.contains(':').then(|| text.to_owned());
        let near = suggestion(text, NETWORKS.map(|(word, _)| word));
        let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        known.or(other).ok_or_else(|| format!("{text:?} is no network and no CAIP-2 id{near}"))
    })
}

/// Members by group, sorted.
///
/// # Errors
/// What is no group.
pub fn groups(item: &Item<'_>) -> Result<BTreeMap<Name, Vec<Name>>, Fault> {
    let entries = item.table(GROUPS)?.entries().into_iter();
    entries
        .map(|(key, item)| {
            let members: BTreeSet<Name> = item.each(GROUPS, name)?.into_iter().collect();
            let id = key.name.parse().map_err(|why: String| key.fault(why, GROUPS))?;
            Ok((id, members.into_iter().collect()))
        })
        .collect()
}

/// An amount with its unit.
///
/// # Errors
/// What is none.
pub fn amount(item: &Item<'_>) -> Result<Sats, Fault> {
    item.read("an amount with its unit, in quotes", AMOUNT, units::sats)
}

fn name(item: &Item<'_>) -> Result<Name, Fault> {
    item.read("a name in quotes", "\"payments\"", str::parse)
}

fn time(item: &Item<'_>) -> Result<u64, Fault> {
    item.read("a time with its unit, in quotes", TIME, units::seconds)
}

fn words(item: &Item<'_>) -> Result<String, Fault> {
    let example = "assets = [\"bip122:000000000019d6689c085ae165831e93/slip44:0\"]";
    item.text("a CAIP id in quotes", example).map(str::to_owned)
}

/// A code of three letters is one of ISO 4217; other names are for what has no code, with values in `minor`.
fn currency_of(item: &Item<'_>) -> Result<Name, Fault> {
    let example = "currency = \"chf\"";
    let code = item.read("a currency in quotes", example, str::parse::<Name>)?;
    if code.as_str().len() == 3 && currency::digits(code.as_str()).is_none() {
        let near = suggestion(code.as_str(), currency::codes());
        let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        return Err(item.fault(format!("{code} is no currency of ISO 4217{near}"), example));
    }
    Ok(code)
}

fn exclusive(item: &Item<'_>) -> Result<Vec<(Name, Name)>, Fault> {
    let example = "exclusive = [[\"traders\", \"approvers\"]]";
    item.each(example, |pair| match pair.each(example, name)?.as_slice() {
        [one, other] => Ok((one.clone(), other.clone())),
        _ => Err(pair.fault("expected two groups", example)),
    })
}

fn rule(item: &Item<'_>, currency: Option<&Name>) -> Result<PolicyRule, Fault> {
    let mut table = item.table("[[rules]]")?;
    let id = name(&table.need("id", "id = \"payments\"")?)?;
    let value = |item: Item<'_>| value(&item, currency);
    let sats = |item: Item<'_>| amount(&item);
    let names = |item: Item<'_>| item.each("wallets = [\"treasury\"]", name);
    let strings = |item: Item<'_>| item.each("networks = [\"bip122:…\"]", words);
    let when = When {
        wallets: table.take("wallets").map(names).transpose()?,
        destinations: table.take("destinations").map(|item| list_of(&item, &DESTINATIONS)).transpose()?,
        amount_min: table.take("from").map(sats).transpose()?,
        amount_max: table.take("up_to").map(sats).transpose()?,
        kinds: table.take("kinds").map(|item| list_of(&item, &KINDS)).transpose()?,
        networks: table.take("networks").map(strings).transpose()?,
        assets: table.take("assets").map(strings).transpose()?,
        tiers: table.take("tiers").map(|item| list_of(&item, &TIERS)).transpose()?,
        clients: table.take("clients").map(names).transpose()?,
        value_min: table.take("value_from").map(value).transpose()?,
        value_max: table.take("value_up_to").map(value).transpose()?,
    };
    let velocity = table.take("velocity");
    let limit = "velocity = [{ per = \"wallet\", window = \"24h\", amount_max = \"1 btc\" }]";
    let velocity =
        velocity.map(|item| item.each(limit, |item| self::velocity(item, currency))).transpose()?;
    let seconds = |item: Item<'_>| time(&item);
    let require = Require {
        approvals: paths(&table.need("approvals", PATHS)?)?,
        amount_max: amount(&table.need("amount_max", "amount_max = \"0.5 btc\"")?)?,
        fee_max: amount(&table.need("fee_max", "fee_max = \"50000 sat\"")?)?,
        fee_max_ppm: table
            .need("fee_max_ppm", "fee_max_ppm = 20000")?
            .number("millionths of the amount", "20000 for two per cent")?,
        value_max: table.take("value_max").map(value).transpose()?,
        velocity: velocity.unwrap_or_default(),
        fee_budget: table.take("fee_budget").map(|item| budget(&item)).transpose()?,
        hours: table.take("hours").map(|item| name(&item)).transpose()?,
        delay_s: table.take("delay").map(seconds).transpose()?,
        cool_down_s: table.take("cool_down").map(seconds).transpose()?,
        approval_valid_s: table.take("approvals_valid").map(seconds).transpose()?,
        independent: table
            .take("independent")
            .map(|item| item.number("a number of approvals", "1"))
            .transpose()?,
    };
    table.finish()?;
    Ok(PolicyRule { id, when, require })
}

fn list_of<T: Copy>(item: &Item<'_>, words: &[(&str, T)]) -> Result<Vec<T>, Fault> {
    let example = words.iter().take(2).map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    item.each(&format!("[{example}]"), |item| item.one_of(words))
}

fn value(item: &Item<'_>, currency: Option<&Name>) -> Result<Value, Fault> {
    let example = format!("\"250000 {}\"", currency.map_or("chf", Name::as_str));
    item.read("a value with its currency, in quotes", &example, |text| {
        units::value(text, currency.map(Name::as_str))
    })
}

fn velocity(item: &Item<'_>, currency: Option<&Name>) -> Result<Velocity, Fault> {
    let mut table = item.table("{ per = \"wallet\", window = \"24h\", amount_max = \"1 btc\" }")?;
    let limit = Velocity {
        per: table.need("per", "per = \"wallet\"")?.one_of(&PER)?,
        window_s: time(&table.need("window", "window = \"24h\"")?)?,
        amount_max: table.take("amount_max").map(|item| amount(&item)).transpose()?,
        value_max: table.take("value_max").map(|item| value(&item, currency)).transpose()?,
        count_max: table
            .take("count_max")
            .map(|item| item.number("a number of requests", "10"))
            .transpose()?,
    };
    table.finish()?;
    Ok(limit)
}

fn budget(item: &Item<'_>) -> Result<Budget, Fault> {
    let mut table = item.table("fee_budget = { window = \"30d\", fee_max = \"0.1 btc\" }")?;
    let budget = Budget {
        window_s: time(&table.need("window", "window = \"30d\"")?)?,
        fee_max: amount(&table.need("fee_max", "fee_max = \"0.1 btc\"")?)?,
    };
    table.finish()?;
    Ok(budget)
}

/// One of these paths; a path is text with `and`, or a list of seats.
fn paths(item: &Item<'_>) -> Result<Vec<Path>, Fault> {
    item.each(PATHS, |path| {
        if path.is_list() {
            return path.each(PATHS, |seat| seat.read("seats in quotes", "\"2 of approvers\"", seats));
        }
        let read = |text: &str| text.split(" and ").map(seats).collect::<Result<Path, String>>();
        path.read("a path in quotes", "\"2 of approvers\"", read)
    })
}

/// `2 of approvers`.
fn seats(text: &str) -> Result<Seats, String> {
    let bad = || {
        format!("{text:?} are no seats: write COUNT of GROUP, and other ways as further items of the list")
    };
    let (count, group) = text.split_once(" of ").ok_or_else(bad)?;
    let (count, group) = (count.trim(), group.trim());
    let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count = plain.then(|| count.parse().ok()).flatten().ok_or_else(bad)?;
    if group.contains(' ') {
        return Err(bad());
    }
    Ok(Seats { count, group: group.parse()? })
}

/// A table by kind of document; `default` stands for every kind, and for every field, that is not written.
fn governance(item: &Item<'_>) -> Result<BTreeMap<Kind, Governance>, Fault> {
    let mut table = item.table("[governance.default]")?;
    let default = table.take("default").map(|item| governed(&item, None, true)).transpose()?;
    let mut all = BTreeMap::new();
    for row in TABLE {
        let own = table.take(row.kind.word());
        let inherited = default.as_ref().map(|default| Governance {
            delay_s: if row.delayed { default.delay_s } else { 0 },
            ..default.clone()
        });
        let own = own.map(|item| governed(&item, inherited.as_ref(), row.delayed)).transpose()?;
        if let Some(governance) = own.or(inherited) {
            all.insert(row.kind, governance);
        }
    }
    table.finish()?;
    Ok(all)
}

fn governed(item: &Item<'_>, default: Option<&Governance>, delayed: bool) -> Result<Governance, Fault> {
    let mut table = item.table("[governance.default]")?;
    let approvals = match (table.take("approvals"), default) {
        (Some(item), _) => paths(&item)?,
        (None, Some(default)) => default.approvals.clone(),
        (None, None) => return Err(table.fault("approvals", "missing", "approvals = [\"2 of admins\"]")),
    };
    let delay_s = match (table.take("delay"), default) {
        (Some(item), _) => time(&item)?,
        (None, Some(default)) => default.delay_s,
        (None, None) if !delayed => 0,
        (None, None) => return Err(table.fault("delay", "missing", "delay = \"24h\"")),
    };
    table.finish()?;
    Ok(Governance { approvals, delay_s })
}

fn calendars(item: &Item<'_>) -> Result<BTreeMap<Name, Calendar>, Fault> {
    let entries = item.table("[calendars.office]")?.entries().into_iter();
    entries
        .map(|(key, item)| {
            let id = key.name.parse().map_err(|why: String| key.fault(why, "[calendars.office]"))?;
            let mut table = item.table("[calendars.office]")?;
            let calendar = if table.has("open") { expanded(&mut table) } else { planned(&mut table) }?;
            table.finish()?;
            Ok((id, calendar))
        })
        .collect()
}

/// A calendar as the document has it: seconds since 1970, UTC.
fn expanded(table: &mut Table<'_>) -> Result<Calendar, Fault> {
    let second = |item: &Item<'_>| item.number("seconds since 1970", "1796112000");
    let zone = table.need("zone", "zone = \"Europe/Zurich\"")?;
    let pair = |item: &Item<'_>| match item.each(SPAN, second)?.as_slice() {
        [start, length] => Ok((*start, *length)),
        _ => Err(item.fault("expected the first second and the length in seconds", SPAN)),
    };
    Ok(Calendar {
        zone: zone.text("a time zone in quotes", "zone = \"Europe/Zurich\"")?.to_owned(),
        from: second(&table.need("from", "from = 1796079600")?)?,
        until: second(&table.need("until", "until = 1859238000")?)?,
        open: table.need("open", SPAN)?.each(SPAN, pair)?,
    })
}

/// A calendar as people think of it.
fn planned(table: &mut Table<'_>) -> Result<Calendar, Fault> {
    let zone = table.need("zone", "zone = \"Europe/Zurich\"")?.read(
        "a time zone in quotes",
        "zone = \"Europe/Zurich\"",
        calendar::zone,
    )?;
    let days = "weekdays = [\"mon-fri\"]";
    let weekdays = table.take("weekdays").map(|item| {
        item.each(days, |item| item.read("a day of the week in quotes", days, calendar::weekdays))
    });
    let weekdays = weekdays.transpose()?.map(|all| all.into_iter().flatten().collect());
    let example = "hours = \"08:00-18:00\"";
    let read = |item: &Item<'_>| item.read("hours in quotes", example, calendar::hours);
    let hours = table.need("hours", example)?;
    let hours = if hours.is_list() { hours.each(example, read)? } else { vec![read(&hours)?] };
    let date = |item: &Item<'_>, example: &str| {
        calendar::date(&item.date(example)?).map_err(|why| item.fault(why, example))
    };
    let from = date(&table.need("from", "from = 2026-12-01")?, "from = 2026-12-01")?;
    let last = table.need("until", "until = 2028-11-30")?;
    let until = date(&last, "until = 2028-11-30")?;
    let mut holidays = BTreeSet::new();
    if let Some(item) = table.take("holidays") {
        let example = "holidays = [2026-12-25]";
        item.each(example, |item| {
            let day = date(item, example)?;
            if day < from || day > until {
                return Err(item.fault(format!("{day} is not from {from} until {until}"), example));
            }
            if !holidays.insert(day) {
                return Err(item.fault(format!("{day} stands there twice"), example));
            }
            Ok(())
        })?;
    }
    let all = || WEEKDAYS.iter().map(|(_, day)| *day).collect();
    let plan = Plan { zone, weekdays: weekdays.unwrap_or_else(all), hours, holidays, from, until };
    plan.expand().map_err(|why| last.fault(why.to_string(), "until = 2028-11-30"))
}
