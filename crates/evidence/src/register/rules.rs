//! Which entries a register takes, and what each one changes.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::canon::CanonError;
use custody::name::Name;
use thiserror::Error;

use super::entry::{
    Answer, CHALLENGE_FORMAT, Challenge, Component, ComponentId, Drill, ENTRY_FORMAT, Entry, Failed,
    FreezeDrill, Medium, Review, SealChange, Set, What,
};
use super::{
    ANSWER_LIMIT_S, Asked, Check, ComponentState, ENTRY_LIMIT_BYTES, REGISTER_LIMIT_BYTES, Register,
    SetState, TEXT_LIMIT_BYTES,
};

/// Why a register is not read, or does not take an entry.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RegisterError {
    /// The entry of this number is wrong.
    #[error("entry {number}: {why}")]
    At {
        /// Its number, from 1.
        number: u64,
        /// What is wrong.
        why: Box<RegisterError>,
    },
    /// Too long.
    #[error(
        "{0} bytes: an entry has at most {ENTRY_LIMIT_BYTES}, a register {REGISTER_LIMIT_BYTES}; use the file as it was written"
    )]
    Long(usize),
    /// The last line has no end.
    #[error("entry {0} ends in the middle: it was not written to its end; take it away, or another copy")]
    Torn(u64),
    /// Other bytes than the canonical ones.
    #[error("not an entry as this program writes it ({0}): somebody changed it, or a newer program wrote it")]
    Form(#[from] CanonError),
    /// Another version.
    #[error("format {0:?}, but this program reads {ENTRY_FORMAT}: use the program of its version")]
    Format(String),
    /// Of another deployment.
    #[error("it belongs to the deployment {0}: use the register of this one")]
    Genesis(Hash),
    /// It does not follow the entry before.
    #[error("it does not follow the entry before: entries were changed, left out or put in another order")]
    Chain,
    /// It is older than the entry before.
    #[error("it is dated before the entry before: set the clock right")]
    Clock,
    /// The register ends in the future.
    #[error(
        "the last entry is dated {last}, and the clock says {now}: set the clock right, or find who wrote it"
    )]
    Future {
        /// The time of the last entry.
        last: u64,
        /// The reader's clock.
        now: u64,
    },
    /// A key that the log does not have, or not a person's.
    #[error("signed by the key {0}, which is no person's in the log: bring the log up to date")]
    Signer(Hash),
    /// The key was out of use.
    #[error("signed by {0} with a key that was out of use then: sign with the key that is in the log now")]
    Revoked(Name),
    /// The signature does not verify.
    #[error("the signature of {0} does not verify: somebody changed it")]
    Signature(Name),
    /// The set cannot be entered.
    #[error("{control}: {why}")]
    Control {
        /// The id of the requirement, such as `REC-03`.
        control: &'static str,
        /// What breaks it, and what to do.
        why: String,
    },
    /// There is no such set, component or challenge.
    #[error("{0} is not in the register: keyward recovery status lists what is")]
    Unknown(String),
    /// It was entered before.
    #[error("{0} is in the register already")]
    Twice(String),
    /// The set is not in use any more.
    #[error("the set {0} was replaced: its components are destroyed")]
    Replaced(Hash),
    /// A text without words, or too long.
    #[error("give the {0}, in at most {TEXT_LIMIT_BYTES} bytes")]
    Text(&'static str),
    /// A challenge that nobody here could have made.
    #[error("the challenge has another {0} than this entry says: make a new one")]
    Challenge(&'static str),
    /// An answer that came too late.
    #[error("the challenge is older than {days} days: ask anew", days = ANSWER_LIMIT_S / 86_400)]
    Late,
    /// An answer that is wrong.
    #[error(
        "the answer is not one of component {0} to this challenge: the words are others, or damaged; read them again, or enter the failure"
    )]
    Wrong(ComponentId),
    /// Something that has not happened yet.
    #[error("it is dated after this entry: set the clock right")]
    Later,
    /// A seal that is somewhere else.
    #[error("the seal {0} is not new: compare the numbers, each seal is used once")]
    Seal(String),
}

type Done = Result<(), RegisterError>;

impl RegisterError {
    pub(super) fn at(self, number: u64) -> Self {
        Self::At { number, why: Box::new(self) }
    }
}

