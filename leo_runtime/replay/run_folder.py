"""A run's folder: what is in it, where the next one goes, and the log that a `RUN` on the command line means."""

from __future__ import annotations

import re
from pathlib import Path

from leo_runtime.errors import InputError

LOG, TIMES, TRACE = "log.jsonl", "times.jsonl", "trace.perfetto-trace"
"""The files of a run: what happened (`leo_runtime.replay.log_lines`), what of it took how long here, and a picture."""


def next_folder(out: Path, name: str) -> Path:
    """Make the folder of a new run: `out/name`, or else `out/name.2` and so on, after the highest that is there.

    Of two processes at once each gets one of its own: who makes the folder has it. Raises `InputError` where no folder
    can be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        number = _highest(out, name) + 1
        while True:
            folder = out / (name if number == 1 else f"{name}.{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:  # Another process was sooner, or a file is in its place.
                number += 1
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"{out}: no folder can be made there for the run ({why})",
            hint="name a folder you may write to: --out FOLDER",
        ) from None


def _highest(out: Path, name: str) -> int:
    """The greatest number among the runs of a name; 0 where there is none."""
    numbered = re.compile(rf"{re.escape(name)}(?:\.([1-9][0-9]{{0,17}}))?")
    found = [match for one in out.iterdir() if (match := numbered.fullmatch(one.name))]
    return max((int(match[1] or 1) for match in found), default=0)


def log_of(run: Path) -> Path:
    """The log of a run, which is named by its folder or by the log itself. Raises `InputError` where there is none."""
    try:
        if run.is_dir():
            log = run / LOG
            if log.is_file():
                return log
            packed = [one.name for one in run.iterdir() if one.name.startswith(f"{LOG}.")]
            raise InputError(
                f"{run}: holds no `{LOG}`", hint=f"unpack `{packed[0]}` first" if packed else _runs_in(run)
            )
        if run.exists():  # A pipe can be read, too.
            return run
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{run}: cannot be read ({why})", hint="name a run's folder or its log") from None
    raise InputError(f"{run}: no such folder or log", hint=_runs_in(run.parent))


def _runs_in(folder: Path) -> str:
    """A hint that names the runs in a folder, the newest three."""
    try:
        runs = [one for one in folder.iterdir() if (one / LOG).is_file()]
        runs.sort(key=lambda one: (one.stat().st_mtime_ns, one.name), reverse=True)
    except OSError:
        runs = []
    names = ", ".join(str(run) for run in runs[:3])
    return f"such as {names}" if names else "`leo-runtime replay` writes one, and says where"
