"""Models in smaller forms: each file makes one of a graph of layers, and loses what it says it loses.

A form is a pure function from `LayerGraph` to `LayerGraph` with the same inputs and outputs, in the same order and of
the same names and shapes; it raises `CompressError` where it cannot be made, and changes nothing that it was given.
`forms` knows all by their names; `rewrite`, `fuse` and `ranges` are no forms, but what those are made with.
"""

from __future__ import annotations

from leo_runtime.errors import InputError


class CompressError(InputError):
    """A model that has no such smaller form."""
