//! Recovery without Keyward: the blocks of `docs/runbooks/recover-without-keyward.md`, run as they stand, by a
//! shell, third-party Python and a node. Keyward only makes the components and says what the addresses are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ceremony::slip39::{self, ITERATION_EXPONENT, Scheme};
use chain::BitcoinDecoder;
use custody::effects::{Branch, Decoder as _};
use custody::genesis::REGTEST;
use keys::locked::LockedBytes;
use keys::seed::{SEED_BYTES, Seed};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use serde_json::Value;
use sim::regtest::{self, Node};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runbooks/recover-without-keyward.md");

/// Coin type of test networks (SLIP-44).
const COIN_TYPE: u32 = 1;

/// What the runbook says to fill in, here. The last index is one that coins lie on.
const LAST_ACCOUNT: u32 = 3;
const LAST_INDEX: u32 = 40;
const RATE: u64 = 5;
const HIGHEST_FEE: u64 = 100_000;

/// Of 50 bitcoin, in satoshi.
const REWARD: u64 = 5_000_000_000;

/// A secret of Keyward's making: its words, and what Keyward derives from it.
struct Tier {
    master: [u8; SEED_BYTES],
    /// In the order of groups and members: two of three, then three of five; both groups are needed.
    components: Vec<String>,
    seed: Seed,
}

impl Tier {
    fn new(number: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(number);
        let mut master = [0; SEED_BYTES];
        rng.fill_bytes(&mut master);
        let locked = || LockedBytes::take(&mut master.clone()).unwrap();
        let scheme = Scheme { group_threshold: 2, groups: vec![(2, 3), (3, 5)] };
        let components = slip39::split(&locked(), &scheme, ITERATION_EXPONENT, &mut rng).unwrap();
        Self {
            master,
            components: components.iter().map(text).collect(),
            seed: Seed::restored(locked()).unwrap(),
        }
    }

    fn address(&self, account: u32, branch: Branch, index: u32) -> String {
        let decoder = BitcoinDecoder::new(REGTEST).unwrap();
        let key = self.seed.account(COIN_TYPE, account).unwrap().public();
        decoder.address(&decoder.own_script(&key, branch, index).unwrap()).unwrap()
    }

    /// A set that is just enough, in no order, as it is typed: two lines a component.
    fn enough(&self) -> String {
        typed([6, 0, 3, 2, 7].map(|number| &*self.components[number]))
    }
}

/// The words of a component, for the sheet.
fn text(words: &slip39::Mnemonic) -> String {
    String::from_utf8(words.words().unwrap().expose().to_vec()).unwrap()
}

/// As people type: some words on one line, the rest on the next.
fn typed<'a>(components: impl IntoIterator<Item = &'a str>) -> String {
    let lines = components.into_iter().map(|words| {
        let (place, _) = words.match_indices(' ').nth(15).unwrap();
        format!("{}\n{}\n", &words[..place], &words[place + 1..])
    });
    lines.collect()
}

/// The code block of the page that is called so.
fn block(page: &str, name: &str) -> String {
    let heading = format!("```sh {name}");
    let mut lines = page.lines().skip_while(|line| *line != heading).skip(1).peekable();
    assert!(lines.peek().is_some(), "the page has no block {name}");
    lines.take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect()
}

/// The block `settings` with the values of `wanted`, which must be those that it asks for.
fn settings(page: &str, wanted: &BTreeMap<&str, String>) -> String {
    let block = block(page, "settings");
    let words = block.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    let names = words.filter_map(|word| Some(word.split_once('=')?.0));
    assert!(names.eq(["NETWORK", "FIRST", "LAST", "INDEX", "DESTINATION", "RATE", "HIGHEST_FEE"]));
    assert_eq!(wanted.len(), 7);
    wanted.iter().map(|(name, value)| format!("export {name}={value}\n")).collect()
}

/// One of the two computers of the runbook: a directory, and a shell in it.
struct Machine {
    directory: PathBuf,
    page: String,
    settings: String,
    path: OsString,
    offline: bool,
}

impl Machine {
    /// With the page, and nothing else but what `path` leads to.
    fn new(directory: PathBuf, offline: bool, settings: &BTreeMap<&str, String>, path: OsString) -> Self {
        fs::create_dir_all(&directory).unwrap();
        let page = fs::read_to_string(PAGE).unwrap();
        fs::write(directory.join("recover-without-keyward.md"), &page).unwrap();
        let settings = self::settings(&page, settings);
        let machine = Self { directory, page, settings, path, offline };
        succeeded(&machine.run(&["files"], ""));
        machine
    }

