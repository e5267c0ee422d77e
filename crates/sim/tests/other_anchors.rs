//! Other anchors for a request (P22), against real `keyward-signer` processes over the real wire. Each attack
//! asserts the rule that refuses it, each beside its unaltered twin, which ends in a payment that they sign.

use bitcoin::hashes::Hash as _;
use custody::anchors::{OtherAnchor, OtherAnchors};
use custody::document::Document;
use custody::effects::{Branch, ConfirmationProof, Decoder as _, OutPoint, Sats};
use custody::payment::{ANCHOR_DEPTH, Authorise, NewAnchor, Request};
use custody::{Blob, Hash};
use fixtures::{Coin, Draft, World};
use server::node::proofs::{Found, find};
use sim::attacker::{Denied, Scene};
use sim::regtest::Node;

/// Rejected in the log, and used up.
fn rejected(rule: &str) -> Result<Hash, Denied> {
    Err(Denied { rule: rule.to_owned(), consumed: true })
}

/// What becomes of a document that is proposed.
fn tried(scene: &mut Scene, other: &OtherAnchors) -> Result<Hash, Denied> {
    scene.propose("bob", Document::Anchors(other.clone()))
}

/// Puts a transaction in a block, as deep as a conflict must be.
fn confirm(world: &mut World, draft: &Draft) -> Hash {
    let txid = world.chain.confirm(&draft.raw());
    world.chain.mine_empty(ANCHOR_DEPTH - 1);
    txid
}

/// Pays a request from other anchors, by signatures of both pairs that any of the holders can make.
fn is_paid_from(scene: &mut Scene, request: Hash, coin: Coin) {
    let draft = scene.draft(&[request], &[coin], 3_000);
    let authorisation = scene.pay(&[request], &draft).unwrap();
    for holders in [["s1", "s2"], ["s2", "s3"]] {
        let transaction = scene.sign(authorisation, holders).unwrap();
        assert!(scene.valid(&draft, &[coin], &transaction));
    }
}

/// Two requests of one transaction; in a freeze one of them is cancelled without the other, and that
/// confirms. The other one can be paid from its anchor no more.
#[test]
fn what_lost_its_anchor_is_paid_from_another_one_by_a_quorum() {
    let mut scene = Scene::ready();
    let (coin, fresh) = (scene.coin(1_500_000), scene.coin(700_000));
    let theirs = scene.paid(50_000);
    scene.refresh();
    let ask = scene.world.request(&[("acme", 400_000)]);
    let one = scene.asked(ask.clone());
    let ask = Request { outputs: scene.world.request(&[("other", 300_000)]).outputs, ..ask };
    let two = scene.asked(ask.clone());
    let both = scene.draft(&[one, two], &[coin], 1_000);
    let authorisation = scene.pay(&[one, two], &both).unwrap();
    assert!(scene.sign(authorisation, ["s1", "s2"]).is_ok(), "it may confirm at any time");

    let freeze = scene.freeze("dave");
    let freeze = scene.submit(&freeze).unwrap();
    let cancel = Request { outputs: Vec::new(), renews: Some(one), despite: vec![freeze], ..ask };
    let cancel = scene.asked(cancel);
    let back = scene.draft(&[cancel], &[coin], 4_000);
    let authorisation = scene.pay(&[cancel], &back).unwrap();
    let transaction = scene.sign(authorisation, ["s1", "s3"]).unwrap();
    assert!(scene.valid(&back, &[coin], &transaction));
    scene.resume();

    // The node of the attacker shows another block: the payment of both.
    let mut elsewhere = scene.world.clone();
    let paid = confirm(&mut elsewhere, &both);
    let pays_it = elsewhere.other_anchors(two, &[fresh], &[paid]);
    assert_eq!(tried(&mut scene, &pays_it), rejected("P22.conflict"));

    let spent = confirm(&mut scene.world, &back);
    let good = scene.world.other_anchors(two, &[fresh], &[spent]);
    let uncovered = scene.world.other_anchors(two, &[fresh], &[]);
    let bound = scene.world.other_anchors(two, &[theirs.coin], &[spent]);
    let shallow = young(&mut scene);
    let young = scene.world.other_anchors(two, &[shallow], &[spent]);
    let attacks: [(&str, &str, OtherAnchors); 8] = [
        (
            "a conflict five blocks deep",
            "P22.conflict",
            changed(&good, |o| {
                let length = o.headers.0.len();
                o.headers.0.truncate(length - 80);
            }),
        ),
        (
            "a conflict that is in no block",
            "P22.conflict",
            changed(&good, |o| {
                o.conflicts[0].transaction = Blob(both.raw());
            }),
        ),
        ("an authorised transaction that may confirm", "P22.other-anchors", uncovered),
        ("the anchor of another open request", "P22.other-anchors", bound),
        ("headers without work", "P21.anchor-proof", changed(&good, |o| o.headers.0[40] ^= 1)),
        ("an anchor five blocks deep", "P21.anchor-proof", young),
        (
            "an anchor of another amount",
            "P21.anchor-proof",
            changed(&good, |o| {
                o.anchors[0].output.amount.0 += 1;
            }),
        ),
        (
            "the conflict as its own ancestor",
            "P22.conflict",
            changed(&good, |o| {
                o.ancestors = vec![o.conflicts[0].transaction.clone()];
            }),
        ),
    ];
    for (what, rule, attack) in attacks {
        assert_eq!(tried(&mut scene, &attack), rejected(rule), "{what}");
    }

    // Proposed and not approved, or by one alone: nothing has changed.
    let proposal = tried(&mut scene, &good).unwrap();
    let early = scene.draft(&[two], &[fresh], 2_000);
    let not_yet = Err(Denied { rule: "P21.anchors".into(), consumed: false });
    assert_eq!(scene.pay(&[two], &early), not_yet);
    scene.approve("alice", proposal).unwrap();
    assert_eq!(scene.pay(&[two], &early), not_yet);
    scene.approve("carol", proposal).unwrap();
    assert_eq!(scene.world.state.lineages().get(&two).unwrap().anchors, [fresh.outpoint]);
    // From the old one no longer, from the new one it is.
    let old = scene.draft(&[two], &[coin], 5_000);
    assert_eq!(scene.pay(&[two], &old), not_yet);
    is_paid_from(&mut scene, two, fresh);
}

