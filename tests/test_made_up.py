"""Made-up network traces: what they are, and links that do as they say."""

import json
from itertools import islice, pairwise
from pathlib import Path

import pytest

from leo_runtime import cli, shipped
from leo_runtime.documents.changes import changed
from leo_runtime.errors import InputError
from leo_runtime.recordings.links import LinkSample
from leo_runtime.recordings.made_up import MODELS, made_up
from leo_runtime.recordings.recording import Recording
from leo_runtime.study.cells import cells
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader

PHONE, COSTS, DEMO = shipped.hardware("nexus-5"), shipped.profile("nexus-5"), shipped.workload()


def samples(*changes: str, lasts_us: int = 2_000_000) -> tuple[LinkSample, ...]:
    done = changed(DEMO, PHONE, COSTS, changes)
    return Recording.of_nothing("x", lasts_us).with_changes(done.hardware, changes).manifest.links


def test_a_name_is_one_trace_for_ever() -> None:
    assert list(islice(made_up("lte-like"), 3)) == [(0, 269_910), (500_000, 606_387), (1_000_000, 458_568)]
    assert [*islice(made_up("lte-like:0"), 9)] == [*islice(made_up("lte-like"), 9)]
    assert [*islice(made_up("lte-like:1"), 9)] != [*islice(made_up("lte-like"), 9)]


@pytest.mark.parametrize("name", MODELS)
def test_a_trace_keeps_to_its_model(name: str) -> None:
    model, trace = MODELS[name], list(islice(made_up(name), 40_000))
    assert {later - before for (before, _), (later, _) in pairwise(trace)} == {model.step_ms * 1_000}
    rates = [rate for _, rate in trace if rate is not None]
    kbit = [rate / 125 for rate in rates]
    low, high = model.levels_kbit_per_s[0], model.levels_kbit_per_s[-1]
    assert min(kbit) >= low * (1 - model.spread_percent / 100) - 1
    assert max(kbit) <= high * (1 + model.spread_percent / 100)
    # Between levels that only neighbours can be reached from, the outer ones have half the time of the others.
    inner = [2 if 0 < at < len(model.levels_kbit_per_s) - 1 else 1 for at in range(len(model.levels_kbit_per_s))]
    mean = sum(map(int.__mul__, inner, model.levels_kbit_per_s)) / sum(inner)
    assert sum(kbit) / len(kbit) == pytest.approx(mean, rel=0.1)
    down = 0 if model.up_ms is None else model.down_ms / (model.up_ms + model.down_ms)
    assert 1 - len(rates) / len(trace) == pytest.approx(down, rel=0.5, abs=1e-9)


def test_links_over_a_radio_do_as_a_trace_says_both_ways_alike() -> None:
    found = samples("network lte=outages:3")
    ways = {(one.source, one.target) for one in found}
    assert ways == {(link.source, link.target) for link in PHONE.links if link.radio == "lte"} and len(ways) >= 2
    for source, target in ways:
        of_it = [one for one in found if (one.source, one.target) == (source, target)]
        assert [(one.time_us, one.bytes_per_s) for one in of_it] == [*islice(made_up("outages:3"), 4)]
        assert {one.latency_us for one in of_it} == {
            link.latency_us for link in PHONE.links if (link.source, link.target) == (source, target)
        }


