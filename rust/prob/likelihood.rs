//! How likely tosses are: ln P(x) = x·ln p + (1 − x)·ln(1 − p), element by element and as a sum.
//!
//! The sum of logarithms is taken as the logarithm of a product of u = p or 1 − p, whichever came, whose exponents are
//! split off in time: Σ ln u = ln Π + ln 2·Σ k, one logarithm for some hundred elements. Where tosses were sure, what the
//! product's roundings and the subtraction 1 − p lose goes to a second number, so that the product is known to twice the
//! precision: with p = 1e-10 and tails a term is 1e-10, and a rounding of the product would be a millionth of that.

use super::Spread;
use crate::error::{Error, Result};
use crate::math::{constant, ln, ln_of_sum, scalar, softplus};
use crate::parallel::{self, zeros};
use crate::simd::{Kernel, Mask, Real, Simd, Vector, dispatch};
use crate::sum::{self, Sum};

/// Elements whose product is taken before its logarithm.
const CHUNK: usize = 4096;
/// Elements that a thread looks at as one.
const BLOCK: usize = 16 * CHUNK;

/// Tosses as they come.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are the names of the types")]
pub enum Tosses<'a> {
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
}

/// Calls `$body` with `$slice` as the tosses' slice.
macro_rules! with_tosses {
    ($tosses:expr, $slice:ident => $body:expr) => {
        match $tosses {
            Tosses::U8($slice) => $body,
            Tosses::U16($slice) => $body,
            Tosses::U32($slice) => $body,
            Tosses::U64($slice) => $body,
            Tosses::I8($slice) => $body,
            Tosses::I16($slice) => $body,
            Tosses::I32($slice) => $body,
            Tosses::I64($slice) => $body,
            Tosses::F32($slice) => $body,
            Tosses::F64($slice) => $body,
        }
    };
}

impl Tosses<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        with_tosses!(self, x => x.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first toss that is neither 0 nor 1, as an error.
    fn wrong(&self) -> Error {
        #[allow(clippy::unnecessary_cast, reason = "one body for ten types")]
        let found = with_tosses!(self, x => {
            let wrong = x.iter().position(|x| *x as f64 != 0.0 && *x as f64 != 1.0);
            wrong.map(|i| (i, x[i] as f64))
        });
        // Another thread may have changed what was wrong.
        let (index, value) = found.unwrap_or((0, f64::NAN));
        Error::Value { argument: "x", index: vec![index], value, need: "be 0 or 1" }
    }

    /// The tosses `first..first + n` as bytes of 0 and 1, and whether that is what they are.
    #[inline(always)]
    #[allow(clippy::unnecessary_cast, reason = "one body for ten types")]
    fn bytes<'b>(&'b self, first: usize, n: usize, buffer: &'b mut [u8; CHUNK]) -> (&'b [u8], bool) {
        if let Tosses::U8(x) = self {
            let x = &x[first..first + n];
            let mut all = 0;
            for x in x {
                all |= *x;
            }
            return (x, all <= 1);
        }
        let mut right = true;
        with_tosses!(self, x => {
            for (to, x) in buffer.iter_mut().zip(&x[first..first + n]) {
                let (zero, one) = (*x as f64 == 0.0, *x as f64 == 1.0);
                *to = u8::from(one);
                right &= zero | one;
            }
        });
        (&buffer[..n], right)
    }
}

/// Parameters of tosses, one for each.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a, T> {
    /// Probabilities from 0 to 1, or logits.
    pub values: Spread<'a, T>,
    /// Which of the two.
    pub logits: bool,
}

/// Looks at every value: probabilities are from 0 to 1, logits not NaN.
pub fn check<T: Real>(argument: &'static str, values: &[T], logits: bool) -> Result<()> {
    // Chunks without a branch inside; then the place of the first that is wrong.
    for (i, chunk) in values.chunks(CHUNK).enumerate() {
        if !dispatch(AllRight { values: chunk, logits }) {
            let right = |value: f64| if logits { !value.is_nan() } else { (0.0..=1.0).contains(&value) };
            let place = chunk.iter().position(|value| !right(value.f64())).unwrap_or(0);
            let need = if logits { "not be NaN" } else { "be from 0 to 1" };
            let index = vec![i * CHUNK + place];
            return Err(Error::Value { argument, index, value: chunk[place].f64(), need });
        }
    }
    Ok(())
}

