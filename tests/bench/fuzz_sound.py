"""Damaged files of sound: each is read, or refused with its name and a way out; nothing crashes or runs away.

    python tests/bench/fuzz_sound.py [FILES] [SEED]

So many of every format: bytes changed, dropped, repeated or inserted, stretches zeroed, the end cut off. What can be
read is finite, and gives the same samples when it is decoded once more. Every batch runs in a process of its own with
bounded memory and time, so that a crash of a decoder would be seen.
"""

import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
import batches

import sounds
from leo_runtime.errors import RecordingError
from leo_runtime.recordings import samples as module
from leo_runtime.recordings.recording import read_stream

MOST_BYTES = 2 << 30
"""Of address space, which libraries take some of."""
MOST_S = 300
"""For a batch."""
LONGEST_S = 3600
"""More sound than that does not come of a file of two seconds."""


def outcome(path: Path, channels: int) -> str:
    """Reads a file twice; how it went."""
    stream = sounds.stream(path.name, channels=channels, resample=find_spec("soxr") is not None)
    try:
        found = read_stream(path, stream)
        length = len(found.samples)
        assert 0 < length <= LONGEST_S * sounds.RATE_HZ, length
        assert np.array_equal(np.asarray(found.samples), np.asarray(found.samples)), "it changes"
        last = found.samples[max(0, length - 1000) :]
        assert np.array_equal(last, np.asarray(found.samples)[max(0, length - 1000) :]), "its end changes"
    except RecordingError as error:
        assert str(path) in str(error), error
        return "refused"
    return "read, and told" if found.repairs else "read"


def batch(form: str, count: int, seed: int) -> None:
    """So many damaged files of one format, in this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    module.IN_MEMORY_BYTES = 20_000  # So that both ways are gone.
    rng = Random(seed)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"mic.{form}"
        wholes = {}
        write: Callable[[Path, np.ndarray], Path] = sounds.WRITERS[form]
        for channels in (1, 2):
            wholes[channels] = write(path, sounds.tone_and_clicks(2, channels)).read_bytes()
        found: Counter[str] = Counter()
        for number in range(count):
            channels = rng.choice((1, 2))
            raw = sounds.damaged(rng, wholes[channels])
            path.write_bytes(raw)
            try:
                found[outcome(path, channels)] += 1
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}.{form}"
                kept.write_bytes(raw)
                print(f"kept as {kept}", file=sys.stderr)
                raise
        print(*(f"{what}={number}" for what, number in sorted(found.items())), sep="; ")


if __name__ == "__main__":
    needs = [(form, [sounds.NEEDS[form]] if form in sounds.NEEDS else []) for form in sounds.WRITERS]
    sys.exit(batches.run(needs, batch, MOST_S))
