"""The programs of `pack` and `unpack`: arrays of float32 in fewer bytes for the way to another processor, and back.

What comes may come from anywhere. It is checked before it is used, and nothing is ever made longer than the stage's own
array, whatever a header says.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from leo_runtime.errors import KernelError, MissingExtraError
from leo_runtime.operators import Shape
from leo_runtime.operators.definition import shown
from leo_runtime.operators.packing import (
    LEAST_BLOCK_VALUES,
    SCALE_BYTES,
    Compression,
    Form,
    Head,
    PackParameters,
    UnpackParameters,
    content_of,
    read_head,
    rows_of,
    with_head,
)

Program = Callable[[Sequence[np.ndarray]], np.ndarray]
Packer = Callable[[bytes], bytes]
Unpacker = Callable[[bytes, int], bytes]
"""From what was compressed, and how long it was before."""

ZLIB_LEVEL, ZSTD_LEVEL = 1, 3
"""Beyond these, log-mel spectra get smaller by less than 1 %, and take twice the time."""
LEAST_STEP = np.float32(np.finfo(np.float32).tiny)
"""Smaller steps are not exact enough."""

_PACKAGES: dict[Compression, str] = {"zstd": "zstandard", "jpeg": "PIL"}
_STEPS: dict[Form, int] = {"int8": 255, "int8_band": 255, "int4": 15}


def lacks(*compressions: Compression) -> tuple[Compression, ...]:
    """Those for which a package is not installed."""
    return tuple(one for one in compressions if one in _PACKAGES and importlib.util.find_spec(_PACKAGES[one]) is None)


def pack(params: PackParameters, shapes: Sequence[Shape]) -> Program:
    """The program of `pack`. Raises `MissingExtraError`."""
    _require_packages(params.compress)
    (shape,) = shapes
    compressed = _packer(params, shape)

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        values = np.ascontiguousarray(inputs[0], np.float32)
        found = _packed(values, params) if values.size else None
        if found is None or sum(map(len, found)) > values.nbytes:
            return with_head("float32", "none", 0, _bytes(values.astype("<f4", copy=False)))
        scales, body = found
        block = params.block_values if params.form in ("int8", "int4") else 0
        short = scales + compressed(body) if compressed is not None else None
        if short is None or len(short) >= len(scales) + len(body):
            return with_head(params.form, "none", block, scales + body)
        return with_head(params.form, params.compress, block, short)

    return program


def unpack(params: UnpackParameters, _shapes: Sequence[Shape]) -> Program:
    """The program of `unpack`. Raises `MissingExtraError`."""
    _require_packages(*params.reads)
    shape = tuple(params.shape)
    readers = {how: _unpacker(how) for how in params.reads if how not in ("none", "jpeg")}

    def program(inputs: Sequence[np.ndarray]) -> np.ndarray:
        try:
            head = read_head(inputs[0])
            if head.compress != "none" and head.compress not in params.reads:
                raise ValueError(f"packed bytes are compressed by {head.compress}, of which this stage reads none")
            content = content_of(inputs[0], head)
            with np.errstate(all="ignore"):  # They may stand for anything.
                return _unpacked(content, head, shape, readers)
        except ValueError as error:
            raise KernelError(str(error), hint="send what a `pack` stage for the same shape gave, all of it") from None

    return program


def _packed(values: np.ndarray, params: PackParameters) -> tuple[bytes, bytes] | None:
    """The scales and the values in a form, as bytes; None where it cannot hold them."""
    form = params.form
    with np.errstate(all="ignore"):
        match form:
            case "float32":
                return b"", _bytes(values.astype("<f4", copy=False))
            case "float16":
                halves = values.astype("<f2")
                return (b"", _bytes(halves)) if np.isfinite(halves).all() else None
            case "pcm16":
                return _integers(values * np.float32(32768), -32768, 32767, "<i2")
            case "uint8":
                return _integers(values, 0, 255, "u1")
            case "int8_band":
                return _stepped(values.reshape(-1, values.shape[-1]).T, form)
            case "int8" | "int4":
                return _stepped(_blocks(values, params.block_values), form, values.size)


def _integers(scaled: np.ndarray, least: int, greatest: int, dtype: str) -> tuple[bytes, bytes] | None:
    whole = np.rint(scaled)
    fits = bool((whole >= least).all() and (whole <= greatest).all())  # NaN is neither.
    return (b"", _bytes(whole.astype(dtype))) if fits else None


def _blocks(values: np.ndarray, block_values: int) -> np.ndarray:
    """The values, a row a block; the last one is filled up with its last value."""
    flat = values.reshape(-1)
    width = min(block_values, flat.size)
    missing = -flat.size % width
    if missing:
        flat = np.concatenate([flat, np.full(missing, flat[-1], np.float32)])
    return flat.reshape(-1, width)


def _stepped(blocks: np.ndarray, form: Form, count: int | None = None) -> tuple[bytes, bytes] | None:
    """Each row as steps from its least value; `count`: so many of them, else all, by columns."""
    steps = _STEPS[form]
    least, greatest = blocks.min(axis=1), blocks.max(axis=1)
    spans = greatest - least
    step = spans / np.float32(steps)
    if not np.isfinite(spans).all() or bool(((step < LEAST_STEP) & (spans > 0)).any()):
        return None
    scale = np.where(step > 0, step, np.float32(1))[:, None]
    numbers = np.minimum(np.rint((blocks - least[:, None]) / scale), steps).astype(np.uint8)
    flat = numbers.T.reshape(-1) if count is None else numbers.reshape(-1)[:count]
    scales = np.stack([least, step], axis=1).astype("<f4")
    return _bytes(scales), _bytes(_in_pairs(flat) if form == "int4" else flat)


def _in_pairs(numbers: np.ndarray) -> np.ndarray:
    """Two numbers of 4 bits in a byte, the first one low."""
    if len(numbers) % 2:
        numbers = np.append(numbers, np.uint8(0))
    pairs: np.ndarray = numbers[::2] | (numbers[1::2] << 4)
    return pairs


def _apart(pairs: np.ndarray, count: int) -> np.ndarray:
    numbers = np.empty(2 * len(pairs), np.uint8)
    numbers[::2], numbers[1::2] = pairs & 15, pairs >> 4
    return numbers[:count]


def _unpacked(content: bytes, head: Head, shape: Shape, readers: dict[Compression, Unpacker]) -> np.ndarray:
    """The array. Raises `ValueError` where these are no bytes of one of this shape."""
    count = math.prod(shape)
    scales = _scales_in(head, shape)
    size = {"float32": 4, "float16": 2, "pcm16": 2}.get(head.form, 1) * count
    size = -(-count // 2) if head.form == "int4" else size
    at = scales * SCALE_BYTES
    if head.compress == "none":
        body = content[at:]
    elif head.compress == "jpeg":
        body = _image_in(content, head, shape)
    else:
        body = _sorted_back(readers[head.compress](content[at:], size), head.form, shape)
    if len(content) < at or len(body) != size:
        raise ValueError(
            f"packed bytes of form {head.form} are {at + size} for {shown(shape)}, got {len(content[:at]) + len(body)}"
        )
    of_blocks = np.frombuffer(content[:at], "<f4").reshape(scales, 2)
    return _values(body, head, shape, of_blocks)


def _scales_in(head: Head, shape: Shape) -> int:
    """How many blocks or bands have a scale. Raises `ValueError`."""
    if head.form == "int8_band":
        return shape[-1] if len(shape) > 1 else 0
    if head.form not in ("int8", "int4"):
        return 0
    if head.block_values < LEAST_BLOCK_VALUES:
        raise ValueError(f"packed bytes have blocks of {head.block_values} values, {LEAST_BLOCK_VALUES} are the least")
    return -(-math.prod(shape) // head.block_values)


def _values(body: bytes, head: Head, shape: Shape, scales: np.ndarray) -> np.ndarray:
    values: np.ndarray
    match head.form:
        case "float32":
            values = np.frombuffer(body, "<f4")
        case "float16":
            values = np.frombuffer(body, "<f2").astype(np.float32)
        case "pcm16":
            values = np.frombuffer(body, "<i2").astype(np.float32) * np.float32(1 / 32768)
        case "uint8":
            values = np.frombuffer(body, np.uint8).astype(np.float32)
        case "int8_band":
            columns = np.frombuffer(body, np.uint8).reshape(-1, max(1, len(scales)))
            values = scales[:, 0] + columns.astype(np.float32) * scales[:, 1]
        case "int8" | "int4":
            values = _stood_for(np.frombuffer(body, np.uint8), head, math.prod(shape), scales)
    return values.reshape(shape)


def _stood_for(numbers: np.ndarray, head: Head, count: int, scales: np.ndarray) -> np.ndarray:
    """The values of blocks."""
    flat = (numbers if head.form == "int8" else _apart(numbers, count)).astype(np.float32)
    if not len(scales):
        return flat
    lengths = np.full(len(scales), head.block_values)
    lengths[-1] = count - head.block_values * (len(scales) - 1)
    values: np.ndarray = np.repeat(scales[:, 0], lengths) + flat * np.repeat(scales[:, 1], lengths)
    return values


def _packer(params: PackParameters, shape: Shape) -> Packer | None:
    """What compresses; None: nothing does. A lane has its own, as those of zstd are not for several threads."""
    if params.compress == "none":
        return None
    if params.compress == "jpeg":
        return lambda body: _as_image(body, shape, params.quality)
    compress: Packer = (
        _zstd().ZstdCompressor(level=ZSTD_LEVEL).compress
        if params.compress == "zstd"
        else lambda body: zlib.compress(body, ZLIB_LEVEL)
    )
    return lambda body: compress(_sorted(body, params.form, shape))


def _sorted(body: bytes, form: Form, shape: Shape) -> bytes:
    """The bytes so that more of them are alike: integers as differences to the row above, then those of one place in
    their numbers together."""
    rows = rows_of(shape)
    if form == "int4":
        numbers = _apart(np.frombuffer(body, np.uint8), math.prod(shape)).reshape(rows)
        return _bytes(_in_pairs((_differences(numbers) & 15).reshape(-1)))
    if form in ("int8", "int8_band", "uint8"):
        return _bytes(_differences(np.frombuffer(body, np.uint8).reshape(rows)))
    if form == "pcm16":
        body = _bytes(_differences(np.frombuffer(body, "<u2").reshape(rows)))
    width = 4 if form == "float32" else 2
    return _bytes(np.frombuffer(body, np.uint8).reshape(-1, width).T)


def _sorted_back(body: bytes, form: Form, shape: Shape) -> bytes:
    rows = rows_of(shape)
    if form == "int4":
        numbers = _apart(np.frombuffer(body, np.uint8), math.prod(shape)).reshape(rows)
        return _bytes(_in_pairs((_sums(numbers) & 15).reshape(-1)))
    if form in ("int8", "int8_band", "uint8"):
        return _bytes(_sums(np.frombuffer(body, np.uint8).reshape(rows)))
    width = 4 if form == "float32" else 2
    body = _bytes(np.frombuffer(body, np.uint8).reshape(width, -1).T)
    return _bytes(_sums(np.frombuffer(body, "<u2").reshape(rows))) if form == "pcm16" else body


def _differences(rows: np.ndarray) -> np.ndarray:
    """To the row above, where integers go round; the first row as it is."""
    found = rows.copy()
    found[1:] -= rows[:-1]
    return found


def _sums(differences: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.cumsum(differences, axis=0, dtype=differences.dtype)
    return found


def _unpacker(how: Compression) -> Unpacker:
    return _from_zstd if how == "zstd" else _from_zlib


def _from_zlib(content: bytes, size: int) -> bytes:
    """What was compressed, of which no more is made than it may be. Raises `ValueError`."""
    reader = zlib.decompressobj()
    try:
        # One more than it may be tells that it is too long.
        found = reader.decompress(content, size + 1)
    except zlib.error as error:
        raise ValueError(f"packed bytes cannot be expanded ({error})") from None
    if not reader.eof or len(found) != size or reader.unused_data:
        raise ValueError(f"packed bytes expand to something else than {size} bytes")
    return found


def _from_zstd(content: bytes, size: int) -> bytes:
    package = _zstd()
    try:
        # It would make room for as much as is said there.
        said = package.get_frame_parameters(content).content_size
        if said != size:
            raise ValueError(f"packed bytes expand to something else than {size} bytes")
        found = bytes(package.ZstdDecompressor().decompress(content, allow_extra_data=False))
    except package.ZstdError as error:
        raise ValueError(f"packed bytes cannot be expanded ({error})") from None
    if len(found) != size:
        raise ValueError(f"packed bytes expand to something else than {size} bytes")
    return found


def _as_image(body: bytes, shape: Shape, quality: int) -> bytes:
    """JPEG of an image, of several below each other."""
    pixels = np.frombuffer(body, np.uint8).reshape(_image_shape(shape))
    file = io.BytesIO()
    image = _pillow().fromarray(pixels[:, :, 0] if shape[-1] == 1 else pixels)
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _image_in(content: bytes, head: Head, shape: Shape) -> bytes:
    """The pixels of a JPEG image, of which none are made where there are not as many as there should be. Raises
    `ValueError`."""
    if head.form != "uint8" or len(shape) < 3:
        raise ValueError(f"packed bytes of form {head.form} for {shown(shape)} cannot be a JPEG image")
    rows, columns, channels = _image_shape(shape)
    package = _pillow()
    try:
        with package.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size != (columns, rows) or image.mode != ("L" if channels == 1 else "RGB"):
                raise ValueError(f"packed bytes are an image of {image.size} and mode {image.mode}, not {shown(shape)}")
            return bytes(image.tobytes())
    except (OSError, SyntaxError, package.DecompressionBombError, package.DecompressionBombWarning) as error:
        raise ValueError(f"packed bytes are no JPEG image ({error})") from None


def _image_shape(shape: Shape) -> Shape:
    return (math.prod(shape[:-2]), *shape[-2:])


def _bytes(array: np.ndarray) -> bytes:
    return array.tobytes()


def _require_packages(*compressions: Compression) -> None:
    for one in lacks(*compressions):
        raise MissingExtraError(f"packing by {one}", "packing")


def _zstd() -> Any:
    return importlib.import_module("zstandard")


def _pillow() -> Any:
    return importlib.import_module("PIL.Image")
