//! Multi-layer perceptrons: dense layers with activations between them, other layers beside them, and an output function.
//!
//! A network is its [`Shape`] and one flat vector of parameters: for each dense layer the weights, (inputs, outputs) in C
//! order, then the biases. Files, pickles and optimiser state hold this layout; what a run keeps beside it is its own.

pub mod activation;
pub mod block;
pub mod data;
pub mod dropout;
pub mod initializer;
pub mod layers;
pub mod loss;
pub mod mixup;
pub mod narrow;
pub mod norm;
pub mod optim;
pub mod regularization;
pub mod schedule;
pub mod train;

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

/// What a layer computes, and how its parameters stand in its place: the arrays in the order they are named.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Wᵀx + b, or with `ntk` Wᵀx/√inputs + b (Jacot et al. 2018, "Neural tangent kernel"): W (inputs, outputs), b.
    Dense {
        /// Divided by √inputs.
        ntk: bool,
    },
    /// s·x, a factor for each input.
    Scale,
    /// f(x), or with `parametric` x + α·(f(x) − x), an α for each input.
    Activation {
        /// With α.
        parametric: bool,
    },
    /// Each input x becomes W·(sin 2πcx, cos 2πcx) + b, and x itself where outputs are left for it (Gorishniy et al.
    /// 2022, "On embeddings for numerical features in tabular deep learning"): c (inputs, frequencies), then for each
    /// input W (2·frequencies, outputs of an input) and b.
    Periodic {
        /// How many c for each input.
        frequencies: usize,
        /// How many outputs for each input, x itself not counted.
        outputs: usize,
        /// The standard deviation of c in the beginning.
        scale: f64,
    },
    /// A row of a table by its number, the input: (levels, outputs).
    Category {
        /// Rows of the table.
        levels: usize,
    },
    /// x: for dropout where there is no layer before it.
    Pass,
    /// Layers for some of the inputs each, their outputs side by side.
    Columns(Vec<Column>),
}

/// One part of [`Kind::Columns`].
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Which inputs.
    pub indices: Vec<usize>,
    /// What becomes of them: nothing where there is no layer.
    pub layer: Option<Layer>,
}

/// A layer and its place in the parameter vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What it computes.
    pub kind: Kind,
    /// Numbers in.
    pub inputs: usize,
    /// Numbers out.
    pub outputs: usize,
    /// What follows a dense layer, or what [`Kind::Activation`] computes; identity otherwise.
    pub activation: Activation,
    /// The learning rate is multiplied by it; 0 keeps the parameters as they are.
    pub rate_factor: f64,
    /// Weight decay and the l2 penalty are multiplied by it; they never touch biases.
    pub decay_factor: f64,
    /// Its parameters.
    pub place: Range<usize>,
}

/// Parameters that learn alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Which.
    pub range: Range<usize>,
    /// Of the learning rate.
    pub rate_factor: f64,
    /// Of weight decay and the l2 penalty.
    pub decay_factor: f64,
}

impl Layer {
    /// How many parameters it has, or None where they exceed what memory can address.
    fn n_parameters(&self) -> Option<usize> {
        match &self.kind {
            Kind::Dense { .. } => self.inputs.checked_add(1)?.checked_mul(self.outputs),
            Kind::Scale | Kind::Activation { parametric: true } => Some(self.inputs),
            Kind::Activation { parametric: false } | Kind::Pass => Some(0),
            Kind::Periodic { frequencies, outputs, .. } => {
                let weights = frequencies.checked_mul(2)?.checked_add(1)?.checked_mul(*outputs)?;
                self.inputs.checked_mul(weights.checked_add(*frequencies)?)
            }
            Kind::Category { levels } => levels.checked_mul(self.outputs),
            Kind::Columns(columns) => {
                let mut layers = columns.iter().filter_map(|column| column.layer.as_ref());
                layers.try_fold(0usize, |sum, layer| sum.checked_add(layer.n_parameters()?))
            }
        }
    }

    /// Puts its parameters at `start`, of whose number [`Layer::n_parameters`] has judged.
    fn settle(&mut self, start: usize) {
        self.place = start..start + self.n_parameters().unwrap_or(0);
        if let Kind::Columns(columns) = &mut self.kind {
            let mut start = start;
            for layer in columns.iter_mut().filter_map(|column| column.layer.as_mut()) {
                layer.settle(start);
                start = layer.place.end;
            }
        }
    }

