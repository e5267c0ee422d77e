//! `keyward log verify`: a whole log, from an export and public keys alone (S7).
//!
//! The export agrees with itself (tiles), its head is co-signed by a quorum of the keys in the keys file,
//! its genesis is the one that the log is named after, and its entries replay to the state hash in the
//! head. Each thing that is altered makes one of these fail, and the error says which.

use std::path::Path;

use chain::BitcoinDecoder;
use custody::Hash;
use custody::batch::{Batch, leaves_of};
use custody::checkpoint::{Checkpoint, HeadError, NoteError, SignedNote, parse_vkey, vkey};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::policy::describe;
use custody::rule::Refusal;
use custody::state::State;
use custody::statement::Body;
use custody::tree::{Frontier, leaf_hash};
use ed25519_dalek::VerifyingKey;
use thiserror::Error;

use crate::difference::{Difference, difference};
use crate::report::{AuthorisationReport, PaidOutput, Reason, RejectedStatement, Report};
use crate::tiles::{Export, ExportError, read_export};

/// Most lines of a keys file: a committee has at most 13 members.
const KEYS_FILE_LINES: usize = 64;

/// The public keys under which a log is verified, as they stand in a keys file: a line `origin …`, one
/// verifier key per line (C2SP `signed-note`), and a line `quorum …`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKeys {
    /// The origin of the log; it holds the hash of genesis.
    pub origin: String,
    /// Names and co-signature keys.
    pub committee: Vec<(String, VerifyingKey)>,
    /// How many of them make a head final.
    pub quorum: usize,
}

/// Why a log is not what it should be.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The keys file is not one.
    #[error("keys file: {0}")]
    Keys(String),
    /// The files of the export do not agree with each other.
    #[error("{0}")]
    Export(#[from] ExportError),
    /// The files of the export do not agree with each other, and it shows where.
    #[error("{0}")]
    Entry(Difference),
    /// The head is not final under these keys.
    #[error("the head of the export is not final: {0}")]
    Head(HeadError),
    /// The older checkpoint is not final under these keys, or not a checkpoint.
    #[error("the older checkpoint is not final: {0}")]
    Against(HeadError),
    /// `genesis.json` does not go with the log or the keys.
    #[error("genesis.json: {0}")]
    Genesis(String),
    /// The log ends before a checkpoint that somebody has seen.
    #[error("truncated: the older checkpoint has {older} entries, this export has {found}")]
    Truncated {
        /// Entries under the older checkpoint.
        older: u64,
        /// Entries of the export.
        found: u64,
    },
    /// Two final heads of different histories.
    #[error(
        "fork: at size {size} the roots differ ({older} under the older checkpoint, {found} in this export); keep both, together they convict the co-signers that signed both"
    )]
    Fork {
        /// Entries at which they are compared.
        size: u64,
        /// The root in the older checkpoint.
        older: Hash,
        /// The root over the first entries of the export.
        found: Hash,
    },
    /// The same entries, but another state: some co-signers do not apply the rules.
    #[error("fork: at size {0} the state hashes differ, over the same entries")]
    ForkedState(u64),
    /// The older checkpoint stands within a batch of this log: no final head does.
    #[error("fork: no batch of this export ends at size {0}, but the older checkpoint does")]
    ForkedBatch(u64),
    /// An entry is not in form, or a batch is not valid.
    #[error("{0}")]
    Form(Refusal),
    /// A batch that the rules do not allow.
    #[error("batch {height} (entries {first} to {last}) is invalid: {refusal}")]
    Batch {
        /// Its number.
        height: u64,
        /// Its first entry.
        first: u64,
        /// Its last entry.
        last: u64,
        /// The rule, and why.
        refusal: Refusal,
    },
    /// The replay ends in another state than the co-signers signed.
    #[error("the replay ends in state {replayed}, the co-signers signed {signed}")]
    State {
        /// By own replay.
        replayed: Hash,
        /// In the checkpoint.
        signed: Hash,
    },
}

