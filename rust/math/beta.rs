//! The quantile of the beta distribution, for exact intervals of a probability.
//!
//! In v = logit x the density is e^L(v) with L(v) = a·ln x + b·ln(1 − x) − ln B(a, b), which is concave for all a, b.
//! A tail is then e^L(v)·R(v) with R(v) = ∫₀^∞ exp(L(v − t) − L(v)) dt, a smooth integrand that falls from 1: one
//! double-exponential rule (Takahasi and Mori 1974) serves a = 0.5 and a = 1e9 alike, where a continued fraction needs
//! about √a terms. The logarithm of a tail is concave in v with the slope 1/R, so Newton's iteration on it converges
//! from anywhere. An error of L moves the quantile by R times as much, and R is about 1/√a: what is lost where a·t is
//! subtracted from its like comes back there.

use super::scalar::{self, sigmoid};
use super::{exp, exp_m1, ln, ln_1p};
use crate::simd::{Kernel, Lanes, Simd, Vector, dispatch};

/// The x for which P(X ≤ x) = p where X has the beta distribution with parameters a, b from 1e-3 to 1e18: the inverse
/// of the regularised incomplete beta function. Relative error of x and 1 − x about 1e-14, 1e-16·|logit x| where that
/// is more, and up to 1e-10 for a or b below 0.1. NaN for arguments out of range.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let range = 1e-3..=1e18;
    if !(0.0..=1.0).contains(&p) || !range.contains(&a) || !range.contains(&b) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return p;
    }
    let lower = Tail::new(a, b);
    if scalar::ln(p) <= lower.ln_value(0.0).0 {
        sigmoid(lower.quantile(scalar::ln(p)))
    } else {
        // P(1 − X ≤ 1 − x) = 1 − p, and 1 − X has the parameters b, a.
        sigmoid(-Tail::new(b, a).quantile(scalar::ln_1p(-p)))
    }
}

/// The beta distribution with parameters a, b from its mean a/(a + b) downwards, in the coordinate
/// d = logit mean − logit x ≥ 0.
struct Tail {
    a: f64,
    b: f64,
    /// logit of the mean.
    centre: f64,
    /// L at the mean.
    peak: f64,
}

impl Tail {
    fn new(a: f64, b: f64) -> Tail {
        // Stirling's formula for the three gamma functions of B(a, b); its large terms cancel those of L.
        let half_ln_tau = 0.918_938_533_204_672_7;
        let peak =
            0.5 * scalar::ln(a / (a + b) * b) - half_ln_tau + stirling(a + b) - stirling(a) - stirling(b);
        Tail { a, b, centre: scalar::ln(a / b), peak }
    }

    /// ln P(X ≤ x), and R.
    fn ln_value(&self, d: f64) -> (f64, f64) {
        let (a, b) = (self.a, self.b);
        let v = self.centre - d;
        let (x, y) = (sigmoid(v), sigmoid(-v));
        let (slope, curvature) = ((a * y - b * x).max(0.0), (a + b) * x * y);
        let width = 1.0 / (slope + curvature.sqrt());
        let rest = dispatch(Integral { falls: Falls { a, b, x, y }, width });
        let (x, y) = (a / (a + b), b / (a + b));
        let level = self.peak - Falls { a, b, x, y }.at(Lanes([d])).0[0];
        (level + scalar::ln(rest), rest)
    }

    /// logit x where ln P(X ≤ x) is `target`, for an x below the mean.
    fn quantile(&self, target: f64) -> f64 {
        let (value, rest) = self.ln_value(0.0);
        let curvature = self.a / (self.a + self.b) * self.b;
        // From the mean, Newton's step goes too far; so does a normal distribution's, though less, where it fits.
        let above = (value - target).max(0.0);
        let mut d = (above * rest).min((2.0 * above / curvature).sqrt());
        for _ in 0..100 {
            let (value, rest) = self.ln_value(d);
            d += (value - target) * rest;
            // The next step would be of this one's square.
            if (value - target).abs() < 1e-8 {
                break;
            }
        }
        self.centre - d
    }
}

/// How L falls below the point x = 1 − y.
#[derive(Clone, Copy)]
struct Falls {
    a: f64,
    b: f64,
    x: f64,
    y: f64,
}

impl Falls {
    /// L(logit x) − L(logit x − t) = a·t + (a + b)·ln(y + x·e⁻ᵗ), t ≥ 0; the argument as 1 + x·(e⁻ᵗ − 1), or
    /// e⁻ᵗ·(1 + y·(eᵗ − 1)) where y is the smaller.
    #[inline(always)]
    fn at<V: Vector<Scalar = f64>>(self, t: V) -> V {
        let (a, b) = (V::splat(self.a), V::splat(self.b));
        if self.x <= 0.5 {
            return (a + b).mul_add(ln_1p(V::splat(self.x) * exp_m1(-t)), a * t);
        }
        // Where eᵗ might overflow, x·e⁻ᵗ is nothing beside y.
        let most = V::splat(700.0);
        let near = (a + b).mul_add(ln_1p(V::splat(self.y) * exp_m1(t.min(most))), -(b * t));
        let far = (a + b).mul_add(ln(V::splat(self.y)), a * t);
        V::select(t.le(most), near, far)
    }
}

/// R = ∫ exp(−fall(t)) dt with t = w·exp(u − e⁻ᵘ), by the trapezoidal rule in u.
struct Integral {
    falls: Falls,
    width: f64,
}

impl Kernel for Integral {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        const STEP: f64 = 1.0 / 24.0;
        let mut sum = S::F64::splat(0.0);
        let mut u = S::F64::from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        u = u.mul_add(S::F64::splat(STEP), S::F64::splat(-4.0));
        // −4 ≤ u < 8: t/w from 1e-26 to 3,000.
        for _ in 0..36 {
            let e = exp(-u);
            let t = S::F64::splat(self.width) * exp(u - e);
            sum = (t + t * e).mul_add(exp(-self.falls.at(t)), sum);
            u = u + S::F64::splat(8.0 * STEP);
        }
        sum.fold() * STEP
    }
}

/// ln Γ(x) − (x − ½)·ln x + x − ½·ln 2π: the remainder of Stirling's formula, x > 0.
fn stirling(mut x: f64) -> f64 {
    // B₂ₖ/(2k·(2k − 1)) for k = 8 … 1 (Abramowitz and Stegun 6.1.42): 1e-17 from x = 10 on.
    const SERIES: [f64; 8] = [
        -3617.0 / 122_400.0,
        1.0 / 156.0,
        -691.0 / 360_360.0,
        1.0 / 1188.0,
        -1.0 / 1680.0,
        1.0 / 1260.0,
        -1.0 / 360.0,
        1.0 / 12.0,
    ];
    // The remainder falls from x to x + 1 by (x + ½)·ln(1 + 1/x) − 1 = s²/3 + s⁴/5 + … with s = 1/(2x + 1).
    let mut sum = 0.0;
    while x < 10.0 {
        sum += if x < 0.25 {
            (x + 0.5) * (scalar::ln_1p(x) - scalar::ln(x)) - 1.0
        } else {
            let square = 1.0 / ((2.0 * x + 1.0) * (2.0 * x + 1.0));
            let mut power = 1.0;
            let mut series = 0.0;
            let mut odd = 3.0;
            while power > 1e-18 {
                power *= square;
                series += power / odd;
                odd += 2.0;
            }
            series
        };
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    sum + SERIES.into_iter().fold(0.0, |sum, c| z.mul_add(sum, c)) / x
}
