//! What the follower says, as postings.
//!
//! A step is one posting: transfers, deposits, coins, and the cursor that they belong to. A step that is too large
//! for one (hundreds of own outputs in a block) becomes several, in such an order that whatever is missing
//! after a crash is found by [`super::kept`]: coins of blocks that the cursor does not have are taken back, and
//! money moves only for coins of blocks that it has. Each waits for the answer to the one before it.

use std::collections::{BTreeMap, BTreeSet};

use custody::effects::OutPoint;
use deposits::{Coin, Cursor, DepositRecord, DepositState, Fact, Sighting, Step, Verdict, outpoint_text};
use ledger::book::POSTING_LIMIT;
use ledger::{
    Account, Amount, Code, CommitError, Movement, NewTransfer, Owner, Posting, RecordChange, RecordKind,
    Refusal, Sent,
};
use serde::Serialize;

use super::Deposits;
use super::house::address_text;
use super::kept::Taken;
use super::known::Known;
use crate::clerk::{At, ClerkError};

/// The state of the record of a coin whose block is no longer in the best chain.
pub(super) const TAKEN_BACK: &str = "taken-back";

/// Most blocks whose steps, when nothing follows from them, wait for one posting.
const BLOCKS_PER_POSTING: usize = 32;

/// What one fact can take: a transfer, a deposit, a coin.
const ENTRIES_PER_FACT: usize = 3;

/// Facts have room for so many entries; the rest is for the cursor and blocks.
const DRAFT_LIMIT: usize = POSTING_LIMIT - BLOCKS_PER_POSTING - 2;

/// How often what waits in the mempool is read again when another replica wrote the same.
const TRIES: u32 = 3;

