"""Empirical risk minimisation by hand: the loop over steps in Python, the step itself native.

The risk of a model P~ on data Q is the mean of KL(Q ‖ P~) over the rows. Each step draws a batch, measures its risk
and moves the weights a little against the gradient: stochastic gradient descent. Rows that the loop never sees tell
when to stop.
"""

import numpy as np

import ermin

rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 2))
p = 1 / (1 + np.exp(-3 * X[:, 0] * X[:, 1]))  # P, which we know only because we made it
y = (rng.random(2000) < p).astype(int)  # Q: one toss for each row
seen, unseen = slice(0, 500), slice(500, 2000)


def risk(rows):
    """The empirical risk of the network as it is now."""
    return net.loss(X[rows], y[rows])


net = ermin.MLP([2, 32, 2], output="softmax", rng=0)
trainer = ermin.Trainer(net, optimizer=ermin.SGD(0.1, momentum=0.9))
least = np.inf
for epoch in range(1, 201):
    for batch in np.split(rng.permutation(500), 10):
        trainer.step(X[seen][batch], y[seen][batch])
    if risk(unseen) < least:
        least, best_epoch, best = risk(unseen), epoch, (net.weights, net.biases)

print(f"after 200 epochs: risk {risk(seen):.3f} on seen rows, {risk(unseen):.3f} on unseen")
net.weights, net.biases = best
print(
    f"after {best_epoch} epochs: risk {risk(seen):.3f} on seen rows, {risk(unseen):.3f} on unseen: the weights to keep"
)
truth = -(p * np.log(p) + (1 - p) * np.log(1 - p))[unseen].mean()
print(f"P itself would have {truth:.3f}: no model can be expected to do better than the truth")
