//! The dense layer: its own parameters are the weights, (inputs, outputs), then the biases.

use super::Lines;
use crate::error::Result;
use crate::gemm::{Product, Store, Transpose, row_length};
use crate::mlp::activation::{Activate, Activation, Chain, Rectify, ThroughRelu, ThroughTanh};
use crate::simd::{Level, Real, Simd, Vector};

/// What a layer needs besides its arguments.
pub struct Scratch<T> {
    /// Wᵀ; empty where the way there reads W.
    weights: Lines<T>,
    /// The side in lanes turned, [sample][feature]; the inputs with ones after them.
    turned: Lines<T>,
    /// dWᵀ.
    transposed: Lines<T>,
}

/// A dense layer and the activation after it.
pub struct DenseLayer {
    inputs: usize,
    outputs: usize,
    /// The activation after it; identity after the last.
    pub activation: Activation,
    /// Which side of the weights dW has in its lanes.
    lanes: Side,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Inputs,
    Outputs,
}

/// Weights of a layer whose way there reads Wᵀ on AVX2, in blocks of at least [`MANY_ROWS`]: a tile there has so few
/// multiply-adds a link that it would wait for weights that stand a row apart. Fewer weights stay in the nearest cache.
const MANY_WEIGHTS: usize = 8192;
/// See [`MANY_WEIGHTS`].
const MANY_ROWS: usize = 64;

/// `n` rounded up to whole vectors of the level.
#[inline(always)]
fn whole<S: Simd, T: Real>(n: usize) -> usize {
    let lanes = T::Vector::<S>::LANES;
    n.div_ceil(lanes) * lanes
}

impl DenseLayer {
    /// A layer for blocks of up to `capacity` samples.
    pub fn new<T: Real>(
        inputs: usize,
        outputs: usize,
        activation: Activation,
        capacity: usize,
    ) -> DenseLayer {
        // Vector operations a sample: the product's, and about five a vector for turning the side in lanes. Turning
        // dWᵀ back pays for more than a vector of samples only.
        let cost = |lanes: usize, rows: usize| lanes.div_ceil(T::LANES) * (rows + 5);
        let turn_inputs = capacity > T::LANES && cost(inputs + 1, outputs) < cost(outputs, inputs + 1);
        DenseLayer {
            inputs,
            outputs,
            activation,
            lanes: if turn_inputs { Side::Inputs } else { Side::Outputs },
        }
    }

    /// Numbers in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Scratch for blocks of up to `capacity` samples; for the way there only where they are not for `training`.
    pub fn scratch<T: Real>(&self, capacity: usize, training: bool) -> Result<Scratch<T>> {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let many = inputs * outputs >= MANY_WEIGHTS && outputs >= T::LANES && capacity >= MANY_ROWS;
        let many = many && Level::current() == Level::Avx2;
        let weights = Lines::new(if many { outputs * row_length::<T>(inputs) } else { 0 })?;
        let (turned, transposed) = match self.lanes {
            _ if !training => (0, 0),
            Side::Outputs => (capacity * row_length::<T>(outputs), 0),
            Side::Inputs => (capacity * row_length::<T>(inputs + 1), outputs * row_length::<T>(inputs + 1)),
        };
        let (mut turned, transposed) = (Lines::new(turned)?, Lines::new(transposed)?);
        if training && self.lanes == Side::Inputs {
            let row = row_length::<T>(inputs + 1);
            turned.iter_mut().skip(inputs).step_by(row).for_each(|one| *one = T::ONE);
        }
        Ok(Scratch { weights, turned, transposed })
    }

