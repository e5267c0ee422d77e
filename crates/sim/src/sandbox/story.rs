//! The story, one step after the other.

mod deployed;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::customer::Customer;
use super::facts::{Facts, Payment};
use super::people::{Person, secret};
use super::programs::{Service, ask, program};
use super::thief::Thief;
use super::{Failure, Options, tell, text};
use crate::regtest::Node;

/// How long one step of the story may take.
const STEP_WITHIN: Duration = Duration::from_secs(60);

/// How often the story looks whether a step is done.
const POLL: Duration = Duration::from_millis(20);

/// Blocks on top of a deposit before it pays for anything: the depth of an anchor.
const DEEP: u32 = 6;

/// What the institution decided before it began.
const SPEC: &str = r#"network = "regtest"
placement = "shared-host"
faulty = 1
threshold = 2

[groups]
admins = ["alice", "bob", "carol"]
approvers = ["alice", "bob", "carol"]

[[rules]]
id = "payments"
approvals = [["2 of approvers"]]
amount_max = "10 btc"
fee_max = "100000 sat"
fee_max_ppm = 50000

[governance.default]
approvals = [["2 of admins"]]
delay = "0s"
"#;

/// A running deployment.
#[derive(Debug)]
pub struct Story {
    directory: PathBuf,
    node: Node,
    signers: Vec<(String, Service)>,
    server: Service,
    people: Vec<Person>,
    customer: Customer,
    facts: Facts,
    thief: Thief,
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// A field of what a program said.
fn field<'a>(said: &'a Value, name: &str) -> Result<&'a str, Failure> {
    said.get(name).and_then(Value::as_str).ok_or_else(|| format!("no {name} in {said}").into())
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Waits until `done` gives something.
fn wait<T>(what: &str, mut done: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let until = Instant::now() + STEP_WITHIN;
    loop {
        if let Some(found) = done()? {
            return Ok(found);
        }
        if Instant::now() > until {
            return Err(format!("{what} did not happen within {} s", STEP_WITHIN.as_secs()).into());
        }
        thread::sleep(POLL);
    }
}

