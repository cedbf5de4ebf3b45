"""Two checkouts, each with its own compiled search, on the same problems: is the new one slower, are answers the same?

    python tests/bench/paired.py OLD NEW [--launches N] [--problems N] [--only WORD]

OLD and NEW are folders of checkouts with the search compiled in place (`make setup`). Each is a process of its own, and
both get every problem in turn, old, new, old, new: what else the machine does meanwhile slows both. Counted is
processor time, not wall time, the less of a process's two turns, each with warm caches. Where a process happens to have
its memory is worth some per cent, so there are several pairs of processes. Given is a ratio, new to old: for each
problem that of the medians over the pairs, for each group of problems the median and the quartiles of those. OLD twice
says how far to trust it. Where an answer differs in anything but `solve_us` it is named.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time_ns
from typing import Any, Self

ENOUGH_NS = 4_000_000
"""A problem that takes less is solved several times a round."""


@dataclass(frozen=True, slots=True)
class Task:
    """One problem and what to do with it, in plain values."""

    group: str
    name: str
    how: str
    problem: str
    options: dict[str, Any] = field(default_factory=dict)


def tasks(problems: int) -> Iterator[Task]:
    """What `docs/performance.md` is about, to limits that repeat."""
    import exact
    import replan
    import scaling

    for size in (8, 12, 16, 20, 24):
        for number in range(problems):
            problem = exact.drawn(size, number)
            yield Task(f"exact, {size} stages", problem.name, "solve", problem.to_json(), {"limit_nodes": 20_000})
    for wander in (False, True):
        group = "frame after frame" + ", links wander" * wander
        for urgency in replan.URGENCIES:
            for seed, problem in enumerate(replan.workloads(20, max(problems // 5, 1), urgency)):
                conditions = replan.frames(problem, 20, seed, links_wander=wander)
                frames = [
                    {
                        "ready_us": one.ready_us,
                        "asleep": one.asleep,
                        "links": one.links,
                    }
                    for one in conditions
                ]
                yield Task(group, problem.name, "frames", problem.to_json(), {"frames": frames})
    for size in (40, 80):
        for number in range(max(problems // 3, 1)):
            for machine in scaling.MACHINES:
                problem = scaling.drawn(number, machine, stages=size)
                limits = {"solver": "lns", "limit_nodes": scaling.NODES}
                yield Task(f"lns, {size} stages", problem.name, "solve", problem.to_json(), limits)
    for number in range(max(problems // 2, 1)):
        problem = exact.drawn(12, number)
        yield Task("interpreted, 12 stages", problem.name, "interpreted", problem.to_json(), {"limit_nodes": 200})


def prepared(how: str, problem: str, options: dict[str, Any]) -> Callable[[], list[Any]]:
    """What is to be timed, with everything read; each call gives the documents of its answers."""
    from leo_runtime import Problem, solve
    from leo_runtime.solver import exact
    from leo_runtime.solver.compiled import Compiled
    from leo_runtime.solver.replan import Replanner

    read = Problem.from_json(problem)
    if how == "solve":
        return lambda: [solve(read, **options)]
    if how == "interpreted":

        def interpret() -> list[Any]:
            compiled = Compiled(read)
            return [exact.answer(compiled, compiled.kernel(by_interpreter=True), 0, **options)]

        return interpret
    conditions = [conditions_of(one, read) for one in options["frames"]]

    def replan() -> list[Any]:
        replanner = Replanner(read)
        return [replanner.frame(one) for one in conditions]

    return replan


def conditions_of(frame: dict[str, Any], problem: Any) -> Any:
    """What a frame finds, as the checkout at hand takes it: links were documents, and are their numbers."""
    ready = tuple((name, tuple(times)) for name, times in frame["ready_us"])
    links = {tuple(pair): tuple(now) for pair, now in frame["links"]}
    try:
        from leo_runtime.frame.conditions import Conditions
    except ImportError:
        from leo_runtime.solver.replan import Conditions

        documents = tuple(
            link.model_copy(update=dict(zip(("latency_us", "bytes_per_s"), links[pair], strict=True)))
            for link in problem.links
            if (pair := (link.source, link.target)) in links
        )
        return Conditions(ready_us=ready, asleep=tuple(frame["asleep"]), links=documents)
    return Conditions(ready_us=ready, asleep=tuple(frame["asleep"]), links=tuple(links.items()))


def digest(answers: list[Any]) -> str:
    """The answers without how long they took."""
    parts = [answer.model_dump(mode="json", exclude={"solve_us"}) for answer in answers]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def work() -> None:
    """In a process of a checkout: do what each line asks for, and say how long it took, in processor time."""
    import leo_runtime

    print(json.dumps(leo_runtime.__file__), flush=True)
    run: Callable[[], list[Any]] = list
    for line in sys.stdin:
        asked = json.loads(line)
        if "how" in asked:
            run = prepared(asked["how"], asked["problem"], asked["options"])
        times = asked["times"]
        if times > 1:
            # The other process had the caches.
            run()
        began = process_time_ns()
        for _ in range(times):
            answers = run()
        took = (process_time_ns() - began) // times
        print(json.dumps([took, digest(answers)]), flush=True)


class Checkout:
    """A checkout's process."""

    def __init__(self, folder: Path) -> None:
        python = folder / ".venv" / "bin" / "python"
        paths = os.pathsep.join(str(path.resolve()) for path in (folder, folder / "backends"))
        self._process = subprocess.Popen(
            [str(python) if python.exists() else sys.executable, str(Path(__file__).resolve()), "--work"],
            env=os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.package = Path(self._said())
        if not self.package.is_relative_to(folder.resolve()):
            raise SystemExit(f"{folder}: its process took leo_runtime from {self.package}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, times: int, task: Task | None = None) -> tuple[int, str]:
        """What one solving of the task (the last one, where none is given) takes, and the answers' digest."""
        assert self._process.stdin is not None
        asked: dict[str, Any] = {"times": times}
        if task is not None:
            asked |= {"how": task.how, "problem": task.problem, "options": task.options}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        took, answers = self._said()
        return took, answers

    def _said(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a checkout's process ended: what it said is above")
        return json.loads(line)


def taken(old: Checkout, new: Checkout, task: Task) -> tuple[int, int, bool]:
    """What old and new take, in processor time, and whether they answer the same. First runs do not count."""
    (took, first), (_, second) = old.ask(1, task), new.ask(1, task)
    times = 1 + ENOUGH_NS // max(took, 1)
    turns = [checkout.ask(times)[0] for checkout in (old, new, old, new)]
    return min(turns[::2]), min(turns[1::2]), first == second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--launches", type=int, default=7, help="pairs of processes, one after the other")
    parser.add_argument("--problems", type=int, default=20, help="in each group; fewer of those that take long")
    parser.add_argument("--only", default="", help="groups with this in their name")
    chosen = parser.parse_args()
    every = [task for task in tasks(chosen.problems) if chosen.only in task.group]
    times: list[list[tuple[int, int]]] = [[] for _ in every]
    for launch in range(chosen.launches):
        with Checkout(chosen.old) as old, Checkout(chosen.new) as new:
            for task, pairs in zip(every, times, strict=True):
                *pair, same = taken(old, new, task)
                pairs.append((pair[0], pair[1]))
                if not same and launch == 0:
                    print(f"{task.group}: `{task.name}` has another answer", flush=True)
    groups: dict[str, list[float]] = {}
    for task, pairs in zip(every, times, strict=True):
        before, after = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
        groups.setdefault(task.group, []).append(after / before)
    for name, ratios in groups.items():
        print(f"{name}: {shown(ratios)}")
    print(f"all: {shown([ratio for ratios in groups.values() for ratio in ratios])}")


def shown(ratios: list[float]) -> str:
    """Median, quartiles and extremes."""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return (
        f"median {middle:.3f} (quartiles {low:.3f} to {high:.3f}, all {min(ratios):.3f} to {max(ratios):.3f}; "
        f"{len(ratios)} problems)"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    else:
        main()
