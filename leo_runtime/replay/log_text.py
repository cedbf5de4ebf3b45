"""The text of a log's lines, as `leo_runtime.replay.log_lines` has them. The same run gives the same text.

A run has a part of a line for each run of a stage, so it counts what that takes. What repeats of it, names above all,
is made text once and then looked up: with a general encoder it takes five times as long, with `dataclasses.asdict` and
one twenty times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from weakref import ref

from leo_runtime.documents.problem import Answer, Criteria
from leo_runtime.frame.entries import Entry, all_graphs
from leo_runtime.frame.lower import MergedWorkload
from leo_runtime.frame.records import (
    FrameResult,
    GraphResult,
    LoadObservation,
    Solved,
    SpanObservation,
    StageObservation,
    StateUse,
    TransferObservation,
)
from leo_runtime.recordings.recording import RecordingManifest
from leo_runtime.replay.identity import Replay
from leo_runtime.replay.inputs import model_digests, samples_digest
from leo_runtime.replay.network import NetworkKnown
from leo_runtime.runtime.link_watch import LinkKnown
from leo_runtime.runtime.planner import UNPLACED_BY
from leo_runtime.version import VERSION

TOLD_BY_FRAMES = frozenset(("run", "failed run", "transfer", "load"))
"""The causes of energy that stand in frames' lines."""
REMEMBERED = 1 << 16
"""Of how many questions it is remembered that they are written. Then all are forgotten, and what comes again is written
again."""

