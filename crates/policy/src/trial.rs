//! A request to try a policy on before anybody signs it: custody decides it exactly as it would decide one of the log.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::charge::{Charge, Subject};
use custody::decide::{Ask, Facts, Given, Rulebook};
use custody::document::{DestinationKind, Tier};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::{Policy, RequestKind};
use custody::quorum::Groups;
use custody::rates::Rate;
use custody::rule::Refusal;
use custody::state::Owner;

use crate::ground::Assumed;

/// A request, and all that a decision looks at beside it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The groups, and the network.
    pub assumed: Assumed,
    /// The request.
    pub ask: Ask,
    /// What was charged before, with its log time.
    pub past: Vec<(u64, Charge)>,
    /// What its asset is worth, in which currency.
    pub rate: Option<(Name, Rate)>,
}

impl Groups for Trial {
    fn members(&self, group: &Name) -> Option<&[Name]> {
        self.assumed.members(group)
    }
}

impl Facts for Trial {
    fn charges(&self, after: u64) -> Box<dyn Iterator<Item = &Charge> + '_> {
        Box::new(self.past.iter().filter(move |(at, _)| *at >= after).map(|(_, charge)| charge))
    }

    fn rate(&self, currency: &Name, _asset: &str, _time: u64) -> Option<Rate> {
        self.rate.as_ref().filter(|(known, _)| known == currency).map(|(_, rate)| *rate)
    }
}

impl Trial {
    /// A payment of a hot wallet that nobody approved yet, at `time` of the log and of the delay clock. It names no
    /// client, no fee falls on it, and nothing left before.
    pub fn payment(
        assumed: Assumed,
        wallet: Name,
        by: Name,
        to: (Name, DestinationKind),
        amount: Sats,
        time: u64,
    ) -> Self {
        let (to, kind) = to;
        let subject = Subject {
            kind: RequestKind::Payment,
            asset: assumed.asset(),
            wallet,
            tier: Tier::Hot,
            client: None,
            destinations: BTreeSet::from([kind]),
            amount,
        };
        let charge = Charge {
            subject,
            initiator: Owner::Person(by),
            lineage: Hash::of("keyward/trial/v1", b"asked"),
            paid: BTreeMap::from([(to.clone(), amount)]),
            fee: Sats(0),
            count: 1,
            price: None,
        };
        let ask = Ask {
            paid: BTreeSet::from([charge.lineage]),
            charge,
            beside: Vec::new(),
            cooled_s: BTreeMap::from([(to, time)]),
            approvals: BTreeMap::new(),
            time,
            delay: time,
            de_minimis_left: assumed.de_minimis,
        };
        Self { assumed, ask, past: Vec::new(), rate: None }
    }

    /// Somebody approved so many seconds ago.
    pub fn approve(&mut self, person: Name, ago_s: u64, independent: bool) {
        let at = self.ask.time.saturating_sub(ago_s);
        let delay_at = self.ask.delay.saturating_sub(ago_s);
        self.ask.approvals.insert(person, Given { at, delay_at, independent });
    }

    /// The same was paid before, so many seconds ago.
    pub fn paid_before(&mut self, ago_s: u64) {
        let lineage = Hash::of("keyward/trial/v1", &self.past.len().to_be_bytes());
        let at = self.ask.time.saturating_sub(ago_s);
        self.past.push((at, Charge { lineage, ..self.ask.charge.clone() }));
    }

    /// Decides it.
    ///
    /// # Errors
    /// The first rule that denies it.
    pub fn decide(&self, policy: &Policy) -> Result<Vec<Name>, Refusal> {
        Rulebook::new(policy.clone()).decide(&self.ask, self)
    }
}
