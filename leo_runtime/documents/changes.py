"""Changes to a workload, a machine and its profile, each a line of text: what-ifs, and what studies vary.

- `PATH=VALUE` gives a field another value, such as `graphs.knock.deadline_us=400_000`, `processors.gpu.lanes=2`,
  `links.cpu->cloud.bytes_per_s=1_000_000`, `profile.mfcc.dsp.duration_us=90_000`.
- `PATH*=FACTOR` multiplies it: `links.*.bytes_per_s*=0.5`. Whole numbers are rounded, half up.
- `contention.gpu.dla.slowdown_ppm=200_000` is how much longer runs on one processor take while another is busy.
- `without NAME` takes out a processor, a radio, a link or a graph, and what cannot be without it.
- `scale-deadlines FACTOR` is `graphs.*.deadline_us*=FACTOR`.
- `slow PROCESSOR=FACTOR` makes every run there so many times as long, at the same power.
- `fault NAME@WHEN` has a processor die, or a link fall, for a while in virtual time (`faults`); it changes no document.
- `network NAME=TRACE` has the links over a radio, or a link, do what a made-up trace says: `network lte=lte-like`. It
  changes what a recording says, and no document.

They are made in the order given, and what comes out is checked as documents are. `paths` and `cost_changes` read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeVar

from leo_runtime.documents.binding import BoundStage, bind, in_order
from leo_runtime.documents.contention import Contention
from leo_runtime.documents.contention_changes import CONTENTION, changed_contention
from leo_runtime.documents.cost_changes import changed_costs, cost_path, slowed
from leo_runtime.documents.faults import WORD, faults_of
from leo_runtime.documents.hardware import Hardware, Processor, Radio
from leo_runtime.documents.paths import (
    ALL,
    Operation,
    Place,
    factor,
    first_name,
    link_names,
    meant,
    operation,
    over_network,
    places,
    scaled,
    unknown,
)
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Stage, Workload
from leo_runtime.errors import DocumentError, GraphError, InputError, did_you_mean
from leo_runtime.schema import Document, Value

WORKLOAD_FIELDS = ("graphs", "streams", "objective")
HARDWARE_FIELDS = ("processors", "radios", "links", "stores", "loaders", "battery_nj")
PROFILE = "profile"
"""What a path begins with."""

NAMED = ("graphs", "processors", "radios", "links")
"""Lists whose parts may be taken out."""

SHOWN = 8
"""Of how many stages that could run nowhere the names are told."""

_SLEEP = ("wake_latency_us", "wake_energy_nj", "asleep_mw")

_Document = TypeVar("_Document", bound=Document)


@dataclass(frozen=True, slots=True)
class Changed:
    """Documents after changes."""

    workload: Workload
    hardware: Hardware
    profile: Profile
    notes: tuple[str, ...] = ()
    """What is to be told of them: changes that change nothing, and what else had to go."""


@dataclass(frozen=True, slots=True)
class _Documents:
    """Documents between two changes."""

    workload: Workload
    hardware: Hardware
    profile: Profile | None
    notes: tuple[str, ...] = ()

    def told(self, *notes: str) -> _Documents:
        return replace(self, notes=(*self.notes, *notes))


def changed(workload: Workload, hardware: Hardware, profile: Profile, changes: Sequence[str]) -> Changed:
    """The documents with these changes made, in their order; without any, the very same documents.

    Names and formats stay. What a recording says of links is changed by `Recording.with_changes`. Raises `InputError`
    for a path that leads nowhere, a value that the document refuses, and a stage that is left with nothing to run on.
    """
    done = _all_changed(_Documents(workload, hardware, profile), changes)
    assert done.profile is not None
    return Changed(done.workload, done.hardware, done.profile, done.notes)


def changed_unmeasured(workload: Workload, hardware: Hardware, changes: Sequence[str]) -> tuple[Workload, Hardware]:
    """What `changed` makes of both where there is no profile yet. Raises `InputError`, also for paths into a profile.

    The profile is to be measured for them, and changed with the documents that were given here.
    """
    done = _all_changed(_Documents(workload, hardware, None), changes)
    return done.workload, done.hardware


def _all_changed(documents: _Documents, changes: Sequence[str]) -> _Documents:
    if isinstance(changes, str):
        raise InputError(f"`changes` are several, got the text `{changes}`", hint=f'write ["{changes}"]')
    for change in changes:
        documents = _changed(documents, change)
    taken = tuple(change for change in changes if change.startswith("without "))
    if taken:
        _require_somewhere(documents, ", ".join(f"`{change}`" for change in taken))
    return documents


def _changed(documents: _Documents, change: str) -> _Documents:
    """One change made."""
    word, _, rest = change.partition(" ")
    if word in _WORDS:
        return _WORDS[word](documents, rest.strip(), change)
    return _set(documents, change)


def _set(documents: _Documents, change: str) -> _Documents:
    workload, hardware = documents.workload, documents.hardware
    if change == PROFILE or change.startswith((f"{PROFILE}.", f"{PROFILE}=")):
        return _profile_set(documents, change)
    if change == CONTENTION or change.startswith((f"{CONTENTION}.", f"{CONTENTION}=")):
        return _contention_set(documents, change)
    owners: dict[str, Document] = dict.fromkeys(WORKLOAD_FIELDS, workload) | dict.fromkeys(HARDWARE_FIELDS, hardware)
    root = {name: getattr(owner, name) for name, owner in owners.items()}
    if first_name(root, change) is None:
        raise unknown([*root, PROFILE, CONTENTION], "field", change, change)
    found = places(root, change, change)
    if len({place.rest for place in found}) > 1:
        raise InputError(f"`{change}`: names with dots make it mean several things", hint="name one part alone")
    done = operation(found[0].rest, change)
    edits = [(place, _new_value(place, done, change)) for place in found]
    documents = documents.told(*_notes(documents, edits, done, change))
    if all(_is_same(place.value, value) for place, value in edits):
        return documents
    if found[0].keys[0] in HARDWARE_FIELDS:
        return replace(documents, hardware=_edited(hardware, edits, change))
    workload = _edited(workload, edits, change)
    _require_meaning(workload, change)
    return replace(documents, workload=workload)


def _profile_set(documents: _Documents, change: str) -> _Documents:
    path = cost_path(change[len(PROFILE) + 1 :], change, documents.workload, documents.hardware)
    if documents.profile is None:
        return documents
    costs = changed_costs(path, change, documents.workload, documents.hardware, documents.profile)
    return _with_costs(documents, costs, change)


def _contention_set(documents: _Documents, change: str) -> _Documents:
    profile = documents.profile
    before = Contention() if profile is None else profile.contention
    after = changed_contention(before, documents.hardware, change)
    if profile is None:
        return documents
    if after.slowdowns_ppm() == before.slowdowns_ppm() and after.expected_percent == before.expected_percent:
        return documents.told(f"`{change}` changes nothing: the profile says {ALREADY}")
    return replace(documents, profile=profile.model_copy(update={"contention": after}))


def _with_costs(documents: _Documents, costs: Sequence[Any], change: str) -> _Documents:
    """The profile with these entries, checked."""
    assert documents.profile is not None
    figures = [cost.model_dump(exclude={"source", "energy_from"}) for cost in costs]
    if figures == [cost.model_dump(exclude={"source", "energy_from"}) for cost in documents.profile.costs]:
        return documents.told(f"`{change}` changes nothing: the profile says {ALREADY}")
    profile = documents.profile.model_copy(update={"costs": tuple(costs)})
    return replace(documents, profile=_checked(profile, _plain(profile), change))


def _new_value(place: Place, done: Operation, change: str) -> Any:
    if done.kind == "set":
        return meant(done, place)
    return None if place.value is None else scaled(place.value, done.factor, change)


def _is_same(before: Any, after: Any) -> bool:
    """Whether a document would take both alike; True is no 1 there."""
    before = list(before) if isinstance(before, tuple) else before
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)


def _edited(document: _Document, edits: Sequence[tuple[Place, Any]], change: str) -> _Document:
    """The document with other values at these places, checked."""
    data = _plain(document)
    for place, value in edits:
        part: Any = data
        model: Any = document
        for key in place.keys[:-1]:
            model = model[key] if isinstance(key, int) or isinstance(model, dict) else getattr(model, key)
            if isinstance(part, dict) and key not in part:  # It is at its default.
                part[key] = _plain(model)
            part = part[key]
        last = place.keys[-1]
        part[last] = value
        # A graph has one of both, and a figure that was changed is no longer its source's.
        other = {"period_us": "rate_hz", "rate_hz": "period_us"}.get(str(last))
        if other is not None and len(place.keys) == 3 and not (value is None and place.value is None):
            part.pop(other, None)
        if last in part.get("sources", ()):
            part["sources"][last] = f"modelled: `{change}` of: {part['sources'][last]}"
    return _checked(document, data, change)


def _plain(value: Any) -> Any:
    """A document, or a part of one, as JSON has it, what is at its default left out; none of it is the document's."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, Value) else deepcopy(value)


