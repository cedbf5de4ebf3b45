"""Damaged and extreme problem files: each is refused with its place, or solved within the rules; nothing ever crashes.

    python tests/bench/fuzz.py [FILES] [SEED]

Three in four files are valid JSON with numbers, names and whole parts replaced (0, 1, 10^15, nothing, another's); a
quarter is the text of a problem with bytes changed; every second one is of a window. What loads is solved by the exact
solver under a node limit and by a heuristic, judged, and that of a window explained. Every batch runs in a process of
its own, so that a crash of the compiled kernel would be seen.
"""

import json
import subprocess
import sys
from collections import Counter
from random import Random
from typing import Any

from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import DocumentError, SolverError
from leo_runtime.judge import check
from leo_runtime.judge.window import check_window
from leo_runtime.solver import solve
from leo_runtime.solver.explain import explain
from leo_runtime.testing import random_problem
from leo_runtime.testing.windows import random_window

BATCH = 100
NUMBERS = (0, 0, 1, 1, 2, 7, 1000, 10**6, 10**9, 10**12, 10**15, 10**15 - 1)
WRONG = (None, -1, 10**15 + 1, "12ms", True, 1.5, [], {}, "")


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a JSON value."""
    here = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [(value, key) for key, _ in here] + [place for _, inner in here for place in places(inner)]


def damage_values(rng: Random, text: str) -> str:
    """Replace some values of a document by extreme ones, and at times by wrong ones."""
    data = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        container, key = rng.choice(places(data))
        old = container[key]
        if isinstance(old, int) and not isinstance(old, bool):
            container[key] = rng.choice(NUMBERS)
        elif isinstance(old, str) and rng.randrange(4) == 0:
            container[key] = rng.choice([c[k] for c, k in places(data) if isinstance(c[k], str)])
        elif isinstance(old, list) and old and rng.randrange(2):
            old.pop(rng.randrange(len(old)))
        elif rng.randrange(6) == 0:
            container[key] = rng.choice(WRONG)
    return json.dumps(data)


def damage_bytes(rng: Random, text: str) -> bytes:
    """Change, drop or repeat some bytes."""
    raw = bytearray(text.encode())
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(raw))
        match rng.randrange(3):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randint(1, 30)]
            case 2:
                raw[at:at] = raw[at : at + rng.randint(1, 30)]
    return bytes(raw)


def attempt(seed: int) -> str:
    """What became of one damaged file. Raises on anything that should not happen."""
    rng = Random(seed)
    stages = rng.randint(1, 8)
    windows = seed % 2 == 1
    drawn = random_window(rng, stages=stages) if windows else random_problem(rng, stages=stages)
    text = drawn.to_json()
    raw = damage_values(rng, text) if rng.randrange(4) else damage_bytes(rng, text)
    problem: Problem | WindowProblem
    try:
        problem = (WindowProblem if windows else Problem).from_json(raw, "fuzzed.json")
    except DocumentError as error:
        assert error.path.startswith("$"), error
        assert "\n" not in str(error), error
        return "refused"
    outcome = ""
    for solver, limit in (("exact", 3_000), ("lns", 50) if windows else ("heft", 0)):
        try:
            answer = solve(problem, solver, limit_nodes=limit)
        except SolverError as error:
            assert error.hint
            outcome = outcome or f"{solver} gives up"
            continue
        if isinstance(problem, WindowProblem):
            assert isinstance(answer, WindowPlacement)
            report = check_window(problem, answer)
            assert str(explain(problem, answer, problem.stages[0].name if problem.stages else None, limit_nodes=10))
        else:
            assert isinstance(answer, Placement)
            report = check(problem, answer)
        assert report.ok, (solver, report)
        outcome = outcome or answer.status
    return outcome


def main() -> int:
    files, first = (int(text) for text in (sys.argv[1:3] + ["1000", "0"][len(sys.argv) - 1 :]))
    if "--batch" in sys.argv:
        for seed in range(first, first + files):
            print(seed, attempt(seed), sep="\t", flush=True)
        return 0
    outcomes: Counter[str] = Counter()
    failures = 0
    for start in range(first, first + files, BATCH):
        count = min(BATCH, first + files - start)
        command = [sys.executable, __file__, str(count), str(start), "--batch"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        lines = done.stdout.splitlines()
        outcomes.update(line.split("\t")[1] for line in lines)
        if done.returncode != 0:
            failures += 1
            print(f"FAILED at seed {start + len(lines)} (exit {done.returncode}): {done.stderr[-2000:]}")
    print(f"{sum(outcomes.values())} files, {failures} failures: {dict(sorted(outcomes.items()))}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
