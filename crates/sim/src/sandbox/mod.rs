//! The sandbox: a whole deployment on this machine, and its story told as it happens. Everything is done
//! by the programs that an institution would run, through their own command lines; only the customer who
//! pays and the thief who holds the server's keys are played here.

mod customer;
mod facts;
mod people;
mod programs;
mod story;
mod thief;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Whatever ends the story early.
pub type Failure = Box<dyn std::error::Error>;

pub use facts::Facts;
pub use story::Story;

/// What the command line asks for.
#[derive(Debug)]
pub struct Options {
    /// The one directory that everything is in.
    pub directory: PathBuf,
    /// End with the story instead of staying up.
    pub once: bool,
    /// Locked as long as this sandbox runs.
    _running: File,
}

const HELP: &str = "\
./sandbox: a whole Keyward on this machine, with a story that is told as it happens

  ./sandbox                runs the story, then stays up until you press Enter
  ./sandbox --once         ends with the story: exit code 0, or the first failure
  ./sandbox --dir DIR      keeps everything in DIR (default: sandbox-data here); an earlier sandbox
                           in it is replaced, a directory that no sandbox made is never touched
  ./sandbox --reset        removes DIR, and runs nothing unless --once is given too";

/// Reads the command line; nothing when there is nothing to run.
///
/// # Errors
/// What is wrong with it, and a directory that is not a sandbox's own or in use by one.
pub fn options(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, Failure> {
    let mut arguments = arguments;
    let (mut directory, mut once, mut reset) = (PathBuf::from("sandbox-data"), false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--once" => once = true,
            "--reset" => reset = true,
            "--dir" => directory = arguments.next().ok_or("--dir needs a directory")?.into(),
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(None);
            }
            other => return Err(format!("there is no option {other:?}; see --help").into()),
        }
    }
    clear(&directory)?;
    if reset && !once {
        tell("reset", format!("{} is gone", directory.display()));
        return Ok(None);
    }
    std::fs::create_dir_all(&directory)?;
    let running = File::create(directory.join(MARKER))?;
    running.try_lock().map_err(|_| "another sandbox begins in this directory")?;
    let directory = directory.canonicalize()?;
    Ok(Some(Options { directory, once, _running: running }))
}

/// Removes what an earlier sandbox left, and nothing that anybody else made.
fn clear(directory: &Path) -> Result<(), Failure> {
    let shown = directory.display();
    if !directory.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(());
    }
    let marker = File::open(directory.join(MARKER));
    let marker = marker.map_err(|_| format!("{shown} was not made by a sandbox: name another with --dir"))?;
    marker
        .try_lock()
        .map_err(|_| format!("a sandbox is running in {shown}: end it, or name another with --dir"))?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

/// The file that says that a directory is a sandbox's own.
const MARKER: &str = ".keyward-sandbox";

/// Prints one line of the story: what happened, and a figure.
fn tell(step: &str, what: impl fmt::Display) {
    println!("{step:<11} {what}");
}

/// A path as text for a command line.
fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str], directory: &Path) -> Result<Option<Options>, Failure> {
        let words = words.iter().map(|w| (*w).to_owned());
        options(words.chain(["--dir".to_owned(), text(directory)]))
    }

    #[test]
    fn only_a_sandbox_of_its_own_that_does_not_run_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let own = parent.path().join("own");
        let running = run(&["--once"], &own).unwrap().unwrap();
        std::fs::write(own.join("file"), "left").unwrap();
        assert!(run(&[], &own).unwrap_err().to_string().contains("is running"));
        drop(running);
        drop(run(&[], &own).unwrap().unwrap());
        assert!(!own.join("file").exists(), "an earlier sandbox is replaced");
        assert!(run(&["--reset"], &own).unwrap().is_none());
        assert!(!own.exists());

        let foreign = parent.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(foreign.join("file"), "somebody's").unwrap();
        for words in [&["--once"][..], &["--reset"], &[]] {
            assert!(run(words, &foreign).unwrap_err().to_string().contains("not made by a sandbox"));
        }
        assert!(foreign.join("file").exists());
        assert!(run(&["--fast"], &own).unwrap_err().to_string().contains("--fast"));
    }
}
