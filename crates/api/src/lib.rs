//! The REST interface `/v1` of a Keyward server.
//!
//! Deliberately absent: authority. What moves coins is a statement that a person or an enrolled machine
//! signed (P19); the interface carries it, reserves for it in the books, and says what became of it.
//! `docs/api.md` is the manual, `docs/openapi.json` the description for programs.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

mod csv;
mod house;
mod https;
mod input;
mod once;
mod own;
mod page;
mod problem;
mod router;
#[allow(unused_qualifications, reason = "utoipa qualifies types in what it generates")]
mod routes;
mod sign;
mod time;
mod view;

pub use house::{Caller, ChainStatus, House, NotTaken, Recovery, RecoveryRow};
pub use https::{
    ALERT_DEADLINE, Admit, BODY_DEADLINE, CONNECTION_LIFETIME, HANDSHAKE_DEADLINE, HEAD_DEADLINE, HttpsError,
    HttpsListener, LAST_ANSWER_DEADLINE, Limits, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_KEY, MAX_HANDSHAKES,
    MAX_HEAD_BYTES,
};
pub use input::{BODY_LIMIT_BYTES, DEPTH_LIMIT, KEY_LIMIT_BYTES};
pub use page::{PAGE_DEFAULT, PAGE_LIMIT};
pub use problem::{Code, Fault};
pub use router::{answer, openapi, router};
pub use routes::recovery::{ENTRIES_BODY_LIMIT_BYTES, ENTRIES_LIMIT, ENTRIES_PAGE_BYTES};
pub use time::rfc3339;
