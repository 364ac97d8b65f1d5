//! What a prediction costs, and the derivative of the cost in the logits.
//!
//! For a softmax output the cost of a row is the divergence of its target q from its prediction p, KL(q ‖ p), or the
//! cross-entropy, which differs by the constant H(q); for a sigmoid output it is the sum of the outputs' binary
//! cross-entropies. Both have the derivative p − q. Squared error is ½·Σ(p − y)², through any output function.
//!
//! Blocks are feature-major: `[output][row_length]`, with samples in lanes.

use super::Output;
use crate::math::{constant, exp, ln, ln_1p, sigmoid};
use crate::simd::{Kernel, Mask, Real, Simd, Vector};

/// A loss by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Σ q·(ln q − ln p)
    Kl,
    /// −Σ q·ln p
    CrossEntropy,
    /// Σ −y·ln p − (1 − y)·ln(1 − p)
    BinaryCrossEntropy,
    /// ½·Σ (p − y)²
    SquaredError,
}

impl Loss {
    /// Every loss by its public name.
    pub const NAMES: [(&'static str, Loss); 4] = [
        ("kl", Loss::Kl),
        ("cross_entropy", Loss::CrossEntropy),
        ("binary_cross_entropy", Loss::BinaryCrossEntropy),
        ("squared_error", Loss::SquaredError),
    ];

    /// The loss that goes with an output: minus the log-likelihood, or the squared error.
    pub fn of_output(output: Output) -> Loss {
        match output {
            Output::Softmax => Loss::Kl,
            Output::Sigmoid => Loss::BinaryCrossEntropy,
            Output::Identity => Loss::SquaredError,
        }
    }

    /// Whether the loss is defined for this output.
    pub fn fits(self, output: Output) -> bool {
        match self {
            Loss::Kl | Loss::CrossEntropy => output == Output::Softmax,
            Loss::BinaryCrossEntropy => output == Output::Sigmoid,
            Loss::SquaredError => true,
        }
    }
}

/// Turns a block's logits into predictions, in place.
pub struct Predict<'a, T> {
    /// The output function.
    pub output: Output,
    /// Logits in, predictions out.
    pub z: &'a mut [T],
    /// The distance of rows.
    pub row: usize,
    /// Outputs.
    pub k: usize,
    /// Samples.
    pub n: usize,
}

impl<T: Real> Kernel for Predict<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for s in (0..self.n).step_by(T::LANES) {
            match self.output {
                Output::Identity => {}
                Output::Sigmoid => {
                    for c in 0..self.k {
                        let z = &mut self.z[c * self.row + s..];
                        sigmoid(T::Vector::<S>::from_slice(z)).copy_to(z);
                    }
                }
                Output::Softmax => {
                    softmax::<S, T>(self.z, self.row, self.k, s);
                }
            }
        }
    }
}

/// The softmax of one vector of samples, in place; returns (their largest logits, ln Σ exp(z − largest)).
#[inline(always)]
fn softmax<S: Simd, T: Real>(z: &mut [T], row: usize, k: usize, s: usize) -> (T::Vector<S>, T::Vector<S>) {
    let mut largest = T::Vector::<S>::from_slice(&z[s..]);
    for c in 1..k {
        let z = T::Vector::<S>::from_slice(&z[c * row + s..]);
        largest = z.max(largest);
    }
    let mut sum = T::Vector::<S>::splat(T::ZERO);
    for c in 0..k {
        let z = &mut z[c * row + s..];
        let e = exp(T::Vector::<S>::from_slice(z) - largest);
        e.copy_to(z);
        sum = sum + e;
    }
    for c in 0..k {
        let z = &mut z[c * row + s..];
        (T::Vector::<S>::from_slice(z) / sum).copy_to(z);
    }
    (largest, ln(sum))
}

/// Each sample's loss and, in place of the logits, its derivative in them times the sample's scale.
pub struct LossAndGradient<'a, T> {
    /// Which loss.
    pub loss: Loss,
    /// The output function.
    pub output: Output,
    /// Logits in; (dloss/dz)·scale out.
    pub z: &'a mut [T],
    /// Targets, of the same layout.
    pub target: &'a [T],
    /// Whether every target is one class: then H(q) is 0 and KL is the cross-entropy.
    pub one_hot: bool,
    /// One factor a sample, in whole vectors.
    pub scale: &'a [T],
    /// Each sample's loss, in whole vectors.
    pub losses: &'a mut [T],
    /// The distance of rows.
    pub row: usize,
    /// Outputs.
    pub k: usize,
    /// Samples.
    pub n: usize,
}

impl<T: Real> Kernel for LossAndGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        for s in (0..self.n).step_by(T::LANES) {
            let loss = match self.loss {
                Loss::Kl | Loss::CrossEntropy => self.divergence::<S>(s),
                Loss::BinaryCrossEntropy => self.binary::<S>(s),
                Loss::SquaredError => self.squared::<S>(s),
            };
            loss.copy_to(&mut self.losses[s..]);
        }
    }
}

