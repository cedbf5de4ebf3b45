"""`leo-runtime recording`: what is in a recording; recordings converted, cut, and made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from leo_runtime.command.shared import DONE, add_width, amount, bar, look, positive, put, say
from leo_runtime.errors import InputError

if TYPE_CHECKING:
    from leo_runtime.progress import Progress
    from leo_runtime.recordings.recording import Recording

EXAMPLE = "recording info demo"

_LONG_BYTES = 1 << 24
_FILES = (
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".mov", ".mkv", ".avi", ".npy", ".csv", ".tsv"),
    *(".txt", ".json", ".toml", ".zip", ".edf", ".mcap", ".bag", ".db3"),
)
"""Ends of names of files in which somebody may want a recording."""
_READS = "a name or folder, an export, an MCAP, a ROS bag, a file of sound"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    action: Literal["info", "convert", "cut", "record"]
    path: str | None
    json: bool
    out: Path | None
    start: float
    end: float | None
    from_stdin: bool
    source: str | None
    format: str | None
    rate: float | None
    channels: int
    width: int | None
    height: int | None
    kind: Literal["motion", "other"]
    stream: str
    seconds: float | None
    columns: int | None
    """Of the tables of `info`, as `look` takes it."""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments, of each action its own."""
    from leo_runtime.recordings.recorder import FORMATS

    parser.set_defaults(
        path=None,
        json=False,
        out=None,
        start=0.0,
        end=None,
        from_stdin=False,
        source=None,
        format=None,
        rate=None,
        channels=1,
        width=None,
        height=None,
        kind="other",
        stream="mic",
        seconds=None,
        columns=None,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    info = _action(actions.add_parser, "info", "Show streams, rates, jitter, gaps, clipping, silence, labels, links.")
    info.add_argument("path", metavar="PATH", help=_READS)
    info.add_argument("--json", action="store_true", help="as JSON")
    add_width(info)

    convert = _action(actions.add_parser, "convert", "Write a recording as a folder, or as an MCAP.")
    convert.add_argument("path", metavar="PATH", help=_READS)
    convert.add_argument("--out", type=Path, required=True, metavar="NEW", help="a folder, or FILE.mcap; not there yet")

    cut = _action(actions.add_parser, "cut", "Write a span of a recording, as a recording that begins at 0.")
    cut.add_argument("path", metavar="PATH", help=_READS)
    cut.add_argument("--from", dest="start", type=amount, default=0.0, metavar="S", help="second to begin at (0)")
    cut.add_argument("--to", dest="end", type=amount, metavar="S", help="second to end at (default: its end)")
    cut.add_argument("--out", type=Path, required=True, metavar="NEW", help="a folder, or FILE.mcap; not there yet")

    record = _action(
        actions.add_parser,
        "record",
        "Record what a program writes to a pipe or sends to a port, until that ends, or Ctrl-C, or --seconds are over.",
    )
    source = record.add_mutually_exclusive_group(required=True)
    source.add_argument("--from-stdin", action="store_true", help="read samples from standard input")
    source.add_argument(
        "--from", dest="source", metavar="URL", help="tcp://HOST:PORT connects to it; udp://HOST:PORT takes datagrams"
    )
    says = "; ".join(f"{name}: {form.says}" for name, form in FORMATS.items())
    record.add_argument("--format", choices=tuple(FORMATS), required=True, help=says)
    record.add_argument("--rate", type=amount, required=True, metavar="HZ", help="samples, or frames, a second")
    record.add_argument("--channels", type=positive, default=1, metavar="N", help="interleaved (default: 1)")
    record.add_argument("--width", type=positive, metavar="PIXELS", help="of frames")
    record.add_argument("--height", type=positive, metavar="PIXELS", help="of frames")
    record.add_argument("--kind", choices=("motion", "other"), default="other", help="of f32le (default: other)")
    record.add_argument("--stream", default="mic", metavar="NAME", help="what the stream is called (default: mic)")
    record.add_argument("--seconds", type=amount, metavar="S", help="end after so much")
    record.add_argument("--out", type=Path, required=True, metavar="NEW", help="a folder that is not there yet")


def _action(adding: Callable[..., argparse.ArgumentParser], name: str, says: str) -> argparse.ArgumentParser:
    return adding(name, help=says, description=says)


def run(request: Request) -> int:
    """Do it. Returns the exit status."""
    if request.action == "record":
        return _record(request)
    from leo_runtime import shipped
    from leo_runtime.recordings.writer import require_new

    assert request.path is not None
    if request.out is not None:
        _require_written(request.out, (".mcap",))
        require_new(request.out)
    recording = shipped.recording(request.path)
    if request.action == "info":
        from leo_runtime.recordings.figures import figures
        from leo_runtime.report.recording_text import text

        with _bar("looking", recording) as progress:
            found = figures(recording, progress)
        shown = look(request.columns)
        put(json.dumps(asdict(found), indent=1, ensure_ascii=False) + "\n" if request.json else text(found, shown))
        return DONE
    for repair in recording.repairs:
        say(f"mended: {repair}")
    assert request.out is not None
    _write(_cut(request, recording) if request.action == "cut" else recording, request.out)
    return DONE


def _require_written(out: Path, files: tuple[str, ...]) -> None:
    """Raise `InputError` for a name that ends as a file's of another form: a folder of it would be taken for one."""
    end = out.suffix.lower()
    if end in _FILES and end not in files:
        raise InputError(
            f"{out}: no {end} file is written, but a folder{''.join(f' or {file}' for file in files)}",
            hint=f"`--out {out.with_suffix('')}` is a folder with a file of each stream"
            + ("" if files else "; `recording convert` makes an MCAP of it"),
        )


def _bar(title: str, recording: Recording) -> AbstractContextManager[Progress]:
    """A bar where it takes long."""
    from leo_runtime.recordings.samples import sample_bytes

    whole_bytes = sum(len(samples) * sample_bytes(samples) for samples in recording.samples.values())
    return bar(title) if whole_bytes > _LONG_BYTES else nullcontext(lambda *_: None)


def _cut(request: Request, recording: Recording) -> Recording:
    from leo_runtime.recordings.cutting import cut

    start_us = round(request.start * 1e6)
    longest_us = max(recording.lasts_us([stream.name]) for stream in recording.manifest.streams)
    end_us = longest_us if request.end is None else round(request.end * 1e6)
    if end_us <= start_us:
        raise InputError(
            f"a span from {start_us / 1e6:g} to {end_us / 1e6:g} s holds nothing",
            hint=f"the recording lasts {longest_us / 1e6:g} s; `--to` is a time in it, not a length",
        )
    part = cut(recording, start_us, end_us)
    for told in part.repairs[len(recording.repairs) :]:
        say(told)
    return part


def _write(recording: Recording, out: Path) -> None:
    from leo_runtime.recordings.mcap_writer import write_mcap
    from leo_runtime.recordings.writer import write_folder

    with _bar("writing", recording) as progress:
        if out.suffix.lower() == ".mcap":
            write_mcap(recording, out, progress)
        else:
            write_folder(recording, out, progress)
    say(f"written: {out}")


def _record(request: Request) -> int:
    import sys

    from leo_runtime.recordings.recorder import FORMATS, Pipe, open_port, record

    assert request.out is not None
    assert request.format is not None
    _require_written(request.out, ())
    stream = FORMATS[request.format].stream(
        name=request.stream,
        kind=request.kind,
        rate_hz=request.rate or 0,
        channels=request.channels,
        width_px=request.width,
        height_px=request.height,
    )
    if request.source is None and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError(
            "standard input is a terminal, not a pipe",
            hint="arecord -f S16_LE -r 16000 -c 1 | leo-runtime recording record --from-stdin ...",
        )
    with ExitStack() as opened:
        if request.source is None:
            pipe = opened.enter_context(Pipe(sys.stdin.fileno()))
        else:
            port = opened.enter_context(open_port(request.source))
            of_datagrams = request.source.startswith("udp:")
            pipe = opened.enter_context(Pipe(port.fileno(), request.source, of_datagrams=of_datagrams))
        done = record(pipe, stream, request.out, request.seconds)
    for told in done.told:
        say(told)
    if pipe.interrupted:
        say("interrupted: what came before is kept")
    say(f"written: {request.out} ({done.samples} samples, {done.samples / stream.rate_hz:.6g} s)")
    return DONE
