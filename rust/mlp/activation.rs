//! The functions between layers, each with its derivative: one formula for both dtypes and every level.
//!
//! The commonest take no pass of their own where a few operations will do: relu ends the product forward ([`Rectify`]),
//! and the derivatives of relu and tanh, functions of the value, the product back ([`ThroughRelu`], [`ThroughTanh`]).
//! The derivatives of the others are stored beside the values on the way there.

use crate::gemm::End;
use crate::math::{constant, erf, exp, exp_m1, sigmoid, softplus, tanh};
use crate::simd::{Kernel, Real, Simd, Vector};

/// A function applied to every number that leaves a hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// z
    Identity,
    /// max(z, 0)
    Relu,
    /// z, or 0.01·z below 0
    LeakyRelu,
    /// z, or eᶻ − 1 below 0 (Clevert et al. 2016)
    Elu,
    /// λ·z, or λ·α·(eᶻ − 1) below 0 (Klambauer et al. 2017, "Self-normalizing neural networks", equation 2)
    Selu,
    /// z·Φ(z) (Hendrycks and Gimpel 2016), with the exact Φ
    Gelu,
    /// z·sigmoid(z)
    Silu,
    /// z·tanh(softplus(z)) (Misra 2020)
    Mish,
    /// ln(1 + eᶻ)
    Softplus,
    /// tanh(z)
    Tanh,
    /// 1/(1 + e⁻ᶻ)
    Sigmoid,
}

impl Activation {
    /// Every activation by its public name.
    pub const NAMES: [(&'static str, Activation); 11] = [
        ("identity", Activation::Identity),
        ("relu", Activation::Relu),
        ("leaky_relu", Activation::LeakyRelu),
        ("elu", Activation::Elu),
        ("selu", Activation::Selu),
        ("gelu", Activation::Gelu),
        ("silu", Activation::Silu),
        ("mish", Activation::Mish),
        ("softplus", Activation::Softplus),
        ("tanh", Activation::Tanh),
        ("sigmoid", Activation::Sigmoid),
    ];

    /// Whether f′(z) must be stored on the way there; otherwise a product's end makes it of f(z) on the way back.
    pub fn stores_slope(self) -> bool {
        !matches!(self, Activation::Identity | Activation::Relu | Activation::Tanh)
    }
}

/// λ and α of selu: the fixed point of mean 0 and variance 1.
const SELU_LAMBDA: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const LEAKY_SLOPE: f64 = 0.01;
/// 1/√(2π), the normal density at 0.
const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

/// max(z, 0)
#[inline(always)]
fn relu<V: Vector>(z: V) -> V {
    z.max(V::splat(V::Scalar::ZERO))
}

/// dx·relu′(z) by relu(z)
#[inline(always)]
fn through_relu<V: Vector>(value: V, dx: V) -> V {
    let zero = V::splat(V::Scalar::ZERO);
    V::select(zero.lt(value), dx, zero)
}

/// dx·tanh′(z) by tanh(z)
#[inline(always)]
fn through_tanh<V: Vector>(value: V, dx: V) -> V {
    let one = constant::<V>(1.0);
    dx * ((one - value) * (one + value))
}

/// (f(z), f′(z)).
#[inline(always)]
fn both<V: Vector>(activation: Activation, z: V) -> (V, V) {
    let zero = V::splat(V::Scalar::ZERO);
    let one = constant::<V>(1.0);
    match activation {
        Activation::Identity => (z, one),
        Activation::Relu => {
            let value = relu(z);
            (value, through_relu(value, one))
        }
        Activation::LeakyRelu => {
            let slope = V::select(zero.lt(z), one, constant(LEAKY_SLOPE));
            (slope * z, slope)
        }
        Activation::Elu => {
            let above = zero.lt(z);
            let below = exp_m1(z.min(zero));
            (V::select(above, z, below), V::select(above, one, below + one))
        }
        Activation::Selu => {
            let above = zero.lt(z);
            let scale = constant::<V>(SELU_LAMBDA * SELU_ALPHA);
            let below = exp_m1(z.min(zero));
            let lambda = constant::<V>(SELU_LAMBDA);
            (
                V::select(above, lambda * z, scale * below),
                V::select(above, lambda, scale.mul_add(below, scale)),
            )
        }
        Activation::Gelu => {
            let half = constant::<V>(0.5);
            let share = half.mul_add(erf(z * constant(std::f64::consts::FRAC_1_SQRT_2)), half);
            let density = constant::<V>(INV_SQRT_TAU) * exp(-half * z * z);
            (z * share, z.mul_add(density, share))
        }
        Activation::Silu => {
            let share = sigmoid(z);
            let value = z * share;
            (value, value.mul_add(one - share, share))
        }
        Activation::Mish => {
            // tanh(softplus(z)) = (n − 1)/(n + 1), n = (1 + eᶻ)²; as a quotient of e·(e + 2), nothing cancels.
            // Beyond 20 it is 1 in both types; the clamp keeps e² finite.
            let e = exp(z.min(constant(20.0)));
            let part = e * (e + constant(2.0));
            let share = part / (part + constant(2.0));
            let slope = (one - share) * (one + share) * sigmoid(z);
            (z * share, z.mul_add(slope, share))
        }
        Activation::Softplus => (softplus(z), sigmoid(z)),
        Activation::Tanh => {
            let value = tanh(z);
            (value, through_tanh(value, one))
        }
        Activation::Sigmoid => {
            let value = sigmoid(z);
            // 1 − sigmoid(z) as sigmoid(−z) would be exact; the product is within 8·u of the derivative all the same.
            (value, value * (one - value))
        }
    }
}

/// The end of a product forward: relu of the sums.
#[derive(Clone, Copy)]
pub struct Rectify;

impl<T: Real> End<T> for Rectify {
    const READS: bool = false;
    #[inline(always)]
    fn finish<V: Vector<Scalar = T>>(self, sum: V, _before: V) -> V {
        relu(sum)
    }
}

/// The same with tanh: many operations for the end of a tile, but few samples have no tiles.
#[derive(Clone, Copy)]
pub struct TakeTanh;

impl<T: Real> End<T> for TakeTanh {
    const READS: bool = false;
    #[inline(always)]
    fn finish<V: Vector<Scalar = T>>(self, sum: V, _before: V) -> V {
        tanh(sum)
    }
}

/// The end of a product back through relu: the derivative in the activations becomes that in the sums they were made
/// of, by the activations, which stand where it goes to.
#[derive(Clone, Copy)]
pub struct ThroughRelu;

impl<T: Real> End<T> for ThroughRelu {
    const READS: bool = true;
    #[inline(always)]
    fn finish<V: Vector<Scalar = T>>(self, sum: V, before: V) -> V {
        through_relu(before, sum)
    }
}

/// The same through tanh.
#[derive(Clone, Copy)]
pub struct ThroughTanh;

impl<T: Real> End<T> for ThroughTanh {
    const READS: bool = true;
    #[inline(always)]
    fn finish<V: Vector<Scalar = T>>(self, sum: V, before: V) -> V {
        through_tanh(before, sum)
    }
}

/// Replaces the first `n` numbers of every row by their activations, and writes the derivatives to the same places of
/// `slope` where they are stored.
pub struct Activate<'a, T> {
    /// Which function.
    pub activation: Activation,
    /// Rows of z, `row` apart.
    pub z: &'a mut [T],
    /// The derivative's rows, of the same layout; empty where it is not stored.
    pub slope: &'a mut [T],
    /// The distance of rows, a multiple of `T::LANES`.
    pub row: usize,
    /// Numbers in a row that count; vectors are processed whole.
    pub n: usize,
}

