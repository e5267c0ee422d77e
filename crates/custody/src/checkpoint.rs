//! Signed heads of a log: C2SP `tlog-checkpoint` in a `signed-note` with `tlog-cosignature` lines.
//!
//! <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/signed-note>,
//! <https://c2sp.org/tlog-cosignature>. Of the cosignature types only the timestamped Ed25519 one
//! (0x04) is known here; lines of any other key are carried and ignored. A head that a quorum has
//! cosigned is final (P11): [`FinalHead::check`] is the only way to come by a [`FinalHead`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::bytes::Hash;

/// Bytes of a checkpoint body: an origin line and few extension lines, each shorter than a kilobyte.
pub const MAX_BODY_BYTES: usize = 4096;

/// Extension lines of a checkpoint: Keyward writes one, the rest is room for what others add.
pub const MAX_EXTENSION_LINES: usize = 8;

/// Bytes of a signed note: sixteen post-quantum signatures of 5 kB fit, as `signed-note` demands.
pub const MAX_NOTE_BYTES: usize = 131_072;

/// Signature lines of a note: a committee several times over, and public witnesses beside it.
pub const MAX_NOTE_LINES: usize = 64;

/// The latest time of a cosignature in seconds since 1970, fixed by `tlog-cosignature`: 2⁶³ − 1.
pub const MAX_COSIGNATURE_TIME_S: u64 = i64::MAX.cast_unsigned();

/// Begins the extension line that carries the state hash after the last entry (P6).
const STATE_PREFIX: &str = "keyward-state/v1 ";

/// The signature type of timestamped Ed25519 cosignatures in key ids and verifier keys.
const COSIGNATURE_TYPE: u8 = 0x04;

/// Why a checkpoint, a note or a verifier key is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Longer than a named limit.
    #[error("too large: {what} has a limit of {limit}")]
    TooLarge {
        /// What has the limit.
        what: &'static str,
        /// The limit, in the unit that `what` names.
        limit: usize,
    },
    /// Not in the form of the specification.
    #[error("malformed {0}: fetch it again, it is not what was signed")]
    Malformed(&'static str),
}

/// A log at one size: what a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's identity; for Keyward's logs the genesis hash and the log's name.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: Hash,
    /// Lines after the root, not empty, without their newline.
    pub extension: Vec<String>,
}

impl Checkpoint {
    /// The checkpoint of a Keyward log: one extension line, the state hash after the last entry.
    pub fn head(origin: &str, size: u64, root: Hash, state: &Hash) -> Self {
        let extension = vec![format!("{STATE_PREFIX}{state}")];
        Self { origin: origin.to_owned(), size, root, extension }
    }

    /// The state hash, if this has the form that [`Checkpoint::head`] gives it.
    pub fn state(&self) -> Option<Hash> {
        let [line] = self.extension.as_slice() else {
            return None;
        };
        Hash::from_hex(line.strip_prefix(STATE_PREFIX)?)
    }

    /// The body that is signed: lines that each end in a newline.
    ///
    /// # Errors
    /// If a field is empty, holds a control character, or something is beyond its limit.
    pub fn encode(&self) -> Result<String, NoteError> {
        let body = self.text();
        // What cannot be read back as itself (a newline in the origin, say) must not be signed.
        if Self::parse(&body)? == *self {
            return Ok(body);
        }
        Err(NoteError::Malformed("checkpoint"))
    }

    /// Reads a body. Only the one encoding of each checkpoint is accepted.
    ///
    /// # Errors
    /// If `body` is not exactly a checkpoint, or beyond a limit.
    pub fn parse(body: &str) -> Result<Self, NoteError> {
        const MALFORMED: NoteError = NoteError::Malformed("checkpoint");
        within("bytes of a checkpoint", body.len(), MAX_BODY_BYTES)?;
        let mut lines = body.strip_suffix('\n').ok_or(MALFORMED)?.split('\n');
        let mut line = || lines.next().ok_or(MALFORMED);
        let (origin, size, root) = (line()?, line()?, line()?);
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| MALFORMED)?,
            root: Hash(base64_array(root).ok_or(MALFORMED)?),
            extension: lines.map(str::to_owned).collect(),
        };
        within("extension lines", checkpoint.extension.len(), MAX_EXTENSION_LINES)?;
        let blank = origin.is_empty() || checkpoint.extension.iter().any(String::is_empty);
        // Comparing the encoding refuses every other spelling: signs, leading zeros, line ends.
        if blank || has_control(body) || checkpoint.text() != body {
            return Err(MALFORMED);
        }
        Ok(checkpoint)
    }

    fn text(&self) -> String {
        let root = STANDARD.encode(self.root.0);
        let mut body = format!("{}\n{}\n{root}\n", self.origin, self.size);
        for line in &self.extension {
            body.push_str(line);
            body.push('\n');
        }
        body
    }
}

