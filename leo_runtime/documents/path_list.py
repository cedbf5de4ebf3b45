"""All paths that changes go by, for people: what each begins with, which names may follow, and which fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leo_runtime.documents.contention import Contention, Slowdown
from leo_runtime.documents.cost_changes import FIELDS
from leo_runtime.documents.hardware import Hardware, Link, Processor, Radio, Store, StoreLoader
from leo_runtime.documents.paths import FIXED
from leo_runtime.documents.trigger import Trigger
from leo_runtime.documents.workload import Decision, Stage, Stream, TaskGraph, Variant, Workload
from leo_runtime.schema import Value, field_docs

_OF_COSTS = (
    "How long a run lasts.",
    "Drawn while it runs.",
    "What a run takes, of a stage of operator `cost`.",
)
_OF_PAIRS = ("victim", "aggressor", "measurement", "source")
"""What no path leads to of a pair of processors."""
_PARAMETERS = "A parameter of its operator, such as `bands` of `mfcc`."


@dataclass(frozen=True, slots=True)
class PathForm:
    """Paths that begin alike."""

    form: str
    """Such as `graphs.GRAPH`, what is written large being one of `names`."""
    names: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    """What may follow, and what it means; empty where its name says all."""


def path_forms(workload: Workload, hardware: Hardware) -> tuple[PathForm, ...]:
    """Every path into these documents, and into a profile of the machine."""
    stages = tuple(dict.fromkeys(stage.name for graph in workload.graphs for stage in graph.stages))
    processors = tuple(processor.name for processor in hardware.processors)
    links = tuple(f"{link.source}->{link.target}" for link in hardware.links)
    forms = (
        PathForm(
            "graphs.GRAPH",
            tuple(graph.name for graph in workload.graphs),
            _fields(TaskGraph, ("stages", "decision", "trigger")),
        ),
        PathForm("graphs.GRAPH.trigger", (), _fields(Trigger)),
        PathForm("graphs.GRAPH.decision", (), _fields(Decision)),
        PathForm("graphs.GRAPH.stages.STAGE", stages, _fields(Stage, ("variants",))),
        PathForm("graphs.GRAPH.stages.STAGE.variants.VARIANT", (), _fields(Variant)),
        PathForm("streams.STREAM", tuple(stream.name for stream in workload.streams), _fields(Stream)),
        PathForm("objective", (), ()),
        PathForm("processors.PROCESSOR", processors, _fields(Processor)),
        PathForm("radios.RADIO", tuple(radio.name for radio in hardware.radios), _fields(Radio)),
        PathForm("links.LINK", links, _fields(Link)),
        PathForm("stores.STORE", tuple(store.name for store in hardware.stores), _fields(Store)),
        PathForm("loaders.TARGET", tuple(loader.target for loader in hardware.loaders), _fields(StoreLoader)),
        PathForm("battery_nj", (), ()),
        PathForm(
            "profile.STAGE.PROCESSOR or profile.STAGE.PROCESSOR.VARIANT", (), tuple(zip(FIELDS, _OF_COSTS, strict=True))
        ),
        PathForm("contention", (), _fields(Contention, ("pairs",))),
        PathForm(
            "contention.PROCESSOR.PROCESSOR", (), _fields(Slowdown, ("victim", "aggressor", "measurement", "source"))
        ),
    )
    lists = (
        ("streams.", workload.streams),
        ("radios.", hardware.radios),
        ("links.", links),
        ("stores.", hardware.stores),
        ("loaders.", hardware.loaders),
    )
    empty = [kind for kind, parts in lists if not parts]
    return tuple(form for form in forms if not form.form.startswith(tuple(empty)))


def _fields(part: type[Value], left_out: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """The fields of a part that may be changed, with what their docstrings say."""
    said = field_docs(part)
    return tuple(
        (f"{name}.KEY", _PARAMETERS)
        if name == "params"
        else (f"{name}.KEY" if name == "options" else name, " ".join(said.get(name, "").split()))
        for name in part.model_fields
        if name not in (*FIXED, *left_out)
    )
