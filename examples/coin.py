"""A coin: P, Q and P~; an unlucky hundred heads; KL with and without epsilon; and 1/√n."""

import numpy as np

import ermin

P = ermin.Bernoulli(0.5)
print("P:  a fair coin, P(heads) = 0.5")

tosses = P.sample(100, rng=1)
estimate = ermin.Bernoulli.fit(tosses)
low, high = estimate.interval()
print(f"Q:  {tosses.sum()} heads in {len(tosses)} tosses")
print(f"P~: {float(estimate.value):.2f} by maximum likelihood; the 95 % interval is {low:.2f} to {high:.2f}")

print("\nAn unlucky hundred heads in a row:")
heads = np.ones(100, dtype=np.uint8)
certain = ermin.Bernoulli.fit(heads)
careful = ermin.Bernoulli.fit(heads, prior=(2, 2))
print(f"  P~ by maximum likelihood: {float(certain.value):.2f}: tails can never happen")
print(f"  P~ with a prior of one head and one tail: {float(careful.value):.3f}")

fair = [0.5, 0.5]
for name, model in (("maximum likelihood", certain), ("with the prior", careful)):
    p = float(model.value)
    plain = ermin.kl_divergence(fair, [1 - p, p])
    clipped = ermin.kl_divergence(fair, [1 - p, p], zero="clip", eps=1e-12)
    print(f"  KL(fair ‖ P~), {name}: {plain:.3f}; with epsilon 1e-12: {clipped:.3f}")

print("\nMore tosses, and P~ comes nearer to P as 1/√n:")
for n in (100, 10_000, 1_000_000):
    estimate = ermin.Bernoulli.fit(P.sample(n, rng=n))
    away = abs(float(estimate.value) - 0.5)
    print(
        f"  {n:9,} tosses: P~ = {float(estimate.value):.5f}, {away:.5f} away; standard error {0.5 / n**0.5:.5f}"
    )
