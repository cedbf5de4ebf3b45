"""Logs are read line by line, both formats, whole or cut off; what is damaged is named with its place."""

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import run_logs
from leo_runtime.errors import DocumentError, InputError, LeoError
from leo_runtime.replay import log_reader
from leo_runtime.replay.differences import differences
from leo_runtime.replay.frame_facts import overview
from leo_runtime.replay.log_reader import RunLog, is_log, read_log
from leo_runtime.replay.tally import tally


def test_a_log_is_read_whole(tmp_path: Path) -> None:
    with read_log(run_logs.write(tmp_path / "run", *run_logs.usual())) as log:
        assert log.is_whole and not log.cut and log.missing == ()
        assert [frame.frame for frame in log.frames()] == [0, 1, 2] == list(log.numbers)
        assert log.at(log.position(1)).stages[1].resource == "cpu"
        assert log.end is not None
        assert sum(entry.nj for entry in log.entries()) == log.end.nj
        causes = {entry.cause for entry in log.entries()}
        assert causes == {"run", "transfer", "wake-up", "awake", "idle tail"}


def test_a_log_is_found_by_its_file_too(tmp_path: Path) -> None:
    folder = run_logs.write(tmp_path / "run", *run_logs.usual())
    with read_log(str(folder / "log.jsonl")) as log:
        assert len(log.numbers) == 3
    assert is_log(folder) and is_log(folder / "log.jsonl")
    assert not is_log(tmp_path / "nothing") and not is_log(Path("a\0b"))


def test_energy_is_shared_out_as_the_ledger_does(tmp_path: Path) -> None:
    with read_log(run_logs.write(tmp_path / "run", *run_logs.usual(1))) as log:
        awake = next(entry for entry in log.entries() if entry.cause == "awake")
        assert awake.shares() == (("knock", 750_001), ("level", 750_000))


def test_frames_are_found_by_their_time(tmp_path: Path) -> None:
    with read_log(run_logs.write(tmp_path / "run", *run_logs.usual())) as log:
        assert [log.released_at(at_us) for at_us in (0, 1_000_000, 1_999_999, 2_000_000, 10_000_000)] == [0, 0, 0, 1, 2]
        with pytest.raises(InputError, match=r"nothing was released at 10\.5 s") as raised:
            log.released_at(10_500_000)
        assert raised.value.hint == "the run lasted 10 s"


def test_a_frame_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with (
        read_log(run_logs.write(tmp_path / "run", *run_logs.usual())) as log,
        pytest.raises(InputError, match="there is no frame 3") as raised,
    ):
        log.position(3)
    assert raised.value.hint == "its frames are 0 to 2"
    with (
        read_log(run_logs.write(tmp_path / "none", run_logs.head())) as log,
        pytest.raises(InputError, match="no frame of this run has ended"),
    ):
        log.position(0)


def test_frames_come_in_the_order_of_their_releases_too(tmp_path: Path) -> None:
    parts = run_logs.usual()
    parts[1], parts[3] = parts[3], parts[1]
    with read_log(run_logs.write(tmp_path / "run", *parts)) as log:
        assert [frame.frame for frame in log.frames()] == [1, 0, 2]
        assert [frame.frame for frame in log.frames_by_release()] == [0, 1, 2]


@pytest.mark.parametrize("left", [1, 20, 200])
def test_half_a_last_line_ends_the_log_before_it(tmp_path: Path, left: int) -> None:
    text = run_logs.lines(*run_logs.usual()[:6])  # The last one is frame 2.
    (tmp_path / "log.jsonl").write_text(text[:-left])
    with read_log(tmp_path) as log:
        expected = [0, 1, 2] if left == 1 else [0, 1]
        assert list(log.numbers) == expected
        assert not log.is_whole
        assert log.cut == (
            "the run was interrupted, or goes on"
            if left == 1
            else "line 6 was cut off: the run was interrupted as it was written"
        )


def test_a_line_that_is_damaged_is_named_with_a_way_out(tmp_path: Path) -> None:
    text = run_logs.lines(*run_logs.usual()).replace('"frame":1,"release_us":2000000', '"frame":1,"release_us":"2"', 1)
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(DocumentError) as raised:
        read_log(tmp_path)
    assert str(raised.value) == f'{tmp_path}/log.jsonl:4: expected an integer, got "2", at $.release_us'
    assert "head -n" in raised.value.hint


