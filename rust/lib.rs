//! ermin: small neural networks with honest probabilities.
//!
//! The modules in the order of their dependencies; none looks further down. Only [`py`] knows Python.
#![deny(unsafe_code)] // allowed, with SAFETY lines, in simd, gemm, rows and py::array

pub mod error;
pub mod file;
#[allow(unsafe_code, reason = "tiles without bounds checks in the chain")]
pub mod gemm;
pub mod math;
pub mod mlp;
pub mod parallel;
pub mod prob;
#[cfg(feature = "python")]
mod py;
pub mod random;
#[allow(unsafe_code, reason = "tables in memory that somebody else owns")]
pub mod rows;
#[allow(unsafe_code, reason = "intrinsics")]
pub mod simd;
pub mod sum;
