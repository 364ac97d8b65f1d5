//! Networks and their training, as `training.py` sees them.

use super::array::{Inputs, Table, is, view, view_mut};
use super::core;
use crate::error::{Error, Result};
use crate::mlp::activation::Activation;
use crate::mlp::block::{Block, MOST_ROWS, NARROW, Way};
use crate::mlp::data::{Data, HELD_BACK, Names, TRAINING, VALIDATION, check_categories};
use crate::mlp::initializer::{Initializer, fit_to_rows};
use crate::mlp::loss::Loss;
use crate::mlp::optim::{Optimizer, Rule, State};
use crate::mlp::regularization::Regularization;
use crate::mlp::schedule::{Adaptation, Course, Schedule};
use crate::mlp::train::{self, Interrupt, Memory, Plan, Selection, StopReason, Verdict, Worker};
use crate::mlp::{self, Column, Kind, Layer, Output};
use crate::random::Seed;
use crate::simd::Real;
use numpy::{Element, PyArray1, PyUntypedArray};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The value that a table of public names holds for `name`.
pub fn named<T: Copy>(names: &[(&str, T)], argument: &str, name: &str) -> PyResult<T> {
    names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(known, _)| *known).collect();
        PyValueError::new_err(format!("{argument} is {name:?}, but must be one of {}", known.join(", ")))
    })
}

