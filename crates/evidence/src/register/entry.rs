//! What an entry says, and its bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use custody::canon::{self, CanonError};
use custody::name::Name;
use custody::statement::Scope;
use custody::{Blob, Hash, PublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The format that this program reads and writes.
pub const ENTRY_FORMAT: &str = "keyward/recovery-register/v1";

/// The DSSE payload type of entries. It keeps their signatures apart from those of statements.
pub const PAYLOAD_TYPE: &str = "application/vnd.keyward.recovery-register.v1+json";

/// The format of challenges, and with a zero byte the domain tag of their answers (`docs/spec/slip39.md`).
pub const CHALLENGE_FORMAT: &str = "keyward/component-challenge/v1";

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, in seconds since 1970, by the clock of who signs. Never before the entry before.
    pub at: u64,
    /// The id of the key of who signs.
    pub by: Hash,
    /// [`ENTRY_FORMAT`].
    pub format: String,
    /// The deployment.
    pub genesis: Hash,
    /// Its number, from 1.
    pub number: u64,
    /// SHA-256 of the line before; of the first entry the hash of genesis.
    pub previous: Hash,
    /// What it says.
    pub what: What,
}

/// An entry with its signature: a line of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedEntry {
    /// The entry.
    pub entry: Entry,
    /// Ed25519, over [`Entry::signed_bytes`].
    pub signature: Blob,
}

impl Entry {
    /// What is signed: the DSSE pre-authentication encoding of the canonical entry.
    ///
    /// # Errors
    /// A number that canonical JSON cannot have.
    pub fn signed_bytes(&self) -> Result<Vec<u8>, CanonError> {
        let payload = canon::encode(self)?;
        let mut out = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
        out.extend(payload);
        Ok(out)
    }

    /// The line of the file, with its end.
    ///
    /// # Errors
    /// A number that canonical JSON cannot have.
    pub fn line(self, signature: [u8; 64]) -> Result<Vec<u8>, CanonError> {
        let mut line = canon::encode(&SignedEntry { entry: self, signature: Blob(signature.to_vec()) })?;
        line.push(b'\n');
        Ok(line)
    }
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A ceremony made a set of components.
    Set(Set),
    /// A component on a medium is to be proven.
    Challenged(Challenge),
    /// A challenge was answered.
    Answered(Answer),
    /// A component on a medium is not whole, or not there.
    Failed(Failed),
    /// A container was opened and sealed again.
    Seal(SealChange),
    /// A recovery was rehearsed, or held.
    Drill(Drill),
    /// A document was reviewed.
    Reviewed(Review),
    /// A freeze was rehearsed.
    FreezeDrill(FreezeDrill),
}

/// On what a component is kept (DACS REC-08).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// A printed sheet.
    Paper,
    /// A file, encrypted to its holder.
    File,
}

impl Medium {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Paper, Self::File];
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::File => "file",
        })
    }
}

/// Which component of a set, as people count: `1.2` is the second of the first group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ComponentId {
    /// The group, from 1.
    pub group: u8,
    /// The member, from 1.
    pub member: u8,
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.group, self.member)
    }
}

impl FromStr for ComponentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |text: &str| text.parse().ok().filter(|number| *number > 0);
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

/// The components that a ceremony made, as its report says. The hash of the report names the set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// The nonce of the ceremony.
    pub ceremony: Hash,
    /// The components, in order.
    pub components: Vec<Component>,
    /// How many groups rebuild the secret.
    pub group_threshold: u8,
    /// How many members each group needs.
    pub groups: Vec<u8>,
    /// The SLIP-39 identifier, which stands on every sheet.
    pub identifier: u16,
    /// When the ceremony ended.
    pub made_at: u64,
    /// The set whose place it takes, which is destroyed.
    pub replaces: Option<Hash>,
    /// The hash of the report.
    pub report: Hash,
    /// Where components lie.
    pub sites: Vec<Site>,
}

/// One component.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Which.
    pub component: ComponentId,
    /// What it lies in, such as the number of a safe.
    pub container: String,
    /// Its public health key (Ed25519).
    pub health: PublicKey,
    /// Who holds it.
    pub holder: Name,
    /// The number of the seal around it.
    pub seal: String,
    /// Where it lies.
    pub site: Name,
}

