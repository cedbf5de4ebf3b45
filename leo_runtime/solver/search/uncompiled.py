"""What the kernel's source asks of Cython, where there is none: nothing is compiled, and there is no GIL to free."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

Method = TypeVar("Method", bound=Callable[..., object])

compiled = False
nogil = nullcontext()


def final(method: Method) -> Method:
    """Nothing overrides this method, so that compiled it need not be looked up."""
    return method
