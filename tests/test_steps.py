"""What runs cost of stages that keep state: the question of a frame knows what is new, and where the state is."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import numpy as np
import pytest

from leo_runtime.backend import News
from leo_runtime.clock import VirtualClock
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.problem import Mode, Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.window import WindowProblem
from leo_runtime.errors import DocumentError, InputError
from leo_runtime.frame.batch import FramePrices
from leo_runtime.frame.conditions import Conditions, StateFound
from leo_runtime.frame.lower import frame_problem, merge, price
from leo_runtime.frame.records import StateUse
from leo_runtime.frame.steps import StepPrices
from leo_runtime.judge import check
from leo_runtime.measure.calibrate import calibrate
from leo_runtime.measure.measure import QUICK
from leo_runtime.recordings.recording import RecordedStream, Recording, RecordingManifest
from leo_runtime.replay.log_lines import StateUsed
from leo_runtime.replay.log_text import _state
from leo_runtime.replay.regret import best_plan, known_window, regret
from leo_runtime.runtime.runtime import Runtime
from leo_runtime.solver import solve
from test_solved import require_solved
from test_states import Stepping, costs, listening, machine, simulated, states_of, window_at

MERGED = merge(listening())
BYTES = 16
"""What `total` keeps."""


def growing(first_ps: int = 1_000_000, second_ps: int = 3_000_000) -> Profile:
    """Each sample takes a microsecond on `first`, three on `second`, and each run 10."""
    entries: list[dict[str, Any]] = [
        {"operator": "*", "processor": name, "fixed_us": 10, "ps_per_mac": ps, "source": "made up"}
        for name, ps in (("first", first_ps), ("second", second_ps))
    ]
    return Profile.from_dict({"format": "leo-profile/1", "name": "costs", "hardware": "bench", "costs": entries})


def modes_of(profile: Profile, hardware: Hardware | None = None) -> dict[str, tuple[Mode, ...]]:
    return price(MERGED, hardware or machine(), profile, lambda *_: True)


def durations(modes: Any, stage: str) -> dict[str, int]:
    return {mode.resource: mode.duration_us for mode in modes[stage]}


def plain(hardware: Hardware) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(hardware.model_dump_json())
    return data


def found(fresh: int, home: str = "first", variant: str = "default", stage: str = "total") -> Conditions:
    return Conditions(("g",), states=(StateFound(stage, home, variant, fresh),))


def test_a_run_has_the_work_of_what_is_new() -> None:
    steps = StepPrices(MERGED, machine(), growing())
    modes = modes_of(growing())
    assert durations(modes, "total") == {"first": 110, "second": 310}
    moving_us = 100 + 2  # 16 bytes at 10 MB/s.
    assert durations(steps.at_hand(modes, found(50)), "total") == {"first": 60, "second": 160 + moving_us}
    assert durations(steps.at_hand(modes, found(50, "second")), "total") == {"first": 60 + moving_us, "second": 160}
    assert durations(steps.at_hand(modes, found(0)), "total") == {"first": 10, "second": 10 + moving_us}
    assert steps.at_hand(modes, Conditions(("g",))) is modes
    later = steps.later(modes, found(7))
    assert durations(later, "total") == {"first": 60, "second": 160 + moving_us}
    assert durations(later, "sums") == {"first": 60, "second": 160}
    assert durations(later, "rows") == {"first": 15, "second": 25}


def test_what_is_kept_is_held_in_memory() -> None:
    """8 bytes of output, and 16 that are kept."""
    assert {mode.memory_bytes for mode in modes_of(growing())["total"]} == {24}


def test_energy_is_that_of_the_time_and_of_the_link() -> None:
    links = [
        {
            "source": a,
            "target": b,
            "latency_us": 100,
            "bytes_per_s": 1_000_000,
            "energy_nj": 7,
            "energy_pj_per_byte": 500,
        }
        for a, b in (("first", "second"), ("second", "first"))
    ]
    hardware = Hardware.from_dict({**plain(machine()), "links": links})
    steps, modes = StepPrices(MERGED, hardware, growing()), modes_of(growing(), hardware)
    changed = {mode.resource: mode for mode in steps.at_hand(modes, found(50))["total"]}
    assert changed["first"].energy_nj == 60 * 100
    assert changed["second"].duration_us == 160 + 100 + 16
    assert changed["second"].energy_nj == 276 * 100 + 7 + 8
    assert steps.moving_nj("total", "default", "first", "second") == 15


def test_what_cannot_go_on_is_a_run_that_starts_anew() -> None:
    without = Hardware.from_dict({**plain(machine()), "links": []})
    for hardware, now in (
        (without, found(50)),
        (machine(), found(50, variant="small")),
    ):
        steps, modes = StepPrices(MERGED, hardware, growing()), modes_of(growing(), hardware)
        assert durations(steps.at_hand(modes, now), "total")["second"] == 310
    down = Conditions(("g",), links=((("first", "second"), None),), states=found(50).states)
    steps, modes = StepPrices(MERGED, machine(), growing()), modes_of(growing())
    assert durations(steps.at_hand(modes, down), "total") == {"first": 60, "second": 310}
    slow = Conditions(("g",), links=((("first", "second"), (5_000, 1_000)),), states=found(50).states)
    assert durations(steps.at_hand(modes, slow), "total") == {"first": 60, "second": 160 + 5_000 + 16_000}
    assert slow.kind().links == slow.links
    lost = Conditions(("g",), lost=("first",), states=found(50).states)
    only = {name: tuple(mode for mode in known if mode.resource != "first") for name, known in modes.items()}
    assert durations(steps.at_hand(only, lost), "total") == {"second": 310}


def test_a_cost_that_does_not_grow_is_taken_in_proportion() -> None:
    steps, modes = StepPrices(MERGED, machine(), costs(100)), modes_of(costs(100))
    assert durations(steps.at_hand(modes, found(25)), "total") == {"first": 25, "second": 50 + 102}


def test_a_measured_step_is_taken_as_it_was_measured() -> None:
    """By calibrate: 300 us anew, 200 us with 50 of 100 samples new; others lie on the line through both."""
    measurement = {"runs": 5, "median_us": 300, "p95_us": 300, "step_us": 200, "step_entries": 50}
    signature = MERGED.stage("total").bound.signature("default")
    entry = {"operator": "states:total", "processor": "first", "signature": signature, "fixed_us": 300}
    data = plain(costs(100)) | {"name": "measured"}
    data["costs"].append(entry | {"source": "measured", "measurement": measurement})
    profile = Profile.from_dict(data)
    steps, modes = StepPrices(MERGED, machine(), profile), modes_of(profile)
    lasts = {fresh: durations(steps.at_hand(modes, found(fresh)), "total")["first"] for fresh in (0, 50, 75, 100)}
    assert lasts == {0: 100, 50: 200, 75: 250, 100: 300}
    del measurement["step_entries"]
    with pytest.raises(DocumentError, match="step_us and step_entries are given together"):
        Profile.from_dict(data)


def test_calibrate_measures_a_periods_worth() -> None:
    clock = VirtualClock()

    class Slow(Stepping):
        """A run lasts as many microseconds as samples are new to it, and 10."""

        def load(self, stage: BoundStage, variant: str, /) -> Any:
            kernel = super().load(stage, variant)
            return _Slow(kernel, stage) if hasattr(kernel, "step") else kernel

    class _Slow:
        def __init__(self, kernel: Any, stage: BoundStage) -> None:
            self._kernel, self._stage, self.start = kernel, stage, kernel.start

        def __call__(self, inputs: Any, /) -> Any:
            return self.step(inputs, self.start(), News(None, 0)).output

        def step(self, inputs: Any, state: Any, news: News, /) -> Any:
            fresh = len(inputs[0]) if news.fresh is None else news.fresh
            clock.wait_until_us(clock.now_us() + 10 + fresh)
            state[0].flags.writeable = False  # As the runtime has it.
            return self._kernel.step(inputs, state, news)

    stream = RecordedStream(name="wrist", kind="motion", file="wrist.npy", rate_hz=1_000)
    manifest = RecordingManifest(format="leo-recording/1", name="made", source="made up", streams=(stream,))
    recording = Recording(manifest, {"wrist": np.arange(1_000, dtype=np.float32)})
    found = calibrate(listening(), machine(), recording, effort=QUICK, backends={"first": Slow()}, clock=clock)
    cost = found.profile.cost(MERGED.stage("total").bound, "default", "first")
    assert cost is not None
    assert cost.measurement is not None
    measured = cost.measurement
    assert (measured.median_us, measured.step_us, measured.step_entries) == (110, 60, 50)


@pytest.mark.parametrize("seed", range(12))
def test_every_solver_is_judged_by_the_question_with_states(seed: int) -> None:
    """Moves cost in it, so exact and the exhaustive referee find the same; and its numbers are those of the judge."""
    random = Random(seed)
    profile = growing(random.randrange(1, 4) * 1_000_000, random.randrange(1, 4) * 1_000_000)
    states = tuple(
        StateFound(stage, random.choice(["first", "second"]), "default", random.choice([0, 5, 50, 100]))
        for stage in ("total", "sums", "rows")
        if random.randrange(4)
    )
    now = Conditions(("g",), states=states, asleep=random.choice([(), ("second",)]))
    steps = StepPrices(MERGED, machine(), profile)
    problem = frame_problem(MERGED, steps.at_hand(modes_of(profile), now), machine(), now, "g")
    best = solve(problem, "exhaustive")
    exact = solve(problem, "exact")
    for criterion in problem.objective:
        assert getattr(exact.criteria, criterion) == getattr(best.criteria, criterion)
    for placement in (best, exact, solve(problem, "greedy")):
        assert check(problem, placement).ok


def test_a_stage_stays_where_its_state_is_as_long_as_that_pays() -> None:
    """`second` is a little cheaper for a run that starts anew, but having the state there costs more."""
    profile = growing(1_000_000, 990_000)
    hardware = Hardware.from_dict(
        {
            **plain(machine()),
            "processors": [
                {"name": "first", "backend": "cpu", "active_mw": 100},
                {"name": "second", "backend": "cpu", "active_mw": 99},
            ],
        }
    )
    runtime = Runtime.simulated(listening(), hardware, profile, compute=False, window_stages=0)
    with runtime:
        runtime.lose("second")
        runtime.submit(100_000, {})
        runtime.drain()
        runtime.restore("second")
        for number in range(3, 8):
            runtime.submit(50_000 * number, {})
        results = runtime.drain()
    for result in results[-3:]:
        homes = {run.stage: run.resource for run in result.stages}
        assert homes["total"] == homes["rows"] == "first"
        assert all(run.state is None or run.state.home == run.resource for run in result.stages)
    assert all(state.moves == 0 for state in runtime.states())


@pytest.mark.parametrize("window_stages", [0, 24])
def test_what_is_planned_is_what_happens(window_stages: int) -> None:
    """Without noise each run lasts as its question says, drift sees nothing, and the bill is the plan's."""
    with simulated(listening(), Stepping(), growing(), window_stages=window_stages) as runtime:
        for number in (2, 3, 4, 6, 7, 12, 13, 14):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        results = runtime.drain()
        assert {estimate.ratio_ppm for estimate in runtime.drift()} == {1_000_000}
    for result in results:
        for run in result.stages:
            assert (run.start_us, run.end_us) == (run.planned_start_us, run.planned_end_us)
            assert run.nj == run.expected_nj
    uses = [run.state for result in results for run in result.stages if run.stage == "total"]
    assert [(use.fresh, use.anew, use.home) for use in uses if use is not None] == [
        (100, "first", None),
        (50, "", "first"),
        (50, "", "first"),
        (100, "", "first"),
        (50, "", "first"),
        (100, "gap", None),
        (50, "", "first"),
        (50, "", "first"),
    ]
    durations = [run.end_us - run.start_us for result in results for run in result.stages if run.stage == "total"]
    assert durations == [110, 60, 60, 110, 60, 110, 60, 60]