    /// The offline machine, with the two packages beside the page.
    fn offline(directory: PathBuf, settings: &BTreeMap<&str, String>) -> Self {
        let machine = Self::new(directory, true, settings, std::env::var_os("PATH").unwrap());
        let packages = python().ancestors().nth(3).unwrap().join("packages");
        for package in ["embit-0.8.0.tar.gz", "shamir_mnemonic-0.3.0-py3-none-any.whl"] {
            fs::copy(packages.join(package), machine.directory.join(package)).unwrap();
        }
        machine
    }

    /// The online machine, with `bitcoin-cli` for `node`.
    fn online(directory: PathBuf, settings: &BTreeMap<&str, String>, node: &Node) -> Self {
        let program = regtest::program().unwrap().with_file_name("bitcoin-cli");
        assert!(program.is_file(), "{} is missing: it belongs beside bitcoind", program.display());
        let tools = directory.join("tools");
        fs::create_dir_all(&tools).unwrap();
        let (data, port) = (node.directory().display(), node.rpc().address().port());
        let call = format!(
            "#!/bin/sh\nexec '{}' -regtest -datadir='{data}' -rpcport={port} \"$@\"\n",
            program.display()
        );
        fs::write(tools.join("bitcoin-cli"), call).unwrap();
        fs::set_permissions(tools.join("bitcoin-cli"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path))).unwrap();
        Self::new(directory, false, settings, path)
    }

    /// A shell that is given the settings and the blocks of these names, with `input` on its standard input.
    fn run(&self, blocks: &[&str], input: &str) -> Output {
        let blocks: String = blocks.iter().map(|name| block(&self.page, name)).collect();
        self.shell(&blocks, input)
    }

    /// As [`Machine::run`], with these commands.
    fn shell(&self, commands: &str, input: &str) -> Output {
        let mut script = "set -euo pipefail\n".to_owned();
        if self.offline {
            // In the kernel's words: of all interfaces there is only the loopback, and it is down.
            script += "test \"$(tail -n +3 /proc/net/dev | tr -d ' ' | cut -d : -f 1)\" = lo\n";
            script += "if (exec 3<>/dev/tcp/127.0.0.1/9) 2>no-network; then exit 9; fi\n";
            script += "grep -q unreachable no-network\n";
        }
        script += &self.settings;
        script += commands;

        let mut command = Command::new(if self.offline { "unshare" } else { "bash" });
        if self.offline {
            command.args(["--map-root-user", "--net", "bash"]);
        }
        let mut shell = command
            .arg("-c")
            .arg(script)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", std::env::var_os("HOME").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8")
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have said no and ended before it read everything.
        let _ = shell.stdin.take().unwrap().write_all(input.as_bytes());
        shell.wait_with_output().unwrap()
    }

    /// Takes a file over from the other machine, on a medium.
    fn carry(&self, file: &str, to: &Self) {
        fs::copy(self.directory.join(file), to.directory.join(file)).unwrap();
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.directory.join(file)).unwrap()).unwrap()
    }
}

/// The `python3` with the pinned packages.
fn python() -> PathBuf {
    let python = std::env::var_os("KEYWARD_PYTHON");
    python.expect("KEYWARD_PYTHON is not set: run ./check, which fetches the packages").into()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

/// It ended with this message, of which the page tells what to do.
fn refused(machine: &Machine, output: &Output, message: &str) {
    assert!(!output.status.success());
    complained(machine, &said(output), message);
}

fn complained(machine: &Machine, said: &str, message: &str) {
    assert!(said.contains(message), "{message}: {said}");
    assert!(machine.page.lines().any(|line| line.starts_with("| `") && line.contains(message)), "{message}");
}

fn wanted(destination: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("NETWORK", "regtest".to_owned()),
        ("FIRST", "0".to_owned()),
        ("LAST", LAST_ACCOUNT.to_string()),
        ("INDEX", LAST_INDEX.to_string()),
        ("DESTINATION", destination.to_owned()),
        ("RATE", RATE.to_string()),
        ("HIGHEST_FEE", HIGHEST_FEE.to_string()),
    ])
}

