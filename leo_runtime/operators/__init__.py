"""What each operator means: its parameters, the shape of its output, and its work.

An operator is a meaning, not a program: backends bring the programs. Values between stages are float32 arrays; those of
models are in their own types, and may be several (`outputs`). The text of `Operator.summary` and the docstring of its
parameters are the one written meaning every backend is held to; the CPU backend is the reference. Wherever a formula
says `x`, it is the input array; `ln` is the natural logarithm.

A file is a family: `arrays`, `classifiers`, `costs`, `images`, `motion`, `packing`, `sound`, each operator with its
parameters, shape and work beside it. `definition` is what an operator is, `catalogue` finds one by its name, `own`
makes a function or a class one, and `modules` imports the module of a user's own.
"""

from leo_runtime.operators.catalogue import BUILT_IN, all_operators, beside, code_key, define, find_operator, refresh
from leo_runtime.operators.definition import (
    DataType,
    Function,
    Keeping,
    NoParameters,
    Operator,
    Output,
    Part,
    Shape,
    StepClass,
    Work,
)
from leo_runtime.operators.own import operator

__all__ = [
    "BUILT_IN",
    "DataType",
    "Function",
    "Keeping",
    "NoParameters",
    "Operator",
    "Output",
    "Part",
    "Shape",
    "StepClass",
    "Work",
    "all_operators",
    "beside",
    "code_key",
    "define",
    "find_operator",
    "operator",
    "refresh",
]
