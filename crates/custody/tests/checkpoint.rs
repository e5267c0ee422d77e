//! Signed heads: the specifications' own examples, a checkpoint that four public witnesses cosigned,
//! vectors made in another language, and Cloudflare's `signed_note` and `tlog_tiles` as oracles.

use custody::Hash;
use custody::checkpoint::{
    Checkpoint, FinalHead, HeadError, MAX_BODY_BYTES, MAX_COSIGNATURE_TIME_S, MAX_EXTENSION_LINES,
    MAX_NOTE_BYTES, MAX_NOTE_LINES, NoteError, NoteLine, SignedNote, cosign, key_id, parse_vkey,
    verify_cosignature, vkey,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use proptest::prelude::*;
use serde::Deserialize;

fn vector(name: &str) -> String {
    let path = format!("{}/../../vectors/checkpoint/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[derive(Deserialize)]
struct Head {
    origin: String,
    size: u64,
    root: Hash,
    state: Hash,
    body: String,
    cosigners: Vec<Cosigner>,
    note: String,
}

#[derive(Deserialize)]
struct Cosigner {
    seed: Hash,
    vkey: String,
    time: u64,
    line: String,
}

impl Head {
    fn read() -> Self {
        serde_json::from_str(&vector("head.json")).unwrap()
    }

    fn committee(&self) -> Vec<(String, VerifyingKey)> {
        self.cosigners.iter().map(|cosigner| parse_vkey(&cosigner.vkey).unwrap()).collect()
    }

    fn check(&self, note: &str, quorum: usize) -> Result<FinalHead, HeadError> {
        FinalHead::check(note, &self.origin, &self.committee(), quorum)
    }

    /// The body with the signature lines of these co-signers.
    fn signed_by(&self, cosigners: &[usize]) -> String {
        let lines = cosigners.iter().map(|&i| format!("{}\n", self.cosigners[i].line));
        format!("{}\n{}", self.body, lines.collect::<String>())
    }

    /// A line of co-signer `i` over any body, name and time.
    fn line(&self, i: usize, body: &str, name: &str, time_s: u64) -> NoteLine {
        cosign(body, name, &SigningKey::from_bytes(&self.cosigners[i].seed.0), time_s)
    }
}

fn signed(body: &str, lines: &[NoteLine]) -> String {
    SignedNote { body: body.to_owned(), lines: lines.to_vec() }.to_string()
}

#[test]
fn the_examples_of_the_specifications_are_read_and_written_alike() {
    let text = vector("c2sp-signed-note.txt");
    let note = SignedNote::parse(&text).unwrap();
    assert_eq!(note.to_string(), text);
    assert!(note.body.starts_with("Ognuno sta solo") && note.body.ends_with("è subito sera.\n"));
    assert_eq!(note.lines[0].name, "quasimodo.example/salvatore");

    let text = vector("c2sp-tlog-cosignature.txt");
    let note = SignedNote::parse(&text).unwrap();
    assert_eq!(note.to_string(), text);
    let checkpoint = Checkpoint::parse(&note.body).unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(checkpoint.encode().unwrap(), note.body);
    assert_eq!(checkpoint.state(), None);
    let witness = &note.lines[1];
    assert_eq!(witness.name, "witness.example.com/w1");
    // "time 1679315147" in the example of the signed message.
    assert_eq!(witness.signature[..8], 1_679_315_147u64.to_be_bytes());
    assert_eq!(witness.signature.len(), 72);
}

#[test]
fn cosignatures_of_public_witnesses_verify() {
    let note = SignedNote::parse(&vector("witnessed-arche2025h1.txt")).unwrap();
    let keys: Vec<_> = vector("witnessed-arche2025h1.vkeys").lines().map(str::to_owned).collect();
    assert_eq!(keys.len(), 4);
    for text in keys {
        let (name, key) = parse_vkey(&text).unwrap();
        assert_eq!(vkey(&name, &key), text);
        let verified: Vec<_> =
            note.lines.iter().filter_map(|l| verify_cosignature(&note.body, l, &name, &key)).collect();
        assert_eq!(verified, [1_779_573_024], "{name}");
        let other = note.body.replace("1432088532", "1432088533");
        assert!(note.lines.iter().all(|l| verify_cosignature(&other, l, &name, &key).is_none()));
    }
}

#[test]
fn heads_are_made_as_in_the_vectors() {
    let head = Head::read();
    let checkpoint = Checkpoint::head(&head.origin, head.size, head.root, &head.state);
    assert_eq!(checkpoint.encode().unwrap(), head.body);
    assert_eq!(Checkpoint::parse(&head.body).unwrap(), checkpoint);
    assert_eq!(checkpoint.state(), Some(head.state));
    for cosigner in &head.cosigners {
        let key = SigningKey::from_bytes(&cosigner.seed.0);
        let (name, public) = parse_vkey(&cosigner.vkey).unwrap();
        assert_eq!(public, key.verifying_key());
        assert_eq!(vkey(&name, &public), cosigner.vkey);
        let line = cosign(&head.body, &name, &key, cosigner.time);
        assert_eq!(line.to_string(), cosigner.line);
        assert_eq!(NoteLine::parse(&cosigner.line).unwrap(), line);
        assert_eq!(verify_cosignature(&head.body, &line, &name, &public), Some(cosigner.time));
        let typed = [&[4][..], public.as_bytes()].concat();
        assert_eq!(u32::from_be_bytes(key_id(&name, &public)), signed_note::key_id(&name, &typed));
    }
    let found = head.check(&head.note, 4).unwrap();
    assert_eq!(*found.checkpoint(), checkpoint);
    assert_eq!(found.state(), head.state);
    let names = head.committee().into_iter().map(|(name, _)| name);
    let times = head.cosigners.iter().map(|cosigner| cosigner.time);
    assert_eq!(*found.signers(), names.zip(times).collect());
}

#[test]
fn a_quorum_of_distinct_keys_makes_a_head_final() {
    let head = Head::read();
    assert!(head.check(&head.signed_by(&[0, 1, 3]), 3).is_ok());
    assert!(head.check(&head.signed_by(&[3, 1, 0]), 3).is_ok(), "order does not matter");
    let short = Err(HeadError::NoQuorum { found: 2, quorum: 3 });
    assert_eq!(head.check(&head.signed_by(&[0, 1]), 3), short);
    assert_eq!(head.check(&head.signed_by(&[0, 1, 1, 0]), 3), short, "same line twice");

    let (name, _) = head.committee().remove(1);
    let again = head.line(1, &head.body, &name, 1_700_000_000);
    let note = format!("{}{again}\n", head.signed_by(&[0, 1]));
    assert_eq!(head.check(&note, 3), short, "same key at two times");
    let found = head.check(&note, 2).unwrap();
    assert_eq!(found.signers()[&name], 1_700_000_000, "the earlier time counts");
}

#[test]
fn one_key_under_two_names_counts_once() {
    let head = Head::read();
    let mut committee = head.committee();
    committee[1] = ("second-name.example".to_owned(), committee[0].1);
    let lines: Vec<_> = (0..2).map(|i| head.line(0, &head.body, &committee[i].0, 1_800_000_000)).collect();
    let found = FinalHead::check(&signed(&head.body, &lines), &head.origin, &committee, 2);
    assert_eq!(found, Err(HeadError::NoQuorum { found: 1, quorum: 2 }));
}

#[test]
fn no_quorum_and_no_committee_make_nothing_final() {
    let head = Head::read();
    let stranger = cosign(&head.body, "stranger.example", &SigningKey::from_bytes(&[9; 32]), 1);
    let note = signed(&head.body, &[stranger]);
    assert_eq!(head.check(&note, 0), Err(HeadError::NoQuorum { found: 0, quorum: 0 }));
    let nobody = FinalHead::check(&head.note, &head.origin, &[], 0);
    assert_eq!(nobody, Err(HeadError::NoQuorum { found: 0, quorum: 0 }));
}

#[test]
fn lines_of_other_keys_are_ignored_and_do_not_count() {
    let head = Head::read();
    let (name, key) = head.committee().remove(2);
    // A stranger's key under a member's name; a member's key under a stranger's name, also with the
    // member's key id; a member's name with a made-up key id; a signature of another type.
    let member = head.line(2, &head.body, &name, 1_800_000_000);
    let usurper = cosign(&head.body, &name, &SigningKey::from_bytes(&[9; 32]), 1_800_000_000);
    let renamed = head.line(2, &head.body, "stranger.example", 1_800_000_000);
    let disguised = NoteLine { key_id: member.key_id, ..renamed.clone() };
    let relabelled = NoteLine { key_id: [0; 4], ..member.clone() };
    let long = NoteLine { signature: vec![1; 2_428], ..usurper.clone() };
    for line in [usurper, renamed, disguised, relabelled, long] {
        assert_eq!(verify_cosignature(&head.body, &line, &name, &key), None, "{line}");
        let note = format!("{}{line}\n", head.signed_by(&[0, 1]));
        assert!(head.check(&note, 2).is_ok(), "{line}");
        let short = Err(HeadError::NoQuorum { found: 2, quorum: 3 });
        assert_eq!(head.check(&note, 3), short, "{line}");
    }
}

#[test]
fn an_altered_head_or_cosignature_is_refused() {
    let head = Head::read();
    let (name, key) = head.committee().remove(2);
    let bad = Err(HeadError::BadCosignature(name.clone()));
    let good = head.line(2, &head.body, &name, 1_800_000_000);
    let alter = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut line = good.clone();
        change(&mut line.signature);
        line
    };
    let time = alter(&|signature| signature[7] ^= 1);
    let signature = alter(&|signature| signature[40] ^= 1);
    let short = alter(&|signature| signature.truncate(71));
    let long = alter(&|signature| signature.push(0));
    let time_only = alter(&|signature| signature.truncate(8));
    let none = alter(&|signature| signature.truncate(1));
    let plain = alter(&|signature| drop(signature.drain(..8)));
    let other_body = head.line(2, &head.body.replace("\n7\n", "\n8\n"), &name, 1_800_000_000);
    for line in [time, signature, short, long, time_only, none, plain, other_body] {
        assert_eq!(verify_cosignature(&head.body, &line, &name, &key), None, "{line}");
        let note = format!("{}{line}\n", head.signed_by(&[0, 1, 3]));
        assert_eq!(head.check(&note, 3), bad, "{line}");
    }
    for (from, to) in
        [("\n7\n", "\n8\n"), ("SBNJTRN", "SBNJTRM"), ("keyward-state/v1 4", "keyward-state/v1 5")]
    {
        let note = head.note.replacen(from, to, 1);
        assert_ne!(note, head.note);
        assert!(matches!(head.check(&note, 3), Err(HeadError::BadCosignature(_))), "{from}");
    }
}

#[test]
fn a_head_of_another_log_is_refused_though_well_signed() {
    let head = Head::read();
    let sign = |body: &str| {
        let names = head.committee().into_iter().map(|(name, _)| name).enumerate();
        let lines: Vec<_> = names.map(|(i, name)| head.line(i, body, &name, 1)).collect();
        signed(body, &lines)
    };
    assert!(head.check(&sign(&head.body), 4).is_ok());
    let other = sign(&head.body.replace("/commands", "/observations"));
    assert!(matches!(head.check(&other, 4), Err(HeadError::Origin { .. })));

    let line = head.body.lines().nth(3).unwrap();
    for body in [
        head.body.replace(&format!("{line}\n"), ""),
        head.body.replace(line, &format!("{line}\n{line}")),
        head.body.replace(line, &format!("{line}0")),
        head.body.replace("state/v1", "state/v2"),
        head.body.replace(line, &line.to_uppercase()),
    ] {
        assert_eq!(head.check(&sign(&body), 4), Err(HeadError::NoState), "{body}");
    }
}

#[test]
fn the_latest_time_is_the_limit_of_the_specification() {
    let head = Head::read();
    let (name, key) = head.committee().remove(0);
    let verify =
        |time_s| verify_cosignature(&head.body, &head.line(0, &head.body, &name, time_s), &name, &key);
    assert_eq!(verify(MAX_COSIGNATURE_TIME_S), Some((1 << 63) - 1));
    assert_eq!(verify(MAX_COSIGNATURE_TIME_S + 1), None);
    assert_eq!(verify(0), Some(0));
}

#[test]
fn bodies_that_are_not_canonical_are_refused() {
    let root = "SBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=";
    let good = |body: &str| {
        let checkpoint = Checkpoint::parse(body).unwrap();
        assert_eq!(checkpoint.encode().unwrap(), body);
    };
    good(&format!("o\n0\n{root}\n"));
    good(&format!("o\n18446744073709551615\n{root}\nx\n"));
    for body in [
        String::new(),
        "\n".to_owned(),
        format!("\n7\n{root}\n"),
        format!("o\n\n{root}\n"),
        format!("o\n07\n{root}\n"),
        format!("o\n00\n{root}\n"),
        format!("o\n+7\n{root}\n"),
        format!("o\n-7\n{root}\n"),
        format!("o\n 7\n{root}\n"),
        format!("o\n7 \n{root}\n"),
        format!("o\n0x7\n{root}\n"),
        format!("o\n18446744073709551616\n{root}\n"),
        format!("o\n7\n{root}"),
        "o\n7\n".to_owned(),
        "o\n7\n\n".to_owned(),
        format!("o\n7\n{root}\n\n"),
        format!("o\n7\n{root}\nx"),
        format!("o\n7\n{root}\nx\n\n"),
        format!("o\n7\n{root}\n\nx\n"),
        format!("o\r\n7\r\n{root}\r\n"),
        format!("o\t\n7\n{root}\n"),
        // The last digit's unused bits, no padding, the other alphabet, one byte less.
        format!("o\n7\n{}\n", root.replace("d7I=", "d7J=")),
        format!("o\n7\n{}\n", root.trim_end_matches('=')),
        format!("o\n7\n{}\n", root.replace('+', "-")),
        "o\n7\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2dw==\n".to_owned(),
    ] {
        assert_eq!(Checkpoint::parse(&body), Err(NoteError::Malformed("checkpoint")), "{body:?}");
    }
}

/// What would read back as something else is not encoded, so it is never signed.
#[test]
fn fields_cannot_smuggle_lines() {
    let root = Hash::sha256(b"root");
    let smuggled = Checkpoint::head("a", 1, root, &root).encode().unwrap();
    for (origin, line) in
        [("", "x"), ("a\nb", "x"), ("a", ""), ("a", "x\ny"), ("a", "\u{7}"), (smuggled.trim(), "x")]
    {
        let extension = vec![line.to_owned()];
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: 1, root, extension };
        assert!(checkpoint.encode().is_err(), "{checkpoint:?}");
    }
}

#[test]
fn limits_hold_on_both_sides() {
    let too_large = |what, limit| Err(NoteError::TooLarge { what, limit });
    let root = Hash::sha256(b"root");
    let checkpoint = |lines: usize, length: usize| {
        let extension = vec!["x".repeat(length); lines];
        Checkpoint { origin: "o".to_owned(), size: 1, root, extension }.encode()
    };
    assert!(checkpoint(MAX_EXTENSION_LINES, 1).is_ok());
    let lines = too_large("extension lines", MAX_EXTENSION_LINES);
    assert_eq!(checkpoint(MAX_EXTENSION_LINES + 1, 1), lines);
    let rest = MAX_BODY_BYTES - "o\n1\n".len() - 45 - 1;
    assert_eq!(checkpoint(1, rest).unwrap().len(), MAX_BODY_BYTES);
    assert_eq!(checkpoint(1, rest + 1), too_large("bytes of a checkpoint", MAX_BODY_BYTES));

    let line = cosign("text\n", "name", &SigningKey::from_bytes(&[1; 32]), 1);
    let note = |lines: usize| SignedNote::parse(&signed("text\n", &vec![line.clone(); lines]));
    assert_eq!(note(MAX_NOTE_LINES).unwrap().lines.len(), MAX_NOTE_LINES);
    let lines = NoteError::TooLarge { what: "signature lines", limit: MAX_NOTE_LINES };
    assert_eq!(note(MAX_NOTE_LINES + 1), Err(lines));
    let note = |bytes: usize| {
        let signature = format!("\n{line}\n");
        let text = format!("{}\n{signature}", "x".repeat(bytes - signature.len() - 1));
        assert_eq!(text.len(), bytes);
        SignedNote::parse(&text)
    };
    assert!(note(MAX_NOTE_BYTES).is_ok());
    let bytes = NoteError::TooLarge { what: "bytes of a note", limit: MAX_NOTE_BYTES };
    assert_eq!(note(MAX_NOTE_BYTES + 1), Err(bytes));
}

#[test]
fn notes_that_are_not_in_form_are_refused() {
    let head = Head::read();
    let (line, body) = (&head.cosigners[0].line, &head.body);
    let good = format!("{body}\n{line}\n");
    assert!(SignedNote::parse(&good).is_ok());
    for end in 0..good.len() {
        if good.is_char_boundary(end) {
            assert!(SignedNote::parse(&good[..end]).is_err(), "truncated to {end} bytes");
        }
    }
    let blob = line.rsplit_once(' ').unwrap().1;
    for note in [
        format!("{good}\n"),
        format!("{good}trailing\n"),
        format!("{good}trailing"),
        format!("{good} "),
        format!("{body}{line}\n"),
        format!("{body}\n\n"),
        format!("{body}\n{line}\n\n{line}"),
        format!("{body}\n- name {blob}\n"),
        format!("{body}\n—name {blob}\n"),
        format!("{body}\n— {blob}\n"),
        format!("{body}\n—  {blob}\n"),
        format!("{body}\n— na me {blob}\n"),
        format!("{body}\n— na+me {blob}\n"),
        format!("{body}\n— na\u{a0}me {blob}\n"),
        format!("{body}\n— name {blob} \n"),
        format!("{body}\n— name  {blob}\n"),
        format!("{body}\n— name {blob}\r\n"),
        format!("{body}\n— name {blob}=\n"),
        format!("{body}\n— name {}\n", blob.trim_end_matches('=')),
        format!("{body}\n— name \n"),
        format!("{body}\n— name AAAAAA==\n"),
        format!("a\u{0}b\n\n{line}\n"),
    ] {
        assert!(SignedNote::parse(&note).is_err(), "{note:?}");
        assert!(signed_note::Note::from_bytes(note.as_bytes()).is_err(), "{note:?}");
    }
}

#[test]
fn verifier_keys_that_do_not_fit_are_refused() {
    let head = Head::read();
    let good = &head.cosigners[0].vkey;
    let (name, key) = parse_vkey(good).unwrap();
    let id = hex::encode(key_id(&name, &key));
    let typed = good.rsplit_once('+').map(|_| &good[name.len() + 10..]).unwrap();
    assert_eq!(*good, format!("{name}+{id}+{typed}"));
    // A key of type 0x01 with the key id that fits it: well-formed, but not a cosigner's.
    let plain = signed_note::new_ed25519_verifier_key(&name, &key);
    for text in [
        String::new(),
        "+".to_owned(),
        format!("{name}+{id}"),
        format!("other+{id}+{typed}"),
        format!("{name}+00000000+{typed}"),
        format!("{name}+{}+{typed}", id.to_uppercase()),
        format!("+{id}+{typed}"),
        format!("{good}\n"),
        format!("{good}+"),
        format!(" {good}"),
        plain,
    ] {
        assert!(parse_vkey(&text).is_err(), "{text:?}");
    }
    let spaced = vkey("a name", &key);
    assert!(parse_vkey(&spaced).is_err(), "key names have no spaces");
}

/// A few edits at random places, which keep most of the structure.
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, char)>> {
    let character = prop::sample::select("\n\n 0179+=/Aa—é\u{a0}-".chars().collect::<Vec<_>>());
    prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, character), 0..4)
}

