//! Building what is proposed: unsigned transactions, replacements, proofs of confirmation. What it makes is
//! decoded and judged by everyone who signs, so nothing here is trusted with anything but the proposer's
//! own wishes: a mistake costs a refusal and never coins. No signer links it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod proof;
mod select;

use std::collections::BTreeSet;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::transaction::Version;
use bitcoin::{Amount, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use custody::effects::{AccountKey, Branch, DecodeError, Decoder, OutPoint, OutputEffect, Sats, TypedInput};

use chain::BitcoinDecoder;
use chain::raw::{effects, from_outpoint, signed_vsize, to_outpoint, unsigned};

/// The fee in sat/vB that a replacement pays for its own relay, on top of the fee of what it replaces
/// (BIP-125 rule 4; Bitcoin Core's default `-incrementalrelayfee`, rounded up).
pub const INCREMENTAL_FEE_RATE: u64 = 1;

/// The sequence of every input: replaceable (BIP-125), lock time in force, no relative lock (BIP-68).
const SEQUENCE: Sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;

/// An output that the wallet can spend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Utxo {
    /// The output.
    pub outpoint: OutPoint,
    /// Its amount.
    pub amount: Sats,
    /// The chain of the account that its script belongs to.
    pub branch: Branch,
    /// The index on that chain.
    pub index: u32,
    /// The height of its block; nothing while it is unconfirmed, and then it is spent only if required.
    pub height: Option<u32>,
}

impl Utxo {
    /// It as an input of an `Authorise`.
    fn typed(&self) -> TypedInput {
        let Self { outpoint, amount, branch, index, .. } = *self;
        TypedInput { outpoint, amount, branch, index }
    }
}

/// What a transaction is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The scripts to pay and how much, in the order that they will have; none to send all to change.
    pub outputs: Vec<(Vec<u8>, Sats)>,
    /// What must be spent: the anchors (rule P21), in the order that they will have. Only a CPFP child
    /// requires an unconfirmed one.
    pub required: Vec<OutPoint>,
    /// The own address for change.
    pub change: (Branch, u32),
    /// The fee rate in sat/vB, at least 1.
    pub fee_rate: u64,
    /// The height of the tip, which becomes the lock time: a block that replaces the tip cannot hold
    /// the transaction, so nobody reorganises the chain for its fee.
    pub tip_height: u32,
}

/// A transaction ready to be proposed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Built {
    /// The raw unsigned transaction.
    pub raw: Vec<u8>,
    /// Its inputs in order.
    pub inputs: Vec<TypedInput>,
    /// The fee.
    pub fee: Sats,
    /// The amount of the change output, which is the last one, if there is one.
    pub change: Option<Sats>,
}

