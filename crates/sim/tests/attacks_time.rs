//! Attacks that need more time than a test has: the production code of four co-signers in one process
//! under a simulated clock.

use custody::document::{Document, Model, Tier, Wallet};
use custody::effects::{AccountKey, Branch, Decoder as _, Sats};
use custody::genesis::Genesis;
use custody::state::{Stage, State};
use custody::statement::{Approve, Body, Envelope, Freeze, Propose, Revoke, Scope};
use custody::{Blob, Hash};
use fixtures::{Coin, World, destination, id};
use keys::seal::{SealDomain, SealPublic, seal};
use rand_core::OsRng;
use sim::deployment::{BEGIN_S, Deployment, name};
use sim::relay::{Cluster, Weather};
use wire::message::{FromCosigner, ToCosigner};

/// A deployment in simulated time: co-signers of the cluster, people of the fixtures.
struct Town {
    cluster: Cluster,
    world: World,
}

impl Town {
    fn new(delay_s: u64) -> Self {
        let mut deployment = Deployment::default();
        let cosigners = deployment.genesis.cosigners.clone();
        deployment.genesis = Genesis { cosigners, created_at: BEGIN_S, ..fixtures::delayed(delay_s) };
        let world = World::new(deployment.genesis.clone());
        let mut cluster = Cluster::new(7, deployment, false);
        assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
        Self { cluster, world }
    }

    /// The state under the newest final head of the first co-signer.
    fn state(&self) -> &State {
        self.cluster.cosigner(0).unwrap().final_state()
    }

    fn write(&mut self, who: &str, body: Body) -> Envelope {
        self.world.state = self.state().clone();
        self.world.time = self.cluster.now_s();
        self.world.sign(who, body)
    }

    /// Waits until a statement is consumed everywhere; says whether it was applied.
    fn settled(&mut self, envelope: &Envelope, for_ms: u64) -> Option<String> {
        let not_after = envelope.unverified().unwrap().not_after;
        let word = |c: &Cluster, p: usize| {
            c.cosigner(p).and_then(|c| c.final_state().outcome(&envelope.id(), not_after).map(str::to_owned))
        };
        self.cluster.run(for_ms, |c| (0..4).all(|p| word(c, p).is_some()));
        word(&self.cluster, 0)
    }

    fn say(&mut self, who: &str, body: Body) -> Hash {
        let envelope = self.write(who, body);
        self.cluster.submit(envelope.clone());
        assert_eq!(self.settled(&envelope, 10_000).as_deref(), Some("applied"));
        envelope.id()
    }

    fn approve(&mut self, who: &str, target: Hash) -> Hash {
        let decides = self.state().policy().unwrap().1;
        self.say(who, Body::Approve(Approve { target, decides }))
    }

    fn adopt(&mut self, who: &str, document: Document) -> Hash {
        let target = self.say(who, Body::Propose(Propose { document, replaces: None }));
        self.approve("alice", target);
        self.approve("bob", target);
        target
    }
}

fn everything() -> Body {
    Body::Freeze(Freeze { scope: Scope::Everything })
}

/// P17: reductions of one person that exclude each other must not stop the log for everybody.
#[test]
fn one_person_cannot_block_the_log_by_reductions_that_exclude_each_other() {
    let mut town = Town::new(0);
    let revoke = || Body::Revoke(Revoke { key: id("dave") });
    // No quorum is up while they come in, so that every co-signer holds both.
    for place in [1, 3] {
        town.cluster.kill(place, 1_000);
    }
    for _ in 0..2 {
        // Each of them is sound alone; after one of them the other has no key to be checked with.
        let revoke = town.write("dave", revoke());
        town.cluster.submit(revoke);
    }
    let freeze = town.write("alice", everything());
    town.cluster.submit(freeze.clone());
    town.cluster.run(500, |_| false);
    assert_eq!(town.settled(&freeze, 30_000).as_deref(), Some("applied"), "the log stands still");
}
