//! Transactions made by the side that proposes, judged by the side that reads.

use builder::{BuildError, Built, Plan, Utxo, build, cancel, replace};
use custody::Hash;
use custody::effects::{Branch, Decoder, Effects, OutPoint, Sats};
use proptest::prelude::*;

use crate::{Owner, REGTEST, on, p2tr};

const DUST: u64 = 330;

fn utxo(number: u8, amount: u64) -> Utxo {
    Utxo {
        outpoint: OutPoint { txid: Hash([number; 32]), vout: number.into() },
        amount: Sats(amount),
        branch: Branch::Receive,
        index: number.into(),
        height: Some(100),
    }
}

fn plan(outputs: &[u64], required: &[&Utxo], fee_rate: u64) -> Plan {
    Plan {
        outputs: (1..).zip(outputs).map(|(i, amount)| (p2tr(i), Sats(*amount))).collect(),
        required: required.iter().map(|utxo| utxo.outpoint).collect(),
        change: (Branch::Change, 4),
        fee_rate,
        tip_height: 120,
    }
}

fn make(utxos: &[Utxo], plan: &Plan) -> Result<Built, BuildError> {
    build(&on(REGTEST), &Owner::new(1).key(), utxos, plan)
}

fn remake(utxos: &[Utxo], previous: &Built, plan: &Plan) -> Result<Built, BuildError> {
    replace(&on(REGTEST), &Owner::new(1).key(), utxos, &previous.raw, plan)
}

/// Checks all that holds of any built transaction, and returns what it does.
fn judge(utxos: &[Utxo], plan: &Plan, built: &Built) -> Effects {
    let effects = on(REGTEST).decode(&built.raw).unwrap();
    assert_eq!((effects.version, effects.lock_time), (2, plan.tip_height));
    assert!(effects.inputs.iter().all(|input| input.sequence == 0xffff_fffd));

    let spent: Vec<OutPoint> = effects.inputs.iter().map(|input| input.outpoint).collect();
    assert_eq!(spent, built.inputs.iter().map(|input| input.outpoint).collect::<Vec<_>>());
    assert!(spent.starts_with(&plan.required));
    for input in &built.inputs {
        let utxo = utxos.iter().find(|utxo| utxo.outpoint == input.outpoint).unwrap();
        assert_eq!((input.amount, input.branch, input.index), (utxo.amount, utxo.branch, utxo.index));
        assert!(utxo.height.is_some() || plan.required.contains(&utxo.outpoint));
    }

    let mut wanted = plan.outputs.clone();
    if let Some(change) = built.change {
        assert!(change >= Sats(DUST));
        let script = on(REGTEST).own_script(&Owner::new(1).key(), plan.change.0, plan.change.1).unwrap();
        wanted.push((script, change));
    }
    let paid: Vec<_> = effects.outputs.iter().map(|o| (o.script.clone(), o.amount)).collect();
    assert_eq!(paid, wanted);

    let held = Sats::sum(built.inputs.iter().map(|input| input.amount)).unwrap();
    let out = Sats::sum(effects.outputs.iter().map(|output| output.amount)).unwrap();
    assert_eq!(held.minus(out), Some(built.fee));
    assert!(built.fee.0 >= effects.signed_vsize * plan.fee_rate);
    effects
}

#[test]
fn change_comes_back_and_the_fee_is_exact() {
    let utxos = [utxo(1, 100_000), utxo(2, 50_000)];
    let plan = plan(&[30_000], &[&utxos[1]], 5);
    let built = make(&utxos, &plan).unwrap();
    let effects = judge(&utxos, &plan, &built);
    assert_eq!(built.inputs.len(), 1);
    assert_eq!(built.fee.0, effects.signed_vsize * 5);
    assert_eq!(built.change, Some(Sats(50_000 - 30_000 - built.fee.0)));
}

