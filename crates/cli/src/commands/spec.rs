//! The TOML from which a genesis is made: what people decide, in words that people write.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::document::{CosignerCard, DestinationKind, Group, Kind, Machine, Person, TABLE};
use custody::effects::{PinnedHeader, Sats};
use custody::genesis::{Genesis, Placement, REGTEST};
use custody::name::Name;
use custody::policy::{Governance, Path, Policy, PolicyRule, Require, Seats, When};
use serde::Deserialize;

use crate::amount;
use crate::secret::nonce;

/// The first block of the regression test network, as people write its hash, and its target.
const REGTEST_BLOCK: (&str, u32) =
    ("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", 0x207f_ffff);

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// `regtest`, or a CAIP-2 id.
    network: String,
    placement: Placement,
    /// f.
    faulty: u32,
    /// t.
    threshold: u32,
    #[serde(default)]
    de_minimis: Option<String>,
    /// Seconds since 1970; the own clock when left out.
    #[serde(default)]
    created_at: Option<u64>,
    #[serde(default)]
    header: Option<Header>,
    groups: BTreeMap<Name, BTreeSet<Name>>,
    rules: Vec<Rule>,
    governance: BTreeMap<String, Governed>,
}

/// The block that proofs start from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// As people write it.
    hash: String,
    height: u32,
    /// Eight hex digits.
    bits: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: Name,
    #[serde(default)]
    wallets: Option<Vec<Name>>,
    #[serde(default)]
    destinations: Option<Vec<DestinationKind>>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    up_to: Option<String>,
    approvals: Vec<Vec<String>>,
    amount_max: String,
    fee_max: String,
    fee_max_ppm: u64,
}

/// The quorum and the delay of one kind of document, or of `default`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Governed {
    approvals: Vec<Vec<String>>,
    /// `0s`, `24h`; kinds that take effect at once have none.
    #[serde(default)]
    delay: Option<String>,
}

impl Spec {
    /// The genesis that it makes of these people, machines and co-signers.
    pub(crate) fn genesis(
        self,
        cosigners: Vec<CosignerCard>,
        people: Vec<Person>,
        machines: Vec<Machine>,
        now: u64,
    ) -> Result<Genesis, String> {
        let network = if self.network == "regtest" { REGTEST.to_owned() } else { self.network };
        let header = match self.header {
            Some(header) => header.pinned()?,
            None if network == REGTEST => {
                let (hash, bits) = REGTEST_BLOCK;
                Header { hash: hash.into(), height: 0, bits: format!("{bits:08x}") }.pinned()?
            }
            None => return Err("name the block that proofs start from: [header] hash, height, bits".into()),
        };
        let groups = self.groups.into_iter();
        Ok(Genesis {
            version: 1,
            network,
            nonce: nonce(),
            rules: custody::rule_set::NEWEST,
            created_at: self.created_at.unwrap_or(now),
            placement: self.placement,
            faulty: self.faulty,
            threshold: self.threshold,
            cosigners,
            people,
            groups: groups
                .map(|(id, members)| Group { id, members: members.into_iter().collect() })
                .collect(),
            machines,
            policy: Policy {
                rules: self.rules.into_iter().map(Rule::policy_rule).collect::<Result<_, _>>()?,
                governance: governance(&self.governance)?,
                ..Policy::default()
            },
            de_minimis: self.de_minimis.as_deref().map_or(Ok(Sats(0)), amount::sats)?,
            header,
        })
    }
}

impl Header {
    fn pinned(self) -> Result<PinnedHeader, String> {
        let wrong = |what: &str| format!("[header] {what}");
        let mut hash = Hash::from_hex(&self.hash).ok_or_else(|| wrong("hash has 64 hex digits"))?;
        hash.0.reverse();
        let bits = u32::from_str_radix(&self.bits, 16).map_err(|_| wrong("bits has 8 hex digits"))?;
        Ok(PinnedHeader { hash, height: self.height, bits })
    }
}