def test_a_question_of_a_window_foresees_a_periods_worth() -> None:
    with simulated(listening(), Stepping(), growing(), window_stages=24) as runtime:
        for number in (2, 3):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        first, second = runtime.drain()
    for result, at_hand in ((first, 110), (second, 60)):
        assert result.solved is not None
        question = result.solved.question
        assert isinstance(question, WindowProblem)
        lasts = {s.name: {m.resource: m.duration_us for m in s.modes} for s in question.stages}
        assert lasts["total"]["first"] == at_hand
        assert lasts["total@2"]["first"] == 60
    assert lasts["total@2"]["second"] == 160 + 102


def test_the_frames_of_a_batch_follow_each_other() -> None:
    """The first has what came since the last run, each further one a period's worth, also where they run together."""
    for together in ((), ("total", "sums", "rows")):
        with simulated(listening(), Stepping(), growing()) as runtime:
            runtime.submit(100_000, {"sound": window_at(100_000)})
            runtime.drain()
            frames = [(at_us, {"sound": window_at(at_us)}) for at_us in (200_000, 250_000, 300_000)]
            runtime.submit_batch(frames, together=together)
            (result,) = runtime.drain()
            assert states_of(runtime)["total"].anew == {"first": 1}
        assert isinstance(result.solved.question, Problem)  # type: ignore[union-attr]  # it was placed
        lasted = {run.stage: run.end_us - run.start_us for run in result.stages}
        for run in result.stages:
            assert run.end_us - run.start_us == run.planned_end_us - run.planned_start_us
        if not together:
            assert [lasted[f"total#{n}"] for n in range(3)] == [110, 60, 60]


