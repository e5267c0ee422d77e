//! Payments: requests, transactions, anchors, renewals, allocations (P19–P25).

use std::collections::BTreeSet;

use custody::document::{Destination, Document};
use custody::effects::{Branch, Decoder as _, OutPoint, Sats};
use custody::payment::{
    ALLOCATE_DAILY_LIMIT, ALLOCATE_LIMIT, ANCHOR_DEPTH, ANCHORS_LIMIT, Allocate, Authorise, GAP_LIMIT,
    INPUTS_LIMIT, LOCK_TIME_SLACK, NewAnchor, OUTPUTS_LIMIT, REQUESTS_LIMIT, Request,
};
use custody::rule::Rule;
use custody::state::State;
use custody::statement::{Body, Freeze, Revoke, Scope, VALIDITY_LIMIT_S};
use custody::{Blob, Hash};
use fixtures::{Account, Coin, DAY, Draft, World, destination, id, label, name, regtest};

use crate::{asked, invalid, refused, rejected};

/// A draft of the one request that [`asked`] makes, out of its coin, at 1,000 sat.
fn drafted() -> (World, Coin, Hash, Draft) {
    let (world, coin, request) = asked();
    let draft = world.draft(&[request], &[coin], 1_000);
    (world, coin, request, draft)
}

/// The request as it was, again.
fn again(world: &World, request: Hash) -> Request {
    Request { end: world.time + DAY, ..world.state.requests().get(&request).unwrap().request.clone() }
}

fn renewal(world: &World, request: Hash) -> Request {
    Request { renews: Some(request), ..again(world, request) }
}

fn cancel(world: &World, request: Hash) -> Request {
    Request { outputs: Vec::new(), ..renewal(world, request) }
}

fn own_script(world: &World, account: u32, branch: Branch, index: u32) -> Vec<u8> {
    world.decoder.own_script(&Account::new(account).key(), branch, index).unwrap()
}

fn foreign_script(world: &World, who: &str) -> Vec<u8> {
    world.decoder.address_script(&regtest::address(who)).unwrap()
}

// ---- P19 requests

#[test]
fn allow_p19_request() {
    let mut world = World::ready();
    let now = world.time;
    let dust = world.decoder.dust_limit(&foreign_script(&world, "acme"));
    let asks = [
        world.request(&[("acme", 100_000)]),
        world.request(&[("acme", dust.0)]),
        world.request(&vec![("acme", 1_000); OUTPUTS_LIMIT]),
        Request { end: now, ..world.request(&[("acme", 100_000)]) },
        Request { end: now + VALIDITY_LIMIT_S, ..world.request(&[("acme", 100_000)]) },
        Request { fee_max: Sats(1), ..world.request(&[("acme", 100_000)]) },
        world.request(&[("acme", Sats::MAX.0)]),
    ];
    for ask in asks {
        world.say("carol", Body::Request(ask)).unwrap();
    }
}

#[test]
fn deny_p19_request() {
    let mut world = World::ready();
    let now = world.time;
    let dust = world.decoder.dust_limit(&foreign_script(&world, "acme"));
    let plain = world.request(&[("acme", 100_000)]);
    let mut stale = plain.clone();
    stale.outputs[0].version = Hash([1; 32]);
    let asks = [
        Request { outputs: Vec::new(), ..plain.clone() },
        world.request(&[("acme", dust.0 - 1)]),
        world.request(&[("acme", 0)]),
        world.request(&vec![("acme", 1_000); OUTPUTS_LIMIT + 1]),
        Request { end: now - 1, ..plain.clone() },
        Request { end: now + VALIDITY_LIMIT_S + 1, ..plain.clone() },
        Request { fee_max: Sats(0), ..plain.clone() },
        Request { despite: vec![Hash([1; 32])], ..plain },
        world.request(&[("acme", Sats::MAX.0), ("acme", 1_000)]),
        stale,
    ];
    for ask in asks {
        rejected(world.say("carol", Body::Request(ask)), Rule::Request);
    }
}

// ---- P20 outputs, fee, end, repetition, change, inputs, shape

#[test]
fn allow_p20_outputs() {
    let (mut world, _, request, draft) = drafted();
    let id = world.pay(&[request], &draft).unwrap();
    let found = world.state.authorisations().get(&id).unwrap();
    assert_eq!(
        (found.fee, found.end),
        (Sats(1_000), world.state.requests().get(&request).unwrap().request.end)
    );
    world.state.release(&id, world.time, &world.decoder).unwrap();
    // The order of outputs means nothing.
    let (mut world, _, request, mut draft) = drafted();
    draft.outputs.reverse();
    world.pay(&[request], &draft).unwrap();
}