struct AllRight<'a, T> {
    values: &'a [T],
    logits: bool,
}

impl<T: Real> Kernel for AllRight<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        let (zero, one) = (constant::<T::Vector<S>>(0.0), constant::<T::Vector<S>>(1.0));
        let mut right = zero.eq(zero);
        for values in self.values.chunks(T::LANES) {
            let v = T::Vector::<S>::from_partial(values, T::ZERO);
            right = right.and(if self.logits { v.eq(v) } else { zero.le(v).and(v.le(one)) });
        }
        !right.not().any()
    }
}

/// ln p and ln(1 − p) of one probability, or of the probability of one logit.
pub fn logarithms(value: f64, logits: bool) -> [f64; 2] {
    if logits {
        [-scalar::softplus(-value), -scalar::softplus(value)]
    } else {
        [scalar::ln(value), scalar::ln_1p(-value)]
    }
}

/// n₁·ln p + n₀·ln(1 − p) for so many (or so heavy) ones and zeros: rounded once. Where there are none, their logarithm
/// does not matter, be it −∞.
pub fn of_counts([ones, zeros]: [f64; 2], [ln_p, ln_q]: [f64; 2]) -> f64 {
    let mut total = Sum::default();
    for (count, logarithm) in [(ones, ln_p), (zeros, ln_q)] {
        if count != 0.0 {
            let product = count * logarithm;
            total.add(product);
            if product.is_finite() {
                total.add(count.mul_add(logarithm, -product));
            }
        }
    }
    total.value()
}

/// The weights of ones and of zeros; without weights their numbers.
pub fn counts(x: &Tosses, weights: Option<&[f64]>, n_threads: Option<usize>) -> Result<[f64; 2]> {
    let mut parts = zeros::<Part>(x.len().div_ceil(BLOCK))?;
    let threads = parallel::threads(n_threads, parts.len(), 0.1 * x.len() as f64);
    parallel::for_each(threads, parts.iter_mut().enumerate(), |(block, part)| {
        let first = block * BLOCK;
        let n = BLOCK.min(x.len() - first);
        let weights = weights.map(|weights| &weights[first..first + n]);
        *part = dispatch(Count { x, first, n, weights });
    });
    total(&parts, x)
}

/// A block's two sums, and whether every toss was 0 or 1.
#[derive(Clone, Copy, Default)]
struct Part {
    sums: [f64; 2],
    wrong: bool,
}

/// The sums of the blocks, in their order.
fn total(parts: &[Part], x: &Tosses) -> Result<[f64; 2]> {
    if parts.iter().any(|part| part.wrong) {
        return Err(x.wrong());
    }
    let mut sums = [Sum::default(); 2];
    for part in parts {
        for (sum, more) in sums.iter_mut().zip(part.sums) {
            sum.add(more);
        }
    }
    Ok(sums.map(Sum::value))
}

struct Count<'a> {
    x: &'a Tosses<'a>,
    first: usize,
    n: usize,
    weights: Option<&'a [f64]>,
}

impl Kernel for Count<'_> {
    type Output = Part;
    #[inline(always)]
    fn run<S: Simd>(self) -> Part {
        let mut buffer = [0; CHUNK];
        let mut part = Part::default();
        let (mut ones, mut weighted) = (0u64, [sum::Lanes::<S>::new(), sum::Lanes::<S>::new()]);
        for start in (0..self.n).step_by(CHUNK) {
            let n = CHUNK.min(self.n - start);
            let (x, right) = self.x.bytes(self.first + start, n, &mut buffer);
            part.wrong |= !right;
            match self.weights {
                None => {
                    for x in x.chunks(128) {
                        // At most 128 ones: their number fits a byte, and the compiler adds bytes side by side.
                        ones += u64::from(x.iter().fold(0u8, |sum, x| sum.wrapping_add(*x)));
                    }
                }
                Some(weights) => {
                    let mut parts = [[0.0; CHUNK]; 2];
                    for (i, (x, weight)) in x.iter().zip(&weights[start..start + n]).enumerate() {
                        let one = *x == 1;
                        parts[0][i] = if one { *weight } else { 0.0 };
                        parts[1][i] = if one { 0.0 } else { *weight };
                    }
                    weighted[0].add(&parts[0][..n]);
                    weighted[1].add(&parts[1][..n]);
                }
            }
        }
        part.sums = match self.weights {
            None => [ones as f64, (self.n as u64 - ones.min(self.n as u64)) as f64],
            Some(_) => [weighted[0].fold().value(), weighted[1].fold().value()],
        };
        part
    }
}

