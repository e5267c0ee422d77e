//! The judgement: may this posting be entered, and what does it make of the totals? Pure.
//!
//! No SQL, no clock: a [`View`] holds what the books say about everything that a posting names, and
//! [`apply`] either enters the whole posting into it or leaves it as it was. What a view does not hold
//! is not in the books; an empty view is an empty ledger.

use std::collections::{HashMap, HashSet};
use std::hash::Hash as StdHash;

use custody::canon;
use custody::name::Name;

use crate::account::{Account, Totals};
use crate::amount::Amount;
use crate::model::Model;
use crate::record::{BODY_LIMIT_BYTES, RecordChange, RecordKey, RecordKind};
use crate::refusal::Refusal;
use crate::transfer::{
    CAUSE_LIMIT_BYTES, Code, ID_LIMIT_BYTES, Kind, Movement, NewTransfer, Place, TRANSFER_LIMIT, Transfer,
    TransferId, is_cause, is_id,
};

/// Most entries, transfers and record changes together, of one posting: the steps of a payment to a
/// hundred recipients.
pub const POSTING_LIMIT: usize = 256;
/// Times are below this many seconds since 1970: integers from here on are not exact in every JSON reader.
pub const TIME_LIMIT_S: u64 = canon::INTEGER_LIMIT;

/// What is written together or not at all: money, and the state machines that move with it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Posting {
    /// In this order.
    pub transfers: Vec<NewTransfer>,
    /// After the transfers, in this order.
    pub records: Vec<RecordChange>,
}

/// What became of a posting that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is entered now.
    Entered,
    /// It was entered before, all of it, last in this place.
    Repeated(Place),
}

/// A new entry of the books.
#[derive(Clone, PartialEq, Debug)]
pub enum Entry {
    /// A transfer and what it made of the totals of both accounts.
    Transfer {
        /// Where it stands.
        place: Place,
        /// The transfer.
        transfer: Box<Transfer>,
        /// The totals of the account debited, after it.
        debit: Totals,
        /// The totals of the account credited, after it.
        credit: Totals,
    },
    /// A new version of a record.
    Change {
        /// Where it stands.
        place: Place,
        /// The change.
        change: RecordChange,
    },
}

/// What the books say about everything that some postings name, and what is being added to them.
#[derive(Debug, Default)]
pub struct View {
    /// The batch that is being written.
    pub(crate) seq: u64,
    /// Its time.
    pub(crate) time: u64,
    /// The position of the last entry.
    pub(crate) last: u64,
    pub(crate) models: HashMap<Name, Model>,
    pub(crate) accounts: HashMap<Account, Totals>,
    pub(crate) transfers: HashMap<TransferId, (Place, Transfer)>,
    /// Which transfer ended a reservation.
    pub(crate) ended: HashMap<TransferId, TransferId>,
    /// The version of a record, and the position of its first.
    pub(crate) records: HashMap<RecordKey, (u64, u64)>,
    /// Versions of records that a posting would write.
    pub(crate) changes: HashMap<(RecordKey, u64), (Place, RecordChange)>,
    /// What was added, in order.
    pub(crate) entries: Vec<Entry>,
}

impl View {
    /// An empty ledger at a time in seconds since 1970, about to write its first batch.
    pub fn new(time: u64) -> Self {
        Self { seq: 1, time, ..Self::default() }
    }

    /// Moves its clock.
    pub fn set_time(&mut self, time: u64) {
        self.time = time;
    }

    /// The totals of an account.
    pub fn totals(&self, account: &Account) -> Totals {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    /// All accounts that were ever used.
    pub fn accounts(&self) -> impl Iterator<Item = (&Account, &Totals)> {
        self.accounts.iter()
    }

    /// What was added, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// A map that is read through to a base, and written on top of it.
struct Layer<'a, K, V> {
    base: &'a HashMap<K, V>,
    top: HashMap<K, V>,
}

impl<'a, K: StdHash + Eq, V> Layer<'a, K, V> {
    fn over(base: &'a HashMap<K, V>) -> Self {
        Self { base, top: HashMap::new() }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.top.get(key).or_else(|| self.base.get(key))
    }
}

/// A posting being entered: dropped if it is refused.
struct Draft<'a> {
    view: &'a View,
    models: HashMap<Name, Model>,
    accounts: Layer<'a, Account, Totals>,
    transfers: Layer<'a, TransferId, (Place, Transfer)>,
    ended: Layer<'a, TransferId, TransferId>,
    records: Layer<'a, RecordKey, (u64, u64)>,
    changes: HashMap<(RecordKey, u64), (Place, RecordChange)>,
    entries: Vec<Entry>,
    /// The newest of the entries that were there before, and what it is.
    known: Option<(Place, String)>,
}

