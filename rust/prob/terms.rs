//! Event by event: p·ln(p/q), −p·ln q, −p·ln p, and what they are at zero.
//!
//! p = 0 gives 0, whatever q; q = 0 < p gives +∞; an event where p or q is no finite number ≥ 0 gives NaN.
//!
//! Two loops compute the same bits. The first is for numbers whose exponents leave room on both sides; it notices what
//! is outside and the second, which scales such numbers first, is run in its place.

use crate::math::{Coefficients, constant, exp, ln};
use crate::simd::{Kernel, Mask, Real, Simd, Vector, dispatch, prefetch};

/// Constants of [`log_ratio`], as numbers or as patterns of bits.
pub trait Format: Coefficients {
    /// (ln((1 + s)/(1 − s)) − 2s) / s³ as a polynomial in s², |s| ≤ 1/5, highest power first; relative error ½ u.
    const RATIO: &'static [Self];
    /// Half a unit of the exponent, plus the sign's bit, which keeps the sum positive.
    const ROUND: Self;
    /// The bits of sign and exponent.
    const EXPONENT_MASK: Self;
    /// 2^FRACTION: with an integer in the fraction of its representation it is that number more.
    const INTEGER: Self;
    /// 2^FRACTION + 2^(width of the exponent): what [`Format::INTEGER`] and [`Format::ROUND`] add to the exponent.
    const INTEGER_OFFSET: Self;
    /// p from LOW to HIGH, q from TINY to HIGH need no scaling.
    const LOW: Self;
    /// See [`Format::LOW`].
    const HIGH: Self;
    /// The smallest step of a representation, and all its bits.
    const STEP: Self;
    /// See [`Format::STEP`].
    const ONES: Self;
}

impl Format for f32 {
    const RATIO: &'static [f32] = &[0.29955617, 0.39979017, 0.66666716];
    const ROUND: f32 = f32::from_bits((1 << 22) | (1 << 31));
    const EXPONENT_MASK: f32 = f32::from_bits(!0 << 23);
    const INTEGER: f32 = 8_388_608.0;
    const INTEGER_OFFSET: f32 = 8_388_608.0 + 256.0;
    const LOW: f32 = f32::from_bits(2 << 23);
    const HIGH: f32 = f32::from_bits(253 << 23);
    const STEP: f32 = f32::from_bits(1);
    const ONES: f32 = f32::from_bits(!0);
}

#[allow(clippy::excessive_precision, reason = "fitted coefficients, as printed")]
impl Format for f64 {
    const RATIO: &'static [f64] = &[
        0.15113699224250918,
        0.15284230642385288,
        0.18184588686143008,
        0.22222183179146138,
        0.285714288326925,
        0.3999999999934561,
        0.6666666666666693,
    ];
    const ROUND: f64 = f64::from_bits((1 << 51) | (1 << 63));
    const EXPONENT_MASK: f64 = f64::from_bits(!0 << 52);
    const INTEGER: f64 = 4_503_599_627_370_496.0;
    const INTEGER_OFFSET: f64 = 4_503_599_627_370_496.0 + 2048.0;
    const LOW: f64 = f64::from_bits(2 << 52);
    const HIGH: f64 = f64::from_bits(2045 << 52);
    const STEP: f64 = f64::from_bits(1);
    const ONES: f64 = f64::from_bits(!0);
}

