//! The flow against the rules themselves: what it proposes is put into the log of a world.

use custody::document::activation_message;
use custody::document::{DestinationKind, Document, Model};
use custody::effects::Sats;
use custody::payment::{Allocate, GAP_LIMIT};
use custody::statement::{Body, Freeze, Scope};
use fixtures::world::Coin;
use fixtures::{Account, DAY, World, client, destination, name, newest};

use super::change::{CHANGE_RESERVE, CLIENT_CHANGE};
use super::*;

mod clients;
mod gather;

/// A world, and what a server would know of its chain.
struct Bench {
    world: World,
    coins: BTreeMap<Name, Vec<Utxo>>,
    proposed: Vec<Authorise>,
    fee_rate: u64,
    spared: BTreeSet<OutPoint>,
}

impl Bench {
    fn new() -> Self {
        let coins = [(name("main"), Vec::new())].into_iter().collect();
        Self { world: World::ready(), coins, proposed: Vec::new(), fee_rate: 5, spared: BTreeSet::new() }
    }

    /// A bench whose wallet has coins of these amounts, each deep enough to be an anchor.
    fn with_coins(amounts: &[u64]) -> Self {
        let mut bench = Self::new();
        for amount in amounts {
            bench.coin(*amount, 6);
        }
        bench
    }

    /// A coin of the wallet with so many confirmations.
    fn coin(&mut self, amount: u64, depth: u32) -> OutPoint {
        let Coin { outpoint, amount, branch, index } = self.world.young_coin(amount);
        let height = Some(self.world.chain.height());
        self.world.chain.mine_empty(depth - 1);
        self.coins.get_mut(&name("main")).unwrap().push(Utxo { outpoint, amount, branch, index, height });
        outpoint
    }

    fn view(&self) -> View<'_> {
        View {
            state: &self.world.state,
            decoder: &self.world.decoder,
            now: self.world.time,
            tip: self.world.chain.height(),
            fee_rate: self.fee_rate,
            coins: &self.coins,
            proposed: &self.proposed,
            funded: None,
            spared: &self.spared,
        }
    }

    fn prove(&self) -> impl Fn(&OutPoint, u32) -> Result<ConfirmationProof, String> {
        |outpoint, _| Ok(self.world.chain.prove(outpoint.txid, self.world.state.header().height))
    }

    fn pay(&self, requests: &[Hash]) -> Result<Authorise, Problem> {
        self.view().pay(requests, None, &self.prove())
    }

    fn bump(&self, request: &Hash, rate: u64) -> Result<Authorise, Problem> {
        self.view().bump(request, rate, &self.prove())
    }

    /// A coin at a receive address of the wallet, deep enough to be an anchor.
    fn coin_at(&mut self, index: u32, amount: u64) -> OutPoint {
        let Coin { outpoint, amount, branch, index } = self.world.coin_of(0, Branch::Receive, index, amount);
        let height = Some(self.world.chain.height() - 5);
        self.coins.get_mut(&name("main")).unwrap().push(Utxo { outpoint, amount, branch, index, height });
        outpoint
    }

    /// Puts a proposal into the log.
    fn say(&mut self, authorise: &Authorise) -> Hash {
        self.world.say("server", Body::Authorise(authorise.clone())).unwrap()
    }

    /// An approved request of so much to acme.
    fn asked(&mut self, amount: u64) -> Hash {
        let request = self.world.request(&[("acme", amount)]);
        self.world.asked(request)
    }

    fn ready(&self) -> Vec<Hash> {
        self.view().open().into_iter().filter(|(_, judged)| judged.is_ok()).map(|(id, _)| id).collect()
    }

    fn fee(&self, authorise: &Authorise) -> u64 {
        let held: u64 = authorise.transaction.inputs.iter().map(|i| i.amount.0).sum();
        held - self.outputs(authorise).iter().sum::<u64>()
    }

    fn outputs(&self, authorise: &Authorise) -> Vec<u64> {
        let effects = self.world.decoder.decode(&authorise.transaction.raw.0).unwrap();
        effects.outputs.iter().map(|o| o.amount.0).collect()
    }

    /// The transaction gets into a block: its inputs are gone, its change is there.
    fn confirm(&mut self, authorise: &Authorise) {
        let tx: bitcoin::Transaction = bitcoin::consensus::deserialize(&authorise.transaction.raw.0).unwrap();
        self.world.chain.mine(vec![tx.clone()]);
        let coins = self.coins.get_mut(&name("main")).unwrap();
        coins.retain(|c| authorise.transaction.inputs.iter().all(|i| i.outpoint != c.outpoint));
        if let Some(index) = authorise.transaction.change {
            let vout = u32::try_from(tx.output.len() - 1).unwrap();
            let txid = self.world.decoder.decode(&authorise.transaction.raw.0).unwrap().txid;
            let amount = Sats(tx.output.last().unwrap().value.to_sat());
            let height = Some(self.world.chain.height());
            let outpoint = OutPoint { txid, vout };
            coins.push(Utxo { outpoint, amount, branch: Branch::Change, index, height });
        }
    }
}

