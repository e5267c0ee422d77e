//! The next step: the version of the record that fits what is seen, and the transfers that go with it.
//!
//! It is computed from what is there, never from what was meant, so that steps that nobody took are made
//! good by the next one, whoever takes it.

use custody::Hash;
use ledger::{Amount, Code, Movement, NewTransfer, TransferId};

use crate::begin::reserve;
use crate::ends::{is_over, may_be_authorised, may_confirm};
use crate::record::{Event, Hold, State, Withdrawal, shown, sum};
use crate::seen::{Asked, Fate, Paid, SETTLED_CONFIRMATIONS, Seen};

/// The next version of a withdrawal, and the transfers that belong to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The record.
    pub withdrawal: Withdrawal,
    /// What it moves, in the same posting.
    pub transfers: Vec<NewTransfer>,
}

/// The next step, if what is seen makes a difference. The books may refuse it for its reservation, when a
/// renewal asks for more than there is: then [`step_without`] is taken.
///
/// Taken twice it is nothing the second time. Closed withdrawals may be given too: one is opened again when
/// a renewal in the log or other anchors (P22) let it be paid after all.
pub fn step(withdrawal: &Withdrawal, seen: &Seen) -> Option<Step> {
    next(withdrawal, seen, None)
}

/// The step without new reservations, when the books refused them; `why` in their words.
pub fn step_without(withdrawal: &Withdrawal, seen: &Seen, why: &str) -> Option<Step> {
    next(withdrawal, seen, Some(why))
}

impl Withdrawal {
    /// Its requests that a transaction may be proposed for: what can leave for them is reserved. Of a
    /// record that is in the books.
    pub fn funded(&self, seen: &Seen) -> Vec<Hash> {
        let open = seen.requests.iter().filter(|asked| !self.is_final() && may_be_authorised(seen, asked));
        open.filter(|asked| self.covers(asked)).map(|asked| asked.id).collect()
    }

    /// Whether the log allowed a transaction for it that the books have no reservation for. Nothing this
    /// server proposed does that. Of a record that is in the books and up to date with what is seen.
    pub fn is_breach(&self, seen: &Seen) -> bool {
        let reserved = self.reserved();
        let covered = |paid: &Paid| {
            let asked = seen.asked(&paid.request);
            // What was to come back may have left: only a transaction of somebody else's does that.
            paid.taken() <= reserved && asked.is_some_and(|asked| self.covers(asked))
        };
        !self.is_final() && seen.paid.iter().any(|paid| may_confirm(paid) && !covered(paid))
    }

    /// Whether what can leave for a request is reserved, of the account that has to pay it.
    fn covers(&self, asked: &Asked) -> bool {
        self.pays(asked) && asked.need() <= self.reserved()
    }

    /// Whether a request is to be paid by the account that pays this withdrawal.
    fn pays(&self, asked: &Asked) -> bool {
        asked.payer.as_ref() == Some(&self.owner)
    }
}

fn next(old: &Withdrawal, seen: &Seen, refused: Option<&str>) -> Option<Step> {
    // Another replica that has more of the log may have reserved for what is not in sight here.
    if seen.height < old.height || old.is_final() || (is_over(seen) && !old.state.is_open()) {
        return None;
    }
    let mut work = Work { old, seen, withdrawal: old.clone(), transfers: Vec::new() };
    work.read_log();
    let deep = seen.paid.iter().find(|paid| paid.confirmations >= SETTLED_CONFIRMATIONS);
    let short = work.reserve(deep, refused);
    if !deep.is_some_and(|paid| work.settle(paid)) && is_over(seen) {
        work.void_all();
    }
    work.describe();
    let state = work.place(short.then_some(refused).flatten());
    work.enter(state);
    let Work { mut withdrawal, transfers, .. } = work;
    (withdrawal != *old || !transfers.is_empty()).then(|| {
        withdrawal.height = seen.height;
        Step { withdrawal, transfers }
    })
}

/// A step in the making.
struct Work<'a> {
    old: &'a Withdrawal,
    seen: &'a Seen,
    withdrawal: Withdrawal,
    transfers: Vec<NewTransfer>,
}

