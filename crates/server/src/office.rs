//! The post office, without sockets: what waits for whom, and what became of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use custody::Hash;
use custody::name::Name;
use custody::payment::Authorise;
use custody::state::State;
use custody::statement::{Body, Envelope, Statement};
use wire::message::{FromCosigner, ReceiptState};

/// Most messages that wait on one link. Co-signers repeat what matters, so the oldest may go.
pub const OUTBOX_LIMIT: usize = 4_096;

/// Most bytes that wait on one link (64 MiB): few messages are large, and a co-signer that reads
/// nothing must not fill the memory.
pub const OUTBOX_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Most statements that wait for a batch: four times what a co-signer takes at once.
pub const PENDING_LIMIT: usize = 4_096;

/// Most of them by one signer: nobody alone takes the places of the others.
pub const PENDING_PER_SIGNER: usize = PENDING_LIMIT / 4;

/// Most bytes of statements that wait (256 MiB): as much as so many of the longest that are no proposals take.
pub const PENDING_LIMIT_BYTES: usize = PENDING_LIMIT * 64 * 1024;

/// Most of them by one signer.
pub const PENDING_PER_SIGNER_BYTES: usize = PENDING_LIMIT_BYTES / 4;

/// Places beside those for what reduces authority: a freeze always finds one.
pub const REDUCTIONS_PENDING_LIMIT: usize = 256;

/// A statement that every co-signer refused is kept this long, in seconds: what it refers to may be in
/// a batch that is under way.
pub const REFUSED_KEPT_S: u64 = 30;

/// A statement that waits is sent again after this long, in seconds: a co-signer may have dropped it.
pub const RESEND_S: u64 = 5;

/// A message as it goes over the wire, shared by the links that carry it.
pub type Bytes = Arc<[u8]>;

/// What waits to be written on one link.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    /// Adds a message; over a limit the oldest go.
    pub fn push(&mut self, message: Bytes) {
        self.bytes = self.bytes.saturating_add(message.len());
        self.waiting.push_back(message);
        while self.waiting.len() > OUTBOX_LIMIT || self.bytes > OUTBOX_LIMIT_BYTES {
            if self.pop().is_none() {
                break;
            }
        }
    }

    /// The oldest message.
    pub fn pop(&mut self) -> Option<Bytes> {
        let message = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.len());
        Some(message)
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Who gets what `from` sent: the one that it named, or all others. Never the sender.
pub fn addressees<'a>(from: &'a Name, to: Option<&'a Name>, all: &'a [Name]) -> Vec<&'a Name> {
    all.iter().filter(|name| *name != from && to.is_none_or(|to| to == *name)).collect()
}

/// A statement that waits for a batch.
#[derive(Clone, Debug)]
struct Waiting {
    envelope: Envelope,
    statement: Statement,
    /// What it counts against the limits in bytes: nothing for what reduces authority.
    bytes: usize,
    receipts: BTreeMap<Name, ReceiptState>,
    /// Own clock, seconds.
    since: u64,
    sent: u64,
}

impl Waiting {
    fn refused_by(&self, name: &Name) -> bool {
        matches!(self.receipts.get(name), Some(ReceiptState::Refused { .. }))
    }
}

/// How many these are, and their bytes beside so many others.
fn sum<'a>(waiting: impl Iterator<Item = &'a Waiting>, bytes: usize) -> (usize, usize) {
    waiting.fold((0, bytes), |(count, all), one| (count.saturating_add(1), all.saturating_add(one.bytes)))
}

/// Why a statement is not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PendingError {
    /// Too many wait.
    #[error(
        "{PENDING_LIMIT} statements or {PENDING_LIMIT_BYTES} bytes of them wait already: try again when the co-signers have taken some"
    )]
    Full,
    /// Too many of one signer wait.
    #[error(
        "{PENDING_PER_SIGNER} statements of this signer or {PENDING_PER_SIGNER_BYTES} bytes of them wait already: try again when the log has some"
    )]
    TooMany,
}

