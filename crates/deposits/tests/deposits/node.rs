//! The condition of the node: what it is called, and that nothing is credited meanwhile.

use crate::common::{Bench, deployment, foreign, genesis, pays, script};
use custody::Hash;
use deposits::{
    Block, Cursor, Event, Fact, Follower, LAG_LIMIT_BLOCKS, Next, NodeState, REMEMBERED_BLOCKS, ResumeError,
};

const SMALL: u64 = 50_000;

/// A bench at block 5 whose next block, not yet looked at, holds a deposit that needs one confirmation.
fn waiting() -> Bench {
    let mut bench = Bench::default();
    bench.tree.mine_empty(5);
    bench.sync();
    bench.tree.mine(vec![pays(&[foreign(1)], &[(script(0), SMALL)])]);
    bench
}

/// Following again, the deposit is credited.
fn recovers(mut bench: Bench) {
    bench.tree.loading = false;
    bench.tree.ahead = 0;
    bench.tree.lowest = 0;
    bench.sync();
    assert_eq!(bench.follower.state(), NodeState::Following);
    assert_eq!(bench.balance("a"), SMALL);
}

#[test]
fn nothing_is_known_or_wanted_before_the_first_report() {
    let mut bench = waiting();
    bench.follower = Follower::start(deployment(), 0, genesis());
    assert_eq!((bench.follower.state(), bench.follower.next()), (NodeState::Unknown, Next::Wait));
    let block = Block::new(1, bench.tree.blocks[&bench.tree.ancestor(1)].block.clone()).unwrap();
    assert!(bench.step(Event::Block(&block)).is_empty());
    assert_eq!(bench.follower.tip().height, 0, "a block that nobody asked for");
}

#[test]
fn a_deposit_waits_until_the_last_block_was_looked_at() {
    let mut bench = waiting();
    bench.tree.mine_empty(2);
    bench.step(Event::Node(bench.tree.report()));
    for height in 6..8 {
        assert_eq!(bench.follower.state(), NodeState::CatchingUp { at: height - 1, best: 8 });
        bench.fetch().unwrap();
        assert_eq!(bench.balance("a"), 0);
    }
    bench.fetch().unwrap();
    assert_eq!((bench.follower.state(), bench.balance("a")), (NodeState::Following, SMALL));
}

#[test]
fn a_node_that_is_gone_credits_nothing() {
    let mut bench = waiting();
    bench.step(Event::Node(bench.tree.report()));
    let block = Block::new(6, bench.tree.blocks[&bench.tree.best].block.clone()).unwrap();
    bench.step(Event::Gone("connection refused".into()));
    assert!(matches!(bench.follower.state(), NodeState::Gone { .. }));
    assert_eq!(bench.follower.next(), Next::Wait);
    assert!(bench.step(Event::Block(&block)).is_empty());
    assert!(bench.mempool(&[pays(&[foreign(9)], &[(script(0), SMALL)])], &[]).is_empty());
    recovers(bench);
}

#[test]
fn a_node_that_loads_or_lags_credits_nothing() {
    for (loading, ahead) in [(true, 0), (false, LAG_LIMIT_BLOCKS + 1)] {
        let mut bench = waiting();
        (bench.tree.loading, bench.tree.ahead) = (loading, ahead);
        let facts = bench.sync();
        assert!(matches!(facts[..], [Fact::Confirming { .. }]), "looked at, not credited: {facts:?}");
        assert_eq!(bench.follower.state(), NodeState::Lagging { blocks: 6, should: 6 + ahead });
        recovers(bench);
    }
    let mut bench = waiting();
    bench.tree.ahead = LAG_LIMIT_BLOCKS;
    bench.sync();
    assert_eq!(bench.balance("a"), SMALL, "a header comes before its block");
}

/// It indexes again, or somebody put an old copy back: nothing is taken back for that.
#[test]
fn a_node_that_fell_back_takes_nothing_back() {
    let mut bench = waiting();
    bench.sync();
    let (best, old) = (bench.tree.best, bench.tree.ancestor(3));
    bench.tree.best = old;
    assert!(bench.sync().is_empty());
    assert_eq!(bench.follower.state(), NodeState::Lagging { blocks: 3, should: 6 });
    assert_eq!((bench.follower.next(), bench.balance("a")), (Next::Wait, SMALL));
    bench.tree.best = best;
    recovers(bench);
}

