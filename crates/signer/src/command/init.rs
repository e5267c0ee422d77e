//! `init`: the keys of a new co-signer.

use std::path::PathBuf;

use custody::canon;
use custody::name::Name;
use keys::cosigner::CosignerSecrets;
use keys::vault::Vault;
use rand_core::OsRng;
use signer::cosigner::{KEYS_FILE, keys_context};
use signer::journal::write_file_atomic;

use super::{Failure, Options, read_secret};

pub(crate) fn init(options: &mut Options) -> Result<(), Failure> {
    let directory = PathBuf::from(options.need("dir")?);
    let name: Name = options.need("name")?.parse()?;
    let card_file = PathBuf::from(options.need("card")?);
    let witness = options.flag("witness");
    let secret = read_secret(options)?;
    let vault_file = directory.join(KEYS_FILE);
    if vault_file.exists() {
        return Err(format!("{} exists: choose an empty directory", vault_file.display()).into());
    }
    std::fs::create_dir_all(&directory)?;
    let secrets = CosignerSecrets::generate(&mut OsRng)?;
    let vault = Vault::create(&secret, &mut OsRng)?;
    let card = secrets.card(&name, !witness, 1, secrets.public())?;
    let sealed = vault.seal(&keys_context(&name), secrets.to_plaintext()?.expose(), &mut OsRng)?;
    write_file_atomic(&vault_file, &sealed)?;
    write_file_atomic(&card_file, &canon::encode(&card)?)?;
    println!("co-signer {name}: identity {}", card.identity);
    println!("card written to {}", card_file.display());
    Ok(())
}
