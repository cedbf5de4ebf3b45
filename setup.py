"""Builds the compiled parts of the solver where there are Cython and a C compiler; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

SOURCES = sorted(path.stem for path in Path(__file__).parent.glob("leo_runtime/solver/*.pxd"))


def extensions() -> list[Extension]:
    """The sources as optional extensions: without a compiler the same sources run interpreted."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    # No contraction or fast maths: compiled and interpreted answers are equal byte for byte.
    built = cythonize(
        [
            Extension(f"leo_runtime.solver.{name}", [f"leo_runtime/solver/{name}.py"], extra_compile_args=["-O3"])
            for name in SOURCES
        ],
        compiler_directives={
            "language_level": 3,
            "annotation_typing": False,
            "infer_types": True,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "nonecheck": False,
        },
    )
    for extension in built:
        extension.optional = True  # cythonize drops the flag
    return list(built)


setup(ext_modules=extensions())
