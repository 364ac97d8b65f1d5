//! Distributions, as `distributions.py` sees them.
//!
//! A parameter arrives as a number, or as a contiguous array of float32 or float64 with `each`: how many neighbouring
//! draws share an element (a row, for categorical distributions).

use super::array::{Words, is, tosses, view, view_mut, words_mut};
use super::core;
use crate::error::Error;
use crate::prob::bernoulli::{self, Parameter};
use crate::prob::categorical;
use crate::prob::{Spread, likelihood};
use crate::random::Seed;
use numpy::{Element, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// Work on so many elements outweighs letting the interpreter's lock go.
const LONG: usize = 50_000;

/// Does `$body` with `$T` as the array's element type.
macro_rules! with_float {
    ($array:expr, $T:ident => $body:expr) => {
        if is::<f32>($array) {
            type $T = f32;
            $body
        } else {
            type $T = f64;
            $body
        }
    };
}

/// An error's flat index as an index of the array's dimensions.
fn at(error: Error, shape: &[usize]) -> Error {
    match error {
        Error::Value { argument, index, value, need } if index.len() == 1 => {
            let mut rest = index[0];
            let mut index: Vec<usize> = shape
                .iter()
                .rev()
                .map(|length| {
                    let place = rest % (*length).max(1);
                    rest /= (*length).max(1);
                    place
                })
                .collect();
            index.reverse();
            Error::Value { argument, index, value, need }
        }
        other => other,
    }
}

/// A number, or an array.
#[derive(FromPyObject)]
pub enum Values<'py> {
    Number(f64),
    Array(Bound<'py, PyUntypedArray>),
}

impl Values<'_> {
    fn parameter(&self, each: usize, logits: bool) -> PyResult<Parameter<'_>> {
        Ok(match self {
            Values::Number(value) if logits => Parameter::Logit(*value),
            Values::Number(value) => Parameter::P(*value),
            Values::Array(array) if is::<f32>(array) => Parameter::Each32(spread(array, each)?, logits),
            Values::Array(array) => Parameter::Each64(spread(array, each)?, logits),
        })
    }
}

fn spread<'a, T: Element>(array: &'a Bound<'_, PyUntypedArray>, each: usize) -> PyResult<Spread<'a, T>> {
    Ok(Spread { values: view(array)?, each })
}

/// Looks at every probability or logit; `argument` names them in the error.
#[pyfunction]
pub fn bernoulli_check(values: &Bound<'_, PyUntypedArray>, logits: bool) -> PyResult<()> {
    let argument = if logits { "logits" } else { "p" };
    with_float!(values, T => {
        let slice = view::<T>(values)?;
        let checked = core(values.py(), slice.len() > LONG, || likelihood::check(argument, slice, logits));
        Ok(checked.map_err(|error| at(error, values.shape()))?)
    })
}

/// Fills `out` with draws.
#[pyfunction]
pub fn bernoulli_sample(
    values: Values<'_>,
    each: usize,
    logits: bool,
    seed: Seed,
    start: u64,
    out: &Bound<'_, PyUntypedArray>,
    n_threads: Option<usize>,
) -> PyResult<()> {
    let parameter = values.parameter(each, logits)?;
    let words = words_mut(out)?;
    core(out.py(), out.len() > LONG, || match words {
        Words::U8(out, one) => bernoulli::sample(parameter, seed, start, one, out, n_threads),
        Words::U16(out, one) => bernoulli::sample(parameter, seed, start, one, out, n_threads),
        Words::U32(out, one) => bernoulli::sample(parameter, seed, start, one, out, n_threads),
        Words::U64(out, one) => bernoulli::sample(parameter, seed, start, one, out, n_threads),
    });
    Ok(())
}

/// Fills `out` with `n` draws as bits.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the parameter, the stream's part, and where it goes")]
pub fn bernoulli_sample_packed(
    values: Values<'_>,
    each: usize,
    logits: bool,
    seed: Seed,
    start: u64,
    n: u64,
    out: &Bound<'_, PyUntypedArray>,
    n_threads: Option<usize>,
) -> PyResult<()> {
    let parameter = values.parameter(each, logits)?;
    let bytes = view_mut::<u8>(out)?;
    let bytes = &mut bytes[..n.div_ceil(8) as usize];
    core(out.py(), bytes.len() > LONG, || {
        bernoulli::sample_packed(parameter, seed, start, n, bytes, n_threads);
    });
    Ok(())
}

fn weights<'a>(weights: Option<&'a Bound<'_, PyUntypedArray>>) -> PyResult<Option<&'a [f64]>> {
    weights.map(view::<f64>).transpose()
}

/// The weights (without `sample_weight` the numbers) of ones and of zeros.
#[pyfunction]
#[pyo3(signature = (x, sample_weight, n_threads))]
pub fn bernoulli_counts(
    x: &Bound<'_, PyUntypedArray>,
    sample_weight: Option<&Bound<'_, PyUntypedArray>>,
    n_threads: Option<usize>,
) -> PyResult<[f64; 2]> {
    let (tosses, weights) = (tosses(x)?, weights(sample_weight)?);
    let counted = core(x.py(), x.len() > LONG, || likelihood::counts(&tosses, weights, n_threads));
    Ok(counted.map_err(|error| at(error, x.shape()))?)
}

