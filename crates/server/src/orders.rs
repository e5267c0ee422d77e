//! Who is asked to sign what with whom, without clock or sockets.
//!
//! Every set of holders is tried in turn (P27), those first of which all are connected and none was
//! blamed. The number of an attempt is random, so that it is not used twice even when all is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::name::Name;
use wire::message::ToCosigner;

use crate::office::subsets;

/// How long an attempt may take, in milliseconds, before the next set of holders is asked. It takes
/// tens of milliseconds, or two seconds when a fresh head must be made first …
pub const ATTEMPT_MS: u64 = 2_000;

/// … and this many more for each input.
pub const ATTEMPT_INPUT_MS: u64 = 50;

/// Orders under way at a time. A signer holds 64 sessions; failed ones count there for a while.
pub const ORDERS_LIMIT: usize = 8;

/// The longest pause after all sets were tried in vain, in milliseconds. The first one is a second, each
/// further one twice as long.
pub const PAUSE_LIMIT_MS: u64 = 30_000;

/// Attempt numbers are below this.
const ATTEMPT_LIMIT: u32 = 1 << 31;

/// What is to be signed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Job {
    /// An authorised transaction.
    Spend(Hash),
    /// The proof of one set of holders for one dealt account.
    Prove(Hash, u32, Vec<Name>),
}

impl Job {
    /// The id that answers name.
    fn id(&self) -> Hash {
        match self {
            Self::Spend(id) | Self::Prove(id, ..) => *id,
        }
    }

    fn order(&self, holders: Vec<Name>, attempt: u32) -> ToCosigner {
        match self {
            Self::Spend(authorisation) => {
                ToCosigner::Sign { authorisation: *authorisation, holders, attempt }
            }
            Self::Prove(ceremony, slot, _) => {
                ToCosigner::Prove { ceremony: *ceremony, slot: *slot, holders, attempt }
            }
        }
    }
}

/// A job that is wanted now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Want {
    /// What.
    pub job: Job,
    /// Who could do it.
    pub holders: Vec<Name>,
    /// How many of them it takes.
    pub threshold: usize,
    /// Signatures that it takes.
    pub inputs: u64,
}

#[derive(Debug, Default)]
struct Order {
    /// The sets that were asked since the last pause.
    tried: BTreeSet<Vec<Name>>,
    /// The set that is being asked.
    asking: Vec<Name>,
    /// Nothing before this time.
    until_ms: u64,
    rounds: u32,
    problem: Option<String>,
}

/// All orders under way.
#[derive(Debug, Default)]
pub struct Orders {
    open: BTreeMap<Job, Order>,
    blamed: BTreeSet<Name>,
    /// When [`Orders::due`] was asked last.
    looked_ms: u64,
}

impl Orders {
    /// What to send now, to whom. Orders that are wanted no more are forgotten.
    pub fn due(
        &mut self,
        now_ms: u64,
        wants: &[Want],
        connected: &BTreeSet<Name>,
        mut random: impl FnMut() -> u32,
    ) -> Vec<(Vec<Name>, ToCosigner)> {
        self.looked_ms = now_ms;
        let wanted: BTreeSet<&Job> = wants.iter().map(|want| &want.job).collect();
        self.open.retain(|job, _| wanted.contains(job));
        let mut out = Vec::new();
        let busy = |order: &Order| !order.asking.is_empty() && order.until_ms > now_ms;
        let mut running = self.open.values().filter(|order| busy(order)).count();
        for want in wants {
            let order = self.open.entry(want.job.clone()).or_default();
            if order.until_ms > now_ms || running >= ORDERS_LIMIT {
                continue;
            }
            if !order.asking.is_empty() && order.problem.is_none() {
                order.problem = Some(format!("{} did not sign in time", list(&order.asking)));
            }
            order.asking.clear();
            let sets = subsets(&want.holders, want.threshold);
            let able = |set: &Vec<Name>| set.iter().all(|holder| connected.contains(holder));
            let mut open: Vec<Vec<Name>> =
                sets.into_iter().filter(|set| able(set) && !order.tried.contains(set)).collect();
            open.sort_by_key(|set| set.iter().filter(|holder| self.blamed.contains(*holder)).count());
            let Some(set) = open.into_iter().next() else {
                // All that are there were asked: after a pause from the beginning. None is there: wait.
                if order.tried.is_empty() {
                    order.problem = Some("too few signers are connected".into());
                } else {
                    order.tried.clear();
                    let pause = 1_000u64.checked_shl(order.rounds).unwrap_or(PAUSE_LIMIT_MS);
                    order.until_ms = now_ms.saturating_add(pause.min(PAUSE_LIMIT_MS));
                    order.rounds = order.rounds.saturating_add(1).min(16);
                }
                continue;
            };
            let time = ATTEMPT_MS.saturating_add(want.inputs.saturating_mul(ATTEMPT_INPUT_MS));
            order.until_ms = now_ms.saturating_add(time);
            order.tried.insert(set.clone());
            order.asking.clone_from(&set);
            running = running.saturating_add(1);
            out.push((set.clone(), want.job.order(set, random() % ATTEMPT_LIMIT)));
        }
        out
    }

    /// A holder refused, or blamed others: the next set is asked at once.
    pub fn refused(&mut self, by: &Name, id: &Hash, why: String, culprits: &[Name]) {
        self.blamed.extend(culprits.iter().cloned());
        for (job, order) in &mut self.open {
            // A refusal of a proof does not say which account it is about; all of that ceremony with
            // this holder under way are tried again.
            if job.id() == *id && order.asking.contains(by) {
                order.problem = Some(format!("{by}: {why}"));
                order.asking.clear();
                order.until_ms = 0;
            }
        }
    }