/// Σ weight·ln P(x); without weights each counts 1.
pub fn sum<T: Real>(
    model: &Model<T>,
    x: &Tosses,
    weights: Option<&[f64]>,
    n_threads: Option<usize>,
) -> Result<f64> {
    let mut parts = zeros::<Part>(x.len().div_ceil(BLOCK))?;
    let each = if model.logits || weights.is_some() { 2.0 } else { 0.4 };
    let threads = parallel::threads(n_threads, parts.len(), each * x.len() as f64);
    parallel::for_each(threads, parts.iter_mut().enumerate(), |(block, part)| {
        let first = block * BLOCK;
        let n = BLOCK.min(x.len() - first);
        let weights = weights.map(|weights| &weights[first..first + n]);
        *part = dispatch(SumOfBlock { model, x, first, n, weights });
    });
    Ok(total(&parts, x)?[0])
}

struct SumOfBlock<'a, T> {
    model: &'a Model<'a, T>,
    x: &'a Tosses<'a>,
    first: usize,
    n: usize,
    weights: Option<&'a [f64]>,
}

impl<T: Real> Kernel for SumOfBlock<'_, T> {
    type Output = Part;
    #[inline(always)]
    fn run<S: Simd>(self) -> Part {
        let (mut buffer, mut values) = ([0; CHUNK], [T::ZERO; CHUNK]);
        let (mut total, mut wrong) = (Sum::default(), false);
        let products = !(self.model.logits || self.weights.is_some());
        // Once a chunk's tosses were too sure, those of the block's others probably are, too.
        let mut plain = true;
        for start in (0..self.n).step_by(CHUNK) {
            let n = CHUNK.min(self.n - start);
            let (x, right) = self.x.bytes(self.first + start, n, &mut buffer);
            wrong |= !right;
            let values = self.model.values.part((self.first + start) as u64, n, &mut values);
            let mut product = None;
            if products {
                if plain {
                    product = log_of_product::<S, T, false>(values, x);
                    plain = product.is_some_and(|logarithm| logarithm <= PLAIN * n as f64);
                }
                if !plain {
                    product = log_of_product::<S, T, true>(values, x);
                }
            }
            total.add(match product {
                Some(logarithm) => logarithm,
                None => {
                    let mut terms = [0.0; CHUNK];
                    let terms = &mut terms[..n];
                    logarithms_of::<S, T>(values, self.model.logits, x, terms);
                    if let Some(weights) = self.weights {
                        for (term, weight) in terms.iter_mut().zip(&weights[start..start + n]) {
                            *term = if *weight == 0.0 { 0.0 } else { *weight * *term };
                        }
                    }
                    let mut lanes = sum::Lanes::<S>::new();
                    lanes.add(terms);
                    lanes.fold().value()
                }
            });
        }
        Part { sums: [total.value(), 0.0], wrong }
    }
}

