//! The script of a ceremony: who, where, with what, what for. It is written and reviewed before the day, and
//! every person who signs the report signs it too, as a part of the report.
//!
//! From it come the steps ([`steps::steps`]), and from these alone the program, its plain form and the printed
//! runbook (DACS GEN-02). `docs/spec/ceremony-script.md` describes the file.

pub mod check;
mod earlier;
pub mod steps;

use std::fmt;
use std::str::FromStr;

use custody::document::Tier;
use custody::effects::AccountKey;
use custody::genesis::TEST_NETWORKS;
use custody::name::Name;
use custody::{Hash, PublicKey, canon};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::room::FindingKind;
use crate::slip39::Scheme;

pub use check::{Breach, Control};
pub use steps::{Action, Medium, Step};

/// The format that this program reads and writes.
pub const SCRIPT_FORMAT: &str = "keyward/ceremony-script/v1";

/// What a ceremony is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Makes a master secret, its recovery components, and the co-signers' shares of its accounts.
    Generation,
    /// Makes another set of recovery components of a master secret that exists.
    Components,
    /// Makes co-signers' shares anew, or of further accounts, from recovery components.
    Recovery,
    /// Shows that recovery components still rebuild the keys, and makes nothing.
    Drill,
}

impl Kind {
    /// Whether the ceremony makes a master secret; otherwise it combines components of one.
    pub fn generates(self) -> bool {
        self == Self::Generation
    }

    /// Whether it makes recovery components.
    pub fn makes_components(self) -> bool {
        matches!(self, Self::Generation | Self::Components)
    }

    /// Whether it makes shares for co-signers, and so a record for the log.
    pub fn makes_shares(self) -> bool {
        matches!(self, Self::Generation | Self::Recovery)
    }
}

/// What a person is there for (DACS GEN-09, GEN-13, REC-04).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Works the machine. Holds no component.
    Operator,
    /// Holds one component.
    KeyCustodian,
    /// Watches, and has no other role.
    Witness,
    /// Answers for the rules: no deviation without one.
    SecurityOfficer,
}

/// Somebody who takes part. Everybody signs the report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The handle: of genesis, for people who stand there.
    pub id: Name,
    /// What they are called.
    pub name: String,
    /// Whom they act for.
    pub organisation: String,
    /// What they are there for.
    pub roles: Vec<Role>,
    /// The public signing key of their device (Ed25519): signs the report.
    pub key: PublicKey,
    /// To whom the file of their component is encrypted (age recipient, `age1…`); key custodians need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<String>,
}

/// Consecutive accounts, by BIP-86 account number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// The first number.
    pub first: u32,
    /// How many: 1 to [`custody::SLOTS_LIMIT`].
    pub count: u32,
}

/// Which component of a set: group and member, as SLIP-39 counts them, from 0. Written `1.2` as people
/// count, from 1: the second of the first group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ComponentId {
    /// The group, from 0.
    pub group: u8,
    /// The member, from 0.
    pub member: u8,
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", u16::from(self.group).saturating_add(1), u16::from(self.member).saturating_add(1))
    }
}

impl FromStr for ComponentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |text: &str| text.parse::<u8>().ok()?.checked_sub(1);
        let id = text.split_once('.').and_then(|(g, m)| Some(Self { group: part(g)?, member: part(m)? }));
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| format!("{text:?} names no component: write group and member, such as 1.2"))
    }
}

impl Serialize for ComponentId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ComponentId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of recovery components: its SLIP-39 scheme, and where each one goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Components {
    /// How many groups rebuild the secret.
    pub group_threshold: u8,
    /// The groups.
    pub groups: Vec<Group>,
}

/// One group of a set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// How many members make the group's part.
    pub threshold: u8,
    /// The members.
    pub members: Vec<Member>,
}

