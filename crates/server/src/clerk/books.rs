//! The books, for a thread that waits.

use ledger::{
    Account, Books, CommitError, Committed, DatabaseError, Posting, Record, RecordFilter, RecordKind,
    Refusal, Sent, Totals,
};
use tokio::runtime::Handle;

/// Most records that one look takes at a time.
const PAGE: usize = 1_000;

/// The books, with calls that block. Never used on a thread of the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Blocking {
    books: Books,
    runtime: Handle,
}

impl Blocking {
    pub(crate) fn new(books: Books, runtime: Handle) -> Self {
        Self { books, runtime }
    }

    pub(crate) fn books(&self) -> &Books {
        &self.books
    }

    /// For others who wait on the same runtime.
    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// Commits; see [`Books::commit`].
    pub(crate) fn commit(&self, posting: Posting) -> Result<Committed, Box<CommitError>> {
        Ok(self.wait(self.books.commit(posting))?)
    }

    /// Sends a posting behind all others; see [`Books::send`].
    pub(crate) fn send(&self, posting: Posting) -> Result<Sent, Box<CommitError>> {
        Ok(self.wait(self.books.send(posting))?)
    }

    /// What became of it.
    pub(crate) fn outcome(&self, sent: Sent) -> Result<Committed, Box<CommitError>> {
        Ok(self.wait(sent.outcome())?)
    }

    /// Commits, unless another replica was faster: then false, and the caller reads again.
    pub(crate) fn commit_or_lose(&self, posting: Posting) -> Result<bool, Box<CommitError>> {
        let Err(error) = self.commit(posting) else { return Ok(true) };
        match *error {
            CommitError::Refused(Refusal::Version { .. } | Refusal::Partly { .. }) => Ok(false),
            _ => Err(error),
        }
    }

    pub(crate) fn record(&self, kind: RecordKind, id: &str) -> Result<Option<Record>, DatabaseError> {
        self.wait(self.books.record(kind, id))
    }

    /// The number of the newest batch.
    pub(crate) fn newest(&self) -> Result<Option<u64>, DatabaseError> {
        Ok(self.wait(self.books.newest())?.map(|batch| batch.seq))
    }

    pub(crate) fn account(&self, account: &Account) -> Result<Totals, DatabaseError> {
        self.wait(self.books.account(account))
    }

    /// All records of a kind in a state, the oldest first.
    pub(crate) fn records(&self, kind: RecordKind, state: &str) -> Result<Vec<Record>, DatabaseError> {
        self.found(kind, Some(state.to_owned()))
    }

    /// All records of a kind, the oldest first.
    pub(crate) fn all(&self, kind: RecordKind) -> Result<Vec<Record>, DatabaseError> {
        self.found(kind, None)
    }

    fn found(&self, kind: RecordKind, state: Option<String>) -> Result<Vec<Record>, DatabaseError> {
        let filter = RecordFilter { kind, client: None, state, external_id: None };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.wait(self.books.records(&filter, after, PAGE))?;
            found.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }
}