impl LogKeys {
    /// The keys of a deployment.
    ///
    /// # Errors
    /// [`VerifyError::Genesis`] for a key that is none.
    pub fn of_genesis(genesis: &Genesis) -> Result<Self, VerifyError> {
        let wrong = |why: String| VerifyError::Genesis(why);
        let key = |card: &custody::document::CosignerCard| {
            VerifyingKey::from_bytes(&card.cosign.0)
                .map(|key| (card.name.to_string(), key))
                .map_err(|_| wrong(format!("the key of {} is no Ed25519 key", card.name)))
        };
        Ok(Self {
            origin: genesis.log_origin(),
            committee: genesis.cosigners.iter().map(key).collect::<Result<_, _>>()?,
            quorum: genesis.numbers().map_err(|e| wrong(e.to_string()))?.quorum,
        })
    }

    /// The text of a keys file.
    pub fn to_text(&self) -> String {
        let mut text = format!("origin {}\n", self.origin);
        for (name, key) in &self.committee {
            text.push_str(&format!("{}\n", vkey(name, key)));
        }
        text.push_str(&format!("quorum {}\n", self.quorum));
        text
    }

    /// Reads a keys file.
    ///
    /// # Errors
    /// [`VerifyError::Keys`], naming the line.
    pub fn parse(text: &str) -> Result<Self, VerifyError> {
        let wrong = |why: String| VerifyError::Keys(why);
        let mut lines = text.lines().take(KEYS_FILE_LINES).enumerate();
        let first = lines.next().and_then(|(_, line)| line.strip_prefix("origin "));
        let origin = first.ok_or_else(|| wrong("line 1 must be `origin ORIGIN`".into()))?;
        let (mut committee, mut quorum) = (Vec::new(), None);
        for (i, line) in lines {
            let at = |why: String| wrong(format!("line {}: {why}", i + 1));
            if let Some(number) = line.strip_prefix("quorum ") {
                let number: usize = number.parse().map_err(|_| at("no number".into()))?;
                if quorum.replace(number).is_some() {
                    return Err(at("a second quorum".into()));
                }
            } else {
                let (name, key) = parse_vkey(line).map_err(|e: NoteError| at(e.to_string()))?;
                if committee.iter().any(|(n, k)| *n == name || *k == key) {
                    return Err(at(format!("{name} or its key stands there twice")));
                }
                committee.push((name, key));
            }
        }
        let quorum = quorum.ok_or_else(|| wrong("there is no line `quorum N`".into()))?;
        if quorum == 0 || quorum > committee.len() {
            return Err(wrong(format!("a quorum of {quorum} of {} keys", committee.len())));
        }
        Ok(Self { origin: origin.to_owned(), committee, quorum })
    }

    /// The checkpoint in a note about the log of these keys. Whose signatures make it final, the log itself says.
    fn read(&self, note: &str) -> Result<Checkpoint, HeadError> {
        let checkpoint = Checkpoint::parse(&SignedNote::parse(note)?.body)?;
        if checkpoint.origin != self.origin {
            let (expected, found) = (self.origin.clone(), checkpoint.origin);
            return Err(HeadError::Origin { expected, found });
        }
        Ok(checkpoint)
    }
}

/// A log that was verified: what it says, and the state that it makes.
#[derive(Debug)]
pub struct VerifiedLog {
    /// What happened.
    pub report: Report,
    /// The state under the head.
    pub state: State,
    /// The reader of the deployment's network.
    pub decoder: BitcoinDecoder,
}

