//! Sums over data in an order of their own.
//!
//! The order depends on the number of elements alone: up to fifteen are added by halves; more stand in eight lanes,
//! whose vectors are added in groups of eight by a tree, and the groups to a total that carries its rounding errors
//! along (Knuth's two-sum), so that a long sum is as exact as a short one. Every level gives the same bits, and so does
//! every division of the data into pieces of whole groups. Elements are added as `f64`.

use crate::simd::{Kernel, Real, Simd, Vector, dispatch};

/// Elements in a group.
pub const GROUP: usize = 64;

/// A sum and the rounding errors made on the way to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    /// Adds a number.
    #[inline(always)]
    pub fn add(&mut self, x: f64) {
        let sum = self.high + x;
        let moved = sum - self.high;
        self.low += (self.high - (sum - moved)) + (x - moved);
        self.high = sum;
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: Sum) {
        self.add(other.high);
        self.low += other.low;
    }

    /// What it comes to.
    #[inline(always)]
    pub fn value(self) -> f64 {
        // Errors of infinite sums are NaN.
        if self.high.is_finite() { self.high + self.low } else { self.high }
    }
}

/// Eight sums side by side.
#[derive(Clone, Copy)]
pub struct Lanes<S: Simd> {
    high: S::F64,
    low: S::F64,
}

impl<S: Simd> Lanes<S> {
    /// Nothing yet.
    #[allow(clippy::new_without_default, reason = "a function, for inlining")]
    #[inline(always)]
    pub fn new() -> Self {
        Lanes { high: S::F64::splat(0.0), low: S::F64::splat(0.0) }
    }

    /// Adds elements: whole groups, or the last ones.
    #[inline(always)]
    pub fn add<T: Real>(&mut self, x: &[T]) {
        let mut groups = x.chunks_exact(GROUP);
        for x in &mut groups {
            let (a, b) = (T::sixteen::<S>(&x[..16]), T::sixteen::<S>(&x[16..32]));
            let (c, d) = (T::sixteen::<S>(&x[32..48]), T::sixteen::<S>(&x[48..64]));
            self.add_group([a, b, c, d]);
        }
        let rest = groups.remainder();
        if !rest.is_empty() {
            let mut halves = [[S::F64::splat(0.0); 2]; GROUP / 16];
            for (half, x) in halves.iter_mut().zip(rest.chunks(16)) {
                if x.len() == 16 {
                    *half = T::sixteen::<S>(x);
                    continue;
                }
                let mut lanes = [T::ZERO; 16];
                lanes[..x.len()].copy_from_slice(x);
                *half = T::sixteen::<S>(&lanes);
            }
            self.add_group(halves);
        }
    }

    #[inline(always)]
    fn add_group(&mut self, [a, b, c, d]: [[S::F64; 2]; 4]) {
        self.add_lanes(((a[0] + a[1]) + (b[0] + b[1])) + ((c[0] + c[1]) + (d[0] + d[1])));
    }

    /// Adds a vector of any type, its halves together.
    #[inline(always)]
    pub fn add_vector<T: Real>(&mut self, v: T::Vector<S>) {
        let mut halves = [S::F64::splat(0.0); 2];
        T::accumulate::<S>(v, &mut halves);
        self.add_lanes(halves[0] + halves[1]);
    }

    /// Adds eight numbers, one to each lane.
    #[inline(always)]
    pub fn add_lanes(&mut self, x: S::F64) {
        let sum = self.high + x;
        let moved = sum - self.high;
        self.low = self.low + ((self.high - (sum - moved)) + (x - moved));
        self.high = sum;
    }

    /// The lanes' sum.
    #[inline(always)]
    pub fn fold(self) -> Sum {
        Sum { high: self.high.fold(), low: self.low.fold() }
    }

    /// The lanes, to go on with later.
    #[inline(always)]
    pub fn running(self) -> Running {
        let mut running = Running::default();
        self.high.copy_to(&mut running.high);
        self.low.copy_to(&mut running.low);
        running
    }
}

/// [`Lanes`] that outlive a kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Running {
    high: [f64; 8],
    low: [f64; 8],
}

impl Running {
    /// Adds elements: whole groups, or the last ones.
    pub fn add<T: Real>(&mut self, x: &[T]) {
        dispatch(Add { running: self, x });
    }

    /// The lanes, to be added to.
    #[inline(always)]
    pub fn lanes<S: Simd>(&self) -> Lanes<S> {
        Lanes { high: S::F64::from_slice(&self.high), low: S::F64::from_slice(&self.low) }
    }

