"""Sound of other formats than WAV: exact or near enough, at its time, in little memory; of damaged files the rest."""

import sys
import tracemalloc
from pathlib import Path
from random import Random

import numpy as np
import pytest

import sounds
from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings import samples as module
from leo_runtime.recordings.recording import read_stream

COMPRESSED = tuple(sounds.NEEDS)
LOSSY = tuple(form for form in COMPRESSED if form != "flac")
LEAST_SNR_DB = {"ogg": 20, "opus": 14, "mp3": 20, "m4a": 20, "mp4": 20}
"""Of a tone with clicks and noise, as the encoders are by default."""


def needs(form: str) -> None:
    pytest.importorskip(sounds.NEEDS[form], reason="the extra `recordings` is not installed")


def read(path: Path, **said: object) -> tuple[np.ndarray, tuple[str, ...]]:
    found = read_stream(path, sounds.stream(path.name, **said))
    assert found.samples.dtype == np.int16
    return np.asarray(found.samples), found.repairs


def lag(found: np.ndarray, given: np.ndarray) -> int:
    """By how many samples the first half second is heard late."""
    first, second = found[:9000].astype(float), given[:9000].astype(float)
    return int(np.argmax(np.correlate(first, second, "full"))) - 8999


@pytest.mark.parametrize("channels", [1, 2])
def test_flac_of_16_bits_is_exact(tmp_path: Path, channels: int) -> None:
    needs("flac")
    given = sounds.tone_and_clicks(channels=channels)
    found, repairs = read(sounds.write_sndfile(tmp_path / "mic.flac", given), channels=channels)
    assert np.array_equal(found, given)
    assert repairs == ()


def test_flac_of_24_bits_is_rounded(tmp_path: Path) -> None:
    needs("flac")
    given = np.random.default_rng(1).integers(-(2**23), 2**23, 5000)
    given[:4] = [2**23 - 1, -(2**23), 128, 127]
    found, _ = read(sounds.write_sndfile(tmp_path / "mic.flac", (given << 8).astype(np.int32), "PCM_24"))
    assert np.array_equal(found, np.minimum((given + 128) >> 8, 32_767))


@pytest.mark.parametrize("channels", [1, 2])
def test_alac_is_exact(tmp_path: Path, channels: int) -> None:
    needs("m4a")
    given = sounds.tone_and_clicks(channels=channels)
    found, repairs = read(sounds.write_av(tmp_path / "mic.m4a", given, "alac"), channels=channels)
    assert np.array_equal(found, given)
    assert repairs == ()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("form", LOSSY)
def test_what_loses_something_is_near_and_at_its_time_to_the_sample(tmp_path: Path, form: str, channels: int) -> None:
    needs(form)
    given = sounds.tone_and_clicks(channels=channels)
    found, repairs = read(sounds.WRITERS[form](tmp_path / f"mic.{form}", given), channels=channels)
    assert repairs == ()
    assert found.shape == given.shape
    one, other = found.reshape(len(found), -1).T, given.reshape(len(given), -1).T
    for heard, said in zip(one, other, strict=True):
        assert lag(heard, said) == 0
        noise = heard.astype(float) - said
        assert 10 * np.log10((said.astype(float) ** 2).mean() / (noise**2).mean()) > LEAST_SNR_DB[form]


def test_raw_aac_keeps_its_encoders_delay_as_the_page_says(tmp_path: Path) -> None:
    needs("m4a")
    given = sounds.tone_and_clicks()
    found, _ = read(sounds.write_av(tmp_path / "mic.aac", given))
    assert 1024 <= lag(found, given) <= 2112


def test_an_mp3_that_tells_nothing_of_itself_is_read_to_its_end(tmp_path: Path) -> None:
    """libsndfile reads as many samples as it guesses by the file's length: half of them, where the bit rate varies."""
    needs("mp3")
    given = sounds.tone_and_clicks(12)
    path = sounds.write_av(tmp_path / "mic.mp3", given)
    raw = path.read_bytes()
    first = raw.index(b"\xff\xf3")
    path.write_bytes(raw[raw.index(raw[first : first + 2], first + 2) :])  # Without what LAME tells.
    assert b"Xing" not in path.read_bytes() and b"Info" not in path.read_bytes()
    found, repairs = read(path)
    assert len(found) > len(given) + 1105 - 1
    assert lag(found, given) == 1105
    assert repairs == ()


@pytest.mark.parametrize("form", COMPRESSED)
def test_a_long_file_is_decoded_as_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    needs(form)
    path = sounds.WRITERS[form](tmp_path / f"mic.{form}", sounds.tone_and_clicks(120))
    whole, _ = read(path)
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 100_000)
    found = read_stream(path, sounds.stream(path.name)).samples
    assert not isinstance(found, np.ndarray)
    tracemalloc.start()
    for _policy in range(2):  # The second begins anew.
        for end in range(16_000, len(whole), 24_000):
            assert np.array_equal(found[end - 16_000 : end], whole[end - 16_000 : end])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Python's table of interned strings may grow by 2 MB just then.
    assert peak_bytes < whole.nbytes * 0.7