#[test]
fn deny_p20_outputs() {
    let (mut world, coin, request, draft) = drafted();
    let thief = foreign_script(&world, "thief");
    let changes: [&dyn Fn(&mut Draft); 7] = [
        &|d| d.outputs[0].0 = thief.clone(),
        &|d| d.outputs[0].1 = Sats(400_001),
        &|d| d.outputs[0].1 = Sats(399_999),
        &|d| d.outputs[1].0 = thief.clone(),
        &|d| d.outputs.push((thief.clone(), Sats(1_000))),
        &|d| {
            let twice = d.outputs[0].clone();
            d.outputs.push(twice);
            d.outputs[1].1 = Sats(100_000);
        },
        &|d| drop(d.outputs.remove(0)),
    ];
    for change in changes {
        let mut bad = draft.clone();
        change(&mut bad);
        invalid(world.pay(&[request], &bad), Rule::Outputs);
    }
    // Change to an own address that the proposer does not name.
    let unnamed = Draft { change: None, ..draft.clone() };
    invalid(world.pay(&[request], &unnamed), Rule::Outputs);
    let misnamed = Draft { change: Some(1), ..draft.clone() };
    invalid(world.pay(&[request], &misnamed), Rule::Outputs);
    // Its outputs under the id of another request.
    let other = world.asked(world.request(&[("acme", 300_000)]));
    invalid(world.pay(&[other], &draft), Rule::Outputs);
    let both = world.draft(&[request, other], &[coin], 1_000);
    invalid(world.pay(&[request], &both), Rule::Outputs);
    world.pay(&[request], &draft).unwrap();
}

/// A destination that changes its address or its label after the approval is another one.
#[test]
fn deny_p20_outputs_after_the_destination_changed() {
    let (mut world, _, request, draft) = drafted();
    let relabelled = |label_of: &str, address: &str| {
        let Document::Destination(acme) = destination("acme") else { unreachable!() };
        let (label, address) = (label(label_of).commitment(), regtest::address(address));
        Document::Destination(Destination { label, address, ..acme })
    };
    for document in [relabelled("charity", "acme"), relabelled("acme", "thief")] {
        let mut world = world.clone();
        world.adopt_as("dave", document, &["alice", "bob"]);
        invalid(world.pay(&[request], &draft), Rule::Outputs);
    }
    // Authorised before, released after.
    let id = world.pay(&[request], &draft).unwrap();
    world.adopt_as("dave", relabelled("acme", "thief"), &["alice", "bob"]);
    refused(world.state.release(&id, world.time, &world.decoder), Rule::Outputs);
}

fn with_spare_wallet() -> World {
    let mut world = World::ready();
    let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
    world.activate_all(ceremony, 1, &Account::new(1));
    world.adopt(world.wallet("spare", ceremony, 1));
    world
}

#[test]
fn deny_p20_outputs_of_two_wallets() {
    let mut world = with_spare_wallet();
    let coin = world.coin(1_000_000);
    let one = world.asked(world.request(&[("acme", 100_000)]));
    let two = world.asked(Request { wallet: name("spare"), ..world.request(&[("acme", 100_000)]) });
    let draft = world.draft(&[one, two], &[coin], 1_000);
    invalid(world.pay(&[one, two], &draft), Rule::Outputs);
}

#[test]
fn allow_p20_fee() {
    let mut world = World::ready();
    let coin = world.coin(1_000_000);
    // 50,000 sat, and a tenth.
    for (amount, fee) in [(500_000, 50_000), (400_000, 40_000)] {
        let mut world = world.clone();
        let request = world.asked(world.request(&[("acme", amount)]));
        let draft = world.draft(&[request], &[coin], fee);
        world.pay(&[request], &draft).unwrap();
    }
}

#[test]
fn deny_p20_fee() {
    let mut world = World::ready();
    let coin = world.coin(1_000_000);
    for (amount, fee) in [(500_000, 50_001), (400_000, 40_001)] {
        let mut world = world.clone();
        let request = world.asked(world.request(&[("acme", amount)]));
        let draft = world.draft(&[request], &[coin], fee);
        invalid(world.pay(&[request], &draft), Rule::Fee);
    }
    // More out than in.
    let (mut world, _, request, mut draft) = drafted();
    draft.outputs[1].1 = Sats(600_001);
    invalid(world.pay(&[request], &draft), Rule::Fee);
}

/// The fee of a transaction falls on its requests by the weight of their outputs, rounded up.
#[test]
fn fees_are_split_by_weight_and_rounded_up() {
    let mut world = World::ready();
    let coin = world.coin(1_000_000);
    let one = world.request(&[("acme", 100_000)]);
    let three = world.request(&[("acme", 100_000), ("acme", 100_000), ("acme", 100_000)]);
    // Of 4,001 sat, 1,000.25 fall on one output, and 3,000.75 on three.
    for (single, triple, allowed) in [(1_001, 3_001, true), (1_000, 3_001, false), (1_001, 3_000, false)] {
        let mut world = world.clone();
        let one = world.asked(Request { fee_max: Sats(single), ..one.clone() });
        let three = world.asked(Request { fee_max: Sats(triple), ..three.clone() });
        let draft = world.draft(&[one, three], &[coin], 4_001);
        let result = world.pay(&[one, three], &draft);
        if allowed {
            result.unwrap();
        } else {
            invalid(result, Rule::Fee);
        }
    }
}

#[test]
fn allow_p20_ended() {
    let (mut world, _, request, draft) = drafted();
    world.tick(DAY);
    let id = world.pay(&[request], &draft).unwrap();
    world.state.release(&id, world.time, &world.decoder).unwrap();
}

