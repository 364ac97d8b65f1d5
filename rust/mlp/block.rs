//! A block of rows on its way through the network and back.
//!
//! Everything is feature-major, `[feature][row_length]` with samples in lanes; only what a layer's dW needs
//! sample-major is turned. The buffers are sized once and hold any block of up to `capacity` rows. Results are the
//! chains of [`crate::gemm`]: they do not depend on which rows share a block. A block is one kernel: what it consists
//! of is called at the level it was dispatched to, and up to [`NARROW`] rows by vectors of as many lanes.

use super::activation::{Activate, Activation, Chain, Rectify};
use super::data::Data;
use super::layers::{Backward, Forward, Lines, Piece};
use super::loss::{Loss, LossAndGradient, Predict};
use super::regularization::Regularizer;
use super::{Layer, Output, Shape};
use crate::error::Result;
use crate::gemm::{End, Store, Transpose, padded, row_length};
use crate::parallel::zeros;
use crate::rows::Rows;
use crate::simd::{Kernel, Real, Simd, Vector, dispatch};

/// The most rows a block has. A batch of more is computed in blocks whose gradients are added in order in `f64`.
pub const MOST_ROWS: usize = 256;

/// Rows of the blocks of a batch: a batch of up to [`MOST_ROWS`] is one block; of a larger one, blocks are as long as a
/// small network's values stay in the nearest cache.
pub fn block_rows<T: Real>(shape: &Shape, batch: usize) -> usize {
    if batch <= MOST_ROWS {
        return batch;
    }
    const CACHE: usize = 32 * 1024;
    let bytes = size_of::<T>() * (shape.width() + shape.n_outputs());
    let rows = CACHE / bytes / 32 * 32;
    if rows < 96 { MOST_ROWS } else { rows.min(MOST_ROWS) }
}

/// Up to so many rows are computed in [`Simd::Narrow`].
pub const NARROW: usize = 4;

/// Buffers for one block.
pub struct Block<T> {
    layers: Vec<Placed<T>>,
    n_outputs: usize,
    output: Output,
    /// Distance of the features' rows.
    row: usize,
    /// The inputs of each layer and a row of ones, then the logits; on the way back the derivatives in the sums that
    /// made them.
    values: Vec<Lines<T>>,
    /// The derivatives of the activations that store them, by layer; empty for prediction.
    slopes: Vec<Lines<T>>,
    /// The targets.
    targets: Vec<T>,
    losses: Vec<T>,
    scale: Vec<T>,
}

/// A layer, the activation that ends it, and where its parameters begin and end.
struct Placed<T> {
    piece: Piece<T>,
    activation: Activation,
    start: usize,
    end: usize,
}

/// What a block's buffers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// Predictions and losses.
    There,
    /// Gradients, with dropout after the layers of these numbers: their derivatives are stored, so that what is dropped
    /// is marked in them.
    Back(&'a [usize]),
}

/// Rows to learn from or to be judged by, and the parameters to do it with.
struct Task<'a, T> {
    loss: Loss,
    parameters: &'a [T],
    data: &'a Data<'a>,
    numbers: &'a [u32],
    factor: f64,
    /// Whether the inputs and targets stand in the block, and each target is one class.
    gathered: Option<bool>,
}

/// The inputs and targets of a block's rows, gathered once for all epochs in which the block has these rows.
pub struct Held<T> {
    inputs: Lines<T>,
    targets: Vec<T>,
    one_hot: Option<bool>,
}

impl<T: Real> Held<T> {
    /// The bytes of one.
    pub fn bytes(shape: &Shape, capacity: usize) -> usize {
        (shape.n_inputs() + 1 + shape.n_outputs()) * row_length::<T>(capacity) * size_of::<T>()
    }
}

/// Rows for so many inputs, and one of ones.
fn with_ones<T: Real>(inputs: usize, row: usize) -> Result<Lines<T>> {
    let mut lines = Lines::new((inputs + 1) * row)?;
    lines[inputs * row..].fill(T::ONE);
    Ok(lines)
}