fn control(holds: bool, control: &'static str, why: impl FnOnce() -> String) -> Done {
    if holds { Ok(()) } else { Err(RegisterError::Control { control, why: why() }) }
}

fn text(text: &str, what: &'static str) -> Done {
    let sound = !text.trim().is_empty() && text.len() <= TEXT_LIMIT_BYTES;
    if sound { Ok(()) } else { Err(RegisterError::Text(what)) }
}

impl Set {
    /// How many components rebuild the secret at least.
    pub fn fewest(&self) -> usize {
        let mut thresholds: Vec<usize> = self.groups.iter().map(|group| usize::from(*group)).collect();
        thresholds.sort_unstable();
        thresholds.iter().take(self.group_threshold.into()).sum()
    }

    /// Whether these components rebuild the secret.
    pub fn met_by<'a>(&self, components: impl Iterator<Item = &'a Component>) -> bool {
        let mut have: BTreeMap<u8, usize> = BTreeMap::new();
        for component in components {
            *have.entry(component.component.group).or_default() += 1;
        }
        let met = (1u8..).zip(&self.groups).filter(|(group, threshold)| {
            have.get(group).is_some_and(|members| *members >= usize::from(**threshold))
        });
        met.count() >= usize::from(self.group_threshold)
    }

    /// Whether the set is one that may be in use: its scheme (REC-06), who holds it (REC-04, REC-07), where it
    /// lies (REC-03).
    ///
    /// # Errors
    /// The first requirement that it breaks.
    pub fn check(&self) -> Done {
        let ids: BTreeSet<ComponentId> = self.components.iter().map(|c| c.component).collect();
        let members = |group: u8| ids.iter().filter(|id| id.group == group).count();
        let complete = ids.len() == self.components.len()
            && ids.iter().all(|id| (1..=self.groups.len()).contains(&usize::from(id.group)))
            && (1u8..).zip(&self.groups).all(|(group, threshold)| {
                *threshold > 0
                    && members(group) >= usize::from(*threshold)
                    // Numbered from 1 without a gap.
                    && ids.iter().filter(|id| id.group == group).all(|id| usize::from(id.member) <= members(group))
            })
            && (1..=self.groups.len()).contains(&usize::from(self.group_threshold));
        control(complete, "REC-00", || {
            "components and scheme do not go together: register the report".into()
        })?;
        control(self.fewest() >= 2, "REC-06", || "one component alone rebuilds the secret".into())?;
        for component in &self.components {
            text(&component.container, "container")?;
            text(&component.seal, "seal")?;
        }

        let holders: BTreeSet<&Name> = self.components.iter().map(|c| &c.holder).collect();
        for holder in &holders {
            let own = || self.components.iter().filter(|c| c.holder == **holder);
            control(!self.met_by(own()), "REC-04", || {
                format!("{holder} alone holds enough components to rebuild the secret: no single person may")
            })?;
        }
        control(holders.len() == self.components.len(), "REC-07", || {
            "somebody holds two components of the set: each holder has one".into()
        })?;

        let sites: BTreeSet<&Name> = self.components.iter().map(|c| &c.site).collect();
        let unknown = sites.iter().find(|name| !self.sites.iter().any(|site| site.name == ***name));
        control(unknown.is_none(), "REC-03", || "a component lies at a site that is not described".into())?;
        let needed = self.fewest();
        control(sites.len() >= needed, "REC-03", || {
            format!(
                "components lie at {} sites: {needed} are needed to rebuild the secret, so at least {needed} must differ",
                sites.len()
            )
        })?;
        for site in self.sites.iter().filter(|site| site.operations) {
            let there = self.components.iter().filter(|c| c.site == site.name);
            control(!self.met_by(there), "REC-03", || {
                format!(
                    "{} is a site of operations, and enough components to rebuild the secret lie there",
                    site.name
                )
            })?;
        }
        let seals: BTreeSet<&str> = self.components.iter().map(|c| c.seal.as_str()).collect();
        control(seals.len() == self.components.len(), "REC-03", || {
            "two components have a seal of the same number".into()
        })
    }
}

