"""What a smaller form of a model takes and loses, as text for people."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

from leo_runtime.errors import printable
from leo_runtime.measure.int8_form import Int8Form
from leo_runtime.measure.output_loss import OutputLoss
from leo_runtime.report.layout import number, table
from leo_runtime.terminal import WIDE, Look, fill


def as_json(form: Int8Form, file_bytes: int) -> str:
    """All that is known of it; the file had so many bytes before. A part of nothing, or what is no number, is null."""
    told = {key: value for key, value in asdict(form).items() if key != "content"}
    told["file_bytes"] = file_bytes, len(form.content)
    for one in told["outputs"]:
        one |= {key: None for key in ("magnitude", "change", "mean", "greatest") if not math.isfinite(one[key])}
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def text(form: Int8Form, file_bytes: int, look: Look = WIDE) -> str:
    """Its bytes, and the loss of each output."""
    before, after = form.weight_bytes
    runs = max((one.runs for one in form.outputs), default=0)
    said = (
        f"{file_bytes:,} bytes become {len(form.content):,}, those of weights {before:,} become {after:,}; calibrated "
        f"on {form.calibrated_on} runs of {form.source}, measured on {runs} others"
    )
    header = ("output", "greatest value", "change", "mean error", "greatest error", "changed")
    return f"{fill(printable(said), look.columns)}\n\n" + table(header, [_row(one) for one in form.outputs], look)


def _row(one: OutputLoss) -> tuple[object, ...]:
    changed = "-" if one.decisions is None else f"{one.decisions} of {one.runs}"
    parts = (_part(part) for part in (one.change, one.mean, one.greatest))
    return printable(one.name), number(one.magnitude, 3), *parts, changed


def _part(part: float) -> str:
    """In per cent."""
    return "-" if not math.isfinite(part) else f"{number(100 * part, 2)} %"
