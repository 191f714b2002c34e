"""Records what scipy makes of the arithmetic of `adapterctl eval`. Needs numpy, scipy and safetensors.

The squared Frechet distance of two small samples by `scipy.linalg.sqrtm`, the covariance by `numpy.cov`, and a multinomial
logistic regression on standardised features with a quadratic penalty, minimised by `scipy.optimize.minimize`.

Usage: python3 tools/goldens/evaluation.py   (writes Tests/Goldens/evaluation.safetensors)
"""

from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.optimize
from safetensors.numpy import save_file

PENALTY = 1e-3
random = np.random.default_rng(5)


def correlated(count: int, width: int, shift: float) -> np.ndarray:
    return (random.normal(size=(count, width)) @ random.normal(size=(width, width)) + shift).astype(np.float32)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(0) - b.mean(0)
    return float(shift @ shift + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real))


def regression(x: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities of every row under the penalised fit."""
    x = x.astype(np.float64)
    x = np.hstack([(x - x.mean(0)) / x.std(0), np.ones((len(x), 1))])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(classes, -1)
        odds = x @ weights.T
        odds -= scipy.special.logsumexp(odds, axis=1, keepdims=True)
        residual = np.exp(odds)
        value = -odds[np.arange(len(x)), labels].mean() + PENALTY / 2 * (flat @ flat)
        residual[np.arange(len(x)), labels] -= 1
        return value, (residual.T @ x / len(x) + PENALTY * weights).ravel()

    found = scipy.optimize.minimize(loss, np.zeros(classes * x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "gtol": 1e-9, "ftol": 1e-15})
    odds = x @ found.x.reshape(classes, -1).T
    return scipy.special.softmax(odds, axis=1)


wide, other = correlated(60, 7, 0.0), correlated(45, 7, 0.6)
labels = np.repeat(np.arange(3), 20)
rows = (random.normal(size=(60, 5)) + 1.2 * random.normal(size=(3, 5))[labels]).astype(np.float32)
save_file(
    {
        "a": wide,
        "b": other,
        "mean": wide.astype(np.float64).mean(0).astype(np.float32),
        "covariance": np.cov(wide.astype(np.float64), rowvar=False).astype(np.float32),
        "frechet": np.array([frechet(wide, other)], np.float32),
        # Fewer rows than columns: the covariance has no inverse.
        "frechet_singular": np.array([frechet(wide[:5], other)], np.float32),
        "rows": rows,
        "labels": labels.astype(np.int64),
        "probabilities": regression(rows, labels, 3).astype(np.float32),
    },
    Path(__file__).resolve().parents[2] / "Tests/Goldens/evaluation.safetensors",
)
