"""A run that was killed goes on: in virtual time to the same bytes as a run in one piece."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

import recorded
from leo_runtime import cli
from leo_runtime.frame.running_ledger import RunningLedger
from leo_runtime.operators import operator
from leo_runtime.replay import compare, run_folder
from leo_runtime.replay.inputs import PART_BYTES, PARTS, PICTURES, _parts
from leo_runtime.replay.known_frames import KnownFrames

OWN = ("recording", "--workload", "workload.json", "--hardware", "machine.json", "--profile", "profile.json")
VIRTUAL = ("replay", *OWN, "--virtual", "--no-compare")
RUN = Path("out/beeps.virtual")
LOG = RUN / run_folder.LOG

computed: list[np.ndarray] = []
heard: list[bytes] = []


@operator(output_shape=lambda features: (2,))
def loudest(features: np.ndarray) -> np.ndarray:
    """As the demo of these tests decides, and it notes what it is asked."""
    computed.append(features)
    return np.array([features.reshape(-1)[1] > np.exp(-5), 0.5], np.float32)


@operator(output_shape=lambda features: (2,))
class Louder:
    """Whether a window is louder than all before, which no log tells."""

    most = -100.0

    def step(self, features: np.ndarray) -> np.ndarray:
        computed.append(features)
        louder, self.most = features.max() > self.most, max(self.most, float(features.max()))
        return np.array([louder, 0.5], np.float32)


@operator(output_shape=lambda features: (2,))
def picky(features: np.ndarray) -> np.ndarray:
    """Fails on every second of its inputs."""
    computed.append(features)
    if features.tobytes() not in heard:
        heard.append(features.tobytes())
    if heard.index(features.tobytes()) % 2 == 0:
        raise ValueError("loud \udc80 \u2028")
    return np.array([1, 0], np.float32)


@operator(output_shape=lambda features: (2,))
def removes(features: np.ndarray) -> np.ndarray:
    """Takes away what is being written."""
    shutil.rmtree("out", ignore_errors=True)
    return np.array([1, 0], np.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    computed.clear()
    yield tmp_path


def decide_by(name: str) -> None:
    workload = json.loads(json.dumps(recorded.WORKLOAD))
    workload["graphs"][0]["stages"][-1] |= {"operator": name, "params": {}}
    Path("workload.json").write_text(json.dumps(workload), encoding="utf-8")


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in RUN.iterdir() if path.name != run_folder.TIMES}


def cut_log(length: int) -> None:
    LOG.write_bytes(LOG.read_bytes()[:length])


OPTIONS = {
    "windows": (),
    "alone": ("--window", "0"),
    "noise": ("--noise", "20", "--seed", "3"),
    "batches": ("--batch", "3"),
    "greedy": ("--solver", "greedy", "--no-questions"),
    "reserve": ("--reserve", "40", "--start", "0.25", "--seconds", "3"),
    "charged": ("--charge-solver", "cpu"),
}


@pytest.mark.once
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_a_log_cut_anywhere_is_continued_to_the_same_bytes(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert cli.main([*VIRTUAL, *options]) == 0
    shown, whole = capsys.readouterr().out, files()
    text = whole[run_folder.LOG]
    first = text.index(b"\n") + 1
    ends = [at + 1 for at, byte in enumerate(text) if byte == ord("\n")]
    places = {first, *(at for end in ends for at in (end - 1, end) if first <= at < len(text))}
    random = Random(1)
    places.update(random.randrange(first, len(text)) for _ in range(15))
    for length in random.sample(sorted(places), 10):  # `test_log_file` has every byte.
        cut_log(length)
        if random.random() < 0.3:  # Killed once more.
            assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 0
            cut_log(random.randrange(first, len(text)))
        assert cli.main(["replay", "--resume", str(LOG if length % 2 else RUN), "--no-compare"]) == 0
        assert files() == whole, length
        if "--charge-solver" not in options:
            assert capsys.readouterr().out.endswith(shown)
    assert not Path("out/beeps.virtual.2").exists()


def test_what_the_log_tells_is_not_computed_again(capsys: pytest.CaptureFixture[str]) -> None:
    decide_by("test_resume:loudest")
    assert cli.main([*VIRTUAL]) == 0
    shown, whole, all_of_them = capsys.readouterr().out, files(), len(computed)
    frames = [at for at, line in enumerate(LOG.read_bytes().splitlines()) if b'"kind":"frame"' in line]
    ran = [b'"stage":"loudness"' in line and b'"stage":"loudness"' for line in LOG.read_bytes().splitlines()]
    assert all_of_them == 3
    assert any(ran)
    for kept in (0, 2, 4, 8):
        lines = whole[run_folder.LOG].splitlines(keepends=True)
        LOG.write_bytes(b"".join(lines[: frames[kept] if kept < len(frames) else len(lines) - 1]))
        known = sum(
            run["outcome"] == "done"
            for frame in recorded.logged(LOG.read_text(encoding="utf-8"))
            for run in frame["stages"]
            if run["stage"] == "loudness"
        )
        computed.clear()
        assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 0
        assert len(computed) == all_of_them - known
        assert files() == whole
        assert capsys.readouterr().out == shown


def test_a_workload_with_state_is_computed_from_its_start_to_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    decide_by("test_resume:Louder")
    assert cli.main([*VIRTUAL]) == 0
    shown, whole, all_of_them = capsys.readouterr().out, files(), len(computed)
    lines = whole[run_folder.LOG].splitlines(keepends=True)
    logged = recorded.logged(LOG.read_text(encoding="utf-8"))
    states = [run["state"] for frame in logged for run in frame["stages"] if "state" in run]
    assert len(states) == all_of_them > 0
    assert states[0] == {"fresh": 1, "anew": "first"}
    for kept in (3, len(lines) // 2, len(lines) - 1):
        LOG.write_bytes(b"".join(lines[:kept]))
        computed.clear()
        assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 0
        assert len(computed) == all_of_them
        assert files() == whole
        assert capsys.readouterr().out == shown


def test_policies_are_compared_by_states_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """What each of them answers is what it would by itself: nothing of a state is shared with another."""
    decide_by("test_resume:Louder")
    assert cli.main(["replay", *OWN, "--virtual", "--policies", "cpu-only,greedy", "--json"]) == 0
    together = json.loads(capsys.readouterr().out)
    assert len(together) > 0
    assert cli.main(["replay", *OWN, "--virtual", "--solver", "greedy", "--no-compare"]) == 0
    logs = [Path("out/beeps.virtual.2/log.jsonl"), LOG]
    alone, first = [recorded.logged(log.read_text(encoding="utf-8")) for log in logs]
    assert [frame["graphs"][0]["label"] for frame in alone] == [frame["graphs"][0]["label"] for frame in first]


def test_frames_in_which_something_failed_are_computed_again_to_the_same_bytes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    decide_by("test_resume:picky")
    assert cli.main([*VIRTUAL]) == 1
    whole = files()
    assert whole[run_folder.LOG].count(b"ValueError: loud") > 0
    for length in (len(whole[run_folder.LOG]) - 10, whole[run_folder.LOG].index(b"ValueError: loud") + 9000):
        cut_log(length)
        assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 1
        assert files() == whole


def test_a_whole_run_has_nothing_to_go_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*VIRTUAL]) == 0
    whole = files()
    capsys.readouterr()
    assert cli.main(["replay", "--resume", str(RUN)]) == 0
    assert tuple(capsys.readouterr()) == ("", f"{RUN}: the run is whole, there is nothing to go on with\n")
    assert files() == whole


DYING = """
import os, signal
import numpy as np
from leo_runtime.frame.running_ledger import RunningLedger
from leo_runtime.operators import operator

