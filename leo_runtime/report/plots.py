"""Pictures, by matplotlib, which is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leo_runtime.documents.problem import Answer, Question
from leo_runtime.documents.profile import ANY_OPERATOR, Profile
from leo_runtime.documents.window import CERTAIN
from leo_runtime.errors import InputError, MissingExtraError
from leo_runtime.operators import Work
from leo_runtime.report.answer import Bar, bars

if TYPE_CHECKING:
    from leo_runtime.replay.figures import Total
    from leo_runtime.replay.identity import Replay

PROCESSOR_COLOURS = {"cpu": "#c44e52", "gpu": "#4c72b0", "dsp": "#55a868", "cloud": "#8172b3"}
"""By the names shipped machines give their processors; others take what is left of matplotlib's own cycle."""


_FORMATS = "name a .png, .svg or .pdf"


def pyplot() -> Any:
    """matplotlib.pyplot, drawing to files alone. Raises `MissingExtraError`."""
    try:
        import_module("matplotlib").use("Agg")
    except ImportError:
        raise MissingExtraError("drawing a plot", "report") from None
    return import_module("matplotlib.pyplot")


def require_format(path: Path) -> None:
    """Raise `InputError` where no picture has that ending. To be called before long work that ends in one.

    Raises `MissingExtraError`, too.
    """
    pyplot()
    known = import_module("matplotlib.backend_bases").FigureCanvasBase.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise InputError(
            f"{path}: the plot cannot be written (no picture has the ending `{path.suffix}`)", hint=_FORMATS
        )


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format of the file's ending. Raises `InputError`."""
    try:
        require_format(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, bbox_inches="tight")
    except OSError as error:
        raise InputError(f"{path}: the plot cannot be written ({error})", hint=_FORMATS) from None
    finally:
        pyplot().close(figure)


def plot_profile(profile: Profile, path: Path) -> None:
    """One panel an operator: time against work, a line a processor and variant, with what was measured as points."""
    plt = pyplot()
    operators = list(dict.fromkeys(cost.operator for cost in profile.costs if cost.ps_per_mac))
    if not operators:
        raise InputError(f"profile `{profile.name}` has no entry whose time grows with the work: nothing to plot")
    columns = min(3, len(operators))
    rows = -(-len(operators) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.2 * rows), squeeze=False)
    panels = dict(zip(operators, axes.flat, strict=False))
    for axis in list(axes.flat)[len(operators) :]:
        axis.set_visible(False)
    for operator, axis in panels.items():
        axis.set(
            title="any other operator" if operator == ANY_OPERATOR else operator,
            xscale="log",
            yscale="log",
            xlabel="multiply-accumulates",
            ylabel="ms",
        )
    for cost in profile.costs:
        if cost.operator not in panels or (cost.signature is not None and cost.measurement is None):
            continue
        axis, colour = panels[cost.operator], PROCESSOR_COLOURS.get(cost.processor)
        label = cost.processor if cost.variant == "default" else f"{cost.processor} {cost.variant}"
        if cost.measurement is not None:
            if not cost.ps_per_mac:
                continue  # Known at one size alone, and that size is not in the profile.
            macs = (cost.measurement.median_us - cost.fixed_us) * 1_000_000 / cost.ps_per_mac
            axis.plot([max(1.0, macs)], [cost.measurement.median_us / 1000], "o", color=colour)
        elif cost.signature is None and cost.family is None:
            work = [round(10 ** (third / 3)) for third in range(9, 31)]
            times_ms = [cost.duration_us(Work(macs, 0)) / 1000 for macs in work]
            style = "-" if cost.variant == "default" else "--"
            axis.plot(work, times_ms, style, color=colour, label=label)
    for axis in panels.values():
        axis.legend(fontsize=8)
        axis.grid(True, alpha=0.3)
    measured = "measured (points) and fitted" if profile.device else "published or modelled, not measured"
    figure.suptitle(f"{profile.name}: what stages cost, {measured}")
    figure.tight_layout()
    save(figure, path)