/// Verifies the export in `dir` under `keys`; with `against`, an older signed checkpoint, also that the
/// log goes on from there.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn verify_log(dir: &Path, keys: &LogKeys, against: Option<&str>) -> Result<VerifiedLog, VerifyError> {
    let export = read_export(dir).map_err(|error| explain(dir, error))?;
    keys.read(&export.note).map_err(VerifyError::Head)?;
    let older = against.map(|note| keys.read(note).map(|older| (note, older)).map_err(VerifyError::Against));
    let older = older.transpose()?;
    let genesis = Genesis::parse(&export.genesis).map_err(|e| VerifyError::Genesis(e.to_string()))?;
    let known = LogKeys::of_genesis(&genesis)?;
    let fits = |holds: bool, why: &str| {
        if holds { Ok(()) } else { Err(VerifyError::Genesis(why.to_owned())) }
    };
    fits(known.origin == keys.origin, "its hash is not the one in the origin: it was changed")?;
    let sorted = |keys: &LogKeys| {
        let mut all: Vec<_> = keys.committee.iter().map(|(n, k)| (n.clone(), k.to_bytes())).collect();
        all.sort();
        (all, keys.quorum)
    };
    fits(sorted(&known) == sorted(keys), "its co-signers or their quorum are not those of the keys file")?;
    replay(&export, genesis, older)
}

/// Where an export does not agree with itself, says which entry if that shows.
fn explain(dir: &Path, error: ExportError) -> VerifyError {
    let path = match &error {
        ExportError::Disagrees(path) | ExportError::Malformed(path) => path,
        _ => return error.into(),
    };
    difference(dir, path).map_or_else(|| error.into(), VerifyError::Entry)
}

/// Whether the log goes on from the older checkpoint, if that is final: its root at that size, computed from the
/// entries, and the state where the log `passed` it. One beyond the end is judged under the keys that the end names.
fn goes_on(
    export: &Export,
    note: &str,
    older: &Checkpoint,
    passed: Option<&State>,
    end: &State,
) -> Result<(), VerifyError> {
    let height = passed.map_or(end.clock().height.saturating_add(1), |state| state.clock().height);
    let final_head = end.final_head_at(height, note).map_err(VerifyError::Against)?;
    let found = u64::try_from(export.entries.len()).unwrap_or(u64::MAX);
    if found < older.size {
        return Err(VerifyError::Truncated { older: older.size, found });
    }
    let mut frontier = Frontier::new();
    let count = usize::try_from(older.size).unwrap_or(usize::MAX);
    for entry in export.entries.iter().take(count) {
        frontier.push_leaf(leaf_hash(entry));
    }
    if frontier.root() != older.root {
        let (size, found) = (older.size, frontier.root());
        return Err(VerifyError::Fork { size, older: older.root, found });
    }
    match passed {
        Some(state) if state.log_size() != older.size => Err(VerifyError::ForkedBatch(older.size)),
        Some(state) if state.hash() != final_head.state() => Err(VerifyError::ForkedState(older.size)),
        _ => Ok(()),
    }
}

