"""A short form of `soak`, without its kills."""

import tempfile
from pathlib import Path

import pytest

from soak import KINDS, Heard, Soak, growth, tenths

SHORT = ("a kernel crashes", "a kernel gives nan", "a device vanishes", "the disk is full", "the config is read again")


@pytest.mark.once
def test_every_frame_has_one_outcome_whatever_goes_wrong() -> None:
    with tempfile.TemporaryDirectory(prefix="leo-soak-") as folder:
        soak = Soak(Path(folder), seed=2)
        soak.kinds = [kind for kind in KINDS if kind.name in SHORT]
        soak.go(3.0, kills=0)
        assert soak.problems == []
        assert soak.frames["done"] > 50 and sum(soak.tried.values()) >= 2


@pytest.mark.parametrize(
    ("heard", "says"),
    [
        ([(0, "a"), (0, "a")], "frame 0 of a has answered twice"),
        ([(0, "a"), (2, "a")], "1 frames were never heard, such as 1"),
    ],
)
def test_what_is_not_as_it_should_be_is_seen(heard: list[tuple[int, str]], says: str) -> None:
    one = Heard()
    for frame, graph in heard:
        one.take({"frame": frame, "graph": graph, "outcome": "done", "late": False})
    one.frames()
    assert one.problems == [says]


def test_growth_is_of_the_last_tenth_over_the_second() -> None:
    assert growth([9, 10, *[10] * 17, 11]) == pytest.approx(0.05)


def test_the_curve_is_told_by_tenths() -> None:
    assert tenths([1, 2]) == [1, 2]
    assert tenths(list(range(20))) == [0.5 + 2 * number for number in range(10)]