/// The statements that wait for a batch, and what co-signers said of them.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: BTreeMap<Hash, Waiting>,
    /// Receipts that a client waits for; they outlive the statement.
    watched: BTreeMap<Hash, (u32, BTreeMap<Name, ReceiptState>)>,
}

impl Pending {
    /// Takes in a statement. Says whether it is new.
    ///
    /// # Errors
    /// [`PendingError`].
    pub fn add(
        &mut self,
        envelope: Envelope,
        statement: Statement,
        now_s: u64,
    ) -> Result<bool, PendingError> {
        let id = envelope.id();
        if self.waiting.contains_key(&id) {
            return Ok(false);
        }
        // What reduces authority is never long, and finds a place whatever else fills the memory.
        let reduces = statement.body.is_reduction();
        let bytes = if reduces { 0 } else { envelope.size() };
        let more = if reduces { REDUCTIONS_PENDING_LIMIT } else { 0 };
        let (count, all) = sum(self.waiting.values(), bytes);
        if count >= PENDING_LIMIT.saturating_add(more) || (!reduces && all > PENDING_LIMIT_BYTES) {
            return Err(PendingError::Full);
        }
        let own = self.waiting.values().filter(|waiting| waiting.statement.signer == statement.signer);
        let (count, all) = sum(own, bytes);
        if !reduces && (count >= PENDING_PER_SIGNER || all > PENDING_PER_SIGNER_BYTES) {
            return Err(PendingError::TooMany);
        }
        let receipts = BTreeMap::new();
        self.waiting.insert(id, Waiting { envelope, statement, bytes, receipts, since: now_s, sent: now_s });
        Ok(true)
    }

    /// Begins to keep receipts of a statement for a client.
    pub fn watch(&mut self, id: Hash) {
        let known = self.waiting.get(&id).map(|w| w.receipts.clone()).unwrap_or_default();
        let (clients, _) = self.watched.entry(id).or_insert((0, known));
        *clients = clients.saturating_add(1);
    }

    /// The receipts so far of a statement that is watched.
    pub fn receipts(&self, id: &Hash) -> Vec<(Name, ReceiptState)> {
        let receipts = self.watched.get(id).map(|(_, receipts)| receipts);
        receipts.into_iter().flatten().map(|(name, state)| (name.clone(), state.clone())).collect()
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, id: &Hash) {
        if let Some((clients, _)) = self.watched.get_mut(id) {
            *clients = clients.saturating_sub(1);
            if *clients == 0 {
                self.watched.remove(id);
            }
        }
    }

    /// Notes what a co-signer said of a statement.
    pub fn receipt(&mut self, from: &Name, id: &Hash, state: ReceiptState) {
        if let Some((_, receipts)) = self.watched.get_mut(id) {
            receipts.insert(from.clone(), state.clone());
        }
        if let Some(waiting) = self.waiting.get_mut(id) {
            waiting.receipts.insert(from.clone(), state);
        }
    }

    /// Drops what the log has, what ended, and what all co-signers and `admits`, the own replica,
    /// refuse for longer than [`REFUSED_KEPT_S`]. Says what was dropped.
    pub fn settle(
        &mut self,
        state: &State,
        now_s: u64,
        all: &[Name],
        admits: impl Fn(&Envelope) -> bool,
    ) -> Vec<Hash> {
        let over = |id: &Hash, waiting: &Waiting| {
            let end = waiting.statement.not_after;
            state.consumed(id, end)
                || end.is_some_and(|end| end < state.clock().time)
                || (now_s >= waiting.since.saturating_add(REFUSED_KEPT_S)
                    && all.iter().all(|name| waiting.refused_by(name))
                    && !admits(&waiting.envelope))
        };
        let gone: Vec<Hash> =
            self.waiting.iter().filter(|(id, waiting)| over(id, waiting)).map(|(id, _)| *id).collect();
        for id in &gone {
            self.waiting.remove(id);
        }
        gone
    }

