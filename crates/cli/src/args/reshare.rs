//! The words of `keyward reshare`.

use clap::Subcommand;
use custody::Hash;
use custody::name::Name;

use super::parse::hash;

#[derive(Debug, Subcommand)]
pub(crate) enum Reshare {
    /// Propose that the holders of a ceremony's accounts deal their shares anew
    Propose {
        /// The ceremony; not needed where there is one
        #[arg(long, value_parser = hash, value_name = "HASH", conflicts_with = "wallet")]
        ceremony: Option<Hash>,
        /// A wallet on one of its accounts
        #[arg(long)]
        wallet: Option<Name>,
        /// Who holds shares afterwards; the same as now unless named
        #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
        holders: Vec<Name>,
        /// Who deals, as many as sign: co-signers that are up; the first that stay unless named
        #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
        dealers: Vec<Name>,
    },
    /// Who holds which shares, how far a resharing is, and who has yet to erase what it had before
    Status,
}