/// Calls `$body` with `$T` as the element type of the array, which is float32 or float64.
macro_rules! with_dtype {
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

/// A layer as `layers.py` hands it over: kind, inputs, outputs, two sizes of its own, a number of its own, activation,
/// learning-rate factor, weight-decay factor.
type Described = (String, usize, usize, [usize; 2], f64, String, f64, f64);

/// Column numbers and what becomes of them.
type DescribedPart = (Vec<usize>, Option<Described>);

fn layer(described: Described) -> PyResult<Layer> {
    let (kind, inputs, outputs, [first, second], number, activation, rate_factor, decay_factor) = described;
    let activation = named(&Activation::NAMES, "activation", &activation)?;
    let kind = match kind.as_str() {
        "dense" => Kind::Dense { ntk: first == 1 },
        "scale" => Kind::Scale,
        "activation" => Kind::Activation { parametric: first == 1 },
        "periodic" => Kind::Periodic { frequencies: first, outputs: second, scale: number },
        "category" => Kind::Category { levels: first },
        "pass" => Kind::Pass,
        _ => return Err(PyValueError::new_err(format!("layers: {kind:?} is none there is"))),
    };
    Ok(Layer { kind, inputs, outputs, activation, rate_factor, decay_factor, place: 0..0 })
}

/// The layers of a network.
#[pyclass(frozen)]
pub struct Shape(mlp::Shape, Mutex<Option<Block<f32>>>, Mutex<Option<Block<f64>>>);

#[pymethods]
impl Shape {
    #[new]
    #[pyo3(signature = (layers, columns, output))]
    fn new(
        layers: Vec<Described>,
        columns: Option<(usize, Vec<DescribedPart>)>,
        output: &str,
    ) -> PyResult<Shape> {
        let output = named(&Output::NAMES, "output", output)?;
        let mut all = Vec::with_capacity(layers.len() + 1);
        if let Some((inputs, columns)) = columns {
            let parts = columns
                .into_iter()
                .map(|(indices, described)| Ok(Column { indices, layer: described.map(layer).transpose()? }));
            let columns = parts.collect::<PyResult<Vec<_>>>()?;
            let outputs =
                |part: &Column| part.layer.as_ref().map_or(part.indices.len(), |layer| layer.outputs);
            let outputs = columns.iter().map(outputs).sum();
            all.push(Layer {
                kind: Kind::Columns(columns),
                inputs,
                outputs,
                activation: Activation::Identity,
                rate_factor: 1.0,
                decay_factor: 0.0,
                place: 0..0,
            });
        }
        for described in layers {
            all.push(layer(described)?);
        }
        // At most as many numbers as memory can address, with room for what training keeps beside them.
        match mlp::Shape::new(all, output) {
            Some(shape) if shape.n_parameters() <= isize::MAX as usize / 64 => {
                Ok(Shape(shape, Mutex::new(None), Mutex::new(None)))
            }
            _ => Err(PyMemoryError::new_err("sizes: the network has more parameters than memory can hold")),
        }
    }

    /// The length of the parameter vector.
    #[getter]
    fn n_parameters(&self) -> usize {
        self.0.n_parameters()
    }

    /// Fills `vector` with a network's first parameters.
    fn initialize(&self, initializer: &str, seed: Seed, vector: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
        let initializer = named(&Initializer::NAMES, "initializer", initializer)?;
        with_dtype!(vector, T => {
            let parameters = view_mut::<T>(vector)?;
            core(vector.py(), parameters.len() > 1000, || initializer.fill(&self.0, seed, parameters));
        });
        Ok(())
    }

    /// An error if that loss does not go with the network's outputs.
    fn check_loss(&self, loss: (String, f64)) -> PyResult<()> {
        fitting_loss(&self.0, loss).map(|_| ())
    }

    /// Sets the parameters of dense layers in `vector` by the rows of `table`, which are judged first.
    fn fit_to_rows(
        &self,
        settings: &Settings,
        vector: &Bound<'_, PyUntypedArray>,
        table: Table<'_>,
    ) -> PyResult<()> {
        let settings = &settings.0;
        with_dtype!(vector, T => {
            let (parameters, data) = (view_mut::<T>(vector)?, table.data(&self.0, settings.loss)?);
            interruptible(vector.py(), true, |stop| {
                data.check::<T>(&self.0, settings.loss, TRAINING, stop)?;
                data.check_weight(TRAINING)?;
                fit_to_rows(&self.0, settings.seed, parameters, &data, stop)
            })
        })
    }

    /// Fills `out` with predictions for the rows of `x`, or with their logits.
    #[pyo3(signature = (vector, x, logits, n_threads, out))]
    fn predict(
        &self,
        vector: &Bound<'_, PyUntypedArray>,
        x: Inputs<'_>,
        logits: bool,
        n_threads: Option<usize>,
        out: &Bound<'_, PyUntypedArray>,
    ) -> PyResult<()> {
        let rows = x.rows()?;
        with_dtype!(vector, T => {
            let (parameters, out) = (view::<T>(vector)?, view_mut::<T>(out)?);
            let long = rows.n_rows() * parameters.len() > 100_000;
            interruptible(vector.py(), long, |stop| {
                rows.check::<T>("X", stop)?;
                check_categories(&self.0, &rows, "X")?;
                // A few rows, as a control loop asks for: in buffers that stay, unless another thread is in them.
                if let (1..=NARROW, Ok(mut block)) = (rows.n_rows(), T::few(self).try_lock()) {
                    if block.is_none() {
                        *block = Some(Block::new(&self.0, NARROW, Way::There)?);
                    }
                    if let Some(block) = &mut *block {
                        block.predict(&self.0, parameters, &rows, 0, logits, out);
                        return Ok(());
                    }
                }
                train::predict(&self.0, parameters, &rows, logits, n_threads, stop, out)
            })?;
        });
        Ok(())
    }

    /// The weighted mean loss.
    fn loss(
        &self,
        vector: &Bound<'_, PyUntypedArray>,
        table: Table<'_>,
        settings: &Settings,
    ) -> PyResult<f64> {
        let settings = &settings.0;
        with_dtype!(vector, T => {
            let (parameters, data) = (view::<T>(vector)?, table.data(&self.0, settings.loss)?);
            interruptible(vector.py(), true, |stop| {
                data.check::<T>(&self.0, settings.loss, TRAINING, stop)?;
                data.check_weight(TRAINING)?;
                let judged =
                    train::evaluate(&self.0, settings.loss, parameters, &data, settings.n_threads, stop)?;
                judged.map(|[loss, _]| loss).ok_or(Error::Interrupted)
            })
        })
    }

    /// The weighted mean loss; `out` becomes its gradient.
    fn gradient(
        &self,
        vector: &Bound<'_, PyUntypedArray>,
        table: Table<'_>,
        settings: &Settings,
        out: &Bound<'_, PyUntypedArray>,
    ) -> PyResult<f64> {
        with_dtype!(vector, T => {
            let (parameters, data) = (view::<T>(vector)?, table.data(&self.0, settings.0.loss)?);
            let out = view_mut::<T>(out)?;
            interruptible(vector.py(), true, |stop| {
                data.check::<T>(&self.0, settings.0.loss, TRAINING, stop)?;
                data.check_weight(TRAINING)?;
                train::gradient(&self.0, &settings.0, parameters, &data, stop, out)
            })
        })
    }
}

/// A schedule as `schedules.py` hands it over: name, value, three parameters, warm-up.
type Scheduled = (String, f64, [f64; 3], f64);

fn schedule((name, value, [first, second, third], warmup): Scheduled) -> PyResult<Schedule> {
    let course = match name.as_str() {
        "constant" => Course::Constant,
        "cosine" => Course::Cosine { end: first },
        "one_cycle" => Course::OneCycle { start: first, peak: second, end: third },
        "inverse_scaling" => Course::InverseScaling { power: first },
        "exponential" => Course::Exponential { end: first },
        "adaptive" => Course::Adaptive { factor: first, patience: second as u64, tolerance: third },
        "cosine_log" => Course::CosineLog { bumps: first },
        "flat_cosine" => Course::FlatCosine { hold: first },
        _ => return Err(PyValueError::new_err(format!("schedule is {name:?}, which there is not"))),
    };
    Ok(Schedule { value, course, warmup })
}

/// An optimiser as `optimizers.py` hands it over: kind, learning rate, weight decay, two factors, epsilon, Nesterov.
type Optimizing = (String, Scheduled, Scheduled, f64, f64, f64, bool);

/// The loss of that name and parameter, if it goes with the network's outputs.
fn fitting_loss(shape: &mlp::Shape, (name, parameter): (String, f64)) -> PyResult<Loss> {
    let (output, k) = (shape.output, shape.n_outputs());
    let loss = if name == "auto" { Some(Loss::of_output(output)) } else { Loss::named(&name, parameter) };
    let Some(loss) = loss else {
        let known = Loss::NAMES.join(", ");
        return Err(PyValueError::new_err(format!("loss is {name:?}, but must be one of {known}")));
    };
    if !loss.fits(output, k) {
        let fits = |name: &&str| Loss::named(name, 0.5).is_some_and(|loss| loss.fits(output, k));
        let fitting: Vec<&str> = Loss::NAMES.into_iter().filter(fits).collect();
        let output =
            Output::NAMES.into_iter().find(|(_, known)| *known == output).map_or("", |(name, _)| name);
        return Err(PyValueError::new_err(format!(
            "loss is {name:?}, which does not go with {k} outputs of kind {output:?}; it must be one of {}",
            fitting.join(", ")
        )));
    }
    Ok(loss)
}

/// What stays the same during a run.
#[pyclass(frozen)]
pub struct Settings(train::Settings);

#[pymethods]
impl Settings {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "each is a setting")]
    #[pyo3(signature = (
        shape, loss, optimizer, batch_size, shuffle, l2, gradient_clip, record_gradient_norm, regularization,
        total_steps, seed, n_threads
    ))]
    fn new(
        shape: &Shape,
        loss: (String, f64),
        optimizer: Optimizing,
        batch_size: usize,
        shuffle: bool,
        l2: f64,
        gradient_clip: Option<f64>,
        record_gradient_norm: bool,
        regularization: (Vec<Scheduled>, f64, f64),
        total_steps: u64,
        seed: Seed,
        n_threads: Option<usize>,
    ) -> PyResult<Settings> {
        let loss = fitting_loss(&shape.0, loss)?;
        let (kind, learning_rate, weight_decay, first, second, epsilon, nesterov) = optimizer;
        let rule = match kind.as_str() {
            "adam" => Rule::Adam { beta_1: first, beta_2: second, epsilon },
            _ => Rule::Sgd { momentum: first, nesterov },
        };
        let (learning_rate, weight_decay) = (schedule(learning_rate)?, schedule(weight_decay)?);
        let optimizer = Optimizer { rule, learning_rate, weight_decay };
        let (dropout, label_smoothing, mixup_alpha) = regularization;
        let dropout = dropout.into_iter().map(schedule).collect::<PyResult<Vec<_>>>()?;
        let regularization = Regularization { dropout, label_smoothing, mixup_alpha };
        Ok(Settings(train::Settings {
            loss,
            optimizer,
            batch_size,
            shuffle,
            l2,
            gradient_clip,
            record_gradient_norm,
            regularization,
            total_steps,
            seed,
            n_threads,
        }))
    }
}

