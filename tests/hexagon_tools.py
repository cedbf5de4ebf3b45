"""Which of the tools that build and run programs of the Hexagon instruction set are missing here."""

import shutil

import pytest

MISSING = [name for name in ("clang", "ld.lld", "qemu-hexagon") if shutil.which(name) is None]
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
