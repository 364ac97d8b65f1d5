//! Numbers that change during a run: learning rate, weight decay.
//!
//! A schedule is a function of t = step/total steps, from 0 up to 1. Computed in `f64` with this package's own
//! functions, so that a run's numbers are the same on every machine.

use crate::math::scalar::{cos_turns, exp, ln, ln_1p};

/// How a number changes, apart from its warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// It does not.
    Constant,
    /// Down to `end` times itself along half a cosine (Loshchilov and Hutter 2017, "SGDR", equation 5, one cycle).
    Cosine {
        /// The factor at t = 1.
        end: f64,
    },
    /// Up from `start` times itself until t = `peak`, then down to `end` times itself, both along half a cosine (Smith
    /// and Topin 2018, "Super-convergence").
    OneCycle {
        /// The factor at t = 0.
        start: f64,
        /// Where the factor is 1.
        peak: f64,
        /// The factor at t = 1.
        end: f64,
    },
    /// Divided by `factor` after every `patience` epochs in a row whose training loss was not less than the least before
    /// by more than `tolerance` (scikit-learn's learning_rate="adaptive").
    Adaptive {
        /// The divisor.
        factor: f64,
        /// Epochs in a row.
        patience: u64,
        /// What counts as less.
        tolerance: f64,
    },
    /// Divided by (step + 1)^power.
    InverseScaling {
        /// The power.
        power: f64,
    },
    /// Down to `end` times itself exponentially: endᵗ.
    Exponential {
        /// The factor at t = 1.
        end: f64,
    },
    /// ½·(1 − cos(2π·log₂(1 + (2ᵇ − 1)·t))): b bumps, each half as long as the one before it reversed (Holzmüller et al.
    /// 2024, "Better by default", section 3).
    CosineLog {
        /// b
        bumps: f64,
    },
    /// 1 until t = `hold`, then down to 0 along half a cosine (the same source, flat_cos).
    FlatCosine {
        /// Where the descent begins.
        hold: f64,
    },
}

/// A number and how it changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The number.
    pub value: f64,
    /// How it changes.
    pub course: Course,
    /// The share of the steps over which it rises from 0 in a straight line, on top of its course.
    pub warmup: f64,
}

impl Schedule {
    /// A number that does not change.
    pub fn constant(value: f64) -> Schedule {
        Schedule { value, course: Course::Constant, warmup: 0.0 }
    }

    /// The number at a step, counted from 0, of `total` steps.
    #[inline]
    pub fn at(&self, step: u64, total: u64) -> f64 {
        let still = matches!(self.course, Course::Constant) && self.warmup == 0.0;
        if still { self.value } else { self.moved(step, total) }
    }

    /// The same where it changes.
    fn moved(&self, step: u64, total: u64) -> f64 {
        let t = (step as f64 / total.max(1) as f64).min(1.0);
        // ½·(1 + cos πu): from 1 at u = 0 to 0 at u = 1.
        let fall = |u: f64| 0.5 + 0.5 * cos_turns(0.5 * u);
        let factor = match self.course {
            Course::Constant | Course::Adaptive { .. } => 1.0,
            Course::Cosine { end } => end + (1.0 - end) * fall(t),
            Course::OneCycle { start, peak, .. } if t < peak => 1.0 - (1.0 - start) * fall(t / peak),
            Course::OneCycle { peak, end, .. } => end + (1.0 - end) * fall((t - peak) / (1.0 - peak)),
            Course::InverseScaling { power } => exp(-power * ln((step + 1) as f64)),
            Course::Exponential { end } => exp(t * ln(end)),
            Course::CosineLog { bumps } => {
                let growth = exp(bumps * std::f64::consts::LN_2) - 1.0;
                0.5 - 0.5 * cos_turns(ln_1p(growth * t) * std::f64::consts::LOG2_E)
            }
            Course::FlatCosine { hold } if t < hold => 1.0,
            Course::FlatCosine { hold } => fall((t - hold) / (1.0 - hold)),
        };
        // The first step of a warm-up already moves a little: step + 1.
        let rise =
            if self.warmup > 0.0 { ((step + 1) as f64 / (self.warmup * total as f64)).min(1.0) } else { 1.0 };
        self.value * factor * rise
    }
}

/// What an adaptive schedule remembers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptation {
    /// The schedule's number is multiplied by this.
    pub scale: f64,
    /// The least loss so far.
    pub least: f64,
    /// Epochs since.
    pub waited: f64,
}

impl Adaptation {
    /// Before the first epoch.
    pub const START: Adaptation = Adaptation { scale: 1.0, least: f64::INFINITY, waited: 0.0 };

    /// Takes note of an epoch's training loss.
    pub fn note(&mut self, schedule: &Schedule, loss: f64) {
        let Course::Adaptive { factor, patience, tolerance } = schedule.course else { return };
        self.waited = if loss < self.least - tolerance { 0.0 } else { self.waited + 1.0 };
        self.least = self.least.min(loss);
        if self.waited >= patience as f64 {
            (self.scale, self.waited) = (self.scale / factor, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(course: Course, t: f64) -> f64 {
        Schedule { value: 2.0, course, warmup: 0.0 }.at((t * 1000.0) as u64, 1000)
    }

    #[test]
    fn courses_pass_through_their_known_points() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-14, "{a} {b}");
        near(at(Course::Cosine { end: 0.1 }, 0.0), 2.0);
        near(at(Course::Cosine { end: 0.1 }, 0.5), 1.1);
        near(at(Course::Cosine { end: 0.1 }, 1.0), 0.2);
        let cycle = Course::OneCycle { start: 0.04, peak: 0.25, end: 0.0 };
        near(at(cycle, 0.0), 0.08);
        near(at(cycle, 0.25), 2.0);
        near(at(cycle, 1.0), 0.0);
        near(at(Course::InverseScaling { power: 0.5 }, 0.003), 1.0);
        near(at(Course::Exponential { end: 0.01 }, 0.5), 0.2);
        // log₂(1 + 15·t) is ½ and 1½ at the tops of the first two bumps, whole at the bottoms.
        near(at(Course::CosineLog { bumps: 4.0 }, 0.2), 0.0);
        near(Schedule { value: 2.0, course: Course::CosineLog { bumps: 2.0 }, warmup: 0.0 }.at(1, 3), 0.0);
        near(at(Course::FlatCosine { hold: 0.5 }, 0.49), 2.0);
        near(at(Course::FlatCosine { hold: 0.5 }, 0.75), 1.0);
    }

    #[test]
    fn a_warm_up_rises_in_a_straight_line() {
        let schedule = Schedule { value: 1.0, course: Course::Constant, warmup: 0.1 };
        let values: Vec<f64> = (0..12).map(|step| schedule.at(step, 100)).collect();
        assert_eq!(values[..3], [0.1, 0.2, 3.0 / 10.0]);
        assert_eq!(values[9..], [1.0; 3]);
    }

    #[test]
    fn an_adaptive_number_shrinks_when_nothing_gets_better() {
        let course = Course::Adaptive { factor: 5.0, patience: 2, tolerance: 0.1 };
        let schedule = Schedule { value: 1.0, course, warmup: 0.0 };
        let mut adaptation = Adaptation::START;
        let scales = [3.0, 2.95, 2.0, 1.95, 1.94, 1.93, 1.92].map(|loss| {
            adaptation.note(&schedule, loss);
            adaptation.scale
        });
        assert_eq!(scales, [1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 0.04]);
    }
}
