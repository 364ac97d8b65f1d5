//! The portable level: arrays, and the target's baseline instructions.

use super::{Kernel, Mask, Simd, Vector, Words};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The target's baseline; `fma` is correctly rounded, in software where need be.
#[derive(Clone, Copy)]
pub struct Portable;

impl Simd for Portable {
    type F32 = Lanes<f32, 16>;
    type F64 = Lanes<f64, 8>;
    type U64 = Lanes<u64, 8>;
    type Narrow = Narrow;
    type Single = Portable;
    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    fn widen(v: Self::F32) -> [Self::F64; 2] {
        let mut halves = [Lanes([0.0; 8]); 2];
        for i in 0..16 {
            halves[i / 8].0[i % 8] = f64::from(v.0[i]);
        }
        halves
    }

    #[inline(always)]
    fn reals(v: Self::U64) -> Self::F64 {
        Lanes(v.0.map(f64::from_bits))
    }
    #[inline(always)]
    fn nonzero_bytes(from: &[u8; 8]) -> [bool; 8] {
        from.map(|byte| byte != 0)
    }

    #[inline]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Portable>()
    }

    #[inline(never)]
    fn call_apart<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Portable>()
    }
}

/// The same, on four lanes.
#[derive(Clone, Copy)]
pub struct Narrow;

impl Simd for Narrow {
    type F32 = Lanes<f32, 4>;
    type F64 = Lanes<f64, 4>;
    type U64 = Lanes<u64, 8>;
    type Narrow = Narrow;
    type Single = Narrow;
    const TILE_ROWS: usize = 4;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    fn widen(v: Self::F32) -> [Self::F64; 2] {
        [Lanes(v.0.map(f64::from)), Lanes([0.0; 4])]
    }
    #[inline(always)]
    fn reals(v: Self::U64) -> Self::F64 {
        Lanes([v.0[0], v.0[1], v.0[2], v.0[3]].map(f64::from_bits))
    }
    #[inline(always)]
    fn nonzero_bytes(from: &[u8; 8]) -> [bool; 4] {
        [from[0], from[1], from[2], from[3]].map(|byte| byte != 0)
    }

    #[inline]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Narrow>()
    }

    #[inline(never)]
    fn call_apart<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Narrow>()
    }
}

/// An array of lanes. With one lane it serves formulas of single numbers: the same code, the same bits.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<T, const N: usize>(pub [T; N]);

impl<const N: usize> Mask for [bool; N] {
    #[inline(always)]
    fn and(mut self, other: Self) -> Self {
        for i in 0..N {
            self[i] &= other[i];
        }
        self
    }
    #[inline(always)]
    fn or(mut self, other: Self) -> Self {
        for i in 0..N {
            self[i] |= other[i];
        }
        self
    }
    #[inline(always)]
    fn not(mut self) -> Self {
        for lane in &mut self {
            *lane = !*lane;
        }
        self
    }
    #[inline(always)]
    fn any(self) -> bool {
        self.contains(&true)
    }
    #[inline(always)]
    fn bits(self) -> u32 {
        let mut bits = 0;
        for (i, lane) in self.into_iter().enumerate() {
            bits |= u32::from(lane) << i;
        }
        bits
    }
}

macro_rules! each_lane {
    ($a:ident, $b:ident, $N:ident, $i:ident => $lane:expr) => {{
        let mut out = $a;
        for $i in 0..$N {
            out.0[$i] = $lane;
        }
        out
    }};
}

macro_rules! lane_operators {
    ($t:ident, $($trait:ident $method:ident),*) => {$(
        impl<const N: usize> $trait for Lanes<$t, N> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                each_lane!(self, other, N, i => self.0[i].$method(other.0[i]))
            }
        }
    )*};
}

