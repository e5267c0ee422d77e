//! The programs of the deployment as processes: started, asked, killed. Only processes started here are
//! ever ended here.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::Failure;

/// How long a process may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often a starting process is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A program of the workspace: it stands beside this one.
///
/// # Errors
/// When it was not built.
pub(super) fn program(name: &str) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    // Tests stand one folder deeper than programs.
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    beside.ok_or_else(|| format!("{name} is not built: run cargo build --workspace --bins").into())
}

/// A command of a program whose secret comes on standard input, as file descriptor 0.
///
/// # Errors
/// When it cannot be started, or ends with another exit code than 0; the error holds what it said.
pub(super) fn ask(program: &Path, arguments: &[&str], secret: Option<&str>) -> Result<String, Failure> {
    let output = output(program, arguments, secret)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let name = program.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    Err(format!("{name} {} failed: {}", arguments.join(" "), said.trim()).into())
}

/// As [`ask`], whatever the exit code.
///
/// # Errors
/// When it cannot be started.
pub(super) fn output(program: &Path, arguments: &[&str], secret: Option<&str>) -> Result<Output, Failure> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A program that refuses its arguments may end before it reads.
        let _ = input.write_all(secret.unwrap_or_default().as_bytes());
    }
    Ok(child.wait_with_output()?)
}

/// A long-running process. Killed when dropped.
#[derive(Debug)]
pub(super) struct Service {
    program: PathBuf,
    arguments: Vec<String>,
    secret: Option<String>,
    ready_file: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl Service {
    /// Starts a service and waits until it says where it listens. `{listen}` and `{ready}` in the
    /// arguments stand for the address and the ready file.
    ///
    /// # Errors
    /// When it ends, or is not ready in time; its log says why.
    pub(super) fn start(
        program: PathBuf,
        arguments: Vec<String>,
        secret: Option<String>,
        files: &Path,
    ) -> Result<Self, Failure> {
        let mut service = Self {
            program,
            arguments,
            secret,
            ready_file: files.with_extension("ready"),
            log: files.with_extension("log"),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            child: None,
        };
        service.run()?;
        Ok(service)
    }

    /// Starts it again at the same address after [`Service::kill`].
    ///
    /// # Errors
    /// As [`Service::start`].
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        if self.ready_file.exists() {
            std::fs::remove_file(&self.ready_file)?;
        }
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let ready = self.ready_file.display().to_string();
        let fill = |a: &String| a.replace("{listen}", &self.address.to_string()).replace("{ready}", &ready);
        let mut child = Command::new(&self.program)
            .args(self.arguments.iter().map(fill))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(self.secret.as_deref().unwrap_or_default().as_bytes());
        }
        let until = Instant::now() + READY_WITHIN;
        let address = loop {
            if let Some(address) =
                std::fs::read_to_string(&self.ready_file).ok().and_then(|t| t.trim().parse().ok())
            {
                break address;
            }
            let ended = child.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read_to_string(&self.log)?;
                let last = said.lines().last().unwrap_or("it said nothing").to_owned();
                return Err(format!(
                    "{} did not start: {last} (see {})",
                    self.program.display(),
                    self.log.display()
                )
                .into());
            }
            std::thread::sleep(POLL);
        };
        self.address = address;
        self.child = Some(child);
        Ok(())
    }

    /// Adds options for the next start.
    pub(super) fn add(&mut self, options: &[&str]) {
        self.arguments.extend(options.iter().map(|option| (*option).to_owned()));
    }

    /// Leaves out, from the next start on, an option whose value is one of these.
    pub(super) fn drop_option(&mut self, option: &str, is_it: impl Fn(&str) -> bool) {
        let all = std::mem::take(&mut self.arguments);
        let mut all = all.into_iter().peekable();
        while let Some(word) = all.next() {
            if word == option && all.peek().is_some_and(|value| is_it(value)) {
                all.next();
            } else {
                self.arguments.push(word);
            }
        }
    }

    /// The name of its data directory: a co-signer's name.
    pub(super) fn name(&self) -> String {
        self.log.file_stem().and_then(|n| n.to_str()).unwrap_or_default().to_owned()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends it at once, as a power cut would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}
