//! The clients' books: double entry on SQLite or PostgreSQL.
//!
//! Money moves by immutable [transfers](transfer) between two [accounts](account) of one asset; what a
//! flow did so far stands in [records](record). A [`Posting`] of both is the one thing that can be
//! written, all of it or nothing, and it is durable when [`Books::commit`] returns. Whether it may be
//! written is judged by a [pure function](book::apply) over what the books say.
//!
//! Deliberately absent: authority. The books say what clients may ask for; whether a payment leaves is
//! decided by signers who do not read them.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod account;
pub mod amount;
pub mod book;
mod digest;
mod load;
pub mod model;
pub mod observation;
mod query;
pub mod reconcile;
pub mod record;
mod refusal;
mod rows;
mod sql;
mod store;
pub mod transfer;
mod verify;
mod writer;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

pub use account::{Account, Asset, Owner, Totals};
pub use amount::{Amount, Balance};
pub use book::Posting;
pub use digest::Batch;
pub use model::{HOUSE_INDEX, Model};
pub use query::{AccountFilter, Line, Moment, PAGE_LIMIT, Page, RecordFilter, Side};
pub use reconcile::{Item, Reconciliation};
pub use record::{Record, RecordChange, RecordKind};
pub use refusal::Refusal;
pub use store::{DatabaseError, OpenError};
pub use transfer::{Code, Kind, Movement, NewTransfer, Place, Transfer, TransferId};
pub use verify::{Fault, Remembered, Verified, VerifyError};
pub use writer::BATCH_LIMIT;

/// Postings that may wait for the writer before callers wait for a place.
const QUEUE_LIMIT: usize = 4 * BATCH_LIMIT;

/// Why a posting has no answer of success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It was judged, and nothing changed.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// It may or may not be in the books. Commit the same posting again: it is idempotent by its ids.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

/// A posting that is in the books, and durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Committed {
    /// Its batch.
    pub seq: u64,
    /// When, in seconds since 1970.
    pub time: u64,
    /// The position of its last entry.
    pub position: u64,
    /// Whether it was there before: sent twice, or sent by somebody else with the same ids and content.
    pub repeated: bool,
}

/// A posting that was sent to the books. Dropping this does not take it back.
#[must_use = "until the outcome is known, the posting may or may not be in the books"]
#[derive(Debug)]
pub struct Sent(oneshot::Receiver<Result<Committed, CommitError>>);

impl Sent {
    /// Waits until the posting is durable, or refused.
    ///
    /// # Errors
    /// See [`Books::commit`].
    pub async fn outcome(self) -> Result<Committed, CommitError> {
        self.0.await.map_err(|_| DatabaseError::Closed)?
    }
}

/// The books. Clones share one writer. Several processes may open the same database and write: each sees
/// what the others wrote.
#[derive(Clone, Debug)]
pub struct Books {
    pool: store::Pool,
    writer: mpsc::Sender<writer::Job>,
}

impl Books {
    /// Opens `sqlite:/path/books.db` or `postgres://user@host/name`, and makes the tables if they are
    /// missing. Must be called within a tokio runtime, which then runs the writer.
    ///
    /// # Errors
    /// A wrong address, tables of another release, a server that is not durable, no database.
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self::open_with_clock(address, now).await
    }

    /// As [`Books::open`], with a clock of the caller's: seconds since 1970. A clock that goes back does
    /// not take the books back: no batch is earlier than the one before.
    ///
    /// # Errors
    /// See [`Books::open`].
    pub async fn open_with_clock(
        address: &str,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        Ok(Self::with(store::Pool::open(address).await?, Arc::new(clock)))
    }

    /// Opens books that are there to look at them: nothing is made or changed, and every posting is refused by
    /// the database ([`DatabaseError::ReadOnly`]). Who may only read may use it; of a SQLite file that nobody has
    /// open the directory must be writable all the same, for the files that its readers share.
    ///
    /// # Errors
    /// See [`Books::open`]; [`OpenError::Schema`] also where there are no tables.
    pub async fn open_to_read(address: &str) -> Result<Self, OpenError> {
        Ok(Self::with(store::Pool::open_to_read(address).await?, Arc::new(|| 0)))
    }

    fn with(pool: store::Pool, clock: writer::Clock) -> Self {
        let (sender, inbox) = mpsc::channel(QUEUE_LIMIT);
        tokio::spawn(writer::Writer::new(pool.clone(), clock).run(inbox));
        Self { pool, writer: sender }
    }

    /// Enters a posting, all or nothing. When this returns it is on disk, together with the postings of
    /// others that waited at the same time. The same posting again is answered as the first time.
    ///
    /// A caller that stops waiting does not take its posting back.
    ///
    /// # Errors
    /// [`CommitError::Refused`]: nothing changed. [`CommitError::Database`]: unknown, commit it again.
    pub async fn commit(&self, posting: Posting) -> Result<Committed, CommitError> {
        self.send(posting).await?.outcome().await
    }

    /// The first half of [`Books::commit`]: the posting has its place behind all that were sent before, by this
    /// caller too, and is judged after them. Who sends several before the first is answered has them written
    /// together; each is still entered or refused for itself. One that must not be entered without the one before
    /// it names a version of a record that the one before it writes and nobody else does.
    ///
    /// # Errors
    /// As [`Books::commit`]; what the books say stands in [`Sent::outcome`].
    pub async fn send(&self, posting: Posting) -> Result<Sent, CommitError> {
        book::judge_shape(&posting)?;
        let (reply, answer) = oneshot::channel();
        let job = writer::Job::Commit(posting, reply);
        self.writer.send(job).await.map_err(|_| DatabaseError::Closed)?;
        Ok(Sent(answer))
    }

    /// Finishes what waits, and closes the database. Later calls fail with [`DatabaseError::Closed`].
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.writer.send(writer::Job::Close(done)).await.is_ok() {
            // An error means that it is closed already.
            let _ = closed.await;
        }
    }
}

/// Every SQL text that the crate runs, for the test that prepares each on both engines.
#[doc(hidden)]
pub fn statements() -> Vec<&'static str> {
    sql::all()
}