def _checked(document: _Document, data: dict[str, Any], change: str) -> _Document:
    try:
        return type(document).from_dict(data, f"`{change}`")
    except DocumentError as error:
        if not error.hint and any(words in str(error) for words in _OF_ANOTHER_TYPE):
            error.hint = _HOW_VALUES_ARE_WRITTEN
        raise


ALREADY = "so already"
"""How the note of a change ends that gives what is there the value that it has."""
_OF_ANOTHER_TYPE = ("expected an integer", "input should be")
_HOW_VALUES_ARE_WRITTEN = (
    'values are as in TOML: 400_000 or 4e5 in the unit of the name, true, "text", [1, 2]; none leaves a field out'
)


def _require_meaning(workload: Workload, change: str) -> None:
    """Raise `InputError` where a stage's parameters no longer fit it, or each other."""
    for graph in workload.graphs:
        try:
            bind(graph, workload)
        except GraphError as error:
            raise InputError(f"`{change}`: {error}", hint=error.hint) from None


def _notes(documents: _Documents, edits: Sequence[tuple[Place, Any]], done: Operation, change: str) -> list[str]:
    """What is to be told of a change that has no effect, or not the one that may be thought."""
    notes: list[str] = []
    without = sum(place.value is None for place, _ in edits)
    if done.kind == "scale" and without == len(edits):
        notes.append(f"`{change}` changes nothing of the documents: there is no number to multiply")
    elif all(_is_same(place.value, value) for place, value in edits):
        notes.append(f"`{change}` changes nothing: it is {ALREADY}")
    elif done.kind == "scale" and without:
        notes.append(f"`{change}` leaves {without} of {len(edits)} as they are, which have no such number")
    if done.kind == "scale":
        far = [one for one in edits if _is_far(*one, done.factor)]
        notes += [_rounded_note(place, value, done.factor, change) for place, value in far]
    for place, _ in edits:
        if isinstance(place.owner, Stage) and "params" in place.keys and place.keys[-1] != "params":
            own = [variant.name for variant in place.owner.variants if place.keys[-1] in variant.params]
            if own:
                notes.append(
                    f"`{change}`: variants of stage `{place.owner.name}` with a `{place.keys[-1]}` of their own keep "
                    f"it: {', '.join(own)}"
                )
        elif isinstance(place.owner, Processor):
            notes += _processor_notes(documents, place.owner, str(place.keys[-1]), change)
        elif isinstance(place.owner, Radio) and _is_unused(place.owner, documents.hardware):
            notes.append(f"`{change}` changes no run: no link goes over radio `{place.owner.name}`")
    return notes


