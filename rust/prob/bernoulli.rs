//! Exact Bernoulli draws.
//!
//! A draw is 1 where U < p for a uniform U in [0, 1), written in binary and looked at as far as it takes: so P(1) is
//! the `f64` p itself, to its last bit. Draws come in groups of 512, one bit each in a vector of words, in the order of
//! `np.packbits`; groups come in blocks, each with a generator of its own, so any thread can make any block.
//!
//! *One p for all draws*: U and p are compared from the last of p's first eight digits to the first, a vector of random
//! bits for each: where p's digit is 1, U < p if U's digit is 0 or the rest was smaller; where it is 0, only if both.
//! A p of at most eight digits is decided then. Otherwise a draw whose eight digits are p's own (one in 256) is settled
//! by the further words of a second stream, which a block's ties take in order. Below 2⁻⁸ (and, by the opposite event,
//! above 1 − 2⁻⁸) draws are made by [`rare`].
//!
//! *A p of its own for each draw*: the first 16 digits are compared as numbers; a tie (one in 65,536) is settled by words
//! named by the draw's position, so a draw depends on its own p alone.

use super::Spread;
use super::digits::{Fraction, Named, Successive, Ties};
use super::rare::{self, Rare};
use super::sink::{Numbers, Packed, Pattern, Sink};
use crate::math::{constant, scalar, sigmoid};
use crate::parallel;
use crate::random::{Generator, Purpose, Seed, Stream};
use crate::simd::{Kernel, Mask, Real, Simd, Vector, Words, dispatch};

/// Draws in a group.
pub const GROUP: usize = 512;
/// Draws in a block: a multiple of what [`BATCH`] groups have, and long enough that its two keys cost little.
pub const BLOCK: u64 = 1 << 17;
/// Groups between two looks at the ties: a word of 64 flags, one for each word of 64 draws.
const BATCH: usize = 8;
/// Above, 1 − p is a rare event's probability.
const ALMOST_ONE: f64 = 1.0 - 1.0 / 256.0;
/// Digits that are compared first where all draws have one p.
const DIGITS: u32 = 8;

/// Where draws get their bits from. Loops work on a copy, which lives in registers, and put it back.
pub trait Bits<W>: Copy {
    /// 512 random bits.
    fn next(&mut self) -> W;
}

impl<W: Words> Bits<W> for Generator<W> {
    #[inline(always)]
    fn next(&mut self) -> W {
        Generator::next(self)
    }
}

/// 512 draws and their ties, or the flags of either.
type Group = [u64; 8];

/// What the draws are compared with.
trait Odds<T> {
    /// The first comparison of the groups from draw number `first` of the block on: where U < p, and where they tie.
    fn compare<S: Simd, B: Bits<S::U64>>(
        &mut self,
        bits: &mut B,
        first: u64,
        below: &mut [Group],
        tied: &mut [Group],
    );
    /// Whether draws can tie at all.
    fn can_tie(&self) -> bool;
    /// Whether U < p where they tie.
    fn settle(&self, draw: u64, ties: &mut T) -> bool;
    /// The draws, in the order of `np.packbits`, made of [`Odds::compare`]'s.
    fn arrange<S: Simd>(&self, batch: usize, below: &Group) -> S::U64;
}

/// One p for all draws.
#[derive(Clone, Copy)]
struct Same {
    p: Fraction,
    /// Digits to compare, the first in the highest bit.
    digits: u64,
    rounds: u32,
    /// Whether p was given by a positive logit, as 1 − p.
    complement: bool,
}

impl Same {
    fn new(p: f64, complement: bool) -> Same {
        let fraction = Fraction::of(p);
        Same { p: fraction, digits: fraction.digits(0), rounds: fraction.places.min(DIGITS), complement }
    }
}

/// The digits of one p, each over a vector.
struct Digits<W> {
    /// Where U < p before any digit.
    start: W,
    /// The last that is compared first.
    digits: [W; DIGITS as usize],
    rounds: usize,
}