#[test]
fn deny_p20_ended() {
    let (world, _, request, draft) = drafted();
    let mut late = world.clone();
    late.tick(DAY + 1);
    invalid(late.pay(&[request], &draft), Rule::Ended);
    // Authorised in time, but the signer's clock says that it ended.
    let mut held = world.clone();
    let id = held.pay(&[request], &draft).unwrap();
    refused(held.state.release(&id, held.time + DAY + 1, &held.decoder), Rule::Ended);
    // A transaction ends with the first of its requests.
    let mut both = world;
    let short = both.asked(Request { end: both.time + 60, ..both.request(&[("acme", 100_000)]) });
    let draft = both.draft(&[request, short], &draft.coins, 1_000);
    let id = both.pay(&[request, short], &draft).unwrap();
    refused(both.state.release(&id, both.time + 61, &both.decoder), Rule::Ended);
}

#[test]
fn allow_p20_repeated() {
    let (mut world, coin, request, draft) = drafted();
    world.pay(&[request], &draft).unwrap();
    let bump = world.draft(&[request], &[coin], 1_001);
    world.pay(&[request], &bump).unwrap();
}

#[test]
fn deny_p20_repeated() {
    let (mut world, _, request, draft) = drafted();
    world.pay(&[request], &draft).unwrap();
    invalid(world.pay(&[request], &draft), Rule::Repeated);
}

#[test]
fn allow_p20_change() {
    let (mut world, coin, request, mut draft) = drafted();
    let last = GAP_LIMIT - 1;
    draft.change = Some(last);
    draft.outputs[1].0 = own_script(&world, 0, Branch::Change, last);
    world.clone().pay(&[request], &draft).unwrap();
    // After an allocation the gap begins later.
    let body = Allocate { wallet: name("main"), client: name("own"), branch: Branch::Change, count: 1 };
    world.say("server", Body::Allocate(body)).unwrap();
    draft.change = Some(GAP_LIMIT);
    draft.outputs[1].0 = own_script(&world, 0, Branch::Change, GAP_LIMIT);
    world.clone().pay(&[request], &draft).unwrap();
    // On the limit of dust, and without change at all.
    let dust = world.decoder.dust_limit(&draft.outputs[1].0).0;
    let exact = world.asked(world.request(&[("acme", 999_000 - dust)]));
    let draft = world.draft(&[exact], &[coin], 1_000);
    assert_eq!(draft.outputs[1].1, Sats(dust));
    world.clone().pay(&[exact], &draft).unwrap();
    let all = world.asked(world.request(&[("acme", 999_000)]));
    let draft = world.draft(&[all], &[coin], 1_000);
    assert_eq!(draft.outputs.len(), 1);
    world.pay(&[all], &draft).unwrap();
}

#[test]
fn deny_p20_change() {
    let (mut world, coin, request, draft) = drafted();
    let far = |index| Draft {
        change: Some(index),
        outputs: vec![
            draft.outputs[0].clone(),
            (own_script(&world, 0, Branch::Change, index), Sats(599_000)),
        ],
        ..draft.clone()
    };
    let out_of_reach = [far(GAP_LIMIT), far(1_000_000), far((1 << 31) - 1)];
    for bad in out_of_reach {
        invalid(world.pay(&[request], &bad), Rule::Change);
    }
    let dust = world.decoder.dust_limit(&draft.outputs[1].0).0;
    let exact = world.asked(world.request(&[("acme", 1_000_000 - 1_000 - dust + 1)]));
    let bad = world.draft(&[exact], &[coin], 1_000);
    invalid(world.pay(&[exact], &bad), Rule::Change);
    let all = world.asked(world.request(&[("acme", 999_000)]));
    let bad = Draft { change: Some(0), ..world.draft(&[all], &[coin], 1_000) };
    invalid(world.pay(&[all], &bad), Rule::Change);
}

#[test]
fn allow_p20_own_input() {
    let (mut world, coin, request, _) = drafted();
    let other = Coin { index: GAP_LIMIT - 1, ..world.young_coin(50_000) };
    let draft = world.draft(&[request], &[coin, other], 1_000);
    world.pay(&[request], &draft).unwrap();
}

#[test]
fn deny_p20_own_input() {
    let (mut world, coin, request, draft) = drafted();
    let other = world.young_coin(50_000);
    let two = world.draft(&[request], &[coin, other], 1_000);
    let changes: [&dyn Fn(&mut Authorise); 6] = [
        &|a| a.transaction.inputs.truncate(1),
        &|a| a.transaction.inputs.reverse(),
        &|a| a.transaction.inputs[1] = a.transaction.inputs[0].clone(),
        &|a| a.transaction.inputs[1].index = GAP_LIMIT,
        &|a| a.transaction.inputs[1].index = 1 << 31,
        &|a| a.transaction.inputs[1].amount = Sats::MAX,
    ];
    for change in changes {
        let mut bad = world.authorise(&[request], &two);
        change(&mut bad);
        invalid(world.say("server", Body::Authorise(bad)), Rule::OwnInput);
    }
    world.pay(&[request], &draft).unwrap();
}

#[test]
fn inputs_on_both_sides_of_their_limit() {
    let (world, coin, request, _) = drafted();
    let judge = |count: usize| {
        let mut coins = vec![coin];
        coins.extend((1u32..).take(count - 1).map(|vout| Coin {
            outpoint: OutPoint { txid: Hash([8; 32]), vout },
            amount: Sats(10),
            ..coin
        }));
        let draft = world.draft(&[request], &coins, 1_000);
        world.state.judge(&world.authorise(&[request], &draft), world.time, &world.decoder)
    };
    judge(INPUTS_LIMIT).unwrap();
    refused(judge(INPUTS_LIMIT + 1), Rule::OwnInput);
}

