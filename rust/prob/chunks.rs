//! A piece of a divergence: its chunks pass through the first-level cache, one after another.

use super::divergence::{Operand, Problem, Truth, Validation, ZeroPolicy};
use super::elementwise::{log_one_plus, rescale, rescale_rows, shift, smooth, valid};
use super::softmax;
use super::terms::{
    Format, Quantity, Values, add_of_probabilities, of_any_probabilities, of_logarithms, of_probabilities,
};
use crate::error::Result;
use crate::math::scalar;
use crate::parallel;
use crate::rows::EventsMut;
use crate::simd::Real;
use crate::sum::{self, Running, Sum};
use std::ops::Range;

/// Elements that pass together: operands and terms stay in the first-level cache.
pub(super) const CHUNK: usize = 1024;

/// Part of a sink: one piece's.
pub(super) enum Place<'a, T> {
    Terms(EventsMut<'a, T>),
    Rows(EventsMut<'a, T>),
    Mean,
}

/// What a row is measured by: its sum; of logits z the largest, `shift`, and the sum of exp(z − shift) but for one of
/// the largest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scale {
    pub(super) shift: f64,
    pub(super) total: f64,
}

/// What a piece contributes to sums beyond it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partial {
    pub(super) terms: Sum,
    pub(super) p: Sum,
    pub(super) q: Sum,
    pub(super) weight: Sum,
}

impl Partial {
    /// Counts a row's value with a weight; what it is does not matter where that is 0.
    pub(super) fn weigh(&mut self, value: f64, weight: f64) {
        if weight != 0.0 {
            self.terms.add(value * weight);
            self.weight.add(weight);
        }
    }
}

/// Computes some rows, or a part of one.
pub(super) struct Piece<'w, 'a, T> {
    pub(super) problem: &'w Problem<'a>,
    pub(super) weights: Option<&'a [f64]>,
    pub(super) rows: Range<usize>,
    pub(super) events: Range<usize>,
    pub(super) n: usize,
    pub(super) place: &'w mut Place<'a, T>,
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
    /// The largest logits of whole rows, and how many more are as large.
    shifts: Vec<f64>,
    ties: Vec<f64>,
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
            ties: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Makes the elements available to `raw`, which is given what this returns.
    fn fetch<'x>(
        &mut self,
        operand: &Operand<'x>,
        rows: &Range<usize>,
        events: &Range<usize>,
    ) -> Result<Own<'x, T>> {
        let own = operand.events.slice::<T>(rows.clone(), events.clone());
        if own.is_some() {
            return Ok(own);
        }
        if self.held.0 == *events && self.held.1 >= rows.len() {
            return Ok(own);
        }
        let n = rows.len() * events.len();
        operand.events.copy(rows.clone(), events.clone(), room(&mut self.raw, n)?);
        if operand.events.is_one() {
            self.held = (events.clone(), rows.len());
        }
        Ok(own)
    }
}

/// Elements that stand in memory one after another as T.
type Own<'x, T> = Option<&'x [T]>;

/// The `n` elements that `fetch` has made available.
fn raw<'x, T: Real>(own: Own<'x, T>, buffer: &'x [T], n: usize) -> &'x [T] {
    match own {
        Some(slice) => slice,
        None => &buffer[..n],
    }
}

