"""A graph that can run on nothing that is left does not take those down that are released with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cost_workloads import profile_of, random_machine, random_profile, random_workload, workload_of
from leo_runtime import Runtime, cli
from leo_runtime.daemon.telling import Teller
from leo_runtime.documents.faults import faults_of
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.lower import frame_problem, merge, price
from leo_runtime.frame.nowhere import nowhere
from leo_runtime.frame.records import FrameResult, reason_of
from leo_runtime.replay.failures import Failures
from leo_runtime.replay.frame_facts import whys_failed
from leo_runtime.replay.log_reader import read_log
from leo_runtime.replay.rebuilt import rebuilt
from leo_runtime.replay.why import whys
from leo_runtime.runtime.planner import no_placement
from leo_runtime.solver import solve
from reference_ledger import reference_ledger
from run_logs import replayed_into
from split_machine import DEADLINE_US, PERIOD_US, hardware
from test_runtime import LOUD, bench, fake_backends, loud_graph, other_graph, workload

GONE = "stage `net` has no processor left that could run it, as `cloud` is lost; a mode on another one would let it run"
CUT = (
    "no link that is up leads from where `sound` can run (`cpu`) to where `net` can (`cloud`); a mode on another "
    "processor would let it run"
)
FAULTS = {"cloud@0.605-0.85": GONE, "radio-cloud@0.603-0.85": CUT}
"""What happens as the sixth frame has begun, and lasts for two more, and what is said of these."""

COSTS_US = {("sound", "cpu"): 500, ("touch", "cpu"): 300, ("net", "cloud"): 4000}


def chain(name: str, *stages: str, weight: int = 1, ends: str = "") -> TaskGraph:
    builder = GraphBuilder(name, period_us=PERIOD_US, deadline_us=DEADLINE_US, weight=weight)
    before: tuple[str, ...] = ()
    for stage in stages:
        builder.stage(stage, "cost", *before, output_bytes=1000)
        before = (stage,)
    if ends:
        builder.exit(ends)
    return builder.build()


def far(**more: Any) -> TaskGraph:
    return chain("far", "sound", "net", **more)


NEAR = {"sharing a stage": chain("near", "sound", "touch"), "by itself": chain("near", "touch")}


def gated(name: str, tail: str, *, ends: str = "") -> TaskGraph:
    """After `sound`, a gate, and what hangs on it."""
    builder = GraphBuilder(name, period_us=PERIOD_US, deadline_us=DEADLINE_US)
    sound = builder.stage("sound", "cost", output_bytes=1000)
    unsure = builder.stage("unsure", "cost", sound, chance_ppm=999_999, output_bytes=1)
    builder.stage(tail, "cost", sound, gate=unsure, output_bytes=4)
    if ends:
        builder.exit(ends)
    return builder.build()


GATED_US = {**COSTS_US, ("unsure", "cpu"): 10, ("more", "cloud"): 100, ("mild", "cpu"): 200}


def closes_nothing(_graphs: tuple[str, ...]) -> tuple[str, ...]:
    return ()


def costs(us: dict[tuple[str, str], int]) -> Profile:
    return profile_of({mode: (lasts_us, 1000) for mode, lasts_us in us.items()}, "split")


def results(*graphs: TaskGraph, fault: str, us: dict[tuple[str, str], int] = COSTS_US, **options: Any) -> Any:
    """What becomes of ten frames of these graphs, and of the runtime."""
    machine, work = hardware(), workload_of(*graphs)
    faults = faults_of([f"fault {fault}"], machine, 0, 0)
    with Runtime.simulated(work, machine, costs(us), compute=False, faults=faults, **options) as runtime:
        for number in range(1, 11):
            runtime.submit(number * PERIOD_US, {})
        found = runtime.drain()
    of: dict[str, tuple[str, ...]] = {stage.name: stage.graphs for stage in merge(work).stages}
    one, other = run_ledger(found, machine, of), reference_ledger(found, machine, of)
    assert sorted(one.entries, key=str) == sorted(other.entries, key=str)
    return found, runtime


def outcomes(found: Sequence[FrameResult], graph: str) -> str:
    """By frame, with a dot for each that is done in time."""
    seen = [one for result in found for one in result.graphs if one.graph == graph]
    return "".join("x" if one.outcome == "failed" else "-" if one.missed else "." for one in seen)


@pytest.mark.parametrize("near", NEAR.values(), ids=NEAR)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("windows", [0, 12])
def test_the_others_run(near: TaskGraph, fault: str, windows: int) -> None:
    for graphs in ((far(), near), (near, far())):
        found, runtime = results(*graphs, fault=fault, window_stages=windows)
        assert (outcomes(found, "far"), outcomes(found, "near")) == (".....xxx..", "..........")
        why = f"`far` cannot run: {FAULTS[fault]}"
        assert [result.unplaced for result in found] == [{}] * 6 + [{"far": why}] * 2 + [{}] * 2
        assert [result.reason for result in found[6:8]] == [why] * 2
        assert found[5].reason in (
            "processor `cloud` was lost (it is gone, as the fault says that was asked for)",
            "the output of `sound` cannot get from `cpu` to `cloud`",
        ), "in the middle of a frame a stage fails, and what reads it"
        assert all(result.placement.status != "infeasible" and not result.skipped for result in found)
        assert all(result.let_in == ("near",) for result in found[6:8])
        assert {run.stage for result in found[6:8] for run in result.stages} == {one.name for one in near.stages}
        assert not any(runtime.shed.values())
        assert runtime.skipped == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_windows_are_planned_on(fault: str) -> None:
    """What cannot run is not foreseen either, so that what can is placed with what follows."""
    _, runtime = results(far(), NEAR["by itself"], fault=fault, window_stages=12)
    assert runtime.planning.alone == 0


def test_three_graphs_of_which_two_cannot_run() -> None:
    graphs = (chain("first", "sound", "net"), NEAR["sharing a stage"], chain("last", "touch", "net"))
    found, _ = results(*graphs, fault="cloud@0.605-0.85", us={**COSTS_US, ("last.net", "cloud"): 4000})
    assert [outcomes(found, name) for name in ("first", "near", "last")] == [".....xxx..", "..........", ".....xxx.."]
    assert list(found[6].unplaced) == ["first", "last"]
    assert found[6].reason == "; ".join(found[6].unplaced.values())


def test_a_stage_of_several_graphs_that_runs_nowhere_fails_each_of_them() -> None:
    graphs = (far(), chain("deep", "sound", "net", "touch"), chain("near", "touch"))
    us = {**COSTS_US, ("deep.touch", "cpu"): 300}
    found, _ = results(*graphs, fault="cloud@0.605-0.85", us=us)
    assert [outcomes(found, name) for name in ("far", "deep", "near")] == [".....xxx..", ".....xxx..", ".........."]


def test_where_nothing_can_run_the_frame_fails() -> None:
    for graphs in ((far(),), (far(), chain("deep", "sound", "net", "touch"))):
        found, _ = results(*graphs, fault="cloud@0.605-0.85")
        assert all(outcomes(found, graph.name) == ".....xxx.." for graph in graphs)
        assert [result.reason for result in found[6:8]] == [GONE] * 2
        assert all(result.placement.status == "infeasible" and not result.unplaced for result in found[6:8])


def test_who_has_an_exit_beside_it_answers_by_it() -> None:
    """The first has an exit, so it can run; without the second its gate may stay closed."""
    graphs = (gated("ears", "more", ends="sound"), far(), NEAR["by itself"])
    for windows in (0, 12):
        found, _ = results(*graphs, fault="cloud@0.605-0.85", us=GATED_US, window_stages=windows)
        assert [outcomes(found, name) for name in ("ears", "far", "near")] == ["." * 10, ".....xxx..", "." * 10]
        assert all(one.exit == "sound" for result in found[6:8] for one in result.graphs if one.graph == "ears")


@pytest.mark.parametrize("windows", [0, 12])
def test_an_exit_whose_gate_another_needs_takes_nobody_down(windows: int) -> None:
    """The gate cannot stay closed, on which hangs what can run as well as what cannot: only the other can be placed."""
    graphs = (gated("ears", "more", ends="sound"), gated("nose", "mild"))
    for asked in (graphs, graphs[::-1]):
        found, _ = results(*asked, fault="cloud@0.605-0.85", us=GATED_US, window_stages=windows)
        assert outcomes(found, "nose") == "." * 10
        assert outcomes(found, "ears") == "......xx..", "in the sixth its exit answers: it was placed before"
        assert [list(result.unplaced) for result in found[6:8]] == [["ears"]] * 2


def test_an_exit_whose_gate_nobody_needs_who_can_run_answers() -> None:
    graphs = (gated("ears", "more", ends="sound"), gated("nose", "mild"), chain("last", "sound", "net"))
    found, _ = results(graphs[0], gated("nose", "far"), fault="cloud@0.605-0.85", us={**GATED_US, ("far", "cloud"): 9})
    assert (outcomes(found, "ears"), outcomes(found, "nose")) == ("." * 10, "......xx..")
    assert [list(result.unplaced) for result in found[6:8]] == [["nose"]] * 2
    found, _ = results(*graphs, fault="cloud@0.605-0.85", us=GATED_US)
    assert [list(result.unplaced) for result in found[6:8]] == [["last", "ears"]] * 2


def other_times(**more: Any) -> TaskGraph:
    """What only the server can run, half a period after all others."""
    builder = GraphBuilder("far", period_us=PERIOD_US, deadline_us=DEADLINE_US, offset_us=PERIOD_US // 2, **more)
    sound = builder.stage("sound", "cost", output_bytes=1000)
    builder.stage("net", "cost", sound, output_bytes=10)
    return builder.build()


def in_turn(*graphs: TaskGraph, fault: str, us: dict[tuple[str, str], int] = COSTS_US, **options: Any) -> Any:
    """What becomes of twenty frames of `far`, each half a period after one of the others, and of the runtime."""
    machine = hardware()
    faults = faults_of([f"fault {fault}"], machine, 0, 0)
    with Runtime.simulated(
        workload_of(*graphs), machine, costs(us), compute=False, faults=faults, **options
    ) as runtime:
        for number in range(2, 42):
            here = [graph.name for graph in graphs if (graph.name == "far") == (number % 2 == 1)]
            runtime.submit(number * PERIOD_US // 2, {}, graphs=here)
        return runtime.drain(), runtime


@pytest.mark.parametrize("fault", ["cloud@0.855-1.5", "radio-cloud@0.853-1.5"])
def test_windows_foresee_nothing_that_can_run_nowhere(fault: str) -> None:
    """Also where it comes at times of its own: only its own frames have no window while it is gone."""
    found, runtime = in_turn(other_times(), NEAR["by itself"], fault=fault, window_stages=12)
    failed = Counter(one.graph for result in found for one in result.graphs if one.outcome == "failed")
    assert list(failed) == ["far"]
    assert runtime.planning.shortened == 0
    unplaced = [result for result in found if result.placement.status == "infeasible"]
    assert runtime.planning.alone == len(unplaced) > 3
    assert all(one.graph == "far" for result in unplaced for one in result.graphs)


def test_who_cannot_run_and_comes_at_other_times_makes_no_room_for_others() -> None:
    """Once is more to be done than there is time for, while what weighs least is gone: it would be in nobody's way."""
    graphs = (other_times(), chain("near", "touch", weight=4), chain("light", "more", weight=2))
    us = {**COSTS_US, ("touch", "cpu"): 20_000, ("more", "cpu"): 40_000}

    def noise(frame: int, stage: str, _resource: str, duration_us: int) -> int:
        return duration_us * 9 // 2 if (frame, stage) == (12, "more") else duration_us

    found, runtime = in_turn(*graphs, fault="cloud@0.605-0.95", us=us, noise=noise, window_stages=0)
    assert runtime.shed["far"] == 0 < runtime.shed["light"]
    assert outcomes(found, "far") == ".....xxxxxxxx.......", "until it is asked whether it is back"


