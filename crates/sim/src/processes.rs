//! Real `keyward-signer` processes, each on a data directory of its own, under one temporary directory.
//!
//! Every process is started here by its own handle and killed by it, at the latest when this is dropped.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use custody::document::{CosignerCard, Document};
use custody::genesis::Genesis;
use custody::{Hash, canon};
use keys::cosigner::CosignerSecrets;
use keys::locked::LockedBytes;
use keys::vault::{Vault, VaultContext, VaultKind};
use tempfile::TempDir;

use crate::deployment::{COSIGNERS, name};

/// A process listens after this long or never does: it unlocks its keys and replays its log.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How often the file that says where a process listens is looked for.
const READY_POLL: Duration = Duration::from_millis(5);

/// The signers of a deployment.
#[derive(Debug)]
pub struct Signers {
    directory: TempDir,
    genesis: Option<Genesis>,
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    address: SocketAddr,
}

/// The program, beside the test program in the target directory.
///
/// # Panics
/// When it is not there.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("the path of the test program");
    let beside = own.ancestors().skip(1).take(2).map(|d| d.join("keyward-signer"));
    let mut found = beside.filter(|path| path.is_file());
    found.next().expect("no keyward-signer beside the tests: run `cargo build --workspace --bins` first")
}

/// Copies a data directory.
///
/// # Panics
/// When the disk refuses.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

impl Signers {
    /// Makes the keys of every co-signer with the real program. Returns their public cards too.
    ///
    /// # Panics
    /// When the program is missing or fails.
    pub fn init() -> (Self, Vec<CosignerCard>) {
        let directory = TempDir::with_prefix("keyward-signers-").expect("a temporary directory");
        let signers = Self { directory, genesis: None, running: BTreeMap::new() };
        let starting: Vec<Child> = COSIGNERS.iter().map(|who| signers.spawn_init(who)).collect();
        for mut child in starting {
            let status = child.wait().expect("init");
            assert!(status.success(), "init ends with {status}");
        }
        let card = |who: &&str| {
            let bytes = fs::read(signers.path(&format!("{who}.card"))).expect("a card");
            canon::decode(&bytes).expect("a canonical card")
        };
        let cards = COSIGNERS.iter().map(card).collect();
        (signers, cards)
    }

    fn spawn_init(&self, who: &str) -> Child {
        let mut command = Command::new(program());
        command.arg("init").arg("--dir").arg(self.data(who)).args(["--name", who, "--secret-fd", "0"]);
        command.arg("--card").arg(self.path(&format!("{who}.card")));
        if who.starts_with('w') {
            command.arg("--witness");
        }
        spawn(command.stdout(Stdio::null()), &secret(who))
    }

    /// Enters genesis: from here on processes can be started.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn enter(&mut self, genesis: &Genesis) {
        fs::write(self.path("genesis.json"), genesis.bytes()).expect("genesis on disk");
        self.genesis = Some(genesis.clone());
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// The data directory of a co-signer.
    pub fn data(&self, who: &str) -> PathBuf {
        self.path(who)
    }

    /// Where a running process listens.
    ///
    /// # Panics
    /// When it does not run.
    pub fn address(&self, who: &str) -> SocketAddr {
        self.running[who].address
    }

