//! The register of recovery components: what there is, where it lies under which seal, who touched it, and when it
//! was last shown to be whole (DACS REC-02, REC-03, REC-04, REC-05, REC-09).
//!
//! A file of signed entries, each of which names the one before. Nothing in it is secret, nothing is ever
//! changed, and what it comes to follows from its entries alone: whoever has the file and the keys of the log
//! reads the same register, and judges each entry by the same rules as on the day. `docs/spec/register.md`
//! gives the bytes.

mod entry;
mod observed;
mod rules;
mod status;

use std::collections::BTreeMap;

use custody::name::Name;
use custody::state::{Owner, State};
use custody::{Hash, PublicKey};

pub use entry::{
    Answer, CHALLENGE_FORMAT, Challenge, Component, ComponentId, Document, Drill, ENTRY_FORMAT, Entry,
    Failed, FreezeDrill, Medium, PAYLOAD_TYPE, Review, SealChange, Set, SignedEntry, Site, What,
};
pub use observed::{Change, Recorded, changes};
pub use rules::RegisterError;
pub use status::{
    DRILL_INTERVAL_S, HEALTH_INTERVAL_S, Intervals, NOTICE_S, REVIEW_INTERVAL_S, Row, Standing,
};

/// Longest line of the file in bytes: a set of 64 components with long texts.
pub const ENTRY_LIMIT_BYTES: usize = 65_536;

/// Largest file in bytes: decades of checks.
pub const REGISTER_LIMIT_BYTES: usize = 64 << 20;

/// Longest text of an entry in bytes: some sentences.
pub const TEXT_LIMIT_BYTES: usize = 2_000;

/// How long a challenge may be answered, in seconds (14 days): an answer that is older proves an older state.
pub const ANSWER_LIMIT_S: u64 = 14 * 24 * 3600;

/// How far the clock of the person who wrote the last entry may be ahead of the reader's, in seconds.
pub const CLOCK_TOLERANCE_S: u64 = 600;

/// So long after its key went out of use an entry still counts, in seconds: twice the tolerance of clocks, so that
/// what was taken in before the key was revoked stays readable for ever.
pub const REVOKED_SLACK_S: u64 = 2 * CLOCK_TOLERANCE_S;

/// The key of a person, as the command log has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer {
    /// Whose.
    pub person: Name,
    /// The public key (Ed25519).
    pub public: PublicKey,
    /// When it went out of use, in log time: it signs nothing later.
    pub revoked_at: Option<u64>,
}

impl Signer {
    /// The person whose key this is in the log; nothing for keys of machines and co-signers, who enter nothing.
    pub fn of(state: &State, key: &Hash) -> Option<Self> {
        let record = state.key(key)?;
        match &record.owner {
            Owner::Person(person) => {
                Some(Self { person: person.clone(), public: record.public, revoked_at: record.revoked_at })
            }
            Owner::Machine(_) | Owner::Cosigner(_) => None,
        }
    }
}

/// What the entries of a register come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    genesis: Hash,
    head: Hash,
    size: u64,
    /// Of all lines with their ends.
    bytes: usize,
    last_at: u64,
    sets: BTreeMap<Hash, SetState>,
    drills: Vec<Hash>,
    /// Drills of freezes, as they were entered.
    freeze_drills: Vec<FreezeDrill>,
    reviews: BTreeMap<Document, u64>,
    /// Every challenge, by its hash.
    challenges: BTreeMap<Hash, Asked>,
}

/// A challenge that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Asked {
    challenge: Challenge,
    /// The number of its entry.
    number: u64,
    /// Whether it is still to be answered.
    open: bool,
}

/// A set of components and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct SetState {
    set: Set,
    replaced: bool,
    components: BTreeMap<ComponentId, ComponentState>,
    /// When a drill last passed; at first when the set was made, as that ceremony rebuilds the keys too.
    drilled_at: u64,
    /// When a drill failed, if none passed since.
    drill_failed_at: Option<u64>,
}

/// A component and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ComponentState {
    seal: String,
    /// A seal was not the registered one: in which entry, and the media that were not proven since.
    alarm: Option<(u64, Vec<Medium>)>,
    media: BTreeMap<Medium, Check>,
}

/// How a component on a medium was found.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Check {
    /// It was whole then.
    whole_at: u64,
    /// It was not, by this entry, for this reason.
    failed: Option<(u64, String)>,
}

impl Register {
    /// The empty register of a deployment.
    pub fn new(genesis: Hash) -> Self {
        Self {
            genesis,
            head: genesis,
            size: 0,
            bytes: 0,
            last_at: 0,
            sets: BTreeMap::new(),
            drills: Vec::new(),
            freeze_drills: Vec::new(),
            reviews: BTreeMap::new(),
            challenges: BTreeMap::new(),
        }
    }

