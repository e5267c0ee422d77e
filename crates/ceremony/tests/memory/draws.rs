//! Randomness that a test knows.

use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::thread;

use rand_core::{CryptoRng, RngCore};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

/// What is said before standing still for good.
pub(crate) const STOPPED: &[u8] = b"stopped\n";

/// Randomness that two processes make alike: each draw is SHA-256 of its number. It keeps nothing of what it
/// gave, as the generator of the operating system keeps nothing in the process.
#[derive(Default)]
pub(crate) struct Draws {
    /// The lengths of what was drawn, for whoever looks on.
    pub(crate) lengths: Arc<Mutex<Vec<usize>>>,
    /// Stands still for ever before this draw, having said so here.
    pub(crate) stop: Option<(usize, File)>,
}

/// One draw.
pub(crate) fn draw(number: usize, into: &mut [u8]) {
    for (block, part) in (0_u64..).zip(into.chunks_mut(32)) {
        let mut hash = Sha256::new();
        hash.update(b"known to the test");
        hash.update((number as u64).to_be_bytes());
        hash.update(block.to_be_bytes());
        let mut bytes = hash.finalize();
        part.copy_from_slice(&bytes[..part.len()]);
        bytes.as_mut_slice().zeroize();
    }
}

impl RngCore for Draws {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, into: &mut [u8]) {
        let mut lengths = self.lengths.lock().unwrap();
        let number = lengths.len();
        if let Some((_, out)) = self.stop.as_mut().filter(|(stop, _)| *stop == number) {
            out.write_all(STOPPED).unwrap();
            loop {
                thread::park();
            }
        }
        draw(number, into);
        lengths.push(into.len());
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(into);
        Ok(())
    }
}

impl CryptoRng for Draws {}
