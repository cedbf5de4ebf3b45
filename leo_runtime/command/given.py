"""Which arguments of a command were given, and not left to their defaults."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def note_given(parser: argparse.ArgumentParser) -> None:
    """Have a parser keep the arguments that are given, as they were spelled, in `given`.

    To be called before any argument is added.
    """
    parser.set_defaults(given=())
    parser.register("action", None, _Store)
    parser.register("action", "store_true", _Flag)
    parser.register("action", "append", _Append)


class _Noted(argparse.Action):
    """Notes that it was given, and has its subclass keep the value."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        # An argument without a name that is left out comes with its default.
        if option_string is not None or values is not self.default:
            namespace.given = (*namespace.given, option_string or str(self.metavar))
        self.keep(namespace, values)

    def keep(self, namespace: argparse.Namespace, values: str | Sequence[Any] | None) -> None:
        """Put the value where argparse would have."""
        raise NotImplementedError


class _Store(_Noted):
    def keep(self, namespace: argparse.Namespace, values: str | Sequence[Any] | None) -> None:
        setattr(namespace, self.dest, values)


class _Flag(_Noted):
    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **{"default": False, **more})

    def keep(self, namespace: argparse.Namespace, _values: str | Sequence[Any] | None) -> None:
        setattr(namespace, self.dest, True)


class _Append(_Noted):
    def keep(self, namespace: argparse.Namespace, values: str | Sequence[Any] | None) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), values])
