//! NumPy arrays as slices, and Python's arguments as the core's.
//!
//! Form is settled in Python (`_arrays.py`): what arrives is C-contiguous, aligned, native and of a known dtype. It is
//! checked here once more, cheaply, because a wrong guess would be memory corruption. Borrowing follows NumPy's rule:
//! another thread may change an array during a call; the result is then any number, but never a crash, as no index or
//! length is taken from an array's elements without a check.

use crate::mlp::Shape;
use crate::mlp::data::{Data, Targets};
use crate::mlp::loss::Loss;
use crate::random::Seed;
use crate::rows::{self, Indices, Rows};
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
fn element(array: &Bound<'_, PyUntypedArray>) -> PyResult<rows::Element> {
    use rows::Element::*;
    let dtype = array.dtype();
    // SAFETY: `array` is a live array object, whose header has this field.
    let aligned = unsafe { (*array.as_array_ptr()).fields.flags } & numpy::npyffi::NPY_ARRAY_ALIGNED != 0;
    if !aligned || dtype.is_native_byteorder() == Some(false) {
        return Err(wrong("X"));
    }
    Ok(match (dtype.kind(), dtype.itemsize()) {
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
        _ => return Err(wrong("X")),
    })
}

/// A two-dimensional array of native aligned numbers, in any strides, as a table of rows.
fn rows<'a>(array: &'a Bound<'_, PyUntypedArray>) -> PyResult<Rows<'a>> {
    let (&[n_rows, n_columns], &[row_stride, column_stride]) = (array.shape(), array.strides()) else {
        return Err(wrong("X"));
    };
    let element = element(array)?;
    // SAFETY: `array` is a live array object, whose header has this field.
    let data = unsafe { (*array.as_array_ptr()).fields.data };
    if n_rows > u32::MAX as usize {
        return Err(wrong("X"));
    }
    // SAFETY: NumPy vouches for shape and strides; dtype, byte order and alignment have been checked; the caller's
    // reference keeps the memory alive.
    Ok(unsafe { Rows::new(data.cast(), element, (n_rows, n_columns), (row_stride, column_stride)) })
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
                let element = element(data)?;
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
