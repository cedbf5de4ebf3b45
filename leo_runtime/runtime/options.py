"""What may be chosen about a runtime, as one value: the same for virtual and for real time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from leo_runtime.dispatch.limits import RunLimit
from leo_runtime.errors import InputError
from leo_runtime.runtime.arguments import require_flags
from leo_runtime.runtime.planner import Solver
from leo_runtime.schema import require_path
from leo_runtime.values import whole

if TYPE_CHECKING:
    from leo_runtime.backend import Backend

WINDOW_STAGES = 30
"""Of a window, where nothing else is said. Of the runs of `tests/bench/runs.py` none costs less with 40, which take
four times as long to ask about; with 20 some hyperperiods do not fit, and their runs cost more."""
MAX_WINDOW_STAGES = 1_000


class OptionChanges(TypedDict, total=False):
    """The options as keywords, for type checkers and editors: `RuntimeOptions` says what they mean."""

    solver: str | Solver
    limit_ms: int | None
    limit_nodes: int | None
    switching_nj: int
    window_stages: int | None
    gates_file: str | Path | None
    backends: Mapping[str, Backend] | None
    adapt: bool
    max_in_flight: int
    max_ahead: int
    max_results: int
    allow_nonfinite: bool
    run_limit: RunLimit | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How a `Runtime` places frames, with what it computes them, and how much it keeps."""

    solver: str | Solver = "exact"
    """A solver by name, or a function from a problem to its placement; or an event-driven policy, by name or one's own,
    which decides about each stage as that becomes ready (`leo_runtime.event_driven`)."""
    limit_ms: int | None = None
    """How long the named solver may take for a frame."""
    limit_nodes: int | None = None
    """How far the named solver may search for a frame: the same limit gives the same answer."""
    switching_nj: int = 0
    """What moving a stage costs from one frame to the next: the exact solver, without `limit_ms`, then stays with its
    last answer where a better one saves less (`solver.replan.Replanner`)."""
    window_stages: int | None = None
    """How many stages a window has at most, unless the release at hand has more: frames are placed together with the
    releases known to follow, by what gates do and by when everything falls asleep (`docs/window-problem.md`). 0: each
    frame is placed as if it were alone; None: `WINDOW_STAGES` with the solver `exact`, and 0 with any other."""
    gates_file: str | Path | None = None
    """Where it is kept from run to run how often gates open; None: it is learned anew. It is read when the runtime is
    made, where it is there (one of another workload is an error), and written every 256 frames and when that closes.
    Without windows it is not looked at."""
    backends: Mapping[str, Backend] | None = None
    """By processor. None: those installed, which the runtime then closes."""
    adapt: bool = False
    """Whether plans go by how long stages have really taken (`drift`)."""
    max_in_flight: int = 16
    """A frame that comes while so many that have one of its graphs have not ended is skipped."""
    max_ahead: int = 256
    """How many frames may wait for their release in real time; whoever submits one more waits until there is room."""
    max_results: int = 10_000
    """How many results wait for `Runtime.results`; beyond, the oldest is dropped and counted in `results_dropped`."""
    allow_nonfinite: bool = False
    """Whether an output with NaN or infinity is passed on; otherwise it fails its stage."""
    run_limit: RunLimit | None = field(default_factory=RunLimit)
    """How long a run may take before it is given up, its stage is tried on another processor, and its lane goes on
    without it: the longest of half a second, ten times what it should take, and its longest deadline, unless it
    says otherwise. None: as long as it does."""
    seed: int = 0
    """Of the solver, of gates and triggers that are drawn, and of the noise in virtual time."""

    def __post_init__(self) -> None:
        """Raise `InputError` for what cannot be chosen; the solver and its limits are `frame_solver`'s to check."""
        for name in ("max_in_flight", "max_ahead", "max_results"):
            object.__setattr__(self, name, whole(getattr(self, name), name, least=1))
        if self.window_stages is not None:
            most = whole(self.window_stages, "window_stages", most=MAX_WINDOW_STAGES)
            object.__setattr__(self, "window_stages", most)
        if self.gates_file is not None:
            require_path(self.gates_file)
        if self.run_limit is not None and not isinstance(self.run_limit, RunLimit):
            raise InputError(
                f"`run_limit` is a RunLimit, got {self.run_limit!r} ({type(self.run_limit).__name__})",
                hint="such as RunLimit(least_us=2_000_000), or None for no limit",
            )
        require_flags(adapt=self.adapt, allow_nonfinite=self.allow_nonfinite)

    def stages_of_windows(self) -> int:
        """How many stages a window has at most; 0: there are none."""
        if self.window_stages is None:
            return WINDOW_STAGES if self.solver == "exact" else 0
        return self.window_stages

    def changed(self, **changes: Unpack[OptionChanges]) -> RuntimeOptions:
        """The same with some of them changed. Raises `TypeError` for a name that is none of them."""
        known = [one.name for one in fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(f"there is no option `{name}` of a runtime; there are {', '.join(known)}")
        return replace(self, **changes)


def chosen_options(options: object, changes: OptionChanges) -> RuntimeOptions:
    """The options, or the usual ones where there are None, with changes. Raises as `RuntimeOptions` does."""
    usual = RuntimeOptions() if options is None else options
    if not isinstance(usual, RuntimeOptions):
        raise InputError(
            f"`options` are RuntimeOptions, got {type(options).__name__}",
            hint="give one of them alone as a keyword, such as solver=...",
        )
    return usual.changed(**changes)