/// No file under `directory` has the master secret, an extended private key, or six words of a component.
fn no_secret(directory: &Path, tier: &Tier) {
    let mut patterns = vec![tier.master.to_vec(), hex::encode(tier.master).into_bytes(), b"tprv".to_vec()];
    for words in &tier.components {
        let words: Vec<_> = words.split(' ').collect();
        patterns.push(words[20..26].join(" ").into_bytes());
    }
    let mut directories = vec![directory.to_owned()];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                directories.push(entry);
                continue;
            }
            let bytes = fs::read(&entry).unwrap();
            seen += 1;
            for pattern in &patterns {
                let found = bytes.windows(pattern.len()).any(|window| window == pattern);
                assert!(!found, "a secret lies in {}", entry.display());
            }
        }
    }
    assert!(seen > 5, "{seen} files");
}

/// From five of eight components to a confirmed transaction, with no program of ours.
#[test]
fn coins_are_recovered_by_this_page_alone() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path().join("node")).unwrap();
    let rpc = node.rpc();
    let (tier, other, next) = (Tier::new(1), Tier::new(2), Tier::new(3));

    // Coins of several accounts, on both chains, first and last places; then the rewards mature.
    let places = [
        (0, Branch::Receive, 0),
        (0, Branch::Change, 2),
        (1, Branch::Receive, 5),
        (LAST_ACCOUNT, Branch::Receive, LAST_INDEX),
        (LAST_ACCOUNT, Branch::Change, LAST_INDEX),
    ];
    for (account, branch, index) in places {
        node.mine(2, &tier.address(account, branch, index)).unwrap();
    }
    node.mine(100, &other.address(0, Branch::Receive, 0)).unwrap();
    let coins = 2 * places.len();

    let destination = next.address(0, Branch::Receive, 0);
    let settings = wanted(&destination);
    let offline = Machine::offline(directory.path().join("offline"), &settings);
    let online = Machine::online(directory.path().join("online"), &settings, &node);

    // Account keys: the same addresses as Keyward's, by this page and by the node that reads its descriptors.
    let heard = succeeded(&offline.run(&["install", "accounts"], &tier.enough()));
    let descriptors = offline.json("descriptors.json");
    let descriptors = descriptors.as_array().unwrap();
    assert_eq!(descriptors.len(), 2 * (LAST_ACCOUNT as usize + 1));
    for account in 0..=LAST_ACCOUNT {
        let first = tier.address(account, Branch::Receive, 0);
        assert!(heard.contains(&format!("account {account}: first address {first}")), "{heard}");
        for (branch, number) in [(Branch::Receive, 0), (Branch::Change, 1)] {
            let descriptor = descriptors[2 * account as usize + number]["desc"].as_str().unwrap();
            let expected: Vec<_> =
                (0..=LAST_INDEX).map(|index| tier.address(account, branch, index)).collect();
            assert_eq!(rpc.derive_addresses(descriptor, 0, LAST_INDEX).unwrap(), expected);
        }
    }

    // The coins, and the transaction.
    offline.carry("descriptors.json", &online);
    let heard = succeeded(&online.run(&["scan", "build"], ""));
    assert!(
        heard.contains(&format!("{coins} coins found, the highest index is {LAST_INDEX}; {coins} are spent"))
    );
    online.carry("sweep.psbt", &offline);
    succeeded(&offline.run(&["install", "sign"], &tier.enough()));
    offline.carry("sweep.hex", &online);
    succeeded(&online.run(&["ask"], ""));
    let verdict = online.json("verdict.json");
    assert_eq!(verdict[0]["allowed"], true);
    succeeded(&online.run(&["send"], ""));
    let waiting = rpc.raw_mempool().unwrap();
    let entry = rpc.mempool_entry(&waiting[0]).unwrap();
    assert!(entry.fee.0 >= RATE * entry.vsize_vb && entry.fee.0 <= RATE * (entry.vsize_vb + 50), "{entry:?}");
    node.mine(1, &other.address(0, Branch::Receive, 0)).unwrap();

    let there = rpc.scan_tx_out_set(&[format!("addr({destination})")], 0).unwrap();
    assert_eq!(there.total.0, coins as u64 * REWARD - entry.fee.0);
    succeeded(&online.run(&["scan"], ""));
    assert_eq!(online.json("coins.json")["unspents"], serde_json::json!([]));
    refused_to_build(&online);

    for machine in [&offline, &online] {
        no_secret(&machine.directory, &tier);
    }

    // What is not to be signed: other people's coins, another destination, too high a fee.
    fs::remove_file(offline.directory.join("sweep.hex")).unwrap();
    let output = offline.run(&["install", "sign"], &other.enough());
    refused(&offline, &output, "spends what these components do not hold");
    let sign = |name: &'static str, value: String| {
        let mut settings = settings.clone();
        settings.insert(name, value);
        let machine = Machine::offline(directory.path().join("offline"), &settings);
        machine.run(&["install", "sign"], &tier.enough())
    };
    let output = sign("DESTINATION", tier.address(0, Branch::Receive, 0));
    refused(&offline, &output, "pays to");
    let output = sign("HIGHEST_FEE", (entry.fee.0 - 1).to_string());
    refused(&offline, &output, "the fee of");
    succeeded(&sign("HIGHEST_FEE", entry.fee.0.to_string()));
}

