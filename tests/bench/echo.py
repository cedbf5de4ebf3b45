"""An operator that does nothing, for `isolated.py`."""

import numpy as np

from leo_runtime.operators import operator


@operator(output_shape=lambda signal: signal)
def echo(signal: np.ndarray) -> np.ndarray:
    """The signal."""
    return signal