/// What a run remembers, in either element type, and buffers for steps on single blocks.
enum Remembered {
    F32(Memory<f32>, Option<Worker<f32>>),
    F64(Memory<f64>, Option<Worker<f64>>),
}

/// What native training needs of an element type: its place among the remembered.
trait Trained: Real + Element {
    fn recall(remembered: &mut Remembered) -> Option<(&mut Memory<Self>, &mut Option<Worker<Self>>)>;
    fn remember(memory: Memory<Self>) -> Remembered;
    /// The network's buffers for predictions for a few rows.
    fn few(shape: &Shape) -> &Mutex<Option<Block<Self>>>;
}

impl Trained for f32 {
    fn recall(remembered: &mut Remembered) -> Option<(&mut Memory<f32>, &mut Option<Worker<f32>>)> {
        if let Remembered::F32(memory, worker) = remembered { Some((memory, worker)) } else { None }
    }
    fn remember(memory: Memory<f32>) -> Remembered {
        Remembered::F32(memory, None)
    }
    fn few(shape: &Shape) -> &Mutex<Option<Block<f32>>> {
        &shape.1
    }
}

impl Trained for f64 {
    fn recall(remembered: &mut Remembered) -> Option<(&mut Memory<f64>, &mut Option<Worker<f64>>)> {
        if let Remembered::F64(memory, worker) = remembered { Some((memory, worker)) } else { None }
    }
    fn remember(memory: Memory<f64>) -> Remembered {
        Remembered::F64(memory, None)
    }
    fn few(shape: &Shape) -> &Mutex<Option<Block<f64>>> {
        &shape.2
    }
}

