//! Draws and likelihoods of one class out of many.
//!
//! A draw is the first class whose cumulative probability exceeds a uniform word of 64 bits. The probabilities are made
//! whole multiples of 2⁻⁹⁶, so that cumulative sums are exact and each class has its probability to within 2⁻⁵³, a class
//! of weight 0 never. Rows that are drawn from once are added up as far as the draw; rows that are drawn from often get
//! a table of thresholds with a guide (Chen and Asau 1974, "On generating random variates from an empirical
//! distribution"). Both compare the same integers, so they draw the same.

use crate::error::{Error, Result};
use crate::math::{exp, ln, scalar};
use crate::parallel::{self, zeros};
use crate::random::{Purpose, Seed, Stream};
use crate::simd::{Kernel, Real, Simd, Vector, dispatch};
use crate::sum::{self, Sum};

/// Distributions, one a row, for any number of draws: draw i has row (i / each) % n_rows.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a, T> {
    /// Rows of probabilities that sum to 1 up to rounding, or of logits of which one is above −∞ and none +∞ or NaN.
    pub values: &'a [T],
    /// At least 1.
    pub n_classes: usize,
    /// Which of the two.
    pub logits: bool,
    /// How many neighbours share a row, at least 1.
    pub each: usize,
}

impl<T: Real> Model<'_, T> {
    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.values.len() / self.n_classes
    }

    fn row_of(&self, draw: u64) -> usize {
        (draw / self.each as u64 % self.n_rows() as u64) as usize
    }

    /// A row's probabilities in `f64`.
    fn probabilities(&self, row: usize, to: &mut [f64]) {
        let values = &self.values[row * self.n_classes..(row + 1) * self.n_classes];
        if self.logits {
            dispatch(Softmax { logits: values, to });
        } else {
            for (to, value) in to.iter_mut().zip(values) {
                *to = value.f64();
            }
        }
    }
}

/// Looks at every row: see [`Model::values`]. Probabilities may miss 1 by `tolerance`.
pub fn check<T: Real>(
    argument: &'static str,
    values: &[T],
    n_classes: usize,
    logits: bool,
    tolerance: f64,
) -> Result<()> {
    for (row, values) in values.chunks(n_classes).enumerate() {
        let wrong = |value: &T| {
            let value = value.f64();
            if logits {
                value.is_nan() || value == f64::INFINITY
            } else {
                !(0.0..=1.0 + tolerance).contains(&value)
            }
        };
        if let Some(class) = values.iter().position(wrong) {
            let need = if logits { "be below infinity and not NaN" } else { "be from 0 to 1" };
            return Err(Error::Value { argument, index: vec![row, class], value: values[class].f64(), need });
        }
        if logits {
            if values.iter().all(|value| value.f64() == f64::NEG_INFINITY) {
                let need = "leave one class of a row above minus infinity";
                return Err(Error::Value { argument, index: vec![row, 0], value: f64::NEG_INFINITY, need });
            }
            continue;
        }
        let mut sum = Sum::default();
        values.iter().for_each(|value| sum.add(value.f64()));
        if (sum.value() - 1.0).abs() > tolerance {
            return Err(Error::RowSum { argument, row, sum: sum.value() });
        }
    }
    Ok(())
}

struct Softmax<'a, T> {
    logits: &'a [T],
    to: &'a mut [f64],
}

/// exp(z − largest) of every logit, and their sum.
#[inline(always)]
fn exponentials<S: Simd, T: Real>(logits: &[T], to: &mut [f64]) -> (f64, f64) {
    let mut largest = f64::NEG_INFINITY;
    for z in logits {
        largest = if z.f64() > largest { z.f64() } else { largest };
    }
    for (to, z) in to.chunks_mut(8).zip(logits.chunks(8)) {
        let mut lanes = [f64::NEG_INFINITY; 8];
        for (lane, z) in lanes.iter_mut().zip(z) {
            *lane = z.f64() - largest;
        }
        exp(S::F64::from_slice(&lanes)).copy_to_partial(to);
    }
    let mut sum = sum::Lanes::<S>::new();
    sum.add(&to[..logits.len()]);
    (largest, sum.fold().value())
}

