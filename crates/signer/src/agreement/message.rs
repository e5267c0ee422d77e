//! What co-signers say to each other: formats, signatures, limits. Specified in `docs/spec/agreement.md`.

use custody::{Blob, Hash};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use super::committee::Committee;
use crate::tendermint::{self, Kind, Member, Round};

/// Most bytes of one value (a batch): what co-signers replay and store for each height.
pub const VALUE_MAX_BYTES: usize = 1 << 20;

/// Most votes in one message: own votes, round certificate and proof of lock of the largest committee.
pub const VOTES_MAX: usize = 160;

/// Most bytes of one message: a value in base64 and [`VOTES_MAX`] votes of less than 400 bytes each.
pub const MESSAGE_MAX_BYTES: usize = 3 << 19;

const PROPOSAL: &str = "keyward/proposal/v1";
const VOTE: &str = "keyward/vote/v1";
const PROBE: &str = "keyward/probe/v1";
const ANSWER: &str = "keyward/answer/v1";

/// The name of a value in votes: a hash with its own domain.
pub fn value_hash(value: &[u8]) -> Hash {
    Hash::of("keyward/batch/v1", value)
}

/// One message on the wire, JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Message {
    /// A proposal, its value, and the votes that prove its `pol_round`.
    Proposal {
        /// What the proposer signed.
        proposal: Proposal,
        /// The value.
        value: Blob,
        /// Prevotes for the value in `pol_round`, or empty.
        polka: Vec<Vote>,
    },
    /// Votes of one height; a certificate is a quorum of equal ones.
    Votes(Vec<Vote>),
    /// The decision of a height, for one that missed it.
    Decision(Decision),
    /// *Where are you all?*
    Probe(Probe),
    /// *Here I am, and these are your votes.*
    Answer(Answer),
}

impl Message {
    /// The bytes for the wire; none if they would exceed [`MESSAGE_MAX_BYTES`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok().filter(|bytes| bytes.len() <= MESSAGE_MAX_BYTES)
    }

    /// Reads a message; no signature is checked yet. None if it is too long or has another form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MESSAGE_MAX_BYTES {
            return None;
        }
        let message: Self = serde_json::from_slice(bytes).ok()?;
        let (votes, value) = match &message {
            Self::Proposal { polka, value, .. } => (polka.len(), value.0.len()),
            Self::Votes(votes) => (votes.len(), 0),
            Self::Decision(d) => (d.certificate.signatures.len(), d.value.0.len()),
            Self::Answer(answer) => (answer.votes.len(), 0),
            Self::Probe(_) => (0, 0),
        };
        (votes <= VOTES_MAX && value <= VALUE_MAX_BYTES).then_some(message)
    }
}

/// A signed vote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Who votes.
    pub by: Member,
    /// The height.
    pub height: u64,
    /// The round.
    pub round: Round,
    /// Prevote or precommit.
    pub kind: Kind,
    /// The hash of the value; null is a vote for nil.
    pub value: Option<Hash>,
    /// Ed25519 over the other fields but `by`, which the key tells.
    pub signature: Blob,
}

/// The signed part of a proposal; its signer is the proposer of the round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The height.
    pub height: u64,
    /// The round.
    pub round: Round,
    /// The earlier round in which a quorum prevoted the value, if it is proposed again.
    pub pol_round: Option<Round>,
    /// The hash of the value.
    pub value: Hash,
    /// Ed25519 over the other fields.
    pub signature: Blob,
}

/// Proof that a value is decided: the precommits of a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The height.
    pub height: u64,
    /// The round of the precommits.
    pub round: Round,
    /// The hash of the value.
    pub value: Hash,
    /// Members and their signatures over this precommit, each member once.
    pub signatures: Vec<(Member, Blob)>,
}

/// A decided value with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The value.
    pub value: Blob,
    /// Its proof.
    pub certificate: Certificate,
}

/// Asks the others where they are and what they hold of the asker (rule `P12`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Who asks.
    pub by: Member,
    /// The height that the asker is at.
    pub height: u64,
    /// Fresh at every start of the asker.
    pub nonce: Hash,
    /// Of an asker whose disk was restored, once enough others answered: the height that must be final
    /// before it votes again.
    pub awaits: Option<u64>,
    /// Ed25519 over the other fields.
    pub signature: Blob,
}

