//! The size of a gradient: its norm by layer, and clipping by the norm of the whole.

use super::Shape;
use crate::simd::{Kernel, Real, Simd, dispatch};

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

/// Σ w² over the weights, not the biases: ½·l2 times it is the penalty.
pub fn of_weights<T: Real>(shape: &Shape, parameters: &[T]) -> f64 {
    shape.layers().map(|layer| dispatch(SumOfSquares(&parameters[layer.weights]))).sum()
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

/// Adds the gradient l2·w of the penalty ½·l2·Σw² over the weights.
pub fn add_penalty<T: Real>(shape: &Shape, gradient: &mut [T], parameters: &[T], l2: f64) {
    let l2 = T::of(l2);
    for layer in shape.layers() {
        let weights = gradient[layer.weights.clone()].iter_mut().zip(&parameters[layer.weights]);
        weights.for_each(|(g, w)| *g = *g + l2 * *w);
    }
}

/// Shortens the gradient to `limit` where its norm is greater. `record`, where there is one, takes note of the norm of
/// each layer's gradient (weights and biases) before.
pub fn clip<T: Real>(shape: &Shape, gradient: &mut [T], limit: Option<f64>, record: Option<&mut Squares>) {
    let of_layer =
        |layer: super::Dense| dispatch(SumOfSquares(&gradient[layer.weights.start..layer.biases.end]));
    let mut whole = 0.0;
    match record {
        Some(record) => {
            record.steps += 1;
            for (layer, sum) in shape.layers().zip(&mut record.sums) {
                let square = of_layer(layer);
                *sum += square;
                whole += square;
            }
        }
        None => whole = shape.layers().map(of_layer).sum(),
    }
    let norm = whole.sqrt();
    // A norm that is not finite belongs to a run that diverges; it is left to show itself.
    if let Some(limit) = limit.filter(|limit| norm.is_finite() && norm > *limit) {
        let factor = T::of(limit / norm);
        gradient.iter_mut().for_each(|g| *g = *g * factor);
    }
}
