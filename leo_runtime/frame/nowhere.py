"""Which graphs of a frame have a stage that can run nowhere now, since processors or links are gone, and why.

Nothing is solved: it goes by the places of stages alone, each struck out that no place of an input, or of a reader, has
a link with. So what is found can have no placement whatever a solver tries; what clashes otherwise is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from leo_runtime.frame.batch import Modes
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import MergedStage, MergedWorkload, active_stages

Pair = tuple[str, str]
"""A link, by its source and its target."""


def nowhere(
    merged: MergedWorkload,
    modes: Modes,
    graphs: tuple[str, ...],
    lost: Collection[str],
    links: Collection[Pair] | None,
    closing: Callable[[tuple[str, ...]], tuple[str, ...]],
) -> dict[str, str]:
    """Of these graphs those that cannot be placed, each with the reason.

    `links` are those that are up; None: they do not matter. `closing` gives the gates that a frame of such graphs can
    do without.
    """
    found: dict[str, str] = {}
    left = graphs
    while left:
        # What asks for a stage without a gate may be gone: then those that are left wait for one.
        unable: dict[str, str] = {}
        # First each by itself: what one could do without may be what another needs, which is gone as well.
        for together in (False, True):
            for name in left:
                frame = left if together else (name,)
                active = active_stages(merged, Conditions(frame, closed_gates=closing(frame)))
                why = _why([stage for stage in active if name in stage.graphs], modes, left, lost, links)
                if why:
                    unable[name] = f"`{name}` cannot run: {why}"
            if unable:
                break
        if not unable:
            break
        found.update(unable)
        left = tuple([name for name in left if name not in unable])
    return found


def gone(stage: str, modes: Modes) -> str:
    """Says of a stage that all processors are lost that could run it."""
    places = list(dict.fromkeys(mode.resource for mode in modes[stage]))
    return (
        f"stage `{stage}` has no processor left that could run it, as {_named(places, 'and')} "
        f"{'is' if len(places) == 1 else 'are'} lost; a mode on another one would let it run"
    )


def _why(
    active: Collection[MergedStage],
    modes: Modes,
    graphs: tuple[str, ...],
    lost: Collection[str],
    links: Collection[Pair] | None,
) -> str:
    """Why these stages cannot be placed in a frame of these graphs; empty where that is not known."""
    places = {s.name: list(dict.fromkeys(m.resource for m in modes[s.name] if m.resource not in lost)) for s in active}
    for name, left in places.items():
        if not left:
            return gone(name, modes)
    if links is None:
        return ""
    reads = [(s.name, one) for s in active for one in (*s.inputs, *s.gates(graphs)) if one in places]
    changed = True
    while changed:
        changed = False
        for reader, read in reads:
            here, there = places[read], places[reader]
            froms = [at for at in here if any(at == to or (at, to) in links for to in there)]
            tos = [to for to in there if any(at == to or (at, to) in links for at in froms)]
            if not froms:
                return (
                    f"no link that is up leads from where `{read}` can run ({_named(here, 'or')}) to where `{reader}` "
                    f"can ({_named(there, 'or')}); a mode on another processor would let it run"
                )
            changed = changed or len(froms) < len(here) or len(tos) < len(there)
            places[read], places[reader] = froms, tos
    return ""


def _named(names: Iterable[str], last: str) -> str:
    *some, one = [f"`{name}`" for name in names]
    return f"{', '.join(some)} {last} {one}" if some else one
