//! Arithmetic in GF(2⁸) modulo x⁸ + x⁴ + x³ + x + 1, and polynomials over it.

use subtle::{Choice, ConditionallySelectable as _};

/// The polynomial without x⁸.
const REDUCTION: u8 = 0x1b;

/// The product, without a table and without a branch on either factor.
pub(super) fn mul(a: u8, b: u8) -> u8 {
    let (mut power, mut product) = (a, 0);
    for bit in 0..u8::BITS {
        product ^= u8::conditional_select(&0, &power, Choice::from((b >> bit) & 1));
        power = (power << 1) ^ u8::conditional_select(&0, &REDUCTION, Choice::from(power >> 7));
    }
    product
}

/// The inverse, and 0 for 0: a²⁵⁴, as a² · a⁴ · … · a¹²⁸.
pub(super) fn inverse(a: u8) -> u8 {
    let (mut square, mut product) = (a, 1);
    for _ in 1..u8::BITS {
        square = mul(square, square);
        product = mul(product, square);
    }
    product
}

/// Writes the value at `x` of the polynomial through `points`, byte by byte. The coordinates are public and
/// all different, the values secret and of the length of `value`.
pub(super) fn interpolate(points: &[(u8, &[u8])], x: u8, value: &mut [u8]) {
    value.fill(0);
    for (own, bytes) in points {
        let others = points.iter().map(|(other, _)| other).filter(|other| *other != own);
        let weight = others.fold(1, |weight, other| mul(weight, mul(x ^ other, inverse(own ^ other))));
        for (sum, byte) in value.iter_mut().zip(*bytes) {
            *sum ^= mul(weight, *byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of the standard's reference: powers of x + 1, and their logarithms.
    fn tables() -> ([u8; 255], [usize; 256]) {
        let (mut powers, mut logarithms) = ([0; 255], [0; 256]);
        let mut power = 1u16;
        for (exponent, slot) in powers.iter_mut().enumerate() {
            *slot = u8::try_from(power).unwrap();
            logarithms[usize::from(power)] = exponent;
            power ^= power << 1;
            if power & 0x100 != 0 {
                power ^= 0x11b;
            }
        }
        (powers, logarithms)
    }

    #[test]
    fn every_product_is_that_of_the_tables() {
        let (powers, logarithms) = tables();
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                let sum = logarithms[usize::from(a)] + logarithms[usize::from(b)];
                let expected = if a == 0 || b == 0 { 0 } else { powers[sum % 255] };
                assert_eq!(mul(a, b), expected, "{a} {b}");
            }
        }
    }

    #[test]
    fn every_inverse_is_one() {
        assert_eq!(inverse(0), 0);
        for a in 1..=u8::MAX {
            assert_eq!(mul(a, inverse(a)), 1, "{a}");
        }
    }

    #[test]
    fn a_polynomial_goes_through_its_points_and_no_others() {
        // 7 + 9x + 200x² at a few places, from its coefficients.
        let at = |x: u8| 7 ^ mul(9, x) ^ mul(200, mul(x, x));
        let values = [at(0), at(3), at(255)];
        let points: Vec<(u8, &[u8])> =
            [0, 3, 255].into_iter().zip(values.iter().map(std::slice::from_ref)).collect();
        for x in 0..=u8::MAX {
            let mut value = [1];
            interpolate(&points, x, &mut value);
            assert_eq!(value, [at(x)], "{x}");
        }
    }
}
