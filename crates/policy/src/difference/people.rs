//! Which people can satisfy what rules ask for, compared exactly.
//!
//! People who are in the same of the named groups are alike, so a set of approvers is a count for each sort
//! of people, apart by devices; and who comes after the longest path is full changes nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use custody::name::Name;
use custody::policy::Path;
use custody::quorum::{Groups, people_of, seat, seated};

use super::budget::Budget;

/// Most sets of approvers, alike ones counted once, that are tried to compare what two policies ask for: five
/// sorts of people for paths of two seats, three for four. Beyond it only the same paths are the same.
pub const APPROVERS_LIMIT: usize = 10_000;

/// Approvers, and whether each used an independent device.
pub(crate) type Approvers = BTreeMap<Name, bool>;

/// Some path of at least `least` people is filled, `independent` of its seats by who approved on an
/// independent device.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Need {
    pub(crate) paths: Vec<Vec<(u32, Name)>>,
    pub(crate) least: u32,
    pub(crate) independent: u32,
}

/// Whether what one list of needs allows another allows too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Implied {
    Yes,
    /// These approvers satisfy the first alone.
    No(Approvers),
    Unknown,
}

impl Need {
    pub(crate) fn new(paths: &[Path], least: u32, independent: u32) -> Self {
        let path = |path: &Path| path.iter().map(|s| (s.count, s.group.clone())).collect();
        Self { paths: paths.iter().map(path).collect(), least, independent }
    }

    fn paths(&self) -> impl Iterator<Item = Path> {
        let seats =
            |(count, group): &(u32, Name)| custody::policy::Seats { count: *count, group: group.clone() };
        self.paths.iter().map(move |path| path.iter().map(seats).collect())
    }

    fn seats(&self) -> usize {
        self.paths.iter().map(|path| path.len().saturating_add(1)).sum()
    }

    /// Whether it follows from another whoever is in the groups: that allows no path that this does not.
    fn follows_from(&self, other: &Self) -> bool {
        self.least <= other.least
            && self.independent <= other.independent
            && other.paths.iter().all(|path| self.paths.contains(path))
    }
}

/// Whether these needs imply those.
type Question = (Vec<Need>, Vec<Need>);

/// The people of a deployment.
pub(crate) struct People<'a> {
    pub(crate) groups: &'a dyn Groups,
    budget: &'a Budget,
    known: RefCell<BTreeMap<Question, Implied>>,
}

impl<'a> People<'a> {
    pub(crate) fn new(groups: &'a dyn Groups, budget: &'a Budget) -> Self {
        Self { groups, budget, known: RefCell::default() }
    }

    /// Whether whatever set of approvers satisfies all of `ones` satisfies all of `others`.
    pub(crate) fn implies(&self, ones: &[Need], others: &[Need]) -> Implied {
        if ones == others {
            return Implied::Yes;
        }
        let [own, asked] = [ones, others].map(|needs| needs.iter().map(Need::seats).sum::<usize>());
        // Paths are compared many times as fast as people are seated.
        if !self.budget.takes(own.saturating_add(1).saturating_mul(asked.saturating_add(1)) / 32) {
            return Implied::Unknown;
        }
        if others.iter().all(|other| ones.iter().any(|one| other.follows_from(one))) {
            return Implied::Yes;
        }
        let key = (ones.to_vec(), others.to_vec());
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        let found = self.compare(ones, others);
        self.known.borrow_mut().insert(key, found.clone());
        found
    }

    /// Few people who satisfy all of these.
    pub(crate) fn satisfying(&self, needs: &[Need]) -> Implied {
        let nobody = Need { paths: Vec::new(), least: 0, independent: 0 };
        self.implies(needs, &[nobody])
    }

    fn compare(&self, ones: &[Need], others: &[Need]) -> Implied {
        let all = || ones.iter().chain(others);
        let longest = all().flat_map(Need::paths).map(|path| people_of(&path)).max().unwrap_or(0);
        let longest = usize::try_from(longest).unwrap_or(usize::MAX);
        let sorts: Vec<Vec<Name>> = self.sorts(all());
        let counts = |people: &Vec<Name>| {
            let most = people.len().min(longest);
            (0..=most).flat_map(move |sum| (0..=sum).map(move |independent| (sum, independent))).collect()
        };
        if self.budget.is_spent() {
            return Implied::Unknown;
        }
        let counts: Vec<Vec<(usize, usize)>> = sorts.iter().map(counts).collect();
        let count = counts.iter().fold(1usize, |all, one| all.saturating_mul(one.len()));
        if count > APPROVERS_LIMIT || !self.budget.takes(count.saturating_mul(sorts.len())) {
            return Implied::Unknown;
        }
        let mut sets: Vec<(usize, Vec<(usize, usize)>)> = vec![(0, Vec::new())];
        for of_sort in &counts {
            let grown = |(sum, set): &(usize, Vec<(usize, usize)>)| {
                let one = |(people, independent): &(usize, usize)| {
                    let set = set.iter().copied().chain([(*people, *independent)]).collect();
                    (sum + people, set)
                };
                of_sort.iter().map(one).collect::<Vec<_>>()
            };
            sets = sets.iter().flat_map(grown).collect();
        }
        // Few people first, and those on independent devices, so that an example is a small one.
        sets.sort_by_key(|(sum, set)| (*sum, set.iter().map(|(sum, own)| sum - own).sum::<usize>()));
        let approvers = |set: Vec<(usize, usize)>| -> Approvers {
            let of_sort = |(people, (sum, independent)): (&Vec<Name>, (usize, usize))| {
                let one = |(i, person): (usize, &Name)| (person.clone(), i < independent);
                people.iter().take(sum).enumerate().map(one).collect::<Vec<_>>()
            };
            sorts.iter().zip(set).flat_map(of_sort).collect()
        };
        let seats: usize = all().map(Need::seats).sum();
        for (sum, set) in sets {
            if !self.budget.takes(seats.saturating_mul(sum.saturating_add(1))) {
                return Implied::Unknown;
            }
            let set = approvers(set);
            if ones.iter().all(|need| self.filled(need, &set))
                && !others.iter().all(|need| self.filled(need, &set))
            {
                return Implied::No(set);
            }
        }
        Implied::Yes
    }

    /// People by which of the named groups they may fill seats of.
    fn sorts<'n>(&self, needs: impl Iterator<Item = &'n Need>) -> Vec<Vec<Name>> {
        let groups: BTreeSet<&Name> =
            needs.flat_map(|need| need.paths.iter().flatten()).map(|(_, g)| g).collect();
        let members = groups.iter().filter_map(|group| self.groups.members(group));
        let people: BTreeSet<&Name> = members.flatten().collect();
        if !self.budget.takes(people.len().saturating_mul(groups.len())) {
            return Vec::new();
        }
        let mut sorts: BTreeMap<Vec<bool>, Vec<Name>> = BTreeMap::new();
        for person in people {
            let sort: Vec<bool> = groups.iter().map(|group| self.groups.sits(person, group)).collect();
            if sort.contains(&true) {
                sorts.entry(sort).or_default().push(person.clone());
            }
        }
        sorts.into_values().collect()
    }

    fn filled(&self, need: &Need, approvers: &Approvers) -> bool {
        let people: BTreeSet<Name> = approvers.keys().cloned().collect();
        let own: BTreeSet<Name> = approvers.iter().filter(|(_, own)| **own).map(|(p, _)| p.clone()).collect();
        need.paths().any(|path| {
            people_of(&path) >= need.least
                && seat(&path, &people, self.groups)
                && seated(&path, &own, self.groups) >= need.independent
        })
    }
}
