//! Books against network, and what a break sets off.
//!
//! The network's side is the worker's scan of the node's unspent outputs, which shares nothing with the
//! follower of deposits. It is compared when scan, follower and the cursor in the books stand at the same
//! block: at each new one, and when somebody asks. The judgement is `ledger::reconcile`.
//!
//! A break counts when two looks in a row show it, because log, node and books are read one after the other.
//! Then it is recorded, and the alarm machine freezes the asset (P16). The record remembers that freeze: what
//! a quorum resumes in spite of a break stays so until there is another one.

mod compare;
mod entries;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use custody::Hash;
use custody::effects::OutPoint;
use custody::name::Name;
use deposits::{Coin, Place};
use ledger::{Reconciliation, RecordKind};

use super::deposits::{Deposits, Outflow};
use super::{At, ClerkError};
use crate::alarm::{Alarm, Step, waits};
use crate::machine::Keys;
use crate::watch::shown;
use compare::Comparer;
pub(super) use compare::followed;
use record::{BREAK, CLOSED, Found, OK, breaks, compared, keep, told, version};

/// Most suspects of a break. More than a person looks at one by one; a record holds 64 KiB.
const SUSPECTS_LIMIT: usize = 100;

/// What the follower of deposits says.
struct View<'a> {
    /// The last block, and the own outputs; or why that is not known now.
    chain: Result<(Place, Vec<&'a Coin>), String>,
    outflows: &'a [Outflow],
    /// The transaction in the best chain that spends an output, however long ago.
    spender: &'a dyn Fn(&OutPoint) -> Result<Option<Hash>, ClerkError>,
}

/// Compares.
#[derive(Debug, Default)]
pub(crate) struct Reconcile {
    alarm: Arc<Alarm>,
    /// The block that was compared last.
    block: Option<Hash>,
    /// The wallets that broke in the last look, by how much; again while one of them did so for the first
    /// time.
    broken: BTreeMap<Name, String>,
    again: bool,
    /// The position in the books up to which each wallet was right.
    right: BTreeMap<Name, u64>,
    comparer: Comparer,
    /// What is not recorded yet, by the id of its record.
    told: BTreeMap<String, String>,
}

impl Reconcile {
    /// With the keys of the alarm machine, if there is one. Without it a break is said and freezes nothing.
    pub(crate) fn new(alarm: Option<Keys>) -> Self {
        Self { alarm: Arc::new(Alarm::new(alarm)), ..Self::default() }
    }

    /// The alarm, for who else needs it.
    pub(crate) fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// Something that the log allowed and the books did not: the asset is frozen in the next turn. The same
    /// words are the same breach, and freeze once.
    pub(crate) fn breach(&mut self, what: String) {
        let id = Hash::of("keyward/breach/v1", what.as_bytes()).to_string();
        self.told.insert(format!("alarm/breach/{}", id.get(..32).unwrap_or_default()), what);
    }

    /// Looks once.
    ///
    /// # Errors
    /// The books. The next turn goes on.
    pub(crate) fn turn(&mut self, at: &At<'_>, deposits: &Deposits) -> Result<(), ClerkError> {
        let spender = |outpoint: &OutPoint| Ok(deposits.spender(at, outpoint)?.map(|(txid, _)| txid));
        let chain = followed(deposits.follower());
        self.look(at, &View { chain, outflows: deposits.outflows(), spender: &spender })
    }

    fn look(&mut self, at: &At<'_>, view: &View<'_>) -> Result<(), ClerkError> {
        self.outflows(at, view.outflows);
        self.record_told(at)?;
        self.compare(at, view)?;
        self.tend(at)
    }

    /// Coins that leave without the log allowing it, already from the mempool.
    fn outflows(&mut self, at: &At<'_>, outflows: &[Outflow]) {
        if outflows.is_empty() {
            return;
        }
        let core = at.desk.core();
        // The log may have grown since this turn began; and whoever is cut off from it judges nothing by it.
        let state = core.replica.state();
        let allowed: BTreeSet<Hash> = state.authorisations().iter().map(|(_, a)| a.txid).collect();
        if !core.is_level() {
            return;
        }
        for flow in outflows.iter().filter(|flow| !allowed.contains(&flow.txid)) {
            let Outflow { txid, wallet, .. } = flow;
            let what =
                format!("transaction {} spends coins of wallet {wallet} and nobody approved it", shown(txid));
            self.told.insert(format!("alarm/outflow/{}", shown(txid)), what);
        }
    }

    /// Records what was told, once.
    fn record_told(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        while let Some((id, what)) = self.told.first_key_value() {
            if version(at, &told(id))? == 0 {
                keep(at, &told(id), 0, BREAK, &Found::told(what))?;
            }
            self.told.pop_first();
        }
        Ok(())
    }

