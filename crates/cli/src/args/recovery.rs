//! `keyward recovery`: the register of recovery components.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use custody::Hash;
use evidence::register::{ComponentId, Document, Medium};

use super::parse::grouped_hash;

#[derive(Debug, ClapArgs)]
pub(crate) struct Recovery {
    /// The register [default: recovery.jsonl in the home]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) register: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: RecoveryCommand,
}

/// A component of a set.
#[derive(Debug, ClapArgs)]
pub(crate) struct Which {
    /// The component, such as 1.2: the second of the first group
    pub(crate) component: ComponentId,
    /// Its set, by the hash of the report that made it; may be left out while one set is in use
    #[arg(long, value_parser = grouped_hash, value_name = "HASH")]
    pub(crate) set: Option<Hash>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecoveryCommand {
    /// Enter what the report of a ceremony says: new components, or a drill with its seals
    Register {
        /// The report, with its signatures
        report: PathBuf,
        /// The identifier of the new set, as it stands on every sheet
        #[arg(long, value_name = "N")]
        identifier: Option<u16>,
        /// The set whose place the new one takes, by the hash of its report
        #[arg(long, value_parser = grouped_hash, value_name = "HASH")]
        replaces: Option<Hash>,
    },
    /// Ask a holder to prove a component
    Challenge {
        #[command(flatten)]
        which: Which,
        /// From which medium
        #[arg(long, value_enum)]
        medium: MediumWord,
        /// Where to write the challenge, which is carried to the holder
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Enter the answer of a holder
    Answer {
        /// The answer
        file: PathBuf,
    },
    /// Enter that a component is not whole, or not there
    Failed {
        #[command(flatten)]
        which: Which,
        /// On which medium
        #[arg(long, value_enum)]
        medium: MediumWord,
        /// What is wrong
        #[arg(long)]
        reason: String,
    },
    /// Enter that a seal was opened and replaced
    Seal {
        #[command(flatten)]
        which: Which,
        /// The number of the seal that was found
        #[arg(long, value_name = "SEAL")]
        found: String,
        /// The number of the new seal
        #[arg(long, value_name = "SEAL")]
        replaced: String,
        /// Why it was opened
        #[arg(long)]
        reason: String,
    },
    /// Enter that a document was reviewed
    Review {
        /// Which
        #[arg(value_enum)]
        document: DocumentWord,
        /// The version that was reviewed: its hash is entered
        file: PathBuf,
    },
    /// Send the entries that the server does not have, for everybody
    Publish,
    /// Take the entries that others published
    Fetch,
    /// Say what is due, overdue and failed
    Status,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum MediumWord {
    /// The printed sheet
    Paper,
    /// The encrypted file
    File,
}

impl From<MediumWord> for Medium {
    fn from(word: MediumWord) -> Self {
        match word {
            MediumWord::Paper => Self::Paper,
            MediumWord::File => Self::File,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DocumentWord {
    /// How secrets are recovered
    RecoveryRunbook,
    /// The disaster recovery and continuity plan
    ContinuityPlan,
}

impl From<DocumentWord> for Document {
    fn from(word: DocumentWord) -> Self {
        match word {
            DocumentWord::RecoveryRunbook => Self::RecoveryRunbook,
            DocumentWord::ContinuityPlan => Self::ContinuityPlan,
        }
    }
}
