"""Motion as people bring it, from the file to the tables of a replay: each is read, or refused with its line.

The cases are made in the shape of public reports: of phyphox's and other loggers' exports, batched timestamps, gaps,
cells that hold nothing, jitter, and rates that are no whole numbers.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import exports
import recorded
from leo_runtime.cli import main
from leo_runtime.recordings.recording import Recording

RATE_HZ = 100
VALUES = np.random.default_rng(7).normal(0, 1, (400, 3)).round(6)
EVEN_US = np.arange(400) * 10_000
WORKLOAD = """
format = "leo-workload/1"
name = "wrist"
streams = [{ name = "wrist", kind = "motion", rate_hz = RATE, channels = 3 }]
[[graphs]]
name = "moves"
period_us = 500_000
deadline_us = 400_000
[[graphs.stages]]
name = "window"
operator = "window"
params = { stream = "wrist", samples = SAMPLES }
[[graphs.stages]]
name = "features"
operator = "motion_features"
inputs = ["window"]
params = { sample_rate_hz = RATE, band_edges_hz = [0.5, 3.0, 5.0] }
"""


def table(times: Sequence[object], values: np.ndarray = VALUES, names: str = "time_us,x,y,z") -> str:
    return exports.text(names, ((t, *row) for t, row in zip(times, values.tolist(), strict=True))).decode()


def record(folder: Path, text: str, said: str = "", rate_hz: float = RATE_HZ) -> Path:
    (folder / "wrist.csv").write_bytes(text.encode())
    (folder / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "case"\nlicence = "none"\nsource = "made by a test"\n'
        f'[[streams]]\nname = "wrist"\nkind = "motion"\nfile = "wrist.csv"\nrate_hz = {rate_hz}\nchannels = 3\n{said}\n'
    )
    workload = WORKLOAD.replace("RATE", str(rate_hz)).replace("SAMPLES", str(round(rate_hz)))
    (folder / "wrist.toml").write_text(workload)
    return folder


def replayed(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    command = ["replay", str(folder), "--workload", str(folder / "wrist.toml"), "--virtual", "--no-compare"]
    assert main([*command, "--out", str(folder / "out"), "--json", *more]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    found: dict[str, Any] = figures
    return found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table(EVEN_US), ""),
        ("\ufeff" + table(EVEN_US), ""),
        (table(EVEN_US).replace("\n", "\r\n"), ""),
        (table(1_700_000_000_000_000 + EVEN_US), ""),
        (table(EVEN_US // 80_000 * 80_000), 'times = "first"'),
        (table(EVEN_US / 1e6, names="Time (s),x (m/s^2),y (m/s^2),z (m/s^2)"), ""),
    ],
)
def test_what_says_the_same_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    folder = record(tmp_path, text, said)
    assert np.allclose(Recording.from_file(folder).samples["wrist"], VALUES, atol=1e-6)
    (line,) = replayed(folder, capsys)["pipelines"]
    assert (line["frames"], line["answered"], line["over_gaps"]) == (8, 8, 0)


@pytest.mark.parametrize(
    ("times", "rate_hz", "samples"),
    [
        (np.arange(400) * 10_020, 100, 401),  # A clock that is a little slow.
        (np.arange(400) * 9_956, 100, 398),  # A phone's 100.44 Hz.
        (np.arange(400) * 80_000, 12.5, 400),
    ],
)
def test_rates_that_are_no_whole_numbers_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times: np.ndarray, rate_hz: float, samples: int
) -> None:
    folder = record(tmp_path, table(times), rate_hz=rate_hz)
    figures = replayed(folder, capsys)
    assert Recording.from_file(folder).samples["wrist"].shape == (samples, 3)
    assert figures["pipelines"][0]["answered"] == figures["pipelines"][0]["frames"]


def test_a_gap_stays_one_and_the_frames_over_it_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing from 1.995 to 2.995 s; windows last a second, and end each half."""
    folder = record(tmp_path, table(np.where(EVEN_US < 2_000_000, EVEN_US, EVEN_US + 1_000_000)))
    figures = replayed(folder, capsys)
    (line,) = figures["pipelines"]
    assert (line["frames"], line["answered"], line["over_gaps"]) == (10, 10, 3)
    assert figures["repairs"] == [
        "wrist.csv: nothing was recorded from 1.995 to 2.995 s; zeros stand there: 100 samples"
    ]
    frames = recorded.logged((folder / "out" / "case.virtual" / "log.jsonl").read_text(encoding="utf-8"))
    gaps_us = {frame["release_us"]: frame["graphs"][0].get("gap_us", 0) for frame in frames}
    assert {at: gap for at, gap in gaps_us.items() if gap} == {
        2_500_000: 500_000,
        3_000_000: 1_000_000,
        3_500_000: 500_000,
    }


