//! Layers for some of the inputs each, their outputs side by side.

use super::{Backward, Forward, Lines, Piece};
use crate::error::Result;
use crate::mlp::Column;
use crate::mlp::activation::Activation;
use crate::simd::{Real, Simd};
use std::ops::Range;

/// One of the layers, or inputs that stay as they are.
struct Part<T> {
    indices: Vec<usize>,
    /// Its inputs and a row of ones.
    inputs: Lines<T>,
    /// With the place of its parameters among those of all.
    layer: Option<(Piece<T>, Range<usize>)>,
    /// Its outputs among those of all.
    outputs: Range<usize>,
}

/// The layers, with room for a block.
pub struct Columns<T>(Vec<Part<T>>);

impl<T: Real> Columns<T> {
    /// For blocks as [`Piece::new`] says; the parameters begin at `start`.
    pub fn new(
        columns: &[Column],
        start: usize,
        capacity: usize,
        row: usize,
        training: bool,
    ) -> Result<Columns<T>> {
        let (mut parts, mut first) = (Vec::with_capacity(columns.len()), 0);
        for Column { indices, layer } in columns {
            let mut inputs = Lines::new((indices.len() + 1) * row)?;
            inputs[indices.len() * row..].fill(T::ONE);
            let outputs = first..first + layer.as_ref().map_or(indices.len(), |layer| layer.outputs);
            first = outputs.end;
            let layer = match layer {
                Some(layer) => {
                    let place = layer.place.start - start..layer.place.end - start;
                    Some((Piece::new(layer, capacity, row, training)?, place))
                }
                None => None,
            };
            parts.push(Part { indices: indices.clone(), inputs, layer, outputs });
        }
        Ok(Columns(parts))
    }

    /// Part by part.
    #[inline(always)]
    pub fn forward<S: Simd>(&mut self, out: &mut [T], x: &[T], parameters: &[T], row: usize, n: usize) {
        for Part { indices, inputs, layer, outputs } in &mut self.0 {
            for (to, i) in inputs.chunks_exact_mut(row).zip(indices.iter()) {
                to.copy_from_slice(&x[i * row..(i + 1) * row]);
            }
            let out = &mut out[outputs.start * row..outputs.end * row];
            match layer {
                Some((piece, place)) => {
                    let parameters = &parameters[place.clone()];
                    S::call_apart(Forward { piece, out, slope: &mut [], x: inputs, parameters, row, n });
                }
                None => out.copy_from_slice(&inputs[..indices.len() * row]),
            }
        }
    }

    /// Part by part; nobody learns from the derivative in the inputs.
    #[inline(always)]
    pub fn backward<S: Simd>(
        &mut self,
        gradient: &mut [T],
        delta: &[T],
        parameters: &[T],
        row: usize,
        n: usize,
    ) {
        for Part { inputs, layer, outputs, .. } in &mut self.0 {
            if let Some((piece, place)) = layer {
                S::call_apart(Backward {
                    piece,
                    gradient: &mut gradient[place.clone()],
                    x: inputs,
                    delta: &delta[outputs.start * row..outputs.end * row],
                    parameters: &parameters[place.clone()],
                    before: Activation::Identity,
                    slope: &[],
                    row,
                    n,
                    to_inputs: false,
                });
            }
        }
    }
}
