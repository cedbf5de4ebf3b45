"""The DSP's operators: for each a plan, what is made ready when a stage is loaded, and the function that computes it.

A plan holds nothing but integers and arrays of integers; it is made from real parameters and models by `plan`, once. A
function gets a plan and its inputs as integers, and gives 32-bit integers in Q16. All that happens
between is integer arithmetic of `fixed_point`, so that another implementation can be equal bit for bit. Signals come
in as 16 bits in Q15 (`to_q15`), all else as 32 bits in Q16 (`to_q16`).

Constants of 16 bits are held as int64 arrays of such values: numpy would otherwise compute products in 16 bits.

A file is a family. Everything the DSP has to know of an operator is its `DspOperator`; what has to be done for another
one is in docs/dsp.md.
"""

from typing import Any

from leo_backends.dsp.operators import arrays, classifiers, front_ends, motion, sound
from leo_backends.dsp.operators.definition import DspOperator, Message, Plan, integers, real

OPERATORS: dict[str, DspOperator] = {
    **arrays.OPERATORS,
    **sound.OPERATORS,
    **front_ends.OPERATORS,
    **classifiers.OPERATORS,
    **motion.OPERATORS,
}
"""Every operator that the DSP has, by its name; `front_end` is `log_mel` and `mfcc` with more steps than theirs."""


def name_of(operator: str, params: Any) -> str:
    """What the DSP's operator is called that computes an operator with these parameters, if there is one."""
    return front_ends.name_of(operator, params) if operator in ("log_mel", "mfcc") else operator


PROGRAMS: tuple[str, ...] = tuple(
    dict.fromkeys(["copy", "tables", *(one.program for one in OPERATORS.values()), "layers"])
)
"""What the Hexagon program is made of: a request names one of these by its place here."""

__all__ = ["OPERATORS", "PROGRAMS", "DspOperator", "Message", "Plan", "integers", "name_of", "real"]
