//! The writer: takes all postings that wait, judges them against the books as they stand, and writes them
//! in one SQL transaction. One disk flush serves everybody who waits (group commit).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use custody::Hash;
use custody::canon::{self, CanonError};
use custody::name::Name;
use tokio::sync::{mpsc, oneshot};

use crate::account::{Account, Totals};
use crate::book::{Entry, Outcome, Posting, View, apply};
use crate::digest::{self, Batch};
use crate::load::load;
use crate::model::Model;
use crate::refusal::Refusal;
use crate::rows::{Head, read_batch};
use crate::sql;
use crate::store::{Cell, Connection, DatabaseError, Pool};
use crate::transfer::{Kind, Place};
use crate::{CommitError, Committed};

/// Most postings of one SQL transaction: beyond it a flush is cheap beside the rows, and callers wait.
pub const BATCH_LIMIT: usize = 1024;
/// From so many entries on a batch takes no further posting, so that its statements stay small.
const BATCH_ENTRIES: usize = 8192;
/// Accounts that the writer keeps in memory, at about 300 bytes each; beyond it starts anew.
const CACHE_LIMIT: usize = 100_000;
/// How often a batch is judged anew because another writer was faster.
const CONFLICT_RETRIES: u32 = 100;
/// How often a batch is sent again over a new connection. It is idempotent: what was written is found.
const LOST_RETRIES: u32 = 3;
/// The pause before the next connection.
const LOST_PAUSE: Duration = Duration::from_millis(100);

/// The time in seconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Who waits for what becomes of a posting.
type Reply = oneshot::Sender<Result<Committed, CommitError>>;

/// What the writer is sent.
pub(crate) enum Job {
    /// Enter a posting.
    Commit(Posting, Reply),
    /// Finish what came before, and end.
    Close(oneshot::Sender<()>),
}

pub(crate) struct Writer {
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    connection: Option<Connection>,
    /// Models never change, so they are read once.
    models: HashMap<Name, Model>,
    /// Numbers and totals of accounts as of [`Writer::seen`]. As long as nobody else wrote a batch, they
    /// are what the database would say.
    cache: HashMap<Account, (u64, Totals)>,
    /// The newest batch that this process saw. The database may grow beyond it, never lose it.
    seen: (u64, Hash),
}

impl Writer {
    pub(crate) fn new(pool: Pool, clock: Clock) -> Self {
        Self {
            pool,
            clock,
            connection: None,
            models: HashMap::new(),
            cache: HashMap::new(),
            seen: (0, Hash::default()),
        }
    }

