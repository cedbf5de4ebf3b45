"""Samples that are read when they are asked for are those of an array, and take no more memory than what is asked."""

import tracemalloc
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leo_runtime.errors import RecordingError
from leo_runtime.recordings import samples as module
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.recording import Recording, RecordingManifest, read_stream
from leo_runtime.recordings.samples import DecodedSamples, Samples, StoredSamples, blocks, gathered, kept
from leo_runtime.recordings.stream import RecordedStream

ALL = np.arange(2000, dtype=np.int16).reshape(1000, 2)
HERE = Path("sound.dat")


def decoded(data: np.ndarray = ALL, block: int = 70) -> DecodedSamples:
    def decode() -> Iterator[np.ndarray]:
        for first in range(0, len(data), block):
            yield data[first : first + block]

    return DecodedSamples(HERE, data.shape, data.dtype, decode)


def stored(data: np.ndarray = ALL) -> StoredSamples:
    return StoredSamples(data.shape, data.dtype, lambda first, last: data[first:last])


@pytest.mark.parametrize("made", [stored, decoded])
@given(spans=st.lists(st.tuples(st.integers(-1100, 1100), st.integers(-1100, 1100)), max_size=20))
def test_any_span_in_any_order_is_that_of_the_array(made: type, spans: list[tuple[int, int]]) -> None:
    found = made()
    assert isinstance(found, Samples)
    assert (found.shape, found.dtype, len(found)) == (ALL.shape, ALL.dtype, 1000)
    for first, last in spans:
        assert np.array_equal(found[first:last], ALL[first:last])
    assert np.array_equal(np.asarray(found), ALL)
    assert np.array_equal(found[::-3], ALL[::-3])


def test_an_array_is_samples_as_it_is() -> None:
    assert isinstance(ALL, Samples)
    assert kept(ALL) is ALL


def test_windows_that_go_forward_decode_once_whatever_their_lengths() -> None:
    begun = []

    def decode() -> Iterator[np.ndarray]:
        begun.append(True)
        yield from (ALL[first : first + 70] for first in range(0, 1000, 70))

    found = DecodedSamples(HERE, ALL.shape, ALL.dtype, decode)
    for end in range(200, 1000, 50):
        for length in (100, 20, 200):
            assert np.array_equal(found[end - length : end], ALL[end - length : end])
    # Once more at the start, when the second length turned out longer than the first.
    assert len(begun) == 2


def test_what_was_decoded_is_kept_no_longer_than_the_longest_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 4000)
    data = np.zeros(1_000_000, np.int16)

    def decode() -> Iterator[np.ndarray]:
        for first in range(0, len(data), 1000):
            yield np.zeros(len(data[first : first + 1000]), np.int16)

    found = DecodedSamples(HERE, data.shape, data.dtype, decode)
    assert len(np.asarray(found)) == len(data)
    tracemalloc.start()
    for end in range(2000, len(data), 500):
        found[end - 2000 : end]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 40_000


def test_a_file_that_became_shorter_is_told_of() -> None:
    found = DecodedSamples(HERE, (100,), np.int16, lambda: iter([np.zeros(60, np.int16)]))
    with pytest.raises(RecordingError, match=r"sound\.dat: ends at sample 60, and had 100 when it was opened"):
        found[50:70]


def test_blocks_are_all_of_it_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 100)
    for samples in (ALL, stored(), decoded()):
        found = list(blocks(samples))
        assert {len(block) for block in found} == {25}
        assert np.array_equal(np.concatenate(found), ALL)


def test_a_short_stream_is_an_array_and_a_long_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(kept(stored()), np.ndarray)
    assert isinstance(gathered(HERE, lambda: iter([ALL, ALL])), np.ndarray)
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", ALL.nbytes - 1)
    assert isinstance(kept(stored()), StoredSamples)
    found = gathered(HERE, lambda: iter([ALL, ALL]))
    assert isinstance(found, DecodedSamples)
    assert np.array_equal(np.asarray(found), np.concatenate([ALL, ALL]))
    assert gathered(HERE, lambda: iter([])) is None


def long_wav(path: Path, seconds: int) -> np.ndarray:
    sound = np.random.default_rng(5).integers(-30_000, 30_000, seconds * 16_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(sound.tobytes())
    return sound


MIC = RecordedStream(name="mic", kind="audio", file="mic.wav", rate_hz=16_000)


def test_a_long_wav_is_read_span_by_span_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 100_000)
    sound = long_wav(tmp_path / "mic.wav", 120)
    tracemalloc.start()
    found = read_stream(tmp_path / "mic.wav", MIC)
    manifest = RecordingManifest(
        format="leo-recording/1", name="r", licence="CC0-1.0", source="made by a test", streams=(MIC,)
    )
    recording = Recording(manifest, {"mic": found.samples})
    assert recording.duration_us == 120_000_000
    for end_us in range(0, 120_000_001, 250_000):
        end = end_us * 16_000 // 1_000_000
        window = recording.window("mic", end_us, 16_000)
        assert np.array_equal(window[max(0, 16_000 - end) :], sound[max(0, end - 16_000) : end])
        assert not window[: max(0, 16_000 - end)].any()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 400_000 < sound.nbytes / 9


def test_a_wav_that_is_cut_while_it_is_used_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 1000)
    long_wav(tmp_path / "mic.wav", 1)
    found = read_stream(tmp_path / "mic.wav", MIC).samples
    (tmp_path / "mic.wav").write_bytes((tmp_path / "mic.wav").read_bytes()[:1044])
    assert len(found[:500]) == 500
    with pytest.raises(RecordingError, match=r"mic\.wav: ends before sample 501, and had 16000 when it was opened"):
        found[:501]
    (tmp_path / "mic.wav").unlink()
    with pytest.raises(RecordingError, match=r"mic\.wav: cannot be read as WAV \(No such file"):
        found[:1]


def test_floats_are_checked_and_converted_span_by_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(module, "BLOCK_BYTES", 800)
    values = np.linspace(-1.5, 1.5, 3000)
    monkeypatch.setattr(
        "leo_runtime.recordings.recording.SHIPPED", {"wav": lambda *_: StreamData(stored(values), 16_000)}
    )
    found = read_stream(HERE, MIC)
    assert isinstance(found.samples, StoredSamples)
    assert found.repairs == (f"values outside -1 to 1 are cut off there: {np.count_nonzero(abs(values) > 1)}",)
    assert np.array_equal(np.asarray(found.samples)[1000:2000], np.rint(values[1000:2000] * 32768))
    values[2222] = np.nan
    with pytest.raises(RecordingError, match=r"sound\.dat: sample 2222, channel 0, is not finite"):
        read_stream(HERE, MIC)
