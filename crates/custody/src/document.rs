//! Governed documents: everything that is in force, under one mechanism (P3).
//!
//! A document is proposed, approved by the quorum of its kind, waits for its delay, and is in force.
//! [`TABLE`] says for each kind what of this applies; a new kind is a new row.

use serde::{Deserialize, Serialize};

use crate::anchors::OtherAnchors;
use crate::bytes::Hash;
use crate::canon;
pub use crate::card::{ANSWER_TAG, CARD_TAG, CosignerCard, verify};
pub use crate::ceremony::{
    CEREMONY_DEVIATION_TAG, CEREMONY_REPORT_TAG, CEREMONY_TAG, CeremonyRecord, Participation, Recovery, Slot,
    activation_message, restore_message, share_context,
};
use crate::cosigner_set::CosignerSet;
use crate::effects::PinnedHeader;
use crate::name::Name;
pub use crate::people::{DeviceKey, DeviceKind, Grant, Group, Machine, Person};
use crate::policy::Policy;
use crate::rates::Rates;
use crate::records::{
    Absence, Asset, Delegation, DenyList, Float, Lease, Order, Retention, Review, ThirdParty,
};
use crate::resharing::Resharing;
pub use crate::rule_set::Upgrade;

/// A document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Document {
    /// Who may move what under whose approval.
    Policy(Policy),
    /// A person and the keys of this person.
    Person(Person),
    /// A set of people.
    Group(Group),
    /// A program that may ask for things, or reduce.
    Machine(Machine),
    /// An address that may be paid.
    Destination(Destination),
    /// A wallet on a dealt key.
    Wallet(Wallet),
    /// The record of a key ceremony.
    Ceremony(CeremonyRecord),
    /// A co-signer's certified keys.
    Cosigner(CosignerCard),
    /// A block header that proofs start from.
    Header(PinnedHeader),
    /// Other anchors for a request.
    Anchors(OtherAnchors),
    /// Another rule set.
    Upgrade(Upgrade),
    /// Lifts freezes.
    Resume(Resume),
    /// Takes somebody's key out of use.
    Revocation(Revocation),
    /// Somebody whose coins are held.
    Client(Client),
    /// Has shares dealt anew.
    Resharing(Resharing),
    /// What assets are worth in a reference currency.
    Rates(Rates),
    /// Somebody is away.
    Absence(Absence),
    /// Somebody stands in for another.
    Delegation(Delegation),
    /// The review of a custody model.
    Review(Review),
    /// Somebody who performs a part of custody.
    ThirdParty(ThirdParty),
    /// Addresses that are not paid.
    DenyList(DenyList),
    /// Whether an asset is held.
    Asset(Asset),
    /// Opens a key for a time.
    Lease(Lease),
    /// Reference to an order of an authority.
    Order(Order),
    /// For how long records are kept.
    Retention(Retention),
    /// Most that a hot wallet holds.
    Float(Float),
    /// Another set of co-signers.
    CosignerSet(CosignerSet),
}

/// The kind of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// [`Document::Policy`].
    Policy,
    /// [`Document::Person`].
    Person,
    /// [`Document::Group`].
    Group,
    /// [`Document::Machine`].
    Machine,
    /// [`Document::Destination`].
    Destination,
    /// [`Document::Wallet`].
    Wallet,
    /// [`Document::Ceremony`].
    Ceremony,
    /// [`Document::Cosigner`].
    Cosigner,
    /// [`Document::Header`].
    Header,
    /// [`Document::Anchors`].
    Anchors,
    /// [`Document::Upgrade`].
    Upgrade,
    /// [`Document::Resume`].
    Resume,
    /// [`Document::Revocation`].
    Revocation,
    /// [`Document::Client`].
    Client,
    /// [`Document::Resharing`].
    Resharing,
    /// [`Document::Rates`].
    Rates,
    /// [`Document::Absence`].
    Absence,
    /// [`Document::Delegation`].
    Delegation,
    /// [`Document::Review`].
    Review,
    /// [`Document::ThirdParty`].
    ThirdParty,
    /// [`Document::DenyList`].
    DenyList,
    /// [`Document::Asset`].
    Asset,
    /// [`Document::Lease`].
    Lease,
    /// [`Document::Order`].
    Order,
    /// [`Document::Retention`].
    Retention,
    /// [`Document::Float`].
    Float,
    /// [`Document::CosignerSet`].
    CosignerSet,
}

