"""CSV as loggers and spreadsheets write it: separators, decimal commas, comments, units, clocks, uneven times."""

import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from leo_runtime.errors import RecordingError
from leo_runtime.recordings import table as table_text
from leo_runtime.recordings.reader import StreamData
from leo_runtime.recordings.recording import Gap, RecordedStream, Recording, read_stream

VALUES = np.random.default_rng(3).normal(0, 1, (40, 3)).round(6)
NAMES = ("x", "y", "z")


def table(
    times: Iterable[object],
    names: Iterable[str] = ("time_us", *NAMES),
    values: np.ndarray = VALUES,
    separator: str = ",",
    shown: Callable[[object], str] = str,
    end: str = "\n",
) -> str:
    lines = [separator.join(names)]
    lines += [separator.join(shown(cell) for cell in (t, *row)) for t, row in zip(times, values.tolist(), strict=True)]
    return end.join(lines) + end


def read(tmp_path: Path, text: str, **said: object) -> StreamData:
    (tmp_path / "wrist.csv").write_bytes(text.encode())
    declared = {"name": "wrist", "kind": "motion", "file": "wrist.csv", "rate_hz": 100, "channels": 3, **said}
    if declared["kind"] == "events":
        del declared["rate_hz"]
    return read_stream(tmp_path / "wrist.csv", RecordedStream.model_validate(declared))


EVEN_US = [k * 10_000 for k in range(40)]


def comma(cell: object) -> str:
    return f"{cell:.6E}".replace(".", ",") if isinstance(cell, float) else str(cell).replace(".", ",")


def seconds(times_us: Iterable[int]) -> list[float]:
    return [time_us / 1e6 for time_us in times_us]


PHYPHOX = ('"Time (s)"', *(f'"Linear Acceleration {name} (m/s^2)"' for name in NAMES))


