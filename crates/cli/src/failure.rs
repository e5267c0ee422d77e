//! Why a command did not do what it was asked, in what a person and a script need: what is wrong, what
//! to do next, and an exit code by class.

use std::fmt;
use std::path::Path;

use approver::{ActError, ReplicaError, harmless};
use wire::{Fault, WireError};

/// Exit codes. They are part of the interface: `docs/cli.md` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// A file or the system failed.
    System,
    /// Used wrongly. The same code as for flags that do not exist.
    Usage,
    /// A rule of the deployment refused it.
    Refused,
    /// Nobody answers.
    Unreachable,
    /// Something was shown that is not true: wrong data, a fork, a rollback, a failed verification.
    Unverified,
    /// It was not over in time; it may still happen.
    TimedOut,
    /// It was done, and something needs a person's attention.
    Attention,
    /// The books and the network differ.
    Break,
}

impl Class {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::System => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Unverified => 5,
            Self::TimedOut => 6,
            Self::Attention => 7,
            Self::Break => 8,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    what: String,
    next: String,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(class: Class, what: impl fmt::Display, next: impl Into<String>) -> Self {
        Self { class, what: what.to_string(), next: next.into() }
    }

    pub(crate) fn usage(what: impl fmt::Display, next: impl Into<String>) -> Self {
        Self::new(Class::Usage, what, next)
    }

    /// One more thing to do next.
    pub(crate) fn and(mut self, next: impl fmt::Display) -> Self {
        self.next.push_str(&format!("; {next}"));
        self
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &Path, error: impl fmt::Display) -> Self {
        let what = format!("{}: {error}", path.display());
        Self::new(Class::System, what, "check the path and who may read and write there")
    }

    /// A file that can be read but is not what it should be.
    pub(crate) fn content(path: &Path, error: impl fmt::Display) -> Self {
        let what = format!("{}: {error}", path.display());
        Self::usage(what, "give the file that the command asks for (keyward COMMAND --help)")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Words of others come this way too: a server's must not reach the terminal as they are.
        let what: Vec<String> = self.what.lines().map(harmless).collect();
        write!(f, "error: {}\n  next: {}", what.join("\n  "), self.next)
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        match error.fault() {
            Fault::Network => Self::new(
                Class::Unreachable,
                &error,
                "check the address (keyward profile) and that the process runs, then try again",
            ),
            Fault::Peer => Self::new(
                Class::Unverified,
                &error,
                "whoever answers there is not who genesis names, or speaks another version",
            ),
            Fault::Local => Self::new(Class::System, &error, "look at what is said above"),
        }
    }
}

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Self {
        Self::new(
            Class::Unverified,
            &error,
            "sign nothing; compare heads with the others (keyward watch --once, keyward status)",
        )
    }
}

impl From<ActError> for Failure {
    fn from(error: ActError) -> Self {
        match &error {
            ActError::Refused(refusal) => refused(refusal.rule.id(), &refusal.why),
            ActError::Unknown(_) => {
                Self::usage(&error, "keyward status, requests and proposals list what there is")
            }
            ActError::Purpose(_) => {
                Self::new(Class::System, &error, "report this: it is a mistake in the program")
            }
        }
    }
}

impl From<custody::rule::Refusal> for Failure {
    fn from(refusal: custody::rule::Refusal) -> Self {
        refused(refusal.rule.id(), &refusal.why)
    }
}

/// Refused by a rule.
pub(crate) fn refused(rule: &str, why: &str) -> Failure {
    Failure::new(
        Class::Refused,
        format!("refused by rule {rule}: {why}"),
        "change what the rule asks for; keyward show ID says what is missing",
    )
}
