"""Some of the damaged exports of `tests/bench/fuzz_exports.py`, which reads a thousand of each form."""

from pathlib import Path

import pytest

from bench import fuzz_exports


@pytest.mark.parametrize("form", fuzz_exports.forms())
def test_a_damaged_export_is_read_or_refused_in_words_and_in_bounds(tmp_path: Path, form: str) -> None:
    told: list[str] = []
    assert fuzz_exports.fuzz(form, 20, 5000, tmp_path, told.append) == 0, told
