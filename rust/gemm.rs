//! One matrix product for all three of a dense layer.
//!
//! C[m][n] = start[m] + Σₖ A(m, k)·B[k][n], with n in lanes, A broadcast from any strides, and for every element one
//! chain of fused multiply-adds in ascending k. The order does not depend on tile, lane or batch, so neither do bits:
//!
//! | product | rows m | chain k | lanes n | A | B |
//! |---|---|---|---|---|---|
//! | forward, z = Wᵀx + b | outputs | inputs | samples | W, transposed by strides | x, feature-major |
//! | dX = W·δ | inputs | outputs | samples | W | δ, feature-major |
//! | dW = x·δᵀ | inputs | samples | outputs | x, feature-major | δ, sample-major |

use crate::simd::{Kernel, Real, Simd, Vector};

/// The arguments of a product; see the module.
pub struct Product<'a, T> {
    /// `m` rows of `n` elements, `c_row` apart.
    pub c: &'a mut [T],
    /// See [`Product::c`].
    pub c_row: usize,
    /// A(m, k) stands at `m · a_row + k · a_col`.
    pub a: &'a [T],
    /// See [`Product::a`].
    pub a_row: usize,
    /// See [`Product::a`].
    pub a_col: usize,
    /// `k` rows, `b_row` apart, readable up to the next multiple of `T::LANES` elements.
    pub b: &'a [T],
    /// See [`Product::b`].
    pub b_row: usize,
    /// What each row of C starts with: the biases; zero where there are none.
    pub start: Option<&'a [T]>,
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// The length of the chain, at least 1.
    pub k: usize,
}

/// `n` rounded up to whole vectors.
pub fn padded<T: Real>(n: usize) -> usize {
    n.div_ceil(T::LANES) * T::LANES
}

/// A row length for `n` columns that is not a multiple of 1 KB: rows at such a distance share few cache sets.
pub fn row_length<T: Real>(n: usize) -> usize {
    let n = padded::<T>(n);
    if (n * size_of::<T>()).is_multiple_of(1024) { n + T::LANES } else { n }
}

impl<T: Real> Kernel for Product<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        if self.m == 0 || self.n == 0 {
            return;
        }
        assert!(self.k > 0);
        assert!((self.m - 1) * self.a_row + (self.k - 1) * self.a_col < self.a.len());
        assert!((self.k - 1) * self.b_row + padded::<T>(self.n) <= self.b.len());
        assert!((self.m - 1) * self.c_row + self.n <= self.c.len());
        assert!(self.start.is_none_or(|start| start.len() >= self.m));
        let mut column = 0;
        while column < self.n {
            let vectors = (self.n - column).div_ceil(T::LANES).min(S::TILE_VECTORS);
            let mut row = 0;
            while row < self.m {
                let rows = (self.m - row).min(S::TILE_ROWS);
                // The tile's size is a constant in each arm, so its accumulators live in registers.
                macro_rules! tile {
                    ($($r:literal)*) => {
                        match (rows, vectors) {
                            $(($r, 1) if $r <= S::TILE_ROWS => tile::<S, T, $r, 1>(&mut self, row, column),)*
                            $(($r, 2) if $r <= S::TILE_ROWS && 2 <= S::TILE_VECTORS => {
                                tile::<S, T, $r, 2>(&mut self, row, column)
                            })*
                            _ => unreachable!("a tile has up to TILE_ROWS rows and TILE_VECTORS vectors"),
                        }
                    };
                }
                // SAFETY: the assertions above bound every row, column and link of the chain.
                unsafe { tile!(1 2 3 4 5 6 7 8) }
                row += rows;
            }
            column += vectors * T::LANES;
        }
    }
}

