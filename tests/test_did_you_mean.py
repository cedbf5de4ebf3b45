"""A name that is nearly right is answered with the one that was probably meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leo_runtime import Runtime, shipped, solve
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Problem
from leo_runtime.errors import LeoError, did_you_mean
from leo_runtime.operators import find_operator
from leo_runtime.solver.window import solve_window
from leo_runtime.testing.windows import random_window


def runtime() -> Runtime:
    demo, phone, costs = shipped.workload(), shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    return Runtime.simulated(demo, phone, costs, compute=False)


def submit_speach() -> None:
    with runtime() as one:
        one.submit(1_000_000, {}, graphs=["speach"])


def gate_lowd() -> None:
    graph = GraphBuilder("g", period_us=1, deadline_us=1)
    graph.stage("loud", "cost", chance_ppm=1, output_bytes=1)
    graph.stage("b", "cost", gate="lowd", output_bytes=1)
    graph.build()


def link_to_pcu() -> None:
    processors = [{"name": name, "backend": "none"} for name in ("cpu", "dsp")]
    links = [{"source": "dsp", "target": "pcu"}]
    Hardware.from_dict({"format": "leo-hardware/1", "name": "m", "processors": processors, "links": links})


@pytest.mark.parametrize(
    ("mistake", "meant"),
    [
        (lambda: shipped.hardware("snapdragon800"), "snapdragon-800"),
        (lambda: shipped.profile("wach"), "watch"),
        (lambda: shipped.recording("demmo"), "demo"),
        (lambda: shipped.workload().stream("micc"), "mic"),
        (lambda: shipped.recording("demo").stream("micc"), "mic"),
        (lambda: find_operator("mfc"), "mfcc"),
        (lambda: solve(Problem(format="leo-problem/1", name="p", resources=(), stages=()), "exakt"), "exact"),
        (lambda: solve_window(random_window(0), "exakt"), "exact"),
        (submit_speach, "speech"),
        (gate_lowd, "loud"),
        (link_to_pcu, "cpu"),
    ],
)
def test_what_was_probably_meant_is_said(mistake: Callable[[], object], meant: str) -> None:
    with pytest.raises(LeoError) as error:
        mistake()
    assert f"did you mean `{meant}`?" in error.value.hint


def test_all_are_named_unless_they_are_many() -> None:
    assert did_you_mean("c", ["a", "b"]) == "one of a, b"
    assert did_you_mean("alpha", ["alpha1", "b"], "it has") == "did you mean `alpha1`? it has alpha1, b"
    many = [f"name{number}" for number in range(30)]
    assert did_you_mean("name7x", many) == "did you mean `name7`?"
    assert did_you_mean("other", many) == f"one of {', '.join(many)}"
    assert did_you_mean("x", []) == "there is none"


def test_a_processor_that_is_not_there_is_no_slip_for_another() -> None:
    assert did_you_mean("gpu", ["cpu", "dsp"]) == "one of cpu, dsp"
    assert did_you_mean("pcu", ["cpu", "dsp"]) == "did you mean `cpu`? one of cpu, dsp"
