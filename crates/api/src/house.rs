//! What the interface needs of the server around it.

use std::sync::Arc;

use chain::BitcoinDecoder;
use custody::Hash;
use custody::name::Label;
use custody::payment::Allocate;
use custody::state::{Owner, State};
use custody::statement::Envelope;
use deposits::Own;
use ledger::{Books, Reconciliation};

/// The server, as the interface sees it. Calls may block for milliseconds: they run outside of the
/// asynchronous runtime where they take a lock.
pub trait House: Send + Sync + 'static {
    /// The clients' books.
    fn books(&self) -> &Books;

    /// Looks at the state under the newest final head. Held only for the time of the call.
    fn look(&self, look: &mut dyn FnMut(&State, &BitcoinDecoder));

    /// As [`House::look`], unless that would have to wait: then it does nothing and says false. Most questions come
    /// when nobody else looks, and another thread to wait in costs more than the look.
    fn try_look(&self, look: &mut dyn FnMut(&State, &BitcoinDecoder)) -> bool {
        let _ = look;
        false
    }

    /// The index of own scripts, shared with who follows the chain by it. Asked for once; without another, the
    /// interface has one of its own.
    fn own(&self) -> Arc<Own> {
        Arc::default()
    }

    /// The text behind a commitment, if the server has it.
    fn label(&self, commitment: &Hash) -> Option<String>;

    /// Keeps a statement with its labels until the log has it, and passes it on. Of one that the log has by now, or
    /// whose time is over, only the labels are kept.
    ///
    /// # Errors
    /// Why it is not kept, for the caller.
    fn submit(&self, envelope: &Envelope, labels: Vec<Label>) -> Result<(), String>;

    /// Lets the server's own machine ask for addresses.
    ///
    /// # Errors
    /// Why not.
    fn allocate(&self, allocate: Allocate) -> Result<Hash, String>;

    /// How the node is followed.
    fn chain(&self) -> ChainStatus;

    /// Compares the books with the network now, for each wallet.
    ///
    /// # Errors
    /// Why that cannot be done now.
    fn reconcile(&self) -> Result<Vec<Reconciliation>, String>;

    /// The own clock, seconds since 1970.
    fn now(&self) -> u64;
}

/// How the node is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainStatus {
    /// The height of the last block that was looked at.
    pub height: Option<u32>,
    /// A sentence for the operator.
    pub node: String,
    /// Whether deposits are credited: the node is followed up to its best block.
    pub following: bool,
}

/// Who calls: an enrolled person or machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Who.
    pub owner: Owner,
    /// The key of the connection.
    pub tls: Hash,
}