/// Enters a posting into the view, all of it, or refuses it and leaves the view as it was.
///
/// # Errors
/// See [`Refusal`].
pub fn apply(view: &mut View, posting: &Posting) -> Result<Outcome, Refusal> {
    judge_shape(posting)?;
    let mut draft = Draft {
        view,
        models: HashMap::new(),
        accounts: Layer::over(&view.accounts),
        transfers: Layer::over(&view.transfers),
        ended: Layer::over(&view.ended),
        records: Layer::over(&view.records),
        changes: HashMap::new(),
        entries: Vec::new(),
        known: None,
    };
    for transfer in &posting.transfers {
        draft.transfer(transfer)?;
    }
    for change in &posting.records {
        draft.change(change)?;
    }
    if let Some((place, known)) = draft.known {
        return if draft.entries.is_empty() {
            Ok(Outcome::Repeated(place))
        } else {
            Err(Refusal::Partly { known })
        };
    }
    let Draft { models, accounts, transfers, ended, records, changes, entries, .. } = draft;
    let (accounts, transfers, ended, records) = (accounts.top, transfers.top, ended.top, records.top);
    view.models.extend(models);
    view.accounts.extend(accounts);
    view.transfers.extend(transfers);
    view.ended.extend(ended);
    view.records.extend(records);
    view.changes.extend(changes);
    view.last = entries.last().map_or(view.last, |entry| entry.place().position);
    view.entries.extend(entries);
    Ok(Outcome::Entered)
}

impl Entry {
    /// Where it stands.
    pub fn place(&self) -> Place {
        match self {
            Self::Transfer { place, .. } | Self::Change { place, .. } => *place,
        }
    }
}

fn limit(what: &'static str, limit: impl ToString, next: &'static str) -> Refusal {
    Refusal::Limit { what, limit: limit.to_string(), next }
}

