"""What stages far away read and give, where that stays there (`backend.keeping`), and what crosses for it.

What is kept there stands among a frame's values as `There`. It is brought along with the run where it is small and read
elsewhere, where it is part of an answer, or decides something; else the dispatcher's transfer fetches it. What goes
there is sent once, by the transfer, or along with its only reader where it is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import numpy as np

from leo_runtime.backend.keeping import (
    ALONG_BYTES,
    ForgottenError,
    Keeping,
    KeepingKernel,
    KeptArray,
    KeptValue,
    Passed,
    There,
)
from leo_runtime.backend.transfers import Fate, TransferHeard, TransferSeen
from leo_runtime.dispatch.driver import Broken
from leo_runtime.dispatch.events import RunStage, SendOutput
from leo_runtime.documents.workload import TaskGraph
from leo_runtime.errors import DeviceUnavailableError, KernelError, LeoError
from leo_runtime.frame.lower import MergedStage, MergedWorkload
from leo_runtime.operators.outputs import Given, are_as_stored, arrays_of, inputs_of
from leo_runtime.runtime.flight_arrays import FlightArrays, Value

Taken = Callable[[Given, MergedStage, str], np.ndarray]
"""A kernel's output as the runtime's own. Raises `KernelError` where it is not as the operator promises."""


class Crossings:
    """For the stages of one merged workload. From any thread."""

    def __init__(self, merged: MergedWorkload, far: Mapping[str, Keeping], heard: TransferHeard | None) -> None:
        """`far` are the processors that keep values; `heard` is told what each crossing took."""
        self.far = far
        self._heard = heard
        self._stages = {stage.name: stage for stage in merged.stages}
        self._several = {stage.name: stage.bound.several for stage in merged.stages if stage.bound.several}
        self._gates = frozenset(stage.name for stage in merged.stages if stage.bound.is_gate)
        self._wanted = {graph.name: _wanted_of(graph, merged) for graph in merged.workload.graphs}
        """The stages whose outputs are part of a graph's answer."""

    def goes_far(self, flight: FlightArrays, order: SendOutput) -> bool:
        """Whether handing an output over takes a transfer: it is far away, or is to be, and does not go along."""
        if not (order.source in self.far or order.target in self.far):
            return False
        job = flight.jobs[order.stage]
        return any(self._crosses(flight, order, job.stage, number) for number in job.frames)

    def cross(self, flight: FlightArrays, order: SendOutput, now_us: Callable[[], int], taken: Taken) -> Broken | None:
        """Send an output to where it is read, or fetch it from there: it waits for that.

        Returns which processor turned out not to be there, and why.
        """
        job = flight.jobs[order.stage]
        for number in job.frames:
            if not self._crosses(flight, order, job.stage, number):
                continue
            at = order.source
            try:
                self._fetch(flight, order, job.stage, number, now_us, taken)
                at = order.target
                self._put(flight, order, job.stage, number, now_us)
            except (DeviceUnavailableError, ForgottenError) as error:
                return Broken(at, str(error))
            except KernelError as error:
                if at == order.source:
                    return Broken("", str(error))
                # What is not taken now goes along with its reader.
        return None

    def _crosses(self, flight: FlightArrays, order: SendOutput, stage: str, number: int) -> bool:
        value = flight.values.get((stage, number))
        if value is None or (stage, number, order.target) in flight.kept:
            return False
        if isinstance(value, There):
            return True
        return order.target in self.far and not self._goes_along(flight, order.stage, order.target, value.nbytes)

    def _goes_along(self, flight: FlightArrays, job: str, resource: str, size: int) -> bool:
        """Whether a value goes there with its reader: it is small, and there is only one."""
        return size <= ALONG_BYTES and (_readers(flight, job) or []).count(resource) == 1

    def _fetch(
        self, flight: FlightArrays, order: SendOutput, stage: str, number: int, now_us: Callable[[], int], taken: Taken
    ) -> None:
        """Have a value here. Raises what fetching does."""
        value = flight.values[stage, number]
        if not isinstance(value, There):
            return
        with self._seen(order.source, order.target, now_us) as seen:
            arrays, passed = self.far[value.resource].fetch(value.kept, order.limit_us)
            seen(passed, passed.got_bytes, passed.took_us)
        bound = self._stages[stage]
        own = taken(tuple(arrays) if bound.bound.several else arrays[0], bound, value.resource)
        flight.values[stage, number] = own

    def _put(self, flight: FlightArrays, order: SendOutput, stage: str, number: int, now_us: Callable[[], int]) -> None:
        """Have a value there where the target is far. Raises what sending does."""
        value, far = flight.values[stage, number], self.far.get(order.target)
        if far is None or isinstance(value, There):
            return
        with self._seen(order.source, order.target, now_us) as seen:
            kept, passed = far.put(arrays_of(value), order.limit_us)
            seen(passed, passed.sent_bytes, passed.took_us)
        flight.to_forget.append((order.target, kept))
        flight.kept[stage, number, order.target] = kept

    @contextmanager
    def _seen(
        self, source: str, target: str, now_us: Callable[[], int] | None
    ) -> Iterator[Callable[[Passed, int, int], None]]:
        """Tell whoever is to know of a crossing of so many bytes how long it took, also where it came to nothing."""
        if self._heard is None or now_us is None:
            yield lambda *_: None
            return
        began_us, heard = now_us(), self._heard

        def tell(passed: Passed, size: int, took_us: int) -> None:
            heard(TransferSeen(source, target, size, began_us, took_us, passed.server_us, passed.queued_us))

        try:
            yield tell
        except DeviceUnavailableError as error:
            fate: Fate = "silent" if "silent" in str(error) else "lost"
            heard(TransferSeen(source, target, 0, began_us, now_us() - began_us, fate=fate))
            raise

    def run(
        self,
        flight: FlightArrays,
        order: RunStage,
        stage: MergedStage,
        number: int,
        kernel: KeepingKernel,
        now_us: Callable[[], int] | None,
        taken: Taken,
    ) -> tuple[Value, int]:
        """Run a stage far away, on what is there or goes along; what it gives, and how long it took there."""
        resource, name = order.resource, stage.name
        keep, bring = self._stays(flight, order.stage, stage, resource)
        for attempt in (1, 2):
            inputs = self._far_inputs(flight, stage, number, resource)
            is_along = any(not isinstance(one, KeptArray) for one in inputs)
            try:
                with self._seen(_source_of(flight, resource), resource, now_us) as seen:
                    run = kernel.run(inputs, keep=keep, bring=bring)
                    # What comes back along with it is no time of this way.
                    seen(run.passed, run.passed.sent_bytes if is_along else 0, run.passed.answered_us)
                if run.kept is not None:  # Whether or not anybody takes it.
                    flight.to_forget.append((resource, run.kept))
                break
            except ForgottenError as error:
                # Nothing has run. What is here as well goes along; without the rest the server is as good as gone.
                for read in stage.inputs:
                    flight.kept.pop((read, number, resource), None)
                if attempt == 2 or any(isinstance(flight.values.get((r, number)), There) for r in stage.inputs):
                    raise DeviceUnavailableError(str(error), hint=error.hint) from None
        value = None if run.output is None else taken(run.output, stage, resource)
        if run.kept is None:
            assert value is not None, f"`{name}` is neither here nor there"
            return value, run.device_us
        return There(run.kept, resource, value), run.device_us

    def _stays(self, flight: FlightArrays, job: str, stage: MergedStage, resource: str) -> tuple[bool, bool]:
        """Whether an output is to be kept where it is made, and whether it is to come back with the run."""
        is_wanted = stage.name in self._gates or any(stage.name in self._wanted[graph] for graph in flight.graphs)
        readers = _readers(flight, job)
        if readers is None:
            return True, is_wanted
        is_small = stage.bound.output_bytes() <= ALONG_BYTES
        bring = is_wanted or not readers or (is_small and any(reader != resource for reader in readers))
        return resource in readers or not bring, bring

    def _far_inputs(
        self, flight: FlightArrays, stage: MergedStage, number: int, resource: str
    ) -> list[np.ndarray | KeptArray]:
        """What a stage reads far away: what is kept there, and what goes along."""
        if stage.bound.operator.is_source:
            return [flight.windows[number][stage.name]]
        found: list[np.ndarray | KeptArray] = []
        for name in stage.inputs:
            kept, several = flight.kept.get((name, number, resource)), self._several.get(name)
            takes = stage.bound.takes[len(found) :]
            if kept is not None and (several is None or are_as_stored(several, takes)):
                found += kept.arrays
                continue
            value = flight.values.get((name, number))
            if isinstance(value, There):
                raise DeviceUnavailableError(f"input `{name}` is on `{value.resource}`, and did not come here")
            if value is None:
                found += [np.zeros(output.shape, np.float32) for output in self._stages[name].bound.outputs]
            else:
                found += [value] if several is None else inputs_of(value, several, takes)
        return found

    def forget(self, flight: FlightArrays) -> None:
        """Nobody needs what was kept for a frame."""
        by_resource: dict[str, list[KeptValue]] = {}
        with suppress(IndexError):  # A run or a transfer that is still under way may add to it.
            while True:
                resource, kept = flight.to_forget.pop()
                by_resource.setdefault(resource, []).append(kept)
        for resource, kept_there in by_resource.items():
            with suppress(LeoError):  # It goes by its age, too.
                self.far[resource].forget(kept_there)


def _wanted_of(graph: TaskGraph, merged: MergedWorkload) -> frozenset[str]:
    """The merged stages whose outputs a graph's result has."""
    decides = () if graph.decision is None else (graph.decision.stage,)
    return frozenset([merged.names[graph.name, stage] for stage in (*graph.outputs(), *decides)])


def _source_of(flight: FlightArrays, resource: str) -> str:
    """From where there is a link to a processor; of several the first, since what goes along is here."""
    links = () if flight.plan is None else flight.plan.links
    return next((source for source, target in links if target == resource), "")


def _readers(flight: FlightArrays, job: str) -> list[str] | None:
    """Where what a stage gives is read, once for each reader, by the plan; None: that is not planned."""
    plan = flight.plan
    if plan is None or plan.undecided or job not in plan.stages:
        return None
    readers = [plan.stages[name] for name in plan.stages[job].readers]
    return [reader.resource for reader in readers if job in reader.needs.reads]
