//! Training: the only loop over steps; that over epochs is in `fit`.
//!
//! [`Trainer::step`] and [`Trainer::epoch`] are what [`fit`] is made of, so that `fit` equals so many epochs bit for
//! bit. A batch of more than [`MOST_ROWS`] rows is computed in blocks, by as many threads as pay; the gradients of a group
//! of blocks are added in order, then those of the groups, so no bit depends on the number of threads.

mod fit;
mod predict;

pub use fit::{Curves, History, Observe, Plan, Record, Selection, StopReason, Verdict, fit};
pub use predict::{evaluate, predict};

use super::block::{Block, Held, MOST_ROWS, NARROW, Way, block_rows};
use super::data::Data;
use super::loss::Loss;
use super::narrow::Narrow;
use super::norm::{self, Squares};
use super::optim::{Optimizer, State};
use super::regularization::{Draw, Regularization, Regularizer};
use super::{Kind, Shape};
use crate::error::{Error, Result};
use crate::parallel::{self, Team, zeros};
use crate::random::{Purpose, Seed, Stream};
use crate::simd::{Kernel, Real, Simd, Vector, dispatch};
use std::sync::MutexGuard;
use std::sync::{Mutex, PoisonError, RwLock};

/// What stays the same during a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is minimised.
    pub loss: Loss,
    /// How.
    pub optimizer: Optimizer,
    /// Rows in a batch; the last one of an epoch may be smaller.
    pub batch_size: usize,
    /// Whether each epoch has an order of its own.
    pub shuffle: bool,
    /// The penalty ½·l2·Σw²/Σ(weights of the batch), over weights, not biases.
    pub l2: f64,
    /// The greatest norm of a step's gradient, that of the penalty included; a longer one is shortened to it.
    pub gradient_clip: Option<f64>,
    /// Whether the norm of each layer's gradient is recorded.
    pub record_gradient_norm: bool,
    /// Dropout, label smoothing, mixup.
    pub regularization: Regularization,
    /// How many steps the run has, for schedules.
    pub total_steps: u64,
    /// The key of the run's random numbers.
    pub seed: Seed,
    /// Threads wanted; None for as many as pay.
    pub n_threads: Option<usize>,
}

/// What a step or an epoch adds up, each before the step: Σ weight·loss, Σ weight, and Σ ½·l2·Σw² over the steps.
pub type Sums = [f64; 3];

/// What a run remembers between steps, besides the parameters.
#[derive(Clone, Debug)]
pub struct Memory<T> {
    /// The optimiser's moments.
    pub state: State<T>,
    /// Epochs begun.
    pub epochs: u64,
}

impl<T: Real> Memory<T> {
    /// The same again, or an error where the room cannot be had.
    pub fn copy(&self) -> Result<Memory<T>> {
        let State { first, second, powers, steps, adaptation, finite } = &self.state;
        let copy = |moments: &[T]| {
            let mut copy = zeros(moments.len())?;
            copy.copy_from_slice(moments);
            Ok(copy)
        };
        let (first, second) = (copy(first)?, copy(second)?);
        let (powers, steps, adaptation, finite) = (*powers, *steps, *adaptation, *finite);
        let state = State { first, second, powers, steps, adaptation, finite };
        Ok(Memory { state, epochs: self.epochs })
    }
}

/// Asked between blocks whether to stop.
pub type Interrupt<'a> = &'a dyn Fn() -> bool;

/// The rows of a step, and what chance decided for it.
#[derive(Clone, Copy)]
struct Batch<'a> {
    numbers: &'a [u32],
    /// The rows that mixup mixes them with; none without it.
    partners: &'a [u32],
    draw: Draw,
    /// Losses are multiplied by this before their gradient is taken.
    factor: f64,
    /// Rows of a block.
    rows: usize,
    /// The number of its first block in an epoch, where every epoch has the same blocks.
    same: Option<usize>,
}

impl Batch<'_> {
    /// How many groups of blocks there are.
    fn groups(&self) -> usize {
        groups(self.numbers.len(), self.rows)
    }
}

/// Blocks that a member computes in a round, of a batch with so many: enough to outweigh the signal for it, but groups
/// for eight members where there are as many blocks.
fn group(blocks: usize) -> usize {
    blocks.div_ceil(8).min(8)
}

