//! Random numbers without shared state.
//!
//! A [`Stream`] is named by (seed, purpose, member, index). Its words come in blocks; a block is eight lanes of SFC64
//! (Chris Doty-Humphrey's generator, as in PractRand and NumPy), each lane keyed by the counter-based function
//! Threefry-4x64-20 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") of (stream, block, lane).
//! So any block can be made by any thread at any time, and inside a block the generator is as fast as memory.

use crate::simd::{Kernel, Lanes, Simd, Words, dispatch};

/// What a stream is for: streams of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Making a key of a seed.
    Seed = 0,
    /// The bits of Bernoulli draws; the index tells first bits from those that settle ties.
    Bernoulli = 1,
    /// The uniforms of categorical draws.
    Categorical = 2,
    /// A network's first parameters; the index is the layer.
    Initial = 3,
    /// The order of rows; the index is the epoch.
    Shuffle = 4,
    /// The choice of validation rows.
    Split = 5,
    /// Which numbers of the hidden layers are dropped; the index is step · (hidden layers) + layer.
    Dropout = 6,
    /// How a batch is mixed with itself; the index is the step.
    Mixup = 7,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Purpose; 8] = [
        Purpose::Seed,
        Purpose::Bernoulli,
        Purpose::Categorical,
        Purpose::Initial,
        Purpose::Shuffle,
        Purpose::Split,
        Purpose::Dropout,
        Purpose::Mixup,
    ];
}

/// A 128-bit key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u64; 2]);

impl Seed {
    /// The key of a number of any length, given as its words, lowest first.
    pub fn from_words(words: &[u64]) -> Seed {
        let mut key = [0x6572_6d69_6e00_0000, words.len() as u64, 0, 0]; // "ermin"
        for (i, word) in words.iter().enumerate() {
            let counter = [*word, i as u64, Purpose::Seed as u64, 0].map(Lanes::splat);
            key = threefry(key, counter).map(|lanes: Lanes<u64, 8>| lanes.0[0]);
        }
        Seed([key[0], key[1]])
    }
}

/// A stream of random words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u64; 4],
}

/// Words in a block of [`Stream::words`]: calls that end where blocks end cost nothing twice.
pub const BLOCK: u64 = 4096;

impl Stream {
    /// The stream of that name; `member` counts networks trained side by side, 0 for one alone.
    pub fn new(seed: Seed, purpose: Purpose, member: u32, index: u64) -> Stream {
        let name = u64::from(purpose as u32) << 32 | u64::from(member);
        Stream { key: [seed.0[0], seed.0[1], name, index] }
    }

    /// The words of the stream from position `start` on, as many as `to` holds. The words at a position do not depend
    /// on how the stream is cut into calls.
    pub fn words(&self, start: u64, to: &mut [u64]) {
        dispatch(FillWords { stream: self, start, to });
    }

    /// Uniform numbers in [0, 1), multiples of 2⁻⁵³, from positions `start` on.
    pub fn uniform(&self, start: u64, to: &mut [f64]) {
        self.each_word(start, to, unit);
    }

    /// Uniform numbers in (0, 1), odd multiples of 2⁻⁵³: for quantile functions that are infinite at the ends.
    pub fn open_uniform(&self, start: u64, to: &mut [f64]) {
        self.each_word(start, to, open_unit);
    }

    /// Four words named by two numbers: for draws that need more bits once in a while, each by its own position.
    pub fn named(&self, position: u64, part: u64) -> [u64; 4] {
        threefry(self.key, [position, part, 1, 0].map(Lanes::<u64, 8>::splat)).map(|lanes| lanes.0[0])
    }

    fn each_word(&self, start: u64, to: &mut [f64], f: impl Fn(u64) -> f64) {
        let mut words = [0; 512];
        for (i, chunk) in to.chunks_mut(512).enumerate() {
            let words = &mut words[..chunk.len()];
            self.words(start + 512 * i as u64, words);
            for (to, word) in chunk.iter_mut().zip(words) {
                *to = f(*word);
            }
        }
    }

    /// A permutation of 0..n.
    pub fn permutation(&self, to: &mut [u32]) {
        for (i, place) in to.iter_mut().enumerate() {
            *place = i as u32;
        }
        Sequence::new(*self).shuffle(to);
    }
}

