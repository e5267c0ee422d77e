//! Custody models: whose assets a wallet may hold, and which transfers that admits.

use custody::document;
use serde::{Deserialize, Serialize};

use crate::account::Owner;
use crate::transfer::Code;

/// The index of a pooled wallet's house address: the first of its change chain. Consolidations pay it, and their
/// change goes there too: what comes back to the change of its own transaction is nobody's deposit.
pub const HOUSE_INDEX: u32 = 0;

/// The custody model of a wallet (DACS 2.2). `P` says that the house's own assets may lie beside those
/// of clients.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Model {
    /// Pooled, allocated at the level of the pool.
    #[serde(rename = "1")]
    One,
    /// As 1, with assets of the house.
    #[serde(rename = "1P")]
    OneP,
    /// Pooled, allocated per account.
    #[serde(rename = "2")]
    Two,
    /// As 2, with assets of the house.
    #[serde(rename = "2P")]
    TwoP,
    /// Each address belongs to one client.
    #[serde(rename = "3")]
    Three,
}

impl Model {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::One, Self::OneP, Self::Two, Self::TwoP, Self::Three];

    /// The text of the standard.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::OneP => "1P",
            Self::Two => "2",
            Self::TwoP => "2P",
            Self::Three => "3",
        }
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.as_str() == text)
    }

    /// Whether the house may own something in the wallet.
    pub fn holds_own(self) -> bool {
        matches!(self, Self::OneP | Self::TwoP)
    }

    /// Whether the coins of several clients lie together, so that a line in the books moves them.
    pub fn is_pooled(self) -> bool {
        !matches!(self, Self::Three)
    }

    /// Who pays the network's fee of a transaction that no client asked for, as a consolidation; `None`
    /// where the client must, whose addresses are consolidated.
    pub fn fee_payer(self) -> Option<Owner> {
        match self {
            Self::One | Self::Two => Some(Owner::Fees),
            Self::OneP | Self::TwoP => Some(Owner::Own),
            Self::Three => None,
        }
    }

    /// Whether an account of this owner may exist.
    pub fn has(self, owner: &Owner) -> bool {
        match owner {
            Owner::Own => self.holds_own(),
            Owner::Fees => self.fee_payer() == Some(Owner::Fees),
            Owner::Client(_) | Owner::Suspense | Owner::InTransit | Owner::External => true,
        }
    }

    /// Whether a transfer for this reason may join these two owners. The table is in `docs/ledger.md`.
    pub fn admits(self, code: Code, debit: &Owner, credit: &Owner) -> bool {
        use Owner::{Client, External, Fees, InTransit, Own, Suspense};
        let between_clients = matches!((debit, credit), (Client(a), Client(b)) if a != b);
        if !self.has(debit) || !self.has(credit) || (between_clients && !self.is_pooled()) {
            return false;
        }
        match code {
            Code::Deposit => matches!((debit, credit), (External, Client(_) | Own | Suspense | Fees)),
            Code::DepositReversed => matches!((debit, credit), (Client(_) | Own | Suspense | Fees, External)),
            Code::Release => matches!((debit, credit), (Suspense, Client(_) | Own)),
            Code::Withdrawal => {
                matches!((debit, credit), (Client(_) | Own | Suspense, InTransit) | (InTransit, External))
            }
            Code::NetworkFee => match (debit, credit) {
                // What is reserved of the account `fees` is nothing but a fee.
                (InTransit, External) | (Fees, InTransit) => true,
                (Client(_), External) => self.fee_payer().is_none(),
                (payer, External) => Some(payer) == self.fee_payer().as_ref(),
                _ => false,
            },
            Code::Internal => matches!((debit, credit), (Client(_) | Own, Client(_) | Own)),
            Code::Sweep => matches!(
                (debit, credit),
                (Client(_) | Own | Suspense, InTransit)
                    | (InTransit, External)
                    | (External, Client(_) | Own | Suspense)
            ),
            Code::Correction => true,
        }
    }
}

/// The model of the log as the books know it: the same words, which `custody` signs and the books enforce.
impl From<document::Model> for Model {
    fn from(of: document::Model) -> Self {
        match of {
            document::Model::One => Self::One,
            document::Model::OneP => Self::OneP,
            document::Model::Two => Self::Two,
            document::Model::TwoP => Self::TwoP,
            document::Model::Three => Self::Three,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custody::name::Name;

    fn owner(text: &str) -> Owner {
        text.parse().unwrap()
    }

    #[test]
    fn models_read_back() {
        for model in Model::ALL {
            assert_eq!(Model::parse(model.as_str()), Some(model));
            assert_eq!(serde_json::to_value(model).unwrap(), model.as_str());
        }
    }

    /// The whole table: every code and every pair of owners, under every model. `x` and `y` are clients.
    #[test]
    fn the_table_of_admitted_transfers() {
        let everywhere = "
            deposit external>client:x external>suspense
            deposit-reversed client:x>external suspense>external
            release suspense>client:x
            withdrawal client:x>in-transit suspense>in-transit in-transit>external
            network-fee in-transit>external
            sweep client:x>in-transit suspense>in-transit in-transit>external external>client:x external>suspense";
        let own = "
            deposit external>own
            deposit-reversed own>external
            release suspense>own
            withdrawal own>in-transit
            network-fee own>external
            internal client:x>own own>client:x
            sweep own>in-transit external>own";
        let fees = "
            deposit external>fees
            deposit-reversed fees>external
            network-fee fees>in-transit fees>external";
        let admitted = |model: Model, code: &str, pair: &str| {
            let lines = |text: &str| {
                text.lines().any(|l| {
                    let mut words = l.split_whitespace();
                    words.next() == Some(code) && words.any(|w| w == pair)
                })
            };
            let (debit, credit) = pair.split_once('>').unwrap();
            let has_fees = matches!(model, Model::One | Model::Two);
            lines(everywhere)
                || (model.holds_own() && lines(own))
                || (has_fees && lines(fees))
                || (model.is_pooled() && code == "internal" && pair == "client:x>client:y")
                || (model == Model::Three && code == "network-fee" && pair == "client:x>external")
                || (code == "correction"
                    && (model.holds_own() || (debit != "own" && credit != "own"))
                    && (has_fees || (debit != "fees" && credit != "fees"))
                    && (model.is_pooled() || pair != "client:x>client:y"))
        };
        let owners = ["client:x", "client:y", "own", "fees", "suspense", "in-transit", "external"];
        let mut seen = 0;
        for model in Model::ALL {
            for code in Code::ALL {
                for debit in owners {
                    for credit in owners {
                        if debit == credit
                            || (debit == "client:y")
                            || (credit == "client:y" && debit != "client:x")
                        {
                            continue;
                        }
                        let pair = format!("{debit}>{credit}");
                        assert_eq!(
                            model.admits(code, &owner(debit), &owner(credit)),
                            admitted(model, code.as_str(), &pair),
                            "model {} {} {pair}",
                            model.as_str(),
                            code.as_str()
                        );
                        seen += 1;
                    }
                }
            }
        }
        assert_eq!(seen, 5 * 8 * 31);
        assert_eq!(owner("client:x"), Owner::Client(Name::new("x").unwrap()));
    }
}
