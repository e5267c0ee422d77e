//! What the server knows and follows.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::transfers::Nothing;
use crate::house::{NotTaken, Recovery};
use crate::input::Parameters;
use crate::problem::Problem;
use crate::time::rfc3339;
use crate::view::{Desk, View};

/// A wallet of the deployment.
#[derive(Serialize, ToSchema)]
pub(crate) struct WalletStatus {
    /// The handle.
    id: String,
    /// The custody model (DACS 2.2): `1`, `1P`, `2`, `2P` or `3`.
    model: String,
    /// Whether the books know it: before, nothing can be entered for it.
    declared: bool,
}

/// The command log, as far as the server has it.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogStatus {
    /// The number of the last final batch.
    height: u64,
    /// Its time.
    time: String,
    /// The rule set in force.
    rules: u32,
    /// Freezes in force.
    freezes: usize,
}

/// The node, as it is followed.
#[derive(Serialize, ToSchema)]
pub(crate) struct NodeStatus {
    /// The height of the last block that was looked at.
    height: Option<u32>,
    /// A sentence for the operator.
    state: String,
    /// Whether deposits are credited.
    following: bool,
}

/// The books.
#[derive(Serialize, ToSchema)]
pub(crate) struct BooksStatus {
    /// The number of the last batch; 0 before the first.
    batch: u64,
    /// When it was written.
    time: Option<String>,
    /// Its digest, 64 hex digits.
    digest: Option<String>,
}

/// The register of recovery components.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecoveryStatus {
    /// How many entries were published.
    entries: Option<u64>,
    /// The hash of the last one.
    head: Option<String>,
    /// What is overdue or failed, a sentence each; or why that is not known now.
    alarms: Vec<String>,
}

/// The server.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// The release of the interface.
    version: &'static str,
    /// The deployment: the hash of its genesis.
    genesis: String,
    /// The network, CAIP-2.
    #[schema(example = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328")]
    network: String,
    /// The asset, CAIP-19.
    #[schema(example = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328/slip44:1")]
    asset: String,
    /// The places that people write the asset with: 8 for bitcoin. Amounts here are base units all the same.
    decimals: u8,
    /// The log.
    log: LogStatus,
    /// The node.
    node: NodeStatus,
    /// The books.
    books: BooksStatus,
    /// The register of recovery components.
    recovery: RecoveryStatus,
    /// What people have to renew or to move soon, or should have by now, a sentence each: reviews, attestations,
    /// calendars, rates and leases that end, and wallets that hold more than their float.
    #[schema(example = json!(["wallet main holds 1001 sat, more than its float of 1000 sat: sweep the rest"]))]
    due: Vec<String>,
    /// The wallets.
    wallets: Vec<WalletStatus>,
    /// Who you are: `person:alice`, `machine:erp`.
    caller: String,
}

/// Bitcoin has eight decimal places.
const DECIMALS: u8 = 8;

/// The state of the server
#[utoipa::path(get, path = "/v1/status", operation_id = "getStatus", tag = "server",
    responses((status = 200, description = "The state", body = Status)))]
pub(crate) async fn get(
    State(desk): State<Desk>,
    axum::Extension(caller): axum::Extension<crate::house::Caller>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Status>, Problem> {
    let view = desk.view().await?;
    let asked = desk.blocking(|house| (house.chain(), house.recovery(), house.due()));
    let (node, register, due) = asked.await?;
    let newest = desk.books().newest().await?;
    let clock = view.state.clock();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        genesis: view.state.genesis_hash().to_string(),
        network: view.state.genesis().network.clone(),
        asset: view.asset()?.to_string(),
        decimals: DECIMALS,
        log: LogStatus {
            height: clock.height,
            time: rfc3339(clock.time),
            rules: clock.rules,
            freezes: view.state.freezes().len(),
        },
        node: NodeStatus { height: node.height, state: node.node, following: node.following },
        books: BooksStatus {
            batch: newest.map_or(0, |batch| batch.seq),
            time: newest.map(|batch| rfc3339(batch.time)),
            digest: newest.map(|batch| batch.digest.to_string()),
        },
        recovery: recovery(register)?,
        due,
        wallets: wallets(&desk, &view).await?,
        caller: crate::view::actor(&caller.owner),
    }))
}

fn recovery(register: Result<Recovery, NotTaken>) -> Result<RecoveryStatus, Problem> {
    match register {
        Ok(Recovery { entries, head, rows }) => {
            let alarms = rows.into_iter().filter_map(|row| row.alarm).collect();
            Ok(RecoveryStatus { entries: Some(entries), head: Some(head.to_string()), alarms })
        }
        Err(NotTaken::Books(error)) => Err(error.into()),
        Err(why) => {
            let alarms = vec![Problem::from(why).detail];
            Ok(RecoveryStatus { entries: None, head: None, alarms })
        }
    }
}

async fn wallets(desk: &Desk, view: &View) -> Result<Vec<WalletStatus>, Problem> {
    let mut wallets = Vec::new();
    for wallet in view.wallets() {
        let found = desk.books().record(ledger::RecordKind::Wallet, wallet.id.as_str()).await?;
        let model = serde_json::to_value(wallet.model).ok();
        let model = model.as_ref().and_then(|model| model.as_str()).unwrap_or_default().to_owned();
        wallets.push(WalletStatus { id: wallet.id.to_string(), model, declared: found.is_some() });
    }
    Ok(wallets)
}