/// One signature line of a note. Its text (`Display`) is `— name base64(key id || signature)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteLine {
    /// The name of the key.
    pub name: String,
    /// The first four bytes of a hash over name, type and key.
    pub key_id: [u8; 4],
    /// What follows the key id: for a cosignature eight bytes of time and 64 of Ed25519.
    pub signature: Vec<u8>,
}

impl fmt::Display for NoteLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [&self.key_id, self.signature.as_slice()].concat();
        write!(f, "— {} {}", self.name, STANDARD.encode(blob))
    }
}

impl NoteLine {
    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// If it is not exactly a signature line.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        Self::read(line).ok_or(NoteError::Malformed("signature line"))
    }

    fn read(line: &str) -> Option<Self> {
        let (name, blob) = line.strip_prefix("— ")?.split_once(' ')?;
        let blob = STANDARD.decode(blob).ok()?;
        let (key_id, signature) = blob.split_first_chunk()?;
        let good = is_key_name(name) && !signature.is_empty();
        good.then(|| Self { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
    }
}

/// A text and the lines that sign it. Its text form (`Display`) is body, empty line, signature lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    /// The text, including its last newline.
    pub body: String,
    /// The signatures, known and unknown, in the order of the note.
    pub lines: Vec<NoteLine>,
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.body)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl SignedNote {
    /// Reads a note, of which no signature is verified thereby.
    ///
    /// # Errors
    /// If `note` is not exactly a signed note, or beyond a limit.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        const MALFORMED: NoteError = NoteError::Malformed("signed note");
        within("bytes of a note", note.len(), MAX_NOTE_BYTES)?;
        if has_control(note) {
            return Err(MALFORMED);
        }
        // "The text is separated from the signatures by the last empty line in the note."
        let (text, lines) = note.rsplit_once("\n\n").ok_or(MALFORMED)?;
        let lines = lines.strip_suffix('\n').ok_or(MALFORMED)?;
        within("signature lines", lines.split('\n').count(), MAX_NOTE_LINES)?;
        let lines = lines.split('\n').map(NoteLine::parse).collect::<Result<_, _>>()?;
        Ok(Self { body: format!("{text}\n"), lines })
    }
}

/// The key id of a cosigner: SHA-256(name || 0x0A || 0x04 || public key), the first four bytes.
pub fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash =
        Sha256::new().chain_update(name).chain_update([b'\n', COSIGNATURE_TYPE]).chain_update(key).finalize();
    hash.first_chunk().copied().unwrap_or_default()
}

/// A cosigner's verifier key in the text form of `signed-note`: `name+hex(key id)+base64(04 || key)`.
pub fn vkey(name: &str, key: &VerifyingKey) -> String {
    let typed = [&[COSIGNATURE_TYPE], key.as_bytes().as_slice()].concat();
    format!("{name}+{}+{}", hex::encode(key_id(name, key)), STANDARD.encode(typed))
}

/// Reads the text form of a cosigner's verifier key: its name and its key.
///
/// # Errors
/// If the text is not one, is of another signature type, or its key id is not that of name and key.
pub fn parse_vkey(text: &str) -> Result<(String, VerifyingKey), NoteError> {
    read_vkey(text).ok_or(NoteError::Malformed("verifier key"))
}

fn read_vkey(text: &str) -> Option<(String, VerifyingKey)> {
    let (name, rest) = text.split_once('+')?;
    let (_, typed) = rest.split_once('+')?;
    let typed: [u8; 33] = base64_array(typed)?;
    let key = VerifyingKey::from_bytes(typed.last_chunk()?).ok()?;
    (is_key_name(name) && vkey(name, &key) == text).then(|| (name.to_owned(), key))
}

/// Cosigns a checkpoint body at `time_s` (seconds since 1970). The body is signed as it stands: let
/// it be what [`Checkpoint::encode`] gave.
pub fn cosign(body: &str, name: &str, key: &SigningKey, time_s: u64) -> NoteLine {
    let signature = key.sign(message(body, time_s).as_bytes()).to_bytes();
    let signature = [time_s.to_be_bytes().as_slice(), &signature].concat();
    NoteLine { name: name.to_owned(), key_id: key_id(name, &key.verifying_key()), signature }
}