impl Draft<'_> {
    fn next_place(&self) -> Place {
        let added = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let position = self.view.last.saturating_add(added).saturating_add(1);
        Place { position, seq: self.view.seq, time: self.view.time }
    }

    fn seen_before(&mut self, place: Place, what: String) {
        if self.known.as_ref().is_none_or(|(newest, _)| *newest < place) {
            self.known = Some((place, what));
        }
    }

    fn totals(&self, account: &Account) -> Totals {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    fn transfer(&mut self, new: &NewTransfer) -> Result<(), Refusal> {
        let transfer = self.resolve(new)?;
        if let Some((place, known)) = self.view.transfers.get(&transfer.id) {
            if *known != transfer {
                return Err(Refusal::Exists { id: transfer.id });
            }
            self.seen_before(*place, transfer.id.to_string());
            return Ok(());
        }
        if self.transfers.top.contains_key(&transfer.id) {
            return Err(Refusal::Exists { id: transfer.id });
        }
        self.judge(&transfer)?;
        let (mut debit, mut credit) = (self.totals(&transfer.debit), self.totals(&transfer.credit));
        let reserved = transfer.kind.ends().and_then(|id| self.transfers.get(id)).map(|(_, t)| t.amount);
        enter(&transfer, reserved.unwrap_or_default(), &mut debit, &mut credit)?;
        let place = self.next_place();
        self.accounts.top.insert(transfer.debit.clone(), debit);
        self.accounts.top.insert(transfer.credit.clone(), credit);
        if let Some(pending) = transfer.kind.ends() {
            self.ended.top.insert(pending.clone(), transfer.id.clone());
        }
        self.transfers.top.insert(transfer.id.clone(), (place, transfer.clone()));
        self.entries.push(Entry::Transfer { place, transfer: transfer.into(), debit, credit });
        Ok(())
    }

    /// Fills in what an ending takes from its reservation.
    fn resolve(&self, new: &NewTransfer) -> Result<Transfer, Refusal> {
        let whole = |debit: &Account, credit: &Account, amount, kind| Transfer {
            id: new.id.clone(),
            debit: debit.clone(),
            credit: credit.clone(),
            amount,
            kind,
            code: new.code,
            cause: new.cause.clone(),
        };
        let ending = |pending: &TransferId, amount: Option<Amount>, kind| {
            let (_, held) =
                self.transfers.get(pending).ok_or_else(|| Refusal::UnknownPending { id: pending.clone() })?;
            Ok(whole(&held.debit, &held.credit, amount.unwrap_or(held.amount), kind))
        };
        match &new.movement {
            Movement::Posted { debit, credit, amount } => Ok(whole(debit, credit, *amount, Kind::Posted)),
            Movement::Pending { debit, credit, amount, expires_at } => {
                Ok(whole(debit, credit, *amount, Kind::Pending { expires_at: *expires_at }))
            }
            Movement::Post { pending, amount } => {
                ending(pending, *amount, Kind::Post { pending: pending.clone() })
            }
            Movement::Void { pending } => ending(pending, None, Kind::Void { pending: pending.clone() }),
            Movement::Expire { pending } => ending(pending, None, Kind::Expire { pending: pending.clone() }),
        }
    }

    /// Everything but the totals.
    fn judge(&self, transfer: &Transfer) -> Result<(), Refusal> {
        let Transfer { id, debit, credit, amount, kind, code, cause: _ } = transfer;
        if *amount == Amount::ZERO {
            return Err(Refusal::Zero { id: id.clone() });
        }
        if *amount > TRANSFER_LIMIT {
            return Err(limit(
                "the amount of a transfer",
                format!("{TRANSFER_LIMIT} base units"),
                "check the decimals",
            ));
        }
        if let Kind::Pending { expires_at: Some(at) } = kind
            && *at >= TIME_LIMIT_S
        {
            return Err(limit("a time", TIME_LIMIT_S, "give seconds since 1970"));
        }
        if let Some(pending) = kind.ends() {
            self.judge_ending(transfer, pending)?;
        }
        if debit == credit {
            return Err(Refusal::SameAccount { id: id.clone() });
        }
        if debit.asset != credit.asset {
            return Err(Refusal::Unlike { id: id.clone(), what: "asset" });
        }
        if debit.wallet != credit.wallet {
            return Err(Refusal::Unlike { id: id.clone(), what: "wallet" });
        }
        let wallet = &debit.wallet;
        let model = (self.view.models.get(wallet))
            .ok_or_else(|| Refusal::UnknownWallet { wallet: wallet.clone() })?;
        if !model.admits(*code, &debit.owner, &credit.owner) {
            return Err(Refusal::Model {
                wallet: wallet.clone(),
                model: model.as_str(),
                code: code.as_str(),
                debit: debit.owner.to_string(),
                credit: credit.owner.to_string(),
            });
        }
        Ok(())
    }

    fn judge_ending(&self, transfer: &Transfer, pending: &TransferId) -> Result<(), Refusal> {
        let Some((_, held)) = self.transfers.get(pending) else {
            return Err(Refusal::UnknownPending { id: pending.clone() });
        };
        let Kind::Pending { expires_at } = held.kind else {
            return Err(Refusal::NotPending { id: pending.clone() });
        };
        if let Some(by) = self.ended.get(pending) {
            return Err(Refusal::AlreadyEnded { id: pending.clone(), by: by.clone() });
        }
        if transfer.amount > held.amount {
            return Err(Refusal::AboveReserved {
                id: pending.clone(),
                reserved: held.amount,
                asked: transfer.amount,
            });
        }
        let expired = expires_at.is_some_and(|at| self.view.time >= at);
        if matches!(transfer.kind, Kind::Expire { .. }) && !expired {
            return Err(Refusal::NotExpired { id: pending.clone() });
        }
        Ok(())
    }

    fn change(&mut self, change: &RecordChange) -> Result<(), Refusal> {
        let key = change.key();
        let version = change.expect.saturating_add(1);
        let (found, opened) = self.records.get(&key).copied().unwrap_or_default();
        if found != change.expect {
            let known = self.view.changes.get(&(key.clone(), version));
            return match known.filter(|(_, known)| known == change) {
                Some((place, _)) => {
                    self.seen_before(*place, key.to_string());
                    Ok(())
                }
                None => Err(Refusal::Version { key: key.to_string(), expected: change.expect, found }),
            };
        }
        if change.kind == RecordKind::Wallet {
            let declared = Name::new(&change.id).zip(change.model()).filter(|_| change.expect == 0);
            let (wallet, model) =
                declared.ok_or_else(|| Refusal::WalletRecord { wallet: change.id.clone() })?;
            self.models.insert(wallet, model);
        }
        let place = self.next_place();
        let opened = if found == 0 { place.position } else { opened };
        self.records.top.insert(key.clone(), (version, opened));
        self.changes.insert((key, version), (place, change.clone()));
        self.entries.push(Entry::Change { place, change: change.clone() });
        Ok(())
    }
}

/// What can be judged without the books: sizes and texts. No posting reaches the database without it, so
/// that none makes a statement fail that serves others as well.
///
/// # Errors
/// [`Refusal::Empty`], [`Refusal::Limit`], [`Refusal::Text`], [`Refusal::Body`].
pub fn judge_shape(posting: &Posting) -> Result<(), Refusal> {
    let count = posting.transfers.len().saturating_add(posting.records.len());
    if count == 0 {
        return Err(Refusal::Empty);
    }
    if count > POSTING_LIMIT {
        return Err(limit("the number of entries", POSTING_LIMIT, "split the posting"));
    }
    for transfer in &posting.transfers {
        if transfer.cause.len() > CAUSE_LIMIT_BYTES {
            let next = "name an id, and keep words elsewhere";
            return Err(limit("the cause of a transfer", format!("{CAUSE_LIMIT_BYTES} bytes"), next));
        }
        if !is_cause(&transfer.cause) {
            return Err(Refusal::Text { what: "the cause of a transfer", allowed: "printable ASCII" });
        }
    }
    posting.records.iter().try_for_each(judge_record)
}