impl Register {
    /// Takes an entry of `by`, whose signature was verified.
    pub(super) fn apply(&mut self, entry: &Entry, by: &Name) -> Done {
        if entry.format != ENTRY_FORMAT {
            return Err(RegisterError::Format(entry.format.clone()));
        }
        if entry.genesis != self.genesis {
            return Err(RegisterError::Genesis(entry.genesis));
        }
        if (entry.number, entry.previous) != (self.size.saturating_add(1), self.head) {
            return Err(RegisterError::Chain);
        }
        if entry.at < self.last_at {
            return Err(RegisterError::Clock);
        }
        match &entry.what {
            What::Set(set) => self.enter(set, entry.at)?,
            What::Challenged(challenge) => self.challenge(challenge, entry.at, by)?,
            What::Answered(answer) => self.answer(answer, entry.at)?,
            What::Failed(failed) => self.fail(failed)?,
            What::Seal(change) => self.reseal(change)?,
            What::Drill(drill) => self.drill(drill, entry.at)?,
            What::Reviewed(Review { document, .. }) => {
                self.reviews.insert(*document, entry.at);
            }
            What::FreezeDrill(drill) => self.freeze_drill(drill, entry.at)?,
        }
        self.size = entry.number;
        self.last_at = entry.at;
        Ok(())
    }

    fn enter(&mut self, set: &Set, at: u64) -> Done {
        set.check()?;
        if set.made_at > at {
            return Err(RegisterError::Later);
        }
        if self.sets.contains_key(&set.report) {
            return Err(RegisterError::Twice(format!("the set {}", set.report)));
        }
        let used = self.sets.values().flat_map(|s| s.components.values()).map(|c| c.seal.as_str());
        let used: BTreeSet<&str> = used.collect();
        if let Some(taken) = set.components.iter().find(|c| used.contains(c.seal.as_str())) {
            return Err(RegisterError::Seal(taken.seal.clone()));
        }
        if let Some(replaced) = &set.replaces {
            self.current(replaced)?.replaced = true;
        }
        let whole = || Check { whole_at: set.made_at, failed: None };
        let state = |component: &Component| ComponentState {
            seal: component.seal.clone(),
            alarm: None,
            media: Medium::ALL.into_iter().map(|medium| (medium, whole())).collect(),
        };
        let components = set.components.iter().map(|c| (c.component, state(c))).collect();
        let (replaced, drilled_at) = (false, set.made_at);
        let state = SetState { set: set.clone(), replaced, components, drilled_at, drill_failed_at: None };
        self.sets.insert(set.report, state);
        Ok(())
    }

    /// A set in use.
    fn current(&mut self, set: &Hash) -> Result<&mut SetState, RegisterError> {
        match self.sets.get_mut(set) {
            None => Err(RegisterError::Unknown(format!("the set {set}"))),
            Some(state) if state.replaced => Err(RegisterError::Replaced(*set)),
            Some(state) => Ok(state),
        }
    }

    fn challenge(&mut self, challenge: &Challenge, at: u64, by: &Name) -> Done {
        let same = |same, part| if same { Ok(()) } else { Err(RegisterError::Challenge(part)) };
        same(challenge.format == CHALLENGE_FORMAT, "format")?;
        same(challenge.at == at, "time")?;
        same(challenge.by == *by, "person")?;
        let id = challenge.component;
        let state = self.set_of(challenge).map(|state| state.components.contains_key(&id));
        if state != Some(true) {
            return Err(RegisterError::Unknown(format!("component {id} of that set")));
        }
        let hash = challenge.hash()?;
        if self.challenges.contains_key(&hash) {
            return Err(RegisterError::Twice(format!("the challenge {hash}")));
        }
        let (challenge, number) = (challenge.clone(), self.size.saturating_add(1));
        self.challenges.insert(hash, Asked { challenge, number, open: true });
        Ok(())
    }

    fn set_of(&mut self, challenge: &Challenge) -> Option<&mut SetState> {
        let named = |state: &&mut SetState| {
            !state.replaced
                && (state.set.ceremony, state.set.identifier) == (challenge.ceremony, challenge.set)
        };
        self.sets.values_mut().find(named)
    }

