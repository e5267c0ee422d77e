//! `rekey`: the statement, frame and sealing keys that follow those in use (P30).

use std::path::PathBuf;
use std::sync::Arc;

use custody::canon;
use custody::document::Document;
use custody::genesis::Genesis;
use rand_core::OsRng;
use signer::cosigner::{Cosigner, KEYS_FILE};
use signer::journal::write_file_atomic;
use signer::process::Store;

use super::{Failure, GENESIS_FILE, Options, open_keys, read_pins, read_secret};

pub(crate) fn rekey(options: &mut Options) -> Result<(), Failure> {
    let directory = PathBuf::from(options.need("dir")?);
    let card_file = PathBuf::from(options.need("card")?);
    let named = options.optional("name").map(|name| name.parse()).transpose()?;
    let secret = read_secret(options)?;
    let genesis = directory.join(GENESIS_FILE);
    let genesis = std::fs::read(&genesis)
        .map_err(|e| format!("{}: {e}; run the co-signer first", genesis.display()))?;
    let genesis = Genesis::parse(&genesis)?;
    // The journals stay locked: no process of this co-signer reads or writes the keys meanwhile.
    let (_store, mut disk) = Store::open(&directory)?;
    disk.pins = read_pins(&directory)?;
    let (name, vault, secrets) = open_keys(&genesis, named, &directory, &secret)?;
    let mut cosigner = Cosigner::open(genesis, name, secrets, Arc::new(vault), &disk)?;
    let (keys, card) = cosigner.renew_keys(&mut OsRng)?;
    println!("co-signer {}: the keys of epoch {} are made", card.name, card.epoch);
    // The keys first: a card whose keys are nowhere must not exist.
    write_file_atomic(&directory.join(KEYS_FILE), &keys)?;
    write_file_atomic(&card_file, &canon::encode(&Document::Cosigner(card))?)?;
    println!("card written to {}: propose it, and start the co-signer again", card_file.display());
    Ok(())
}
