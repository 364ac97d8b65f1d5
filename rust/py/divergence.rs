//! Divergences, as `divergences.py` sees them.

use super::array::{events, events_mut, is, view};
use super::core;
use super::train::named;
use crate::math::scalar;
use crate::prob::divergence::{Format, Operand, Problem, Quantity, Sink, Truth, Validation, ZeroPolicy};
use numpy::{Element, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

/// (array with the events' axis last, where that axis was, logits, tolerance, public name)
type Argument<'py> = (Bound<'py, PyUntypedArray>, usize, bool, f64, String);

/// (zero, eps, validation, base or 0)
type Plan = (String, f64, String, f64);

const QUANTITIES: [(&str, Quantity); 3] = [
    ("entropy", Quantity::Entropy),
    ("cross_entropy", Quantity::CrossEntropy),
    ("kl_divergence", Quantity::Divergence),
];
const NAMES: [(&str, &str); 3] = [("p", "p"), ("q", "q"), ("p_model", "p_model")];

fn operand<'a>(
    (array, axis, logits, tolerance, name): &'a Argument<'_>,
    front: &[usize],
) -> PyResult<Operand<'a>> {
    let name = named(&NAMES, "name", name)?;
    let (axis, logits, tolerance) = (*axis, *logits, *tolerance);
    Ok(Operand {
        name,
        events: events(array, front)?,
        shape: array.shape().to_vec(),
        axis,
        logits,
        tolerance,
    })
}

/// Computes into `out` (its events' axis last; one event where `terms` is false), or returns the mean where it is None.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "each is an argument")]
#[pyo3(signature = (quantity, truth, model, front, plan, out, terms, weights, single, n_threads))]
pub fn divergence(
    py: Python<'_>,
    quantity: &str,
    truth: Bound<'_, PyAny>,
    model: Option<Argument<'_>>,
    front: Vec<usize>,
    plan: Plan,
    out: Option<Bound<'_, PyUntypedArray>>,
    terms: bool,
    weights: Option<Bound<'_, PyUntypedArray>>,
    single: bool,
    n_threads: Option<usize>,
) -> PyResult<f64> {
    let (zero, eps, validation, base) = plan;
    let zeros = [
        ("inf", ZeroPolicy::Infinite),
        ("clip", ZeroPolicy::Clip(eps)),
        ("smooth", ZeroPolicy::Smooth(eps)),
        ("raise", ZeroPolicy::Raise),
    ];
    let validations =
        [("sums", Validation::Sums), ("normalize", Validation::Normalize), ("nothing", Validation::Nothing)];
    let (distribution, classes): (Argument<'_>, Bound<'_, PyUntypedArray>);
    let truth = if let Ok(array) = truth.cast::<PyUntypedArray>() {
        classes = array.clone();
        Truth::Classes("q", view::<i64>(&classes)?)
    } else {
        distribution = truth.extract()?;
        Truth::Distribution(operand(&distribution, &front)?)
    };
    let problem = Problem {
        quantity: named(&QUANTITIES, "quantity", quantity)?,
        zero: named(&zeros, "zero", &zero)?,
        validation: named(&validations, "validate", &validation)?,
        divisor: if base > 0.0 { scalar::ln(base) } else { 1.0 },
        truth,
        model: model.as_ref().map(|model| operand(model, &front)).transpose()?,
        front: front.clone(),
        n_threads,
    };
    let weights = weights.as_ref().map(|weights| view::<f64>(weights)).transpose()?;
    if single {
        solve::<f32>(py, &problem, out, terms, weights)
    } else {
        solve::<f64>(py, &problem, out, terms, weights)
    }
}

fn solve<T: Format + Element>(
    py: Python<'_>,
    problem: &Problem<'_>,
    out: Option<Bound<'_, PyUntypedArray>>,
    terms: bool,
    weights: Option<&[f64]>,
) -> PyResult<f64> {
    let sink = match &out {
        Some(out) if terms => Sink::Terms(events_mut::<T>(out)?),
        Some(out) => Sink::Rows(events_mut::<T>(out)?),
        None => Sink::Mean(weights),
    };
    if !problem.fits(&sink) {
        return Err(PyTypeError::new_err("internal: arrays arrived in other shapes than their door makes"));
    }
    let (n_rows, n_events) = problem.shape();
    Ok(core(py, n_rows.saturating_mul(n_events) > 10_000, || problem.solve(sink))?)
}

/// The divergence of two contiguous rows of float64 with every option at its default; None if they are anything else.
#[pyfunction]
pub fn kl_divergence_of_rows(
    py: Python<'_>,
    p: &Bound<'_, PyUntypedArray>,
    q: &Bound<'_, PyUntypedArray>,
) -> PyResult<Option<f64>> {
    let fits = p.ndim() == 1 && p.shape() == q.shape() && is::<f64>(q) && is::<f64>(p);
    let (true, Ok(first), Ok(second)) = (fits, events(p, &[]), events(q, &[])) else { return Ok(None) };
    let (shape, axis, logits) = (p.shape().to_vec(), 0, false);
    let tolerance = f64::EPSILON.sqrt();
    let problem = Problem {
        quantity: Quantity::Divergence,
        zero: ZeroPolicy::Infinite,
        validation: Validation::Sums,
        divisor: 1.0,
        truth: Truth::Distribution(Operand {
            name: "p",
            events: first,
            shape: shape.clone(),
            axis,
            logits,
            tolerance,
        }),
        model: Some(Operand { name: "q", events: second, shape, axis, logits, tolerance }),
        front: Vec::new(),
        n_threads: None,
    };
    Ok(Some(core(py, p.len() > 10_000, || problem.solve::<f64>(Sink::Mean(None)))?))
}
