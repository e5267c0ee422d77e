//! The entries of the reference.

use custody::adoption::{
    ADMINISTRATORS_LIMIT, CALENDARS_LIMIT, DELAY_LIMIT_S, EXCLUSIVE_LIMIT, INTERVALS_LIMIT, PATHS_LIMIT,
    PAYMENT_DELAY_LIMIT_S, SCOPE_LIMIT, VELOCITY_LIMIT,
};
use custody::policy::{SEATS_LIMIT, WINDOW_LIMIT_S};
use custody::rule::Rule;

use crate::units::write_seconds;

/// Where in a file a field stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// In a rule.
    Rule,
    /// Before all tables.
    Top,
    /// In a table of its own.
    Tables,
}

/// A kind of scope, requirement or provision.
pub(super) struct Entry {
    pub(super) part: Part,
    /// In the file.
    pub(super) field: &'static str,
    /// In the document.
    pub(super) document: &'static str,
    /// Type and unit.
    pub(super) form: &'static str,
    pub(super) limit: fn() -> Option<String>,
    pub(super) rule: Rule,
    pub(super) says: &'static str,
    /// What else the rule around the example needs.
    pub(super) beside: &'static str,
    /// An example that refuses the request of the page.
    pub(super) example: &'static str,
}

const fn scope(
    field: &'static str,
    document: &'static str,
    form: &'static str,
    says: &'static str,
    example: &'static str,
) -> Entry {
    Entry {
        part: Part::Rule,
        field,
        document,
        form,
        limit: names,
        rule: Rule::PolicyScope,
        says,
        beside: "",
        example,
    }
}

fn none() -> Option<String> {
    None
}

fn names() -> Option<String> {
    Some(format!("at most {SCOPE_LIMIT}"))
}

fn window() -> String {
    format!("windows of 1s to {}", write_seconds(WINDOW_LIMIT_S))
}

fn waiting() -> Option<String> {
    Some(format!("at most {}", write_seconds(PAYMENT_DELAY_LIMIT_S)))
}