def _is_unused(radio: Radio, hardware: Hardware) -> bool:
    return all(link.radio != radio.name for link in hardware.links)


def _is_far(place: Place, value: Any, by: Fraction) -> bool:
    """Whether a whole number was rounded by more than a hundredth of what it should be."""
    if not isinstance(place.value, int) or isinstance(place.value, bool):
        return False
    exact = place.value * by
    return bool(abs(value - exact) * 100 > exact)


def _rounded_note(place: Place, value: Any, by: Fraction, change: str) -> str:
    named, exact = ".".join(map(str, place.keys)), float(place.value * by)
    return f"`{change}` rounds {exact:g} to {value}, at $.{named}: whole numbers alone are known there"


def _processor_notes(documents: _Documents, processor: Processor, field: str, change: str) -> list[str]:
    if field in _SLEEP and processor.idle_timeout_us is None:
        return [f"`{change}` changes no run: `{processor.name}` never sleeps, as it has no `idle_timeout_us`"]
    if field == "active_mw" and documents.profile is not None:
        entries = [cost for cost in documents.profile.costs if cost.processor == processor.name]
        own = sum(cost.power_mw is not None or cost.energy_nj is not None for cost in entries)
        if own:
            return [
                f"`{change}` leaves {own} of {len(entries)} entries of the profile as they are, which say their own: "
                f"see `{PROFILE}.{ALL}.{processor.name}.power_mw`"
            ]
    return []


