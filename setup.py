"""Finds the packages, and builds what is compiled where there are Cython and a C compiler.

All else is in pyproject.toml.
"""

import os
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
ROOT = Path(__file__).parent
SEARCH = Path("leo_runtime/solver/search")
"""Where sources work on integers that are known to fit; all others that are compiled work on objects."""
FLAGS = ["-O3", "-g0", "-ffp-contract=off"]
"""Without what debuggers read, which Python's own flags ask for: it is three quarters of the compiled files. And with
no contraction, which GCC does on aarch64 unless told."""


class AllOrNone(build_ext):
    """Leaves nothing compiled where something cannot be: what is compiled is made of nothing that is interpreted."""

    def finalize_options(self) -> None:
        """Compile on all cores, unless told otherwise."""
        super().finalize_options()
        self.parallel = self.parallel or CORES

    def build_extensions(self) -> None:
        """Build them all; without a compiler the same sources run interpreted."""
        try:
            super().build_extensions()
        except (CCompilerError, ExecError, PlatformError) as error:
            self.warn(f"the solver will run interpreted, about a hundred times slower, and dispatch, twice: {error}")
            # What is there already, and what an earlier build left beside the sources.
            for extension in self.extensions:
                for path in (self.get_ext_fullpath(extension.name), self.get_ext_filename(extension.name)):
                    Path(path).unlink(missing_ok=True)
            self.extensions = []


def extensions() -> list[Extension]:
    """Every source that has its types beside it. Each runs interpreted as well, and gives the same."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    # No contraction or fast maths: compiled and interpreted answers are equal byte for byte.
    integers = {
        "infer_types": True,
        "boundscheck": False,
        "wraparound": False,
        "initializedcheck": False,
        "cdivision": True,
        "nonecheck": False,
    }
    # What works on objects is to raise what it does interpreted where something goes wrong in it.
    objects = {"nonecheck": True}
    built: list[Extension] = []
    typed = sorted(path.relative_to(ROOT).with_suffix("") for path in (ROOT / "leo_runtime").rglob("*.pxd"))
    for directives, sources in (
        (integers, [source for source in typed if source.parent == SEARCH]),
        (objects, [source for source in typed if source.parent != SEARCH]),
    ):
        built += cythonize(
            [
                Extension(".".join(source.parts), [f"{source.as_posix()}.py"], extra_compile_args=FLAGS)
                for source in sources
            ],
            nthreads=CORES,
            compiler_directives={"language_level": 3, "annotation_typing": False, **directives},
        )
    return built


def packages() -> list[str]:
    """Every folder of Python that is shipped."""
    return [*find_packages(include=["leo_runtime", "leo_runtime.*"]), *find_packages("backends"), "leo_profiles"]


setup(cmdclass={"build_ext": AllOrNone}, packages=packages(), ext_modules=extensions())