/// Answers a [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Who answers.
    pub by: Member,
    /// Who asked.
    pub to: Member,
    /// The asker's nonce.
    pub nonce: Hash,
    /// The highest height that the one who answers has decided, and so co-signed.
    pub decided: u64,
    /// The asker's last votes of this and the last heights.
    pub votes: Vec<Vote>,
    /// Ed25519 over the other fields.
    pub signature: Blob,
}

/// Two signed statements of which an honest member makes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Evidence {
    /// Two votes of one kind in one round.
    Votes(Vote, Vote),
    /// Two proposals in one round.
    Proposals(Proposal, Proposal),
}

/// The signing half of a member, and the genesis that its words are for.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) key: SigningKey,
    pub(super) genesis: Hash,
    pub(super) me: Member,
}

impl Voice {
    fn sign(&self, bytes: &[u8]) -> Blob {
        Blob(self.key.sign(bytes).to_bytes().to_vec())
    }

    pub(super) fn vote(&self, height: u64, round: Round, kind: Kind, value: Option<Hash>) -> Vote {
        let mut vote = Vote { by: self.me, height, round, kind, value, signature: Blob::default() };
        vote.signature = self.sign(&vote.signed_bytes(&self.genesis));
        vote
    }

    pub(super) fn proposal(
        &self,
        height: u64,
        round: Round,
        value: Hash,
        pol_round: Option<Round>,
    ) -> Proposal {
        let mut proposal = Proposal { height, round, pol_round, value, signature: Blob::default() };
        proposal.signature = self.sign(&proposal.signed_bytes(&self.genesis));
        proposal
    }

    pub(super) fn probe(&self, height: u64, nonce: Hash, awaits: Option<u64>) -> Probe {
        let mut probe = Probe { by: self.me, height, nonce, awaits, signature: Blob::default() };
        probe.signature = self.sign(&probe.signed_bytes(&self.genesis));
        probe
    }

    pub(super) fn answer(&self, probe: &Probe, decided: u64, votes: Vec<Vote>) -> Answer {
        let (to, nonce, signature) = (probe.by, probe.nonce, Blob::default());
        let mut answer = Answer { by: self.me, to, nonce, decided, votes, signature };
        answer.signature = self.sign(&answer.signed_bytes(&self.genesis));
        answer
    }
}

/// The domain, a zero byte, the genesis hash; then fixed-width fields, integers big-endian.
struct Signed(Vec<u8>);

impl Signed {
    fn new(domain: &str, genesis: &Hash) -> Self {
        Self([domain.as_bytes(), &[0], &genesis.0].concat())
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn hash(mut self, value: &Hash) -> Self {
        self.0.extend_from_slice(&value.0);
        self
    }

    fn member(self, value: Member) -> Self {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX))
    }
}

fn verify(committee: &Committee, by: Member, bytes: &[u8], signature: &Blob) -> bool {
    let Some(key) = committee.key(by) else {
        return false;
    };
    Signature::from_slice(&signature.0).is_ok_and(|s| key.verify_strict(bytes, &s).is_ok())
}

impl Vote {
    pub(super) fn plain(&self) -> tendermint::Vote {
        let Self { by, height: _, round, kind, value, signature: _ } = *self;
        tendermint::Vote { by, round, kind, value }
    }

    fn signed_bytes(&self, genesis: &Hash) -> Vec<u8> {
        let Self { by: _, height, round, kind, value, signature: _ } = self;
        let kind = match kind {
            Kind::Prevote => 1,
            Kind::Precommit => 2,
        };
        let head = Signed::new(VOTE, genesis).u64(*height).u32(*round).byte(kind);
        match value {
            None => head.byte(0),
            Some(hash) => head.byte(1).hash(hash),
        }
        .0
    }

    /// Whether member `by` signed this under this genesis.
    pub fn verify(&self, committee: &Committee, genesis: &Hash) -> bool {
        verify(committee, self.by, &self.signed_bytes(genesis), &self.signature)
    }
}

