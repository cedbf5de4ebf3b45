"""What a log tells of one frame, or of a run, as text for a terminal and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from shlex import quote
from typing import Any

from leo_runtime.documents.problem import CRITERIA, Criterion
from leo_runtime.documents.window import CERTAIN
from leo_runtime.errors import printable
from leo_runtime.replay.frame_facts import FrameFacts, Loaded, Notable, Overview
from leo_runtime.replay.log_lines import FrameLine, RunLine, StageLine
from leo_runtime.replay.log_reader import Question
from leo_runtime.replay.tally import Tally
from leo_runtime.replay.why import Backlog, Step, Why
from leo_runtime.report.layout import NO_PIPELINE, duration, millijoules, table
from leo_runtime.solver.explain import Alternative, Explanation, StageExplanation
from leo_runtime.terminal import WIDE, Look, fill

SHARES_SHOWN = 3
"""How many parts of a backlog are named."""
REASONS_SHOWN = 5
IDLE_PART = 100
"""What a lane stood idle with work in its queue is told where it is more than one in so many parts of a wait."""


def frame_text(facts: FrameFacts, look: Look = WIDE) -> str:
    """One frame: what was triggered, what ran where and why, what was late and why, and what it cost."""
    frame = facts.frame
    parts = [fill(_title(facts), look.columns) + "\n"]
    if facts.missing:
        parts.append(fill(f"not in this log: {'; '.join(facts.missing)}", look.columns, "  ") + "\n")
    if facts.stage is None:
        parts += ["\n", _graphs(frame, look)]
    for why in facts.whys:
        parts += ["\n", why_text(why, frame.release_us, facts.run, look)]
    if not facts.whys:
        parts += ["\n", fill(_in_time(facts), look.columns) + "\n"]
    if frame.stages:
        parts += ["\n", _stages(facts, look)]
    if frame.transfers and facts.stage is None:
        parts += ["\n", _transfers(frame, look)]
    if frame.loads and facts.stage is None:
        parts += ["\n", _loads(frame, look)]
    if facts.explanation is not None:
        parts += ["\n", _placed(facts, facts.explanation, look)]
    if facts.nj and facts.stage is None:
        parts += ["\n", _energy(facts, look)]
    return "".join(parts)


def _title(facts: FrameFacts) -> str:
    frame, head = facts.frame, facts.head
    graphs = ", ".join(dict.fromkeys(seen.graph for seen in frame.graphs))
    batch = f", {head.batch} frames at a time" if head.batch > 1 else ""
    late = "" if frame.admitted_us is None else f", submitted {duration(frame.admitted_us - frame.release_us)} later"
    what = {
        "optimal": f"placed by {head.policy}, proved the best",
        "feasible": f"placed by {head.policy}, not proved the best",
        "infeasible": f"not placed by {head.policy}, which proved that nothing keeps the rules",
        "unplaced": f"not placed by {head.policy}",
    }[frame.status]
    skipped = ", and skipped" if frame.skipped else ""
    return printable(
        f"frame {frame.frame} of {facts.run}, released at {_seconds(frame.release_us)}{late}, "
        f"for {graphs or NO_PIPELINE}; {what}{batch}{skipped}"
    )


def _graphs(frame: FrameLine, look: Look) -> str:
    header = ("pipeline", "outcome", "label", "after ms", "allowed ms", "late ms")
    is_batch = len({seen.number for seen in frame.graphs}) > 1
    rows = [
        (
            f"{seen.graph}#{seen.number}" if is_batch else seen.graph,
            f"by {seen.exit}" if seen.exit else seen.outcome,
            "" if seen.label is None else seen.label,
            _ms(seen.end_us - seen.release_us),
            _ms(seen.deadline_us - seen.release_us),
            _ms(max(0, seen.end_us - seen.deadline_us)) if seen.outcome != "failed" else "never",
        )
        for seen in frame.graphs
    ]
    return table(header, rows, look)


def _stages(facts: FrameFacts, look: Look) -> str:
    """What happened beside what was planned, in ms from the release of the frame."""
    rows: list[tuple[str, ...]] = []
    for run in _shown_runs(facts):
        planned = f"{_from(run.planned_start_us, facts.frame)}-{_from(run.planned_end_us, facts.frame)}"
        ran = f"{_from(run.start_us, facts.frame)}-{_from(run.end_us, facts.frame)}"
        where = f"{run.resource}[{run.lane}]" + ("" if run.variant == "default" else f" {run.variant}")
        happened = ran if run.outcome == "done" else run.outcome
        expected = "the same" if planned == ran else planned
        rows.append((run.stage, where, happened, expected, millijoules(run.nj), ", ".join(run.graphs)))
    header = ["stage", "where", "ran ms", "planned ms", "mJ", "for"]
    if all(row[3] == "the same" for row in rows):
        header[2:4] = ["ran ms, as planned"]
        rows = [(*row[:3], *row[4:]) for row in rows]
    return table(header, rows, look, wrapped=True)


def _shown_runs(facts: FrameFacts) -> list[StageLine]:
    return [run for run in facts.frame.stages if facts.stage is None or facts.stage in (run.stage, run.of)]


def _transfers(frame: FrameLine, look: Look) -> str:
    header = ("output of", "from", "to", "sent ms", "there ms", "mJ")
    rows = [
        (
            send.stage,
            send.source,
            send.target,
            _from(send.start_us, frame),
            "lost" if send.error else _from(send.arrive_us, frame),
            millijoules(send.nj),
        )
        for send in frame.transfers
    ]
    return table(header, rows, look)


def _loads(frame: FrameLine, look: Look) -> str:
    header = ("weights", "kB", "from", "to", "loaded ms", "there ms", "mJ", "for")
    rows = [
        (
            load.label,
            f"{load.bytes / 1000:.1f}",
            load.resource,
            load.target,
            _from(load.start_us, frame),
            _from(load.arrive_us, frame),
            millijoules(load.nj),
            ", ".join(load.stages),
        )
        for load in frame.loads
    ]
    return table(header, rows, look)


# Why there.


def _placed(facts: FrameFacts, explanation: Explanation, look: Look) -> str:
    if explanation.criteria is None:
        return fill(f"nothing keeps the rules: {printable(explanation.reason)}", look.columns, "  ") + "\n"
    of_what = "window" if facts.question is not None and _is_window(facts.question) else "frame"
    text = fill(f"why there: what else would cost, in all of the {of_what} as it was asked about:", look.columns) + "\n"
    again = {run.stage for run in facts.frame.stages if _is_placed_again(facts, run)}
    order = {run.stage: index for index, run in enumerate(facts.frame.stages)}
    for stage in sorted(explanation.stages, key=lambda one: order[one.run.stage]):
        chance = f", in {stage.chance_ppm / 10_000:.3g} % of runs" if stage.chance_ppm < CERTAIN else ""
        where = f"{stage.run.stage} on {stage.run.resource}{chance}"
        lines = [f"{where}: {_summary(stage)}" if facts.stage is None else f"{where}:"]
        if stage.run.stage in again:
            lines.append("placed again since, with a later frame, before it had started")
        if facts.stage is not None:
            lines += [f"starts then because {wait.text}" for wait in stage.waits if wait.kind != "nothing"]
            lines += [wait.text for wait in stage.waits if wait.kind == "nothing"]
            lines += [_alternative(one, explanation) for one in stage.alternatives] or [_summary(stage)]
        text += "  " + fill(printable(lines[0]), _less(look, 2), "    ").replace("\n", "\n  ") + "\n"
        text += "".join(_indented(line, look) for line in lines[1:])
    if facts.stage is not None and explanation.choices:
        text += fill("what is paid on average, and what it would be otherwise with all else as it is:", look.columns)
        text += "\n" + "".join(_indented(worth.text, look) for worth in explanation.choices)
    return text


def _is_window(question: Question) -> bool:
    return question.problem.format == "leo-problem/2"


def _indented(line: str, look: Look) -> str:
    return "    " + fill(printable(line), _less(look, 4), "  ").replace("\n", "\n    ") + "\n"


def _less(look: Look, by: int) -> int | None:
    return None if look.columns is None else look.columns - by


def _summary(stage: StageExplanation) -> str:
    """What the other modes come to, in a line."""
    if not stage.alternatives:
        return "there is no other way to run it"
    return "; ".join(_briefly(one) for one in stage.alternatives)


def _briefly(one: Alternative) -> str:
    where = one.resource + ("" if one.variant == "default" else f" as {one.variant}")
    if one.verdict == "impossible":
        return f"{where} impossible ({one.reason})"
    if one.criteria is None:
        return f"{where} not known, the search stopped"
    is_better = " (better)" if one.verdict == "better" else ""
    proved = "" if one.proved else ", not proved"
    return f"{where} {_costs(one) or 'costs the same'}{is_better}{proved}"


def _costs(one: Alternative) -> str:
    """What another mode does to the answer, criterion by criterion."""
    return _differences(one.differences)


def _differences(values: Iterable[tuple[Criterion, int]]) -> str:
    texts = []
    for name, value in values:
        sign = "+" if value > 0 else "-"
        if value and name == "tardiness":
            texts.append(f"lateness {sign}{duration(abs(value))}")
        elif value and name == "energy":
            texts.append(f"{sign}{millijoules(abs(value))} mJ")
        elif value and name == "accuracy_loss":
            texts.append(f"accuracy {'-' if value > 0 else '+'}{abs(value) / 10_000:g} %")
    return ", ".join(texts)


def _alternative(one: Alternative, explanation: Explanation) -> str:
    where = f"on {one.resource} as {one.variant}"
    binds = f"; {' and '.join(one.binds)} {'binds' if len(one.binds) == 1 else 'bind'}" if one.binds else ""
    if one.verdict == "impossible":
        return f"{where}: impossible ({one.reason}){binds}"
    if one.criteria is None:
        return f"{where}: not known, the search stopped at its limit (more: --limit-nodes)"
    text = _costs(one) or "no difference"
    if one.proved:
        return f"{where}: {one.verdict}: {text}{binds}"
    return f"{where}: {one.verdict}: at most {text}, {_least(one, explanation)} (more: --limit-nodes){binds}"


def _least(one: Alternative, explanation: Explanation) -> str:
    """What is proved of a mode whose search stopped at its limit: what it changes at the least."""
    have = explanation.criteria
    assert have is not None, "there is an answer to compare with"
    least = [(name, bound - getattr(have, name)) for name, bound in zip(explanation.objective, one.bounds, strict=True)]
    return f"at least {_differences(least) or 'no difference'}"


def _is_placed_again(facts: FrameFacts, run: StageLine) -> bool:
    """Whether a stage was placed anew after its frame's own question was answered."""
    if facts.question is None:
        return False
    planned = next((one for one in facts.question.placement.stages if one.stage == run.stage), None)
    tries = [other for other in facts.frame.stages if other.stage == run.stage]
    return (
        planned is not None
        and len(tries) == 1
        and (planned.resource, planned.start_us + facts.frame.release_us) != (run.resource, run.planned_start_us)
    )