fn spends(authorise: &Authorise) -> BTreeSet<OutPoint> {
    authorise.transaction.inputs.iter().map(|i| i.outpoint).collect()
}

fn rule(result: Result<Authorise, Problem>) -> Rule {
    match result {
        Err(Problem::Refused(refusal)) => refusal.rule,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_request_is_paid_once_it_is_approved_and_then_is_open_no_more() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let request = bench.world.request(&[("acme", 100_000)]);
    let id = bench.world.asked_as("carol", request, &["alice"]);
    let open = bench.view().open();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].1.as_ref().unwrap_err().rule, Rule::PolicyApprovals);
    assert_eq!(rule(bench.pay(&[id])), Rule::PolicyApprovals, "the rules say the same as the first look");
    bench.world.approve("bob", id).unwrap();
    assert_eq!(bench.ready(), [id]);
    let authorise = bench.pay(&[id]).unwrap();
    assert_eq!(bench.outputs(&authorise)[0], 100_000);
    bench.say(&authorise);
    assert!(bench.view().open().is_empty());
}

#[test]
fn what_waits_for_the_log_is_not_proposed_twice_and_its_coins_are_taken() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let (first, second) = (bench.asked(100_000), bench.asked(100_001));
    let authorise = bench.pay(&[first]).unwrap();
    bench.proposed.push(authorise);
    assert_eq!(bench.ready(), [second]);
    assert!(matches!(bench.pay(&[second]), Err(Problem::Build(_, BuildError::Short(_)))));
    let other = bench.coin(500_000, 6);
    assert_eq!(spends(&bench.pay(&[second]).unwrap()), [other].into());
}

#[test]
fn an_ended_request_is_left_alone() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    bench.asked(100_000);
    bench.world.tick(DAY);
    assert_eq!(bench.view().open().len(), 1);
    bench.world.tick(1);
    assert!(bench.view().open().is_empty());
}

#[test]
fn requests_that_are_ready_together_share_a_transaction_and_an_anchor() {
    let mut bench = Bench::with_coins(&[1_000_000, 400_000]);
    let ids: Vec<Hash> = [100_000, 200_000, 300_000].map(|amount| bench.asked(amount)).into();
    let ready = bench.ready();
    assert_eq!(ready.len(), 3);
    let groups = bench.view().groups(&ready);
    assert_eq!((groups.len(), groups[0].len()), (1, 3));
    let authorise = bench.pay(&groups[0]).unwrap();
    let proofs = authorise.anchors.iter().filter(|a| a.proof.is_some()).count();
    assert_eq!((authorise.anchors.len(), proofs), (3, 1));
    bench.say(&authorise);
    assert!(ids.iter().all(|id| bench.world.state.requests().get(id).unwrap().authorised.len() == 1));
}

#[test]
fn a_group_has_no_more_requests_than_a_transaction_may_pay() {
    let mut bench = Bench::with_coins(&[10_000_000]);
    let ids: Vec<Hash> = (0..=16).map(|n| bench.asked(100_000 + n)).collect();
    assert_eq!(ids.len(), REQUESTS_LIMIT + 1);
    let sizes: Vec<usize> = bench.view().groups(&ids).iter().map(Vec::len).collect();
    assert_eq!(sizes, [REQUESTS_LIMIT, 1]);
}

#[test]
fn an_anchor_needs_its_confirmations_and_stands_above_the_pinned_header() {
    let mut bench = Bench::new();
    bench.coin(1_000_000, ANCHOR_DEPTH - 1);
    let id = bench.asked(100_000);
    assert!(matches!(bench.pay(&[id]), Err(Problem::NoAnchor(_))));
    bench.world.chain.mine_empty(1);
    assert!(bench.pay(&[id]).is_ok());
    let pinned = bench.world.chain.header(bench.world.chain.height());
    bench.world.adopt(Document::Header(pinned));
    assert!(matches!(bench.pay(&[id]), Err(Problem::NoAnchor(_))));
}

