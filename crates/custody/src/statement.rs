//! Statements: what people, machines and co-signers say, signed, one signature each (P1, P2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::bytes::{Blob, Hash, PublicKey};
use crate::canon;
use crate::document::Document;
use crate::name::Name;
use crate::payment::{Allocate, Authorise, Request};
use crate::resharing::{Deal, Erased, Offer};
use crate::rule::{Refusal, Rule, ensure};
use crate::rule_set::NEWEST;

/// The DSSE payload type of every statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.keyward.statement.v1+json";

/// The version of the statement format that this program writes and reads.
pub const STATEMENT_VERSION: u32 = 1;

/// Largest envelope in bytes, but of proposals: an entry of a tlog-tiles bundle has a 16-bit length.
pub const ENVELOPE_LIMIT_BYTES: usize = 65_535;

/// Largest envelope of a proposal in bytes, since rule set 4 (256 KiB): a policy of some 500 rules. A batch is composed
/// up to half of its limit (384 KiB), and must be able to take one.
pub const PROPOSAL_LIMIT_BYTES: usize = 262_144;

/// Furthest that a statement's end may lie ahead of the log, in seconds (90 days): for so long its id
/// is remembered.
pub const VALIDITY_LIMIT_S: u64 = 90 * 24 * 3600;

/// Names a key: the hash of its public part.
pub fn key_id(public: &PublicKey) -> Hash {
    Hash::of("keyward/key/ed25519/v1", &public.0)
}

/// What a statement says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "kebab-case")]
pub enum Body {
    /// Puts a document up for approval (P3).
    Propose(Propose),
    /// Approves a proposal or a request, under the policy that the approver saw.
    Approve(Approve),
    /// Stops a document before it is in force (P3, reduction).
    Veto(Veto),
    /// Stops everything in scope, by one person (P16, reduction).
    Freeze(Freeze),
    /// Takes the signer's own key out of use (P16, reduction).
    Revoke(Revoke),
    /// Asks for a payment (P19).
    Request(Request),
    /// Proposes the transaction that pays requests (P20).
    Authorise(Authorise),
    /// Allocates address indices (P25).
    Allocate(Allocate),
    /// A co-signer says that it runs a rule set (P29).
    Supports(Supports),
    /// A set of holders proves that it can sign with a dealt key.
    Activate(Activate),
    /// Anchors the head of an observation log (P7, since rule set 2).
    Observe(Observe),
    /// A co-signer offers a key for the shares that it is to hold (P30, since rule set 2).
    Offer(Offer),
    /// A co-signer shares its share of an account anew (P30, since rule set 2).
    Deal(Deal),
    /// A co-signer erased the shares that others replaced (P4, since rule set 2).
    Erased(Erased),
}

impl Body {
    /// Reductions of authority have no end, stand first in a batch and are never held back (P16).
    pub fn is_reduction(&self) -> bool {
        matches!(self, Self::Veto(_) | Self::Freeze(_) | Self::Revoke(_))
    }

    /// The word for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Propose(_) => "propose",
            Self::Approve(_) => "approve",
            Self::Veto(_) => "veto",
            Self::Freeze(_) => "freeze",
            Self::Revoke(_) => "revoke",
            Self::Request(_) => "request",
            Self::Authorise(_) => "authorise",
            Self::Allocate(_) => "allocate",
            Self::Supports(_) => "supports",
            Self::Activate(_) => "activate",
            Self::Observe(_) => "observe",
            Self::Offer(_) => "offer",
            Self::Deal(_) => "deal",
            Self::Erased(_) => "erased",
        }
    }

    /// The rule set that brought its kind and all that stands in it (P29).
    pub fn since(&self) -> u32 {
        match self {
            Self::Propose(propose) => propose.document.since(),
            Self::Freeze(freeze) => match freeze.scope {
                Scope::Everything => 1,
                Scope::Asset(_) | Scope::Wallet(_) | Scope::Client(_) => 2,
                Scope::Network(_) | Scope::Person(_) => 3,
            },
            Self::Request(request) if request.outputs.iter().any(|o| o.address.is_some()) => 3,
            Self::Request(request) if request.client.is_some() => 2,
            Self::Observe(_) | Self::Offer(_) | Self::Deal(_) | Self::Erased(_) => 2,
            _ => 1,
        }
    }
}

/// Largest envelope of a proposal under a rule set, in bytes.
pub const fn proposal_limit_bytes(rule_set: u32) -> usize {
    if rule_set >= 4 { PROPOSAL_LIMIT_BYTES } else { ENVELOPE_LIMIT_BYTES }
}

/// Puts a document up for approval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// The document.
    pub document: Document,
    /// Hash of the version that it replaces; nothing for the first.
    pub replaces: Option<Hash>,
}

