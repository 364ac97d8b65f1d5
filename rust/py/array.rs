//! NumPy arrays as slices, and Python's arguments as the core's.
//!
//! Form is settled in Python (`_arrays.py`): what arrives is C-contiguous, aligned, native and of a known dtype. It is
//! checked here once more, cheaply, because a wrong guess would be memory corruption. Borrowing follows NumPy's rule:
//! another thread may change an array during a call; the result is then any number, but never a crash, as no index or
//! length is taken from an array's elements without a check.

use crate::mlp::Shape;
use crate::mlp::data::{Data, Targets};
use crate::mlp::loss::Loss;
use crate::prob::likelihood::Tosses;
use crate::random::Seed;
use crate::rows::{self, Events, EventsMut, Indices, Rows};
use crate::simd::Real;
use numpy::{Element, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::slice;

/// A contiguous array, checked: its first element and length.
fn parts<T: Element>(array: &Bound<'_, PyUntypedArray>) -> PyResult<(*mut T, usize)> {
    let fits = array.is_c_contiguous()
        && array.dtype().is_equiv_to(&numpy::dtype::<T>(array.py()))
        && array.dtype().is_native_byteorder() != Some(false);
    // SAFETY: `array` is a live array object, whose header has these fields.
    let (data, flags) = unsafe {
        let raw = &*array.as_array_ptr();
        (raw.fields.data.cast::<T>(), raw.fields.flags)
    };
    if !fits || flags & numpy::npyffi::NPY_ARRAY_ALIGNED == 0 {
        return Err(wrong("an array"));
    }
    Ok((data, array.len()))
}

/// The elements of a contiguous array.
pub fn view<'a, T: Element>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<&'a [T]> {
    let (data, n) = parts(array)?;
    // SAFETY: `parts` has checked dtype, layout and alignment; the caller's reference keeps the memory alive.
    Ok(unsafe { slice::from_raw_parts(if n == 0 { std::ptr::dangling() } else { data }, n) })
}

/// The elements of a contiguous array that this call fills.
#[allow(clippy::mut_from_ref, reason = "the array object is shared; its memory is the caller's to give")]
pub fn view_mut<'a, T: Element>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<&'a mut [T]> {
    let (data, n) = parts(array)?;
    // SAFETY: as above.
    if unsafe { (*array.as_array_ptr()).fields.flags } & numpy::npyffi::NPY_ARRAY_WRITEABLE == 0 {
        return Err(PyValueError::new_err("out is read-only, but must be writeable"));
    }
    // SAFETY: `parts` has checked dtype, layout and alignment; the Python door has checked that `out` overlaps no input.
    Ok(unsafe { slice::from_raw_parts_mut(if n == 0 { std::ptr::dangling_mut() } else { data }, n) })
}

/// Whether an array has this dtype: the one question by which `f32` and `f64` part.
pub fn is<T: Element>(array: &Bound<'_, PyUntypedArray>) -> bool {
    array.dtype().is_equiv_to(&numpy::dtype::<T>(array.py()))
}

fn wrong(what: &str) -> PyErr {
    PyTypeError::new_err(format!("internal: {what} arrived in another form than its door makes"))
}

/// The element type of an array of native aligned numbers.
fn element(array: &Bound<'_, PyUntypedArray>) -> Option<rows::Element> {
    use rows::Element::*;
    let dtype = array.dtype();
    // SAFETY: `array` is a live array object, whose header has this field.
    let flags = unsafe { (*array.as_array_ptr()).fields.flags };
    if flags & numpy::npyffi::NPY_ARRAY_ALIGNED == 0 || dtype.is_native_byteorder() == Some(false) {
        return None;
    }
    Some(match (dtype.kind(), dtype.itemsize()) {
        (b'b', 1) => Bool,
        (b'i', 1) => I8,
        (b'i', 2) => I16,
        (b'i', 4) => I32,
        (b'i', 8) => I64,
        (b'u', 1) => U8,
        (b'u', 2) => U16,
        (b'u', 4) => U32,
        (b'u', 8) => U64,
        (b'f', 4) => F32,
        (b'f', 8) => F64,
        _ => return None,
    })
}

/// A two-dimensional array of native aligned numbers, in any strides, as a table of rows.
fn rows<'a>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<Rows<'a>> {
    let (&[n_rows, n_columns], &[row_stride, column_stride]) = (array.shape(), array.strides()) else {
        return Err(wrong("X"));
    };
    let element = element(array).filter(|_| n_rows <= u32::MAX as usize).ok_or_else(|| wrong("X"))?;
    // SAFETY: `array` is a live array object, whose header has this field.
    let data = unsafe { (*array.as_array_ptr()).fields.data };
    // SAFETY: NumPy vouches for shape and strides; dtype, byte order and alignment have been checked; the caller's
    // reference keeps the memory alive.
    Ok(unsafe { Rows::new(data.cast(), element, (n_rows, n_columns), (row_stride, column_stride)) })
}

/// An array of native aligned numbers in any strides, its last axis that of events, the others broadcast to `front`.
pub fn events<'a>(array: &'a Bound<'_, PyUntypedArray>, front: &[usize]) -> PyResult<Events<'a>> {
    let shape = array.shape();
    let own = shape.split_last().map(|(_, own)| own).ok_or_else(|| wrong("a distribution"))?;
    let fits = own.len() <= front.len()
        && own.iter().rev().zip(front.iter().rev()).all(|(own, n)| own == n || *own == 1)
        && front.iter().try_fold(1usize, |product, n| product.checked_mul(*n)).is_some();
    let element = element(array).filter(|_| fits).ok_or_else(|| wrong("a distribution"))?;
    // SAFETY: `array` is a live array object, whose header has this field.
    let data = unsafe { (*array.as_array_ptr()).fields.data };
    // SAFETY: as for `rows`; that the axes broadcast has been checked.
    Ok(unsafe { Events::new(data.cast(), element, front, shape, array.strides()) })
}

/// An array of results that this call fills, in any strides, its last axis that of events.
pub fn events_mut<'a, T: Real + Element>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<EventsMut<'a, T>> {
    // SAFETY: `array` is a live array object, whose header has these fields.
    let (data, flags) = unsafe {
        let raw = &*array.as_array_ptr();
        (raw.fields.data.cast::<T>(), raw.fields.flags)
    };
    let writeable = flags & numpy::npyffi::NPY_ARRAY_WRITEABLE != 0;
    if !writeable || !is::<T>(array) || element(array).is_none() || array.shape().is_empty() {
        return Err(wrong("out"));
    }
    // SAFETY: NumPy vouches for shape and strides; dtype and alignment have been checked, and in the Python door that
    // `out` overlaps no input.
    Ok(unsafe { EventsMut::new(data, array.shape(), array.strides()) })
}

/// Inputs as `_arrays.table` hands them over: an array, or compressed sparse rows.
#[derive(FromPyObject)]
pub enum Inputs<'py> {
    #[pyo3(transparent)]
    Dense(Bound<'py, PyUntypedArray>),
    Sparse {
        data: Bound<'py, PyUntypedArray>,
        indices: Bound<'py, PyUntypedArray>,
        indptr: Bound<'py, PyUntypedArray>,
        n_columns: usize,
    },
}

impl Inputs<'_> {
    /// As a table of rows.
    pub fn rows(&self) -> PyResult<Rows<'_>> {
        match self {
            Inputs::Dense(array) => rows(array),
            Inputs::Sparse { data, indices, indptr, n_columns } => {
                let (columns, ends) = (whole_numbers(indices)?, whole_numbers(indptr)?);
                if !data.is_c_contiguous() || data.len() != columns.len() || ends.len() > u32::MAX as usize {
                    return Err(wrong("X"));
                }
                let element = element(data).ok_or_else(|| wrong("X"))?;
                // SAFETY: `data` is a live array object, whose header has this field.
                let data = unsafe { (*data.as_array_ptr()).fields.data };
                // SAFETY: the elements are contiguous and as many as column numbers; `element` has checked their form;
                // the caller's reference keeps the memory alive.
                Ok(unsafe { Rows::compressed(data.cast(), element, *n_columns, columns, ends) })
            }
        }
    }
}

