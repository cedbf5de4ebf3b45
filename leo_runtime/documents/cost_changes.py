"""Changes to what stages cost: `profile.STAGE.PROCESSOR.FIELD`, or `profile.STAGE.PROCESSOR.VARIANT.FIELD`.

A stage's cost may come from an entry for many stages. Changed alone, the stage gets an entry of its own, of the same
form: a line whose parts are scaled alike, so that a batch costs in proportion. `*` for the stage, with a factor,
changes the entries themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.paths import ALL, HELP, Operation, first_name, operation, scaled, unknown, whole
from leo_runtime.documents.profile import Cost, Measurement, Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.schema import MAX_QUANTITY

FIELDS = ("duration_us", "power_mw", "energy_nj")
"""What of a stage's cost may be changed: how long a run lasts, what it draws, and, of one that only costs, what it
takes in all."""


@dataclass(frozen=True, slots=True)
class CostPath:
    """A path into a profile, and what is to be there."""

    stage: str
    processor: str
    variant: str
    field: str
    operation: Operation


@dataclass(frozen=True, slots=True)
class _Priced:
    """A stage's variant on a processor, and the entry that holds for it."""

    graph: str
    stage: BoundStage
    variant: str
    processor: str
    cost: Cost | None


def cost_path(text: str, change: str, workload: Workload, hardware: Hardware) -> CostPath:
    """Read a path behind `profile.`. Raises `InputError`."""
    stages = [stage.name for graph in workload.graphs for stage in graph.stages]
    own = [f"{graph.name}.{stage.name}" for graph in workload.graphs for stage in graph.stages]
    stage, text = _next([*dict.fromkeys(stages), *own, ALL], "stage", text, change)
    processor, text = _next([*(one.name for one in hardware.processors), ALL], "processor", text, change)
    variants = dict.fromkeys(
        variant.name for graph in workload.graphs for one in graph.stages for variant in one.variants
    )
    variant = ALL
    if first_name(FIELDS, text) is None and first_name(tuple(variants), text) is not None:
        variant, text = _next(list(variants), "variant", text, change)
    field = first_name(FIELDS, text)
    if field is None:
        raise unknown(FIELDS, "field of a stage's cost, and no variant,", text, change)
    done = operation(text[len(field) :], change)
    done = replace(done, value=whole(done.value))
    if done.kind == "set" and not _is_quantity(done.value, 1 if field == "duration_us" else 0):
        least = "1" if field == "duration_us" else "0"
        raise InputError(f"`{change}`: expected an integer of at least {least}", hint=f"`{field}` says its unit")
    return CostPath(stage, processor, variant, field, done)


def _next(names: Sequence[str], kind: str, text: str, change: str) -> tuple[str, str]:
    """A name and what follows its dot."""
    name = first_name(names, text)
    if name is None:
        raise unknown([one for one in names if "." not in one] if kind == "stage" else names, kind, text, change)
    rest = text[len(name) :]
    if not rest.startswith("."):
        raise InputError(f"`{change}` names no field of a stage's cost", hint=f"one of {', '.join(FIELDS)}; {HELP}")
    return name, rest[1:]


