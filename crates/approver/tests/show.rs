//! What a person reads before signing.

mod common;

use approver::{Fresh, Labels, View};
use common::{nonce, replica};
use custody::anchors::{OtherAnchor, OtherAnchors};
use custody::cosigner_set::CosignerSet;
use custody::document::{Destination, DestinationKind, Document};
use custody::effects::{Branch, Decoder as _, OutPoint, Sats};
use custody::name::Label;
use custody::payment::{Request, RequestOutput};
use custody::policy::{PolicyRule, When};
use custody::rule_set::NEWEST;
use custody::statement::Body;
use custody::{Blob, Hash};
use fixtures::{Coin, DAY, World, card, group, label, name, path, policy, policy_of, rule};

fn labels(texts: &[&str]) -> Labels {
    let mut labels = Labels::default();
    labels.add(&texts.iter().map(|t| label(t)).collect::<Vec<_>>());
    labels
}

fn shown(world: &World, id: &Hash, labels: &Labels) -> View {
    View::of(&replica(world), id, labels, world.time).unwrap()
}

fn request(view: &View) -> &approver::RequestView {
    match view {
        View::Request(view) => view,
        View::Proposal(_) => panic!("a proposal"),
    }
}

/// The lines that begin with a field.
fn lines(view: &View, field: &str) -> Vec<String> {
    let text = view.text();
    let start = format!("  {field:<14}");
    text.lines().filter_map(|l| l.strip_prefix(&start)).map(str::to_owned).collect()
}

#[test]
fn a_payment_on_one_screen() {
    let mut world = World::ready();
    let ask = world.request(&[("acme", 1_250_000)]);
    let id = world.asked_as("carol", ask, &["alice"]);
    let view = shown(&world, &id, &labels(&["carol", "alice", "acme"]));
    assert_eq!(view.text(), include_str!("payment.txt"));
    // The same for programs.
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["type"], "request");
    assert_eq!(json["outputs"][0]["amount"], "1250000");
    assert_eq!(json["outputs"][0]["label"], "acme");
    assert_eq!(json["id"], id.to_string());
}

#[test]
fn a_label_is_believed_only_if_it_matches_its_commitment() {
    let mut world = World::ready();
    let ask = world.request(&[("acme", 1_000_000)]);
    let id = world.asked_as("carol", ask, &[]);
    // The same words under another salt, other words under the same salt, somebody else's label.
    let mut lies = Labels::default();
    let salt = label("acme").salt;
    lies.add(&[
        Label { salt: nonce(1), text: "acme".into() },
        Label { salt, text: "Acme, very trusted".into() },
        label("bank"),
    ]);
    let view = shown(&world, &id, &lies);
    assert_eq!(request(&view).outputs[0].label, None);
    assert_eq!(lines(&view, "  to"), ["acme, a counterparty's: (label withheld)"]);
    let view = shown(&world, &id, &labels(&["acme"]));
    assert_eq!(lines(&view, "  to"), ["acme, a counterparty's: acme"]);
}

#[test]
fn a_label_cannot_speak_to_the_terminal() {
    let mut world = World::ready();
    let bad = Label { salt: nonce(1), text: "ok\u{1b}[1A\u{202e}\nstill needed  nothing".into() };
    let mut ask = world.request(&[("acme", 1_000_000)]);
    ask.note = Some(bad.commitment());
    let id = world.asked_as("carol", ask, &[]);
    let mut labels = Labels::default();
    labels.add(&[bad]);
    let view = shown(&world, &id, &labels);
    assert_eq!(lines(&view, "note"), ["ok\\u{1b}[1A\\u{202e}\\u{a}still needed  nothing"]);
    assert!(!view.text().chars().any(|c| c.is_control() && c != '\n'));
    assert!(lines(&view, "still needed")[0].contains("2 of approvers"));
}

