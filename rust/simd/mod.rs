//! SIMD written once.
//!
//! A kernel is a struct that holds its arguments and one `#[inline(always)]` method [`Kernel::run`], generic over the
//! instruction set [`Simd`]. [`dispatch`] compiles it for every [`Level`] and calls the one in force; only the shells
//! here carry `target_feature`.
//!
//! A vector is 64 bytes wide at every level (16 `f32`, 8 `f64`, 8 `u64`): one AVX-512 register, two AVX2 registers or
//! an array. Lanes never depend on the processor, so a fold over lanes has one order, and kernels give the same bits
//! everywhere as long as they use the operations of [`Vector`] (each correctly rounded, or exact).
//!
//! Rule of the room: vector operations appear only in functions marked `#[inline(always)]` that a `Kernel::run`
//! reaches without a closure in between. (Closures do not inherit the features of the shell: they halt inlining.)

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use portable::{Lanes, Portable};

use std::ops::{Add, Div, Mul, Neg, Sub};
use std::sync::atomic::{AtomicU8, Ordering};

/// Bytes in a vector, at every level.
pub const WIDTH: usize = 64;

/// An element type of networks and tables: `f32` or `f64`.
pub trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::fmt::Debug
    + std::fmt::Display
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// Elements in a vector.
    const LANES: usize;
    /// 0 and 1 in this type.
    const ZERO: Self;
    /// See [`Real::ZERO`].
    const ONE: Self;
    /// The vector of this type at level `S`.
    type Vector<S: Simd>: Vector<Scalar = Self>;
    /// The nearest value of this type.
    fn of(value: f64) -> Self;
    /// The value as `f64`, exactly.
    fn f64(self) -> f64;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Adds the lanes of `v` to 16 lanes of `f64` (for `f64`, to the first eight).
    fn accumulate<S: Simd>(v: Self::Vector<S>, totals: &mut [S::F64; 2]);
    /// Adds two products: of `f64` each rounded once, to a total of its own; of `f32` their sum, to both halves' totals.
    fn accumulate_products<S: Simd>(
        a: [Self::Vector<S>; 2],
        b: [Self::Vector<S>; 2],
        totals: &mut [S::F64; 2],
    );
    /// The first sixteen elements of `from` as two vectors of `f64`.
    fn sixteen<S: Simd>(from: &[Self]) -> [S::F64; 2];
}