/// What the mechanism does with one kind.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind.
    pub kind: Kind,
    /// Waits for the delay that the policy names, at least the floor of its network; else in force
    /// with the last approval.
    pub delayed: bool,
    /// One person may stop it while it waits.
    pub veto: bool,
    /// Whoever proposes it may be one of its approvers.
    pub proposer_approves: bool,
    /// The rule set that brought it.
    pub since: u32,
}

const fn row(kind: Kind, delayed: bool, veto: bool, proposer_approves: bool) -> Row {
    Row { kind, delayed, veto, proposer_approves, since: 1 }
}

/// Kind → delay → veto → separation → since. The quorum of each kind stands in the policy in force.
pub const TABLE: &[Row] = &[
    row(Kind::Policy, true, true, true),
    row(Kind::Person, true, true, true),
    row(Kind::Group, true, true, true),
    row(Kind::Machine, true, true, true),
    row(Kind::Destination, true, true, false),
    row(Kind::Wallet, true, true, true),
    row(Kind::Ceremony, true, true, true),
    row(Kind::Cosigner, true, true, true),
    row(Kind::Header, true, true, true),
    row(Kind::Anchors, true, true, true),
    row(Kind::Upgrade, true, true, true),
    row(Kind::Resume, false, false, true),
    row(Kind::Revocation, false, false, true),
    Row { since: 2, ..row(Kind::Client, true, true, true) },
    Row { since: 2, ..row(Kind::Resharing, true, true, true) },
    Row { since: 3, ..row(Kind::Rates, true, true, true) },
    Row { since: 3, ..row(Kind::Absence, true, true, true) },
    Row { since: 3, ..row(Kind::Delegation, true, true, true) },
    Row { since: 3, ..row(Kind::Review, true, true, true) },
    Row { since: 3, ..row(Kind::ThirdParty, true, true, true) },
    Row { since: 3, ..row(Kind::DenyList, true, true, true) },
    Row { since: 3, ..row(Kind::Asset, true, true, true) },
    Row { since: 3, ..row(Kind::Lease, false, false, true) },
    Row { since: 3, ..row(Kind::Order, true, true, true) },
    Row { since: 3, ..row(Kind::Retention, true, true, true) },
    Row { since: 3, ..row(Kind::Float, true, true, true) },
    Row { since: 4, ..row(Kind::CosignerSet, true, true, true) },
];

impl Kind {
    /// The row of the table.
    pub fn row(self) -> Row {
        TABLE.iter().copied().find(|row| row.kind == self).unwrap_or(row(self, true, true, false))
    }

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Person => "person",
            Self::Group => "group",
            Self::Machine => "machine",
            Self::Destination => "destination",
            Self::Wallet => "wallet",
            Self::Ceremony => "ceremony",
            Self::Cosigner => "cosigner",
            Self::Header => "header",
            Self::Anchors => "anchors",
            Self::Upgrade => "upgrade",
            Self::Resume => "resume",
            Self::Revocation => "revocation",
            Self::Client => "client",
            Self::Resharing => "resharing",
            Self::Rates => "rates",
            Self::Absence => "absence",
            Self::Delegation => "delegation",
            Self::Review => "review",
            Self::ThirdParty => "third-party",
            Self::DenyList => "deny-list",
            Self::Asset => "asset",
            Self::Lease => "lease",
            Self::Order => "order",
            Self::Retention => "retention",
            Self::Float => "float",
            Self::CosignerSet => "cosigner-set",
        }
    }
}

