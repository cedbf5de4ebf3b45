"""The daemons of docs/examples, in threads and in asyncio: fed, read again while they run, counted."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leo_runtime.runtime.runtime import Runtime

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
EVERY_S, CHUNK_S = 1.0, 0.1
HALF = 20
"""So many chunks of each source, two seconds of four, come before the workload is edited."""


class Editor:
    """Who edits the workload when both sources have come half-way: first well, then in vain. Nobody sleeps."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = file
        self.chunks: Counter[object] = Counter()
        """By source."""
        self.changes = 0
        self.asked = 0
        self.done = threading.Event()
        change = Runtime.change

        def counted(runtime: Runtime, *args: Any, **options: Any) -> None:
            change(runtime, *args, **options)
            self.changes += 1

        monkeypatch.setattr(Runtime, "change", counted)

    def is_half_way(self, source: object) -> bool:
        """A source is about to give one more chunk: whether it has to wait for the edits."""
        self.chunks[source] += 1
        return self.chunks[source] > HALF and not self.done.is_set()

    def edit(self, refused: bool) -> None:
        """As time passes for who looks whether to read again."""
        if [chunks > HALF for chunks in self.chunks.values()] != [True, True] or self.done.is_set():
            return
        if self.asked == 0:
            text = self.file.read_text().replace('name = "walk"', 'name = "again"')
            self.file.write_text(text.replace("samples = 20", "samples = 10"))
        elif self.asked == 1 and self.changes == 1:
            self.file.write_text(self.file.read_text().replace('"log_mel"', '"log_melt"'))
        elif self.asked == 2 and refused:
            self.done.set()
            return
        else:
            return
        self.asked += 1
        signal.raise_signal(signal.SIGHUP)


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Editor]:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "listening.toml", tmp_path)
    before = signal.getsignal(signal.SIGHUP)
    yield Editor(tmp_path / "listening.toml", monkeypatch)
    signal.signal(signal.SIGHUP, before)


def require_daemon(name: str, out: str, editor: Editor) -> None:
    lines = [json.loads(line) for line in out.splitlines()]
    refused = [line["refused"] for line in lines if "refused" in line]
    assert len(refused) == 1 and "no operator is called `log_melt`" in refused[0]
    answers = [line for line in lines if "graph" in line]
    counts = Counter(answer["graph"] for answer in answers)
    done = {answer["graph"] for answer in answers if answer["outcome"] in ("done", "cancelled")}
    for graph, least in (("ears", 12), ("talk", 6), ("again", 1)):
        assert least <= counts[graph] <= least + 1 and graph in done
    assert counts["walk"] <= 1
    assert editor.changes == 1
    counted = (editor.file.parent / "daemon.prom").read_text()
    assert 'leo_answers{graph="ears",outcome="' in counted
    assert sum(bool(line) for line in (EXAMPLES / f"{name}.py").read_text().splitlines()) <= 40


def test_the_daemon_is_read_again_while_it_runs(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = importlib.import_module("daemon")
    said: list[str] = []
    moves = threading.Condition()

    def sleep(lasts_s: float) -> None:
        with moves:
            if lasts_s == CHUNK_S:
                waits = editor.is_half_way(threading.get_ident())
                moves.notify_all()
                moves.wait_for(lambda: not waits or editor.done.is_set())
                return
            said.append(capsys.readouterr().out)
            editor.edit("refused" in "".join(said))
            moves.notify_all()
            moves.wait(0.001)

    monkeypatch.setattr(daemon, "time", SimpleNamespace(sleep=sleep))
    daemon.main(editor.file, 4.0, EVERY_S)
    require_daemon("daemon", "".join(said) + capsys.readouterr().out, editor)
    assert 'leo_samples{stream="mic"}' in (editor.file.parent / "daemon.prom").read_text()


def test_the_daemon_of_one_event_loop_is_as_well(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = importlib.import_module("daemon_asyncio")
    said: list[str] = []
    turn = asyncio.sleep

    async def sleep(lasts_s: float) -> None:
        await turn(0)
        if lasts_s == CHUNK_S:
            waits = editor.is_half_way(asyncio.current_task())
            while waits and not editor.done.is_set():
                await turn(0.001)
            return
        said.append(capsys.readouterr().out)
        editor.edit("refused" in "".join(said))
        await turn(0.001)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(daemon.main(editor.file, 4.0, EVERY_S))
    require_daemon("daemon_asyncio", "".join(said) + capsys.readouterr().out, editor)
