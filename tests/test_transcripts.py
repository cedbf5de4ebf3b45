"""What commands show, as people see it: whole transcripts, and in a terminal of 80 columns no line that is longer.

A transcript that has changed on purpose is written anew by `LEO_WRITE_TRANSCRIPTS=1 pytest tests/test_transcripts.py`;
read what has changed in it before it is committed.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recorded
import wide_machine
from leo_backends.cpu import CpuBackend
from leo_runtime import cli
from leo_runtime.documents.hardware import Processor
from leo_runtime.terminal import room

TRANSCRIPTS = Path(__file__).parent / "transcripts"

MANY = (
    *("replay", "recording", "--virtual", "--workload", "many.workload.json"),
    *("--hardware", "many.hardware.json", "--profile", "many.profile.json", "--window", "0"),
)
BEEPS = (
    *("replay", "recording", "--virtual", "--workload", "workload.json", "--hardware", "machine.json"),
    *("--profile", "profile.json"),
)
COMMANDS = {
    "replay": BEEPS,
    "replay-many": (*MANY, "--no-compare"),
    "replay-many-60": (*MANY, "--width", "60"),
    "replay-many-wide": (*MANY, "--wide"),
    "recording-info": ("recording", "info", "recording"),
    "profiles-show": ("profiles", "show", "profile.json"),
    "profiles-show-wide": ("profiles", "show", "profile.json", "--wide"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, and a machine on which there is only a CPU."""
    recorded.write_all(tmp_path)
    wide_machine.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "leo_runtime.backend.registry.create",
        lambda processor: CpuBackend(Processor(name=processor.name, backend="cpu")),
    )
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_transcript_is_as_it_was(name, capsys):
    assert cli.main(COMMANDS[name]) == 0
    shown = capsys.readouterr().out
    # Where traces need an extra, none is written.
    shown = shown.replace("written: out/beeps.virtual/trace.perfetto-trace\n", "")
    path = TRANSCRIPTS / f"{name}.txt"
    if os.environ.get("LEO_WRITE_TRANSCRIPTS"):
        TRANSCRIPTS.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def in_terminal(columns: int, *arguments: str, **environ: str) -> str:
    """What a terminal of so many columns is sent, standard output and standard error."""
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    clean = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-m", "leo_runtime", *arguments]
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env={**clean, "TERM": "xterm", **environ}
    ) as running:
        os.close(follower)
        sent = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # Linux says so where nobody writes any more.
                break
            if not part:
                break
            sent += part
    os.close(leader)
    assert running.returncode == 0, sent.decode()
    return sent.decode()


def shown_lines(sent: str) -> list[str]:
    """What stands on each line, without colours."""
    plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", sent)
    return [part for line in plain.split("\n") for part in line.split("\r")]


@pytest.mark.parametrize("columns", [80, 52, 132])
@pytest.mark.parametrize("arguments", [MANY, ("recording", "info", "recording"), ("backends",)], ids=lambda a: a[0])
def test_no_line_is_wider_than_the_terminal(columns, arguments):
    # What is said of missing extras is not broken: there are commands in it, to be copied.
    lines = shown_lines(in_terminal(columns, *arguments, *([] if columns == 80 else ["--quiet"])))
    assert max(room(line) for line in lines if not line.startswith("written: ")) <= columns
    assert len(lines) > 4


def test_colours_are_for_terminals_and_never_for_data(capsys):
    workload = json.loads(Path("many.workload.json").read_text(encoding="utf-8"))
    for graph in workload["graphs"]:
        graph["deadline_us"] = 1
    Path("many.workload.json").write_text(json.dumps(workload), encoding="utf-8")
    late = (*MANY, "--no-compare")
    assert "\x1b[31m8\x1b[0m" in in_terminal(80, *late)
    assert "\x1b[31m" not in in_terminal(80, *late, NO_COLOR="1")
    assert "\x1b" not in in_terminal(80, *late, TERM="dumb")
    assert cli.main(late) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_terminal_gets_a_bar_that_is_gone_and_a_quiet_command_none():
    sent = in_terminal(80, *MANY)
    assert "in virtual time [###" in sent
    assert sent.index("== beeps") > sent.rindex("100%")
    assert shown_lines(sent)[-2:] == ["", ""]
    quiet = in_terminal(80, *MANY, "--quiet")
    assert "%" not in quiet
    assert in_terminal(80, "--quiet", *MANY).count("%") == 0


@pytest.mark.parametrize("arguments", [MANY, BEEPS])
def test_quiet_commands_say_nothing_but_data(arguments, capsys):
    assert cli.main([*arguments, "-q", "--no-compare"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("== beeps")


def test_errors_are_not_kept_quiet(capsys):
    assert cli.main(["replay", "nowhere", "--quiet"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_width_that_nothing_fits_into_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["profiles", "--width", "39"])
    assert "expected at least 40, got 39" in capsys.readouterr().err


KEYS = {
    *("time", "policy", "workload", "hardware", "profile", "recording", "repairs", "start_us", "end_us", "solver_on"),
    *("solving", "batch", "ran_together", "missing", "left_out", "not_held", "planning", "waits_given_up", "failures"),
    *("transfers_lost", "exits", "links", "network_known"),
    *("pipelines", "processors", "policies"),
    *("format", "versions", "seed", "noise_ppm", "reserve_percent", "window_stages", "changes", "frames", "energy"),
    "written",
}
"""Of a replay's JSON, the first 22 since its beginning: none goes away."""
PIPELINE_KEYS = {
    *("graph", "frames", "answered", "failed", "detections", "right", "false", "labels", "missed"),
    *("latency_median_us", "latency_p95_us", "late", "deadline_misses", "over_gaps"),
    *("latency_p99_us", "latency_within_ppm"),
}
PROCESSOR_KEYS = {"name", "runs", "busy_us", "wake_ups", "nj", "total_nj"}
POLICY_KEYS = {"policy", "time", "nj", "late", "deadline_misses", "failed", "answers"}


def test_json_is_complete_and_keeps_its_keys(capsys):
    settings = ("--seed", "7", "--noise", "5", "--reserve", "10", "--json")
    assert cli.main([*BEEPS, *settings, "--window", "12"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told.keys() == KEYS
    assert [set(one) for one in told["pipelines"]] == [PIPELINE_KEYS]
    assert all(set(one) == PROCESSOR_KEYS for one in told["processors"])
    assert all(set(one) == POLICY_KEYS for one in told["policies"])
    assert (told["seed"], told["noise_ppm"], told["reserve_percent"], told["window_stages"]) == (7, 50_000, 10, 12)
    assert {"leo-runtime", "python", "numpy"} <= told["versions"].keys()
    assert told["written"][0] == "out/beeps.virtual/log.jsonl"
    energy = told["energy"]
    for sums in (energy["by_resource"], energy["by_graph"]):
        assert sum(nj for causes in sums.values() for nj in causes.values()) == energy["total_nj"]
    assert sum(energy["by_cause"].values()) == energy["total_nj"] == told["policies"][0]["nj"]


def test_json_is_what_its_schema_says(capsys):
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra `test`")
    assert cli.main(["schema", "replay"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    for arguments in (MANY, (*BEEPS, "--charge-solver", "cpu"), (*BEEPS, "--batch", "3")):
        assert cli.main([*arguments, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        jsonschema.validate(told, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate([{**told[0], "seed": "none"}], schema)