impl<'a> Work<'a> {
    fn note(&mut self, what: &str, by: &str, height: Option<u64>, note: Option<String>) {
        let (at, txid) = (self.seen.now, None);
        self.withdrawal.note(Event { at, what: what.into(), by: by.into(), height, txid, note });
    }

    /// Takes over what the log has of the lineage, and tells the timeline of approvals and transactions.
    fn read_log(&mut self) {
        let seen = self.seen;
        if seen.fate != Fate::Waiting {
            self.withdrawal.envelope = None;
        }
        if !seen.requests.is_empty() {
            self.withdrawal.requests = seen.requests.iter().map(|asked| asked.id).collect();
        }
        let known = self.withdrawal.requests.clone();
        self.withdrawal.refused.retain(|id| known.contains(id));
        for asked in &seen.requests {
            let renewal = (asked.id != self.old.id).then(|| format!("renewal {}", asked.id));
            for (person, _) in asked.approvals.iter().filter(|(_, id)| !self.old.approvals.contains(id)) {
                self.note("approved", &format!("person:{person}"), Some(seen.height), renewal.clone());
            }
        }
        let approvals = seen.requests.iter().flat_map(|asked| &asked.approvals);
        self.withdrawal.approvals = approvals.map(|(_, id)| *id).collect();
        let told = usize::try_from(self.old.transactions).unwrap_or(usize::MAX);
        for (place, paid) in seen.paid.iter().enumerate().skip(told) {
            let what = if place == 0 { State::Authorised.word() } else { "bumped" };
            self.withdrawal.note(Event {
                at: paid.at,
                what: what.to_owned(),
                by: "server".to_owned(),
                height: Some(paid.height),
                txid: Some(shown(&paid.txid)),
                note: None,
            });
        }
        self.withdrawal.transactions = u64::try_from(seen.paid.len()).unwrap_or(u64::MAX);
        let confirmed = seen.paid.iter().find(|paid| paid.confirmations > 0);
        let news = seen.following || seen.paid.len() > told || self.old.txid.is_none();
        if let Some(paid) = confirmed.or(seen.paid.last()).filter(|_| news) {
            self.withdrawal.txid = Some(shown(&paid.txid));
        }
    }

