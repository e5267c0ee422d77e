//! What a draft would have decided: every past request that it would have decided otherwise than the policy
//! that was in force then.
//!
//! A request that was authorised is decided again at that very moment, with the same approvals and charges. One
//! that was not is looked at whenever it was asked or approved and when it ended, with the lowest fee, under
//! both policies. Charges are those of the log: what the draft would have denied before still counts.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::batch::Batch;
use custody::decide::{Ask, Rulebook};
use custody::effects::{Decoder, Sats};
use custody::genesis::Genesis;
use custody::name::Name;
use custody::payment::Authorise;
use custody::policy::Policy;
use custody::rule::{Refusal, Rule};
use custody::state::State;
use custody::statement::Body;
use serde::Serialize;

use crate::words;

/// Why a log could not be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Genesis does not pass its own checks.
    #[error("genesis: {0}")]
    Genesis(Refusal),
    /// A batch that no co-signer could have voted for.
    #[error("batch {height} is invalid: {refusal}")]
    Batch {
        /// Its number.
        height: u64,
        /// The rule, and why.
        refusal: Refusal,
    },
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// A transaction was authorised for it.
    Authorised,
    /// It ended, or something took its place, without one.
    Ended,
    /// It is open.
    Open,
}

/// A policy's decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Decision {
    /// Whether it allows the request.
    pub allowed: bool,
    /// The rules of the policy that say so: all that cover it, or those that deny it.
    pub rules: Vec<Name>,
    /// Why not; nothing where it is allowed.
    pub why: Vec<String>,
}

/// A request that a draft would have decided otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Otherwise {
    /// The request.
    pub request: Hash,
    /// What became of it.
    pub fate: Fate,
    /// For which log time it was decided.
    pub at: u64,
    /// The wallet.
    pub wallet: Name,
    /// What it pays in all.
    pub amount: Sats,
    /// By the policy in force then.
    pub then: Decision,
    /// By the draft.
    pub draft: Decision,
}

/// What a replay found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Replayed {
    /// From when on, log time.
    pub since: u64,
    /// Until when, log time.
    pub until: u64,
    /// How many requests were decided.
    pub requests: usize,
    /// Those that the draft would have decided otherwise, in order of time.
    pub otherwise: Vec<Otherwise>,
}

/// A replay under way.
struct Replay<'a> {
    draft: Rulebook,
    decoder: &'a dyn Decoder,
    /// How requests that are not over were decided so far: by the policies in force, and by the draft. What
    /// was allowed once stays so.
    open: BTreeMap<Hash, Seen>,
    decided: BTreeSet<Hash>,
    otherwise: Vec<Otherwise>,
}

#[derive(Clone)]
struct Seen {
    at: u64,
    then: Decision,
    draft: Decision,
}

/// Replays a log from genesis on and decides its requests anew, from log time `since` on.
///
/// # Errors
/// A log that is not valid.
pub fn replay(
    genesis: Genesis,
    batches: impl IntoIterator<Item = Batch>,
    decoder: &dyn Decoder,
    draft: &Policy,
    since: u64,
) -> Result<Replayed, ReplayError> {
    let mut state = State::new(genesis).map_err(ReplayError::Genesis)?;
    let draft = Rulebook::new(draft.clone());
    let (open, decided, otherwise) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    let mut replay = Replay { draft, decoder, open, decided, otherwise };
    for batch in batches {
        let before = state.clone();
        let wrong = |refusal| ReplayError::Batch { height: batch.tick.height, refusal };
        let outcomes = state.apply(&batch, decoder).map_err(wrong)?;
        if before.clock().time < since && since <= batch.tick.time {
            let asked: Vec<Hash> = before.requests().iter().map(|(id, _)| *id).collect();
            asked.iter().for_each(|id| replay.look(&before, id, since));
        }
        replay.end(&before, batch.tick.time);
        for (i, (envelope, outcome)) in batch.entries.iter().zip(&outcomes).enumerate() {
            let applied = outcome.rejected.is_none() && batch.tick.time >= since;
            let Some(statement) = envelope.unverified().ok().filter(|_| applied) else { continue };
            match statement.body {
                Body::Request(_) => replay.look(&state, &outcome.id, batch.tick.time),
                Body::Approve(approve) => replay.look(&state, &approve.target, batch.tick.time),
                Body::Authorise(authorise) => {
                    // As things were right then: what came later in the batch does not count.
                    let entries = batch.entries.iter().take(i).cloned().collect();
                    let mut then = before.clone();
                    then.apply(&Batch { tick: batch.tick.clone(), entries }, decoder).map_err(wrong)?;
                    replay.authorised(&then, &state, &outcome.id, &authorise);
                }
                _ => {}
            }
        }
        replay.superseded(&state);
    }
    let open: Vec<Hash> = replay.open.keys().copied().collect();
    for id in open {
        replay.look(&state, &id, state.clock().time);
        replay.close(&state, &id, Fate::Open);
    }
    replay.otherwise.sort_by_key(|one| (one.at, one.request));
    let until = state.clock().time;
    Ok(Replayed { since, until, requests: replay.decided.len(), otherwise: replay.otherwise })
}

