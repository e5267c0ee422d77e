//! The states of a deposit and the steps between them.

use std::fmt;

use custody::name::Name;
use serde::{Deserialize, Serialize};

use crate::coin::HoldReason;

/// Where a deposit stands. The caller keeps one for each output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum DepositState {
    /// In the mempool.
    Seen,
    /// Left the mempool, and not into a block.
    Vanished,
    /// In a block.
    Confirming {
        /// The confirmations that it has.
        confirmations: u32,
        /// Those that it needs.
        needed: u32,
    },
    /// Deep enough; waits for two people.
    Held {
        /// Why.
        reasons: Vec<HoldReason>,
        /// Who asked for its release.
        asked_by: Option<Name>,
    },
    /// In the client's account.
    Credited,
    /// Its block is no longer in the best chain.
    TakenBack,
}

/// What happens to a deposit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It is in the mempool.
    See,
    /// It left the mempool.
    Vanish,
    /// It is in a block.
    Confirm {
        /// The confirmations that it has.
        confirmations: u32,
        /// Those that it needs.
        needed: u32,
    },
    /// It is credited without a person.
    Credit,
    /// It is held.
    Hold(Vec<HoldReason>),
    /// A person asks for its release.
    AskRelease(Name),
    /// A second person releases it; it is credited.
    Release(Name),
    /// Its block is no longer in the best chain.
    TakeBack,
}

/// A step that a deposit cannot take.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IllegalStep {
    /// No such step from here.
    #[error("a deposit that is {state} cannot be {step}; read it again, it has moved on")]
    Order {
        /// Where it stands.
        state: &'static str,
        /// What was to happen.
        step: &'static str,
    },
    /// Too young.
    #[error("the deposit has {confirmations} of {needed} confirmations; wait for the others")]
    TooYoung {
        /// The confirmations that it has.
        confirmations: u32,
        /// Those that it needs.
        needed: u32,
    },
    /// Held for nothing.
    #[error("a deposit is held for a reason; give one")]
    NoReason,
    /// Nobody asked for the release.
    #[error("nobody has asked to release this deposit; one person asks, a second one releases")]
    NotAsked,
    /// Somebody asked already.
    #[error("{0} has asked to release this deposit; a second person can release it now")]
    AskedAlready(Name),
    /// The same person twice.
    #[error("{0} asked to release this deposit, so somebody else must release it")]
    SamePerson(Name),
}

impl DepositState {
    /// The word for people, filters and records.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Vanished => "vanished",
            Self::Confirming { .. } => "confirming",
            Self::Held { .. } => "held",
            Self::Credited => "credited",
            Self::TakenBack => "taken-back",
        }
    }
}

impl fmt::Display for DepositState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirming { confirmations, needed } => write!(f, "confirming({confirmations}/{needed})"),
            Self::Held { reasons, .. } => {
                let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                write!(f, "held({})", reasons.join("; "))
            }
            other => f.write_str(other.word()),
        }
    }
}

impl Step {
    fn word(&self) -> &'static str {
        match self {
            Self::See => "seen",
            Self::Vanish => "dropped from the mempool",
            Self::Confirm { .. } => "confirmed",
            Self::Credit => "credited",
            Self::Hold(_) => "held",
            Self::AskRelease(_) => "asked to be released",
            Self::Release(_) => "released",
            Self::TakeBack => "taken back",
        }
    }
}