impl<W: Words> Digits<W> {
    #[inline(always)]
    fn new(odds: &Same) -> Self {
        let (zeros, ones) = (W::splat(0), W::splat(u64::MAX));
        // U < 1 always, and 0 never: both have no digit after the point.
        let start = if odds.p.mantissa == 1 && odds.p.places == 0 { ones } else { zeros };
        let mut digits = [zeros; DIGITS as usize];
        let mut place = 0;
        while place < odds.rounds {
            let digit = odds.digits >> (64 - odds.rounds + place) & 1;
            digits[place as usize] = W::splat(digit.wrapping_neg());
            place += 1;
        }
        Digits { start, digits, rounds: odds.rounds as usize }
    }

    /// Where U < p by these digits, and where they are U's own.
    #[inline(always)]
    fn compare(&self, source: &mut impl Bits<W>) -> [W; 2] {
        let (mut less, mut same) = (self.start, W::splat(u64::MAX));
        for digit in &self.digits[..self.rounds] {
            // U's digit is what the random bit is not. Where p's is 1, less |= not, and a tie is where not is 0; where it
            // is 0, less &= not, and a tie is where not is 1.
            let not = source.next();
            less = less.and(not).or(digit.and(less.or(not)));
            same = same.and(not.xor(*digit));
        }
        [less, same]
    }
}

impl<T: Ties> Odds<T> for Same {
    #[inline(always)]
    fn compare<S: Simd, B: Bits<S::U64>>(
        &mut self,
        bits: &mut B,
        _first: u64,
        below: &mut [Group],
        tied: &mut [Group],
    ) {
        let mut source = *bits;
        let digits = Digits::new(self);
        for (below, tied) in below.iter_mut().zip(tied) {
            let [less, same] = digits.compare(&mut source);
            *below = less.to_array();
            *tied = same.to_array();
        }
        *bits = source;
    }

    #[inline(always)]
    fn can_tie(&self) -> bool {
        self.p.places > DIGITS
    }

    #[inline(always)]
    fn settle(&self, draw: u64, ties: &mut T) -> bool {
        self.p.settle(DIGITS, draw, ties)
    }

    #[inline(always)]
    fn arrange<S: Simd>(&self, _batch: usize, below: &Group) -> S::U64 {
        let draws = S::U64::from_array(below);
        if self.complement { draws.not() } else { draws }
    }
}

/// A p, or a logit, for each draw.
struct Each<'a, T> {
    values: Spread<'a, T>,
    logits: bool,
    /// The position in the stream of the block's first draw, and of the draw whose value is element 0.
    block: u64,
    zero: u64,
    /// The draws of the block that are wanted.
    range: (u64, u64),
    /// Where the logit was positive.
    flipped: [Group; BATCH],
    buffer: [T; GROUP],
}

impl<'a, T: Real> Each<'a, T> {
    fn new(values: Spread<'a, T>, logits: bool, block: u64, zero: u64, range: (u64, u64)) -> Self {
        Each { values, logits, block, zero, range, flipped: [[0; 8]; BATCH], buffer: [T::ZERO; GROUP] }
    }
}

/// 2⁵²: added to a whole number below it, the number stands in the low bits.
const TWO_52: f64 = 4_503_599_627_370_496.0;