    /// What is in the way of a transaction, as far as its signers said.
    pub fn problem(&self, authorisation: &Hash) -> Option<&str> {
        self.open.get(&Job::Spend(*authorisation))?.problem.as_deref()
    }

    /// When to look again: at the next end of an attempt or pause that was not over at the last look. Orders
    /// for which nobody is connected wait for a connection, those over the limit for the end of another.
    pub fn wake_ms(&self) -> Option<u64> {
        self.open.values().map(|order| order.until_ms).filter(|until| *until > self.looked_ms).min()
    }
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use fixtures::name;

    use super::*;

    fn names(all: &[&str]) -> Vec<Name> {
        all.iter().map(|n| name(n)).collect()
    }

    fn want(job: Job) -> Want {
        Want { job, holders: names(&["s1", "s2", "s3"]), threshold: 2, inputs: 1 }
    }

    fn asked(out: &[(Vec<Name>, ToCosigner)]) -> Vec<String> {
        out.iter().map(|(set, _)| list(set)).collect()
    }

    const TIME: u64 = ATTEMPT_MS + ATTEMPT_INPUT_MS;

    #[test]
    fn every_set_is_tried_in_turn_then_there_is_a_pause_that_grows() {
        let wants = [want(Job::Spend(Hash([1; 32])))];
        let all = names(&["s1", "s2", "s3"]).into_iter().collect();
        let mut orders = Orders::default();
        let mut number = 0;
        let mut due = |orders: &mut Orders, now| {
            orders.due(now, &wants, &all, || {
                number += 1;
                number
            })
        };
        let first = due(&mut orders, 0);
        let holders = names(&["s1", "s2"]);
        let order = ToCosigner::Sign { authorisation: Hash([1; 32]), holders: holders.clone(), attempt: 1 };
        assert_eq!(first, [(holders, order)]);
        assert!(due(&mut orders, TIME - 1).is_empty());
        assert_eq!(orders.wake_ms(), Some(TIME));
        assert_eq!(asked(&due(&mut orders, TIME)), ["s1 and s3"]);
        assert_eq!(orders.problem(&Hash([1; 32])), Some("s1 and s2 did not sign in time"));
        assert_eq!(asked(&due(&mut orders, 2 * TIME)), ["s2 and s3"]);
        let end = 3 * TIME;
        assert!(due(&mut orders, end).is_empty());
        assert!(due(&mut orders, end + 999).is_empty());
        assert_eq!(asked(&due(&mut orders, end + 1_000)), ["s1 and s2"]);
        for round in [1, 2] {
            due(&mut orders, end + 1_000 + round * TIME);
        }
        assert!(due(&mut orders, end + 1_000 + 3 * TIME).is_empty());
        assert_eq!(orders.wake_ms(), Some(end + 1_000 + 3 * TIME + 2_000));
    }

    #[test]
    fn only_sets_that_are_connected_are_asked() {
        let wants = [want(Job::Spend(Hash([1; 32])))];
        let mut orders = Orders::default();
        let some = names(&["s3", "s1"]).into_iter().collect();
        assert_eq!(asked(&orders.due(0, &wants, &some, || 0)), ["s1 and s3"]);
        let mut orders = Orders::default();
        let one = names(&["s3"]).into_iter().collect();
        assert!(orders.due(0, &wants, &one, || 0).is_empty());
        assert_eq!(orders.wake_ms(), None, "nothing to wait for but a connection");
        assert_eq!(asked(&orders.due(1, &wants, &some, || 0)), ["s1 and s3"]);
    }

    #[test]
    fn a_refusal_moves_on_at_once_and_culprits_come_last() {
        let wants = [want(Job::Spend(Hash([1; 32])))];
        let all = names(&["s1", "s2", "s3"]).into_iter().collect();
        let mut orders = Orders::default();
        orders.due(0, &wants, &all, || 0);
        orders.refused(&name("s3"), &Hash([1; 32]), "not asked".into(), &[]);
        assert!(orders.due(1, &wants, &all, || 0).is_empty(), "s3 was not asked");
        orders.refused(&name("s2"), &Hash([1; 32]), "bad share".into(), &names(&["s1"]));
        assert_eq!(orders.problem(&Hash([1; 32])), Some("s2: bad share"));
        assert_eq!(asked(&orders.due(1, &wants, &all, || 0)), ["s2 and s3"]);
    }

    #[test]
    fn orders_on_both_sides_of_their_limit_and_forgotten_when_not_wanted() {
        let jobs: Vec<Want> = (0..=u32::try_from(ORDERS_LIMIT).unwrap())
            .map(|slot| want(Job::Prove(Hash([1; 32]), slot, vec![])))
            .collect();
        let all = names(&["s1", "s2", "s3"]).into_iter().collect();
        let mut orders = Orders::default();
        assert_eq!(orders.due(0, &jobs, &all, || 0).len(), ORDERS_LIMIT);
        assert!(orders.due(1, &jobs, &all, || 0).is_empty());
        assert_eq!(orders.wake_ms(), Some(TIME), "the one over the limit waits without spinning");
        assert_eq!(orders.due(2, &jobs[1..], &all, || 0).len(), 1);
        orders.due(3, &[], &all, || 0);
        assert_eq!(orders.wake_ms(), None);
    }

    #[test]
    fn attempt_numbers_stay_in_their_range() {
        let wants = [want(Job::Spend(Hash([1; 32])))];
        let all = names(&["s1", "s2", "s3"]).into_iter().collect();
        let out = Orders::default().due(0, &wants, &all, || u32::MAX);
        assert!(matches!(out[0].1, ToCosigner::Sign { attempt, .. } if attempt == ATTEMPT_LIMIT - 1));
    }
}
