"""Carries a policy out: looks at the machine every few seconds, decides, and tells the runtime what has changed.

Somebody who wants a processor for himself, such as a game, says so by a file of its name in the folder `taken` of the
runtime directory: `touch $XDG_RUNTIME_DIR/leo-runtime/taken/gpu`, and takes the file away afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from leo_runtime.daemon.machine_state import MachineState, busy_ppm
from leo_runtime.daemon.policies import Memory, Seen, Settings, Site, decide
from leo_runtime.errors import ClosedError, InputError, did_you_mean, failure_text

if TYPE_CHECKING:
    from leo_runtime.clock import Clock
    from leo_runtime.daemon.counts import Counts
    from leo_runtime.daemon.policy_config import Acting
    from leo_runtime.daemon.tally import Tally
    from leo_runtime.documents.hardware import Hardware
    from leo_runtime.documents.problem import Criterion, Mode
    from leo_runtime.documents.workload import Workload
    from leo_runtime.runtime.runtime import Runtime

TAKEN = "taken"
"""The folder's name."""

log = logging.getLogger(__name__)


class Governed(Protocol):
    """What is governed."""

    change_lock: threading.Lock
    """Held while the workload is changed, so that the one of the config and the one that runs belong together."""

    @property
    def runtime(self) -> Runtime:
        """That runs."""
        ...

    @property
    def workload(self) -> Workload:
        """As the config has it now."""
        ...