impl<T: Real, F: Ties> Odds<F> for Each<'_, T> {
    #[inline(always)]
    fn compare<S: Simd, B: Bits<S::U64>>(
        &mut self,
        bits: &mut B,
        first: u64,
        below: &mut [Group],
        tied: &mut [Group],
    ) {
        let mut source = *bits;
        let mut group = 0;
        while group < below.len() {
            let draw = first + (group * GROUP) as u64;
            // The part of the group that has values; draws outside come out as 0, and nobody sees them.
            let (from, to) = (draw.max(self.range.0), (draw + GROUP as u64).min(self.range.1));
            let mut padded;
            let values = if from + GROUP as u64 == to {
                self.values.part(self.block + draw - self.zero, GROUP, &mut self.buffer)
            } else {
                padded = [T::ZERO; GROUP];
                if from < to {
                    let (at, n) = ((from - draw) as usize, (to - from) as usize);
                    let part = self.values.part(self.block + from - self.zero, n, &mut self.buffer);
                    padded[at..at + n].copy_from_slice(part);
                }
                &padded
            };
            [below[group], tied[group], self.flipped[group]] = if self.logits {
                compare_each::<S, T, B, true>(&mut source, values)
            } else {
                compare_each::<S, T, B, false>(&mut source, values)
            };
            group += 1;
        }
        *bits = source;
    }

    #[inline(always)]
    fn can_tie(&self) -> bool {
        true
    }

    fn settle(&self, draw: u64, ties: &mut F) -> bool {
        if draw < self.range.0 || draw >= self.range.1 {
            return false;
        }
        let position = self.block + draw;
        let mut buffer = [T::ZERO; 1];
        let value = self.values.part(position - self.zero, 1, &mut buffer)[0].f64();
        let p = if self.logits { scalar::sigmoid(-value.abs()) } else { value };
        // Only a value that another thread has changed since it was compared is outside.
        p > 0.0 && (p >= 1.0 || Fraction::of(p).settle(16, position, ties))
    }

    #[inline(always)]
    fn arrange<S: Simd>(&self, batch: usize, below: &Group) -> S::U64 {
        let flipped = S::U64::from_array(&self.flipped[batch]);
        S::U64::from_array(below).xor(flipped).reverse_bytes_bits()
    }
}

/// A group's first 16 digits against its probabilities (or logits): flags of U < p, of ties, of positive logits.
#[inline(always)]
fn compare_each<S: Simd, T: Real, B: Bits<S::U64>, const LOGITS: bool>(
    bits: &mut B,
    values: &[T],
) -> [Group; 3] {
    let (zero, one) = (constant::<S::F64>(0.0), constant::<S::F64>(1.0));
    let mut source = *bits;
    let mut flags = [[0u8; 64]; 3];
    let mut byte = 0;
    while byte < 64 {
        let word = source.next();
        let (now, later) = (T::sixteen::<S>(&values[8 * byte..]), T::sixteen::<S>(&values[8 * byte + 16..]));
        let values = [now[0], now[1], later[0], later[1]];
        let mut above = [zero; 4];
        let mut tie = zero.lt(zero);
        let mut i = 0;
        while i < 4 {
            let p = if LOGITS {
                flags[2][byte + i] = zero.lt(values[i]).bits() as u8;
                sigmoid(-values[i].abs())
            } else {
                values[i]
            };
            above[i] = above_16::<S>(p, word.shr(16 * i as i32));
            let ends = one.le(above[i]);
            flags[0][byte + i] = ends.bits() as u8;
            tie = tie.or(zero.lt(above[i]).and(ends.not()));
            i += 1;
        }
        if tie.any() {
            let mut i = 0;
            while i < 4 {
                flags[1][byte + i] = zero.lt(above[i]).bits() as u8 ^ flags[0][byte + i];
                i += 1;
            }
        }
        byte += 4;
    }
    *bits = source;
    [words(&flags[0]), words(&flags[1]), words(&flags[2])]
}

/// p·2¹⁶ − u for eight draws whose first 16 digits u are the low ones of each word: U < p if that is 1 or more, a tie
/// between 0 and 1. Rounding changes no sign, and nothing of at least 0.
#[inline(always)]
fn above_16<S: Simd>(p: S::F64, word: S::U64) -> S::F64 {
    let number = S::reals(word.and(S::U64::splat(0xffff)).or(S::U64::splat(TWO_52.to_bits())));
    p.mul_add(constant(65_536.0), constant::<S::F64>(TWO_52) - number)
}

/// Eight bytes a word, the first lowest.
#[inline(always)]
fn words(bytes: &[u8; 64]) -> Group {
    let mut words = [0; 8];
    let mut i = 0;
    while i < 8 {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[8 * i..8 * i + 8]);
        words[i] = u64::from_le_bytes(eight);
        i += 1;
    }
    words
}