/// 64 bytes of floating-point lanes. `max` and `min` are compare-and-select: NaN in `self` gives `other`.
pub trait Vector:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// The lanes' type.
    type Scalar: Real + crate::math::Coefficients;
    /// One truth value a lane.
    type Mask: Mask;
    /// The number of lanes.
    const LANES: usize;

    /// `value` in every lane.
    fn splat(value: Self::Scalar) -> Self;
    /// The lanes at `from`.
    ///
    /// # Safety
    /// `from` is readable for `LANES` elements; it need not be aligned.
    unsafe fn load(from: *const Self::Scalar) -> Self;
    /// Writes the lanes to `to`.
    ///
    /// # Safety
    /// `to` is writable for `LANES` elements; it need not be aligned.
    unsafe fn store(self, to: *mut Self::Scalar);
    /// The first `n` lanes from `from`, zeros beyond: all of them where `n` is at least `LANES`.
    ///
    /// # Safety
    /// `from` is readable for min(`n`, `LANES`) elements.
    unsafe fn load_first(from: *const Self::Scalar, n: usize) -> Self;
    /// Writes the first `n` lanes to `to`: all of them where `n` is at least `LANES`.
    ///
    /// # Safety
    /// `to` is writable for min(`n`, `LANES`) elements.
    unsafe fn store_first(self, to: *mut Self::Scalar, n: usize);
    /// `self · b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The correctly rounded square root.
    fn sqrt(self) -> Self;
    /// The larger of the two: `self > other ? self : other`.
    fn max(self, other: Self) -> Self;
    /// The smaller of the two: `self < other ? self : other`.
    fn min(self, other: Self) -> Self;
    /// Ordered comparisons: false where a lane is NaN.
    fn lt(self, other: Self) -> Self::Mask;
    /// See [`Vector::lt`].
    fn le(self, other: Self) -> Self::Mask;
    /// See [`Vector::lt`].
    fn eq(self, other: Self) -> Self::Mask;
    /// `mask ? yes : no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Bitwise operations on the lanes' representations.
    fn and(self, other: Self) -> Self;
    /// See [`Vector::and`].
    fn or(self, other: Self) -> Self;
    /// See [`Vector::and`].
    fn xor(self, other: Self) -> Self;
    /// Sum of the representations as unsigned integers of the lane's width, wrapping.
    fn bits_add(self, other: Self) -> Self;
    /// Difference of the representations, wrapping.
    fn bits_sub(self, other: Self) -> Self;
    /// The representations shifted left.
    fn bits_shl(self, by: i32) -> Self;
    /// The representations shifted right, zeros coming in.
    fn bits_shr(self, by: i32) -> Self;

    /// The lanes of both in turn, self[0], other[0], self[1], …: the first `LANES` of them and the last.
    fn zip(self, other: Self) -> [Self; 2];

    /// Turns a square of LANES × LANES, in the first LANES vectors: zipping rows that are half the square apart,
    /// log₂ LANES times, does it.
    #[inline(always)]
    fn turn(square: &mut [Self; 16]) {
        turn_by_zips(square);
    }

    /// The lanes of the first `LANES` elements of `from`.
    #[inline(always)]
    fn from_slice(from: &[Self::Scalar]) -> Self {
        assert!(from.len() >= Self::LANES);
        // SAFETY: the slice has LANES elements.
        unsafe { Self::load(from.as_ptr()) }
    }

    /// Writes the lanes to the first `LANES` elements of `to`.
    #[inline(always)]
    fn copy_to(self, to: &mut [Self::Scalar]) {
        assert!(to.len() >= Self::LANES);
        // SAFETY: the slice has LANES elements.
        unsafe { self.store(to.as_mut_ptr()) }
    }

    /// The lanes of a slice that may be short; zeros in the lanes beyond it.
    #[inline(always)]
    fn from_first(from: &[Self::Scalar]) -> Self {
        // SAFETY: the slice has that many elements.
        unsafe { Self::load_first(from.as_ptr(), from.len()) }
    }

    /// The lanes of a slice that may be short; `fill` in the lanes beyond it.
    #[inline(always)]
    fn from_partial(from: &[Self::Scalar], fill: Self::Scalar) -> Self {
        if from.len() >= Self::LANES {
            return Self::from_slice(from);
        }
        let mut lanes = [fill; WIDTH / 4];
        lanes[..from.len()].copy_from_slice(from);
        Self::from_slice(&lanes)
    }

    /// Writes as many lanes as `to` has room for.
    #[inline(always)]
    fn copy_to_partial(self, to: &mut [Self::Scalar]) {
        // SAFETY: the slice has that many elements.
        unsafe { self.store_first(to.as_mut_ptr(), to.len()) }
    }

    /// |self|.
    #[inline(always)]
    fn abs(self) -> Self {
        self.bits_shl(1).bits_shr(1)
    }

    /// The sum of the lanes by halves: ((0 + 8) + (4 + 12)) + … for sixteen of them.
    #[inline(always)]
    fn fold(self) -> Self::Scalar {
        let mut lanes = [Self::Scalar::ZERO; WIDTH / 4];
        self.copy_to(&mut lanes);
        let mut n = Self::LANES;
        while n > 1 {
            n /= 2;
            for i in 0..n {
                lanes[i] = lanes[i] + lanes[i + n];
            }
        }
        lanes[0]
    }
}

#[inline(always)]
fn turn_by_zips<V: Vector>(square: &mut [V; 16]) {
    let mut distance = 1;
    while distance < V::LANES {
        let mut zipped = *square;
        let mut i = 0;
        while i < V::LANES / 2 {
            let [first, second] = square[i].zip(square[i + V::LANES / 2]);
            zipped[2 * i] = first;
            zipped[2 * i + 1] = second;
            i += 1;
        }
        *square = zipped;
        distance *= 2;
    }
}

/// One truth value a lane.
pub trait Mask: Copy {
    /// Lane by lane.
    fn and(self, other: Self) -> Self;
    /// Lane by lane.
    fn or(self, other: Self) -> Self;
    /// Lane by lane.
    fn not(self) -> Self;
    /// True if any lane is.
    fn any(self) -> bool;
    /// One bit a lane, the first lane's lowest.
    fn bits(self) -> u32;
}

