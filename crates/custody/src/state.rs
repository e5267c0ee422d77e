//! The state that the log makes: what is in force, what is asked, what was allowed (P6).
//!
//! The state changes only by [`State::apply`] (in `apply`), which is total, deterministic and pure.
//! Everything here reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bytes::{Hash, PublicKey};
use crate::charge::Charge;
use crate::checkpoint::Checkpoint;
use crate::cosigner_set::SetRecord;
use crate::decide::Rulebook;
use crate::document::{
    Client, CosignerCard, Destination, Document, Grant, Kind, Machine, Person, Slot, Wallet,
};
use crate::effects::{Branch, OutPoint, PinnedHeader, Sats};
use crate::genesis::Genesis;
use crate::map::MerkleMap;
use crate::name::Name;
use crate::payment::{Request, TypedTransaction};
use crate::policy::Policy;
use crate::resharing::{Deal, ResharingRecord};
use crate::statement::{Scope, key_id};
use crate::table::Table;
use crate::tree::Frontier;

/// Who a key belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// A human being.
    Person(Name),
    /// A program.
    Machine(Name),
    /// A co-signer (its statement key).
    Cosigner(Name),
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person(name) => write!(f, "{name}"),
            Self::Machine(name) => write!(f, "machine {name}"),
            Self::Cosigner(name) => write!(f, "co-signer {name}"),
        }
    }
}

/// A signing key that the log knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The public key.
    pub public: PublicKey,
    /// Whose it is.
    pub owner: Owner,
    /// Log time at which it went out of use.
    pub revoked_at: Option<u64>,
    /// Whether its own person took it out of use, and not a quorum.
    pub self_revoked: bool,
}

/// A document in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InForce {
    /// Its hash, the version.
    pub hash: Hash,
    /// The document.
    pub document: Document,
    /// Log time since which it is in force.
    pub since: u64,
    /// The same on the delay clock, in seconds (since rule set 3; not written before).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_delay: Option<u64>,
    /// Who proposed it; nobody for genesis.
    pub proposer: Option<Name>,
}

/// Where a proposal stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Collecting approvals.
    Open,
    /// Approved; an upgrade that waits for the co-signers' support.
    Supporting,
    /// Approved; in force once the delay clock reaches this many seconds.
    Waiting(u64),
    /// It was or is in force.
    Done,
    /// Somebody stopped it.
    Vetoed(Name),
    /// It could no longer enter into force; says why.
    Void(String),
}

/// One person's approval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// The statement.
    pub id: Hash,
    /// The key that signed.
    pub key: Hash,
    /// The policy that it was given under.
    pub decides: Hash,
    /// Log time after which it counts no more.
    pub not_after: u64,
    /// When the log took it in (since rule set 3; not written before).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Moment>,
}

/// A moment on both clocks, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// Log time.
    pub time: u64,
    /// The delay clock (P13).
    pub delay: u64,
}

/// A document on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proposal {
    /// The document.
    pub document: Document,
    /// The version that it replaces.
    pub replaces: Option<Hash>,
    /// Who proposed it.
    pub proposer: Owner,
    /// Log time after which it can no longer be approved.
    pub not_after: u64,
    /// Approvals by person.
    pub approvals: BTreeMap<Name, Approval>,
    /// Co-signers that support it (upgrades).
    pub supports: BTreeSet<Name>,
    /// Where it stands.
    pub stage: Stage,
}

/// A freeze in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FreezeRecord {
    /// What it stops.
    pub scope: Scope,
    /// Who froze.
    pub by: Owner,
    /// Log time.
    pub at: u64,
}

/// A request and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RequestRecord {
    /// What was asked.
    pub request: Request,
    /// Who asked.
    pub requester: Owner,
    /// Log time of the request.
    pub at: u64,
    /// The rule set that it was asked under: under another one it has lapsed (P29).
    pub rules: u32,
    /// Approvals by person.
    pub approvals: BTreeMap<Name, Approval>,
    /// The first request of its chain of renewals; its own id when it renews nothing.
    pub lineage: Hash,
    /// The request that took its place, or withdrew it; of one that withdraws, itself.
    pub renewed_by: Option<Hash>,
    /// The transactions that were allowed for it, in order.
    pub authorised: Vec<Hash>,
}

