"""Programs run under different hash seeds, to see that what they print does not depend on the order of a set."""

import os
import subprocess
import sys


def printed_under_two_hash_seeds(program: str) -> tuple[bytes, bytes]:
    """What a Python program prints under either of two hash seeds; it has to end well."""
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=100,
        ).stdout
        for seed in ("1", "2")
    )
    return first, second