impl Deposits {
    /// Posts facts, and the cursor if it has moved and `settle` is set. What is in memory is dropped unless the
    /// books have it too.
    pub(super) fn enter(&mut self, at: &At<'_>, facts: &[Fact], settle: bool) -> Result<(), ClerkError> {
        let Some(mut taken) = self.taken.take() else { return Ok(()) };
        match taken.enter(at, facts, settle) {
            Ok(true) => self.taken = Some(taken),
            Ok(false) => {}
            // What does not fit what is in memory has another replica written, or something is wrong.
            Err(error) if taken.mark.is_newest(at)? => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// Posts where the follower stands.
    pub(super) fn settle(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        self.enter(at, &[], true)
    }
}

impl Taken {
    /// Posts; false if another replica was faster.
    fn enter(&mut self, at: &At<'_>, facts: &[Fact], settle: bool) -> Result<bool, ClerkError> {
        let cursor = self.follower.cursor();
        let moved = cursor != self.mark.cursor;
        let fresh = self.mark.fresh(&cursor).count();
        if facts.is_empty() && !(settle && moved) && fresh < BLOCKS_PER_POSTING {
            return Ok(true);
        }
        if !moved && facts.iter().all(only_waits) {
            return self.show(at, facts);
        }
        let between = self.mark.between(&cursor);
        let (due, mut rest): (Vec<&Fact>, Vec<&Fact>) =
            facts.iter().partition(|fact| matches!(fact, Fact::Due { .. }));
        // The last confirmation is written with what follows from it, unless it is the first one too.
        let deep = |fact: &&Fact| if let Fact::Due { coin, .. } = fact { Some(coin.outpoint) } else { None };
        let deep: BTreeSet<OutPoint> = due.iter().filter_map(deep).collect();
        rest.retain(|fact| match fact {
            Fact::Confirming { coin, confirmations } => *confirmations == 1 || !deep.contains(&coin.outpoint),
            _ => true,
        });
        let mut draft = Draft { known: std::mem::take(&mut self.known), ..Draft::new(at) };
        let mut underway = Underway::new(at, self.mark.version);
        let sent = self.send_all(&mut draft, &mut underway, [(rest, &between), (due, &cursor)]);
        let done = self.answered(underway);
        self.known = draft.known;
        self.known.forget_the_old();
        // What the books said first is why the rest failed.
        if done? { sent.map(|()| true) } else { Ok(false) }
    }

    /// Sends facts, each part with its cursor. The last posting has the last cursor, whatever else is in it.
    fn send_all(
        &mut self,
        draft: &mut Draft<'_>,
        underway: &mut Underway<'_>,
        parts: [(Vec<&Fact>, &Cursor); 2],
    ) -> Result<(), ClerkError> {
        let end = parts[1].1;
        for (facts, cursor) in parts {
            for fact in facts {
                if draft.is_full() {
                    self.send(draft, cursor, underway, true)?;
                }
                draft.enter(fact)?;
            }
        }
        self.send(draft, end, underway, false)
    }

    /// Posts what is only shown: it follows from nothing in memory, so it is simply read again.
    fn show(&mut self, at: &At<'_>, facts: &[Fact]) -> Result<bool, ClerkError> {
        for facts in facts.chunks(DRAFT_LIMIT / ENTRIES_PER_FACT) {
            let cursor = self.mark.cursor.clone();
            for _ in 0..TRIES {
                let mut draft = Draft::new(at);
                facts.iter().try_for_each(|fact| draft.enter(fact))?;
                if self.commit(&mut draft, &cursor)? {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Takes spent coins out of what is read at a start.
    pub(super) fn bury(&mut self, at: &At<'_>, coins: &[Coin]) -> Result<bool, ClerkError> {
        let cursor = self.mark.cursor.clone();
        for coins in coins.chunks(DRAFT_LIMIT) {
            let mut draft = Draft::new(at);
            coins.iter().try_for_each(|coin| draft.coin_in(coin, "buried"))?;
            if !self.commit(&mut draft, &cursor)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Commits a draft together with the cursor, which each posting that changes coins carries: its version is what
    /// two replicas race for. False if the other one has won.
    fn commit(&mut self, draft: &mut Draft<'_>, cursor: &Cursor) -> Result<bool, ClerkError> {
        let mut underway = Underway::new(draft.at, self.mark.version);
        let sent = self.send(draft, cursor, &mut underway, false);
        if self.answered(underway)? { sent.map(|()| true) } else { Ok(false) }
    }

    /// Sends a draft, unless one before it failed. Where several follow each other, each carries the cursor.
    fn send(
        &mut self,
        draft: &mut Draft<'_>,
        cursor: &Cursor,
        underway: &mut Underway<'_>,
        more: bool,
    ) -> Result<(), ClerkError> {
        let at = draft.at;
        let (transfers, records) = (std::mem::take(&mut draft.transfers), std::mem::take(&mut draft.records));
        draft.known.learn(&records);
        let coins = records.keys().any(|(kind, _)| *kind == RecordKind::Coin);
        let several = more || underway.count > 0;
        let stamps = coins || several || *cursor != self.mark.cursor;
        let mut records: Vec<RecordChange> = records.into_values().collect();
        if stamps {
            records.extend(self.mark.stamp(cursor, at)?);
        }
        if records.is_empty() || underway.failed.is_some() {
            return Ok(());
        }
        #[cfg(test)]
        super::tests::rig::fuse::burn()?;
        underway.send(Posting { transfers, records });
        if stamps {
            self.mark.stamped(cursor);
        }
        Ok(())
    }

    /// Waits for all that was sent; false if another replica was faster.
    fn answered(&mut self, mut underway: Underway<'_>) -> Result<bool, ClerkError> {
        underway.wait();
        let Some(error) = underway.failed else { return Ok(true) };
        // As far as the books went along.
        self.mark.version = underway.version;
        match *error {
            CommitError::Refused(
                Refusal::Version { .. } | Refusal::Partly { .. } | Refusal::Exists { .. },
            ) => Ok(false),
            _ => Err(error.into()),
        }
    }
}

/// The postings of a step. While the books write one the next is made; it is sent once that is answered. More at a time
/// would need a record that no other replica writes to tie them together: the version of the cursor is a number that any of
/// them may have written.
struct Underway<'a> {
    at: &'a At<'a>,
    /// The one that is not answered.
    sent: Option<Sent>,
    /// How many there were.
    count: usize,
    /// The version of the cursor after all that were entered.
    version: u64,
    /// What became of the first that was not.
    failed: Option<Box<CommitError>>,
}

impl<'a> Underway<'a> {
    fn new(at: &'a At<'a>, version: u64) -> Self {
        Self { at, sent: None, count: 0, version, failed: None }
    }

    fn send(&mut self, posting: Posting) {
        self.wait();
        if self.failed.is_some() {
            return;
        }
        match self.at.books.send(posting) {
            Ok(sent) => self.sent = Some(sent),
            Err(error) => self.failed = Some(error),
        }
        self.count += 1;
    }

    /// Waits for the answer to the one that was sent last.
    fn wait(&mut self) {
        let Some(sent) = self.sent.take() else { return };
        match self.at.books.outcome(sent) {
            Ok(_) => self.version += 1,
            Err(error) => self.failed = Some(error),
        }
    }
}

/// Whether a fact is only about the mempool.
fn only_waits(fact: &Fact) -> bool {
    match fact {
        Fact::Seen(_) | Fact::Vanished { .. } => true,
        Fact::Spent { by, .. } => by.place.is_none(),
        _ => false,
    }
}

/// A version of a record.
pub(super) fn change(
    (kind, id): (RecordKind, &str),
    expect: u64,
    state: &str,
    body: &impl Serialize,
    at: u64,
) -> Result<RecordChange, ClerkError> {
    let body = serde_json::to_value(body).map_err(|error| ClerkError::Other(error.to_string()))?;
    let (id, state) = (id.to_owned(), state.to_owned());
    Ok(RecordChange { kind, id, expect, state, client: None, external_id: None, at, body })
}

/// A posting in the making: at most one version of each record.
struct Draft<'a> {
    at: &'a At<'a>,
    known: Known,
    transfers: Vec<NewTransfer>,
    records: BTreeMap<(RecordKind, String), RecordChange>,
}

impl<'a> Draft<'a> {
    fn new(at: &'a At<'a>) -> Self {
        Self { at, known: Known::default(), transfers: Vec::new(), records: BTreeMap::new() }
    }

    /// Whether another fact might not fit.
    fn is_full(&self) -> bool {
        self.transfers.len() + self.records.len() + ENTRIES_PER_FACT > DRAFT_LIMIT
    }

    /// The record as it will be after what is drafted: the version that the books have, and its content.
    fn read(&mut self, kind: RecordKind, id: &str) -> Result<(u64, Option<RecordChange>), ClerkError> {
        let key = (kind, id.to_owned());
        match self.records.get(&key) {
            Some(drafted) => Ok((drafted.expect, Some(drafted.clone()))),
            None => self.known.read(self.at, key),
        }
    }

    fn enter(&mut self, fact: &Fact) -> Result<(), ClerkError> {
        match fact {
            Fact::Seen(sighting) => self.shown(sighting, &Step::See),
            Fact::Vanished { sighting, .. } => self.shown(sighting, &Step::Vanish),
            Fact::Confirming { coin, confirmations } => {
                self.coin(coin)?;
                self.confirming(coin, *confirmations)
            }
            Fact::Due { coin, verdict } => {
                self.coin(coin)?;
                self.due(coin, verdict)
            }
            Fact::TakenBack(coin) => {
                self.coin_in(&Coin { spent: None, ..coin.clone() }, TAKEN_BACK)?;
                if fact.step().is_some() { self.taken_back(coin) } else { Ok(()) }
            }
            // In the mempool nothing is spent yet.
            Fact::Spent { by, .. } if by.place.is_none() => Ok(()),
            Fact::Change(coin) | Fact::Spent { coin, .. } | Fact::Unspent { coin, .. } => self.coin(coin),
        }
    }

    fn coin(&mut self, coin: &Coin) -> Result<(), ClerkError> {
        self.coin_in(coin, if coin.spent.is_some() { "spent" } else { "unspent" })
    }

    fn coin_in(&mut self, coin: &Coin, state: &str) -> Result<(), ClerkError> {
        let id = outpoint_text(&coin.outpoint);
        let (expect, before) = self.read(RecordKind::Coin, &id)?;
        let mut next = change((RecordKind::Coin, &id), expect, state, coin, self.at.now)?;
        next.client.clone_from(&coin.address.client);
        self.put(before, next);
        Ok(())
    }

    /// The record of a deposit, if there is one.
    fn deposit(&mut self, id: &str) -> Result<Option<DepositRecord>, ClerkError> {
        let (_, found) = self.read(RecordKind::Deposit, id)?;
        let read = |change: RecordChange| serde_json::from_value(change.body);
        let bad = |error| ClerkError::Other(format!("deposit {id} in the books: {error}"));
        found.map(read).transpose().map_err(bad)
    }

    /// Writes a deposit that took a step.
    fn keep(&mut self, record: &DepositRecord) -> Result<(), ClerkError> {
        let id = record.key();
        let (expect, before) = self.read(RecordKind::Deposit, &id)?;
        let word = record.state.word();
        let mut next = change((RecordKind::Deposit, &id), expect, word, record, self.at.now)?;
        next.client.clone_from(&record.client);
        self.put(before, next);
        Ok(())
    }

    /// What is as it was is not written again.
    fn put(&mut self, before: Option<RecordChange>, next: RecordChange) {
        let same = |before: RecordChange| {
            (before.state, before.client, before.body)
                == (next.state.clone(), next.client.clone(), next.body.clone())
        };
        if !before.is_some_and(same) {
            self.records.insert((next.kind, next.id.clone()), next);
        }
    }

    /// Another replica that is ahead knows better what became of it.
    fn shown(&mut self, sighting: &Sighting, step: &Step) -> Result<(), ClerkError> {
        let record = match self.deposit(&outpoint_text(&sighting.outpoint))? {
            Some(record) => record,
            None if *step == Step::Vanish => return Ok(()),
            None => DepositRecord::new(sighting, address_text(self.at, &sighting.address)?),
        };
        let mut record = record;
        if record.take(step, self.at.now, NETWORK) == Ok(true) {
            self.keep(&record)?;
        }
        Ok(())
    }

    fn confirming(&mut self, coin: &Coin, confirmations: u32) -> Result<(), ClerkError> {
        let mut record = match self.deposit(&outpoint_text(&coin.outpoint))? {
            Some(record) => record,
            None => {
                let Coin { outpoint, amount, address, .. } = coin.clone();
                let text = address_text(self.at, &address)?;
                DepositRecord::new(&Sighting { outpoint, amount, address }, text)
            }
        };
        record.found(coin);
        self.advance(record, &Step::Confirm { confirmations, needed: coin.needed }, NETWORK)
    }

    fn due(&mut self, coin: &Coin, verdict: &Verdict) -> Result<(), ClerkError> {
        let mut record = self.known(coin)?;
        let deep = Step::Confirm { confirmations: coin.needed, needed: coin.needed };
        Self::take(&mut record, &deep, NETWORK, self.at.now)?;
        let (owner, step) = match verdict {
            Verdict::Credit(client) => (Owner::Client(client.clone()), Step::Credit),
            Verdict::Hold(reasons) => (Owner::Suspense, Step::Hold(reasons.clone())),
        };
        self.transfer(coin.id().to_string(), Code::Deposit, coin, Owner::External, owner)?;
        self.advance(record, &step, "server")
    }

    /// Takes a deposit back from wherever it is now.
    fn taken_back(&mut self, coin: &Coin) -> Result<(), ClerkError> {
        let record = self.known(coin)?;
        let owner = match (&record.state, &record.client) {
            (DepositState::Held { .. }, _) => Some(Owner::Suspense),
            (DepositState::Credited, Some(client)) => Some(Owner::Client(client.clone())),
            (DepositState::Credited, None) => {
                return Err(ClerkError::Other(format!("deposit {} is credited to nobody", record.key())));
            }
            _ => None,
        };
        if let (Some(owner), Some(id)) = (owner, record.back_id()) {
            self.transfer(id, Code::DepositReversed, coin, owner, Owner::External)?;
        }
        self.advance(record, &Step::TakeBack, NETWORK)
    }

    /// The record of a deposit that must be there.
    fn known(&mut self, coin: &Coin) -> Result<DepositRecord, ClerkError> {
        let id = outpoint_text(&coin.outpoint);
        let missing =
            || ClerkError::Other(format!("the books have no deposit {id}; restore them from a backup"));
        self.deposit(&id)?.ok_or_else(missing)
    }

    fn advance(&mut self, mut record: DepositRecord, step: &Step, by: &str) -> Result<(), ClerkError> {
        Self::take(&mut record, step, by, self.at.now)?;
        self.keep(&record)
    }

    fn take(record: &mut DepositRecord, step: &Step, by: &str, now: u64) -> Result<(), ClerkError> {
        let taken = record.take(step, now, by);
        taken.map(drop).map_err(|error| ClerkError::Other(format!("deposit {}: {error}", record.key())))
    }

    fn transfer(
        &mut self,
        id: String,
        code: Code,
        coin: &Coin,
        debit: Owner,
        credit: Owner,
    ) -> Result<(), ClerkError> {
        let account = |owner| Account::new(owner, &coin.address.wallet, self.at.asset);
        let (debit, credit) = (account(debit), account(credit));
        let amount = Amount::new(u128::from(coin.amount.0));
        let movement = Movement::Posted { debit, credit, amount };
        let id = id.parse().map_err(|error| ClerkError::Other(format!("{id}: {error}")))?;
        self.transfers.push(NewTransfer { id, movement, code, cause: outpoint_text(&coin.outpoint) });
        Ok(())
    }
}

/// Who does what the chain does.
const NETWORK: &str = "network";