/// Approves one thing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The id of the proposal or request.
    pub target: Hash,
    /// The hash of the policy in force that the approver judged it under; another one voids this.
    pub decides: Hash,
}

/// Stops a delayed document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Veto {
    /// The id of the proposal.
    pub target: Hash,
}

/// What a freeze covers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every payment of the deployment.
    Everything,
    /// Every payment in an asset, by its CAIP-19 id (since rule set 2).
    Asset(String),
    /// Every payment from a wallet (since rule set 2).
    Wallet(Name),
    /// Every payment whose request names a client (since rule set 2), and since rule set 3 those that name none.
    Client(Name),
    /// Every payment on a network, by its CAIP-2 id (since rule set 3).
    Network(String),
    /// Whatever a person asks for, and this person's approvals but of what lifts freezes and revokes keys
    /// (since rule set 3).
    Person(Name),
}

/// Stops everything in scope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// What stops.
    pub scope: Scope,
}

/// Takes a key out of use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The id of the key; it must be the signer's own person's.
    pub key: Hash,
}

/// A co-signer runs a rule set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supports {
    /// The version.
    pub version: u32,
    /// The hash of its description.
    pub rules: Hash,
}

/// Proof that a set of holders can sign with a dealt account key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activate {
    /// The hash of the ceremony record, or of the resharing that dealt the shares since.
    pub ceremony: Hash,
    /// The position of the account in it.
    pub slot: u32,
    /// The holders that signed, sorted.
    pub holders: Vec<Name>,
    /// BIP-340 signature over [`crate::document::activation_message`] by the account key.
    pub signature: Blob,
}

/// The head of an observation log. It grants nothing: it only fixes what its writer says by now (P7).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// The name of the log in its origin line.
    pub log: Name,
    /// How many entries it has.
    pub size: u64,
    /// The root of its Merkle tree (RFC 6962).
    pub root: Hash,
}

/// A statement, as its signer wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// The deployment.
    pub genesis: Hash,
    /// The id of the key that signs.
    pub signer: Hash,
    /// [`STATEMENT_VERSION`].
    pub version: u32,
    /// Makes two equal statements differ.
    pub nonce: Hash,
    /// The log time, in seconds since 1970, after which it counts no more; nothing for reductions.
    pub not_after: Option<u64>,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct DsseSignature {
    keyid: Hash,
    sig: Blob,
}

/// A DSSE envelope with exactly one signature, not yet checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Envelope {
    payload: Blob,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<DsseSignature>,
}

fn check_size(bytes: usize, limit: usize) -> Result<(), Refusal> {
    ensure(bytes <= limit, Rule::Form, || {
        format!("an envelope of {bytes} bytes is over the limit of {limit}: say less in one statement")
    })
}

/// The DSSE pre-authentication encoding: the bytes that are signed.
pub fn pae(payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    out.extend(payload);
    out
}