def test_who_cannot_run_pushes_nobody_out() -> None:
    """However much it weighs."""
    graphs = (far(weight=8), chain("near", "touch", weight=4), chain("light", "more"))
    us = {**COSTS_US, ("more", "cpu"): 40_000}
    found, runtime = results(*graphs, fault="cloud@0.605-0.85", us=us)
    assert [outcomes(found, name) for name in ("far", "near", "light")] == [".....xxx..", "." * 10, "." * 10]
    assert not any(runtime.shed.values())


def test_who_cannot_run_does_not_make_room_for_others() -> None:
    """Only while it is gone is more to be done than there is time for: not the lightest goes, which is not there."""
    graphs = (far(), chain("near", "touch", weight=4), chain("light", "more", weight=2))
    us = {**COSTS_US, ("touch", "cpu"): 20_000, ("more", "cpu"): 40_000}
    machine = hardware()

    def noise(frame: int, stage: str, _resource: str, duration_us: int) -> int:
        return duration_us * 9 // 2 if (frame, stage) == (6, "more") else duration_us

    faults = faults_of(["fault cloud@0.605-0.85"], machine, 0, 0)
    with Runtime.simulated(
        workload_of(*graphs), machine, costs(us), compute=False, faults=faults, noise=noise, window_stages=0
    ) as runtime:
        for number in range(1, 11):
            runtime.submit(number * PERIOD_US, {})
        found = runtime.drain()
    assert outcomes(found, "far") == ".....xxx.."
    assert runtime.shed["light"] > 0 == runtime.shed["far"]