/// A proposer who lies about the amount of an input to hide a fee: the anchor's proof shows it, and of
/// other inputs the signatures commit to what was described, so they are worth nothing on the chain.
#[test]
fn deny_p21_anchor_proof_for_misreported_amounts() {
    let (mut world, coin, request, draft) = drafted();
    let mut lie = world.authorise(&[request], &draft);
    lie.transaction.inputs[0].amount = Sats(2_000_000);
    invalid(world.say("server", Body::Authorise(lie)), Rule::AnchorProof);
    let mut hidden = draft.clone();
    hidden.outputs[1].1 = Sats(99_000);
    let mut lie = world.authorise(&[request], &hidden);
    lie.transaction.inputs[0].amount = Sats(500_000);
    invalid(world.say("server", Body::Authorise(lie)), Rule::AnchorProof);

    let other = world.young_coin(50_000);
    let honest = world.draft(&[request], &[coin, other], 1_000);
    let mut lie = honest.clone();
    lie.coins[1].amount = Sats(40_000);
    lie.outputs[1].1 = Sats(lie.outputs[1].1.0 - 10_000);
    world.clone().pay(&[request], &lie).unwrap();
    let spends = |draft: &Draft, coins: &[Coin]| {
        let spent = |c: &Coin| (own_script(&world, 0, c.branch, c.index), c.amount);
        let described: Vec<_> = draft.coins.iter().map(spent).collect();
        let real: Vec<_> = coins.iter().map(spent).collect();
        let digests = chain::digest::digests(&draft.raw(), &described).unwrap();
        let account = Account::new(0);
        let sign = |(c, d): (&Coin, &chain::Digest)| account.sign_child(c.branch, c.index, d.as_bytes());
        let signatures: Vec<_> = draft.coins.iter().zip(&digests).map(sign).collect();
        chain::finish::verify_spend(&draft.raw(), &real, &signatures).is_ok()
    };
    assert!(spends(&honest, &[coin, other]));
    assert!(!spends(&lie, &[coin, other]));
}

#[test]
fn allow_p20_shape() {
    let (mut world, _, request, draft) = drafted();
    for lock_time in [0, world.chain.height() + LOCK_TIME_SLACK] {
        world.clone().pay(&[request], &Draft { lock_time, ..draft.clone() }).unwrap();
    }
    world.pay(&[request], &draft).unwrap();
    assert_eq!(world.state.clock().tip, world.chain.height());
}

#[test]
fn deny_p20_shape() {
    let (mut world, _, request, draft) = drafted();
    let late = world.chain.height() + LOCK_TIME_SLACK + 1;
    let bad = [
        Draft { version: 1, ..draft.clone() },
        Draft { version: 3, ..draft.clone() },
        Draft { sequence: 0xffff_ffff, ..draft.clone() },
        Draft { sequence: 0xffff_fffe, ..draft.clone() },
        Draft { sequence: 1, ..draft.clone() },
        Draft { lock_time: late, ..draft.clone() },
        Draft { lock_time: 1_767_225_600, ..draft.clone() },
    ];
    for bad in bad {
        invalid(world.pay(&[request], &bad), Rule::Shape);
    }
    // Bytes that are no unsigned transaction.
    let good = world.authorise(&[request], &draft);
    for raw in [Vec::new(), draft.raw()[1..].to_vec(), [draft.raw(), vec![0]].concat()] {
        let mut bad = good.clone();
        bad.transaction.raw = Blob(raw);
        invalid(world.say("server", Body::Authorise(bad)), Rule::Shape);
    }
}

#[test]
fn deny_p1_form_of_lists_of_requests() {
    let (mut world, coin, request, draft) = drafted();
    let good = world.authorise(&[request], &draft);
    let mut requests = vec![request];
    for _ in 0..REQUESTS_LIMIT {
        requests.push(world.asked(world.request(&[("acme", 1_000)])));
    }
    requests.sort();
    let backwards = requests[..2].iter().rev().copied().collect();
    for bad in [Vec::new(), vec![request, request], requests.clone(), backwards] {
        let bad = Authorise { requests: bad, ..good.clone() };
        invalid(world.say("server", Body::Authorise(bad)), Rule::Form);
    }
    let most: Vec<Hash> = requests.into_iter().filter(|r| *r != request).collect();
    let draft = world.draft(&most, &[coin], 1_000);
    world.pay(&most, &draft).unwrap();
}

// ---- P21 anchors

#[test]
fn allow_p21_anchors() {
    let (mut world, coin, request, draft) = drafted();
    world.pay(&[request], &draft).unwrap();
    assert_eq!(world.state.lineages().get(&request).unwrap().anchors, [coin.outpoint]);
    // A chain of replacements: other inputs come and go, the anchor stays.
    for fee in [2_000, 3_000, 4_000] {
        let other = world.coin(10_000);
        let bump = world.draft(&[request], &[coin, other], fee);
        let id = world.pay(&[request], &bump).unwrap();
        world.state.release(&id, world.time, &world.decoder).unwrap();
    }
    let all = world.state.requests().get(&request).unwrap().authorised.clone();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|id| spends(&world.state, id, &coin.outpoint)), "at most one can confirm");
}

