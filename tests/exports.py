"""Small exports in each logger's form, of one made-up walk: the files that the phone or watch would give, as bytes.

    python tests/exports.py FOLDER    # writes those of docs/examples/exports

Twelve seconds: a phone lies flat, is carried about from second 4 to 8, and lies again.
"""

import io
import json
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

EPOCH_NS = 1_764_378_000_123_456_789
"""2025-11-29 01:00:00.123456789 UTC."""
G = 9.80665
SECONDS = 12
WALKS = (4.0, 8.0)

Files = Mapping[str, bytes]


def acceleration(times_s: np.ndarray) -> np.ndarray:
    """With gravity, in m/s^2, as Android has it."""
    walks = (times_s >= WALKS[0]) & (times_s < WALKS[1])
    step = np.sin(2 * np.pi * 2 * times_s)
    return np.stack([0.3 * walks * step, 0.8 * walks * np.cos(4 * np.pi * times_s), G + 3 * walks * step], axis=1)


def rotation(times_s: np.ndarray) -> np.ndarray:
    """In rad/s."""
    return 0.4 * (acceleration(times_s) - [0, 0, G])


def even_s(rate_hz: float, seconds: float = SECONDS) -> np.ndarray:
    return np.arange(round(seconds * rate_hz)) / rate_hz


def trembling_s(rate_hz: float, by_s: float, seed: int, seconds: float = SECONDS) -> np.ndarray:
    times_s = even_s(rate_hz, seconds)
    return times_s + np.random.default_rng(seed).uniform(0, by_s, len(times_s))


def text(header: str, rows: Iterable[Sequence[object]], separator: str = ",") -> bytes:
    return "\n".join([header, *(separator.join(map(str, row)) for row in rows), ""]).encode()


def as_zip(files: Files) -> bytes:
    """The same bytes for the same files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name, (2025, 11, 29, 1, 0, 0)), content, zipfile.ZIP_DEFLATED, 9)
    return target.getvalue()


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def sensor_logger(platform: str = "android", *, standardised: bool = False, rate_hz: float = 50.0) -> Files:
    """With a gyroscope that begins 0.8 s later, beats of the heart, and one annotation."""
    sign = -1.0 if platform == "ios" and not standardised else 1.0

    def table(times_s: np.ndarray, values: np.ndarray) -> bytes:
        rows = (
            (EPOCH_NS + round(t * 1e9), f"{t:.9f}", *(f"{v:.6f}" for v in row[::-1]))
            for t, row in zip(times_s.tolist(), values, strict=True)
        )
        return text("time,seconds_elapsed,z,y,x", rows)

    moved_s, turned_s = trembling_s(rate_hz, 0.004, 1), 0.8 + trembling_s(rate_hz, 0.004, 2, SECONDS - 0.8)
    free = acceleration(moved_s) - [0, 0, G]
    gravity = np.broadcast_to([0.0, 0.0, G], free.shape)
    files = {
        "Accelerometer.csv": table(moved_s, sign * free),
        "Gravity.csv": table(moved_s, sign * gravity),
        "Gyroscope.csv": table(turned_s, rotation(turned_s)),
        "HeartRate.csv": text(
            "time,seconds_elapsed,bpm", ((EPOCH_NS + round(t * 1e9), t, 60 + k) for k, t in enumerate((1.5, 6.25, 9.0)))
        ),
        "Annotation.csv": text(
            "time,seconds_elapsed,text,millisecond_press_duration",
            [(EPOCH_NS + round(WALKS[0] * 1e9), WALKS[0], "walking", round(1000 * (WALKS[1] - WALKS[0])))],
        ),
        "Metadata.csv": text(
            "version,device name,recording epoch time,recording time,recording timezone,platform,appVersion,device id,"
            "sensors,sampleRateMs,standardisation",
            [
                (
                    3,
                    "Phone",
                    EPOCH_NS // 10**6,
                    "2025-11-29_01-00-00",
                    "Europe/Berlin",
                    platform,
                    "1.60",
                    "0",
                    "all",
                    round(1000 / rate_hz),
                    str(standardised).lower(),
                )
            ],
        ),
    }
    if platform == "android":
        files["TotalAcceleration.csv"] = table(moved_s, acceleration(moved_s))
    else:
        raw = sign * acceleration(moved_s) * (1 if standardised else 1 / G)
        files["AccelerometerUncalibrated.csv"] = table(moved_s, raw)
    return files


def sensor_logger_json() -> bytes:
    rows = []
    for name, content in sensor_logger().items():
        header, *lines = content.decode().splitlines()
        rows += [{"sensor": name[:-4], **dict(zip(header.split(","), line.split(","), strict=False))} for line in lines]
    return json.dumps(rows).encode()


DIALECTS = {"comma": (",", "."), "tab": ("\t", "."), "semicolon": (";", "."), "tab-comma": ("\t", ","),
            "semicolon-comma": (";", ",")}  # fmt: skip
"""phyphox's: what separates columns, and decimals."""