impl Proposal {
    fn signed_bytes(&self, genesis: &Hash) -> Vec<u8> {
        let Self { height, round, pol_round, value, signature: _ } = self;
        let head = Signed::new(PROPOSAL, genesis).u64(*height).u32(*round);
        match pol_round {
            None => head.byte(0),
            Some(round) => head.byte(1).u32(*round),
        }
        .hash(value)
        .0
    }

    /// Whether the proposer of the round signed this, naming an earlier `pol_round` if any.
    pub fn verify(&self, committee: &Committee, genesis: &Hash) -> bool {
        let by = committee.proposer(self.height, self.round);
        self.pol_round.is_none_or(|pol| pol < self.round)
            && verify(committee, by, &self.signed_bytes(genesis), &self.signature)
    }
}

impl Certificate {
    /// Whether a quorum of distinct members signed this precommit.
    pub fn verify(&self, committee: &Committee, genesis: &Hash) -> bool {
        let Self { height, round, value, signatures } = self;
        let mut members = std::collections::BTreeSet::new();
        signatures.len() >= committee.quorum()
            && signatures.iter().all(|(by, signature)| {
                let vote = Vote {
                    by: *by,
                    height: *height,
                    round: *round,
                    kind: Kind::Precommit,
                    value: Some(*value),
                    signature: signature.clone(),
                };
                members.insert(*by) && vote.verify(committee, genesis)
            })
    }
}

impl Decision {
    /// Whether the proof is for this value and holds.
    pub fn verify(&self, committee: &Committee, genesis: &Hash) -> bool {
        self.certificate.value == value_hash(&self.value.0) && self.certificate.verify(committee, genesis)
    }
}

impl Probe {
    fn signed_bytes(&self, genesis: &Hash) -> Vec<u8> {
        let Self { by, height, nonce, awaits, signature: _ } = self;
        let head = Signed::new(PROBE, genesis).member(*by).u64(*height).hash(nonce);
        match awaits {
            None => head.byte(0),
            Some(height) => head.byte(1).u64(*height),
        }
        .0
    }

    pub(super) fn verify(&self, committee: &Committee, genesis: &Hash) -> bool {
        verify(committee, self.by, &self.signed_bytes(genesis), &self.signature)
    }
}

impl Answer {
    fn signed_bytes(&self, genesis: &Hash) -> Vec<u8> {
        let Self { by, to, nonce, decided, votes, signature: _ } = self;
        let head = Signed::new(ANSWER, genesis).member(*by).member(*to).hash(nonce).u64(*decided);
        // The votes carry the asker's signatures, which are fixed-width once they verify.
        votes
            .iter()
            .fold(head.member(votes.len()), |mut signed, vote| {
                signed.0.extend_from_slice(Hash::sha256(&vote.signed_bytes(genesis)).0.as_slice());
                signed
            })
            .0
    }

    pub(super) fn verify(&self, committee: &Committee, genesis: &Hash) -> bool {
        verify(committee, self.by, &self.signed_bytes(genesis), &self.signature)
            && self.votes.iter().all(|v| v.by == self.to && v.verify(committee, genesis))
    }
}

impl Evidence {
    /// The member that contradicted itself.
    pub fn culprit(&self, committee: &Committee) -> Member {
        match self {
            Self::Votes(vote, _) => vote.by,
            Self::Proposals(proposal, _) => committee.proposer(proposal.height, proposal.round),
        }
    }

    /// Whether both statements are signed, and contradict each other.
    pub fn verify(&self, committee: &Committee, genesis: &Hash) -> bool {
        match self {
            Self::Votes(a, b) => {
                (a.by, a.height, a.round, a.kind) == (b.by, b.height, b.round, b.kind)
                    && a.value != b.value
                    && a.verify(committee, genesis)
                    && b.verify(committee, genesis)
            }
            Self::Proposals(a, b) => {
                (a.height, a.round) == (b.height, b.round)
                    && (a.value, a.pol_round) != (b.value, b.pol_round)
                    && a.verify(committee, genesis)
                    && b.verify(committee, genesis)
            }
        }
    }
}