/// Eight lanes of `u64`: random bits and what is made of them.
pub trait Words: Copy {
    /// `value` in every lane.
    fn splat(value: u64) -> Self;
    /// The eight lanes.
    fn from_array(from: &[u64; 8]) -> Self;
    /// The eight lanes.
    fn to_array(self) -> [u64; 8];
    /// Sum, wrapping.
    fn add(self, other: Self) -> Self;
    /// Bitwise operations.
    fn and(self, other: Self) -> Self;
    /// See [`Words::and`].
    fn or(self, other: Self) -> Self;
    /// See [`Words::and`].
    fn xor(self, other: Self) -> Self;
    /// Shifted left.
    fn shl(self, by: i32) -> Self;
    /// Shifted right, zeros coming in.
    fn shr(self, by: i32) -> Self;
    /// One bit a lane, the first lane's lowest: whether it is not 0.
    fn nonzero(self) -> u32;
    /// The 512 bits as 512 bytes of 0 or 1, in the order of `np.packbits`: lane by lane, the lowest byte of a lane
    /// first, the highest bit of a byte first.
    fn spread_bits(self, to: &mut [u8; 512]);

    /// Rotated left.
    #[inline(always)]
    fn rotl(self, by: i32) -> Self {
        self.shl(by).or(self.shr(64 - by))
    }
    /// Every bit inverted.
    #[inline(always)]
    fn not(self) -> Self {
        self.xor(Self::splat(u64::MAX))
    }
    /// The bits of every byte in the opposite order.
    #[inline(always)]
    fn reverse_bytes_bits(self) -> Self {
        let mut word = self;
        let mut i = 0;
        while i < 3 {
            let (by, low) = [(1, 0x55), (2, 0x33), (4, 0x0f)][i];
            let low = Self::splat(low * 0x0101_0101_0101_0101);
            word = word.shr(by).and(low).or(word.and(low).shl(by));
            i += 1;
        }
        word
    }
}

/// An instruction set: its vectors, and how a kernel is compiled for it.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen lanes of `f32`.
    type F32: Vector<Scalar = f32>;
    /// Eight lanes of `f64`.
    type F64: Vector<Scalar = f64>;
    /// Eight lanes of `u64`.
    type U64: Words;
    /// The same instructions on vectors of four lanes, for as few samples. A kernel that runs with it takes the number
    /// of lanes from the vector, not from the element type, and folds no lanes.
    type Narrow: Simd;
    /// The same instructions on vectors of a register each, for what needs many of them at a time. As with `Narrow`, a
    /// kernel takes the number of lanes from the vector.
    type Single: Simd;
    /// Rows and vectors of the register tile of a matrix product: accumulators, loads and a broadcast must fit.
    const TILE_ROWS: usize;
    /// See [`Simd::TILE_ROWS`].
    const TILE_VECTORS: usize;
    /// The lower and the upper eight lanes as `f64`.
    fn widen(v: Self::F32) -> [Self::F64; 2];
    /// The words, the first ones where there are fewer lanes, as representations.
    fn reals(v: Self::U64) -> Self::F64;
    /// True in the lanes whose byte is not 0; the last bytes have no lane where there are fewer.
    fn nonzero_bytes(from: &[u8; 8]) -> <Self::F64 as Vector>::Mask;
    /// Calls `kernel.run::<Self>()` compiled with this set's features. Called from a kernel of the same level only.
    fn call<K: Kernel>(kernel: K) -> K::Output;
    /// The same, in a function of its own, with all registers to itself.
    fn call_apart<K: Kernel>(kernel: K) -> K::Output;
}

/// A computation that [`dispatch`] compiles for every level.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The computation; implementations are `#[inline(always)]`.
    fn run<S: Simd>(self) -> Self::Output;
}

// ---------------------------------------------------------------------------------------------------------- levels

/// The instruction sets there is code for, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No more than the target's baseline. Correct everywhere; where the baseline has no FMA, slow.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL (and AVX2, FMA).
    Avx512,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Level; 3] = [Level::Portable, Level::Avx2, Level::Avx512];

    /// The name `ERMIN_SIMD` takes.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The highest this processor has.
    pub fn best() -> Level {
        Level::ALL.into_iter().rev().find(|level| level.is_available()).unwrap_or(Level::Portable)
    }

    /// The level in force.
    #[inline]
    pub fn current() -> Level {
        match CURRENT.load(Ordering::Relaxed) {
            0 => Level::first(),
            1 => Level::Portable,
            2 => Level::Avx2,
            _ => Level::Avx512,
        }
    }

    /// Puts the highest level in force, before the first use.
    #[cold]
    fn first() -> Level {
        let level = Level::best();
        level.set();
        level
    }

    /// Puts this level in force; false, and nothing changed, if the processor does not have it.
    pub fn set(self) -> bool {
        let available = self.is_available();
        if available {
            CURRENT.store(self as u8 + 1, Ordering::Relaxed);
        }
        available
    }
}

