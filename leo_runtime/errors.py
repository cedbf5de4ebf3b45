"""Every exception of leo-runtime, each with a hint: what to do about it.

LeoError
├── InputError                 what the user gave is wrong (the command line exits with 2)
│   ├── DocumentError          a document: names file, JSON path and value
│   ├── GraphError             a task graph, workload or operator that cannot mean anything
│   ├── ProfileError           a profile lacks an entry, or belongs to another device
│   ├── RecordingError         a recording is truncated, empty or of the wrong rate
│   └── ClosedError            the runtime takes no more frames: it was closed
├── MissingExtraError          an optional dependency is not installed
├── BackendError               a processor could not do what was asked of it
│   ├── DeviceUnavailableError it is not there
│   └── KernelError            it failed while loading or running a stage
├── SolverError                a solver cannot answer this problem at all (too large for it, unknown name)
└── DrainTimeoutError          frames have not ended within the time given for it (a `TimeoutError`, too)
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_MANY = 20
"""More names are not listed where one of them is near."""


class LeoError(Exception):
    """What went wrong in one sentence; `hint` is the way out (may be empty), which tracebacks show as a note."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def hint(self) -> str:
        """The way out; empty where there is none to tell."""
        return self._hint

    @hint.setter
    def hint(self, hint: str) -> None:
        told = _note(getattr(self, "_hint", ""))
        others = [note for note in getattr(self, "__notes__", ()) if note != told]
        self._hint = hint
        self.__notes__ = [_note(hint), *others] if hint else others

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Copied and sent to other processes as it is, whatever its class is made with."""
        return _again, (type(self), self.args), vars(self)


class InputError(LeoError):
    """What the user gave is wrong."""


class DocumentError(InputError, ValueError):
    """A document is wrong: `source` (file or document), `path` (JSON path) and `value` say where.

    A ValueError, too, as wrong values in Python are.
    """

    def __init__(self, source: str, problem: str, path: str = "$", value: str = "", *, hint: str = "") -> None:
        # Names in it are the document's own, and may have line breaks or what a terminal would obey.
        super().__init__(printable(f"{source}: {problem}, at {path}"), hint=hint)
        self.source = source
        self.path = path
        self.value = value


class GraphError(InputError):
    """A task graph, workload or operator cannot mean anything."""


class ProfileError(InputError):
    """A profile lacks an entry, or belongs to another device."""


class RecordingError(InputError):
    """A recording is truncated, empty, or of the wrong rate."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        # What it quotes is a file's own, and may have line breaks or what a terminal would obey.
        super().__init__(printable(message), hint=hint)


class ClosedError(InputError):
    """The runtime is closed, and takes no more frames: what a thread that submits meets when another one closes."""


class MissingExtraError(LeoError):
    """An optional dependency is not installed; the hint is the line that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra `{extra}`", hint=installing(extra))
        self.extra = extra


class BackendError(LeoError):
    """A processor could not do what was asked of it."""


class DeviceUnavailableError(BackendError):
    """The processor is not there."""


class KernelError(BackendError):
    """A stage failed while it was loaded or run."""


class SolverError(LeoError):
    """A solver cannot answer this problem at all."""


class DrainTimeoutError(LeoError, TimeoutError):
    """Frames have not ended within the time given for it."""


def installing(*extras: str) -> str:
    """The one command that installs extras, each named once."""
    return f"pip install 'leo-runtime[{','.join(dict.fromkeys(extras))}]'"


def _note(hint: str) -> str:
    return f"hint: {hint}"


def _again(kind: type[LeoError], args: tuple[Any, ...]) -> LeoError:
    error = kind.__new__(kind)
    error.args = args
    return error


def words(error: BaseException) -> str:
    """What an exception of foreign code is and says, as "KeyError: 'x'"; of one that cannot say it, what it is."""
    try:
        said = str(error)
    except Exception:  # Its own code makes the text.
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


@contextmanager
def in_words(what: str, kind: type[LeoError] = BackendError, *, hint: str = "") -> Iterator[None]:
    """Around code that is not ours: what it raises, SystemExit too, becomes a `kind` that says `what` failed and how.

    A `LeoError` has its words already; a KeyboardInterrupt is the user's. Both pass as they are.
    """
    try:
        yield
    except (LeoError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise kind(f"{what} ({words(error)})", hint=hint) from error


def did_you_mean(given: object, known: Iterable[str], lead: str = "one of") -> str:
    """A hint for a name that is not known: what was probably meant, then all there are, unless they are many."""
    from difflib import get_close_matches

    names = list(known)
    # `gpu` is no slip for `cpu`, though two of three letters are alike; `gup` is one for `gpu`.
    swapped = [name for name in names if name != given and sorted(name) == sorted(str(given))]
    near = swapped or get_close_matches(str(given), names, n=1, cutoff=0.7)
    if near and len(names) > _MANY:
        return f"did you mean `{near[0]}`?"
    meant = f"did you mean `{near[0]}`? " if near else ""
    return f"{meant}{lead} {', '.join(names)}" if names else "there is none"


def printable(text: str) -> str:
    """The text with every character that cannot be seen written as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def failure_text(error: BaseException) -> str:
    """What is told of something that a kernel raised."""
    hint = f"; {error.hint}" if isinstance(error, LeoError) and error.hint else ""
    return f"{words(error)}{hint}"


def once_more(error: BaseException) -> BaseException:
    """An error that is raised again and again, to everybody who asks: with the traceback that it had at first.

    Each raising adds to its traceback, which keeps all that those functions had in hand.
    """
    first = vars(error).setdefault("_leo_first_traceback", error.__traceback__)
    return error.with_traceback(first)


def is_users_interrupt(error: BaseException) -> bool:
    """Whether it may be somebody's Ctrl-C, which comes to the main thread alone; elsewhere a kernel has raised it."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
