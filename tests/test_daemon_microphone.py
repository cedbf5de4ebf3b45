"""Microphones: samples that PortAudio gives are fed, what is lost is counted, and a device that is gone comes back."""

from __future__ import annotations

import builtins
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from daemons import CONFIG, PATIENCE_S, Listener, Systemd, a_site, write
from leo_runtime.daemon.counts import Counts
from leo_runtime.daemon.kinds import SourceFailedError
from leo_runtime.daemon.sources import microphone
from leo_runtime.daemon.sources.microphone import Microphone, MicrophoneSource
from leo_runtime.documents.workload import Stream
from leo_runtime.errors import InputError, MissingExtraError
from pulse import MONITOR, Pulse

MIC = Stream(name="mic", kind="audio", rate_hz=16_000)


class PortAudioError(Exception):
    pass


class Library:
    """As sounddevice: each stream gives blocks as it starts, then nothing any more."""

    PortAudioError = PortAudioError

    def __init__(self, *streams: list[tuple[np.ndarray, bool]] | Exception) -> None:
        self._streams = list(streams)
        self.settings: list[dict[str, Any]] = []
        self.looked = self.open = 0

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": "USB ears", "max_input_channels": 1}, {"name": "speakers", "max_input_channels": 0}]

    def _terminate(self) -> None:
        assert not self.open, "a stream that is open would be closed"

    def _initialize(self) -> None:
        self.looked += 1

    def RawInputStream(self, **settings: Any) -> Any:  # noqa: N802  # its name there
        self.settings.append(settings)
        blocks = self._streams.pop(0)
        if isinstance(blocks, Exception):
            raise blocks
        self.open += 1

        def start() -> None:
            for block, overflow in blocks:
                settings["callback"](
                    memoryview(block).cast("B"), len(block), None, SimpleNamespace(input_overflow=overflow)
                )

        def close() -> None:
            self.open -= 1

        return SimpleNamespace(start=start, close=close)


class Fed:
    """What was heard, until that is enough."""

    def __init__(self, most: int = 10**9) -> None:
        self.stop, self._most = threading.Event(), most
        self.pieces: list[np.ndarray] = []

    def __call__(self, samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        assert at_us is None
        self.pieces.append(samples)
        if sum(map(len, self.pieces)) >= self._most:
            self.stop.set()

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate(self.pieces)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "LOOKS_S", 0.005)
    monkeypatch.setattr(microphone, "SILENT_S", 0.02)


def blocks(*sizes: int, overflow: bool = False) -> list[tuple[np.ndarray, bool]]:
    ends = np.cumsum((0, *sizes))
    return [(np.arange(a, b, dtype=np.int16), overflow) for a, b in pairwise(ends)]


def test_blocks_are_fed_in_order_and_a_device_that_falls_silent_is_told() -> None:
    library, fed = Library(blocks(800, 800, 3)), Fed()
    mic = Microphone(MicrophoneSource(kind="microphone", device="USB ears"), MIC, library, Counts().other)
    with pytest.raises(SourceFailedError, match="`USB ears` has given nothing"):
        mic.run(fed, fed.stop)
    assert np.array_equal(fed.samples, np.arange(1603)) and fed.samples.dtype == np.int16
    said = {name: library.settings[0][name] for name in ("device", "samplerate", "channels", "dtype", "blocksize")}
    assert said == {"device": "USB ears", "samplerate": 16_000, "channels": 1, "dtype": "int16", "blocksize": 800}
    assert not library.open


def test_two_channels_are_fed_as_their_mean_or_one_of_them() -> None:
    library, fed = Library([(np.array([[1, 3], [5, 7]], np.int16), False)]), Fed(2)
    config = MicrophoneSource(kind="microphone", channels=2)
    Microphone(config, MIC, library, Counts().other).run(fed, fed.stop)
    assert fed.samples.tolist() == [2, 6]
    library, fed = Library([(np.array([[1, 3], [5, 7]], np.int16), False)]), Fed(2)
    Microphone(config.model_copy(update={"channel": 2}), MIC, library, Counts().other).run(fed, fed.stop)
    assert fed.samples.tolist() == [3, 7]


