//! A policy in words, every field of it.

use custody::document::Kind;
use custody::name::Name;
use custody::policy::{Calendar, Governance, Policy, PolicyRule, Require, Velocity, When, describe};

use crate::document::{Fields, field, word};
use crate::text::{plain, sats, time};

/// What a policy says, field by field.
pub(crate) fn readable(policy: &Policy) -> Fields {
    let mut out: Fields = policy.rules.iter().flat_map(rule).collect();
    out.extend(policy.calendars.iter().flat_map(|(id, c)| calendar(id, c)));
    out.extend(policy.currency.iter().map(|currency| field("currency", currency)));
    let exclusive = policy.exclusive.iter();
    out.extend(
        exclusive.map(|(one, other)| field("exclusive", format!("nobody is in {one} and in {other}"))),
    );
    let most = policy.administrators_max.iter();
    out.extend(most.map(|most| field("administrators", format!("at most {most}"))));
    out.extend(policy.governance.iter().map(|(kind, g)| governance(*kind, g)));
    out
}

fn rule(rule: &PolicyRule) -> Fields {
    let need = &rule.require;
    let mut out = vec![field("rule", format!("{}: {}", rule.id, scope(&rule.when)))];
    let mut also = |what: String| out.push(field("", what));
    also(format!("needs {}", describe(&need.approvals)));
    if let Some(n) = need.independent {
        also(format!("{n} of the approvals on independent devices"));
    }
    if let Some(valid) = need.approval_valid_s {
        also(format!("an approval counts for {valid} s"));
    }
    also(limits(need));
    for limit in &need.velocity {
        also(velocity(limit));
    }
    if let Some(budget) = need.fee_budget {
        also(format!("at most {} of fees in any {} s", sats(budget.fee_max), budget.window_s));
    }
    if let Some(hours) = &need.hours {
        also(format!("only while calendar {hours} is open"));
    }
    if let Some(delay) = need.delay_s {
        also(format!("leaves {delay} s after the approvals"));
    }
    if let Some(cool_down) = need.cool_down_s {
        also(format!("destinations in force for {cool_down} s"));
    }
    out
}

fn limits(need: &Require) -> String {
    let value = need.value_max.map_or_else(String::new, |v| format!(", worth at most {v} minor units"));
    let (amount, fee) = (sats(need.amount_max), sats(need.fee_max));
    format!("at most {amount} each{value}; fee at most {fee} and {} millionths", need.fee_max_ppm)
}

fn velocity(limit: &Velocity) -> String {
    let mut most = Vec::new();
    most.extend(limit.amount_max.map(sats));
    most.extend(limit.value_max.map(|value| format!("{value} minor units")));
    most.extend(limit.count_max.map(|count| format!("{count} requests")));
    format!("at most {} per {} in any {} s", most.join(" and "), word(&limit.per), limit.window_s)
}

fn scope(when: &When) -> String {
    let mut covers = Vec::new();
    let mut among = |what: &str, list: Option<Vec<String>>| {
        covers.extend(list.map(|list| format!("{what} {}", list.join(", "))));
    };
    let handles = |list: &Vec<Name>| list.iter().map(Name::to_string).collect::<Vec<_>>();
    let texts = |list: &Vec<String>| list.iter().map(|text| plain(text)).collect::<Vec<_>>();
    let kinds = when.kinds.as_ref().map(|list| list.iter().map(word).collect::<Vec<_>>());
    let payments = if kinds.is_some() { "requests" } else { "payments" };
    among("of kind", kinds);
    among("on", when.networks.as_ref().map(texts));
    among("in", when.assets.as_ref().map(texts));
    among("from", when.wallets.as_ref().map(handles));
    among("from tier", when.tiers.as_ref().map(|list| list.iter().map(word).collect()));
    among("for", when.clients.as_ref().map(handles));
    let destinations = when.destinations.as_ref().map(|list| list.iter().map(word).collect());
    among("to destinations of kind", destinations);
    among("of at least", when.amount_min.map(|min| vec![sats(min)]));
    among("of at most", when.amount_max.map(|max| vec![sats(max)]));
    among("worth at least", when.value_min.map(|min| vec![format!("{min} minor units")]));
    among("worth at most", when.value_max.map(|max| vec![format!("{max} minor units")]));
    if covers.is_empty() { "every payment".to_owned() } else { format!("{payments} {}", covers.join(" ")) }
}

fn calendar(id: &Name, calendar: &Calendar) -> Fields {
    let Calendar { zone, from, until, open } = calendar;
    let of = format!("{id}: {} from {} to {}", plain(zone), time(*from), time(*until));
    let open = open.iter().map(|(start, length)| field("open", format!("{} for {length} s", time(*start))));
    std::iter::once(field("calendar", of)).chain(open).collect()
}

fn governance(kind: Kind, governance: &Governance) -> (String, String) {
    let needs = describe(&governance.approvals);
    field("documents", format!("{}: {needs}; delay {} s", kind.word(), governance.delay_s))
}