impl<T: Real> Kernel for Softmax<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (_, sum) = exponentials::<S, T>(self.logits, self.to);
        for p in self.to {
            *p /= sum;
        }
    }
}

// ------------------------------------------------------------------------------------------------------------ draws

/// p·2⁹⁶, rounded down; p is at most a little above 1. What is none, for somebody has changed it since it was checked,
/// counts as 0.
fn fixed(p: f64) -> u128 {
    if !(0.0..2.0).contains(&p) {
        return 0;
    }
    let bits = p.to_bits();
    let exponent = (bits >> 52) as i32 & 0x7ff;
    let mantissa = u128::from(bits & ((1 << 52) - 1) | u64::from(exponent > 0) << 52);
    match exponent.max(1) - 1075 + 96 {
        shift @ 0.. => mantissa << shift,
        shift @ -63..0 => mantissa >> -shift,
        _ => 0,
    }
}

/// ⌊word·total / 2⁶⁴⌋ for a total below 2¹²⁸ − 2⁶⁴.
fn scaled(word: u64, total: u128) -> u128 {
    let word = u128::from(word);
    word * (total >> 64) + ((word * (total & u128::from(u64::MAX))) >> 64)
}

/// The first class whose cumulative weight exceeds the word's share of the total.
fn first_above(p: &[f64], word: u64) -> u32 {
    let total: u128 = p.iter().map(|p| fixed(*p)).sum();
    let share = scaled(word, total);
    let mut cumulative = 0;
    for (class, p) in p.iter().enumerate() {
        cumulative += fixed(*p);
        if cumulative > share {
            return class as u32;
        }
    }
    0
}

/// One row's thresholds, for many draws.
struct Table {
    /// The last word of each class (or of the one before, where a class has none).
    last: Vec<u64>,
    /// The class of the first word of each stretch of 2^shift.
    guide: Vec<u32>,
    shift: u32,
}

impl Table {
    fn new(p: &[f64]) -> Result<Table> {
        let total: u128 = p.iter().map(|p| fixed(*p)).sum();
        if total == 0 {
            // No probabilities any more: class 0, as `first_above` says.
            let mut last = zeros(1)?;
            last[0] = u64::MAX;
            return Ok(Table { last, guide: zeros(1 << 8)?, shift: 56 });
        }
        let mut last = zeros(p.len())?;
        let mut cumulative = 0;
        for (last, p) in last.iter_mut().zip(p) {
            cumulative += fixed(*p);
            // ⌈cumulative·2⁶⁴ / total⌉ − 1, digit by digit to the base 2²⁴, 2²⁴, 2¹⁶: a remainder has 97 bits.
            let (mut quotient, mut rest) = (0u128, cumulative);
            for bits in [24, 24, 16] {
                rest <<= bits;
                quotient = (quotient << bits) | (rest / total);
                rest %= total;
            }
            let above = quotient + u128::from(rest > 0);
            *last = u64::try_from(above.saturating_sub(1)).unwrap_or(u64::MAX);
        }
        // Several stretches a class: most draws are decided by the guide.
        let log_size = (4 * p.len()).next_power_of_two().ilog2().clamp(8, 20);
        let mut guide = zeros(1 << log_size)?;
        let mut class = p.iter().position(|p| fixed(*p) > 0).unwrap_or(0);
        let shift = 64 - log_size;
        for (i, place) in guide.iter_mut().enumerate() {
            while last[class] < (i as u64) << shift {
                class += 1;
            }
            *place = class as u32;
        }
        Ok(Table { last, guide, shift })
    }

    #[inline(always)]
    fn class(&self, word: u64) -> u32 {
        let mut class = self.guide[(word >> self.shift) as usize];
        while self.last[class as usize] < word {
            class += 1;
        }
        class
    }
}

/// A number that can hold a class.
pub trait Class: Copy + Send + Sync {
    /// The class as this number; the caller has seen that it fits.
    fn of(class: u32) -> Self;
}

