"""Early exits: a classifier here answers where the better one on the server has nothing to do, or does not in time."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leo_runtime import Runtime, cli
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.faults import faults_of
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.workload import TaskGraph, Workload
from leo_runtime.errors import DocumentError, GraphError
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.records import FrameResult
from leo_runtime.operators import NoParameters, Operator, Work, define
from leo_runtime.runtime.placing import TRIED_AGAIN
from reference_ledger import reference_ledger
from split_machine import DEADLINE_US, PERIOD_US, hardware, profile, workload
from test_runtime import SOURCE

ONLY_HERE = ("sound", "likely", "unsure")


def ears(*, chance_ppm: int = 1_000_000) -> GraphBuilder:
    """A classifier here, a gate that opens where it is unsure, and a network on the server behind that."""
    graph = GraphBuilder("ears", period_us=PERIOD_US, deadline_us=DEADLINE_US)
    sound = graph.stage("sound", "cost", output_bytes=1000)
    likely = graph.stage("likely", "cost", sound, output_bytes=4)
    unsure = graph.stage("unsure", "cost", likely, chance_ppm=chance_ppm, output_bytes=1)
    graph.stage("net", "cost", sound, gate=unsure, output_bytes=4)
    graph.exit("likely")
    return graph


def costs(*, net_here_us: int | None = None) -> dict[str, Any]:
    """The network runs on the server alone, unless it is said how long it takes here."""
    us = {"sound": 500, "likely": 2000, "unsure": 100}
    entries = [(stage, "cpu", lasts_us) for stage, lasts_us in us.items()] + [("net", "cloud", 4000)]
    entries += [] if net_here_us is None else [("net", "cpu", net_here_us)]
    return {
        **profile().model_dump(mode="json", exclude_defaults=True),
        "costs": [
            {"stage": stage, "processor": place, "fixed_us": lasts_us, "source": "modelled: a test"}
            for stage, place, lasts_us in entries
        ],
    }


def results(*faults: str, chance_ppm: int = 1_000_000, net_here_us: int | None = None) -> tuple[FrameResult, ...]:
    machine = hardware()
    with Runtime.simulated(
        workload(ears(chance_ppm=chance_ppm)),
        machine,
        type(profile()).from_dict(costs(net_here_us=net_here_us)),
        compute=False,
        faults=faults_of([f"fault {one}" for one in faults], machine, 0, 0),
    ) as runtime:
        for number in range(1, 11):
            runtime.submit(number * PERIOD_US, {})
        found = runtime.drain()
    graphs = dict.fromkeys(("sound", "likely", "unsure", "net"), ("ears",))
    one, other = run_ledger(found, machine, graphs), reference_ledger(found, machine, graphs)
    assert sorted(one.entries, key=str) == sorted(other.entries, key=str)
    return found


def ran(result: FrameResult) -> list[tuple[str, str, str]]:
    return [(one.stage, one.resource, one.outcome) for one in result.stages]


def answers(found: Sequence[FrameResult]) -> list[tuple[str, str, int]]:
    return [(graph.outcome, graph.exit, graph.latency_us) for result in found for graph in result.graphs]


def test_the_whole_answers_where_it_is_in_time() -> None:
    assert {answer[:2] for answer in answers(results())} == {("done", "")}


def test_the_exit_answers_where_it_is_sure() -> None:
    found = results(chance_ppm=0)
    assert answers(found) == [("done", "likely", 2600)] * 10
    assert not any(result.transfers for result in found), "what is sure is not sent"


def test_the_exit_answers_by_the_deadline_where_the_server_does_not() -> None:
    found = results("cloud@0.505-2,silent")
    assert answers(found)[:4] == [("done", "", answers(found)[0][2])] * 4
    assert answers(found)[4] == ("done", "likely", DEADLINE_US)
    assert not found[4].graphs[0].missed
    (net,) = [one for one in found[4].stages if one.stage == "net"]
    assert (net.outcome, net.end_us) == ("failed", 5 * PERIOD_US + DEADLINE_US)
    assert net.error == "not there by its deadline, and not waited for: `likely` answers"
    assert {answer[:2] for answer in answers(found)[4:]} == {("done", "likely")}
    assert not any(graph.missed for result in found for graph in result.graphs)
    assert found[4].reason == ""


def test_the_exit_answers_at_once_where_nothing_else_will() -> None:
    """The server dies as it computes, or its link falls as it is sent to: there is no other place for the rest."""
    for fault in ("cloud@0.505-2", "radio-cloud@0.503-2"):
        found = results(fault)
        assert answers(found)[4][:2] == ("done", "likely"), fault
        assert answers(found)[4][2] <= 5000
        assert {answer[:2] for answer in answers(found)[5:]} == {("done", "likely")}
        assert not any(one.stage == "net" for result in found[6:] for one in result.stages), "it is not even placed"


def test_the_rest_runs_here_where_it_can_in_time() -> None:
    found = results("cloud@0.505-2", net_here_us=30_000)
    assert {answer[:2] for answer in answers(found)} == {("done", "")}


def beside_hands(net_here_us: int | None, *faults: str) -> tuple[FrameResult, ...]:
    """Ten frames of the ears and of another graph, released together, which needs the device alone."""
    hands = GraphBuilder("hands", period_us=PERIOD_US, deadline_us=30_000)
    hands.stage("touch", "cost", output_bytes=10)
    both = Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "both",
            "streams": [],
            "graphs": [one.build().model_dump(mode="json") for one in (ears(), hands)],
        }
    )
    prices = costs(net_here_us=net_here_us)
    touch = {"stage": "touch", "processor": "cpu", "fixed_us": 300, "source": "modelled: a test"}
    prices = type(profile()).from_dict({**prices, "costs": [*prices["costs"], touch]})
    machine, faulty = hardware(), [f"fault {one}" for one in faults]
    with Runtime.simulated(
        both, machine, prices, compute=False, faults=faults_of(faulty, machine, 0, 0), window_stages=0
    ) as runtime:
        for number in range(1, 11):
            runtime.submit(number * PERIOD_US, {})
        return runtime.drain()


@pytest.mark.parametrize("net_here_us", [None, 200_000])
def test_a_graph_beside_it_is_none_the_worse(net_here_us: int | None) -> None:
    """The rest can run nowhere without the server, or here for longer than the deadline and the next frame: it is not
    even begun, neither by a plan nor in the middle of the frame in which the server dies."""
    found = beside_hands(net_here_us, "cloud@0.505-2")
    assert [(graph.outcome, graph.missed) for result in found for graph in result.graphs] == [("done", False)] * 20
    assert [result.graphs[0].exit for result in found] == [""] * 4 + ["likely"] * 6
    assert not any(one.resource == "cpu" for result in found for one in result.stages if one.stage == "net")
    assert ran(found[4])[-1] == ("net", "cloud", "failed")
    assert not any(one.stage == "net" for result in found[5:] for one in result.stages)


def test_what_was_too_late_by_what_runs_took_is_tried_again() -> None:
    """The network was slow, and just in time; then the exit became slower, and the network fast, which nobody sees."""

    def noise(frame: int, stage: str, _resource: str, duration_us: int) -> int:
        slower = {"net": 18 if frame < 25 else 1, "likely": 1 if frame < 10 else 4}
        return duration_us * slower.get(stage, 1)

    machine = hardware()
    with Runtime.simulated(
        workload(ears()),
        machine,
        type(profile()).from_dict(costs()),
        compute=False,
        adapt=True,
        noise=noise,
        window_stages=0,
    ) as runtime:
        found: list[FrameResult] = []
        for number in range(1, 60):
            runtime.submit(number * PERIOD_US, {})
            found += runtime.results(1.0)
        found += runtime.drain()
    tried = [number for number, result in enumerate(found) if any(one.stage == "net" for one in result.stages)]
    late = [number for number in tried if number > 30]
    assert 2 <= len(late) < 5, tried
    assert {later - one for one, later in pairwise(late)} == {TRIED_AGAIN}
    assert not any(graph.missed for result in found for graph in result.graphs)


def test_the_last_of_several_answers() -> None:
    graph = GraphBuilder("ears", period_us=PERIOD_US, deadline_us=DEADLINE_US)
    first = graph.stage("sound", "cost", output_bytes=1000)
    second = graph.stage("likely", "cost", first, output_bytes=4)
    graph.stage("net", "cost", second, output_bytes=4)
    graph.exit("sound")
    graph.exit("likely")
    machine = hardware()
    with Runtime.simulated(
        workload(graph),
        machine,
        type(profile()).from_dict(costs()),
        compute=False,
        faults=faults_of(["fault cloud@0.1-2,silent"], machine, 0, 0),
    ) as runtime:
        runtime.submit(PERIOD_US, {})
        (result,) = runtime.drain()
    assert answers([result]) == [("done", "likely", DEADLINE_US)]


def test_the_exit_answers_where_a_gate_hangs_on_the_gate_that_is_closed() -> None:
    """Of what is left out the inner gate is a part: it is no more asked than what waits for it."""
    graph = ears()
    sure = graph.stage("sure", "cost", "net", gate="unsure", chance_ppm=500_000, output_bytes=1)
    graph.stage("more", "cost", "net", gate=sure, output_bytes=4)
    known = costs()
    known["costs"] += [{**known["costs"][-1], "stage": stage} for stage in ("sure", "more")]
    with Runtime.simulated(workload(graph), hardware(), type(profile()).from_dict(known), compute=False) as runtime:
        runtime.lose("cloud")
        runtime.submit(PERIOD_US, {})
        (result,) = runtime.drain()
    assert answers([result]) == [("done", "likely", 2600)], result.reason


def test_a_stage_that_another_graph_waits_for_goes_on() -> None:
    other = ears().build()
    text = other.model_dump(mode="json", exclude_defaults=True)
    twin = TaskGraph.model_validate({**text, "name": "others", "exits": ()}, strict=False)
    both = Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "both",
            "streams": [],
            "graphs": [one.model_dump(mode="json") for one in (other, twin)],
        }
    )
    machine = hardware()
    with Runtime.simulated(
        both,
        machine,
        type(profile()).from_dict(costs()),
        compute=False,
        faults=faults_of(["fault cloud@0.1-0.25,silent"], machine, 0, 0),
    ) as runtime:
        runtime.submit(PERIOD_US, {})
        (result,) = runtime.drain()
    assert [(graph.exit, graph.missed) for graph in result.graphs] == [("likely", False), ("", True)]


def test_the_example_answers_as_the_page_says(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = Path(__file__).parent.parent / "docs" / "examples"
    named = [f"--{kind}={folder / name}" for kind, name in (
        ("workload", "exit.toml"), ("hardware", "exit.hardware.toml"), ("profile", "exit.profile.toml")
    )]  # fmt: skip
    asked = ["--virtual", "--seconds=60", "--no-compare", "--no-trace", "--fault=server@20-30", f"--out={tmp_path}"]
    cli.main(["replay", *named, *asked])
    said = capsys.readouterr().out
    assert re.search(r"^eyes +300 +300 +0 +0 ", said, re.MULTILINE)
    assert "done by an exit: eyes by small (206 times)" in said
    page = (folder.parent / "failures.md").read_text()
    assert "answers all 300 frames in time, 206 of them by the exit" in page


# With values, and in real time.

for _name in ("exits_likely", "exits_net"):
    define(Operator(_name, "Two scores.", NoParameters, lambda _p, _s: (2,), lambda _p, _s: Work(9, 9)))
define(Operator("exits_unsure", "Always.", NoParameters, lambda _p, _s: (1,), lambda _p, _s: Work(9, 9), is_gate=True))


class Slow:
    """Backends of the device and of a server, which does not answer before it is let."""

    name = "fake"
    simulated = False

    def __init__(
        self, scores: Sequence[float], answers: threading.Event | None = None, *, everything: bool = False
    ) -> None:
        self.scores, self.answers, self.everything = scores, answers, everything

    def supports(self, stage: BoundStage, _variant: str, /) -> bool:
        return self.everything or (self.answers is None) == (stage.name != "net")

    def load(self, stage: BoundStage, _variant: str, /) -> Kernel:
        return Kernel(self, stage.name)

    def close(self) -> None:
        pass


class Kernel:
    """One stage."""

    def __init__(self, backend: Slow, stage: str) -> None:
        self.backend, self.stage = backend, stage

    def __call__(self, inputs: Sequence[np.ndarray], /) -> np.ndarray:
        answers = self.backend.answers
        if answers is not None and inputs[0].any():  # Kernels are first run on zeros.
            answers.wait(30.0)
        if self.stage == "sound":
            return inputs[0].astype(np.float32)
        return np.array([1.0] if self.stage == "unsure" else self.backend.scores, np.float32)


@pytest.mark.parametrize("answers", [False, True])
def test_in_real_time_the_exit_s_label_is_told_at_the_deadline(answers: bool) -> None:
    graph = GraphBuilder("ears", period_us=10_000_000, deadline_us=1_500_000)
    sound = graph.stage("sound", SOURCE.name, stream="mic", samples=4)
    likely = graph.stage("likely", "exits_likely", sound)
    unsure = graph.stage("unsure", "exits_unsure", likely)
    graph.stage("net", "exits_net", sound, gate=unsure)
    graph.exit("likely")
    graph.decide("net", labels=("quiet", "loud"))
    machine = hardware()
    both = Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "live",
            "streams": [{"name": "mic", "kind": "audio", "rate_hz": 1000}],
            "graphs": [graph.build().model_dump(mode="json")],
        }
    )
    let_go = threading.Event()
    if answers:
        let_go.set()
    entries = [{"processor": name, "fixed_us": 100, "source": "modelled: a test"} for name in ("cpu", "cloud")]
    prices = type(profile()).from_dict({**costs(), "costs": entries})
    backends = {"cpu": Slow([0.9, 0.1]), "cloud": Slow([0.1, 0.9], let_go)}
    with Runtime.live(both, machine, prices, backends=backends) as runtime:
        runtime.submit(0, {"sound": np.ones(4, np.int16)})
        (result,) = runtime.drain(20.0)
        let_go.set()
    (answer,) = result.graphs
    assert result.reason == ""
    assert (answer.outcome, answer.exit, answer.label) == (
        ("done", "", "loud") if answers else ("done", "likely", "quiet")
    )
    assert answers or (answer.end_us == 1_500_000 and not answer.missed)


def test_in_real_time_what_a_server_does_not_answer_is_computed_here_by_the_deadline() -> None:
    graph = GraphBuilder("ears", period_us=10_000_000, deadline_us=2_000_000)
    sound = graph.stage("sound", SOURCE.name, stream="mic", samples=4)
    graph.stage("told", "exits_likely", graph.stage("net", "exits_net", sound))
    both = Workload.from_dict(
        {
            "format": "leo-workload/1",
            "name": "live",
            "streams": [{"name": "mic", "kind": "audio", "rate_hz": 1000}],
            "graphs": [graph.build().model_dump(mode="json")],
        }
    )
    here_us = {"cpu": 500_000, "cloud": 100}
    entries = [{"processor": name, "fixed_us": us, "source": "modelled: a test"} for name, us in here_us.items()]
    prices = type(profile()).from_dict({**costs(), "costs": entries})
    let_go = threading.Event()
    backends = {"cpu": Slow([0.9, 0.1], everything=True), "cloud": Slow([0.1, 0.9], let_go)}
    with Runtime.live(both, hardware(), prices, backends=backends) as runtime:
        runtime.submit(0, {"sound": np.ones(4, np.int16)})
        (result,) = runtime.drain(20.0)
        let_go.set()
    assert ran(result) == [
        ("sound", "cpu", "done"),
        ("net", "cloud", "failed"),
        ("net", "cpu", "done"),
        ("told", "cpu", "done"),
    ]
    assert not result.graphs[0].missed


def test_what_an_exit_needs_is_said() -> None:
    graph = ears()
    graph.exit("net")
    with pytest.raises(GraphError, match="which is due anyway"):
        graph.build()
    text = ears().build().model_dump(mode="json")
    with pytest.raises(DocumentError, match='no stage of graph "ears" is called "likly"'):
        Workload.from_dict(
            {"format": "leo-workload/1", "name": "x", "streams": [], "graphs": [{**text, "exits": ["likly"]}]}
        )
