"""The daemon's config: read, refused by place, and fuzzed."""

from __future__ import annotations

import random
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons import CONFIG, WORKLOAD, write
from leo_runtime.cli import main
from leo_runtime.command.schema import document_model
from leo_runtime.daemon import kinds
from leo_runtime.daemon.config import DaemonConfig, named
from leo_runtime.daemon.loading import load
from leo_runtime.daemon.service import Daemon
from leo_runtime.errors import DocumentError, InputError, LeoError

SOURCE, SINK = '\n[[sources]]\nkind = "socket"\n', '\n[[sinks]]\nkind = "lines"\n'
LEAST = 'format = "leo-daemon/1"' + SOURCE + SINK


def test_the_least_config_is_read_with_what_is_usual() -> None:
    config = DaemonConfig.from_toml(LEAST)
    assert config.machine == "host" and config.drain_s == 5 and config.runtime.solver == "exact"
    assert [one.kind for one in config.sources] == ["socket"] and [one.kind for one in config.sinks] == ["lines"]


DEVICES = [
    'kind = "pipe"\ncommand = ["cat", "sound.raw"]\nonce = true',
    'kind = "pipe"\nprogram = "parec"\ndevice = "ears"\nchannels = 2\nrate_hz = 48_000',
    'kind = "microphone"\ndevice = "USB"\ndata_type = "float32"',
    'kind = "camera"\nsize = [640, 480]\ninput_format = "mjpeg"',
    'kind = "iio"\ndevice = "lis3dh"\nchannels = ["accel_z"]\nbuffer = false\nacceleration = "g"',
]


@pytest.mark.parametrize("device", DEVICES)
def test_every_kind_of_device_is_read(device: str) -> None:
    (source,) = DaemonConfig.from_toml(LEAST.replace('kind = "socket"', device)).sources
    assert f'kind = "{source.kind}"' in device


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("", 'the key "format" is missing, at $.format', ""),
        ('format = "leo-daemon/2"' + SOURCE + SINK, "expected 'leo-daemon/1'", ""),
        ('format = "leo-daemon/1"' + SINK, 'the key "sources" is missing, at $.sources', ""),
        ('format = "leo-daemon/1"\nsources = []' + SINK, "expected at least one, got [], at $.sources", ""),
        ("sorces = 3\n" + LEAST, 'the key "sorces" is unknown (its value is 3), at $.sorces', "sources"),
        (LEAST + 'pth = "x"', 'the key "pth" is unknown (its value is "x"), at $.sinks[0].pth', "path"),
        (LEAST + "max_bytes = 0", "expected at least 1, got 0, at $.sinks[0].max_bytes", ""),
        (LEAST + "keep = 1.5", "expected an integer, got 1.5, at $.sinks[0].keep", ""),
        (LEAST.replace('"lines"', '"line"'), 'expected a kind that there is, got "line", at $.sinks[0].kind', "lines"),
        (LEAST.replace('kind = "lines"', ""), 'the key "kind" is missing, at $.sinks[0]', ""),
        (LEAST + SOURCE.replace("]]", "]", 1), "not TOML", ""),
        (LEAST + 'name = "../a"', "$.sinks[0].name", ""),
        (LEAST.replace('"lines"', '"mqtt"') + 'node = "a b"', "expected what matches ^[a-zA-Z0-9_-]+$", ""),
        (LEAST + 'name = "a"' + SINK + 'name = "a"', 'the name "a" is given twice, at $.sinks[1].name', ""),
        ("drain_s = -1\n" + LEAST, "expected at least 0.0, got -1, at $.drain_s", ""),
        ("drain_s = inf\n" + LEAST, "$.drain_s", ""),
        (LEAST + '[[decisions]]\ngraph = "a"\nafter = 3\nof = 2', "never found, at $.decisions[0].after", ""),
        (LEAST + '[[decisions]]\ngraph = "a"\n[[decisions]]\ngraph = "a"', "has two decisions", ""),
        (LEAST + '[[trusted]]\nfolder = "a"\nsha256 = { "b.py" = "beef" }', "a SHA-256 is 64", "sha256sum"),
        (LEAST + '[runtime]\nsolvr = "greedy"', "$.runtime.solvr", "solver"),
    ],
)
def test_a_wrong_config_is_refused_by_place(text: str, says: str, hint: str) -> None:
    with pytest.raises(DocumentError) as refused:
        DaemonConfig.from_toml(text)
    assert says in str(refused.value)
    assert hint in refused.value.hint


