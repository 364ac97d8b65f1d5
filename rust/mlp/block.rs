//! A block of rows on its way through the network and back.
//!
//! Everything is feature-major, `[feature][row_length]` with samples in lanes; only the derivatives of a layer's sums
//! are turned once, for the product that needs them sample-major. The buffers are sized once and hold any block of up
//! to `capacity` rows. Results are the chains of [`crate::gemm`]: they do not depend on which rows share a block.

use super::activation::{Activate, Chain};
use super::data::Data;
use super::loss::{Loss, LossAndGradient, Predict};
use super::regularization::Regularizer;
use super::{Dense, Output, Shape};
use crate::error::Result;
use crate::gemm::{Product, Transpose, padded, row_length};
use crate::parallel::zeros;
use crate::rows::Rows;
use crate::simd::{Real, dispatch};

/// The most rows a block has. A batch of more is computed in blocks whose gradients are added in order in `f64`.
pub const MOST_ROWS: usize = 256;

/// Buffers for one block.
pub struct Block<T> {
    layers: Vec<Dense>,
    output: Output,
    /// Distance of the features' rows.
    row: usize,
    /// The inputs of each layer, then the logits; on the way back the derivatives in the sums that made them.
    values: Vec<Vec<T>>,
    /// The derivatives of the activations, by hidden layer; empty for prediction.
    slopes: Vec<Vec<T>>,
    /// The targets.
    targets: Vec<T>,
    /// The derivatives of a layer's sums, turned to `[sample][output]`.
    turned: Vec<T>,
    losses: Vec<T>,
    scale: Vec<T>,
}

impl<T: Real> Block<T> {
    /// Buffers for up to `capacity` rows (at most [`MOST_ROWS`]), with those for the way back if `training`.
    pub fn new(shape: &Shape, capacity: usize, training: bool) -> Result<Block<T>> {
        let row = row_length::<T>(capacity);
        let values = shape.sizes.iter().map(|width| zeros(width * row)).collect::<Result<_>>()?;
        let hidden = &shape.sizes[1..shape.sizes.len() - 1];
        let slopes = if training { hidden } else { &[] };
        let widest_turned = shape.sizes[1..].iter().map(|width| padded::<T>(*width)).max().unwrap_or(0);
        let back = usize::from(training);
        Ok(Block {
            layers: shape.layers().collect(),
            output: shape.output,
            row,
            values,
            slopes: slopes.iter().map(|width| zeros(width * row)).collect::<Result<_>>()?,
            targets: zeros(shape.n_outputs() * row)?,
            turned: zeros(back * widest_turned * row.min(MOST_ROWS))?,
            losses: zeros(row)?,
            scale: zeros(row)?,
        })
    }

    /// The most rows these buffers hold.
    pub fn capacity(&self) -> usize {
        self.losses.len().min(MOST_ROWS)
    }

