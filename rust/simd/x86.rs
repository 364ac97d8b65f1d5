//! AVX2 with FMA, and AVX-512.

use super::{Kernel, Mask, Simd, Vector, Words, turn_by_zips};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

// SAFETY of every intrinsic in this module: `dispatch` (and `Simd::call` from within it) are the only ways into
// code that names these types, and both enter it through `avx2` or `avx512` below, after `Level::is_available`.
macro_rules! call {
    ($e:expr) => {
        // SAFETY: see above.
        unsafe { $e }
    };
}

#[derive(Clone, Copy)]
pub struct Avx2;

#[derive(Clone, Copy)]
pub struct Avx512;

/// A vector in N registers.
#[derive(Clone, Copy)]
pub struct Registers<R, const N: usize>([R; N]);

impl Simd for Avx2 {
    type F32 = Registers<__m256, 2>;
    type F64 = Registers<__m256d, 2>;
    type U64 = Registers<__m256i, 2>;
    type Narrow = Narrow;
    type Single = Single;
    // 6 rows of two registers: 12 accumulators, 2 loads, 1 broadcast of 16 registers.
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    fn widen(v: Self::F32) -> [Self::F64; 2] {
        let [low, high] = v.0;
        call!([
            Registers([
                _mm256_cvtps_pd(_mm256_castps256_ps128(low)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(low))
            ]),
            Registers([
                _mm256_cvtps_pd(_mm256_castps256_ps128(high)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(high))
            ]),
        ])
    }

    #[inline(always)]
    fn reals(v: Self::U64) -> Self::F64 {
        call!(Registers([_mm256_castsi256_pd(v.0[0]), _mm256_castsi256_pd(v.0[1])]))
    }

    #[inline(always)]
    fn nonzero_bytes(from: &[u8; 8]) -> Registers<__m256d, 2> {
        call!({
            let bytes = _mm_loadl_epi64(from.as_ptr().cast());
            let zero = _mm256_setzero_si256();
            let low = _mm256_cmpgt_epi64(_mm256_cvtepu8_epi64(bytes), zero);
            let high = _mm256_cmpgt_epi64(_mm256_cvtepu8_epi64(_mm_srli_si128::<4>(bytes)), zero);
            Registers([_mm256_castsi256_pd(low), _mm256_castsi256_pd(high)])
        })
    }

    #[inline(always)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn avx2<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Avx2>()
        }
        call!(avx2(kernel))
    }

    #[inline(never)]
    fn call_apart<K: Kernel>(kernel: K) -> K::Output {
        Self::call(kernel)
    }
}

impl Simd for Avx512 {
    type F32 = Registers<__m512, 1>;
    type F64 = Registers<__m512d, 1>;
    type U64 = Registers<__m512i, 1>;
    type Narrow = Narrow;
    type Single = Avx512;
    // 12 rows of two registers: 24 accumulators, 2 loads and a broadcast of 32 registers.
    const TILE_ROWS: usize = 12;
    const TILE_VECTORS: usize = 2;

    #[inline(always)]
    fn widen(v: Self::F32) -> [Self::F64; 2] {
        call!([
            Registers([_mm512_cvtps_pd(_mm512_castps512_ps256(v.0[0]))]),
            Registers([_mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(v.0[0]))]),
        ])
    }

    #[inline(always)]
    fn reals(v: Self::U64) -> Self::F64 {
        call!(Registers([_mm512_castsi512_pd(v.0[0])]))
    }

    #[inline(always)]
    fn nonzero_bytes(from: &[u8; 8]) -> [__mmask8; 1] {
        call!({
            let bytes = _mm_loadl_epi64(from.as_ptr().cast());
            [_mm_test_epi8_mask(bytes, bytes) as __mmask8]
        })
    }

    #[inline(always)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn avx512<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Avx512>()
        }
        call!(avx512(kernel))
    }

    #[inline(never)]
    fn call_apart<K: Kernel>(kernel: K) -> K::Output {
        Self::call(kernel)
    }
}

/// Four lanes, at both levels.
#[derive(Clone, Copy)]
pub struct Narrow;

impl Simd for Narrow {
    type F32 = Registers<__m128, 1>;
    type F64 = Registers<__m256d, 1>;
    type U64 = Registers<__m256i, 2>;
    type Narrow = Narrow;
    type Single = Narrow;
    // 12 accumulators, a load and a broadcast of 16 registers.
    const TILE_ROWS: usize = 12;
    const TILE_VECTORS: usize = 1;

