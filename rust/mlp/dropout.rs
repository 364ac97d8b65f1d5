//! Dropout: during training each number that leaves a hidden layer is 0 with probability p, and 1/(1 − p) times itself
//! otherwise, so that its mean is what it was (Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
//! from overfitting", scaled in training).
//!
//! Which are dropped is a function of (seed, layer, step, row of the batch, number in the layer) alone: neither threads
//! nor blocks nor the SIMD level matter. p is a multiple of 2⁻¹⁶, so that 16 random bits decide.

use crate::random::{BLOCK, Generator, Stream};
use crate::simd::{Kernel, Real, Simd, Words};

/// Rows that share random words: sixteen halves of eight words decide about a number in the layer for sixteen rows of
/// the batch, the other halves about the next number. Eights of words are in the order (rows / `GROUP`, number / 2).
const GROUP: usize = 16;
/// Eights of words in a block of the stream.
const EIGHTS: usize = BLOCK as usize / 8;

/// The numerator of p over 2¹⁶, nearest to `p` and below 1.
pub fn share_of_65536(p: f64) -> u32 {
    ((p * 65536.0).round() as u32).min(65535)
}

/// Drops `share`/2¹⁶ of a hidden layer's numbers for a block of rows; the derivative of what is dropped is 0 too.
pub struct Drop<'a, T> {
    /// Of the layer and step.
    pub stream: &'a Stream,
    /// See [`share_of_65536`].
    pub share: u32,
    /// What the activation made of the sums, feature-major.
    pub values: &'a mut [T],
    /// Its derivative, of the same layout.
    pub slope: &'a mut [T],
    /// Numbers in the layer.
    pub width: usize,
    /// The distance of rows.
    pub row: usize,
    /// Rows of the batch in the block, the first of them, a multiple of [`GROUP`], at the place `first` in the batch.
    pub n: usize,
    /// See `n`.
    pub first: usize,
}

impl<T: Real> Kernel for Drop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        debug_assert!(self.first.is_multiple_of(GROUP));
        let scale = T::of(65536.0 / f64::from(65536 - self.share));
        let pairs = self.width.div_ceil(2);
        let mut position = self.first / GROUP * pairs;
        let mut generator = Generator::<S::U64>::new(self.stream, (position / EIGHTS) as u64);
        let mut skipped = 0;
        while skipped < position % EIGHTS {
            generator.next();
            skipped += 1;
        }
        for begin in (0..self.n).step_by(GROUP) {
            let end = (begin + GROUP).min(self.row);
            for pair in 0..pairs {
                let words = generator.next().to_array();
                position += 1;
                if position.is_multiple_of(EIGHTS) {
                    generator = Generator::<S::U64>::new(self.stream, (position / EIGHTS) as u64);
                }
                let mut bits = [0u32; GROUP];
                let mut i = 0;
                while i < GROUP {
                    bits[i] = (words[i / 2] >> (32 * (i % 2))) as u32;
                    i += 1;
                }
                let place = 2 * pair * self.row;
                keep(&bits, self.share, scale, &mut self.values[place + begin..place + end]);
                keep(&bits, self.share, scale, &mut self.slope[place + begin..place + end]);
                if 2 * pair + 1 < self.width {
                    let mut i = 0;
                    while i < GROUP {
                        bits[i] >>= 16;
                        i += 1;
                    }
                    let place = place + self.row;
                    keep(&bits, self.share, scale, &mut self.values[place + begin..place + end]);
                    keep(&bits, self.share, scale, &mut self.slope[place + begin..place + end]);
                }
            }
        }
    }
}

/// Scales the numbers whose lower 16 bits are at least `share`; the others become 0.
#[inline(always)]
fn keep<T: Real>(bits: &[u32; GROUP], share: u32, scale: T, numbers: &mut [T]) {
    let mut all = [T::ZERO; GROUP];
    let whole = numbers.len() == GROUP;
    if whole {
        all.copy_from_slice(numbers);
    } else {
        all[..numbers.len()].copy_from_slice(numbers);
    }
    let mut i = 0;
    while i < GROUP {
        let scaled = all[i] * scale;
        all[i] = if bits[i] & 0xffff < share { T::ZERO } else { scaled };
        i += 1;
    }
    if whole {
        numbers.copy_from_slice(&all);
    } else {
        let n = numbers.len();
        numbers.copy_from_slice(&all[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Seed};
    use crate::simd::dispatch;

    fn drop_in_blocks(blocks: &[usize], width: usize, share: u32) -> Vec<f32> {
        let stream = Stream::new(Seed([3, 4]), Purpose::Dropout, 0, 9);
        let (mut all, mut first) = (Vec::new(), 0);
        for n in blocks {
            let row = n.div_ceil(16) * 16;
            let (mut values, mut slope) = (vec![1.0f32; width * row], vec![2.0f32; width * row]);
            let (v, d) = (&mut values, &mut slope);
            dispatch(Drop { stream: &stream, share, values: v, slope: d, width, row, n: *n, first });
            assert!(values.iter().zip(&slope).all(|(v, s)| 2.0 * v == *s));
            for s in 0..*n {
                all.extend((0..width).map(|f| values[f * row + s]));
            }
            first += n;
        }
        all
    }

    #[test]
    fn what_is_dropped_does_not_depend_on_the_blocks() {
        let whole = drop_in_blocks(&[700], 67, 20_000);
        assert_eq!(whole, drop_in_blocks(&[256, 256, 188], 67, 20_000));
        assert_eq!(whole, drop_in_blocks(&[16, 512, 172], 67, 20_000));
    }

    #[test]
    fn the_share_is_p_and_the_rest_is_scaled() {
        for p in [0.0, 0.1, 0.5, 0.9] {
            let share = share_of_65536(p);
            let all = drop_in_blocks(&[1000], 100, share);
            let dropped = all.iter().filter(|v| **v == 0.0).count() as f64 / 1e5;
            // Five standard errors of the share of 100,000.
            assert!((dropped - p).abs() <= 5.0 * (p * (1.0 - p) / 1e5).sqrt(), "{p} {dropped}");
            let kept = 65536.0 / f64::from(65536 - share);
            assert!(all.iter().all(|v| *v == 0.0 || *v == kept as f32));
        }
        assert_eq!(share_of_65536(1.0 - 1e-9), 65535);
    }
}
