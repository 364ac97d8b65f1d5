//! How far P~ is from Q: entropy, cross-entropy and Kullback-Leibler divergence of rows of events, and the mean of
//! the divergences, which is the empirical risk. What happens at q = 0 < p is a named policy.
//!
//! The data are streamed once. Pieces (whole rows, or fixed parts of a long one) may be taken by any thread; in a piece,
//! chunks that fit the first-level cache pass by: the terms of a chunk as if there were no rows, then the rows' sums, so
//! that a million short rows cost about what one long row does. Only rows longer than a chunk that are logits, or are to
//! be divided by their sum, are read twice.

use super::chunks::{CHUNK, Partial, Piece, Place, Scale};
use crate::error::{Error, Result};
use crate::parallel;
use crate::rows::{Events, EventsMut};
use crate::simd::Real;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

pub use super::terms::{Format, Quantity};

/// Elements of a piece, a multiple of CHUNK.
const PIECE: usize = 16 * CHUNK;

/// What an event is worth that happens (p > 0) but has probability 0 in the model (q = 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ZeroPolicy {
    /// The mathematics: +∞.
    Infinite,
    /// q is at least this.
    Clip(f64),
    /// q becomes (q + ε)/(1 + k·ε), k the number of events.
    Smooth(f64),
    /// An error that names the first such event.
    Raise,
}

/// What rows of probabilities must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Finite, ≥ 0, of sum 1.
    Sums,
    /// Finite, ≥ 0, of a positive sum, by which they are divided.
    Normalize,
    /// Anything.
    Nothing,
}

/// An argument: rows of probabilities, or of logits.
pub struct Operand<'a> {
    /// Its public name.
    pub name: &'static str,
    /// Its elements, broadcast.
    pub events: Events<'a>,
    /// Its own shape, the events' axis last.
    pub shape: Vec<usize>,
    /// Where that axis was.
    pub axis: usize,
    /// Whether they are logits.
    pub logits: bool,
    /// How far from 1 a row's sum may be.
    pub tolerance: f64,
}

impl Operand<'_> {
    /// The position, in the caller's array, of an event of a row of the broadcast table; or of the row.
    fn index(&self, front: &[usize], mut row: usize, event: Option<usize>) -> Vec<usize> {
        let mut index = Vec::new();
        let own = self.shape.split_last().map_or(&[][..], |(_, own)| own);
        let mut own = own.iter().rev();
        for n in front.iter().rev() {
            if let Some(own) = own.next() {
                index.push(if *own == 1 { 0 } else { row % n });
            }
            row /= n;
        }
        index.reverse();
        if let Some(event) = event {
            index.insert(self.axis.min(index.len()), event);
        }
        index
    }
}

impl Operand<'_> {
    /// The number, in the caller's array, of a row of the broadcast table.
    fn own_row(&self, front: &[usize], row: usize) -> usize {
        let index = self.index(front, row, None);
        index.iter().zip(&self.shape).fold(0, |number, (i, n)| number * n + i)
    }
}

/// What is averaged over: q of the empirical risk, p elsewhere.
pub enum Truth<'a> {
    /// Rows of probabilities or logits.
    Distribution(Operand<'a>),
    /// The event that happened, row by row.
    Classes(&'static str, &'a [i64]),
}

/// A computation.
pub struct Problem<'a> {
    /// What is summed.
    pub quantity: Quantity,
    /// What happens at q = 0 < p.
    pub zero: ZeroPolicy,
    /// What is looked at first.
    pub validation: Validation,
    /// ln of the base.
    pub divisor: f64,
    /// p
    pub truth: Truth<'a>,
    /// q; None for the entropy.
    pub model: Option<Operand<'a>>,
    /// The lengths of the axes in front.
    pub front: Vec<usize>,
    /// How many threads, if not what pays.
    pub n_threads: Option<usize>,
}