def test_who_is_shed_and_who_cannot_run_are_told_apart() -> None:
    graphs = (far(weight=4), chain("near", "touch", weight=4), chain("light", "more"))
    us = {**COSTS_US, ("touch", "cpu"): 50_000, ("more", "cpu"): 50_000}
    found, runtime = results(*graphs, fault="cloud@0.605-0.85", us=us, window_stages=0)
    assert outcomes(found, "near") == "." * 10
    assert all("light" in result.shed and list(result.unplaced) == ["far"] for result in found[6:8])
    assert runtime.shed == {"far": 0, "near": 0, "light": 10}
    assert all(len(result.graphs) == 3 for result in found)
    teller = Teller(merge(workload_of(*graphs)), ())
    shed = "shed: `light` made room for what weighs more"
    for result in found[5:8]:
        assert {one.graph: one.reason for one in teller.answers(result, 0) if one.outcome == "shed"} == {"light": shed}
        assert reason_of(result, "light") == shed
    assert found[6].reason == f"`far` cannot run: {GONE}; {shed}"


def test_of_a_batch_the_others_run() -> None:
    machine = hardware()
    with Runtime.simulated(workload_of(far(), NEAR["sharing a stage"]), machine, costs(COSTS_US), compute=False) as run:
        run.lose("cloud")
        run.submit_batch([(PERIOD_US, {}), (2 * PERIOD_US, {})])
        (result,) = run.drain()
    seen = Counter((one.graph, one.number, one.outcome) for one in result.graphs)
    assert seen == dict.fromkeys(
        [("near", 0, "done"), ("near", 1, "done"), ("far", 0, "failed"), ("far", 1, "failed")], 1
    )
    assert result.unplaced == {"far": f"`far` cannot run: {GONE}"}


