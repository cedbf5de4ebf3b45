"""`leo-runtime replay --resume RUN`: what a run that was interrupted is, by its log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leo_runtime.errors import DocumentError, InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from leo_runtime.recordings.recording import Recording
    from leo_runtime.replay.compare import Case, Placing
    from leo_runtime.replay.log_lines import RunLine
    from leo_runtime.replay.log_text import Settings

BESIDE = ("--resume", "RECORDING", "--no-compare", "--policies", "--no-trace", "--plot", "--json", "--width", "--wide")
"""What may be given beside `--resume`: the rest is as the log says."""
_ANEW = "replay it anew"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run that is to go on."""

    log: Path
    head: RunLine
    case: Case
    placing: Placing
    settings: Settings


def interrupted(run: Path, recording: str | None, given: Collection[str]) -> Interrupted | None:
    """The run whose folder or log that is; None: it is whole. `recording`: where that is now, if it was moved.

    Raises `InputError` and `DocumentError` for what is no such run, for a recording that is another one, and for what
    of the command's arguments (`given`) would change the run.
    """
    from leo_runtime.replay.compare import Case, Placing
    from leo_runtime.replay.log_text import Settings
    from leo_runtime.replay.replay import Span
    from leo_runtime.replay.run_folder import log_of

    others = [name for name in given if name not in BESIDE]
    if others:
        raise InputError(
            f"{', '.join(f'`{name}`' for name in others)} beside `--resume`, which goes on as the run began",
            hint=f"leave it out; {', '.join(BESIDE[1:])} may be given",
        )
    log = log_of(run)
    head = _head(log)
    if _is_whole(log):
        return None
    found = _recording(head, recording)
    _require_same_models(head)
    return Interrupted(
        log,
        head,
        Case(
            head.workload,
            head.hardware,
            head.profile,
            found,
            Span(head.start_us, head.end_us),
            head.changes,
        ),
        Placing(
            policy=head.policy,
            reserve_percent=head.reserve_percent,
            batch=head.batch,
            solver_on=head.charge_solver,
            noise_ppm=head.noise_ppm,
            seed=head.seed,
            window_stages=head.window_stages,
            network_known=head.network_known or "estimated",
        ),
        Settings(
            seed=head.seed,
            noise_ppm=head.noise_ppm,
            reserve_percent=head.reserve_percent,
            window_stages=head.window_stages,
            network_known=head.network_known or "estimated",
            recording=head.recording.given,
            questions=head.questions,
        ),
    )


def _head(log: Path) -> RunLine:
    """The first line of a log. Raises `DocumentError`, and `InputError` where it is none that could go on."""
    from leo_runtime.replay.log_lines import RunLine
    from leo_runtime.version import VERSION

    most = 64 << 20
    try:
        with log.open("rb") as file:
            line = file.readline(most)
    except OSError as error:
        raise InputError(f"{log}: cannot be read ({error.strerror or error})") from None
    if not line.endswith(b"\n"):
        raise InputError(f"{log}: the run was interrupted before its first line was written", hint=_ANEW)
    if line.startswith(b'{"format":"leo-log/1"'):
        raise InputError(f"{log}: a log of the format `leo-log/1` does not say what it takes to go on", hint=_ANEW)
    try:
        head = RunLine.from_json(line, f"{log}:1")
    except DocumentError as error:
        error.hint = error.hint or f"name a run's folder or its log, or {_ANEW}"
        raise
    if head.version != VERSION:
        raise InputError(f"{log}: was written by leo-runtime {head.version}, this is {VERSION}", hint=_ANEW)
    return head


def _is_whole(log: Path) -> bool:
    from leo_runtime.appending import last_line

    try:
        with log.open("rb") as file:
            _, line = last_line(file)
    except OSError as error:
        raise InputError(f"{log}: cannot be read ({error.strerror or error})") from None
    try:
        last = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(last, dict) and last.get("kind") == "end"


def _recording(head: RunLine, moved_to: str | None) -> Recording:
    """The recording of the run. Raises what opening it does, and `InputError` where it is another one."""
    from leo_runtime import shipped
    from leo_runtime.errors import LeoError
    from leo_runtime.recordings.recording import Recording
    from leo_runtime.replay.inputs import samples_digest
    from leo_runtime.replay.log_text import manifest_digest

    if moved_to is None and not head.workload.streams:
        nothing = Recording.of_nothing(head.workload.name, head.end_us).with_changes(head.hardware, head.changes)
        if manifest_digest(nothing.manifest) == head.recording.digest:
            return nothing
    given = head.recording.given if moved_to is None else moved_to
    try:
        recording = shipped.recording(given).with_changes(head.hardware, head.changes)
    except LeoError as error:
        if moved_to is not None:
            raise
        raise InputError(
            str(error), hint="go on where the run began, or name the recording: replay RECORDING --resume RUN"
        ) from None
    if manifest_digest(recording.manifest) != head.recording.digest:
        raise InputError(
            f"`{given}` is not the recording of this run, `{head.recording.name}`, as it was then: what it says of its "
            "streams, links or labels differs",
            hint=f"name the one that was replayed, or {_ANEW}",
        )
    if head.recording.samples not in (None, samples_digest(recording, head.workload)):
        raise InputError(
            f"`{given}` is not the recording of this run, `{head.recording.name}`, as it was then: other samples are "
            "in its files",
            hint=f"name the one that was replayed, or {_ANEW}",
        )
    return recording


def _require_same_models(head: RunLine) -> None:
    """Raise `InputError` for a model that has changed since the run began; one that is gone is told of later."""
    from leo_runtime.replay.inputs import model_digests

    for path, digest in model_digests(head.workload).items():
        if head.models.get(path, digest) != digest:
            raise InputError(
                f"{path}: is not the model that the run began with, which held something else",
                hint=f"put that back, or {_ANEW}",
            )