#[test]
fn change_is_above_dust_or_fee() {
    // 154 vB with change, 111 without.
    let with = |rest: u64| {
        let utxos = [utxo(1, 30_000 + rest)];
        let plan = plan(&[30_000], &[&utxos[0]], 1);
        let built = make(&utxos, &plan).unwrap();
        judge(&utxos, &plan, &built);
        built
    };
    assert_eq!(with(154 + DUST).change, Some(Sats(DUST)));
    assert_eq!((with(154 + DUST - 1).change, with(154 + DUST - 1).fee.0), (None, 154 + DUST - 1));
    assert_eq!((with(111).change, with(111).fee.0), (None, 111));
}

#[test]
fn what_is_missing_is_said_to_the_satoshi() {
    let utxos = [utxo(1, 20_000)];
    let short = make(&utxos, &plan(&[31_889], &[], 1)).unwrap_err();
    assert_eq!(short, BuildError::Short(Sats(12_000)));
    assert!(short.to_string().contains("12000 sat more"));
    assert!(make(&utxos, &plan(&[20_000 - 111], &[], 1)).is_ok());
    assert_eq!(make(&utxos, &plan(&[20_000 - 110], &[], 1)).unwrap_err(), BuildError::Short(Sats(1)));
}

#[test]
fn outputs_that_cost_more_than_they_hold_are_left_alone() {
    let dusty = [utxo(1, 20_000), utxo(2, 500)];
    let plan = plan(&[30_000], &[], 10);
    assert_eq!(make(&dusty, &plan), make(&dusty[..1], &plan));
}

#[test]
fn a_match_that_rounding_would_spoil_is_not_taken() {
    // Half a vbyte more than the parts add up to makes the first candidate fall 5 sat short.
    let utxos = [utxo(1, 10_000), utxo(2, 11_685), utxo(3, 90_000)];
    let plan = plan(&[20_000], &[&utxos[0]], 10);
    judge(&utxos, &plan, &make(&utxos, &plan).unwrap());
}

#[test]
fn a_transaction_too_large_to_relay_is_not_built() {
    let utxos: Vec<Utxo> = (0..2_000)
        .map(|vout| Utxo { outpoint: OutPoint { txid: Hash([1; 32]), vout }, ..utxo(1, 1_000) })
        .collect();
    let large = plan(&[1_600_000], &[], 1);
    judge(&utxos, &large, &make(&utxos, &large).unwrap());
    let too_large = plan(&[1_800_000], &[], 1);
    assert!(matches!(make(&utxos, &too_large), Err(BuildError::Decode(_))));
}

#[test]
fn a_subset_that_needs_no_change_is_found() {
    // Two inputs and one output at 2 sat/vB: 169 vB, 338 sat.
    let utxos = [utxo(1, 90_000), utxo(2, 12_200), utxo(3, 8_200), utxo(4, 700)];
    let plan = plan(&[20_000], &[], 2);
    let built = make(&utxos, &plan).unwrap();
    judge(&utxos, &plan, &built);
    let chosen: Vec<_> = built.inputs.iter().map(|input| input.index).collect();
    assert_eq!((chosen, built.change), (vec![2, 3], None));
}

#[test]
fn unconfirmed_outputs_are_spent_only_if_required() {
    let utxos = [Utxo { height: None, ..utxo(1, 90_000) }, utxo(2, 40_000)];
    let large = plan(&[50_000], &[], 1);
    assert!(matches!(make(&utxos, &large), Err(BuildError::Short(_))));
    let child = plan(&[50_000], &[&utxos[0]], 1);
    judge(&utxos, &child, &make(&utxos, &child).unwrap());
}

