//! Ten callers and one unit too little.

use std::sync::Arc;

use api::Code;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Builder;

use crate::house::{FEE, Town};

/// `count` callers ask at once for `amount` each where one unit is missing for the last of them.
async fn race(count: u64, amount: u64) {
    let town = Arc::new(Town::new().await);
    let hold = amount + FEE;
    town.fund("north", count * hold - 1).await;
    let tasks: Vec<_> = (0..count)
        .map(|i| {
            let town = Arc::clone(&town);
            let body = json!({"signed_request": town.signed("erp", town.request(Some("north"), amount))});
            tokio::spawn(async move { town.post("erp", "/v1/withdrawals", &format!("k{i}"), &body).await })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        if answer.status == 202 {
            continue;
        }
        let problem = answer.problem(Code::LedgerOverdraft);
        assert_eq!(problem["available"], (hold - 1).to_string());
        refused += 1;
    }
    assert_eq!(refused, 1);
    assert_eq!(town.available("north").await, (hold - 1).to_string());
    assert_eq!(town.requests().len() as u64, count - 1, "what is not funded is not asked");
    town.is_sound().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn a_unit_too_little_fails_exactly_one_of_all_callers(count in 2u64..=11, amount in 1_000u64..1_000_000) {
        let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        runtime.block_on(race(count, amount));
    }
}
