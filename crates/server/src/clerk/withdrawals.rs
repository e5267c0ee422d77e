//! Withdrawals: takes on what the log and the interface ask for, and takes each from step to step as the
//! log and the chain go on (crate `withdrawals`).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custody::effects::OutPoint;
use custody::name::Name;
use custody::state::RequestRecord;
use custody::statement::Envelope;
use custody::{Blob, Hash};
use ledger::{CommitError, Posting, Record, RecordKind, Refusal};
use withdrawals::{Asking, Chain, Log, Mark, Spender, State, Withdrawal};

use super::consolidate;
use super::deposits::Deposits;
use super::reconcile::followed;
use super::{At, ClerkError};
use crate::worker::UNFUNDED;

/// Most steps of one withdrawal in one turn; from request to settlement there are fewer.
const STEPS_LIMIT: usize = 16;

/// The rule set since which requests name their clients.
pub(crate) const CLIENTS_SINCE: u32 = 2;

/// An open withdrawal: its record, and what is in it.
type Open = (Record, Withdrawal);

/// Takes withdrawals on.
#[derive(Debug, Default)]
pub(crate) struct Withdrawals {
    open: BTreeMap<Hash, Open>,
    /// How much of each lineage of the log was looked at.
    marks: BTreeMap<Hash, Mark>,
    /// The newest batch of the books that `open` is of.
    read: Option<u64>,
    /// What was authorised without a reservation.
    breaches: Vec<String>,
    /// Requests that the books cannot take on, each said once.
    refused: BTreeSet<Hash>,
}

/// What the network says, gathered from the clerk and the worker.
struct Network<'a> {
    at: &'a At<'a>,
    deposits: &'a Deposits,
    signed: Arc<BTreeMap<Hash, Blob>>,
    broadcast: BTreeSet<Hash>,
    problems: BTreeMap<Hash, String>,
    following: bool,
    /// The books did not answer: what was seen is not to be gone by.
    failed: RefCell<Option<ClerkError>>,
}

impl Chain for Network<'_> {
    fn spender(&self, outpoint: &OutPoint) -> Option<Spender> {
        match self.deposits.spender(self.at, outpoint) {
            Ok(found) => found.map(|(txid, confirmations)| Spender { txid, confirmations }),
            Err(error) => {
                *self.failed.borrow_mut() = Some(error);
                None
            }
        }
    }

    fn signed(&self, authorisation: &Hash) -> bool {
        self.signed.contains_key(authorisation)
    }

    fn broadcast(&self, authorisation: &Hash) -> bool {
        self.broadcast.contains(authorisation)
    }

    fn following(&self) -> bool {
        self.following
    }

    fn waits_for(&self, request: &Hash) -> Option<String> {
        self.problems.get(request).cloned()
    }
}

