"""A source that is a command: what it writes is fed, it is started anew where it ends, and ends with the daemon."""

from __future__ import annotations

import logging
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons import CONFIG, Listener, a_site, many_files, running
from leo_runtime.daemon import child, feeding
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.feeding import Feeding
from leo_runtime.daemon.fitting import Fitting
from leo_runtime.daemon.kinds import SourceFailedError
from leo_runtime.daemon.sources.pipe import PipeSource
from leo_runtime.documents.workload import Stream
from leo_runtime.errors import DocumentError, InputError
from pulse import MONITOR, Pulse

MIC = Stream(name="mic", kind="audio", rate_hz=16_000)
DATA = np.arange(-5000, 5000, dtype="<i2")


def site_of(folder: Path, stream: Stream = MIC) -> Any:
    one = a_site(folder)
    object.__setattr__(one, "workload", one.workload.model_copy(update={"streams": (stream,)}))
    return one


def script(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import os, signal, sys, time; {code}")


WRITES = f"sys.stdout.buffer.write({DATA.tobytes()!r})"


class Fed:
    """What it gave, which stops it when that is enough."""

    def __init__(self, most: int = 10**9) -> None:
        self.stop = threading.Event()
        self._most = most
        self.pieces: list[np.ndarray] = []

    def __call__(self, samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        self.pieces.append(samples)
        if sum(map(len, self.pieces)) >= self._most:
            self.stop.set()

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate(self.pieces)


def run(folder: Path, stream: Stream = MIC, most: int = 10**9, **config: Any) -> Fed:
    fed = Fed(most)
    PipeSource(kind="pipe", **config).open(site_of(folder, stream)).run(fed, fed.stop)
    return fed


def test_what_a_command_writes_is_fed(tmp_path: Path) -> None:
    fed = run(tmp_path, command=script(WRITES + "; sys.stdout.buffer.write(b'!')"), once=True)
    assert np.array_equal(fed.samples, DATA) and fed.samples.dtype == np.int16


def test_a_command_is_read_whatever_its_descriptors_number(tmp_path: Path) -> None:
    with many_files():
        fed = run(tmp_path, command=script(f"sys.stderr.write('hello'); {WRITES}"), once=True)
    assert np.array_equal(fed.samples, DATA)


def test_what_a_command_leaves_behind_may_say_what_it_likes_until_nobody_listens(tmp_path: Path) -> None:
    setsid = shutil.which("setsid")
    if setsid is None:
        pytest.skip("there is no setsid")
    chatter = tmp_path / "chatter"
    says = f"echo $$ >{chatter}; exec 1>&-; while :; do echo and on; done >&2"
    chatters = f"{setsid} sh -c '{says}' & echo and on >&2; while ! [ -s {chatter} ]; do :; done; exit 3"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})  # As some libraries leave it.
    try:
        with pytest.raises(SourceFailedError, match="`sh` ended with status 3: and on"):
            run(tmp_path, command=("sh", "-c", chatters))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with suppress(ProcessLookupError):  # It has ended already.
        left = os.pidfd_open(int(chatter.read_text()))
        try:
            assert select.select([left], [], [], 20)[0], "it writes to nobody for ever"
        finally:
            os.close(left)


def test_floats_of_two_channels_are_fed_as_their_mean(tmp_path: Path) -> None:
    both = np.column_stack((np.linspace(0, 1, 100), np.full(100, 0.5))).astype("<f4")
    writes = f"sys.stdout.buffer.write({both.tobytes()!r})"
    fed = run(tmp_path, command=script(writes), data_type="float32", channels=2, once=True)
    assert np.allclose(fed.samples, both.mean(axis=1)) and fed.samples.dtype == np.float32


@pytest.mark.parametrize("channel", [1, 3])
def test_one_of_several_channels_is_listened_to(tmp_path: Path, channel: int) -> None:
    array = np.arange(40, dtype="<i2").reshape(10, 4)
    writes = f"sys.stdout.buffer.write({array.tobytes()!r})"
    fed = run(tmp_path, command=script(writes), channels=4, channel=channel, once=True)
    assert np.array_equal(fed.samples, array[:, channel - 1]) and fed.samples.dtype == np.int16


