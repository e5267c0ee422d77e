//! Other anchors for a request (P22): whatever a quorum says, at most one payment of it can confirm.

use custody::anchors::{ANCESTORS_LIMIT, OtherAnchors};
use custody::document::{Document, Kind};
use custody::effects::{Branch, Decoder as _, OutPoint, Sats};
use custody::payment::{ANCHOR_DEPTH, ANCHORS_LIMIT, GAP_LIMIT, NewAnchor, Request};
use custody::rule::Rule;
use custody::state::Stage;
use custody::statement::{Body, Freeze, Scope, Veto};
use custody::{Blob, Hash};
use fixtures::{Account, Coin, DAY, Draft, World, regtest};

use crate::{asked, rejected};

/// Proposes a document and does not keep what comes of it.
fn try_anchors(world: &World, other: OtherAnchors) -> Result<Hash, fixtures::Denied> {
    world.clone().propose("bob", Document::Anchors(other))
}

/// The last version of a request, open for a day from now.
fn renewal(world: &World, request: Hash) -> Request {
    let old = world.state.requests().get(&request).unwrap().request.clone();
    Request { end: world.time + DAY, renews: Some(request), ..old }
}

/// Of all transactions ever authorised for a lineage at most one can confirm: each two of them that no
/// confirmed one excludes spend the same output.
#[track_caller]
fn at_most_one_confirms(world: &World, lineage: Hash) {
    let excluded = &world.state.lineages().get(&lineage).unwrap().excluded;
    let records = world.state.requests().iter().filter(|(_, r)| r.lineage == lineage);
    let open: Vec<Hash> =
        records.flat_map(|(_, r)| r.authorised.clone()).filter(|id| !excluded.contains(id)).collect();
    let inputs = |id: &Hash| world.state.authorisations().get(id).unwrap().transaction.inputs.clone();
    for one in &open {
        for two in &open {
            assert!(inputs(one).iter().any(|i| inputs(two).iter().any(|o| o.outpoint == i.outpoint)));
        }
    }
}

/// A request that was paid out of its coin, and never confirmed.
fn stuck() -> (World, Coin, Hash, Draft) {
    let (mut world, coin, request) = asked();
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    (world, coin, request, draft)
}

/// Spends the coins to the own wallet, behind the log's back, `depth` blocks deep.
fn sweep(world: &mut World, coins: &[Coin], depth: u32) -> Hash {
    let draft = world.draft(&[], coins, 5_000);
    let txid = world.chain.confirm(&draft.raw());
    world.chain.mine_empty(depth - 1);
    txid
}

/// `one` and `two` were paid together; `two` ended, and a bump that leaves it out confirmed.
fn outrun() -> (World, Coin, Hash, Hash, Hash) {
    let (mut world, coin, one) = asked();
    let two = world.asked(Request { end: world.time + 60, ..world.request(&[("acme", 100_000)]) });
    let both = world.draft(&[one, two], &[coin], 1_000);
    world.pay(&[one, two], &both).unwrap();
    world.tick(61);
    let bump = world.draft(&[one], &[coin], 2_000);
    world.pay(&[one], &bump).unwrap();
    let confirmed = world.chain.confirm(&bump.raw());
    world.chain.mine_empty(ANCHOR_DEPTH - 1);
    (world, coin, one, two, confirmed)
}

// ---- what it is for