impl Envelope {
    /// Reads an envelope from its canonical bytes. Those of a proposal may be as long as under the newest rule set:
    /// whether they may be under the one in force shows where they are applied.
    ///
    /// # Errors
    /// [`Rule::Form`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        check_size(bytes.len(), PROPOSAL_LIMIT_BYTES)?;
        let envelope: Self =
            canon::decode(bytes).map_err(|e| Refusal::new(Rule::Form, format!("envelope: {e}")))?;
        ensure(envelope.payload_type == PAYLOAD_TYPE, Rule::Form, || {
            format!("payload type {:?} is not {PAYLOAD_TYPE:?}", envelope.payload_type)
        })?;
        ensure(envelope.signatures.len() == 1, Rule::Form, || {
            format!("an envelope carries exactly one signature, not {}", envelope.signatures.len())
        })?;
        if bytes.len() > ENVELOPE_LIMIT_BYTES {
            envelope.check_size(&envelope.unverified()?.body, NEWEST)?;
        }
        Ok(envelope)
    }

    /// Checks that it is no longer than the statement in it may be under a rule set.
    pub(crate) fn check_size(&self, body: &Body, rule_set: u32) -> Result<(), Refusal> {
        let proposes = matches!(body, Body::Propose(_));
        check_size(self.size(), if proposes { proposal_limit_bytes(rule_set) } else { ENVELOPE_LIMIT_BYTES })
    }

    /// How many canonical bytes it has.
    pub fn size(&self) -> usize {
        // What stands around payload, key id and signature, and base64: four bytes for three.
        const AROUND: usize = 109 + 64;
        let encoded = |bytes: &Blob| bytes.0.len().div_ceil(3).saturating_mul(4);
        let signature = self.signatures.first().map_or(0, |s| encoded(&s.sig));
        encoded(&self.payload).saturating_add(signature).saturating_add(AROUND)
    }

    /// The canonical bytes: the entry of the log.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.0.len().saturating_mul(2));
        let keyid = self.signatures.first().map(|s| s.keyid).unwrap_or_default();
        let sig = self.signatures.first().map(|s| s.sig.0.clone()).unwrap_or_default();
        out.extend(b"{\"payload\":\"");
        out.extend(STANDARD.encode(&self.payload.0).bytes());
        out.extend(b"\",\"payloadType\":\"");
        out.extend(PAYLOAD_TYPE.bytes());
        out.extend(b"\",\"signatures\":[{\"keyid\":\"");
        out.extend(keyid.to_string().bytes());
        out.extend(b"\",\"sig\":\"");
        out.extend(STANDARD.encode(sig).bytes());
        out.extend(b"\"}]}");
        out
    }

    /// SHA-256 of the pre-authentication encoding: the id of the statement.
    pub fn id(&self) -> Hash {
        Hash::sha256(&pae(&self.payload.0))
    }

    /// What it says, before anything is checked: to show or to sort, never to act on.
    ///
    /// # Errors
    /// [`Rule::Form`] for a payload that is not a canonical statement.
    pub fn unverified(&self) -> Result<Statement, Refusal> {
        let statement: Statement = canon::decode(&self.payload.0)
            .map_err(|e| Refusal::new(Rule::Form, format!("statement: {e}")))?;
        ensure(statement.version == STATEMENT_VERSION, Rule::Form, || {
            format!(
                "statement version {} is unknown: this program reads {STATEMENT_VERSION}",
                statement.version
            )
        })?;
        ensure(statement.body.is_reduction() == statement.not_after.is_none(), Rule::Form, || {
            "reductions have no not_after, all other statements have one".into()
        })?;
        Ok(statement)
    }

    /// Checks the one signature under the key that `key_of` knows by the statement's signer id.
    ///
    /// # Errors
    /// [`Rule::Form`], [`Rule::Deployment`], or [`Rule::Signature`].
    pub fn verify(
        self,
        genesis: &Hash,
        key_of: impl FnOnce(&Hash) -> Option<PublicKey>,
    ) -> Result<Verified, Refusal> {
        let statement = self.unverified()?;
        self.verify_read(statement, genesis, key_of)
    }

    /// As [`Self::verify`]; `statement` is what [`Self::unverified`] read.
    pub(crate) fn verify_read(
        self,
        statement: Statement,
        genesis: &Hash,
        key_of: impl FnOnce(&Hash) -> Option<PublicKey>,
    ) -> Result<Verified, Refusal> {
        ensure(statement.genesis == *genesis, Rule::Deployment, || {
            format!("the statement is for deployment {}, this one is {genesis}", statement.genesis)
        })?;
        let signature = self.signatures.first().filter(|s| s.keyid == statement.signer);
        let signature = signature.ok_or_else(|| {
            Refusal::new(Rule::Signature, "the signature is by another key than the statement names")
        })?;
        let public = key_of(&statement.signer).ok_or_else(|| {
            Refusal::new(Rule::Signature, format!("key {} is not enrolled, or was revoked", statement.signer))
        })?;
        let pae = pae(&self.payload.0);
        let ok = VerifyingKey::from_bytes(&public.0)
            .ok()
            .zip(Signature::from_slice(&signature.sig.0).ok())
            .is_some_and(|(key, sig)| key.verify_strict(&pae, &sig).is_ok());
        ensure(ok, Rule::Signature, || "the signature does not verify: sign the statement again".into())?;
        Ok(Verified { id: Hash::sha256(&pae), envelope: self, statement })
    }
}

impl Statement {
    /// The canonical payload.
    ///
    /// # Errors
    /// [`Rule::Form`] for values that have no canonical form.
    pub fn payload(&self) -> Result<Vec<u8>, Refusal> {
        canon::encode(self).map_err(|e| Refusal::new(Rule::Form, e.to_string()))
    }

    /// Wraps the payload and a signature that was made over [`pae`] of it.
    pub fn enveloped(&self, payload: Vec<u8>, signature: [u8; 64]) -> Envelope {
        Envelope {
            payload: Blob(payload),
            payload_type: PAYLOAD_TYPE.into(),
            signatures: vec![DsseSignature { keyid: self.signer, sig: Blob(signature.to_vec()) }],
        }
    }

    /// Signs with a key at hand.
    ///
    /// # Errors
    /// [`Rule::Form`] for values that have no canonical form.
    pub fn sign(&self, key: &SigningKey) -> Result<Envelope, Refusal> {
        let payload = self.payload()?;
        let signature = key.sign(&pae(&payload)).to_bytes();
        Ok(self.enveloped(payload, signature))
    }
}

/// A statement whose signature was checked. Only [`Envelope::verify`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    id: Hash,
    envelope: Envelope,
    statement: Statement,
}

impl Verified {
    /// Its id.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The envelope that carried it.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}
