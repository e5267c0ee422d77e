//! How the fee of a transaction falls on the withdrawals that it pays.

/// Splits a fee by weights, to the base unit: everybody's exact share rounded down, and what is left over,
/// one each, to the first of those whose share was not whole. So the parts add up to the fee, and none is
/// above the share rounded up, which is what the log held against the ceilings of the request (P20).
pub fn split_fee(fee: u64, weights: &[u64]) -> Vec<u64> {
    let all = weights.iter().fold(0u128, |sum, weight| sum.saturating_add(u128::from(*weight))).max(1);
    let share = |weight: &u64| {
        let exact = u128::from(fee).saturating_mul(u128::from(*weight));
        let (whole, rest) = (exact.checked_div(all).unwrap_or(0), exact.checked_rem(all).unwrap_or(0));
        (u64::try_from(whole).unwrap_or(u64::MAX), rest > 0)
    };
    let shares: Vec<(u64, bool)> = weights.iter().map(share).collect();
    let given = shares.iter().fold(0u64, |sum, (whole, _)| sum.saturating_add(*whole));
    let mut left = fee.saturating_sub(given);
    let complete = |(whole, broken): (u64, bool)| {
        let one = u64::from(broken && left > 0);
        left = left.saturating_sub(one);
        whole.saturating_add(one)
    };
    shares.into_iter().map(complete).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::split_fee;

    #[test]
    fn what_is_left_over_goes_to_the_first_whose_share_is_broken() {
        assert_eq!(split_fee(1_000, &[172]), [1_000]);
        assert_eq!(split_fee(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(split_fee(11, &[1, 1, 1]), [4, 4, 3]);
        // The first share is whole: it takes nothing of what is left over.
        assert_eq!(split_fee(6, &[2, 1, 1]), [3, 2, 1]);
        assert_eq!(split_fee(0, &[172, 124]), [0, 0]);
        // A cancel beside a payment.
        assert_eq!(split_fee(100, &[1, 172]), [1, 99]);
        assert_eq!(split_fee(u64::MAX, &[u64::MAX, u64::MAX]), [u64::MAX / 2 + 1, u64::MAX / 2]);
        assert!(split_fee(5, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn parts_add_up_and_none_is_above_its_share_rounded_up(
            fee in 0u64..=2_100_000_000_000_000,
            weights in prop::collection::vec(1u64..5_000, 1..17),
        ) {
            let parts = split_fee(fee, &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), fee);
            let all: u64 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = u128::from(fee) * u128::from(*weight);
                prop_assert!(u128::from(*part) >= exact / u128::from(all));
                prop_assert!(u128::from(*part) <= exact.div_ceil(u128::from(all)));
            }
        }
    }
}
