//! Attacks that take more time than a test has: the production code of four co-signers in one process
//! under a simulated clock. The attacker is the relay, and in one test holds the keys of `s3`.

use ceremony::{Plan, hold};
use custody::document::{Document, Model, Tier, Wallet};
use custody::effects::{AccountKey, Branch, Decoder as _, Sats};
use custody::genesis::Genesis;
use custody::state::{Stage, State};
use custody::statement::{Approve, Body, Envelope, Freeze, Propose, Revoke, Scope};
use custody::{Blob, Hash};
use fixtures::{Coin, Draft, World, destination, id, key, person};
use rand_core::OsRng;
use signer::agreement::value_hash;
use signer::cosigner::{DELAY_TICK_S, FRESH_S, WAITING_LIMIT};
use signer::tendermint::Kind;
use sim::attacker::{Hand, device};
use sim::deployment::{BEGIN_S, Deployment, name, secrets};
use sim::relay::{Cluster, Weather};
use wire::message::{FromCosigner, ToCosigner};

/// A deployment in simulated time: co-signers of the cluster, people of the fixtures.
struct Town {
    cluster: Cluster,
    world: World,
    attempt: u32,
}

/// A server that brings nothing.
const SILENT: Weather = Weather { loss: 1_000, ..Weather::CALM };

impl Town {
    fn new(delay_s: u64) -> Self {
        let mut deployment = Deployment::default();
        let cosigners = deployment.genesis.cosigners.clone();
        deployment.genesis = Genesis { cosigners, created_at: BEGIN_S, ..fixtures::delayed(delay_s) };
        let world = World::new(deployment.genesis.clone());
        let mut cluster = Cluster::new(7, deployment, false);
        assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));
        Self { cluster, world, attempt: 0 }
    }

    /// The state under the newest final head of the first co-signer.
    fn state(&self) -> &State {
        self.cluster.cosigner(0).unwrap().final_state()
    }

    fn refresh(&mut self) {
        self.world.state = self.state().clone();
        self.world.time = self.cluster.now_s();
    }

    fn write(&mut self, who: &str, body: Body) -> Envelope {
        self.refresh();
        self.world.sign(who, body)
    }

    /// Waits until a statement is consumed everywhere. Says what became of it.
    fn settled(&mut self, envelope: &Envelope, for_ms: u64) -> Option<String> {
        let not_after = envelope.unverified().unwrap().not_after;
        let word = |c: &Cluster, p: usize| {
            c.cosigner(p).and_then(|c| c.final_state().outcome(&envelope.id(), not_after).map(str::to_owned))
        };
        self.cluster.run(for_ms, |c| (0..4).all(|p| word(c, p).is_some()));
        self.refresh();
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

    fn propose(&mut self, who: &str, document: Document) -> Hash {
        self.say(who, Body::Propose(Propose { document, replaces: None }))
    }

    fn adopt(&mut self, who: &str, document: Document) -> Hash {
        let target = self.propose(who, document);
        self.approve("alice", target);
        self.approve("bob", target);
        target
    }

    fn stage(&self, proposal: Hash) -> Stage {
        self.state().proposals().get(&proposal).unwrap().stage.clone()
    }

    fn order_pair(&mut self, message: impl Fn(u32) -> ToCosigner, pair: [&str; 2]) {
        self.attempt += 1;
        for who in pair {
            self.cluster.order(who, &message(self.attempt));
        }
    }

    fn sign(&mut self, authorisation: Hash) {
        let pair = ["s1", "s2"];
        let holders = pair.map(name).to_vec();
        self.cluster.said.clear();
        self.order_pair(
            |attempt| ToCosigner::Sign { authorisation, holders: holders.clone(), attempt },
            pair,
        );
    }

    /// Ceremony, shares, proofs, wallet, destination, and a payment that ends in so many seconds.
    fn authorised(&mut self, ends_in_s: u64) -> Hash {
        let genesis = self.cluster.deployment.genesis.clone();
        let plan = Plan {
            genesis: &genesis,
            cards: &[],
            first: 0,
            accounts: 1,
            held_at: BEGIN_S,
            entropy: "",
            program: Hash::default(),
        };
        let report = (genesis.rules > 1).then(|| Hash::sha256(b"no report"));
        let held = hold(&plan, report, &[device("alice"), device("bob")], &mut OsRng).unwrap();
        let ceremony = held.record.id(&genesis.hash());
        let account = held.record.slots[0].account.clone();
        self.adopt("carol", Document::Ceremony(held.record));
        for share in held.sealed.shares {
            let message = ToCosigner::Share { ceremony, slot: 0, sealed: share.sealed };
            self.cluster.order(share.holder.as_str(), &message);
        }
        self.cluster.run(100, |_| false);
        for pair in [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]] {
            let holders = pair.map(name).to_vec();
            let prove = |attempt| ToCosigner::Prove { ceremony, slot: 0, holders: holders.clone(), attempt };
            self.order_pair(prove, pair);
        }
        let proved = |c: &Cluster| {
            let slots = c.cosigner(0).unwrap().final_state().slots();
            slots.get(&(ceremony, 0)).unwrap().proved.len()
        };
        assert!(self.cluster.run(10_000, |c| proved(c) == 3));
        let wallet = Wallet::new(name("main"), ceremony, 0, Tier::Hot, Model::One);
        if self.world.state.clock().rules >= 3 {
            self.adopt("carol", fixtures::review(Model::One, self.cluster.now_s() - 60));
        }
        self.adopt("carol", Document::Wallet(wallet));
        self.adopt("dave", destination("acme"));
        let request = custody::payment::Request {
            end: self.cluster.now_s() + ends_in_s,
            ..self.world.request(&[("acme", 100_000)])
        };
        let request = self.say("carol", Body::Request(request));
        self.approve("alice", request);
        self.approve("bob", request);
        let draft = self.draft(&account, request);
        let ask = self.world.authorise(&[request], &draft);
        self.say("server", Body::Authorise(ask))
    }

    fn draft(&mut self, account: &AccountKey, request: Hash) -> Draft {
        let script = self.world.decoder.own_script(account, Branch::Receive, 0).unwrap();
        let outpoint = self.world.chain.pay(script, Sats(101_000));
        self.world.chain.mine_empty(5);
        let coin = Coin { outpoint, amount: Sats(101_000), branch: Branch::Receive, index: 0 };
        self.world.draft(&[request], &[coin], 1_000)
    }
}