fn changed(other: &OtherAnchors, change: impl FnOnce(&mut OtherAnchors)) -> OtherAnchors {
    let mut other = other.clone();
    change(&mut other);
    other
}

/// A coin one block less deep than an anchor must be. The chain of the people goes on without it.
fn young(scene: &mut Scene) -> Coin {
    let outpoint = scene.world.chain.pay(scene.own_script(Branch::Receive, 0), Sats(600_000));
    scene.world.chain.mine_empty(ANCHOR_DEPTH - 2);
    Coin { outpoint, amount: Sats(600_000), branch: Branch::Receive, index: 0 }
}

/// A hostile server lets a payment spend the change of one that is in no block, and replaces that one.
#[test]
fn what_hangs_on_a_replaced_transaction_is_paid_from_another_anchor() {
    let mut scene = Scene::ready();
    let (anchor, fresh) = (scene.coin(600_000), scene.coin(700_000));
    let parent = scene.paid(80_000);
    let txid = scene.world.decoder.decode(&parent.draft.raw()).unwrap().txid;
    let (_, amount) = parent.draft.outputs[1];
    let change = Coin { outpoint: OutPoint { txid, vout: 1 }, amount, branch: Branch::Change, index: 0 };
    let request = scene.world.request(&[("other", 500_000)]);
    let request = scene.asked(request);
    let hanging = scene.draft(&[request], &[anchor, change], 1_000);
    let authorisation = scene.pay(&[request], &hanging).unwrap();
    assert!(scene.sign(authorisation, ["s1", "s2"]).is_ok());
    let bump = scene.draft(&[parent.request], &[parent.coin], 4_000);
    let authorisation = scene.pay(&[parent.request], &bump).unwrap();
    assert!(scene.sign(authorisation, ["s2", "s3"]).is_ok());

    // As long as the parent may confirm, so may the child; and a parent that did is no conflict.
    let ancestors = vec![Blob(parent.draft.raw())];
    let mut elsewhere = scene.world.clone();
    let born = confirm(&mut elsewhere, &parent.draft);
    let born = elsewhere.other_anchors(request, &[fresh], &[born]);
    assert_eq!(tried(&mut scene, &born), rejected("P22.conflict"));
    let born = OtherAnchors { ancestors: ancestors.clone(), ..born };
    assert_eq!(tried(&mut scene, &born), rejected("P22.conflict"));

    let spent = confirm(&mut scene.world, &bump);
    let bare = scene.world.other_anchors(request, &[fresh], &[spent]);
    assert_eq!(tried(&mut scene, &bare), rejected("P22.conflict"), "no input of it is spent");
    let stranger = OtherAnchors { ancestors: vec![Blob(bump.raw())], ..bare.clone() };
    assert_eq!(tried(&mut scene, &stranger), rejected("P22.conflict"), "not what it spends");
    scene.adopt("bob", Document::Anchors(OtherAnchors { ancestors, ..bare }));
    is_paid_from(&mut scene, request, fresh);
}

