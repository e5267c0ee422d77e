//! What a policy file is checked against: the groups and numbers of a deployment, or those that the file assumes.

use std::collections::{BTreeMap, BTreeSet};

use custody::adoption::Ground;
use custody::document::Document;
use custody::effects::Sats;
use custody::genesis::{Genesis, REGTEST, TEST_NETWORKS, delay_floor_s};
use custody::name::Name;
use custody::policy::Policy;
use custody::quorum::Groups;
use custody::rule::Refusal;
use custody::state::State;

use crate::words::{list, quoted};

/// The main network of Bitcoin (CAIP-2).
pub const MAINNET: &str = "bip122:000000000019d6689c085ae165831e93";

/// Networks by the names that people give them.
pub const NETWORKS: [(&str, &str); 4] = [
    ("mainnet", MAINNET),
    ("regtest", REGTEST),
    ("signet", TEST_NETWORKS[1]),
    ("testnet4", TEST_NETWORKS[2]),
];

/// A deployment, as far as the adoption of a policy looks at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assumed {
    /// Members by group, sorted.
    pub groups: BTreeMap<Name, Vec<Name>>,
    /// The network (CAIP-2).
    pub network: String,
    /// What leaves under one approval.
    pub de_minimis: Sats,
}

impl Groups for Assumed {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.groups.get(group).map(Vec::as_slice)
    }
}

impl Assumed {
    /// The asset of the network (CAIP-19, SLIP-44: coin 0, on networks for tests 1).
    pub fn asset(&self) -> String {
        let coin = u32::from(TEST_NETWORKS.contains(&self.network.as_str()));
        format!("{}/slip44:{coin}", self.network)
    }

    /// What a deployment has now.
    pub fn in_force(state: &State) -> Self {
        let genesis = state.genesis();
        let groups = state.documents().filter_map(|found| match &found.document {
            Document::Group(group) => Some((group.id.clone(), group.members.clone())),
            _ => None,
        });
        Self { groups: groups.collect(), network: genesis.network.clone(), de_minimis: genesis.de_minimis }
    }

    /// What a deployment begins with.
    pub fn at_genesis(genesis: &Genesis) -> Self {
        let groups = genesis.groups.iter().map(|group| (group.id.clone(), group.members.clone()));
        Self { groups: groups.collect(), network: genesis.network.clone(), de_minimis: genesis.de_minimis }
    }

    /// Where a file assumes something else than a deployment has.
    pub fn differs_from(&self, real: &Self) -> Vec<String> {
        fn set(members: Option<&Vec<Name>>) -> Option<BTreeSet<&Name>> {
            members.map(|members| members.iter().collect())
        }
        let mut found = Vec::new();
        let mut differ = |what: &str, own: String, real: String| {
            if own != real {
                found.push(format!("{what}: {own} in the file, {real} in force"));
            }
        };
        differ("network", quoted(&self.network), quoted(&real.network));
        differ("de_minimis", self.de_minimis.to_string(), real.de_minimis.to_string());
        let groups: BTreeSet<&Name> = self.groups.keys().chain(real.groups.keys()).collect();
        for group in groups {
            let (own, other) = (set(self.groups.get(group)), set(real.groups.get(group)));
            match (own, other) {
                (Some(own), Some(other)) => {
                    let [more, less] =
                        [own.difference(&other), other.difference(&own)].map(|one| one.copied());
                    let sides = [("in the file alone", list(more)), ("in force alone", list(less))];
                    let sides = sides.into_iter().filter(|(_, people)| !people.is_empty());
                    let sides: Vec<String> = sides.map(|(side, people)| format!("{people} {side}")).collect();
                    if !sides.is_empty() {
                        found.push(format!("group {group}: {}", sides.join("; ")));
                    }
                }
                (Some(_), None) => found.push(format!("group {group}: in the file alone")),
                (None, _) => found.push(format!("group {group}: in force alone")),
            }
        }
        found
    }

    /// Checks a policy as custody does when it would be adopted at `now`, under the newest rule set.
    ///
    /// # Errors
    /// The floor that it goes under.
    pub fn check(&self, policy: &Policy, now: u64) -> Result<(), Refusal> {
        policy.check(&Ground {
            groups: self,
            de_minimis: self.de_minimis,
            delay_floor_s: delay_floor_s(&self.network),
            rule_set: custody::rule_set::NEWEST,
            asset: &self.asset(),
            now,
        })
    }
}

/// What is adopted and does nothing, most likely by mistake.
pub fn warnings(policy: &Policy, groups: &dyn Groups) -> Vec<String> {
    let excluded: BTreeSet<&Name> = policy.exclusive.iter().flat_map(|(one, other)| [one, other]).collect();
    let unknown = excluded.into_iter().filter(|group| groups.members(group).is_none());
    let unknown = unknown.map(|group| format!("exclusive: there is no group {group}, so it excludes nobody"));
    let named: BTreeSet<&Name> = policy.rules.iter().filter_map(|rule| rule.require.hours.as_ref()).collect();
    let idle = policy.calendars.keys().filter(|id| !named.contains(id));
    unknown.chain(idle.map(|id| format!("calendars: no rule names {id}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_assumes_something_else_is_told_where() {
        let genesis = fixtures::newest();
        let real = Assumed::in_force(&State::new(genesis.clone()).unwrap());
        assert_eq!((&real, real.differs_from(&real)), (&Assumed::at_genesis(&genesis), Vec::new()));
        let mut file = real.clone();
        let name = |text: &str| Name::new(text).unwrap();
        file.groups.insert(name("approvers"), ["alice", "bob", "dave"].map(name).to_vec());
        file.groups.remove(&name("admins"));
        file.groups.insert(name("risk"), vec![name("erin")]);
        file.de_minimis = Sats(1);
        file.network = MAINNET.to_owned();
        let found = file.differs_from(&real);
        assert_eq!(found[0], format!("network: \"{MAINNET}\" in the file, \"{REGTEST}\" in force"));
        let expected = [
            "de_minimis: 1 sat in the file, 0 sat in force",
            "group admins: in force alone",
            "group approvers: dave in the file alone; carol in force alone",
            "group risk: in the file alone",
        ];
        assert_eq!(found[1..], expected);
    }
}
