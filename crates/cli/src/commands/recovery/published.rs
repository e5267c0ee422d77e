//! `keyward recovery publish` and `fetch`: the register in the books of the server, so that replicas watch its dates and
//! nobody is the only one who has it. Of what the server shows nothing is believed that does not verify.

use approver::time;
use custody::{Hash, canon};
use evidence::register::{Register, SignedEntry, Signer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Book, kept};
use crate::commands::emit;
use crate::commands::money::call::{decode, get, list, post};
use crate::failure::{Class, Failure, Result};
use crate::home::write;
use crate::session::now;

/// Most entries that are sent at once, as the server takes them.
const ENTRIES_LIMIT: usize = 100;

/// Longest body with entries, in bytes, as the server takes it.
const BODY_LIMIT_BYTES: usize = 128 * 1024;

/// What stands around entries.
const AROUND: (&[u8], &[u8]) = (br#"{"entries":["#, b"]}");

/// The end of the register, as the server tells it.
#[derive(Deserialize)]
struct End {
    entries: u64,
    head: Hash,
}

/// What was sent or taken, and what there is now.
#[derive(Serialize)]
struct Shared {
    /// Entries that went from here to there, or the other way.
    moved: usize,
    entries: u64,
    head: Hash,
}

impl Book<'_> {
    /// Sends what the server does not have.
    pub(super) fn publish(&mut self) -> Result<()> {
        let own = lines(&kept(&self.path)?);
        let End { entries, head } = decode(get(&mut self.session, "/v1/recovery")?)?;
        let there = usize::try_from(entries).unwrap_or(usize::MAX);
        if self.head_of(&own, there) != Some(head) {
            let theirs = self.theirs()?;
            let common = self.common(&own, &theirs)?;
            let what = format!("the server has {} entries, and this register {common} of them", theirs.len());
            return Err(Failure::new(Class::Refused, what, "keyward recovery fetch, then go on"));
        }
        let new = own.get(there..).unwrap_or_default();
        for part in parts(new) {
            let body = [AROUND.0, &part.join(&b',')[..], AROUND.1].concat();
            post(&mut self.session, "/v1/recovery/entries", &body)?;
        }
        let End { entries, head } = decode(get(&mut self.session, "/v1/recovery")?)?;
        if (entries, head) != (self.register.size(), self.register.head()) {
            let what = format!("the server ends with entry {entries}, {head}");
            let next = "somebody published at this moment: keyward recovery fetch";
            return Err(Failure::new(Class::Refused, what, next));
        }
        self.shared("published", new.len())
    }

    /// Takes what others published.
    pub(super) fn fetch(&mut self) -> Result<()> {
        let own = lines(&kept(&self.path)?);
        let theirs = self.theirs()?;
        let common = self.common(&own, &theirs)?;
        let new = theirs.get(common..).unwrap_or_default();
        if !new.is_empty() {
            let file = file(&theirs);
            self.register = self.verified(&file)?;
            write(&self.path, &file)?;
        }
        self.shared("fetched", new.len())
    }

    fn shared(&self, done: &str, moved: usize) -> Result<()> {
        let (entries, head) = (self.register.size(), self.register.head());
        let text = format!("{done:<12}{moved}\nentries     {entries}\nhead        {head}\n");
        emit(self.session.global, &text, &Shared { moved, entries, head })
    }

    /// The hash of the last of so many lines, if there are so many.
    fn head_of(&self, lines: &[Vec<u8>], count: usize) -> Option<Hash> {
        match count.checked_sub(1) {
            Some(last) => lines.get(last).map(|line| Hash::sha256(line)),
            None => Some(self.session.genesis().hash()),
        }
    }

    /// What the server has, if it verifies.
    fn theirs(&mut self) -> Result<Vec<Vec<u8>>> {
        // Somebody new may have signed.
        self.session.sync()?;
        let entries: Vec<Value> = list(&mut self.session, "/v1/recovery/entries", &[])?;
        let lines: std::result::Result<Vec<_>, _> = entries.iter().map(canon::encode).collect();
        let lines = lines.map_err(|error| unverified(&error))?;
        self.verified(&file(&lines))?;
        Ok(lines)
    }

    fn verified(&self, file: &[u8]) -> Result<Register> {
        let state = self.session.replica.state();
        let read = Register::read(file, state.genesis_hash(), &|key| Signer::of(state, key), now());
        read.map_err(|error| unverified(&error))
    }

    /// How many entries both have. One is the beginning of the other, or it is said where they part.
    fn common(&self, own: &[Vec<u8>], theirs: &[Vec<u8>]) -> Result<usize> {
        let common = own.iter().zip(theirs).take_while(|(own, theirs)| own == theirs).count();
        let (Some(here), Some(there)) = (own.get(common), theirs.get(common)) else { return Ok(common) };
        let what = format!(
            "entry {} is {} here, and {} there: both were entered without the other",
            common.saturating_add(1),
            self.of(here),
            self.of(there)
        );
        let next = "put this file aside, fetch the register that was published first (keyward recovery fetch), and \
                    enter anew what only yours has; ask for new proofs of what was challenged in it";
        Err(Failure::new(Class::Refused, what, next))
    }

    /// An entry in words.
    fn of(&self, line: &[u8]) -> String {
        let Ok(SignedEntry { entry, .. }) = canon::decode(line) else {
            return Hash::sha256(line).to_string();
        };
        let signer = Signer::of(self.session.replica.state(), &entry.by);
        let who = signer.map_or_else(|| entry.by.to_string(), |signer| signer.person.to_string());
        format!("of {who} at {} ({})", time(entry.at), Hash::sha256(line))
    }
}

