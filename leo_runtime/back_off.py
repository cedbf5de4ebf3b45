"""How soon what has gone wrong is tried again: by the dispatcher's probes, worker processes, sources and sinks."""

FIRST_WAIT_US = 250_000
LONGEST_WAIT_US = 60_000_000


def wait_us(in_vain: int, first_us: int = FIRST_WAIT_US, longest_us: int = LONGEST_WAIT_US) -> int:
    """How long to wait after so many tries in vain: each time twice as long, up to the longest."""
    return min(first_us << min(in_vain, 30), longest_us)