#[test]
fn an_anchor_joins_when_coin_selection_likes_only_young_coins() {
    let mut bench = Bench::new();
    let anchor = bench.coin(20_000, 6);
    let young = bench.coin(5_000_000, 1);
    let id = bench.asked(1_000_000);
    let authorise = bench.pay(&[id]).unwrap();
    assert_eq!(spends(&authorise), [anchor, young].into());
    assert_eq!(authorise.anchors[0].outpoint, anchor);
    bench.say(&authorise);
}

#[test]
fn coins_of_a_payment_under_way_are_not_touched_until_one_of_them_is_spent() {
    let mut bench = Bench::with_coins(&[300_000, 310_000]);
    let big = bench.asked(500_000);
    let first = bench.pay(&[big]).unwrap();
    assert_eq!(spends(&first).len(), 2);
    bench.say(&first);
    let small = bench.asked(50_000);
    assert!(matches!(bench.pay(&[small]), Err(Problem::Build(_, BuildError::Short(_)))));
    bench.confirm(&first);
    bench.world.chain.mine_empty(5);
    bench.say(&bench.pay(&[small]).unwrap());
}

#[test]
fn a_fee_above_the_ceilings_is_lowered_to_fit_but_never_when_a_rate_was_asked_for() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    bench.fee_rate = 200;
    let request = Request { fee_max: Sats(1_000), ..bench.world.request(&[("acme", 100_000)]) };
    let id = bench.world.asked(request);
    let authorise = bench.pay(&[id]).unwrap();
    let fee = bench.fee(&authorise);
    assert!((800..=1_000).contains(&fee), "{fee}");
    bench.say(&authorise);
    assert_eq!(rule(bench.bump(&id, 100)), Rule::Fee);
    let request = Request { fee_max: Sats(1), ..bench.world.request(&[("acme", 100_000)]) };
    let hopeless = bench.world.asked(request);
    bench.coin(1_000_000, 6);
    assert_eq!(rule(bench.pay(&[hopeless])), Rule::Fee);
}

#[test]
fn a_bump_pays_the_same_from_the_same_anchor_at_a_higher_fee() {
    let mut bench = Bench::with_coins(&[1_000_000, 900_000]);
    let (one, two) = (bench.asked(100_000), bench.asked(200_000));
    let first = bench.pay(&bench.view().groups(&[one, two])[0]).unwrap();
    let old = bench.say(&first);
    assert_eq!(rule(bench.bump(&Hash([9; 32]), 10)), Rule::Reference);
    let bumped = bench.bump(&one, 20).unwrap();
    assert_eq!(bumped.requests, first.requests, "who shares the anchor is paid too");
    assert!(spends(&bumped).contains(&first.anchors[0].outpoint) && bumped.anchors.is_empty());
    assert_eq!(bumped.transaction.change, first.transaction.change);
    assert!(bench.fee(&bumped) > bench.fee(&first));
    let new = bench.say(&bumped);
    let (wants, _) = bench.view().to_sign(|_| false);
    let jobs: Vec<Job> = wants.into_iter().map(|want| want.job).collect();
    assert_eq!(jobs, [Job::Spend(new)], "the replaced one {old} is signed no more");
    bench.proposed.push(bumped);
    assert!(matches!(bench.bump(&one, 30), Err(Problem::Refused(_))), "one replacement at a time");
}

#[test]
fn nothing_authorised_cannot_be_bumped() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let id = bench.asked(100_000);
    assert_eq!(rule(bench.bump(&id, 10)), Rule::Reference);
}

#[test]
fn a_request_that_ended_is_left_out_of_the_bump_of_its_companion() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let long = bench.asked(100_000);
    let end = bench.world.time + 60;
    let short = Request { end, ..bench.world.request(&[("acme", 200_000)]) };
    let short = bench.world.asked(short);
    let mut both = vec![long, short];
    both.sort();
    let first = bench.pay(&both).unwrap();
    bench.say(&first);
    bench.world.tick(61);
    let bumped = bench.bump(&long, 30).unwrap();
    assert_eq!(bumped.requests, [long]);
    assert!(!bench.outputs(&bumped).contains(&200_000));
    bench.say(&bumped);
}