fn signed(c: &Cluster) -> bool {
    c.said.iter().any(|(_, m)| matches!(m, FromCosigner::Signed { .. }))
}

/// The rules that refused to sign, as the server heard them.
fn refusals(c: &Cluster) -> Vec<String> {
    let rule = |(_, m): &(usize, FromCosigner)| match m {
        FromCosigner::Refused { what, rule, .. } if what == "sign" => Some(rule.clone()),
        _ => None,
    };
    c.said.iter().filter_map(rule).collect()
}

fn everything() -> Body {
    Body::Freeze(Freeze { scope: Scope::Everything })
}

/// P17: reductions of one person that exclude each other must not stop the log for everybody.
#[test]
fn one_person_cannot_block_the_log_by_reductions_that_exclude_each_other() {
    let mut town = Town::new(0);
    // No quorum is up while they come in, so that every co-signer holds both.
    for place in [1, 3] {
        town.cluster.kill(place, 1_000);
    }
    for _ in 0..2 {
        // Each of them is sound alone; after one of them the other has no key to be checked with.
        let revoke = town.write("dave", Body::Revoke(Revoke { key: id("dave") }));
        town.cluster.submit(revoke);
    }
    let freeze = town.write("alice", everything());
    town.cluster.submit(freeze.clone());
    town.cluster.run(500, |_| false);
    assert_eq!(town.settled(&freeze, 30_000).as_deref(), Some("applied"), "the log stands still");
}