class Governor:
    """One policy at work. `tick` is for one thread at a time, all else for any."""

    def __init__(
        self,
        policy: Acting,
        governed: Governed,
        tally: Tally,
        counts: Counts,
        *,
        read: Callable[[], MachineState],
        clock: Clock,
        taken: Path,
    ) -> None:
        """`read` looks at the machine; files in the folder `taken` name processors that are somebody's.

        Raises `InputError` for a processor or radio that the machine has not.
        """
        self._policy, self._governed, self._tally, self._counts = policy, governed, tally, counts
        self._read, self._clock, self._taken = read, clock, taken
        self._hardware = governed.runtime.hardware
        require_known(policy, self._hardware)
        self._memory = Memory()
        self._gpu: tuple[int, int | None] | None = None
        self._withheld: tuple[str, ...] = ()
        """Processors that we took from the runtime; what it has lost by itself is none of them."""
        self._applied: tuple[Workload, Settings] | None = None
        self._said: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, name="leo policy", daemon=True)
        self.machine = MachineState()
        """As it was looked at last."""
        self.settings = Settings()
        """What holds now."""

    def start(self) -> None:
        """Begin."""
        with suppress(OSError):  # Then nobody can take anything: so it is where the file system is read-only.
            self._taken.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread.start()

    def undo(self) -> None:
        """Take back what was changed of the runtime, as where another policy holds from now on. After `close`."""
        try:
            with self._governed.change_lock:
                self._apply(self._governed.workload, Settings())
        except Exception as error:  # The policy that follows is carried out all the same.
            self._counts.other("policy_failures")
            log.warning("what the policy had changed could not be taken back: %s", failure_text(error))

    def close(self) -> None:
        """End. What was changed of the runtime stays as it is."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    def _go(self) -> None:
        while True:
            try:
                self.tick()
            except ClosedError:  # The daemon ends.
                return
            except Exception as error:  # A policy that goes wrong must not end what it is about.
                self._counts.other("policy_failures")
                log.warning("the policy could not be carried out: %s", failure_text(error))
            if self._stop.wait(self._policy.every_s):
                return

    def tick(self) -> None:
        """Look, decide, and change what has to be changed. Raises what the runtime raises of a change."""
        now_us = self._clock.now_us()
        self.machine = machine = self._read()
        seen = self._seen(now_us, machine)
        with self._governed.change_lock:
            base = self._governed.workload
            site = site_of(self._policy, base, self._hardware)
            decided, self._memory = decide(self._policy, site, seen, self._memory)
            self._apply(base, decided)
        self.settings = decided

    def _seen(self, now_us: int, machine: MachineState) -> Seen:
        tallied, others_ppm = self._tally.now(), None
        if self._gpu is not None:
            others_ppm = busy_ppm(self._gpu[1], machine.gpu_others_ns, now_us - self._gpu[0])
        self._gpu = now_us, machine.gpu_others_ns
        known = {one.name for one in self._hardware.processors}
        try:
            taken = tuple(sorted(file.name for file in self._taken.iterdir() if file.name in known))
        except OSError:  # It is not there.
            taken = ()
        return Seen(
            now_us,
            machine,
            others_ppm,
            taken,
            tallied.spent_nj,
            tallied.graphs_nj,
            tallied.answers,
            self._governed.runtime.shed,
        )

    def _apply(self, base: Workload, decided: Settings) -> None:
        runtime = self._governed.runtime
        wanted = adjusted(base, decided)
        if self._applied is None or self._applied[0] is not base:
            changes = wanted is not base
        else:
            changes = wanted != adjusted(base, self._applied[1])
        if changes:
            runtime.change(wanted)
            self._tell("weighs graphs and energy anew" if wanted is not base else "weighs as the workload says again")
        before, self._applied = self._applied, (base, decided)
        if before is None or before[0] is not base or before[1] != decided:
            runtime.adjust(
                links=dict.fromkeys(links_over(self._hardware, decided.radios_down)),
                slowed_ppm=dict(decided.slowed_ppm),
                paused=decided.paused,
            )
        if before is not None and before[1].paused != decided.paused:
            self._tell(f"pauses {', '.join(decided.paused) or 'nothing any more'}")
        self._withhold(runtime, decided.unavailable)

    def _withhold(self, runtime: Runtime, unavailable: Collection[str]) -> None:
        away = spared(runtime.modes, unavailable)
        kept = [name for name in unavailable if name not in away]
        if kept and "kept" not in self._said:
            self._said.add("kept")
            self._tell(f"goes on with {', '.join(kept)} all the same, since nothing else runs all stages")
        for name in away:
            if name not in self._withheld and name not in runtime.lost:
                runtime.lose(name)
                self._withheld = (*self._withheld, name)
                self._tell(f"leaves {name} to others")
        for name in self._withheld:
            if name not in away:
                self._withheld = tuple([one for one in self._withheld if one != name])
                runtime.restore(name)
                self._tell(f"uses {name} again")

    def _tell(self, what: str) -> None:
        self._counts.other("policy_changes")
        log.info("the policy %s %s", self._policy.kind, what)


def require_known(policy: Acting, hardware: Hardware) -> None:
    """Raise `InputError` for a processor or radio that the machine has not."""
    processors, radios = [one.name for one in hardware.processors], [one.name for one in hardware.radios]
    for place, names, known in (
        ("$.policy.cpu", policy.cpu or (), processors),
        ("$.policy.gpu", policy.gpu or (), processors),
        ("$.policy.networks", tuple(policy.networks), radios),
    ):
        for name in names:
            if name not in known:
                raise InputError(
                    f"machine `{hardware.name}` has no `{name}`, at {place}", hint=did_you_mean(name, known, "it has")
                )


def site_of(policy: Acting, workload: Workload, hardware: Hardware) -> Site:
    """What a policy is about."""

    def served_by(backend: str) -> tuple[str, ...]:
        return tuple([one.name for one in hardware.processors if one.backend == backend and not one.remote])

    return Site(
        tuple([(graph.name, graph.weight) for graph in workload.graphs]),
        served_by("cpu") if policy.cpu is None else policy.cpu,
        served_by("opencl") if policy.gpu is None else policy.gpu,
        tuple(policy.networks.items()),
    )


def adjusted(base: Workload, settings: Settings) -> Workload:
    """The workload with the order of criteria and the weights that a policy asks for; itself where that is its own."""
    objective: tuple[Criterion, ...] = base.objective
    first: Criterion | None = None
    if settings.saves_energy:
        first = "energy"
    elif settings.keeps_deadlines:
        first = "tardiness"
    if first is not None:
        objective = (first, *(one for one in objective if one != first))
    weights = dict(settings.weights)
    graphs = tuple(
        graph
        if weights.get(graph.name, graph.weight) == graph.weight
        # The number is that of a weight that was read, doubled a few times.
        else graph.model_copy(update={"weight": weights[graph.name]})
        for graph in base.graphs
    )
    if objective == base.objective and all(new is old for new, old in zip(graphs, base.graphs, strict=True)):
        return base
    return base.model_copy(update={"objective": objective, "graphs": graphs})


def links_over(hardware: Hardware, radios: Collection[str]) -> list[tuple[str, str]]:
    """The links that these radios carry."""
    return [(link.source, link.target) for link in hardware.links if link.radio in radios]


def spared(modes: Mapping[str, tuple[Mode, ...]], processors: Collection[str]) -> tuple[str, ...]:
    """Those of these processors that can be done without: every stage keeps a mode elsewhere. The first ones first."""
    away: list[str] = []
    for name in processors:
        gone = {*away, name}
        if all(any(mode.resource not in gone for mode in found) for found in modes.values() if found):
            away.append(name)
    return tuple(away)
