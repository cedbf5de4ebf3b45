"""Which channels of a file of sound are read, and at which rate."""

import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import recorded
import sounds
from leo_runtime import cli
from leo_runtime.errors import MissingExtraError, RecordingError
from leo_runtime.recordings import samples as module
from leo_runtime.recordings.recording import read_stream
from leo_runtime.recordings.samples import StoredSamples
from leo_runtime.recordings.sound import resampled

HERE = Path("mic.wav")


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"take": [1]}, lambda data: data[:, 1]),
        ({"take": [2, 0], "channels": 2}, lambda data: data[:, [2, 0]]),
        ({"take": [1, 1], "channels": 2}, lambda data: data[:, [1, 1]]),
        ({"mix": True}, lambda data: np.rint(data.mean(axis=1))),
        ({"mix": True, "take": [0, 2]}, lambda data: np.rint(data[:, [0, 2]].mean(axis=1))),
    ],
)
def test_channels_are_taken_in_their_order_or_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, object], wanted: object, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    data = sounds.tone_and_clicks(0.5, channels=3)
    found = read_stream(sounds.write_wav(tmp_path / "mic.wav", data), sounds.stream("mic.wav", **said)).samples
    assert isinstance(found, np.ndarray) == in_memory
    assert found.dtype == np.int16
    assert np.array_equal(np.asarray(found), wanted(data))  # type: ignore[operator]


def test_one_channel_may_be_mixed_too(tmp_path: Path) -> None:
    data = sounds.tone_and_clicks(0.1)
    path = sounds.write_wav(tmp_path / "mic.wav", data)
    for said in ({"mix": True}, {"take": [0]}):
        assert np.array_equal(read_stream(path, sounds.stream("mic.wav", **said)).samples, data)


def test_a_channel_that_the_file_has_not_is_refused(tmp_path: Path) -> None:
    path = sounds.write_wav(tmp_path / "mic.wav", sounds.tone_and_clicks(0.1, channels=2))
    with pytest.raises(RecordingError, match=r"mic\.wav: stream `mic` takes channel 2, and the file has 2") as told:
        read_stream(path, sounds.stream("mic.wav", take=[2]))
    assert told.value.hint == "they count from 0, so the last one is 1"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"take": [0, 1]}, "`take` names 2, and the stream has 1"),
        ({"mix": True, "channels": 2}, "`mix` makes one channel, and the stream has 2"),
        ({"take": [-1]}, "greater than or equal to 0"),
        ({"take": [0], "kind": "motion"}, "`take` is for streams of kind `audio`"),
        ({"resample": True, "kind": "other"}, "`resample` is for streams of kind `audio`"),
    ],
)
def test_what_means_nothing_is_refused_in_the_manifest(said: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        sounds.stream("mic.wav", **said)


def tone(hz: float, rate_hz: float, seconds: float = 2, level: float = 10_000) -> np.ndarray:
    return np.rint(level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.int16)


def needs_soxr() -> None:
    pytest.importorskip("soxr", reason="the extra `recordings` is not installed")


@pytest.mark.parametrize("from_hz", [48_000, 44_100, 22_050, 8_000, 15_999.5])
def test_a_tone_keeps_its_time_and_its_level(from_hz: float) -> None:
    needs_soxr()
    hz = 1234.5
    found, cut = resampled(HERE, tone(hz, from_hz), from_hz, 16_000)
    assert cut == 0
    assert abs(len(found) - 32_000) <= 1
    # But at the ends, where the tone begins and ends suddenly, sample k is that of time k / 16,000 s.
    middle = slice(1000, 31_000)
    assert np.abs(np.asarray(found)[middle].astype(float) - tone(hz, 16_000)[middle]).max() <= 2


@pytest.mark.parametrize("hz", [8_500, 9_000, 12_000, 15_000, 20_000, 23_000])
def test_what_is_above_half_the_new_rate_is_gone_and_not_mirrored(hz: float) -> None:
    needs_soxr()
    found, _ = resampled(HERE, tone(hz, 48_000, level=30_000), 48_000, 16_000)
    assert np.abs(np.asarray(found)[1000:-1000].astype(int)).max() <= 1


def test_half_of_what_was_done_at_once_in_parts_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_soxr()
    import soxr

    data = np.random.default_rng(2).integers(-20_000, 20_000, (100_000, 2)).astype(np.int16)
    whole = np.rint(soxr.resample(data.astype(np.float32), 44_100, 16_000, quality="HQ")).astype(np.int16)
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 10_000)
    monkeypatch.setattr(module, "BLOCK_BYTES", 3_001)
    lazily = StoredSamples(data.shape, data.dtype, lambda first, last: data[first:last])
    found, _ = resampled(HERE, lazily, 44_100, 16_000)
    assert not isinstance(found, np.ndarray)
    assert found.shape == whole.shape
    for first, last in ((0, 1000), (500, 2500), (30_000, 31_000), (10, 20)):
        assert np.array_equal(found[first:last], whole[first:last])
    assert np.array_equal(np.asarray(found), whole)