    /// What to send again: all that is older than [`RESEND_S`] since it was sent, and at once what a
    /// co-signer refused and `admits`, the own replica, would take now.
    pub fn again(&mut self, now_s: u64, admits: impl Fn(&Envelope) -> bool) -> Vec<Envelope> {
        let mut again = Vec::new();
        for waiting in self.waiting.values_mut() {
            let refused =
                waiting.receipts.values().any(|state| matches!(state, ReceiptState::Refused { .. }));
            let old = now_s >= waiting.sent.saturating_add(RESEND_S);
            if old || (refused && now_s > waiting.sent && admits(&waiting.envelope)) {
                waiting.sent = now_s;
                again.push(waiting.envelope.clone());
            }
        }
        again
    }

    /// Whether a statement waits.
    pub fn has(&self, id: &Hash) -> bool {
        self.waiting.contains_key(id)
    }

    /// All that wait.
    pub fn envelopes(&self) -> impl Iterator<Item = &Envelope> {
        self.waiting.values().map(|waiting| &waiting.envelope)
    }

    /// The transactions that wait to be authorised.
    pub fn proposed(&self) -> Vec<Authorise> {
        let body = |waiting: &Waiting| match &waiting.statement.body {
            Body::Authorise(authorise) => Some(authorise.clone()),
            _ => None,
        };
        self.waiting.values().filter_map(body).collect()
    }

