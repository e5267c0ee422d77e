//! The encryption of a secret before it is shared: a Feistel network of four rounds under a passphrase.

use hmac::Hmac;
use keys::locked::LockedBytes;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Fault;

/// Rounds of the network; their numbers are the first byte of the password of each.
const ROUNDS: [u8; 4] = [0, 1, 2, 3];

/// Iterations of PBKDF2 in one round, at exponent 0: 10,000 over all four.
const ITERATIONS: u32 = 2_500;

/// What the encryption depends on besides the secret.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) passphrase: &'a [u8],
    pub(super) identifier: u16,
    pub(super) extendable: bool,
    pub(super) iteration_exponent: u8,
}

impl Key<'_> {
    pub(super) fn encrypt(&self, secret: &LockedBytes) -> Result<LockedBytes, Fault> {
        self.run(secret, ROUNDS.into_iter())
    }

    pub(super) fn decrypt(&self, secret: &LockedBytes) -> Result<LockedBytes, Fault> {
        self.run(secret, ROUNDS.into_iter().rev())
    }

    /// The rounds in one order or the other: decryption is encryption backwards.
    fn run(&self, secret: &LockedBytes, rounds: impl Iterator<Item = u8>) -> Result<LockedBytes, Fault> {
        let half = secret.expose().len() / 2;
        let (left, right) = secret.expose().split_at_checked(half).unwrap_or_default();
        let mut left = Zeroizing::new(left.to_vec());
        let mut right = Zeroizing::new(right.to_vec());
        let mut mask = Zeroizing::new(vec![0; half]);
        for round in rounds {
            self.round(round, &right, &mut mask)?;
            left.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
            std::mem::swap(&mut left, &mut right);
        }
        let mut out = LockedBytes::zeroed(secret.expose().len())?;
        out.expose_mut().iter_mut().zip(right.iter().chain(left.iter())).for_each(|(out, byte)| *out = *byte);
        Ok(out)
    }

    /// The round function: PBKDF2 of the round and the passphrase, salted with the half that stays.
    fn round(&self, round: u8, half: &[u8], mask: &mut [u8]) -> Result<(), Fault> {
        let password = Zeroizing::new([&[round], self.passphrase].concat());
        let domain: &[u8] = if self.extendable { b"" } else { b"shamir" };
        let identifier = self.identifier.to_be_bytes();
        let identifier: &[u8] = if self.extendable { b"" } else { &identifier };
        let salt = Zeroizing::new([domain, identifier, half].concat());
        let iterations = ITERATIONS.checked_shl(u32::from(self.iteration_exponent)).unwrap_or(u32::MAX);
        pbkdf2::pbkdf2::<Hmac<Sha256>>(&password, &salt, iterations, mask).map_err(Fault::Key)
    }
}