fn spends(state: &State, id: &Hash, outpoint: &OutPoint) -> bool {
    state.authorisations().get(id).unwrap().transaction.inputs.iter().any(|i| i.outpoint == *outpoint)
}

/// Two payments of one request that could both confirm.
#[test]
fn deny_p21_anchors() {
    let (mut world, coin, request, draft) = drafted();
    world.pay(&[request], &draft).unwrap();
    let other = world.coin(1_000_000);
    let second = world.draft(&[request], &[other], 2_000);
    invalid(world.pay(&[request], &second), Rule::Anchors);
    // Not with an anchor of its own either.
    let proof = world.chain.prove(other.outpoint.txid, 0);
    let named = NewAnchor { request, outpoint: other.outpoint, proof: Some(proof) };
    let body = Authorise { anchors: vec![named.clone()], ..world.authorise(&[request], &second) };
    invalid(world.say("server", Body::Authorise(body)), Rule::Anchors);
    // Nor beside the one that it has.
    let both = world.draft(&[request], &[coin, other], 2_000);
    let body = Authorise { anchors: vec![named], ..world.authorise(&[request], &both) };
    invalid(world.say("server", Body::Authorise(body)), Rule::Anchors);
    world.pay(&[request], &both).unwrap();
}

#[test]
fn deny_p21_anchors_that_do_not_bind() {
    let (mut world, _, request, draft) = drafted();
    let other = world.coin(1_000_000);
    let good = world.authorise(&[request], &draft);
    let elsewhere = NewAnchor { outpoint: other.outpoint, ..good.anchors[0].clone() };
    let stranger = NewAnchor { request: Hash([3; 32]), ..good.anchors[0].clone() };
    let cases = [
        Vec::new(),
        vec![elsewhere],
        vec![good.anchors[0].clone(), stranger],
        vec![good.anchors[0].clone(), good.anchors[0].clone()],
        vec![good.anchors[0].clone(); ANCHORS_LIMIT + 1],
    ];
    for anchors in cases {
        let bad = Authorise { anchors, ..good.clone() };
        invalid(world.say("server", Body::Authorise(bad)), Rule::Anchors);
    }
    world.say("server", Body::Authorise(good)).unwrap();
}

/// With two anchors, both stay.
#[test]
fn all_anchors_are_spent_by_every_transaction() {
    let (mut world, coin, request, _) = drafted();
    let other = world.coin(50_000);
    let draft = world.draft(&[request], &[coin, other], 1_000);
    let mut body = world.authorise(&[request], &draft);
    let proof = world.chain.prove(other.outpoint.txid, 0);
    body.anchors.push(NewAnchor { request, outpoint: other.outpoint, proof: Some(proof) });
    world.say("server", Body::Authorise(body)).unwrap();
    let bump = world.draft(&[request], &[coin], 2_000);
    invalid(world.pay(&[request], &bump), Rule::Anchors);
    let bump = world.draft(&[request], &[coin, other], 2_000);
    world.pay(&[request], &bump).unwrap();
}

#[test]
fn anchors_on_both_sides_of_their_limit() {
    let (mut world, coin, request, _) = drafted();
    let mut coins = vec![coin];
    coins.extend((0..ANCHORS_LIMIT).map(|_| world.coin(10_000)));
    let draft = world.draft(&[request], &coins, 1_000);
    let with = |count: usize| {
        let mut body = world.authorise(&[request], &draft);
        body.anchors = coins[..count]
            .iter()
            .map(|c| NewAnchor {
                request,
                outpoint: c.outpoint,
                proof: Some(world.chain.prove(c.outpoint.txid, 0)),
            })
            .collect();
        world.state.judge(&body, world.time, &world.decoder)
    };
    with(ANCHORS_LIMIT).unwrap();
    refused(with(ANCHORS_LIMIT + 1), Rule::Anchors);
}

#[test]
fn allow_p21_anchor_proof() {
    let mut world = World::ready();
    let coin = world.young_coin(1_000_000);
    world.chain.mine_empty(ANCHOR_DEPTH - 1);
    let request = world.asked(world.request(&[("acme", 400_000)]));
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    // Two requests may share an anchor; its proof is given once.
    let (mut world, coin, one, _) = drafted();
    let two = world.asked(world.request(&[("acme", 100_000)]));
    let draft = world.draft(&[one, two], &[coin], 1_000);
    let body = world.authorise(&[one, two], &draft);
    assert_eq!(body.anchors.iter().filter(|a| a.proof.is_some()).count(), 1);
    world.say("server", Body::Authorise(body)).unwrap();
}

#[test]
fn deny_p21_anchor_proof() {
    let mut world = World::ready();
    let coin = world.young_coin(1_000_000);
    world.chain.mine_empty(ANCHOR_DEPTH - 2);
    let request = world.asked(world.request(&[("acme", 400_000)]));
    let draft = world.draft(&[request], &[coin], 1_000);
    invalid(world.pay(&[request], &draft), Rule::AnchorProof);
    world.chain.mine_empty(1);
    let other = world.coin(1_000_000);

    let good = world.authorise(&[request], &draft);
    let of_other = world.chain.prove(other.outpoint.txid, 0);
    let changes: [&dyn Fn(&mut NewAnchor); 5] = [
        &|a| a.proof = None,
        &|a| a.proof = Some(of_other.clone()),
        &|a| a.proof.as_mut().unwrap().block += 1,
        &|a| a.proof.as_mut().unwrap().branch[0] = Hash([1; 32]),
        &|a| a.proof.as_mut().unwrap().headers.0[4] ^= 1,
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad.anchors[0]);
        invalid(world.say("server", Body::Authorise(bad)), Rule::AnchorProof);
    }
    world.say("server", Body::Authorise(good)).unwrap();
}

