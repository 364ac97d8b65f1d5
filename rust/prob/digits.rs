//! Probabilities as binary fractions, and how a tie of their first digits is settled: by as many more as it takes.

use crate::random::{Generator, Stream};
use crate::simd::{Lanes, Words};

/// Where ties get theirs from.
pub trait Ties {
    /// Word number `part` of the tie of the draw at `position`; parts are asked for in order.
    fn word(&mut self, position: u64, part: u64) -> u64;
}

/// A block's ties one after the other.
pub struct Successive {
    stream: Stream,
    block: u64,
    generator: Option<Generator<Lanes<u64, 8>>>,
    words: [u64; 8],
    used: usize,
}

impl Successive {
    /// The ties of a block; the generator is made for the first.
    pub fn new(stream: Stream, block: u64) -> Successive {
        Successive { stream, block, generator: None, words: [0; 8], used: 8 }
    }
}

impl Ties for Successive {
    fn word(&mut self, _position: u64, _part: u64) -> u64 {
        if self.used == 8 {
            let generator = self.generator.get_or_insert_with(|| Generator::new(&self.stream, self.block));
            (self.words, self.used) = (Generator::next(generator).to_array(), 0);
        }
        self.used += 1;
        self.words[self.used - 1]
    }
}

/// Each draw's ties for itself.
pub struct Named {
    /// Where the words come from.
    pub stream: Stream,
}

impl Ties for Named {
    fn word(&mut self, position: u64, part: u64) -> u64 {
        self.stream.named(position, part / 4)[(part % 4) as usize]
    }
}

/// A probability as a binary fraction: mantissa·2^−places, the mantissa odd (or 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fraction {
    /// See [`Fraction`].
    pub mantissa: u64,
    /// Digits after the point.
    pub places: u32,
}

impl Fraction {
    /// Of 0 ≤ p ≤ 1.
    pub fn of(p: f64) -> Fraction {
        let bits = p.to_bits();
        let exponent = (bits >> 52) as u32 & 0x7ff;
        let fraction = bits & ((1 << 52) - 1);
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        if mantissa == 0 {
            return Fraction { mantissa: 0, places: 0 };
        }
        let zeros = mantissa.trailing_zeros();
        Fraction { mantissa: mantissa >> zeros, places: 1075 - exponent.max(1) - zeros }
    }

    /// The 64 digits after the first `before`.
    pub fn digits(self, before: u32) -> u64 {
        let shift = i64::from(before) + 64 - i64::from(self.places);
        match shift {
            64.. => 0,
            0..64 => self.mantissa << shift,
            -63..0 => self.mantissa >> -shift,
            _ => 0,
        }
    }

    /// Whether U < p where their first `before` digits agree.
    pub fn settle(self, before: u32, position: u64, ties: &mut impl Ties) -> bool {
        let (mut before, mut part) = (before, 0);
        while before < self.places {
            let (word, digits) = (ties.word(position, part), self.digits(before));
            if word != digits {
                return word < digits;
            }
            before += 64;
            part += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_has_the_digits_of_its_number() {
        assert_eq!(Fraction::of(0.5), Fraction { mantissa: 1, places: 1 });
        assert_eq!(Fraction::of(0.75).digits(0), 0b11 << 62);
        assert_eq!(Fraction::of(5e-324), Fraction { mantissa: 1, places: 1074 });
        assert_eq!(Fraction::of(5e-324).digits(1074 - 64), 1);
        for p in [0.3, 1e-300, 1.0 - f64::EPSILON / 2.0, 3e-310] {
            let (mut rest, fraction) = (p, Fraction::of(p));
            for word in 0..18 {
                for i in 0..64 {
                    rest *= 2.0;
                    let digit = u64::from(rest >= 1.0);
                    rest -= digit as f64;
                    assert_eq!(fraction.digits(64 * word) >> (63 - i) & 1, digit, "{p} {word} {i}");
                }
            }
        }
    }
}
