//! Exact draws of rare events, by the places where they may happen.
//!
//! Where p < 2⁻ᵏ, U < p needs k first digits 0 of U. How many of N draws have them is binomial(N, 2⁻ᵏ), drawn by its
//! distribution function, a fraction of k·N binary digits, of which the first 64 nearly always decide. Given the number,
//! every set of places is as likely: they are drawn one by one, and again where one is taken. Each is settled by the
//! digits that follow. So draws are independent and P(1) is p to its last bit, while 16 of 4,096 places (of 65,536 where
//! p < 2⁻¹²) need a look. Whether draws are made this way depends on p alone.

use super::bernoulli::{Bits, GROUP};
use super::digits::{Fraction, Ties};
use super::sink::Sink;
use crate::simd::{Simd, Words};

/// Words of the largest unit, 64 draws each.
const ROOM: usize = (16 << 12) / 64;

/// The first 64 digits of P(at most 0, 1, … draws of 16·2ᵏ have k first digits 0).
static AT_MOST: [(u32, &[u64]); 2] = [(8, &AT_MOST_8), (12, &AT_MOST_12)];

#[rustfmt::skip]
static AT_MOST_8: [u64; 65] = [
    0x000001d46d0ef524, 0x00001f38a2336be6, 0x00010b3798328edb, 0x0005fa2e5a4c0e0a, 0x0019c6221d638f26,
    0x00594f47564b9b26, 0x010331f04d5356d8, 0x028874ce8637e1c6, 0x0594b22dd4ddd59d, 0x0b028237dd1c879f,
    0x13b6062a3a098c39, 0x2062cfadc5820560, 0x314e7efe6cdf809f, 0x462706f9127153d9, 0x5dfe678c1e8a56da,
    0x776fdd66d23c5b20, 0x90e2ebf193a7537b, 0xa8d6bd651c847977, 0xbe1fe8b14a9249f4, 0xd00a6efde190051e,
    0xde5cf48dee720bd4, 0xe943c1c3988b52f5, 0xf12ef1850b33d13c, 0xf6af1618c65aaec6, 0xfa583cd4466143ce,
    0xfcaed6a22d18f86a, 0xfe1e6543023c642f, 0xfef7ac6015b40c8f, 0xff737f515aa16feb, 0xffb79cf3779dbdd7,
    0xffdbd363b87c5aa6, 0xffee73b6b81328e5, 0xfff7bb1c4d0beeb2, 0xfffc364d3521ff11, 0xfffe4fe824679147,
    0xffff4495bed2f49c, 0xffffb0d309be95c2, 0xffffdf66b29931a8, 0xfffff2e9585ba442, 0xfffffadf61dee7d9,
    0xfffffe0a0068acab, 0xffffff447ae224bb, 0xffffffbb8c17c864, 0xffffffe791a96e73, 0xfffffff778915003,
    0xfffffffd16114320, 0xffffffff068370df, 0xffffffffae460f3a, 0xffffffffe5c4d438, 0xfffffffff7bf63e6,
    0xfffffffffd744c1d, 0xffffffffff3acd40, 0xffffffffffc57319, 0xffffffffffeeefad, 0xfffffffffffb1dfa,
    0xfffffffffffea0ab, 0xffffffffffff9efc, 0xffffffffffffe5ac, 0xfffffffffffff8f9, 0xfffffffffffffe28,
    0xffffffffffffff86, 0xffffffffffffffe1, 0xfffffffffffffff8, 0xfffffffffffffffe, 0xffffffffffffffff,
];