    #[inline(always)]
    fn widen(v: Self::F32) -> [Self::F64; 2] {
        call!([Registers([_mm256_cvtps_pd(v.0[0])]), Registers([_mm256_setzero_pd()])])
    }

    #[inline(always)]
    fn reals(v: Self::U64) -> Self::F64 {
        call!(Registers([_mm256_castsi256_pd(v.0[0])]))
    }

    #[inline(always)]
    fn nonzero_bytes(from: &[u8; 8]) -> Registers<__m256d, 1> {
        call!({
            let bytes = _mm_loadl_epi64(from.as_ptr().cast());
            let set = _mm256_cmpgt_epi64(_mm256_cvtepu8_epi64(bytes), _mm256_setzero_si256());
            Registers([_mm256_castsi256_pd(set)])
        })
    }

    #[inline(always)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn narrow<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Narrow>()
        }
        call!(narrow(kernel))
    }

    #[inline(never)]
    fn call_apart<K: Kernel>(kernel: K) -> K::Output {
        Self::call(kernel)
    }
}

/// AVX2 in single registers.
#[derive(Clone, Copy)]
pub struct Single;

impl Simd for Single {
    type F32 = Registers<__m256, 1>;
    type F64 = Registers<__m256d, 1>;
    type U64 = Registers<__m256i, 2>;
    type Narrow = Narrow;
    type Single = Single;
    // 6 rows of two registers: 12 accumulators, 2 loads, 1 broadcast of 16 registers.
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 2;

    #[inline(always)]
    fn widen(v: Self::F32) -> [Self::F64; 2] {
        call!([
            Registers([_mm256_cvtps_pd(_mm256_castps256_ps128(v.0[0]))]),
            Registers([_mm256_cvtps_pd(_mm256_extractf128_ps::<1>(v.0[0]))]),
        ])
    }

    #[inline(always)]
    fn reals(v: Self::U64) -> Self::F64 {
        Narrow::reals(v)
    }

    #[inline(always)]
    fn nonzero_bytes(from: &[u8; 8]) -> Registers<__m256d, 1> {
        Narrow::nonzero_bytes(from)
    }

    #[inline(always)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn single<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Single>()
        }
        call!(single(kernel))
    }

    #[inline(never)]
    fn call_apart<K: Kernel>(kernel: K) -> K::Output {
        Self::call(kernel)
    }
}

macro_rules! mask_of_registers {
    ($reg:ty, $and:ident, $or:ident, $xor:ident, $ones:expr, $movemask:ident, $lanes:literal) => {
        impl<const N: usize> Mask for Registers<$reg, N> {
            #[inline(always)]
            fn and(mut self, other: Self) -> Self {
                for i in 0..N {
                    self.0[i] = call!($and(self.0[i], other.0[i]));
                }
                self
            }
            #[inline(always)]
            fn or(mut self, other: Self) -> Self {
                for i in 0..N {
                    self.0[i] = call!($or(self.0[i], other.0[i]));
                }
                self
            }
            #[inline(always)]
            fn not(mut self) -> Self {
                for i in 0..N {
                    self.0[i] = call!($xor(self.0[i], $ones));
                }
                self
            }
            #[inline(always)]
            fn any(self) -> bool {
                let mut bits = 0;
                for i in 0..N {
                    bits |= call!($movemask(self.0[i]));
                }
                bits != 0
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                let mut bits = 0;
                for i in 0..N {
                    bits |= call!($movemask(self.0[i]) as u32) << (i * $lanes);
                }
                bits
            }
        }
    };
}
mask_of_registers!(
    __m128,
    _mm_and_ps,
    _mm_or_ps,
    _mm_xor_ps,
    _mm_castsi128_ps(_mm_set1_epi32(-1)),
    _mm_movemask_ps,
    4
);
mask_of_registers!(
    __m256,
    _mm256_and_ps,
    _mm256_or_ps,
    _mm256_xor_ps,
    _mm256_castsi256_ps(_mm256_set1_epi32(-1)),
    _mm256_movemask_ps,
    8
);
mask_of_registers!(
    __m256d,
    _mm256_and_pd,
    _mm256_or_pd,
    _mm256_xor_pd,
    _mm256_castsi256_pd(_mm256_set1_epi32(-1)),
    _mm256_movemask_pd,
    4
);

