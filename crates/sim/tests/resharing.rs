//! Shares dealt anew by production co-signers (P4, P30): refreshed, moved to another holder when one is lost,
//! interrupted anywhere; and dealers, holders and disks that lie.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use ceremony::{Plan, hold};
use custody::document::{Document, Model, Tier, Wallet, share_context};
use custody::effects::{AccountKey, Branch, Decoder as _, Sats};
use custody::genesis::Genesis;
use custody::resharing::{Deal, Offer, Resharing, part_context};
use custody::rule::Rule;
use custody::state::{Stage, State};
use custody::statement::{Approve, Body, Envelope, Propose, STATEMENT_VERSION, Statement, key_id, pae};
use custody::{Blob, Hash};
use fixtures::{Coin, World, destination};
use keys::reshare::redeal;
use keys::seal::{SealDomain, SealPublic, open, seal};
use keys::share::{HeldShare, SharePublic, ShareSecret};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use signer::cosigner::{Disk, OFFER_SUFFIX, SHARE_SUFFIX};
use sim::attacker::{Scene, device};
use sim::deployment::{BEGIN_S, COSIGNERS, Deployment, name, secrets};
use sim::relay::{Cluster, Weather};
use wire::message::{FromCosigner, ToCosigner};

/// Accounts of the ceremony.
const ACCOUNTS: u32 = 2;

const SAME: [&str; 3] = ["s1", "s2", "s3"];
const OTHER: [&str; 3] = ["s1", "s2", "w1"];

/// Longer than any test.
const FOR_GOOD_MS: u64 = 1 << 40;

/// Histories under weather that kills processes between any two effects.
const STORMS: u64 = 24;

/// A deployment with a payment that is allowed and may be signed as often as one likes.
struct Base {
    now_ms: u64,
    disks: Vec<Disk>,
    world: World,
    ceremony: Hash,
    authorisation: Hash,
    /// What the ceremony sealed, by holder and account.
    sealed: Vec<(String, u32, Blob)>,
}

struct Yard {
    cluster: Cluster,
    world: World,
    attempt: u32,
}

fn deployment() -> Deployment {
    let mut deployment = Deployment::default();
    let cosigners = deployment.genesis.cosigners.clone();
    deployment.genesis = Genesis { cosigners, created_at: BEGIN_S, ..fixtures::newest() };
    deployment
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let disks = vec![Disk::default(); COSIGNERS.len()];
        let cluster = Cluster::on_disks(0, deployment(), &[], (BEGIN_S + 10) * 1000, &disks);
        let mut yard = Yard { cluster, world: World::new(deployment().genesis), attempt: 0 };
        let genesis = yard.cluster.deployment.genesis.clone();
        let plan = Plan {
            genesis: &genesis,
            cards: &[],
            first: 0,
            accounts: ACCOUNTS,
            held_at: BEGIN_S,
            entropy: "",
            program: Hash::default(),
        };
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let report = Some(Hash::sha256(b"no report"));
        let held = hold(&plan, report, &[device("alice"), device("bob")], &mut rng).unwrap();
        let ceremony = held.record.id(&genesis.hash());
        let account = held.record.slots[0].account.clone();
        yard.adopt("carol", Document::Ceremony(held.record));
        // The record is final everywhere before shares are handed over.
        yard.cluster.run(2_000, |_| false);
        let mut sealed = Vec::new();
        for share in held.sealed.shares {
            sealed.push((share.holder.to_string(), share.slot, share.sealed.clone()));
            let message = ToCosigner::Share { ceremony, slot: share.slot, sealed: share.sealed };
            yard.cluster.order(share.holder.as_str(), &message);
        }
        let proved = |s: &State| s.slots().iter().all(|(_, slot)| s.proved_everywhere(slot));
        assert!(
            yard.serve(60_000, proved),
            "{:?}",
            yard.cluster.said.iter().rev().take(12).collect::<Vec<_>>()
        );
        let wallet = Wallet::new(name("main"), ceremony, 0, Tier::Hot, Model::One);
        yard.adopt("carol", fixtures::review(Model::One, yard.cluster.now_s() - 60));
        yard.adopt("carol", Document::Wallet(wallet));
        yard.adopt("dave", destination("acme"));
        let authorisation = yard.authorise(&account);
        yard.cluster.run(2_000, |_| false);
        Base {
            now_ms: yard.cluster.now_ms,
            disks: (0..COSIGNERS.len()).map(|place| yard.cluster.disk(place)).collect(),
            world: yard.world,
            ceremony,
            authorisation,
            sealed,
        }
    })
}