/// Replays the log; then it is known who co-signs which of its heads (P30), and the heads are checked.
fn replay(
    export: &Export,
    genesis: Genesis,
    older: Option<(&str, Checkpoint)>,
) -> Result<VerifiedLog, VerifyError> {
    let unsound = |why: String| VerifyError::Genesis(why);
    let decoder = BitcoinDecoder::new(&genesis.network).map_err(|e| unsound(e.to_string()))?;
    let batches = Batch::from_leaves(export.entries.iter().map(Vec::as_slice)).map_err(VerifyError::Form)?;
    let mut state = State::new(genesis).map_err(|e| unsound(e.to_string()))?;
    let mut report = Report {
        origin: state.genesis().log_origin(),
        entries: 0,
        batches: 0,
        root: Hash::default(),
        state: Hash::default(),
        time: 0,
        signers: Default::default(),
        consistent_with: older.as_ref().map(|(_, older)| older.size),
        statements: Default::default(),
        rejected: Vec::new(),
        authorisations: Vec::new(),
    };
    // The states at the end of the batch in which the older head stands, or behind which it does.
    let mut passed = None;
    for batch in &batches {
        let before = state.clone();
        let first = state.log_size();
        let outcomes = state.apply(batch, &decoder).map_err(|refusal| {
            // A head of the first co-signers that is not final says more than what does not replay under it.
            let head = state.final_head_at(0, &export.note);
            match head.err().filter(|_| state.set_since() == 0 && is_by(&export.note, &state)) {
                Some(error) => VerifyError::Head(error),
                None => VerifyError::Batch {
                    height: batch.tick.height,
                    first,
                    last: first + batch.leaves().skip(1).count() as u64,
                    refusal,
                },
            }
        })?;
        // The first entry of the log after the Tick, or after the statement before.
        let mut next = first + 1;
        for (i, (envelope, outcome)) in batch.entries.iter().zip(outcomes).enumerate() {
            let statement = envelope.unverified().map_err(VerifyError::Form)?;
            let entry = next;
            next += leaves_of(envelope).len() as u64;
            let kind = statement.body.kind().to_owned();
            let count = report.statements.entry(kind.clone()).or_default();
            match outcome.rejected {
                None => count.applied += 1,
                Some(refusal) => {
                    count.rejected += 1;
                    report.rejected.push(RejectedStatement {
                        entry,
                        id: outcome.id,
                        kind,
                        rule: refusal.rule.id().to_owned(),
                        why: refusal.why,
                    });
                    continue;
                }
            }
            if matches!(statement.body, Body::Authorise(_)) {
                // The reasons as they were right then: what came later in the batch does not count.
                let entries = batch.entries[..=i].to_vec();
                let mut then = before.clone();
                then.apply(&Batch { tick: batch.tick.clone(), entries }, &decoder)
                    .map_err(VerifyError::Form)?;
                report.authorisations.extend(authorisation(&then, entry, &outcome.id));
            }
        }
        if passed.is_none() && older.as_ref().is_some_and(|(_, old)| state.log_size() >= old.size) {
            passed = Some(state.clone());
        }
    }
    if let Some((note, old)) = &older {
        goes_on(export, note, old, passed.as_ref(), &state)?;
    }
    let head = state.final_head_at(state.clock().height, &export.note).map_err(VerifyError::Head)?;
    report.entries = head.checkpoint().size;
    report.root = head.checkpoint().root;
    report.state = head.state();
    report.signers = head.signers().clone();
    report.batches = state.clock().height;
    report.time = state.clock().time;
    if state.hash() != head.state() {
        return Err(VerifyError::State { replayed: state.hash(), signed: head.state() });
    }
    Ok(VerifiedLog { report, state, decoder })
}

/// Whether a note has lines in the names of the first co-signers alone: another set would stand in it by others.
fn is_by(note: &str, state: &State) -> bool {
    let first = &state.genesis().cosigners;
    SignedNote::parse(note).is_ok_and(|note| {
        note.lines.iter().all(|line| first.iter().any(|card| card.name.as_str() == line.name))
    })
}

fn authorisation(state: &State, entry: u64, id: &Hash) -> Option<AuthorisationReport> {
    let found = state.authorisations().get(id)?;
    let (policy, hash) = state.policy()?;
    let mut txid = found.txid;
    txid.0.reverse();
    let mut anchors = Vec::new();
    let mut reasons = Vec::new();
    for (request, rules) in found.requests.iter().zip(&found.rules) {
        let record = state.requests().get(request)?;
        anchors.extend(state.lineages().get(&record.lineage).into_iter().flat_map(|l| l.anchors.clone()));
        let words = |rule: &Name| {
            let found = policy.rules.iter().find(|r| r.id == *rule);
            found.map_or_else(String::new, |r| describe(&r.require.approvals))
        };
        let paid = |o: &custody::payment::RequestOutput| PaidOutput {
            destination: o.destination.clone(),
            address: state.payee(o).map(|(_, address)| address.to_owned()).unwrap_or_default(),
            amount: o.amount,
        };
        reasons.push(Reason {
            request: *request,
            asked_by: record.requester.to_string(),
            approvers: state.approvers(record, found.at).into_iter().collect(),
            rules: rules.iter().map(|rule| (rule.clone(), words(rule))).collect(),
            outputs: record.request.outputs.iter().map(paid).collect(),
            renews: record.request.renews,
        });
    }
    Some(AuthorisationReport {
        entry,
        id: *id,
        at: found.at,
        wallet: found.wallet.clone(),
        txid,
        fee: found.fee,
        policy: hash,
        anchors,
        reasons,
    })
}