impl Rule {
    fn policy_rule(self) -> Result<PolicyRule, String> {
        let sats = |text: &str| amount::sats(text).map_err(|e| format!("rule {}: {e}", self.id));
        Ok(PolicyRule {
            when: When {
                wallets: self.wallets.clone(),
                destinations: self.destinations.clone(),
                amount_min: self.from.as_deref().map(sats).transpose()?,
                amount_max: self.up_to.as_deref().map(sats).transpose()?,
                ..When::default()
            },
            require: Require::plain(
                paths(&self.approvals)?,
                sats(&self.amount_max)?,
                sats(&self.fee_max)?,
                self.fee_max_ppm,
            ),
            id: self.id.clone(),
        })
    }
}

/// `default` for every kind that is not named.
fn governance(spec: &BTreeMap<String, Governed>) -> Result<BTreeMap<Kind, Governance>, String> {
    let known = |word: &String| word == "default" || TABLE.iter().any(|row| row.kind.word() == word);
    if let Some(word) = spec.keys().find(|word| !known(word)) {
        return Err(format!("[governance.{word}]: there is no such kind of document"));
    }
    let mut out = BTreeMap::new();
    for row in TABLE {
        let word = row.kind.word();
        let governed = spec.get(word).or_else(|| spec.get("default"));
        let governed =
            governed.ok_or_else(|| format!("[governance.{word}] or [governance.default] is missing"))?;
        let delay = governed.delay.as_deref().map_or(Ok(0), amount::seconds)?;
        let governance = Governance {
            approvals: paths(&governed.approvals)?,
            delay_s: if row.delayed { delay } else { 0 },
        };
        out.insert(row.kind, governance);
    }
    Ok(out)
}

fn paths(paths: &[Vec<String>]) -> Result<Vec<Path>, String> {
    paths.iter().map(|path| path.iter().map(|text| seats(text)).collect()).collect()
}

/// `2 of approvers`.
fn seats(text: &str) -> Result<Seats, String> {
    let bad = || format!("{text:?}: write COUNT of GROUP, for example \"2 of approvers\"");
    let (count, group) = text.split_once(" of ").ok_or_else(bad)?;
    Ok(Seats { count: count.trim().parse().map_err(|_| bad())?, group: group.trim().parse()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = r#"
        network = "regtest"
        placement = "shared-host"
        faulty = 1
        threshold = 2
        [groups]
        admins = ["bob", "alice"]
        [[rules]]
        id = "payments"
        approvals = [["2 of admins"]]
        amount_max = "1 btc"
        fee_max = "50000 sat"
        fee_max_ppm = 20000
        [governance.default]
        approvals = [["2 of admins"]]
        delay = "24h"
        [governance.policy]
        approvals = [["2 of admins"], ["1 of admins", "1 of others"]]
    "#;

    fn genesis(text: &str) -> Result<Genesis, String> {
        let spec: Spec = toml::from_str(text).map_err(|e| e.to_string())?;
        spec.genesis(Vec::new(), Vec::new(), Vec::new(), 7)
    }

    #[test]
    fn a_spec_says_what_it_reads_like() {
        let genesis = genesis(SPEC).unwrap();
        assert_eq!((genesis.created_at, genesis.network.as_str()), (7, REGTEST));
        let rule = &genesis.policy.rules[0];
        assert_eq!(rule.require.amount_max, Sats(100_000_000));
        let members: Vec<_> = genesis.groups[0].members.iter().map(Name::as_str).collect();
        assert_eq!(members, ["alice", "bob"], "sorted");
        let of = |kind| &genesis.policy.governance[&kind];
        assert_eq!(of(Kind::Wallet).delay_s, 24 * 3600);
        assert_eq!(of(Kind::Resume).delay_s, 0, "what lifts a freeze does not wait");
        assert_eq!((of(Kind::Policy).delay_s, of(Kind::Policy).approvals.len()), (0, 2));
        // The first block of regtest, in the order of the wire.
        assert_eq!(genesis.header.hash.0[31], 0x0f);
    }

    #[test]
    fn what_it_does_not_understand_is_refused() {
        for (old, new) in [
            ("faulty = 1", "faulty = 1\nhurry = true"),
            ("2 of admins\"]]\n        amount", "two admins\"]]\n        amount"),
            ("1 btc", "1"),
            ("[governance.policy]", "[governance.polcy]"),
            ("regtest", "bip122:000000000019d6689c085ae165831e93"),
        ] {
            let changed = SPEC.replacen(old, new, 1);
            assert_ne!(changed, SPEC);
            assert!(genesis(&changed).is_err(), "{new}");
        }
    }
}