impl Yard {
    fn new(seed: u64) -> Self {
        let base = base();
        let mut cluster = Cluster::on_disks(seed, deployment(), &[], base.now_ms, &base.disks);
        let up = |c: &Cluster| (0..c.len()).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()));
        assert!(cluster.run(30_000, up));
        let attempt = 1_000 * u32::try_from(seed % 1_000).unwrap();
        Self { cluster, world: base.world.clone(), attempt }
    }

    /// Reads the longest final log.
    fn refresh(&mut self) {
        let states = (0..self.cluster.len()).filter_map(|p| Some(self.cluster.cosigner(p)?.final_state()));
        if let Some(newest) = states.max_by_key(|s| s.clock().height) {
            self.world.state = newest.clone();
        }
        self.world.time = self.cluster.now_s();
    }

    fn submit(&mut self, who: &str, body: Body) -> Hash {
        self.refresh();
        let envelope = self.world.sign(who, body);
        let id = envelope.id();
        self.cluster.submit(envelope);
        id
    }

    /// Says something and waits until it is in the final log.
    fn say(&mut self, who: &str, body: Body) -> Hash {
        let id = self.submit(who, body);
        let end = self.cluster.now_s() + fixtures::DAY;
        let ends: Vec<u64> = (end - 60..=end).collect();
        let done = self.serve(60_000, |s| ends.iter().any(|end| s.consumed(&id, Some(*end))));
        assert!(done, "not in the log");
        id
    }

    fn adopt(&mut self, who: &str, document: Document) {
        self.refresh();
        let replaces = self.world.state.document(document.kind(), &document.subject()).map(|d| d.hash);
        let target = self.say(who, Body::Propose(Propose { document, replaces }));
        for who in ["alice", "bob"] {
            let decides = self.world.state.policy().unwrap().1;
            self.say(who, Body::Approve(Approve { target, decides }));
        }
        assert_eq!(self.world.state.proposals().get(&target).unwrap().stage, Stage::Done);
    }

    fn authorise(&mut self, account: &AccountKey) -> Hash {
        let script = self.world.decoder.own_script(account, Branch::Receive, 0).unwrap();
        let amount = Sats(250_000);
        let outpoint = self.world.chain.pay(script, amount);
        let coin = Coin { outpoint, amount, branch: Branch::Receive, index: 0 };
        self.world.chain.mine_empty(5);
        self.refresh();
        let request = self.world.request(&[("acme", 100_000)]);
        let request = self.say("dave", Body::Request(request));
        for who in ["alice", "bob"] {
            let decides = self.world.state.policy().unwrap().1;
            self.say(who, Body::Approve(Approve { target: request, decides }));
        }
        let mut draft = self.world.draft(&[request], &[coin], 1_000);
        draft.outputs.last_mut().unwrap().0 =
            self.world.decoder.own_script(account, Branch::Change, 0).unwrap();
        let authorise = self.world.authorise(&[request], &draft);
        self.say("server", Body::Authorise(authorise))
    }

    /// Runs as the server does: whoever has yet to prove something is asked, again and again.
    fn serve(&mut self, for_ms: u64, until: impl Fn(&State) -> bool) -> bool {
        let end = self.cluster.now_ms + for_ms;
        loop {
            self.refresh();
            if until(&self.world.state) {
                return true;
            }
            if self.cluster.now_ms >= end {
                return false;
            }
            let mut orders = Vec::new();
            for ((ceremony, slot), record) in self.world.state.slots().iter() {
                if record.superseded.is_some() || self.world.state.proved_everywhere(record) {
                    continue;
                }
                for pair in pairs(&record.holders) {
                    if !record.proved.contains(&pair) {
                        self.attempt += 1;
                        let attempt = self.attempt;
                        let (ceremony, slot, holders) = (*ceremony, *slot, pair);
                        orders.push(ToCosigner::Prove { ceremony, slot, holders, attempt });
                    }
                }
            }
            for order in orders {
                let ToCosigner::Prove { holders, .. } = &order else { continue };
                for holder in holders {
                    self.cluster.order(holder.as_str(), &order);
                }
            }
            let seen = self.world.state.clock().height;
            self.cluster
                .run(2_000, |c| (0..c.len()).any(|p| c.cosigner(p).is_some_and(|c| c.final_head().0 > seen)));
        }
    }

    /// Whether two holders sign the payment now.
    fn signs(&mut self, pair: [&str; 2]) -> bool {
        let authorisation = base().authorisation;
        self.attempt += 1;
        let (holders, attempt) = (pair.map(name).to_vec(), 1_000_000 + self.attempt);
        let before = self.cluster.said.len();
        for who in pair {
            let holders = holders.clone();
            self.cluster.order(who, &ToCosigner::Sign { authorisation, holders, attempt });
        }
        let signed = |m: &FromCosigner| matches!(m, FromCosigner::Signed { authorisation: a, .. } if *a == authorisation);
        self.cluster.run(8_000, |c| c.said[before..].iter().any(|(_, m)| signed(m)))
    }

    fn resharing(&mut self, nonce: u8, dealers: [&str; 2], holders: &[&str]) -> (Hash, Resharing) {
        self.refresh();
        let resharing = self.world.resharing(nonce, base().ceremony, dealers, holders);
        (resharing.id(&self.world.state.genesis_hash()), resharing)
    }

    /// The files of shares and of keys of resharings on a disk.
    fn files(&self, place: usize) -> BTreeSet<String> {
        self.cluster.disk(place).shares.into_iter().map(|(file, _)| file).collect()
    }

    /// The rules, and the blamed, of what was refused in resharings since a message.
    fn refused(&self, from: usize) -> Vec<(usize, String, Vec<String>)> {
        let of = |(place, m): &(usize, FromCosigner)| match m {
            FromCosigner::Refused { what, rule, culprits, .. } if what == "reshare" => {
                Some((*place, rule.clone(), culprits.iter().map(ToString::to_string).collect()))
            }
            _ => None,
        };
        self.cluster.said[from..].iter().filter_map(of).collect()
    }
}