macro_rules! portable_vector {
    ($t:ident) => {
        lane_operators!($t, Add add, Sub sub, Mul mul, Div div);

        impl<const N: usize> Neg for Lanes<$t, N> {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                each_lane!(self, self, N, i => -self.0[i])
            }
        }

        impl<const N: usize> Vector for Lanes<$t, N> {
            type Scalar = $t;
            type Mask = [bool; N];
            const LANES: usize = N;

            #[inline(always)]
            fn splat(value: $t) -> Self {
                Lanes([value; N])
            }
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: the caller gives N readable elements; arrays need no more than their alignment, unaligned.
                Lanes(unsafe { from.cast::<[$t; N]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: the caller gives room for N elements.
                unsafe { to.cast::<[$t; N]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $t, n: usize) -> Self {
                let mut lanes = [0.0; N];
                for (i, lane) in lanes[..n.min(N)].iter_mut().enumerate() {
                    // SAFETY: the caller gives n readable elements.
                    *lane = unsafe { from.add(i).read_unaligned() };
                }
                Lanes(lanes)
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $t, n: usize) {
                for (i, lane) in self.0[..n.min(N)].iter().enumerate() {
                    // SAFETY: the caller gives room for n elements.
                    unsafe { to.add(i).write_unaligned(*lane) };
                }
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                each_lane!(self, b, N, i => self.0[i].mul_add(b.0[i], c.0[i]))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                each_lane!(self, self, N, i => self.0[i].sqrt())
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                each_lane!(self, other, N, i => if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] })
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                each_lane!(self, other, N, i => if self.0[i] < other.0[i] { self.0[i] } else { other.0[i] })
            }
            #[inline(always)]
            fn lt(self, other: Self) -> [bool; N] {
                let mut mask = [false; N];
                for i in 0..N {
                    mask[i] = self.0[i] < other.0[i];
                }
                mask
            }
            #[inline(always)]
            fn le(self, other: Self) -> [bool; N] {
                let mut mask = [false; N];
                for i in 0..N {
                    mask[i] = self.0[i] <= other.0[i];
                }
                mask
            }
            #[inline(always)]
            fn eq(self, other: Self) -> [bool; N] {
                let mut mask = [false; N];
                for i in 0..N {
                    mask[i] = self.0[i] == other.0[i];
                }
                mask
            }
            #[inline(always)]
            fn select(mask: [bool; N], yes: Self, no: Self) -> Self {
                each_lane!(yes, no, N, i => if mask[i] { yes.0[i] } else { no.0[i] })
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                each_lane!(self, other, N, i => $t::from_bits(self.0[i].to_bits() & other.0[i].to_bits()))
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                each_lane!(self, other, N, i => $t::from_bits(self.0[i].to_bits() | other.0[i].to_bits()))
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                each_lane!(self, other, N, i => $t::from_bits(self.0[i].to_bits() ^ other.0[i].to_bits()))
            }
            #[inline(always)]
            fn bits_add(self, other: Self) -> Self {
                each_lane!(self, other, N, i => $t::from_bits(self.0[i].to_bits().wrapping_add(other.0[i].to_bits())))
            }
            #[inline(always)]
            fn bits_sub(self, other: Self) -> Self {
                each_lane!(self, other, N, i => $t::from_bits(self.0[i].to_bits().wrapping_sub(other.0[i].to_bits())))
            }
            #[inline(always)]
            fn zip(self, other: Self) -> [Self; 2] {
                let mut both = [self; 2];
                for i in 0..2 * N {
                    both[i / N].0[i % N] = if i % 2 == 0 { self.0[i / 2] } else { other.0[i / 2] };
                }
                both
            }
            #[inline(always)]
            fn bits_shl(self, by: i32) -> Self {
                each_lane!(self, self, N, i => $t::from_bits(self.0[i].to_bits() << by))
            }
            #[inline(always)]
            fn bits_shr(self, by: i32) -> Self {
                each_lane!(self, self, N, i => $t::from_bits(self.0[i].to_bits() >> by))
            }
        }
    };
}

portable_vector!(f32);
portable_vector!(f64);

impl Words for Lanes<u64, 8> {
    #[inline(always)]
    fn splat(value: u64) -> Self {
        Lanes([value; 8])
    }
    #[inline(always)]
    fn from_array(from: &[u64; 8]) -> Self {
        Lanes(*from)
    }
    #[inline(always)]
    fn to_array(self) -> [u64; 8] {
        self.0
    }
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] = self.0[i].wrapping_add(other.0[i]);
        }
        self
    }
    #[inline(always)]
    fn and(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] &= other.0[i];
        }
        self
    }
    #[inline(always)]
    fn or(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] |= other.0[i];
        }
        self
    }
    #[inline(always)]
    fn xor(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] ^= other.0[i];
        }
        self
    }
    #[inline(always)]
    fn shl(mut self, by: i32) -> Self {
        for lane in &mut self.0 {
            *lane <<= by;
        }
        self
    }
    #[inline(always)]
    fn shr(mut self, by: i32) -> Self {
        for lane in &mut self.0 {
            *lane >>= by;
        }
        self
    }
    #[inline(always)]
    fn nonzero(self) -> u32 {
        self.0.map(|lane| lane != 0).bits()
    }
    #[inline(always)]
    fn spread_bits(self, to: &mut [u8; 512]) {
        for (j, byte) in self.0.iter().flat_map(|lane| lane.to_le_bytes()).enumerate() {
            for i in 0..8 {
                to[8 * j + i] = byte >> (7 - i) & 1;
            }
        }
    }
}
