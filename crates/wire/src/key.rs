//! The key that one program shows to the others.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::WireError;

/// DER of an Ed25519 private key up to the 32 bytes of the seed (RFC 8410 §7, PKCS#8 version 1).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// DER of an Ed25519 `SubjectPublicKeyInfo` up to the 32 bytes of the key (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 key used for TLS and nothing else (`P4`: one key, one purpose).
pub struct TlsKey {
    pub(crate) certified: Arc<CertifiedKey>,
    public: [u8; 32],
}

impl TlsKey {
    /// Makes the key from its seed (RFC 8032 §5.1.5). The seed is moved in and erased; what stays is
    /// held by AWS-LC, which erases it when the last connection with this key ends.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Result<Self, WireError> {
        let pkcs8 = Zeroizing::new([PKCS8_PREFIX.as_slice(), seed.as_slice()].concat());
        let unusable = |why: &str| WireError::Key(why.to_owned());
        let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))
            .map_err(|error| WireError::Key(error.to_string()))?;
        let spki = signing.public_key().ok_or_else(|| unusable("it has no public key"))?;
        let public = parse_spki(&spki).ok_or_else(|| unusable("it is not an Ed25519 key"))?;
        let shown = CertificateDer::from(spki.as_ref().to_vec());
        drop(spki);
        Ok(Self { certified: Arc::new(CertifiedKey::new(vec![shown], signing)), public })
    }

    /// The public key, as others pin it.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsKey(public {})", hex::encode(self.public))
    }
}

/// The key in an Ed25519 `SubjectPublicKeyInfo`, if `der` is exactly that.
pub(crate) fn parse_spki(der: &[u8]) -> Option<[u8; 32]> {
    der.strip_prefix(SPKI_PREFIX.as_slice())?.try_into().ok()
}
