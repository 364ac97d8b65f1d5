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
//! | dWᵀ = δ·xᵀ, where inputs fill lanes better | outputs | samples | inputs | δ, feature-major | x, sample-major |
//!
//! What is done to the sums on their way from the registers into C is the product's [`End`].

use crate::simd::{Kernel, Real, Simd, Vector, prefetch_at};

/// The arguments of a product; see the module.
pub struct Product<'a, T, E> {
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
    /// `k` rows, `b_row` apart, readable up to the next multiple of the vector's lanes.
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
    /// What becomes of the sums.
    pub end: E,
}

/// What is done to a tile's sums, while they are in registers, on their way into C. Each is compiled into every tile, so
/// there are ends only where they are a few operations.
pub trait End<T: Real>: Copy {
    /// Whether it looks at what stands in C before.
    const READS: bool;
    /// A sum's value, and what stands in its place before; implementations are `#[inline(always)]`.
    fn finish<V: Vector<Scalar = T>>(self, sum: V, before: V) -> V;
}

/// The sums as they are.
#[derive(Clone, Copy)]
pub struct Store;

impl<T: Real> End<T> for Store {
    const READS: bool = false;
    #[inline(always)]
    fn finish<V: Vector<Scalar = T>>(self, sum: V, _before: V) -> V {
        sum
    }
}

/// `n` rounded up to whole vectors.
pub fn padded<T: Real>(n: usize) -> usize {
    n.div_ceil(T::LANES) * T::LANES
}

/// A row length for `n` columns: an odd number of vectors, so that rows that follow each other share no cache set.
pub fn row_length<T: Real>(n: usize) -> usize {
    (n.div_ceil(T::LANES) | 1) * T::LANES
}

impl<T: Real, E: End<T>> Kernel for Product<'_, T, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        if self.m == 0 || self.n == 0 {
            return;
        }
        let lanes = T::Vector::<S>::LANES;
        let whole = self.n.div_ceil(lanes) * lanes;
        assert!(self.k > 0);
        assert!((self.m - 1) * self.a_row + (self.k - 1) * self.a_col < self.a.len());
        assert!((self.k - 1) * self.b_row + whole <= self.b.len());
        assert!((self.m - 1) * self.c_row + self.n <= self.c.len());
        assert!(!E::READS || self.n == whole);
        assert!(self.start.is_none_or(|start| start.len() >= self.m));
        // Tiles of almost equal height: a last one of a row or two would wait for its few chains.
        let tiles = self.m.div_ceil(S::TILE_ROWS);
        // (A division takes as long as a small tile.)
        let (height, higher) = if tiles == 1 { (self.m, 0) } else { (self.m / tiles, self.m % tiles) };
        // A tile's rows of A are read for all of its columns before the next: A may be larger than the cache.
        let mut row = 0;
        for i in 0..tiles {
            let rows = height + usize::from(i < higher);
            let mut column = 0;
            while column < self.n {
                // As many tiles of the same size as follow each other.
                let room = self.n - column;
                let vectors = room.div_ceil(lanes).min(S::TILE_VECTORS);
                let count = (room / (S::TILE_VECTORS * lanes)).max(1);
                // The tile's size is a constant in each arm, so its accumulators live in registers.
                macro_rules! run {
                    ($($r:literal)*) => {
                        match (rows, vectors) {
                            $(($r, 1) if $r <= S::TILE_ROWS => {
                                S::call_apart(Tiles::<T, E, $r, 1> { product: &mut self, row, column, count })
                            })*
                            $(($r, 2) if $r <= S::TILE_ROWS && 2 <= S::TILE_VECTORS => {
                                S::call_apart(Tiles::<T, E, $r, 2> { product: &mut self, row, column, count })
                            })*
                            _ => unreachable!("a tile has up to TILE_ROWS rows and TILE_VECTORS vectors"),
                        }
                    };
                }
                run!(1 2 3 4 5 6 7 8 9 10 11 12);
                column += count * vectors * lanes;
            }
            row += rows;
        }
    }
}

/// How many links ahead B is asked for.
const LINKS_AHEAD: usize = 8;

/// `count` tiles of R rows and V vectors of C, side by side from (row, column) on. The product satisfies the assertions
/// of [`Product::run`], and the tiles begin and, but for the lanes after column n, end inside C. A function of its own,
/// or the compiler would run out of registers over all the sizes together.
struct Tiles<'a, 'b, T, E, const R: usize, const V: usize> {
    product: &'a mut Product<'b, T, E>,
    row: usize,
    column: usize,
    count: usize,
}

