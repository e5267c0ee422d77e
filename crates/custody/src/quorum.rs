//! Counting people: within one approval path a person fills one seat (a matching, not a count).

use std::collections::BTreeSet;

use crate::name::Name;
use crate::policy::{Path, SEATS_LIMIT};

/// Who is in which group.
pub trait Groups {
    /// The members as the group's document names them, sorted, or nothing when there is no such group.
    fn members(&self, group: &Name) -> Option<&[Name]>;

    /// Whether a person may fill a seat of a group now.
    fn sits(&self, person: &Name, group: &Name) -> bool {
        self.members(group).is_some_and(|members| members.binary_search(person).is_ok())
    }

    /// Who takes the place of a member, now or later.
    fn stand_ins(&self, _group: &Name) -> BTreeSet<Name> {
        BTreeSet::new()
    }

    /// Whether a person has a device that shows by itself what it signs (S4). Where nothing is known of devices
    /// everybody does.
    fn has_own_display(&self, _person: &Name) -> bool {
        true
    }
}

/// How many people a path asks for.
pub fn people_of(path: &Path) -> u32 {
    path.iter().fold(0, |sum: u32, seats| sum.saturating_add(seats.count))
}

/// Whether the people can fill every seat of the path, each one seat. Groups that do not exist fill nothing.
pub fn seat(path: &Path, people: &BTreeSet<Name>, groups: &(impl Groups + ?Sized)) -> bool {
    people_of(path) <= SEATS_LIMIT && seated(path, people, groups) == people_of(path)
}

/// How many seats of the path the people can fill, each one seat: a maximum matching by augmenting paths
/// (Kuhn 1955). None of a path that is too long.
pub fn seated(path: &Path, people: &BTreeSet<Name>, groups: &(impl Groups + ?Sized)) -> u32 {
    if people_of(path) > SEATS_LIMIT {
        return 0;
    }
    let people: Vec<&Name> = people.iter().collect();
    let seats: Vec<Vec<usize>> = path
        .iter()
        .flat_map(|seats| {
            let fit = |(i, person): (usize, &&Name)| groups.sits(person, &seats.group).then_some(i);
            let fitting: Vec<usize> = people.iter().enumerate().filter_map(fit).collect();
            (0..seats.count).map(move |_| fitting.clone())
        })
        .collect();
    let mut taken: Vec<Option<usize>> = vec![None; people.len()];
    let filled = (0..seats.len()).filter(|s| {
        let mut seen = vec![false; people.len()];
        fill(*s, &seats, &mut taken, &mut seen)
    });
    u32::try_from(filled.count()).unwrap_or(0)
}

/// Finds somebody for seat `s`, moving others to other seats where that helps.
fn fill(s: usize, seats: &[Vec<usize>], taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for &person in seats.get(s).map(Vec::as_slice).unwrap_or_default() {
        match seen.get_mut(person) {
            Some(mark) if !*mark => *mark = true,
            Some(_) | None => continue,
        }
        let holder = taken.get(person).copied().flatten();
        if holder.is_none_or(|other| fill(other, seats, taken, seen)) {
            if let Some(place) = taken.get_mut(person) {
                *place = Some(s);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::Seats;

    struct Table(BTreeMap<Name, Vec<Name>>);

    impl Groups for Table {
        fn members(&self, group: &Name) -> Option<&[Name]> {
            self.0.get(group).map(Vec::as_slice)
        }
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn check(path: &[(u32, &str)], people: &[&str]) -> bool {
        let groups = [("ops", vec!["ann", "bob", "cat"]), ("risk", vec!["bob", "dan"])];
        let groups = groups.map(|(g, m)| (name(g), m.into_iter().map(name).collect()));
        let path: Path = path.iter().map(|(count, g)| Seats { count: *count, group: name(g) }).collect();
        seat(&path, &people.iter().map(|p| name(p)).collect(), &Table(groups.into()))
    }

    #[test]
    fn a_person_fills_one_seat() {
        assert!(check(&[(1, "ops"), (1, "risk")], &["ann", "bob"]));
        assert!(check(&[(1, "risk"), (1, "ops")], &["ann", "bob"]));
        assert!(!check(&[(1, "ops"), (1, "risk")], &["bob"]), "bob is in both groups, and one person");
        assert!(check(&[(2, "ops"), (1, "risk")], &["ann", "bob", "dan"]), "bob must move to ops");
        assert!(!check(&[(2, "ops")], &["ann", "dan"]));
        assert!(!check(&[(1, "nobody")], &["ann"]));
        assert!(check(&[], &[]));
    }
}
