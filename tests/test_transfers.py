"""What is seen of a transfer is a plain value that backends and the runtime share."""

import pytest

from leo_runtime.backend.transfers import TransferSeen


def test_a_transfer_that_was_seen_changes_no_more() -> None:
    seen = TransferSeen("cpu", "cloud", 15_680, 1_000, 42_000)
    assert (seen.server_us, seen.queued_us, seen.fate, seen.is_probe) == (0, 0, "there", False)
    with pytest.raises(AttributeError):
        seen.bytes = 0  # type: ignore[misc]  # it is frozen
