//! Numbers as waves: each input x becomes Wᵀv + b with v = (sin 2πc₁x, …, cos 2πc₁x, …), and the frequencies c, the map
//! W and b of its own learned (Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning",
//! section 3.3, without their relu).

use super::{DenseLayer, Lines, Scratch, dot};
use crate::error::Result;
use crate::math::{constant, sin_cos_2pi};
use crate::mlp::activation::Activation;
use crate::simd::{Real, Simd, Vector};
use std::f64::consts::TAU;

/// The layer, with room for a block.
pub struct Periodic<T> {
    inputs: usize,
    frequencies: usize,
    outputs: usize,
    /// Whether x itself follows the outputs of an input.
    keep: bool,
    /// Wᵀv + b, of each input in turn.
    map: DenseLayer,
    scratch: Scratch<T>,
    /// v of each input, and a row of ones.
    waves: Lines<T>,
    /// The derivative in v of one input.
    back: Lines<T>,
}

impl<T: Real> Periodic<T> {
    /// For blocks of up to `capacity` samples, `row` apart; `back` the same, or 0 where there is no way back.
    pub fn new(
        inputs: usize,
        frequencies: usize,
        outputs: usize,
        keep: bool,
        capacity: usize,
        row: usize,
        back: usize,
    ) -> Result<Periodic<T>> {
        let map = DenseLayer::new::<T>(2 * frequencies, outputs, Activation::Identity, capacity);
        let scratch = map.scratch(row, back > 0)?;
        let size = (2 * frequencies + 1) * row;
        let mut waves = Lines::new(inputs * size)?;
        waves.chunks_exact_mut(size).for_each(|waves| waves[size - row..].fill(T::ONE));
        let back = Lines::new(2 * frequencies * back)?;
        Ok(Periodic { inputs, frequencies, outputs, keep, map, scratch, waves, back })
    }

    /// Places of input i: its waves, its outputs, the parameters of its map.
    fn places(&self, i: usize, row: usize) -> [std::ops::Range<usize>; 3] {
        let waves = (2 * self.frequencies + 1) * row;
        let outputs = (self.outputs + usize::from(self.keep)) * row;
        let map = (2 * self.frequencies + 1) * self.outputs;
        let first = self.inputs * self.frequencies + i * map;
        [i * waves..(i + 1) * waves, i * outputs..(i + 1) * outputs, first..first + map]
    }

    /// Wᵀv + b, and x.
    #[inline(always)]
    pub fn forward<S: Simd>(&mut self, out: &mut [T], x: &[T], parameters: &[T], row: usize, n: usize) {
        let lanes = T::Vector::<S>::LANES;
        for i in 0..self.inputs {
            let [waves, outputs, map] = self.places(i, row);
            let (x, out) = (&x[i * row..(i + 1) * row], &mut out[outputs]);
            let waves = &mut self.waves[waves];
            for k in 0..self.frequencies {
                let c = T::Vector::<S>::splat(parameters[i * self.frequencies + k]);
                let (sines, cosines) = waves[k * row..].split_at_mut(self.frequencies * row);
                for first in (0..n).step_by(lanes) {
                    let (sin, cos) = sin_cos_2pi(c * T::Vector::<S>::from_slice(&x[first..]));
                    sin.copy_to(&mut sines[first..]);
                    cos.copy_to(&mut cosines[first..]);
                }
            }
            let own = &parameters[map];
            self.map.forward::<S, T>(out, &mut [], waves, own, &mut self.scratch, row, n);
            if self.keep {
                out[self.outputs * row..].copy_from_slice(x);
            }
        }
    }

    /// With t = dsin·cos − dcos·sin: dc = 2π·Σₛ t·x, and dx = 2π·Σ c·t (and δ of x itself) in place of x; dW and db as
    /// of a dense layer.
    #[inline(always)]
    pub fn backward<S: Simd>(
        &mut self,
        gradient: &mut [T],
        x: &mut [T],
        delta: &[T],
        parameters: &[T],
        row: usize,
        n: usize,
    ) {
        let lanes = T::Vector::<S>::LANES;
        let half = self.frequencies * row;
        for i in 0..self.inputs {
            let [waves, outputs, map] = self.places(i, row);
            let (x, delta) = (&mut x[i * row..(i + 1) * row], &delta[outputs]);
            let waves = &self.waves[waves];
            let back = &mut self.back[..];
            let (to, own) = (&mut gradient[map.clone()], &parameters[map]);
            self.map.backward::<S, T>(to, delta, waves, &mut self.scratch, row, n);
            self.map.backward_to_inputs::<S, T>(back, delta, own, Activation::Identity, &[], row, n);
            for k in 0..self.frequencies {
                for first in (k * row..k * row + n).step_by(lanes) {
                    let sin = T::Vector::<S>::from_slice(&waves[first..]);
                    let cos = T::Vector::<S>::from_slice(&waves[half + first..]);
                    let dsin = T::Vector::<S>::from_slice(&back[first..]);
                    let dcos = T::Vector::<S>::from_slice(&back[half + first..]);
                    dsin.mul_add(cos, -(dcos * sin)).copy_to(&mut back[first..]);
                }
                let sum = dot(&back[k * row..k * row + n], &x[..n]);
                gradient[i * self.frequencies + k] = T::of(TAU) * sum;
            }
            for first in (0..n).step_by(lanes) {
                let mut sum = T::Vector::<S>::splat(T::ZERO);
                for k in 0..self.frequencies {
                    let c = T::Vector::<S>::splat(parameters[i * self.frequencies + k]);
                    sum = c.mul_add(T::Vector::<S>::from_slice(&back[k * row + first..]), sum);
                }
                let mut dx = constant::<T::Vector<S>>(TAU) * sum;
                if self.keep {
                    dx = dx + T::Vector::<S>::from_slice(&delta[self.outputs * row + first..]);
                }
                dx.copy_to(&mut x[first..]);
            }
        }
    }
}
