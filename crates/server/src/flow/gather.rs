//! Consolidations: which coins are gathered at a wallet's house address (`docs/withdrawals.md`).

use std::collections::{BTreeSet, VecDeque};

use builder::{BuildError, Utxo};
use custody::effects::{Decoder as _, OutPoint, Sats};
use custody::name::Name;
use custody::payment::{Authorise, Request};
use custody::state::{Authorisation, State};

use super::{Problem, Task, View};

/// Most coins that one transaction gathers, beside the anchor if none of them can be that: signed they weigh 23,000
/// weight units, a seventeenth of what nodes relay (400,000), and a set of holders has seven seconds to sign them.
pub(crate) const GATHER_LIMIT: usize = 100;

/// The vbytes of an input with its signature: 57.5, rounded up.
const INPUT_VBYTES: u64 = 58;

/// The vbytes of a Taproot output.
const OUTPUT_VBYTES: u64 = 43;

/// All other vbytes (11), and what coin selection wants to have over (3).
const OTHER_VBYTES: u64 = 14;

/// The most vbytes of a transaction that gathers so many coins in so many outputs, its change among them.
pub(crate) fn gathering_vbytes(coins: usize, outputs: usize) -> u64 {
    let times = |count: usize, each: u64| u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(each);
    times(coins, INPUT_VBYTES).saturating_add(times(outputs, OUTPUT_VBYTES)).saturating_add(OTHER_VBYTES)
}

/// The least amount of a coin that brings more than it costs at a fee rate.
pub(crate) fn worth_gathering(rate: u64) -> Sats {
    Sats(rate.saturating_mul(INPUT_VBYTES).saturating_add(1))
}

/// The coins of a wallet that are spoken for: by transactions that are allowed and may confirm, by those that wait
/// for the log, and as anchors of what is not paid yet (P23).
pub(crate) fn spoken_for(
    state: &State,
    wallet: &Name,
    unspent: &BTreeSet<OutPoint>,
    proposed: &[Authorise],
) -> BTreeSet<OutPoint> {
    let live = |a: &Authorisation| a.transaction.inputs.iter().all(|i| unspent.contains(&i.outpoint));
    let allowed = state.authorisations().iter().map(|(_, a)| a).filter(|a| a.wallet == *wallet && live(a));
    let allowed = allowed.flat_map(|a| &a.transaction.inputs);
    let waiting = proposed.iter().flat_map(|p| &p.transaction.inputs);
    let anchors = unspent.iter().filter(|outpoint| state.anchors().get(outpoint).is_some());
    allowed.chain(waiting).map(|input| input.outpoint).chain(anchors.copied()).collect()
}

impl View<'_> {
    /// Whether a request only gathers coins of its wallet.
    pub(super) fn gathers(&self, request: &Request) -> bool {
        withdrawals::is_consolidation(self.state, self.decoder, request)
    }

    /// Whether a request pays the house address of its wallet; then the change goes there, too.
    pub(super) fn comes_back(&self, request: &Request) -> bool {
        withdrawals::returns(self.state, self.decoder, request) > ledger::Amount::ZERO
    }

    /// What a consolidation spends: what the transaction before it spent, or the smallest coins that make up its
    /// amount and its fee and leave some change. Those that cost more than they bring stay where they are.
    pub(super) fn gathered(&self, task: &Task<'_>, rate: u64) -> Result<Vec<OutPoint>, Problem> {
        let mut required: BTreeSet<OutPoint> = task.required.iter().copied().collect();
        if let Some(previous) = task.previous {
            required.extend(previous.transaction.inputs.iter().map(|input| input.outpoint));
            return Ok(required.into_iter().collect());
        }
        let requests = task.records.iter().map(|(_, record)| &record.request);
        let paid: Vec<u64> = requests.flat_map(|r| r.outputs.iter().map(|output| output.amount.0)).collect();
        let script = withdrawals::house_script(self.state, self.decoder, &task.payer.wallet);
        let change = script.map_or(0, |script| self.decoder.dust_limit(&script).0);
        let missing = |coins: usize, have: u64| {
            let fee = gathering_vbytes(coins, paid.len().saturating_add(1)).saturating_mul(rate);
            sum(paid.iter().copied().chain([change, fee])).saturating_sub(have)
        };
        let (bound, mut free): (Vec<&Utxo>, Vec<&Utxo>) =
            task.free.iter().partition(|coin| required.contains(&coin.outpoint));
        free.retain(|coin| coin.height.is_some() && coin.amount >= worth_gathering(rate));
        free.sort_by_key(|coin| (coin.amount, coin.outpoint));
        let mut have = sum(bound.iter().map(|coin| coin.amount.0));
        let mut short = missing(bound.len(), have);
        // The smallest coins that suffice; when those are too many, as many of the next larger ones.
        let mut window: VecDeque<&Utxo> = VecDeque::new();
        for coin in free {
            window.push_back(coin);
            have = have.saturating_add(coin.amount.0);
            if bound.len().saturating_add(window.len()) > GATHER_LIMIT {
                have = have.saturating_sub(window.pop_front().map_or(0, |coin| coin.amount.0));
            }
            short = missing(bound.len().saturating_add(window.len()), have);
            if short == 0 {
                break;
            }
        }
        if short > 0 {
            return Err(Problem::Build(task.payer.clone(), BuildError::Short(Sats(short))));
        }
        required.extend(window.into_iter().map(|coin| coin.outpoint));
        Ok(required.into_iter().collect())
    }
}

fn sum(amounts: impl Iterator<Item = u64>) -> u64 {
    amounts.fold(0, u64::saturating_add)
}
