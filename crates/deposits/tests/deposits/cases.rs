//! Deposits one by one: what arrives, what is held, what leaves, what a reorganisation does.

use crate::common::{Bench, CHANGE, foreign, name, pays, script, txid};
use bitcoin::ScriptBuf;
use custody::effects::{OutPoint, Sats};
use deposits::{Block, BlockError, CoinKind, Fact, HoldReason, SIGHTINGS_LIMIT, Screening, Verdict};

/// Below the first step of the rules: one confirmation.
const SMALL: u64 = 50_000;

/// Three confirmations.
const MIDDLE: u64 = 1_000_000;

fn small(number: u32, to: u32) -> bitcoin::Transaction {
    pays(&[foreign(number)], &[(script(to), SMALL)])
}

fn held(facts: &[Fact]) -> Vec<HoldReason> {
    let reasons = facts.iter().filter_map(|fact| match fact {
        Fact::Due { verdict: Verdict::Hold(reasons), .. } => Some(reasons.clone()),
        _ => None,
    });
    reasons.flatten().collect()
}

#[test]
fn a_deposit_is_seen_confirms_and_is_credited() {
    let mut bench = Bench::default();
    bench.sync();
    let tx = pays(&[foreign(1)], &[(ScriptBuf::new_op_return([]), 0), (script(0), MIDDLE)]);
    let seen = bench.mempool(std::slice::from_ref(&tx), &[]);
    assert!(matches!(&seen[..], [Fact::Seen(sighting)] if sighting.amount == Sats(MIDDLE)), "{seen:?}");
    assert!(bench.mempool(std::slice::from_ref(&tx), &[]).is_empty(), "told once");

    bench.mine(vec![tx.clone()]);
    assert_eq!(bench.state(&tx, 1), "confirming(1/3)");
    assert!(bench.mempool(&[], &[txid(&tx)]).is_empty(), "it left for the block");
    bench.mine(vec![]);
    assert_eq!((bench.state(&tx, 1).as_str(), bench.balance("a")), ("confirming(2/3)", 0));
    bench.mine(vec![]);
    assert_eq!((bench.state(&tx, 1).as_str(), bench.balance("a")), ("credited", MIDDLE));
    assert!(bench.mine(vec![]).is_empty(), "nothing more to say");
}

#[test]
fn several_outputs_and_the_same_address_twice() {
    let mut bench = Bench::default();
    let to = [(script(0), SMALL), (script(1), SMALL), (script(0), SMALL + 1)];
    bench.mine(vec![pays(&[foreign(1)], &to)]);
    assert_eq!((bench.balance("a"), bench.balance("b")), (2 * SMALL + 1, SMALL));
    bench.mine(vec![small(2, 0)]);
    assert_eq!(bench.balance("a"), 3 * SMALL + 1);
    assert_eq!(bench.books.credits.len(), 4);
}

/// A client that splits a payment waits as long as for the whole; the other client does not.
#[test]
fn what_one_client_gets_in_one_block_counts_together() {
    let mut bench = Bench::default();
    let half = MIDDLE / 2;
    let first = pays(&[foreign(1)], &[(script(0), half)]);
    let second = pays(&[foreign(2)], &[(script(2), half)]);
    bench.mine(vec![first.clone(), second.clone(), small(3, 1)]);
    assert_eq!((bench.balance("a"), bench.balance("b")), (0, SMALL));
    assert_eq!(bench.state(&first, 0), "confirming(1/3)");
    assert_eq!(bench.state(&second, 0), "confirming(1/3)");
    bench.mine(vec![]);
    bench.mine(vec![]);
    assert_eq!(bench.balance("a"), MIDDLE);

    let mut bench = Bench::default();
    bench.mine(vec![pays(&[foreign(1)], &[(script(0), MIDDLE - 1)])]);
    assert_eq!(bench.balance("a"), MIDDLE - 1, "just below the step");
}

#[test]
fn a_miners_reward_waits_for_a_hundred_confirmations() {
    let mut bench = Bench::default();
    let parent = bench.tree.best;
    bench.tree.mine_for(parent, script(0), vec![]);
    bench.tree.mine_empty(98);
    bench.sync();
    assert_eq!(bench.balance("a"), 0, "99 confirmations");
    bench.mine(vec![]);
    assert_eq!(bench.balance("a"), 5_000_000_000);
}

