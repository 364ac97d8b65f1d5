//! Event by event: p·ln(p/q), −p·ln q, −p·ln p, and what they are at zero.
//!
//! p = 0 gives 0, whatever q; q = 0 < p gives +∞; an event where p or q is no finite number ≥ 0 gives NaN.
//!
//! Two loops compute the same bits. The first is for numbers whose exponents leave room on both sides; it notices what
//! is outside and the second, which scales such numbers first, is run in its place.

use crate::math::{Coefficients, constant, exp, ln};
use crate::simd::{Kernel, Mask, Real, Simd, Vector, dispatch, prefetch};
use crate::sum::{Lanes, Running};

/// A step for each of W vectors. (A closure would halt inlining.)
macro_rules! lockstep {
    ($i:ident, $step:expr) => {
        let mut $i = 0;
        while $i < W {
            $step;
            $i += 1;
        }
    };
}

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
    /// ln 2, rounded.
    const LN2: Self;
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
    const LN2: f32 = std::f32::consts::LN_2;
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
    const LN2: f64 = std::f64::consts::LN_2;
    const STEP: f64 = f64::from_bits(1);
    const ONES: f64 = f64::from_bits(!0);
}

/// ln(a/b) + `more`·ln 2 for normal a, b > 0, a in [LOW, HIGH]; of W vectors in lockstep, since one alone mostly waits.
///
/// a/b = 2ᵏ·a/b′, where b′ = 2ᵏ·b is the nearest to a by representation: ⅔ ≤ a/b′ ≤ 3/2. So a − b′ is exact (Sterbenz
/// 1974), and with s = (a − b′)/(a + b′), ln(a/b′) = 2·atanh s is right to the last bits also where a and b are nearly
/// the same; it is 0 where they are equal. Error below 4 u·|ln(a/b)| (of 80,000 pairs).
#[inline(always)]
fn log_ratio<V: Vector, const W: usize>(a: [V; W], b: [V; W], more: Option<[V; W]>) -> [V; W]
where
    V::Scalar: Format,
{
    let zeros = [V::splat(V::Scalar::ZERO); W];
    let (mut k, mut s, mut z, mut series) = (zeros, zeros, zeros, zeros);
    lockstep!(i, k[i] = a[i].bits_sub(b[i]).bits_add(V::splat(V::Scalar::ROUND)));
    lockstep!(i, {
        // −b′: the sign's bit of ROUND is still there.
        let minus = b[i].bits_add(k[i].and(V::splat(V::Scalar::EXPONENT_MASK)));
        s[i] = (a[i] + minus) / (a[i] - minus);
    });
    lockstep!(i, {
        let number = k[i].bits_shr(V::Scalar::FRACTION).or(V::splat(V::Scalar::INTEGER));
        k[i] = number - V::splat(V::Scalar::INTEGER_OFFSET);
        if let Some(more) = &more {
            k[i] = k[i] + more[i];
        }
    });
    lockstep!(i, z[i] = s[i] * s[i]);
    let coefficients = V::Scalar::RATIO;
    lockstep!(i, series[i] = V::splat(coefficients[0]));
    let mut power = 1;
    while power < coefficients.len() {
        lockstep!(i, series[i] = series[i].mul_add(z[i], V::splat(coefficients[power])));
        power += 1;
    }
    lockstep!(i, s[i] = s[i] * series[i].mul_add(z[i], constant(2.0)));
    // ln 2 in one piece: its error is a third of u, and |k|·ln 2 at most 2.4·|ln(a/b)|.
    lockstep!(i, s[i] = k[i].mul_add(V::splat(V::Scalar::LN2), s[i]));
    s
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

/// The terms of probabilities; `floor` is the least that q counts as. (For the entropy q is not looked at.) Returns
/// whether there was anything unusual.
pub fn of_probabilities<T: Format>(
    quantity: Quantity,
    floor: Option<T>,
    out: &mut [T],
    p: &[T],
    q: &[T],
) -> bool {
    dispatch(OfProbabilities { quantity, floor, out, p, q, any: false })
}

/// The same, where something unusual has been seen before.
pub fn of_any_probabilities<T: Format>(
    quantity: Quantity,
    floor: Option<T>,
    out: &mut [T],
    p: &[T],
    q: &[T],
) {
    dispatch(OfProbabilities { quantity, floor, out, p, q, any: true });
}

/// Adds the terms of probabilities to `sums` if nothing is unusual.
pub fn add_of_probabilities<T: Format>(
    quantity: Quantity,
    floor: Option<T>,
    sums: &mut Running,
    p: &[T],
    q: &[T],
) -> Seen {
    let (seen, more) = dispatch(SumOfProbabilities { quantity, floor, sums: *sums, p, q });
    if !seen.unusual {
        *sums = more;
    }
    seen
}

/// Calls a loop, compiled for what there is to compute. The one for ordinary numbers needs a normal floor.
macro_rules! by_case {
    ($quantity:expr, $floor:expr, $run:ident::<$($t:ident),*>($($argument:expr),*)) => {{
        let floor = $floor.unwrap_or(T::ZERO);
        let small = $floor.is_some() && floor < T::TINY;
        let seen = match ($quantity, $floor) {
            (Quantity::Entropy, _) => $run::<$($t,)* ENTROPY, false>(floor, $($argument),*),
            (Quantity::CrossEntropy, None) => $run::<$($t,)* CROSS_ENTROPY, false>(floor, $($argument),*),
            (Quantity::CrossEntropy, Some(_)) => $run::<$($t,)* CROSS_ENTROPY, true>(floor, $($argument),*),
            (Quantity::Divergence, None) => $run::<$($t,)* DIVERGENCE, false>(floor, $($argument),*),
            (Quantity::Divergence, Some(_)) => $run::<$($t,)* DIVERGENCE, true>(floor, $($argument),*),
        };
        Seen { unusual: seen.unusual || small && $quantity != Quantity::Entropy, ..seen }
    }};
}

struct OfProbabilities<'a, T> {
    quantity: Quantity,
    floor: Option<T>,
    out: &'a mut [T],
    p: &'a [T],
    q: &'a [T],
    any: bool,
}