#[test]
fn allow_p22_other_anchors() {
    let (mut world, coin, _, two, confirmed) = outrun();
    let fresh = world.coin(500_000);
    let renewed = world.asked(renewal(&world, two));
    world.adopt(Document::Anchors(world.other_anchors(two, &[fresh], &[confirmed])));
    assert_eq!(world.state.lineages().get(&two).unwrap().anchors, [fresh.outpoint]);
    let bound = |coin: &Coin| world.state.anchors().get(&coin.outpoint).unwrap().lineages.contains(&two);
    assert_eq!((bound(&coin), bound(&fresh)), (false, true));

    // Every further transaction spends the new one, also that of a renewal which was asked before.
    let old = world.draft(&[renewed], &[coin], 3_000);
    crate::invalid(world.pay(&[renewed], &old), Rule::Anchors);
    let charged = |world: &World| world.state.lineages().get(&two).unwrap().charged.0;
    let before = charged(&world);
    let draft = world.draft(&[renewed], &[fresh], 3_000);
    let id = world.pay(&[renewed], &draft).unwrap();
    world.state.release(&id, world.time, &world.decoder).unwrap();
    assert_eq!(charged(&world), before + 3_000, "of another anchor the whole fee is charged");
    at_most_one_confirms(&world, two);
    // And nobody else's does while it is open.
    let three = world.asked(world.request(&[("acme", 100_000)]));
    let draft = world.draft(&[three], &[fresh], 3_500);
    crate::invalid(world.pay(&[three], &draft), Rule::LeftOut);

    // What a confirmed transaction excluded stays excluded: its proof is not asked for again.
    let more = world.coin(500_000);
    world.adopt(Document::Anchors(world.other_anchors(two, &[fresh, more], &[])));
    let alone = world.draft(&[renewed], &[fresh], 4_000);
    crate::invalid(world.pay(&[renewed], &alone), Rule::Anchors);
    let all = world.draft(&[renewed], &[fresh, more], 4_000);
    world.pay(&[renewed], &all).unwrap();
    at_most_one_confirms(&world, two);
}

/// No conflict is needed where every authorised transaction spends a new anchor.
#[test]
fn allow_p22_other_anchors_that_everything_spends() {
    let (mut world, coin, request) = asked();
    let other = world.coin(500_000);
    let draft = world.draft(&[request], &[coin, other], 1_000);
    world.pay(&[request], &draft).unwrap();
    world.adopt(Document::Anchors(world.other_anchors(request, &[other], &[])));
    let bump = world.draft(&[request], &[coin], 2_000);
    crate::invalid(world.pay(&[request], &bump), Rule::Anchors);
    let bump = world.draft(&[request], &[other], 2_000);
    world.pay(&[request], &bump).unwrap();
    at_most_one_confirms(&world, request);
}

#[test]
fn other_anchors_on_both_sides_of_their_limit() {
    let (mut world, coin, request, _) = stuck();
    let mut coins = vec![coin];
    coins.extend((0..ANCHORS_LIMIT).map(|_| world.coin(10_000)));
    try_anchors(&world, world.other_anchors(request, &coins[..ANCHORS_LIMIT], &[])).unwrap();
    for bad in [&coins[..], &[], &[coin, coin]] {
        rejected(try_anchors(&world, world.other_anchors(request, bad, &[])), Rule::OtherAnchors);
    }
}

/// Two days of blocks, as many anchors as there may be, and a conflict.
#[test]
fn the_document_fits_an_envelope() {
    let (mut world, coin, request, _) = stuck();
    let header = world.chain.header(world.chain.height());
    world.adopt(Document::Header(header));
    let coins: Vec<Coin> = (0..ANCHORS_LIMIT).map(|_| world.coin(10_000)).collect();
    let spent = sweep(&mut world, &[coin], 288);
    world.adopt(Document::Anchors(world.other_anchors(request, &coins, &[spent])));
}

// ---- what is not covered

/// That something is in no chain proves nothing.
#[test]
fn deny_p22_other_anchors() {
    let (mut world, coin, request, _) = stuck();
    let fresh = world.coin(500_000);
    world.chain.mine_empty(100);
    rejected(try_anchors(&world, world.other_anchors(request, &[fresh], &[])), Rule::OtherAnchors);
    // Beside the old one it is allowed: all further transactions spend both.
    try_anchors(&world, world.other_anchors(request, &[coin, fresh], &[])).unwrap();
    // It is long over, and still may confirm: a signature does not end.
    world.tick(2 * DAY);
    rejected(try_anchors(&world, world.other_anchors(request, &[fresh], &[])), Rule::OtherAnchors);
    // A request without anchors gets its first ones from its first transaction.
    let unpaid = world.asked(world.request(&[("acme", 100_000)]));
    for lineage in [unpaid, Hash([3; 32])] {
        rejected(try_anchors(&world, world.other_anchors(lineage, &[fresh], &[])), Rule::OtherAnchors);
    }
}

