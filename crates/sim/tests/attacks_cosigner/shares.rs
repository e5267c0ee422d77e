//! P27, P28: shares that are altered on their way, and shares that are wrong. Who is to blame is named, and
//! nobody else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody::name::Name;
use custody::{Blob, Hash};
use keys::share::HeldShare;
use serde_json::{Value, json};
use sim::attacker::{Hand, Letter, Scene, session};
use sim::deployment::name;
use wire::message::FromCosigner;

/// So long nothing may come of an order that is refused or that waits; a signature takes milliseconds.
const SILENCE: Duration = Duration::from_millis(700);

/// Waits until so many letters were kept back.
fn gather(scene: &Scene, kept: &Arc<Mutex<Vec<Letter>>>, count: usize) -> Vec<Letter> {
    scene.server.wait("letters", |_| {
        let kept = kept.lock().unwrap();
        (kept.len() >= count).then(|| kept.clone())
    })
}

/// The rules of refusals after `mark`, and whom they blame.
fn refused(scene: &Scene, mark: usize, of: &str) -> Vec<(String, Vec<Name>)> {
    scene.server.view(|v| {
        let refusal = |(_, message): &(String, FromCosigner)| match message {
            FromCosigner::Refused { what, rule, culprits, .. } if what == of => {
                Some((rule.clone(), culprits.clone()))
            }
            _ => None,
        };
        v.said[mark..].iter().filter_map(refusal).collect()
    })
}

/// The server alters, drops, repeats and misdirects the one frame that carries a share.
#[test]
fn a_share_altered_on_its_way_blames_nobody() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let authorisation = payment.authorisation;
    type Alter = fn(&mut Value);
    let alterations: [(&str, Alter); 3] = [
        ("sealed", |f| flip(&mut f["sealed"], 60)),
        ("signature", |f| flip(&mut f["signature"], 5)),
        ("from", |f| f["from"] = json!("s3")),
    ];
    for (what, alter) in alterations {
        let kept = scene.server.keep("frame");
        let mark = scene.server.mark();
        scene.order(authorisation, ["s1", "s2"]);
        let commitments = gather(&scene, &kept, 2);
        commitments.iter().for_each(|l| scene.server.deliver(l));
        // s1 leads and keeps its own share to itself: what comes third is the share of s2.
        let share = gather(&scene, &kept, 3)[2].clone();
        assert_eq!((share.from.as_str(), share.to.as_str()), ("s2", "s1"));
        scene.server.deliver(&share.clone().edit(|v| alter(&mut v["frame"])));
        // Commitments again, in its place.
        commitments.iter().for_each(|l| scene.server.deliver(l));
        assert_eq!(scene.result_within(SILENCE, mark, authorisation), None, "{what}");
        assert_eq!(refused(&scene, mark, "frame"), [("P1.signature".to_owned(), Vec::new())], "{what}");
        // The twin: as it was.
        scene.server.deliver(&share);
        let signed = scene.result(mark, authorisation).unwrap();
        assert!(scene.valid(&payment.draft, &[payment.coin], &signed), "{what}");
        scene.server.honest();
    }
}

/// P27: the same digest again means fresh nonces: also from a signer that was killed and started again, and
/// from one whose disk is a copy, as of a machine that was cloned.
#[test]
fn the_same_digest_is_never_signed_with_the_same_nonces() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let authorisation = payment.authorisation;
    let mut seen = BTreeSet::new();
    let mut sign = |scene: &mut Scene, what: &str| {
        let signed = scene.sign(authorisation, ["s1", "s2"]).unwrap();
        assert!(scene.valid(&payment.draft, &[payment.coin], &signed));
        let transaction: bitcoin::Transaction = bitcoin::consensus::deserialize(&signed.0).unwrap();
        // The first half of a BIP-340 signature is the point that both nonces make.
        assert!(seen.insert(transaction.input[0].witness[0][..32].to_vec()), "{what}");
    };
    for _ in 0..3 {
        sign(&mut scene, "again");
    }
    for who in ["s1", "s2"] {
        scene.server.settle();
        scene.kill(who);
    }
    let copies = ["s1", "s2"].map(|who| (who, scene.signers.save(who, "clone")));
    for round in ["killed", "cloned"] {
        for (who, copy) in &copies {
            if scene.signers.runs(who) {
                scene.server.settle();
                scene.kill(who);
            }
            scene.signers.restore(who, copy);
            scene.start(who, &[]);
        }
        sign(&mut scene, round);
    }
}

