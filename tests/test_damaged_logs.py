"""Whatever a log says, questions about it are answered or refused: never with a traceback."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import run_logs
from leo_runtime.errors import LeoError
from leo_runtime.replay.differences import differences
from leo_runtime.replay.frame_facts import frame_facts, overview
from leo_runtime.replay.log_reader import RunLog, read_log
from leo_runtime.report.differences_text import differences_figures, differences_text
from leo_runtime.report.frame_text import frame_figures, frame_text, overview_figures, overview_text
from leo_runtime.report.log_tables import write_tables
from leo_runtime.report.page.run_page import run_page
from leo_runtime.terminal import Look

NARROW = Look(80)


def ask_everything(log: RunLog, other: RunLog, rng: Random, folder: Path) -> list[Callable[[], object]]:
    """Questions about a log, each of which may be refused by itself."""

    def about_a_frame() -> None:
        frame = log.at(rng.randrange(len(log.numbers)))
        stage = rng.choice([None, *(run.stage for run in frame.stages)])
        facts = frame_facts(log, "run", frame.frame, stage, limit_nodes=5)
        frame_text(facts, NARROW)
        json.dumps(frame_figures(facts))

    def about_all() -> None:
        found = overview(log, "run")
        overview_text(found, NARROW)
        json.dumps(overview_figures(found))

    def about_two() -> None:
        found = differences(other, log)
        differences_text(found, ("a", "b"), NARROW)
        json.dumps(differences_figures(found, ("a", "b")))

    asked: list[Callable[[], object]] = [about_all, about_two, *[about_a_frame] * (3 if log.numbers else 0)]
    if importlib.util.find_spec("jinja2") is not None:
        asked.append(lambda: run_page(log, "run"))
    return [*asked, lambda: write_tables(log, folder)] if importlib.util.find_spec("pyarrow") is not None else asked


def changed(value: Any, rng: Random) -> Any:
    """A value with one of its parts changed."""
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        match rng.randrange(8):
            case 0:
                return {name: part for name, part in value.items() if name != key}
            case _:
                return {**value, key: changed(value[key], rng)}
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        match rng.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, value[at]]
            case 2:
                return value[::-1]
            case _:
                return [*value[:at], changed(value[at], rng), *value[at + 1 :]]
    if isinstance(value, bool) or value is None:
        return rng.choice((True, False, None, 0))
    if isinstance(value, int):
        return rng.choice((0, 1, -1, value + 1, value * 2, -value, rng.randrange(10**9), 10**15, 4 * 10**18, 10**25))
    if isinstance(value, str):
        return rng.choice(
            (value, value[::-1], "", "dsp", "cpu", "s0", "done", "failed", "cancelled", "\x1b[31m\n", "é" * 90)
        )
    return rng.choice(([], {}, 0.5, "x"))


@pytest.mark.parametrize("seed", range(6))
def test_no_damage_to_a_log_brings_a_traceback(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    how: dict[str, Any] = [{}, {"solver": "greedy"}, {"noise": 300_000}, {"batch": 2}][seed % 4]
    (tmp_path / "whole").mkdir()
    folder, _ = run_logs.random_run(tmp_path / "whole", seed, **how)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    with read_log(folder) as whole:
        for number in range(10):
            damaged = list(lines)
            for _ in range(rng.choice((1, 1, 2, 5))):
                at = rng.randrange(len(damaged))
                damaged[at] = changed(damaged[at], rng)
            if rng.randrange(4) == 0:
                damaged[1:] = rng.sample(damaged[1:], len(damaged) - 1)
            try:
                path = run_logs.write(tmp_path / str(number), *damaged)
                log = read_log(path)
            except LeoError:
                continue
            with log:
                for question in ask_everything(log, whole, rng, path):
                    try:
                        question()
                    except LeoError as error:
                        assert str(error)