#[rustfmt::skip]
static AT_MOST_12: [u64; 65] = [
    0x000001e26443247d, 0x0000200a8af7d7a4, 0x00011159e451d0d3, 0x0006189cd1bcca14, 0x001a36ae115987df,
    0x005a99e9f630a004, 0x0106549582b312ae, 0x028eea061adaa68d, 0x05a0308386d83bf8, 0x0b1467b040e0ad61,
    0x13ce96aad946d8bf, 0x20809b8c426f302d, 0x316e4c0b8f051279, 0x464464f0d6b9ea6b, 0x5e14c8d9630c0f47,
    0x777bcca23f2d84f6, 0x90e2e9d3b5a17bef, 0xa8cb7dc606ff918e, 0xbe0bec063ed01b5d, 0xcff1328a33f1a0f3,
    0xde420ccad2a702c4, 0xe92a25ea8a7894ed, 0xf1189c277fe4a463, 0xf69cf9d0b0db28c8, 0xfa4a73d62b0a3539,
    0xfca4ec89418ab6df, 0xfe179fede24cf3b0, 0xfef3440602f14f33, 0xff70c0f800fada2f, 0xffb5f9d490bbfaa2,
    0xffdae314cec27025, 0xffedef1269b47a7f, 0xfff77482545147d2, 0xfffc12021b26aa5b, 0xfffe3ddd11f2ae2e,
    0xffff3be6276a12c6, 0xffffacc55d76fd09, 0xffffdd90c7012e14, 0xfffff21aa234bfa6, 0xfffffa86fa82e552,
    0xfffffde536b88961, 0xffffff3592911985, 0xffffffb5a90a1141, 0xffffffe54d4dbda0, 0xfffffff69e7b3533,
    0xfffffffcc60c7109, 0xfffffffee9d45706, 0xffffffffa4390010, 0xffffffffe2530736, 0xfffffffff697af82,
    0xfffffffffd13383d, 0xffffffffff1b9670, 0xffffffffffbb9d87, 0xffffffffffebe628, 0xfffffffffffa327f,
    0xfffffffffffe5ab5, 0xffffffffffff8a96, 0xffffffffffffdfd5, 0xfffffffffffff755, 0xfffffffffffffdb4,
    0xffffffffffffff66, 0xffffffffffffffd8, 0xfffffffffffffff6, 0xfffffffffffffffd, 0xffffffffffffffff,
];

/// A rare event.
#[derive(Clone, Copy, Debug)]
pub struct Rare {
    p: Fraction,
    /// k: p has at least so many first digits 0.
    zeros: u32,
    at_most: &'static [u64],
}

impl Rare {
    /// Of 0 < p < 2⁻⁸.
    pub fn of(p: Fraction) -> Option<Rare> {
        let zeros = p.places.checked_sub(64 - p.mantissa.leading_zeros())?;
        let (zeros, at_most) = *AT_MOST.iter().rev().find(|(least, _)| *least <= zeros)?;
        (p.mantissa > 0).then_some(Rare { p, zeros, at_most })
    }

    /// Draws in a unit.
    fn unit(self) -> usize {
        16 << self.zeros
    }

    /// How many of a unit's draws have k first digits 0, by a uniform number's first digits.
    #[inline(always)]
    fn count(self, word: u64, first: u64, ties: &mut impl Ties) -> usize {
        let mut count = 0;
        // Four at a time without a branch: the mean is 16.
        for at_most in self.at_most.chunks(4) {
            let passed: usize = at_most.iter().map(|at_most| usize::from(*at_most < word)).sum();
            count += passed;
            if passed < at_most.len() {
                break;
            }
        }
        if self.at_most.get(count).is_none_or(|at_most| *at_most == word) {
            return self.count_of_all_digits(word, first, ties);
        }
        count
    }

    /// The same by as many digits as it takes.
    #[cold]
    #[inline(never)]
    fn count_of_all_digits(self, word: u64, first: u64, ties: &mut impl Ties) -> usize {
        let mut digits = vec![word];
        let mut exact = Distribution::new(self.zeros);
        while exact.count < self.unit() {
            for (part, at_most) in exact.sum.iter().rev().enumerate() {
                if part == digits.len() {
                    digits.push(ties.word(first, part as u64 - 1));
                }
                if digits[part] != *at_most {
                    break;
                }
            }
            let known = exact.sum.iter().rev().zip(&digits).find(|(at_most, digit)| at_most != digit);
            if known.is_some_and(|(at_most, digit)| digit < at_most) {
                break;
            }
            exact.next();
        }
        exact.count
    }
}

/// P(at most `count` draws of N = 16·2ᵏ have k first digits 0)·2^(k·N), as a number of k·N/64 words, the lowest first.
struct Distribution {
    zeros: u32,
    count: usize,
    term: Vec<u64>,
    sum: Vec<u64>,
}

impl Distribution {
    fn new(zeros: u32) -> Self {
        let n = 16usize << zeros;
        let words = n * zeros as usize / 64;
        // A word more for products before they are divided.
        let mut term = vec![0; words + 1];
        term[0] = 1;
        // (2ᵏ − 1)ᴺ, four factors at a time.
        for _ in 0..n / 4 {
            multiply(&mut term, ((1u64 << zeros) - 1).pow(4));
        }
        Distribution { zeros, count: 0, sum: term[..words].to_vec(), term }
    }

    fn next(&mut self) {
        let (n, i) = (16u64 << self.zeros, self.count as u64);
        multiply(&mut self.term, n - i);
        divide(&mut self.term, (i + 1) * ((1 << self.zeros) - 1));
        let mut carry = false;
        for (sum, term) in self.sum.iter_mut().zip(&self.term) {
            let (one, first) = sum.overflowing_add(*term);
            let (two, second) = one.overflowing_add(u64::from(carry));
            (*sum, carry) = (two, first | second);
        }
        self.count += 1;
    }
}