/// s3 with its own share, rightly sealed and signed, and wrong: it alone is named, and the others sign.
#[test]
fn a_wrong_share_names_its_signer_and_the_others_sign() {
    let mut scene = Scene::ready();
    let payment = scene.paid(100_000);
    let authorisation = payment.authorisation;
    let (hand, share) = (scene.steal("s3"), scene.steal_share("s3"));
    scene.kill("s3");
    for (attempt, (leader, scalar)) in (700..).zip([("s1", [7; 32]), ("s2", [7; 32]), ("s1", [0; 32])]) {
        let bluff = Bluff { hand: &hand, share: &share, leader, attempt };
        let mark = scene.server.mark();
        scene.order_one(leader, authorisation, [leader, "s3"], attempt);
        bluff.say(
            &scene,
            authorisation,
            |id, holders| json!({ "commitments": [hand.commitment(&share, id, holders)] }),
        );
        bluff.say(&scene, authorisation, |_, _| json!({ "shares": [Blob(scalar.to_vec())] }));
        let (rule, culprits) = scene.result(mark, authorisation).unwrap_err();
        assert_eq!((rule.as_str(), culprits), ("P1.form", vec![name("s3")]), "{leader} {scalar:?}");
    }
    // Nonces of another session, or for other holders, serve nothing.
    for (attempt, holders) in [(710, ["s2", "s3"]), (711, ["s1", "s3"])] {
        let bluff = Bluff { hand: &hand, share: &share, leader: "s1", attempt };
        let mark = scene.server.mark();
        scene.order_one("s1", authorisation, ["s1", "s3"], attempt);
        bluff.say(&scene, authorisation, |_, _| {
            let other = session(&scene.world.state.genesis_hash(), &authorisation, &holders.map(name), 1);
            json!({ "commitments": [hand.commitment(&share, &other, &holders.map(name))] })
        });
        bluff.say(&scene, authorisation, |_, _| json!({ "shares": [Blob([7; 32].to_vec())] }));
        let (rule, _) = scene.result(mark, authorisation).unwrap_err();
        assert_eq!(rule, "P1.form", "{holders:?}");
    }
    assert!(scene.server.view(|v| v.said.iter().all(|(_, m)| !blames(m, &["s1", "s2"]))));
    // Another pair is asked, and signs.
    let signed = scene.sign(authorisation, ["s1", "s2"]).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed));
}

/// What s3 says in a session that another one leads.
struct Bluff<'a> {
    hand: &'a Hand,
    share: &'a HeldShare,
    leader: &'a str,
    attempt: u32,
}

impl Bluff<'_> {
    fn say(&self, scene: &Scene, authorisation: Hash, payload: impl FnOnce(&Hash, &[Name]) -> Value) {
        let state = &scene.world.state;
        let holders = [self.leader, "s3"].map(name);
        assert!(holders.contains(self.share.holder()));
        let id = session(&state.genesis_hash(), &authorisation, &holders, self.attempt);
        let seal = state.cosigner(&name(self.leader)).unwrap().seal;
        scene.server.deliver(&self.hand.frame(self.leader, &seal, &id, &payload(&id, &holders)));
    }
}

fn blames(message: &FromCosigner, honest: &[&str]) -> bool {
    matches!(message, FromCosigner::Refused { culprits, .. } if culprits.iter().any(|c| honest.contains(&c.as_str())))
}

fn flip(value: &mut Value, place: usize) {
    let mut bytes: Blob = serde_json::from_value(value.clone()).unwrap();
    bytes.0[place] ^= 1;
    *value = json!(bytes);
}
