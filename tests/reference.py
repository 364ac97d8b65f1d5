"""The slow truth: what the package computes, written as one reads it in a textbook. NumPy and loops; no speed.

A whole network with its training loop, divergences event by event, and samplers bit by bit. Tests compare the package
with this; nothing here shares code with it.
"""

import math
from fractions import Fraction

import numpy as np

# ------------------------------------------------------------------------------------------------ activations

_erf = np.vectorize(math.erf, otypes=[float])
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def sigmoid(z):
    return np.where(z >= 0, 1 / (1 + np.exp(-np.abs(z))), np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))))


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def normal_cdf(z):
    return 0.5 * (1 + _erf(z / math.sqrt(2)))


def normal_pdf(z):
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def sech_squared(z):
    return 1 - np.tanh(z) ** 2


# name: (f, its derivative)
ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda z: np.exp(np.minimum(z, 0))),
    "selu": (
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z: SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(np.minimum(z, 0))),
    ),
    "gelu": (lambda z: z * normal_cdf(z), lambda z: normal_cdf(z) + z * normal_pdf(z)),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    "mish": (
        lambda z: z * np.tanh(softplus(z)),
        lambda z: np.tanh(softplus(z)) + z * sech_squared(softplus(z)) * sigmoid(z),
    ),
    "softplus": (softplus, sigmoid),
    "tanh": (np.tanh, sech_squared),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
}

# ---------------------------------------------------------------------------------------------------- network


class Network:
    """Weights, forward, loss, backpropagation; everything in float64."""

    def __init__(self, weights, biases, activation="relu", output="identity"):
        self.weights = [np.array(W, dtype=float) for W in weights]
        self.biases = [np.array(b, dtype=float) for b in biases]
        hidden = len(self.weights) - 1
        self.activation = [activation] * hidden if isinstance(activation, str) else list(activation)
        self.output = output

    def forward(self, X):
        """The inputs of every layer and the sums that leave it; the last sums are the logits."""
        inputs, sums = [np.asarray(X, dtype=float)], []
        for layer, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            sums.append(inputs[-1] @ W + b)
            if layer < len(self.activation):
                inputs.append(ACTIVATIONS[self.activation[layer]][0](sums[-1]))
        return inputs, sums

    def predict(self, X):
        z = self.forward(X)[1][-1]
        if self.output == "softmax":
            e = np.exp(z - z.max(axis=1, keepdims=True))
            return e / e.sum(axis=1, keepdims=True)
        return sigmoid(z) if self.output == "sigmoid" else z

    def loss_and_gradient(self, X, y, loss, weight=None):
        """The weighted mean loss, and its derivatives in the weights and the biases."""
        inputs, sums = self.forward(X)
        p = self.predict(X)
        q = (
            np.eye(p.shape[1])[y]
            if np.ndim(y) == 1 and self.output == "softmax"
            else np.asarray(y).reshape(p.shape)
        )
        w = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=float)
        w = w / w.sum()
        if loss in ("kl", "cross_entropy"):
            with np.errstate(divide="ignore", invalid="ignore"):
                entropy = np.where(q > 0, q * np.log(q), 0) if loss == "kl" else 0
            rows = (entropy - q * np.log(p)).sum(axis=1)
            delta = p - q
        elif loss == "binary_cross_entropy":
            rows = (softplus(sums[-1]) - q * sums[-1]).sum(axis=1)
            delta = p - q
        else:
            d = p - q
            rows = 0.5 * (d**2).sum(axis=1)
            delta = d
            if self.output == "sigmoid":
                delta = d * p * (1 - p)
            elif self.output == "softmax":
                delta = p * (d - (d * p).sum(axis=1, keepdims=True))
        delta = delta * w[:, None]
        dW, db = [None] * len(self.weights), [None] * len(self.weights)
        for layer in reversed(range(len(self.weights))):
            dW[layer] = inputs[layer].T @ delta
            db[layer] = delta.sum(axis=0)
            if layer:
                slope = ACTIVATIONS[self.activation[layer - 1]][1](sums[layer - 1])
                delta = (delta @ self.weights[layer].T) * slope
        return float(rows @ w), dW, db

    # -------------------------------------------------------------------------------------------- training

    def train(self, X, y, loss, optimizer, batches_by_epoch, *, l2=0.0, weight=None, validation=None):
        """Steps through the given batches of row numbers, epoch by epoch; the history of both losses.

        With validation the weights of the epoch with the least validation loss are kept, of equal ones the first.
        """
        X, y = np.asarray(X, dtype=float), np.asarray(y)
        weight = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=float)
        history, best = [], (math.inf, None)
        for batches in batches_by_epoch:
            total = 0.0
            for rows in batches:
                value, dW, db = self.loss_and_gradient(X[rows], y[rows], loss, weight[rows])
                total += value * weight[rows].sum()
                dW = [g + l2 * W / weight[rows].sum() for g, W in zip(dW, self.weights, strict=True)]
                optimizer.step(self.weights, dW, decays=True)
                optimizer.step(self.biases, db, decays=False)
            unseen = math.nan if validation is None else self.loss_and_gradient(*validation, loss)[0]
            history.append((total / sum(weight[rows].sum() for rows in batches), unseen))
            if unseen < best[0]:
                best = (unseen, ([W.copy() for W in self.weights], [b.copy() for b in self.biases]))
        if best[1]:
            self.weights, self.biases = best[1]
        return history


