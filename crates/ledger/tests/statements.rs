//! Every SQL text is understood by both engines.

mod common;

use common::Database;
use ledger::{Books, statements};
use sqlx::{Connection as _, Executor as _, SqlSafeStr as _};

on_both_engines!(every_statement_is_prepared);

async fn every_statement_is_prepared(database: Database) {
    Books::open(&database.address).await.unwrap().close().await;
    let texts = statements();
    assert!(texts.len() > 60);
    if database.is_sqlite() {
        let mut connection = sqlx::SqliteConnection::connect(&database.address).await.unwrap();
        for text in texts {
            let prepared = connection.prepare(sqlx::AssertSqlSafe(text).into_sql_str()).await;
            assert!(prepared.is_ok(), "{text}: {:?}", prepared.err());
        }
    } else {
        let mut connection = sqlx::PgConnection::connect(&database.address).await.unwrap();
        for text in texts {
            let prepared = connection.prepare(sqlx::AssertSqlSafe(text).into_sql_str()).await;
            assert!(prepared.is_ok(), "{text}: {:?}", prepared.err());
        }
    }
}
