//! A PostgreSQL cluster of our own for tests: Debian's binaries, a directory made for it, a socket in that
//! directory and no port, `fsync` on as it comes. It ends with the process that started it, even if that is killed.
//!
//! Needs only the standard library, so other crates include it with `#[path]`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// The superuser of the cluster.
const USER: &str = "keyward";

/// Makes a cluster, starts it, and stops it when standard input says so or ends. `stop`, `crash` and
/// `start` are answered by a line.
const KEEPER: &str = r#"
set -eu
bin=$1 user=$2
dir=$(mktemp -d)
trap '' INT TERM HUP
end() { "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"; }
trap end EXIT
start() {
    "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -o "-c listen_addresses='' \
        -c unix_socket_directories='$dir' -c max_connections=300 -c shared_buffers=64MB" start >/dev/null </dev/null
}
"$bin/initdb" -D "$dir/data" -U "$user" -A trust -E UTF8 --locale=C -N >/dev/null
start
echo "$dir"
while read -r word; do
    case $word in
        stop) "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null;;
        crash) "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null;;
        start) start;;
    esac
    echo "$word"
done
"#;

/// The process that ends the cluster when its input ends, that input, and its answers.
type Keeper = (Child, Option<ChildStdin>, BufReader<std::process::ChildStdout>);

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Where its socket is.
    directory: PathBuf,
    bin: PathBuf,
    keeper: Mutex<Keeper>,
    databases: AtomicU32,
}

impl Cluster {
    /// The cluster of this process, started by the first test that asks.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a cluster of its own, for a test that stops it.
    pub(crate) fn start() -> Self {
        let bin = binaries();
        // initdb and postgres refuse to run as root.
        let root = Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
        let mut command = Command::new(if root { "setpriv" } else { "sh" });
        if root {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
        }
        command.args(["-c", KEEPER, "keeper"]).arg(&bin).arg(USER).current_dir("/");
        // A group of its own: the interrupt that ends the tests must not end it before it has tidied up.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut directory = String::new();
        stdout.read_line(&mut directory).expect("the keeper answers");
        assert!(directory.ends_with('\n'), "PostgreSQL did not start: is Debian's `postgresql` installed?");
        let directory = PathBuf::from(directory.trim_end());
        Self { directory, bin, keeper: Mutex::new((child, stdin, stdout)), databases: AtomicU32::new(0) }
    }

    /// Makes an empty database and returns its address.
    pub(crate) fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.address(&name, &self.directory)
    }

    /// The address of a database by the socket in a directory.
    pub(crate) fn address(&self, database: &str, socket: &Path) -> String {
        let host = socket.to_str().expect("UTF-8").replace('/', "%2F");
        format!("postgres://{USER}@{host}/{database}")
    }

    /// The directory of the socket `.s.PGSQL.5432`.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs SQL in a database, by name or address.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        let name = database.rsplit('/').next().expect("not empty");
        let output = Command::new(self.bin.join("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", name, "-c", text, "-h"])
            .arg(&self.directory)
            .current_dir("/")
            .output()
            .expect("psql runs");
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Copies a database that nobody is connected to.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let name = |address: &str| address.rsplit('/').next().expect("not empty").to_owned();
        let (from, to) = (name(from), name(to));
        self.sql("postgres", &format!("DROP DATABASE IF EXISTS {to} WITH (FORCE)"));
        self.sql("postgres", &format!("CREATE DATABASE {to} TEMPLATE {from}"));
    }

    /// Stops it in order.
    pub(crate) fn stop(&self) {
        self.tell("stop");
    }

    /// Ends it as a loss of power would, but for what the kernel still writes.
    pub(crate) fn crash(&self) {
        self.tell("crash");
    }

    /// Starts it again, with the same data.
    pub(crate) fn restart(&self) {
        self.tell("start");
    }

    fn tell(&self, word: &str) {
        let mut keeper = self.keeper.lock().expect("no test died here");
        let (_, stdin, stdout) = &mut *keeper;
        writeln!(stdin.as_mut().expect("not dropped"), "{word}").expect("the keeper reads");
        let mut answer = String::new();
        stdout.read_line(&mut answer).expect("the keeper answers");
        assert_eq!(answer.trim_end(), word);
    }
}

/// A cluster that is dropped ends at once; the shared one ends when the process does.
impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok((child, stdin, _)) = self.keeper.get_mut() {
            drop(stdin.take());
            let _ = child.wait();
        }
    }
}

/// The newest of Debian's versions, or what is in the path.
fn binaries() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.retain(|bin| bin.join("initdb").exists());
    versions.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|text| text.parse::<u32>().ok())
    });
    versions.pop().expect("PostgreSQL is missing: apt-get install -y --no-install-recommends postgresql")
}
