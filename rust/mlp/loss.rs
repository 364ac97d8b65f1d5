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

/// A loss, with its parameter where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Σ q·(ln q − ln p)
    Kl,
    /// −Σ q·ln p
    CrossEntropy,
    /// Σ −y·ln p − (1 − y)·ln(1 − p)
    BinaryCrossEntropy,
    /// ½·Σ (p − y)²
    SquaredError,
    /// ½·Σ v + (y − μ)²·e⁻ᵛ + ln 2π: the first half of the outputs are means μ, the second log-variances v.
    GaussianNll,
    /// Σ p − y·ln p, minus the log-likelihood of a count up to ln y!
    Poisson,
    /// Σ ½·r² up to |r| = δ, δ·(|r| − ½·δ) beyond, r = p − y (Huber 1964)
    Huber(f64),
    /// Σ max(q·(y − p), (q − 1)·(y − p)): the least at the q-quantile (Koenker and Bassett 1978)
    Quantile(f64),
    /// Σ max(0, 1 − t·z), t = ±1
    Hinge,
    /// Σ max(0, −t·z), t = ±1 (Rosenblatt 1958)
    Perceptron,
}

impl Loss {
    /// The public names.
    pub const NAMES: [&'static str; 10] = [
        "kl",
        "cross_entropy",
        "binary_cross_entropy",
        "squared_error",
        "gaussian_nll",
        "poisson",
        "huber",
        "quantile",
        "hinge",
        "perceptron",
    ];

    /// The loss of that name; `parameter` is δ of huber, q of quantile.
    pub fn named(name: &str, parameter: f64) -> Option<Loss> {
        Some(match name {
            "kl" => Loss::Kl,
            "cross_entropy" => Loss::CrossEntropy,
            "binary_cross_entropy" => Loss::BinaryCrossEntropy,
            "squared_error" => Loss::SquaredError,
            "gaussian_nll" => Loss::GaussianNll,
            "poisson" => Loss::Poisson,
            "huber" => Loss::Huber(parameter),
            "quantile" => Loss::Quantile(parameter),
            "hinge" => Loss::Hinge,
            "perceptron" => Loss::Perceptron,
            _ => return None,
        })
    }

    /// The loss that goes with an output: minus the log-likelihood, or the squared error.
    pub fn of_output(output: Output) -> Loss {
        match output {
            Output::Softmax => Loss::Kl,
            Output::Sigmoid => Loss::BinaryCrossEntropy,
            Output::Identity => Loss::SquaredError,
            Output::Exp => Loss::Poisson,
        }
    }

    /// Whether the loss is defined for `k` outputs of this kind.
    pub fn fits(self, output: Output, k: usize) -> bool {
        match self {
            Loss::Kl | Loss::CrossEntropy => output == Output::Softmax,
            Loss::BinaryCrossEntropy => output == Output::Sigmoid,
            Loss::SquaredError => true,
            Loss::Poisson => output == Output::Exp,
            Loss::GaussianNll => output == Output::Identity && k.is_multiple_of(2),
            Loss::Huber(_) | Loss::Quantile(_) | Loss::Hinge | Loss::Perceptron => output == Output::Identity,
        }
    }

    /// How many numbers a target has for `k` outputs.
    pub fn n_targets(self, k: usize) -> usize {
        if self == Loss::GaussianNll { k / 2 } else { k }
    }

