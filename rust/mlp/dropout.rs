//! Dropout: during training each number that leaves a hidden layer is 0 with probability p, and 1/(1 − p) times itself
//! otherwise, so that its mean is what it was (Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
//! from overfitting", scaled in training).
//!
//! Which are dropped is a function of (seed, layer, step, row of the batch, number in the layer) alone: neither threads
//! nor blocks nor the SIMD level matter. p is a multiple of 2⁻¹⁶, so that 16 random bits decide.

use crate::random::{BLOCK, Stream};
use crate::simd::{Kernel, Real, Simd, dispatch};

/// Rows whose bits lie together: those of a number in the layer for `GROUP` rows of the batch are `WORDS` words. Words
/// are in the order (rows / `GROUP`, number in the layer).
const GROUP: usize = 16;
/// 16 bits each.
const WORDS: usize = GROUP / 4;

/// The numerator of p over 2¹⁶, nearest to `p` and below 1.
pub fn share_of_65536(p: f64) -> u32 {
    ((p * 65536.0).round() as u32).min(65535)
}

/// Room for the random words of a block's layer.
pub struct Dropout {
    words: Vec<u64>,
}

/// A hidden layer's numbers for a block of rows, feature-major.
pub struct Layer<'a, T> {
    /// What the activation made of the sums.
    pub values: &'a mut [T],
    /// Its derivative, of the same layout.
    pub slope: &'a mut [T],
    /// The distance of rows.
    pub row: usize,
    /// Rows of the batch in the block, the first of them, a multiple of [`GROUP`], at the place `first` in the batch.
    pub n: usize,
    /// See `n`.
    pub first: usize,
}

impl Dropout {
    /// Room for any layer: a stream's block at a time.
    pub fn new() -> crate::error::Result<Dropout> {
        Ok(Dropout { words: crate::parallel::zeros(BLOCK as usize)? })
    }

    /// Drops `share`/2¹⁶ of a layer's numbers; the derivative of what is dropped is 0 too.
    pub fn apply<T: Real>(&mut self, stream: &Stream, share: u32, layer: Layer<T>) {
        debug_assert!(layer.first.is_multiple_of(GROUP));
        let width = layer.values.len() / layer.row;
        let start = (layer.first / GROUP * width * WORDS) as u64;
        let pieces = layer.n.div_ceil(GROUP) * width;
        let scale = T::of(65536.0 / f64::from(65536 - share));
        let mut from = 0;
        while from < pieces {
            let position = start + (from * WORDS) as u64;
            let left_in_block = (BLOCK - position % BLOCK) as usize / WORDS;
            let n = left_in_block.min(pieces - from);
            let words = &mut self.words[..n * WORDS];
            stream.words(position, words);
            let (values, slope, row) = (&mut *layer.values, &mut *layer.slope, layer.row);
            dispatch(Drop { words, share, scale, values, slope, row, width, from });
            from += n;
        }
    }
}

struct Drop<'a, T> {
    words: &'a [u64],
    share: u32,
    scale: T,
    values: &'a mut [T],
    slope: &'a mut [T],
    row: usize,
    width: usize,
    /// Which piece, in the words' order, the first of `words` decides.
    from: usize,
}

impl<T: Real> Kernel for Drop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (piece, words) in (self.from..).zip(self.words.chunks_exact(WORDS)) {
            let (group, number) = (piece / self.width, piece % self.width);
            let mut kept = [false; GROUP];
            let mut i = 0;
            while i < GROUP {
                kept[i] = (words[i / 4] >> (16 * (i % 4))) as u16 as u32 >= self.share;
                i += 1;
            }
            let end = ((group + 1) * GROUP).min(self.row);
            let place = number * self.row + group * GROUP..number * self.row + end;
            let numbers = self.values[place.clone()].iter_mut().zip(&mut self.slope[place]);
            for ((value, slope), kept) in numbers.zip(&kept) {
                *value = if *kept { *value * self.scale } else { T::ZERO };
                *slope = if *kept { *slope * self.scale } else { T::ZERO };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Seed};

    fn drop_in_blocks(blocks: &[usize], width: usize, share: u32) -> Vec<f32> {
        let mut dropout = Dropout::new().unwrap();
        let stream = Stream::new(Seed([3, 4]), Purpose::Dropout, 0, 9);
        let (mut all, mut first) = (Vec::new(), 0);
        for n in blocks {
            let row = n.div_ceil(16) * 16;
            let (mut values, mut slope) = (vec![1.0f32; width * row], vec![2.0f32; width * row]);
            let layer = Layer { values: &mut values, slope: &mut slope, row, n: *n, first };
            dropout.apply(&stream, share, layer);
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
