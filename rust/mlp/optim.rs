//! Optimisers: state over the flat parameter vector, and one update for every parameter.

use super::Shape;
use super::schedule::{Adaptation, Schedule};
use crate::error::Result;
use crate::math::constant;
use crate::parallel::zeros;
use crate::simd::{Kernel, Mask, Real, Simd, Vector, dispatch};
use std::ops::Range;

/// How parameters follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// v ← μ·v − lr·g; p ← p + v, or with Nesterov's look-ahead p ← p + μ·v − lr·g (Sutskever et al. 2013).
    Sgd {
        /// μ
        momentum: f64,
        /// Look ahead.
        nesterov: bool,
    },
    /// m ← β₁·m + (1 − β₁)·g; v ← β₂·v + (1 − β₂)·g²; p ← p − lr·m̂/(√v̂ + ε), m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)
    /// (Kingma and Ba 2015, algorithm 1).
    Adam {
        /// β₁
        beta_1: f64,
        /// β₂
        beta_2: f64,
        /// ε
        epsilon: f64,
    },
}

/// An optimiser's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// How parameters follow their gradients.
    pub rule: Rule,
    /// lr
    pub learning_rate: Schedule,
    /// Decoupled (Loshchilov and Hutter 2019, algorithm 2): weights, not biases, shrink by lr·weight_decay a step, each group's by
    /// its factors.
    pub weight_decay: Schedule,
}

/// What an optimiser remembers between steps.
#[derive(Clone, Debug)]
pub struct State<T> {
    /// v of SGD, m of Adam; empty for SGD without momentum.
    pub first: Vec<T>,
    /// v of Adam; empty otherwise.
    pub second: Vec<T>,
    /// β₁ᵗ and β₂ᵗ, as running products.
    pub powers: [f64; 2],
    /// Steps done.
    pub steps: u64,
    /// What an adaptive learning rate remembers.
    pub adaptation: Adaptation,
    /// Whether the latest step left every parameter finite. One that is not stays so.
    pub finite: bool,
}

impl Optimizer {
    /// The state before the first step.
    pub fn init<T: Real>(&self, n_parameters: usize) -> Result<State<T>> {
        let (first, second) = match self.rule {
            Rule::Sgd { momentum, .. } => (momentum != 0.0, false),
            Rule::Adam { .. } => (true, true),
        };
        let moments = |wanted: bool| zeros(if wanted { n_parameters } else { 0 });
        Ok(State {
            first: moments(first)?,
            second: moments(second)?,
            powers: [1.0; 2],
            steps: 0,
            adaptation: Adaptation::START,
            finite: true,
        })
    }

    /// The learning rate of the next step.
    pub fn rate<T>(&self, state: &State<T>, total_steps: u64) -> f64 {
        self.learning_rate.at(state.steps, total_steps) * state.adaptation.scale
    }

    /// One step of `total_steps`. `l2` is the penalty's factor in the gradient of the weights: g + l2·p.
    pub fn update<T: Real>(
        &self,
        state: &mut State<T>,
        shape: &Shape,
        total_steps: u64,
        l2: f64,
        gradient: &[T],
        parameters: &mut [T],
    ) {
        let advance = self.begin(state, shape, total_steps, l2);
        let range = 0..gradient.len();
        dispatch(Update { advance: &advance, shape, range, state, gradient, parameters });
    }

    /// Begins a step.
    #[inline(always)]
    pub fn begin<T>(&self, state: &mut State<T>, shape: &Shape, total_steps: u64, l2: f64) -> Advance {
        if let Rule::Adam { beta_1, beta_2, .. } = self.rule {
            state.powers[0] *= beta_1;
            state.powers[1] *= beta_2;
        }
        let learning_rate = self.rate(state, total_steps);
        let weight_decay = self.weight_decay.at(state.steps, total_steps);
        state.steps += 1;
        let alike = shape.one_rate && learning_rate * weight_decay == 0.0 && l2 == 0.0;
        Advance { rule: self.rule, learning_rate, weight_decay, powers: state.powers, l2, alike }
    }
}

