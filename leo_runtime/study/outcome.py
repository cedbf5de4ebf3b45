"""What came of a cell somewhere, as it is sent from there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row, or why there is none."""

    cell: int
    """The cell's number."""
    row: str = ""
    inputs: str = ""
    """A digest of what it was really made from."""
    times: dict[str, Any] = field(default_factory=dict)
    cause: str = ""
    """Empty: there is a row."""
    hint: str = ""

    def to_json(self) -> str:
        """As text; `from_json` reads it."""
        return json.dumps([self.cell, self.row, self.inputs, self.times, self.cause, self.hint])

    @classmethod
    def from_json(cls, text: str | bytes) -> Outcome:
        """What `to_json` wrote."""
        return cls(*json.loads(text))