fn pairs(holders: &[custody::name::Name]) -> Vec<Vec<custody::name::Name>> {
    let mut sorted = holders.to_vec();
    sorted.sort();
    let mut out = Vec::new();
    for (i, one) in sorted.iter().enumerate() {
        out.extend(sorted[i + 1..].iter().map(|other| vec![one.clone(), other.clone()]));
    }
    out
}

fn share_files(dealing: Hash) -> BTreeSet<String> {
    (0..ACCOUNTS).map(|slot| format!("{dealing}-{slot}{SHARE_SUFFIX}")).collect()
}

/// The share of a holder as the ceremony dealt it.
fn first_share(state: &State, holder: &str, slot: u32) -> HeldShare {
    let base = base();
    let (_, _, sealed) = base.sealed.iter().find(|(h, s, _)| h == holder && *s == slot).unwrap();
    let record = state.slots().get(&(base.ceremony, slot)).unwrap();
    let public = SharePublic {
        account: record.slot.account.clone(),
        threshold: 2,
        holders: record.holders.clone(),
        commitments: record.slot.commitments.clone(),
    };
    let context = share_context(&state.genesis_hash(), &base.ceremony, slot, &name(holder), 2);
    let secrets = secrets(holder);
    let plain = open(secrets.used().seal_key(), SealDomain::Share, &context, &sealed.0).unwrap();
    ShareSecret::open(&plain, &public, &name(holder)).unwrap()
}

/// A statement of a co-signer in hostile hands.
fn stated(yard: &Yard, by: &str, body: Body) -> Envelope {
    let secrets = secrets(by);
    let statement = Statement {
        genesis: yard.world.state.genesis_hash(),
        signer: key_id(&secrets.public().statement),
        version: STATEMENT_VERSION,
        nonce: Hash::of("keyward/test/stated", &yard.cluster.now_ms.to_be_bytes()),
        not_after: Some(yard.cluster.now_s() + 3_600),
        body,
    };
    let payload = statement.payload().unwrap();
    let signature = secrets.used().sign_statement(&pae(&payload)).unwrap();
    statement.enveloped(payload, signature)
}

