//! What is kept between runs, and what is taken up again.

use custody::Hash;
use custody::effects::OutPoint;
use serde::{Deserialize, Serialize};

use super::{Connected, Follower, Heard, REMEMBERED_BLOCKS};
use crate::coin::{Coin, CoinKind, Fact, Place};
use crate::node::Deployment;

/// Where the follower stands. Written in the same commit as the facts that it was reached with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The chain.
    pub deployment: Deployment,
    /// The last blocks, the oldest first; at least one.
    pub blocks: Vec<Place>,
    /// How many blocks were ever connected.
    pub connected: u64,
}

/// Why a follower cannot go on from what was kept.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResumeError {
    /// No block, or a gap, or too many.
    #[error("the cursor does not hold 1 to 144 blocks in a row; restore it together with the coins")]
    Cursor,
    /// A coin or its spend stands in a block that the cursor does not have.
    #[error("output {outpoint:?} is in a block that the cursor does not have; restore both from one backup")]
    Coin {
        /// The output.
        outpoint: OutPoint,
    },
    /// One output twice.
    #[error("output {outpoint:?} is kept twice; restore the records from a backup")]
    Twice {
        /// The output.
        outpoint: OutPoint,
    },
}

impl Follower {
    /// Goes on from what was kept: the cursor, and all coins that are unspent, not judged, or were found or
    /// spent in a block of the cursor. More do no harm.
    ///
    /// # Errors
    /// A cursor and coins that are not of one moment.
    pub fn resume(cursor: Cursor, coins: impl IntoIterator<Item = Coin>) -> Result<Self, ResumeError> {
        let Cursor { deployment, blocks, connected } = cursor;
        let mut places = blocks.into_iter();
        let first = places.next().ok_or(ResumeError::Cursor)?;
        let mut this = Self::start(deployment, first.height, first.block);
        this.connected = connected;
        this.blocks.clear();
        for (place, height) in std::iter::once(first).chain(places).zip(first.height..) {
            if place.height != height || this.blocks.len() >= REMEMBERED_BLOCKS {
                return Err(ResumeError::Cursor);
            }
            this.blocks.push_back(Connected { place, found: Vec::new(), spent: Vec::new() });
        }
        let oldest = this.oldest();
        let long_gone = |coin: &Coin| {
            let spent = coin.spent.and_then(|spend| spend.place);
            coin.kind != CoinKind::Open && spent.is_some_and(|place| place.height < oldest)
        };
        for coin in coins.into_iter().filter(|coin| !long_gone(coin)) {
            let outpoint = coin.outpoint;
            this.note(&coin)?;
            if this.coins.insert(outpoint, coin).is_some() {
                return Err(ResumeError::Twice { outpoint });
            }
        }
        this.ripen(None);
        Ok(this)
    }

    /// Puts a kept coin where it belongs.
    fn note(&mut self, coin: &Coin) -> Result<(), ResumeError> {
        let outpoint = coin.outpoint;
        let spend = coin.spent.and_then(|spend| spend.place);
        for (place, is_spend) in [(Some(coin.place), false), (spend, true)] {
            let Some(place) = place.filter(|place| place.height >= self.oldest()) else { continue };
            let block = self.blocks.iter_mut().find(|block| block.place == place);
            let block = block.ok_or(ResumeError::Coin { outpoint })?;
            if is_spend { block.spent.push(outpoint) } else { block.found.push(outpoint) }
        }
        if coin.kind == CoinKind::Open {
            self.young.insert(outpoint);
        }
        Ok(())
    }

    /// Where it stands, to be kept.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            deployment: self.deployment.clone(),
            blocks: self.blocks.iter().map(|block| block.place).collect(),
            connected: self.connected,
        }
    }

    /// Goes back to `ancestor`, a block below the oldest remembered one which an operator vouches for, or any
    /// other that is known to be right. `coins` are all that were ever kept and not taken back. What stood
    /// above it is taken back, and found again as far as it is there. The mempool is forgotten: give it again.
    pub fn rescan(
        &mut self,
        height: u32,
        ancestor: Hash,
        coins: impl IntoIterator<Item = Coin>,
    ) -> Vec<Fact> {
        let mut fresh = Self::start(self.deployment.clone(), height, ancestor);
        fresh.connected = self.connected;
        fresh.heard = std::mem::replace(&mut self.heard, Heard::Nothing);
        let mut facts = Vec::new();
        for mut coin in coins {
            if let Some(by) = coin.spent.filter(|by| by.place.is_some_and(|place| place.height > height)) {
                coin.spent = None;
                facts.push(Fact::Unspent { coin: coin.clone(), by });
            }
            if coin.place.height > height {
                facts.push(Fact::TakenBack(coin));
                continue;
            }
            if coin.kind == CoinKind::Open {
                fresh.young.insert(coin.outpoint);
            }
            fresh.coins.insert(coin.outpoint, coin);
        }
        fresh.ripen(None);
        *self = fresh;
        facts
    }
}
