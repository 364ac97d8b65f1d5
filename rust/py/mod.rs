//! The only room that knows Python: views of arrays, the interpreter's lock, calls of the core, errors.

#[allow(unsafe_code, reason = "borrows memory that NumPy owns")]
mod array;
mod divergence;
mod file;
mod prob;
mod train;

use crate::error::Error;
use crate::math;
use crate::random::{Purpose, Seed, Stream};
use crate::simd::{DefaultControlWord, Kernel, Level, Real, Simd, Vector, dispatch};
use numpy::PyUntypedArray;
use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyOSError, PyValueError};
use pyo3::prelude::*;

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        let sentence = error.to_string();
        match error {
            Error::Memory { .. } => PyMemoryError::new_err(sentence),
            Error::Interrupted => PyKeyboardInterrupt::new_err(sentence),
            Error::File { .. } => PyOSError::new_err(sentence),
            _ => PyValueError::new_err(sentence),
        }
    }
}

/// Runs the core under the default floating-point environment; without the interpreter's lock where `long` says that
/// the work outweighs letting it go (about 10 µs).
fn core<R: Send>(py: Python<'_>, long: bool, work: impl FnOnce() -> R + Send) -> R {
    let guarded = || {
        let _control_word = DefaultControlWord::new();
        work()
    };
    if long { py.detach(guarded) } else { guarded() }
}

/// The SIMD level in force.
#[pyfunction]
fn simd_level() -> &'static str {
    Level::current().name()
}

/// The levels this processor has, lowest first.
#[pyfunction]
fn simd_levels() -> Vec<&'static str> {
    Level::ALL.into_iter().filter(|level| level.is_available()).map(Level::name).collect()
}

/// Puts a level in force for the whole process.
#[pyfunction]
fn set_simd_level(name: &str) -> PyResult<()> {
    let level = Level::from_name(name).filter(|level| level.set());
    level.map(drop).ok_or_else(|| {
        PyValueError::new_err(format!(
            "ERMIN_SIMD is {name:?}, but must be one of those this processor has: {}",
            simd_levels().join(", ")
        ))
    })
}

/// A function of `math` by name, element by element: what its tests call.
struct Evaluate<'a, T> {
    function: &'a str,
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel for Evaluate<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        macro_rules! each {
            ($($name:ident)*) => {
                match self.function {
                    $(stringify!($name) => {
                        for (x, out) in self.x.chunks(T::LANES).zip(self.out.chunks_mut(T::LANES)) {
                            math::$name(T::Vector::<S>::from_partial(x, T::ZERO)).copy_to_partial(out);
                        }
                        true
                    })*
                    _ => false,
                }
            };
        }
        each!(exp exp_m1 ln ln_1p tanh sigmoid softplus erf sin_2pi cos_2pi)
    }
}

/// Fills `out` with a function of `math` of `x`.
#[pyfunction]
fn evaluate(function: &str, x: &Bound<'_, PyUntypedArray>, out: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
    let _control_word = DefaultControlWord::new();
    let known = if array::is::<f32>(x) {
        dispatch(Evaluate::<f32> { function, x: array::view(x)?, out: array::view_mut(out)? })
    } else {
        dispatch(Evaluate::<f64> { function, x: array::view(x)?, out: array::view_mut(out)? })
    };
    if known {
        Ok(())
    } else {
        Err(PyValueError::new_err(format!("function is {function:?}, which math lacks")))
    }
}

/// The quantiles of the standard normal distribution.
#[pyfunction]
fn normal_quantile(p: f64) -> f64 {
    math::scalar::normal_quantile(p)
}

/// The quantile of the beta distribution with parameters a, b.
#[pyfunction]
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let _control_word = DefaultControlWord::new();
    math::scalar::beta_quantile(p, a, b)
}

