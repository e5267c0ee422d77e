//! The reference of all that can stand in a policy file: generated, and each denial in it is what custody says.

mod entries;

use std::fmt::Write as _;

use custody::document::DestinationKind;
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::Policy;
use custody::rates::{Rate, Value};
use custody::rule::{Refusal, Rule};

use crate::text::{self, PolicyFile};
use crate::trial::Trial;
use entries::{ENTRIES, Entry, Part};

/// The time of the example: Tuesday, 1 December 2026, 20:00 UTC.
const NOW: u64 = 1_796_155_200;

/// The lines of the rule that the examples stand in, by their fields.
const RULE: [(&str, &str); 5] = [
    ("id", "id = \"payments\""),
    ("approvals", "approvals = [\"2 of approvers\"]"),
    ("amount_max", "amount_max = \"10 btc\""),
    ("fee_max", "fee_max = \"50000 sat\""),
    ("fee_max_ppm", "fee_max_ppm = 20000"),
];

/// The policy file in which an example stands. What it has itself takes the place of what is there.
fn around(entry: &Entry) -> String {
    let Entry { example, beside, part, .. } = entry;
    let part = *part;
    let has = |field: &str| {
        let own = |line: &str| line.split(" = ").next() == Some(field) || line.trim() == format!("[{field}]");
        example.lines().any(own)
    };
    let mut out = String::new();
    let mut line = |line: &str| out.push_str(&format!("{line}\n"));
    if !has("currency") {
        line("currency = \"chf\"");
    }
    if part == Part::Top {
        line(example);
    }
    line("[groups]\napprovers = [\"alice\", \"bob\", \"carol\"]\nadmins = [\"alice\", \"bob\", \"carol\"]");
    line("[[rules]]");
    for (field, text) in RULE {
        if part != Part::Rule || !has(field) {
            line(text);
        }
    }
    line(beside);
    if part == Part::Rule {
        line(example);
    }
    if !has("governance.default") {
        line("[governance.default]\napprovals = [\"2 of admins\"]\ndelay = \"24h\"");
    }
    if part == Part::Tables {
        line(example);
    }
    if !has("calendars.office") {
        line(
            "[calendars.office]\nzone = \"Europe/Zurich\"\nweekdays = [\"mon-fri\"]\nhours = \"08:00-18:00\"",
        );
        line("from = 2026-12-01\nuntil = 2026-12-31");
    }
    out
}

/// The request of the examples: who asked is carol; alice approved on a console and bob on a device of his own.
fn request(file: &PolicyFile) -> Result<Trial, String> {
    let name = |text: &str| text.parse::<Name>();
    let assumed = file.assumed.clone().ok_or("the example has no groups")?;
    let to = (name("acme")?, DestinationKind::Counterparty);
    let mut trial = Trial::payment(assumed, name("treasury")?, name("carol")?, to, Sats(50_000_000), NOW);
    trial.ask.charge.fee = Sats(20_000);
    trial.approve(name("alice")?, 3_600, false);
    trial.approve(name("bob")?, 3_600, true);
    let day = 24 * 3600;
    trial.ask.cooled_s.values_mut().for_each(|cooled| *cooled = day);
    trial.paid_before(2 * 3_600);
    trial.rate = Some((name("chf")?, Rate { value: Value(8_500_000), per: Value(100_000_000) }));
    Ok(trial)
}

/// What custody says to an example, if it is the rule that the entry names.
fn refusal(entry: &Entry) -> Result<Refusal, String> {
    let wrong = |why: String| format!("{}: {why}", entry.field);
    let file = text::parse(&around(entry)).map_err(|fault| wrong(fault.to_string()))?;
    let trial = request(&file)?;
    let policy: &Policy = &file.policy;
    let said = if entry.rule == Rule::Floor {
        trial.assumed.check(policy, NOW).err()
    } else {
        trial.assumed.check(policy, NOW).map_err(|no| wrong(no.to_string()))?;
        trial.decide(policy).err()
    };
    let said = said.ok_or_else(|| wrong("the example is not refused".into()))?;
    if said.rule == entry.rule { Ok(said) } else { Err(wrong(format!("refused by another rule: {said}"))) }
}

/// The page, as it stands in `docs/policy-reference.md`.
///
/// # Errors
/// An example that does not show what it should.
pub fn page() -> Result<String, String> {
    let mut out = String::from(INTRODUCTION);
    for (part, title) in
        [(Part::Rule, "In a rule"), (Part::Top, "At the top"), (Part::Tables, "In tables of their own")]
    {
        let _ = writeln!(out, "\n## {title}");
        for entry in ENTRIES.iter().filter(|entry| entry.part == part) {
            let Entry { field, document, form, says, example, rule, limit, .. } = entry;
            let limit = limit().map_or_else(String::new, |limit| format!(" · {limit}"));
            let _ = writeln!(out, "\n### `{field}`\n\n`{document}` · {form}{limit} · `{rule}`\n\n{says}");
            if *rule != Rule::Floor && *rule != Rule::PolicyScope {
                let _ = writeln!(out, "\nThe rule: {}", rule.meaning());
            }
            let _ = writeln!(
                out,
                "\n```toml\n{example}\n```\n\n> {}",
                refusal(entry)?.to_string().replace('*', "\\*")
            );
        }
    }
    Ok(out)
}

const INTRODUCTION: &str = "# Policy reference

All that a policy file can say. Generated from the code (`cargo run -p policy --example reference`); what it means
exactly stands in [the specification](spec/policy.md), policies to begin with in
[examples/policies](../examples/policies).

Each entry names the field of the file, then the field of the document that people sign, its form, its limit, and the
rule that refuses. Amounts are `\"0.5 btc\"` or `\"50000 sat\"`, values `\"250000 chf\"` in the currency of the policy, times
`\"90s\"`, `\"30m\"`, `\"24h\"`, `\"2d\"`; all of them exact. A list of approvals names ways of which one is enough; `and`
within one asks for all, each seat another person.

The quote under each example is what custody answers to one request under a policy with that example in it: carol asks
for 0.5 btc from wallet `treasury` to counterparty `acme`, with a fee of 20,000 sat; alice approved on a web console and
bob on a device of his own, an hour ago; `acme` has been in force for a day; two hours ago the same was paid; it is
20:00 UTC; a bitcoin is worth 85,000 chf. Entries of `floor.adoption` are answered when the policy is proposed.

Under every policy stands `floor.two-people`: above *de minimis* (genesis) two people approve in every rule that covers a
payment, one of them on a device that shows by itself what it signs.
";
