"""Multi-layer perceptrons: layers, parameters, and predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ermin import _arrays, _core, files, losses, schedules
from ermin import layers as pieces

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Table = tuple[_arrays.Rows, NDArray[Any], NDArray[np.float64] | None, NDArray[np.uint32] | None]

__all__ = ["MLP"]

_STILL = ("constant", 0.0, (0.0, 0.0, 0.0), 0.0)
_NO_STEP = ("sgd", _STILL, _STILL, 0.0, 0.0, 0.0, False)
_FIXED = frozenset({"sizes", "layers", "activation", "output", "dropout", "dtype"})
_AS_IT_IS: tuple[list[Any], float, float] = ([], 0.0, 0.0)


class MLP:
    """A multi-layer perceptron: dense layers with activations between them, or layers that are spelled out.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, the width of each hidden layer, outputs. Two sizes make a linear, logistic or maximum-entropy model.
    layers : sequence of layers
        In place of `sizes`, `activation` and `dropout`: `Columns`, `Dense`, `Scale`, `Activation`, `Dropout`,
        `PeriodicEmbedding` and `CategoryEmbedding`, each with as many inputs as the one before has outputs.
    activation : str or sequence of str, default "relu"
        After each hidden layer: identity, relu, leaky_relu (slope 0.01), elu, selu, gelu (exact), silu, mish, softplus,
        tanh or sigmoid. One name for all or one for each.
    output : {"identity", "softmax", "sigmoid", "exp"}, default "identity"
        What makes predictions of the last layer's sums, the logits: nothing, a distribution over classes, a
        probability each, or a positive number each.
    initializer : {"auto", "he", "glorot", "lecun", "ntk", "data", "zeros"}, default "auto"
        How the weights of dense layers begin; biases begin at 0. He et al. 2015 (normal, variance 2/inputs), Glorot
        and Bengio 2010 (uniform, ±√(6/(inputs + outputs))), LeCun et al. 1998 (normal, variance 1/inputs). "auto" takes
        he before relu, leaky_relu, elu, gelu, silu and mish, lecun before selu, and glorot otherwise. "ntk" is lecun
        with biases that begin normal with deviation 0.1 (Jacot et al. 2018). In a dense layer of the parametrization
        "ntk", whose sums are divided by √inputs, all weights begin √inputs times as large. "data" is lecun until the
        network first learns (`fit`, `Trainer`): then up to 1024 of the rows, drawn by the run's `rng`, go through it
        layer by layer; each output's weights are divided by the standard deviation of its sums, so that all have
        deviation 1 (Mishkin and Matas 2016), and before an activation its bias puts a random mixture of five rows'
        sums at 0, so that the activation bends among the data (Steinwart 2019). Layers
        inside of `Columns`, and parameters that are assigned before, stay as they are.
    dropout : float or schedule, default 0
        From 0 up to, not including, 1: the probability with which, during training, each number that leaves a hidden
        layer is set to 0; the others are divided by 1 − p (Srivastava et al. 2014). Rounded to a multiple of 2⁻¹⁶. A
        schedule changes it during the run. Predictions and losses that are asked for know no dropout.
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of all computation; losses are always added up in float64.
    rng : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Where the first weights come from. The same int gives the same bits on every machine.

    Attributes
    ----------
    sizes : tuple of int
        Inputs, and the outputs of every layer that has weights or chooses columns.
    layers : tuple of layers
        Also where the network was made from `sizes`.
    activation : tuple of str
        One for each hidden layer of a network made from `sizes`; otherwise empty.
    output : str
    dropout : float or schedule
    dtype : numpy.dtype
    weights, biases : tuple of numpy.ndarray
        Read-only, of shapes (inputs, outputs) and (outputs,); assign the whole to change them.
    parameters : dict of str to numpy.ndarray
        Every learned array by name; assign the whole, as above.

    Raises
    ------
    ValueError
        If a size is below 1, a name is not one of those above, dropout is outside its range, or layers do not follow
        each other.
    TypeError
        If there are neither `sizes` nor `layers`, or both, or something in `layers` is no layer.

    Examples
    --------
    >>> import numpy as np
    >>> import ermin
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = X[:, 0] ^ X[:, 1]
    >>> net = ermin.MLP([2, 8, 2], activation="tanh", output="softmax", rng=0)
    >>> history = ermin.fit(net, X, y, epochs=300, optimizer=ermin.Adam(0.05), rng=0)
    >>> net.predict(X)
    array([0, 1, 1, 0])
    """

    _vector: NDArray[Any]
    _awaits_rows: bool

    def __init__(
        self,
        sizes: Sequence[int] | None = None,
        *,
        layers: Sequence[pieces.Layer] | None = None,
        activation: str | Sequence[str] = "relu",
        output: str = "identity",
        initializer: str = "auto",
        dropout: float | schedules.Constant = 0.0,
        dtype: Any = "float32",
        rng: _arrays.RngLike = None,
    ) -> None:
        if layers is not None:
            if sizes is not None:
                raise TypeError("MLP takes sizes or layers, but got both")
            if activation != "relu" or dropout != 0.0:
                raise ValueError("activation and dropout go with sizes; with layers they are layers")
            self._spell_out(layers, output, dtype)
        elif sizes is not None:
            self._describe(sizes, activation, output, dropout, dtype)
        else:
            raise TypeError("MLP needs sizes or layers, but got neither")
        _check_name("initializer", initializer)
        vector = np.empty(self._shape.n_parameters, dtype=self.dtype)
        self._shape.initialize(initializer, _arrays.seed(rng), vector)
        self._set_vector(vector, awaits_rows=initializer == "data")

    def _describe(
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str],
        output: str,
        dropout: float | schedules.Constant,
        dtype: Any,
    ) -> None:
        sizes = tuple(_arrays.whole(size, f"sizes[{i}]") for i, size in enumerate(sizes))
        if len(sizes) < 2:
            raise ValueError(f"sizes is {sizes}, but must have at least two numbers: inputs and outputs")
        if min(sizes) < 1:
            raise ValueError(f"sizes is {sizes}, but each must be at least 1")
        n_hidden = len(sizes) - 2
        activation = (activation,) * n_hidden if isinstance(activation, str) else tuple(activation)
        for i, chosen in enumerate(activation):
            _check_name(f"activation[{i}]", chosen)
        if len(activation) != n_hidden:
            raise ValueError(
                f"activation has {len(activation)} names, but there are {n_hidden} hidden layers"
            )
        self._set_dtype(dtype)
        pieces.check_dropout("dropout", dropout)
        if output == "softmax" and sizes[-1] < 2:
            raise ValueError(f"sizes ends in {sizes[-1]}, but a softmax output needs at least 2 classes")
        layers: list[pieces.Layer] = []
        for n_in, n_out, name in zip(sizes[:-1], sizes[1:], (*activation, None), strict=True):
            layers.append(pieces.Dense(n_in, n_out))
            if name is not None:
                layers.append(pieces.Activation(name))
        self._settle(layers, sizes, output)
        self._from_sizes = True
        self.activation = activation
        self.dropout = dropout
        self._dropouts = [dropout] * n_hidden

    def _spell_out(self, layers: Sequence[pieces.Layer], output: str, dtype: Any) -> None:
        """Take the layers as they are given."""
        layers, width, n_outputs = pieces.checked(layers)
        self._set_dtype(dtype)
        if output == "softmax" and n_outputs < 2:
            raise ValueError(
                f"layers ends in {n_outputs} outputs, but a softmax output needs at least 2 classes"
            )
        sizes = [width]
        for layer in layers:
            width = pieces.widths(layer, width)[1]
            if not isinstance(layer, pieces.Activation | pieces.Dropout):
                sizes.append(width)
        self._dropouts = self._settle(layers, tuple(sizes), output)
        self._from_sizes = False
        self.activation = ()
        self.dropout = 0.0

    def _set_dtype(self, dtype: Any) -> None:
        if dtype is None:  # which NumPy takes for float64
            raise ValueError("dtype is None, but must be float32 or float64")
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype is {dtype!r}, but must be float32 or float64")

    def _settle(
        self, layers: Sequence[pieces.Layer], sizes: tuple[int, ...], output: str
    ) -> list[float | schedules.Constant]:
        """Lay the parameters out; returns the dropout after each native layer."""
        _check_name("output", output)
        described = pieces.describe(layers, sizes[0])
        self._shape = _core.Shape(described.layers, described.columns, output)
        self.layers = tuple(layers)
        self.sizes = sizes
        self.output = output
        self._arrays = pieces.arrays(layers, sizes[0])
        return described.dropouts

    # ------------------------------------------------------------------------------------------------- parameters

    def _set_vector(self, vector: NDArray[Any], *, awaits_rows: bool = False) -> None:
        """Replace all parameters at once: readers see the old ones or the new ones.

        `awaits_rows` says that they are to be set by the first rows there are to learn from.
        """
        vector.flags.writeable = False
        self.__dict__["_vector"] = vector
        self.__dict__["_awaits_rows"] = awaits_rows

    def __setattr__(self, name: str, value: object) -> None:
        if name in _FIXED and "_vector" in self.__dict__:
            raise AttributeError(f"{name} is what the network was made with; make another to change it")
        super().__setattr__(name, value)

    def _first_vector(self, settings: _core.Settings, table: Table) -> tuple[NDArray[Any], bool]:
        """A copy of the parameters for a run to begin with, and whether they still wait for rows that count."""
        vector = self._vector.copy()
        weights = table[2]
        if not self._awaits_rows or (weights is not None and not weights.any()):
            return vector, self._awaits_rows
        self._shape.fit_to_rows(settings, vector, table)
        return vector, False

    def _split(self, vector: NDArray[Any]) -> tuple[tuple[NDArray[Any], ...], tuple[NDArray[Any], ...]]:
        """Views of a flat vector as the weights and biases of dense layers."""
        weights, biases = (
            tuple(array.of(vector) for array in self._arrays if array.name.startswith(kind))
            for kind in ("weights.", "biases.")
        )
        return weights, biases

    def _named(self, vector: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Views of a flat vector as learned arrays by name."""
        return {array.name: array.of(vector) for array in self._arrays}

    @property
    def weights(self) -> tuple[NDArray[Any], ...]:
        """The dense layers' weights, each (inputs, outputs), read-only."""
        return self._split(self._vector)[0]

    @weights.setter
    def weights(self, arrays: Iterable[ArrayLike]) -> None:
        self._assign("weights", 0, arrays)

    @property
    def biases(self) -> tuple[NDArray[Any], ...]:
        """The dense layers' biases, each (outputs,), read-only."""
        return self._split(self._vector)[1]

    @biases.setter
    def biases(self, arrays: Iterable[ArrayLike]) -> None:
        self._assign("biases", 1, arrays)

    def _assign(self, name: str, part: int, arrays: Iterable[ArrayLike]) -> None:
        vector = self._vector.copy()
        places = self._split(vector)[part]
        values = [_arrays.floats(value, f"{name}[{i}]", self.dtype) for i, value in enumerate(arrays)]
        if len(values) != len(places):
            raise ValueError(f"{name} has {len(values)} arrays, but the network has {len(places)} layers")
        for i, (place, value) in enumerate(zip(places, values, strict=True)):
            _put(f"{name}[{i}]", place, value)
        self._set_vector(vector)

    @property
    def parameters(self) -> dict[str, NDArray[Any]]:
        """Every learned array by name, read-only.

        ``weights.0``, ``biases.0``, ``weights.1``, … of dense layers, first to last; ``scales.0``, … (n,) of `Scale`;
        ``alphas.0``, … (n,) of a parametric `Activation`; of `PeriodicEmbedding` ``frequencies.0``, …
        (n, n_frequencies), ``periodic_weights.0``, … (n, 2·n_frequencies, n_outputs) and ``periodic_biases.0``, …
        (n, n_outputs); ``embeddings.0``, … (n_levels, size) of `CategoryEmbedding`.
        """
        return self._named(self._vector)

    @parameters.setter
    def parameters(self, arrays: Mapping[str, ArrayLike]) -> None:
        vector = self._vector.copy()
        places = self._named(vector)
        if set(arrays) != set(places):
            raise ValueError(f"parameters has {sorted(arrays)}, but must have {sorted(places)}")
        for name, place in places.items():
            label = f"parameters[{name!r}]"
            _put(label, place, _arrays.floats(arrays[name], label, self.dtype))
        self._set_vector(vector)

    # ------------------------------------------------------------------------------------------------ predictions

    def _predict(self, X: Any, *, logits: bool) -> NDArray[Any]:
        table = _arrays.table(X, "X", self.sizes[0])
        out = np.empty((len(table), self.sizes[-1]), dtype=self.dtype)
        self._shape.predict(self._vector, table, logits, _arrays.thread_count(None), out)
        return out

    def logits(self, X: Any) -> NDArray[Any]:
        """The last layer's sums, before the output function.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_inputs)
            Any numbers in any memory layout, or a SciPy sparse matrix or array: rows are gathered and converted batch
            by batch. (CSR is read as it is, other sparse formats are converted to it.)

        Returns
        -------
        numpy.ndarray of shape (n_rows, n_outputs)
            In the network's dtype. A row's result does not depend on the batch it came in.

        Raises
        ------
        ValueError
            If X has other columns than the network has inputs, or is not finite.
        """
        return self._predict(X, logits=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class (softmax), 1 where the probability is at least ½ (sigmoid), or the value (identity).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_inputs)

        Returns
        -------
        numpy.ndarray
            int64 of shape (n_rows,) for softmax, int64 of shape (n_rows, n_outputs) for sigmoid, the network's dtype
            and that shape for identity. Of equally likely classes the first.
        """
        values = self._predict(X, logits=True)
        if self.output == "softmax":
            classes: NDArray[np.int64] = np.argmax(values, axis=1).astype(np.int64, copy=False)
            return classes
        if self.output == "sigmoid":
            return (values >= 0).astype(np.int64)
        return values if self.output == "identity" else self._predict(X, logits=False)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Probabilities: over the classes (softmax), or of each output (sigmoid).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_inputs)

        Returns
        -------
        numpy.ndarray of shape (n_rows, n_outputs)
            In the network's dtype.

        Raises
        ------
        TypeError
            If the output is neither softmax nor sigmoid.
        """
        if self.output not in ("softmax", "sigmoid"):
            raise TypeError(f"predict_proba needs a softmax or sigmoid output, but output is {self.output!r}")
        return self._predict(X, logits=False)

    # ----------------------------------------------------------------------------------------- loss and gradient

    def _table(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, loss: str, names: Sequence[str]
    ) -> Table:
        """Rows, targets and weights as the native module takes them, all rows counting."""
        rows = _arrays.table(X, names[0], self.sizes[0])
        if not len(rows):
            raise ValueError(f"{names[0]} has no rows, but must have at least one")
        try:
            targets = _arrays.targets(y, names[1], len(rows), self.sizes[-1], self.output, loss)
        except ValueError:
            self._shape.check_loss((loss, 0.5))  # the wrong loss would make the right targets look wrong
            raise
        return rows, targets, _arrays.row_weights(sample_weight, names[2], len(rows)), None

    def _settings(self, loss: tuple[str, float]) -> _core.Settings:
        threads = _arrays.thread_count(None)
        return _core.Settings(
            self._shape, loss, _NO_STEP, 1, False, 0.0, None, False, _AS_IT_IS, 1, 0, threads
        )

    def loss(
        self,
        X: Any,
        y: ArrayLike,
        *,
        loss: losses.Loss = "auto",
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """The weighted mean loss over the rows, added up in float64.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_inputs)
        y : array-like
            For softmax: class indices (n_rows,) or a distribution a row (n_rows, n_outputs). For sigmoid:
            probabilities or 0 and 1, for exp: counts, for identity: values, (n_rows, n_outputs) or, with one output,
            (n_rows,). For hinge and perceptron: class indices, or −1 and 1; with one output 0 and 1 will do.
        loss : str, Huber or Quantile, default "auto"
            For softmax: "kl", Σ q·ln(q/p) over the classes, or "cross_entropy", −Σ q·ln p. For sigmoid:
            "binary_cross_entropy", −Σ y·ln p + (1 − y)·ln(1 − p) over the outputs. For exp: "poisson", Σ p − y·ln p.
            For any output: "squared_error", ½·Σ (p − y)². For identity also "gaussian_nll" (the first half of the
            outputs are means μ, the second log-variances v: ½·Σ v + (y − μ)²·e⁻ᵛ + ln 2π), "huber", "quantile", and
            for classes "hinge", Σ max(0, 1 − t·z), and "perceptron", Σ max(0, −t·z), where t is 1 for the row's class
            and −1 for the others. "auto" is kl, binary_cross_entropy, poisson and squared_error, by the output.
        sample_weight : array-like of shape (n_rows,), optional
            At least 0, not all 0.

        Returns
        -------
        float
            In nats (kl and cross-entropies).

        Raises
        ------
        ValueError
            If a shape does not fit the network, a value is not finite or out of range, or the loss does not go with
            the output.

        Examples
        --------
        >>> import ermin
        >>> net = ermin.MLP([1, 2], output="softmax", initializer="zeros")
        >>> round(net.loss([[1.0]], [0]), 6)  # ln 2: a fair coin's surprise
        0.693147
        """
        named = losses.native(loss)
        table = self._table(X, y, sample_weight, named[0], ("X", "y", "sample_weight"))
        return self._shape.loss(self._vector, table, self._settings(named))

    def gradient(
        self,
        X: Any,
        y: ArrayLike,
        *,
        loss: losses.Loss = "auto",
        sample_weight: ArrayLike | None = None,
        by_name: bool = False,
    ) -> Any:
        """The loss and its gradient by backpropagation: for teaching, checks and optimisers of one's own.

        Parameters
        ----------
        X, y, loss, sample_weight
            As for `loss`.
        by_name : bool, default False
            All derivatives by name, as `parameters` has them, rather than those of the dense layers.

        Returns
        -------
        loss : float
        weights, biases : tuple of numpy.ndarray
            The derivatives, in the shapes of `weights` and `biases`. With `by_name` one dict in their place.

        Examples
        --------
        >>> import ermin
        >>> net = ermin.MLP([1, 2], output="softmax", initializer="zeros")
        >>> loss, weights, biases = net.gradient([[1.0]], [0])
        >>> biases[0]  # p - q
        array([-0.5,  0.5], dtype=float32)
        """
        named = losses.native(loss)
        table = self._table(X, y, sample_weight, named[0], ("X", "y", "sample_weight"))
        out = np.empty_like(self._vector)
        value = self._shape.gradient(self._vector, table, self._settings(named), out)
        return (value, self._named(out)) if by_name else (value, *self._split(out))

    # ------------------------------------------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to one safetensors file, whole or not at all; `ermin.load` reads it.

        Parameters
        ----------
        path : path-like
            An existing file is replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        files.save(path, "network", *self._to_file())

    def _to_file(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        form: dict[str, Any] = {"output": self.output, "dtype": self.dtype.name}
        if self._awaits_rows:
            form["awaits_rows"] = True
        if not self._from_sizes:
            return {"layers": [pieces.to_plain(layer) for layer in self.layers], **form}, self.parameters
        description = {
            "sizes": list(self.sizes),
            "activation": list(self.activation),
            "dropout": schedules.describe(self.dropout),
            **form,
        }
        return description, self.parameters

    def _describe_as(self, description: Mapping[str, Any]) -> None:
        """Take the description that `_to_file` gives."""
        if "layers" in description:
            layers = [pieces.from_plain(plain) for plain in description["layers"]]
            self._spell_out(layers, description["output"], description["dtype"])
            return
        dropout = schedules.described(description["dropout"])
        sizes, activation, output = (description[name] for name in ("sizes", "activation", "output"))
        self._describe(sizes, activation, output, dropout, description["dtype"])

    @classmethod
    def _from_file(cls, description: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        net = cls.__new__(cls)
        try:
            net._describe_as(description)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the file does not describe a network: {error!r}") from None
        vector = np.empty(net._shape.n_parameters, dtype=net.dtype)
        for name, place in net._named(vector).items():
            tensor = tensors.get(name)
            if tensor is None or tensor.shape != place.shape or tensor.dtype != net.dtype:
                raise ValueError(f"the file's {name} does not fit the network it describes")
            place[...] = tensor
        net._set_vector(vector, awaits_rows=description.get("awaits_rows") is True)
        return net

    def __copy__(self) -> Self:
        # All that a network holds is replaced as a whole, never changed in place.
        twin = self.__class__.__new__(self.__class__)
        twin.__dict__.update(self.__dict__)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {"description": self._to_file()[0], "vector": self._vector}

    def __setstate__(self, state: dict[str, Any]) -> None:
        description = state["description"]
        self._describe_as(description)
        self._set_vector(state["vector"].copy(), awaits_rows=description.get("awaits_rows") is True)

    def __repr__(self) -> str:
        if not self._from_sizes:
            layers = ", ".join(map(repr, self.layers))
            return f"MLP(layers=[{layers}], output={self.output!r}, dtype={self.dtype.name!r})"
        hidden = f", activation={list(self.activation)}" if self.activation else ""
        dropout = f", dropout={self.dropout}" if self.dropout else ""
        return f"MLP({list(self.sizes)}{hidden}, output={self.output!r}{dropout}, dtype={self.dtype.name!r})"


def _check_name(argument: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{argument} is {name!r}, but must be a name")


def _put(name: str, place: NDArray[Any], value: NDArray[Any]) -> None:
    """Write finite values of the right shape, or raise an error that names them."""
    if value.shape != place.shape:
        raise ValueError(f"{name} has shape {value.shape}, but must have shape {place.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinity, but must be finite")
    place[...] = value