/// Who holds a component, and where (DACS REC-03).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// A key custodian of the script.
    pub holder: Name,
    /// Where it lies: a site of the script.
    pub site: Name,
    /// What it lies in there, such as the number of a safe.
    pub container: String,
    /// The number of the seal around it. Of a set to be made it may be left empty: the one that is used is
    /// entered in the ceremony.
    pub seal: String,
}

impl Components {
    /// The scheme without its people.
    pub fn scheme(&self) -> Scheme {
        let count = |members: &[Member]| u8::try_from(members.len()).unwrap_or(u8::MAX);
        Scheme {
            group_threshold: self.group_threshold,
            groups: self.groups.iter().map(|group| (group.threshold, count(&group.members))).collect(),
        }
    }

    /// How many components rebuild the secret at least.
    pub fn fewest(&self) -> usize {
        let mut thresholds: Vec<usize> = self.groups.iter().map(|group| group.threshold.into()).collect();
        thresholds.sort_unstable();
        thresholds.iter().take(self.group_threshold.into()).sum()
    }

    /// Every component with whose it is, in order.
    pub fn members(&self) -> impl Iterator<Item = (ComponentId, &Member)> {
        (0u8..).zip(&self.groups).flat_map(|(group, members)| {
            (0u8..).zip(&members.members).map(move |(member, who)| (ComponentId { group, member }, who))
        })
    }

    /// One component.
    pub fn member(&self, id: ComponentId) -> Option<&Member> {
        self.groups.get(usize::from(id.group))?.members.get(usize::from(id.member))
    }
}

/// The components that exist before a ceremony, and which of them come to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The hash of the report of the ceremony that made them.
    pub report: Hash,
    /// The set, with its holders and places as they are now.
    pub components: Components,
    /// Those that are brought: at least enough to rebuild the secret.
    pub brought: Vec<Brought>,
    /// What becomes of those that were brought.
    pub afterwards: Afterwards,
    /// Accounts whose public keys are known: that the right secret was rebuilt shows by these.
    pub known: Vec<KnownAccount>,
}

/// A component that is brought.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brought {
    /// Which.
    pub component: ComponentId,
    /// Its public health key, as the report of the earlier ceremony lists it.
    pub health: PublicKey,
}

/// What becomes of components that were brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Afterwards {
    /// They go back, under a new seal.
    Returned,
    /// They are destroyed before everybody's eyes: a new set takes their place.
    Destroyed,
}

/// An account whose public key is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownAccount {
    /// Its BIP-86 number.
    pub number: u32,
    /// Its public key.
    pub account: AccountKey,
}

/// A place where components lie.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The handle.
    pub name: Name,
    /// Where it is.
    pub address: String,
    /// Whether co-signers or other operations are there (DACS REC-03).
    pub operations: bool,
}

/// What is asked for besides the operating system's generator, which always takes part (DACS GEN-00, GEN-01).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Throws of a six-sided die, at least; 0 for none.
    pub dice: u32,
    /// Flips of a coin, at least; 0 for none.
    pub coins: u32,
    /// Whether a hardware security module takes part.
    pub hsm: bool,
}

/// A device in the room (DACS GEN-05, GEN-11, GEN-12). An empty field is a deviation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// What it is for, such as `laptop`, `printer`.
    pub what: String,
    /// Who made it.
    pub maker: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// The number of the seal that it came under.
    pub seal: String,
    /// Where and when it was bought.
    pub purchased: String,
    /// What shows that it was never connected to the internet.
    pub never_online: String,
    /// How its radios were removed or disabled, or that it has none.
    pub radios: String,
}

/// Who gets shares of the accounts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosigners {
    /// How many shares sign.
    pub threshold: u32,
    /// The co-signers, in the order of their share numbers.
    pub holders: Vec<Name>,
}

/// The recording of the ceremony (DACS GEN-13).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// What records, and how it is placed so that it sees no component.
    pub how: String,
    /// The number of the seal that goes around the medium.
    pub seal: String,
}

