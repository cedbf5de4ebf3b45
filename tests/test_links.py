"""Network traces as the links of a recording."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from pydantic import ValidationError

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.links import LinkFile, LinkSample, read_links
from leo_runtime.recordings.recording import Recording


def link(form: str = "rates", **more: object) -> LinkFile:
    return LinkFile.model_validate_json(
        json.dumps({"file": "x", "format": form, "source": "phone", "target": "cloud", "latency_us": 20_000} | more)
    )


def changes(path: Path, text: str, lasts_us: int, form: str = "rates", **more: object) -> list[tuple[int, int | None]]:
    (path / "x").write_text(text)
    found = read_links(path / "x", link(form, **more), lasts_us)
    assert {(one.source, one.target, one.latency_us) for one in found.samples} == {("phone", "cloud", 20_000)}
    return [(one.time_us, one.bytes_per_s) for one in found.samples]


def test_rates_hold_from_their_time_on_and_the_first_from_the_start(tmp_path: Path) -> None:
    text = "# made up\n0.5\t8\n1.25 8.0\n\n2.5;0\n3.0,1.6\n9 4\n"
    assert changes(tmp_path, text, 5_000_000) == [(0, 1_000_000), (2_500_000, None), (3_000_000, 200_000)]


def test_the_last_rate_stays_or_the_trace_begins_anew(tmp_path: Path) -> None:
    text = "0 8\n1 16\n"
    assert changes(tmp_path, text, 4_000_000) == [(0, 1_000_000), (1_000_000, 2_000_000)]
    assert [at for at, _ in changes(tmp_path, text, 4_000_000, repeat=True)] == [k * 1_000_000 for k in range(5)]


def test_times_since_1970_and_names_of_columns_are_understood(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("time,bandwidth\n1289406400.5,8\n1289406401.5,4\n")
    found = read_links(tmp_path / "x", link(), 9_000_000)
    assert [one.time_us for one in found.samples] == [0, 1_000_000]
    assert found.repairs == ("its times count from 1970: its first is taken for the start",)
    assert changes(tmp_path, "time_s,4g_mbit\n0,8\n1,4\n", 9_000_000) == [(0, 1_000_000), (1_000_000, 500_000)]


@pytest.mark.parametrize(("a_second", "unit"), [(10**3, "ms"), (10**6, "us"), (10**9, "ns")])
def test_times_since_1970_are_of_the_unit_that_makes_them_of_this_age(tmp_path: Path, a_second: int, unit: str) -> None:
    (tmp_path / "x").write_text(f"{1289406400 * a_second} 8\n{1289406402 * a_second} 4\n")
    found = read_links(tmp_path / "x", link(), 9_000_000)
    assert [(one.time_us, one.bytes_per_s) for one in found.samples] == [(0, 1_000_000), (2_000_000, 500_000)]
    assert found.repairs == (f"its times count from 1970 in {unit}: its first is taken for the start",)


def test_packets_of_mahimahi_are_a_rate_each_second(tmp_path: Path) -> None:
    packets = [*range(1, 1001), *range(1001, 2001, 2), *[4000] * 3]  # 1500 bytes a ms, then half, none, a burst.
    text = "\n".join(map(str, packets)) + "\n"
    assert changes(tmp_path, text, 8_000_000, "mahimahi") == [
        (0, 1_500_000),
        (1_000_000, 750_000),
        (2_000_000, None),
        (3_000_000, 4_500),
        (4_000_000, 1_500_000),
        (5_000_000, 750_000),
        (6_000_000, None),
        (7_000_000, 4_500),
    ]


def test_a_mahimahi_trace_of_one_line_is_a_steady_rate(tmp_path: Path) -> None:
    assert changes(tmp_path, "1\n", 3_600_000_000, "mahimahi") == [(0, 1_500_000)]
    # Two a turn of 3 ms; a turn does not divide the second, and no packet is lost for it.
    rates = changes(tmp_path, "0\n3\n", 3_000_000, "mahimahi")
    assert rates[0] == (0, 1_000_500)  # 667 packets, as the one at 0 has passed already
    assert sum(rate or 0 for _, rate in rates) == pytest.approx(3_000_000, rel=2e-3)


def test_packets_are_counted_once_whatever_the_step(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    packets = np.sort(rng.integers(1, 5_001, 2_000))
    packets[-1] = 5_000
    text = "\n".join(map(str, packets.tolist()))
    for step_us in (1_000, 10_000, 250_000, 1_000_000, 5_000_000):
        (tmp_path / "x").write_text(text)
        found = read_links(tmp_path / "x", link("mahimahi", step_us=step_us), 5_000_000).samples
        ends = [*(one.time_us for one in found[1:]), 5_000_000]
        sent = sum((end - one.time_us) * (one.bytes_per_s or 0) for one, end in zip(found, ends, strict=True))
        assert sent / 1e6 == pytest.approx(2_000 * 1500, rel=1e-3)


@pytest.mark.parametrize(
    ("form", "text", "says"),
    [
        ("rates", "", "holds no rates"),
        ("rates", "0 1\n1 fast\n", r"x:2: expected `seconds Mbit/s`, got `1 fast`"),
        ("rates", "0 1\n1\n", r"x:2: expected `seconds Mbit/s`"),
        ("rates", "0 nan\n", r"x:1: is no time and rate"),
        ("rates", "0 -1\n", r"x:1: is no time and rate"),
        ("rates", "0 1\n1 2000000\n", r"x:2: is no rate of a link in Mbit/s: `1 2000000`"),
        ("rates", "0 1\n5 1\n4 1\n", r"x:3: time goes back, to 4 s after 5 s"),
        ("mahimahi", "", "lasts no time"),
        ("mahimahi", "0\n0\n", "lasts no time"),
        ("mahimahi", "5\n4\n", r"x:2: time goes back, to 4 ms after 5"),
        ("mahimahi", "0.5 8\n", r"x:1: expected the ms at which a packet may pass, got `0.5 8`"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_line(tmp_path: Path, form: str, text: str, says: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(RecordingError, match=says) as told:
        read_links(tmp_path / "x", link(form), 1_000_000)
    assert told.value.hint


def test_a_trace_of_no_length_is_not_repeated_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leo_runtime.recordings.links._MOST_SAMPLES", 1_000)
    with pytest.raises(RecordingError, match="cannot be repeated"):
        changes(tmp_path, "0 8\n", 1_000_000, repeat=True)
    with pytest.raises(RecordingError, match="more than 1000 samples"):
        changes(tmp_path, "0 8\n0.000001 9\n", 3_600_000_000, repeat=True)


def test_a_recording_has_the_links_of_its_traces(tmp_path: Path) -> None:
    np.save(tmp_path / "wrist.npy", np.zeros(30, np.float32))
    (tmp_path / "up.txt").write_text("0 8\n1 0\n")
    (tmp_path / "down").write_text("1\n")
    (tmp_path / "recording.toml").write_text(
        """
