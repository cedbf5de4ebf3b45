"""The layouts of WAV that people met in public reports, each with its right value or message."""

import struct
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.recording import Recording

PLAIN = np.random.default_rng(17).integers(-30_000, 30_000, 3200).astype("<i2")
DATA = PLAIN.tobytes()
WIDE = ((PLAIN.astype("<i4") << 8) + 100).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
"""24 bits, nearly half of a step above `PLAIN`."""
GUID_END = bytes.fromhex("000000001000800000aa00389b71")
FFMPEG = b"LIST\x1a\0\0\0INFOISFT\x0e\0\0\0Lavf60.16.100\0"
MANIFEST = (
    'format = "leo-recording/1"\nname = "r"\nlicence = "CC0-1.0"\nsource = "made by a test"\n'
    'streams = [{ name = "mic", kind = "audio", file = "mic.wav", rate_hz = 16000 }]\n'
)


def chunk(name: bytes, content: bytes, said: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if said is None else said) + content


def form(bits: int = 16, rate_hz: int = 16_000, *, extensible: bool = False) -> bytes:
    size = bits // 8
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else 1, 1, rate_hz, rate_hz * size, size, bits)
    return chunk(b"fmt ", head + (struct.pack("<HHIH", 22, bits, 0, 1) + GUID_END if extensible else b""))


def riff(*chunks: bytes, said: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if said is None else said) + body


def to_the_end(said: int) -> tuple[str, ...]:
    return (f"mic.wav: its header says {said} bytes of samples; the 3200 samples up to the end of the file are read",)


RF64 = b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", struct.pack("<QQQI", 6464, len(DATA), 3200, 0))
READ = {
    "plain": (riff(form(), chunk(b"data", DATA)), 0, ()),
    "extensible, 16 bits": (riff(form(extensible=True), chunk(b"data", DATA)), 0, ()),
    "extensible, 24 bits": (riff(form(24, extensible=True), chunk(b"data", WIDE)), 2, ()),
    "24 bits": (riff(form(24), chunk(b"data", WIDE)), 2, ()),
    "FFmpeg's LIST before data": (riff(form(), FFMPEG, chunk(b"data", DATA)), 0, ()),
    "bext before fmt": (riff(chunk(b"bext", bytes(602)), form(), chunk(b"data", DATA)), 0, ()),
    "an odd LIST, not filled up": (riff(form(), chunk(b"LIST", b"INFO" + b"x" * 13), chunk(b"data", DATA)), 0, ()),
    "piped, 4 GiB": (riff(form(), chunk(b"data", DATA, 2**32 - 1), said=2**32 - 1), 0, to_the_end(2**32 - 1)),
    "piped, 2 GiB": (riff(form(), chunk(b"data", DATA, 2**31 - 58), said=2**31 - 22), 0, to_the_end(2**31 - 58)),
    "16 bytes too many": (riff(form(), chunk(b"data", DATA, len(DATA) + 16)), 0, to_the_end(len(DATA) + 16)),
    "RF64": (RF64 + form() + chunk(b"data", DATA, 2**32 - 1), 0, ()),
}  # fmt: skip
REFUSED = {
    "48 kHz, declared as 16": (riff(form(rate_hz=48_000), chunk(b"data", DATA)), "the file is at 48000 Hz", "resample"),
    "empty": (riff(form(), chunk(b"data", b"")), r"mic\.wav: holds no samples", "record it again"),
}


def recording(folder: Path, raw: bytes) -> Recording:
    (folder / "mic.wav").write_bytes(raw)
    (folder / "recording.toml").write_text(MANIFEST)
    return Recording.from_file(folder)


@pytest.mark.parametrize("case", READ)
def test_a_layout_that_programs_write_gives_its_samples(tmp_path: Path, case: str) -> None:
    raw, off, said = READ[case]
    found = recording(tmp_path, raw)
    assert len(found.samples["mic"]) == len(PLAIN)
    assert np.abs(np.asarray(found.samples["mic"]).astype(int) - PLAIN).max() <= off
    assert found.repairs == said
    assert np.array_equal(found.window("mic", 100_000, 1600), np.asarray(found.samples["mic"])[:1600])


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_with_the_way_out(tmp_path: Path, case: str) -> None:
    raw, says, hint = REFUSED[case]
    with pytest.raises(RecordingError, match=says) as told:
        recording(tmp_path, raw)
    assert hint in told.value.hint
