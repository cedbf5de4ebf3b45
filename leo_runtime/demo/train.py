"""Train the demo's models again, and say what they are worth: `python -m leo_runtime.demo.train CACHE`.

CACHE is the folder that `python -m leo_runtime.demo.fetch CACHE --only-download` fills. Features are computed by the
workload's own stages on the CPU backend. What is held out (`sources`) is not looked at before the scores at the end,
which go to `models/accuracy.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.backend import Backend, registry
from leo_runtime.demo import MODELS, WORKLOAD, sources
from leo_runtime.demo.features import MOTION_HOP, MOTION_WINDOW, WINDOW, Pipeline, clips, levelled, windows
from leo_runtime.demo.learning import Mixture, Network, adapt_means, fit_mixture, fit_network, responsibilities
from leo_runtime.demo.score import score
from leo_runtime.demo.sources import ACTIVITIES, RATE_HZ, SCENES, Clip
from leo_runtime.documents.hardware import Processor
from leo_runtime.documents.workload import Workload

COMPONENTS = 128


def sample(recordings: Sequence[Clip], count: int, seed: int, *, gain_db: float = 0.0) -> list[np.ndarray]:
    """So many windows, drawn from all over the recordings; each at a level of its own, up to `gain_db` off."""
    rng = np.random.default_rng(seed)
    lengths = np.array([max(len(clip.samples), WINDOW) for clip in recordings], np.float64)
    chosen = []
    for number in rng.choice(len(recordings), count, p=lengths / lengths.sum()):
        clip = recordings[number]
        spare = len(clip.samples) - WINDOW
        start = int(rng.integers(spare + 1)) if spare > 0 else 0
        part = clip.samples[start : start + WINDOW] if spare > 0 else np.resize(clip.samples, WINDOW)
        chosen.append(
            levelled(
                Clip(clip.name, clip.label, part),
                int(rng.integers(2**31)),
                gain_db=float(rng.uniform(-gain_db, gain_db)),
            )
        )
    return chosen


def phone_mixtures(cache: Path) -> list[dict[str, np.ndarray]]:
    """The mixtures of an acoustic model's 42 phones, for each of its three streams of 13 features.

    The files are Sphinx's: `means` and `variances` (phones, streams, components, 13), floats after a text header;
    `sendump` holds the components' weights of every senone, -ln(w) in units of 1024 ln(1.0001), a byte each. A phone's
    weights are the mean over its three states (senones 3p to 3p + 2), for there is no search through states here.
    """
    folder = next((cache / "pocketsphinx").rglob("en-us/en-us"))
    means, variances = (_sphinx_floats(folder / name) for name in ("means", "variances"))
    raw = (folder / "sendump").read_bytes()
    components, senones = COMPONENTS, 5126
    codes = np.frombuffer(raw, np.uint8)[-3 * components * senones :].reshape(3, components, senones)
    weights = np.exp(-1024 * np.log(1.0001) * codes[:, :, : 3 * len(means)].astype(np.float64))
    weights = weights.reshape(3, components, len(means), 3).mean(axis=3).transpose(0, 2, 1)
    weights /= weights.sum(axis=2, keepdims=True)
    return [
        {
            "means": means[:, stream],
            "variances": np.maximum(variances[:, stream], 1e-4),
            "log_weights": np.log(weights[stream]).astype(np.float32),
        }
        for stream in range(3)
    ]


def _sphinx_floats(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    body = raw[raw.index(b"endhdr\n") + 7 :]
    phones, streams, components, *rest = np.frombuffer(body[4:], "<i4", 3 + 3 + 1)
    lengths, count = rest[:3], rest[3]
    assert streams == 3 and set(map(int, lengths)) == {13} and components == COMPONENTS
    return np.frombuffer(body[4 * 8 :], "<f4", count).reshape(phones, streams, components, 13)


def train_speech(pipeline: Pipeline, heard: Mapping[str, Sequence[Clip]], seed: int) -> Network:
    """Tell speech from anything else by the scores of the phones."""
    rows, classes = [], []
    for number, kind in enumerate(("speech", "other")):
        for window in sample(heard[kind], 240, seed + number, gain_db=6.0):
            rows.append(pipeline.run(window, "phones")[::2])
            classes.append(np.full(len(rows[-1]), number))
    return fit_network(np.concatenate(rows), np.concatenate(classes), (32,), epochs=6, seed=seed)


def train_speaker(
    pipeline: Pipeline, voices: Mapping[str, Sequence[Clip]], seed: int
) -> tuple[dict[str, np.ndarray], Network, Network]:
    """The mixtures of the speakers, what makes probabilities of their scores, and a network."""
    frames: dict[str, list[np.ndarray]] = {}
    evidence: dict[str, np.ndarray] = {}
    trial: dict[str, list[np.ndarray]] = {}
    for number, (speaker, spoken) in enumerate(voices.items()):
        # The last fifth of the recordings sets how sure scores are; there are too few of the LibriVox reader's.
        cut = len(spoken) * 4 // 5 if len(spoken) > 5 else len(spoken)
        frames[speaker] = [pipeline.run(w, "mfcc") for w in sample(spoken[:cut], 120, seed + number)]
        # A frame that is drawn twice is no evidence twice.
        seconds = sum(len(clip.samples) for clip in spoken[:cut]) // RATE_HZ
        evidence[speaker] = np.concatenate(frames[speaker][: seconds // 2])
        if cut < len(spoken):
            trial[speaker] = [pipeline.run(w, "mfcc") for w in sample(spoken[cut:], 40, seed + 100 + number)]
    everyone = np.concatenate([rows for windows in frames.values() for rows in windows])[::4]
    world = fit_mixture(everyone, COMPONENTS, iterations=20, seed=seed)
    mixtures = [adapt_means(world, rows) for rows in evidence.values()]
    model = {
        "means": np.stack([m.means for m in mixtures]).astype(np.float32),
        "variances": np.stack([m.variances for m in mixtures]).astype(np.float32),
        "log_weights": np.stack([m.log_weights for m in mixtures]).astype(np.float32),
    }
    scores = [(list(voices).index(s), _scores(mixtures, rows)) for s, windows in trial.items() for rows in windows]
    sharpness = max((0.5 * 2**i for i in range(8)), key=lambda factor: _likelihood(scores, factor))
    calibration = _calibration(np.stack([score for _right, score in scores]), sharpness)
    rows = np.concatenate([rows for windows in frames.values() for rows in windows])
    classes = np.concatenate([np.full(sum(map(len, some)), number) for number, some in enumerate(frames.values())])
    return model, calibration, fit_network(rows, classes, (256, 256, 256), epochs=5, seed=seed)


def _scores(mixtures: Sequence[Mixture], rows: np.ndarray) -> np.ndarray:
    return np.array([responsibilities(mixture, rows)[1] for mixture in mixtures])


def _calibration(scores: np.ndarray, sharpness: float) -> Network:
    """A layer that gives softmax `sharpness` times each score's distance from the mean of all.

    Scores lie close together and far from zero. They are brought near it first, where 16 bits tell them apart.
    """
    count = scores.shape[1]
    mean, scale = np.full(count, scores.mean()), np.full(count, scores.std())
    distances = np.eye(count) - 1 / count
    return Network((distances * sharpness * scores.std(),), (np.zeros(count),), mean, scale)


def _likelihood(scores: Sequence[tuple[int, np.ndarray]], factor: float) -> float:
    logs = [factor * s[right] - np.log(np.exp(factor * (s - s.max())).sum()) - factor * s.max() for right, s in scores]
    return float(np.mean(logs))


def train_scene(pipeline: Pipeline, heard: Mapping[str, Sequence[Clip]], seed: int) -> Network:
    """Tell speech, music and noise apart."""
    rows, classes = [], []
    for number, kind in enumerate(SCENES):
        for window in sample(heard[kind], 240, seed + number, gain_db=10.0):
            rows.append(pipeline.run(window, "log_mel")[::2])
            classes.append(np.full(len(rows[-1]), number))
    return fit_network(np.concatenate(rows), np.concatenate(classes), (256, 256, 256), epochs=6, seed=seed)


def train_activity(pipeline: Pipeline, cache: Path, seed: int) -> Network:
    """Tell what the wearer of the watch does."""
    rows, classes = [], []
    for _name, activity, samples in sources.motions(cache, held_out=False):
        for window in windows(samples, MOTION_WINDOW, MOTION_HOP // 2):
            rows.append(pipeline.run(window, "motion_features").ravel())
            classes.append(ACTIVITIES.index(activity))
    return fit_network(np.stack(rows), np.array(classes), (32, 32), epochs=60, seed=seed, decay=1e-2, batch=32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, save, score."""
    parser = argparse.ArgumentParser(
        "python -m leo_runtime.demo.train", description="Train the demo's models again.", allow_abbrev=False
    )
    parser.add_argument("cache", type=Path, help="folder for the packages, as of leo_runtime.demo.fetch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only-score", action="store_true", help="leave the models as they are")
    options = parser.parse_args(arguments)
    sources.download(options.cache)
    workload = Workload.from_file(WORKLOAD)
    cpu = registry.create(Processor(name="cpu", backend="cpu"))
    try:
        if not options.only_score:
            train(workload, options.cache, cpu, options.seed)
        scores = score(workload, options.cache, cpu)
    finally:
        cpu.close()
    (MODELS / "accuracy.json").write_text(json.dumps({"seed": options.seed, **scores}, indent=1) + "\n")
    for name, result in scores.items():
        print(f"{name}: {json.dumps(result)}")


