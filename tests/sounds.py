"""Sound as files of every format that is read, made for a test."""

import json
import wave
from pathlib import Path
from random import Random

import numpy as np

from leo_runtime.recordings.recording import RecordedStream

RATE_HZ = 16_000


def tone_and_clicks(seconds: float = 3, channels: int = 1) -> np.ndarray:
    """int16, (samples,) or (samples, channels): a tone, noise, a click each second; no channel like another."""
    rng = np.random.default_rng(9)
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    found = []
    for channel in range(channels):
        sound = 6000 * np.sin(2 * np.pi * 440 * (channel + 1) * at) + rng.normal(0, 300, len(at))
        sound[RATE_HZ // 2 :: RATE_HZ] += 12_000
        found.append(sound)
    whole = np.rint(np.stack(found, axis=1)).astype(np.int16)
    return whole if channels > 1 else whole[:, 0]


def stream(file: str, **said: object) -> RecordedStream:
    """Of kind audio at 16 kHz."""
    whole = {"name": "mic", "kind": "audio", "file": file, "rate_hz": RATE_HZ, **said}
    return RecordedStream.model_validate_json(json.dumps(whole))


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    """16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1 if samples.ndim == 1 else samples.shape[1], 2, rate_hz, 0, "NONE", "not compressed"))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def write_sndfile(path: Path, samples: np.ndarray, subtype: str | None = None) -> Path:
    """What libsndfile writes under that name."""
    import soundfile

    if path.suffix == ".opus":
        soundfile.write(path, samples, RATE_HZ, subtype="OPUS", format="OGG")
    else:
        soundfile.write(path, samples, RATE_HZ, subtype)
    return path


def write_av(path: Path, samples: np.ndarray, codec: str | None = None, rate_hz: int = RATE_HZ) -> Path:
    """What FFmpeg writes under that name."""
    import av

    codec = codec or ("mp3" if path.suffix == ".mp3" else "aac")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    layout = {1: "mono", 2: "stereo"}[channels]
    container = av.open(str(path), "w", format="adts" if path.suffix == ".aac" else None)
    to = container.add_stream(codec, rate=rate_hz, layout=layout)
    form = {"aac": "fltp", "alac": "s16p", "mp3": "fltp"}[codec]
    to.codec_context.format = form
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), format="s16", layout=layout)
    frame.rate = rate_hz
    frame.pts = 0
    converter = av.AudioResampler(format=form, layout=layout, rate=rate_hz, frame_size=to.codec_context.frame_size)
    for part in (*converter.resample(frame), *converter.resample(None)):
        container.mux(to.encode(part))
    container.mux(to.encode(None))
    container.close()
    return path


WRITERS = {
    "wav": write_wav,
    "flac": write_sndfile,
    "ogg": write_sndfile,
    "opus": write_sndfile,
    "mp3": write_av,
    "m4a": write_av,
    "mp4": write_av,
}
"""By the end of the name."""
NEEDS = {"flac": "soundfile", "ogg": "soundfile", "opus": "soundfile", "mp3": "av", "m4a": "av", "mp4": "av"}
"""The package without which a format is neither written nor read."""


def damaged(rng: Random, whole: bytes) -> bytes:
    """A file with something wrong, more often near its beginning, where most is said in few bytes."""
    raw = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(min(len(raw), rng.choice((64, 512, len(raw))))) if raw else 0
        length = rng.choice((1, 2, 4, 30, 400))
        match rng.randrange(6):
            case 0:
                raw[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del raw[at : at + length]
            case 2:
                raw[at:at] = raw[at : at + length]
            case 3:
                raw[at : at + length] = rng.choice((b"\0", b"\xff")) * min(length, len(raw) - at)
            case 4:
                raw[at:at] = rng.randbytes(length)
            case 5:
                del raw[rng.randrange(len(raw) + 1) :]
    return bytes(raw)
