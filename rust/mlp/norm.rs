//! The size of a gradient: its norm by layer, and clipping by the norm of the whole.

use super::Shape;
use crate::math::constant;
use crate::simd::{Kernel, Real, Simd, Vector, dispatch};
use std::ops::Range;

/// Σ g² in `f64`, by eight lanes and then their sum in order.
struct SumOfSquares<'a, T>(&'a [T]);

impl<T: Real> Kernel for SumOfSquares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let mut lanes = [0.0; 8];
        let mut groups = self.0.chunks_exact(8);
        for group in &mut groups {
            for (lane, g) in lanes.iter_mut().zip(group) {
                *lane += g.f64() * g.f64();
            }
        }
        for (lane, g) in lanes.iter_mut().zip(groups.remainder()) {
            *lane += g.f64() * g.f64();
        }
        lanes.iter().sum()
    }
}

/// Σ w² over the weights, not the biases, each group's by its factor: ½·l2 times it is the penalty.
pub fn of_weights<T: Real>(shape: &Shape, parameters: &[T]) -> f64 {
    let decaying = shape.groups.iter().filter(|group| group.decay_factor != 0.0);
    decaying.map(|group| group.decay_factor * dispatch(SumOfSquares(&parameters[group.range.clone()]))).sum()
}

/// The squared norms of the layers' gradients, added up over steps.
#[derive(Clone, Debug)]
pub struct Squares {
    sums: Vec<f64>,
    steps: u64,
}

impl Squares {
    /// Of no steps yet.
    pub fn new(n_layers: usize) -> Squares {
        Squares { sums: vec![0.0; n_layers], steps: 0 }
    }

    /// The root mean squares over the steps, by layer; those of no steps are 0. Begins anew.
    pub fn take(&mut self) -> impl Iterator<Item = f64> {
        let n = self.steps.max(1) as f64;
        self.steps = 0;
        self.sums.iter_mut().map(move |sum| (std::mem::take(sum) / n).sqrt())
    }
}

/// Adds the gradient l2·w of the penalty ½·l2·Σw² over the weights, each group's by its factor.
pub fn add_penalty<T: Real>(shape: &Shape, gradient: &mut [T], parameters: &[T], l2: f64) {
    for group in shape.groups.iter().filter(|group| group.decay_factor != 0.0) {
        let (gradient, weights) = (&mut gradient[group.range.clone()], &parameters[group.range.clone()]);
        dispatch(AddScaled { to: gradient, factor: l2 * group.decay_factor, from: weights });
    }
}

/// to + factor·from, rounded once, as the optimiser does it: whether a norm is looked at changes no bit.
struct AddScaled<'a, T> {
    to: &'a mut [T],
    factor: f64,
    from: &'a [T],
}

impl<T: Real> Kernel for AddScaled<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let factor = constant::<T::Vector<S>>(self.factor);
        let lanes = T::Vector::<S>::LANES;
        for (to, from) in self.to.chunks_mut(lanes).zip(self.from.chunks(lanes)) {
            let sum = factor.mul_add(T::Vector::<S>::from_first(from), T::Vector::<S>::from_first(to));
            sum.copy_to_partial(to);
        }
    }
}

/// Shortens the gradient to `limit` where its norm is greater. `record`, where there is one, takes note of the norm of
/// each layer's gradient (weights and biases) before.
pub fn clip<T: Real>(shape: &Shape, gradient: &mut [T], limit: Option<f64>, record: Option<&mut Squares>) {
    let square = |range: Range<usize>| dispatch(SumOfSquares(&gradient[range]));
    let mut whole = 0.0;
    match record {
        Some(record) => {
            record.steps += 1;
            for (layer, sum) in shape.learned().zip(&mut record.sums) {
                let square = square(layer.place.clone());
                *sum += square;
                whole += square;
            }
        }
        None if shape.one_rate => whole = shape.learned().map(|layer| square(layer.place.clone())).sum(),
        None => {}
    }
    // What is frozen takes no part in a step.
    if !shape.one_rate {
        let moving = shape.groups.iter().filter(|group| group.rate_factor != 0.0);
        whole = moving.map(|group| square(group.range.clone())).sum();
    }
    let norm = whole.sqrt();
    // A norm that is not finite belongs to a run that diverges; it is left to show itself.
    if let Some(limit) = limit.filter(|limit| norm.is_finite() && norm > *limit) {
        let factor = T::of(limit / norm);
        gradient.iter_mut().for_each(|g| *g = *g * factor);
    }
}
