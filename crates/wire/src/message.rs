//! What the programs say to each other. One frame carries one message, as JSON with one key that
//! names it.
//!
//! Nothing here is believed for being on the wire: statements are signed by people, votes and frames
//! by co-signers, heads by a quorum of them. The messages only carry those bytes.

use custody::effects::{Inclusion, OutPoint, Sats};
use custody::name::{Label, Name};
use custody::{Blob, Hash};
use serde::{Deserialize, Serialize};

/// Most batches in one answer of the server; the asker asks again from the next height.
pub const BATCHES_LIMIT: usize = 64;

/// Most bytes of batches in one answer, so that it fits in a frame with its base64.
pub const BATCHES_LIMIT_BYTES: usize = 1024 * 1024;

/// To a co-signer: from the server, or from a person or alarm machine that speaks to it directly.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToCosigner {
    /// Bytes that another co-signer sent; its own signature inside says who. Server only.
    Peer {
        /// The sender, as the server says.
        from: Name,
        /// The bytes.
        bytes: Blob,
    },
    /// A statement to be put into the log. A person may submit directly what reduces authority.
    Submit {
        /// The envelope.
        envelope: Blob,
    },
    /// A sealed share for an account of an approved ceremony. Server only.
    Share {
        /// The ceremony.
        ceremony: Hash,
        /// The position of the account in it.
        slot: u32,
        /// The sealed share.
        sealed: Blob,
    },
    /// Take part in signing an authorised transaction. Server only.
    Sign {
        /// The statement that proposed it.
        authorisation: Hash,
        /// The holders that sign, sorted; the first one aggregates.
        holders: Vec<Name>,
        /// Tells one attempt from the next; a used number is refused.
        attempt: u32,
    },
    /// Take part in proving that a set of holders can sign with a dealt key. Server only.
    Prove {
        /// The ceremony.
        ceremony: Hash,
        /// The position of the account in it.
        slot: u32,
        /// The holders that sign, sorted; the first one aggregates.
        holders: Vec<Name>,
        /// Tells one attempt from the next.
        attempt: u32,
    },
    /// Send the final batches from this height on.
    Log {
        /// The first height wanted.
        from: u64,
    },
    /// Show the newest final head (P13); the answer is signed over the nonce.
    Challenge {
        /// Random.
        nonce: Hash,
    },
}

/// From a co-signer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromCosigner {
    /// Bytes for another co-signer, or for all others.
    Peer {
        /// Nobody means all others.
        to: Option<Name>,
        /// The bytes.
        bytes: Blob,
    },
    /// What became of a submitted statement. `Held` for reductions means: on disk, own releases
    /// stopped.
    Receipt {
        /// The statement.
        id: Hash,
        /// What became of it.
        state: ReceiptState,
    },
    /// A statement that this co-signer made itself and wants in the log.
    Statement {
        /// The envelope.
        envelope: Blob,
    },
    /// Final batches, in order, and the newest final head.
    Log(Log),
    /// A finished transaction, verified.
    Signed {
        /// The statement that proposed it.
        authorisation: Hash,
        /// The signed transaction.
        transaction: Blob,
    },
    /// Something asked for was refused.
    Refused {
        /// What was asked, in a word: `sign`, `prove`, `share`, `submit`, `message`.
        what: String,
        /// The authorisation, ceremony or statement concerned.
        id: Hash,
        /// The id of the rule.
        rule: String,
        /// What is wrong, and what to do next.
        why: String,
        /// Co-signers that are to blame.
        culprits: Vec<Name>,
    },
    /// A share was taken into keeping.
    ShareKept {
        /// The ceremony.
        ceremony: Hash,
        /// The position of the account in it.
        slot: u32,
    },
    /// The answer to a challenge.
    Answer(Answer),
}

/// What became of a submitted statement at one co-signer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReceiptState {
    /// It waits for a batch.
    Pending,
    /// A reduction: on disk, and obeyed already.
    Held,
    /// It is in the log already.
    Consumed,
    /// It can be in no batch.
    Refused {
        /// The id of the rule.
        rule: String,
        /// What is wrong.
        why: String,
    },
}

/// A piece of the log: batches, and a head that is final for the last of them or a later one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The height of the first batch.
    pub from: u64,
    /// Canonical batches, in order.
    pub batches: Vec<Blob>,
    /// The height that the note is the head of.
    pub height: u64,
    /// The newest final head that the sender has: a signed note. Empty before the first batch.
    pub note: String,
}

/// A co-signer's answer to a challenge, signed by its statement key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Who answers.
    pub by: Name,
    /// The nonce of the challenge.
    pub nonce: Hash,
    /// The height of its newest final head.
    pub height: u64,
    /// Its own clock, seconds since 1970.
    pub time: u64,
    /// The newest final head.
    pub note: String,
    /// Ids of reductions that it holds or has seen in the log.
    pub reductions: Vec<Hash>,
    /// Ed25519 over [`Answer::signed_bytes`].
    pub signature: Blob,
}