#[test]
fn dust_is_held_and_the_least_amount_is_not() {
    let mut bench = Bench::default();
    let least = Sats(1_000);
    let to = [(script(0), 999), (script(1), 1_000), (script(2), 0)];
    let tx = pays(&[foreign(1)], &to);
    let facts = bench.mine(vec![tx.clone()]);
    assert_eq!(held(&facts), [HoldReason::Dust { least }, HoldReason::Dust { least }]);
    assert_eq!((bench.balance("a"), bench.balance("b")), (0, 1_000));
    assert_eq!(bench.state(&tx, 0), "held(less than 1000 sat)");
}

#[test]
fn a_retired_address_is_held_from_then_on() {
    let mut bench = Bench::default();
    bench.mine(vec![small(1, 0)]);
    assert!(bench.watched.retire(&script(0)));
    assert!(!bench.watched.retire(&script(77)), "not ours");
    let facts = bench.mine(vec![small(2, 0)]);
    assert_eq!(held(&facts), [HoldReason::Retired]);
    assert_eq!(bench.balance("a"), SMALL, "what came before stays");
}

#[test]
fn an_index_inside_the_gap_is_watched_and_held() {
    let mut bench = Bench::default();
    let facts = bench.mine(vec![small(1, 8)]);
    assert_eq!(held(&facts), [HoldReason::NotAllocated]);
}

#[test]
fn the_screening_decides_and_its_silence_holds() {
    let mut bench = Bench::default();
    let cases = [
        (small(1, 0), Screening::Pass, None),
        (small(2, 0), Screening::Unavailable, Some(HoldReason::ScreeningUnavailable)),
        (
            small(3, 0),
            Screening::Hold("listed sender".into()),
            Some(HoldReason::Screening("listed sender".into())),
        ),
    ];
    for (tx, screening, reason) in cases {
        bench.house.screening.borrow_mut().insert(txid(&tx), screening);
        let facts = bench.mine(vec![tx]);
        assert_eq!(held(&facts), Vec::from_iter(reason));
    }
    assert_eq!(bench.balance("a"), SMALL);
}

/// Whoever releases a deposit sees all that is against it, not only the first thing.
#[test]
fn all_reasons_are_told() {
    let mut bench = Bench::default();
    bench.house.closed.insert(name("main"));
    bench.house.unknown.insert(name("a"));
    bench.watched.retire(&script(0));
    let tx = pays(&[foreign(1)], &[(script(0), 1)]);
    bench.house.screening.borrow_mut().insert(txid(&tx), Screening::Hold("x".into()));
    let facts = bench.mine(vec![tx]);
    let all = [
        HoldReason::WalletClosed,
        HoldReason::ClientUnknown(name("a")),
        HoldReason::Retired,
        HoldReason::Dust { least: Sats(1_000) },
        HoldReason::Screening("x".into()),
    ];
    assert_eq!(held(&facts), all);
}

#[test]
fn a_double_spend_in_the_mempool_vanishes() {
    let mut bench = Bench::default();
    bench.sync();
    let first = small(1, 0);
    let second = pays(&[foreign(1)], &[(script(1), SMALL)]);
    let other = pays(&[foreign(1)], &[(ScriptBuf::new_op_return([]), SMALL)]);
    bench.mempool(std::slice::from_ref(&first), &[]);
    let facts = bench.mempool(std::slice::from_ref(&second), &[]);
    let replaced = |fact: &Fact, who| matches!(fact, Fact::Vanished { by, .. } if *by == Some(who));
    assert!(replaced(&facts[0], txid(&second)) && matches!(facts[1], Fact::Seen(_)), "{facts:?}");
    assert!(bench.mempool(&[], &[txid(&first)]).is_empty(), "it is gone already");
    // One that pays nobody of ours confirms.
    let facts = bench.mine(vec![other.clone()]);
    assert!(replaced(&facts[0], txid(&other)) && facts.len() == 1, "{facts:?}");
    assert_eq!((bench.state(&first, 0), bench.state(&second, 0)), ("vanished".into(), "vanished".into()));
    assert!(bench.books.credits.is_empty());
}