def test_names_are_kinds_with_numbers_where_they_are_taken() -> None:
    text = 'format = "leo-daemon/1"' + SOURCE + SOURCE + SOURCE + 'name = "socket-2"' + SINK
    assert list(named(DaemonConfig.from_toml(text).sources)) == ["socket", "socket-3", "socket-2"]


@pytest.mark.parametrize(
    ("before", "after", "says", "hint"),
    [
        ('workload = "workload.toml"', 'workload = "nothing.toml"', "nothing.toml: cannot be read", ""),
        ('machine = "machine.toml"', 'machine = "arm-bord"', "no hardware is called `arm-bord`", "arm-board"),
        ('profile = "profile.toml"\n', "", "there is no profile of machine", "calibrate"),
        ('path = "./out.sock"', 'graphs = ["quiet"]', "sink `socket` asks for graph `quiet`", "it has loud"),
        ('path = "./in.sock"', 'stream = "mic"', "source `socket`: no stream", "it has s"),
        ('profile = "profile.toml"', 'profile = "none.json"', "there is no profile ", "none.json`"),
        (
            'path = "./out.sock"',
            'path = "./x/../in.sock"',
            "source `socket` and sink `socket` both use /",
            "of its own",
        ),
        (
            "[runtime]",
            '[metrics]\npath = "./out.sock"\n[runtime]',
            "sink `socket` and [metrics] both use /",
            "of its own",
        ),
        ("drain_s = 20", 'graphs = ["lod"]', "no graph of workload `levels` is called `lod`, at $.graphs[0]", "loud"),
    ],
)
def test_what_a_config_names_is_checked(tmp_path: Path, before: str, after: str, says: str, hint: str) -> None:
    assert before in CONFIG
    write(tmp_path, CONFIG.replace(before, after))
    with pytest.raises(LeoError) as refused:
        load(DaemonConfig.from_file(tmp_path / "leo.toml"), tmp_path)
    assert says in str(refused.value)
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("source", "stream", "says"),
    [
        ('kind = "camera"', "s", "of kind other and 1 channels takes no frames"),
        ('kind = "microphone"', "eye", "stream `eye` is of camera"),
        ('kind = "microphone"', "bell", "stream `bell` is of events"),
        ('kind = "stdin"', "bell", "raw samples have no times"),
        ('kind = "socket"', "bell", "raw samples have no times"),
        ('kind = "pipe"\ncommand = ["cat"]', "bell", "raw samples have no times"),
    ],
)
def test_a_stream_that_a_source_cannot_feed_is_found_before_anything_is_opened(
    tmp_path: Path, source: str, stream: str, says: str
) -> None:
    named = f'{source}\nstream = "{stream}"'
    write(tmp_path, CONFIG.replace('kind = "socket"\npath = "./in.sock"', named))
    more = 'streams = [{ name = "bell", kind = "events" }, '
    more += '{ name = "eye", kind = "camera", rate_hz = 10, height_px = 8, width_px = 8 }, '
    (tmp_path / "workload.toml").write_text(WORKLOAD.replace("streams = [", more))
    with pytest.raises(InputError, match=rf"source `\w+`: .*{says}"):
        load(DaemonConfig.from_file(tmp_path / "leo.toml"), tmp_path)


