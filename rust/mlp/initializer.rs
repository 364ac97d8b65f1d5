//! How the parameters of a network begin.

use super::activation::Activation;
use super::data::Data;
use super::train::{self, Interrupt};
use super::{Kind, Layer, Output, Shape};
use crate::error::Result;
use crate::math::scalar::{ln, normal_quantile};
use crate::parallel::zeros;
use crate::random::{Purpose, Seed, Sequence, Stream};
use crate::rows::Rows;
use crate::simd::Real;

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
    /// Normal with variance 1/inputs, or 1 where the layer divides by √inputs; biases normal with deviation 0.1
    /// (Jacot et al. 2018, "Neural tangent kernel", section 2 and the β of section 6).
    Ntk,
    /// `Lecun` at first; then, before the first step, from the rows to learn from: [`fit_to_rows`].
    Data,
    /// All zero.
    Zeros,
}

impl Initializer {
    /// Every initialiser by its public name.
    pub const NAMES: [(&'static str, Initializer); 7] = [
        ("auto", Initializer::Auto),
        ("he", Initializer::He),
        ("glorot", Initializer::Glorot),
        ("lecun", Initializer::Lecun),
        ("ntk", Initializer::Ntk),
        ("data", Initializer::Data),
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

    /// Fills a network's parameters. Drawn in `f64`, whatever the type, from streams of the layer's own.
    pub fn fill<T: Real>(self, shape: &Shape, seed: Seed, parameters: &mut [T]) {
        for (l, layer) in shape.layers.iter().enumerate() {
            self.fill_layer(layer, activation_after(shape, l), seed, l as u64, parameters);
        }
    }

    /// Fills a layer's parameters from the streams of `index`.
    fn fill_layer<T: Real>(
        self,
        layer: &Layer,
        activation: Activation,
        seed: Seed,
        index: u64,
        parameters: &mut [T],
    ) {
        // Streams of a layer's further arrays, and of the layers of columns, have numbers beyond those of layers.
        let second = index + (1 << 40);
        let stream = |index: u64| Stream::new(seed, Purpose::Initial, 0, index);
        let own = &mut parameters[layer.place.clone()];
        let (inputs, outputs) = (layer.inputs as f64, layer.outputs as f64);
        match &layer.kind {
            Kind::Dense { ntk } => {
                let (weights, biases) = own.split_at_mut(layer.inputs * layer.outputs);
                let unit = if *ntk { inputs.sqrt() } else { 1.0 };
                biases.fill(T::ZERO);
                match self.before(activation) {
                    Initializer::Zeros => weights.fill(T::ZERO),
                    Initializer::Glorot => {
                        let bound = unit * (6.0 / (inputs + outputs)).sqrt();
                        draw(&stream(index), weights, |u| (u * 2.0 - 1.0) * bound);
                    }
                    Initializer::He | Initializer::Auto => {
                        normal(&stream(index), unit * (2.0 / inputs).sqrt(), weights);
                    }
                    Initializer::Lecun | Initializer::Data => {
                        normal(&stream(index), unit * (1.0 / inputs).sqrt(), weights)
                    }
                    Initializer::Ntk => {
                        normal(&stream(index), unit * (1.0 / inputs).sqrt(), weights);
                        normal(&stream(second), 0.1, biases);
                    }
                }
            }
            Kind::Scale | Kind::Activation { .. } | Kind::Pass => own.fill(T::ONE),
            Kind::Periodic { frequencies, outputs, scale } => {
                let (c, maps) = own.split_at_mut(layer.inputs * frequencies);
                normal(&stream(index), *scale, c);
                // sin² + cos² is 1, so this gives each output of the map the variance 1.
                normal(&stream(second), (1.0 / *frequencies as f64).sqrt(), maps);
                let weights = 2 * frequencies * outputs;
                maps.chunks_mut(weights + outputs).for_each(|map| map[weights..].fill(T::ZERO));
            }
            Kind::Category { .. } => normal(&stream(index), (1.0 / outputs).sqrt(), own),
            Kind::Columns(columns) => {
                for (i, column) in columns.iter().enumerate() {
                    if let Some(layer) = &column.layer {
                        let index = (1 << 41) + i as u64;
                        self.fill_layer(layer, layer.activation, seed, index, parameters);
                    }
                }
            }
        }
    }
}

/// The activation that follows layer `l`: its own, or that of a layer of its own.
fn activation_after(shape: &Shape, l: usize) -> Activation {
    let next = shape.layers.get(l + 1).filter(|next| matches!(next.kind, Kind::Activation { .. }));
    match (shape.layers[l].activation, next) {
        (Activation::Identity, Some(next)) => next.activation,
        (own, _) => own,
    }
}

/// Rows that [`fit_to_rows`] looks at.
const LOOKED_AT: usize = 1024;
/// Rows whose mixture a bias puts at 0.
const MIXED: usize = 5;

/// Scales the dense layers' weights and sets their biases by the rows to learn from, first layer to last: every output's
/// weights are divided by the standard deviation of its sums, so that all have deviation 1 (Mishkin and Matas 2016,
/// "All you need is a good init"); before an activation its bias then puts a random mixture of five rows' sums at 0, so
/// that the activation bends among the data (Steinwart 2019, "A sober look at neural network initializations"). An
/// output that is the same for all rows keeps its weights and the bias 0. Layers inside of columns stay as they are.
///
/// Up to 1024 rows are looked at, of those that have weight; which, and their mixtures, come from streams of `seed`.
pub fn fit_to_rows<T: Real>(
    shape: &Shape,
    seed: Seed,
    parameters: &mut [T],
    data: &Data,
    interrupt: Interrupt,
) -> Result<()> {
    // Streams beyond those of the parameters: a network and its run may have the same seed.
    let sequence = |index: u64| Sequence::new(Stream::new(seed, Purpose::Initial, 0, (1 << 42) + index));
    let x = look::<T>(data, shape.n_inputs(), &mut sequence(0))?;
    let x = Rows::from((&x[..], shape.n_inputs()));
    for (l, layer) in shape.layers.iter().enumerate() {
        if !matches!(layer.kind, Kind::Dense { .. }) {
            continue;
        }
        // The network as far as this layer's sums.
        let mut layers = shape.layers[..=l].to_vec();
        layers[l].activation = Activation::Identity;
        let Some(part) = Shape::new(layers, Output::Identity) else { continue };
        let (outputs, n) = (layer.outputs, x.n_rows());
        let (known, biases) = (&mut parameters[..layer.place.end], layer.place.end - layer.outputs);
        known[biases..].fill(T::ZERO);
        let mut sums: Vec<T> = zeros(n * outputs)?;
        train::predict(&part, known, &x, true, Some(1), interrupt, &mut sums)?;
        let bends = activation_after(shape, l) != Activation::Identity;
        let mut mixtures = sequence(1 + l as u64);
        for o in 0..outputs {
            let sum = |s: usize| sums[s * outputs + o].f64();
            // From the first row's sum on: the same sum for all rows then has no deviation at all.
            let rest = |s: usize| sum(s) - sum(0);
            let mean = (0..n).map(rest).sum::<f64>() / n as f64;
            let variance = (0..n).map(|s| (rest(s) - mean) * (rest(s) - mean)).sum::<f64>() / n as f64;
            // Shares that are uniform on the simplex: exponential numbers over their sum.
            let (mut mixture, mut whole) = (0.0, 0.0);
            for _ in 0..MIXED {
                let share = -ln(mixtures.open_uniform());
                mixture += share * sum(mixtures.below(n as u64) as usize);
                whole += share;
            }
            // Of less than the sums' own rounding nothing can be said.
            let largest = (0..n).map(|s| sum(s).abs()).fold(0.0, f64::max);
            let (deviation, noise) = (variance.sqrt(), 8.0 * rounding::<T>() * largest);
            if !(deviation.is_finite() && deviation > noise && deviation > 1e-30) {
                continue;
            }
            let factor = 1.0 / deviation;
            for w in known[layer.place.start..biases].iter_mut().skip(o).step_by(outputs) {
                *w = T::of(w.f64() * factor);
            }
            if bends {
                known[biases + o] = T::of(-mixture / whole * factor);
            }
        }
    }
    Ok(())
}

/// Half the distance from 1 to the next number.
fn rounding<T: Real>() -> f64 {
    if size_of::<T>() == 4 { f64::from(f32::EPSILON) / 2.0 } else { f64::EPSILON / 2.0 }
}

/// Rows of `data` that have weight, each with its `n_columns` numbers: all, or [`LOOKED_AT`] of them, drawn.
fn look<T: Real>(data: &Data, n_columns: usize, chosen: &mut Sequence) -> Result<Vec<T>> {
    let weighty = |place: &usize| data.weight(data.number(*place)) > 0.0;
    let n = (0..data.len()).filter(weighty).count();
    let mut numbers: Vec<u32> = zeros(n.min(LOOKED_AT))?;
    if n <= LOOKED_AT {
        let all = (0..data.len()).filter(weighty).map(|place| data.number(place));
        numbers.iter_mut().zip(all).for_each(|(number, row)| *number = row);
    } else {
        for number in &mut numbers {
            *number = loop {
                let place = chosen.below(data.len() as u64) as usize;
                if weighty(&place) {
                    break data.number(place);
                }
            };
        }
    }
    let mut rows: Vec<T> = zeros(numbers.len() * n_columns)?;
    for (row, number) in rows.chunks_mut(n_columns).zip(numbers) {
        data.x.gather(&[number], row, 1);
    }
    Ok(rows)
}

/// Fills `to` with a function of the stream's uniform numbers.
fn draw<T: Real>(stream: &Stream, to: &mut [T], f: impl Fn(f64) -> f64) {
    let mut drawn = vec![0.0; to.len().min(512)];
    for (i, chunk) in to.chunks_mut(512).enumerate() {
        let drawn = &mut drawn[..chunk.len()];
        stream.open_uniform(512 * i as u64, drawn);
        chunk.iter_mut().zip(drawn).for_each(|(to, u)| *to = T::of(f(*u)));
    }
}

/// Fills `to` with normal numbers of mean 0.
fn normal<T: Real>(stream: &Stream, deviation: f64, to: &mut [T]) {
    draw(stream, to, |u| normal_quantile(u) * deviation);
}