/// How many groups of blocks of `rows` rows a batch of `n` rows has.
fn groups(n: usize, rows: usize) -> usize {
    let blocks = n.div_ceil(rows);
    blocks.div_ceil(group(blocks))
}

/// How many blocks a batch of `n` rows has.
fn n_blocks<T: Real>(shape: &Shape, n: usize) -> usize {
    if n == 0 { 0 } else { n.div_ceil(block_rows::<T>(shape, n)) }
}

/// Blocks whose rows are the same in every epoch are gathered once, where all together have no more bytes than this.
const MOST_HELD: usize = 4 << 20;

/// Adds `part` to `totals`.
struct Accumulate<'a, T> {
    totals: &'a mut [f64],
    part: &'a [T],
}

impl<T: Real> Kernel for Accumulate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (mut totals, mut parts) =
            (self.totals.chunks_exact_mut(T::LANES), self.part.chunks_exact(T::LANES));
        for (totals, part) in (&mut totals).zip(&mut parts) {
            let (low, high) = totals.split_at_mut(f64::LANES);
            // (For f64 there is no second half.)
            let second = if high.is_empty() { S::F64::splat(0.0) } else { S::F64::from_slice(high) };
            let mut sums = [S::F64::from_slice(low), second];
            T::accumulate::<S>(T::Vector::<S>::from_slice(part), &mut sums);
            sums[0].copy_to(low);
            if !high.is_empty() {
                sums[1].copy_to(high);
            }
        }
        for (total, part) in totals.into_remainder().iter_mut().zip(parts.remainder()) {
            *total += part.f64();
        }
    }
}

/// One member's buffers, and the gradient of its latest block or group of blocks.
pub struct Worker<T> {
    block: Block<T>,
    /// For few rows, where the network is small and nothing regularises it.
    narrow: Option<Narrow<T>>,
    regularizer: Option<Regularizer<T>>,
    /// The blocks that it has computed, by their numbers in an epoch, where every epoch has the same.
    held: Vec<Option<Held<T>>>,
    partners: Vec<u32>,
    gradient: Vec<T>,
    /// The gradient of a group; empty where a group is a block.
    totals: Vec<f64>,
    loss: f64,
}

impl<T: Real> Worker<T> {
    /// Buffers for batches of up to `capacity` rows, or for the blocks of larger ones, which have up to `rows`.
    pub fn new(
        shape: &Shape,
        regularization: &Regularization,
        capacity: usize,
        rows: usize,
    ) -> Result<Worker<T>> {
        let n_parameters = shape.n_parameters();
        let dropped = regularization.dropped();
        let in_group = group(capacity.div_ceil(block_rows::<T>(shape, capacity).max(1)));
        let regularizer = Regularizer::new(shape, regularization, rows)?;
        Ok(Worker {
            narrow: if regularizer.is_none() { Narrow::new(shape)? } else { None },
            block: Block::new(shape, rows, Way::Back(&dropped))?,
            regularizer,
            held: Vec::new(),
            partners: Vec::new(),
            gradient: zeros(n_parameters)?,
            totals: zeros(if in_group > 1 { n_parameters } else { 0 })?,
            loss: 0.0,
        })
    }

    /// Forgets what it knows of a table: the next step is on rows of another one.
    pub fn forget(&mut self) {
        if let Some(narrow) = &mut self.narrow {
            narrow.forget();
        }
    }

    /// How many rows a block may have.
    pub fn capacity(&self) -> usize {
        self.block.capacity()
    }

    /// Σ weight·loss of a block of the batch, and in `self.gradient` the gradient of the batch's factor times it.
    fn compute(&mut self, loss: Loss, parameters: &[T], data: &Data, batch: &Batch, number: usize) {
        let first = number * batch.rows;
        let rows = first..batch.numbers.len().min(first + batch.rows);
        let numbers = &batch.numbers[rows.clone()];
        if let Some(regularizer) = &mut self.regularizer {
            regularizer.begin(batch.draw, first, data, numbers, batch.partners.get(rows).unwrap_or_default());
        }
        let (gradient, regularizer) = (&mut self.gradient, self.regularizer.as_mut());
        let held = batch.same.and_then(|first| {
            let held = &mut self.held[first + number];
            if held.is_none() {
                // Where there is no room, it is gathered in every epoch.
                *held = self.block.room().ok();
            }
            held.as_mut()
        });
        self.loss =
            self.block.gradient(loss, parameters, data, numbers, batch.factor, gradient, regularizer, held);
    }