    /// The id of a running process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&self, who: &str) -> u32 {
        self.running[who].child.id()
    }

    /// The resident memory of a running process, in kB.
    ///
    /// # Panics
    /// When it does not run.
    pub fn memory_kb(&self, who: &str) -> u64 {
        let id = self.running[who].child.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a running process");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("its resident memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Whether a process runs.
    pub fn runs(&self, who: &str) -> bool {
        self.running.contains_key(who)
    }

    /// Memory that a process occupies, in KiB.
    ///
    /// # Panics
    /// When it does not run.
    pub fn memory_kib(&self, who: &str) -> u64 {
        let status = format!("/proc/{}/status", self.running[who].child.id());
        let status = fs::read_to_string(status).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Starts a co-signer on its data directory; `arguments` come on top.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self, who: &str, arguments: &[&str]) {
        assert!(!self.runs(who), "{who} runs already");
        let running = self.launch(&self.data(who), &secret(who), arguments);
        let running = running.unwrap_or_else(|(status, said)| panic!("{who} ends with {status}: {said}"));
        self.running.insert(who.to_owned(), running);
    }

    /// Tries to start a process on any data directory with any secret, and expects that it refuses.
    /// Returns what it says on standard error.
    ///
    /// # Panics
    /// When it comes up.
    pub fn refuses(&self, data: &Path, unlock: &[u8]) -> String {
        match self.launch(data, unlock, &[]) {
            Ok(mut running) => {
                end(&mut running.child);
                panic!("a signer came up on {}", data.display())
            }
            Err((_, said)) => said,
        }
    }

    /// Tries to start a co-signer with further arguments, and expects that it refuses. Returns what it says.
    ///
    /// # Panics
    /// When it comes up.
    pub fn refuses_with(&self, who: &str, arguments: &[&str]) -> String {
        match self.launch(&self.data(who), &secret(who), arguments) {
            Ok(mut running) => {
                end(&mut running.child);
                panic!("{who} came up with {arguments:?}")
            }
            Err((_, said)) => said,
        }
    }

    /// Where the next card of a co-signer is written.
    pub fn next_card(&self, who: &str) -> PathBuf {
        self.path(&format!("{who}.next.card"))
    }

    /// Makes the next keys of a co-signer. Returns the document with its card.
    ///
    /// # Errors
    /// What the program says on standard error.
    ///
    /// # Panics
    /// When the card is no document.
    pub fn rekey(&self, who: &str) -> Result<Document, String> {
        let output = self.spawn_rekey(who).wait_with_output().expect("rekey");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(canon::decode(&fs::read(self.next_card(who)).expect("a card")).expect("a document"))
    }

    /// Makes the next keys of a co-signer, and kills the program with SIGKILL as soon as `now` says so. Says
    /// whether it was killed before its end.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn rekey_killed(&self, who: &str, mut now: impl FnMut() -> bool) -> bool {
        let mut child = self.spawn_rekey(who);
        while !now() {
            if child.try_wait().expect("the own child").is_some() {
                return false;
            }
        }
        let killed = child.try_wait().expect("the own child").is_none();
        end(&mut child);
        killed
    }

    fn spawn_rekey(&self, who: &str) -> Child {
        let mut command = Command::new(program());
        command.arg("rekey").arg("--dir").arg(self.data(who)).args(["--secret-fd", "0"]);
        command.arg("--card").arg(self.next_card(who)).stdout(Stdio::null()).stderr(Stdio::piped());
        spawn(&mut command, &secret(who))
    }

    fn launch(
        &self,
        data: &Path,
        unlock: &[u8],
        arguments: &[&str],
    ) -> Result<Running, (ExitStatus, String)> {
        let genesis = self.genesis.as_ref().expect("genesis is entered before the start");
        let (ready, said) = (data.with_extension("ready"), data.with_extension("stderr"));
        let _ = fs::remove_file(&ready);
        let stderr = fs::File::create(&said).expect("a file");
        let mut command = Command::new(program());
        command.arg("run").arg("--dir").arg(data).arg("--genesis").arg(self.path("genesis.json"));
        command.args(["--genesis-hash", &genesis.hash().to_string(), "--listen", "127.0.0.1:0"]);
        command.args(["--secret-fd", "0"]).arg("--ready-file").arg(&ready).args(arguments);
        let mut child = spawn(command.stdout(Stdio::null()).stderr(stderr), unlock);
        let until = Instant::now() + READY_LIMIT;
        loop {
            if let Some(address) = fs::read_to_string(&ready).ok().and_then(|text| text.parse().ok()) {
                return Ok(Running { child, address });
            }
            if let Some(status) = child.try_wait().expect("the own child") {
                return Err((status, fs::read_to_string(&said).unwrap_or_default()));
            }
            if Instant::now() > until {
                end(&mut child);
                panic!("the signer on {} does not come up", data.display());
            }
            thread::sleep(READY_POLL);
        }
    }

    /// Kills a process with SIGKILL, between whatever two instructions it is.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, who: &str) {
        end(&mut self.running.remove(who).expect("a running process").child);
    }

    /// Copies the data directory of a co-signer that does not run. Returns where the copy is.
    ///
    /// # Panics
    /// When it runs, or the disk refuses.
    pub fn save(&self, who: &str, label: &str) -> PathBuf {
        assert!(!self.runs(who), "stop {who} before its disk is copied");
        let to = self.path(&format!("{who}-{label}"));
        copy(&self.data(who), &to);
        to
    }

    /// Puts a copy in place of the data directory of a co-signer that does not run.
    ///
    /// # Panics
    /// When it runs, or the disk refuses.
    pub fn restore(&self, who: &str, from: &Path) {
        assert!(!self.runs(who), "stop {who} before its disk is replaced");
        fs::remove_dir_all(self.data(who)).expect("the old directory");
        copy(from, &self.data(who));
    }

    /// The private keys of a co-signer, as somebody has them who broke into its host.
    ///
    /// # Panics
    /// When the directory holds no keys.
    pub fn steal(&self, who: &str) -> CosignerSecrets {
        let file = fs::read(self.data(who).join("keys.vault")).expect("a vault");
        let unlock = LockedBytes::take(&mut secret(who)).expect("locked memory");
        let vault = Vault::unlock(&unlock, &file).expect("the right secret");
        let context =
            VaultContext { kind: VaultKind::CosignerKeys, genesis: Hash::default(), cosigner: name(who) };
        let plain = vault.open(&context, &file).expect("the keys");
        CosignerSecrets::from_plaintext(&plain).expect("the keys")
    }

    /// What a process said on standard error since its last start.
    pub fn said(&self, who: &str) -> String {
        fs::read_to_string(self.data(who).with_extension("stderr")).unwrap_or_default()
    }
}

impl Drop for Signers {
    fn drop(&mut self) {
        for running in self.running.values_mut() {
            end(&mut running.child);
        }
    }
}

/// The secret that unlocks a co-signer's directory.
pub fn secret(who: &str) -> [u8; 32] {
    Hash::of("keyward/test-unlock", who.as_bytes()).0
}

/// Starts a program that reads its unlock secret from a pipe, which is its standard input.
fn spawn(command: &mut Command, unlock: &[u8]) -> Child {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("keyward-signer");
    let mut pipe = child.stdin.take().expect("a pipe");
    // A program that ends before it reads breaks the pipe: its exit code says why.
    let _ = pipe.write_all(unlock);
    child
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
