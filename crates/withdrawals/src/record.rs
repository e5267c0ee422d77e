//! What the books keep of a withdrawal: the body of its record.

use custody::Hash;
use custody::name::Name;
use ledger::{Account, Amount, Asset, Code, Owner, Record, RecordChange, RecordKind, TransferId};
use serde::{Deserialize, Serialize};

/// Most lines of a timeline. A withdrawal has about ten; one that is bumped for weeks has more, and then
/// the oldest but the first go.
pub const EVENTS_LIMIT: usize = 100;

/// Most characters of the note of a line.
pub const NOTE_LIMIT: usize = 200;

/// Where a withdrawal stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Reserved in the books; the signed request is not in the log yet.
    Requested,
    /// In the log; people have to approve.
    AwaitingApproval,
    /// Approved as far as the log says, and no transaction can be proposed yet.
    Delayed {
        /// What it waits for.
        why: String,
    },
    /// A freeze stops it. It goes on when a quorum resumes.
    Frozen {
        /// The freeze.
        by: Hash,
        /// Whether a transaction was final before: then one that is signed may be hidden, and may confirm.
        #[serde(default)]
        authorised: bool,
    },
    /// A transaction is final in the log. The point of no return (P23).
    Authorised,
    /// The transaction is signed.
    Signed,
    /// The node has it in its mempool.
    Broadcast,
    /// It is in a block.
    Confirming {
        /// The confirmations that it has.
        confirmations: u32,
        /// Those that it needs.
        needed: u32,
    },
    /// Deep enough; the books have the actual amounts. An end.
    Settled,
    /// The log does not take the request. An end.
    Rejected {
        /// Why.
        why: String,
    },
    /// Its time was over before anything was authorised, or its rule set (P29). An end.
    Expired,
    /// Withdrawn before anything was authorised, or its coins went back to the own wallet. An end.
    Cancelled,
    /// Its coins were spent by a transaction that pays others: it can never be paid. An end.
    Replaced,
    /// The books could not reserve it, so nothing is proposed for it. It ends with its request, unless a renewal
    /// can be reserved for. If the log authorises it all the same it stays so: somebody else proposed it.
    Unfunded {
        /// Why.
        why: String,
    },
}

/// What it pays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The destination, by handle.
    pub destination: Name,
    /// How much, in base units.
    pub amount: Amount,
    /// The address, where the address book does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A reservation: a pending transfer from the payer to in-transit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The pending transfer.
    pub transfer: TransferId,
    /// How much.
    pub amount: Amount,
}

/// A line of the timeline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What happened: the word of the new state, or `approved`, `bumped`, `held`, `released`. States that
    /// nobody saw are not told, but for `authorised`.
    pub what: String,
    /// Who did it: `person:alice`, `machine:erp`, `server`, `co-signers`, `network`; `log` for its time and rules.
    pub by: String,
    /// The height of the log that shows it, if the log does.
    pub height: Option<u64>,
    /// The transaction concerned, as people write its id.
    pub txid: Option<String>,
    /// More words.
    pub note: Option<String>,
}

/// A withdrawal. Its id is the statement that asked for it (P19): the first of its lineage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// The first request of the lineage.
    pub id: Hash,
    /// Who asked, as the log names it: `machine erp`.
    pub requester: String,
    /// Whose coins move.
    pub owner: Owner,
    /// From which wallet.
    pub wallet: Name,
    /// Of what.
    pub asset: Asset,
    /// What it pays by the request that counts: the newest that is reserved, then the one authorised last,
    /// at last the one that was paid. Nothing when that is a cancel.
    pub outputs: Vec<Output>,
    /// The highest fee of that request.
    pub fee_max: Amount,
    /// Log time after which nothing may be authorised for that request, in seconds since 1970.
    pub end: u64,
    /// The signed request (DSSE envelope, standard base64) while the log does not have it, to be sent again.
    pub envelope: Option<String>,
    /// Until when the log can take it, in seconds since 1970.
    pub not_after: Option<u64>,
    /// What is reserved, in order.
    pub holds: Vec<Hold>,
    /// What was reserved and is no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Hold>,
    /// Those of its requests that the books could not reserve for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Hash>,
    /// The requests of the lineage that are known, the first one first.
    pub requests: Vec<Hash>,
    /// Where it stands.
    pub state: State,
    /// The transaction that pays it, once one is authorised: the newest, then the one that confirmed.
    pub txid: Option<String>,
    /// What the network took, once settled.
    pub fee: Option<Amount>,
    /// The height of the log that this version was made of. Who has less of the log has nothing to add.
    #[serde(default)]
    pub height: u64,
    /// How many transactions the log has allowed for it.
    #[serde(default)]
    pub transactions: u64,
    /// The approvals (statements) that the timeline has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Hash>,
    /// What happened, the oldest first.
    pub events: Vec<Event>,
}