    /// The same of a group of blocks: the gradient in `self.totals`, that of a group of one in `self.gradient`.
    fn compute_group(&mut self, loss: Loss, parameters: &[T], data: &Data, batch: &Batch, number: usize) {
        if self.totals.is_empty() {
            return self.compute(loss, parameters, data, batch, number);
        }
        let mut total = 0.0;
        self.totals.fill(0.0);
        let blocks = batch.numbers.len().div_ceil(batch.rows);
        let group = group(blocks);
        for block in number * group..blocks.min((number + 1) * group) {
            self.compute(loss, parameters, data, batch, block);
            total += self.loss;
            dispatch(Accumulate { totals: &mut self.totals, part: &self.gradient });
        }
        self.loss = total;
    }

    /// Adds the latest gradient to `totals`; returns its loss.
    fn add_to(&self, totals: &mut [f64]) -> f64 {
        if self.totals.is_empty() {
            dispatch(Accumulate { totals, part: &self.gradient });
        } else {
            dispatch(Accumulate { totals, part: &self.totals });
        }
        self.loss
    }

    /// A step on one block: see [`Trainer::step`]. Where every epoch has the `same`, it is the block of that number.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a step's whole description")]
    pub fn step(
        &mut self,
        shape: &Shape,
        settings: &Settings,
        parameters: &mut [T],
        memory: &mut Memory<T>,
        data: &Data,
        numbers: &[u32],
        same: Option<usize>,
        record: Option<&mut Squares>,
    ) -> Sums {
        let weight = data.weight_of(numbers);
        if weight == 0.0 {
            return [0.0; 3];
        }
        let penalty = settings.penalty(shape, parameters);
        if let (Some(narrow), None, None, 1..=NARROW) =
            (&mut self.narrow, settings.gradient_clip, &record, numbers.len())
        {
            let state = &mut memory.state;
            let loss = narrow.step(shape, settings, parameters, state, data, numbers, weight);
            return [loss, weight, penalty];
        }
        let mut partners = std::mem::take(&mut self.partners);
        let draw = settings.draw(memory, numbers, &mut partners);
        let (factor, rows) = (1.0 / weight, numbers.len());
        let batch = Batch { numbers, partners: &partners, draw, factor, rows, same };
        self.compute(settings.loss, parameters, data, &batch, 0);
        self.partners = partners;
        settings.descend(shape, memory, weight, &mut self.gradient, parameters, record);
        [self.loss, weight, penalty]
    }
}

impl Settings {
    /// ½·l2·Σw², by which the sum of a batch's weights is not yet divided.
    fn penalty<T: Real>(&self, shape: &Shape, parameters: &[T]) -> f64 {
        if self.l2 == 0.0 { 0.0 } else { 0.5 * self.l2 * norm::of_weights(shape, parameters) }
    }

    /// What chance decides for the next step.
    fn draw<T>(&self, memory: &Memory<T>, numbers: &[u32], partners: &mut Vec<u32>) -> Draw {
        self.regularization.draw(self.seed, memory.state.steps, self.total_steps, numbers, partners)
    }

    /// The optimiser's step along the gradient of a batch of that weight.
    fn descend<T: Real>(
        &self,
        shape: &Shape,
        memory: &mut Memory<T>,
        weight: f64,
        gradient: &mut [T],
        parameters: &mut [T],
        record: Option<&mut Squares>,
    ) {
        let mut l2 = self.l2 / weight;
        if self.gradient_clip.is_some() || record.is_some() {
            if l2 != 0.0 {
                norm::add_penalty(shape, gradient, parameters, l2);
                l2 = 0.0;
            }
            norm::clip(shape, gradient, self.gradient_clip, record);
        }
        self.optimizer.update(&mut memory.state, shape, self.total_steps, l2, gradient, parameters);
    }
}