#[test]
fn what_the_mempool_drops_vanishes_and_may_come_back() {
    let mut bench = Bench::default();
    bench.sync();
    let tx = small(1, 0);
    bench.mempool(std::slice::from_ref(&tx), &[]);
    let facts = bench.mempool(&[], &[txid(&tx)]);
    assert!(matches!(facts[..], [Fact::Vanished { by: None, .. }]), "{facts:?}");
    bench.mempool(std::slice::from_ref(&tx), &[]);
    assert_eq!(bench.state(&tx, 0), "seen");
    bench.mine(vec![tx.clone()]);
    assert_eq!(bench.state(&tx, 0), "credited");
}

/// Blocks and the mempool are read at different moments, in either order.
#[test]
fn what_a_reorganisation_returns_to_the_mempool_is_seen_there() {
    for early in [true, false] {
        let mut bench = Bench::default();
        let tx = small(1, 0);
        bench.mine(vec![tx.clone()]);
        if early {
            assert!(bench.mempool(std::slice::from_ref(&tx), &[]).is_empty(), "a block has it");
        }
        bench.tree.reorganise(1);
        bench.sync();
        if !early {
            assert_eq!(bench.state(&tx, 0), "taken-back");
            bench.mempool(std::slice::from_ref(&tx), &[]);
        }
        assert_eq!((bench.state(&tx, 0).as_str(), bench.balance("a")), ("seen", 0));
        bench.mine(vec![tx.clone()]);
        assert_eq!(bench.state(&tx, 0), "credited");
        // The list of the mempool is older than the block, and is corrected afterwards.
        assert!(bench.mempool(std::slice::from_ref(&tx), &[]).is_empty());
        assert!(bench.mempool(&[], &[txid(&tx)]).is_empty());
        assert_eq!(bench.state(&tx, 0), "credited");
    }
}

/// The signature of somebody else's input may change on the way, and with it the txid.
#[test]
fn a_malleated_transaction_is_credited_once() {
    let mut bench = Bench::default();
    bench.sync();
    let tx = small(1, 0);
    let mut changed = tx.clone();
    changed.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51]);
    bench.mempool(std::slice::from_ref(&tx), &[]);
    bench.mine(vec![changed.clone()]);
    assert_eq!((bench.state(&tx, 0), bench.state(&changed, 0)), ("vanished".into(), "credited".into()));
    assert_eq!(bench.balance("a"), SMALL);
}

#[test]
fn reorganisations_of_every_remembered_depth_take_back_and_find_again() {
    for depth in [1, 2, 3, 7, 50, 142, 143] {
        let mut bench = Bench::default();
        let tx = small(1, 0);
        bench.tree.mine_empty(5);
        bench.mine(vec![tx.clone()]);
        bench.tree.mine_empty(depth - 1);
        bench.sync();
        assert_eq!(bench.balance("a"), SMALL);
        let id = *bench.books.credits.keys().next().unwrap();

        bench.tree.reorganise(depth);
        bench.sync();
        assert_eq!((bench.balance("a"), bench.state(&tx, 0)), (0, "taken-back".into()), "{depth}");
        bench.mine(vec![tx.clone()]);
        assert_eq!((bench.balance("a"), bench.state(&tx, 0)), (SMALL, "credited".into()), "{depth}");
        let again = *bench.books.credits.keys().next().unwrap();
        assert_eq!(id.outpoint, again.outpoint);
        assert_ne!(id.place.block, again.place.block, "the same output in another block is another credit");
        assert_ne!(id.to_string(), again.to_string());
    }
}

#[test]
fn a_held_deposit_is_taken_back_too() {
    let mut bench = Bench::default();
    let tx = small(1, 8);
    bench.mine(vec![tx.clone()]);
    assert_eq!(bench.state(&tx, 0), "held(the address is not allocated to a client)");
    bench.tree.reorganise(1);
    bench.sync();
    assert_eq!(bench.state(&tx, 0), "taken-back");
}

