"""Reads the log of a run, `leo-log/2` or `leo-log/1`, a line at a time: a day's log is never in memory as a whole.

What is kept is where each frame and each question stands, some 50 bytes a line. A log that was cut off, as a killed
process leaves it, is read up to its last whole line, and `RunLog.cut` says so.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, Self, TypeVar

from pydantic import ValidationError

from leo_runtime.documents.memory import MemoryPlacement, MemoryProblem
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.documents.window import WindowPlacement, WindowProblem
from leo_runtime.errors import DocumentError, InputError
from leo_runtime.frame.entries import Cause, Entry
from leo_runtime.replay.log_lines import (
    EndLine,
    EnergyLine,
    FrameLine,
    FrameLine1,
    GraphLine,
    QuestionLine,
    ResumedLine,
    RunLine,
    RunLine1,
    StageLine,
    TransferLine,
)
from leo_runtime.replay.run_folder import log_of
from leo_runtime.schema import Document, document_error

MAX_LINE_BYTES = 64 << 20
"""No line is as long: what goes on for more is no log."""
KEPT_FRAMES = 64
"""How many frames are kept that were asked for by number."""

NOT_IN_LOG_1 = (
    "the energy of waking up, staying awake and lingering",
    "the questions",
    "who asked for which stage",
    "the workload, the machine and the profile",
)
"""What `leo-log/1` does not hold."""

_LINE = TypeVar("_LINE", bound=Document)
_KIND = re.compile(rb'\{"kind":"([a-z]{1,20})"')
_FRAME = re.compile(rb'\{(?:"kind":"frame",)?"frame":(\d{1,15}),"release_us":(\d{1,15}),')
_QUESTION = re.compile(rb'\{"kind":"question","question":"([0-9a-f]{16})"')
"""How writers begin a line; one that begins in another way is parsed to see what it is."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked for one or more frames, and the answer; times are from the frame's release on."""

    problem: Problem | WindowProblem | MemoryProblem
    placement: Placement | WindowPlacement | MemoryPlacement


