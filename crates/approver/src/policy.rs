//! A policy in words, every field of it.

use custody::document::Kind;
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Calendar, Governance, Policy, PolicyRule, Require, Velocity, When, describe};
use custody::rates::Value;

use crate::document::{Fields, field, word};
use crate::text::{plain, sats, time};

/// What a policy says, field by field.
pub(crate) fn readable(policy: &Policy) -> Fields {
    let currency = policy.currency.as_ref();
    let mut out: Fields = policy.rules.iter().flat_map(|one| rule(one, currency)).collect();
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

fn rule(rule: &PolicyRule, currency: Option<&Name>) -> Fields {
    let need = &rule.require;
    let mut out = vec![field("rule", format!("{}: {}", rule.id, scope(&rule.when, currency)))];
    let mut also = |what: String| out.push(field("", what));
    also(format!("needs {}", describe(&need.approvals)));
    if let Some(n) = need.independent {
        also(format!("{n} of the approvals on independent devices"));
    }
    if let Some(valid) = need.approval_valid_s {
        also(format!("an approval counts for {valid} s"));
    }
    also(limits(need, currency));
    for limit in &need.velocity {
        also(velocity(limit, currency));
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

/// A value in minor units, with the currency that the document names.
fn worth(value: Value, currency: Option<&Name>) -> String {
    let of = currency.map_or_else(String::new, |currency| format!(" of {currency}"));
    format!("{value} minor units{of}")
}

fn limits(need: &Require, currency: Option<&Name>) -> String {
    let value = need.value_max;
    let value = value.map_or_else(String::new, |v| format!(", worth at most {}", worth(v, currency)));
    let (amount, fee) = (sats(need.amount_max), sats(need.fee_max));
    format!("at most {amount} each{value}; fee at most {fee} and {} millionths", need.fee_max_ppm)
}

fn velocity(limit: &Velocity, currency: Option<&Name>) -> String {
    let mut most = Vec::new();
    most.extend(limit.amount_max.map(sats));
    most.extend(limit.value_max.map(|value| worth(value, currency)));
    most.extend(limit.count_max.map(|count| format!("{count} requests")));
    format!("at most {} per {} in any {} s", most.join(" and "), word(&limit.per), limit.window_s)
}

fn scope(when: &When, currency: Option<&Name>) -> String {
    let mut covers = Vec::new();
    let mut among = |what: &str, list: Option<Vec<String>>| {
        covers.extend(list.map(|list| format!("{what} {}", list.join(", "))));
    };
    let handles = |list: &Vec<Name>| list.iter().map(Name::to_string).collect::<Vec<_>>();
    let texts = |list: &Vec<String>| list.iter().map(|text| plain(text)).collect::<Vec<_>>();
    let kinds = when.kinds.as_ref().map(|list| list.iter().map(word).collect::<Vec<_>>());
    // A rule that names no kinds binds cancels too, which pay nothing, even where it speaks of destinations.
    let cancels = when.amount_min.is_none_or(|min| min == Sats(0));
    let payments = match (kinds.is_some(), cancels) {
        (true, _) => "requests",
        (false, true) => "payments and cancels",
        (false, false) => "payments",
    };
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
    among("worth at least", when.value_min.map(|min| vec![worth(min, currency)]));
    among("worth at most", when.value_max.map(|max| vec![worth(max, currency)]));
    if covers.is_empty() {
        "every payment and cancel".to_owned()
    } else {
        format!("{payments} {}", covers.join(" "))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_a_currency_and_rules_say_that_they_bind_cancels() {
        let lines: Vec<String> =
            readable(&fixtures::full_policy(0)).into_iter().map(|(_, line)| line).collect();
        let has = |part: &str| assert!(lines.iter().any(|line| line.contains(part)), "{part} in {lines:#?}");
        has("worth at most 50000000 minor units of chf; fee");
        has("BTC) and 80000000 minor units of chf and 20 requests per client");
        has("worth at least 100 minor units of chf");
        has("payments: every payment and cancel");
        let words = |change: fn(&mut When)| {
            let mut when = When::default();
            change(&mut when);
            scope(&when, None)
        };
        assert_eq!(
            words(|when| when.amount_min = Some(Sats(1))),
            "payments of at least 1 sat (0.00000001 BTC)"
        );
        assert!(words(|when| when.amount_max = Some(Sats(1))).starts_with("payments and cancels of at most"));
    }
}