@pytest.mark.parametrize(
    "text",
    [
        table(EVEN_US),
        "\ufeff" + table(EVEN_US),
        table(EVEN_US, end="\r\n"),
        table(EVEN_US, end="\n\n"),
        "# made by hand\n\n# at home, \"twice\n" + table(EVEN_US, end="\n# and so on\n"),
        "# " + table(EVEN_US),
        table(EVEN_US, separator=";"),
        table(EVEN_US, separator="\t"),
        table(EVEN_US, separator=";", shown=comma),
        table(EVEN_US, separator="\t", shown=comma),
        table(EVEN_US, shown=lambda cell: f'"{cell}"'),
        table(seconds(EVEN_US), PHYPHOX),
        table(seconds(EVEN_US), PHYPHOX, separator=";", shown=comma),
        table(seconds(EVEN_US), PHYPHOX, separator="\t"),
        table([t // 1000 for t in EVEN_US], ("time_ms", *NAMES)),
        table([t * 1000 for t in EVEN_US], ("sensor timestamp [ns]", *NAMES)),
        table(seconds(EVEN_US), ("seconds_elapsed", *NAMES)),
    ],
)  # fmt: skip
def test_every_dialect_gives_the_same_samples_and_nothing_to_mend(tmp_path: Path, text: str) -> None:
    if "sensor timestamp" in text:
        found = read(tmp_path, text, time_column="sensor timestamp [ns]")
    else:
        found = read(tmp_path, text)
    assert found.repairs == ()
    assert np.array_equal(found.samples, VALUES.astype(np.float32))


@pytest.mark.parametrize("rate_hz", [12.5, 100.44, 0.2])
def test_a_rate_that_is_not_whole_is_read_as_it_is(tmp_path: Path, rate_hz: float) -> None:
    found = read(tmp_path, table([round(k * 1e6 / rate_hz) for k in range(40)]), rate_hz=rate_hz)
    assert found.repairs == ()
    assert np.array_equal(found.samples, VALUES.astype(np.float32))


def test_columns_are_read_by_name_in_the_order_asked_for(tmp_path: Path) -> None:
    names = ("time", "seconds_elapsed", "z", "y", "x")
    wide = np.column_stack([seconds(EVEN_US), VALUES[:, ::-1]])
    text = table([1_700_000_000_000_000_000 + t * 1000 for t in EVEN_US], names, wide)
    with pytest.raises(RecordingError, match=r"declared with 3 channels, the file has 4: seconds_elapsed, z, y, x"):
        read(tmp_path, text)
    by_epoch = read(tmp_path, text, columns=NAMES)
    assert by_epoch.repairs == ("its times count from 1970, in ns: its first sample is taken for the start",)
    by_seconds = read(tmp_path, text, columns=NAMES, time_column="seconds_elapsed")
    assert by_seconds.repairs == ()
    for found in (by_epoch, by_seconds):
        assert np.array_equal(found.samples, VALUES.astype(np.float32))


@pytest.mark.parametrize(("unit", "per_us"), [("s", 1e-6), ("ms", 1e-3), ("us", 1), ("ns", 1000)])
@pytest.mark.parametrize("start_s", [1_700_000_000, 1_900_000_000])
def test_times_since_1970_are_known_by_their_size(tmp_path: Path, unit: str, per_us: float, start_s: int) -> None:
    times = [(start_s * 1_000_000 + t) * per_us for t in EVEN_US]
    if unit in ("us", "ns"):
        times = [int(per_us) * (start_s * 1_000_000 + t) for t in EVEN_US]
    found = read(tmp_path, table(times, ("timestamp", *NAMES)))
    assert found.repairs == (f"its times count from 1970, in {unit}: its first sample is taken for the start",)
    assert np.array_equal(found.samples, VALUES.astype(np.float32))


def test_a_clock_of_its_own_starts_with_the_first_sample_and_a_given_unit_counts(tmp_path: Path) -> None:
    text = table([5_000 + t / 1e6 for t in EVEN_US], ("t", *NAMES))
    with pytest.raises(RecordingError, match=r"wrist\.csv: column `t` does not say the unit .* the first is 5000"):
        read(tmp_path, text)
    with pytest.raises(RecordingError, match=r"holds 40 samples up to 5000\.39 s, where 500040 are due") as told:
        read(tmp_path, text, time_unit="s")
    assert '`clock = "own"`' in told.value.hint
    found = read(tmp_path, text, time_unit="s", clock="own")
    assert np.array_equal(found.samples, VALUES.astype(np.float32))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (table(EVEN_US, ("when", *NAMES)), "must name the columns, `time_us` first; it names when, x, y, z"),
        ("0,1,2,3\n10000,1,2,3\n", r"wrist\.csv:1: its first line must name the columns"),
        ("time_us\n0\n10000\n", "has times and no other columns, so no samples"),
        ("time_us;x;y;z\n0;1;2;3\n10000;1;2;3.000,5\n", r"wrist\.csv:3: `3\.000,5` is no number \(column `z`\)"),
        ("# a\ntime_us,x,y,z\n\n0,1,2,3\n# b\n10000,1,,3\n", r"wrist\.csv:6: a cell is empty \(column `y`\)"),
        ("# a\ntime_us,x,y,z\n\n0,1,2,3\n# b\n10000,1,NaN,3\n", r"wrist\.csv:6: a value is not finite, .*: NaN "),
        ("time_us,x,y,z\n0,1,2,3\n\n10000,1,2\n", r"wrist\.csv:4: expected 4 columns, got 3"),
        ("time_us,x,y,z\n0,1,2,3\n0,3,2,1\n", r"wrist\.csv:3: time does not go on"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RecordingError, match=says) as told:
        read(tmp_path, text)
    assert told.value.hint


@pytest.mark.parametrize("said", [{"columns": ("x", "y", "x")}, {"columns": ("x",), "channels": 1}])
def test_a_column_of_which_there_are_two_is_refused(tmp_path: Path, said: dict[str, object]) -> None:
    with pytest.raises(RecordingError, match=r"wrist\.csv:1: .* reads column `x`, and 2 are called so"):
        read(tmp_path, "time_us,x,y,x\n0,1,2,3\n10000,4,5,6\n", **said)


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    for said in ({"columns": ("x", "y", "w")}, {"time_column": "w"}):
        with pytest.raises(RecordingError, match="stream `wrist` reads column `w`, which the file has not") as told:
            read(tmp_path, table(EVEN_US), **said)
        assert told.value.hint == "it has time_us, x, y, z"


def test_a_gap_stays_a_gap_and_is_told(tmp_path: Path) -> None:
    times = [t + (100_000 if t >= 200_000 else 0) for t in EVEN_US]
    found = read(tmp_path, table(times))
    assert np.array_equal(found.samples[:20], VALUES[:20].astype(np.float32))
    assert not found.samples[20:30].any()
    assert np.array_equal(found.samples[30:], VALUES[20:].astype(np.float32))
    assert found.gaps == (Gap(195_000, 295_000),)
    assert found.repairs == ("nothing was recorded from 0.195 to 0.295 s; zeros stand there: 10 samples",)


def test_a_recording_knows_its_gaps(tmp_path: Path) -> None:
    (tmp_path / "wrist.csv").write_text(table([t + 100_000 for t in EVEN_US]))
    (tmp_path / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "made by a test"\n'
        'streams = [{ name = "wrist", file = "wrist.csv", rate_hz = 100, channels = 3 }]\n'
    )
    recording = Recording.from_file(tmp_path)
    assert recording.gaps == {"wrist": (Gap(0, 95_000),)}
    assert recording.repairs == ("wrist.csv: nothing was recorded from 0 to 0.095 s; zeros stand there: 10 samples",)


@pytest.mark.parametrize("size", [8, 7])
@pytest.mark.parametrize("stamped", ["first", "last"])
def test_packets_that_share_a_time_are_spread_evenly_on_wish(tmp_path: Path, size: int, stamped: str) -> None:
    at = 0 if stamped == "first" else size - 1
    times = [(k // size * size + at) * 10_000 for k in range(40)]
    with pytest.raises(RecordingError, match=r"wrist\.csv:3: time does not go on") as told:
        read(tmp_path, table(times))
    assert '`times = "first"`' in told.value.hint
    whole = 40 // size * size
    found = read(tmp_path, table(times[:whole], values=VALUES[:whole]), times=stamped)
    assert np.allclose(found.samples, VALUES[:whole], atol=1e-6)
    assert found.repairs == ("samples that share a packet's time are spread evenly over it",)


def test_rows_given_twice_and_rows_out_of_order_are_mended_and_told(tmp_path: Path) -> None:
    lines = table(EVEN_US).splitlines()
    lines = [*lines[:5], lines[4], *lines[5:10], lines[11], lines[10], *lines[12:]]
    found = read(tmp_path, "\n".join(lines))
    assert np.array_equal(found.samples, VALUES.astype(np.float32))
    assert found.repairs == (
        "rows that repeat the one before are left out: 1",
        "rows whose time steps back are put in order: 1",
    )


def test_a_clock_that_begins_anew_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"wrist\.csv:22: time goes back by 0\.19 s") as told:
        read(tmp_path, table([*EVEN_US[:20], *EVEN_US[:20]]))
    assert told.value.hint == "its clock began anew there: cut it into recordings"


def test_rows_before_the_start_are_left_out_and_told(tmp_path: Path) -> None:
    found = read(tmp_path, table([t - 30_000 for t in EVEN_US]))
    assert np.array_equal(found.samples, VALUES[3:].astype(np.float32))
    assert found.repairs == ("rows before time 0 are left out: 3",)


@pytest.mark.parametrize(
    "said",
    [
        table(EVEN_US)[:120],
        table(seconds(EVEN_US), PHYPHOX, separator=";", shown=comma)[:240],
        "# " + table(EVEN_US)[:120],
    ],
)
def test_any_changed_byte_is_read_or_refused_with_the_file(tmp_path: Path, said: str) -> None:
    path = tmp_path / "wrist.csv"
    raw = said[: said.rindex("\n") + 1].encode()
    stream = RecordedStream(name="wrist", file="wrist.csv", rate_hz=100, channels=3)
    refused = 0
    values = (0, 10, 13, ord('"'), ord("#"), ord(";"), ord("9"), ord("E"), 0xFF)
    for place in range(len(raw)):
        for value in {*values[place % 3 :: 3], raw[place] ^ 1}:  # All of them everywhere take a minute.
            path.write_bytes(raw[:place] + bytes([value]) + raw[place + 1 :])
            try:
                found = read_stream(path, stream)
            except RecordingError as error:
                assert str(error).startswith(f"{path}:")
                refused += 1
            else:
                assert len(found.samples) < 200 and np.isfinite(found.samples).all()
    assert refused > 100


def test_nanoseconds_since_1970_keep_every_one_of_them(tmp_path: Path) -> None:
    """As a float, two times 100 ns apart are the same."""
    first = 1_764_378_000_123_456_789
    steps = np.arange(0, 4000, 100)
    found = read(tmp_path, table((first + steps).tolist(), ("time", *NAMES)), rate_hz=10_000_000)
    assert np.array_equal(found.samples, VALUES.astype(np.float32))
    assert found.epoch_us == first // 1000
    assert found.repairs == ("its times count from 1970, in ns: its first sample is taken for the start",)


def test_times_beyond_64_bits_are_read_as_floats(tmp_path: Path) -> None:
    text = "time_us,x,y,z\n9223372036854775807,1,2,3\n-9223372036854775807,1,2,3\n"
    with pytest.raises(RecordingError, match=r"wrist\.csv:3: time goes back"):
        read(tmp_path, text)


@pytest.mark.parametrize("nothing", ["", " ", "NaN", "nan", "null", "NA"])
def test_a_row_in_which_something_is_missing_is_a_gap_on_wish(tmp_path: Path, nothing: str) -> None:
    lines = table(EVEN_US).splitlines()
    for k, column in ((7, 1), (20, 3), (21, 2)):
        cells = lines[k].split(",")
        cells[column] = nothing
        lines[k] = ",".join(cells)
    text = "\n".join([*lines, ""])
    with pytest.raises(RecordingError, match=r"wrist\.csv:8: "):
        read(tmp_path, text)
    found = read(tmp_path, text, missing="gap")
    assert found.gaps == (Gap(55_000, 65_000), Gap(185_000, 205_000))
    assert found.repairs[0] == "rows with a cell that holds nothing are left out: 3, the first is line 8"
    kept = np.delete(np.arange(40), [6, 19, 20])
    assert np.array_equal(np.asarray(found.samples)[kept], VALUES.astype(np.float32)[kept])


def test_a_number_that_is_none_is_refused_also_where_something_may_be_missing(tmp_path: Path) -> None:
    text = table(EVEN_US).replace(str(VALUES[3, 1]), "west")
    with pytest.raises(RecordingError, match=r"wrist\.csv:5: `west` is no number"):
        read(tmp_path, text, missing="gap")


def test_events_keep_their_times(tmp_path: Path) -> None:
    text = "time_s,bpm\n2.5,61\n1,60\n9,62\n"
    found = read(tmp_path, text, kind="events", channels=1)
    assert found.times_us is not None
    assert (found.times_us.tolist(), found.samples.tolist()) == ([1_000_000, 2_500_000, 9_000_000], [60, 61, 62])
    assert found.repairs == ("rows whose time steps back are put in order: 1",)


def test_rows_are_text_some_at_a_time_and_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = table([at + 0.25 if at == EVEN_US[-1] else at for at in EVEN_US])  # One time that is not whole.
    plain = read(tmp_path, text).samples
    monkeypatch.setattr(table_text, "_BLOCK_ROWS", 7)
    assert np.array_equal(read(tmp_path, text).samples, plain)
    for last, says in (
        ("1,2\n", "expected 4 columns, got 2"),
        ("1,2,3,x\n", "`x` is no number"),
        ("0,1,2,3\n", "back"),
    ):
        with pytest.raises(RecordingError, match=rf"wrist\.csv:{len(EVEN_US) + 2}: .*{says}"):
            read(tmp_path, table(EVEN_US) + last)


def test_an_hour_of_rows_takes_little_more_than_its_numbers(tmp_path: Path) -> None:
    rows = 60_000
    (tmp_path / "wrist.csv").write_text(
        "time_us,x,y,z\n"
        + "".join(f"{at * 10_000 + at % 3 * 700},{at % 7},{at % 11},{at % 13}\n" for at in range(rows))
    )
    tracemalloc.start()
    found = read_stream(
        tmp_path / "wrist.csv",
        RecordedStream(name="wrist", kind="motion", file="wrist.csv", rate_hz=100, channels=3),
    )
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.samples) == rows
    # As text at once it was more than 20 MB; put on the grid at once more than 15.
    assert peak_bytes < 12e6


def test_an_event_beyond_all_time_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"wrist\.csv:3: a time is beyond thirty years: 1e\+37 s"):
        read(tmp_path, "time_s,bpm\n2.5,61\n1e37,60\n", kind="events", channels=1)