/// R rows and V vectors of C from (row, column) on.
///
/// # Safety
/// `p` satisfies the assertions of [`Product::run`], and the tile begins and, but for the lanes after column n, ends
/// inside C.
#[inline(always)]
#[allow(
    clippy::needless_range_loop,
    reason = "constant bounds: the loops unroll and the arrays become registers"
)]
unsafe fn tile<S: Simd, T: Real, const R: usize, const V: usize>(
    p: &mut Product<'_, T>,
    row: usize,
    column: usize,
) {
    let mut sums = [[T::Vector::<S>::splat(T::ZERO); V]; R];
    if let Some(start) = p.start {
        for r in 0..R {
            sums[r] = [T::Vector::<S>::splat(start[row + r]); V];
        }
    }
    // SAFETY: the first link of the chain, inside A and B by the caller's promise.
    let (mut a, mut b) = unsafe { (p.a.as_ptr().add(row * p.a_row), p.b.as_ptr().add(column)) };
    for link in 0..p.k {
        // SAFETY: links 0..k of rows row..row + R are inside A; V vectors from `column` on are inside B's padded row.
        unsafe {
            let mut loaded = [T::Vector::<S>::splat(T::ZERO); V];
            for v in 0..V {
                loaded[v] = T::Vector::<S>::load(b.add(v * T::LANES));
            }
            for r in 0..R {
                let broadcast = T::Vector::<S>::splat(*a.add(r * p.a_row));
                for v in 0..V {
                    sums[r][v] = broadcast.mul_add(loaded[v], sums[r][v]);
                }
            }
        }
        if link + 1 < p.k {
            // SAFETY: there is a next link.
            unsafe {
                a = a.add(p.a_col);
                b = b.add(p.b_row);
            }
        }
    }
    for r in 0..R {
        let c = p.c.as_mut_ptr();
        for v in 0..V {
            let column = column + v * T::LANES;
            let place = (row + r) * p.c_row + column;
            if column + T::LANES <= p.n {
                // SAFETY: a whole vector before column n of a row of C, which `p` borrows mutably.
                unsafe { sums[r][v].store(c.add(place)) };
            } else {
                let mut lanes = [T::ZERO; 16];
                sums[r][v].copy_to(&mut lanes);
                for (lane, value) in lanes[..p.n - column].iter().enumerate() {
                    // SAFETY: before column n of a row of C.
                    unsafe { *c.add(place + lane) = *value };
                }
            }
        }
    }
}

/// `to[j][i] = from[i][j]` for `rows` × `columns` elements of `from`.
pub struct Transpose<'a, T> {
    /// `columns` rows, `to_row` apart. Where a row has room for whole vectors, the places after `rows` become zeros.
    pub to: &'a mut [T],
    /// See [`Transpose::to`].
    pub to_row: usize,
    /// `rows` rows, `from_row` apart, readable up to the next multiple of `T::LANES` elements.
    pub from: &'a [T],
    /// See [`Transpose::from`].
    pub from_row: usize,
    /// Rows of `from`.
    pub rows: usize,
    /// Columns of `from`.
    pub columns: usize,
}

impl<T: Real> Kernel for Transpose<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        // Squares of LANES × LANES: zipping rows that are half the square apart, log₂ LANES times, turns it.
        for row in (0..self.rows).step_by(T::LANES) {
            for column in (0..self.columns).step_by(T::LANES) {
                let from = &self.from[row * self.from_row + column..];
                let mut square = square::<S, T>(from, self.from_row, self.rows - row);
                let mut distance = 1;
                while distance < T::LANES {
                    let mut zipped = square;
                    let mut i = 0;
                    while i < T::LANES / 2 {
                        let [first, second] = square[i].zip(square[i + T::LANES / 2]);
                        zipped[2 * i] = first;
                        zipped[2 * i + 1] = second;
                        i += 1;
                    }
                    square = zipped;
                    distance *= 2;
                }
                let (room, rows) = (self.to_row - row, self.columns - column);
                let to = &mut self.to[column * self.to_row + row..];
                if room >= T::LANES && rows >= T::LANES {
                    let mut j = 0;
                    while j < T::LANES {
                        square[j].copy_to(&mut to[j * self.to_row..]);
                        j += 1;
                    }
                } else {
                    let mut lanes = [T::ZERO; 16 * 16];
                    let mut j = 0;
                    while j < T::LANES {
                        square[j].copy_to(&mut lanes[16 * j..]);
                        j += 1;
                    }
                    let room = room.min(T::LANES);
                    for (j, lanes) in lanes.chunks_exact(16).take(rows).enumerate() {
                        to[j * self.to_row..][..room].copy_from_slice(&lanes[..room]);
                    }
                }
            }
        }
    }
}