def _without(documents: _Documents, name: str, change: str) -> _Documents:
    """A part taken out, with what cannot be without it."""
    workload, hardware = documents.workload, documents.hardware
    named: dict[str, list[str]] = {
        "graphs": [graph.name for graph in workload.graphs],
        "processors": [processor.name for processor in hardware.processors],
        "radios": [radio.name for radio in hardware.radios],
        "links": [f"{link.source}->{link.target}" for link in hardware.links],
    }
    links = {other: f"{one.source}->{one.target}" for one in hardware.links for other in link_names(*_ends(one))[:2]}
    kinds = [
        (kind, links.get(part, part))
        for kind in NAMED
        for part in (name, name.removeprefix(f"{kind}."))[: 2 if name.startswith(f"{kind}.") else 1]
        if links.get(part, part) in named[kind]
    ]
    if not kinds:
        known = [one for names in named.values() for one in names]
        raise InputError(f"`{change}`: nothing is called `{name}`", hint=did_you_mean(name, known))
    if len(kinds) > 1:
        raise InputError(
            f"`{change}`: several parts are called `{name}`",
            hint=f"say which: {', '.join(f'`without {kind}.{part}`' for kind, part in kinds)}",
        )
    kind, part = kinds[0]
    if kind == "graphs":
        return _without_graph(documents, part, change)
    return _without_part(documents, kind, part, change)


def _ends(link: Any) -> tuple[str, str]:
    return link.source, link.target


def _without_graph(documents: _Documents, name: str, change: str) -> _Documents:
    workload = documents.workload
    left = tuple(graph for graph in workload.graphs if graph.name != name)
    if not left:
        raise InputError(f"`{change}`: it is the only graph of workload `{workload.name}`", hint="leave one to run")
    return replace(documents, workload=workload.model_copy(update={"graphs": left}))


def _without_part(documents: _Documents, kind: str, name: str, change: str) -> _Documents:
    """A processor, a radio or a link taken out, and the links that need it."""
    hardware, profile = documents.hardware, documents.profile

    def stays(link: Any) -> bool:
        return name not in (*_ends(link), link.radio, f"{link.source}->{link.target}")

    update: dict[str, Any] = {"links": tuple(link for link in hardware.links if stays(link))}
    if kind == "processors":
        sensed = [stream.name for stream in documents.workload.streams if stream.on == name]
        if sensed:
            raise InputError(
                f"`{change}`: the sensor of stream `{sensed[0]}` is on it",
                hint=f"first move it: `streams.{sensed[0]}.on=PROCESSOR`",
            )
        update["processors"] = tuple(one for one in hardware.processors if one.name != name)
        update["loaders"] = tuple(loader for loader in hardware.loaders if loader.target != name)
        if profile is not None:
            update_costs = tuple(cost for cost in profile.costs if cost.processor != name)
            profile = profile.model_copy(update={"costs": update_costs, "contention": profile.contention.without(name)})
    if kind == "radios":
        update["radios"] = tuple(one for one in hardware.radios if one.name != name)
        gone = [f"{link.source}->{link.target}" for link in hardware.links if link.radio == name]
        if gone:
            documents = documents.told(f"`{change}`: with it go the links over it, {', '.join(gone)}")
    return replace(documents, hardware=hardware.model_copy(update=update), profile=profile)


def _scale_deadlines(documents: _Documents, rest: str, change: str) -> _Documents:
    factor(rest, change)
    return _set(documents, f"graphs.{ALL}.deadline_us*={rest}")


