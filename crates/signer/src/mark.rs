//! The mark against disks that were put back (rule `P12`): every write on which a vote or a share may depend is
//! numbered on the disk, and counted in a TPM before anything that depends on it leaves.
//!
//! A write of the journals of the agreement or of the guard ends, in the same fsync, with a mark that bears the next
//! count; then the counter goes on by one. A mark names the newest marks of both journals, so that one alone cannot
//! be put back. Each start writes and counts three marks ([`AT_START`]) before anything leaves.
//!
//! **Claim**: a disk that fits, because its newest mark is the count *c*, or *c* + 1 where the process was killed
//! between the two, has every write on which anything depends that ever left, or says that it is to rejoin. Assumed:
//! of all copies of a disk one runs at a time. Take a process A from which something left when it had counted *k*, and
//! a disk D that fits later.
//!
//! - A counted its first marks, *a* + 1 to *a* + 3, before, so *k* is *a* + 3 or more; and *c* is *k* or more.
//! - Each count is made once. Whoever comes after A read *k* or more at its start, and whoever came before A read *a*
//!   or less then and counted no further. So of *a* + 2 and above, up to *k*, each number is on marks of A alone.
//!   (*a* + 1 is not: one that was killed before it counted may have written it as well.)
//! - The newest mark of D is *k* or more: it is A's, or of a process that began, likewise, with a disk that fitted
//!   when A had ended. The mark names *a* + 2 or more for both journals, and their last marks are these. So both files
//!   have what A wrote before.
//! - What A wrote without a mark, when power failed within the write, nothing depends on until a later start has
//!   replayed it; that one's first marks, in both files and behind it, are counted before it leaves.
//!
//! Any other disk is noticed, and starts as with `--restored`. A mark also says whether this co-signer is to rejoin,
//! until it has: a process that is killed meanwhile does not forget what the counter no longer tells.

use std::collections::BTreeMap;

use custody::canon::{self, CanonError};
use serde::{Deserialize, Serialize};

use crate::cosigner::File;
use crate::tpm::{Counter, TpmError};

/// The journals that are marked: votes and sessions. The log is fetched from others, under final heads.
pub(crate) const MARKED: [File; 2] = [File::Agreement, File::Guard];

/// The journals that get a mark at each start, in this order. Both: the end of either may be a write that lost its
/// mark when power failed. The first one again, because the first number may have been written before by one that was
/// killed before it counted.
pub(crate) const AT_START: [File; 3] = [File::Agreement, File::Guard, File::Agreement];

/// How the record of a mark begins, and no other record of these journals.
const BEGIN: &[u8] = b"{\"mark\":";

/// Why a co-signer does not start, or go on, with its counter.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// A mark on disk is none.
    #[error("a mark in {0}: {1}; restore this co-signer")]
    Wrong(&'static str, CanonError),
    /// The counter is behind the disk.
    #[error(
        "the disk is marked {mark}, and the counter {}: this is another TPM, it was cleared, or the index is another \
         one. Name the right one, or enter this one with --restored", stands(*.counter)
    )]
    OtherCounter {
        /// The newest mark.
        mark: u64,
        /// The count.
        counter: Option<u64>,
    },
    /// Nothing is here, and the counter knows of something.
    #[error(
        "this directory is empty, and the counter stands at {0}: if this co-signer is new, undefine the index \
         (tpm2_nvundefine) or take another; if its disk was lost, start with --restored"
    )]
    Empty(u64),
    /// The option was left out.
    #[error(
        "this directory is counted in a TPM, at {0}: start with --tpm, or, when that TPM is lost, with --restored at \
         each start"
    )]
    NoCounter(u64),
}

fn stands(counter: Option<u64>) -> String {
    counter.map_or("has never counted".to_owned(), |count| format!("stands at {count}"))
}

/// The newest marks of both journals, and whether the co-signer is to rejoin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    agreement: u64,
    guard: u64,
    restored: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    mark: Mark,
}

impl Mark {
    fn number(self) -> u64 {
        self.agreement.max(self.guard)
    }

    fn of(&mut self, file: File) -> Option<&mut u64> {
        match file {
            File::Agreement => Some(&mut self.agreement),
            File::Guard => Some(&mut self.guard),
            File::Log => None,
        }
    }
}

/// How the disk and the counter stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// Nothing was ever counted, on either side.
    New,
    /// The disk is the newest one.
    Fits,
    /// It is the newest one, and the process was killed before it counted.
    Uncounted,
    /// It is a copy of before, or nobody can know.
    Old(&'static str),
}

