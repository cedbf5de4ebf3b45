"""What the demo's models are worth on what they were not trained on: by window, and on the shipped recordings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leo_runtime.backend import Backend
from leo_runtime.demo import RECORDINGS, sources
from leo_runtime.demo.features import MOTION_HOP, MOTION_WINDOW, VOICES, WINDOW, Pipeline, clips, levelled, windows
from leo_runtime.demo.fetch import WAKE_WORD, synthesise
from leo_runtime.demo.sources import ACTIVITIES, RATE_HZ, SCENES, SPEAKERS, Clip
from leo_runtime.documents.workload import Workload
from leo_runtime.recordings.recording import Recording
from leo_runtime.values import lasting_us, samples_within

FLITE_VOICES = ("rms", "slt", "awb", "kal16")


def score(workload: Workload, cache: Path, backend: Backend) -> dict[str, Any]:
    """Every model's accuracy and confusions on held-out recordings, as `models/accuracy.json` holds them."""
    voices, heard = clips(cache, held_out=True)
    spanish = {"allison": spread(sources.prompts(cache, "allison", held_out=True, language="es"), 120)}
    others = [*spread(heard["music"], 60), *spread(heard["noise"], 60)]
    scenes = {kind: spread(some, 200) for kind, some in heard.items()}
    speakers = {**{speaker: spread(some, 120) for speaker, some in voices.items()}, "nobody": others}
    motions: dict[str, list[np.ndarray]] = {activity: [] for activity in ACTIVITIES}
    for _name, activity, samples in sources.motions(cache, held_out=True):
        motions[activity] += windows(samples, MOTION_WINDOW, MOTION_HOP)

    speech = Pipeline(workload, "speech", backend)
    speaker = Pipeline(workload, "speaker", backend)
    return {
        "wake_word": wake_word(workload, cache, backend),
        "speech": by_window(speech, "spoken", ("speech", "other"), {"speech": scenes["speech"], "other": others}),
        **{f"speaker.{stage}": by_window(speaker, stage, VOICES, speakers) for stage in ("likely", "network", "who")},
        "speaker.who, in a language not trained on": by_window(speaker, "who", VOICES, spanish),
        "scene": by_window(Pipeline(workload, "scene", backend), "heard", SCENES, scenes),
        "activity": by_window(Pipeline(workload, "activity", backend), "doing", ACTIVITIES, motions),
        "recordings": on_recordings(workload, backend),
    }


def spread(some: Iterable[Clip], most: int) -> list[np.ndarray]:
    """Windows of held-out clips a second apart: at most so many, evenly chosen."""
    every = [w for n, clip in enumerate(some) for w in windows(levelled(clip, n), WINDOW, RATE_HZ)]
    if len(every) <= most:
        return every
    return [every[i] for i in np.linspace(0, len(every) - 1, most).astype(int)]


def by_window(
    pipeline: Pipeline, stage: str, labels: Sequence[str], tests: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, Any]:
    """How often the greatest output of `stage` is the right label, and which it is instead, in the labels' order."""
    confusion = {}
    for label, some in tests.items():
        answers = [int(np.argmax(pipeline.run(window, stage))) for window in some]
        confusion[label] = [answers.count(number) for number in range(len(labels))]
    right = sum(row[labels.index(label)] for label, row in confusion.items())
    count = sum(map(sum, confusion.values()))
    return {"accuracy": round(right / count, 4), "n": count, "labels": list(labels), "confusion": confusion}


def wake_word(workload: Workload, cache: Path, backend: Backend) -> dict[str, Any]:
    """The wake-word model on windows, as the demo runs it, and on whole recordings in one go, as it was meant.

    Said: synthetic voices, each at three paces and two pitches, over noise 20 dB below. Not said: held-out prompts.
    """
    pipeline = Pipeline(workload, "wake_word", backend)
    variants = [(voice, pace, pitch) for voice in FLITE_VOICES for pace in (0.85, 1.0, 1.2) for pitch in (90, 140)]
    said = {
        f"{voice} x{pace:g} {pitch} Hz": _woken(pipeline, workload, _said(voice, pace, pitch, number), backend)
        for number, (voice, pace, pitch) in enumerate(variants)
    }
    prompts = [clip for speaker in SPEAKERS for clip in sources.prompts(cache, speaker, held_out=True)]
    unsaid = [_woken(pipeline, workload, levelled(clip, number), backend) for number, clip in enumerate(prompts)]
    return {
        "what": "okay_nabu.tflite, not trained here; wake words are synthetic (flite), the rest real held-out speech",
        "said": len(said),
        "detected_in_windows": sum(window for window, _stream in said.values()),
        "detected_streaming": sum(stream for _window, stream in said.values()),
        "missed_in_windows": [name for name, (window, _stream) in said.items() if not window],
        "recordings_without_it": len(unsaid),
        "seconds_without_it": round(sum(len(clip.samples) for clip in prompts) / RATE_HZ),
        "false_alarms_in_windows": sum(window for window, _stream in unsaid),
        "false_alarms_streaming": sum(stream for _window, stream in unsaid),
        "both_agree": round(float(np.mean([window == stream for window, stream in [*said.values(), *unsaid]])), 4),
    }