/// ln(a/b) + `more`·ln 2 for normal a, b > 0, a in [LOW, HIGH].
///
/// a/b = 2ᵏ·a/b′, where b′ = 2ᵏ·b is the nearest to a by representation: ⅔ ≤ a/b′ ≤ 3/2. So a − b′ is exact (Sterbenz
/// 1974), and with s = (a − b′)/(a + b′), ln(a/b′) = 2·atanh s is right to the last bits also where a and b are nearly
/// the same; it is 0 where they are equal. Error below 4 u·|ln(a/b)|.
#[inline(always)]
fn log_ratio<V: Vector>(a: V, b: V, more: Option<V>) -> V
where
    V::Scalar: Format,
{
    let moved = a.bits_sub(b).bits_add(V::splat(V::Scalar::ROUND));
    // −b′: the sign's bit of ROUND is still there.
    let minus = b.bits_add(moved.and(V::splat(V::Scalar::EXPONENT_MASK)));
    let k = moved.bits_shr(V::Scalar::FRACTION).or(V::splat(V::Scalar::INTEGER));
    let k = k - V::splat(V::Scalar::INTEGER_OFFSET);
    let k = match more {
        Some(more) => k + more,
        None => k,
    };
    let s = (a + minus) / (a - minus);
    let z = s * s;
    let coefficients = V::Scalar::RATIO;
    let mut series = V::splat(coefficients[0]);
    let mut i = 1;
    while i < coefficients.len() {
        series = series.mul_add(z, V::splat(coefficients[i]));
        i += 1;
    }
    let low = s.mul_add(z * series, k * V::splat(V::Scalar::LN2_LO));
    k.mul_add(V::splat(V::Scalar::LN2_HI), s.mul_add(constant(2.0), low))
}

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// −p·ln p
    Entropy,
    /// −p·ln q
    CrossEntropy,
    /// p·ln(p/q)
    Divergence,
}

/// How many bytes ahead data are asked for.
const AHEAD: usize = 2048;

const ENTROPY: u8 = 0;
const CROSS_ENTROPY: u8 = 1;
const DIVERGENCE: u8 = 2;

/// What was seen on the way.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Whether there was anything out of the ordinary: a zero of q alone, a denormal, huge, negative or no number.
    pub unusual: bool,
    /// The sums of p and q, as exact as a chunk's number of additions in T allows.
    pub sums: [f64; 2],
}

/// The terms of probabilities; `floor` is the least that q counts as. (For the entropy q is not looked at.)
pub fn of_probabilities<T: Format>(
    quantity: Quantity,
    floor: Option<T>,
    out: &mut [T],
    p: &[T],
    q: &[T],
) -> Seen {
    dispatch(OfProbabilities { quantity, floor, out, p, q })
}

struct OfProbabilities<'a, T> {
    quantity: Quantity,
    floor: Option<T>,
    out: &'a mut [T],
    p: &'a [T],
    q: &'a [T],
}

impl<T: Format> Kernel for OfProbabilities<'_, T> {
    type Output = Seen;
    #[inline(always)]
    fn run<S: Simd>(self) -> Seen {
        let OfProbabilities { quantity, floor, out, p, q } = self;
        macro_rules! each {
            ($($pattern:pat => $q:ident $clip:literal,)*) => {
                match (quantity, floor) {
                    $($pattern => {
                        let floor = floor.unwrap_or(T::ZERO);
                        let mut seen = run::<T, S, $q, $clip, false>(floor, out, p, q);
                        // The first loop needs a normal floor.
                        seen.unusual |= $clip && floor < T::TINY;
                        if seen.unusual {
                            run::<T, S, $q, $clip, true>(floor, out, p, q);
                        }
                        seen
                    })*
                }
            };
        }
        each!(
            (Quantity::Entropy, _) => ENTROPY false,
            (Quantity::CrossEntropy, None) => CROSS_ENTROPY false,
            (Quantity::CrossEntropy, Some(_)) => CROSS_ENTROPY true,
            (Quantity::Divergence, None) => DIVERGENCE false,
            (Quantity::Divergence, Some(_)) => DIVERGENCE true,
        )
    }
}