/// The state after a step; `None` is an output that nothing is known of. Pure.
///
/// A deposit enters the client's account by [`Step::Credit`] and [`Step::Release`] only, and leaves it by
/// [`Step::TakeBack`] only.
///
/// # Errors
/// Why the step is impossible. Nothing changes then.
pub fn advance(state: Option<&DepositState>, step: &Step) -> Result<DepositState, IllegalStep> {
    use DepositState::{Confirming, Credited, Held, Seen, TakenBack, Vanished};
    let deep = |confirmations: u32, needed: u32| {
        let enough = needed > 0 && confirmations >= needed;
        enough.then_some(()).ok_or(IllegalStep::TooYoung { confirmations, needed })
    };
    match (state, step) {
        (None | Some(Seen | Vanished | TakenBack), Step::See) => Ok(Seen),
        (Some(Seen), Step::Vanish) => Ok(Vanished),
        (
            None | Some(Seen | Vanished | TakenBack | Confirming { .. }),
            Step::Confirm { confirmations, needed },
        ) => Ok(Confirming { confirmations: *confirmations, needed: *needed }),
        (Some(Confirming { confirmations, needed }), Step::Credit) => {
            deep(*confirmations, *needed).map(|()| Credited)
        }
        (Some(Confirming { .. }), Step::Hold(reasons)) if reasons.is_empty() => Err(IllegalStep::NoReason),
        (Some(Confirming { confirmations, needed }), Step::Hold(reasons)) => {
            deep(*confirmations, *needed).map(|()| Held { reasons: reasons.clone(), asked_by: None })
        }
        (Some(Held { asked_by: Some(other), .. }), Step::AskRelease(_)) => {
            Err(IllegalStep::AskedAlready(other.clone()))
        }
        (Some(Held { reasons, asked_by: None }), Step::AskRelease(by)) => {
            Ok(Held { reasons: reasons.clone(), asked_by: Some(by.clone()) })
        }
        (Some(Held { asked_by, .. }), Step::Release(by)) => match asked_by {
            None => Err(IllegalStep::NotAsked),
            Some(first) if first == by => Err(IllegalStep::SamePerson(by.clone())),
            Some(_) => Ok(Credited),
        },
        (Some(Confirming { .. } | Held { .. } | Credited), Step::TakeBack) => Ok(TakenBack),
        (state, step) => {
            let state = state.map_or("unknown", DepositState::word);
            Err(IllegalStep::Order { state, step: step.word() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DepositState::{Confirming, Credited, Held, Seen, TakenBack, Vanished};
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn held(asked_by: Option<&str>) -> DepositState {
        Held { reasons: vec![HoldReason::Retired], asked_by: asked_by.map(name) }
    }

    /// Every state by every step: what is not in the list of what may follow is refused, with words.
    #[test]
    fn every_illegal_step_is_refused() {
        let young = Confirming { confirmations: 2, needed: 3 };
        let deep = Confirming { confirmations: 3, needed: 3 };
        let confirm = Step::Confirm { confirmations: 2, needed: 3 };
        let hold = Step::Hold(vec![HoldReason::Retired]);
        let ask = Step::AskRelease(name("alice"));
        let release = Step::Release(name("bob"));
        let states = [
            None,
            Some(Seen),
            Some(Vanished),
            Some(young.clone()),
            Some(deep.clone()),
            Some(held(None)),
            Some(held(Some("alice"))),
            Some(Credited),
            Some(TakenBack),
        ];
        let steps =
            [&Step::See, &Step::Vanish, &confirm, &Step::Credit, &hold, &ask, &release, &Step::TakeBack];
        let legal = |state: &Option<DepositState>| -> Vec<(&Step, DepositState)> {
            match state {
                None | Some(Vanished | TakenBack) => vec![(&Step::See, Seen), (&confirm, young.clone())],
                Some(Seen) => {
                    vec![(&Step::See, Seen), (&Step::Vanish, Vanished), (&confirm, young.clone())]
                }
                Some(state) if *state == young => {
                    vec![(&confirm, young.clone()), (&Step::TakeBack, TakenBack)]
                }
                Some(Confirming { .. }) => vec![
                    (&confirm, young.clone()),
                    (&Step::Credit, Credited),
                    (&hold, held(None)),
                    (&Step::TakeBack, TakenBack),
                ],
                Some(Held { asked_by: None, .. }) => {
                    vec![(&ask, held(Some("alice"))), (&Step::TakeBack, TakenBack)]
                }
                Some(Held { .. }) => vec![(&release, Credited), (&Step::TakeBack, TakenBack)],
                Some(Credited) => vec![(&Step::TakeBack, TakenBack)],
            }
        };
        let mut refused = 0;
        for state in &states {
            let legal = legal(state);
            for step in steps {
                let expected = legal.iter().find(|(legal, _)| *legal == step).map(|(_, next)| next);
                let found = advance(state.as_ref(), step);
                assert_eq!(found.as_ref().ok(), expected, "{state:?} {step:?}");
                refused += usize::from(found.is_err_and(|error| !error.to_string().is_empty()));
            }
        }
        assert_eq!(refused, 72 - 20);
    }

    #[test]
    fn a_release_takes_two_people() {
        let ask = Step::AskRelease(name("alice"));
        let asked = advance(Some(&held(None)), &ask).unwrap();
        assert_eq!(asked, held(Some("alice")));
        let alone = advance(Some(&asked), &Step::Release(name("alice")));
        assert_eq!(alone, Err(IllegalStep::SamePerson(name("alice"))));
        let unasked = advance(Some(&held(None)), &Step::Release(name("bob")));
        assert_eq!(unasked, Err(IllegalStep::NotAsked));
        let again = advance(Some(&asked), &Step::AskRelease(name("bob")));
        assert_eq!(again, Err(IllegalStep::AskedAlready(name("alice"))), "bob cannot take alice's place");
        assert_eq!(advance(Some(&asked), &Step::Release(name("bob"))), Ok(Credited));
    }

    #[test]
    fn nothing_is_credited_or_held_too_early_or_without_a_reason() {
        for (confirmations, needed) in [(0, 1), (2, 3), (0, 0), (5, 0)] {
            let state = Confirming { confirmations, needed };
            let error = Err(IllegalStep::TooYoung { confirmations, needed });
            assert_eq!(advance(Some(&state), &Step::Credit), error);
            assert_eq!(advance(Some(&state), &Step::Hold(vec![HoldReason::Retired])), error);
        }
        let deep = Confirming { confirmations: 3, needed: 3 };
        assert_eq!(advance(Some(&deep), &Step::Hold(vec![])), Err(IllegalStep::NoReason));
    }
}
