"""A run in real time that was killed goes on after what its log has; here its clock is a virtual one."""

import json
from collections import Counter
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

import recorded
from leo_runtime import cli, shipped
from leo_runtime.errors import DocumentError, LeoError
from leo_runtime.frame.records import FrameResult
from leo_runtime.frame.running_ledger import RunningLedger
from leo_runtime.replay.earlier_part import EarlierPart
from leo_runtime.replay.identity import Replay, Span
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.log_file import ContinuedFile
from leo_runtime.replay.log_lines import LogLine
from leo_runtime.replay.log_reader import read_log
from leo_runtime.replay.replay import replay
from leo_runtime.replay.sinks import KeptFrames
from leo_runtime.runtime.runtime import Runtime


def run(folder: Path, *, resumed: bool = False, batch: int = 1, **options: Any) -> tuple[Replay, KeptFrames]:
    """Twelve seconds of the demo, in what is taken for real time."""
    phone, profile, recording = (
        shipped.hardware("snapdragon-800"),
        shipped.profile("snapdragon-800"),
        shipped.recording("demo"),
    )
    kept = KeptFrames()
    file = folder / "log.jsonl"
    with (
        Runtime.simulated(shipped.workload(), phone, profile, compute=False, **options) as runtime,
        LogWriter(ContinuedFile(file) if resumed else file) as log,
    ):
        earlier = EarlierPart(file, "exact", folder / "times.jsonl", log.resumed) if resumed else None
        try:
            replayed = replay(
                runtime,
                recording,
                Span.of(recording, 0, 12_000_000),
                policy="exact",
                time="real",
                batch=batch,
                sinks=[log, kept],
                amended=None if earlier is None else earlier.renumbered,
                earlier=earlier,
            )
        finally:
            if earlier is not None:
                earlier.close()
    return replayed, kept


def whole_part(log: bytes) -> bytes:
    """Whole lines, but for a question without its frame."""
    lines = log[: log.rindex(b"\n") + 1].splitlines(keepends=True)
    return b"".join(lines[:-1] if lines[-1].startswith(b'{"kind":"question"') else lines)


def sums(log: str) -> Counter[str]:
    """Nanojoules by cause."""
    causes: Counter[str] = Counter()
    for frame in recorded.logged(log):
        causes["run"] += sum(stage["nj"] for stage in frame["stages"])
        causes["transfer"] += sum(send["nj"] for send in frame["transfers"])
    for line in recorded.logged(log, "energy"):
        for entry in line["entries"]:
            causes[entry["cause"]] += entry["nj"]
    return causes


OPTIONS: dict[str, dict[str, Any]] = {
    "windows": {"noise": 100_000},
    "alone": {"window_stages": 0},
    "batches": {"batch": 3, "window_stages": 0},
}


@pytest.mark.once
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_it_goes_on_after_the_last_frame_and_still_sums(tmp_path: Path, options: dict[str, Any]) -> None:
    log = tmp_path / "log.jsonl"
    run(tmp_path, **options)
    whole = log.read_bytes()
    random = Random(2)
    first = whole.index(b"\n") + 1
    lengths = [first, len(whole) - 5, *(random.randrange(first, len(whole)) for _ in range(5))]
    for length in lengths:
        log.write_bytes(whole[:length])
        there = whole_part(whole[:length])
        known = [frame["frame"] for frame in recorded.logged(there.decode())]
        replayed, kept = run(tmp_path, resumed=True, **options)
        text = log.read_text(encoding="utf-8")
        assert text.encode().startswith(there)
        for line in text.splitlines():
            LogLine.model_validate_json(line)
        frames = recorded.logged(text)
        numbers = [frame["frame"] for frame in frames]
        assert len(set(numbers)) == len(numbers) == len(kept.frames)
        assert numbers[: len(known)] == known
        after_us = max((frame["release_us"] for frame in frames[: len(known)]), default=-1)
        assert all(frame["release_us"] > after_us for frame in frames[len(known) :])
        assert frames[-1]["release_us"] == 12_000_000
        (end,) = recorded.logged(text, "end")
        assert end["nj"] == replayed.total.nj == sums(text).total()
        assert end["frames"] == len(numbers)
        resumed = recorded.logged(text, "resumed")
        due = sorted({frame["release_us"] for frame in recorded.logged(whole.decode())})
        if len(known) < len(recorded.logged(whole.decode())) and after_us < 12_000_000:
            assert [line["at_us"] for line in resumed] == [next(at for at in due if at > after_us)]
            lost = [frame for frame in recorded.logged(whole.decode()) if frame["release_us"] <= after_us]
            assert resumed[0]["lost"] == len(lost) - len(known)
        else:
            assert resumed == []