/// What a step does to the parameters.
#[derive(Clone, Copy, Debug)]
pub struct Advance {
    rule: Rule,
    learning_rate: f64,
    weight_decay: f64,
    powers: [f64; 2],
    l2: f64,
    /// The same to all, so that groups need not be told apart.
    alike: bool,
}

/// A step's update of the parameters of a range.
pub struct Update<'a, T> {
    /// What it does.
    pub advance: &'a Advance,
    /// The network.
    pub shape: &'a Shape,
    /// Which parameters.
    pub range: Range<usize>,
    /// Of all parameters, like those that follow.
    pub state: &'a mut State<T>,
    /// Of the loss.
    pub gradient: &'a [T],
    /// What changes.
    pub parameters: &'a mut [T],
}

impl<T: Real> Kernel for Update<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Update { advance, shape, range, state, gradient, parameters } = self;
        let Advance { rule, learning_rate, weight_decay, powers, l2, alike } = *advance;
        if alike {
            let (gradient, parameters) = (&gradient[range.clone()], &mut parameters[range.clone()]);
            let (first, second) = (part(&mut state.first, range.clone()), part(&mut state.second, range));
            let (shrink, l2) = (1.0, 0.0);
            let finite =
                UpdateAlike { rule, learning_rate, powers, shrink, l2, gradient, parameters, first, second }
                    .run::<S>();
            state.finite &= finite;
            return;
        }
        for group in shape.groups.iter().filter(|group| group.rate_factor != 0.0) {
            let range = group.range.start.max(range.start)..group.range.end.min(range.end);
            if range.is_empty() {
                continue;
            }
            let learning_rate = learning_rate * group.rate_factor;
            let decay = weight_decay * group.decay_factor;
            state.finite &= S::call_apart(UpdateAlike {
                rule,
                learning_rate,
                powers,
                shrink: 1.0 - learning_rate * decay,
                l2: l2 * group.decay_factor,
                gradient: &gradient[range.clone()],
                parameters: &mut parameters[range.clone()],
                first: part(&mut state.first, range.clone()),
                second: part(&mut state.second, range),
            });
        }
    }
}

/// A range of a state vector, or nothing where the optimiser keeps none.
#[inline]
fn part<T>(state: &mut [T], range: Range<usize>) -> &mut [T] {
    if state.is_empty() { state } else { &mut state[range] }
}

/// The update of parameters that learn alike.
struct UpdateAlike<'a, T> {
    rule: Rule,
    learning_rate: f64,
    powers: [f64; 2],
    shrink: f64,
    l2: f64,
    gradient: &'a [T],
    parameters: &'a mut [T],
    first: &'a mut [T],
    second: &'a mut [T],
}

impl<T: Real> Kernel for UpdateAlike<'_, T> {
    /// Whether all are finite afterwards.
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(mut self) -> bool {
        let nothing = match self.rule {
            Rule::Sgd { .. } if self.first.is_empty() => self.plain::<S>(),
            Rule::Sgd { momentum, nesterov } => self.momentum::<S>(momentum, nesterov),
            Rule::Adam { beta_1, beta_2, epsilon } => self.adam::<S>(beta_1, beta_2, epsilon),
        };
        !nothing.eq(nothing).not().any()
    }
}