@pytest.mark.parametrize("given", ["a\\u0000b", "~nobody-is-called-so/a"])
@pytest.mark.parametrize(
    "before", ["workload.toml", "machine.toml", "profile.toml", "state", "./in.sock", "./out.sock"]
)
def test_a_path_that_cannot_be_is_refused_by_place(before: str, given: str) -> None:
    with pytest.raises(DocumentError, match=r"no zero bytes|no such user"):
        DaemonConfig.from_toml(CONFIG.replace(f'"{before}"', f'"{given}"'))


LINES = 'kind = "lines"\npath = "a.jsonl"\n'


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            'kind = "socket"\npath = "./in.sock"',
            'kind = "recording"\nrecording = "dmo"',
            "source `recording`: no recording",
        ),
        ("./in.sock", f"./{'x' * 200}", "source `socket`: the path of a socket has at most"),
        ("./out.sock", "./workload.toml", "sink `socket`: .* is no socket"),
        ('kind = "socket"\npath = "./out.sock"', LINES.replace("a.jsonl", "workload.toml"), "other than answers"),
        ('kind = "socket"\npath = "./out.sock"', LINES.replace("a.jsonl", "."), "sink `lines`: .* is a folder"),
    ],
)
def test_a_check_finds_what_could_not_be_opened_and_changes_nothing(
    tmp_path: Path, before: str, after: str, says: str
) -> None:
    assert before in CONFIG
    path = write(tmp_path, CONFIG.replace(before, after))
    held = {file: file.read_bytes() for file in tmp_path.iterdir()}
    daemon = Daemon(lambda: DaemonConfig.from_file(path), tmp_path)
    with pytest.raises(LeoError, match=says):
        daemon.check()
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == held


def test_a_check_opens_no_socket_and_runs_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.replace("[runtime]", "[metrics]\nport = 9464\n[runtime]")
    for more in (
        '[[sources]]\nkind = "pipe"\ncommand = ["cat"]',
        '[[sinks]]\nkind = "mqtt"',
        '[[sinks]]\nkind = "lines"',
    ):
        config += f"\n{more}\n"
    path = write(tmp_path, config)
    monkeypatch.setattr(kinds, "find_spec", lambda _: True)
    for owner, name in ((socket.socket, "bind"), (socket.socket, "connect"), (subprocess, "Popen")):
        monkeypatch.setattr(owner, name, lambda *_, name=name, **__: pytest.fail(f"it has called {name}"))
    said = Daemon(lambda: DaemonConfig.from_file(path), tmp_path).check()
    assert said == "loud on this; sources: socket, pipe; sinks: socket, mqtt, lines"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('kind = "socket"\npath = "./in.sock"', 'kind = "wyoming"', "source `wyoming`: .* extra `wyoming`"),
        ('kind = "socket"\npath = "./in.sock"', 'kind = "microphone"', "source `microphone`: .* extra `microphone`"),
        ('kind = "socket"\npath = "./in.sock"', 'kind = "camera"', "source `camera`: .* extra `recordings`"),
        ('kind = "socket"\npath = "./out.sock"', 'kind = "mqtt"', "sink `mqtt`: .* extra `mqtt`"),
        ("[runtime]", "[metrics]\n[runtime]", r"\[metrics\]: .* extra `daemon`"),
    ],
)
def test_a_check_finds_that_an_extra_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, says: str
) -> None:
    monkeypatch.setattr(kinds, "find_spec", lambda _: None)
    write(tmp_path, CONFIG.replace(before, after))
    kind = 'kind = "camera", height_px = 8, width_px = 8' if "camera" in after else 'kind = "audio"'
    (tmp_path / "workload.toml").write_text(WORKLOAD.replace('kind = "other"', kind))
    daemon = Daemon(lambda: DaemonConfig.from_file(tmp_path / "leo.toml"), tmp_path)
    with pytest.raises(LeoError, match=says) as refused:
        daemon.check()
    assert "pip install" in refused.value.hint