#[test]
fn shares_are_refreshed_and_the_old_ones_are_gone() {
    let mut yard = Yard::new(1);
    let ceremony = base().ceremony;
    assert_eq!(yard.files(0), share_files(ceremony));
    let (dealing, resharing) = yard.resharing(1, ["s1", "s3"], &SAME);
    yard.adopt("carol", Document::Resharing(resharing));
    assert!(yard.serve(60_000, |s| s.is_reshared(&dealing)), "{:?}", yard.refused(0));
    yard.cluster.run(5_000, |_| false);
    for place in 0..3 {
        assert_eq!(yard.files(place), share_files(dealing), "the new shares and nothing else");
    }
    assert!(yard.files(3).is_empty());
    for pair in [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]] {
        assert!(yard.signs(pair), "{pair:?}");
    }
    // The shares of the ceremony are taken in no more, from whoever kept them.
    let before = yard.cluster.said.len();
    let (holder, slot, sealed) = base().sealed[0].clone();
    yard.cluster.order(&holder, &ToCosigner::Share { ceremony, slot, sealed });
    yard.cluster.run(1_000, |_| false);
    let refused = |m: &FromCosigner| matches!(m, FromCosigner::Refused { what, rule, .. } if what == "share" && rule == Rule::Resharing.id());
    assert!(yard.cluster.said[before..].iter().any(|(_, m)| refused(m)));
    // A start finds what it left.
    yard.cluster.kill(1, 10);
    assert!(yard.serve(30_000, |_| true));
    assert!(yard.cluster.run(30_000, |c| c.cosigner(1).is_some_and(|c| c.may_release())));
    assert!(yard.signs(["s1", "s2"]));
}

#[test]
fn another_co_signer_takes_the_place_of_a_lost_one() {
    let mut yard = Yard::new(2);
    yard.cluster.kill(2, FOR_GOOD_MS);
    let (dealing, resharing) = yard.resharing(1, ["s1", "s2"], &OTHER);
    yard.adopt("carol", Document::Resharing(resharing));
    assert!(yard.serve(60_000, |s| s.is_reshared(&dealing)), "{:?}", yard.refused(0));
    yard.cluster.run(5_000, |_| false);
    for pair in [["s1", "s2"], ["s1", "w1"], ["s2", "w1"]] {
        assert!(yard.signs(pair), "{pair:?}");
    }
    // Whoever finds the lost host, or restores its disk, has a share that goes together with no other.
    yard.cluster.restore(2, base().disks[2].clone(), true);
    yard.cluster.run(30_000, |c| c.cosigner(2).is_some_and(|c| c.final_state().is_reshared(&dealing)));
    yard.cluster.run(5_000, |_| false);
    assert!(yard.files(2).is_empty(), "an honest program erases it as soon as its log says so");
    for pair in [["s1", "s3"], ["s2", "s3"]] {
        assert!(!yard.signs(pair), "{pair:?}");
    }
    // An old disk of one that still holds shares: it has no share any more, the others sign on.
    yard.cluster.restore(0, base().disks[0].clone(), true);
    yard.cluster.run(30_000, |c| c.cosigner(0).is_some_and(|c| c.final_state().is_reshared(&dealing)));
    yard.cluster.run(5_000, |_| false);
    assert!(yard.files(0).is_empty());
    assert!(!yard.signs(["s1", "s2"]));
    assert!(yard.signs(["s2", "w1"]));
    // The two that have shares deal anew to all three.
    let (again, resharing) = yard.resharing(2, ["s2", "w1"], &OTHER);
    yard.adopt("carol", Document::Resharing(resharing));
    assert!(yard.serve(60_000, |s| s.is_reshared(&again)), "{:?}", yard.refused(0));
    yard.cluster.run(5_000, |_| false);
    for pair in [["s1", "s2"], ["s1", "w1"], ["s2", "w1"]] {
        assert!(yard.signs(pair), "{pair:?}");
    }
}

