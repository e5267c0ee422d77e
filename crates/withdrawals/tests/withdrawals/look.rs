//! What is seen of a real log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custody::Hash;
use custody::document::{Destination, DestinationKind, Document, Kind};
use custody::effects::Sats;
use custody::payment::Request;
use custody::statement::{Body, Freeze, Revoke, Scope};
use fixtures::{DAY, World, name, newest};
use ledger::{Model, Owner};
use withdrawals::{
    Asking, Fate, Gone, Log, Mark, RENEWALS_LIMIT, Seen, Withdrawal, WithdrawalError, begin, payer, step,
    unfunded,
};

use crate::play::{Net, asset, request, sats, seen, world};

fn carol() -> custody::state::Owner {
    custody::state::Owner::Person(name("carol"))
}

fn begun(world: &World, id: Hash) -> Withdrawal {
    let record = world.state.requests().get(&id).unwrap();
    begin(&world.state, &world.decoder, &Asking::logged(id, record), &asset(world), world.time).unwrap().0
}

fn look(world: &World, id: Hash) -> Seen {
    seen(world, &Net::new(), &begun(world, id))
}

#[test]
fn who_pays() {
    let (wallet, north) = (name("main"), name("north"));
    let none = || Err(WithdrawalError::NoClient(wallet.clone()));
    for model in Model::ALL {
        for leaves in [true, false] {
            assert_eq!(payer(model, &wallet, Some(&north), leaves), Ok(Owner::Client(north.clone())));
        }
        let expected = match model {
            Model::One | Model::Two => [none(), Ok(Owner::Fees)],
            Model::OneP | Model::TwoP => [Ok(Owner::Own), Ok(Owner::Own)],
            Model::Three => [none(), none()],
        };
        let house = [true, false].map(|leaves| payer(model, &wallet, None, leaves));
        assert_eq!(house, expected, "{}", model.as_str());
    }
}

#[test]
fn what_begins_no_withdrawal() {
    let world = world();
    let good = request(&world, Some("north"), &[("acme", 1_000)]);
    let carol = carol();
    let attempt = |world: &World, request: &Request| {
        let id = Hash([1; 32]);
        let asking = Asking { id, request, requester: &carol, envelope: None, not_after: Some(1) };
        begin(&world.state, &world.decoder, &asking, &asset(world), 1).map(|(w, _)| w.reserved())
    };
    assert_eq!(attempt(&world, &good), Ok(sats(51_000)));
    let other = Request { renews: Some(Hash([2; 32])), ..good.clone() };
    assert_eq!(attempt(&world, &other), Err(WithdrawalError::Renews(Hash([2; 32]))));
    let other = Request { wallet: name("nowhere"), ..good.clone() };
    assert_eq!(attempt(&world, &other), Err(WithdrawalError::Unknown("wallet nowhere".into())));
    let mut other = good.clone();
    other.outputs.push(other.outputs[0].clone());
    other.outputs[0].amount = Sats::MAX;
    assert_eq!(attempt(&world, &other), Err(WithdrawalError::Amount));
    // In a pool without own assets somebody must be named.
    let pool = World::open(newest());
    let nobody = pool.request(&[("acme", 1_000)]);
    assert_eq!(attempt(&pool, &nobody), Err(WithdrawalError::NoClient(name("main"))));
}

/// Records read back; drafts and records under another name do not.
#[test]
fn records_read_back() {
    let mut world = world();
    let id = world.asked(request(&world, None, &[("acme", 1_000)]));
    let withdrawal = unfunded(begun(&world, id), "no", 5);
    let change = withdrawal.record_change(3, Some("order-7".into()), 9);
    assert_eq!((change.id.clone(), change.state.as_str(), change.expect), (id.to_string(), "unfunded", 3));
    assert_eq!((change.client.clone(), change.external_id.as_deref()), (None, Some("order-7")));
    let place = ledger::Place { position: 1, seq: 1, time: 1 };
    let mut record = ledger::Record { opened: 1, version: 4, place, change };
    assert_eq!(Withdrawal::of(&record), Ok(withdrawal));
    record.change.id = Hash([1; 32]).to_string();
    assert!(matches!(Withdrawal::of(&record), Err(WithdrawalError::Record { .. })));
    record.change.body = serde_json::json!({ "draft": true });
    assert!(matches!(Withdrawal::of(&record), Err(WithdrawalError::Record { .. })));
    let north = world.asked(request(&world, Some("north"), &[("acme", 1_000)]));
    assert_eq!(begun(&world, north).record_change(0, None, 1).client, Some(name("north")));
}

