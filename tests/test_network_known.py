"""What plans of a replay know of links that a trace tells of, and what the run says of how good that was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leo_runtime import cli, shipped
from leo_runtime.recordings.links import LinkSample
from leo_runtime.recordings.recording import Recording
from leo_runtime.replay.identity import Span
from leo_runtime.replay.network import network_of
from leo_runtime.study.cells import cells
from leo_runtime.study.document import Study
from leo_runtime.study.loading import Loader
from test_made_up import PROFILE, WORKLOAD

RUN = ("replay", "--workload", "w.toml", "--hardware", "nexus-5", "--profile", "p.toml", "--virtual", "--seconds", "20")
OPTIONS = ("--solver", "greedy", "--no-compare", "--no-trace", "--network", "lte=lte-like:3")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.toml").write_text(WORKLOAD)
    Path("p.toml").write_text(PROFILE)


def replayed(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert cli.main([*RUN, *OPTIONS, *more, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)[0]
    return found


def test_plans_go_by_estimates_unless_told_otherwise_and_both_say_how_far_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = replayed(capsys)
    head, *_, end = Path("out/sends.virtual/log.jsonl").read_text().splitlines()
    assert (found["network_known"], json.loads(head)["network_known"]) == ("estimated", "estimated")
    (up,) = [one for one in found["links"] if (one["source"], one["target"]) == ("cpu", "cloud-lte")]
    assert up["transfers"] == 39
    median_ppm, most_ppm = up["rate_off_ppm"]
    assert 0 < median_ppm <= most_ppm
    assert up["least_bytes_per_s"] < up["bytes_per_s"] < up["most_bytes_per_s"]
    assert json.loads(end)["links"] == found["links"]
    knowing = replayed(capsys, "--network-known", "truth")
    assert knowing["network_known"] == "truth"
    assert knowing["energy"]["total_nj"] == found["energy"]["total_nj"], "both send all, over the same link"


def test_the_table_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, *OPTIONS]) == 0
    text = capsys.readouterr().out
    header = next(line for line in text.splitlines() if line.startswith("link "))
    assert "loss %  at most  Mbit/s  four of five" in header
    assert any(line.startswith("cpu -> cloud-lte") for line in text.splitlines())


def test_the_page_of_a_run_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    replayed(capsys)
    assert cli.main(["report", "out/sends.virtual"]) == 0
    (page,) = Path("out").rglob("*.html")
    text = page.read_text()
    assert "what transfers had shown by then" in text
    assert "What was known of links" in text


def test_a_run_that_was_cut_goes_on_knowing_what_it_knew(capsys: pytest.CaptureFixture[str]) -> None:
    replayed(capsys, "--network-known", "truth")
    log = Path("out/sends.virtual/log.jsonl")
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    assert cli.main(["replay", "--resume", str(log), "--no-compare", "--no-trace"]) == 0
    assert log.read_bytes() == whole


def test_without_links_nothing_is_said_of_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, "--solver", "greedy", "--no-compare", "--no-trace", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["links"] == []
    log = Path("out/sends.virtual/log.jsonl").read_text()
    assert "network_known" not in log
    assert "rate_off" not in log


def test_a_study_varies_what_is_known() -> None:
    study = Study.from_dict(
        {
            "format": "leo-study/1",
            "name": "s",
            "base": {"workload": "w.toml", "hardware": "nexus-5", "profile": "p.toml", "seconds": 2},
            "axes": [{"vary": "network_known", "values": ["estimated", "truth"]}],
        }
    )
    loading = Loader(study, Path())
    assert [loading.ready(cell).placing.network_known for cell in cells(study)] == ["estimated", "truth"]


def test_a_course_begins_with_what_held_before_and_with_the_hardware_where_nothing_did() -> None:
    hardware = shipped.hardware("nexus-5")

    def sample(time_us: int, target: str, bytes_per_s: int | None) -> LinkSample:
        return LinkSample(time_us=time_us, source="cpu", target=target, latency_us=9, bytes_per_s=bytes_per_s)

    told = (
        sample(1_000, "cloud-lte", 5),
        sample(2_000, "cloud-lte", 6),
        sample(7_000, "cloud-lte", None),
        sample(8_000, "cloud-lte", None),
        sample(6_000, "cloud-wifi", 7),
    )
    nothing = Recording.of_nothing("n", 10_000)
    recording = replace(nothing, manifest=nothing.manifest.model_copy(update={"links": told}))
    found = network_of(recording, hardware, Span(3_000, 10_000), "truth")
    assert found.is_known
    lte, wifi = found.courses["cpu", "cloud-lte"], found.courses["cpu", "cloud-wifi"]
    assert (lte.times_us, lte.nows) == ((0, 4_000), ((9, 6), None))
    assert (wifi.times_us, wifi.nows) == ((0, 3_000), ((12_500, 2_500_000), (9, 7)))