#[inline(always)]
fn run<T: Format, S: Simd, const QUANTITY: u8, const CLIP: bool, const CAREFUL: bool>(
    floor: T,
    out: &mut [T],
    p: &[T],
    q: &[T],
) -> Seen {
    let floor = T::Vector::<S>::splat(floor);
    let zero = T::Vector::<S>::splat(T::ZERO);
    let (mut flags, mut sums) = (zero, [zero; 2]);
    let n = out.len();
    let q = if QUANTITY == ENTROPY { &p[..n] } else { &q[..n] };
    let whole = n - n % T::LANES;
    let vectors = p[..whole].chunks_exact(T::LANES).zip(q.chunks_exact(T::LANES));
    for (out, (p, q)) in out.chunks_exact_mut(T::LANES).zip(vectors) {
        prefetch(p, AHEAD);
        prefetch(q, AHEAD);
        let (p, q) = (T::Vector::<S>::from_slice(p), T::Vector::<S>::from_slice(q));
        let term = if CAREFUL {
            careful::<_, QUANTITY, CLIP>(floor, p, q)
        } else {
            ordinary::<_, QUANTITY, CLIP>(floor, &mut flags, &mut sums, p, q)
        };
        term.copy_to(out);
    }
    if whole < n {
        let p = T::Vector::<S>::from_partial(&p[whole..n], T::ZERO);
        let q = T::Vector::<S>::from_partial(&q[whole..n], T::ZERO);
        let term = if CAREFUL {
            careful::<_, QUANTITY, CLIP>(floor, p, q)
        } else {
            ordinary::<_, QUANTITY, CLIP>(floor, &mut flags, &mut sums, p, q)
        };
        term.copy_to_partial(&mut out[whole..]);
    }
    // The signs' bits of `flags` count; brought down to the lowest place they make denormals.
    let flagged = zero.lt(flags.bits_shr(8 * size_of::<T>() as i32 - 1)).any();
    // A sum of positive numbers is beyond HIGH, or none, if one of them is.
    let high = T::Vector::<S>::splat(T::HIGH);
    let large = sums[0].le(high).and(sums[1].le(high)).not().any();
    Seen { unusual: flagged || large, sums: [sums[0].fold().f64(), sums[1].fold().f64()] }
}

/// The terms where all is as usual; where it is not, a sign's bit is set in `flags`.
#[inline(always)]
fn ordinary<V: Vector, const QUANTITY: u8, const CLIP: bool>(
    floor: V,
    flags: &mut V,
    sums: &mut [V; 2],
    p: V,
    q: V,
) -> V
where
    V::Scalar: Format,
{
    let low = V::splat(V::Scalar::LOW);
    let tiny = V::splat(V::Scalar::TINY);
    let b = match QUANTITY {
        ENTROPY => p.max(tiny),
        _ if CLIP => q.max(floor),
        _ => q,
    };
    // Where p is 0 the logarithm is any finite number.
    let a = if QUANTITY == DIVERGENCE { p.max(low) } else { constant(1.0) };
    // The sum with 0 makes −0 a 0.
    let term = p.mul_add(log_ratio(a, b, None), V::splat(V::Scalar::ZERO));

    sums[0] = sums[0] + p;
    let mut negative = p;
    if QUANTITY != ENTROPY {
        sums[1] = sums[1] + q;
        negative = negative.or(q);
    }
    *flags = flags.or(negative);
    // A difference of representations has the sign's bit set where a positive number is below a bound.
    let small = match (QUANTITY, CLIP) {
        (ENTROPY, _) => Some(p.bits_sub(tiny)),
        (CROSS_ENTROPY, true) => None,
        (CROSS_ENTROPY, false) => Some(q.bits_sub(tiny)),
        (_, true) => Some(p.bits_sub(low)),
        (_, false) => Some(p.bits_sub(low).or(q.bits_sub(tiny))),
    };
    if let Some(small) = small {
        // One less than 0 has every bit set: p = 0 needs nothing of q, nor of itself.
        let zero = p.bits_sub(V::splat(V::Scalar::STEP));
        *flags = flags.or(small.and(zero.xor(V::splat(V::Scalar::ONES))));
    }
    term
}

/// 2⁶⁴ brings every denormal among the normal numbers of its format, of 2⁻⁶⁴ times the largest there is room above.
const SCALING: f64 = 64.0;

