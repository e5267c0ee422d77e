//! The authority diff: what a draft allows that the policy in force does not, and the reverse.
//!
//! All requests are split into cells in which both policies have the same rules (`split`), and each cell is
//! looked at for what one policy allows and the other denies (`gain`):
//!
//! - whether anything is allowed at all is exact over kind, asset, wallet, tier, client, kind of destination,
//!   amount, value and time;
//! - who can approve is exact over sets of approvers and their devices, with the members that groups have;
//! - fees, velocity, fee budget, delay, cool-down and the validity of approvals are compared by parameter. What
//!   one policy does not provably ask for as strictly as the other is a difference; if no request was found
//!   that shows it, it is undecided, and counts as looser.
//!
//! Beside that each rule is compared with the one of the same handle, and every parameter that became looser is
//! told (`looser`): a path that more people fill does not hide that a delay is gone.
//!
//! All of it is worth so much work (`budget`). What is left when that is spent was not compared, and is told as such.
//!
//! Every request given as an example was decided under both policies, and shows what it stands for, unless the
//! difference says that it is undecided. Two people for a payment, *de minimis* and what is not in a policy
//! (freezes, ends, fees that a request allows) are the same under both.

mod budget;
mod catalog;
mod checks;
mod example;
mod gain;
mod governance;
mod limits;
mod looser;
mod merge;
mod people;
mod region;
mod split;

use std::collections::BTreeSet;

use custody::adoption::Standing;
use custody::decide::Rulebook;
use custody::document::Kind;
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Policy, RequestKind};
use custody::quorum::Groups;
use custody::state::State;
use serde::Serialize;

pub use budget::WORK_LIMIT;
pub use example::{Approver, Earlier, Example};
pub use looser::Looser;
pub use merge::NEIGHBOURS_LIMIT;
pub use people::APPROVERS_LIMIT;
pub use region::{Clients, Names, Ranges, Region, Worths};
pub use split::LOOKS_LIMIT;

use crate::words;
use budget::Budget;
use catalog::Catalog;
use people::People;
use split::Splitter;

/// What two policies are compared for.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "groups are a lookup, there is nothing to print")]
pub struct Ground<'a> {
    /// The groups as they are.
    pub groups: &'a dyn Groups,
    /// The assets that are held (CAIP-19).
    pub assets: Vec<String>,
    /// What leaves under one approval (genesis).
    pub de_minimis: Sats,
    /// From when on, seconds since 1970.
    pub now: u64,
}

impl<'a> Ground<'a> {
    /// A deployment, from log time or `now` on, whichever is later.
    pub fn of(state: &'a State, now: u64) -> Self {
        let genesis = state.genesis();
        let now = now.max(state.clock().time);
        Self { groups: state, assets: vec![genesis.asset()], de_minimis: genesis.de_minimis, now }
    }
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The draft allows what the policy in force denies.
    More,
    /// The draft denies what the policy in force allows.
    Less,
}

/// Why a request is denied whoever approves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// No rule grants it.
    Scope,
    /// It is over the amount of a rule.
    Limit,
    /// It is over the value of a rule, or of no known value.
    Value,
    /// It is over a velocity limit by itself, or names no client where that is counted.
    Velocity,
    /// A calendar is closed.
    Hours,
}

impl Why {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Scope => "the scope",
            Self::Limit => "the amount",
            Self::Value => "the value",
            Self::Velocity => "the velocity",
            Self::Hours => "the hours",
        }
    }
}

/// In what two policies differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Whether such requests are allowed at all; why the other policy denies them.
    Granted(Why),
    /// Whose approvals, and on which devices, are enough.
    Approvers,
    /// The ceilings of the fee.
    Fee,
    /// What leaves in a window.
    Velocity,
    /// The fees in a window.
    FeeBudget,
    /// For how long destinations have been in force.
    CoolDown,
    /// For how long approvals have stood.
    Delay,
    /// For how long approvals count.
    Validity,
    /// Not looked at, for the policies are too intricate.
    TooIntricate,
    /// Who carries documents of a kind.
    Governance(Kind),
    /// After which delay documents of a kind are in force.
    GovernanceDelay(Kind),
    /// How many people may govern.
    Administrators,
    /// Groups that nobody may be in at once.
    Exclusive,
}