/// The state of a `Trainer`: moments, step and epoch counters.
#[pyclass(frozen)]
pub struct TrainerState(Mutex<Remembered>);

/// (first moments, second moments, β powers and adaptation, steps, epochs): what a pickle holds.
type Parts<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, [f64; 5], u64, u64);

#[pymethods]
impl TrainerState {
    /// The state before the first step.
    #[staticmethod]
    fn fresh(
        shape: &Shape,
        settings: &Settings,
        vector: &Bound<'_, PyUntypedArray>,
    ) -> PyResult<TrainerState> {
        with_dtype!(vector, T => {
            let state = settings.0.optimizer.init::<T>(shape.0.n_parameters())?;
            Ok(TrainerState(Mutex::new(T::remember(Memory { state, epochs: 0 }))))
        })
    }

    /// The state that `parts` described.
    #[staticmethod]
    fn from_parts(
        first: &Bound<'_, PyUntypedArray>,
        second: &Bound<'_, PyUntypedArray>,
        numbers: [f64; 5],
        steps: u64,
        epochs: u64,
    ) -> PyResult<TrainerState> {
        with_dtype!(first, T => {
            let [beta_1, beta_2, scale, least, waited] = numbers;
            let (first, second) = (view::<T>(first)?.to_vec(), view::<T>(second)?.to_vec());
            let (powers, adaptation) = ([beta_1, beta_2], Adaptation { scale, least, waited });
            let state = State { first, second, powers, steps, adaptation, finite: true };
            Ok(TrainerState(Mutex::new(T::remember(Memory { state, epochs }))))
        })
    }

    fn parts<'py>(&self, py: Python<'py>) -> Parts<'py> {
        fn of<'py, T: Trained>(py: Python<'py>, memory: &Memory<T>) -> Parts<'py> {
            let array = |values: &[T]| PyArray1::from_slice(py, values).into_any();
            let State { first, second, powers: [beta_1, beta_2], steps, adaptation, .. } = &memory.state;
            let numbers = [*beta_1, *beta_2, adaptation.scale, adaptation.least, adaptation.waited];
            (array(first), array(second), numbers, *steps, memory.epochs)
        }
        match &*self.lock(py) {
            Remembered::F32(memory, _) => of(py, memory),
            Remembered::F64(memory, _) => of(py, memory),
        }
    }

    /// One step on all rows (or with `epoch` an epoch of steps): the parameters in `vector` change; the mean loss
    /// and the mean penalty. The values of `table` are judged if `check` says so: once is enough for the same table.
    fn advance(
        &self,
        shape: &Shape,
        settings: &Settings,
        vector: &Bound<'_, PyUntypedArray>,
        table: Table<'_>,
        epoch: bool,
        check: bool,
    ) -> PyResult<(f64, f64)> {
        with_dtype!(vector, T => self.advance_as::<T>(&shape.0, &settings.0, vector, &table, epoch, check))
    }
}

impl TrainerState {
    /// What is remembered, for one thread at a time. Who waits for it lets Python go on: the one who has it may be
    /// waiting for Python, to ask for signals.
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Remembered> {
        self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }

