//! What people write and judge policies with: policy files in TOML, calendars of a time zone expanded into UTC, the schema of
//! the document and a reference of all that can stand in it; why a request waits, what a draft would have decided, and what it
//! allows that the policy in force does not.
//!
//! Nothing trusted links this crate: what it makes is a [`custody::policy::Policy`], which people see and sign, and
//! which the rules of custody check and decide by.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

pub mod calendar;
pub mod currency;
pub mod difference;
pub mod explain;
pub mod ground;
pub mod print;
pub mod reader;
pub mod reference;
pub mod replay;
pub mod schema;
pub mod text;
pub mod trial;
pub mod units;
mod words;
