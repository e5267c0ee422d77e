//! Records: the state machines beside the books, changed in the same commit as the money.

use custody::name::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Model;
use crate::transfer::Place;

/// Largest body of a record in bytes of canonical JSON: a signed request with its approvals, generously.
pub const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// Sorts of records. Ids are unique within a sort.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// A wallet and its custody model: before it stands here, no account of the wallet can be used.
    Wallet,
    /// A client.
    Client,
    /// An address and whose it is.
    Address,
    /// An own output in a block, unspent or not.
    Coin,
    /// A deposit, from seen to credited.
    Deposit,
    /// A withdrawal, from requested to settled.
    Withdrawal,
    /// A movement between own addresses on the network.
    Consolidation,
    /// A caller's idempotency key and the answer that was given.
    IdempotencyKey,
    /// Where a reader of something else stopped: the last block seen, the last log entry read.
    Cursor,
    /// A comparison of the books with the network.
    Reconciliation,
    /// An entry of the register of recovery components, by its number. Its body is the line of the register.
    RecoveryEntry,
    /// How a thing stands that the register asks for: due, overdue, failed.
    RecoveryRow,
}

impl RecordKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Wallet,
        Self::Client,
        Self::Address,
        Self::Coin,
        Self::Deposit,
        Self::Withdrawal,
        Self::Consolidation,
        Self::IdempotencyKey,
        Self::Cursor,
        Self::Reconciliation,
        Self::RecoveryEntry,
        Self::RecoveryRow,
    ];

    /// The word in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::Client => "client",
            Self::Address => "address",
            Self::Coin => "coin",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Consolidation => "consolidation",
            Self::IdempotencyKey => "idempotency-key",
            Self::Cursor => "cursor",
            Self::Reconciliation => "reconciliation",
            Self::RecoveryEntry => "recovery-entry",
            Self::RecoveryRow => "recovery-row",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Which record: its sort and its id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordKey {
    /// The sort.
    pub kind: RecordKind,
    /// The id.
    pub id: String,
}

impl std::fmt::Display for RecordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.id)
    }
}

/// A new version of a record. It is refused unless the version before is the one that the caller saw.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RecordChange {
    /// The sort.
    pub kind: RecordKind,
    /// The id, within its sort: the rules of a [`crate::transfer::TransferId`].
    pub id: String,
    /// The version that this one follows; 0 for a record that is not there yet.
    pub expect: u64,
    /// The state it is in, a word of its state machine.
    pub state: String,
    /// Whose it is.
    pub client: Option<Name>,
    /// What the client calls it.
    pub external_id: Option<String>,
    /// When it changed, in seconds since 1970, for its owner: the books go by [`Place::time`].
    pub at: u64,
    /// Everything else: integers below 2⁵³, no fractions, keys in ASCII.
    pub body: Value,
}

impl RecordChange {
    /// Which record.
    pub fn key(&self) -> RecordKey {
        RecordKey { kind: self.kind, id: self.id.clone() }
    }

    /// Declares a wallet and its custody model, which then never changes.
    pub fn wallet(name: &Name, model: Model, at: u64) -> Self {
        Self {
            kind: RecordKind::Wallet,
            id: name.to_string(),
            expect: 0,
            state: "declared".to_owned(),
            client: None,
            external_id: None,
            at,
            body: serde_json::json!({ "model": model.as_str() }),
        }
    }

    /// The model that a record of a wallet declares.
    pub(crate) fn model(&self) -> Option<Model> {
        self.body.get("model").and_then(Value::as_str).and_then(Model::parse)
    }
}

/// A record as it stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Record {
    /// The position of its first version: its place in pages of records.
    pub opened: u64,
    /// How many versions there are.
    pub version: u64,
    /// Where the newest stands.
    pub place: Place,
    /// The newest.
    #[serde(flatten)]
    pub change: RecordChange,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back() {
        for kind in RecordKind::ALL {
            assert_eq!(RecordKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