macro_rules! classes {
    ($($t:ty)*) => {$(
        impl Class for $t {
            #[inline(always)]
            fn of(class: u32) -> $t {
                class as $t
            }
        }
    )*};
}
classes!(u8 u16 u32 u64 f32 f64);

/// Draws from one row that pay for its table.
const WORTH_A_TABLE: usize = 40;
/// Draws that a thread makes at a time.
const CHUNK: usize = 1 << 16;
/// Words made at a time.
const WORDS: usize = 512;

/// Draws `start..start + out.len()` of the stream.
pub fn sample<T: Real, E: Class>(
    model: &Model<T>,
    seed: Seed,
    start: u64,
    out: &mut [E],
    n_threads: Option<usize>,
) -> Result<()> {
    let stream = Stream::new(seed, Purpose::Categorical, 0, 0);
    let mut probabilities = zeros(model.n_classes)?;
    let (n, by_table) = (out.len(), model.each.min(out.len()) >= WORTH_A_TABLE || model.n_rows() == 1);
    if by_table && n >= WORTH_A_TABLE {
        // Runs of draws from one row.
        let run = if model.n_rows() == 1 { n } else { model.each };
        for (row, out) in out.chunks_mut(run).enumerate() {
            model.probabilities(row % model.n_rows(), &mut probabilities);
            let table = Table::new(&probabilities)?;
            let first = start + (row * run) as u64;
            let threads = parallel::threads(n_threads, out.len().div_ceil(CHUNK), 2.0 * out.len() as f64);
            parallel::for_each(threads, out.chunks_mut(CHUNK).enumerate(), |(i, out)| {
                with_words(&stream, first + (i * CHUNK) as u64, out, |_, word| table.class(word));
            });
        }
        return Ok(());
    }
    let cost = 3.0 * (n as f64) * model.n_classes as f64;
    let threads = parallel::threads(n_threads, n.div_ceil(CHUNK), cost);
    let mut buffers = Vec::new();
    for _ in 0..threads {
        buffers.push(std::sync::Mutex::new(zeros(model.n_classes)?));
    }
    parallel::for_each(threads, out.chunks_mut(CHUNK).enumerate(), |(i, out)| {
        // One of the buffers is free: there are as many as threads.
        let free = buffers.iter().find_map(|buffer| buffer.try_lock().ok());
        let Some(mut probabilities) = free else { return };
        let (first, mut known) = ((i * CHUNK) as u64, None);
        with_words(&stream, start + first, out, |draw, word| {
            let row = model.row_of(first + draw);
            if known != Some(row) {
                model.probabilities(row, &mut probabilities);
                known = Some(row);
            }
            first_above(&probabilities, word)
        });
    });
    Ok(())
}

/// Fills `out` by (number of the draw in it, word of the stream) → class.
fn with_words<E: Class>(stream: &Stream, first: u64, out: &mut [E], mut class: impl FnMut(u64, u64) -> u32) {
    let mut words = [0; WORDS];
    for (i, out) in out.chunks_mut(WORDS).enumerate() {
        let words = &mut words[..out.len()];
        let begin = (i * WORDS) as u64;
        stream.words(first + begin, words);
        for (draw, (out, word)) in (begin..).zip(out.iter_mut().zip(words)) {
            *out = E::of(class(draw, *word));
        }
    }
}

// ------------------------------------------------------------------------------------------------------ likelihoods

/// ln P of every class of a row.
fn logarithms<T: Real>(model: &Model<T>, row: usize, to: &mut [f64]) {
    let values = &model.values[row * model.n_classes..(row + 1) * model.n_classes];
    dispatch(Logarithms { values, logits: model.logits, to });
}

struct Logarithms<'a, T> {
    values: &'a [T],
    logits: bool,
    to: &'a mut [f64],
}

impl<T: Real> Kernel for Logarithms<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        if self.logits {
            let (largest, sum) = exponentials::<S, T>(self.values, self.to);
            let norm = scalar::ln(sum);
            for (to, z) in self.to.iter_mut().zip(self.values) {
                *to = (z.f64() - largest) - norm;
            }
            return;
        }
        for (to, p) in self.to.chunks_mut(8).zip(self.values.chunks(8)) {
            let mut lanes = [1.0; 8];
            for (lane, p) in lanes.iter_mut().zip(p) {
                *lane = p.f64();
            }
            ln(S::F64::from_slice(&lanes)).copy_to_partial(to);
        }
    }
}

