"""What every backend is held to: the CPU's answers, and manners. Part of `leo_runtime.testing`.

    from leo_runtime.testing import BackendContract

    class TestMine(BackendContract):
        def make_backend(self):
            return MyBackend(Processor(name="mine", backend="mine"))

pytest then runs every law below over every operator that the backend claims.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.backend import Backend, DeviceRun, Kernel, News, State, StatefulKernel, TimedKernel, registry
from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.errors import KernelError, MissingExtraError
from leo_runtime.operators import Shape, find_operator
from leo_runtime.operators.outputs import arrays_of, as_value, reals_of


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an output may be from the reference: `absolute`, plus `relative` times the reference's greatest value."""

    absolute: float = 1e-4
    relative: float = 1e-4

    def allows(self, output: np.ndarray, reference: np.ndarray) -> bool:
        """Whether every value is near enough."""
        return self.excess(output, reference) <= 0

    def excess(self, output: np.ndarray, reference: np.ndarray) -> float:
        """By how much the worst value is too far away; not above 0: by none."""
        allowed = self.absolute + self.relative * float(np.abs(reference).max(initial=0.0))
        return float(np.abs(output.astype(np.float64) - reference).max(initial=0.0)) - allowed


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A stage made ready, and inputs for it."""

    name: str
    stage: BoundStage
    inputs: tuple[np.ndarray, ...]


def examples(folder: Path) -> tuple[Example, ...]:
    """Stages of every built-in operator that needs nothing but numpy, on inputs like real ones and on extreme ones.

    Their model files are written to `folder`. Always the same values.
    """
    return tuple(_examples(folder))


def example(name: str, operator: str, inputs: Sequence[np.ndarray], **params: Any) -> Example:
    """A stage of an operator, bound to the shapes of these inputs."""
    found = find_operator(operator)
    checked = found.parameters.model_validate(params)
    shapes: tuple[Shape, ...] = tuple(array.shape for array in inputs)
    stage = BoundStage(
        name=name,
        operator=found,
        params={DEFAULT_VARIANT: checked},
        input_shapes=shapes,
        output_shape=found.output_shape(checked, shapes),
        accuracy_loss_ppm={DEFAULT_VARIANT: 0},
        several=() if found.outputs is None else found.outputs(checked, shapes),
    )
    return Example(name, stage, tuple(inputs))


class BackendContract:
    """The laws, as pytest runs them. Subclass it, and say how to make the backend."""

    tolerances: Mapping[str, Tolerance] = {}
    """By the name of an example, or of an operator; what is not named has `Tolerance()`."""

    def make_backend(self) -> Backend:
        """A new backend."""
        raise NotImplementedError

    def make_examples(self, folder: Path) -> tuple[Example, ...]:
        """The stages to try; add those of your own operators here."""
        return examples(folder)

    def test_it_claims_something(self, tmp_path: Path) -> None:
        """A backend that supports nothing passes every other law."""
        with closing(self.make_backend()) as backend:
            assert backend.name
            assert any(self._claims(backend, tried) for tried in self.make_examples(tmp_path)), (
                "it supports none of the examples; override make_examples with leo_runtime.testing.example(...)"
            )

    def test_it_agrees_with_the_reference(self, tmp_path: Path) -> None:
        """Each output is the CPU's, within the tolerance of its example or operator."""
        with closing(registry.create(Processor(name="reference", backend="cpu"))) as reference:
            for tried, kernel in self._kernels(tmp_path):
                output = _reals(tried, kernel(tried.inputs))
                expected = _reals(tried, reference.load(tried.stage, DEFAULT_VARIANT)(tried.inputs))
                tolerance = self.tolerances.get(tried.name, self.tolerances.get(tried.stage.operator.name, Tolerance()))
                excess = tolerance.excess(output, expected)
                assert excess <= 0, f"{tried.name}: {excess:g} further from the reference than {tolerance} allows"

    def test_outputs_are_float32_of_the_promised_shape(self, tmp_path: Path) -> None:
        """And finite, and inputs are left as they were. Those of models are of their own types."""
        for tried, kernel in self._kernels(tmp_path):
            before = [array.copy() for array in tried.inputs]
            output = kernel(tried.inputs)
            for one, promised in zip(arrays_of(as_value(output)), tried.stage.outputs, strict=True):
                assert one.dtype == promised.data_type, f"{tried.name} gives {one.dtype}"
                assert one.shape == promised.shape, f"{tried.name} gives the shape {one.shape}"
                assert np.isfinite(one).all(), f"{tried.name} gives a value that is not finite"
            for array, copy in zip(tried.inputs, before, strict=True):
                assert np.array_equal(array, copy), f"{tried.name} writes to its inputs"

    def test_a_run_leaves_no_trace(self, tmp_path: Path) -> None:
        """The same inputs give the same bytes, whatever ran between, and an output is not overwritten later."""
        for tried, kernel in self._kernels(tmp_path):
            first = as_value(kernel(tried.inputs))
            kept = first.copy()
            kernel([np.zeros_like(array) for array in tried.inputs])
            assert np.array_equal(first, kept), f"{tried.name} overwrites an output it gave before"
            assert as_value(kernel(tried.inputs)).tobytes() == kept.tobytes(), f"{tried.name} is not the same twice"

    def test_state_is_not_the_kernels(self, tmp_path: Path) -> None:
        """A run from one state is the same whatever ran between, and leaves that state as it is."""
        for tried, kernel in self._kernels(tmp_path):
            if not isinstance(kernel, StatefulKernel):
                continue
            name, news = tried.name, News(None, 0)
            first = kernel.step(tried.inputs, kernel.start(), news)
            assert np.array_equal(kernel(tried.inputs), first.output), f"{name} is not the same when called as a kernel"
            later = News(1, 1_000)
            left = _copied(first.state)
            second = kernel.step(tried.inputs, first.state, later)
            if second.spent:
                continue
            assert _is_same(first.state, left), f"{name} changes the state it is given, and does not say so"
            kernel.step([np.zeros_like(array) for array in tried.inputs], kernel.start(), news)
            again = kernel.step(tried.inputs, first.state, later)
            assert np.array_equal(again.output, second.output), f"{name} is not the same twice from one state"

    def test_any_thread_may_call(self, tmp_path: Path) -> None:
        """A kernel answers in the thread that loaded it, and the same in another."""
        for tried, kernel in self._kernels(tmp_path):
            answers: list[np.ndarray] = []

            def call(kernel: Kernel = kernel, tried: Example = tried, answers: list[np.ndarray] = answers) -> None:
                answers.append(kernel(tried.inputs))

            here = kernel(tried.inputs)
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
            assert answers, f"{tried.name} fails in another thread"
            assert np.array_equal(answers[0], here), f"{tried.name} answers differently in another thread"

    def test_kernels_of_one_backend_may_run_at_once(self, tmp_path: Path) -> None:
        """Each lane has a kernel of its own, and lanes do not wait for each other."""
        with closing(self.make_backend()) as backend:
            claimed = [tried for tried in self.make_examples(tmp_path) if self._claims(backend, tried)]
            alone = [backend.load(tried.stage, DEFAULT_VARIANT)(tried.inputs) for tried in claimed]
            together: dict[int, list[np.ndarray]] = {0: [], 1: []}

            def lane(number: int) -> None:
                for tried in claimed:
                    together[number].append(backend.load(tried.stage, DEFAULT_VARIANT)(tried.inputs))

            threads = [threading.Thread(target=lane, args=(number,)) for number in together]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for outputs in together.values():
                assert len(outputs) == len(alone), "a lane fails beside another"
                for tried, output, expected in zip(claimed, outputs, alone, strict=True):
                    assert np.array_equal(output, expected), f"{tried.name} answers differently beside another lane"

    def test_wrong_shapes_are_refused(self, tmp_path: Path) -> None:
        """With `KernelError`, and the kernel still works afterwards."""
        for tried, kernel in self._kernels(tmp_path):
            wrong = [np.zeros((*array.shape, 2), array.dtype) for array in tried.inputs]
            assert _raises(KernelError, kernel, wrong), f"{tried.name} takes inputs of the wrong shape"
            assert kernel(tried.inputs).shape == tried.stage.output_shape

    def test_what_it_does_not_claim_it_does_not_load(self, tmp_path: Path) -> None:
        """With `KernelError`, or `MissingExtraError` where a package is what it lacks."""
        with closing(self.make_backend()) as backend:
            for tried in (*self.make_examples(tmp_path), _unknown()):
                if not self._claims(backend, tried):
                    errors = (KernelError, MissingExtraError)
                    assert _raises(errors, backend.load, tried.stage, DEFAULT_VARIANT), f"it loads {tried.name}"

    def test_a_missing_model_file_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        """With `KernelError` on loading, not on the first run."""
        with closing(self.make_backend()) as backend:
            for tried in self.make_examples(tmp_path):
                params = tried.stage.params[DEFAULT_VARIANT]
                if not hasattr(params, "model") or not self._claims(backend, tried):
                    continue
                # Bound while it was there: some operators read the file to be bound.
                gone = type(params).model_validate({**dict(params), "model": tmp_path / "gone.npz"})
                lost = replace(tried.stage, params={DEFAULT_VARIANT: gone})
                try:
                    backend.load(lost, DEFAULT_VARIANT)
                except KernelError as error:
                    assert "gone.npz" in str(error), f"{tried.name}: the message does not name the file: {error}"
                else:
                    raise AssertionError(f"{tried.name} loads without its model file")

    def test_a_timed_kernel_gives_the_same_output(self, tmp_path: Path) -> None:
        """And a time that is not below 0, for kernels that know their device's time."""
        for tried, kernel in self._kernels(tmp_path):
            if not isinstance(kernel, TimedKernel):
                continue
            run = kernel.timed(tried.inputs)
            assert isinstance(run, DeviceRun)
            assert run.device_us >= 0, f"{tried.name} took {run.device_us} us"
            assert run.device_nj is None or run.device_nj >= 0, f"{tried.name} took {run.device_nj} nJ"
            assert np.array_equal(run.output, kernel(tried.inputs)), f"{tried.name} answers differently when timed"

    def test_closing_twice_is_fine(self) -> None:
        """Whoever closes last need not know who closed first."""
        backend = self.make_backend()
        backend.close()
        backend.close()

    def _claims(self, backend: Backend, tried: Example) -> bool:
        answer = backend.supports(tried.stage, DEFAULT_VARIANT)
        assert isinstance(answer, bool), f"`supports` answers {answer!r} for {tried.name}"
        return answer

    def _kernels(self, folder: Path) -> Iterator[tuple[Example, Kernel]]:
        backend = self.make_backend()
        try:
            for tried in self.make_examples(folder):
                if self._claims(backend, tried):
                    yield tried, backend.load(tried.stage, DEFAULT_VARIANT)
        finally:
            backend.close()


