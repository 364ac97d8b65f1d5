//! A whole run: epochs until something says stop, and the best one's parameters.

use super::{Memory, Trainer, WORK_BETWEEN_LOOKS, evaluate};
use crate::error::{Error, Result};
use crate::mlp::data::Data;
use crate::parallel::zeros;
use crate::simd::Real;
use std::time::Instant;

/// By what the best epoch is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The validation loss, or without validation the training loss.
    Loss,
    /// The validation error.
    Error,
    /// What the observer says; larger is better.
    Score,
}

/// When a run ends and what it returns.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The most epochs.
    pub epochs: usize,
    /// Stop after so many epochs in a row without progress.
    pub patience: Option<usize>,
    /// Progress is being better by more than this.
    pub min_delta: f64,
    /// By what.
    pub selection: Selection,
    /// Return the best epoch's parameters rather than the last one's.
    pub restore_best: bool,
}

/// What is known after an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The mean loss over the epoch's rows, each before its step.
    pub loss: f64,
    /// The mean loss over the validation rows after the epoch; NaN without validation.
    pub validation_loss: f64,
    /// The learning rate of its first step.
    pub learning_rate: f64,
    /// Since the run began. Where nobody observes the run, epochs that together take some microseconds share a look at
    /// the clock.
    pub seconds: f64,
}

/// The records of a run, one of each number an epoch.
#[derive(Clone, Debug)]
pub struct Curves {
    /// See [`Record::loss`].
    pub loss: Vec<f64>,
    /// See [`Record::validation_loss`].
    pub validation_loss: Vec<f64>,
    /// See [`Record::learning_rate`].
    pub learning_rate: Vec<f64>,
    /// See [`Record::seconds`].
    pub seconds: Vec<f64>,
}

impl Curves {
    /// None yet, and room for those of so many epochs: to grow again and again costs as much as a tenth of the smallest
    /// networks' steps.
    fn with_room(epochs: usize) -> Curves {
        let room = || {
            let mut column = Vec::new();
            // Where there is none, they grow all the same.
            column.try_reserve_exact(epochs.min(1 << 14)).ok();
            column
        };
        Curves { loss: room(), validation_loss: room(), learning_rate: room(), seconds: room() }
    }

    #[inline]
    fn push(&mut self, record: &Record) {
        self.loss.push(record.loss);
        self.validation_loss.push(record.validation_loss);
        self.learning_rate.push(record.learning_rate);
        self.seconds.push(record.seconds);
    }
}

/// What an observer answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    /// Whether to stop.
    pub stop: bool,
    /// For [`Selection::Score`].
    pub score: f64,
}

/// Told of every epoch: its number (from 1), its record, and the parameters after it.
pub type Observe<'a, T> = Option<&'a mut dyn FnMut(usize, &Record, &[T]) -> Verdict>;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// All epochs done.
    Epochs,
    /// No progress for `patience` epochs.
    Patience,
    /// The observer said so.
    Callback,
    /// The loss was not finite.
    Diverged,
    /// The interrupt said so.
    Interrupted,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct History {
    /// One record an epoch.
    pub curves: Curves,
    /// The norms of the layers' gradients, layer by layer for each epoch: root mean squares over its steps; empty where
    /// they are not recorded.
    pub gradient_norms: Vec<f64>,
    /// The epoch (from 1) of the least loss or error, or the largest score; 0 if no epoch was finished.
    pub best_epoch: usize,
    /// Why it ended.
    pub stop_reason: StopReason,
}

/// Trains `parameters` in place. With validation (or a score) and `restore_best` the best epoch's parameters are
/// returned; otherwise the last ones, or, after a divergence, those of the best epoch. Interrupted, it is the same.
///
/// # Errors
/// If no epoch was finite; the parameters are then what they were.
pub fn fit<T: Real>(
    trainer: &mut Trainer<T>,
    parameters: &mut [T],
    memory: &mut Memory<T>,
    validation: Option<&Data>,
    plan: &Plan,
    mut observe: Observe<T>,
) -> Result<History> {
    let began = Instant::now();
    let settings = trainer.settings;
    let choosing = plan.restore_best && (validation.is_some() || plan.selection == Selection::Score);
    let mut kept: Vec<T> = zeros(parameters.len())?;
    kept.copy_from_slice(parameters);
    let (curves, stop_reason) = (Curves::with_room(plan.epochs), StopReason::Epochs);
    let mut history = History { curves, gradient_norms: Vec::new(), best_epoch: 0, stop_reason };
    let (mut best, mut bar, mut waited) = (f64::INFINITY, f64::INFINITY, 0);
    let (mut work, mut seconds) = (f64::INFINITY, 0.0);
    for epoch in 1..=plan.epochs {
        let learning_rate = settings.optimizer.rate(&memory.state, settings.total_steps);
        let Some([loss, weight, _]) = trainer.epoch(parameters, memory) else {
            history.stop_reason = StopReason::Interrupted;
            break;
        };
        let judged = match validation {
            Some(data) => {
                let (loss, threads) = (settings.loss, settings.n_threads);
                evaluate(trainer.shape, loss, parameters, data, threads, trainer.interrupt)?
            }
            None => Some([f64::NAN; 2]),
        };
        let Some([validation_loss, error]) = judged else {
            history.stop_reason = StopReason::Interrupted;
            break;
        };
        // A look at the clock takes a fifth of the smallest networks' step.
        work += trainer.work_per_row * trainer.shared.data.len() as f64;
        let look = work > WORK_BETWEEN_LOOKS || validation.is_some() || observe.is_some();
        if look {
            (work, seconds) = (0.0, began.elapsed().as_secs_f64());
        }
        let record = Record { loss: loss / weight, validation_loss, learning_rate, seconds };
        history.curves.push(&record);
        if let Some(squares) = &mut trainer.record {
            history.gradient_norms.extend(squares.take());
        }
        let verdict = match &mut observe {
            Some(observe) => observe(epoch, &record, parameters),
            None => Verdict::default(),
        };
        let watched = if validation.is_some() { validation_loss } else { record.loss };
        if !(record.loss.is_finite() && watched.is_finite() && memory.state.finite) {
            history.stop_reason = StopReason::Diverged;
            break;
        }
        let criterion = match plan.selection {
            Selection::Loss => watched,
            Selection::Error => error,
            Selection::Score => -verdict.score,
        };
        if criterion < best {
            best = criterion;
            history.best_epoch = epoch;
            kept.copy_from_slice(parameters);
        }
        if criterion < bar - plan.min_delta {
            (bar, waited) = (criterion, 0);
        } else {
            waited += 1;
        }
        if verdict.stop {
            history.stop_reason = StopReason::Callback;
            break;
        }
        if plan.patience.is_some_and(|patience| waited >= patience) {
            history.stop_reason = StopReason::Patience;
            break;
        }
        if look && (trainer.interrupt)() {
            history.stop_reason = StopReason::Interrupted;
            break;
        }
    }
    if let (None, Some(last)) = (&observe, history.curves.seconds.last_mut()) {
        *last = began.elapsed().as_secs_f64();
    }
    let diverged = history.stop_reason == StopReason::Diverged;
    // An epoch that was interrupted may have diverged unseen.
    let lost = diverged || !memory.state.finite;
    if lost || choosing && history.best_epoch > 0 {
        parameters.copy_from_slice(&kept);
    }
    if diverged && history.best_epoch == 0 { Err(Error::Diverged) } else { Ok(history) }
}
