//! A step of a small network on up to [`NARROW`] rows, the optimiser's included, as one kernel.
//!
//! The products are those of [`crate::gemm`], the same chains in the same order, so bits are those of a
//! [`super::block::Block`]; but so few multiplications are outweighed by the preparing of a tile's call, so here they are
//! plain loops over rows of four samples, `[feature][sample]`, without a gap between them. The activations, the loss and
//! the optimiser are the ones that blocks use.

use super::activation::{Activate, Activation, Chain, Rectify, TakeTanh, ThroughRelu, ThroughTanh};
use super::block::NARROW;
use super::data::Data;
use super::loss::LossAndGradient;
use super::optim::{State, Update};
use super::train::Settings;
use super::{Kind, Output, Shape};
use crate::error::Result;
use crate::gemm::{End, Store};
use crate::parallel::zeros;
use crate::simd::{Kernel, Real, Simd, Vector, dispatch};
use std::ops::Range;

/// A feature of as many samples as there are lanes.
type Row<T> = [T; NARROW];

/// The most parameters a network is small with: beyond, the tiles of products outweigh their calls.
const FEW: usize = 1024;

/// A dense layer, and where its inputs stand.
struct Dense {
    inputs: usize,
    outputs: usize,
    /// After it.
    activation: Activation,
    /// Whether the derivative of the activation is stored.
    stored: bool,
    /// Its first parameter.
    start: usize,
    /// The first row of its inputs; a row of ones follows them, then the next layer's, and at last the logits.
    first: usize,
}

impl Dense {
    /// The place of its weights, and then its biases.
    #[inline(always)]
    fn range(&self) -> Range<usize> {
        self.start..self.start + (self.inputs + 1) * self.outputs
    }
}

/// Buffers for steps of a small network.
pub struct Narrow<T> {
    layers: Vec<Dense>,
    output: Output,
    n_outputs: usize,
    /// The first row of the logits.
    logits: usize,
    values: Vec<Row<T>>,
    /// The derivatives of the activations that store them, where the values stand.
    slopes: Vec<Row<T>>,
    targets: Vec<Row<T>>,
    gradient: Vec<T>,
    /// The rows whose inputs and targets stand in the buffers; none at first.
    held: Numbers,
    /// Whether each of their targets is one class.
    one_hot: bool,
}

/// Numbers of rows, zeros beyond the first `n`.
#[derive(PartialEq, Eq)]
struct Numbers {
    number: [u32; NARROW],
    n: usize,
}

/// A step on rows that have been gathered, and what it changes.
struct Step<'a, T> {
    net: &'a mut Narrow<T>,
    shape: &'a Shape,
    settings: &'a Settings,
    parameters: &'a mut [T],
    state: &'a mut State<T>,
    /// The sum of the rows' weights.
    weight: f64,
    weights: Option<Row<f64>>,
}

impl<T: Real> Narrow<T> {
    /// Buffers for a network, or None where it is not small or not of dense layers alone.
    pub fn new(shape: &Shape) -> Result<Option<Narrow<T>>> {
        let dense = shape.layers.iter().all(|layer| layer.kind == Kind::Dense { ntk: false });
        if !dense || shape.n_parameters() > FEW {
            return Ok(None);
        }
        let mut first = 0;
        let mut layers = Vec::with_capacity(shape.layers.len());
        for layer in &shape.layers {
            let (inputs, outputs, activation) = (layer.inputs, layer.outputs, layer.activation);
            let (stored, start) = (activation.stores_slope(), layer.place.start);
            layers.push(Dense { inputs, outputs, activation, stored, start, first });
            first += inputs + 1;
        }
        let n_outputs = shape.n_outputs();
        let mut values: Vec<Row<T>> = zeros(first + n_outputs)?;
        for layer in &layers {
            values[layer.first + layer.inputs] = [T::ONE; NARROW];
        }
        let stored = layers.iter().any(|layer| layer.stored);
        Ok(Some(Narrow {
            layers,
            output: shape.output,
            n_outputs,
            logits: first,
            slopes: zeros(if stored { values.len() } else { 0 })?,
            values,
            targets: zeros(n_outputs)?,
            gradient: zeros(shape.n_parameters())?,
            held: Numbers { number: [0; NARROW], n: 0 },
            one_hot: false,
        }))
    }

    /// Forgets which rows stand in the buffers: the next ones are of another table.
    pub fn forget(&mut self) {
        self.held.n = 0;
    }

