//! `keyward-signer`: one co-signer, with a share or as a witness.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use custody::document::CosignerCard;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::{Blob, Hash, canon};
use keys::cosigner::CosignerSecrets;
use keys::locked::{LockedBytes, harden_process};
use keys::vault::{Vault, VaultContext, VaultKind};
use rand_core::OsRng;
use signer::cosigner::Cosigner;
use signer::journal::write_file_atomic;
use signer::process::{Process, Store};
use wire::TlsKey;

const HELP: &str = "\
keyward-signer: a co-signer of a Keyward deployment

  keyward-signer init --dir DIR --name NAME --secret-fd N --card FILE [--witness]
      makes the keys of a new co-signer and writes its public card, for genesis

  keyward-signer run --dir DIR --genesis FILE --genesis-hash HEX --listen ADDRESS --secret-fd N
                     [--restored] [--ready-file FILE]
      runs it; --restored says that DIR may be an older copy

The secret that unlocks DIR is read from the file descriptor N to its end: 16 bytes or more, best 32
random ones. It is never stored; without it a copy of DIR opens nothing.";

/// Longest unlock secret that is read, in bytes.
const SECRET_LIMIT_BYTES: usize = 4_096;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyward-signer: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

/// The options of a command: each `--name` with its value, flags with an empty one.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = BTreeMap::new();
        let mut arguments = arguments.peekable();
        while let Some(name) = arguments.next() {
            let name =
                name.strip_prefix("--").ok_or_else(|| format!("unexpected {name:?}; see --help"))?.to_owned();
            let flag = matches!(name.as_str(), "witness" | "restored");
            let value = if flag { Some(String::new()) } else { arguments.next() };
            let value = value.ok_or_else(|| format!("--{name} needs a value"))?;
            if options.insert(name.clone(), value).is_some() {
                return Err(format!("--{name} is given twice").into());
            }
        }
        Ok(Self(options))
    }

    fn flag(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn need(&mut self, name: &str) -> Result<String, Failure> {
        Ok(self.optional(name).ok_or_else(|| format!("--{name} is missing; see --help"))?)
    }

    fn finish(self) -> Result<(), Failure> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("--{name} is not an option here; see --help").into()),
        }
    }
}