def test_later_changes_are_made_to_a_trace_and_earlier_ones_are_not() -> None:
    (usual, *_), link = samples("network cpu:cloud-lte=wifi-like"), "links.cpu:cloud-lte"
    (twice, *_) = samples("network cpu:cloud-lte=wifi-like", f"{link}.bytes_per_s*=2", f"{link}.latency_us*=3")
    assert (twice.bytes_per_s, twice.latency_us) == (2 * (usual.bytes_per_s or 0), 3 * usual.latency_us)
    (before, *_) = samples(f"{link}.bytes_per_s*=2", f"{link}.latency_us*=3", "network cpu:cloud-lte=wifi-like")
    assert (before.bytes_per_s, before.latency_us) == (usual.bytes_per_s, 3 * usual.latency_us)
    other = samples("network *=lte-like", "network lte=wifi-like")
    assert next(one.bytes_per_s for one in other if one.target == "cloud-lte") == usual.bytes_per_s
    assert not [
        one for one in samples("network lte=lte-like", "without lte") if "cloud-lte" in (one.source, one.target)
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("network lte", "no trace is given"),
        ("network =lte-like", "has no link called ``"),
        ("network umts=lte-like", "has no link called `umts`"),
        ("network lte=5g", "no made-up trace is called `5g`"),
        ("network lte=lte-like:x", "expected a seed"),
        ("network lte=lte-like:", "expected a seed"),
    ],
)
def test_what_is_no_trace_or_no_radio_is_told(change: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as told:
        samples(change)
    assert told.value.hint


def test_a_trace_is_no_longer_than_a_recording_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leo_runtime.recordings.links._MOST_SAMPLES", 100)
    with pytest.raises(InputError, match="more than 100 samples in 1000 s"):
        samples("network lte=lte-like", lasts_us=1_000_000_000)


WORKLOAD = """
format = "leo-workload/1"
name = "sends"
[[graphs]]
name = "g"
period_us = 500_000
deadline_us = 400_000
stages = [
    { name = "a", operator = "cost", params = { output_bytes = 20_000 } },
    { name = "b", operator = "cost", inputs = ["a"], params = { output_bytes = 10 } },
]
"""
PROFILE = """
format = "leo-profile/1"
name = "p"
hardware = "nexus-5"
costs = [
    { stage = "a", processor = "cpu", fixed_us = 1_000, power_mw = 100, source = "made up" },
    { stage = "b", processor = "cpu", fixed_us = 300_000, power_mw = 20_000, source = "made up" },
    { stage = "b", processor = "cloud-lte", fixed_us = 1_000, power_mw = 0, source = "made up" },
]
"""


def test_a_replay_stays_on_the_phone_while_a_trace_is_down_and_goes_on_after_it_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.toml").write_text(WORKLOAD)
    Path("p.toml").write_text(PROFILE)
    run = ("replay", "--workload", "w.toml", "--hardware", "nexus-5", "--profile", "p.toml", "--virtual")
    rates = [rate for _, rate in islice(made_up("outages:16"), 12)]
    assert [at for at, rate in enumerate(rates) if rate is None] == [3, 4, 5, 6, 7]
    options = ("--seconds", "6", "--solver", "greedy", "--no-compare", "--no-trace", "--network", "lte=outages:16")
    assert cli.main([*run, *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[0]
    runs = {one["name"]: one["runs"] for one in found["processors"]}
    assert runs["cpu"] + runs["cloud-lte"] == 2 * len(rates)
    assert 5 <= runs["cpu"] - len(rates) < len(rates)  # Of a frame each half second.
    assert found["changes"] == ["network lte=outages:16"]
    log = Path("out/sends.virtual/log.jsonl")
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) * 2 // 3])
    assert cli.main(["replay", "--resume", str(log), "--no-compare", "--no-trace"]) == 0
    assert log.read_bytes() == whole


def test_a_study_varies_the_network(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(WORKLOAD)
    (tmp_path / "p.toml").write_text(PROFILE)
    base = {"workload": "w.toml", "hardware": "nexus-5", "profile": "p.toml", "seconds": 2}
    study = Study.from_dict(
        {
            "format": "leo-study/1",
            "name": "s",
            "base": base,
            "axes": [{"vary": "network lte", "values": ["lte-like", "lte-like:1", "outages"]}],
        }
    )
    loading = Loader(study, tmp_path)
    ready = [loading.ready(cell) for cell in cells(study)]
    assert [one.case.recording.manifest.links[0].bytes_per_s for one in ready] == [
        next(made_up(name))[1] for name in ("lte-like", "lte-like:1", "outages")
    ]
    assert len({one.inputs for one in ready}) == 3
