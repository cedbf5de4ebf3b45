"""Forms of a model, as text for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from leo_runtime.documents.problem import Mode
from leo_runtime.errors import printable
from leo_runtime.measure.task_loss import Loss, Task
from leo_runtime.measure.variant_costs import Priced
from leo_runtime.measure.variants import Made, Variants
from leo_runtime.report.layout import number, table
from leo_runtime.terminal import WIDE, Look, fill


def as_rows(variants: Variants, priced: Priced | None, loss_ppm_max: int) -> list[dict[str, Any]]:
    """All that is known of each form."""
    return [
        {
            "piece": one.piece,
            "form": one.name,
            "file": one.params["model"],
            "sha256": one.params["sha256"],
            "loss_ppm": one.loss.ppm,
            **asdict(one.loss),
            "output": None if one.loss.output is None else variants.outputs[one.loss.output],
            "weight_bytes": one.weight_bytes,
            "generated_bytes": one.generated_bytes,
            "macs": one.macs,
            "verdict": _verdict(one, priced, loss_ppm_max),
            "costs": {
                mode.resource: {"duration_us": mode.duration_us, "energy_nj": mode.energy_nj}
                for mode in _modes(one, priced)
            },
        }
        for one in variants.made
    ]


def as_json(variants: Variants, priced: Priced | None, task: Task, loss_ppm_max: int, costs: str) -> str:
    """All forms, those that could not be made, and how losses and costs were found."""
    told = {
        "model": variants.model.name,
        "pieces": variants.pieces,
        "runs": variants.runs,
        "task": asdict(task),
        "loss_ppm_max": loss_ppm_max,
        "costs": costs,
        "forms": as_rows(variants, priced, loss_ppm_max),
        "not_made": [asdict(one) for one in variants.not_made],
    }
    # A form may give infinity, which JSON has no number for.
    return json.dumps(_finite(told), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def text(
    variants: Variants,
    priced: Priced | None,
    task: Task,
    loss_ppm_max: int,
    costs: str,
    look: Look = WIDE,
) -> str:
    """A table of all forms, and what it means."""
    processors = list(dict.fromkeys(m.resource for modes in (priced.modes if priced else {}).values() for m in modes))
    whole = variants.pieces == 1
    header = [
        *([] if whole else ["block"]),
        "form",
        "ppm",
        _measured_as(task),
        "kB",
        "MMAC",
        *(f"{name} us" for name in processors),
        "",
    ]
    rows = [
        [
            *([] if whole else [one.piece]),
            one.name,
            one.loss.ppm,
            _shown(one.loss),
            number(one.weight_bytes / 1000, 1),
            number(one.macs / 1e6, 3),
            *(_took(_modes(one, priced), name) for name in processors),
            _verdict(one, priced, loss_ppm_max),
        ]
        for one in variants.made
    ]
    kept = sum(row[-1] == "" for row in rows)
    said = [
        f"{printable(variants.model.name)}: {len(rows)} forms over {variants.runs} runs; {kept} of them are left for "
        f"placement, where at most {loss_ppm_max:,} ppm may be lost",
        table(header, rows, look, keys=1 if whole else 2).rstrip("\n"),
        _legend(task, priced is not None, costs),
    ]
    if any(one.generated_bytes for one in variants.made):
        codes = ", ".join(
            f"{one.generated_bytes:,} of {one.name}" + ("" if whole else f" of block {one.piece}")
            for one in variants.made
            if one.generated_bytes
        )
        said.append(f"Bytes that a device could generate, and need not load: {codes}.")
    if worst := [(one, variants.outputs[one.loss.output]) for one in variants.made if one.loss.output is not None]:
        said.append(_worst(worst, variants.pieces == 1))
    if variants.not_made:
        said.append(_not_made(variants))
    return "\n\n".join(one if "\n" in one else fill(one, look.columns) for one in said) + "\n"


def _worst(worst: Sequence[tuple[Made, str]], whole: bool) -> str:
    """Of several outputs, in which forms each is the one whose change is told."""
    forms: dict[str, list[str]] = {}
    for one, output in worst:
        forms.setdefault(output, []).append(one.name if whole else f"{one.name} of block {one.piece}")
    most = "; ".join(f"`{output}` in {', '.join(names)}" for output, names in forms.items())
    return printable(f"The output that changes most is told: {most}. `--output NAME` reads one alone.")


def _not_made(variants: Variants) -> str:
    """The reasons, once each."""
    reasons: dict[str, list[str]] = {}
    for one in variants.not_made:
        where = one.name if variants.pieces == 1 else f"{one.name} of {one.piece}"
        reasons.setdefault(one.why, []).append(where)
    several = [f"{', '.join(names)}: {why}" for why, names in reasons.items()]
    return "Not made: " + "; ".join(printable(one) for one in several) + "."


def _legend(task: Task, has_costs: bool, costs: str) -> str:
    loss = {
        "change": "the length of the outputs' difference as part of their own",
        "argmax": "runs in which another value is the greatest (`changed`: how many)",
        "threshold": f"runs in which the greatest value is on the other side of {task.number:g} (`changed`: how many)",
        "points": "how far points move (`moved`, in their unit) as part of the span of all",
    }[task.measure]
    said = f"ppm: what is lost, {loss}; kB: of weights, as the file holds them"
    if not has_costs:
        return f"{said}. Costs were not measured."
    return (
        f"{said}; times {costs}. `dominated`: others are no worse in loss, bytes and, on every processor, time and "
        "energy; `loss`: more than may be lost."
    )


def _measured_as(task: Task) -> str:
    return {"change": "change", "argmax": "changed", "threshold": "changed", "points": "moved"}[task.measure]


def _shown(loss: Loss) -> str:
    if loss.decisions is not None:
        return str(loss.decisions)
    return f"{loss.moved:.3g}" if loss.moved is not None else f"{100 * loss.change:.3g} %"


def _took(modes: Sequence[Mode], processor: str) -> str:
    found = [mode.duration_us for mode in modes if mode.resource == processor]
    return number(found[0], 0) if found else "-"


def _modes(one: Made, priced: Priced | None) -> tuple[Mode, ...]:
    return () if priced is None else priced.modes[one.piece, one.name]


def _verdict(one: Made, priced: Priced | None, loss_ppm_max: int) -> str:
    """Why a form is not left for placement; "" where it is."""
    if one.loss.ppm > loss_ppm_max:
        return "loss"
    if priced is None or (one.piece, one.name) in priced.kept:
        return ""
    return "dominated" if priced.modes[one.piece, one.name] else "runs nowhere"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
