//! Which outputs of the wallet a transaction spends.

use std::collections::BTreeSet;

use bitcoin::{Amount, FeeRate, Weight};
use bitcoin_coin_selection::{WeightedUtxo, branch_and_bound};
use custody::effects::{OutputEffect, Sats};

use super::{BuildError, Fees, Plan, Utxo, find, total, transaction};
use chain::raw::KEY_SPEND_WEIGHT;

/// The fee rate, 10 sat/vB, at which coins are expected to be spent one day: above it few inputs are
/// better, below it many (Bitcoin Core's default `-consolidatefeerate`).
const LONG_TERM_FEE_RATE: FeeRate = FeeRate::from_sat_per_vb_u32(10);

/// The vbytes added to what coin selection must cover: up to one for half vbytes rounded up, two for a
/// number of inputs above 252, which takes two more bytes to write.
const SELECTION_SLACK: u64 = 3;

/// The vbytes of a Taproot output: amount, length of the script, script.
const CHANGE_VBYTES: u64 = 8 + 1 + 34;

/// Weight units of an input with its witness: 41 bytes without.
const INPUT_WEIGHT: Weight = Weight::from_wu(41 * 4 + KEY_SPEND_WEIGHT);

/// The inputs: all that `plan` requires, then what the library finds so that no change is needed
/// (branch and bound), else the largest others until the sum suffices or there are none left.
pub(super) fn select<'a>(
    utxos: &'a [Utxo],
    plan: &Plan,
    fees: &Fees,
    change: &OutputEffect,
) -> Result<Vec<&'a Utxo>, BuildError> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = utxos.iter().find(|utxo| !seen.insert(utxo.outpoint)) {
        return Err(BuildError::Repeated(twice.outpoint));
    }
    let mut required = BTreeSet::new();
    if let Some(twice) = plan.required.iter().find(|outpoint| !required.insert(**outpoint)) {
        return Err(BuildError::Repeated(*twice));
    }
    let mut inputs: Vec<&Utxo> =
        plan.required.iter().map(|outpoint| find(utxos, outpoint)).collect::<Result<_, _>>()?;

    let rate = fee_rate(fees.rate)?;
    let payable = plan.outputs.is_empty().then_some(change);
    let fixed = transaction(&inputs, plan, payable)?;
    let slack = Sats(fees.rate.saturating_mul(SELECTION_SLACK));
    let paid = plan.outputs.iter().map(|(_, amount)| *amount);
    let needed = total(paid.chain(payable.map(|output| output.amount)).chain([fees.of(&fixed), slack]))?;
    let held = total(inputs.iter().map(|utxo| utxo.amount))?;
    let Some(target) = needed.minus(held).filter(|target| target.0 > 0) else {
        return Ok(inputs);
    };

    let mut others: Vec<Candidate<'a>> = utxos
        .iter()
        .filter(|utxo| utxo.height.is_some() && !required.contains(&utxo.outpoint))
        .map(Candidate)
        .collect();
    // The cost of change: its output now and spending it one day.
    let spending_change = LONG_TERM_FEE_RATE.fee_wu(INPUT_WEIGHT).unwrap_or_default();
    let change_cost = Amount::from_sat(fees.rate.saturating_mul(CHANGE_VBYTES))
        .checked_add(spending_change)
        .ok_or(BuildError::TooMuch)?;
    let exact = branch_and_bound(Amount::from_sat(target.0), change_cost, rate, LONG_TERM_FEE_RATE, &others);
    if let Some((_, chosen)) = exact.filter(|(_, chosen)| !chosen.is_empty()) {
        inputs.extend(chosen.into_iter().map(|candidate| candidate.0));
        return Ok(inputs);
    }

    others.sort_by_key(|Candidate(utxo)| (std::cmp::Reverse(utxo.amount), utxo.outpoint));
    let mut missing = target;
    for candidate in others {
        let Some(worth) = candidate.worth(rate) else {
            break;
        };
        inputs.push(candidate.0);
        missing = missing.minus(worth).unwrap_or_default();
        if missing.0 == 0 {
            break;
        }
    }
    Ok(inputs)
}

/// An output that coin selection may take.
struct Candidate<'a>(&'a Utxo);

impl Candidate<'_> {
    /// Its amount less the fee for spending it, nothing if that is negative.
    fn worth(&self, rate: FeeRate) -> Option<Sats> {
        let worth = self.effective_value(rate)?.to_sat();
        u64::try_from(worth).ok().map(Sats)
    }
}

impl WeightedUtxo for Candidate<'_> {
    fn satisfaction_weight(&self) -> Weight {
        // The library itself counts outpoint and sequence; what remains is the length of the empty
        // script (one byte of four weight units) and the witness.
        Weight::from_wu(4 + KEY_SPEND_WEIGHT)
    }

    fn value(&self) -> Amount {
        Amount::from_sat(self.0.amount.0)
    }
}

fn fee_rate(sat_per_vbyte: u64) -> Result<FeeRate, BuildError> {
    FeeRate::from_sat_per_vb(sat_per_vbyte)
        .filter(|rate| *rate >= FeeRate::BROADCAST_MIN)
        .ok_or(BuildError::Range("a fee rate is a number of sat/vB from 1 up; give one"))
}