/// Where results go.
pub enum Sink<'a, T> {
    /// Term by term.
    Terms(EventsMut<'a, T>),
    /// A sum a row.
    Rows(EventsMut<'a, T>),
    /// The rows' mean, with these weights.
    Mean(Option<&'a [f64]>),
}

impl<'a> Problem<'a> {
    /// Fills `sink`; returns the mean, if that is what was asked for.
    pub fn solve<T: Format>(&self, sink: Sink<'a, T>) -> Result<f64> {
        let (n_rows, n) = self.shape();
        // The largest first, without a branch: negative indices are huge.
        if let Truth::Classes(argument, classes) = &self.truth
            && classes.iter().fold(0, |largest, class| largest.max(*class as u64)) >= n as u64
            && let Some(i) = classes.iter().position(|class| *class as u64 >= n as u64)
        {
            let (index, value) = (vec![i], classes[i] as f64);
            return Err(Error::Value { argument, index, value, need: "be the index of an event" });
        }
        if n_rows == 0 || n == 0 {
            if let Sink::Rows(mut out) = sink {
                (0..n_rows).for_each(|row| out.set(row..row + 1, 0..1, &[T::ZERO]));
            }
            return Ok(0.0);
        }
        let weights = if let Sink::Mean(weights) = &sink { *weights } else { None };
        check_weights(weights.unwrap_or(&[1.0]))?;
        // Rows that are to be measured first stay whole.
        let whole = matches!(self.truth, Truth::Classes(..))
            || self.operands().into_iter().flatten().any(|o| self.is_scaled(o));
        let long = n > PIECE && !whole;
        let (rows, columns) = if long { (1, n.div_ceil(PIECE)) } else { ((PIECE / n).max(1), 1) };
        let n_pieces = n_rows.div_ceil(rows) * columns;
        if n_pieces == 1 {
            let mut place = match sink {
                Sink::Terms(out) => Place::Terms(out),
                Sink::Rows(out) => Place::Rows(out),
                Sink::Mean(_) => Place::Mean,
            };
            let averaged = matches!(place, Place::Mean);
            let piece = Piece { problem: self, weights, rows: 0..n_rows, events: 0..n, n, place: &mut place };
            let partial = piece.run()?;
            return if averaged { mean(&[partial]) } else { Ok(0.0) };
        }
        // Where a piece is part of a row, it leaves its sums; so it does for a mean.
        let kept = if long || matches!(sink, Sink::Mean(_)) { n_pieces } else { 0 };
        let mut partials = parallel::zeros::<Partial>(kept)?;
        let n_threads = parallel::threads(self.n_threads, n_pieces, (n_rows as f64) * (n as f64));

        let piece = |i: usize| {
            let (row, event) = (i / columns * rows, i % columns * PIECE);
            (row..n_rows.min(row + rows), if long { event..n.min(event + PIECE) } else { 0..n })
        };
        // A sink's part that follows rows: for a long row it is filled at the end.
        let mut rest = None;
        let places: Box<dyn Iterator<Item = Place<'a, T>> + Send> = match sink {
            Sink::Terms(out) => Box::new(out.parts(rows, if long { PIECE } else { n }).map(Place::Terms)),
            Sink::Rows(out) if long => {
                rest = Some(out);
                Box::new(std::iter::repeat_with(|| Place::Mean))
            }
            Sink::Rows(out) => Box::new(out.parts(rows, 1).map(Place::Rows)),
            Sink::Mean(_) => Box::new(std::iter::repeat_with(|| Place::Mean)),
        };
        let mut slots = partials.iter_mut();
        let items = (0..n_pieces).zip(places).map(move |(i, place)| (i, place, slots.next()));
        let failed: Mutex<Option<(usize, Error)>> = Mutex::new(None);
        parallel::for_each(n_threads, items, |(i, mut place, partial)| {
            let earlier = |(first, _): &(usize, Error)| *first < i;
            if failed.lock().is_ok_and(|failed| failed.as_ref().is_some_and(earlier)) {
                return;
            }
            let (rows, events) = piece(i);
            match (Piece { problem: self, weights, rows, events, n, place: &mut place }).run() {
                Ok(sums) => {
                    if let Some(partial) = partial {
                        *partial = sums;
                    }
                }
                Err(error) => {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(first, _)| i < *first) {
                        *failed = Some((i, error));
                    }
                }
            }
        });
        if let Some((_, error)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        if !long {
            return if kept > 0 { mean(&partials) } else { Ok(0.0) };
        }
        self.finish(&partials, columns, weights, rest)
    }

    /// Whether the arguments and the sink belong together.
    pub fn fits<T: Real>(&self, sink: &Sink<'_, T>) -> bool {
        let (n_rows, n) = self.shape();
        let same = |o: &Operand| o.events.n_rows() == n_rows && o.events.n_events() == n;
        let truth = match &self.truth {
            Truth::Classes(_, classes) => classes.len() == n_rows && !matches!(sink, Sink::Terms(_)),
            Truth::Distribution(_) => true,
        };
        let sink = match sink {
            Sink::Terms(out) => (out.n_rows(), out.n_events()) == (n_rows, n),
            Sink::Rows(out) => (out.n_rows(), out.n_events()) == (n_rows, 1),
            Sink::Mean(weights) => weights.is_none_or(|weights| weights.len() == n_rows),
        };
        let model = self.model.is_some() == (self.quantity != Quantity::Entropy);
        truth && sink && model && self.operands().into_iter().flatten().all(same)
    }

    /// (rows, events)
    pub fn shape(&self) -> (usize, usize) {
        let events = match (&self.model, &self.truth) {
            (Some(model), _) => &model.events,
            (None, Truth::Distribution(p)) => &p.events,
            (None, Truth::Classes(..)) => return (0, 0),
        };
        (events.n_rows(), events.n_events())
    }

    /// The arguments that are distributions.
    pub(super) fn operands(&self) -> [Option<&Operand<'a>>; 2] {
        let truth = if let Truth::Distribution(p) = &self.truth { Some(p) } else { None };
        [truth, self.model.as_ref()]
    }

    /// Whether a row's elements must be divided by something.
    pub(super) fn is_scaled(&self, operand: &Operand) -> bool {
        operand.logits || self.validation == Validation::Normalize
    }

    /// A row of logits has a largest one; a row to be normalised a positive sum.
    pub(super) fn check_scale(&self, operand: &Operand, row: usize, scale: Scale) -> Result<()> {
        let value = if operand.logits { scale.shift } else { scale.total };
        let wrong = if operand.logits { !value.is_finite() } else { !(value > 0.0 && value.is_finite()) };
        if self.validation == Validation::Nothing || !wrong {
            return Ok(());
        }
        let need = if operand.logits { "have a finite largest logit" } else { "have a positive finite sum" };
        let index = operand.index(&self.front, row, None);
        Err(Error::Value { argument: operand.name, index, value, need })
    }

    /// An error if a row's sum is not 1.
    pub(super) fn check_sums(&self, operand: &Operand, row: usize, sums: &[f64]) -> Result<()> {
        let mut good = operand.logits;
        good |= sums.iter().fold(true, |good, sum| good & ((sum - 1.0).abs() <= operand.tolerance));
        if good { Ok(()) } else { self.wrong_sum(operand, row, sums) }
    }

    #[cold]
    #[inline(never)]
    fn wrong_sum(&self, operand: &Operand, row: usize, sums: &[f64]) -> Result<()> {
        // NaN differs, too.
        let differs = |sum: &f64| (sum - 1.0).abs() > operand.tolerance || sum.is_nan();
        let Some(i) = sums.iter().position(differs) else { return Ok(()) };
        Err(Error::RowSum {
            argument: operand.name,
            row: operand.own_row(&self.front, row + i),
            sum: sums[i],
        })
    }

    /// Rows' results from the sums of their terms: a divergence of distributions is not negative, whatever the last bits.
    pub(super) fn finish_rows(&self, values: &mut [f64]) {
        let judged = self.validation != Validation::Nothing && self.quantity == Quantity::Divergence;
        if judged {
            values.iter_mut().for_each(|value| *value = if *value < 0.0 { 0.0 } else { *value });
        }
        if self.divisor != 1.0 {
            values.iter_mut().for_each(|value| *value /= self.divisor);
        }
    }

    /// The least that q counts as.
    pub(super) fn floor<T: Real>(&self) -> Option<T> {
        if let ZeroPolicy::Clip(eps) = self.zero { Some(T::of(eps)) } else { None }
    }

    /// Adds up the pieces of long rows.
    fn finish<T: Format>(
        &self,
        partials: &[Partial],
        columns: usize,
        weights: Option<&[f64]>,
        mut rows: Option<EventsMut<'a, T>>,
    ) -> Result<f64> {
        let mut total = Partial::default();
        for (row, pieces) in partials.chunks_exact(columns).enumerate() {
            let mut sums = Partial::default();
            for piece in pieces {
                sums.terms.merge(piece.terms);
                sums.p.merge(piece.p);
                sums.q.merge(piece.q);
            }
            if self.validation == Validation::Sums {
                for (operand, sum) in self.operands().into_iter().zip([sums.p, sums.q]) {
                    if let Some(operand) = operand {
                        self.check_sums(operand, row, &[sum.value()])?;
                    }
                }
            }
            let mut value = [sums.terms.value()];
            self.finish_rows(&mut value);
            if let Some(rows) = &mut rows {
                rows.set(row..row + 1, 0..1, &[T::of(value[0])]);
            }
            total.weigh(value[0], weights.map_or(1.0, |weights| weights[row]));
        }
        mean(&[total])
    }

    /// The first value that is no probability, or no logit, in these rows.
    #[cold]
    #[inline(never)]
    pub(super) fn first_wrong<T: Real>(
        &self,
        operand: &Operand,
        rows: &Range<usize>,
        events: &Range<usize>,
        x: &[T],
    ) -> Result<()> {
        let logits = operand.logits;
        let wrong = |x: &T| {
            if logits {
                x.f64().is_nan() || x.f64() == f64::INFINITY
            } else {
                !(x.f64() >= 0.0 && x.is_finite())
            }
        };
        let Some(i) = x.iter().position(wrong) else { return Ok(()) };
        let n = events.len().max(1);
        let index = operand.index(&self.front, rows.start + i / n, Some(events.start + i % n));
        let need = if logits { "be a number below +inf" } else { "be finite and at least 0" };
        Err(Error::Value { argument: operand.name, index, value: x[i].f64(), need })
    }

    /// What is wrong, if anything is, where something unusual was seen: with the values, if they are judged, or with the
    /// terms.
    #[cold]
    #[inline(never)]
    pub(super) fn first_unusual<T: Real>(
        &self,
        p: &Operand,
        rows: &Range<usize>,
        events: &Range<usize>,
        values: [&[T]; 2],
        terms: &[T],
        judged: bool,
    ) -> Result<()> {
        let model = self.model.as_ref();
        if judged {
            self.first_wrong(p, rows, events, values[0])?;
            if let Some(q) = model {
                self.first_wrong(q, rows, events, values[1])?;
            }
        }
        match model {
            Some(q) if self.zero == ZeroPolicy::Raise => self.first_infinite(q, rows, events, terms),
            _ => Ok(()),
        }
    }

    /// The first event that the model thinks impossible though it happens, by its infinite term.
    pub(super) fn first_infinite<T: Real>(
        &self,
        model: &Operand,
        rows: &Range<usize>,
        events: &Range<usize>,
        terms: &[T],
    ) -> Result<()> {
        let Some(i) = terms.iter().position(|term| term.f64() == f64::INFINITY) else { return Ok(()) };
        Err(self.impossible(model, rows.start + i / events.len(), events.start + i % events.len()))
    }

    /// An event happens that the model gives probability 0.
    #[cold]
    pub(super) fn impossible(&self, model: &Operand, row: usize, event: usize) -> Error {
        let index = model.index(&self.front, row, Some(event));
        let need = "be positive where the event happens (zero=\"raise\")";
        Error::Value { argument: model.name, index, value: 0.0, need }
    }
}

/// Weights are finite and at least 0, and not all of them 0.
fn check_weights(weights: &[f64]) -> Result<()> {
    if let Some(i) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        let (index, value) = (vec![i], weights[i]);
        return Err(Error::Value {
            argument: "sample_weight",
            index,
            value,
            need: "be finite and at least 0",
        });
    }
    if weights.iter().all(|weight| *weight == 0.0) {
        return Err(Error::Empty { argument: "sample_weight", need: "not be 0 for all rows" });
    }
    Ok(())
}

/// The weighted mean of the pieces' rows.
fn mean(partials: &[Partial]) -> Result<f64> {
    let mut total = Partial::default();
    for piece in partials {
        total.terms.merge(piece.terms);
        total.weight.merge(piece.weight);
    }
    let weight = total.weight.value();
    if !weight.is_finite() {
        return Err(Error::Empty { argument: "sample_weight", need: "have a finite sum" });
    }
    Ok(total.terms.value() / weight)
}