/// Nothing is found any more: no transaction of nothing.
fn refused_to_build(online: &Machine) {
    let output = online.run(&["build"], "");
    assert!(!output.status.success());
    assert!(said(&output).contains("0 coins found"), "{}", said(&output));
}

/// Wrong words, mixed-up components, one twice, too few, a forged one: said, by the packages themselves where
/// they can, and what is right after that is taken.
#[test]
fn mistakes_are_told_and_mended() {
    let directory = tempfile::tempdir().unwrap();
    let (tier, other) = (Tier::new(4), Tier::new(5));
    let destination = tier.address(0, Branch::Receive, 0);
    let machine = Machine::offline(directory.path().join("offline"), &wanted(&destination));
    let accounts = |input: &str| machine.run(&["install", "accounts"], input);

    let right = succeeded(&accounts(&tier.enough()));
    let descriptors = machine.json("descriptors.json");
    let addresses = right.lines().filter(|line| line.starts_with("account")).count();
    assert_eq!(addresses, LAST_ACCOUNT as usize + 1);

    let component = &*tier.components[6];
    let (first, rest) = component.split_once(' ').unwrap();
    let swapped = {
        let mut words: Vec<_> = component.split(' ').collect();
        let different = (5..32).find(|place| words[*place] != words[place + 1]).unwrap();
        words.swap(different, different + 1);
        words.join(" ")
    };
    let mistakes = [
        // A word that is none: only its line is typed again.
        (format!("{first}\nkeyward {first}\n{rest}\n"), "no word of the list:"),
        (typed([&*swapped]), "Invalid mnemonic checksum for"),
        (typed([component, &*other.components[0]]), "This mnemonic is not part of the current set"),
        (typed([component, component]), "It was entered before."),
    ];
    for (mistake, message) in mistakes {
        // Then a whole set; a component of it that was taken already is not taken twice.
        let heard = succeeded(&accounts(&(mistake + &tier.enough())));
        complained(&machine, &heard, message);
        assert_eq!(machine.json("descriptors.json"), descriptors);
    }
    // A scanner reads the code of a sheet, in capitals on one line.
    let scanned: String =
        [6, 0, 3, 2, 7].map(|number| tier.components[number].to_uppercase() + "\n").concat();
    succeeded(&accounts(&scanned));
    assert_eq!(machine.json("descriptors.json"), descriptors);

    let output = accounts(&typed([6, 0, 3, 2].map(|number| &*tier.components[number])));
    refused(&machine, &output, "the words ended before the components were enough");
    let forged = forged(&tier.components[0]);
    let output =
        accounts(&typed([6, 3, 7, 2].map(|number| &*tier.components[number]).into_iter().chain([&*forged])));
    refused(&machine, &output, "these components do not fit together");
    no_secret(&machine.directory, &tier);
}