impl<T: Real> LossAndGradient<'_, T> {
    /// Σ q·(ln q − ln p) with ln p = (z − largest) − ln Σ; the derivative p − q.
    #[inline(always)]
    fn divergence<S: Simd>(&mut self, s: usize) -> T::Vector<S> {
        let zero = T::Vector::<S>::splat(T::ZERO);
        let entropy = self.loss == Loss::Kl && !self.one_hot;
        // −Σ q·(z − z_max) first, while the logits are there; ln Σ·Σq and Σ q·ln q afterwards.
        let mut largest = T::Vector::<S>::from_slice(&self.z[s..]);
        for c in 1..self.k {
            largest = T::Vector::<S>::from_slice(&self.z[c * self.row + s..]).max(largest);
        }
        let mut loss = zero;
        let mut mass = zero;
        for c in 0..self.k {
            let place = c * self.row + s;
            let q = T::Vector::<S>::from_slice(&self.target[place..]);
            let behind = largest - T::Vector::<S>::from_slice(&self.z[place..]);
            // 0·∞ is nothing: an event that never happens costs nothing, however impossible it was thought.
            let happens = q.eq(zero).not();
            loss = T::Vector::<S>::select(happens, q.mul_add(behind, loss), loss);
            mass = mass + q;
            if entropy {
                loss = T::Vector::<S>::select(happens, q.mul_add(ln(q), loss), loss);
            }
        }
        let (_, log_sum) = softmax::<S, T>(self.z, self.row, self.k, s);
        let scale = T::Vector::<S>::from_slice(&self.scale[s..]);
        for c in 0..self.k {
            let place = c * self.row + s;
            let q = T::Vector::<S>::from_slice(&self.target[place..]);
            let z = &mut self.z[place..];
            ((T::Vector::<S>::from_slice(z) - q) * scale).copy_to(z);
        }
        mass.mul_add(log_sum, loss)
    }

    /// Σ max(z, 0) − y·z + ln(1 + exp(−|z|)); the derivative sigmoid(z) − y.
    #[inline(always)]
    fn binary<S: Simd>(&mut self, s: usize) -> T::Vector<S> {
        let zero = T::Vector::<S>::splat(T::ZERO);
        let scale = T::Vector::<S>::from_slice(&self.scale[s..]);
        let mut loss = zero;
        for c in 0..self.k {
            let place = c * self.row + s;
            let y = T::Vector::<S>::from_slice(&self.target[place..]);
            let z = T::Vector::<S>::from_slice(&self.z[place..]);
            // For z > 0 as (1 − y)·z, so that a sure and right prediction costs no rounding of y·z.
            let share = T::Vector::<S>::select(zero.lt(z), constant::<T::Vector<S>>(1.0) - y, y);
            loss = loss + share.mul_add(z.abs(), ln_1p(exp(-z.abs())));
            ((sigmoid(z) - y) * scale).copy_to(&mut self.z[place..]);
        }
        loss
    }

    /// ½·Σ (p − y)²; the derivative through the output function: d = p − y for identity, d·p·(1 − p) for sigmoid,
    /// p·(d − Σ d·p) for softmax.
    #[inline(always)]
    fn squared<S: Simd>(&mut self, s: usize) -> T::Vector<S> {
        let zero = T::Vector::<S>::splat(T::ZERO);
        let one = constant::<T::Vector<S>>(1.0);
        let scale = T::Vector::<S>::from_slice(&self.scale[s..]);
        if self.output == Output::Softmax {
            softmax::<S, T>(self.z, self.row, self.k, s);
        }
        let mut loss = zero;
        let mut along = zero;
        for c in 0..self.k {
            let place = c * self.row + s;
            let y = T::Vector::<S>::from_slice(&self.target[place..]);
            let z = T::Vector::<S>::from_slice(&self.z[place..]);
            let p = if self.output == Output::Sigmoid { sigmoid(z) } else { z };
            let d = p - y;
            loss = d.mul_add(d, loss);
            along = d.mul_add(p, along);
            let slope = match self.output {
                Output::Sigmoid => d * (p * (one - p)),
                Output::Identity | Output::Softmax => d,
            };
            if self.output != Output::Softmax {
                (slope * scale).copy_to(&mut self.z[place..]);
            }
        }
        if self.output == Output::Softmax {
            for c in 0..self.k {
                let place = c * self.row + s;
                let y = T::Vector::<S>::from_slice(&self.target[place..]);
                let p = T::Vector::<S>::from_slice(&self.z[place..]);
                (p * ((p - y) - along) * scale).copy_to(&mut self.z[place..]);
            }
        }
        constant::<T::Vector<S>>(0.5) * loss
    }
}
