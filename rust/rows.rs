//! A table of rows as it comes: any native element type, any strides. Rows are gathered by number and converted to the
//! network's element type batch by batch, so no copy of the whole is ever made.

use crate::error::{Error, Result};
use crate::gemm::Transpose;
use crate::simd::{Real, dispatch};
use std::marker::PhantomData;

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

/// A borrowed table of rows.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    data: *const u8,
    element: Element,
    n_rows: usize,
    n_columns: usize,
    row_stride: isize,
    column_stride: isize,
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

/// Fewer rows or columns than this are gathered one element at a time.
const FEW: usize = 8;

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
        (row_stride, column_stride): (isize, isize),
    ) -> Rows<'a> {
        Rows { data, element, n_rows, n_columns, row_stride, column_stride, memory: PhantomData }
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How many columns.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Writes the numbered rows feature-major: `to[j · to_row + s]` is element j of row `numbers[s]`.
    ///
    /// # Panics
    /// If a number is not that of a row, or `to` is too short.
    #[allow(clippy::unnecessary_cast, reason = "one body for eleven element types")]
    pub fn gather<T: Real>(&self, numbers: &[u32], to: &mut [T], to_row: usize) {
        assert!(self.n_columns == 0 || (self.n_columns - 1) * to_row + numbers.len() <= to.len());
        assert!(numbers.iter().all(|number| (*number as usize) < self.n_rows));
        let turned = if numbers.len() < FEW || self.n_columns < FEW {
            0
        } else {
            self.gather_turned(numbers, to, to_row)
        };
        with_element!(self.element, E => {
            for (s, number) in numbers.iter().enumerate().skip(turned) {
                // SAFETY: the number is that of a row; the element type is the table's.
                let row = unsafe { self.data.offset(*number as isize * self.row_stride) };
                for j in 0..self.n_columns {
                    // SAFETY: a column of the table.
                    let value = unsafe { row.offset(j as isize * self.column_stride).cast::<E>().read() };
                    to[j * to_row + s] = T::of(value as f64);
                }
            }
        });
    }

    /// The same for as many of the first rows as it can do fast, a vector of them at a time: copied in stretches of
    /// columns, then turned in registers. The numbers are those of rows.
    #[allow(clippy::unnecessary_cast, reason = "one body for eleven element types")]
    #[inline(never)]
    fn gather_turned<T: Real>(&self, numbers: &[u32], to: &mut [T], to_row: usize) -> usize {
        const STRETCH: usize = 32;
        let mut copy = [T::ZERO; 16 * STRETCH];
        let mut first = 0;
        with_element!(self.element, E => {
            if self.column_stride != size_of::<E>() as isize {
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
                        let row = self.data.wrapping_offset(*number as isize * self.row_stride).cast::<E>();
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

    /// An error that names the first element, row by row, that is not finite in the type `T`.
    #[allow(clippy::unnecessary_cast, reason = "one body for eleven element types")]
    pub fn check_finite<T: Real>(&self, argument: &'static str) -> Result<()> {
        if !matches!(self.element, Element::F32 | Element::F64) {
            return Ok(());
        }
        with_element!(self.element, E => {
            for i in 0..self.n_rows {
                // SAFETY: a row of the table.
                let row = unsafe { self.data.offset(i as isize * self.row_stride) };
                for j in 0..self.n_columns {
                    // SAFETY: a column of the table; the element type is the table's.
                    let value = unsafe { row.offset(j as isize * self.column_stride).cast::<E>().read() } as f64;
                    if !T::of(value).is_finite() {
                        return Err(Error::Value { argument, index: vec![i, j], value, need: "be finite" });
                    }
                }
            }
        });
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_gathered_by_number_from_any_strides() {
        let table: Vec<i16> = (0..12).collect();
        // SAFETY: 3 rows of 4, read backwards.
        let rows = unsafe { Rows::new(table.as_ptr().add(11).cast(), Element::I16, (3, 4), (-8, -2)) };
        let mut to = [0f32; 4 * 3];
        rows.gather(&[2, 0], &mut to, 3);
        assert_eq!(to, [3., 11., 0., 2., 10., 0., 1., 9., 0., 0., 8., 0.]);
    }

    #[test]
    fn the_first_element_that_is_not_finite_is_named() {
        let table = [1.0, 2.0, 1e39, f64::NAN];
        let rows = Rows::from((&table[..], 2));
        let error = rows.check_finite::<f64>("X").unwrap_err();
        assert_eq!(error.to_string(), "X[1, 1] is NaN, but must be finite");
        assert!(matches!(rows.check_finite::<f32>("X"), Err(Error::Value { index, .. }) if index == [1, 0]));
    }
}
