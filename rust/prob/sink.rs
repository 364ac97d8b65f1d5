//! Where draws go: bytes, numbers of any type, bits.

use super::bernoulli::GROUP;
use crate::simd::{Simd, Words};

/// Where draws go.
pub trait Sink {
    /// The draws `from..to` of a group come next.
    fn put<S: Simd>(&mut self, group: S::U64, from: usize, to: usize);
    /// A whole group of the same comes next.
    fn repeat<S: Simd>(&mut self, bit: bool);
}

/// Bytes of 0 and 1 as numbers of any type: `one` for 1, 0 for 0.
pub struct Numbers<'a, E> {
    /// As long as there are draws.
    pub out: &'a mut [E],
    /// What stands for 1.
    pub one: E,
    /// Draws put so far.
    pub done: usize,
}

/// A type of unsigned words as wide as the numbers that are drawn.
pub trait Pattern: Copy + Send + Sync + From<u8> + std::ops::Mul<Output = Self> + 'static {
    /// The same slice if these are bytes.
    fn bytes(out: &mut [Self]) -> Option<&mut [u8]>;
}

impl Pattern for u8 {
    #[inline(always)]
    fn bytes(out: &mut [u8]) -> Option<&mut [u8]> {
        Some(out)
    }
}

macro_rules! patterns {
    ($($t:ty)*) => {$(
        impl Pattern for $t {
            #[inline(always)]
            fn bytes(_out: &mut [$t]) -> Option<&mut [u8]> {
                None
            }
        }
    )*};
}
patterns!(u16 u32 u64);

impl<E: Pattern> Sink for Numbers<'_, E> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, group: S::U64, from: usize, to: usize) {
        let out = &mut self.out[self.done..self.done + (to - from)];
        self.done += to - from;
        if let Some(Ok(whole)) = E::bytes(out).map(<&mut [u8; GROUP]>::try_from) {
            return group.spread_bits(whole);
        }
        let mut spread = [0; GROUP];
        group.spread_bits(&mut spread);
        for (to, bit) in out.iter_mut().zip(&spread[from..to]) {
            *to = E::from(*bit) * self.one;
        }
    }

    #[inline(always)]
    fn repeat<S: Simd>(&mut self, bit: bool) {
        let value = E::from(u8::from(bit)) * self.one;
        self.out[self.done..self.done + GROUP].fill(value);
        self.done += GROUP;
    }
}

/// Bits in the order of `np.packbits`.
pub struct Packed<'a> {
    /// Room for them; the last byte ends in zeros.
    pub out: &'a mut [u8],
    /// Draws put so far.
    pub done: usize,
}

impl Sink for Packed<'_> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, group: S::U64, from: usize, to: usize) {
        let place = self.done / 8;
        if from == 0 && to == GROUP && self.done.is_multiple_of(8) {
            let out = &mut self.out[place..place + GROUP / 8];
            for (eight, word) in out.chunks_exact_mut(8).zip(group.to_array()) {
                eight.copy_from_slice(&word.to_le_bytes());
            }
        } else {
            let words = group.to_array();
            self.out[self.done.div_ceil(8)..(self.done + to - from).div_ceil(8)].fill(0);
            for draw in from..to {
                let byte = words[draw / 64].to_le_bytes()[draw / 8 % 8];
                let to = self.done + draw - from;
                self.out[to / 8] |= (byte >> (7 - draw % 8) & 1) << (7 - to % 8);
            }
        }
        self.done += to - from;
    }

    #[inline(always)]
    fn repeat<S: Simd>(&mut self, bit: bool) {
        self.put::<S>(S::U64::splat(if bit { u64::MAX } else { 0 }), 0, GROUP);
    }
}
