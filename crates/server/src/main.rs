//! `keyward-server`: the post office of a Keyward deployment, and the flow of its payments.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use custody::canon;
use custody::genesis::Genesis;
use custody::name::Name;
use server::machine::Keys;
use server::run::{Server, Setup};

const HELP: &str = "\
keyward-server: the server of a Keyward deployment; trusted with no decision

  keyward-server init --dir DIR --id NAME [--out FILE]
      makes its keys in DIR and writes the public machine document, for genesis

  keyward-server run --dir DIR --genesis FILE --genesis-hash HEX --listen ADDRESS:PORT
                     --cosigner NAME=HOST:PORT … --node HOST:PORT --node-cookie FILE [--ready-file FILE]
      runs it; it ends with the signal that ends any process, and goes on from its disk";

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

/// The options of a command, each `--name value`; only `--cosigner` may come more than once.
struct Options(Vec<(String, String)>);

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options: Vec<(String, String)> = Vec::new();
        while let Some(name) = arguments.next() {
            let name = name.strip_prefix("--").ok_or_else(|| format!("unexpected {name:?}; see --help"))?;
            let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
            if name != "cosigner" && options.iter().any(|(other, _)| other == name) {
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
        "init" | "run" if rest.iter().any(|a| a == "--help") => println!("{HELP}"),
        "init" => init(Options::parse(rest.into_iter())?)?,
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
    let out = options.optional("out");
    options.finish()?;
    let machine = canon::encode(&Keys::create(&directory, &id)?.machine())?;
    match out {
        Some(file) => std::fs::write(&file, machine).map_err(|e| format!("{file}: {e}"))?,
        None => println!("{}", String::from_utf8_lossy(&machine)),
    }
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
        if !genesis.cosigners.iter().any(|card| card.name == name) {
            return Err(format!("genesis has no co-signer {name}").into());
        }
        if cosigners.iter().any(|(other, _)| *other == name) {
            return Err(format!("co-signer {name} is given twice").into());
        }
        cosigners.push((name, address.to_owned()));
    }
    let node = options.need("node")?;
    let node = node.to_socket_addrs().map_err(|e| format!("--node {node}: {e}"))?.next();
    let node = node.ok_or("--node takes HOST:PORT")?;
    let node_cookie = PathBuf::from(options.need("node-cookie")?);
    let ready_file = options.optional("ready-file");
    options.finish()?;
    let server = Server::open(Setup { directory, genesis, listen, cosigners, node, node_cookie })?;
    let address = server.local_addr();
    println!("listening on {address}");
    if let Some(file) = ready_file {
        write_whole(Path::new(&file), &address.to_string()).map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(server.serve()?)
}

/// Writes a file so that whoever sees it sees all of it.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}
