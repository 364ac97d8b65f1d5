//! What rows of numbers go through on their way to terms, a chunk at a time.

use super::softmax::largest;
use super::terms::Format;
use crate::math::{exp, ln_1p};
use crate::simd::{Kernel, Mask, Simd, Vector, dispatch};

/// A kernel and the function that runs it at the level in force.
macro_rules! kernel {
    (
        $(#[$doc:meta])*
        $name:ident $function:ident<$T:ident, $S:ident>($($argument:ident: $t:ty),*) -> $output:ty $body:block
    ) => {
        struct $name<'a, $T>($($t,)* std::marker::PhantomData<&'a $T>);

        impl<'a, $T: Format> Kernel for $name<'a, $T> {
            type Output = $output;
            #[inline(always)]
            fn run<$S: Simd>(self) -> $output {
                let $name($($argument,)* _) = self;
                $body
            }
        }

        $(#[$doc])*
        pub fn $function<'a, $T: Format>($($argument: $t),*) -> $output {
            dispatch($name($($argument,)* std::marker::PhantomData))
        }
    };
}

kernel!(
    /// (q + ε)/total, from q or ln q.
    Smooth smooth<T, S>(q: &'a mut [T], logarithms: bool, eps: f64, total: f64) -> () {
        let (eps, total) = (T::Vector::<S>::splat(T::of(eps)), T::Vector::<S>::splat(T::of(total)));
        for q in q.chunks_mut(T::LANES) {
            let x = T::Vector::<S>::from_partial(q, T::ZERO);
            let x = if logarithms { exp(x) } else { x };
            ((x + eps) / total).copy_to_partial(q);
        }
    }
);

kernel!(
    /// Whether all are finite and ≥ 0; logits: whether all are below +∞.
    Valid valid<T, S>(x: &'a [T], logits: bool) -> bool {
        let (zero, infinity) = (T::Vector::<S>::splat(T::ZERO), T::Vector::<S>::splat(T::INFINITY));
        let least = if logits { -infinity } else { zero };
        let mut good = least.le(zero);
        for x in x.chunks(T::LANES) {
            let x = T::Vector::<S>::from_partial(x, T::ZERO);
            good = good.and(least.le(x)).and(x.lt(infinity));
        }
        !good.not().any()
    }
);

kernel!(
    /// Rows of `n` less their largest elements, which go to `shifts`; and the exponentials of that, but 0 for all that
    /// are largest. There are 1 + `ties` of them: 1 + the rest may be 1, while ln(1 + rest) is not 0.
    Shift shift<T, S>(
        shifted: &'a mut [T],
        exponentials: &'a mut [T],
        shifts: &'a mut [f64],
        ties: &'a mut [f64],
        x: &'a [T],
        n: usize
    ) -> () {
        let rows = x.chunks_exact(n).zip(shifted.chunks_exact_mut(n)).zip(shifts.iter_mut().zip(ties));
        macro_rules! by_length {
            ($($K:literal)*) => {
                match n {
                    $($K => {
                        for ((x, to), (shift, ties)) in rows {
                            let mut largest = [T::ZERO; $K];
                            largest.copy_from_slice(x);
                            // Constants, so that every step is unrolled.
                            const HALF: usize = usize::div_ceil($K, 2);
                            const QUARTER: usize = HALF.div_ceil(2);
                            const EIGHTH: usize = QUARTER.div_ceil(2);
                            for (n, half) in [($K, HALF), (HALF, QUARTER), (QUARTER, EIGHTH), (EIGHTH, 1)] {
                                for i in 0..n / 2 {
                                    let other = largest[half + i];
                                    largest[i] = if other > largest[i] { other } else { largest[i] };
                                }
                            }
                            let mut equal = 0;
                            for i in 0..$K {
                                to[i] = x[i] - largest[0];
                                equal += u32::from(x[i] == largest[0]);
                            }
                            *shift = largest[0].f64();
                            *ties = f64::from(equal) - 1.0;
                        }
                    })*
                    _ => {
                        for ((x, to), (shift, ties)) in rows {
                            let most = largest::<T, S>(x);
                            let all = T::Vector::<S>::splat(most);
                            let (zero, one) = (T::Vector::<S>::splat(T::ZERO), T::Vector::<S>::splat(T::ONE));
                            let mut equal = zero;
                            for (x, to) in x.chunks(T::LANES).zip(to.chunks_mut(T::LANES)) {
                                let x = T::Vector::<S>::from_partial(x, -T::INFINITY);
                                equal = equal + T::Vector::<S>::select(x.eq(all), one, zero);
                                (x - all).copy_to_partial(to);
                            }
                            *shift = most.f64();
                            *ties = equal.fold().f64() - 1.0;
                        }
                    }
                }
            };
        }
        by_length!(2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
        let zero = T::Vector::<S>::splat(T::ZERO);
        for (to, x) in exponentials.chunks_mut(T::LANES).zip(shifted.chunks(T::LANES)) {
            let x = T::Vector::<S>::from_partial(x, T::ZERO);
            T::Vector::<S>::select(x.eq(zero), zero, exp(x)).copy_to_partial(to);
        }
    }
);

kernel!(
    /// ln(1 + x), in place.
    LogOnePlus log_one_plus<T, S>(x: &'a mut [T]) -> () {
        for x in x.chunks_mut(T::LANES) {
            ln_1p(T::Vector::<S>::from_partial(x, T::ONE)).copy_to_partial(x);
        }
    }
);

kernel!(
    /// x/total; or ln of the softmax of logits, (x − shift) − total, where total is the logarithm of a sum.
    Rescale rescale<T, S>(to: &'a mut [T], x: &'a [T], logits: bool, shift: T, total: T) -> () {
        let (shift, total) = (T::Vector::<S>::splat(shift), T::Vector::<S>::splat(total));
        for (to, x) in to.chunks_mut(T::LANES).zip(x.chunks(T::LANES)) {
            let x = T::Vector::<S>::from_partial(x, T::ZERO);
            let y = if logits { x - shift - total } else { x / total };
            y.copy_to_partial(to);
        }
    }
);

kernel!(
    /// Rows of `n`, each divided by its total, or each less it.
    RescaleRows rescale_rows<T, S>(x: &'a mut [T], n: usize, totals: &'a [f64], subtract: bool) -> () {
        for (x, total) in x.chunks_exact_mut(n).zip(totals) {
            let total = T::of(*total);
            for x in x {
                *x = if subtract { *x - total } else { *x / total };
            }
        }
    }
);
