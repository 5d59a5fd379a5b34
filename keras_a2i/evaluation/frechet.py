"""The Fréchet distance of two sets of feature vectors."""

import numpy as np


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Computes the squared Fréchet distance of the normal distributions that fit two sets of vectors.

    It is |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) with the means m and the covariances C. The trace of the root is
    that of the symmetric matrix (C1^(1/2) C2 C1^(1/2))^(1/2), which has real eigenvalues. Few vectors bias it upwards:
    compare distances of equally many vectors only.

    Args:
        first: float (n, d), n 2 or more.
        second: float (m, d), m 2 or more.

    Returns:
        The distance, 0 or more, in squared units of the features.

    Reference:
        Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
        arXiv:1706.08500; Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982.
    """
    covariances = [np.atleast_2d(np.cov(vectors, rowvar=False)) for vectors in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariances[1] @ root), 0)).sum()
    between = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return max(0.0, float(between + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * overlap))


def principal_components(vectors: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean (d,) and the first n principal axes (d, n), or d where there are fewer, of vectors (m, d)."""
    mean = vectors.mean(axis=0)
    _, axes = np.linalg.eigh(np.atleast_2d(np.cov(vectors, rowvar=False)))
    return mean, axes[:, ::-1][:, :n]
