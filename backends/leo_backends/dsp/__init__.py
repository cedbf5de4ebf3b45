"""The DSP: fixed-point arithmetic as such a processor has it, and what it costs there."""
