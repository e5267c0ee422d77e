//! A real node, real books and the log of a world: what the clerk makes of deposits.

mod keys;
#[path = "../../../../ledger/tests/common/postgres.rs"]
#[expect(dead_code, reason = "of the cluster only a fresh database is used here")]
mod postgres;
#[path = "../../../../sim/src/regtest.rs"]
#[expect(unreachable_pub, dead_code, reason = "the file is a module of another crate")]
pub(crate) mod regtest;
pub(super) mod rig;
mod tip;

use custody::effects::Branch;
use deposits::House as _;
use fixtures::{client, name};
use ledger::{Code, Owner};
use rig::{Engine, NEEDED, Rig, fuse};

use super::*;

/// Satoshi of most deposits.
const AMOUNT: u64 = 1_000_000;

#[test]
fn a_deposit_is_seen_confirmed_and_credited_and_a_reorganisation_takes_it_back() {
    let mut rig = Rig::start(Engine::Sqlite);
    rig.turn().unwrap();
    let status = rig.status();
    assert_eq!((status.height, status.following), (Some(rig.node.rpc().block_count().unwrap()), true));

    // Two outputs to one address, and one more to another client.
    let tx = rig.pay(&[(rig.own(0), AMOUNT), (rig.own(0), AMOUNT + 1), (rig.own(4), 5_000)]);
    rig.send(&tx);
    rig.turn().unwrap();
    let deposit = rig::outpoint(&tx, 0);
    assert_eq!(rig.state(&deposit), "seen");
    for confirmations in 1..NEEDED {
        rig.mine(1);
        rig.turn().unwrap();
        assert_eq!(rig.state(&deposit), format!("confirming({confirmations}/{NEEDED})"));
        assert_eq!((rig.balance(Owner::External), rig.young()), (0, 3));
    }
    rig.mine(1);
    rig.turn().unwrap();
    assert_eq!(rig.state(&deposit), "credited");
    let held = |rig: &Rig| ["north", "south"].map(|who| rig.balance(Owner::Client(name(who))));
    let sum = i128::from(2 * AMOUNT + 1);
    assert_eq!((held(&rig), rig.balance(Owner::External)), ([sum, 5_000], -sum - 5_000));
    assert_eq!(rig.young(), 0);
    let first = rig.deposit(&deposit);
    assert_eq!(first.credit, first.id().map(|id| id.to_string()));
    assert_eq!(first.address, rig.address(0));
    let lines: Vec<&str> = first.history.iter().map(|line| line.what.as_str()).collect();
    assert_eq!(lines, ["seen", "confirming", "credited"]);

    // Its block becomes invalid; the deposit waits again, and confirms in another block.
    let depth = rig.tip() + 1 - first.place.unwrap().height;
    rig.reorganise(depth);
    rig.turn().unwrap();
    assert_eq!((rig.state(&deposit).as_str(), held(&rig)), ("seen", [0, 0]));
    rig.mine(NEEDED);
    rig.turn().unwrap();
    assert_eq!((rig.state(&deposit).as_str(), held(&rig)), ("credited", [sum, 5_000]));
    assert_ne!(rig.deposit(&deposit).credit, first.credit, "another credit");
    let codes = rig.transfers().into_iter().map(|transfer| transfer.code).collect::<Vec<_>>();
    let codes = |code| codes.iter().filter(|found| **found == code).count();
    assert_eq!((codes(Code::Deposit), codes(Code::DepositReversed)), (6, 3));
    assert!(rig.deposits.outflows().is_empty());
}

/// Records of young deposits are remembered from one block to the next, and the books are right whatever is remembered.
#[test]
fn what_somebody_else_writes_of_a_young_deposit_is_read_again() {
    let mut rig = Rig::start(Engine::Sqlite);
    let tx = rig.pay(&[(rig.own(0), AMOUNT), (rig.own(4), AMOUNT)]);
    rig.mine_only(&[rig::raw(&tx)]);
    rig.turn().unwrap();
    for _ in 1..NEEDED {
        rig.touch(&rig::outpoint(&tx, 0));
        rig.mine(1);
        // The first turn loses what it remembers, and the next one reads.
        rig.turns(2);
    }
    for (vout, who) in [(0, "north"), (1, "south")] {
        assert_eq!(rig.state(&rig::outpoint(&tx, vout)), "credited");
        assert_eq!(rig.balance(Owner::Client(name(who))), i128::from(AMOUNT));
    }
}

