//! Settings that connections have, as the server itself says.

#[allow(dead_code, reason = "other tests stop and copy clusters")]
#[path = "../../tests/common/postgres.rs"]
mod postgres;

use postgres::Cluster;

use super::*;

async fn says(connection: &mut Connection, setting: &'static str) -> String {
    let Connection::Postgres(connection) = connection else { panic!("not PostgreSQL") };
    let shown = sqlx::query_scalar(setting).fetch_one(&mut **connection).await;
    shown.expect("a setting")
}

#[tokio::test]
async fn plans_are_made_for_the_parameters_of_who_reads() {
    const PLANS: &str = "SHOW plan_cache_mode";
    let address = Cluster::shared().database();
    let pool = Pool::open(&address).await.unwrap();
    let mut writing = pool.acquire_to_write().await.unwrap();
    let mut reading = pool.acquire().await.unwrap();
    assert_eq!(says(&mut reading, PLANS).await, "force_custom_plan");
    assert_eq!(says(&mut writing, PLANS).await, "auto");
    let mut looking = Pool::open_to_read(&address).await.unwrap().acquire().await.unwrap();
    assert_eq!(says(&mut looking, PLANS).await, "force_custom_plan");
    for (setting, is) in
        [("SHOW synchronous_commit", "on"), ("SHOW enable_seqscan", "off"), ("SHOW jit", "off")]
    {
        assert_eq!(says(&mut reading, setting).await, is, "{setting}");
    }

    // And in effect: after as many runs as would make PostgreSQL think of a plan for any parameters.
    for _ in 0..8 {
        reading.fetch(sql::ACCOUNT, vec!["a".into()]).await.unwrap();
    }
    let generic = "SELECT sum(generic_plans)::text || ' of ' || (sum(generic_plans + custom_plans) >= 8)::text \
        FROM pg_prepared_statements WHERE statement LIKE '%FROM account WHERE name%' AND cardinality(parameter_types) = 1";
    assert_eq!(says(&mut reading, generic).await, "0 of true");
}