#[test]
fn approvals_and_whether_they_are_enough() {
    let mut world = world();
    let id = world.asked_as("carol", request(&world, None, &[("acme", 1_000)]), &["alice"]);
    let one = look(&world, id);
    assert_eq!((one.requests[0].approvals.len(), one.requests[0].approved), (1, false));
    world.approve("bob", id).unwrap();
    let two = look(&world, id);
    let who: Vec<_> = two.requests[0].approvals.iter().map(|(who, _)| who.as_str()).collect();
    assert_eq!((who, two.requests[0].approved), (vec!["alice", "bob"], true));
    assert_eq!((two.fate, two.requests[0].by.as_str()), (Fate::Asked, "person:carol"));
}

#[test]
fn a_freeze_stops_what_is_in_its_scope() {
    let mut world = world();
    let [north, south] =
        ["north", "south"].map(|who| request(&world, Some(who), &[("acme", 1_000)])).map(|r| world.asked(r));
    let coin = world.coin(5_000_000);
    world.pay(&[north], &world.draft(&[north], &[coin], 100)).unwrap();
    let freeze = world.say("dave", Body::Freeze(Freeze { scope: Scope::Client(name("north")) })).unwrap();
    let cancel = |despite| Request { renews: Some(north), despite, ..request(&world, Some("north"), &[]) };
    let [plain, despite] = [cancel(vec![]), cancel(vec![freeze])];
    let [plain, despite] = [plain, despite].map(|r| world.say("carol", Body::Request(r)).unwrap());
    let of_north = look(&world, north);
    let frozen = |seen: &Seen, id: &Hash| seen.asked(id).unwrap().frozen.clone().map(|f| (f.freeze, f.by));
    assert_eq!(frozen(&of_north, &north), Some((freeze, "person:dave".into())));
    assert_eq!(frozen(&of_north, &plain), Some((freeze, "person:dave".into())));
    assert_eq!(frozen(&of_north, &despite), None);
    assert_eq!(frozen(&look(&world, south), &south), None);
}

/// The log may take a statement in the last second of its time, and not after; what it consumed for nothing it
/// never takes.
#[test]
fn what_became_of_the_statement() {
    let mut world = world();
    let request = Request { end: world.time, ..request(&world, None, &[("acme", 1_000)]) };
    let envelope = world.sign("carol", Body::Request(request.clone()));
    let (id, not_after, carol) = (envelope.id(), Some(world.time + DAY), carol());
    let asking = Asking { id, request: &request, requester: &carol, envelope: None, not_after };
    let (record, _) = begin(&world.state, &world.decoder, &asking, &asset(&world), world.time).unwrap();
    let fate = |world: &World| seen(world, &Net::new(), &record).fate;
    let (mut taken, mut refused) = (world.clone(), world.clone());
    taken.submit(envelope.clone()).unwrap();
    assert_eq!(fate(&taken), Fate::Asked);
    refused.tick(1);
    let denied = refused.submit(envelope).unwrap_err();
    assert_eq!(fate(&refused), Fate::Rejected(denied.rule.id().to_owned()));
    world.tick(DAY);
    assert_eq!(fate(&world), Fate::Waiting);
    world.tick(1);
    assert_eq!(fate(&world), Fate::Late);
    // By then the log has forgotten what it consumed: that is no less over.
    refused.tick(DAY);
    assert_eq!(fate(&refused), Fate::Late);
}

/// What a revoked key signed gets into no batch, so nothing waits for it; unless the log had it before.
#[test]
fn what_a_revoked_key_signed_is_too_late() {
    let mut world = world();
    let request = request(&world, None, &[("acme", 1_000)]);
    let envelope = world.sign("carol", Body::Request(request.clone()));
    let (id, not_after, carol) = (envelope.id(), Some(world.time + DAY), carol());
    let text = Some(STANDARD.encode(envelope.bytes()));
    let asking = Asking { id, request: &request, requester: &carol, envelope: text, not_after };
    let (record, _) = begin(&world.state, &world.decoder, &asking, &asset(&world), world.time).unwrap();
    let revoke = |world: &World, whose: &str| {
        let mut world = world.clone();
        world.say(whose, Body::Revoke(Revoke { key: fixtures::id(whose) })).unwrap();
        world
    };
    let look = |world: &World| seen(world, &Net::new(), &record);
    assert_eq!(look(&world).fate, Fate::Waiting);
    assert_eq!(look(&revoke(&world, "bob")).fate, Fate::Waiting, "the key of somebody else");

    let mut revoked = revoke(&world, "carol");
    let late = look(&revoked);
    assert_eq!(late.fate, Fate::Late);
    let step = step(&record, &late).unwrap();
    assert_eq!((step.withdrawal.state.word(), step.withdrawal.reserved()), ("expired", sats(0)));
    assert!(revoked.submit(envelope.clone()).is_err(), "the log does not take it any more");

    let mut before = world;
    before.submit(envelope).unwrap();
    assert_eq!(look(&revoke(&before, "carol")).fate, Fate::Asked);
}

