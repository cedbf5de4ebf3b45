"""How far the answers of a run are from the exact ones to the same questions, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leo_runtime import solver
from leo_runtime.documents.memory import MemoryProblem
from leo_runtime.documents.window import WindowProblem
from leo_runtime.errors import SolverError
from leo_runtime.frame.entries import Entry
from leo_runtime.frame.records import FrameResult, Solved
from leo_runtime.replay.compare import MAX_NODES
from leo_runtime.replay.identity import Replay
from leo_runtime.solver.memory import MEMORY_NODES
from leo_runtime.solver.window import solve_window
from leo_runtime.study.shared import Kept


class Gaps:
    """A sink of a replay that asks `exact` what each frame was asked, each question once."""

    def __init__(self, exact: Kept) -> None:
        """`exact` keeps answers from cell to cell."""
        self._exact = exact
        self._seen: dict[int, tuple[Solved, tuple[int, int, int, bool] | None]] = {}
        """By the identity of what was asked: planned and best energy, how much later, and whether that is proved."""
        self._planned_nj = self._best_nj = self._most_ppm = self._frames = self._later = self._unproved = 0

    def begin(self, _begun: Replay, /) -> None:
        """Nothing to do."""

    def frame(self, ended: FrameResult, _settled_us: int, /) -> None:
        """Ask about it."""
        if ended.solved is None:
            return
        seen = self._seen.get(id(ended.solved))
        if seen is None:
            seen = self._seen[id(ended.solved)] = ended.solved, self._asked(ended.solved)
        if seen[1] is None:
            return
        planned_nj, best_nj, later_us, proved = seen[1]
        self._unproved += not proved
        if later_us > 0:
            self._later += 1
            return
        self._frames += 1
        self._planned_nj += planned_nj
        self._best_nj += best_nj
        self._most_ppm = max(self._most_ppm, _ppm(planned_nj, best_nj))

    def energy(self, _entries: Sequence[Entry], _settled_us: int, /) -> None:
        """It is about plans."""

    def end(self, _ended: Replay, /) -> None:
        """Nothing to do."""

    def columns(self) -> dict[str, Any]:
        """What a row says of it."""
        return {
            "gap_ppm": _ppm(self._planned_nj, self._best_nj) if self._frames else None,
            "gap_most_ppm": self._most_ppm if self._frames else None,
            "gap_frames": self._frames,
            "gap_later_frames": self._later,
            "gap_unproved_frames": self._unproved,
        }

    def _asked(self, solved: Solved) -> tuple[int, int, int, bool] | None:
        question, planned = solved.question, solved.answer.criteria
        if planned is None:
            return None
        best = self._exact.get(question.model_dump_json(), lambda: _exactly(question))
        if best is None or best.criteria is None:
            return None
        later_us = planned.tardiness - best.criteria.tardiness
        return planned.energy, best.criteria.energy, later_us, best.status == "optimal"


def _exactly(question: Any) -> Any:
    """The exact answer, searched for as far as a replay does; None where none was found."""
    solve = solve_window if isinstance(question, WindowProblem) else solver.solve
    nodes = MEMORY_NODES if isinstance(question, MemoryProblem) else MAX_NODES
    try:
        return solve(question, "exact", limit_nodes=nodes)
    except SolverError:
        return None


def _ppm(planned_nj: int, best_nj: int) -> int:
    return round((planned_nj - best_nj) * 1_000_000 / best_nj) if best_nj else 0
