//! The TOML from which a genesis is made: what people decide, in words that people write. Its groups and its policy
//! are those of a policy file.

use std::collections::BTreeMap;

use custody::Hash;
use custody::document::{CosignerCard, Group, Machine, Person};
use custody::effects::{PinnedHeader, Sats};
use custody::genesis::{Genesis, Placement, REGTEST};
use custody::name::Name;
use custody::policy::Policy;
use policy::reader::{Fault, Item, Source};
use policy::text;

use crate::secret::nonce;

/// The first block of the regression test network, as people write its hash, and its target.
const REGTEST_BLOCK: (&str, u32) =
    ("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", 0x207f_ffff);

const PLACEMENTS: [(&str, Placement); 2] =
    [("shared-host", Placement::SharedHost), ("separate-hosts", Placement::SeparateHosts)];

/// The file.
#[derive(Debug)]
pub(crate) struct Spec {
    /// A CAIP-2 id.
    network: String,
    placement: Placement,
    /// f.
    faulty: u32,
    /// t.
    threshold: u32,
    de_minimis: Sats,
    /// Seconds since 1970; the own clock when left out.
    created_at: Option<u64>,
    /// The block that proofs start from.
    header: Option<PinnedHeader>,
    groups: BTreeMap<Name, Vec<Name>>,
    policy: Policy,
}

impl Spec {
    /// Reads the file.
    pub(crate) fn parse(file: &str) -> Result<Self, Fault> {
        let source = Source::parse(file)?;
        let mut table = source.table();
        let second = |item: Item<'_>| item.number("seconds since 1970", "1767225600");
        let spec = Self {
            network: text::network(&table.need("network", "network = \"regtest\"")?)?,
            placement: table.need("placement", "placement = \"separate-hosts\"")?.one_of(&PLACEMENTS)?,
            faulty: table.need("faulty", "faulty = 1")?.number("a number of co-signers", "faulty = 1")?,
            threshold: table
                .need("threshold", "threshold = 2")?
                .number("a number of shares", "threshold = 2")?,
            de_minimis: table.take("de_minimis").map_or(Ok(Sats(0)), |item| text::amount(&item))?,
            created_at: table.take("created_at").map(second).transpose()?,
            header: table.take("header").map(|item| header(&item)).transpose()?,
            groups: text::groups(&table.need("groups", "[groups]")?)?,
            policy: text::policy(&mut table)?,
        };
        table.finish()?;
        Ok(spec)
    }

    /// The genesis that it makes of these people, machines and co-signers.
    pub(crate) fn genesis(
        self,
        cosigners: Vec<CosignerCard>,
        people: Vec<Person>,
        machines: Vec<Machine>,
        now: u64,
    ) -> Result<Genesis, String> {
        let header = match self.header {
            Some(header) => header,
            None if self.network == REGTEST => {
                let (hash, bits) = REGTEST_BLOCK;
                PinnedHeader { hash: block(hash)?, height: 0, bits }
            }
            None => return Err("name the block that proofs start from: [header] hash, height, bits".into()),
        };
        let groups = self.groups.into_iter();
        Ok(Genesis {
            version: 1,
            network: self.network,
            nonce: nonce(),
            rules: custody::rule_set::NEWEST,
            created_at: self.created_at.unwrap_or(now),
            placement: self.placement,
            faulty: self.faulty,
            threshold: self.threshold,
            cosigners,
            people,
            groups: groups.map(|(id, members)| Group { id, members }).collect(),
            machines,
            policy: self.policy,
            de_minimis: self.de_minimis,
            header,
        })
    }
}

/// The hash of a block, as people write it: the other way round.
fn block(text: &str) -> Result<Hash, &'static str> {
    let mut hash = Hash::from_hex(text).ok_or("a hash has 64 hex digits")?;
    hash.0.reverse();
    Ok(hash)
}

fn header(item: &Item<'_>) -> Result<PinnedHeader, Fault> {
    let mut table = item.table("[header]")?;
    let bits = |text: &str| {
        let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let digits = plain.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        digits.ok_or("bits are eight hex digits")
    };
    let header = PinnedHeader {
        hash: table.need("hash", "hash = \"0f91…2206\"")?.read("a hash in quotes", "", block)?,
        height: table.need("height", "height = 0")?.number("a height", "height = 0")?,
        bits: table.need("bits", "bits = \"207fffff\"")?.read("eight hex digits in quotes", "", bits)?,
    };
    table.finish()?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use custody::document::Kind;

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
        let spec = Spec::parse(text).map_err(|fault| fault.to_string())?;
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
        assert_eq!((of(Kind::Policy).delay_s, of(Kind::Policy).approvals.len()), (24 * 3600, 2));
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