fn run() -> Result<(), Failure> {
    harden_process()?;
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let mut options = match command.as_str() {
        "init" | "run" => {
            let rest: Vec<String> = arguments.collect();
            if rest.iter().any(|a| a == "--help") {
                println!("{HELP}");
                return Ok(());
            }
            Options::parse(rest.into_iter())?
        }
        "--help" | "help" | "" => {
            println!("{HELP}");
            return Ok(());
        }
        "--version" => {
            println!("keyward-signer {}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        other => return Err(format!("there is no command {other:?}; see --help").into()),
    };
    if command == "init" { init(&mut options) } else { serve(&mut options) }.and_then(|()| options.finish())
}

/// Reads the unlock secret from a file descriptor into locked memory.
fn read_secret(options: &mut Options) -> Result<LockedBytes, Failure> {
    let fd: u32 = options.need("secret-fd")?.parse().map_err(|_| "--secret-fd takes a number")?;
    let mut file = std::fs::File::open(format!("/dev/fd/{fd}"))
        .map_err(|e| format!("file descriptor {fd} cannot be read ({e}): open it for this process"))?;
    let mut secret = LockedBytes::zeroed(SECRET_LIMIT_BYTES)?;
    let mut length = 0usize;
    loop {
        let rest = secret.expose_mut().get_mut(length..).unwrap_or_default();
        let more = file.read(rest)?;
        if more == 0 {
            break;
        }
        length = length.saturating_add(more);
    }
    secret.truncate(length);
    Ok(secret)
}

fn keys_context(name: &Name) -> VaultContext {
    VaultContext { kind: VaultKind::CosignerKeys, genesis: Hash::default(), cosigner: name.clone() }
}

fn init(options: &mut Options) -> Result<(), Failure> {
    let directory = PathBuf::from(options.need("dir")?);
    let name: Name = options.need("name")?.parse()?;
    let card_file = PathBuf::from(options.need("card")?);
    let witness = options.flag("witness");
    let secret = read_secret(options)?;
    let vault_file = directory.join("keys.vault");
    if vault_file.exists() {
        return Err(format!("{} exists: choose an empty directory", vault_file.display()).into());
    }
    std::fs::create_dir_all(&directory)?;
    let secrets = CosignerSecrets::generate(&mut OsRng)?;
    let vault = Vault::create(&secret, &mut OsRng)?;
    let public = secrets.public();
    let mut card = CosignerCard {
        name: name.clone(),
        holds_shares: !witness,
        epoch: 1,
        identity: public.identity,
        vote: public.vote,
        cosign: public.cosign,
        tls: public.tls,
        statement: public.statement,
        frame: public.frame,
        seal: Hash(public.seal.0),
        certificate: Blob::default(),
    };
    card.certificate = Blob(secrets.certify(&card.certified_bytes())?.to_vec());
    let sealed = vault.seal(&keys_context(&name), secrets.to_plaintext()?.expose(), &mut OsRng)?;
    write_file_atomic(&vault_file, &sealed)?;
    write_file_atomic(&card_file, &canon::encode(&card)?)?;
    println!("co-signer {name}: identity {}", card.identity);
    println!("card written to {}", card_file.display());
    Ok(())
}

/// Genesis is entered as a file with its hash, once; then the directory holds it.
fn pinned_genesis(directory: &Path, options: &mut Options) -> Result<Genesis, Failure> {
    let bytes = std::fs::read(options.need("genesis")?)?;
    let genesis = Genesis::parse(&bytes)?;
    let expected = options.need("genesis-hash")?;
    if genesis.hash().to_string() != expected {
        return Err(format!("the genesis file has hash {}, and not {expected}", genesis.hash()).into());
    }
    let pinned = directory.join("genesis.json");
    match std::fs::read(&pinned) {
        Ok(old) if old != bytes => {
            Err(format!("{} pins another genesis: this is another deployment", pinned.display()).into())
        }
        Ok(_) => Ok(genesis),
        Err(_) => {
            write_file_atomic(&pinned, &bytes)?;
            Ok(genesis)
        }
    }
}

fn serve(options: &mut Options) -> Result<(), Failure> {
    let directory = PathBuf::from(options.need("dir")?);
    let address: SocketAddr = options.need("listen")?.parse().map_err(|_| "--listen takes ADDRESS:PORT")?;
    let restored = options.flag("restored");
    let ready_file = options.optional("ready-file");
    let secret = read_secret(options)?;
    let genesis = pinned_genesis(&directory, options)?;
    let file = std::fs::read(directory.join("keys.vault"))
        .map_err(|e| format!("{}: {e}; run init first", directory.join("keys.vault").display()))?;
    let vault = Vault::unlock(&secret, &file)?;
    let (name, secrets) = open_keys(&genesis, &vault, &file)?;
    drop(secret);
    let tls = TlsKey::from_seed(secrets.tls_seed())?;
    let (store, disk) = Store::open(&directory)?;
    let cosigner = Cosigner::open(genesis, name.clone(), secrets, std::sync::Arc::new(vault), &disk)?;
    drop(disk);
    let process = Process::new(cosigner, store, address, &tls)?;
    let address = process.local_addr();
    println!("co-signer {name} listening on {address}");
    if let Some(ready) = ready_file {
        write_file_atomic(Path::new(&ready), address.to_string().as_bytes())?;
    }
    Ok(process.run(restored)?)
}

/// Opens the keys of whichever co-signer of genesis this directory is of.
fn open_keys(genesis: &Genesis, vault: &Vault, file: &[u8]) -> Result<(Name, CosignerSecrets), Failure> {
    for card in &genesis.cosigners {
        match vault.open(&keys_context(&card.name), file) {
            Ok(plain) => {
                let secrets = CosignerSecrets::from_plaintext(&plain)?;
                if secrets.public().identity != card.identity {
                    return Err(format!("the keys here are not those of {} in genesis", card.name).into());
                }
                return Ok((card.name.clone(), secrets));
            }
            Err(keys::vault::VaultError::OtherFile { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err("genesis has no co-signer of the name that these keys were made for".into())
}
