//! The vector functions of single `f64` numbers, with the same bits; and functions that are only wanted one at a time.

#![allow(clippy::excessive_precision, reason = "published coefficients, as printed")]

pub use super::beta::beta_quantile;
use crate::simd::Lanes;

macro_rules! scalar {
    ($($name:ident),*) => {$(
        #[doc = concat!("[`super::", stringify!($name), "`] of one number.")]
        pub fn $name(x: f64) -> f64 {
            super::$name(Lanes([x])).0[0]
        }
    )*};
}
scalar!(exp, exp_m1, ln, ln_1p, sigmoid, softplus, erf, tanh);

/// cos(2π·x), absolute error about 1e-16: a circle is one turn, so that reducing x to an eighth of it is exact.
pub fn cos_turns(x: f64) -> f64 {
    fn polynomial(x: f64, coefficients: [f64; 8]) -> f64 {
        coefficients.into_iter().fold(0.0, |sum, c| x.mul_add(sum, c))
    }
    // cos(2πr) and sin(2πr)/r as polynomials in r², |r| ≤ 1/8.
    const COS: [f64; 8] = [
        -1.6968477245567357,
        7.903091599093211,
        -26.426250906863718,
        60.24464132885012,
        -85.45681720652263,
        64.93939402266795,
        -19.739208802178716,
        1.0,
    ];
    const SIN: [f64; 8] = [
        -0.7116351632046465,
        3.819788087362168,
        -15.094640403240986,
        42.05869392898243,
        -76.7058597529981,
        81.60524927607493,
        -41.34170224039976,
        6.283185307179586,
    ];
    let turns = x - x.floor();
    let quarter = (4.0 * turns + 0.5).floor();
    let r = turns - 0.25 * quarter;
    match quarter as u8 % 4 {
        0 => polynomial(r * r, COS),
        1 => -r * polynomial(r * r, SIN),
        2 => -polynomial(r * r, COS),
        _ => r * polynomial(r * r, SIN),
    }
}

/// The quantile of the standard normal distribution, relative error about 1e-16, for 0 < p < 1: Wichura (1988),
/// "Algorithm AS 241: The Percentage Points of the Normal Distribution", routine PPND16.
pub fn normal_quantile(p: f64) -> f64 {
    fn ratio(r: f64, numerator: [f64; 8], denominator: [f64; 7]) -> f64 {
        let top = numerator.iter().rev().fold(0.0, |sum, c| r.mul_add(sum, *c));
        let bottom = denominator.iter().rev().fold(0.0, |sum, c| r.mul_add(sum, *c));
        top / r.mul_add(bottom, 1.0)
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, CENTRE.0, CENTRE.1);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-ln(tail)).sqrt();
    let x = if r <= 5.0 { ratio(r - 1.6, MIDDLE.0, MIDDLE.1) } else { ratio(r - 5.0, FAR.0, FAR.1) };
    if q < 0.0 { -x } else { x }
}

type Ratio = ([f64; 8], [f64; 7]);
/// |p − ½| ≤ 0.425.
const CENTRE: Ratio = (
    [
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ],
    [
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ],
);
/// √(−ln tail) ≤ 5.
const MIDDLE: Ratio = (
    [
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ],
    [
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ],
);
/// Beyond.
const FAR: Ratio = (
    [
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ],
    [
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ],
);