impl<T: Format> Kernel for OfProbabilities<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        let OfProbabilities { quantity, floor, out, p, q, any } = self;
        let unusual = any || by_case!(quantity, floor, ordinary_terms::<T, S>(out, p, q)).unusual;
        if unusual {
            by_case!(quantity, floor, any_terms::<T, S>(out, p, q));
        }
        unusual
    }
}

struct SumOfProbabilities<'a, T> {
    quantity: Quantity,
    floor: Option<T>,
    sums: Running,
    p: &'a [T],
    q: &'a [T],
}

impl<T: Format> Kernel for SumOfProbabilities<'_, T> {
    type Output = (Seen, Running);
    #[inline(always)]
    fn run<S: Simd>(self) -> (Seen, Running) {
        let SumOfProbabilities { quantity, floor, sums, p, q } = self;
        let mut lanes = sums.lanes::<S>();
        let seen = by_case!(quantity, floor, ordinary_sum::<T, S>(&mut lanes, p, q));
        (seen, lanes.running())
    }
}

/// Vectors in lockstep: three or four are as fast with AVX2, but slower with AVX-512.
const WIDE: usize = 2;
/// Terms of a lane that are added plainly, before their sum is added with its errors.
const STRETCH: usize = 8;

#[inline(always)]
fn ordinary_terms<T: Format, S: Simd, const QUANTITY: u8, const CLIP: bool>(
    floor: T,
    out: &mut [T],
    p: &[T],
    q: &[T],
) -> Seen {
    let floor = T::Vector::<S>::splat(floor);
    let mut watch = Watch::new();
    let n = out.len();
    let q = if QUANTITY == ENTROPY { &p[..n] } else { &q[..n] };
    let zero = T::Vector::<S>::splat(T::ZERO);
    let step = WIDE * T::LANES;
    let whole = n - n % step;
    let vectors = p[..whole].chunks_exact(step).zip(q[..whole].chunks_exact(step));
    for (out, (p, q)) in out.chunks_exact_mut(step).zip(vectors) {
        let (p, q) = (several::<T, S>(p), several::<T, S>(q));
        let logarithms = logarithms::<_, QUANTITY, CLIP, WIDE>(floor, &mut watch, p, q);
        for i in 0..WIDE {
            // The sum with 0 makes −0 a 0.
            p[i].mul_add(logarithms[i], zero).copy_to(&mut out[i * T::LANES..]);
        }
    }
    if whole < n {
        let (out, p, q) = (&mut out[whole..], last::<T, S>(&p[whole..n]), last::<T, S>(&q[whole..]));
        let logarithms = logarithms::<_, QUANTITY, CLIP, WIDE>(floor, &mut watch, p, q);
        for i in 0..WIDE {
            let from = out.len().min(i * T::LANES);
            p[i].mul_add(logarithms[i], zero).copy_to_partial(&mut out[from..]);
        }
    }
    watch.seen::<QUANTITY>()
}

