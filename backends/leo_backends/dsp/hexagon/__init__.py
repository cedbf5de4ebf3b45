"""The DSP's operators as programs of the Hexagon instruction set, run under qemu-hexagon."""

from leo_backends.dsp.hexagon.machine import Counted, HexagonMachine, LoadedModel

__all__ = ["Counted", "HexagonMachine", "LoadedModel"]