impl<T: Real> Block<T> {
    /// Buffers for up to `capacity` rows (at most [`MOST_ROWS`]), with what they are wanted for.
    pub fn new(shape: &Shape, capacity: usize, way: Way) -> Result<Block<T>> {
        let (training, dropped) = match way {
            Way::There => (false, &[][..]),
            Way::Back(dropped) => (true, dropped),
        };
        let row = row_length::<T>(capacity);
        let layers = shape.layers.iter().map(|layer| Piece::new(layer, capacity, row, training));
        let layers: Vec<Piece<T>> = layers.collect::<Result<_>>()?;
        let mut values = Vec::with_capacity(layers.len() + 1);
        for layer in &shape.layers {
            values.push(with_ones(layer.inputs, row)?);
        }
        values.push(Lines::new(shape.n_outputs() * row)?);
        let stored = |(l, layer): (usize, &Layer)| {
            // A layer that is not dense, or the loss, knows no derivative by the value.
            let by_value = layers.get(l + 1).is_some_and(Piece::is_dense);
            let after = layers[l].is_dense() && layer.activation != Activation::Identity;
            let stored = after && (layer.activation.stores_slope() || !by_value);
            let stored = stored || dropped.contains(&l);
            Lines::new(if training && stored { layer.outputs * row } else { 0 })
        };
        let slopes = shape.layers.iter().enumerate().map(stored).collect::<Result<_>>()?;
        let placed = |(piece, layer): (Piece<T>, &Layer)| {
            let activation = if piece.is_dense() { layer.activation } else { Activation::Identity };
            Placed { piece, activation, start: layer.place.start, end: layer.place.end }
        };
        let layers = layers.into_iter().zip(&shape.layers).map(placed).collect();
        Ok(Block {
            layers,
            n_outputs: shape.n_outputs(),
            output: shape.output,
            row,
            values,
            slopes,
            targets: zeros(shape.n_outputs() * row)?,
            losses: zeros(row)?,
            scale: zeros(row)?,
        })
    }

    /// The most rows these buffers hold.
    pub fn capacity(&self) -> usize {
        self.losses.len().min(MOST_ROWS)
    }

    /// The logits of the numbered rows, feature-major, in the last of `values`. Inputs that have been `gathered` stand in
    /// the first.
    #[inline(always)]
    fn forward<S: Simd>(
        &mut self,
        parameters: &[T],
        x: &Rows,
        numbers: &[u32],
        gathered: bool,
        mut regularizer: Option<&mut Regularizer<T>>,
    ) {
        let (row, n) = (self.row, numbers.len());
        if !gathered {
            x.gather(numbers, &mut self.values[0], row);
        }
        if let Some(regularizer) = &mut regularizer {
            regularizer.inputs(x, &mut self.values[0], row);
        }
        for (l, Placed { piece, start, end, .. }) in self.layers.iter_mut().enumerate() {
            let (inputs, outputs) = self.values.split_at_mut(l + 1);
            let (x, out, slope) = (&inputs[l][..], &mut outputs[0][..], &mut self.slopes[l][..]);
            let parameters = &parameters[*start..*end];
            match piece {
                Piece::Dense(layer, scratch) => {
                    layer.forward::<S, T>(out, slope, x, parameters, scratch, row, n);
                }
                _ => S::call_apart(Forward { piece, out, slope, x, parameters, row, n }),
            }
            if let Some(regularizer) = &mut regularizer {
                regularizer.after(l, out, slope, row, n);
            }
        }
    }

    /// Predictions (or, with `logits`, what they are made of) for rows `first..` of `x`, row by row into `out`.
    pub fn predict(
        &mut self,
        shape: &Shape,
        parameters: &[T],
        x: &Rows,
        first: usize,
        logits: bool,
        out: &mut [T],
    ) {
        let n = out.len() / shape.n_outputs();
        if n == 1 && self.layers.iter().all(|layer| matches!(layer.piece, Piece::Dense(..))) {
            return dispatch(PredictRow { block: self, parameters, x, number: first as u32, logits, out });
        }
        dispatch(ForSamples { n, kernel: PredictRows { block: self, parameters, x, first, logits, out } });
    }