#[test]
fn deposits_are_held_with_all_reasons_and_taken_back_from_where_they_are() {
    let mut rig = Rig::start(Engine::Sqlite);
    rig.turn().unwrap();
    rig.retire(1);
    rig.world.adopt(client("east"));
    let gap = rig.script(Branch::Receive, 20);
    let outputs = [
        (rig.own(0), 999),
        (gap, AMOUNT),
        (rig.own(1), 2 * AMOUNT),
        (rig.script(Branch::Change, 0), 3 * AMOUNT),
        (rig.own(2), 4 * AMOUNT),
        (rig.own(0), 1_000),
    ];
    let tx = rig.pay(&outputs);
    let list = format!("{} a list\n", rig.address(2));
    rig.screen(&list);
    rig.send(&tx);
    rig.mine(NEEDED);
    rig.turn().unwrap();
    let states: Vec<_> = (0..6).map(|vout| rig.state(&rig::outpoint(&tx, vout))).collect();
    let expected = [
        "held(less than 1000 sat)",
        "held(the address is not allocated to a client)",
        "held(the address was retired)",
        "held(the address is not allocated to a client; the address is for own change)",
        "held(screening: a list)",
        "credited",
    ];
    assert_eq!(states, expected);
    let north = || Owner::Client(name("north"));
    assert_eq!((rig.balance(Owner::Suspense), rig.balance(north())), (999 + 10 * i128::from(AMOUNT), 1_000));

    // Two people release one; its client passes all of it on before the reorganisation.
    rig.release(&rig::outpoint(&tx, 2));
    rig.internal("north", "south", 2 * AMOUNT);
    let before = rig.deposit(&rig::outpoint(&tx, 2));
    assert_eq!(before.credit, before.release_id());
    rig.reorganise(NEEDED);
    rig.turn().unwrap();
    assert_eq!(rig.balance(Owner::Suspense), 0, "what was held is taken from there");
    assert_eq!(rig.balance(north()), -2 * i128::from(AMOUNT), "what was released is taken from the client");
    assert_eq!(rig.balance(Owner::Client(name("south"))), 2 * i128::from(AMOUNT));
    assert_eq!(rig.balance(Owner::External), 0);
    assert_eq!(rig.state(&rig::outpoint(&tx, 2)), "seen");

    // A list that cannot be read holds everything.
    std::fs::remove_file(rig.list()).unwrap();
    rig.mine(NEEDED);
    rig.turn().unwrap();
    assert_eq!(rig.state(&rig::outpoint(&tx, 5)), "held(the screening gave no answer)");
}

#[test]
fn a_client_is_known_by_its_document_and_before_there_were_any_by_its_addresses() {
    for (rules, expected) in [(1, "credited"), (2, "held(the books do not know client west)")] {
        let mut rig = Rig::under(rules);
        let index = rig.allocate("west", 1);
        let tx = rig.pay(&[(rig.own(index), AMOUNT)]);
        rig.send(&tx);
        rig.mine(NEEDED);
        rig.turn().unwrap();
        assert_eq!(rig.state(&rig::outpoint(&tx, 0)), expected);
    }
}