/// P13: a server that hides a new document by stopping the log until its delay is over.
#[test]
fn no_delay_runs_out_while_the_log_is_stopped() {
    let delay_s = 2 * 3_600;
    let mut town = Town::new(delay_s);
    let wait = |town: &Town, id: Hash| matches!(town.stage(id), Stage::Waiting(_));
    let hidden = town.adopt("dave", destination("thief"));
    assert!(wait(&town, hidden));
    let before = town.state().clock();
    town.cluster.weather = SILENT;
    town.cluster.run(3 * 3_600_000, |_| false);
    assert_eq!(town.state().clock(), before, "nothing is agreed on");
    // And it goes on: nobody has seen the proposal yet, and two hours are left in which one may.
    town.cluster.weather = Weather::CALM;
    town.cluster.run(2 * DELAY_TICK_S * 1_000, |_| false);
    let after = town.state().clock();
    assert!(after.time > before.time + 3 * 3_600, "the log's time has caught up");
    assert!(after.delay - before.delay <= 600 + 2 * DELAY_TICK_S, "the delay clock has not");
    assert!(wait(&town, hidden));
    let veto = Body::Veto(custody::statement::Veto { target: hidden });
    town.say("carol", veto);
    assert_eq!(town.stage(hidden), Stage::Vetoed(name("carol")));

    // The twin: with the log running the same delay runs out in its time.
    let open = town.adopt("dave", destination("supplier"));
    let began = town.cluster.now_s();
    assert!(town.cluster.run(3 * 3_600_000, |c| {
        let proposals = c.cosigner(0).unwrap().final_state().proposals();
        proposals.get(&open).unwrap().stage == Stage::Done
    }));
    let took = town.cluster.now_s() - began;
    assert!((delay_s..=delay_s + DELAY_TICK_S + 60).contains(&took), "{took} s");
    assert!(!town.state().waits_for_time());
}

/// P14: an authorisation kept fresh by withholding the log, and a freeze that is to run out so.
#[test]
fn no_share_leaves_under_an_old_head() {
    let mut town = Town::new(0);
    let authorisation = town.authorised(600);
    town.sign(authorisation);
    assert!(town.cluster.run(5_000, signed), "the twin");

    // The log stops. The co-signers' clocks go on; the letters of signing sessions would be brought.
    town.cluster.weather = SILENT;
    town.cluster.run((FRESH_S + 5) * 1_000, |_| false);
    town.cluster.weather = Weather::CALM;
    town.cluster.kill(2, u64::MAX / 4);
    town.cluster.kill(3, u64::MAX / 4);
    town.sign(authorisation);
    town.cluster.run(20_000, |_| false);
    assert!(!signed(&town.cluster), "two co-signers are no quorum for a fresh head");
    // The order waits for one; so many of them do, and not one more.
    assert_eq!(refusals(&town.cluster), Vec::<String>::new());
    for _ in 0..WAITING_LIMIT {
        let holders = ["s1", "s2"].map(name).to_vec();
        town.order_pair(
            |attempt| ToCosigner::Sign { authorisation, holders: holders.clone(), attempt },
            ["s1", "s2"],
        );
    }
    town.cluster.run(1_000, |_| false);
    assert_eq!(refusals(&town.cluster), ["P14.fresh", "P14.fresh"]);

    // Frozen meanwhile, directly: the fresh head that comes at last brings the freeze, or stops for it.
    let freeze = town.write("alice", everything());
    town.cluster.order("s1", &ToCosigner::Submit { envelope: Blob(freeze.bytes()) });
    town.cluster.run(1_000, |_| false);
    town.cluster.kill(2, 10);
    town.cluster.kill(3, 10);
    town.cluster.run(10_000, |_| false);
    assert!(!signed(&town.cluster));
    assert!(refusals(&town.cluster).iter().any(|r| r == "P16.frozen"), "{:?}", refusals(&town.cluster));
    assert!(town.state().freezes().get(&freeze.id()).is_some());

    // A year later it is still in force: a freeze has no end.
    town.cluster.run(365 * 24 * 3_600_000, |_| false);
    town.sign(authorisation);
    town.cluster.run(10_000, |_| false);
    assert!(!signed(&town.cluster));
    assert!(town.state().freezes().get(&freeze.id()).is_some());
}

