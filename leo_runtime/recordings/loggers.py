"""The loggers whose exports are read, and reading one stream of an export as a manifest asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from leo_runtime.errors import RecordingError
from leo_runtime.recordings.edf import EDF
from leo_runtime.recordings.empatica import EMPATICA_E4
from leo_runtime.recordings.events import in_order
from leo_runtime.recordings.files import Files, open_files
from leo_runtime.recordings.grid import UnevenError
from leo_runtime.recordings.phyphox import PHYPHOX
from leo_runtime.recordings.physics_toolbox import PHYSICS_TOOLBOX
from leo_runtime.recordings.polar import POLAR
from leo_runtime.recordings.reader import Reader, StreamData
from leo_runtime.recordings.sensor_logger import SENSOR_LOGGER
from leo_runtime.recordings.series import Export, Logger, Series, named_apart, put, zero_us
from leo_runtime.recordings.stream import RecordedStream
from leo_runtime.recordings.ts_text import TS, at_rate
from leo_runtime.recordings.uci_har import UCI_HAR
from leo_runtime.recordings.wisdm import WISDM

LOGGERS: tuple[Logger, ...] = (
    SENSOR_LOGGER,
    POLAR,
    PHYSICS_TOOLBOX,
    PHYPHOX,
    EMPATICA_E4,
    UCI_HAR,
    EDF,
    TS,
    WISDM,
)
"""In the order in which they are asked whether an export is theirs, the surer ones first."""


def logger_of(files: Files) -> Logger | None:
    """Whose export these files are; None: nobody knows them."""
    return next((logger for logger in LOGGERS if logger.recognises(files)), None)


def read_export(path: Path, logger: Logger, rate_hz: float | None = None) -> Export:
    """The export of a logger, also where it is a folder inside; `rate_hz` is needed where it says none.

    Raises `RecordingError`.
    """
    files = open_files(path)
    for folder in ("", *files.folders()):
        if logger.recognises(files.inside(folder)):
            export = logger.read(files.inside(folder))
            export = at_rate(export, rate_hz) if logger is TS and rate_hz else export
            return replace(export, series=named_apart(export.series))
    raise RecordingError(f"{path}: is no export of {logger.title}", hint="leave out `format`, or correct it")


def placed(series: Series, zero: float, rate_hz: float) -> StreamData:
    """The samples of a series from the recording's time 0 on: events as they came, anything else at a rate.

    `zero` is that time 0 in us of the export. Raises `UnevenError`.
    """
    if series.kind == "events":
        times_us, values, back = in_order(series.times_us - zero, series.values)
        told = (f"rows whose time steps back are put in order: {back}",) if back else ()
        return StreamData(values, 0, (*series.repairs, *told), times_us=times_us)
    even = put(series, zero, rate_hz)
    return StreamData(even.values, rate_hz, (*series.repairs, *even.repairs), even.gaps, even.timing)


def _reader(logger: Logger) -> Reader:
    """Reads the stream of an export that the manifest's stream names as its `sensor`, or is named as."""

    def read(path: Path, stream: RecordedStream, /) -> StreamData:
        export = read_export(path, logger, stream.rate_hz)
        wanted = stream.sensor or stream.name
        sound = next((one for one in export.sounds if one.name == wanted), None)
        if sound is not None and stream.kind == "audio":
            heard = sound.read()
            return replace(heard, repairs=(*export.repairs, *heard.repairs), epoch_us=export.epoch_us)
        series = next((one for one in export.series if one.name == wanted), None)
        if series is None and len(export.series) == 1 and stream.sensor is None:
            series = export.series[0]
        if series is None:
            names = ", ".join([one.name for one in export.series] + [one.name for one in export.sounds])
            raise RecordingError(
                f"{path}: has no stream `{wanted}`",
                hint=f"name one of {names} as the stream's `sensor`",
            )
        if (series.kind == "events") != (stream.kind == "events"):
            raise RecordingError(
                f"{path}: `{wanted}` is of kind {series.kind}, stream `{stream.name}` is declared as {stream.kind}",
                hint=f'give the stream `kind = "{series.kind}"`',
            )
        zero = zero_us(export)
        try:
            found = placed(series, zero, stream.rate_hz)
        except UnevenError as error:
            raise RecordingError(f"{series.file}: stream `{stream.name}` {error}", hint=error.hint) from None
        return replace(found, repairs=(*export.repairs, *found.repairs), epoch_us=epoch_us(export, zero))

    return read


def epoch_us(export: Export, zero: float) -> int | None:
    """The recording's time 0, in us since 1970, where the export says it."""
    return None if export.epoch_us is None else export.epoch_us + round(zero)


READERS: Mapping[str, Reader] = {logger.name: _reader(logger) for logger in LOGGERS}
"""By format."""