/// A request and its renewals: at most one transaction of all of them can confirm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lineage {
    /// The anchors that every further transaction of it spends.
    pub anchors: Vec<OutPoint>,
    /// Those of its transactions that a confirmed one excludes for ever, by their authorisation (P22).
    pub excluded: BTreeSet<Hash>,
    /// What it has been charged so far, fees included.
    pub charged: Sats,
    /// The largest amount of its authorised requests; what a larger one adds is charged.
    pub amount: Sats,
    /// The last of its requests that was authorised.
    pub latest: Hash,
}

/// An output that ties transactions together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AnchorRecord {
    /// The lineages that are bound to it.
    pub lineages: BTreeSet<Hash>,
    /// The highest fee of a transaction that spends it.
    pub fee: Sats,
}

/// A transaction that was allowed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Authorisation {
    /// The requests that it pays.
    pub requests: Vec<Hash>,
    /// The wallet that pays.
    pub wallet: Name,
    /// The transaction, its inputs described.
    pub transaction: TypedTransaction,
    /// Its id, wire byte order.
    pub txid: Hash,
    /// Its fee.
    pub fee: Sats,
    /// Log time.
    pub at: u64,
    /// The batch that holds it.
    pub height: u64,
    /// Log time after which no share may leave.
    pub end: u64,
    /// The policy rules that allowed it, by request.
    pub rules: Vec<Vec<Name>>,
    /// The version of the lease that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Hash>,
}

/// A dealt account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SlotRecord {
    /// The account and the commitments.
    pub slot: Slot,
    /// Who holds shares, in order of share identifiers.
    pub holders: Vec<Name>,
    /// How many of them sign.
    pub threshold: u32,
    /// The sets of holders that proved that they can sign.
    pub proved: BTreeSet<Vec<Name>>,
    /// The wallet on it.
    pub wallet: Option<Name>,
    /// The ceremony whose account it is, where a resharing dealt these shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reshares: Option<Hash>,
    /// What took the place of these shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<Superseded>,
}

/// Shares that are out of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Superseded {
    /// The resharing whose shares took their place.
    pub by: Hash,
    /// Log time.
    pub at: u64,
}

/// A run of allocated addresses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Allocation {
    /// Whose they are.
    pub client: Name,
    /// How many.
    pub count: u32,
    /// Log time.
    pub at: u64,
}

/// The last anchored head of an observation log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Observation {
    /// How many entries it had.
    pub size: u64,
    /// The root of its Merkle tree.
    pub root: Hash,
    /// Who anchored it.
    pub by: Owner,
    /// Log time.
    pub at: u64,
}

/// The times and positions that a batch moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Clock {
    /// The last batch.
    pub height: u64,
    /// Log time, seconds since 1970 (P13).
    pub time: u64,
    /// The delay clock, seconds (P13).
    pub delay: u64,
    /// The rule set in force.
    pub rules: u32,
    /// The highest block that a proof has shown.
    pub tip: u32,
}

/// The state after some batch.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) genesis_hash: Hash,
    pub(crate) asset: String,
    pub(crate) clock: Clock,
    pub(crate) log: Frontier,
    pub(crate) facts: MerkleMap,
    pub(crate) clocks: Table<u8, Clock>,
    pub(crate) documents: Table<(Kind, String), InForce>,
    pub(crate) proposals: Table<Hash, Proposal>,
    pub(crate) waiting: Table<(u64, Hash), ()>,
    pub(crate) keys: Table<Hash, KeyRecord>,
    pub(crate) consumed: Table<(u64, Hash), String>,
    pub(crate) freezes: Table<Hash, FreezeRecord>,
    pub(crate) requests: Table<Hash, RequestRecord>,
    pub(crate) lineages: Table<Hash, Lineage>,
    pub(crate) anchors: Table<OutPoint, AnchorRecord>,
    pub(crate) authorisations: Table<Hash, Authorisation>,
    pub(crate) transactions: Table<Hash, Hash>,
    pub(crate) charges: Table<(u64, Hash), Sats>,
    pub(crate) spent: Table<(u64, Hash, u32), Charge>,
    pub(crate) leases: Table<Name, u32>,
    pub(crate) ripening: Table<(u64, Hash), ()>,
    pub(crate) rulebook: Option<Arc<Rulebook>>,
    pub(crate) slots: Table<(Hash, u32), SlotRecord>,
    pub(crate) next_index: Table<(Name, Branch), u32>,
    pub(crate) allocations: Table<(Name, Branch, u32), Allocation>,
    pub(crate) observations: Table<Name, Observation>,
    pub(crate) resharings: Table<Hash, ResharingRecord>,
    pub(crate) deals: Table<(Hash, u32), BTreeMap<Name, Deal>>,
    pub(crate) sets: Table<u64, SetRecord>,
}