/// Every transaction ever authorised counts, also one that was replaced long ago.
#[test]
fn deny_p22_other_anchors_that_leave_one_uncovered() {
    let (mut world, coin, request) = asked();
    let (a, b, fresh) = (world.coin(100_000), world.coin(100_000), world.coin(500_000));
    for (coins, fee) in [([coin, a], 1_000), ([coin, b], 2_000)] {
        let draft = world.draft(&[request], &coins, fee);
        world.pay(&[request], &draft).unwrap();
    }
    let last = world.asked(renewal(&world, request));
    let draft = world.draft(&[last], &[coin, a, b], 4_000);
    world.pay(&[last], &draft).unwrap();
    for bad in [&[a][..], &[b], &[a, fresh]] {
        rejected(try_anchors(&world, world.other_anchors(request, bad, &[])), Rule::OtherAnchors);
    }
    try_anchors(&world, world.other_anchors(request, &[a, b], &[])).unwrap();
    // A conflict covers those that it excludes and no other.
    let without_a = sweep(&mut world, &[a], 6);
    rejected(try_anchors(&world, world.other_anchors(request, &[fresh], &[without_a])), Rule::OtherAnchors);
    try_anchors(&world, world.other_anchors(request, &[b], &[without_a])).unwrap();
    let without_b = sweep(&mut world, &[b], 6);
    world.adopt(Document::Anchors(world.other_anchors(request, &[fresh], &[without_a, without_b])));
    let bump = world.draft(&[last], &[fresh], 5_000);
    world.pay(&[last], &bump).unwrap();
    at_most_one_confirms(&world, request);
}

/// What is authorised while the document waits is not covered by it.
#[test]
fn deny_p22_other_anchors_after_another_authorisation() {
    let mut world = World::ready();
    world.adopt(Document::Policy(fixtures::policy(&[fixtures::rule()], 600)));
    let (coin, a, b) = (world.coin(1_000_000), world.coin(500_000), world.coin(500_000));
    let request = world.asked(world.request(&[("acme", 400_000)]));
    let draft = world.draft(&[request], &[coin, a], 1_000);
    world.pay(&[request], &draft).unwrap();
    let proposal = world.adopt(Document::Anchors(world.other_anchors(request, &[a], &[])));
    let mut kept = world.clone();
    kept.tick(600);
    assert_eq!(kept.state.lineages().get(&request).unwrap().anchors, [a.outpoint]);
    // One person may stop it.
    let mut stopped = world.clone();
    stopped.say("dave", Body::Veto(Veto { target: proposal })).unwrap();
    stopped.tick(600);
    assert_eq!(stopped.state.lineages().get(&request).unwrap().anchors, [coin.outpoint]);

    let bump = world.draft(&[request], &[coin, b], 2_000);
    world.pay(&[request], &bump).unwrap();
    world.tick(600);
    let stage = &world.state.proposals().get(&proposal).unwrap().stage;
    assert_eq!(stage, &Stage::Void(Rule::OtherAnchors.id().into()));
    assert_eq!(world.state.lineages().get(&request).unwrap().anchors, [coin.outpoint]);
}

/// Two versions for one lineage: each names the one that it replaces.
#[test]
fn deny_p3_replaces_of_other_anchors() {
    let (mut world, coin, request, _) = stuck();
    let first = Document::Anchors(world.other_anchors(request, &[coin], &[]));
    world.adopt(first.clone());
    assert!(world.state.document(Kind::Anchors, &request.to_string()).is_some());
    let fresh = world.coin(500_000);
    let next = Document::Anchors(world.other_anchors(request, &[coin, fresh], &[]));
    let body = |replaces| Body::Propose(custody::statement::Propose { document: next.clone(), replaces });
    rejected(world.say("bob", body(None)), Rule::Replaces);
    world.say("bob", body(Some(first.hash()))).unwrap();
}