/// The same on a real node: its blocks make the proofs, and what is signed goes into them.
#[test]
fn a_real_node_shows_what_is_needed_and_takes_what_is_signed() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).unwrap();
    let rpc = node.rpc();
    // Whoever has a reward of this script may spend it: P2WSH of OP_TRUE.
    let anyone = bitcoin::ScriptBuf::from_bytes(vec![0x51]);
    let to = bitcoin::Address::p2wsh(&anyone, bitcoin::Network::Regtest);
    node.mine(101, &to.to_string()).unwrap();
    let scan = rpc.scan_tx_out_set(&[format!("addr({to})")], 0).unwrap();
    let reward = scan.unspents.iter().find(|unspent| unspent.height == 1).unwrap();

    let mut scene = Scene::ready();
    let own = scene.own_script(Branch::Receive, 0);
    let output = |script: &[u8], sat| bitcoin::TxOut {
        value: bitcoin::Amount::from_sat(sat),
        script_pubkey: bitcoin::ScriptBuf::from_bytes(script.to_vec()),
    };
    let deposit = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn {
            previous_output: bitcoin::OutPoint { txid: reward.txid, vout: reward.vout },
            script_sig: bitcoin::ScriptBuf::new(),
            sequence: bitcoin::Sequence::MAX,
            witness: bitcoin::Witness::from_slice(&[anyone.as_bytes()]),
        }],
        output: vec![
            output(&own, 1_500_000),
            output(&own, 700_000),
            output(to.script_pubkey().as_bytes(), reward.amount.0 - 2_210_000),
        ],
    };
    let txid = rpc.send_raw_transaction(&bitcoin::consensus::serialize(&deposit)).unwrap();
    node.mine(ANCHOR_DEPTH, &to.to_string()).unwrap();
    let txid = Hash(txid.to_byte_array());
    let coin = |vout, sat| Coin {
        outpoint: OutPoint { txid, vout },
        amount: Sats(sat),
        branch: Branch::Receive,
        index: 0,
    };
    let (coin, fresh) = (coin(0, 1_500_000), coin(1, 700_000));

    scene.refresh();
    let ask = scene.world.request(&[("acme", 400_000)]);
    let one = scene.asked(ask.clone());
    let ask = Request { outputs: scene.world.request(&[("other", 300_000)]).outputs, ..ask };
    let two = scene.asked(ask.clone());
    let both = scene.draft(&[one, two], &[coin], 1_000);
    let Found { proofs, headers } = find(rpc, 0, &[txid], &[]).unwrap();
    let mut requests = vec![one, two];
    requests.sort();
    let anchor = |(request, proof): (&Hash, Option<ConfirmationProof>)| NewAnchor {
        request: *request,
        outpoint: coin.outpoint,
        proof,
    };
    let anchors = requests.iter().zip([Some(proofs[0].under(&headers)), None]).map(anchor).collect();
    let ask_both = Authorise { anchors, requests, transaction: both.typed() };
    let authorisation = scene.propose_payment(ask_both).unwrap();
    let transaction = scene.sign(authorisation, ["s1", "s2"]).unwrap();
    rpc.send_raw_transaction(&transaction.0).unwrap();

    let freeze = scene.freeze("dave");
    let freeze = scene.submit(&freeze).unwrap();
    let cancel = Request { outputs: Vec::new(), renews: Some(one), despite: vec![freeze], ..ask };
    let cancel = scene.asked(cancel);
    let back = scene.draft(&[cancel], &[coin], 4_000);
    let authorisation = scene.pay(&[cancel], &back).unwrap();
    let transaction = scene.sign(authorisation, ["s1", "s3"]).unwrap();
    rpc.send_raw_transaction(&transaction.0).unwrap();
    scene.resume();

    let document = |depth: u32| {
        node.mine(depth, &to.to_string()).unwrap();
        let Found { proofs, headers } = find(rpc, 0, &[txid], &[coin.outpoint]).unwrap();
        let [deposit, conflict] = proofs.try_into().unwrap();
        let anchors = vec![OtherAnchor { output: fresh.typed(), proof: deposit }];
        OtherAnchors { lineage: two, anchors, conflicts: vec![conflict], ancestors: Vec::new(), headers }
    };
    let early = document(ANCHOR_DEPTH - 1);
    assert_eq!(tried(&mut scene, &early), rejected("P22.conflict"), "five blocks deep");
    scene.adopt("bob", Document::Anchors(document(1)));
    let draft = scene.draft(&[two], &[fresh], 3_000);
    let authorisation = scene.pay(&[two], &draft).unwrap();
    let transaction = scene.sign(authorisation, ["s2", "s3"]).unwrap();
    let paid = rpc.send_raw_transaction(&transaction.0).unwrap();
    let block = node.mine(1, &to.to_string()).unwrap().remove(0).parse().unwrap();
    assert_eq!(rpc.raw_transaction(&paid, Some(&block)).unwrap(), transaction.0);
}