def phyphox_set(names: Sequence[str], columns: Sequence[np.ndarray], dialect: str = "comma") -> bytes:
    """A set of columns, those that are shorter filled up with NaN."""
    separator, point = DIALECTS[dialect]
    longest = max(map(len, columns))
    rows = []
    for k in range(longest):
        cells = [f"{column[k]:.9E}" if k < len(column) else "NaN" for column in columns]
        rows.append([cell.replace(".", point) for cell in cells])
    return text(separator.join(f'"{name}"' for name in names), rows, separator)


def phyphox(dialect: str = "comma", rate_hz: float = 100.44) -> Files:
    times_s = 0.0042 + trembling_s(rate_hz, 0.001, 3)
    values = acceleration(times_s)
    wall_s = EPOCH_NS // 10**6 / 1000
    names = ("Time (s)", *(f"Acceleration {axis} (m/s^2)" for axis in "xyz"), "Absolute acceleration (m/s^2)")
    columns = [times_s, *values.T, np.linalg.norm(values, axis=1)]
    turned_s = 0.8 + trembling_s(rate_hz, 0.001, 4, SECONDS - 1)
    return {
        "Accelerometer.csv": phyphox_set(names, columns, dialect),
        "Gyroscope.csv": phyphox_set(
            ("Time (s)", *(f"Gyroscope {axis} (rad/s)" for axis in "xyz")), [turned_s, *rotation(turned_s).T], dialect
        ),
        "meta/device.csv": text('"property","value"', [('"deviceBrand"', '"Maker"'), ('"deviceModel"', '"Phone"')]),
        "meta/time.csv": text(
            '"event","experiment time","system time","system time text"',
            [
                ('"START"', "0.000000000E0", f"{wall_s:.3f}", '"2025-11-29 02:00:00.123 UTC+01:00"'),
                ('"PAUSE"', f"{SECONDS:.9E}", f"{wall_s + SECONDS:.3f}", '"2025-11-29 02:00:12.123 UTC+01:00"'),
            ],
        ),
    }


def physics_toolbox(separator: str = ",", point: str = ".", clock: bool = False) -> bytes:
    times_s = even_s(50)
    moved, turned = acceleration(times_s) / G, rotation(times_s)
    rows = []
    for t, a, w in zip(times_s.tolist(), moved, turned, strict=True):
        at = f"23:59:{t:06.3f}" if t < 6 else f"0:0:{t - 6:.3f}" if clock else ""
        cells = [at if clock else f"{t:.3f}", *(f"{v:.5f}" for v in (*a, *w)), f"{np.linalg.norm(a):.5f}"]
        rows.append([cell.replace(".", point) for cell in cells])
    if clock:  # Six seconds before midnight.
        for k, t in enumerate(times_s.tolist()):
            rows[k][0] = f"23:59:{54 + t:06.3f}" if t < 6 else f"0:0:{t - 6:.3f}"
    return text(separator.join(("time", "gFx", "gFy", "gFz", "wx", "wy", "wz", "TgF")), rows, separator)


