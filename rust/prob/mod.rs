//! Probability without layers: distributions, and how far they are from each other.

mod chunks;
pub mod divergence;
mod elementwise;
mod terms;