    /// Writes until it is told to close or nobody can send any more.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        let mut next = inbox.recv().await;
        while let Some(Job::Commit(posting, reply)) = next.take() {
            // Whoever was answered just now gets a chance to ask again, and to be in this batch.
            tokio::task::yield_now().await;
            let mut entries = posting.transfers.len().saturating_add(posting.records.len());
            let (mut postings, mut replies) = (vec![posting], vec![reply]);
            while postings.len() < BATCH_LIMIT && entries < BATCH_ENTRIES {
                match inbox.try_recv() {
                    Ok(Job::Commit(posting, reply)) => {
                        entries = entries.saturating_add(posting.transfers.len());
                        entries = entries.saturating_add(posting.records.len());
                        postings.push(posting);
                        replies.push(reply);
                    }
                    Ok(close) => {
                        next = Some(close);
                        break;
                    }
                    Err(_) => break,
                }
            }
            self.answer(postings, replies).await;
            if next.is_none() {
                next = inbox.recv().await;
            }
        }
        drop(self.connection.take());
        self.pool.close().await;
        if let Some(Job::Close(done)) = next {
            let _ = done.send(());
        }
    }

    /// Writes a batch and tells everybody. Answers wait for the outcome of all: a refusal may rest on a
    /// posting of the same batch.
    async fn answer(&mut self, postings: Vec<Posting>, replies: Vec<Reply>) {
        match self.write(&postings).await {
            Ok(results) => {
                for (reply, result) in replies.into_iter().zip(results) {
                    // Whoever does not wait any more needs no answer.
                    let _ = reply.send(result.map_err(CommitError::Refused));
                }
            }
            // A row that cannot be read fails those who name it, not those who wait beside them.
            Err(DatabaseError::Damaged { .. } | DatabaseError::Other(_)) if postings.len() > 1 => {
                for (posting, reply) in postings.into_iter().zip(replies) {
                    Box::pin(self.answer(vec![posting], vec![reply])).await;
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(CommitError::Database(error.clone())));
                }
            }
        }
    }

    /// Writes a batch, again and again where that can help.
    async fn write(
        &mut self,
        postings: &[Posting],
    ) -> Result<Vec<Result<Committed, Refusal>>, DatabaseError> {
        let (mut conflicts, mut losses) = (0u32, 0u32);
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => match self.pool.acquire_to_write().await {
                    Ok(connection) => connection,
                    Err(DatabaseError::Unreachable(_)) if losses < LOST_RETRIES => {
                        losses = losses.saturating_add(1);
                        tokio::time::sleep(LOST_PAUSE).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            match self.attempt(&mut connection, postings).await {
                Ok(results) => {
                    self.connection = Some(connection);
                    return Ok(results);
                }
                Err(DatabaseError::Conflict(_)) if conflicts < CONFLICT_RETRIES => {
                    conflicts = conflicts.saturating_add(1);
                    match connection.rollback().await {
                        Ok(()) => self.connection = Some(connection),
                        Err(_) => connection.discard(),
                    }
                    tokio::time::sleep(jitter(conflicts)).await;
                }
                Err(DatabaseError::Unreachable(_)) if losses < LOST_RETRIES => {
                    losses = losses.saturating_add(1);
                    connection.discard();
                    tokio::time::sleep(LOST_PAUSE).await;
                }
                Err(error) => {
                    connection.discard();
                    return Err(error);
                }
            }
        }
    }

    async fn attempt(
        &mut self,
        connection: &mut Connection,
        postings: &[Posting],
    ) -> Result<Vec<Result<Committed, Refusal>>, DatabaseError> {
        connection.begin().await?;
        let head = Head::read(&connection.fetch(sql::HEAD, Vec::new()).await?)?;
        self.recognise(connection, &head).await?;
        // Empty unless this batch succeeds: after a failure nothing is taken for granted.
        let mut cache = std::mem::take(&mut self.cache);
        if self.seen != (head.seq, head.digest) || cache.len() > CACHE_LIMIT {
            cache.clear();
        }
        let seq = head.seq.saturating_add(1);
        let time = (self.clock)().max(head.time);
        let view = View { seq, time, last: head.last, models: self.models.clone(), ..View::default() };
        let (mut view, mut numbers) = load(connection, view, postings, &cache).await?;
        let mut results = Vec::with_capacity(postings.len());
        for posting in postings {
            let result = apply(&mut view, posting).map(|outcome| match outcome {
                Outcome::Entered => Committed { seq, time, position: view.last, repeated: false },
                Outcome::Repeated(Place { seq, time, position }) => {
                    // Repeated within this batch means twice at once; both are told the same.
                    Committed { seq, time, position, repeated: true }
                }
            });
            results.push(result);
        }
        if view.entries.is_empty() {
            connection.rollback().await?;
            self.seen = (head.seq, head.digest);
        } else {
            let batch = write_entries(connection, &head, &view, &mut numbers).await?;
            connection.commit().await?;
            self.seen = (batch.seq, batch.digest);
            self.models = view.models;
            let known = view.accounts.into_iter().filter_map(|(account, totals)| {
                let number = *numbers.get(&account)?;
                Some((account, (number, totals)))
            });
            cache.extend(known);
        }
        self.cache = cache;
        Ok(results)
    }

    /// Refuses a database that is not a continuation of the one seen before.
    async fn recognise(&self, connection: &mut Connection, head: &Head) -> Result<(), DatabaseError> {
        let (seq, digest) = self.seen;
        let same = if head.seq <= seq {
            (head.seq, head.digest) == (seq, digest)
        } else if seq == 0 {
            true
        } else {
            let rows = connection.fetch(sql::BATCH, vec![seq.into()]).await?;
            rows.first().map(read_batch).transpose()?.is_some_and(|b| b.digest == digest)
        };
        if same { Ok(()) } else { Err(DatabaseError::Replaced { seq }) }
    }
}

/// A pause that differs from writer to writer, so that one of them gets ahead.
fn jitter(attempt: u32) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.subsec_nanos());
    let limit = attempt.min(16).saturating_mul(1000).saturating_add(1);
    Duration::from_micros(u64::from((nanos / 1000).checked_rem(limit).unwrap_or_default()))
}

