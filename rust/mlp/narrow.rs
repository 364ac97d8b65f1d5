//! A step of a small network on up to [`NARROW`] rows, the optimiser's included, as one kernel.
//!
//! The products are those of [`crate::gemm`], the same chains in the same order, so bits are those of a
//! [`super::block::Block`]; but so few multiplications are outweighed by the preparing of a tile's call, so here they are
//! plain loops over rows of four samples, `[feature][sample]`, without a gap between them. The activations, the loss and
//! the optimiser are the ones that blocks use.

use super::activation::{Activate, Activation, Chain, through};
use super::block::NARROW;
use super::data::Data;
use super::loss::{Loss, LossAndGradient};
use super::optim::{Optimizer, State, UpdateAll};
use super::{Kind, Output, Shape};
use crate::error::Result;
use crate::parallel::zeros;
use crate::simd::{Kernel, Real, Simd, Vector, dispatch};

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
    /// The rows whose inputs and targets stand in the buffers, and whether each target is one class; none at first.
    held: ([u32; NARROW], usize, bool),
}

/// A step on rows that have been gathered, and what it changes.
struct Step<'a, T> {
    net: &'a mut Narrow<T>,
    loss: Loss,
    factor: f64,
    weights: Option<Row<f64>>,
    parameters: &'a mut [T],
    shape: &'a Shape,
    optimizer: &'a Optimizer,
    state: &'a mut State<T>,
    total_steps: u64,
    l2: f64,
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
            held: ([0; NARROW], 0, false),
        }))
    }

    /// Forgets which rows stand in the buffers: the next ones are of another table.
    pub fn forget(&mut self) {
        self.held.1 = 0;
    }

    /// A step on the numbered rows, whose weights sum to `weight`; returns Σ weight·loss before it.
    #[allow(clippy::too_many_arguments, reason = "a step's whole description")]
    pub fn step(
        &mut self,
        loss: Loss,
        shape: &Shape,
        optimizer: &Optimizer,
        state: &mut State<T>,
        total_steps: u64,
        l2: f64,
        parameters: &mut [T],
        data: &Data,
        numbers: &[u32],
        weight: f64,
    ) -> f64 {
        let (held, n, _) = &self.held;
        if held[..*n] != *numbers {
            data.x.gather(numbers, self.values.as_flattened_mut(), NARROW);
            let targets = self.targets.as_flattened_mut();
            let one_hot = data.gather_targets(loss, self.n_outputs, numbers, targets, NARROW);
            let mut held = [0; NARROW];
            held[..numbers.len()].copy_from_slice(numbers);
            self.held = (held, numbers.len(), one_hot);
        }
        let weights = data.weights.map(|_| {
            let mut weights = [0.0; NARROW];
            for (weight, number) in weights.iter_mut().zip(numbers) {
                *weight = data.weight(*number);
            }
            weights
        });
        let (net, factor) = (self, 1.0 / weight);
        dispatch(Step {
            net,
            loss,
            factor,
            weights,
            parameters,
            shape,
            optimizer,
            state,
            total_steps,
            l2: l2 / weight,
        })
    }
}

impl<T: Real> Kernel for Step<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(mut self) -> f64 {
        let loss = S::Narrow::call(Gradient(&mut self));
        let Step { net, parameters, shape, optimizer, state, total_steps, l2, .. } = self;
        S::call(UpdateAll { optimizer, state, shape, total_steps, l2, gradient: &net.gradient, parameters });
        loss
    }
}

/// The way there and back.
struct Gradient<'a, 'b, T>(&'a mut Step<'b, T>);