@pytest.mark.parametrize(("pack", "tool"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz")])
def test_a_packed_log_is_told_with_what_unpacks_it(tmp_path: Path, pack: Callable[[bytes], bytes], tool: str) -> None:
    path = tmp_path / "log.jsonl.packed"
    path.write_bytes(pack(run_logs.lines(*run_logs.usual()).encode()))
    assert log_reader.is_log(path)
    with pytest.raises(DocumentError, match=f"is packed by {tool}") as raised:
        read_log(path)
    assert raised.value.hint == f"unpack it: {tool} -d -k FILE"
    with pytest.raises(InputError, match=r"holds no `log\.jsonl`") as missing:
        read_log(tmp_path)
    assert missing.value.hint == "unpack `log.jsonl.packed` first"


def test_writers_may_put_keys_in_any_order_and_space_between(tmp_path: Path) -> None:
    parts = [dict(sorted(part.items(), reverse=True)) for part in run_logs.usual()]
    (tmp_path / "log.jsonl").write_text("\n\n".join(json.dumps(part) for part in parts) + "\n")
    with read_log(tmp_path) as log:
        assert [frame.frame for frame in log.frames()] == [0, 1, 2]
        assert log.end is not None and sum(entry.nj for entry in log.entries()) == log.end.nj


def test_half_a_character_in_an_error_is_read(tmp_path: Path) -> None:
    parts = run_logs.usual(1)
    parts[1]["stages"][0] |= {"outcome": "failed", "error": "X \ud800 Y"}
    with read_log(run_logs.write(tmp_path / "run", *parts)) as log:
        assert log.at(0).stages[0].error == "X ? Y"
        assert {entry.cause for entry in log.entries()} >= {"failed run"}


def test_a_log_of_the_first_format_is_read_as_far_as_it_holds(tmp_path: Path) -> None:
    (tmp_path / "demo.virtual.log.jsonl").write_text(run_logs.LOG_1)
    with read_log(tmp_path / "demo.virtual.log.jsonl") as log:
        assert log.missing == log_reader.NOT_IN_LOG_1
        assert log.is_whole
        (frame,) = log.frames()
        assert (frame.graphs[0].label, frame.stages[0].graphs) == ("tap", ())
        assert {entry.cause: entry.nj for entry in log.entries()} == {"run": 900_000, "transfer": 1000, "solver": 5000}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds nothing"),
        ("\n", "holds nothing"),
        ("hello\n", "no log of a run: its first line is no JSON object"),
        ("[1]\n", "no JSON object"),
        ('{"format":"leo-workload/1"}\n', "its format is 'leo-workload/1'"),
        ('{"format":"leo-log/2"}\n', "is missing"),
        ("[" * 100_000, "no JSON object"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(DocumentError, match=says) as raised:
        read_log(tmp_path)
    assert raised.value.hint


@pytest.mark.parametrize(
    "line",
    [
        '{"kind":"song"}',
        '{"kind":["frame"]}',
        "3",
        '{"a":1}',
        "{",
        '{"kind":"end"}',
        '{"frame":99999999999999999999,"release_us":1,"kind":"frame"}',
        json.dumps(run_logs.head()),
    ],
)
def test_a_line_of_no_kind_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "log.jsonl").write_text(run_logs.lines(run_logs.head()) + line + "\n")
    with pytest.raises(DocumentError, match=r"log\.jsonl:2: ") as raised:
        read_log(tmp_path)
    assert raised.value.hint


def test_a_number_that_no_run_has_is_refused(tmp_path: Path) -> None:
    odd = run_logs.frame(10**30, 1)
    with pytest.raises(DocumentError, match="expected at most"):
        read_log(run_logs.write(tmp_path, run_logs.head(), dict(reversed(odd.items()))))


def test_a_line_without_an_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "MAX_LINE_BYTES", 10_000)
    (tmp_path / "log.jsonl").write_text(run_logs.lines(run_logs.head()) + " " * 20_000)
    with pytest.raises(DocumentError, match="longer than 10,000 bytes"):
        read_log(tmp_path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(InputError, match="is no file"):
        read_log(tmp_path / "log")


def test_a_run_that_went_on_says_where(tmp_path: Path) -> None:
    parts = run_logs.usual()
    parts.insert(3, {"kind": "resumed", "version": "0.1.0", "at_us": 1_500_000})
    with read_log(run_logs.write(tmp_path, *parts)) as log:
        assert [line.at_us for line in log.resumed] == [1_500_000]
        assert log.is_whole


def read_all(path: Path) -> None:
    with RunLog(path) as log:
        for frame in log.frames_by_release():
            if frame.question is not None:
                log.question(frame.question)
        for _ in log.entries():
            pass


@pytest.mark.parametrize("whole", [run_logs.lines(*run_logs.usual(2)), run_logs.LOG_1], ids=["2", "1"])
@pytest.mark.parametrize("seed", range(8))
def test_whatever_bytes_are_there_no_traceback_comes_of_it(tmp_path: Path, whole: str, seed: int) -> None:
    rng = Random(seed)
    path = tmp_path / "log.jsonl"
    for _ in range(60):
        data = bytearray(whole.encode())
        for _ in range(rng.choice((1, 1, 3, 20))):
            at = rng.randrange(max(1, len(data)))
            match rng.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    del data[at : at + rng.choice((1, 5, 500))]
                case 2:
                    data[at:at] = rng.choice(
                        (b"\n", b"9" * 30, b"[", b'"', b"\\ud800", b"null", b"-1", b"1e400", b"\xff")
                    )
                case 3:
                    data = data[: at + 1]
        path.write_bytes(data)
        try:
            read_all(path)
        except LeoError as error:
            assert error.hint


@pytest.mark.parametrize("kind", ["frame", "energy"])
@pytest.mark.parametrize("times", [0, 2])
def test_a_line_that_was_taken_out_of_a_whole_log_or_comes_twice_is_missed(
    tmp_path: Path, kind: str, times: int
) -> None:
    parts = run_logs.usual()
    at = next(at for at, part in enumerate(parts) if part["kind"] == kind)
    path = tmp_path / "log.jsonl"
    path.write_text(run_logs.lines(*parts[:at], *[parts[at]] * times, *parts[at + 1 :]), encoding="utf-8")

    def compared() -> None:
        with read_log(path) as one, read_log(path) as other:
            differences(one, other)

    def told() -> None:
        with read_log(path) as log:
            overview(log, "run")

    def summed() -> None:
        with read_log(path) as log:
            tally(log)

    says = "frames, and 2 have a line|has a line before, too|the run used .* nJ, and the lines tell of"
    for ask in (compared, told, summed):
        with pytest.raises(DocumentError, match=says) as raised:
            ask()
        assert "take the log as it was written" in raised.value.hint
