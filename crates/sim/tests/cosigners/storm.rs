//! One storm: statements, payments and lost disks under bad weather, then calm, then the judgement.

use sim::deployment::COSIGNERS;
use sim::relay::{Cluster, Released, Weather};
use wire::message::{FromCosigner, ToCosigner};

use crate::judge::Replay;
use crate::town::{Base, Town};

/// Rounds of a storm; each has its own weather.
const ROUNDS: u64 = 4;

/// Parts of a round; in each of them somebody acts.
const SLICES: u64 = 5;

/// What happens in a storm besides freezes. Signing costs most: few seeds have all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub payments: bool,
    pub documents: bool,
    pub restores: bool,
}

impl Mix {
    pub(crate) fn of(seed: u64) -> Self {
        Self { payments: seed.is_multiple_of(5), documents: seed % 5 == 1, restores: seed.is_multiple_of(3) }
    }
}

/// What happened, in figures.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tally {
    /// Processes killed between two effects.
    pub kills: u64,
    /// Disks lost to an older copy.
    pub restored: u64,
    /// Documents that entered into force after their delay.
    pub entered: usize,
    /// Documents that were stopped.
    pub vetoed: usize,
    /// Signing sessions begun, counted at each holder.
    pub sessions: usize,
    /// Shares that left for an aggregator.
    pub shares: usize,
    /// Different transactions that were signed.
    pub signed: usize,
    /// How often a transaction came out under bad weather, the same one again counted again.
    pub signed_in_storms: usize,
    /// Orders to sign that were refused, of all reasons.
    pub refused: usize,
    /// Of these, the orders refused for a freeze.
    pub frozen: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.restored += other.restored;
        self.entered += other.entered;
        self.vetoed += other.vetoed;
        self.sessions += other.sessions;
        self.shares += other.shares;
        self.signed += other.signed;
        self.signed_in_storms += other.signed_in_storms;
        self.refused += other.refused;
        self.frozen += other.frozen;
    }

    /// The weather was not too fair, and not so bad that nothing happened.
    pub(crate) fn shows_something(&self, storms: u64) {
        assert!(self.kills > storms, "{self:?}");
        let storms = usize::try_from(storms).unwrap();
        assert!(self.entered > storms / 50 && self.vetoed > 0, "{self:?}");
        assert!(self.signed > storms / 4 && self.signed_in_storms > storms / 8, "{self:?}");
        assert!(self.refused > storms / 2 && self.frozen > storms / 8, "{self:?}");
    }
}

/// A storm that is over.
#[derive(Debug)]
pub(crate) struct Storm {
    pub town: Town,
    /// Its log, replayed.
    pub replay: Replay,
    signed: usize,
    signed_in_storms: usize,
    restored: u64,
}

impl Storm {
    /// Runs a storm and judges it. The liars run twice; disks are lost only where nobody lies, so that
    /// never more than f are at fault.
    pub(crate) fn run(seed: u64, mix: Mix, liars: &[usize]) -> Self {
        let base = if mix.payments { Base::funded() } else { Base::bare() };
        let town = Town::new(seed, base, liars);
        let mut storm = Unjudged { town, restored: 0, told: None };
        storm.blow(seed, mix, liars);
        let signed_in_storms = storm.town.transactions().count();
        let honest: Vec<usize> = (0..COSIGNERS.len()).filter(|p| !liars.contains(p)).collect();
        storm.calm(&honest);
        storm.read(honest[0]);
        let Unjudged { town, restored, told } = storm;
        let replay = Replay::of(base.state(), &town.cluster.record, town.freezes.clone());
        let signed = replay.judge(&town.cluster.record, &town.sessions);
        for place in &honest {
            let cosigner = town.cluster.cosigner(*place).unwrap();
            let same = replay.at(cosigner.final_head().0).expect("a height of the final log");
            assert_eq!(cosigner.final_state().hash(), same.hash(), "co-signer {place} has another state");
            // Nobody contradicts himself, not even one whose disk was old and who was told so (P12).
            let evidence = cosigner.evidence();
            let excused = !liars.is_empty() || told == Some(false);
            assert!(excused || evidence.is_empty(), "co-signer {place} has evidence: {evidence:?}");
        }
        Self { town, replay, signed, signed_in_storms, restored }
    }

    pub(crate) fn tally(&self) -> Tally {
        let record = &self.town.cluster.record;
        let refusals = self.town.refusals();
        Tally {
            kills: self.town.cluster.kills,
            restored: self.restored,
            entered: self.replay.entered,
            vetoed: self.replay.vetoed,
            sessions: record.sessions(),
            shares: record.releases.iter().filter(|r| matches!(r.what, Released::Share(_))).count(),
            signed: self.signed,
            signed_in_storms: self.signed_in_storms,
            refused: refusals.len(),
            frozen: refusals.iter().filter(|r| **r == "P16.frozen").count(),
        }
    }
}

/// A storm that is going on.
struct Unjudged {
    town: Town,
    restored: u64,
    /// Whether the co-signer that lost its disk was told so.
    told: Option<bool>,
}

