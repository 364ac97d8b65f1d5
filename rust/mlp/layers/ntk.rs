//! The dense layer whose sums are Wᵀx/√inputs + b (Jacot et al. 2018, "Neural tangent kernel", section 2).

use super::{DenseLayer, Lines, Scratch};
use crate::error::Result;
use crate::mlp::activation::Activation;
use crate::simd::{Real, Simd};

/// A dense layer of W/√inputs and b.
pub struct Ntk<T> {
    dense: DenseLayer,
    scratch: Scratch<T>,
    factor: T,
    /// W/√inputs, then b.
    scaled: Lines<T>,
}

impl<T: Real> Ntk<T> {
    /// Around a dense layer.
    pub fn new(dense: DenseLayer, scratch: Scratch<T>) -> Result<Ntk<T>> {
        let factor = T::of(1.0 / (dense.inputs() as f64).sqrt());
        let scaled = Lines::new((dense.inputs() + 1) * dense.outputs())?;
        Ok(Ntk { dense, scratch, factor, scaled })
    }

    fn n_weights(&self) -> usize {
        self.dense.inputs() * self.dense.outputs()
    }

    /// See [`DenseLayer::forward`].
    #[inline(always)]
    pub fn forward<S: Simd>(
        &mut self,
        out: &mut [T],
        slope: &mut [T],
        x: &[T],
        parameters: &[T],
        row: usize,
        n: usize,
    ) {
        let n_weights = self.n_weights();
        for (scaled, weight) in self.scaled.iter_mut().zip(&parameters[..n_weights]) {
            *scaled = *weight * self.factor;
        }
        self.scaled[n_weights..].copy_from_slice(&parameters[n_weights..]);
        self.dense.forward::<S, T>(out, slope, x, &self.scaled, &mut self.scratch, row, n);
    }

    /// See [`DenseLayer::backward`].
    #[inline(always)]
    pub fn backward<S: Simd>(&mut self, gradient: &mut [T], delta: &[T], x: &[T], row: usize, n: usize) {
        self.dense.backward::<S, T>(gradient, delta, x, &mut self.scratch, row, n);
        let n_weights = self.n_weights();
        for g in &mut gradient[..n_weights] {
            *g = *g * self.factor;
        }
    }

    /// See [`DenseLayer::backward_to_inputs`]; of the block that went forward last.
    #[inline(always)]
    pub fn backward_to_inputs<S: Simd>(
        &self,
        x: &mut [T],
        delta: &[T],
        before: Activation,
        slope: &[T],
        row: usize,
        n: usize,
    ) {
        self.dense.backward_to_inputs::<S, T>(x, delta, &self.scaled, before, slope, row, n);
    }
}