#[test]
fn mistakes_in_the_plan_are_named() {
    let utxos = [utxo(1, 20_000), utxo(2, 30_000)];
    let fails = |plan: &Plan| make(&utxos, plan).unwrap_err();
    let stranger = utxo(9, 1);
    assert_eq!(fails(&plan(&[1_000], &[&stranger], 1)), BuildError::Unknown(stranger.outpoint));
    assert_eq!(fails(&plan(&[1_000], &[&utxos[0], &utxos[0]], 1)), BuildError::Repeated(utxos[0].outpoint));
    let twice = [utxo(1, 20_000), utxo(1, 20_000)];
    assert_eq!(make(&twice, &plan(&[1_000], &[], 1)).unwrap_err(), BuildError::Repeated(twice[0].outpoint));
    assert_eq!(fails(&plan(&[1_000, 329], &[], 1)), BuildError::Dust { place: 1, limit: Sats(330) });
    assert!(make(&utxos, &plan(&[1_000, 330], &[], 1)).is_ok());
    assert!(matches!(fails(&plan(&[1_000], &[], 0)), BuildError::Range(_)));
    let late = Plan { tip_height: 500_000_000, ..plan(&[1_000], &[], 1) };
    assert!(matches!(fails(&late), BuildError::Range(_)));
    assert!(make(&utxos, &Plan { tip_height: 499_999_999, ..late }).is_ok());
    assert_eq!(fails(&plan(&[Sats::MAX.0, Sats::MAX.0], &[], 1)), BuildError::TooMuch);
    let hardened = Plan { change: (Branch::Change, 1 << 31), ..plan(&[1_000], &[], 1) };
    assert!(matches!(fails(&hardened), BuildError::Decode(_)));
}

/// The rules of BIP-125 for a replacement of `old` by `new`, as a node checks them.
fn replaces(old: &Effects, old_fee: Sats, new: &Effects, new_fee: Sats) {
    assert!(old.inputs.iter().any(|a| new.inputs.iter().any(|b| a.outpoint == b.outpoint)));
    assert!(new_fee.0 >= old_fee.0 + new.signed_vsize, "absolute fee");
    assert!(new_fee.0 * old.signed_vsize > old_fee.0 * new.signed_vsize, "fee rate");
}

#[test]
fn a_bump_takes_its_fee_from_the_change() {
    let utxos = [utxo(1, 100_000), utxo(2, 50_000)];
    let first = plan(&[30_000], &[&utxos[0]], 2);
    let old = make(&utxos, &first).unwrap();
    let bump = Plan { fee_rate: 20, ..first };
    let new = remake(&utxos, &old, &bump).unwrap();
    let (before, after) = (on(REGTEST).decode(&old.raw).unwrap(), judge(&utxos, &bump, &new));
    replaces(&before, old.fee, &after, new.fee);
    assert_eq!(new.inputs, old.inputs);
    assert_eq!(new.fee.0 - old.fee.0, old.change.unwrap().0 - new.change.unwrap().0);
}

#[test]
fn a_bump_at_the_old_rate_still_pays_for_its_relay() {
    let utxos = [utxo(1, 100_000)];
    let plan = plan(&[30_000], &[&utxos[0]], 10);
    let old = make(&utxos, &plan).unwrap();
    let new = remake(&utxos, &old, &plan).unwrap();
    let (before, after) = (on(REGTEST).decode(&old.raw).unwrap(), judge(&utxos, &plan, &new));
    replaces(&before, old.fee, &after, new.fee);
    assert_eq!(new.fee.0, old.fee.0 + after.signed_vsize);
}

#[test]
fn a_bump_takes_more_inputs_where_change_does_not_suffice() {
    let utxos = [utxo(1, 31_000), utxo(2, 50_000)];
    let first = plan(&[30_000], &[&utxos[0]], 2);
    let old = make(&utxos, &first).unwrap();
    assert_eq!(old.inputs.len(), 1);
    let bump = Plan { fee_rate: 50, ..first };
    let new = remake(&utxos, &old, &bump).unwrap();
    let (before, after) = (on(REGTEST).decode(&old.raw).unwrap(), judge(&utxos, &bump, &new));
    replaces(&before, old.fee, &after, new.fee);
    assert_eq!(new.inputs.len(), 2);
}

#[test]
fn a_cancel_pays_everything_to_ourselves() {
    let utxos = [utxo(1, 100_000)];
    let plan = plan(&[30_000], &[&utxos[0]], 2);
    let old = make(&utxos, &plan).unwrap();
    let new = cancel(&on(REGTEST), &Owner::new(1).key(), &utxos, &old.raw, &plan).unwrap();
    let before = on(REGTEST).decode(&old.raw).unwrap();
    let after = judge(&utxos, &Plan { outputs: vec![], ..plan }, &new);
    replaces(&before, old.fee, &after, new.fee);
    assert_eq!(new.change, Some(Sats(100_000 - new.fee.0)));
}