/// ln Π P(x) of up to [`CHUNK`] tosses, or None where factors are too small for it; with REST what roundings lose is
/// kept.
#[inline(always)]
fn log_of_product<S: Simd, T: Real, const REST: bool>(p: &[T], x: &[u8]) -> Option<f64> {
    let one = constant::<S::F64>(1.0);
    let zero = constant::<S::F64>(0.0);
    let mut chains = [Chain::<S> { product: one, lost: zero, exponents: zero, least: one }; 2];
    let (mut normalised, whole) = (0, p.len() / STRETCH * STRETCH);
    let mut start = 0;
    while start < p.len() {
        // Tails under p = 0 are certain, and change nothing.
        let (mut last_p, mut last_x) = ([T::ZERO; STRETCH], [0; STRETCH]);
        let (p, x) = if start < whole {
            (&p[start..start + STRETCH], &x[start..start + STRETCH])
        } else {
            last_p[..p.len() - whole].copy_from_slice(&p[whole..]);
            last_x[..p.len() - whole].copy_from_slice(&x[whole..p.len()]);
            (&last_p[..], &last_x[..])
        };
        let mut i = 0;
        while i < STRETCH {
            let [low, high] = T::sixteen::<S>(&p[i..]);
            chains[0].multiply::<REST>(low, &x[i..]);
            chains[1].multiply::<REST>(high, &x[i + 8..]);
            i += 16;
        }
        chains[0].normalise();
        chains[1].normalise();
        normalised += 16;
        start += STRETCH;
    }
    let [a, b] = chains;
    if a.least.min(b.least).lt(constant(LEAST)).any() {
        return None;
    }
    let logarithm = (ln(a.product) + a.lost / a.product) + (ln(b.product) + b.lost / b.product);
    let mut exponents = [[0.0; 8]; 2];
    a.exponents.copy_to(&mut exponents[0]);
    b.exponents.copy_to(&mut exponents[1]);
    let sum: i64 = exponents.iter().flatten().map(|bits| bits.to_bits() as i64).sum();
    let k = (sum - 1022 * normalised) as f64;
    Some(k.mul_add(LN2_HI, k.mul_add(LN2_LO, logarithm.fold())))
}

/// Every factor 1 − p and every product may miss u = 2⁻⁵³: where the mean of the logarithms is at most this, that is 6 u of
/// their sum.
const PLAIN: f64 = -1.0 / 3.0;
/// Elements between two looks at the exponent: eight factors a lane.
const STRETCH: usize = 128;
/// A product of eight factors of at least this, and so every one before it, is far from where numbers lose digits.
const LEAST: f64 = f64::from_bits((1023 - 800) << 52);

/// ln 2 in two parts; the first times any exponent of a chunk is exact.
const LN2_HI: f64 = 0.693_147_180_369_123_8;
const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;

/// Eight products, each known as product + lost, times 2^(exponents − 1022·(how often normalised)).
#[derive(Clone, Copy)]
struct Chain<S: Simd> {
    product: S::F64,
    lost: S::F64,
    /// Sums of exponent fields, as integers.
    exponents: S::F64,
    /// The least product of each lane.
    least: S::F64,
}

impl<S: Simd> Chain<S> {
    /// Takes in eight tosses.
    #[inline(always)]
    fn multiply<const REST: bool>(&mut self, p: S::F64, x: &[u8]) {
        let mut eight = [0; 8];
        eight.copy_from_slice(&x[..8]);
        let [u, lost] = likelihood::<S>(p, &eight);
        // (P + e)·(u + r) = Pu + (rounding of Pu) + Pr + eu, up to the product of the two small ones.
        let product = self.product * u;
        if REST {
            let rounding = self.product.mul_add(u, -product);
            self.lost = self.lost.mul_add(u, self.product.mul_add(lost, rounding));
        }
        self.product = product;
    }

    /// Brings the product back to (½, 1].
    #[inline(always)]
    fn normalise(&mut self) {
        self.least = self.product.min(self.least);
        // The field of the number before the product: 1 keeps its place, and ln 1 is not made of two parts.
        let field = self.product.bits_sub(constant_bits::<S>(1)).bits_shr(52);
        self.exponents = self.exponents.bits_add(field);
        let scale = constant_bits::<S>(1022 + 1023).bits_sub(field).bits_shl(52);
        self.product = self.product * scale;
        self.lost = self.lost * scale;
    }
}

#[inline(always)]
fn constant_bits<S: Simd>(bits: u64) -> S::F64 {
    S::F64::splat(f64::from_bits(bits))
}

/// u = p where x is 1, 1 − p where it is 0, and what 1 − p lost to rounding.
#[inline(always)]
fn likelihood<S: Simd>(p: S::F64, x: &[u8; 8]) -> [S::F64; 2] {
    let (zero, one) = (constant::<S::F64>(0.0), constant::<S::F64>(1.0));
    let heads = S::nonzero_bytes(x);
    let tail = one - p;
    let lost = (one - tail) - p;
    [S::F64::select(heads, p, tail), S::F64::select(heads, zero, lost)]
}