    /// Reads a register: each entry follows from the one before, is signed by a person whom `signer` knows, and keeps the
    /// rules. `now` is the reader's clock.
    ///
    /// # Errors
    /// The first entry that is wrong, by its number; an end in the future.
    pub fn read(
        bytes: &[u8],
        genesis: Hash,
        signer: &dyn Fn(&Hash) -> Option<Signer>,
        now: u64,
    ) -> Result<Self, RegisterError> {
        if bytes.len() > REGISTER_LIMIT_BYTES {
            return Err(RegisterError::Long(bytes.len()));
        }
        let mut register = Self::new(genesis);
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = register.size.saturating_add(1);
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or(RegisterError::Torn(number))?;
            let (line, after) = rest.split_at(end);
            register.push(line, signer).map_err(|error| error.at(number))?;
            rest = after.get(1..).unwrap_or_default();
        }
        register.not_ahead_of(now)?;
        Ok(register)
    }

    /// The register with these lines more, without their ends, each judged as by [`Register::read`]. What was read
    /// before is not read again.
    ///
    /// # Errors
    /// The first entry that is wrong, by its number.
    pub fn extended<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a [u8]>,
        signer: &dyn Fn(&Hash) -> Option<Signer>,
    ) -> Result<Self, RegisterError> {
        let mut register = self.clone();
        for line in lines {
            let number = register.size.saturating_add(1);
            register.push(line, signer).map_err(|error| error.at(number))?;
        }
        Ok(register)
    }

    /// Whether the last entry is one of now or before, as far as clocks agree: one of the future would put every due
    /// date off.
    ///
    /// # Errors
    /// [`RegisterError::Future`].
    pub fn not_ahead_of(&self, now: u64) -> Result<(), RegisterError> {
        if self.last_at > now.saturating_add(CLOCK_TOLERANCE_S) {
            return Err(RegisterError::Future { last: self.last_at, now });
        }
        Ok(())
    }

    /// Takes one line, without its end.
    fn push(&mut self, line: &[u8], signer: &dyn Fn(&Hash) -> Option<Signer>) -> Result<(), RegisterError> {
        if line.len() > ENTRY_LIMIT_BYTES {
            return Err(RegisterError::Long(line.len()));
        }
        let bytes = self.bytes.saturating_add(line.len()).saturating_add(1);
        if bytes > REGISTER_LIMIT_BYTES {
            return Err(RegisterError::Long(bytes));
        }
        let SignedEntry { entry, signature } = custody::canon::decode(line)?;
        let by = signer(&entry.by).ok_or(RegisterError::Signer(entry.by))?;
        // Who enters it may have a clock that is a little ahead; what was taken in then stays readable.
        let late = |end: u64| entry.at > end.saturating_add(REVOKED_SLACK_S);
        if by.revoked_at.is_some_and(late) {
            return Err(RegisterError::Revoked(by.person));
        }
        if !custody::document::verify(&by.public, &entry.signed_bytes()?, &signature.0) {
            return Err(RegisterError::Signature(by.person));
        }
        self.apply(&entry, &by.person)?;
        (self.head, self.bytes) = (Hash::sha256(line), bytes);
        Ok(())
    }

    /// The next entry, to be signed by `by` and appended: it is judged here, before anybody signs.
    ///
    /// # Errors
    /// What the rules refuse.
    pub fn next(&self, at: u64, by: &Signer, what: What) -> Result<Entry, RegisterError> {
        let entry = Entry {
            at: at.max(self.last_at),
            by: custody::statement::key_id(&by.public),
            format: ENTRY_FORMAT.to_owned(),
            genesis: self.genesis,
            number: self.size.saturating_add(1),
            previous: self.head,
            what,
        };
        if by.revoked_at.is_some() {
            return Err(RegisterError::Revoked(by.person.clone()));
        }
        self.clone().apply(&entry, &by.person)?;
        Ok(entry)
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When the last entry was made, in seconds since 1970; 0 before there is one. None follows with an earlier time.
    pub fn last_at(&self) -> u64 {
        self.last_at
    }

    /// The hash of the last line, of genesis before there is one. Who has it on paper notices that entries at the end
    /// are missing.
    pub fn head(&self) -> Hash {
        self.head
    }

    /// The sets in use, in the order of the hashes of their reports.
    pub fn sets(&self) -> impl Iterator<Item = &Set> {
        self.sets.values().filter(|state| !state.replaced).map(|state| &state.set)
    }

    /// The number of the seal around a component.
    pub fn seal(&self, set: &Hash, component: ComponentId) -> Option<&str> {
        Some(&self.sets.get(set)?.components.get(&component)?.seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decades of entries are not written here: their count is.
    #[test]
    fn a_register_on_both_sides_of_its_limit() {
        let line = [b'x'; 10];
        let with = |bytes: usize| {
            let full = Register { bytes, ..Register::new(Hash([9; 32])) };
            full.extended([line.as_slice()], &|_| None).unwrap_err().to_string()
        };
        assert!(with(REGISTER_LIMIT_BYTES - 11).contains("not an entry"), "it would fit");
        assert!(with(REGISTER_LIMIT_BYTES - 10).contains(&format!("{} bytes", REGISTER_LIMIT_BYTES + 1)));
    }
}
