//! The list of deposits that a person must look at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use deposits::Screening;

use crate::clerk::ClerkError;

/// Largest list in bytes: some 200,000 lines.
const LIST_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// Longest reason in bytes; it stands in the record of each deposit that is held for it.
const REASON_LIMIT_BYTES: usize = 200;

/// Deposits to hold, from a file that may change at any time. Each line names one by its output
/// (`txid:vout`), its transaction or the own address that it pays, and then says why; empty lines and lines that
/// begin with `#` do not count.
///
/// While the file cannot be read or understood all deposits are held.
#[derive(Debug)]
pub(super) struct Screened {
    path: Option<PathBuf>,
    /// When the file changed last, and its length.
    seen: Option<(SystemTime, u64)>,
    /// Nothing while the file is of no use.
    list: Option<BTreeMap<String, String>>,
}

impl Default for Screened {
    /// Nothing is held.
    fn default() -> Self {
        Self { path: None, seen: None, list: Some(BTreeMap::new()) }
    }
}

impl Screened {
    /// Reads the list; none is an empty one.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub(super) fn new(path: Option<PathBuf>) -> Result<Self, ClerkError> {
        let mut this = Self { path, ..Self::default() };
        this.read().map_err(ClerkError::Other)?;
        Ok(this)
    }

    /// Reads the list again if it changed.
    pub(super) fn reload(&mut self) {
        if let Err(why) = self.read() {
            if self.list.take().is_some() {
                eprintln!("keyward-server: {why}; all deposits are held until then");
            }
            self.seen = None;
        }
    }

    fn read(&mut self) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let bad = |why: String| format!("screening {}: {why}", path.display());
        let found = std::fs::metadata(path).and_then(|found| Ok((found.modified()?, found.len())));
        let seen = found.map_err(|error| bad(error.to_string()))?;
        if self.seen == Some(seen) {
            return Ok(());
        }
        self.list = Some(parse(path, seen.1).map_err(bad)?);
        self.seen = Some(seen);
        Ok(())
    }

    /// What the list says of a deposit. Its address is derived only if there is somebody on the list.
    pub(super) fn judge(&self, outpoint: &str, address: impl FnOnce() -> Option<String>) -> Screening {
        let Some(list) = &self.list else { return Screening::Unavailable };
        if list.is_empty() {
            return Screening::Pass;
        }
        let Some(address) = address() else { return Screening::Unavailable };
        let txid = outpoint.split(':').next().unwrap_or_default();
        let found = [outpoint, txid, &address].into_iter().find_map(|key| list.get(key));
        found.map_or(Screening::Pass, |why| Screening::Hold(why.clone()))
    }
}

fn parse(path: &Path, length: u64) -> Result<BTreeMap<String, String>, String> {
    if length > LIST_LIMIT_BYTES {
        return Err(format!("{length} bytes, at most {LIST_LIMIT_BYTES} are read; drop old lines"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut list = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (what, why) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let why = why.trim();
        if why.is_empty() || why.len() > REASON_LIMIT_BYTES {
            return Err(format!(
                "line {number} needs a reason of 1 to {REASON_LIMIT_BYTES} bytes behind the address or transaction"
            ));
        }
        list.insert(what.to_owned(), why.to_owned());
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> impl FnOnce() -> Option<String> {
        let address = address.to_owned();
        || Some(address)
    }

    fn screened(text: &str) -> Result<Screened, ClerkError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Screened::new(Some(file.path().to_owned()))
    }

    #[test]
    fn outputs_transactions_and_addresses_are_held_for_the_reason_given() {
        let list = screened("# names\nab:1 stolen\n\ncd   sanctioned  person\nbcrt1p asked by the police\n")
            .unwrap();
        let hold = |why: &str| Screening::Hold(why.to_owned());
        assert_eq!(list.judge("ab:1", at("bcrt1q")), hold("stolen"));
        assert_eq!(list.judge("ab:2", at("bcrt1q")), Screening::Pass, "another output");
        assert_eq!(list.judge("cd:9", at("bcrt1q")), hold("sanctioned  person"));
        assert_eq!(list.judge("ef:0", at("bcrt1p")), hold("asked by the police"));
        assert_eq!(list.judge("ef:0", || None), Screening::Unavailable, "of an address that nobody can tell");
        let nobody = Screened::new(None).unwrap();
        assert_eq!(nobody.judge("ab:1", || unreachable!("nobody is looked for")), Screening::Pass);
    }

    #[test]
    fn a_line_without_a_reason_or_with_a_long_one_is_refused() {
        let line = |length: usize| format!("ab {}", "x".repeat(length));
        assert!(screened(&line(REASON_LIMIT_BYTES)).is_ok());
        for bad in [line(REASON_LIMIT_BYTES + 1), "ab".into(), "ab  ".into()] {
            assert!(screened(&bad).is_err_and(|error| error.to_string().contains("line 1")), "{bad}");
        }
    }

    #[test]
    fn a_large_list_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LIST_LIMIT_BYTES + 1).unwrap();
        assert!(
            Screened::new(Some(file.path().to_owned())).is_err_and(|e| e.to_string().contains("at most"))
        );
        let line = format!("#{}\n", "x".repeat(usize::try_from(LIST_LIMIT_BYTES).unwrap() - 2));
        std::fs::write(file.path(), line).unwrap();
        assert!(Screened::new(Some(file.path().to_owned())).is_ok());
    }

    #[test]
    fn a_list_that_is_gone_holds_everything_until_it_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        assert!(Screened::new(Some(path.clone())).is_err(), "not at the start");
        std::fs::write(&path, "ab stolen").unwrap();
        let mut list = Screened::new(Some(path.clone())).unwrap();
        std::fs::remove_file(&path).unwrap();
        list.reload();
        assert_eq!(list.judge("cd:0", at("bcrt1p")), Screening::Unavailable);
        std::fs::write(&path, "cd also stolen").unwrap();
        list.reload();
        assert_eq!(list.judge("cd:0", at("bcrt1p")), Screening::Hold("also stolen".into()));
        assert_eq!(list.judge("ab:0", at("bcrt1p")), Screening::Pass, "no longer in it");
    }
}
