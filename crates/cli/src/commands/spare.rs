//! How many people a quorum can lose before nobody can fill it (P31).

use std::collections::BTreeSet;

use custody::name::Name;
use custody::policy::Path;
use custody::quorum::Groups as _;
use custody::quorum::seat;
use custody::state::State;
use custody::statement::key_id;

/// The people who can still sign: in force, with a key that nobody revoked.
pub(crate) fn able(state: &State) -> BTreeSet<Name> {
    let people = state.documents().filter_map(|found| match &found.document {
        custody::document::Document::Person(person) => Some(person),
        _ => None,
    });
    let usable = |sign| state.key(&key_id(sign)).is_some_and(|k| k.revoked_at.is_none());
    people.filter(|p| p.keys.iter().any(|k| usable(&k.sign))).map(|p| p.id.clone()).collect()
}

/// The most people of `people`, whoever they are, without whom some path can still be filled; counted up
/// to `limit`. Nothing when it cannot be filled at all.
pub(crate) fn spare(paths: &[Path], people: &BTreeSet<Name>, state: &State, limit: usize) -> Option<usize> {
    let filled = |people: &BTreeSet<Name>| paths.iter().any(|path| seat(path, people, state));
    if !filled(people) {
        return None;
    }
    // Only members of the groups matter.
    let groups = paths.iter().flatten().filter_map(|seats| state.members(&seats.group));
    let members: BTreeSet<Name> = groups.flatten().filter(|m| people.contains(*m)).cloned().collect();
    (1..=limit).take_while(|k| without(*k, &members, &mut |rest| filled(rest))).last().or(Some(0))
}

/// Whether `holds` whichever `k` of the people are taken away.
fn without(k: usize, people: &BTreeSet<Name>, holds: &mut dyn FnMut(&BTreeSet<Name>) -> bool) -> bool {
    if k == 0 {
        return holds(people);
    }
    people.iter().all(|gone| {
        let rest: BTreeSet<Name> = people.iter().filter(|p| *p != gone).cloned().collect();
        without(k - 1, &rest, holds)
    })
}
