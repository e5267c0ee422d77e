//! People who rehearse a ceremony: each line that `keyward-ceremony --front plain` asks is answered as the
//! people of the script would, from what they have in their hands: passphrases, age identities, the sheets
//! that came out of the printer, the hashes on paper.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use age::secrecy::ExposeSecret as _;
use ceremony::report::{REPORT_FILE, SignedReport};
use ceremony::room::FindingKind;
use ceremony::script::{
    Accounts, Afterwards, Brought, ComponentId, Components, Cosigners, Group, Hardware, Held, Kind,
    KnownAccount, Member, Person, Recording, Role, SCRIPT_FORMAT, Script, Site, Sources,
};
use custody::document::Tier;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::{Hash, canon};
use rand_core::{OsRng, RngCore as _};

use crate::conduct::RUN_FILE;

/// Throws of a die that a rehearsal asks for: more than 256 bits.
const THROWS: u32 = 200;

/// Sites of the components of a rehearsal, as many as there are key custodians.
const SITES: [&str; 5] = ["vault", "notary", "office", "bank", "cellar"];

/// Where operations are.
const OPERATIONS: &str = "office";

type Failure = Box<dyn Error + Send + Sync>;

/// Somebody who takes part.
#[derive(Clone, Debug)]
pub struct Participant {
    /// The handle.
    pub id: String,
    /// What they do; key custodians hold a component each, in the order of this list.
    pub role: Role,
    /// The public signing key of their device.
    pub key: Hash,
    /// The key file.
    pub device: PathBuf,
    /// Its passphrase.
    pub passphrase: String,
}

/// What a ceremony left in people's hands.
#[derive(Debug)]
pub struct Left {
    /// The directory of its results.
    pub out: PathBuf,
    /// The script.
    pub script: Script,
    /// By component: the holder, and the words of the sheet.
    pub sheets: BTreeMap<String, (String, String)>,
    /// How many steps there were.
    pub steps: usize,
    /// How many findings people signed for.
    pub deviations: usize,
    /// What the program said.
    pub said: Vec<String>,
    /// What it told holders alone of words that were wrong.
    pub hints: Vec<String>,
    /// What the codes said that carry sealed shares.
    pub codes: Vec<String>,
    /// The exit code of the program.
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub error: String,
}

impl Left {
    /// The report.
    ///
    /// # Errors
    /// There is none.
    pub fn report(&self) -> Result<SignedReport, Failure> {
        Ok(canon::decode(&fs::read(self.out.join(REPORT_FILE))?)?)
    }

    /// The components that this ceremony made, for the script of a later one that some are brought to.
    ///
    /// # Errors
    /// The report lists none.
    pub fn held(&self, brought: &[&str], afterwards: Afterwards) -> Result<Held, Failure> {
        let report = self.report()?.report;
        let mut components = report.script.components.clone().ok_or("no components were made")?;
        for (group, members) in (0u8..).zip(&mut components.groups) {
            for (member, place) in (0u8..).zip(&mut members.members) {
                let made =
                    report.components.iter().find(|made| made.component == ComponentId { group, member });
                place.seal.clone_from(&made.ok_or("a component is not in the report")?.seal);
            }
        }
        let bring = |id: &&str| -> Result<Brought, Failure> {
            let component: ComponentId = id.parse()?;
            let made = report.components.iter().find(|made| made.component == component);
            Ok(Brought { component, health: made.ok_or("no such component")?.health })
        };
        let brought = brought.iter().map(bring).collect::<Result<_, _>>()?;
        let known = report.script.account_numbers().zip(&report.accounts);
        let known =
            known.map(|(number, made)| KnownAccount { number, account: made.account.clone() }).collect();
        Ok(Held { report: report.hash(), components, brought, afterwards, known })
    }
}

/// A question of the program, before the people of the rehearsal answer it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The step.
    pub step: &'a str,
    /// Of the question.
    pub id: &'a str,
    /// The process of the program.
    pub process: u32,
    /// The words of components, by component.
    pub sheets: &'a BTreeMap<String, (String, String)>,
    /// What the program said so far.
    pub said: &'a [String],
    /// The file of a component that was written last.
    pub file: &'a str,
}

