//! The clerk: one thread that keeps the books. It follows the chain for deposits, takes withdrawals from
//! request to settlement, compares books and network, asks for consolidations, looks at what recovery needs, and
//! writes the observation log.
//!
//! Whatever it knows it can make anew from the log, the node and the books. It may be killed at any point,
//! and several replicas may work on one database: each posting names the versions that it follows, so of
//! two that do the same one is refused and reads again.

mod books;
mod consolidate;
pub(crate) mod deposits;
mod observe;
mod reconcile;
mod recovery;
pub(crate) mod withdrawals;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ::deposits::Own;
use api::ChainStatus;
use chain::BitcoinDecoder;
use custody::document::Document;
use custody::state::State;
use ledger::{Asset, CommitError, RecordChange};

pub(crate) use books::Blocking;

use crate::desk::{Desk, now_s};
use crate::machine::Keys;
use crate::node::{Client, NodeError};
use crate::shelf::{Shelf, ShelfError};

/// How often the node is asked for what is new.
const POLL: Duration = Duration::from_secs(1);

/// The state of the record of a wallet.
const DECLARED: &str = "declared";

/// Why a turn of the clerk ended early. It is said, and the next turn tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClerkError {
    /// The books.
    #[error("the books: {0}")]
    Books(#[from] Box<CommitError>),
    /// The node.
    #[error("the node: {0}")]
    Node(#[from] NodeError),
    /// The register of recovery components.
    #[error("{0}")]
    Register(ShelfError),
    /// Something that should not be; with the next step.
    #[error("{0}")]
    Other(String),
}

impl ClerkError {
    /// Whether the books judged something and refused it: others may go on.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Books(error) if matches!(**error, CommitError::Refused(_)))
    }
}

impl From<ledger::DatabaseError> for ClerkError {
    fn from(error: ledger::DatabaseError) -> Self {
        Self::Books(Box::new(error.into()))
    }
}

/// What one turn works on.
pub(crate) struct At<'a> {
    /// The state under the newest final head.
    pub(crate) state: &'a State,
    pub(crate) decoder: &'a BitcoinDecoder,
    pub(crate) node: &'a Client,
    pub(crate) books: &'a Blocking,
    pub(crate) desk: &'a Desk,
    /// Bitcoin of the deployment's network.
    pub(crate) asset: &'a Asset,
    /// The own clock, seconds since 1970.
    pub(crate) now: u64,
}

/// How a clerk is set up.
pub(crate) struct Setting {
    /// The server's directory.
    pub(crate) directory: PathBuf,
    /// Bitcoin of the deployment's network.
    pub(crate) asset: Asset,
    /// The keys of a machine that may freeze.
    pub(crate) alarm: Option<Keys>,
    /// The directory of a machine that asks for consolidations.
    pub(crate) consolidator: Option<PathBuf>,
    /// How deposits are taken.
    pub(crate) deposits: deposits::Settings,
}

/// The clerk.
pub(crate) struct Clerk {
    desk: Arc<Desk>,
    books: Blocking,
    node: Client,
    decoder: BitcoinDecoder,
    asset: Asset,
    deposits: deposits::Deposits,
    withdrawals: withdrawals::Withdrawals,
    consolidate: consolidate::Consolidate,
    reconcile: reconcile::Reconcile,
    observe: observe::Observe,
    recovery: recovery::Recovery,
}

impl std::fmt::Debug for Clerk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clerk").field("asset", &self.asset).finish_non_exhaustive()
    }
}

impl Clerk {
    pub(crate) fn new(
        desk: Arc<Desk>,
        books: Blocking,
        node: Client,
        setting: Setting,
    ) -> Result<Self, ClerkError> {
        let decoder = desk.core().replica.decoder().clone();
        let reconcile = reconcile::Reconcile::new(setting.alarm);
        let shelf = Shelf::new(desk.genesis(), books.books().clone(), books.runtime());
        Ok(Self {
            desk,
            books,
            node,
            decoder,
            asset: setting.asset,
            deposits: deposits::Deposits::new(setting.deposits)?,
            withdrawals: withdrawals::Withdrawals::default(),
            consolidate: consolidate::Consolidate::open(setting.consolidator.as_deref())?,
            observe: observe::Observe::new(&setting.directory, Arc::clone(reconcile.alarm())),
            reconcile,
            recovery: recovery::Recovery::new(Arc::new(shelf)),
        })
    }