/// A contiguous array of int32 or int64.
fn whole_numbers<'a>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<Indices<'a>> {
    Ok(if is::<i32>(array) { Indices::I32(view(array)?) } else { Indices::I64(view(array)?) })
}

/// (X, y, sample_weight, row numbers) as `training.py` hands them over.
#[derive(FromPyObject)]
pub struct Table<'py>(
    Inputs<'py>,
    Bound<'py, PyUntypedArray>,
    Option<Bound<'py, PyUntypedArray>>,
    Option<Bound<'py, PyUntypedArray>>,
);

impl Table<'_> {
    /// The table for a network of that shape. Lengths are checked here, values by the core. Targets in one dimension are
    /// class indices.
    pub fn data(&self, shape: &Shape, loss: Loss) -> PyResult<Data<'_>> {
        let x = self.0.rows()?;
        let classes = self.1.ndim() == 1;
        let y = if classes { Targets::Classes(view(&self.1)?) } else { Targets::Values(rows(&self.1)?) };
        let weights = self.2.as_ref().map(|weights| view(weights)).transpose()?;
        let index = self.3.as_ref().map(|index| view::<u32>(index)).transpose()?;
        let (n_targets, width) = match y {
            Targets::Classes(classes) => (classes.len(), None),
            Targets::Values(values) => (values.n_rows(), Some(values.n_columns())),
        };
        let fits = x.n_columns() == shape.n_inputs()
            && n_targets == x.n_rows()
            && width.is_none_or(|width| width == loss.n_targets(shape.n_outputs()))
            && weights.is_none_or(|weights: &[f64]| weights.len() == x.n_rows())
            && index.is_none_or(|index| index.iter().all(|number| (*number as usize) < x.n_rows()));
        if fits { Ok(Data { x, y, weights, index }) } else { Err(wrong("a table")) }
    }
}

