"""Which package brings an interpreter of TensorFlow Lite models, found without importing it or what calls it.

LiteRT (`ai_edge_litert`) is preferred; `tflite_runtime`, its frozen predecessor, does where that is what there is.
"""

import importlib.util

PACKAGES = ("ai_edge_litert", "tflite_runtime")


def installed() -> str | None:
    """The package that is to be used; None where none is installed."""
    return next((package for package in PACKAGES if importlib.util.find_spec(package)), None)


def is_available() -> bool:
    """Whether there is one."""
    return installed() is not None
