//! Probabilities as binary fractions, and how a tie of their first digits is settled: by as many more as it takes.

use crate::random::Stream;

/// Where ties get theirs from.
pub trait Ties {
    /// Word number `part` of the tie of the draw at `position`; parts are asked for in order.
    fn word(&mut self, position: u64, part: u64) -> u64;
}

/// A block's ties one after the other: words from a stretch of the stream that is the block's own.
pub struct Successive {
    stream: Stream,
    /// The position of the next word to be made.
    position: u64,
    words: [u64; Successive::ROOM],
    used: usize,
    made: usize,
}

impl Successive {
    /// Words of the stream that a block has: eight times as many as it has draws.
    const STRETCH: u64 = 1 << 20;
    /// A block of draws takes about so many.
    const ROOM: usize = 512;
    /// The first few, for those who draw few.
    const FEW: usize = 32;

    /// The ties of a block.
    pub fn new(stream: Stream, block: u64) -> Successive {
        let position = block * Successive::STRETCH;
        Successive { stream, position, words: [0; Successive::ROOM], used: 0, made: 0 }
    }

    #[inline(never)]
    fn make_more(&mut self) {
        let more = if self.made == 0 { Successive::FEW } else { Successive::ROOM };
        self.stream.words(self.position, &mut self.words[..more]);
        (self.position, self.used, self.made) = (self.position + more as u64, 0, more);
    }
}

impl Ties for Successive {
    #[inline(always)]
    fn word(&mut self, _position: u64, _part: u64) -> u64 {
        if self.used == self.made {
            self.make_more();
        }
        self.used += 1;
        self.words[(self.used - 1) % Successive::ROOM]
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
    #[inline(always)]
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
    #[inline(always)]
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
