//! A table of rows as it comes: any native element type, any strides, or compressed sparse rows (CSR). Rows are gathered
//! by number and converted to the network's element type batch by batch, so no copy of the whole is ever made.

pub use events::{Events, EventsMut};

use crate::error::{Error, Result};
use crate::gemm::Transpose;
use crate::simd::{Kernel, Mask, Real, Simd, Vector, dispatch, prefetch_at};
use std::marker::PhantomData;
use std::ops::Range;

/// The element types a table may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the names of the types")]
pub enum Element {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

/// Whole numbers as SciPy keeps the indices of a sparse matrix.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are the names of the types")]
pub enum Indices<'a> {
    I32(&'a [i32]),
    I64(&'a [i64]),
}

impl Indices<'_> {
    /// How many.
    #[allow(clippy::len_without_is_empty, reason = "row ends are never empty")]
    pub fn len(&self) -> usize {
        match self {
            Indices::I32(numbers) => numbers.len(),
            Indices::I64(numbers) => numbers.len(),
        }
    }

    /// The number at `i`; None where there is none or it is negative.
    #[inline]
    fn get(&self, i: usize) -> Option<usize> {
        match self {
            Indices::I32(numbers) => numbers.get(i).and_then(|n| usize::try_from(*n).ok()),
            Indices::I64(numbers) => numbers.get(i).and_then(|n| usize::try_from(*n).ok()),
        }
    }
}

/// Where a table's elements lie.
#[derive(Clone, Copy, Debug)]
enum Layout<'a> {
    /// At fixed distances, in bytes.
    Strided { row: isize, column: isize },
    /// Row i has the elements `ends[i]..ends[i + 1]`, in the columns named there, and zeros elsewhere.
    Compressed { ends: Indices<'a>, columns: Indices<'a> },
}

/// A borrowed table of rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    data: *const u8,
    element: Element,
    n_rows: usize,
    n_columns: usize,
    layout: Layout<'a>,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: a table is only read.
unsafe impl Send for Rows<'_> {}
// SAFETY: as above.
unsafe impl Sync for Rows<'_> {}

/// Calls `$body` with `$E` as the element's Rust type.
macro_rules! with_element {
    ($element:expr, $E:ident => $body:expr) => {
        match $element {
            Element::Bool => {
                type $E = u8;
                $body
            }
            Element::I8 => {
                type $E = i8;
                $body
            }
            Element::I16 => {
                type $E = i16;
                $body
            }
            Element::I32 => {
                type $E = i32;
                $body
            }
            Element::I64 => {
                type $E = i64;
                $body
            }
            Element::U8 => {
                type $E = u8;
                $body
            }
            Element::U16 => {
                type $E = u16;
                $body
            }
            Element::U32 => {
                type $E = u32;
                $body
            }
            Element::U64 => {
                type $E = u64;
                $body
            }
            Element::F32 => {
                type $E = f32;
                $body
            }
            Element::F64 => {
                type $E = f64;
                $body
            }
        }
    };
}

/// Fewer rows than this are gathered one element at a time, as are fewer columns of numbers that must be converted.
mod events;

const FEW: usize = 8;
/// The same of columns of numbers that need not be.
const FEWEST: usize = 4;

