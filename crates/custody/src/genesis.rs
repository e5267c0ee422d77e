//! Genesis: the first people, groups, policy and co-signers. Entered as a file on every host, pinned by
//! its hash; there is no default credential in it and no way around it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::adoption::Ground;
use crate::bytes::Hash;
use crate::canon;
use crate::document::{CosignerCard, Document, Group, Machine, Person};
use crate::effects::{PinnedHeader, Sats};
use crate::name::Name;
use crate::policy::{DE_MINIMIS_CEILING, Policy};
use crate::quorum::Groups;
use crate::rule::{Refusal, Rule, ensure};
use crate::rule_set::RULE_SETS;

/// CAIP-2 id of Bitcoin's regression test network, the one network that rule set 1 admits.
pub const REGTEST: &str = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328";

/// CAIP-2 ids of the networks for tests, whose coins have no value. Rule set 2, which demands recovery
/// components, admits all of them.
pub const TEST_NETWORKS: [&str; 3] =
    [REGTEST, "bip122:00000008819873e925422c1ff0f99f7c", "bip122:00000000da84f2bafbbc53dee25a72ae"];

/// CAIP-2 id of Bitcoin, which rule set 3 admits: the whole policy stands under it.
pub const MAINNET: &str = "bip122:000000000019d6689c085ae165831e93";

/// All of them.
pub const NETWORKS: [&str; 4] = [REGTEST, TEST_NETWORKS[1], TEST_NETWORKS[2], MAINNET];

/// Most co-signers: agreement sends N² messages.
pub const COSIGNERS_LIMIT: usize = 13;

/// Where the co-signers run. On a shared host one machine holds all shares; reports say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// All on one machine: evaluation only.
    SharedHost,
    /// Each on a host of its own.
    SeparateHosts,
}

/// The genesis document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Format version, 1.
    pub version: u32,
    /// CAIP-2 id of the network.
    pub network: String,
    /// Random, so that two deployments differ.
    pub nonce: Hash,
    /// The rule set that the log begins under (P29).
    pub rules: u32,
    /// The first time of the log, in seconds since 1970.
    pub created_at: u64,
    /// Where the co-signers run.
    pub placement: Placement,
    /// How many co-signers may be hostile or lost (f).
    pub faulty: u32,
    /// How many shares sign (t).
    pub threshold: u32,
    /// The co-signers, in the order of their turns.
    pub cosigners: Vec<CosignerCard>,
    /// The first people.
    pub people: Vec<Person>,
    /// The first groups.
    pub groups: Vec<Group>,
    /// The first machines.
    pub machines: Vec<Machine>,
    /// The first policy.
    pub policy: Policy,
    /// What one person may move alone per rolling 24 hours.
    pub de_minimis: Sats,
    /// The block header that proofs of confirmation start from.
    pub header: PinnedHeader,
}

/// The numbers of a co-signer set, checked (protocol, "Letters").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// Co-signers, N.
    pub all: usize,
    /// Of which hold shares, n.
    pub holders: usize,
    /// Shares that sign, t.
    pub threshold: usize,
    /// Hostile or lost ones that are survived, f.
    pub faulty: usize,
    /// Votes that decide, q = N − ⌊(N−1)/3⌋.
    pub quorum: usize,
}

impl Numbers {
    /// Checks N ≥ 3f + 1, f ≥ 1, f < t, n − f ≥ t.
    ///
    /// # Errors
    /// [`Rule::Committee`], naming the inequality that does not hold.
    pub fn new(all: usize, holders: usize, threshold: usize, faulty: usize) -> Result<Self, Refusal> {
        let ask = |holds: bool, what: &str| {
            ensure(holds, Rule::Committee, || {
                format!("{what} does not hold for N = {all}, n = {holders}, t = {threshold}, f = {faulty}")
            })
        };
        ask(all <= COSIGNERS_LIMIT, "N ≤ 13")?;
        ask(holders <= all, "n ≤ N")?;
        ask(faulty >= 1, "f ≥ 1")?;
        ask(all > faulty.saturating_mul(3), "N ≥ 3f + 1")?;
        ask(faulty < threshold, "f < t")?;
        ask(holders.saturating_sub(faulty) >= threshold, "n − f ≥ t")?;
        Ok(Self { all, holders, threshold, faulty, quorum: quorum_of(all) })
    }
}

/// How many votes of so many co-signers decide: q = N − ⌊(N−1)/3⌋.
pub fn quorum_of(all: usize) -> usize {
    all.saturating_sub(all.saturating_sub(1) / 3)
}

impl Groups for Genesis {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.groups.iter().find(|g| g.id == *group).map(|g| g.members.as_slice())
    }

    fn has_own_display(&self, person: &Name) -> bool {
        let found = self.people.iter().find(|p| p.id == *person);
        found.is_some_and(|person| person.keys.iter().any(|key| key.device.is_independent()))
    }
}

