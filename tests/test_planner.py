"""From what a frame finds to a plan: asked once, kept, and who answers."""

from __future__ import annotations

import pytest

from leo_runtime import plan, planner
from leo_runtime.plan import Plan
from test_runtime import LOUD, bench, one, simulated


@pytest.mark.parametrize("solver", ["exact", "heft"])
def test_a_processor_may_be_lost_in_its_sleep(solver: str) -> None:
    with simulated(solver=solver, hardware=bench(idle_timeout_us=0)) as runtime:
        runtime.lose("fast")
        runtime.submit(0, {"sound": LOUD}, links={("cpu", "fast"): (9, None)})
        result = one(runtime.drain())
    assert result.graphs[0].outcome == "done"
    assert {stage.resource for stage in result.stages} == {"cpu"}


def test_a_plan_is_made_once_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Plan] = []

    def counted(*given: object) -> Plan:
        made.append(plan.make_plan(*given))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(planner, "make_plan", counted)
    with simulated(hardware=bench(idle_timeout_us=None)) as runtime:
        for k in range(3):
            runtime.submit(k * 1000, {"sound": LOUD})
        solve_us = [result.placement.solve_us for result in runtime.drain()]
    assert len(made) == 1
    assert solve_us == [made[0].placement.solve_us, 0, 0]


def test_links_that_change_all_the_time_are_questions_of_one_kind() -> None:
    with simulated(solver="exact") as runtime:
        for k in range(5):
            runtime.submit(k * 1000, {"sound": LOUD}, links={("cpu", "fast"): (2 + k, None)})
        assert all(result.graphs[0].outcome == "done" for result in runtime.drain())
        assert len(runtime._planner._usual) == len(runtime._planner._replanners) == 1