/// Why the books cannot take a withdrawal on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WithdrawalError {
    /// Nobody is named whose coins move.
    #[error("wallet {0} holds coins of clients: name the client whose coins move")]
    NoClient(Name),
    /// The amounts overflow.
    #[error("the amounts are more than there is: ask for less")]
    Amount,
    /// It is part of a withdrawal that has begun.
    #[error("the request renews {0}: it goes on with the withdrawal of that one, and begins none")]
    Renews(Hash),
    /// A record that is not of this form.
    #[error("withdrawal {id} cannot be read from the books: {why}; use the release that wrote it")]
    Record {
        /// The record.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// The log has no such request or wallet.
    #[error("the log has no {0}: wait until the server has the newest final head, and ask again")]
    Unknown(String),
}

impl State {
    /// The words of the states in which something is still to come, for filters.
    pub const OPEN: [&str; 9] = [
        "requested",
        "awaiting-approval",
        "delayed",
        "frozen",
        "authorised",
        "signed",
        "broadcast",
        "confirming",
        "unfunded",
    ];

    /// Its word: the column `state` of the record, and the events of the timeline.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Delayed { .. } => "delayed",
            Self::Frozen { .. } => "frozen",
            Self::Authorised => "authorised",
            Self::Signed => "signed",
            Self::Broadcast => "broadcast",
            Self::Confirming { .. } => "confirming",
            Self::Settled => "settled",
            Self::Rejected { .. } => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Replaced => "replaced",
            Self::Unfunded { .. } => "unfunded",
        }
    }

    /// Whether something is still to come.
    pub fn is_open(&self) -> bool {
        Self::OPEN.contains(&self.word())
    }

    /// Whether a transaction that pays it is final in the log: from then on it may confirm, whatever people
    /// do, and a cancel takes approvals and a transaction of its own (P23).
    pub fn point_of_no_return_passed(&self) -> bool {
        match self {
            Self::Frozen { authorised, .. } => *authorised,
            Self::Authorised | Self::Signed | Self::Broadcast | Self::Confirming { .. } => true,
            Self::Settled | Self::Replaced => true,
            Self::Requested | Self::AwaitingApproval | Self::Delayed { .. } | Self::Rejected { .. } => false,
            Self::Expired | Self::Cancelled | Self::Unfunded { .. } => false,
        }
    }
}

impl Withdrawal {
    /// The account that pays.
    pub fn payer(&self) -> Account {
        Account::new(self.owner.clone(), &self.wallet, &self.asset)
    }

    /// The account of what is on its way.
    pub fn in_transit(&self) -> Account {
        Account::new(Owner::InTransit, &self.wallet, &self.asset)
    }

    /// The account of the outside.
    pub fn external(&self) -> Account {
        Account::new(Owner::External, &self.wallet, &self.asset)
    }

    /// All that is reserved.
    pub fn reserved(&self) -> Amount {
        sum(self.holds.iter().map(|hold| hold.amount))
    }

    /// What its reservations are for: of the account `fees` nothing but the network's fee.
    pub(crate) fn hold_code(&self) -> Code {
        if self.owner == Owner::Fees { Code::NetworkFee } else { Code::Withdrawal }
    }

    /// Whether its money has moved for good: nothing changes it any more.
    pub fn is_final(&self) -> bool {
        self.fee.is_some()
    }

    /// The next version of its record: version `expect` + 1.
    pub fn record_change(&self, expect: u64, external_id: Option<String>, at: u64) -> RecordChange {
        let client = match &self.owner {
            Owner::Client(name) => Some(name.clone()),
            _ => None,
        };
        RecordChange {
            kind: RecordKind::Withdrawal,
            id: self.id.to_string(),
            expect,
            state: self.state.word().to_owned(),
            client,
            external_id,
            at,
            // Cannot fail: no map has keys other than text.
            body: serde_json::to_value(self).unwrap_or_default(),
        }
    }

    /// Reads it from its record.
    ///
    /// # Errors
    /// [`WithdrawalError::Record`], also for a draft that nobody has signed.
    pub fn of(record: &Record) -> Result<Self, WithdrawalError> {
        let wrong = |why: String| WithdrawalError::Record { id: record.change.id.clone(), why };
        let read: Self =
            serde_json::from_value(record.change.body.clone()).map_err(|error| wrong(error.to_string()))?;
        if read.id.to_string() == record.change.id {
            Ok(read)
        } else {
            Err(wrong("its body is of another withdrawal".into()))
        }
    }

    /// Adds a line to the timeline.
    pub(crate) fn note(&mut self, mut event: Event) {
        event.note = event.note.map(|note| note.chars().take(NOTE_LIMIT).collect());
        self.events.push(event);
        let over = self.events.len().saturating_sub(EVENTS_LIMIT);
        self.events.drain(1..over.saturating_add(1));
    }
}

/// A sum of amounts, at most [`Amount::MAX`].
pub(crate) fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, |all, one| all.checked_add(one).unwrap_or(Amount::MAX))
}

/// A txid as people write it: the bytes of the wire in reverse.
pub(crate) fn shown(txid: &Hash) -> String {
    let mut bytes = txid.0;
    bytes.reverse();
    Hash(bytes).to_string()
}
