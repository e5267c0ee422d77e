//! What a policy file is checked against: the groups and numbers of a deployment, or those that the file assumes.

use std::collections::{BTreeMap, BTreeSet};

use custody::adoption::Ground;
use custody::effects::Sats;
use custody::genesis::{REGTEST, TEST_NETWORKS, delay_floor_s};
use custody::name::Name;
use custody::policy::Policy;
use custody::quorum::Groups;
use custody::rule::Refusal;

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
