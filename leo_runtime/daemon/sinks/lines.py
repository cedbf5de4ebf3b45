"""Answers as lines of JSON: on standard output, or in a file that is begun anew when it is full."""

from __future__ import annotations

import json
import sys
from typing import Literal

from leo_runtime.daemon.answer import Answer, as_json
from leo_runtime.daemon.kinds import SinkConfig, Site
from leo_runtime.schema import Name


class LinesSink(SinkConfig):
    """Lines of JSON, one an answer."""

    kind: Literal["lines"]
    path: Name = "-"
    """The file; `-`: standard output."""

    def open(self, _site: Site) -> Lines:
        """Nothing is opened before the first answer."""
        return Lines()


class Lines:
    """Writes to standard output."""

    def publish(self, answer: Answer) -> None:
        """Write one line."""
        sys.stdout.write(json.dumps(as_json(answer), ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing to close."""