/// Anchors that never existed: a transaction in no block, an output that its transaction does not have,
/// an output of somebody else, a coin of another wallet.
#[test]
fn deny_p21_anchor_proof_for_what_never_existed() {
    let mut world = with_spare_wallet();
    let coin = world.coin(1_000_000);
    let request = world.asked(world.request(&[("acme", 400_000)]));
    let proof = world.chain.prove(coin.outpoint.txid, 0);
    let try_with = |world: &mut World, coin: Coin, proof| {
        let mut body = Authorise {
            requests: vec![request],
            anchors: vec![NewAnchor { request, outpoint: coin.outpoint, proof: Some(proof) }],
            transaction: world.draft(&[request], &[coin], 1_000).typed(),
        };
        body.requests.sort();
        world.say("server", Body::Authorise(body))
    };
    let unborn = OutPoint { txid: Hash([5; 32]), vout: 0 };
    invalid(try_with(&mut world, Coin { outpoint: unborn, ..coin }, proof.clone()), Rule::AnchorProof);
    let beyond = OutPoint { vout: 1, ..coin.outpoint };
    invalid(try_with(&mut world, Coin { outpoint: beyond, ..coin }, proof.clone()), Rule::AnchorProof);
    invalid(try_with(&mut world, Coin { index: 1, ..coin }, proof), Rule::AnchorProof);
    for script in [foreign_script(&world, "thief"), own_script(&world, 1, Branch::Receive, 0)] {
        let outpoint = world.chain.pay(script, coin.amount);
        world.chain.mine_empty(5);
        let proof = world.chain.prove(outpoint.txid, 0);
        invalid(try_with(&mut world, Coin { outpoint, ..coin }, proof), Rule::AnchorProof);
    }
}

/// After a quorum moved the pinned header on, proofs begin above it.
#[test]
fn deny_p21_anchor_proof_from_below_the_pinned_header() {
    let (mut world, coin, request, draft) = drafted();
    let below = world.chain.prove(coin.outpoint.txid, 0);
    let header = world.chain.header(world.chain.height());
    world.adopt(Document::Header(header));
    let anchor = |proof| NewAnchor { request, outpoint: coin.outpoint, proof: Some(proof) };
    let body = |proof, draft: &Draft| Authorise {
        requests: vec![request],
        anchors: vec![anchor(proof)],
        transaction: draft.typed(),
    };
    invalid(world.say("server", Body::Authorise(body(below, &draft))), Rule::AnchorProof);
    let above = world.coin(1_000_000);
    let draft = world.draft(&[request], &[above], 1_000);
    world.pay(&[request], &draft).unwrap();
}

/// A transaction that pays `one` and `two`, both bound to the coin.
fn paired() -> (World, Coin, Hash, Hash) {
    let (mut world, coin, one) = asked();
    let two = world.asked(Request { end: world.time + 60, ..world.request(&[("acme", 100_000)]) });
    let draft = world.draft(&[one, two], &[coin], 1_000);
    world.pay(&[one, two], &draft).unwrap();
    (world, coin, one, two)
}