    /// The target of the classes that a class index does not name.
    pub fn other_class(self) -> f64 {
        if matches!(self, Loss::Hinge | Loss::Perceptron) { -1.0 } else { 0.0 }
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
        let mut s = 0;
        while s < self.n {
            match self.output {
                Output::Identity => {}
                Output::Sigmoid => {
                    for c in 0..self.k {
                        let z = &mut self.z[c * self.row + s..];
                        sigmoid(T::Vector::<S>::from_slice(z)).copy_to(z);
                    }
                }
                Output::Exp => {
                    for c in 0..self.k {
                        let z = &mut self.z[c * self.row + s..];
                        exp(T::Vector::<S>::from_slice(z)).copy_to(z);
                    }
                }
                Output::Softmax => {
                    softmax::<S, T>(self.z, self.row, self.k, s);
                }
            }
            s += T::Vector::<S>::LANES;
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
        let mut s = 0;
        while s < self.n {
            let loss = match self.loss {
                Loss::Kl | Loss::CrossEntropy => self.divergence::<S>(s),
                Loss::GaussianNll => self.gaussian::<S>(s),
                Loss::SquaredError if self.output == Output::Softmax => self.squared_softmax::<S>(s),
                _ => self.each_output::<S>(s),
            };
            loss.copy_to(&mut self.losses[s..]);
            s += T::Vector::<S>::LANES;
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

    /// The sum over the outputs of a function of one output and its target.
    #[inline(always)]
    fn each_output<S: Simd>(&mut self, s: usize) -> T::Vector<S> {
        let scale = T::Vector::<S>::from_slice(&self.scale[s..]);
        let mut loss = T::Vector::<S>::splat(T::ZERO);
        for c in 0..self.k {
            let place = c * self.row + s;
            let y = T::Vector::<S>::from_slice(&self.target[place..]);
            let z = T::Vector::<S>::from_slice(&self.z[place..]);
            let (cost, slope) = of_one_output(self.loss, self.output, z, y);
            loss = loss + cost;
            (slope * scale).copy_to(&mut self.z[place..]);
        }
        loss
    }

    /// ½·Σ (p − y)² through the softmax: the derivative is p·(d − Σ d·p), d = p − y.
    #[inline(always)]
    fn squared_softmax<S: Simd>(&mut self, s: usize) -> T::Vector<S> {
        let zero = T::Vector::<S>::splat(T::ZERO);
        let scale = T::Vector::<S>::from_slice(&self.scale[s..]);
        softmax::<S, T>(self.z, self.row, self.k, s);
        let (mut loss, mut along) = (zero, zero);
        for c in 0..self.k {
            let place = c * self.row + s;
            let p = T::Vector::<S>::from_slice(&self.z[place..]);
            let d = p - T::Vector::<S>::from_slice(&self.target[place..]);
            loss = d.mul_add(d, loss);
            along = d.mul_add(p, along);
        }
        for c in 0..self.k {
            let place = c * self.row + s;
            let p = T::Vector::<S>::from_slice(&self.z[place..]);
            let d = p - T::Vector::<S>::from_slice(&self.target[place..]);
            (p * (d - along) * scale).copy_to(&mut self.z[place..]);
        }
        constant::<T::Vector<S>>(0.5) * loss
    }

    /// ½·Σ v + r²·e⁻ᵛ + ln 2π, r = μ − y; the derivatives r·e⁻ᵛ in μ and ½·(1 − r²·e⁻ᵛ) in v.
    #[inline(always)]
    fn gaussian<S: Simd>(&mut self, s: usize) -> T::Vector<S> {
        let half = constant::<T::Vector<S>>(0.5);
        let scale = T::Vector::<S>::from_slice(&self.scale[s..]);
        let mut loss = T::Vector::<S>::splat(T::ZERO);
        for c in 0..self.k / 2 {
            let (mean, variance) = (c * self.row + s, (c + self.k / 2) * self.row + s);
            let v = T::Vector::<S>::from_slice(&self.z[variance..]);
            let r = T::Vector::<S>::from_slice(&self.z[mean..])
                - T::Vector::<S>::from_slice(&self.target[mean..]);
            let precise = r * exp(-v);
            let excess = r * precise;
            loss = loss + (v + excess + constant(LN_TAU));
            (precise * scale).copy_to(&mut self.z[mean..]);
            (half * (constant::<T::Vector<S>>(1.0) - excess) * scale).copy_to(&mut self.z[variance..]);
        }
        half * loss
    }
}

/// ln 2π.
const LN_TAU: f64 = 1.837_877_066_409_345_3;

/// The cost of one output's logit z with the target y, and its derivative in z.
#[inline(always)]
fn of_one_output<V: Vector>(loss: Loss, output: Output, z: V, y: V) -> (V, V) {
    let zero = V::splat(V::Scalar::ZERO);
    let (half, one) = (constant::<V>(0.5), constant::<V>(1.0));
    match loss {
        // y·ln p = y·z up to softplus(z): for z > 0 as (1 − y)·z, so that a sure and right prediction costs nothing.
        Loss::BinaryCrossEntropy => {
            let share = V::select(zero.lt(z), one - y, y);
            (share.mul_add(z.abs(), ln_1p(exp(-z.abs()))), sigmoid(z) - y)
        }
        Loss::Poisson => {
            let p = exp(z);
            (p - y * z, p - y)
        }
        Loss::SquaredError => {
            let (p, slope) = match output {
                Output::Sigmoid => {
                    let p = sigmoid(z);
                    (p, p * (one - p))
                }
                Output::Exp => {
                    let p = exp(z);
                    (p, p)
                }
                Output::Identity | Output::Softmax => (z, one),
            };
            let d = p - y;
            (half * d * d, d * slope)
        }
        Loss::Huber(delta) => {
            let delta = constant::<V>(delta);
            let r = z - y;
            let slope = r.max(-delta).min(delta);
            // slope·r − ½·slope²: ½·r² inside, δ·|r| − ½·δ² beyond.
            (slope * (r - half * slope), slope)
        }
        Loss::Quantile(q) => {
            let r = y - z;
            let (below, above) = (constant::<V>(q), constant::<V>(q - 1.0));
            let slope = V::select(zero.lt(r), -below, V::select(r.lt(zero), -above, zero));
            (-(slope * r), slope)
        }
        Loss::Hinge | Loss::Perceptron => {
            let margin = if loss == Loss::Hinge { one } else { zero };
            let short = margin - y * z;
            // A tie counts as wrong, as for Rosenblatt: else a network of zeros would never move.
            let costs = zero.le(short);
            (V::select(costs, short, zero), V::select(costs, -y, zero))
        }
        Loss::Kl | Loss::CrossEntropy | Loss::GaussianNll => (zero, zero),
    }
}
