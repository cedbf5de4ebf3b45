"""Rates of logs that G-NetTrack Pro writes on phones, as CSV.

Raca et al., "Beyond throughput, the next generation" (ACM MMSys 2020), published theirs so: a row a second, `Timestamp`
in local time such as `2019.12.16_13.40.04`, `DL_bitrate` and `UL_bitrate` in kbit/s, `State` D while something was
loaded and I while nothing was. Seconds are missing, others come twice, and a value that is not known is `-`.
"""

from __future__ import annotations

import csv
import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.reader import without_path

_COLUMNS = {"down": "DL_bitrate", "up": "UL_bitrate"}
_TIME = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)_(\d\d)\.(\d\d)\.(\d\d)", re.ASCII)
_KBIT_PER_S = re.compile(r"\d{1,10}(\.\d{1,10})?", re.ASCII)
_MOST_SECONDS = 10**8
_GAP_SECONDS = 5
"""From such a time on between two rows, it is told that nothing was measured."""


def read_g_nettrack(path: Path, direction: Literal["up", "down"]) -> tuple[list[float], list[float], list[str]]:
    """Seconds from the first row that counts, rising; Mbit/s from then on; and what was left out, a sentence each.

    Rows of one second are their mean. Raises `RecordingError`, with the line.
    """
    column = _COLUMNS[direction]
    found: dict[datetime, list[float]] = {}
    last: datetime | None = None
    idle = unknown = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            names = [name.strip() for name in next(rows, [])]
            for name in ("Timestamp", column):
                if names.count(name) != 1:
                    raise RecordingError(
                        f"{path}:1: has {'no' if name not in names else 'more than one'} column `{name}`",
                        hint=f"the log of G-NetTrack Pro as CSV, whose first line names Timestamp and {column}",
                    )
            time_at, rate_at = names.index("Timestamp"), names.index(column)
            state_at = names.index("State") if "State" in names else None
            for row in rows:
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                where = f"{path}:{rows.line_num}"
                if len(cells) <= max(time_at, rate_at, state_at or 0):
                    raise RecordingError(
                        f"{where}: has {len(cells)} columns of {len(names)}", hint="it may have been cut: delete it"
                    )
                time = _time(cells[time_at], where)
                if last is not None and time < last:
                    raise RecordingError(f"{where}: time goes back, to {time} after {last}", hint="sort its lines")
                last = time
                if state_at is not None and cells[state_at] == "I":
                    idle += 1
                elif cells[rate_at] in ("-", ""):
                    unknown += 1
                elif not _KBIT_PER_S.fullmatch(cells[rate_at]):
                    raise RecordingError(
                        f"{where}: {column} is no rate: `{cells[rate_at][:40]}`", hint="kbit/s, or - if not known"
                    )
                else:
                    found.setdefault(time, []).append(float(cells[rate_at]) / 1e3)
    except (OSError, ValueError, csv.Error) as error:
        raise RecordingError(f"{path}: cannot be read as a network trace ({without_path(error)})") from None
    if not found:
        raise RecordingError(
            f"{path}: holds no rates", hint="rows with State I, when nothing was loaded, and those of - do not count"
        )
    start = next(iter(found))
    seconds = [(time - start).total_seconds() for time in found]
    if seconds[-1] >= _MOST_SECONDS:
        raise RecordingError(f"{path}: lasts {seconds[-1]:g} s", hint=f"at most {_MOST_SECONDS} s: look at its times")
    told = [f"rows when nothing was loaded are left out: {idle}"] if idle else []
    told += [f"rows without a known {column} are left out: {unknown}"] if unknown else []
    if repeated := sum(len(rates) - 1 for rates in found.values()):
        told.append(f"rows of a second that has one already are put together, as their mean: {repeated}")
    gaps = [later - before for before, later in pairwise(seconds) if later - before > _GAP_SECONDS]
    if gaps:
        told.append(
            f"gaps of more than {_GAP_SECONDS} s, where the rate before them holds: {len(gaps)}, {sum(gaps):g} s"
        )
    return seconds, [sum(rates) / len(rates) for rates in found.values()], told


def _time(cell: str, where: str) -> datetime:
    parts = _TIME.fullmatch(cell)
    try:
        if parts is not None:
            return datetime(*map(int, parts.groups()))  # type: ignore[arg-type]  # six of them, by the pattern
    except ValueError:  # No such day or hour.
        pass
    raise RecordingError(f"{where}: Timestamp is no time: `{cell[:40]}`", hint="such as 2019.12.16_13.40.04")
