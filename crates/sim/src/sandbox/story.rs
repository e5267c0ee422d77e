//! The story, one step after the other.

mod ceremony;
mod deployed;
mod governed;
mod log;
mod money;
mod payments;
mod replaced;
mod taken_over;
mod trial;
mod trouble;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ceremony_tui::rehearsal::Left;
use custody::document::Model;
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
    erp: Person,
    /// The database that the books are in.
    books: String,
    ceremony: String,
    /// What the ceremony left in people's hands.
    left: Option<Left>,
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
pub(super) fn wait<T>(
    what: &str,
    mut done: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
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
        let mut story = Self::begin(&options.directory, None)?;
        let (ceremony, accounts) = story.hold_ceremony()?;
        story.open_wallet(&ceremony, accounts)?;
        story.add_clients()?;
        let address = story.give_address()?;
        story.receive(&address)?;
        story.reorganise()?;
        story.add_destination()?;
        story.pay()?;
        story.tamper()?;
        story.bump()?;
        story.cancel()?;
        story.change_policy()?;
        story.freeze_and_resume()?;
        story.lose_a_signer()?;
        story.withdraw()?;
        story.reconcile()?;
        story.verify_log()?;
        story.certificate()?;
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
    fn begin(directory: &Path, books: Option<&str>) -> Result<Self, Failure> {
        let node = Node::start(directory.join("node"))?;
        let mut customer = Customer::new();
        customer.mine_coins(&node)?;
        tell("node", format!("Bitcoin Core on regtest, {} blocks, no wallet", node.rpc().block_count()?));
        Self::begin_on(node, customer, directory, books)
    }

    /// The same on a network where something happened before.
    fn begin_on(
        node: Node,
        customer: Customer,
        directory: &Path,
        books: Option<&str>,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
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
        let init = |dir: &str, id: &str, grants: &str, out: &str| {
            ask(&server, &["init", "--dir", dir, "--id", id, "--grants", grants, "--out", out], None)
        };
        init(&server_dir, "server", "authorise,allocate,observe", &machine)?;
        // What may stop everything and nothing else.
        let (alarm_dir, sentinel) =
            (text(&directory.join("sentinel")), text(&directory.join("sentinel.machine.json")));
        init(&alarm_dir, "sentinel", "freeze", &sentinel)?;
        // The institution's own system, which asks for withdrawals.
        let erp = Person::machine("erp", "request", directory)?;
        let genesis = text(&directory.join("genesis.json"));
        for file in [machine, sentinel, text(&erp.public_file())] {
            words.extend(["--machine".into(), file]);
        }
        words.extend(["--out".into(), genesis.clone()]);
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
        if books != Some("none") {
            let ready = text(&directory.join("server.api"));
            let of_books = ["--alarm-dir", &alarm_dir, "--api", "127.0.0.1:0", "--api-ready-file", &ready];
            arguments.extend(strings(&of_books));
        }
        arguments.extend(books.into_iter().flat_map(|books| strings(&["--books", books])));
        let books = books.map_or_else(|| format!("sqlite:{server_dir}/books.db"), str::to_owned);
        let service = Service::start(server, arguments, None, &directory.join("server"))?;
        let labels = text(&directory.join("genesis.json.labels.json"));
        for person in people.iter().chain([&erp]) {
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
            erp,
            books,
            ceremony: String::new(),
            left: None,
            customer,
            facts,
            thief,
        })
    }

    /// Every pair of signers proves that it can sign, then the wallet is opened.
    fn open_wallet(&mut self, ceremony: &str, accounts: usize) -> Result<(), Failure> {
        let begun = Instant::now();
        let open = ["wallet", "open", "--id", "vault", "--ceremony", ceremony, "--slot", "0", "--model", "1"];
        self.review(Model::One)?;
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
        self.deposits_are("acme", "credited", 2)?;
        tell("deposit", format!("1.5 BTC arrived in two payments, {DEEP} blocks deep, credited to acme"));
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

    /// What somebody could try while it stays up.
    pub fn what_next(&self) {
        let person = &self.people[0];
        println!("\nIt stays up. Try, from another terminal:");
        for command in [
            "status",
            "requests --all",
            "balances",
            "withdraw --client acme --wallet vault --to supplier=10000sat --fee-max 5000sat",
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