impl Story {
    /// Runs the story; what is left is a deployment that goes on.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn run(options: &Options) -> Result<Self, Failure> {
        let begun = Instant::now();
        let mut story = Self::begin(&options.directory)?;
        let (ceremony, accounts) = story.hold_ceremony()?;
        story.open_wallet(&ceremony, accounts)?;
        let address = story.give_address()?;
        story.receive(&address)?;
        story.add_destination()?;
        story.pay()?;
        story.tamper()?;
        story.bump()?;
        story.cancel()?;
        story.freeze_and_resume()?;
        story.lose_a_signer()?;
        story.verify_log()?;
        story.facts.write(&options.directory)?;
        tell(
            "done",
            format!(
                "{:.1} s; facts in {}",
                begun.elapsed().as_secs_f32(),
                text(&options.directory.join("facts.json"))
            ),
        );
        Ok(story)
    }

    fn person(&self, id: &str) -> &Person {
        // The three people of the story are made in `begin`.
        self.people.iter().find(|p| p.id == id).unwrap_or(&self.people[0])
    }

    /// Genesis: keys are made where they stay, and everybody pins the same document.
    fn begin(directory: &Path) -> Result<Self, Failure> {
        let begun = Instant::now();
        let node = Node::start(directory.join("node"))?;
        let mut customer = Customer::new();
        customer.mine_coins(&node)?;
        tell("node", format!("Bitcoin Core on regtest, {} blocks, no wallet", node.rpc().block_count()?));

        let people = [("alice", "Alice Approver"), ("bob", "Bob Banker"), ("carol", "Carol Custodian")];
        let people = people
            .iter()
            .map(|(id, name)| Person::new(id, name, directory))
            .collect::<Result<Vec<_>, _>>()?;
        let signer = program("keyward-signer")?;
        let mut words = strings(&["genesis", "new", "--spec"]);
        let spec = directory.join("genesis-spec.toml");
        std::fs::write(&spec, SPEC)?;
        words.push(text(&spec));
        let mut secrets = Vec::new();
        for name in ["s1", "s2", "s3", "w1"] {
            let (dir, card) = (directory.join(name), directory.join(format!("{name}.card.json")));
            let unlock = secret();
            let (dir_text, card_text) = (text(&dir), text(&card));
            let mut init =
                vec!["init", "--dir", &dir_text, "--name", name, "--secret-fd", "0", "--card", &card_text];
            if name == "w1" {
                init.push("--witness");
            }
            ask(&signer, &init, Some(&unlock))?;
            words.extend(["--cosigner".into(), card_text]);
            secrets.push((name, dir, unlock));
        }
        for person in &people {
            words.extend(["--person".into(), text(&person.public_file())]);
        }
        let server = program("keyward-server")?;
        let (server_dir, machine) =
            (text(&directory.join("server")), text(&directory.join("server.machine.json")));
        ask(&server, &["init", "--dir", &server_dir, "--id", "server", "--out", &machine], None)?;
        let genesis = text(&directory.join("genesis.json"));
        words.extend(["--machine".into(), machine, "--out".into(), genesis.clone()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        people[0].run(&words)?;
        let shown = people[0].run(&["genesis", "show", &genesis])?;
        let hash = field(&shown, "hash")?.to_owned();

        let mut signers = Vec::new();
        for (name, dir, unlock) in secrets {
            let arguments = strings(&[
                "run",
                "--dir",
                &text(&dir),
                "--genesis",
                &genesis,
                "--genesis-hash",
                &hash,
                "--listen",
                "{listen}",
                "--secret-fd",
                "0",
                "--ready-file",
                "{ready}",
            ]);
            signers.push((
                name.to_owned(),
                Service::start(signer.clone(), arguments, Some(unlock), &directory.join(name))?,
            ));
        }
        let mut arguments =
            strings(&["run", "--dir", &server_dir, "--genesis", &genesis, "--genesis-hash", &hash]);
        for (name, service) in &signers {
            arguments.extend(["--cosigner".into(), format!("{name}={}", service.address())]);
        }
        let cookie = text(&node.directory().join("regtest/.cookie"));
        let node_address = node.rpc().address().to_string();
        arguments.extend(strings(&[
            "--node",
            &node_address,
            "--node-cookie",
            &cookie,
            "--listen",
            "{listen}",
            "--ready-file",
            "{ready}",
        ]));
        let service = Service::start(server, arguments, None, &directory.join("server"))?;
        let labels = text(&directory.join("genesis.json.labels.json"));
        for person in &people {
            let mut pin = vec!["genesis", "pin", &genesis, "--hash", &hash];
            if Path::new(&labels).exists() {
                pin.extend(["--labels", &labels]);
            }
            person.run(&pin)?;
            let address = service.address().to_string();
            let device = text(person.device());
            let mut profile = strings(&["profile", "--server", &address, "--device", &device]);
            for (name, signer) in &signers {
                profile.extend(["--cosigner".into(), format!("{name}={}", signer.address())]);
            }
            person.run(&profile.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        let thief = Thief::new(&directory.join("server"), Path::new(&genesis))?;
        tell(
            "genesis",
            format!(
                "{} pinned by 3 people, 3 signers, 1 witness and the server ({} ms)",
                short(&hash),
                begun.elapsed().as_millis()
            ),
        );
        let facts = Facts { node_datadir: text(node.directory()), ..Facts::default() };
        Ok(Self {
            directory: directory.to_owned(),
            node,
            signers,
            server: service,
            people,
            customer,
            facts,
            thief,
        })
    }

    /// The seed is made, split and erased offline; two people sign the record.
    fn hold_ceremony(&mut self) -> Result<(String, usize), Failure> {
        let begun = Instant::now();
        let (genesis, out) =
            (text(&self.directory.join("genesis.json")), text(&self.directory.join("ceremony")));
        let shown = self.people[0].run(&["genesis", "show", &genesis])?;
        let hash = field(&shown, "hash")?.to_owned();
        let devices = [text(self.person("alice").device()), text(self.person("bob").device())];
        let passphrases =
            format!("{}\n{}\n", self.person("alice").passphrase(), self.person("bob").passphrase());
        let arguments = [
            "generate",
            "--genesis",
            &genesis,
            "--genesis-hash",
            &hash,
            "--out",
            &out,
            "--participant",
            &devices[0],
            "--participant",
            &devices[1],
            "--passphrase-fd",
            "0",
        ];
        ask(&program("keyward-ceremony")?, &arguments, Some(&passphrases))?;
        let record_file = text(&self.directory.join("ceremony/record.json"));
        let record: Value = serde_json::from_slice(&std::fs::read(&record_file)?)?;
        let accounts = record.get("slots").and_then(Value::as_array).map_or(0, Vec::len);
        let shares: Value =
            serde_json::from_slice(&std::fs::read(self.directory.join("ceremony/shares.json"))?)?;
        let ceremony = field(&shares, "ceremony")?.to_owned();
        self.person("carol").run(&["ceremony", "submit", &record_file])?;
        self.approve_proposals(&["alice", "bob"])?;
        self.person("carol").run(&["ceremony", "shares", &record_file, "--shares", &out])?;
        tell(
            "ceremony",
            format!(
                "{accounts} accounts split 2 of 3, record {} approved, shares kept ({} ms)",
                short(&ceremony),
                begun.elapsed().as_millis()
            ),
        );
        Ok((ceremony, accounts))
    }

    /// Every pair of signers proves that it can sign, then the wallet is opened.
    fn open_wallet(&mut self, ceremony: &str, accounts: usize) -> Result<(), Failure> {
        let begun = Instant::now();
        let open = ["wallet", "open", "--id", "vault", "--ceremony", ceremony, "--slot", "0", "--model", "1"];
        let carol = self.person("carol");
        // Refused until the signers are done: their proofs stand in the log.
        wait("proof by every pair of signers", || Ok(carol.run(&open).ok()))?;
        self.approve_proposals(&["alice", "bob"])?;
        tell(
            "wallet",
            format!(
                "vault open; every pair of signers proved its shares of {accounts} accounts ({} ms)",
                begun.elapsed().as_millis()
            ),
        );
        Ok(())
    }

    /// Approves every open proposal.
    fn approve_proposals(&self, people: &[&str]) -> Result<(), Failure> {
        for person in people {
            let person = self.person(person);
            let open = person.run(&["proposals"])?;
            for proposal in open.as_array().into_iter().flatten() {
                person.run(&["approve", field(proposal, "id")?, "--yes"])?;
            }
        }
        Ok(())
    }

    fn give_address(&mut self) -> Result<String, Failure> {
        let given = self.person("alice").run(&["address", "new", "--wallet", "vault", "--client", "acme"])?;
        let given = given.as_array().and_then(|a| a.first()).cloned().unwrap_or(given);
        let address = field(&given, "address")?.to_owned();
        // Bob fetches the log; from then on he needs nobody to check an address.
        self.person("bob").run(&["status"])?;
        let verify = [
            "--offline",
            "address",
            "verify",
            &address,
            "--wallet",
            "vault",
            "--client",
            "acme",
            "--index",
            "0",
        ];
        self.person("bob").run(&verify)?;
        let descriptors = self.person("bob").run(&["descriptor", "vault"])?;
        self.facts.descriptors =
            vec![field(&descriptors, "receive")?.into(), field(&descriptors, "change")?.into()];
        tell("address", format!("{address} is acme's, checked by Bob without the server"));
        Ok(address)
    }

    fn receive(&mut self, address: &str) -> Result<(), Failure> {
        for sat in [100_000_000, 50_000_000] {
            let txid = self.customer.pay(&self.node, address, sat)?;
            self.facts.deposits.push(Payment { txid, address: address.into(), sat });
        }
        self.mine(DEEP)?;
        tell("deposit", format!("1.5 BTC arrived in two payments, {DEEP} blocks deep"));
        Ok(())
    }

    fn mine(&self, blocks: u32) -> Result<(), Failure> {
        self.node.mine(blocks, &self.customer.address().to_string())?;
        Ok(())
    }

    /// Who proposes a destination cannot approve it.
    fn add_destination(&mut self) -> Result<(), Failure> {
        let address = Customer::new().address().to_string();
        let add = [
            "destination",
            "add",
            "--id",
            "supplier",
            "--address",
            &address,
            "--of",
            "counterparty",
            "--label",
            "Supplier & Sons, Zürich",
        ];
        self.person("carol").run(&add)?;
        let open = self.person("carol").run(&["proposals"])?;
        let id = open.as_array().and_then(|a| a.first()).ok_or("no open proposal")?;
        let refused = self.person("carol").refused(&["approve", field(id, "id")?, "--yes"])?;
        let rule = rule_of(&refused);
        self.approve_proposals(&["alice", "bob"])?;
        tell(
            "destination",
            format!("supplier added by Carol (her own approval refused: {rule}), approved by Alice and Bob"),
        );
        Ok(())
    }

    /// Asks for a payment; gives the id of the request.
    fn ask_for(&self, amount: &str, fee_max: &str) -> Result<String, Failure> {
        let to = format!("supplier={amount}");
        let said = self.person("carol").run(&[
            "pay",
            "--wallet",
            "vault",
            "--to",
            &to,
            "--fee-max",
            fee_max,
            "--end",
            "2h",
            "--yes",
        ])?;
        Ok(field(&said, "id")?.to_owned())
    }

    fn approve(&self, person: &str, id: &str) -> Result<(), Failure> {
        self.person(person).run(&["approve", id, "--yes"]).map(|_| ())
    }

    /// The newest transaction of a request, with its state, as the server sees it.
    fn payment(&self, request: &str) -> Result<Option<(String, String)>, Failure> {
        let status = self.person("alice").run(&["status"])?;
        let payments =
            status.pointer("/server/payments").and_then(Value::as_array).cloned().unwrap_or_default();
        let of = |p: &&Value| {
            let requests = p.get("requests").and_then(Value::as_array);
            requests.is_some_and(|r| r.iter().any(|id| id.as_str() == Some(request)))
        };
        let alive = |p: &&Value| p.get("state").and_then(Value::as_str) != Some("replaced");
        let found = payments.iter().rfind(|p| of(p) && alive(p));
        found.map(|p| Ok((field(p, "txid")?.to_owned(), field(p, "state")?.to_owned()))).transpose()
    }

    fn broadcast(&self, request: &str) -> Result<String, Failure> {
        wait("the payment's broadcast", || {
            let found = self.payment(request)?;
            Ok(found
                .filter(|(_, state)| matches!(state.as_str(), "broadcast" | "confirmed"))
                .map(|(txid, _)| txid))
        })
    }

    /// One approval is not enough; with the second the money leaves.
    fn pay(&mut self) -> Result<(), Failure> {
        let id = self.ask_for("0.25btc", "20000sat")?;
        let own = rule_of(&self.person("carol").refused(&["approve", &id, "--yes"])?);
        self.approve("alice", &id)?;
        // A server that does not wait for the second approval gets nowhere: no batch takes its proposal.
        let rule = self.thief.too_early(&id, &self.node, &self.signers)?;
        tell(
            "payment",
            format!(
                "0.25 BTC asked by Carol (her own approval: {own}); with one approval the signers refuse: {rule}"
            ),
        );
        let begun = Instant::now();
        self.approve("bob", &id)?;
        let approved = begun.elapsed();
        wait("the transaction in the mempool", || Ok(self.node.rpc().raw_mempool()?.first().map(|_| ())))?;
        let (took, after) = (begun.elapsed().as_millis(), (begun.elapsed() - approved).as_millis());
        let txid = self.broadcast(&id)?;
        self.mine(1)?;
        self.paid(&txid, 25_000_000)?;
        tell(
            "payment",
            format!(
                "with two it left: {}, signed 2 of 3, in the mempool {took} ms after Bob began, {after} ms after he was done",
                short(&txid)
            ),
        );
        Ok(())
    }

    /// Notes a payment that the last block confirmed.
    fn paid(&mut self, txid: &str, sat: u64) -> Result<(), Failure> {
        let block = self.node.rpc().block_hash(self.node.rpc().block_count()?)?;
        // The node finds it in the block that was just mined, or refuses.
        self.node.rpc().raw_transaction(&txid.parse()?, Some(&block))?;
        let address = self.thief.address_of("supplier", &self.signers)?;
        self.facts.payouts.push(Payment { txid: txid.into(), address, sat });
        Ok(())
    }

    /// Whoever has the server's keys changes where the money goes, how much, and the fee.
    fn tamper(&mut self) -> Result<(), Failure> {
        let refusals = self.thief.tamper(&self.signers)?;
        for (what, rule) in refusals {
            tell("theft", format!("{what}, with the server's keys: refused by all signers ({rule})"));
        }
        Ok(())
    }

    /// A payment with a low fee is replaced by one that pays more, bound to the same anchor.
    fn bump(&mut self) -> Result<(), Failure> {
        let id = self.ask_for("0.1btc", "50000sat")?;
        self.approve("alice", &id)?;
        self.approve("bob", &id)?;
        let first = self.broadcast(&id)?;
        self.person("carol").run(&["bump", &id, "--rate", "40"])?;
        let second = wait("the replacement", || {
            let found = self.payment(&id)?;
            let new = |(txid, state): &(String, String)| *txid != first && state == "broadcast";
            Ok(found.filter(new).map(|(txid, _)| txid))
        })?;
        self.mine(1)?;
        self.paid(&second, 10_000_000)?;
        tell(
            "bump",
            format!(
                "stuck {} replaced by {}, same anchor, no new approval, confirmed",
                short(&first),
                short(&second)
            ),
        );
        Ok(())
    }

    /// A payment that is on its way is called back: the coins return to the own wallet, and the payment can
    /// never confirm any more.
    fn cancel(&mut self) -> Result<(), Failure> {
        self.mine(DEEP)?;
        let id = self.ask_for("0.03btc", "50000sat")?;
        self.approve("alice", &id)?;
        self.approve("bob", &id)?;
        let first = self.broadcast(&id)?;
        let said =
            self.person("carol").run(&["cancel", &id, "--fee-max", "50000sat", "--end", "2h", "--yes"])?;
        let cancel = field(&said, "id")?.to_owned();
        self.approve("alice", &cancel)?;
        self.approve("bob", &cancel)?;
        let second = self.broadcast(&cancel)?;
        self.mine(1)?;
        let block = self.node.rpc().block_hash(self.node.rpc().block_count()?)?;
        self.node.rpc().raw_transaction(&second.parse()?, Some(&block))?;
        if !self.node.rpc().raw_mempool()?.is_empty() {
            return Err(format!("{first} is still on its way").into());
        }
        tell(
            "cancel",
            format!(
                "{} called back by {}, approved anew, same anchor, confirmed",
                short(&first),
                short(&second)
            ),
        );
        Ok(())
    }

    fn freeze_and_resume(&mut self) -> Result<(), Failure> {
        // What came back as change is deep enough to be an anchor again.
        self.mine(DEEP)?;
        let id = self.ask_for("0.05btc", "20000sat")?;
        self.approve("alice", &id)?;
        let begun = Instant::now();
        let report = self.person("bob").run(&["freeze", "--yes"])?;
        let took = begun.elapsed().as_millis();
        if report.get("frozen") != Some(&Value::Bool(true)) {
            return Err(format!("not frozen: {report}").into());
        }
        self.approve("carol", &id).err().ok_or("carol approved her own request")?;
        self.approve("bob", &id)?;
        let rule = self.thief.too_early(&id, &self.node, &self.signers)?;
        tell(
            "freeze",
            format!("by Bob alone in {took} ms, directly at the signers; an approved payment stays: {rule}"),
        );
        let freeze = field(&report, "id")?.to_owned();
        self.person("carol").run(&["resume", &freeze])?;
        self.approve_proposals(&["alice", "bob"])?;
        let txid = self.broadcast(&id)?;
        self.mine(1)?;
        self.paid(&txid, 5_000_000)?;
        tell("resume", format!("by Alice and Bob; the payment left: {}", short(&txid)));
        Ok(())
    }

    /// One signer is killed; the other two and the witness go on, and it catches up.
    fn lose_a_signer(&mut self) -> Result<(), Failure> {
        let Some((name, service)) = self.signers.first_mut() else { return Err("no signer".into()) };
        let name = name.clone();
        service.kill();
        self.mine(DEEP)?;
        let id = self.ask_for("0.02btc", "20000sat")?;
        self.approve("alice", &id)?;
        self.approve("bob", &id)?;
        let txid = self.broadcast(&id)?;
        self.mine(1)?;
        self.paid(&txid, 2_000_000)?;
        let Some((_, service)) = self.signers.first_mut() else { return Err("no signer".into()) };
        service.run()?;
        let target = self.thief.height(&self.signers[1].1)?;
        let begun = Instant::now();
        let back = &self.signers[0].1;
        wait("catching up", || Ok((self.thief.height(back)? >= target).then_some(())))?;
        tell(
            "crash",
            format!(
                "{name} killed: {} left without it; back and level after {} ms",
                short(&txid),
                begun.elapsed().as_millis()
            ),
        );
        Ok(())
    }

    /// Anybody with the public keys checks everything that ever happened.
    fn verify_log(&mut self) -> Result<(), Failure> {
        let (export, keys) = (self.directory.join("export"), self.directory.join("log-keys.txt"));
        let (export_text, keys_text) = (text(&export), text(&keys));
        self.person("alice").run(&["log", "export", &export_text, "--keys", &keys_text])?;
        let keyward = program("keyward")?;
        let verify = ["log", "verify", &export_text, "--keys", &keys_text];
        let begun = Instant::now();
        let said = ask(&keyward, &verify, None)?;
        let took = begun.elapsed().as_millis();
        let entries = said.lines().find_map(|line| line.strip_prefix("entries")).unwrap_or_default().trim();
        tell("log", format!("verified offline in {took} ms, every payment with its reasons: {entries}"));
        let bundle = export.join("tile/entries");
        flip_a_byte(&bundle)?;
        let found = ask(&keyward, &verify, None).err().ok_or("a changed log was not noticed")?.to_string();
        let found = found.lines().find(|l| l.contains("error")).unwrap_or(&found).trim().to_owned();
        tell("log", format!("one byte changed: {}", found.split("failed: ").last().unwrap_or(&found)));
        std::fs::remove_dir_all(&export)?;
        self.person("alice").run(&["log", "export", &export_text, "--keys", &keys_text])?;
        self.facts.log_export = export_text.clone();
        self.facts.log_keys = keys_text.clone();
        self.facts.log_verify = [vec![text(&keyward)], strings(&verify)].concat();
        Ok(())
    }

    /// What somebody could try while it stays up.
    pub fn what_next(&self) {
        let person = &self.people[0];
        println!("\nIt stays up. Try, from another terminal:");
        for command in [
            "status",
            "requests --all",
            "pay --wallet vault --to supplier=10000sat --fee-max 5000sat",
            "freeze",
        ] {
            println!("  {}", person.shown(command));
        }
        println!("Server at {}; press Enter to end.", self.server.address());
    }
}

/// The id of the rule that a program names last: in what it refuses, after what it shows.
fn rule_of(said: &str) -> String {
    let is_rule = |w: &&str| custody::rule::Rule::ALL.iter().any(|rule| rule.id() == *w);
    let mut words = said.split(|c: char| c.is_whitespace() || "():,".contains(c)).filter(is_rule);
    words.next_back().unwrap_or("refused").to_owned()
}

fn flip_a_byte(directory: &Path) -> Result<(), Failure> {
    let mut file = directory.to_owned();
    while file.is_dir() {
        let entry = file.read_dir()?.next().ok_or("an export without entries")??;
        file = entry.path();
    }
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    Ok(std::fs::write(file, bytes)?)
}