impl<T: Real> Kernel for Gradient<'_, '_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let Step { net, loss, factor, weights, parameters, .. } = self.0;
        let Narrow { layers, output, n_outputs, logits, values, slopes, targets, gradient, held } =
            &mut **net;
        let (k, (_, n, one_hot)) = (*n_outputs, *held);
        for layer in layers.iter() {
            let own = &parameters[layer.start..];
            let (weights, biases) =
                own[..(layer.inputs + 1) * layer.outputs].split_at(layer.inputs * layer.outputs);
            let next = layer.first + layer.inputs + 1;
            let (before, after) = values.split_at_mut(next);
            let out = &mut after[..layer.outputs];
            forward::<S, T>(out, &before[layer.first..next - 1], weights, biases);
            if layer.activation != Activation::Identity {
                let slope = if layer.stored { &mut slopes[next..next + layer.outputs] } else { &mut [] };
                let (z, slope) = (out.as_flattened_mut(), slope.as_flattened_mut());
                let row = z.len();
                S::call_apart(Activate { activation: layer.activation, z, slope, row, n: row });
            }
        }
        let mut losses = [T::ZERO; NARROW];
        let mut scale = [T::of(*factor); NARROW];
        if let Some(weights) = weights {
            for (scale, weight) in scale.iter_mut().zip(weights) {
                *scale = T::of(*weight * *factor);
            }
        }
        S::call_apart(LossAndGradient {
            loss: *loss,
            output: *output,
            z: values[*logits..].as_flattened_mut(),
            target: targets.as_flattened(),
            one_hot,
            scale: &scale,
            losses: &mut losses,
            row: NARROW,
            k,
            n,
        });
        for l in (0..layers.len()).rev() {
            let layer = &layers[l];
            let size = (layer.inputs + 1) * layer.outputs;
            let (before, after) = values.split_at_mut(layer.first + layer.inputs + 1);
            let (x, delta) = (&mut before[layer.first..], &after[..layer.outputs]);
            let own = &mut gradient[layer.start..layer.start + size];
            // With one output dW and its transpose are the same numbers: the longer side goes into the lanes.
            if layer.outputs == 1 {
                outer::<S, T>(own, delta, x, n);
            } else {
                outer::<S, T>(own, x, delta, n);
            }
            if l > 0 {
                let (before, weights) = (&layers[l - 1], &parameters[layer.start..layer.start + size]);
                let x = &mut x[..layer.inputs];
                back::<S, T>(
                    x,
                    delta,
                    weights,
                    if before.stored { Activation::Identity } else { before.activation },
                );
                if before.stored {
                    let slope = slopes[layer.first..layer.first + layer.inputs].as_flattened();
                    let row = slope.len();
                    S::call(Chain { dx: x.as_flattened_mut(), slope, row, n: row });
                }
            }
        }
        let mut total = 0.0;
        for s in 0..n {
            total += losses[s].f64() * weights.map_or(1.0, |weights| weights[s]);
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

/// Wᵀx + b: `out` (outputs), `x` (inputs), `weights` (inputs, outputs).
#[inline(always)]
fn forward<S: Simd, T: Real>(out: &mut [Row<T>], x: &[Row<T>], weights: &[T], biases: &[T]) {
    let outputs = out.len();
    in_fours!(outputs, |o, R| {
        let mut sums = [T::Vector::<S>::splat(T::ZERO); R];
        let biases = &biases[o..o + R];
        for r in 0..R {
            sums[r] = T::Vector::<S>::splat(biases[r]);
        }
        let mut place = o;
        for x in x {
            let (x, weights) = (T::Vector::<S>::from_slice(x), &weights[place..place + R]);
            for r in 0..R {
                sums[r] = T::Vector::<S>::splat(weights[r]).mul_add(x, sums[r]);
            }
            place += outputs;
        }
        let out = &mut out[o..o + R];
        for r in 0..R {
            sums[r].copy_to(&mut out[r]);
        }
    });
}

/// The derivative in the sums that `x` (inputs) was made of by the activation `before`, in its place: (W·δ)·f′.
#[inline(always)]
fn back<S: Simd, T: Real>(x: &mut [Row<T>], delta: &[Row<T>], weights: &[T], before: Activation) {
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
            through(before, T::Vector::<S>::from_slice(&x[r]), sums[r]).copy_to(&mut x[r]);
        }
    });
}

/// `c[i · b.len() + j]` = Σₛ a[i][s]·b[j][s] over `n` samples, with b in lanes.
#[inline(always)]
fn outer<S: Simd, T: Real>(c: &mut [T], a: &[Row<T>], b: &[Row<T>], n: usize) {
    let (columns, mut j) = (b.len(), 0);
    while j < columns {
        let mut square = [T::Vector::<S>::splat(T::ZERO); 16];
        let width = (columns - j).min(NARROW);
        if width == NARROW {
            let b = &b[j..j + NARROW];
            for r in 0..NARROW {
                square[r] = T::Vector::<S>::from_slice(&b[r]);
            }
        } else {
            for r in 0..width {
                square[r] = T::Vector::<S>::from_slice(&b[j + r]);
            }
        }
        T::Vector::<S>::turn(&mut square);
        let mut place = j;
        for a in a {
            let mut sum = T::Vector::<S>::splat(T::ZERO);
            if n == NARROW {
                for s in 0..NARROW {
                    sum = T::Vector::<S>::splat(a[s]).mul_add(square[s], sum);
                }
            } else {
                for s in 0..NARROW - 1 {
                    if s < n {
                        sum = T::Vector::<S>::splat(a[s]).mul_add(square[s], sum);
                    }
                }
            }
            if width == NARROW {
                sum.copy_to(&mut c[place..place + NARROW]);
            } else {
                sum.copy_to_partial(&mut c[place..place + width]);
            }
            place += columns;
        }
        j += NARROW;
    }
}