class RunLog:
    """The log of one run. For one thread at a time; close it, or use it in a `with` block."""

    def __init__(self, run: str | Path) -> None:
        """Of a run's folder, or of a log file.

        Raises `InputError` where there is none, and `DocumentError`, which names file and line, where it is damaged.
        """
        self.path = log_of(Path(run))
        if not self.path.is_file():
            raise InputError(f"{self.path}: is no file, and a log is read twice", hint="write it to a file first")
        try:
            self._file: BinaryIO = self.path.open("rb")
        except OSError as error:
            self._unreadable(error)
        try:
            self.head = self._read_head()
            self._index()
        except BaseException:
            self._file.close()
            raise
        self._recent: OrderedDict[int, FrameLine] = OrderedDict()

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file. Twice is fine."""
        self._file.close()

    # What it is.

    @property
    def missing(self) -> tuple[str, ...]:
        """What the log does not hold, by name."""
        if isinstance(self.head, RunLine1):
            return NOT_IN_LOG_1
        return () if self.head.questions else ("the questions",)

    @property
    def is_whole(self) -> bool:
        """Whether the run came to its end; of `leo-log/1` it is not known, and taken to be so."""
        return self.end is not None or (isinstance(self.head, RunLine1) and not self.cut)

    @property
    def batch(self) -> int:
        """How many frames were placed as one."""
        return self.head.batch

    @property
    def numbers(self) -> array[int]:
        """The numbers of all frames, in the order in which they ended."""
        return self._numbers

    @property
    def releases_us(self) -> array[int]:
        """When each of `numbers` was released."""
        return self._releases_us

    # What is in it.

    def frames(self) -> Iterator[FrameLine]:
        """Every frame, in the order in which they ended. Raises `DocumentError`."""
        for position in range(len(self._numbers)):
            yield self.at(position)

    def frames_by_release(self) -> Iterator[FrameLine]:
        """Every frame, in the order in which they were released. Raises `DocumentError`."""
        order = sorted(range(len(self._numbers)), key=lambda at: (self._releases_us[at], self._numbers[at]))
        for position in order:
            yield self.at(position)

    def at(self, position: int) -> FrameLine:
        """The frame that ended after so many others. Raises `DocumentError`."""
        kept = self._recent.pop(position, None)
        if kept is None:
            kept = self._parse_frame(self._line_at(self._offsets[position]), self._lines[position])
            if len(self._recent) >= KEPT_FRAMES:
                self._recent.popitem(last=False)
        self._recent[position] = kept
        return kept

    def position(self, number: int) -> int:
        """How many frames ended before that one. Raises `InputError` for a frame that is not in the log."""
        if not self._numbers:
            raise InputError(f"{self.path}: no frame of this run has ended", hint="let it run for longer")
        if number not in self._positions:
            first, last = min(self._numbers), max(self._numbers)
            cut = "" if self.is_whole else ", as the run was interrupted"
            raise InputError(f"{self.path}: there is no frame {number}{cut}", hint=f"its frames are {first} to {last}")
        return self._positions[number]

    def released_at(self, at_us: int) -> int:
        """The number of the last frame that was released at that time or before; of none such the first one.

        Raises `InputError` where there are no frames, or the time is after the run's end.
        """
        if not self._numbers:
            self.position(0)
        last_us = max(self._releases_us)
        end_us = max(last_us, self.head.end_us - self.head.start_us)
        if at_us > end_us:
            raise InputError(
                f"{self.path}: nothing was released at {at_us / 1e6:g} s",
                hint=f"the run lasted {end_us / 1e6:g} s",
            )
        found = [at for at, release_us in enumerate(self._releases_us) if release_us <= at_us]
        if not found:
            return self._numbers[min(range(len(self._numbers)), key=self._releases_us.__getitem__)]
        return self._numbers[max(found, key=lambda at: (self._releases_us[at], self._numbers[at]))]

    def question(self, digest: str) -> Question | None:
        """What was asked and answered; None where the log does not hold it. Raises `DocumentError`."""
        place = self._questions.get(digest)
        if place is None:
            return None
        offset, line = place
        found = self._parse(QuestionLine, self._line_at(offset), line)
        return Question(found.problem, found.placement)

    def entries(self) -> Iterator[Entry]:
        """All energy that the log tells of: of runs and transfers by frame, then of everything else, by line.

        Of `leo-log/1` that is what ran, was sent, and was charged for solving. Raises `DocumentError`.
        """
        for frame in self.frames():
            yield from frame_entries(frame)
        yield from self.standing_entries()

    def standing_entries(self) -> Iterator[Entry]:
        """The energy that is no run's and no transfer's: of waking, being awake, lingering, sleep and solving."""
        yield from self._standing(None)

    def entries_of(self, number: int) -> Iterator[Entry]:
        """The energy of one frame: what ran, was sent, and was kept awake or woken for it."""
        yield from frame_entries(self.at(self.position(number)))
        told_of = re.compile(rb'"frame":\s*%d\b' % number)  # Most lines need not be parsed.
        yield from (entry for entry in self._standing(told_of) if entry.frame == number)

    def _standing(self, told_of: re.Pattern[bytes] | None) -> Iterator[Entry]:
        for offset, line in zip(self._energy_offsets, self._energy_lines, strict=True):
            text = self._line_at(offset)
            if told_of is not None and told_of.search(text) is None:
                continue
            if isinstance(self.head, RunLine1):
                frame = self._parse(FrameLine1, text, line)
                graphs = tuple(dict.fromkeys(seen.graph for seen in frame.graphs))
                on, at_us = self.head.solver_on or "", frame.release_us
                yield Entry(at_us, at_us, frame.solver_nj, "solver", on, frame.frame, "", graphs)
                continue
            for one in self._parse(EnergyLine, text, line).entries:
                yield Entry(one.at_us, one.until_us, one.nj, one.cause, one.resource, one.frame, "", one.graphs)

    def require_sum(self, nj: int) -> None:
        """Raise `DocumentError` where a whole log says that the run used something else than its lines come to."""
        if self.end is not None and self.end.nj != nj:
            raise DocumentError(
                str(self.path), f"the run used {self.end.nj} nJ, and the lines tell of {nj} nJ", hint=_WHOLE
            )

    # Reading.

    def _read_head(self) -> RunLine | RunLine1:
        text = self._next_line(1)
        if not text.strip():
            raise DocumentError(
                str(self.path), "holds nothing", hint="the run was interrupted before it began: replay it again"
            )
        if packed := is_packed(text):
            raise DocumentError(
                str(self.path),
                f"is packed by {packed}, and a log is read twice",
                hint=f"unpack it: {packed} -d -k FILE",
            )
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        named = data.get("format") if isinstance(data, dict) else None
        if named not in ("leo-log/2", "leo-log/1"):
            what = "its first line is no JSON object" if not isinstance(data, dict) else f"its format is {named!r:.80}"
            raise DocumentError(
                f"{self.path}:1",
                f"is no log of a run: {what}",
                "$.format",
                hint="a log begins with a line of format 'leo-log/2' or 'leo-log/1', as `leo-runtime replay` writes it",
            )
        if named == "leo-log/1":
            return self._parse(RunLine1, text, 1)
        return self._parse(RunLine, text, 1)

    def _index(self) -> None:
        """Note where everything stands."""
        self._numbers, self._releases_us = array("q"), array("q")
        self._offsets, self._lines = array("q"), array("q")
        self._energy_offsets, self._energy_lines = array("q"), array("q")
        self._questions: dict[str, tuple[int, int]] = {}
        self._positions: dict[int, int] = {}
        self.end: EndLine | None = None
        """What the last line of a whole run says; None: it was interrupted, or the log is of `leo-log/1`."""
        self.cut = ""
        """Why the log was read up to here only; empty: to its end."""
        self.resumed: list[ResumedLine] = []
        """Where a run in real time was interrupted, and went on."""
        number = 1
        while True:
            number += 1
            offset = self._file.tell()
            text = self._next_line(number)
            if not text:
                break
            if not text.endswith(b"\n") and not _is_json(text):
                self.cut = f"line {number} was cut off: the run was interrupted as it was written"
                break
            if text.strip():
                self._note(text, offset, number)
        if self.end is not None and self.end.frames != len(self._numbers):
            self._damaged(
                number - 1,
                f"the run came to {self.end.frames} frames, and {len(self._numbers)} have a line",
                hint=_WHOLE,
            )
        if self.end is None and not self.cut and isinstance(self.head, RunLine):
            self.cut = "the run was interrupted, or goes on"

    def _note(self, text: bytes, offset: int, number: int) -> None:
        first = isinstance(self.head, RunLine1)
        if found := _FRAME.match(text):
            self._note_frame(int(found[1]), int(found[2]), offset, number)
            if first and b'"solver_nj":' in text:
                self._note_energy(offset, number)
        elif first:
            frame = self._parse(FrameLine1, text, number)
            self._note_frame(frame.frame, frame.release_us, offset, number)
            if frame.solver_nj:
                self._note_energy(offset, number)
        elif found := _QUESTION.match(text):
            self._questions.setdefault(found[1].decode(), (offset, number))
        else:
            self._note_by_kind(text, offset, number)

    def _note_by_kind(self, text: bytes, offset: int, number: int) -> None:
        match self._kind(text, number):
            case "energy":
                self._note_energy(offset, number)
            case "end":
                self.end = self._parse(EndLine, text, number)
            case "resumed":
                self.resumed.append(self._parse(ResumedLine, text, number))
                self.end = None
            case "frame":
                frame = self._parse(FrameLine, text, number)
                self._note_frame(frame.frame, frame.release_us, offset, number)
            case "question":
                self._questions.setdefault(self._parse(QuestionLine, text, number).question, (offset, number))
            case "run":
                self._damaged(number, "another run begins here", hint="give each run a log of its own")
            case other:
                self._damaged(number, f"no line is of kind {other!r:.80}")

    def _kind(self, text: bytes, number: int) -> object:
        if found := _KIND.match(text):
            return found[1].decode()
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._damaged(number, f"not JSON ({error})")
        return data.get("kind") if isinstance(data, dict) else None

    def _note_frame(self, frame: int, release_us: int, offset: int, line: int) -> None:
        if frame in self._positions:
            self._damaged(line, f"frame {frame} has a line before, too", hint=_WHOLE)
        self._numbers.append(frame)
        self._releases_us.append(release_us)
        self._offsets.append(offset)
        self._lines.append(line)
        self._positions[frame] = len(self._numbers) - 1

    def _note_energy(self, offset: int, line: int) -> None:
        self._energy_offsets.append(offset)
        self._energy_lines.append(line)

    def _next_line(self, number: int) -> bytes:
        try:
            text = self._file.readline(MAX_LINE_BYTES + 1)
        except OSError as error:
            self._unreadable(error)
        if len(text) > MAX_LINE_BYTES:
            self._damaged(number, f"the line is longer than {MAX_LINE_BYTES:,} bytes")
        return text

    def _line_at(self, offset: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.readline(MAX_LINE_BYTES)
        except OSError as error:
            self._unreadable(error)

    def _parse_frame(self, text: bytes, line: int) -> FrameLine:
        if isinstance(self.head, RunLine1):
            return _of_log_1(self._parse(FrameLine1, text, line))
        return self._parse(FrameLine, text, line)

    def _parse(self, model: type[_LINE], text: bytes, line: int) -> _LINE:
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            wrong = error
        if wrong.errors()[0]["type"] == "json_invalid":
            # The text of an error may hold half a character, which JSON can escape, and pydantic does not read.
            try:
                text = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
                return model.model_validate_json(text)
            except (ValueError, RecursionError):  # A `ValidationError` is a ValueError.
                pass
        told = document_error(f"{self.path}:{line}", wrong, model)
        told.hint = told.hint or _WAY_OUT
        raise told

    def _damaged(self, line: int, what: str, hint: str = "") -> NoReturn:
        raise DocumentError(f"{self.path}:{line}", what, hint=hint or _WAY_OUT)

    def _unreadable(self, error: OSError) -> NoReturn:
        raise DocumentError(str(self.path), f"cannot be read ({error.strerror or error})") from None


_WAY_OUT = "what stands before that line can be read alone: `head -n LINES LOG > PART`, of one line less"


_WHOLE = "lines were taken out of it, or came twice: take the log as it was written"


def read_log(run: str | Path) -> RunLog:
    """The log of a run, by its folder or its file. Raises as `RunLog` does."""
    return RunLog(run)


def is_log(path: Path) -> bool:
    """Whether that is a run's folder, or a file that begins as a log does."""
    try:
        if path.is_dir():
            return True
        if not path.is_file():
            return False
        with path.open("rb") as file:
            begin = file.read(200)
            return b'"leo-log/' in begin or bool(is_packed(begin))
    except (OSError, ValueError):  # A name that no file can have.
        return False