def plot_replay(replayed: Replay, totals: Sequence[Total], path: Path) -> None:
    """What ran on each lane in the busiest part of a replay; what each policy cost, and how many answers were late."""
    plt = pyplot()
    part = replayed.summary.busiest
    from_us, to_us, runs = part.from_us, part.until_us, part.runs
    figure, (lanes, bars) = plt.subplots(1, 2, figsize=(11, 3.6), width_ratios=(3, 2), layout="constrained")
    rows = [(p.name, lane) for p in replayed.hardware.processors for lane in range(p.lanes)]
    used = [row for row in rows if any((run.resource, run.lane) == row for _, run in runs)]
    names = list(dict.fromkeys(name for name, _ in runs))
    colours = {name: plt.get_cmap("tab20")(k % 20) for k, name in enumerate(names)}
    for y, row in enumerate(used):
        for name, run in runs:
            if (run.resource, run.lane) == row:
                lanes.barh(
                    y,
                    (run.end_us - run.start_us) / 1000,
                    left=(run.start_us - from_us) / 1000,
                    height=0.8,
                    color=colours[name],
                    edgecolor="white",
                    linewidth=0.3,
                )
    lanes.set_yticks(range(len(used)), [f"{name} {lane}" for name, lane in used])
    lanes.invert_yaxis()
    lanes.set(
        xlim=(0, (to_us - from_us) / 1000),
        xlabel=f"ms, from second {from_us / 1e6:g} of the recording",
        title=f"{replayed.recording.manifest.name} on {replayed.hardware.name}, placed by {replayed.policy}",
    )
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[name]) for name in names]
    lanes.legend(handles, names, fontsize="x-small", ncols=1, loc="center left", bbox_to_anchor=(1, 0.5))
    drawn = bars.barh([total.policy for total in totals], [total.nj / 1e9 for total in totals], color="#4c72b0")
    late = [_lateness(total) for total in totals]
    bars.bar_label(drawn, late, padding=3, fontsize="small", color="#c44e52")
    bars.invert_yaxis()
    bars.margins(x=0.45)
    bars.set(xlabel="J", title="energy of the whole recording")
    save(figure, path)


def plot_answer(problem: Question, placement: Answer, path: Path) -> None:
    """What runs and is sent when, what waits, and when each resource is awake: paler where it is less likely."""
    plt = pyplot()
    found = [bar for bar in bars(problem, placement) if bar.end_us > bar.start_us]
    rows = list(dict.fromkeys(bar.row for bar in found))
    lasts_us = max((bar.end_us for bar in found), default=1)
    figure, axis = plt.subplots(figsize=(11, 1.2 + 0.34 * len(rows)), layout="constrained")
    for bar in found:
        colour, hatch = _BARS[bar.kind]
        axis.barh(
            rows.index(bar.row),
            (bar.end_us - bar.start_us) / 1000,
            left=bar.start_us / 1000,
            height=0.8 if bar.kind in ("stage", "transfer", "load") else 0.4,
            color=colour,
            alpha=0.25 + 0.75 * bar.chance_ppm / CERTAIN,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.3,
        )
        if bar.kind == "stage" and (bar.end_us - bar.start_us) * _LETTERS > len(bar.name) * lasts_us:
            axis.text(bar.start_us / 1000, rows.index(bar.row), f" {bar.name}", va="center", fontsize=6, clip_on=True)
    axis.set_yticks(range(len(rows)), rows)
    axis.invert_yaxis()
    energy = "nothing is placed" if placement.criteria is None else f"{placement.criteria.energy / 1e6:g} mJ"
    axis.set(xlabel=_time_label(found), title=f"{problem.name}, by {placement.solver}: {energy}")
    kinds = list(dict.fromkeys(bar.kind for bar in found))
    handles = [plt.Rectangle((0, 0), 1, 1, color=_BARS[kind][0], hatch=_BARS[kind][1]) for kind in kinds]
    axis.legend(handles, kinds, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def _time_label(found: Sequence[Bar]) -> str:
    """What is written below the time: that paler bars are less likely, where there are such."""
    return "ms" if all(bar.chance_ppm == CERTAIN for bar in found) else "ms (the paler, the less likely)"


_LETTERS = 160
"""How many fit beside each other over the whole width."""
_BARS = {
    "stage": ("#4c72b0", None),
    "transfer": ("#dd8452", None),
    "load": ("#8172b3", None),
    "wait": ("#bbbbbb", "//"),
    "waking": ("#c44e52", None),
    "awake": ("#55a868", None),
    "lingering": ("#ccb974", ".."),
}
"""Colour and pattern of each kind of bar."""


def _lateness(total: Total) -> str:
    """What is written beside a policy's bar: answers that came late, and that never came."""
    counts = [f"{count} {what}" for count, what in ((total.late, "late"), (total.failed, "failed")) if count]
    return f"{', '.join(counts)} of {total.answers}" if counts else ""
