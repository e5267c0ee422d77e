//! The generators of a ceremony, each hedged by the secret ([`keys::hedged`]) and for one use alone.

use keys::hedged::Hedged;
use keys::locked::{LockError, LockedBytes};
use rand_core::CryptoRngCore;

/// What the randomness is for: each use has a key of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// The digest and the free shares of SLIP-39.
    Components,
    /// The polynomials of account keys.
    Shares,
    /// The nonces of the proofs.
    Proofs,
    /// The seals.
    Seals,
}

pub(super) fn hedged<'r, R: CryptoRngCore>(
    secret: &LockedBytes,
    of: Use,
    inner: &'r mut R,
) -> Result<Hedged<'r, R>, LockError> {
    let info: &[u8] = match of {
        Use::Components => b"keyward/ceremony-generator/components/v1",
        Use::Shares => b"keyward/ceremony-generator/shares/v1",
        Use::Proofs => b"keyward/ceremony-generator/proofs/v1",
        Use::Seals => b"keyward/ceremony-generator/seals/v1",
    };
    Hedged::new(secret.expose(), info, inner)
}

#[cfg(test)]
pub(super) mod tests {
    use rand_core::{CryptoRng, Error, RngCore};

    /// A generator of the operating system that somebody foresees.
    pub(crate) struct Foreseen;

    impl RngCore for Foreseen {
        fn next_u32(&mut self) -> u32 {
            rand_core::impls::next_u32_via_fill(self)
        }

        fn next_u64(&mut self) -> u64 {
            rand_core::impls::next_u64_via_fill(self)
        }

        fn fill_bytes(&mut self, dest: &mut [u8]) {
            dest.fill(0x5a);
        }

        fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
            self.fill_bytes(dest);
            Ok(())
        }
    }

    impl CryptoRng for Foreseen {}
}
