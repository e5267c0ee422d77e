//! How a withdrawal begins: who pays, and the first reservation.

use custody::Hash;
use custody::effects::Decoder;
use custody::name::Name;
use custody::payment::Request;
use custody::state::{self, RequestRecord, State};
use ledger::{Amount, Asset, Model, Movement, NewTransfer, Owner};

use crate::inside::{is_consolidation, returns};
use crate::log::{actor, amount, outputs};
use crate::record::{self, Event, Hold, Withdrawal, WithdrawalError, sum};
use crate::step::hold_id;

/// A request that begins a withdrawal.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// The id of its statement.
    pub id: Hash,
    /// What it asks.
    pub request: &'a Request,
    /// Who signed it.
    pub requester: &'a state::Owner,
    /// The statement (DSSE envelope, standard base64), unless the log has it.
    pub envelope: Option<String>,
    /// The statement's `not_after`, unless the log has it.
    pub not_after: Option<u64>,
}

impl<'a> Asking<'a> {
    /// A request that is in the log.
    pub fn logged(id: Hash, record: &'a RequestRecord) -> Self {
        Self { id, request: &record.request, requester: &record.requester, envelope: None, not_after: None }
    }
}

/// Who pays a request: its client, and without one the house, where it may own something. Where it may not
/// (models 1 and 2), it bears the fee of what does not leave the wallet, and nothing else: by the account `fees`.
///
/// # Errors
/// [`WithdrawalError::NoClient`].
pub fn payer(
    model: Model,
    wallet: &Name,
    client: Option<&Name>,
    leaves: bool,
) -> Result<Owner, WithdrawalError> {
    match (client, model.fee_payer()) {
        (Some(client), _) => Ok(Owner::Client(client.clone())),
        (None, Some(house)) if model.holds_own() || !leaves => Ok(house),
        (None, _) => Err(WithdrawalError::NoClient(wallet.clone())),
    }
}

/// Who pays a request by the log.
pub(crate) fn payer_of(
    state: &State,
    decoder: &dyn Decoder,
    request: &Request,
) -> Result<Owner, WithdrawalError> {
    let wallet = state.wallet(&request.wallet);
    let wallet = wallet.ok_or_else(|| WithdrawalError::Unknown(format!("wallet {}", request.wallet)))?;
    let leaves = !request.is_cancel() && !is_consolidation(state, decoder, request);
    payer(wallet.model.into(), &request.wallet, request.client.as_ref(), leaves)
}

/// Who pays a request by the log, and the most that can leave for it, fee included: what is to be reserved.
///
/// # Errors
/// See [`WithdrawalError`].
pub fn reservation(
    state: &State,
    decoder: &dyn Decoder,
    request: &Request,
) -> Result<(Owner, Amount), WithdrawalError> {
    if request.amount().is_none() {
        return Err(WithdrawalError::Amount);
    }
    let owner = payer_of(state, decoder, request)?;
    let outputs = outputs(request);
    let all = sum(outputs.iter().map(|output| output.amount).chain([amount(request.fee_max)]));
    Ok((owner, all.checked_sub(returns(state, decoder, request)).unwrap_or(all)))
}

/// Begins a withdrawal: its first record, and its reservation, for one posting. The books may refuse the
/// reservation; of a request that is in the log the record is then written [without it](unfunded).
///
/// # Errors
/// See [`WithdrawalError`].
pub fn begin(
    state: &State,
    decoder: &dyn Decoder,
    asking: &Asking<'_>,
    asset: &Asset,
    now: u64,
) -> Result<(Withdrawal, NewTransfer), WithdrawalError> {
    let Asking { id, request, requester, envelope, not_after } = asking;
    if let Some(old) = request.renews {
        return Err(WithdrawalError::Renews(old));
    }
    let (owner, need) = reservation(state, decoder, request)?;
    let logged = state.requests().get(id).is_some();
    let (outputs, fee_max) = (outputs(request), amount(request.fee_max));
    let by = actor(requester);
    let state_word = if logged { record::State::AwaitingApproval } else { record::State::Requested };
    let height = logged.then_some(state.clock().height);
    let event = |what: &str, by: &str, height, note| Event {
        at: now,
        what: what.to_owned(),
        by: by.to_owned(),
        height,
        txid: None,
        note,
    };
    let asked = event(state_word.word(), &by, height, None);
    let held = event("held", "server", None, Some(need.to_string()));
    let mut withdrawal = Withdrawal {
        id: *id,
        requester: requester.to_string(),
        owner,
        wallet: request.wallet.clone(),
        asset: asset.clone(),
        outputs,
        fee_max,
        end: request.end,
        envelope: envelope.clone(),
        not_after: *not_after,
        holds: Vec::new(),
        ended: Vec::new(),
        refused: Vec::new(),
        requests: vec![*id],
        state: state_word,
        txid: None,
        fee: None,
        height: state.clock().height,
        transactions: 0,
        approvals: Vec::new(),
        events: vec![asked, held],
    };
    let transfer = reserve(&mut withdrawal, id, need)?;
    Ok((withdrawal, transfer))
}

/// The withdrawal that [`begin`] made, when the books refused its reservation.
pub fn unfunded(mut withdrawal: Withdrawal, why: &str, now: u64) -> Withdrawal {
    withdrawal.holds.clear();
    withdrawal.refused.clone_from(&withdrawal.requests);
    withdrawal.events.retain(|event| event.what != "held");
    withdrawal.state = record::State::Unfunded { why: why.to_owned() };
    withdrawal.note(Event {
        at: now,
        what: withdrawal.state.word().to_owned(),
        by: "server".to_owned(),
        height: None,
        txid: None,
        note: Some(why.to_owned()),
    });
    withdrawal
}

/// Reserves an amount for a request.
pub(crate) fn reserve(
    withdrawal: &mut Withdrawal,
    request: &Hash,
    amount: Amount,
) -> Result<NewTransfer, WithdrawalError> {
    let id = hold_id(withdrawal, request);
    let id = id.ok_or_else(|| WithdrawalError::Unknown(format!("id for the reservation of {request}")))?;
    withdrawal.holds.push(Hold { transfer: id.clone(), amount });
    let movement = Movement::Pending {
        debit: withdrawal.payer(),
        credit: withdrawal.in_transit(),
        amount,
        expires_at: None,
    };
    Ok(NewTransfer { id, movement, code: withdrawal.hold_code(), cause: withdrawal.id.to_string() })
}
