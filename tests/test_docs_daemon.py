"""What docs/daemon.md says of keys, kinds, answers and the socket is so."""

from __future__ import annotations

import io
import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from daemons import CONFIG, Listener, running
from leo_runtime.command.parser import parser
from leo_runtime.daemon.answer import Answer, AnswerOutcome
from leo_runtime.daemon.config import AnySink, AnySource

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "daemon.md").read_text()


def test_every_key_of_an_answer_is_on_the_page() -> None:
    table = PAGE.split("| key | is |")[1].split("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if row else "")]
    assert set(named) | {"reason"} == set(Answer.__slots__)
    for outcome in get_args(AnswerOutcome):
        assert f"`{outcome}`" in table


@pytest.mark.parametrize(("head", "union"), [("| source | is | keys |", AnySource), ("| sink | is | keys |", AnySink)])
def test_every_kind_is_on_the_page_with_keys_that_it_has(head: str, union: object) -> None:
    rows = PAGE.split(head)[1].split("\n\n")[0].splitlines()[2:]
    models = {get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(union)[0])}
    assert sorted([re.findall(r"`(\w+)`", row)[0] for row in rows]) == sorted(models)
    for row in rows:
        kind, keys = re.findall(r"`(\w+)`", row)[0], re.findall(r"(?:^|, |: )`(\w+)`", row.split("|")[3].strip())
        assert set(keys) <= set(models[kind].model_fields) | {"float32", "uint8"}, kind


def test_its_commands_are_parsed() -> None:
    for command in re.findall(r"(?:^    |`)leo-runtime ((?:daemon|calibrate|schema) [^`#>\n]*)", PAGE, re.MULTILINE):
        if "CONFIG" not in command:
            parser(command.split()).parse_args(command.split())


def test_samples_are_sent_as_the_example_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path, CONFIG):
        listener = Listener(tmp_path / "out.sock")
        sound = io.BytesIO(np.zeros(4000, np.int16).tobytes())
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=sound))
        monkeypatch.setattr("sys.argv", ["send_samples.py", str(tmp_path / "in.sock"), "s"])
        runpy.run_path(str(ROOT / "docs" / "examples" / "send_samples.py"), run_name="__main__")
        assert json.loads(capsys.readouterr().out) == {"samples": 4000}
        answer = listener.next()
        assert answer is not None and answer["graph"] == "loud"