/// A block that goes and comes back is connected twice, so its deposits are credited under two ids.
#[test]
fn a_block_that_comes_back_is_another_credit() {
    let mut bench = Bench::default();
    let fork = bench.tree.best;
    let tx = small(1, 0);
    let first = bench.tree.mine_on(fork, vec![tx]);
    bench.sync();
    let id = *bench.books.credits.keys().next().unwrap();
    bench.tree.reorganise(1);
    bench.sync();
    assert_eq!(bench.balance("a"), 0);
    let tip = bench.tree.mine_on(first, vec![]);
    bench.tree.mine_on(tip, vec![]);
    bench.sync();
    assert_eq!(bench.balance("a"), SMALL);
    let again = *bench.books.credits.keys().next().unwrap();
    assert_eq!(id.place.block, again.place.block);
    assert!(id.place.connection < again.place.connection, "{id} {again}");
    assert_eq!(bench.books.posted.len(), 2);
}

/// Depth is counted from the new best block, and what was deep enough on the old chain is not on the new.
#[test]
fn the_same_transaction_in_another_block_confirms_anew() {
    let mut bench = Bench::default();
    let fork = bench.tree.best;
    let tx = pays(&[foreign(1)], &[(script(0), MIDDLE)]);
    bench.mine(vec![tx.clone()]);
    bench.mine(vec![]);
    assert_eq!(bench.state(&tx, 0), "confirming(2/3)");
    let mut tip = bench.tree.mine_on(fork, vec![]);
    tip = bench.tree.mine_on(tip, vec![]);
    bench.tree.mine_on(tip, vec![tx.clone()]);
    bench.sync();
    assert_eq!((bench.state(&tx, 0).as_str(), bench.balance("a")), ("confirming(1/3)", 0));
    bench.mine(vec![]);
    bench.mine(vec![]);
    assert_eq!(bench.balance("a"), MIDDLE);
}

#[test]
fn spends_are_matched_with_what_the_log_allowed() {
    let mut bench = Bench::default();
    let deposit = pays(&[foreign(1)], &[(script(0), SMALL), (script(1), SMALL)]);
    bench.mine(vec![deposit.clone()]);
    let coin = |vout| OutPoint { txid: txid(&deposit), vout };
    let allowed = pays(&[coin(0)], &[(ScriptBuf::new_op_return([]), 1_000)]);
    let theft = pays(&[coin(1)], &[(ScriptBuf::new_op_return([]), 1_000)]);
    bench.house.authorised.insert(txid(&allowed));

    let facts = bench.mempool(std::slice::from_ref(&theft), &[]);
    assert!(
        matches!(&facts[..], [Fact::Spent { by, authorised: false, .. }] if by.place.is_none()),
        "early alarm: {facts:?}"
    );
    bench.mine(vec![allowed.clone(), theft.clone()]);
    assert_eq!(Vec::from_iter(&bench.books.alarms), [&txid(&theft)]);
    let spent = |bench: &Bench, vout| bench.books.coins[&coin(vout)].spent.map(|by| by.txid);
    assert_eq!((spent(&bench, 0), spent(&bench, 1)), (Some(txid(&allowed)), Some(txid(&theft))));
    assert_eq!((bench.balance("a"), bench.balance("b")), (SMALL, SMALL), "spending is no reversal");

    bench.tree.reorganise(1);
    let facts = bench.sync();
    let unspent = facts.iter().filter(|fact| matches!(fact, Fact::Unspent { .. })).count();
    assert_eq!((unspent, spent(&bench, 0), spent(&bench, 1)), (2, None, None));
}

