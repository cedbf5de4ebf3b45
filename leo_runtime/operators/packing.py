"""Arrays packed into fewer bytes for the way between two processors, and made arrays of float32 again behind it.

Packed bytes are an array of uint8, in one axis, that is as long as it need be: at most as the array in float32 with the
header, which says what they are:

    offset  bytes
    0       4      `LEO1`
    4       1      the form, by its number in `FORMS`
    5       1      how that was compressed, by its number in `COMPRESSIONS`
    6       2      0
    8       4      values in a block, of `int8` and `int4`; 0 of others
    12      4      how many bytes follow the header
    16      4      CRC-32 of bytes 0 to 15, and of those that follow the header
    20      ...    what is packed

All numbers are little-endian. What a form cannot hold, or would make longer, is sent as `float32`.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from leo_runtime.errors import GraphError
from leo_runtime.frozen import dataclass
from leo_runtime.operators.definition import Operator, Output, Shape, Work, shown, values
from leo_runtime.schema import Quantity, Value, reject

Form = Literal["float32", "float16", "int8", "int8_band", "int4", "pcm16", "uint8"]
Compression = Literal["none", "zlib", "zstd", "jpeg"]

FORMS: tuple[Form, ...] = ("float32", "float16", "int8", "int8_band", "int4", "pcm16", "uint8")
COMPRESSIONS: tuple[Compression, ...] = ("none", "zlib", "zstd", "jpeg")

HEADER = struct.Struct("<4sBBHIII")
MARK = b"LEO1"
LEAST_BLOCK_VALUES = 16
"""In shorter blocks the numbers of each block would take as much as its values."""
SCALE_BYTES = 8
"""The least value and the step of a block or a band, both in float32."""
MOST_BYTES = 1 << 31
LONGEST_SIDE_PX = 65_500
"""Of a JPEG image."""


class PackParameters(Value):
    """What is sent in the place of float32."""

    form: Form = "float32"
    """`float32`, `float16`: values as such numbers. `int8`: of each block of values the least one and a step, and each
    value as so many steps from there, 0 to 255. `int8_band`: the same with a least value and a step for each place
    along the last axis. `int4`: as `int8`, 0 to 15. `pcm16`: rint(32768 x), as sound in [-1, 1) is recorded. `uint8`:
    rint(x), as images are."""
    compress: Compression = "none"
    """`zlib` needs nothing, `zstd` the extra `packing`; either loses nothing more. Before it, integers are replaced by
    their difference to the row above, and the bytes of longer numbers are sorted by their place. `jpeg` (the same
    extra) is of `uint8` alone, and of images of 1 or 3 channels, (..., height, width, channels): it loses more."""
    block_values: Annotated[int, Field(ge=LEAST_BLOCK_VALUES, le=1 << 24)] = 4096
    """Of `int8` and `int4`: how many values, in their order, have one least value and one step."""
    quality: Annotated[int, Field(ge=1, le=95)] = 85
    """Of `jpeg`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.compress == "jpeg" and self.form != "uint8":
            reject(f"jpeg is of the form `uint8` alone, got `{self.form}`", "$.compress", self.compress)
        return self


def form_params(name: str) -> dict[str, Any]:
    """The parameters of `pack` that a name stands for: a form, `+` and what compresses it, such as `int8+zstd`; with
    the values of a block, as `int8x256`; or `jpeg` with its quality, as `jpeg85`. Raises `GraphError`."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise GraphError(
            f"`{name}` is no form of packing",
            hint=f"one of {', '.join(FORMS)}, such as int8x256 with the values of a block, with +zlib or +zstd behind "
            "it; or jpeg85",
        )
    form, block_values, compress, quality = found.groups()
    if quality is not None:
        return {"form": "uint8", "compress": "jpeg"} | ({"quality": int(quality)} if quality else {})
    more: dict[str, Any] = {"compress": compress} if compress else {}
    return {"form": form, **more, **({"block_values": int(block_values)} if block_values else {})}


_NAME = re.compile(
    r"(?:(float32|float16|int8_band|int8|int4|pcm16|uint8)(?:(?<=int8|int4)x([1-9][0-9]{0,7}))?(?:\+(zlib|zstd))?"
    r"|jpeg([0-9]{0,2}))"
)


class UnpackParameters(Value):
    """What is unpacked."""

    shape: tuple[Quantity, ...]
    """Of the array that was packed."""
    reads: tuple[Compression, ...] = ("none", "zlib")
    """How what comes may be compressed; anything else is refused."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the header of packed bytes says."""

    form: Form
    compress: Compression
    block_values: int
    length: int
    """Of what follows it, in bytes."""
    checksum: int


