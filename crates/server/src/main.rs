//! `keyward-server`: the post office of a Keyward deployment, and the flow of its payments.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use custody::canon;
use custody::document::Grant;
use custody::genesis::Genesis;
use custody::name::Name;
use server::machine::{self, Keys, SERVER_GRANTS};
use server::run::{Server, Setup};

const HELP: &str = "\
keyward-server: the server of a Keyward deployment; trusted with no decision

  keyward-server init --dir DIR --id NAME [--grants WORD,…] [--out FILE]
      makes its keys in DIR and writes the public machine document, for genesis or `keyward machine add`.
      It may authorise,allocate unless said otherwise; add observe from rule set 2 on. A machine for
      --alarm-dir is made with --grants freeze

  keyward-server certificate --dir DIR [--host NAME-OR-IP …]
      prints its certificate for HTTPS, which clients take as their only root (curl --cacert). It is valid for
      localhost and for the hosts that were last named; after naming others, restart the server

  keyward-server run --dir DIR --genesis FILE --genesis-hash HEX --listen ADDRESS:PORT
                     --cosigner NAME=HOST:PORT … --node HOST:PORT --node-cookie FILE [--ready-file FILE]
                     [--books sqlite:FILE|postgres://…|none] [--screening FILE] [--alarm-dir DIR]
                     [--deposit-rules FILE] [--rescan HEIGHT:BLOCK] [--api ADDRESS:PORT] [--api-ready-file FILE]
                     [--consolidator-dir DIR]
      runs it; it ends with the signal that ends any process, and goes on from its disk.
      The clients' books are in DIR/books.db unless said otherwise. --api serves the REST interface to machines
      with client certificates. --alarm-dir has the keys of a machine that may freeze, and nothing else.
      --screening names a file of deposits to hold: a transaction or address and a reason on each line;
      --deposit-rules one of the confirmations that deposits need (docs/deposits.md). --rescan looks at the
      chain again from a block that an operator vouches for. --consolidator-dir has the keys of a machine that may
      request, and consolidation.json: when it asks that small coins are gathered (docs/withdrawals.md)";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyward-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The options of a command, each `--name value`; only some may come more than once.
struct Options(Vec<(String, String)>);

/// The options that may come more than once.
const REPEATED: [&str; 2] = ["cosigner", "host"];

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options: Vec<(String, String)> = Vec::new();
        while let Some(name) = arguments.next() {
            let name = name.strip_prefix("--").ok_or_else(|| format!("unexpected {name:?}; see --help"))?;
            let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
            if !REPEATED.contains(&name) && options.iter().any(|(other, _)| other == name) {
                return Err(format!("--{name} is given twice").into());
            }
            options.push((name.to_owned(), value));
        }
        Ok(Self(options))
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(place).1)
    }

    fn need(&mut self, name: &str) -> Result<String, Failure> {
        Ok(self.optional(name).ok_or_else(|| format!("--{name} is missing; see --help"))?)
    }

    fn finish(&self) -> Result<(), Failure> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("--{name} is not an option here; see --help").into()),
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match command.as_str() {
        "init" | "certificate" | "run" if rest.iter().any(|a| a == "--help") => println!("{HELP}"),
        "init" => init(Options::parse(rest.into_iter())?)?,
        "certificate" => certificate(Options::parse(rest.into_iter())?)?,
        "run" => serve(Options::parse(rest.into_iter())?)?,
        "--help" | "help" | "" => println!("{HELP}"),
        "--version" => println!("keyward-server {}", env!("CARGO_PKG_VERSION")),
        other => return Err(format!("there is no command {other:?}; see --help").into()),
    }
    Ok(())
}

fn init(mut options: Options) -> Result<(), Failure> {
    let directory = PathBuf::from(options.need("dir")?);
    let id: Name = options.need("id")?.parse()?;
    let grants =
        options.optional("grants").map_or_else(|| Ok(SERVER_GRANTS.to_vec()), |text| grants(&text))?;
    let out = options.optional("out");
    options.finish()?;
    let machine = canon::encode(&Keys::create(&directory, &id, &grants)?.machine())?;
    match out {
        Some(file) => std::fs::write(&file, machine).map_err(|e| format!("{file}: {e}"))?,
        None => println!("{}", String::from_utf8_lossy(&machine)),
    }
    Ok(())
}

fn grants(text: &str) -> Result<Vec<Grant>, Failure> {
    let word = |word: &str| {
        let known = "authorise, allocate, request, freeze, observe";
        serde_json::from_value(word.into())
            .map_err(|_| format!("--grants: {word:?} is none of {known}").into())
    };
    text.split(',').map(word).collect()
}

