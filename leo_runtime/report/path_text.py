"""The paths that `--set` takes, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leo_runtime.errors import printable
from leo_runtime.report.layout import table
from leo_runtime.terminal import WIDE, Look, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leo_runtime.documents.path_list import PathForm

HEAD = (
    "--set PATH=VALUE gives a field another value for this run, --set 'PATH*=FACTOR' multiplies it. A value is written "
    "as in TOML; `none` is a field left out. In place of a name, * stands for all: 'graphs.*.deadline_us*=2'. A link "
    "is source->target, or source:target, which needs no quotes. Changes are made in the order given.",
    "--without NAME takes out a processor, a radio, a link or a graph; --scale-deadlines 2 is "
    "--set 'graphs.*.deadline_us*=2'; --slow dsp=3 makes runs on the DSP three times as long, at the same power; "
    "--network lte=lte-like has links over that radio do as a made-up trace.",
)


def text(forms: Sequence[PathForm], look: Look = WIDE) -> str:
    """What is to be known of them, then each with its names and fields."""
    parts = [*(fill(paragraph, look.columns) + "\n" for paragraph in HEAD)]
    for form in forms:
        names = f": {', '.join(form.names)}" if form.names else ""
        head = fill(printable(f"{form.form}{names}"), look.columns, "    ") + "\n"
        rows = [(f".{field}", meaning) for field, meaning in form.fields]
        parts.append(head + (table(("field", "meaning"), rows, look, wrapped=True) if rows else ""))
    return "\n".join(parts)