/// What a quorum showed to be excluded is seen without the node.
#[test]
fn other_anchors_exclude_what_was_authorised() {
    let mut world = world();
    let id = world.asked(request(&world, None, &[("acme", 100_000)]));
    let coin = world.coin(5_000_000);
    world.pay(&[id], &world.draft(&[id], &[coin], 1_000)).unwrap();
    assert_eq!(look(&world, id).paid.iter().map(|p| p.excluded).collect::<Vec<_>>(), [false]);
    let conflict = world.chain.confirm(&world.draft(&[], &[coin], 5_000).raw());
    world.chain.mine_empty(5);
    let other = world.coin(3_000_000);
    world.adopt(Document::Anchors(world.other_anchors(id, &[other], &[conflict])));
    world.pay(&[id], &world.draft(&[id], &[other], 1_000)).unwrap();
    assert_eq!(look(&world, id).paid.iter().map(|p| p.excluded).collect::<Vec<_>>(), [true, false]);
}

/// Transactions stand in the order of the log, whatever the ids of their requests.
#[test]
fn transactions_stand_in_the_order_of_the_log() {
    let mut world = world();
    let id = world.asked(request(&world, None, &[("acme", 100_000)]));
    let coin = world.coin(5_000_000);
    let renew = |world: &mut World, old| {
        let renewal = Request { renews: Some(old), ..request(world, None, &[("acme", 100_000)]) };
        world.asked(renewal)
    };
    // Two renewals of one second, the later one with the lower id.
    let (first, second) = loop {
        let first = renew(&mut world, id);
        let second = renew(&mut world, first);
        if second < first {
            break (first, second);
        }
    };
    let paid = [(first, 1_000), (second, 2_000)].map(|(request, fee)| {
        let draft = world.draft(&[request], &[coin], fee);
        world.pay(&[request], &draft).unwrap()
    });
    assert_eq!(look(&world, id).paid.iter().map(|p| p.authorisation).collect::<Vec<_>>(), paid);
}

/// What the chain says counts while the node is followed, and its depth on both sides of the limit.
#[test]
fn what_the_chain_says() {
    let mut world = world();
    let id = world.asked(request(&world, None, &[("acme", 100_000)]));
    let coin = world.coin(5_000_000);
    let first = world.pay(&[id], &world.draft(&[id], &[coin], 1_000)).unwrap();
    let second = world.pay(&[id], &world.draft(&[id], &[coin], 2_000)).unwrap();
    let record = begun(&world, id);
    let chain = |net: &Net| {
        let seen = seen(&world, net, &record);
        let paid: Vec<_> =
            seen.paid.iter().map(|p| (p.authorisation, p.confirmations, p.overtaken)).collect();
        (paid, seen.anchors_gone)
    };
    let mut net = Net::new();
    assert_eq!(chain(&net), (vec![(first, 0, false), (second, 0, false)], false));
    net.mine(&world, &first);
    net.bury(4);
    assert_eq!(chain(&net), (vec![(first, 5, false), (second, 0, false)], false));
    net.bury(1);
    // One of its own spends its anchors: the other one is excluded, and nothing is lost.
    assert_eq!(chain(&net), (vec![(first, 6, false), (second, 0, true)], false));
    net.following = false;
    assert_eq!(chain(&net), (vec![(first, 0, false), (second, 0, false)], false));
    let mut net = Net::new();
    net.mine_other(Hash([9; 32]), vec![coin.outpoint]);
    net.bury(4);
    assert_eq!(chain(&net), (vec![(first, 0, false), (second, 0, false)], false));
    net.bury(1);
    assert_eq!(chain(&net), (vec![(first, 0, true), (second, 0, true)], true));
    net.following = false;
    assert_eq!(chain(&net), (vec![(first, 0, false), (second, 0, false)], false));
}

