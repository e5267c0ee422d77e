//! The words of `keyward cosigners`.

use std::path::PathBuf;

use clap::Subcommand;
use custody::name::Name;

#[derive(Debug, Subcommand)]
pub(crate) enum Cosigners {
    /// Propose that co-signers join, leave, or take their turns in another order
    Propose {
        /// The card of one that joins, as keyward-signer init wrote it
        #[arg(long, value_name = "CARD")]
        join: Vec<PathBuf>,
        /// One that leaves
        #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
        leave: Vec<Name>,
        /// All of them in the order of their turns; as now, with those who join at the end, unless named
        #[arg(long, value_delimiter = ',', value_name = "NAME,…", conflicts_with = "leave")]
        order: Vec<Name>,
    },
    /// Who votes, since when, how many decide, and who holds shares
    Status,
}