/// A class's number; NaN where another thread has made it none since it was checked.
fn of_class(row: &[f64], class: u32) -> f64 {
    row.get(class as usize).copied().unwrap_or(f64::NAN)
}

/// Rows that a thread looks at as one.
const BLOCK: usize = 4096;

/// Calls `f` with (number of the block's first draw, its ln P(x)), block by block; what it returns is in their order.
fn by_blocks<T: Real, R: Send + Clone + Default>(
    model: &Model<T>,
    x: &[u32],
    n_threads: Option<usize>,
    f: impl Fn(usize, &[f64]) -> R + Sync,
) -> Result<Vec<R>> {
    let mut results = zeros::<R>(x.len().div_ceil(BLOCK))?;
    let alone = model.n_rows() == 1;
    let mut shared = zeros(if alone { model.n_classes } else { 0 })?;
    if alone && !x.is_empty() {
        logarithms(model, 0, &mut shared);
    }
    let cost = if alone {
        1.0
    } else if model.logits {
        2.0 * model.n_classes as f64
    } else {
        5.0
    };
    let threads = parallel::threads(n_threads, results.len(), cost * x.len() as f64);
    let mut buffers = Vec::new();
    for _ in 0..threads {
        buffers.push(std::sync::Mutex::new(zeros(if model.logits { model.n_classes } else { 0 })?));
    }
    parallel::for_each(
        threads,
        results.iter_mut().zip(x.chunks(BLOCK)).enumerate(),
        |(block, (result, x))| {
            let Some(mut row) = buffers.iter().find_map(|buffer| buffer.try_lock().ok()) else { return };
            let (first, mut terms) = (block * BLOCK, [0.0; BLOCK]);
            let terms = &mut terms[..x.len()];
            if alone {
                for (term, class) in terms.iter_mut().zip(x) {
                    *term = of_class(&shared, *class);
                }
            } else if model.logits {
                for (i, (term, class)) in terms.iter_mut().zip(x).enumerate() {
                    logarithms(model, model.row_of((first + i) as u64), &mut row);
                    *term = of_class(&row, *class);
                }
            } else {
                let mut p = [1.0; BLOCK];
                for (i, (p, class)) in p.iter_mut().zip(x).enumerate() {
                    let row = model.row_of((first + i) as u64);
                    let values = &model.values[row * model.n_classes..(row + 1) * model.n_classes];
                    *p = values.get(*class as usize).map_or(f64::NAN, |p| p.f64());
                }
                dispatch(Logarithms { values: &p[..x.len()], logits: false, to: terms });
            }
            *result = f(first, terms);
        },
    );
    Ok(results)
}

/// ln P(x) of each draw into `out`; every x is a class.
pub fn log_prob<T: Real>(model: &Model<T>, x: &[u32], out: &mut [T], n_threads: Option<usize>) -> Result<()> {
    let parts = std::sync::Mutex::new(out.chunks_mut(BLOCK).map(Some).collect::<Vec<_>>());
    by_blocks(model, x, n_threads, |first, terms| {
        let part = parts.lock().ok().and_then(|mut parts| parts[first / BLOCK].take());
        for (out, term) in part.into_iter().flatten().zip(terms) {
            *out = T::of(*term);
        }
    })?;
    Ok(())
}