#[test]
fn a_cancel_returns_all_but_the_fee_by_the_same_anchor() {
    let mut bench = Bench::with_coins(&[1_000_000, 900_000]);
    let id = bench.asked(100_000);
    let first = bench.pay(&[id]).unwrap();
    bench.say(&first);
    let cancel = Request { renews: Some(id), outputs: Vec::new(), ..bench.world.request(&[]) };
    let cancel = bench.world.asked(cancel);
    assert_eq!(bench.ready(), [cancel]);
    assert_eq!(bench.view().groups(&[cancel]), [vec![cancel]]);
    let authorise = bench.pay(&[cancel]).unwrap();
    assert_eq!(bench.outputs(&authorise).len(), 1);
    assert!(spends(&authorise).contains(&first.anchors[0].outpoint));
    assert!(authorise.transaction.change.is_some() && bench.fee(&authorise) > bench.fee(&first));
    bench.say(&authorise);
}

#[test]
fn of_a_request_and_its_renewal_the_later_one_is_paid() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let id = bench.asked(100_000);
    bench.world.tick(1);
    let renewal = Request { renews: Some(id), ..bench.world.request(&[("acme", 150_000)]) };
    let unapproved = bench.world.asked_as("carol", renewal, &[]);
    assert_eq!(bench.ready(), [id], "until the later one is approved");
    bench.world.approve("alice", unapproved).unwrap();
    bench.world.approve("bob", unapproved).unwrap();
    assert_eq!(bench.ready(), [unapproved]);
    bench.say(&bench.pay(&[unapproved]).unwrap());
    assert!(bench.view().open().is_empty());
}

/// P23: what its requester withdrew is proposed no more, and neither is the withdrawal.
#[test]
fn what_was_withdrawn_is_left_alone() {
    let mut bench = Bench { world: World::open(newest()), ..Bench::new() };
    bench.coin(1_000_000, 6);
    let id = bench.asked(100_000);
    let cancel = Request { renews: Some(id), ..bench.world.request(&[]) };
    let cancel = bench.world.asked(cancel);
    assert!(bench.view().open().is_empty());
    assert_eq!([id, cancel].map(|id| rule(bench.pay(&[id]))), [Rule::Renewal; 2]);
}

#[test]
fn anchors_that_are_spent_end_the_story() {
    let mut bench = Bench::with_coins(&[1_000_000, 900_000]);
    let id = bench.asked(100_000);
    let first = bench.pay(&[id]).unwrap();
    bench.say(&first);
    bench.confirm(&first);
    assert_eq!(bench.bump(&id, 30), Err(Problem::Spent));
}

#[test]
fn the_anchor_of_an_ended_request_is_not_spent_for_another() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let id = bench.asked(100_000);
    bench.say(&bench.pay(&[id]).unwrap());
    bench.world.tick(DAY + 1);
    let other = bench.asked(100_000);
    assert!(matches!(bench.pay(&[other]), Err(Problem::Build(_, BuildError::Short(_)))));
}