#[test]
fn approvals_that_do_not_count_are_said_not_to() {
    let mut world = World::ready();
    let ask = world.request(&[("acme", 1_000_000)]);
    let id = world.asked_as("carol", ask, &["alice", "bob"]);
    let view = shown(&world, &id, &Labels::default());
    assert_eq!(request(&view).missing, None);
    assert_eq!(lines(&view, "may approve"), ["nobody"], "carol asked, alice and bob have approved");
    // Another policy voids them.
    let mut changed = rule();
    changed.require.amount_max = Sats(90_000_000);
    world.adopt(Document::Policy(policy(&[changed], 0)));
    let view = shown(&world, &id, &Labels::default());
    assert!(request(&view).approvals.iter().all(|a| !a.counts));
    assert!(request(&view).missing.as_deref().unwrap().contains("so far: nobody"));
    assert_eq!(lines(&view, "may approve"), ["alice, bob"]);
    // So does their end.
    let view = View::of(&replica(&world), &id, &Labels::default(), world.time + 2 * DAY).unwrap();
    assert_eq!(lines(&view, "state"), ["ended"]);
}

#[test]
fn similar_requests_are_shown() {
    let mut world = World::ready();
    world.adopt_as("dave", fixtures::destination("bank"), &["alice", "bob"]);
    let ask = world.request(&[("acme", 1_000_000)]);
    let first = world.asked_as("carol", ask, &[]);
    let same = |view: &View, id: &Hash| request(view).similar.iter().find(|s| s.id == *id).map(|s| s.same);
    assert!(request(&shown(&world, &first, &Labels::default())).similar.is_empty());
    for (outputs, expected) in [
        (&[("acme", 1_000_000)][..], Some("destination and amount")),
        (&[("acme", 2_000_000)], Some("destination")),
        (&[("bank", 1_000_000)], Some("amount")),
        (&[("bank", 3_000_000)], None),
        (&[("bank", 400_000), ("acme", 600_000)], Some("destination and amount")),
    ] {
        let ask = world.request(outputs);
        let id = world.asked_as("dave", ask, &[]);
        assert_eq!(same(&shown(&world, &id, &Labels::default()), &first), expected, "{outputs:?}");
    }
    // An old one that is over is not shown any more; one that is open is, however old.
    let mut old = world.request(&[("acme", 1_000_000)]);
    old.end = world.time + 30 * DAY;
    let open = world.asked_as("alice", old, &[]);
    let past = world.time;
    for (wait, shows_first) in [(approver::RECENT_S, true), (approver::RECENT_S + 1, false)] {
        world.apply(past + wait, &[]);
        let mut later = world.clone();
        let ask = later.request(&[("acme", 1_000_000)]);
        let id = later.asked_as("dave", ask, &[]);
        let view = shown(&later, &id, &Labels::default());
        assert_eq!(same(&view, &first).is_some(), shows_first, "{wait}");
        assert!(same(&view, &open).is_some(), "{wait}");
    }
}

#[test]
fn freezes_and_changed_destinations_are_shown() {
    let mut world = World::ready();
    let ask = world.request(&[("acme", 1_000_000)]);
    let id = world.asked_as("carol", ask, &[]);
    let scope = custody::statement::Scope::Everything;
    world.say("bob", Body::Freeze(custody::statement::Freeze { scope })).unwrap();
    let Document::Destination(mut moved) = fixtures::destination("acme") else { panic!() };
    moved.address = fixtures::regtest::address("elsewhere");
    world.adopt_as("dave", Document::Destination(moved), &["alice", "bob"]);
    let view = shown(&world, &id, &labels(&["bob"]));
    assert!(lines(&view, "! frozen")[0].starts_with("by bob (bob) at 2026-01-01T"));
    assert!(request(&view).outputs[0].changed);
    assert!(lines(&view, "  !").iter().any(|line| line.contains("cannot be paid")));
}

/// A policy that also pays addresses that are not in the address book.
fn pays_unlisted() -> Document {
    let when = When { destinations: Some(vec![DestinationKind::Unlisted]), ..When::default() };
    let unlisted = PolicyRule { id: name("unlisted"), when, ..rule() };
    Document::Policy(policy_of(NEWEST, &[rule(), unlisted], 0))
}

