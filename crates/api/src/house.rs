//! What the interface needs of the server around it.

use std::sync::Arc;

use chain::BitcoinDecoder;
use custody::Hash;
use custody::name::Label;
use custody::payment::Allocate;
use custody::state::{Owner, State};
use custody::statement::Envelope;
use deposits::Own;
use ledger::{Books, DatabaseError, Reconciliation};
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

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

    /// What people have to renew or to move soon, or should have by now, a sentence each: what ends, and wallets that
    /// hold more than they should.
    fn due(&self) -> Vec<String>;

    /// Compares the books with the network now, for each wallet.
    ///
    /// # Errors
    /// Why that cannot be done now.
    fn reconcile(&self) -> Result<Vec<Reconciliation>, String>;

    /// The register of recovery components as people published it, and how everything in it stands now.
    ///
    /// # Errors
    /// Why it cannot be read now.
    fn recovery(&self) -> Result<Recovery, NotTaken>;

    /// Takes the next entries of that register, in order; those that are there are passed over. All of them are taken,
    /// durably, or none.
    ///
    /// # Errors
    /// See [`NotTaken`].
    fn publish(&self, entries: &[Value]) -> Result<Recovery, NotTaken>;

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

/// The register of recovery components, as people published it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Recovery {
    /// How many entries there are.
    pub entries: u64,
    /// The hash of the last one, 64 hex digits; of genesis before there is one.
    #[schema(value_type = String)]
    pub head: Hash,
    /// What it asks for, and how that stands.
    pub rows: Vec<RecoveryRow>,
}

/// One thing that the register asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct RecoveryRow {
    /// What it is about, the same from day to day.
    #[schema(example = "REC-09/1.2/paper/7d1a8e0b…")]
    pub id: String,
    /// The requirement.
    #[schema(example = "REC-09")]
    pub requirement: String,
    /// The set of components, by the hash of the report that made it.
    #[schema(value_type = Option<String>)]
    pub set: Option<Hash>,
    /// The component.
    #[schema(example = "1.2")]
    pub component: Option<String>,
    /// Who holds it.
    pub holder: Option<String>,
    /// Where it lies.
    pub site: Option<String>,
    /// What it is, in words.
    #[schema(example = "whole on paper")]
    pub what: String,
    /// `ok`, `due`, `overdue` or `failed`.
    pub standing: String,
    /// Until when it has to be done.
    #[serde(serialize_with = "instant")]
    #[schema(value_type = Option<String>)]
    pub due_at: Option<u64>,
    /// What is wrong.
    pub why: Option<String>,
    /// The row as a sentence for operators, if it is overdue or failed.
    pub alarm: Option<String>,
}

fn instant<S: Serializer>(at: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    at.map(crate::time::rfc3339).serialize(to)
}

/// Why entries of the register were not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotTaken {
    /// An entry of this number is there, and is another one.
    Other {
        /// Its number, from 1.
        number: u64,
        /// The hash of the entry that is there.
        here: Hash,
        /// The hash of the entry that was sent.
        sent: Hash,
    },
    /// The entries after this number are missing, before those that were sent.
    Gap(u64),
    /// The register does not take an entry, for this reason.
    Refused(String),
    /// The register in the books cannot be read now, for this reason.
    Unreadable(String),
    /// The books. What was sent may be there.
    Books(DatabaseError),
}
