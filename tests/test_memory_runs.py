"""Runs on machines that load weights: what is loaded, what goes, and that no memory is ever exceeded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from leo_runtime import Runtime, solve
from leo_runtime.dispatch.dispatcher import Dispatcher
from leo_runtime.dispatch.events import FrameAdmitted, FrameDropped, ProcessorLost
from leo_runtime.dispatch.memory import Found, Room
from leo_runtime.dispatch.memory_plan import make_memory_plan
from leo_runtime.dispatch.plan import Plan
from leo_runtime.dispatch.simulator import Simulator
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.memory import Loader, MemoryProblem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DocumentError, GraphError, InputError, KernelError, SolverError
from leo_runtime.frame.conditions import MemoryFound
from leo_runtime.frame.ledger import run_ledger
from leo_runtime.frame.lower import merge
from leo_runtime.frame.records import FrameResult, Solved
from leo_runtime.replay.compare import Compared, Placing, placing_on, require_placing
from leo_runtime.replay.frame_facts import frame_facts, overview
from leo_runtime.replay.log_reader import read_log
from leo_runtime.replay.log_text import Lines
from leo_runtime.replay.rebuilt import rebuilt
from leo_runtime.replay.regret import regret
from leo_runtime.replay.why import whys
from leo_runtime.report.frame_text import frame_text, overview_figures, overview_text
from leo_runtime.report.log_tables import write_tables
from leo_runtime.report.replay_text import text as replay_text
from leo_runtime.runtime.memory_now import memory_now
from leo_runtime.runtime.planner import without_loads
from leo_runtime.terminal import WIDE
from memory_runs import Case, Line, wrong
from run_logs import replayed_into

SEEDS = (0, 2, 8, 9, 12, 13, 20, 21, 29, 38)


def document(case: Case) -> Line:
    return case.hardware.model_dump(mode="json", exclude_defaults=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_memory_is_exceeded_and_runs_keep_their_bounds(seed: int) -> None:
    """Random machines, frames that overlap, noise and gates; `make long` has 300."""
    case = Case(seed)
    results, lines, _ = case.run()
    assert list(wrong(lines, document(case))) == []
    assert {one.placement.status for one in results} <= {"optimal", "feasible"}


@pytest.mark.parametrize("seed", [3, 24, 41])
def test_no_memory_is_exceeded_where_processors_are_lost(seed: int) -> None:
    case = Case(seed)
    results, lines, lost = case.run(with_faults=True)
    assert lost
    assert list(wrong(lines, document(case), lost)) == []
    assert any(run.outcome == "failed" for result in results for run in result.stages)


def test_the_judge_of_runs_sees_what_is_wrong() -> None:
    case = Case(8)
    _, lines, _ = case.run()
    frames = [line for line in lines if line.get("loads")]
    machine = document(case)

    def changed(**changes: object) -> list[str]:
        spoilt = json.loads(json.dumps(lines))
        next(line for line in spoilt if line.get("loads"))["loads"][0].update(changes)
        return list(wrong(spoilt, machine))

    load = frames[0]["loads"][0]
    assert changed(label="another")
    assert changed(nj=load["nj"] + 1)
    assert changed(start_us=load["start_us"] + 1)
    small = {**machine, "processors": [{**one, "memory_bytes": 50_000} for one in machine["processors"]]}
    assert any("more than" in text for text in wrong(lines, small))
    late = json.loads(json.dumps(lines))
    for line in late:
        for one in line.get("loads", ()):
            one["arrive_us"] += 10**6
            one["loaded_us"] += 10**6
    assert any("without" in text for text in wrong(late, machine))


def two_models(memory_bytes: int | None = 3_000_000, **of_machine: object) -> tuple[Workload, Hardware, Profile]:
    """A stage of 2 MB, then one of 1.5 MB, ten times a second; flash that sleeps."""
    stages = [
        {
            "name": "a",
            "operator": "cost",
            "params": {"output_bytes": 100, "weights": [{"label": "A", "bytes": 2000000}]},
        },
        {
            "name": "b",
            "operator": "cost",
            "inputs": ["a"],
            "params": {"output_bytes": 100, "weights": [{"label": "B", "bytes": 1_500_000}]},
        },
    ]
    graph = {"name": "g", "period_us": 100_000, "deadline_us": 90_000, "stages": stages}
    workload = Workload.from_dict({"format": "leo-workload/1", "name": "two", "streams": [], "graphs": [graph]})
    machine = {
        "format": "leo-hardware/1",
        "name": "m",
        "processors": [{"name": "cpu", "backend": "cpu", "memory_bytes": memory_bytes}],
        "stores": [
            {"name": "flash", "awake_mw": 20, "wake_latency_us": 100, "wake_energy_nj": 1000, "idle_timeout_us": 5000}
        ],
        "loaders": [{"target": "cpu", "store": "flash", "bytes_per_s": 100_000_000, "energy_pj_per_byte": 500}],
        **of_machine,
    }
    if memory_bytes is None:
        del machine["processors"][0]["memory_bytes"]  # type: ignore[index]  # It is the list above.
    costs = [
        {"processor": "cpu", "operator": "cost", "stage": name, "fixed_us": us, "energy_nj": 1, "source": "modelled"}
        for name, us in (("a", 10_000), ("b", 5_000))
    ]
    profile = {"format": "leo-profile/1", "name": "m", "hardware": "m", "costs": costs}
    return workload, Hardware.from_dict(machine), Profile.from_dict(profile)


def played(
    workload: Workload, hardware: Hardware, profile: Profile, frames: int = 3, **options: object
) -> list[FrameResult]:
    with Runtime.simulated(workload, hardware, profile, compute=False, **options) as runtime:  # type: ignore[arg-type]  # As options.
        found: list[FrameResult] = []
        for number in range(frames):
            runtime.submit(number * 100_000, {})
            found += runtime.drain()
        return found


def test_weights_that_do_not_fit_together_are_loaded_for_every_frame() -> None:
    for result in played(*two_models()):
        at = result.release_us
        assert [(one.label, one.start_us - at, one.arrive_us - at, one.nj) for one in result.loads] == [
            ("A", 100, 20_100, 1_000_000),
            ("B", 30_100, 45_100, 750_000),
        ]
        assert result.graphs[0].end_us - at == 50_100
        assert [one.stages for one in result.loads] == [("a",), ("b",)]


def test_weights_that_fit_stay_from_frame_to_frame() -> None:
    for memory_bytes in (4_000_000, None):
        first, *others = played(*two_models(memory_bytes))
        assert [one.label for one in first.loads] == ["A", "B"]
        assert first.graphs[0].latency_us == 40_100  # B is loaded as A is used.
        assert [one.loads for one in others] == [(), ()]
        assert [one.graphs[0].latency_us for one in others] == [15_000, 15_000]


def test_weights_that_fit_nowhere_are_told() -> None:
    (result,) = played(*two_models(1_900_000), frames=1)
    assert result.graphs[0].outcome == "failed"
    says = "rule 5: `a` and its weights are more than there is memory on `cpu` (2000100 bytes for 1900000)"
    assert result.reason == says


def test_loads_are_a_cause_of_their_own_in_the_ledger() -> None:
    workload, hardware, profile = two_models()
    results = played(workload, hardware, profile)
    entries = run_ledger(results, hardware, workload).entries
    loads = [entry for entry in entries if entry.cause == "load"]
    assert [(entry.resource, entry.stage, entry.graphs) for entry in loads] == [
        ("flash", "A", ("g",)),
        ("flash", "B", ("g",)),
    ] * 3
    assert sum(entry.nj for entry in loads) == 3 * 1_750_000
    assert {entry.cause for entry in entries if entry.resource == "flash"} == {"load", "wake-up", "awake", "idle tail"}


def test_every_policy_answers_by_loading() -> None:
    ends = {}
    for solver in ("exact", "greedy", "cpu-only", "dsp-first", "gpu-first", "single"):
        results = played(*two_models(), solver=solver)
        ends[solver] = [result.graphs[0].latency_us for result in results]
    assert set(map(tuple, ends.values())) == {(50_100, 50_100, 50_100)}


def test_a_solver_of_ones_own_is_judged_with_loads() -> None:
    results = played(*two_models(), solver=lambda problem: solve(problem, "greedy"))
    assert len(results[0].loads) == 2
    with pytest.raises(SolverError, match="A is not on cpu by then"):
        played(*two_models(), solver=lambda problem: solve(problem, "greedy").model_copy(update={"loads": ()}))


def test_who_loads_nothing_is_refused_before_anything_runs() -> None:
    workload, hardware, profile = two_models()
    for name, error, says in (
        ("heft", SolverError, 'no solver of questions with weights is called "heft"'),
        ("round-robin", InputError, "the event-driven policy `round-robin` loads no weights"),
    ):
        with pytest.raises(error, match=says):
            Runtime.simulated(workload, hardware, profile, compute=False, solver=name)
        with pytest.raises(error, match=says):
            require_placing(Placing(policy=name), hardware)
        require_placing(Placing(policy=name), two_models(stores=[], loaders=[])[1])


def test_windows_and_batches_know_nothing_of_weights() -> None:
    workload, hardware, profile = two_models()
    with pytest.raises(InputError, match="`window_stages` is 20, and windows know nothing of weights"):
        Runtime.simulated(workload, hardware, profile, compute=False, window_stages=20)
    with (
        Runtime.simulated(workload, hardware, profile, compute=False) as runtime,
        pytest.raises(InputError, match="a batch is not placed where weights are loaded"),
    ):
        runtime.submit_batch([(0, {}), (100_000, {})])


def test_weights_of_one_label_are_the_same() -> None:
    workload, hardware, profile = two_models()
    data = workload.model_dump(mode="json", exclude_defaults=True)
    data["graphs"][0]["stages"][1]["params"]["weights"] = [{"label": "A", "bytes": 1}]
    with pytest.raises(GraphError, match="stages `a` and `b` have weights `A` of 2000000 and 1 bytes"):
        Runtime.simulated(Workload.from_dict(data), hardware, profile, compute=False)
    data["graphs"][0]["stages"][1]["params"]["weights"] = [{"label": "A", "bytes": 2_000_000}]
    first, second = played(Workload.from_dict(data), hardware, profile, frames=2)
    assert [one.stages for one in first.loads] == [("a", "b")]
    assert second.loads == ()


def test_a_processor_that_is_lost_has_nothing_in_memory_when_it_is_back() -> None:
    workload, hardware, profile = two_models(None)
    with Runtime.simulated(workload, hardware, profile, compute=False) as runtime:
        runtime.submit(0, {})
        runtime.drain()
        runtime.lose("cpu")
        runtime.restore("cpu")
        runtime.submit(100_000, {})
        (again,) = runtime.drain()
    assert [one.label for one in again.loads] == ["A", "B"]


def test_a_machine_without_loaders_has_weights_at_hand() -> None:
    workload, hardware, profile = two_models(stores=[], loaders=[])
    (result,) = played(workload, hardware, profile, frames=1)
    assert result.graphs[0].outcome == "failed"
    assert "rule 5" in result.reason
    (result,) = played(*two_models(None, stores=[], loaders=[]), frames=1)
    assert result.graphs[0].latency_us == 15_000
    assert result.loads == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stores": []}, 'no store is called "flash"'),
        ({"stores": [{"name": "cpu"}]}, 'a processor is already called "cpu"'),
        ({"stores": [{"name": "flash"}] * 2}, "flash"),
        ({"loaders": [{"target": "gpu", "store": "flash", "bytes_per_s": 1}]}, 'no processor is called "gpu"'),
        ({"loaders": [{"target": "cpu", "store": "flash", "bytes_per_s": 1}] * 2}, "cpu"),
        ({"loaders": [{"target": "cpu", "store": "flash", "bytes_per_s": 0}]}, "bytes_per_s"),
        ({"stores": [{"name": "flash", "tail_us": 1}]}, 'the key "tail_us" is unknown'),
    ],
)
def test_wrong_loaders_are_refused_with_their_place(change: dict[str, object], says: str) -> None:
    with pytest.raises(DocumentError, match=r"at \$\.(stores|loaders)\[") as raised:
        two_models(**change)
    assert says in str(raised.value)


def test_equal_files_are_one_label(tmp_path: Path) -> None:
    from leo_runtime import shipped
    from leo_runtime.documents.binding import bind

    workload = shipped.workload("faces")
    bound = bind(workload.graphs[0], workload)
    detector, mesh = bound["detector"], bound["mesh"]
    ((label, size),) = detector.weights("default")
    assert label.startswith("model ") and size == 203_132
    assert detector.weights("int8") != detector.weights("default")
    copy = tmp_path / "other.tflite"
    copy.write_bytes(Path(mesh.params["default"].model).read_bytes())
    same = mesh.params["default"].model_copy(update={"model": copy})
    assert mesh.operator.weights is not None
    assert mesh.operator.weights(same, mesh.input_shapes) == mesh.weights("default")
    assert bound["small"].weights("default") == ()


def test_a_dsp_has_kernels_of_more_than_its_memory_where_weights_are_loaded_to_it() -> None:
    """All kernels are there from the start; that what is loaded fits is seen to by the plans."""
    from leo_runtime import shipped
    from leo_runtime.backend.machine import open_backends
    from leo_runtime.documents.binding import bind

    stages = []
    for name, stage in (("faces", "detector"), ("patches", "small 0")):
        workload = shipped.workload(name)
        stages.append(bind(workload.graphs[0], workload)[stage])
    sizes = [size for stage in stages for _, size in stage.weights("int8")]
    dsp = {"name": "dsp", "backend": "dsp", "memory_bytes": sum(sizes) - 1}
    store, loader = {"name": "flash"}, {"target": "dsp", "store": "flash", "bytes_per_s": 20_000_000}
    machine = {"format": "leo-hardware/1", "name": "m", "processors": [dsp]}
    with open_backends(Hardware.from_dict(machine)) as opened:
        opened.backend("dsp").load(stages[0], "int8")
        with pytest.raises(KernelError, match="is full"):
            opened.backend("dsp").load(stages[1], "int8")
    with open_backends(Hardware.from_dict({**machine, "stores": [store], "loaders": [loader]})) as opened:
        for stage in stages:
            opened.backend("dsp").load(stage, "int8")


def test_the_log_of_a_run_with_loads_is_all_of_its_energy(tmp_path: Path) -> None:
    workload, hardware, profile = two_models()
    folder, ended = replayed_into(tmp_path, workload, hardware, profile, length_us=400_000)
    total_nj = ended.summary.energy.total_nj
    with read_log(folder) as log:
        entries = list(log.entries())
        assert sum(entry.nj for entry in entries) == total_nj
        log.require_sum(total_nj)
        assert sum(entry.nj for entry in entries if entry.cause == "load") == 4 * 1_750_000
        assert [len(frame.loads) for frame in log.frames()] == [2, 2, 2, 2]
        assert [one.label for one in log.at(1).evicted] == ["B", "A"]
        (why,) = whys(log, 1, everything=True)
        text = frame_text(frame_facts(log, "run", 1))
        found = overview(log, "run")
    steps = [(step.kind, step.stage, step.until_us - why.release_us) for step in why.steps]
    # B's load waits for the room that A leaves, and B for its load.
    assert steps == [
        ("wake-up", "a", 100),
        ("load", "a", 20_100),
        ("run", "a", 30_100),
        ("load", "b", 45_100),
        ("run", "b", 50_100),
    ]
    assert "B        1500.0  flash  cpu      30.10     45.10  0.75  b" in text
    assert [(one.label, one.stages, one.loads, one.nj) for one in found.loaded] == [
        ("A", ("a",), 4, 4_000_000),
        ("B", ("b",), 4, 3_000_000),
    ]
    assert overview_figures(found)["loaded"][1]["bytes"] == 1_500_000
    assert "B        b    cpu  1500.0      4          6  3.00" in overview_text(found)
    assert "a on cpu: there is no other way to run it" in text
    uses = {use.name: (use.runs, use.busy_us) for use in ended.summary.processors}
    assert uses["flash"] == (8, 4 * 35_000)


def test_a_log_is_written_again_from_its_own_lines(tmp_path: Path) -> None:
    workload, hardware, profile = two_models()
    folder, _ = replayed_into(tmp_path, workload, hardware, profile, length_us=300_000)
    with read_log(folder) as log:
        lines = Lines(merge(workload))
        text = (folder / "log.jsonl").read_text().splitlines(keepends=True)
        for line in log.frames():
            asked = log.question(line.question or "")
            assert asked is not None and line.question is not None
            frame = rebuilt(line, Solved(asked.problem, asked.placement), policy="exact")
            assert lines.frame(frame, line.question) in text


def test_tables_hold_loads_and_all_energy(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder, ended = replayed_into(tmp_path, *two_models(), length_us=200_000)
    with read_log(folder) as log:
        write_tables(log, tmp_path / "tables")
    loads = parquet.read_table(tmp_path / "tables" / "loads.parquet").to_pylist()
    assert [(row["label"], row["target"], row["stages"], row["graphs"]) for row in loads[:2]] == [
        ("A", "cpu", ["a"], ["g"]),
        ("B", "cpu", ["b"], ["g"]),
    ]
    energy = parquet.read_table(tmp_path / "tables" / "energy.parquet").to_pylist()
    assert sum(row["nj"] for row in energy) == ended.summary.energy.total_nj


def test_replays_place_frame_by_frame_where_weights_are_loaded() -> None:
    _, hardware, _ = two_models()
    assert placing_on(Placing(), hardware).stages_of_windows == 0
    for placing, what in ((Placing(window_stages=9), "windows of 9"), (Placing(batch=3), "batches of 3")):
        with pytest.raises(InputError, match=f"{what} know nothing of weights"):
            placing_on(placing, hardware)


def test_no_run_with_loads_has_a_best_plan(tmp_path: Path) -> None:
    workload, hardware, profile = two_models()
    results = played(workload, hardware, profile)
    with (
        Runtime.simulated(workload, hardware, profile, compute=False) as runtime,
        pytest.raises(InputError, match="there is no best plan of a run where weights are loaded"),
    ):
        regret(results, runtime.merged, runtime.modes, hardware)


def test_in_real_time_loads_are_told_and_take_no_time_of_their_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", weights_0=np.ones((8, 2), np.float32), bias_0=np.zeros(2, np.float32))
    graph = {
        "name": "g",
        "period_us": 100_000,
        "deadline_us": 10_000_000,
        "stages": [
            {"name": "heard", "operator": "window", "params": {"stream": "s", "samples": 8}},
            {
                "name": "net",
                "operator": "dense",
                "inputs": ["heard"],
                "params": {"layers": [2], "model": str(tmp_path / "net.npz")},
            },
        ],
    }
    stream = {"name": "s", "kind": "motion", "rate_hz": 80, "channels": 1}
    workload = Workload.from_dict({"format": "leo-workload/1", "name": "n", "streams": [stream], "graphs": [graph]})
    costs = [{"processor": "cpu", "fixed_us": 100, "ps_per_mac": 1, "source": "modelled"}]
    profile = Profile.from_dict({"format": "leo-profile/1", "name": "m", "hardware": "m", "costs": costs})
    _, hardware, _ = two_models()
    window = {"heard": np.ones(8, np.float32)}
    for modelled_delays in (False, True):
        with Runtime.live(workload, hardware, profile, modelled_delays=modelled_delays) as runtime:
            runtime.submit(0, window)
            (first,) = runtime.drain()
            runtime.submit(first.graphs[0].end_us, window, graphs=["g"])
            (second,) = runtime.drain()
        (load,) = first.loads
        assert load.label.startswith("dense ")
        assert load.bytes == 72
        assert load.arrive_us <= first.stages[1].start_us
        assert second.loads == ()
        assert first.graphs[0].outputs["net"].tolist() == [8, 8]


def test_a_replay_says_that_frames_are_placed_one_by_one(tmp_path: Path) -> None:
    _, ended = replayed_into(tmp_path, *two_models(), length_us=100_000)
    assert "weights are loaded to cpu: frames are placed one by one\n" in replay_text(Compared(ended, {}, {}, ()), WIDE)


def planned(label: str, size: int, *, resident: bool, cap: int = 3_000_000) -> Plan:
    """The plan of a frame of one stage, of 10 ms on the CPU, with weights that are there or are loaded."""
    problem = MemoryProblem.from_dict(
        {
            "format": "leo-problem/3",
            "name": label,
            "weights": [{"label": label, "bytes": size}],
            "loaders": [{"target": "cpu", "resource": "flash", "bytes_per_s": 100_000_000}],
            "resources": [
                {"name": "cpu", "memory_bytes": cap, "resident": [label] if resident else []},
                {"name": "flash"},
            ],
            "stages": [
                {
                    "name": "run",
                    "modes": [{"resource": "cpu", "duration_us": 10_000, "energy_nj": 1, "weights": [label]}],
                }
            ],
        }
    )
    answer = solve(problem)
    return make_memory_plan(problem, answer, without_loads(answer))


def memory_of(cap: int = 3_000_000, latency_us: int = 0) -> Dispatcher:
    room = Room(cap, Loader(target="cpu", resource="flash", bytes_per_s=100_000_000, latency_us=latency_us))
    return Dispatcher({"cpu": 1, "flash": 1}, rooms={"cpu": room})


def test_weights_that_are_gone_when_a_frame_begins_are_loaded_again() -> None:
    simulator = Simulator(memory_of())
    simulator.post(FrameAdmitted(0, 0, 0, planned("A", 1_000_000, resident=True)))
    assert simulator.dispatcher.broken_invariants() == ()
    assert simulator.drain()
    (done,) = simulator.finished()
    assert [(load.label, load.start_us, load.arrive_us) for load in done.loads] == [("A", 0, 10_000)]
    assert [(run.outcome, run.start_us) for run in done.stages] == [("done", 10_000)]


def test_a_stage_whose_weights_are_gone_fails_where_there_is_no_room() -> None:
    simulator = Simulator(memory_of())
    simulator.post(FrameAdmitted(0, 0, 0, planned("B", 2_000_000, resident=False)))
    simulator.post(FrameAdmitted(0, 1, 0, planned("A", 1_500_000, resident=True)))
    assert simulator.drain()
    first, second = sorted(simulator.finished(), key=lambda done: done.frame)
    assert [run.outcome for run in first.stages] == ["done"]
    (run,) = second.stages
    assert (run.outcome, run.error) == ("failed", "its weights `A` are no longer on `cpu`, and there is no room")


def test_a_frame_whose_only_processor_is_lost_as_it_begins_fails_with_its_weights() -> None:
    simulator = Simulator(memory_of())
    simulator.post(FrameAdmitted(0, 0, 0, planned("A", 1_000_000, resident=False)))
    assert simulator.drain()
    again = planned("A", 1_000_000, resident=True)
    simulator.post(ProcessorLost(30_000, "cpu", "unplugged"))
    simulator.post(FrameAdmitted(30_000, 1, 30_000, again))
    assert simulator.drain()
    _, (run,) = [done.stages for done in simulator.finished()]
    assert (run.outcome, run.error) == ("failed", "processor `cpu` was lost")


def test_a_dropped_frame_leaves_what_it_was_loading() -> None:
    simulator = Simulator(memory_of())
    simulator.post(FrameAdmitted(0, 0, 0, planned("A", 1_000_000, resident=False)))
    simulator.reach(5_000)
    simulator.post(FrameDropped(5_000, 0, "no longer wanted"))
    (done,) = simulator.finished()
    assert [(load.label, load.arrive_us) for load in done.loads] == [("A", 10_000)]
    assert simulator.dispatcher.lanes_ready_us("flash", 5_000) == (10_000,)
    simulator.post(FrameAdmitted(5_000, 1, 5_000, planned("A", 1_000_000, resident=True)))
    assert simulator.drain()
    (again,) = simulator.finished()
    assert again.loads == ()
    assert [run.start_us for run in again.stages] == [10_000]


def test_what_is_being_loaded_makes_no_room_though_nobody_needs_it() -> None:
    simulator = Simulator(memory_of(latency_us=30_000))
    simulator.post(FrameAdmitted(0, 0, 0, planned("A", 2_000_000, resident=False)))
    simulator.reach(5_000)
    simulator.post(FrameDropped(5_000, 0, "no longer wanted"))
    simulator.post(FrameAdmitted(5_000, 1, 5_000, planned("B", 2_000_000, resident=False)))
    assert simulator.drain()
    second = next(done for done in simulator.finished() if done.frame == 1)
    assert [(load.label, load.start_us) for load in second.loads] == [("B", 50_000)]
    assert [(one.label, one.at_us) for one in second.evicted] == [("A", 50_000)]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_frame_does_not_wait_in_a_circle_for_room_that_was_taken_since_it_was_planned(elsewhere: bool) -> None:
    """Between its question and its admission a stage moves into the memory that it was planned in."""

    def plan(stages: list[dict[str, object]], labels: list[str]) -> Plan:
        problem = MemoryProblem.from_dict(
            {
                "format": "leo-problem/3",
                "name": "crowded",
                "weights": [{"label": label, "bytes": 40} for label in labels],
                "loaders": [{"target": "cpu", "resource": "flash", "bytes_per_s": 100_000_000}],
                "resources": [
                    {"name": "cpu", "memory_bytes": 100},
                    {"name": "dsp", "ready_us": [8]},
                    {"name": "npu"},
                    {"name": "flash"},
                ],
                "links": [{"source": a, "target": b} for a, b in (("cpu", "npu"), ("npu", "cpu"))],
                "stages": stages,
            }
        )
        answer = solve(problem)
        return make_memory_plan(problem, answer, without_loads(answer))

    def mode(resource: str, us: int, label: str = "", working: int = 0) -> dict[str, object]:
        weights = [label] if label else []
        return {
            "resource": resource,
            "duration_us": us,
            "energy_nj": 1,
            "memory_bytes": working,
            "weights": weights,
        }

    slow = [mode("npu", 500)] if elsewhere else []
    moves = plan([{"name": "moves", "modes": [mode("dsp", 10), mode("cpu", 100, "M", 30)]}], ["M"])
    stays = plan(
        [
            {"name": "a", "modes": [mode("cpu", 10, "A", 20), *slow]},
            {"name": "b", "inputs": ["a"], "modes": [mode("cpu", 10, "B", 20), *slow]},
        ],
        ["A", "B"],
    )
    room = Room(100, Loader(target="cpu", resource="flash", bytes_per_s=100_000_000))
    lanes = {"cpu": 1, "flash": 1, "dsp": 1, "npu": 1}
    simulator = Simulator(Dispatcher(lanes, ready_us={"dsp": (8,)}, rooms={"cpu": room}))
    simulator.post(FrameAdmitted(0, 0, 0, moves))
    simulator.post(ProcessorLost(0, "dsp", ""))
    simulator.post(FrameAdmitted(0, 1, 0, stays))
    assert simulator.dispatcher.broken_invariants() == ()
    assert simulator.drain()
    first, second = sorted(simulator.finished(), key=lambda done: done.frame)
    assert [(run.resource, run.outcome) for run in first.stages] == [("cpu", "done")]
    if elsewhere:
        assert [(run.resource, run.outcome) for run in second.stages] == [("npu", "done")] * 2
    else:
        assert {run.error for run in second.stages} == {"there is no room for it on `cpu` beside what has moved there"}


def test_a_label_stands_for_the_same_weights_when_the_workload_is_changed() -> None:
    """Else what is in memory would be taken for the new ones, and counted as the old ones."""
    workload, hardware, profile = two_models()
    data = workload.model_dump(mode="json", exclude_defaults=True)
    without = Workload.from_dict({**data, "graphs": [{**data["graphs"][0], "stages": data["graphs"][0]["stages"][:1]}]})
    data["graphs"][0]["stages"][1]["params"]["weights"][0]["bytes"] = 1_600_000
    other = Workload.from_dict(data)
    with Runtime.simulated(workload, hardware, profile, compute=False) as runtime:
        runtime.submit(0, {})
        runtime.drain()
        for change in (lambda: None, lambda: runtime.change(without)):
            change()
            with pytest.raises(GraphError, match="weights `B` have 1600000 bytes, and had 1500000 in the workload be"):
                runtime.change(other)
        runtime.change(workload)
        runtime.submit(100_000, {})
        (again,) = runtime.drain()
    assert [load.bytes for load in again.loads] == [2_000_000, 1_500_000]


def test_a_load_of_what_is_there_by_then_is_not_made() -> None:
    simulator = Simulator(memory_of())
    for frame in (0, 1):
        simulator.post(FrameAdmitted(0, frame, 0, planned("A", 1_000_000, resident=False)))
    assert simulator.drain()
    loads = [load for done in simulator.finished() for load in done.loads]
    assert [(load.label, load.start_us) for load in loads] == [("A", 0)]


def test_equal_labels_count_once_where_weights_are_at_hand() -> None:
    workload, hardware, profile = two_models(2_100_000, stores=[], loaders=[])
    data = workload.model_dump(mode="json", exclude_defaults=True)
    data["graphs"][0]["stages"][1]["params"]["weights"] = [{"label": "A", "bytes": 2_000_000}]
    (result,) = played(Workload.from_dict(data), hardware, profile, frames=1)
    assert result.graphs[0].outcome == "done"


def test_a_frame_is_planned_beside_others_or_after_them() -> None:
    """1 MB of 3 is left now, all of it when they are over; labels that do not fit into what is left are not offered."""
    busy = Found("cpu", peak_bytes=2_000_000, over_us=70_000, there=("large", "small", "other"))
    wanted = {"cpu": frozenset(("large", "small"))}
    sizes = {"large": 1_500_000, "small": 400_000, "other": 1}
    now = memory_now([busy], wanted, sizes, {"cpu": 3_000_000}, {"cpu": "flash"}, 50_000)
    assert now.beside == (MemoryFound("cpu", 1_000_000, ("small",)),)
    assert now.after == (MemoryFound("cpu", 3_000_000, ("small",)),)
    assert now.over_us == {"cpu": 20_000, "flash": 20_000}
    idle = Found("cpu", peak_bytes=0, over_us=50_000, there=("large", "small"))
    now = memory_now([idle], wanted, sizes, {"cpu": 3_000_000}, {"cpu": "flash"}, 50_000)
    assert now.beside == (MemoryFound("cpu", 3_000_000, ("large", "small")),)
    assert now.over_us is None
    endless = memory_now([busy], wanted, sizes, {"cpu": None}, {"cpu": "flash"}, 50_000)
    assert endless.beside == (MemoryFound("cpu", None, ("large", "small")),)
    assert endless.over_us is None


def test_a_frame_that_finds_too_little_room_runs_when_the_one_before_is_over() -> None:
    """Both need all of the memory; the second comes as the first runs."""
    workload, hardware, profile = two_models()
    data = workload.model_dump(mode="json", exclude_defaults=True)
    data["graphs"][0].update(period_us=25_000, deadline_us=1_000_000)
    with Runtime.simulated(Workload.from_dict(data), hardware, profile, compute=False) as runtime:
        for at_us in (0, 25_000, 50_000):
            runtime.submit(at_us, {})
        results = sorted(runtime.drain(), key=lambda result: result.frame)
    assert [one.graphs[0].end_us for one in results] == [50_100, 100_100, 150_100]
    assert [[load.label for load in one.loads] for one in results] == [["A", "B"]] * 3
