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

/// A plan's meaning: what happens at zero, what is looked at, ln of the base.
fn options((zero, eps, validation, base): &Plan) -> PyResult<(ZeroPolicy, Validation, f64)> {
    let zeros = [
        ("inf", ZeroPolicy::Infinite),
        ("clip", ZeroPolicy::Clip(*eps)),
        ("smooth", ZeroPolicy::Smooth(*eps)),
        ("raise", ZeroPolicy::Raise),
    ];
    let validations =
        [("sums", Validation::Sums), ("normalize", Validation::Normalize), ("nothing", Validation::Nothing)];
    let divisor = if *base > 0.0 { scalar::ln(*base) } else { 1.0 };
    Ok((named(&zeros, "zero", zero)?, named(&validations, "validate", validation)?, divisor))
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
    let (zero, validation, divisor) = options(&plan)?;
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
        zero,
        validation,
        divisor,
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

/// Of one or two contiguous rows of one floating-point type; None if they are anything else.
#[pyfunction]
#[pyo3(signature = (quantity, p, q, plan))]
pub fn divergence_of_rows(
    py: Python<'_>,
    quantity: &str,
    p: &Bound<'_, PyUntypedArray>,
    q: Option<&Bound<'_, PyUntypedArray>>,
    plan: Plan,
) -> PyResult<Option<f64>> {
    let fits = |q: &Bound<'_, PyUntypedArray>| q.ndim() == 1 && q.shape() == p.shape();
    if !fits(p) || !q.is_none_or(fits) {
        return Ok(None);
    }
    let quantity = named(&QUANTITIES, "quantity", quantity)?;
    if is::<f64>(p) && q.is_none_or(is::<f64>) {
        of_rows::<f64>(py, quantity, p, q, &plan, f64::EPSILON.sqrt())
    } else if is::<f32>(p) && q.is_none_or(is::<f32>) {
        of_rows::<f32>(py, quantity, p, q, &plan, f64::from(f32::EPSILON).sqrt())
    } else {
        Ok(None)
    }
}

fn row<'a>(
    name: &'static str,
    array: &'a Bound<'_, PyUntypedArray>,
    tolerance: f64,
) -> PyResult<Operand<'a>> {
    let (shape, axis, logits) = (array.shape().to_vec(), 0, false);
    Ok(Operand { name, events: events(array, &[])?, shape, axis, logits, tolerance })
}

fn of_rows<T: Format>(
    py: Python<'_>,
    quantity: Quantity,
    p: &Bound<'_, PyUntypedArray>,
    q: Option<&Bound<'_, PyUntypedArray>>,
    plan: &Plan,
    tolerance: f64,
) -> PyResult<Option<f64>> {
    let (zero, validation, divisor) = options(plan)?;
    let (Ok(first), Ok(second)) = (row("p", p, tolerance), q.map(|q| row("q", q, tolerance)).transpose())
    else {
        return Ok(None);
    };
    let problem = Problem {
        quantity,
        zero,
        validation,
        divisor,
        truth: Truth::Distribution(first),
        model: second,
        front: Vec::new(),
        n_threads: None,
    };
    Ok(Some(core(py, p.len() > 10_000, || problem.solve::<T>(Sink::Mean(None)))?))
}