impl<T: Format> Piece<'_, '_, T> {
    pub(super) fn run(mut self) -> Result<Partial> {
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
        let classes = matches!(self.problem.truth, Truth::Classes(..));
        let logits = self.problem.model.as_ref().is_some_and(|q| q.logits);
        let plain = match &self.problem.truth {
            Truth::Distribution(p) => self.is_summed() && self.stands_as_it_is(p),
            Truth::Classes(..) => false,
        };
        let step = match () {
            // Nothing is copied: the whole piece at once.
            () if plain => self.rows.len(),
            () if picked => CHUNK,
            // Of short rows, whole vectors of samples.
            () if classes && logits && n <= softmax::SHORT => (4 * CHUNK / n).clamp(64, 256) / 64 * 64,
            () if classes && logits => (4 * CHUNK / n).max(1),
            () => (CHUNK / n).max(1),
        };
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

impl<T: Format> Piece<'_, '_, T> {
    /// Whether rows have their sums from the loop over their terms: it depends on their length alone.
    fn is_summed(&self) -> bool {
        2 * self.n > CHUNK && !matches!(self.place, Place::Terms(_))
    }

    /// Whether whole rows of the arguments stand in memory as they are needed.
    fn stands_as_it_is(&self, p: &Operand) -> bool {
        let whole = self.events.len() == self.n && self.n <= CHUNK;
        let smoothed = matches!(self.problem.zero, ZeroPolicy::Smooth(_));
        let as_it_is = |o: &Operand| {
            !self.problem.is_scaled(o)
                && o.events.slice::<T>(self.rows.clone(), self.events.clone()).is_some()
        };
        whole && !smoothed && as_it_is(p) && self.problem.model.as_ref().is_none_or(as_it_is)
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
                measure(problem, p, &mut self.p, rows.start, piece.n)?;
            }
            if let Some(q) = model.filter(|q| problem.is_scaled(q)) {
                measure(problem, q, &mut self.q, rows.start, piece.n)?;
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
        let p_own = prepare(problem, p, &mut self.p, &mut self.scratch, None, look, place)?;
        let mut q_own = None;
        if let Some(q) = model {
            q_own = prepare(problem, q, &mut self.q, &mut self.scratch, smoothing, look, place)?;
        }
        let n = rows.len() * events.len();
        let p_values = values(problem, p, p_own, &self.p, false, n);
        let q_values = model.map(|q| values(problem, q, q_own, &self.q, smoothing.is_some(), n));

        let (floor, summed) = (problem.floor::<T>(), piece.is_summed());
        match (p_values, q_values.unwrap_or(p_values)) {
            (Values::Plain(x), Values::Plain(y)) if summed => {
                let values = room(&mut self.values, rows.len())?;
                for (i, (x, y)) in x.chunks_exact(events.len()).zip(y.chunks_exact(events.len())).enumerate()
                {
                    let row = rows.start + i..rows.start + i + 1;
                    let mut sum = if whole { Running::default() } else { self.lanes[0] };
                    let seen = add_of_probabilities(problem.quantity, floor, &mut sum, x, y);
                    if seen.unusual {
                        let terms = room(&mut self.terms, events.len())?;
                        of_any_probabilities(problem.quantity, floor, terms, x, y);
                        problem.first_unusual(p, &row, events, [x, y], terms, judged && !look)?;
                        sum.add(terms);
                    }
                    if problem.validation == Validation::Sums && !look {
                        for ((operand, sum), lanes) in
                            [Some(p), model].into_iter().zip(seen.sums).zip(&mut self.lanes[1..])
                        {
                            match operand {
                                Some(operand) if whole => problem.check_sums(operand, row.start, &[sum])?,
                                _ => lanes.add(&[sum]),
                            }
                        }
                    }
                    if whole {
                        values[i] = sum.fold().value();
                    } else {
                        self.lanes[0] = sum;
                    }
                }
                if !look {
                    return Ok(());
                }
            }
            (x, y) => {
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
                match (x, y) {
                    (Values::Plain(x), Values::Plain(y)) => {
                        if of_probabilities(problem.quantity, floor, terms, x, y) {
                            problem.first_unusual(p, rows, events, [x, y], terms, judged && !look)?;
                        }
                    }
                    (x, y) => {
                        of_logarithms(problem.quantity, floor, terms, x, y);
                        problem.first_unusual(p, rows, events, [&[]; 2], terms, false)?;
                    }
                }
                if !termwise && whole {
                    sum::of_rows(terms, piece.n, room(&mut self.values, rows.len())?);
                } else if !termwise {
                    self.lanes[0].add(terms);
                } else if problem.divisor != 1.0 {
                    let divisor = T::of(problem.divisor);
                    terms.iter_mut().for_each(|term| *term = *term / divisor);
                }
                if let Place::Terms(out) = &mut piece.place
                    && !in_place
                {
                    out.set(rows.clone(), events.clone(), &self.terms[..n]);
                }
            }
        }
        // The operands are in the cache now: their sums cost little.
        let [_, p_lanes, q_lanes] = &mut self.lanes;
        add_up(problem, p, p_own, &mut self.p, p_lanes, place)?;
        if let Some(q) = model {
            add_up(problem, q, q_own, &mut self.q, q_lanes, place)?;
        }
        Ok(())
    }
    /// Rows whose truth is a class: −ln q of it.
    fn classes(&mut self, piece: &mut Piece<'_, '_, T>, classes: &[i64], rows: Range<usize>) -> Result<()> {
        let (problem, n) = (piece.problem, piece.n);
        let Some(q) = problem.model.as_ref() else { return Ok(()) };
        let judged = problem.validation != Validation::Nothing;
        let whole = n <= CHUNK;
        let classes = &classes[rows.clone()];
        let smoothing = match problem.zero {
            ZeroPolicy::Smooth(eps) => Some((eps, 1.0 + n as f64 * eps)),
            _ => None,
        };
        let mut own = None;
        let picks = room(&mut self.p.cooked, rows.len())?;
        if q.logits {
            log_softmax(problem, q, &mut self.q, &mut self.scratch, picks, classes, &rows)?;
        } else if problem.is_scaled(q) && !whole {
            measure(problem, q, &mut self.q, rows.start, n)?;
        } else if judged {
            let mut lanes = Running::default();
            let mut from = 0;
            while from < n {
                let events = from..n.min(from + CHUNK);
                let place = (&rows, &events, whole);
                own = prepare(problem, q, &mut self.q, &mut self.scratch, None, judged, place)?;
                add_up(problem, q, own, &mut self.q, &mut lanes, place)?;
                from += CHUNK;
            }
            if !whole && problem.validation == Validation::Sums {
                problem.check_sums(q, rows.start, &[lanes.fold().value()])?;
            }
        }
        // Each row's q of its class, or ln q.
        if !q.logits && whole && judged {
            let (Values::Plain(table) | Values::Logarithms(table)) =
                values(problem, q, own, &self.q, false, rows.len() * n);
            for ((pick, row), class) in picks.iter_mut().zip(table.chunks_exact(n)).zip(classes) {
                *pick = of_class(row, *class);
            }
        } else if !q.logits {
            for ((pick, row), class) in picks.iter_mut().zip(rows.clone()).zip(classes) {
                let one = event::<T>(q, row, *class);
                *pick = match self.q.scale {
                    Some(scale) if problem.is_scaled(q) => one / T::of(scale.total),
                    _ => one,
                };
            }
        }
        if let Some(smoothing) = smoothing {
            smooth(picks, q.logits, smoothing.0, smoothing.1);
        }
        let values = room(&mut self.values, rows.len())?;
        let floor = problem.floor::<T>();
        if q.logits && smoothing.is_none() {
            let least = floor.map_or(-T::INFINITY, |floor| T::of(scalar::ln(floor.f64())));
            for (value, log) in values.iter_mut().zip(picks) {
                *value = (T::ZERO - if *log < least { least } else { *log }).f64();
            }
        } else {
            let (ones, terms) = (room(&mut self.p.raw, rows.len())?, room(&mut self.terms, rows.len())?);
            ones.fill(T::ONE);
            of_probabilities(Quantity::CrossEntropy, floor, terms, ones, picks);
            for (value, term) in values.iter_mut().zip(terms) {
                *value = term.f64();
            }
        }
        if problem.zero == ZeroPolicy::Raise
            && let Some(i) = values.iter().position(|value| *value == f64::INFINITY)
        {
            return Err(problem.impossible(q, rows.start + i, classes[i] as usize));
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
                let (mut terms, mut weight) = (Running::default(), Sum::default());
                if let Some(weights) = piece.weights {
                    let weights = &weights[rows.clone()];
                    for (value, weight) in values.iter_mut().zip(weights) {
                        // What it is does not matter where the weight is 0.
                        *value = if *weight == 0.0 { 0.0 } else { *value * weight };
                    }
                    let mut lanes = Running::default();
                    lanes.add(weights);
                    weight = lanes.fold();
                } else {
                    weight.add(values.len() as f64);
                }
                terms.add(values);
                self.partial.terms.merge(terms.fold());
                self.partial.weight.merge(weight);
            }
        }
        Ok(())
    }
}

/// A class's number in its row; NaN where another thread has made it none since it was checked.
#[inline(always)]
pub(super) fn of_class<T: Format>(row: &[T], class: i64) -> T {
    row.get(class as usize).copied().unwrap_or(T::NAN)
}

/// The same, of a row in the caller's memory.
fn event<T: Format>(operand: &Operand, row: usize, class: i64) -> T {
    let mut one = [T::NAN];
    if (class as u64) < operand.events.n_events() as u64 {
        let class = class as usize;
        operand.events.copy(row..row + 1, class..class + 1, &mut one);
    }
    one[0]
}

/// What an argument's part of a chunk is to the terms.
fn values<'x, T: Format>(
    problem: &Problem,
    operand: &Operand<'x>,
    own: Own<'x, T>,
    buffer: &'x Buffer<T>,
    smoothed: bool,
    n: usize,
) -> Values<'x, T> {
    let cooked = &buffer.cooked[..buffer.cooked.len().min(n)];
    match operand.logits {
        true if !smoothed => Values::Logarithms(cooked),
        false if !smoothed && !problem.is_scaled(operand) => Values::Plain(raw(own, &buffer.raw, n)),
        _ => Values::Plain(cooked),
    }
}