#[test]
fn nothing_frozen_is_proposed_or_ordered_and_the_reason_is_known() {
    let mut bench = Bench::with_coins(&[1_000_000, 900_000]);
    let id = bench.asked(100_000);
    let authorisation = bench.say(&bench.pay(&[id]).unwrap());
    bench.asked(200_000);
    let (wants, refusals) = bench.view().to_sign(|_| false);
    assert_eq!((wants.len(), refusals.len()), (1, 0));
    assert_eq!((wants[0].threshold, wants[0].holders.len(), wants[0].inputs), (2, 3, 1));
    assert!(bench.view().to_sign(|id| *id == authorisation).0.is_empty());
    bench.world.say("dave", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    assert!(bench.ready().is_empty());
    let (wants, refusals) = bench.view().to_sign(|_| false);
    assert!(wants.is_empty());
    assert_eq!(refusals[&authorisation].rule, Rule::Frozen);
}

#[test]
fn a_freeze_of_something_else_stops_nothing_here() {
    let mut bench = Bench { world: World::open(newest()), ..Bench::new() };
    bench.coin(1_000_000, 6);
    bench.world.adopt(client("north"));
    bench.world.adopt(client("south"));
    let request = Request { client: Some(name("south")), ..bench.world.request(&[("acme", 100_000)]) };
    let id = bench.world.asked(request);
    let say =
        |bench: &mut Bench, who: &str, scope| bench.world.say(who, Body::Freeze(Freeze { scope })).unwrap();
    say(&mut bench, "dave", Scope::Client(name("north")));
    assert_eq!(bench.ready(), [id], "it is of another client");
    say(&mut bench, "dave", Scope::Wallet(name("main")));
    assert!(bench.ready().is_empty());
    assert_eq!(bench.view().open()[0].1.as_ref().unwrap_err().rule, Rule::Frozen);
}

/// P29: neither proposed anew nor taken into the bump of a companion that was renewed.
#[test]
fn what_lapsed_with_a_rule_set_is_left_alone() {
    let mut bench = Bench::with_coins(&[1_000_000, 500_000]);
    let mut both = vec![bench.asked(100_000), bench.asked(200_000)];
    both.sort();
    let paid = bench.pay(&both).unwrap();
    bench.say(&paid);
    bench.asked(50_000);
    assert_eq!(bench.ready().len(), 1);
    let rules = custody::rule_set::rule_set_hash(2).unwrap();
    bench.world.upgrade(custody::document::Upgrade { version: 2, rules });
    bench.world.tick(1);
    assert!(bench.view().open().is_empty());
    let renewal = Request { renews: Some(both[0]), ..bench.world.request(&[("acme", 150_000)]) };
    let renewal = bench.world.asked(renewal);
    assert_eq!(bench.ready(), [renewal]);
    let again = bench.pay(&[renewal]).unwrap();
    assert_eq!(again.requests, [renewal]);
    bench.say(&again);
}

#[test]
fn sets_prove_once_all_of_them_have_their_shares() {
    let mut world = World::new(fixtures::genesis());
    let record = world.ceremony(0..2);
    let ceremony = record.id(&world.state.genesis_hash());
    world.adopt(Document::Ceremony(record));
    let bench =
        Bench { world, coins: BTreeMap::new(), proposed: Vec::new(), fee_rate: 1, spared: BTreeSet::new() };
    assert!(bench.view().to_prove(|_, _, _| false).is_empty());
    let some = bench.view().to_prove(|_, slot, holder| slot == 1 && *holder != name("s3"));
    let pair = vec![name("s1"), name("s2")];
    assert_eq!(some.iter().map(|w| &w.job).collect::<Vec<_>>(), [&Job::Prove(ceremony, 1, pair.clone())]);
    assert_eq!(bench.view().to_prove(|_, _, _| true).len(), 6);
    let mut bench = bench;
    let message = activation_message(&bench.world.state.genesis_hash(), &ceremony, 1, &pair);
    assert_eq!(message.len(), 32);
    let body = bench.world.activate(ceremony, 1, &["s1", "s2"], &Account::new(1));
    bench.world.say("s1", body).unwrap();
    assert_eq!(bench.view().to_prove(|_, _, _| true).len(), 5);
    bench.world.activate_all(ceremony, 0, &Account::new(0));
    assert_eq!(bench.view().to_prove(|_, _, _| true).len(), 2);
}

#[test]
fn change_indices_rise_and_are_allocated_before_the_gap_ends() {
    let mut bench = Bench::new();
    let mut used = Vec::new();
    while bench.view().allocations().is_empty() {
        bench.coin(1_000_000, 6);
        let id = bench.asked(100_000);
        let authorise = bench.pay(&[id]).unwrap();
        used.extend(authorise.transaction.change);
        bench.say(&authorise);
        assert!(used.len() < 20, "allocated in time");
    }
    assert_eq!(used, (0..=GAP_LIMIT - CHANGE_RESERVE).collect::<Vec<_>>());
    let allocate = bench.view().allocations().remove(0);
    bench.world.say("server", Body::Allocate(allocate)).unwrap();
    assert!(bench.view().allocations().is_empty());
}

#[test]
fn the_lock_time_is_the_tip_but_not_too_far_above_what_a_proof_has_shown() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let id = bench.asked(100_000);
    let lock_time = |view: View<'_>| {
        let authorise = view.pay(&[id], None, &bench.prove()).unwrap();
        bench.world.decoder.decode(&authorise.transaction.raw.0).unwrap().lock_time
    };
    assert_eq!(lock_time(bench.view()), bench.world.chain.height());
    let shown = bench.world.state.clock().tip;
    assert_eq!(lock_time(View { tip: shown + LOCK_TIME_SLACK + 1, ..bench.view() }), shown + LOCK_TIME_SLACK);
}

#[test]
fn wallets_whose_coins_are_not_known_wait() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let id = bench.asked(100_000);
    bench.coins.clear();
    assert_eq!(bench.pay(&[id]), Err(Problem::NoCoins(name("main"))));
}

#[test]
fn a_destination_that_changed_stops_the_payment() {
    let mut bench = Bench::with_coins(&[1_000_000]);
    let id = bench.asked(100_000);
    let Document::Destination(mut changed) = destination("acme") else { unreachable!() };
    changed.address = fixtures::regtest::address("thief");
    bench.world.adopt_as("dave", Document::Destination(changed), &["alice", "bob"]);
    assert_eq!(rule(bench.pay(&[id])), Rule::Outputs);
}
