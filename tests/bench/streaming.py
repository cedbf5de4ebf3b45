"""What it saves to compute only what is new: kernels of the CPU here, and the demo's wake word on the modelled phone.

`python tests/bench/streaming.py`
"""

import sys
import timeit
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from leo_runtime.backend import News
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.testing import example
from test_demo_streaming import listening, nj, on_the_phone, runs
from test_streaming import CPU, WAKE_WORD, load, recorded, speech_features

SCORE = {"model": WAKE_WORD, "output_shape": (1,), "rows_per_step": 3, "average_steps": 5}


def best_us(function: object) -> float:
    return min(timeit.repeat(function, number=5, repeat=15)) / 5 * 1e6  # type: ignore[arg-type]


def here(operator: str, entries: np.ndarray, window: int, fresh: int, **params: object) -> None:
    """A run of a whole window without state, of one that starts anew, and of one to which a quarter is new."""
    first, then = entries[:window], entries[fresh : fresh + window]
    plain = CPU.load(example("s", operator, [first], **params).stage, DEFAULT_VARIANT)
    kernel = load(operator, first, streaming=True, **params)
    state = kernel.step([first], kernel.start(), News(None, 0)).state
    times = (
        best_us(lambda: plain([first])),
        best_us(lambda: kernel([first])),
        best_us(lambda: kernel.step([then], state, News(fresh, 0))),
    )
    print(f"{operator:15} {times[0]:8.0f} {times[1]:8.0f} {times[2]:8.0f}")


def main() -> None:
    """Print both tables."""
    print("us on the CPU    without     anew      new")
    sound = recorded("held_out_wake_words")
    here("log_mel", sound, 32_000, 8_000)
    here("micro_features", sound, 32_000, 8_000)
    here("tflite", speech_features(), 198, 50, **SCORE)
    print("on the modelled phone, 80 s of the demo's wake word alone")
    for streaming in (False, True):
        frames = on_the_phone(listening(streaming=streaming), "demo")
        features, score = (runs(frames, stage) for stage in ("features", "score"))
        ms = sum(run.end_us - run.start_us for _, run in (*features, *score)) / 1000
        print(f"streaming={streaming}: {len(features)} runs, {ms:.0f} ms, {nj(frames) / 1e9:.2f} J")


if __name__ == "__main__":
    main()
