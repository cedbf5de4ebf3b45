"""What the kernel's source asks of Cython, where there is none: nothing is compiled, and there is no GIL to free."""

from contextlib import nullcontext

compiled = False
nogil = nullcontext()
