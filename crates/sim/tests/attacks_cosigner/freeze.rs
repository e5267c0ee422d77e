//! P14, P16, P18: a freeze while one honest signer is not reached, and s3 votes and co-signs as ever and
//! does as if it had never heard of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use custody::effects::Branch;
use custody::payment::Allocate;
use custody::statement::{Body, Envelope};
use signer::cosigner::{FRESH_S, WAITING_LIMIT};
use sim::attacker::{Hand, Letter, Scene, View, now_s};
use sim::deployment::name;
use wire::message::{FromCosigner, ReceiptState, ToCosigner};
use wire::{Listener, TlsKey};

use crate::person::Person;

/// So long nothing may come of an order that is refused or that waits; a signature takes milliseconds.
const SILENCE: Duration = Duration::from_millis(700);

/// Answers in the place of a co-signer whose keys were stolen: every freeze is held, it says. The process
/// itself hears of none, so it votes, co-signs and signs as ever. Returns where.
fn liar(hand: &Hand) -> String {
    let tls = TlsKey::from_seed(hand.secrets.tls_seed()).unwrap();
    let listener =
        Listener::bind("127.0.0.1:0".parse().unwrap(), &tls, Arc::new(|_: &[u8; 32]| true)).unwrap();
    let address = listener.local_addr().to_string();
    thread::spawn(move || {
        while let Ok(mut connection) = listener.accept() {
            let Ok(Ok(ToCosigner::Submit { envelope })) = connection.recv().map(|b| wire::decode(&b)) else {
                continue;
            };
            let id = Envelope::parse(&envelope.0).unwrap().id();
            let receipt = FromCosigner::Receipt { id, state: ReceiptState::Held };
            connection.send(&wire::encode(&receipt).unwrap()).unwrap();
        }
    });
    address
}

/// From here on letters pass only among these, and none that carries a freeze.
fn only_among(scene: &Scene, who: &[&str]) {
    let among: BTreeSet<String> = who.iter().map(|w| (*w).to_owned()).collect();
    scene.server.post(move |letter: Letter| {
        let inside = among.contains(&letter.from) && among.contains(&letter.to);
        if inside && letter.kind() != "reduction" { vec![letter] } else { Vec::new() }
    });
}

fn freezes(scene: &Scene) -> usize {
    scene.server.view(|v| v.state.freezes().iter().count())
}

fn height(scene: &Scene) -> u64 {
    scene.server.view(|v| v.state.clock().height)
}

/// The rules by which one co-signer refused to sign after `mark`.
fn refusals(v: &View, mark: usize, who: &str) -> Vec<String> {
    let said = v.said[mark..].iter().filter(|(from, _)| from == who);
    let rule = |(_, message): &(String, FromCosigner)| match message {
        FromCosigner::Refused { what, rule, .. } if what == "sign" => Some(rule.clone()),
        _ => None,
    };
    said.filter_map(rule).collect()
}

fn signed(scene: &Scene, mark: usize) -> bool {
    scene.server.view(|v| v.said[mark..].iter().any(|(_, m)| matches!(m, FromCosigner::Signed { .. })))
}

