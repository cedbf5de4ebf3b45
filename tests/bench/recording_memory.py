"""What replaying an hour of the demo's sound and motion takes in memory.

    python tests/bench/recording_memory.py [--minutes N] [--sound wav|flac|ogg|48k] [--compare] [--most-mb N]

The demo's recording is repeated into a temporary folder, and replayed in virtual time by a process of its own. Prints
the greatest resident memory of that process, and of one that does nothing but open the recording. Exits 1 where the
replay took more than `--most-mb`.
"""

import argparse
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from time import perf_counter

import numpy as np

from leo_runtime import shipped

OPEN = "from leo_runtime.recordings.recording import Recording; Recording.from_file(sys.argv[1])"
REPLAY = "from leo_runtime import cli; cli.main(sys.argv[1:])"
# Not `getrusage`, which counts what the process was forked from.
TELL = "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr)"


def written_as(folder: Path, sound: str) -> str:
    """The recording's WAV as another format, or at three times its rate; what its stream then says."""
    if sound == "wav":
        return 'file = "mic.wav"\n'
    import soundfile

    name, often = ("mic48.wav", 3) if sound == "48k" else (f"mic.{sound}", 1)
    with soundfile.SoundFile(folder / name, "w", 16_000 * often, 1) as to:
        for block in soundfile.blocks(folder / "mic.wav", 1 << 16, dtype="int16"):
            to.write(np.repeat(block, often))
    return f'file = "{name}"\nresample = true\n'


def repeated(folder: Path, minutes: float, sound_as: str = "wav") -> None:
    """The demo's recording over and over, without its labels, each time with other noise: no two windows are equal."""
    demo = shipped.recording("demo")
    seconds, sound, motion = demo.duration_us / 1e6, demo.samples["mic"][:], demo.samples["watch"][:]
    rng = np.random.default_rng(0)
    times = max(1, round(minutes * 60 / seconds))
    with wave.open(str(folder / "mic.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        for _ in range(times):
            noisy = np.clip(sound + rng.integers(-2, 3, len(sound)), -32_768, 32_767)
            file.writeframes(noisy.astype("<i2").tobytes())
    with (folder / "watch.csv").open("w", encoding="utf-8") as rows:
        rows.write("time_us,ax,ay,az,gx,gy,gz\n")
        for at, row in enumerate(row for _ in range(times) for row in motion):
            noisy = row + rng.normal(0, 1e-3, len(row))
            rows.write(f"{at * 100_000},{','.join(f'{value:.6g}' for value in noisy)}\n")
    (folder / "recording.toml").write_text(
        'format = "leo-recording/1"\nname = "hour"\nlicence = "as the demo"\nsource = "the demo, over and over"\n'
        '[[streams]]\nname = "mic"\nkind = "audio"\nrate_hz = 16000\n'
        + written_as(folder, sound_as)
        + '[[streams]]\nname = "watch"\nkind = "motion"\nfile = "watch.csv"\nrate_hz = 10\nchannels = 6\n',
        encoding="utf-8",
    )


def peak_mb(program: str, *arguments: str) -> float:
    """The greatest resident memory of a process that runs a program; of those it starts, such as OpenCL's, nothing."""
    command = [sys.executable, "-c", f"import sys; {program}; {TELL}", *arguments]
    ended = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return int(ended.stderr.split()[-2]) / 1024


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sound", choices=("wav", "flac", "ogg", "48k"), default="wav")
    parser.add_argument("--compare", action="store_true", help="beside the other policies")
    parser.add_argument("--most-mb", type=float, default=200.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repeated(folder, asked.minutes, asked.sound)
        print(f"opened: {peak_mb(OPEN, name):.0f} MB")
        arguments = ["replay", name, "--virtual", "--out", str(folder / "out")]
        began = perf_counter()
        replayed_mb = peak_mb(REPLAY, *arguments, *([] if asked.compare else ["--no-compare"]))
        print(f"replayed: {replayed_mb:.0f} MB in {perf_counter() - began:.0f} s")
    return int(replayed_mb > asked.most_mb)


if __name__ == "__main__":
    sys.exit(main())