macro_rules! lookup {
    ($(#[doc = $doc:literal] $name:ident, $kind:ident, $type:ty;)+) => {$(
        #[doc = $doc]
        pub fn $name(&self, id: &Name) -> Option<&$type> {
            match &self.document(Kind::$kind, id.as_str())?.document {
                Document::$kind(found) => Some(found),
                _ => None,
            }
        }
    )+};
}

impl State {
    /// The deployment.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The hash of genesis.
    pub fn genesis_hash(&self) -> Hash {
        self.genesis_hash
    }

    /// Times and positions.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The state hash: the root of the Merkle map of all facts.
    pub fn hash(&self) -> Hash {
        self.facts.root()
    }

    /// The map itself, to prove single facts from.
    pub fn facts(&self) -> &MerkleMap {
        &self.facts
    }

    /// How many entries the log has.
    pub fn log_size(&self) -> u64 {
        self.log.size()
    }

    /// The checkpoint of the log, with the state hash after the last batch.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::head(&self.genesis.log_origin(), self.log.size(), self.log.root(), &self.hash())
    }

    /// A document in force.
    pub fn document(&self, kind: Kind, subject: &str) -> Option<&InForce> {
        self.documents.get(&(kind, subject.to_owned()))
    }

    /// All documents in force.
    pub fn documents(&self) -> impl Iterator<Item = &InForce> {
        self.documents.iter().map(|(_, found)| found)
    }

    lookup! {
        /// A person.
        person, Person, Person;
        /// A machine.
        machine, Machine, Machine;
        /// A destination.
        destination, Destination, Destination;
        /// A wallet.
        wallet, Wallet, Wallet;
        /// A client.
        client, Client, Client;
        /// A co-signer's keys.
        cosigner, Cosigner, CosignerCard;
    }

    /// The policy in force and its hash.
    pub fn policy(&self) -> Option<(&Policy, Hash)> {
        let found = self.document(Kind::Policy, "")?;
        match &found.document {
            Document::Policy(policy) => Some((policy, found.hash)),
            _ => None,
        }
    }

    /// The policy in force, opened.
    pub fn rulebook(&self) -> Option<&Rulebook> {
        self.rulebook.as_deref()
    }

    /// The header that proofs start from.
    pub fn header(&self) -> PinnedHeader {
        match self.document(Kind::Header, "").map(|found| &found.document) {
            Some(Document::Header(header)) => *header,
            Some(_) | None => self.genesis.header,
        }
    }

    /// Proposals by id.
    pub fn proposals(&self) -> &Table<Hash, Proposal> {
        &self.proposals
    }

    /// Freezes in force by id.
    pub fn freezes(&self) -> &Table<Hash, FreezeRecord> {
        &self.freezes
    }

    /// Requests by id.
    pub fn requests(&self) -> &Table<Hash, RequestRecord> {
        &self.requests
    }

    /// Allowed transactions by the id of the statement that proposed them.
    pub fn authorisations(&self) -> &Table<Hash, Authorisation> {
        &self.authorisations
    }

    /// Lineages by the id of their first request.
    pub fn lineages(&self) -> &Table<Hash, Lineage> {
        &self.lineages
    }

    /// Anchors by outpoint.
    pub fn anchors(&self) -> &Table<OutPoint, AnchorRecord> {
        &self.anchors
    }

    /// Dealt accounts by ceremony, or resharing, and position.
    pub fn slots(&self) -> &Table<(Hash, u32), SlotRecord> {
        &self.slots
    }

    /// Runs of allocated addresses by wallet, branch and first index.
    pub fn allocations(&self) -> &Table<(Name, Branch, u32), Allocation> {
        &self.allocations
    }

    /// Resharings by the hash that names their shares.
    pub fn resharings(&self) -> &Table<Hash, ResharingRecord> {
        &self.resharings
    }

    /// What was dealt in resharings that are not complete, by resharing, position of the account, and dealer.
    pub fn deals(&self) -> &Table<(Hash, u32), BTreeMap<Name, Deal>> {
        &self.deals
    }

    /// The last anchored head of each observation log.
    pub fn observations(&self) -> &Table<Name, Observation> {
        &self.observations
    }

    /// The next index to be allocated.
    pub fn next_index(&self, wallet: &Name, branch: Branch) -> u32 {
        self.next_index.get(&(wallet.clone(), branch)).copied().unwrap_or(0)
    }

    /// The dealt account under a wallet, with the shares that sign for it now.
    pub fn slot_of(&self, wallet: &Wallet) -> Option<&SlotRecord> {
        self.dealt(&wallet.ceremony, wallet.slot).map(|(_, slot)| slot)
    }

    /// A key that the log knows, revoked or not.
    pub fn key(&self, id: &Hash) -> Option<&KeyRecord> {
        self.keys.get(id)
    }

    /// Whether a machine has a grant.
    pub fn granted(&self, owner: &Owner, grant: Grant) -> bool {
        match owner {
            Owner::Machine(name) => self.machine(name).is_some_and(|m| m.grants.contains(&grant)),
            Owner::Person(_) | Owner::Cosigner(_) => false,
        }
    }

    /// Whose TLS key this is: only keys in force open connections.
    pub fn tls_owner(&self, key: &PublicKey) -> Option<Owner> {
        self.documents().find_map(|found| match &found.document {
            Document::Person(p) => p
                .keys
                .iter()
                .any(|k| k.tls == *key && self.key(&key_id(&k.sign)).is_some_and(|r| r.revoked_at.is_none()))
                .then(|| Owner::Person(p.id.clone())),
            Document::Machine(m) => (m.tls == *key
                && self.key(&key_id(&m.sign)).is_some_and(|r| r.revoked_at.is_none()))
            .then(|| Owner::Machine(m.id.clone())),
            Document::Cosigner(c) => (c.tls == *key).then(|| Owner::Cosigner(c.name.clone())),
            _ => None,
        })
    }

    /// The person of a TLS key whose signing key revoked itself so lately that a freeze by it still applies
    /// (P16): a thief who revokes the owner's key does not shut the owner out.
    pub fn tls_may_freeze(&self, key: &PublicKey) -> Option<Owner> {
        let lately = |sign: &PublicKey| {
            let record = self.key(&key_id(sign));
            let at = record.filter(|r| r.self_revoked).and_then(|r| r.revoked_at);
            at.is_some_and(|at| self.clock.time <= at.saturating_add(crate::apply::REVOKED_FREEZE_S))
        };
        self.documents().find_map(|found| match &found.document {
            Document::Person(p) => {
                let its = p.keys.iter().any(|k| k.tls == *key && lately(&k.sign));
                its.then(|| Owner::Person(p.id.clone()))
            }
            _ => None,
        })
    }

    /// Whether a statement with this id and end was consumed already (P2).
    pub fn consumed(&self, id: &Hash, not_after: Option<u64>) -> bool {
        self.consumed.get(&(consumed_until(not_after), *id)).is_some()
    }

    /// How a consumed statement ended: `applied`, or the rule that rejected it.
    pub fn outcome(&self, id: &Hash, not_after: Option<u64>) -> Option<&str> {
        self.consumed.get(&(consumed_until(not_after), *id)).map(String::as_str)
    }

    /// Whether something waits for the delay clock, so that Ticks must go on (P13).
    pub fn waits_for_time(&self) -> bool {
        !self.waiting.is_empty() || !self.ripening.is_empty()
    }

    /// The seconds that the delay clock still has to go until the first waiting document or request is due.
    pub fn next_due_in_s(&self) -> Option<u64> {
        let documents = self.waiting.iter().next().map(|((due, _), ())| *due);
        let requests = self.ripening.iter().next().map(|((due, _), ())| *due);
        let first = documents.into_iter().chain(requests).min();
        first.map(|due| due.saturating_sub(self.clock.delay))
    }

    /// What was charged in the window that ends at `time`, other than to these lineages.
    pub fn charged_since(&self, time: u64, window_s: u64, other_than: &BTreeSet<Hash>) -> Sats {
        let from = time.saturating_sub(window_s).saturating_add(1);
        let recent = self.charges.from((from, Hash::default()));
        let counted = recent.filter(|((_, lineage), _)| !other_than.contains(lineage));
        Sats(counted.fold(0, |sum: u64, (_, amount)| sum.saturating_add(amount.0)))
    }
}

/// Ids without an end are kept for ever; the key must stay below the limit of canonical integers.
pub(crate) fn consumed_until(not_after: Option<u64>) -> u64 {
    not_after.unwrap_or(crate::canon::INTEGER_LIMIT.saturating_sub(1))
}
