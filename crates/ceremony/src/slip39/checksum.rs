//! RS1024: the checksum of a share, a Reed-Solomon code over GF(1024). It finds up to three wrong words for
//! certain, and more with a chance of one in 2³⁰ to miss them.

use zeroize::Zeroizing;

/// Words of the checksum.
pub(super) const CHECKSUM_WORDS: usize = 3;

/// The generator polynomial, one row for each bit that is shifted out.
const GENERATOR: [u32; 10] = [
    0x00e0_e040,
    0x01c1_c080,
    0x0383_8100,
    0x0707_0200,
    0x0e0e_0009,
    0x1c0c_2412,
    0x3808_6c24,
    0x3090_fc48,
    0x21b1_f890,
    0x03f3_f120,
];

/// The domain of the checksum: shares with the extendable flag have another one.
fn customization(extendable: bool) -> impl Iterator<Item = u16> {
    let text: &[u8] = if extendable { b"shamir_extendable" } else { b"shamir" };
    text.iter().copied().map(u16::from)
}

/// The remainder of a code word: masks in the place of branches.
fn remainder(symbols: impl Iterator<Item = u16>) -> u32 {
    symbols.fold(1, |sum, symbol| {
        let top = sum >> 20;
        let next = ((sum & 0x000f_ffff) << 10) ^ u32::from(symbol);
        GENERATOR
            .iter()
            .zip(0u32..)
            .fold(next, |sum, (row, bit)| sum ^ (row & 0u32.wrapping_sub((top >> bit) & 1)))
    })
}

/// Whether the last three symbols are the checksum of those before.
pub(super) fn holds(extendable: bool, symbols: &[u16]) -> bool {
    remainder(customization(extendable).chain(symbols.iter().copied())) == 1
}

/// The checksum of the symbols of a share.
pub(super) fn of(extendable: bool, symbols: &[u16]) -> Zeroizing<[u16; CHECKSUM_WORDS]> {
    let zeros = [0; CHECKSUM_WORDS];
    let sum = 1 ^ remainder(customization(extendable).chain(symbols.iter().copied()).chain(zeros));
    let [_, _, high, low] = (sum & 0x03ff).to_be_bytes();
    let third = u16::from_be_bytes([high, low]);
    let [_, _, high, low] = ((sum >> 10) & 0x03ff).to_be_bytes();
    let second = u16::from_be_bytes([high, low]);
    let [_, _, high, low] = (sum >> 20).to_be_bytes();
    Zeroizing::new([u16::from_be_bytes([high, low]), second, third])
}
