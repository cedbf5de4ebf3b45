"""The kernel's answer written down as a placement. One source, as the kernel is: compiled or interpreted."""

from time import perf_counter_ns
from typing import Any, Literal, TypeVar

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

from leo_runtime.documents.problem import CRITERIA, Criteria, Placement, StageRun, TransferRun
from leo_runtime.schema import Value
from leo_runtime.solver.search.flatten import Flat

if cython.compiled:
    from cython.cimports.cpython.object import PyObject_GenericSetAttr as _put
else:
    _put = object.__setattr__

COMPILED: bool = cython.compiled

Status = Literal["optimal", "feasible", "infeasible"]
V = TypeVar("V", bound=Value)

_RUN_KEYS = set(StageRun.model_fields)
_TRANSFER_KEYS = set(TransferRun.model_fields)
_CRITERIA_KEYS = set(Criteria.model_fields)
_PLACEMENT_KEYS = set(Placement.model_fields)


def _made(kind: type[V], keys: set[str], values: dict[str, Any]) -> V:
    """A part of a document from values known to be right, with every key given, in the order of the fields.

    What pydantic's `model_construct` does at a fraction of its cost: most of an answer's time was spent there.
    """
    # Cython takes a class whose own class is not `type` itself for one only if told to.
    known = cython.cast(type, kind) if cython.compiled else kind
    made: V = known.__new__(known)
    _put(made, "__dict__", values)
    _put(made, "__pydantic_fields_set__", keys)
    _put(made, "__pydantic_extra__", None)
    _put(made, "__pydantic_private__", None)
    return made


def placement(
    flat: Flat, answer: list[int], solver: str, status: Status, bounds: tuple[int, ...], began_ns: int
) -> Placement:
    """The document of an answer to `flat` as `Kernel.answer()` gives it (see there), found since `began_ns`."""
    names, costs = flat.stages.names, flat.stages.costs
    resources, lanes = flat.resources, flat.lane_numbers
    runs: list[StageRun] = []
    transfers: list[TransferRun] = []
    places: list[str] = []
    at = 4
    for name in names:
        mode = costs[answer[at]]
        place = mode["resource"]
        start = answer[at + 2]
        values: dict[str, Any] = {
            "stage": name,
            "resource": place,
            "variant": mode["variant"],
            "lane": lanes[answer[at + 1]],
            "start_us": start,
            "end_us": start + mode["duration_us"],
        }
        at += 3
        places.append(place)
        runs.append(_made(StageRun, _RUN_KEYS, values))
    while at < len(answer):
        i, lane = answer[at], answer[at + 2]
        values = {
            "stage": names[i],
            "source": places[i],
            "target": resources[answer[at + 1]],
            "lane": None if lane < 0 else lanes[lane],
            "start_us": answer[at + 3],
            "arrive_us": answer[at + 4],
        }
        at += 5
        transfers.append(_made(TransferRun, _TRANSFER_KEYS, values))
    criteria: dict[str, Any] = {CRITERIA[c]: answer[c] for c in range(4)}
    values = {
        "format": "leo-placement/1",
        "problem": flat.name,
        "solver": solver,
        "status": status,
        "criteria": _made(Criteria, _CRITERIA_KEYS, criteria),
        "bounds": bounds,
        "stages": tuple(runs),
        "transfers": tuple(transfers),
        "solve_us": (perf_counter_ns() - began_ns) // 1000,
        "reason": None,
    }
    return _made(Placement, _PLACEMENT_KEYS, values)
