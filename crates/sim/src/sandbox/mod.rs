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
}

const HELP: &str = "\
./sandbox: a whole Keyward on this machine, with a story that is told as it happens

  ./sandbox                runs the story, then stays up until you press Enter
  ./sandbox --once         ends with the story: exit code 0, or the first failure
  ./sandbox --dir DIR      keeps everything in DIR (default: sandbox-data here)
  ./sandbox --reset        removes DIR first";

/// Reads the command line; nothing when there is nothing to run.
///
/// # Errors
/// What is wrong with it.
pub fn options(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, Failure> {
    let mut arguments = arguments;
    let mut options = Options { directory: PathBuf::from("sandbox-data"), once: false };
    let mut reset = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--once" => options.once = true,
            "--reset" => reset = true,
            "--dir" => options.directory = arguments.next().ok_or("--dir needs a directory")?.into(),
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(None);
            }
            other => return Err(format!("there is no option {other:?}; see --help").into()),
        }
    }
    let marker = options.directory.join(MARKER);
    let taken = options.directory.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if taken && (reset || marker.exists()) {
        // A sandbox begins anew each time; a directory that no sandbox made is never touched.
        if !marker.exists() {
            return Err(format!(
                "{} was not made by a sandbox: remove it yourself",
                options.directory.display()
            )
            .into());
        }
        if !reset {
            let directory = options.directory.display();
            return Err(format!(
                "{directory} holds an earlier sandbox: add --reset to remove it, or --dir for another"
            )
            .into());
        }
        std::fs::remove_dir_all(&options.directory)?;
    } else if taken {
        return Err(format!("{} is not empty: name another with --dir", options.directory.display()).into());
    }
    std::fs::create_dir_all(&options.directory)?;
    std::fs::write(marker, "made by ./sandbox; ./sandbox --reset removes this directory\n")?;
    options.directory = options.directory.canonicalize()?;
    Ok(Some(options))
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
