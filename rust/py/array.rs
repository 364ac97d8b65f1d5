//! NumPy arrays as slices, and Python's arguments as the core's.
//!
//! Form is settled in Python (`_arrays.py`): what arrives is C-contiguous, aligned, native and of a known dtype. It is
//! checked here once more, cheaply, because a wrong guess would be memory corruption. Borrowing follows NumPy's rule:
//! another thread may change an array during a call; the result is then any number, but never a crash, as no index or
//! length is taken from an array's elements without a check.

use crate::random::Seed;
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
        return Err(PyTypeError::new_err("internal: an array arrived in another form than its door makes"));
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