/// Components of the other medium, opened by the program `age`, through a pipe.
#[test]
fn electronic_components_open_without_keyward() {
    let directory = tempfile::tempdir().unwrap();
    let tier = Tier::new(6);
    let destination = tier.address(0, Branch::Receive, 0);
    let machine = Machine::offline(directory.path().join("offline"), &wanted(&destination));
    succeeded(&machine.run(&["install", "accounts"], &tier.enough()));
    let paper = machine.json("descriptors.json");

    // Each to its holder's own identity, and as Keyward writes it: canonical JSON, the words last, no end of line.
    let mut open = String::new();
    for number in [6, 0, 3, 2, 7] {
        let (key, file) = (format!("holder-{number}.key"), format!("component-{number}.age"));
        let encrypt = format!(
            "age-keygen -o {key} 2>/dev/null && age --recipient \"$(age-keygen -y {key})\" --output {file}\n"
        );
        let json = format!(r#"{{"label":{{"tier":"cold"}},"words":"{}"}}"#, tier.components[number]);
        succeeded(&machine.shell(&encrypt, &json));
        let block = block(&machine.page, "electronic");
        assert!(block.contains("HOLDER.key") && block.contains("COMPONENT.age"));
        open += &block.replace("HOLDER.key", &key).replace("COMPONENT.age", &file);
    }
    let commands =
        [&block(&machine.page, "install"), "{\n", &open, "} | ", &block(&machine.page, "accounts")];
    let heard = succeeded(&machine.shell(&commands.concat(), ""));
    assert!(heard.contains(&destination), "{heard}");
    assert_eq!(machine.json("descriptors.json"), paper);
    no_secret(&machine.directory, &tier);
}

/// The component with another value under the same header and a right checksum.
fn forged(words: &str) -> String {
    let program = "import sys, dataclasses\n\
                   from shamir_mnemonic.share import Share\n\
                   share = Share.from_mnemonic(sys.stdin.read())\n\
                   value = bytes([share.value[0] ^ 1]) + share.value[1:]\n\
                   print(dataclasses.replace(share, value=value).mnemonic())\n";
    let mut python = Command::new(python())
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

/// A coin that costs more than it holds stays behind, and so does what a transaction of a size that nodes relay has
/// no room for.
#[test]
fn the_largest_coins_that_pay_for_themselves_are_spent_first() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::offline(directory.path().join("offline"), &wanted("there"));
    let spent = |satoshi: &[u64]| {
        let coin = |(index, satoshi): (usize, &u64)| {
            let whole = satoshi / 100_000_000;
            let (txid, rest) = (hex::encode(index.to_be_bytes().repeat(4)), satoshi % 100_000_000);
            format!(
                r#"{{"txid": "{txid}", "vout": 1, "desc": "tr([0a/86h/1h/0h/0/{index}]0b)#c", "amount": {whole}.{rest:08}}}"#
            )
        };
        let coins: Vec<_> = satoshi.iter().enumerate().map(coin).collect();
        let coins = format!(r#"{{"unspents": [{}]}}"#, coins.join(","));
        fs::write(machine.directory.join("coins.json"), coins).unwrap();
        let output = Command::new("python3")
            .args(["sweep.py", "there", "2.5"])
            .current_dir(&machine.directory)
            .output()
            .unwrap();
        output.status.success().then(|| {
            let mut lines = output.stdout.split(|byte| *byte == b'\n');
            let mut json = || serde_json::from_slice::<Value>(lines.next().unwrap()).unwrap();
            (json().as_array().unwrap().len(), json()[0]["there"].as_str().unwrap().to_owned())
        })
    };
    // 58 vbytes of an input cost 145 satoshi, 57 of all else 142.5, rounded up once.
    assert_eq!(spent(&[145, 1_000, 146]), Some((2, "0.00000713".to_owned())));
    assert_eq!(spent(&[145, 146]), None, "less than the fee of all else");
    // 501 of them: the smallest stays.
    let mut many: Vec<_> = (0..501).map(|number| 1_000_000 + number).collect();
    many.reverse();
    let amount = many[..500].iter().sum::<u64>() - (58 * 500 + 57) * 5 / 2 - 1;
    let whole = format!("{}.{:08}", amount / 100_000_000, amount % 100_000_000);
    assert_eq!(spent(&many), Some((500, whole)));
}

/// What the setup installs and what the page names are the same files.
#[test]
fn a_changed_package_is_not_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::offline(directory.path().join("offline"), &wanted("x"));
    let package = machine.directory.join("embit-0.8.0.tar.gz");
    let mut bytes = fs::read(&package).unwrap();
    bytes.push(0);
    fs::write(&package, bytes).unwrap();
    let output = machine.run(&["install"], "");
    assert!(!output.status.success());
    assert!(!machine.directory.join("embit-0.8.0").exists());
}
