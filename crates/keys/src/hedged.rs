//! Randomness that stays unpredictable while either the generator or the secret is: what the secret is split
//! with must not be weaker than the secret, or one share and a bad generator give it away (DACS GEN-00).
//!
//! Each 32 bytes are HMAC-SHA-256 under a key that follows from the secret, over a counter and 32 bytes of the
//! generator (as RFC 6979 §3.6 and RFC 8937 hedge signatures).

use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use rand_core::{CryptoRng, CryptoRngCore, Error, RngCore};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::locked::{LockError, LockedBytes};

/// Length of a key and of a block in bytes.
const BLOCK_BYTES: usize = 32;

/// A generator that is hedged by a secret.
#[derive(Debug)]
pub struct Hedged<'r, R> {
    key: LockedBytes,
    count: u64,
    inner: &'r mut R,
}

impl<'r, R: CryptoRngCore> Hedged<'r, R> {
    /// Hedges `inner` by `secret`, for the one use that `info` names.
    ///
    /// # Errors
    /// No locked memory.
    pub fn new(secret: &[u8], info: &[u8], inner: &'r mut R) -> Result<Self, LockError> {
        let mut key = LockedBytes::zeroed(BLOCK_BYTES)?;
        // One block is never too long for it.
        let _ = Hkdf::<Sha256>::new(None, secret).expand(info, key.expose_mut());
        Ok(Self { key, count: 0, inner })
    }
}

impl<R: CryptoRngCore> RngCore for Hedged<'_, R> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for part in dest.chunks_mut(BLOCK_BYTES) {
            let mut drawn = Zeroizing::new([0; BLOCK_BYTES]);
            self.inner.fill_bytes(drawn.as_mut_slice());
            // HMAC takes keys of any length; without one there would be no randomness, and the plain bytes
            // would stand here.
            part.iter_mut().zip(drawn.iter()).for_each(|(to, from)| *to = *from);
            if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose()) {
                mac.update(&self.count.to_be_bytes());
                mac.update(drawn.as_slice());
                let block = Zeroizing::new(<[u8; BLOCK_BYTES]>::from(mac.finalize().into_bytes()));
                part.iter_mut().zip(block.iter()).for_each(|(to, from)| *to = *from);
            }
            self.count = self.count.wrapping_add(1);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl<R: CryptoRngCore> CryptoRng for Hedged<'_, R> {}