/// The draws `from..to` of a block, compared with `odds`, into `out`.
#[inline(always)]
fn draw<S: Simd, F: Ties, O: Odds<F>>(
    bits: &mut impl Bits<S::U64>,
    ties: &mut F,
    odds: &mut O,
    (from, to): (u64, u64),
    out: &mut impl Sink,
) {
    let (mut below, mut tied) = ([[0; 8]; BATCH], [[0; 8]; BATCH]);
    let mut first = 0;
    while first < to {
        let groups = ((to - first).div_ceil(GROUP as u64) as usize).min(BATCH);
        odds.compare::<S, _>(bits, first, &mut below[..groups], &mut tied[..groups]);
        // One flag for each word of 64 draws: what cannot be foreseen is looked at once a batch.
        let mut flags = 0;
        let mut group = 0;
        while group < groups && odds.can_tie() {
            flags |= u64::from(S::U64::from_array(&tied[group]).nonzero()) << (8 * group);
            group += 1;
        }
        while flags != 0 {
            let word = flags.trailing_zeros() as usize;
            flags &= flags - 1;
            let (group, lane) = (word / 8, word % 8);
            let mut same = tied[group][lane];
            while same != 0 {
                let bit = same.trailing_zeros();
                same &= same - 1;
                let draw = first + (64 * word) as u64 + u64::from(bit);
                below[group][lane] |= u64::from(odds.settle(draw, ties)) << bit;
            }
        }
        let mut group = 0;
        while group < groups {
            let start = first + (group * GROUP) as u64;
            let (begin, end) = (from.max(start) - start, to.min(start + GROUP as u64) - start);
            if begin < end {
                let draws = odds.arrange::<S>(group, &below[group]);
                out.put::<S>(draws, begin as usize, end as usize);
            }
            group += 1;
        }
        first += (groups * GROUP) as u64;
    }
}

/// The same where p has so few digits that no draw ties: straight into `out`.
#[inline(always)]
fn draw_untied<S: Simd>(bits: &impl Bits<S::U64>, odds: &Same, (from, to): (u64, u64), out: &mut impl Sink) {
    let mut source = *bits;
    let digits = Digits::<S::U64>::new(odds);
    let mut start = 0;
    while start < to {
        // p = ½ is decided by the random bits themselves.
        let [less, _] = if odds.rounds == 1 { [source.next(); 2] } else { digits.compare(&mut source) };
        let (begin, end) = (from.max(start) - start, to.min(start + GROUP as u64) - start);
        if begin < end {
            let draws = if odds.complement { less.not() } else { less };
            out.put::<S>(draws, begin as usize, end as usize);
        }
        start += GROUP as u64;
    }
}

/// The probabilities of draws.
#[derive(Clone, Copy, Debug)]
pub enum Parameter<'a> {
    /// One for all, from 0 to 1.
    P(f64),
    /// One for all, by its logit.
    Logit(f64),
    /// One for each draw: probabilities (or logits) of either type.
    Each32(Spread<'a, f32>, bool),
    /// See [`Parameter::Each32`].
    Each64(Spread<'a, f64>, bool),
}

struct Draws<'a, O> {
    parameter: Parameter<'a>,
    seed: Seed,
    /// The position of the draw that has element 0 of the parameter.
    zero: u64,
    /// The positions wanted.
    from: u64,
    to: u64,
    out: O,
}

