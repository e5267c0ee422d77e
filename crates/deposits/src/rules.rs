//! How deep a deposit must be, and how large.

use std::collections::BTreeMap;
use std::str::FromStr;

use custody::effects::Sats;
use custody::name::Name;

/// Confirmations of a miner's reward: it cannot be spent before (Bitcoin Core's `COINBASE_MATURITY`).
pub const COINBASE_CONFIRMATIONS: u32 = 100;

/// Most confirmations that a rule may ask for: a day of blocks, all of which are remembered.
pub const CONFIRMATIONS_LIMIT: u32 = 144;

/// Confirmations of a wallet without rules, by amount. The figures are from the Bitcoin paper §11, for an
/// attacker with a tenth of all hash rate: 3 blocks are undone once in 76 times, 6 once in 4,000, 12 not in a
/// million; the amounts keep what can be gained in one block below what such an attack costs.
pub const DEFAULT_CONFIRMATIONS: [(Sats, u32); 3] =
    [(Sats(0), 3), (Sats(100_000_000), 6), (Sats(10_000_000_000), 12)];

/// Smallest deposit that is credited to a client at once: spending a Taproot output takes 58 virtual bytes,
/// so below this it costs more than it brings at 17 sat/vB.
pub const DEFAULT_LEAST: Sats = Sats(1_000);

/// One rule: deposits to `wallet` of at least `from` need so many confirmations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The wallet.
    pub wallet: Name,
    /// The least amount that the rule is for.
    pub from: Sats,
    /// How many.
    pub confirmations: u32,
}

/// Why rules are refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RulesError {
    /// None, or more than are remembered.
    #[error(
        "wallet {wallet} asks for {confirmations} confirmations; ask for 1 to {CONFIRMATIONS_LIMIT} \
         (a reorganisation deeper than that stops all credits anyway)"
    )]
    Confirmations {
        /// The wallet.
        wallet: Name,
        /// What it asks for.
        confirmations: u32,
    },
    /// Two rules for one amount.
    #[error("wallet {wallet} has two rules from {from}; keep one")]
    Twice {
        /// The wallet.
        wallet: Name,
        /// The amount.
        from: Sats,
    },
    /// A line that is no rule.
    #[error("line {0} is no rule; write `WALLET from SATOSHI needs CONFIRMATIONS` or `WALLET least SATOSHI`")]
    Line(usize),
    /// Two least amounts.
    #[error("wallet {0} has two least amounts; keep one")]
    TwoLeast(Name),
    /// No rule for small amounts.
    #[error("wallet {0} has no rule from 0 sat; say what small deposits need")]
    NoFirst(Name),
    /// A large amount needs less than a small one.
    #[error("wallet {wallet} needs fewer confirmations from {from} than below; let them rise with amounts")]
    Falls {
        /// The wallet.
        wallet: Name,
        /// The amount.
        from: Sats,
    },
}

/// Confirmations and least amounts of all wallets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    confirmations: BTreeMap<Name, BTreeMap<Sats, u32>>,
    least: BTreeMap<Name, Sats>,
}

impl Rules {
    /// Checked rules. Wallets without a row have [`DEFAULT_CONFIRMATIONS`], those without a least amount
    /// [`DEFAULT_LEAST`].
    ///
    /// # Errors
    /// Rows that contradict each other or a limit.
    pub fn new(
        rows: impl IntoIterator<Item = Row>,
        least: impl IntoIterator<Item = (Name, Sats)>,
    ) -> Result<Self, RulesError> {
        let mut rules = Self { least: least.into_iter().collect(), ..Self::default() };
        for Row { wallet, from, confirmations } in rows {
            if !(1..=CONFIRMATIONS_LIMIT).contains(&confirmations) {
                return Err(RulesError::Confirmations { wallet, confirmations });
            }
            let steps = rules.confirmations.entry(wallet.clone()).or_default();
            if steps.insert(from, confirmations).is_some() {
                return Err(RulesError::Twice { wallet, from });
            }
        }
        for (wallet, steps) in &rules.confirmations {
            if !steps.contains_key(&Sats(0)) {
                return Err(RulesError::NoFirst(wallet.clone()));
            }
            let falls = steps.iter().zip(steps.iter().skip(1)).find(|((_, low), (_, high))| high < low);
            if let Some((_, (from, _))) = falls {
                return Err(RulesError::Falls { wallet: wallet.clone(), from: *from });
            }
        }
        Ok(rules)
    }

    /// The confirmations that `amount` needs in `wallet`. `amount` is what one client is paid in one block, so
    /// that splitting a deposit does not make it confirm sooner.
    pub fn confirmations(&self, wallet: &Name, amount: Sats, coinbase: bool) -> u32 {
        let own = self.confirmations.get(wallet).and_then(|steps| steps.range(..=amount).next_back());
        let default = || DEFAULT_CONFIRMATIONS.iter().rfind(|(from, _)| *from <= amount);
        let needed = own.map(|(_, n)| *n).or_else(|| default().map(|(_, n)| *n));
        let needed = needed.unwrap_or(CONFIRMATIONS_LIMIT);
        if coinbase { needed.max(COINBASE_CONFIRMATIONS) } else { needed }
    }