impl<'a> Rows<'a> {
    /// A table in memory that somebody else owns; strides are in bytes, of any sign.
    ///
    /// # Safety
    /// For 'a, every element (i, j) with i < `n_rows` and j < `n_columns` is readable at
    /// `data + i · row_stride + j · column_stride`, aligned, and of the type `element`.
    pub unsafe fn new(
        data: *const u8,
        element: Element,
        (n_rows, n_columns): (usize, usize),
        (row, column): (isize, isize),
    ) -> Rows<'a> {
        let layout = Layout::Strided { row, column };
        Rows { data, element, n_rows, n_columns, layout, memory: PhantomData }
    }

    /// Compressed sparse rows in memory that somebody else owns: the elements at `data`, as many as `columns` has
    /// numbers, in the columns of those numbers; `ends` has one number more than there are rows. None of the numbers is
    /// trusted: [`Rows::check`] judges them, and what is out of range is never read.
    ///
    /// # Safety
    /// For 'a, `columns.len()` elements are readable at `data`, aligned, one after the other, and of the type `element`.
    pub unsafe fn compressed(
        data: *const u8,
        element: Element,
        n_columns: usize,
        columns: Indices<'a>,
        ends: Indices<'a>,
    ) -> Rows<'a> {
        let n_rows = ends.len().saturating_sub(1);
        let layout = Layout::Compressed { ends, columns };
        Rows { data, element, n_rows, n_columns, layout, memory: PhantomData }
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How many columns.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// The places of a compressed row's elements; none where they are not what they should be.
    fn places(ends: Indices, columns: Indices, number: usize) -> Range<usize> {
        match (ends.get(number), ends.get(number + 1)) {
            (Some(first), Some(end)) if first <= end && end <= columns.len() => first..end,
            _ => 0..0,
        }
    }

    /// Calls `f` with the column and the value of every element of a row (of a compressed one, of those it names).
    #[inline]
    #[allow(clippy::unnecessary_cast, reason = "one body for eleven element types")]
    pub fn each(&self, number: usize, mut f: impl FnMut(usize, f64)) {
        assert!(number < self.n_rows);
        with_element!(self.element, E => match self.layout {
            Layout::Strided { row, column } => {
                // SAFETY: a row of the table.
                let row = unsafe { self.data.offset(number as isize * row) };
                for j in 0..self.n_columns {
                    // SAFETY: a column of the table; the element type is the table's.
                    f(j, unsafe { row.offset(j as isize * column).cast::<E>().read() } as f64);
                }
            }
            Layout::Compressed { ends, columns } => {
                for place in Self::places(ends, columns, number) {
                    if let Some(j) = columns.get(place).filter(|j| *j < self.n_columns) {
                        // SAFETY: `place` is below the number of elements; the element type is the table's.
                        f(j, unsafe { self.data.cast::<E>().add(place).read() } as f64);
                    }
                }
            }
        });
    }

    /// Writes the numbered rows feature-major: `to[j · to_row + s]` is element j of row `numbers[s]`. Elements that a
    /// compressed row names twice are added.
    ///
    /// # Panics
    /// If a number is not that of a row, or `to` is too short.
    #[allow(clippy::unnecessary_cast, reason = "one body for eleven element types")]
    pub fn gather<T: Real>(&self, numbers: &[u32], to: &mut [T], to_row: usize) {
        assert!(self.n_columns == 0 || (self.n_columns - 1) * to_row + numbers.len() <= to.len());
        let Layout::Strided { row, column } = self.layout else {
            for column in to.chunks_mut(to_row).take(self.n_columns) {
                column[..numbers.len()].fill(T::ZERO);
            }
            for (s, number) in numbers.iter().enumerate() {
                self.each(*number as usize, |j, value| {
                    let to = &mut to[j * to_row + s];
                    *to = *to + T::of(value);
                });
            }
            return;
        };
        assert!(numbers.iter().all(|number| (*number as usize) < self.n_rows));
        let few = numbers.len() < FEW || self.n_columns < FEWEST;
        let turned = if few { 0 } else { self.gather_turned(numbers, to, to_row, row, column) };
        with_element!(self.element, E => {
            for (s, number) in numbers.iter().enumerate().skip(turned) {
                // SAFETY: the number is that of a row; the element type is the table's.
                let row = unsafe { self.data.offset(*number as isize * row) };
                for j in 0..self.n_columns {
                    // SAFETY: a column of the table.
                    let value = unsafe { row.offset(j as isize * column).cast::<E>().read() };
                    to[j * to_row + s] = T::of(value as f64);
                }
            }
        });
    }

    /// The same for as many of the first rows as it can do fast, a vector of them at a time: copied in stretches of
    /// columns, then turned in registers. The numbers are those of rows, the strides the table's.
    #[allow(clippy::unnecessary_cast, reason = "one body for eleven element types")]
    #[inline(never)]
    fn gather_turned<T: Real>(
        &self,
        numbers: &[u32],
        to: &mut [T],
        to_row: usize,
        row_stride: isize,
        column_stride: isize,
    ) -> usize {
        const STRETCH: usize = 32;
        let mut copy = [T::ZERO; 16 * STRETCH];
        let mut first = 0;
        with_element!(self.element, E => {
            if column_stride != size_of::<E>() as isize {
                return 0;
            }
            let own = if size_of::<T>() == 4 { Element::F32 } else { Element::F64 };
            if self.element == own {
                return dispatch(Turn { rows: self, numbers, row_stride, to, to_row });
            }
            if self.n_columns < FEW {
                return 0;
            }
            for numbers in numbers.chunks(T::LANES) {
                // A row of `to` must have room for the whole vector.
                if numbers.len() < FEW || to_row - first < T::LANES {
                    break;
                }
                for column in (0..self.n_columns).step_by(STRETCH) {
                    let columns = STRETCH.min(self.n_columns - column);
                    for (copy, number) in copy.chunks_exact_mut(STRETCH).zip(numbers) {
                        let row = self.data.wrapping_offset(*number as isize * row_stride).cast::<E>();
                        for (j, copy) in copy[..columns].iter_mut().enumerate() {
                            // SAFETY: columns column..column + columns of a row whose elements follow each other.
                            *copy = T::of(unsafe { row.add(column + j).read() } as f64);
                        }
                    }
                    dispatch(Transpose {
                        to: &mut to[column * to_row + first..],
                        to_row,
                        from: &copy,
                        from_row: STRETCH,
                        rows: numbers.len(),
                        columns,
                    });
                }
                first += numbers.len();
            }
        });
        first
    }

    /// An error that names the first element, row by row, that is not finite in the type `T`, or says what is wrong
    /// with a compressed table's numbers. `stop` is asked once in a while whether to go on.
    pub fn check<T: Real>(&self, argument: &'static str, stop: &dyn Fn() -> bool) -> Result<()> {
        if let Layout::Compressed { ends, columns } = self.layout {
            let begins = ends.get(0) == Some(0) && ends.get(self.n_rows) == Some(columns.len());
            if !begins || (0..self.n_rows).any(|i| ends.get(i).is_none_or(|end| ends.get(i + 1) < Some(end)))
            {
                let need = "have row ends (indptr) that ascend from 0 to the number of its elements";
                return Err(Error::Form { argument, need });
            }
            if (0..columns.len()).any(|place| columns.get(place).is_none_or(|j| j >= self.n_columns)) {
                return Err(Error::Form {
                    argument,
                    need: "have column numbers (indices) from 0 up to its width",
                });
            }
        }
        if !matches!(self.element, Element::F32 | Element::F64) {
            return Ok(());
        }
        // Nearly always all is well: so first a look without a branch for each element, and then, row by row, for which.
        let rows_at_a_time = (4096 / self.n_columns.max(1)).max(1);
        for first in (0..self.n_rows).step_by(rows_at_a_time) {
            if stop() {
                return Err(Error::Interrupted);
            }
            let numbers = first..self.n_rows.min(first + rows_at_a_time);
            let finite = match self.slice::<T>(numbers.clone()) {
                Some(elements) => dispatch(AllFinite(elements)),
                None => numbers.clone().all(|number| self.is_finite::<T>(number)),
            };
            if finite {
                continue;
            }
            for i in numbers {
                let mut wrong = None;
                self.each(i, |j, value| {
                    if !T::of(value).is_finite() && wrong.is_none() {
                        wrong = Some((j, value));
                    }
                });
                if let Some((j, value)) = wrong {
                    let need = if value.is_finite() { "be finite in float32" } else { "be finite" };
                    return Err(Error::Value { argument, index: vec![i, j], value, need });
                }
            }
        }
        Ok(())
    }

    /// The elements of these rows, where they follow each other and are of the type `T`.
    fn slice<T: Real>(&self, numbers: Range<usize>) -> Option<&[T]> {
        assert!(numbers.start <= numbers.end && numbers.end <= self.n_rows);
        let Layout::Strided { row, column } = self.layout else { return None };
        let element = if size_of::<T>() == 4 { Element::F32 } else { Element::F64 };
        let size = size_of::<T>() as isize;
        if numbers.is_empty()
            || self.element != element
            || column != size
            || row != self.n_columns as isize * size
        {
            return None;
        }
        // SAFETY: rows of the table, by the assertion, which follow each other as their elements do; these are of T.
        Some(unsafe {
            let first = self.data.offset(numbers.start as isize * row).cast::<T>();
            std::slice::from_raw_parts(first, numbers.len() * self.n_columns)
        })
    }

    /// Whether all elements of a row are finite in the type `T`.
    #[inline]
    fn is_finite<T: Real>(&self, number: usize) -> bool {
        let mut finite = true;
        self.each(number, |_, value| finite &= T::of(value).is_finite());
        finite
    }
}