def _said(voice: str, pace: float, pitch: int, seed: int) -> np.ndarray:
    words = synthesise(WAKE_WORD, voice, settings={"duration_stretch": pace, "int_f0_target_mean": pitch}).samples
    silence = np.zeros(3 * RATE_HZ // 2, np.int16)
    sound = levelled(Clip("wake word", "speech", np.concatenate([silence, words, silence])), seed).astype(np.float64)
    noise = np.random.default_rng(seed).normal(0, np.std(sound) / 10, len(sound))
    return np.clip(sound + noise, -32768, 32767).astype(np.int16)


def _woken(pipeline: Pipeline, workload: Workload, sound: np.ndarray, backend: Backend) -> tuple[bool, bool]:
    """Whether it wakes for any window of two seconds, twice a second; and whether in one go."""
    padded = np.concatenate([np.zeros(WINDOW - RATE_HZ // 2, np.int16), sound])
    pipeline.start_anew()
    hop = RATE_HZ // 2
    told = [
        pipeline.decide(window, WINDOW + number * hop)[0] for number, window in enumerate(windows(padded, WINDOW, hop))
    ]
    in_windows = any(label is not None for label in told)
    whole = json.loads(workload.to_json())
    whole["graphs"] = [graph for graph in whole["graphs"] if graph["name"] == "wake_word"]
    next(s for s in whole["graphs"][0]["stages"] if s["name"] == "sound")["params"]["samples"] = len(sound)
    stream = Pipeline(Workload.from_dict(whole), "wake_word", backend)
    return in_windows, bool(stream.run(sound, "score")[0] >= whole["graphs"][0]["decision"]["threshold"])


def on_recordings(workload: Workload, backend: Backend) -> dict[str, Any]:
    """Every graph's decisions on the shipped recordings, gates and thresholds included, frame by frame."""
    found: dict[str, Any] = {}
    for folder in sorted(RECORDINGS.iterdir()):
        recording = Recording.from_file(folder)
        graphs = (graph.name for graph in workload.graphs)
        found[folder.name] = {name: on_recording(workload, name, recording, backend) for name in graphs}
    return found


def on_recording(workload: Workload, graph_name: str, recording: Recording, backend: Backend) -> dict[str, Any]:
    """One graph's decisions on one recording.

    A frame is `inside` where its window lies wholly inside one labelled interval of the graph's labels, and `outside`
    where it touches none. The wake word is `detected` when any frame that ends within a window's length of it woke.
    """
    pipeline = Pipeline(workload, graph_name, backend)
    decision = pipeline.graph.decision
    assert decision is not None
    source = pipeline.graph.stages[0].params
    stream = workload.stream(source["stream"])
    length_us = lasting_us(stream.rate_hz, source["samples"])
    known = [x for x in recording.manifest.labels if x.stream in (stream.name, None) and x.label in decision.labels]
    ends_us = [at_us for at_us in pipeline.graph.releases_us(recording.duration_us) if at_us]
    told = {
        end: pipeline.decide(
            recording.window(stream.name, end, source["samples"]), samples_within(stream.rate_hz, end)
        )[0]
        for end in ends_us
    }
    near = {end: [x for x in known if x.start_us < end < x.end_us + length_us] for end in ends_us}
    if len(decision.labels) == 1:
        woke = [end for end in ends_us if told[end]]
        return {
            "said": len(known),
            "detected": sum(any(x in near[end] for end in woke) for x in known),
            "false_alarms_us": [end for end in woke if not near[end]],
        }
    inside = {end: x.label for end in ends_us for x in near[end] if x.start_us <= end - length_us and end <= x.end_us}
    outside = [end for end in ends_us if not near[end]]
    right = sum(told[end] == label for end, label in inside.items())
    missed = sum(told[end] is None for end in inside)
    return {
        "inside": len(inside),
        "right": right,
        "wrong": len(inside) - right - missed,
        "missed": missed,
        "outside": len(outside),
        "false_alarms": sum(told[end] is not None for end in outside),
    }