/// The terms of any numbers.
#[inline(always)]
fn careful<V: Vector, const QUANTITY: u8, const CLIP: bool>(floor: V, p: V, q: V) -> V
where
    V::Scalar: Format,
{
    let (zero, one) = (V::splat(V::Scalar::ZERO), constant::<V>(1.0));
    let infinity = V::splat(V::Scalar::INFINITY);
    let valid = zero.le(p).and(p.lt(infinity)).and(zero.le(q)).and(q.lt(infinity));
    let b = if CLIP { q.max(floor) } else { q };
    let event = zero.lt(p);
    let possible = zero.lt(b);

    let a = if QUANTITY == DIVERGENCE { V::select(event, p, one) } else { one };
    let (a, k_a) = scaled(a, V::splat(V::Scalar::LOW));
    let (b, k_b) = scaled(V::select(possible, b, one), V::splat(V::Scalar::TINY));
    let term = p.mul_add(log_ratio(a, b, Some(k_a - k_b)), zero);

    let term = V::select(possible, term, infinity);
    let term = V::select(event, term, zero);
    V::select(valid, term, V::splat(V::Scalar::NAN))
}

/// x·2⁻ᵏ, k: x itself unless it is below `low` or above HIGH.
#[inline(always)]
fn scaled<V: Vector>(x: V, low: V) -> (V, V)
where
    V::Scalar: Format,
{
    const UP: f64 = (1u128 << 64) as f64;
    let (small, large) = (x.lt(low), V::splat(V::Scalar::HIGH).lt(x));
    let factor = V::select(small, constant(UP), V::select(large, constant(1.0 / UP), constant(1.0)));
    let k = V::select(large, constant(SCALING), V::splat(V::Scalar::ZERO));
    (x * factor, V::select(small, constant(-SCALING), k))
}

/// Probabilities, or their logarithms.
#[derive(Clone, Copy)]
pub enum Values<'a, T> {
    /// p
    Plain(&'a [T]),
    /// ln p
    Logarithms(&'a [T]),
}

/// The terms where p or q are given by their logarithms: p·(ln p − ln q), −p·ln q, −p·ln p.
pub fn of_logarithms<T: Format>(
    quantity: Quantity,
    floor: Option<T>,
    out: &mut [T],
    p: Values<'_, T>,
    q: Values<'_, T>,
) {
    dispatch(OfLogarithms { quantity, floor, out, p, q });
}

struct OfLogarithms<'a, T> {
    quantity: Quantity,
    floor: Option<T>,
    out: &'a mut [T],
    p: Values<'a, T>,
    q: Values<'a, T>,
}

impl<T: Format> Kernel for OfLogarithms<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let zero = T::Vector::<S>::splat(T::ZERO);
        // −∞ takes the place of nothing.
        let least = match self.floor {
            Some(floor) => ln(T::Vector::<S>::splat(floor)),
            None => -T::Vector::<S>::splat(T::INFINITY),
        };
        for (i, out) in self.out.chunks_mut(T::LANES).enumerate() {
            let (p, log_p) = both::<T, S>(self.p, i * T::LANES);
            let (_, log_q) = if self.quantity == Quantity::Entropy {
                (p, log_p)
            } else {
                both::<T, S>(self.q, i * T::LANES)
            };
            // Not `max`: NaN stays.
            let log_q = T::Vector::<S>::select(log_q.lt(least), least, log_q);
            let minuend = if self.quantity == Quantity::Divergence { log_p } else { zero };
            let term = p.mul_add(minuend - log_q, zero);
            T::Vector::<S>::select(p.eq(zero), zero, term).copy_to_partial(out);
        }
    }
}

/// A vector of p, and of ln p.
#[inline(always)]
fn both<T: Format, S: Simd>(values: Values<'_, T>, from: usize) -> (T::Vector<S>, T::Vector<S>) {
    match values {
        Values::Plain(p) => {
            let p = T::Vector::<S>::from_partial(&p[from..], T::ONE);
            let finite = p.lt(T::Vector::<S>::splat(T::INFINITY));
            (p, T::Vector::<S>::select(finite, ln(p), T::Vector::<S>::splat(T::NAN)))
        }
        Values::Logarithms(log_p) => {
            let log_p = T::Vector::<S>::from_partial(&log_p[from..], T::ZERO);
            (exp(log_p), log_p)
        }
    }
}
