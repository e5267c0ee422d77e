//! Random trees of blocks, with restarts and a node that fails, against a model that looks at the whole
//! best chain at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{Bench, Books, CHANGE, foreign, pays, script, txid};
use bitcoin::Transaction;
use custody::Hash;
use custody::effects::{Branch, OutPoint, Sats};
use deposits::{Event, NodeState};
use proptest::prelude::*;

/// What happens.
#[derive(Clone, Debug)]
enum Act {
    /// A block on an earlier one, so many below the last mined, with some waiting transactions.
    Mine { back: usize, transactions: Vec<(u8, u8, u64)> },
    /// The node is looked at.
    Sync,
    /// The node is looked at, but only so many blocks are fetched.
    Begin(usize),
    /// The mempool changes at any moment: some transaction of any block comes, or goes.
    Pool(Vec<(usize, bool)>),
    /// The process is killed and starts again.
    Restart,
    /// The node is away, or loads, when it is looked at.
    Gone,
    /// The same.
    Loading,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let transaction = (0..12_u8, 0..14_u8, prop_oneof![500..2_000_u64, 900_000..12_000_000_u64]);
    let back = prop_oneof![4 => Just(0_usize), 2 => 1..4_usize, 1 => 4..30_usize];
    let mine = (back, proptest::collection::vec(transaction, 0..4));
    let act = prop_oneof![
        8 => mine.prop_map(|(back, transactions)| Act::Mine { back, transactions }),
        5 => Just(Act::Sync),
        2 => (0..6_usize).prop_map(Act::Begin),
        2 => proptest::collection::vec((0..40_usize, any::<bool>()), 1..6).prop_map(Act::Pool),
        1 => Just(Act::Restart),
        1 => Just(Act::Gone),
        1 => Just(Act::Loading),
    ];
    proptest::collection::vec(act, 1..60)
}

/// A payment to script `to % 14`, where 10 and 11 are change and 12 and 13 foreign; `from` below 6 is
/// a foreign coin, so that blocks of different branches hold the same or conflicting transactions; others spend
/// an own coin of the branch.
fn transaction(branch: &[&Transaction], from: u8, to: u8, amount: u64) -> Option<Transaction> {
    let spent: BTreeSet<_> =
        branch.iter().flat_map(|tx| &tx.input).map(|input| input.previous_output).collect();
    let to = match to {
        0..10 => script(u32::from(to)),
        10 | 11 => script(CHANGE + u32::from(to) - 10),
        _ => script(500),
    };
    let from = if from < 6 {
        foreign(u32::from(from))
    } else {
        let tx = branch.get(branch.len().checked_sub(usize::from(from) - 5)?)?;
        OutPoint { txid: txid(tx), vout: 0 }
    };
    let tx = pays(&[from], &[(to.clone(), amount), (to, amount / 2)]);
    (!spent.contains(&tx.input[0].previous_output)).then_some(tx)
}

/// What should be credited: each deposit that is deep enough in the best chain, and nothing else.
fn model(bench: &Bench) -> BTreeMap<(OutPoint, Hash), u64> {
    let height = bench.tree.height();
    let mut own = BTreeSet::new();
    let mut credited = BTreeMap::new();
    for mined in bench.tree.chain().into_iter().rev() {
        let mut found = Vec::new();
        for tx in &mined.block.txdata {
            let spends_own = tx.input.iter().any(|input| own.contains(&input.previous_output));
            for (vout, output) in tx.output.iter().enumerate() {
                let Some(address) = bench.watched.find(&output.script_pubkey) else { continue };
                own.insert(bitcoin::OutPoint::new(tx.compute_txid(), vout as u32));
                let change = spends_own && address.branch == Branch::Change;
                if !change {
                    let outpoint = OutPoint { txid: txid(tx), vout: vout as u32 };
                    found.push((outpoint, output.value.to_sat(), address));
                }
            }
        }
        for (outpoint, amount, address) in &found {
            let sum: u64 = found.iter().filter(|(.., a)| a.client == address.client).map(|(_, s, _)| s).sum();
            let needed = match sum {
                0..1_000_000 => 1,
                1_000_000..10_000_000 => 3,
                _ => 5,
            };
            let deep = height + 1 - mined.height >= needed;
            let good = address.client.is_some() && address.branch == Branch::Receive && *amount >= 1_000;
            if deep && good {
                credited.insert((*outpoint, mined.hash), *amount);
            }
        }
    }
    credited
}