/// Why a transaction could not be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// The selectable outputs do not cover payments and fee.
    #[error("needs at least {0} more in confirmed outputs, its fee included")]
    Short(Sats),
    /// A sum of amounts is more than all bitcoin.
    #[error("the amounts add up to more bitcoin than can exist; correct them")]
    TooMuch,
    /// An output that must be spent, or is spent by the replaced transaction, is not among the wallet's.
    #[error("output {vout} of transaction {txid} is not among the wallet's; name it with its amount", vout = .0.vout, txid = .0.txid)]
    Unknown(OutPoint),
    /// One output listed twice.
    #[error("output {vout} of transaction {txid} is listed twice; list it once", vout = .0.vout, txid = .0.txid)]
    Repeated(OutPoint),
    /// A payment too small to be relayed.
    #[error("payment {place} is below the dust limit of {limit}; pay at least that")]
    Dust {
        /// The place of the payment in the plan.
        place: usize,
        /// The smallest amount that its script may get.
        limit: Sats,
    },
    /// All goes to change, but what remains after the fee is dust.
    #[error("nothing above the dust limit of {0} would remain after the fee; name more inputs")]
    NothingLeft(Sats),
    /// A fee rate or lock time outside its range.
    #[error("{0}")]
    Range(&'static str),
    /// A replacement that could confirm beside what it is to replace.
    #[error("requires nothing that the earlier transaction spends; require one of its anchors")]
    NoConflict,
    /// An earlier transaction that nodes do not let be replaced.
    #[error("the earlier transaction does not signal that it can be replaced (BIP-125)")]
    NotReplaceable,
    /// Bytes or keys that do not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Builds a transaction for `plan` from `utxos`, of which all required and as many of the other
/// confirmed ones as it takes are spent. The caller leaves out of `utxos` what must not be spent: coinbase
/// outputs of fewer than 100 blocks, outputs that other transactions under way spend.
///
/// # Errors
/// Each [`BuildError`] says what to do.
pub fn build(
    decoder: &BitcoinDecoder,
    account: &AccountKey,
    utxos: &[Utxo],
    plan: &Plan,
) -> Result<Built, BuildError> {
    let fees = Fees { rate: plan.fee_rate, replaces: None };
    assemble(decoder, account, utxos, plan, &fees)
}

/// Builds a transaction for `plan` that replaces `previous`, a raw unsigned transaction in the mempools
/// (BIP-125): it spends one of the same outputs, at a higher fee and fee rate, so that at most one of
/// the two confirms. `utxos` must hold all that `previous` spends. The fee comes out of the change, or
/// out of more inputs where that is not enough.
///
/// # Errors
/// Each [`BuildError`] says what to do.
pub fn replace(
    decoder: &BitcoinDecoder,
    account: &AccountKey,
    utxos: &[Utxo],
    previous: &[u8],
    plan: &Plan,
) -> Result<Built, BuildError> {
    let previous = unsigned(previous)?;
    let spent: BTreeSet<OutPoint> =
        previous.input.iter().map(|input| from_outpoint(&input.previous_output)).collect();
    if !plan.required.iter().any(|outpoint| spent.contains(outpoint)) {
        return Err(BuildError::NoConflict);
    }
    if !previous.is_explicitly_rbf() {
        return Err(BuildError::NotReplaceable);
    }
    let held = spent.iter().map(|outpoint| find(utxos, outpoint).map(|utxo| utxo.amount));
    let held = total(held.collect::<Result<Vec<_>, _>>()?)?;
    let paid = total(effects(&previous).outputs.into_iter().map(|output| output.amount))?;
    let fee = held.minus(paid).ok_or(BuildError::TooMuch)?;
    let rate = fee.0.checked_div(signed_vsize(&previous)).unwrap_or(0).saturating_add(1);
    let fees = Fees { rate: plan.fee_rate.max(rate), replaces: Some(fee) };
    assemble(decoder, account, utxos, plan, &fees)
}

/// Builds the transaction that cancels `previous`: it [replaces](replace) it by one that pays
/// everything to the own change address of `plan`.
///
/// # Errors
/// Each [`BuildError`] says what to do.
pub fn cancel(
    decoder: &BitcoinDecoder,
    account: &AccountKey,
    utxos: &[Utxo],
    previous: &[u8],
    plan: &Plan,
) -> Result<Built, BuildError> {
    let plan = Plan { outputs: Vec::new(), ..plan.clone() };
    replace(decoder, account, utxos, previous, &plan)
}

/// The least fee of a transaction by its size.
struct Fees {
    /// In sat/vB.
    rate: u64,
    /// The fee of the transaction that it replaces, if it does.
    replaces: Option<Sats>,
}

impl Fees {
    /// The least fee of `tx` once signed.
    fn of(&self, tx: &Transaction) -> Sats {
        let vsize = signed_vsize(tx);
        let relay = vsize.saturating_mul(INCREMENTAL_FEE_RATE);
        let floor = self.replaces.map_or(0, |replaced| replaced.0.saturating_add(relay));
        Sats(vsize.saturating_mul(self.rate).max(floor))
    }
}

fn assemble(
    decoder: &BitcoinDecoder,
    account: &AccountKey,
    utxos: &[Utxo],
    plan: &Plan,
    fees: &Fees,
) -> Result<Built, BuildError> {
    for (place, (script, amount)) in plan.outputs.iter().enumerate() {
        let limit = decoder.dust_limit(script);
        if *amount < limit {
            return Err(BuildError::Dust { place, limit });
        }
    }
    let change_script = decoder.own_script(account, plan.change.0, plan.change.1)?;
    let dust = decoder.dust_limit(&change_script);
    let change = |amount| OutputEffect { script: change_script.clone(), amount };

    let inputs = select::select(utxos, plan, fees, &change(dust))?;
    let held = total(inputs.iter().map(|input| input.amount))?;
    let paid = plan.outputs.iter().map(|(_, amount)| *amount);
    let plain = transaction(&inputs, plan, None)?;
    let needed = total(paid.clone().chain([fees.of(&plain)]))?;
    if let Some(missing) = needed.minus(held).filter(|missing| missing.0 > 0) {
        return Err(BuildError::Short(missing));
    }

    // With change if what remains after its cost is worth an output, else all that remains is fee.
    let rest = held.minus(total(paid)?).ok_or(BuildError::TooMuch)?;
    let with_change = transaction(&inputs, plan, Some(&change(dust)))?;
    let (tx, change) = match rest.minus(fees.of(&with_change)).filter(|left| *left >= dust) {
        Some(left) => (transaction(&inputs, plan, Some(&change(left)))?, Some(left)),
        None if plan.outputs.is_empty() => return Err(BuildError::NothingLeft(dust)),
        None => (plain, None),
    };
    let fee = rest.minus(change.unwrap_or_default()).ok_or(BuildError::TooMuch)?;
    let raw = serialize(&tx);
    decoder.decode(&raw)?;
    Ok(Built { raw, inputs: inputs.iter().map(|utxo| utxo.typed()).collect(), fee, change })
}

/// The unsigned transaction.
fn transaction(
    inputs: &[&Utxo],
    plan: &Plan,
    change: Option<&OutputEffect>,
) -> Result<Transaction, BuildError> {
    let payments = plan.outputs.iter().map(|(script, amount)| (script, *amount));
    let change = change.map(|change| (&change.script, change.amount));
    Ok(Transaction {
        version: Version::TWO,
        lock_time: LockTime::from_height(plan.tip_height)
            .map_err(|_| BuildError::Range("a tip height is below 500,000,000; give the height"))?,
        input: inputs
            .iter()
            .map(|utxo| TxIn {
                previous_output: to_outpoint(&utxo.outpoint),
                script_sig: ScriptBuf::new(),
                sequence: SEQUENCE,
                witness: Witness::new(),
            })
            .collect(),
        output: payments
            .chain(change)
            .map(|(script, amount)| TxOut {
                value: Amount::from_sat(amount.0),
                script_pubkey: ScriptBuf::from_bytes(script.clone()),
            })
            .collect(),
    })
}

fn find<'a>(utxos: &'a [Utxo], outpoint: &OutPoint) -> Result<&'a Utxo, BuildError> {
    utxos.iter().find(|utxo| utxo.outpoint == *outpoint).ok_or(BuildError::Unknown(*outpoint))
}

fn total(amounts: impl IntoIterator<Item = Sats>) -> Result<Sats, BuildError> {
    Sats::sum(amounts).ok_or(BuildError::TooMuch)
}