@pytest.mark.parametrize("form", COMPRESSED)
@pytest.mark.parametrize("share", [0.4, 0.97])
def test_of_a_file_that_was_cut_what_is_there_is_read_and_told(tmp_path: Path, form: str, share: float) -> None:
    needs(form)
    given = sounds.tone_and_clicks(12)
    path = sounds.WRITERS[form](tmp_path / f"mic.{form}", given)
    whole, _ = read(path)
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    if form in ("m4a", "mp4"):
        # Its index is at the end.
        with pytest.raises(RecordingError, match=rf"mic\.{form}: (cannot be read as|has no) sound") as told:
            read(path)
        assert told.value.hint
        return
    found, repairs = read(path)
    assert 0.2 * len(given) < len(found) < len(given)
    assert len(repairs) == 1
    assert f"{len(found)} " in repairs[0]
    # The last frames of a lossy format lack what would have come behind them.
    same = len(found) - (2000 if form in LOSSY else 0)
    assert np.array_equal(found[:same], whole[:same])


def test_where_a_packet_of_an_mp4_is_lost_zeros_stand_and_the_rest_is_at_its_time(tmp_path: Path) -> None:
    needs("m4a")
    given = sounds.tone_and_clicks()
    path = sounds.write_av(tmp_path / "mic.m4a", given, "alac")
    raw = path.read_bytes()
    at = raw.index(b"mdat") + 4 + (len(raw) - raw.index(b"mdat")) // 3
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 0xFF]) * 900 + raw[at + 900 :])
    found = read_stream(path, sounds.stream("mic.m4a"))
    samples = np.asarray(found.samples)
    assert len(samples) == len(given)
    assert np.array_equal(samples[-16_000:], given[-16_000:])
    assert found.repairs


@pytest.mark.parametrize("form", ["flac", "ogg"])
def test_what_comes_after_a_hole_in_a_file_is_read_at_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    needs(form)
    needs("m4a")
    path = sounds.WRITERS[form](tmp_path / f"mic.{form}", sounds.tone_and_clicks(12))
    whole, _ = read(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2] + bytes(2000) + raw[len(raw) // 2 + 2000 :])
    found = read_stream(path, sounds.stream(path.name))
    samples = np.asarray(found.samples)
    assert len(samples) == len(whole)
    # Two decoders of what loses something differ in the last place.
    assert np.abs(samples[-32_000:].astype(int) - whole[-32_000:]).max() <= (form == "ogg")
    (gap,) = found.gaps
    assert not samples[gap.start_us * 2 // 125 : gap.end_us * 2 // 125].any()
    assert "zeros stand there" in found.repairs[0]
    monkeypatch.setitem(sys.modules, "av", None)
    alone, said = read(path)
    assert len(alone) < len(whole)
    assert "damaged" in said[0]


@pytest.mark.parametrize("form", [*COMPRESSED, "aac"])
@pytest.mark.parametrize("content", [b"", b"time_us,x\n0,1\n", bytes(5000), b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_sound_is_refused(tmp_path: Path, form: str, content: bytes) -> None:
    needs("m4a" if form == "aac" else form)
    path = tmp_path / f"mic.{form}"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=rf"mic\.{form}: (cannot be read|holds no samples|has no sound)") as told:
        read(path)
    assert told.value.hint


@pytest.mark.parametrize("form", COMPRESSED)
def test_a_file_that_is_not_there_is_told_of_in_the_systems_words(tmp_path: Path, form: str) -> None:
    needs(form)
    with pytest.raises(RecordingError, match=rf"mic\.{form}: cannot be read \(No such file"):
        read(tmp_path / f"mic.{form}")
    with pytest.raises(RecordingError, match="cannot be read"):
        read_stream(tmp_path / "\0.flac", sounds.stream(f"mic.{form}"))


@pytest.mark.parametrize("form", COMPRESSED)
def test_without_its_package_a_format_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setitem(sys.modules, sounds.NEEDS[form], None)
    with pytest.raises(MissingExtraError, match=f"reading {form.upper()} needs the extra `recordings`") as told:
        read(tmp_path / f"mic.{form}")
    assert told.value.hint == "pip install 'leo-runtime[recordings]'"


def test_a_file_of_another_number_of_channels_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    path = sounds.write_wav(tmp_path / "mic.wav", sounds.tone_and_clicks(channels=2))
    with pytest.raises(RecordingError, match="declared with 1 channels, the file has 2") as told:
        read(path)
    assert "`take = [0]`" in told.value.hint and "`mix = true`" in told.value.hint


@pytest.mark.parametrize("form", sounds.WRITERS)
def test_damaged_files_are_read_or_refused_and_never_run_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Many more of them: tests/bench/fuzz_sound.py."""
    if form in sounds.NEEDS:
        needs(form)
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 20_000)
    path = tmp_path / f"mic.{form}"
    whole = sounds.WRITERS[form](path, sounds.tone_and_clicks(2)).read_bytes()
    rng = Random(11)
    outcomes = set()
    tracemalloc.start()
    for _ in range(60):
        path.write_bytes(sounds.damaged(rng, whole))
        try:
            found = read_stream(path, sounds.stream(path.name))
        except RecordingError as error:
            assert str(path) in str(error)
            outcomes.add("refused")
        else:
            assert np.array_equal(np.asarray(found.samples), np.asarray(found.samples))
            outcomes.add("told" if found.repairs else "read")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {"refused", "told"} <= outcomes
    assert peak_bytes < 20e6