    fn advance_as<T: Trained>(
        &self,
        shape: &mlp::Shape,
        settings: &train::Settings,
        vector: &Bound<'_, PyUntypedArray>,
        table: &Table<'_>,
        epoch: bool,
        check: bool,
    ) -> PyResult<(f64, f64)> {
        let (parameters, data) = (view_mut::<T>(vector)?, table.data(shape, settings.loss)?);
        let py = vector.py();
        let one_block = !epoch && data.len() <= MOST_ROWS;
        let long = !one_block || data.len() * parameters.len() > 100_000;
        let dtype = "the network's dtype is not the trainer's";
        let mut remembered = self.lock(py);
        let remembered = &mut *remembered;
        let sums = interruptible(py, long, |stop| {
            if check {
                data.check::<T>(shape, settings.loss, TRAINING, stop)?;
            }
            let Some((memory, worker)) = T::recall(remembered) else { return Ok(None) };
            if one_block {
                if worker.as_ref().is_none_or(|worker| worker.capacity() < data.len()) {
                    *worker = Some(Worker::new(shape, &settings.regularization, data.len(), data.len())?);
                }
                let worker = worker.as_mut().expect("made above");
                worker.forget();
                let numbers: [u32; MOST_ROWS] = std::array::from_fn(|i| i as u32);
                let numbers = &numbers[..data.len()];
                return Ok(Some(
                    worker.step(shape, settings, parameters, memory, &data, numbers, None, None),
                ));
            }
            let before = if epoch { Some(memory.copy()?) } else { None };
            let batch = train::Settings { batch_size: data.len(), ..settings.clone() };
            let settings = if epoch { settings } else { &batch };
            let sums = train::with_trainer(shape, settings, &data, 1, stop, |trainer| {
                Ok(if epoch {
                    trainer.epoch(parameters, memory)
                } else {
                    trainer.step_on_all(parameters, memory)
                })
            })?;
            if let (None, Some(before)) = (sums, before) {
                *memory = before; // as the parameters, of which this call changed a copy
            }
            sums.map(Some).ok_or(Error::Interrupted)
        })?;
        let [loss, weight, penalty] = sums.ok_or_else(|| PyValueError::new_err(dtype))?;
        Ok((loss / weight, penalty / weight))
    }
}

/// Runs the core with something to ask whether to stop: an exception from a signal's handler, which then comes out.
fn interruptible<R: Send>(
    py: Python<'_>,
    long: bool,
    work: impl FnOnce(Interrupt) -> Result<R> + Send,
) -> PyResult<R> {
    let main = long && on_main_thread(py)?;
    let (result, error) = core(py, long, || {
        let signals = Signals::new(main);
        let result = work(&|| signals.pending());
        (result, signals.error.into_inner())
    });
    match error {
        Some(error) => Err(error),
        None => Ok(result?),
    }
}

/// Whether this is the thread to which Python gives its signals.
fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let [here, main] = ["current_thread", "main_thread"].map(|name| threading.call_method0(name));
    Ok(here?.is(&main?))
}

/// Asks Python for signals every 50 ms at most, on its main thread only.
struct Signals {
    main: bool,
    asked: Cell<Instant>,
    error: RefCell<Option<PyErr>>,
}

impl Signals {
    fn new(main: bool) -> Signals {
        Signals { main, asked: Cell::new(Instant::now()), error: RefCell::new(None) }
    }

    /// Whether a handler raised; its exception is then in `error`.
    fn pending(&self) -> bool {
        if self.main
            && self.error.borrow().is_none()
            && self.asked.get().elapsed() > Duration::from_millis(40)
        {
            if let Err(error) = Python::attach(|py| py.check_signals()) {
                *self.error.borrow_mut() = Some(error);
            }
            self.asked.set(Instant::now());
        }
        self.error.borrow().is_some()
    }
}

/// A finished run: losses, validation losses, learning rates, seconds and gradient norms by epoch; the best epoch; why
/// it stopped; and the exception that ended it.
type Finished<'py> = ([Bound<'py, PyArray1<f64>>; 5], usize, &'static str, Option<PyErr>);

