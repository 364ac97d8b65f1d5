//! What training does to a batch so that a network does not learn its rows by heart: dropout, mixup, label smoothing.
//!
//! [`Regularization`] is the setting, [`Draw`] what chance decides once a step, [`Regularizer`] what a block goes
//! through. Prediction and validation know nothing of it.

use super::data::Data;
use super::dropout::{Drop, share_of_65536};
use super::loss::Loss;
use super::mixup::{Mix, beta};
use super::schedule::Schedule;
use super::{Output, Shape};
use crate::error::Result;
use crate::gemm::row_length;
use crate::parallel::zeros;
use crate::random::{Purpose, Seed, Sequence, Stream};
use crate::rows::Rows;
use crate::simd::{Real, dispatch};

/// How a run is regularised, apart from penalties.
#[derive(Clone, Debug)]
pub struct Regularization {
    /// By layer, the probability that a number that leaves it is dropped; layers beyond drop none.
    pub dropout: Vec<Schedule>,
    /// ε: a distribution q over k classes becomes (1 − ε)·q + ε/k, a label's probability y becomes (1 − ε)·y + ε/2
    /// (Szegedy et al. 2016, "Rethinking the Inception architecture", section 7).
    pub label_smoothing: f64,
    /// α of mixup; 0 for none.
    pub mixup_alpha: f64,
}

impl Regularization {
    /// None at all.
    pub fn none() -> Regularization {
        Regularization { dropout: Vec::new(), label_smoothing: 0.0, mixup_alpha: 0.0 }
    }

    /// The layers after which numbers are dropped.
    pub fn dropped(&self) -> Vec<usize> {
        (0..self.dropout.len()).filter(|l| self.dropout[*l].value != 0.0).collect()
    }

    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        self.dropped().is_empty() && self.label_smoothing == 0.0 && self.mixup_alpha == 0.0
    }

    /// What chance decides for a step. `partners` become the rows to mix the batch's rows with; none without mixup.
    pub fn draw(&self, seed: Seed, step: u64, total: u64, numbers: &[u32], partners: &mut Vec<u32>) -> Draw {
        let mut mixing = 1.0;
        if self.mixup_alpha > 0.0 {
            let mut words = Sequence::new(Stream::new(seed, Purpose::Mixup, 0, step));
            mixing = beta(&mut words, self.mixup_alpha);
            partners.clear();
            partners.extend_from_slice(numbers);
            words.shuffle(partners);
        }
        Draw { seed, step, total, mixing }
    }
}

/// What chance decides once a step.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    seed: Seed,
    step: u64,
    /// Steps of the run.
    total: u64,
    /// λ
    mixing: f64,
}

impl Draw {
    /// For what is computed without regularisation.
    pub fn none() -> Draw {
        Draw { seed: Seed([0; 2]), step: 0, total: 0, mixing: 1.0 }
    }
}

/// What a block goes through; its buffers are sized once.
pub struct Regularizer<T> {
    /// What stays of a target, and what every event gets.
    smoothing: Option<[T; 2]>,
    dropout: Vec<Schedule>,
    draw: Draw,
    /// The block's first row in the batch.
    first: usize,
    /// The weights of the rows, mixed.
    weights: Vec<f64>,
    /// With mixup: the rows to mix with, how much of a row stays, and room for the others' inputs and targets.
    partners: Vec<u32>,
    share: Vec<T>,
    inputs: Vec<T>,
    targets: Vec<T>,
}

impl<T: Real> Regularizer<T> {
    /// For blocks of up to `capacity` rows; None where nothing is to be done.
    pub fn new(shape: &Shape, settings: &Regularization, capacity: usize) -> Result<Option<Regularizer<T>>> {
        if settings.is_none() {
            return Ok(None);
        }
        let row = row_length::<T>(capacity);
        let epsilon = settings.label_smoothing;
        let events = if shape.output == Output::Sigmoid { 2.0 } else { shape.n_outputs() as f64 };
        let mixed = |width: usize| zeros(if settings.mixup_alpha > 0.0 { width * row } else { 0 });
        Ok(Some(Regularizer {
            smoothing: (epsilon > 0.0).then(|| [T::of(1.0 - epsilon), T::of(epsilon / events)]),
            dropout: settings.dropout.clone(),
            draw: Draw::none(),
            first: 0,
            weights: zeros(row)?,
            partners: Vec::with_capacity(capacity),
            share: mixed(1)?,
            inputs: mixed(shape.n_inputs())?,
            targets: mixed(shape.n_outputs())?,
        }))
    }

    /// Makes ready for a block that begins at the place `first` of its batch. Without mixup there are no `partners`.
    ///
    /// A row of weight w and its partner of weight v become one of weight λ·w + (1 − λ)·v, to which each contributes
    /// its part of this weight: a row of weight 0 leaves no trace, and rows of equal weight are mixed λ to 1 − λ.
    pub fn begin(&mut self, draw: Draw, first: usize, data: &Data, numbers: &[u32], partners: &[u32]) {
        (self.draw, self.first) = (draw, first);
        self.partners.clear();
        self.partners.extend_from_slice(partners);
        for (weight, number) in self.weights.iter_mut().zip(numbers) {
            *weight = data.weight(*number);
        }
        let rows = self.weights.iter_mut().zip(&mut self.share).zip(&self.partners);
        for ((weight, share), partner) in rows {
            let own = draw.mixing * *weight;
            *weight = own + (1.0 - draw.mixing) * data.weight(*partner);
            *share =
                T::of(if data.weights.is_none() || *weight == 0.0 { draw.mixing } else { own / *weight });
        }
    }

    /// The weight of the block's row s.
    pub fn weight(&self, s: usize) -> f64 {
        self.weights[s]
    }

    /// Mixes the block's inputs, feature-major.
    pub fn inputs(&mut self, x: &Rows, to: &mut [T], row: usize) {
        if !self.partners.is_empty() {
            x.gather(&self.partners, &mut self.inputs, row);
            let (others, share, n) = (&self.inputs, &self.share, self.partners.len());
            dispatch(Mix { to, others, share, row, n });
        }
    }

    /// Mixes and smooths the block's targets, feature-major; returns whether each is still one class.
    pub fn targets(
        &mut self,
        data: &Data,
        loss: Loss,
        k: usize,
        to: &mut [T],
        row: usize,
        one_hot: bool,
    ) -> bool {
        if !self.partners.is_empty() {
            data.gather_targets(loss, k, &self.partners, &mut self.targets, row);
            let (others, share, n) = (&self.targets, &self.share, self.partners.len());
            dispatch(Mix { to, others, share, row, n });
        }
        if let Some([keep, add]) = self.smoothing {
            to.iter_mut().for_each(|q| *q = keep * *q + add);
        }
        one_hot && self.partners.is_empty() && self.smoothing.is_none()
    }

    /// Drops numbers that leave layer `l`, and their derivatives: of `n` rows, `row` apart.
    pub fn after(&mut self, l: usize, values: &mut [T], slope: &mut [T], row: usize, n: usize) {
        let Some(dropout) = self.dropout.get(l).filter(|dropout| dropout.value != 0.0) else { return };
        let share = share_of_65536(dropout.at(self.draw.step, self.draw.total));
        if share > 0 {
            let width = slope.len() / row;
            let index = self.draw.step.wrapping_mul(self.dropout.len() as u64).wrapping_add(l as u64);
            let stream = &Stream::new(self.draw.seed, Purpose::Dropout, 0, index);
            let first = self.first;
            dispatch(Drop { stream, share, values, slope, width, row, n, first });
        }
    }
}