def _slow(documents: _Documents, rest: str, change: str) -> _Documents:
    name, equals, given = rest.rpartition("=")
    if not equals:
        raise InputError(f"`{change}`: no factor is given", hint="write `slow PROCESSOR=FACTOR`, such as `slow dsp=3`")
    known = [processor.name for processor in documents.hardware.processors]
    if name not in (*known, ALL):
        raise InputError(
            f"`{change}`: hardware `{documents.hardware.name}` has no processor `{name}`",
            hint=did_you_mean(name, known),
        )
    by = factor(given, change)
    if by == 0:
        raise InputError(f"`{change}`: a run lasts a while: the factor is above 0", hint="such as 0.01")
    if documents.profile is None:
        return documents
    return _with_costs(documents, slowed(documents.profile, name, by, change), change)


def _network(documents: _Documents, rest: str, change: str) -> _Documents:
    hardware = documents.hardware
    name, equals, trace = rest.rpartition("=")
    if not equals or not trace:
        raise InputError(
            f"`{change}`: no trace is given", hint="write `network RADIO=TRACE`, as `network lte=lte-like`"
        )
    if not over_network(hardware, name):
        known = [*(radio.name for radio in hardware.radios), *(f"{a}->{b}" for a, b in map(_ends, hardware.links))]
        raise InputError(
            f"`{change}`: hardware `{hardware.name}` has no link called `{name}`, and none over a radio of that name",
            hint=f"{did_you_mean(name, known)}" if known else "it has no links at all",
        )
    return documents


def _fault(documents: _Documents, rest: str, _change: str) -> _Documents:
    faults_of((f"{WORD}{rest}",), documents.hardware, 0, 0)
    return documents


_WORDS: dict[str, Callable[[_Documents, str, str], _Documents]] = {
    "without": _without,
    "scale-deadlines": _scale_deadlines,
    "slow": _slow,
    "network": _network,
    "fault": _fault,
}


def _require_somewhere(documents: _Documents, taken: str) -> None:
    """Raise `InputError` for stages that no processor is left for, or none that their inputs can get to."""
    homeless = {
        graph.name: stages for graph in documents.workload.graphs if (stages := _homeless(documents, graph.name))
    }
    if not homeless:
        return
    named = [f"`{stage}` of `{graph}`" for graph, stages in homeless.items() for stage in stages]
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    graphs = ", ".join(f"`without {graph}`" for graph in homeless)
    raise InputError(
        f"{taken}: nothing is left that could run {', '.join(named[:SHOWN])}{more}",
        hint=f"leave out their graphs, too ({graphs}), or give the profile what they cost elsewhere",
    )


def _homeless(documents: _Documents, name: str) -> list[str]:
    """The stages of a graph that could run on no processor, for want of an entry, a sensor or a link."""
    workload, hardware, profile = documents.workload, documents.hardware, documents.profile
    graph = next(graph for graph in workload.graphs if graph.name == name)
    bound = bind(graph, workload)
    links = {_ends(link) for link in hardware.links}
    everywhere = [processor.name for processor in hardware.processors]
    can: dict[str, list[str]] = {}
    homeless: list[str] = []
    for stage in in_order(graph):
        can[stage.name] = [
            processor.name
            for processor in hardware.processors
            if _has_mode(processor, stage, bound[stage.name], workload, profile)
            and all(
                any(source == processor.name or (source, processor.name) in links for source in can[read])
                for read in (*stage.inputs, *([stage.gate] if stage.gate else []))
            )
        ]
        if not can[stage.name]:
            homeless.append(stage.name)
            can[stage.name] = everywhere  # What reads it is not to be told of for its sake.
    return homeless


def _has_mode(
    processor: Processor, stage: Stage, bound: BoundStage, workload: Workload, profile: Profile | None
) -> bool:
    """Whether a processor has the stage's sensor, and the profile knows what it costs there."""
    for variant in bound.params:
        if bound.operator.is_source:
            on = workload.stream(bound.params[variant].stream).on
            if processor.remote if on is None else processor.name != on:
                continue
        # What a stage in parts costs is known of its parts alone; where nothing is measured, nothing is known.
        if profile is None or stage.parts > 1 or profile.cost(bound, variant, processor.name) is not None:
            return True
    return False
