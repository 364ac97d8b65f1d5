//! ln p of the class that happened, p the softmax of a row of logits z: (z_y − m) − ln(1 + rest), m the largest logit
//! and `rest` the sum of exp(z − m) over all but one of the largest. So a sure and right prediction costs what it should,
//! down to the denormals, and not 0.
//!
//! Rows up to [`SHORT`] classes stand with samples in lanes: a vector's worth of them is turned, each lane's maximum
//! wanders through, leaving the others behind, and what is left is exactly what `rest` is made of. Longer rows have
//! classes in lanes, are read twice and added up as in [`crate::sum`]. Which way depends on the number of classes
//! alone, so a row's bits don't depend on its neighbours. No number is looked at for its own sake: what is NaN, +∞ or
//! −∞ throughout makes `rest` NaN or m infinite.

use super::chunks::of_class;
use super::terms::Format;
use crate::gemm::{Transpose, padded};
use crate::math::{exp_scaled, ln_1p, scale};
use crate::simd::{Kernel, Mask, Real, Simd, Vector, dispatch};
use crate::sum::{Lanes, Running};

/// Classes up to which samples stand in lanes.
pub const SHORT: usize = 256;

/// Elements that `scratch` of [`log_of_classes`] holds: a vector's worth of short rows, as they come and turned.
pub const SCRATCH: usize = 2 * 16 * SHORT + 16;

/// ln p of each row's class, for rows of n ≤ SHORT logits; NaN where a row is none. Returns whether all are rows.
pub fn log_of_classes<T: Format>(
    logs: &mut [T],
    x: &[T],
    n: usize,
    classes: &[i64],
    scratch: &mut [T],
) -> bool {
    dispatch(Short { logs, x, n, classes, scratch })
}

struct Short<'a, T> {
    /// One a row.
    logs: &'a mut [T],
    /// Rows of `n`, one after another.
    x: &'a [T],
    n: usize,
    /// One a row, each below `n` when it was checked.
    classes: &'a [i64],
    scratch: &'a mut [T],
}

impl<T: Format> Kernel for Short<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        let Short { logs, x, n, classes, scratch } = self;
        let (turned, tail) = scratch.split_at_mut(T::LANES * SHORT);
        let rows = x.chunks(T::LANES * n).zip(logs.chunks_mut(T::LANES)).zip(classes.chunks(T::LANES));
        let mut good = true;
        for (i, ((own, logs), classes)) in rows.enumerate() {
            let from = &x[i * T::LANES * n..];
            // A square reads beyond its rows.
            let needed = (T::LANES - 1) * n + padded::<T>(n);
            let from = if from.len() >= needed {
                from
            } else {
                tail[..own.len()].copy_from_slice(own);
                tail[own.len()..needed].fill(T::ZERO);
                &*tail
            };
            let (to, to_row) = (&mut *turned, T::LANES);
            // Whole squares are turned fastest: what stands beside the rows is turned, too.
            let (rows, columns) = (T::LANES, padded::<T>(n));
            Transpose { to, to_row, from, from_row: n, rows, columns }.run::<S>();
            let mut picked = [T::ZERO; 16];
            for ((picked, row), class) in picked.iter_mut().zip(own.chunks_exact(n)).zip(classes) {
                *picked = of_class(row, *class);
            }
            let picked = T::Vector::<S>::from_slice(&picked);

            let mut most = T::Vector::<S>::from_slice(turned);
            for at in (T::LANES..n * T::LANES).step_by(T::LANES) {
                let z = T::Vector::<S>::from_slice(&turned[at..]);
                // Of NaN and a number one is left behind, the other goes on.
                most.min(z).copy_to(&mut turned[at..]);
                most = z.max(most);
            }
            let zero = T::Vector::<S>::splat(T::ZERO);
            // By fours, and to a total that carries its rounding errors along.
            let (mut sum, mut lost) = (zero, zero);
            for z in turned[T::LANES..n * T::LANES].chunks(4 * T::LANES) {
                let mut e = [zero; 4];
                if z.len() == 4 * T::LANES {
                    for (i, e) in e.iter_mut().enumerate() {
                        *e = exp_scaled(T::Vector::<S>::from_slice(&z[i * T::LANES..]) - most);
                    }
                } else {
                    for (z, e) in z.chunks_exact(T::LANES).zip(&mut e) {
                        *e = exp_scaled(T::Vector::<S>::from_slice(z) - most);
                    }
                }
                let four = (e[0] + e[1]) + (e[2] + e[3]);
                let total = sum + four;
                let moved = total - sum;
                lost = lost + ((sum - (total - moved)) + (four - moved));
                sum = total;
            }
            let rest = (sum + lost) * T::Vector::<S>::splat(T::of(1.0 / scale::<T>()));
            let infinity = T::Vector::<S>::splat(T::INFINITY);
            let real = most.abs().lt(infinity).and(rest.eq(rest));
            let log =
                T::Vector::<S>::select(real, picked - most - ln_1p(rest), T::Vector::<S>::splat(T::NAN));
            log.copy_to_partial(logs);
            // The lanes after the last row are zeros: rows, too.
            good &= !real.not().any();
        }
        good
    }
}