# Why late.


def why_text(why: Why, release_us: int, run: str, look: Look = WIDE) -> str:
    """Why an answer came when it did: the cause, then the way from the release to it."""
    lines = [_headline(why)]
    if why.outcome == "failed" and why.reason:
        lines.append(f"  it says: {why.reason}")
    if why.in_flight is not None:
        flying = why.in_flight
        lines.append(
            f"  {_count(flying.frames, 'frame')} before it had not ended, the oldest of them frame {flying.oldest}, "
            f"released at {_seconds(flying.oldest_release_us)}"
        )
        lines.append(f"  ask: leo-runtime explain {quote(run)} --frame {flying.oldest}")
    rows = [(_ms(step.from_us - release_us), _ms(step.lasted_us), _step(step)) for step in why.steps]
    text = "".join(fill(printable(line), look.columns, "    ") + "\n" for line in lines)
    if rows:
        text += table(("at ms", "took ms", "what"), rows, look, wrapped=True)
    frames = {step.backlog.first_frame for step in why.steps if step.backlog is not None and step.backlog.others_us}
    text += "".join(f"ask: leo-runtime explain {quote(run)} --frame {frame}\n" for frame in sorted(frames))
    return text


def _headline(why: Why) -> str:
    number = f"#{why.number}" if why.number else ""
    what = f"{why.graph}{number}"
    if why.outcome == "failed":
        return f"{what} failed, because of {_cause(why.cause)}" if why.cause is not None else f"{what} failed"
    took, allowed = duration(why.end_us - why.release_us), duration(why.deadline_us - why.release_us)
    text = f"{what} came {duration(why.late_us)} late ({took} after its release, {allowed} were allowed)"
    if why.cause is not None:
        text += f", because of {_cause(why.cause)}"
    elif why.steps:
        longest = max(why.steps, key=lambda step: step.lasted_us)
        text += f": its own frame's work takes so long, most of it {_short(longest)}"
    if why.planned_end_us is not None and why.planned_end_us > why.deadline_us:
        text += f"; it was placed knowing that it would be {duration(why.planned_end_us - why.deadline_us)} late"
    return text


