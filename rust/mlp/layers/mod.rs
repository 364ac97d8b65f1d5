//! The layers of a network, a file each, each with its way there above its way back.
//!
//! Matrices of samples are feature-major, `[feature][row]` with samples in lanes. The inputs of a layer are followed by
//! one more row, of ones: a bias is the weight of an input that is always 1, so dW's product makes db too. A layer sees
//! its own parameters and their gradient only. Sums over samples are chains of [`crate::gemm`], [`dot`], or in the order
//! of the samples, so no bit depends on the level.

mod activated;
mod category;
mod columns;
mod dense;
mod ntk;
mod periodic;
mod scale;

use super::activation::{Activation, Chain};
use super::{Kind, Layer};
use crate::error::Result;
use crate::parallel::zeros;
use crate::simd::{Kernel, Real, Simd, WIDTH};
use activated::Activated;
use category::Category;
use columns::Columns;
pub use dense::{DenseLayer, Scratch};
use ntk::Ntk;
use periodic::Periodic;
use std::ops::{Deref, DerefMut};

/// Numbers that begin at a cache line.
pub struct Lines<T> {
    buffer: Vec<T>,
    first: usize,
}

impl<T: Real> Lines<T> {
    /// `n` zeros.
    pub fn new(n: usize) -> Result<Lines<T>> {
        let buffer: Vec<T> = zeros(n + T::LANES)?;
        let first = buffer.as_ptr().align_offset(WIDTH).min(T::LANES);
        Ok(Lines { buffer, first })
    }
}

impl<T: Real> Deref for Lines<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.buffer[self.first..self.first + self.buffer.len() - T::LANES]
    }
}

impl<T: Real> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let end = self.first + self.buffer.len() - T::LANES;
        &mut self.buffer[self.first..end]
    }
}

/// Σ a·b by sixteen lanes and then their sum by halves.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::ZERO; 16];
    let (mut left, mut right) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in (&mut left).zip(&mut right) {
        for i in 0..16 {
            lanes[i] = lanes[i] + a[i] * b[i];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(left.remainder().iter().zip(right.remainder())) {
        *lane = *lane + *a * *b;
    }
    let mut n = 8;
    while n > 0 {
        for i in 0..n {
            lanes[i] = lanes[i] + lanes[i + n];
        }
        n /= 2;
    }
    lanes[0]
}

/// A layer with what it needs for blocks.
pub enum Piece<T> {
    /// Dense, with the activation after it.
    Dense(DenseLayer, Scratch<T>),
    /// The same in another parametrisation.
    Ntk(Ntk<T>),
    /// A factor for each input.
    Scale,
    /// An activation of its own.
    Activated(Activated<T>),
    /// Numbers as waves.
    Periodic(Periodic<T>),
    /// Categories as rows of a table.
    Category(Category),
    /// Inputs as they are.
    Pass,
    /// Several side by side.
    Columns(Columns<T>),
}

impl<T: Real> Piece<T> {
    /// A layer for blocks of up to `capacity` samples whose features are `row` apart.
    pub fn new(layer: &Layer, capacity: usize, row: usize, training: bool) -> Result<Piece<T>> {
        let Layer { inputs, outputs, activation, .. } = *layer;
        let back = if training { row } else { 0 };
        Ok(match &layer.kind {
            Kind::Dense { ntk } => {
                let dense = DenseLayer::new::<T>(inputs, outputs, activation, capacity);
                let scratch = dense.scratch(row, training)?;
                if *ntk { Piece::Ntk(Ntk::new(dense, scratch)?) } else { Piece::Dense(dense, scratch) }
            }
            Kind::Scale => Piece::Scale,
            Kind::Activation { parametric } => {
                Piece::Activated(Activated::new(activation, *parametric, inputs, row)?)
            }
            Kind::Periodic { frequencies, outputs: each, .. } => {
                let keep = outputs > inputs * each;
                Piece::Periodic(Periodic::new(inputs, *frequencies, *each, keep, capacity, row, back)?)
            }
            Kind::Category { levels } => Piece::Category(Category { levels: *levels, size: outputs }),
            Kind::Pass => Piece::Pass,
            Kind::Columns(columns) => {
                Piece::Columns(Columns::new(columns, layer.place.start, capacity, row, training)?)
            }
        })
    }

    /// Whether the product back through this layer can end in the derivative of the activation before it.
    pub fn is_dense(&self) -> bool {
        matches!(self, Piece::Dense(..) | Piece::Ntk(_))
    }
}

/// The way there through any layer: `out` (outputs, row) and, for dense layers, `slope` of `n` samples `x`.
pub struct Forward<'a, T> {
    /// Which layer.
    pub piece: &'a mut Piece<T>,
    /// What it makes.
    pub out: &'a mut [T],
    /// The derivative of the activation after it, or empty.
    pub slope: &'a mut [T],
    /// Its inputs.
    pub x: &'a [T],
    /// Its own.
    pub parameters: &'a [T],
    /// The distance of features.
    pub row: usize,
    /// Samples.
    pub n: usize,
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Forward { piece, out, slope, x, parameters, row, n } = self;
        match piece {
            Piece::Dense(dense, scratch) => {
                dense.forward::<S, T>(out, slope, x, parameters, scratch, row, n);
            }
            Piece::Ntk(layer) => layer.forward::<S>(out, slope, x, parameters, row, n),
            Piece::Scale => scale::forward::<S, T>(out, x, parameters, row, n),
            Piece::Activated(layer) => layer.forward::<S>(out, x, parameters, row, n),
            Piece::Periodic(layer) => layer.forward::<S>(out, x, parameters, row, n),
            Piece::Category(layer) => layer.forward(out, x, parameters, row, n),
            Piece::Pass => {
                let n = x.len().min(out.len());
                out[..n].copy_from_slice(&x[..n]);
            }
            Piece::Columns(layer) => layer.forward::<S>(out, x, parameters, row, n),
        }
        // Dense layers fill it; for what stands after a layer of another kind the derivative is 1.
        if !slope.is_empty() && !piece.is_dense() {
            slope.fill(T::ONE);
        }
    }
}

