"""Whether a study can show the columns that it names: before anything is run, and not when all is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import DocumentError, did_you_mean
from leo_runtime.frame.entries import Cause
from leo_runtime.study.document import DERIVED, GAP, REGRET, XRBENCH, Study
from leo_runtime.study.rows import COLUMNS, kind_of

_TEXTS = ("study", "inputs", "version", "workload", "hardware", "profile", "recording", "solver")
"""Kinds of columns that hold no numbers."""
_MEASURED = {"gap_": GAP, "regret_": REGRET, "xrbench_": XRBENCH, "graph_xrbench_": XRBENCH}
"""How kinds of columns begin that there are only where that is measured."""


def _named(study: Study) -> Iterator[tuple[str, str]]:
    """The columns that a study names, each with the place in the document."""
    yield from ((f"$.show[{at}]", column) for at, column in enumerate(study.show))
    for at, one in enumerate(study.derived):
        for k, term in enumerate(one.sum):
            yield from ((f"$.derived[{at}].sum[{k}].of[{n}]", name) for n, name in enumerate(term.of))
    if study.search is not None:
        for key, columns in (("minimise", study.search.minimise), ("maximise", study.search.maximise)):
            yield from ((f"$.search.{key}[{at}]", column) for at, column in enumerate(columns))
        yield from ((f"$.search.at_most.{column}", column) for column in study.search.at_most)


class Names:
    """What columns can be named by, of all documents of a study."""

    def __init__(self) -> None:
        """None is known yet."""
        self._seen: set[str] = set()
        self._of: dict[str, dict[str, None]] = {
            "GRAPH": {"": None},
            "RESOURCE": {},
            "CAUSE": dict.fromkeys(get_args(Cause)),
        }
        self._has_battery = False

    def add(self, documents: str, workload: Workload, hardware: Hardware) -> None:
        """Those of these documents, of that digest."""
        if documents in self._seen:
            return
        self._seen.add(documents)
        self._of["GRAPH"].update(dict.fromkeys(graph.name for graph in workload.graphs))
        resources = [one.name for one in hardware.resources]
        resources += [f"{link.source} -> {link.target}" for link in hardware.links if link.radio is None]
        self._of["RESOURCE"].update(dict.fromkeys(resources))
        self._has_battery |= bool(hardware.battery_nj)

    def check(self, study: Study) -> None:
        """Raise `DocumentError` for a column that is asked for and that no row will have, or that holds no numbers."""
        if not self._seen:  # No cell can be run: that is told.
            return
        columns = list(self._columns(study))
        reckoned_from = [*study.numbers, *(column for column in columns if kind_of(column) != DERIVED)]
        for where, column in _named(study):
            known = reckoned_from if where.startswith(f"$.{DERIVED}") else columns
            if column in known:
                continue
            of = next((of for begin, of in _MEASURED.items() if column.startswith(begin)), None)
            if kind_of(column) in _TEXTS:
                says, hint = f'column "{column}" holds no numbers', "such as energy_nj or misses"
            elif of is not None and of not in study.measure:
                says, hint = f'column "{column}" is not measured', f'measure = ["{of}"]'
            elif known is reckoned_from:
                says, hint = f'no number is called "{column}"', f"{did_you_mean(column, study.numbers)}, or a column"
            else:
                says, hint = f'no column is called "{column}"', did_you_mean(column, known)
            raise DocumentError(f"study `{study.name}`", says, where, hint=hint)

    def _columns(self, study: Study) -> Iterator[str]:
        of = self._of | {
            "AXIS": dict.fromkeys(axis.column for axis in study.axes),
            "NAME": dict.fromkeys(one.name for one in study.derived),
        }
        for name in COLUMNS:
            kind, dot, each = name.partition(".")
            measured = next((of for begin, of in _MEASURED.items() if kind.startswith(begin)), None)
            left_out = kind in _TEXTS or (kind == "battery_s" and not self._has_battery)
            if left_out or (measured is not None and measured not in study.measure):
                continue
            if not dot:
                yield kind
            else:
                yield from (f"{kind}.{one}" for one in of[each] if one or kind == "graph_nj")