impl<O: Sink> Kernel for Draws<'_, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Draws { parameter, seed, zero, from, to, mut out } = self;
        let [first_bits, ties] = [0, 1].map(|index| Stream::new(seed, Purpose::Bernoulli, 0, index));
        let mut position = from;
        while position < to {
            let number = position / BLOCK;
            let block = number * BLOCK;
            let range = (position - block, (to - block).min(BLOCK));
            let mut bits = Generator::<S::U64>::new(&first_bits, number);
            let mut named = Named { stream: ties };
            match parameter {
                Parameter::P(_) | Parameter::Logit(_) => {
                    let mut odds = match parameter {
                        Parameter::Logit(logit) => Same::new(scalar::sigmoid(-logit.abs()), logit > 0.0),
                        // 1 − p is exact; which of the two is drawn depends on p alone.
                        Parameter::P(p) if p > ALMOST_ONE && p < 1.0 => Same::new(1.0 - p, true),
                        Parameter::P(p) => Same::new(p, false),
                        _ => continue,
                    };
                    if odds.p.places <= DIGITS {
                        draw_untied::<S>(&bits, &odds, range, &mut out);
                    } else {
                        let mut ties = Successive::new(ties, number);
                        match Rare::of(odds.p) {
                            Some(rare) => {
                                let rare = (rare, odds.complement);
                                rare::draw::<S>(&bits, &mut ties, rare, range, &mut out);
                            }
                            None => draw::<S, _, _>(&mut bits, &mut ties, &mut odds, range, &mut out),
                        }
                    }
                }
                Parameter::Each32(values, logits) => {
                    let mut odds = Each::new(values, logits, block, zero, range);
                    draw::<S, _, _>(&mut bits, &mut named, &mut odds, range, &mut out);
                }
                Parameter::Each64(values, logits) => {
                    let mut odds = Each::new(values, logits, block, zero, range);
                    draw::<S, _, _>(&mut bits, &mut named, &mut odds, range, &mut out);
                }
            }
            position = block + range.1;
        }
    }
}

/// Nanoseconds a draw takes, roughly: for deciding whether a thread pays.
fn nanoseconds(parameter: &Parameter) -> f64 {
    match parameter {
        Parameter::P(_) | Parameter::Logit(_) => 0.05,
        Parameter::Each32(_, false) | Parameter::Each64(_, false) => 0.4,
        Parameter::Each32(_, true) | Parameter::Each64(_, true) => 2.0,
    }
}

/// Blocks that a thread draws at a time.
const BLOCKS_AT_A_TIME: u64 = 16;