/// Held by one honest signer, cut off from the log: two signers and the witness go on without it, and the
/// payment is signed. So two acknowledgements, of which one may be a lie, are not called frozen. Three are.
#[test]
fn what_one_honest_signer_holds_is_sent_and_not_frozen() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let authorisation = payment.authorisation;
    let hand = scene.steal("s3");
    let alice = Person::new(&scene, "alice");
    let at = |who: &'static str| (who, scene.signers.address(who).to_string());
    let (s1, s2, s3) = (at("s1"), at("s2"), ("s3", liar(&hand)));

    only_among(&scene, &["s2", "s3", "w1"]);
    let (code, said) = alice.freeze(&[s1.clone(), s3.clone()]);
    assert!(
        code == 6 && said.starts_with("sent ") && said.contains("held by     s1, s3\n"),
        "{code}: {said}"
    );
    assert_eq!(scene.sign(authorisation, ["s1", "s3"]), Err("P16.frozen".into()), "s1 obeys at once");
    let before = height(&scene);
    let more = Allocate { wallet: name("main"), client: name("acme"), branch: Branch::Receive, count: 1 };
    scene.say("server", Body::Allocate(more)).unwrap();
    assert!(height(&scene) > before && freezes(&scene) == 0, "the log goes on without it");
    let signed = scene.sign(authorisation, ["s2", "s3"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed), "sent is all that it was");

    // The third signer reached: whatever s3 does, no honest one is left to sign with it.
    let (code, said) = alice.freeze(&[s1, s2, s3]);
    assert!(code == 0 && said.starts_with("frozen "), "{code}: {said}");
    for pair in [["s1", "s2"], ["s1", "s3"], ["s2", "s3"]] {
        let mark = scene.server.mark();
        scene.order(authorisation, pair);
        let honest = if pair[0] == "s1" { "s1" } else { "s2" };
        let refused = scene.server.wait("a refusal", |v| refusals(v, mark, honest).into_iter().next());
        assert_eq!(refused, "P16.frozen", "{pair:?}");
    }

    // The twin: with an honest server the freezes come into the log, and a quorum lifts them.
    scene.server.honest();
    scene.server.wait("the freezes", |v| (v.state.freezes().iter().count() == 2).then_some(()));
    scene.server.settle();
    scene.resume();
    let signed = scene.sign(authorisation, ["s1", "s2"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed));
}

/// Held by one honest signer and the witness: without them no batch is final any more, so the last share
/// leaves while the last head is fresh, and none after. A server that withholds everything but the order to
/// sign gains nothing by it.
#[test]
fn no_share_leaves_under_a_head_older_than_a_minute() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let authorisation = payment.authorisation;
    let hand = scene.steal("s3");
    let alice = Person::new(&scene, "alice");
    let at = |who: &'static str| (who, scene.signers.address(who).to_string());
    let held = [at("s1"), at("w1"), ("s3", liar(&hand))];

    only_among(&scene, &["s2", "s3"]);
    let (code, said) = alice.freeze(&held);
    assert!(code == 6 && said.contains("held by     s1, s3, w1\n"), "{code}: {said}");
    // This is why three co-signers do not make it true at once, but after 150 s (P18).
    let last = scene.server.view(|v| v.state.clock());
    assert!(now_s() <= last.time + FRESH_S, "the test began too late");
    let leaves = scene.sign(authorisation, ["s2", "s3"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &leaves));
    assert_eq!(height(&scene), last.height);

    thread::sleep(Duration::from_secs((last.time + FRESH_S + 2).saturating_sub(now_s())));
    // The order to begin, and nothing else: no commitment leaves, the orders wait, and one more than may
    // wait is refused.
    let frames = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&frames);
    scene.server.post(move |letter: Letter| {
        count.fetch_add(usize::from(letter.kind() == "frame"), Ordering::Relaxed);
        Vec::new()
    });
    let mark = scene.server.mark();
    for _ in 0..=WAITING_LIMIT {
        scene.order(authorisation, ["s2", "s3"]);
    }
    thread::sleep(SILENCE);
    assert_eq!(scene.server.view(|v| refusals(v, mark, "s2")), ["P14.fresh"]);
    assert_eq!(scene.server.view(|v| refusals(v, mark, "s3")), ["P14.fresh"]);
    assert!(!signed(&scene, mark) && frames.load(Ordering::Relaxed) == 0);
    // Those two alone make no head either, however long they try.
    only_among(&scene, &["s2", "s3"]);
    thread::sleep(Duration::from_secs(3));
    assert!(!signed(&scene, mark) && height(&scene) == last.height);

    // As soon as the log moves, the freeze is in it, and what waited is refused.
    scene.server.lose(&["reduction"]);
    scene.server.wait("the freeze", |v| (v.state.freezes().iter().count() == 1).then_some(()));
    scene.server.wait("refusals of what waited", |v| {
        let by = |who: &str| refusals(v, mark, who).iter().any(|rule| rule == "P16.frozen");
        (by("s2") && by("s3")).then_some(())
    });
    assert!(!signed(&scene, mark));

    // The twin: lifted by a quorum, under a fresh head.
    scene.server.honest();
    scene.server.settle();
    scene.resume();
    let leaves = scene.sign(authorisation, ["s2", "s3"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &leaves));
}