#[test]
fn a_cancel_of_nearly_nothing_takes_more_inputs_or_says_so() {
    let utxos = [utxo(1, 500), utxo(2, 50_000)];
    let plan = plan(&[], &[&utxos[0]], 2);
    assert!(matches!(make(&utxos[..1], &plan), Err(BuildError::NothingLeft(Sats(DUST)))));
    let built = make(&utxos, &plan).unwrap();
    judge(&utxos, &plan, &built);
    assert_eq!(built.inputs.len(), 2);
}

#[test]
fn a_replacement_conflicts_with_what_it_replaces() {
    let utxos = [utxo(1, 100_000), utxo(2, 50_000)];
    let old = make(&utxos, &plan(&[30_000], &[&utxos[0]], 2)).unwrap();
    let beside = plan(&[30_000], &[&utxos[1]], 5);
    assert_eq!(remake(&utxos, &old, &beside).unwrap_err(), BuildError::NoConflict);
    assert_eq!(remake(&utxos, &old, &plan(&[30_000], &[], 5)).unwrap_err(), BuildError::NoConflict);
    let anchored = plan(&[30_000], &[&utxos[0]], 5);
    assert_eq!(remake(&utxos[1..], &old, &anchored).unwrap_err(), BuildError::Unknown(utxos[0].outpoint));

    let mut final_one = old.clone();
    let sequence = 4 + 1 + 36 + 1;
    final_one.raw[sequence] = 0xff;
    assert_eq!(remake(&utxos, &final_one, &anchored).unwrap_err(), BuildError::NotReplaceable);
    assert!(remake(&utxos, &old, &anchored).is_ok());
}

proptest! {
    #[test]
    fn it_builds_what_can_be_built(
        amounts in prop::collection::vec((300..60_000_u64, any::<bool>()), 1..20),
        payments in prop::collection::vec(330..60_000_u64, 0..5),
        required in 0..3_usize,
        fee_rate in 1..60_u64,
    ) {
        let utxos: Vec<Utxo> = (1..).zip(&amounts)
            .map(|(i, (amount, confirmed))| Utxo { height: confirmed.then_some(7), ..utxo(i, *amount) })
            .collect();
        let required: Vec<&Utxo> = utxos.iter().take(required).collect();
        let plan = plan(&payments, &required, fee_rate);
        match make(&utxos, &plan) {
            Ok(built) => {
                let effects = judge(&utxos, &plan, &built);
                let least = effects.signed_vsize * fee_rate;
                match built.change {
                    Some(_) => prop_assert_eq!(built.fee.0, least),
                    None => prop_assert!(built.fee.0 < least + 43 * fee_rate + DUST),
                }
                // A bump of it obeys BIP-125 or says that there is not enough.
                let anchor = utxos.iter().find(|utxo| utxo.outpoint == built.inputs[0].outpoint).unwrap();
                let bump = Plan { required: vec![anchor.outpoint], ..plan };
                match remake(&utxos, &built, &bump) {
                    Ok(new) => replaces(&effects, built.fee, &judge(&utxos, &bump, &new), new.fee),
                    Err(error) => prop_assert!(matches!(error, BuildError::Short(_) | BuildError::NothingLeft(_))),
                }
            }
            Err(BuildError::Short(_) | BuildError::NothingLeft(_)) => {
                // 57.5 vB an input: all that is worth spending does not pay for outputs and fee.
                let worth: i64 = utxos.iter()
                    .map(|utxo| (utxo, (utxo.amount.0 * 2) as i64 - 115 * fee_rate as i64))
                    .filter(|(utxo, worth)| plan.required.contains(&utxo.outpoint) || utxo.height.is_some() && *worth > 0)
                    .map(|(_, worth)| worth)
                    .sum();
                let outputs = payments.len().max(1) as u64;
                let paid = payments.iter().sum::<u64>().max(DUST);
                let needed = 2 * paid + 2 * fee_rate * (12 + 43 * outputs);
                prop_assert!(worth < needed as i64, "{worth} of {needed} half satoshi");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}