    /// Sees to it that each open break is known, and that the asset is or was frozen for it.
    fn tend(&self, at: &At<'_>) -> Result<(), ClerkError> {
        let open = breaks(at)?;
        // Breaks share a freeze.
        let mut sent = open.iter().filter_map(|(_, found)| found.freeze).find(|id| waits(at, id));
        for (record, found) in open {
            at.desk.core().alarm(found.what.clone());
            let (key, newest) = (record.change.key(), record.version);
            let remember = |freeze: Hash| {
                keep(at, &key, newest, BREAK, &Found { freeze: Some(freeze), ..found.clone() })
            };
            match self.alarm.step(at, found.freeze.map(|freeze| (freeze, record.change.at))) {
                Ok(Step::Stands) => {}
                // What does not go away by itself is over with the judgement of those who resumed.
                Ok(Step::Lifted) if key.kind == RecordKind::Cursor => {
                    keep(at, &key, newest, CLOSED, &found)?;
                }
                Ok(Step::Lifted) => {}
                Ok(Step::Adopt(freeze)) => drop(remember(freeze)?),
                Ok(Step::Send(freeze)) => match sent {
                    Some(sent) => drop(remember(sent)?),
                    None if remember(freeze.id())? => {
                        sent = Some(freeze.id());
                        Alarm::send(at, &freeze).map_err(ClerkError::Other)?;
                    }
                    None => {}
                },
                Err(why) => at.desk.core().alarm(format!("{} is NOT frozen: {why}", at.asset)),
            }
        }
        Ok(())
    }

    /// Compares all wallets when there is a new block, or a question.
    fn compare(&mut self, at: &At<'_>, view: &View<'_>) -> Result<(), ClerkError> {
        let asked = {
            let core = at.desk.core();
            let compared = &core.published.compared;
            (compared.asked > compared.answered).then_some(compared.asked)
        };
        let block = view.chain.as_ref().ok().map(|(tip, _)| tip.block);
        if asked.is_none() && !self.again && block == self.block {
            return Ok(());
        }
        let all = match &view.chain {
            Ok((tip, coins)) => self.comparer.all(at, *tip, coins)?,
            Err(why) => Err(why.clone()),
        };
        if let Ok((all, position)) = &all {
            self.again = false;
            for one in all {
                self.judge(at, view, one, *position)?;
            }
            self.block = block;
        }
        let mut core = at.desk.core();
        let published = &mut core.published.compared;
        // Who asks waits until it can be done.
        if all.is_ok() {
            published.answered = asked.unwrap_or(published.answered);
        }
        published.result = Some(all.map(|(all, _)| all));
        drop(core);
        at.desk.news.notify_all();
        Ok(())
    }

    /// Draws the consequences of a comparison.
    fn judge(
        &mut self,
        at: &At<'_>,
        view: &View<'_>,
        one: &Reconciliation,
        position: u64,
    ) -> Result<(), ClerkError> {
        let (wallet, key) = (&one.wallet, compared(one));
        let of_wallet = |found: &Found| found.difference().is_some_and(|(of, _)| of == wallet.as_str());
        let open = breaks(at)?.into_iter().filter(|(_, found)| of_wallet(found));
        if !one.is_break() {
            self.broken.remove(wallet);
            self.right.insert(wallet.clone(), position);
            for (record, found) in open {
                keep(at, &record.change.key(), record.version, CLOSED, &found)?;
            }
            if version(at, &key)? == 0 {
                let what = format!("wallet {wallet} holds what the books say at block {}", one.height);
                keep(at, &key, 0, OK, &Found::compared(what, one)?)?;
            }
            return Ok(());
        }
        let difference = one.difference.to_string();
        if self.broken.insert(wallet.clone(), difference.clone()).is_none() {
            self.again = true;
            return Ok(());
        }
        let same = |found: &Found| found.difference().is_some_and(|(_, by)| by == difference);
        let (old, other): (Vec<_>, Vec<_>) = open.partition(|(_, found)| same(found));
        for (record, found) in other.iter().filter(|(record, _)| record.change.key() != key) {
            keep(at, &record.change.key(), record.version, CLOSED, found)?;
        }
        if !old.is_empty() {
            return Ok(());
        }
        let mut full = one.clone();
        let right = self.right.get(wallet).copied().unwrap_or(0);
        full.suspects.extend(entries::strange(at, view, one, right)?);
        full.suspects.truncate(SUSPECTS_LIMIT);
        let what = format!(
            "wallet {wallet} differs from the books by {difference} at block {}: keyward reconcile names what \
             may explain it",
            one.height
        );
        keep(at, &key, version(at, &key)?, BREAK, &Found::compared(what, &full)?)?;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