def test_batched_modes_are_those_of_one_frame_after_the_other() -> None:
    steps, modes = StepPrices(MERGED, machine(), growing()), modes_of(growing())
    batched = FramePrices(lambda frames: price(MERGED, machine(), growing(), lambda *_: True, frames)).of(3)
    first, later = steps.at_hand(modes, found(100)), steps.later(modes, found(100))
    assert durations(steps.together(batched, first, later, 3), "total")["first"] == 110 + 2 * 60


def test_equal_questions_are_found_equal_from_period_to_period() -> None:
    with simulated(listening(), Stepping(), growing(), window_stages=24) as runtime:
        for number in range(2, 60):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        runtime.drain()
        assert runtime.planning.looked_up >= 50


def test_states_belong_to_what_a_release_finds() -> None:
    one = StateFound("a", "first", "default", 5)
    two = StateFound("b", "first", "default", 5)
    assert Conditions(states=(two, one)) == Conditions(states=(one, two))
    assert Conditions(states=(one,)) != Conditions()
    assert Conditions(states=(one,)).kind() != Conditions().kind()


@pytest.mark.parametrize("window_stages", [0, 24])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_run_what_a_frame_carries_is_valid(seed: int, window_stages: int) -> None:
    """Questions with states are judged as any other, through skipped frames, failures, and links that change."""
    random = Random(seed)
    profile = growing(random.randrange(1, 30) * 100_000, random.randrange(1, 30) * 100_000)
    backend = Stepping(random if seed % 2 else None)
    with simulated(listening(), backend, profile, window_stages=window_stages, noise=200_000) as runtime:
        number = 1
        for _ in range(25):
            number += random.choice([1, 1, 1, 2, 5])
            links = random.choice([None, {}, {("first", "second"): random.choice([None, (900, 10_000)])}])
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)}, links=links)
            if random.randrange(6) == 0:
                random.choice((runtime.lose, runtime.restore))("second")
        results = runtime.drain()
    require_solved(results, windows=window_stages > 0)
    if not seed % 2:
        best = best_plan(results, runtime.merged, runtime.modes, machine(), profile=profile)
        assert regret(results, runtime.merged, runtime.modes, machine(), best=best, profile=profile).best == best


def test_regret_asks_what_was_new_to_each_run() -> None:
    with simulated(listening(), Stepping(), growing(), window_stages=0) as runtime:
        for number in (2, 3, 5):
            runtime.submit(50_000 * number, {"sound": window_at(50_000 * number)})
        results = runtime.drain()
    problem = known_window(results, runtime.merged, runtime.modes, machine(), profile=growing())
    lasts = {stage.name: {mode.resource: mode.duration_us for mode in stage.modes} for stage in problem.stages}
    assert [lasts[f"{n} total"]["first"] for n in range(3)] == [110, 60, 110]
    assert [lasts[f"{n} total"]["second"] for n in range(3)] == [310, 160 + 102, 310 + 102]
    with pytest.raises(InputError, match="stages that keep state"):
        known_window(results, runtime.merged, runtime.modes, machine())


@pytest.mark.parametrize("use", [StateUse(7), StateUse(100, "gap"), StateUse(50, "", 'a "b"', 15)])
def test_the_log_tells_of_states_as_they_were(use: StateUse) -> None:
    told = StateUsed.model_validate_json(_state(use))
    assert (told.fresh, told.anew, told.home, told.moved_nj) == (use.fresh, use.anew, use.home, use.moved_nj)
