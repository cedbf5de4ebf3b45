"""Windows that slide over images."""

import numpy as np
import pytest

from leo_runtime.layers.kinds.padding import slide, windows


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 1, 3)], ids=["as they lie", "turned"])
@pytest.mark.parametrize(("taps", "stride", "dilation"), [(1, 1, 1), (3, 1, 1), (2, 3, 1), (3, 2, 2)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_windows_are_placed_as_numpy_would_without_its_words(
    padding: str, taps: int, stride: int, dilation: int, axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.arange(2 * 9 * 8 * 3, dtype=np.float32).reshape(2, 9, 8, 3).transpose(axes)
    down, across = (slide(padding, length, taps, stride, dilation) for length in images.shape[1:3])
    padded = np.pad(images, ((0, 0), (down.before, down.after), (across.before, across.after), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (down.reach, across.reach), axis=(1, 2))
    taken = view[:, ::stride, ::stride, :, ::dilation, ::dilation][:, : down.count, : across.count]
    monkeypatch.delattr("numpy.lib.stride_tricks.as_strided")
    monkeypatch.delattr("numpy.lib.stride_tricks.sliding_window_view")
    assert np.array_equal(windows(images, down, across, 0), taken.transpose(0, 1, 2, 4, 5, 3))