    /// The index of own scripts that deposits are found by.
    pub(crate) fn own(&self) -> Arc<Own> {
        self.deposits.own()
    }

    /// The register of recovery components in the books.
    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        self.recovery.shelf()
    }

    /// Works for ever.
    pub(crate) fn run(self) {
        self.run_every(POLL);
    }

    /// Works for ever. The node is asked at least so often, and when it has news.
    fn run_every(mut self, pause: Duration) {
        let mut last = String::new();
        let mut polled: Option<Instant> = None;
        let tip = deposits::Tip::watch(&self.desk, &self.node);
        loop {
            // The log may grow many times a second; the node is asked once, and when it says that it has news.
            let poll = tip.has_news() || polled.is_none_or(|at| at.elapsed() >= pause);
            if poll {
                polled = Some(Instant::now());
            }
            let said = self.turn(poll).err().map(|error| error.to_string()).unwrap_or_default();
            if said != last && !said.is_empty() {
                eprintln!("keyward-server: {said}");
            }
            self.desk.core().published.books_problem = (!said.is_empty()).then(|| said.clone());
            last = said;
            // Blocks wait for a log that is level, and nothing else is in a hurry.
            if self.deposits.behind() && self.desk.core().is_level() {
                polled = None;
            } else {
                self.wait(pause);
            }
        }
    }

    /// Sleeps until the log grows, the node has another block or a client changed the books, at most so long.
    fn wait(&self, pause: Duration) {
        let core = self.desk.core();
        let idle = |core: &mut crate::desk::Core| !std::mem::take(&mut core.clerk_woken);
        let woken = self.desk.clerk.wait_timeout_while(core, pause, idle);
        drop(woken.unwrap_or_else(PoisonError::into_inner));
    }

    fn turn(&mut self, poll: bool) -> Result<(), ClerkError> {
        let (state, level) = {
            let core = self.desk.core();
            (core.replica.state().clone(), core.is_level())
        };
        let at = At {
            state: &state,
            decoder: &self.decoder,
            node: &self.node,
            books: &self.books,
            desk: &self.desk,
            asset: &self.asset,
            now: now_s(),
        };
        // Books that are not those of the log are not written to.
        self.observe.turn(&at)?;
        judge_books(&at)?;
        declare_wallets(&at)?;
        let recovered = self.recovery.turn(&at);
        // By a log that lacks its newest part deposits would be taken for nobody's, and payments for theft.
        let poll = poll && level;
        if !level {
            let node = "the log is being fetched from the co-signers".to_owned();
            let height = self.deposits.follower().map(|follower| follower.tip().height);
            self.desk.core().published.followed = Some(ChainStatus { height, node, following: false });
        }
        // What the node cannot say now must not keep approved payments from their reservations.
        let followed = if poll { self.deposits.turn(&at) } else { Ok(()) };
        let withdrawn = self.withdrawals.turn(&at, &self.deposits);
        for what in self.withdrawals.breaches() {
            self.reconcile.breach(what);
        }
        if poll {
            self.reconcile.turn(&at, &self.deposits)?;
        }
        withdrawn.and(followed).and(recovered)?;
        if poll { self.consolidate.turn(&at, &self.deposits, &self.withdrawals) } else { Ok(()) }
    }
}

/// Refuses empty books under a log with payments: they were lost, and would let every client's money be
/// reserved for again.
fn judge_books(at: &At<'_>) -> Result<(), ClerkError> {
    // Wallets are declared here alone: what callers of the interface write makes no difference.
    let wallets = || at.books.records(ledger::RecordKind::Wallet, DECLARED);
    if !at.state.authorisations().is_empty() && wallets()?.is_empty() {
        let why = "the books are empty and the log has payments: restore the database, or name the right one; \
                   a deployment that paid before it kept books goes on with --books none";
        return Err(ClerkError::Other(why.into()));
    }
    Ok(())
}

/// Declares the wallets of the log with their models in the books, each before its first transfer.
fn declare_wallets(at: &At<'_>) -> Result<(), ClerkError> {
    for found in at.state.documents() {
        let Document::Wallet(wallet) = &found.document else { continue };
        if at.books.record(ledger::RecordKind::Wallet, wallet.id.as_str())?.is_none() {
            let declared = RecordChange::wallet(&wallet.id, wallet.model.into(), at.now);
            at.books.commit_or_lose(ledger::Posting { transfers: Vec::new(), records: vec![declared] })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
