"""An answer in the form of `leo-placement/1` to a window's question, completed to one of `leo-placement/2`."""

from __future__ import annotations

from leo_runtime.documents.problem import Placement
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.judge.frame import broken_format
from leo_runtime.judge.window import check_window
from leo_runtime.solver.window_bounds import least
from leo_runtime.solver.window_schedule import Choice, Placing, Window, arranged, placement

VIOLATIONS_SAID = 3
"""How many broken rules of an answer are named."""

_Key = tuple[int, int | None]
"""A stage, and the resource its output is sent to; None for its run."""
_RULES = "docs/window-problem.md has the rules"


def complete(problem: WindowProblem, answer: Placement) -> WindowPlacement:
    """The same modes and lanes, and on each lane the same order; nothing waits for a gate, and spans are the fewest.

    Times are those of the order, each as early as the rules allow; so what the answer itself says about times, spans
    and bounds does not matter, nor does a transfer that it leaves out or adds. Where everything used could sleep in
    between, it is held awake instead. The answer is judged: raises `SolverError` where it breaks a rule, or where
    nothing can be made of it.
    """
    if broken := broken_format(answer, Placement):
        raise SolverError(f"the answer to `{problem.name}` cannot be completed: {broken}", hint=_RULES)
    if answer.status == "infeasible":
        return WindowPlacement(
            format="leo-placement/2",
            problem=answer.problem,
            solver=answer.solver,
            status="infeasible",
            reason=answer.reason or "the solver gives no reason",
            solve_us=answer.solve_us,
        )
    window = Window(problem)
    choice = _choice(window, answer)
    placing = Placing(window, choice)
    for (i, target), lane in _turns(window, answer):
        if target is None:
            placing.run(i, lane)
        elif not placing.send(i, target, lane):
            here, there = window.mode(i, choice.modes).resource, window.resources[target].name
            what = f"sends the output of `{window.stages[i].name}` from {here} to {there}, where no link leads"
            raise SolverError(f"the answer to `{problem.name}` {what}", hint=_RULES)
    completed = placement(window, placing.finished(held=True), answer.solver, least(window), answer.solve_us)
    completed = completed.model_copy(update={"problem": answer.problem})
    report = check_window(problem, completed)
    if not report.ok:
        wrong = "; ".join(map(str, (*report.violations, *report.false_claims)[:VIOLATIONS_SAID]))
        raise SolverError(f"the answer to `{problem.name}` breaks a rule: {wrong}", hint=_RULES)
    return completed


def _choice(window: Window, answer: Placement) -> Choice:
    """The answer's modes. Raises `SolverError` where a stage has none, or one that it cannot have."""
    runs = {run.stage: run for run in answer.stages}
    for row in answer.stages:
        if row is not runs[row.stage] or row.stage not in window.position:
            what = f"places `{row.stage}`, which {'it does twice' if row is not runs[row.stage] else 'is no stage'}"
            raise SolverError(f"the answer to `{window.problem.name}` {what}", hint=_RULES)
    modes = []
    for stage in window.stages:
        run = runs.get(stage.name)
        if run is None:
            raise SolverError(f"the answer to `{window.problem.name}` does not place `{stage.name}`", hint=_RULES)
        numbers = [
            g for g, mode in enumerate(stage.modes) if (mode.resource, mode.variant) == (run.resource, run.variant)
        ]
        if not numbers:
            what = f"runs `{stage.name}` on {run.resource} as {run.variant}, which it cannot"
            raise SolverError(f"the answer to `{window.problem.name}` {what}", hint=_RULES)
        modes.append(numbers[0])
    return Choice(tuple(modes), tuple(range(len(modes))))


def _turns(window: Window, answer: Placement) -> list[tuple[_Key, int | None]]:
    """Stages and the transfers that they need in the order in which the answer starts them, with the lane of each."""
    runs = {run.stage: run for run in answer.stages}
    rows = {(row.stage, row.target): row for row in answer.transfers}
    lanes = _Lanes(window)
    keys: list[_Key] = []
    waits: list[list[int]] = []
    turns: list[tuple[int, int]] = []
    on: list[int | None] = []
    for i, stage in enumerate(window.stages):
        run = runs[stage.name]
        keys.append((i, None))
        waits.append([])
        turns.append((run.start_us, 1))
        on.append(lanes.known(run.resource, run.lane, f"`{stage.name}`"))
    number: dict[_Key, int] = {}
    for i, stage in enumerate(window.stages):
        here = runs[stage.name].resource
        for j in window.inputs[i]:
            waits[i].append(j)
            name = window.stages[j].name
            if runs[name].resource == here:
                continue
            key = (j, window.number[here])
            if key not in number:
                row = rows.get((name, here))
                number[key] = len(keys)
                keys.append(key)
                waits.append([j])
                turns.append((runs[name].end_us if row is None else row.start_us, 0))
                found = window.links.get((window.number[runs[name].resource], window.number[here]))
                radio = None if found is None else found[0].resource
                lane = None if row is None or radio is None else row.lane
                on.append(
                    None if lane is None or radio is None else lanes.known(radio, lane, f"the output of `{name}`")
                )
            waits[i].append(number[key])
    order = sorted(range(len(keys)), key=lambda k: turns[k])
    return [(keys[k], on[k]) for k in arranged(order, waits)]


class _Lanes:
    """The lanes of an answer as they are numbered here: of very many that are all alike only the first are kept."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._numbers: dict[int, dict[int, int]] = {}

    def known(self, name: str, lane: int, what: str) -> int:
        """The number of a lane. Raises `SolverError` where there is none like it."""
        r = self._window.number[name]
        resource = self._window.resources[r]
        if not 0 <= lane < resource.lanes:
            raise SolverError(
                f"the answer to `{self._window.problem.name}` has {what} on lane {lane} of {name}, which has "
                f"{resource.lanes}",
                hint=_RULES,
            )
        if resource.lanes == self._window.lanes(r):
            return lane
        numbers = self._numbers.setdefault(r, {})
        return numbers.setdefault(lane, len(numbers))
