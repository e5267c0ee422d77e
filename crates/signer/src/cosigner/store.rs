//! What a co-signer keeps on disk: records of its three journals, and sealed shares.

use std::collections::BTreeSet;

use custody::statement::Envelope;
use custody::{Blob, Hash, canon};
use keys::seal::SealKey;
use keys::share::ShareSecret;
use serde::{Deserialize, Serialize};

use super::{Cosigner, Effect, StartError};

/// Records of the guard journal that nobody needs any more, after which the journal is written anew: a
/// start reads little, and the file is not written again for every payment.
pub const GUARD_DEAD_LIMIT: usize = 1_000;

/// How the names of files end that hold shares …
pub const SHARE_SUFFIX: &str = ".share";

/// … and of those that hold keys of resharings.
pub const OFFER_SUFFIX: &str = ".offer";

/// A journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum File {
    /// Batches and final heads.
    Log,
    /// The agreement's own log.
    Agreement,
    /// Reductions that are held, and numbers of sessions that were begun.
    Guard,
}

impl File {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Log, Self::Agreement, Self::Guard];

    /// The file's name in the data directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log.journal",
            Self::Agreement => "agreement.journal",
            Self::Guard => "guard.journal",
        }
    }
}

/// What the disk held at the start.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Records of [`File::Log`].
    pub log: Vec<Vec<u8>>,
    /// Records of [`File::Agreement`].
    pub agreement: Vec<Vec<u8>>,
    /// Records of [`File::Guard`].
    pub guard: Vec<Vec<u8>>,
    /// Sealed shares, and keys of resharings: file name and bytes.
    pub shares: Vec<(String, Vec<u8>)>,
    /// Final heads that were entered on this host, through which the log must pass (P30).
    pub pins: Vec<String>,
    /// People say that no process ever ran with these keys: one that joins then starts like any other (P12).
    pub first_start: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum LogRecord {
    Batch(Blob),
    Final { height: u64, note: String },
}

/// A record of [`File::Guard`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum GuardRecord {
    /// A reduction that is held.
    Held(Blob),
    /// A session that was begun: its number is used up.
    Session {
        /// The session.
        id: Hash,
        /// The authorisation, or the account that was to be proved.
        work: Hash,
    },
}

pub(super) fn batch_record(batch: &[u8]) -> Vec<u8> {
    canon::encode(&LogRecord::Batch(Blob(batch.to_vec()))).unwrap_or_default()
}

pub(super) fn note_record(height: u64, note: &str) -> Vec<u8> {
    canon::encode(&LogRecord::Final { height, note: note.to_owned() }).unwrap_or_default()
}

/// The name of the file that holds a share.
pub(super) fn share_file(ceremony: &Hash, slot: u32) -> String {
    format!("{ceremony}-{slot}{SHARE_SUFFIX}")
}

/// The name of the file that holds the key of a resharing.
pub(super) fn offer_file(dealing: &Hash) -> String {
    format!("{dealing}{OFFER_SUFFIX}")
}

fn share_of(file: &str) -> Option<(Hash, u32)> {
    let (ceremony, slot) = file.strip_suffix(SHARE_SUFFIX)?.split_once('-')?;
    Some((Hash::from_hex(ceremony)?, slot.parse().ok()?))
}

impl Cosigner {
    pub(super) fn append_guard(&mut self, record: &GuardRecord) {
        if let Ok(bytes) = canon::encode(record) {
            self.guard_records = self.guard_records.saturating_add(1);
            self.out.push(Effect::Append(File::Guard, bytes));
        }
    }

    /// Forgets the sessions of authorisations that ended by the time of the final log.
    ///
    /// That time only grows, and [`State::release`] refuses what ended before it: no session of these begins
    /// again, under whatever number, and no share of one leaves. Nonces need no number to stay unused: they
    /// are drawn anew for each session, live in memory only and are consumed when they sign (P28). What a
    /// number prevents is that frames of one session are taken for those of another, and an ended
    /// authorisation has none. The final head that shows the end is on disk before its sessions are
    /// forgotten there. Sessions of ceremonies are kept: they are few, and a proof may be asked for again.
    ///
    /// [`State::release`]: custody::state::State::release
    pub(super) fn prune_guard(&mut self) {
        let now = self.final_state.clock().time;
        let ended = |work: &Hash| self.final_state.authorisations().get(work).is_some_and(|a| a.end < now);
        self.used.retain(|work, _| !ended(work));
        let live = self.used.values().map(BTreeSet::len).fold(self.desk.held.len(), usize::saturating_add);
        if self.guard_records.saturating_sub(live) <= GUARD_DEAD_LIMIT {
            return;
        }
        let held = self.desk.held.values().map(|envelope| GuardRecord::Held(super::desk::blob(envelope)));
        let session = |work: Hash, id: &Hash| GuardRecord::Session { id: *id, work };
        let sessions = self.used.iter().flat_map(|(work, ids)| ids.iter().map(|id| session(*work, id)));
        let records: Result<Vec<_>, _> = held.chain(sessions).map(|record| canon::encode(&record)).collect();
        if let Ok(records) = records {
            self.guard_records = records.len();
            self.out.push(Effect::Replace(File::Guard, records));
        }
    }

