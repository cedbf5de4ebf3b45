"""What a runtime knows of what is to come: which releases follow, how likely gates are to open, who stays awake.

It makes of what a release finds the one value that its window's question is made from, rounded so that equal questions
are found equal, and has that answered (`windows`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from leo_runtime.dispatch.events import FrameDone
from leo_runtime.dispatch.left import LeftOver
from leo_runtime.documents.problem import Placement
from leo_runtime.frame.batch import Job
from leo_runtime.frame.chances import Chances, GateChances
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.foresight import Foresight
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.window import Earlier, Found, grid_us, round_safely
from leo_runtime.runtime.gates_file import GatesFile, Unwritten
from leo_runtime.runtime.planned import Planned
from leo_runtime.runtime.windows import Planning, WindowPlanner


class Horizon:
    """The windows of one runtime. For one thread at a time, but for `planning` and `close`."""

    def __init__(
        self,
        merged: MergedWorkload,
        windows: WindowPlanner,
        most_stages: int,
        gates_file: GatesFile | None = None,
    ) -> None:
        """A window has at most so many stages, unless the release at hand has more.

        `gates_file` is where it is kept what gates did; `close` closes it.
        """
        self._merged = merged
        self._windows = windows
        self._grid_us = grid_us(merged.workload)
        # Later releases would decide when a window ends, and the last end is what this criterion is about.
        only_one = "makespan" in merged.workload.objective
        self._foresight = Foresight(merged, 0 if only_one else most_stages)
        self._gates_file = gates_file
        self._chances = GateChances(merged, None if gates_file is None else gates_file.known)

    @property
    def gates_unwritten(self) -> Unwritten:
        """How often the file of what gates did could not be written. From any thread."""
        gates_file = self._gates_file
        return Unwritten() if gates_file is None else gates_file.unwritten

    @property
    def planning(self) -> Planning:
        """How releases came to their plans so far. From any thread."""
        return self._windows.planning

    def take_over(self, before: Horizon, graphs: frozenset[str], stages: Collection[str]) -> None:
        """Go on with what another knows: as `WindowPlanner.take_over`, and what gates among the `stages` did.

        That may go on as well, until it gives way.
        """
        self._windows.take_over(before._windows, graphs, stages)
        self._foresight.take_over(before._foresight)
        self._chances.take_over(before._chances, stages)

    def give_way(self, after: Horizon) -> None:
        """Prove nothing more in the background, and let another have the file of gates."""
        self._windows.close(0.0)
        after._gates_file, self._gates_file = self._gates_file, None

    def shift(self, shifts_us: Mapping[str, int]) -> None:
        """From now on graphs are released so far from their periods' grids, by name."""
        self._foresight.shift(shifts_us)

    def note(self, release_us: int, graphs: Collection[str], frames: int) -> None:
        """Take note of a release, or of a batch of so many frames that ends with it."""
        self._foresight.note(release_us, graphs, frames=frames)

    def observe(self, done: FrameDone, jobs: Mapping[str, Job], stages: Collection[str] | None = None) -> None:
        """Take note of what gates did in a frame that ended; only of these stages, if they are given."""
        gates = self._chances.gates
        if stages is not None:
            gates = [name for name in gates if name in stages]
        if not gates:
            return
        opened = {}
        for record in done.stages:
            job = jobs[record.stage]
            if job.stage in gates and record.outcome == "done" and record.report is not None and len(job.frames) == 1:
                opened[job.stage] = record.report.opened
        self._chances.observe(opened)
        if self._gates_file is not None:
            self._gates_file.frame_ended(self._chances.kept)

    def chances(self) -> Chances:
        """How likely gates are to open now."""
        return self._chances.chances()

    def found(
        self,
        now: Conditions,
        awake_until_us: tuple[tuple[str, int], ...],
        left: Sequence[LeftOver],
        graphs: Mapping[int, tuple[str, ...]],
        release_us: int,
        chances: Chances,
        out: Collection[str] = (),
    ) -> Found:
        """What a release finds and foresees, after it was noted; not the graphs that are `out`.

        `now` and `awake_until_us` (`MachineNow`) are what it finds without what waits of the frames `left`; `graphs`
        are those of each of them.
        """
        found = Found(
            now,
            self._foresight.outlook(release_us, now.graphs, out),
            tuple([entry for entry in awake_until_us if entry[0] not in now.lost]),
            chances,
            tuple([self._earlier(one, graphs[one.frame]) for one in left]),
        )
        return round_safely(found, self._grid_us)

    def _earlier(self, left: LeftOver, graphs: tuple[str, ...]) -> Earlier:
        lost = tuple(
            (graph.name, sum(left.lost_ppm.get(stage, 0) for stage in self._merged.stages_of(graph)))
            for graph in self._merged.workload.graphs
            if graph.name in graphs and graph.accuracy_loss_ppm_max is not None
        )
        return Earlier(left.release_us, graphs, left.waiting, left.there, left.closed, lost)

    def plan(self, found: Found, alone: Conditions, release_us: int) -> Planned | Placement:
        """The plan of a release, or a placement that says why there is none. As `WindowPlanner.plan`."""
        return self._windows.plan(found, alone, release_us, self._foresight.steady_since_us)

    def use(self) -> None:
        """Forget all plans: modes have changed."""
        self._windows.use()

    def close(self, timeout_s: float) -> None:
        """End the proofs in the background, and write down what gates did. From any thread.

        Raises `DocumentError` where that cannot be written.
        """
        self._windows.close(timeout_s)
        if self._gates_file is not None:
            self._gates_file.close(self._chances.kept(), timeout_s)
