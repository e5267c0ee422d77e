//! Each thing that can be done to a log is found, and named.

use std::fs;
use std::path::{Path, PathBuf};

use custody::Hash;
use custody::batch::Batch;
use custody::checkpoint::{Checkpoint, HeadError, SignedNote, cosign};
use custody::document::Document;
use custody::effects::Sats;
use custody::genesis::Genesis;
use custody::rule::Rule;
use custody::statement::{Body, Freeze, Propose, Scope};
use custody::tree::{leaf_hash, root_of};
use evidence::tiles::{ExportError, write_export};
use evidence::{Deed, LogKeys, VerifiedLog, VerifyError, verify_log};
use fixtures::{World, destination, genesis, key, newest, policy_of_many_rules};
use tempfile::TempDir;

const QUORUM: &[&str] = &["s1", "s3", "w1"];

/// A world in which something happened: a payment, and a statement that was rejected.
fn world() -> World {
    let mut world = World::ready();
    let coin = world.coin(10_000_000);
    let ask = world.request(&[("acme", 1_250_000)]);
    let request = world.asked_as("carol", ask, &["alice", "bob"]);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    world.approve("carol", request).unwrap_err();
    world
}

fn entries(world: &World) -> Vec<Vec<u8>> {
    world.log.iter().flat_map(|(batch, _)| batch.leaves()).collect()
}

fn sign(checkpoint: &Checkpoint, who: &[&str]) -> String {
    let body = checkpoint.encode().unwrap();
    let line = |w: &&str| cosign(&body, w, &key(&format!("{w}/cosign")), fixtures::START);
    let lines = who.iter().map(line).collect();
    SignedNote { body, lines }.to_string()
}

/// A checkpoint over any entries, with any state.
fn checkpoint(entries: &[Vec<u8>], state: &Hash) -> Checkpoint {
    let leaves: Vec<Hash> = entries.iter().map(|e| leaf_hash(e)).collect();
    Checkpoint::head(&genesis().log_origin(), entries.len() as u64, root_of(&leaves), state)
}

fn export(world: &World) -> TempDir {
    let note = sign(&world.state.checkpoint(), QUORUM);
    written(&entries(world), &note, world.state.genesis())
}

fn written(entries: &[Vec<u8>], note: &str, genesis: &Genesis) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_export(dir.path(), entries, note, &genesis.bytes()).unwrap();
    dir
}

fn keys() -> LogKeys {
    LogKeys::of_genesis(&genesis()).unwrap()
}

fn verify(dir: &TempDir) -> Result<VerifiedLog, VerifyError> {
    verify_log(dir.path(), &keys(), None)
}

/// A proposal that takes more entries than one moves those behind it on.
#[test]
fn a_long_proposal_is_exported_in_pieces() {
    let mut world = World::open(newest());
    let long = Document::Policy(policy_of_many_rules(400));
    let replaces = world.state.policy().map(|(_, hash)| hash);
    let proposals = [(long, replaces), (destination("beta"), replaces)];
    let proposals = proposals.map(|(document, replaces)| Body::Propose(Propose { document, replaces }));
    let entries = proposals.map(|body| world.sign("bob", body));
    world.apply(world.time, &entries);
    let (batch, _) = world.log.last().unwrap();
    // In a batch entries stand as they came.
    assert_eq!(batch.entries, entries);
    let keys = LogKeys::of_genesis(world.state.genesis()).unwrap();
    let sound = verify_log(export(&world).path(), &keys, None).unwrap();
    let report = sound.report;
    assert_eq!((report.entries, report.state), (world.state.log_size(), world.state.hash()));
    let [rejected] = report.rejected.as_slice() else { panic!("{:?}", report.rejected) };
    assert_eq!((rejected.entry, rejected.id), (report.entries - 1, entries[1].id()));
}

/// The file of the first or last bundle or tile.
fn file(dir: &Path, place: &str) -> PathBuf {
    let mut path = dir.join(place);
    while path.is_dir() {
        let files = fs::read_dir(&path).unwrap();
        path = files.map(|f| f.unwrap().path()).min().unwrap();
    }
    path
}

/// Writes other entries into a bundle, and touches nothing else.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut bundle = fs::read(path).unwrap();
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let length = usize::from(u16::from_be_bytes([bundle[0], bundle[1]]));
        entries.push(bundle[2..2 + length].to_vec());
        bundle.drain(..2 + length);
    }
    change(&mut entries);
    for entry in entries {
        bundle.extend(u16::try_from(entry.len()).unwrap().to_be_bytes());
        bundle.extend(entry);
    }
    fs::write(path, bundle).unwrap();
}