/// The word's first 53 bits as a multiple of 2⁻⁵³ in [0, 1).
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// The word's first 52 bits as an odd multiple of 2⁻⁵³ in (0, 1).
fn open_unit(word: u64) -> f64 {
    ((word >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
}

/// So many words come first, before they come 256 at a time.
const FIRST: usize = 16;

/// The words of a stream one after the other.
pub struct Sequence {
    stream: Stream,
    position: u64,
    buffer: [u64; 256],
}

impl Sequence {
    /// Starts at the stream's first word.
    pub fn new(stream: Stream) -> Self {
        Sequence { stream, position: 0, buffer: [0; 256] }
    }

    /// The next word.
    #[inline]
    pub fn word(&mut self) -> u64 {
        let place = (self.position % 256) as usize;
        // Few are wanted often: the order of a small batch. So the first ones come by themselves.
        match self.position {
            0 => self.stream.words(0, &mut self.buffer[..FIRST]),
            position if position == FIRST as u64 => {
                self.stream.words(position, &mut self.buffer[FIRST..]);
            }
            position if place == 0 => self.stream.words(position, &mut self.buffer),
            _ => {}
        }
        self.position += 1;
        self.buffer[place]
    }

    /// An integer in 0..bound, each equally likely; `bound` is not 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.word()) * u128::from(bound);
        if (product as u64) < bound {
            let unfair = bound.wrapping_neg() % bound;
            while (product as u64) < unfair {
                product = u128::from(self.word()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// A uniform number in (0, 1), an odd multiple of 2⁻⁵³.
    pub fn open_uniform(&mut self) -> f64 {
        open_unit(self.word())
    }

    /// Puts the numbers into an order, each equally likely, by Fisher and Yates' shuffle with exact bounded integers
    /// (Lemire 2019, "Fast random integer generation in an interval").
    pub fn shuffle(&mut self, numbers: &mut [u32]) {
        for i in (1..numbers.len()).rev() {
            numbers.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// Eight lanes of SFC64 in the middle of a block.
#[derive(Clone, Copy)]
pub struct Generator<W> {
    a: W,
    b: W,
    c: W,
    counter: W,
}

impl<W: Words> Generator<W> {
    /// The generator at the beginning of a block.
    #[inline(always)]
    pub fn new(stream: &Stream, block: u64) -> Self {
        let lane = W::from_array(&[0, 1, 2, 3, 4, 5, 6, 7]);
        let [a, b, c, _] = threefry(stream.key, [W::splat(block), lane, W::splat(0), W::splat(0)]);
        let mut generator = Generator { a, b, c, counter: W::splat(1) };
        let mut round = 0;
        while round < 12 {
            generator.next();
            round += 1;
        }
        generator
    }

    /// The next 512 bits.
    #[inline(always)]
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> W {
        let word = self.a.add(self.b).add(self.counter);
        self.counter = self.counter.add(W::splat(1));
        self.a = self.b.xor(self.b.shr(11));
        self.b = self.c.add(self.c.shl(3));
        self.c = self.c.rotl(24).add(word);
        word
    }
}

/// Threefry-4x64 with 20 rounds, of eight counters under one key.
#[inline(always)]
fn threefry<W: Words>(key: [u64; 4], counter: [W; 4]) -> [W; 4] {
    const ROTATIONS: [[i32; 2]; 8] =
        [[14, 16], [52, 57], [23, 40], [5, 37], [25, 33], [46, 12], [58, 22], [32, 32]];
    let parity = 0x1bd1_1bda_a9fc_1a22 ^ key[0] ^ key[1] ^ key[2] ^ key[3];
    let key = [key[0], key[1], key[2], key[3], parity];
    let [mut x0, mut x1, mut x2, mut x3] = counter;
    let mut round = 0;
    while round <= 20 {
        if round % 4 == 0 {
            let i = round / 4;
            x0 = x0.add(W::splat(key[i % 5]));
            x1 = x1.add(W::splat(key[(i + 1) % 5]));
            x2 = x2.add(W::splat(key[(i + 2) % 5]));
            x3 = x3.add(W::splat(key[(i + 3) % 5].wrapping_add(i as u64)));
        }
        if round == 20 {
            break;
        }
        let [first, second] = ROTATIONS[round % 8];
        x0 = x0.add(x1);
        x1 = x1.rotl(first).xor(x0);
        x2 = x2.add(x3);
        x3 = x3.rotl(second).xor(x2);
        (x1, x3) = (x3, x1);
        round += 1;
    }
    [x0, x1, x2, x3]
}

struct FillWords<'a> {
    stream: &'a Stream,
    start: u64,
    to: &'a mut [u64],
}

impl Kernel for FillWords<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut position = self.start;
        let mut to = self.to;
        while !to.is_empty() {
            let mut generator = Generator::<S::U64>::new(self.stream, position / BLOCK);
            let within = position % BLOCK;
            let n = to.len().min((BLOCK - within) as usize);
            let (now, later) = to.split_at_mut(n);
            let mut skipped = 0;
            while skipped + 8 <= within {
                generator.next();
                skipped += 8;
            }
            // The first words may start inside a group of eight.
            let (first, rest) =
                now.split_at_mut(if within == skipped { 0 } else { n.min((skipped + 8 - within) as usize) });
            if !first.is_empty() {
                let group = generator.next().to_array();
                let from = (within - skipped) as usize;
                first.copy_from_slice(&group[from..from + first.len()]);
            }
            let mut groups = rest.chunks_exact_mut(8);
            for group in &mut groups {
                group.copy_from_slice(&generator.next().to_array());
            }
            let last = groups.into_remainder();
            if !last.is_empty() {
                let group = generator.next().to_array();
                last.copy_from_slice(&group[..last.len()]);
            }
            position += n as u64;
            to = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    /// Random123's kat_vectors, "threefry4x64 20".
    #[test]
    fn threefry_gives_the_published_vectors() {
        let zero = threefry([0; 4], [Lanes::<u64, 8>::splat(0); 4]).map(|x| x.0[3]);
        assert_eq!(zero, [0x09218ebde6c85537, 0x55941f5266d86105, 0x4bd25e16282434dc, 0xee29ec846bd2e40b]);
        let ones = threefry([u64::MAX; 4], [Lanes::<u64, 8>::splat(u64::MAX); 4]).map(|x| x.0[0]);
        assert_eq!(ones, [0x29c24097942bba1b, 0x0371bbfb0f6f4e11, 0x3c231ffa33f83a1c, 0xcd29113fde32d168]);
    }

    /// numpy.random.SFC64 with its state set to (a, b, c, counter) = (1, 2, 3, 4).
    #[test]
    fn a_lane_is_the_published_generator() {
        let [a, b, c, counter] = [1, 2, 3, 4].map(Lanes::<u64, 8>::splat);
        let mut generator = Generator { a, b, c, counter };
        let words = [(); 4].map(|()| generator.next().0[5]);
        assert_eq!(words, [0x7, 0x22, 0x1b000060, 0x1b00005a036178]);
    }

    #[test]
    fn words_do_not_depend_on_the_cut_or_the_level() {
        let stream = Stream::new(Seed::from_words(&[7]), Purpose::Shuffle, 0, 3);
        let before = Level::current();
        let mut whole = vec![0; 10_000];
        Level::Portable.set();
        stream.words(0, &mut whole);
        for level in Level::ALL.into_iter().filter(|level| level.set()) {
            for (start, n) in [(0, 10_000), (1, 9), (4095, 3), (4089, 100), (8191, 1), (17, 5000)] {
                let mut part = vec![0; n];
                stream.words(start as u64, &mut part);
                assert_eq!(part, whole[start..start + n], "{level:?} {start} {n}");
            }
        }
        before.set();
    }

    #[test]
    fn uniform_numbers_reach_the_ends_of_their_ranges_and_no_further() {
        assert_eq!((unit(0), unit(u64::MAX)), (0.0, 1.0 - f64::EPSILON / 2.0));
        assert_eq!((open_unit(0), open_unit(u64::MAX)), (f64::EPSILON / 2.0, 1.0 - f64::EPSILON / 2.0));
        assert_eq!(open_unit(1 << 63), 0.5 + f64::EPSILON / 2.0);
        let stream = Stream::new(Seed([3, 4]), Purpose::Initial, 0, 0);
        let (mut words, mut closed, mut open) = ([0; 1100], [0.0; 1100], [0.0; 1100]);
        stream.words(5, &mut words);
        stream.uniform(5, &mut closed);
        stream.open_uniform(5, &mut open);
        assert_eq!(closed.to_vec(), words.map(unit).to_vec());
        assert_eq!(open.to_vec(), words.map(open_unit).to_vec());
    }

    #[test]
    fn all_purposes_are_listed_and_differ() {
        let streams = Purpose::ALL.map(|purpose| Stream::new(Seed([1, 2]), purpose, 0, 0));
        for (i, purpose) in Purpose::ALL.into_iter().enumerate() {
            assert_eq!(purpose as usize, i);
            assert!(!streams[..i].contains(&streams[i]));
        }
    }

    #[test]
    fn a_permutation_holds_every_number_once_and_is_uniform() {
        let mut counts = [0; 24];
        for index in 0..24_000 {
            let mut p = [0; 4];
            Stream::new(Seed([1, 2]), Purpose::Shuffle, 0, index).permutation(&mut p);
            let mut seen = [false; 4];
            p.iter().for_each(|i| seen[*i as usize] = true);
            assert_eq!(seen, [true; 4]);
            let rank =
                p[0] * 6 + p[1..].iter().filter(|x| **x < p[1]).count() as u32 * 2 + u32::from(p[2] > p[3]);
            counts[rank as usize] += 1;
        }
        // 1,000 expected in each, σ ≈ 31: all within five.
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }
}
