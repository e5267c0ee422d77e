//! From a ceremony to a signed payment, all co-signers in one process.

use chain::BitcoinDecoder;
use custody::document::{
    CeremonyRecord, Destination, DestinationKind, Document, Model, Participation, Recovery, Slot, Tier,
    Wallet, share_context,
};
use custody::effects::{Branch, Decoder as _, Sats, TypedInput};
use custody::genesis::REGTEST;
use custody::name::Label;
use custody::payment::{Allocate, Authorise, NewAnchor, Request, RequestOutput, TypedTransaction};
use custody::statement::{Approve, Body, Freeze, Propose, Scope, key_id};
use custody::{Blob, Hash};
use ed25519_dalek::Signer as _;
use keys::seal::{SealDomain, SealPublic, seal};
use keys::seed::Seed;
use keys::share::deal;
use rand_core::OsRng;
use sim::deployment::{Deployment, key, name};
use sim::relay::Cluster;
use wire::message::{FromCosigner, ToCosigner};

/// Puts a document in force: proposed by carol, approved by alice and bob.
fn enact(cluster: &mut Cluster, document: Document) {
    let now = cluster.now_s();
    let hash = document.hash();
    let propose = cluster.deployment.sign("carol", now, Body::Propose(Propose { document, replaces: None }));
    let target = propose.id();
    cluster.submit(propose);
    assert!(cluster.run(5_000, |c| c.cosigner(0).unwrap().final_state().proposals().get(&target).is_some()));
    approve(cluster, target);
    let done = cluster.run(5_000, |c| {
        (0..4).all(|p| c.cosigner(p).unwrap().final_state().documents().any(|d| d.hash == hash))
    });
    assert!(done, "{:?}", cluster.cosigner(0).unwrap().final_state().proposals().get(&target));
}

fn approve(cluster: &mut Cluster, target: Hash) {
    let now = cluster.now_s();
    let decides = cluster.cosigner(0).unwrap().final_state().policy().unwrap().1;
    for by in ["alice", "bob"] {
        let approve = cluster.deployment.sign(by, now, Body::Approve(Approve { target, decides }));
        cluster.submit(approve);
    }
}

fn sets() -> [Vec<custody::name::Name>; 3] {
    [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]].map(|set| set.map(name).to_vec())
}

