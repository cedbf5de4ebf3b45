"""What is told of a frame, in words: each kind of wait, what failed, batches, and where nothing is known."""

from pathlib import Path
from typing import Any

import run_logs
from leo_runtime.replay.frame_facts import frame_facts
from leo_runtime.replay.log_reader import read_log
from leo_runtime.report.frame_text import frame_text
from leo_runtime.terminal import Look

S = 1_000_000


def told(folder: Path, *parts: dict[str, Any], frame: int = 0, stage: str | None = None, **head: Any) -> str:
    """The text of a frame, in one line; at 80 columns no line of it is longer."""
    with read_log(run_logs.write(folder, run_logs.head(**head), *parts)) as log:
        facts = frame_facts(log, "run", frame, stage)
    narrow = frame_text(facts, Look(80))
    assert max(map(len, narrow.splitlines())) <= 80
    return " ".join(frame_text(facts).split())


def late(number: int = 0, **changed: Any) -> dict[str, Any]:
    hear = run_logs.run("hear", "dsp", S, S + 400_000)
    tell = run_logs.run("tell", "cpu[0]", S + 402_000, S + 922_000, planned_end_us=S + 422_000)
    sent = run_logs.send("hear", "dsp", "cpu", S + 400_000, S + 402_000)
    return run_logs.frame(number, S, [hear, tell], [sent], **changed)


def test_what_took_longer_than_planned_is_the_cause(tmp_path: Path) -> None:
    text = told(tmp_path, late())
    assert "knock came 422 ms late (922 ms after its release, 500 ms were allowed), because of tell, which took" in text
    assert "500 ms longer on the cpu than planned" in text
    assert "placed knowing" not in text
    assert "tell runs on cpu[0], 500 ms longer than planned" in text
    assert "402.00-922.00 402.00-422.00" in text, "what happened beside what was planned"


def test_a_stage_alone_is_told_of_with_what_it_was_for(tmp_path: Path) -> None:
    text = told(tmp_path, late(), stage="tell")
    assert "knock came" in text and "hear dsp[0]" not in text


def test_a_late_submission_is_the_cause(tmp_path: Path) -> None:
    frame = late(admitted_us=S)
    frame["release_us"] = 400_000
    for seen in frame["graphs"]:
        seen |= {"release_us": 400_000, "deadline_us": 900_000}
    text = told(tmp_path, frame)
    assert "submitted 600 ms later" in text
    assert "because of its submission 600 ms after its release" in text
    assert "the frame is not submitted yet" in text


def test_a_first_try_that_failed_is_the_cause(tmp_path: Path) -> None:
    frame = late()
    first = run_logs.run("tell", "cpu[0]", S + 402_000, S + 702_000, outcome="failed", error="KernelError: no")
    frame["stages"] = [frame["stages"][0], first, run_logs.run("tell", "dsp", S + 702_000, S + 802_000)]
    frame["graphs"][0]["end_us"] = S + 802_000
    text = told(tmp_path, frame)
    assert "because of tell, which failed on the cpu at first" in text
    assert "tell fails on cpu[0], and is moved" in text
    assert "failed run cpu 0.80" in text


def test_what_was_never_placed_says_who_was_in_flight(tmp_path: Path) -> None:
    graphs = [run_logs.seen("knock", S + 1, S + 1, outcome="failed")]
    none = run_logs.frame(1, S + 1, graphs=graphs, status="unplaced", criteria=None, skipped=True, reason="too many")
    text = told(tmp_path, late(), none, frame=1)
    assert "not placed by exact, and skipped" in text
    assert "it says: too many" in text
    assert "1 frame before it had not ended, the oldest of them frame 0, released at 1 s" in text
    assert "ask: leo-runtime explain run --frame 0" in text


def test_of_a_batch_each_run_is_told_and_all_are_meant_by_a_stages_name(tmp_path: Path) -> None:
    runs = [
        run_logs.run("hear#all", "dsp", 2 * S, 2 * S + 400_000, of="hear"),
        run_logs.run("tell#0", "cpu[0]", 2 * S + 402_000, 2 * S + 422_000, of="tell"),
        run_logs.run("tell#1", "cpu[1]", 2 * S + 402_000, 2 * S + 422_000, of="tell"),
    ]
    graphs = [run_logs.seen("knock", (n + 1) * S, 2 * S + 422_000, number=n, deadline_us=3 * S) for n in (0, 1)]
    frame = run_logs.frame(0, 2 * S, runs, graphs=graphs)
    text = told(tmp_path, frame, batch=2)
    assert "2 frames at a time" in text and "knock#0 done 1422.00 2000.00" in text
    text = told(tmp_path, frame, stage="tell", batch=2)
    assert "tell#0 cpu[0]" in text and "tell#1 cpu[1]" in text and "hear#all" not in text


def test_names_that_a_terminal_would_obey_are_written_as_escapes(tmp_path: Path) -> None:
    frame = late(reason="\x1b[31mred")
    frame["graphs"][0] |= {"outcome": "failed", "label": "\x1b[1m"}
    frame["stages"][1] |= {"outcome": "failed", "error": "\x1b[31mred\nline"}
    with read_log(run_logs.write(tmp_path, run_logs.head(), frame)) as log:
        text = frame_text(frame_facts(log, "ru\x1bn", 0), Look(80))
    assert "\x1b" not in text and "\\x1b[31mred\\nline" in text.replace("\n    ", " ").replace("\n  ", " ")


def test_energy_is_told_by_cause_and_by_who_is_charged(tmp_path: Path) -> None:
    woken = run_logs.entry("wake-up", "cpu", S, S, 7_000_001, frame=0, graphs=["knock", "level"])
    other = run_logs.entry("wake-up", "cpu", S, S, 5_000_000, frame=10, graphs=["knock"])
    text = told(tmp_path, late(), run_logs.energy(woken, other))
    assert "wake-up cpu 7.00 knock, level" in text
    assert "total 8.70" in text
    assert "charged in mJ: knock 4.75, level 3.95" in text