/// Address poisoning: what begins and ends like a known address is found out, where it is paid and where it would
/// enter the address book.
#[test]
fn an_address_that_looks_like_another_is_shown_as_another() {
    let mut world = World::open(fixtures::newest());
    world.adopt(pays_unlisted());
    let decoder = world.decoder.clone();
    let acme = world.state.destination(&name("acme")).unwrap().address.clone();
    let script = decoder.address_script(&acme).unwrap();
    // The thief's program begins like the known one; the last symbols are of the checksum, which is tried for.
    let mut poisons = (1u32..).map(|n| {
        let mut poison = script.clone();
        poison[30..].copy_from_slice(&n.to_be_bytes());
        decoder.address(&poison).unwrap()
    });
    let poison =
        poisons.find(|a| *a != acme && a[61..] == acme[61..] && decoder.address_script(a).is_ok()).unwrap();
    let request =
        |to: &str| Request { outputs: vec![RequestOutput::unlisted(to, Sats(90_000))], ..world.request(&[]) };
    let (bad, good) = (request(&poison), request(&fixtures::regtest::address("stranger")));
    let bad = world.asked_as("carol", bad, &[]);
    let good = world.asked_as("carol", good, &[]);
    let view = shown(&world, &bad, &labels(&[]));
    assert!(lines(&view, "  to")[0].ends_with(", not in the address book: nobody knows whose"));
    let said = "it looks like destination acme, and is another: compare every character";
    let first = "no payment to this version of it was authorised yet: a small one shows that it arrives";
    assert_eq!(lines(&view, "  !"), [said, first]);
    assert_eq!(self::request(&view).outputs[0].address, poison);
    assert_eq!(lines(&shown(&world, &good, &labels(&[])), "  !"), [first]);
    let Document::Destination(other) = fixtures::destination("other") else { unreachable!() };
    let other = Document::Destination(Destination { address: poison, ..other });
    let id = world.propose("dave", other).unwrap();
    let text = shown(&world, &id, &labels(&[])).text();
    assert!(text.contains("destination acme, and is another address: compare every character"), "{text}");
}

/// What was paid once is no first payment any more, to that version of the destination.
#[test]
fn a_first_payment_is_said_to_be_one() {
    let mut world = World::ready();
    let coin = world.coin(10_000_000);
    let one = world.asked(world.request(&[("acme", 1_000_000)]));
    let two = world.asked_as("carol", world.request(&[("acme", 2_000_000)]), &[]);
    let is_first = |world: &World, id| request(&shown(world, &id, &labels(&[]))).outputs[0].first;
    assert!(is_first(&world, one) && is_first(&world, two), "asked for, and nothing left");
    let draft = world.draft(&[one], &[coin], 1_000);
    world.pay(&[one], &draft).unwrap();
    assert!(is_first(&world, one) && !is_first(&world, two));
}

/// Whose coins move, and what a freeze covers where that is not everything.
#[test]
fn clients_and_narrow_freezes_are_shown() {
    use custody::statement::{Freeze, Scope};
    use fixtures::name;
    let mut world = World::segregated();
    let ask = Request { client: Some(name("north")), ..world.request(&[("acme", 1_000)]) };
    let id = world.asked_as("carol", ask, &[]);
    let asset = world.state.genesis().asset();
    for scope in [Scope::Client(name("north")), Scope::Wallet(name("main")), Scope::Asset(asset.clone())] {
        world.say("alarm", Body::Freeze(Freeze { scope })).unwrap();
    }
    let view = shown(&world, &id, &labels(&[]));
    assert_eq!(lines(&view, "client"), ["north"]);
    let frozen = lines(&view, "! frozen");
    for what in ["client north by ", "wallet main by ", &format!("asset {asset} by ")] {
        assert!(frozen.iter().any(|line| line.starts_with(what)), "{what}: {frozen:?}");
    }
}