    /// The losses of the task's rows, weighted and added in their order. The logits become
    /// (dloss/dz)·weight·`factor`; `errors`, where wanted, grows by the weighted [`Block::error`] of each row.
    #[inline(always)]
    fn losses<S: Simd>(
        &mut self,
        task: &Task<'_, T>,
        errors: Option<&mut f64>,
        mut regularizer: Option<&mut Regularizer<T>>,
    ) -> f64 {
        let Task { loss, parameters, data, numbers, factor, gathered } = *task;
        self.forward::<S>(parameters, &data.x, numbers, gathered.is_some(), regularizer.as_deref_mut());
        let (n, k) = (numbers.len(), self.n_outputs);
        let mut one_hot = match gathered {
            Some(one_hot) => one_hot,
            None => data.gather_targets(loss, k, numbers, &mut self.targets, self.row),
        };
        if let Some(regularizer) = &mut regularizer {
            one_hot = regularizer.targets(data, loss, k, &mut self.targets, self.row, one_hot);
        }
        let weight = |s: usize| match &regularizer {
            Some(regularizer) => regularizer.weight(s),
            None => data.weight(numbers[s]),
        };
        if let Some(errors) = errors {
            *errors +=
                numbers.iter().enumerate().map(|(s, i)| self.error(s, k) * data.weight(*i)).sum::<f64>();
        }
        let equal = regularizer.is_none() && data.weights.is_none();
        if equal {
            self.scale[..n].fill(T::of(factor));
        } else {
            for (s, scale) in self.scale[..n].iter_mut().enumerate() {
                *scale = T::of(weight(s) * factor);
            }
        }
        S::call(LossAndGradient {
            loss,
            output: self.output,
            z: &mut self.values[self.layers.len()],
            target: &self.targets,
            one_hot,
            scale: &self.scale,
            losses: &mut self.losses,
            row: self.row,
            k,
            n,
        });
        let losses = self.losses[..n].iter();
        if equal {
            losses.map(|loss| loss.f64()).sum()
        } else {
            losses.enumerate().map(|(s, loss)| loss.f64() * weight(s)).sum()
        }
    }

    /// Σ weight·loss of the numbered rows, and the gradient of `factor` times it. A `regularizer` has begun with these
    /// rows. Without one, and where the block always has the same rows, what has been gathered may be `held`.
    #[allow(clippy::too_many_arguments, reason = "the network, what it is judged by, and the rows")]
    pub fn gradient(
        &mut self,
        loss: Loss,
        parameters: &[T],
        data: &Data,
        numbers: &[u32],
        factor: f64,
        gradient: &mut [T],
        regularizer: Option<&mut Regularizer<T>>,
        held: Option<&mut Held<T>>,
    ) -> f64 {
        let n = numbers.len();
        let mut task = Task { loss, parameters, data, numbers, factor, gathered: None };
        let Some(held) = held else {
            return dispatch(ForSamples { n, kernel: Gradient { block: self, task, gradient, regularizer } });
        };
        if held.one_hot.is_none() {
            data.x.gather(numbers, &mut held.inputs, self.row);
            let (k, targets) = (self.n_outputs, &mut held.targets);
            held.one_hot = Some(data.gather_targets(loss, k, numbers, targets, self.row));
        }
        task.gathered = held.one_hot;
        self.exchange(held);
        let kernel = Gradient { block: &mut *self, task, gradient, regularizer };
        let total = dispatch(ForSamples { n, kernel });
        self.exchange(held);
        total
    }

    /// Room for what this block may hold, in which nothing is yet.
    pub fn room(&self) -> Result<Held<T>> {
        let inputs = with_ones(self.values[0].len() / self.row - 1, self.row)?;
        Ok(Held { inputs, targets: zeros(self.targets.len())?, one_hot: None })
    }

    /// The block's inputs and targets are those held, and the other way round.
    fn exchange(&mut self, held: &mut Held<T>) {
        std::mem::swap(&mut self.values[0], &mut held.inputs);
        std::mem::swap(&mut self.targets, &mut held.targets);
    }