def _short(step: Step) -> str:
    what = {"run": "running", "transfer": "being sent", "load": "loading its weights"}.get(step.kind, "waiting")
    return f"{step.stage} {what} for {duration(step.lasted_us)}" + (f" ({step.resource})" if step.resource else "")


def _cause(step: Step) -> str:
    match step.kind:
        case "lane":
            return f"a backlog of {duration(step.needless_us)} on the {step.resource}"
        case "late start":
            return f"its submission {duration(step.lasted_us)} after its release"
        case "retry":
            return f"{step.stage}, which failed on the {step.resource} at first"
        case "transfer":
            over = duration(step.needless_us)
            return f"the sending of {step.stage} from {step.source} to {step.target}, which took {over} longer"
        case _:
            return f"{step.stage}, which took {duration(step.needless_us)} longer on the {step.resource} than planned"


def _step(step: Step) -> str:
    where = step.resource if step.lane is None else f"{step.resource}[{step.lane}]"
    over = f", {duration(step.needless_us)} longer than planned" if step.needless_us else ""
    match step.kind:
        case "run":
            return f"{step.stage} runs on {where}{over}"
        case "transfer":
            via = f" over {where}" if step.resource else ""
            return f"{step.stage} is sent from {step.source} to {step.target}{via}{over}"
        case "load":
            return f"the weights of {step.stage} are loaded from {where}"
        case "wake-up":
            return f"{step.stage} waits for {step.resource} to wake up"
        case "planned":
            return f"{step.stage} is put off by its plan"
        case "gate":
            return f"{step.stage} waits for gate {step.gate} to decide"
        case "late start":
            return "the frame is not submitted yet"
        case "retry":
            return f"{step.stage} fails on {where}, and is moved"
        case "lane":
            assert step.backlog is not None, "a wait for a lane has a backlog"
            return f"{step.stage} waits for {where}: {_backlog(step.backlog, step.lasted_us)}"
        case _:
            return f"{step.stage} waits, the log does not tell for what"