def most_bytes(shape: Shape) -> int:
    """How many packed bytes an array takes at the most, in any form."""
    return HEADER.size + 4 * math.prod(shape)


def sent_bytes(params: PackParameters, shape: Shape) -> int:
    """How many it takes in a form: at the most, where it is compressed."""
    count = math.prod(shape)
    blocks = -(-count // params.block_values)
    of_form: dict[Form, int] = {
        "float32": 4 * count,
        "float16": 2 * count,
        "int8": count + SCALE_BYTES * blocks,
        "int8_band": count + SCALE_BYTES * shape[-1] if shape else 0,
        "int4": -(-count // 2) + SCALE_BYTES * blocks,
        "pcm16": 2 * count,
        "uint8": count,
    }
    return HEADER.size + min(4 * count, of_form[params.form])


def with_head(form: Form, compress: Compression, block_values: int, content: bytes) -> np.ndarray:
    """Packed bytes: the header, and what follows it."""
    start = HEADER.pack(MARK, FORMS.index(form), COMPRESSIONS.index(compress), 0, block_values, len(content), 0)[:16]
    checksum = zlib.crc32(content, zlib.crc32(start))
    return np.frombuffer(start + checksum.to_bytes(4, "little") + content, np.uint8)


def packed_zeros(length: int) -> np.ndarray:
    """The longest packed bytes of an array of zeros that may take so many: as a stand-in for any."""
    return with_head("float32", "none", 0, bytes(length - HEADER.size))


def read_head(packed: np.ndarray) -> Head:
    """The header of packed bytes, which may come from anywhere. Raises `ValueError` in words."""
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise ValueError(f"packed bytes are an array of uint8, got {packed.dtype} of {shown(packed.shape)}")
    if len(packed) < HEADER.size:
        raise ValueError(f"{len(packed)} bytes are less than the header of packed bytes, {HEADER.size}")
    mark, form, compress, zero, block_values, length, checksum = HEADER.unpack(packed[: HEADER.size].tobytes())
    if mark != MARK or zero:
        raise ValueError("these are no packed bytes: they do not begin with `LEO1`")
    if form >= len(FORMS) or compress >= len(COMPRESSIONS):
        raise ValueError(f"packed bytes are of form {form}, compressed by {compress}, which are not known here")
    if length != len(packed) - HEADER.size:
        raise ValueError(
            f"packed bytes say that {length} bytes are behind the header, where {len(packed) - HEADER.size} are"
        )
    return Head(FORMS[form], COMPRESSIONS[compress], block_values, length, checksum)


def content_of(packed: np.ndarray, head: Head) -> bytes:
    """What follows the header. Raises `ValueError` where it is damaged."""
    content = packed[HEADER.size :].tobytes()
    if zlib.crc32(content, zlib.crc32(packed[:16].tobytes())) != head.checksum:
        raise ValueError("packed bytes were damaged on their way: their checksum is another")
    return content


def rows_of(shape: Shape) -> tuple[int, int]:
    """How many rows an array has for what compares a row with the one above, and of how many values: a row is a place
    along the first axis, and of an image (..., height, width, channels) one line of it."""
    row = 1 if len(shape) < 2 else math.prod(shape[-2:]) if len(shape) > 2 else shape[-1]
    return math.prod(shape) // max(1, row), row


def _require_packable(params: PackParameters, shape: Shape) -> None:
    if most_bytes(shape) > MOST_BYTES:
        raise GraphError(f"`pack` takes arrays of at most {MOST_BYTES >> 20} MiB, got {shown(shape)} of float32")
    if params.form == "int8_band" and len(shape) < 2:
        raise GraphError(f"`int8_band` wants rows and bands, got {shown(shape)}", hint='take form = "int8"')
    if params.compress == "jpeg":
        if len(shape) < 3 or shape[-1] not in (1, 3):
            raise GraphError(f"jpeg is of images (..., height, width, 1 or 3 channels), got {shown(shape)}")
        if max(math.prod(shape[:-2]), shape[-2]) > LONGEST_SIDE_PX:
            raise GraphError(f"jpeg holds {LONGEST_SIDE_PX} pixels a side, got {shown(shape)}")


def _pack_shape(params: PackParameters, shapes: Sequence[Shape]) -> Shape:
    _require_packable(params, shapes[0])
    return (most_bytes(shapes[0]),)


def _pack_outputs(params: PackParameters, shapes: Sequence[Shape]) -> tuple[Output, ...]:
    return (Output("packed", _pack_shape(params, shapes), "uint8", is_packed=True),)


_MACS_PER_VALUE: dict[Form | Compression, int] = {
    "float32": 1,
    "float16": 2,
    "int8": 8,
    "int8_band": 8,
    "int4": 10,
    "pcm16": 6,
    "uint8": 6,
    "none": 0,
    "zlib": 100,
    "zstd": 20,
    "jpeg": 60,
}
"""Of a form, and of what compresses it: what they take where nobody measured them, beside `int8` without, which counts
as it is computed. From times on a CPU."""


def _pack_work(params: PackParameters, shapes: Sequence[Shape]) -> Work:
    count = values(shapes[0])
    macs = count * (_MACS_PER_VALUE[params.form] + _MACS_PER_VALUE[params.compress])
    return Work(macs, 4 * count + sent_bytes(params, shapes[0]))


def _pack_sent(params: PackParameters, shapes: Sequence[Shape]) -> int:
    return sent_bytes(params, shapes[0])


PACK = Operator(
    name="pack",
    summary="An array in fewer bytes, for the way to another processor. Of a block, or band, from lo to hi a step is "
    "(hi - lo) / 255, or / 15 of int4, and a value x is sent as rint((x - lo) / step). Sent whole, as float32, is an "
    "array of which a value is no number or not finite, too great for its form (of pcm16 outside of [-1, 1), of uint8 "
    "of 0 to 255), or that would get longer. Output: uint8, as many bytes as that takes, at most those of float32 "
    "and of the header.",
    parameters=PackParameters,
    output_shape=_pack_shape,
    work=_pack_work,
    outputs=_pack_outputs,
    sent_bytes=_pack_sent,
)


def _unpack_shape(params: UnpackParameters, shapes: Sequence[Shape]) -> Shape:
    if shapes[0] != (most_bytes(params.shape),):
        raise GraphError(
            f"`unpack` of {shown(params.shape)} takes {most_bytes(params.shape)} packed bytes, got {shown(shapes[0])}",
            hint="give it the shape of the array that was packed, and a `pack` stage as its input",
        )
    return params.shape


def _unpack_work(params: UnpackParameters, shapes: Sequence[Shape]) -> Work:
    count = math.prod(params.shape)
    return Work(2 * count, 4 * count + values(shapes[0]))


def _unpack_takes(params: UnpackParameters) -> tuple[Output, ...]:
    return (Output("packed", (most_bytes(params.shape),), "uint8", is_packed=True),)


UNPACK = Operator(
    name="unpack",
    summary="The array that a `pack` stage packed: in float32 and float16 the values as such numbers, of a block or "
    "band lo + step q, of pcm16 q / 32768, of uint8 q. It fails for what is no such bytes, or damaged. Output: float32 "
    "of the shape `shape`.",
    parameters=UnpackParameters,
    output_shape=_unpack_shape,
    work=_unpack_work,
    takes=_unpack_takes,
)


OPERATORS = (PACK, UNPACK)
