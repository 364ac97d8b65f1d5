//! An activation that is a layer of its own: f(x), or x + α·(f(x) − x) with an α learned for each input: from the
//! identity at 0 to f at 1, and beyond.

use super::{Lines, dot};
use crate::error::Result;
use crate::math::constant;
use crate::mlp::activation::{Activate, Activation};
use crate::simd::{Real, Simd, Vector};

/// The layer, with room for a block.
pub struct Activated<T> {
    activation: Activation,
    parametric: bool,
    inputs: usize,
    /// f(x), or f(x) − x with α.
    bend: Lines<T>,
    /// f′(x)
    slope: Lines<T>,
}

impl<T: Real> Activated<T> {
    /// For blocks whose features are `row` apart.
    pub fn new(activation: Activation, parametric: bool, inputs: usize, row: usize) -> Result<Activated<T>> {
        let (bend, slope) = (Lines::new(inputs * row)?, Lines::new(inputs * row)?);
        Ok(Activated { activation, parametric, inputs, bend, slope })
    }

    /// f(x), or x + α·(f(x) − x).
    #[inline(always)]
    pub fn forward<S: Simd>(&mut self, out: &mut [T], x: &[T], alphas: &[T], row: usize, n: usize) {
        let lanes = T::Vector::<S>::LANES;
        let size = self.inputs * row;
        self.bend.copy_from_slice(&x[..size]);
        S::call_apart(Activate {
            activation: self.activation,
            z: &mut self.bend,
            slope: &mut self.slope,
            row,
            n,
        });
        if !self.parametric {
            out[..size].copy_from_slice(&self.bend);
            return;
        }
        for (i, alpha) in alphas.iter().enumerate() {
            let alpha = T::Vector::<S>::splat(*alpha);
            for first in (i * row..i * row + n).step_by(lanes) {
                let x = T::Vector::<S>::from_slice(&x[first..]);
                let bend = T::Vector::<S>::from_slice(&self.bend[first..]) - x;
                bend.copy_to(&mut self.bend[first..]);
                alpha.mul_add(bend, x).copy_to(&mut out[first..]);
            }
        }
    }

    /// dα = Σₛ δ·(f(x) − x), and dx = δ·(1 + α·(f′(x) − 1)) in place of x.
    #[inline(always)]
    pub fn backward<S: Simd>(
        &self,
        gradient: &mut [T],
        x: &mut [T],
        delta: &[T],
        alphas: &[T],
        row: usize,
        n: usize,
    ) {
        let lanes = T::Vector::<S>::LANES;
        let one = constant::<T::Vector<S>>(1.0);
        for (i, g) in gradient.iter_mut().enumerate() {
            *g = dot(&delta[i * row..i * row + n], &self.bend[i * row..i * row + n]);
        }
        for start in (0..self.inputs * row).step_by(row) {
            for first in (start..start + n).step_by(lanes) {
                let mut slope = T::Vector::<S>::from_slice(&self.slope[first..]);
                if self.parametric {
                    let alpha = T::Vector::<S>::splat(alphas[first / row]);
                    slope = alpha.mul_add(slope - one, one);
                }
                (T::Vector::<S>::from_slice(&delta[first..]) * slope).copy_to(&mut x[first..]);
            }
        }
    }
}
