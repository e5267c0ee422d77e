//! The certificate of a machine or person, for HTTP clients in any language.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use custody::Hash;
use keys::device::DeviceKey;
use serde::Serialize;

use super::emit;
use crate::args::Global;
use crate::failure::{Class, Failure, Result};
use crate::home::{Home, read};
use crate::secret;

#[derive(Serialize)]
struct Written {
    certificate: PathBuf,
    key_file: PathBuf,
    /// The TLS key, as it is enrolled.
    tls: Hash,
    /// SHA-256 of the certificate.
    fingerprint: Hash,
    example: String,
}

/// Unlocks the device key file and writes its TLS key and a certificate around it. Nobody is asked: the
/// certificate grants nothing that the log does not.
pub(crate) fn write(global: &Global, out_cert: &Path, out_key: &Path) -> Result<()> {
    for path in [out_cert, out_key] {
        if path.exists() {
            let what = format!("{} exists already", path.display());
            return Err(Failure::usage(what, "choose another name: keys are never overwritten"));
        }
    }
    let device = device(global)?;
    // The name in a certificate says what the log enrolled; handles are in the log.
    let tls = device.public().tls;
    let made = certificate::self_signed(&device.tls_seed(), &tls.to_string(), &[]);
    let made =
        made.map_err(|e| Failure::new(Class::System, e, "report this: it is a mistake in the program"))?;
    create(out_key, 0o600, made.key_pem.as_bytes())?;
    create(out_cert, 0o644, made.pem.as_bytes())?;
    let example = format!(
        "curl --cacert server.pem --cert {} --key {} https://SERVER:PORT/v1/status",
        out_cert.display(),
        out_key.display()
    );
    let fingerprint = Hash::sha256(&made.der);
    let text = format!(
        "certificate {}\nprivate key {} (without passphrase: whoever has it calls in this name, and signs nothing)\n\
         TLS key     {tls}\nfingerprint {fingerprint} (SHA-256)\n\
         server.pem is what `keyward-server certificate` prints:\n  {example}\n",
        out_cert.display(),
        out_key.display()
    );
    let (certificate, key_file) = (out_cert.to_owned(), out_key.to_owned());
    emit(global, &text, &Written { certificate, key_file, tls, fingerprint, example })
}

/// The key file that the command names, else the profile's; a host that pinned no genesis has one too.
fn device(global: &Global) -> Result<DeviceKey> {
    let path = match &global.device {
        Some(path) => path.clone(),
        None => {
            let home = Home::at(global.home.as_deref())?;
            let kept = home.profile()?.device.map(|device| home.path(device));
            let next = "name it by --device FILE, or keyward profile --device FILE";
            kept.ok_or_else(|| Failure::usage("no device key file is known", next))?
        }
    };
    let file = read(&path)?;
    let passphrase = secret::passphrase(global.passphrase_fd, &path.display().to_string())?;
    let device = DeviceKey::from_file(&file, &passphrase);
    device.map_err(|e| Failure::new(Class::Usage, e, "check the file and its passphrase"))
}

/// Writes a new file, readable as `mode` says from its first byte on.
fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|e| Failure::file(path, e))
}