#[test]
fn allow_p21_left_out() {
    // It expired.
    let (mut world, coin, one, two) = paired();
    world.tick(61);
    let bump = world.draft(&[one], &[coin], 2_000);
    world.pay(&[one], &bump).unwrap();
    // It stays bound: its renewal spends the anchor, and so must pay what else is open there.
    let two = world.asked(renewal(&world, two));
    let alone = world.draft(&[two], &[coin], 3_000);
    invalid(world.pay(&[two], &alone), Rule::LeftOut);
    let both = world.draft(&[one, two], &[coin], 3_000);
    world.pay(&[one, two], &both).unwrap();

    // It was cancelled.
    let (mut world, coin, one, two) = paired();
    let cancelled = world.asked(cancel(&world, two));
    let draft = world.draft(&[one, cancelled], &[coin], 2_000);
    world.pay(&[one, cancelled], &draft).unwrap();
    let bump = world.draft(&[one], &[coin], 3_000);
    world.pay(&[one], &bump).unwrap();

    // It is frozen, and the cancel leaves despite that.
    let (mut world, coin, one, _) = paired();
    let freeze = world.say("carol", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    let ask = Request { despite: vec![freeze], ..cancel(&world, one) };
    let ask = world.asked(ask);
    let draft = world.draft(&[ask], &[coin], 2_000);
    world.pay(&[ask], &draft).unwrap();
}

#[test]
fn deny_p21_left_out() {
    let (mut world, coin, one, two) = paired();
    for (paid, fee) in [(one, 2_000), (two, 3_000)] {
        let bump = world.draft(&[paid], &[coin], fee);
        invalid(world.pay(&[paid], &bump), Rule::LeftOut);
    }
    // Neither does a payment that has nothing to do with it take its anchor, up to its very end.
    let three = world.asked(world.request(&[("acme", 100_000)]));
    let draft = world.draft(&[one, three], &[coin], 2_000);
    invalid(world.pay(&[one, three], &draft), Rule::LeftOut);
    world.tick(60);
    invalid(world.pay(&[one, three], &draft), Rule::LeftOut);
    world.tick(1);
    world.pay(&[one, three], &draft).unwrap();
}

// ---- P23 renewal and cancel

#[test]
fn allow_p23_renewal() {
    let (mut world, coin, request, draft) = drafted();
    world.pay(&[request], &draft).unwrap();
    world.tick(DAY + 1);
    let renewed = world.asked(renewal(&world, request));
    let record = world.state.requests().get(&renewed).unwrap();
    assert_eq!(record.lineage, request);
    let draft = world.draft(&[renewed], &[coin], 2_000);
    world.pay(&[renewed], &draft).unwrap();
    let other = world.coin(1_000_000);
    let elsewhere = world.draft(&[renewed], &[other], 3_000);
    invalid(world.pay(&[renewed], &elsewhere), Rule::Anchors);
    // A cancel of the renewal pays nobody.
    let cancelled = world.asked(cancel(&world, renewed));
    let draft = world.draft(&[cancelled], &[coin], 3_000);
    assert_eq!(draft.outputs.len(), 1);
    world.pay(&[cancelled], &draft).unwrap();
    for old in [request, renewed] {
        let place = world.state.requests().get(&old).unwrap().renewed_by;
        assert!(place == Some(renewed) || place == Some(cancelled));
    }
}

/// A renewal is approved anew.
#[test]
fn a_renewal_does_not_inherit_approvals() {
    let (mut world, coin, request, draft) = drafted();
    world.pay(&[request], &draft).unwrap();
    let renewed = world.asked_as("carol", renewal(&world, request), &["alice"]);
    let bump = world.draft(&[renewed], &[coin], 2_000);
    invalid(world.pay(&[renewed], &bump), Rule::PolicyApprovals);
    world.approve("bob", renewed).unwrap();
    world.pay(&[renewed], &bump).unwrap();
}

#[test]
fn deny_p23_renewal() {
    let (mut world, coin, request, draft) = drafted();
    // Nothing to cancel yet.
    rejected(world.say("carol", Body::Request(cancel(&world, request))), Rule::Renewal);
    let id = world.pay(&[request], &draft).unwrap();
    let renewed = world.asked(renewal(&world, request));
    let late = world.sign("carol", Body::Request(renewal(&world, request)));
    let bump = world.draft(&[renewed], &[coin], 2_000);
    world.pay(&[renewed], &bump).unwrap();
    // The old request can neither be paid, released nor renewed any more.
    let old = world.draft(&[request], &[coin], 3_000);
    invalid(world.pay(&[request], &old), Rule::Renewal);
    refused(world.state.release(&id, world.time, &world.decoder), Rule::Renewal);
    rejected(world.submit(late), Rule::Renewal);
}

#[test]
fn deny_p23_renewal_in_another_wallet() {
    let mut world = with_spare_wallet();
    let request = world.asked(world.request(&[("acme", 100_000)]));
    let elsewhere = Request { wallet: name("spare"), ..renewal(&world, request) };
    rejected(world.say("carol", Body::Request(elsewhere)), Rule::Renewal);
}

/// The server keeps a renewal that was approved earlier, and would use it after the cancel.
#[test]
fn deny_p23_renewal_beside_the_one_that_took_its_place() {
    let (mut world, coin, request, draft) = drafted();
    world.pay(&[request], &draft).unwrap();
    let hoarded = world.asked(renewal(&world, request));
    let further = world.asked(renewal(&world, hoarded));
    let cancelled = world.asked(cancel(&world, request));
    let draft = world.draft(&[cancelled], &[coin], 2_000);
    world.pay(&[cancelled], &draft).unwrap();
    for request in [request, hoarded, further] {
        let draft = world.draft(&[request], &[coin], 3_000);
        invalid(world.pay(&[request], &draft), Rule::Renewal);
    }
    rejected(world.say("carol", Body::Request(renewal(&world, hoarded))), Rule::Renewal);
}

/// A cancel of a renewal that was never authorised ends what it renews, too.
#[test]
fn deny_p23_renewal_of_what_a_later_one_skipped() {
    let (mut world, coin, request, draft) = drafted();
    let id = world.pay(&[request], &draft).unwrap();
    let renewed = world.asked(renewal(&world, request));
    let cancelled = world.asked(cancel(&world, renewed));
    let draft = world.draft(&[cancelled], &[coin], 2_000);
    world.pay(&[cancelled], &draft).unwrap();
    for request in [request, renewed] {
        let draft = world.draft(&[request], &[coin], 3_000);
        invalid(world.pay(&[request], &draft), Rule::Renewal);
        assert_eq!(world.state.requests().get(&request).unwrap().renewed_by, Some(cancelled));
    }
    refused(world.state.release(&id, world.time, &world.decoder), Rule::Renewal);
}

/// Two requests of one lineage in one transaction would pay twice.
#[test]
fn deny_p21_anchors_for_a_request_and_its_renewal_together() {
    let (mut world, coin, request) = asked();
    let renewed = world.asked(renewal(&world, request));
    let draft = world.draft(&[request, renewed], &[coin], 1_000);
    let mut body = world.authorise(&[request, renewed], &draft);
    invalid(world.say("server", Body::Authorise(body.clone())), Rule::Anchors);
    body.anchors.truncate(1);
    invalid(world.say("server", Body::Authorise(body)), Rule::Anchors);
    let alone = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &alone).unwrap();
    invalid(world.pay(&[request, renewed], &draft), Rule::Anchors);
}

