//! Drafts: withdrawals that nobody has signed. They reserve nothing.

use custody::effects::Sats;
use custody::payment::Request;
use custody::statement::VALIDITY_LIMIT_S;
use ledger::{Record, RecordChange, RecordKind};
use serde::{Deserialize, Serialize};

use super::new::NewWithdrawal;
use crate::page::instant;
use crate::problem::{Code, Problem};
use crate::routes::transfers::amount;
use crate::routes::unreadable;
use crate::view::{Desk, View};
use std::sync::Arc;

/// Begins the id of a draft.
const PREFIX: &str = "draft-";

/// The state of a draft that became a withdrawal.
pub(crate) const SUBMITTED: &str = "submitted";

/// How long a draft may be signed and paid when it says nothing, in seconds: a working day.
pub(crate) const END_DEFAULT_S: u64 = 24 * 3600;

/// The highest fee in millionths of the amount when nothing is said, and the most that may be said: as much as
/// is paid.
pub(crate) const FEE_MAX_PPM: u64 = 1_000_000;

/// The body of a draft's record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    /// What is to be signed.
    pub(crate) request: Request,
    /// Who wrote it.
    pub(crate) by: String,
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// Words for whoever signs.
    pub(crate) note: Option<String>,
    /// The withdrawal that it became.
    pub(crate) withdrawal: Option<custody::Hash>,
}

/// Whether an id is a draft's.
pub(crate) fn is_draft(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// The id of the draft that a write makes.
pub(crate) fn id(write: &custody::Hash) -> String {
    format!("{PREFIX}{}", write.to_string().get(..32).unwrap_or_default())
}

impl Draft {
    pub(crate) fn of(record: &Record) -> Result<Self, Problem> {
        let body = serde_json::from_value(record.change.body.clone());
        body.map_err(|_| unreadable("draft", &record.change.id))
    }

    pub(crate) fn change(
        &self,
        id: &str,
        expect: u64,
        state: &str,
        external_id: Option<String>,
        at: u64,
    ) -> RecordChange {
        RecordChange {
            kind: RecordKind::Withdrawal,
            id: id.to_owned(),
            expect,
            state: state.to_owned(),
            client: self.request.client.clone(),
            external_id,
            at,
            body: serde_json::to_value(self).unwrap_or_default(),
        }
    }
}

/// The request that a body without signature describes, checked as the log would.
pub(crate) async fn request(desk: &Desk, view: &Arc<View>, new: &NewWithdrawal) -> Result<Request, Problem> {
    let missing = |field: &str| {
        let why = format!("missing field `{field}`: a withdrawal without signed_request needs it");
        Problem::new(Code::BodyInvalid, why)
    };
    let wallet = new.wallet.clone().ok_or_else(|| missing("wallet"))?;
    view.wallet(&wallet)?;
    if let Some(client) = &new.client {
        view.client_known(client)?;
    }
    let outputs = new.outputs.as_ref().ok_or_else(|| missing("outputs"))?;
    let outputs = super::check::resolve(desk, view, &wallet, outputs).await?;
    let fee_max = fee(new.fee_max.as_deref())?.ok_or_else(|| missing("fee_max"))?;
    let fee_max_ppm = new.fee_max_ppm.unwrap_or(FEE_MAX_PPM);
    if fee_max_ppm > FEE_MAX_PPM {
        let why = format!("fee_max_ppm is {fee_max_ppm}: at most {FEE_MAX_PPM} millionths");
        return Err(Problem::new(Code::BodyInvalid, why));
    }
    let now = view.state.clock().time;
    let end = end(new.end.as_deref())?.unwrap_or(now.saturating_add(END_DEFAULT_S));
    if !(now..=now.saturating_add(VALIDITY_LIMIT_S)).contains(&end) {
        let why = "end is over already, or more than 90 days ahead";
        return Err(Problem::new(Code::TimeInvalid, why));
    }
    let request = Request {
        wallet,
        outputs,
        fee_max,
        fee_max_ppm,
        end,
        renews: None,
        despite: Vec::new(),
        note: None,
        client: new.client.clone(),
    };
    let why = "the amounts are more than there is";
    request.amount().ok_or_else(|| Problem::new(Code::AmountOverflow, why))?;
    Ok(request)
}

/// The highest fee that a body names.
pub(crate) fn fee(text: Option<&str>) -> Result<Option<Sats>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let fee = u64::try_from(amount(text)?.units());
    fee.map(|fee| Some(Sats(fee))).map_err(|_| Problem::new(Code::AmountOverflow, "fee_max does not fit"))
}

/// The end that a body names.
pub(crate) fn end(text: Option<&str>) -> Result<Option<u64>, Problem> {
    text.map(|text| instant("end", text)).transpose()
}