#[inline(always)]
fn ordinary_sum<T: Format, S: Simd, const QUANTITY: u8, const CLIP: bool>(
    floor: T,
    lanes: &mut Lanes<S>,
    p: &[T],
    q: &[T],
) -> Seen {
    let floor = T::Vector::<S>::splat(floor);
    let mut watch = Watch::new();
    let q = if QUANTITY == ENTROPY { p } else { &q[..p.len()] };
    let step = WIDE * T::LANES;
    for (p, q) in p.chunks(STRETCH * step).zip(q.chunks(STRETCH * step)) {
        let mut totals = [S::F64::splat(0.0); 2];
        let whole = p.len() - p.len() % step;
        for (p, q) in p[..whole].chunks_exact(step).zip(q[..whole].chunks_exact(step)) {
            add::<T, S, QUANTITY, CLIP>(
                floor,
                &mut watch,
                several::<T, S>(p),
                several::<T, S>(q),
                &mut totals,
            );
        }
        if whole < p.len() {
            let (p, q) = (last::<T, S>(&p[whole..]), last::<T, S>(&q[whole..]));
            add::<T, S, QUANTITY, CLIP>(floor, &mut watch, p, q, &mut totals);
        }
        lanes.add_lanes(totals[0] + totals[1]);
    }
    watch.seen::<QUANTITY>()
}

#[inline(always)]
fn add<T: Format, S: Simd, const QUANTITY: u8, const CLIP: bool>(
    floor: T::Vector<S>,
    watch: &mut Watch<T::Vector<S>>,
    p: [T::Vector<S>; WIDE],
    q: [T::Vector<S>; WIDE],
    totals: &mut [S::F64; 2],
) {
    let logarithms = logarithms::<_, QUANTITY, CLIP, WIDE>(floor, watch, p, q);
    T::accumulate_products::<S>(p, logarithms, totals);
}

/// Vectors of the next elements.
#[inline(always)]
fn several<T: Format, S: Simd>(x: &[T]) -> [T::Vector<S>; WIDE] {
    let mut vectors = [T::Vector::<S>::splat(T::ZERO); WIDE];
    for i in 0..WIDE {
        let x = &x[i * T::LANES..(i + 1) * T::LANES];
        prefetch(x, AHEAD);
        vectors[i] = T::Vector::<S>::from_slice(x);
    }
    vectors
}

/// Vectors of the last elements; zeros beyond.
#[inline(always)]
fn last<T: Format, S: Simd>(x: &[T]) -> [T::Vector<S>; WIDE] {
    let mut vectors = [T::Vector::<S>::splat(T::ZERO); WIDE];
    for i in 0..WIDE {
        vectors[i] = T::Vector::<S>::from_first(&x[x.len().min(i * T::LANES)..]);
    }
    vectors
}

/// What shows that a number is no ordinary one.
struct Watch<V> {
    /// All that must not be negative, one or-ed with the other.
    signs: V,
    /// Differences between numbers and what they were raised to: of 0 the least there is, of any other no such number.
    raised: V,
    /// The sums of p and q.
    sums: [V; 2],
}