/// The level in force plus one; 0 before the first use.
static CURRENT: AtomicU8 = AtomicU8::new(0);

/// Runs a kernel at the level in force.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match Level::current() {
        Level::Portable => Portable::call(kernel),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => x86::Avx2::call(kernel),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => x86::Avx512::call(kernel),
        #[cfg(not(target_arch = "x86_64"))]
        _ => Portable::call(kernel),
    }
}

/// Asks for the cache line `ahead` bytes after the slice's first to come near; it may be beyond the slice's end. The
/// processor looks ahead by itself, but not beyond a page of 4 KB.
#[inline(always)]
pub fn prefetch<T>(from: &[T], ahead: usize) {
    prefetch_at(from.as_ptr().cast::<u8>().wrapping_add(ahead));
}

/// Asks for the cache line at that place, wherever it is.
#[inline(always)]
pub fn prefetch_at<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it reads nothing and faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast::<i8>()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

// ------------------------------------------------------------------------------------------------ the control word

/// Sets the default floating-point environment (round to nearest, denormals kept, no traps) and restores the caller's
/// when dropped: other libraries switch flush-to-zero on for a whole process.
pub struct DefaultControlWord(u64);

impl DefaultControlWord {
    /// Sets the default control word.
    #[allow(clippy::new_without_default, reason = "a guard is made for its effect")]
    pub fn new() -> Self {
        let saved = control_word::get();
        control_word::set(control_word::DEFAULT);
        DefaultControlWord(saved)
    }
}

impl Drop for DefaultControlWord {
    fn drop(&mut self) {
        control_word::set(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
mod control_word {
    /// All exceptions masked, round to nearest, neither flush-to-zero nor denormals-are-zero.
    pub const DEFAULT: u64 = 0x1f80;

    pub fn get() -> u64 {
        let mut word = 0u32;
        // SAFETY: stores four bytes to `word`.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack, preserves_flags)) };
        u64::from(word)
    }

    pub fn set(word: u64) {
        let word = word as u32;
        // SAFETY: `word` came from `get` or is DEFAULT, so no reserved bit is set.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &word, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod control_word {
    /// Round to nearest, no flush-to-zero, no default NaN.
    pub const DEFAULT: u64 = 0;

    pub fn get() -> u64 {
        let word: u64;
        // SAFETY: reads a register.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub fn set(word: u64) {
        // SAFETY: `word` came from `get` or is DEFAULT.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) word, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control_word {
    pub const DEFAULT: u64 = 0;
    pub fn get() -> u64 {
        DEFAULT
    }
    pub fn set(_word: u64) {}
}

// -------------------------------------------------------------------------------------------------- element types

macro_rules! real {
    (
        $t:ident, $assoc:ident, $S:ident, |$v:ident, $totals:ident| $accumulate:block,
        |$a:ident, $b:ident, $sums:ident| $products:block, |$from:ident| $sixteen:expr
    ) => {
        impl Real for $t {
            const LANES: usize = WIDTH / size_of::<$t>();
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            type Vector<S: Simd> = S::$assoc;
            #[inline(always)]
            fn of(value: f64) -> $t {
                value as $t
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn accumulate<$S: Simd>($v: $S::$assoc, $totals: &mut [$S::F64; 2]) $accumulate
            #[inline(always)]
            fn accumulate_products<$S: Simd>(
                $a: [$S::$assoc; 2],
                $b: [$S::$assoc; 2],
                $sums: &mut [$S::F64; 2],
            ) $products
            #[inline(always)]
            fn sixteen<$S: Simd>($from: &[$t]) -> [$S::F64; 2] {
                $sixteen
            }
        }
    };
}

real!(
    f32,
    F32,
    S,
    |v, totals| {
        let [low, high] = S::widen(v);
        totals[0] = totals[0] + low;
        totals[1] = totals[1] + high;
    },
    |a, b, totals| {
        f32::accumulate::<S>(a[0].mul_add(b[0], a[1] * b[1]), totals);
    },
    |from| S::widen(S::F32::from_slice(from))
);
real!(
    f64,
    F64,
    S,
    |v, totals| {
        totals[0] = totals[0] + v;
    },
    |a, b, totals| {
        totals[0] = a[0].mul_add(b[0], totals[0]);
        totals[1] = a[1].mul_add(b[1], totals[1]);
    },
    |from| [S::F64::from_slice(from), S::F64::from_slice(&from[8..])]
);
