//! ermin: small neural networks with honest probabilities.
//!
//! The modules in the order of their dependencies; none looks further down. Only [`py`] knows Python.
#![deny(unsafe_code)] // allowed, with SAFETY lines, in simd, gemm, rows and py::array

pub mod error;
pub mod math;
pub mod parallel;
#[cfg(feature = "python")]
mod py;
pub mod random;
#[allow(unsafe_code, reason = "intrinsics")]
pub mod simd;