format = "leo-recording/1"
name = "walk"
licence = "none"
source = "made by a test"
streams = [{ name = "wrist", kind = "motion", file = "wrist.npy", rate_hz = 10 }]
link_files = [
    { file = "up.txt", format = "rates", source = "phone", target = "cloud", latency_us = 30_000 },
    { file = "down", format = "mahimahi", source = "cloud", target = "phone", latency_us = 30_000 },
]
"""
    )
    manifest = Recording.from_file(tmp_path).manifest
    assert manifest.link_files == ()
    assert manifest.links == (
        LinkSample(time_us=0, source="phone", target="cloud", latency_us=30_000, bytes_per_s=1_000_000),
        LinkSample(time_us=1_000_000, source="phone", target="cloud", latency_us=30_000),
        LinkSample(time_us=0, source="cloud", target="phone", latency_us=30_000, bytes_per_s=1_500_000),
    )


WHOLE = {
    "rates": "\n".join(f"{k / 3} {k % 7}" for k in range(50)),
    "mahimahi": "\n".join(map(str, range(50))),
    "g-nettrack": "Timestamp,State,DL_bitrate,UL_bitrate\n"
    + "\n".join(f"2019.12.16_13.40.{k:02},D,{k * 9},{k % 7}" for k in range(20)),
}


@pytest.mark.parametrize("form", WHOLE)
def test_damaged_traces_are_read_or_refused(tmp_path: Path, form: str) -> None:
    rng = Random(0)
    whole, more = WHOLE[form].encode(), {"direction": "up"} if form == "g-nettrack" else {}
    for _ in range(1_000):
        raw = bytearray(whole)
        for _ in range(rng.choice((1, 2, 5))):
            at = rng.randrange(len(raw))
            raw[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        (tmp_path / "x").write_bytes(raw)
        try:
            read_links(tmp_path / "x", link(form, **more), 60_000_000)
        except RecordingError as error:
            assert "\n" not in str(error)


NETTRACK = """\
Timestamp,Longitude,Latitude,Speed,State,DL_bitrate,UL_bitrate,PINGAVG
2019.12.16_23.59.57,-8.4,51.8,0,I,12,3,-
2019.12.16_23.59.58,-8.4,51.8,0,D,8000,800,-
2019.12.16_23.59.58,-8.4,51.8,0,D,16000,800,31
2019.12.16_23.59.59,-8.4,51.8,0,D,-,800,-
2019.12.17_00.00.00,-8.4,51.8,0,D,0,1600.5,-
2019.12.17_00.00.20,-8.4,51.8,0,D,4000,800,-
"""


def test_logs_of_phones_are_read_in_the_direction_that_is_said(tmp_path: Path) -> None:
    down = changes(tmp_path, NETTRACK, 60_000_000, "g-nettrack", direction="down")
    assert down == [(0, 1_500_000), (2_000_000, None), (22_000_000, 500_000)]
    up = changes(tmp_path, NETTRACK, 60_000_000, "g-nettrack", direction="up")
    assert up == [(0, 100_000), (2_000_000, 200_062), (22_000_000, 100_000)]
    assert read_links(tmp_path / "x", link("g-nettrack", direction="down"), 60_000_000).repairs == (
        "rows when nothing was loaded are left out: 1",
        "rows without a known DL_bitrate are left out: 1",
        "rows of a second that has one already are put together, as their mean: 1",
        "gaps of more than 5 s, where the rate before them holds: 1, 20 s",
    )


def test_logs_of_phones_may_begin_anew_and_have_other_columns(tmp_path: Path) -> None:
    text = "\ufeff UL_bitrate , Timestamp\n8,2020.02.29_10.00.00\n16,2020.02.29_10.00.01\n\n"
    found = changes(tmp_path, text, 3_000_000, "g-nettrack", direction="up", repeat=True)
    assert found == [(0, 1000), (1_000_000, 2000), (2_000_000, 1000), (3_000_000, 2000)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "x:1: has no column `Timestamp`"),
        ("0 8\n", "x:1: has no column `Timestamp`"),
        ("Timestamp,DL_bitrate\n", "x:1: has no column `UL_bitrate`"),
        ("Timestamp,UL_bitrate,UL_bitrate\n", "x:1: has more than one column `UL_bitrate`"),
        ("Timestamp,UL_bitrate,State\n2019.12.16_13.40.04,5,I\n", "x: holds no rates"),
        ("Timestamp,UL_bitrate\n2019.12.16_13.40.04\n", "x:2: has 1 columns of 2"),
        ("Timestamp,UL_bitrate\n2019.13.16_13.40.04,5\n", "x:2: Timestamp is no time: `2019.13.16_13.40.04`"),
        ("Timestamp,UL_bitrate\n1576503604,5\n", "x:2: Timestamp is no time: `1576503604`"),
        ("Timestamp,UL_bitrate\n2019.12.16_13.40.04,-5\n", "x:2: UL_bitrate is no rate: `-5`"),
        ("Timestamp,UL_bitrate\n2019.12.16_13.40.04,nan\n", "x:2: UL_bitrate is no rate: `nan`"),
        (
            "Timestamp,UL_bitrate\n2019.12.16_13.40.04,5\n2019.12.16_13.40.03,5\n",
            "x:3: time goes back, to 2019-12-16 13:40:03 after 2019-12-16 13:40:04",
        ),
        ("Timestamp,UL_bitrate\n2019.12.16_13.40.04,5\n2029.12.16_13.40.04,5\n", "x: lasts 3.15619e"),
        ("Timestamp,UL_bitrate\n" + '"' + "x" * 200_000, "x: cannot be read as a network trace"),
    ],
)
def test_what_is_no_log_of_a_phone_is_refused_with_the_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RecordingError) as told:
        changes(tmp_path, text, 1_000_000, "g-nettrack", direction="up")
    assert says in str(told.value)
    assert "network trace" in says or told.value.hint


@pytest.mark.parametrize(("form", "more"), [("g-nettrack", {}), ("rates", {"direction": "up"})])
def test_a_direction_is_said_of_traces_that_have_both(form: str, more: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="direction"):
        link(form, **more)
