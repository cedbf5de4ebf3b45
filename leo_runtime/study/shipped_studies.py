"""The studies that ship, by name, each with the documents that it needs and what is published of its question."""

from __future__ import annotations

from pathlib import Path

from leo_runtime.errors import InputError, did_you_mean
from leo_runtime.schema import require_path

FOLDER = Path(__file__).parent / "shipped"
_END = ".study.toml"


def names() -> tuple[str, ...]:
    """In alphabetical order."""
    return tuple(sorted(path.name.removesuffix(_END) for path in FOLDER.glob(f"*{_END}")))


def study_file(name_or_file: str) -> Path:
    """The file of a study, by the name it ships under or by its path. Raises `InputError`."""
    require_path(name_or_file)
    if name_or_file in names():
        return FOLDER / f"{name_or_file}{_END}"
    if Path(name_or_file).suffix in (".toml", ".json"):
        return Path(name_or_file)
    raise InputError(
        f"no study is called `{name_or_file}`",
        hint=f"{did_you_mean(name_or_file, names())}, or a file that ends in .toml",
    )
