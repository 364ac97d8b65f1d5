//! Multi-layer perceptrons: dense layers, each followed by an activation, the last by an output function.
//!
//! A network is its [`Shape`] and one flat vector of parameters: for each layer the weights, (inputs, outputs) in C
//! order, then the biases. Files, pickles and optimiser state hold this layout; what a run keeps beside it is its own.

pub mod activation;
pub mod block;
pub mod data;
pub mod dropout;
pub mod layers;
pub mod loss;
pub mod mixup;
pub mod norm;
pub mod optim;
pub mod regularization;
pub mod schedule;
pub mod train;

use crate::math::scalar::normal_quantile;
use crate::random::{Purpose, Seed, Stream};
use crate::simd::Real;
use activation::Activation;
use std::ops::Range;

/// What turns the last layer's sums, the logits, into predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The logits themselves.
    Identity,
    /// A distribution over classes.
    Softmax,
    /// A probability each.
    Sigmoid,
    /// A positive number each.
    Exp,
}

impl Output {
    /// Every output function by its public name.
    pub const NAMES: [(&'static str, Output); 4] = [
        ("identity", Output::Identity),
        ("softmax", Output::Softmax),
        ("sigmoid", Output::Sigmoid),
        ("exp", Output::Exp),
    ];
}

/// The layers of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Inputs, the width of each hidden layer, outputs.
    pub sizes: Vec<usize>,
    /// One for each hidden layer.
    pub activations: Vec<Activation>,
    /// What follows the last layer.
    pub output: Output,
}

/// One dense layer's place in the parameter vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Numbers in.
    pub inputs: usize,
    /// Numbers out.
    pub outputs: usize,
    /// (inputs, outputs), C order.
    pub weights: Range<usize>,
    /// One for each output.
    pub biases: Range<usize>,
}

impl Shape {
    /// How many numbers a row has.
    pub fn n_inputs(&self) -> usize {
        self.sizes[0]
    }

    /// How many numbers a prediction has.
    pub fn n_outputs(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// The dense layers, first to last.
    pub fn layers(&self) -> impl Iterator<Item = Dense> {
        let mut place = 0;
        let layer = move |pair: &[usize]| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let weights = place..place + inputs * outputs;
            let biases = weights.end..weights.end + outputs;
            place = biases.end;
            Dense { inputs, outputs, weights, biases }
        };
        self.sizes.windows(2).map(layer)
    }

    /// The length of the parameter vector, or None where it exceeds what memory can address.
    pub fn n_parameters(&self) -> Option<usize> {
        self.sizes
            .windows(2)
            .try_fold(0usize, |sum, pair| sum.checked_add(pair[0].checked_add(1)?.checked_mul(pair[1])?))
    }
}

/// How the weights begin; biases begin at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initializer {
    /// `He` before the relu family, `Glorot` before tanh, sigmoid, softplus and identity, `Lecun` before selu.
    Auto,
    /// Normal with variance 2/inputs (He et al. 2015, "Delving deep into rectifiers", equation 10).
    He,
    /// Uniform on ±√(6/(inputs + outputs)) (Glorot and Bengio 2010, "Understanding the difficulty of training deep
    /// feedforward neural networks", equation 16).
    Glorot,
    /// Normal with variance 1/inputs (LeCun et al. 1998, "Efficient BackProp", section 4.6).
    Lecun,
    /// All zero.
    Zeros,
}

impl Initializer {
    /// Every initialiser by its public name.
    pub const NAMES: [(&'static str, Initializer); 5] = [
        ("auto", Initializer::Auto),
        ("he", Initializer::He),
        ("glorot", Initializer::Glorot),
        ("lecun", Initializer::Lecun),
        ("zeros", Initializer::Zeros),
    ];

    fn before(self, activation: Activation) -> Initializer {
        use Activation::*;
        match (self, activation) {
            (Initializer::Auto, Identity | Tanh | Sigmoid | Softplus) => Initializer::Glorot,
            (Initializer::Auto, Selu) => Initializer::Lecun,
            (Initializer::Auto, Relu | LeakyRelu | Elu | Gelu | Silu | Mish) => Initializer::He,
            (chosen, _) => chosen,
        }
    }

    /// Fills a network's parameters. Drawn in `f64`, whatever the type, from one stream a layer.
    pub fn fill<T: Real>(self, shape: &Shape, seed: Seed, parameters: &mut [T]) {
        for (l, layer) in shape.layers().enumerate() {
            let (inputs, outputs) = (layer.inputs as f64, layer.outputs as f64);
            let stream = Stream::new(seed, Purpose::Initial, 0, l as u64);
            let activation = shape.activations.get(l).copied().unwrap_or(Activation::Identity);
            let mut drawn = vec![0.0; layer.weights.len().min(512)];
            parameters[layer.biases.clone()].fill(T::ZERO);
            for (i, chunk) in parameters[layer.weights.clone()].chunks_mut(512).enumerate() {
                let drawn = &mut drawn[..chunk.len()];
                stream.open_uniform(512 * i as u64, drawn);
                for (weight, u) in chunk.iter_mut().zip(drawn) {
                    *weight = T::of(match self.before(activation) {
                        Initializer::Zeros => 0.0,
                        Initializer::Glorot => (*u * 2.0 - 1.0) * (6.0 / (inputs + outputs)).sqrt(),
                        Initializer::Lecun => normal_quantile(*u) * (1.0 / inputs).sqrt(),
                        Initializer::He | Initializer::Auto => normal_quantile(*u) * (2.0 / inputs).sqrt(),
                    });
                }
            }
        }
    }
}
