"""The log of a run: its lines are as the schema says, and sum to the ledger."""

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import recorded
from leo_runtime import shipped
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult, Solved
from leo_runtime.replay import log_text
from leo_runtime.replay.log import LogWriter
from leo_runtime.replay.log_lines import FrameLine, LogLine, QuestionLine, RunLine
from leo_runtime.replay.log_reader import read_log
from leo_runtime.replay.log_text import Questions, Settings
from leo_runtime.replay.rebuilt import rebuilt
from leo_runtime.replay.replay import Replay, Span, replay
from leo_runtime.runtime.runtime import Runtime


class Kept:
    """Keeps what a replay tells its sinks."""

    def __init__(self) -> None:
        self.frames: list[FrameResult] = []

    def begin(self, begun: Replay) -> None:
        self.begun = begun

    def frame(self, ended: FrameResult, settled_us: int) -> None:
        self.frames.append(ended)

    def energy(self, entries: object, settled_us: int) -> None:
        pass

    def end(self, ended: Replay) -> None:
        pass


def demo(path: Path, seconds: int = 4, *, batch: int = 1, solver_on: str | None = None, **options: Any) -> Kept:
    """The demo's pipelines on a phone; nothing is computed. The log goes to `path`."""
    kept = Kept()
    phone, profile = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    recording, settings = shipped.recording("demo"), options.pop("settings", Settings())
    span = Span.of(recording, 1_000_000, seconds * 1_000_000)
    with (
        Runtime.simulated(shipped.workload(), phone, profile, compute=False, **options) as runtime,
        LogWriter(path, settings) as log,
    ):
        policy = str(options.get("solver", "exact"))
        run = partial(replay, runtime, recording, span, policy=policy, time="virtual", sinks=[kept, log])
        run(batch=batch, solver_on=solver_on, changes=["a=1"])
    return kept


RUNS = {
    "windows": {},
    "noise": {"noise": 200_000, "seed": 3},
    "alone": {"window_stages": 0},
    "greedy": {"solver": "greedy"},
    "batches": {"batch": 3, "window_stages": 0},
    "charged": {"solver_on": "cpu"},
    "overloaded": {"max_in_flight": 1, "noise": 1_000_000},
    "no questions": {"settings": Settings(questions=False)},
}


