"""Own the fit of costs to observations: least squares of relative errors, with no cost below zero."""

from collections.abc import Sequence

ROUNDS = 3000


def fit(rows: Sequence[Sequence[float]], values: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Give x >= 0 for which the sums of rows * x are as near to the values as can be, relative to the sizes."""
    weights = [1 / size for size in sizes]
    a = [[cell * weight for cell in row] for row, weight in zip(rows, weights, strict=True)]
    left = [value * weight for value, weight in zip(values, weights, strict=True)]
    x = [0.0] * len(rows[0])
    squares = [sum(row[j] ** 2 for row in a) for j in range(len(x))]
    for _ in range(ROUNDS):
        for j, square in enumerate(squares):
            if square:
                slope = sum(row[j] * rest for row, rest in zip(a, left, strict=True))
                step = max(-x[j], slope / square)
                x[j] += step
                for i, row in enumerate(a):
                    left[i] -= row[j] * step
    return x
