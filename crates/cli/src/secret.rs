//! Passphrases: from a file descriptor or the terminal. Never from an argument or the environment, which
//! every process of the machine may read.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use crate::failure::{Class, Failure, Result};

/// Longest passphrase in bytes.
const LIMIT_BYTES: u64 = 1024;

/// Reads the passphrase: the first line of the file descriptor, else asked for on the terminal.
pub(crate) fn passphrase(fd: Option<u32>, what: &str) -> Result<Zeroizing<String>> {
    match fd {
        Some(fd) => from_fd(fd),
        None => ask(&format!("Passphrase of {what}: ")),
    }
}

/// For a new file: asked for twice on the terminal, for nobody sees what is typed.
pub(crate) fn new_passphrase(fd: Option<u32>, what: &str) -> Result<Zeroizing<String>> {
    let Some(fd) = fd else {
        let first = ask(&format!("New passphrase of {what}: "))?;
        let again = ask("Again: ")?;
        if *first != *again {
            return Err(Failure::usage("the two passphrases differ", "type the same one twice"));
        }
        return Ok(first);
    };
    from_fd(fd)
}

fn from_fd(fd: u32) -> Result<Zeroizing<String>> {
    let path = std::path::PathBuf::from(format!("/dev/fd/{fd}"));
    let wrong = |error: std::io::Error| Failure::file(&path, error);
    let mut text = Zeroizing::new(String::with_capacity(LIMIT_BYTES as usize + 1));
    File::open(&path).and_then(|file| file.take(LIMIT_BYTES + 1).read_to_string(&mut text)).map_err(wrong)?;
    let line = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    if line.is_empty() || text.len() as u64 > LIMIT_BYTES {
        let what = format!("file descriptor {fd} holds no passphrase of 1 to {LIMIT_BYTES} bytes");
        return Err(Failure::usage(what, "write the passphrase into it, one line"));
    }
    Ok(line)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        let next = "give it by --passphrase-fd N (never as an argument or in the environment)";
        return Err(Failure::usage("a passphrase is needed and there is no terminal", next));
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|e| Failure::new(Class::System, e, "use --passphrase-fd N"))
}

/// 32 random bytes of the system.
pub(crate) fn nonce() -> custody::Hash {
    let mut bytes = [0; 32];
    rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, &mut bytes);
    custody::Hash(bytes)
}