/// The time of a cosignature in seconds since 1970, if `line` is this cosigner's and verifies.
pub fn verify_cosignature(body: &str, line: &NoteLine, name: &str, key: &VerifyingKey) -> Option<u64> {
    if !is_by(line, name, key) {
        return None;
    }
    let (time, signature) = line.signature.split_first_chunk()?;
    let time_s = u64::from_be_bytes(*time);
    if time_s > MAX_COSIGNATURE_TIME_S {
        return None;
    }
    let signature = Signature::from_slice(signature).ok()?;
    key.verify_strict(message(body, time_s).as_bytes(), &signature).ok()?;
    Some(time_s)
}

/// The message of an Ed25519 cosignature.
fn message(body: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{body}")
}

/// True if the line claims to be of this key.
fn is_by(line: &NoteLine, name: &str, key: &VerifyingKey) -> bool {
    line.name == name && line.key_id == key_id(name, key)
}

/// Why a note is not a final head.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeadError {
    /// The note or its body is not in form.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A checkpoint of another log.
    #[error("checkpoint of another log: expected {expected}, found {found}")]
    Origin {
        /// The origin of the log that was asked for.
        expected: String,
        /// The origin in the checkpoint.
        found: String,
    },
    /// Not exactly one extension line with a state hash.
    #[error("checkpoint without a state hash: not a head of a Keyward log")]
    NoState,
    /// A line with the name and key id of a co-signer that does not verify.
    #[error("cosignature of {0} does not verify: fetch the head again")]
    BadCosignature(String),
    /// A final head, and not of what was replayed.
    #[error("the head is of another log than the replayed one: fetch both again, and compare with others")]
    OtherLog,
    /// Fewer distinct co-signers than the quorum.
    #[error("not final: {found} co-signers of the {quorum} needed, ask for a head that is")]
    NoQuorum {
        /// Distinct keys of the committee that cosigned.
        found: usize,
        /// How many it takes.
        quorum: usize,
    },
}

/// A head that a quorum of a committee cosigned (P11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalHead {
    checkpoint: Checkpoint,
    state: Hash,
    times: BTreeMap<String, u64>,
    note: SignedNote,
}

impl FinalHead {
    /// Checks that `note` is a head of the log `origin` cosigned by at least `quorum` distinct keys
    /// of `committee` (name and key each). A quorum of zero counts as one.
    ///
    /// # Errors
    /// If anything is not so; also if a line of a member's key does not verify, as `signed-note`
    /// recommends. Lines of other keys are ignored.
    pub fn check(
        note: &str,
        origin: &str,
        committee: &[(String, VerifyingKey)],
        quorum: usize,
    ) -> Result<Self, HeadError> {
        let note = SignedNote::parse(note)?;
        let checkpoint = Checkpoint::parse(&note.body)?;
        if checkpoint.origin != origin {
            let (expected, found) = (origin.to_owned(), checkpoint.origin);
            return Err(HeadError::Origin { expected, found });
        }
        let state = checkpoint.state().ok_or(HeadError::NoState)?;
        let mut keys = BTreeSet::new();
        let mut times = BTreeMap::new();
        let mut lines = Vec::new();
        for line in &note.lines {
            let Some((name, key)) = committee.iter().find(|(name, key)| is_by(line, name, key)) else {
                continue;
            };
            let time_s = verify_cosignature(&note.body, line, name, key)
                .ok_or_else(|| HeadError::BadCosignature(name.clone()))?;
            if keys.insert(key.as_bytes()) {
                lines.push(line.clone());
            }
            // Of two lines by one key the earlier time counts, whichever comes first.
            let time = times.entry(name.clone()).or_insert(time_s);
            *time = time_s.min(*time);
        }
        // Keys, not names: a cosignature does not bind the name, so one key under two names is one.
        if keys.len() < quorum.max(1) {
            return Err(HeadError::NoQuorum { found: keys.len(), quorum });
        }
        let note = SignedNote { body: note.body, lines };
        Ok(Self { checkpoint, state, times, note })
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The state hash after the last entry.
    pub fn state(&self) -> Hash {
        self.state
    }

    /// The note with one line of each member who cosigned and nothing else: what is kept and given on, for whoever
    /// brings a head may add lines of strangers.
    pub fn note(&self) -> String {
        self.note.to_string()
    }

    /// The members who cosigned, with the times (seconds since 1970) at which they say they did.
    pub fn signers(&self) -> &BTreeMap<String, u64> {
        &self.times
    }
}

/// "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus (U+002B)
/// characters"; and notes have no control characters.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c < ' ')
}

/// True if there is an ASCII control character other than newline.
fn has_control(text: &str) -> bool {
    text.contains(|c: char| c < ' ' && c != '\n')
}

fn base64_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), NoteError> {
    if found > limit { Err(NoteError::TooLarge { what, limit }) } else { Ok(()) }
}