@pytest.mark.parametrize(("data_type", "width"), [("int24", 3), ("int32", 4)])
@pytest.mark.parametrize("channels", [1, 2])
def test_of_wide_values_the_upper_bits_are_taken(tmp_path: Path, data_type: Any, width: int, channels: int) -> None:
    values = np.repeat([-32768, -256, -1, 0, 1, 255, 32767], channels)
    low = b"\xff" * (width - 2)
    writes = "".join(f"{low + int(value).to_bytes(2, 'little', signed=True)!r}" for value in values)
    script_text = f"sys.stdout.buffer.write({writes})"
    fed = run(tmp_path, command=script(script_text), data_type=data_type, channels=channels, once=True)
    assert fed.samples.tolist() == [-32768, -256, -1, 0, 1, 255, 32767] and fed.samples.dtype == np.int16


@pytest.mark.parametrize(
    ("program", "data_type", "form"),
    [("arecord", "int24", "S24_3LE"), ("arecord", "int32", "S32_LE"), ("parec", "int32", "s32le")],
)
def test_recorders_are_asked_for_wide_values(program: Any, data_type: Any, form: str) -> None:
    asked = PipeSource(kind="pipe", program=program, data_type=data_type, rate_hz=48_000).argv(MIC)
    assert form in shlex.join(asked)


def test_pictures_come_by_a_pipe_too(tmp_path: Path) -> None:
    eye = Stream(name="eye", kind="camera", rate_hz=5, height_px=4, width_px=6, channels=3)
    pictures = np.arange(2 * 4 * 6 * 3, dtype=np.uint8)
    writes = f"sys.stdout.buffer.write({pictures.tobytes()!r})"
    fed = run(tmp_path, eye, command=script(writes), data_type="uint8", once=True)
    assert np.array_equal(fed.samples, pictures.reshape(2, 4, 6, 3))


@given(st.integers(1, 6), st.lists(st.integers(0, 50), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_mean_of_channels_is_what_counting_otherwise_gives(channels: int, cuts: list[int], random: Any) -> None:
    values = [[random.randint(-32768, 32767) for _ in range(channels)] for _ in range(sum(cuts))]
    fitting, found, at = Fitting(MIC, channels, None, "int16"), [], 0
    for count in cuts:
        piece = np.array(values[at : at + count], np.int16).reshape(count, *fitting.sample_shape)
        found += fitting.take(piece).tolist()
        at += count
    assert found == [round(sum(sample) / channels) for sample in values]  # Both round half to even.


def test_sound_at_another_rate_is_converted(tmp_path: Path) -> None:
    pytest.importorskip("soxr", reason="soxr is not installed")
    second = np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype("<i2")
    (tmp_path / "second.raw").write_bytes(second.tobytes())
    fed = run(tmp_path, command=("cat", "second.raw"), rate_hz=48_000, once=True)
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert 15_000 < len(fed.samples) <= 16_000  # The last ones wait for those that follow.
    middle = slice(1000, 14_000)
    assert np.abs(fed.samples[middle] - expected[middle]).max() < 8


@pytest.mark.parametrize(
    ("stream", "config", "says"),
    [
        (Stream(name="watch", kind="motion", rate_hz=20, channels=3), {"channels": 2}, "shape (3,)"),
        (Stream(name="watch", kind="motion", rate_hz=20, channels=3), {"rate_hz": 50}, "20 Hz, and its source 50 Hz"),
        (MIC, {"channels": 2, "channel": 3}, "no channel 3 of 2"),
        (MIC, {"channel": 2}, "no channel 2 of 1"),
        (Stream(name="both", rate_hz=16_000, channels=2), {"channels": 2, "channel": 1}, "`channel` is for one of one"),
        (Stream(name="bell", kind="events"), {}, "raw samples have no times"),
    ],
)
def test_what_cannot_be_fitted_is_refused(tmp_path: Path, stream: Stream, config: Any, says: str) -> None:
    with pytest.raises(InputError) as refused:
        PipeSource(kind="pipe", command=("cat",), **config).open(site_of(tmp_path, stream))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"command": ("cat",), "program": "parec"},
        {"command": ("cat",), "device": "hw:0"},
        {"program": "arecord", "data_type": "uint8"},
    ],
)
def test_a_config_that_cannot_mean_anything_is_refused(config: Any) -> None:
    with pytest.raises((DocumentError, ValueError)):
        PipeSource(kind="pipe", **config)