/// Σ weight·ln P(x); without weights each counts 1. Every x is a class.
pub fn log_likelihood<T: Real>(
    model: &Model<T>,
    x: &[u32],
    weights: Option<&[f64]>,
    n_threads: Option<usize>,
) -> Result<f64> {
    let mut total = Sum::default();
    if model.n_rows() == 1 && model.n_classes <= x.len() {
        // Each class's logarithm once, times how often it came.
        let (mut counts, mut terms) = (zeros::<Sum>(model.n_classes)?, zeros(model.n_classes)?);
        match weights {
            None => {
                let mut whole = zeros::<u64>(model.n_classes)?;
                for class in x {
                    if let Some(n) = whole.get_mut(*class as usize) {
                        *n += 1;
                    }
                }
                counts.iter_mut().zip(whole).for_each(|(count, n)| count.add(n as f64));
            }
            Some(weights) => {
                for (class, weight) in x.iter().zip(weights) {
                    if let Some(count) = counts.get_mut(*class as usize) {
                        count.add(*weight);
                    }
                }
            }
        }
        logarithms(model, 0, &mut terms);
        for (count, term) in counts.into_iter().map(Sum::value).zip(terms) {
            if count != 0.0 {
                let product = count * term;
                total.add(product);
                total.add(if product.is_finite() { count.mul_add(term, -product) } else { 0.0 });
            }
        }
        return Ok(total.value());
    }
    let parts = by_blocks(model, x, n_threads, |first, terms| {
        let mut sum = Sum::default();
        for (i, term) in terms.iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[first + i]);
            sum.add(if weight == 0.0 { 0.0 } else { weight * term });
        }
        sum
    })?;
    parts.into_iter().for_each(|part| total.merge(part));
    Ok(total.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(values: &[f64], n_classes: usize, logits: bool, n: usize, threads: usize) -> Vec<u32> {
        let mut out = vec![0u32; n];
        let model = Model { values, n_classes, logits, each: 1 };
        sample(&model, Seed([3, 4]), 5, &mut out, Some(threads)).unwrap();
        out
    }

    #[test]
    fn tables_and_sums_draw_the_same_and_never_a_class_of_weight_zero() {
        let rows: [&[f64]; 5] = [
            &[0.0, 0.2, 0.0, 0.5, 0.3, 0.0],
            &[1.0, 0.0],
            &[0.0, 1.0],
            &[1e-300, 0.5, 0.5 - 1e-10, 1e-10],
            &[0.1; 10],
        ];
        for p in rows {
            let table = Table::new(p).unwrap();
            let mut words = vec![0; 20_000];
            Stream::new(Seed([1, 1]), Purpose::Categorical, 0, 0).words(0, &mut words);
            // The borders, too.
            let borders = table.last.clone();
            words.extend(
                borders.iter().flat_map(|last| [*last, last.saturating_add(1), last.saturating_sub(1)]),
            );
            words.extend([0, 1, u64::MAX]);
            for word in words {
                let class = table.class(word);
                assert_eq!(class, first_above(p, word), "{p:?} {word}");
                assert!(p[class as usize] > 0.0);
            }
        }
    }

    #[test]
    fn thresholds_are_within_the_promise() {
        let p = [0.1, 0.2, 0.3, 0.15, 0.25];
        let table = Table::new(&p).unwrap();
        let mut before = -1i128;
        for (last, p) in table.last.iter().zip(p) {
            let share = (i128::from(*last) - before) as f64 / (1u128 << 64) as f64;
            assert!((share - p).abs() <= f64::EPSILON / 2.0, "{share} {p}");
            before = i128::from(*last);
        }
    }

    #[test]
    fn draws_do_not_depend_on_threads_and_come_as_often_as_they_should() {
        let p = [0.1, 0.2, 0.3, 0.0, 0.4];
        let n = 200_000;
        let one = draws(&p, 5, false, n, 1);
        assert!(one == draws(&p, 5, false, n, 8));
        for (class, p) in p.iter().enumerate() {
            let count = one.iter().filter(|draw| **draw as usize == class).count() as f64;
            assert!((count - n as f64 * p).abs() <= 5.0 * (n as f64 * p * (1.0 - p)).sqrt());
        }
        let many: Vec<f64> = p.iter().copied().cycle().take(5 * n).collect();
        assert!(one == draws(&many, 5, false, n, 2));
        let logits: Vec<f64> = p.iter().map(|p| scalar::ln(*p) + 3.0).collect();
        let differ = one.iter().zip(draws(&logits, 5, true, n, 1)).filter(|(a, b)| **a != *b).count();
        assert_eq!(differ, 0);
    }
}
