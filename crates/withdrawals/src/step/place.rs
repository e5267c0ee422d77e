//! Where a withdrawal stands, by what is reserved and what is seen; and the line of the timeline for it.

use super::Work;
use crate::ends::{is_over, may_confirm};
use crate::record::{Event, State};
use crate::seen::{Asked, Fate, Frozen, Gone, SETTLED_CONFIRMATIONS};

/// Why a withdrawal is unfunded that the log allowed all the same.
const BREACH: &str = "authorised without a reservation";
/// Why one is unfunded whose reservation was refused before.
const REFUSED: &str = "the books could not reserve it: renew it when there is enough";
/// Why one is unfunded that somebody else would have to pay.
const OTHER_PAYER: &str = "its request names another payer than the withdrawal that it renews";

impl Work<'_> {
    /// The state; `refused` is why the books reserve nothing more.
    pub(super) fn place(&self, refused: Option<&str>) -> State {
        let (seen, withdrawal) = (self.seen, &self.withdrawal);
        if withdrawal.is_final() {
            let cancel = self.current().is_some_and(Asked::is_cancel);
            return if cancel { State::Cancelled } else { State::Settled };
        }
        if withdrawal.is_breach(seen) {
            return State::Unfunded { why: BREACH.to_owned() };
        }
        match &seen.fate {
            Fate::Waiting => return self.old.state.clone(),
            Fate::Rejected(rule) => return State::Rejected { why: rule.clone() },
            Fate::Late => return State::Expired,
            Fate::Asked => {}
        }
        if is_over(seen) {
            return self.ending();
        }
        let mut open = self.open(None).peekable();
        // What is beyond the limit of renewals changes nothing but that reservations stay.
        if open.peek().is_none() {
            return self.old.state.clone();
        }
        if open.any(|asked| withdrawal.covers(asked)) { self.underway() } else { self.unfunded(refused) }
    }

    /// Of one that may be paid, and is not reserved.
    fn unfunded(&self, refused: Option<&str>) -> State {
        let before = match &self.old.state {
            State::Unfunded { why } if why != BREACH => Some(why.as_str()),
            _ => None,
        };
        let mut open = self.open(None);
        let other = if open.any(|asked| self.withdrawal.pays(asked)) { REFUSED } else { OTHER_PAYER };
        State::Unfunded { why: refused.or(before).unwrap_or(other).to_owned() }
    }

    /// How one ended that nothing can be paid for any more.
    fn ending(&self) -> State {
        if self.seen.latest.is_some() {
            return State::Replaced;
        }
        match self.current().and_then(|asked| asked.gone) {
            Some(Gone::Withdrawn) => State::Cancelled,
            _ => State::Expired,
        }
    }

    /// Of one that may be paid, and is reserved.
    fn underway(&self) -> State {
        let seen = self.seen;
        let frozen = |authorised| {
            let frozen = self.current().and_then(|asked| asked.frozen.as_ref());
            frozen.map(|frozen| State::Frozen { by: frozen.freeze, authorised })
        };
        let live = || seen.paid.iter().filter(|paid| may_confirm(paid));
        if live().next().is_none() {
            let Some(asked) = self.current() else { return self.old.state.clone() };
            let waits =
                || asked.waits_for.clone().unwrap_or_else(|| "its transaction is proposed next".into());
            let approved = || asked.approved.then(|| State::Delayed { why: waits() });
            return frozen(false).or_else(approved).unwrap_or(State::AwaitingApproval);
        }
        let depth = live().map(|paid| paid.confirmations).max().unwrap_or(0);
        if !seen.following && matches!(self.old.state, State::Broadcast | State::Confirming { .. }) {
            return self.old.state.clone();
        }
        if depth > 0 {
            return State::Confirming { confirmations: depth, needed: SETTLED_CONFIRMATIONS };
        }
        if seen.following && live().any(|paid| paid.broadcast) {
            return State::Broadcast;
        }
        if live().any(|paid| paid.signed) {
            return State::Signed;
        }
        // Signers release nothing for it; a signature that is there cannot be taken back.
        frozen(true).unwrap_or(State::Authorised)
    }

    /// Enters a state, and tells the timeline if it is another.
    pub(super) fn enter(&mut self, state: State) {
        let word = state.word();
        let told = state == State::Authorised && self.old.transactions == 0;
        self.withdrawal.state = state;
        if word == self.old.state.word() || told {
            return;
        }
        let (by, height, note) = self.told();
        let shows = self.withdrawal.state.point_of_no_return_passed() || self.withdrawal.is_final();
        let txid = self.withdrawal.txid.clone().filter(|_| shows);
        self.withdrawal.note(Event { at: self.seen.now, what: word.to_owned(), by, height, txid, note });
    }

    /// Who brought the state about, the height of the log that shows it, and more words.
    fn told(&self) -> (String, Option<u64>, Option<String>) {
        let (log, asked) = (Some(self.seen.height), self.current());
        let requester = || asked.map_or_else(|| "log".to_owned(), |asked| asked.by.clone());
        match &self.withdrawal.state {
            State::Requested => (requester(), None, None),
            State::AwaitingApproval if self.old.state == State::Requested => (requester(), log, None),
            State::AwaitingApproval | State::Expired => ("log".into(), log, None),
            State::Delayed { why } => ("server".into(), log, Some(why.clone())),
            State::Frozen { by, .. } => {
                let who = asked.and_then(|asked| asked.frozen.as_ref()).map(|Frozen { by, .. }| by.clone());
                (who.unwrap_or_else(|| "log".into()), log, Some(format!("freeze {by}")))
            }
            State::Authorised => {
                let height = self.seen.paid.last().map(|paid| paid.height);
                ("server".into(), height, None)
            }
            State::Signed => ("co-signers".into(), None, None),
            State::Broadcast => ("server".into(), None, None),
            State::Confirming { .. } | State::Settled | State::Replaced => ("network".into(), None, None),
            State::Rejected { why } => ("log".into(), log, Some(why.clone())),
            State::Cancelled if self.withdrawal.is_final() => ("network".into(), None, None),
            State::Cancelled => (requester(), log, None),
            State::Unfunded { why } => ("server".into(), None, Some(why.clone())),
        }
    }
}