fn credited(books: &Books) -> BTreeMap<(OutPoint, Hash), u64> {
    let ids = books.credits.iter();
    ids.map(|(id, (_, Sats(amount)))| ((id.outpoint, id.place.block), *amount)).collect()
}

/// Plays the acts; `restarts` says whether the process is really killed.
fn play(acts: &[Act], restarts: bool) -> Bench {
    let mut bench = Bench::default();
    let mut mined = vec![bench.tree.best];
    for act in acts {
        match act {
            Act::Mine { back, transactions } => {
                let parent = mined[mined.len().saturating_sub(1 + back)];
                let mut branch = Vec::new();
                let mut at = Some(&bench.tree.blocks[&parent]);
                while let Some(block) = at {
                    branch.splice(0..0, block.block.txdata.iter().skip(1));
                    at = bench.tree.blocks.get(&block.parent);
                }
                let mut new: Vec<Transaction> = Vec::new();
                for (from, to, amount) in transactions {
                    let all: Vec<_> = branch.iter().copied().chain(&new).collect();
                    new.extend(transaction(&all, *from, *to, *amount));
                }
                mined.push(bench.tree.mine_on(parent, new));
            }
            Act::Sync => {
                bench.sync();
                assert_eq!(bench.follower.state(), NodeState::Following);
                assert_eq!(credited(&bench.books), model(&bench));
            }
            Act::Begin(count) => {
                bench.step(Event::Node(bench.tree.report()));
                for _ in 0..*count {
                    bench.fetch();
                }
            }
            Act::Pool(changes) => {
                let blocks = mined.iter().map(|hash| &bench.tree.blocks[hash].block);
                let all: Vec<_> = blocks.flat_map(|block| block.txdata.iter().skip(1)).cloned().collect();
                for (at, comes) in changes {
                    let Some(tx) = all.len().checked_sub(1 + at).map(|at| &all[at]) else { continue };
                    let (added, removed) =
                        if *comes { (vec![tx.clone()], vec![]) } else { (vec![], vec![txid(tx)]) };
                    bench.mempool(&added, &removed);
                }
            }
            Act::Restart if restarts => bench.restart(),
            Act::Restart => {}
            Act::Gone => {
                let before = bench.books.credits.clone();
                bench.step(Event::Gone("down".into()));
                assert_eq!(bench.books.credits, before);
            }
            Act::Loading => {
                let before = bench.books.posted.clone();
                bench.tree.loading = true;
                bench.sync();
                bench.tree.loading = false;
                assert_eq!(bench.books.posted, before, "a loading node credits nothing");
            }
        }
    }
    bench.sync();
    bench
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// `Bench` checks on the way that nothing is due while the node is not followed, that no credit is made
    /// twice under one id, and that each deposit takes legal steps only.
    #[test]
    fn the_books_hold_what_is_deep_enough_in_the_best_chain(acts in acts()) {
        let bench = play(&acts, true);
        prop_assert_eq!(bench.follower.state(), NodeState::Following);
        prop_assert_eq!(credited(&bench.books), model(&bench));
    }

    /// Killed and resumed or not: the same books, under the same ids. (The mempool is asked again
    /// after a restart, and half a reorganisation fetched again: neither is in the acts.)
    #[test]
    fn a_restart_changes_nothing(mut acts in acts()) {
        acts.retain(|act| !matches!(act, Act::Begin(_) | Act::Pool(_)));
        prop_assert_eq!(play(&acts, true).books, play(&acts, false).books);
    }
}