impl Replay<'_> {
    /// What both policies say of a request that nothing was authorised for, at some time.
    fn look(&mut self, state: &State, id: &Hash, time: u64) {
        let Some((record, book)) = state.requests().get(id).zip(state.rulebook()) else { return };
        let paid = !record.authorised.is_empty() || self.decided.contains(id);
        if paid || !state.in_line(id, record) || state.has_lapsed(record) || record.request.end < time {
            return;
        }
        let ask = state.ask_of(record, Sats(0), time);
        let then = decide(book, &ask, id, state);
        let draft = decide(&self.draft, &ask, id, state);
        let seen = Seen { at: time, then, draft };
        let entry = self.open.entry(*id).or_insert_with(|| seen.clone());
        entry.at = time;
        if !entry.then.allowed {
            entry.then = seen.then;
        }
        if !entry.draft.allowed {
            entry.draft = seen.draft;
        }
    }

    /// Decides the requests of a transaction that was authorised.
    fn authorised(&mut self, before: &State, after: &State, id: &Hash, authorise: &Authorise) {
        let (Some(found), Some(book)) = (after.authorisations().get(id), before.rulebook()) else { return };
        let asks = before.asks(&authorise.requests, found.fee, found.at, self.decoder).unwrap_or_default();
        for (request, ask) in authorise.requests.iter().zip(asks) {
            self.open.remove(request);
            self.decided.insert(*request);
            let seen = Seen {
                at: found.at,
                then: decide(book, &ask, request, before),
                draft: decide(&self.draft, &ask, request, before),
            };
            self.report(before, request, seen, Fate::Authorised);
        }
    }

    /// Closes requests that ended before a batch.
    fn end(&mut self, before: &State, time: u64) {
        let ended = |id: &&Hash| before.requests().get(id).is_some_and(|record| record.request.end < time);
        let ended: Vec<Hash> = self.open.keys().filter(ended).copied().collect();
        for id in ended {
            let end = before.requests().get(&id).map_or(time, |record| record.request.end);
            self.look(before, &id, end.max(before.clock().time));
            self.close(before, &id, Fate::Ended);
        }
    }

    /// Closes requests that something took the place of.
    fn superseded(&mut self, state: &State) {
        let over = |id: &&Hash| {
            let record = state.requests().get(id);
            record.is_none_or(|record| !state.in_line(id, record) || state.has_lapsed(record))
        };
        let over: Vec<Hash> = self.open.keys().filter(over).copied().collect();
        for id in over {
            self.close(state, &id, Fate::Ended);
        }
    }

    fn close(&mut self, state: &State, id: &Hash, fate: Fate) {
        let Some(seen) = self.open.remove(id) else { return };
        self.decided.insert(*id);
        self.report(state, id, seen, fate);
    }

    fn report(&mut self, state: &State, id: &Hash, seen: Seen, fate: Fate) {
        let Some(record) = state.requests().get(id).filter(|_| seen.then.allowed != seen.draft.allowed)
        else {
            return;
        };
        self.otherwise.push(Otherwise {
            request: *id,
            fate,
            at: seen.at,
            wallet: record.request.wallet.clone(),
            amount: record.request.amount().unwrap_or(Sats::MAX),
            then: seen.then,
            draft: seen.draft,
        });
    }
}

/// Decides a request as the log would: with who proposed its destinations.
fn decide(book: &Rulebook, ask: &Ask, id: &Hash, state: &State) -> Decision {
    let mut refusals = book.explain(ask, state);
    if let Some(record) = state.requests().get(id).filter(|_| refusals.is_empty()) {
        let standing = state.check_proposers(&record.request, ask, book).err();
        refusals.extend(standing.map(|no| (None, no)));
    }
    let covering = || book.covering(ask, state).into_iter().map(|rule| rule.id.clone()).collect();
    if refusals.is_empty() {
        return Decision { allowed: true, rules: covering(), why: Vec::new() };
    }
    // The floor speaks of no rule, but of all that cover: they let one person do.
    let floor = refusals.iter().all(|(_, no)| no.rule == Rule::TwoPeople);
    let named: BTreeSet<Name> = refusals.iter().filter_map(|(rule, _)| rule.clone()).collect();
    let rules = if floor { covering() } else { named.into_iter().collect() };
    Decision { allowed: false, rules, why: refusals.into_iter().map(|(_, no)| no.to_string()).collect() }
}

impl Replayed {
    /// As plain text.
    pub fn text(&self) -> String {
        let (requests, others) = (self.requests, self.otherwise.len());
        let (since, until) = (words::time(self.since), words::time(self.until));
        let mut text = format!("{requests} requests from {since} to {until}, {others} decided otherwise\n");
        for one in &self.otherwise {
            let fate = match one.fate {
                Fate::Authorised => "authorised",
                Fate::Ended => "never authorised",
                Fate::Open => "open",
            };
            let amount = words::sats(u128::from(one.amount.0));
            let at = words::time(one.at);
            text.push_str(&format!("{}\n  {amount} from {}, {fate}, {at}\n", one.request, one.wallet));
            for (who, decision) in [("then", &one.then), ("draft", &one.draft)] {
                let word = if decision.allowed { "allowed" } else { "denied" };
                let rules = words::list(&decision.rules);
                let by = if rules.is_empty() { String::new() } else { format!(" by {rules}") };
                let why = if decision.why.is_empty() {
                    String::new()
                } else {
                    format!(": {}", decision.why.join("; "))
                };
                text.push_str(&format!("  {who:<8}{word}{by}{why}\n"));
            }
        }
        text
    }
}