/// A place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Its handle.
    pub name: Name,
    /// Whether co-signers or other operations are there.
    pub operations: bool,
}

/// What a holder signs to prove that a component is there, whole, and on this medium: the very bytes that
/// `ceremony::component::Challenge` has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// When it is asked.
    pub at: u64,
    /// Who asks.
    pub by: Name,
    /// The nonce of the ceremony that made the component.
    pub ceremony: Hash,
    /// Which component.
    pub component: ComponentId,
    /// [`CHALLENGE_FORMAT`].
    pub format: String,
    /// 32 random bytes.
    pub fresh: Hash,
    /// From which medium.
    pub medium: Medium,
    /// The SLIP-39 identifier of the set.
    pub set: u16,
}

impl Challenge {
    /// The canonical bytes, to be carried to the holder.
    ///
    /// # Errors
    /// A number that canonical JSON cannot have.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonError> {
        canon::encode(self)
    }

    /// SHA-256 of its bytes, by which an answer names it.
    ///
    /// # Errors
    /// As above.
    pub fn hash(&self) -> Result<Hash, CanonError> {
        Ok(Hash::sha256(&self.to_bytes()?))
    }

    /// Whether this is its answer by the component with this public health key.
    ///
    /// # Errors
    /// As above.
    pub fn is_answered_by(&self, health: &PublicKey, signature: &[u8]) -> Result<bool, CanonError> {
        let message = [CHALLENGE_FORMAT.as_bytes(), b"\0", &self.to_bytes()?].concat();
        Ok(custody::document::verify(health, &message, signature))
    }
}

/// The answer to a challenge. The file that a holder gives back is the canonical JSON of this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// SHA-256 of the bytes of the challenge.
    pub challenge: Hash,
    /// Ed25519, by the health key of the component.
    pub signature: Blob,
}

/// A component on a medium is not whole, or not there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// Which component.
    pub component: ComponentId,
    /// On which medium.
    pub medium: Medium,
    /// What is wrong with it.
    pub reason: String,
    /// The set, by the hash of its report.
    pub set: Hash,
}

/// A container was opened and sealed again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealChange {
    /// Which component.
    pub component: ComponentId,
    /// The number of the seal that was found.
    pub found: String,
    /// Why it was opened.
    pub reason: String,
    /// The number of the new seal.
    pub replaced: String,
    /// The set, by the hash of its report.
    pub set: Hash,
}

/// A recovery was rehearsed, or held, as its report says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// When it ended.
    pub held_at: u64,
    /// Whether the keys were rebuilt: the report is that of a complete ceremony.
    pub passed: bool,
    /// The hash of its report.
    pub report: Hash,
    /// The seals that were opened and replaced.
    pub seals: Vec<SealChange>,
    /// The set, by the hash of the report that made it.
    pub set: Hash,
}

/// A document that people keep and review.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Document {
    /// How secrets are recovered (DACS REC-02).
    RecoveryRunbook,
    /// The disaster recovery and continuity plan (DACS REC-05).
    ContinuityPlan,
}

impl Document {
    /// Both.
    pub const ALL: [Self; 2] = [Self::RecoveryRunbook, Self::ContinuityPlan];
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecoveryRunbook => "recovery runbook",
            Self::ContinuityPlan => "continuity plan",
        })
    }
}

/// A freeze was rehearsed (DACS OPS-18), as whoever froze measured it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeDrill {
    /// After how many milliseconds each co-signer that was asked directly said that it holds the freeze: that it is
    /// on its disk, and that it releases nothing against it any more.
    pub acknowledged_ms: BTreeMap<Name, u64>,
    /// The statement.
    pub freeze: Hash,
    /// Whether everything that it covers was frozen in the end (P18).
    pub frozen: bool,
    /// What it covered.
    pub scope: Scope,
    /// When it was sent, in seconds since 1970.
    pub sent_at: u64,
}

/// A document was reviewed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Which.
    pub document: Document,
    /// SHA-256 of the version that was reviewed.
    pub sha256: Hash,
}