impl Withdrawals {
    /// Takes every withdrawal as far as it goes.
    ///
    /// # Errors
    /// The books. The next turn goes on.
    pub(crate) fn turn(&mut self, at: &At<'_>, deposits: &Deposits) -> Result<(), ClerkError> {
        self.read(at)?;
        let log = Log::of(at.state, at.decoder);
        let mut refused = self.take_on(at, &log)?;
        let network = network(at, deposits);
        let ids: Vec<Hash> = self.open.keys().copied().collect();
        let mut funded = BTreeSet::new();
        for id in ids {
            match self.advance(at, &log, &network, &id) {
                Ok(of_it) => funded.extend(of_it),
                // What the books refuse for one is no reason to let the others wait.
                Err(error) if error.is_refusal() => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        self.open.retain(|_, (_, withdrawal)| withdrawal.state.is_open());
        self.send_again(at);
        let spared = spared(at, deposits, &mut funded)?;
        publish(at, funded, spared);
        refused.map_or(Ok(()), Err)
    }

    /// Whether a withdrawal is open that gathers coins of a wallet at this destination.
    pub(crate) fn gathers(&self, wallet: &Name, destination: &Name) -> bool {
        let mut open = self.open.values().map(|(_, withdrawal)| withdrawal);
        let there = |output: &withdrawals::Output| output.destination == *destination;
        open.any(|w| w.wallet == *wallet && !w.outputs.is_empty() && w.outputs.iter().all(there))
    }

    /// What the log allowed and the books did not, since the last call.
    pub(crate) fn breaches(&mut self) -> Vec<String> {
        std::mem::take(&mut self.breaches)
    }

    /// Reads the open withdrawals, if somebody changed the books since.
    fn read(&mut self, at: &At<'_>) -> Result<(), ClerkError> {
        let newest = at.books.newest()?.unwrap_or(0);
        if self.read == Some(newest) {
            return Ok(());
        }
        // What was closed, and came up because the log has news of it, is to come up again.
        for (id, (_, withdrawal)) in &self.open {
            if !withdrawal.state.is_open() {
                self.marks.remove(id);
            }
        }
        self.open.clear();
        for word in State::OPEN {
            for record in at.books.records(RecordKind::Withdrawal, word)? {
                self.note(record)?;
            }
        }
        self.read = Some(newest);
        Ok(())
    }

    fn note(&mut self, record: Record) -> Result<(), ClerkError> {
        let withdrawal = Withdrawal::of(&record).map_err(|error| ClerkError::Other(error.to_string()))?;
        self.open.insert(withdrawal.id, (record, withdrawal));
        Ok(())
    }

    /// Looks at what the log has new of any lineage: requests that nobody announced, for people ask without
    /// the interface, too; renewals and other anchors of what was closed.
    /// Returns the first thing that the books refused.
    fn take_on(&mut self, at: &At<'_>, log: &Log<'_>) -> Result<Option<ClerkError>, ClerkError> {
        let mut refused = None;
        for (lineage, mark) in log.lineages() {
            if self.marks.get(&lineage) == Some(&mark) {
                continue;
            }
            let done = if self.open.contains_key(&lineage) {
                true
            } else if let Some(record) = at.books.record(RecordKind::Withdrawal, &lineage.to_string())? {
                self.note(record)?;
                true
            } else {
                match at.state.requests().get(&lineage) {
                    Some(found) => match self.begin(at, lineage, found, &mark) {
                        Err(error) if error.is_refusal() => {
                            refused = refused.or(Some(error));
                            false
                        }
                        other => other?,
                    },
                    None => true,
                }
            };
            if done {
                self.marks.insert(lineage, mark);
            }
        }
        Ok(refused)
    }

    /// Reserves for a request, or notes that it cannot be. False when another replica was faster.
    fn begin(
        &mut self,
        at: &At<'_>,
        id: Hash,
        found: &RequestRecord,
        mark: &Mark,
    ) -> Result<bool, ClerkError> {
        // What ended before the books saw it, and moved nothing, needs no place in them.
        let mut lineage = at.state.requests().iter().filter(|(_, record)| record.lineage == id);
        if mark.authorisations == 0 && lineage.all(|(_, record)| record.request.end < at.state.clock().time) {
            return Ok(true);
        }
        let (withdrawal, hold) =
            match withdrawals::begin(at.state, at.decoder, &Asking::logged(id, found), at.asset, at.now) {
                Ok(begun) => begun,
                Err(error) => {
                    if self.refused.insert(id) {
                        at.desk.core().alarm(format!("request {id} is in no books: {error}"));
                    }
                    // Under rule set 1 no request can name its client.
                    if mark.authorisations > 0 && found.rules >= CLIENTS_SINCE {
                        self.breaches
                            .push(format!("request {id} was authorised outside of the books: {error}"));
                    }
                    return Ok(true);
                }
            };
        let record = |withdrawal: &Withdrawal| vec![withdrawal.record_change(0, None, at.now)];
        let posting = Posting { transfers: vec![hold], records: record(&withdrawal) };
        let won = match at.books.commit_or_lose(posting) {
            Err(error) => {
                let unfunded = withdrawals::unfunded(withdrawal, &unreserved(error)?, at.now);
                let posting = Posting { transfers: Vec::new(), records: record(&unfunded) };
                at.books.commit_or_lose(posting)?
            }
            Ok(won) => won,
        };
        if let Some(record) = at.books.record(RecordKind::Withdrawal, &id.to_string())?.filter(|_| won) {
            self.note(record)?;
        }
        Ok(won)
    }

    /// Takes one withdrawal as far as it goes. Its requests that may be proposed.
    fn advance(
        &mut self,
        at: &At<'_>,
        log: &Log<'_>,
        network: &Network<'_>,
        id: &Hash,
    ) -> Result<Vec<Hash>, ClerkError> {
        for _ in 0..STEPS_LIMIT {
            let Some((record, withdrawal)) = self.open.get(id) else { return Ok(Vec::new()) };
            let seen = log.seen(network, withdrawal, at.now);
            if let Some(error) = network.failed.take() {
                return Err(error);
            }
            let Some(next) = withdrawals::step(withdrawal, &seen) else {
                if withdrawal.is_breach(&seen) {
                    self.breaches.push(format!("withdrawal {id} was authorised without a reservation"));
                }
                return Ok(withdrawal.funded(&seen));
            };
            let record = record.clone();
            let won = match enter(at, &record, next) {
                Err(error) => {
                    let without = withdrawals::step_without(withdrawal, &seen, &unreserved(error)?);
                    without.map_or(Ok(false), |next| enter(at, &record, next))?
                }
                Ok(won) => won,
            };
            self.open.remove(id);
            let found = at.books.record(RecordKind::Withdrawal, &id.to_string())?;
            match found.filter(|_| won) {
                Some(record) => self.note(record)?,
                // Another replica was faster: all is read again in the next turn.
                None => {
                    self.marks.remove(id);
                    self.read = None;
                    return Ok(Vec::new());
                }
            }
        }
        Ok(Vec::new())
    }

    /// Sends the requests again that the log does not have: the process may have ended between the posting
    /// and the sending.
    fn send_again(&self, at: &At<'_>) {
        for (_, withdrawal) in self.open.values() {
            let Some(text) = &withdrawal.envelope else { continue };
            let bytes = STANDARD.decode(text).unwrap_or_default();
            let parsed = Envelope::parse(&bytes).and_then(|e| Ok((e.unverified()?, e)));
            let Ok((statement, envelope)) = parsed else { continue };
            let mut core = at.desk.core();
            let waits = core.pending.has(&envelope.id());
            let over = statement.not_after.is_some_and(|end| end < at.now);
            if waits || over || at.state.consumed(&envelope.id(), statement.not_after) {
                continue;
            }
            if let Err(error) = at.desk.submit(&mut core, &envelope, statement) {
                core.alarm(format!("request {} is not sent: {error}", withdrawal.id));
            }
        }
    }
}

/// Enters a step. False when another replica was faster.
fn enter(at: &At<'_>, record: &Record, next: withdrawals::Step) -> Result<bool, Box<CommitError>> {
    let external = record.change.external_id.clone();
    let change = next.withdrawal.record_change(record.version, external, at.now);
    at.books.commit_or_lose(Posting { transfers: next.transfers, records: vec![change] })
}

/// What the books say of a reservation that they do not make: there is too little, or the account cannot exist.
/// Every other refusal is an error.
fn unreserved(error: Box<CommitError>) -> Result<String, Box<CommitError>> {
    match &*error {
        CommitError::Refused(refusal @ (Refusal::Overdraft { .. } | Refusal::Model { .. })) => {
            Ok(refusal.to_string())
        }
        _ => Err(error),
    }
}

fn network<'a>(at: &'a At<'a>, deposits: &'a Deposits) -> Network<'a> {
    let core = at.desk.core();
    let payments = &core.published.payments;
    let taken = payments.iter().filter(|payment| payment.state == "broadcast");
    let waiting = payments.iter().filter(|payment| payment.authorisation.is_none());
    let problem = |payment: &wire::message::PaymentStatus| {
        let why = payment.problem.clone().filter(|why| why != UNFUNDED)?;
        Some((*payment.requests.first()?, why))
    };
    Network {
        at,
        deposits,
        signed: Arc::clone(&core.signed),
        broadcast: taken.filter_map(|payment| payment.authorisation).collect(),
        problems: waiting.filter_map(problem).collect(),
        following: core.published.followed.as_ref().is_some_and(|followed| followed.following),
        failed: RefCell::default(),
    }
}