/// The marks of a data directory.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    found: BTreeMap<File, Mark>,
    newest: Option<Mark>,
    /// Whether any journal holds anything else.
    used: bool,
    pub(crate) counter: Option<Counter>,
    /// Said to be restored, at each start: it goes on without a counter.
    alone: bool,
}

impl Marks {
    /// Takes the marks out of the records of a journal. The core knows of none.
    pub(crate) fn strip(&mut self, file: File, records: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, MarkError> {
        let is_mark = |record: &Vec<u8>| MARKED.contains(&file) && record.starts_with(BEGIN);
        let (marks, records): (Vec<_>, Vec<_>) = records.into_iter().partition(is_mark);
        self.used |= !records.is_empty();
        if let Some(last) = marks.last() {
            let record: Record = canon::decode(last).map_err(|e| MarkError::Wrong(file.name(), e))?;
            self.found.insert(file, record.mark);
            self.newest = self.found.values().copied().max_by_key(|mark| mark.number());
        }
        Ok(records)
    }

    fn find(&self, counter: Option<u64>) -> Result<Finding, MarkError> {
        let Some(newest) = self.newest else {
            return match counter {
                None => Ok(Finding::New),
                Some(count) if !self.used => Err(MarkError::Empty(count)),
                Some(_) => Ok(Finding::Old("it bears no mark, and the counter was used before")),
            };
        };
        let mark = newest.number();
        let count = counter.filter(|count| count.saturating_add(1) >= mark);
        let count = count.ok_or(MarkError::OtherCounter { mark, counter })?;
        let last = |file| self.found.get(&file).copied().unwrap_or_default();
        let (agreement, guard) = (last(File::Agreement).agreement, last(File::Guard).guard);
        Ok(if (agreement, guard) != (newest.agreement, newest.guard) {
            Finding::Old("its journals are not of the same moment")
        } else if count > mark {
            Finding::Old("the counter has gone on without it")
        } else if count == mark {
            Finding::Fits
        } else {
            Finding::Uncounted
        })
    }

    /// Compares the disk, whose journals are locked, with the counter, and takes that counter from here on. With one,
    /// the journals [`AT_START`] are marked before anything else.
    pub(crate) fn enter(&mut self, counter: Option<Counter>, told: bool) -> Result<Finding, MarkError> {
        let Some(mut counter) = counter else {
            self.alone = told;
            self.check_entered()?;
            return Ok(Finding::Fits);
        };
        // It was opened before the journals were locked: another process may have counted since.
        counter.look()?;
        let finding = if told { Finding::Old("--restored says so") } else { self.find(counter.value())? };
        // The first count of a counter may be any.
        if finding == Finding::Uncounted || counter.value().is_none() {
            counter.increment()?;
        }
        match finding {
            Finding::New => self.newest = Some(Mark::default()),
            Finding::Old(_) => self.newest = Some(Mark { restored: true, ..Mark::default() }),
            Finding::Fits | Finding::Uncounted => {}
        }
        self.counter = Some(counter);
        Ok(finding)
    }

    /// Nothing is written to a marked directory as if it were none.
    pub(crate) fn check_entered(&self) -> Result<(), MarkError> {
        match self.newest {
            Some(newest) if self.counter.is_none() && !self.alone => {
                Err(MarkError::NoCounter(newest.number()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the co-signer is to rejoin, as the newest mark says.
    pub(crate) fn restored(&self) -> bool {
        self.newest.is_some_and(|mark| mark.restored)
    }

    /// It has rejoined. Without a counter that is forgotten at the next start.
    pub(crate) fn caught_up(&mut self) {
        if let Some(newest) = &mut self.newest {
            newest.restored = self.counter.is_none();
        }
    }

    /// The record with which the next write of a journal ends; none where nothing is counted. Without a counter it is
    /// the newest mark again: a journal that is replaced keeps it.
    pub(crate) fn next(&mut self, file: File) -> Result<Option<Vec<u8>>, MarkError> {
        let Some(newest) = &mut self.newest else { return Ok(None) };
        let Some(last) = newest.of(file) else { return Ok(None) };
        match &self.counter {
            Some(counter) => *last = counter.value().unwrap_or_default().saturating_add(1),
            None => newest.restored = true,
        }
        let record = canon::encode(&Record { mark: *newest });
        record.map(Some).map_err(|e| MarkError::Wrong(file.name(), e))
    }

    /// Counts the write that bears the next mark. It is on disk.
    pub(crate) fn count(&mut self, file: File) -> Result<(), MarkError> {
        if let Some(counter) = self.counter.as_mut().filter(|_| MARKED.contains(&file)) {
            counter.increment()?;
        }
        Ok(())
    }
}