def test_of_a_batch_no_exit_answers() -> None:
    """So who has one can run no more than any other whose processor is lost."""
    graphs = (gated("ears", "more", ends="sound"), NEAR["by itself"])
    with Runtime.simulated(workload_of(*graphs), hardware(), costs(GATED_US), compute=False) as run:
        run.lose("cloud")
        run.submit_batch([(PERIOD_US, {}), (2 * PERIOD_US, {})])
        run.submit(3 * PERIOD_US, {})
        batch, after = run.drain()
    seen = Counter((one.graph, one.outcome) for one in batch.graphs)
    assert seen == {("near", "done"): 2, ("ears", "failed"): 2}
    assert list(batch.unplaced) == ["ears"]
    assert all(one.outcome == "done" for one in after.graphs), "of a frame by itself it does"


@pytest.mark.parametrize("fault", FAULTS)
def test_who_decides_as_frames_run_is_asked_of_what_can(fault: str) -> None:
    """Such a policy waits for a link, which may come back: only who has no processor is left out."""
    found, _ = results(far(), NEAR["by itself"], fault=fault, solver="shortest-expected-latency")
    assert outcomes(found, "near") == "." * 10
    assert outcomes(found, "far") == ".....xxx.."
    assert [bool(result.unplaced) for result in found[6:8]] == [fault.startswith("cloud")] * 2


# The log, and what is told of it.