/// Fetches an argument's part of a chunk; looks for what is no probability, sums rows, and divides, takes the logarithm
/// of the softmax of logits and smooths, as the case may be.
#[allow(clippy::too_many_arguments, reason = "the parts of a state that is borrowed in parts")]
fn prepare<'x, T: Format>(
    problem: &Problem,
    operand: &Operand<'x>,
    buffer: &mut Buffer<T>,
    scratch: &mut Vec<T>,
    smoothing: Option<(f64, f64)>,
    look: bool,
    (rows, events, whole): (&Range<usize>, &Range<usize>, bool),
) -> Result<Own<'x, T>> {
    let own = buffer.fetch(operand, rows, events)?;
    let n = events.len();
    let x = raw(own, &buffer.raw, rows.len() * n);
    // Whole rows of logits show by their sums whether something is wrong.
    if look && !(operand.logits && whole) && !valid(x, operand.logits) {
        problem.first_wrong(operand, rows, events, x)?;
    }
    let scaled = problem.is_scaled(operand);
    if !scaled && smoothing.is_none() {
        return Ok(own);
    }
    if scaled && whole && operand.logits {
        shifted_rows(problem, operand, own, buffer, scratch, rows, events)?;
        rescale_rows(&mut buffer.cooked[..rows.len() * n], n, &buffer.sums[..rows.len()], true);
    } else {
        let to = room(&mut buffer.cooked, x.len())?;
        if !scaled {
            to.copy_from_slice(x);
        } else if whole {
            to.copy_from_slice(x);
            let sums = room(&mut buffer.sums, rows.len())?;
            sum::of_rows(x, n, sums);
            for (i, total) in sums.iter().enumerate() {
                problem.check_scale(operand, rows.start + i, Scale { shift: 0.0, total: *total })?;
            }
            rescale_rows(to, n, sums, false);
        } else {
            let Scale { shift, total } = buffer.scale.unwrap_or_default();
            rescale(to, x, operand.logits, T::of(shift), T::of(total));
        }
    }
    let to = &mut buffer.cooked[..rows.len() * n];
    if let Some(smoothing) = smoothing {
        smooth(to, operand.logits, smoothing.0, smoothing.1);
    }
    Ok(own)
}