@pytest.mark.parametrize("options", RUNS.values(), ids=list(RUNS))
def test_every_line_is_as_the_models_and_their_schema_say(tmp_path: Path, options: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra `test`")
    kept = demo(tmp_path / "log.jsonl", **options)
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    validator = jsonschema.Draft202012Validator(LogLine.model_json_schema())
    for line in text.splitlines():
        validator.validate(json.loads(line))
        found = LogLine.model_validate_json(line).root
        assert found.model_dump(mode="json", exclude_unset=True) == json.loads(line)
    numbers = [line["frame"] for line in recorded.logged(text)]
    assert numbers == [frame.frame for frame in kept.frames]
    assert Counter(line["kind"] for line in map(json.loads, text.splitlines()))["end"] == 1
    assert recorded.logged(text, "end")[0]["frames"] == len(kept.frames)


@pytest.mark.parametrize("options", RUNS.values(), ids=list(RUNS))
def test_the_lines_sum_to_the_ledger_by_cause_resource_and_graph(tmp_path: Path, options: dict[str, Any]) -> None:
    solver_on = options.get("solver_on")
    kept = demo(tmp_path / "log.jsonl", 6, **options)
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    begun = kept.begun
    graphs = {stage.name: stage.graphs for stage in begun.merged.stages}
    ledger = run_ledger(kept.frames, begun.hardware, graphs, end_us=6_000_000, solver=solver_on)
    causes: Counter[str] = Counter()
    resources: Counter[str] = Counter()
    pipelines: Counter[str] = Counter()

    def add(nj: int, cause: str, resource: str, of: list[str]) -> None:
        causes[cause] += nj
        resources[resource] += nj
        each, rest = divmod(nj, max(1, len(of)))
        for index, graph in enumerate(of or [""]):
            pipelines[graph] += each + (index < rest)

    for frame in recorded.logged(text):
        for run in frame["stages"]:
            cause = "failed run" if run["outcome"] == "failed" else "run"
            add(run["nj"], cause, run["resource"], run["graphs"])
        for send in frame["transfers"]:
            where = send.get("resource", f"{send['source']} -> {send['target']}")
            add(send["nj"], "transfer", where, send["graphs"])
    for line in recorded.logged(text, "energy"):
        for entry in line["entries"]:
            add(entry["nj"], entry["cause"], entry["resource"], entry["graphs"])
    assert +causes == ledger.by_cause()
    assert +resources == ledger.by_resource()
    assert +pipelines == {graph: nj for graph, nj in ledger.by_graph().items() if nj}
    assert recorded.logged(text, "end")[0]["nj"] == ledger.total_nj


def test_a_question_is_written_once_before_the_first_frame_that_uses_it(tmp_path: Path) -> None:
    kept = demo(tmp_path / "log.jsonl", 10)
    lines = [LogLine.model_validate_json(line).root for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    asked: dict[str, QuestionLine] = {}
    used = 0
    for line in lines:
        if isinstance(line, QuestionLine):
            assert line.question not in asked
            asked[line.question] = line
        if isinstance(line, FrameLine):
            frame = kept.frames[used]
            used += 1
            assert line.question is not None
            assert frame.solved is not None
            assert asked[line.question].problem == frame.solved.question
            assert asked[line.question].placement == frame.solved.answer
    assert used == len(kept.frames) > len(asked)


def test_questions_can_be_left_out(tmp_path: Path) -> None:
    demo(tmp_path / "log.jsonl", settings=Settings(questions=False))
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert recorded.logged(text, "question") == []
    assert all("question" not in line for line in recorded.logged(text))
    assert recorded.logged(text, "run")[0]["questions"] is False


def test_what_is_remembered_of_questions_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_text, "REMEMBERED", 2)
    frames = [frame.solved for frame in demo(tmp_path / "log.jsonl", 10).frames if frame.solved]
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    written: set[str] = set()
    for line in map(json.loads, text.splitlines()):
        if line["kind"] == "question":
            written.add(line["question"])
        elif line["kind"] == "frame":
            assert line["question"] in written
    questions = Questions()
    for one in frames:
        questions.digest(one)
        alike = replace(one, answer=one.answer.model_copy())
        assert questions.digest(alike) == (questions.digest(one)[0], ""), "it goes by what it says"
        del alike
    assert len(questions._digests) <= len({id(one.answer) for one in frames}), "those that are gone are forgotten"


def test_the_first_line_says_all_that_it_takes_to_run_it_again(tmp_path: Path) -> None:
    settings = Settings(seed=7, noise_ppm=10_000, reserve_percent=5, window_stages=30, recording="./demo")
    begun: Replay = demo(tmp_path / "log.jsonl", settings=settings).begun
    head = LogLine.model_validate_json((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()[0]).root
    assert isinstance(head, RunLine)
    assert (head.workload, head.hardware, head.profile) == (begun.workload, begun.hardware, begun.profile)
    assert (head.seed, head.noise_ppm, head.reserve_percent, head.window_stages) == (7, 10_000, 5, 30)
    assert (head.changes, head.recording.given, head.recording.name) == (("a=1",), "./demo", "demo")
    assert (head.start_us, head.end_us, head.batch, head.charge_solver) == (1_000_000, 5_000_000, 1, None)


def test_text_of_any_kind_stays_json(tmp_path: Path) -> None:
    kept = demo(tmp_path / "log.jsonl")
    frame = kept.frames[0]
    for error in ('a "quote" \\ and\nmore \x1b[2J \u2028 \x85', "half \udc80", "\x00"):
        failed = replace(frame.stages[0], outcome="failed", error=error)
        graphs = tuple(replace(graph, outcome="failed") for graph in frame.graphs)
        (line,) = recorded.logged(recorded.log_lines(kept.begun, [replace(frame, stages=(failed,), graphs=graphs)]))
        assert (line["stages"][0]["error"], line["reason"]) == (error, error)


@pytest.mark.parametrize("options", RUNS.values(), ids=list(RUNS))
def test_a_frame_that_is_rebuilt_from_its_line_gives_the_same_line(tmp_path: Path, options: dict[str, Any]) -> None:
    kept = demo(tmp_path / "log.jsonl", **options)
    log = read_log(tmp_path / "log.jsonl")
    policy = str(options.get("solver", "exact"))
    frames = []
    for line in log.frames():
        found = None if line.question is None else log.question(line.question)
        solved = None if found is None else Solved(found.problem, found.placement)
        frames.append(rebuilt(line, solved, policy=policy))
    log.close()
    before, after = (recorded.log_lines(kept.begun, each) for each in (kept.frames, frames))
    if options.get("settings") == Settings(questions=False):
        before, after = (list(map(json.dumps, recorded.logged(lines))) for lines in (before, after))
        before = [line.replace(f'"question": "{json.loads(line)["question"]}", ', "") for line in before]
    assert after == before
    graphs = {stage.name: stage.graphs for stage in kept.begun.merged.stages}
    of_both = [run_ledger(each, kept.begun.hardware, graphs, end_us=4_000_000) for each in (kept.frames, frames)]
    assert of_both[0].by_graph() == of_both[1].by_graph()
    assert of_both[0] == of_both[1]
