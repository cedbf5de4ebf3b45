"""How soon what has gone wrong is tried again: by the dispatcher's probes, and where worker processes end."""

FIRST_WAIT_US = 250_000
LONGEST_WAIT_US = 60_000_000


def wait_us(in_vain: int) -> int:
    """How long to wait after so many tries in vain: each time twice as long, up to a minute."""
    return min(FIRST_WAIT_US << min(in_vain, 30), LONGEST_WAIT_US)
