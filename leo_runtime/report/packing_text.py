"""Outputs in the forms in which they may be sent, as text for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from leo_runtime.documents.toml_text import toml_text
from leo_runtime.errors import printable
from leo_runtime.measure.packing import FormMeasured, OutputMeasured, worth_placing
from leo_runtime.operators.definition import shown
from leo_runtime.report.layout import number, table
from leo_runtime.terminal import WIDE, Look, fill


def as_json(outputs: Sequence[OutputMeasured], loss_ppm_max: int) -> str:
    """All figures."""
    return json.dumps([_row(one, loss_ppm_max) for one in outputs], indent=1, ensure_ascii=False) + "\n"


def text(outputs: Sequence[OutputMeasured], loss_ppm_max: int, look: Look = WIDE) -> str:
    """A table for each output, with the line of a workload that says it."""
    said = []
    for one in outputs:
        kept = worth_placing(one, loss_ppm_max)
        graphs = ", ".join(f"{graph}.{stage}" for graph, stage in one.places)
        said.append(
            fill(
                printable(
                    f"{graphs}: {shown(one.shape)}, {one.plain_bytes:,} bytes as it is, over {one.runs} runs; "
                    f"{len(kept)} {'form is' if len(kept) == 1 else 'forms are'} left for placement"
                ),
                look.columns,
            )
        )
        said.append(_table(one, kept, loss_ppm_max, look))
        if kept:
            said.append(f"    {line(kept)}")
    said.append(
        fill(
            "ppm: what the graph's answers lose; change: the length of their difference as part of their own; error: "
            "the greatest of a value; us, back us: to pack and to unpack, measured here, a median each. `loss`: more "
            "than may be lost; `dominated`: another form is as small, as good and as fast.",
            look.columns,
        )
    )
    return "\n\n".join(said) + "\n"


def line(kept: Sequence[FormMeasured]) -> str:
    """What a stage of a workload says of these forms."""
    forms = [one.packing.model_dump(mode="json", exclude_defaults=True) for one in kept]
    tables = ", ".join(toml_text({"pack": form}).removeprefix("pack = ").strip() for form in forms)
    return f"pack = [{tables}]"


def _table(one: OutputMeasured, kept: Sequence[FormMeasured], loss_ppm_max: int, look: Look) -> str:
    header = ["form", "bytes", "times", "error", "ppm", "change", "us", "back us", ""]
    rows = [
        [
            form.form,
            form.sent_bytes,
            number(one.plain_bytes / form.sent_bytes, 2),
            f"{form.error:.2g}",
            form.loss.ppm,
            f"{100 * form.loss.change:.2g} %",
            form.pack_us,
            form.unpack_us,
            _verdict(one, form, kept, loss_ppm_max),
        ]
        for form in one.forms
    ]
    return table(header, rows, look).rstrip("\n")


def _verdict(output: OutputMeasured, form: FormMeasured, kept: Sequence[FormMeasured], loss_ppm_max: int) -> str:
    """Why a form is not left for placement; "" where it is."""
    if form in kept:
        return ""
    if form == output.forms[0]:
        return "as it is"
    if form.loss.ppm > loss_ppm_max:
        return "loss"
    return "dominated" if form.sent_bytes < output.plain_bytes else "larger"


def _row(one: OutputMeasured, loss_ppm_max: int) -> dict[str, Any]:
    kept = worth_placing(one, loss_ppm_max)
    return {
        "stages": [f"{graph}.{stage}" for graph, stage in one.places],
        "shape": list(one.shape),
        "runs": one.runs,
        "plain_bytes": one.plain_bytes,
        "forms": [
            {
                **{key: value for key, value in asdict(form).items() if key != "loss"},
                "loss_ppm": form.loss.ppm,
                "decisions": form.loss.decisions,
                "change": form.loss.change if form.loss.change < float("inf") else None,
                "verdict": _verdict(one, form, kept, loss_ppm_max),
            }
            for form in one.forms
        ],
    }
