"""A machine as text: its processors, radios and links, and where their figures come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leo_runtime.report.layout import duration, table
from leo_runtime.terminal import WIDE, Look, fill

if TYPE_CHECKING:
    from leo_runtime.documents.hardware import Hardware, Link, Processor, Radio, Store, StoreLoader

PATHS = "Any of it can be changed for a run: see `leo-runtime replay --set help`.\n"


def listed(machines: Sequence[Hardware], look: Look = WIDE) -> str:
    """Machines, a line each."""
    rows = [
        (
            machine.name,
            ", ".join(f"{one.name} ({one.lanes})" for one in machine.processors),
            ", ".join(radio.name for radio in machine.radios) or "-",
            len(machine.links),
            _energy(machine.battery_nj) if machine.battery_nj else "-",
        )
        for machine in machines
    ]
    return table(("hardware", "processors (lanes)", "radios", "links", "battery"), rows, look, wrapped=False)


def text(machine: Hardware, look: Look = WIDE) -> str:
    """All of a machine: tables of its parts, then the source of every figure."""
    battery = f"a battery of {_energy(machine.battery_nj)}; " if machine.battery_nj else ""
    header = ("processor", "backend", "lanes", "active", "awake", "asleep", "wakes in", "wake uJ", "sleeps in")
    parts = [
        fill(f"{machine.name}; {battery}powers in mW: of a lane that runs, awake and asleep", look.columns) + "\n",
        table(header, [_processor(one) for one in machine.processors], look),
    ]
    if told := [_more(one) for one in machine.processors if _more(one)]:
        parts.append("".join(f"{fill(line, look.columns, '  ')}\n" for line in told))
    if machine.radios:
        of_radios = ("radio", "lanes", "awake mW", "wakes in", "wake uJ", "tail", "tail mW")
        parts.append(table(of_radios, [_radio(one) for one in machine.radios], look))
    if machine.links:
        of_links = ("link", "takes", "kB/s", "uJ each", "nJ/byte", "over")
        parts.append(table(of_links, [_link(one) for one in machine.links], look))
    if machine.stores:
        of_stores = ("store", "lanes", "awake mW", "asleep mW", "wakes in", "wake uJ", "stays awake")
        parts.append(table(of_stores, [_store(one) for one in machine.stores], look))
    if machine.loaders:
        of_loaders = ("loader to", "takes", "kB/s", "uJ each", "nJ/byte", "from")
        parts.append(table(of_loaders, [_loader(one) for one in machine.loaders], look))
    if sources := _sources(machine):
        parts.append(table(("figure", "source"), sources, look, wrapped=True))
    return "\n".join([*parts, PATHS])


def _processor(one: Processor) -> tuple[object, ...]:
    never = one.idle_timeout_us is None
    return (
        one.name,
        one.backend,
        one.lanes,
        one.active_mw,
        one.awake_mw,
        "-" if never else one.asleep_mw,
        "-" if never else duration(one.wake_latency_us),
        "-" if never else _microjoules(one.wake_energy_nj),
        "never" if one.idle_timeout_us is None else duration(one.idle_timeout_us),
    )


def _more(one: Processor) -> str:
    """What few processors have."""
    parts = [
        *(["it is elsewhere: no sensor is there"] if one.remote else []),
        *([] if one.memory_bytes is None else [f"memory {one.memory_bytes / 1024:g} KiB"]),
        *(f"{name} = {value}" for name, value in one.options.items()),
    ]
    return f"{one.name}: {', '.join(parts)}" if parts else ""


def _radio(one: Radio) -> tuple[object, ...]:
    return (
        one.name,
        one.lanes,
        one.awake_mw,
        duration(one.wake_latency_us),
        _microjoules(one.wake_energy_nj),
        duration(one.tail_us),
        one.tail_mw,
    )


def _link(one: Link) -> tuple[object, ...]:
    return (
        f"{one.source}->{one.target}",
        duration(one.latency_us),
        "any" if one.bytes_per_s is None else f"{one.bytes_per_s / 1000:g}",
        _microjoules(one.energy_nj),
        f"{one.energy_pj_per_byte / 1000:g}",
        one.radio or "-",
    )


def _store(one: Store) -> tuple[object, ...]:
    never = one.idle_timeout_us is None
    return (
        one.name,
        one.lanes,
        one.awake_mw,
        "-" if never else one.asleep_mw,
        "-" if never else duration(one.wake_latency_us),
        "-" if never else _microjoules(one.wake_energy_nj),
        "always" if one.idle_timeout_us is None else duration(one.idle_timeout_us),
    )


def _loader(one: StoreLoader) -> tuple[object, ...]:
    return (
        one.target,
        duration(one.latency_us),
        f"{one.bytes_per_s / 1000:g}",
        _microjoules(one.energy_nj),
        f"{one.energy_pj_per_byte / 1000:g}",
        one.store,
    )


def _sources(machine: Hardware) -> list[tuple[str, str]]:
    """Every figure that has a source, by the path that changes it."""
    found = [(field, source) for field, source in machine.sources.items()]
    lists = (("processors", machine.processors), ("radios", machine.radios), ("stores", machine.stores))
    for kind, parts in lists:
        found += [(f"{kind}.{part.name}.{field}", source) for part in parts for field, source in part.sources.items()]
    for link in machine.links:
        found += [(f"links.{link.source}->{link.target}.{field}", source) for field, source in link.sources.items()]
    for loader in machine.loaders:
        found += [(f"loaders.{loader.target}.{field}", source) for field, source in loader.sources.items()]
    return found


def _microjoules(nj: int) -> str:
    return f"{nj / 1000:g}"


def _energy(nj: int) -> str:
    return f"{nj / 1e12:.4g} kJ" if nj >= 10**12 else f"{nj / 1e9:.4g} J"