def _backlog(backlog: Backlog, lasted_us: int) -> str:
    shares = ", ".join(
        f"{share.stage}{f' for {_listed(share.graphs)}' if share.graphs else ''} {duration(share.busy_us)}"
        + (f" ({share.runs} runs)" if share.runs > 1 else "")
        for share in backlog.ahead[:SHARES_SHOWN]
    )
    more = len(backlog.ahead) - SHARES_SHOWN
    text = f"before it are {shares}" + (f" and {more} more" if more > 0 else "")
    if IDLE_PART * (idle_us := lasted_us - backlog.ahead_us) > lasted_us:
        text += f"; for {duration(idle_us)} that had to wait itself"
    if not backlog.others_us:
        return text + ", of this frame itself"
    since = "" if backlog.is_all else "at the latest "
    text += (
        f". It has had work without a break {since}since frame {backlog.first_frame} ({_seconds(backlog.since_us)}): "
        f"{duration(backlog.busy_us)} of {_count(backlog.frames, 'frame')}"
    )
    if backlog.longest is not None:
        frame, stage, us = backlog.longest
        text += (
            f"; runs took {duration(backlog.over_us)} longer than planned, most of all {stage} of frame {frame}, "
            f"{duration(us)}"
        )
    return text


def _in_time(facts: FrameFacts) -> str:
    if not facts.frame.graphs:
        return "nothing was due"
    if facts.stage is not None:
        return "nothing that it was for was late"
    answered = [seen for seen in facts.frame.graphs if seen.outcome == "done"]
    if not answered:
        return "nothing was late: gates ended all of it"
    left = min((seen.deadline_us - seen.end_us, seen.graph) for seen in answered)
    return printable(f"nothing was late: {left[1]} came nearest to it, {duration(left[0])} before its deadline")


