//! The part of the command line that is about clients' money.

use std::path::PathBuf;

use approver::Payee;
use clap::{Args as ClapArgs, Subcommand};
use custody::effects::Sats;
use custody::name::Name;

use super::{Client, Command, Terms};
use crate::amount;

impl Command {
    /// Whether it prints a list, which a spreadsheet can read.
    pub(crate) fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Client(Client::List)
                | Self::Balances(_)
                | Self::Statement(_)
                | Self::Deposits(_)
                | Self::Withdrawals(_)
                | Self::Reconcile { .. }
        )
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Balances {
    /// Of this client only
    #[arg(long)]
    pub(crate) client: Option<Name>,
    /// In this wallet only
    #[arg(long)]
    pub(crate) wallet: Option<Name>,
    /// At the end of this second instead of now
    #[arg(long, value_name = "RFC3339", value_parser = amount::instant)]
    pub(crate) as_of: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Statement {
    /// Whose
    #[arg(long)]
    pub(crate) client: Name,
    /// In this wallet only
    #[arg(long)]
    pub(crate) wallet: Option<Name>,
    /// Of this asset only
    #[arg(long, value_name = "CAIP19")]
    pub(crate) asset: Option<String>,
    /// From this second on
    #[arg(long, value_name = "RFC3339", value_parser = amount::instant)]
    pub(crate) from: Option<u64>,
    /// Up to the end of this second
    #[arg(long, value_name = "RFC3339", value_parser = amount::instant)]
    pub(crate) to: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Deposits {
    /// Of this client only
    #[arg(long)]
    pub(crate) client: Option<Name>,
    /// In this state only, for example held
    #[arg(long, value_name = "STATE")]
    pub(crate) status: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deposit {
    /// Show a deposit
    Show {
        /// Its id: the output, TXID:N
        id: String,
    },
    /// Release a held deposit to its client, as a second person
    Release {
        /// Its id: the output, TXID:N
        id: String,
        #[command(flatten)]
        again: Again,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// How a command that changes something is repeated safely.
#[derive(Debug, ClapArgs)]
pub(crate) struct Again {
    /// Repeats what was sent under this key before, if that is not known to have arrived
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Transfer {
    /// The wallet that holds the coins of both
    #[arg(long)]
    pub(crate) wallet: Name,
    /// The client that gives
    #[arg(long)]
    pub(crate) from: Name,
    /// The client that receives
    #[arg(long)]
    pub(crate) to: Name,
    /// How much
    #[arg(long, value_name = "AMOUNT", value_parser = amount::sats)]
    pub(crate) amount: Sats,
    /// What the client that gives calls it; no two of its transfers have the same
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<String>,
    #[command(flatten)]
    pub(crate) again: Again,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Withdraw {
    /// Whose coins move; left out where they are the house's own
    #[arg(long)]
    pub(crate) client: Option<Name>,
    /// The wallet that pays
    #[arg(long)]
    pub(crate) wallet: Name,
    /// Whom and how much, for example acme=0.5btc, or address:bc1q…=0.5btc where the policy pays addresses that are
    /// not in the address book; may be repeated
    #[arg(long = "to", value_name = "DESTINATION=AMOUNT", value_parser = amount::output, required = true)]
    pub(crate) to: Vec<(Payee, Sats)>,
    #[command(flatten)]
    pub(crate) terms: Terms,
    /// What the client calls it; no two withdrawals have the same
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<String>,
    /// A note: only its salted hash stands in the log
    #[arg(long)]
    pub(crate) note: Option<String>,
    #[command(flatten)]
    pub(crate) again: Again,
    /// Sign nothing, reserve nothing: say what would become of it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Withdrawals {
    /// Of this client only
    #[arg(long)]
    pub(crate) client: Option<Name>,
    /// In this state only, for example awaiting-approval
    #[arg(long, value_name = "STATE")]
    pub(crate) status: Option<String>,
    /// With this id of the client's
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Withdrawal {
    /// Show a withdrawal and what happened to it
    Show {
        /// Its id, at least 8 digits of it
        id: String,
    },
    /// Print what happens to a withdrawal, as it happens, until it ends
    Follow {
        /// Its id, at least 8 digits of it
        id: String,
        /// Until it has been in this state, for example broadcast
        #[arg(long, value_name = "STATE", default_value = "settled")]
        until: String,
    },
    /// End a withdrawal: at once if nothing is authorised and you asked for it, else others approve that
    Cancel {
        /// Its id, at least 8 digits of it, or the id of a draft
        id: String,
        /// Highest fee, should the cancel need a transaction [default: as the request's]
        #[arg(long, value_name = "AMOUNT", value_parser = amount::sats)]
        fee_max: Option<Sats>,
        /// How long the cancel may be carried out from now on
        #[arg(long, value_name = "TIME", value_parser = amount::seconds, default_value = "24h")]
        end: u64,
        #[command(flatten)]
        again: Again,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show, ask and sign a withdrawal that was drafted through the interface
    Sign {
        /// The id of the draft
        draft: String,
        #[command(flatten)]
        again: Again,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    /// Sign a request for a payment and print it; nothing is sent
    Sign {
        /// What to ask for, as JSON; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
