"""The DSP's operators as programs of the Hexagon instruction set, run under qemu-hexagon."""

from leo_backends.dsp.hexagon.machine import Counted, HexagonMachine, LoadedModel
from leo_backends.dsp.hexagon.operators import HexagonOperator

__all__ = ["Counted", "HexagonMachine", "HexagonOperator", "LoadedModel"]
