//! Files, as `files.py` sees them.

use crate::file::{self, Tensor};
use pyo3::prelude::*;
use std::path::PathBuf;

/// (name, dtype, shape, bytes)
type Named = (String, String, Vec<usize>, Vec<u8>);

/// Writes one safetensors file, whole or not at all; `description` is JSON.
#[pyfunction]
pub fn save(py: Python<'_>, path: PathBuf, description: &str, tensors: Vec<Named>) -> PyResult<()> {
    let tensor = |(name, dtype, shape, bytes)| Tensor { name, dtype, shape, bytes };
    let tensors: Vec<Tensor> = tensors.into_iter().map(tensor).collect();
    Ok(py.detach(|| file::save(&path, description, &tensors))?)
}

/// Reads a file: its description and its tensors.
#[pyfunction]
pub fn load(py: Python<'_>, path: PathBuf) -> PyResult<(String, Vec<Named>)> {
    let (description, tensors) = py.detach(|| file::load(&path))?;
    Ok((description, tensors.into_iter().map(|t| (t.name, t.dtype, t.shape, t.bytes)).collect()))
}