    /// Calls `tell` with the parts of its parameters that decay and those that do not.
    fn each_part(&self, tell: &mut impl FnMut(&Layer, Range<usize>, bool)) {
        let Range { start, end } = self.place;
        match &self.kind {
            Kind::Dense { .. } => {
                tell(self, start..end - self.outputs, true);
                tell(self, end - self.outputs..end, false);
            }
            Kind::Periodic { frequencies, outputs, .. } => {
                tell(self, start..start + self.inputs * frequencies, true);
                let (weights, mut first) = (2 * frequencies * outputs, start + self.inputs * frequencies);
                for _ in 0..self.inputs {
                    tell(self, first..first + weights, true);
                    tell(self, first + weights..first + weights + outputs, false);
                    first += weights + outputs;
                }
            }
            Kind::Columns(columns) => {
                columns.iter().filter_map(|column| column.layer.as_ref()).for_each(|l| l.each_part(tell));
            }
            Kind::Scale | Kind::Activation { .. } | Kind::Category { .. } | Kind::Pass => {
                tell(self, self.place.clone(), true);
            }
        }
    }

    /// The inputs that are numbers of categories, and how many there are of each.
    fn categories(&self) -> Vec<(usize, usize)> {
        match &self.kind {
            Kind::Category { levels } => vec![(0, *levels)],
            Kind::Columns(columns) => {
                let own = |column: &Column| {
                    let inner = column.layer.iter().flat_map(Layer::categories);
                    inner.map(|(i, levels)| (column.indices[i], levels)).collect::<Vec<_>>()
                };
                columns.iter().flat_map(own).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Multiplications of a row's way there.
    fn work(&self) -> usize {
        match &self.kind {
            Kind::Dense { .. } => self.inputs * self.outputs,
            Kind::Periodic { frequencies, outputs, .. } => self.inputs * frequencies * (2 * outputs + 20),
            Kind::Columns(columns) => {
                columns.iter().filter_map(|column| column.layer.as_ref()).map(Layer::work).sum()
            }
            Kind::Scale | Kind::Activation { .. } | Kind::Category { .. } | Kind::Pass => 0,
        }
    }
}

/// The layers of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// First to last; at least one, each with as many inputs as the one before has outputs.
    pub layers: Vec<Layer>,
    /// What follows the last layer.
    pub output: Output,
    /// The parameters, first to last.
    pub groups: Vec<Group>,
    /// Whether all groups have the whole learning rate.
    pub one_rate: bool,
    /// The inputs that are numbers of categories, and how many there are of each.
    pub categories: Vec<(usize, usize)>,
}

impl Shape {
    /// The layers with their places, or None where there are more parameters than memory can address.
    pub fn new(mut layers: Vec<Layer>, output: Output) -> Option<Shape> {
        let mut start = 0usize;
        for layer in &mut layers {
            let end = start.checked_add(layer.n_parameters()?)?;
            layer.settle(start);
            start = end;
        }
        let mut groups: Vec<Group> = Vec::new();
        for layer in &layers {
            layer.each_part(&mut |layer, range, decays| {
                let rate_factor = layer.rate_factor;
                let decay_factor = if decays { layer.decay_factor } else { 0.0 };
                match groups.last_mut() {
                    Some(last) if (last.rate_factor, last.decay_factor) == (rate_factor, decay_factor) => {
                        last.range.end = range.end;
                    }
                    _ => groups.push(Group { range, rate_factor, decay_factor }),
                }
            });
        }
        let one_rate = groups.iter().all(|group| group.rate_factor == 1.0);
        let categories = layers.first().map_or_else(Vec::new, Layer::categories);
        Some(Shape { layers, output, groups, one_rate, categories })
    }

    /// How many numbers a row has.
    pub fn n_inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// How many numbers a prediction has.
    pub fn n_outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// Numbers a row is on its way, inputs and outputs among them.
    pub fn width(&self) -> usize {
        self.n_inputs() + self.layers.iter().map(|layer| layer.outputs).sum::<usize>()
    }

    /// Multiplications of a row's way there.
    pub fn work(&self) -> usize {
        self.layers.iter().map(Layer::work).sum()
    }

    /// The length of the parameter vector.
    pub fn n_parameters(&self) -> usize {
        self.layers[self.layers.len() - 1].place.end
    }

    /// The layers that have parameters.
    pub fn learned(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| !layer.place.is_empty())
    }
}
