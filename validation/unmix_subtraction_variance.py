"""Simulate the variance of a scaled subtraction, against its formula.

    python validation/unmix_subtraction_variance.py

A grain of f counts in a channel lies over a matrix; R1 and R2 are the counts of a line that
the grain lacks, in the mixture and in the matrix spectrum, and T the matrix' counts in the
channel. The scale is R1/R2 and the grain M - R1/R2 T.
"""

from __future__ import annotations

import numpy as np


def main() -> None:
    rng = np.random.default_rng(0)
    n, alpha, f, t, r2 = 2_000_000, 0.3, 500.0, 3000.0, 4e4
    scale = rng.poisson(alpha * r2, n) / rng.poisson(r2, n)
    grain = rng.poisson(f + alpha * t, n) - scale * rng.poisson(t, n)
    m, r1 = f + alpha * t, alpha * r2
    without = m + alpha**2 * t
    print(f"simulated {grain.var():.0f}")
    print(
        f"M + a^2 T + T^2 a^2 (1/R1 + 1/R2) = {without + t**2 * alpha**2 * (1 / r1 + 1 / r2):.0f}"
    )
    print(f"M + a^2 T = {without:.0f}")


if __name__ == "__main__":
    main()