calls = []

@operator(output_shape=lambda features: (2,))
def loudest(features: np.ndarray) -> np.ndarray:
    calls.append(features)
    if len(calls) == int(os.environ.get("DIES_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    return np.array([1, 0], np.float32)
"""


@pytest.mark.once
def test_a_killed_process_goes_on_also_after_two_kills(folder: Path) -> None:
    (folder / "dying.py").write_text(DYING, encoding="utf-8")
    decide_by("dying:loudest")
    code = "import sys; from leo_runtime.cli import main; sys.exit(main(sys.argv[1:]))"

    def ran(*arguments: str, dies_at: int = 0) -> int:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
            "DIES_AT": str(dies_at),
        }
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    assert ran(*VIRTUAL) == 0
    whole = files()
    shutil.rmtree("out")
    assert ran(*VIRTUAL, dies_at=2) == -signal.SIGKILL
    before = LOG.read_bytes()
    assert whole[run_folder.LOG].startswith(before)
    assert ran("replay", "--resume", str(RUN), "--no-compare", dies_at=1) == -signal.SIGKILL
    assert LOG.read_bytes() == before, "it died where it had died before"
    assert ran("replay", "--resume", str(RUN), "--no-compare", dies_at=2) == -signal.SIGKILL
    assert len(before) < len(LOG.read_bytes()) < len(whole[run_folder.LOG])
    assert ran("replay", "--resume", str(RUN), "--no-compare") == 0
    assert files() == whole


def test_an_interrupted_run_goes_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, within any kernel of the run."""
    assert cli.main([*VIRTUAL]) == 0
    shown, whole = capsys.readouterr().out, files()

    from leo_runtime.runtime.kernels import Kernels

    run, left = Kernels.run, [0]

    def interrupted(self, *arguments, **named):  # type: ignore[no-untyped-def]
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return run(self, *arguments, **named)

    for at in range(1, 20, 3):
        shutil.rmtree("out")
        left[0] = at
        with monkeypatch.context() as patched:
            patched.setattr(Kernels, "run", interrupted)
            assert cli.main([*VIRTUAL]) == 130
        assert f"hint: go on with `leo-runtime replay --resume {RUN}`" in capsys.readouterr().err
        assert whole[run_folder.LOG].startswith(LOG.read_bytes())
        assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 0
        assert (capsys.readouterr().out, files()) == (shown, whole)


def test_a_disk_that_is_full_is_said_and_the_run_goes_on_when_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main([*VIRTUAL]) == 0
    whole = files()
    capsys.readouterr()

    write = io.FileIO.write

    class Full(io.FileIO):
        """Takes half of what is beyond 20,000 bytes, and then no more."""

        def write(self, piece: memoryview) -> int:  # type: ignore[override]
            if self.tell() < 20_000:
                return write(self, piece)
            if self.tell() % 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(self, piece[: 2 * (len(piece) // 4) + 1 - self.tell() % 2])

    def open_file(path: Path, mode: str = "r", buffering: int = -1, **others: str | None) -> object:
        return Full(path, mode) if buffering == 0 else plain(path, mode, buffering, **others)

    plain = Path.open
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", open_file)
        assert cli.main([*VIRTUAL]) == 2
    err = capsys.readouterr().err
    again = RUN.with_name("beeps.virtual.2")
    assert f"{again / run_folder.LOG}: cannot be written (No space left on device)" in err
    assert f"hint: go on with `leo-runtime replay --resume {again}`\n" in err
    log = (again / run_folder.LOG).read_bytes()
    assert log.endswith(b"\n")
    assert whole[run_folder.LOG].startswith(log)
    assert cli.main(["replay", "--resume", str(again), "--no-compare"]) == 0
    assert (again / run_folder.LOG).read_bytes() == whole[run_folder.LOG]


def test_a_folder_that_vanishes_meanwhile_is_missed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_by("test_resume:removes")
    assert cli.main([*VIRTUAL]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{LOG}: was removed while it was written" in err
    assert "--resume" not in err


def test_times_that_were_written_stay_and_new_ones_follow(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*VIRTUAL, "--noise", "20"]) == 0
    times = RUN / run_folder.TIMES
    before = times.read_bytes().splitlines(keepends=True)
    cut_log(len(LOG.read_bytes()) - 10)
    times.write_bytes(b"".join(before[:-1])[:-3])
    assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 0
    lines = [json.loads(line) for line in times.read_bytes().splitlines()]
    assert [next(iter(set(line) & {"began", "resumed", "ended", "frame"})) for line in lines].count("resumed") == 1
    frames = [line["frame"] for line in lines if "frame" in line]
    assert frames == [json.loads(line)["frame"] for line in before if b'"frame"' in line]


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_log_is_refused_in_words_and_stays(capsys: pytest.CaptureFixture[str], seed: int) -> None:
    assert cli.main([*VIRTUAL]) == 0
    whole = files()[run_folder.LOG][:-5]
    random = Random(seed)
    for _ in range(12):
        place = random.randrange(len(whole) if seed else whole.index(b"\n"))
        damage = random.choice([b"x", b"-1", b"9", b"\xff", b"", b'"', b"\n", b"\0", b"9" * 5000])
        damaged = whole[:place] + damage + whole[place + random.randrange(2) :]
        LOG.write_bytes(damaged)
        capsys.readouterr()
        status = cli.main(["replay", "--resume", str(RUN), "--no-compare"])
        if status == 2:
            assert LOG.read_bytes() == damaged
            assert capsys.readouterr().err
        else:  # Nothing but the line that was not whole, or a text that nothing depends on.
            assert status == 0
            assert LOG.read_bytes().startswith(damaged[: damaged.rindex(b"\n") + 1])


def test_where_the_log_has_its_end_all_else_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main([*VIRTUAL]) == 0
    whole = files()
    shutil.rmtree("out")

    def end(*_: object) -> None:
        assert {name: content for name, content in files().items() if name != run_folder.LOG} == {
            name: content for name, content in whole.items() if name != run_folder.LOG
        }
        assert b'"ended"' in (RUN / run_folder.TIMES).read_bytes()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("leo_runtime.replay.log.LogWriter.end", end)
        assert cli.main([*VIRTUAL]) == 130
    assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 0
    assert files() == whole


REFUSED = {
    "gone": (lambda: shutil.rmtree(RUN), "out/beeps.virtual: no such folder or log"),
    "empty": (lambda: cut_log(0), "the run was interrupted before its first line was written"),
    "torn": (lambda: cut_log(100), "the run was interrupted before its first line was written"),
    "another": (
        lambda: LOG.write_bytes(b'{"format":"leo-log/1","policy":"exact"}\n'),
        "a log of the format `leo-log/1` does not say what it takes to go on",
    ),
    "version": (
        lambda: LOG.write_bytes(LOG.read_bytes().replace(b'"version":"', b'"version":"9.', 1)),
        "was written by leo-runtime 9.0",
    ),
    "no JSON": (lambda: LOG.write_bytes(b"#" + LOG.read_bytes()), "log.jsonl:1: not JSON"),
    "no run": (lambda: LOG.write_bytes(b'{"kind":"end"}\n'), 'log.jsonl:1: the key "'),
    "recording": (lambda: change_label(), "is not the recording of this run, `beeps`, as it was then"),
    "no recording": (
        lambda: shutil.rmtree("recording"),
        "hint: go on where the run began, or name the recording: replay RECORDING --resume RUN",
    ),
    "model": (lambda: change_model(), "the run now comes to something else than this line says"),
    "line": (
        lambda: LOG.write_bytes(LOG.read_bytes().replace(b'"end_us":1', b'"end_us":2')),
        "the run now comes to something else than this line says",
    ),
}


def change_label() -> None:
    manifest = Path("recording/recording.toml")
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"loud"', '"LOUD"'), encoding="utf-8")


def change_model() -> None:
    """It is another model, under another name, that the log then does not fit."""
    text = LOG.read_bytes()
    LOG.write_bytes(text.replace(b'"label":"loud"', b'"label":"quiet"').replace(b'"nj":3', b'"nj":4'))


@pytest.mark.parametrize(("spoil", "says"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_go_on_is_said_and_nothing_is_lost(capsys, spoil, says):  # type: ignore[no-untyped-def]
    assert cli.main([*VIRTUAL]) == 0
    cut_log(len(LOG.read_bytes()) - 10)
    spoil()
    before = LOG.read_bytes() if LOG.exists() else b""
    capsys.readouterr()
    assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert "hint: " in err
    assert (LOG.read_bytes() if LOG.exists() else b"") == before


def test_a_recording_that_was_moved_is_named_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*VIRTUAL]) == 0
    whole = files()
    cut_log(len(whole[run_folder.LOG]) - 10)
    shutil.move("recording", "elsewhere")
    assert cli.main(["replay", "elsewhere", "--resume", str(RUN), "--no-compare"]) == 0
    assert files() == whole


@pytest.mark.parametrize(
    "given",
    [
        ("--seed", "0"),
        ("--noise", "0"),
        ("--virtual",),
        ("--live",),
        ("--solver", "exact"),
        ("--out", "out"),
        ("--workload", "workload.json"),
        ("--window", "3"),
        ("--no-questions",),
    ],
)
def test_what_would_change_the_run_is_refused_by_name(capsys: pytest.CaptureFixture[str], given: list[str]) -> None:
    assert cli.main([*VIRTUAL]) == 0
    capsys.readouterr()
    assert cli.main(["replay", "--resume", str(RUN), *given]) == 2
    assert capsys.readouterr().err.startswith(f"`{given[0]}` beside `--resume`, which goes on as the run began\nhint: ")


def test_a_run_in_progress_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    fcntl = pytest.importorskip("fcntl", reason="files cannot be locked here")
    assert cli.main([*VIRTUAL]) == 0
    cut_log(len(LOG.read_bytes()) - 10)
    with LOG.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert cli.main(["replay", "--resume", str(RUN)]) == 2
    assert "is being written by a run that goes on" in capsys.readouterr().err


def test_known_frames_are_read_as_they_are_needed(tmp_path: Path) -> None:
    lines = [
        {"kind": "frame", "frame": number, "graphs": [{"label": None}], "stages": [run]}
        for number, run in (
            (1, {"stage": "a", "outcome": "done", "opened": False}),
            (0, {"stage": "a", "outcome": "done", "opened": True}),
            (2, {"stage": "a", "outcome": "failed"}),
            (3, {"stage": "a", "outcome": "done", "error": "of one frame"}),
        )
    ]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (tmp_path / "log").write_text(text + '{"kind":"frame","frame":4,"gra', encoding="utf-8")
    known = KnownFrames(tmp_path / "log")
    assert known.told(0, "a") is True
    assert known.told(1, "a") is False
    assert known.told(1, "b") is True
    assert [known.told(number, "a") for number in (2, 3, 4)] == [None, None, None]
    assert KnownFrames(tmp_path / "nowhere").told(0, "a") is None


def test_an_interrupt_after_the_run_does_not_send_anybody_back_to_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other policies are set beside it then."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "beside", interrupted)
    assert cli.main(["replay", *OWN, "--virtual"]) == 130
    assert capsys.readouterr().err.endswith(f"the run itself is whole: {RUN}\ninterrupted\n")


def test_what_was_there_is_not_told_to_have_been_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main([*VIRTUAL]) == 0
    part = LOG.read_bytes()[: LOG.read_bytes().rindex(b"\n", 0, -1) + 1]
    own = Path("part.jsonl")
    own.write_bytes(part.replace(b'"end_us":500', b'"end_us":600', 1))
    capsys.readouterr()
    assert cli.main(["replay", "--resume", str(own), "--no-compare", "--no-trace"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nothing was added: part.jsonl\npart.jsonl:")
    assert "replay it anew" in err
    assert "go on with" not in err

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    own.write_bytes(part)
    monkeypatch.setattr(RunningLedger, "add", interrupted)
    assert cli.main(["replay", "--resume", str(own), "--no-compare", "--no-trace"]) == 130
    assert "nothing was added: part.jsonl\nhint: go on with `leo-runtime replay --resume part.jsonl`\n" in (
        capsys.readouterr().err
    )
    assert own.read_bytes() == part


def test_the_end_of_a_run_is_that_of_its_last_frame_where_nothing_draws_as_it_stands_by() -> None:
    machine = json.loads(Path("machine.json").read_text(encoding="utf-8"))
    for processor in machine["processors"]:
        processor.pop("awake_mw")
    Path("machine.json").write_text(json.dumps(machine), encoding="utf-8")
    assert cli.main([*VIRTUAL, "--slow", "cpu=20"]) == 0
    text = LOG.read_text(encoding="utf-8")
    (end,) = recorded.logged(text, "end")
    last_us = max(run["end_us"] for frame in recorded.logged(text) for run in frame["stages"])
    assert end["end_us"] == last_us > 4_000_000


def test_a_run_does_not_go_on_with_another_model(capsys: pytest.CaptureFixture[str]) -> None:
    """It would be half of one and half of the other, and nothing in its log would say so."""
    assert cli.main([*VIRTUAL]) == 0
    cut_log(len(LOG.read_bytes()) // 2)
    there = LOG.read_bytes()
    np.savez("loud.npz", weights_0=np.zeros((3, 2), np.float32), bias_0=np.array([0, 9], np.float32))
    capsys.readouterr()
    assert cli.main(["replay", "--resume", str(RUN), "--no-compare"]) == 2
    err = capsys.readouterr().err
    assert "loud.npz: is not the model that the run began with" in err
    assert "put that back, or replay it anew" in err
    assert LOG.read_bytes() == there


def test_a_run_does_not_go_on_with_other_samples(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main([*VIRTUAL]) == 0
    cut_log(len(LOG.read_bytes()) // 2)
    there = LOG.read_bytes()
    monkeypatch.setattr(recorded, "SOUNDS", ((3.2, 3.9),))
    recorded.write_wav(Path("recording/mic.wav"))
    capsys.readouterr()
    for moved in ((), ("recording",)):
        assert cli.main(["replay", *moved, "--resume", str(RUN), "--no-compare"]) == 2
        assert "as it was then: other samples are in its files" in capsys.readouterr().err
    assert LOG.read_bytes() == there


def test_long_streams_are_known_by_parts_of_them() -> None:
    assert list(_parts((100,), 2)) == [(0, 100)]
    parts = list(_parts((10**9,), 2))
    assert (parts[0][0], parts[-1][1], len(parts)) == (0, 10**9, PARTS)
    assert {end - begin for begin, end in parts} == {PART_BYTES // 2}
    assert len(list(_parts((10**6, 480, 640, 3), 1))) == PICTURES
    assert list(_parts((0, 3), 4)) == [(0, 0)]