def test_what_a_filter_takes_beyond_the_greatest_value_is_cut_off_and_told(tmp_path: Path) -> None:
    needs_soxr()
    square = np.where(np.arange(48_000) // 100 % 2, 32_767, -32_768).astype(np.int16)
    path = sounds.write_wav(tmp_path / "mic.wav", square, 48_000)
    found = read_stream(path, sounds.stream("mic.wav", resample=True))
    assert np.asarray(found.samples).max() == 32_767
    assert found.repairs[0] == "its 48000 Hz are made 16000 Hz by soxr"
    assert found.repairs[1].startswith("samples that this took beyond the greatest value are cut off there: ")


def test_a_file_at_that_rate_already_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    data = sounds.tone_and_clicks(0.2)
    found = read_stream(sounds.write_wav(tmp_path / "mic.wav", data), sounds.stream("mic.wav", resample=True))
    assert np.array_equal(found.samples, data)
    assert found.repairs == ()


def test_without_its_package_another_rate_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    path = sounds.write_wav(tmp_path / "mic.wav", sounds.tone_and_clicks(0.2), 48_000)
    with pytest.raises(MissingExtraError) as told:
        read_stream(path, sounds.stream("mic.wav", resample=True))
    assert told.value.hint == "pip install 'leo-runtime[recordings]'"


@pytest.mark.parametrize("rate_hz", [1, 60, 2**32 - 1])
def test_rates_too_far_apart_are_a_mistake(tmp_path: Path, rate_hz: int) -> None:
    needs_soxr()
    path = sounds.write_wav(tmp_path / "mic.wav", sounds.tone_and_clicks(0.2))
    raw = bytearray(path.read_bytes())
    raw[24:28] = rate_hz.to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(RecordingError, match=rf"mic\.wav: is at {rate_hz} Hz, which is not made 16000 Hz"):
        read_stream(path, sounds.stream("mic.wav", resample=True))


def test_no_samples_at_all_are_too_short() -> None:
    needs_soxr()
    with pytest.raises(RecordingError, match=r"mic\.wav: too short to be made 16000 Hz"):
        resampled(HERE, np.zeros(0, np.int16), 48_000, 16_000)


def held(path: Path, times: int = 3) -> np.ndarray:
    """Sound at 16 kHz, in a file at three times that rate, each sample so often."""
    plain = sounds.tone_and_clicks(2)
    sounds.write_wav(path, np.repeat(plain, times), 16_000 * times)
    return plain


def test_48_khz_in_front_of_models_of_16_khz_is_refused_with_the_key_and_read_with_it(tmp_path: Path) -> None:
    plain = held(tmp_path / "mic.wav")
    with pytest.raises(RecordingError, match="is declared at 16000 Hz, the file is at 48000 Hz") as told:
        read_stream(tmp_path / "mic.wav", sounds.stream("mic.wav"))
    assert "`resample = true`" in told.value.hint
    needs_soxr()
    found = np.asarray(read_stream(tmp_path / "mic.wav", sounds.stream("mic.wav", resample=True)).samples)
    assert len(found) == len(plain)
    # Each sample, held for three, is the sample through a filter (1 + z^-1 + z^-2) / 3 at 48 kHz, and is read as that.
    hz = np.fft.rfftfreq(len(plain), 1 / 16_000)
    turn = np.exp(-2j * np.pi * hz / 48_000)
    wanted, heard = np.fft.rfft(plain * 1.0) * (1 + turn + turn**2) / 3, np.fft.rfft(found * 1.0)
    flat = hz < 7_000
    assert np.abs(heard - wanted)[flat].max() < 1e-3 * np.abs(wanted).max()


def test_48_khz_told_as_such_is_refused_by_replay_with_the_key_and_replayed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    with wave.open("recording/mic.wav") as file:
        plain = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    sounds.write_wav(Path("recording/mic.wav"), np.repeat(plain, 3), 48_000)
    manifest = Path("recording/recording.toml")
    text = manifest.read_text()
    manifest.write_text(text.replace("rate_hz = 16000", "rate_hz = 48000"))
    arguments = ["--workload", "workload.json", "--hardware", "machine.json", "--profile", "profile.json", "--virtual"]
    assert cli.main(["replay", "recording", *arguments, "--no-compare"]) == 2
    said = capsys.readouterr().err
    assert "with rate_hz 48000, workload `ears` reads 16000" in said
    assert "hint: in a recording.toml, `rate_hz = 16000` and `resample = true` of the stream convert it" in said
    needs_soxr()
    manifest.write_text(text.replace("rate_hz = 16000", "rate_hz = 16000\nresample = true"))
    assert cli.main(["replay", "recording", *arguments, "--no-compare"]) == 0
    assert "\nmended: mic.wav: its 48000 Hz are made 16000 Hz by soxr\n" in capsys.readouterr().out
