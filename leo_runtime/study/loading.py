"""What the cells of a study are run with: documents are read once in a process, and changed once a set of changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leo_runtime import demo, shipped
from leo_runtime.backend.versions import versions
from leo_runtime.documents.changes import Changed, changed
from leo_runtime.errors import InputError
from leo_runtime.frame.event_driven import EventPolicy
from leo_runtime.recordings.recording import NOTHING_SECONDS, Recording, check_links, check_streams
from leo_runtime.replay.compare import Case, Placing, placing_on, require_as_it_runs, require_placing
from leo_runtime.replay.identity import Span
from leo_runtime.replay.inputs import model_digests, samples_digest
from leo_runtime.replay.regret import require_best_plan
from leo_runtime.replay.replay import check_files, streams_read
from leo_runtime.runtime.planners import require_loading
from leo_runtime.solver.preferences import PREFER
from leo_runtime.study.cells import Cell
from leo_runtime.study.document import GAP, REGRET, Settings, Study
from leo_runtime.study.policies import Policy, policy, require_takes_limit
from leo_runtime.study.shared import Kept
from leo_runtime.version import VERSION

if TYPE_CHECKING:
    from leo_runtime.documents.workload import Workload

ROWS_FORMAT = 5
"""Goes up where the same inputs give another row."""
MOST_CHANGED = 64
"""How many changed sets of documents are kept."""
DIGITS = 32
"""Hexadecimal digits of a SHA-256, of which a digest is the first."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A cell that can be run."""

    cell: Cell
    case: Case
    placing: Placing
    policy: Policy
    inputs: str
    """A digest of all that its row depends on."""
    documents: str
    """A digest of its documents alone: cells that have it in common ask the same questions."""
    notes: tuple[str, ...]
    """What is to be told of its changes."""