/// The coins that no consolidation takes, if one may be proposed. While they are not known none is proposed.
fn spared(
    at: &At<'_>,
    deposits: &Deposits,
    funded: &mut BTreeSet<Hash>,
) -> Result<BTreeSet<OutPoint>, ClerkError> {
    let request = |id: &Hash| at.state.requests().get(id).map(|record| &record.request);
    let gathers = |id: &Hash| {
        request(id).is_some_and(|request| withdrawals::is_consolidation(at.state, at.decoder, request))
    };
    if !funded.iter().any(gathers) {
        return Ok(BTreeSet::new());
    }
    let Ok((_, coins)) = followed(deposits.follower()) else {
        funded.retain(|id| !gathers(id));
        return Ok(BTreeSet::new());
    };
    consolidate::uncertain(at, &coins)
}

/// Says which requests may be proposed, and which coins no consolidation takes.
fn publish(at: &At<'_>, funded: BTreeSet<Hash>, spared: BTreeSet<OutPoint>) {
    let mut core = at.desk.core();
    let known = core.funded.as_ref().is_some_and(|before| **before == funded);
    if !known || *core.spared != spared {
        (core.funded, core.spared) = (Some(Arc::new(funded)), Arc::new(spared));
        at.desk.wake(&mut core);
    }
}

#[cfg(test)]
mod tests;