impl Answer {
    /// What is signed: the answer without its signature, after its domain tag and the deployment.
    pub fn signed_bytes(&self, genesis: &Hash) -> Vec<u8> {
        let bare = Self { signature: Blob::default(), ..self.clone() };
        let mut out = custody::document::ANSWER_TAG.to_vec();
        out.extend(genesis.0);
        out.extend(custody::canon::encode(&bare).unwrap_or_default());
        out
    }
}

/// To the server, from a person's or machine's program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToServer {
    /// Send final batches from this height on.
    Log {
        /// The first height wanted.
        from: u64,
    },
    /// Wait until the log has this height, or the time is over; then as `Log`.
    Wait {
        /// The first height wanted.
        from: u64,
        /// Longest wait, at most 60,000.
        timeout_ms: u64,
    },
    /// Pass a statement on to the co-signers, with the words behind its commitments.
    Submit {
        /// The envelope.
        envelope: Blob,
        /// Labels that it commits to.
        labels: Vec<Label>,
    },
    /// Send the labels behind commitments.
    Labels {
        /// The commitments.
        commitments: Vec<Hash>,
    },
    /// Pass sealed shares on to their holders.
    Shares {
        /// The ceremony.
        ceremony: Hash,
        /// Sealed shares: holder, position of the account, bytes.
        shares: Vec<(Name, u32, Blob)>,
    },
    /// Build a transaction for the same requests and anchors that pays more, and propose it (P21).
    Bump {
        /// One of the requests that it pays.
        request: Hash,
        /// The new fee rate in satoshi per virtual byte.
        fee_rate_sat_vb: u64,
    },
    /// Search the blocks above the pinned header (P22): for transactions, and for whatever spends an output.
    Confirmations {
        /// Transaction ids, wire byte order.
        transactions: Vec<Hash>,
        /// Outputs of which one wants to know who spent them.
        spent: Vec<OutPoint>,
    },
    /// Say how things are.
    Status,
    /// A question to the REST interface, without HTTP around it; who asks is who holds the connection's key.
    Api {
        /// `GET`, `POST` or `PUT`.
        method: String,
        /// The path with its query, from `/v1` on.
        path: String,
        /// As the header of the same name.
        idempotency_key: Option<String>,
        /// JSON, if the method takes some.
        body: Option<Blob>,
    },
}

/// From the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromServer {
    /// A piece of the log.
    Log(Log),
    /// What the co-signers said of a statement so far, by co-signer.
    Receipts {
        /// The statement.
        id: Hash,
        /// Their words.
        receipts: Vec<(Name, ReceiptState)>,
    },
    /// Labels, as far as they are known.
    Labels {
        /// The labels.
        labels: Vec<Label>,
    },
    /// What the co-signers said of shares: holder, position, nothing or what is wrong.
    Shares {
        /// Their words.
        kept: Vec<(Name, u32, Option<String>)>,
    },
    /// A replacement was built, and waits for the co-signers.
    Bumped {
        /// The statement that proposes it.
        authorisation: Hash,
        /// Its transaction id as people write it.
        txid: String,
        /// Its fee.
        fee: Sats,
    },
    /// Where in the chain they stand. Each is a proof, for whoever checks it.
    Confirmations {
        /// What was found, in the order of the chain; an output that nobody spent is not there.
        proofs: Vec<Inclusion>,
        /// 80-byte headers from the pinned one on, under which all of them stand.
        headers: Blob,
    },
    /// How things are, as the server sees them. Nothing here is proof.
    Status(ServerStatus),
    /// What the REST interface answers.
    Api {
        /// The status of HTTP.
        status: u16,
        /// JSON, or the text that was asked for.
        body: Blob,
    },
    /// The server could not do it.
    Error {
        /// A stable word.
        code: String,
        /// What is wrong, and what to do next.
        why: String,
    },
}

/// How things are, as the server sees them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerStatus {
    /// The newest final height.
    pub height: u64,
    /// Co-signers, and whether a connection to each is open.
    pub cosigners: Vec<(Name, bool)>,
    /// Statements that wait for a batch.
    pub pending: u32,
    /// The height of the node's best block, if it answers.
    pub chain_tip: Option<u32>,
    /// Payments and what became of them on the chain.
    pub payments: Vec<PaymentStatus>,
    /// Confirmed coins by wallet, in satoshi, as the node reports them.
    pub balances: Vec<(Name, String)>,
    /// The height of the block that the balances are as of: that of the last scan, which may be below the tip. Nothing
    /// before the first one.
    pub balances_at: Option<u32>,
    /// What went wrong lately: forks and bad heads that a co-signer showed, holders that signed wrongly.
    pub alarms: Vec<String>,
}

/// What became of an authorised transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentStatus {
    /// The statement that proposed it; nothing while there is only a request.
    pub authorisation: Option<Hash>,
    /// The requests that it pays.
    pub requests: Vec<Hash>,
    /// The transaction id as people write it; empty while there is only a request.
    pub txid: String,
    /// `requested`, `authorised`, `signed`, `broadcast`, `confirmed`, `replaced`, or `refused`.
    pub state: String,
    /// Confirmations, when confirmed.
    pub confirmations: u32,
    /// What the last refusal said.
    pub problem: Option<String>,
}
