"""Where a search has its arrays: one block, measured, then carved. One source, compiled (`arrays.pxd`) or interpreted.

Compiled, an array is a pointer into a block of 64-bit integers. How large that must be is seen by taking every array
once without it. Interpreted, an array is a list of its own, of Python's integers, which have no limit.
"""

from collections.abc import MutableSequence
from typing import Any

try:
    import cython
except ImportError:
    from leo_runtime.solver.search import uncompiled as cython

Ints = MutableSequence[int]


class Arrays:
    """Arrays that are taken together."""

    def _carve_all(self) -> None:
        """Take every array; what is made of this says which there are. Called twice, and the same both times."""

    def _measure_room(self) -> int:
        """How many integers all arrays have together. None can be used yet."""
        self.measuring = 1
        self.at = 0
        self._carve_all()
        return self.at

    def _settle_in(self, block: Any) -> None:
        """Take every array from a block of 64-bit integers, which stay as they are; where interpreted, of zeros."""
        self.measuring = 0
        self.block = block
        self.at = 0
        self._carve_all()

    def _take(self, count: int) -> Ints:
        """The next array, of so many integers."""
        self.at += count
        if not cython.compiled:
            return [0] * (0 if self.measuring else count)
        if self.measuring:
            nowhere: Ints = cython.NULL
            return nowhere
        array: Ints = cython.address(self.block[self.at - count])
        return array


def zeros(size: int) -> Any:
    """A block for `_settle_in`; where interpreted there is none."""
    return memoryview(bytearray(8 * size)).cast("q") if cython.compiled else None
