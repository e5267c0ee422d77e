//! A person's program, the real one, against real co-signers.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use sim::attacker::{Scene, device};
use sim::processes::program;
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery";

/// The home of a person on a host of her own.
pub(crate) struct Person(TempDir);

impl Person {
    pub(crate) fn new(scene: &Scene, who: &str) -> Self {
        let person = Self(TempDir::with_prefix("keyward-person-").unwrap());
        let genesis = scene.world.state.genesis();
        std::fs::write(person.path("genesis.json"), genesis.bytes()).unwrap();
        let file = device(who).to_file(PASSPHRASE, &mut rand_core::OsRng).unwrap();
        std::fs::write(person.path("device.key"), file).unwrap();
        person.ok(&["genesis", "pin", "genesis.json", "--hash", &genesis.hash().to_string()]);
        let device = person.path("device.key");
        person.ok(&["profile", "--device", device.to_str().unwrap()]);
        person
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program().with_file_name("keyward"));
        command.args(["--home", "home", "--passphrase-fd", "0"]).args(arguments);
        command.current_dir(self.0.path()).env_clear().stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that asks for nothing may be over before it is written.
        let _ = std::io::Write::write_all(&mut stdin, format!("{PASSPHRASE}\n").as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Freezes everything at these co-signers, waiting for nothing. The exit code, and what is printed.
    pub(crate) fn freeze(&self, at: &[(&str, String)]) -> (i32, String) {
        let addresses: Vec<String> = at.iter().map(|(who, address)| format!("{who}={address}")).collect();
        let mut arguments = vec!["freeze", "--yes", "--offline", "--timeout", "0"];
        for address in &addresses {
            arguments.extend(["--cosigner", address]);
        }
        let output = self.run(&arguments);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
