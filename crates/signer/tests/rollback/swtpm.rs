//! A TPM 2.0 in software (`swtpm`), and a second client of it that shares no code with the one under test.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A loaded machine starts it within this time, or never.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// It ends with this value at the latest.
pub(crate) struct Tpm {
    state: TempDir,
    child: Option<Child>,
}

impl Tpm {
    /// A new one, that runs.
    pub(crate) fn new() -> Self {
        let mut tpm = Self { state: TempDir::with_prefix("keyward-tpm-").unwrap(), child: None };
        tpm.start();
        tpm
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state.path().join("tpm.sock")
    }

    pub(crate) fn start(&mut self) {
        let (state, socket) = (self.state.path().display(), self.socket());
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.args(["--tpmstate", &format!("dir={state}")]);
        command.args(["--ctrl", &format!("type=unixio,path={state}/control.sock")]);
        command.args(["--server", &format!("type=unixio,path={}", socket.display())]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("swtpm: install the package of that name");
        let until = Instant::now() + READY_LIMIT;
        while UnixStream::connect(&socket).is_err() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "swtpm does not come up: {ended:?}");
            sleep(Duration::from_millis(5));
        }
        self.child = Some(child);
    }

    /// Kills it, as a failure of power does.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends the bytes of a command, in hex, and returns those of the response.
    #[allow(dead_code, reason = "not everybody who starts one looks into it")]
    pub(crate) fn raw(&self, command: &str) -> String {
        let bytes = |at: usize| u8::from_str_radix(&command[at..at + 2], 16).unwrap();
        let command: Vec<u8> = (0..command.len()).step_by(2).map(bytes).collect();
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(READY_LIMIT)).unwrap();
        stream.write_all(&command).unwrap();
        let mut response = [0; 4096];
        let read = stream.read(&mut response).unwrap();
        response[..read].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Defines an index as the owner with an empty password.
    #[allow(dead_code, reason = "not everybody who starts one looks into it")]
    pub(crate) fn define(&self, index: u32, attributes: u32, bytes: u16) {
        let public = format!("000e{index:08x}000b{attributes:08x}0000{bytes:04x}");
        let said =
            self.raw(&format!("80020000002d0000012a40000001000000094000000900000000000000{}", &public[..]));
        assert_eq!(said, "80020000001300000000000000000000010000", "{public}");
    }

    /// The count at 0x01814b57, read with the bytes of `tpm2_nvread`.
    #[allow(dead_code, reason = "not everybody who starts one looks into it")]
    pub(crate) fn count(&self) -> u64 {
        let said = self.raw("8002000000230000014e01814b5701814b570000000940000009000000000000080000");
        assert_eq!(&said[..32], "80020000001d000000000000000a0008", "{said}");
        u64::from_str_radix(&said[32..48], 16).unwrap()
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        self.stop();
    }
}