impl<T: Real, E: End<T>, const R: usize, const V: usize> Kernel for Tiles<'_, '_, T, E, R, V> {
    type Output = ();
    #[inline(always)]
    #[allow(
        clippy::needless_range_loop,
        reason = "constant bounds: the loops unroll and the arrays become registers"
    )]
    fn run<S: Simd>(self) {
        let Tiles { product: p, row, column, count } = self;
        let lanes = T::Vector::<S>::LANES;
        let mut c = p.c.as_mut_ptr().wrapping_add(row * p.c_row + column);
        let mut first_b = p.b.as_ptr().wrapping_add(column);
        let first_a = p.a.as_ptr().wrapping_add(row * p.a_row);
        let (c_row, a_row, a_col, b_row, k, end) = (p.c_row, p.a_row, p.a_col, p.b_row, p.k, p.end);
        let mut room = p.n - column;
        for _ in 0..count {
            let mut sums = [[T::Vector::<S>::splat(T::ZERO); V]; R];
            if let Some(start) = p.start {
                for r in 0..R {
                    // SAFETY: there are at least as many as rows of C.
                    sums[r] = [T::Vector::<S>::splat(unsafe { *start.get_unchecked(row + r) }); V];
                }
            }
            let (mut a, mut b) = (first_a, first_b);
            for _ in 0..k {
                // Where a vector is two registers, a tile has few multiply-adds a link to wait behind.
                if lanes > T::Vector::<S::Single>::LANES {
                    prefetch_at(b.wrapping_add(LINKS_AHEAD * b_row));
                }
                let mut loaded = [T::Vector::<S>::splat(T::ZERO); V];
                for v in 0..V {
                    // SAFETY: the tile's vectors are inside B's padded row.
                    loaded[v] = unsafe { T::Vector::<S>::load(b.add(v * lanes)) };
                }
                for r in 0..R {
                    // SAFETY: this link of the tile's rows is inside A.
                    let broadcast = T::Vector::<S>::splat(unsafe { *a.add(r * a_row) });
                    for v in 0..V {
                        sums[r][v] = broadcast.mul_add(loaded[v], sums[r][v]);
                    }
                }
                // Beyond the last link they point anywhere, and nothing is read.
                (a, b) = (a.wrapping_add(a_col), b.wrapping_add(b_row));
            }
            for r in 0..R {
                for v in 0..V {
                    let mut sum = sums[r][v];
                    if E::READS {
                        // SAFETY: the tile's rows of C consist of whole vectors where an end reads them.
                        sum = end.finish(sum, unsafe { T::Vector::<S>::load(c.add(r * c_row + v * lanes)) });
                    } else {
                        sum = end.finish(sum, sum);
                    }
                    sums[r][v] = sum;
                }
            }
            if room >= V * lanes {
                for r in 0..R {
                    for v in 0..V {
                        // SAFETY: a whole vector of the tile's rows of C, which the product borrows mutably.
                        unsafe { sums[r][v].store(c.add(r * c_row + v * lanes)) };
                    }
                }
            } else {
                // The loop below is too long to unroll: without a copy for it, the sums themselves would be in memory.
                let mut edge = [[T::Vector::<S>::splat(T::ZERO); V]; R];
                for r in 0..R {
                    for v in 0..V {
                        edge[r][v] = sums[r][v];
                    }
                }
                for r in 0..R {
                    for v in 0..V {
                        let room = room - (v * lanes).min(room);
                        // SAFETY: as above, but only the lanes before column n.
                        unsafe { edge[r][v].store_first(c.wrapping_add(r * c_row + v * lanes), room) };
                    }
                }
            }
            (c, first_b) = (c.wrapping_add(V * lanes), first_b.wrapping_add(V * lanes));
            room = room.wrapping_sub(V * lanes);
        }
    }
}

/// `to[j][i] = from[i][j]` for `rows` × `columns` elements of `from`.
pub struct Transpose<'a, T> {
    /// `columns` rows, `to_row` apart. Where a row has room for whole vectors, the places after `rows` become zeros.
    pub to: &'a mut [T],
    /// See [`Transpose::to`].
    pub to_row: usize,
    /// `rows` rows, `from_row` apart, readable up to the next multiple of the vector's lanes.
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
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let lanes = T::Vector::<S::Single>::LANES;
        assert!(self.to_row >= self.rows);
        assert!((self.rows - 1) * self.from_row + self.columns.div_ceil(lanes) * lanes <= self.from.len());
        assert!(
            (self.columns - 1) * self.to_row + self.to_row.min(self.rows.div_ceil(lanes) * lanes)
                <= self.to.len()
        );
        // Loops that count: the iterators over ranges with steps cost as much as a small square.
        let mut row = 0;
        while row < self.rows {
            let (rows, room) = (lanes.min(self.rows - row), self.to_row - row);
            let mut column = 0;
            while column < self.columns {
                let columns = lanes.min(self.columns - column);
                let mut from = self.from.as_ptr().wrapping_add(row * self.from_row + column);
                let mut to = self.to.as_mut_ptr().wrapping_add(column * self.to_row + row);
                let mut square = [T::Vector::<S::Single>::splat(T::ZERO); 16];
                let whole = rows == lanes && columns == lanes && room >= lanes;
                let mut i = 0;
                while i < lanes {
                    if whole || i < rows {
                        // SAFETY: `from`'s rows end with whole vectors.
                        square[i] = unsafe { T::Vector::<S::Single>::load(from) };
                    }
                    from = from.wrapping_add(self.from_row);
                    i += 1;
                }
                T::Vector::<S::Single>::turn(&mut square);
                i = 0;
                while i < lanes {
                    // SAFETY: a whole vector in a row of `to`, or as many lanes as there is room for.
                    unsafe {
                        if whole {
                            square[i].store(to);
                        } else if i < columns {
                            square[i].store_first(to, room);
                        }
                    }
                    to = to.wrapping_add(self.to_row);
                    i += 1;
                }
                column += lanes;
            }
            row += lanes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, dispatch};

    /// The definition, one element at a time.
    fn naive<T: Real>(p: &Product<'_, T, Store>, fma: impl Fn(T, T, T) -> T) -> Vec<T> {
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
                        let product = Product {
                            c: &mut c,
                            c_row,
                            a: &a,
                            a_row,
                            a_col,
                            b: &b,
                            b_row,
                            start,
                            m,
                            n,
                            k,
                            end: Store,
                        };
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
