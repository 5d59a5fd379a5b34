"""A style that varies over time: a smooth random walk that is normally distributed at every moment."""

import numpy as np

# Width of the Gaussian that mixes neighbouring draws, in draws, and its reach.
_SIGMA, _REACH = 0.5, 3


def walk_styles(style_units: int, rate: float, seed: int, times: np.ndarray) -> np.ndarray:
    """Returns the style of a random walk at given times.

    There is a normal draw z_k every 1/rate seconds. The style at the time t is the sum of w_k z_k divided by the root
    of the sum of w_k^2, with w_k = exp(-(rate t - k)^2 / (2 x 0.5^2)): at every time it has the normal distribution of
    variance 1, it is smooth, and the correlation of two styles that are d seconds apart is about exp(-(rate d)^2).

    Args:
        style_units: length of the style.
        rate: new styles per second, above 0.
        seed: random seed, 0 or more; the style at a time doesn't depend on the other elements of `times`.
        times: seconds (n,), 0 or more, ascending.

    Returns:
        float64 (n, style_units).
    """
    if not len(times):
        return np.zeros((0, style_units))
    positions = rate * np.asarray(times, np.float64)
    draws = np.arange(int(np.floor(positions[0])) - _REACH, int(np.ceil(positions[-1])) + _REACH + 1)
    # A generator for each draw: the film may be as long as it likes. Seeds mustn't be negative.
    values = np.stack([np.random.default_rng([seed, k + _REACH]).standard_normal(style_units) for k in draws.tolist()])
    weights = np.exp(-0.5 * ((positions[:, None] - draws) / _SIGMA) ** 2)
    weights /= np.sqrt(np.square(weights).sum(axis=1, keepdims=True))
    return weights @ values