    /// How wrong the prediction of a sample is, by its logits: 1 where another class is the likeliest (softmax), the
    /// share of outputs on the wrong side of ½ (sigmoid), 0 for other outputs, which know no right and wrong.
    fn error(&self, s: usize, k: usize) -> f64 {
        let logits = &self.values[self.values.len() - 1];
        let (z, q) = (|c: usize| logits[c * self.row + s], |c: usize| self.targets[c * self.row + s]);
        let largest =
            |value: &dyn Fn(usize) -> T| (1..k).fold(0, |top, c| if value(c) > value(top) { c } else { top });
        match self.output {
            Output::Softmax => f64::from(u8::from(largest(&z) != largest(&q))),
            Output::Sigmoid => {
                let wrong = (0..k).filter(|c| (z(*c) >= T::ZERO) != (q(*c) >= T::of(0.5))).count();
                wrong as f64 / k as f64
            }
            Output::Identity | Output::Exp => 0.0,
        }
    }

    /// Σ weight·loss, Σ weight·[`Block::error`] and Σ weight of the numbered rows.
    pub fn evaluate(&mut self, loss: Loss, parameters: &[T], data: &Data, numbers: &[u32]) -> [f64; 3] {
        let task = Task { loss, parameters, data, numbers, factor: 1.0, gathered: None };
        dispatch(ForSamples { n: numbers.len(), kernel: Evaluate { block: self, task } })
    }
}

/// A kernel over `n` samples, narrow where they are few.
struct ForSamples<K> {
    n: usize,
    kernel: K,
}

impl<K: Kernel> Kernel for ForSamples<K> {
    type Output = K::Output;
    #[inline(always)]
    fn run<S: Simd>(self) -> K::Output {
        if self.n <= NARROW { S::Narrow::call(self.kernel) } else { S::call(self.kernel) }
    }
}

/// See [`Block::predict`].
struct PredictRows<'a, T> {
    block: &'a mut Block<T>,
    parameters: &'a [T],
    x: &'a Rows<'a>,
    first: usize,
    logits: bool,
    out: &'a mut [T],
}

impl<T: Real> Kernel for PredictRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let PredictRows { block, parameters, x, first, logits, out } = self;
        let (row, last) = (block.row, block.layers.len());
        let k = block.n_outputs;
        let n = out.len() / k;
        let mut numbers = [0; MOST_ROWS];
        for (place, number) in numbers[..n].iter_mut().enumerate() {
            *number = (first + place) as u32;
        }
        block.forward::<S>(parameters, x, &numbers[..n], false, None);
        let z = &mut block.values[last][..];
        if !logits {
            S::call(Predict { output: block.output, z, row, k, n });
        }
        S::call(Transpose { to: out, to_row: k, from: z, from_row: row, rows: k, columns: n });
    }
}

/// The same for one row: with a single sample for the lanes they would be empty, so they hold a layer's outputs.
struct PredictRow<'a, T> {
    block: &'a mut Block<T>,
    parameters: &'a [T],
    x: &'a Rows<'a>,
    number: u32,
    logits: bool,
    out: &'a mut [T],
}

impl<T: Real> Kernel for PredictRow<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let PredictRow { block, parameters, x, number, logits, out } = self;
        let Block { layers, values, row, n_outputs, output, .. } = block;
        let (row, k, last) = (*row, *n_outputs, layers.len());
        x.gather(&[number], &mut values[0], 1);
        for (l, Placed { piece, activation, start, end }) in layers.iter().enumerate() {
            let (before, after) = values.split_at_mut(l + 1);
            let Piece::Dense(dense, _) = piece else { continue };
            let (x, outputs) = (&before[l][..dense.inputs()], dense.outputs());
            // A block's rows leave room for whole vectors.
            let z = &mut after[0][..padded::<T>(outputs)];
            let parameters = &parameters[*start..*end];
            match *activation {
                Activation::Identity => times_matrix::<S, T, _>(z, x, parameters, outputs, Store),
                Activation::Relu => times_matrix::<S, T, _>(z, x, parameters, outputs, Rectify),
                activation => {
                    times_matrix::<S, T, _>(z, x, parameters, outputs, Store);
                    let row = z.len();
                    S::call_apart(Activate { activation, z, slope: &mut [], row, n: row });
                }
            }
        }
        let z = &mut values[last][..];
        if logits {
            return out.copy_from_slice(&z[..k]);
        }
        for c in (1..k).rev() {
            z[c * row] = z[c];
        }
        S::Narrow::call(Predict { output: *output, z, row, k, n: 1 });
        for (c, out) in out.iter_mut().enumerate() {
            *out = z[c * row];
        }
    }
}