/// A judged entry always has a canonical form.
fn unwritable(error: CanonError) -> DatabaseError {
    DatabaseError::Other(error.to_string())
}

/// Writes what the view added to the books.
async fn write_entries(
    connection: &mut Connection,
    head: &Head,
    view: &View,
    numbers: &mut HashMap<Account, u64>,
) -> Result<Batch, DatabaseError> {
    let mut accounts = head.accounts;
    // Accounts and records that were touched, in order of first touch and without repetition.
    let (mut touched, mut changed) = (Vec::new(), HashMap::new());
    let mut seen = HashSet::new();
    let (mut transfers, mut changes, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &view.entries {
        match entry {
            Entry::Transfer { place, transfer, debit, credit } => {
                let mut number = |account: &Account| {
                    if seen.insert(account.clone()) {
                        touched.push(account.clone());
                    }
                    *numbers.entry(account.clone()).or_insert_with(|| {
                        accounts = accounts.saturating_add(1);
                        accounts
                    })
                };
                let digest = digest::transfer(*place, transfer).map_err(unwritable)?;
                digests.push(digest);
                let expires_at = match transfer.kind {
                    Kind::Pending { expires_at: Some(at) } => at.into(),
                    _ => Cell::NoInt,
                };
                transfers.push(vec![
                    place.position.into(),
                    place.seq.into(),
                    transfer.id.as_str().into(),
                    number(&transfer.debit).into(),
                    number(&transfer.credit).into(),
                    transfer.amount.to_string().into(),
                    transfer.kind.as_str().into(),
                    transfer.kind.ends().map(ToString::to_string).into(),
                    expires_at,
                    transfer.code.as_str().into(),
                    transfer.cause.as_str().into(),
                    debit.to_string().into(),
                    credit.to_string().into(),
                    digest.to_string().into(),
                ]);
            }
            Entry::Change { place, change } => {
                let digest = digest::change(*place, change).map_err(unwritable)?;
                digests.push(digest);
                let key = change.key();
                let version = change.expect.saturating_add(1);
                let opened = view.records.get(&key).map_or(place.position, |(_, opened)| *opened);
                let body = canon::encode(&change.body).map_err(unwritable)?;
                let client = change.client.as_ref().map(ToString::to_string);
                changes.push(vec![
                    place.position.into(),
                    place.seq.into(),
                    key.to_string().into(),
                    version.into(),
                    change.kind.as_str().into(),
                    change.id.as_str().into(),
                    change.state.as_str().into(),
                    client.clone().into(),
                    change.external_id.clone().into(),
                    change.at.into(),
                    String::from_utf8_lossy(&body).into_owned().into(),
                    digest.to_string().into(),
                ]);
                changed.insert(
                    key.clone(),
                    vec![
                        key.to_string().into(),
                        change.kind.as_str().into(),
                        version.into(),
                        change.state.as_str().into(),
                        client.into(),
                        change.external_id.clone().into(),
                        opened.into(),
                        place.position.into(),
                    ],
                );
            }
        }
    }
    let batch = Batch {
        seq: view.seq,
        time: view.time,
        last: view.last,
        accounts,
        previous: head.digest,
        digest: Hash::default(),
    };
    let batch = batch.seal(&digests).map_err(unwritable)?;
    let row = vec![
        batch.seq.into(),
        batch.time.into(),
        batch.last.into(),
        batch.accounts.into(),
        batch.previous.to_string().into(),
        batch.digest.to_string().into(),
    ];
    // First, so that of two writers one learns at once that it is late.
    connection.execute(sql::ADD_BATCH, row).await?;
    let account_row = |account: Account| {
        let totals = view.totals(&account);
        let overdrawn = account.owner.is_bounded() && totals.balance().is_below_zero();
        vec![
            numbers.get(&account).copied().unwrap_or_default().into(),
            account.to_string().into(),
            account.owner.to_string().into(),
            account.wallet.as_str().into(),
            account.asset.as_str().into(),
            totals.to_string().into(),
            u64::from(overdrawn).into(),
        ]
    };
    let accounts = touched.into_iter().map(account_row).collect();
    connection.write_rows(&sql::PUT_ACCOUNTS, accounts).await?;
    connection.write_rows(&sql::ADD_TRANSFERS, transfers).await?;
    connection.write_rows(&sql::ADD_CHANGES, changes).await?;
    connection.write_rows(&sql::PUT_RECORDS, changed.into_values().collect()).await?;
    Ok(batch)
}
