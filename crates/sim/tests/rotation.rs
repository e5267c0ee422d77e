//! Keys of statements, frames and sealing change while the deployment goes on: real `keyward-signer` processes
//! and a governed document for each change (P4, P30).

use std::fs;
use std::time::{Duration, Instant};

use custody::document::{Document, share_context};
use custody::statement::{Body, STATEMENT_VERSION, Statement, Supports, key_id, pae};
use custody::{Blob, Hash};
use keys::cosigner::{CosignerPublic, CosignerSecrets};
use keys::locked::LockedBytes;
use keys::seal::{self, SealDomain};
use keys::vault::{Vault, VaultContext, VaultKind};
use rand_core::OsRng;
use serde_json::json;
use sim::attacker::{Hand, Scene, session};
use sim::deployment::name;
use sim::processes::{copy, secret};
use wire::message::{FromCosigner, ReceiptState, ToCosigner};

/// So long nothing may come of a frame that is taken.
const SILENCE: Duration = Duration::from_millis(700);

/// A process wipes old keys from its disk right after a head became final.
const WIPE_LIMIT: Duration = Duration::from_secs(5);

fn names(document: &Document, public: &CosignerPublic) -> bool {
    let Document::Cosigner(card) = document else { panic!("{document:?}") };
    (card.statement, card.frame, card.seal) == (public.statement, public.frame, Hash(public.seal.0))
}

/// Waits until the disk of a co-signer holds the keys of this card and no others.
fn wiped(scene: &Scene, who: &str, document: &Document) -> CosignerSecrets {
    let until = Instant::now() + WIPE_LIMIT;
    loop {
        let keys = scene.signers.steal(who);
        if names(document, &keys.public()) && keys.next_public().is_none() {
            return keys;
        }
        assert!(Instant::now() < until, "{who} keeps keys that are out of use");
    }
}

/// What a co-signer says to a frame that somebody with these keys of `s1` writes.
fn word_on_frame(scene: &Scene, hand: &Hand, to: &str) -> Option<String> {
    let key = scene.world.state.cosigner(&name(to)).unwrap().seal;
    let number = session(&scene.world.state.genesis_hash(), &Hash([3; 32]), &["s1", "s2"].map(name), 1);
    let letter = hand.frame(to, &key, &number, &json!({ "commitments": [] }));
    let mark = scene.server.mark();
    scene.server.deliver(&letter);
    scene.server.within(SILENCE, |v| {
        v.said[mark..].iter().find_map(|(_, m)| match m {
            FromCosigner::Refused { what, rule, .. } if what == "frame" => Some(rule.clone()),
            _ => None,
        })
    })
}

/// What a co-signer says to a statement under a statement key of `s1`.
fn word_on_statement(scene: &Scene, hand: &Hand) -> ReceiptState {
    let statement = Statement {
        genesis: scene.world.state.genesis_hash(),
        signer: key_id(&hand.secrets.public().statement),
        version: STATEMENT_VERSION,
        nonce: Hash([9; 32]),
        not_after: Some(scene.world.time + 600),
        body: Body::Supports(Supports { version: 77, rules: Hash([7; 32]) }),
    };
    let payload = statement.payload().unwrap();
    let signature = hand.secrets.used().sign_statement(&pae(&payload)).unwrap();
    scene.server.ask("s2", &statement.enveloped(payload, signature).bytes())
}

fn pays(scene: &mut Scene, holders: [&str; 2]) {
    let payment = scene.paid(100_000);
    let signed = scene.sign(payment.authorisation, holders).unwrap();
    assert!(scene.valid(&payment.draft, &[payment.coin], &signed), "{holders:?}");
}