/// Fills `out` with the words of a stream: what the tests of its randomness read.
#[pyfunction]
fn stream_words(
    py: Python<'_>,
    seed: Seed,
    purpose: &str,
    member: u32,
    index: u64,
    start: u64,
    out: &Bound<'_, PyUntypedArray>,
) -> PyResult<()> {
    let named = |known: &Purpose| format!("{known:?}").eq_ignore_ascii_case(purpose);
    let Some(purpose) = Purpose::ALL.into_iter().find(named) else {
        return Err(PyValueError::new_err(format!("purpose is {purpose:?}, which random lacks")));
    };
    let to: &mut [u64] = array::view_mut(out)?;
    core(py, to.len() > 50_000, || Stream::new(seed, purpose, member, index).words(start, to));
    Ok(())
}

/// Multiply-adds in registers, as many as a processor can do at once: what benches measure its peak by.
struct MultiplyAdds(usize);

impl Kernel for MultiplyAdds {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self) -> usize {
        // Six vectors: enough chains for the latency, and no more than fit in registers at any level.
        let mut chains = [S::F32::splat(0.0); 6];
        let (factor, term) = (std::hint::black_box(0.5), std::hint::black_box(1.0));
        let (factor, term) = (S::F32::splat(factor), S::F32::splat(term));
        for _ in 0..self.0 {
            for chain in &mut chains {
                *chain = chain.mul_add(factor, term);
            }
        }
        let mut lanes = [0.0; 16];
        for chain in chains {
            chain.copy_to(&mut lanes);
            std::hint::black_box(&lanes);
        }
        2 * 6 * S::F32::LANES
    }
}

/// Does that many rounds of multiply-adds in registers; the floating-point operations of a round.
#[pyfunction]
fn multiply_adds(rounds: usize) -> usize {
    dispatch(MultiplyAdds(rounds))
}

#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    if let Ok(name) = std::env::var("ERMIN_SIMD") {
        set_simd_level(&name)?;
    }
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(simd_level, module)?)?;
    module.add_function(wrap_pyfunction!(simd_levels, module)?)?;
    module.add_function(wrap_pyfunction!(set_simd_level, module)?)?;
    module.add_function(wrap_pyfunction!(evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(normal_quantile, module)?)?;
    module.add_function(wrap_pyfunction!(prob::bernoulli_check, module)?)?;
    module.add_function(wrap_pyfunction!(prob::bernoulli_sample, module)?)?;
    module.add_function(wrap_pyfunction!(prob::bernoulli_sample_packed, module)?)?;
    module.add_function(wrap_pyfunction!(prob::bernoulli_counts, module)?)?;
    module.add_function(wrap_pyfunction!(prob::bernoulli_log_prob, module)?)?;
    module.add_function(wrap_pyfunction!(prob::bernoulli_log_likelihood, module)?)?;
    module.add_function(wrap_pyfunction!(prob::categorical_check, module)?)?;
    module.add_function(wrap_pyfunction!(prob::categorical_sample, module)?)?;
    module.add_function(wrap_pyfunction!(prob::categorical_log_prob, module)?)?;
    module.add_function(wrap_pyfunction!(prob::categorical_log_likelihood, module)?)?;
    module.add_function(wrap_pyfunction!(beta_quantile, module)?)?;
    module.add_function(wrap_pyfunction!(stream_words, module)?)?;
    module.add_function(wrap_pyfunction!(divergence::divergence, module)?)?;
    module.add_function(wrap_pyfunction!(divergence::divergence_of_rows, module)?)?;
    module.add_function(wrap_pyfunction!(multiply_adds, module)?)?;
    module.add_class::<train::Shape>()?;
    module.add_class::<train::Settings>()?;
    module.add_class::<train::TrainerState>()?;
    module.add_function(wrap_pyfunction!(train::fit, module)?)?;
    module.add_function(wrap_pyfunction!(train::hold_back, module)?)?;
    module.add_function(wrap_pyfunction!(file::save, module)?)?;
    module.add_function(wrap_pyfunction!(file::load, module)?)?;
    Ok(())
}
