//! Tables to learn from: inputs, targets and weights, judged once before any work is done.

use super::Shape;
use super::loss::Loss;
use crate::error::{Error, Result};
use crate::parallel::zeros;
use crate::random::{Purpose, Seed, Stream};
use crate::rows::Rows;
use crate::simd::Real;

/// What the network should have said.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// One class index a row.
    Classes(&'a [u32]),
    /// A row of [`Loss::n_targets`] numbers each: probabilities, labels or values.
    Values(Rows<'a>),
}

/// Rows with their targets and weights.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// Inputs.
    pub x: Rows<'a>,
    /// Targets.
    pub y: Targets<'a>,
    /// Weights of the rows, all 1 where there are none.
    pub weights: Option<&'a [f64]>,
    /// The numbers of the rows that count, all where there are none.
    pub index: Option<&'a [u32]>,
}

impl Data<'_> {
    /// How many rows count.
    #[inline]
    pub fn len(&self) -> usize {
        self.index.map_or(self.x.n_rows(), <[u32]>::len)
    }

    /// Whether no row counts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number in the table of the row at `place`.
    #[inline]
    pub fn number(&self, place: usize) -> u32 {
        self.index.map_or(place as u32, |index| index[place])
    }

    /// The weight of a row by its number in the table.
    #[inline]
    pub fn weight(&self, number: u32) -> f64 {
        self.weights.map_or(1.0, |weights| weights[number as usize])
    }

    /// Σ weight of rows by their numbers.
    #[inline]
    pub fn weight_of(&self, numbers: &[u32]) -> f64 {
        match self.weights {
            Some(weights) => numbers.iter().map(|number| weights[*number as usize]).sum(),
            None => numbers.len() as f64,
        }
    }

    /// Writes the numbered rows' targets for `k` outputs feature-major; returns whether each is one class.
    pub fn gather_targets<T: Real>(
        &self,
        loss: Loss,
        k: usize,
        numbers: &[u32],
        to: &mut [T],
        to_row: usize,
    ) -> bool {
        match self.y {
            Targets::Classes(classes) => {
                to[..k * to_row].fill(T::of(loss.other_class()));
                for (s, number) in numbers.iter().enumerate() {
                    to[classes[*number as usize] as usize * to_row + s] = T::ONE;
                }
                true
            }
            Targets::Values(values) => {
                values.gather(numbers, to, to_row);
                false
            }
        }
    }
}

/// The public names of a table's parts, for errors.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The inputs.
    pub x: &'static str,
    /// The targets.
    pub y: &'static str,
    /// The weights.
    pub weights: &'static str,
}

/// The names of what is learned from.
pub const TRAINING: Names = Names { x: "X", y: "y", weights: "sample_weight" };
/// The names of what is held back.
pub const VALIDATION: Names = Names { x: "validation[0]", y: "validation[1]", weights: "validation[2]" };
/// The names of what is held back from the table itself.
pub const HELD_BACK: Names =
    Names { x: "X", y: "y", weights: "sample_weight of the rows that are held back" };

impl Data<'_> {
    /// Judges every value as the type `T` holds it: inputs finite, targets what the loss is defined for, weights finite
    /// and at least 0.
    pub fn check<T: Real>(
        &self,
        shape: &Shape,
        loss: Loss,
        names: Names,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        if self.is_empty() {
            return Err(Error::Empty { argument: names.x, need: "have at least one row" });
        }
        self.x.check::<T>(names.x, stop)?;
        check_categories(shape, &self.x, names.x)?;
        match self.y {
            Targets::Classes(classes) => check_classes(classes, shape.n_outputs(), names.y)?,
            Targets::Values(values) => check_values::<T>(&values, loss, names.y)?,
        }
        let Some(weights) = self.weights else { return Ok(()) };
        if let Some(i) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            let need = "be finite and at least 0";
            return Err(Error::Value { argument: names.weights, index: vec![i], value: weights[i], need });
        }
        Ok(())
    }

    /// An error if no row that counts has a weight: there is nothing to learn from.
    pub fn check_weight(&self, names: Names) -> Result<()> {
        if (0..self.len()).all(|place| self.weight(self.number(place)) == 0.0) {
            return Err(Error::Empty { argument: names.weights, need: "not be 0 for all rows" });
        }
        Ok(())
    }
}