impl Aspect {
    fn word(self) -> String {
        match self {
            Self::Granted(_) => "granted".into(),
            Self::Approvers => "approvers".into(),
            Self::Fee => "fee".into(),
            Self::Velocity => "velocity".into(),
            Self::FeeBudget => "fee budget".into(),
            Self::CoolDown => "cool-down".into(),
            Self::Delay => "delay".into(),
            Self::Validity => "validity of approvals".into(),
            Self::TooIntricate => "too intricate to compare: treat it as wider".into(),
            Self::Governance(kind) => format!("who carries {} documents", kind.word()),
            Self::GovernanceDelay(kind) => format!("delay of {} documents", kind.word()),
            Self::Administrators => "people who may govern".into(),
            Self::Exclusive => "groups that exclude each other".into(),
        }
    }
}

/// One thing that one policy allows and the other does not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// Which of them allows it.
    pub direction: Direction,
    /// In what they differ.
    pub aspect: Aspect,
    /// Whether no request shows it: it may be none, and counts as one.
    pub undecided: bool,
    /// Which requests it is about; nothing for governance.
    pub region: Option<Region>,
    /// The rules in force that cover those.
    pub in_force: Vec<Name>,
    /// The rules of the draft that cover those.
    pub draft: Vec<Name>,
    /// What the policy in force says.
    pub before: String,
    /// What the draft says.
    pub after: String,
    /// An example in words.
    pub example: String,
    /// The request of the example.
    pub request: Option<Example>,
}

/// Most differences that are printed, some four lines each: what a person still reads before signing.
pub const PRINTED_LIMIT: usize = 64;

/// All differences between a policy in force and a draft.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Differences {
    /// From when on it was compared, seconds since 1970.
    pub from: u64,
    /// How many assets are held.
    #[serde(skip)]
    assets: usize,
    /// What the draft allows that the policy in force does not.
    pub more: Vec<Difference>,
    /// The reverse.
    pub less: Vec<Difference>,
    /// Rule by rule, what became looser.
    pub looser: Vec<Looser>,
}

/// Compares a draft with the policy in force.
pub fn difference(in_force: &Policy, draft: &Policy, ground: &Ground<'_>) -> Differences {
    let budget = Budget::new(WORK_LIMIT);
    let (mut found, all) = compared([in_force, draft], ground, &budget);
    let all = merge::merged(all, &budget);
    (found.more, found.less) = all.into_iter().partition(|found| found.direction == Direction::More);
    found
}

/// What is found rule by rule, and the differences of both directions, neighbours apart.
fn compared(policies: [&Policy; 2], ground: &Ground<'_>, budget: &Budget) -> (Differences, Vec<Difference>) {
    // Who is away today is back when the draft is in force.
    let standing = Standing(ground.groups);
    let Ground { assets, de_minimis, now, .. } = ground;
    let ground = &Ground { groups: &standing, assets: assets.clone(), de_minimis: *de_minimis, now: *now };
    let catalog = Catalog::new(policies, ground.now);
    let people = People::new(ground.groups, budget);
    let looser = looser::looser(&catalog, &people);
    let mut all = governance::governance(policies, &people);
    let books = policies.map(|policy| Rulebook::new(policy.clone()));
    let judge = gain::Judge { catalog: &catalog, people: &people, ground, budget, books };
    let mut splitter = Splitter::new(&catalog, ground.de_minimis);
    for kind in [RequestKind::Payment, RequestKind::Cancel] {
        splitter.split(catalog.whole(kind, ground), 0);
    }
    let mut given_up: BTreeSet<RequestKind> = splitter.given_up.iter().map(|cell| cell.region.kind).collect();
    for cell in &splitter.cells {
        match judge.look(cell) {
            Some(found) => all.extend(found),
            None => drop(given_up.insert(cell.region.kind)),
        }
    }
    all.extend(given_up.into_iter().flat_map(|kind| not_compared(&catalog.whole(kind, ground).region)));
    let (more, less) = (Vec::new(), Vec::new());
    (Differences { from: ground.now, assets: ground.assets.len(), more, less, looser }, all)
}

/// What was not looked at could be anything, and anywhere.
fn not_compared(region: &Region) -> [Difference; 2] {
    [Direction::More, Direction::Less].map(|direction| Difference {
        direction,
        aspect: Aspect::TooIntricate,
        undecided: true,
        region: Some(region.clone()),
        in_force: Vec::new(),
        draft: Vec::new(),
        before: "not compared".into(),
        after: "not compared".into(),
        example: String::new(),
        request: None,
    })
}