/// The same, below all that is remembered: it is not taken for a deep reorganisation.
#[test]
fn a_node_that_loads_from_its_first_block_is_waited_for() {
    let mut bench = waiting();
    bench.tree.mine_empty(200);
    bench.sync();
    let best = bench.tree.best;
    for height in [0, 7, 62] {
        bench.tree.best = bench.tree.ancestor(height);
        assert!(bench.sync().is_empty());
        assert_eq!(bench.follower.state(), NodeState::Lagging { blocks: height, should: 206 });
        bench.tree.best = best;
    }
    recovers(bench);
}

#[test]
fn another_chain_is_named_and_nothing_of_it_is_taken() {
    let mut bench = waiting();
    let other = Hash([7; 32]);
    let mut report = bench.tree.report();
    report.genesis = other;
    bench.step(Event::Node(report));
    let state = NodeState::OtherChain { height: 0, expected: genesis(), found: Some(other) };
    assert_eq!((bench.follower.state(), bench.follower.next()), (state, Next::Wait));
    let block = Block::new(6, bench.tree.blocks[&bench.tree.best].block.clone()).unwrap();
    assert!(bench.step(Event::Block(&block)).is_empty());

    // The same first block, another one where the log pins a header.
    let mut deployment = deployment();
    (deployment.pinned_height, deployment.pinned) = (3, bench.tree.ancestor(3));
    let mut follower = Follower::start(deployment, 3, bench.tree.ancestor(3));
    std::mem::swap(&mut bench.follower, &mut follower);
    let mut report = bench.tree.report();
    report.pinned = Some(other);
    bench.step(Event::Node(report.clone()));
    assert!(matches!(bench.follower.state(), NodeState::OtherChain { height: 3, .. }));
    report.pinned = None;
    bench.step(Event::Node(report.clone()));
    assert!(
        matches!(bench.follower.state(), NodeState::OtherChain { found: None, .. }),
        "it should have one"
    );
    report.blocks = 2;
    report.headers = 2;
    bench.step(Event::Node(report));
    assert_eq!(bench.follower.state(), NodeState::Lagging { blocks: 2, should: 3 }, "it cannot have one yet");
    bench.follower = follower;
    recovers(bench);
}

#[test]
fn a_pruned_block_is_named() {
    let mut bench = waiting();
    bench.tree.mine_empty(3);
    bench.tree.lowest = 7;
    assert!(bench.sync().is_empty());
    assert_eq!(
        (bench.follower.state(), bench.follower.next()),
        (NodeState::Pruned { needed: 6 }, Next::Wait)
    );
    bench.tree.lowest = 6;
    bench.sync();
    assert_eq!(bench.balance("a"), SMALL, "the first needed block is there");

    // Pruned on the way, also as a parent in a reorganisation.
    let mut bench = waiting();
    bench.sync();
    bench.tree.reorganise(2);
    bench.step(Event::Node(bench.tree.report()));
    bench.fetch().unwrap();
    bench.tree.lowest = 7;
    bench.fetch().unwrap();
    assert_eq!(bench.follower.state(), NodeState::Pruned { needed: 6 });
    bench.step(Event::Node(bench.tree.report()));
    assert_eq!(bench.follower.state(), NodeState::Pruned { needed: 6 }, "still");
    assert_eq!(bench.balance("a"), SMALL, "nothing is taken back before the new chain is known");
    bench.tree.lowest = 0;
    bench.sync();
    assert_eq!((bench.follower.state(), bench.balance("a")), (NodeState::Following, 0));
}

#[test]
fn a_reorganisation_below_what_is_remembered_credits_nothing_until_a_rescan() {
    let remembered = u32::try_from(REMEMBERED_BLOCKS).unwrap();
    let mut bench = waiting();
    let deposit = pays(&[foreign(1)], &[(script(0), SMALL)]);
    bench.tree.mine_empty(remembered);
    bench.sync();
    assert_eq!(bench.balance("a"), SMALL);
    let fork = bench.tree.ancestor(5);
    bench.tree.reorganise(bench.tree.height() - 5);
    bench.tree.mine(vec![deposit.clone(), pays(&[foreign(2)], &[(script(1), SMALL)])]);
    assert!(bench.sync().is_empty());
    let oldest = 6 + remembered - (remembered - 1);
    assert_eq!(bench.follower.state(), NodeState::Lost { oldest });
    assert_eq!(bench.follower.next(), Next::Wait);
    bench.mine(vec![]);
    assert_eq!((bench.balance("a"), bench.balance("b")), (SMALL, 0), "nothing moves");
    bench.restart();
    bench.sync();
    assert_eq!(bench.follower.state(), NodeState::Lost { oldest }, "found again after a restart");

    let coins: Vec<_> = bench.books.coins.values().cloned().collect();
    let facts = bench.follower.rescan(5, fork, coins);
    bench.books.take(&facts, bench.follower.cursor());
    assert_eq!((bench.balance("a"), bench.state(&deposit, 0)), (0, "taken-back".into()));
    bench.sync();
    assert_eq!(bench.follower.state(), NodeState::Following);
    assert_eq!((bench.balance("a"), bench.balance("b")), (SMALL, SMALL));
    assert_eq!(bench.books.posted.len(), 3, "one was credited in two blocks, one after the other");
}

