//! The part of the command line that is about policies.

use std::path::PathBuf;

use clap::Subcommand;

use crate::amount;

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Check a policy file as it would be checked when it is proposed; asks nobody
    Check {
        /// The policy file (TOML)
        file: PathBuf,
        /// Against the groups and numbers of this genesis, instead of those in the file
        #[arg(long, value_name = "FILE", conflicts_with = "against_log")]
        genesis: Option<PathBuf>,
        /// Against what is in force by the kept log, instead of what stands in the file
        #[arg(long)]
        against_log: bool,
    },
    /// Print a policy as TOML, with --output json as the document
    Show {
        /// A policy file (TOML) or a document (JSON)
        #[arg(required_unless_present = "in_force", conflicts_with = "in_force")]
        file: Option<PathBuf>,
        /// The policy in force
        #[arg(long)]
        in_force: bool,
    },
    /// Print the JSON Schema of the document
    Schema,
    /// Propose a policy
    Propose {
        /// The policy file (TOML)
        file: PathBuf,
    },
    /// Say why a request waits: which rules cover it, what is missing, who can still approve, and when it
    /// could be signed
    Explain {
        /// Its id, at least 8 digits of it
        id: String,
    },
    /// List the past requests that a draft would have decided otherwise
    Replay {
        /// How far back
        #[arg(long, value_name = "TIME", value_parser = amount::seconds, default_value = "90d")]
        since: u64,
        /// The draft
        file: PathBuf,
    },
    /// Say what a draft allows that the policy in force does not, and the reverse
    Diff {
        /// The draft
        file: PathBuf,
    },
}