def _raises(errors: Any, function: Any, *arguments: Any) -> bool:
    try:
        function(*arguments)
    except errors:
        return True
    return False


def _reals(tried: Example, output: np.ndarray) -> np.ndarray:
    """What the arrays that a kernel gave stand for, one behind the other."""
    if not tried.stage.several:
        return output
    value = reals_of(as_value(output), tried.stage.several)
    return np.concatenate([array.reshape(-1) for array in arrays_of(value)])


def _unknown() -> Example:
    """A stage of an operator that no backend can know."""
    known = example("unknown", "fuse", [np.zeros(3, np.float32)])
    operator = find_operator("fuse")
    stranger = type(operator)(
        name="nobody-knows-this",
        summary="",
        parameters=operator.parameters,
        output_shape=operator.output_shape,
        work=operator.work,
    )
    stage = known.stage
    return Example(
        "unknown",
        BoundStage(stage.name, stranger, stage.params, stage.input_shapes, stage.output_shape, {DEFAULT_VARIANT: 0}),
        known.inputs,
    )


_SPHINX = {
    "frame_samples": 410,
    "window": "hamming",
    "preemphasis": 0.97,
    "scale": 32768.0,
    "bands": 25,
    "low_hz": 130.0,
    "high_hz": 6800.0,
    "round_to_bins": True,
    "unit_area": True,
    "floor": 1e-4,
    "lifter": 22,
    "normalise_mean": True,
    "deltas": True,
}


