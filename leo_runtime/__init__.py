"""leo-runtime: decides, frame by frame, which stage of which sensing pipeline runs where, and runs it.

The names below are the public ones; each is imported when it is first used, so that importing the package costs
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leo_runtime.dispatch.limits import RunLimit as RunLimit
    from leo_runtime.documents.changes import changed as changed
    from leo_runtime.documents.graph_builder import GraphBuilder as GraphBuilder
    from leo_runtime.documents.hardware import Hardware as Hardware
    from leo_runtime.documents.hardware import Link as Link
    from leo_runtime.documents.hardware import Processor as Processor
    from leo_runtime.documents.hardware import Radio as Radio
    from leo_runtime.documents.memory import MemoryPlacement as MemoryPlacement
    from leo_runtime.documents.memory import MemoryProblem as MemoryProblem
    from leo_runtime.documents.problem import Placement as Placement
    from leo_runtime.documents.problem import Problem as Problem
    from leo_runtime.documents.profile import Cost as Cost
    from leo_runtime.documents.profile import Profile as Profile
    from leo_runtime.documents.window import WindowPlacement as WindowPlacement
    from leo_runtime.documents.window import WindowProblem as WindowProblem
    from leo_runtime.documents.workload import Decision as Decision
    from leo_runtime.documents.workload import Stage as Stage
    from leo_runtime.documents.workload import Stream as Stream
    from leo_runtime.documents.workload import TaskGraph as TaskGraph
    from leo_runtime.documents.workload import Variant as Variant
    from leo_runtime.documents.workload import Workload as Workload
    from leo_runtime.errors import InputError as InputError
    from leo_runtime.errors import LeoError as LeoError
    from leo_runtime.frame.event_driven import GiveUp as GiveUp
    from leo_runtime.frame.event_driven import Moment as Moment
    from leo_runtime.frame.event_driven import Start as Start
    from leo_runtime.frame.event_driven import event_driven as event_driven
    from leo_runtime.frame.ledger import Ledger as Ledger
    from leo_runtime.frame.ledger import run_ledger as run_ledger
    from leo_runtime.frame.records import FrameResult as FrameResult
    from leo_runtime.frame.records import Solved as Solved
    from leo_runtime.judge import check as check
    from leo_runtime.judge.memory import check_memory as check_memory
    from leo_runtime.judge.window import check_window as check_window
    from leo_runtime.operators import operator as operator
    from leo_runtime.recordings.recording import Recording as Recording
    from leo_runtime.runtime.options import RuntimeOptions as RuntimeOptions
    from leo_runtime.runtime.runtime import Runtime as Runtime
    from leo_runtime.solver import solve as solve
    from leo_runtime.solver.explain import explain as explain

__version__ = "0.1.0"

_HOMES = {
    "errors": ("InputError", "LeoError"),
    "documents.changes": ("changed",),
    "documents.graph_builder": ("GraphBuilder",),
    "documents.workload": ("Decision", "Stage", "Stream", "TaskGraph", "Variant", "Workload"),
    "documents.hardware": ("Hardware", "Link", "Processor", "Radio"),
    "judge": ("check",),
    "judge.memory": ("check_memory",),
    "judge.window": ("check_window",),
    "frame.event_driven": ("GiveUp", "Moment", "Start", "event_driven"),
    "frame.ledger": ("Ledger", "run_ledger"),
    "frame.records": ("FrameResult", "Solved"),
    "operators": ("operator",),
    "documents.memory": ("MemoryPlacement", "MemoryProblem"),
    "documents.problem": ("Placement", "Problem"),
    "documents.window": ("WindowPlacement", "WindowProblem"),
    "documents.profile": ("Cost", "Profile"),
    "dispatch.limits": ("RunLimit",),
    "runtime.options": ("RuntimeOptions",),
    "runtime.runtime": ("Runtime",),
    "solver": ("solve",),
    "solver.explain": ("explain",),
    "recordings.recording": ("Recording",),
}
_HOME_OF = {name: f"leo_runtime.{module}" for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)

_MODULES = ("backend", "clock", "errors", "graph", "hardware", "operators", "problem", "shipped", "solver", "testing")
"""Modules that messages and documents point at: they are there without an import of their own."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"leo_runtime.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module `leo_runtime` has no name `{name}`")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_MODULES})