#[test]
fn own_change_is_no_deposit_and_a_strangers_payment_to_it_is_held() {
    let mut bench = Bench::default();
    let deposit = small(1, 0);
    bench.mine(vec![deposit.clone()]);
    let coin = OutPoint { txid: txid(&deposit), vout: 0 };
    let payment = pays(&[coin], &[(ScriptBuf::new_op_return([]), 1_000), (script(CHANGE), 40_000)]);
    bench.house.authorised.insert(txid(&payment));
    assert!(!bench.mempool(std::slice::from_ref(&payment), &[]).iter().any(|f| matches!(f, Fact::Seen(_))));
    let facts = bench.mine(vec![payment.clone()]);
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Change(_))), "{facts:?}");
    assert_eq!((bench.balance("a"), bench.state(&payment, 1)), (SMALL, "unknown".into()));
    let change = OutPoint { txid: txid(&payment), vout: 1 };
    assert_eq!(bench.books.coins[&change].kind, CoinKind::Change);

    // Spent in its turn, and a block of both at once.
    let next = pays(&[change], &[(script(CHANGE + 1), 30_000)]);
    let last = pays(&[OutPoint { txid: txid(&next), vout: 0 }], &[(script(CHANGE), 20_000)]);
    bench.mine(vec![next, last]);
    assert_eq!(bench.balance("a"), SMALL);

    let facts = bench.mine(vec![small(2, CHANGE)]);
    assert_eq!(held(&facts), [HoldReason::ChangeAddress]);
}

/// A destination may be a copied change address: what the log does not call change is a deposit, in whatever
/// transaction.
#[test]
fn a_payment_to_an_own_change_address_is_held() {
    let mut bench = Bench::default();
    let log = [("main", Some(1)), ("main", Some(0)), ("main", None), ("other", Some(1))];
    let change = [vec![1], vec![0], vec![], vec![]];
    for ((number, (wallet, index)), change) in (1..).zip(log).zip(change) {
        let deposit = small(number, 0);
        bench.mine(vec![deposit.clone()]);
        let coin = OutPoint { txid: txid(&deposit), vout: 0 };
        let payment = pays(&[coin], &[(script(CHANGE), 20_000), (script(CHANGE + 1), 29_000)]);
        bench.house.authorised.insert(txid(&payment));
        bench.house.change.insert(txid(&payment), (name(wallet), index));
        let facts = bench.mine(vec![payment.clone()]);
        let kind = |vout| bench.books.coins[&OutPoint { txid: txid(&payment), vout }].kind;
        let is_change = |vout: &u32| kind(*vout) == CoinKind::Change;
        assert_eq!((0..2).filter(is_change).collect::<Vec<_>>(), change, "{wallet} {index:?}");
        assert_eq!(held(&facts), vec![HoldReason::ChangeAddress; 2 - change.len()], "{wallet} {index:?}");
        let state =
            |vout: u32| if is_change(&vout) { "unknown" } else { "held(the address is for own change)" };
        assert_eq!([0, 1].map(|vout| bench.state(&payment, vout)), [0, 1].map(state));
    }
}

/// What is too small to be credited is told by its block, and so is what exceeds the limit of a transaction.
#[test]
fn what_waits_is_told_within_limits() {
    let told = |facts: &[Fact]| facts.iter().filter(|fact| matches!(fact, Fact::Seen(_))).count();
    let mut bench = Bench::default();
    bench.sync();
    let tx = pays(&[foreign(1)], &[(script(0), 999), (script(1), 1_000)]);
    let facts = bench.mempool(std::slice::from_ref(&tx), &[]);
    assert!(matches!(&facts[..], [Fact::Seen(seen)] if seen.amount == Sats(1_000)), "{facts:?}");
    bench.mine(vec![tx.clone()]);
    let states = ["held(less than 1000 sat)", "credited"];
    assert_eq!([0, 1].map(|vout| bench.state(&tx, vout)), states);

    let many = |from, outputs| pays(&[foreign(from)], &vec![(script(0), 1_000); outputs]);
    let (most, more) = (many(2, SIGHTINGS_LIMIT), many(3, SIGHTINGS_LIMIT + 1));
    for tx in [&most, &more] {
        assert_eq!(told(&bench.mempool(std::slice::from_ref(tx), &[])), SIGHTINGS_LIMIT);
    }
    let last = SIGHTINGS_LIMIT as u32;
    let state = |bench: &Bench, vout| bench.state(&more, vout);
    assert_eq!((state(&bench, last - 1).as_str(), state(&bench, last).as_str()), ("seen", "unknown"));
    bench.mine(vec![most, more.clone()]);
    assert_eq!(state(&bench, last), "credited");
    assert_eq!(bench.balance("a"), 1_000 * (2 * SIGHTINGS_LIMIT as u64 + 1));
}