class Loader:
    """Makes cells ready. For one thread."""

    def __init__(self, study: Study, folder: Path) -> None:
        """Nothing is read yet; relative paths begin at the folder."""
        self._study = study
        self._folder = folder
        self._read = Kept()
        self._changed = Kept(MOST_CHANGED)

    def ready(self, cell: Cell) -> Ready:
        """A cell with its documents read, changed and checked. Raises `LeoError`, what `replay` could only later."""
        settings = cell.settings
        placing = self._placing(cell)
        solver = placing.policy
        one = self._read.get(("policy", solver), lambda: policy(solver, self._folder))
        if isinstance(one.function, EventPolicy):
            require_as_it_runs(solver, placing)
        elif one.function is not None:
            require_takes_limit(one, placing.limit_nodes)
        done, recording, documents = self._documents(cell)
        placing = placing_on(placing, done.hardware)
        if REGRET in self._study.measure:
            require_best_plan(done.hardware)
        if one.function is None:
            require_placing(placing, done.hardware)
        else:
            require_loading(one.function, done.hardware)
        workload = done.workload
        start_us = round((settings.start_seconds or 0) * 1e6)
        length_us = None if settings.seconds is None else max(1, round(settings.seconds * 1e6))
        span = Span.of(recording, start_us, length_us, streams_read(workload))
        case = Case(workload, done.hardware, done.profile, recording, span, cell.changes)
        inputs = {
            "rows": ROWS_FORMAT,
            "version": VERSION,
            "documents": documents,
            "span_us": [span.start_us, span.end_us],
            "solver": [one.name, one.digest],
            "placing": [
                *(placing.stages_of_windows, placing.batch, placing.reserve_in("virtual"), placing.noise_ppm),
                placing.seed,
                *(() if placing.limit_nodes is None else (placing.limit_nodes,)),
            ],
            "measure": sorted(self._study.measure),
            "compute": self._read.get(("versions",), versions) if self._study.compute else {},
        }
        return Ready(cell, case, placing, one, _digest(inputs), documents, done.notes)

    def _placing(self, cell: Cell) -> Placing:
        settings = cell.settings
        batch = settings.batch or 1
        if settings.window and batch > 1:
            raise InputError(
                f"a window of {settings.window} stages does nothing with a batch of {batch}",
                hint="a batch is placed as if nothing followed: leave out one of them",
            )
        if batch > 1 and set(self._study.measure) & {GAP, REGRET}:
            raise InputError(
                f"`{' and '.join(self._study.measure)}` cannot be measured of batches, got a batch of {batch}",
                hint="leave it out of `measure`",
            )
        return Placing(
            policy=_policy_of(settings),
            reserve_percent=settings.reserve_percent,
            batch=batch,
            noise_ppm=round((settings.noise_percent or 0) * 10_000) or None,
            seed=settings.seed or 0,
            window_stages=settings.window,
            network_known=settings.network_known or "estimated",
            limit_nodes=settings.limit_nodes,
        )

    def _documents(self, cell: Cell) -> tuple[Changed, Recording, str]:
        settings = cell.settings
        key = (
            *(settings.workload, settings.hardware, settings.profile, settings.recording),
            *(settings.start_seconds, settings.seconds, cell.changes),
        )
        return self._changed.get(key, lambda: self._changed_anew(cell))

    def _changed_anew(self, cell: Cell) -> tuple[Changed, Recording, str]:
        settings = cell.settings
        name, machine = settings.workload, settings.hardware or shipped.PHONE
        costs = settings.profile or _usual_profile(machine)
        workload = self._read.get(("workload", name), lambda: shipped.workload(self._workload(name)))
        hardware = self._read.get(("hardware", machine), lambda: shipped.hardware(self._named(machine)))
        profile = self._read.get(("profile", costs), lambda: shipped.profile(self._named(costs)))
        given = self._recording(cell, workload)
        done = changed(workload, hardware, profile, cell.changes)
        recording = given.with_changes(done.hardware, cell.changes)
        check_streams(done.workload, recording)
        check_links(done.hardware, recording)
        if self._study.compute:
            check_files(done.workload)
        digest = _digest(
            {
                "workload": done.workload.to_json(),
                "hardware": done.hardware.to_json(),
                "profile": done.profile.to_json(),
                "recording": self._recorded(settings.recording, recording, done.workload),
                "models": model_digests(done.workload) if self._study.compute else {},
            }
        )
        return done, recording, digest

    def _recording(self, cell: Cell, workload: Workload) -> Recording:
        settings = cell.settings
        named = settings.recording is not None or settings.workload is None
        if workload.streams and not named and self._study.compute:
            raise InputError(
                f"workload `{workload.name}` reads streams, and no recording is named",
                hint='add `recording = "NAME"` to `base`, or leave out `compute`',
            )
        if settings.recording is None and not (workload.streams and named):
            seconds = NOTHING_SECONDS if settings.seconds is None else settings.seconds
            lasts_us = max(1, round(((settings.start_seconds or 0) + seconds) * 1e6))
            return self._read.get(
                ("nothing", workload.name, lasts_us, workload.streams),
                lambda: Recording.of_nothing(workload.name, lasts_us, workload.streams),
            )
        name = settings.recording or "demo"
        found = name if name in shipped.recordings() else str(self._folder / name)
        return self._read.get(("recording", found), lambda: shipped.recording(found))

    def _recorded(self, named: str | None, recording: Recording, workload: Workload) -> list[str]:
        """What a run reads of the recording that the study calls so, in digests: two may say the same of themselves."""
        if not workload.streams:
            return [recording.manifest.name, json.dumps([link.model_dump() for link in recording.manifest.links])]
        samples = self._read.get(("samples", named, workload.streams), lambda: samples_digest(recording, workload))
        return [recording.manifest.model_dump_json(), samples]

    def _workload(self, name: str | None) -> str | None:
        """A workload's name as `shipped` takes it: a file of such a name goes before what ships."""
        if name is None or (name in demo.WORKLOADS and not (self._folder / name).is_file()):
            return name
        return str(self._folder / name)

    def _named(self, name: str) -> str:
        """A document's name as `shipped` takes it."""
        return str(self._folder / name) if name.endswith((".toml", ".json")) else name


def _policy_of(settings: Settings) -> str:
    """Who places, by name."""
    if settings.prefer is None:
        return settings.solver or "exact"
    return PREFER + ",".join(settings.prefer)


def _usual_profile(hardware: str) -> str:
    """The profile of a machine that names none. Raises `InputError`."""
    if hardware not in shipped.names("profile"):
        raise InputError(
            f"no profile ships for the hardware `{hardware}`", hint='name one: `profile = "FILE"` beside `hardware`'
        )
    return hardware


def _digest(of: Any) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:DIGITS]