/// [`Rows::gather_turned`] where the elements are numbers of T that follow each other, at least [`FEWEST`] of them: rows
/// are turned on their way from the table.
struct Turn<'a, 'b, T> {
    rows: &'a Rows<'b>,
    numbers: &'a [u32],
    row_stride: isize,
    to: &'a mut [T],
    to_row: usize,
}

impl<T: Real> Kernel for Turn<'_, '_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self) -> usize {
        let wide = self.rows.n_columns >= T::Vector::<S::Single>::LANES;
        if wide { self.turn::<T::Vector<S::Single>>() } else { self.turn::<T::Vector<S::Narrow>>() }
    }
}

impl<T: Real> Turn<'_, '_, T> {
    /// In squares of that vector, which has no more lanes than there are columns.
    #[inline(always)]
    fn turn<V: Vector<Scalar = T>>(self) -> usize {
        let Turn { rows, numbers, row_stride, to, to_row } = self;
        let place = |number: u32| rows.data.wrapping_offset(number as isize * row_stride).cast::<T>();
        assert!(rows.n_columns >= V::LANES);
        let mut first = 0;
        while first < numbers.len() && to_row - first >= V::LANES {
            // Lanes beyond the last row have its numbers. The rows after these are asked for meanwhile.
            let (mut from, mut next) = ([place(numbers[first]); 16], [place(numbers[first]); 16]);
            for i in 0..V::LANES {
                from[i] = place(numbers[(first + i).min(numbers.len() - 1)]);
                next[i] = place(numbers[(first + V::LANES + i).min(numbers.len() - 1)]);
            }
            let mut column = 0;
            loop {
                let mut square = [V::splat(T::ZERO); 16];
                let mut i = 0;
                while i < V::LANES {
                    prefetch_at(next[i].wrapping_add(column));
                    // SAFETY: columns column..column + LANES of a row of the table.
                    square[i] = unsafe { V::load(from[i].add(column)) };
                    i += 1;
                }
                V::turn(&mut square);
                let to = &mut to[column * to_row + first..][..(V::LANES - 1) * to_row + V::LANES];
                i = 0;
                while i < V::LANES {
                    // SAFETY: a row of `to` has room for a vector.
                    unsafe { square[i].store(to.as_mut_ptr().add(i * to_row)) };
                    i += 1;
                }
                if column + V::LANES == rows.n_columns {
                    break;
                }
                // The last square shares columns with the one before.
                column = (column + V::LANES).min(rows.n_columns - V::LANES);
            }
            first += V::LANES;
        }
        first.min(numbers.len())
    }
}