/// The positions from `start` to `end`, cut so that whole blocks stay together.
fn pieces(start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> + Send {
    const LENGTH: u64 = BLOCKS_AT_A_TIME * BLOCK;
    (start / LENGTH..end.div_ceil(LENGTH))
        .map(move |i| (start.max(i * LENGTH), end.min((i + 1) * LENGTH)))
        .filter(|(from, to)| from < to)
}

/// Draws `start..start + out.len()` of the stream as numbers: `one` for 1, 0 for 0.
///
/// Probabilities are from 0 to 1 and logits not NaN; `start + out.len()` is at most 2⁶³.
pub fn sample<E: Pattern>(
    parameter: Parameter,
    seed: Seed,
    start: u64,
    one: E,
    out: &mut [E],
    n_threads: Option<usize>,
) {
    let n = out.len() as u64;
    let count = pieces(start, start + n).count();
    let threads = parallel::threads(n_threads, count, nanoseconds(&parameter) * n as f64);
    let mut rest = out;
    let parts = pieces(start, start + n).map(|(from, to)| {
        let (part, later) = std::mem::take(&mut rest).split_at_mut((to - from) as usize);
        rest = later;
        (from, to, part)
    });
    parallel::for_each(threads, parts, |(from, to, out)| {
        let out = Numbers { out, one, done: 0 };
        dispatch(Draws { parameter, seed, zero: start, from, to, out });
    });
}

/// Draws `start..start + n` of the stream as bits, eight a byte, the first highest; the last byte ends in zeros.
///
/// As [`sample`]; `out` has ⌈n/8⌉ bytes.
pub fn sample_packed(
    parameter: Parameter,
    seed: Seed,
    start: u64,
    n: u64,
    out: &mut [u8],
    n_threads: Option<usize>,
) {
    if !start.is_multiple_of(8) {
        let out = Packed { out, done: 0 };
        return dispatch(Draws { parameter, seed, zero: start, from: start, to: start + n, out });
    }
    let count = pieces(start, start + n).count();
    let threads = parallel::threads(n_threads, count, nanoseconds(&parameter) * n as f64);
    let mut rest = out;
    let parts = pieces(start, start + n).map(|(from, to)| {
        let (part, later) = std::mem::take(&mut rest).split_at_mut((to - from).div_ceil(8) as usize);
        rest = later;
        (from, to, part)
    });
    parallel::for_each(threads, parts, |(from, to, out)| {
        dispatch(Draws { parameter, seed, zero: start, from, to, out: Packed { out, done: 0 } });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    fn at_every_level(mut check: impl FnMut(Level)) {
        let before = Level::current();
        Level::ALL.into_iter().filter(|level| level.set()).for_each(&mut check);
        before.set();
    }

    /// Random bits that are p's own first digits, for every draw.
    #[derive(Clone, Copy)]
    struct Tying<'a> {
        p: Fraction,
        parameter: Parameter<'a>,
        place: u32,
    }

    impl<W: Words> Bits<W> for Tying<'_> {
        fn next(&mut self) -> W {
            let digits = self.p.digits(0);
            if matches!(self.parameter, Parameter::P(_) | Parameter::Logit(_)) {
                let rounds = self.p.places.min(DIGITS);
                let place = rounds - self.place % rounds;
                self.place += 1;
                return W::splat(if digits >> (64 - place) & 1 == 1 { 0 } else { u64::MAX });
            }
            W::splat((digits >> 48) * 0x0001_0001_0001_0001)
        }
    }

    /// Further words that are p's own digits up to word number `depth`, which differs by `off`.
    struct Deep {
        p: Fraction,
        before: u32,
        depth: u64,
        off: i64,
    }

    impl Ties for Deep {
        fn word(&mut self, _position: u64, part: u64) -> u64 {
            let digits = self.p.digits(self.before + 64 * part as u32);
            if part == self.depth { digits.wrapping_add_signed(self.off) } else { digits }
        }
    }

    struct Tied<'a> {
        parameter: Parameter<'a>,
        p: f64,
        depth: u64,
        off: i64,
        out: &'a mut [u8],
    }

    impl Kernel for Tied<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self) {
            let p = Fraction::of(self.p);
            let mut bits = Tying { p, parameter: self.parameter, place: 0 };
            let n = self.out.len() as u64;
            let mut out = Numbers { out: self.out, one: 1, done: 0 };
            let mut deep = Deep { p, before: DIGITS, depth: self.depth, off: self.off };
            match self.parameter {
                Parameter::Each64(values, logits) => {
                    deep.before = 16;
                    let mut odds = Each::new(values, logits, 0, 0, (0, n));
                    draw::<S, _, _>(&mut bits, &mut deep, &mut odds, (0, n), &mut out);
                }
                _ => {
                    draw::<S, _, _>(&mut bits, &mut deep, &mut Same::new(self.p, false), (0, n), &mut out);
                }
            }
        }
    }

    #[test]
    fn ties_of_any_depth_are_settled_by_the_next_bits() {
        // 8 or 16 digits tie, then 0, 1, … words of 64 more; 1,074 digits are all that the least p has.
        for (p, depths) in [
            (0.3, 0..1),
            (1.0 / 3.0, 0..1),
            (1.0 - f64::EPSILON / 2.0, 0..1),
            (1e-10, 0..2),
            (1e-300, 15..17),
            (5e-324, 16..17),
            (2.5e-308, 15..17),
        ] {
            for depth in depths {
                for off in [-1, 0, 1] {
                    at_every_level(|level| {
                        let values = [p];
                        let each = Parameter::Each64(Spread { values: &values, each: 1 }, false);
                        for parameter in [Parameter::P(p), each] {
                            let before = if matches!(parameter, Parameter::P(_)) { DIGITS } else { 16 };
                            let fraction = Fraction::of(p);
                            let digits = fraction.digits(before + 64 * depth as u32);
                            if before + 64 * depth as u32 >= fraction.places
                                || digits.checked_add_signed(off).is_none()
                            {
                                continue;
                            }
                            let mut out = [9; 1000];
                            dispatch(Tied { parameter, p, depth, off, out: &mut out });
                            // U = p is not below p; a word one less is, one more is not.
                            assert_eq!(
                                out,
                                [u8::from(off < 0); 1000],
                                "{level:?} {p} {depth} {off} {before}"
                            );
                        }
                    });
                }
            }
        }
    }

    fn draws(parameter: Parameter, start: u64, n: usize, threads: usize) -> Vec<u8> {
        let mut out = vec![9; n];
        sample(parameter, Seed([1, 2]), start, 1u8, &mut out, Some(threads));
        out
    }

    #[test]
    fn draws_do_not_depend_on_cut_level_threads_or_type() {
        let n = 600_001;
        let p: Vec<f64> = (0..n).map(|i| (i % 1013) as f64 / 1012.0).collect();
        let short: Vec<f32> = p[..100].iter().map(|p| *p as f32).collect();
        let whole = |values| Spread { values, each: 1 };
        let before = Level::current();
        for parameter in [
            Parameter::P(0.3),
            Parameter::P(0.625),
            Parameter::P(1e-3),
            Parameter::P(1e-5),
            Parameter::P(0.998),
            Parameter::P(0.0),
            Parameter::P(1.0),
            Parameter::Logit(0.7),
            Parameter::Logit(8.0),
            Parameter::Each64(whole(&p), false),
            Parameter::Each64(whole(&p), true),
            Parameter::Each32(Spread { values: &short, each: 3 }, false),
        ] {
            Level::Portable.set();
            let expected = draws(parameter, 0, n, 1);
            at_every_level(|level| {
                for threads in [1, 2, 8] {
                    assert!(draws(parameter, 0, n, threads) == expected, "{level:?} {parameter:?}");
                }
                let mut wide = vec![0u32; n];
                sample(parameter, Seed([1, 2]), 0, 1f32.to_bits(), &mut wide, None);
                assert!(wide.iter().zip(&expected).all(|(w, e)| f32::from_bits(*w) == f32::from(*e)));
                for start in [0, 8, 3, 131_072, 400_000] {
                    if start > 0 && !matches!(parameter, Parameter::P(_) | Parameter::Logit(_)) {
                        continue;
                    }
                    let part = draws(parameter, start, 100_000, 1);
                    let wanted = &expected[start as usize..start as usize + 100_000];
                    assert!(part == wanted, "{level:?} {parameter:?} {start}");
                    let mut packed = vec![0xff; 12_500];
                    sample_packed(parameter, Seed([1, 2]), start, 99_999, &mut packed, Some(2));
                    for (i, draw) in wanted[..99_999].iter().enumerate() {
                        assert_eq!(packed[i / 8] >> (7 - i % 8) & 1, *draw, "{level:?} {parameter:?} {i}");
                    }
                    assert_eq!(packed[12_499] & 1, 0);
                }
            });
        }
        before.set();
    }

    #[test]
    fn shares_are_the_probabilities() {
        let n = 4_000_000;
        for p in [0.5, 0.3, 0.001, 0.75, 1.0 - 1e-4, 0.71875, 1e-9] {
            let values = [p];
            let each = Parameter::Each64(Spread { values: &values, each: 1 }, false);
            let logit = Parameter::Logit(crate::math::scalar::ln(p / (1.0 - p)));
            for parameter in [Parameter::P(p), each, logit] {
                let ones: u64 = draws(parameter, 0, n, 2).iter().map(|draw| u64::from(*draw)).sum();
                let (mean, variance) = (n as f64 * p, n as f64 * p * (1.0 - p));
                assert!((ones as f64 - mean).abs() <= 5.0 * variance.sqrt() + 1.0, "{parameter:?} {ones}");
            }
        }
    }
}