/// The shares of a fee are those of the destinations that were asked for, also when these have changed.
#[test]
fn shares_stay_when_a_destination_changes() {
    let mut world = world();
    let two = world.asked(request(&world, Some("north"), &[("acme", 100_000), ("beta", 100_000)]));
    let one = world.asked(request(&world, Some("south"), &[("beta", 100_000)]));
    let coin = world.coin(5_000_000);
    let draft = world.draft(&[one.min(two), one.max(two)], &[coin], 1_000);
    world.pay(&[one, two], &draft).unwrap();
    let shares = |world: &World| [two, one].map(|id| look(world, id).paid[0].fee.units());
    let before = shares(&world);
    // Two thirds and one third, and what is left over to the first of both.
    assert!(before == [667, 333] || before == [666, 334], "{before:?}");
    world.adopt_as(
        "dave",
        Document::Destination(Destination::new(
            name("acme"),
            DestinationKind::Counterparty,
            // The example of BIP-173 as regtest writes it: a shorter script.
            "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
            fixtures::label("acme").commitment(),
        )),
        &["alice", "bob"],
    );
    let record = world.state.requests().get(&two).unwrap();
    let changed = world.state.document(Kind::Destination, "acme").unwrap().hash;
    assert_ne!(record.request.outputs[0].version, changed);
    assert_eq!(shares(&world), before);
}

/// Renewals without end do not fill the records, push out what people approved, or end a reservation.
#[test]
fn a_flood_of_renewals() {
    let mut world = world();
    let id = world.asked(Request { end: world.time + 60, ..request(&world, None, &[("acme", 1_000)]) });
    let renewal = |world: &World| Request { renews: Some(id), ..request(world, None, &[("acme", 1_000)]) };
    for _ in 0..RENEWALS_LIMIT {
        world.tick(1);
        let renewal = renewal(&world);
        world.say("carol", Body::Request(renewal)).unwrap();
    }
    let full = look(&world, id);
    assert_eq!((full.requests.len(), full.more), (RENEWALS_LIMIT + 1, false));
    world.tick(1);
    let last = renewal(&world);
    let last = world.asked(last);
    let over = look(&world, id);
    assert_eq!((over.requests.len(), over.more), (RENEWALS_LIMIT + 1, true));
    assert!(over.asked(&last).is_some(), "what was approved is looked at");
    assert_eq!(over.requests[0].id, id);
    world.tick(DAY);
    let later = look(&world, id);
    // The last one was asked in the last second of this day.
    assert_eq!((later.more, later.asked(&last).unwrap().gone), (false, None));
    assert!(later.requests.iter().filter(|r| r.id != last).all(|r| r.gone == Some(Gone::Ended)));
    world.tick(1);
    assert_eq!(look(&world, id).asked(&last).unwrap().gone, Some(Gone::Ended));
}

/// What makes a closed withdrawal worth another look.
#[test]
fn a_mark_changes_with_the_lineage() {
    let mut world = world();
    let mark = |world: &World, id: Hash| -> Mark {
        let log = Log::of(&world.state, &world.decoder);
        log.lineages().find(|(lineage, _)| *lineage == id).unwrap().1
    };
    let id = world.asked(request(&world, None, &[("acme", 100_000)]));
    let first = mark(&world, id);
    assert_eq!(first, Mark { requests: 1, ..Mark::default() });
    let coin = world.coin(5_000_000);
    world.pay(&[id], &world.draft(&[id], &[coin], 1_000)).unwrap();
    let second = mark(&world, id);
    assert_eq!(second, Mark { authorisations: 1, anchors: vec![coin.outpoint], ..first });
    world.tick(1);
    assert_eq!(mark(&world, id), second);
    let renewal = Request { renews: Some(id), ..request(&world, None, &[("acme", 50_000)]) };
    world.say("carol", Body::Request(renewal)).unwrap();
    assert_eq!(mark(&world, id), Mark { requests: 2, ..second });
}

/// Approved by all who must, and young: it waits for time, not for people.
#[test]
fn what_time_brings_is_waited_for() {
    let mut rule = fixtures::rule();
    rule.require.delay_s = Some(600);
    let policy = fixtures::policy_of(custody::rule_set::NEWEST, &[rule], 0);
    let mut world = world();
    world.adopt(Document::Policy(policy));
    let ask = |world: &World| request(world, Some("north"), &[("acme", 1_000)]);
    let missing = world.asked_as("carol", ask(&world.clone()), &["alice"]);
    let young = world.asked(ask(&world.clone()));
    let seen = |world: &World, id| {
        let seen = look(world, id);
        let asked = seen.requests.last().unwrap();
        (asked.approved, asked.waits_for.clone())
    };
    assert!(!seen(&world, missing).0);
    let (approved, waits) = seen(&world, young);
    assert!(approved && waits.unwrap().contains("600 s"));
    world.tick(600);
    assert_eq!(seen(&world, young), (true, None));
}