@pytest.mark.parametrize(("program", "package"), [("arecord", "alsa-utils"), ("parec", "pulseaudio-utils")])
def test_a_recorder_that_is_not_installed_is_told_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Any, package: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=f"no program `{program}`") as refused:
        PipeSource(kind="pipe", program=program).open(site_of(tmp_path))
    assert package in refused.value.hint


def test_recorders_are_asked_for_what_the_stream_has() -> None:
    arecord = PipeSource(kind="pipe", program="arecord", device="plughw:1").argv(MIC)
    assert shlex.join(arecord) == (
        "arecord -q -t raw -f S16_LE -r 16000 -c 1 --period-time=50000 --buffer-time=500000 -D plughw:1"
    )
    parec = PipeSource(kind="pipe", program="parec", data_type="float32", channels=2, rate_hz=48_000).argv(MIC)
    assert shlex.join(parec) == (
        "parec --raw --client-name=leo-runtime --format=float32le --rate=48000 --channels=2 --latency-msec=50"
    )
    with pytest.raises(InputError, match="whole rates"):
        PipeSource(kind="pipe", program="parec").argv(Stream(name="odd", rate_hz=100.44))


# How it ends.


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("sys.exit('no such device\\n\\x1b[31m')", "ended with status 1: \\x1b[31m"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by signal 9"),
        ("sys.exit(0)", "ended with status 0"),
        ("os.close(1); signal.pause()", "closed its output"),
    ],
)
def test_how_a_command_ended_is_told(
    tmp_path: Path, code: str, says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child, "ENDS_S", 0.2 if "pause" in code else child.ENDS_S)
    with caplog.at_level(logging.WARNING), pytest.raises(SourceFailedError) as told:
        run(tmp_path, command=script(code))
    assert says in str(told.value) and shlex.join(script(code)) in told.value.hint
    if "device" in code:
        assert "says: no such device" in caplog.text


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (("arecord: main:831: audio open error: Device or resource busy",), "dsnoop"),
        (("arecord: set_params:1339: Sample format non available", "Available formats:", "- S32_LE"), "plughw"),
        (
            ("arecord: set_params:1416: Unable to install hw params:", "ACCESS:  RW_INTERLEAVED", "TICK_TIME: 0"),
            "plughw",
        ),
        (("Connection failure: Connection refused", "pa_context_connect() failed: Connection refused"), "its user's"),
        (("something else", "at last"), "try it by hand"),
    ],
)
def test_the_way_out_of_what_recorders_say_is_told(tmp_path: Path, said: tuple[str, ...], hint: str) -> None:
    with pytest.raises(SourceFailedError) as failed:
        run(tmp_path, command=script("; ".join(f"print({line!r}, file=sys.stderr)" for line in said) + "; sys.exit(1)"))
    told = said[-1] if "by hand" in hint else said[0]
    assert str(failed.value).endswith(f"ended with status 1: {told}") and hint in failed.value.hint


def test_long_messages_without_an_end_take_no_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        fed = run(tmp_path, command=script(f"sys.stderr.write('x' * 100000); sys.stderr.flush(); {WRITES}"), once=True)
    assert np.array_equal(fed.samples, DATA)
    assert max(len(record.getMessage()) for record in caplog.records) < 400


def test_a_command_that_ends_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "FIRST_WAIT_US", 1000)
    counts, fed = Counts(), Fed(3 * len(DATA))

    def give(stream: str, samples: np.ndarray, *, at_us: int | None) -> tuple[int, ...]:
        fed(samples)
        return ()

    source = PipeSource(kind="pipe", command=script(WRITES)).open(site_of(tmp_path))
    one = Feeding("mic", source, {"mic": MIC}, give, lambda _: None, counts)
    one.start()
    assert fed.stop.wait(30)
    one.stop()
    assert one.join(30)
    counted = counts.now().sources["mic"]
    assert counted.restarts >= 2 and "ended with status 0" in counted.last_error and not counted.ended


