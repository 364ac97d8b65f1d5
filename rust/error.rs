//! What can be wrong with a caller's values: facts, made into sentences here and into Python exceptions at the edge.

use std::fmt;

/// The result of anything that looks at a caller's values.
pub type Result<T> = std::result::Result<T, Error>;

/// A caller's mistake. Each variant carries what its sentence needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// `argument[index]` lies outside what is allowed.
    Value {
        /// The parameter's public name.
        argument: &'static str,
        /// Position of the first such value, by dimension; empty for a scalar.
        index: Vec<usize>,
        /// The value found.
        value: f64,
        /// What it must be, as the end of a sentence: "must …".
        need: &'static str,
    },
    /// `argument[row, column]` is not the number of a category.
    Category {
        /// The parameter's public name.
        argument: &'static str,
        /// Where it stands.
        index: [usize; 2],
        /// The value found.
        value: f64,
        /// How many categories there are.
        levels: usize,
    },
    /// A row of probabilities whose sum is not one.
    RowSum {
        /// The parameter's public name.
        argument: &'static str,
        /// The row.
        row: usize,
        /// Its sum.
        sum: f64,
    },
    /// A table, or its weights, from which nothing can be learned or computed.
    Empty {
        /// The parameter's public name.
        argument: &'static str,
        /// What it must be.
        need: &'static str,
    },
    /// A table whose parts do not go together.
    Form {
        /// The parameter's public name.
        argument: &'static str,
        /// What it must do.
        need: &'static str,
    },
    /// No epoch had a finite loss; the network keeps its weights.
    Diverged,
    /// The caller asked to stop.
    Interrupted,
    /// Memory for `bytes` could not be had.
    Memory {
        /// How many.
        bytes: usize,
    },
    /// A file that cannot be read or written, or is not what it should be.
    File {
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Value { argument, index, value, need } => {
                write!(f, "{argument}")?;
                if !index.is_empty() {
                    let index: Vec<String> = index.iter().map(usize::to_string).collect();
                    write!(f, "[{}]", index.join(", "))?;
                }
                match value.abs() {
                    1e-5..1e16 | 0.0 => write!(f, " is {value}, but must {need}"),
                    _ => write!(f, " is {value:e}, but must {need}"),
                }
            }
            Error::Category { argument, index: [row, column], value, levels } => write!(
                f,
                "{argument}[{row}, {column}] is {value}, but must be the number of a category, a whole number \
                 from 0 to {}",
                levels - 1
            ),
            Error::RowSum { argument, row, sum } => {
                write!(f, "{argument}: row {row} sums to {sum}, but must sum to 1")
            }
            Error::Empty { argument, need } | Error::Form { argument, need } => {
                write!(f, "{argument} must {need}")
            }
            Error::Diverged => write!(
                f,
                "the loss was not finite in any epoch; the network keeps its former weights. \
                 A smaller learning_rate or scaled inputs usually help"
            ),
            Error::Interrupted => write!(f, "interrupted"),
            Error::Memory { bytes } => write!(f, "cannot allocate {bytes} bytes"),
            Error::File { reason } => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for Error {}