def test_it_goes_on_twice(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    run(tmp_path, noise=100_000)
    for part in (0.3, 0.7):
        log.write_bytes(log.read_bytes()[: int(len(log.read_bytes()) * part)])
        there = log.read_bytes()
        replayed, _ = run(tmp_path, resumed=True, noise=100_000)
        text = log.read_bytes()
        assert text.startswith(whole_part(there))
        assert sums(text.decode()).total() == replayed.total.nj
    resumed = recorded.logged(log.read_text(encoding="utf-8"), "resumed")
    assert [line["at_us"] for line in resumed] == sorted({line["at_us"] for line in resumed})
    assert 1 <= len(resumed) <= 2
    with read_log(log) as read:
        assert read.is_whole
        assert len(read.resumed) == len(resumed)


def test_a_line_that_was_changed_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    run(tmp_path)
    lines = log.read_bytes().splitlines(keepends=True)[:-1]
    at = max(at for at, line in enumerate(lines) if b'"cause":"awake"' in line)
    lines[at] = lines[at].replace(b'"cause":"awake"', b'"cause":"asleep"', 1)
    log.write_bytes(b"".join(lines))
    with pytest.raises(DocumentError, match=rf"log.jsonl:{at + 1}: the run now comes to something else"):
        run(tmp_path, resumed=True)
    assert log.read_bytes() == b"".join(lines)


def test_the_command_goes_on_with_a_run_in_real_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Runtime, "live", Runtime.simulated)
    own = ("recording", "--workload", "workload.json", "--hardware", "machine.json", "--profile", "profile.json")
    log = tmp_path / "out" / "beeps.real" / "log.jsonl"
    assert cli.main(["replay", *own, "--live", "--no-compare"]) == 0
    whole = log.read_bytes()
    frames = [at for at, line in enumerate(whole.splitlines()) if line.startswith(b'{"kind":"frame"')]
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[: frames[3] + 1]))
    capsys.readouterr()
    assert cli.main(["replay", "--resume", str(log.parent), "--no-compare", "--json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    text = log.read_text(encoding="utf-8")
    (resumed,) = recorded.logged(text, "resumed")
    assert resumed["at_us"] == 2_500_000
    assert resumed["lost"] == 0
    assert [frame["frame"] for frame in recorded.logged(text)] == list(range(8))
    assert [frame["release_us"] for frame in recorded.logged(text)] == [500_000 * n for n in range(1, 9)]
    assert figures["pipelines"][0]["frames"] == 8
    assert figures["pipelines"][0]["detections"] == 3
    assert recorded.logged(text, "end")[0]["nj"] == sums(text).total() == figures["policies"][0]["nj"]
    assert cli.main(["replay", "--resume", str(log.parent)]) == 0
    assert "the run is whole" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_log_is_continued_or_refused_in_words(tmp_path: Path, seed: int) -> None:
    """Its sums may be those of what was changed; there is no traceback."""
    log = tmp_path / "log.jsonl"
    run(tmp_path)
    whole = log.read_bytes()
    random = Random(seed)
    frames = [at for at in range(len(whole)) if whole.startswith(b'{"kind":"frame"', at)]
    names = (b'"cpu"', b'"gpu"', b'"speech"', b'"mfcc"', b'"frame"', b'"nj":', b'"at_us":', b'"done"', b'"optimal"')
    for _ in range(12):
        at = random.choice(frames)
        end = whole.index(b"\n", at)
        found = [place for name in names if (place := whole.find(name, at, end)) >= 0]
        place = random.choice([*found, random.randrange(at, end)]) + 1
        damage = random.choice([b"x", b"-1", b"9", b"\xff", b"", b'"', b"99999999999999999999"])
        log.write_bytes(whole[:place] + damage + whole[place + random.randrange(2) : -5])
        try:
            run(tmp_path, resumed=True)
        except LeoError as error:
            assert str(error)


@pytest.mark.once
@pytest.mark.parametrize("told", ["add", "settle"])
@pytest.mark.parametrize("after", [0, 3, 7])
def test_a_run_that_is_interrupted_as_it_tells_of_a_frame_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, after: int
) -> None:
    """Others had ended by then, too: they are not told of on top of half a frame."""
    ended: list[FrameResult] = []
    pressed: list[bool] = []
    calls = count()

    def some(self: Runtime) -> list[FrameResult]:
        """Three at a time, and all that there is once somebody has pressed Ctrl-C."""
        ended.extend(results(self))
        if len(ended) < 3 and not pressed:
            return []
        number = len(ended) if pressed else 1
        given = ended[:number]
        del ended[:number]
        return given

    def interrupted(self: RunningLedger, *given: Any) -> Any:
        if next(calls) == after:
            pressed.append(True)
            raise KeyboardInterrupt
        return usual(self, *given)

    usual, results = getattr(RunningLedger, told), Runtime.results
    with monkeypatch.context() as patch:
        patch.setattr(RunningLedger, told, interrupted)
        patch.setattr(Runtime, "results", some)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    there = (tmp_path / "log.jsonl").read_bytes()
    replayed, _ = run(tmp_path, resumed=True)
    text = (tmp_path / "log.jsonl").read_bytes()
    assert text.startswith(whole_part(there))
    assert sums(text.decode()).total() == replayed.total.nj
