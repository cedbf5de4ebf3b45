"""The study of several applications on one phone: its times are the published ones, and who is better is so."""

from __future__ import annotations

from leo_runtime import shipped
from leo_runtime.study.shipped_studies import study_file
from test_shipped_claims import row

# TensorFlow Lite, performance measurement, Pixel 4: CPU with 4 threads, GPU, NNAPI, in ms.
PIXEL_4 = {
    "mobilenet": (14.0, 9.0, 14.8),
    "mobilenet-quant": (5.0, None, 3.2),
    "nasnet-mobile": (34.5, None, 99.0),
    "squeezenet": (23.9, 11.1, 19.0),
    "inception-resnet-v2": (272.6, 87.2, 171.1),
    "inception-v4": (324.1, 97.6, 186.9),
}


def test_networks_take_as_long_as_published() -> None:
    folder = study_file("band").parent
    found = shipped.profile(str(folder / "band.profile.toml"))
    fastest = shipped.profile(str(folder / "band-fastest.profile.toml"))
    for network, times in PIXEL_4.items():
        known = {where: ms for where, ms in zip(("cpu", "gpu", "nnapi"), times, strict=True) if ms is not None}
        assert {one.processor: one.fixed_us / 1000 for one in found.costs if one.stage == network} == known
        alone = {one.processor: one.fixed_us / 1000 for one in fastest.costs if one.stage == network}
        assert alone == dict([min(known.items(), key=lambda one: one[1])])


def test_who_schedules_by_deadlines_answers_more_in_time() -> None:
    found = {
        placement: row("band", seconds=5, placement=placement, load="as is")["in_time_ppm"]
        for placement in ("fixed: CPU", "fixed: fastest alone", "round-robin", "event-heft", "least-slack", "exact")
    }
    best = found["least-slack"]
    assert best > 980_000 and found["exact"] > 980_000
    assert all(found[other] < 0.95 * best for other in ("fixed: fastest alone", "round-robin", "event-heft"))
    assert 3.76 < best / found["fixed: CPU"] < 8