// ---- the new anchors

#[test]
fn deny_p22_other_anchors_of_another_open_request() {
    let (mut world, coin, request, _) = stuck();
    let theirs = world.coin(1_000_000);
    let other = world.asked(world.request(&[("acme", 100_000)]));
    let draft = world.draft(&[other], &[theirs], 1_000);
    world.pay(&[other], &draft).unwrap();
    let body = |world: &World| world.other_anchors(request, &[coin, theirs], &[]);
    rejected(try_anchors(&world, body(&world)), Rule::OtherAnchors);
    // A freeze does not make it less open.
    let mut frozen = world.clone();
    frozen.say("alarm", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    rejected(try_anchors(&frozen, body(&frozen)), Rule::OtherAnchors);
    // At its very end it is open, after it not.
    world.tick(DAY);
    rejected(try_anchors(&world, body(&world)), Rule::OtherAnchors);
    world.tick(1);
    try_anchors(&world, body(&world)).unwrap();
}

#[test]
fn deny_p21_anchor_proof_of_other_anchors() {
    let (mut world, coin, request, _) = stuck();
    let spent = sweep(&mut world, &[coin], 20);
    let fresh = world.coin(500_000);
    let good = world.other_anchors(request, &[fresh], &[spent]);
    try_anchors(&world, good.clone()).unwrap();
    let changes: [&dyn Fn(&mut OtherAnchors); 6] = [
        &|o| o.anchors[0].output.amount = Sats(500_001),
        &|o| o.anchors[0].output.index = 1,
        &|o| o.anchors[0].output.branch = Branch::Change,
        &|o| o.anchors[0].output.outpoint.vout = 1,
        &|o| o.anchors[0].output.outpoint.txid = Hash([5; 32]),
        &|o| o.anchors[0].proof.branch[0] = Hash([1; 32]),
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        rejected(try_anchors(&world, bad), Rule::AnchorProof);
    }
    let mut beyond = good.clone();
    beyond.anchors[0].output.index = GAP_LIMIT;
    rejected(try_anchors(&world, beyond), Rule::OtherAnchors);
    // Somebody else's output, and one of another account.
    let thief = world.decoder.address_script(&regtest::address("thief")).unwrap();
    let spare = world.decoder.own_script(&Account::new(1).key(), Branch::Receive, 0).unwrap();
    for script in [thief, spare] {
        let outpoint = world.chain.pay(script, fresh.amount);
        world.chain.mine_empty(5);
        let bad = world.other_anchors(request, &[Coin { outpoint, ..fresh }], &[spent]);
        rejected(try_anchors(&world, bad), Rule::AnchorProof);
    }
    // Not deep enough, and just so.
    let young = world.young_coin(500_000);
    world.chain.mine_empty(ANCHOR_DEPTH - 2);
    rejected(try_anchors(&world, world.other_anchors(request, &[young], &[spent])), Rule::AnchorProof);
    world.chain.mine_empty(1);
    try_anchors(&world, world.other_anchors(request, &[young], &[spent])).unwrap();
    // From below the pinned header.
    let old = world.other_anchors(request, &[young], &[spent]);
    world.adopt(Document::Header(world.chain.header(3)));
    rejected(try_anchors(&world, old), Rule::AnchorProof);
}

// ---- the conflicts

#[test]
fn allow_p22_conflict() {
    // Another request's transaction, which the log knows, though it pays the same to the same.
    let (mut world, coin, one) = asked();
    let two = world.asked(Request { end: world.time + 60, ..world.request(&[("acme", 400_000)]) });
    let both = world.draft(&[one, two], &[coin], 1_000);
    world.pay(&[one, two], &both).unwrap();
    world.tick(61);
    let bump = world.draft(&[one], &[coin], 2_000);
    world.pay(&[one], &bump).unwrap();
    let fresh = world.coin(500_000);
    let confirmed = world.chain.confirm(&bump.raw());
    world.chain.mine_empty(ANCHOR_DEPTH - 1);
    try_anchors(&world, world.other_anchors(two, &[fresh], &[confirmed])).unwrap();
    // One that the log does not know, and that pays nobody.
    let (mut world, coin, request, _) = stuck();
    let fresh = world.coin(500_000);
    let spent = sweep(&mut world, &[coin], ANCHOR_DEPTH);
    try_anchors(&world, world.other_anchors(request, &[fresh], &[spent])).unwrap();
}

/// A conflict that is in no block, or not deep enough.
#[test]
fn deny_p22_conflict() {
    let (mut world, coin, request, _) = stuck();
    let fresh = world.coin(500_000);
    let spent = sweep(&mut world, &[coin], ANCHOR_DEPTH - 1);
    let shallow = world.other_anchors(request, &[fresh], &[spent]);
    rejected(try_anchors(&world, shallow), Rule::Conflict);
    world.chain.mine_empty(1);
    let good = world.other_anchors(request, &[fresh], &[spent]);
    try_anchors(&world, good.clone()).unwrap();

    let invented = Blob(world.draft(&[], &[coin], 6_000).raw());
    let changes: [&dyn Fn(&mut OtherAnchors); 4] = [
        &|o| o.conflicts[0].transaction = invented.clone(),
        &|o| o.conflicts[0].transaction = Blob(vec![0; 60]),
        &|o| o.conflicts[0].block -= 1,
        &|o| o.conflicts[0].position = 0,
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        rejected(try_anchors(&world, bad), Rule::Conflict);
    }
    // A block of another chain: all proofs stand under the same headers.
    let mut fork = world.clone();
    let elsewhere = sweep(&mut fork, &[coin, fresh], 6);
    let mut bad = good;
    bad.conflicts = fork.other_anchors(request, &[], &[elsewhere]).conflicts;
    rejected(try_anchors(&world, bad), Rule::Conflict);
}

/// The payment itself is no conflict with the payment: that would pay the request twice.
#[test]
fn deny_p22_conflict_that_pays_the_request() {
    let (mut world, coin, request, draft) = stuck();
    let fresh = world.coin(500_000);
    // A bump, which the log knows; a cancel of it, too, is a transaction of the same request.
    let bump = world.draft(&[request], &[coin], 2_000);
    world.pay(&[request], &bump).unwrap();
    let asked = world.asked(Request { outputs: Vec::new(), ..renewal(&world, request) });
    let cancel = world.draft(&[asked], &[coin], 3_000);
    world.pay(&[asked], &cancel).unwrap();
    // The outputs of the request in a transaction that the log does not know, alone or among others.
    let unknown = Draft { lock_time: 0, ..draft.clone() };
    let split = Draft {
        outputs: vec![draft.outputs[0].clone(), (draft.outputs[1].0.clone(), Sats(7_000))],
        ..draft.clone()
    };
    for paid in [draft, bump, cancel, unknown, split] {
        let mut world = world.clone();
        let txid = world.chain.confirm(&paid.raw());
        world.chain.mine_empty(ANCHOR_DEPTH - 1);
        rejected(try_anchors(&world, world.other_anchors(request, &[fresh], &[txid])), Rule::Conflict);
        // Nor does its change become the anchor of a second payment.
        let change = Coin {
            outpoint: OutPoint { txid, vout: u32::try_from(paid.outputs.len()).unwrap() - 1 },
            amount: paid.outputs.last().unwrap().1,
            branch: Branch::Change,
            index: 0,
        };
        rejected(try_anchors(&world, world.other_anchors(request, &[change], &[])), Rule::OtherAnchors);
    }
}

/// The transaction that paid both requests of it is no conflict for either.
#[test]
fn deny_p22_conflict_that_pays_the_request_among_others() {
    let (mut world, coin, one) = asked();
    let two = world.asked(Request { end: world.time + 60, ..world.request(&[("acme", 100_000)]) });
    let both = world.draft(&[one, two], &[coin], 1_000);
    world.pay(&[one, two], &both).unwrap();
    world.tick(61);
    let bump = world.draft(&[one], &[coin], 2_000);
    world.pay(&[one], &bump).unwrap();
    let fresh = world.coin(500_000);
    let txid = world.chain.confirm(&both.raw());
    world.chain.mine_empty(ANCHOR_DEPTH - 1);
    for lineage in [one, two] {
        rejected(try_anchors(&world, world.other_anchors(lineage, &[fresh], &[txid])), Rule::Conflict);
    }
}

/// What takes no input away excludes nothing, and what spends a new anchor needs no conflict.
#[test]
fn deny_p22_conflict_that_excludes_nothing() {
    let (mut world, _, request, _) = stuck();
    let (fresh, other) = (world.coin(500_000), world.coin(500_000));
    let spent = sweep(&mut world, &[other], ANCHOR_DEPTH);
    rejected(try_anchors(&world, world.other_anchors(request, &[fresh], &[spent])), Rule::Conflict);
}

// ---- the ancestors

/// A transaction that spends a coin to the own wallet, confirmed or not, and the coin that it makes.
fn onward(world: &World, coin: Coin) -> (Blob, Coin) {
    let draft = world.draft(&[], &[coin], 100);
    let txid = world.decoder.decode(&draft.raw()).unwrap().txid;
    let amount = draft.outputs[0].1;
    (
        Blob(draft.raw()),
        Coin { outpoint: OutPoint { txid, vout: 0 }, amount, branch: Branch::Change, index: 0 },
    )
}

/// A payment that also spends the end of a chain of so many unconfirmed transactions, the chain, and the
/// coin with which it begins.
fn hanging(length: usize) -> (World, Hash, Vec<Blob>, Coin) {
    let (mut world, coin, request) = asked();
    let root = world.coin(200_000);
    let (mut chain, mut last) = (Vec::new(), root);
    for _ in 0..length {
        let (raw, next) = onward(&world, last);
        chain.push(raw);
        last = next;
    }
    let draft = world.draft(&[request], &[coin, last], 1_000);
    world.pay(&[request], &draft).unwrap();
    (world, request, chain, root)
}

/// An authorised transaction of which an ancestor can never confirm never confirms itself.
#[test]
fn allow_p22_conflict_of_an_ancestor() {
    let (mut world, request, chain, root) = hanging(3);
    let fresh = world.coin(500_000);
    let spent = sweep(&mut world, &[root], ANCHOR_DEPTH);
    let bare = world.other_anchors(request, &[fresh], &[spent]);
    rejected(try_anchors(&world, bare.clone()), Rule::Conflict);
    world.adopt(Document::Anchors(OtherAnchors { ancestors: chain, ..bare }));
    assert_eq!(world.state.lineages().get(&request).unwrap().anchors, [fresh.outpoint]);
    let bump = world.draft(&[request], &[fresh], 2_000);
    world.pay(&[request], &bump).unwrap();
    at_most_one_confirms(&world, request);
    assert!(world.state.may_confirm(&request).iter().all(|(_, a)| a.transaction.raw.0 == bump.raw()));
}

/// What leads from the authorised transaction to the conflict is whole, in order, and nothing else.
#[test]
fn deny_p22_conflict_of_an_ancestor() {
    let (mut world, request, chain, root) = hanging(3);
    let fresh = world.coin(500_000);
    let stranger = onward(&world, fresh).0;
    let spent = sweep(&mut world, &[root], ANCHOR_DEPTH);
    let good = OtherAnchors { ancestors: chain, ..world.other_anchors(request, &[fresh], &[spent]) };
    try_anchors(&world, good.clone()).unwrap();
    type Change<'a> = &'a dyn Fn(&mut Vec<Blob>);
    let changes: [Change<'_>; 7] = [
        &|chain| drop(chain.remove(0)),
        &|chain| drop(chain.remove(1)),
        &|chain| drop(chain.remove(2)),
        &|chain| chain.reverse(),
        &|chain| chain.push(stranger.clone()),
        // Another one of the same inputs: its outputs are not those that the authorised one spends.
        &|chain| *chain[2].0.last_mut().unwrap() ^= 1,
        &|chain| chain[1] = Blob(vec![0; 80]),
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad.ancestors);
        rejected(try_anchors(&world, bad), Rule::Conflict);
    }
}