/// The way back through any layer: the gradient in its parameters from `delta`, the derivative in its outputs, and with
/// `to_inputs` in place of `x` the derivative in the sums that it was made of by the activation `before`.
pub struct Backward<'a, T> {
    /// Which layer.
    pub piece: &'a mut Piece<T>,
    /// In its own parameters.
    pub gradient: &'a mut [T],
    /// Its inputs.
    pub x: &'a mut [T],
    /// In its outputs.
    pub delta: &'a [T],
    /// Its own.
    pub parameters: &'a [T],
    /// The activation that made `x`.
    pub before: Activation,
    /// Its derivative, where it is stored.
    pub slope: &'a [T],
    /// The distance of features.
    pub row: usize,
    /// Samples.
    pub n: usize,
    /// Whether somebody learns from the derivative in `x`.
    pub to_inputs: bool,
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Backward { piece, gradient, x, delta, parameters, before, slope, row, n, to_inputs } = self;
        match piece {
            Piece::Dense(dense, scratch) => {
                dense.backward::<S, T>(gradient, delta, x, scratch, row, n);
                if to_inputs {
                    dense.backward_to_inputs::<S, T>(x, delta, parameters, before, slope, row, n);
                }
                return;
            }
            Piece::Ntk(layer) => {
                layer.backward::<S>(gradient, delta, x, row, n);
                if to_inputs {
                    layer.backward_to_inputs::<S>(x, delta, before, slope, row, n);
                }
                return;
            }
            Piece::Scale => scale::backward::<S, T>(gradient, x, delta, parameters, row, n),
            Piece::Activated(layer) => layer.backward::<S>(gradient, x, delta, parameters, row, n),
            Piece::Periodic(layer) => layer.backward::<S>(gradient, x, delta, parameters, row, n),
            Piece::Category(layer) => layer.backward(gradient, x, delta, row, n),
            Piece::Pass => {
                let n = x.len().min(delta.len());
                x[..n].copy_from_slice(&delta[..n]);
            }
            Piece::Columns(layer) => layer.backward::<S>(gradient, delta, parameters, row, n),
        }
        if to_inputs && !slope.is_empty() {
            S::call(Chain { dx: &mut x[..slope.len()], slope, row, n });
        }
    }
}
