//! Own outputs in the mempool. Nothing here survives a restart: the node is asked again.

use std::collections::{BTreeMap, HashMap};

use bitcoin::Transaction;
use custody::Hash;
use custody::effects::{OutPoint, Sats};

use crate::coin::{Coin, Fact, Sighting};
use crate::watched::{Watched, hash};

/// The outputs that a transaction spends.
pub(crate) fn spends(tx: &Transaction) -> impl Iterator<Item = OutPoint> {
    tx.input.iter().map(|input| {
        let from = input.previous_output;
        OutPoint { txid: hash(from.txid), vout: from.vout }
    })
}

/// The own outputs that a transaction makes.
pub(crate) fn sightings(txid: Hash, tx: &Transaction, watched: &Watched) -> Vec<Sighting> {
    let outputs = tx.output.iter().zip(0_u32..);
    let own = outputs.filter_map(|(output, vout)| {
        let address = watched.find(&output.script_pubkey)?;
        let amount = Sats(output.value.to_sat());
        Some(Sighting { outpoint: OutPoint { txid, vout }, amount, address })
    });
    own.collect()
}

/// The transactions of the mempool that pay us or spend from us.
#[derive(Debug, Default)]
pub(crate) struct Mempool {
    transactions: BTreeMap<Hash, Waiting>,
    /// What they spend, to notice when something else does.
    spent: HashMap<OutPoint, Hash>,
}

#[derive(Debug)]
struct Waiting {
    spends: Vec<OutPoint>,
    sightings: Vec<Sighting>,
}

impl Mempool {
    pub(crate) fn has(&self, txid: &Hash) -> bool {
        self.transactions.contains_key(txid)
    }

    /// The deposit that a waiting transaction makes.
    pub(crate) fn sighting(&self, outpoint: &OutPoint) -> Option<&Sighting> {
        let waiting = self.transactions.get(&outpoint.txid)?;
        waiting.sightings.iter().find(|sighting| sighting.outpoint == *outpoint)
    }

    /// Takes a transaction in, with the deposits that it makes.
    pub(crate) fn add(&mut self, txid: Hash, tx: &Transaction, sightings: Vec<Sighting>) {
        let spends: Vec<_> = spends(tx).collect();
        self.spent.extend(spends.iter().map(|outpoint| (*outpoint, txid)));
        self.transactions.insert(txid, Waiting { spends, sightings });
    }

    /// Forgets a transaction and gives back the deposits that it made.
    pub(crate) fn take(&mut self, txid: &Hash) -> Vec<Sighting> {
        let Some(Waiting { spends, sightings }) = self.transactions.remove(txid) else { return Vec::new() };
        for outpoint in spends {
            if self.spent.get(&outpoint) == Some(txid) {
                self.spent.remove(&outpoint);
            }
        }
        sightings
    }

    /// Whatever spends the same as this transaction is gone.
    pub(crate) fn conflicts(
        &mut self,
        txid: Hash,
        tx: &Transaction,
        coins: &HashMap<OutPoint, Coin>,
        facts: &mut Vec<Fact>,
    ) {
        if self.spent.is_empty() {
            return;
        }
        for outpoint in spends(tx) {
            if let Some(other) = self.spent.get(&outpoint).copied().filter(|other| *other != txid) {
                self.vanish(&other, Some(txid), coins, facts);
            }
        }
    }

    /// A transaction left. What it paid is gone, unless a block has it. What spends its outputs is reported by
    /// the node as well.
    pub(crate) fn vanish(
        &mut self,
        txid: &Hash,
        by: Option<Hash>,
        coins: &HashMap<OutPoint, Coin>,
        facts: &mut Vec<Fact>,
    ) {
        let gone = self.take(txid).into_iter().filter(|sighting| !coins.contains_key(&sighting.outpoint));
        facts.extend(gone.map(|sighting| Fact::Vanished { sighting, by }));
    }
}
