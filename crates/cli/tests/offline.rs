//! Transcripts of the commands that need nobody else, by the built program.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::{Host, PASSPHRASE};
use custody::checkpoint::{SignedNote, cosign};
use custody::effects::{Branch, Decoder as _};
use custody::genesis::Genesis;
use custody::payment::Allocate;
use custody::statement::Body;
use evidence::LogKeys;
use evidence::tiles::write_export;
use fixtures::{World, card, genesis, key, name};
use keys::device::DeviceKey;
use serde_json::Value;

const SPEC: &str = r#"
network = "regtest"
placement = "shared-host"
faulty = 1
threshold = 2
created_at = 1767225600

[groups]
admins = ["alice", "bob"]

[[rules]]
id = "payments"
approvals = [["2 of admins"]]
amount_max = "1 btc"
fee_max = "50000 sat"
fee_max_ppm = 20000

[governance.default]
approvals = [["2 of admins"]]
delay = "0s"
"#;

const NEW: &str = "genesis new --spec spec.toml --cosigner s1.json --cosigner s2.json --cosigner s3.json \
    --cosigner w1.json --person alice.key.pub.json --person bob.key.pub.json \
    --machine server.key.pub.json --out genesis.json";

/// A genesis of two people, a machine and four co-signers.
fn deployment() -> Host {
    let host = Host::new();
    fs::write(host.path("spec.toml"), SPEC).unwrap();
    for (name, holds) in [("s1", true), ("s2", true), ("s3", true), ("w1", false)] {
        let card = serde_json::to_vec(&card(name, holds, 1)).unwrap();
        fs::write(host.path(&format!("{name}.json")), card).unwrap();
    }
    for who in ["alice", "bob"] {
        host.ok(&format!("person new --id {who} --name {who}_Example --out {who}.key"));
    }
    host.ok("machine new --id server --grant authorise --grant allocate --out server.key");
    host.ok(NEW);
    host
}