/// What confirmed shares every input with itself, and takes nothing away from what spends its outputs.
#[test]
fn deny_p22_conflict_that_is_the_ancestor() {
    let (mut world, request, chain, root) = hanging(2);
    let fresh = world.coin(500_000);
    let mut twin = world.clone();
    let spent = sweep(&mut twin, &[root], ANCHOR_DEPTH);
    let sound = twin.other_anchors(request, &[fresh], &[spent]);
    try_anchors(&twin, OtherAnchors { ancestors: chain.clone(), ..sound }).unwrap();

    let first = world.chain.confirm(&chain[0].0);
    world.chain.mine_empty(ANCHOR_DEPTH - 1);
    let other = world.other_anchors(request, &[fresh], &[first]);
    for ancestors in [chain[..1].to_vec(), chain.clone(), Vec::new()] {
        rejected(try_anchors(&world, OtherAnchors { ancestors, ..other.clone() }), Rule::Conflict);
    }
    // Nor does it help to hide it behind a conflict that excludes something.
    let elsewhere = world.coin(50_000);
    let pay = world.draft(&[request], &[anchor_of(&world, request), elsewhere], 3_000);
    world.pay(&[request], &pay).unwrap();
    let swept = sweep(&mut world, &[elsewhere], ANCHOR_DEPTH);
    let other = world.other_anchors(request, &[fresh], &[swept]);
    rejected(try_anchors(&world, other.clone()), Rule::OtherAnchors);
    rejected(try_anchors(&world, OtherAnchors { ancestors: chain, ..other }), Rule::Conflict);
}

