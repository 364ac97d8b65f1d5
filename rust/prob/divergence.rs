//! How far P~ is from Q: entropy, cross-entropy and Kullback-Leibler divergence of rows of events, and the mean of
//! the divergences, which is the empirical risk. The one room where 0·ln 0 and p·ln(p/0) are decided.
//!
//! The data are streamed once. Pieces (whole rows, or fixed parts of a long one) may be taken by any thread; within a
//! piece, chunks that fit the first-level cache pass by: terms of the chunk as if there were no rows, then the rows'
//! sums, so that a million short rows cost what one long row does. Only rows longer than a piece that have to be
//! divided by their sum, or are logits, are read twice.

use super::elementwise::{exponential, largest, logarithm, rescale, rescale_rows, shift, smooth, valid};
use super::terms::{Values, of_logarithms, of_probabilities};
use crate::error::{Error, Result};
use crate::math::scalar;
use crate::parallel;
use crate::rows::{Events, EventsMut};
use crate::simd::Real;
use crate::sum::{self, Running, Sum};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

pub use super::terms::{Format, Quantity};

/// Elements that pass together: operands and terms stay in the first-level cache.
const CHUNK: usize = 1024;
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

/// Part of a sink: one piece's.
enum Place<'a, T> {
    Terms(EventsMut<'a, T>),
    Rows(EventsMut<'a, T>),
    Mean,
}

/// What a row is measured by: its sum; of logits z the largest, `shift`, and the sum of exp(z − shift).
#[derive(Clone, Copy, Debug, Default)]
struct Scale {
    shift: f64,
    total: f64,
}

impl Scale {
    /// Of two parts of a row of logits.
    fn joined(self, other: Scale) -> Scale {
        let shift = if self.shift > other.shift { self.shift } else { other.shift };
        let moved = |part: Scale| {
            if part.shift == shift { part.total } else { part.total * scalar::exp(part.shift - shift) }
        };
        Scale { shift, total: moved(self) + moved(other) }
    }
}

/// What a piece contributes to sums beyond it.
#[derive(Clone, Copy, Debug, Default)]
struct Partial {
    terms: Sum,
    p: Sum,
    q: Sum,
    weight: Sum,
}

impl<'a> Problem<'a> {
    /// Fills `sink`; returns the mean, if that is what was asked for.
    pub fn solve<T: Format>(&self, sink: Sink<'a, T>) -> Result<f64> {
        let (n_rows, n) = self.shape();
        if let Truth::Classes(argument, classes) = &self.truth
            && let Some(i) =
                classes.iter().position(|class| usize::try_from(*class).map_or(true, |class| class >= n))
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
            return Ok(if kept > 0 { mean(&partials) } else { 0.0 });
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
    fn operands(&self) -> [Option<&Operand<'a>>; 2] {
        let truth = if let Truth::Distribution(p) = &self.truth { Some(p) } else { None };
        [truth, self.model.as_ref()]
    }

    /// Whether a row's elements must be divided by something.
    fn is_scaled(&self, operand: &Operand) -> bool {
        operand.logits || self.validation == Validation::Normalize
    }

    /// A row of logits has a largest one; a row to be normalised a positive sum.
    fn check_scale(&self, operand: &Operand, row: usize, scale: Scale) -> Result<()> {
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
    fn check_sums(&self, operand: &Operand, row: usize, sums: &[f64]) -> Result<()> {
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
    fn finish_rows(&self, values: &mut [f64]) {
        let judged = self.validation != Validation::Nothing && self.quantity == Quantity::Divergence;
        if judged {
            values.iter_mut().for_each(|value| *value = if *value < 0.0 { 0.0 } else { *value });
        }
        if self.divisor != 1.0 {
            values.iter_mut().for_each(|value| *value /= self.divisor);
        }
    }

    /// The least that q counts as.
    fn floor<T: Real>(&self) -> Option<T> {
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
        Ok(mean(&[total]))
    }

    /// The first value that is no probability, or no logit, in these rows.
    #[cold]
    #[inline(never)]
    fn first_wrong<T: Real>(
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

    /// The first event that the model thinks impossible though it happens, by its infinite term.
    fn first_infinite<T: Real>(
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
    fn impossible(&self, model: &Operand, row: usize, event: usize) -> Error {
        let index = model.index(&self.front, row, Some(event));
        let need = "be positive where the event happens (zero=\"raise\")";
        Error::Value { argument: model.name, index, value: 0.0, need }
    }
}

impl Partial {
    /// Counts a row's value with a weight; what it is does not matter where that is 0.
    fn weigh(&mut self, value: f64, weight: f64) {
        if weight != 0.0 {
            self.terms.add(value * weight);
            self.weight.add(weight);
        }
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
fn mean(partials: &[Partial]) -> f64 {
    let mut total = Partial::default();
    for piece in partials {
        total.terms.merge(piece.terms);
        total.weight.merge(piece.weight);
    }
    total.terms.value() / total.weight.value()
}

// --------------------------------------------------------------------------------------------------------- a piece

/// Computes some rows, or a part of one.
struct Piece<'w, 'a, T> {
    problem: &'w Problem<'a>,
    weights: Option<&'a [f64]>,
    rows: Range<usize>,
    events: Range<usize>,
    n: usize,
    place: &'w mut Place<'a, T>,
}

/// An argument's part of a chunk.
struct Buffer<T> {
    /// Its elements, where they don't stand in memory one after another as T.
    raw: Vec<T>,
    /// Which of them `raw` holds, if all rows are the same.
    held: (Range<usize>, usize),
    /// What becomes of them: divided by their sum, smoothed, ln p of logits.
    cooked: Vec<T>,
    /// What a row longer than a chunk is measured by; its total is the logarithm of the sum for logits.
    scale: Option<Scale>,
    /// The largest logits of whole rows.
    shifts: Vec<f64>,
    /// The sum of a row's part so far is kept in the caller's lanes; of whole rows here.
    sums: Vec<f64>,
}

/// At least `n` elements.
fn room<T: Clone + Default>(vector: &mut Vec<T>, n: usize) -> Result<&mut [T]> {
    if vector.len() < n {
        *vector = parallel::zeros(n)?;
    }
    Ok(&mut vector[..n])
}

impl<T: Format> Buffer<T> {
    fn new() -> Self {
        Buffer {
            raw: Vec::new(),
            held: (0..0, 0),
            cooked: Vec::new(),
            scale: None,
            shifts: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Makes the elements available to `raw`.
    fn fetch(&mut self, operand: &Operand, rows: &Range<usize>, events: &Range<usize>) -> Result<()> {
        if operand.events.slice::<T>(rows.clone(), events.clone()).is_some() {
            return Ok(());
        }
        if self.held.0 == *events && self.held.1 >= rows.len() {
            return Ok(());
        }
        let n = rows.len() * events.len();
        operand.events.copy(rows.clone(), events.clone(), room(&mut self.raw, n)?);
        if operand.events.is_one() {
            self.held = (events.clone(), rows.len());
        }
        Ok(())
    }
}

/// The elements that `fetch` has made available.
fn raw<'x, T: Real>(
    operand: &Operand<'x>,
    buffer: &'x [T],
    rows: &Range<usize>,
    events: &Range<usize>,
) -> &'x [T] {
    match operand.events.slice(rows.clone(), events.clone()) {
        Some(slice) => slice,
        None => &buffer[..rows.len() * events.len()],
    }
}

impl<T: Format> Piece<'_, '_, T> {
    fn run(mut self) -> Result<Partial> {
        let n = self.events.len();
        let mut state = State::<T> {
            p: Buffer::new(),
            q: Buffer::new(),
            terms: Vec::new(),
            values: Vec::new(),
            scratch: Vec::new(),
            partial: Partial::default(),
            lanes: [Running::default(); 3],
        };
        // Where a row need not be read as a whole, only the classes' elements are.
        let picked = matches!(self.problem.truth, Truth::Classes(..))
            && self.problem.validation == Validation::Nothing
            && self.problem.model.as_ref().is_some_and(|q| !q.logits);
        let step = if picked { CHUNK } else { (CHUNK / n).max(1) };
        let mut row = self.rows.start;
        while row < self.rows.end {
            let rows = row..self.rows.end.min(row + step);
            match &self.problem.truth {
                Truth::Classes(_, classes) => state.classes(&mut self, classes, rows)?,
                Truth::Distribution(p) => state.rows(&mut self, p, rows)?,
            }
            row += step;
        }
        Ok(state.partial)
    }
}

/// The state of a piece's computation.
struct State<T> {
    p: Buffer<T>,
    q: Buffer<T>,
    terms: Vec<T>,
    /// The rows' results.
    values: Vec<f64>,
    scratch: Vec<T>,
    partial: Partial,
    /// Sums of a row that is longer than a chunk: of terms, p and q.
    lanes: [Running; 3],
}

impl<T: Format> State<T> {
    /// Some whole rows, or a part of one.
    fn rows(&mut self, piece: &mut Piece<'_, '_, T>, p: &Operand, rows: Range<usize>) -> Result<()> {
        let (problem, model) = (piece.problem, piece.problem.model.as_ref());
        let (part, chunked) = (piece.events.len() < piece.n, piece.events.len() > CHUNK);
        if chunked {
            if problem.is_scaled(p) {
                measure(problem, p, &mut self.p, &mut self.scratch, rows.start, piece.n)?;
            }
            if let Some(q) = model.filter(|q| problem.is_scaled(q)) {
                measure(problem, q, &mut self.q, &mut self.scratch, rows.start, piece.n)?;
            }
        }
        if part || chunked {
            self.lanes = [Running::default(); 3];
        }
        let mut from = piece.events.start;
        while from < piece.events.end {
            let events = from..piece.events.end.min(from + CHUNK);
            self.chunk(piece, p, &rows, &events, !(part || chunked))?;
            from += CHUNK;
        }
        if part || chunked {
            let [terms, p_sum, q_sum] = [self.lanes[0].fold(), self.lanes[1].fold(), self.lanes[2].fold()];
            if part {
                self.partial = Partial { terms, p: p_sum, q: q_sum, weight: Sum::default() };
                return Ok(());
            }
            if problem.validation == Validation::Sums {
                problem.check_sums(p, rows.start, &[p_sum.value()])?;
                if let Some(q) = model {
                    problem.check_sums(q, rows.start, &[q_sum.value()])?;
                }
            }
            room(&mut self.values, 1)?[0] = terms.value();
        }
        self.deliver(piece, &rows)
    }

    /// One chunk: of whole rows, whose sums become `values`, or of a part of one, whose sums go to the lanes.
    fn chunk(
        &mut self,
        piece: &mut Piece<'_, '_, T>,
        p: &Operand,
        rows: &Range<usize>,
        events: &Range<usize>,
        whole: bool,
    ) -> Result<()> {
        let (problem, model) = (piece.problem, piece.problem.model.as_ref());
        let smoothing = match problem.zero {
            ZeroPolicy::Smooth(eps) => Some((eps, 1.0 + piece.n as f64 * eps)),
            _ => None,
        };
        // The loop over probabilities as they come notices what is none; before anything else is made of them, it is
        // looked for.
        let logits = p.logits || model.is_some_and(|q| q.logits);
        let judged = problem.validation != Validation::Nothing;
        let look = judged && (logits || problem.validation == Validation::Normalize || smoothing.is_some());

        let place = (rows, events, whole);
        let [_, p_lanes, q_lanes] = &mut self.lanes;
        prepare(problem, p, &mut self.p, &mut self.scratch, p_lanes, None, look, place)?;
        if let Some(q) = model {
            prepare(problem, q, &mut self.q, &mut self.scratch, q_lanes, smoothing, look, place)?;
        }
        let p_values = values(problem, p, &self.p, false, rows, events);
        let q_values = model.map(|q| values(problem, q, &self.q, smoothing.is_some(), rows, events));

        let n = rows.len() * events.len();
        let termwise = matches!(piece.place, Place::Terms(_));
        let direct = match &mut piece.place {
            Place::Terms(out) => out.slice(rows.clone(), events.clone()),
            _ => None,
        };
        let in_place = direct.is_some();
        let terms = match direct {
            Some(slice) => slice,
            None => room(&mut self.terms, n)?,
        };
        let floor = problem.floor::<T>();
        let flagged = match (p_values, q_values.unwrap_or(p_values)) {
            (Values::Plain(p), Values::Plain(q)) => of_probabilities(problem.quantity, floor, terms, p, q),
            (p, q) => {
                of_logarithms(problem.quantity, floor, terms, p, q);
                true
            }
        };
        if flagged {
            if judged && !look {
                problem.first_wrong(p, rows, events, raw(p, &self.p.raw, rows, events))?;
                if let Some(q) = model {
                    problem.first_wrong(q, rows, events, raw(q, &self.q.raw, rows, events))?;
                }
            }
            if let Some(q) = model.filter(|_| problem.zero == ZeroPolicy::Raise) {
                problem.first_infinite(q, rows, events, terms)?;
            }
        }
        if termwise {
            if problem.divisor != 1.0 {
                let divisor = T::of(problem.divisor);
                terms.iter_mut().for_each(|term| *term = *term / divisor);
            }
            if let Place::Terms(out) = &mut piece.place
                && !in_place
            {
                out.set(rows.clone(), events.clone(), &self.terms[..n]);
            }
        } else if whole {
            sum::of_rows(terms, piece.n, room(&mut self.values, rows.len())?);
        } else {
            self.lanes[0].add(terms);
        }
        Ok(())
    }

    /// Rows whose truth is a class: −ln q of it.
    fn classes(&mut self, piece: &mut Piece<'_, '_, T>, classes: &[i64], rows: Range<usize>) -> Result<()> {
        let (problem, n) = (piece.problem, piece.n);
        let Some(q) = problem.model.as_ref() else { return Ok(()) };
        let judged = problem.validation != Validation::Nothing;
        let (events, whole) = (0..n.min(CHUNK), n <= CHUNK);
        let classes = &classes[rows.clone()];
        let smoothing = match problem.zero {
            ZeroPolicy::Smooth(eps) => Some((eps, 1.0 + n as f64 * eps)),
            _ => None,
        };
        if problem.is_scaled(q) && !whole {
            measure(problem, q, &mut self.q, &mut self.scratch, rows.start, n)?;
        } else if judged || q.logits {
            let mut lanes = Running::default();
            let mut from = 0;
            while from < n {
                let events = from..n.min(from + CHUNK);
                prepare(
                    problem,
                    q,
                    &mut self.q,
                    &mut self.scratch,
                    &mut lanes,
                    None,
                    judged,
                    (&rows, &events, whole),
                )?;
                from += CHUNK;
            }
            if !whole && problem.validation == Validation::Sums {
                problem.check_sums(q, rows.start, &[lanes.fold().value()])?;
            }
        }
        // Each row's q of its class, or ln q.
        let ones = room(&mut self.p.raw, rows.len())?;
        ones.fill(T::ONE);
        let picks = room(&mut self.p.cooked, rows.len())?;
        if whole && (judged || q.logits) {
            let table = match values(problem, q, &self.q, false, &rows, &events) {
                Values::Plain(table) | Values::Logarithms(table) => table,
            };
            for ((pick, row), class) in picks.iter_mut().zip(table.chunks_exact(n)).zip(classes) {
                *pick = row[*class as usize];
            }
        } else {
            for ((pick, row), class) in picks.iter_mut().zip(rows.clone()).zip(classes) {
                let class = *class as usize;
                let mut one = [T::ZERO];
                q.events.copy(row..row + 1, class..class + 1, &mut one);
                *pick = match self.q.scale {
                    Some(scale) if q.logits => one[0] - T::of(scale.shift) - T::of(scale.total),
                    Some(scale) if problem.is_scaled(q) => one[0] / T::of(scale.total),
                    _ => one[0],
                };
            }
        }
        if let Some(smoothing) = smoothing {
            smooth(picks, q.logits, smoothing.0, smoothing.1);
        }
        let terms = room(&mut self.terms, rows.len())?;
        let floor = problem.floor::<T>();
        if q.logits && smoothing.is_none() {
            of_logarithms(
                Quantity::CrossEntropy,
                floor,
                terms,
                Values::Plain(ones),
                Values::Logarithms(picks),
            );
        } else {
            of_probabilities(Quantity::CrossEntropy, floor, terms, ones, picks);
        }
        if problem.zero == ZeroPolicy::Raise
            && let Some(i) = terms.iter().position(|term| term.f64() == f64::INFINITY)
        {
            return Err(problem.impossible(q, rows.start + i, classes[i] as usize));
        }
        for (value, term) in room(&mut self.values, rows.len())?.iter_mut().zip(terms) {
            *value = term.f64();
        }
        self.deliver(piece, &rows)
    }

    /// Hands the rows' values on.
    fn deliver(&mut self, piece: &mut Piece<'_, '_, T>, rows: &Range<usize>) -> Result<()> {
        if let Place::Terms(_) = piece.place {
            return Ok(());
        }
        let values = &mut self.values[..rows.len()];
        piece.problem.finish_rows(values);
        match &mut piece.place {
            Place::Rows(out) => match out.slice(rows.clone(), 0..1) {
                Some(out) => out.iter_mut().zip(values).for_each(|(out, value)| *out = T::of(*value)),
                None => {
                    for (row, value) in rows.clone().zip(values) {
                        out.set(row..row + 1, 0..1, &[T::of(*value)]);
                    }
                }
            },
            _ => {
                for (row, value) in rows.clone().zip(values) {
                    self.partial.weigh(*value, piece.weights.map_or(1.0, |weights| weights[row]));
                }
            }
        }
        Ok(())
    }
}

/// What an argument's part of a chunk is to the terms.
fn values<'x, T: Format>(
    problem: &Problem,
    operand: &Operand<'x>,
    buffer: &'x Buffer<T>,
    smoothed: bool,
    rows: &Range<usize>,
    events: &Range<usize>,
) -> Values<'x, T> {
    let cooked = &buffer.cooked[..buffer.cooked.len().min(rows.len() * events.len())];
    match operand.logits {
        true if !smoothed => Values::Logarithms(cooked),
        false if !smoothed && !problem.is_scaled(operand) => {
            Values::Plain(raw(operand, &buffer.raw, rows, events))
        }
        _ => Values::Plain(cooked),
    }
}

/// Fetches an argument's part of a chunk; looks for what is no probability, sums rows, and divides, takes the logarithm
/// of the softmax of logits and smooths, as the case may be.
#[allow(clippy::too_many_arguments, reason = "the parts of a state that is borrowed in parts")]
fn prepare<T: Format>(
    problem: &Problem,
    operand: &Operand,
    buffer: &mut Buffer<T>,
    scratch: &mut Vec<T>,
    lanes: &mut Running,
    smoothing: Option<(f64, f64)>,
    look: bool,
    (rows, events, whole): (&Range<usize>, &Range<usize>, bool),
) -> Result<()> {
    buffer.fetch(operand, rows, events)?;
    let x = raw(operand, &buffer.raw, rows, events);
    let n = events.len();
    if look && !valid(x, operand.logits) {
        problem.first_wrong(operand, rows, events, x)?;
    }
    let scaled = problem.is_scaled(operand);
    if problem.validation == Validation::Sums && !operand.logits {
        if whole {
            let sums = room(&mut buffer.sums, rows.len())?;
            sum::of_rows(x, n, sums);
            problem.check_sums(operand, rows.start, sums)?;
        } else {
            lanes.add(x);
        }
    }
    if !scaled && smoothing.is_none() {
        return Ok(());
    }
    let to = room(&mut buffer.cooked, x.len())?;
    if !scaled {
        to.copy_from_slice(x);
    } else if !whole {
        let Scale { shift, total } = buffer.scale.unwrap_or_default();
        rescale(to, x, operand.logits, T::of(shift), T::of(total));
    } else {
        let sums = room(&mut buffer.sums, rows.len())?;
        let shifts = room(&mut buffer.shifts, rows.len())?;
        if operand.logits {
            let exponentials = room(scratch, to.len())?;
            shift(to, exponentials, shifts, x, n);
            sum::of_rows(exponentials, n, sums);
            logarithm(sums);
        } else {
            to.copy_from_slice(x);
            sum::of_rows(x, n, sums);
        }
        for (i, (shift, total)) in shifts.iter().zip(&*sums).enumerate() {
            problem.check_scale(operand, rows.start + i, Scale { shift: *shift, total: *total })?;
        }
        rescale_rows(to, n, sums, operand.logits);
    }
    if let Some(smoothing) = smoothing {
        smooth(to, operand.logits, smoothing.0, smoothing.1);
    }
    Ok(())
}

/// Measures a row that is longer than a chunk: `scales[0]`, whose total is the logarithm of the sum for logits.
fn measure<T: Format>(
    problem: &Problem,
    operand: &Operand,
    buffer: &mut Buffer<T>,
    scratch: &mut Vec<T>,
    row: usize,
    n: usize,
) -> Result<()> {
    let rows = row..row + 1;
    let mut lanes = Running::default();
    let mut scale = Scale { shift: f64::NEG_INFINITY, total: 0.0 };
    let mut from = 0;
    while from < n {
        let events = from..n.min(from + CHUNK);
        buffer.fetch(operand, &rows, &events)?;
        let x = raw(operand, &buffer.raw, &rows, &events);
        if problem.validation != Validation::Nothing && !valid(x, operand.logits) {
            problem.first_wrong(operand, &rows, &events, x)?;
        }
        if operand.logits {
            let shift = largest(x);
            let exponentials = room(scratch, x.len())?;
            exponential(exponentials, x, shift);
            let mut part = Running::default();
            part.add(exponentials);
            // A part without a finite logit counts for nothing.
            if shift.f64() != f64::NEG_INFINITY {
                scale = scale.joined(Scale { shift: shift.f64(), total: part.fold().value() });
            }
        } else {
            lanes.add(x);
        }
        from += CHUNK;
    }
    if operand.logits {
        scale.total = scalar::ln(scale.total);
    } else {
        scale.total = lanes.fold().value();
    }
    problem.check_scale(operand, row, scale)?;
    buffer.scale = Some(scale);
    Ok(())
}