impl Document {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Policy(_) => Kind::Policy,
            Self::Person(_) => Kind::Person,
            Self::Group(_) => Kind::Group,
            Self::Machine(_) => Kind::Machine,
            Self::Destination(_) => Kind::Destination,
            Self::Wallet(_) => Kind::Wallet,
            Self::Ceremony(_) => Kind::Ceremony,
            Self::Cosigner(_) => Kind::Cosigner,
            Self::Header(_) => Kind::Header,
            Self::Anchors(_) => Kind::Anchors,
            Self::Upgrade(_) => Kind::Upgrade,
            Self::Resume(_) => Kind::Resume,
            Self::Revocation(_) => Kind::Revocation,
            Self::Client(_) => Kind::Client,
            Self::Resharing(_) => Kind::Resharing,
            Self::Rates(_) => Kind::Rates,
            Self::Absence(_) => Kind::Absence,
            Self::Delegation(_) => Kind::Delegation,
            Self::Review(_) => Kind::Review,
            Self::ThirdParty(_) => Kind::ThirdParty,
            Self::DenyList(_) => Kind::DenyList,
            Self::Asset(_) => Kind::Asset,
            Self::Lease(_) => Kind::Lease,
            Self::Order(_) => Kind::Order,
            Self::Retention(_) => Kind::Retention,
            Self::Float(_) => Kind::Float,
            Self::CosignerSet(_) => Kind::CosignerSet,
        }
    }

    /// The rule set that brought its kind and all that stands in it.
    pub fn since(&self) -> u32 {
        let inside = match self {
            Self::Policy(policy) => policy.since(),
            Self::Machine(machine) if machine.grants.contains(&Grant::Observe) => 2,
            Self::Wallet(wallet) if wallet.tier.is_leased() || wallet.state.is_some() => 3,
            Self::Wallet(wallet) if matches!(wallet.model, Model::OneP | Model::TwoP) => 2,
            Self::Person(person) if person.keys.iter().any(|key| !key.device.is_independent()) => 3,
            Self::Destination(d) if d.owner.is_some() || d.proof.is_some() || d.third_party.is_some() => 3,
            Self::Destination(destination) => destination.kind.since(),
            Self::Ceremony(record) if record.recovery.is_some() => 2,
            _ => 1,
        };
        self.kind().row().since.max(inside)
    }

    /// Which object of its kind this is a version of. Kinds that are acts rather than objects
    /// (ceremony, resume, revocation) are versions of nothing: their own hash names them.
    pub fn subject(&self) -> String {
        match self {
            Self::Policy(_)
            | Self::Header(_)
            | Self::Upgrade(_)
            | Self::Retention(_)
            | Self::CosignerSet(_) => String::new(),
            Self::Person(p) => p.id.to_string(),
            Self::Group(g) => g.id.to_string(),
            Self::Machine(m) => m.id.to_string(),
            Self::Destination(d) => d.id.to_string(),
            Self::Wallet(w) => w.id.to_string(),
            Self::Cosigner(c) => c.name.to_string(),
            Self::Anchors(a) => a.lineage.to_string(),
            Self::Client(c) => c.id.to_string(),
            Self::Resharing(r) => r.ceremony.to_string(),
            Self::Rates(r) => r.currency.to_string(),
            Self::Absence(a) => a.person.to_string(),
            Self::Delegation(d) => d.of.to_string(),
            Self::Review(r) => r.model.word().to_string(),
            Self::ThirdParty(t) => t.id.to_string(),
            Self::DenyList(l) => l.id.to_string(),
            Self::Asset(a) => a.asset.to_string(),
            Self::Lease(l) => l.wallet.to_string(),
            Self::Order(o) => o.id.to_string(),
            Self::Float(f) => f.wallet.to_string(),
            Self::Ceremony(_) | Self::Resume(_) | Self::Revocation(_) => self.hash().to_string(),
        }
    }

    /// The hash of its words.
    pub fn hash(&self) -> Hash {
        // A document that has no canonical form cannot have come out of a canonical statement.
        Hash::of("keyward/document/v1", &canon::encode(self).unwrap_or_default())
    }

    /// The hash that names it as a version: of its words, and of the version that it replaces. So a policy
    /// that is put back is another version, and approvals given under the first one stay void (P1).
    pub fn version(&self, replaces: Option<Hash>) -> Hash {
        replaces.map_or_else(
            || self.hash(),
            |old| Hash::of("keyward/document-version/v1", &[old.0, self.hash().0].concat()),
        )
    }
}