/// Processes are killed between any two effects and all messages may be lost: at any moment the payment can be signed
/// by the shares that the log names, and in the end the resharing is complete.
#[test]
fn interrupted_anywhere_one_of_the_two_signs() {
    let mut kills = 0;
    let mut midway = 0;
    for seed in 0..STORMS {
        let mut yard = Yard::new(100 + seed);
        let holders = if seed % 2 == 0 { SAME } else { OTHER };
        let (dealing, resharing) = yard.resharing(1, ["s1", "s2"], &holders);
        yard.adopt("carol", Document::Resharing(resharing));
        let mut rounds = 0;
        while !yard.world.state.is_reshared(&dealing) {
            rounds += 1;
            assert!(rounds < 40, "seed {seed}: no end of it: {:?}", yard.refused(0));
            yard.cluster.weather =
                Weather { kill: 400, loss: 100, repeat: 50, delay_ms: 200, ..Weather::CALM };
            yard.serve(1_000 + 500 * (seed % 7), |s| s.is_reshared(&dealing));
            // All of them at once, and then calm.
            yard.cluster.weather = Weather::CALM;
            if rounds % 3 == 0 {
                (0..4).for_each(|place| yard.cluster.kill(place, 10));
            }
            let up = |c: &Cluster| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()));
            assert!(yard.cluster.run(90_000, up), "seed {seed}");
            // Everybody knows the same log, then some set of the holders in use signs.
            let same = |c: &Cluster| {
                let head = |p: usize| c.cosigner(p).map(|c| c.final_head().0);
                (1..4).all(|p| head(p) == head(0))
            };
            yard.cluster.run(10_000, same);
            // The change may come between the look at the log and the order: then the next look names the new ones.
            let mut signed = false;
            for _ in 0..3 {
                yard.refresh();
                let (used, record) = yard.world.state.dealt(&base().ceremony, 0).unwrap();
                midway += usize::from(used != dealing && !yard.world.state.deals().is_empty());
                let sets = pairs(&record.holders.clone());
                signed = signed || sets.iter().any(|set| yard.signs([set[0].as_str(), set[1].as_str()]));
            }
            let heads: Vec<_> = (0..4).map(|p| yard.cluster.cosigner(p).map(|c| c.final_head().0)).collect();
            let last: Vec<_> = yard.cluster.said.iter().rev().take(8).collect();
            assert!(signed, "seed {seed}, round {rounds}: {heads:?} {last:?}");
        }
        kills += yard.cluster.kills;
        yard.cluster.run(5_000, |_| false);
        for (place, who) in COSIGNERS.iter().enumerate() {
            let left = if holders.contains(who) { share_files(dealing) } else { BTreeSet::new() };
            assert_eq!(yard.files(place), left, "seed {seed}, {who}");
        }
    }
    assert!(kills > STORMS, "only {kills} kills");
    assert!(midway > 0, "never looked at one half done");
}

#[test]
fn a_dealer_that_cheats_is_named_and_stops_nothing() {
    let mut yard = Yard::new(3);
    // s2 is in hostile hands: its process is stopped, its keys speak.
    yard.cluster.kill(1, FOR_GOOD_MS);
    let (dealing, resharing) = yard.resharing(1, ["s1", "s2"], &OTHER);
    yard.adopt("carol", Document::Resharing(resharing.clone()));
    let offer = Body::Offer(Offer { dealing, seal: Hash([9; 32]) });
    yard.cluster.submit(stated(&yard, "s2", offer));
    let offered = |s: &State| s.resharings().get(&dealing).is_some_and(|r| r.offers.len() == 3);
    assert!(yard.serve(60_000, offered));
    let offers = yard.world.state.resharings().get(&dealing).unwrap().offers.clone();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for slot in 0..ACCOUNTS {
        let share = first_share(&yard.world.state, "s2", slot);
        let fresh = redeal(&share, &resharing.dealers, &resharing.holders, &mut rng).unwrap();
        let other = redeal(&share, &resharing.dealers, &resharing.holders, &mut rng).unwrap();
        // Rightly committed to, and of one account the witness gets what is of another polynomial.
        let parts = fresh.shares.iter().zip(&other.shares).map(|((holder, right), (_, wrong))| {
            let part = if holder.as_str() == "w1" && slot == 1 { wrong } else { right };
            let context = part_context(&yard.world.state.genesis_hash(), &dealing, slot, &name("s2"), holder);
            let to = SealPublic(offers[holder].0);
            Blob(seal(&to, SealDomain::Part, &context, part.expose(), &mut rng).unwrap())
        });
        let sealed = parts.collect();
        let deal = Deal { dealing, slot, commitments: fresh.public.commitments, sealed };
        yard.cluster.submit(stated(&yard, "s2", Body::Deal(deal)));
        yard.cluster.run(10, |_| false);
    }
    let dealt = |s: &State| (0..ACCOUNTS).all(|slot| s.slots().get(&(dealing, slot)).is_some());
    assert!(yard.serve(60_000, dealt));
    assert!(!yard.serve(20_000, |s| s.is_reshared(&dealing)));
    assert!(yard.refused(0).contains(&(3, Rule::Resharing.id().to_owned(), vec!["s2".to_owned()])));
    // Nothing is lost: the old shares are there and sign.
    assert!(share_files(base().ceremony).is_subset(&yard.files(0)));
    assert!(yard.signs(["s1", "s3"]));
    // Another resharing, without it, takes the place of this one.
    let (second, resharing) = yard.resharing(2, ["s1", "s3"], &["s1", "s3", "w1"]);
    yard.adopt("carol", Document::Resharing(resharing));
    assert!(yard.serve(60_000, |s| s.is_reshared(&second)), "{:?}", yard.refused(0));
    yard.cluster.run(5_000, |_| false);
    for pair in [["s1", "s3"], ["s1", "w1"], ["s3", "w1"]] {
        assert!(yard.signs(pair), "{pair:?}");
    }
    for place in [0, 2, 3] {
        assert_eq!(yard.files(place), share_files(second), "nor is anything left of the first one");
    }
}

