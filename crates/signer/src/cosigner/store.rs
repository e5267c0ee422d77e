//! What a co-signer keeps on disk: records of its three journals, and sealed shares.

use custody::statement::Envelope;
use custody::{Blob, Hash, canon};
use keys::share::ShareSecret;
use serde::{Deserialize, Serialize};

use super::{Cosigner, Effect, StartError};

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
    /// Sealed shares: file name and bytes.
    pub shares: Vec<(String, Vec<u8>)>,
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
        /// The authorisation or ceremony.
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
    format!("{ceremony}-{slot}.share")
}

fn share_of(file: &str) -> Option<(Hash, u32)> {
    let (ceremony, slot) = file.strip_suffix(".share")?.split_once('-')?;
    Some((Hash::from_hex(ceremony)?, slot.parse().ok()?))
}

impl Cosigner {
    pub(super) fn append_guard(&mut self, record: &GuardRecord) {
        if let Ok(bytes) = canon::encode(record) {
            self.out.push(Effect::Append(File::Guard, bytes));
        }
    }

    /// Replays what the disk holds: the log first, then what was in flight.
    pub(super) fn load(&mut self, disk: &Disk) -> Result<(), StartError> {
        self.load_log(&disk.log)?;
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
        let writes = disk.agreement.iter().map(Vec::as_slice);
        self.agreement.replay(writes).map_err(|e| StartError::Wrong(e.to_string()))?;
        for (file, bytes) in &disk.shares {
            let wrong = |why: String| StartError::Wrong(format!("share file {file}: {why}"));
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
                        state.apply(&parsed, &self.desk.decoder)?;
                        self.heads.push_final(batch.clone());
                    }
                    done = upto;
                    super::check_head(&state, &note).map_err(StartError::Wrong)?;
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