/// P23: a cancel by who asked, or by a person of what a machine asked, while nothing is authorised, is shown as
/// what it is, and so is what it ended.
#[test]
fn a_withdrawal_needs_nobody() {
    use approver::RequestState;
    use custody::payment::Request;
    let mut world = World::open(fixtures::newest());
    let ids = [1_000_000, 2_000_000].map(|amount| {
        let ask = world.request(&[("acme", amount)]);
        world.asked_as("carol", ask, &["alice", "bob"])
    });
    let [open, paid] = ids;
    let coin = world.coin(9_000_000);
    let draft = world.draft(&[paid], &[coin], 1_000);
    world.pay(&[paid], &draft).unwrap();
    let cancels = ids.map(|id| {
        let cancel = Request { renews: Some(id), ..world.request(&[]) };
        world.asked_as("carol", cancel, &[])
    });
    let view = shown(&world, &cancels[0], &labels(&[]));
    assert!(lines(&view, "ends it")[0].starts_with("at once"), "{view:?}");
    assert_eq!(lines(&view, "still needed"), ["nothing"]);
    assert_eq!((lines(&view, "rule").len(), request(&view).may_approve.len()), (0, 0));
    assert_eq!(request(&view).state, RequestState::Withdrawn);
    assert_eq!(request(&shown(&world, &open, &labels(&[]))).state, RequestState::Withdrawn);
    world.adopt(Document::Machine(fixtures::machine("shop", &[custody::document::Grant::Request])));
    let shops = world.asked_as("shop", world.request(&[("acme", 3_000_000)]), &[]);
    let cancel = Request { renews: Some(shops), ..world.request(&[]) };
    let cancel = world.asked_as("carol", cancel, &[]);
    assert!(lines(&shown(&world, &cancel, &labels(&[])), "ends it")[0].starts_with("at once"));
    assert_eq!(request(&shown(&world, &shops, &labels(&[]))).state, RequestState::Withdrawn);
    // Of what is authorised it is a payment to be approved.
    let view = shown(&world, &cancels[1], &labels(&[]));
    assert!(lines(&view, "ends it").is_empty() && lines(&view, "rule").len() == 1);
    assert_eq!(request(&view).state, RequestState::Open);
    assert_eq!(request(&shown(&world, &paid, &labels(&[]))).state, RequestState::Authorised);
    for who in ["alice", "bob"] {
        world.approve(who, cancels[1]).unwrap();
    }
    let draft = world.draft(&[cancels[1]], &[coin], 2_000);
    world.pay(&[cancels[1]], &draft).unwrap();
    assert_eq!(request(&shown(&world, &paid, &labels(&[]))).state, RequestState::Renewed);
}

#[test]
fn documents_are_shown_with_what_changes() {
    let mut world = World::ready();
    let id = world.propose("bob", Document::Group(group("approvers", &["alice", "carol", "dave"]))).unwrap();
    world.approve("alice", id).unwrap();
    let view = shown(&world, &id, &Labels::default());
    assert_eq!(lines(&view, "members"), ["alice, carol, dave"]);
    assert_eq!(lines(&view, ""), ["- members/bob: bob", "+ members/dave: dave"]);
    assert_eq!(lines(&view, "needs"), ["2 of admins (not filled yet)"]);
    assert_eq!(lines(&view, "may approve"), ["bob, carol"]);

    let mut wide = rule();
    wide.require.amount_max = Sats(500_000_000);
    wide.require.approvals = vec![path(&[(2, "approvers")]), path(&[(1, "approvers"), (1, "admins")])];
    let id = world.propose("bob", Document::Policy(policy(&[wide], 0))).unwrap();
    let view = shown(&world, &id, &Labels::default());
    assert_eq!(lines(&view, "rule"), ["payments: every payment and cancel"]);
    let changes = lines(&view, "");
    let needs = "needs 2 of approvers, or 1 of approvers and 1 of admins";
    assert!(changes.contains(&needs.to_owned()), "{changes:?}");
    let change = "~ rules/payments/require/amount_max: 100000000 -> 500000000";
    assert!(changes.contains(&change.to_owned()), "{changes:?}");

    let id = world.propose("dave", fixtures::destination("bank")).unwrap();
    let view = shown(&world, &id, &labels(&["bank"]));
    assert_eq!(lines(&view, "label"), ["bank"]);
    assert_eq!(lines(&view, "address"), [approver::chunks(&fixtures::regtest::address("bank"))]);
    assert_eq!(lines(&view, "replaces"), ["nothing: it is new"]);
    assert_eq!(lines(&view, "may approve"), ["alice, bob, carol"]);
}