fn judge_record(change: &RecordChange) -> Result<(), Refusal> {
    let ids = [
        ("the id of a record", Some(&change.id)),
        ("the state of a record", Some(&change.state)),
        ("an external id", change.external_id.as_ref()),
    ];
    for (what, text) in ids {
        let Some(text) = text else { continue };
        if text.len() > ID_LIMIT_BYTES {
            return Err(limit(what, format!("{ID_LIMIT_BYTES} bytes"), "use a shorter one"));
        }
        if !is_id(text) {
            return Err(Refusal::Text { what, allowed: "printable ASCII without spaces, at least one" });
        }
    }
    if change.at >= TIME_LIMIT_S {
        return Err(limit("a time", TIME_LIMIT_S, "give seconds since 1970"));
    }
    let body = canon::encode(&change.body)
        .map_err(|e| Refusal::Body { key: change.key().to_string(), why: e.to_string() })?;
    if body.len() > BODY_LIMIT_BYTES {
        return Err(limit("the body of a record", format!("{BODY_LIMIT_BYTES} bytes"), "keep less in it"));
    }
    Ok(())
}

/// Moves the totals of both accounts, or refuses. `reserved` is the amount of the reservation that the
/// transfer ends.
pub(crate) fn enter(
    transfer: &Transfer,
    reserved: Amount,
    debit: &mut Totals,
    credit: &mut Totals,
) -> Result<(), Refusal> {
    let amount = transfer.amount;
    let reserves = matches!(transfer.kind, Kind::Posted | Kind::Pending { .. });
    let forced = transfer.code == Code::DepositReversed && transfer.kind == Kind::Posted;
    if reserves && !forced && transfer.debit.owner.is_bounded() && !debit.available().covers(amount) {
        return Err(Refusal::Overdraft {
            account: transfer.debit.clone(),
            available: debit.available(),
            asked: amount,
        });
    }
    let moved = |pending: Amount, posted: Amount| {
        let (pending, posted) = match &transfer.kind {
            Kind::Posted => (Some(pending), posted.checked_add(amount)),
            Kind::Pending { .. } => (pending.checked_add(amount), Some(posted)),
            Kind::Post { .. } => (pending.checked_sub(reserved), posted.checked_add(amount)),
            Kind::Void { .. } | Kind::Expire { .. } => (pending.checked_sub(reserved), Some(posted)),
        };
        let (pending, posted) = pending.zip(posted)?;
        pending.checked_add(posted).map(|_| (pending, posted))
    };
    let overflow = |account: &Account| Refusal::Overflow { account: account.clone() };
    let debits = moved(debit.debits_pending, debit.debits_posted).ok_or_else(|| overflow(&transfer.debit))?;
    let credits =
        moved(credit.credits_pending, credit.credits_posted).ok_or_else(|| overflow(&transfer.credit))?;
    (debit.debits_pending, debit.debits_posted) = debits;
    (credit.credits_pending, credit.credits_posted) = credits;
    Ok(())
}

/// Everything that some postings name: what must be loaded before they can be judged.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// Wallets.
    pub(crate) wallets: HashSet<Name>,
    /// Accounts, without those of the reservations.
    pub(crate) accounts: HashSet<Account>,
    /// Transfers: new ones, and reservations that are ended.
    pub(crate) transfers: HashSet<TransferId>,
    /// The reservations among them.
    pub(crate) pendings: HashSet<TransferId>,
    /// Records, with the version that would be written.
    pub(crate) records: HashSet<(RecordKey, u64)>,
}

impl Named {
    /// Adds what a posting names.
    pub(crate) fn add(&mut self, posting: &Posting) {
        for transfer in &posting.transfers {
            self.transfers.insert(transfer.id.clone());
            match &transfer.movement {
                Movement::Posted { debit, credit, .. } | Movement::Pending { debit, credit, .. } => {
                    self.wallets.insert(debit.wallet.clone());
                    self.accounts.insert(debit.clone());
                    self.accounts.insert(credit.clone());
                }
                Movement::Post { pending, .. }
                | Movement::Void { pending }
                | Movement::Expire { pending } => {
                    self.transfers.insert(pending.clone());
                    self.pendings.insert(pending.clone());
                }
            }
        }
        for change in &posting.records {
            self.records.insert((change.key(), change.expect.saturating_add(1)));
        }
    }
}