impl<'a, T: Real> From<(&'a [T], usize)> for Rows<'a> {
    /// A contiguous table with that many columns.
    fn from((elements, n_columns): (&'a [T], usize)) -> Rows<'a> {
        let size = size_of::<T>();
        let element = if size == 4 { Element::F32 } else { Element::F64 };
        let n_rows = elements.len().checked_div(n_columns).unwrap_or(0);
        let strides = ((n_columns * size) as isize, size as isize);
        // SAFETY: the slice holds n_rows · n_columns elements of T, which is f32 or f64 by its size.
        unsafe { Rows::new(elements.as_ptr().cast(), element, (n_rows, n_columns), strides) }
    }
}

/// Whether no number is infinite or NaN.
struct AllFinite<'a, T>(&'a [T]);

impl<T: Real> Kernel for AllFinite<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        // 0 times what is finite is 0, and a NaN stays one; four sums, because each waits for the one before.
        let zero = T::Vector::<S>::splat(T::ZERO);
        let mut sums = [zero; 4];
        let mut chunks = self.0.chunks_exact(4 * T::LANES);
        for chunk in &mut chunks {
            for i in 0..4 {
                sums[i] = T::Vector::<S>::from_slice(&chunk[i * T::LANES..]).mul_add(zero, sums[i]);
            }
        }
        for chunk in chunks.remainder().chunks(T::LANES) {
            sums[0] = T::Vector::<S>::from_first(chunk).mul_add(zero, sums[0]);
        }
        let sum = sums[0] + sums[1] + sums[2] + sums[3];
        !sum.eq(sum).not().any()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    #[test]
    fn rows_are_gathered_by_number_from_any_strides() {
        let table: Vec<i16> = (0..12).collect();
        // SAFETY: 3 rows of 4, read backwards.
        let rows = unsafe { Rows::new(table.as_ptr().add(11).cast(), Element::I16, (3, 4), (-8, -2)) };
        let mut to = [0f32; 4 * 3];
        rows.gather(&[2, 0], &mut to, 3);
        assert_eq!(to, [3., 11., 0., 2., 10., 0., 1., 9., 0., 0., 8., 0.]);
    }

    fn check_gather<T: Real>() {
        let before = Level::current();
        for (columns, distance) in [(4, 4), (5, 9), (11, 11), (16, 16), (19, 19), (40, 43)] {
            let table: Vec<T> = (0..50 * distance).map(|i| T::of(i as f64)).collect();
            let stride = (distance * size_of::<T>()) as isize;
            for backwards in [false, true] {
                let (first, stride) = if backwards { (49 * distance, -stride) } else { (0, stride) };
                let element = if size_of::<T>() == 4 { Element::F32 } else { Element::F64 };
                // SAFETY: 50 rows of so many columns, from the first or from the last on.
                let rows = unsafe {
                    let data = table.as_ptr().add(first).cast();
                    Rows::new(data, element, (50, columns), (stride, size_of::<T>() as isize))
                };
                for n in [7, 8, 9, 17, 33, 50] {
                    let numbers: Vec<u32> = (0..n).map(|i| (i * 7 + 3) % 50).collect();
                    for to_row in [n as usize, n as usize + 13] {
                        for level in Level::ALL.into_iter().filter(|level| level.set()) {
                            let mut to = vec![T::ZERO; columns * to_row];
                            rows.gather(&numbers, &mut to, to_row);
                            for (s, number) in numbers.iter().enumerate() {
                                rows.each(*number as usize, |j, value| {
                                    assert!(to[j * to_row + s].f64() == value, "{level:?} {columns} {n}");
                                });
                            }
                        }
                    }
                }
            }
        }
        before.set();
    }

    #[test]
    fn rows_that_need_no_converting_are_gathered_at_every_level() {
        check_gather::<f32>();
        check_gather::<f64>();
    }

    #[test]
    fn compressed_rows_are_gathered_with_their_zeros() {
        let (data, columns, ends) = ([1.5, 2.5, -3.0, 4.0], [2, 0, 1, 1], [0i64, 2, 2, 4]);
        // SAFETY: four elements, four column numbers.
        let rows = unsafe {
            let columns = Indices::I32(&columns);
            Rows::compressed(data.as_ptr().cast(), Element::F64, 3, columns, Indices::I64(&ends))
        };
        assert_eq!(rows.n_rows(), 3);
        assert!(rows.check::<f32>("X", &|| false).is_ok());
        let mut to = [9f32; 3 * 4];
        rows.gather(&[2, 0, 1], &mut to, 4);
        assert_eq!(to, [0., 2.5, 0., 9., 1., 0., 0., 9., 0., 1.5, 0., 9.]); // -3 + 4 = 1
    }

    #[test]
    fn wrong_numbers_of_compressed_rows_are_refused_and_read_nothing() {
        let data = [1.0, 2.0];
        for (columns, ends) in [
            (vec![0, 3], vec![0, 1, 2]),
            (vec![0, -1], vec![0, 1, 2]),
            (vec![0, 1], vec![0, 3, 2]),
            (vec![0, 1], vec![0, 2, 1]),
            (vec![0, 1], vec![0, 1, 9]),
            (vec![0, 1], vec![-1, 1, 2]),
            (vec![0, 1], vec![1, 1, 2]),
        ] {
            let (columns, ends) = (Indices::I64(&columns), Indices::I64(&ends));
            // SAFETY: two elements, two column numbers.
            let rows = unsafe { Rows::compressed(data.as_ptr().cast(), Element::F64, 2, columns, ends) };
            assert!(
                matches!(rows.check::<f64>("X", &|| false), Err(Error::Form { .. })),
                "{columns:?} {ends:?}"
            );
            rows.gather(&[0, 1], &mut [0.0; 4], 2);
        }
    }

    #[test]
    fn the_first_element_that_is_not_finite_is_named() {
        let table = [1.0, 2.0, 1e39, f64::NAN];
        let rows = Rows::from((&table[..], 2));
        let error = rows.check::<f64>("X", &|| false).unwrap_err();
        assert_eq!(error.to_string(), "X[1, 1] is NaN, but must be finite");
        assert!(
            matches!(rows.check::<f32>("X", &|| false), Err(Error::Value { index, .. }) if index == [1, 0])
        );
    }

    #[test]
    fn a_look_at_a_table_can_be_stopped() {
        let table = [1.0; 4];
        assert_eq!(Rows::from((&table[..], 2)).check::<f64>("X", &|| true), Err(Error::Interrupted));
    }
}