// ---- P24 charges

#[test]
fn a_lineage_is_charged_once_and_a_bump_for_its_increment() {
    let (mut world, coin, request, draft) = drafted();
    let charged = |world: &World| world.state.charged_since(world.time, DAY, &BTreeSet::new()).0;
    world.pay(&[request], &draft).unwrap();
    assert_eq!(charged(&world), 401_000);
    let bump = world.draft(&[request], &[coin], 3_000);
    world.pay(&[request], &bump).unwrap();
    assert_eq!(charged(&world), 403_000);
    // A renewal that pays more is charged for what it adds, its fee apart.
    let mut more = renewal(&world, request);
    more.outputs[0].amount = Sats(402_000);
    let more = world.asked(more);
    let draft = world.draft(&[more], &[coin], 2_000);
    world.pay(&[more], &draft).unwrap();
    assert_eq!(charged(&world), 405_000);
    assert_eq!(world.state.lineages().get(&request).unwrap().charged, Sats(405_000));
    assert_eq!(world.state.charged_since(world.time, DAY, &BTreeSet::from([request])), Sats(0));
    // The window is (T − w, T].
    let now = world.time;
    assert_eq!(world.state.charged_since(now + DAY - 1, DAY, &BTreeSet::new()).0, 405_000);
    assert_eq!(world.state.charged_since(now + DAY, DAY, &BTreeSet::new()).0, 0);
}

// ---- release (P14, P27)

#[test]
fn what_was_allowed_is_judged_again_when_a_share_would_leave() {
    let (mut world, _, request, draft) = drafted();
    let authorised = world.pay(&[request], &draft).unwrap();
    let release = |world: &World| world.state.release(&authorised, world.time, &world.decoder);
    release(&world).unwrap();
    let mut revoked = world.clone();
    revoked.say("bob", Body::Revoke(Revoke { key: id("bob") })).unwrap();
    refused(release(&revoked), Rule::PolicyApprovals);
    let mut frozen = world.clone();
    frozen.say("alarm", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    refused(release(&frozen), Rule::Frozen);
    let mut stricter = world.clone();
    let mut rule = fixtures::rule();
    rule.require.amount_max = Sats(1);
    stricter.adopt(Document::Policy(fixtures::policy(&[rule], 0)));
    refused(release(&stricter), Rule::PolicyLimit);
    // An approval that ended meanwhile, by the later of log time and own clock.
    refused(world.state.release(&authorised, world.time + DAY + 1, &world.decoder), Rule::Ended);
}

// ---- P25 allocations

fn allocate(count: u32) -> Allocate {
    Allocate { wallet: name("main"), client: name("client-1"), branch: Branch::Receive, count }
}

#[test]
fn allow_p25_allocation() {
    let mut world = World::ready();
    for count in [1, ALLOCATE_LIMIT, 5] {
        world.say("server", Body::Allocate(allocate(count))).unwrap();
    }
    let main = name("main");
    assert_eq!(world.state.next_index(&main, Branch::Receive), ALLOCATE_LIMIT + 6);
    assert_eq!(world.state.next_index(&main, Branch::Change), 0);
    assert_eq!(world.state.client_of(&main, Branch::Receive, 0), Some(&name("client-1")));
    assert_eq!(world.state.client_of(&main, Branch::Receive, ALLOCATE_LIMIT + 5), Some(&name("client-1")));
    assert_eq!(world.state.client_of(&main, Branch::Receive, ALLOCATE_LIMIT + 6), None);
    // A day's worth, and the next day again.
    let mut world = World::ready();
    for _ in 0..ALLOCATE_DAILY_LIMIT / ALLOCATE_LIMIT {
        world.say("alice", Body::Allocate(allocate(ALLOCATE_LIMIT))).unwrap();
    }
    world.tick(DAY);
    world.say("alice", Body::Allocate(allocate(1))).unwrap();
}

#[test]
fn deny_p25_allocation() {
    let mut world = World::ready();
    for count in [0, ALLOCATE_LIMIT + 1] {
        rejected(world.say("server", Body::Allocate(allocate(count))), Rule::Allocation);
    }
    for _ in 0..ALLOCATE_DAILY_LIMIT / ALLOCATE_LIMIT {
        world.say("server", Body::Allocate(allocate(ALLOCATE_LIMIT))).unwrap();
    }
    rejected(world.say("server", Body::Allocate(allocate(1))), Rule::Allocation);
    // On either chain: the limit is the wallet's.
    let change = Allocate { branch: Branch::Change, ..allocate(1) };
    rejected(world.say("server", Body::Allocate(change.clone())), Rule::Allocation);
    world.tick(DAY - 1);
    rejected(world.say("server", Body::Allocate(change)), Rule::Allocation);
}
