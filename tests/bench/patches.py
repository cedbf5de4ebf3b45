"""Patches by difficulty: what it is worth to know which patches of a frame are hard, as in MobiSR's comparison.

    python tests/bench/patches.py [--repeats N] [--plot FILE]

The frames are those of the recording `stills`: parts of two photographs on which no network was trained and no curve
fitted. Each of their 48 patches is enlarged by both shipped networks, with LiteRT, and its true error kept. Then, for
several floors of quality:

- *by difficulty*: `frame/patch_split.py` solves the split for this frame, by what the curves expect of the total
  variation of each patch;
- *unaware*: the fewest patches through the large network, taken in rows and in 50 random orders (of which the median
  counts), with which the frame has the same quality, which is looked up in the true errors, and the least makespan of
  so many on the same processors;
- *one processor*: as many as the random orders take, on the one that is fastest alone;
- *all large*: every patch through the large network, there.

So the split by difficulty is judged at the quality that it really had, and the unaware ones have no less. Times on the
phone are modelled: a patch's multiply-accumulates by what the phone's profile has for models, and before its first
patch a processor's wake-up, its links there and back and its launches. Here a patch is timed on one thread of the CPU,
both networks of float32, in turns (`--repeats`), and the least times, which others on the machine disturb least, are
added up. Exit status: 1 where the split by difficulty is not faster than the unaware ones in every case.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime import shipped
from leo_runtime.backend import Backend, Kernel, registry
from leo_runtime.demo import MODELS, RECORDINGS
from leo_runtime.demo.pictures import HELD_OUT
from leo_runtime.demo.train_pictures import TOGETHER
from leo_runtime.documents.hardware import Processor
from leo_runtime.frame.patch_split import HARD, Worker, least_makespan, split
from leo_runtime.operators.patches import ErrorCurves, few_enough, hardest_first
from leo_runtime.report.layout import table
from leo_runtime.testing import example

SHARES = (0.5, 0.7, 0.8, 0.9, 0.95)
"""Floors: how much of what the large network is expected to improve."""
ORDERS = 50
UNIT = 1_000_000_000
"""Errors are counted in billionths."""
MODEL = {"small": "enlarge_small_int8", "large": "enlarge_large"}


@dataclass(frozen=True)
class Frame:
    """What is known of a frame's patches."""

    name: str
    expected: tuple[np.ndarray, np.ndarray]
    """Errors through the small network and the large one, by the curves."""
    true: tuple[np.ndarray, np.ndarray]


class Enlarging:
    """The demo's stages on one backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.params = {stage.name: dict(stage.params) for stage in shipped.workload("patches").graphs[0].stages}

    def kernel(self, operator: str, inputs: Sequence[np.ndarray], **params: object) -> Kernel:
        """A stage, loaded."""
        return self.backend.load(example(operator, operator, inputs, **params).stage, "default")

    def run(self, operator: str, inputs: Sequence[np.ndarray], **params: object) -> np.ndarray:
        """What a stage gives."""
        return self.kernel(operator, inputs, **params)(tuple(inputs))

    def frame(self, name: str, image: np.ndarray, truth: np.ndarray) -> Frame:
        """A frame's patches, each through both networks."""
        difficulties = self.run("total_variation", [image], **self.params["difficulty"])
        curves = ErrorCurves.model_validate(self.params["needed"]["curves"], strict=False)
        groups = [
            self.run("patches", [image, difficulties], **{**self.params["patches 0"], "first": first})
            for first in range(0, len(difficulties), TOGETHER)
        ]
        true = []
        for model in MODEL.values():
            made = [self.run("model", [group], model=model_file(model)) for group in groups]
            large = self.run("stitch", [difficulties, *made], **self.params["enlarged"])
            true.append(errors(large[..., 0], truth, len(difficulties), self.params["enlarged"]["columns"]))
        return Frame(name, curves.errors(difficulties), (true[0], true[1]))

    def patch_us(self, repeats: int) -> dict[str, list[float]]:
        """What a patch takes on this machine, by network, so many times in turns."""
        inputs = (np.random.default_rng(1).random((1, TOGETHER * 32, 32, 1), np.float32),)
        kernels = {
            name: self.kernel("model", inputs, model=model_file(file))
            for name, file in {"small": "enlarge_small", "large": MODEL["large"]}.items()
        }
        found: dict[str, list[float]] = {name: [] for name in kernels}
        for _ in range(repeats):
            for name, kernel in kernels.items():
                begin = time.perf_counter()
                kernel(inputs)
                found[name].append((time.perf_counter() - begin) * 1e6 / TOGETHER)
        return found