/// The script of a ceremony. One ceremony is for one tier, and so for one master secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// [`SCRIPT_FORMAT`].
    pub format: String,
    /// What the ceremony is for.
    pub kind: Kind,
    /// What it is called.
    pub title: String,
    /// Where it is held.
    pub place: String,
    /// The hash of genesis.
    pub genesis: Hash,
    /// CAIP-2 id of the network of genesis.
    pub network: String,
    /// Whose keys the master secret makes.
    pub tier: Tier,
    /// Who takes part.
    pub people: Vec<Person>,
    /// The accounts that are dealt to co-signers, or, where none are, that the restore test covers.
    pub accounts: Accounts,
    /// The highest address index allocated so far, over all accounts (`P25`): stands on every sheet.
    pub highest_index: u32,
    /// The sites of the components.
    pub sites: Vec<Site>,
    /// The components that are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Components>,
    /// The components that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The co-signers that get shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosigners: Option<Cosigners>,
    /// Where randomness comes from.
    pub entropy: Sources,
    /// The devices in the room.
    pub hardware: Vec<Hardware>,
    /// The recording, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recording>,
    /// The findings that a deviation may be signed for; any other ends the ceremony unless it is mended.
    pub deviations: Vec<FindingKind>,
    /// How many people sign a deviation, a security officer among them.
    pub deviation_quorum: u32,
}

impl Script {
    /// Reads a script from exactly its canonical bytes. [`Script::check`] says whether it is sound.
    ///
    /// # Errors
    /// [`Control::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Breach> {
        let script: Self = canon::decode(bytes).map_err(|error| Breach::form(&error))?;
        if script.format == SCRIPT_FORMAT {
            Ok(script)
        } else {
            Err(Breach::form(&format!("format {:?}, but this program reads {SCRIPT_FORMAT}", script.format)))
        }
    }

    /// The canonical bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        canon::encode(self).unwrap_or_default()
    }

    /// Its hash, which everybody has on paper before the ceremony begins.
    pub fn hash(&self) -> Hash {
        Hash::of(SCRIPT_FORMAT, &self.bytes())
    }

    /// Whether it is a rehearsal: coins of its network have no value. Every page says so.
    pub fn is_rehearsal(&self) -> bool {
        TEST_NETWORKS.contains(&self.network.as_str())
    }

    /// The numbers of its accounts.
    pub fn account_numbers(&self) -> std::ops::Range<u32> {
        self.accounts.first..self.accounts.first.saturating_add(self.accounts.count)
    }

    /// How many sets of co-signers sign while shares are dealt: every set of the threshold, for each account.
    pub fn signing_sets(&self) -> u64 {
        let sets = |cosigners: &Cosigners| {
            let all = u64::try_from(cosigners.holders.len()).unwrap_or(u64::MAX);
            (0..u64::from(cosigners.threshold)).fold(1u64, |sets, i| {
                let more = sets.saturating_mul(all.saturating_sub(i));
                more.checked_div(i.saturating_add(1)).unwrap_or(0)
            })
        };
        self.cosigners.as_ref().map_or(0, sets).saturating_mul(u64::from(self.accounts.count))
    }

    /// A person.
    pub fn person(&self, id: &Name) -> Option<&Person> {
        self.people.iter().find(|person| person.id == *id)
    }

    /// The people in a role, in order.
    pub fn in_role(&self, role: Role) -> impl Iterator<Item = &Person> {
        self.people.iter().filter(move |person| person.roles.contains(&role))
    }

    /// Whether these people, each counted once, may sign for a deviation: enough of them, a security
    /// officer among them. The same people can speak for an aborted ceremony.
    pub fn is_quorum<'a>(&self, people: impl IntoIterator<Item = &'a Name>) -> bool {
        let people: std::collections::BTreeSet<_> = people.into_iter().collect();
        let quorum = usize::try_from(self.deviation_quorum).unwrap_or(usize::MAX);
        let known = people.iter().all(|person| self.person(person).is_some());
        known && people.len() >= quorum && self.in_role(Role::SecurityOfficer).any(|p| people.contains(&p.id))
    }
}