pub(super) const ENTRIES: &[Entry] = &[
    scope(
        "kinds",
        "when.kinds",
        "list of `payment`, `cancel`",
        "Covers requests that do this. A cancel takes another request back and pays nobody.",
        "kinds = [\"cancel\"]",
    ),
    scope(
        "wallets",
        "when.wallets",
        "list of names",
        "Covers requests of one of these wallets.",
        "wallets = [\"vault\"]",
    ),
    scope(
        "tiers",
        "when.tiers",
        "list of `hot`, `warm`",
        "Covers requests of wallets of one of these tiers.",
        "tiers = [\"warm\"]",
    ),
    scope(
        "clients",
        "when.clients",
        "list of names",
        "Covers requests that name one of these clients, and those that name none; grants only the former.",
        "clients = [\"alpha\"]",
    ),
    scope(
        "destinations",
        "when.destinations",
        "list of `own`, `client`, `counterparty`, `contract`, `unlisted`",
        "Covers requests with a destination of one of these kinds, and those without any; grants these kinds alone.",
        "destinations = [\"own\", \"client\"]",
    ),
    scope(
        "networks",
        "when.networks",
        "list of CAIP-2 ids; the deployment's among them",
        "Covers requests on one of these networks. A deployment has one, so this says what a policy is for; a policy for \
         other networks alone is not adopted.",
        "networks = [\"bip122:00000008819873e925422c1ff0f99f7c\"]",
    )
    .adopted(),
    scope(
        "assets",
        "when.assets",
        "list of CAIP-19 ids; the deployment's among them",
        "Covers requests in one of these assets.",
        "assets = [\"bip122:000000000019d6689c085ae165831e93/slip44:1\"]",
    )
    .adopted(),
    scope(
        "from",
        "when.amount_min",
        "amount",
        "Covers requests whose outputs sum to at least this.",
        "from = \"1 btc\"",
    )
    .single(),
    scope(
        "up_to",
        "when.amount_max",
        "amount",
        "Covers requests whose outputs sum to at most this.",
        "up_to = \"0.1 btc\"",
    )
    .single(),
    scope(
        "value_from",
        "when.value_min",
        "value",
        "Covers requests worth at least this, and all while no rate holds.",
        "value_from = \"100000 chf\"",
    )
    .single(),
    scope(
        "value_up_to",
        "when.value_max",
        "value",
        "Covers requests worth at most this, and all while no rate holds.",
        "value_up_to = \"10000 chf\"",
    )
    .single(),
    Entry {
        part: Part::Rule,
        field: "approvals",
        document: "require.approvals",
        form: "list of ways, each `COUNT of GROUP`, more with `and`",
        limit: || Some(format!("at most {PATHS_LIMIT} ways, {SEATS_LIMIT} people each")),
        rule: Rule::PolicyApprovals,
        says: "Who must approve. The requester never approves, and one person fills one seat.",
        beside: "",
        example: "approvals = [\"3 of approvers\", \"2 of approvers and 1 of admins\"]",
    },
    Entry {
        part: Part::Rule,
        field: "independent",
        document: "require.independent",
        form: "number of people",
        limit: || Some("from 1 to the people of the longest way".into()),
        rule: Rule::PolicyIndependent,
        says: "How many of the seats are filled by people who approved on a device that shows by itself what it signs.",
        beside: "",
        example: "independent = 2",
    },
    Entry {
        part: Part::Rule,
        field: "approvals_valid",
        document: "require.approval_valid_s",
        form: "time of the log",
        limit: || Some("more than `delay`".into()),
        rule: Rule::PolicyApprovals,
        says: "How long an approval counts.",
        beside: "",
        example: "approvals_valid = \"30m\"",
    },
    Entry {
        part: Part::Rule,
        field: "delay",
        document: "require.delay_s",
        form: "time of the delay clock",
        limit: waiting,
        rule: Rule::PolicyDelay,
        says: "How long approvals stand before a payment leaves. Cancels wait for nothing.",
        beside: "",
        example: "delay = \"4h\"",
    },
    Entry {
        part: Part::Rule,
        field: "cool_down",
        document: "require.cool_down_s",
        form: "time of the delay clock",
        limit: waiting,
        rule: Rule::PolicyCoolDown,
        says: "How long a destination is in force before it is paid.",
        beside: "",
        example: "cool_down = \"2d\"",
    },
    Entry {
        part: Part::Rule,
        field: "hours",
        document: "require.hours",
        form: "name of a calendar",
        limit: none,
        rule: Rule::PolicyHours,
        says: "The calendar in whose open times payments leave.",
        beside: "",
        example: "hours = \"office\"",
    },
    Entry {
        part: Part::Rule,
        field: "amount_max",
        document: "require.amount_max",
        form: "amount",
        limit: none,
        rule: Rule::PolicyLimit,
        says: "The most that one request pays.",
        beside: "",
        example: "amount_max = \"0.4 btc\"",
    },
    Entry {
        part: Part::Rule,
        field: "value_max",
        document: "require.value_max",
        form: "value",
        limit: none,
        rule: Rule::PolicyValue,
        says: "The most that one request is worth. While no rate holds it denies.",
        beside: "",
        example: "value_max = \"40000 chf\"",
    },
    Entry {
        part: Part::Rule,
        field: "fee_max",
        document: "require.fee_max",
        form: "amount",
        limit: none,
        rule: Rule::PolicyFee,
        says: "The highest fee of a request.",
        beside: "",
        example: "fee_max = \"10000 sat\"",
    },
    Entry {
        part: Part::Rule,
        field: "fee_max_ppm",
        document: "require.fee_max_ppm",
        form: "millionths of the amount",
        limit: none,
        rule: Rule::PolicyFee,
        says: "The highest fee of a request in millionths of what it pays: 10000 is one per cent.",
        beside: "",
        example: "fee_max_ppm = 100",
    },
    Entry {
        part: Part::Rule,
        field: "fee_budget",
        document: "require.fee_budget",
        form: "`window`, `fee_max`",
        limit: || Some(window()),
        rule: Rule::PolicyFeeBudget,
        says: "The most fees of all that the rule covers in any window that ends now.",
        beside: "",
        example: "fee_budget = { window = \"30d\", fee_max = \"30000 sat\" }",
    },
    Entry {
        part: Part::Rule,
        field: "velocity",
        document: "require.velocity",
        form: "list of `per`, `window`, and at least one of `amount_max`, `value_max`, `count_max`",
        limit: || Some(format!("at most {VELOCITY_LIMIT}; {}", window())),
        rule: Rule::PolicyVelocity,
        says: "The most that leaves in any window that ends now, fees included, of what the rule covers: of the same \
               `asset`, `wallet`, `client` or `initiator` as the request, or to each `destination` (fees left out).",
        beside: "",
        example: "velocity = [\n    { per = \"asset\", window = \"24h\", amount_max = \"1 btc\", count_max = 20 },\n    \
                  { per = \"destination\", window = \"7d\", value_max = \"500000 chf\" },\n]",
    },
    Entry {
        part: Part::Top,
        field: "currency",
        document: "currency",
        form: "code of ISO 4217, lower case",
        limit: none,
        rule: Rule::PolicyValue,
        says: "The reference currency of every value: the subject of the document of rates.",
        beside: "value_max = \"40000 eur\"",
        example: "currency = \"eur\"",
    },
    Entry {
        part: Part::Top,
        field: "exclusive",
        document: "exclusive",
        form: "list of pairs of groups",
        limit: || Some(format!("at most {EXCLUSIVE_LIMIT}")),
        rule: Rule::Floor,
        says: "Groups two by two without a common member. The members of a group `developers` are in none that decides.",
        beside: "",
        example: "exclusive = [[\"approvers\", \"admins\"]]",
    },
    Entry {
        part: Part::Top,
        field: "administrators_max",
        document: "administrators_max",
        form: "number of people",
        limit: || Some(format!("at most {ADMINISTRATORS_LIMIT}")),
        rule: Rule::Floor,
        says: "The most people who can fill seats of governance.",
        beside: "",
        example: "administrators_max = 2",
    },
    Entry {
        part: Part::Tables,
        field: "governance",
        document: "governance",
        form: "by kind of document: `approvals`, `delay`",
        limit: || Some(format!("delays from 24h on a main network to {}", write_seconds(DELAY_LIMIT_S))),
        rule: Rule::Floor,
        says: "Who carries documents of a kind, and how long they wait. `default` stands for every kind and every field \
               that is not written; `resume` and `revocation` never wait.",
        beside: "",
        example: "[governance.default]\napprovals = [\"2 of admins\"]\ndelay = \"24h\"\n\n[governance.policy]\n\
                  approvals = [\"3 of admins\"]\ndelay = \"12h\"",
    },
    Entry {
        part: Part::Tables,
        field: "calendars",
        document: "calendars",
        form: "by name: `zone`, `weekdays`, `hours`, `holidays`, `from`, `until`",
        limit: || Some(format!("at most {CALENDARS_LIMIT}, 732 days and {INTERVALS_LIMIT} open times each")),
        rule: Rule::Floor,
        says: "Open while the clock on the wall of that place shows the hours: what a change of the clock leaves out is \
               not open, what it repeats is open both times. Hours that end the next morning belong to the day on which \
               they begin; a holiday is closed all day. `until` is the last day. Instead of weekdays, hours and \
               holidays `open` can stand, with `from` and `until` in seconds since 1970, as the document has it.",
        beside: "",
        example: "[calendars.office]\nzone = \"Europe/Zurich\"\nweekdays = [\"mon-thu\", \"fri\"]\n\
                  hours = [\"08:00-12:00\", \"13:00-18:00\"]\nholidays = [2026-11-23]\nfrom = 2026-11-16\nuntil = 2026-11-30",
    },
];

impl Entry {
    /// One amount, not a list.
    const fn single(self) -> Self {
        Self { limit: none, ..self }
    }

    /// Refused when the policy is adopted.
    const fn adopted(self) -> Self {
        Self { rule: Rule::Floor, ..self }
    }
}
