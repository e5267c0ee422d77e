//! The command line.

mod cosigners;
mod destinations;
mod money;
mod parse;
mod policy;
mod recovery;
mod reshare;

use std::path::PathBuf;

use approver::Payee;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use custody::Hash;
use custody::document::{Grant, Model, Tier, WalletState};
use custody::effects::{Branch, OutPoint, Sats};
use custody::name::Name;

use crate::amount;
use parse::{branch, grant, grouped_hash, hash, model, outpoint, tier, txid, wallet_state};

pub(crate) use cosigners::Cosigners;
pub(crate) use destinations::{DenyList, Destination};
pub(crate) use money::{
    Again, Balances, Deposit, Deposits, Request, Statement, Transfer, Withdraw, Withdrawal, Withdrawals,
};
pub(crate) use policy::Policy;
pub(crate) use recovery::{Recovery, RecoveryCommand, Which};
pub(crate) use reshare::Reshare;

/// Keyward: ask for payments, approve, freeze, look and verify.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For spreadsheets: lists only.
    Csv,
}

/// How long a command waits unless said otherwise, in seconds.
pub(crate) const DEFAULT_TIMEOUT_S: u64 = 30;

#[derive(Debug, ClapArgs)]
pub(crate) struct Global {
    /// Where the pinned genesis, the profile and the log are kept [default: ~/.keyward]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// What to print
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Address of the server, instead of the profile's; MACHINE@ before it names its machine [default: server]
    #[arg(long, global = true, value_name = "[MACHINE@]HOST:PORT")]
    pub(crate) server: Option<String>,
    /// Device key file, instead of the profile's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) device: Option<PathBuf>,
    /// Read the passphrase from this file descriptor instead of the terminal
    #[arg(long, global = true, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Ask nobody: use what is kept of the log
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// How long to wait until a statement is final, in seconds
    #[arg(long, global = true, value_name = "S", default_value_t = DEFAULT_TIMEOUT_S)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, look at and pin the genesis of a deployment
    #[command(subcommand)]
    Genesis(Genesis),
    /// Say where the server, the co-signers and the device key file are
    Profile(Profile),
    /// Make device keys, enrol people
    #[command(subcommand)]
    Person(Person),
    /// Propose the members of a group
    #[command(subcommand)]
    Group(Group),
    /// Make keys of machines, enrol them
    #[command(subcommand)]
    Machine(Machine),
    /// Propose any document, as JSON or TOML
    Propose {
        /// The document, with its field `type`
        file: PathBuf,
        /// Labels that it commits to, as JSON
        #[arg(long)]
        labels: Option<PathBuf>,
    },
    /// Write, check, explain and compare policies
    #[command(subcommand)]
    Policy(Policy),
    /// Propose and list clients
    #[command(subcommand)]
    Client(Client),
    /// Say what clients have
    Balances(Balances),
    /// List what came to a client and left, with the running balance
    Statement(Statement),
    /// List deposits
    Deposits(Deposits),
    /// Look at a deposit, release it
    #[command(subcommand)]
    Deposit(Deposit),
    /// Move coins between two clients of a wallet, in the books only
    Transfer(Transfer),
    /// Reserve a client's coins and ask to pay them out
    Withdraw(Withdraw),
    /// List withdrawals
    Withdrawals(Withdrawals),
    /// Look at a withdrawal, follow it, cancel it, sign a draft
    #[command(subcommand)]
    Withdrawal(Withdrawal),
    /// Sign requests for programs
    #[command(subcommand)]
    Request(Request),
    /// Compare the books with the network, now
    Reconcile {
        /// This wallet only
        #[arg(long)]
        wallet: Option<Name>,
    },
    /// Propose destinations, and try them
    #[command(subcommand)]
    Destination(Destination),
    /// Propose addresses that are not paid
    #[command(subcommand)]
    DenyList(DenyList),
    /// Propose wallets
    #[command(subcommand)]
    Wallet(Wallet),
    /// Propose the record of a key ceremony, pass its sealed shares on, verify its report
    #[command(subcommand)]
    Ceremony(Ceremony),
    /// Let co-signers join and leave, and see who votes
    #[command(subcommand)]
    Cosigners(Cosigners),
    /// Have shares dealt anew by their holders: refreshed, or given to other co-signers
    #[command(subcommand)]
    Reshare(Reshare),
    /// Keep the register of recovery components: health, seals, drills, due dates
    Recovery(Recovery),
    /// Get and verify addresses
    #[command(subcommand)]
    Address(Address),
    /// Print the output descriptors of a wallet
    Descriptor {
        /// The wallet
        wallet: Name,
    },
    /// Ask for a payment
    Pay(Pay),
    /// End a payment: at once if nothing is authorised and you asked for it, else others approve that
    Cancel(Cancel),
    /// Let the server propose a transaction that pays more for the same request
    Bump {
        /// The request, at least 8 digits of its id
        request: String,
        /// The new fee rate, in satoshi per virtual byte
        #[arg(long, value_name = "SAT_PER_VB")]
        rate: u64,
    },
    /// Propose other anchors for a request
    #[command(subcommand)]
    Anchors(Anchors),
    /// Show a request or proposal
    Show {
        /// Its id, at least 8 digits of it
        id: String,
    },
    /// Show a request or proposal, ask, and approve it
    Approve {
        /// Its id, at least 8 digits of it
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show a proposal, ask, and veto it
    Reject {
        /// Its id, at least 8 digits of it
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List requests
    Requests {
        /// Also those that ended, were paid or were renewed
        #[arg(long)]
        all: bool,
    },
    /// List proposals
    Proposals {
        /// Also those that are over
        #[arg(long)]
        all: bool,
    },
    /// Say how things are
    Status,
    /// Stop every payment, or those of a part, now
    Freeze {
        #[command(flatten)]
        part: Part,
        /// Also ask these co-signers directly, besides those of the profile
        #[arg(long = "cosigner", value_name = "NAME=HOST:PORT")]
        cosigners: Vec<String>,
        /// A drill: freeze for real, enter in the register how long each co-signer took, and lift it afterwards by
        /// keyward resume. Choose a part that may stand still until then
        #[arg(long)]
        drill: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Propose to lift freezes
    Resume {
        /// The freezes, at least 8 digits of each
        #[arg(required = true)]
        freezes: Vec<String>,
    },
    /// Take the own key out of use for ever, or propose to revoke somebody else's
    Revoke {
        /// The key of somebody else
        #[arg(long, value_name = "KEYID", value_parser = hash)]
        other: Option<Hash>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Challenge the co-signers and compare their heads with the server's
    Watch {
        /// Once, instead of every 15 minutes
        #[arg(long)]
        once: bool,
    },
    /// Export and verify the log
    #[command(subcommand)]
    Log(Log),
    /// Verify the clients' books
    #[command(subcommand)]
    Ledger(Ledger),
    /// Print a script that completes commands
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Genesis {
    /// Put a genesis together from the public files of people, machines and co-signers
    New {
        /// Numbers, groups and policy (TOML)
        #[arg(long, value_name = "FILE")]
        spec: PathBuf,
        /// The card of a co-signer; in the order of their turns
        #[arg(long = "cosigner", value_name = "FILE", required = true)]
        cosigners: Vec<PathBuf>,
        /// The public file of a person
        #[arg(long = "person", value_name = "FILE", required = true)]
        people: Vec<PathBuf>,
        /// The public file of a machine
        #[arg(long = "machine", value_name = "FILE")]
        machines: Vec<PathBuf>,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show a genesis and its hash
    Show {
        /// The file
        file: PathBuf,
    },
    /// Enter a genesis on this host
    Pin {
        /// The file
        file: PathBuf,
        /// Its hash, as the others read it out; asked for when left out
        #[arg(long, value_parser = grouped_hash)]
        hash: Option<Hash>,
        /// The labels that were written beside it
        #[arg(long, value_name = "FILE")]
        labels: Option<PathBuf>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Profile {
    /// Address of a co-signer, for freezes and watching
    #[arg(long = "cosigner", value_name = "NAME=HOST:PORT")]
    pub(crate) cosigners: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Person {
    /// Make a device key file, and its public part beside it (FILE.pub.json)
    New {
        /// Handle: 1 to 32 of a-z, 0-9 and '-'; it stands in the log
        #[arg(long)]
        id: Name,
        /// Name: only its salted hash stands in the log
        #[arg(long)]
        name: String,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Propose a person, new or with other keys
    Add {
        /// The public file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// Propose the members of a group
    Set {
        /// The group
        id: Name,
        /// All members
        #[arg(long, value_delimiter = ',', required = true)]
        members: Vec<Name>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Machine {
    /// Make a key file for a machine that runs this program, and its public part beside it
    New {
        /// Handle
        #[arg(long)]
        id: Name,
        /// What it may do
        #[arg(long = "grant", value_parser = grant, value_name = "authorise|allocate|request|freeze|observe")]
        grants: Vec<Grant>,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Propose a machine
    Add {
        /// The public file
        file: PathBuf,
    },
    /// Write a certificate of the device key file, with which HTTP clients call the REST interface
    Certificate {
        /// Where to write the certificate (PEM)
        #[arg(long, value_name = "FILE")]
        out_cert: PathBuf,
        /// Where to write the private key of TLS (PEM), without passphrase
        #[arg(long, value_name = "FILE")]
        out_key: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Client {
    /// Propose somebody whose coins are held
    Add {
        /// Handle
        #[arg(long)]
        id: Name,
        /// The real name: only its salted hash stands in the log
        #[arg(long)]
        name: String,
    },
    /// List clients
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Wallet {
    /// Propose a wallet on a dealt account
    Open {
        /// Handle
        #[arg(long)]
        id: Name,
        /// The ceremony that dealt it
        #[arg(long, value_parser = hash)]
        ceremony: Hash,
        /// Which of its accounts
        #[arg(long)]
        slot: u32,
        /// Custody model (DACS 2.2)
        #[arg(long, value_parser = model, value_name = "1|1P|2|2P|3")]
        model: Model,
        /// Tier: hot, or warm, whose key is in use only while a lease is open
        #[arg(long, value_parser = tier, default_value = "hot")]
        tier: Tier,
    },
    /// Propose that a wallet is active, suspended, retired, or its key compromised
    Set {
        /// The wallet
        id: Name,
        /// active, suspended, retired or compromised
        #[arg(value_parser = wallet_state)]
        state: Option<WalletState>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ceremony {
    /// Propose the record of a ceremony
    Submit {
        /// The record
        record: PathBuf,
        /// Also pass the sealed shares in this directory on, once the record is in force
        #[arg(long, value_name = "DIR")]
        shares: Option<PathBuf>,
    },
    /// Pass the sealed shares of a ceremony in force on to their holders
    Shares {
        /// The record
        record: PathBuf,
        /// Where the sealed shares are
        #[arg(long, value_name = "DIR")]
        shares: PathBuf,
    },
    /// Verify the report of a ceremony, from the files alone
    Verify {
        /// The report
        report: PathBuf,
        /// The record of the same ceremony
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        /// The genesis of the deployment that it must be of
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        /// The hash of the script that it must be of
        #[arg(long, value_parser = grouped_hash, value_name = "HASH")]
        script: Option<Hash>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Address {
    /// Allocate the next addresses of a wallet
    New {
        /// The wallet
        #[arg(long)]
        wallet: Name,
        /// Whose they will be
        #[arg(long)]
        client: Name,
        /// The chain
        #[arg(long, value_parser = branch, default_value = "receive", value_name = "receive|change")]
        branch: Branch,
        /// How many
        #[arg(long, default_value_t = 1)]
        count: u32,
    },
    /// Show the address at which a pooled wallet gathers its coins: propose it as a destination of kind own
    House {
        /// The wallet
        #[arg(long)]
        wallet: Name,
    },
    /// Verify offline that an address belongs to a client
    Verify {
        /// The address
        address: String,
        /// The wallet
        #[arg(long)]
        wallet: Name,
        /// Whose it should be
        #[arg(long)]
        client: Name,
        /// Its index
        #[arg(long)]
        index: u32,
        /// The chain
        #[arg(long, value_parser = branch, default_value = "receive", value_name = "receive|change")]
        branch: Branch,
        /// Use this export instead of the kept log
        #[arg(long, value_name = "DIR", requires = "keys")]
        export: Option<PathBuf>,
        /// The keys of the log
        #[arg(long, value_name = "FILE", requires = "export")]
        keys: Option<PathBuf>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Pay {
    /// The wallet that pays
    #[arg(long)]
    pub(crate) wallet: Name,
    /// Whose coins move: needed where each address belongs to one client (model 3)
    #[arg(long)]
    pub(crate) client: Option<Name>,
    /// Whom and how much, for example acme=0.5btc, or address:bc1q…=0.5btc where the policy pays addresses that are
    /// not in the address book; may be repeated
    #[arg(long = "to", value_name = "DESTINATION=AMOUNT", value_parser = amount::output, required = true)]
    pub(crate) to: Vec<(Payee, Sats)>,
    #[command(flatten)]
    pub(crate) terms: Terms,
    /// The request that this one renews, at least 8 digits of its id
    #[arg(long, value_name = "ID")]
    pub(crate) renews: Option<String>,
    /// A note: only its salted hash stands in the log
    #[arg(long)]
    pub(crate) note: Option<String>,
}

/// What a freeze covers; everything when none is given.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct Part {
    /// Only payments in this asset
    #[arg(long, value_name = "CAIP19")]
    pub(crate) asset: Option<String>,
    /// Only payments from this wallet
    #[arg(long)]
    pub(crate) wallet: Option<Name>,
    /// Only payments that name this client
    #[arg(long)]
    pub(crate) client: Option<Name>,
    /// Only payments on this network
    #[arg(long, value_name = "CAIP2")]
    pub(crate) network: Option<String>,
    /// Only what this person asks for and approves
    #[arg(long)]
    pub(crate) person: Option<Name>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Cancel {
    /// The request, at least 8 digits of its id
    pub(crate) request: String,
    #[command(flatten)]
    pub(crate) terms: Terms,
    /// Leave despite this freeze, at least 8 digits of its id; then the quorum of Resume approves
    #[arg(long, value_name = "FREEZE")]
    pub(crate) despite: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Anchors {
    /// Propose that a request is paid from other outputs, for its own were spent by something else
    Propose {
        /// The request, at least 8 digits of its id
        request: String,
        /// The outputs that every later transaction of it spends, all of them; of its wallet, confirmed
        #[arg(long, value_name = "TXID:N", value_parser = outpoint, value_delimiter = ',', required = true)]
        new: Vec<OutPoint>,
        /// A confirmed transaction that spent what an authorised one needs; searched for when left out
        #[arg(long = "conflict", value_name = "TXID", value_parser = txid)]
        conflicts: Vec<Hash>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Terms {
    /// Highest fee
    #[arg(long, value_name = "AMOUNT", value_parser = amount::sats)]
    pub(crate) fee_max: Sats,
    /// Highest fee in millionths of the amount
    #[arg(long, value_name = "PPM", default_value_t = DEFAULT_FEE_MAX_PPM)]
    pub(crate) fee_max_ppm: u64,
    /// How long it may be paid from now on
    #[arg(long, value_name = "TIME", value_parser = amount::seconds, default_value = "24h")]
    pub(crate) end: u64,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Highest fee unless said otherwise, in millionths of the amount: one tenth.
pub(crate) const DEFAULT_FEE_MAX_PPM: u64 = 100_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Write the log into a directory, as tiles (C2SP tlog-tiles)
    Export {
        /// The directory
        dir: PathBuf,
        /// Also write the keys file here
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
    /// Print the keys under which the log is verified
    Keys,
    /// Verify an exported log, with nothing but public keys
    Verify {
        /// The directory
        export: PathBuf,
        /// The keys file
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
        /// An older checkpoint that the log must go on from
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Recompute the clients' books, and compare them with what the server anchored in the log
    Verify {
        /// The database: sqlite:/path/books.db or postgres://user@host/name
        #[arg(long, value_name = "URL")]
        books: String,
        /// A copy of the server's observations.jsonl, to name the first batch that differs
        #[arg(long, value_name = "FILE")]
        observations: Option<PathBuf>,
    },
}