/// Two ways to write a block with one hash (CVE-2012-2459): the last transactions are repeated.
#[test]
fn a_repeated_transaction_counts_once() {
    let mut bench = Bench::default();
    let first = small(1, 0);
    bench.mine(vec![first.clone()]);
    // Counted twice it would be a million, and wait for three confirmations.
    let coin = OutPoint { txid: txid(&first), vout: 0 };
    bench.tree.mine(vec![small(2, 0), pays(&[coin], &[(script(2), 600_000)])]);
    let best = bench.tree.best;
    let mined = bench.tree.blocks.get_mut(&best).unwrap();
    let last = mined.block.txdata.last().unwrap().clone();
    mined.block.txdata.push(last);
    assert!(mined.block.check_merkle_root(), "the root is the same");
    let facts = bench.sync();
    assert_eq!(bench.balance("a"), 2 * SMALL + 600_000);
    assert_eq!(facts.iter().filter(|fact| matches!(fact, Fact::Spent { .. })).count(), 1);
}

/// More work in fewer blocks: what was deep enough, and not judged for a loading node, is not any more.
#[test]
fn a_shorter_chain_makes_deposits_younger() {
    let mut bench = Bench::default();
    let tx = pays(&[foreign(1)], &[(script(0), MIDDLE)]);
    let fork = bench.tree.mine(vec![tx.clone()]);
    bench.tree.mine_empty(2);
    bench.tree.loading = true;
    bench.sync();
    assert_eq!(bench.state(&tx, 0), "confirming(3/3)");
    bench.tree.best = bench.tree.mine_on(fork, vec![]);
    bench.tree.loading = false;
    bench.sync();
    assert_eq!(bench.follower.state(), deposits::NodeState::Following);
    assert_eq!((bench.state(&tx, 0).as_str(), bench.balance("a")), ("confirming(2/3)", 0));
}

/// Found and spent while the node loaded, restarted long after: still credited, then forgotten.
#[test]
fn a_deposit_that_was_spent_before_it_was_judged_is_credited() {
    let mut bench = Bench::default();
    bench.tree.loading = true;
    let tx = small(1, 0);
    bench.mine(vec![tx.clone()]);
    let coin = OutPoint { txid: txid(&tx), vout: 0 };
    bench.mine(vec![pays(&[coin], &[(ScriptBuf::new_op_return([]), 1_000)])]);
    bench.tree.mine_empty(200);
    bench.sync();
    bench.restart();
    assert_eq!(bench.balance("a"), 0);
    bench.tree.loading = false;
    bench.sync();
    assert_eq!((bench.balance("a"), bench.follower.coins().count()), (SMALL, 0));
}

#[test]
fn bytes_that_are_no_block_are_refused() {
    let mut bench = Bench::default();
    let hash = bench.tree.mine(vec![small(1, 0)]);
    let good = bench.tree.blocks[&hash].block.clone();
    let raw = bitcoin::consensus::serialize(&good);
    assert_eq!(Block::parse(1, &raw).unwrap().hash(), hash);
    assert!(matches!(Block::parse(1, &raw[1..]), Err(BlockError::Malformed(_))));
    assert!(matches!(Block::parse(1, &[&raw[..], &[0]].concat()), Err(BlockError::Malformed(_))));

    let mut richer = good.clone();
    richer.txdata[1].output[0].value = bitcoin::Amount::from_sat(SMALL * 2);
    assert_eq!(Block::new(1, richer).unwrap_err(), BlockError::MerkleRoot);
    let mut empty = good.clone();
    empty.txdata.clear();
    assert_eq!(Block::new(1, empty).unwrap_err(), BlockError::MerkleRoot);
    let mut idle = good;
    while idle.header.validate_pow(idle.header.target()).is_ok() {
        idle.header.nonce += 1;
    }
    assert_eq!(Block::new(1, idle).unwrap_err(), BlockError::Work);
}