/// Whose an address is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DestinationKind {
    /// The institution's own, elsewhere.
    Own,
    /// A client's.
    Client,
    /// Somebody else's.
    Counterparty,
    /// A program on the network (since rule set 3).
    Contract,
    /// Whose is not known: an address that a request itself names (since rule set 3). No document is of this
    /// kind.
    Unlisted,
}

impl DestinationKind {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::Own, Self::Client, Self::Counterparty, Self::Contract, Self::Unlisted];

    /// The rule set that brought it.
    pub fn since(self) -> u32 {
        if matches!(self, Self::Contract | Self::Unlisted) { 3 } else { 1 }
    }

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Client => "client",
            Self::Counterparty => "counterparty",
            Self::Contract => "contract",
            Self::Unlisted => "unlisted",
        }
    }
}

/// An address that may be paid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The handle.
    pub id: Name,
    /// Whose it is.
    #[serde(rename = "of")]
    pub kind: DestinationKind,
    /// The address, in the form of its network.
    pub address: String,
    /// Commitment to what people call it.
    pub label: Hash,
    /// The client whose it is (since rule set 3, as all that follows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// SHA-256 of what shows that it is whose it is said to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Hash>,
    /// Who holds what is paid there, where that is somebody who performs custody for the institution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub third_party: Option<Name>,
}

impl Destination {
    /// A destination about which nothing more is said.
    pub fn new(id: Name, kind: DestinationKind, address: impl Into<String>, label: Hash) -> Self {
        Self { id, kind, address: address.into(), label, owner: None, proof: None, third_party: None }
    }
}

/// Somebody whose coins are held (since rule set 2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The handle.
    pub id: Name,
    /// Commitment to the real name ([`crate::name::Label`]).
    pub name: Hash,
}

/// How close to the network a wallet's holders are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Signers online.
    Hot,
    /// Signers online, and the key in use only while a lease is open (since rule set 3).
    Warm,
}

impl Tier {
    /// Every tier.
    pub const ALL: &'static [Self] = &[Self::Hot, Self::Warm];

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Warm => "warm",
        }
    }

    /// Whether keys of this tier are in use only while a lease is open.
    pub fn is_leased(self) -> bool {
        self == Self::Warm
    }
}

/// The custody model of a wallet (DACS 2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Model {
    /// Pooled accounts, allocation at pool level.
    #[serde(rename = "1")]
    One,
    /// Pooled, allocation per account.
    #[serde(rename = "2")]
    Two,
    /// Each account belongs to one client.
    #[serde(rename = "3")]
    Three,
    /// As 1, with own assets in the pool (since rule set 2).
    #[serde(rename = "1P")]
    OneP,
    /// As 2, with own assets among the accounts (since rule set 2).
    #[serde(rename = "2P")]
    TwoP,
}

impl Model {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
            Self::Three => "3",
            Self::OneP => "1P",
            Self::TwoP => "2P",
        }
    }
}

/// A wallet: one dealt account key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wallet {
    /// The handle.
    pub id: Name,
    /// The ceremony that dealt its key.
    pub ceremony: Hash,
    /// Which of the ceremony's accounts.
    pub slot: u32,
    /// Where its holders are.
    pub tier: Tier,
    /// Whose the coins are.
    pub model: Model,
    /// What it may no longer do; active where nothing is said (since rule set 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<WalletState>,
}

impl Wallet {
    /// An active wallet.
    pub fn new(id: Name, ceremony: Hash, slot: u32, tier: Tier, model: Model) -> Self {
        Self { id, ceremony, slot, tier, model, state: None }
    }
}

/// Why a wallet is not active. Its key is kept and watched in every state (design §6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WalletState {
    /// Out of use for now.
    Suspended,
    /// Closed. A quorum opens it again to return what arrives late.
    Retired,
    /// Its key may be known: it pays own destinations alone, and is never active again.
    Compromised,
}

/// Lifts freezes by name (P17).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The ids of the freezes.
    pub freezes: Vec<Hash>,
}

/// Takes somebody's key out of use, by quorum (P17).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The id of the key.
    pub key: Hash,
}