/// Other anchors: which request, what is released, and why each authorised transaction cannot confirm beside a
/// later one. What is not proven is said to be so, whatever the document claims.
#[test]
fn other_anchors_say_what_they_do() {
    let (key, mut world) = common::world();
    let (coin, root, fresh) = (world.coin(1_000_000), world.coin(200_000), world.coin(500_000));
    let onward = world.draft(&[], &[root], 1_000);
    let parent = world.decoder.decode(&onward.raw()).unwrap().txid;
    let change = OutPoint { txid: parent, vout: 0 };
    let change = Coin { outpoint: change, amount: Sats(199_000), branch: Branch::Change, index: 0 };
    let ask = world.request(&[("acme", 400_000)]);
    let request = world.asked(ask);
    let mut paid = Vec::new();
    for (fee, coins) in [(1_000, vec![coin, root]), (2_000, vec![coin, change]), (3_000, vec![coin, fresh])] {
        let draft = world.draft(&[request], &coins, fee);
        world.pay(&[request], &draft).unwrap();
        paid.push(reversed(world.decoder.decode(&draft.raw()).unwrap().txid));
    }
    let alone = world.draft(&[request], &[coin], 4_000);
    world.pay(&[request], &alone).unwrap();
    let by = world.chain.confirm(&world.draft(&[], &[root], 5_000).raw());
    world.chain.mine_empty(2);
    let mut other = world.other_anchors(request, &[fresh], &[by]);
    other.ancestors = vec![Blob(onward.raw())];
    let view = |other: &OtherAnchors| {
        let fresh = Fresh { nonce: nonce(7), now: world.time };
        let replica = replica(&world);
        let draft = replica.propose(&key, Document::Anchors(other.clone()), fresh).unwrap();
        draft.view(&replica, &Labels::default(), world.time).unwrap()
    };
    let place = |coin: &Coin| format!("{}:{}", reversed(coin.outpoint.txid), coin.outpoint.vout);

    let seen = view(&other);
    assert_eq!(lines(&seen, "for request"), [request.to_string()]);
    assert_eq!(lines(&seen, "old anchor"), [format!("{}, released", place(&coin))]);
    assert_eq!(lines(&seen, "new anchor"), [place(&fresh)]);
    assert_eq!(lines(&seen, "confirmed is"), [reversed(by)]);
    assert_eq!(lines(&seen, "by ancestor"), [reversed(parent)]);
    let words = lines(&seen, "");
    let says = |start: &str| words.iter().filter(|l| l.starts_with(start)).cloned().collect::<Vec<_>>();
    assert_eq!(words[0], "from main: 400,000 sat (0.00400000 BTC) to acme");
    assert_eq!(words[1], "500,000 sat (0.00500000 BTC) at receive 0, 9 confirmations shown, in block 13");
    assert_eq!(words[2], "3 confirmations shown, in block 19");
    let why = |of: &str| {
        let text = seen.text();
        let rest = text.split(&format!("  authorised    {of}\n")).nth(1).unwrap().to_owned();
        rest.lines().nth(1).unwrap().trim().to_owned()
    };
    let (root, change, by) = (place(&root), place(&change), reversed(by));
    assert_eq!(why(&paid[0]), format!("never confirms: needs {root}, which was spent by {by}"));
    let how = "which can never be, because of";
    assert_eq!(why(&paid[1]), format!("never confirms: needs {change}, {how} {by}"));
    let then = "may confirm; then nothing after it: spends";
    assert_eq!(why(&paid[2]), format!("{then} {}", place(&fresh)));
    let open = "NOT EXCLUDED: it may confirm beside a payment from these anchors";
    assert_eq!(says("NOT EXCLUDED"), [open]);

    // Words of the document itself prove nothing.
    other.conflicts[0].position = 0;
    let seen = lines(&view(&other), "");
    assert!(seen[2].starts_with("NOT PROVEN: "), "{seen:?}");
    assert_eq!(seen.iter().filter(|l| *l == open).count(), 3);
}