/// Fills `out` with ln P(x), element by element.
#[pyfunction]
pub fn bernoulli_log_prob(
    values: &Bound<'_, PyUntypedArray>,
    each: usize,
    logits: bool,
    x: &Bound<'_, PyUntypedArray>,
    out: &Bound<'_, PyUntypedArray>,
    n_threads: Option<usize>,
) -> PyResult<()> {
    let tosses = tosses(x)?;
    with_float!(values, T => {
        let model = likelihood::Model { values: spread::<T>(values, each)?, logits };
        let out = view_mut::<T>(out)?;
        let done = core(x.py(), out.len() > LONG / 10, || likelihood::each(&model, &tosses, out, n_threads));
        Ok(done.map_err(|error| at(error, x.shape()))?)
    })
}

/// Σ weight·ln P(x).
#[pyfunction]
#[pyo3(signature = (values, each, logits, x, sample_weight, n_threads))]
pub fn bernoulli_log_likelihood(
    values: Values<'_>,
    each: usize,
    logits: bool,
    x: &Bound<'_, PyUntypedArray>,
    sample_weight: Option<&Bound<'_, PyUntypedArray>>,
    n_threads: Option<usize>,
) -> PyResult<f64> {
    let (tosses, weights) = (tosses(x)?, weights(sample_weight)?);
    let sum = match &values {
        Values::Number(value) => core(x.py(), x.len() > LONG, || {
            let counts = likelihood::counts(&tosses, weights, n_threads)?;
            Ok(likelihood::of_counts(counts, likelihood::logarithms(*value, logits)))
        }),
        Values::Array(array) => with_float!(array, T => {
            let model = likelihood::Model { values: spread::<T>(array, each)?, logits };
            core(x.py(), x.len() > LONG / 10, || likelihood::sum(&model, &tosses, weights, n_threads))
        }),
    };
    Ok(sum.map_err(|error| at(error, x.shape()))?)
}

/// Looks at every row of probabilities or logits; `tolerance` is how far a sum may be from 1.
#[pyfunction]
pub fn categorical_check(
    values: &Bound<'_, PyUntypedArray>,
    n_classes: usize,
    logits: bool,
    tolerance: f64,
) -> PyResult<()> {
    let argument = if logits { "logits" } else { "p" };
    with_float!(values, T => {
        let slice = view::<T>(values)?;
        let long = slice.len() > LONG / 10;
        Ok(core(values.py(), long, || categorical::check(argument, slice, n_classes, logits, tolerance))?)
    })
}

fn model<'a, T: Element>(
    values: &'a Bound<'_, PyUntypedArray>,
    n_classes: usize,
    logits: bool,
    each: usize,
) -> PyResult<categorical::Model<'a, T>> {
    Ok(categorical::Model { values: view(values)?, n_classes, logits, each })
}

/// Fills `out` with draws.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the parameter, the stream's part, and where it goes")]
pub fn categorical_sample(
    values: &Bound<'_, PyUntypedArray>,
    n_classes: usize,
    logits: bool,
    each: usize,
    seed: Seed,
    start: u64,
    out: &Bound<'_, PyUntypedArray>,
    n_threads: Option<usize>,
) -> PyResult<()> {
    with_float!(values, T => {
        let model = model::<T>(values, n_classes, logits, each)?;
        if is::<f32>(out) {
            let out = view_mut::<f32>(out)?;
            core(values.py(), true, || categorical::sample(&model, seed, start, out, n_threads))?;
        } else if is::<f64>(out) {
            let out = view_mut::<f64>(out)?;
            core(values.py(), true, || categorical::sample(&model, seed, start, out, n_threads))?;
        } else {
            let words = words_mut(out)?;
            core(values.py(), true, || match words {
                Words::U8(out, _) => categorical::sample(&model, seed, start, out, n_threads),
                Words::U16(out, _) => categorical::sample(&model, seed, start, out, n_threads),
                Words::U32(out, _) => categorical::sample(&model, seed, start, out, n_threads),
                Words::U64(out, _) => categorical::sample(&model, seed, start, out, n_threads),
            })?;
        }
        Ok(())
    })
}

/// Fills `out` with ln P(x), draw by draw.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the model, the draws, and where it goes")]
pub fn categorical_log_prob(
    values: &Bound<'_, PyUntypedArray>,
    n_classes: usize,
    logits: bool,
    each: usize,
    x: &Bound<'_, PyUntypedArray>,
    out: &Bound<'_, PyUntypedArray>,
    n_threads: Option<usize>,
) -> PyResult<()> {
    let x = view::<u32>(x)?;
    with_float!(values, T => {
        let model = model::<T>(values, n_classes, logits, each)?;
        let out = view_mut::<T>(out)?;
        Ok(core(values.py(), x.len() > LONG / 10, || categorical::log_prob(&model, x, out, n_threads))?)
    })
}

/// Σ weight·ln P(x).
#[pyfunction]
#[pyo3(signature = (values, n_classes, logits, each, x, sample_weight, n_threads))]
pub fn categorical_log_likelihood(
    values: &Bound<'_, PyUntypedArray>,
    n_classes: usize,
    logits: bool,
    each: usize,
    x: &Bound<'_, PyUntypedArray>,
    sample_weight: Option<&Bound<'_, PyUntypedArray>>,
    n_threads: Option<usize>,
) -> PyResult<f64> {
    let (x, weights) = (view::<u32>(x)?, weights(sample_weight)?);
    with_float!(values, T => {
        let model = model::<T>(values, n_classes, logits, each)?;
        let long = x.len() > LONG / 10;
        Ok(core(values.py(), long, || categorical::log_likelihood(&model, x, weights, n_threads))?)
    })
}