fn multiply(number: &mut [u64], by: u64) {
    let mut carry = 0;
    for word in number {
        carry += u128::from(*word) * u128::from(by);
        (*word, carry) = (carry as u64, carry >> 64);
    }
}

fn divide(number: &mut [u64], by: u64) {
    let mut rest = 0;
    for word in number.iter_mut().rev() {
        rest = rest << 64 | u128::from(*word);
        (*word, rest) = ((rest / u128::from(by)) as u64, rest % u128::from(by));
    }
}

/// A unit's draws, 64 a word; `first` is the number of its first draw.
#[inline(always)]
fn draw_unit<W: Words>(
    bits: &mut impl Bits<W>,
    ties: &mut impl Ties,
    rare: Rare,
    first: u64,
    below: &mut [u64],
    taken: &mut [u64],
) {
    below.fill(0);
    taken.fill(0);
    let mut words = bits.next().to_array();
    let mut left = rare.count(words[0], first, ties);
    // The first vector's other words have the first places.
    let mut start = 1;
    while left > 0 {
        for mut word in words[start..].iter().copied() {
            for _ in 0..4 {
                let place = word as usize & (rare.unit() - 1);
                word >>= 16;
                let (at, bit) = (place / 64, 1 << (place % 64));
                if left > 0 && taken[at] & bit == 0 {
                    taken[at] |= bit;
                    left -= 1;
                    if rare.p.settle(rare.zeros, first + place as u64, ties) {
                        below[at] |= bit;
                    }
                }
            }
        }
        if left > 0 {
            (words, start) = (bits.next().to_array(), 0);
        }
    }
}