    /// The lanes' sum.
    pub fn fold(self) -> Sum {
        Sum { high: halves(self.high), low: halves(self.low) }
    }
}

/// What [`Vector::fold`] does.
fn halves([a, b, c, d, e, f, g, h]: [f64; 8]) -> f64 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

struct Add<'a, T> {
    running: &'a mut Running,
    x: &'a [T],
}

impl<T: Real> Kernel for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut lanes = self.running.lanes::<S>();
        lanes.add(self.x);
        *self.running = lanes.running();
    }
}

/// The sums of rows of `n` elements, one after another, by the level in force.
pub fn of_rows<T: Real>(x: &[T], n: usize, sums: &mut [f64]) {
    dispatch(Rows { x, n, sums });
}

struct Rows<'a, T> {
    x: &'a [T],
    n: usize,
    sums: &'a mut [f64],
}

impl<T: Real> Kernel for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        rows::<T, S>(self.x, self.n, self.sums);
    }
}

/// The sums of rows of `n` elements, one after another.
#[allow(clippy::reversed_empty_ranges, reason = "short rows have fewer steps")]
#[inline(always)]
pub fn rows<T: Real, S: Simd>(x: &[T], n: usize, sums: &mut [f64]) {
    macro_rules! by_halves {
        ($($K:literal)*) => {
            match n {
                $($K => {
                    for (x, sum) in x.chunks_exact($K).zip(sums) {
                        let mut terms = [0.0f64; $K];
                        for i in 0..$K {
                            terms[i] = x[i].f64();
                        }
                        // Constants, so that every step is unrolled.
                        const HALF: usize = usize::div_ceil($K, 2);
                        const QUARTER: usize = HALF.div_ceil(2);
                        const EIGHTH: usize = QUARTER.div_ceil(2);
                        for i in 0..$K / 2 {
                            terms[i] += terms[HALF + i];
                        }
                        for i in 0..HALF / 2 {
                            terms[i] += terms[QUARTER + i];
                        }
                        for i in 0..QUARTER / 2 {
                            terms[i] += terms[EIGHTH + i];
                        }
                        for i in 0..EIGHTH / 2 {
                            terms[i] += terms[1 + i];
                        }
                        *sum = terms[0];
                    }
                })*
                0 => sums.fill(0.0),
                _ => {
                    for (x, sum) in x.chunks_exact(n).zip(sums) {
                        let mut lanes = Lanes::<S>::new();
                        lanes.add(x);
                        *sum = lanes.fold().value();
                    }
                }
            }
        };
    }
    by_halves!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    #[test]
    fn every_length_is_summed_exactly_to_a_few_roundings_at_every_level() {
        let before = Level::current();
        for n in (1..200).chain([1000, 4096, 100_001]) {
            // Numbers of wide range whose exact sum is known: x, then what brings each to a multiple of 2⁻²⁰.
            let x: Vec<f64> = (0..2 * n).map(|i| 1.0 / (1.0 + (i * i % 1009) as f64)).collect();
            let mut expected = [0.0; 2];
            for (x, sum) in x.chunks_exact(n).zip(&mut expected) {
                // In integers of 2⁻⁹⁰, which hold each element.
                let total: i128 = x.iter().map(|x| (x * (1u128 << 90) as f64) as i128).sum();
                *sum = total as f64 / (1u128 << 90) as f64;
            }
            let mut bits = Vec::new();
            for level in Level::ALL.into_iter().filter(|level| level.set()) {
                let mut sums = [0.0; 2];
                of_rows(&x, n, &mut sums);
                for (sum, expected) in sums.iter().zip(expected) {
                    assert!((sum - expected).abs() <= 4.0 * f64::EPSILON * expected, "{n} {level:?}");
                }
                bits.push(sums.map(f64::to_bits));
            }
            assert!(bits.windows(2).all(|pair| pair[0] == pair[1]));
        }
        before.set();
    }

    #[test]
    fn ten_million_equal_numbers_lose_nothing() {
        let mut sum = Sum::default();
        (0..10_000_000).for_each(|_| sum.add(0.1));
        assert_eq!(sum.value(), 1e6);
    }

    #[test]
    fn an_infinite_sum_is_infinite() {
        let mut sum = Sum::default();
        [1.0, f64::INFINITY, 1.0].into_iter().for_each(|x| sum.add(x));
        assert_eq!(sum.value(), f64::INFINITY);
    }
}
