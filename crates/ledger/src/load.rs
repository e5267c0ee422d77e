//! Loading: brings what some postings name from the database into a view.

use std::collections::{HashMap, HashSet};

use crate::account::{Account, Totals};
use crate::book::{Named, Posting, View};
use crate::record::{RecordKey, RecordKind};
use crate::rows::{read_account, read_change, read_transfer};
use crate::sql;
use crate::store::{Connection, DatabaseError};
use crate::transfer::Kind;

/// Loads what the postings name, in a handful of statements for all of them.
pub(crate) async fn load(
    connection: &mut Connection,
    mut view: View,
    postings: &[Posting],
    cache: &HashMap<Account, (u64, Totals)>,
) -> Result<(View, HashMap<Account, u64>), DatabaseError> {
    let mut named = Named::default();
    for posting in postings {
        named.add(posting);
    }
    let ids = named.transfers.iter().map(ToString::to_string).collect();
    for row in connection.fetch_by_keys(&sql::TRANSFERS_BY_ID, ids).await? {
        let stored = read_transfer(&row)?;
        let transfer = stored.transfer;
        if matches!(transfer.kind, Kind::Pending { .. }) {
            named.wallets.insert(transfer.debit.wallet.clone());
            named.accounts.insert(transfer.debit.clone());
            named.accounts.insert(transfer.credit.clone());
        }
        view.transfers.insert(transfer.id.clone(), (stored.place, transfer));
    }
    let pendings = named.pendings.iter().map(ToString::to_string).collect();
    for row in connection.fetch_by_keys(&sql::ENDINGS, pendings).await? {
        let read = |column| -> Result<_, DatabaseError> {
            let damaged = |_| DatabaseError::Damaged { row: "an ending".into(), why: "no id".into() };
            row.text(column)?.parse().map_err(damaged)
        };
        view.ended.insert(read(0)?, read(1)?);
    }
    let mut numbers = HashMap::new();
    let mut names = Vec::new();
    for account in named.accounts {
        match cache.get(&account) {
            Some((number, totals)) => {
                numbers.insert(account.clone(), *number);
                view.accounts.insert(account, *totals);
            }
            None => names.push(account.to_string()),
        }
    }
    for row in connection.fetch_by_keys(&sql::ACCOUNTS_BY_NAME, names).await? {
        let (number, account, totals) = read_account(&row)?;
        numbers.insert(account.clone(), number);
        view.accounts.insert(account, totals);
    }
    load_records(connection, &mut view, &named.records).await?;
    named.wallets.retain(|wallet| !view.models.contains_key(wallet));
    for wallet in named.wallets {
        let key = RecordKey { kind: RecordKind::Wallet, id: wallet.to_string() };
        let rows = connection.fetch(sql::CHANGE, vec![key.to_string().into(), 1u64.into()]).await?;
        if let Some(row) = rows.first() {
            let damaged = || DatabaseError::Damaged { row: key.to_string(), why: "no custody model".into() };
            let model = read_change(row)?.change.model().ok_or_else(damaged)?;
            view.models.insert(wallet, model);
        }
    }
    Ok((view, numbers))
}

async fn load_records(
    connection: &mut Connection,
    view: &mut View,
    named: &HashSet<(RecordKey, u64)>,
) -> Result<(), DatabaseError> {
    let by_name: HashMap<String, &RecordKey> = named.iter().map(|(key, _)| (key.to_string(), key)).collect();
    for row in connection.fetch_by_keys(&sql::RECORDS_BY_NAME, by_name.keys().cloned().collect()).await? {
        if let Some(key) = by_name.get(&row.text(0)?) {
            view.records.insert((*key).clone(), (row.int(1)?, row.int(2)?));
        }
    }
    // A version that is there already is either this very change, sent again, or a lost race.
    for (key, version) in named {
        if view.records.get(key).is_some_and(|(found, _)| found >= version) {
            let rows = connection.fetch(sql::CHANGE, vec![key.to_string().into(), (*version).into()]).await?;
            if let Some(row) = rows.first() {
                let stored = read_change(row)?;
                view.changes.insert((key.clone(), *version), (stored.place, stored.change));
            }
        }
    }
    Ok(())
}
