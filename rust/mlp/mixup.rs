//! Mixup: rows, targets and weights of a batch are replaced by λ times their own and 1 − λ times another row's (Zhang et
//! al. 2018, "mixup: beyond empirical risk minimization"). The other row is the batch's own in another order, λ is drawn
//! once a batch from Beta(α, α).

use crate::math::scalar::{ln, ln_1p, normal_quantile, sigmoid};
use crate::random::Sequence;
use crate::simd::{Kernel, Real, Simd, Vector};

/// A draw of Beta(α, α): G₁/(G₁ + G₂) of two Gamma(α) draws, as the logistic function of the difference of their
/// logarithms, which neither overflows nor underflows for any α > 0.
pub fn beta(words: &mut Sequence, alpha: f64) -> f64 {
    let first = ln_gamma_draw(words, alpha);
    sigmoid(first - ln_gamma_draw(words, alpha))
}

/// The logarithm of a Gamma(α) draw: Marsaglia and Tsang (2000), "A simple method for generating gamma variables", with
/// Gamma(α) = Gamma(α + 1)·U^(1/α) for α < 1.
fn ln_gamma_draw(words: &mut Sequence, alpha: f64) -> f64 {
    let d = if alpha < 1.0 { alpha + 1.0 } else { alpha } - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let ln_draw = loop {
        let x = normal_quantile(words.open_uniform());
        let u = words.open_uniform();
        let root = 1.0 + c * x;
        if root > 0.0 {
            let (v, ln_v) = (root * root * root, 3.0 * ln_1p(c * x));
            if ln(u) < 0.5 * x * x + d * (1.0 - v + ln_v) {
                break ln(d) + ln_v;
            }
        }
    };
    // Below 1e-300 the quotient would overflow; the draws are 0 and 1 long before.
    if alpha < 1.0 { ln_draw + ln(words.open_uniform()) / alpha.max(1e-300) } else { ln_draw }
}

/// Replaces a block's numbers by `share` times themselves plus 1 − `share` times the others, by sample.
pub struct Mix<'a, T> {
    /// Feature-major.
    pub to: &'a mut [T],
    /// Of the same layout.
    pub others: &'a [T],
    /// One share a sample, in whole vectors.
    pub share: &'a [T],
    /// The distance of rows.
    pub row: usize,
    /// Samples.
    pub n: usize,
}

impl<T: Real> Kernel for Mix<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let one = T::Vector::<S>::splat(T::ONE);
        for (to, others) in self.to.chunks_exact_mut(self.row).zip(self.others.chunks_exact(self.row)) {
            for s in (0..self.n).step_by(T::LANES) {
                let share = T::Vector::<S>::from_slice(&self.share[s..]);
                let other = (one - share) * T::Vector::<S>::from_slice(&others[s..]);
                share.mul_add(T::Vector::<S>::from_slice(&to[s..]), other).copy_to(&mut to[s..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Seed, Stream};

    /// Mean ½, variance 1/(4·(2α + 1)), and E(λ − ½)⁴ = 3/(16·(2α + 1)·(2α + 3)).
    #[test]
    fn draws_have_the_moments_of_beta() {
        for alpha in [0.05, 0.4, 1.0, 3.0, 100.0] {
            let n = 40_000;
            let mut words = Sequence::new(Stream::new(Seed([1, 2]), Purpose::Mixup, 0, 0));
            let draws: Vec<f64> = (0..n).map(|_| beta(&mut words, alpha) - 0.5).collect();
            let moment =
                |k: usize| draws.iter().map(|x| [*x, x * x, x * x * x * x][k]).sum::<f64>() / f64::from(n);
            let variance = 0.25 / (2.0 * alpha + 1.0);
            let fourth = 3.0 / (16.0 * (2.0 * alpha + 1.0) * (2.0 * alpha + 3.0));
            let error = |of_squares: f64| 5.0 * (of_squares / f64::from(n)).sqrt();
            assert!(moment(0).abs() < error(variance), "{alpha}");
            assert!((moment(1) - variance).abs() < error(fourth - variance * variance), "{alpha}");
            // Of a normal number the standard error is 1.6 %, of these less.
            assert!((moment(2) - fourth).abs() < 0.08 * fourth, "{alpha}");
        }
    }

    #[test]
    fn extreme_parameters_give_numbers_from_0_to_1() {
        let mut words = Sequence::new(Stream::new(Seed([1, 2]), Purpose::Mixup, 0, 0));
        for alpha in [f64::MIN_POSITIVE, 1e-9, 1e12, 1e300] {
            for _ in 0..100 {
                let share = beta(&mut words, alpha);
                assert!((0.0..=1.0).contains(&share), "{alpha} {share}");
                assert!(alpha < 1.0 || (share - 0.5).abs() < 1e-5);
                assert!(alpha > 1.0 || share == 0.0 || share == 1.0 || alpha > 1e-10);
            }
        }
    }
}
