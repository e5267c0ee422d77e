//! Every crash point: whatever moments of a story the worker slept through, and wherever it died, the books
//! end the same, and as the chain has it.

use custody::Hash;
use custody::document::Document;
use custody::document::Resume;
use custody::payment::Request;
use custody::statement::{Body, Freeze, Scope};
use fixtures::{Coin, DAY, World};
use ledger::{Amount, Owner};
use withdrawals::{SETTLED_CONFIRMATIONS, Withdrawal};

use crate::play::{Luck, Net, Sqlite, Store, Worker, request, sats, world};

/// Something that happened, and all there is to see after it.
struct Moment {
    what: &'static str,
    world: World,
    net: Net,
    /// The request, if an interface took it now.
    ask: Option<(Hash, Request, u64)>,
}

/// A withdrawal from its beginning to its end.
struct Story {
    id: Hash,
    world: World,
    net: Net,
    moments: Vec<Moment>,
    /// The last state, what left to others, and what the network took.
    end: (&'static str, u64, Option<u64>),
}

const DEEP: usize = SETTLED_CONFIRMATIONS as usize - 1;

impl Story {
    /// North asks for a payment to acme by an interface. The log does not have it yet.
    fn of(
        amount: u64,
        end_s: u64,
        end: (&'static str, u64, Option<u64>),
    ) -> (Self, custody::statement::Envelope) {
        let mut world = world();
        let ask = request(&world, Some("north"), &[("acme", amount)]);
        let ask = Request { end: world.time + end_s, ..ask };
        let envelope = world.sign("carol", Body::Request(ask.clone()));
        let (id, not_after) = (envelope.id(), world.time + DAY);
        let mut story = Self { id, world, net: Net::new(), moments: Vec::new(), end };
        story.then("the interface took it");
        story.moments[0].ask = Some((id, ask, not_after));
        (story, envelope)
    }

    /// As [`Story::of`], and the log has it, approved.
    fn approved(amount: u64, end_s: u64, end: (&'static str, u64, Option<u64>)) -> Self {
        let (mut story, envelope) = Self::of(amount, end_s, end);
        story.world.submit(envelope).unwrap();
        story.then("in the log");
        story.approve(story.id);
        story.then("approved");
        story
    }

    /// As [`Story::approved`], and a transaction was authorised and sent, which spends the coin.
    fn sent(amount: u64, end: (&'static str, u64, Option<u64>)) -> (Self, Coin, Hash) {
        let mut story = Self::approved(amount, DAY, end);
        let coin = story.world.coin(5_000_000);
        let paid = story.pay(story.id, coin, 1_000);
        story.then("authorised");
        story.send(paid);
        story.then("sent");
        (story, coin, paid)
    }

    fn then(&mut self, what: &'static str) {
        let moment = Moment { what, world: self.world.clone(), net: self.net.clone(), ask: None };
        self.moments.push(moment);
    }

    fn approve(&mut self, request: Hash) {
        for who in ["alice", "bob"] {
            self.world.approve(who, request).unwrap();
        }
    }

    fn pay(&mut self, request: Hash, coin: Coin, fee: u64) -> Hash {
        let draft = self.world.draft(&[request], &[coin], fee);
        self.world.pay(&[request], &draft).unwrap()
    }

    fn send(&mut self, paid: Hash) {
        self.net.signed.insert(paid);
        self.net.mempool.insert(paid);
    }

    fn confirm(&mut self, paid: Hash) {
        assert!(self.net.mine(&self.world, &paid));
        self.then("in a block");
        self.net.bury(DEEP);
        self.then("deep");
    }

    /// Renews the request of the story, a minute later.
    fn renew(&mut self, outputs: &[(&str, u64)]) -> Hash {
        self.world.tick(60);
        let ask = Request { renews: Some(self.id), ..request(&self.world, Some("north"), outputs) };
        self.world.say("carol", Body::Request(ask)).unwrap()
    }
}

fn settled() -> Story {
    let (mut story, envelope) = Story::of(1_000_000, DAY, ("settled", 1_000_000, Some(3_000)));
    let coin = story.world.coin(5_000_000);
    story.world.submit(envelope).unwrap();
    story.then("in the log");
    story.world.approve("alice", story.id).unwrap();
    let freeze = story.world.say("dave", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    story.then("frozen, approved by one");
    story.world.adopt(Document::Resume(Resume { freezes: vec![freeze] }));
    story.world.approve("bob", story.id).unwrap();
    story.then("resumed, approved");
    let first = story.pay(story.id, coin, 1_000);
    story.then("authorised");
    story.net.signed.insert(first);
    story.then("signed");
    story.net.mempool.insert(first);
    story.then("sent");
    let bump = story.pay(story.id, coin, 3_000);
    story.send(bump);
    story.then("bumped");
    story.net.mine(&story.world, &bump);
    story.then("in a block");
    story.net.reorganise(1);
    story.then("out of it");
    story.net.bury(1);
    story.net.mine(&story.world, &bump);
    story.net.bury(DEEP - 1);
    story.then("almost deep");
    story.net.bury(1);
    story.then("deep");
    story
}

/// A renewal that pays more, with the transaction of either that confirms.
fn renewed(newer: bool) -> Story {
    let end = if newer { ("settled", 2_000_000, Some(2_000)) } else { ("settled", 1_000_000, Some(1_000)) };
    let (mut story, coin, first) = Story::sent(1_000_000, end);
    let renewal = story.renew(&[("acme", 1_500_000), ("beta", 500_000)]);
    story.then("renewed");
    story.approve(renewal);
    let second = story.pay(renewal, coin, 2_000);
    story.then("authorised anew");
    story.send(second);
    story.confirm(if newer { second } else { first });
    story
}

fn withdrawn() -> Story {
    let mut story = Story::approved(1_000_000, DAY, ("cancelled", 0, None));
    story.renew(&[]);
    story.then("withdrawn");
    story
}

fn cancelled() -> Story {
    let (mut story, coin, _) = Story::sent(1_000_000, ("cancelled", 0, Some(2_000)));
    let cancel = story.renew(&[]);
    story.approve(cancel);
    story.then("cancel approved");
    let back = story.pay(cancel, coin, 2_000);
    story.then("cancel authorised");
    story.confirm(back);
    story
}

fn expired() -> Story {
    let mut story = Story::approved(1_000_000, 60, ("expired", 0, None));
    story.world.tick(61);
    story.then("its end passed");
    story
}

/// It ended, was renewed, and paid after all.
fn revived() -> Story {
    let mut story = Story::approved(1_000_000, 60, ("settled", 800_000, Some(1_000)));
    story.world.tick(61);
    story.then("its end passed");
    let renewal = story.renew(&[("acme", 800_000)]);
    story.then("renewed");
    story.approve(renewal);
    let coin = story.world.coin(5_000_000);
    let paid = story.pay(renewal, coin, 1_000);
    story.then("authorised");
    story.confirm(paid);
    story
}

fn lapsed() -> Story {
    let mut story = Story::approved(1_000_000, DAY, ("expired", 0, None));
    story.world.upgrade(fixtures::foreign_rules());
    story.world.tick(1);
    story.then("another rule set");
    assert_eq!(story.world.state.clock().rules, 1_000);
    story
}

/// The log consumes it for nothing: it ended before the log had it.
fn rejected() -> Story {
    let (mut story, envelope) = Story::of(1_000_000, 10, ("rejected", 0, None));
    story.world.tick(11);
    story.world.submit(envelope).unwrap_err();
    story.then("rejected");
    story
}

/// It never reached the log.
fn late() -> Story {
    let (mut story, _) = Story::of(1_000_000, DAY, ("expired", 0, None));
    story.world.tick(DAY);
    story.then("its last second");
    story.world.tick(1);
    story.then("too late for the log");
    story
}

/// Its coin went elsewhere.
fn replaced() -> Story {
    let (mut story, coin, _) = Story::sent(1_000_000, ("replaced", 0, None));
    story.net.mine_other(Hash([9; 32]), vec![coin.outpoint]);
    story.net.bury(DEEP - 1);
    story.then("its coin went elsewhere");
    story.net.bury(1);
    story.then("deep");
    story
}

/// Its coin went elsewhere, and a quorum gave it another one (P22).
fn rebound() -> Story {
    let (mut story, coin, _) = Story::sent(1_000_000, ("settled", 1_000_000, Some(4_000)));
    let sweep = story.world.draft(&[], &[coin], 5_000);
    let conflict = story.world.chain.confirm(&sweep.raw());
    story.world.chain.mine_empty(SETTLED_CONFIRMATIONS);
    story.net.mine_other(conflict, vec![coin.outpoint]);
    story.net.bury(DEEP);
    story.then("its coin went elsewhere");
    let other = story.world.coin(3_000_000);
    let anchors = story.world.other_anchors(story.id, &[other], &[conflict]);
    story.world.adopt(Document::Anchors(anchors));
    story.then("bound to another");
    let paid = story.pay(story.id, other, 4_000);
    story.then("authorised again");
    story.confirm(paid);
    story
}

fn stories() -> Vec<(&'static str, Story)> {
    vec![
        ("settled", settled()),
        ("renewed, the newer one confirms", renewed(true)),
        ("renewed, the older one confirms", renewed(false)),
        ("withdrawn", withdrawn()),
        ("cancelled", cancelled()),
        ("expired", expired()),
        ("revived", revived()),
        ("lapsed", lapsed()),
        ("rejected", rejected()),
        ("late", late()),
        ("replaced", replaced()),
        ("rebound", rebound()),
    ]
}

fn deposits() -> Vec<(Owner, u64)> {
    vec![(Owner::Client(fixtures::name("north")), 4_000_000), (Owner::Own, 1_000_000)]
}

/// Plays the moments that the worker is awake for; the interface is there if the worker is.
fn play<S: Store>(
    worker: &mut Worker<S>,
    story: &Story,
    awake: impl Fn(usize) -> bool,
    luck: &mut dyn FnMut() -> Luck,
    check: &mut dyn FnMut(&Worker<S>, &Moment),
) {
    for moment in story.moments.iter().enumerate().filter(|(place, _)| awake(*place)).map(|(_, m)| m) {
        if let Some((id, ask, not_after)) = &moment.ask {
            worker.ask(&moment.world, *id, ask, *not_after);
        }
        // Whoever died is started anew.
        for _ in 0..3 {
            if worker.turn(&moment.world, &moment.net, luck) {
                break;
            }
        }
        check(worker, moment);
    }
}

/// What must be the same in the end.
fn essence(w: Withdrawal) -> Withdrawal {
    // How often it was reserved for, when, and what was told on the way.
    Withdrawal { events: Vec::new(), ended: Vec::new(), height: 0, envelope: None, not_after: None, ..w }
}

/// What holds at every moment.
fn holds(worker: &Worker<crate::play::Pure>, story: &Story, moment: &Moment) {
    let totals = worker.totals();
    let sum = |of: &dyn Fn(&ledger::Totals) -> Amount| totals.values().map(|t| of(t).units()).sum::<u128>();
    assert_eq!(sum(&|t| t.debits_posted), sum(&|t| t.credits_posted), "{}", moment.what);
    assert_eq!(sum(&|t| t.debits_pending), sum(&|t| t.credits_pending), "{}", moment.what);
    if !worker.store.records().contains_key(&story.id) {
        return;
    }
    let record = worker.record(&story.id);
    let waits = moment.world.state.requests().get(&story.id).is_none() && record.state.is_open();
    assert_eq!(record.envelope.is_some(), waits, "{}: it is sent until the log has it", moment.what);
    assert_eq!(worker.pending(&story.id), record.reserved(), "{}: the record knows its holds", moment.what);
    assert_eq!(record.holds.is_empty(), !record.state.is_open(), "{}", moment.what);
    let seen = crate::play::seen(&moment.world, &moment.net, &record);
    assert!(!record.is_breach(&seen), "{}", moment.what);
    // Until one of them is deep, what may confirm is reserved.
    for paid in seen.paid.iter().filter(|paid| !record.is_final() && withdrawals::may_confirm(paid)) {
        assert!(paid.taken() <= record.reserved(), "{}", moment.what);
    }
}

fn ends_well(worker: &Worker<crate::play::Pure>, story: &Story) {
    let (state, out, fee) = story.end;
    let record = worker.record(&story.id);
    assert_eq!((record.state.word(), record.fee), (state, fee.map(sats)));
    assert_eq!(record.envelope, None, "nothing is sent again");
    assert_eq!(worker.pending(&story.id), Amount::ZERO);
    let (out, fee) = ((out > 0).then_some(out), fee);
    assert_eq!(worker.transfer(&format!("out/{}", story.id)), out.map(sats));
    assert_eq!(worker.transfer(&format!("fee/{}", story.id)), fee.map(sats));
    let north = &worker.totals()[&record.payer()];
    let gone = out.unwrap_or(0) + fee.unwrap_or(0);
    assert_eq!(north.balance(), north.available());
    assert_eq!(north.balance().to_string(), (4_000_000 - gone).to_string());
}

/// The worker sleeps through any of the moments but the last: all subsets.
#[test]
fn whatever_it_slept_through_the_end_is_the_same() {
    for (name, story) in stories() {
        let last = story.moments.len() - 1;
        let mut first = None;
        for awake in 0..1u32 << last {
            let mut worker = Worker::pure(&story.world, &deposits());
            let is_awake = |place: usize| place == last || awake >> place & 1 == 1;
            play(&mut worker, &story, is_awake, &mut || Luck::Good, &mut |w, m| holds(w, &story, m));
            // What never reached the log is nowhere, if nobody wrote it down.
            if !worker.store.records().contains_key(&story.id) {
                assert!(["rejected", "late"].contains(&name) && awake & 1 == 0, "{name} {awake:b}");
                continue;
            }
            ends_well(&worker, &story);
            let balances: Vec<_> =
                worker.totals().iter().map(|(a, t)| (a.clone(), t.balance(), t.available())).collect();
            let end = (balances, essence(worker.record(&story.id)));
            assert_eq!(first.get_or_insert_with(|| end.clone()), &end, "{name} {awake:b}");
        }
    }
}

/// The worker dies at every single posting, before it or before it knows; or another one was as fast.
#[test]
fn wherever_it_dies_the_next_one_goes_on() {
    for (name, story) in stories() {
        let mut postings = 0;
        let mut count = || {
            postings += 1;
            Luck::Good
        };
        let mut undisturbed = Worker::pure(&story.world, &deposits());
        play(&mut undisturbed, &story, |_| true, &mut count, &mut |w, m| holds(w, &story, m));
        ends_well(&undisturbed, &story);
        assert!(postings > 0, "{name}");
        for unlucky in 0..postings {
            for luck in [Luck::DiesBefore, Luck::DiesAfter, Luck::Twice] {
                let mut now = 0;
                let mut next = || {
                    now += 1;
                    if now == unlucky + 1 { luck } else { Luck::Good }
                };
                let mut worker = Worker::pure(&story.world, &deposits());
                play(&mut worker, &story, |_| true, &mut next, &mut |w, m| holds(w, &story, m));
                assert_eq!(worker.transfers(), undisturbed.transfers(), "{name} {unlucky} {luck:?}");
                assert_eq!(worker.record(&story.id), undisturbed.record(&story.id), "{name} {unlucky}");
            }
        }
    }
}

/// The same over a database that is closed and opened between any two calls.
#[test]
fn a_database_ends_the_same() {
    for (name, story) in [("settled", settled()), ("rebound", rebound()), ("cancelled", cancelled())] {
        let mut pure = Worker::pure(&story.world, &deposits());
        play(&mut pure, &story, |_| true, &mut || Luck::Good, &mut |_, _| {});
        let mut worker = Worker { store: Sqlite::new() };
        worker.open(&story.world, &deposits());
        let lucks = [Luck::Good, Luck::DiesAfter, Luck::DiesBefore, Luck::Twice];
        let mut turn = lucks.into_iter().cycle();
        play(&mut worker, &story, |_| true, &mut || turn.next().unwrap(), &mut |_, _| {});
        assert_eq!(worker.record(&story.id), pure.record(&story.id), "{name}");
        for (account, totals) in pure.totals() {
            let kept = worker.store.with(async |books| books.account(&account).await.unwrap());
            assert_eq!(kept, totals, "{name} {account}");
        }
        worker.store.with(async |books| books.verify(&[]).await.map(drop).unwrap());
    }
}

/// The whole timeline of a withdrawal whose every moment was seen.
#[test]
fn the_timeline_tells_everything() {
    let story = settled();
    let mut worker = Worker::pure(&story.world, &deposits());
    play(&mut worker, &story, |_| true, &mut || Luck::Good, &mut |_, _| {});
    let record = worker.record(&story.id);
    let lines: Vec<String> = record
        .events
        .iter()
        .map(|e| {
            let txid = if e.txid.is_some() { " tx" } else { "" };
            let height = if e.height.is_some() { " @" } else { "" };
            format!("{} {}{height}{txid}", e.what, e.by)
        })
        .collect();
    let expected = [
        "requested person:carol",
        "held server",
        "awaiting-approval person:carol @",
        "approved person:alice @",
        "frozen person:dave @",
        "approved person:bob @",
        "delayed server @",
        "authorised server @ tx",
        "signed co-signers tx",
        "broadcast server tx",
        "bumped server @ tx",
        "confirming network tx",
        "broadcast server tx",
        "confirming network tx",
        "settled network tx",
    ];
    assert_eq!(lines, expected);
    let height = story.moments[4].world.state.clock().height;
    assert_eq!(record.events[7].height, Some(height), "the height of the batch that holds it");
}