@pytest.mark.parametrize("windows", [0, 12])
def test_a_log_says_who_could_not_run(tmp_path: Path, windows: int) -> None:
    machine, work = hardware(), workload_of(far(), NEAR["sharing a stage"])
    texts = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        faults = faults_of(["fault cloud@0.605-0.85"], machine, 0, 0)
        _, ended = replayed_into(
            folder, work, machine, costs(COSTS_US), length_us=1_050_000, faults=faults, window_stages=windows
        )
        texts.append((folder / "log.jsonl").read_text().split("\n", 1)[1])
    assert texts[0] == texts[1], "the same run gives the same lines"
    far_there, near_there = (next(one for one in ended.summary.pipelines if one.graph == n) for n in ("far", "near"))
    assert (near_there.failed, near_there.deadline_misses) == (0, 0)
    assert far_there.failed == far_there.deadline_misses == 3
    told = {one.what: one for one in ended.summary.failures}
    assert {what: one.count for what, one in told.items()} == {"`far`": 2, "net on cloud": 1}
    assert (told["`far`"].why, told["`far`"].is_overload) == (f"`far` cannot run: {GONE}", False)
    with read_log(folder) as log:
        frames = list(log.frames())
        out = [frame for frame in frames if frame.unplaced]
        assert len(out) == 2
        for line in out:
            assert line.unplaced == {"far": f"`far` cannot run: {GONE}"}
            assert line.status != "unplaced"
            assert all(run.graphs == ("near",) for run in line.stages)
            assert whys_failed(line) == [f"`far` cannot run: {GONE}"]
            (why,) = whys(log, line.frame)
            assert (why.graph, why.reason, why.steps) == ("far", f"`far` cannot run: {GONE}", ())
            again = rebuilt(line, None, policy="exact")
            assert (again.unplaced, again.reason, again.let_in) == (line.unplaced, line.reason, ("near",))


def test_the_page_s_words_are_what_a_replay_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, document in (
        ("workload", workload_of(far(), NEAR["by itself"])),
        ("hardware", hardware()),
        ("profile", costs(COSTS_US)),
    ):
        (tmp_path / f"{name}.json").write_text(document.model_dump_json(exclude_defaults=True))
    named = [f"--{name}={tmp_path / name}.json" for name in ("workload", "hardware", "profile")]
    asked = ["--virtual", "--seconds=3", "--no-compare", "--no-trace", "--fault=cloud@1-2", f"--out={tmp_path / 'run'}"]
    cli.main(["replay", *named, *asked])
    said = " ".join(capsys.readouterr().out.split())
    assert "`far` cannot run: stage `net` has no processor left" in said
    assert " near 30 30 0 0 " in said


def test_a_daemon_s_answers_say_it_of_that_graph_alone() -> None:
    """Also where the others were skipped, or another one failed for a reason of its own."""
    graphs = (far(), NEAR["by itself"])
    found, _ = results(*graphs, fault="cloud@0.605-0.85")
    teller = Teller(merge(workload_of(*graphs)), ())
    why = f"`far` cannot run: {GONE}"
    told = {one.graph: (one.outcome, one.reason) for one in teller.answers(found[6], 0)}
    assert told == {"far": ("failed", why), "near": ("done", "")}
    placement = no_placement("skipped: 16 frames are in flight")
    failed = tuple(replace(one, outcome="failed") for one in found[6].graphs)
    skipped = replace(found[6], skipped=True, stages=(), placement=placement, graphs=failed)
    told = {one.graph: (one.outcome, one.reason) for one in teller.answers(skipped, 0)}
    assert told == {"far": ("failed", why), "near": ("skipped", placement.reason)}
    failures = Failures()
    failures.add(skipped)
    seen = [(one.what, one.why, one.is_overload) for one in failures.most_frequent()]
    assert seen == [("`far`", why, False), ("frame", placement.reason, True)]


# In real time.