/// ln P(x) of each toss.
#[inline(always)]
fn logarithms_of<S: Simd, T: Real>(values: &[T], logits: bool, x: &[u8], out: &mut [f64]) {
    let mut i = 0;
    while i < values.len() {
        let n = (values.len() - i).min(16);
        let (mut last_value, mut last_x) = ([T::ZERO; 16], [0; 16]);
        last_value[..n].copy_from_slice(&values[i..i + n]);
        last_x[..n].copy_from_slice(&x[i..i + n]);
        let vectors = T::sixteen::<S>(&last_value);
        let mut terms = [0.0; 16];
        let mut half = 0;
        while half < 2 {
            let mut eight = [0; 8];
            eight.copy_from_slice(&last_x[8 * half..8 * half + 8]);
            let term = if logits {
                let heads = S::nonzero_bytes(&eight);
                -softplus(S::F64::select(heads, -vectors[half], vectors[half]))
            } else {
                let [u, lost] = likelihood::<S>(vectors[half], &eight);
                ln_of_sum(u, lost)
            };
            term.copy_to(&mut terms[8 * half..]);
            half += 1;
        }
        out[i..i + n].copy_from_slice(&terms[..n]);
        i += 16;
    }
}

/// ln P(x) of each toss into `out`.
pub fn each<T: Real>(model: &Model<T>, x: &Tosses, out: &mut [T], n_threads: Option<usize>) -> Result<()> {
    // Every toss is looked at before anything is written.
    counts(x, None, n_threads)?;
    let threads = parallel::threads(n_threads, out.len().div_ceil(BLOCK), 2.0 * out.len() as f64);
    parallel::for_each(threads, out.chunks_mut(BLOCK).enumerate(), |(block, out)| {
        dispatch(Each { model, x, first: block * BLOCK, out });
    });
    Ok(())
}

struct Each<'a, T> {
    model: &'a Model<'a, T>,
    x: &'a Tosses<'a>,
    first: usize,
    out: &'a mut [T],
}

impl<T: Real> Kernel for Each<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (mut buffer, mut values, mut terms) = ([0; CHUNK], [T::ZERO; CHUNK], [0.0; CHUNK]);
        for (i, out) in self.out.chunks_mut(CHUNK).enumerate() {
            let (first, n) = (self.first + i * CHUNK, out.len());
            let (x, _) = self.x.bytes(first, n, &mut buffer);
            let values = self.model.values.part(first as u64, n, &mut values);
            logarithms_of::<S, T>(values, self.model.logits, x, &mut terms[..n]);
            for (out, term) in out.iter_mut().zip(&terms) {
                *out = T::of(*term);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    #[test]
    fn sums_do_not_depend_on_level_or_threads() {
        let n = 200_003;
        let p: Vec<f64> = (0..n).map(|i| (i % 1013) as f64 / 1012.0).collect();
        let x: Vec<u8> =
            p.iter().enumerate().map(|(i, p)| u8::from(*p > 0.999 || *p > 0.001 && i % 3 == 0)).collect();
        let weights: Vec<f64> = (0..n).map(|i| (i % 7) as f64 / 3.0).collect();
        let before = Level::current();
        let mut seen: Vec<[u64; 3]> = Vec::new();
        for level in Level::ALL.into_iter().filter(|level| level.set()) {
            for threads in [1, 2, 8] {
                let of = |logits, weights: Option<&[f64]>| {
                    let model = Model { values: Spread { values: &p, each: 1 }, logits };
                    sum(&model, &Tosses::U8(&x), weights, Some(threads)).unwrap().to_bits()
                };
                seen.push([of(false, None), of(true, None), of(false, Some(&weights))]);
                assert!(f64::from_bits(seen[0][0]) < -1e4, "{level:?}");
            }
        }
        before.set();
        assert!(seen.iter().all(|bits| *bits == seen[0]), "{seen:?}");
    }

    #[test]
    fn a_wrong_toss_is_named() {
        let model = Model { values: Spread { values: &[0.5], each: 1 }, logits: false };
        let error = sum(&model, &Tosses::F32(&[0.0, 1.0, 0.5]), None, None).unwrap_err();
        assert_eq!(error.to_string(), "x[2] is 0.5, but must be 0 or 1");
        assert!(counts(&Tosses::I8(&[1, -1]), None, None).is_err());
    }
}