def errors(image: np.ndarray, truth: np.ndarray, patches: int, columns: int) -> np.ndarray:
    """The mean square error of each patch, of values from 0 to 1, row by row; what is shown is whole levels of grey."""
    squares = ((np.round(image) - truth) / 255.0) ** 2
    height, width = squares.shape
    rows = patches // columns
    return squares.reshape(rows, height // rows, columns, width // columns).mean(axis=(1, 3)).reshape(-1)


def phone() -> tuple[Worker, ...]:
    """The processors of the phone of 2013, as its profile models them.

    The small network is int8 on all of them, and the DSP runs nothing else.
    """
    hardware, profile = shipped.hardware("snapdragon-800"), shipped.profile("snapdragon-800")
    found = []
    for processor in hardware.processors:
        ways = [link for link in hardware.links if {link.source, link.target} == {"cpu", processor.name}]
        start_us, times = sum(link.latency_us for link in ways), []
        if processor.name != "cpu":
            start_us += processor.wake_latency_us  # The CPU is awake, since it has the frame.
        # Patches of float32 there, four times as many values back.
        sent = [((4 if link.target == "cpu" else 1) * 32 * 32 * 4, link.bytes_per_s) for link in ways]
        sent_us = sum(-(-size * 1_000_000 // speed) for size, speed in sent if speed)
        for file in MODEL.values():
            stage = example(file, "model", [np.zeros((1, TOGETHER * 32, 32, 1))], model=model_file(file)).stage
            cost, work = profile.cost(stage, "default", processor.name), stage.work("default")
            times.append(None if cost is None else sent_us - (-work.macs * cost.ps_per_mac // TOGETHER // 1_000_000))
            start_us += 0 if cost is None else cost.fixed_us
        found.append(Worker(processor.name, times[0], times[1], start_us, processor.lanes))
    return tuple(found)


def model_file(name: str) -> Path:
    """The path of a shipped model."""
    return MODELS / f"{name}.tflite"


def least_us(count: int, patches: int, workers: Sequence[Worker]) -> int:
    """The least makespan with so many patches through the large network."""
    return least_makespan(np.arange(patches + 1) == count, workers).makespan_us


def alone_us(count: int, patches: int, workers: Sequence[Worker]) -> int:
    """The same on the one processor that is fastest alone."""
    return min(least_us(count, patches, [one]) for one in workers if one.hard_us is not None)


@dataclass(frozen=True)
class Compared:
    """One frame at one floor."""

    frame: str
    floor_db: float
    psnr_db: float
    """What the split by difficulty really has."""
    known: int
    """Patches of it through the large network."""
    in_rows: int
    at_random: tuple[int, ...]
    """Those that it takes unaware, of each order."""
    patches: int

    def row(self, workers: Sequence[Worker]) -> tuple[list[float], list[object]]:
        """How many times as fast it is as in rows, at random (the median), one processor and all large; and the row."""

        def us(count: int) -> int:
            return least_us(count, self.patches, workers)

        middle = statistics.median_low(self.at_random)
        others = [us(self.in_rows), us(middle), alone_us(middle, self.patches, workers)]
        ratios = [one / us(self.known) for one in (*others, alone_us(self.patches, self.patches, workers))]
        row = [self.frame, f"{self.floor_db:.2f}", f"{self.psnr_db:.2f}", self.known, self.in_rows, middle]
        return ratios, [*row, f"{us(self.known) / 1000:.1f}", *(f"{ratio:.2f}" for ratio in ratios)]


def compared(frame: Frame, share: float, workers: Sequence[Worker]) -> Compared:
    """A frame at the floor that is this share of what the large network is expected to improve."""
    easy, hard = frame.expected
    most = float(easy.mean() - share * (easy.mean() - hard.mean()))
    whole = [np.round(one * UNIT).astype(int).tolist() for one in frame.expected]
    found = split(*whole, int(most * len(easy) * UNIT) + len(easy), workers)
    small, large = frame.true
    got = float(np.where(np.array(found.networks) == HARD, large, small).mean())
    orders = [np.arange(len(easy)), *(np.random.default_rng(seed).permutation(len(easy)) for seed in range(ORDERS))]
    enough = [few_enough(small[order], large[order], got * len(easy) + 1e-12) for order in orders]
    fewest = [int(one.argmax()) if one.any() else len(easy) for one in enough]
    return Compared(frame.name, db(most), db(got), found.hard, fewest[0], tuple(fewest[1:]), len(easy))


def db(mean_square: float) -> float:
    """The peak signal-to-noise ratio of values from 0 to 1."""
    return float(-10 * np.log10(mean_square))


def plot(frames: Sequence[Frame], workers: Sequence[Worker], path: Path) -> None:
    """Quality by time of both ways, a figure for each frame."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(frames), figsize=(5 * len(frames), 3.6), layout="constrained")
    for axis, frame in zip(np.atleast_1d(axes), frames, strict=True):
        small, large = frame.true
        counts = range(len(small) + 1)
        times = [least_us(count, len(small), workers) / 1000 for count in counts]
        ways = {"by difficulty": hardest_first(np.subtract(*frame.expected)), "in rows": np.arange(len(small))}
        for name, order in ways.items():
            means = [(large[order[:count]].sum() + small[order[count:]].sum()) / len(small) for count in counts]
            axis.plot(times, [db(mean) for mean in means], label=name)
        axis.set(title=frame.name, xlabel="ms a frame, modelled", ylabel="PSNR, dB")
        axis.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, and print the tables."""
    parser = argparse.ArgumentParser(description="Patches by difficulty against a split that is unaware of it.")
    parser.add_argument("--repeats", type=int, default=30, help="timings of each network here (default: %(default)s)")
    parser.add_argument("--plot", type=Path, help="also draw quality by time to this file (extra `report`)")
    options = parser.parse_args(arguments)
    images = np.load(RECORDINGS / "stills" / "eye.npy").astype(np.float32)
    with np.load(RECORDINGS / "stills" / "truth.npz") as held:
        truths = held["large"]
    with closing(registry.create(Processor(name="cpu", backend="cpu"))) as backend:
        enlarging = Enlarging(backend)
        named = zip(HELD_OUT, images, truths, strict=True)
        frames = [enlarging.frame(name, image, truth) for name, image, truth in named]
        measured = enlarging.patch_us(options.repeats)
    print(qualities(frames))
    for name, times in measured.items():
        middle, low, high = statistics.median(times), min(times), max(times)
        print(f"{name}: {middle:.0f} us a patch here, median of {len(times)}, {low:.0f} to {high:.0f}")
    here = Worker("cpu", *(max(1, round(min(times))) for times in measured.values()))
    wins = True
    for name, workers in (("a phone of 2013, modelled", phone()), ("one thread here, measured", (here,))):
        text, faster = comparison(frames, workers)
        print(f"\n{name}\n\n{text}")
        wins &= faster
    if options.plot:
        plot(frames, phone(), options.plot)
    print(f"By difficulty is {'' if wins else 'NOT '}faster than unaware in every case.")
    return 0 if wins else 1


def qualities(frames: Sequence[Frame]) -> str:
    """What both networks are worth on these frames, and were expected to be."""
    rows = []
    for frame in frames:
        better = 100 * float(np.mean(frame.true[1] < frame.true[0]))
        rows.append([frame.name, *(f"{db(one.mean()):.2f}" for one in (*frame.true, *frame.expected)), f"{better:.0f}"])
    return table(("frame", "small, dB", "large, dB", "small, expected", "large, expected", "% better"), rows)


def comparison(frames: Sequence[Frame], workers: Sequence[Worker]) -> tuple[str, bool]:
    """The table of all frames and floors, and whether the split by difficulty was faster than the unaware ones."""
    header = ("frame", "floor, dB", "has, dB", "large", "rows", "random", "ms", "x rows", "x random", "x one", "x all")
    cases = [compared(frame, share, workers).row(workers) for frame in frames for share in SHARES]
    lines = [f"{worker.name}, {worker.lanes}: {worker.easy_us} and {worker.hard_us} us a patch" for worker in workers]
    lines += ["", table(header, [row for _, row in cases])]
    wins = True
    for number, against in enumerate(("unaware, in rows", "unaware, at random", "one processor", "one, all large")):
        ratios = [ratio[number] for ratio, _ in cases]
        lines.append(
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times as fast as {against}"
        )
        wins &= number > 1 or min(ratios) > 1
    return "\n".join([*lines, ""]), wins


if __name__ == "__main__":
    sys.exit(main())
