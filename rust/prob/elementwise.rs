//! What rows of numbers go through on their way to terms, a chunk at a time.

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

/// The largest element, NaN left out; −∞ if there is none.
#[inline(always)]
fn largest<T: Format, S: Simd>(x: &[T]) -> T {
    let least = -T::INFINITY;
    let mut largest = least;
    if x.len() < 4 * T::LANES {
        for x in x {
            largest = if *x > largest { *x } else { largest };
        }
        return largest;
    }
    let mut most = T::Vector::<S>::splat(least);
    for x in x.chunks(T::LANES) {
        // NaN in the first gives the second.
        most = T::Vector::<S>::from_partial(x, least).max(most);
    }
    let mut lanes = [least; 16];
    most.copy_to(&mut lanes);
    for lane in lanes {
        largest = if lane > largest { lane } else { largest };
    }
    largest
}

kernel!(
    /// Rows of `n` less their largest elements, which go to `shifts`; and the exponentials of that, but 0 for one of the
    /// largest: 1 + the rest may be 1, while ln(1 + rest) is not 0.
    Shift shift<T, S>(
        shifted: &'a mut [T], exponentials: &'a mut [T], shifts: &'a mut [f64], x: &'a [T], n: usize
    ) -> () {
        for ((x, to), shift) in x.chunks_exact(n).zip(shifted.chunks_exact_mut(n)).zip(shifts) {
            let most = largest::<T, S>(x);
            *shift = most.f64();
            for (to, x) in to.iter_mut().zip(x) {
                *to = *x - most;
            }
        }
        for (to, x) in exponentials.chunks_mut(T::LANES).zip(shifted.chunks(T::LANES)) {
            exp(T::Vector::<S>::from_partial(x, T::ZERO)).copy_to_partial(to);
        }
        for (shifted, exponentials) in shifted.chunks_exact(n).zip(exponentials.chunks_exact_mut(n)) {
            for (shifted, exponential) in shifted.iter().zip(exponentials) {
                if *shifted == T::ZERO {
                    *exponential = T::ZERO;
                    break;
                }
            }
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
