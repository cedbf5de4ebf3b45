"""The command `leo-runtime`: data goes to standard output, talk to standard error.

Exit status: 0 done; 1 answered no (infeasible, rules broken, a replay in which something failed, a stage that could be
measured nowhere); 2 wrong use or bad input; 130 interrupted. The commands are in `leo_runtime.command`, one a file, of
which the one that is given is imported; `leo_runtime.command.parser` has the list of them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from leo_runtime.command.parser import COMMANDS as COMMANDS
from leo_runtime.command.parser import parser
from leo_runtime.command.shared import INTERRUPTED, PIPE_CLOSED, WRONG_USE, complain, discard_output
from leo_runtime.errors import LeoError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    if sys.stderr is None:  # Closed by whoever started this; talk must not go where data does.
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # it stays until the process ends
    if sys.stdout is None:
        complain("standard output is closed")
        complain("hint: send it to a file, or to /dev/null")
        return WRONG_USE
    words = sys.argv[1:] if arguments is None else list(arguments)
    parsed = parser(words).parse_args(words)
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        status = run(parsed)
        sys.stdout.flush()
        return status
    except LeoError as error:
        complain(str(error))
        if error.hint:
            complain(f"hint: {error.hint}")
        return WRONG_USE
    except BrokenPipeError:
        # Whoever read the output has enough; what is still buffered must not complain at exit.
        discard_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Exception as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        complain("interrupted")  # As a class was made: Python turns what is raised there into a RuntimeError.
        return INTERRUPTED
