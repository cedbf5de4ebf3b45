"""One process of isolated stages, from its start to its end, and whose fault that was.

A run that was given up or took too long is at fault; else the one whose thread the dying process named; else all runs
that were at hand, since it is not known which of them it was.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from leo_backends.process import Worker
from leo_runtime.errors import KernelError

if TYPE_CHECKING:
    from leo_backends.isolated.channel import Channel

DUMP_BYTES = 1_000_000

_THREAD = re.compile(r"^Current thread 0x([0-9a-f]+)", re.MULTILINE)
_LINE = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)


class Life:
    """One process."""

    def __init__(self, worker: Worker, dump_file: int) -> None:
        """`dump_file` is where the process writes what its threads are at as it dies of a signal; closed with this."""
        self.worker = worker
        self.dump_file = dump_file
        self.at_hand: dict[Channel, bool] = {}
        """Who has asked it for something and has no answer yet, and whether that is a run."""
        self.how = ""
        """How it ended, as in "died of SIGABRT"; empty until that has been found out."""
        self.told = ""
        """The same with the stages at fault, as in "died of SIGABRT (stage `steps`)"."""
        self._blamed: tuple[Channel, str] | None = None
        """For whom this side ended it, and why."""
        self._faults: dict[Channel, KernelError] = {}
        # Where the program ends threads may still read it.
        weakref.finalize(self, os.close, dump_file).atexit = False

    @property
    def alive(self) -> bool:
        """Whether it can be asked, as far as is known."""
        return not self.how and self.worker.alive

    def end(self, channel: Channel, why: str) -> None:
        """Kill it for what it was asked over a channel, if it is still at that. From any thread; waits for nothing."""
        if channel in self.at_hand and self._blamed is None:
            self._blamed = (channel, why)
            self.worker.kill()

    def find_out(self) -> list[tuple[str, str, str]]:
        """How it ended, which is waited for. The keys of the stages at fault, each once. To be called once."""
        death = self.worker.death()
        dump = os.pread(self.dump_file, DUMP_BYTES, 0).decode(errors="replace")
        if self._blamed is not None:
            faulty, how = [self._blamed[0]], self._blamed[1]
        else:
            how = "closed its sockets and was ended" if death.code is None else f"died of {death.how()}"
            faulty = self._faulty(dump)
        stages = ", ".join(dict.fromkeys(_named(channel, faulty) for channel in faulty))
        self.told = how + (f" (stage {stages})" if stages else "")
        self._faults = {channel: _fault(channel, how, _place(channel, dump), faulty) for channel in faulty}
        self.worker.close(now=True)
        self.how, self._blamed = how, None
        self.at_hand.clear()
        return sorted({channel.key for channel in faulty})

    def fault(self, channel: Channel) -> KernelError | None:
        """Why a run failed, to be asked once; None: through no fault of its own."""
        return self._faults.pop(channel, None)

    def _faulty(self, dump: str) -> list[Channel]:
        named = _THREAD.search(dump)
        at_hand = dict(self.at_hand)
        by_name = [one for one in at_hand if named is not None and one.loaded.thread == int(named[1], 16)]
        return by_name or [one for one, runs in at_hand.items() if runs] or list(at_hand)


def _place(channel: Channel, dump: str) -> str:
    """Where in the user's file it was, or else in any, as " (steps.py:9)"; empty where that is not told."""
    named = _THREAD.search(dump)
    lines = _LINE.findall(dump[named.end() :].partition("\n\n")[0]) if named is not None else []
    module = sys.modules.get(getattr(channel.stage.operator.function, "__module__", ""))
    own = [line for line in lines if line[0] == getattr(module, "__file__", "")] or lines
    return f" ({Path(own[0][0]).name}:{own[0][1]})" if own else ""


def _named(channel: Channel, among: list[Channel]) -> str:
    """A stage's name; where another of these has it, too, also what computes it."""
    name = channel.stage.name
    alike = any(other.stage.name == name and other.key != channel.key for other in among)
    return f"`{name}` ({channel.stage.operator.name})" if alike else f"`{name}`"


def _fault(channel: Channel, how: str, place: str, faulty: list[Channel]) -> KernelError:
    others = ", ".join(_named(other, faulty) for other in faulty if other is not channel)
    beside = f" while it ran {others}, too: which of them ended it is not known" if others else ""
    killed = "somebody killed it, as Linux does where memory runs out; " if how == "died of SIGKILL" else ""
    return KernelError(
        f"stage `{channel.stage.name}` failed: its process {how}{place}{beside}",
        hint=f"{killed}the process is started again, and other stages go on",
    )