# What it cost.


def _energy(facts: FrameFacts, look: Look) -> str:
    rows: dict[tuple[str, str], dict[str, int]] = {}
    graphs: dict[str, int] = {}
    for (cause, resource, graph), nj in facts.nj.items():
        rows.setdefault((cause, resource), {})[graph] = nj
        graphs[graph] = graphs.get(graph, 0) + nj
    shown = [
        (cause, resource, millijoules(sum(shares.values())), ", ".join(graph or NO_PIPELINE for graph in shares))
        for (cause, resource), shares in rows.items()
    ]
    total = ("total", "", millijoules(sum(graphs.values())), "")
    text = table(("energy", "where", "mJ", "shared by"), shown, look, totals=total, keys=2, wrapped=True)
    charged = ", ".join(f"{graph or NO_PIPELINE} {millijoules(nj)}" for graph, nj in graphs.items())
    return text + fill(printable(f"charged in mJ: {charged}"), look.columns, "  ") + "\n"


# A run.


def overview_text(found: Overview, look: Look = WIDE) -> str:
    """A run: what each pipeline came to, what was worst, and what to ask next."""
    sums, columns = found.tally, look.columns
    parts = [fill(_run_title(found), columns) + "\n"]
    if found.cut:
        parts.append(fill(f"read up to here: {found.cut}", columns, "  ") + "\n")
    if found.missing:
        parts.append(fill(f"not in this log: {'; '.join(found.missing)}", columns, "  ") + "\n")
    header = ("pipeline", "frames", "answered", "late", "failed", "median ms", "p95 ms", "p99 ms", "mJ")
    rows = [
        (
            name,
            one.frames,
            one.answered,
            one.late,
            one.failed,
            *(_ms(one.latency_us(percent)) if one.answered else "-" for percent in (50, 95, 99)),
            millijoules(sums.graphs_nj.get(name, 0)),
        )
        for name, one in sums.pipelines.items()
    ]
    parts += ["\n", table(header, rows, look, red=("late", "failed")), "\n"]
    energy = ", ".join(f"{cause} {millijoules(nj)}" for cause, nj in sums.by_cause().items())
    parts.append(fill(f"energy: {millijoules(sums.total_nj)} mJ: {energy}", columns, "  ") + "\n")
    if found.loaded:
        parts += ["\n", _loaded(found.loaded, look), "\n"]
    lines = [
        f"frame {one.frame}, {_seconds(one.release_us)}: {one.graph} was {duration(one.amount)} late"
        for one in found.late
    ]
    lines += [
        f"{_count(one.count, 'answer')} failed, first in frame {one.frame}: {one.text:.300}"
        for one in found.reasons[:REASONS_SHOWN]
    ]
    if sums.skipped:
        lines.append(f"{_count(sums.skipped, 'frame')} skipped, since there was too much to do")
    if not (sums.late or sums.failed):
        lines.append("nothing was late, and nothing failed")
    if found.tightest is not None:
        one = found.tightest
        lines.append(f"frame {one.frame}: {one.graph} came nearest to its deadline, {duration(one.amount)} before it")
    if found.dearest is not None and found.dearest.amount:
        lines.append(f"frame {found.dearest.frame} took most for its runs, {millijoules(found.dearest.amount)} mJ")
    parts += [fill(printable(line), columns, "  ") + "\n" for line in lines]
    parts += [f"ask: leo-runtime explain {quote(found.run)} --frame {frame}\n" for frame in _worth_asking(found)]
    return "".join(parts)


def _loaded(loaded: Sequence[Loaded], look: Look) -> str:
    header = ("weights", "for", "to", "kB", "loads", "in all MB", "mJ", "made room")
    rows = [
        (
            one.label,
            ", ".join(one.stages),
            one.target,
            f"{one.bytes / 1000:.1f}",
            one.loads,
            f"{one.loads * one.bytes / 1e6:.3g}",
            millijoules(one.nj),
            one.evicted,
        )
        for one in loaded
    ]
    return table(header, rows, look)