impl<T: Real> Kernel for Activate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Vector::<S>::LANES;
        macro_rules! each {
            ($($activation:ident)*) => {
                match self.activation {
                    // Nothing to do, or done at the product's end.
                    Activation::Identity | Activation::Relu if self.slope.is_empty() => {}
                    $(Activation::$activation if self.slope.is_empty() => {
                        for z in self.z.chunks_exact_mut(self.row) {
                            for z in z.chunks_exact_mut(lanes).take(self.n.div_ceil(lanes)) {
                                let (f, _) = both(Activation::$activation, T::Vector::<S>::from_slice(z));
                                f.copy_to(z);
                            }
                        }
                    })*
                    $(Activation::$activation => {
                        for (z, slope) in self.z.chunks_exact_mut(self.row).zip(self.slope.chunks_exact_mut(self.row)) {
                            let vectors = z.chunks_exact_mut(lanes).zip(slope.chunks_exact_mut(lanes));
                            for (z, slope) in vectors.take(self.n.div_ceil(lanes)) {
                                let (f, df) = both(Activation::$activation, T::Vector::<S>::from_slice(z));
                                f.copy_to(z);
                                df.copy_to(slope);
                            }
                        }
                    })*
                }
            };
        }
        each!(Identity Relu LeakyRelu Elu Selu Gelu Silu Mish Softplus Tanh Sigmoid)
    }
}

/// The chain rule through an activation whose derivative is stored: dx becomes dx·f′(z), row by row.
pub struct Chain<'a, T> {
    /// The derivative in the activations, then in the sums.
    pub dx: &'a mut [T],
    /// f′(z), of the same layout.
    pub slope: &'a [T],
    /// The distance of rows, a multiple of `T::LANES`.
    pub row: usize,
    /// Numbers in a row that count.
    pub n: usize,
}

impl<T: Real> Kernel for Chain<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Vector::<S>::LANES;
        for (dx, slope) in self.dx.chunks_exact_mut(self.row).zip(self.slope.chunks_exact(self.row)) {
            let vectors = dx.chunks_exact_mut(lanes).zip(slope.chunks_exact(lanes));
            for (dx, slope) in vectors.take(self.n.div_ceil(lanes)) {
                (T::Vector::<S>::from_slice(dx) * T::Vector::<S>::from_slice(slope)).copy_to(dx);
            }
        }
    }
}
