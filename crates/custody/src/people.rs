//! People and their keys, groups of them, and machines with what they may do.

use serde::{Deserialize, Serialize};

use crate::bytes::{Hash, PublicKey};
use crate::name::Name;

/// What kind of device holds a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// An Ed25519 key in a file under a passphrase, used by a program that shows by itself what it signs.
    File,
    /// A key that signs what a web console shows, and the console is served by the server (since rule set 3).
    Console,
}

impl DeviceKind {
    /// Whether what it signs was shown by a program that the server did not serve (S4).
    pub fn is_independent(self) -> bool {
        self != Self::Console
    }
}

/// A key of a person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceKey {
    /// What holds it.
    pub device: DeviceKind,
    /// Signs statements.
    pub sign: PublicKey,
    /// Opens connections.
    pub tls: PublicKey,
}

/// A human being.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The handle.
    pub id: Name,
    /// Commitment to the real name ([`crate::name::Label`]).
    pub name: Hash,
    /// The keys.
    pub keys: Vec<DeviceKey>,
}

/// A set of people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The handle.
    pub id: Name,
    /// Their handles, sorted, each once.
    pub members: Vec<Name>,
}

/// What a machine may do. It never counts as a person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Propose transactions for requests (judged by replay, so this gives no power).
    Authorise,
    /// Allocate addresses.
    Allocate,
    /// Ask for payments.
    Request,
    /// Freeze.
    Freeze,
    /// Anchor the heads of observation logs (since rule set 2).
    Observe,
}

/// A program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The handle.
    pub id: Name,
    /// Signs statements.
    pub sign: PublicKey,
    /// Opens connections.
    pub tls: PublicKey,
    /// What it may do, sorted, each once.
    pub grants: Vec<Grant>,
}
