"""What is known of the last run, which frames are on their way, and whether the daemon gets on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from daemons import many_files
from leo_runtime.daemon.outstanding import Outstanding
from leo_runtime.daemon.run_state import RunState
from leo_runtime.daemon.waking import Waker, is_readable
from leo_runtime.daemon.watchdog import Progress, gets_on
from leo_runtime.errors import InputError


def test_a_first_run_knows_of_none(tmp_path: Path) -> None:
    state = RunState(tmp_path / "state" / "leo.run")
    assert state.last is None and state.failure == ""
    state.close(clean=True)
    state.close(clean=False)
    assert RunState(None).last is None


def test_a_run_that_was_killed_tells_how_many_frames_were_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "leo.run"
    script = (
        "import os, signal; from pathlib import Path; from leo_runtime.daemon.run_state import RunState; "
        f"state = RunState(Path({str(path)!r})); state.note(taken=10); state.note(answered=7); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    state = RunState(path)
    assert state.last is not None
    assert (state.last.clean, state.last.frames, state.last.lost_frames) == (False, 10, 3)
    assert 0 <= state.last.down_us < 60_000_000
    state.note(taken=5, answered=5)
    state.close(clean=True)
    again = RunState(path)
    assert again.last is not None and again.last.clean and again.last.lost_frames == 0 and again.last.frames == 5
    again.close(clean=True)


@pytest.mark.parametrize("content", [b"", b"x", b"leo-run2" + bytes(4088), bytes(5000)])
def test_what_is_no_state_is_taken_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "leo.run").write_bytes(content)
    state = RunState(tmp_path / "leo.run")
    assert state.last is None
    state.close(clean=True)


def test_a_state_is_of_one_daemon(tmp_path: Path) -> None:
    state = RunState(tmp_path / "leo.run")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(InputError, match="another daemon runs with it"):
        RunState(tmp_path / "leo.run")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    state.close(clean=True)


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    state = RunState(tmp_path / "file" / "leo.run")
    assert "cannot be written" in state.failure
    state.note(taken=1)
    state.close(clean=True)


def test_a_frame_is_answered_when_all_sinks_are_done_with_it() -> None:
    told: list[int] = []
    frames = Outstanding(told.append)
    frames.begin(0, 2)
    frames.begin(1, 0)
    frames.begin(2, 1)
    assert told == [1] and frames.frames == 2
    frames.done(0)
    frames.done(2)
    assert told == [1, 2] and frames.frames == 1
    frames.done(0)
    frames.done(7)
    assert told == [1, 2, 3] and frames.frames == 0


@pytest.mark.parametrize(
    ("before", "now", "does"),
    [
        ((0, 0, 0, 0), (0, 0, 0, 0), True),  # Nothing to do.
        ((1, 0, 1, 0), (2, 0, 2, 0), True),
        ((1, 1, 1, 0), (1, 1, 1, 0), False),  # The runtime takes no samples.
        ((1, 0, 1, 0), (1, 1, 1, 0), True),  # It has only begun to.
        ((1, 0, 1, 2), (9, 0, 1, 5), False),  # It takes them, and answers none.
        ((1, 0, 1, 2), (1, 0, 2, 1), True),
        ((1, 0, 1, 0), (5, 0, 1, 3), True),  # They have only come.
    ],
)
def test_the_watchdog_goes_by_what_is_done(before: tuple[int, ...], now: tuple[int, ...], does: bool) -> None:
    assert gets_on(Progress(*before, turns=1), Progress(*now, turns=2)) is does
    # A main thread that hears no signals does not get on, unless it reads the config again.
    assert not gets_on(Progress(*before, turns=2), Progress(*now, turns=2))
    assert gets_on(Progress(*before, turns=2), Progress(*now, turns=2, changing=True)) is does


def test_a_waker_wakes_whatever_its_descriptors_number() -> None:
    with many_files():
        waker = Waker()
        assert waker.fileno() > 1023 and not is_readable(waker, 0.0)
        waker.wake()
        waker.wait(30.0)
        assert not is_readable(waker, 0.0)
        del waker