/// Two books follow one node; after each turn one of them is taken up again by another process.
fn a_restart_changes_nothing(engine: Engine) {
    let mut rig = Rig::start(Engine::Sqlite);
    let mut other = rig.beside(engine);
    let mut step = |rig: &mut Rig| {
        // A second turn where nothing has happened must say nothing.
        for _ in 0..2 {
            rig.turn().unwrap();
            other.follow(rig);
            other.restart();
            other.turn().unwrap();
            other.restart();
        }
        assert_eq!(rig.entries(), other.entries());
    };
    step(&mut rig);
    let tx = rig.pay(&[(rig.own(0), AMOUNT), (rig.own(1), 500), (rig.own(4), 7_000)]);
    rig.send(&tx);
    step(&mut rig);
    for _ in 0..=NEEDED {
        rig.mine(1);
        step(&mut rig);
    }
    rig.reorganise(2);
    step(&mut rig);
    rig.mine(1);
    step(&mut rig);
    rig.reorganise(6);
    step(&mut rig);
    // It is replaced while nobody looks: seen before the restart, gone after it.
    assert_eq!(rig.state(&rig::outpoint(&tx, 0)), "seen");
    let instead = rig.double_spend();
    rig.mine_only(&[instead]);
    step(&mut rig);
    assert_eq!(rig.state(&rig::outpoint(&tx, 0)), "vanished");
    rig.mine(NEEDED);
    step(&mut rig);
    assert_eq!(rig.balance(Owner::External), 0);
    assert!(rig.transfers().len() >= 6, "credited and taken back");
}

#[test]
fn a_restart_at_every_point_changes_nothing_on_sqlite() {
    a_restart_changes_nothing(Engine::Sqlite);
}

#[test]
fn a_restart_at_every_point_changes_nothing_on_postgresql() {
    a_restart_changes_nothing(Engine::Postgres);
}

/// A block with more own outputs than one posting holds, credited, and taken back by a reorganisation; the process
/// dies before each of the postings in turn.
#[test]
fn a_step_of_many_postings_survives_a_crash_before_each_of_them() {
    let mut rig = Rig::start(Engine::Sqlite);
    let many: Vec<_> = (0..150).map(|n| (rig.own(n % 4), 2_000 + u64::from(n))).collect();
    let sum: i128 = many.iter().map(|(_, amount)| i128::from(*amount)).sum();
    let tx = rig.pay(&many);
    rig.send(&tx);
    let mut crashes = 0;
    // In the first round nothing fails; then the same chain is followed by fresh books.
    let mut phase = |rig: &mut Rig, benches: &mut Vec<rig::Bench>, expected: i128| {
        let before = fuse::count();
        rig.turn().unwrap();
        rig.turn().unwrap();
        assert_eq!(rig.balance(Owner::External), -expected);
        let postings = fuse::count() - before;
        for (bench, k) in benches.iter_mut().zip(0..) {
            bench.follow(rig);
            if k < postings {
                fuse::set(Some(k));
                while bench.turn().is_ok() {}
                fuse::set(None);
                crashes += 1;
                bench.restart();
            }
            bench.turn().unwrap();
            bench.turn().unwrap();
            assert_eq!(bench.summary(), rig.summary(), "crashed before posting {k}");
        }
        postings
    };
    let mut benches: Vec<_> = (0..8).map(|_| rig.beside(Engine::Sqlite)).collect();
    phase(&mut rig, &mut benches, 0);
    rig.mine(1);
    assert!(phase(&mut rig, &mut benches, 0) >= 2, "found in several postings");
    rig.mine(NEEDED - 1);
    assert!(phase(&mut rig, &mut benches, sum) >= 3, "credited in several postings");
    rig.reorganise(NEEDED);
    assert!(phase(&mut rig, &mut benches, 0) >= 3, "taken back in several postings");
    rig.mine(NEEDED);
    phase(&mut rig, &mut benches, sum);
    assert!(crashes >= 12, "{crashes}");
}

/// As above, and before the restart the block is gone for good: nothing of the half posting remains.
#[test]
fn a_half_posted_block_that_is_replaced_leaves_nothing() {
    let mut rig = Rig::start(Engine::Sqlite);
    let many: Vec<_> = (0..150).map(|n| (rig.own(n % 4), 2_000)).collect();
    let tx = rig.pay(&many);
    let mut bench = rig.beside(Engine::Sqlite);
    bench.turn().unwrap();
    rig.mine_only(&[rig::raw(&tx)]);
    fuse::set(Some(1));
    assert!(bench.turn().is_err());
    fuse::set(None);
    assert!(!bench.records(RecordKind::Coin, "unspent").is_empty(), "some of it is in the books");
    bench.restart();
    let instead = rig.double_spend();
    rig.invalidate(1);
    rig.mine_only(&[instead]);
    rig.mine(NEEDED);
    bench.turn().unwrap();
    assert_eq!(bench.records(RecordKind::Coin, "unspent").len(), 0);
    assert_eq!(bench.records(RecordKind::Deposit, "confirming").len(), 0);
    assert_eq!(bench.balance(Owner::External), 0);
}