/// Answers in the place of people; none to leave it to them.
pub type Twist<'t> = &'t mut dyn FnMut(&Asked<'_>) -> Option<String>;

/// The people of a rehearsal around their table.
#[derive(Debug)]
pub struct Table {
    directory: PathBuf,
    people: Vec<Participant>,
    genesis: PathBuf,
    accounts: u32,
    recipients: BTreeMap<String, String>,
}

impl Table {
    /// A table in a directory that exists. Three key custodians get a component each, any two of which recover.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn new(
        directory: &Path,
        people: Vec<Participant>,
        genesis: &Path,
        accounts: u32,
    ) -> Result<Self, Failure> {
        fs::create_dir_all(directory)?;
        let mut recipients = BTreeMap::new();
        for person in people.iter().filter(|person| person.role == Role::KeyCustodian) {
            let identity = age::x25519::Identity::generate();
            recipients.insert(person.id.clone(), identity.to_public().to_string());
            fs::create_dir_all(directory.join(&person.id))?;
            fs::write(identity_file(directory, &person.id), identity.to_string().expose_secret())?;
        }
        Ok(Self {
            directory: directory.to_owned(),
            people,
            genesis: genesis.to_owned(),
            accounts,
            recipients,
        })
    }

    /// The script of a ceremony of a kind over the components that exist, if some do.
    ///
    /// # Errors
    /// Genesis cannot be read.
    pub fn script(&self, kind: Kind, held: Option<Held>) -> Result<Script, Failure> {
        let genesis = Genesis::parse(&fs::read(&self.genesis)?)?;
        let person = |person: &Participant| -> Result<Person, Failure> {
            Ok(Person {
                id: Name::new(&person.id).ok_or("not a name")?,
                name: format!("{} of the rehearsal", person.id),
                organisation: "Example Custody".into(),
                roles: vec![person.role],
                key: person.key,
                age: self.recipients.get(&person.id).cloned(),
            })
        };
        let custodians = self.people.iter().filter(|person| person.role == Role::KeyCustodian);
        let member = |(person, site): (&Participant, &str)| -> Result<Member, Failure> {
            let container = format!("safe of the {site}");
            Ok(Member {
                holder: Name::new(&person.id).ok_or("not a name")?,
                site: Name::new(site).ok_or("not a name")?,
                container,
                seal: String::new(),
            })
        };
        let count = custodians.clone().count();
        let members = custodians.zip(SITES).map(member).collect::<Result<Vec<_>, _>>()?;
        let site = |site: &&str| -> Result<Site, Failure> {
            Ok(Site {
                name: Name::new(site).ok_or("not a name")?,
                address: format!("{site} street 1"),
                operations: *site == OPERATIONS,
            })
        };
        let holders = genesis.cosigners.iter().filter(|card| card.holds_shares).map(|card| card.name.clone());
        let generates = kind == Kind::Generation;
        Ok(Script {
            format: SCRIPT_FORMAT.into(),
            kind,
            title: "Rehearsal of the hot tier".into(),
            place: "this machine".into(),
            genesis: genesis.hash(),
            network: genesis.network.clone(),
            tier: Tier::Hot,
            people: self.people.iter().map(person).collect::<Result<_, _>>()?,
            accounts: Accounts { first: 0, count: self.accounts },
            highest_index: 0,
            sites: SITES.iter().take(count).map(site).collect::<Result<_, _>>()?,
            components: kind
                .makes_components()
                .then(|| Components { group_threshold: 1, groups: vec![Group { threshold: 2, members }] }),
            held,
            cosigners: kind
                .makes_shares()
                .then(|| Cosigners { threshold: genesis.threshold, holders: holders.collect() }),
            entropy: Sources { dice: if generates { THROWS } else { 0 }, ..Sources::default() },
            hardware: vec![Hardware {
                what: "this machine".into(),
                maker: "unknown".into(),
                model: "unknown".into(),
                serial: "0".into(),
                seal: "none".into(),
                purchased: "rehearsal".into(),
                never_online: "rehearsal: it is online".into(),
                radios: "unknown".into(),
            }],
            recording: Some(Recording { how: "none: a rehearsal".into(), seal: "R-0".into() }),
            // A machine of every day: whatever is found there, people sign for it.
            deviations: FindingKind::ALL.to_vec(),
            deviation_quorum: 2,
        })
    }

    /// Holds the ceremony of a script with the program at `program`; results go to the directory `name`.
    ///
    /// # Errors
    /// The program refuses, or asks for what nobody here has.
    pub fn hold(
        &self,
        program: &Path,
        name: &str,
        script: Script,
        sheets: &BTreeMap<String, (String, String)>,
    ) -> Result<Left, Failure> {
        let left = self.play(program, name, script, sheets, &mut |_| None)?;
        if left.code == Some(0) { Ok(left) } else { Err(left.error.into()) }
    }

    /// The same with a twist, however it ends.
    ///
    /// # Errors
    /// The program asks for what nobody here has, or says what no program says.
    pub fn play(
        &self,
        program: &Path,
        name: &str,
        script: Script,
        sheets: &BTreeMap<String, (String, String)>,
        twist: Twist<'_>,
    ) -> Result<Left, Failure> {
        let file = self.directory.join(format!("{name}.script.json"));
        fs::write(&file, script.bytes())?;
        let begin = ["run".as_ref(), "--script".as_ref(), file.as_os_str()];
        self.start(program, &begin, name, script, sheets, twist)
    }

    /// Goes on with a ceremony of this name that was interrupted; `hash` is the one on paper.
    ///
    /// # Errors
    /// As [`Table::play`].
    pub fn resume(
        &self,
        program: &Path,
        name: &str,
        hash: &str,
        interrupted: Left,
        twist: Twist<'_>,
    ) -> Result<Left, Failure> {
        let saved = interrupted.out.join(RUN_FILE);
        let begin =
            ["resume".as_ref(), "--saved".as_ref(), saved.as_os_str(), "--hash".as_ref(), hash.as_ref()];
        self.start(program, &begin, name, interrupted.script, &interrupted.sheets, twist)
    }

    /// The printer of a ceremony of this name: a pipe.
    pub fn printer(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.printer"))
    }

    /// Puts the report of a ceremony at another table on this one, with the genesis of that.
    ///
    /// # Errors
    /// The files cannot be copied.
    pub fn bring(&self, left: &Left, genesis: &Path) -> Result<(), Failure> {
        let place = self.directory.join("brought");
        fs::create_dir_all(&place)?;
        fs::copy(left.out.join(REPORT_FILE), place.join(REPORT_FILE))?;
        fs::copy(genesis, place.join("genesis.json"))?;
        Ok(())
    }

    /// The report with this hash, and the genesis that it is of, if they lie on the table.
    fn earlier(&self, hash: Hash) -> Option<(PathBuf, PathBuf)> {
        fs::read_dir(&self.directory).ok()?.flatten().find_map(|place| {
            let report = place.path().join(REPORT_FILE);
            let signed: SignedReport = canon::decode(&fs::read(&report).ok()?).ok()?;
            let own = place.path().join("genesis.json");
            (signed.report.hash() == hash)
                .then(|| (report, if own.exists() { own } else { self.genesis.clone() }))
        })
    }

    /// What the program is started with besides, for a ceremony of this name.
    pub fn arguments(&self, name: &str, script: &Script) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut option = |name: &str, value: &OsStr| arguments.extend([name.into(), value.into()]);
        option("--genesis", self.genesis.as_ref());
        option("--genesis-hash", script.genesis.to_string().as_ref());
        option("--out", self.directory.join(name).as_ref());
        option("--printer", self.printer(name).as_ref());
        for person in &self.people {
            option("--key", person.device.as_ref());
        }
        if let Some((report, genesis)) = script.held.as_ref().and_then(|held| self.earlier(held.report)) {
            option("--earlier", report.as_ref());
            option("--earlier-genesis", genesis.as_ref());
        }
        arguments
    }

    fn start(
        &self,
        program: &Path,
        begin: &[&OsStr],
        name: &str,
        script: Script,
        sheets: &BTreeMap<String, (String, String)>,
        twist: Twist<'_>,
    ) -> Result<Left, Failure> {
        let (out, printer) = (self.directory.join(name), self.printer(name));
        if !printer.exists() && !Command::new("mkfifo").arg(&printer).status()?.success() {
            return Err("mkfifo failed".into());
        }
        let mut command = Command::new(program);
        command.args(begin).args(self.arguments(name, &script)).args(["--front", "plain"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(mut to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the program has no pipes".into());
        };
        let mut play = Play {
            table: self,
            name: name.to_owned(),
            process: child.id(),
            left: Left {
                out,
                script,
                sheets: sheets.clone(),
                steps: 0,
                deviations: 0,
                said: Vec::new(),
                hints: Vec::new(),
                codes: Vec::new(),
                code: None,
                error: String::new(),
            },
            printer,
            sheet: None,
            file: String::new(),
            step: String::new(),
            actor: String::new(),
            seals: 0,
            last: Vec::new(),
        };
        let mut lines = BufReader::new(from).lines();
        let ended = loop {
            let Some(line) = lines.next() else { break Ok(()) };
            match line.map_err(Failure::from).and_then(|line| play.hear(&line, twist)) {
                Ok(None) => {}
                // A program that has just ended takes no answer; how it ended is told below.
                Ok(Some(answer)) => drop(writeln!(to, "{answer}")),
                Err(error) => break Err(error),
            }
        };
        if ended.is_err() {
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        ended?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        play.left.code = output.status.code();
        play.left.error = format!("{said} after {:?}", play.last);
        Ok(play.left)
    }
}

fn identity_file(directory: &Path, who: &str) -> PathBuf {
    directory.join(who).join("age-identity.txt")
}

/// Most steps of a ceremony: several times what one of sixteen people takes.
const STEPS_LIMIT: usize = 500;

/// How many of the last lines are kept for an error.
const LAST: usize = 6;

/// A ceremony under way.
struct Play<'t> {
    table: &'t Table,
    name: String,
    process: u32,
    left: Left,
    printer: PathBuf,
    /// What comes out of the printer.
    sheet: Option<JoinHandle<std::io::Result<Vec<u8>>>>,
    /// The file that was written last.
    file: String,
    step: String,
    actor: String,
    seals: usize,
    last: Vec<String>,
}

impl Play<'_> {
    /// Takes one line of the program, and gives the answer that it waits for.
    fn hear(&mut self, line: &str, twist: Twist<'_>) -> Result<Option<String>, Failure> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (id, text) = rest.split_once(' ').unwrap_or((rest, ""));
        if !matches!(kind, "private" | "hint") {
            self.last.push(line.to_owned());
            self.last.drain(..self.last.len().saturating_sub(LAST));
        }
        match kind {
            "step" => {
                self.left.steps += 1;
                if self.left.steps > STEPS_LIMIT {
                    return Err(format!("the ceremony goes in circles: {:?}", self.last).into());
                }
                self.step = id.to_owned();
                let people = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
                self.actor =
                    people.and_then(|(people, _)| people.split(' ').next()).unwrap_or_default().to_owned();
                Ok(None)
            }
            "say" => {
                if id == "written" {
                    text.clone_into(&mut self.file);
                }
                self.left.deviations += usize::from(id == "finding");
                self.left.said.push(rest.to_owned());
                Ok(None)
            }
            "private" => {
                self.left.sheets.insert(id.to_owned(), (self.actor.clone(), text.to_owned()));
                Ok(None)
            }
            "hint" => {
                self.left.hints.push(rest.to_owned());
                Ok(None)
            }
            "code" => {
                self.left.codes.push(rest.to_owned());
                Ok(None)
            }
            "ask" | "hidden" => {
                let asked = Asked {
                    step: &self.step,
                    id,
                    process: self.process,
                    sheets: &self.left.sheets,
                    said: &self.left.said,
                    file: &self.file,
                };
                match twist(&asked) {
                    Some(answer) => Ok(Some(answer)),
                    None => self.answer(id).map(Some),
                }
            }
            other => Err(format!("a line that begins with {other:?}").into()),
        }
    }

    fn answer(&mut self, id: &str) -> Result<String, Failure> {
        let digits = |hash: Hash| hash.to_string().chars().take(8).collect::<String>();
        Ok(match id.split_once('-').map_or((id, ""), |(what, of)| (what, of)) {
            ("digits", "script") => digits(self.left.script.hash()),
            ("digits", _) => digits(self.left.script.genesis),
            ("present" | "report" | "destroyed" | "here", _) => "yes".into(),
            ("serial", _) => "0".into(),
            ("seal", _) => self.seal(),
            ("findings", _) => "deviate".into(),
            ("reason", _) => "a rehearsal on a machine of every day".into(),
            ("people", _) => self.signers()?,
            ("passphrase", who) => {
                let person = self.table.people.iter().find(|person| person.id == who);
                person.ok_or("a passphrase of a stranger")?.passphrase.clone()
            }
            ("entropy", "dice") => (0..THROWS).map(|_| throw()).collect(),
            ("alone", _) => {
                let printer = self.printer.clone();
                self.sheet = Some(thread::spawn(move || fs::read(printer)));
                "yes".into()
            }
            ("seen", _) => "yes".into(),
            ("printed", _) => self.look_at_sheet()?,
            ("path", _) => self.table.directory.join(&self.actor).display().to_string(),
            ("how", _) => "words".into(),
            ("words", component) => self.left.sheets.get(component).ok_or("no such sheet")?.1.clone(),
            ("medium", _) => "paper".into(),
            ("file", _) => self.file.clone(),
            ("identity", _) => identity_file(&self.table.directory, &self.actor).display().to_string(),
            ("way", _) => "file".into(),
            ("codes" | "taken", _) => "yes".into(),
            ("fate", _) => "returned".into(),
            ("courier", _) => "a courier of the rehearsal".into(),
            _ => return Err(format!("nobody knows an answer to {id:?} in step {}", self.step).into()),
        })
    }

    /// A number of a seal: the one on the device, the recording or the component, or a new one.
    fn seal(&mut self) -> String {
        if self.step.starts_with("hardware") {
            return "none".into();
        }
        if self.step == "record" {
            return "R-0".into();
        }
        if let Some(component) = self.step.strip_prefix("open-") {
            let held = self.left.script.held.as_ref();
            let id = component.parse().ok();
            let member = held.zip(id).and_then(|(held, id)| held.components.member(id));
            return member.map(|member| member.seal.clone()).unwrap_or_default();
        }
        self.seals += 1;
        format!("{}-{}", self.name, self.seals)
    }

    /// A security officer and somebody else.
    fn signers(&self) -> Result<String, Failure> {
        let of = |role: Role| self.table.people.iter().find(|person| person.role == role);
        let (officer, operator) = (of(Role::SecurityOfficer), of(Role::Operator));
        let both = officer.zip(operator).ok_or("no security officer or operator")?;
        Ok(format!("{} {}", both.0.id, both.1.id))
    }

    /// What came out of the printer is a page with the words that the screen showed.
    fn look_at_sheet(&mut self) -> Result<String, Failure> {
        let sheet =
            self.sheet.take().ok_or("nothing is printed")?.join().map_err(|_| "the printer died")??;
        let page = String::from_utf8_lossy(&sheet);
        let component = self.step.strip_prefix("print-").unwrap_or_default();
        let (_, words) = self.left.sheets.get(component).ok_or("the screen showed no words")?;
        let whole = page.starts_with("%!PS") && words.split(' ').all(|word| page.contains(word));
        if whole { Ok("yes".into()) } else { Err("the sheet is not whole".into()) }
    }
}

/// A throw of a fair die.
fn throw() -> char {
    loop {
        let byte = OsRng.next_u32().to_le_bytes()[0];
        // 252 is the largest multiple of six in a byte: no face comes up more often.
        if byte < 252 {
            return ['1', '2', '3', '4', '5', '6'][usize::from(byte % 6)];
        }
    }
}