impl Differences {
    /// Whether both policies allow the same.
    pub fn is_empty(&self) -> bool {
        self.more.is_empty() && self.less.is_empty() && self.looser.is_empty()
    }

    /// As plain text, a line for each and its example beneath: first what was not compared, then what the draft allows
    /// more, what became looser, and what it allows less. After [`PRINTED_LIMIT`] of them it says how many are left out.
    pub fn text(&self) -> String {
        let (unknown, known): (Vec<_>, Vec<_>) =
            self.more.iter().partition(|found| found.aspect == Aspect::TooIntricate);
        let more = unknown.into_iter().chain(known).map(|found| self.said("allows more", found));
        let less = self.less.iter().map(|found| self.said("allows less", found));
        let looser = self.looser.iter().map(Looser::text);
        let parts: [(&str, &str, Vec<String>); 3] = [
            ("allow more", "allows more: nothing\n", more.collect()),
            ("make a rule looser", "", looser.collect()),
            ("allow less", "allows less: nothing\n", less.collect()),
        ];
        let (mut text, mut room, mut left_out) = (String::new(), PRINTED_LIMIT, Vec::new());
        for (what, nothing, found) in parts {
            if found.is_empty() {
                text.push_str(nothing);
            }
            text.extend(found.iter().take(room).map(String::as_str));
            let over = found.len().saturating_sub(room);
            room = room.saturating_sub(found.len());
            if over > 0 {
                left_out.push((over, what));
            }
        }
        if !left_out.is_empty() {
            let all: usize = left_out.iter().map(|(count, _)| count).sum();
            let each: Vec<_> = left_out.iter().map(|(count, what)| format!("{count} {what}")).collect();
            let next = "--output json has all; reject what is too much to read";
            text.push_str(&format!("and {all} more: {}; {next}\n", each.join(", ")));
        }
        text
    }

    fn said(&self, title: &str, found: &Difference) -> String {
        let region = found.region.as_ref().map(|r| format!(" {}:", words::region(r, self.from, self.assets)));
        let (aspect, region) = (found.aspect.word(), region.unwrap_or_default());
        if found.aspect == Aspect::TooIntricate {
            return format!("{title}:{region} {aspect}\n");
        }
        let undecided = if found.undecided { " (undecided, treat it as looser)" } else { "" };
        let mut text = format!("{title}:{region} {aspect}{undecided}\n");
        text.push_str(&format!("  in force    {}{}\n", found.before, handles(&found.in_force)));
        text.push_str(&format!("  draft       {}{}\n", found.after, handles(&found.draft)));
        if !found.example.is_empty() {
            text.push_str(&format!("  for example {}\n", found.example));
        }
        text
    }
}

fn handles(rules: &[Name]) -> String {
    if rules.is_empty() { String::new() } else { format!(" (rules {})", words::list(rules)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paying(amount: u64) -> Policy {
        let mut policy = fixtures::policy_of(custody::rule_set::NEWEST, &[fixtures::rule()], 0);
        policy.rules[0].require.amount_max = Sats(amount);
        policy
    }

    /// With exactly the work that it takes all is compared, and with less what is left says so.
    #[test]
    fn what_the_budget_leaves_is_too_intricate() {
        let (old, new) = (paying(5), paying(6));
        let genesis = fixtures::newest();
        let state = State::new(genesis).unwrap();
        let ground = Ground::of(&state, 0);
        let look = |most: usize| {
            let budget = Budget::new(most);
            let (_, found) = compared([&old, &new], &ground, &budget);
            (found.into_iter().map(|one| one.aspect).collect::<Vec<_>>(), budget.left())
        };
        let (found, left) = look(WORK_LIMIT);
        assert_eq!(found, [Aspect::Granted(Why::Limit)]);
        let work = WORK_LIMIT - left;
        assert_eq!(look(work), (found.clone(), 0));
        // Cancels come last; with nothing all is left, but for what stands in both alike.
        assert_eq!(look(work - 1).0, [found[0], Aspect::TooIntricate, Aspect::TooIntricate]);
        assert_eq!(look(0).0, [Aspect::TooIntricate; 4]);
    }
}
