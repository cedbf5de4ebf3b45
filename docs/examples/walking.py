"""The operator of walking.toml."""

import numpy as np

from leo_runtime.operators import operator


@operator(output_shape=lambda _: (2,))
def moves(features: np.ndarray) -> np.ndarray:
    """Of (axes, mean and ln of variance and bands): whether the axes' variances add up to more than 2 (m/s^2)^2."""
    variance = np.exp(features[:, 1]).sum()
    return np.array([variance > 2, variance <= 2], np.float32)