def _run_title(found: Overview) -> str:
    head = found.head
    if isinstance(head, RunLine):
        names = (head.recording.name, head.hardware.name, head.profile.name)
        changed = f", with {', '.join(head.changes)}" if head.changes else ""
    else:
        names, changed = (head.recording, head.hardware, head.profile), ""
    batch = f", {head.batch} frames at a time" if head.batch > 1 else ""
    return printable(
        f"{found.run}: {names[0]}, {_seconds(head.end_us - head.start_us)}, on {names[1]}, in {head.time} time; "
        f"profile {names[2]}, placed by {head.policy}{batch}{changed}"
    )


def _worth_asking(found: Overview) -> list[int]:
    """The frames to ask about first."""
    frames = [one.frame for one in found.late[:1]] + [one.frame for one in found.reasons[:1]]
    others: Sequence[Notable | None] = () if frames else (found.tightest, found.dearest)
    return list(dict.fromkeys([*frames, *(one.frame for one in others if one is not None)]))


# Plain values.


def frame_figures(facts: FrameFacts) -> dict[str, Any]:
    """Everything that `frame_text` tells, as plain values."""
    return {
        "run": facts.run,
        "frame": facts.frame.model_dump(mode="json", exclude_defaults=True),
        "stage": facts.stage,
        "explanation": None if facts.explanation is None else _explained(facts.explanation),
        "placed_again": [run.stage for run in facts.frame.stages if _is_placed_again(facts, run)],
        "why": [
            {**asdict(why), "late_us": why.late_us, "steps": [_step_figures(step) for step in why.steps]}
            for why in facts.whys
        ],
        "energy": [
            {"cause": cause, "resource": resource, "graph": graph, "nj": nj}
            for (cause, resource, graph), nj in facts.nj.items()
        ],
        "not_in_log": list(facts.missing),
    }


def _step_figures(step: Step) -> dict[str, Any]:
    return {**asdict(step), "lasted_us": step.lasted_us, "needless_us": step.needless_us}


def _explained(explanation: Explanation) -> dict[str, Any]:
    found = asdict(explanation)
    found["criteria"] = _criteria(explanation.criteria)
    for stage, plain in zip(explanation.stages, found["stages"], strict=True):
        plain["run"] = stage.run.model_dump()
        for one, other in zip(stage.alternatives, plain["alternatives"], strict=True):
            other["criteria"] = _criteria(one.criteria)
    return found


def _criteria(criteria: Any) -> dict[str, int] | None:
    return None if criteria is None else {name: getattr(criteria, name) for name in CRITERIA}


def overview_figures(found: Overview) -> dict[str, Any]:
    """Everything that `overview_text` tells, as plain values."""
    return {
        "run": found.run,
        "whole": not found.cut,
        **tally_figures(found.tally),
        "late": [asdict(one) for one in found.late],
        "failed": [asdict(one) for one in found.reasons],
        "tightest": None if found.tightest is None else asdict(found.tightest),
        "dearest": None if found.dearest is None else asdict(found.dearest),
        "loaded": [asdict(one) for one in found.loaded],
        "not_in_log": list(found.missing),
    }


def tally_figures(sums: Tally) -> dict[str, Any]:
    """What a `Tally` has counted, as plain values."""
    return {
        "frames": sums.frames,
        "skipped": sums.skipped,
        "unplaced": sums.unplaced,
        "nj": sums.total_nj,
        "nj_by_cause": sums.by_cause(),
        "nj_by_resource": sums.by_resource(),
        "nj_by_graph": sums.by_graph(),
        "pipelines": list(_pipeline_figures(sums)),
    }


def _pipeline_figures(sums: Tally) -> Iterator[dict[str, Any]]:
    """A line a pipeline."""
    for name, one in sums.pipelines.items():
        yield {
            "graph": name,
            "frames": one.frames,
            "answered": one.answered,
            "late": one.late,
            "failed": one.failed,
            "detections": one.detections,
            **{f"latency_p{percent}_us": one.latency_us(percent) for percent in (50, 95, 99)},
            "nj": sums.graphs_nj.get(name, 0),
        }


# Words.


def _seconds(us: int) -> str:
    return f"{us / 1e6:g} s"


def _ms(us: float) -> str:
    return f"{us / 1000:.2f}"


def _from(us: int, frame: FrameLine) -> str:
    """A time in ms from the frame's release on."""
    return _ms(us - frame.release_us)


def _signed(us: int) -> str:
    return f"{'+' if us > 0 else '-'}{duration(abs(us))}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