fn two_replicas_credit_once(engine: Engine) {
    let mut rig = Rig::start(engine);
    let mut other = rig.replica();
    // Else both might say the same, which is taken for one who says it twice.
    other.now += 1;
    rig.turn().unwrap();
    other.turn().unwrap();
    // Both know the same; one looks at a block, and the other one comes too late.
    rig.mine(1);
    rig.turn().unwrap();
    other.turn().unwrap();
    assert!(other.status().node.starts_with("another server was faster"), "{}", other.status().node);
    assert!(!other.status().following && other.deposits.follower().is_none());
    other.turn().unwrap();
    assert_eq!(rig.status(), other.status());
    for round in 0..6 {
        let tx = rig.pay(&[(rig.own(0), AMOUNT + round), (rig.own(5), 3_000)]);
        rig.send(&tx);
        rig.mine(if round % 2 == 0 { NEEDED } else { 1 });
        if round == 3 {
            rig.reorganise(2);
        }
        other.follow(&rig);
        // Both at once, and whoever loses looks again.
        std::thread::scope(|scope| {
            let both = [scope.spawn(|| other.turns(3)), scope.spawn(|| rig.bench.turns(3))];
            both.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
    rig.mine(NEEDED);
    rig.turns(2);
    other.turns(2);
    let sum: i128 = (0..6).map(|round| i128::from(AMOUNT) + round + 3_000).sum();
    assert_eq!(rig.balance(Owner::External), -sum);
    assert_eq!(rig.records(RecordKind::Deposit, "credited").len(), 12);
    assert_eq!(rig.status().node, other.status().node);
}

#[test]
fn two_replicas_on_one_sqlite_database_credit_once() {
    two_replicas_credit_once(Engine::Sqlite);
}

#[test]
fn two_replicas_on_one_postgresql_database_credit_once() {
    two_replicas_credit_once(Engine::Postgres);
}

#[test]
fn a_node_that_is_gone_or_of_another_chain_credits_nothing_and_says_so() {
    let mut rig = Rig::start(Engine::Sqlite);
    let tx = rig.pay(&[(rig.own(0), AMOUNT)]);
    rig.send(&tx);
    rig.mine(NEEDED - 1);
    rig.turn().unwrap();
    rig.mine(1);

    rig.node.stop();
    assert!(rig.turn().unwrap_err().to_string().starts_with("the node:"));
    assert!(rig.status().node.starts_with("the node does not answer"), "{}", rig.status().node);
    assert!(!rig.status().following);
    rig.node.restart().unwrap();

    // Somebody starts a node of another network on the same port: signet.
    let signet = rig.swap_for_signet();
    rig.turn().unwrap();
    let said = rig.status().node;
    assert!(said.starts_with("the node follows another chain: block 0 is 0000"), "{said}");
    drop(signet);
    assert_eq!(rig.balance(Owner::External), 0);
    rig.node.restart().unwrap();

    // The log pins a header that the node does not have.
    rig.pin(50, Hash([7; 32]));
    rig.turn().unwrap();
    let said = rig.status().node;
    assert!(said.starts_with("the node follows another chain: block 50 is "), "{said}");
    assert_eq!((rig.status().following, rig.balance(Owner::External)), (false, 0));
    let right = Hash(rig.node.rpc().block_hash(60).unwrap().to_byte_array());
    rig.pin(60, right);
    rig.turn().unwrap();
    assert_eq!((rig.status().following, rig.balance(Owner::External)), (true, -i128::from(AMOUNT)));
}

#[test]
fn a_node_that_has_pruned_what_is_needed_is_named() {
    let mut rig = Rig::with_node("prune=1\nfastprune=1\n");
    rig.mine(600);
    let lowest: u32 = rig.node.rpc().call("pruneblockchain", serde_json::json!([300])).unwrap();
    assert!(lowest > 1, "{lowest}");
    rig.turn().unwrap();
    assert!(rig.status().node.starts_with("the node has pruned block 1,"), "{}", rig.status().node);
    assert!(!rig.status().following);
}

#[test]
fn coins_that_leave_without_the_log_raise_an_alarm_also_after_a_restart() {
    let mut rig = Rig::start(Engine::Sqlite);
    let tx = rig.pay(&[(rig.own(0), AMOUNT)]);
    rig.send(&tx);
    rig.mine(NEEDED);
    rig.turn().unwrap();
    let coin = rig::outpoint(&tx, 0);
    assert_eq!(rig.deposits.spender(&rig.at(), &coin).unwrap(), None);

    let theft = rig.steal(&coin, AMOUNT, 0);
    rig.send(&theft);
    rig.turn().unwrap();
    let flow =
        Outflow { txid: rig::txid(&theft), outpoint: coin, wallet: name("main"), amount: Sats(AMOUNT) };
    assert_eq!(rig.deposits.outflows(), std::slice::from_ref(&flow));
    let alarm = |rig: &Rig| {
        let alarms = rig.desk.core().alarms.list();
        alarms.iter().filter(|alarm| alarm.starts_with("UNAPPROVED OUTFLOW")).count()
    };
    assert_eq!(alarm(&rig), 1);
    rig.mine(2);
    rig.turn().unwrap();
    assert_eq!((rig.deposits.outflows().len(), alarm(&rig)), (1, 1), "said once");
    assert_eq!(rig.deposits.spender(&rig.at(), &coin).unwrap(), Some((rig::txid(&theft), 2)));
    rig.restart();
    assert!(rig.deposits.outflows().is_empty());
    rig.turn().unwrap();
    assert_eq!(rig.deposits.outflows(), [flow]);

    // Long afterwards it is no longer read at a start, and the books still know who spent it.
    rig.mine(145);
    rig.turns(10);
    rig.restart();
    rig.turn().unwrap();
    assert_eq!(rig.records(RecordKind::Coin, "buried").len(), 1);
    assert_eq!(rig.deposits.follower().unwrap().coins().count(), 0);
    assert_eq!(rig.deposits.spender(&rig.at(), &coin).unwrap(), Some((rig::txid(&theft), 147)));
}

#[test]
fn what_the_log_allowed_is_no_outflow() {
    let mut world = fixtures::World::ready();
    let coin = world.coin(50_000_000);
    let request = world.asked(world.request(&[("acme", 10_000_000)]));
    let mut draft = world.draft(&[request], &[coin], 5_000);
    draft.outputs.last_mut().unwrap().0 = rig::script(&world, Branch::Change, 3).into_bytes();
    draft.change = Some(3);
    let id = world.pay(&[request], &draft).unwrap();
    let txid = world.state.authorisations().get(&id).unwrap().txid;
    assert!(house::authorised(&world.state, &txid));
    assert!(!house::authorised(&world.state, &id), "the statement is not the transaction");

    let rig = Rig::start(Engine::Sqlite);
    let (at, screened) = (At { state: &world.state, ..rig.at() }, Screened::default());
    let house = Institution::new(&at, &screened);
    assert_eq!((house.authorised(&txid), house.authorised(&id)), (true, false));
    assert_eq!(house.change(&txid), Some((name("main"), Some(3))));
    assert_eq!(house.change(&id), None);
}

/// A chain that parts below all that is remembered stops all credits, until an operator vouches for a block.
#[test]
fn a_reorganisation_of_any_depth_is_followed_when_an_operator_vouches_for_a_block() {
    let mut rig = Rig::start(Engine::Sqlite);
    let (early, late) = (rig.pay(&[(rig.own(0), AMOUNT)]), rig.pay(&[(rig.own(0), 2 * AMOUNT)]));
    rig.send(&early);
    rig.mine(NEEDED);
    let below = rig.tip();
    rig.mine_only(&[rig::raw(&late)]);
    rig.mine(150);
    rig.turns(16);
    assert_eq!(rig.balance(Owner::External), -3 * i128::from(AMOUNT));

    let instead = rig.double_spend();
    rig.invalidate(rig.tip() - below);
    rig.mine_only(&[instead]);
    rig.mine(151);
    rig.turns(16);
    assert!(rig.status().node.starts_with("the chain was reorganised below"), "{}", rig.status().node);
    assert_eq!(rig.balance(Owner::External), -3 * i128::from(AMOUNT));

    rig.settings.rescan = Some((below, Hash([9; 32])));
    rig.restart();
    rig.turns(16);
    assert!(!rig.status().following, "the node does not have the block that was vouched for");
    let block = Hash(rig.node.rpc().block_hash(below).unwrap().to_byte_array());
    rig.settings.rescan = Some((below, block));
    rig.restart();
    rig.turns(16);
    assert_eq!((rig.status().following, rig.balance(Owner::External)), (true, -i128::from(AMOUNT)));
    assert_eq!(rig.state(&rig::outpoint(&late, 0)), "taken-back");
    // The setting may stay: it is looked at only when the chain is lost.
    let before = rig.entries();
    rig.restart();
    rig.turns(2);
    assert_eq!(rig.entries(), before);
}

#[test]
fn one_turn_looks_at_so_many_blocks_and_transactions() {
    let mut rig = Rig::start(Engine::Sqlite);
    rig.once().unwrap();
    let height = |rig: &Rig| rig.deposits.follower().unwrap().tip().height;
    assert_eq!((height(&rig), rig.deposits.behind()), (BLOCKS_PER_TURN, true));
    rig.turn().unwrap();
    assert_eq!((height(&rig), rig.deposits.behind()), (rig.tip(), false));

    rig.fill_mempool(FETCHES_PER_TURN + 1);
    let known = |rig: &Rig| rig.deposits.mempool.len();
    rig.once().unwrap();
    assert_eq!(known(&rig), FETCHES_PER_TURN);
    rig.once().unwrap();
    assert_eq!(known(&rig), FETCHES_PER_TURN + 1);
    // A mempool that was large is left alone for a while.
    rig.mine(1);
    rig.deposits.large = Some(Instant::now());
    rig.once().unwrap();
    assert_eq!(known(&rig), FETCHES_PER_TURN + 1);
    rig.deposits.large = Instant::now().checked_sub(LARGE_MEMPOOL_PAUSE);
    rig.once().unwrap();
    assert_eq!((known(&rig), rig.deposits.large), (0, None));
}

#[test]
fn the_files_of_the_settings_are_read_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules");
    let settings = || Settings { rules: Some(path.clone()), ..Settings::default() };
    assert!(Deposits::new(settings()).is_err_and(|error| error.to_string().contains("rules")));
    std::fs::write(&path, "main from 0").unwrap();
    assert!(Deposits::new(settings()).is_err_and(|error| error.to_string().contains("line 1")));
    std::fs::write(&path, "main from 0 needs 9").unwrap();
    let deposits = Deposits::new(settings()).unwrap();
    assert_eq!(deposits.rules.confirmations(&name("main"), Sats(1), false), 9);
}

#[test]
fn a_log_shorter_than_the_books_looks_at_no_block() {
    let mut rig = Rig::start(Engine::Sqlite);
    let short = rig.world.clone();
    rig.world.tick(60);
    rig.mine(1);
    rig.turn().unwrap();
    let whole = std::mem::replace(&mut rig.world, short);
    rig.restart();
    rig.mine(1);
    let refused = rig.once().unwrap_err().to_string();
    assert!(refused.contains("shorter than the one that the books were made by"), "{refused}");
    rig.world = whole;
    rig.turn().unwrap();
    assert_eq!(rig.status().height, Some(rig.tip()));
}