class SGD:
    def __init__(self, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.learning_rate, self.momentum, self.nesterov = learning_rate, momentum, nesterov
        self.weight_decay, self.velocity = weight_decay, {}

    def step(self, parameters, gradients, decays):
        for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
            v = self.momentum * self.velocity.get((decays, i), np.zeros_like(p)) - self.learning_rate * g
            self.velocity[decays, i] = v
            if decays:
                p *= 1 - self.learning_rate * self.weight_decay
            p += self.momentum * v - self.learning_rate * g if self.nesterov else v


class Adam:
    def __init__(self, learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8, weight_decay=0.0):
        self.learning_rate, self.betas, self.epsilon = learning_rate, (beta_1, beta_2), epsilon
        self.weight_decay, self.moments = weight_decay, {}

    def step(self, parameters, gradients, decays):
        beta_1, beta_2 = self.betas
        for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
            m, v, t = self.moments.get((decays, i), (np.zeros_like(p), np.zeros_like(p), 0))
            m, v, t = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2, t + 1
            self.moments[decays, i] = m, v, t
            if decays:
                p *= 1 - self.learning_rate * self.weight_decay
            p -= self.learning_rate * (m / (1 - beta_1**t)) / (np.sqrt(v / (1 - beta_2**t)) + self.epsilon)


# ------------------------------------------------------------------------------------------------ divergences


def kl_terms(p, q, zero="inf", eps=None):
    """p·ln p − p·ln q, event by event, of two rows of probabilities."""
    p, q = [float(x) for x in p], [float(x) for x in q]
    if zero == "clip":
        eps = np.finfo(float).tiny if eps is None else eps
        q = [max(x, eps) for x in q]
    elif zero == "smooth":
        eps = 1e-12 if eps is None else eps
        q = [(x + eps) / (1 + len(q) * eps) for x in q]
    terms = []
    for a, b in zip(p, q, strict=True):
        if a == 0:
            terms.append(0.0)
        elif b == 0:
            if zero == "raise":
                raise ValueError("q is 0 where p is not")
            terms.append(math.inf)
        else:
            terms.append(a * math.log(a / b))
    return terms


def kl_divergence(p, q, zero="inf", eps=None):
    return math.fsum(kl_terms(p, q, zero, eps))


def entropy(p):
    return math.fsum(-x * math.log(x) for x in map(float, p) if x > 0)


def cross_entropy(p, q, zero="inf", eps=None):
    return entropy(p) + kl_divergence(p, q, zero, eps)


# --------------------------------------------------------------------------------------- sampling, likelihoods


def below(p, bits):
    """Whether 0.b₀b₁b₂… < p, looking at as many bits as it takes: exact for every float."""
    p = Fraction(p)
    place = Fraction(1, 2)
    u = Fraction(0)
    for bit in bits:
        u += place * bit
        if u >= p:
            return False
        if u + place <= p:
            return True
        place /= 2
    raise AssertionError("the bits ran out before the comparison was decided")


def log_likelihood(p, x, weight=None):
    """Σ weight·ln P(x) of coin tosses."""
    p, x = np.broadcast_arrays(np.asarray(p, dtype=float), x)
    weight = np.ones(x.size) if weight is None else np.asarray(weight, dtype=float).ravel()
    return math.fsum(
        w * (math.log(a) if toss else math.log1p(-a))
        for a, toss, w in zip(p.ravel(), x.ravel(), weight, strict=True)
        if w
    )