/// What the team computes in a round: member m has group `first + m` of the batch's blocks.
struct Job<T> {
    parameters: Vec<T>,
    numbers: Vec<u32>,
    partners: Vec<u32>,
    draw: Draw,
    factor: f64,
    rows: usize,
    same: Option<usize>,
    first: usize,
}

/// What the members of a team share.
struct Shared<'a, T> {
    loss: Loss,
    data: &'a Data<'a>,
    /// The helpers': member m has the one at m − 1. The caller's is the [`Trainer`]'s own.
    workers: Vec<Mutex<Worker<T>>>,
    job: RwLock<Job<T>>,
}

impl<T: Real> Shared<'_, T> {
    fn worker(&self, member: usize) -> MutexGuard<'_, Worker<T>> {
        // Poison would mean a panic, which the team passes on: the buffers themselves are always usable.
        self.workers[member - 1].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work of a helper in a round.
    fn work(&self, member: usize) {
        let job = self.job.read().unwrap_or_else(PoisonError::into_inner);
        let Job { numbers, partners, draw, factor, rows, same, .. } = &*job;
        let batch = Batch { numbers, partners, draw: *draw, factor: *factor, rows: *rows, same: *same };
        let number = job.first + member;
        if number < batch.groups() {
            self.worker(member).compute_group(self.loss, &job.parameters, self.data, &batch, number);
        }
    }
}

/// Steps and epochs over a table.
pub struct Trainer<'a, 'b, T> {
    shape: &'a Shape,
    settings: &'a Settings,
    shared: &'a Shared<'a, T>,
    worker: Worker<T>,
    team: &'a mut Team<'b>,
    interrupt: Interrupt<'a>,
    /// The gradient of a batch of several blocks, added up; then it stands in the worker's.
    totals: Vec<f64>,
    /// The rows in the epoch's order; empty before the first epoch.
    order: Vec<u32>,
    /// The rows that mixup mixes a batch of several blocks with.
    partners: Vec<u32>,
    /// The norms of the gradients of an epoch's steps, where they are recorded.
    record: Option<Squares>,
    /// Floating-point operations of a row.
    work_per_row: f64,
}

/// Floating-point operations of a row's way through the network and back.
fn work_per_row(shape: &Shape) -> f64 {
    6.0 * shape.work() as f64 + 100.0 * shape.width() as f64
}

/// Nanoseconds an operation takes, roughly: for deciding whether a thread pays.
const NANOSECONDS: f64 = 0.02;
/// A step shorter than this many nanoseconds is not worth waking a thread for.
const SHORTEST_SHARED_STEP: f64 = 5e4;

/// Calls `body` with a trainer for `epochs` epochs over `data`; helper threads are gone when it returns.
pub fn with_trainer<T: Real, R>(
    shape: &Shape,
    settings: &Settings,
    data: &Data,
    epochs: usize,
    interrupt: Interrupt,
    body: impl FnOnce(&mut Trainer<T>) -> Result<R>,
) -> Result<R> {
    let n_parameters = shape.n_parameters();
    let batch = settings.batch_size.min(data.len());
    let groups = groups(batch, block_rows::<T>(shape, batch));
    let step = NANOSECONDS * work_per_row(shape) * batch as f64;
    let whole_run = NANOSECONDS * work_per_row(shape) * data.len() as f64 * epochs as f64;
    let n = parallel::threads(
        settings.n_threads,
        groups,
        if step < SHORTEST_SHARED_STEP { 0.0 } else { whole_run },
    );
    let regularization = &settings.regularization;
    // The last batch of an epoch may be a smaller one.
    let last = data.len() % batch.max(1);
    let rows = block_rows::<T>(shape, batch).max(if last == 0 { 0 } else { block_rows::<T>(shape, last) });
    let blocks = data.len() / batch.max(1) * n_blocks::<T>(shape, batch) + n_blocks::<T>(shape, last);
    // Layers of other kinds put the derivative where their inputs were.
    let dense = matches!(shape.layers[0].kind, Kind::Dense { .. });
    let same = !settings.shuffle && epochs > 1 && regularization.is_none() && dense;
    let held = if same && blocks * Held::<T>::bytes(shape, rows) <= MOST_HELD { blocks } else { 0 };
    let worker = || -> Result<Worker<T>> {
        let mut worker = Worker::new(shape, regularization, batch, rows)?;
        worker.held.resize_with(held, || None);
        Ok(worker)
    };
    let own = worker()?;
    let shared = Shared {
        loss: settings.loss,
        data,
        workers: (1..n).map(|_| Ok(Mutex::new(worker()?))).collect::<Result<_>>()?,
        job: RwLock::new(Job {
            parameters: Vec::new(),
            numbers: Vec::new(),
            partners: Vec::new(),
            draw: Draw::none(),
            factor: 0.0,
            rows: 0,
            same: None,
            first: 0,
        }),
    };
    let totals = zeros(if batch > MOST_ROWS { n_parameters } else { 0 })?;
    let mixed = batch > MOST_ROWS && regularization.mixup_alpha > 0.0;
    let (mut order, partners) = (zeros(data.len())?, zeros(if mixed { batch } else { 0 })?);
    order.clear();
    let record = settings.record_gradient_norm.then(|| Squares::new(shape.learned().count()));
    parallel::with_team(n, &|member| shared.work(member), |team| {
        let shared = &shared;
        let work_per_row = work_per_row(shape);
        body(&mut Trainer {
            shape,
            settings,
            shared,
            worker: own,
            team,
            interrupt,
            totals,
            order,
            partners,
            record,
            work_per_row,
        })
    })
}