/// `z` = Wᵀx + b, or what the `end` makes of it, of one row, by the chains of a [`crate::gemm::Product`]: outputs in
/// lanes, four vectors of them at a time, and a last one that may be short.
#[inline(always)]
fn times_matrix<S: Simd, T: Real, E: End<T>>(z: &mut [T], x: &[T], parameters: &[T], outputs: usize, end: E) {
    let lanes = T::Vector::<S>::LANES;
    let (weights, biases) = parameters.split_at(x.len() * outputs);
    let mut o = 0;
    macro_rules! whole {
        ($vectors:literal) => {
            while o + $vectors * lanes <= outputs {
                let mut sums = [T::Vector::<S>::splat(T::ZERO); $vectors];
                for v in 0..$vectors {
                    sums[v] = T::Vector::<S>::from_slice(&biases[o + v * lanes..]);
                }
                for (x, weights) in x.iter().zip(weights.chunks_exact(outputs)) {
                    let (x, weights) = (T::Vector::<S>::splat(*x), &weights[o..o + $vectors * lanes]);
                    for v in 0..$vectors {
                        sums[v] = x.mul_add(T::Vector::<S>::from_slice(&weights[v * lanes..]), sums[v]);
                    }
                }
                for v in 0..$vectors {
                    end.finish(sums[v], sums[v]).copy_to(&mut z[o + v * lanes..]);
                }
                o += $vectors * lanes;
            }
        };
    }
    whole!(4);
    whole!(2);
    whole!(1);
    if o < outputs {
        let mut sum = T::Vector::<S>::from_first(&biases[o..]);
        for (x, weights) in x.iter().zip(weights.chunks_exact(outputs)) {
            let weights = T::Vector::<S>::from_first(&weights[o..]);
            sum = T::Vector::<S>::splat(*x).mul_add(weights, sum);
        }
        end.finish(sum, sum).copy_to(&mut z[o..]);
    }
}

/// See [`Block::evaluate`].
struct Evaluate<'a, T> {
    block: &'a mut Block<T>,
    task: Task<'a, T>,
}

impl<T: Real> Kernel for Evaluate<'_, T> {
    type Output = [f64; 3];
    #[inline(always)]
    fn run<S: Simd>(self) -> [f64; 3] {
        let mut errors = 0.0;
        let total = self.block.losses::<S>(&self.task, Some(&mut errors), None);
        [total, errors, self.task.data.weight_of(self.task.numbers)]
    }
}

/// See [`Block::gradient`].
struct Gradient<'a, T> {
    block: &'a mut Block<T>,
    task: Task<'a, T>,
    gradient: &'a mut [T],
    regularizer: Option<&'a mut Regularizer<T>>,
}

impl<T: Real> Kernel for Gradient<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let Gradient { block, task, gradient, regularizer } = self;
        let total = block.losses::<S>(&task, None, regularizer);
        let (row, n) = (block.row, task.numbers.len());
        let Block { layers, values, slopes, .. } = block;
        let last = layers.len() - 1;
        if !slopes[last].is_empty() {
            let slope = &slopes[last][..];
            S::call(Chain { dx: &mut values[last + 1][..slope.len()], slope, row, n });
        }
        for l in (0..layers.len()).rev() {
            let to_inputs = l > 0;
            let (before, slope) = if to_inputs {
                (layers[l - 1].activation, &slopes[l - 1][..])
            } else {
                (Activation::Identity, &[][..])
            };
            let Placed { piece, start, end, .. } = &mut layers[l];
            let (inputs, outputs) = values.split_at_mut(l + 1);
            let (x, delta) = (&mut inputs[l][..], &outputs[0][..]);
            let (gradient, parameters) = (&mut gradient[*start..*end], &task.parameters[*start..*end]);
            match piece {
                Piece::Dense(layer, scratch) => {
                    layer.backward::<S, T>(gradient, delta, x, scratch, row, n);
                    if to_inputs {
                        layer.backward_to_inputs::<S, T>(x, delta, parameters, before, slope, row, n);
                    }
                }
                _ => S::call_apart(Backward {
                    piece,
                    gradient,
                    x,
                    delta,
                    parameters,
                    before,
                    slope,
                    row,
                    n,
                    to_inputs,
                }),
            }
        }
        total
    }
}
