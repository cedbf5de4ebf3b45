"""A problem flattened to integers for the search kernel, and the kernel's answer turned back into a placement.

All that takes time is a source in `search/`, with a `.pxd` beside it (`SOURCES`). Where they were compiled at install
they work on 64-bit integers; where they were not, or where a problem's numbers could overflow 64 bits, the same sources
run interpreted on Python's own integers.
"""

import importlib.util
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from time import perf_counter_ns
from types import ModuleType

from leo_runtime.documents.problem import Placement, Question, StageModes
from leo_runtime.solver.protocols import LearningSearch, SearchKernel, WindowSearch
from leo_runtime.solver.search import clauses as _clauses
from leo_runtime.solver.search import flatten as _flatten
from leo_runtime.solver.search import kernel as _kernel
from leo_runtime.solver.search import placements as _placements
from leo_runtime.solver.search import windows as _windows
from leo_runtime.solver.search.flatten import Flat, Stages
from leo_runtime.solver.search.placements import Status as Status

SEARCH = "leo_runtime.solver.search"
"""The package of the sources."""
SEARCHES = (
    "arrays",
    "schedule",
    "local_search",
    "bounds",
    "prices",
    "kernel",
    "formulation",
    "propagation",
    "lanes",
    "caps",
    "learning",
    "lasting",
    "clauses",
    "openings",
    "expected",
    "windows",
)
"""Each is made of those before it."""
SOURCES = ("flatten", *SEARCHES, "placements")

COMPILED = all(source.COMPILED for source in (_kernel, _clauses, _windows, _flatten, _placements))
"""Whether all of it was compiled at install."""


_interpreting = RLock()


def interpreted(source: str) -> ModuleType:
    """A source run by the interpreter, whether or not it was compiled as well."""
    name = f"{SEARCH}._interpreted_{source}"
    with _interpreting:
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "search" / f"{source}.py")
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            # What it imports of what it is made of is to be interpreted, too.
            before = SEARCHES[: SEARCHES.index(source)] if source in SEARCHES else ()
            parts = {f"{SEARCH}.{part}": interpreted(part) for part in before}
            usual = {part: sys.modules[part] for part in parts}
            sys.modules.update(parts)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
            finally:
                sys.modules.update(usual)
    return sys.modules[name]


class Compiled:
    """A problem as flat integers. Stages are in topological order (ties: the problem's order); modes, links and lanes
    are numbered in the problem's order. `stages[i]` is the problem's stage at topological position `i`.
    """

    __slots__ = ("flat", "lane_numbers", "names", "problem", "resources", "stages", "wide")

    flat: Flat
    stages: Sequence[StageModes]
    wide: bool
    """Whether 64 bits could be too few for what the kernel counts."""

    def __init__(self, problem: Question, like: "Compiled | None" = None) -> None:
        """Flatten a problem; `like` is one that differs from it in nothing but its resources' and links' numbers."""
        self.problem = problem
        self.flat = flat = flattened(problem, None if like is None else like.flat.stages)
        self.stages, self.names = flat.stages.documents, flat.stages.names
        self.resources, self.lane_numbers, self.wide = flat.resources, flat.lane_numbers, flat.wide

    def kernel(self, *, by_interpreter: bool = False) -> SearchKernel:
        """A search kernel holding this problem; compiled where that is possible and the numbers fit."""
        data = self.flat.page.data
        if by_interpreter or self.wide or not COMPILED:
            kernel: SearchKernel = interpreted("kernel").Kernel(data)
            return kernel
        return _kernel.Kernel(data)

    def placement(
        self,
        answer: list[int],
        solver: str,
        status: Status,
        bounds: tuple[int, ...],
        began_ns: int,
    ) -> Placement:
        """The document of an answer as `Kernel.answer()` gives it (see there); `solve_us` runs from `began_ns`."""
        return _placements.placement(self.flat, answer, solver, status, bounds, began_ns)

    def infeasible(self, solver: str, reason: str, began_ns: int) -> Placement:
        """The document that says that no answer exists, and why."""
        return Placement(
            format="leo-placement/1",
            problem=self.problem.name,
            solver=solver,
            status="infeasible",
            solve_us=(perf_counter_ns() - began_ns) // 1000,
            reason=reason,
        )


def flattened(problem: Question, stages: Stages | None = None) -> Flat:
    """The problem written down, by the interpreter if 64 bits do not hold all its numbers; `stages` may be known."""
    try:
        return Flat(problem, stages if isinstance(stages, Stages) else None)
    except OverflowError:
        written: Flat = interpreted("flatten").Flat(problem, None)
        return written


def clause_search(kernel: SearchKernel, *, lasting: bool = False) -> LearningSearch:
    """The search that learns (`clauses.ClauseSearch`) of a kernel's problem: compiled if the kernel is."""
    if COMPILED and isinstance(kernel, _kernel.Kernel):
        return _clauses.ClauseSearch(kernel, lasting)
    search: LearningSearch = interpreted("clauses").ClauseSearch(kernel, lasting)
    return search


def window_search(frame: Sequence[int], page: Sequence[int], *, wide: bool) -> tuple[SearchKernel, WindowSearch]:
    """The kernel of a window's frame, and the search of the window that `page` makes of it (`windows.WindowSearch`).

    Compiled, unless 64 bits are too few for what is counted.
    """
    if COMPILED and not wide:
        kernel: SearchKernel = _kernel.Kernel(array("q", frame))
        return kernel, _windows.WindowSearch(kernel, array("q", page))
    kernel = interpreted("kernel").Kernel(list(frame))
    search: WindowSearch = interpreted("windows").WindowSearch(kernel, list(page))
    return kernel, search