def polar() -> Files:
    times_s = even_s(52)
    begun_ns = EPOCH_NS - 946_684_800 * 10**9  # Its own clock counts from 2000.
    moved = acceleration(times_s) / G * 1000

    def phone(at_s: float) -> str:
        at = np.datetime64(EPOCH_NS // 10**6 + round(at_s * 1000), "ms")
        return str(at)

    acc = [
        (phone(t // 0.7 * 0.7), begun_ns + round(t * 1e9), *(round(v) for v in row))
        for t, row in zip(times_s.tolist(), moved, strict=True)
    ]
    ecg = [
        (phone(0.4 + t), begun_ns + round((0.4 + t) * 1e9), round(t * 1000), round(100 * np.sin(7 * t)))
        for t in even_s(130, 6).tolist()
    ]
    heart = [(phone(1.0 + k), 60 + k, 900 - k) for k in range(8)]
    return {
        "Polar_H10_ACC.txt": text("Phone timestamp;sensor timestamp [ns];X [mg];Y [mg];Z [mg]", acc, ";"),
        "Polar_H10_ECG.txt": text("Phone timestamp;sensor timestamp [ns];timestamp [ms];ecg [uV]", ecg, ";"),
        "Polar_H10_HR.txt": text("Phone timestamp;HR [bpm];RR-interval [ms]", heart, ";"),
    }


def empatica() -> Files:
    start_s = EPOCH_NS // 10**9

    def even(start: float, rate_hz: float, values: np.ndarray) -> bytes:
        width = values.shape[1]
        lines = [[f"{start:.6f}"] * width, [f"{rate_hz:.6f}"] * width, *([f"{v:g}" for v in row] for row in values)]
        return "\n".join(", ".join(line) for line in lines).encode() + b"\n"

    one = np.ones((1, 1))
    return {
        "ACC.csv": even(start_s, 32, np.rint(acceleration(even_s(32)) / G * 64)),
        "BVP.csv": even(start_s, 64, 50 * np.sin(7 * even_s(64))[:, None].round(2)),
        "EDA.csv": even(start_s, 4, 0.3 + 0.01 * even_s(4)[:, None]),
        "TEMP.csv": even(start_s, 4, 33.5 * np.repeat(one, 48, axis=0)),
        "HR.csv": even(start_s + 10, 1, 61 * np.repeat(one, 2, axis=0)),
        "IBI.csv": text(f"{start_s}.000000, IBI", [(1.5, 0.9), (2.4, 0.9), (6.0, 0.8)]),
        "tags.csv": f"{start_s + 4}.25\n".encode(),
        "info.txt": b"ACC.csv, ...\n",
    }


def uci_har(part: str = "train") -> Files:
    """Two runs of six and of three windows."""
    times_s = even_s(50)
    total = acceleration(times_s) / G
    signals = {"total_acc": total, "body_acc": total - [0, 0, 1], "body_gyro": rotation(times_s)}
    starts = [*range(0, 6 * 64, 64), 400, 464]
    files = {}
    for name, values in signals.items():
        for axis, column in zip("xyz", values.T, strict=True):
            lines = ["".join(f" {v: .7e}" for v in column[start : start + 128]) for start in starts]
            files[f"{part}/Inertial Signals/{name}_{axis}_{part}.txt"] = ("\n".join(lines) + "\n").encode()
    codes = [5, 5, 5, 1, 1, 1, 5, 5]
    return files | {
        f"{part}/y_{part}.txt": "".join(f"{code}\n" for code in codes).encode(),
        "activity_labels.txt": b"1 WALKING\n5 STANDING\n",
    }


def ts() -> bytes:
    """Two cases of two dimensions, 40 and 30 values long, one of them missing."""
    lines = ["# made", "@problemName Walks", "@timeStamps false", "@missing true", "@univariate false", "@dimensions 2",
             "@equalLength false", "@classLabel true still walking", "@data"]  # fmt: skip
    for label, first, length in (("still", 0, 40), ("walking", 200, 30)):
        values = acceleration(even_s(50))[first : first + length, 1:]
        columns = [[f"{v:.4f}" for v in column] for column in values.T]
        if label == "walking":
            columns[0][10] = "?"
        lines.append(":".join([*(",".join(column) for column in columns), label]))
    return "\n".join([*lines, ""]).encode()


def edf(*, anonymous: bool = False) -> bytes:
    """A signal of 64 Hz and one of 4 Hz, with one annotation. Needs edfio."""
    import datetime

    import edfio

    day = None if anonymous else datetime.date(2025, 11, 29)
    bvp = edfio.EdfSignal(
        50 * np.sin(7 * even_s(64)), 64, label="BVP", physical_dimension="nW", physical_range=(-60, 60)
    )
    eda = edfio.EdfSignal(0.3 + 0.01 * even_s(4), 4, label="EDA", physical_dimension="uS", physical_range=(0, 1))
    file = edfio.Edf(
        [bvp, eda],
        recording=edfio.Recording(startdate=day),
        starttime=datetime.time(1, 0, 0),
        annotations=[edfio.EdfAnnotation(4.25, 1.5, "walking")],
    )
    return file.to_bytes()


def wisdm() -> bytes:
    times_s = even_s(20)
    rows = [
        f"33,{'Walking' if WALKS[0] <= t < WALKS[1] else 'Standing'},{49_105_962_326_000 + round(t * 1e9)},"
        + ",".join(f"{v:.4f}" for v in row)
        for t, row in zip(times_s.tolist(), acceleration(times_s), strict=True)
    ]
    return (";\n".join(rows) + ";\n").encode()


def all_exports() -> dict[str, bytes]:
    """A file of each logger, by its name; EDF is left out where edfio is not there."""
    found = {
        "sensor-logger.zip": as_zip(sensor_logger()),
        "phyphox.zip": as_zip(phyphox()),
        "physics-toolbox.csv": physics_toolbox(),
        "polar.zip": as_zip(polar()),
        "empatica-e4.zip": as_zip(empatica()),
        "uci-har.zip": as_zip(uci_har()),
        "walks.ts": ts(),
        "wisdm.txt": wisdm(),
    }
    return found | ({"night.edf": edf()} if find_spec("edfio") is not None else {})


if __name__ == "__main__":
    write(Path(sys.argv[1]), all_exports())
