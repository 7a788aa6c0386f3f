"""Quantiles of Student's t distribution, without SciPy."""

from __future__ import annotations

import math
from statistics import NormalDist


def two_sided_quantile(level: float, freedom: float) -> float:
    """Return t such that a Student variable is between −t and t with probability ``level``.

    ``freedom``, the degrees of freedom, is a real number of at least 2. Hill's expansion (1970, Algorithm 396) is
    accurate to 0.2 % for 2 degrees of freedom and to 1e-5 from 3 on.

    >>> round(two_sided_quantile(0.95, 10), 3), round(two_sided_quantile(0.95, 1e6), 3)
    (2.228, 1.96)
    """
    n, tail = freedom, 1 - level
    a = 1 / (n - 0.5)
    b = (48 / a) / a
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * tail) ** (2 / n)
    if y <= 0.05 + a:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (
            n + 2
        ) + 1 / y
        return math.sqrt(n * y)
    x = NormalDist().inv_cdf(tail / 2)
    y = x * x
    if n < 5:
        c += 0.3 * (n - 4.5) * (x + 0.6)
    c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
    return math.sqrt(n * math.expm1(a * y * y))