macro_rules! mask_of_bits {
    ($mask:ty) => {
        impl Mask for [$mask; 1] {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                [self[0] & other[0]]
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                [self[0] | other[0]]
            }
            #[inline(always)]
            fn not(self) -> Self {
                [!self[0]]
            }
            #[inline(always)]
            fn any(self) -> bool {
                self[0] != 0
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                self[0].into()
            }
        }
    };
}
mask_of_bits!(__mmask16);
mask_of_bits!(__mmask8);

macro_rules! operator {
    ($vector:ty, [$($i:tt)*], $trait:ident $method:ident $intrinsic:ident) => {
        impl $trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                call!(Registers([$($intrinsic(self.0[$i], other.0[$i])),*]))
            }
        }
    };
}

macro_rules! vector {
    (
        $vector:ty, $t:ident, lanes $lanes:literal, registers [$($i:tt)*], mask $mask:ty = |$m:ident| $wrap:expr,
        $set1:ident $loadu:ident $storeu:ident $add:ident $sub:ident $mul:ident $div:ident $fmadd:ident
        $sqrt:ident $max:ident $min:ident $cmp:ident $blend:ident $and:ident $or:ident $xor:ident
        $to_int:ident $from_int:ident $iadd:ident $isub:ident $sll:ident $srl:ident $zip:ident
        $turn:ident $load_first:ident $store_first:ident
    ) => {
        operator!($vector, [$($i)*], Add add $add);
        operator!($vector, [$($i)*], Sub sub $sub);
        operator!($vector, [$($i)*], Mul mul $mul);
        operator!($vector, [$($i)*], Div div $div);

        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                self.xor(Self::splat(-0.0))
            }
        }

        impl Vector for $vector {
            type Scalar = $t;
            type Mask = $mask;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(value: $t) -> Self {
                call!(Registers([$({ let _ = $i; $set1(value) }),*]))
            }
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                const EACH: usize = $lanes / [$($i),*].len();
                call!(Registers([$($loadu(from.add($i * EACH))),*]))
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                const EACH: usize = $lanes / [$($i),*].len();
                call!({$($storeu(to.add($i * EACH), self.0[$i]);)*})
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $t, n: usize) -> Self {
                const EACH: usize = $lanes / [$($i),*].len();
                call!(Registers([$($load_first(from.wrapping_add($i * EACH), n.saturating_sub($i * EACH))),*]))
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $t, n: usize) {
                const EACH: usize = $lanes / [$($i),*].len();
                call!({$($store_first(to.wrapping_add($i * EACH), n.saturating_sub($i * EACH), self.0[$i]);)*})
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                call!(Registers([$($fmadd(self.0[$i], b.0[$i], c.0[$i])),*]))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                call!(Registers([$($sqrt(self.0[$i])),*]))
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                call!(Registers([$($max(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                call!(Registers([$($min(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn lt(self, other: Self) -> $mask {
                let $m = call!([$($cmp::<_CMP_LT_OQ>(self.0[$i], other.0[$i])),*]);
                $wrap
            }
            #[inline(always)]
            fn le(self, other: Self) -> $mask {
                let $m = call!([$($cmp::<_CMP_LE_OQ>(self.0[$i], other.0[$i])),*]);
                $wrap
            }
            #[inline(always)]
            fn eq(self, other: Self) -> $mask {
                let $m = call!([$($cmp::<_CMP_EQ_OQ>(self.0[$i], other.0[$i])),*]);
                $wrap
            }
            #[inline(always)]
            fn select(mask: $mask, yes: Self, no: Self) -> Self {
                call!(Registers([$($blend(mask, $i, yes.0[$i], no.0[$i])),*]))
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                call!(Registers([$($and(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                call!(Registers([$($or(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                call!(Registers([$($xor(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn bits_add(self, other: Self) -> Self {
                call!(Registers([$($from_int($iadd($to_int(self.0[$i]), $to_int(other.0[$i])))),*]))
            }
            #[inline(always)]
            fn bits_sub(self, other: Self) -> Self {
                call!(Registers([$($from_int($isub($to_int(self.0[$i]), $to_int(other.0[$i])))),*]))
            }
            #[inline(always)]
            fn zip(self, other: Self) -> [Self; 2] {
                call!($zip(self, other))
            }
            #[inline(always)]
            fn turn(square: &mut [Self; 16]) {
                $turn(square)
            }
            #[inline(always)]
            fn bits_shl(self, by: i32) -> Self {
                call!(Registers([$($from_int($sll($to_int(self.0[$i]), _mm_cvtsi32_si128(by)))),*]))
            }
            #[inline(always)]
            fn bits_shr(self, by: i32) -> Self {
                call!(Registers([$($from_int($srl($to_int(self.0[$i]), _mm_cvtsi32_si128(by)))),*]))
            }
        }
    };
}

/// Ones, then zeros: eight elements from 8 − n on are a mask of the first n lanes (four: from 4 − n, for 64 bits).
static FIRST_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static FIRST_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

// Masked loads are as fast as others, masked stores are not (before AVX-512): they are halved until they are whole.

#[inline(always)]
unsafe fn load_first_128(from: *const f32, n: usize) -> __m128 {
    call!(_mm_maskload_ps(from, _mm_loadu_si128(FIRST_32.as_ptr().add(8 - n.min(4)).cast())))
}

#[inline(always)]
unsafe fn store_first_128(to: *mut f32, n: usize, v: __m128) {
    call!(match n {
        0 => {}
        1 => _mm_store_ss(to, v),
        2 => _mm_storel_pd(to.cast(), _mm_castps_pd(v)),
        3 => {
            _mm_storel_pd(to.cast(), _mm_castps_pd(v));
            _mm_store_ss(to.add(2), _mm_movehl_ps(v, v));
        }
        _ => _mm_storeu_ps(to, v),
    })
}

#[inline(always)]
unsafe fn load_first_256(from: *const f32, n: usize) -> __m256 {
    call!(_mm256_maskload_ps(from, _mm256_loadu_si256(FIRST_32.as_ptr().add(8 - n.min(8)).cast())))
}

#[inline(always)]
unsafe fn store_first_256(to: *mut f32, n: usize, v: __m256) {
    call!(if n >= 8 {
        _mm256_storeu_ps(to, v);
    } else if n >= 4 {
        _mm_storeu_ps(to, _mm256_castps256_ps128(v));
        store_first_128(to.add(4), n - 4, _mm256_extractf128_ps::<1>(v));
    } else {
        store_first_128(to, n, _mm256_castps256_ps128(v));
    })
}

#[inline(always)]
unsafe fn load_first_256d(from: *const f64, n: usize) -> __m256d {
    call!(_mm256_maskload_pd(from, _mm256_loadu_si256(FIRST_64.as_ptr().add(4 - n.min(4)).cast())))
}

#[inline(always)]
unsafe fn store_first_256d(to: *mut f64, n: usize, v: __m256d) {
    call!(match n {
        0 => {}
        1 => _mm_store_sd(to, _mm256_castpd256_pd128(v)),
        2 => _mm_storeu_pd(to, _mm256_castpd256_pd128(v)),
        3 => {
            _mm_storeu_pd(to, _mm256_castpd256_pd128(v));
            _mm_store_sd(to.add(2), _mm256_extractf128_pd::<1>(v));
        }
        _ => _mm256_storeu_pd(to, v),
    })
}

macro_rules! first_by_bits {
    ($load:ident $store:ident, $t:ty, $reg:ty, $lanes:literal, $mask:ty, $maskload:ident $maskstore:ident) => {
        #[inline(always)]
        unsafe fn $load(from: *const $t, n: usize) -> $reg {
            call!($maskload(_bzhi_u32(u32::MAX, n.min($lanes) as u32) as $mask, from))
        }
        #[inline(always)]
        unsafe fn $store(to: *mut $t, n: usize, v: $reg) {
            call!($maskstore(to, _bzhi_u32(u32::MAX, n.min($lanes) as u32) as $mask, v))
        }
    };
}
first_by_bits!(load_first_512 store_first_512, f32, __m512, 16, __mmask16, _mm512_maskz_loadu_ps _mm512_mask_storeu_ps);
first_by_bits!(load_first_512d store_first_512d, f64, __m512d, 8, __mmask8, _mm512_maskz_loadu_pd _mm512_mask_storeu_pd);

macro_rules! blend {
    ($name:ident, $reg:ty, $mask:ty, |$m:ident, $i:ident, $yes:ident, $no:ident| $e:expr) => {
        #[inline(always)]
        unsafe fn $name($m: $mask, $i: usize, $yes: $reg, $no: $reg) -> $reg {
            call!($e)
        }
    };
}
blend!(blend_128, __m128, Registers<__m128, 1>, |m, i, yes, no| _mm_blendv_ps(no, yes, m.0[i]));
blend!(blend_256, __m256, Registers<__m256, 2>, |m, i, yes, no| _mm256_blendv_ps(no, yes, m.0[i]));
blend!(blend_256_1, __m256, Registers<__m256, 1>, |m, i, yes, no| _mm256_blendv_ps(no, yes, m.0[i]));
blend!(blend_256d, __m256d, Registers<__m256d, 2>, |m, i, yes, no| _mm256_blendv_pd(no, yes, m.0[i]));
blend!(blend_256d_1, __m256d, Registers<__m256d, 1>, |m, i, yes, no| _mm256_blendv_pd(no, yes, m.0[i]));
blend!(blend_512, __m512, [__mmask16; 1], |m, i, yes, no| _mm512_mask_blend_ps(m[i], no, yes));
blend!(blend_512d, __m512d, [__mmask8; 1], |m, i, yes, no| _mm512_mask_blend_pd(m[i], no, yes));

/// Interleaves within 128 bits, then puts the halves in order; the lower register of `a` and `b` makes the first vector.
macro_rules! zip_256 {
    ($name:ident, $vector:ty, $low:ident $high:ident $halves:ident) => {
        #[inline(always)]
        unsafe fn $name(a: $vector, b: $vector) -> [$vector; 2] {
            let mut both = [a, b];
            for i in 0..2 {
                call!({
                    let (low, high) = ($low(a.0[i], b.0[i]), $high(a.0[i], b.0[i]));
                    both[i] = Registers([$halves::<0x20>(low, high), $halves::<0x31>(low, high)]);
                })
            }
            both
        }
    };
}

#[inline(always)]
unsafe fn zip_128(a: Registers<__m128, 1>, b: Registers<__m128, 1>) -> [Registers<__m128, 1>; 2] {
    let (a, b) = (a.0[0], b.0[0]);
    call!([Registers([_mm_unpacklo_ps(a, b)]), Registers([_mm_unpackhi_ps(a, b)])])
}

#[inline(always)]
unsafe fn zip_256_1(a: Registers<__m256, 1>, b: Registers<__m256, 1>) -> [Registers<__m256, 1>; 2] {
    let (a, b) = (a.0[0], b.0[0]);
    call!({
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        [
            Registers([_mm256_permute2f128_ps::<0x20>(low, high)]),
            Registers([_mm256_permute2f128_ps::<0x31>(low, high)]),
        ]
    })
}

#[inline(always)]
unsafe fn zip_256d_1(a: Registers<__m256d, 1>, b: Registers<__m256d, 1>) -> [Registers<__m256d, 1>; 2] {
    let (a, b) = (a.0[0], b.0[0]);
    call!({
        let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        [
            Registers([_mm256_permute2f128_pd::<0x20>(low, high)]),
            Registers([_mm256_permute2f128_pd::<0x31>(low, high)]),
        ]
    })
}

zip_256!(zip_256, Registers<__m256, 2>, _mm256_unpacklo_ps _mm256_unpackhi_ps _mm256_permute2f128_ps);
zip_256!(zip_256d, Registers<__m256d, 2>, _mm256_unpacklo_pd _mm256_unpackhi_pd _mm256_permute2f128_pd);

#[inline(always)]
unsafe fn zip_512(a: Registers<__m512, 1>, b: Registers<__m512, 1>) -> [Registers<__m512, 1>; 2] {
    call!({
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
        let (a, b) = (a.0[0], b.0[0]);
        [Registers([_mm512_permutex2var_ps(a, low, b)]), Registers([_mm512_permutex2var_ps(a, high, b)])]
    })
}

/// Pairs, then fours within 128 bits, then the 128 bits themselves.
#[inline(always)]
fn turn_256(square: &mut [Registers<__m256, 1>; 16]) {
    call!({
        let mut rows = *square;
        for i in 0..2 {
            let [a, b, c, d] = [square[4 * i], square[4 * i + 1], square[4 * i + 2], square[4 * i + 3]];
            let (ab, cd) = (_mm256_unpacklo_ps(a.0[0], b.0[0]), _mm256_unpacklo_ps(c.0[0], d.0[0]));
            let (high_ab, high_cd) = (_mm256_unpackhi_ps(a.0[0], b.0[0]), _mm256_unpackhi_ps(c.0[0], d.0[0]));
            rows[4 * i].0[0] = _mm256_shuffle_ps::<0x44>(ab, cd);
            rows[4 * i + 1].0[0] = _mm256_shuffle_ps::<0xee>(ab, cd);
            rows[4 * i + 2].0[0] = _mm256_shuffle_ps::<0x44>(high_ab, high_cd);
            rows[4 * i + 3].0[0] = _mm256_shuffle_ps::<0xee>(high_ab, high_cd);
        }
        for i in 0..4 {
            let (a, b) = (rows[i].0[0], rows[i + 4].0[0]);
            square[i].0[0] = _mm256_permute2f128_ps::<0x20>(a, b);
            square[i + 4].0[0] = _mm256_permute2f128_ps::<0x31>(a, b);
        }
    })
}

/// Pairs, then the 128 bits themselves.
#[inline(always)]
fn turn_256d(square: &mut [Registers<__m256d, 1>; 16]) {
    call!({
        let [a, b, c, d] = [square[0].0[0], square[1].0[0], square[2].0[0], square[3].0[0]];
        let (ab, cd) = (_mm256_unpacklo_pd(a, b), _mm256_unpacklo_pd(c, d));
        let (high_ab, high_cd) = (_mm256_unpackhi_pd(a, b), _mm256_unpackhi_pd(c, d));
        square[0].0[0] = _mm256_permute2f128_pd::<0x20>(ab, cd);
        square[1].0[0] = _mm256_permute2f128_pd::<0x20>(high_ab, high_cd);
        square[2].0[0] = _mm256_permute2f128_pd::<0x31>(ab, cd);
        square[3].0[0] = _mm256_permute2f128_pd::<0x31>(high_ab, high_cd);
    })
}

/// As [`turn_256`]: shuffles that keep their operands, where a zip overwrites one.
#[inline(always)]
fn turn_512(square: &mut [Registers<__m512, 1>; 16]) {
    call!({
        let mut rows = *square;
        for i in 0..4 {
            let [a, b, c, d] = [square[4 * i], square[4 * i + 1], square[4 * i + 2], square[4 * i + 3]];
            let (ab, cd) = (_mm512_unpacklo_ps(a.0[0], b.0[0]), _mm512_unpacklo_ps(c.0[0], d.0[0]));
            let (high_ab, high_cd) = (_mm512_unpackhi_ps(a.0[0], b.0[0]), _mm512_unpackhi_ps(c.0[0], d.0[0]));
            rows[4 * i].0[0] = _mm512_shuffle_ps::<0x44>(ab, cd);
            rows[4 * i + 1].0[0] = _mm512_shuffle_ps::<0xee>(ab, cd);
            rows[4 * i + 2].0[0] = _mm512_shuffle_ps::<0x44>(high_ab, high_cd);
            rows[4 * i + 3].0[0] = _mm512_shuffle_ps::<0xee>(high_ab, high_cd);
        }
        for i in 0..4 {
            let [a, b, c, d] = [rows[i].0[0], rows[i + 4].0[0], rows[i + 8].0[0], rows[i + 12].0[0]];
            let (even_ab, odd_ab) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let (even_cd, odd_cd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
            square[i].0[0] = _mm512_shuffle_f32x4::<0x88>(even_ab, even_cd);
            square[i + 4].0[0] = _mm512_shuffle_f32x4::<0x88>(odd_ab, odd_cd);
            square[i + 8].0[0] = _mm512_shuffle_f32x4::<0xdd>(even_ab, even_cd);
            square[i + 12].0[0] = _mm512_shuffle_f32x4::<0xdd>(odd_ab, odd_cd);
        }
    })
}

#[inline(always)]
unsafe fn zip_512d(a: Registers<__m512d, 1>, b: Registers<__m512d, 1>) -> [Registers<__m512d, 1>; 2] {
    call!({
        let low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
        let high = _mm512_add_epi64(low, _mm512_set1_epi64(4));
        let (a, b) = (a.0[0], b.0[0]);
        [Registers([_mm512_permutex2var_pd(a, low, b)]), Registers([_mm512_permutex2var_pd(a, high, b)])]
    })
}

vector!(
    Registers<__m128, 1>, f32, lanes 4, registers [0], mask Registers<__m128, 1> = |m| Registers(m),
    _mm_set1_ps _mm_loadu_ps _mm_storeu_ps _mm_add_ps _mm_sub_ps _mm_mul_ps _mm_div_ps
    _mm_fmadd_ps _mm_sqrt_ps _mm_max_ps _mm_min_ps _mm_cmp_ps blend_128 _mm_and_ps _mm_or_ps
    _mm_xor_ps _mm_castps_si128 _mm_castsi128_ps _mm_add_epi32 _mm_sub_epi32 _mm_sll_epi32
    _mm_srl_epi32 zip_128 turn_by_zips load_first_128 store_first_128
);
vector!(
    Registers<__m256d, 1>, f64, lanes 4, registers [0], mask Registers<__m256d, 1> = |m| Registers(m),
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd
    _mm256_fmadd_pd _mm256_sqrt_pd _mm256_max_pd _mm256_min_pd _mm256_cmp_pd blend_256d_1 _mm256_and_pd _mm256_or_pd
    _mm256_xor_pd _mm256_castpd_si256 _mm256_castsi256_pd _mm256_add_epi64 _mm256_sub_epi64 _mm256_sll_epi64
    _mm256_srl_epi64 zip_256d_1 turn_256d load_first_256d store_first_256d
);
vector!(
    Registers<__m256, 1>, f32, lanes 8, registers [0], mask Registers<__m256, 1> = |m| Registers(m),
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps
    _mm256_fmadd_ps _mm256_sqrt_ps _mm256_max_ps _mm256_min_ps _mm256_cmp_ps blend_256_1 _mm256_and_ps _mm256_or_ps
    _mm256_xor_ps _mm256_castps_si256 _mm256_castsi256_ps _mm256_add_epi32 _mm256_sub_epi32 _mm256_sll_epi32
    _mm256_srl_epi32 zip_256_1 turn_256 load_first_256 store_first_256
);
vector!(
    Registers<__m256, 2>, f32, lanes 16, registers [0 1], mask Registers<__m256, 2> = |m| Registers(m),
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps
    _mm256_fmadd_ps _mm256_sqrt_ps _mm256_max_ps _mm256_min_ps _mm256_cmp_ps blend_256 _mm256_and_ps _mm256_or_ps
    _mm256_xor_ps _mm256_castps_si256 _mm256_castsi256_ps _mm256_add_epi32 _mm256_sub_epi32 _mm256_sll_epi32
    _mm256_srl_epi32 zip_256 turn_by_zips load_first_256 store_first_256
);
vector!(
    Registers<__m256d, 2>, f64, lanes 8, registers [0 1], mask Registers<__m256d, 2> = |m| Registers(m),
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd
    _mm256_fmadd_pd _mm256_sqrt_pd _mm256_max_pd _mm256_min_pd _mm256_cmp_pd blend_256d _mm256_and_pd _mm256_or_pd
    _mm256_xor_pd _mm256_castpd_si256 _mm256_castsi256_pd _mm256_add_epi64 _mm256_sub_epi64 _mm256_sll_epi64
    _mm256_srl_epi64 zip_256d turn_by_zips load_first_256d store_first_256d
);
vector!(
    Registers<__m512, 1>, f32, lanes 16, registers [0], mask [__mmask16; 1] = |m| m,
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps
    _mm512_fmadd_ps _mm512_sqrt_ps _mm512_max_ps _mm512_min_ps _mm512_cmp_ps_mask blend_512 _mm512_and_ps
    _mm512_or_ps _mm512_xor_ps _mm512_castps_si512 _mm512_castsi512_ps _mm512_add_epi32 _mm512_sub_epi32
    _mm512_sll_epi32 _mm512_srl_epi32 zip_512 turn_512 load_first_512 store_first_512
);
vector!(
    Registers<__m512d, 1>, f64, lanes 8, registers [0], mask [__mmask8; 1] = |m| m,
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd
    _mm512_fmadd_pd _mm512_sqrt_pd _mm512_max_pd _mm512_min_pd _mm512_cmp_pd_mask blend_512d _mm512_and_pd
    _mm512_or_pd _mm512_xor_pd _mm512_castpd_si512 _mm512_castsi512_pd _mm512_add_epi64 _mm512_sub_epi64
    _mm512_sll_epi64 _mm512_srl_epi64 zip_512d turn_by_zips load_first_512d store_first_512d
);

macro_rules! words {
    (
        $vector:ty, [$($i:tt)*], $set1:ident $loadu:ident $storeu:ident $raw:ty, $add:ident $and:ident $or:ident
        $xor:ident $sll:ident $srl:ident, |$tested:ident| $nonzero:expr, |$words:ident, $to:ident| $spread:block
    ) => {
        impl Words for $vector {
            #[inline(always)]
            fn splat(value: u64) -> Self {
                call!(Registers([$({ let _ = $i; $set1(value as i64) }),*]))
            }
            #[inline(always)]
            fn from_array(from: &[u64; 8]) -> Self {
                const EACH: usize = 8 / [$($i),*].len();
                call!(Registers([$($loadu(from.as_ptr().add($i * EACH).cast::<$raw>())),*]))
            }
            #[inline(always)]
            fn to_array(self) -> [u64; 8] {
                const EACH: usize = 8 / [$($i),*].len();
                let mut to = [0; 8];
                call!({$($storeu(to.as_mut_ptr().add($i * EACH).cast::<$raw>(), self.0[$i]);)*});
                to
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                call!(Registers([$($add(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                call!(Registers([$($and(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                call!(Registers([$($or(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                call!(Registers([$($xor(self.0[$i], other.0[$i])),*]))
            }
            #[inline(always)]
            fn shl(self, by: i32) -> Self {
                call!(Registers([$($sll(self.0[$i], _mm_cvtsi32_si128(by))),*]))
            }
            #[inline(always)]
            fn shr(self, by: i32) -> Self {
                call!(Registers([$($srl(self.0[$i], _mm_cvtsi32_si128(by))),*]))
            }
            #[inline(always)]
            fn nonzero(self) -> u32 {
                let $tested = self;
                call!($nonzero)
            }
            #[inline(always)]
            fn spread_bits(self, to: &mut [u8; 512]) {
                let ($words, $to) = (self.to_array(), to);
                $spread
            }
        }
    };
}

/// The bits of a byte, the highest first, each in a byte of its own.
const BITS: i64 = i64::from_le_bytes([0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1]);

/// The byte 1 in eight places: `k * EIGHT` names byte k eight times.
const EIGHT: i64 = 0x0101_0101_0101_0101;

words!(
    Registers<__m256i, 2>, [0 1], _mm256_set1_epi64x _mm256_loadu_si256 _mm256_storeu_si256 __m256i,
    _mm256_add_epi64 _mm256_and_si256 _mm256_or_si256 _mm256_xor_si256 _mm256_sll_epi64 _mm256_srl_epi64,
    |v| {
        let zero = _mm256_setzero_si256();
        let low = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(v.0[0], zero)));
        let high = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(v.0[1], zero)));
        (low | high << 4) as u32 ^ 0xff
    },
    |words, to| {
        // Each byte is copied to eight places (a shuffle within 128 bits), one bit of each kept, and made 0 or 1.
        call!({
            let low = _mm256_set_epi64x(3 * EIGHT, 2 * EIGHT, EIGHT, 0);
            let high = _mm256_set_epi64x(7 * EIGHT, 6 * EIGHT, 5 * EIGHT, 4 * EIGHT);
            let bits = _mm256_set1_epi64x(BITS);
            let one = _mm256_set1_epi8(1);
            for (word, to) in words.iter().zip(to.chunks_exact_mut(64)) {
                let word = _mm256_set1_epi64x(*word as i64);
                let first = _mm256_min_epu8(_mm256_and_si256(_mm256_shuffle_epi8(word, low), bits), one);
                let second = _mm256_min_epu8(_mm256_and_si256(_mm256_shuffle_epi8(word, high), bits), one);
                _mm256_storeu_si256(to.as_mut_ptr().cast(), first);
                _mm256_storeu_si256(to.as_mut_ptr().add(32).cast(), second);
            }
        })
    }
);
words!(
    Registers<__m512i, 1>, [0], _mm512_set1_epi64 _mm512_loadu_si512 _mm512_storeu_si512 __m512i,
    _mm512_add_epi64 _mm512_and_si512 _mm512_or_si512 _mm512_xor_si512 _mm512_sll_epi64 _mm512_srl_epi64,
    |v| u32::from(_mm512_test_epi64_mask(v.0[0], v.0[0])),
    |words, to| {
        call!({
            let copy = _mm512_set_epi64(
                7 * EIGHT, 6 * EIGHT, 5 * EIGHT, 4 * EIGHT, 3 * EIGHT, 2 * EIGHT, EIGHT, 0);
            let bits = _mm512_set1_epi64(BITS);
            let one = _mm512_set1_epi8(1);
            for (word, to) in words.iter().zip(to.chunks_exact_mut(64)) {
                let word = _mm512_set1_epi64(*word as i64);
                let spread = _mm512_min_epu8(_mm512_and_si512(_mm512_shuffle_epi8(word, copy), bits), one);
                _mm512_storeu_si512(to.as_mut_ptr().cast(), spread);
            }
        })
    }
);