    /// The logits of the numbered rows, feature-major, in the last of `values`.
    fn forward(
        &mut self,
        shape: &Shape,
        parameters: &[T],
        x: &Rows,
        numbers: &[u32],
        mut regularizer: Option<&mut Regularizer<T>>,
    ) {
        let n = numbers.len();
        x.gather(numbers, &mut self.values[0], self.row);
        if let Some(regularizer) = &mut regularizer {
            regularizer.inputs(x, &mut self.values[0], self.row);
        }
        for (l, layer) in self.layers.iter().enumerate() {
            let (inputs, outputs) = self.values.split_at_mut(l + 1);
            dispatch(Product {
                c: &mut outputs[0],
                c_row: self.row,
                a: &parameters[layer.weights.clone()],
                a_row: 1,
                a_col: layer.outputs,
                b: &inputs[l],
                b_row: self.row,
                start: Some(&parameters[layer.biases.clone()]),
                m: layer.outputs,
                n: padded::<T>(n),
                k: layer.inputs,
            });
            if let Some(activation) = shape.activations.get(l) {
                dispatch(Activate {
                    activation: *activation,
                    z: &mut outputs[0],
                    slope: self.slopes.get_mut(l).map(Vec::as_mut_slice),
                    row: self.row,
                    n,
                });
                if let (Some(regularizer), Some(slope)) = (&mut regularizer, self.slopes.get_mut(l)) {
                    regularizer.hidden(l, layer.outputs, &mut outputs[0], slope, self.row, n);
                }
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
        let k = shape.n_outputs();
        let n = out.len() / k;
        let mut numbers = [0; MOST_ROWS];
        for (place, number) in numbers[..n].iter_mut().enumerate() {
            *number = (first + place) as u32;
        }
        self.forward(shape, parameters, x, &numbers[..n], None);
        let z = self.values.last_mut().expect("a network has at least two sizes");
        if !logits {
            dispatch(Predict { output: self.output, z, row: self.row, k, n });
        }
        dispatch(Transpose { to: out, to_row: k, from: z, from_row: self.row, rows: k, columns: n });
    }

    /// The losses of the numbered rows, weighted and added in their order. The logits become
    /// (dloss/dz)·weight·`factor`; `errors`, where wanted, grows by the weighted [`Block::error`] of each row.
    #[allow(clippy::too_many_arguments, reason = "the network, what it is judged by, and the rows")]
    fn losses(
        &mut self,
        shape: &Shape,
        loss: Loss,
        parameters: &[T],
        data: &Data,
        numbers: &[u32],
        factor: f64,
        errors: Option<&mut f64>,
        mut regularizer: Option<&mut Regularizer<T>>,
    ) -> f64 {
        let (n, k) = (numbers.len(), shape.n_outputs());
        self.forward(shape, parameters, &data.x, numbers, regularizer.as_deref_mut());
        let mut one_hot = data.gather_targets(loss, k, numbers, &mut self.targets, self.row);
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
        for (s, scale) in self.scale[..n].iter_mut().enumerate() {
            *scale = T::of(weight(s) * factor);
        }
        let z = self.values.last_mut().expect("a network has at least two sizes");
        dispatch(LossAndGradient {
            loss,
            output: self.output,
            z,
            target: &self.targets,
            one_hot,
            scale: &self.scale,
            losses: &mut self.losses,
            row: self.row,
            k,
            n,
        });
        self.losses[..n].iter().enumerate().map(|(s, loss)| loss.f64() * weight(s)).sum()
    }

    /// Σ weight·loss of the numbered rows, and the gradient of `factor` times it. A `regularizer` has begun with these
    /// rows.
    #[allow(clippy::too_many_arguments, reason = "the network, what it is judged by, and the rows")]
    pub fn gradient(
        &mut self,
        shape: &Shape,
        loss: Loss,
        parameters: &[T],
        data: &Data,
        numbers: &[u32],
        factor: f64,
        gradient: &mut [T],
        regularizer: Option<&mut Regularizer<T>>,
    ) -> f64 {
        let n = numbers.len();
        let total = self.losses(shape, loss, parameters, data, numbers, factor, None, regularizer);
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let (inputs, outputs) = self.values.split_at_mut(l + 1);
            let delta = &outputs[0];
            let turned_row = padded::<T>(layer.outputs);
            dispatch(Transpose {
                to: &mut self.turned,
                to_row: turned_row,
                from: delta,
                from_row: self.row,
                rows: layer.outputs,
                columns: n,
            });
            // dW[i][o] = Σₛ x[i][s]·δ[o][s]
            dispatch(Product {
                c: &mut gradient[layer.weights.clone()],
                c_row: layer.outputs,
                a: &inputs[l],
                a_row: self.row,
                a_col: 1,
                b: &self.turned,
                b_row: turned_row,
                start: None,
                m: layer.inputs,
                n: layer.outputs,
                k: n,
            });
            // db[o] = Σₛ 1·δ[o][s]
            dispatch(Product {
                c: &mut gradient[layer.biases.clone()],
                c_row: layer.outputs,
                a: &[T::ONE],
                a_row: 0,
                a_col: 0,
                b: &self.turned,
                b_row: turned_row,
                start: None,
                m: 1,
                n: layer.outputs,
                k: n,
            });
            if l == 0 {
                break;
            }
            // dx[i][s] = Σₒ W[i][o]·δ[o][s], into the place of x, which nobody needs any more.
            dispatch(Product {
                c: &mut inputs[l],
                c_row: self.row,
                a: &parameters[layer.weights.clone()],
                a_row: layer.outputs,
                a_col: 1,
                b: delta,
                b_row: self.row,
                start: None,
                m: layer.inputs,
                n: padded::<T>(n),
                k: layer.outputs,
            });
            dispatch(Chain { dx: &mut inputs[l], slope: &self.slopes[l - 1], row: self.row, n });
        }
        total
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
    pub fn evaluate(
        &mut self,
        shape: &Shape,
        loss: Loss,
        parameters: &[T],
        data: &Data,
        numbers: &[u32],
    ) -> [f64; 3] {
        let mut errors = 0.0;
        let total = self.losses(shape, loss, parameters, data, numbers, 1.0, Some(&mut errors), None);
        [total, errors, data.weight_of(numbers)]
    }
}