/// Operations between two looks at the clock: some microseconds' work.
const WORK_BETWEEN_LOOKS: f64 = 5e5;

impl<T: Real> Trainer<'_, '_, T> {
    /// One step on the rows of these numbers, or None where interrupted, with nothing changed. A batch of weight 0
    /// changes nothing.
    pub fn step(&mut self, parameters: &mut [T], memory: &mut Memory<T>, numbers: &[u32]) -> Option<Sums> {
        self.step_of_epoch(parameters, memory, numbers, None)
    }

    /// The same; where every epoch has the `same` blocks, they begin at that number.
    #[inline(always)]
    fn step_of_epoch(
        &mut self,
        parameters: &mut [T],
        memory: &mut Memory<T>,
        numbers: &[u32],
        same: Option<usize>,
    ) -> Option<Sums> {
        let data = self.shared.data;
        if numbers.len() <= MOST_ROWS {
            let (settings, record) = (self.settings, self.record.as_mut());
            let worker = &mut self.worker;
            return Some(worker.step(self.shape, settings, parameters, memory, data, numbers, same, record));
        }
        let weight = data.weight_of(numbers);
        if weight == 0.0 {
            return Some([0.0; 3]);
        }
        let penalty = self.settings.penalty(self.shape, parameters);
        let mut partners = std::mem::take(&mut self.partners);
        let draw = self.settings.draw(memory, numbers, &mut partners);
        let rows = block_rows::<T>(self.shape, numbers.len());
        let batch = Batch { numbers, partners: &partners, draw, factor: 1.0 / weight, rows, same };
        let loss = self.blocks(parameters, &batch);
        self.partners = partners;
        let (loss, gradient) = (loss?, &mut self.worker.gradient);
        self.settings.descend(self.shape, memory, weight, gradient, parameters, self.record.as_mut());
        Some([loss, weight, penalty])
    }

    /// One step on all rows that count.
    pub fn step_on_all(&mut self, parameters: &mut [T], memory: &mut Memory<T>) -> Option<Sums> {
        let numbers = self.all_numbers();
        self.step(parameters, memory, &numbers)
    }

    fn all_numbers(&self) -> Vec<u32> {
        (0..self.shared.data.len()).map(|place| self.shared.data.number(place)).collect()
    }

