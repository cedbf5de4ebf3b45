"""Layers that put values elsewhere, or between others: no arithmetic but that of RESIZE_BILINEAR."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from leo_runtime.layers.graph import Shape
from leo_runtime.layers.kinds.definition import BOTH, Arrays, Call, LayerKind, OptionField, fused
from leo_runtime.layers.kinds.values import constant, first_of, require_one_type, same_quantisation

_ANY = ("float32", "int8", "int32")


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the first. Raises `ValueError` where there is none."""
    if not -rank <= axis < rank:
        raise ValueError(f"it has the axis {axis} of {rank}")
    return axis % rank


def _reshaped(call: Call) -> tuple[Shape, ...]:
    shape = call.optional(1)
    if shape is not None and shape.data is None:
        # It is worked out at run time, of sizes that are all known: what is stored of the output is what it will be.
        return (call.outputs[0].shape,)
    said = call.options["new_shape"] if shape is None else tuple(int(size) for size in constant(call, 1).reshape(-1))
    assert isinstance(said, tuple)
    if shape is None and said == (0,):
        said = ()  # So older files say that a scalar is meant.
    size, known = math.prod(call.input(0).shape), math.prod(length for length in said if length != -1)
    if said.count(-1) > 1 or known < 1 or size % known or (-1 not in said and size != known):
        raise ValueError(f"{call.input(0).shape} does not fit {said}")
    return (tuple(size // known if length == -1 else length for length in said),)


def _reshape(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    return (first_of(arrays).reshape(call.outputs[0].shape),)


def concat_axis(call: Call) -> int:
    """The axis along which a layer puts its inputs together. Raises `ValueError`."""
    return axis_of(call.number("axis"), len(call.outputs[0].shape))


def _joined(call: Call) -> tuple[Shape, ...]:
    require_one_type(call)
    shapes = [call.input(index).shape for index in range(len(call.inputs))]
    axis = axis_of(call.number("axis"), len(shapes[0]))
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) != 1:
        raise ValueError(f"{shapes} do not fit each other along axis {axis}")
    return ((*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]),)


def _concat(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    parts = [array for array in arrays if array is not None]
    return (np.concatenate(parts, axis=concat_axis(call)),)


def _concat_refuses(call: Call) -> str | None:
    if call.choice("fused_activation_function") != "NONE":  # XNNPACK leaves it out.
        return f"it has the activation {call.choice('fused_activation_function')}"
    return same_quantisation(call)


def slice_of(call: Call) -> tuple[slice | int, ...]:
    """What a STRIDED_SLICE takes, an axis each; a number: one place, and the axis goes. Raises `ValueError`."""
    begins, ends, strides = (constant(call, index).reshape(-1).tolist() for index in (1, 2, 3))
    shape = call.input(0).shape
    if not len(begins) == len(ends) == len(strides) <= len(shape):
        raise ValueError(f"it takes {len(begins)} axes of {len(shape)}")
    taken: list[slice | int] = []
    for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        bit = 1 << axis
        first = None if call.number("begin_mask") & bit else begin
        if call.number("shrink_axis_mask") & bit:
            # Where its begin is masked, it is the first place that the stride comes to.
            place = first if first is not None else 0 if stride > 0 else shape[axis] - 1
            if not -shape[axis] <= place < shape[axis]:
                raise ValueError(f"it takes the place {place} of {shape[axis]}")
            taken.append(place % shape[axis])
        else:
            last = None if call.number("end_mask") & bit else end
            taken.append(slice(*slice(first, last, stride).indices(shape[axis])))
    return tuple(_forward(one) for one in taken)


def slice_places(call: Call) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Where a STRIDED_SLICE of four axes at most takes values from: the first, and along four axes how many and how
    far apart, in values of its input. Raises `ValueError`."""
    sizes, taken = call.input(0).shape, slice_of(call)
    first, axes = 0, list[tuple[int, int]]()
    for axis, length in enumerate(sizes):
        one = taken[axis] if axis < len(taken) else slice(None)
        stride = math.prod(sizes[axis + 1 :])
        kept = range(length)[one] if isinstance(one, slice) else range(one, one + 1)
        first += stride * (kept[0] if len(kept) else 0)
        axes.append((len(kept), stride * kept.step))
    return first, (*((1, 0),) * (4 - len(axes)), *axes)


def _forward(one: slice | int) -> slice | int:
    """A slice whose end, of one that goes backwards to the first place, is none rather than -1, the last."""
    return slice(one.start, None, one.step) if isinstance(one, slice) and one.stop < 0 else one


def _sliced(call: Call) -> tuple[Shape, ...]:
    shape: list[int] = []
    taken = slice_of(call)
    for axis, length in enumerate(call.input(0).shape):
        one = taken[axis] if axis < len(taken) else slice(None)
        if isinstance(one, slice):
            shape.append(len(range(*one.indices(length))))
    return (tuple(shape),)


def _slice(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    return (first_of(arrays)[slice_of(call)],)


def _slice_refuses(call: Call) -> str | None:
    for mask in ("ellipsis_mask", "new_axis_mask"):
        if call.number(mask):
            return f"it has the {mask} {call.number(mask)}"
    if call.options["offset"]:
        return "its ends are offsets"  # LiteRT 2.3.0 gives arrays of other shapes than these have.
    return same_quantisation(call) if constant(call, 3).all() else "it has a stride of 0"


def split_parts(call: Call) -> tuple[int, tuple[int, ...]]:
    """The axis that a SPLIT_V cuts, and the length of each part. Raises `ValueError`."""
    axis = axis_of(int(constant(call, 2).reshape(-1)[0]), len(call.input(0).shape))
    sizes, length = [int(size) for size in constant(call, 1).reshape(-1)], call.input(0).shape[axis]
    rest = length - sum(size for size in sizes if size != -1)
    if sizes.count(-1) > 1 or min(sizes) < -1 or rest < 0 or (-1 not in sizes and rest):
        raise ValueError(f"its parts of {sizes} do not fit {length}")
    return axis, tuple(rest if size == -1 else size for size in sizes)


def _parts(call: Call) -> tuple[Shape, ...]:
    axis, sizes = split_parts(call)
    shape = call.input(0).shape
    return tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes)


def _split(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    axis, sizes = split_parts(call)
    return tuple(np.split(first_of(arrays), np.cumsum(sizes)[:-1], axis=axis))


def pads(call: Call) -> tuple[tuple[int, int], ...]:
    """How many values a PAD puts before and behind, an axis each. Raises `ValueError`."""
    given = constant(call, 1)
    if given.shape != (len(call.input(0).shape), 2) or given.min() < 0:
        raise ValueError(f"its padding of {given.tolist()} does not fit {call.input(0).shape}")
    return tuple((int(before), int(after)) for before, after in given)


def _padded(call: Call) -> tuple[Shape, ...]:
    shape = call.input(0).shape
    return (tuple(length + before + after for length, (before, after) in zip(shape, pads(call), strict=True)),)


def _pad(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    fill = call.outputs[0].zero_point[0] if call.quantised else 0
    return (np.pad(first_of(arrays), pads(call), constant_values=fill),)


def _shape_of(call: Call) -> tuple[Shape, ...]:
    return ((len(call.input(0).shape),),)


def _shape(call: Call, _arrays: Arrays) -> tuple[np.ndarray, ...]:
    return (np.array(call.input(0).shape, np.int32),)


def _shape_refuses(call: Call) -> str | None:
    return None if call.outputs[0].dtype == np.int32 else f"it gives {call.outputs[0].dtype.name}"


def pack_axis(call: Call) -> int:
    """The axis of its output along which a PACK puts its inputs. Raises `ValueError`."""
    return axis_of(call.number("axis"), len(call.input(0).shape) + 1)


def _packed(call: Call) -> tuple[Shape, ...]:
    require_one_type(call)
    shapes = {call.input(index).shape for index in range(len(call.inputs))}
    if len(shapes) != 1:
        raise ValueError(f"{sorted(shapes)} are not one shape")
    (shape,) = shapes
    axis = pack_axis(call)
    return ((*shape[:axis], len(call.inputs), *shape[axis:]),)


def _pack(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    return (np.stack([array for array in arrays if array is not None], axis=pack_axis(call)),)


def _deep_to_wide(call: Call) -> tuple[Shape, ...]:
    block, shape = call.number("block_size"), call.input(0).shape
    if len(shape) != 4 or block < 1 or shape[3] % (block * block):
        raise ValueError(f"its block size of {block} does not fit {shape}")
    return ((shape[0], shape[1] * block, shape[2] * block, shape[3] // (block * block)),)


def _depth_to_space(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    block, (batch, height, width, depth) = call.number("block_size"), call.input(0).shape
    blocks = first_of(arrays).reshape(batch, height, width, block, block, depth // (block * block))
    return (blocks.transpose(0, 1, 3, 2, 4, 5).reshape(_deep_to_wide(call)[0]),)


def _resized(call: Call) -> tuple[Shape, ...]:
    shape, size = call.input(0).shape, constant(call, 1).reshape(-1).tolist()
    if len(shape) != 4 or len(size) != 2 or min(size) < 1:
        raise ValueError(f"its size of {size} does not fit {shape}")
    return ((shape[0], *size, shape[3]),)


def resize_taps(call: Call, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each place along an axis of what RESIZE_BILINEAR gives: two places of its input, and the second's weight."""
    length, count = call.input(0).shape[axis], call.outputs[0].shape[axis]
    aligned, centred = bool(call.options["align_corners"]), bool(call.options["half_pixel_centers"])
    step = np.float32((length - 1) / (count - 1) if aligned and count > 1 else length / count)
    places = np.arange(count, dtype=np.float32)
    at = (places + np.float32(0.5)) * step - np.float32(0.5) if centred else places * step
    floor = np.floor(at)
    first = np.clip(floor.astype(np.int32), 0, length - 1)
    second = np.clip(np.ceil(at).astype(np.int32), 0, length - 1)
    return first, second, (at - floor).astype(np.float32)


def resize_weights(call: Call, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of int8, as XNNPACK has it: weights are in 2^-11."""
    first, second, weight = resize_taps(call, axis)
    return first, second, np.rint(weight * np.float32(2048)).astype(np.int64)


def _resize_int8(call: Call, images: np.ndarray) -> np.ndarray:
    """Across, then down, rounded once: halves upwards."""
    for axis in (2, 1):
        first, second, weight = resize_weights(call, axis)
        shape = [1] * 4
        shape[axis] = -1
        near, far = images.take(first, axis).astype(np.int64), images.take(second, axis).astype(np.int64)
        images = (near << 11) + (far - near) * weight.reshape(shape)
    return ((images + (1 << 21)) >> 22).astype(np.int8)


def _resize(call: Call, arrays: Arrays) -> tuple[np.ndarray, ...]:
    images = first_of(arrays)
    if call.quantised:
        return (_resize_int8(call, images),)
    for axis in (1, 2):
        first, second, weight = resize_taps(call, axis)
        shape = [1] * 4
        shape[axis] = -1
        near, far = images.take(first, axis), images.take(second, axis)
        images = near + (far - near) * weight.reshape(shape)
    return (images,)


def _resize_refuses(call: Call) -> str | None:
    if call.options["align_corners"] and call.options["half_pixel_centers"]:
        # TensorFlow Lite's kernel refuses it, XNNPACK's not.
        return "it both aligns corners and has half pixel centers"
    return same_quantisation(call)


def _resize_macs(call: Call) -> int:
    return 3 * math.prod(call.outputs[0].shape)


_MASKS: Sequence[str] = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
KINDS = (
    LayerKind(
        "RESHAPE",
        22,
        17,
        (OptionField("new_shape", 0, "i*", ()),),
        (1, 2),
        _ANY,
        _reshaped,
        _reshape,
        refuses=same_quantisation,
    ),
    LayerKind(
        "CONCATENATION",
        2,
        10,
        (OptionField("axis", 0, "i", 0), fused(1)),
        (1, None),
        _ANY,
        _joined,
        _concat,
        refuses=_concat_refuses,
    ),
    LayerKind(
        name="STRIDED_SLICE",
        code=45,
        options_table=32,
        options=(
            *(OptionField(mask, field, "i", 0) for field, mask in enumerate(_MASKS)),
            OptionField("offset", 5, "?", False),
        ),
        inputs=(4, 4),
        types=_ANY,
        shapes=_sliced,
        compute=_slice,
        refuses=_slice_refuses,
    ),
    LayerKind(
        "SPLIT_V",
        102,
        79,
        (OptionField("num_splits", 0, "i", 0),),
        (3, 3),
        _ANY,
        _parts,
        _split,
        refuses=same_quantisation,
    ),
    LayerKind("PAD", 34, 22, (), (2, 2), BOTH, _padded, _pad, refuses=same_quantisation),
    LayerKind(
        "SHAPE",
        77,
        55,
        (OptionField("out_type", 0, "b", 0),),
        (1, 1),
        _ANY,
        _shape_of,
        _shape,
        refuses=_shape_refuses,
        keeps_type=False,
    ),
    LayerKind(
        name="PACK",
        code=83,
        options_table=59,
        options=(OptionField("values_count", 0, "i", 0), OptionField("axis", 1, "i", 0)),
        inputs=(1, None),
        types=_ANY,
        shapes=_packed,
        compute=_pack,
        refuses=same_quantisation,
    ),
    LayerKind(
        "DEPTH_TO_SPACE",
        5,
        94,
        (OptionField("block_size", 0, "i", 0),),
        (1, 1),
        BOTH,
        _deep_to_wide,
        _depth_to_space,
        refuses=same_quantisation,
    ),
    LayerKind(
        name="RESIZE_BILINEAR",
        code=23,
        options_table=15,
        options=(OptionField("align_corners", 2, "?", False), OptionField("half_pixel_centers", 3, "?", False)),
        inputs=(2, 2),
        types=BOTH,
        shapes=_resized,
        compute=_resize,
        macs=_resize_macs,
        refuses=_resize_refuses,
    ),
)
