//! `run`: the co-signer itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custody::canon;
use custody::genesis::Genesis;
use signer::cosigner::Cosigner;
use signer::journal::write_file_atomic;
use signer::process::{Process, Store};
use signer::tpm::{Counter, DEFAULT_INDEX};
use wire::TlsKey;

use super::{Failure, GENESIS_FILE, Options, PINS_FILE, open_keys, read_pins, read_secret};

/// Genesis is entered as a file with its hash, once; then the directory holds it.
fn pinned_genesis(directory: &Path, options: &mut Options) -> Result<Genesis, Failure> {
    let bytes = std::fs::read(options.need("genesis")?)?;
    let genesis = Genesis::parse(&bytes)?;
    let expected = options.need("genesis-hash")?;
    if genesis.hash().to_string() != expected {
        return Err(format!("the genesis file has hash {}, and not {expected}", genesis.hash()).into());
    }
    let pinned = directory.join(GENESIS_FILE);
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

/// The counter of a TPM that marks what this co-signer writes, if one is named.
fn counter(options: &mut Options) -> Result<Option<Counter>, Failure> {
    let (path, index) = (options.optional("tpm"), options.optional("tpm-index"));
    let Some(path) = path else {
        return if index.is_some() { Err("--tpm-index needs --tpm".into()) } else { Ok(None) };
    };
    let index = match index {
        None => DEFAULT_INDEX,
        Some(text) => {
            let digits = text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
            digits.ok_or_else(|| format!("--tpm-index takes 0x01800000 to 0x01bfffff, and not {text:?}"))?
        }
    };
    Ok(Some(Counter::open(Path::new(&path), index)?))
}

pub(crate) fn run(options: &mut Options) -> Result<(), Failure> {
    let directory = PathBuf::from(options.need("dir")?);
    let address: SocketAddr = options.need("listen")?.parse().map_err(|_| "--listen takes ADDRESS:PORT")?;
    let restored = options.flag("restored");
    let ready_file = options.optional("ready-file");
    let pinned_head = options.optional("pinned-head");
    let first_start = options.flag("first-start");
    let named = options.optional("name").map(|name| name.parse()).transpose()?;
    let counter = counter(options)?;
    let secret = read_secret(options)?;
    let genesis = pinned_genesis(&directory, options)?;
    // Of those in genesis one starts first when the deployment does; later its disk was lost, and others know its votes (P12).
    if first_start
        && !named.as_ref().is_some_and(|name| genesis.cosigners.iter().all(|card| card.name != *name))
    {
        return Err(
            "--first-start is for a co-signer that joins, with the --name that genesis does not know".into(),
        );
    }
    // A misspelt option must not be found when the process ends: it might be the one that has the disk counted.
    options.finish()?;
    let (store, mut disk) = Store::open(&directory)?;
    let (name, vault, secrets) = open_keys(&genesis, named, &directory, &secret)?;
    drop(secret);
    let tls = TlsKey::from_seed(secrets.tls_seed())?;
    disk.pins = read_pins(&directory)?;
    disk.first_start = first_start;
    if let Some(file) = &pinned_head {
        let note = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        if !disk.pins.contains(&note) {
            disk.pins.push(note);
        }
    }
    let cosigner = Cosigner::open(genesis, name.clone(), secrets, Arc::new(vault), &disk)?;
    if pinned_head.is_some() {
        // What does not fit the log on this disk was refused.
        write_file_atomic(&directory.join(PINS_FILE), &canon::encode(&disk.pins)?)?;
    }
    drop(disk);
    if let Err(refusal) = cosigner.check_keys() {
        eprintln!("keyward-signer: {}", refusal.why);
    }
    let mut process = Process::new(cosigner, store, address, &tls)?;
    process.enter(counter, restored)?;
    let address = process.local_addr();
    println!("co-signer {name} listening on {address}");
    if let Some(ready) = ready_file {
        write_file_atomic(Path::new(&ready), address.to_string().as_bytes())?;
    }
    Ok(process.run(restored)?)
}