/// Of whole rows of logits that `fetch` has made available: the logits less the largest in `cooked`, and in `sums` what
/// makes them ln p when it is taken away, too: ln Σ exp.
fn shifted_rows<T: Format>(
    problem: &Problem,
    operand: &Operand,
    own: Own<'_, T>,
    buffer: &mut Buffer<T>,
    scratch: &mut Vec<T>,
    rows: &Range<usize>,
    events: &Range<usize>,
) -> Result<()> {
    let x = raw(own, &buffer.raw, rows.len() * events.len());
    let (shifted, exponentials) = (room(&mut buffer.cooked, x.len())?, room(scratch, x.len())?);
    let (shifts, ties) = (room(&mut buffer.shifts, rows.len())?, room(&mut buffer.ties, rows.len())?);
    let sums = room(&mut buffer.sums, rows.len())?;
    shift(shifted, exponentials, shifts, ties, x, events.len());
    sum::of_rows(exponentials, events.len(), sums);
    sums.iter_mut().zip(ties).for_each(|(sum, ties)| *sum += *ties);
    let finite = sums.iter().zip(&*shifts).fold(true, |good, (x, y)| good & x.is_finite() & y.is_finite());
    log_one_plus(sums);
    if finite || problem.validation == Validation::Nothing {
        return Ok(());
    }
    problem.first_wrong(operand, rows, events, x)?;
    for (i, shift) in shifts.iter().enumerate() {
        problem.check_scale(operand, rows.start + i, Scale { shift: *shift, total: 0.0 })?;
    }
    Ok(())
}

