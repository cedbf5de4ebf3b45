"""Who plans the frames of a runtime, by its options."""

from __future__ import annotations

from pathlib import Path

from leo_runtime.documents.hardware import Hardware
from leo_runtime.errors import InputError
from leo_runtime.frame.batch import Modes
from leo_runtime.frame.event_driven import EventPolicy
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.steps import StepPrices
from leo_runtime.runtime.gates_file import GatesFile
from leo_runtime.runtime.horizon import Horizon
from leo_runtime.runtime.options import RuntimeOptions
from leo_runtime.runtime.planner import FrameSolver, Planner, frame_solver
from leo_runtime.runtime.window_solver import window_solver
from leo_runtime.runtime.windows import WindowPlanner
from leo_runtime.solver.event_policies import EVENT_POLICIES
from leo_runtime.solver.memory import named


def chosen_solver(options: RuntimeOptions) -> FrameSolver:
    """The solver of a frame. Raises as `frame_solver` does."""
    return frame_solver(options.solver, options.limit_ms, options.limit_nodes, options.switching_nj, options.seed)


def require_loading(solver: object, hardware: Hardware) -> None:
    """Raise `InputError` or `SolverError` for who answers no questions with weights, on a machine that loads them.

    `solver` is what `RuntimeOptions.solver` takes; a function may answer anything.
    """
    if not hardware.loaders:
        return
    policy = EVENT_POLICIES.get(solver) if isinstance(solver, str) else solver
    if isinstance(policy, EventPolicy):
        raise InputError(
            f"the event-driven policy `{policy.name}` loads no weights, which are loaded on `{hardware.name}`",
            hint="take a solver of questions with weights, such as `greedy`",
        )
    if isinstance(solver, str):
        named(solver)


def planners(
    merged: MergedWorkload,
    hardware: Hardware,
    modes: Modes,
    solver: FrameSolver,
    options: RuntimeOptions,
    hurries: bool,
    *,
    steps: StepPrices | None = None,
    reads_gates: bool = True,
) -> tuple[Planner, Horizon | None]:
    """Who plans frames, and who plans windows, if there are any; `steps` as `Planner` takes it.

    Without `reads_gates` the file of gates is left to one that is made later, or was before.
    """
    if hardware.loaders and options.window_stages:
        raise InputError(
            f"`window_stages` is {options.window_stages}, and windows know nothing of weights, which are loaded on "
            f"`{hardware.name}`",
            hint="leave it out: frames are placed one by one there",
        )
    require_loading(solver.policy or options.solver, hardware)
    planner = Planner(merged, hardware, modes, solver, steps)
    stages = options.stages_of_windows()
    if not stages or hardware.loaders:
        return planner, None
    if solver.policy is not None:
        raise InputError(
            f"the event-driven policy `{solver.policy.name}` plans no windows, got {stages} stages for one",
            hint="leave out `window_stages`, or give 0",
        )
    assert not isinstance(options.solver, EventPolicy), "it has a policy"
    windows = WindowPlanner(
        planner,
        window_solver(
            options.solver,
            limit_ms=options.limit_ms,
            limit_nodes=options.limit_nodes,
            seed=options.seed,
            hurries=hurries,
        ),
        hurries=hurries,
        switching_nj=options.switching_nj,
    )
    gates_file = None
    if options.gates_file is not None and reads_gates:
        gates_file = GatesFile(Path(options.gates_file), merged.workload.name)
    return planner, Horizon(merged, windows, stages, gates_file)