/// Every kind of document renders, and no field of it is left out of sight.
#[test]
fn every_kind_of_document_has_words() {
    let (key, world) = common::world();
    let replica = replica(&world);
    let in_force = world.state.documents().map(|d| d.document.clone());
    let proof = custody::effects::Inclusion {
        transaction: Blob(vec![1]),
        position: 0,
        branch: vec![nonce(8)],
        block: 0,
    };
    let input = custody::effects::TypedInput {
        outpoint: OutPoint { txid: nonce(9), vout: 1 },
        amount: Sats(5_000),
        branch: Branch::Change,
        index: 3,
    };
    let anchors = OtherAnchors {
        lineage: nonce(10),
        anchors: vec![OtherAnchor { output: input, proof: proof.clone() }],
        conflicts: vec![proof],
        ancestors: vec![Blob(vec![3])],
        headers: Blob(vec![2]),
    };
    let others = [
        Document::Anchors(anchors),
        Document::Upgrade(custody::document::Upgrade { version: 2, rules: nonce(4) }),
        Document::Resume(custody::document::Resume { freezes: vec![nonce(5)] }),
        Document::Revocation(custody::document::Revocation { key: nonce(6) }),
        fixtures::client("north"),
        Document::Resharing(world.resharing(9, nonce(11), ["s1", "s2"], &["s1", "s2", "w1"])),
    ];
    let mut kinds = std::collections::BTreeSet::new();
    let Document::Destination(vault) = fixtures::destination("vault") else { unreachable!() };
    let full = [
        Document::Policy(fixtures::full_policy(0)),
        Document::Destination(Destination {
            owner: Some(name("north")),
            proof: Some(nonce(12)),
            third_party: Some(name("bank")),
            ..vault
        }),
    ];
    let records = fixtures::samples::records(world.time);
    let members = ["s4", "s1", "s2", "w1"].map(name).to_vec();
    let set = Document::CosignerSet(CosignerSet { members, joining: vec![card("s4", true, 1)] });
    for document in in_force.chain(others).chain(full).chain(records).chain([set]) {
        kinds.insert(document.kind());
        let fresh = Fresh { nonce: nonce(7), now: world.time };
        let draft = replica.propose(&key, document.clone(), fresh).unwrap();
        let text = draft.view(&replica, &Labels::default(), world.time).unwrap().text();
        for word in words(&serde_json::to_value(&document).unwrap()) {
            let bare: String = text.split_whitespace().collect();
            assert!(bare.contains(&word), "{word} of a {} is not in\n{text}", document.kind().word());
        }
    }
    assert_eq!(kinds.len(), custody::document::TABLE.len());
    // Of a set it is said who is new in it, who is not in it any more, and how many decide.
    let members = ["s4", "s1", "s2", "w1"].map(name).to_vec();
    let set = Document::CosignerSet(CosignerSet { members, joining: vec![card("s4", true, 1)] });
    let fresh = Fresh { nonce: nonce(7), now: world.time };
    let draft = replica.propose(&key, set, fresh).unwrap();
    let text = draft.view(&replica, &Labels::default(), world.time).unwrap().text();
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in ["leaves s3", "joins s4", "votes 3 of 4 decide", "votes now 3 of 4 decide"] {
        assert!(lines.iter().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// The hashes and names in a document that people compare, as they are shown, without spaces.
fn words(value: &serde_json::Value) -> Vec<String> {
    use serde_json::Value;
    match value {
        Value::Object(map) => map.iter().flat_map(|(field, value)| under(field, value)).collect(),
        Value::Array(items) => items.iter().flat_map(words).collect(),
        Value::String(text) => vec![text.replace(' ', "")],
        _ => Vec::new(),
    }
}

fn txid(raw: &Blob) -> String {
    reversed(Hash::sha256(&Hash::sha256(&raw.0).0))
}

fn reversed(mut hash: Hash) -> String {
    hash.0.reverse();
    hash.to_string()
}

fn under(field: &str, value: &serde_json::Value) -> Vec<String> {
    match (field, value.as_str()) {
        // Shown in another form: commitments as labels, accounts as hashes, block hashes reversed,
        // signatures by their keys, the type as the title. Proofs are for programs.
        ("name" | "label" | "slots" | "hash" | "certificate" | "type" | "proof" | "headers", _) => Vec::new(),
        ("business" | "clients" | "speed_and_safety" | "segregation", Some(_)) => Vec::new(),
        ("txid", Some(txid)) => vec![reversed(Hash::from_hex(txid).unwrap())],
        ("conflicts", _) => {
            let raw = |proof: &serde_json::Value| -> Blob {
                serde_json::from_value(proof["transaction"].clone()).unwrap()
            };
            value.as_array().unwrap().iter().map(|proof| txid(&raw(proof))).collect()
        }
        ("ancestors", _) => {
            let raws: Vec<Blob> = serde_json::from_value(value.clone()).unwrap();
            raws.iter().map(txid).collect()
        }
        ("participants", _) => {
            let keys = value.as_array().unwrap().iter();
            keys.map(|p| p["key"].as_str().unwrap().to_owned()).collect()
        }
        ("amount" | "amount_min" | "amount_max" | "fee_max", Some(amount)) => {
            vec![approver::sats(Sats(amount.parse().unwrap())).replace(' ', "")]
        }
        _ => words(value),
    }
}