impl Genesis {
    /// Reads a genesis from its canonical bytes and checks it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let genesis: Self =
            canon::decode(bytes).map_err(|e| Refusal::new(Rule::Form, format!("genesis: {e}")))?;
        genesis.check()?;
        Ok(genesis)
    }

    /// The canonical bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        canon::encode(self).unwrap_or_default()
    }

    /// Its hash: the name of the deployment.
    pub fn hash(&self) -> Hash {
        Hash::of("keyward/genesis/v1", &self.bytes())
    }

    /// The origin line of the command log.
    pub fn log_origin(&self) -> String {
        log_origin(&self.hash())
    }

    /// The numbers of its co-signer set.
    ///
    /// # Errors
    /// [`Rule::Committee`].
    pub fn numbers(&self) -> Result<Numbers, Refusal> {
        let holders = self.cosigners.iter().filter(|c| c.holds_shares).count();
        let small = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Numbers::new(self.cosigners.len(), holders, small(self.threshold), small(self.faulty))
    }

    /// Checks all that can be checked without the world.
    ///
    /// # Errors
    /// The first thing that is wrong, and what would be right.
    pub fn check(&self) -> Result<(), Refusal> {
        let form = |holds: bool, why: &str| ensure(holds, Rule::Form, || format!("genesis: {why}"));
        form(self.version == 1, "this program reads version 1")?;
        ensure(RULE_SETS.contains(&self.rules), Rule::RuleSet, || {
            format!("genesis: rule set {} is none that this program has ({RULE_SETS:?})", self.rules)
        })?;
        let network = self.network.as_str();
        let admitted = match self.rules {
            0..=1 => &[REGTEST][..],
            2 => &TEST_NETWORKS[..],
            _ => &NETWORKS[..],
        };
        form(
            admitted.contains(&network),
            &format!("rule set {} admits the networks {admitted:?} alone", self.rules),
        )?;
        ensure(self.de_minimis <= DE_MINIMIS_CEILING, Rule::Floor, || {
            format!("de minimis of {} is over its ceiling of {DE_MINIMIS_CEILING}", self.de_minimis)
        })?;
        self.numbers()?;
        let names = |names: Vec<&Name>, what: &str| {
            let distinct: BTreeSet<_> = names.iter().collect();
            form(distinct.len() == names.len(), &format!("two {what} have the same name"))
        };
        names(self.cosigners.iter().map(|c| &c.name).collect(), "co-signers")?;
        names(self.people.iter().map(|p| &p.id).collect(), "people")?;
        names(self.groups.iter().map(|g| &g.id).collect(), "groups")?;
        names(self.machines.iter().map(|m| &m.id).collect(), "machines")?;
        for card in &self.cosigners {
            form(card.certified(), &format!("the certificate of co-signer {} does not verify", card.name))?;
        }
        for person in &self.people {
            form(!person.keys.is_empty(), &format!("person {} has no key", person.id))?;
        }
        for group in &self.groups {
            form(
                group.members.is_sorted_by(|a, b| a < b),
                &format!("sort the members of {}, each once", group.id),
            )?;
            let known = |m: &Name| self.people.iter().any(|p| p.id == *m);
            form(
                group.members.iter().all(known),
                &format!("group {} has a member who is no person", group.id),
            )?;
        }
        // One key, one purpose, one owner (P4): no public key may stand anywhere twice.
        let mut keys: Vec<Hash> = self.cosigners.iter().flat_map(CosignerCard::keys).collect();
        keys.extend(self.people.iter().flat_map(|p| &p.keys).flat_map(|k| [k.sign, k.tls]));
        keys.extend(self.machines.iter().flat_map(|m| [m.sign, m.tls]));
        let distinct: BTreeSet<_> = keys.iter().collect();
        form(
            distinct.len() == keys.len(),
            "a public key stands in it twice: one key has one purpose and one owner",
        )?;
        let machines = self.machines.iter().cloned().map(|m| Document::Machine(m).since());
        let since = machines.chain([self.policy.since()]).max().unwrap_or(1);
        form(
            since <= self.rules,
            &format!("what came with rule set {since} stands in it: begin under that"),
        )?;
        self.policy.check(&Ground {
            groups: self,
            de_minimis: self.de_minimis,
            delay_floor_s: delay_floor_s(&self.network),
            rule_set: self.rules,
            asset: &self.asset(),
            now: self.created_at,
        })
    }

    /// CAIP-19 id of the one asset of the network (SLIP-44 coin 0, on networks for tests 1).
    pub fn asset(&self) -> String {
        let coin = u32::from(TEST_NETWORKS.contains(&self.network.as_str()));
        format!("{}/slip44:{coin}", self.network)
    }
}

/// The origin line of the command log of a deployment.
pub fn log_origin(genesis: &Hash) -> String {
    format!("keyward/{genesis}/command")
}

/// The shortest delay of a governed document on a network, in seconds: 24 hours where coins have a
/// value, nothing on networks for tests.
pub fn delay_floor_s(network: &str) -> u64 {
    if TEST_NETWORKS.contains(&network) { 0 } else { 24 * 3600 }
}