/// The coin that is the anchor of a request.
fn anchor_of(world: &World, request: Hash) -> Coin {
    let (_, paid) = world.state.may_confirm(&request)[0];
    let input = paid.transaction.inputs[0].clone();
    Coin { outpoint: input.outpoint, amount: input.amount, branch: input.branch, index: input.index }
}

#[test]
fn ancestors_on_both_sides_of_their_limit() {
    for length in [ANCESTORS_LIMIT, ANCESTORS_LIMIT + 1] {
        let (mut world, request, chain, root) = hanging(length);
        let fresh = world.coin(500_000);
        let spent = sweep(&mut world, &[root], ANCHOR_DEPTH);
        let other = world.other_anchors(request, &[fresh], &[spent]);
        let outcome = try_anchors(&world, OtherAnchors { ancestors: chain, ..other });
        if length == ANCESTORS_LIMIT {
            outcome.unwrap();
        } else {
            rejected(outcome, Rule::Conflict);
        }
    }
}

/// The first authorisation after it cannot bring anchors of its own.
#[test]
fn deny_p21_anchors_beside_the_other_ones() {
    let (mut world, _, _, two, confirmed) = outrun();
    let (fresh, more) = (world.coin(500_000), world.coin(500_000));
    let renewed = world.asked(renewal(&world, two));
    world.adopt(Document::Anchors(world.other_anchors(two, &[fresh], &[confirmed])));
    let draft = world.draft(&[renewed], &[more], 1_000);
    let mut body = world.authorise(&[renewed], &draft);
    let proof = world.chain.prove(more.outpoint.txid, 0);
    body.anchors = vec![NewAnchor { request: renewed, outpoint: more.outpoint, proof: Some(proof) }];
    crate::invalid(world.say("server", Body::Authorise(body)), Rule::Anchors);
}