#[test]
fn a_sound_log_verifies_and_every_payment_has_its_reasons() {
    let world = world();
    let verified = verify(&export(&world)).unwrap();
    let report = &verified.report;
    assert_eq!(verified.state.hash(), world.state.hash());
    assert_eq!((report.entries, report.batches), (world.state.log_size(), world.log.len() as u64));
    assert_eq!(report.signers.keys().collect::<Vec<_>>(), QUORUM);
    let requests = report.statements["request"];
    assert_eq!((requests.applied, requests.rejected), (1, 0));
    let approvals = report.statements["approve"];
    assert_eq!(approvals.rejected, 1);
    let [rejected] = report.rejected.as_slice() else { panic!("{:?}", report.rejected) };
    assert_eq!((rejected.rule.as_str(), rejected.kind.as_str()), ("P3.standing", "approve"));
    assert_eq!(rejected.entry, report.entries - 1);

    let [payment] = report.authorisations.as_slice() else { panic!() };
    assert_eq!((payment.fee, payment.wallet.as_str()), (Sats(1_000), "main"));
    assert_eq!(payment.anchors.len(), 1);
    let [reason] = payment.reasons.as_slice() else { panic!() };
    assert_eq!(reason.asked_by, "carol");
    let approvers: Vec<_> = reason.approvers.iter().map(|a| a.as_str()).collect();
    assert_eq!(approvers, ["alice", "bob"]);
    let [(rule, needs)] = reason.rules.as_slice() else { panic!() };
    assert_eq!((rule.as_str(), needs.as_str()), ("payments", "2 of approvers"));
    let [output] = reason.outputs.as_slice() else { panic!() };
    assert_eq!(output.address, fixtures::regtest::address("acme"));
    assert_eq!((output.destination.as_str(), output.amount), ("acme", Sats(1_250_000)));

    let text = report.to_string();
    for words in ["because alice, bob approved it", "1250000 sat to acme", "rule    payments: 2 of approvers"]
    {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    assert!(serde_json::to_value(report).unwrap()["authorisations"][0]["reasons"].is_array());
}

/// The reasons are those of the moment, even if what comes later in the same batch takes them away.
#[test]
fn reasons_are_as_they_were_then() {
    let mut world = World::ready();
    let coin = world.coin(10_000_000);
    let ask = world.request(&[("acme", 1_250_000)]);
    let request = world.asked_as("carol", ask, &["alice", "bob"]);
    let draft = world.draft(&[request], &[coin], 1_000);
    let body = Body::Authorise(world.authorise(&[request], &draft));
    let mut rule = fixtures::rule();
    rule.require.amount_max = Sats(90_000_000);
    let policy = Document::Policy(fixtures::policy(&[rule], 0));
    let proposal = world.propose("bob", policy).unwrap();
    world.approve("bob", proposal).unwrap();
    // The last approval of another policy stands right behind the payment, and voids its approvals.
    let decides = world.state.policy().unwrap().1;
    let approve = custody::statement::Approve { target: proposal, decides };
    let batch = [world.sign("server", body), world.sign("alice", Body::Approve(approve))];
    world.apply(world.time, &batch);
    assert_ne!(world.state.policy().unwrap().1, decides);
    let report = verify(&export(&world)).unwrap().report;
    assert_eq!(report.authorisations[0].policy, decides);
    assert_eq!(report.authorisations[0].reasons[0].approvers.len(), 2);
}

#[test]
fn a_changed_inserted_or_deleted_entry_is_named() {
    let world = world();
    let mut long = world.clone();
    for _ in 0..300 {
        long.tick(1);
    }
    for (world, bundle, base) in [
        (&world, "tile/entries/000.p", 0),
        (&long, "tile/entries/000", 0),
        (&long, "tile/entries/001.p", 256),
    ] {
        for (deed, place) in [
            (Deed::Changed, 0),
            (Deed::Changed, 11),
            (Deed::Inserted, 0),
            (Deed::Inserted, 7),
            (Deed::Deleted, 0),
            (Deed::Deleted, 9),
        ] {
            let dir = export(world);
            rewrite(&file(dir.path(), bundle), |entries| match deed {
                Deed::Changed => entries[place][20] ^= 1,
                Deed::Inserted => entries.insert(place, b"{}".to_vec()),
                Deed::Deleted => drop(entries.remove(place)),
            });
            let Err(VerifyError::Entry(found)) = verify(&dir) else {
                panic!("{deed:?} at {place} of {bundle}: {:?}", verify(&dir).err());
            };
            assert_eq!((found.deed, found.entry), (deed, base + place as u64), "{bundle}");
        }
    }
}

#[test]
fn a_changed_tile_is_named() {
    let mut world = world();
    for _ in 0..300 {
        world.tick(1);
    }
    for place in ["tile/0/000", "tile/0/001.p", "tile/1/000.p"] {
        let dir = export(&world);
        let path = file(dir.path(), place);
        let mut bytes = fs::read(&path).unwrap();
        bytes[5] ^= 1;
        fs::write(&path, bytes).unwrap();
        let expected = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        match verify(&dir) {
            Err(VerifyError::Export(ExportError::Disagrees(found))) => assert_eq!(found, expected),
            other => panic!("{place}: {other:?}"),
        }
    }
}

/// Whoever changes the log consistently, tiles and checkpoint too, lacks the co-signers' keys.
#[test]
fn a_rewritten_log_has_no_quorum() {
    let world = world();
    let mut entries = entries(&world);
    entries.remove(5);
    let forged = checkpoint(&entries, &world.state.hash());
    let few = written(&entries, &sign(&forged, &["s1", "s2"]), &genesis());
    assert!(matches!(verify(&few), Err(VerifyError::Head(HeadError::NoQuorum { found: 2, quorum: 3 }))));
    // The lines of the true head do not fit another body.
    let mut note = SignedNote::parse(&sign(&world.state.checkpoint(), QUORUM)).unwrap();
    note.body = forged.encode().unwrap();
    let moved = written(&entries, &note.to_string(), &genesis());
    assert!(matches!(verify(&moved), Err(VerifyError::Head(HeadError::BadCosignature(_)))));
}

#[test]
fn truncation_and_fork_show_against_an_older_checkpoint() {
    let world = world();
    let older = sign(&world.state.checkpoint(), &["s2", "s3", "w1"]);
    let mut later = world.clone();
    later.tick(60);
    let against = |dir: &TempDir| verify_log(dir.path(), &keys(), Some(&older));

    let dir = export(&later);
    assert_eq!(against(&dir).unwrap().report.consistent_with, Some(world.state.log_size()));
    assert_eq!(against(&export(&world)).unwrap().report.consistent_with, Some(world.state.log_size()));

    // Truncated: an older head, truly final once. Alone it cannot be told.
    let mut earlier = World::new(genesis());
    for (batch, _) in &world.log[..world.log.len() - 2] {
        earlier.try_batch(batch).unwrap();
    }
    let dir = export(&earlier);
    assert!(verify(&dir).is_ok());
    match against(&dir) {
        Err(VerifyError::Truncated { older, found }) => {
            assert_eq!((older, found), (world.state.log_size(), earlier.state.log_size()));
        }
        other => panic!("{other:?}"),
    }

    // Fork: another history under a quorum, longer than the older checkpoint.
    while earlier.state.log_size() < world.state.log_size() + 2 {
        earlier.tick(1);
    }
    let dir = export(&earlier);
    assert!(verify(&dir).is_ok());
    match against(&dir) {
        Err(VerifyError::Fork { size, .. }) => assert_eq!(size, world.state.log_size()),
        other => panic!("{other:?}"),
    }

    // Signed over the same entries, but within a batch, or with another state.
    let all = entries(&world);
    let dir = export(&later);
    let within = sign(&checkpoint(&all[..all.len() - 1], &world.state.hash()), QUORUM);
    let size = world.state.log_size() - 1;
    let refused = verify_log(dir.path(), &keys(), Some(&within));
    assert!(matches!(refused, Err(VerifyError::ForkedBatch(found)) if found == size));
    let state = sign(&checkpoint(&all, &Hash([7; 32])), QUORUM);
    let refused = verify_log(dir.path(), &keys(), Some(&state));
    assert!(matches!(refused, Err(VerifyError::ForkedState(found)) if found == size + 1));

    // What nobody signed proves nothing.
    let unsigned = sign(&world.state.checkpoint(), &["s2"]);
    let refused = verify_log(dir.path(), &keys(), Some(&unsigned));
    assert!(matches!(refused, Err(VerifyError::Against(_))));
}

/// Even a quorum of hostile co-signers cannot make a log that breaks the rules verify.
#[test]
fn the_rules_are_replayed() {
    let world = world();
    let all = entries(&world);
    // A payment without one of its approvals.
    let approvals = |entry: &Vec<u8>| {
        let batches = Batch::from_leaves([world.log[0].0.tick.leaf().as_slice(), entry]).ok()?;
        let statement = batches[0].entries.first()?.unverified().ok()?;
        matches!(statement.body, Body::Approve(_)).then_some(())
    };
    let last = all[..all.len() - 2].iter().rposition(|e| approvals(e).is_some()).unwrap();
    let mut without = all.clone();
    without.remove(last);
    let note = sign(&checkpoint(&without, &world.state.hash()), QUORUM);
    match verify(&written(&without, &note, &genesis())) {
        Err(VerifyError::Batch { refusal, .. }) => assert_eq!(refusal.rule, Rule::Batch),
        other => panic!("{other:?}"),
    }
    // Something that is no statement at all, and a log that does not begin with a Tick.
    for change in
        [&mut |e: &mut Vec<Vec<u8>>| e[3] = b"hello".to_vec(), &mut |e: &mut Vec<Vec<u8>>| drop(e.remove(0))]
            as [&mut dyn FnMut(&mut Vec<Vec<u8>>); 2]
    {
        let mut other = all.clone();
        change(&mut other);
        let note = sign(&checkpoint(&other, &world.state.hash()), QUORUM);
        assert!(matches!(verify(&written(&other, &note, &genesis())), Err(VerifyError::Form(_))));
    }
    // Another state than the replay's.
    let note = sign(&checkpoint(&all, &Hash([7; 32])), QUORUM);
    assert!(matches!(verify(&written(&all, &note, &genesis())), Err(VerifyError::State { .. })));
}

#[test]
fn genesis_is_bound_to_the_origin_and_the_keys() {
    let world = world();
    let dir = export(&world);
    let mut other = genesis();
    other.nonce = Hash([7; 32]);
    fs::write(dir.path().join("genesis.json"), other.bytes()).unwrap();
    assert!(matches!(verify(&dir), Err(VerifyError::Genesis(why)) if why.contains("its hash")));
    fs::write(dir.path().join("genesis.json"), b"{}").unwrap();
    assert!(matches!(verify(&dir), Err(VerifyError::Genesis(_))));

    // A keys file that asks for less than genesis does.
    let weak = LogKeys { quorum: 2, ..keys() };
    let refused = verify_log(export(&world).path(), &weak, None);
    assert!(matches!(refused, Err(VerifyError::Genesis(why)) if why.contains("keys file")));
    // Another log's keys.
    let origin = LogKeys { origin: other.log_origin(), ..keys() };
    let refused = verify_log(export(&world).path(), &origin, None);
    assert!(matches!(refused, Err(VerifyError::Head(HeadError::Origin { .. }))));
}

#[test]
fn keys_files_are_read_strictly() {
    let text = keys().to_text();
    assert_eq!(LogKeys::parse(&text).unwrap(), keys());
    assert!(text.starts_with("origin keyward/") && text.ends_with("quorum 3\n"));
    assert_eq!(text.lines().count(), 6);
    let line = text.lines().nth(1).unwrap().to_owned();
    for bad in [
        text.replace("origin ", ""),
        text.replace("quorum 3\n", ""),
        text.replace("quorum 3", "quorum 0"),
        text.replace("quorum 3", "quorum 5"),
        text.replace("quorum 3", "quorum three"),
        format!("{text}quorum 3\n"),
        format!("{text}{line}\n"),
        format!("{text}\n"),
        text.replace("s1+", "s9+"),
        String::new(),
    ] {
        assert!(matches!(LogKeys::parse(&bad), Err(VerifyError::Keys(_))), "{bad}");
    }
}

#[test]
fn a_freeze_is_counted() {
    let mut world = world();
    world.say("alarm", Body::Freeze(Freeze { scope: Scope::Everything })).unwrap();
    let verified = verify(&export(&world)).unwrap();
    assert_eq!(verified.report.statements["freeze"].applied, 1);
    assert_eq!(verified.state.freezes().len(), 1);
}