/// Up to `rows` rows of a square, zeros after them. An array that a variable indexes does not live in registers: whole
/// squares are read and written by constants.
#[inline(always)]
fn square<S: Simd, T: Real>(from: &[T], from_row: usize, rows: usize) -> [T::Vector<S>; 16] {
    let mut square = [T::Vector::<S>::splat(T::ZERO); 16];
    if rows >= T::LANES {
        let mut i = 0;
        while i < T::LANES {
            square[i] = T::Vector::<S>::from_slice(&from[i * from_row..]);
            i += 1;
        }
        return square;
    }
    let mut i = 0;
    while i < T::LANES {
        if i < rows {
            square[i] = T::Vector::<S>::from_slice(&from[i * from_row..]);
        }
        i += 1;
    }
    square
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, dispatch};

    /// The definition, one element at a time.
    fn naive<T: Real>(p: &Product<'_, T>, fma: impl Fn(T, T, T) -> T) -> Vec<T> {
        let mut c = p.c.to_vec();
        for m in 0..p.m {
            for n in 0..p.n {
                let start = p.start.map_or(T::ZERO, |start| start[m]);
                c[m * p.c_row + n] = (0..p.k)
                    .fold(start, |sum, k| fma(p.a[m * p.a_row + k * p.a_col], p.b[k * p.b_row + n], sum));
            }
        }
        c
    }

    fn check<T: Real>(fma: impl Fn(T, T, T) -> T + Copy) {
        let value = |i: usize| T::of(((i * 7919 + 13) % 1009) as f64 / 504.0 - 1.0);
        let before = Level::current();
        for (m, n, k) in
            [(1, 1, 1), (3, 5, 2), (8, 32, 11), (13, 16, 40), (17, 33, 5), (9, 100, 3), (64, 37, 32)]
        {
            let b_row = row_length::<T>(n);
            for (a_row, a_col) in [(k, 1), (1, m), (0, 0)] {
                let a: Vec<T> = (0..m * k).map(value).collect();
                let b: Vec<T> = (0..k * b_row).map(|i| value(i + 5)).collect();
                let start: Vec<T> = (0..m).map(|i| value(i + 99)).collect();
                for start in [None, Some(&start[..])] {
                    let blank = vec![T::of(9.0); m * (n + 2)];
                    for level in Level::ALL.into_iter().filter(|level| level.set()) {
                        let mut c = blank.clone();
                        let c_row = n + 2;
                        let product =
                            Product { c: &mut c, c_row, a: &a, a_row, a_col, b: &b, b_row, start, m, n, k };
                        let expected = naive(&product, fma);
                        dispatch(product);
                        assert!(c == expected, "{level:?} {m} {n} {k}");
                    }
                }
            }
        }
        before.set();
    }

    #[test]
    fn products_are_the_chain_of_the_definition_at_every_level() {
        check::<f32>(f32::mul_add);
        check::<f64>(f64::mul_add);
    }

    fn check_transpose<T: Real>() {
        let before = Level::current();
        for (rows, columns, to_row) in [(1, 1, 1), (11, 19, 12), (16, 16, 16), (33, 5, 48), (3, 40, 3)] {
            let from_row = padded::<T>(columns);
            let from: Vec<T> = (0..rows * from_row).map(|i| T::of(i as f64)).collect();
            for level in Level::ALL.into_iter().filter(|level| level.set()) {
                let mut to = vec![T::ZERO; columns * to_row];
                dispatch(Transpose { to: &mut to, to_row, from: &from, from_row, rows, columns });
                for i in 0..rows {
                    for j in 0..columns {
                        assert!(to[j * to_row + i] == from[i * from_row + j], "{level:?} {rows} {columns}");
                    }
                }
            }
        }
        before.set();
    }

    #[test]
    fn a_transpose_turns_rows_into_columns_at_every_level() {
        check_transpose::<f32>();
        check_transpose::<f64>();
    }
}