impl Unjudged {
    /// The bad weather.
    fn blow(&mut self, seed: u64, mix: Mix, liars: &[usize]) {
        let (town, twins) = (&mut self.town, !liars.is_empty());
        let victim = usize::try_from(town.cluster.below(4)).unwrap();
        let copied_at = town.cluster.below(ROUNDS * SLICES - 1);
        let lost_at = copied_at + 1 + town.cluster.below(ROUNDS * SLICES - 1 - copied_at);
        let mut copy = None;
        for round in 0..ROUNDS {
            let roll = seed.wrapping_mul(31).wrapping_add(round);
            town.cluster.weather = Weather {
                loss: (roll % 300) as u32,
                repeat: (roll % 200) as u32,
                delay_ms: 5 + roll % 400,
                kill: (roll % 7 * 15) as u32,
                ..Weather::CALM
            };
            town.cluster.recut(roll % 3 == 0 || twins, twins);
            if !mix.payments {
                town.freeze();
            }
            for slice in 0..SLICES {
                if mix.payments {
                    town.act_on_payments();
                    if slice % 2 == 0 {
                        town.act_on_payments();
                    }
                } else if mix.documents && slice % 2 == 0 {
                    town.act_on_documents();
                }
                let moment = round * SLICES + slice;
                if mix.restores && !twins && moment == copied_at {
                    copy = Some(town.cluster.disk(victim));
                }
                if moment == lost_at
                    && let Some(older) = copy.take()
                {
                    let told = town.cluster.below(2) == 0;
                    town.cluster.restore(victim, older, told);
                    self.told = Some(told);
                    self.restored += 1;
                }
                town.cluster.run(300, |_| false);
            }
        }
    }

    /// An honest relay: every statement comes to everybody again, and things go on.
    fn calm(&mut self, honest: &[usize]) {
        let town = &mut self.town;
        town.cluster.weather = Weather::CALM;
        for place in 0..town.cluster.len() {
            town.cluster.kill(place, 10);
        }
        // The liar goes on lying, to everybody now: both its processes hear and answer all others.
        town.cluster.recut(false, true);
        // New statements become final; after two heights whoever found an old disk votes again (P12).
        let votes = |c: &Cluster| honest.iter().all(|p| c.cosigner(*p).is_some_and(|c| c.may_release()));
        for _ in 0..4 {
            let probe = town.probe();
            town.say("dave", probe, honest);
            if town.cluster.run(2_000, votes) {
                break;
            }
        }
        assert!(votes(&town.cluster), "a co-signer does not vote again: {:#?}", town.positions());
        let freezes = town.freezes.clone();
        let applied =
            |c: &Cluster, p: usize, id| Town::outcome(c, p, &(id, None)).as_deref() == Some("applied");
        let frozen = |c: &Cluster| honest.iter().all(|p| freezes.iter().all(|id| applied(c, *p, *id)));
        let done = town.cluster.run(60_000, frozen);
        assert!(done, "not every freeze was applied after a minute of calm: {:#?}", town.positions());
        // What waits for the delay clock enters into force.
        let waits = |c: &Cluster| {
            honest.iter().any(|p| c.cosigner(*p).is_none_or(|c| c.final_state().waits_for_time()))
        };
        assert!(town.cluster.run(60_000, |c| !waits(c)), "the delay clock stands still");
        self.pay(honest);
    }

    /// What was frozen goes on, and a payment that is allowed gets its signature.
    fn pay(&mut self, honest: &[usize]) {
        let town = &mut self.town;
        let Some(payment) = town.base.authorisation else { return };
        // What came late in the storm comes to an end: it may lift a freeze as well.
        town.cluster.run(3_000, |_| false);
        town.refresh();
        if let Some(resume) = town.resume() {
            let target = town.applied("alice", resume, honest);
            for who in ["alice", "bob"] {
                let approve = town.approval(target);
                town.applied(who, approve, honest);
            }
            assert_eq!(town.resume(), None, "frozen still");
        }
        let signers: Vec<usize> = honest.iter().copied().filter(|p| *p < 3).collect();
        let first = usize::try_from(town.cluster.below(signers.len() as u64 - 1)).unwrap();
        let pair = [signers[first], signers[first + 1]].map(|p| COSIGNERS[p]);
        // The payment of the beginning always; of those of the storm what may still be signed.
        let allowed = town.allowed();
        assert!(allowed.contains(&payment), "{payment} is not allowed any more");
        for authorisation in allowed {
            let signed = town.sign(authorisation, pair);
            assert!(signed, "{pair:?} do not sign what is allowed: {:?}", town.refusals());
        }
    }

    /// Reads the whole final log from one co-signer.
    fn read(&mut self, from: usize) {
        let town = &mut self.town;
        let mut next = town.base.state().clock().height + 1;
        let end = town.cluster.cosigner(from).unwrap().final_head().0;
        while next <= end {
            let mark = town.cluster.said.len();
            town.cluster.tell(from, &ToCosigner::Log { from: next });
            let piece = |m: &FromCosigner| match m {
                FromCosigner::Log(piece) if piece.from == next => Some(piece.batches.len() as u64),
                _ => None,
            };
            town.cluster.run(100, |c| c.said[mark..].iter().any(|(_, m)| piece(m).is_some()));
            let said = town.cluster.said[mark..].iter().find_map(|(_, m)| piece(m));
            next += said.filter(|n| *n > 0).expect("a piece of the log");
        }
    }
}