impl<V: Vector> Watch<V>
where
    V::Scalar: Format,
{
    #[inline(always)]
    fn new() -> Self {
        let zero = V::splat(V::Scalar::ZERO);
        Watch { signs: zero, raised: zero, sums: [zero; 2] }
    }

    #[inline(always)]
    fn seen<const QUANTITY: u8>(self) -> Seen {
        let least = if QUANTITY == ENTROPY { V::Scalar::TINY } else { V::Scalar::LOW };
        let other = self.raised.and(V::splat(V::Scalar::ONES).xor(V::splat(least)));
        let bits = 8 * size_of::<V::Scalar>() as i32;
        // As numbers, with the exponent's first bits 0, they are more than 0 if any bit is set.
        let zero = V::splat(V::Scalar::ZERO);
        let negative = zero.lt(self.signs.bits_shr(bits - 1));
        let small = zero.lt(other.bits_shr(2)).or(zero.lt(other.bits_shl(bits - 2).bits_shr(2)));
        // A sum of positive numbers is beyond HIGH, or none, if one of them is.
        let high = V::splat(V::Scalar::HIGH);
        let large = self.sums[0].le(high).and(self.sums[1].le(high)).not();
        let unusual = negative.or(small).or(large).any();
        Seen { unusual, sums: [self.sums[0].fold().f64(), self.sums[1].fold().f64()] }
    }
}

/// The factors of p in its terms where all is as usual; where it is not, `watch` shows it.
#[inline(always)]
fn logarithms<V: Vector, const QUANTITY: u8, const CLIP: bool, const W: usize>(
    floor: V,
    watch: &mut Watch<V>,
    p: [V; W],
    q: [V; W],
) -> [V; W]
where
    V::Scalar: Format,
{
    let (low, tiny) = (V::splat(V::Scalar::LOW), V::splat(V::Scalar::TINY));
    let (mut a, mut b) = ([constant(1.0); W], q);
    lockstep!(i, {
        // Where p is 0 the logarithm is any finite number.
        if QUANTITY == DIVERGENCE {
            a[i] = p[i].max(low);
            watch.raised = watch.raised.or(a[i].xor(p[i]));
        }
        if QUANTITY == ENTROPY {
            b[i] = p[i].max(tiny);
            watch.raised = watch.raised.or(b[i].xor(p[i]));
        } else if CLIP {
            b[i] = q[i].max(floor);
        } else {
            // A difference of representations has the sign's bit set where a positive number is below a bound. One less
            // than 0 has every bit set: p = 0 needs nothing of q.
            let zero = p[i].bits_sub(V::splat(V::Scalar::STEP));
            let small = q[i].bits_sub(tiny).and(zero.xor(V::splat(V::Scalar::ONES)));
            watch.signs = watch.signs.or(small);
        }
        watch.signs = watch.signs.or(if QUANTITY == ENTROPY { p[i] } else { p[i].or(q[i]) });
        watch.sums[0] = watch.sums[0] + p[i];
        if QUANTITY != ENTROPY {
            watch.sums[1] = watch.sums[1] + q[i];
        }
    });
    log_ratio(a, b, None)
}

/// The terms of any numbers.
#[inline(always)]
fn any_terms<T: Format, S: Simd, const QUANTITY: u8, const CLIP: bool>(
    floor: T,
    out: &mut [T],
    p: &[T],
    q: &[T],
) -> Seen {
    let floor = T::Vector::<S>::splat(floor);
    let q = if QUANTITY == ENTROPY { p } else { q };
    for (out, (p, q)) in out.chunks_mut(T::LANES).zip(p.chunks(T::LANES).zip(q.chunks(T::LANES))) {
        let (p, q) = (T::Vector::<S>::from_first(p), T::Vector::<S>::from_first(q));
        careful::<_, QUANTITY, CLIP>(floor, p, q).copy_to_partial(out);
    }
    Seen { unusual: true, sums: [0.0; 2] }
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
    let [logarithm] = log_ratio([a], [b], Some([k_a - k_b]));
    let term = p.mul_add(logarithm, zero);

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