def train(workload: Workload, cache: Path, backend: Backend, seed: int) -> None:
    """Train and save every model that is ours, and bring the phones' mixtures into their form."""
    voices, heard = clips(cache, held_out=False)
    others = _even(heard)
    for stream, phones in enumerate(phone_mixtures(cache)):
        _save(f"phones_{stream}", phones)
    speech = {"speech": heard["speech"], "other": others}
    _save("speech_dense", train_speech(Pipeline(workload, "speech", backend), speech, seed).arrays())
    speakers = {**voices, "nobody": others}
    mixtures, calibration, network = train_speaker(Pipeline(workload, "speaker", backend), speakers, seed)
    _save("speaker_gmm", mixtures)
    _save("speaker_gmm_scores", calibration.arrays())
    _save("speaker_dense", network.arrays())
    _save("scene_dense", train_scene(Pipeline(workload, "scene", backend), heard, seed).arrays())
    _save("activity_dense", train_activity(Pipeline(workload, "activity", backend), cache, seed).arrays())


def _even(heard: Mapping[str, Sequence[Clip]]) -> list[Clip]:
    """Music cut into pieces as short as the noises, as many of each: neither outweighs the other."""
    noises = list(heard["noise"])
    pieces = []
    for number in range(len(noises)):
        track = heard["music"][number % len(heard["music"])]
        start = (number * 7919 * RATE_HZ // 1000) % (len(track.samples) - 4 * RATE_HZ)
        pieces.append(Clip(track.name, "music", track.samples[start : start + 4 * RATE_HZ]))
    return [clip for pair in zip(noises, pieces, strict=True) for clip in pair]


def _save(name: str, arrays: Mapping[str, Any]) -> None:
    np.savez(MODELS / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