    fn answer(&mut self, answer: &Answer, at: u64) -> Done {
        let Asked { challenge, number, open } = self
            .challenges
            .get(&answer.challenge)
            .cloned()
            .ok_or_else(|| RegisterError::Unknown(format!("the challenge {}", answer.challenge)))?;
        if !open {
            return Err(RegisterError::Twice(format!("an answer to the challenge {}", answer.challenge)));
        }
        if at > challenge.at.saturating_add(ANSWER_LIMIT_S) {
            return Err(RegisterError::Late);
        }
        let (id, medium) = (challenge.component, challenge.medium);
        let unknown = || RegisterError::Unknown(format!("component {id} of that set"));
        let state = self.set_of(&challenge).ok_or_else(unknown)?;
        let made = state.set.components.iter().find(|c| c.component == id).ok_or_else(unknown)?;
        if !challenge.is_answered_by(&made.health, &answer.signature.0)? {
            return Err(RegisterError::Wrong(id));
        }
        let component = state.components.get_mut(&id).ok_or_else(unknown)?;
        let check = component.media.get_mut(&medium).ok_or_else(unknown)?;
        // The proof was made after the challenge, and nobody knows how long after.
        check.whole_at = check.whole_at.max(challenge.at);
        // One that was asked for before something went wrong says nothing about it.
        check.failed.take_if(|(since, _)| *since < number);
        if let Some((since, media)) = &mut component.alarm
            && *since < number
        {
            media.retain(|other| *other != medium);
        }
        component.alarm.take_if(|(_, media)| media.is_empty());
        for asked in self.challenges.values_mut() {
            let other = &asked.challenge;
            let same = (other.ceremony, other.set, other.component, other.medium)
                == (challenge.ceremony, challenge.set, id, medium);
            asked.open &= !(same && asked.number <= number);
        }
        Ok(())
    }

    fn fail(&mut self, failed: &Failed) -> Done {
        text(&failed.reason, "reason")?;
        let (id, number) = (failed.component, self.size.saturating_add(1));
        let component = self.current(&failed.set)?.components.get_mut(&id);
        let check = component.and_then(|component| component.media.get_mut(&failed.medium));
        let check = check.ok_or_else(|| RegisterError::Unknown(format!("component {id} of that set")))?;
        check.failed = Some((number, failed.reason.clone()));
        Ok(())
    }

    fn reseal(&mut self, change: &SealChange) -> Done {
        for (words, what) in [
            (&change.reason, "reason"),
            (&change.found, "seal that was found"),
            (&change.replaced, "new seal"),
        ] {
            text(words, what)?;
        }
        self.current(&change.set)?;
        let mut seals = self.sets.values().flat_map(|state| state.components.values()).map(|c| &c.seal);
        if change.replaced == change.found || seals.any(|seal| *seal == change.replaced) {
            return Err(RegisterError::Seal(change.replaced.clone()));
        }
        let (id, number) = (change.component, self.size.saturating_add(1));
        let unknown = || RegisterError::Unknown(format!("component {id} of that set"));
        let component = self.current(&change.set)?.components.get_mut(&id).ok_or_else(unknown)?;
        // Somebody else was there: it is in doubt until it is proven on each medium.
        if component.seal != change.found {
            component.alarm = Some((number, Medium::ALL.to_vec()));
        }
        component.seal.clone_from(&change.replaced);
        Ok(())
    }

    fn freeze_drill(&mut self, drill: &FreezeDrill, at: u64) -> Done {
        if drill.sent_at > at {
            return Err(RegisterError::Later);
        }
        if self.freeze_drills.iter().any(|known| known.freeze == drill.freeze) {
            return Err(RegisterError::Twice(format!("the drill {}", drill.freeze)));
        }
        self.freeze_drills.push(drill.clone());
        Ok(())
    }

    fn drill(&mut self, drill: &Drill, at: u64) -> Done {
        if drill.held_at > at {
            return Err(RegisterError::Later);
        }
        if self.drills.contains(&drill.report) {
            return Err(RegisterError::Twice(format!("the drill {}", drill.report)));
        }
        self.current(&drill.set)?;
        for change in &drill.seals {
            if change.set != drill.set {
                return Err(RegisterError::Unknown(format!("component {} of that set", change.component)));
            }
            self.reseal(change)?;
        }
        let state = self.current(&drill.set)?;
        if drill.passed {
            state.drilled_at = state.drilled_at.max(drill.held_at);
            state.drill_failed_at.take_if(|since| *since <= drill.held_at);
        } else if drill.held_at >= state.drilled_at {
            state.drill_failed_at = Some(drill.held_at);
        }
        self.drills.push(drill.report);
        Ok(())
    }
}
