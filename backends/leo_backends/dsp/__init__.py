"""The DSP: fixed-point arithmetic as such a processor has it, and what it costs there."""

from leo_backends.dsp.backend import DspBackend

__all__ = ["DspBackend"]
