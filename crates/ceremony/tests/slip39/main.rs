//! SLIP-0039 and recovery components from outside: the published vectors, the reference program, what people
//! type wrong, which schemes there are, and how a component proves itself.

mod component;
mod interop;
mod schemes;
mod vectors;
mod words;

use ceremony::slip39::{Mnemonic, Scheme, split};
use keys::locked::LockedBytes;
use rand_core::OsRng;

/// A random secret of so many bytes.
fn secret(bytes: usize) -> LockedBytes {
    LockedBytes::random(bytes, &mut OsRng).unwrap()
}

/// The shares of a new secret of 256 bits.
fn shares(scheme: &Scheme) -> Vec<Mnemonic> {
    split(&secret(32), scheme, 0, &mut OsRng).unwrap()
}

/// The words of a share.
fn text(share: &Mnemonic) -> String {
    String::from_utf8(share.words().unwrap().expose().to_vec()).unwrap()
}

/// Any `threshold` of `members`.
fn any(threshold: u8, members: u8) -> Scheme {
    Scheme::any(threshold, members).unwrap()
}