#[test]
fn keys_change_by_a_governed_card_and_the_old_ones_are_worth_nothing() {
    let mut scene = Scene::ready();
    pays(&mut scene, ["s1", "s2"]);
    let old = scene.steal("s1");
    assert_eq!(word_on_frame(&scene, &old, "s2"), None, "the key in use signs frames");
    // Nobody proposed that rule set: the statement will stand in the log as rejected.
    assert_eq!(word_on_statement(&scene, &old), ReceiptState::Pending);

    // Not while it runs: two programs would write one file.
    let said = scene.signers.rekey("s1").unwrap_err();
    assert!(said.contains("another process"), "{said}");
    scene.kill("s1");
    let replaced = scene.signers.rekey("s1").unwrap();
    let card = scene.signers.rekey("s1").unwrap();
    let both = scene.signers.steal("s1");
    assert_eq!(both.public(), old.secrets.public(), "in use until the card is in force");
    assert!(names(&card, &both.next_public().unwrap()) && !names(&replaced, &both.next_public().unwrap()));
    scene.start("s1", &[]);

    // Proposed, started again in the middle, approved: it signs all the time.
    let id = scene.propose("bob", card.clone()).unwrap();
    pays(&mut scene, ["s1", "s2"]);
    scene.kill("s1");
    let said = scene.signers.rekey("s1").unwrap_err();
    assert!(said.contains("is proposed"), "{said}");
    scene.start("s1", &[]);
    for who in ["alice", "bob"] {
        scene.approve(who, id).unwrap();
    }
    let new = Hand::new("s1", wiped(&scene, "s1", &card), scene.world.state.genesis_hash());
    for holders in [["s1", "s2"], ["s1", "s3"]] {
        pays(&mut scene, holders);
    }

    // The old keys say nothing any more, the new ones do.
    assert_eq!(word_on_frame(&scene, &old, "s2").as_deref(), Some("P1.signature"));
    assert_eq!(word_on_frame(&scene, &new, "s2"), None);
    let refused = word_on_statement(&scene, &old);
    assert!(matches!(&refused, ReceiptState::Refused { rule, .. } if rule == "P1.signature"), "{refused:?}");
    assert_eq!(word_on_statement(&scene, &new), ReceiptState::Pending);
    shares(&mut scene, &old, &new);

    // The twin of every later start: the disk alone brings the new keys back.
    scene.kill("s1");
    scene.start("s1", &[]);
    pays(&mut scene, ["s1", "s2"]);

    others(&mut scene, card);
    while_away(&mut scene);
}

/// A share that was sealed to the old key stays closed; sealed to the new one it is kept.
fn shares(scene: &mut Scene, old: &Hand, new: &Hand) {
    assert_eq!(scene.hand_over("s1", "s1"), Err("GEN-03.ceremony".into()));
    let (genesis, ceremony) = (scene.world.state.genesis_hash(), scene.ceremony);
    let context = share_context(&genesis, &ceremony, 0, &name("s1"), 2);
    let sealed = &mut scene.sealed.as_mut().unwrap().shares;
    let mine = sealed.iter_mut().find(|s| s.holder.as_str() == "s1").unwrap();
    let plain =
        seal::open(old.secrets.used().seal_key(), SealDomain::Share, &context, &mine.sealed.0).unwrap();
    let to = new.secrets.public().seal;
    mine.sealed = Blob(seal::seal(&to, SealDomain::Share, &context, &plain, &mut OsRng).unwrap());
    assert_eq!(scene.hand_over("s1", "s1"), Ok(()));
}

/// A card under another name, by another identity, or again.
fn others(scene: &mut Scene, card: Document) {
    let Document::Cosigner(card) = card else { panic!() };
    let mut foreign = card.clone();
    foreign.name = name("s2");
    let mut stolen = card.clone();
    stolen.epoch += 1;
    stolen.certificate = Blob(scene.signers.steal("s2").certify(&stolen.certified_bytes()).unwrap().to_vec());
    for wrong in [foreign, stolen, card] {
        let denied = scene.propose("bob", Document::Cosigner(wrong)).unwrap_err();
        assert_eq!(denied.rule, "P3.document");
    }
    // Keys of another identity in the directory of this one.
    scene.kill("s2");
    let other = CosignerSecrets::generate(&mut OsRng).unwrap();
    let context =
        VaultContext { kind: VaultKind::CosignerKeys, genesis: Hash::default(), cosigner: name("s2") };
    let unlock = LockedBytes::take(&mut secret("s2")).unwrap();
    let vault = Vault::create(&unlock, &mut OsRng).unwrap();
    let file = vault.seal(&context, other.to_plaintext().unwrap().expose(), &mut OsRng).unwrap();
    let right = fs::read(scene.signers.data("s2").join("keys.vault")).unwrap();
    fs::write(scene.signers.data("s2").join("keys.vault"), file).unwrap();
    let said = scene.signers.rekey("s2").unwrap_err();
    assert!(said.contains("not those of s2"), "{said}");
    fs::write(scene.signers.data("s2").join("keys.vault"), right).unwrap();
    scene.start("s2", &[]);
}