def _copied(state: State) -> State:
    arrays = isinstance(state, tuple) and all(isinstance(one, np.ndarray) for one in state)
    return tuple(one.copy() for one in state) if isinstance(state, tuple) and arrays else None


def _is_same(state: State, before: State) -> bool:
    """Whether arrays are as they were; of another state nobody can tell."""
    if not isinstance(before, tuple) or not isinstance(state, tuple):
        return True
    return all(np.array_equal(one, other) for one, other in zip(state, before, strict=True))


def _examples(folder: Path) -> Iterator[Example]:
    random = np.random.default_rng(20_240_229)
    sound = _voice(random)
    audio = (sound.astype(np.float32) / 32768).astype(np.float32)
    quiet, silence, loud = audio / 100, np.zeros_like(audio), np.sign(audio) * np.float32(32767 / 32768)
    motion = (random.normal(size=(100, 6)) * [3, 1, 0.1, 5, 10, 0.01] + [9.8, 0, 0, 1, 2, 3]).astype(np.float32)
    rows = (random.normal(size=(70, 26)) * 4 - 5).astype(np.float32)

    yield example("window of audio", "window", [sound], stream="mic", samples=len(sound))
    yield example("window of motion", "window", [motion], stream="wrist", samples=len(motion))
    for name, signal in (("voice", audio), ("quiet voice", quiet), ("silence", silence), ("loud noise", loud)):
        yield example(f"energy of {name}", "energy_gate", [signal], threshold_dbfs=-40.0)
        yield example(f"voice in {name}", "voice_gate", [signal], fraction=0.05)
    yield example("energy of motion", "energy_gate", [motion / 100], threshold_dbfs=-10.0)
    for name, signal in (("voice", audio), ("silence", silence), ("loud noise", loud)):
        yield example(f"log-mel of {name}", "log_mel", [signal])
        yield example(f"Sphinx features of {name}", "mfcc", [signal], **_SPHINX)
        yield example(f"log-mel of {name} like Whisper's", "log_mel", [signal[:4_000]], like="whisper")
        yield example(f"features of {name} like Kaldi's", "mfcc", [signal[:4_000]], like="kaldi", deltas=True)
        htk = {"like": "htk", "spectrum": "magnitude", "energy": "raw", "energy_at": "last"}
        yield example(f"features of {name} like HTK's", "mfcc", [signal[:4_000]], **htk)
    yield example("few bands", "log_mel", [audio[:700]], bands=13, fft_samples=1024, frame_samples=600, hop_samples=7)
    yield example("plain cepstra", "mfcc", [audio], cepstra=20)

    for name, average in (("averaged", True), ("of each row", False)):
        model = _mixtures(folder / "mixtures.npz", random, (5, 16, 13))
        params = {"classes": 5, "components": 16, "dimensions": 13, "first_column": 13, "average": average}
        yield example(f"mixtures {name}", "gmm", [rows], model=model, **params)
    one = _mixtures(folder / "one.npz", random, (1, 1, 26))
    yield example("one Gaussian", "gmm", [rows], classes=1, components=1, dimensions=26, model=one)

    for activation in ("relu", "sigmoid", "tanh", "linear"):
        model = _network(folder / f"{activation}.npz", random, (26, 33, 7), normalised=activation == "relu")
        for softmax in (False, True):
            shape = {"layers": (33, 7), "activation": activation, "softmax": softmax, "per_row": True}
            name = f"{activation} network{' with softmax' if softmax else ''}"
            yield example(name, "dense", [rows], model=model, **shape)
        yield example(f"averaged {activation} network", "dense", [rows], model=model, **{**shape, "average": True})
    whole = _network(folder / "whole.npz", random, (26 * 70, 16, 4), normalised=True)
    yield example("network on all rows", "dense", [rows], layers=(16, 4), softmax=True, model=whole)
    small = _network(folder / "small.npz", random, (26 * 70, 3), normalised=False)
    yield example("single layer", "dense", [rows], layers=(3,), model=small)

    edges = (0.1, 0.6, 2.0, 5.1)
    yield example("motion of six channels", "motion_features", [motion], sample_rate_hz=10, band_edges_hz=edges)
    yield example("motion of one channel", "motion_features", [motion[:77, 0]], sample_rate_hz=10, band_edges_hz=edges)
    still = np.full_like(motion, 9.8)
    yield example("no motion", "motion_features", [still], sample_rate_hz=10, band_edges_hz=edges)

    yield example("even vote", "fuse", [rows, rows[::-1].copy(), rows * 2])
    yield example("weighted vote", "fuse", [rows[0], rows[1]], weights=(0.9, -0.35))
    yield example("vote of one", "fuse", [rows])

    picture = random.integers(0, 256, (1, 23, 37, 3)).astype(np.float32)
    box = np.array([0.9, 0.4, 0.5, 0.7], np.float32)
    yield example("whole image", "crop", [picture], height_px=16, width_px=16, low=-1.0)
    yield example("part of an image", "crop", [picture, box], height_px=31, width_px=9)
    tiles, hard = picture[:, :16, :24], random.permutation(6).astype(np.float32)
    yield example("six patches", "total_variation", [tiles], patch_px=8)
    yield example("two patches of six", "patches", [tiles, hard], patch_px=8, halo_px=3, first=1, count=2)
    curves = {"difficulty": (0.0, 9.0), "easy": (0.0, 0.9), "hard": (0.0, 0.1)}
    yield example("four patches of six", "hard_patches", [hard], floor_db=10.0, curves=curves)
    for side in ("hard", "easy"):
        yield example(f"gate of {side} patches", "patch_gate", [hard[:1]], first=3, opens=side)
    yield example(
        "six patches together", "stitch", [hard, *[tiles.reshape(1, 24, 8, 6) / 255] * 2], columns=6, patch_px=8
    )
    boxes = (random.normal(size=(1, 44, 16)) * 20).astype(np.float32)
    scores = (random.normal(size=(1, 44, 1)) * 3).astype(np.float32)
    for name, threshold in (("sure", 0.5), ("never sure", 2.0)):
        yield example(f"detector that is {name}", "score_gate", [boxes, scores], array=1, threshold=threshold)
    grids = ({"cells": 4, "anchors": 2}, {"cells": 2, "anchors": 3})
    yield example("best of anchors", "anchor_box", [boxes, scores], size_px=32.0, grids=grids, scale=1.5, aspect=1.6)
    marks = random.uniform(0, 64, (1, 60)).astype(np.float32)
    yield example("box of landmarks", "landmark_box", [marks, scores, box], points=(3, 17, 5), size_px=64.0, scale=2.0)