/// `$body`, the new parameters, for every whole vector, and once more for what is left: `$n` lanes from `$i` on. Its
/// value is 0 times each of them, added up: NaN where one is not finite.
macro_rules! each_vector {
    ($update:ident, $S:ident, |$i:ident, $n:ident| $body:block) => {{
        let lanes = T::Vector::<$S>::LANES;
        let zero = T::Vector::<$S>::splat(T::ZERO);
        let mut nothing = zero;
        let mut $i = 0;
        while $i + lanes <= $update.parameters.len() {
            let $n = lanes;
            let p = $body;
            Self::store::<$S>(p, $update.parameters, $i, $n);
            nothing = zero.mul_add(p, nothing);
            $i += lanes;
        }
        if $i < $update.parameters.len() {
            let $n = $update.parameters.len() - $i;
            let p = $body;
            Self::store::<$S>(p, $update.parameters, $i, $n);
            nothing = zero.mul_add(p, nothing);
        }
        nothing
    }};
}

impl<T: Real> UpdateAlike<'_, T> {
    #[inline(always)]
    fn load<S: Simd>(from: &[T], i: usize, n: usize) -> T::Vector<S> {
        let from = &from[i..i + n];
        if n == T::Vector::<S>::LANES {
            T::Vector::<S>::from_slice(from)
        } else {
            T::Vector::<S>::from_first(from)
        }
    }

    #[inline(always)]
    fn store<S: Simd>(v: T::Vector<S>, to: &mut [T], i: usize, n: usize) {
        let to = &mut to[i..i + n];
        if n == T::Vector::<S>::LANES { v.copy_to(to) } else { v.copy_to_partial(to) }
    }

    /// (g + l2·p, p·(1 − lr·weight_decay))
    #[inline(always)]
    fn gradient_and_parameter<S: Simd>(&self, i: usize, n: usize) -> (T::Vector<S>, T::Vector<S>) {
        let p = Self::load::<S>(self.parameters, i, n);
        let g = constant::<T::Vector<S>>(self.l2).mul_add(p, Self::load::<S>(self.gradient, i, n));
        (g, p * constant(self.shrink))
    }

    #[inline(always)]
    fn plain<S: Simd>(&mut self) -> T::Vector<S> {
        let lr = constant::<T::Vector<S>>(-self.learning_rate);
        each_vector!(self, S, |i, n| {
            let (g, p) = self.gradient_and_parameter::<S>(i, n);
            lr.mul_add(g, p)
        })
    }

    #[inline(always)]
    fn momentum<S: Simd>(&mut self, momentum: f64, nesterov: bool) -> T::Vector<S> {
        let lr = constant::<T::Vector<S>>(-self.learning_rate);
        let mu = constant::<T::Vector<S>>(momentum);
        each_vector!(self, S, |i, n| {
            let (g, p) = self.gradient_and_parameter::<S>(i, n);
            let v = mu.mul_add(Self::load::<S>(self.first, i, n), lr * g);
            Self::store::<S>(v, self.first, i, n);
            let step = if nesterov { mu.mul_add(v, lr * g) } else { v };
            p + step
        })
    }

    #[inline(always)]
    fn adam<S: Simd>(&mut self, beta_1: f64, beta_2: f64, epsilon: f64) -> T::Vector<S> {
        let (keep_m, new_m) = (constant::<T::Vector<S>>(beta_1), constant::<T::Vector<S>>(1.0 - beta_1));
        let (keep_v, new_v) = (constant::<T::Vector<S>>(beta_2), constant::<T::Vector<S>>(1.0 - beta_2));
        let lr = constant::<T::Vector<S>>(-self.learning_rate / (1.0 - self.powers[0]));
        let correct_v = constant::<T::Vector<S>>(1.0 / (1.0 - self.powers[1]));
        let epsilon = constant::<T::Vector<S>>(epsilon);
        each_vector!(self, S, |i, n| {
            let (g, p) = self.gradient_and_parameter::<S>(i, n);
            let m = keep_m.mul_add(Self::load::<S>(self.first, i, n), new_m * g);
            let v = keep_v.mul_add(Self::load::<S>(self.second, i, n), new_v * (g * g));
            Self::store::<S>(m, self.first, i, n);
            Self::store::<S>(v, self.second, i, n);
            let step = (lr * m) / ((v * correct_v).sqrt() + epsilon);
            p + step
        })
    }
}
