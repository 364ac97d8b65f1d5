//! Functions of one real variable, written once for `f32` and `f64`, for vectors of any level and for single numbers.
//!
//! Every function uses only correctly rounded operations in a fixed order, so its bits do not depend on the processor
//! or the C library. Polynomials are near-minimax (Chebyshev or weighted least squares in 300-bit arithmetic).
//! The stated bounds are tested against mpmath, for `f32` against `f64` on a grid of all inputs.

#![allow(
    clippy::approx_constant,
    clippy::excessive_precision,
    reason = "fitted and published coefficients, as printed"
)]

mod beta;
pub mod scalar;

use crate::simd::{Mask, Real, Vector};

/// Constants of a floating-point format and the polynomials fitted to its precision, highest power first.
pub trait Coefficients: Real {
    /// Bits of the fraction.
    const FRACTION: i32;
    /// Bias of the exponent.
    const BIAS: f64;
    /// 1.5·2^FRACTION: adding it rounds to an integer, which then stands in the low bits.
    const MAGIC: Self;
    /// The bits of the fraction, as a number.
    const FRACTION_MASK: Self;
    /// √½.
    const SQRT_HALF: Self;
    /// +∞ and NaN.
    const INFINITY: Self;
    /// See [`Coefficients::INFINITY`].
    const NAN: Self;
    /// The smallest normal number.
    const TINY: Self;
    /// ln 2 in two parts: the first has trailing zeros, so that k·LN2_HI is exact for every exponent k.
    const LN2_HI: Self;
    /// See [`Coefficients::LN2_HI`].
    const LN2_LO: Self;
    /// exp(x) is 0 below, infinite above.
    const EXP_RANGE: (Self, Self);
    /// expm1(x) is −1 below.
    const EXP_M1_LOW: Self;
    /// (eʳ − 1 − r) / r² on |r| ≤ ½·ln 2.
    const EXP: &'static [Self];
    /// (ln((1 + s)/(1 − s)) − 2s) / s³ as a polynomial in s², |s| ≤ (√2 − 1)/(√2 + 1).
    const LN: &'static [Self];
    /// erf(x)/x as a polynomial in x², |x| ≤ 1.
    const ERF: &'static [Self];
    /// −ln erfc(x) as a polynomial in x − 1, from 1 to ERFC_HIGH.
    const ERFC: &'static [Self];
    /// erf(x) is 1 above.
    const ERFC_HIGH: Self;
    /// tanh(x)/x as a quotient of polynomials 1 + a·x² + x⁴·(…) in x², |x| ≤ TANH_HIGH: a and the polynomial.
    const TANH: [(Self, &'static [Self]); 2];
    /// tanh(x) is 1 above.
    const TANH_HIGH: Self;
    /// sin(2πx)/x and (cos(2πx) − 1)/x² as polynomials in x², |x| ≤ 1/8.
    const WAVE: [&'static [Self]; 2];
}

impl Coefficients for f32 {
    const FRACTION: i32 = 23;
    const BIAS: f64 = 127.0;
    const MAGIC: f32 = 12_582_912.0;
    const FRACTION_MASK: f32 = f32::from_bits(0x007f_ffff);
    const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    const INFINITY: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const TINY: f32 = f32::MIN_POSITIVE;
    const LN2_HI: f32 = 0.693_145_75;
    const LN2_LO: f32 = 1.428_606_8e-6;
    const EXP_RANGE: (f32, f32) = (-104.0, 89.0);
    const EXP_M1_LOW: f32 = -20.0;
    const EXP: &'static [f32] = &[0.00019729126, 0.0013934437, 0.008333583, 0.04166647, 0.16666666, 0.5];
    const LN: &'static [f32] = &[0.29580986, 0.3998876, 0.66666687];
    const ERF: &'static [f32] =
        &[7.875875e-05, -0.00080168643, 0.0051890872, -0.026854211, 0.11283594, -0.37612626, 1.1283791];
    const ERFC: &'static [f32] = &[
        -3.49465e-07,
        2.387243e-05,
        -0.00029489226,
        0.0020185905,
        -0.010050839,
        0.041565016,
        0.8431068,
        2.6389675,
        1.8496056,
    ];
    const ERFC_HIGH: f32 = 4.0;
    const TANH: [(f32, &'static [f32]); 2] = [
        (0.13382715, &[1.3385117e-08, 2.0636444e-05, 0.0034974949]),
        (0.46716034, &[7.7905975e-07, 0.00032885792, 0.025884496]),
    ];
    const TANH_HIGH: f32 = 9.02;
    const WAVE: [&'static [f32]; 2] =
        [&[41.47283, -76.69787, 81.6052, -41.3417, 6.2831855], &[59.424107, -85.44882, 64.93937, -19.739208]];
}

impl Coefficients for f64 {
    const FRACTION: i32 = 52;
    const BIAS: f64 = 1023.0;
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const FRACTION_MASK: f64 = f64::from_bits(0x000f_ffff_ffff_ffff);
    const SQRT_HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
    const INFINITY: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;
    const TINY: f64 = f64::MIN_POSITIVE;
    const LN2_HI: f64 = 0.693_147_180_369_123_8;
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
    const EXP_RANGE: (f64, f64) = (-746.0, 710.0);
    const EXP_M1_LOW: f64 = -40.0;
    const EXP: &'static [f64] = &[
        2.0914717341716378e-09,
        2.5105259538448494e-08,
        2.755727357010214e-07,
        2.7557255297969643e-06,
        2.4801587325605324e-05,
        0.0001984126987490126,
        0.001388888888888373,
        0.008333333333326112,
        0.04166666666666667,
        0.1666666666666667,
        0.5,
    ];
    const LN: &'static [f64] = &[
        0.14617807153417325,
        0.15331611722055008,
        0.1818289243253687,
        0.22222211089379496,
        0.28571428626253836,
        0.3999999999989889,
        0.666666666666667,
    ];
    const ERF: &'static [f64] = &[
        -7.795898827002142e-10,
        1.3720064546777686e-08,
        -1.6208483801871705e-07,
        1.6447424703317362e-06,
        -1.492473690741966e-05,
        0.00012055294904839707,
        -0.0008548325975389692,
        0.0052239776071164225,
        -0.02686617064323777,
        0.11283791670945006,
        -0.37612638903183543,
        1.1283791670955126,
    ];
    const ERFC: &'static [f64] = &[
        -1.0412602600341684e-12,
        2.886578118410881e-11,
        -3.6878567059594157e-10,
        2.8675507440704285e-09,
        -1.4927045872468635e-08,
        5.208761003399136e-08,
        -9.766448600177918e-08,
        -1.4266893368917254e-07,
        2.0594984557004564e-06,
        -9.60862874932638e-06,
        2.715891236350638e-05,
        -2.627776796583938e-05,
        -0.00023732252221282972,
        0.0019779025785144778,
        -0.010033825376193614,
        0.041561098041987016,
        0.8431072563586676,
        2.6389675142347886,
        1.8496055099332482,
    ];
    const ERFC_HIGH: f64 = 6.0;
    const TANH: [(f64, &'static [f64]); 2] = [
        (
            0.15180852610215442,
            &[
                2.5067936721558084e-23,
                7.425841362487145e-19,
                3.0673717050979865e-15,
                4.17458305814006e-12,
                2.441935984075419e-09,
                6.832925802260206e-07,
                9.362069377000777e-05,
                0.005975185925949137,
            ],
        ),
        (
            0.4851418594354872,
            &[
                6.23496940873525e-21,
                5.639564826983456e-17,
                1.2717160454408172e-13,
                1.1119448072204213e-10,
                4.465296987126283e-08,
                8.755955328614205e-06,
                0.0008282286498841841,
                0.03435580573777964,
            ],
        ),
    ];
    const TANH_HIGH: f64 = 19.07;
    const WAVE: [&'static [f64]; 2] = [
        &[
            -0.7116358090777528,
            3.8197881201631874,
            -15.094640403891544,
            42.05869392898878,
            -76.70585975299812,
            81.60524927607493,
            -41.34170224039976,
            6.283185307179586,
        ],
        &[
            -1.699034394065084,
            7.903206911569629,
            -26.42625327585472,
            60.24464135270201,
            -85.4568172066438,
            64.93939402266824,
            -19.739208802178716,
        ],
    ];
}

/// Shorthand for a constant in every lane.
#[inline(always)]
pub(crate) fn constant<V: Vector>(value: f64) -> V {
    V::splat(V::Scalar::of(value))
}

/// Horner's rule with one rounding a step.
#[inline(always)]
fn polynomial<V: Vector>(x: V, coefficients: &'static [V::Scalar]) -> V {
    let mut sum = V::splat(coefficients[0]);
    let mut i = 1;
    while i < coefficients.len() {
        sum = sum.mul_add(x, V::splat(coefficients[i]));
        i += 1;
    }
    sum
}

/// The representation of a scalar moved to the right place: 2ᵏ for an integer −BIAS < k ≤ BIAS.
#[inline(always)]
fn power_of_two<V: Vector>(k: V) -> V {
    let biased = k + (V::splat(V::Scalar::MAGIC) + constant(V::Scalar::BIAS));
    biased.bits_shl(V::Scalar::FRACTION)
}

/// The integer nearest to x/ln 2.
#[inline(always)]
fn nearest_power<V: Vector>(x: V) -> V {
    let magic = V::splat(V::Scalar::MAGIC);
    x.mul_add(constant(std::f64::consts::LOG2_E), magic) - magic
}

/// x = k·ln 2 + r with integer k and |r| ≤ ½·ln 2 (Cody and Waite 1980, two-part reduction).
#[inline(always)]
fn reduce<V: Vector>(x: V) -> (V, V) {
    let k = nearest_power(x);
    let r = k.mul_add(-V::splat(V::Scalar::LN2_HI), x);
    (k, k.mul_add(-V::splat(V::Scalar::LN2_LO), r))
}

/// x clamped to a range; NaN becomes the lower bound.
#[inline(always)]
fn clamp<V: Vector>(x: V, low: V::Scalar, high: V::Scalar) -> V {
    x.max(V::splat(low)).min(V::splat(high))
}

/// eˣ. Error at most 1 ULP (f64 too), denormal results included.
#[inline(always)]
pub fn exp<V: Vector>(x: V) -> V {
    let (low, high) = V::Scalar::EXP_RANGE;
    let (k, r) = reduce(clamp(x, low, high));
    let one = constant::<V>(1.0);
    let y = r.mul_add(r.mul_add(polynomial(r, V::Scalar::EXP), one), one);
    // 2ᵏ in two factors: k reaches beyond the exponents of normal numbers on both sides.
    let magic = V::splat(V::Scalar::MAGIC);
    let half = k.mul_add(constant(0.5), magic) - magic;
    let y = y * power_of_two(half) * power_of_two(k - half);
    V::select(x.eq(x), y, x)
}

/// What [`exp_scaled`] multiplies by: of the format's exponents a quarter.
pub(crate) fn scale<T: Coefficients>() -> f64 {
    let half = (T::BIAS as i32 + 1) / 2;
    f64::from_bits(((1023 + half) as u64) << 52)
}

/// eˣ·2^((BIAS + 1)/2) for x ≤ 0, where no result is denormal: sums of small numbers lose nothing. Error at most 1 ULP;
/// below the range of [`exp`] something that becomes 0 when the scale is taken away. NaN stays.
#[inline(always)]
pub(crate) fn exp_scaled<V: Vector>(x: V) -> V {
    let half = (V::Scalar::BIAS + 1.0) / 2.0;
    // −ln 2 times the smallest exponent there is room for, and a little less.
    let least = constant::<V>(-0.69 * (V::Scalar::BIAS - 1.0 + half));
    let (k, r) = reduce(least.max(x));
    let one = constant::<V>(1.0);
    let y = r.mul_add(r.mul_add(polynomial(r, V::Scalar::EXP), one), one);
    let biased = k + (V::splat(V::Scalar::MAGIC) + constant(V::Scalar::BIAS + half));
    y * biased.bits_shl(V::Scalar::FRACTION)
}

/// eˣ − 1, right near 0 too. Error at most 1 ULP (f64 too).
#[inline(always)]
pub fn exp_m1<V: Vector>(x: V) -> V {
    let (_, high) = V::Scalar::EXP_RANGE;
    let z = clamp(x, V::Scalar::EXP_M1_LOW, high);
    let k = nearest_power(z);
    // The reduced argument in two parts, the first of them exact; low = eʳ − 1 − first.
    let first = k.mul_add(-V::splat(V::Scalar::LN2_HI), z);
    let second = k * -V::splat(V::Scalar::LN2_LO);
    let r = first + second;
    let low = (r * r).mul_add(polynomial(r, V::Scalar::EXP), second);
    // 2ᵏ·(first + low) + 2ᵏ − 1, where the roundings of 2ᵏ − 1 and of the sum go to the small terms.
    // The largest k has no power of two of its own.
    let one = constant::<V>(1.0);
    let most = constant::<V>(V::Scalar::BIAS);
    let power = power_of_two(k.min(most));
    let less = power - one;
    let sum = first.mul_add(power, less);
    let lost = first.mul_add(power, less - sum) + ((power - less) - one);
    let y = (sum + low.mul_add(power, lost)) * V::select(most.lt(k), constant(2.0), one);
    // x itself where it is so small that r² vanishes (keeps −0 and denormals) and where it is NaN.
    V::select(V::splat(V::Scalar::TINY).lt(x.abs()), y, x)
}

/// ln of (the positive, normal or denormal) u, plus a correction: the common part of `ln` and `ln_1p`.
/// u = 2ᵏ·m, √½ ≤ m < √2, f = m − 1, s = f/(2 + f): ln m = f − (f²/2 − s·(f²/2 + R(s²))) (fdlibm's e_log.c).
#[inline(always)]
fn ln_positive<V: Vector>(u: V, correction: V) -> V {
    let fraction = V::Scalar::FRACTION;
    // Denormals are scaled up by 2^(FRACTION + 1).
    let denormal = u.lt(V::splat(V::Scalar::TINY));
    let two_power = power_of_two(constant::<V>(f64::from(fraction + 1)));
    let shift =
        V::select(denormal, constant(V::Scalar::BIAS + f64::from(fraction + 1)), constant(V::Scalar::BIAS));
    let u = V::select(denormal, u * two_power, u);

    let sqrt_half = V::splat(V::Scalar::SQRT_HALF);
    let moved = u.bits_add(constant::<V>(1.0).bits_sub(sqrt_half));
    let two_fraction = power_of_two(constant::<V>(f64::from(fraction)));
    let k = moved.bits_shr(fraction).or(two_fraction) - two_fraction - shift;
    let m = moved.and(V::splat(V::Scalar::FRACTION_MASK)).bits_add(sqrt_half);

    let f = m - constant(1.0);
    let s = f / (constant::<V>(2.0) + f);
    let z = s * s;
    let half_square = constant::<V>(0.5) * f * f;
    let series = s * z.mul_add(polynomial(z, V::Scalar::LN), half_square);
    let low = k.mul_add(V::splat(V::Scalar::LN2_LO), correction) + series;
    k.mul_add(V::splat(V::Scalar::LN2_HI), f - (half_square - low))
}

/// ln x. Error at most 1 ULP; −∞ at 0, NaN below.
#[inline(always)]
pub fn ln<V: Vector>(x: V) -> V {
    let zero = V::splat(V::Scalar::ZERO);
    let y = ln_positive(x, zero);
    let y = V::select(x.lt(V::splat(V::Scalar::INFINITY)), y, x);
    let below = V::select(x.lt(zero), V::splat(V::Scalar::NAN), y);
    V::select(x.eq(zero), -V::splat(V::Scalar::INFINITY), below)
}

/// ln(u + e) for 0 ≤ u ≤ 1 and an e of at most half the last place of u: the logarithm of a sum with what it lost.
/// −∞ at 0.
#[inline(always)]
pub fn ln_of_sum<V: Vector>(u: V, e: V) -> V {
    let zero = V::splat(V::Scalar::ZERO);
    V::select(u.eq(zero), -V::splat(V::Scalar::INFINITY), ln_positive(u, e / u))
}

/// ln(1 + x), right near 0 too. Error at most 1 ULP; −∞ at −1, NaN below.
#[inline(always)]
pub fn ln_1p<V: Vector>(x: V) -> V {
    let one = constant::<V>(1.0);
    let u = one + x;
    // What the sum lost, exactly (Knuth's two-sum); ln(u + e) = ln u + e/u up to e².
    let back = u - one;
    let lost = (one - (u - back)) + (x - back);
    let y = ln_positive(u, lost / u);
    let y = V::select(x.lt(V::splat(V::Scalar::INFINITY)), y, x);
    let y = V::select(x.lt(-one), V::splat(V::Scalar::NAN), y);
    let y = V::select(x.eq(-one), -V::splat(V::Scalar::INFINITY), y);
    V::select(V::splat(V::Scalar::TINY).lt(x.abs()).or(x.abs().eq(one)), y, x)
}

/// The sign of `sign` on the magnitude `x` ≥ 0.
#[inline(always)]
fn with_sign<V: Vector>(x: V, sign: V) -> V {
    x.or(sign.and(constant(-0.0)))
}

/// tanh x = x·P(x²)/Q(x²), a minimax quotient (weighted least squares with Lawson's weights). Error at most 5 ULP:
/// every coefficient is positive, so that nothing cancels, and the first two powers are added last. Clamped to ±1 at
/// the end: 1 − tanh² must not be negative. NaN passes through: it is the second operand of max and min.
#[inline(always)]
pub fn tanh<V: Vector>(x: V) -> V {
    let high = V::splat(V::Scalar::TANH_HIGH);
    let one = constant::<V>(1.0);
    let x = high.min((-high).max(x));
    let square = x * x;
    let fourth = square * square;
    let [(p, numerator), (q, denominator)] = V::Scalar::TANH;
    let numerator = fourth.mul_add(polynomial(square, numerator), V::splat(p).mul_add(square, one));
    let denominator = fourth.mul_add(polynomial(square, denominator), V::splat(q).mul_add(square, one));
    one.min((-one).max(x * numerator / denominator))
}

/// The logistic function 1/(1 + e⁻ˣ). Error at most 3 ULP, for small values too.
#[inline(always)]
pub fn sigmoid<V: Vector>(x: V) -> V {
    let e = exp(-x.abs());
    let upper = constant::<V>(1.0) / (constant::<V>(1.0) + e);
    V::select(x.lt(V::splat(V::Scalar::ZERO)), e * upper, upper)
}

/// ln(1 + eˣ) = max(x, 0) + ln(1 + exp(−|x|)). Error at most 3 ULP.
#[inline(always)]
pub fn softplus<V: Vector>(x: V) -> V {
    x.max(V::splat(V::Scalar::ZERO)) + ln_1p(exp(-x.abs()))
}

/// The error function: an odd polynomial up to 1, 1 − exp(−P(|x| − 1)) beyond. Error at most 3 ULP.
#[inline(always)]
pub fn erf<V: Vector>(x: V) -> V {
    let one = constant::<V>(1.0);
    let near = x * polynomial(x * x, V::Scalar::ERF);
    let excess = x.abs().min(V::splat(V::Scalar::ERFC_HIGH)) - one;
    let far = with_sign(one - exp(-polynomial(excess, V::Scalar::ERFC)), x);
    V::select(one.lt(x.abs()), far, near)
}

/// sin 2πx and cos 2πx. Error at most 2 ULP; exact at multiples of ¼, and for every x the whole turns and quarters are
/// taken off exactly: adding 2^FRACTION rounds |x| below it to an integer, and beyond there are no others. NaN of
/// infinities.
#[inline(always)]
pub fn sin_cos_2pi<V: Vector>(x: V) -> (V, V) {
    let big = power_of_two(constant::<V>(f64::from(V::Scalar::FRACTION)));
    let (zero, one, quarter) = (V::splat(V::Scalar::ZERO), constant::<V>(1.0), constant::<V>(0.25));
    let size = x.abs();
    let turns = (size + big) - big;
    let part = V::select(size.lt(big), size - turns, size * zero);
    // part = quarters/4 + f, |f| ≤ 1/8
    let magic = V::splat(V::Scalar::MAGIC);
    let quarters = part.mul_add(constant(4.0), magic) - magic;
    let f = quarters.mul_add(-quarter, part);
    let square = f * f;
    let [sine, cosine] = V::Scalar::WAVE;
    let sine = f * polynomial(square, sine);
    let cosine = square.mul_add(polynomial(square, cosine), one);
    let (odd, half) = (quarters.abs().eq(one), one.lt(quarters.abs()));
    let sin = V::select(odd, cosine, sine);
    let cos = V::select(odd, sine, cosine);
    // A zero is +0, but for sines of negative x, as in IEEE 754's sinPi and cosPi.
    let sin = V::select(half.or(quarters.eq(-one)), -sin, sin) + zero;
    let cos = V::select(half.or(quarters.eq(one)), -cos, cos) + zero;
    (sin.xor(x.and(constant(-0.0))), cos)
}

/// See [`sin_cos_2pi`].
#[inline(always)]
pub fn sin_2pi<V: Vector>(x: V) -> V {
    sin_cos_2pi(x).0
}

/// See [`sin_cos_2pi`].
#[inline(always)]
pub fn cos_2pi<V: Vector>(x: V) -> V {
    sin_cos_2pi(x).1
}

// The tests against mpmath and over float32 inputs stand in tests/test_math.py, through the module's own bindings.