    /// Whether some statement waits that `of` is looking for.
    pub fn any(&self, of: impl Fn(&Body) -> bool) -> bool {
        self.waiting.values().any(|waiting| of(&waiting.statement.body))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// A share on its way to its holder.
pub type ShareKey = (Hash, u32);

/// The shares that were passed on, and what their holders said. A refusal does not name the account, but
/// a holder answers in the order in which it was asked.
#[derive(Debug, Default)]
pub struct Shares {
    asked: BTreeMap<Name, VecDeque<ShareKey>>,
    answers: BTreeMap<(Name, ShareKey), Option<String>>,
}

impl Shares {
    /// Notes that a share was passed on.
    pub fn asked(&mut self, holder: &Name, key: ShareKey) {
        self.answers.remove(&(holder.clone(), key));
        self.asked.entry(holder.clone()).or_default().push_back(key);
    }

    /// Takes in an answer; other messages mean nothing here.
    pub fn answer(&mut self, holder: &Name, message: &FromCosigner) {
        let Some(asked) = self.asked.get_mut(holder) else { return };
        let (place, word) = match message {
            FromCosigner::ShareKept { ceremony, slot } => {
                (asked.iter().position(|key| *key == (*ceremony, *slot)), None)
            }
            FromCosigner::Refused { what, id, rule, why, .. } if what == "share" => {
                (asked.iter().position(|(ceremony, _)| ceremony == id), Some(format!("{rule}: {why}")))
            }
            _ => return,
        };
        // Those before it got no answer and will get none.
        if let Some(key) = place.and_then(|place| asked.drain(..=place).next_back()) {
            self.answers.insert((holder.clone(), key), word);
        }
    }

    /// The link broke: what was not answered will not be.
    pub fn disconnected(&mut self, holder: &Name) {
        self.asked.remove(holder);
    }

    /// The answer of a holder, once it is there.
    pub fn take(&mut self, holder: &Name, key: ShareKey) -> Option<Option<String>> {
        self.answers.remove(&(holder.clone(), key))
    }
}

/// Most alarms that are remembered: the newest tell most.
pub const ALARMS_LIMIT: usize = 32;

/// What went wrong lately, each thing once.
#[derive(Debug, Default)]
pub struct Alarms(VecDeque<String>);

impl Alarms {
    /// Notes something. Says whether it is new.
    pub fn raise(&mut self, what: String) -> bool {
        if self.0.contains(&what) {
            return false;
        }
        self.0.push_back(what);
        while self.0.len() > ALARMS_LIMIT {
            self.0.pop_front();
        }
        true
    }

    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// Every t-subset of `holders`, sorted: the sets that may sign together.
pub fn subsets(holders: &[Name], threshold: usize) -> Vec<Vec<Name>> {
    let sorted: Vec<&Name> = holders.iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut sets: Vec<Vec<Name>> = vec![Vec::new()];
    for name in sorted {
        let longer = sets.iter().filter(|set| set.len() < threshold).map(|set| {
            let mut set = set.clone();
            set.push(name.clone());
            set
        });
        let longer: Vec<_> = longer.collect();
        sets.extend(longer);
    }
    sets.retain(|set| set.len() == threshold);
    sets.sort();
    sets
}

#[cfg(test)]
mod tests {
    use custody::statement::{Approve, Freeze, Scope};
    use fixtures::{World, name};

    use super::*;

    fn bytes(n: usize) -> Bytes {
        vec![0; n].into()
    }

    #[test]
    fn an_outbox_drops_the_oldest_above_either_limit() {
        let mut outbox = Outbox::default();
        for n in 0..=OUTBOX_LIMIT {
            outbox.push(n.to_be_bytes().to_vec().into());
        }
        assert_eq!(outbox.len(), OUTBOX_LIMIT);
        assert_eq!(outbox.pop().unwrap()[..], 1usize.to_be_bytes());
        outbox.clear();
        assert!(outbox.is_empty());
        let quarter = OUTBOX_LIMIT_BYTES / 4;
        for _ in 0..4 {
            outbox.push(bytes(quarter));
        }
        assert_eq!(outbox.len(), 4);
        outbox.push(bytes(1));
        assert_eq!(outbox.len(), 4);
        outbox.push(bytes(quarter - 1));
        assert_eq!(outbox.len(), 5);
    }

    #[test]
    fn mail_goes_to_the_one_named_or_all_others_and_never_back() {
        let all = ["s1", "s2", "s3"].map(name);
        let to = |from: &str, to: Option<&str>| {
            let (from, to) = (name(from), to.map(name));
            addressees(&from, to.as_ref(), &all).into_iter().map(Name::to_string).collect::<Vec<_>>()
        };
        assert_eq!(to("s1", None), ["s2", "s3"]);
        assert_eq!(to("s1", Some("s3")), ["s3"]);
        assert!(to("s1", Some("s1")).is_empty());
        assert!(to("s1", Some("x")).is_empty());
    }

    fn approve(world: &mut World, target: Hash) -> Envelope {
        let decides = world.state.policy().unwrap().1;
        world.sign("alice", Body::Approve(Approve { target, decides }))
    }

    fn add(pending: &mut Pending, envelope: &Envelope, now: u64) -> Result<bool, PendingError> {
        pending.add(envelope.clone(), envelope.unverified().unwrap(), now)
    }

    fn refused() -> ReceiptState {
        ReceiptState::Refused { rule: "P5.reference".into(), why: "unknown".into() }
    }

    #[test]
    fn a_statement_waits_until_the_log_has_it() {
        let mut world = World::ready();
        let freeze = world.sign("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
        let mut pending = Pending::default();
        assert_eq!(add(&mut pending, &freeze, 0), Ok(true));
        assert_eq!(add(&mut pending, &freeze, 0), Ok(false));
        assert!(pending.settle(&world.state, 1_000, &[name("s1")], |_| false).is_empty());
        world.submit(freeze.clone()).unwrap();
        assert_eq!(pending.settle(&world.state, 0, &[], |_| true), [freeze.id()]);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_statement_ends_with_its_not_after() {
        let mut world = World::ready();
        let approve = approve(&mut world, Hash([1; 32]));
        let mut pending = Pending::default();
        add(&mut pending, &approve, 0).unwrap();
        world.tick(fixtures::DAY);
        assert!(pending.settle(&world.state, 0, &[name("s1")], |_| true).is_empty());
        world.tick(1);
        assert_eq!(pending.settle(&world.state, 0, &[name("s1")], |_| true), [approve.id()]);
    }

    #[test]
    fn what_everybody_refuses_is_dropped_after_a_while_unless_the_replica_would_take_it() {
        let mut world = World::ready();
        let approve = approve(&mut world, Hash([1; 32]));
        let all = ["s1", "s2"].map(name);
        let mut pending = Pending::default();
        add(&mut pending, &approve, 100).unwrap();
        pending.receipt(&all[0], &approve.id(), refused());
        let late = 100 + REFUSED_KEPT_S;
        assert!(pending.settle(&world.state, late, &all, |_| false).is_empty(), "one did not refuse");
        pending.receipt(&all[1], &approve.id(), refused());
        assert!(pending.settle(&world.state, late - 1, &all, |_| false).is_empty());
        assert!(pending.settle(&world.state, late, &all, |_| true).is_empty());
        assert_eq!(pending.settle(&world.state, late, &all, |_| false).len(), 1);
    }

    #[test]
    fn what_was_refused_too_early_and_what_is_old_is_sent_again() {
        let mut world = World::ready();
        let approve = approve(&mut world, Hash([1; 32]));
        let mut pending = Pending::default();
        add(&mut pending, &approve, 100).unwrap();
        assert!(pending.again(101, |_| true).is_empty());
        pending.receipt(&name("s1"), &approve.id(), refused());
        assert!(pending.again(101, |_| false).is_empty());
        assert_eq!(pending.again(101, |_| true).len(), 1);
        assert!(pending.again(101 + RESEND_S - 1, |_| false).is_empty());
        assert_eq!(pending.again(101 + RESEND_S, |_| false).len(), 1);
    }

    #[test]
    fn receipts_outlive_the_statement_while_somebody_waits_for_them() {
        let mut world = World::ready();
        let freeze = world.sign("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
        let id = freeze.id();
        let mut pending = Pending::default();
        add(&mut pending, &freeze, 0).unwrap();
        pending.receipt(&name("s1"), &id, ReceiptState::Pending);
        pending.watch(id);
        world.submit(freeze).unwrap();
        pending.settle(&world.state, 0, &[], |_| true);
        pending.receipt(&name("s2"), &id, ReceiptState::Consumed);
        let expected = [(name("s1"), ReceiptState::Pending), (name("s2"), ReceiptState::Consumed)];
        assert_eq!(pending.receipts(&id), expected);
        pending.unwatch(&id);
        assert!(pending.receipts(&id).is_empty());
    }

    #[test]
    fn pending_statements_on_both_sides_of_their_limits() {
        let mut world = World::ready();
        let one = approve(&mut world, Hash([1; 32]));
        let statement = one.unverified().unwrap();
        let waiting = |signer: Hash| Waiting {
            envelope: one.clone(),
            statement: Statement { signer, ..statement.clone() },
            bytes: 0,
            receipts: BTreeMap::new(),
            since: 0,
            sent: 0,
        };
        let id = |n: usize| Hash::sha256(&n.to_be_bytes());
        let other = approve(&mut world, Hash([2; 32]));
        // All of one signer.
        let mut pending = Pending::default();
        for n in 1..PENDING_PER_SIGNER {
            pending.waiting.insert(id(n), waiting(statement.signer));
        }
        assert_eq!(add(&mut pending, &one, 0), Ok(true));
        assert_eq!(add(&mut pending, &other, 0), Err(PendingError::TooMany));
        // All of strangers.
        let mut pending = Pending::default();
        for n in 1..PENDING_LIMIT {
            pending.waiting.insert(id(n), waiting(id(n)));
        }
        assert_eq!(add(&mut pending, &one, 0), Ok(true));
        assert_eq!(add(&mut pending, &other, 0), Err(PendingError::Full));
        // A freeze finds a place all the same, and they too have a limit.
        let freeze =
            |world: &mut World| world.sign("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
        for _ in 0..REDUCTIONS_PENDING_LIMIT {
            assert_eq!(add(&mut pending, &freeze(&mut world), 0), Ok(true));
        }
        assert_eq!(add(&mut pending, &freeze(&mut world), 0), Err(PendingError::Full));
    }

    #[test]
    fn the_bytes_of_pending_statements_on_both_sides_of_their_limits() {
        let mut world = World::ready();
        let one = approve(&mut world, Hash([1; 32]));
        let statement = one.unverified().unwrap();
        let room = one.size();
        let freeze = world.sign("alice", Body::Freeze(Freeze { scope: Scope::Everything }));
        let with = |signer: Hash, bytes: usize| {
            let statement = Statement { signer, ..statement.clone() };
            let waiting = Waiting {
                envelope: one.clone(),
                statement,
                bytes,
                receipts: BTreeMap::new(),
                since: 0,
                sent: 0,
            };
            Pending { waiting: BTreeMap::from([(Hash([9; 32]), waiting)]), watched: BTreeMap::new() }
        };
        let stranger = Hash([7; 32]);
        for (signer, limit, full) in [
            (statement.signer, PENDING_PER_SIGNER_BYTES, PendingError::TooMany),
            (stranger, PENDING_LIMIT_BYTES, PendingError::Full),
        ] {
            assert_eq!(add(&mut with(signer, limit - room), &one, 0), Ok(true));
            let mut over = with(signer, limit - room + 1);
            assert_eq!(add(&mut over, &one, 0), Err(full));
            // What reduces authority finds a place, and takes none of those of others.
            assert_eq!(add(&mut over, &freeze, 0), Ok(true));
            assert_eq!(over.waiting[&freeze.id()].bytes, 0);
        }
        // What was taken in counts.
        let mut pending = with(stranger, PENDING_LIMIT_BYTES - room);
        assert_eq!(add(&mut pending, &one, 0), Ok(true));
        assert_eq!(add(&mut pending, &approve(&mut world, Hash([2; 32])), 0), Err(PendingError::Full));
    }

    #[test]
    fn a_holder_answers_for_its_shares_in_order() {
        let (holder, ceremony) = (name("s1"), Hash([9; 32]));
        let mut shares = Shares::default();
        for slot in 0..4 {
            shares.asked(&holder, (ceremony, slot));
        }
        let refused = FromCosigner::Refused {
            what: "share".into(),
            id: ceremony,
            rule: "GEN-03.ceremony".into(),
            why: "no".into(),
            culprits: Vec::new(),
        };
        shares.answer(&holder, &refused);
        shares.answer(&holder, &FromCosigner::ShareKept { ceremony, slot: 2 });
        shares.answer(&holder, &refused);
        let word = Some("GEN-03.ceremony: no".to_owned());
        assert_eq!(shares.take(&holder, (ceremony, 0)), Some(word.clone()));
        assert_eq!(shares.take(&holder, (ceremony, 1)), None);
        assert_eq!(shares.take(&holder, (ceremony, 2)), Some(None));
        assert_eq!(shares.take(&holder, (ceremony, 3)), Some(word));
        assert_eq!(shares.take(&holder, (ceremony, 3)), None);
    }

    #[test]
    fn alarms_are_said_once_and_bounded() {
        let mut alarms = Alarms::default();
        assert!(alarms.raise("fork".into()));
        assert!(!alarms.raise("fork".into()));
        for n in 0..ALARMS_LIMIT {
            alarms.raise(n.to_string());
        }
        assert_eq!(alarms.list().len(), ALARMS_LIMIT);
        assert!(!alarms.list().contains(&"fork".to_owned()));
    }

    #[test]
    fn subsets_are_all_of_them_sorted() {
        let sets = subsets(&["s3", "s1", "s2"].map(name), 2);
        let text: Vec<String> = sets.iter().map(|s| format!("{}{}", s[0], s[1])).collect();
        assert_eq!(text, ["s1s2", "s1s3", "s2s3"]);
        assert!(subsets(&[name("s1")], 2).is_empty());
    }
}