/// An error if an input that is the number of a category is none.
pub fn check_categories(shape: &Shape, x: &Rows, argument: &'static str) -> Result<()> {
    let categories = &shape.categories;
    if categories.is_empty() {
        return Ok(());
    }
    for row in 0..x.n_rows() {
        let mut wrong = None;
        x.each(row, |j, value| {
            let known = |levels: usize| value >= 0.0 && value < levels as f64 && value.fract() == 0.0;
            if let Some((_, levels)) = categories.iter().find(|(column, n)| *column == j && !known(*n)) {
                wrong = wrong.or(Some((j, value, *levels)));
            }
        });
        if let Some((column, value, levels)) = wrong {
            return Err(Error::Category { argument, index: [row, column], value, levels });
        }
    }
    Ok(())
}

/// Marks the rows that are held back in `held`: `fraction` of all, to the nearest, and by class as near to it as can be.
pub fn hold_back(seed: Seed, fraction: f64, classes: Option<&[u32]>, held: &mut [bool]) -> Result<()> {
    let mut order: Vec<u32> = zeros(held.len())?;
    Stream::new(seed, Purpose::Split, 0, 0).permutation(&mut order);
    held.fill(false);
    let wanted = (fraction * held.len() as f64 + 0.5) as usize;
    let Some(classes) = classes else {
        order[..wanted].iter().for_each(|number| held[*number as usize] = true);
        return Ok(());
    };
    let mut counts = vec![0u64; classes.iter().max().map_or(0, |most| *most as usize + 1)];
    classes.iter().for_each(|class| counts[*class as usize] += 1);
    // Each class gives the whole part of its share; those with the largest rest give one more.
    let share = |count: &u64| *count as f64 * fraction;
    let rest = |count: &u64| share(count) - share(count).trunc();
    let mut left: Vec<u64> = counts.iter().map(|count| share(count) as u64).collect();
    let mut by_rest: Vec<usize> = (0..counts.len()).collect();
    by_rest.sort_by(|a, b| rest(&counts[*b]).total_cmp(&rest(&counts[*a])));
    let missing = wanted - left.iter().sum::<u64>() as usize;
    by_rest.iter().take(missing).for_each(|class| left[*class] += 1);
    for number in order {
        let left = &mut left[classes[number as usize] as usize];
        if *left > 0 {
            (*left, held[number as usize]) = (*left - 1, true);
        }
    }
    Ok(())
}

fn check_classes(classes: &[u32], k: usize, argument: &'static str) -> Result<()> {
    match classes.iter().position(|class| *class as usize >= k) {
        Some(i) => Err(Error::Value {
            argument,
            index: vec![i],
            value: f64::from(classes[i]),
            need: "be a class index below the network's number of outputs",
        }),
        None => Ok(()),
    }
}

fn check_values<T: Real>(values: &Rows, loss: Loss, argument: &'static str) -> Result<()> {
    let (low, high, need) = match loss {
        Loss::BinaryCrossEntropy => (0.0, 1.0, "be a probability, from 0 to 1"),
        Loss::Kl | Loss::CrossEntropy => (0.0, f64::INFINITY, "be a probability, from 0 to 1"),
        Loss::Poisson => (0.0, f64::INFINITY, "be finite and at least 0"),
        Loss::Hinge | Loss::Perceptron => (-1.0, 1.0, "be -1 or 1"),
        Loss::SquaredError | Loss::GaussianNll | Loss::Huber(_) | Loss::Quantile(_) => {
            (f64::NEG_INFINITY, f64::INFINITY, "be finite")
        }
    };
    let margin = matches!(loss, Loss::Hinge | Loss::Perceptron);
    // The square root of the type's precision, as for divergences.
    let tolerance = if size_of::<T>() == 4 { 3.5e-4 } else { 1.5e-8 };
    for row in 0..values.n_rows() {
        let (mut sum, mut wrong) = (0.0, None);
        values.each(row, |column, value| {
            let held = T::of(value).f64();
            let right = held.is_finite() && (low..=high).contains(&held) && (!margin || held.abs() == 1.0);
            if !right && wrong.is_none() {
                wrong = Some((column, value));
            }
            sum += held;
        });
        if let Some((column, value)) = wrong {
            let index = if values.n_columns() == 1 { vec![row] } else { vec![row, column] };
            let need =
                if value.is_finite() && !T::of(value).is_finite() { "be finite in float32" } else { need };
            return Err(Error::Value { argument, index, value, need });
        }
        if matches!(loss, Loss::Kl | Loss::CrossEntropy) && (sum - 1.0).abs() > tolerance {
            return Err(Error::RowSum { argument, row, sum });
        }
    }
    Ok(())
}