    /// f(Wᵀx + b) of `n` samples: `out` (outputs, row), `slope` the same or empty, `x` (inputs, row).
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "outputs, inputs, scratch, sizes")]
    pub fn forward<S: Simd, T: Real>(
        &self,
        out: &mut [T],
        slope: &mut [T],
        x: &[T],
        parameters: &[T],
        scratch: &mut Scratch<T>,
        row: usize,
        n: usize,
    ) {
        let (mut weights, biases) = parameters.split_at(self.inputs() * self.outputs());
        let (mut a_row, mut a_col) = (1, self.outputs());
        if n >= MANY_ROWS && !scratch.weights.is_empty() {
            let (to, to_row) = (&mut scratch.weights[..], row_length::<T>(self.inputs()));
            let (rows, columns) = (self.inputs(), self.outputs());
            // The biases make the last row as long as a turn reads.
            S::call(Transpose { to, to_row, from: parameters, from_row: columns, rows, columns });
            (weights, a_row, a_col) = (&scratch.weights, to_row, 1);
        }
        macro_rules! product {
            ($end:expr) => {
                S::call(Product {
                    c: &mut *out,
                    c_row: row,
                    a: weights,
                    a_row,
                    a_col,
                    b: x,
                    b_row: row,
                    start: Some(biases),
                    m: self.outputs(),
                    n: whole::<S, T>(n),
                    k: self.inputs(),
                    end: $end,
                })
            };
        }
        match self.activation {
            Activation::Relu if slope.is_empty() => product!(Rectify),
            Activation::Identity if slope.is_empty() => product!(Store),
            activation => {
                product!(Store);
                let z = &mut out[..self.outputs() * row];
                S::call_apart(Activate { activation, z, slope, row, n });
            }
        }
    }

    /// The gradient in weights and biases, in the layout of its parameters, from `delta` (outputs, row), the derivative in Wᵀx + b.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "outputs, inputs, scratch, sizes")]
    pub fn backward<S: Simd, T: Real>(
        &self,
        gradient: &mut [T],
        delta: &[T],
        x: &[T],
        scratch: &mut Scratch<T>,
        row: usize,
        n: usize,
    ) {
        let (inputs, outputs) = (self.inputs() + 1, self.outputs());
        let (turned, transposed) = (&mut scratch.turned[..], &mut scratch.transposed[..]);
        match self.lanes {
            // dW[i][o] = Σₛ x[i][s]·δ[s][o]
            Side::Outputs => {
                let to_row = row_length::<T>(outputs);
                let to = &mut *turned;
                S::call(Transpose { to, to_row, from: delta, from_row: row, rows: outputs, columns: n });
                S::call(Product {
                    c: gradient,
                    c_row: outputs,
                    a: x,
                    a_row: row,
                    a_col: 1,
                    b: turned,
                    b_row: to_row,
                    start: None,
                    m: inputs,
                    n: outputs,
                    k: n,
                    end: Store,
                });
            }
            // dWᵀ[o][i] = Σₛ δ[o][s]·x[s][i]
            Side::Inputs => {
                let to_row = row_length::<T>(inputs);
                let to = &mut *turned;
                // Where the ones would take a vector of their own, it is there already: see `scratch`.
                let rows = if self.inputs().is_multiple_of(T::LANES) { self.inputs() } else { inputs };
                S::call(Transpose { to, to_row, from: x, from_row: row, rows, columns: n });
                S::call(Product {
                    c: &mut *transposed,
                    c_row: to_row,
                    a: delta,
                    a_row: row,
                    a_col: 1,
                    b: turned,
                    b_row: to_row,
                    start: None,
                    m: outputs,
                    n: inputs,
                    k: n,
                    end: Store,
                });
                S::call(Transpose {
                    to: gradient,
                    to_row: outputs,
                    from: transposed,
                    from_row: to_row,
                    rows: outputs,
                    columns: inputs,
                });
            }
        }
    }

    /// The derivative in the sums that `x` was made of, into the place of `x` (inputs, row): (W·δ)·f′, f being the
    /// activation `before` this layer and `slope` its derivative where it is stored.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "outputs, inputs, sizes")]
    pub fn backward_to_inputs<S: Simd, T: Real>(
        &self,
        x: &mut [T],
        delta: &[T],
        parameters: &[T],
        before: Activation,
        slope: &[T],
        row: usize,
        n: usize,
    ) {
        let weights = &parameters[..self.inputs() * self.outputs()];
        macro_rules! product {
            ($end:expr) => {
                S::call(Product {
                    c: &mut *x,
                    c_row: row,
                    a: weights,
                    a_row: self.outputs(),
                    a_col: 1,
                    b: delta,
                    b_row: row,
                    start: None,
                    m: self.inputs(),
                    n: whole::<S, T>(n),
                    k: self.outputs(),
                    end: $end,
                })
            };
        }
        match before {
            Activation::Relu if slope.is_empty() => product!(ThroughRelu),
            Activation::Tanh if slope.is_empty() => product!(ThroughTanh),
            Activation::Identity if slope.is_empty() => product!(Store),
            _ => {
                product!(Store);
                S::call(Chain { dx: &mut x[..self.inputs() * row], slope, row, n });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, dispatch};

    struct Forward<'a, T> {
        layer: &'a DenseLayer,
        out: &'a mut [T],
        x: &'a [T],
        parameters: &'a [T],
        scratch: &'a mut Scratch<T>,
        row: usize,
        n: usize,
    }

    impl<T: Real> Kernel for Forward<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self) {
            let Forward { layer, out, x, parameters, scratch, row, n } = self;
            layer.forward::<S, T>(out, &mut [], x, parameters, scratch, row, n);
        }
    }

    fn check<T: Real>(fma: impl Fn(T, T, T) -> T) {
        let before = Level::current();
        let value = |i: usize| T::of(((i * 7919 + 13) % 1009) as f64 / 504.0 - 1.0);
        for (inputs, outputs) in [(120, 70), (517, 16), (9, 5)] {
            let row = row_length::<T>(96);
            let parameters: Vec<T> = (0..(inputs + 1) * outputs).map(value).collect();
            let x: Vec<T> = (0..(inputs + 1) * row).map(|i| value(i + 77)).collect();
            let layer = DenseLayer::new::<T>(inputs, outputs, Activation::Identity, 96);
            let expected = |o: usize, s: usize| {
                let chain = |sum, i: usize| fma(parameters[i * outputs + o], x[i * row + s], sum);
                (0..inputs).fold(parameters[inputs * outputs + o], chain)
            };
            for level in Level::ALL.into_iter().filter(|level| level.set()) {
                let mut scratch = layer.scratch::<T>(row, false).unwrap();
                for n in [1, 63, 64, 65, 96] {
                    let mut out = vec![T::ZERO; outputs * row];
                    let (layer, scratch) = (&layer, &mut scratch);
                    dispatch(Forward {
                        layer,
                        out: &mut out,
                        x: &x,
                        parameters: &parameters,
                        scratch,
                        row,
                        n,
                    });
                    for (o, out) in out.chunks(row).enumerate() {
                        for (s, out) in out[..n].iter().enumerate() {
                            assert!(*out == expected(o, s), "{level:?} {inputs} {outputs} {n}");
                        }
                    }
                }
            }
        }
        before.set();
    }

    #[test]
    fn the_way_there_is_the_chain_of_the_definition_whether_weights_are_turned_or_not() {
        check::<f32>(f32::mul_add);
        check::<f64>(f64::mul_add);
    }
}
