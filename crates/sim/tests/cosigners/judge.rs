//! Judges a storm by its log alone: replays it and measures everything that left against it.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash as _;
use chain::BitcoinDecoder;
use chain::finish::verify_spend;
use custody::apply::DELAY_STEP_LIMIT_S;
use custody::batch::Batch;
use custody::effects::{Decoder as _, OutPoint};
use custody::state::{Approval, Authorisation, Stage, State};
use custody::{Blob, Hash};
use signer::cosigner::FRESH_S;
use sim::relay::{Record, Release, Released};

use crate::town::DELAY_S;

/// The final log, replayed.
#[derive(Debug)]
pub(crate) struct Replay {
    decoder: BitcoinDecoder,
    states: BTreeMap<u64, State>,
    freezes: BTreeSet<Hash>,
    /// Documents that entered into force after their delay.
    pub entered: usize,
    /// Documents that somebody stopped.
    pub vetoed: usize,
}

/// When proposals were seen to wait and to be done, on a delay clock of our own.
#[derive(Default)]
struct Delays {
    clock: u64,
    waits_since: BTreeMap<Hash, u64>,
    done: BTreeSet<Hash>,
}

impl Delays {
    /// P13: between the last approval and the entry into force lies the delay, of which no gap between two
    /// Ticks counts for more than its limit.
    fn follow(&mut self, before: &State, after: &State) {
        self.clock += (after.clock().time - before.clock().time).min(DELAY_STEP_LIMIT_S);
        for (id, proposal) in after.proposals().iter() {
            match proposal.stage {
                Stage::Waiting(_) => {
                    self.waits_since.entry(*id).or_insert(self.clock);
                }
                Stage::Done if proposal.document.kind().row().delayed && self.done.insert(*id) => {
                    let Some(since) = self.waits_since.get(id) else { panic!("{id} did not wait") };
                    assert!(self.clock >= since + DELAY_S, "{id} entered into force before its time");
                }
                _ => {}
            }
        }
    }
}

impl Replay {
    /// Replays what became final after `base`.
    ///
    /// Panics where the final log is not one that the rules allow, or a head is not that of the replayed log.
    pub(crate) fn of(base: &State, record: &Record, freezes: BTreeSet<Hash>) -> Self {
        let decoder = BitcoinDecoder::new(&base.genesis().network).unwrap();
        let mut delays = Delays::default();
        let old = base.proposals().iter().filter(|(_, p)| p.stage == Stage::Done);
        delays.done.extend(old.map(|(id, _)| *id));
        let before = delays.done.len();
        let mut states = BTreeMap::from([(base.clock().height, base.clone())]);
        let mut state = base.clone();
        for (height, batch) in record.batches.range(base.clock().height + 1..) {
            let last = state.clone();
            state.apply(&Batch::parse(&batch.0).unwrap(), &decoder).unwrap();
            assert_eq!(state.clock().height, *height, "a final batch is missing");
            delays.follow(&last, &state);
            if let Some(head) = record.heads.get(height) {
                assert_eq!(*head, state.checkpoint(), "the head of height {height} is of another log");
            }
            states.insert(*height, state.clone());
        }
        let vetoed = |s: &Stage| matches!(s, Stage::Vetoed(_));
        let vetoed = state.proposals().iter().filter(|(_, p)| vetoed(&p.stage)).count();
        Self { decoder, states, freezes, entered: delays.done.len() - before, vetoed }
    }

    /// The state after a height.
    pub(crate) fn at(&self, height: u64) -> Option<&State> {
        self.states.get(&height)
    }

    /// The state at the end.
    pub(crate) fn last(&self) -> &State {
        self.states.last_key_value().unwrap().1
    }

