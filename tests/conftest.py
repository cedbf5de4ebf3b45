"""What holds for every test."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, not whether what is tested is right.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A shell has what runs in its background ignore Ctrl-C, and so would what tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARE = int(os.environ.get("LEO_TEST_SHARE", "1"))
"""Of examples that are drawn, one of so many: for code that has passed with all of them, among other packages. Where it
is more than one, tests marked `once` are left out."""
PASSED = Path(os.environ.get("LEO_TEST_PASSED", os.devnull)).absolute()
"""A file with the names of tests that passed among other packages: they are left out, and those that pass are added."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has passed and, of hypothesis' examples and of tests that there are for each seed, what is not of
    the share."""
    passed = set(PASSED.read_text(encoding="utf-8").splitlines()) if PASSED.exists() else set()
    left = [item for item in items if item.nodeid not in passed and _is_in_share(item)]
    drawing = [item.function for item in left if getattr(item.obj, "is_hypothesis_test", False)]
    for test in dict.fromkeys(drawing) if SHARE > 1 else ():
        chosen = test._hypothesis_internal_use_settings  # It is read and set from outside in no other way.
        test._hypothesis_internal_use_settings = settings(chosen, max_examples=-(-chosen.max_examples // SHARE))
    if len(left) < len(items):
        kept = set(left)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = left


def _is_in_share(item: pytest.Item) -> bool:
    """Whether, of a parameter whose every value does for the others, it has one of the share; `once` is not of any."""
    if SHARE > 1 and item.get_closest_marker("once"):
        return False
    called = getattr(item, "callspec", None)
    return called is None or not any(called.indices.get(name, 0) % SHARE for name in ("seed", "part"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add what has passed."""
    with PASSED.open("a", encoding="utf-8") as file:
        file.writelines(f"{report.nodeid}\n" for report in terminalreporter.stats.get("passed", []))
