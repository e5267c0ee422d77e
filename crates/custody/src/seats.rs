//! Who may fill which seat at a time: members of groups, who of them is away, and who stands in.

use std::collections::BTreeSet;

use crate::charge::Charge;
use crate::decide::Facts;
use crate::document::{Document, Group, Kind, Person};
use crate::name::Name;
use crate::quorum::Groups;
use crate::rates::Rate;
use crate::records::Delegation;
use crate::state::State;

/// The state at a time that may be later than the log's: a share leaves by the later of log and own clock (P14).
pub(crate) struct At<'a> {
    pub(crate) state: &'a State,
    pub(crate) time: u64,
}

impl Groups for At<'_> {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.state.members(group)
    }

    fn sits(&self, person: &Name, group: &Name) -> bool {
        self.state.sits_at(person, group, self.time)
    }

    fn has_own_display(&self, person: &Name) -> bool {
        self.state.has_own_display(person)
    }
}

impl Facts for At<'_> {
    fn charges(&self, from: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        self.state.charges(from)
    }

    fn rate(&self, currency: &Name, asset: &str, time: u64) -> Option<Rate> {
        self.state.rate(currency, asset, time)
    }

    fn unlisted_handles(&self, destination: &Name) -> BTreeSet<Name> {
        self.state.unlisted_handles(destination)
    }
}

impl Groups for State {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        match &self.document(Kind::Group, group.as_str())?.document {
            Document::Group(group) => Some(&group.members),
            _ => None,
        }
    }

    fn sits(&self, person: &Name, group: &Name) -> bool {
        self.sits_at(person, group, self.clock.time)
    }

    fn stand_ins(&self, group: &Name) -> BTreeSet<Name> {
        let open = self.delegations().filter(|d| self.clock.time < d.until && d.groups.contains(group));
        open.map(|delegation| delegation.to.clone()).collect()
    }

    fn has_own_display(&self, person: &Name) -> bool {
        self.clock.rules < 3 || self.person(person).is_some_and(has_independent_key)
    }
}

/// The groups as they would be with another version of one of them.
pub(crate) struct WithGroup<'a> {
    pub(crate) state: &'a State,
    pub(crate) group: &'a Group,
}

impl Groups for WithGroup<'_> {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        if *group == self.group.id { Some(&self.group.members) } else { self.state.members(group) }
    }

    fn stand_ins(&self, group: &Name) -> BTreeSet<Name> {
        self.state.stand_ins(group)
    }

    fn has_own_display(&self, person: &Name) -> bool {
        self.state.has_own_display(person)
    }
}

/// The groups as they would be with another version of a person.
pub(crate) struct WithPerson<'a> {
    pub(crate) state: &'a State,
    pub(crate) person: &'a Person,
}

impl Groups for WithPerson<'_> {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.state.members(group)
    }

    fn stand_ins(&self, group: &Name) -> BTreeSet<Name> {
        self.state.stand_ins(group)
    }

    fn has_own_display(&self, person: &Name) -> bool {
        if *person == self.person.id {
            return has_independent_key(self.person);
        }
        self.state.has_own_display(person)
    }
}

/// Whether one of a person's devices shows by itself what it signs (S4). A key that was taken out of use since counts
/// here: else a member could hold up the own removal from two groups by revoking it.
fn has_independent_key(person: &Person) -> bool {
    person.keys.iter().any(|key| key.device.is_independent())
}

impl State {
    /// Whether a person is away at a time.
    pub fn is_away(&self, person: &Name, time: u64) -> bool {
        match self.document(Kind::Absence, person.as_str()).map(|found| &found.document) {
            Some(Document::Absence(away)) => (away.from..away.until).contains(&time),
            Some(_) | None => false,
        }
    }

    /// The delegations in force, also those that begin later or are over.
    fn delegations(&self) -> impl Iterator<Item = &Delegation> {
        let all = self.documents.from((Kind::Delegation, String::new()));
        let all = all.take_while(|((kind, _), _)| *kind == Kind::Delegation);
        all.filter_map(|(_, found)| match &found.document {
            Document::Delegation(delegation) => Some(delegation),
            _ => None,
        })
    }

    /// Whether a group's document names a person.
    pub(crate) fn is_member(&self, person: &Name, group: &Name) -> bool {
        self.members(group).is_some_and(|members| members.binary_search(person).is_ok())
    }

    /// Whether a person may fill a seat of a group at a time: a member who is not away and gave the place to
    /// nobody, or who took the place of a member.
    pub(crate) fn sits_at(&self, person: &Name, group: &Name, time: u64) -> bool {
        let open = |d: &&Delegation| (d.from..d.until).contains(&time) && d.groups.contains(group);
        if self.is_away(person, time) {
            return false;
        }
        let gave = |d: &Delegation| d.of == *person;
        let takes = |d: &Delegation| d.to == *person && self.is_member(&d.of, group);
        if self.is_member(person, group) {
            return !self.delegations().filter(open).any(gave);
        }
        self.delegations().filter(open).any(takes)
    }
}