fn certificate(mut options: Options) -> Result<(), Failure> {
    let directory = PathBuf::from(options.need("dir")?);
    let hosts: Vec<String> = std::iter::from_fn(|| options.optional("host")).collect();
    options.finish()?;
    let keys = Keys::open(&directory)?;
    let certificate = if hosts.is_empty() {
        keys.certificate(&machine::hosts(&directory)?)?
    } else {
        let made = keys.certificate(&hosts)?;
        machine::keep_hosts(&directory, &hosts)?;
        made
    };
    print!("{}", certificate.pem);
    Ok(())
}

fn serve(mut options: Options) -> Result<(), Failure> {
    let directory = PathBuf::from(options.need("dir")?);
    let genesis_file = options.need("genesis")?;
    let genesis = std::fs::read(&genesis_file).map_err(|e| format!("{genesis_file}: {e}"))?;
    let genesis = Genesis::parse(&genesis)?;
    let expected = options.need("genesis-hash")?;
    if genesis.hash().to_string() != expected {
        return Err(format!("the genesis file has hash {}, and not {expected}", genesis.hash()).into());
    }
    let listen = options.need("listen")?.parse().map_err(|_| "--listen takes ADDRESS:PORT")?;
    let mut cosigners = Vec::new();
    while let Some(text) = options.optional("cosigner") {
        let (name, address) = text.split_once('=').ok_or("--cosigner takes NAME=HOST:PORT")?;
        let name: Name = name.parse()?;
        if cosigners.iter().any(|(other, _)| *other == name) {
            return Err(format!("co-signer {name} is given twice").into());
        }
        cosigners.push((name, address.to_owned()));
    }
    let node = options.need("node")?;
    let node = node.to_socket_addrs().map_err(|e| format!("--node {node}: {e}"))?.next();
    let node = node.ok_or("--node takes HOST:PORT")?;
    let node_cookie = PathBuf::from(options.need("node-cookie")?);
    let books = match options.optional("books") {
        Some(none) if none == "none" => None,
        Some(address) => Some(address),
        None => Some(format!("sqlite:{}", directory.join("books.db").display())),
    };
    let api = options.optional("api").map(|text| text.parse()).transpose();
    let api = api.map_err(|_| "--api takes ADDRESS:PORT")?;
    let alarm = options.optional("alarm-dir").map(PathBuf::from);
    let consolidator = options.optional("consolidator-dir").map(PathBuf::from);
    let screening = options.optional("screening").map(PathBuf::from);
    let deposit_rules = options.optional("deposit-rules").map(PathBuf::from);
    let rescan = options.optional("rescan").map(|text| block(&text)).transpose()?;
    let (ready_file, api_ready_file) = (options.optional("ready-file"), options.optional("api-ready-file"));
    options.finish()?;
    let of_books = [
        ("api", api.is_some()),
        ("alarm-dir", alarm.is_some()),
        ("consolidator-dir", consolidator.is_some()),
        ("screening", screening.is_some()),
        ("deposit-rules", deposit_rules.is_some()),
        ("rescan", rescan.is_some()),
    ];
    if let (None, Some((name, _))) = (&books, of_books.iter().find(|(_, given)| *given)) {
        let why = "does nothing without books: leave it out, or name books in place of --books none";
        return Err(format!("--{name} {why}").into());
    }
    let setup = Setup {
        directory,
        genesis,
        listen,
        cosigners,
        node,
        node_cookie,
        books,
        api,
        alarm,
        consolidator,
        screening,
        deposit_rules,
        rescan,
    };
    let server = Server::open(setup)?;
    let address = server.local_addr();
    println!("listening on {address}");
    if let Some(address) = server.api_addr() {
        println!("serving https://{address}/v1");
    }
    let tell = |file: Option<String>, text: String| match file {
        Some(file) => write_whole(Path::new(&file), &text).map_err(|e| format!("{file}: {e}")),
        None => Ok(()),
    };
    tell(api_ready_file, server.api_addr().map(|address| address.to_string()).unwrap_or_default())?;
    tell(ready_file, address.to_string())?;
    Ok(server.serve()?)
}

/// A block as `HEIGHT:HASH`, the hash as people write it.
fn block(text: &str) -> Result<(u32, custody::Hash), Failure> {
    let parsed = || {
        let (height, hash) = text.split_once(':')?;
        let mut hash = custody::Hash::from_hex(hash)?;
        hash.0.reverse();
        Some((height.parse().ok()?, hash))
    };
    Ok(parsed().ok_or("--rescan takes HEIGHT:BLOCK, as a node names the block")?)
}

/// Writes a file so that whoever sees it sees all of it.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}