fn parse(path: &Path) -> Genesis {
    Genesis::parse(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_genesis_is_made_shown_and_pinned() {
    let host = deployment();
    let made = parse(&host.path("genesis.json"));
    let hash = made.hash().to_string();
    let shown = host.ok("genesis show genesis.json");
    for words in [
        format!("hash        {hash}\n"),
        format!("read out    {}\n", approver::chunks(&hash)),
        "committee   4 co-signers, 3 votes decide; 2 of 3 shares sign; survives 1".into(),
        "rule        payments: 2 of admins; at most 100000000 sat each".into(),
    ] {
        assert!(shown.contains(&words), "{words} in\n{shown}");
    }
    let json: Value = serde_json::from_str(&host.ok("genesis show genesis.json --output json")).unwrap();
    assert_eq!(json["hash"], hash);
    assert_eq!(json["genesis"]["people"][0]["id"], "alice");
    // A name is a commitment in genesis, and the words are beside it.
    assert!(!fs::read_to_string(host.path("genesis.json")).unwrap().contains("Example"));
    assert!(fs::read_to_string(host.path("genesis.labels.json")).unwrap().contains("alice Example"));

    let wrong = host.fails(&format!("genesis pin genesis.json --hash {}", "0".repeat(64)), 5);
    assert!(wrong.contains(&hash));
    host.fails("status --offline", 2);
    let grouped = approver::chunks(&hash).replace(' ', "_");
    host.ok(&format!("genesis pin genesis.json --hash {grouped} --labels genesis.labels.json"));
    // One home, one deployment.
    host.ok(&NEW.replace("--out genesis.json", "--out other.json"));
    let other = parse(&host.path("other.json")).hash();
    assert_ne!(other.to_string(), hash);
    host.fails(&format!("genesis pin other.json --hash {other}"), 5);

    let status = host.ok("status --offline");
    for words in [
        format!("deployment  {hash}\n"),
        "co-signed   genesis alone\n".into(),
        // Two of two people: nobody is to spare, and who asks cannot approve.
        "! spare     no spare person: 2 of admins, for policy, person,".into(),
        "! spare     nobody can fill it any more: 2 of admins, for payments under payments, destination\n"
            .into(),
    ] {
        assert!(status.contains(&words), "{words} in\n{status}");
    }
    let keys = host.ok("log keys");
    assert_eq!(LogKeys::parse(&keys).unwrap(), LogKeys::of_genesis(&made).unwrap());
    assert_eq!(host.ok("requests --offline"), "no requests\n");
    // A key without a server, and a server that is not there.
    host.fails("status --device alice.key", 2);
    host.fails("status --device alice.key --server 127.0.0.1:9", 4);
}

#[test]
fn a_genesis_that_is_not_sound_is_refused() {
    let host = deployment();
    let err = host.fails(&NEW.replace("--cosigner w1.json", ""), 3);
    assert!(err.contains("P30.committee"), "{err}");
    host.fails(&NEW.replace("bob.key.pub.json", "alice.key.pub.json"), 3);
    let spec = |text: &str| fs::write(host.path("spec.toml"), text).unwrap();
    spec(&SPEC.replace("2 of admins", "1 of admins"));
    assert!(host.fails(NEW, 3).contains("floor.adoption"));
    spec(&SPEC.replace("faulty", "faultless"));
    host.fails(NEW, 2);
    // Somebody's public file with another name in it.
    spec(SPEC);
    let public = host.path("bob.key.pub.json");
    let changed = fs::read_to_string(&public).unwrap().replace("bob Example", "Bob Example");
    fs::write(public, changed).unwrap();
    assert!(host.fails(NEW, 2).contains("bob"));
}

#[test]
fn device_keys_are_under_a_passphrase_and_never_overwritten() {
    let host = Host::new();
    let made = host.ok("person new --id alice --name A --out k --output json");
    let made: Value = serde_json::from_str(&made).unwrap();
    let file = fs::read(host.path("k")).unwrap();
    let opened = DeviceKey::from_file(&file, PASSPHRASE).unwrap();
    assert_eq!(made["sign"], opened.public().sign.to_string());
    let mode = fs::metadata(host.path("k")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    host.fails("person new --id alice --name A --out k", 2);
    assert_eq!(fs::read(host.path("k")).unwrap(), file);
    // Without a descriptor there is nowhere to ask: standard input is no terminal.
    host.fails("person new --id bob --name B --out b --no-descriptor", 2);
    assert!(!host.path("b").exists());
}

#[test]
fn arguments_are_read_strictly() {
    let host = Host::new();
    for bad in [
        "",
        "no-such-command",
        "person new --id Alice --name A --out k",
        "pay --wallet main --to acme=1 --fee-max 1sat",
        "pay --wallet main --to acme=0.000000001btc --fee-max 1sat",
        "pay --wallet main --to acme=1sat",
        "pay --wallet main --fee-max 1sat",
        "destination add --id a --address x --of nobody --label L",
        "address verify x --wallet w --client c --index 1 --export d",
        "genesis pin g --hash 12",
    ] {
        assert_eq!(host.run(bad).status.code(), Some(2), "{bad}");
    }
    host.fails("log verify nowhere --keys nowhere", 1);
    for shell in ["bash", "zsh", "fish"] {
        assert!(host.ok(&format!("completions {shell}")).contains("keyward"), "{shell}");
    }
}

fn export(host: &Host, world: &World) {
    let body = world.state.checkpoint().encode().unwrap();
    let sign = |w: &str| cosign(&body, w, &key(&format!("{w}/cosign")), fixtures::START);
    let note = SignedNote { lines: ["s1", "s2", "w1"].map(sign).to_vec(), body };
    let entries: Vec<_> = world.log.iter().flat_map(|(batch, _)| batch.leaves()).collect();
    write_export(&host.path("log"), &entries, &note.to_string(), &genesis().bytes()).unwrap();
    fs::write(host.path("keys"), LogKeys::of_genesis(&genesis()).unwrap().to_text()).unwrap();
}

#[test]
fn a_log_is_verified_with_public_keys_alone() {
    let host = Host::new();
    let mut world = World::ready();
    export(&host, &world);
    fs::copy(host.path("log/checkpoint"), host.path("older")).unwrap();
    fs::rename(host.path("log"), host.path("small")).unwrap();
    let coin = world.coin(10_000_000);
    let ask = world.request(&[("acme", 1_250_000)]);
    let request = world.asked_as("carol", ask, &["alice", "bob"]);
    let draft = world.draft(&[request], &[coin], 1_000);
    world.pay(&[request], &draft).unwrap();
    let (wallet, client, branch) = (name("main"), name("cat"), Branch::Receive);
    let allocate = Allocate { wallet, client, branch, count: 2 };
    world.say("server", Body::Allocate(allocate)).unwrap();
    export(&host, &world);

    let said = host.ok("log verify log --keys keys --against older");
    for words in ["because alice, bob approved it", "goes on     from the older checkpoint", "\nverified\n"] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    let json: Value = serde_json::from_str(&host.ok("log verify log --keys keys --output json")).unwrap();
    assert_eq!(json["authorisations"][0]["reasons"][0]["outputs"][0]["amount"], "1250000");

    let said = host.fails("log verify small --keys keys --against log/checkpoint", 5);
    assert!(said.contains("truncated: the older checkpoint has"), "{said}");
    let keys = fs::read_to_string(host.path("keys")).unwrap();
    fs::write(host.path("odd-keys"), keys.replace("quorum 3", "quorum 9")).unwrap();
    host.fails("log verify log --keys odd-keys", 2);

    // An address, from the export alone.
    let account = fixtures::Account::new(0).key();
    let script = world.decoder.own_script(&account, Branch::Receive, 1).unwrap();
    let address = world.decoder.address(&script).unwrap();
    let verify = |address: &str, client: &str, index: u32| {
        let of = format!("--wallet main --client {client} --index {index}");
        format!("address verify {address} {of} --export log --keys keys")
    };
    assert!(host.ok(&verify(&address, "cat", 1)).starts_with("verified"));
    assert!(host.fails(&verify(&address, "dog", 1), 5).contains("belongs to cat"));
    host.fails(&verify(&address, "cat", 0), 5);
    host.fails(&verify(&address, "cat", 2), 5);
    host.fails(&verify(&fixtures::regtest::address("thief"), "cat", 1), 5);

    let bundle = fs::read_dir(host.path("log/tile/entries/000.p")).unwrap().next().unwrap().unwrap();
    let mut bytes = fs::read(bundle.path()).unwrap();
    bytes[100] ^= 1;
    fs::write(bundle.path(), bytes).unwrap();
    let said = host.fails("log verify log --keys keys", 5);
    assert!(said.contains("changed: entry 0 in tile/entries/000.p/"), "{said}");
}