    /// A step on the numbered rows, whose weights sum to `weight`; returns Σ weight·loss before it.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a step's whole description")]
    pub fn step(
        &mut self,
        shape: &Shape,
        settings: &Settings,
        parameters: &mut [T],
        state: &mut State<T>,
        data: &Data,
        numbers: &[u32],
        weight: f64,
    ) -> f64 {
        let mut wanted = Numbers { number: [0; NARROW], n: numbers.len() };
        match numbers.try_into() {
            Ok(four) => wanted.number = four,
            Err(_) => wanted.number[..numbers.len()].copy_from_slice(numbers),
        }
        if self.held != wanted {
            data.x.gather(numbers, self.values.as_flattened_mut(), NARROW);
            let targets = self.targets.as_flattened_mut();
            self.one_hot = data.gather_targets(settings.loss, self.n_outputs, numbers, targets, NARROW);
            self.held = wanted;
        }
        let weights = data.weights.map(|_| {
            let mut weights = [0.0; NARROW];
            for (weight, number) in weights.iter_mut().zip(numbers) {
                *weight = data.weight(*number);
            }
            weights
        });
        let mut step = Step { net: self, shape, settings, parameters, state, weight, weights };
        dispatch(Outer(&mut step))
    }
}

// Kernels that are handed on are moved, word by word, and then read vector by vector: which waits until the words are
// in the cache. So these hold nothing but a reference.

/// See [`Narrow::step`].
struct Outer<'a, 'b, T>(&'a mut Step<'b, T>);

impl<T: Real> Kernel for Outer<'_, '_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let loss = S::Narrow::call(InFour(self.0));
        let Step { net, shape, settings, parameters, state, weight, .. } = self.0;
        let advance = &settings.optimizer.begin(state, shape, settings.total_steps, settings.l2 / *weight);
        let range = 0..parameters.len();
        Update { advance, shape, range, state, gradient: &net.gradient, parameters }.run::<S>();
        loss
    }
}

/// The way there and back in vectors of four lanes.
struct InFour<'a, 'b, T>(&'a mut Step<'b, T>);

impl<T: Real> Kernel for InFour<'_, '_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let Step { net, settings, parameters, weight, weights, .. } = self.0;
        let (weight, weights) = (*weight, &*weights);
        let Narrow { layers, output, n_outputs, logits, values, slopes, targets, gradient, held, one_hot } =
            &mut **net;
        let n = held.n;
        for layer in layers.iter() {
            let (weights, biases) = parameters[layer.range()].split_at(layer.inputs * layer.outputs);
            let next = layer.first + layer.inputs + 1;
            let (before, after) = values.split_at_mut(next);
            let out = &mut after[..layer.outputs];
            let x = &before[layer.first..next - 1];
            match layer.activation {
                Activation::Relu => forward::<S, T, _>(out, x, weights, biases, Rectify),
                Activation::Tanh => forward::<S, T, _>(out, x, weights, biases, TakeTanh),
                activation => {
                    forward::<S, T, _>(out, x, weights, biases, Store);
                    if layer.stored {
                        let slope = slopes[next..next + layer.outputs].as_flattened_mut();
                        let z = out.as_flattened_mut();
                        let row = z.len();
                        S::call_apart(Activate { activation, z, slope, row, n: row });
                    }
                }
            }
        }
        let factor = 1.0 / weight;
        let mut losses = [T::ZERO; NARROW];
        let mut scale = [T::of(factor); NARROW];
        if let Some(weights) = weights {
            for (scale, weight) in scale.iter_mut().zip(weights) {
                *scale = T::of(*weight * factor);
            }
        }
        LossAndGradient {
            loss: settings.loss,
            output: *output,
            z: values[*logits..].as_flattened_mut(),
            target: targets.as_flattened(),
            one_hot: *one_hot,
            scale: &scale,
            losses: &mut losses,
            row: NARROW,
            k: *n_outputs,
            n,
        }
        .run::<S>();
        for l in (0..layers.len()).rev() {
            let layer = &layers[l];
            let (before, after) = values.split_at_mut(layer.first + layer.inputs + 1);
            let (x, delta) = (&mut before[layer.first..], &after[..layer.outputs]);
            let own = &mut gradient[layer.range()];
            // With one output dW and its transpose are the same numbers: the longer side goes into the lanes.
            if layer.outputs == 1 {
                outer::<S, T>(own, delta, x, n);
            } else {
                outer::<S, T>(own, x, delta, n);
            }
            if l > 0 {
                let (x, weights) = (&mut x[..layer.inputs], &parameters[layer.range()]);
                match layers[l - 1].activation {
                    Activation::Relu => back::<S, T, _>(x, delta, weights, ThroughRelu),
                    Activation::Tanh => back::<S, T, _>(x, delta, weights, ThroughTanh),
                    _ => {
                        back::<S, T, _>(x, delta, weights, Store);
                        if layers[l - 1].stored {
                            let slope = slopes[layer.first..layer.first + layer.inputs].as_flattened();
                            let row = slope.len();
                            S::call_apart(Chain { dx: x.as_flattened_mut(), slope, row, n: row });
                        }
                    }
                }
            }
        }
        let mut total = 0.0;
        for s in 0..n {
            total += match weights {
                Some(weights) => losses[s].f64() * weights[s],
                None => losses[s].f64(),
            };
        }
        total
    }
}

