"""What the daemon tells of one graph's answer: a value, and the same as JSON."""

from __future__ import annotations

import json
from typing import Any, Literal

from leo_runtime.frozen import dataclass

AnswerOutcome = Literal["done", "cancelled", "failed", "skipped", "shed"]
"""`cancelled`: a gate closed. `skipped`: nothing of its frame ran since there was too much to do. `shed`: it was left
out for what weighs more. `failed`: any other reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one graph answered in one frame."""

    graph: str
    stream: str
    """The first stream that the graph reads; empty where it reads none."""
    release_us: int
    """On the system's monotonic clock."""
    at_unix_ns: int
    """When that was, by the system's clock of days as it is now."""
    outcome: AnswerOutcome
    late: bool
    """Whether it came after its deadline, or never."""
    latency_us: int
    label: str | None
    """What was found; None: nothing, or the graph decides nothing."""
    score: float | None
    """The decision's output for `label`; without one, the greatest but the background's. None: there is none."""
    fired: bool
    """Whether this answer is the one that is to be acted on (`daemon.decisions`)."""
    values: tuple[float, ...] | None
    """All of the output that is decided by, or of the graph's last stage, where it has few; None: it has many."""
    energy_nj: int
    """Of the runs, transfers and loads of its frame what is the graph's; without idle power."""
    frame: int = 0
    """The number of its frame, from 0 on since the daemon started."""
    gap_us: int = 0
    """For how long of the worst of its windows there were no samples."""
    reason: str = ""
    """Why it failed, was skipped or shed; empty otherwise."""


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer as plain values by name, all of them, in the order of its fields: what JSON has a form for."""
    return {name: getattr(answer, name) for name in Answer.__slots__}


def as_line(answer: Answer) -> bytes:
    """The answer as a line of JSON, newline included."""
    return (json.dumps(as_json(answer), ensure_ascii=False) + "\n").encode()