@pytest.mark.parametrize("shares", [True, False])
def test_in_real_time_the_others_run(shares: bool) -> None:
    long_us = 10**12
    other = other_graph().model_copy(update={"deadline_us": long_us})
    if not shares:
        only = {"stages": tuple(one for one in other.stages if one.name == "sound")}
        other = other.model_copy(update=only)
    graphs = (loud_graph(deadline_us=long_us), other)
    places = {"test_source": "cpu", "test_gate": "cpu", "test_fuse": "cpu", "test_scores": "fast"}
    prices = Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": "bench",
            "hardware": "bench",
            "costs": [
                {"processor": place, "operator": operator, "fixed_us": 10, "source": "modelled: a test"}
                for operator, place in places.items()
            ],
        }
    )
    machine = bench()
    backends = fake_backends()
    with Runtime.live(workload(*graphs), machine, prices, backends=backends) as runtime:
        runtime.submit(0, {"sound": LOUD}, graphs=("loud", "other"), wait=True)
        before = runtime.drain()
        runtime.lose("fast")
        runtime.submit(2000, {"sound": LOUD}, graphs=("loud", "other"), wait=True)
        without = runtime.drain()
        runtime.restore("fast")
        runtime.submit(4000, {"sound": LOUD}, graphs=("loud", "other"), wait=True)
        after = runtime.drain()
    for (result,) in (before, after):
        assert all(graph.outcome != "failed" for graph in result.graphs), result.reason
        assert not result.unplaced
    (result,) = without
    assert {one.graph: one.outcome for one in result.graphs} == {"other": "done", "loud": "failed"}
    assert list(result.unplaced) == ["loud"]
    assert "stage `scores` has no processor left that could run it, as `fast` is lost" in result.reason
    assert {run.stage for run in result.stages} == {"sound", *(["more"] if shares else [])}


# What is found by itself.


@pytest.mark.parametrize("seed", range(60))
def test_what_is_said_to_run_nowhere_has_no_placement(seed: int) -> None:
    """By the exact solver, whichever processors and links are gone; what runs without any of these is not said to."""
    rng = Random(seed)
    work, machine = random_workload(rng), random_machine(rng)
    merged = merge(work)
    modes = price(merged, machine, random_profile(rng, work), lambda *_: True)
    graphs = tuple(graph.name for graph in work.graphs)
    pairs = [(link.source, link.target) for link in machine.links]
    for _ in range(8):
        lost = tuple(rng.sample([one.name for one in machine.processors], rng.randint(0, 2)))
        down = rng.sample(pairs, rng.randint(0, len(pairs)))
        found = nowhere(merged, modes, graphs, lost, set(pairs).difference(down), closes_nothing)
        left = tuple(name for name in graphs if name not in found)
        for name in found:
            # Alone, and with what is left: it takes all of them down.
            for asked in ((name,), tuple(graph for graph in graphs if graph in (*left, name))):
                assert not placeable(merged, modes, machine, asked, lost, down), (name, found)


def placeable(merged: Any, modes: Any, machine: Hardware, graphs: Any, lost: Any, down: Any) -> bool:
    there = {name: tuple(mode for mode in known if mode.resource not in lost) for name, known in modes.items()}
    wanted = [stage.name for stage in merged.stages if set(stage.graphs).intersection(graphs)]
    if any(not there[name] for name in wanted):
        return False
    conditions = Conditions(graphs, links=tuple(sorted((pair, None) for pair in down)), lost=lost)
    return solve(frame_problem(merged, there, machine, conditions, "any"), "exact").status != "infeasible"


def test_a_gate_that_another_graph_does_without_is_no_reason() -> None:
    """No link leads back from the cloud, where the gate is: what waits for it cannot run, unless who does not, can."""
    builder = GraphBuilder("gated", period_us=PERIOD_US, deadline_us=DEADLINE_US)
    unsure = builder.stage("unsure", "cost", chance_ppm=500_000, output_bytes=4)
    sound = builder.stage("sound", "cost", output_bytes=1000)
    builder.stage("touch", "cost", sound, gate=unsure, output_bytes=1000)
    merged = merge(workload_of(builder.build(), chain("plain", "sound", "touch", "net")))
    prices = costs({**COSTS_US, ("unsure", "cloud"): 10})
    modes = price(merged, hardware(), prices, lambda *_: True)

    def found(*graphs: str, links: Sequence[tuple[str, str]]) -> list[str]:
        return list(nowhere(merged, modes, graphs, (), set(links), closes_nothing))

    there = [("cpu", "cloud")]
    assert found("gated", "plain", links=there) == []
    assert found("gated", links=there) == ["gated"]
    assert found("gated", "plain", links=[]) == ["plain", "gated"], "the second since the first is gone"
    assert found("gated", "plain", links=[*there, ("cloud", "cpu")]) == []
