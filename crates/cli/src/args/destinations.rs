//! Whom to pay, and whom not.

use std::path::PathBuf;

use clap::Subcommand;
use custody::document::DestinationKind;
use custody::effects::Sats;
use custody::name::Name;

use super::Terms;
use super::money::Again;
use super::parse::whose;
use crate::amount;

#[derive(Debug, Subcommand)]
pub(crate) enum Destination {
    /// Propose an address that may be paid
    Add {
        /// Handle
        #[arg(long)]
        id: Name,
        /// The address
        #[arg(long)]
        address: String,
        /// Whose it is
        #[arg(long, value_parser = whose, value_name = "own|client|counterparty")]
        of: DestinationKind,
        /// What people call it: only its salted hash stands in the log
        #[arg(long)]
        label: String,
    },
    /// Ask for a small payment to it, to see that it arrives
    Test {
        /// Handle
        id: Name,
        /// The wallet that pays
        #[arg(long)]
        wallet: Name,
        /// Whose coins move; left out where they are the house's own
        #[arg(long)]
        client: Option<Name>,
        /// How much
        #[arg(long, value_name = "AMOUNT", value_parser = amount::sats, default_value = TEST_AMOUNT)]
        amount: Sats,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        again: Again,
    },
}

/// What is paid to try a destination: well above dust, and little to lose.
const TEST_AMOUNT: &str = "10000sat";

#[derive(Debug, Subcommand)]
pub(crate) enum DenyList {
    /// Propose the addresses of a file, one a line, in place of those that are in force under this name
    Import {
        /// Handle of the list; what does not fit goes into ID-part-2 and so on
        id: Name,
        /// The file: of each line the first word that is an address, remarks after #
        file: PathBuf,
        /// Leave out lines without an address of this network
        #[arg(long)]
        skip_others: bool,
        /// Take off the list what the file does not have
        #[arg(long)]
        remove: bool,
    },
}