/// The deepest reorganisation that is followed, and the next one.
#[test]
fn the_remembered_depth_on_both_sides() {
    let most = u32::try_from(REMEMBERED_BLOCKS).unwrap() - 1;
    for (depth, lost) in [(most, false), (most + 1, true)] {
        let mut bench = waiting();
        bench.tree.mine_empty(300);
        bench.sync();
        bench.tree.reorganise(depth);
        bench.sync();
        assert_eq!(matches!(bench.follower.state(), NodeState::Lost { .. }), lost, "{depth}");
        assert_eq!(bench.follower.state() == NodeState::Following, !lost, "{depth}");
    }
}

/// The node changes its mind while the parents of its best block are fetched.
#[test]
fn a_second_reorganisation_during_the_first() {
    let mut bench = waiting();
    bench.tree.mine_empty(10);
    bench.sync();
    let old = bench.tree.best;
    bench.tree.reorganise(12);
    bench.step(Event::Node(bench.tree.report()));
    for _ in 0..4 {
        bench.fetch().unwrap();
    }
    // The old chain wins after all.
    let next = bench.tree.mine_on(old, vec![]);
    bench.tree.mine_on(next, vec![]);
    bench.sync();
    assert_eq!((bench.follower.state(), bench.balance("a")), (NodeState::Following, SMALL));
    assert_eq!(bench.books.posted.len(), 1, "and nothing was taken back meanwhile");
}

#[test]
fn what_is_kept_must_be_of_one_moment() {
    let mut bench = waiting();
    let before = bench.follower.cursor();
    bench.sync();
    let coin = bench.books.coins.values().next().unwrap().clone();
    let resume = |cursor: &Cursor, coins: &[_]| Follower::resume(cursor.clone(), coins.to_vec()).map(|_| ());
    let cursor = bench.follower.cursor();
    assert_eq!(resume(&cursor, std::slice::from_ref(&coin)), Ok(()));
    let outpoint = coin.outpoint;
    assert_eq!(resume(&before, std::slice::from_ref(&coin)), Err(ResumeError::Coin { outpoint }));
    assert_eq!(resume(&cursor, &[coin.clone(), coin]), Err(ResumeError::Twice { outpoint }));
    let mut gap = cursor.clone();
    gap.blocks.remove(2);
    let mut empty = cursor.clone();
    empty.blocks.clear();
    let mut long = cursor;
    let last = *long.blocks.last().unwrap();
    let more = (1..).map(|n| deposits::Place { height: last.height + n, ..last });
    long.blocks.extend(more.take(REMEMBERED_BLOCKS));
    for bad in [gap, empty, long] {
        assert_eq!(resume(&bad, &[]), Err(ResumeError::Cursor));
    }
}

#[test]
fn every_state_has_a_sentence_for_the_operator() {
    let zero = Hash::default();
    let states = [
        NodeState::Unknown,
        NodeState::Following,
        NodeState::CatchingUp { at: 1, best: 2 },
        NodeState::Lagging { blocks: 1, should: 2 },
        NodeState::Gone { why: "refused".into() },
        NodeState::OtherChain { height: 0, expected: zero, found: None },
        NodeState::Pruned { needed: 1 },
        NodeState::Lost { oldest: 1 },
    ];
    let said: std::collections::BTreeSet<_> = states.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), states.len());
    for (state, text) in states.iter().map(|state| (state, state.to_string())) {
        let stops = text.contains("credited");
        assert_eq!(stops, *state != NodeState::Following, "{text}");
    }
}