/// The draws `from..to` of a block, or with `complement` their opposites, into `out`.
#[inline(always)]
pub fn draw<S: Simd>(
    bits: &impl Bits<S::U64>,
    ties: &mut impl Ties,
    (rare, complement): (Rare, bool),
    (from, to): (u64, u64),
    out: &mut impl Sink,
) {
    let mut source = *bits;
    let (mut below, mut taken) = ([0; ROOM], [0; ROOM]);
    let words = rare.unit() / 64;
    let mut first = 0;
    while first < to {
        draw_unit(&mut source, ties, rare, first, &mut below[..words], &mut taken[..words]);
        for group in below[..words].chunks_exact(8) {
            let (begin, end) = (from.max(first), to.min(first + GROUP as u64));
            if begin < end {
                let mut draws = [0; 8];
                draws.copy_from_slice(group);
                if draws == [0; 8] && end - begin == GROUP as u64 {
                    out.repeat::<S>(complement);
                } else {
                    let draws = S::U64::from_array(&draws);
                    let draws = if complement { draws.not() } else { draws };
                    out.put::<S>(draws, (begin - first) as usize, (end - first) as usize);
                }
            }
            first += GROUP as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Generator, Purpose, Seed, Stream};
    use crate::simd::Lanes;

    type W = Lanes<u64, 8>;

    fn source(block: u64) -> Generator<W> {
        Generator::new(&Stream::new(Seed([5, 6]), Purpose::Bernoulli, 0, 0), block)
    }

    /// Words that are p's own digits up to number `depth`, which differs by `off`.
    struct Deep {
        rare: Rare,
        depth: u64,
        off: i64,
    }

    impl Ties for Deep {
        fn word(&mut self, _position: u64, part: u64) -> u64 {
            let digits = self.rare.p.digits(self.rare.zeros + 64 * part as u32);
            if part == self.depth { digits.wrapping_add_signed(self.off) } else { digits }
        }
    }

    fn ones(words: &[u64]) -> usize {
        words.iter().map(|word| word.count_ones() as usize).sum()
    }

    #[test]
    fn rare_is_below_two_to_the_minus_eight() {
        for (p, zeros) in [(1.0 / 512.0, 8), (0.0039, 8), (1e-3, 8), (2e-4, 12), (1e-4, 12), (5e-324, 12)] {
            assert_eq!(Rare::of(Fraction::of(p)).unwrap().zeros, zeros, "{p}");
        }
        for p in [0.0, 1.0, 0.5, 1.0 / 256.0, 0.004, 1.0 - f64::EPSILON / 2.0] {
            assert!(Rare::of(Fraction::of(p)).is_none(), "{p}");
        }
    }

    /// Every place that may be below p is settled by its own digits, as deep as they go.
    #[test]
    fn places_are_settled_by_the_digits_that_follow() {
        for (p, depths) in [(1e-3, 0..1), (1e-10, 0..2), (1e-300, 15..17), (5e-324, 16..17)] {
            let rare = Rare::of(Fraction::of(p)).unwrap();
            let (mut below, mut taken) = (vec![0; rare.unit() / 64], vec![0; rare.unit() / 64]);
            for depth in depths {
                for (off, all) in [(-1, true), (0, false), (1, false)] {
                    let before = rare.zeros + 64 * depth as u32;
                    if before >= rare.p.places || rare.p.digits(before).checked_add_signed(off).is_none() {
                        continue;
                    }
                    let (mut bits, mut deep) = (source(3), Deep { rare, depth, off });
                    draw_unit(&mut bits, &mut deep, rare, 0, &mut below, &mut taken);
                    let word = source(3).next().to_array()[0];
                    let candidates = rare.at_most.iter().filter(|at_most| **at_most < word).count();
                    assert!(candidates > 0 && ones(&taken) == candidates);
                    assert_eq!(ones(&below), if all { candidates } else { 0 }, "{p} {depth} {off}");
                }
            }
        }
    }

    #[test]
    fn the_table_is_the_distribution() {
        for (zeros, at_most) in AT_MOST {
            let mut exact = Distribution::new(zeros);
            for at_most in at_most {
                assert_eq!(exact.sum.last(), Some(at_most), "{zeros} {}", exact.count);
                exact.next();
            }
            assert_eq!(at_most.last(), Some(&u64::MAX));
        }
    }

    /// Further words that are the distribution's own, up to the last: one less makes the number smaller.
    struct Border {
        digits: Vec<u64>,
        off: i64,
    }

    impl Ties for Border {
        fn word(&mut self, _position: u64, part: u64) -> u64 {
            let (at, last) = (part as usize + 1, self.digits.len() - 1);
            self.digits[at].wrapping_add_signed(if at == last { self.off } else { 0 })
        }
    }

    #[test]
    fn a_number_on_the_border_is_settled_by_the_last_of_its_digits() {
        let rare = Rare::of(Fraction::of(1e-3)).unwrap();
        let mut exact = Distribution::new(8);
        for count in 0..20 {
            if [0, 7, 19].contains(&count) {
                let digits: Vec<u64> = exact.sum.iter().rev().copied().collect();
                for (off, expected) in [(-1, count), (0, count + 1), (1, count + 1)] {
                    let word = digits[0];
                    let mut border = Border { digits: digits.clone(), off };
                    assert_eq!(rare.count(word, 0, &mut border), expected);
                }
                for (word, expected) in [(digits[0] - 1, count), (digits[0] + 1, count + 1)] {
                    assert_eq!(rare.count(word, 0, &mut Border { digits: Vec::new(), off: 0 }), expected);
                }
            }
            exact.next();
        }
        // Beyond the table.
        let mut ones = Border { digits: vec![u64::MAX, 0, 0], off: 0 };
        assert!(rare.count(u64::MAX, 0, &mut ones) >= AT_MOST_8.len() - 1);
    }

    /// χ² of numbers of places, and of the places themselves, at five standard deviations.
    #[test]
    fn numbers_are_binomial_and_places_uniform() {
        let rare = Rare::of(Fraction::of(0.0039)).unwrap();
        let (n, q) = (rare.unit() as f64, 1.0 / 256.0);
        let (mut counts, mut places) = ([0.0; 40], [0.0; 64]);
        let (mut below, mut taken) = ([0; 64], [0; 64]);
        let units = 20_000;
        let mut deep = Deep { rare, depth: 0, off: -1 };
        for unit in 0..units {
            draw_unit(&mut source(unit), &mut deep, rare, 0, &mut below, &mut taken);
            counts[ones(&below).min(39)] += 1.0;
            below.iter().zip(&mut places).for_each(|(word, sum)| *sum += f64::from(word.count_ones()));
        }
        let (mut chi, mut cells) = (0.0f64, 0.0f64);
        let mut share = (0..4096).fold(1.0, |share, _| share * (1.0 - q));
        for (i, count) in counts[..39].iter().enumerate() {
            let expected = share * units as f64;
            if expected >= 5.0 {
                (chi, cells) = (chi + (count - expected) * (count - expected) / expected, cells + 1.0);
            }
            share *= (n - i as f64) / (i as f64 + 1.0) * q / (1.0 - q);
        }
        assert!(cells > 20.0 && chi < cells + 5.0 * (2.0 * cells).sqrt(), "{chi} {cells}");
        let expected = units as f64 * n * q / 64.0;
        let chi: f64 = places.iter().map(|sum| (sum - expected) * (sum - expected) / expected).sum();
        assert!((chi - 63.0).abs() < 5.0 * 126f64.sqrt(), "{chi}");
    }
}
