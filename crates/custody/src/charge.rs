//! What a payment is charged (P24), and what of it limits in rolling windows add up.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bytes::Hash;
use crate::document::{DestinationKind, Tier};
use crate::effects::Sats;
use crate::name::Name;
use crate::policy::{Per, RequestKind};
use crate::rates::{Priced, Rate, Value};
use crate::state::Owner;

/// What of a request the scope of a rule speaks of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What it does.
    pub kind: RequestKind,
    /// The asset (CAIP-19), which names its network.
    pub asset: String,
    /// The wallet that pays.
    pub wallet: Name,
    /// The tier of that.
    pub tier: Tier,
    /// Whose coins move, if it says so.
    pub client: Option<Name>,
    /// The kinds of its destinations.
    pub destinations: BTreeSet<DestinationKind>,
    /// All that it pays to others.
    pub amount: Sats,
}

impl Subject {
    /// The network (CAIP-2).
    pub fn network(&self) -> &str {
        self.asset.split('/').next().unwrap_or_default()
    }
}

/// What left, or is to leave: once per chain of renewals what it pays, then only what is added.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charge {
    /// The request as scopes see it.
    pub subject: Subject,
    /// Who asked.
    pub initiator: Owner,
    /// The first request of its chain of renewals.
    pub lineage: Hash,
    /// What goes to each destination.
    pub paid: BTreeMap<Name, Sats>,
    /// The fee that falls on it.
    pub fee: Sats,
    /// 1, or 0 for what is added later.
    pub count: u32,
    /// The rate then in force.
    pub price: Option<Priced>,
}

impl Charge {
    /// What is charged in all, in base units.
    pub fn total(&self) -> u128 {
        self.paid.values().fold(u128::from(self.fee.0), |sum, paid| sum.saturating_add(u128::from(paid.0)))
    }

    /// What an amount of it was worth at its own time; nothing where no rate of that currency was fresh.
    pub fn worth(&self, amount: u128, currency: Option<&Name>) -> Option<Value> {
        self.rate(currency)?.convert(amount)
    }

    /// The rate of its own time, if one of that currency held.
    pub fn rate(&self, currency: Option<&Name>) -> Option<Rate> {
        self.price.as_ref().filter(|price| Some(&price.currency) == currency).map(|price| price.rate)
    }

    /// What a limit counts of it in base units, if it has the same `per` as `other`, or pays one of `handles`.
    pub(crate) fn counted(&self, per: Per, other: &Self, handles: &BTreeSet<Name>) -> Option<u128> {
        let alike = match per {
            Per::Asset => self.subject.asset == other.subject.asset,
            Per::Wallet => self.subject.wallet == other.subject.wallet,
            Per::Client => self.subject.client == other.subject.client,
            Per::Initiator => self.initiator == other.initiator,
            Per::Destination => {
                let paid = handles.iter().filter_map(|handle| self.paid.get(handle));
                return paid.map(|paid| u128::from(paid.0)).reduce(u128::saturating_add);
            }
        };
        alike.then(|| self.total())
    }
}