/// `$body` with the constant R as 4 for every four of `$n` and as 1 for each of those left, `$i` being the first.
macro_rules! in_fours {
    ($n:expr, |$i:ident, $R:ident| $body:block) => {{
        let mut $i = 0;
        while $i + 4 <= $n {
            const $R: usize = 4;
            $body
            $i += 4;
        }
        while $i < $n {
            const $R: usize = 1;
            $body
            $i += 1;
        }
    }};
}

/// f(Wᵀx + b), f being the `end`: `out` (outputs), `x` (inputs), `weights` (inputs, outputs).
#[inline(always)]
fn forward<S: Simd, T: Real, E: End<T>>(
    out: &mut [Row<T>],
    x: &[Row<T>],
    weights: &[T],
    biases: &[T],
    end: E,
) {
    let outputs = out.len();
    in_fours!(outputs, |o, R| {
        let mut sums = [T::Vector::<S>::splat(T::ZERO); R];
        let biases = &biases[o..o + R];
        for r in 0..R {
            sums[r] = T::Vector::<S>::splat(biases[r]);
        }
        for (x, weights) in x.iter().zip(weights.chunks_exact(outputs)) {
            let (x, weights) = (T::Vector::<S>::from_slice(x), &weights[o..o + R]);
            for r in 0..R {
                sums[r] = T::Vector::<S>::splat(weights[r]).mul_add(x, sums[r]);
            }
        }
        let out = &mut out[o..o + R];
        for r in 0..R {
            end.finish(sums[r], sums[r]).copy_to(&mut out[r]);
        }
    });
}

/// The derivative in the sums that `x` (inputs) was made of, in its place: W·δ and what the `end` makes of it.
#[inline(always)]
fn back<S: Simd, T: Real, E: End<T>>(x: &mut [Row<T>], delta: &[Row<T>], weights: &[T], end: E) {
    let outputs = delta.len();
    in_fours!(x.len(), |i, R| {
        let mut sums = [T::Vector::<S>::splat(T::ZERO); R];
        let weights = &weights[i * outputs..(i + R) * outputs];
        for (o, delta) in delta.iter().enumerate() {
            let delta = T::Vector::<S>::from_slice(delta);
            for r in 0..R {
                sums[r] = T::Vector::<S>::splat(weights[r * outputs + o]).mul_add(delta, sums[r]);
            }
        }
        let x = &mut x[i..i + R];
        for r in 0..R {
            end.finish(sums[r], T::Vector::<S>::from_slice(&x[r])).copy_to(&mut x[r]);
        }
    });
}

/// `c[i · b.len() + j]` = Σₛ a[i][s]·b[j][s] over `n` samples, with b in lanes.
#[inline(always)]
fn outer<S: Simd, T: Real>(c: &mut [T], a: &[Row<T>], b: &[Row<T>], n: usize) {
    let (columns, mut j) = (b.len(), 0);
    let mut square = [T::Vector::<S>::splat(T::ZERO); 16];
    while j + NARROW <= columns {
        let b = &b[j..j + NARROW];
        for r in 0..NARROW {
            square[r] = T::Vector::<S>::from_slice(&b[r]);
        }
        T::Vector::<S>::turn(&mut square);
        for (a, c) in a.iter().zip(c.chunks_exact_mut(columns)) {
            over_samples::<S, T>(a, &square, n).copy_to(&mut c[j..j + NARROW]);
        }
        j += NARROW;
    }
    if j < columns {
        let b = &b[j..];
        for r in 0..NARROW {
            square[r] = T::Vector::<S>::from_slice(&b[r.min(b.len() - 1)]);
        }
        T::Vector::<S>::turn(&mut square);
        for (a, c) in a.iter().zip(c.chunks_exact_mut(columns)) {
            over_samples::<S, T>(a, &square, n).copy_to_partial(&mut c[j..]);
        }
    }
}

/// Σₛ a[s]·b[s] over the first `n` samples.
#[inline(always)]
fn over_samples<S: Simd, T: Real>(a: &Row<T>, b: &[T::Vector<S>; 16], n: usize) -> T::Vector<S> {
    let mut sum = T::Vector::<S>::splat(T::ZERO);
    if n == NARROW {
        for s in 0..NARROW {
            sum = T::Vector::<S>::splat(a[s]).mul_add(b[s], sum);
        }
        return sum;
    }
    for s in 0..NARROW - 1 {
        if s < n {
            sum = T::Vector::<S>::splat(a[s]).mul_add(b[s], sum);
        }
    }
    sum
}