def _is_quantity(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_QUANTITY


def slowed(profile: Profile, processor: str, by: Fraction, change: str) -> tuple[Cost, ...]:
    """The entries with every run on a processor so many times as long, at the same power."""
    return tuple(
        _times(cost, by, change, energy=True) if processor in (cost.processor, ALL) else cost for cost in profile.costs
    )


def changed_costs(
    path: CostPath, change: str, workload: Workload, hardware: Hardware, profile: Profile
) -> tuple[Cost, ...]:
    """The entries of a profile with that path changed. Raises `InputError` where there is nothing to change."""
    if path.stage == ALL and path.operation.kind == "scale":
        return _entries_scaled(path, change, hardware, profile)
    costs = list(profile.costs)
    found = list(_priced(path, workload, hardware, profile, change))
    new = [_new_cost(one, path, change, hardware, alone=path.stage != ALL) for one in found]
    if not any(new):
        known = ", ".join(dict.fromkeys(one.processor for one in found if one.cost)) or "none of those named"
        raise InputError(
            f"`{change}`: profile `{profile.name}` has nothing there to change",
            hint=f"`{path.field}` of it is known on {known}; {HELP}",
        )
    for one, cost in zip(found, new, strict=True):
        if cost is None:
            continue
        own = one.cost is not None and one.cost.holds_for is not None
        if own and one.cost in costs:
            costs[costs.index(one.cost)] = cost
        elif cost not in costs:
            costs.append(cost)
    return tuple(costs)


def _entries_scaled(path: CostPath, change: str, hardware: Hardware, profile: Profile) -> tuple[Cost, ...]:
    active_mw = {one.name: one.active_mw for one in hardware.processors}
    found = 0
    costs: list[Cost] = []
    for cost in profile.costs:
        meant = path.processor in (cost.processor, ALL) and path.variant in (cost.variant, ALL)
        new = _scaled(cost, path, change, active_mw.get(cost.processor, 0)) if meant else None
        found += new is not None
        costs.append(new or cost)
    if not found:
        raise InputError(
            f"`{change}`: no entry of profile `{profile.name}` for `{path.processor}` has it",
            hint="entries with `energy_nj` have no `power_mw`, and the other way round",
        )
    return tuple(costs)


def _priced(path: CostPath, workload: Workload, hardware: Hardware, profile: Profile, change: str) -> Iterator[_Priced]:
    """All that a path means, each once."""
    seen: set[tuple[str | None, str, str]] = set()
    for graph in workload.graphs:
        bound = bind(graph, workload)
        for stage in graph.stages:
            if path.stage not in (stage.name, f"{graph.name}.{stage.name}", ALL):
                continue
            if stage.parts > 1:
                if path.stage == ALL:
                    continue
                raise InputError(
                    f"`{change}`: stage `{stage.name}` is cut into {stage.parts} parts, each with a cost of its own",
                    hint=f"`profile.*.{path.processor}.{path.field}*=FACTOR` changes every entry",
                )
            for variant in (one.name for one in stage.variants if path.variant in (one.name, ALL)):
                for processor in (one.name for one in hardware.processors if path.processor in (one.name, ALL)):
                    known = bound[stage.name]
                    key = (_holds_for(known, variant), processor, variant)
                    if key not in seen:
                        seen.add(key)
                        cost = profile.cost(known, variant, processor)
                        yield _Priced(graph.name, known, variant, processor, cost)


def _holds_for(stage: BoundStage, variant: str) -> str:
    return stage.name if stage.operator.only_costs else stage.signature(variant)


def _new_cost(one: _Priced, path: CostPath, change: str, hardware: Hardware, *, alone: bool) -> Cost | None:
    """The stage's own entry; None where there is nothing to change."""
    only_costs = one.stage.operator.only_costs
    old = one.cost
    if old is None:
        # Said of one stage on one processor, a duration is what it would take there.
        makes_new = alone and path.processor != ALL and path.field == "duration_us" and path.operation.kind == "set"
        if not makes_new:
            return None
        old = Cost(processor=one.processor, variant=one.variant, source="modelled: nothing", **_own(one))
    if path.field == "energy_nj" and not only_costs:
        raise InputError(
            f"`{change}`: stage `{one.stage.name}` has a power, which its duration makes an energy",
            hint="change its `power_mw` or `duration_us`; `energy_nj` is of stages of operator `cost`",
        )
    own = old.model_copy(update=_own(one))
    if path.operation.kind == "scale":
        return _scaled(own, path, change, hardware.processor(one.processor).active_mw)
    value = path.operation.value
    update: dict[str, Any] = {"source": _source(change, old.source)}
    if path.field == "duration_us":
        return _lasting(own, one, value, change)
    if path.field == "power_mw":
        return own.model_copy(update={**update, "power_mw": value, "energy_nj": None, "energy_from": "modelled"})
    return own.model_copy(update={**update, "energy_nj": value, "power_mw": None, "energy_from": "modelled"})


def _own(one: _Priced) -> dict[str, Any]:
    """What makes an entry the stage's own."""
    by = "stage" if one.stage.operator.only_costs else "signature"
    return {"operator": one.stage.operator.name, "family": None, by: _holds_for(one.stage, one.variant)}


def _scaled(cost: Cost, path: CostPath, change: str, active_mw: int) -> Cost | None:
    """The entry with a field multiplied; None where it has not that field."""
    by = path.operation.factor
    if path.field == "duration_us":
        return _times(cost, by, change, energy=False)
    update: dict[str, Any] = {"source": _source(change, cost.source), "energy_from": "modelled"}
    if path.field == "energy_nj":
        if cost.energy_nj is None:
            return None
        return cost.model_copy(update={**update, "energy_nj": scaled(cost.energy_nj, by, change)})
    if cost.energy_nj is not None:
        return None
    power_mw = active_mw if cost.power_mw is None else cost.power_mw
    return cost.model_copy(update={**update, "power_mw": scaled(power_mw, by, change)})


def _times(cost: Cost, by: Fraction, change: str, *, energy: bool) -> Cost:
    """The entry so many times as long; with `energy`, one that says the energy of a run takes so many times that."""
    parts: dict[str, Any] = {name: scaled(getattr(cost, name), by, change) for name in _LINE}
    if energy and cost.energy_nj is not None:
        parts["energy_nj"] = scaled(cost.energy_nj, by, change)
    if cost.measurement is not None:
        parts["measurement"] = _measured(cost.measurement, by, change)
    return cost.model_copy(update={**parts, "source": _source(change, cost.source), "energy_from": "modelled"})


_LINE = ("fixed_us", "ps_per_mac", "ps_per_byte")


def _measured(measurement: Measurement, by: Fraction, change: str) -> Measurement:
    times = {name: getattr(measurement, name) for name in type(measurement).model_fields if name.endswith("_us")}
    return measurement.model_copy(
        update={name: scaled(value, by, change) for name, value in times.items() if value is not None}
    )


def _lasting(cost: Cost, one: _Priced, duration_us: int, change: str) -> Cost:
    """The entry so that the stage takes exactly that long, its parts in proportion."""
    work = one.stage.work(one.variant)
    line = cost if any(getattr(cost, name) for name in _LINE) else cost.model_copy(update={"fixed_us": 1})
    by = Fraction(duration_us, line.duration_us(work))
    # Rounded down, so that what is left for the fixed part is never below 0.
    parts = {name: int(getattr(line, name) * by) for name in ("ps_per_mac", "ps_per_byte")}
    variable_us = -(-(work.macs * parts["ps_per_mac"] + work.bytes * parts["ps_per_byte"]) // 1_000_000)
    return _times(line, by, change, energy=False).model_copy(update={**parts, "fixed_us": duration_us - variable_us})


def _source(change: str, old: str) -> str:
    """Where a changed figure comes from."""
    return f"modelled: `{change}` of: {old}"
