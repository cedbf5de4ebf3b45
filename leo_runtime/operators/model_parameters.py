"""The parameters of a stage that is a model, or some pieces of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from leo_runtime.schema import Name, Quantity, Value


class ModelParameters(Value):
    """A model, or some pieces of it, one behind the other."""

    model: Path
    """The `.tflite` file."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] | None = None
    """How the file's SHA-256 begins: another file is then refused. None: any file."""
    signature: Name | None = None
    """The signature that is called; None: the graph that an interpreter calls."""
    cut: Literal["blocks", "layers"] = "blocks"
    """What its pieces are: blocks, whose borders are one tensor, or single layers."""
    first: Quantity | None = None
    """The first of its pieces, from 0 on; None: the model is one stage, whole, as its file has it."""
    last: Quantity | None = None
    """The last of them; None: it is the first alone."""
    streaming: bool = False
    """Of a model that keeps a state from call to call: whether each run goes on from what the last one left, on an
    input that is all new. Otherwise every run begins in the first state."""