/// The card enters into force while its co-signer is away, and the program is killed wherever it may be.
fn while_away(scene: &mut Scene) {
    scene.kill("s2");
    let before = scene.signers.steal("s2").public();
    let vault = scene.signers.data("s2").join("keys.vault");
    let bytes = fs::read(&vault).unwrap();
    let (temporary, card) = (vault.with_extension("vault.tmp"), scene.signers.next_card("s2"));
    let begun = Instant::now();
    scene.signers.rekey("s2").unwrap();
    let whole = begun.elapsed();
    assert_ne!(fs::read(&vault).unwrap(), bytes);
    let mut killed = 0;
    for part in 0..8 {
        let (next, begun) = (scene.signers.steal("s2").next_public().unwrap(), Instant::now());
        let (bytes, shown) = (fs::read(&vault).unwrap(), fs::read(&card).unwrap());
        killed += u32::from(scene.signers.rekey_killed("s2", || match part {
            0..4 => begun.elapsed() > whole * part / 4,
            4 | 5 => temporary.exists(),
            6 => fs::read(&vault).unwrap() != bytes,
            _ => fs::read(&card).unwrap() != shown,
        }));
        let keys = scene.signers.steal("s2");
        assert_eq!(keys.public(), before, "moment {part}");
        assert!(keys.next_public().is_some(), "moment {part}");
        let made = keys.next_public() != Some(next);
        assert!(made || fs::read(&card).unwrap() == shown, "a card without its keys");
    }
    assert!(killed >= 4, "killed {killed} times only");

    let card = scene.signers.rekey("s2").unwrap();
    let Document::Cosigner(next) = &card else { panic!() };
    assert_eq!(next.epoch, 2, "no card of those before was in force");
    scene.adopt("bob", card.clone());
    pays(scene, ["s1", "s3"]);
    scene.start("s2", &[]);
    scene.server.settle();
    wiped(scene, "s2", &card);
    for holders in [["s1", "s2"], ["s2", "s3"]] {
        pays(scene, holders);
    }
}

/// A new host for a co-signer: its keys, nothing else, and a head that people brought (P30).
#[test]
fn an_empty_disk_starts_from_a_pinned_head() {
    let mut scene = Scene::ready();
    let mut connection = scene.connect("server", "s1").unwrap();
    connection.send(&wire::encode(&ToCosigner::Log { from: 1 }).unwrap()).unwrap();
    let FromCosigner::Log(piece) = wire::decode(&connection.recv().unwrap()).unwrap() else { panic!() };
    drop(connection);
    let data = scene.signers.data("s3");
    let pin = data.with_extension("head");
    fs::write(&pin, &piece.note).unwrap();
    let pinned = ["--pinned-head", pin.to_str().unwrap()];

    scene.kill("s3");
    let old = scene.signers.save("s3", "old");
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    fs::copy(old.join("keys.vault"), data.join("keys.vault")).unwrap();
    scene.start("s3", &pinned);
    scene.adopt("dave", fixtures::destination("third"));
    scene.server.settle();
    let height = scene.world.state.clock().height;
    assert_eq!(scene.server.view(|v| v.heights.get("s3").copied()), Some(height));
    // It takes part: without another one there is a quorum with it.
    scene.kill("w1");
    scene.adopt("dave", fixtures::destination("fourth"));
    // The shares follow when its log knows of which account they are.
    scene.kill("s3");
    copy(&old.join("shares"), &data.join("shares"));
    scene.start("s3", &[]);
    pays(&mut scene, ["s1", "s3"]);

    // The directory keeps the head; one that is not final, or of another log, is refused.
    assert!(fs::read_to_string(data.join("pinned-heads.json")).unwrap().contains("keyward-state"));
    scene.kill("s3");
    let last = piece.note.trim_end().rsplit_once('\n').unwrap().0;
    let last = last.rsplit_once('\n').map_or(last, |(rest, _)| rest);
    fs::write(&pin, format!("{last}\n")).unwrap();
    // An option that is none, or not for one of genesis, is refused before anything is served.
    for (wrong, word) in
        [(&["--tmp", "/dev/tpmrm0"][..], "--tmp"), (&["--first-start"][..], "--first-start is for")]
    {
        let said = scene.signers.refuses_with("s3", wrong);
        assert!(said.contains(word), "{said}");
    }
    let said = scene.signers.refuses_with("s3", &["--first-start", "--name", "s3"]);
    assert!(said.contains("--first-start is for"), "{said}");
    let said = scene.signers.refuses_with("s3", &pinned);
    assert!(said.contains("not final"), "{said}");
    scene.start("s3", &[]);
}