def test_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    counts, fed = Counts(), Fed(200)
    most = microphone.MOST_BLOCKS
    library = Library(blocks(2, overflow=True) + blocks(*[2] * (most + 5)))
    Microphone(MicrophoneSource(kind="microphone"), MIC, library, counts.other).run(fed, fed.stop)
    assert counts.now().others == {"microphone_overflows": 1, "microphone_lost_samples": 12}
    assert "lost before they were read" in caplog.text and "12 samples were lost" in caplog.text


def test_a_device_that_comes_back_is_looked_for_anew() -> None:
    library, fed = (
        Library(PortAudioError("Device unavailable"), ValueError("No input device matching"), blocks(9)),
        Fed(9),
    )
    mic = Microphone(MicrophoneSource(kind="microphone", device="ears"), MIC, library, Counts().other)
    for says in ("Device unavailable", "No input device matching"):
        with pytest.raises(SourceFailedError, match=f"microphone `ears`: {says}") as told:
            mic.run(fed, fed.stop)
        assert told.value.hint == "there are USB ears"
    mic.run(fed, fed.stop)
    assert library.looked == 2 and len(fed.samples) == 9


def test_devices_are_not_looked_for_anew_while_another_is_listened_to() -> None:
    library = Library(PortAudioError("gone"), blocks(4), blocks(9))
    other, fed = Fed(4), Fed(9)
    mic = Microphone(MicrophoneSource(kind="microphone"), MIC, library, Counts().other)
    with pytest.raises(SourceFailedError):
        mic.run(fed, fed.stop)

    def nested(samples: np.ndarray, at_us: int | None = None, /, *, stream: str | None = None) -> None:
        mic.run(fed, fed.stop)
        other(samples)

    Microphone(MicrophoneSource(kind="microphone"), MIC, library, Counts().other).run(nested, other.stop)
    assert library.looked == 0 and len(fed.samples) == 9


@pytest.mark.parametrize(
    ("raised", "told", "hint"),
    [
        (ImportError(), MissingExtraError, "leo-runtime[microphone]"),
        (OSError("no PortAudio"), InputError, "libportaudio2"),
    ],
)
def test_what_is_missing_is_told_with_its_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, told: type[Exception], hint: str
) -> None:
    real = builtins.__import__

    def fails(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "sounddevice":
            raise raised
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(told) as refused:
        MicrophoneSource(kind="microphone").open(a_site(tmp_path))
    assert hint in refused.value.hint  # type: ignore[attr-defined]  # both kinds have one


def test_a_daemon_hears_pulseaudio_by_its_library(tmp_path: Path) -> None:
    try:
        import sounddevice  # noqa: F401  # It loads PortAudio.
    except ImportError:
        pytest.skip("the extra `microphone` is not installed")
    except OSError:
        pytest.skip("PortAudio is not installed (apt: libportaudio2)")
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        pytest.skip("ALSA's plugin for PulseAudio is not installed (apt: libasound2-plugins)")
    source = 'kind = "microphone"\ndevice = "ears"\ndata_type = "float32"'
    path = write(tmp_path, CONFIG.replace('kind = "socket"\npath = "./in.sock"', source))
    with Pulse(tmp_path) as pulse:
        home = Path(pulse.environment["HOME"])
        (home / ".asoundrc").write_text(
            f'pcm.ears {{ type pulse device "{MONITOR}" hint {{ show on description "a monitor" }} }}'
        )
        systemd = Systemd(tmp_path)
        environment = {**pulse.environment, "NOTIFY_SOCKET": str(systemd.path)}
        command = [sys.executable, "-m", "leo_runtime", "daemon", str(path)]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                systemd.wait_for("READY=1")
                listener = Listener(tmp_path / "out.sock")
                pulse.play(np.full(16_000 * 20, 30_000, np.int16))
                heard = [listener.next() for _ in range(30)]
            finally:
                process.terminate()
                said = process.communicate(timeout=PATIENCE_S)[1]
        systemd.close()
        listener.close()
    loud = [answer for answer in heard if answer is not None and answer["label"] == "loud"]
    assert len(loud) > 3 and abs(loud[-1]["score"] - 30_000 / 32_768) < 0.02, said
    assert process.returncode == 0, said
