//! The rules, from outside: every rule that this crate enforces allows and denies something here, and
//! the attacks on statements, documents, policy, payments, reductions and batches fail by their rule.

mod adoption;
mod anchors;
mod batches;
mod clients;
mod cosigner_sets;
mod deny_lists;
mod devices;
mod documents;
mod golden;
mod governance;
mod limits;
mod payees;
mod payments;
mod policy;
mod records;
mod reductions;
mod register;
mod resharing;
mod statements;
mod withdrawn;

use std::fmt::Debug;

use custody::Hash;
use custody::rule::{Refusal, Rule};
use fixtures::{Denied, World};

/// Asserts that a statement was denied by `rule`, and whether its id was used up by that.
#[track_caller]
fn denied(result: Result<Hash, Denied>, rule: Rule, consumed: bool) {
    let denied = result.expect_err("it was allowed");
    assert_eq!((denied.rule, denied.consumed), (rule, consumed), "{}", denied.why);
}

/// Asserts that no batch may hold the statement.
#[track_caller]
fn invalid(result: Result<Hash, Denied>, rule: Rule) {
    denied(result, rule, false);
}

/// Asserts that the statement was rejected, and its id consumed.
#[track_caller]
fn rejected(result: Result<Hash, Denied>, rule: Rule) {
    denied(result, rule, true);
}

/// Asserts that something was refused by `rule`.
#[track_caller]
fn refused<T: Debug>(result: Result<T, Refusal>, rule: Rule) {
    let refusal = result.expect_err("it was allowed");
    assert_eq!(refusal.rule, rule, "{}", refusal.why);
}

/// A world with one coin of 1,000,000 sat and a request of 400,000 sat to acme that alice and bob approved.
fn asked() -> (World, fixtures::Coin, Hash) {
    let mut world = World::ready();
    let coin = world.coin(1_000_000);
    let request = world.asked(world.request(&[("acme", 400_000)]));
    (world, coin, request)
}
