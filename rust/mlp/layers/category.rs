//! A category as a row of a table, by its number: the one input.

use crate::simd::Real;

/// The table's size.
pub struct Category {
    /// Its rows.
    pub levels: usize,
    /// Numbers in a row.
    pub size: usize,
}

impl Category {
    /// The row of an input, which was judged to be the number of one; mixtures of samples have none of their own.
    fn level<T: Real>(&self, x: T) -> usize {
        (x.f64() as usize).min(self.levels - 1)
    }

    /// The rows of the table.
    pub fn forward<T: Real>(&self, out: &mut [T], x: &[T], table: &[T], row: usize, n: usize) {
        for (s, x) in x[..n].iter().enumerate() {
            let first = self.level(*x) * self.size;
            for (j, value) in table[first..first + self.size].iter().enumerate() {
                out[j * row + s] = *value;
            }
        }
    }

    /// The sum of δ over the samples of each row, in their order.
    pub fn backward<T: Real>(&self, gradient: &mut [T], x: &[T], delta: &[T], row: usize, n: usize) {
        gradient.fill(T::ZERO);
        for (s, x) in x[..n].iter().enumerate() {
            let first = self.level(*x) * self.size;
            for (j, g) in gradient[first..first + self.size].iter_mut().enumerate() {
                *g = *g + delta[j * row + s];
            }
        }
    }
}