/// The largest elements of rows of `n`, and their rests.
pub fn measure_rows<T: Format>(x: &[T], n: usize, shifts: &mut [f64], rests: &mut [f64]) {
    dispatch(Long { x, n, shifts, rests });
}

struct Long<'a, T> {
    x: &'a [T],
    n: usize,
    shifts: &'a mut [f64],
    rests: &'a mut [f64],
}

impl<T: Format> Kernel for Long<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (x, (shift, rest)) in self.x.chunks_exact(self.n).zip(self.shifts.iter_mut().zip(self.rests)) {
            let most = largest::<T, S>(x);
            let mut sum = Rest::default();
            sum.add_vectors::<T, S>(x, most);
            (*shift, *rest) = (most.f64(), sum.value::<T>());
        }
    }
}

/// The largest element, NaN left out; −∞ if there is none.
pub fn largest_of<T: Format>(x: &[T]) -> T {
    struct Largest<'a, T>(&'a [T]);
    impl<T: Format> Kernel for Largest<'_, T> {
        type Output = T;
        #[inline(always)]
        fn run<S: Simd>(self) -> T {
            largest::<T, S>(self.0)
        }
    }
    dispatch(Largest(x))
}

/// See [`largest_of`].
#[inline(always)]
pub(super) fn largest<T: Format, S: Simd>(x: &[T]) -> T {
    let least = T::Vector::<S>::splat(-T::INFINITY);
    let mut most = [least; 4];
    let mut fours = x.chunks_exact(4 * T::LANES);
    for x in &mut fours {
        for (i, most) in most.iter_mut().enumerate() {
            // NaN in the first gives the second.
            *most = T::Vector::<S>::from_slice(&x[i * T::LANES..]).max(*most);
        }
    }
    for (x, most) in fours.remainder().chunks(T::LANES).zip(&mut most) {
        *most = T::Vector::<S>::from_partial(x, -T::INFINITY).max(*most);
    }
    let mut lanes = [-T::INFINITY; 16];
    most[0].max(most[1]).max(most[2].max(most[3])).copy_to(&mut lanes);
    let mut n = T::LANES;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            lanes[i] = if lanes[i + n] > lanes[i] { lanes[i + n] } else { lanes[i] };
        }
    }
    lanes[0]
}

/// The rest of a row that comes in parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    sum: Running,
    /// How many elements were the largest.
    equal: f64,
}

impl Rest {
    /// Adds elements: whole groups of 4 vectors, or the last ones.
    pub fn add<T: Format>(&mut self, x: &[T], most: T) {
        struct Add<'a, T>(&'a mut Rest, &'a [T], T);
        impl<T: Format> Kernel for Add<'_, T> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self) {
                self.0.add_vectors::<T, S>(self.1, self.2);
            }
        }
        dispatch(Add(self, x, most));
    }

    #[inline(always)]
    fn add_vectors<T: Format, S: Simd>(&mut self, x: &[T], most: T) {
        let mut lanes: Lanes<S> = self.sum.lanes();
        let most = T::Vector::<S>::splat(most);
        let mut equal = T::Vector::<S>::splat(T::ZERO);
        let mut fours = x.chunks_exact(4 * T::LANES);
        for x in &mut fours {
            let mut e = [most; 4];
            for (i, e) in e.iter_mut().enumerate() {
                *e = other::<T::Vector<S>>(T::Vector::<S>::from_slice(&x[i * T::LANES..]), most, &mut equal);
            }
            lanes.add_vector::<T>((e[0] + e[1]) + (e[2] + e[3]));
        }
        let rest = fours.remainder();
        if !rest.is_empty() {
            let mut e = [T::Vector::<S>::splat(T::ZERO); 4];
            for (x, e) in rest.chunks(T::LANES).zip(&mut e) {
                *e = other::<T::Vector<S>>(T::Vector::<S>::from_partial(x, -T::INFINITY), most, &mut equal);
            }
            lanes.add_vector::<T>((e[0] + e[1]) + (e[2] + e[3]));
        }
        self.sum = lanes.running();
        self.equal += equal.fold().f64();
    }

    /// What it comes to.
    pub fn value<T: Format>(self) -> f64 {
        self.sum.fold().value() / scale::<T>() + (self.equal - 1.0)
    }
}

/// exp(x − most), scaled, but 0 where they are equal, which is counted.
#[inline(always)]
fn other<V: Vector>(x: V, most: V, equal: &mut V) -> V
where
    V::Scalar: Format,
{
    let zero = V::splat(V::Scalar::ZERO);
    let behind = x - most;
    let largest = behind.eq(zero);
    *equal = *equal + V::select(largest, V::splat(V::Scalar::ONE), zero);
    V::select(largest, zero, exp_scaled(behind))
}