/// Trains the parameters in `vector`. `observe`, if any, is called after each epoch with (epoch, loss,
/// validation_loss, learning_rate, seconds, parameters) and answers (stop, score).
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "a run's whole description")]
#[pyo3(signature = (shape, settings, vector, table, validation, plan, observe))]
pub fn fit<'py>(
    shape: &Shape,
    settings: &Settings,
    vector: &Bound<'py, PyUntypedArray>,
    table: Table<'py>,
    validation: Option<Table<'py>>,
    plan: (usize, Option<usize>, f64, String, bool),
    observe: Option<Py<PyAny>>,
) -> PyResult<Finished<'py>> {
    let (epochs, patience, min_delta, selection, restore_best) = plan;
    let names = [("loss", Selection::Loss), ("error", Selection::Error), ("score", Selection::Score)];
    let selection = named(&names, "selection", &selection)?;
    let plan = Plan { epochs, patience, min_delta, selection, restore_best };
    with_dtype!(vector, T => fit_as::<T>(&shape.0, &settings.0, vector, &table, validation.as_ref(), &plan, observe))
}

fn fit_as<'py, T: Trained>(
    shape: &mlp::Shape,
    settings: &train::Settings,
    vector: &Bound<'py, PyUntypedArray>,
    table: &Table<'py>,
    validation: Option<&Table<'py>>,
    plan: &Plan,
    observe: Option<Py<PyAny>>,
) -> PyResult<Finished<'py>> {
    let py = vector.py();
    let parameters = view_mut::<T>(vector)?;
    let data = table.data(shape, settings.loss)?;
    let validation = validation.map(|table| table.data(shape, settings.loss)).transpose()?;
    let main = on_main_thread(py)?;
    let (history, error) = core(py, true, || -> Result<_> {
        let signals = Signals::new(main);
        let interrupt = || signals.pending();
        let check = |data: &Data, names: Names| {
            data.check::<T>(shape, settings.loss, names, &interrupt)?;
            data.check_weight(names)
        };
        let judged = check(&data, TRAINING).and_then(|()| match &validation {
            // A part of the same table, whose values have been judged.
            Some(part) if part.index.is_some() => part.check_weight(HELD_BACK),
            Some(other) => check(other, VALIDATION),
            None => Ok(()),
        });
        if let Some(error) = signals.error.take() {
            return Ok((None, Some(error)));
        }
        judged?;
        let error = &signals.error;
        let mut tell = observe.map(|observe| {
            move |epoch: usize, record: &train::Record, parameters: &[T]| {
                let answer = Python::attach(|py| {
                    let parameters = PyArray1::from_slice(py, parameters);
                    let told = (
                        epoch,
                        record.loss,
                        record.validation_loss,
                        record.learning_rate,
                        record.seconds,
                        parameters,
                    );
                    observe.bind(py).call1(told)?.extract::<(bool, f64)>()
                });
                match answer {
                    Ok((stop, score)) => Verdict { stop, score },
                    Err(raised) => {
                        *error.borrow_mut() = Some(raised);
                        Verdict { stop: true, score: f64::NAN }
                    }
                }
            }
        });
        let mut memory = Memory { state: settings.optimizer.init(parameters.len())?, epochs: 0 };
        let history = train::with_trainer(shape, settings, &data, plan.epochs, &interrupt, |trainer| {
            let observe = tell.as_mut().map(|tell| tell as &mut dyn FnMut(usize, &train::Record, &[T]) -> _);
            train::fit(trainer, parameters, &mut memory, validation.as_ref(), plan, observe)
        });
        match (history, signals.error.into_inner()) {
            // A run without one finite epoch that an exception ended: the exception tells more.
            (Err(_), Some(error)) => Ok((None, Some(error))),
            (history, error) => Ok((Some(history?), error)),
        }
    })?;
    let Some(history) = history else { return Err(error.expect("an exception takes the history's place")) };
    let train::Curves { loss, validation_loss, learning_rate, seconds } = history.curves;
    let columns = [loss, validation_loss, learning_rate, seconds, history.gradient_norms]
        .map(|column| PyArray1::from_vec(py, column));
    let reason = match history.stop_reason {
        StopReason::Epochs => "epochs",
        StopReason::Patience => "patience",
        StopReason::Callback => "callback",
        StopReason::Diverged => "diverged",
        StopReason::Interrupted => "interrupted",
    };
    Ok((columns, history.best_epoch, reason, error))
}

/// Marks in `out` the rows that are held back: `fraction` of all, by class where there are `classes`.
#[pyfunction]
pub fn hold_back(
    seed: Seed,
    fraction: f64,
    classes: Option<&Bound<'_, PyUntypedArray>>,
    out: &Bound<'_, PyUntypedArray>,
) -> PyResult<()> {
    let classes = classes.map(|classes| view::<u32>(classes)).transpose()?;
    Ok(mlp::data::hold_back(seed, fraction, classes, view_mut::<bool>(out)?)?)
}
