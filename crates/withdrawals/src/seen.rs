//! What the log and the chain say of one withdrawal at this moment.

use custody::Hash;
use custody::effects::{Decoder, OutPoint};
use custody::name::Name;
use custody::state::State;
use ledger::{Amount, Owner};

use crate::log::Log;
use crate::record::{Output, Withdrawal, sum};

/// Confirmations after which the books follow the chain for good: as deep as an anchor must lie (P21).
pub const SETTLED_CONFIRMATIONS: u32 = custody::payment::ANCHOR_DEPTH;

/// Most renewals of one withdrawal that were not authorised and that the books look at: those that somebody
/// approved, then the oldest. A machine may ask for any number of them, and a record has a largest size.
pub const RENEWALS_LIMIT: usize = 32;

/// Most approvals that are told of one withdrawal, of those that count now: a record has a largest size.
pub const APPROVALS_LIMIT: usize = 64;

/// What the network says. All of it is as of one best block.
pub trait Chain {
    /// The transaction in the best chain that spends an output.
    fn spender(&self, outpoint: &OutPoint) -> Option<Spender>;
    /// Whether the transaction of an authorisation is signed.
    fn signed(&self, authorisation: &Hash) -> bool;
    /// Whether the node has it in its mempool.
    fn broadcast(&self, authorisation: &Hash) -> bool;
    /// Whether the node is followed up to its best block; else nothing is settled.
    fn following(&self) -> bool;
    /// Why no transaction could be proposed for a request that is approved, in words that stay the same
    /// while the reason does.
    fn waits_for(&self, _request: &Hash) -> Option<String> {
        None
    }
}

/// A transaction in the best chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spender {
    /// Its id, wire byte order.
    pub txid: Hash,
    /// Its confirmations, 1 in the best block.
    pub confirmations: u32,
}

/// What became of the statement that asked for the withdrawal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The log may still take it.
    Waiting,
    /// It is in the log.
    Asked,
    /// The log has consumed it, for nothing (P2).
    Rejected(String),
    /// Log time is past its `not_after`, and it is not in the log.
    Late,
}

/// Why nothing more can be authorised for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// Log time is past its end.
    Ended,
    /// Another rule set is in force than when it was asked (P29).
    Lapsed,
    /// Who asked took it back, before anything was authorised.
    Withdrawn,
    /// Another request of the lineage was authorised, which it does not renew.
    Superseded,
}

/// A freeze that stops a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frozen {
    /// The freeze.
    pub freeze: Hash,
    /// Who froze: `person:alice`.
    pub by: String,
    /// Log time.
    pub at: u64,
}

/// A request of the lineage, in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Its id.
    pub id: Hash,
    /// Who asked: `person:carol`.
    pub by: String,
    /// Log time of the request.
    pub at: u64,
    /// Who pays by the request; nobody where a client is missing.
    pub payer: Option<Owner>,
    /// What it pays; nothing for a cancel.
    pub outputs: Vec<Output>,
    /// What of that comes back at the wallet's own house address, and so does not leave.
    pub returns: Amount,
    /// Highest fee.
    pub fee_max: Amount,
    /// Its end in log time.
    pub end: u64,
    /// Approvals so far: who, by which statement.
    pub approvals: Vec<(Name, Hash)>,
    /// Whether the approvals satisfy the policy in force, as far as that is known before its transaction is.
    pub approved: bool,
    /// What it waits for when it is approved and nothing is proposed.
    pub waits_for: Option<String>,
    /// The freeze that stops it.
    pub frozen: Option<Frozen>,
    /// Why nothing more can be authorised for it.
    pub gone: Option<Gone>,
}

impl Asked {
    /// The most that can leave for it, fee included.
    pub fn need(&self) -> Amount {
        let all = sum(self.outputs.iter().map(|output| output.amount).chain([self.fee_max]));
        all.checked_sub(self.returns).unwrap_or(all)
    }

    /// Whether it only returns coins to the own wallet.
    pub fn is_cancel(&self) -> bool {
        self.outputs.is_empty()
    }
}

/// A transaction that the log allowed for the withdrawal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paid {
    /// The statement that proposed it.
    pub authorisation: Hash,
    /// Which of the requests it pays.
    pub request: Hash,
    /// Its id, wire byte order.
    pub txid: Hash,
    /// What leaves by it for this withdrawal, without the fee: zero for a cancel or a consolidation.
    pub amount: Amount,
    /// The part of its fee that falls on this withdrawal.
    pub fee: Amount,
    /// Log time.
    pub at: u64,
    /// The batch that holds it.
    pub height: u64,
    /// Whether it is signed.
    pub signed: bool,
    /// Whether the node has it in its mempool.
    pub broadcast: bool,
    /// Its confirmations; 0 outside of the best chain.
    pub confirmations: u32,
    /// Whether a quorum showed the log that it is excluded (P22).
    pub excluded: bool,
    /// Whether another transaction, [`SETTLED_CONFIRMATIONS`] deep, spends one of its inputs.
    pub overtaken: bool,
}

impl Paid {
    /// What leaves by it.
    pub fn taken(&self) -> Amount {
        sum([self.amount, self.fee].into_iter())
    }
}

/// What is seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The own clock, seconds since 1970.
    pub now: u64,
    /// The height of the final head.
    pub height: u64,
    /// What became of the statement that began the withdrawal.
    pub fate: Fate,
    /// The requests of the lineage, the first one first, then by log time.
    pub requests: Vec<Asked>,
    /// Whether there are further ones over [`RENEWALS_LIMIT`], for which something could be authorised.
    pub more: bool,
    /// The last of the requests that was authorised. From then on the lineage has anchors.
    pub latest: Option<Hash>,
    /// The transactions that the log allowed, the oldest first.
    pub paid: Vec<Paid>,
    /// Whether a transaction that is not one of these, [`SETTLED_CONFIRMATIONS`] deep, spends an anchor.
    pub anchors_gone: bool,
    /// Whether the node is followed; if not, what is said of the chain here says nothing.
    pub following: bool,
}

impl Seen {
    /// What the state under the newest final head and the chain say. Who looks at many asks [`Log::seen`].
    pub fn of(
        state: &State,
        decoder: &dyn Decoder,
        chain: &dyn Chain,
        withdrawal: &Withdrawal,
        now: u64,
    ) -> Self {
        Log::of(state, decoder).seen(chain, withdrawal, now)
    }

    /// A request of the lineage.
    pub fn asked(&self, id: &Hash) -> Option<&Asked> {
        self.requests.iter().find(|asked| asked.id == *id)
    }
}