    /// The requests for which something may leave; once one is paid at depth only that.
    fn open(&self, deep: Option<&Paid>) -> impl Iterator<Item = &'a Asked> {
        let (seen, deep) = (self.seen, deep.map(|paid| paid.request));
        seen.requests.iter().filter(move |asked| match deep {
            Some(paid) => asked.id == paid,
            None => {
                let mut paid = seen.paid.iter().filter(|paid| paid.request == asked.id);
                may_be_authorised(seen, asked) || paid.any(may_confirm)
            }
        })
    }

    /// Reserves what exceeds the reservations so far. Returns whether something is missing.
    fn reserve(&mut self, deep: Option<&Paid>, refused: Option<&str>) -> bool {
        let reserved = self.withdrawal.reserved();
        let is_enough = |asked: &Asked| deep.map_or(asked.need(), Paid::taken) <= reserved;
        let mut short: Vec<&Asked> = self.open(deep).filter(|asked| !is_enough(asked)).collect();
        short.retain(|asked| self.withdrawal.pays(asked) && !self.withdrawal.refused.contains(&asked.id));
        let most = short.into_iter().max_by_key(|asked| asked.need());
        if refused.is_some() {
            // Only that was tried: the next look tries what asks for less.
            self.withdrawal.refused.extend(most.map(|asked| asked.id));
            return most.is_some();
        }
        let missing = most.and_then(|asked| Some((asked.id, asked.need().checked_sub(reserved)?)));
        if let Some((id, missing)) = missing.filter(|(_, missing)| *missing > Amount::ZERO)
            && let Ok(transfer) = reserve(&mut self.withdrawal, &id, missing)
        {
            self.transfers.push(transfer);
            self.note("held", "server", None, Some(missing.to_string()));
        }
        false
    }

    /// The transaction is so deep that the books follow it. Returns whether they can.
    fn settle(&mut self, paid: &Paid) -> bool {
        let asked = self.seen.asked(&paid.request);
        let pays = asked.is_some_and(|asked| self.withdrawal.pays(asked));
        if !pays || paid.taken() > self.withdrawal.reserved() {
            return false;
        }
        let mut left = paid.taken();
        for hold in std::mem::take(&mut self.withdrawal.holds) {
            let part = left.min(hold.amount);
            left = left.checked_sub(part).unwrap_or_default();
            self.end(hold, part);
        }
        for (word, amount, code) in
            [("out", paid.amount, Code::Withdrawal), ("fee", paid.fee, Code::NetworkFee)]
        {
            let (debit, credit) = (self.withdrawal.in_transit(), self.withdrawal.external());
            let id = format!("{word}/{}", self.withdrawal.id);
            if amount > Amount::ZERO {
                self.transfer(&id, Movement::Posted { debit, credit, amount }, code);
            }
        }
        self.withdrawal.fee = Some(paid.fee);
        self.withdrawal.txid = Some(shown(&paid.txid));
        true
    }

    /// Ends everything that is reserved. Only when [`is_over`].
    fn void_all(&mut self) {
        let holds = std::mem::take(&mut self.withdrawal.holds);
        let all = sum(holds.iter().map(|hold| hold.amount));
        for hold in holds {
            self.end(hold, Amount::ZERO);
        }
        if all > Amount::ZERO {
            self.note("released", "server", None, Some(all.to_string()));
        }
    }

    /// Ends a reservation: a part of it is posted, the rest is released.
    fn end(&mut self, hold: Hold, part: Amount) {
        let (pending, code) = (hold.transfer.clone(), self.withdrawal.hold_code());
        let name = pending.as_str().strip_prefix("hold/").unwrap_or(pending.as_str()).to_owned();
        if part > Amount::ZERO {
            let movement = Movement::Post { pending, amount: Some(part) };
            self.transfer(&format!("post/{name}"), movement, code);
        } else {
            self.transfer(&format!("void/{name}"), Movement::Void { pending }, code);
        }
        self.withdrawal.ended.push(hold);
    }

    fn transfer(&mut self, id: &str, movement: Movement, code: Code) {
        let cause = self.withdrawal.id.to_string();
        // Never else: words, slashes and hex, far below the limit of an id.
        if let Ok(id) = id.parse() {
            self.transfers.push(NewTransfer { id, movement, code, cause });
        }
    }

    /// The request that counts: whose transaction is in a block or was authorised last; before that the
    /// newest that is reserved.
    fn current(&self) -> Option<&'a Asked> {
        let seen = self.seen;
        let confirmed = seen.paid.iter().find(|paid| paid.confirmations > 0);
        let live = confirmed.or_else(|| seen.paid.iter().rev().find(|paid| may_confirm(paid)));
        let by_transaction = live.and_then(|paid| seen.asked(&paid.request));
        let open: Vec<&Asked> = self.open(None).collect();
        let reserved = open.iter().rev().find(|asked| self.withdrawal.covers(asked)).copied();
        let paying = seen.requests.iter().rev().find(|asked| !asked.is_cancel());
        by_transaction.or(reserved).or(open.last().copied()).or(paying).or(seen.requests.first())
    }

    fn describe(&mut self) {
        if let Some(asked) = self.current() {
            self.withdrawal.outputs.clone_from(&asked.outputs);
            (self.withdrawal.fee_max, self.withdrawal.end) = (asked.fee_max, asked.end);
        }
    }
}

/// The id of the next reservation for a request: a withdrawal that was closed and opened again by other
/// anchors reserves for the same request once more.
pub(crate) fn hold_id(withdrawal: &Withdrawal, request: &Hash) -> Option<TransferId> {
    let first = format!("hold/{request}");
    let of_it = |hold: &&Hold| hold.transfer.as_str().starts_with(&first);
    let before = withdrawal.holds.iter().chain(&withdrawal.ended).filter(of_it).count();
    let id = if before == 0 { first } else { format!("{first}/{}", before.saturating_add(1)) };
    id.parse().ok()
}

mod place;
