"""The same network in plain Python, without even NumPy: every number of a training step in the open.

A 2-4-1 network learns XOR, which no straight line can: is exactly one of two coins heads? The loss is the binary
cross-entropy, whose derivative in the last layer's sum is p - y.
"""

import math
import random

DATA = [((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 0)]
HIDDEN = 4
LEARNING_RATE = 0.5

random.seed(1)
W = [[random.uniform(-1, 1) for _ in range(HIDDEN)] for _ in range(2)]  # (inputs, hidden)
b = [0.0] * HIDDEN
v = [random.uniform(-1, 1) for _ in range(HIDDEN)]  # (hidden,)
c = 0.0


def forward(x):
    """The hidden activations and the probability of 1."""
    h = [math.tanh(sum(x[i] * W[i][j] for i in range(2)) + b[j]) for j in range(HIDDEN)]
    z = sum(h[j] * v[j] for j in range(HIDDEN)) + c
    return h, 1 / (1 + math.exp(-z))


def risk():
    """The mean of -log P~(y | x): the empirical risk."""
    return -sum(math.log(p if y else 1 - p) for x, y in DATA for _, p in [forward(x)]) / len(DATA)


for epoch in range(2001):
    if epoch % 500 == 0:
        print(f"epoch {epoch:4}: risk {risk():.4f}")
    for x, y in random.sample(DATA, len(DATA)):
        h, p = forward(x)
        delta = p - y  # d loss / d z
        slope = [delta * v[j] * (1 - h[j] ** 2) for j in range(HIDDEN)]  # back through tanh
        for j in range(HIDDEN):
            v[j] -= LEARNING_RATE * delta * h[j]
            b[j] -= LEARNING_RATE * slope[j]
            for i in range(2):
                W[i][j] -= LEARNING_RATE * slope[j] * x[i]
        c -= LEARNING_RATE * delta

for x, y in DATA:
    print(f"{x}: P~(1) = {forward(x)[1]:.3f}, truth {y}")
