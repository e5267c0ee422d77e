//! `State::apply` of statements that take effect, against bare verification of the same signatures.

use custody::batch::Batch;
use custody::effects::Branch;
use custody::payment::Allocate;
use custody::statement::{Approve, Body, Envelope, Propose, pae};
use custody::{Hash, state::State};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use fixtures::{World, destination, key};
use sim::deployment::name;

use crate::{Failure, Runs, report};

/// Statements of each kind: under the 10,000 addresses that a wallet gives out a day.
const STATEMENTS: usize = 1_800;

/// Statements in one batch, of at most 256.
const BATCH: usize = 200;

/// One statement: who says it, and what.
type Said = (&'static str, Body);

/// Batches on top of a world, and the signatures in them.
struct Work {
    before: State,
    batches: Vec<Batch>,
    signatures: Vec<(VerifyingKey, Vec<u8>, Signature)>,
}

impl Work {
    /// Batches of what `next` says, wave by wave; every statement is to be applied.
    fn new(mut next: impl FnMut(&World, usize) -> Vec<Said>) -> Result<(Self, World), Failure> {
        let mut world = World::ready();
        let mut work = Self { before: world.state.clone(), batches: Vec::new(), signatures: Vec::new() };
        while work.signatures.len() < STATEMENTS {
            let said = next(&world, work.signatures.len());
            let mut entries: Vec<Envelope> = Vec::new();
            for (who, body) in said {
                let envelope = world.sign(who, body);
                let message = pae(&envelope.unverified()?.payload()?);
                let signature = key(who).sign(&message);
                work.signatures.push((key(who).verifying_key(), message, signature));
                entries.push(envelope);
            }
            let outcomes = world.apply(world.time, &entries);
            let rejected = outcomes.iter().filter(|o| o.rejected.is_some()).count();
            if rejected > 0 || outcomes.len() != entries.len() {
                let of = entries.len();
                return Err(format!("{rejected} of {of} statements are rejected: nothing to measure").into());
            }
            work.batches.extend(world.log.last().map(|(batch, _)| batch.clone()));
        }
        Ok((work, world))
    }

    fn measure(&self, what: &str, world: &World, runs: Runs) -> Result<(), Failure> {
        let thing = || {
            let mut state = self.before.clone();
            report::time(|| {
                for batch in &self.batches {
                    state.apply(batch, &world.decoder)?;
                }
                Ok(())
            })
        };
        let floor = || {
            report::time(|| {
                for (key, message, signature) in &self.signatures {
                    key.verify_strict(message, signature)?;
                }
                Ok(())
            })
        };
        let count = self.signatures.len();
        let (here, floor) = report::in_turns(runs.replays, thing, floor)?;
        let ceiling = count as f64 / floor.p50().as_secs_f64();
        let words = format!("strict Ed25519 verification of the same {count} signatures, one core");
        report::rate(what, count, &here, ceiling, &words);
        Ok(())
    }
}

/// Approvals of everything that was said in the last batch.
fn approve_all(world: &World, who: &'static str, targets: &[Hash]) -> Vec<Said> {
    let decides = world.state.policy().map(|(_, hash)| hash).unwrap_or_default();
    targets.iter().map(|target| (who, Body::Approve(Approve { target: *target, decides }))).collect()
}

/// A wave of things to decide, a wave of first approvals, a wave of second ones, and again.
fn decided(begin: impl Fn(&World, usize) -> Said) -> impl FnMut(&World, usize) -> Vec<Said> {
    let mut wave = 0;
    let mut targets = Vec::new();
    move |world, done| {
        wave += 1;
        match wave % 3 {
            1 => (0..BATCH).map(|i| begin(world, done + i)).collect(),
            2 => {
                let last = world.log.last().map(|(batch, _)| batch.entries.as_slice()).unwrap_or_default();
                targets = last.iter().map(Envelope::id).collect();
                approve_all(world, "alice", &targets)
            }
            _ => approve_all(world, "bob", &targets),
        }
    }
}

/// Replay of three kinds of statements.
pub(crate) fn replay(runs: Runs) -> Result<(), Failure> {
    let (work, world) = Work::new(|_, _| {
        let allocate =
            || Allocate { wallet: name("main"), client: name("acme"), branch: Branch::Receive, count: 1 };
        (0..BATCH).map(|_| ("server", Body::Allocate(allocate()))).collect()
    })?;
    work.measure("apply: allocations of one address", &world, runs)?;

    let (work, world) = Work::new(decided(|world, i| {
        let amount = 10_000 + u64::try_from(i).unwrap_or_default();
        ("carol", Body::Request(world.request(&[("acme", amount)])))
    }))?;
    work.measure("apply: requests, each approved by two", &world, runs)?;

    let (work, world) = Work::new(decided(|_, i| {
        let document = destination(&format!("d{i}"));
        ("dave", Body::Propose(Propose { document, replaces: None }))
    }))?;
    work.measure("apply: destinations, each approved by two", &world, runs)
}
