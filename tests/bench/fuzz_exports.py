"""Damaged exports of loggers: each is read, or refused in words with its place; nothing crashes, and memory is bounded.

    python tests/bench/fuzz_exports.py [FILES] [SEED]

So many files of each form. A third have bytes changed, left out or doubled; a third have numbers, words and lines
changed, which stays text; the rest, of those that come as a zip, are zips with bytes changed.
"""

import re
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

import exports
from leo_runtime.errors import InputError
from leo_runtime.recordings.exports import open_export
from leo_runtime.recordings.recording import RecordedStream, Recording, read_stream

MOST_BYTES = 60_000_000
"""At once, of numpy and Python: the whole exports hold up to 0.4 MB."""
NUMBERS = ("0", "-1", "1e308", "1e-308", "nan", "inf", "-inf", "9" * 18, "9" * 19, "-" + "9" * 19, "1e5", "0.5", "",
           "west", "\0", "1_0", "\uff11")  # fmt: skip
MANIFEST = 'format = "leo-recording/1"\nname = "r"\nlicence = "none"\nsource = "made"\n'


def forms() -> dict[str, tuple[str, Mapping[str, bytes]]]:
    """Of each logger: what the file is called, and the files in it; alone where that is the same."""
    import importlib.util

    found: dict[str, tuple[str, Mapping[str, bytes]]] = {
        "sensor-logger": ("phone.zip", exports.sensor_logger("ios")),
        "sensor-logger-json": ("phone.json", {"phone.json": exports.sensor_logger_json()}),
        "phyphox": ("phone.zip", exports.phyphox("semicolon-comma")),
        "physics-toolbox": ("phone.csv", {"phone.csv": exports.physics_toolbox(clock=True)}),
        "polar": ("chest.zip", exports.polar()),
        "empatica-e4": ("wrist.zip", exports.empatica()),
        "uci-har": ("har.zip", exports.uci_har()),
        "ts": ("walks.ts", {"walks.ts": exports.ts()}),
        "wisdm": ("wisdm.txt", {"wisdm.txt": exports.wisdm()}),
        "labels": ("labels.csv", {"labels.csv": b"start,end,label\n1,2.5,walking\n4,5,still\n"}),
        "audacity": ("labels.txt", {"labels.txt": b"1.0\t2.5\twalking\n\\\t1.0\t2.0\n4.0\t5.0\tstill\n"}),
        "events": ("beats.csv", {"beats.csv": b"time_s,bpm\n0.5,61\n1.25,60\n9,62\n"}),
    }
    if importlib.util.find_spec("edfio") is not None:
        found["edf"] = ("night.edf", {"night.edf": exports.edf()})
    return found


def damage_bytes(rng: Random, raw: bytes) -> bytes:
    """Change, leave out or double some bytes, or cut the file."""
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(changed)) if changed else 0
        match rng.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[at : at + rng.randint(1, 40)]
            case 2:
                changed[at:at] = changed[at : at + rng.randint(1, 40)]
            case 3:
                changed[at : at + rng.randint(1, 8)] = b"\0" * rng.randint(1, 8)
            case 4 if rng.randrange(4) == 0:
                del changed[at:]
    return bytes(changed)


def damage_text(rng: Random, raw: bytes) -> bytes:
    """Other numbers and words in some places, lines left out, doubled or exchanged."""
    lines = raw.decode("latin-1").split("\n")
    for _ in range(rng.choice((1, 1, 3, 10))):
        # The first lines say what the others are.
        at = rng.randrange(min(4, len(lines))) if rng.randrange(3) == 0 else rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                del lines[at : at + rng.randint(1, 3)]
                lines = lines or [""]
            case 1:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                places = [found.span() for found in re.finditer(r"[^,;:\t\" ]+", lines[at])] or [(0, 0)]
                start, end = rng.choice(places)
                lines[at] = lines[at][:start] + rng.choice(NUMBERS) + lines[at][end:]
    return "\n".join(lines).encode("utf-8", "replace")


def attempt(seed: int, name: str, files: Mapping[str, bytes], folder: Path) -> str:
    """What became of one damaged export. Raises on anything that should not happen."""
    rng = Random(seed)
    changed = dict(files)
    which = rng.choice(sorted(changed))
    kind = rng.randrange(3)
    if kind < 2:
        changed[which] = (damage_bytes if kind == 0 else damage_text)(rng, changed[which])
    if name in changed:
        raw = damage_bytes(rng, changed[name]) if kind == 2 else changed[name]
    else:
        raw = damage_bytes(rng, exports.as_zip(changed)) if kind == 2 else exports.as_zip(changed)
    path = folder / name
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        return opened(path)
    except InputError as error:
        assert str(error) and "\n" not in str(error), error
        return "refused"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES, f"{peak} bytes at once"


def opened(path: Path) -> str:
    """Open what it is, and hold what was read to what a recording is."""
    wrist = '{ name = "wrist", kind = "motion", file = "wrist.csv", rate_hz = 100 }'
    if path.stem == "labels":
        (path.parent / "wrist.csv").write_bytes(exports.text("time_us,x", ((k * 10_000, k) for k in range(1000))))
        manifest = f'{MANIFEST}streams = [{wrist}]\nlabel_files = [{{ file = "{path.name}" }}]\n'
        (path.parent / "recording.toml").write_text(manifest)
        recording = Recording.from_file(path.parent)
    elif path.suffix == ".ts":
        stream = RecordedStream(name="s", kind="motion", file=path.name, rate_hz=50, channels=2)
        assert np.isfinite(np.asarray(read_stream(path, stream).samples)).all()
        return "read"
    elif path.stem == "beats":
        stream = RecordedStream(name="s", kind="events", file=path.name)
        assert np.isfinite(np.asarray(read_stream(path, stream).samples)).all()
        return "read"
    else:
        recording = open_export(path)
    for stream in recording.manifest.streams:
        samples = np.asarray(recording.samples[stream.name])
        assert np.isfinite(samples).all() and samples.dtype == np.float32
        assert np.isfinite(recording.window(stream.name, recording.duration_us, 10)).all()
    return "mended" if recording.repairs else "read"


def fuzz(form: str, count: int, first: int, folder: Path, tell: Callable[[str], None] = print) -> int:
    """So many damaged files of a form. How many failed."""
    name, files = forms()[form]
    outcomes: Counter[str] = Counter()
    failed = 0
    for seed in range(first, first + count):
        try:
            outcomes[attempt(seed, name, files, folder)] += 1
        except Exception as error:
            failed += 1
            tell(f"FAILED {form} at seed {seed}: {type(error).__name__}: {str(error)[:300]}")
    tell(f"{form}: {count} files, {failed} failures: {dict(sorted(outcomes.items()))}")
    return failed


def main() -> int:
    count, first = (int(text) for text in (sys.argv[1:3] + ["1000", "0"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        return 1 if sum([fuzz(form, count, first, Path(folder)) for form in forms()]) else 0


if __name__ == "__main__":
    sys.exit(main())