/// P14, P20: an authorisation that was kept back until its request had ended.
#[test]
fn an_authorisation_ends_with_its_request_whatever_the_log_says() {
    let mut town = Town::new(0);
    let authorisation = town.authorised(30);
    // The head is fresh enough, and its time lies before the end; the signers' own clocks do not.
    town.cluster.run(35_000, |_| false);
    assert!(town.state().clock().time <= town.state().authorisations().get(&authorisation).unwrap().end);
    town.sign(authorisation);
    town.cluster.run(2_000, |_| false);
    assert!(!signed(&town.cluster));
    assert_eq!(refusals(&town.cluster), ["P20.ended", "P20.ended"]);
}

/// P13, P14: clocks of signers that are set back. Nothing leaves under a head from what they take for the
/// future, no request lives longer by it, and the log's time does not go back.
#[test]
fn a_clock_that_is_set_back_releases_nothing() {
    let mut town = Town::new(0);
    let authorisation = town.authorised(600);
    town.sign(authorisation);
    assert!(town.cluster.run(5_000, signed), "the twin");
    let before = town.state().clock();
    town.cluster.now_ms -= 3_600_000;
    town.sign(authorisation);
    town.cluster.run(60_000, |_| false);
    assert!(!signed(&town.cluster), "an hour ahead is no more fresh than an hour old");
    assert!(town.state().clock().time >= before.time);
    // Set right again, after the request has ended by the log: the own clock shortens, and never lengthens.
    town.cluster.now_ms += 3_600_000 + 700_000;
    town.say("carol", Body::Request(town.world.request(&[("acme", 1_000)])));
    assert!(town.state().clock().time > town.state().authorisations().get(&authorisation).unwrap().end);
    town.cluster.now_ms -= 730_000;
    town.sign(authorisation);
    town.cluster.run(2_000, |_| false);
    assert!(!signed(&town.cluster));
}

/// An approval that the server kept back until it had ended, brought by a hostile proposer in a batch that
/// repeats the time of the last Tick: the log's clock stands, that of the voters does not.
#[test]
fn a_hoarded_approval_does_not_count_because_the_log_was_idle() {
    let mut town = Town::new(0);
    let hand = Hand::new("s3", secrets("s3"), town.cluster.deployment.genesis.hash());
    town.cluster.kill(2, u64::MAX / 4);
    let attempt = |town: &mut Town, idle_s: u64, who: &str| {
        while hand.turn(town.state().clock().height + 1) != 0 {
            town.propose("carol", Document::Person(person("eve")));
        }
        let target = town.propose("carol", Document::Person(person(who)));
        while hand.turn(town.state().clock().height + 1) != 0 {
            town.propose("carol", Document::Person(person("eve")));
        }
        let decides = town.state().policy().unwrap().1;
        let words = |town: &mut Town, by: &str| {
            let mut words = town.world.statement(by, Body::Approve(Approve { target, decides }));
            words.not_after = Some(town.world.time + 5);
            words.sign(&key(by)).unwrap()
        };
        town.refresh();
        let approvals = ["alice", "bob"].map(|by| words(town, by));
        let height = town.state().clock().height + 1;
        let batch = town.world.batch(town.state().clock().time, &approvals);
        town.cluster.run(idle_s * 1_000, |_| false);
        let value = Some(value_hash(&batch.bytes()));
        for to in ["s1", "s2", "w1"] {
            let votes = [Kind::Prevote, Kind::Precommit].map(|kind| hand.vote(to, height, 0, kind, value));
            for letter in [hand.proposal(to, height, 0, &batch)].into_iter().chain(votes) {
                let bytes = Blob(letter.bytes);
                town.cluster.order(to, &ToCosigner::Peer { from: name("s3"), bytes });
            }
        }
        town.cluster.run(20_000, |c| c.cosigner(0).unwrap().final_head().0 >= height);
        town.stage(target)
    };
    assert_eq!(attempt(&mut town, 1, "frank"), Stage::Done, "the twin, in time");
    assert_eq!(attempt(&mut town, 3_600, "grace"), Stage::Open, "an hour too late");
}