@pytest.mark.parametrize("polite", [True, False])
def test_a_command_is_ended_with_its_source(tmp_path: Path, polite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "ENDS_S", 5 if polite else 0.1)
    deaf = "" if polite else "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    pid = "sys.stdout.buffer.write(os.getpid().to_bytes(4, 'little')); sys.stdout.flush(); signal.pause()"
    fed = run(tmp_path, command=script(deaf + pid), most=2)
    with pytest.raises(ProcessLookupError):
        os.kill(int.from_bytes(fed.samples.tobytes(), "little"), 0)


def test_a_silent_command_ends_with_a_daemon_that_is_killed(tmp_path: Path) -> None:
    if not child.guard():
        pytest.skip("setpriv with --pdeathsig is not installed (util-linux)")
    fifo = tmp_path / "lives"
    os.mkfifo(fifo)
    silent = script(f"held = open({str(fifo)!r}, 'w'); held.write('!'); held.flush(); signal.pause()")
    daemon = f"""
import threading
from pathlib import Path
from leo_runtime.daemon.fitting import Fitting
from leo_runtime.daemon.sources.pipe import Pipe
from leo_runtime.documents.workload import Stream
stream = Stream(name="s", rate_hz=10)
Pipe({silent!r}, Path("."), lambda: Fitting(stream, None, None, "int16"), "int16").run(print, threading.Event())
"""
    process = subprocess.Popen([sys.executable, "-c", daemon])
    try:
        with fifo.open("rb", buffering=0) as lives:
            assert lives.read(1) == b"!"
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            assert select.select([lives], [], [], 30)[0] and lives.read(1) == b"", "it lives on"
    finally:
        process.kill()
        process.wait()


# Recorders.


def test_arecord_gives_the_samples_that_alsa_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("arecord") is None:
        pytest.skip("arecord is not installed (apt: alsa-utils)")
    (tmp_path / "sound.raw").write_bytes(DATA.tobytes())
    (tmp_path / ".asoundrc").write_text(
        f"pcm.of_file {{ type file slave.pcm null file /dev/null infile {tmp_path}/sound.raw format raw }}"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    fed = run(tmp_path, program="arecord", device="of_file", most=8000)
    assert np.array_equal(fed.samples[:8000], DATA[:8000])


def test_a_daemon_hears_pulseaudio_and_tells_the_gap_of_a_recorder_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.replace(
        'kind = "socket"\npath = "./in.sock"',
        f'kind = "pipe"\nname = "ears"\nprogram = "parec"\ndevice = "{MONITOR}"\ndata_type = "float32"',
    )
    monkeypatch.setattr(feeding, "FIRST_WAIT_US", 500_000)  # So that it is more than jitter.
    with Pulse(tmp_path) as pulse:
        for name, value in pulse.environment.items():
            if name.startswith(("PULSE", "XDG")):
                monkeypatch.setenv(name, value)
        pulse.play(np.full(16_000 * 30, 30_000, np.int16))
        with running(tmp_path, config) as one:
            listener = Listener(tmp_path / "out.sock")
            answers = (answer for answer in islice(iter(listener.next, None), 100) if answer is not None)
            heard = next(answer for answer in answers if answer["label"] == "loud")
            assert abs(heard["score"] - 30_000 / 32_768) < 0.02 and not heard["gap_us"]
            recorders = subprocess.run(["pgrep", "-P", str(os.getpid()), "parec"], capture_output=True, text=True)
            for pid in recorders.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            again = next(answer for answer in answers if one.daemon.runtime.streams()[0].gaps)
            (stream,) = one.daemon.runtime.streams()
            counted = one.daemon.counts.now().sources["ears"]
    assert again["outcome"] == "done" and again["label"] == "loud"
    assert stream.gaps == 1 and stream.lost > 300  # Of 500 and what it took to start, less what came late anyhow.
    assert counted.restarts == 1 and "signal 9" in counted.last_error
