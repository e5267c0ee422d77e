//! What a ceremony keeps secret, phase by phase. Each phase consumes the one before, so that a skipped
//! one does not compile:
//!
//! ```text
//! entropy ──▶ Master ──▶ Backup ──▶ Restored ──▶ Dealt ──▶ Sealed
//!                │  split    │ all combinations,   │  every set of co-signers
//! components ────┴───────────│─▶ both media read ──┘  signed
//! ```
//!
//! Keys are dealt only from a seed that was rebuilt from recovery components (S8, DACS REC-01). All of it
//! lives in locked memory, on the stack of [`keys::locked::on_locked_stack`] in a process that ends.

mod backup;
mod dealt;
mod hedged;
mod restored;

use custody::document::CosignerCard;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::{Hash, SLOTS_LIMIT};
use keys::locked::LockError;
use keys::purpose::WrongPurpose;
use keys::round::{AggregateError, SignError};
use keys::seal::SealError;
use keys::seed::{DeriveError, NoKey, NotASeed};
use keys::share::ShareError;

pub use backup::{Backup, Master, ReadBackError};
pub use dealt::{Dealt, Sealed, sign};
pub use restored::Restored;

use crate::entropy::EntropyError;
use crate::record::{PeopleError, RecordError};
use crate::script::{ComponentId, steps::Medium};
use crate::slip39::{CombineError, SchemeError, WordsError};

/// The coin type of test networks (SLIP-44): genesis admits no other network yet.
pub const COIN_TYPE: u32 = 1;

/// Accounts that a ceremony deals unless told otherwise: wallets to come, without another ceremony.
pub const ACCOUNTS_DEFAULT: u32 = 16;

/// What is settled before there is a secret.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The deployment.
    pub genesis: &'a Genesis,
    /// Cards that took the place of those in genesis since (P4): shares are sealed to these.
    pub cards: &'a [CosignerCard],
    /// The first account that is dealt: 0 unless a seed is restocked.
    pub first: u32,
    /// How many accounts: 1 to [`SLOTS_LIMIT`].
    pub accounts: u32,
    /// The time, in seconds since 1970.
    pub held_at: u64,
    /// In words, where the randomness comes from and how much it is (DACS GEN-01).
    pub entropy: &'a str,
    /// SHA-256 of the program that runs (DACS GEN-04).
    pub program: Hash,
}

/// Why a ceremony stopped. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// Genesis is not sound; a co-signer's certificate, for example, does not verify.
    #[error("{0}")]
    Genesis(#[from] custody::rule::Refusal),
    /// Too few or too many accounts.
    #[error("{0} accounts cannot be dealt: choose 1 to {SLOTS_LIMIT}")]
    Accounts(u32),
    /// A card that is no later card of a co-signer of genesis.
    #[error(
        "the card of {0} is no later card of that co-signer of genesis, given once: bring the one that is in force"
    )]
    Card(Name),
    /// See [`EntropyError`].
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// See [`SchemeError`].
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// See [`CombineError`].
    #[error(transparent)]
    Combine(#[from] CombineError),
    /// A set of components gives another key.
    #[error("components {} rebuild another key: hold the ceremony anew, on another machine if it stays so", list(.0))]
    Combination(Vec<ComponentId>),
    /// A component was not read back from a medium.
    #[error("component {0} was not read back from its {1}: do that before the keys are dealt")]
    NotReadBack(ComponentId, Medium),
    /// The components rebuild another seed than the script says.
    #[error(
        "the components rebuild another seed than that of the accounts in the script: the script is wrong, or of another tier"
    )]
    OtherSeed,
    /// See [`ReadBackError`].
    #[error(transparent)]
    ReadBack(#[from] ReadBackError),
    /// See [`WordsError`].
    #[error(transparent)]
    Words(#[from] WordsError),
    /// See [`PeopleError`].
    #[error(transparent)]
    People(#[from] PeopleError),
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
    /// See [`DeriveError`].
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// See [`NoKey`].
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// See [`NotASeed`].
    #[error(transparent)]
    Length(#[from] NotASeed),
    /// See [`ShareError`].
    #[error(transparent)]
    Share(#[from] ShareError),
    /// A set of holders could not sign.
    #[error("fresh shares do not sign ({0}): hold the ceremony anew, on another machine if it stays so")]
    Sign(#[from] SignError),
    /// What a set of holders signed does not verify.
    #[error("fresh shares do not sign ({0}): hold the ceremony anew, on another machine if it stays so")]
    Aggregate(#[from] AggregateError),
    /// A share could not be sealed to a holder.
    #[error("sealing to {0}: {1}; make a new card of this co-signer and a new genesis")]
    Seal(Name, SealError),
    /// See [`WrongPurpose`].
    #[error(transparent)]
    Purpose(#[from] WrongPurpose),
    /// The finished record does not pass its checks.
    #[error("the finished record is not sound ({0}): hold the ceremony anew")]
    Record(#[from] RecordError),
}

fn list(components: &[ComponentId]) -> String {
    components.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Plan<'_> {
    /// Checks what can be checked before there is a secret.
    ///
    /// # Errors
    /// Genesis, a card, or the number of accounts.
    pub fn check(&self) -> Result<(), CeremonyError> {
        // Whoever gets shares must be certified before there are any (P4): this checks every card.
        self.genesis.check()?;
        let wrong = || CeremonyError::Accounts(self.accounts);
        let accounts = usize::try_from(self.accounts).map_err(|_| wrong())?;
        if !(1..=SLOTS_LIMIT).contains(&accounts) || self.first.checked_add(self.accounts).is_none() {
            return Err(wrong());
        }
        for card in self.cards {
            let same = |old: &&CosignerCard| old.name == card.name && old.identity == card.identity;
            let later = |old: &CosignerCard| old.holds_shares == card.holds_shares && old.epoch < card.epoch;
            let old = self.genesis.cosigners.iter().find(same);
            let once = self.cards.iter().filter(|other| other.name == card.name).count() == 1;
            if !(card.certified() && once && old.is_some_and(later)) {
                return Err(CeremonyError::Card(card.name.clone()));
            }
        }
        Ok(())
    }

    /// The numbers of the accounts.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let first = self.first;
        (0..self.accounts).map(move |i| first.saturating_add(i))
    }

    /// The card that shares of a holder are sealed to.
    pub(crate) fn card<'c>(&'c self, of_genesis: &'c CosignerCard) -> &'c CosignerCard {
        self.cards.iter().find(|card| card.name == of_genesis.name).unwrap_or(of_genesis)
    }
}