    /// Σ weight·loss over the blocks of a batch, and in the own worker the gradient of the batch's factor times it.
    fn blocks(&mut self, parameters: &[T], batch: &Batch) -> Option<f64> {
        let (shared, members) = (self.shared, self.team.members());
        if members > 1 {
            let mut job = shared.job.write().unwrap_or_else(PoisonError::into_inner);
            job.parameters.clear();
            job.parameters.extend_from_slice(parameters);
            job.numbers.clear();
            job.numbers.extend_from_slice(batch.numbers);
            job.partners.clear();
            job.partners.extend_from_slice(batch.partners);
            (job.draw, job.factor, job.rows, job.same) = (batch.draw, batch.factor, batch.rows, batch.same);
        }
        let mut loss = 0.0;
        let groups = batch.groups();
        let mut first = 0;
        self.totals.fill(0.0);
        while first < groups {
            if (self.interrupt)() {
                return None;
            }
            if members > 1 {
                shared.job.write().unwrap_or_else(PoisonError::into_inner).first = first;
            }
            let (own, data) = (&mut self.worker, shared.data);
            let work = || own.compute_group(shared.loss, parameters, data, batch, first);
            self.team.run(work);
            loss += self.worker.add_to(&mut self.totals);
            for member in 1..members.min(groups - first) {
                loss += shared.worker(member).add_to(&mut self.totals);
            }
            first += members;
        }
        for (gradient, total) in self.worker.gradient.iter_mut().zip(&self.totals) {
            *gradient = T::of(*total);
        }
        Some(loss)
    }

    // Calls from here down to the kernel of a small network's step cost a seventh of it: what they return goes through
    // memory.

    /// One epoch, or None where interrupted.
    #[inline(always)]
    pub fn epoch(&mut self, parameters: &mut [T], memory: &mut Memory<T>) -> Option<Sums> {
        let mut order = std::mem::take(&mut self.order);
        let data = self.shared.data;
        if self.settings.shuffle {
            order.resize(data.len(), 0);
            Stream::new(self.settings.seed, Purpose::Shuffle, 0, memory.epochs).permutation(&mut order);
            if data.index.is_some() {
                order.iter_mut().for_each(|number| *number = data.number(*number as usize));
            }
        } else if order.is_empty() {
            // Once for all epochs.
            order.extend((0..data.len()).map(|place| data.number(place)));
        }
        memory.epochs += 1;
        let sums = self.steps(parameters, memory, &order);
        self.order = order;
        if let Some([loss, weight, _]) = sums {
            memory.state.adaptation.note(&self.settings.optimizer.learning_rate, loss / weight);
        }
        sums
    }

    #[inline(always)]
    fn steps(&mut self, parameters: &mut [T], memory: &mut Memory<T>, order: &[u32]) -> Option<Sums> {
        let mut sums = [0.0; 3];
        let mut work = 0.0;
        let mut same = (!self.worker.held.is_empty()).then_some(0);
        for numbers in order.chunks(self.settings.batch_size) {
            let more = self.step_of_epoch(parameters, memory, numbers, same)?;
            if let Some(same) = &mut same {
                *same += n_blocks::<T>(self.shape, numbers.len());
            }
            sums = std::array::from_fn(|i| sums[i] + more[i]);
            work += self.work_per_row * numbers.len() as f64;
            if work > WORK_BETWEEN_LOOKS {
                work = 0.0;
                if (self.interrupt)() {
                    return None;
                }
            }
        }
        Some(sums)
    }
}

/// The weighted mean loss over all rows that count, without regularisation; `out` becomes its gradient.
pub fn gradient<T: Real>(
    shape: &Shape,
    settings: &Settings,
    parameters: &[T],
    data: &Data,
    interrupt: Interrupt,
    out: &mut [T],
) -> Result<f64> {
    let regularization = Regularization::none();
    let settings = &Settings { batch_size: data.len(), regularization, ..settings.clone() };
    with_trainer(shape, settings, data, 1, interrupt, |trainer| {
        let numbers = trainer.all_numbers();
        let weight = data.weight_of(&numbers);
        let (rows, factor) = (block_rows::<T>(shape, numbers.len()), 1.0 / weight);
        let batch = Batch { numbers: &numbers, partners: &[], draw: Draw::none(), factor, rows, same: None };
        let several = (numbers.len() > MOST_ROWS).then(|| trainer.blocks(parameters, &batch));
        let worker = &mut trainer.worker;
        let loss = match several {
            Some(loss) => loss.ok_or(Error::Interrupted)?,
            None => {
                worker.compute(settings.loss, parameters, data, &batch, 0);
                worker.loss
            }
        };
        out.copy_from_slice(&worker.gradient);
        Ok(loss / weight)
    })
}
