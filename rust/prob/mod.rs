//! Probability without networks: exact draws, likelihoods and divergences of Bernoulli and categorical distributions.

pub mod bernoulli;
pub mod categorical;
mod chunks;
mod digits;
pub mod divergence;
mod elementwise;
pub mod likelihood;
mod rare;
pub mod sink;
mod softmax;
mod terms;

use crate::simd::Real;

/// Parameters spread over more elements than there are: element i has `values[(i / each) % values.len()]`.
#[derive(Clone, Copy, Debug)]
pub struct Spread<'a, T> {
    /// At least one.
    pub values: &'a [T],
    /// How many neighbours share a value, at least 1.
    pub each: usize,
}

impl<'a, T: Real> Spread<'a, T> {
    /// The values of `n` elements from `first` on: a part of `values` where they stand there in a row, else `buffer`'s.
    #[inline(always)]
    pub fn part<'b>(&'b self, first: u64, n: usize, buffer: &'b mut [T]) -> &'b [T] {
        let length = self.values.len();
        let place = (first / self.each as u64 % length as u64) as usize;
        if self.each == 1 && place + n <= length {
            return &self.values[place..place + n];
        }
        let (mut place, mut used) = (place, (first % self.each as u64) as usize);
        for value in &mut buffer[..n] {
            *value = self.values[place];
            used += 1;
            if used == self.each {
                (place, used) = (if place + 1 == length { 0 } else { place + 1 }, 0);
            }
        }
        &buffer[..n]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_the_definition_says() {
        let values = [1.0, 2.0, 3.0];
        for each in [1, 2, 5] {
            let spread = Spread { values: &values, each };
            for first in [0, 1, 7, 29] {
                let mut buffer = [0.0; 20];
                for (i, value) in spread.part(first, 20, &mut buffer).iter().enumerate() {
                    assert_eq!(*value, values[(first as usize + i) / each % 3]);
                }
            }
        }
    }
}