/// A seed as `_arrays.seed` makes it: an int below 2⁶⁴, 16 bytes of key, or a tuple of words.
impl<'a, 'py> FromPyObject<'a, 'py> for Seed {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Seed> {
        if let Ok(number) = object.extract::<u64>() {
            return Ok(Seed::from_words(&[number]));
        }
        if let Ok(key) = object.extract::<&[u8]>() {
            let key: [u8; 16] = key.try_into()?;
            let half = |i: usize| u64::from_le_bytes(std::array::from_fn(|j| key[8 * i + j]));
            return Ok(Seed([half(0), half(1)]));
        }
        Ok(Seed::from_words(&object.extract::<Vec<u64>>()?))
    }
}

/// An array of numbers that this call fills with 0 and 1: its elements as unsigned words, and the word that means 1.
pub enum Words<'a> {
    U8(&'a mut [u8], u8),
    U16(&'a mut [u16], u16),
    U32(&'a mut [u32], u32),
    U64(&'a mut [u64], u64),
}

/// The elements of a contiguous, writeable array of bool, an integer or a floating-point type.
#[allow(clippy::mut_from_ref, reason = "the array object is shared; its memory is the caller's to give")]
pub fn words_mut<'a>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<Words<'a>> {
    /// The elements as words of their width.
    fn of<'a, W>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<&'a mut [W]> {
        // SAFETY: `array` is a live array object, whose header has these fields.
        let (data, flags) = unsafe {
            let raw = &*array.as_array_ptr();
            (raw.fields.data.cast::<W>(), raw.fields.flags)
        };
        let wanted = numpy::npyffi::NPY_ARRAY_ALIGNED | numpy::npyffi::NPY_ARRAY_WRITEABLE;
        let native = array.dtype().is_native_byteorder() != Some(false);
        if !array.is_c_contiguous() || flags & wanted != wanted || !native || !data.is_aligned() {
            return Err(wrong("out"));
        }
        let data = if array.is_empty() { std::ptr::dangling_mut() } else { data };
        // SAFETY: layout, alignment and writeability have been checked, and the element's width is W's; the Python door
        // has checked that `out` overlaps no input.
        Ok(unsafe { slice::from_raw_parts_mut(data, array.len()) })
    }
    let dtype = array.dtype();
    Ok(match (dtype.kind(), dtype.itemsize()) {
        (b'b' | b'i' | b'u', 1) => Words::U8(of(array)?, 1),
        (b'i' | b'u', 2) => Words::U16(of(array)?, 1),
        (b'i' | b'u', 4) => Words::U32(of(array)?, 1),
        (b'i' | b'u', 8) => Words::U64(of(array)?, 1),
        (b'f', 2) => Words::U16(of(array)?, 0x3c00), // 1 in half precision
        (b'f', 4) => Words::U32(of(array)?, 1f32.to_bits()),
        (b'f', 8) => Words::U64(of(array)?, 1f64.to_bits()),
        _ => return Err(wrong("out")),
    })
}

/// Tosses in a contiguous array of bool, an integer, float32 or float64.
pub fn tosses<'a>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<Tosses<'a>> {
    let dtype = array.dtype();
    Ok(match (dtype.kind(), dtype.itemsize()) {
        // A bool of NumPy's is a byte.
        (b'b', 1) => {
            let bools: &[bool] = view(array)?;
            // SAFETY: bool and u8 have the same size and alignment.
            Tosses::U8(unsafe { slice::from_raw_parts(bools.as_ptr().cast(), bools.len()) })
        }
        (b'u', 1) => Tosses::U8(view(array)?),
        (b'u', 2) => Tosses::U16(view(array)?),
        (b'u', 4) => Tosses::U32(view(array)?),
        (b'u', 8) => Tosses::U64(view(array)?),
        (b'i', 1) => Tosses::I8(view(array)?),
        (b'i', 2) => Tosses::I16(view(array)?),
        (b'i', 4) => Tosses::I32(view(array)?),
        (b'i', 8) => Tosses::I64(view(array)?),
        (b'f', 4) => Tosses::F32(view(array)?),
        (b'f', 8) => Tosses::F64(view(array)?),
        _ => return Err(wrong("x")),
    })
}
