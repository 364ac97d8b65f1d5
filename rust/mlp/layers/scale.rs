//! A learned factor for each input: s·x.

use super::dot;
use crate::simd::{Real, Simd, Vector};

/// s·x
#[inline(always)]
pub fn forward<S: Simd, T: Real>(out: &mut [T], x: &[T], factors: &[T], row: usize, n: usize) {
    let lanes = T::Vector::<S>::LANES;
    for (i, factor) in factors.iter().enumerate() {
        let factor = T::Vector::<S>::splat(*factor);
        let (out, x) = (&mut out[i * row..(i + 1) * row], &x[i * row..(i + 1) * row]);
        for (out, x) in out.chunks_exact_mut(lanes).zip(x.chunks_exact(lanes)).take(n.div_ceil(lanes)) {
            (factor * T::Vector::<S>::from_slice(x)).copy_to(out);
        }
    }
}

/// ds = Σₛ δ·x, and dx = s·δ in place of x.
#[inline(always)]
pub fn backward<S: Simd, T: Real>(
    gradient: &mut [T],
    x: &mut [T],
    delta: &[T],
    factors: &[T],
    row: usize,
    n: usize,
) {
    for (i, g) in gradient.iter_mut().enumerate() {
        *g = dot(&delta[i * row..i * row + n], &x[i * row..i * row + n]);
    }
    forward::<S, T>(x, delta, factors, row, n);
}
