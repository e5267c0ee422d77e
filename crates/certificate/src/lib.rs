//! Self-signed X.509 certificates (RFC 5280) around enrolled Ed25519 keys (RFC 8410), so that HTTP
//! clients in any language can speak with a Keyward server.
//!
//! There is no authority that issues: the log enrols the key, and the certificate is the wrapping that
//! TLS libraries ask for. What it says besides the key (a name, dates, what it is for) grants nothing.
//! It has therefore no date at which it ends: a key is out of use when the log says so.
//!
//! The same key, name and hosts make the same bytes: a certificate that was handed out stays the one
//! that is shown.
//!
//! Invariant: the private key is in nothing but what is wiped when dropped.
//! Invariant: the key signs the certificate and, in TLS, what begins with 64 spaces (RFC 8446 §4.4.3);
//! a certificate begins with 0x30, so neither passes for the other (`P4`).

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::{Signer as _, SigningKey};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, PKCS_ED25519, PublicKeyData,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// DER of an Ed25519 private key up to the 32 bytes of the seed (RFC 8410 §7, PKCS#8 version 1).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// DER of an Ed25519 `SubjectPublicKeyInfo` up to the 32 bytes of the key (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Longest common name, in characters (RFC 5280 appendix A, `ub-common-name`).
pub const MAX_NAME_CHARS: usize = 64;

/// Most hosts of one certificate: a server has a few names and addresses, and everybody who connects
/// receives all of them.
pub const MAX_HOSTS: usize = 32;

/// Bytes of a serial number that are taken from a hash; with the first bit cleared they are at most
/// the 20 that RFC 5280 §4.1.2.2 allows.
const SERIAL_BYTES: usize = 16;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The name does not fit.
    #[error("a certificate needs a name of 1 to {MAX_NAME_CHARS} characters")]
    Name,
    /// Not a host.
    #[error("{0:?} is neither a host name nor an IP address; write one, without port and scheme")]
    Host(String),
    /// Too many hosts.
    #[error("a certificate has at most {MAX_HOSTS} hosts")]
    Hosts,
    /// The library refused.
    #[error("no certificate could be made: {0}")]
    Library(String),
}

/// A certificate with its private key.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The certificate, PEM (RFC 7468 §5).
    pub pem: String,
    /// The private key, PKCS#8 (RFC 8410 §7), DER.
    pub key_der: Zeroizing<Vec<u8>>,
    /// The private key, PKCS#8, PEM (RFC 7468 §10).
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} bytes, <secret key>)", self.der.len())
    }
}

/// Wraps the Ed25519 key of `seed` (RFC 8032 §5.1.5) into a certificate signed by itself, for `name`.
///
/// `hosts`, names and IP addresses, are those at which a server is reached; the certificate of a caller
/// has none. It serves on both sides of a connection. A client that has it as its only root accepts the
/// server that shows it, and nobody else's.
///
/// # Errors
/// A name or host that cannot stand in a certificate.
pub fn self_signed(
    seed: &Zeroizing<[u8; 32]>,
    name: &str,
    hosts: &[&str],
) -> Result<Certificate, CertificateError> {
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
        return Err(CertificateError::Name);
    }
    if hosts.len() > MAX_HOSTS {
        return Err(CertificateError::Hosts);
    }
    for host in hosts {
        ServerName::try_from(*host).map_err(|_| CertificateError::Host((*host).to_owned()))?;
    }
    let library = |error: rcgen::Error| CertificateError::Library(error.to_string());
    let signer = Signer::new(seed);
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let serial = serial(&signer.public, name, &hosts);
    let mut params = CertificateParams::new(hosts).map_err(library)?;
    params.serial_number = Some(serial);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Before any deployment, and no end (RFC 5280 §4.1.2.5): the log ends the use of a key.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31)
        .replace_hour(23)
        .and_then(|at| at.replace_minute(59))
        .and_then(|at| at.replace_second(59))
        .map_err(|error| CertificateError::Library(error.to_string()))?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let made = params.self_signed(&signer).map_err(library)?;
    let key_der = Zeroizing::new([PKCS8_PREFIX.as_slice(), seed.as_slice()].concat());
    // 48 bytes: one line of PEM.
    let line = Zeroizing::new(BASE64_STANDARD.encode(key_der.as_slice()));
    let key_pem =
        Zeroizing::new(["-----BEGIN PRIVATE KEY-----\n", &line, "\n-----END PRIVATE KEY-----\n"].concat());
    Ok(Certificate { pem: made.pem(), der: made.der().to_vec(), key_der, key_pem })
}

/// The Ed25519 key in a certificate, if `der` is one certificate of X.509 version 3 and has such a key.
///
/// The parser is the one of rustls (`webpki`): strict DER, nothing behind it, no critical extension
/// that it does not know. Neither the dates nor the signature of the certificate are looked at: what
/// shows that somebody holds the key is a signature over the handshake.
pub fn key_of(der: &[u8]) -> Option<[u8; 32]> {
    let der = CertificateDer::from(der);
    let spki = ParsedCertificate::try_from(&der).ok()?.subject_public_key_info();
    spki.strip_prefix(SPKI_PREFIX.as_slice())?.try_into().ok()
}

/// Another certificate of the same key has another number (RFC 5280 §4.1.2.2).
fn serial(public: &[u8; 32], name: &str, hosts: &[String]) -> SerialNumber {
    let mut hasher = Sha256::new();
    hasher.update(b"keyward/certificate-serial/v1\0");
    hasher.update(public);
    for text in std::iter::once(name).chain(hosts.iter().map(String::as_str)) {
        // No text of these contains a zero byte.
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    let mut number: Vec<u8> = hasher.finalize().into_iter().take(SERIAL_BYTES).collect();
    if let Some(first) = number.first_mut() {
        // Positive, and of the same length for every certificate.
        *first = *first & 0x7f | 0x40;
    }
    SerialNumber::from(number)
}

/// Signs for the library, which thereby never has the private key.
struct Signer {
    key: Box<SigningKey>,
    public: [u8; 32],
}

impl Signer {
    fn new(seed: &Zeroizing<[u8; 32]>) -> Self {
        let key = Box::new(SigningKey::from_bytes(seed));
        let public = key.verifying_key().to_bytes();
        Self { key, public }
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).to_vec())
    }
}

#[cfg(test)]
mod tests;