#[test]
fn who_lost_the_key_that_it_offered_says_so() {
    let mut yard = Yard::new(4);
    // One dealer is away, so that all keys are offered and nothing is complete.
    yard.cluster.kill(1, FOR_GOOD_MS);
    let (dealing, resharing) = yard.resharing(1, ["s1", "s2"], &["s1", "s3", "w1"]);
    yard.adopt("carol", Document::Resharing(resharing));
    let offered = |s: &State| s.resharings().get(&dealing).is_some_and(|r| r.offers.len() == 3);
    assert!(yard.serve(60_000, offered));
    yard.cluster.run(5_000, |_| false);
    assert!(yard.files(3).contains(&format!("{dealing}{OFFER_SUFFIX}")));
    // The witness comes back with an older disk, and the dealer comes back.
    let mut older = yard.cluster.disk(3);
    older.shares.clear();
    yard.cluster.restore(3, older, true);
    yard.cluster.restore(1, yard.cluster.disk(1), false);
    let dealt = |s: &State| (0..ACCOUNTS).all(|slot| s.slots().get(&(dealing, slot)).is_some());
    assert!(yard.serve(120_000, dealt), "{:?}", yard.refused(0));
    assert!(!yard.serve(20_000, |s| s.is_reshared(&dealing)));
    assert!(yard.refused(0).contains(&(3, Rule::Resharing.id().to_owned(), Vec::new())));
    assert!(yard.signs(["s1", "s2"]));
}

/// The same with real processes: one is killed with its new share on disk and unproved; and nobody says *erased*
/// before its sealing key, to which the ceremony sealed, is gone too.
#[test]
fn what_came_before_is_erased_once_the_sealing_keys_are_gone() {
    let mut scene = Scene::ready_on(fixtures::newest());
    let pays = |scene: &mut Scene, holders: [&str; 2]| {
        let payment = scene.paid(100_000);
        let signed = scene.sign(payment.authorisation, holders).unwrap();
        assert!(scene.valid(&payment.draft, &[payment.coin], &signed), "{holders:?}");
    };
    pays(&mut scene, ["s1", "s2"]);
    let resharing = scene.world.resharing(1, scene.ceremony, ["s1", "s2"], &SAME);
    let dealing = resharing.id(&scene.world.state.genesis_hash());
    let mark = scene.server.mark();
    scene.adopt("bob", Document::Resharing(resharing));
    scene.server.wait("three new shares", |v| {
        let kept = |(from, m): &(String, FromCosigner)| {
            matches!(m, FromCosigner::ShareKept { ceremony, .. } if *ceremony == dealing)
                .then(|| from.clone())
        };
        let holders: BTreeSet<String> = v.said[mark..].iter().filter_map(kept).collect();
        (holders.len() == 3).then_some(())
    });
    let files = |scene: &Scene, who: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(scene.signers.data(who).join("shares")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let old = format!("{}-0{SHARE_SUFFIX}", scene.ceremony);
    let new = format!("{dealing}-0{SHARE_SUFFIX}");
    assert_eq!(files(&scene, "s2"), [old.clone(), new.clone(), format!("{dealing}{OFFER_SUFFIX}")].into());
    pays(&mut scene, ["s1", "s2"]);
    scene.kill("s2");
    scene.start("s2", &[]);
    scene.prove(dealing, [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]]);
    assert!(scene.world.state.is_reshared(&dealing));
    for pair in [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]] {
        pays(&mut scene, pair);
    }
    for who in SAME {
        assert_eq!(files(&scene, who), [new.clone()].into(), "{who}");
    }
    let erased = |state: &State| state.resharings().get(&dealing).unwrap().erased.clone();
    assert!(erased(&scene.world.state).is_empty());
    for (count, who) in (1..).zip(SAME) {
        scene.kill(who);
        let card = scene.signers.rekey(who).unwrap();
        scene.start(who, &[]);
        scene.adopt("bob", card);
        scene.server.wait("an erasure", |v| (erased(&v.state).len() == count).then_some(()));
    }
    assert_eq!(scene.server.view(|v| erased(&v.state)), SAME.map(name).into());
    pays(&mut scene, ["s2", "s3"]);
}