/// Sums an argument's rows, or adds to a row's sum, and looks whether whole rows' sums are 1.
fn add_up<T: Format>(
    problem: &Problem,
    operand: &Operand,
    own: Own<'_, T>,
    buffer: &mut Buffer<T>,
    lanes: &mut Running,
    (rows, events, whole): (&Range<usize>, &Range<usize>, bool),
) -> Result<()> {
    if problem.validation != Validation::Sums || operand.logits {
        return Ok(());
    }
    let x = raw(own, &buffer.raw, rows.len() * events.len());
    if !whole {
        lanes.add(x);
        return Ok(());
    }
    let sums = room(&mut buffer.sums, rows.len())?;
    sum::of_rows(x, events.len(), sums);
    problem.check_sums(operand, rows.start, sums)
}

/// Of rows of logits: ln p of each row's class.
fn log_softmax<T: Format>(
    problem: &Problem,
    operand: &Operand,
    buffer: &mut Buffer<T>,
    scratch: &mut Vec<T>,
    logs: &mut [T],
    classes: &[i64],
    rows: &Range<usize>,
) -> Result<()> {
    let n = operand.events.n_events();
    let events = 0..n;
    if n > CHUNK {
        for ((row, class), log) in rows.clone().zip(classes).zip(logs) {
            measure(problem, operand, buffer, row, n)?;
            let Scale { shift, total } = buffer.scale.unwrap_or_default();
            *log = event::<T>(operand, row, *class) - T::of(shift) - T::of(total);
        }
        return Ok(());
    }
    let own = buffer.fetch(operand, rows, &events)?;
    let x = raw(own, &buffer.raw, rows.len() * n);
    let finite = if n <= softmax::SHORT {
        softmax::log_of_classes(logs, x, n, classes, room(scratch, softmax::SCRATCH)?)
    } else {
        let (shifts, sums) = (room(&mut buffer.shifts, rows.len())?, room(&mut buffer.sums, rows.len())?);
        softmax::measure_rows(x, n, shifts, sums);
        let finite =
            sums.iter().zip(&*shifts).fold(true, |good, (x, y)| good & x.is_finite() & y.is_finite());
        log_one_plus(sums);
        for ((row, class), (log, scale)) in
            x.chunks_exact(n).zip(classes).zip(logs.iter_mut().zip(shifts.iter().zip(sums)))
        {
            *log = of_class(row, *class) - T::of(*scale.0) - T::of(*scale.1);
        }
        finite
    };
    if finite || problem.validation == Validation::Nothing {
        return Ok(());
    }
    problem.first_wrong(operand, rows, &events, x)?;
    for (i, x) in x.chunks_exact(n).enumerate() {
        let shift = softmax::largest_of(x).f64();
        problem.check_scale(operand, rows.start + i, Scale { shift, total: 0.0 })?;
    }
    Ok(())
}

/// Measures a row that is longer than a chunk: `buffer.scale`, whose total is the logarithm of the sum for logits.
fn measure<T: Format>(
    problem: &Problem,
    operand: &Operand,
    buffer: &mut Buffer<T>,
    row: usize,
    n: usize,
) -> Result<()> {
    let rows = row..row + 1;
    let judged = problem.validation != Validation::Nothing;
    let mut lanes = Running::default();
    let mut most = -T::INFINITY;
    for from in (0..n).step_by(CHUNK) {
        let events = from..n.min(from + CHUNK);
        let own = buffer.fetch(operand, &rows, &events)?;
        let x = raw(own, &buffer.raw, events.len());
        if judged && !valid(x, operand.logits) {
            problem.first_wrong(operand, &rows, &events, x)?;
        }
        if operand.logits {
            let other = softmax::largest_of(x);
            most = if other > most { other } else { most };
        } else {
            lanes.add(x);
        }
    }
    let mut scale = Scale { shift: most.f64(), total: lanes.fold().value() };
    if operand.logits {
        let mut rest = softmax::Rest::default();
        for from in (0..n).step_by(CHUNK) {
            let events = from..n.min(from + CHUNK);
            let own = buffer.fetch(operand, &rows, &events)?;
            rest.add(raw(own, &buffer.raw, events.len()), most);
        }
        scale.total = scalar::ln_1p(rest.value::<T>());
    }
    problem.check_scale(operand, row, scale)?;
    buffer.scale = Some(scale);
    Ok(())
}