def test_the_table_has_a_column_of_gaps_where_there_are_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = np.where(EVEN_US < 1_000_000, EVEN_US, EVEN_US + 30_000)
    for name, times, shown in (("whole", EVEN_US, False), ("torn", torn, True)):
        (tmp_path / name).mkdir()
        folder = record(tmp_path / name, table(times))
        command = ["replay", str(folder), "--workload", str(folder / "wrist.toml"), "--virtual", "--no-compare"]
        assert main([*command, "--out", str(folder / "out")]) == 0
        headers = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pipeline")]
        assert any(header.endswith("over gaps") for header in headers) is shown


def test_a_part_and_batches_of_a_recording_count_their_own_gaps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(tmp_path, table(np.where(EVEN_US < 2_000_000, EVEN_US, EVEN_US + 1_000_000)))
    assert replayed(folder, capsys, "--batch", "3")["pipelines"][0]["over_gaps"] == 3
    assert replayed(folder, capsys, "--start", "3.5")["pipelines"][0]["over_gaps"] == 0
    assert replayed(folder, capsys, "--start", "2.5", "--seconds", "1")["pipelines"][0]["over_gaps"] == 2


@pytest.mark.parametrize(("cell", "says"), [("NaN", "a value is not finite"), ("", "a cell is empty")])
def test_a_cell_that_holds_nothing_is_named_and_on_wish_a_gap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cell: str, says: str
) -> None:
    text = table(EVEN_US).replace(f"490000,{VALUES[49, 0]}", f"490000,{cell}")
    folder = record(tmp_path, text)
    command = ["replay", str(folder), "--workload", str(folder / "wrist.toml"), "--virtual"]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert f"wrist.csv:51: {says}" in told and 'with `missing = "gap"`' in told
    record(tmp_path, text, 'missing = "gap"')
    figures = replayed(folder, capsys)
    assert figures["repairs"] == [
        "wrist.csv: rows with a cell that holds nothing are left out: 1, the first is line 51",
        "wrist.csv: nothing was recorded from 0.485 to 0.495 s; zeros stand there: 1 samples",
    ]
    assert figures["pipelines"][0]["over_gaps"] == 2


def test_strong_jitter_is_put_on_the_grid_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = EVEN_US + np.random.default_rng(2).integers(-8_000, 8_001, 400)
    times[0] = 0
    figures = replayed(record(tmp_path, table(np.sort(times) + np.arange(400))), capsys)
    assert "put on it by monotone cubic interpolation" in figures["repairs"][0]
    assert figures["pipelines"][0]["answered"] == 8


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: "\n".join(line.split(",")[0] for line in text.splitlines()), "has times and no other columns"),
        (lambda text: text.replace("time_us", "when"), "must name the columns"),
    ],
)
def test_what_is_no_motion_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[str], str], says: str
) -> None:
    folder = record(tmp_path, spoil(table(EVEN_US)))
    assert main(["replay", str(folder), "--workload", str(folder / "wrist.toml"), "--virtual"]) == 2
    told = capsys.readouterr().err
    assert says in told and "hint: " in told