    /// The least amount that is credited without a person.
    pub fn least(&self, wallet: &Name) -> Sats {
        self.least.get(wallet).copied().unwrap_or(DEFAULT_LEAST)
    }
}

/// Reads rules, one on each line: `main from 0 needs 3` (confirmations), `main least 2000` (satoshi). Empty lines
/// and what stands behind `#` do not count.
impl FromStr for Rules {
    type Err = RulesError;

    fn from_str(text: &str) -> Result<Self, RulesError> {
        let (mut rows, mut least) = (Vec::new(), BTreeMap::new());
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let bad = RulesError::Line(number);
            let [wallet, rule @ ..] = &words[..] else { continue };
            let wallet = Name::new(wallet).ok_or_else(|| bad.clone())?;
            let sats = |text: &str| text.parse().map(Sats).map_err(|_| bad.clone());
            match rule {
                ["from", from, "needs", confirmations] => {
                    let confirmations = confirmations.parse().map_err(|_| bad.clone())?;
                    rows.push(Row { wallet, from: sats(from)?, confirmations });
                }
                ["least", amount] => {
                    if least.insert(wallet.clone(), sats(amount)?).is_some() {
                        return Err(RulesError::TwoLeast(wallet));
                    }
                }
                _ => return Err(bad),
            }
        }
        Self::new(rows, least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn row(from: u64, confirmations: u32) -> Row {
        Row { wallet: name("main"), from: Sats(from), confirmations }
    }

    fn rules(rows: &[Row]) -> Result<Rules, RulesError> {
        Rules::new(rows.iter().cloned(), [])
    }

    #[test]
    fn the_largest_amount_that_is_reached_decides() {
        let rules = rules(&[row(0, 1), row(1_000, 4), row(5_000, 9)]).unwrap();
        let needed = |amount| rules.confirmations(&name("main"), Sats(amount), false);
        assert_eq!([0, 999, 1_000, 4_999, 5_000, u64::MAX].map(needed), [1, 1, 4, 4, 9, 9]);
        assert_eq!(rules.confirmations(&name("main"), Sats(1), true), COINBASE_CONFIRMATIONS);
        for (from, confirmations) in DEFAULT_CONFIRMATIONS {
            assert_eq!(rules.confirmations(&name("other"), from, false), confirmations);
        }
        assert_eq!(rules.confirmations(&name("other"), Sats(99_999_999), false), 3);
    }

    #[test]
    fn a_miners_reward_keeps_a_rule_that_asks_for_more() {
        let rules = rules(&[row(0, COINBASE_CONFIRMATIONS + 1)]).unwrap();
        assert_eq!(rules.confirmations(&name("main"), Sats(1), true), COINBASE_CONFIRMATIONS + 1);
    }

    #[test]
    fn rules_on_both_sides_of_their_limits() {
        assert!(rules(&[row(0, 1), row(1, CONFIRMATIONS_LIMIT)]).is_ok());
        for none_or_many in [0, CONFIRMATIONS_LIMIT + 1] {
            let error = rules(&[row(0, none_or_many)]).unwrap_err();
            assert!(matches!(error, RulesError::Confirmations { .. }), "{error}");
        }
        assert!(matches!(rules(&[row(0, 1), row(0, 2)]), Err(RulesError::Twice { .. })));
        assert!(matches!(rules(&[row(1, 1)]), Err(RulesError::NoFirst(_))));
        assert!(matches!(rules(&[row(0, 3), row(9, 2)]), Err(RulesError::Falls { from: Sats(9), .. })));
        assert!(rules(&[row(0, 3), row(9, 3)]).is_ok());
    }

    #[test]
    fn the_least_amount_is_the_wallets_own_or_the_default() {
        let rules = Rules::new([], [(name("main"), Sats(7))]).unwrap();
        assert_eq!((rules.least(&name("main")), rules.least(&name("other"))), (Sats(7), DEFAULT_LEAST));
    }

    #[test]
    fn rules_are_read_from_text() {
        let text = "# small ones\nmain from 0 needs 1\nmain from 1000 needs 4 # large\n\nmain least 7\n";
        let expected = Rules::new([row(0, 1), row(1_000, 4)], [(name("main"), Sats(7))]).unwrap();
        assert_eq!(text.parse(), Ok(expected));
        assert_eq!("".parse(), Ok(Rules::default()));
        let cases = [
            "main",
            "main from 0",
            "main from -1 needs 1",
            "main from 0 needs one",
            "main least",
            "main most 5",
            "Main least 5",
            "main least 5 6",
        ];
        for bad in cases {
            assert_eq!(format!("\n{bad}").parse::<Rules>(), Err(RulesError::Line(2)), "{bad}");
        }
        assert_eq!("main least 1\nmain least 1".parse::<Rules>(), Err(RulesError::TwoLeast(name("main"))));
        let none = "main from 0 needs 0".parse::<Rules>();
        assert!(matches!(none, Err(RulesError::Confirmations { .. })), "checked as others");
    }
}