fn unverified(error: &dyn std::fmt::Display) -> Failure {
    let next = "take nothing of it; compare with the copies that others keep, and with the head on paper";
    Failure::new(Class::Unverified, format!("the register of the server: {error}"), next)
}

/// The lines of a register, without their ends.
fn lines(file: &[u8]) -> Vec<Vec<u8>> {
    let lines = file.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec()).collect()
}

fn file(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

/// Lines in parts that the server takes at once.
fn parts(lines: &[Vec<u8>]) -> Vec<Vec<&[u8]>> {
    let mut parts: Vec<Vec<&[u8]>> = Vec::new();
    let mut bytes = 0;
    for line in lines {
        // Each with a comma.
        let longer = line.len().saturating_add(1);
        bytes += longer;
        match parts.last_mut() {
            Some(part) if part.len() < ENTRIES_LIMIT && bytes <= BODY_LIMIT_BYTES => part.push(line),
            _ => {
                bytes = longer.saturating_add(AROUND.0.len()).saturating_add(AROUND.1.len());
                parts.push(vec![line]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use evidence::register::ENTRY_LIMIT_BYTES;

    use super::*;

    #[test]
    fn parts_are_what_the_server_takes_at_once() {
        assert_eq!((ENTRIES_LIMIT, BODY_LIMIT_BYTES), (api::ENTRIES_LIMIT, api::ENTRIES_BODY_LIMIT_BYTES));
        let sizes = |lines: &[Vec<u8>]| parts(lines).iter().map(Vec::len).collect::<Vec<_>>();
        assert!(sizes(&[]).is_empty());
        for (count, expected) in [(1, vec![1]), (ENTRIES_LIMIT, vec![100]), (ENTRIES_LIMIT + 1, vec![100, 1])]
        {
            assert_eq!(sizes(&vec![vec![b'x'; 10]; count]), expected);
        }
        let around = AROUND.0.len() + AROUND.1.len();
        let longest = vec![b'x'; ENTRY_LIMIT_BYTES];
        let rest = |over: usize| vec![b'x'; BODY_LIMIT_BYTES - ENTRY_LIMIT_BYTES - 2 - around + over];
        assert_eq!(sizes(&[longest.clone(), rest(0)]), [2]);
        assert_eq!(sizes(&[longest.clone(), rest(1)]), [1, 1]);
        assert_eq!(sizes(&vec![longest; 3]), [1, 1, 1]);
    }

    #[test]
    fn lines_and_files_are_the_same_thing() {
        let all = lines(b"a\nbc\n");
        assert_eq!(all, [b"a".to_vec(), b"bc".to_vec()]);
        assert_eq!(file(&all), b"a\nbc\n");
        assert!(lines(b"").is_empty() && file(&[]).is_empty());
    }
}
