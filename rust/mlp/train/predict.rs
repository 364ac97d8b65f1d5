//! What is done with a network that stays as it is: predictions, and how good they are.

use super::{Interrupt, NANOSECONDS, work_per_row};
use crate::error::{Error, Result};
use crate::mlp::Shape;
use crate::mlp::block::{Block, MOST_ROWS, Way};
use crate::mlp::data::Data;
use crate::mlp::loss::Loss;
use crate::parallel;
use crate::rows::Rows;
use crate::simd::Real;
use std::sync::{Mutex, PoisonError};

/// Rows that a thread evaluates or predicts at a time; a fixed number, so that sums do not depend on threads.
const CHUNK: usize = 16 * MOST_ROWS;

/// The weighted means of the loss and of the error ([`Block::evaluate`]) over the rows of `data`; None where
/// interrupted.
pub fn evaluate<T: Real>(
    shape: &Shape,
    loss: Loss,
    parameters: &[T],
    data: &Data,
    n_threads: Option<usize>,
    interrupt: Interrupt,
) -> Result<Option<[f64; 2]>> {
    let n = data.len();
    let mut parts: Vec<Result<[f64; 3]>> = vec![Ok([0.0; 3]); n.div_ceil(CHUNK)];
    let time = NANOSECONDS * work_per_row(shape) * n as f64 / 3.0;
    let threads = parallel::threads(n_threads, parts.len(), time);
    let work = |(chunk, part): (usize, &mut Result<[f64; 3]>)| {
        *part = Block::new(shape, n.min(MOST_ROWS), Way::There).map(|mut block| {
            let mut numbers = [0; MOST_ROWS];
            let mut sums = [0.0; 3];
            for first in (chunk * CHUNK..n.min((chunk + 1) * CHUNK)).step_by(MOST_ROWS) {
                let numbers = &mut numbers[..MOST_ROWS.min(n - first)];
                numbers.iter_mut().enumerate().for_each(|(s, number)| *number = data.number(first + s));
                let more = block.evaluate(loss, parameters, data, numbers);
                sums = std::array::from_fn(|i| sums[i] + more[i]);
            }
            sums
        });
    };
    if parallel::for_each_until(threads, parts.iter_mut().enumerate(), work, interrupt) {
        return Ok(None);
    }
    let mut sums = [0.0; 3];
    for part in parts {
        let part = part?;
        sums = std::array::from_fn(|i| sums[i] + part[i]);
    }
    Ok(Some([sums[0] / sums[2], sums[1] / sums[2]]))
}

/// Predictions, or logits, for every row of `x`, row by row into `out`.
pub fn predict<T: Real>(
    shape: &Shape,
    parameters: &[T],
    x: &Rows,
    logits: bool,
    n_threads: Option<usize>,
    interrupt: Interrupt,
    out: &mut [T],
) -> Result<()> {
    let (n, k) = (x.n_rows(), shape.n_outputs());
    if n <= MOST_ROWS {
        Block::new(shape, n, Way::There)?.predict(shape, parameters, x, 0, logits, out);
        return Ok(());
    }
    let failure = Mutex::new(Ok(()));
    let threads =
        parallel::threads(n_threads, n.div_ceil(CHUNK), NANOSECONDS * work_per_row(shape) * n as f64 / 3.0);
    let work = |(chunk, out): (usize, &mut [T])| match Block::new(shape, MOST_ROWS, Way::There) {
        Ok(mut block) => {
            for (i, out) in out.chunks_mut(MOST_ROWS * k).enumerate() {
                block.predict(shape, parameters, x, chunk * CHUNK + i * MOST_ROWS, logits, out);
            }
        }
        Err(error) => *failure.lock().unwrap_or_else(PoisonError::into_inner) = Err(error),
    };
    if parallel::for_each_until(threads, out.chunks_mut(CHUNK * k).enumerate(), work, interrupt) {
        return Err(Error::Interrupted);
    }
    failure.into_inner().unwrap_or_else(PoisonError::into_inner)
}