_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2"}
"""How files begin that were made smaller, and by what."""


def is_packed(begin: bytes) -> str:
    """What unpacks a file that begins so; empty: it is not packed."""
    return next((tool for mark, tool in _PACKED.items() if begin.startswith(mark)), "")


def frame_entries(frame: FrameLine) -> Iterator[Entry]:
    """The energy of what ran, was sent and was loaded in a frame."""
    for run in frame.stages:
        if run.nj:
            cause: Cause = "failed run" if run.outcome == "failed" else "run"
            yield Entry(run.start_us, run.end_us, run.nj, cause, run.resource, frame.frame, run.stage, run.graphs)
    for send in frame.transfers:
        if send.nj:
            where = send.resource or f"{send.source} -> {send.target}"
            yield Entry(send.start_us, send.sent_us, send.nj, "transfer", where, frame.frame, send.stage, send.graphs)
    for load in frame.loads:
        if load.nj:
            where, graphs = load.resource, load.graphs
            yield Entry(load.start_us, load.loaded_us, load.nj, "load", where, frame.frame, load.label, graphs)


def _of_log_1(frame: FrameLine1) -> FrameLine:
    """A frame as today's logs have it; who asked for its stages is not known."""
    return FrameLine(
        kind="frame",
        frame=frame.frame,
        release_us=frame.release_us,
        status=frame.status,
        reason=frame.reason,
        criteria=frame.criteria,
        graphs=tuple(GraphLine(**dict(seen)) for seen in frame.graphs),
        stages=tuple(StageLine(**dict(seen), graphs=()) for seen in frame.stages),
        transfers=tuple(TransferLine(**dict(seen), graphs=()) for seen in frame.transfers),
        wakes=(),
    )


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