def _voice(random: np.random.Generator) -> np.ndarray:
    """A second of something voiced: a gliding pulse train with two formants, a pause, and noise beneath."""
    time = np.arange(16_000) / 16_000
    pitch = np.cumsum(110 + 40 * np.sin(2 * np.pi * 1.3 * time)) / 16_000
    harmonics = range(1, 30)
    strength = [
        np.exp(-(((110 * n - 600) / 300) ** 2)) + 0.4 * np.exp(-(((110 * n - 1900) / 400) ** 2)) for n in harmonics
    ]
    voice = sum(s * np.sin(2 * np.pi * n * pitch + n) for n, s in zip(harmonics, strength, strict=True))
    voice = voice * (np.sin(2 * np.pi * 1.7 * time) > -0.4)
    signal = 2500 * voice + 12 * random.normal(size=len(time))
    return np.asarray(np.clip(np.rint(signal), -32768, 32767), np.int16)


def _mixtures(path: Path, random: np.random.Generator, shape: tuple[int, int, int]) -> Path:
    np.savez(
        path,
        means=(random.normal(size=shape) * 4 - 5).astype(np.float32),
        variances=random.uniform(0.5, 20, shape).astype(np.float32),
        log_weights=np.log(random.dirichlet(np.ones(shape[1]), shape[0])).astype(np.float32),
    )
    return path


def _network(path: Path, random: np.random.Generator, sizes: tuple[int, ...], *, normalised: bool) -> Path:
    arrays: dict[str, np.ndarray] = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        arrays[f"weights_{i}"] = random.normal(size=(inputs, outputs)) / np.sqrt(inputs)
        arrays[f"bias_{i}"] = random.normal(size=outputs) / 2
    if normalised:
        arrays["mean"] = random.normal(size=sizes[0]) - 5
        arrays["scale"] = random.uniform(2, 6, sizes[0])
    floats = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez(path, **floats)  # type: ignore[arg-type]  # numpy's stub takes every keyword for its own `allow_pickle`
    return path
