"""Reads EDF and EDF+ by `edfio` (extra `recordings`): each signal a stream of its own rate, annotations as marks.

In a file that is not continuous (EDF+D) each record says when it began; between records that do not follow each other
nothing was recorded. The start is a local time, and no file says of which zone.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from datetime import UTC
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from leo_runtime.errors import MissingExtraError, RecordingError, in_words
from leo_runtime.recordings.files import Files
from leo_runtime.recordings.series import Export, Logger, Mark, Series, slug

if TYPE_CHECKING:
    import edfio

_ANNOTATIONS = b"EDF Annotations "
_FIXED_BYTES = 256
"""Of the header, and as many again for each signal."""
_LABEL_BYTES, _SAMPLES_AT, _SAMPLES_BYTES = 16, 216, 8
"""Of the header of signals: the length of a label; what comes before the counts of samples, and their length."""
_ONSET = re.compile(rb"([+-][0-9]+(?:\.[0-9]+)?)\x14\x14")


def _recognises(files: Files) -> bool:
    return _file_of(files) is not None


def _file_of(files: Files) -> str | None:
    return next(
        (path for path in files.paths if PurePosixPath(path).suffix.lower() == ".edf" and "/" not in path), None
    )


def _read(files: Files) -> Export:
    path = _file_of(files)
    assert path is not None, "only what was recognised is read"
    where, raw = files.place(path), files.read(path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with in_words(f"{where}: cannot be read as EDF", RecordingError, hint="copy it again"):
            export = _export(where, raw, _opened(raw))
    repairs = tuple(dict.fromkeys(str(one.message) for one in told))
    return Export(export.series, export.source, export.marks, export.epoch_us, None, (*export.repairs, *repairs))


def _opened(raw: bytes) -> edfio.Edf:
    try:
        import edfio
    except ImportError:
        raise MissingExtraError("reading EDF", "recordings") from None
    return edfio.read_edf(raw, header_encoding="latin-1")


def _export(where: str, raw: bytes, file: edfio.Edf) -> Export:
    onsets_s = _onsets_s(raw, file) if file.reserved.startswith("EDF+D") else None
    series = [_series(where, signal, onsets_s) for signal in file.signals if len(signal.data)]
    repairs = [] if onsets_s is None else ["it is not continuous: between its parts nothing was recorded"]
    try:
        at = file.startdatetime.replace(tzinfo=UTC)
        epoch_us: int | None = round(at.timestamp() * 1e6)
        repairs.append("its start says no time zone: it is taken for UTC")
    except ValueError as error:  # It was made anonymous, or is damaged.
        repairs.append(f"its start is not known ({error})")
        epoch_us = None
    marks: list[Mark] = []
    try:
        marks += _marks(file)
    except (ValueError, UnicodeDecodeError) as error:
        repairs.append(f"not read: its annotations ({error})")
    return Export(tuple(series), "EDF", tuple(marks), epoch_us, None, tuple(repairs))


def _series(where: str, signal: Any, onsets_s: np.ndarray | None) -> Series:
    values, rate_hz = np.array(signal.data, np.float64), float(signal.sampling_frequency)
    if not 0.001 <= rate_hz <= 1e6:
        raise RecordingError(f"{where}: signal `{signal.label}` comes at {rate_hz:g} Hz", hint="copy it again")
    if onsets_s is None:
        times_us = np.arange(len(values)) * (1e6 / rate_hz)
    else:
        each = len(values) // len(onsets_s)
        within_us = np.arange(each) * (1e6 / rate_hz)
        times_us = (onsets_s[:, None] * 1e6 + within_us).ravel()
    label = signal.label.strip()
    return Series(
        slug(label),
        "other",
        where,
        times_us,
        values[:, None],
        (label or "value",),
        signal.physical_dimension.strip() or None,
        rate_hz,
    )


def _onsets_s(raw: bytes, file: edfio.Edf) -> np.ndarray:
    """When each record began, in s, of its first annotation: what edfio checks, and does not tell."""
    count = int(raw[252:256])
    labels = [raw[_FIXED_BYTES + k * _LABEL_BYTES :][:_LABEL_BYTES] for k in range(count)]
    counts_at = _FIXED_BYTES + count * _SAMPLES_AT
    counts = [int(raw[counts_at + k * _SAMPLES_BYTES :][:_SAMPLES_BYTES]) for k in range(count)]
    first = labels.index(_ANNOTATIONS)
    begins, length = 2 * sum(counts[:first]), 2 * counts[first]
    onsets = []
    for record in range(file.num_data_records):
        at = file.bytes_in_header_record + record * 2 * sum(counts) + begins
        found = _ONSET.match(raw, at, at + length)
        if found is None:
            raise ValueError(f"record {record} does not say when it began")
        onsets.append(float(found[1]))
    return np.array(onsets)


def _marks(file: edfio.Edf) -> Iterable[Mark]:
    for one in file.annotations:
        start_us, length_us = round(one.onset * 1e6), round((one.duration or 0) * 1e6)
        if one.text and abs(start_us) < 10**15 and length_us < 10**15:
            yield Mark(start_us, start_us + max(1, length_us), one.text)


EDF = Logger("edf", "EDF and EDF+ (.edf)", _recognises, _read)