fn edit(text: &str, edits: &[(prop::sample::Index, u8, char)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (place, kind, character) in edits {
        let place = place.index(text.len().max(1));
        match kind {
            _ if text.is_empty() => text.push(*character),
            0 => text[place] = *character,
            1 => text.insert(place, *character),
            2 => drop(text.remove(place)),
            _ => text.truncate(place),
        }
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The other implementation reads the same notes, and the same from them.
    #[test]
    fn notes_are_read_as_by_the_other_implementation(edits in edits(), real in any::<bool>()) {
        let text = if real { vector("witnessed-arche2025h1.txt") } else { Head::read().note };
        let text = edit(&text, &edits);
        let theirs = signed_note::Note::from_bytes(text.as_bytes());
        match (SignedNote::parse(&text), theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.body.as_bytes(), theirs.text());
                prop_assert_eq!(ours.to_string().into_bytes(), theirs.to_bytes());
                prop_assert_eq!(ours.to_string(), text);
            }
            (Err(_), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{text:?}: {ours:?}, but {theirs:?}"),
        }
    }

    #[test]
    fn checkpoints_are_read_as_by_the_other_implementation(edits in edits()) {
        let text = edit(&Head::read().body, &edits);
        let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes());
        match (Checkpoint::parse(&text), theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(&ours.origin, theirs.origin());
                prop_assert_eq!(ours.size, theirs.size());
                prop_assert_eq!(ours.root.0, theirs.hash().0);
                prop_assert_eq!(ours.encode().unwrap().into_bytes(), theirs.to_bytes());
            }
            (Err(_), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{text:?}: {ours:?}, but {theirs:?}"),
        }
    }

    /// No edit of a final note leaves it final and says something else.
    #[test]
    fn no_edit_changes_what_is_final(edits in edits()) {
        let head = Head::read();
        let edited = edit(&head.note, &edits);
        if let Ok(found) = head.check(&edited, 1) {
            prop_assert_eq!(found.checkpoint(), &Checkpoint::parse(&head.body).unwrap());
        }
    }
}