    /// Replays what the disk holds: the log first, then what was in flight.
    pub(super) fn load(&mut self, disk: &Disk) -> Result<(), StartError> {
        self.load_log(&disk.log)?;
        self.guard_records = disk.guard.len();
        for record in &disk.guard {
            match read(record, "guard journal")? {
                GuardRecord::Session { id, work } => {
                    self.used.entry(work).or_default().insert(id);
                }
                GuardRecord::Held(bytes) => {
                    let Ok(envelope) = Envelope::parse(&bytes.0) else { continue };
                    if matches!(self.desk.admit(&envelope), Ok(None)) {
                        self.desk.held.insert(envelope.id(), envelope);
                    }
                }
            }
        }
        self.seat()?;
        if let Some(agreement) = &mut self.agreement {
            let writes = disk.agreement.iter().map(Vec::as_slice);
            agreement.replay(writes).map_err(|e| StartError::Wrong(e.to_string()))?;
        }
        for (file, bytes) in &disk.shares {
            let wrong = |why: String| StartError::Wrong(format!("share file {file}: {why}"));
            if let Some(dealing) = file.strip_suffix(OFFER_SUFFIX).and_then(Hash::from_hex) {
                let key =
                    self.vault.open(&self.offer_file_context(), bytes).map_err(|e| wrong(e.to_string()))?;
                self.offers.insert(dealing, SealKey::from_locked(key).map_err(|e| wrong(e.to_string()))?);
                continue;
            }
            let (ceremony, slot) =
                share_of(file).ok_or_else(|| wrong("not a name of a share file".into()))?;
            let plain =
                self.vault.open(&self.share_file_context(), bytes).map_err(|e| wrong(e.to_string()))?;
            let public = self.share_public(ceremony, slot)?;
            let share =
                ShareSecret::open(plain.expose(), &public, &self.name).map_err(|e| wrong(e.to_string()))?;
            self.shares.insert((ceremony, slot), share);
        }
        Ok(())
    }

    fn load_log(&mut self, records: &[Vec<u8>]) -> Result<(), StartError> {
        // Heads after the last final one are opened again: their batches were decided, and their
        // co-signatures are made anew when the agreement gives out its decision.
        let mut batches = Vec::new();
        let mut done = 0usize;
        let mut state = self.desk.state.clone();
        for record in records {
            match read(record, "log journal")? {
                LogRecord::Batch(batch) => batches.push(batch.0),
                LogRecord::Final { height, note } => {
                    let upto = usize::try_from(height).unwrap_or(usize::MAX);
                    for batch in batches.iter().take(upto).skip(done) {
                        let parsed = custody::batch::Batch::parse(batch)?;
                        let before = state.log_size();
                        state.apply(&parsed, &self.desk.decoder)?;
                        self.pins.check(before, &state)?;
                        self.heads.push_final(batch.clone());
                    }
                    done = upto;
                    let head = state.final_head(&note).map_err(|e| StartError::Wrong(e.to_string()))?;
                    let note = head.note();
                    self.desk.final_note.clone_from(&note);
                    self.heads.finish(height, note);
                    self.desk.final_height = height;
                    self.final_state = state.clone();
                }
            }
        }
        self.desk.state = state;
        for batch in batches.into_iter().skip(done) {
            let parsed = custody::batch::Batch::parse(&batch)?;
            self.reopen(batch, &parsed)?;
        }
        Ok(())
    }

    /// A batch that was decided and not known to be final when the process ended: co-signed again.
    fn reopen(&mut self, batch: Vec<u8>, parsed: &custody::batch::Batch) -> Result<(), StartError> {
        let mut next = self.desk.state.clone();
        next.apply(parsed, &self.desk.decoder)?;
        self.pins.check(self.desk.state.log_size(), &next)?;
        let body = next.checkpoint().encode().map_err(|e| StartError::Wrong(e.to_string()))?;
        let name = self.name.to_string();
        let time = next.clock().time;
        let line = custody::checkpoint::cosign(&body, &name, self.secrets.cosign_signing_key(), time);
        self.heads.push_open(batch, next.clone(), body, (name, line));
        self.desk.state = next;
        Ok(())
    }
}

fn read<T: for<'a> Deserialize<'a> + Serialize>(record: &[u8], what: &str) -> Result<T, StartError> {
    canon::decode(record).map_err(|e| StartError::Wrong(format!("{what}: {e}; restore the data directory")))
}