    /// Whether something might leave when it left, under the head and at the clock of who let it go
    /// (P14, P16, P20, P27). The error names what stood against it.
    pub(crate) fn may_leave(&self, release: &Release, authorisation: &Hash) -> Result<(), String> {
        let state = self.at(release.height).ok_or("no such final head")?;
        let time = state.clock().time;
        if time.abs_diff(release.at_s) > FRESH_S {
            return Err("P14.fresh".into());
        }
        if !state.freezes().is_empty() {
            return Err("P16.frozen".into());
        }
        let found = state.authorisations().get(authorisation).ok_or("not in the final log")?;
        for id in &found.requests {
            let request = state.requests().get(id).ok_or("no such request")?;
            if request.request.end < time.max(release.at_s) {
                return Err("P20.ended".into());
            }
            let valid = |key: &Hash| state.key(key).is_some_and(|k| k.revoked_at.is_none());
            let counts = |a: &&Approval| valid(&a.key) && a.not_after >= time.max(release.at_s);
            let approvers = request.approvals.values().filter(counts).count();
            if approvers < 2 {
                return Err("policy.approvals".into());
            }
        }
        state
            .release(authorisation, time.max(release.at_s), &self.decoder)
            .map_err(|r| r.rule.id().to_owned())?;
        // A freeze that its holder had acknowledged was in its final log by then (P16).
        let held = release.held.intersection(&self.freezes);
        match held.into_iter().find(|id| state.outcome(id, None).is_none()) {
            Some(_) => Err("a freeze was held".into()),
            None => Ok(()),
        }
    }

    /// Whether a transaction is the authorised one with valid signatures of the wallet.
    pub(crate) fn is_signed(&self, authorisation: &Authorisation, signed: &Blob) -> Result<(), String> {
        let state = self.last();
        let signed: bitcoin::Transaction =
            bitcoin::consensus::deserialize(&signed.0).map_err(|e| e.to_string())?;
        if signed.compute_txid().to_byte_array() != authorisation.txid.0 {
            return Err("another transaction".into());
        }
        let account = &state.slot_of(state.wallet(&authorisation.wallet).unwrap()).unwrap().slot.account;
        let inputs = &authorisation.transaction.inputs;
        let script = |branch, index| self.decoder.own_script(account, branch, index).unwrap();
        let spent: Vec<_> = inputs.iter().map(|i| (script(i.branch, i.index), i.amount)).collect();
        let witness = |i: &bitcoin::TxIn| i.witness.nth(0).and_then(|w| w.try_into().ok());
        let signatures = signed.input.iter().map(witness).collect::<Option<Vec<[u8; 64]>>>();
        let signatures = signatures.ok_or("an input without a signature of 64 bytes")?;
        verify_spend(&authorisation.transaction.raw.0, &spent, &signatures).map_err(|e| e.to_string())
    }

    /// Judges all that left. Returns how many different transactions were signed.
    pub(crate) fn judge(&self, record: &Record, sessions: &BTreeMap<Hash, Hash>) -> usize {
        let mut signed: BTreeMap<Hash, &Authorisation> = BTreeMap::new();
        for release in &record.releases {
            let id = match &release.what {
                Released::Share(session) => sessions.get(session).expect("a session that was ordered"),
                Released::Transaction(id, _) => id,
            };
            if let Err(why) = self.may_leave(release, id) {
                panic!("{release:?} must not have left: {why}");
            }
            if let Released::Transaction(id, transaction) = &release.what {
                let authorisation = self.last().authorisations().get(id).unwrap();
                self.is_signed(authorisation, transaction).unwrap();
                signed.insert(*id, authorisation);
            }
        }
        self.check_lineages(&signed);
        signed.len()
    }

    /// At most one transaction of a lineage can confirm: all that were signed spend one of its anchors in
    /// common (P21).
    fn check_lineages(&self, signed: &BTreeMap<Hash, &Authorisation>) {
        for (lineage, record) in self.last().lineages().iter() {
            let of = |r: &Hash| self.last().requests().get(r).is_some_and(|r| r.lineage == *lineage);
            let ours: Vec<_> = signed.values().filter(|a| a.requests.iter().any(of)).copied().collect();
            assert!(exclude_each_other(&ours, &record.anchors), "two payments of {lineage} can confirm");
        }
    }
}

/// Whether at most one of these transactions can confirm, because all spend the same anchor.
pub(crate) fn exclude_each_other(transactions: &[&Authorisation], anchors: &[OutPoint]) -> bool {
    let spends = |a: &Authorisation, anchor| a.transaction.inputs.iter().any(|i| i.outpoint == anchor);
    transactions.len() < 2 || anchors.iter().any(|anchor| transactions.iter().all(|a| spends(a, *anchor)))
}