def test_a_config_may_run_some_graphs_alone(tmp_path: Path) -> None:
    more = WORKLOAD.replace("streams = [", 'streams = [{ name = "other", kind = "other", rate_hz = 10 }, ')
    more += WORKLOAD[WORKLOAD.index("[[graphs]]") :].replace('"loud"', '"second"', 1).replace('"s"', '"other"')
    write(tmp_path, CONFIG.replace("drain_s = 20", 'graphs = ["loud"]'))
    (tmp_path / "workload.toml").write_text(more)
    loaded = load(DaemonConfig.from_file(tmp_path / "leo.toml"), tmp_path)
    assert [graph.name for graph in loaded.workload.graphs] == ["loud"]
    assert [stream.name for stream in loaded.workload.streams] == ["s"]


KEYS = ["kind", "name", "path", "sources", "sinks", "graph", "after", "folder", "sha256", "rate", "x"]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["socket", "-"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(DaemonConfig.model_fields)), JUNK, max_size=5))
def test_any_values_are_a_config_or_refused(data: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "format": "leo-daemon/1",
        "sources": [{"kind": "stdin"}],
        "sinks": [{"kind": "lines"}],
    }
    try:
        config = DaemonConfig.from_dict(right | data)
    except InputError as error:
        assert str(error).startswith("document: ")
    else:
        assert DaemonConfig.from_json(config.to_json()) == config


def test_any_changed_byte_is_read_or_refused(tmp_path: Path) -> None:
    drawn, right = random.Random(7), write(tmp_path).read_bytes()
    for _ in range(200):
        text = bytearray(right)
        for _ in range(drawn.randint(1, 3)):
            text[drawn.randrange(len(text))] = drawn.randrange(256)
        (tmp_path / "leo.toml").write_bytes(text)
        try:
            load(DaemonConfig.from_file(tmp_path / "leo.toml"), tmp_path)
        except LeoError as error:
            assert str(error)


def test_its_schema_is_printed() -> None:
    schema = document_model("daemon").model_json_schema()
    assert {"sources", "sinks", "decisions"} <= schema["properties"].keys()
    assert "RecordingSource" in schema["$defs"]


@pytest.mark.parametrize("named", ["levels.json", "profile.toml", None])
def test_a_profile_that_is_missing_is_measured_by_the_command_of_the_hint(tmp_path: Path, named: str | None) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    line = f'profile = "{named}"\n' if named else ""
    config = CONFIG.replace('profile = "profile.toml"\n', line)
    path = write(folder, config)
    (folder / "profile.toml").unlink()
    with pytest.raises(InputError, match="there is no profile") as refused:
        load(DaemonConfig.from_file(path), folder)
    hint = refused.value.hint
    assert hint.endswith(
        {"levels.json": "of a recording that has s", "profile.toml": 'say profile = "profile.json"'}.get(
            named or "", 'say profile = "machine.profile.json"'
        )
    )
    recording = tmp_path / "recording"
    recording.mkdir()
    rows = "".join(f"{number * 1000},0.5\n" for number in range(2000))
    (recording / "s.csv").write_text(f"time_us,s\n{rows}")
    (recording / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "made by a test"\n'
        '[[streams]]\nname = "s"\nkind = "other"\nfile = "s.csv"\nrate_hz = 1000\n'
    )
    command = shlex.split(hint.partition("`")[2].partition("`")[0].replace("RECORDING", str(recording)))
    assert main([*command[1:], "--quick", "--quiet"]) == 0
    said = hint.rpartition('profile = "')[2].rstrip('"') if "say profile" in hint else named
    path.write_text(CONFIG.replace("profile.toml", str(said)))
    daemon = Daemon(lambda: DaemonConfig.from_file(path), folder)
    assert daemon.check() == "loud on this; sources: socket; sinks: socket"


def test_a_profile_of_the_demo_needs_no_recording_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        load(DaemonConfig.from_toml(LEAST), tmp_path)
    file = tmp_path / "host.profile.json"
    assert refused.value.hint == (
        f'measure it by `leo-runtime calibrate --out {file}`, and say profile = "host.profile.json"'
    )