#[test]
fn two_of_three_sign_what_two_people_approved() {
    let mut chain = fixtures::regtest::Regtest::default();
    let mut deployment = Deployment::default();
    deployment.genesis.header = fixtures::regtest::pinned();
    let genesis = deployment.genesis.hash();
    let mut cluster = Cluster::new(1, deployment, false);
    assert!(cluster.run(5_000, |c| (0..4).all(|p| c.cosigner(p).is_some_and(|c| c.may_release()))));

    // The ceremony.
    let seed = Seed::generate(&mut OsRng).unwrap();
    let holders = ["s1", "s2", "s3"].map(name);
    let account = seed.account(1, 0).unwrap();
    let nonce = Hash([9; 32]);
    let restored = vec![Blob(account.sign_restored(&genesis, &nonce, 0).unwrap().to_vec())];
    let dealt = deal(account, 2, &holders, &mut OsRng).unwrap();
    let mut record = CeremonyRecord {
        nonce,
        held_at: cluster.now_s(),
        threshold: 2,
        holders: holders.to_vec(),
        slots: vec![Slot {
            account: dealt.public.account.clone(),
            commitments: dealt.public.commitments.clone(),
        }],
        entropy: "test".into(),
        program: Hash::default(),
        participants: Vec::new(),
        recovery: Some(Recovery { report: Hash::default(), restored }),
    };
    let ceremony = record.id(&genesis);
    let message = record.signed_bytes(&genesis);
    record.participants = ["alice", "bob"]
        .map(|p| Participation {
            key: key_id(&Hash(key(p).verifying_key().to_bytes())),
            signature: Blob(key(p).sign(&message).to_bytes().to_vec()),
        })
        .to_vec();
    let shares: Vec<_> = dealt
        .shares
        .iter()
        .map(|(holder, share)| {
            let card = cluster.deployment.genesis.cosigners.iter().find(|c| c.name == *holder).unwrap();
            let context = share_context(&genesis, &ceremony, 0, holder, 2);
            let sealed =
                seal(&SealPublic(card.seal.0), SealDomain::Share, &context, share.expose(), &mut OsRng)
                    .unwrap();
            (holder.clone(), Blob(sealed))
        })
        .collect();

    // No share is taken before the record is in force.
    cluster.order("s1", &ToCosigner::Share { ceremony, slot: 0, sealed: shares[0].1.clone() });
    cluster.run(100, |_| false);
    let refused = |message: &FromCosigner| matches!(message, FromCosigner::Refused { what, rule, .. } if what == "share" && rule == "GEN-03.ceremony");
    assert!(cluster.said.iter().any(|(_, m)| refused(m)));

    enact(&mut cluster, Document::Ceremony(record));
    for (holder, sealed) in shares {
        cluster.order(holder.as_str(), &ToCosigner::Share { ceremony, slot: 0, sealed });
    }
    cluster.run(100, |_| false);
    let kept = cluster.said.iter().filter(|(_, m)| matches!(m, FromCosigner::ShareKept { .. })).count();
    assert_eq!(kept, 3);
    for set in sets() {
        for holder in &set {
            let prove = ToCosigner::Prove { ceremony, slot: 0, holders: set.clone(), attempt: 1 };
            cluster.order(holder.as_str(), &prove);
        }
    }
    let proved =
        |c: &Cluster| c.cosigner(0).unwrap().final_state().slots().get(&(ceremony, 0)).unwrap().proved.len();
    assert!(cluster.run(10_000, |c| proved(c) == 3), "{:?}", cluster.said);
    let wallet = Wallet::new(name("vault"), ceremony, 0, Tier::Hot, Model::One);
    let now = cluster.now_s();
    enact(&mut cluster, fixtures::review(Model::One, now - 60));
    enact(&mut cluster, Document::Wallet(wallet));

    // An address, a destination, coins.
    let now = cluster.now_s();
    let allocate =
        Allocate { wallet: name("vault"), client: name("acme"), branch: Branch::Receive, count: 1 };
    let allocate = cluster.deployment.sign("server", now, Body::Allocate(allocate));
    cluster.submit(allocate);
    assert!(
        cluster.run(5_000, |c| c
            .cosigner(0)
            .unwrap()
            .final_state()
            .next_index(&name("vault"), Branch::Receive)
            == 1)
    );
    let label = Label { salt: Hash([5; 32]), text: "supplier".into() };
    let destination = Document::Destination(Destination::new(
        name("supplier"),
        DestinationKind::Counterparty,
        fixtures::regtest::address("supplier"),
        label.commitment(),
    ));
    enact(&mut cluster, destination.clone());
    let decoder = BitcoinDecoder::new(REGTEST).unwrap();
    let account = dealt.public.account.clone();
    let own = decoder.own_script(&account, Branch::Receive, 0).unwrap();
    let coin = chain.pay(own, Sats(1_000_000));
    chain.mine_empty(6);

    // A request, approved by two people who did not ask.
    let now = cluster.now_s();
    let output = RequestOutput::listed(name("supplier"), destination.hash(), Sats(600_000));
    let request = Request {
        wallet: name("vault"),
        outputs: vec![output],
        fee_max: Sats(10_000),
        fee_max_ppm: 50_000,
        end: now + 600,
        renews: None,
        despite: Vec::new(),
        note: None,
        client: None,
    };
    let request = cluster.deployment.sign("carol", now, Body::Request(request));
    let request_id = request.id();
    cluster.submit(request);
    assert!(
        cluster.run(5_000, |c| c.cosigner(0).unwrap().final_state().requests().get(&request_id).is_some())
    );
    approve(&mut cluster, request_id);
    let approved = |c: &Cluster| {
        c.cosigner(0).unwrap().final_state().requests().get(&request_id).unwrap().approvals.len()
    };
    assert!(cluster.run(5_000, |c| approved(c) == 2));

    // The transaction, and two of three signatures.
    let input = TypedInput { outpoint: coin, amount: Sats(1_000_000), branch: Branch::Receive, index: 0 };
    let utxo = builder::Utxo {
        outpoint: coin,
        amount: input.amount,
        branch: input.branch,
        index: 0,
        height: Some(1),
    };
    let plan = builder::Plan {
        outputs: vec![(
            decoder.address_script(&fixtures::regtest::address("supplier")).unwrap(),
            Sats(600_000),
        )],
        required: vec![coin],
        change: (Branch::Change, 0),
        fee_rate: 2,
        tip_height: chain.height(),
    };
    let built = builder::build(&decoder, &account, &[utxo], &plan).unwrap();
    let authorise = Authorise {
        requests: vec![request_id],
        anchors: vec![NewAnchor {
            request: request_id,
            outpoint: coin,
            proof: Some(chain.prove(coin.txid, 0)),
        }],
        transaction: TypedTransaction {
            raw: Blob(built.raw.clone()),
            inputs: built.inputs.clone(),
            change: built.change.map(|_| 0),
        },
    };
    let now = cluster.now_s();
    let authorise = cluster.deployment.sign("server", now, Body::Authorise(authorise));
    let authorisation = authorise.id();
    cluster.submit(authorise);
    let known = |c: &Cluster| {
        (0..4).all(|p| c.cosigner(p).unwrap().final_state().authorisations().get(&authorisation).is_some())
    };
    assert!(cluster.run(5_000, known), "{:?}", cluster.said.last());
    for (attempt, set) in (1..).zip(sets()) {
        cluster.said.clear();
        for holder in &set {
            let sign = ToCosigner::Sign { authorisation, holders: set.clone(), attempt };
            cluster.order(holder.as_str(), &sign);
        }
        let signed = |c: &Cluster| c.said.iter().any(|(_, m)| matches!(m, FromCosigner::Signed { .. }));
        assert!(cluster.run(5_000, signed), "{:?}", cluster.said);
    }
    let (_, message) = cluster.said.last().unwrap();
    let FromCosigner::Signed { transaction, .. } = message else { panic!("{message:?}") };
    let signed: bitcoin::Transaction = bitcoin::consensus::deserialize(&transaction.0).unwrap();
    let signatures: Vec<[u8; 64]> = signed.input.iter().map(|i| i.witness[0].try_into().unwrap()).collect();
    let spent = [(decoder.own_script(&account, Branch::Receive, 0).unwrap(), Sats(1_000_000))];
    chain::finish::verify_spend(&built.raw, &spent, &signatures).unwrap();

    // The server keeps the last frame of a session back until after a freeze: the signer that aggregates
    // has not made its own share yet, and judges again before it does (P16, P27).
    cluster.said.clear();
    cluster.frames = Some(2);
    for holder in ["s1", "s2"] {
        let sign = ToCosigner::Sign { authorisation, holders: sets()[0].clone(), attempt: 50 };
        cluster.order(holder, &sign);
    }
    cluster.run(1_000, |_| false);
    assert!(cluster.said.is_empty(), "{:?}", cluster.said);
    let now = cluster.now_s();
    let freeze = cluster.deployment.sign("alice", now, Body::Freeze(Freeze { scope: Scope::Everything }));
    let id = freeze.id();
    cluster.submit(freeze);
    let frozen = |c: &Cluster| (0..4).all(|p| !c.cosigner(p).unwrap().final_state().freezes().is_empty());
    assert!(cluster.run(5_000, frozen));
    cluster.said.clear();
    cluster.let_frames_go();
    cluster.run(1_000, |_| false);
    let refused = |m: &FromCosigner| matches!(m, FromCosigner::Refused { rule, .. } if rule == "P16.frozen");
    assert!(cluster.said.iter().any(|(_, m)| refused(m)), "{:?}", cluster.said);
    assert!(!cluster.said.iter().any(|(_, m)| matches!(m, FromCosigner::Signed { .. })));
    enact(&mut cluster, Document::Resume(custody::document::Resume { freezes: vec![id] }));

    // The server lets a freeze be decided and withholds the co-signatures, so that its head never becomes
    // final: the signers obey it all the same (P16, P27).
    cluster.said.clear();
    cluster.weather.withhold_heads = true;
    let now = cluster.now_s();
    let freeze = cluster.deployment.sign("dave", now, Body::Freeze(Freeze { scope: Scope::Everything }));
    let height = |c: &Cluster, p: usize| c.cosigner(p).unwrap().final_head().0;
    let before = height(&cluster, 0);
    cluster.submit(freeze.clone());
    let decided = |c: &Cluster| (0..3).all(|p| c.cosigner(p).unwrap().decided_height() > before);
    assert!(cluster.run(5_000, decided));
    assert_eq!(height(&cluster, 0), before, "withheld");
    for holder in ["s1", "s2"] {
        let sign = ToCosigner::Sign { authorisation, holders: sets()[0].clone(), attempt: 99 };
        cluster.order(holder, &sign);
    }
    cluster.run(1_000, |_| false);
    let rule = |m: &FromCosigner| match m {
        FromCosigner::Refused { rule, .. } => Some(rule.clone()),
        FromCosigner::Signed { .. } => Some("signed".into()),
        _ => None,
    };
    let rules: Vec<String> = cluster.said.iter().filter_map(|(_, m)| rule(m)).collect();
    assert_eq!(rules, ["P16.frozen", "P16.frozen"]);
}