to_json: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""What some readers of text take for the end of a line, besides those that JSON escapes anyhow."""


def as_bytes(text: str) -> bytes:
    """Text as it is written. What ends a line elsewhere, and half a character, stay the escapes that JSON has for them.

    The text of an error may hold either.
    """
    return text.encode() if text.isascii() else text.translate(_LINE_ENDS).encode("utf-8", "backslashreplace")


def digest_of(text: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(as_bytes(text)).hexdigest()[:16]


def manifest_digest(manifest: RecordingManifest) -> str:
    """What a log knows a recording by, besides its name."""
    return digest_of(to_json(manifest.model_dump(mode="json", exclude_defaults=True)))


@dataclass(frozen=True, slots=True)
class Settings:
    """What a log says of its run that a `Replay` does not know: with it, the same can be run again."""

    seed: int = 0
    noise_ppm: int | None = None
    reserve_percent: int | None = None
    window_stages: int = 0
    network_known: NetworkKnown = "estimated"
    """Of links of which the recording tells, in virtual time."""
    recording: str | None = None
    """As it was given; None: its name."""
    questions: bool = True
    """Whether the log has what was asked for each frame."""


def run_line(begun: Replay, settings: Settings) -> str:
    """The first line."""
    manifest = begun.recording.manifest
    given = manifest.name if settings.recording is None else settings.recording
    return _line(
        {
            "format": "leo-log/2",
            "kind": "run",
            "version": VERSION,
            "policy": begun.policy,
            "time": begun.time,
            "seed": settings.seed,
            "noise_ppm": settings.noise_ppm,
            "reserve_percent": settings.reserve_percent,
            "window_stages": settings.window_stages,
            "batch": begun.batch,
            **({} if begun.solver_on is None else {"charge_solver": begun.solver_on}),
            **({} if settings.questions else {"questions": False}),
            **({"network_known": settings.network_known} if manifest.links and begun.time == "virtual" else {}),
            "changes": list(begun.changes),
            "recording": {
                "name": manifest.name,
                "given": given,
                "digest": manifest_digest(manifest),
                "samples": samples_digest(begun.recording, begun.workload),
            },
            "models": model_digests(begun.workload),
            "start_us": begun.span.start_us,
            "end_us": begun.span.end_us,
            "workload": begun.workload.model_dump(mode="json", exclude_defaults=True),
            "hardware": begun.hardware.model_dump(mode="json", exclude_defaults=True),
            "profile": begun.profile.model_dump(mode="json", exclude_defaults=True),
        }
    )


def end_line(frames: int, end_us: int, nj: int, links: Sequence[LinkKnown] = ()) -> str:
    """The last line of a run that is whole."""
    known = {"links": [asdict(one) for one in links]} if links else {}
    return _line({"kind": "end", "frames": frames, "end_us": end_us, "nj": nj, **known})


def resumed_line(at_us: int, lost: int) -> str:
    """A line of a run in real time that goes on after it was interrupted."""
    return _line({"kind": "resumed", "version": VERSION, "at_us": at_us, "lost": lost})


def _line(data: dict[str, Any]) -> str:
    return to_json(data) + "\n"


class Questions:
    """The lines of what was asked, each before the first frame that uses it."""

    def __init__(self) -> None:
        self._digests: dict[int, tuple[ref[Answer], str]] = {}
        """Of the answers that are still in use, by identity."""
        self._written: set[str] = set()

    def digest(self, solved: Solved) -> tuple[str, str]:
        """The digest of a question with its answer, and the line to be written before it is used, or nothing."""
        key = id(solved.answer)
        known = self._digests.get(key)
        if known is not None and known[0]() is solved.answer:
            digest, text = known[1], None
        else:
            text = _question_text(solved)
            digest = digest_of(text)
            self._digests[key] = (ref(solved.answer, lambda gone: self._forget(key, gone)), digest)
        if digest in self._written:
            return digest, ""
        if len(self._written) >= REMEMBERED:
            self._written.clear()
        self._written.add(digest)
        text = _question_text(solved) if text is None else text
        return digest, f'{{"kind":"question","question":"{digest}",{text}}}\n'

    def _forget(self, key: int, gone: ref[Answer]) -> None:
        known = self._digests.get(key)
        if known is not None and known[0] is gone:
            del self._digests[key]


def _question_text(solved: Solved) -> str:
    question = solved.question.model_dump_json(exclude_defaults=True)
    return f'"problem":{question},"placement":{solved.answer.model_dump_json(exclude_defaults=True)}'


class _Texts(dict[Any, str]):
    """The JSON text of names, each made once."""

    def __missing__(self, value: Any) -> str:
        text = self[value] = to_json(value)
        return text


class Lines:
    """The lines of frames and of energy. For one thread."""

    def __init__(self, merged: MergedWorkload) -> None:
        """`merged` says which graphs ask for a stage."""
        self._graphs = {stage.name: stage.graphs for stage in merged.stages}
        self._text = _Texts()
        self._stages: dict[tuple[tuple[str, ...], str, str, str, str, int, str], str] = {}
        self._transfers: dict[tuple[tuple[str, ...], str, str, str, str, str | None, int | None], str] = {}

    def frame(self, frame: FrameResult, question: str, settled_us: int | None = None) -> str:
        """The line of a frame; `question` is the digest of what was asked for it, or nothing.

        `settled_us` is given in real time: whoever tells of the frame again has to know it.
        """
        triggered = frame.let_in
        jobs = {name: job.stage for name, job in frame.jobs.items()}
        reason, text = frame.reason, self._text
        parts = [f'{{"kind":"frame","frame":{frame.frame},"release_us":{frame.release_us}']
        if frame.admitted_us is not None:
            parts.append(f',"admitted_us":{frame.admitted_us}')
        if question:
            parts.append(f',"question":"{question}"')
        parts.append(f',"status":"{"unplaced" if is_unplaced(frame) else frame.placement.status}"')
        if frame.skipped:
            parts.append(',"skipped":true')
        if frame.shed:
            parts.append(f',"shed":{to_json(frame.shed)}')
        if frame.unplaced:
            parts.append(f',"unplaced":{to_json(dict(frame.unplaced))}')
        if reason:
            parts.append(f',"reason":{to_json(reason)}')
        parts.append(f',"criteria":{_criteria(frame.placement.criteria)}')
        if frame.waits_given_up:
            parts.append(f',"waits_given_up":{frame.waits_given_up}')
        parts.append(f',"graphs":[{",".join([self._graph(result) for result in frame.graphs])}]')
        stages = [self._stage(run, jobs.get(run.stage, run.stage), triggered) for run in frame.stages]
        parts.append(f',"stages":[{",".join(stages)}]')
        sends = [self._transfer(send, jobs.get(send.stage, send.stage), triggered) for send in frame.transfers]
        parts.append(f',"transfers":[{",".join(sends)}]')
        if frame.loads:
            parts.append(f',"loads":[{",".join([self._load(load, triggered) for load in frame.loads])}]')
        if frame.evicted:
            gone = [
                f'{{"resource":{text[one.resource]},"label":{text[one.label]},"at_us":{one.at_us}}}'
                for one in frame.evicted
            ]
            parts.append(f',"evicted":[{",".join(gone)}]')
        wakes = [f'{{"resource":{text[wake.resource]},"at_us":{wake.at_us}}}' for wake in frame.wakes]
        parts.append(f',"wakes":[{",".join(wakes)}]')
        if frame.spans is not None:
            parts.append(f',"spans":[{",".join([self._span(span) for span in frame.spans])}]')
        parts.append("}\n" if settled_us is None else f',"settled_us":{settled_us}}}\n')
        return "".join(parts)

    def energy(self, entries: Sequence[Entry]) -> str:
        """A line of these entries."""
        return f'{{"kind":"energy","entries":[{",".join([self._entry(entry) for entry in entries])}]}}\n'

    def _graph(self, result: GraphResult) -> str:
        text = self._text
        number = f',"number":{result.number}' if result.number else ""
        gap = f',"gap_us":{result.gap_us}' if result.gap_us else ""
        early = f',"exit":{text[result.exit]}' if result.exit else ""
        return (
            f'{{"graph":{text[result.graph]},"release_us":{result.release_us},"outcome":"{result.outcome}",'
            f'"label":{text[result.label]},"end_us":{result.end_us},"deadline_us":{result.deadline_us}{number}{gap}{early}}}'
        )

    def _stage(self, run: StageObservation, of: str, triggered: tuple[str, ...]) -> str:
        key = (triggered, run.stage, of, run.resource, run.variant, run.lane, run.outcome)
        head = self._stages.get(key)
        if head is None:
            named = {} if of == run.stage else {"of": of}
            where = {"resource": run.resource, "variant": run.variant, "lane": run.lane, "outcome": run.outcome}
            head = self._stages[key] = to_json(
                {"stage": run.stage, **named, "graphs": self._asked(of, triggered), **where}
            )[:-1]
        tail = "}"
        if run.device_us is not None or run.error or run.opened is not None or run.state is not None:
            device = "" if run.device_us is None else f',"device_us":{run.device_us}'
            error = f',"error":{to_json(run.error)}' if run.error else ""
            opened = "" if run.opened is None else f',"opened":{"true" if run.opened else "false"}'
            state = "" if run.state is None else f',"state":{_state(run.state)}'
            tail = f"{device}{error}{opened}{state}}}"
        return (
            f'{head},"planned_start_us":{run.planned_start_us},"planned_end_us":{run.planned_end_us},'
            f'"start_us":{run.start_us},"end_us":{run.end_us},"expected_us":{run.expected_us},'
            f'"expected_nj":{run.expected_nj},"nj":{run.nj},"energy_from":"{run.energy_from}"{tail}'
        )

    def _transfer(self, send: TransferObservation, of: str, triggered: tuple[str, ...]) -> str:
        key = (triggered, send.stage, of, send.source, send.target, send.resource, send.lane)
        head = self._transfers.get(key)
        if head is None:
            occupied = {"resource": send.resource, "lane": send.lane}
            head = self._transfers[key] = to_json(
                {
                    "stage": send.stage,
                    **({} if of == send.stage else {"of": of}),
                    "graphs": self._asked(of, triggered),
                    "source": send.source,
                    "target": send.target,
                    **{name: value for name, value in occupied.items() if value is not None},
                }
            )[:-1]
        error = f',"error":{to_json(send.error)}' if send.error else ""
        return (
            f'{head},"planned_start_us":{send.planned_start_us},"start_us":{send.start_us},"sent_us":{send.sent_us},'
            f'"arrive_us":{send.arrive_us},"nj":{send.nj}{error}}}'
        )

    def _load(self, load: LoadObservation, triggered: tuple[str, ...]) -> str:
        text = self._text
        graphs = all_graphs(tuple(self._asked(stage, triggered)) for stage in load.stages)
        return (
            f'{{"label":{text[load.label]},"target":{text[load.target]},"resource":{text[load.resource]},'
            f'"lane":{load.lane},"bytes":{load.bytes},"planned_start_us":{load.planned_start_us},'
            f'"start_us":{load.start_us},"loaded_us":{load.loaded_us},"arrive_us":{load.arrive_us},"nj":{load.nj},'
            f'"stages":{text[load.stages]},"graphs":{text[graphs]}}}'
        )

    def _span(self, span: SpanObservation) -> str:
        held = "" if span.held_until_us is None else f',"held_until_us":{span.held_until_us}'
        return (
            f'{{"resource":{self._text[span.resource]},"from_us":{span.from_us},"until_us":{span.until_us},'
            f'"used_us":{span.used_us}{held}}}'
        )

    def _entry(self, entry: Entry) -> str:
        text = self._text
        frame = "" if entry.frame is None else f',"frame":{entry.frame}'
        return (
            f'{{"cause":"{entry.cause}","resource":{text[entry.resource]},"at_us":{entry.at_us},'
            f'"until_us":{entry.until_us},"nj":{entry.nj}{frame},"graphs":{text[entry.graphs]}}}'
        )

    def _asked(self, stage: str, triggered: tuple[str, ...]) -> list[str]:
        """The graphs of a frame that asked for a stage."""
        asked = self._graphs.get(stage, ())
        return [graph for graph in triggered if graph in asked]


def is_unplaced(frame: FrameResult) -> bool:
    """Whether the runtime had no answer to it. That there is none is a solver's word, which proved it."""
    return frame.placement.status == "infeasible" and frame.placement.solver == UNPLACED_BY


def _state(state: StateUse) -> str:
    anew = f',"anew":{to_json(state.anew)}' if state.anew else ""
    home = "" if state.home is None else f',"home":{to_json(state.home)}'
    moved = f',"moved_nj":{state.moved_nj}' if state.moved_nj else ""
    return f'{{"fresh":{state.fresh}{anew}{home}{moved}}}'


def _criteria(criteria: Criteria | None) -> str:
    if criteria is None:
        return "null"
    return (
        f'{{"tardiness":{criteria.tardiness},"energy":{criteria.energy},"makespan":{criteria.makespan},'
        f'"accuracy_loss":{criteria.accuracy_loss}}}'
    )
